//! What can go wrong between us and the bytes.
//!
//! Guarantees: every error names the registry and repository, what was asked and what came back; foreign text is
//! neutralised; no secret is ever in a message. "Not there" is not an error of this module unless the caller
//! needed the thing to be there. Start at [`RegistryError`] and [`RegistryError::hint`].

mod exchange;
mod hint;
mod refusal;

use std::path::PathBuf;
use std::time::Duration;

use super::layout::problem::LayoutProblem;
use crate::archive::ArchiveError;
use crate::closure::ClosureError;
use crate::digest::Digest;

pub(crate) use exchange::{Asked, Complaint, Distrust, LoginProblem, Request};
pub(super) use refusal::Refusal;

/// Everything that can go wrong with registries and layouts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    // Configuration.
    /// A CA file cannot be read.
    #[error("CA file `{}` cannot be read", file.display())]
    CaFile {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A CA file holds no certificate, or a broken one.
    #[error("CA file `{}` holds no usable certificate: expected PEM `CERTIFICATE` blocks", file.display())]
    CaMalformed {
        /// The file.
        file: PathBuf,
    },
    /// The HTTP client cannot be made.
    #[error("the HTTP client could not be set up")]
    Client {
        /// Why.
        source: reqwest::Error,
    },
    /// Not a host.
    #[error("`{host}` is not a registry host")]
    Host {
        /// What was given.
        host: String,
    },
    /// A login file cannot be read.
    #[error("login file `{}` cannot be read", file.display())]
    LoginFile {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A login file is not what docker or podman write.
    #[error("login file `{}` is malformed", file.display())]
    LoginMalformed {
        /// The file.
        file: PathBuf,
        /// Where.
        source: serde_json::Error,
    },
    /// A login for the registry is there but unusable.
    #[error("login for {registry} in `{}`: {problem}", file.display())]
    Login {
        /// The key of the login.
        registry: String,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: LoginProblem,
    },

    // The wire.
    /// No answer: name resolution, connection or the middle of a response failed.
    #[error("{asked}: no answer after {tries} tries")]
    Unreachable {
        /// What was asked.
        asked: Box<Asked>,
        /// How often it was tried.
        tries: u32,
        /// The last failure.
        source: reqwest::Error,
    },
    /// TLS could not be agreed or the certificate is not trusted.
    #[error("{asked}: TLS failed")]
    Tls {
        /// What was asked.
        asked: Box<Asked>,
        /// Why.
        source: reqwest::Error,
    },
    /// Bytes stopped moving.
    #[error("{asked}: nothing moved for {seconds} s")]
    Stalled {
        /// What was asked.
        asked: Box<Asked>,
        /// For how long, in seconds.
        seconds: u64,
    },
    /// Bytes moved, and hardly.
    #[error("{asked}: {bytes} bytes moved in {seconds} s, expected {expected}")]
    TooSlow {
        /// What was asked.
        asked: Box<Asked>,
        /// How many bytes moved.
        bytes: u64,
        /// In how long, in seconds.
        seconds: u64,
        /// How many are the least.
        expected: u64,
    },
    /// An answer with a status that is neither success nor a clear absence.
    #[error("{asked}: {status}{complaint}")]
    Status {
        /// What was asked.
        asked: Box<Asked>,
        /// The HTTP status.
        status: u16,
        /// What the registry said.
        complaint: Complaint,
        /// How often it was tried.
        tries: u32,
        /// Whether a login was presented.
        logged_in: bool,
    },
    /// The registry has the image, and does not take what refers to it.
    #[error(
        "{asked}: {status}{complaint}; it has the image, and does not take what refers to it (`subject`): {}",
        listed(.referrers)
    )]
    SubjectRefused {
        /// What was asked first.
        asked: Box<Asked>,
        /// The HTTP status.
        status: u16,
        /// What the registry said.
        complaint: Complaint,
        /// What could not be attached.
        referrers: Vec<Digest>,
    },
    /// The blob that was needed is not there.
    #[error("{asked}: the blob is not there")]
    BlobMissing {
        /// What was asked.
        asked: Box<Asked>,
    },
    /// The registry says that the repository itself is not there.
    #[error("{asked}: there is no such repository")]
    RepositoryUnknown {
        /// What was asked.
        asked: Box<Asked>,
    },
    /// A header that the answer needs is absent or unreadable.
    #[error("{asked}: the answer has no usable `{header}` header")]
    Header {
        /// What was asked.
        asked: Box<Asked>,
        /// The header.
        header: &'static str,
    },

    // Bytes.
    /// Other bytes than asked for.
    #[error("{asked}: the bytes are {found}, not {wanted}")]
    DigestMismatch {
        /// What was asked.
        asked: Box<Asked>,
        /// The digest asked for.
        wanted: Digest,
        /// The digest of the bytes received.
        found: Digest,
    },
    /// `Docker-Content-Digest` names other bytes than those received or sent.
    #[error("{asked}: the registry calls the bytes `{claimed}`, they are {found}")]
    DigestHeader {
        /// What was asked.
        asked: Box<Asked>,
        /// What the header says.
        claimed: String,
        /// The digest of the bytes.
        found: Digest,
    },
    /// The bytes to upload are fewer or more than the manifest says: the trouble is where they come from.
    #[error("blob {digest}: {found} bytes came, expected {wanted}")]
    Size {
        /// The blob.
        digest: Digest,
        /// Bytes expected.
        wanted: u64,
        /// Bytes found (where more came, the count at which reading stopped).
        found: u64,
    },
    /// What was read a second time, because the way to the destination broke, is not what it was.
    #[error("blob {digest}: read again, its bytes are others than before")]
    ReadTwice {
        /// The blob.
        digest: Digest,
    },
    /// More bytes than we are ready to hold.
    #[error("{asked}: the answer is longer than {limit} bytes")]
    TooLarge {
        /// What was asked.
        asked: Box<Asked>,
        /// The limit in bytes.
        limit: u64,
    },
    /// A content type that cannot be what was asked for.
    #[error("{asked}: the answer is `{found}`, expected {wanted}")]
    MediaType {
        /// What was asked.
        asked: Box<Asked>,
        /// The content type found.
        found: String,
        /// The content type expected.
        wanted: &'static str,
    },
    /// JSON that is not what the specification says.
    #[error("{asked}: the answer is malformed, expected {wanted}")]
    Malformed {
        /// What was asked.
        asked: Box<Asked>,
        /// What it should have been.
        wanted: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// More referrers, or more pages of them, than we are ready to follow.
    #[error("{asked}: more than {limit} referrers or pages")]
    TooManyReferrers {
        /// What was asked.
        asked: Box<Asked>,
        /// The limit.
        limit: usize,
    },
    /// The fallback tag was overwritten by somebody else again and again.
    #[error("{asked}: the referrers tag lost our entry {tries} times to another writer")]
    FallbackLost {
        /// What was asked.
        asked: Box<Asked>,
        /// How often it was written.
        tries: u32,
    },
    /// The bytes to upload could not be read: the trouble is at the source, not here.
    #[error("{asked}: the bytes to upload could not be read")]
    UploadSource {
        /// What was asked.
        asked: Box<Asked>,
        /// What happened at the source.
        source: Box<RegistryError>,
    },

    // Other addresses.
    /// A redirect, upload location or next page that is not followed.
    #[error("{asked}: the address `{to}` is not followed: {reason}")]
    NotFollowed {
        /// What was asked.
        asked: Box<Asked>,
        /// The address, without its query.
        to: String,
        /// Why not.
        reason: Distrust,
    },
    /// `WWW-Authenticate` cannot be read.
    #[error("{asked}: the registry's `WWW-Authenticate` is malformed: `{header}`")]
    Challenge {
        /// What was asked.
        asked: Box<Asked>,
        /// The header.
        header: String,
    },
    /// The token server that the registry names is not trusted with a login.
    #[error("{asked}: the token server `{realm}` is not trusted: {reason}")]
    Realm {
        /// What was asked.
        asked: Box<Asked>,
        /// The token server.
        realm: String,
        /// Why not.
        reason: Distrust,
    },
    /// The token server answered no.
    #[error("{asked}: the token server `{realm}` answered {status}{complaint}")]
    Token {
        /// What was asked.
        asked: Box<Asked>,
        /// The token server.
        realm: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        complaint: Complaint,
        /// How long it wants to be left alone.
        wait: Option<Duration>,
        /// Whether a login was presented.
        logged_in: bool,
    },
    /// The token server could not be asked.
    #[error("{asked}: the token server `{realm}` could not be asked")]
    TokenServer {
        /// What was asked.
        asked: Box<Asked>,
        /// The token server.
        realm: String,
        /// What happened to the question.
        source: Box<RegistryError>,
    },
    /// The token was refused in the middle of an upload, and there is a new one.
    #[error("{asked}: the token expired on the way")]
    TokenExpired {
        /// What was asked.
        asked: Box<Asked>,
    },
    /// The token server's answer holds no token.
    #[error("{asked}: the token server `{realm}` answered without a usable token")]
    TokenMalformed {
        /// What was asked.
        asked: Box<Asked>,
        /// The token server.
        realm: String,
    },

    // Layouts.
    /// A file of an OCI image layout cannot be read or written.
    #[error("layout file `{}`", file.display())]
    LayoutFile {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of an OCI image layout is not what image-spec v1.1 says.
    #[error("layout file `{}` is malformed", file.display())]
    LayoutMalformed {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: Box<LayoutProblem>,
    },
    /// There is no layout to read from.
    #[error("there is no OCI layout at `{}`", folder.display())]
    LayoutAbsent {
        /// The folder.
        folder: PathBuf,
    },
    /// Something is there already, and it is not a layout.
    #[error("`{}` is not empty and not an OCI layout: nothing is written into it", folder.display())]
    LayoutOccupied {
        /// The folder.
        folder: PathBuf,
    },
    /// The layout points to a blob that it does not have.
    #[error("layout file `{}` is missing", file.display())]
    LayoutBlobMissing {
        /// The file that should be there.
        file: PathBuf,
    },
    /// A blob of the layout has other bytes than its name says.
    #[error("layout file `{}` has the bytes {found}, not those of its name", file.display())]
    LayoutDigest {
        /// The file.
        file: PathBuf,
        /// The digest of its bytes.
        found: Digest,
    },
    /// A blob of the layout has another length than its descriptor says.
    #[error("layout file `{}` has {found} bytes: expected {wanted}", file.display())]
    LayoutSize {
        /// The file.
        file: PathBuf,
        /// Bytes expected.
        wanted: u64,
        /// Bytes found.
        found: u64,
    },

    /// A file of a layout is longer than we are ready to hold.
    #[error("layout file `{}` is longer than {limit} bytes", file.display())]
    LayoutTooLarge {
        /// The file.
        file: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },

    /// A layout in an archive cannot be used.
    #[error(transparent)]
    Archive(ArchiveError),
    /// A layout in an archive is written in one go, by a copy.
    #[error("`{}` is an OCI layout in an archive: nothing is added to it", file.display())]
    LayoutWritten {
        /// The archive.
        file: PathBuf,
    },

    // Images.
    /// The image that was named is not there: an answer, not an outage.
    #[error("there is no image `{wanted}`")]
    NoSuchImage {
        /// What was looked for.
        wanted: String,
    },
    /// The image, or something that refers to it, is malformed, ambiguous or too large.
    #[error("{image} cannot be read")]
    Image {
        /// The image.
        image: String,
        /// What is wrong.
        source: Box<ClosureError>,
    },
    /// The manifest was written, and then was not what the tag means.
    #[error("{tagged} means {} after it was set to {wanted}", found.map_or("nothing".to_owned(), |found| found.to_string()))]
    TagNotSet {
        /// The repository and the tag.
        tagged: String,
        /// What it was set to.
        wanted: Digest,
        /// What it means.
        found: Option<Digest>,
    },
    /// A referrer was written, and is not listed for its subject.
    #[error("{referrer} was written and is not listed as referring to {subject}")]
    NotListed {
        /// The repository, and what it refers to.
        subject: String,
        /// The referrer.
        referrer: Digest,
    },
    /// The folder is not an OCI image layout of a version we know.
    #[error("`{}` is not an OCI image layout: `oci-layout` says `{found}`, expected `1.0.0`", folder.display())]
    NotALayout {
        /// The folder.
        folder: PathBuf,
        /// What `oci-layout` says.
        found: String,
    },
}

fn listed(digests: &[Digest]) -> String {
    digests.iter().map(Digest::to_string).collect::<Vec<_>>().join(", ")
}

impl RegistryError {
    /// What was asked, where the error belongs to one request.
    pub fn asked(&self) -> Option<&Asked> {
        match self {
            Self::Unreachable { asked, .. }
            | Self::Tls { asked, .. }
            | Self::Stalled { asked, .. }
            | Self::TooSlow { asked, .. }
            | Self::Status { asked, .. }
            | Self::SubjectRefused { asked, .. }
            | Self::BlobMissing { asked }
            | Self::RepositoryUnknown { asked }
            | Self::Header { asked, .. }
            | Self::DigestMismatch { asked, .. }
            | Self::DigestHeader { asked, .. }
            | Self::TooLarge { asked, .. }
            | Self::MediaType { asked, .. }
            | Self::Malformed { asked, .. }
            | Self::TooManyReferrers { asked, .. }
            | Self::FallbackLost { asked, .. }
            | Self::UploadSource { asked, .. }
            | Self::NotFollowed { asked, .. }
            | Self::Challenge { asked, .. }
            | Self::Realm { asked, .. }
            | Self::Token { asked, .. }
            | Self::TokenServer { asked, .. }
            | Self::TokenExpired { asked }
            | Self::TokenMalformed { asked, .. } => Some(asked),
            Self::CaFile { .. }
            | Self::CaMalformed { .. }
            | Self::Client { .. }
            | Self::Host { .. }
            | Self::LoginFile { .. }
            | Self::LoginMalformed { .. }
            | Self::Login { .. }
            | Self::Size { .. }
            | Self::ReadTwice { .. }
            | Self::LayoutFile { .. }
            | Self::LayoutMalformed { .. }
            | Self::LayoutAbsent { .. }
            | Self::LayoutOccupied { .. }
            | Self::LayoutBlobMissing { .. }
            | Self::LayoutDigest { .. }
            | Self::LayoutSize { .. }
            | Self::LayoutTooLarge { .. }
            | Self::Archive(_)
            | Self::LayoutWritten { .. }
            | Self::NoSuchImage { .. }
            | Self::Image { .. }
            | Self::TagNotSet { .. }
            | Self::NotListed { .. }
            | Self::NotALayout { .. } => None,
        }
    }

    /// Whether there is no such place, by its own word. Not that it did not answer.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::LayoutAbsent { .. } | Self::RepositoryUnknown { .. })
    }

    /// Whether the same request may well succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Stalled { .. }
            | Self::TooSlow { .. }
            | Self::FallbackLost { .. }
            | Self::NotListed { .. }
            | Self::TokenExpired { .. } => true,
            Self::Status { status, .. } | Self::Token { status, .. } => {
                matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
            }
            Self::UploadSource { source, .. } | Self::TokenServer { source, .. } => source.is_transient(),
            Self::CaFile { .. }
            | Self::CaMalformed { .. }
            | Self::Client { .. }
            | Self::Host { .. }
            | Self::LoginFile { .. }
            | Self::LoginMalformed { .. }
            | Self::Login { .. }
            | Self::Tls { .. }
            | Self::SubjectRefused { .. }
            | Self::BlobMissing { .. }
            | Self::RepositoryUnknown { .. }
            | Self::Header { .. }
            | Self::DigestMismatch { .. }
            | Self::DigestHeader { .. }
            | Self::Size { .. }
            | Self::ReadTwice { .. }
            | Self::TooLarge { .. }
            | Self::MediaType { .. }
            | Self::Malformed { .. }
            | Self::TooManyReferrers { .. }
            | Self::NotFollowed { .. }
            | Self::Challenge { .. }
            | Self::Realm { .. }
            | Self::TokenMalformed { .. }
            | Self::LayoutFile { .. }
            | Self::LayoutMalformed { .. }
            | Self::LayoutAbsent { .. }
            | Self::LayoutOccupied { .. }
            | Self::LayoutBlobMissing { .. }
            | Self::LayoutDigest { .. }
            | Self::LayoutSize { .. }
            | Self::LayoutTooLarge { .. }
            | Self::Archive(_)
            | Self::LayoutWritten { .. }
            | Self::NoSuchImage { .. }
            | Self::Image { .. }
            | Self::TagNotSet { .. }
            | Self::NotALayout { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(request: Request) -> Box<Asked> {
        Box::new(Asked { registry: "registry.example".into(), repository: "prod/app".into(), request })
    }

    #[test]
    fn a_refusal_names_both_ends_and_says_what_to_do() {
        let error = RegistryError::Status {
            asked: asked(Request::WriteManifest("1.4.2".into())),
            status: 403,
            complaint: Complaint::read(br#"{"errors":[{"code":"DENIED","message":"no\u001b[31m"}]}"#),
            tries: 1,
            logged_in: true,
        };
        assert_eq!(
            error.to_string(),
            "registry.example/prod/app: writing manifest `1.4.2`: 403 DENIED (no\\u{1b}[31m)"
        );
        let hint = error.hint().unwrap();
        assert!(hint.contains("immutable") && hint.contains("the token needs push"), "{hint}");
        assert!(!error.is_transient());
    }

    #[test]
    fn only_an_oci_code_says_absent() {
        let says = |body: &[u8]| Complaint::read(body).says_absent();
        assert!(says(br#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#));
        for not in [&b"<html>404</html>"[..], b"404 page not found", b"{}", b"", br#"{"errors":[]}"#] {
            assert!(!says(not), "{}", String::from_utf8_lossy(not));
        }
        assert!(!says(br#"{"errors":[{"code":"DENIED"}]}"#));
    }

    #[test]
    fn the_error_stays_small() {
        assert!(std::mem::size_of::<RegistryError>() <= 128);
    }
}
