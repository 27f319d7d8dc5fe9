//! Who is called next.

#[allow(clippy::wildcard_imports, reason = "the promises share one vocabulary")]
use super::*;
use crate::store::{ClaimedDelivery, Taker};
use crate::task::State;

pub async fn a_claim_is_exclusive(store: &dyn Store) {
    let team = team(store, "a").await;
    for n in 0..3 {
        store.create(new(team, n)).await.unwrap();
    }
    assert_eq!(claim(store, 2).await, [id(0), id(1)]);
    assert_eq!(claim(store, 2).await, [id(2)]);
    assert_eq!(claim(store, 2).await, []);
}

pub async fn a_claim_holds_the_task_and_what_to_call(store: &dyn Store) {
    let team = team(store, "a").await;
    store.create(new(team, 1)).await.unwrap();
    let lease_until = T.plus_millis(MINUTE);
    let now = T.plus_millis(5);
    let claimed = store.claim(room(5), lease_until, now).await.unwrap();
    let [Claimed { task, request: asked, host, key_number }] = &claimed[..] else { panic!("{claimed:?}") };
    assert_eq!(task.state, State::Processing { lease_until });
    assert_eq!((task.attempt, task.started_at, *host, *key_number), (1, Some(now), HOST, 3));
    assert_eq!(*asked, request(1));
    assert_eq!(store.state(id(1)).await.unwrap(), *task);
}

/// Takes on what it is handed, up to a number of slots.
#[derive(Default)]
struct Hands {
    slots: std::sync::atomic::AtomicUsize,
    tasks: std::sync::Mutex<Vec<Claimed>>,
    webhooks: std::sync::Mutex<Vec<ClaimedDelivery>>,
}

impl Hands {
    fn with(slots: usize) -> Arc<Self> {
        Arc::new(Self { slots: slots.into(), ..Self::default() })
    }

    fn free(&self) -> usize {
        self.slots.load(std::sync::atomic::Ordering::SeqCst)
    }

