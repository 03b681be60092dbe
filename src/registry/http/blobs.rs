//! Blobs: streamed both ways, mounted where a registry can.
//!
//! Guarantees: a download that ends without an error carried the bytes of the digest, and its last chunk is held
//! back until that is known, so that wrong bytes never complete an upload; an upload sends exactly the announced
//! length; memory is a few chunks. An interrupted download goes on where it stopped; an interrupted upload is the
//! caller's to begin again, since its bytes are gone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Body, Method, Response, StatusCode, Url};

use super::auth::Scope;
use super::body::failed;
use super::retry::Retry;
use super::transport::{COMPLAINT_LIMIT, Call, Transport};
use super::{Remote, check_claim, is_absent};
use crate::digest::{Digest, Hasher};
use crate::registry::error::{Asked, RegistryError, Request};
use crate::registry::wire::{Chunks, Mounted, Session};

impl Remote {
    /// The bytes of a blob (distribution-spec v1.1, "Pulling blobs").
    ///
    /// # Errors
    /// [`RegistryError::BlobMissing`], trouble; in the stream [`RegistryError::DigestMismatch`] instead of the
    /// last chunk.
    pub(crate) async fn blob(&self, path: &str, digest: Digest) -> Result<Chunks, RegistryError> {
        let asked = self.asked(path, Request::ReadBlob(digest));
        let mut download = Download {
            transport: Arc::clone(&self.transport),
            call: self.call(Method::GET, self.blob_url(path, digest), Scope::pull(path)),
            asked,
            digest,
            response: None,
            hasher: Hasher::default(),
            received: 0,
            skip: 0,
            held: None,
            broken: 0,
        };
        download.open().await?;
        Ok(stream::try_unfold(download, Download::next).boxed())
    }

    /// A blob of at most `limit` bytes, or `None` when the registry says that there is none.
    ///
    /// # Errors
    /// Wrong bytes, more than `limit`, trouble.
    pub(crate) async fn small_blob(
        &self,
        path: &str,
        digest: Digest,
        limit: u64,
    ) -> Result<Option<Bytes>, RegistryError> {
        let asked = self.asked(path, Request::ReadBlob(digest));
        let call = self.call(Method::GET, self.blob_url(path, digest), Scope::pull(path));
        let answer = self.transport.fetch(&asked, &call, limit).await?;
        if is_absent(&answer) {
            return Ok(None);
        }
        if answer.status != StatusCode::OK {
            return Err(answer.refused(&asked));
        }
        let found = Digest::of(&answer.body);
        if found != digest {
            return Err(RegistryError::DigestMismatch { asked: Box::new(asked), wanted: digest, found });
        }
        check_claim(&asked, &answer.headers, found)?;
        Ok(Some(answer.body))
    }

    /// Whether a blob is there.
    ///
    /// # Errors
    /// A header that lies, an answer that is not a registry's, trouble.
    pub(crate) async fn has_blob(&self, path: &str, digest: Digest) -> Result<bool, RegistryError> {
        let asked = self.asked(path, Request::FindBlob(digest));
        let call = self.call(Method::HEAD, self.blob_url(path, digest), Scope::pull(path));
        self.is_there(&asked, call, digest).await
    }

    /// Asks the registry to take a blob from another of its repositories (distribution-spec v1.1, "Mounting a blob
    /// from another repository"). A refusal is an answer: the plain copy that follows says why, if it fails too.
    ///
    /// # Errors
    /// An upload location that is not followed, trouble.
    pub(crate) async fn mount_blob(
        &self,
        path: &str,
        from: &str,
        digest: Digest,
    ) -> Result<Mounted, RegistryError> {
        let asked = self.asked(path, Request::MountBlob { digest, from: from.to_owned() });
        let mut url = self.transport.url(path, "blobs/uploads/");
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
        let mut call = self.call(Method::POST, url, Scope::mount(path, from));
        call.body = Some(Bytes::new());
        let answer = match self.transport.fetch(&asked, &call, COMPLAINT_LIMIT).await {
            // No token for both repositories.
            Err(RegistryError::Token { status: 400 | 401 | 403, .. }) => return Ok(Mounted::No(None)),
            answer => answer?,
        };
        match answer.status.as_u16() {
            201 => {
                check_claim(&asked, &answer.headers, digest)?;
                Ok(Mounted::Yes)
            }
            202 => {
                let location = self.transport.upload_location(&asked, &answer)?;
                Ok(Mounted::No(Some(Session { location })))
            }
            401 | 403 | 404 | 405 => Ok(Mounted::No(None)),
            _ => Err(answer.refused(&asked)),
        }
    }

