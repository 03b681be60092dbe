//! Blobs: read as streams, looked for, mounted where a registry can.
//!
//! Guarantees: a download that ends without an error carried the bytes of the digest, and its last chunk is held
//! back until that is known, so that wrong bytes never complete an upload; an interrupted download goes on where it
//! stopped; memory is a few chunks. Uploads are `upload.rs`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode, Url};
use tokio::time::Instant;

use super::auth::Scope;
use super::body::failed;
use super::pace::Window;
use super::retry::{Retry, Stamina};
use super::transport::{COMPLAINT_LIMIT, Call, Transport};
use super::{Remote, check_claim, is_absent};
use crate::digest::Digest;
use crate::registry::buffers::Buffers;
use crate::registry::error::{Asked, RegistryError, Request};
use crate::registry::trail::Pass;
use crate::registry::wire::{Chunks, Mounted};

impl Remote {
    /// The bytes of a blob, from where `reading` goes on (distribution-spec v1.1, "Pulling blobs").
    ///
    /// # Errors
    /// [`RegistryError::BlobMissing`], trouble; in the stream [`RegistryError::DigestMismatch`] instead of the
    /// last chunk.
    pub(crate) async fn blob(
        &self,
        path: &str,
        digest: Digest,
        reading: Pass,
    ) -> Result<Chunks, RegistryError> {
        let asked = self.asked(path, Request::ReadBlob(digest));
        let mut download = Download {
            transport: Arc::clone(&self.transport),
            call: self.call(Method::GET, self.blob_url(path, digest), Scope::pull(path)),
            asked,
            digest,
            response: None,
            reading,
            skip: 0,
            held: None,
            buffers: Buffers::default(),
            stamina: Stamina::default(),
            arrived: 0,
            waited: Duration::ZERO,
            window: Window::new(self.transport.least_rate()),
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
            202 => Ok(Mounted::No(Some(self.session(&asked, &answer)?))),
            // Of the moment, or of a server.
            408 | 429 => Err(answer.refused(&asked)),
            400..=499 | 501 => Ok(Mounted::No(None)),
            _ => Err(answer.refused(&asked)),
        }
    }

    fn blob_url(&self, path: &str, digest: Digest) -> Url {
        self.transport.url(path, &format!("blobs/{digest}"))
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
    /// What is hashed of it.
    reading: Pass,
    /// Bytes of the current response that were received before it was interrupted.
    skip: u64,
    /// The latest chunk, which may be the last.
    held: Option<Bytes>,
    buffers: Buffers,
    /// How often it was interrupted without getting further.
    stamina: Stamina,
    /// Bytes that came, and how long they were waited for: whoever takes them slowly is not the registry's fault.
    arrived: u64,
    waited: Duration,
    window: Window,
}

impl Download {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, RegistryError> {
        loop {
            let Some(response) = &mut self.response else { return Ok(None) };
            let began = Instant::now();
            let next = tokio::time::timeout(self.transport.idle(), response.chunk()).await;
            self.waited += began.elapsed();
            if let Ok(Ok(Some(chunk))) = &next {
                self.arrived += chunk.len() as u64;
            }
            let slow = self.window.note(self.waited, self.arrived);
            let trouble = match (next, slow) {
                // What came last comes again.
                (Ok(Ok(Some(_))), Some(bytes)) => self.transport.too_slow(&self.asked, bytes),
                (Ok(Ok(Some(mut chunk))), None) => {
                    let known = self.skip.min(chunk.len() as u64);
                    self.skip -= known;
                    // At most the length of the chunk.
                    let chunk = chunk.split_off(known as usize);
                    if chunk.is_empty() {
                        continue;
                    }
                    self.reading.pass(&chunk)?;
                    match self.held.replace(self.buffers.copy(&chunk)) {
                        Some(earlier) => return Ok(Some((earlier, self))),
                        None => continue,
                    }
                }
                (Ok(Ok(None)), _) => {
                    self.response = None;
                    let (wanted, found) = (self.digest, self.reading.digest()?);
                    if found != wanted {
                        let asked = Box::new(self.asked);
                        return Err(RegistryError::DigestMismatch { asked, wanted, found });
                    }
                    return Ok(self.held.take().map(|last| (last, self)));
                }
                (Ok(Err(error)), _) => failed(Box::new(self.asked.clone()), error),
                (Err(_), _) => self.transport.stalled(&self.asked),
            };
            // Interrupted: go on behind what was hashed.
            let failed = self.stamina.failed(self.reading.at());
            let retry: &Retry = self.transport.retry();
            let wait = retry.wait(failed, Duration::ZERO, None, self.call.url.path());
            match wait {
                Some(wait) if trouble.is_transient() => tokio::time::sleep(wait).await,
                _ => return Err(trouble),
            }
            self.open().await?;
            self.window.excuse(self.waited, self.arrived);
            if self.response.is_none() {
                return Ok(self.held.take().map(|last| (last, self)));
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.reading.digest().is_ok_and(|found| found == self.digest)
    }

    async fn open(&mut self) -> Result<(), RegistryError> {
        let received = self.reading.at();
        if received > 0 {
            // Digits are always a header value.
            if let Ok(range) = HeaderValue::try_from(format!("bytes={received}-")) {
                self.call.headers.insert(RANGE, range);
            }
        }
        let response = loop {
            match self.transport.open(&self.asked, &self.call).await? {
                Ok(response) => break response,
                Err(answer) if is_absent(&answer) => {
                    return Err(RegistryError::BlobMissing { asked: Box::new(self.asked.clone()) });
                }
                // It broke off behind its last byte (RFC 9110, section 15.5.17).
                Err(answer) if answer.status == StatusCode::RANGE_NOT_SATISFIABLE && self.is_whole() => {
                    self.response = None;
                    return Ok(());
                }
                // `crane registry serve` knows no range without an end: then all of it again.
                Err(answer)
                    if answer.status == StatusCode::RANGE_NOT_SATISFIABLE
                        && self.call.headers.remove(RANGE).is_some() => {}
                Err(answer) => return Err(answer.refused(&self.asked)),
            }
        };
        self.skip = match response.status() {
            StatusCode::PARTIAL_CONTENT if starts_at(response.headers(), received) => 0,
            // The range was ignored; what we have comes again. The hash says whether it was the same.
            StatusCode::OK => received,
            _ => {
                let asked = Box::new(self.asked.clone());
                return Err(RegistryError::Header { asked, header: "Content-Range" });
            }
        };
        if received == 0 {
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
