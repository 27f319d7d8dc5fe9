//! Who takes what on: due calls, webhooks and polls are claimed by one node each, and timers are fired once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::batch::{self, Batch};
use super::handout::{claim_of, record, share};
use super::row::{self, Row};
use super::session::Session;
use super::{PART_OF_ACTS, Postgres, away, failed};
use crate::store::{Capacity, Claimed, ClaimedDelivery, ClaimedPoll, Effects, HostId, StoreError, Sweep, TaskTaker};
use crate::task::{self, Event, State, TaskId, TeamId, Timestamp};

/// A due poll whose host has no room is looked at again after this time.
const PUT_OFF_MS: i64 = 1000;

/// Due polls looked at in one act.
const POLLS_MAX: i64 = 512;

/// Candidates looked at in one claim, over all teams and hosts.
const CANDIDATES_MAX: usize = 4096;

/// Steps from each team and host that has something to call to the next; no other row is read. Beside each it says whether
/// the store has more than one team, which costs no round trip, and is counted once and no further than to two.
const PAIRS: &str = "WITH RECURSIVE pair AS (\
    (SELECT team, host FROM call WHERE node IS NULL ORDER BY team, host LIMIT 1) \
    UNION ALL \
    SELECT n.team, n.host FROM pair p CROSS JOIN LATERAL (\
        SELECT c.team, c.host FROM call c WHERE c.node IS NULL AND (c.team, c.host) > (p.team, p.host) \
        ORDER BY c.team, c.host LIMIT 1) n\
    ) SELECT team, host, (SELECT count(*) > 1 FROM (SELECT id FROM team LIMIT 2) t) FROM pair LIMIT 4096";

/// Tasks that may be claimed, by team; the best is the last.
type Queues = BTreeMap<TeamId, Vec<TaskId>>;

/// A task that is claimed, with what it counts towards.
type Chosen = (TaskId, TeamId, HostId);

/// What a look found, and holds locked.
struct Look {
    node: i64,
    session: Session,
    batch: Batch,
    queues: Queues,
    /// Who has something to call, and where.
    pairs: Vec<(TeamId, HostId)>,
    has_several_teams: bool,
}

/// What is claimed of it, and whom there was no room for.
pub(super) struct Choice {
    pub(super) chosen: Vec<Chosen>,
    /// Somebody may have been passed over for want of a slot, or of room at a host.
    pub(super) passed_over: bool,
    /// Nobody was for want of a slot: whatever becomes due from now on is next.
    pub(super) drained: bool,
}

