//! People.

#[allow(clippy::wildcard_imports, reason = "the promises share one vocabulary")]
use super::*;
use uuid::Uuid;

use crate::store::{
    Account, Action, Actor, ApiKey, AuditQuery, Change, Directory, Door, Identity, Invitation, Joining, Line, Role,
    Scope, Session,
};

/// A store that keeps people too.
pub trait Whole: Store + Directory {}
impl<T: Store + Directory> Whole for T {}

fn uid(n: u8) -> Uuid {
    Uuid::from_u128(n.into())
}

fn account(n: u8) -> Account {
    Account {
        uid: uid(n),
        email: format!("a{n}@example.com"),
        name: format!("A {n}"),
        password: Some(format!("$argon2id${n}")),
        created_at: T,
    }
}

fn session(n: u8, of: u8) -> Session {
    Session {
        uid: uid(n),
        hash: [n; 32],
        account: uid(of),
        team: None,
        door: if n.is_multiple_of(2) { Door::Api } else { Door::Browser },
        address: Some("2001:db8::7".parse().unwrap()),
        agent: "Browser".to_owned(),
        created_at: T,
        seen_at: T,
        expires_at: T.plus_millis(10 * MINUTE),
    }
}

fn invitation(n: u8, team: TeamId, role: Role) -> Invitation {
    Invitation {
        uid: uid(n),
        hash: [n; 32],
        team,
        role,
        email: (n.is_multiple_of(2)).then(|| format!("a{n}@example.com")),
        invited_by: uid(1),
        created_at: T,
        expires_at: T.plus_millis(MINUTE),
    }
}

fn line(action: Action, team: Option<TeamId>, at: Timestamp) -> Line {
    let actor = Actor::Account { uid: uid(1), email: "a1@example.com".to_owned() };
    let address = Some("192.0.2.1".parse().unwrap());
    Line { at, actor, action, team, subject: "a1@example.com".to_owned(), name: None, address }
}

async fn change(store: &impl Whole, change: Change) -> Result<(), StoreError> {
    store.change(change, line(Action::Rename, None, T)).await
}

/// Makes the first account, which owns all teams, with session 101.
async fn set_up(store: &impl Whole) {
    store.set_setup_link([9; 32], T.plus_millis(MINUTE)).await.unwrap();
    change(store, Change::SetUp { link: [9; 32], account: account(1), session: session(101, 1) }).await.unwrap();
}

/// Makes another account with this role in a team; its session is 100 more.
async fn join(store: &impl Whole, n: u8, team: TeamId, role: Role) {
    change(store, Change::Invite(invitation(n, team, role))).await.unwrap();
    let joining = Joining::New(Box::new((account(n), session(100 + n, n))));
    change(store, Change::Accept { invitation: [n; 32], joining }).await.unwrap();
}

async fn roles(store: &impl Whole, team: TeamId) -> Vec<(Uuid, Role)> {
    let members = store.members(team).await.unwrap();
    members.into_iter().map(|member| (member.account.uid, member.role)).collect()
}

async fn lines(store: &impl Whole, scope: Scope) -> Vec<Line> {
    let lines = store.audit(AuditQuery { scope, before: None, limit: 100 }).await.unwrap();
    lines.into_iter().map(|(_, line)| line).collect()
}

fn is_taken<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Taken))
}

pub async fn the_first_account_uses_the_setup_link_up(store: &impl Whole) {
    let (one, two) = (team(store, "a").await, team(store, "b").await);
    assert!(!store.has_accounts().await.unwrap());
    for n in [8, 9] {
        store.set_setup_link([n; 32], T.plus_millis(MINUTE)).await.unwrap();
    }
    assert!(!store.is_setup_link([8; 32], T).await.unwrap(), "another was made");
    assert!(!store.is_setup_link([9; 32], T.plus_millis(MINUTE)).await.unwrap(), "it is over");
    assert!(store.is_setup_link([9; 32], T).await.unwrap());
    let by = |link| Change::SetUp { link, account: account(1), session: session(101, 1) };
    assert!(is_missing(&change(store, by([8; 32])).await));
    let late = line(Action::SetUp, None, T.plus_millis(MINUTE));
    assert!(is_missing(&store.change(by([9; 32]), late).await));
    change(store, by([9; 32])).await.unwrap();
    assert!(store.has_accounts().await.unwrap());
    assert!(!store.is_setup_link([9; 32], T).await.unwrap());
    store.set_setup_link([9; 32], T.plus_millis(MINUTE)).await.unwrap();
    assert!(is_taken(&change(store, by([9; 32])).await), "there is an account");
    let present = store.presence([101; 32]).await.unwrap();
    assert_eq!((present.session, present.account), (session(101, 1), account(1)));
    let teams: Vec<_> = present.teams.into_iter().map(|(team, role)| (team.id, role)).collect();
    assert_eq!(teams, [(one, Role::Owner), (two, Role::Owner)]);
}

