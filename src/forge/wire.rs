//! One API over HTTP: JSON documents, page by page.

use std::fmt;
use std::time::Duration;

use bytes::BytesMut;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Client, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{ForgeError, MOST, Settings};
use crate::digest::shorten;
use crate::doctor::Forge;
use crate::registry::http::retry::{Retry, asked_wait, is_passing};

/// The longest answer, in bytes.
const ANSWER: usize = 4 * 1024 * 1024;

/// How often something is asked for at most.
const TRIES: u32 = 3;

/// How many redirects are followed.
const HOPS: usize = 3;

/// The way to an API.
pub(super) struct Wire {
    client: Client,
    forge: Forge,
    base: Url,
    project: String,
    headers: HeaderMap,
    retry: Retry,
    timeout: Duration,
}

/// One document, and what its header says of others.
pub(super) struct Page<T> {
    pub(super) body: T,
    pub(super) headers: HeaderMap,
}

enum Answer {
    Whole(Vec<u8>, HeaderMap),
    Moved(Url),
    /// No answer now; another time it may be another.
    Passing(ForgeError, Option<Duration>),
}

impl Wire {
    pub(super) fn new(settings: &Settings) -> Result<Self, ForgeError> {
        let forge = settings.forge;
        let wrong = || ForgeError::Api { api: shorten(&settings.api) };
        let base = Url::parse(&settings.api).map_err(|_| wrong())?;
        let plain = base.scheme() == "http" && settings.http.accepts_plain_http(&base);
        let bare = base.username().is_empty() && base.password().is_none() && base.query().is_none();
        if !(bare && base.fragment().is_none() && (plain || base.scheme() == "https")) {
            return Err(wrong());
        }
        let client = settings.http.direct_client();
        let client = client.map_err(|source| ForgeError::Client { forge, source: Box::new(source) })?;
        // Who waits is a person, or a job.
        let retry = Retry { tries: settings.http.retry.tries.min(TRIES), ..settings.http.retry.clone() };
        let (headers, project) = (headers(settings)?, settings.project.clone());
        let timeout = settings.http.answer_timeout;
        Ok(Self { client, forge, base, project, headers, retry, timeout })
    }

