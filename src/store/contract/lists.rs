//! Lists and counts.

#[allow(clippy::wildcard_imports, reason = "the promises share one vocabulary")]
use super::*;
use crate::store::ListQuery;

async fn page(store: &dyn Store, query: ListQuery) -> (Vec<TaskId>, u64) {
    let page = store.list(query).await.unwrap();
    assert_eq!(page.rest, []);
    (page.records.into_iter().map(|record| record.task.id).collect(), page.total)
}

fn all(team: TeamId) -> ListQuery {
    ListQuery { team, status: None, limit: 100, offset: 0, room: u64::MAX }
}

pub async fn a_list_is_newest_first_in_pages_with_a_total(store: &dyn Store) {
    let team = team(store, "a").await;
    for n in [3, 1, 4, 2, 0] {
        store.create(new(team, n)).await.unwrap();
    }
    let at = |offset| ListQuery { limit: 2, offset, ..all(team) };
    assert_eq!(page(store, at(0)).await, ([4, 3].map(id).to_vec(), 5));
    assert_eq!(page(store, at(2)).await, ([2, 1].map(id).to_vec(), 5));
    assert_eq!(page(store, at(4)).await, ([0].map(id).to_vec(), 5));
    for beyond in [5, 1000, u64::MAX] {
        assert_eq!(page(store, at(beyond)).await, (vec![], 5), "{beyond}");
    }
    let page = store.list(at(0)).await.unwrap();
    assert_eq!(page.records[0], store.read(id(4)).await.unwrap());
}

pub async fn what_a_page_has_no_room_for_is_named(store: &dyn Store) {
    let team = team(store, "a").await;
    for n in 0..4 {
        let mut new = new(team, n);
        // The last one to come is shown first.
        new.request.body = Some("x".repeat(if n == 1 { 500 } else { 100 }));
        store.create(new).await.unwrap();
    }
    claim(store, 4).await;
    let done = callback(CallbackVerdict::Done);
    store.transition(id(3), done, told("yyyyy"), T).await.unwrap();
    store.transition(id(2), callback(CallbackVerdict::Interim), told("zz"), T).await.unwrap();
    for (room, whole, rest) in [
        (u64::MAX, vec![3, 2, 1, 0], vec![]),
        (207, vec![3, 2], vec![(1, 500), (0, 100)]),
        (206, vec![3], vec![(2, 102), (1, 500), (0, 100)]),
        (0, vec![], vec![(3, 105), (2, 102), (1, 500), (0, 100)]),
    ] {
        let page = store.list(ListQuery { room, ..all(team) }).await.unwrap();
        assert_eq!(
            page.records.iter().map(|record| record.task.id).collect::<Vec<_>>(),
            whole.into_iter().map(id).collect::<Vec<_>>()
        );
        let rest: Vec<_> = rest.into_iter().map(|(n, bytes)| (id(n), bytes)).collect();
        assert_eq!((page.rest, page.total), (rest, 4), "{room}");
    }
}

pub async fn a_list_can_be_narrowed_to_any_status(store: &dyn Store) {
    let team = team(store, "a").await;
    one_of_each(store, team).await;
    for (n, status) in (0..).zip(Status::ALL) {
        let expected = if status == Status::Polling { (vec![], 0) } else { (vec![id(n)], 1) };
        let query = ListQuery { status: Some(status), ..all(team) };
        assert_eq!(page(store, query).await, expected, "{status:?}");
        assert_eq!(page(store, ListQuery { offset: 1, ..query }).await.0, []);
    }
    assert_eq!(page(store, all(team)).await.1, 8);
}

pub async fn a_list_shows_one_teams_tasks_only(store: &dyn Store) {
    let (one, two) = (team(store, "a").await, team(store, "b").await);
    for n in 0..4 {
        store.create(new(if n % 2 == 0 { one } else { two }, n)).await.unwrap();
    }
    completed_by_cancel(store, 1).await;
    assert_eq!(page(store, all(one)).await, ([2, 0].map(id).to_vec(), 2));
    assert_eq!(page(store, all(two)).await, ([3, 1].map(id).to_vec(), 2));
    let cancelled = |team| ListQuery { status: Some(Status::Cancelled), ..all(team) };
    assert_eq!(page(store, cancelled(one)).await, (vec![], 0));
    assert_eq!(page(store, cancelled(two)).await, (vec![id(1)], 1));
}

async fn completed_by_cancel(store: &dyn Store, n: u16) {
    store.transition(id(n), Event::Cancel, None, T).await.unwrap();
}

pub async fn the_counts_kept_are_the_tasks_counted(store: &dyn Store) {
    let (one, two) = (team(store, "a").await, team(store, "b").await);
    one_of_each(store, one).await;
    store.create(new(two, 20)).await.unwrap();
    let expected = Status::ALL.into_iter().filter(|status| *status != Status::Polling);
    let mut expected: Counts = expected.map(|status| (status, 1)).collect();
    expected.insert(Status::Pending, 2);
    assert_eq!(counts(store).await, expected);
    store.fire_timers(sweep(99), T.plus_millis(2 * MINUTE)).await.unwrap();
    assert_eq!(claim(store, 9).await.len(), 3);
    store.void_claims(T).await.unwrap();
    store.delete(id(5)).await.unwrap();
    store.purge(T.plus_millis(1), 1, T).await.unwrap();
    let expected = [(Status::Pending, 4), (Status::Failed, 1), (Status::Timeout, 2)];
    assert_eq!(counts(store).await, Counts::from(expected));
}
