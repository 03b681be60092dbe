//! Uploads: one request where that is taken, several where it is not, and on from where the way broke.
//!
//! Guarantees: the bytes that would complete a blob are held back until the source has ended, and so has checked them;
//! the registry is told to complete it only when it has all of them; what a registry says of its part is used when it
//! can be true, else the blob is begun again; memory is a few chunks. Never does: assumes what a registry can (nothing
//! is cut up before a whole blob was refused).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE};
use reqwest::{Body, Method, StatusCode, Url};

use super::auth::Scope;
use super::pace::{Gauge, Sluggish, sluggish};
use super::retry::{Stamina, asked_wait, is_passing};
use super::transport::{Answer, COMPLAINT_LIMIT};
use super::{Remote, check_claim};
use crate::digest::Digest;
use crate::registry::error::{Asked, RegistryError, Request};
use crate::registry::wire::{Chunks, Session, Supply};

/// The first size of chunks, once a blob was refused for its length.
const CHUNK: u64 = 64 << 20;
/// No smaller chunks are tried.
const SMALLEST_CHUNK: u64 = 64 << 10;

impl Remote {
    /// Uploads a blob of `size` bytes: in one streaming PUT (distribution-spec v1.1, "POST then PUT"), in the upload that
    /// a refused mount has opened, if there is one; in chunks ("Pushing a blob in chunks") when one request is too long
    /// for the registry, or for what stands in front of it; and, when the way there breaks, on from where it broke.
    ///
    /// # Errors
    /// [`RegistryError::UploadSource`] when the source fails or has another length; everything else is this
    /// registry's.
    pub(crate) async fn put_blob(
        &self,
        path: &str,
        digest: Digest,
        size: u64,
        supply: Supply,
        session: Option<Session>,
    ) -> Result<(), RegistryError> {
        let asked = self.asked(path, Request::WriteBlob(digest));
        // One that a mount opened may have waited, and be gone.
        let resumed = session.is_some();
        let mut upload =
            Upload { remote: self, asked, path, digest, size, session, stored: 0, sent: 0, resumed };
        let mut stamina = Stamina::default();
        loop {
            let Err(broken) = upload.go_on(&supply).await else { return Ok(()) };
            match broken.next {
                Next::Stop => return Err(broken.error),
                Next::Smaller(refused) => {
                    if !upload.shrink(refused) {
                        return Err(broken.error);
                    }
                }
                next @ (Next::Ask | Next::Anew) => {
                    let failed = stamina.failed(upload.stored);
                    let wait =
                        self.transport.retry().wait(failed, Duration::ZERO, broken.wait, &upload.salt());
                    let Some(wait) = wait else { return Err(broken.error) };
                    tokio::time::sleep(wait).await;
                    if next == Next::Anew {
                        upload.begin_again();
                        continue;
                    }
                    match upload.look().await {
                        Ok(Found::Part) => {}
                        Ok(Found::Whole) => return Ok(()),
                        // It was asked patiently: what broke first says more.
                        Err(_) => return Err(broken.error),
                    }
                }
            }
        }
    }

    /// Opens an upload.
    async fn open_upload(&self, asked: &Asked, path: &str) -> Result<Session, RegistryError> {
        let url = self.transport.url(path, "blobs/uploads/");
        let mut call = self.call(Method::POST, url, Scope::push(path));
        call.body = Some(Bytes::new());
        let answer = self.transport.fetch(asked, &call, COMPLAINT_LIMIT).await?;
        match answer.status {
            StatusCode::ACCEPTED => self.session(asked, &answer),
            _ => Err(answer.refused(asked)),
        }
    }

    /// The upload that an answer opens.
    pub(super) fn session(&self, asked: &Asked, answer: &Answer) -> Result<Session, RegistryError> {
        let location = self.transport.upload_location(asked, answer)?;
        let least = answer.headers.get("oci-chunk-min-length").and_then(|value| value.to_str().ok());
        let chunk_min = least.and_then(|least| least.trim().parse().ok()).unwrap_or(0);
        Ok(Session { location, chunk_min })
    }
}

