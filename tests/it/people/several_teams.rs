//! The tasks of all of somebody's teams in one list, and what may be done to them there.

use serde_json::json;

use super::management::{ask, invited, token};
use super::{ADA, Browser, PASSWORD, set_up, sign_in};
use crate::support::Service;

const CREW: &str = "crew@example.com";

/// Somebody who owns one team, works in a second, reads a third, and is not in the fourth; each has two delayed tasks.
struct Cast {
    service: Service,
    crew: Browser,
    csrf: String,
    owner: String,
    /// The teams' ids, in this order.
    teams: Vec<String>,
    /// The tasks' ids, by team.
    tasks: Vec<[String; 2]>,
}

impl Cast {
    async fn assemble() -> Self {
        let service = Service::start().await;
        set_up(&service).await;
        let owner = token(&service, ADA).await;
        let first = ask(&service, &owner, "GET", "/teams", None).await.json()["teams"][0]["id"].clone();
        invited(&service, &owner, first.as_str().unwrap(), CREW, "reader").await;
        let (mut teams, mut keys) = (Vec::new(), Vec::new());
        for (name, role) in
            [("own", Some("owner")), ("work", Some("member")), ("read", Some("reader")), ("foreign", None)]
        {
            let made = ask(&service, &owner, "POST", "/teams", Some(&json!({"name": name}))).await.expect(201).json();
            let id = made["team"]["id"].as_str().unwrap().to_owned();
            if let Some(role) = role {
                let member = json!({"email": CREW, "role": role});
                ask(&service, &owner, "POST", &format!("/teams/{id}/members"), Some(&member)).await.expect(201);
            }
            let key = ask(&service, &owner, "POST", &format!("/teams/{id}/apikeys"), Some(&json!({"name": "k"}))).await;
            keys.push(key.expect(201).json()["apiKey"]["key"].as_str().unwrap().to_owned());
            teams.push(id);
        }
        let mut tasks = vec![[String::new(), String::new()]; 4];
        for turn in 0..2 {
            for (key, tasks) in keys.iter().zip(&mut tasks) {
                tasks[turn] = create(&service, key).await;
            }
        }
        let mut crew = sign_in(&service, CREW, PASSWORD).await;
        let csrf = crew.csrf(&service).await;
        crew.submit(&service, "/team/switch", &[("csrf", &csrf), ("team", &teams[2])]).await.expect(303);
        Self { service, crew, csrf, owner, teams, tasks }
    }

    async fn list(&self, query: &str) -> String {
        self.crew.get(&self.service, &format!("/tasks?{query}")).await.expect(200).text().to_owned()
    }

    /// Sends a form about tasks of all teams.
    async fn send(&mut self, path: &str, fields: &[(&str, &str)]) -> crate::support::Answer {
        let all = [&[("csrf", self.csrf.as_str()), ("f-team", "all")], fields].concat();
        self.crew.submit(&self.service, path, &all).await
    }

    /// The tasks that were cancelled, by team.
    async fn cancelled(&self) -> [usize; 4] {
        let page = |id: &str| format!("/tasks/{id}");
        let mut counts = [0; 4];
        let ada = sign_in(&self.service, ADA, PASSWORD).await;
        for (count, tasks) in counts.iter_mut().zip(&self.tasks) {
            for id in tasks {
                let shown = ada.get(&self.service, &page(id)).await.expect(200);
                *count += usize::from(shown.text().contains("status big s-cancelled"));
            }
        }
        counts
    }
}

