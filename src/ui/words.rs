//! Numbers, times and durations as people read them.

use maud::{Markup, html};

use crate::task::Timestamp;
use crate::wire::iso;

/// A time, said as how long ago it was (or how far ahead), with the moment itself behind it.
pub fn ago(at: Timestamp, now: Timestamp) -> Markup {
    let moment = iso(at);
    let distance = now.millis_since(at);
    let said = match distance {
        0.. if distance < 1000 => "just now".to_owned(),
        0.. => format!("{} ago", duration(distance)),
        _ => format!("in {}", duration(distance.saturating_neg())),
    };
    html! { time datetime=(moment) title=(moment) { (said) } }
}

/// A time to the millisecond.
pub fn moment(at: Timestamp) -> Markup {
    let text = iso(at);
    let (day, clock) = text.split_at_checked(10).unwrap_or((&text, ""));
    let clock = clock.trim_start_matches('T').trim_end_matches('Z');
    html! { time datetime=(text) { (day) " " (clock) " UTC" } }
}

/// The time of day, to the second.
pub fn clock(at: Timestamp) -> String {
    iso(at).get(11..19).unwrap_or_default().to_owned()
}

/// The time of day, to the minute.
pub fn hour_and_minute(at: Timestamp) -> String {
    iso(at).get(11..16).unwrap_or_default().to_owned()
}

/// How long something took, in the two units that matter.
pub fn duration(millis: i64) -> String {
    let millis = millis.max(0);
    let seconds = millis / 1000;
    match millis {
        0..1000 => format!("{millis} ms"),
        1000..10_000 => format!("{seconds}.{} s", millis % 1000 / 100),
        10_000..60_000 => format!("{seconds} s"),
        60_000..3_600_000 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600_000..86_400_000 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

fn two(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 { format!("{large} {large_unit}") } else { format!("{large} {large_unit} {small} {small_unit}") }
}

/// A count with its thousands apart.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// A count in few characters, for axes.
pub fn short(number: f64) -> String {
    let (number, unit) = match number {
        n if n >= 1e6 => (n / 1e6, "M"),
        n if n >= 1e3 => (n / 1e3, "k"),
        n => (n, ""),
    };
    let text = if number < 10.0 && number.fract() > 0.001 { format!("{number:.1}") } else { format!("{number:.0}") };
    format!("{text}{unit}")
}

/// A size in bytes.
pub fn bytes(size: usize) -> String {
    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
    match size {
        0..KIB => format!("{size} B"),
        KIB..MIB => format!("{}.{} KiB", size / KIB, size % KIB * 10 / KIB),
        _ => format!("{}.{} MiB", size / MIB, size % MIB * 10 / MIB),
    }
}

/// A share, in percent, without claiming more than there is to know.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let tenths = part.saturating_mul(1000) / whole;
    match tenths {
        0 if part > 0 => "<0.1 %".to_owned(),
        _ if tenths < 100 => format!("{}.{} %", tenths / 10, tenths % 10),
        _ => format!("{} %", tenths / 10),
    }
}

/// `1 task`, `2 tasks`.
pub fn plural(number: u64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{} {many}", count(number)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        let said = [0, 999, 1500, 59_999, 60_000, 61_000, 3_600_000, 5_400_000, 90_000_000, -5].map(duration);
        assert_eq!(
            said,
            ["0 ms", "999 ms", "1.5 s", "59 s", "1 min", "1 min 1 s", "1 h", "1 h 30 min", "1 d 1 h", "0 ms"]
        );
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.5, 7.0, 1500.0, 2e7].map(short), ["0.5", "7", "1.5k", "20M"]);
        assert_eq!([12, 1536, 3 << 20].map(bytes), ["12 B", "1.5 KiB", "3.0 MiB"]);
        assert_eq!(
            [(0, 0), (0, 9), (1, 5000), (1, 100), (1, 2)].map(|(a, b)| percent(a, b)),
            ["–", "0.0 %", "<0.1 %", "1.0 %", "50 %"]
        );
    }

    #[test]
    fn times_say_how_long_ago() {
        let at = |millis| ago(Timestamp(millis), Timestamp(100_000)).into_string();
        assert!(at(99_500).contains(">just now<"));
        assert!(at(39_000).contains(">1 min 1 s ago<"));
        assert!(at(112_000).contains(">in 12 s<"));
    }
}
