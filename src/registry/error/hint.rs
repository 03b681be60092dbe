//! What to do about an error.

use super::{Asked, Complaint, Distrust, RegistryError, Request};
use crate::archive::ArchiveError;
use crate::closure::ClosureError;

impl RegistryError {
    /// What to do about it, for the `hint:` line.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::CaFile { .. } | Self::CaMalformed { .. } => {
                Some("check the CA file setting; nothing is trusted in its stead".to_owned())
            }
            Self::Client { .. } => {
                Some("the system's CA certificates may be missing: install `ca-certificates`".to_owned())
            }
            Self::Host { .. } => None,
            Self::LoginFile { file, .. } | Self::LoginMalformed { file, .. } => {
                Some(format!("repair `{}` or log in again", file.display()))
            }
            Self::Login { registry, .. } => Some(format!("log in again with `docker login {registry}`")),
            Self::Unreachable { asked, .. } => {
                Some(format!("check the name, the network and any proxy on the way to {}", asked.registry))
            }
            Self::Tls { asked, .. } => Some(format!(
                "name the CA of {} in the settings, or, if it speaks plain http, name the host in the policy",
                asked.registry
            )),
            Self::TooSlow { asked, .. } => Some(format!(
                "look at the network and any proxy on the way to {}; safe to run again",
                asked.registry
            )),
            Self::Stalled { .. } | Self::FallbackLost { .. } | Self::TokenExpired { .. } => {
                Some("safe to run again".to_owned())
            }
            Self::Status { asked, status, complaint, logged_in, .. }
            | Self::Token { asked, status, complaint, logged_in, .. } => {
                status_hint(asked, *status, complaint, *logged_in)
            }
            // Who asked knows whether it may stay behind.
            Self::SubjectRefused { .. } => None,
            Self::BlobMissing { .. } => {
                Some("the registry has lost part of the image: push it again from the build".to_owned())
            }
            Self::RepositoryUnknown { asked } => Some(format!(
                "check the name `{}`; some registries say this to a login without access",
                asked.repository
            )),
            Self::DigestMismatch { asked, .. } | Self::DigestHeader { asked, .. } => Some(format!(
                "do not use these bytes: {} or something on the way to it has changed them",
                asked.registry
            )),
            Self::Realm { reason: Distrust::OtherHost, .. } => {
                Some("if this token server is yours, name its host as a token host in the settings".to_owned())
            }
            Self::NotFollowed { reason: Distrust::Downgrade, .. } => Some(
                "the registry builds http addresses behind a TLS proxy: set `X-Forwarded-Proto` or its public URL"
                    .to_owned(),
            ),
            Self::UploadSource { source, .. } => source.hint(),
            Self::TokenServer { source, .. } if source.is_transient() => {
                Some("the token server is busy, down or out of reach: safe to run again".to_owned())
            }
            Self::TokenServer { asked, .. } | Self::TokenMalformed { asked, .. } => {
                Some(format!("tell who runs {}: its token server answers like none", asked.registry))
            }
            Self::NotFollowed { asked, .. } | Self::Realm { asked, .. } => {
                Some(format!("tell who runs {}: it may not send its clients there", asked.registry))
            }
            Self::Size { .. } | Self::ReadTwice { .. } => {
                Some("do not use these bytes: the registry they come from, or its manifest, is wrong".to_owned())
            }
            Self::TooManyReferrers { .. } => Some(TOO_MANY.to_owned()),
            Self::MediaType { asked, .. }
            | Self::Header { asked, .. }
            | Self::TooLarge { asked, .. }
            | Self::Malformed { asked, .. }
            | Self::Challenge { asked, .. } => Some(format!(
                "is {} a registry, and nothing on the way to it in between? the answer does not look like one",
                asked.registry
            )),
            Self::LayoutFile { .. } | Self::Archive(ArchiveError::Io { .. }) => {
                Some("see that it may be read and written, and that its disk has room; then run again".to_owned())
            }
            Self::LayoutMalformed { .. } | Self::LayoutTooLarge { .. } => {
                Some("the layout is not as the OCI describes it: have it written anew".to_owned())
            }
            Self::LayoutAbsent { .. } => {
                Some("check the path; typed, a relative one starts here; in the policy, at the policy file".to_owned())
            }
            Self::LayoutOccupied { .. } => Some("name an empty folder, or one that does not exist".to_owned()),
            Self::Archive(ArchiveError::Malformed { .. }) => {
                Some("make it with `samebits copy`, or unpack it and name the folder".to_owned())
            }
            // They say it themselves.
            Self::Archive(ArchiveError::Exists { .. } | ArchiveError::LeftOver { .. }) => None,
            Self::LayoutWritten { .. } => Some("name a folder, or copy into a new archive".to_owned()),
            Self::LayoutBlobMissing { .. } | Self::LayoutSize { .. } => {
                Some("the layout is incomplete: write the image into it again".to_owned())
            }
            Self::LayoutDigest { .. } => {
                Some("do not use these bytes: something has changed them on disk".to_owned())
            }
            Self::NoSuchImage { .. } => Some("check the name; nothing is guessed or searched for".to_owned()),
            Self::Image { source, .. }
                if matches!(**source, ClosureError::TooMany { what: "referrers", .. }) =>
            {
                Some(TOO_MANY.to_owned())
            }
            Self::Image { source, .. } if matches!(**source, ClosureError::Incomplete { .. }) => {
                Some("run again; if it says so again, that part was lost there: push the image again".to_owned())
            }
            Self::Image { .. } => Some("build and push the image again with a current tool".to_owned()),
            Self::TagNotSet { .. } => {
                Some("somebody else sets this tag, or the registry caches it: run again".to_owned())
            }
            Self::NotListed { .. } => Some(
                "the registry lists it late, or says that it lists referrers and does not: run again, and ask its \
                 operators about the referrers API"
                    .to_owned(),
            ),
            Self::NotALayout { .. } => Some("an OCI layout is a folder with `oci-layout` in it".to_owned()),
        }
    }
}

const TOO_MANY: &str = "delete what nobody needs of what refers to the image";

fn status_hint(asked: &Asked, status: u16, complaint: &Complaint, logged_in: bool) -> Option<String> {
    let Asked { registry, repository, request } = asked;
    match status {
        401 if logged_in => {
            Some(format!("the login is refused: log in again with `docker login {registry}`"))
        }
        401 => Some(format!("log in with `docker login {registry}`")),
        // Registries have no code of their own for tags that may not move.
        400 | 403 | 405 | 409 | 412 if moves_a_tag(request) => Some(format!(
            "if the tags of {repository} are immutable, exempt this one or set none (in the policy: `tag`); else the token \
             needs push on it; then run again"
        )),
        413 => Some(format!(
            "something in front of {registry} takes no requests of this length, nor much shorter ones: raise its limit"
        )),
        403 => Some(format!("the token needs {} on {repository}", request.action())),
        404 if matches!(complaint.code.as_deref(), Some("NAME_UNKNOWN" | "NOT_FOUND")) => Some(format!(
            "{registry} has no {repository}, or the login may not see it: create it there, or check the name"
        )),
        200..=299 | 404 => Some(format!("is {registry} a registry? the answer does not look like one")),
        408 | 429 | 500 | 502 | 503 | 504 => Some(format!("{registry} is busy or down: safe to run again")),
        _ => Some(format!("{registry} does not take it: the reason is in its answer, or in its log")),
    }
}

/// A digest is written as `sha256:…`, and a tag has no colon.
fn moves_a_tag(request: &Request) -> bool {
    matches!(request, Request::WriteManifest(reference) if !reference.contains(':'))
}
