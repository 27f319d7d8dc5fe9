//! Refusals that come with 200: some providers answer so whatever happens, and say in the body whether they mean it.

use super::json::Json;
use super::path::{Place, View};
use super::rule::error_text;
use super::wire;

/// Where a provider says whether it accepted a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    code: Place,
    accepted: Vec<String>,
    again: Vec<String>,
    error: Vec<Place>,
}

/// A request that was refused, whatever the status code says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The provider's code and words.
    pub error: String,
    /// Whether the provider asks to try again.
    pub again: bool,
}

impl Envelope {
    /// The refusal in an answer's body, if it is one. A body without a code is none.
    pub fn refusal(&self, body: &[u8]) -> Option<Refused> {
        let view = View { body: Json::parse(body), ..View::default() };
        let code = view.scalar(&self.code).filter(|code| !self.accepted.contains(code))?;
        let error = format!("{code} - {}", error_text(&view, &self.error, Some(&code)));
        Some(Refused { error, again: self.again.contains(&code) })
    }

    pub(super) fn of_wire(wire: &wire::Envelope) -> Result<Self, String> {
        if wire.accepted_values.is_empty() {
            return Err("acceptedValues must hold at least one value".to_owned());
        }
        let error: Result<Vec<_>, _> = wire.error_path.all().iter().map(|path| Place::parse(path)).collect();
        Ok(Self {
            code: Place::parse(&wire.code_path)?,
            accepted: wire.accepted_values.clone(),
            again: wire.again_values.clone(),
            error: error?,
        })
    }
}
