//! What was asked of whom, what it complained of, and what was not done for distrust.

use std::fmt;

use crate::digest::{Digest, shorten};

/// What was asked of whom: the first half of nearly every message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Host as it was typed, with its port.
    pub registry: String,
    /// Path of the repository.
    pub repository: String,
    /// What was wanted.
    pub request: Request,
}

/// The requests this module makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Read a manifest by tag or digest.
    ReadManifest(String),
    /// Ask whether a manifest is there.
    FindManifest(Digest),
    /// Write a manifest under a tag or digest.
    WriteManifest(String),
    /// Read a blob.
    ReadBlob(Digest),
    /// Ask whether a blob is there.
    FindBlob(Digest),
    /// Mount a blob from another repository of the same registry.
    MountBlob {
        /// The blob.
        digest: Digest,
        /// The repository it is in.
        from: String,
    },
    /// Upload a blob.
    WriteBlob(Digest),
    /// List what refers to a digest.
    ListReferrers(Digest),
    /// List the tags of the repository.
    ListTags,
    /// Add a referrer to the fallback tag of a digest.
    AttachReferrer(Digest),
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadManifest(reference) => write!(f, "reading manifest `{reference}`"),
            Self::FindManifest(digest) => write!(f, "looking for manifest {digest}"),
            Self::WriteManifest(reference) => write!(f, "writing manifest `{reference}`"),
            Self::ReadBlob(digest) => write!(f, "reading blob {digest}"),
            Self::FindBlob(digest) => write!(f, "looking for blob {digest}"),
            Self::MountBlob { digest, from } => write!(f, "mounting blob {digest} from {from}"),
            Self::WriteBlob(digest) => write!(f, "uploading blob {digest}"),
            Self::ListReferrers(digest) => write!(f, "listing the referrers of {digest}"),
            Self::ListTags => f.write_str("listing the tags"),
            Self::AttachReferrer(digest) => write!(f, "adding to the referrers tag of {digest}"),
        }
    }
}

impl Request {
    /// The action a token must allow on the repository.
    pub(super) fn action(&self) -> &'static str {
        match self {
            Self::ReadManifest(_)
            | Self::FindManifest(_)
            | Self::ReadBlob(_)
            | Self::FindBlob(_)
            | Self::ListReferrers(_)
            | Self::ListTags => "pull",
            Self::WriteManifest(_)
            | Self::MountBlob { .. }
            | Self::WriteBlob(_)
            | Self::AttachReferrer(_) => "push",
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}: {}", self.registry, self.repository, self.request)
    }
}

/// The first error of a distribution-spec v1.1 error body, shortened and neutralised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complaint {
    /// The code, such as `MANIFEST_UNKNOWN`.
    pub code: Option<String>,
    /// What the registry says for people.
    pub message: Option<String>,
}

impl Complaint {
    /// Reads an error body; anything that is not one gives an empty complaint.
    pub(crate) fn read(body: &[u8]) -> Self {
        #[derive(serde::Deserialize)]
        struct Body {
            errors: Vec<Entry>,
        }
        #[derive(serde::Deserialize)]
        struct Entry {
            code: Option<String>,
            message: Option<String>,
        }
        let Ok(body) = serde_json::from_slice::<Body>(body) else { return Self::default() };
        let Some(first) = body.errors.into_iter().next() else { return Self::default() };
        let text = |text: Option<String>| text.filter(|text| !text.is_empty()).map(|text| shorten(&text));
        Self { code: text(first.code), message: text(first.message) }
    }

    /// Whether the code is one that registries use for "there is no such thing" beside a 404. A 404 without one
    /// of these comes from something that is not a registry, and says nothing about the bytes.
    pub(crate) fn says_absent(&self) -> bool {
        // NOT_FOUND: Harbor. The others: distribution-spec v1.1, "Error Codes".
        matches!(
            self.code.as_deref(),
            Some(
                "MANIFEST_UNKNOWN" | "NAME_UNKNOWN" | "BLOB_UNKNOWN" | "MANIFEST_BLOB_UNKNOWN" | "NOT_FOUND"
            )
        )
    }

    /// Whether the code names something else than the manifest itself (distribution-spec v1.1, "Error Codes").
    pub(super) fn is_about_something_else(&self) -> bool {
        self.says_absent()
            || matches!(
                self.code.as_deref(),
                Some(
                    "DENIED"
                        | "UNAUTHORIZED"
                        | "TOOMANYREQUESTS"
                        | "DIGEST_INVALID"
                        | "SIZE_INVALID"
                        | "NAME_INVALID"
                )
            )
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.code, &self.message) {
            (Some(code), Some(message)) => write!(f, " {code} ({message})"),
            (Some(text), None) | (None, Some(text)) => write!(f, " {text}"),
            (None, None) => Ok(()),
        }
    }
}

/// Why another address was not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// Not a URL, or neither http nor https.
    #[error("it is not an http or https URL")]
    NotAUrl,
    /// From TLS to none.
    #[error("it leaves TLS")]
    Downgrade,
    /// Plain HTTP where only https is accepted.
    #[error("it is plain http")]
    PlainHttp,
    /// A host that has no business with this registry.
    #[error("it is on another host")]
    OtherHost,
    /// Loopback, link-local or private, while the registry itself is not.
    #[error("it is a loopback, link-local or private address, and the registry is not")]
    NotPublic,
    /// User name or password inside the URL.
    #[error("it carries a user name or password")]
    UserInfo,
    /// A further hop after the last one allowed.
    #[error("it is one redirect too many")]
    TooMany,
    /// A redirect of a request that changes something.
    #[error("only reads are redirected")]
    Write,
    /// There was no `Location` at all.
    #[error("there is no address")]
    Missing,
}

/// Why a login could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginProblem {
    /// The entry is neither base64 of `user:password` nor a token, or contradicts itself.
    #[error("its entry cannot be decoded")]
    Entry,
    /// A helper name that would run something other than `docker-credential-NAME`.
    #[error("`{0}` is not a credential helper name")]
    HelperName(String),
    /// The helper is not installed or could not be talked to.
    #[error("`docker-credential-{0}` could not be run")]
    HelperAbsent(String),
    /// The helper ended with an error; its output is kept out, it may hold secrets.
    #[error("`docker-credential-{0}` failed")]
    HelperFailed(String),
    /// The helper answered something else than a login.
    #[error("`docker-credential-{0}` answered something that is not a login")]
    HelperAnswer(String),
}
