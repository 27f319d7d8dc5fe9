//! How the service is set up, for those who own a team.

use maud::{Markup, html};

use super::frame::{self, Reader, Section};

/// A setting in force: its name, its value and where it comes from.
pub type InForce = (&'static str, String, String);

/// The page; without values for who may not see them.
pub fn page(values: Option<&[InForce]>, reader: &Reader) -> Markup {
    let about = html! { "What is in force on this node, and where it was set. Settings are changed by flag, variable or file, and a restart." };
    let content = html! {
        (frame::head("Settings", about, html! {}))
        section.panel aria-label="Settings" {
            @match values {
                None => div.empty { p { "Owners of a team see the settings." } },
                Some(values) => div.scroll { table.cards {
                    thead { tr { th { "Setting" } th { "Value" } th { "Set by" } } }
                    tbody { @for (name, value, source) in values { tr {
                        td.mono { (name) }
                        td.mono.line.break { @if value.is_empty() { span.muted { "none" } } @else { (value) } }
                        td.muted data-label="Set by" { (source) }
                    } } }
                } },
            }
        }
    };
    frame::page("Settings", Section::Settings, reader, content)
}
