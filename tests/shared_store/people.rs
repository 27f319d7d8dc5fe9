//! What two nodes decide about people at once is decided once.

use asyncqueue::store::{
    Account, Action, Actor, Change, Directory, Door, Invitation, Joining, Line, Role, Session, StoreError,
};
use asyncqueue::task::{TeamId, Timestamp};
use uuid::Uuid;

use super::{sql, team};
use crate::shared::Shared;

const T: Timestamp = Timestamp(1_700_000_000_000);
const ROUNDS: u8 = 20;

fn account(n: u8) -> Account {
    let email = format!("a{n}@example.com");
    Account { uid: Uuid::from_u128(n.into()), email, name: String::new(), password: None, created_at: T }
}

fn session(n: u8) -> Session {
    Session {
        uid: Uuid::from_u128(n.into()),
        hash: [n; 32],
        account: account(n).uid,
        team: None,
        door: Door::Browser,
        address: None,
        agent: String::new(),
        created_at: T,
        seen_at: T,
        expires_at: T.plus_millis(60_000),
    }
}

async fn change(store: &Shared, change: Change) -> Result<(), StoreError> {
    let line = Line {
        at: T,
        actor: Actor::Operator,
        action: Action::Rename,
        team: None,
        subject: String::new(),
        name: None,
        address: None,
    };
    store.change(change, line).await
}

fn set_up(n: u8) -> Change {
    Change::SetUp { link: [9; 32], account: account(n), session: session(n) }
}

async fn owners(store: &Shared, team: TeamId) -> Vec<Uuid> {
    let members = store.members(team).await.unwrap();
    members.into_iter().filter(|one| one.role == Role::Owner).map(|one| one.account.uid).collect()
}

#[tokio::test]
async fn one_of_two_uses_the_setup_link() {
    for _ in 0..ROUNDS / 4 {
        let store = Shared::new().await;
        let other = store.another().await;
        store.set_setup_link([9; 32], T.plus_millis(1)).await.unwrap();
        let outcomes = tokio::join!(change(&store, set_up(1)), change(&other, set_up(2)));
        let lost = match outcomes {
            (Ok(()), Err(error)) | (Err(error), Ok(())) => error,
            both => panic!("{both:?}"),
        };
        assert!(matches!(lost, StoreError::Taken | StoreError::NotFound), "{lost:?}");
        assert_eq!(sql(&store, "SELECT (SELECT count(*) FROM account), (SELECT count(*) FROM audit)"), "1|1");
    }
}

#[tokio::test]
async fn two_owners_who_remove_each_other_leave_one() {
    let store = Shared::new().await;
    let other = store.another().await;
    store.set_setup_link([9; 32], T.plus_millis(1)).await.unwrap();
    change(&store, set_up(1)).await.unwrap();
    let hash = [2; 32];
    for n in 0..ROUNDS {
        let team = team(&store, &format!("team {n}")).await;
        if n == 0 {
            change(&store, Change::AddMember { team, account: account(1).uid, role: Role::Owner }).await.unwrap();
            let invitation = Invitation {
                uid: Uuid::from_u128(2),
                hash,
                team,
                role: Role::Owner,
                email: None,
                invited_by: account(1).uid,
                created_at: T,
                expires_at: T.plus_millis(1),
            };
            change(&store, Change::Invite(invitation)).await.unwrap();
            let joining = || Joining::New(Box::new((account(2), session(2))));
            let accept = || Change::Accept { invitation: hash, joining: joining() };
            let outcomes = tokio::join!(change(&store, accept()), change(&other, accept()));
            assert!(outcomes.0.is_ok() != outcomes.1.is_ok(), "{outcomes:?}");
        } else {
            for one in [1, 2] {
                let add = Change::AddMember { team, account: account(one).uid, role: Role::Owner };
                change(&store, add).await.unwrap();
            }
        }
        let remove = |n| Change::RemoveMember { team, account: account(n).uid };
        let step_down = |n| Change::SetRole { team, account: account(n).uid, role: Role::Reader };
        let outcomes = if n % 2 == 0 {
            tokio::join!(change(&store, remove(1)), change(&other, remove(2)))
        } else {
            tokio::join!(change(&store, step_down(1)), change(&other, step_down(2)))
        };
        match &outcomes {
            (Ok(()), Err(StoreError::LastOwner)) | (Err(StoreError::LastOwner), Ok(())) => {}
            both => panic!("{both:?}"),
        }
        assert_eq!(owners(&store, team).await.len(), 1);
    }
}
