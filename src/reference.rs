//! Names of images: where the bytes lie and which bytes are meant.
//!
//! Guarantees: a parsed name is spelled in one way only, has a registry (or is an OCI layout on disk),
//! and never carries an implied tag. Text goes in through `FromStr`, the same text comes out of `Display`.
//! Never does: I/O; a relative layout path is made absolute by nobody but the registry module.
//!
//! Grammar: OCI distribution-spec v1.1, "Pulling manifests" (`<name>`, `<reference>`); a host is what
//! `docker` takes for one: it contains `.` or `:`, or is `localhost`. A layout is `oci:PATH`.
//!
//! Start at [`Reference`] (what a person types) and [`Image`] (what everything after resolution uses).

mod host;

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use self::host::{canonical, is_host};
use crate::digest::{Digest, DigestError, shorten};

/// A repository: a path at a registry, or an OCI image layout on disk.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository(Place);

/// The two kinds of place bytes are kept in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Place {
    Registry { host: String, path: String },
    Layout { folder: String },
}

/// Where a [`Repository`] is, for the code that goes there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location<'a> {
    /// `host` is a name or address with an optional port; `path` the distribution-spec `<name>`.
    Registry {
        /// Name or address, with the port where one was given.
        host: &'a str,
        /// The `<name>` of the distribution spec.
        path: &'a str,
    },
    /// An OCI image layout; a relative folder is relative to the policy file's folder.
    Layout {
        /// The folder that holds `oci-layout`.
        folder: &'a str,
    },
}

/// A tag: a mutable pointer, good for one resolution.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// The bytes themselves: a repository and a digest. Nothing after resolution uses anything else.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Image {
    /// Where the bytes lie.
    pub repository: Repository,
    /// Which bytes.
    pub digest: Digest,
}

/// An image as a person types it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// `repository:tag`: what the tag means is looked up once.
    Tagged(Repository, Tag),
    /// `repository@sha256:…`.
    Pinned(Image),
    /// `repository:tag@sha256:…`: the tag is expected to mean this digest, anything else is a refusal.
    Expected(Image, Tag),
}

/// Where a person wants an image to be: a repository, with or without a tag and the digest that is expected there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// The repository.
    pub repository: Repository,
    /// The tag that is to mean the image.
    pub tag: Option<Tag>,
    /// What the image is expected to be; anything else is a refusal.
    pub digest: Option<Digest>,
}

/// Why a text is not a repository, tag, image or reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing there; most often an unset shell variable.
    #[error("the image reference is empty: expected `registry/path:tag` or `registry/path@sha256:…`")]
    Empty,
    /// Longer than any real reference.
    #[error("the reference is {length} bytes long: expected at most {limit}")]
    TooLong {
        /// Length found, in bytes.
        length: usize,
        /// Length allowed, in bytes.
        limit: usize,
    },
    /// Neither tag nor digest; none is implied.
    #[error("`{0}` names neither a tag nor a digest: no tag is implied, type `:tag` or `@sha256:…`")]
    NoTagOrDigest(String),
    /// A tag where only a digest belongs.
    #[error("`{0}` names a tag: expected the digest alone, `@sha256:…`")]
    NotPinned(String),
    /// A tag or digest where only a repository belongs.
    #[error("`{0}` is not a repository: expected no tag and no digest")]
    NotARepository(String),
    /// The first component is no host.
    #[error("`{0}` names no registry: expected a host first, as in `registry.example/{0}`")]
    NoRegistry(String),
    /// The host is outside the grammar.
    #[error(
        "`{0}` is not a registry host: expected lowercase letters, digits, `.`, `-` and an optional `:port`, an address \
         and a port as they are usually written"
    )]
    Host(String),
    /// The path is outside the grammar.
    #[error(
        "`{0}` is not a repository path: expected lowercase letters and digits, separated by `.`, `_`, `__`, `-` or `/`"
    )]
    Path(String),
    /// The tag is outside the grammar.
    #[error(
        "`{0}` is not a tag: expected 1 to 128 of letters, digits, `_`, `.`, `-`, not starting with `.` or `-`"
    )]
    Tag(String),
    /// The layout folder is empty or has characters that a layout path may not have.
    #[error(
        "`{0}` is not a layout folder: expected a path without `:`, `@`, backslash or control characters"
    )]
    Layout(String),
    /// The digest is wrong.
    #[error("the digest of `{reference}` is wrong")]
    Digest {
        /// The whole text.
        reference: String,
        /// What is wrong with the digest.
        source: DigestError,
    },
}

