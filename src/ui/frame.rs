//! What all pages have in common: the document, the navigation, and who is looking.

use http::{HeaderMap, header};
use maud::{DOCTYPE, Markup, html};

use super::assets::{ICON, SCRIPT, STYLE};
use super::icon::Icon;

/// The cookie that holds it.
const COOKIE: &str = "theme";

/// How a reader wants pages to look; without a wish, as the system does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// As the system does.
    #[default]
    System,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    /// All there are, in the order of the switch.
    pub const ALL: [Self; 3] = [Self::System, Self::Light, Self::Dark];

    /// The name in the cookie and in the document.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The theme of this name.
    pub fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|theme| theme.name() == name).unwrap_or_default()
    }

    /// What the reader chose, from the cookie that holds it.
    pub fn chosen(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| Self::named(value)).unwrap_or_default()
    }

    /// The cookie's line that holds it for a year.
    pub fn cookie(self) -> String {
        format!("{COOKIE}={}; Path=/; Max-Age=31536000; SameSite=Lax", self.name())
    }

    fn label(self) -> &'static str {
        match self {
            Self::System => "System",
            Self::Light => "Light",
            Self::Dark => "Dark",
        }
    }
}

/// A part of the dashboard, as the navigation names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// How it goes.
    Overview,
    /// The tasks.
    Tasks,
    /// AI providers.
    Providers,
    /// Addresses for webhooks.
    Endpoints,
    /// Secrets.
    Vault,
    /// People and keys.
    Team,
    /// Who did what.
    Audit,
    /// How the service is set up.
    Settings,
    /// None of these.
    Other,
}

/// The navigation: part, place, name, sign.
const NAVIGATION: [(Section, &str, &str, Icon); 8] = [
    (Section::Overview, "/", "Overview", Icon::Overview),
    (Section::Tasks, "/tasks", "Tasks", Icon::Tasks),
    (Section::Providers, "/providers", "Providers", Icon::Providers),
    (Section::Endpoints, "/endpoints", "Endpoints", Icon::Endpoints),
    (Section::Vault, "/vault", "Vault", Icon::Vault),
    (Section::Team, "/team", "Team and keys", Icon::Team),
    (Section::Audit, "/audit", "Audit log", Icon::Audit),
    (Section::Settings, "/settings", "Settings", Icon::Settings),
];

/// Who is looking, as far as every page says it.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    /// The person's name, or address.
    pub name: String,
    /// What the person may do in this team.
    pub role: &'static str,
    /// The team whose things are shown: id and name.
    pub team: (String, String),
    /// All teams of this person.
    pub teams: Vec<(String, String)>,
    /// Goes with every form.
    pub csrf: String,
    /// Light or dark.
    pub theme: Theme,
    /// Where the reader is, to come back to.
    pub here: String,
}

/// The field that proves that a form is ours.
pub fn csrf(token: &str) -> Markup {
    html! { input type="hidden" name="csrf" value=(token); }
}

/// A form that a person sends by hand.
pub fn form(to: &str, token: &str, content: Markup) -> Markup {
    html! { form method="post" action=(to) { (csrf(token)) (content) } }
}

/// A whole document.
pub fn document(title: &str, theme: Theme, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" data-theme=[(theme != Theme::System).then(|| theme.name())] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) " · AsyncQueue" }
                link rel="icon" type="image/svg+xml" href=(ICON.path);
                link rel="stylesheet" href=(STYLE.path);
                script src=(SCRIPT.path) defer {}
            }
            body { (body) }
        }
    }
}

/// A page of its own, without navigation: signing in, setting up, what went wrong.
pub fn alone(title: &str, theme: Theme, content: Markup) -> Markup {
    document(
        title,
        theme,
        html! {
            main.alone {
                a.brand href="/" { (Icon::Brand.draw()) "AsyncQueue" }
                (content)
            }
        },
    )
}

