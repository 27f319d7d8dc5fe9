//! A shared store in a database of its own.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use asyncqueue::store::NoObserver;
use asyncqueue::store::postgres::{Introduction, Options, Postgres};

/// A node's view of a shared store.
pub struct Shared {
    store: Postgres,
    #[allow(dead_code, reason = "not every test that shares this file opens it again")]
    url: String,
}

#[allow(dead_code, reason = "not every test that shares this file needs all of it")]
impl Shared {
    pub async fn new() -> Self {
        Self::at(crate::postgres::shared().database()).await
    }

    /// One more node on the same database.
    pub async fn another(&self) -> Self {
        Self::at(self.url.clone()).await
    }

    pub async fn at(url: String) -> Self {
        Self { store: open(&url).await, url }
    }

    /// The node leaves, and another one comes.
    pub async fn reopen(&mut self) {
        self.store.leave().await.unwrap();
        self.store = open(&self.url).await;
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Deref for Shared {
    type Target = Postgres;

    fn deref(&self) -> &Postgres {
        &self.store
    }
}

async fn open(url: &str) -> Postgres {
    let introduction = Introduction {
        name: "a test".to_owned(),
        roles: "api,callbacks,dispatch,deliver,poll".to_owned(),
        address: "127.0.0.1:0".to_owned(),
        // Nobody beats here.
        lease: Duration::from_secs(600),
    };
    let options = Options {
        url: url.to_owned(),
        observer: Arc::new(NoObserver),
        introduction: Some(introduction),
        require_sync: false,
    };
    Postgres::open(options).await.unwrap()
}
