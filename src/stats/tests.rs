use super::*;
use crate::store::NoObserver;
use crate::store::memory::Memory;
use crate::task::Status;

struct At(Mutex<i64>);

impl Clock for At {
    fn now(&self) -> Timestamp {
        Timestamp(*self.0.lock().unwrap() * 60_000)
    }
}

fn counted() -> (Arc<At>, Statistics) {
    let clock = Arc::new(At(Mutex::new(1000)));
    (clock.clone(), Statistics::new(clock))
}

const TEAM: TeamId = TeamId(1);

fn call(url: &str, failed: bool) -> Call<'_> {
    Call { team: TEAM, url, provider: Some("fal"), failed, took: Duration::from_millis(40) }
}

#[test]
fn an_hour_is_kept_and_no_more() {
    let (clock, stats) = counted();
    for minute in 1000..1100 {
        *clock.0.lock().unwrap() = minute;
        let failed = Ended { team: TEAM, status: Status::Failed, after_ms: 9 };
        stats.committed(&[TEAM, TEAM], &[failed]);
    }
    let team = stats.of(TEAM);
    assert_eq!(team.minutes.recent(1099).count(), 60);
    assert_eq!(team.minutes.recent(1099).map(|minute| (minute.created, minute.failed)).max(), Some((2, 1)));
    assert!(team.minutes.get(1039).is_none() && team.minutes.get(1040).is_some());
    assert!(!stats.of(TeamId(2)).minutes.is_used(1099), "another team's");
}

#[test]
fn calls_are_counted_by_host_and_provider() {
    let (_, stats) = counted();
    stats.called(call("https://user@queue.fal.run:8443/x?y", true));
    stats.called(call("https://queue.fal.run:8443", false));
    let team = stats.of(TEAM);
    let sum = Calls::sum(team.hosts["queue.fal.run:8443"].recent(1000));
    assert_eq!((sum.made, sum.failed, sum.latencies.count()), (2, 1, 2));
    assert_eq!(Calls::sum(team.providers["fal"].recent(1000)).made, 2);
}

#[test]
fn a_flood_of_hosts_fills_no_memory_and_old_ones_make_room() {
    let (clock, stats) = counted();
    for n in 0..1000 {
        stats.called(call(&format!("https://h{n}.example/"), false));
    }
    assert_eq!(stats.of(TEAM).hosts.len(), NAMES_MAX);
    *clock.0.lock().unwrap() = 1060;
    stats.called(call("https://new.example/", false));
    assert_eq!(stats.of(TEAM).hosts.keys().collect::<Vec<_>>(), ["new.example"]);
}

#[tokio::test]
async fn queues_that_are_empty_are_not_counted() {
    let (_, stats) = counted();
    stats.measure(&Memory::new(Arc::new(NoObserver))).await.unwrap();
    assert!(stats.of(TEAM).minutes.recent(1000).next().is_none());
}