const LIMIT: usize = 4096;
const NAME_LIMIT: usize = 255;
const LAYOUT: &str = "oci:";

impl Repository {
    /// Where it is.
    pub fn location(&self) -> Location<'_> {
        match &self.0 {
            Place::Registry { host, path } => Location::Registry { host, path },
            Place::Layout { folder } => Location::Layout { folder },
        }
    }

    /// A layout in `folder`, normalised: no `.` and no empty components, `..` resolved where it can be.
    ///
    /// # Errors
    /// [`ReferenceError::Layout`] when the folder is empty or has a forbidden character.
    pub fn layout(folder: &str) -> Result<Self, ReferenceError> {
        let forbidden = |c: char| c.is_control() || matches!(c, ':' | '@' | '\\');
        if folder.is_empty() || folder.contains(forbidden) {
            return Err(ReferenceError::Layout(shorten(folder)));
        }
        Ok(Self(Place::Layout { folder: normalise(folder) }))
    }

    /// The place under one name, where several names are known to mean the same one: for finding out whether two
    /// repositories may be one. A layout stays as it is spelled; links on a disk are for who may look at it.
    pub fn canonical(&self) -> String {
        match &self.0 {
            Place::Registry { host, path } => format!("{}/{path}", canonical(host)),
            Place::Layout { .. } => self.to_string(),
        }
    }

    /// Whether both are served by the same registry, so that blobs can be mounted from one to the other.
    pub fn shares_registry_with(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Place::Registry { host: a, .. }, Place::Registry { host: b, .. }) => a == b,
            _ => false,
        }
    }
}

/// Lexical normalisation; a path never gets shorter than `.`.
fn normalise(folder: &str) -> String {
    let absolute = folder.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    match (absolute, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

impl Tag {
    /// The text of the tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Image {
    /// An image from its two parts.
    pub fn new(repository: Repository, digest: Digest) -> Self {
        Self { repository, digest }
    }
}

impl Reference {
    /// The repository, whichever way the image is named.
    pub fn repository(&self) -> &Repository {
        match self {
            Self::Tagged(repository, _) => repository,
            Self::Pinned(image) | Self::Expected(image, _) => &image.repository,
        }
    }

    /// The tag that was typed, if any.
    pub fn tag(&self) -> Option<&Tag> {
        match self {
            Self::Tagged(_, tag) | Self::Expected(_, tag) => Some(tag),
            Self::Pinned(_) => None,
        }
    }
}

impl FromStr for Tag {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let rest = |byte: &u8| word(byte) || matches!(byte, b'.' | b'-');
        let bytes = text.as_bytes();
        if (1..=128).contains(&bytes.len()) && word(&bytes[0]) && bytes.iter().all(rest) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ReferenceError::Tag(shorten(text)))
        }
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        guard(text)?;
        if let Some(folder) = text.strip_prefix(LAYOUT) {
            return match folder.contains([':', '@']) {
                true => Err(ReferenceError::NotARepository(shorten(text))),
                false => Self::layout(folder),
            };
        }
        if text.contains('@') || last_component(text).contains(':') && text.contains('/') {
            return Err(ReferenceError::NotARepository(shorten(text)));
        }
        let (host, path) = text.split_once('/').ok_or_else(|| ReferenceError::NoRegistry(shorten(text)))?;
        if !(host == "localhost" || host.contains(['.', ':'])) {
            return Err(ReferenceError::NoRegistry(shorten(text)));
        }
        if !is_host(host) {
            return Err(ReferenceError::Host(shorten(host)));
        }
        if path.len() > NAME_LIMIT || !path.split('/').all(is_path_component) {
            return Err(ReferenceError::Path(shorten(path)));
        }
        Ok(Self(Place::Registry { host: host.to_owned(), path: path.to_owned() }))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        guard(text)?;
        // 1. The digest, if any, is behind the first `@`.
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                let digest = digest
                    .parse::<Digest>()
                    .map_err(|source| ReferenceError::Digest { reference: shorten(text), source })?;
                (name, Some(digest))
            }
            None => (text, None),
        };
        // 2. The tag, if any, is behind the last `:` of the last path component.
        let (prefix, bare) = match name.strip_prefix(LAYOUT) {
            Some(folder) => (LAYOUT, folder),
            None => ("", name),
        };
        let component = last_component(bare);
        let (repository, tag) = match component.rsplit_once(':') {
            Some((_, tag)) if !prefix.is_empty() || bare.contains('/') => {
                (&name[..name.len() - tag.len() - 1], Some(tag.parse::<Tag>()?))
            }
            _ => (name, None),
        };
        // 3. What is left is the repository.
        if repository.is_empty() || repository == LAYOUT {
            return Err(ReferenceError::NoRegistry(shorten(text)));
        }
        match (digest, tag) {
            (None, None) => {
                repository.parse::<Repository>()?;
                Err(ReferenceError::NoTagOrDigest(shorten(text)))
            }
            (None, Some(tag)) => Ok(Self::Tagged(repository.parse()?, tag)),
            (Some(digest), None) => Ok(Self::Pinned(Image::new(repository.parse()?, digest))),
            (Some(digest), Some(tag)) => Ok(Self::Expected(Image::new(repository.parse()?, digest), tag)),
        }
    }
}