pub async fn an_account_is_found_by_id_and_address(store: &impl Whole) {
    set_up(store).await;
    assert_eq!(store.account(uid(1)).await.unwrap(), account(1));
    assert_eq!(store.account_of("a1@example.com".to_owned()).await.unwrap(), account(1));
    assert!(is_missing(&store.account(uid(2)).await));
    assert!(is_missing(&store.account_of("a2@example.com".to_owned()).await));
    change(store, Change::Rename { account: uid(1), name: "Ada".to_owned() }).await.unwrap();
    assert_eq!(store.account(uid(1)).await.unwrap().name, "Ada");
    assert!(is_missing(&change(store, Change::Rename { account: uid(2), name: String::new() }).await));
}

pub async fn an_identity_signs_one_account_in(store: &impl Whole) {
    set_up(store).await;
    let identity = |subject: &str| Identity { issuer: "https://id.example".to_owned(), subject: subject.to_owned() };
    assert!(is_missing(&store.account_by(identity("x")).await));
    let up =
        |n: u8, subject| Change::SignUp { account: account(n), identity: identity(subject), session: session(n, n) };
    change(store, up(2, "x")).await.unwrap();
    assert_eq!(store.account_by(identity("x")).await.unwrap(), account(2));
    assert_eq!(store.presence([2; 32]).await.unwrap().teams, []);
    assert!(is_taken(&change(store, up(3, "x")).await), "the identity");
    assert!(is_missing(&store.account(uid(3)).await), "nothing of it was kept");
    assert!(is_taken(&change(store, up(2, "y")).await), "the address");
    change(store, Change::Link { account: uid(1), identity: identity("y") }).await.unwrap();
    assert_eq!(store.account_by(identity("y")).await.unwrap(), account(1));
    assert!(is_taken(&change(store, Change::Link { account: uid(2), identity: identity("y") }).await));
}

pub async fn a_session_is_found_until_it_ends(store: &impl Whole) {
    let team = team(store, "a").await;
    set_up(store).await;
    change(store, Change::SignIn(session(102, 1))).await.unwrap();
    assert_eq!(store.sessions(uid(1)).await.unwrap(), [session(102, 1), session(101, 1)]);
    assert_eq!(store.presence_of(uid(102)).await.unwrap(), store.presence([102; 32]).await.unwrap());
    store.seen(uid(102), T.plus_millis(5)).await.unwrap();
    store.seen(uid(102), T.plus_millis(3)).await.unwrap();
    store.look_at(uid(102), team).await.unwrap();
    let used = Session { seen_at: T.plus_millis(5), team: Some(team), ..session(102, 1) };
    assert_eq!(store.presence([102; 32]).await.unwrap().session, used);
    assert!(is_missing(&store.seen(uid(103), T).await));
    let end = |account, session| Change::EndSession { account: uid(account), session: uid(session) };
    assert!(is_missing(&change(store, end(2, 102)).await), "somebody else's");
    change(store, end(1, 102)).await.unwrap();
    assert!(is_missing(&change(store, end(1, 102)).await));
    assert!(is_missing(&store.presence([102; 32]).await));
    assert!(is_missing(&store.presence_of(uid(102)).await));
    assert_eq!(store.sessions(uid(1)).await.unwrap(), [session(101, 1)]);
}

