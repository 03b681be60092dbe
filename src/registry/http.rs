//! The OCI distribution-spec v1.1 client: one registry, every repository in it.
//!
//! Guarantees: what comes out has the digest that was asked for, recomputed here; `None` and the variants of
//! `Listing` are answers of the registry itself, everything else is an error; memory is bounded; a login goes
//! nowhere but home.
//! Never does: decides what is good enough, deletes, believes a `Docker-Content-Digest` (attack A2).
//!
//! Start at [`Remote`]; one request is `http/transport.rs`, who may ask is `http/auth.rs`.

mod auth;
mod blobs;
mod body;
mod challenge;
mod clients;
mod config;
mod guard;
mod login;
mod pace;
mod referrers;
pub(crate) mod retry;
mod tags;
mod transport;
mod upload;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};

use self::auth::Scope;
use self::transport::{Answer, COMPLAINT_LIMIT, Call, Transport};
use super::error::{Asked, RegistryError, Request};
use super::wire::{Fetched, PutManifest, Which};
use crate::digest::{Digest, shorten};

pub use config::{HttpConfig, Proxies, Rate};
pub(crate) use referrers::fallback_tag;
pub use retry::Retry;

/// The longest manifest that is read: what distribution-spec v1.1 asks registries to take ("Pushing Manifests").
pub(crate) const MANIFEST_LIMIT: u64 = 4 << 20;

/// Every kind of manifest there is; a registry that must choose would otherwise convert.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.artifact.manifest.v1+json";

/// One registry.
pub(crate) struct Remote {
    host: String,
    transport: Arc<Transport>,
    /// Repositories in which the referrers API has answered (true), or turned out to be no route at all (false).
    referrers_api: Mutex<BTreeMap<String, bool>>,
    /// The longest body of an upload that was not refused for its length, as far as is known.
    longest_request: AtomicU64,
}

impl Remote {
    /// The registry called `host`. Nothing is sent yet.
    ///
    /// # Errors
    /// A host that is none, a CA file that cannot be used, a proxy that is no URL.
    pub(crate) fn new(host: &str, config: &HttpConfig) -> Result<Self, RegistryError> {
        let transport = Arc::new(Transport::new(host, config)?);
        Ok(Self {
            host: host.to_owned(),
            transport,
            referrers_api: Mutex::default(),
            longest_request: AtomicU64::new(u64::MAX),
        })
    }

    /// A manifest, or `None` when the registry says that there is none (distribution-spec v1.1, "Pulling
    /// manifests").
    ///
    /// # Errors
    /// Other bytes than asked for, a header that lies about them, more than [`MANIFEST_LIMIT`], trouble.
    pub(crate) async fn manifest(
        &self,
        path: &str,
        which: Which<'_>,
    ) -> Result<Option<Fetched>, RegistryError> {
        let asked = self.asked(path, Request::ReadManifest(which.to_string()));
        let call =
            self.call(Method::GET, self.manifest_url(path, which), Scope::pull(path)).accept(MANIFESTS);
        let answer = self.transport.fetch(&asked, &call, MANIFEST_LIMIT).await?;
        if is_absent(&answer) {
            return Ok(None);
        }
        if answer.status != StatusCode::OK {
            return Err(answer.refused(&asked));
        }
        let digest = Digest::of(&answer.body);
        if let Which::Digest(wanted) = which
            && wanted != digest
        {
            return Err(RegistryError::DigestMismatch { asked: Box::new(asked), wanted, found: digest });
        }
        check_claim(&asked, &answer.headers, digest)?;
        let media_type = content_type(&asked, &answer.headers)?;
        if !media_type.ends_with("json") && !media_type.ends_with("+prettyjws") {
            let wanted = "a manifest";
            return Err(RegistryError::MediaType {
                asked: Box::new(asked),
                found: shorten(&media_type),
                wanted,
            });
        }
        Ok(Some(Fetched { digest, media_type, bytes: answer.body }))
    }

    /// Whether a manifest is there.
    ///
    /// # Errors
    /// A header that lies, an answer that is not a registry's, trouble.
    pub(crate) async fn has_manifest(&self, path: &str, digest: Digest) -> Result<bool, RegistryError> {
        let asked = self.asked(path, Request::FindManifest(digest));
        let url = self.manifest_url(path, Which::Digest(digest));
        let call = self.call(Method::HEAD, url, Scope::pull(path)).accept(MANIFESTS);
        self.is_there(&asked, call, digest).await
    }

    /// The answer to a HEAD by digest. There is no body whose code could be read: what is plainly a web page's
    /// "not found" is not taken for a registry's.
    async fn is_there(&self, asked: &Asked, call: Call, digest: Digest) -> Result<bool, RegistryError> {
        let answer = self.transport.fetch(asked, &call, COMPLAINT_LIMIT).await?;
        let page = is_page(asked, &answer);
        match answer.status {
            StatusCode::OK if !page => {
                check_claim(asked, &answer.headers, digest)?;
                Ok(true)
            }
            StatusCode::NOT_FOUND if !page => Ok(false),
            _ => Err(answer.refused(asked)),
        }
    }

