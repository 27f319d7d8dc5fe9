//! Puts a value into a request where a provider looks for it, and leaves every other byte as the user wrote it.

use std::fmt;

use serde::Deserialize;

use super::expand::percent_encode;
use super::json::{Json, Kind, index};
use super::path::Path;

/// More empty elements than this before the one that is set would be no provider's wish.
const PADDING_MAX: usize = 16;

/// Why the value cannot be put there; the text says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotPassed(pub String);

impl fmt::Display for NotPassed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What happens to a value that is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Existing {
    /// It gives way.
    Replace,
    /// It stays: the user knows better.
    #[default]
    Keep,
    /// It is an array and stays, and gets the elements that it lacks.
    Join,
}

/// The URL with a query parameter set: its first occurrence is replaced, others are dropped; else it is added last.
pub fn into_query(url: &str, name: &str, value: &str, existing: Existing) -> String {
    let (url, fragment) = url.split_at(url.find('#').unwrap_or(url.len()));
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let is_it = |pair: &str| {
        let mut parsed = url::form_urlencoded::parse(pair.as_bytes());
        parsed.next().is_some_and(|(key, _)| key == name)
    };
    let pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    let found = pairs.iter().position(|pair| is_it(pair));
    if existing == Existing::Keep && found.is_some() {
        return format!("{url}{fragment}");
    }
    let new = format!("{}={}", percent_encode(name), percent_encode(value));
    let mut kept: Vec<&str> = pairs.iter().filter(|pair| !is_it(pair)).copied().collect();
    kept.insert(found.unwrap_or(kept.len()).min(kept.len()), &new);
    format!("{path}?{}{fragment}", kept.join("&"))
}