async fn create(service: &Service, key: &str) -> String {
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let body = json!({"targetUrl": "https://api.example.com/", "delayUntil": later.to_string()}).to_string();
    let made = service.send("POST", "/v1/tasks", &[("x-api-key", key)], Some(&body)).await.expect(201).json();
    made["task"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn all_of_ones_teams_are_one_list_and_nobody_elses_is_in_it() {
    let cast = Cast::assemble().await;
    let row = |id: &str| format!("href=\"/tasks/{id}\"");
    let rows = |page: &str| -> Vec<usize> {
        (0..4).filter(|team| cast.tasks[*team].iter().all(|id| page.contains(&row(id)))).collect()
    };
    let all = cast.list("team=all").await;
    assert_eq!(rows(&all), [0, 1, 2]);
    let place = |team: usize, turn: usize| all.find(&row(&cast.tasks[team][turn])).unwrap();
    let order = [place(2, 1), place(1, 1), place(0, 1), place(2, 0), place(1, 0), place(0, 0)];
    assert!(order.is_sorted(), "the newest of all first: {order:?}");
    assert_eq!(rows(&cast.list("").await), [2], "the team that is looked at");
    assert_eq!(rows(&cast.list(&format!("team={}", cast.teams[0])).await), [0]);
    assert_eq!(rows(&cast.list("team=all&status=completed").await), [0; 0]);
    for none in [&cast.teams[3], "no-such-team"] {
        let told = cast.crew.get(&cast.service, &format!("/tasks?team={none}")).await.expect(400);
        assert!(told.text().contains("You are in no such team"), "{}", told.text());
        assert_eq!(rows(told.text()), [0; 0]);
    }
    // Only where something may be done can a task be picked.
    for (team, picked) in [(0, true), (1, true), (2, false)] {
        let may = all.contains(&format!("name=\"id\" value=\"{}\"", cast.tasks[team][0]));
        assert_eq!(may, picked, "team {team}");
    }
}

#[tokio::test]
async fn what_is_picked_in_all_teams_is_done_where_the_role_allows_it() {
    let mut cast = Cast::assemble().await;
    let ids: Vec<String> = cast.tasks.iter().map(|tasks| tasks[0].clone()).collect();
    let picked: Vec<(&str, &str)> = ids.iter().map(|id| ("id", id.as_str())).collect();
    let asked = [&[("act", "cancel")], &picked[..]].concat();
    assert!(cast.send("/tasks/many", &asked).await.expect(200).text().contains("Cancel 2 tasks?"));
    let done = cast.send("/tasks/many/do", &asked).await.expect(303);
    assert_eq!(done.header("location"), Some("/tasks?team=all&done=cancel&count=2&left=0"));
    assert_eq!(cast.cancelled().await, [1, 1, 0, 0]);
    for (team, lines) in [(0, 1), (1, 1), (2, 0), (3, 0)] {
        let path = format!("/teams/{}/audit", cast.teams[team]);
        let told = ask(&cast.service, &cast.owner, "GET", &path, None).await.expect(200).json();
        let told = told["entries"].as_array().unwrap();
        assert_eq!(told.iter().filter(|line| line["action"] == "task.cancelled").count(), lines, "team {team}");
    }
    let all = cast.send("/tasks/many", &[("act", "cancel-all"), ("f-status", "delayed")]).await.expect(200);
    assert!(all.text().contains("Cancel 2 tasks?"), "{}", all.text());
    let later = (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(60)).to_string();
    let fields = [("act", "cancel"), ("seen", later.as_str()), ("f-status", "delayed")];
    cast.send("/tasks/many/do", &fields).await.expect(303);
    assert_eq!(cast.cancelled().await, [2, 2, 0, 0]);
}

#[tokio::test]
async fn who_only_reads_the_teams_that_are_meant_does_nothing_there() {
    let mut cast = Cast::assemble().await;
    let (csrf, reads, id) = (cast.csrf.clone(), cast.teams[2].clone(), cast.tasks[2][0].clone());
    for path in ["/tasks/many", "/tasks/many/do"] {
        for team in ["", reads.as_str()] {
            let fields = [("csrf", csrf.as_str()), ("f-team", team), ("act", "cancel"), ("id", &id)];
            let told = cast.crew.submit(&cast.service, path, &fields).await.expect(403);
            assert!(told.text().contains("This needs the role member in read; yours is reader."), "{}", told.text());
        }
    }
    cast.send(&format!("/tasks/{id}/cancel"), &[]).await.expect(403);
    let theirs = cast.tasks[3][0].clone();
    cast.send(&format!("/tasks/{theirs}/cancel"), &[]).await.expect(404);
    // Nothing picked and no list seen is nothing meant.
    let done = cast.send("/tasks/many/do", &[("act", "cancel")]).await.expect(303);
    assert_eq!(done.header("location"), Some("/tasks?team=all&done=cancel&count=0&left=0"));
    assert_eq!(cast.cancelled().await, [0; 4]);
    // In another team than the one that is looked at, one's role there counts.
    let own = cast.tasks[1][0].clone();
    cast.send(&format!("/tasks/{own}/cancel"), &[]).await.expect(303);
    assert_eq!(cast.cancelled().await, [0, 1, 0, 0]);
}
