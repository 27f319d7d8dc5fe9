//! What a list of tasks is narrowed to, as it stands in the page's address.

use sha2::{Digest, Sha256};

use crate::providers::{self, Template};
use crate::store::browse::Search;
use crate::store::{HostId, Role, Team};
use crate::task::{DeliveryStatus, Status, TaskId, TeamId, Timestamp};

/// The filters as they were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Whose: the id of one of the reader's teams, [`ALL_TEAMS`], or nothing for the team that is looked at.
    pub team: String,
    /// A status's name, or nothing.
    pub status: String,
    /// A provider template's id.
    pub provider: String,
    /// A host, with its port where that is not the usual one.
    pub host: String,
    /// Where the completion webhook stands.
    pub webhook: String,
    /// A text in id or URL.
    pub text: String,
    /// The first moment, as a browser writes it: `2026-11-25T22:45`, UTC.
    pub from: String,
    /// The moment after the last.
    pub until: String,
    /// Where the page before ended.
    pub before: String,
}

/// The fields, in the order in which they are written.
const FIELDS: [&str; 9] = ["team", "status", "provider", "host", "webhook", "text", "from", "until", "before"];

/// What stands for all of the reader's teams.
pub const ALL_TEAMS: &str = "all";

/// How long a filter may be.
const FILTER_MAX: usize = 500;

impl Filters {
    /// Reads them from pairs of names and values; what is not known is passed over.
    pub fn read<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut filters = Self::default();
        for (name, value) in pairs {
            let value: String = value.trim().chars().take(FILTER_MAX).collect();
            if let Some(field) = filters.field(name) {
                *field = value;
            }
        }
        filters
    }

    /// Reads them from a query string.
    pub fn of_query(query: &str) -> Self {
        let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
        Self::read(pairs.iter().map(|(name, value)| (&**name, &**value)))
    }

    fn field(&mut self, name: &str) -> Option<&mut String> {
        Some(match name {
            "team" => &mut self.team,
            "status" => &mut self.status,
            "provider" => &mut self.provider,
            "host" => &mut self.host,
            "webhook" => &mut self.webhook,
            "text" => &mut self.text,
            "from" => &mut self.from,
            "until" => &mut self.until,
            "before" => &mut self.before,
            _ => return None,
        })
    }

    /// The pairs that are set.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut all = self.clone();
        let pair = |name: &'static str| Some((name, all.field(name)?.clone())).filter(|(_, value)| !value.is_empty());
        FIELDS.into_iter().filter_map(pair).collect()
    }

    /// The address of the list with these filters.
    pub fn address(&self) -> String {
        let pairs = self.pairs();
        if pairs.is_empty() {
            return "/tasks".to_owned();
        }
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        format!("/tasks?{query}")
    }

    /// The same on another page.
    #[must_use]
    pub fn before(&self, task: Option<TaskId>) -> Self {
        Self { before: task.map(|id| id.to_string()).unwrap_or_default(), ..self.clone() }
    }

    /// The same teams, and nothing else.
    #[must_use]
    pub fn whole(&self) -> Self {
        Self { team: self.team.clone(), ..Self::default() }
    }

    /// The same, without what was created after that moment.
    #[must_use]
    pub fn seen_at(&self, moment: &str) -> Self {
        let until = if self.until.is_empty() { moment } else { &self.until };
        Self { until: until.to_owned(), ..self.clone() }
    }

    /// Whether anything but teams narrows the list.
    pub fn is_narrow(&self) -> bool {
        self.before(None) != self.whole()
    }

    /// Whose tasks are meant, of all teams of somebody who looks at `here`; none if it is no team of theirs.
    pub fn teams<'a>(&self, here: TeamId, all: &'a [(Team, Role)]) -> Vec<&'a (Team, Role)> {
        let is_meant = |team: &Team| match &*self.team {
            "" => team.id == here,
            ALL_TEAMS => true,
            uid => team.uid.to_string() == uid,
        };
        all.iter().filter(|(team, _)| is_meant(team)).collect()
    }

    /// The whole id that was asked for, if it is one.
    pub fn task(&self) -> Option<TaskId> {
        TaskId::parse(&self.text.to_ascii_lowercase())
    }

    /// What the store is asked of a team; or which filter makes no sense.
    pub fn search(&self, team: TeamId, limit: usize, steps: usize) -> Result<Search, String> {
        let mut search = Search::all(team, limit, steps);
        let set = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        search.status = match &*self.status {
            "" => None,
            name => Some(Status::from_name(name).ok_or_else(|| format!("There is no status “{name}”."))?),
        };
        search.webhook = webhook(&self.webhook)?;
        search.provider = set(&self.provider);
        search.host = set(&self.host).map(|host| host_id(&host));
        search.text = set(&self.text);
        search.from = moment(&self.from)?;
        search.until = moment(&self.until)?;
        search.before = match &*self.before {
            "" => None,
            id => Some(TaskId::parse(id).ok_or("The page's address is damaged; begin at the newest task.")?),
        };
        Ok(search)
    }
}

