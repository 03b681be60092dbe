//! From a TOML tree to the raw types, with every error kept and every key accounted for.
//!
//! Guarantees: a key that nobody asked for is an error; the keys that are offered instead are exactly the keys
//! that were asked for, so the two cannot drift apart.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Errors, Span};
use super::names::nearest;
use super::problem::Problem;
use crate::digest::shorten;

/// A value and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// The tables in a table, under names the author chose, in the order of the file.
#[derive(Clone, Debug)]
pub(super) struct Entries<T>(pub(super) Vec<(At<String>, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// One TOML value on its way to a raw type.
pub(super) struct Found<'t> {
    value: &'t DeValue<'t>,
    /// Where the value is written.
    span: Span,
    /// Where its key is written; of an element of a list, the element.
    named: Span,
}

/// The kinds of values that a build parameter may have.
pub(super) enum Kind {
    Text,
    Number,
    Truth,
    Other,
}

/// A type that can be read from a TOML value. `None` means that an error was pushed.
pub(super) trait Read: Sized {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self>;
}

/// A TOML table whose keys are asked for one by one.
pub(super) struct Table<'t, 'e> {
    table: &'t DeTable<'t>,
    at: Span,
    asked: Vec<&'static str>,
    missing: Vec<&'static str>,
    errors: &'e mut Errors,
}

impl<'t, 'e> Table<'t, 'e> {
    pub(super) fn root(table: &'t DeTable<'t>, errors: &'e mut Errors) -> Self {
        Self { table, at: 0..0, asked: Vec::new(), missing: Vec::new(), errors }
    }

    /// The table, when it is one. `expected` says what for, in words.
    pub(super) fn of(found: &Found<'t>, expected: &'static str, errors: &'e mut Errors) -> Option<Self> {
        match found.value {
            DeValue::Table(table) => {
                Some(Self { table, at: found.named.clone(), asked: Vec::new(), missing: Vec::new(), errors })
            }
            _ => found.wrong(expected, errors),
        }
    }

    /// Where the table's name is written.
    pub(super) fn at(&self) -> Span {
        self.at.clone()
    }

    pub(super) fn errors(&mut self) -> &mut Errors {
        self.errors
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    fn entry(&self, key: &str) -> Option<(&'t Spanned<Cow<'t, str>>, &'t Spanned<DeValue<'t>>)> {
        self.table.iter().find(|(name, _)| name.get_ref() == key)
    }

    /// The value of an optional key; `None` when it is absent, or wrong (then an error was pushed).
    pub(super) fn take<T: Read>(&mut self, key: &'static str) -> Option<T> {
        self.asked.push(key);
        let (name, value) = self.entry(key)?;
        T::read(&Found { value: value.get_ref(), span: value.span(), named: name.span() }, self.errors)
    }

    /// The value of a key that must be there.
    pub(super) fn need<T: Read>(&mut self, key: &'static str) -> Option<T> {
        if !self.has(key) {
            self.missing.push(key);
        }
        self.take(key)
    }

    /// Lets a key stand that is not read, because something else about the table is wrong.
    pub(super) fn ask(&mut self, key: &'static str) {
        self.asked.push(key);
    }

    /// An error for every key that nobody asked for, and for every one that is missing; one error, not two, for
    /// a key that is only misspelled.
    pub(super) fn finish(mut self) {
        for (name, _) in self.table.iter().filter(|(name, _)| !self.asked.contains(&name.get_ref().as_ref()))
        {
            let nearest = nearest(name.get_ref(), self.asked.iter().copied())
                .and_then(|near| self.asked.iter().copied().find(|asked| *asked == near));
            self.missing.retain(|key| Some(*key) != nearest);
            let problem =
                Problem::UnknownKey { key: shorten(name.get_ref()), nearest, known: self.asked.clone() };
            self.errors.push(&name.span(), problem);
        }
        for key in self.missing {
            self.errors.push(&self.at, Problem::MissingKey { key });
        }
    }
}

impl<'t> Found<'t> {
    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.value, DeValue::Array(_))
    }

    /// What a value is, for those that may be of several kinds.
    pub(super) fn kind(&self) -> Kind {
        match self.value {
            DeValue::String(_) => Kind::Text,
            DeValue::Integer(_) => Kind::Number,
            DeValue::Boolean(_) => Kind::Truth,
            DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => Kind::Other,
        }
    }

    pub(super) fn wrong<T>(&self, expected: &'static str, errors: &mut Errors) -> Option<T> {
        errors.push(&self.span, Problem::WrongType { expected, found: spell_type(self.value) });
        None
    }
}

