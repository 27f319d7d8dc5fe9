//! How a status looks, wherever it stands.

use maud::{Markup, html};

use crate::task::{Delivery, DeliveryStatus, Status};

/// A status with its sign.
pub fn badge(status: Status) -> Markup {
    html! { span class={"status s-" (status.name())} { (status.name()) } }
}

/// Where a completion webhook stands.
pub fn webhook(delivery: Option<Delivery>) -> Markup {
    let Some(delivery) = delivery else { return html! { span.muted { "none" } } };
    let (name, class) = match delivery.status {
        DeliveryStatus::Pending => ("pending", "t-late"),
        DeliveryStatus::Delivered => ("delivered", "t-ok"),
        DeliveryStatus::Failed => ("failed", "t-bad"),
    };
    html! {
        span class={"status " (class)} { (name) }
        @if let Some(code) = delivery.last_status_code { " " span.code { (code) } }
    }
}

/// An HTTP status code in the colour of its class.
pub fn code(code: u16) -> Markup {
    let class = match code {
        0..300 => "t-ok",
        300..400 => "t-busy",
        _ => "t-bad",
    };
    html! { span class={"code " (class)} { (code) } }
}