pub async fn a_new_password_ends_all_other_sessions(store: &impl Whole) {
    let team = team(store, "a").await;
    set_up(store).await;
    join(store, 2, team, Role::Reader).await;
    for n in [103, 104] {
        change(store, Change::SignIn(session(n, 1))).await.unwrap();
    }
    let set = |account: u8, but| Change::SetPassword { account: uid(account), password: "new".to_owned(), but };
    change(store, set(1, Some(uid(103)))).await.unwrap();
    assert_eq!(store.account(uid(1)).await.unwrap().password.as_deref(), Some("new"));
    assert_eq!(store.sessions(uid(1)).await.unwrap(), [session(103, 1)]);
    assert_eq!(store.sessions(uid(2)).await.unwrap(), [session(102, 2)], "somebody else's stays");
    change(store, Change::EndSessions { account: uid(1), but: None }).await.unwrap();
    assert_eq!(store.sessions(uid(1)).await.unwrap(), []);
    assert!(is_missing(&change(store, set(3, None)).await));
}

pub async fn a_member_is_added_once_and_can_change_and_leave(store: &impl Whole) {
    let (one, two) = (team(store, "a").await, team(store, "b").await);
    set_up(store).await;
    join(store, 2, one, Role::Member).await;
    let add = |team| Change::AddMember { team, account: uid(2), role: Role::Reader };
    assert!(is_taken(&change(store, add(one)).await));
    change(store, add(two)).await.unwrap();
    assert!(is_missing(&change(store, add(TeamId(99))).await));
    assert!(is_missing(&change(store, Change::AddMember { team: two, account: uid(9), role: Role::Reader }).await));
    assert_eq!(roles(store, one).await, [(uid(1), Role::Owner), (uid(2), Role::Member)]);
    assert_eq!(roles(store, two).await, [(uid(1), Role::Owner), (uid(2), Role::Reader)]);
    change(store, Change::SetRole { team: two, account: uid(2), role: Role::Member }).await.unwrap();
    assert_eq!(roles(store, two).await[1], (uid(2), Role::Member));
    change(store, Change::RemoveMember { team: one, account: uid(2) }).await.unwrap();
    assert_eq!(roles(store, one).await, [(uid(1), Role::Owner)]);
    for gone in [
        Change::RemoveMember { team: one, account: uid(2) },
        Change::SetRole { team: one, account: uid(2), role: Role::Owner },
    ] {
        assert!(is_missing(&change(store, gone).await));
    }
    let teams = store.presence([102; 32]).await.unwrap().teams;
    assert_eq!(teams.into_iter().map(|(team, role)| (team.id, role)).collect::<Vec<_>>(), [(two, Role::Member)]);
}

pub async fn a_team_keeps_an_owner(store: &impl Whole) {
    let team = team(store, "a").await;
    set_up(store).await;
    join(store, 2, team, Role::Member).await;
    let is_last = |outcome: Result<(), StoreError>| matches!(outcome, Err(StoreError::LastOwner));
    let set = |n: u8, role| Change::SetRole { team, account: uid(n), role };
    assert!(is_last(change(store, set(1, Role::Member)).await));
    assert!(is_last(change(store, Change::RemoveMember { team, account: uid(1) }).await));
    change(store, set(1, Role::Owner)).await.unwrap();
    change(store, set(2, Role::Owner)).await.unwrap();
    change(store, Change::RemoveMember { team, account: uid(1) }).await.unwrap();
    assert!(is_last(change(store, set(2, Role::Reader)).await));
    assert_eq!(roles(store, team).await, [(uid(2), Role::Owner)]);
}

pub async fn an_invitation_is_used_once(store: &impl Whole) {
    let team = team(store, "a").await;
    set_up(store).await;
    change(store, Change::Invite(invitation(2, team, Role::Member))).await.unwrap();
    let found = store.invitation([2; 32], T).await.unwrap();
    assert_eq!(found, (invitation(2, team, Role::Member), store.team(team).await.unwrap()));
    let accept = |n: u8, joining| Change::Accept { invitation: [n; 32], joining };
    assert!(is_taken(&change(store, accept(2, Joining::Known(uid(1)))).await), "in the team already");
    assert!(
        is_taken(&change(store, accept(2, Joining::New(Box::new((account(1), session(5, 1)))))).await),
        "the address"
    );
    assert!(is_missing(&store.presence([5; 32]).await), "nothing of it was kept");
    change(store, accept(2, Joining::New(Box::new((account(2), session(102, 2)))))).await.unwrap();
    assert_eq!(store.presence([102; 32]).await.unwrap().teams[0].1, Role::Member);
    assert!(is_missing(&change(store, accept(2, Joining::New(Box::new((account(3), session(103, 3)))))).await));
    assert!(is_missing(&store.invitation([2; 32], T).await));
    assert!(is_missing(&store.account(uid(3)).await));
}