/// Whether `table` has `key`, before anybody decided what the table is.
pub(super) fn has_key(found: &Found<'_>, key: &str) -> bool {
    match found.value {
        DeValue::Table(table) => table.iter().any(|(name, _)| name.get_ref() == key),
        _ => false,
    }
}

fn spell_type(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "`true` or `false`",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

impl Read for At<String> {
    /// Empty strings are errors everywhere: an unset variable in whatever wrote the file (E12).
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        match found.value {
            DeValue::String(text) if text.trim().is_empty() => {
                errors.push(&found.span, Problem::EmptyText);
                None
            }
            DeValue::String(text) => Some(Self { value: text.to_string(), span: found.span() }),
            _ => found.wrong("a string", errors),
        }
    }
}

impl Read for At<bool> {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        match found.value {
            DeValue::Boolean(value) => Some(Self { value: *value, span: found.span() }),
            _ => found.wrong("`true` or `false`", errors),
        }
    }
}

impl Read for At<i64> {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        match found.value {
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(value) => Some(Self { value, span: found.span() }),
                Err(_) => found.wrong("a whole number of at most 63 bits", errors),
            },
            _ => found.wrong("a whole number", errors),
        }
    }
}

impl Read for At<jiff::civil::Date> {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        const EXPECTED: &str = "a date without quotation marks and without time, as in 2026-12-31";
        let date = match found.value {
            DeValue::Datetime(time) if time.time.is_none() && time.offset.is_none() => time.date,
            _ => None,
        };
        let date = date.and_then(|date| {
            let year = i16::try_from(date.year).ok()?;
            jiff::civil::Date::new(year, i8::try_from(date.month).ok()?, i8::try_from(date.day).ok()?).ok()
        });
        match date {
            Some(value) => Some(Self { value, span: found.span() }),
            None => found.wrong(EXPECTED, errors),
        }
    }
}

impl<T: Read> Read for At<Vec<T>> {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        let DeValue::Array(array) = found.value else {
            return found.wrong("a list", errors);
        };
        let read = |value: &Spanned<DeValue<'_>>, errors: &mut Errors| {
            T::read(&Found { value: value.get_ref(), span: value.span(), named: value.span() }, errors)
        };
        // Every element is read, also behind a wrong one.
        let values: Vec<Option<T>> = array.iter().map(|value| read(value, errors)).collect();
        let value = values.into_iter().collect::<Option<_>>()?;
        Some(Self { value, span: found.span() })
    }
}

impl<T: Read> Read for Entries<T> {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        let DeValue::Table(table) = found.value else {
            return found.wrong("a table", errors);
        };
        let read = |(name, value): (&Spanned<Cow<'_, str>>, &Spanned<DeValue<'_>>), errors: &mut Errors| {
            let found = Found { value: value.get_ref(), span: value.span(), named: name.span() };
            let name = At { value: name.get_ref().to_string(), span: name.span() };
            T::read(&found, errors).map(|value| (name, value))
        };
        let entries: Vec<Option<_>> = table.iter().map(|entry| read(entry, errors)).collect();
        let mut entries = entries.into_iter().collect::<Option<Vec<_>>>()?;
        entries.sort_by_key(|(name, _)| name.span.start);
        Some(Self(entries))
    }
}

impl<T: Read> Read for At<Entries<T>> {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        Entries::read(found, errors).map(|value| Self { value, span: found.span() })
    }
}

macro_rules! schema_of {
    ($($of:ty: $schema:tt),+) => {$(
        impl JsonSchema for At<$of> {
            fn schema_name() -> Cow<'static, str> {
                stringify!($of).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )+};
}

schema_of! {
    String: { "type": "string", "minLength": 1 },
    bool: { "type": "boolean" },
    i64: { "type": "integer" },
    // A TOML date; tools that check TOML against a JSON Schema hand it over as a string.
    jiff::civil::Date: { "type": "string", "format": "date" }
}

impl<T: JsonSchema> JsonSchema for At<Vec<T>> {
    fn schema_name() -> Cow<'static, str> {
        format!("ListOf{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": generator.subschema_for::<T>(), "minItems": 1 })
    }
}

impl<T: JsonSchema> JsonSchema for Entries<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("TablesOf{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": generator.subschema_for::<T>() })
    }
}
