//! A value in a predicate and where it stands.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::PredicateError;
use crate::digest::shorten;

/// A value, and the JSON pointer to it for messages.
#[derive(Clone)]
pub(super) struct Place<'v> {
    value: &'v Value,
    path: String,
}

impl<'v> Place<'v> {
    pub(super) fn root(predicate: &'v Value) -> Self {
        Self { value: predicate, path: String::new() }
    }

    fn object(&self) -> Result<&'v Map<String, Value>, PredicateError> {
        self.value.as_object().ok_or_else(|| self.wrong("an object"))
    }

    /// A member that may be absent; `null` is not absent.
    pub(super) fn member(&self, name: &str) -> Result<Option<Self>, PredicateError> {
        let value = self.object()?.get(name);
        Ok(value.map(|value| Self { value, path: self.below(name) }))
    }

    /// A member that must be there.
    pub(super) fn need(&self, name: &str) -> Result<Self, PredicateError> {
        self.member(name)?.ok_or_else(|| PredicateError::Missing { member: self.below(name) })
    }

    /// The elements of an array.
    pub(super) fn elements(&self) -> Result<Vec<Self>, PredicateError> {
        let array = self.value.as_array().ok_or_else(|| self.wrong("an array"))?;
        let place = |(index, value)| Self { value, path: format!("{}/{index}", self.path) };
        Ok(array.iter().enumerate().map(place).collect())
    }

    /// A text that says something.
    pub(super) fn text(&self) -> Result<&'v str, PredicateError> {
        match self.value.as_str() {
            Some("") | None => Err(self.wrong("a string that is not empty")),
            Some(text) => Ok(text),
        }
    }

    /// An array of texts.
    pub(super) fn texts(&self) -> Result<Vec<String>, PredicateError> {
        self.elements()?.iter().map(|place| place.text().map(str::to_owned)).collect()
    }

    pub(super) fn time(&self) -> Result<Timestamp, PredicateError> {
        let text = self.text()?;
        let wrong = || PredicateError::Time { member: self.path.clone(), found: shorten(text) };
        text.parse().map_err(|_| wrong())
    }

    pub(super) fn is_object(&self) -> bool {
        self.value.is_object()
    }

    pub(super) fn is_string(&self) -> bool {
        self.value.is_string()
    }

    pub(super) fn value(&self) -> &'v Value {
        self.value
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The text here is none of those that may stand here.
    pub(super) fn word(&self, found: &str, expected: impl Into<String>) -> PredicateError {
        PredicateError::Word { member: self.path.clone(), found: shorten(found), expected: expected.into() }
    }

    pub(super) fn wrong(&self, expected: &'static str) -> PredicateError {
        let found = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::String(text) if text.is_empty() => "an empty string",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        PredicateError::WrongType { member: self.path.clone(), expected, found }
    }

    fn below(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }
}
