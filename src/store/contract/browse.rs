//! What people look for.

#[allow(clippy::wildcard_imports, reason = "the promises share one vocabulary")]
use super::*;
use crate::store::browse::{Browse, Search, Summary, search_teams};
use crate::task::DeliveryStatus;

fn all(team: TeamId) -> Search {
    Search::all(team, 100, 1000)
}

/// Follows a search to its end, page by page.
async fn walk(store: &impl Browse, search: Search) -> Vec<TaskId> {
    let mut seen = Vec::new();
    let mut before = search.before;
    for _ in 0..200 {
        let found = store.search(Search { before, ..search.clone() }).await.unwrap();
        assert!(found.tasks.len() <= search.limit, "{found:?}");
        assert!(found.looked_at <= search.steps, "{found:?}");
        seen.extend(found.tasks.into_iter().map(|summary| summary.task.id));
        match found.next {
            Some(next) => before = Some(next),
            None => return seen,
        }
    }
    panic!("the walk has no end");
}

fn numbers(ids: &[u16]) -> Vec<TaskId> {
    ids.iter().copied().map(id).collect()
}

pub async fn a_search_walks_a_teams_tasks_newest_first(store: &(impl Store + Browse)) {
    let (one, two) = (team(store, "a").await, team(store, "b").await);
    for n in [3, 1, 4, 2, 0] {
        store.create(new(one, n)).await.unwrap();
    }
    store.create(new(two, 9)).await.unwrap();
    for limit in [1, 2, 5, 100] {
        assert_eq!(walk(store, Search { limit, ..all(one) }).await, numbers(&[4, 3, 2, 1, 0]), "{limit}");
    }
    let found = store.search(Search { limit: 2, ..all(one) }).await.unwrap();
    assert_eq!((found.next, found.looked_at), (Some(id(3)), 2));
    let first = &found.tasks[0];
    let record = store.read(id(4)).await.unwrap();
    assert_eq!((&first.task, &first.target_url), (&record.task, &record.request.target_url));
    assert_eq!((first.method, first.delivery), (record.request.method, None));
}

pub async fn a_search_ends_with_its_steps_and_goes_on_from_there(store: &(impl Store + Browse)) {
    let team = team(store, "a").await;
    for n in 0..6 {
        store.create(new(team, n)).await.unwrap();
    }
    let text = Some("target.example/1".to_owned());
    for steps in [1, 3, 7, 1000] {
        let search = Search { steps, text: text.clone(), ..all(team) };
        assert_eq!(walk(store, search).await, numbers(&[1]), "{steps}");
    }
    let found = store.search(Search { steps: 2, ..all(team) }).await.unwrap();
    assert_eq!((found.tasks.len(), found.next), (2, Some(id(4))));
}

pub async fn a_search_can_be_narrowed(store: &(impl Store + Browse)) {
    let team = team(store, "a").await;
    one_of_each(store, team).await;
    for (n, status) in (0..).zip(Status::ALL) {
        let expected = if status == Status::Polling { vec![] } else { vec![id(n)] };
        assert_eq!(walk(store, Search { status: Some(status), ..all(team) }).await, expected, "{status:?}");
    }
    let follow = Follow { provider: Some("fal".to_owned()), ..Follow::default() };
    let request = Request { follow, target_url: "https://Queue.Fal.run/flux".to_owned(), ..request(20) };
    store.create(NewTask { host: HostId(8), request, ..new(team, 20) }).await.unwrap();
    assert_eq!(walk(store, Search { host: Some(HostId(8)), ..all(team) }).await, [id(20)]);
    assert_eq!(walk(store, Search { provider: Some("fal".to_owned()), ..all(team) }).await, [id(20)]);
    assert_eq!(walk(store, Search { provider: Some("fa".to_owned()), ..all(team) }).await, []);
    for text in ["QUEUE.fal", &id(20).to_string()[20..], "%", "fal.run/flux"] {
        let expected = if text == "%" { vec![] } else { vec![id(20)] };
        assert_eq!(walk(store, Search { text: Some(text.to_owned()), ..all(team) }).await, expected, "{text}");
    }
    let both = Search { status: Some(Status::Failed), host: Some(HostId(8)), ..all(team) };
    assert_eq!(walk(store, both).await, []);
}