    /// Uploads a blob of `size` bytes in one streaming PUT (distribution-spec v1.1, "POST then PUT"), in the
    /// upload that a refused mount has opened, if there is one.
    ///
    /// # Errors
    /// [`RegistryError::UploadSource`] when `chunks` fails or has another length; everything else is this
    /// registry's. When [`RegistryError::is_transient`] says so, begin again with a new stream.
    pub(crate) async fn put_blob(
        &self,
        path: &str,
        digest: Digest,
        size: u64,
        chunks: Chunks,
        session: Option<Session>,
    ) -> Result<(), RegistryError> {
        let asked = self.asked(path, Request::WriteBlob(digest));
        // 1. Obtain a session.
        let mut location = match session {
            Some(session) => session.location,
            None => self.open_upload(&asked, path).await?,
        };
        // 2. PUT it all.
        location.query_pairs_mut().append_pair("digest", &digest.to_string());
        let mut call = self.call(Method::PUT, location, Scope::push(path));
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        call.headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
        let progress = Arc::new(AtomicU64::new(0));
        let trouble: Trouble = Arc::default();
        let body = measured(digest, size, chunks, Arc::clone(&progress), Arc::clone(&trouble));
        let outcome = tokio::select! {
            outcome = self.transport.send_once(&asked, call, body) => outcome,
            () = standstill(&progress, self.transport.idle()) => Err(self.transport.stalled(&asked)),
        };
        // 3. Our own side first: the registry's complaint about half a blob is only its consequence.
        if let Some(source) = trouble.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(RegistryError::UploadSource { asked: Box::new(asked), source: Box::new(source) });
        }
        let answer = outcome?;
        match answer.status {
            StatusCode::CREATED | StatusCode::NO_CONTENT => check_claim(&asked, &answer.headers, digest),
            _ => Err(answer.refused(&asked)),
        }
    }

    async fn open_upload(&self, asked: &Asked, path: &str) -> Result<Url, RegistryError> {
        let url = self.transport.url(path, "blobs/uploads/");
        let mut call = self.call(Method::POST, url, Scope::push(path));
        call.body = Some(Bytes::new());
        let answer = self.transport.fetch(asked, &call, COMPLAINT_LIMIT).await?;
        match answer.status {
            StatusCode::ACCEPTED => self.transport.upload_location(asked, &answer),
            _ => Err(answer.refused(asked)),
        }
    }

    fn blob_url(&self, path: &str, digest: Digest) -> Url {
        self.transport.url(path, &format!("blobs/{digest}"))
    }
}

/// What went wrong with the bytes that were to be uploaded.
type Trouble = Arc<Mutex<Option<RegistryError>>>;

/// A request body that fails, and so never completes, unless it is exactly `size` bytes long.
fn measured(digest: Digest, size: u64, chunks: Chunks, progress: Arc<AtomicU64>, trouble: Trouble) -> Body {
    // An empty chunk changes nothing and would end some encoders.
    let body = stream::try_unfold((chunks, 0), move |(mut chunks, sent): (Chunks, u64)| {
        let (progress, trouble) = (Arc::clone(&progress), Arc::clone(&trouble));
        async move {
            let fail = |error| {
                *trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(std::io::Error::other("the bytes to upload could not be read"))
            };
            let wrong = |found| RegistryError::Size { digest, wanted: size, found };
            loop {
                match chunks.next().await {
                    Some(Ok(chunk)) if chunk.is_empty() => {}
                    Some(Ok(chunk)) => {
                        let sent = sent + chunk.len() as u64;
                        if sent > size {
                            return fail(wrong(sent));
                        }
                        progress.store(sent, Ordering::Relaxed);
                        return Ok(Some((chunk, (chunks, sent))));
                    }
                    Some(Err(error)) => return fail(error),
                    None if sent < size => return fail(wrong(sent)),
                    None => return Ok(None),
                }
            }
        }
    });
    Body::wrap_stream(body)
}