impl FromStr for Destination {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if let Ok(repository) = text.parse() {
            return Ok(Self { repository, tag: None, digest: None });
        }
        Ok(match text.parse()? {
            Reference::Tagged(repository, tag) => Self { repository, tag: Some(tag), digest: None },
            Reference::Pinned(Image { repository, digest }) => {
                Self { repository, tag: None, digest: Some(digest) }
            }
            Reference::Expected(Image { repository, digest }, tag) => {
                Self { repository, tag: Some(tag), digest: Some(digest) }
            }
        })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Image {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        match text.parse()? {
            Reference::Pinned(image) => Ok(image),
            Reference::Tagged(..) | Reference::Expected(..) => Err(ReferenceError::NotPinned(shorten(text))),
        }
    }
}

fn guard(text: &str) -> Result<(), ReferenceError> {
    match text.len() {
        0 => Err(ReferenceError::Empty),
        length if length > LIMIT => Err(ReferenceError::TooLong { length, limit: LIMIT }),
        _ => Ok(()),
    }
}

fn last_component(text: &str) -> &str {
    text.rsplit('/').next().unwrap_or(text)
}

/// distribution-spec v1.1: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_some_and(|byte| alphanumeric(*byte));
    if !(ends(bytes.first()) && ends(bytes.last())) {
        return false;
    }
    bytes.split(|byte| alphanumeric(*byte)).all(|separator| {
        matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-')
    })
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Registry { host, path } => write!(f, "{host}/{path}"),
            Place::Layout { folder } => write!(f, "{LAYOUT}{folder}"),
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository, self.digest)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tagged(repository, tag) => write!(f, "{repository}:{tag}"),
            Self::Pinned(image) => write!(f, "{image}"),
            Self::Expected(image, tag) => write!(f, "{}:{tag}@{}", image.repository, image.digest),
        }
    }
}

macro_rules! as_text {
    ($($name:ident: $pattern:literal),+) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
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
                json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    )+};
}

