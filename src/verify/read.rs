//! Reading members of JSON objects, each with a reason when it is not what the format says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::{Part, Reason};
use crate::digest::shorten;
use crate::json::{self, Limits};

pub(super) type Object = Map<String, Value>;

/// One document of the nest; its paths are for messages.
#[derive(Clone, Copy)]
pub(super) struct Reader(pub(super) Part);

impl Reader {
    pub(super) fn document(self, bytes: &[u8]) -> Result<Object, Reason> {
        match json::parse(bytes, Limits::default()) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err(self.wrong("$", "an object")),
            Err(source) => Err(Reason::Json { part: self.0, source }),
        }
    }

    /// The object at the last segment of `path` in `within`.
    pub(super) fn object<'a>(self, within: &'a Object, path: &'static str) -> Result<&'a Object, Reason> {
        self.required(within, path)?.as_object().ok_or_else(|| self.wrong(path, "an object"))
    }

    pub(super) fn array<'a>(self, within: &'a Object, path: &'static str) -> Result<&'a [Value], Reason> {
        let array = self.required(within, path)?.as_array().ok_or_else(|| self.wrong(path, "an array"))?;
        Ok(array)
    }

    /// A text that says something.
    pub(super) fn text<'a>(self, within: &'a Object, path: &'static str) -> Result<&'a str, Reason> {
        match self.required(within, path)?.as_str() {
            Some("") | None => Err(self.wrong(path, "a string that is not empty")),
            Some(text) => Ok(text),
        }
    }

    /// A text that may be missing; an empty one is none (protobuf JSON, default values).
    pub(super) fn optional_text<'a>(
        self,
        within: &'a Object,
        path: &'static str,
    ) -> Result<Option<&'a str>, Reason> {
        match within.get(last(path)) {
            None => Ok(None),
            Some(Value::String(text)) => Ok((!text.is_empty()).then_some(text)),
            Some(_) => Err(self.wrong(path, "a string")),
        }
    }

    pub(super) fn base64(self, within: &Object, path: &'static str) -> Result<Vec<u8>, Reason> {
        self.decode(self.text(within, path)?, path)
    }

    pub(super) fn decode(self, text: &str, path: &'static str) -> Result<Vec<u8>, Reason> {
        STANDARD.decode(text).map_err(|_| Reason::Base64 { part: self.0, member: path })
    }

    /// No members but these.
    pub(super) fn only(self, object: &Object, within: &'static str, known: &[&str]) -> Result<(), Reason> {
        match object.keys().find(|key| !known.contains(&key.as_str())) {
            Some(found) => Err(Reason::UnknownMember { part: self.0, within, found: shorten(found) }),
            None => Ok(()),
        }
    }

    pub(super) fn wrong(self, member: &'static str, expected: &'static str) -> Reason {
        Reason::WrongType { part: self.0, member, expected }
    }

    fn required<'a>(self, within: &'a Object, path: &'static str) -> Result<&'a Value, Reason> {
        within.get(last(path)).ok_or(Reason::Missing { part: self.0, member: path })
    }
}

/// The last segment: the member itself.
pub(super) fn last(path: &'static str) -> &'static str {
    path.rsplit('/').next().unwrap_or(path)
}