/// Returns when `progress` has not changed for `idle`.
async fn standstill(progress: &AtomicU64, idle: Duration) {
    let mut last = None;
    loop {
        let now = Some(progress.load(Ordering::Relaxed));
        if now == last {
            return;
        }
        last = now;
        tokio::time::sleep(idle).await;
    }
}

/// One download under way.
struct Download {
    transport: Arc<Transport>,
    asked: Asked,
    call: Call,
    digest: Digest,
    /// `None` when all has arrived.
    response: Option<Response>,
    hasher: Hasher,
    /// Bytes hashed.
    received: u64,
    /// Bytes of the current response that were received before it was interrupted.
    skip: u64,
    /// The latest chunk, which may be the last.
    held: Option<Bytes>,
    /// How often it was interrupted.
    broken: u32,
}

impl Download {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, RegistryError> {
        loop {
            let Some(response) = &mut self.response else { return Ok(None) };
            let trouble = match tokio::time::timeout(self.transport.idle(), response.chunk()).await {
                Ok(Ok(Some(mut chunk))) => {
                    let known = self.skip.min(chunk.len() as u64);
                    self.skip -= known;
                    // At most the length of the chunk.
                    let chunk = chunk.split_off(known as usize);
                    if chunk.is_empty() {
                        continue;
                    }
                    self.hasher.update(&chunk);
                    self.received += chunk.len() as u64;
                    match self.held.replace(chunk) {
                        Some(earlier) => return Ok(Some((earlier, self))),
                        None => continue,
                    }
                }
                Ok(Ok(None)) => {
                    self.response = None;
                    let (wanted, found) = (self.digest, self.hasher.clone().finish());
                    if found != wanted {
                        let asked = Box::new(self.asked);
                        return Err(RegistryError::DigestMismatch { asked, wanted, found });
                    }
                    return Ok(self.held.take().map(|last| (last, self)));
                }
                Ok(Err(error)) => failed(Box::new(self.asked.clone()), error),
                Err(_) => self.transport.stalled(&self.asked),
            };
            // Interrupted: go on behind what was hashed.
            self.broken += 1;
            let retry: &Retry = self.transport.retry();
            let wait = retry.wait(self.broken, Duration::ZERO, None, self.call.url.path());
            match wait {
                Some(wait) if trouble.is_transient() => tokio::time::sleep(wait).await,
                _ => return Err(trouble),
            }
            self.open().await?;
        }
    }

    async fn open(&mut self) -> Result<(), RegistryError> {
        if self.received > 0 {
            // Digits are always a header value.
            if let Ok(range) = HeaderValue::try_from(format!("bytes={}-", self.received)) {
                self.call.headers.insert(RANGE, range);
            }
        }
        let response = match self.transport.open(&self.asked, &self.call).await? {
            Ok(response) => response,
            Err(answer) if is_absent(&answer) => {
                return Err(RegistryError::BlobMissing { asked: Box::new(self.asked.clone()) });
            }
            Err(answer) => return Err(answer.refused(&self.asked)),
        };
        self.skip = match response.status() {
            StatusCode::PARTIAL_CONTENT if starts_at(response.headers(), self.received) => 0,
            // The range was ignored; what we have comes again. The hash says whether it was the same.
            StatusCode::OK => self.received,
            _ => {
                let asked = Box::new(self.asked.clone());
                return Err(RegistryError::Header { asked, header: "Content-Range" });
            }
        };
        if self.received == 0 {
            check_claim(&self.asked, response.headers(), self.digest)?;
        }
        self.response = Some(response);
        Ok(())
    }
}

/// `Content-Range: bytes START-END/TOTAL` (RFC 9110, section 14.4).
fn starts_at(headers: &HeaderMap, start: u64) -> bool {
    let range = headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let first =
        range.and_then(|range| range.strip_prefix("bytes ")).and_then(|range| range.split('-').next());
    first.and_then(|first| first.parse::<u64>().ok()) == Some(start)
}
