//! Names of tasks and teams.

use std::fmt;

use uuid::Uuid;

/// A task's id: a `UUIDv7` (RFC 9562), so that ids sort by creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub Uuid);

/// A team's number within one store. Everything made with a team's key belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TeamId(pub i64);

impl TaskId {
    /// Bits of the counter that keeps ids of one millisecond apart: `rand_a` and the first three bits of `rand_b`.
    pub const COUNTER_BITS: u32 = 15;

    /// Puts an id together: 48 bits of `millis`, a 15-bit `counter`, and 59 bits of `random`.
    ///
    /// RFC 9562, section 6.2, method 1: a counter directly behind the timestamp.
    pub fn from_parts(millis: u64, counter: u16, random: u64) -> Self {
        let counter = u64::from(counter) & 0x7fff;
        let high = (millis & 0xffff_ffff_ffff) << 16 | 0x7000 | counter >> 3;
        let low = 0x8000_0000_0000_0000 | (counter & 7) << 59 | random & 0x07ff_ffff_ffff_ffff;
        Self(Uuid::from_u64_pair(high, low))
    }

    /// The id's leading 63 bits of time and counter: unique within one store, ordered by creation.
    pub fn sort_key(self) -> i64 {
        let (high, low) = self.0.as_u64_pair();
        let key = (high >> 16) << 15 | (high & 0xfff) << 3 | low >> 59 & 7;
        i64::try_from(key).unwrap_or(i64::MAX)
    }

    /// The id's second half; with [`sort_key`](Self::sort_key) it makes the id again.
    pub fn low_bits(self) -> i64 {
        self.0.as_u64_pair().1.cast_signed()
    }

    /// The id that has this `sort_key` and these `low_bits`.
    pub fn from_key(sort_key: i64, low_bits: i64) -> Self {
        let key = sort_key.cast_unsigned();
        let high = (key >> 15) << 16 | 0x7000 | key >> 3 & 0xfff;
        Self(Uuid::from_u64_pair(high, low_bits.cast_unsigned()))
    }

    /// Reads the canonical form, 36 lower-case characters; anything else is no id.
    pub fn parse(text: &str) -> Option<Self> {
        let id = Uuid::try_parse(text).ok()?;
        let canonical = text.len() == 36 && !text.bytes().any(|byte| byte.is_ascii_uppercase());
        let ours = id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122;
        (canonical && ours).then_some(Self(id))
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_apart_and_together_again() {
        for (millis, counter, random) in [(0, 0, 0), (1_763_900_000_000, 0x7fff, u64::MAX), ((1 << 48) - 1, 12_345, 7)]
        {
            let id = TaskId::from_parts(millis, counter, random);
            assert_eq!(TaskId::from_key(id.sort_key(), id.low_bits()), id);
            assert_eq!(id.0.get_version_num(), 7);
            assert_eq!(id.0.get_variant(), uuid::Variant::RFC4122);
            assert_eq!(TaskId::parse(&id.to_string()), Some(id));
        }
    }

    #[test]
    fn keys_sort_by_time_then_counter() {
        let early = TaskId::from_parts(5, 9, u64::MAX).sort_key();
        let later = TaskId::from_parts(5, 10, 0).sort_key();
        let latest = TaskId::from_parts(6, 0, 0).sort_key();
        assert!(early < later && later < latest);
    }

    #[test]
    fn only_the_canonical_spelling_is_an_id() {
        let id = TaskId::from_parts(1_763_900_000_000, 2748, 7).to_string();
        for odd in
            [id.to_uppercase(), id.replace('-', ""), format!("{{{id}}}"), format!("urn:uuid:{id}"), String::new()]
        {
            assert_eq!(TaskId::parse(&odd), None, "{odd}");
        }
        assert_eq!(TaskId::parse("f47ac10b-58cc-4372-a567-0e02b2c3d479"), None, "version 4");
    }
}