/// One blob on its way.
struct Upload<'a> {
    remote: &'a Remote,
    asked: Asked,
    path: &'a str,
    digest: Digest,
    size: u64,
    /// `None`: one is to be opened.
    session: Option<Session>,
    /// Bytes that the registry says it has.
    stored: u64,
    /// Bytes that were handed to the network: it cannot have more.
    sent: u64,
    /// Whether the session is one that was broken, or that was opened some time ago.
    resumed: bool,
}

/// Why an upload did not end, and what to do.
struct Broken {
    error: RegistryError,
    /// What the registry asks for.
    wait: Option<Duration>,
    next: Next,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// It will not be otherwise.
    Stop,
    /// So many bytes are too many for one request.
    Smaller(u64),
    /// Ask how far it came; go on there, or begin again.
    Ask,
    /// Begin again.
    Anew,
}

enum Found {
    Part,
    Whole,
}

impl Upload<'_> {
    /// Sends what the registry does not have.
    async fn go_on(&mut self, supply: &Supply) -> Result<(), Broken> {
        // 1. Obtain a session. The request repeats itself.
        if self.session.is_none() {
            let session = self.remote.open_upload(&self.asked, self.path).await.map_err(Broken::stop)?;
            self.session = Some(session);
        }
        // 2. Send the rest of it, at once where that is not known to be too much.
        let most = self.remote.longest_request.load(Ordering::Relaxed);
        if self.stored < self.size || self.size == 0 {
            let chunks = supply(self.stored).await.map_err(|source| self.of_source(source))?;
            let feed = Arc::new(tokio::sync::Mutex::new(Feed {
                chunks,
                rest: Bytes::new(),
                at: self.stored,
                size: self.size,
                digest: self.digest,
                ended: false,
            }));
            if self.stored == 0 && self.size <= most {
                return self.complete(Some((&feed, self.size))).await;
            }
            while self.stored < self.size {
                let least = self.session.as_ref().map_or(0, |session| session.chunk_min);
                self.chunk(&feed, most.max(least).min(self.size - self.stored)).await?;
            }
        }
        // 3. All is there.
        self.complete(None).await
    }

    /// PATCH: the next `length` bytes, of which there are as many.
    async fn chunk(&mut self, feed: &Shared, length: u64) -> Result<(), Broken> {
        let answer = self.send(Method::PATCH, self.location(), Some((feed, length))).await?;
        let end = self.stored + length;
        if !matches!(answer.status.as_u16(), 201 | 202 | 204) {
            return Err(self.refused(answer, length));
        }
        if answer.headers.contains_key(LOCATION) {
            let location =
                self.remote.transport.upload_location(&self.asked, &answer).map_err(Broken::stop)?;
            let chunk_min = self.session.as_ref().map_or(0, |session| session.chunk_min);
            self.session = Some(Session { location, chunk_min });
        }
        if self.sent < end || stored(&answer.headers).is_some_and(|stored| stored != end) {
            let error = RegistryError::Header { asked: Box::new(self.asked.clone()), header: "Range" };
            return Err(Broken { error, wait: None, next: Next::Ask });
        }
        self.stored = end;
        Ok(())
    }

    /// PUT: all of it at once, or nothing more.
    async fn complete(&mut self, body: Option<(&Shared, u64)>) -> Result<(), Broken> {
        let mut location = self.location();
        location.query_pairs_mut().append_pair("digest", &self.digest.to_string());
        let answer = self.send(Method::PUT, location, body).await?;
        match answer.status {
            StatusCode::CREATED | StatusCode::NO_CONTENT => {
                check_claim(&self.asked, &answer.headers, self.digest).map_err(Broken::stop)
            }
            _ => Err(self.refused(answer, body.map_or(0, |(_, length)| length))),
        }
    }

    fn location(&self) -> Url {
        match &self.session {
            Some(session) => session.location.clone(),
            // Not before `go_on` has opened one.
            None => self.remote.transport.url(self.path, "blobs/uploads/"),
        }
    }

    async fn send(
        &mut self,
        method: Method,
        location: Url,
        body: Option<(&Shared, u64)>,
    ) -> Result<Answer, Broken> {
        let transport = &self.remote.transport;
        let length = body.map_or(0, |(_, length)| length);
        let partial = method == Method::PATCH;
        let mut call = self.remote.call(method, location, Scope::push(self.path));
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        call.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        // Digits are always a header value.
        let range = HeaderValue::try_from(format!("{}-{}", self.stored, (self.stored + length).max(1) - 1));
        if let (true, Ok(range)) = (partial, range) {
            call.headers.insert(CONTENT_RANGE, range);
        }
        let (at, end) = (AtomicU64::new(self.stored), self.stored + length);
        let gauge = Arc::new(Gauge { at, end, reading: AtomicBool::new(false) });
        let trouble = Trouble::default();
        let body = body.map_or_else(
            || Body::from(Bytes::new()),
            |(feed, _)| bytes_of(feed, length, Arc::clone(&gauge), Arc::clone(&trouble)),
        );
        let outcome = tokio::select! {
            outcome = transport.send_once(&self.asked, call, body) => outcome,
            how = sluggish(&gauge, transport.idle(), transport.least_rate()) => Err(match how {
                Sluggish::Still => transport.stalled(&self.asked),
                Sluggish::Slow(bytes) => transport.too_slow(&self.asked, bytes),
            }),
        };
        self.sent = self.sent.max(gauge.at.load(Ordering::Relaxed));
        // Our own side first: the registry's complaint about half a blob is only its consequence.
        if let Some(source) = trouble.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(self.of_source(source));
        }
        outcome.map_err(|error| {
            let next = if error.is_transient() { Next::Ask } else { Next::Stop };
            Broken { error, wait: None, next }
        })
    }

    fn of_source(&self, source: RegistryError) -> Broken {
        // It was asked patiently, unless it is this way that broke.
        Broken::stop(RegistryError::UploadSource {
            asked: Box::new(self.asked.clone()),
            source: Box::new(source),
        })
    }

    /// What an answer that is no success means for a request of `length` bytes.
    fn refused(&self, answer: Answer, length: u64) -> Broken {
        let next = match answer.status {
            StatusCode::PAYLOAD_TOO_LARGE => Next::Smaller(length),
            // "Out of order": it has more or less than we think.
            StatusCode::RANGE_NOT_SATISFIABLE => Next::Ask,
            // "The client MUST restart", or it does not have what it said it had; a session that was opened just now is
            // no such case.
            StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST if self.resumed => Next::Anew,
            status if is_passing(status) => Next::Ask,
            _ => Next::Stop,
        };
        Broken { wait: asked_wait(&answer.headers), error: answer.refused(&self.asked), next }
    }

    /// Notes that a request of `refused` bytes is too long; false when nothing smaller is left to try.
    fn shrink(&mut self, refused: u64) -> bool {
        let least = self.session.as_ref().map_or(0, |session| session.chunk_min).max(SMALLEST_CHUNK);
        let smaller = (refused / 2).min(CHUNK).max(least);
        if smaller >= refused {
            return false;
        }
        self.remote.longest_request.fetch_min(smaller, Ordering::Relaxed);
        if self.stored == 0 {
            self.begin_again();
        }
        true
    }

    /// Asks how far it came (distribution-spec v1.1, "Pushing a blob in chunks": GET on the location).
    async fn look(&mut self) -> Result<Found, RegistryError> {
        let (sent, session) = (self.sent, self.session.take());
        if let Some(session) = session.filter(|_| sent > 0) {
            let call = self.remote.call(Method::GET, session.location.clone(), Scope::push(self.path));
            match self.remote.transport.fetch(&self.asked, &call, COMPLAINT_LIMIT).await {
                Ok(answer) => {
                    if let Some((stored, location)) = self.told(&answer, &session) {
                        let session = Session { location, ..session };
                        (self.stored, self.session, self.resumed) = (stored, Some(session), true);
                        return Ok(Found::Part);
                    }
                }
                Err(error) if error.is_transient() => return Err(error),
                // It does not say.
                Err(_) => {}
            }
        }
        self.begin_again();
        // The answer may have been all that was lost.
        let whole = sent == self.size && self.size > 0;
        match whole && self.remote.has_blob(self.path, self.digest).await.unwrap_or(false) {
            true => Ok(Found::Whole),
            false => Ok(Found::Part),
        }
    }

    /// How much it has, and where to go on; `None` when it does not say, or says what cannot be.
    fn told(&self, answer: &Answer, session: &Session) -> Option<(u64, Url)> {
        if answer.status != StatusCode::NO_CONTENT {
            return None;
        }
        // `0-0` is one byte, and what registries say of none.
        let stored = stored(&answer.headers).filter(|stored| (2..=self.sent).contains(stored))?;
        match answer.headers.contains_key(LOCATION) {
            true => Some((stored, self.remote.transport.upload_location(&self.asked, answer).ok()?)),
            false => Some((stored, session.location.clone())),
        }
    }

    fn begin_again(&mut self) {
        (self.session, self.stored, self.sent, self.resumed) = (None, 0, 0, false);
    }

    fn salt(&self) -> String {
        self.digest.to_string()
    }
}

