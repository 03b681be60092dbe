//! A member of a JSON document, and the only value that is good there.
//!
//! Source: JSON Pointer, RFC 6901, sections 3 and 4.

use serde_json::Value;

use super::names::ServiceName;
use super::template::Template;

/// A member of a predicate, or of what a builder was asked for, and the only value that it may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub(super) pointer: String,
    pub(super) value: Scalar,
}

impl Field {
    /// The JSON pointer (RFC 6901) to it; not the empty one.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// The value when it is said of a service: compared as JSON, type and all.
    pub fn value(&self, service: &ServiceName) -> Value {
        match &self.value {
            Scalar::Text(text) => text.fill(service).into(),
            Scalar::Number(number) => (*number).into(),
            Scalar::Truth(truth) => (*truth).into(),
        }
    }

    /// RFC 6901, section 3: reference tokens behind `/`, `~` only as `~0` and `~1`. The empty pointer, which means
    /// everything, and control characters, which nobody sees, are not among ours.
    pub(super) fn is_pointer(text: &str) -> bool {
        let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        text.starts_with('/') && escapes && !text.contains(char::is_control)
    }
}

/// What a member can be compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Text(Template),
    Number(i64),
    Truth(bool),
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_field_is_there_and_equal() {
        let document = json!({ "a": { "b/c": ["x", 1, true, null, 1.0] }, "n": 18446744073709551615_u64 });
        let shop = "shop".parse().unwrap();
        let text = |text| Scalar::Text(Template::of_any_text(text).unwrap());
        let holds = |pointer: &str, value: Scalar| {
            assert!(Field::is_pointer(pointer));
            let field = Field { pointer: pointer.to_owned(), value };
            document.pointer(field.pointer()) == Some(&field.value(&shop))
        };
        assert!(holds("/a/b~1c/0", text("x")));
        assert!(holds("/a/b~1c/1", Scalar::Number(1)));
        assert!(holds("/a/b~1c/2", Scalar::Truth(true)));
        assert!(!holds("/a/b~1c/0", text("X")));
        assert!(!holds("/a/b~1c/1", text("1")));
        assert!(!holds("/a/b~1c/3", Scalar::Truth(false)), "null is not false");
        assert!(!holds("/a/b~1c/4", Scalar::Number(1)), "a fraction is no whole number");
        assert!(!holds("/a/b~1c/00", text("x")), "RFC 6901: no leading zeros");
        assert!(!holds("/a/b", text("x")));
        assert!(!holds("/n", Scalar::Number(-1)));
        let field = Field { pointer: "/a".to_owned(), value: text("for {service}") };
        assert_eq!(field.value(&shop), "for shop");
        for wrong in ["", "a", "/a~", "/a~2", "#/a", "/a\n"] {
            assert!(!Field::is_pointer(wrong), "{wrong:?}");
        }
    }
}
