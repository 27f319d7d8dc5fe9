use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::Instant;

use super::{RetryAfter, SlidingLog};

const SOURCE: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const MINUTE: Duration = Duration::from_secs(60);

/// The rule word by word: a request is admitted if fewer than `n` were in the window that ends with it.
#[derive(Default)]
struct Model(Vec<Duration>);

impl Model {
    fn check(&mut self, n: usize, window: Duration, now: Duration) -> Result<(), RetryAfter> {
        let recent: Vec<_> = self.0.iter().filter(|at| **at + window > now).collect();
        if recent.len() < n {
            self.0.push(now);
            return Ok(());
        }
        let wait = (*recent[recent.len() - n] + window).saturating_sub(now);
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Err(RetryAfter(u32::try_from(seconds.max(1)).unwrap()))
    }
}

/// Pauses between requests: bursts, spread, and the very edges of the window.
fn pauses() -> impl Strategy<Value = Vec<Duration>> {
    let edge = (0_u64..3, 0_u64..4).prop_map(|(off, part)| 60_000_000_000 / (1 << part) + off - 1);
    let pause = prop_oneof![3 => 0_u64..1_000_000, 3 => 0_u64..5_000_000_000, 1 => 0_u64..70_000_000_000, 2 => edge, 1 => Just(0)];
    prop::collection::vec(pause.prop_map(Duration::from_nanos), 0..150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn it_does_what_an_exact_model_does(n in prop_oneof![Just(30_u32), 1_u32..35], pauses in pauses()) {
        let (log, start) = (SlidingLog::new(n, MINUTE, 100), Instant::now());
        let (mut model, mut now) = (Model::default(), Duration::ZERO);
        for pause in pauses {
            now += pause;
            let expected = model.check(n as usize, MINUTE, now);
            prop_assert_eq!(log.peek(SOURCE, start + now), expected);
            prop_assert_eq!(log.check(SOURCE, start + now), expected);
        }
    }
}

#[test]
fn the_window_is_exact_to_the_nanosecond() {
    let (log, start) = (SlidingLog::new(30, MINUTE, 100), Instant::now());
    for _ in 0..30 {
        assert_eq!(log.check(SOURCE, start), Ok(()));
    }
    assert_eq!(log.check(SOURCE, start), Err(RetryAfter(60)));
    assert_eq!(log.check(SOURCE, start + MINUTE.saturating_sub(Duration::from_nanos(1))), Err(RetryAfter(1)));
    assert_eq!(log.check(SOURCE, start + MINUTE), Ok(()));
}

#[test]
fn no_limit_does_nothing() {
    let (log, now) = (SlidingLog::new(0, MINUTE, 100), Instant::now());
    assert!((0..1000).all(|_| log.check(SOURCE, now).is_ok()));
    log.record(SOURCE, now);
    assert_eq!((log.peek(SOURCE, now), log.sources()), (Ok(()), 0));
}

#[test]
fn only_what_is_recorded_counts() {
    let (log, start) = (SlidingLog::new(2, MINUTE, 100), Instant::now());
    let after = |seconds| start + Duration::from_secs(seconds);
    assert!((0..10).all(|_| log.peek(SOURCE, start).is_ok()));
    log.record(SOURCE, after(0));
    assert_eq!(log.peek(SOURCE, after(1)), Ok(()));
    log.record(SOURCE, after(10));
    assert_eq!(log.peek(SOURCE, after(20)), Err(RetryAfter(40)));
    // Three were under way when the second was admitted; the latest two hold.
    log.record(SOURCE, after(20));
    assert_eq!(log.peek(SOURCE, after(20)), Err(RetryAfter(50)));
}

#[test]
fn moments_may_come_out_of_order() {
    let (log, start) = (SlidingLog::new(2, MINUTE, 100), Instant::now());
    let after = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(log.check(SOURCE, after(10)), Ok(()));
    assert_eq!(log.check(SOURCE, after(9)), Ok(()));
    assert!(log.check(SOURCE, after(69)).is_err());
    assert_eq!(log.check(SOURCE, after(70)), Ok(()));
}

#[test]
fn threads_do_not_admit_one_too_many() {
    let (log, now) = (SlidingLog::new(30, MINUTE, 100), Instant::now());
    let admitted = || (0..1000).filter(|_| log.check(SOURCE, now).is_ok()).count();
    let total: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(admitted)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(total, 30);
}

fn network(number: u64) -> IpAddr {
    crate::net::bucket(IpAddr::V6(Ipv6Addr::from_bits(u128::from(number) << 64 | u128::from(number))))
}

#[test]
fn a_flood_of_sources_stays_within_the_table_and_leaves_it_again() {
    let (log, start) = (SlidingLog::new(30, MINUTE, <SlidingLog>::SOURCES), Instant::now());
    let honest = network(u64::MAX);
    for number in 0..200_000 {
        assert_eq!(log.check(network(number), start), Ok(()));
        if number % 10_000 == 0 {
            assert_eq!(log.check(honest, start), Ok(()), "an honest client is not held to account for them");
        }
    }
    assert!(log.sources() <= <SlidingLog>::SOURCES, "{}", log.sources());
    assert!(log.sources() > <SlidingLog>::SOURCES * 9 / 10);
    assert_eq!(
        (0..30).filter(|_| log.check(honest, start).is_ok()).count(),
        10,
        "nor is it forgotten while it is seen"
    );
    // Spent sources leave as new ones come.
    for number in 300_000..400_000 {
        assert_eq!(log.check(network(number), start + MINUTE * 2 + Duration::from_millis(number)), Ok(()));
    }
    assert!(log.sources() <= 70_000, "{}", log.sources());
}

#[test]
fn a_forgotten_source_starts_anew() {
    let (log, now) = (SlidingLog::new(1, MINUTE, 16), Instant::now());
    assert_eq!(log.check(SOURCE, now), Ok(()));
    (0..1000).for_each(|number| log.record(network(number), now));
    assert_eq!(log.sources(), 16);
    assert_eq!(log.check(SOURCE, now), Ok(()));
}
