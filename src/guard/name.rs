//! Rules for host names, before anyone looks them up.

use super::Refused;

/// Last labels that are never public.
const LOCAL: &[&str] =
    &["localhost", "local", "internal", "localdomain", "home", "lan", "corp", "intranet", "private", "onion", "arpa"];

/// A public-looking name: two labels or more, each well formed, the last one no number and no local suffix.
pub(super) fn check(host: &str) -> Result<(), Refused> {
    check_form(host)?;
    let last = host.rsplit('.').next().unwrap_or_default();
    if last.len() == host.len() {
        return Err(Refused::SingleLabel);
    }
    if !last.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return Err(Refused::BadName);
    }
    if LOCAL.contains(&last) {
        return Err(Refused::LocalName(last.to_owned()));
    }
    Ok(())
}

/// What still holds for a name that the operator has opened.
pub(super) fn check_open(host: &str) -> Result<(), Refused> {
    check_form(host)?;
    if is_metadata(host) { Err(Refused::Metadata) } else { Ok(()) }
}

/// Whether a cloud's metadata service goes by this name.
pub(super) fn is_metadata(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let under_instance_data = host.starts_with("instance-data.") && host.ends_with(".internal");
    matches!(host.as_str(), "metadata.google.internal" | "metadata.goog" | "instance-data") || under_instance_data
}

/// Letters, digits, hyphens and underscores, in labels and at lengths that DNS can carry.
pub(super) fn check_form(host: &str) -> Result<(), Refused> {
    let fits = host.len() <= 253 && host.split('.').all(is_label);
    if fits { Ok(()) } else { Err(Refused::BadName) }
}

fn is_label(label: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&label.len()) && label.bytes().all(plain)
}