fn webhook(name: &str) -> Result<Option<DeliveryStatus>, String> {
    match name {
        "" => Ok(None),
        "pending" => Ok(Some(DeliveryStatus::Pending)),
        "delivered" => Ok(Some(DeliveryStatus::Delivered)),
        "failed" => Ok(Some(DeliveryStatus::Failed)),
        other => Err(format!("A webhook is pending, delivered or failed, not “{other}”.")),
    }
}

/// A time as a browser's field writes it, or in full; without a zone it is UTC.
fn moment(text: &str) -> Result<Option<Timestamp>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let read = |text: &str| text.parse::<jiff::Timestamp>().ok();
    let time = read(text).or_else(|| read(&format!("{text}Z")));
    let time = time.ok_or_else(|| format!("“{text}” is no time; write it as 2026-11-25T22:45 (UTC)."))?;
    Ok(Some(Timestamp(time.as_millisecond())))
}

/// The number by which the store knows a target host; without a scheme it is that of https.
fn host_id(host: &str) -> HostId {
    let text = if host.contains("://") { host.to_owned() } else { format!("https://{host}") };
    let authority = url::Url::parse(&text).ok().and_then(|url| {
        let port = url.port_or_known_default()?;
        Some(format!("{}:{port}", url.host_str()?))
    });
    let digest = Sha256::digest(authority.unwrap_or(text).as_bytes());
    let mut number = [0; 8];
    number.copy_from_slice(&digest[..8]);
    HostId(i64::from_be_bytes(number))
}

/// Every provider template.
pub fn templates() -> impl Iterator<Item = &'static Template> {
    providers::embedded().ok().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_survive_the_way_through_an_address() {
        let asked = "status=failed&text=a%26b%3D%22&host=queue.fal.run&x=y&from=2026-11-25T22%3A45";
        let filters = Filters::of_query(asked);
        assert_eq!(filters.text, "a&b=\"");
        let address = filters.address();
        assert_eq!(Filters::of_query(address.split_once('?').unwrap().1), filters);
        assert_eq!(Filters::default().address(), "/tasks");
        assert!(!Filters { before: "x".to_owned(), ..Filters::default() }.is_narrow());
    }

    #[test]
    fn teams_are_the_readers_own() {
        let team = |id: i64| {
            let (uid, created_at) = (uuid::Uuid::from_u128(id.unsigned_abs().into()), Timestamp(0));
            let (name, secret) = (id.to_string(), Vec::new());
            Team { id: TeamId(id), uid, name, created_at, rate_limit: None, secret, old_secret: None }
        };
        let all = [(team(1), Role::Owner), (team(2), Role::Reader)];
        let meant = |asked: &str| -> Vec<i64> {
            let filters = Filters { team: asked.to_owned(), ..Filters::default() };
            filters.teams(TeamId(2), &all).into_iter().map(|(team, _)| team.id.0).collect()
        };
        assert_eq!(meant(""), [2]);
        assert_eq!(meant(ALL_TEAMS), [1, 2]);
        assert_eq!(meant(&all[0].0.uid.to_string()), [1]);
        assert_eq!(meant(&team(3).uid.to_string()), [0; 0]);
        assert!(!Filters::of_query("team=all&before=x").is_narrow());
    }

    #[test]
    fn times_are_utc_unless_they_say_otherwise() {
        let at = |text| moment(text).map(|at| at.map(|at| at.0));
        assert_eq!(at("1970-01-01T00:01"), Ok(Some(60_000)));
        assert_eq!(at("1970-01-01T01:01:00+01:00"), Ok(Some(60_000)));
        assert_eq!(at(""), Ok(None));
        assert!(at("yesterday").is_err());
    }

    #[test]
    fn a_host_is_known_by_its_usual_port_too() {
        assert_eq!(host_id("Queue.fal.run"), host_id("https://queue.fal.run:443/"));
        assert_eq!(host_id("http://127.0.0.1"), host_id("127.0.0.1:80"));
        assert_ne!(host_id("queue.fal.run"), host_id("http://queue.fal.run"));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let wrong = |query| Filters::of_query(query).search(TeamId(1), 1, 1).is_err();
        assert!(wrong("status=done") && wrong("webhook=maybe") && wrong("before=1") && wrong("from=x"));
        assert!(!wrong("status=failed&provider=fal&text=x"));
    }
}