    /// Writes a manifest, exactly these bytes (distribution-spec v1.1, "Pushing Manifests").
    ///
    /// # Errors
    /// `which` is a digest of other bytes, the registry stored other bytes, trouble.
    pub(crate) async fn put_manifest(
        &self,
        path: &str,
        which: Which<'_>,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<PutManifest, RegistryError> {
        let asked = self.asked(path, Request::WriteManifest(which.to_string()));
        let digest = Digest::of(&bytes);
        if let Which::Digest(wanted) = which
            && wanted != digest
        {
            return Err(RegistryError::DigestMismatch { asked: Box::new(asked), wanted, found: digest });
        }
        let subject = subject(&bytes);
        let content_type = HeaderValue::from_str(media_type).map_err(|_| RegistryError::MediaType {
            asked: Box::new(asked.clone()),
            found: shorten(media_type),
            wanted: "a media type",
        })?;
        let mut call = self.call(Method::PUT, self.manifest_url(path, which), Scope::push(path));
        call.headers.insert(CONTENT_TYPE, content_type);
        call.body = Some(bytes);
        let answer = self.transport.fetch(&asked, &call, COMPLAINT_LIMIT).await?;
        if !answer.status.is_success() || is_page(&asked, &answer) {
            return Err(answer.refused(&asked));
        }
        check_claim(&asked, &answer.headers, digest)?;
        let acknowledged = answer.headers.get("oci-subject").and_then(|value| value.to_str().ok());
        let acknowledged = acknowledged.and_then(|value| value.trim().parse::<Digest>().ok());
        Ok(PutManifest { subject_acknowledged: acknowledged.is_some() && acknowledged == subject })
    }

    /// See [`super::backend::Backend::is_patient`]; a few tries, as of any other request.
    pub(crate) fn patience(&self, asked: u32, about: Digest) -> Option<Duration> {
        self.transport.retry().wait(asked, Duration::ZERO, None, &about.to_string())
    }

    fn asked(&self, path: &str, request: Request) -> Asked {
        Asked { registry: self.host.clone(), repository: path.to_owned(), request }
    }

    fn manifest_url(&self, path: &str, which: Which<'_>) -> Url {
        self.transport.url(path, &format!("manifests/{which}"))
    }

    fn call(&self, method: Method, url: Url, scope: Scope) -> Call {
        Call { method, url, scope, headers: HeaderMap::new(), body: None }
    }
}

impl Call {
    fn accept(mut self, media_types: &'static str) -> Self {
        self.headers.insert(ACCEPT, HeaderValue::from_static(media_types));
        self
    }
}

/// Whether the registry itself says that the thing is not there. A 404 without an error code of the specification
/// comes from something else on the way, and says nothing about the bytes.
fn is_absent(answer: &Answer) -> bool {
    answer.status == StatusCode::NOT_FOUND && answer.complaint().says_absent()
}

/// Whether something on the way answered with a web page.
fn is_page(asked: &Asked, answer: &Answer) -> bool {
    content_type(asked, &answer.headers).is_ok_and(|found| found == "text/html")
}

/// Attack A2: the header is never believed, and one that contradicts the bytes is a reason to stop.
fn check_claim(asked: &Asked, headers: &HeaderMap, found: Digest) -> Result<(), RegistryError> {
    let Some(claimed) = headers.get("docker-content-digest") else { return Ok(()) };
    let claimed = String::from_utf8_lossy(claimed.as_bytes());
    if claimed.parse::<Digest>() == Ok(found) {
        return Ok(());
    }
    Err(RegistryError::DigestHeader { asked: Box::new(asked.clone()), claimed: shorten(&claimed), found })
}

/// `Content-Type` in lower case, without parameters.
fn content_type(asked: &Asked, headers: &HeaderMap) -> Result<String, RegistryError> {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence =
        value.and_then(|value| value.split(';').next()).map(|value| value.trim().to_ascii_lowercase());
    essence
        .filter(|value| !value.is_empty())
        .ok_or_else(|| RegistryError::Header { asked: Box::new(asked.clone()), header: "Content-Type" })
}

/// The subject of a manifest we write, to compare with what the registry says it has seen.
fn subject(bytes: &[u8]) -> Option<Digest> {
    #[derive(serde::Deserialize)]
    struct Referring {
        subject: Option<Subject>,
    }
    #[derive(serde::Deserialize)]
    struct Subject {
        digest: Digest,
    }
    serde_json::from_slice::<Referring>(bytes).ok()?.subject.map(|subject| subject.digest)
}

#[cfg(test)]
pub(crate) mod tests;
