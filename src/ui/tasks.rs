//! The list of tasks: filters, a page of what fits, and many at once.

use maud::{Markup, html};

use super::filters::{ALL_TEAMS, Filters, templates};
use super::frame::{self, Reader, Section};
use super::task::host_and_path;
use super::{status, words};
use crate::store::browse::{Found, Summary};
use crate::store::{Counts, Role, Team};
use crate::task::{Status, Timestamp};

/// What the page is made of.
pub struct TasksPage<'a> {
    /// What it is narrowed to.
    pub filters: &'a Filters,
    /// What was found, or what is wrong with the filters.
    pub found: Result<Found, String>,
    /// How many of the team's tasks are in each status.
    pub counts: &'a Counts,
    /// When it is looked at.
    pub now: Timestamp,
    /// Who looks.
    pub reader: &'a Reader,
    /// Whose tasks are shown, and what they may do there.
    pub teams: &'a [&'a (Team, Role)],
    /// What was just done.
    pub done: Option<&'a str>,
    /// The first task as a command, for who has none.
    pub first: &'a str,
}

impl TasksPage<'_> {
    /// The page.
    pub fn draw(&self) -> Markup {
        let total: u64 = self.counts.values().sum();
        let content = html! {
            @if self.filters.before.is_empty() { div data-live-url="/live" {} }
            div.head { div { h1 { "Tasks" } p { (self.whose()) } } div.actions { (frame::live_sign()) } }
            @if let Some(done) = self.done { div.notice.ok role="status" { p { (done) } } }
            @if total == 0 && !self.filters.is_narrow() && self.found.is_ok() {
                section.panel { @if self.reader.teams.len() > 1 { (self.form()) } (first_task(self.first)) }
            } @else {
                div.stack { (self.statuses(total)) section.panel aria-label="Tasks" { (self.form()) (self.list()) } }
            }
        };
        frame::page("Tasks", Section::Tasks, self.reader, content)
    }

    fn whose(&self) -> String {
        match self.teams {
            [] => "No team of yours".to_owned(),
            [(team, _)] => format!("Team {}", team.name),
            _ => "All your teams".to_owned(),
        }
    }

    /// The task's team, and what they may do there.
    fn team_of(&self, summary: &Summary) -> Option<&(Team, Role)> {
        self.teams.iter().copied().find(|(team, _)| team.id == summary.task.team)
    }

    /// Whether they may act on any of the tasks.
    fn may_act(&self) -> bool {
        self.teams.iter().any(|(_, role)| *role >= Role::Member)
    }

    fn statuses(&self, total: u64) -> Markup {
        let here = |name: &str| Filters { status: name.to_owned(), ..self.filters.before(None) }.address();
        let current = |name: &str| (self.filters.status == name).then_some("true");
        html! {
            nav.tiles.statuses data-live id="statuses" aria-label="By status" {
                a.tile href=(here("")) aria-current=[current("")] { span.label { "All" } span.value { (words::count(total)) } }
                @for status in Status::ALL {
                    @let count = self.counts.get(&status).copied().unwrap_or_default();
                    a.tile href=(here(status.name())) aria-current=[current(status.name())] {
                        span.label { (status::badge(status)) } span.value { (words::count(count)) }
                    }
                }
            }
        }
    }

    fn form(&self) -> Markup {
        let filters = self.filters;
        html! {
            form.filters method="get" action="/tasks" role="search" aria-label="Narrow the list" {
                @if !filters.status.is_empty() { input type="hidden" name="status" value=(filters.status); }
                div.field.wide-field { label for="text" { "Text in id or URL" } input id="text" name="text" type="search" value=(filters.text); }
                (self.team_field())
                div.field {
                    label for="provider" { "Provider" }
                    select id="provider" name="provider" {
                        option value="" { "Any" }
                        @for template in templates() { option value=(template.id) selected[template.id == filters.provider] { (template.name) } }
                    }
                }
                div.field { label for="host" { "Host" } input id="host" name="host" value=(filters.host) placeholder="api.example.com"; }
                div.field {
                    label for="webhook" { "Webhook" }
                    select id="webhook" name="webhook" {
                        option value="" { "Any" }
                        @for name in ["pending", "delivered", "failed"] { option value=(name) selected[name == filters.webhook] { (name) } }
                    }
                }
                div.field { label for="from" { "Created from (UTC)" } input id="from" name="from" type="datetime-local" value=(filters.from); }
                div.field { label for="until" { "Until (UTC)" } input id="until" name="until" type="datetime-local" value=(filters.until); }
                div.inline { button type="submit" { "Narrow" } @if filters.is_narrow() { a href=(filters.whole().address()) { "Show all" } } }
            }
        }
    }

    /// What goes along with an act: it is about these teams, whatever team is looked at when it is done.
    fn kept(&self) -> Filters {
        let asked = &self.filters.team;
        let team = if asked.is_empty() { &self.reader.team.0 } else { asked };
        Filters { team: team.clone(), ..self.filters.before(None) }
    }

    fn team_field(&self) -> Markup {
        let (here, asked) = (&self.reader.team.0, &self.filters.team);
        html! {
            @if self.reader.teams.len() > 1 {
                div.field {
                    label for="team" { "Team" }
                    select id="team" name="team" {
                        @for (id, name) in &self.reader.teams {
                            option value=(if id == here { "" } else { id }) selected[id == asked || id == here && asked.is_empty()] { (name) }
                        }
                        option value=(ALL_TEAMS) selected[asked == ALL_TEAMS] { "All your teams" }
                    }
                }
            }
        }
    }

    fn list(&self) -> Markup {
        match &self.found {
            Err(wrong) => html! { div.empty { p role="alert" { (wrong) } } },
            Ok(found) if found.tasks.is_empty() => html! { div.empty { (nothing(found)) } (self.foot(found)) },
            Ok(found) => html! {
                form method="post" action="/tasks/many" data-picks {
                    (frame::csrf(&self.reader.csrf))
                    @for (name, value) in self.kept().pairs() { input type="hidden" name={"f-" (name)} value=(value); }
                    div data-live id="rows" { div.scroll { (self.table(&found.tasks)) } }
                    @if self.may_act() { (self.bulk()) }
                }
                (self.foot(found))
            },
        }
    }

    fn table(&self, tasks: &[Summary]) -> Markup {
        html! {
            table.cards {
                thead { tr {
                    @if self.may_act() { th.tick { span.sr { "Pick" } } }
                    th { "Status" } th { "Task" } @if self.teams.len() > 1 { th { "Team" } } th { "Provider" } th.num { "Attempts" } th { "Webhook" } th { "Created" } th.num { "Took" }
                } }
                tbody { @for summary in tasks { (self.row(summary)) } }
            }
        }
    }

    fn row(&self, summary: &Summary) -> Markup {
        let task = &summary.task;
        let id = task.id.to_string();
        let team = self.team_of(summary);
        let may_pick = team.is_some_and(|(_, role)| *role >= Role::Member);
        let took = task.completed_at().map(|at| words::duration(at.millis_since(task.created_at)));
        html! {
            tr {
                @if self.may_act() { td.tick { @if may_pick { input type="checkbox" name="id" value=(id) aria-label={"Pick task " (id)}; } } }
                td { (status::badge(task.status())) }
                td.line.clip-cell {
                    a.mono href={"/tasks/" (id)} title=(id) { (id[..8]) "…" (id[30..]) }
                    " " span.break { b.small { (summary.method.name()) } " " (host_and_path(&summary.target_url)) }
                    @if let Some(error) = &task.error { div.small.t-bad.break { (error) } }
                }
                @if let (true, Some((team, _))) = (self.teams.len() > 1, team) { td.break data-label="Team" { (team.name) } }
                td data-label="Provider" { @match &summary.provider { Some(provider) => (provider), None => span.muted { "–" } } }
                td.num data-label="Attempts" { (task.attempt) }
                td data-label="Webhook" { (status::webhook(summary.delivery)) }
                td.nowrap data-label="Created" { (words::ago(task.created_at, self.now)) }
                td.num.nowrap data-label="Took" { @match took { Some(took) => (took), None => span.muted { "–" } } }
            }
        }
    }

    fn bulk(&self) -> Markup {
        html! {
            div.bulk {
                label.inline hidden { input type="checkbox" data-pick-all; "All on this page" }
                span.muted.small data-picked {}
                button type="submit" name="act" value="cancel" data-needs-picks { "Cancel picked" }
                button type="submit" name="act" value="retry" data-needs-picks { "Retry picked" }
                @if self.filters.is_narrow() {
                    span.muted.small { "or every task that fits:" }
                    button type="submit" name="act" value="cancel-all" { "Cancel all that fit…" }
                    button type="submit" name="act" value="retry-all" { "Retry all that fit…" }
                }
            }
        }
    }

    fn foot(&self, found: &Found) -> Markup {
        let older = found.next.map(|next| self.filters.before(Some(next)).address());
        html! {
            div.foot {
                span { "Looked at " (words::plural(found.looked_at as u64, "task", "tasks")) @if found.next.is_none() { ", to the oldest" } }
                span.inline {
                    @if !self.filters.before.is_empty() { a.button href=(self.filters.before(None).address()) { "Newest" } }
                    @if let Some(older) = older {
                        a.button href=(older) rel="next" { (if found.tasks.is_empty() { "Look further back" } else { "Older" }) }
                    }
                }
            }
        }
    }
}