pub async fn an_invitation_expires_or_is_taken_back(store: &impl Whole) {
    let (one, two) = (team(store, "a").await, team(store, "b").await);
    set_up(store).await;
    for n in [2, 3] {
        change(store, Change::Invite(invitation(n, one, Role::Reader))).await.unwrap();
    }
    let works = store.invitations(one, T).await.unwrap();
    assert_eq!(works, [invitation(2, one, Role::Reader), invitation(3, one, Role::Reader)]);
    assert_eq!(store.invitation_of(uid(3)).await.unwrap(), works[1]);
    assert_eq!(store.invitations(two, T).await.unwrap(), []);
    let over = T.plus_millis(MINUTE);
    assert_eq!(store.invitations(one, over).await.unwrap(), []);
    assert!(is_missing(&store.invitation([2; 32], over).await));
    let late = Change::Accept { invitation: [2; 32], joining: Joining::New(Box::new((account(2), session(102, 2)))) };
    assert!(is_missing(&store.change(late, line(Action::Accept, None, over)).await));
    assert!(is_missing(&change(store, Change::RevokeInvitation { team: two, uid: uid(3) }).await), "another team's");
    change(store, Change::RevokeInvitation { team: one, uid: uid(3) }).await.unwrap();
    assert!(is_missing(&change(store, Change::RevokeInvitation { team: one, uid: uid(3) }).await));
    assert_eq!(store.invitations(one, T).await.unwrap(), [invitation(2, one, Role::Reader)]);
}

pub async fn a_change_and_its_line_are_one_act(store: &impl Whole) {
    let team = team(store, "a").await;
    set_up(store).await;
    let before = lines(store, Scope::Team(team)).await.len();
    let add = || Change::AddMember { team, account: uid(1), role: Role::Reader };
    let about = line(Action::AddMember, Some(team), T);
    assert!(is_taken(&store.change(add(), about.clone()).await));
    assert_eq!(lines(store, Scope::Team(team)).await.len(), before, "nothing was done");
    store.change(Change::LimitTeam { team, limit: Some(7) }, about.clone()).await.unwrap();
    let after = lines(store, Scope::Team(team)).await;
    assert_eq!((after.len(), &after[0]), (before + 1, &about));
}

pub async fn teams_keys_and_secrets_are_changed_with_a_line(store: &impl Whole) {
    set_up(store).await;
    let new = NewTeam { uid: uid(50), name: "mine".to_owned(), rate_limit: None };
    let make = |owner| Change::CreateTeam { team: new.clone(), seal: Arc::new(|_| vec![1]), owner: Some(uid(owner)) };
    assert!(is_missing(&change(store, make(9)).await));
    assert!(is_missing(&store.team_of(uid(50)).await), "nothing of it was kept");
    change(store, make(1)).await.unwrap();
    assert!(is_taken(&change(store, make(1)).await));
    let team = store.team_of(uid(50)).await.unwrap();
    assert_eq!(roles(store, team.id).await, [(uid(1), Role::Owner)]);
    assert_eq!(lines(store, Scope::Team(team.id)).await[0], line(Action::Rename, Some(team.id), T), "its own");
    let rotate = Change::RotateSecret { team: team.id, sealed: vec![2], old_until: T };
    change(store, rotate).await.unwrap();
    let rotated = store.team(team.id).await.unwrap();
    assert_eq!((rotated.secret, rotated.old_secret), (vec![2], Some((vec![1], T))));
    let key = ApiKey {
        uid: uid(60),
        team: team.id,
        name: "key".to_owned(),
        prefix: "async_1".to_owned(),
        hash: [6; 32],
        created_at: T,
        revoked_at: None,
    };
    change(store, Change::CreateKey(key.clone())).await.unwrap();
    assert!(is_taken(&change(store, Change::CreateKey(key.clone())).await));
    assert_eq!(store.key_of(uid(60)).await.unwrap(), key);
    change(store, Change::RevokeKey(uid(60))).await.unwrap();
    assert!(is_missing(&change(store, Change::RevokeKey(uid(60))).await));
    assert_eq!(store.key_of(uid(60)).await.unwrap().revoked_at, Some(T));
    assert!(is_missing(&store.key_of(uid(61)).await));
}

