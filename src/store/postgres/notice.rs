//! What nodes tell each other for a few seconds. It need not outlive the server, and is not worth waiting for a disk.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio_postgres::types::Type;

use super::Postgres;
use super::node::NOW_MS;
use crate::store::StoreError;

/// How long a notice is there to be heard.
const KEPT_MS: i64 = 5_000;

/// What this node has told and heard.
#[derive(Debug, Default)]
pub(super) struct Notices(Mutex<Heard>);

#[derive(Debug, Default)]
struct Heard {
    told: i64,
    /// The last notice of each other node that was heard.
    heard: HashMap<i64, i64>,
}

/// Removes what dead nodes have told; a living one removes its own.
pub(super) fn forget_old() -> String {
    format!(
        "DELETE FROM notice WHERE at < {NOW_MS} - 60000 AND NOT EXISTS (SELECT FROM node n WHERE n.id = notice.node)"
    )
}

impl Postgres {
    /// Tells the other nodes something, if there is something; answers what they have told since this was asked last.
    pub async fn exchange(&self, text: Option<String>) -> Result<Vec<String>, StoreError> {
        let me = self.shared.me.id();
        if let Some(text) = text {
            let seq = {
                let mut notices = self.notices.0.lock().unwrap_or_else(PoisonError::into_inner);
                notices.told += 1;
                notices.told
            };
            let old = format!("DELETE FROM notice WHERE node = $1 AND at < {NOW_MS} - {KEPT_MS}");
            self.ask(&old, vec![(&me, Type::INT8)]).await?;
            let sql = format!(
                "INSERT INTO notice (node, seq, at, text) VALUES ($1, $2, {NOW_MS}, $3) ON CONFLICT DO NOTHING"
            );
            self.ask(&sql, vec![(&me, Type::INT8), (&seq, Type::INT8), (&text, Type::TEXT)]).await?;
        }
        let sql = format!(
            "SELECT node, seq, text FROM notice WHERE node <> $1 AND at > {NOW_MS} - {KEPT_MS} ORDER BY node, seq"
        );
        let rows = self.ask(&sql, vec![(&me, Type::INT8)]).await?;
        let mut notices = self.notices.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut news = Vec::new();
        for row in rows {
            let (node, seq): (i64, i64) = (row.get(0), row.get(1));
            let heard = notices.heard.entry(node).or_default();
            if seq > *heard {
                *heard = seq;
                news.push(row.get(2));
            }
        }
        Ok(news)
    }
}
