//! What an image runs on: `os/architecture[/variant]`.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::shorten;

/// `os/architecture[/variant]`, in the words of the OCI image-spec v1.1 (image-index.md, `platform`).
///
/// One spelling only: the default variants `arm64/v8` and `amd64/v1` are written without the variant, as
/// runtimes match them. No variant is implied anywhere else (`linux/arm` is not `linux/arm/v7`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{found}` is not a platform: expected `os/architecture` or `os/architecture/variant`, each of lowercase letters, digits, `.`, `_`, `-`"
)]
pub struct PlatformError {
    /// What was there, shortened.
    pub found: String,
}

impl Platform {
    /// The operating system, a Go `GOOS` as a rule.
    pub fn os(&self) -> &str {
        &self.os
    }

    /// The processor, a Go `GOARCH` as a rule.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// The variant of the processor, unless it is the default one.
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// Whether this is `unknown/unknown`: what an index says of a manifest that nothing runs.
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }

    pub(super) fn unknown() -> Self {
        Self { os: "unknown".into(), architecture: "unknown".into(), variant: None }
    }

    /// From the three fields of a descriptor or of an image configuration; an empty variant is none.
    pub(super) fn from_parts(
        os: &str,
        architecture: &str,
        variant: Option<&str>,
    ) -> Result<Self, PlatformError> {
        let variant = variant.filter(|variant| !variant.is_empty());
        let good = |part: &str| {
            part.len() <= 32
                && part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
        };
        if !(good(os) && good(architecture) && variant.is_none_or(good)) {
            let text = [os, architecture].into_iter().chain(variant).collect::<Vec<_>>().join("/");
            return Err(PlatformError { found: shorten(&text) });
        }
        let variant = match (architecture, variant) {
            ("arm64", Some("v8")) | ("amd64", Some("v1")) => None,
            (_, variant) => variant.map(str::to_owned),
        };
        Ok(Self { os: os.to_owned(), architecture: architecture.to_owned(), variant })
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<&str> = text.splitn(4, '/').collect();
        match parts[..] {
            [os, architecture] => Self::from_parts(os, architecture, None),
            [os, architecture, variant] if !variant.is_empty() => {
                Self::from_parts(os, architecture, Some(variant))
            }
            _ => Err(PlatformError { found: shorten(text) }),
        }
        .map_err(|_| PlatformError { found: shorten(text) })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Platform {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Platform".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[a-z0-9][a-z0-9._-]{0,31}/[a-z0-9][a-z0-9._-]{0,31}(/[a-z0-9][a-z0-9._-]{0,31})?$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn default_variants_have_one_spelling() {
        for (text, canonical) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/v9", "linux/arm64/v9"),
            ("linux/arm/v7", "linux/arm/v7"),
            ("linux/arm", "linux/arm"),
            ("linux/386", "linux/386"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), canonical);
        }
        assert_eq!("linux/arm64/v8".parse::<Platform>(), "linux/arm64".parse());
    }

    #[test]
    fn what_is_outside_the_grammar_is_refused() {
        for wrong in [
            "",
            "linux",
            "linux/",
            "/amd64",
            "linux/amd64/",
            "linux/amd64/v1/x",
            "Linux/amd64",
            "linux/AMD64",
            "linux /amd64",
            "linux/amd64\n",
            "linux/-",
            "linux/ａmd64",
        ] {
            assert!(wrong.parse::<Platform>().is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics_and_round_trips(text in "\\PC{0,20}|[a-z0-9/.v]{0,20}") {
            if let Ok(platform) = text.parse::<Platform>() {
                prop_assert_eq!(platform.to_string().parse::<Platform>().unwrap(), platform);
            }
        }
    }
}