fn nothing(found: &Found) -> Markup {
    html! {
        @if found.next.is_some() {
            h2 { "Nothing fits so far" }
            p { "The last " (words::count(found.looked_at as u64)) " tasks were looked at, and there are older ones." }
        } @else {
            h2 { "Nothing fits" }
            p { "No task fits these filters." }
        }
    }
}

/// What somebody sees who has no task yet.
pub fn first_task(command: &str) -> Markup {
    html! {
        div.empty {
            h2 { "Create the first task" }
            p {
                "A task calls a URL for you, retries it, and waits for the answer that comes later: a provider's webhook, a signal or a poll. "
                "Put an API key in place of " code { "$KEY" } " (" a href="/team" { "make one" } ") and paste this:"
            }
            (frame::paste(command))
            p { "It shows up here at once. The answer holds " code { "task.id" } "; " code { "GET /v1/tasks/{id}?wait=25" } " waits for its end." }
        }
    }
}

/// The first task as a command.
pub fn first_command(base_url: &str) -> String {
    format!(
        "curl -s {base_url}/v1/tasks \\\n  -H \"Authorization: Bearer $KEY\" \\\n  -H 'Content-Type: application/json' \\\n  \
         -d '{{\"targetUrl\": \"https://httpbin.org/post\", \"body\": \"{{\\\"hello\\\": \\\"queue\\\"}}\"}}'"
    )
}

