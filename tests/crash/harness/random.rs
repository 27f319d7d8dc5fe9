//! Random choices that a printed seed can repeat.

/// `SplitMix64`: small, seeded, good enough to choose what to do next.
pub struct Random(u64);

impl Random {
    /// A generator for `label`; the seed is printed, and taken from `ASYNCQUEUE_TEST_SEED` where that is set.
    pub fn new(label: &str) -> Self {
        let given = std::env::var("ASYNCQUEUE_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| getrandom::u64().expect("the system gives random bytes"));
        println!("{label}: ASYNCQUEUE_TEST_SEED={seed}");
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` up to and without `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low).max(1)
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.between(0, 100) < percent
    }

    /// An index into something `len` long.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.next() >> 1).unwrap_or(0) % len.max(1)
    }
}

/// `bytes` random bytes in hexadecimal.
pub fn hex(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    getrandom::fill(&mut buffer).expect("the system gives random bytes");
    super::signature::to_hex(&buffer)
}