/// A page of the dashboard.
pub fn page(title: &str, section: Section, reader: &Reader, content: Markup) -> Markup {
    document(
        title,
        reader.theme,
        html! {
            a.skip href="#main" { "Skip to the page" }
            div.shell {
                header.side {
                    a.brand href="/" { (Icon::Brand.draw()) "AsyncQueue" }
                    (navigation(section))
                    (account(reader))
                }
                main.main id="main" { (content) }
            }
        },
    )
}

fn navigation(section: Section) -> Markup {
    html! {
        nav.nav aria-label="Main" {
            ul {
                @for (place, href, name, icon) in NAVIGATION {
                    li { a href=(href) aria-current=[(place == section).then_some("page")] { (icon.draw()) (name) } }
                }
            }
        }
    }
}

fn account(reader: &Reader) -> Markup {
    let initial: String = reader.name.chars().take(1).flat_map(char::to_uppercase).collect();
    html! {
        details.account {
            summary {
                span.avatar aria-hidden="true" { (initial) }
                span.names { span.sr { "Account: " } span { b { (reader.name) } } span.muted { (reader.team.1) } }
            }
            div.popover {
                div { b.break { (reader.name) } p.small.muted { (reader.role) " of " (reader.team.1) } }
                (teams(reader))
                (themes(reader))
                form.inline method="post" action="/logout" {
                    (csrf(&reader.csrf))
                    a.button href="/account" { "Account" }
                    button type="submit" { "Sign out" }
                }
            }
        }
    }
}

fn teams(reader: &Reader) -> Markup {
    html! {
        @if reader.teams.len() > 1 {
            form.field method="post" action="/team/switch" {
                (csrf(&reader.csrf))
                label for="team-switch" { "Team" }
                select id="team-switch" name="team" data-submit {
                    @for (id, name) in &reader.teams {
                        option value=(id) selected[*id == reader.team.0] { (name) }
                    }
                }
                button type="submit" data-without-script { "Show this team" }
            }
        }
    }
}

fn themes(reader: &Reader) -> Markup {
    html! {
        form method="post" action="/theme" {
            (csrf(&reader.csrf))
            input type="hidden" name="back" value=(reader.here);
            div.switch role="group" aria-label="Colours" {
                @for theme in Theme::ALL {
                    button type="submit" name="theme" value=(theme.name())
                        aria-pressed=(if theme == reader.theme { "true" } else { "false" }) { (theme.label()) }
                }
            }
        }
    }
}

/// A page's title with what can be done on it.
pub fn head(title: &str, about: Markup, actions: Markup) -> Markup {
    html! {
        div.head {
            div { h1 { (title) } @if !about.0.is_empty() { p { (about) } } }
            div.actions { (actions) }
        }
    }
}

/// Whether a page stays fresh, and the way to stop it.
pub fn live_sign() -> Markup {
    html! {
        span.live data-live-sign role="status" { "Reload for news" }
        button.quiet type="button" data-live-pause hidden { "Pause" }
    }
}

/// Text to paste; the script adds a button that copies it.
pub fn paste(text: &str) -> Markup {
    html! { div.paste { pre tabindex="0" { code { (text) } } } }
}

/// An act that cannot be taken back: its button opens what it means, and there it is done.
pub fn sure(label: &str, whose: &str, meaning: &str, form: Markup) -> Markup {
    html! {
        details.sure {
            summary.danger aria-label={(label) " " (whose)} { (label) }
            div { p { (meaning) } (form) }
        }
    }
}

/// What came of an act.
pub fn said(text: &str) -> Markup {
    html! { div.notice.ok role="status" { p { (text) } } }
}

/// Why an act was not done.
pub fn not_done(why: &str) -> Markup {
    html! { div.notice.bad role="alert" { p { (why) } } }
}

/// What came of an act and is shown this once.
pub fn once(title: &str, about: &str, text: &str) -> Markup {
    html! { section.notice.ok role="status" { h2 { (title) } p { (about) } (paste(text)) } }
}
