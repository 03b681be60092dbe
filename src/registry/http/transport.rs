//! One request to one registry: login, redirects, retries, limits.
//!
//! Guarantees: an `Authorization` leaves only for the registry's own origin (attack F2); a redirect is followed at
//! most five times, only for reads, never from TLS to none and never into a network the registry is not in; every
//! body that is kept in memory is capped (attack F4). Never does: interprets what comes back.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Body, Method, Response, StatusCode, Url};
use tokio::time::Instant;

use super::auth::{Auth, Grant, Scope};
use super::body::{failed, not_followed, read_at_most};
use super::clients::Clients;
use super::config::{HttpConfig, Rate};
use super::guard::Guard;
use super::login::Logins;
use super::retry::{Retry, asked_wait, is_passing};
use crate::digest::shorten;
use crate::registry::error::{Asked, Complaint, Distrust, RegistryError};

/// Error bodies are read up to this.
pub(super) const COMPLAINT_LIMIT: u64 = 64 * 1024;
const REDIRECTS: usize = 5;

/// A request that can be made again: its body, if any, is in memory.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) scope: Scope,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
}

/// An answer that has been read whole.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Where it came from in the end.
    pub(super) url: Url,
    /// Cut at [`COMPLAINT_LIMIT`] unless the status is a success.
    pub(super) body: Bytes,
    tries: u32,
    logged_in: bool,
}

impl Answer {
    /// Whether it speaks of the moment: by its status, or by calling the digest of a manifest wrong, which was computed here.
    /// Distribution 2.8 does so while another client writes the link of a blob that it lists, and which is empty as yet.
    /// Nor does it find what a tag means that is being moved, when another deletes what it meant: it has read the tag before.
    fn is_passing(&self, call: &Call) -> bool {
        match (&call.method, self.status) {
            (&Method::PUT, StatusCode::BAD_REQUEST) => {
                self.complaint().code.as_deref() == Some("DIGEST_INVALID")
            }
            (&Method::GET, StatusCode::NOT_FOUND) => {
                let by_digest = call.url.path().rsplit('/').next().is_some_and(|last| last.contains(':'));
                !by_digest && self.names_a_revision()
            }
            (_, status) => is_passing(status),
        }
    }

    /// Whether it says of which digest there is no manifest, as distribution does.
    fn names_a_revision(&self) -> bool {
        let body = serde_json::from_slice::<serde_json::Value>(&self.body);
        body.is_ok_and(|body| body["errors"][0]["detail"]["Revision"].is_string())
    }

    pub(super) fn complaint(&self) -> Complaint {
        Complaint::read(&self.body)
    }

    /// The answer as an error.
    pub(super) fn refused(&self, asked: &Asked) -> RegistryError {
        RegistryError::Status {
            asked: Box::new(asked.clone()),
            status: self.status.as_u16(),
            complaint: self.complaint(),
            tries: self.tries,
            logged_in: self.logged_in,
        }
    }
}

/// The way to one registry.
pub(super) struct Transport {
    config: HttpConfig,
    /// Origin of the registry, with path `/`.
    base: Url,
    guard: Guard,
    clients: Clients,
    auth: Auth,
}

impl Transport {
    pub(super) fn new(host: &str, config: &HttpConfig) -> Result<Self, RegistryError> {
        let base = config.base(host)?;
        let guard = Guard::new(&base, &config.token_hosts);
        let clients = Clients::new(config, &base, &guard)?;
        let auth = Auth::new(
            host,
            &base,
            Logins::new(config.login_files.clone()),
            &config.token_hosts,
            clients.clone(),
            config.answer_timeout,
        );
        Ok(Self { config: config.clone(), base, guard, clients, auth })
    }

    /// `/v2/<path>/<rest>` at the registry. `path` and `rest` are within the grammar of the `reference` module.
    pub(super) fn url(&self, path: &str, rest: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/v2/{path}/{rest}"));
        url
    }

    pub(super) fn retry(&self) -> &Retry {
        &self.config.retry
    }

