//! The names a policy may give: a closed alphabet, so that two names that look alike are one name or an error.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::shorten;

/// What a name is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Named {
    /// A service.
    Service,
    /// An environment.
    Environment,
    /// A signer.
    Signer,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Service => "service",
            Self::Environment => "environment",
            Self::Signer => "signer",
        })
    }
}

/// A text outside the alphabet of names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a {what} name: expected 1 to 63 of `a-z`, `0-9` and `-`, not starting with `-`")]
pub struct NameError {
    /// What it should have named.
    pub what: Named,
    /// The text, shortened and with everything but printable ASCII escaped.
    pub found: String,
}

/// A name that the policy does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not {} {what} of this policy: expected {}", article(.what), list(.known))]
pub struct UnknownName {
    /// What was asked for.
    pub what: Named,
    /// The text, shortened and with everything but printable ASCII escaped.
    pub given: String,
    /// Every name there is, sorted.
    pub known: Vec<String>,
    /// The known name that was most likely meant.
    pub nearest: Option<String>,
}

impl UnknownName {
    pub(super) fn new<N: AsRef<str>>(what: Named, given: &str, known: impl IntoIterator<Item = N>) -> Self {
        let mut known: Vec<String> = known.into_iter().map(|name| name.as_ref().to_owned()).collect();
        known.sort();
        let nearest = nearest(given, known.iter().map(String::as_str)).map(str::to_owned);
        Self { what, given: shorten(given), known, nearest }
    }
}

fn article(what: &Named) -> &'static str {
    match what {
        Named::Environment => "an",
        Named::Service | Named::Signer => "a",
    }
}

/// `one of a, b, c` in backticks; at most twelve, the number of the others said.
pub(super) fn list<N: AsRef<str>>(names: &[N]) -> String {
    const SHOWN: usize = 12;
    let quoted: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{}`", name.as_ref())).collect();
    match (names.len(), names.len().saturating_sub(SHOWN)) {
        (0, _) => "none, there are no such names".to_owned(),
        (1, _) => quoted.concat(),
        (_, 0) => format!("one of {}", quoted.join(", ")),
        (_, more) => format!("one of {} and {more} more", quoted.join(", ")),
    }
}

/// The known name a person most likely meant: the fewest typing errors, at most a third of the name's length.
pub(super) fn nearest<'k>(given: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // Longer than any name plus any typing error; keeps the distance cheap for foreign text.
    if given.len() > 200 {
        return None;
    }
    let given = given.trim().to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::osa_distance(&given, name), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                match is_name(text) {
                    true => Ok(Self(text.to_owned())),
                    false => Err(NameError { what: Named::$what, found: shorten(text) }),
                }
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": PATTERN })
            }
        }
    };
}

/// The alphabet as a regular expression, for schemas.
pub(super) const PATTERN: &str = "^[a-z0-9][a-z0-9-]{0,62}$";

name! {
    /// The name of a service: one image under one name in every environment.
    ServiceName, Service
}
name! {
    /// The name of an environment.
    EnvironmentName, Environment
}
name! {
    /// The name of a signer: one identity, or several under one name.
    SignerName, Signer
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn c4_names_have_one_alphabet() {
        for good in ["a", "0", "prod", "eu-west-1", "a--b", "a-", &"x".repeat(63)] {
            assert_eq!(good.parse::<EnvironmentName>().unwrap().to_string(), good);
        }
        for wrong in [
            "",
            " ",
            "Prod",
            "prod ",
            " prod",
            "prod\n",
            "-prod",
            "pro_d",
            "pro.d",
            "..",
            "a/b",
            "pr\u{43e}d",
            "prod\u{200b}",
            "prod\0",
            "pröd",
            &"x".repeat(64),
        ] {
            assert!(wrong.parse::<EnvironmentName>().is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn the_nearest_name_is_what_was_meant() {
        let known = ["production", "staging", "qa"];
        for (given, meant) in [
            ("prodution", Some("production")),
            ("Production", Some("production")),
            ("staging ", Some("staging")),
            ("stagign", Some("staging")),
            ("st\u{430}ging", Some("staging")),
            ("qb", Some("qa")),
            ("nowhere", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, known), meant, "{given:?}");
        }
        assert_eq!(nearest(&"s".repeat(1 << 20), known), None);
    }

    #[test]
    fn an_unknown_name_says_what_there_is() {
        let unknown = UnknownName::new(Named::Environment, "pr\u{43e}duction", ["staging", "production"]);
        assert_eq!(unknown.nearest.as_deref(), Some("production"));
        assert_eq!(
            unknown.to_string(),
            "`pr\\u{43e}duction` is not an environment of this policy: expected one of `production`, `staging`"
        );
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text: String) {
            if let Ok(name) = text.parse::<ServiceName>() {
                prop_assert_eq!(name.to_string(), text.clone());
            }
            let _ = UnknownName::new(Named::Service, &text, ["shop"]).to_string();
        }
    }
}
