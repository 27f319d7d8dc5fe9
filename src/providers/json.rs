//! JSON text that is known to be valid, looked into without being changed.
//!
//! Numbers beyond a double, key order and escapes have to come out as they came in, so nothing here makes values of
//! the text: a look-up returns a slice of it. Nothing recurses either, so depth is only bounded by size.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::path::Path;

/// One JSON value, as text without white space around it. Only [`Json::parse`] makes one from outside.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Json<'a>(&'a str);

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// A number, `true`, `false`.
    Other,
    /// `null`
    Null,
}

impl<'a> Json<'a> {
    /// Takes exactly one valid JSON value of any depth.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        serde_json::from_slice::<&RawValue>(text).ok().map(|raw| Self(raw.get()))
    }

    /// The text, as it was written.
    pub fn text(self) -> &'a str {
        self.0
    }

    /// What it is.
    pub fn kind(self) -> Kind {
        match self.0.as_bytes()[0] {
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b'"' => Kind::String,
            b'n' => Kind::Null,
            _ => Kind::Other,
        }
    }

    /// The value at a path. Of repeated keys the last one counts, as with most parsers.
    pub fn find(self, path: &Path) -> Option<Self> {
        path.segments().iter().try_fold(self, |value, segment| value.child(segment))
    }

    /// The member of an object with this name, or the element of an array with this number.
    pub fn child(self, segment: &str) -> Option<Self> {
        match self.kind() {
            Kind::Object => self.members().filter(|(key, _)| key_is(key, segment)).last().map(|(_, value)| value),
            Kind::Array => self.elements().nth(index(segment)?),
            Kind::String | Kind::Other | Kind::Null => None,
        }
    }

    /// All members of an object with this name, repeated ones included, or the element of an array.
    pub(super) fn children(self, segment: &str) -> Vec<Self> {
        match self.kind() {
            Kind::Object => self.members().filter(|(key, _)| key_is(key, segment)).map(|(_, value)| value).collect(),
            _ => self.child(segment).into_iter().collect(),
        }
    }

    /// An object's members: each key as it is written, with its quotes, and its value.
    pub fn members(self) -> impl Iterator<Item = (&'a str, Self)> {
        let mut items = self.items(Kind::Object);
        std::iter::from_fn(move || Some((items.next()?.0, items.next()?)))
    }

    /// An array's elements.
    pub fn elements(self) -> impl Iterator<Item = Self> {
        self.items(Kind::Array)
    }

    /// A scalar as text for comparison: a string as it is, anything else as JSON text. None for objects and arrays.
    pub fn scalar(self) -> Option<Cow<'a, str>> {
        match self.kind() {
            Kind::String => Some(unescape(self.0)),
            Kind::Other | Kind::Null => Some(Cow::Borrowed(self.0)),
            Kind::Object | Kind::Array => None,
        }
    }

    /// A string's content.
    pub fn string(self) -> Option<Cow<'a, str>> {
        (self.kind() == Kind::String).then(|| unescape(self.0))
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// Whether it says nothing: `null`, `false`, `""`, `[]`, `{}`.
    pub fn is_empty(self) -> bool {
        match self.kind() {
            Kind::Object | Kind::Array => self.0[1..self.0.len() - 1].trim_ascii().is_empty(),
            Kind::String | Kind::Other => matches!(self.0, "\"\"" | "false"),
            Kind::Null => true,
        }
    }

    /// Where this slice of `whole` begins. Both must be of the same text.
    pub(super) fn offset_in(self, whole: Json<'_>) -> usize {
        self.0.as_ptr() as usize - whole.0.as_ptr() as usize
    }

    /// The values inside of an object (keys and values in turn) or array.
    fn items(self, kind: Kind) -> Items<'a> {
        let inside = if self.kind() == kind { &self.0[1..self.0.len() - 1] } else { "" };
        Items(inside)
    }
}

/// Bodies may be secret, so only their length is shown.
impl std::fmt::Debug for Json<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Json({} bytes)", self.0.len())
    }
}

/// Walks over values that are parted by white space, commas and colons.
struct Items<'a>(&'a str);

impl<'a> Iterator for Items<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Json<'a>> {
        let start = self.0.bytes().position(|byte| !b" \t\r\n,:".contains(&byte))?;
        let rest = &self.0[start..];
        let (value, rest) = rest.split_at(value_end(rest.as_bytes()));
        self.0 = rest;
        Some(Json(value))
    }
}

/// Just behind the value that begins `text`, which is valid.
fn value_end(text: &[u8]) -> usize {
    match text[0] {
        b'"' => string_end(text, 0),
        b'{' | b'[' => container_end(text),
        _ => text.iter().position(|byte| b" \t\r\n,:]}".contains(byte)).unwrap_or(text.len()),
    }
}

fn container_end(text: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        match text[at] {
            b'"' => {
                at = string_end(text, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// Just behind the string that begins at `start`.
fn string_end(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', &text[at..]) {
        at += found;
        if text[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    text.len()
}

/// An array's index, written without needless zeros.
pub(super) fn index(segment: &str) -> Option<usize> {
    let plain = segment == "0" || !segment.starts_with('0');
    (plain && segment.bytes().all(|byte| byte.is_ascii_digit())).then(|| segment.parse().ok())?
}

fn key_is(quoted: &str, name: &str) -> bool {
    let inside = &quoted[1..quoted.len() - 1];
    if inside.contains('\\') { unescape(quoted) == name } else { inside == name }
}

/// A string's content. A lone surrogate, which no Rust string can hold, becomes U+FFFD.
fn unescape(quoted: &str) -> Cow<'_, str> {
    let inside = &quoted[1..quoted.len() - 1];
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    let mut text = String::with_capacity(inside.len());
    let mut rest = inside;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let (character, length) = escaped(&rest[at..]);
        text.push(character);
        rest = &rest[at + length..];
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// The character that an escape stands for, and the escape's length.
fn escaped(text: &str) -> (char, usize) {
    let simple = match text.as_bytes()[1] {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'u' => return unicode(text),
        other => char::from(other),
    };
    (simple, 2)
}

fn unicode(text: &str) -> (char, usize) {
    let unit = |at: usize| {
        let escape = text.get(at..at + 6)?;
        u32::from_str_radix(escape.strip_prefix("\\u")?, 16).ok()
    };
    let first = unit(0).unwrap_or(0xfffd);
    if let (0xd800..=0xdbff, Some(second @ 0xdc00..=0xdfff)) = (first, unit(6)) {
        let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (char::from_u32(code).unwrap_or('\u{fffd}'), 12);
    }
    (char::from_u32(first).unwrap_or('\u{fffd}'), 6)
}