as_text!(Repository: "^(oci:)?[^@]+$", Tag: "^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$", Image: "^.+@sha256:[0-9a-f]{64}$");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn every_form_is_read_and_written_the_same() {
        for text in [
            "registry.example/shop:1.4.2",
            "registry.example:5000/team/shop:latest",
            "localhost/shop:1",
            "localhost:5000/shop:1",
            "127.0.0.1:5000/a/b/c__d/e--f:1",
            "[::1]:5000/shop:1",
            &format!("registry.example/shop@{D}"),
            &format!("registry.example:5000/shop:1.4.2@{D}"),
            "oci:images/shop:1.4.2",
            "oci:/var/images/my shop:1",
            &format!("oci:images/shop@{D}"),
        ] {
            let reference: Reference = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(reference.to_string(), text);
        }
    }

    #[test]
    fn f7_what_is_outside_the_grammar_is_refused_by_name() {
        use ReferenceError as E;
        type Check = fn(&ReferenceError) -> bool;
        let cases: &[(&str, Check)] = &[
            ("", |e| matches!(e, E::Empty)),
            ("registry.example/shop", |e| matches!(e, E::NoTagOrDigest(_))),
            ("registry.example:5000/shop", |e| matches!(e, E::NoTagOrDigest(_))),
            ("shop:1", |e| matches!(e, E::NoRegistry(_))),
            ("library/shop:1", |e| matches!(e, E::NoRegistry(_))),
            ("Registry.example/shop:1", |e| matches!(e, E::Host(_))),
            ("registry..example/shop:1", |e| matches!(e, E::Host(_))),
            ("registry.example:99999/shop:1", |e| matches!(e, E::Host(_))),
            ("registry.example:/shop:1", |e| matches!(e, E::Host(_))),
            ("registry.example:05000/shop:1", |e| matches!(e, E::Host(_))),
            ("127.1/shop:1", |e| matches!(e, E::Host(_))),
            ("127.0.0.01:5000/shop:1", |e| matches!(e, E::Host(_))),
            ("0x7f.0.0.1:5000/shop:1", |e| matches!(e, E::Host(_))),
            ("2130706433:5000/shop:1", |e| matches!(e, E::Host(_))),
            ("[0:0:0:0:0:0:0:1]:5000/shop:1", |e| matches!(e, E::Host(_))),
            ("user:pw@registry.example/shop:1", |e| matches!(e, E::Digest { .. })),
            ("https://registry.example/shop:1", |e| matches!(e, E::NoRegistry(_) | E::Host(_) | E::Path(_))),
            ("registry.example/Shop:1", |e| matches!(e, E::Path(_))),
            ("registry.example/../shop:1", |e| matches!(e, E::Path(_))),
            ("registry.example//shop:1", |e| matches!(e, E::Path(_))),
            ("registry.example/shop/:1", |e| matches!(e, E::Path(_))),
            ("registry.example/a...b:1", |e| matches!(e, E::Path(_))),
            ("registry.example/a___b:1", |e| matches!(e, E::Path(_))),
            ("registry.example/shop:", |e| matches!(e, E::Tag(_))),
            ("registry.example/shop:.hidden", |e| matches!(e, E::Tag(_))),
            ("registry.example/shop:a b", |e| matches!(e, E::Tag(_))),
            ("registry.example/shop:1\n", |e| matches!(e, E::Tag(_))),
            ("registry.example/shop@", |e| matches!(e, E::Digest { .. })),
            ("registry.example/shop@sha256:abc", |e| matches!(e, E::Digest { .. })),
            ("registry.example/shop@sha512:abc", |e| matches!(e, E::Digest { .. })),
            ("oci:", |e| matches!(e, E::NoRegistry(_))),
            ("oci::1", |e| matches!(e, E::NoRegistry(_))),
            ("oci:a:b:1", |e| matches!(e, E::Layout(_) | E::NotARepository(_))),
        ];
        for (text, check) in cases {
            let error = text.parse::<Reference>().expect_err(text);
            assert!(check(&error), "{text:?} gave {error:?}");
        }
    }

    #[test]
    fn a_layout_folder_has_one_spelling() {
        for (text, canonical) in [
            ("oci:./images//shop/", "oci:images/shop"),
            ("oci:images/../images/shop", "oci:images/shop"),
            ("oci:../shop", "oci:../shop"),
            ("oci:/../shop", "oci:/shop"),
            ("oci:.", "oci:."),
        ] {
            assert_eq!(text.parse::<Repository>().unwrap().to_string(), canonical);
        }
    }

    #[test]
    fn a_repository_has_neither_tag_nor_digest() {
        for text in ["registry.example/shop:1", &format!("registry.example/shop@{D}"), "oci:images/shop:1"] {
            assert!(matches!(text.parse::<Repository>(), Err(ReferenceError::NotARepository(_))), "{text}");
        }
    }

    #[test]
    fn a_destination_needs_no_tag_and_may_have_tag_and_digest() {
        for (text, tag, pinned) in [
            ("registry.example:5000/shop", None, false),
            ("oci:images/shop", None, false),
            ("registry.example/shop:1", Some("1"), false),
            (&format!("oci:images/shop@{D}"), None, true),
            (&format!("registry.example/shop:1@{D}"), Some("1"), true),
        ] {
            let to: Destination = text.parse().unwrap();
            assert_eq!((to.tag.as_ref().map(Tag::as_str), to.digest.is_some()), (tag, pinned), "{text}");
            assert_eq!(to.to_string(), text);
        }
        for wrong in ["", "shop", "oci:", "registry.example/shop:", "registry.example/Shop", "oci:a@sha256:0"]
        {
            assert!(wrong.parse::<Destination>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics_and_round_trips(text in "\\PC{0,40}|[a-z0-9.:/@_-]{0,60}") {
            if let Ok(reference) = text.parse::<Reference>() {
                let again: Reference = reference.to_string().parse().unwrap();
                prop_assert_eq!(again, reference);
            }
        }
    }
}
