//! What a task follows after its call, in the terms of the provider it called: the meeting place of stored tasks and the
//! templates.

use std::borrow::Cow;

use crate::providers::{self, CallbackRule, Delivery, Json, Outgoing, PollConfig, Template, Verdict, View};
use crate::task::{Answer, CallbackVerdict, Follow, Job, Payload, Request};

/// How a callback is to be read, as far as its id tells.
#[derive(Clone, Copy, Debug)]
pub enum Class {
    /// The first callback resolves the task.
    Plain,
    /// Its task says.
    OfTask,
    /// This template's rule says, and nothing of the task's own.
    Of(&'static Template),
}

/// In the ids of plain tasks.
const PLAIN: u8 = 0;

/// In the ids of tasks that have to be asked.
const OF_TASK: u8 = 1;

/// The number in a task's callback id.
pub fn class(follow: &Follow) -> u8 {
    if follow.callback_config.is_none() && follow.provider.is_none() {
        return PLAIN;
    }
    let own = follow.callback_config.is_some() || follow.callback_secret.is_some();
    template(follow).filter(|_| !own).and_then(|template| template.callback_class).unwrap_or(OF_TASK)
}

/// What the number in a callback id means.
pub fn read_class(class: u8) -> Class {
    match class {
        PLAIN => Class::Plain,
        class => providers::embedded().ok().and_then(|known| known.of_class(class)).map_or(Class::OfTask, Class::Of),
    }
}

/// The template with this id. Templates were checked at the start.
pub fn template_named(id: &str) -> Option<&'static Template> {
    providers::embedded().ok()?.get(id)
}

/// The template of the task's provider.
pub fn template(follow: &Follow) -> Option<&'static Template> {
    template_named(follow.provider.as_deref()?)
}

/// The rule for the task's callbacks: its own, or its provider's.
pub fn rule(follow: &Follow) -> Option<Cow<'static, CallbackRule>> {
    match &follow.callback_config {
        Some(stored) => CallbackRule::restore(stored).ok().map(Cow::Owned),
        None => template(follow)?.callback().map(|callback| Cow::Borrowed(&callback.rule)),
    }
}

/// What an event at an endpoint means by the task's own rule, where it has one; None leaves it to the template's.
pub fn own_verdict(follow: &Follow, body: &[u8]) -> Option<CallbackVerdict> {
    let rule = CallbackRule::restore(follow.callback_config.as_deref()?).ok()?;
    let delivery = Delivery { query: None, content_type: None, body };
    verdict(rule.read(&delivery).ok()?.verdict).ok()
}

/// What a rule's judgement means for the task; or what a test of the URL wants back.
pub fn verdict(judged: Verdict) -> Result<CallbackVerdict, String> {
    match judged {
        Verdict::Done => Ok(CallbackVerdict::Done),
        Verdict::Fail { error } => Ok(CallbackVerdict::Failed(error)),
        Verdict::Interim => Ok(CallbackVerdict::Interim),
        Verdict::Challenge { answer } => Err(answer),
    }
}

/// The webhook secret that the request itself tells the provider, by reference, where the provider wants to be told.
pub fn told_secret(follow: &Follow) -> Option<&str> {
    let tells = |template: &Template| template.callback().is_some_and(|callback| callback.passing.tells_secret());
    follow.callback_secret.as_deref().filter(|_| follow.use_callback && template(follow).is_some_and(tells))
}

/// How the task's job is asked after.
pub fn poll(follow: &Follow) -> Option<PollConfig> {
    PollConfig::restore(follow.poll_config.as_deref()?).ok()
}

/// The provider's own id of the job, as its answer to the call names it.
pub fn job_id(template: &Template, answer: &Payload) -> Option<String> {
    let view = View { body: Json::parse(&answer.body), ..View::default() };
    view.job_id(&template.id_path)
}

/// The same for a task that follows nobody's template: its own rule says where the id is, in callbacks and in the answer.
pub fn job_id_by_rule(rule: &CallbackRule, answer: &Payload) -> Option<String> {
    let view = View { body: Json::parse(&answer.body), ..View::default() };
    view.job_id(&rule.id)
}

/// The job that an accepted answer names, where the provider's webhooks come to one address for all jobs of an account.
fn job(follow: &Follow, answer: &Payload) -> Option<Job> {
    let template = template(follow)?;
    Some(Job { provider: template.account()?.to_owned(), id: job_id(template, answer)? })
}

/// What an answer means for the task in the terms of its provider: one that was accepted names the job, or was refused
/// with 200.
pub fn understood(follow: &Follow, answer: Answer, payload: &Payload) -> Answer {
    let Answer::Accepted { status, .. } = answer else { return answer };
    let envelope = template(follow).and_then(|template| template.envelope.as_ref());
    match envelope.and_then(|envelope| envelope.refusal(&payload.body)) {
        None => Answer::Accepted { status, job: job(follow, payload) },
        Some(refused) => {
            let error = format!("Target rejected the request: {}", refused.error);
            if refused.again {
                Answer::Retryable { status, error, retry_after_ms: None }
            } else {
                Answer::Rejected { status, error }
            }
        }
    }
}

/// The templates whose webhooks come to the account of this name: the account's own, or that of one of its templates.
pub fn templates_of_account(name: &str) -> Vec<&'static Template> {
    providers::embedded().map(|catalogue| catalogue.of_account(name)).unwrap_or_default()
}

/// A request as a template changes it, with its URL and body as they are now.
pub fn outgoing<'a>(request: &'a Request, url: &'a str, body: Option<&'a str>) -> Outgoing<'a> {
    let content_type = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    Outgoing { url, body, content_type: content_type.map(|(_, value)| value.as_str()) }
}