pub async fn the_audit_log_is_told_newest_first_in_pages(store: &impl Whole) {
    let (one, two) = (team(store, "a").await, team(store, "b").await);
    let actors = [
        Actor::Account { uid: uid(1), email: "a1@example.com".to_owned() },
        Actor::Key { uid: uid(2), prefix: "async_x".to_owned() },
        Actor::Operator,
        Actor::Stranger,
    ];
    let told: Vec<Line> = actors
        .into_iter()
        .zip(0..)
        .map(|(actor, n)| {
            let name = (n % 2 == 1).then(|| format!("thing {n}"));
            Line { actor, name, ..line(Action::ALL[n], Some(one), T.plus_millis(7)) }
        })
        .collect();
    for line in &told {
        store.record(line.clone()).await.unwrap();
    }
    store.record(Line { address: None, ..line(Action::ShowSecret, Some(two), T) }).await.unwrap();
    let page = |before| AuditQuery { scope: Scope::Team(one), before, limit: 3 };
    let first = store.audit(page(None)).await.unwrap();
    let rest = store.audit(page(Some(first[2].0))).await.unwrap();
    let all: Vec<Line> = first.into_iter().chain(rest).map(|(_, line)| line).collect();
    assert_eq!(all, told.into_iter().rev().collect::<Vec<_>>());
}

pub async fn the_audit_log_shows_a_team_its_members_coming_and_going(store: &impl Whole) {
    let (one, two) = (team(store, "a").await, team(store, "b").await);
    set_up(store).await;
    join(store, 2, one, Role::Reader).await;
    let stranger =
        Line { actor: Actor::Stranger, subject: "a2@example.com".to_owned(), ..line(Action::SignInRefused, None, T) };
    store.record(stranger.clone()).await.unwrap();
    store.record(Line { subject: "somebody".to_owned(), ..stranger.clone() }).await.unwrap();
    assert_eq!(lines(store, Scope::Team(one)).await[0], stranger);
    assert!(!lines(store, Scope::Team(two)).await.contains(&stranger));
    assert_eq!(lines(store, Scope::Account(uid(2))).await, [stranger]);
    let own = line(Action::ShowSecret, Some(two), T);
    store.record(own.clone()).await.unwrap();
    assert_eq!(lines(store, Scope::Account(uid(1))).await[0], own);
}

pub async fn what_is_over_is_forgotten(store: &impl Whole) {
    let team = team(store, "a").await;
    set_up(store).await;
    change(store, Change::SignIn(session(102, 1))).await.unwrap();
    store.seen(uid(102), T.plus_millis(MINUTE)).await.unwrap();
    change(store, Change::Invite(invitation(2, team, Role::Reader))).await.unwrap();
    assert_eq!(store.tidy(T, T, T).await.unwrap(), 0);
    let later = T.plus_millis(MINUTE);
    assert_eq!(store.tidy(later, T, T).await.unwrap(), 1, "a session that is not used");
    assert_eq!(store.sessions(uid(1)).await.unwrap().len(), 1);
    assert_eq!(store.tidy(T, T, later).await.unwrap(), 1, "an invitation");
    assert!(is_missing(&store.invitation_of(uid(2)).await));
    assert_eq!(store.tidy(T, T, T.plus_millis(10 * MINUTE)).await.unwrap(), 1, "a session that lasted its time");
    assert_eq!(store.tidy(T, later, T).await.unwrap(), 3, "lines");
    assert_eq!(lines(store, Scope::Account(uid(1))).await, []);
}
