//! Strict JSON: one meaning per text, or a refusal.
//!
//! Guarantees: a value comes only from one complete JSON text (RFC 8259) in UTF-8 without a byte order mark, with
//! nothing behind it, within the [`Limits`], and without a key that stands twice in one object, at any depth: two
//! readers of the same bytes can therefore not read two different things.
//! Never does: I/O, repair, lenient modes. Start at [`parse`].

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::digest::shorten;

/// How much a document may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest document, in bytes.
    pub bytes: usize,
    /// How many arrays and objects may be open at once; `{}` has depth 1. At most 100 is honoured.
    pub depth: usize,
}

impl Default for Limits {
    /// 4 MiB and 64 levels: the manifest limit of OCI distribution-spec v1.1.
    fn default() -> Self {
        Self { bytes: 4 << 20, depth: 64 }
    }
}

/// Why bytes are not one strict JSON text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Longer than the limit; nothing was read.
    #[error("the JSON has {found} bytes, at most {limit} are read")]
    TooLong {
        /// Its length in bytes.
        found: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// It starts with U+FEFF.
    #[error("the JSON starts with a byte order mark, which JSON does not have (RFC 8259, section 8.1)")]
    ByteOrderMark,
    /// More arrays and objects are open at once than the limit.
    #[error("the JSON is nested deeper than {limit} levels, at byte {offset}")]
    TooDeep {
        /// The limit in levels.
        limit: usize,
        /// The byte where it was noticed, from 0.
        offset: usize,
    },
    /// One object names a key twice, so that two readers could read two things.
    #[error("the JSON object key `{key}` stands twice in one object, at byte {offset}")]
    DuplicateKey {
        /// The key, shortened.
        key: String,
        /// The byte where it was noticed, from 0.
        offset: usize,
    },
    /// A complete value, then something other than white space.
    #[error("the JSON ends at byte {offset}, but something follows")]
    Trailing {
        /// Where the rest begins, from 0.
        offset: usize,
    },
    /// It ends in the middle of a value.
    #[error("the JSON ends too early, at byte {offset}")]
    Truncated {
        /// Its length in bytes.
        offset: usize,
    },
    /// It is not JSON there.
    #[error("this is not JSON, at byte {offset}")]
    Syntax {
        /// The byte where reading stopped, from 0.
        offset: usize,
    },
}

/// Reads exactly one JSON text.
///
/// Numbers are what `serde_json` makes of them (64-bit integers, else 64-bit floats).
///
/// # Errors
/// [`JsonError`], with the byte offset where reading stopped.
pub fn parse(bytes: &[u8], limits: Limits) -> Result<Value, JsonError> {
    if bytes.len() > limits.bytes {
        return Err(JsonError::TooLong { found: bytes.len(), limit: limits.bytes });
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(JsonError::ByteOrderMark);
    }
    // serde_json itself stops at 128 levels: stay below, so that the reason is always ours.
    let limit = limits.depth.min(100);
    let fault = Cell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = match (Strict { left: limit, fault: &fault }).deserialize(&mut reader) {
        Ok(value) => value,
        Err(error) => {
            let offset = offset(bytes, &error);
            return Err(match fault.take() {
                Some(Fault::Depth) => JsonError::TooDeep { limit, offset },
                Some(Fault::Duplicate(key)) => JsonError::DuplicateKey { key: shorten(&key), offset },
                None if error.is_eof() => JsonError::Truncated { offset: bytes.len() },
                None => JsonError::Syntax { offset },
            });
        }
    };
    match reader.end() {
        Ok(()) => Ok(value),
        Err(error) => Err(JsonError::Trailing { offset: offset(bytes, &error) }),
    }
}

/// serde_json counts lines and columns, both from 1 (column 0: the line feed itself).
fn offset(bytes: &[u8], error: &serde_json::Error) -> usize {
    let before: usize = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    (before + error.column().saturating_sub(1)).min(bytes.len())
}