    pub(super) fn idle(&self) -> Duration {
        self.config.idle_timeout
    }

    pub(super) fn is_home(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Asks until there is an answer that is not of the moment, and reads it whole, up to `limit` bytes.
    pub(super) async fn fetch(
        &self,
        asked: &Asked,
        call: &Call,
        limit: u64,
    ) -> Result<Answer, RegistryError> {
        let mut pace = Pace::new(self.retry(), &call.url);
        loop {
            let outcome = async {
                let timeout = Some(self.config.answer_timeout);
                let (response, logged_in) = self.attempt(asked, call, timeout).await?;
                self.whole(asked, response, logged_in, limit).await
            };
            match outcome.await {
                Ok(answer) if answer.is_passing(call) => {
                    if !pace.again(asked_wait(&answer.headers)).await {
                        return Ok(Answer { tries: pace.failed, ..answer });
                    }
                }
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_transient() => {
                    if !pace.again(wait_of(&error)).await {
                        return Err(with_tries(error, pace.failed));
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// [`fetch`](Self::fetch) of what is only a saving: asked once, and not waited for longer than `timeout`.
    pub(super) async fn fetch_in(
        &self,
        asked: &Asked,
        call: &Call,
        limit: u64,
        timeout: Duration,
    ) -> Result<Answer, RegistryError> {
        let timeout = timeout.min(self.config.answer_timeout);
        let (response, logged_in) = self.attempt(asked, call, Some(timeout)).await?;
        self.whole(asked, response, logged_in, limit).await
    }

    /// Like [`fetch`](Self::fetch), for a body that is to be streamed; what is not a success is read whole.
    pub(super) async fn open(
        &self,
        asked: &Asked,
        call: &Call,
    ) -> Result<Result<Response, Answer>, RegistryError> {
        let mut pace = Pace::new(self.retry(), &call.url);
        loop {
            let outcome = async {
                let attempt = self.attempt(asked, call, None);
                let stalled = |_| self.stalled(asked);
                let (response, logged_in) =
                    tokio::time::timeout(self.idle(), attempt).await.map_err(stalled)??;
                if response.status().is_success() {
                    uncompressed(&|| Box::new(asked.clone()), response.headers())?;
                    return Ok(Ok(response));
                }
                self.whole(asked, response, logged_in, COMPLAINT_LIMIT).await.map(Err)
            };
            match outcome.await {
                Ok(Err(answer)) if is_passing(answer.status) => {
                    if !pace.again(asked_wait(&answer.headers)).await {
                        return Ok(Err(Answer { tries: pace.failed, ..answer }));
                    }
                }
                Ok(done) => return Ok(done),
                Err(error) if error.is_transient() => {
                    if !pace.again(wait_of(&error)).await {
                        return Err(with_tries(error, pace.failed));
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a body that exists only once. No retry, no redirect; the caller bounds the time. A token that is refused is
    /// renewed for whoever begins again.
    pub(super) async fn send_once(
        &self,
        asked: &Asked,
        call: Call,
        body: Body,
    ) -> Result<Answer, RegistryError> {
        let grant = self.auth.ready(asked, &call.scope).await?;
        let logged_in = grant.as_ref().is_some_and(|grant| grant.logged_in);
        let home = self.is_home(&call.url);
        let client = self.clients.to(&call.url)?;
        let mut request = client.request(call.method, call.url).headers(call.headers).body(body);
        if let Some(grant) = grant.as_ref().filter(|_| home) {
            request = request.header(AUTHORIZATION, grant.header.clone());
        }
        let response = request.send().await.map_err(|error| failed(Box::new(asked.clone()), error))?;
        if response.status().is_redirection() {
            return Err(not_followed(asked, response.url(), Distrust::Write));
        }
        if response.status() == StatusCode::UNAUTHORIZED
            && home
            && self.auth.answer(asked, &call.scope, response.headers(), grant.as_ref()).await?.is_some()
        {
            return Err(RegistryError::TokenExpired { asked: Box::new(asked.clone()) });
        }
        self.whole(asked, response, logged_in, COMPLAINT_LIMIT).await
    }

    pub(super) fn stalled(&self, asked: &Asked) -> RegistryError {
        RegistryError::Stalled { asked: Box::new(asked.clone()), seconds: self.idle().as_secs() }
    }

    pub(super) fn least_rate(&self) -> Rate {
        self.config.least_rate
    }

    pub(super) fn too_slow(&self, asked: &Asked, bytes: u64) -> RegistryError {
        let Rate { bytes: expected, within } = self.config.least_rate;
        RegistryError::TooSlow { asked: Box::new(asked.clone()), bytes, seconds: within.as_secs(), expected }
    }

    async fn whole(
        &self,
        asked: &Asked,
        response: Response,
        logged_in: bool,
        limit: u64,
    ) -> Result<Answer, RegistryError> {
        let (status, headers, url) = (response.status(), response.headers().clone(), response.url().clone());
        let asked = || Box::new(asked.clone());
        let body = match status {
            status if status.is_success() => {
                uncompressed(&asked, &headers)?;
                read_at_most(asked(), response, limit).await?
            }
            // Whether this is a registry's "there is none" stands in the body: half of it says nothing.
            StatusCode::NOT_FOUND => {
                let read = read_complaint(response, self.config.answer_timeout).await;
                read.map_err(|error| failed(asked(), error))?
            }
            _ => read_complaint(response, self.config.answer_timeout).await.unwrap_or_default(),
        };
        Ok(Answer { status, headers, url, body, tries: 1, logged_in })
    }

    /// One try: with the grant we have, and, when that is refused, once more with the one we are asked for.
    async fn attempt(
        &self,
        asked: &Asked,
        call: &Call,
        timeout: Option<Duration>,
    ) -> Result<(Response, bool), RegistryError> {
        let mut grant = self.auth.ready(asked, &call.scope).await?;
        for last in [false, true] {
            let response = self.follow(asked, call, grant.as_ref(), timeout).await?;
            let challenged = response.status() == StatusCode::UNAUTHORIZED;
            // A challenge counts only when it is the registry's own.
            if challenged && !last && self.is_home(response.url()) {
                let answer = self.auth.answer(asked, &call.scope, response.headers(), grant.as_ref()).await?;
                if let Some(answer) = answer {
                    grant = Some(answer);
                    continue;
                }
            }
            return Ok((response, grant.is_some_and(|grant| grant.logged_in)));
        }
        unreachable!("the last round returns")
    }

    async fn follow(
        &self,
        asked: &Asked,
        call: &Call,
        grant: Option<&Grant>,
        timeout: Option<Duration>,
    ) -> Result<Response, RegistryError> {
        let mut url = call.url.clone();
        // Once away, a redirect back home does not bring the login back.
        let mut grant = grant.filter(|_| self.is_home(&url));
        for _ in 0..=REDIRECTS {
            let client = self.clients.to(&url)?;
            let mut request = client.request(call.method.clone(), url.clone()).headers(call.headers.clone());
            if let Some(grant) = grant {
                request = request.header(AUTHORIZATION, grant.header.clone());
            }
            if let Some(body) = &call.body {
                request = request.body(body.clone());
            }
            if let Some(timeout) = timeout {
                request = request.timeout(timeout);
            }
            let response = request.send().await.map_err(|error| failed(Box::new(asked.clone()), error))?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let next = location.map(|location| url.join(location));
            let next = match next {
                Some(Ok(next)) => next,
                Some(Err(_)) => return Err(not_followed(asked, &url, Distrust::NotAUrl)),
                None => return Err(not_followed(asked, &url, Distrust::Missing)),
            };
            if call.method != Method::GET && call.method != Method::HEAD {
                return Err(not_followed(asked, &next, Distrust::Write));
            }
            self.check(&url, &next).map_err(|reason| not_followed(asked, &next, reason))?;
            if next.origin() != url.origin() {
                grant = None;
            }
            url = next;
        }
        Err(not_followed(asked, &url, Distrust::TooMany))
    }

    /// Whether `next` may be followed from `url`.
    fn check(&self, url: &Url, next: &Url) -> Result<(), Distrust> {
        match next.scheme() {
            "https" => {}
            "http" if url.scheme() == "https" => return Err(Distrust::Downgrade),
            "http" if self.is_home(next) || self.config.accepts_plain_http(next) => {}
            "http" => return Err(Distrust::PlainHttp),
            _ => return Err(Distrust::NotAUrl),
        }
        if !next.username().is_empty() || next.password().is_some() {
            return Err(Distrust::UserInfo);
        }
        if !self.is_home(next) && !self.guard.accepts_literal(next) {
            return Err(Distrust::NotPublic);
        }
        Ok(())
    }

    /// An upload location: relative ones are resolved, others must be on the registry's own host.
    pub(super) fn upload_location(&self, asked: &Asked, answer: &Answer) -> Result<Url, RegistryError> {
        let location = answer.headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let location = location
            .ok_or_else(|| RegistryError::Header { asked: Box::new(asked.clone()), header: "Location" })?;
        let next =
            answer.url.join(location).map_err(|_| not_followed(asked, &answer.url, Distrust::NotAUrl))?;
        self.check(&answer.url, &next).map_err(|reason| not_followed(asked, &next, reason))?;
        if next.host() != self.base.host() {
            return Err(not_followed(asked, &next, Distrust::OtherHost));
        }
        Ok(next)
    }
}

/// Counts tries and sleeps between them.
struct Pace<'a> {
    retry: &'a Retry,
    started: Instant,
    salt: &'a str,
    failed: u32,
}

impl<'a> Pace<'a> {
    fn new(retry: &'a Retry, url: &'a Url) -> Self {
        Self { retry, started: Instant::now(), salt: url.path(), failed: 0 }
    }

    /// Notes a failure, waits, and says whether to try again.
    async fn again(&mut self, asked: Option<Duration>) -> bool {
        self.failed += 1;
        let Some(wait) = self.retry.wait(self.failed, self.started.elapsed(), asked, self.salt) else {
            return false;
        };
        tokio::time::sleep(wait).await;
        true
    }
}

/// What a token server asks for.
fn wait_of(error: &RegistryError) -> Option<Duration> {
    match error {
        RegistryError::Token { wait, .. } => *wait,
        _ => None,
    }
}

fn with_tries(error: RegistryError, count: u32) -> RegistryError {
    match error {
        RegistryError::Unreachable { asked, source, .. } => {
            RegistryError::Unreachable { asked, tries: count, source }
        }
        RegistryError::TokenServer { asked, realm, source } => {
            let source = Box::new(with_tries(*source, count));
            RegistryError::TokenServer { asked, realm, source }
        }
        other => other,
    }
}

/// Nobody asked for compression: the digests are those of other bytes (attack F4).
fn uncompressed(asked: &impl Fn() -> Box<Asked>, headers: &HeaderMap) -> Result<(), RegistryError> {
    let plain = |value: &HeaderValue| matches!(value.as_bytes(), b"" | b"identity");
    match headers.get_all(CONTENT_ENCODING).iter().find(|value| !plain(value)) {
        None => Ok(()),
        Some(found) => Err(RegistryError::MediaType {
            asked: asked(),
            found: shorten(&String::from_utf8_lossy(found.as_bytes())),
            wanted: "an answer that is not compressed",
        }),
    }
}

/// The first bytes of an error body.
async fn read_complaint(mut response: Response, timeout: Duration) -> Result<Bytes, reqwest::Error> {
    let mut body = BytesMut::new();
    let read = async {
        while let Some(chunk) = response.chunk().await? {
            let room = (COMPLAINT_LIMIT as usize).saturating_sub(body.len());
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() >= room {
                break;
            }
        }
        Ok(())
    };
    // A body that does not end in time is as good as one that was cut here.
    match tokio::time::timeout(timeout, read).await {
        Ok(Err(broken)) => Err(broken),
        Ok(Ok(())) | Err(_) => Ok(body.freeze()),
    }
}