impl Postgres {
    pub(super) async fn claim_tasks(
        &self,
        mut capacity: Capacity,
        lease_until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, StoreError> {
        if capacity.slots == 0 {
            return Ok(Vec::new());
        }
        let mut look = self.look(capacity.clone()).await?;
        let Choice { chosen, .. } = self.choose(&mut look, &mut capacity);
        self.claim_chosen(look, &chosen, lease_until, now).await
    }

    pub(super) async fn hand_out_tasks(
        &self,
        taker: &Arc<TaskTaker>,
        lease: Duration,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (hand_out, dispatchers) = (&self.shared.hand_out, self.shared.dispatchers.load(Ordering::Acquire));
        hand_out.register_tasks(taker, lease);
        let room = hand_out.room(taker, dispatchers);
        if room.slots == 0 {
            // Where nothing more is taken, a stop, what was promised before must be there when this returns.
            hand_out.settle().await;
            if hand_out.room(taker, dispatchers).slots > 0 {
                self.look_again();
            }
            return Ok(());
        }
        let mut look = self.look(room).await?;
        let choose = |capacity: &mut Capacity| self.choose(&mut look, capacity);
        let (promised, choice, is_alone) = hand_out.promise_chosen(taker, dispatchers, choose);
        let claimed = self.claim_chosen(look, &choice.chosen, now.plus(lease), now).await?;
        hand_out.tasks_drained.store(choice.drained, Ordering::Release);
        promised.hand_over(taker, claimed);
        if choice.passed_over && !is_alone {
            // Perhaps for something that was only promised: if it comes to nothing, the end of no call tells.
            self.look_again();
        }
        Ok(())
    }

    fn look_again(&self) {
        self.shared.observer.committed(&Effects { ready: true, ..Effects::default() });
    }

    /// Locks what may be claimed.
    async fn look(&self, mut capacity: Capacity) -> Result<Look, StoreError> {
        let node = self.claims()?;
        let session = Session::begin(&self.pool).await?;
        let pairs = session.query(PAIRS, vec![]).await?;
        let has_several_teams = pairs.first().is_some_and(|row| row.get(2));
        if !has_several_teams {
            capacity.reserve = 0;
        }
        let pairs: Vec<(TeamId, HostId)> = pairs.iter().map(|row| (TeamId(row.get(0)), HostId(row.get(1)))).collect();
        let mut batch = Batch::default();
        let queues = lock_candidates(&session, &pairs, &capacity, &mut batch).await?;
        Ok(Look { node, session, batch, queues, pairs, has_several_teams })
    }

    async fn claim_chosen(
        &self,
        look: Look,
        chosen: &[Chosen],
        lease_until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, StoreError> {
        let Look { node, session, mut batch, .. } = look;
        for (id, ..) in chosen {
            let row = batch.row(*id)?.clone();
            // What is locked is as it was when it was queued: nobody else may change it.
            let step = task::step(&row.task, &Event::Claimed { lease_until }, now)?;
            batch.apply(row, step, None, now);
            batch.callers.insert(*id, node);
            batch.want(*id, Some(0));
        }
        let bodies = session.finish(&mut batch, self.shared.part(PART_OF_ACTS)).await?;
        self.shared.observer.committed(&batch.effects);
        self.still_claims(node)?;
        let claim = |id: TaskId| {
            let row = batch.row(id)?;
            let request = record(row, &bodies)?.request;
            Ok(Claimed { task: row.task.clone(), request, host: row.host, key_number: row.key_number })
        };
        let claimed = readable(chosen.iter().map(|(id, ..)| claim(*id)));
        self.shared.hands.calls.take(claimed.iter().map(|claim| claim.task.id));
        Ok(claimed)
    }

    /// Teams take turns; inside a team by priority, then by due time, then by age.
    fn choose(&self, look: &mut Look, capacity: &mut Capacity) -> Choice {
        let Look { batch, queues, pairs, has_several_teams, .. } = look;
        if !*has_several_teams {
            // There is nobody to reserve anything for.
            capacity.reserve = 0;
        }
        let mut chosen = Vec::new();
        let mut turn = self.turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        turn.update(queues.keys().copied());
        while capacity.slots > 0 && !queues.is_empty() {
            let Some(team) = turn.next(queues) else { break };
            let Some(queue) = queues.get_mut(&team) else { break };
            let has_slots = capacity.slots_for(team) > 0;
            match has_slots.then(|| next_with_room(queue, batch, capacity)).flatten() {
                Some((id, host)) => {
                    capacity.enter(team, host, 1);
                    chosen.push((id, team, host));
                    turn.went(team);
                }
                None => drop(queues.remove(&team)),
            }
        }
        let drained = capacity.slots > 0 && pairs.iter().all(|(team, _)| capacity.slots_for(*team) > 0);
        let passed_over = !drained || pairs.iter().any(|(_, host)| capacity.room_at(*host) == 0);
        Choice { chosen, passed_over, drained }
    }

    pub(super) async fn fire(&self, sweep: Sweep, now: Timestamp) -> Result<usize, StoreError> {
        let session = Session::begin(&self.pool).await?;
        let limit = i64::try_from(sweep.limit).unwrap_or(i64::MAX);
        // Locked, so that no other node fires what this one puts off: the task itself does not tell that it was.
        let sql = "SELECT at, id FROM timer WHERE at <= $1 ORDER BY at, id LIMIT $2 FOR UPDATE SKIP LOCKED";
        let due = session.query(sql, vec![(&now.0, Type::INT8), (&limit, Type::INT8)]).await?;
        let due: Vec<(i64, Uuid)> = due.iter().map(|row| (row.get(0), row.get(1))).collect();
        let ids: Vec<Uuid> = due.iter().map(|(_, id)| *id).collect();
        let mut batch = Batch::default();
        batch.hold(&batch::lock_free(&session.link().client, &ids).await.map_err(failed)?)?;
        // What somebody else holds is fired next time. A timer whose task is gone is dropped, as is one whose task moved on.
        let there =
            session.query("SELECT id FROM task WHERE id = ANY($1::uuid[])", vec![(&ids, Type::UUID_ARRAY)]).await?;
        let there: std::collections::HashSet<Uuid> = there.iter().map(|row| row.get(0)).collect();
        let (mut ats, mut fired) = (Vec::new(), Vec::new());
        for (at, id) in due.into_iter().filter(|(_, id)| !there.contains(id) || batch.has(TaskId(*id))) {
            ats.push(at);
            fired.push(id);
        }
        for id in &fired {
            fire_one(&mut batch, TaskId(*id), sweep, now)?;
        }
        let sql = "DELETE FROM timer AS t USING unnest($1::bigint[], $2::uuid[]) AS u (at, id) \
            WHERE t.at = u.at AND t.id = u.id";
        session.execute(sql, vec![(&ats, Type::INT8_ARRAY), (&fired, Type::UUID_ARRAY)]).await?;
        session.finish(&mut batch, self.shared.part(PART_OF_ACTS)).await?;
        self.shared.observer.committed(&batch.effects);
        Ok(fired.len())
    }

    pub(super) async fn claim_webhooks(
        &self,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<ClaimedDelivery>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let (node, most) = (self.claims()?, i64::try_from(limit).unwrap_or(i64::MAX));
        let session = Session::begin(&self.pool).await?;
        let sql = "UPDATE outbox SET node = $1 WHERE id IN (SELECT id FROM outbox WHERE node IS NULL AND at <= $2 \
            ORDER BY at, id LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING at, id";
        let rows = session.query(sql, vec![(&node, Type::INT8), (&now.0, Type::INT8), (&most, Type::INT8)]).await?;
        let mut due: Vec<(i64, Uuid)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        due.sort_unstable();
        let ids: Vec<Uuid> = due.iter().map(|(_, id)| *id).collect();
        let (rows, mut batch) = (self.read_rows(&session, &ids).await?, Batch::default());
        for row in rows.values() {
            batch.want_record(row);
        }
        let bodies = session.finish(&mut batch, self.shared.part(PART_OF_ACTS)).await?;
        self.still_claims(node)?;
        let drained = due.len() < limit;
        self.shared.hand_out.webhooks_drained.store(drained, Ordering::Release);
        let claims = due.iter().filter_map(|(_, id)| rows.get(&TaskId(*id))).map(|row| claim_of(row, &bodies));
        let claimed = readable(claims);
        self.shared.hands.webhooks.take(claimed.iter().map(|claim| claim.record.task.id));
        Ok(claimed)
    }

    pub(super) async fn claim_due_polls(
        &self,
        capacity: Capacity,
        now: Timestamp,
    ) -> Result<Vec<ClaimedPoll>, StoreError> {
        if capacity.slots == 0 {
            return Ok(Vec::new());
        }
        let node = self.claims()?;
        let mut capacity = share(capacity, self.shared.dispatchers.load(Ordering::Acquire));
        let session = Session::begin(&self.pool).await?;
        let sql = "SELECT id, at FROM poll WHERE node IS NULL AND at <= $1 ORDER BY at, id LIMIT $2";
        let due = session.query(sql, vec![(&now.0, Type::INT8), (&POLLS_MAX, Type::INT8)]).await?;
        let due: Vec<(Uuid, i64)> = due.iter().map(|row| (row.get(0), row.get(1))).collect();
        let ids: Vec<Uuid> = due.iter().map(|(id, _)| *id).collect();
        let mut batch = Batch::default();
        batch.hold(&batch::lock_free(&session.link().client, &ids).await.map_err(failed)?)?;
        // Somebody may have claimed one between the look and the lock.
        let sql = "SELECT id FROM poll WHERE id = ANY($1::uuid[]) AND node IS NULL";
        let free = session.query(sql, vec![(&ids, Type::UUID_ARRAY)]).await?;
        let free: std::collections::HashSet<Uuid> = free.iter().map(|row| row.get(0)).collect();
        let mut claimed = Vec::new();
        for (id, at) in due.into_iter().filter(|(id, _)| free.contains(id)) {
            if claimed.len() >= capacity.slots {
                break;
            }
            if let Some(row) =
                batch.row(TaskId(id)).ok().filter(|row| row.task.polling.next_at == Some(Timestamp(at))).cloned()
                && claim_poll(&mut batch, row, &mut capacity, node, now)
            {
                claimed.push(TaskId(id));
            }
        }
        let bodies = session.finish(&mut batch, self.shared.part(PART_OF_ACTS)).await?;
        self.shared.observer.committed(&batch.effects);
        self.still_claims(node)?;
        let claim = |id: TaskId| {
            let row = batch.row(id)?;
            let answer = row.answer.and_then(|seq| bodies.get(&(id, seq)).cloned());
            let answer = answer.map(batch::Kept::payload).transpose()?;
            Ok(ClaimedPoll { record: record(row, &bodies)?, answer, host: row.host })
        };
        let claimed = readable(claimed.into_iter().map(claim));
        self.shared.hands.polls.take(claimed.iter().map(|claim| claim.record.task.id));
        Ok(claimed)
    }

    fn claims(&self) -> Result<i64, StoreError> {
        self.shared.me.claims().ok_or_else(|| away("this node is not heard by the others"))
    }

    /// Whether what this node claimed is its own when it hears of it. If the answer took longer than its word holds, others may
    /// have taken it up; where they have not, it is given back as a stranger.
    fn still_claims(&self, node: i64) -> Result<(), StoreError> {
        if self.claims()? == node { Ok(()) } else { Err(away("others took this node for dead while it claimed")) }
    }

    /// Rows by id, without locking them.
    pub(super) async fn read_rows(&self, session: &Session, ids: &[Uuid]) -> Result<HashMap<TaskId, Row>, StoreError> {
        let sql = format!("SELECT {} FROM task t WHERE t.id = ANY($1::uuid[])", row::COLUMNS);
        let rows = session.query(&sql, vec![(&ids, Type::UUID_ARRAY)]).await?;
        rows.iter().map(|found| row::read(found).map(|row| (row.task.id, row))).collect()
    }
}

/// What can be read of what was claimed. The rest must not keep the others back: this node never gets it in hand, so it is
/// given back as a stranger.
fn readable<T>(claims: impl Iterator<Item = Result<T, StoreError>>) -> Vec<T> {
    let log = |error: &StoreError| tracing::error!(%error, "What was claimed cannot be read");
    claims.filter_map(|claim| claim.inspect_err(log).ok()).collect()
}

/// The next of a team's tasks whose host has room. Those before it are not looked at again.
fn next_with_room(queue: &mut Vec<TaskId>, batch: &Batch, capacity: &Capacity) -> Option<(TaskId, HostId)> {
    while let Some(id) = queue.pop() {
        let Ok(row) = batch.row(id) else { continue };
        if capacity.room_at(row.host) > 0 {
            return Some((id, row.host));
        }
    }
    None
}

/// Locks the best of each team's tasks for each host, as far as the host has room and the team may have slots.
async fn lock_candidates(
    session: &Session,
    pairs: &[(TeamId, HostId)],
    capacity: &Capacity,
    batch: &mut Batch,
) -> Result<Queues, StoreError> {
    let most = (CANDIDATES_MAX / pairs.len().max(1)).max(1);
    let (mut teams, mut hosts, mut quotas) = (Vec::new(), Vec::new(), Vec::new());
    for (team, host) in pairs {
        let quota = capacity.room_at(*host).min(capacity.slots_for(*team)).min(most);
        if quota > 0 {
            teams.push(team.0);
            hosts.push(host.0);
            quotas.push(i64::try_from(quota).unwrap_or(i64::MAX));
        }
    }
    let sql = format!(
        "SELECT q.* FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS w (team, host, quota) CROSS JOIN LATERAL (\
         SELECT {} FROM call c JOIN task t ON t.id = c.id \
         WHERE c.node IS NULL AND c.team = w.team AND c.host = w.host \
         ORDER BY c.rank, c.since, c.id LIMIT w.quota FOR UPDATE OF t SKIP LOCKED) q",
        row::COLUMNS
    );
    let columns: batch::Columns<'_> =
        vec![(&teams, Type::INT8_ARRAY), (&hosts, Type::INT8_ARRAY), (&quotas, Type::INT8_ARRAY)];
    batch.hold(&session.query(&sql, columns).await?)?;
    let mut queues = Queues::new();
    for row in batch.rows().filter(|row| matches!(row.task.state, State::Pending { .. })) {
        queues.entry(row.task.team).or_default().push(row.task.id);
    }
    for queue in queues.values_mut() {
        queue.sort_by_key(|id| batch.row(*id).map(place).ok());
        queue.reverse();
    }
    Ok(queues)
}

/// A pending task's place among its team's.
fn place(row: &Row) -> (i16, Timestamp, TaskId) {
    let since = match row.task.state {
        State::Pending { since } => since,
        _ => row.task.created_at,
    };
    (-i16::from(row.task.priority), since, row.task.id)
}

fn fire_one(batch: &mut Batch, id: TaskId, sweep: Sweep, now: Timestamp) -> Result<(), StoreError> {
    let Ok(row) = batch.row(id) else { return Ok(()) };
    let event = match row.task.state {
        State::Delayed { .. } => Event::Due,
        State::Waiting { deadline } | State::Polling { deadline }
            if deadline < sweep.missed_before && now < sweep.not_before =>
        {
            batch.set_timer(sweep.not_before, id);
            return Ok(());
        }
        _ => Event::DeadlinePassed,
    };
    match batch.transition(id, &event, None, now) {
        Ok(_) | Err(StoreError::Refused(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Claims the poll if its host has room; puts it off if not.
fn claim_poll(batch: &mut Batch, mut row: Row, capacity: &mut Capacity, node: i64, now: Timestamp) -> bool {
    let id = row.task.id;
    let calls = capacity.in_flight.entry(row.host).or_default();
    if *calls >= capacity.per_host {
        row.task.polling.next_at = Some(now.plus_millis(PUT_OFF_MS));
        batch.put(row);
        return false;
    }
    *calls += 1;
    batch.pollers.insert(id, Some(node));
    batch.want_record(&row);
    batch.want(id, row.answer);
    true
}
