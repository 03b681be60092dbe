//! Texts with one placeholder, `{service}`; everything else in them is compared byte for byte.
//!
//! Guarantees: a [`Template`] holds no pattern. What looks like one (`*`, `^…$`) is refused when the policy is
//! read, instead of being compared literally and never matching.

use std::fmt;

use super::names::ServiceName;
use crate::digest::shorten;

/// The only placeholder.
pub(super) const SERVICE: &str = "{service}";

/// A text in which `{service}` stands for the name of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Template(String);

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Something else than `{service}` in braces.
    #[error("unknown placeholder `{found}`")]
    Placeholder {
        /// The placeholder with its braces.
        found: String,
    },
    /// A brace without its partner.
    #[error("`{found}` without its other half: braces only belong in `{{service}}`")]
    Brace {
        /// The brace.
        found: char,
    },
    /// A piece of a glob or regular expression.
    #[error("`{found}` looks like a pattern")]
    Pattern {
        /// The piece.
        found: &'static str,
    },
    /// A control character, a space or a character outside ASCII.
    #[error("`{found}` does not belong here: expected printable ASCII without spaces")]
    Character {
        /// The character, escaped.
        found: String,
    },
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError`] for placeholders other than `{service}`, for spaces and non-ASCII, and for what looks
    /// like a pattern.
    pub(super) fn parse(text: &str) -> Result<Self, TemplateError> {
        if let Some(found) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(TemplateError::Character { found: found.escape_default().to_string() });
        }
        only_service(text)?;
        no_pattern(text)?;
        Ok(Self(text.to_owned()))
    }

    /// Reads a template for a value that somebody else made up, such as a build parameter: any text without control
    /// characters, since nobody takes it for a pattern; braces belong in `{service}` all the same.
    ///
    /// # Errors
    /// [`TemplateError`] for placeholders other than `{service}` and for control characters.
    pub(super) fn of_any_text(text: &str) -> Result<Self, TemplateError> {
        if let Some(found) = text.chars().find(|c| c.is_control()) {
            return Err(TemplateError::Character { found: found.escape_default().to_string() });
        }
        only_service(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The text for one service.
    pub fn fill(&self, service: &ServiceName) -> String {
        self.0.replace(SERVICE, service.as_str())
    }

    /// Whether the text differs from service to service.
    pub fn names_service(&self) -> bool {
        self.0.contains(SERVICE)
    }

    /// The text as written, with the placeholder.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Refuses braces around anything else than `service`.
fn only_service(text: &str) -> Result<(), TemplateError> {
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let tail = &rest[at..];
        rest = match (tail.strip_prefix(SERVICE), tail.strip_prefix('{').and_then(|tail| tail.find('}'))) {
            (Some(rest), _) => rest,
            (None, Some(end)) => {
                return Err(TemplateError::Placeholder { found: shorten(&tail[..end + 2]) });
            }
            (None, None) => {
                return Err(TemplateError::Brace { found: if tail.starts_with('{') { '{' } else { '}' } });
            }
        };
    }
    Ok(())
}

/// Refuses text that somebody meant as a glob or a regular expression. None of these pieces is found in a
/// Fulcio identity, a builder id or a git ref (git-check-ref-format forbids `*`, `?`, `[`, `^` and `\`).
fn no_pattern(text: &str) -> Result<(), TemplateError> {
    for piece in ["*", "?", "[", "^", "\\", "|", ".+"] {
        if text.contains(piece) {
            return Err(TemplateError::Pattern { found: piece });
        }
    }
    match text.ends_with('$') {
        true => Err(TemplateError::Pattern { found: "$" }),
        false => Ok(()),
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn service_is_filled_in_everywhere() {
        let shop = "shop".parse().unwrap();
        let template = Template::parse("https://x/{service}/y@{service}").unwrap();
        assert_eq!(template.fill(&shop), "https://x/shop/y@shop");
        assert!(template.names_service());
        assert!(!Template::parse("https://x").unwrap().names_service());
    }

    #[test]
    fn b6_nothing_but_service_is_a_placeholder_and_nothing_is_a_pattern() {
        for wrong in [
            "{Service}",
            "{ service }",
            "{}",
            "{env}",
            "a{",
            "a}",
            "{{service}}",
            "{service",
            "https://x/*",
            "https://x/.+",
            "^https://x",
            "https://x$",
            "a|b",
            "[ab]",
            "a?",
            "\\d",
            "a b",
            "a\u{430}",
            "a\n",
        ] {
            assert!(Template::parse(wrong).is_err(), "{wrong:?} was accepted");
        }
        assert!(Template::parse("user+tag@x.example").is_ok());
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text: String) {
            if let Ok(template) = Template::parse(&text) {
                prop_assert_eq!(template.as_str(), text);
            }
        }

        #[test]
        fn braces_never_panic(text in "[{}servic é]{0,30}") {
            let _ = Template::parse(&text);
        }
    }
}
