//! The few drawn signs, as paths that take the colour of the text around them.

use maud::{Markup, html};

/// What a sign stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icon {
    /// The product.
    Brand,
    /// Charts.
    Overview,
    /// The list of tasks.
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
}

impl Icon {
    fn path(self) -> &'static str {
        match self {
            Self::Brand => "M2.5 4.5h6a3.5 3.5 0 0 1 0 7H4M6.5 8.5l-3 3 3 3",
            Self::Overview => "M2.5 13.5v-4M6.2 13.5v-7M9.8 13.5v-5M13.5 13.5v-11",
            Self::Tasks => "M6 4h7.5M6 8h7.5M6 12h7.5M2.5 4h.5M2.5 8h.5M2.5 12h.5",
            Self::Providers => "M8 2 14 5.2v5.6L8 14 2 10.8V5.2zM2 5.2 8 8.4l6-3.2M8 8.4V14",
            Self::Endpoints => {
                "M6.5 9.5l3-3M5 7.5 3.4 9.1a2.5 2.5 0 0 0 3.5 3.5L8.5 11M7.5 5l1.6-1.6a2.5 2.5 0 0 1 3.5 3.5L11 8.5"
            }
            Self::Vault => "M3 7h10v6.5H3zM5 7V5a3 3 0 0 1 6 0v2M8 9.5v1.5",
            Self::Team => {
                "M6 7.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM1.5 13.5c0-2.5 2-4 4.5-4s4.5 1.5 4.5 4M11 3a2.3 2.3 0 0 1 0 4.4M12 9.8c1.6.5 2.5 1.8 2.5 3.7"
            }
            Self::Audit => "M4 2.5h6l2.5 2.5v8.5H4zM6.5 7h3.5M6.5 9.5h3.5",
            Self::Settings => "M2.5 4.5h5M11 4.5h2.5M2.5 11.5H5M8.5 11.5h5M9.2 2.8v3.4M6.8 9.8v3.4",
        }
    }

    /// The sign; what it says is said beside it in words.
    pub fn draw(self) -> Markup {
        html! {
            svg width="16" height="16" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.5"
                stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" {
                path d=(self.path()) {}
            }
        }
    }
}