/// The value of a URL's query parameter, the first of its name.
pub fn query_value(url: &str, name: &str) -> Option<String> {
    let url = url.split('#').next().unwrap_or_default();
    let mut pairs = url::form_urlencoded::parse(url.split_once('?')?.1.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// The JSON body with `value` (JSON text) at a path; objects and arrays on the way are made where there are none.
pub fn into_json(body: &str, path: &Path, value: &str, existing: Existing) -> Result<String, NotPassed> {
    let Some(json) = Json::parse(body.as_bytes()) else {
        return Err(NotPassed(format!(
            "the body must be JSON, because the provider takes the callback URL in the body's field {path}; send JSON, \
             or write {{asyncqueue_callback_url}} where the provider wants it and leave useCallback out"
        )));
    };
    let start = json.text().as_ptr() as usize - body.as_ptr() as usize;
    let spot = spot(json, path.segments(), value, existing)?;
    let Some(Spot { from, to, text }) = spot else { return Ok(body.to_owned()) };
    Ok(format!("{}{text}{}", &body[..start + from], &body[start + to..]))
}

/// What has to be written, and over which bytes.
struct Spot {
    from: usize,
    to: usize,
    text: String,
}

fn spot(whole: Json<'_>, path: &[String], value: &str, existing: Existing) -> Result<Option<Spot>, NotPassed> {
    let mut here = whole;
    for (depth, segment) in path.iter().enumerate() {
        let rest = &path[depth + 1..];
        match (here.kind(), here.child(segment)) {
            (Kind::Object | Kind::Array, Some(next)) => here = next,
            (Kind::Object, None) => {
                let member = format!("{}:{}", quoted(segment), nested(rest, value));
                return Ok(Some(appended(whole, here, &member)));
            }
            (Kind::Array, None) => {
                let element = nested(rest, value);
                return Ok(Some(appended(whole, here, &padded(here, segment, &element, path, depth)?)));
            }
            // Nothing is there yet, only said so.
            (Kind::Null, _) => return Ok(Some(over(whole, here, nested(&path[depth..], value)))),
            (Kind::String | Kind::Other, _) => return Err(in_the_way(path, depth)),
        }
    }
    match existing {
        _ if here.is_null() => {}
        Existing::Keep => return Ok(None),
        Existing::Join => return joined(whole, here, path, value),
        Existing::Replace => {}
    }
    Ok(Some(over(whole, here, value.to_owned())))
}

/// The user's array with those of our elements that it lacks.
fn joined(whole: Json<'_>, array: Json<'_>, path: &[String], value: &str) -> Result<Option<Spot>, NotPassed> {
    if array.kind() != Kind::Array {
        let path = path.join(".");
        return Err(NotPassed(format!("the body's {path} must be an array; leave it out, or make it one")));
    }
    let ours = Json::parse(value.as_bytes());
    let has = |wanted: &Json<'_>| {
        wanted.scalar().is_some() && array.elements().any(|known| known.scalar() == wanted.scalar())
    };
    let missing = ours.into_iter().flat_map(Json::elements).filter(|wanted| !has(wanted));
    let missing: Vec<&str> = missing.map(Json::text).collect();
    Ok((!missing.is_empty()).then(|| appended(whole, array, &missing.join(","))))
}

/// Stands for an element of its own in the array that the path leads to.
pub(super) const NEW: &str = "-";

/// The number of the element that [`NEW`] stands for: the first that holds nothing yet at the rest of the path, or else
/// one behind the last. So whatever the user wrote there for another receiver stays.
pub fn place_of_new(body: &str, content_type: Option<&str>, path: &Path) -> usize {
    let Some(at) = path.segments().iter().position(|segment| segment == NEW) else { return 0 };
    let (array, rest) = (&path.segments()[..at], Path::from_segments(&path.segments()[at + 1..]));
    let (text, array) = match content_type.and_then(boundary).and_then(|boundary| form_parts(body, boundary)) {
        Some(form) => {
            let (Some(name), inside) = (array.first(), array.get(1..).unwrap_or_default()) else { return 0 };
            let Some(part) = form.fields.iter().find(|field| field.name == *name) else { return 0 };
            (&body[part.from..part.to], inside)
        }
        None => (body, array),
    };
    let found = Json::parse(text.as_bytes()).and_then(|json| json.find(&Path::from_segments(array)));
    let Some(array) = found.filter(|found| found.kind() == Kind::Array) else { return 0 };
    let free = |element: Json<'_>| element.is_null() || element.kind() == Kind::Object && is_free(element, &rest);
    array.elements().position(free).unwrap_or_else(|| array.elements().count())
}

fn is_free(element: Json<'_>, rest: &Path) -> bool {
    !rest.segments().is_empty() && element.find(rest).is_none_or(Json::is_null)
}

fn over(whole: Json<'_>, here: Json<'_>, text: String) -> Spot {
    let from = here.offset_in(whole);
    Spot { from, to: from + here.text().len(), text }
}

/// One more member or element, written before the closing bracket.
fn appended(whole: Json<'_>, container: Json<'_>, item: &str) -> Spot {
    let inside = &container.text()[1..container.text().len() - 1];
    let end = container.offset_in(whole) + 1 + inside.trim_end().len();
    let comma = if inside.trim_ascii().is_empty() { "" } else { "," };
    Spot { from: end, to: end, text: format!("{comma}{item}") }
}

/// An array's new element, behind as many empty ones as are missing before it.
fn padded(array: Json<'_>, segment: &str, element: &str, path: &[String], depth: usize) -> Result<String, NotPassed> {
    let missing = index(segment).and_then(|wanted| wanted.checked_sub(array.elements().count()));
    match missing {
        Some(missing) if missing <= PADDING_MAX => Ok(format!("{}{element}", "null,".repeat(missing))),
        _ => Err(in_the_way(path, depth)),
    }
}

fn in_the_way(path: &[String], depth: usize) -> NotPassed {
    let (whole, reached) = (path.join("."), path[..depth].join("."));
    let reached = if reached.is_empty() { "the body".to_owned() } else { format!("the body's {reached}") };
    NotPassed(format!(
        "the callback URL belongs into the body's field {whole}, but {reached} is of another type; leave it out, or \
         make it an object or array as the provider's documentation says"
    ))
}

/// The value, wrapped in what the path says: a number makes an array, a name an object.
fn nested(path: &[String], value: &str) -> String {
    path.iter().rev().fold(value.to_owned(), |inner, segment| match index(segment) {
        Some(wanted) if wanted <= PADDING_MAX => format!("[{}{inner}]", "null,".repeat(wanted)),
        _ => format!("{{{}:{inner}}}", quoted(segment)),
    })
}

/// Text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is JSON")
}

