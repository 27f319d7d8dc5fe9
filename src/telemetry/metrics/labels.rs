//! The values that labels can take. Each set is closed: what is in none of them falls to `other`.

/// A closed set of label values.
pub trait Label: Copy + 'static {
    /// The label's name.
    const KEY: &'static str;
    /// All values, in the order of [`Label::index`].
    const ALL: &'static [Self];
    /// The value as it is shown.
    fn text(self) -> &'static str;
    /// The value's place in [`Label::ALL`].
    fn index(self) -> usize;
}

/// Makes an enum whose variants are label values.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $key:literal: $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* #[doc = concat!("Shown as `", $text, "`.")] $variant,)*
        }

        impl Label for $name {
            const KEY: &'static str = $key;
            const ALL: &'static [Self] = &[$(Self::$variant),*];

            fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

label! {
    /// A route, by its template; never by the path that was asked for.
    Route, "route":
    // The busiest first: a path is compared with one after the other.
    Tasks = "/v1/tasks",
    Callback = "/v1/callbacks/{callbackId}",
    Task = "/v1/tasks/{id}",
    TaskCancel = "/v1/tasks/{id}/cancel",
    TaskEvents = "/v1/tasks/{id}/events",
    TaskStream = "/v1/tasks/{id}/stream",
    TaskRetry = "/v1/tasks/{id}/retry",
    TaskWebhookResend = "/v1/tasks/{id}/webhook/resend",
    Signal = "/v1/signals/{token}",
    Tokens = "/v1/tokens",
    Token = "/v1/tokens/{id}",
    Providers = "/v1/providers",
    Endpoints = "/v1/endpoints",
    EndpointItem = "/v1/endpoints/{id}",
    EndpointRotate = "/v1/endpoints/{id}/rotate",
    EndpointEvent = "/v1/callbacks/endpoints/{token}",
    Health = "/healthz",
    Ready = "/readyz",
    Metrics = "/metrics",
    OpenApi = "/openapi.json",
    Docs = "/docs",
    DocsStyle = "/docs/style.css",
    SignIn = "/signin",
    SignInRenew = "/signin/renew",
    SignOut = "/signout",
    Me = "/me",
    MeName = "/me/name",
    MePassword = "/me/password",
    Sessions = "/sessions",
    SessionRevoke = "/sessions/{sessionId}/revoke",
    Teams = "/teams",
    Team = "/teams/{teamId}",
    TeamKeys = "/teams/{teamId}/apikeys",
    KeyRevoke = "/apikeys/{keyId}/revoke",
    TeamSecret = "/teams/{teamId}/secret",
    TeamSecretRotate = "/teams/{teamId}/secret/rotate",
    TeamAudit = "/teams/{teamId}/audit",
    TeamMembers = "/teams/{teamId}/members",
    MemberRole = "/teams/{teamId}/members/{accountId}/role",
    MemberRemove = "/teams/{teamId}/members/{accountId}/remove",
    TeamInvitations = "/teams/{teamId}/invitations",
    InvitationRevoke = "/invitations/{invitationId}/revoke",
    InvitationAccept = "/invitations/accept",
    /// Whatever has no template here, the dashboard's pages among it.
    Other = "other",
}

label! {
    /// A request's method.
    Method, "method":
    Get = "GET",
    Post = "POST",
    Put = "PUT",
    Delete = "DELETE",
    Patch = "PATCH",
    Head = "HEAD",
    Options = "OPTIONS",
    /// Any word a client may have made up.
    Other = "other",
}

label! {
    /// The first digit of an answer's status.
    StatusClass, "status":
    Informational = "1xx",
    Success = "2xx",
    Redirection = "3xx",
    ClientError = "4xx",
    ServerError = "5xx",
}

label! {
    /// A task's status.
    TaskStatus, "status":
    Pending = "pending",
    Delayed = "delayed",
    Processing = "processing",
    Waiting = "waiting",
    Polling = "polling",
    Completed = "completed",
    Failed = "failed",
    Timeout = "timeout",
    Cancelled = "cancelled",
}

label! {
    /// How an attempt ended.
    AttemptOutcome, "outcome":
    /// The answer is the task's result.
    Completed = "completed",
    /// The target took the job; the task waits or polls.
    Accepted = "accepted",
    /// The target refused the job with a 4xx.
    Rejected = "rejected",
    /// It failed, and another attempt will follow.
    Retried = "retried",
    /// It failed, and it was the last.
    Failed = "failed",
    /// It took longer than it may, and it was the last.
    Timeout = "timeout",
    /// The guard did not let it out.
    Refused = "refused",
    /// The service went away in the middle of it.
    Interrupted = "interrupted",
    /// A callback, signal or cancellation was there first; the answer changed nothing.
    Overtaken = "overtaken",
    /// Nothing was sent, and it does not count.
    Returned = "returned",
}

label! {
    /// The answer to a callback or signal.
    CallbackAnswer, "status":
    Ok = "200",
    BadRequest = "400",
    Unauthorized = "401",
    NotFound = "404",
    MethodNotAllowed = "405",
    Conflict = "409",
    TooLarge = "413",
    TooMany = "429",
    Unavailable = "503",
    /// Any other status.
    Other = "other",
}

label! {
    /// What a poll found out.
    PollOutcome, "outcome":
    Done = "done",
    Failed = "failed",
    /// The job goes on.
    Pending = "pending",
    /// 401, 403, 404 or 410.
    Refused = "refused",
    /// No answer, 429 or 5xx: it is asked again.
    Later = "later",
    /// Its URL could not be filled in, or must not be called.
    Impossible = "impossible",
}

label! {
    /// What became of an event at an endpoint.
    EndpointOutcome, "outcome":
    /// It found its task.
    Matched = "matched",
    /// Its task is not known yet; it waits.
    Early = "early",
    /// Its task had ended, or it is of no job of ours.
    Ignored = "ignored",
}

label! {
    /// How one attempt at a completion webhook ended.
    DeliveryOutcome, "outcome":
    /// The receiver answered 2xx.
    Delivered = "delivered",
    /// It failed, and another attempt will follow.
    Retried = "retried",
    /// It failed, and it was the last.
    Failed = "failed",
    /// The guard did not let it out.
    Refused = "refused",
}

/// The value shown as `text`.
fn find<L: Label>(text: &str) -> Option<L> {
    L::ALL.iter().copied().find(|label| label.text() == text)
}

impl Route {
    /// The route that a path leads to. Parameters may hold anything but a slash.
    pub fn of_path(path: &str) -> Self {
        let leads = |known: &Self| leads_to(known.text(), path);
        Self::ALL.iter().copied().find(leads).unwrap_or(Self::Other)
    }
}

fn leads_to(template: &str, path: &str) -> bool {
    let (mut wanted, mut found) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted == found => {}
            (Some(wanted), Some(found)) if wanted.starts_with('{') && !found.is_empty() => {}
            _ => return false,
        }
    }
}

impl Method {
    /// The method of that name.
    pub fn named(name: &str) -> Self {
        find(name).unwrap_or(Self::Other)
    }
}

impl TaskStatus {
    /// The status of that name.
    pub fn named(name: &str) -> Option<Self> {
        find(name)
    }
}

impl StatusClass {
    /// The class of a status code; what is none counts as a server's error.
    pub fn of(status: u16) -> Self {
        match status / 100 {
            1 => Self::Informational,
            2 => Self::Success,
            3 => Self::Redirection,
            4 => Self::ClientError,
            _ => Self::ServerError,
        }
    }
}

impl CallbackAnswer {
    /// The label of a status code.
    pub fn of(status: u16) -> Self {
        match status {
            200 => Self::Ok,
            400 => Self::BadRequest,
            401 => Self::Unauthorized,
            404 => Self::NotFound,
            405 => Self::MethodNotAllowed,
            409 => Self::Conflict,
            413 => Self::TooLarge,
            429 => Self::TooMany,
            503 => Self::Unavailable,
            _ => Self::Other,
        }
    }
}