pub async fn a_search_can_be_narrowed_by_time_and_webhook(store: &(impl Store + Browse)) {
    let team = team(store, "a").await;
    let made = Timestamp(1_700_000_000_000);
    waiting(store, team, 1).await;
    completed(store, team, 2, T).await;
    for (from, until, expected) in [(0, 1, 2), (-1, 0, 0), (1, 9, 0)] {
        let search = Search { from: Some(made.plus_millis(from)), until: Some(made.plus_millis(until)), ..all(team) };
        assert_eq!(walk(store, search).await.len(), expected, "from {from} until {until}");
    }
    let pending = Search { webhook: Some(DeliveryStatus::Pending), ..all(team) };
    assert_eq!(walk(store, pending.clone()).await, [id(2)]);
    assert_eq!(walk(store, Search { webhook: Some(DeliveryStatus::Failed), ..pending }).await, []);
}

pub async fn a_search_over_teams_is_one_list(store: &(impl Store + Browse)) {
    let teams = [team(store, "a").await, team(store, "b").await, team(store, "c").await, team(store, "d").await];
    // The last of them has none, and the one before is not asked for.
    for (n, team) in [(9, 0), (8, 1), (7, 1), (6, 2), (5, 1), (4, 0), (3, 1), (2, 1), (1, 0)] {
        store.create(new(teams[team], n)).await.unwrap();
    }
    let asked = [teams[0], teams[1], teams[3]];
    let expected = numbers(&[9, 8, 7, 5, 4, 3, 2, 1]);
    for (limit, steps) in [(1, 1000), (2, 1000), (3, 3), (100, 6), (100, 1000)] {
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let search = Search { before, limit, steps, ..all(asked[0]) };
            let found = search_teams(store, &asked, search).await.unwrap();
            assert!(found.tasks.len() <= limit && found.looked_at <= steps, "{found:?}");
            assert!(before.is_none() || found.next < before, "it gets on: {found:?}");
            seen.extend(found.tasks.into_iter().map(|summary| summary.task.id));
            before = found.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected, "{limit} at once, {steps} steps");
    }
    let text = Search { text: Some("target.example/2".to_owned()), ..all(asked[0]) };
    let found = search_teams(store, &asked, text).await.unwrap();
    assert_eq!(found.tasks.iter().map(|summary| summary.task.id).collect::<Vec<_>>(), [id(2)]);
    assert_eq!(search_teams(store, &[], all(asked[0])).await.unwrap().tasks, []);
}

pub async fn what_is_stuck_is_found(store: &(impl Store + Browse)) {
    let (one, two) = (team(store, "a").await, team(store, "b").await);
    assert_eq!(store.stuck(one, 100).await.unwrap().due, None);
    waiting(store, one, 1).await;
    waiting(store, one, 2).await;
    waiting(store, two, 3).await;
    completed(store, one, 4, T.plus_millis(5)).await;
    completed(store, two, 5, T).await;
    store.create(new(two, 6)).await.unwrap();
    store.create(new(one, 8)).await.unwrap();
    store.create(new(one, 7)).await.unwrap();
    let stuck = store.stuck(one, 100).await.unwrap();
    let ids = |found: &[Summary]| -> Vec<TaskId> { found.iter().map(|one| one.task.id).collect() };
    assert_eq!(stuck.due.map(|found| found.task.id), Some(id(7)));
    assert_eq!(stuck.waiting.map(|found| found.task.id), Some(id(1)));
    assert_eq!(ids(&stuck.undelivered), [id(4)]);
    assert!(stuck.all_waiting && stuck.all_undelivered);
    assert_eq!(ids(&store.stuck(two, 100).await.unwrap().undelivered), [id(5)]);
}

pub async fn depths_are_counted_by_team(store: &(impl Store + Browse)) {
    let (one, two) = (team(store, "a").await, team(store, "b").await);
    completed(store, two, 2, T).await;
    store.create(new(two, 3)).await.unwrap();
    store.create(new(one, 1)).await.unwrap();
    let depths = store.depths().await.unwrap();
    for team in [one, two] {
        assert_eq!(store.depth(team).await.unwrap(), depths[&team]);
    }
    assert_eq!(depths[&one], Counts::from([(Status::Pending, 1)]));
    assert_eq!(depths[&two], Counts::from([(Status::Pending, 1), (Status::Completed, 1)]));
}