/// What this reader refuses and serde_json would not.
enum Fault {
    Depth,
    Duplicate(String),
}

/// Builds a value; `left` is how many more arrays and objects may be opened inside one another.
#[derive(Clone, Copy)]
struct Strict<'a> {
    left: usize,
    fault: &'a Cell<Option<Fault>>,
}

impl Strict<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Self { left, ..self }),
            None => {
                self.fault.set(Some(Fault::Depth));
                Err(E::custom("too deep"))
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                self.fault.set(Some(Fault::Duplicate(key)));
                return Err(A::Error::custom("duplicate key"));
            }
            let value = entries.next_value_seed(inner)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn strict(text: &str) -> Result<Value, JsonError> {
        parse(text.as_bytes(), Limits::default())
    }

    #[test]
    fn ordinary_json_is_what_serde_json_makes_of_it() {
        let text = r#" {"a": [1, -2, 3.5, true, null, "\u00e9"], "b": {"a": {}, "c": []}} "#;
        assert_eq!(strict(text).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn b9_duplicate_keys_are_refused_at_every_depth() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"[{"x":{"a":1,"b":2,"a":3}}]"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"predicate":{"a":[{"b":1,"b":1}]}}"#,
        ] {
            assert!(
                matches!(strict(text), Err(JsonError::DuplicateKey { .. })),
                "{text}: {:?}",
                strict(text)
            );
        }
        assert_eq!(strict(r#"{"a":1,"a":2}"#), Err(JsonError::DuplicateKey { key: "a".into(), offset: 9 }));
        assert!(strict(r#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}"#).is_ok());
    }

    #[test]
    fn f4_depth_and_size_are_limited() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let limits = Limits { bytes: 300, depth: 64 };
        assert!(parse(nested(64).as_bytes(), limits).is_ok());
        assert!(matches!(parse(nested(65).as_bytes(), limits), Err(JsonError::TooDeep { limit: 64, .. })));
        assert_eq!(parse(nested(200).as_bytes(), limits), Err(JsonError::TooLong { found: 400, limit: 300 }));
        let unlimited = Limits { bytes: usize::MAX, depth: usize::MAX };
        assert!(matches!(
            parse(nested(5000).as_bytes(), unlimited),
            Err(JsonError::TooDeep { limit: 100, .. })
        ));
        assert!(parse(b"7", Limits { bytes: 1, depth: 0 }).is_ok());
        assert!(parse(b"{}", Limits { bytes: 2, depth: 0 }).is_err());
    }

    #[test]
    fn b9_what_surrounds_the_value_is_refused() {
        assert_eq!(strict("\u{feff}{}"), Err(JsonError::ByteOrderMark));
        assert_eq!(strict("{} {}"), Err(JsonError::Trailing { offset: 3 }));
        assert_eq!(strict("{}\0"), Err(JsonError::Trailing { offset: 2 }));
        assert_eq!(strict("{\"a\":"), Err(JsonError::Truncated { offset: 5 }));
        assert_eq!(strict(""), Err(JsonError::Truncated { offset: 0 }));
        assert_eq!(strict("{\n  'a': 1}"), Err(JsonError::Syntax { offset: 4 }));
        for wrong in
            ["{\"a\":1,}", "[1,]", "NaN", "1e999", "\"\u{1}\"", "{a:1}", "// x\n{}", "01", "\"\\ud800\""]
        {
            assert!(strict(wrong).is_err(), "{wrong:?} was read");
        }
        assert!(parse(b"\"\xff\"", Limits::default()).is_err(), "not UTF-8");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes, Limits::default());
        }

        #[test]
        fn arbitrary_json_like_text_is_never_read_more_leniently_than_by_serde_json(
            text in "[\\[\\]{}:,\"ab1 .e\n-]{0,40}"
        ) {
            if let Ok(value) = parse(text.as_bytes(), Limits::default()) {
                prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
            }
        }
    }
}