/// The form body (`multipart/form-data`, RFC 7578) with a value set: the path's first name is the field's, the rest
/// leads into the JSON that the field holds. `value` is JSON text; a field of its own gets a string's content.
pub fn into_form(
    body: &str,
    boundary: &str,
    path: &Path,
    value: &str,
    existing: Existing,
) -> Result<String, NotPassed> {
    let Some((name, rest)) = path.segments().split_first() else {
        return Err(NotPassed("the form's field has no name".to_owned()));
    };
    let Some(parts) = form_parts(body, boundary) else {
        return Err(NotPassed(
            "the body must be a complete form (multipart/form-data) with the boundary that the Content-Type names; \
             or write {asyncqueue_callback_url} where the provider wants it and leave useCallback out"
                .to_owned(),
        ));
    };
    let rest = Path::from_segments(rest);
    let Some(part) = parts.fields.iter().find(|field| field.name == *name) else {
        let content = if rest.segments().is_empty() { plain(value) } else { nested(rest.segments(), value) };
        let field = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n");
        return Ok(format!("{}{field}{}", &body[..parts.end], &body[parts.end..]));
    };
    let old = &body[part.from..part.to];
    let new = if !rest.segments().is_empty() {
        into_json(old, &rest, value, existing)?
    } else if existing != Existing::Replace {
        old.to_owned()
    } else {
        plain(value)
    };
    Ok(format!("{}{new}{}", &body[..part.from], &body[part.to..]))
}

/// A JSON string's content; other JSON as it is.
pub(super) fn plain(value: &str) -> String {
    let string = Json::parse(value.as_bytes()).and_then(Json::string);
    string.map_or_else(|| value.to_owned(), std::borrow::Cow::into_owned)
}

/// The fields of a form, and where the closing delimiter begins.
struct Form {
    fields: Vec<Field>,
    end: usize,
}

struct Field {
    name: String,
    from: usize,
    to: usize,
}

fn form_parts(body: &str, boundary: &str) -> Option<Form> {
    let delimiter = format!("--{boundary}");
    let mut fields = Vec::new();
    let mut at = body.find(&delimiter)?;
    loop {
        let after = at + delimiter.len();
        if body[after..].starts_with("--") {
            return Some(Form { fields, end: at });
        }
        let head = after + body[after..].find("\r\n")? + 2;
        let from = head + body[head..].find("\r\n\r\n")? + 4;
        let to = from + body[from..].find(&format!("\r\n{delimiter}"))?;
        fields.extend(field_name(&body[head..from]).map(|name| Field { name, from, to }));
        at = to + 2;
    }
}

fn field_name(head: &str) -> Option<String> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let mut words = line.split(';').map(str::trim);
    let name = words.find_map(|word| word.strip_prefix("name="))?;
    Some(name.trim_matches('"').to_owned())
}

/// The boundary that a form's content type names.
pub fn boundary(content_type: &str) -> Option<&str> {
    let mut words = content_type.split(';').map(str::trim);
    words.next().filter(|kind| kind.eq_ignore_ascii_case("multipart/form-data"))?;
    let text = words.find_map(|word| {
        let (name, value) = word.split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then_some(value)
    })?;
    Some(text.trim_matches('"')).filter(|text| !text.is_empty() && text.len() <= 70)
}