    fn took(&self, count: usize) {
        self.slots.fetch_sub(count, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Taker<Capacity, Claimed> for Hands {
    fn room(&self) -> Capacity {
        room(self.free())
    }

    fn take(&self, work: Vec<Claimed>) {
        self.took(work.len());
        self.tasks.lock().unwrap().extend(work);
    }
}

impl Taker<usize, ClaimedDelivery> for Hands {
    fn room(&self) -> usize {
        self.free()
    }

    fn take(&self, work: Vec<ClaimedDelivery>) {
        self.took(work.len());
        self.webhooks.lock().unwrap().extend(work);
    }
}

pub async fn what_is_due_is_handed_to_who_has_room(store: &dyn Store) {
    let team = team(store, "a").await;
    let (lease, hands) = (std::time::Duration::from_secs(60), Hands::with(2));
    for n in 1..=3 {
        store.create(new(team, n)).await.unwrap();
    }
    store.hand_out(hands.clone(), lease, T).await.unwrap();
    assert_eq!(ids(&hands.tasks.lock().unwrap()), [id(1), id(2)]);
    assert_eq!(store.state(id(1)).await.unwrap().state, State::Processing { lease_until: T.plus_millis(MINUTE) });
    store.hand_out(hands.clone(), lease, T).await.unwrap();
    assert_eq!(hands.tasks.lock().unwrap().len(), 2, "there is no room for the third");
    let hands = Hands::with(9);
    store.hand_out(hands.clone(), lease, T).await.unwrap();
    assert_eq!(ids(&hands.tasks.lock().unwrap()), [id(3)]);

    for n in 1..=3 {
        store.transition(id(n), accepted(1), told("{}"), T).await.unwrap();
        store.transition(id(n), callback(CallbackVerdict::Done), told("{}"), T).await.unwrap();
    }
    let webhooks = Hands::with(2);
    store.hand_out_deliveries(webhooks.clone(), T).await.unwrap();
    assert_eq!(webhooks.webhooks.lock().unwrap().len(), 2);
    let rest = Hands::with(9);
    store.hand_out_deliveries(rest.clone(), T).await.unwrap();
    assert_eq!(rest.webhooks.lock().unwrap().len(), 1, "none is handed out twice");
}

pub async fn priority_counts_inside_a_team_then_due_time_then_age(store: &dyn Store) {
    let team = team(store, "a").await;
    let places = [(1, 5, 10), (2, 5, 10), (3, 5, 9), (4, 9, 20), (5, 1, 0), (6, 9, 19)];
    for (n, priority, due) in places.into_iter().rev() {
        let mut task = new(team, n);
        task.task.priority = priority;
        task.task.state = State::Pending { since: T.plus_millis(due) };
        store.create(task).await.unwrap();
    }
    assert_eq!(claim(store, 9).await, [6, 4, 3, 1, 2, 5].map(id));
}

pub async fn a_better_task_goes_before_the_one_that_was_next(store: &dyn Store) {
    let team = team(store, "a").await;
    for (n, priority) in [(1, 5), (2, 7), (3, 6), (4, 9)] {
        let mut task = new(team, n);
        task.task.priority = priority;
        store.create(task).await.unwrap();
    }
    store.transition(id(4), Event::Cancel, None, T).await.unwrap();
    assert_eq!(claim(store, 2).await, [2, 3].map(id));
    let mut urgent = new(team, 5);
    urgent.task.priority = 10;
    store.create(urgent).await.unwrap();
    assert_eq!(claim(store, 9).await, [5, 1].map(id));
}

pub async fn teams_take_turns(store: &dyn Store) {
    for (name, first) in [("a", 0), ("b", 10), ("c", 20)] {
        let team = team(store, name).await;
        for n in first..first + 3 {
            let mut task = new(team, n);
            // Priority counts inside a team, not between teams.
            task.task.priority = if name == "a" { 10 } else { 1 };
            store.create(task).await.unwrap();
        }
    }
    let mut turns = Vec::new();
    for _ in 0..9 {
        turns.extend(claim(store, 1).await);
    }
    assert_eq!(turns, [0, 10, 20, 1, 11, 21, 2, 12, 22].map(id));
}

pub async fn a_team_with_many_due_tasks_does_not_hold_up_another(store: &dyn Store) {
    let (noisy, quiet) = (team(store, "noisy").await, team(store, "quiet").await);
    for n in 0..300 {
        store.create(new(noisy, n)).await.unwrap();
    }
    claim(store, 50).await;
    store.create(new(quiet, 900)).await.unwrap();
    assert!(claim(store, 2).await.contains(&id(900)));
}

pub async fn a_full_host_does_not_hold_up_other_hosts(store: &dyn Store) {
    let (one, two) = (team(store, "a").await, team(store, "b").await);
    for n in 0..8 {
        store.create(new(one, n)).await.unwrap();
    }
    store.create(NewTask { host: HostId(8), ..new(one, 8) }).await.unwrap();
    store.create(new(two, 9)).await.unwrap();
    let bounded = Capacity { slots: 20, per_host: 3, ..Capacity::default() };
    let claimed = store.claim(bounded.clone(), T, T).await.unwrap();
    let to_host = claimed.iter().filter(|claim| claim.host == HOST).count();
    assert_eq!((to_host, claimed.len()), (3, 4), "{:?}", ids(&claimed));
    assert!(ids(&claimed).contains(&id(8)));
    assert!(ids(&claimed).contains(&id(9)), "teams take turns at a host too");
}

pub async fn calls_in_flight_count_towards_a_hosts_bound(store: &dyn Store) {
    let team = team(store, "a").await;
    for n in 0..4 {
        store.create(new(team, n)).await.unwrap();
    }
    let mut bounded = Capacity { slots: 20, per_host: 3, ..Capacity::default() };
    bounded.in_flight.insert(HOST, 2);
    assert_eq!(ids(&store.claim(bounded.clone(), T, T).await.unwrap()), [id(0)]);
    bounded.in_flight.insert(HOST, 3);
    assert_eq!(store.claim(bounded, T, T).await.unwrap(), []);
}

/// Sixteen slots, the last two of them reserved.
fn reserving() -> Capacity {
    Capacity { slots: 16, per_host: 4, reserve: 2, ..Capacity::default() }
}

/// Creates tasks that are due at once, four for each host.
async fn due_at_many_hosts(store: &dyn Store, team: TeamId, numbers: std::ops::Range<u16>) {
    for n in numbers {
        store.create(NewTask { host: HostId(i64::from(n / 4)), ..new(team, n) }).await.unwrap();
    }
}

/// Claims for a dispatcher whose calls do not end; answers the tasks' ids.
async fn claim_into(store: &dyn Store, capacity: &mut Capacity) -> Vec<TaskId> {
    let claimed = store.claim(capacity.clone(), T, T).await.unwrap();
    enter(capacity, &claimed);
    ids(&claimed)
}

fn enter(capacity: &mut Capacity, claimed: &[Claimed]) {
    for claim in claimed {
        capacity.enter(claim.task.team, claim.host, 1);
    }
}

pub async fn the_last_slots_are_not_for_a_team_with_many_calls(store: &dyn Store) {
    let (busy, other) = (team(store, "busy").await, team(store, "other").await);
    due_at_many_hosts(store, busy, 0..20).await;
    let mut capacity = reserving();
    assert_eq!(claim_into(store, &mut capacity).await, (0..14).map(id).collect::<Vec<_>>());
    assert_eq!(claim_into(store, &mut capacity).await, []);
    let mut one_ended = reserving();
    one_ended.enter(busy, HostId(99), 13);
    assert_eq!(claim_into(store, &mut one_ended).await, [id(14)]);
    due_at_many_hosts(store, other, 80..83).await;
    assert_eq!(claim_into(store, &mut capacity).await, [80, 81].map(id), "as many as are reserved");
    assert_eq!(capacity.slots, 0);
}

pub async fn a_team_that_is_alone_may_have_every_slot(store: &dyn Store) {
    let alone = team(store, "alone").await;
    due_at_many_hosts(store, alone, 0..20).await;
    let mut capacity = reserving();
    capacity.enter(alone, HostId(99), 1);
    assert_eq!(claim_into(store, &mut capacity).await.len(), 15);
    let mut two_ended = reserving();
    two_ended.enter(alone, HostId(99), 14);
    team(store, "new").await;
    assert_eq!(claim_into(store, &mut two_ended).await, [], "it is alone no longer");
}

pub async fn two_busy_teams_leave_room_for_a_third(store: &dyn Store) {
    let (one, two) = (team(store, "one").await, team(store, "two").await);
    due_at_many_hosts(store, one, 0..20).await;
    due_at_many_hosts(store, two, 40..60).await;
    let mut capacity = reserving();
    assert_eq!(claim_into(store, &mut capacity).await.len(), 14);
    assert_eq!((capacity.by_team[&one], capacity.by_team[&two]), (7, 7), "they take turns");
    let third = team(store, "third").await;
    due_at_many_hosts(store, third, 80..81).await;
    assert_eq!(claim_into(store, &mut capacity).await, [id(80)]);
    assert_eq!(claim_into(store, &mut capacity).await, []);
}

/// A dispatcher whose calls do not end.
struct Calls(std::sync::Mutex<Capacity>);

impl Calls {
    fn start() -> Arc<Self> {
        Arc::new(Self(std::sync::Mutex::new(reserving())))
    }

    fn of(&self, team: TeamId) -> usize {
        self.0.lock().unwrap().by_team.get(&team).copied().unwrap_or_default()
    }
}

impl Taker<Capacity, Claimed> for Calls {
    fn room(&self) -> Capacity {
        self.0.lock().unwrap().clone()
    }

    fn take(&self, work: Vec<Claimed>) {
        enter(&mut self.0.lock().unwrap(), &work);
    }
}

pub async fn what_is_reserved_is_not_handed_to_a_team_with_many_calls(store: &dyn Store) {
    let (busy, other) = (team(store, "busy").await, team(store, "other").await);
    let (lease, calls) = (std::time::Duration::from_secs(60), Calls::start());
    // Before there is anything and after, so that it is handed out in commits too, where the store can.
    store.hand_out(calls.clone(), lease, T).await.unwrap();
    due_at_many_hosts(store, busy, 0..20).await;
    store.hand_out(calls.clone(), lease, T).await.unwrap();
    assert_eq!(calls.of(busy), 14);
    due_at_many_hosts(store, other, 80..83).await;
    store.hand_out(calls.clone(), lease, T).await.unwrap();
    assert_eq!((calls.of(busy), calls.of(other)), (14, 2));
}

pub async fn a_team_that_is_alone_is_handed_every_slot(store: &dyn Store) {
    let alone = team(store, "alone").await;
    let (lease, calls) = (std::time::Duration::from_secs(60), Calls::start());
    store.hand_out(calls.clone(), lease, T).await.unwrap();
    due_at_many_hosts(store, alone, 0..20).await;
    store.hand_out(calls.clone(), lease, T).await.unwrap();
    assert_eq!(calls.of(alone), 16);
}

pub async fn a_cancelled_task_is_not_claimed(store: &dyn Store) {
    let team = team(store, "a").await;
    for n in 0..3 {
        store.create(new(team, n)).await.unwrap();
    }
    for n in 0..2 {
        store.transition(id(n), Event::Cancel, None, T).await.unwrap();
    }
    assert_eq!(claim(store, 9).await, [id(2)]);
}

pub async fn a_task_that_was_given_back_can_be_claimed_again(store: &dyn Store) {
    let team = team(store, "a").await;
    store.create(new(team, 1)).await.unwrap();
    for _ in 0..5 {
        assert_eq!(claim(store, 9).await, [id(1)]);
        let task = store.transition(id(1), Event::Returned { attempt: 1, started_at: Some(T) }, None, T).await.unwrap();
        assert_eq!((task.attempt, task.status()), (0, Status::Pending));
    }
}

pub async fn void_claims_interrupts_what_was_called(store: &dyn Store) {
    let (one, two) = (team(store, "a").await, team(store, "b").await);
    let once = Policy { max_retries: 0, ..policy(Then::Finish) };
    store.create(new(one, 1)).await.unwrap();
    store.create(with_policy(two, 2, once)).await.unwrap();
    claim(store, 9).await;
    store.create(new(two, 3)).await.unwrap();
    assert_eq!(store.void_claims(T).await.unwrap(), 2);
    assert_eq!(store.void_claims(T).await.unwrap(), 0);
    let again = store.state(id(1)).await.unwrap();
    assert_eq!((again.status(), again.attempt, again.retry_count), (Status::Pending, 1, 1));
    assert_eq!(status(store, id(2)).await, Status::Failed);
    assert_eq!(why(store.transition(id(1), accepted(1), None, T).await), Why::Stale);
}

pub async fn a_task_can_be_claimed_after_its_claim_was_voided(store: &dyn Store) {
    let team = team(store, "a").await;
    store.create(new(team, 1)).await.unwrap();
    claim(store, 9).await;
    store.void_claims(T).await.unwrap();
    let claimed = store.claim(room(9), T, T).await.unwrap();
    assert_eq!((ids(&claimed), claimed[0].task.attempt), (vec![id(1)], 2));
    assert_eq!(why(store.transition(id(1), accepted(1), None, T).await), Why::Stale);
    assert_eq!(store.transition(id(1), accepted(2), None, T).await.unwrap().status(), Status::Waiting);
}