impl Broken {
    fn stop(error: RegistryError) -> Self {
        Self { error, wait: None, next: Next::Stop }
    }
}

/// `Range: 0-END` of an answer about an upload: how many bytes the registry has. `bytes=` is from before the OCI.
fn stored(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(RANGE)?.to_str().ok()?.trim();
    let end = range.strip_prefix("bytes=").unwrap_or(range).strip_prefix("0-")?;
    end.parse::<u64>().ok()?.checked_add(1)
}

/// The bytes of one blob, for one request after the other.
struct Feed {
    chunks: Chunks,
    rest: Bytes,
    /// How many bytes of the blob are handed out.
    at: u64,
    size: u64,
    digest: Digest,
    /// Whether the source has ended.
    ended: bool,
}

type Shared = Arc<tokio::sync::Mutex<Feed>>;

impl Feed {
    /// Some bytes, at most `most`.
    async fn next(&mut self, most: u64) -> Result<Bytes, RegistryError> {
        if self.rest.is_empty() {
            self.rest = self.fetch().await?.ok_or_else(|| self.wrong(self.at))?;
        }
        let (left, rest) = (self.size - self.at, self.rest.len() as u64);
        if rest > left {
            return Err(self.wrong(self.at + rest));
        }
        // What would complete the blob waits for the source's end, which is its word that it is the blob.
        if rest == left
            && !self.ended
            && let Some(more) = self.fetch().await?
        {
            return Err(self.wrong(self.size + more.len() as u64));
        }
        // At most the length of a chunk in memory.
        let piece = self.rest.split_to(rest.min(most) as usize);
        self.at += piece.len() as u64;
        Ok(piece)
    }

