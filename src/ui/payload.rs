//! Bodies as they came: JSON as a tree that opens and closes, everything else as text. They are a stranger's words, so they
//! are text nodes and nothing else; images and pages are links that one follows on purpose.

use std::borrow::Cow;

use maud::{Markup, html};

use super::words;
use crate::providers::{Json, Kind};

/// The largest body that is shown as a tree.
const TREE_MAX: usize = 256 * 1024;

/// The most of a body that is shown as text.
const TEXT_MAX: usize = 64 * 1024;

/// So many values are drawn; a tree of more is no use to anybody.
const VALUES_MAX: usize = 2000;

/// So deep is drawn.
const DEPTH_MAX: usize = 40;

/// The most of one string that is shown.
const STRING_MAX: usize = 2000;

/// Values below this depth are closed at first, and so are those with more members than this.
const OPEN_DEPTH: usize = 3;
const OPEN_MEMBERS: usize = 40;

/// A body; `download` is where it can be had whole.
pub fn body(bytes: &[u8], download: &str) -> Markup {
    let size = words::bytes(bytes.len());
    html! {
        @if bytes.is_empty() {
            p.muted { "Empty" }
        } @else {
            (shown(bytes))
            p.small.muted { (size) " · " a href=(download) download { "Download" } }
        }
    }
}

fn shown(bytes: &[u8]) -> Markup {
    let json = (bytes.len() <= TREE_MAX).then(|| Json::parse(bytes)).flatten();
    match (json, std::str::from_utf8(bytes)) {
        (Some(json), _) => tree(json),
        (None, Ok(text)) => html! { pre.raw tabindex="0" { (cut(text, TEXT_MAX)) } },
        (None, Err(_)) => html! { p { "Binary content." } },
    }
}

/// JSON as a tree.
pub fn tree(json: Json<'_>) -> Markup {
    let mut budget = VALUES_MAX;
    html! { div.tree { (value(None, json, 0, &mut budget)) } }
}

fn value(key: Option<&str>, json: Json<'_>, depth: usize, budget: &mut usize) -> Markup {
    *budget = budget.saturating_sub(1);
    match json.kind() {
        Kind::Object | Kind::Array if json.is_empty() => {
            let empty = if json.kind() == Kind::Object { "{}" } else { "[]" };
            html! { (name(key)) span.c { (empty) } }
        }
        Kind::Object | Kind::Array if depth >= DEPTH_MAX => {
            html! { (name(key)) span.c { "deeper than is shown here" } }
        }
        Kind::Object => {
            branch(key, json.members().map(|(key, value)| (Some(key), value)).collect(), "{", depth, budget)
        }
        Kind::Array => branch(key, json.elements().map(|value| (None, value)).collect(), "[", depth, budget),
        Kind::String => html! { (name(key)) (string(&json.string().unwrap_or_default())) },
        Kind::Other => html! { (name(key)) span.n { (cut(json.text(), STRING_MAX)) } },
        Kind::Null => html! { (name(key)) span.l { "null" } },
    }
}

fn branch(
    key: Option<&str>,
    members: Vec<(Option<&str>, Json<'_>)>,
    bracket: &str,
    depth: usize,
    budget: &mut usize,
) -> Markup {
    let count = members.len();
    let unit = if bracket == "{" { ("field", "fields") } else { ("item", "items") };
    let shown: Vec<Markup> = members
        .into_iter()
        .map_while(|(key, json)| (*budget > 0).then(|| value(key, json, depth + 1, budget)))
        .collect();
    let left = count - shown.len();
    html! {
        details open[depth < OPEN_DEPTH && count <= OPEN_MEMBERS] {
            summary {
                (name(key))
                span.c { (bracket) " " (words::plural(count as u64, unit.0, unit.1)) " " (if bracket == "{" { "}" } else { "]" }) }
            }
            ul {
                @for item in shown { li { (item) } }
                @if left > 0 { li.c { (words::plural(left as u64, "more is", "more are")) " in the download" } }
            }
        }
    }
}

fn name(key: Option<&str>) -> Markup {
    let key = key.and_then(|key| Json::parse(key.as_bytes())).and_then(Json::string);
    html! { @if let Some(key) = key { span.k { (cut(&key, STRING_MAX)) } span.c { ": " } } }
}

fn string(text: &str) -> Markup {
    let link = is_link(text);
    html! {
        @if link {
            a.s href=(text) rel="noopener noreferrer nofollow" target="_blank" { (text) }
        } @else {
            span.s { "\"" (cut(text, STRING_MAX)) "\"" }
        }
    }
}

/// Whether a text is an address that may be followed: plain http or https, nothing that could be anything else.
fn is_link(text: &str) -> bool {
    let web = text.starts_with("https://") || text.starts_with("http://");
    web && text.len() <= STRING_MAX
        && url::Url::parse(text).is_ok()
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// The text, or its beginning with how much is left.
fn cut(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    Cow::Owned(format!("{}… ({} more)", &text[..end], words::bytes(text.len() - end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(text: &str) -> String {
        body(text.as_bytes(), "/x").into_string()
    }

    #[test]
    fn markup_in_a_payload_stays_text() {
        let page = drawn(r#"{"<img src=x onerror=alert(1)>":"<script>alert(1)</script>"}"#);
        assert!(!page.contains("<img") && !page.contains("<script"), "{page}");
        assert!(page.contains("&lt;script&gt;"));
        assert!(!drawn("<svg onload=alert(1)>").contains("<svg"));
    }

    #[test]
    fn only_plain_web_addresses_are_links() {
        assert!(
            drawn(r#""https://cdn.example/cat.png""#).contains(r#"<a class="s" href="https://cdn.example/cat.png""#)
        );
        for odd in
            ["javascript:alert(1)", "data:text/html,x", "//x.example", "https:// x", "HTTPS\\u003a//x", "vbscript:x"]
        {
            assert!(!drawn(&format!("\"{odd}\"")).contains("<a class"), "{odd}");
        }
    }

    #[test]
    fn numbers_and_keys_come_as_they_were_written() {
        let page = drawn(r#"{"b":1.0e2,"a":196619188014358660,"b":null}"#);
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}: {page}"));
        assert!(at("1.0e2") < at("196619188014358660") && at("196619188014358660") < at("null"));
    }

    #[test]
    fn a_huge_or_deep_body_is_shown_in_part() {
        let many = format!("[{}]", vec!["1"; 5000].join(","));
        assert!(drawn(&many).contains("more are in the download"));
        let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
        assert!(drawn(&deep).contains("deeper than is shown here"));
        assert!(drawn(&"x".repeat(100_000)).len() < 80_000);
        assert!(body(&[0xff, 0xfe], "/x").into_string().contains("Binary content"));
    }
}