    /// An address below the API's.
    pub(super) fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url.query_pairs_mut().extend_pairs(query);
        url
    }

    /// An address that an answer gives: of the same origin, or an error.
    pub(super) fn given(&self, from: &Url, to: &str) -> Result<Url, ForgeError> {
        let elsewhere = || ForgeError::Elsewhere { forge: self.forge, to: shorten(to) };
        let url = from.join(to).map_err(|_| elsewhere())?;
        let bare = url.username().is_empty() && url.password().is_none();
        match bare && url.origin() == self.base.origin() {
            true => Ok(url),
            false => Err(elsewhere()),
        }
    }

    pub(super) fn malformed(&self, why: impl fmt::Display) -> ForgeError {
        ForgeError::Malformed { forge: self.forge, why: shorten(&why.to_string()) }
    }

    /// An error once there is more than anybody has: pages that do not end.
    pub(super) fn not_too_many(&self, found: usize) -> Result<(), ForgeError> {
        match found > MOST {
            true => Err(self.malformed(format_args!("more than {MOST} entries"))),
            false => Ok(()),
        }
    }

    /// A document.
    pub(super) async fn get<T: DeserializeOwned>(&self, url: &Url) -> Result<Page<T>, ForgeError> {
        let (started, mut failed, mut hops) = (Instant::now(), 0, 0);
        let mut url = url.clone();
        loop {
            let answer = match tokio::time::timeout(self.timeout, self.attempt(&url)).await {
                Ok(answer) => answer?,
                Err(_) => self.lost(format!("no answer in {} s", self.timeout.as_secs())),
            };
            match answer {
                Answer::Whole(body, headers) => {
                    let body = serde_json::from_slice(&body).map_err(|error| self.malformed(error))?;
                    return Ok(Page { body, headers });
                }
                Answer::Moved(to) if hops < HOPS => (url, hops) = (to, hops + 1),
                Answer::Moved(_) => return Err(self.malformed("it sends from place to place")),
                Answer::Passing(error, asked) => {
                    failed += 1;
                    match self.retry.wait(failed, started.elapsed(), asked, url.path()) {
                        Some(wait) => tokio::time::sleep(wait).await,
                        None => return Err(error),
                    }
                }
            }
        }
    }

    async fn attempt(&self, url: &Url) -> Result<Answer, ForgeError> {
        let forge = self.forge;
        let response = match self.client.get(url.clone()).headers(self.headers.clone()).send().await {
            Ok(response) => response,
            Err(error) => return Ok(self.lost(innermost(&error.without_url()))),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        if status.is_redirection() {
            let to = headers.get(LOCATION).and_then(|to| to.to_str().ok());
            let to = to.ok_or_else(|| self.malformed(format_args!("{} without a place", status.as_u16())))?;
            return self.given(url, to).map(Answer::Moved);
        }
        let body = match whole(response).await {
            Ok(Some(body)) => body,
            Ok(None) => return Err(self.malformed(format_args!("more than {ANSWER} bytes"))),
            Err(error) => return Ok(self.lost(innermost(&error.without_url()))),
        };
        let asked = asked_wait(&headers);
        let spent = headers.get("x-ratelimit-remaining").is_some_and(|left| left == "0");
        let too_often = ForgeError::TooOften { forge, status: status.as_u16() };
        match status {
            StatusCode::OK => Ok(Answer::Whole(body, headers)),
            StatusCode::NOT_FOUND => Err(ForgeError::Absent { forge, project: shorten(&self.project) }),
            // GitHub says 403 or 429 for both of its limits: the primary ends with the hour, the secondary says when.
            StatusCode::TOO_MANY_REQUESTS => Ok(Answer::Passing(too_often, asked)),
            StatusCode::FORBIDDEN if asked.is_some() => Ok(Answer::Passing(too_often, asked)),
            StatusCode::FORBIDDEN if spent => Err(too_often),
            status if is_passing(status) => {
                let why = format!("it answers {}", status.as_u16());
                Ok(Answer::Passing(ForgeError::Unreachable { forge, why }, asked))
            }
            status => Err(ForgeError::Refused { forge, status: status.as_u16(), text: message(&body) }),
        }
    }

    fn lost(&self, why: String) -> Answer {
        Answer::Passing(ForgeError::Unreachable { forge: self.forge, why: shorten(&why) }, None)
    }
}

/// Who asks, and for which version of the API.
fn headers(settings: &Settings) -> Result<HeaderMap, ForgeError> {
    let forge = settings.forge;
    let secret = |text: &str| {
        let mut value = HeaderValue::from_str(text).map_err(|_| ForgeError::Token { forge })?;
        value.set_sensitive(true);
        Ok::<_, ForgeError>(value)
    };
    let mut headers = HeaderMap::new();
    match forge {
        Forge::Github => {
            let bearer = zeroize::Zeroizing::new(format!("Bearer {}", settings.token.as_str()));
            headers.insert(AUTHORIZATION, secret(&bearer)?);
            headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
            let version = HeaderName::from_static("x-github-api-version");
            headers.insert(version, HeaderValue::from_static("2022-11-28"));
        }
        Forge::Gitlab => {
            headers.insert(HeaderName::from_static("private-token"), secret(&settings.token)?);
            headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        }
    }
    Ok(headers)
}

/// A body of at most [`ANSWER`] bytes; none of a longer one.
async fn whole(mut response: Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > ANSWER {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body.to_vec()))
}

/// What a refusal says: both forges put it into `message`, GitLab sometimes into `error`.
fn message(body: &[u8]) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let said = json.as_ref().and_then(|json| json.get("message").or_else(|| json.get("error")));
    shorten(said.and_then(|said| said.as_str()).unwrap_or("nothing about it"))
}

/// The innermost cause says what happened; the outer ones that something did.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
