//! Patterns for identities, for those who cannot list them: anchored at both ends, and never everything.

use std::fmt;

use regex::{Regex, RegexBuilder};

/// The longest pattern, in bytes.
const LONGEST: usize = 512;
/// How large a compiled pattern may be, in bytes.
const COMPILED: usize = 1 << 18;
/// Identities nobody means (RFC 2606 reserves `invalid`): what matches one of them matches too much.
const STRANGERS: [&str; 4] = [
    "https://stranger.invalid/a/b/.github/workflows/c.yml@refs/heads/d",
    "https://github.com/stranger.invalid/b/.github/workflows/c.yml@refs/heads/d",
    "stranger@stranger.invalid",
    "a",
];

/// A regular expression that an identity has to match from its first to its last character.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It would match in the middle of somebody else's identity.
    #[error("a pattern begins with `^` and ends with `$`")]
    NotAnchored,
    /// Everybody, or everybody on GitHub.
    #[error("it matches strangers, such as `{stranger}`")]
    Everybody {
        /// Whom it matches.
        stranger: &'static str,
    },
    /// `{service}` is for `identity`.
    #[error("`{{service}}` is not filled in here")]
    Placeholder,
    /// Too long, or too large when compiled.
    #[error("it is longer than {LONGEST} bytes, or needs too much memory")]
    TooLarge,
    /// Not a regular expression.
    #[error("it is not a regular expression")]
    Syntax,
}

impl Pattern {
    /// Reads `^…$`.
    ///
    /// # Errors
    /// [`PatternError`] for what is not anchored, matches strangers, or is no regular expression (crate `regex`).
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > LONGEST {
            return Err(PatternError::TooLarge);
        }
        if text.contains("{service}") {
            return Err(PatternError::Placeholder);
        }
        let inner = text
            .strip_prefix('^')
            .and_then(|rest| rest.strip_suffix('$'))
            // `\$` is a dollar sign, `\\$` an anchor behind a backslash.
            .filter(|inner| inner.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 0)
            .ok_or(PatternError::NotAnchored)?;
        // Whatever stands inside, it stands between the ends of the text: `^a|b$` is one of two whole identities.
        let compile = |pattern: &str| {
            RegexBuilder::new(pattern).size_limit(COMPILED).dfa_size_limit(COMPILED).build().map_err(
                |error| match error {
                    regex::Error::CompiledTooBig(_) => PatternError::TooLarge,
                    _ => PatternError::Syntax,
                },
            )
        };
        // By itself first: `)(` would close our group and open another.
        compile(inner)?;
        let regex = compile(&format!(r"\A(?:{inner})\z"))?;
        match STRANGERS.into_iter().find(|stranger| regex.is_match(stranger)) {
            Some(stranger) => Err(PatternError::Everybody { stranger }),
            None => Ok(Self { text: text.to_owned(), regex }),
        }
    }

    /// Whether the whole identity matches.
    pub fn matches(&self, identity: &str) -> bool {
        self.regex.is_match(identity)
    }

    /// The pattern as written, with its anchors.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn b6_a_pattern_is_anchored_and_never_everybody() {
        for (text, error) in [
            (".*", PatternError::NotAnchored),
            ("", PatternError::NotAnchored),
            ("^", PatternError::NotAnchored),
            ("^https://github.com/acme/", PatternError::NotAnchored),
            ("https://github.com/acme/x$", PatternError::NotAnchored),
            (r"^https://github\.com/acme/x\$", PatternError::NotAnchored),
            ("^(a$", PatternError::Syntax),
            ("^a)(b$", PatternError::Syntax),
            ("^{service}$", PatternError::Placeholder),
            (r"^(\w{1000}){1000}$", PatternError::TooLarge),
        ] {
            assert_eq!(Pattern::parse(text).unwrap_err(), error, "{text}");
        }
        assert_eq!(Pattern::parse(&format!("^{}$", "a".repeat(600))).unwrap_err(), PatternError::TooLarge);
        for everybody in [
            "^.*$",
            "^.+$",
            "^(.*)$",
            "^.*@.*$",
            "^https://.*$",
            "^https://github.com/.*$",
            "^a|b$",
            "^[^x]*$",
        ] {
            assert!(matches!(Pattern::parse(everybody), Err(PatternError::Everybody { .. })), "{everybody}");
        }
    }

    #[test]
    fn b6_a_pattern_matches_whole_identities_only() {
        let pattern = Pattern::parse(r"^https://github\.com/acme/[a-z]+|me@acme\.example$").unwrap();
        assert!(pattern.matches("https://github.com/acme/shop") && pattern.matches("me@acme.example"));
        for wrong in [
            "https://github.com/acme/shop/evil",
            "https://github.com/acme/shop\n",
            "\nme@acme.example",
            "https://evil/?https://github.com/acme/shop",
            "not-me@acme.example",
            "",
        ] {
            assert!(!pattern.matches(wrong), "{wrong:?}");
        }
        // Nor do flags inside reach the ends.
        let lines = Pattern::parse("^(?m)acme$").unwrap();
        assert!(!lines.matches("acme\nx") && !lines.matches("x\nacme") && lines.matches("acme"));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text: String, inner in "[\\[\\]().*+?{}|^$\\\\a-c0-9,]{0,20}") {
            let _ = Pattern::parse(&text);
            let _ = Pattern::parse(&format!("^{inner}$"));
        }
    }
}