/// What is about to be done to many tasks, for a last look.
pub struct Many<'a> {
    /// `cancel` or `retry`.
    pub act: &'a str,
    /// The tasks it can be done to, by status.
    pub able: Vec<(Status, usize)>,
    /// How many were picked or fit, but cannot.
    pub unable: usize,
    /// Their ids, where they were picked.
    pub ids: &'a [String],
    /// What the list was narrowed to.
    pub filters: &'a Filters,
    /// When it was looked at, where all that fitted are meant.
    pub seen: &'a str,
    /// Whether there are more than one act takes.
    pub more: bool,
    /// Makes a second click harmless.
    pub nonce: &'a str,
}

impl Many<'_> {
    /// The page.
    pub fn draw(&self, reader: &Reader) -> Markup {
        let count: usize = self.able.iter().map(|(_, count)| count).sum();
        let verb = if self.act == "retry" { "Retry" } else { "Cancel" };
        let title = format!("{verb} {}?", words::plural(count as u64, "task", "tasks"));
        let content = html! {
            p.crumbs { a href=(self.filters.address()) { "Tasks" } " / " (verb) }
            (frame::head(&title, html! {}, html! {}))
            section.panel { div.body.stack {
                ul { @for (status, count) in &self.able { li { (words::count(*count as u64)) " " (status::badge(*status)) } } }
                @if self.unable > 0 { p { (words::plural(self.unable as u64, "other is", "others are")) " left alone: " (cannot(self.act)) } }
                @if self.more { p { "There are more that fit; this act takes the newest of them, and can be done again." } }
                @if self.act == "retry" { p { "Each gets a new task with the same request. If a job is paid for, it is paid for again." } }
                form.inline method="post" action="/tasks/many/do" {
                    (frame::csrf(&reader.csrf))
                    input type="hidden" name="act" value=(self.act);
                    input type="hidden" name="nonce" value=(self.nonce);
                    @for id in self.ids { input type="hidden" name="id" value=(id); }
                    input type="hidden" name="seen" value=(self.seen);
                    @for (name, value) in self.filters.pairs() { input type="hidden" name={"f-" (name)} value=(value); }
                    button.primary type="submit" disabled[count == 0] { (verb) " " (words::plural(count as u64, "task", "tasks")) }
                    a.button href=(self.filters.address()) { "Leave them" }
                }
            } }
        };
        frame::page(&title, Section::Tasks, reader, content)
    }
}

fn cannot(act: &str) -> &'static str {
    if act == "retry" { "they have not ended." } else { "they have ended, or are being called just now." }
}