    /// The next bytes of the source, if there are any.
    async fn fetch(&mut self) -> Result<Option<Bytes>, RegistryError> {
        while let Some(chunk) = self.chunks.next().await.transpose()? {
            // An empty chunk changes nothing and would end some encoders.
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
        self.ended = true;
        Ok(None)
    }

    fn wrong(&self, found: u64) -> RegistryError {
        RegistryError::Size { digest: self.digest, wanted: self.size, found }
    }
}

/// What went wrong with the bytes that were to be uploaded.
type Trouble = Arc<Mutex<Option<RegistryError>>>;

/// A request body of the next `length` bytes; it fails, and so never completes, when they do not come.
fn bytes_of(feed: &Shared, length: u64, gauge: Arc<Gauge>, trouble: Trouble) -> Body {
    let state = (Arc::clone(feed), gauge, trouble, length);
    Body::wrap_stream(stream::try_unfold(state, |(feed, gauge, trouble, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        gauge.reading.store(true, Ordering::Relaxed);
        let outcome = {
            let mut feed = feed.lock().await;
            feed.next(left).await.map(|piece| (piece, feed.at))
        };
        gauge.reading.store(false, Ordering::Relaxed);
        match outcome {
            Ok((piece, at)) => {
                gauge.at.store(at, Ordering::Relaxed);
                let left = left - piece.len() as u64;
                Ok(Some((piece, (feed, gauge, trouble, left))))
            }
            Err(error) => {
                *trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(std::io::Error::other("the bytes to upload could not be read"))
            }
        }
    }))
}
