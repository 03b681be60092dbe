//! One TUF repository over HTTP, with the settings of the registries.
//!
//! Guarantees: every file has a limit in bytes and in time; "not there", "no answer" and "an answer that is none" are
//! told apart. Never does: verifies anything, follows a redirect, says who asks beyond a user agent.

use std::fmt;
use std::time::Duration;

use bytes::BytesMut;
use reqwest::{Client, Response, StatusCode, Url};
use tokio::time::Instant;

use super::error::Wrong;
use crate::digest::shorten;
use crate::registry::HttpConfig;
use crate::registry::http::retry::{Retry, asked_wait, is_passing};

/// How often a file is asked for at most.
const TRIES: u32 = 3;

/// Why a file was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No answer, or one that speaks of the moment: another time it may be another.
    Unreachable { cause: String },
    /// An answer that is none.
    Wrong(Wrong),
}

/// The way to a repository.
pub(super) struct Wire {
    client: Client,
    base: Url,
    retry: Retry,
    timeout: Duration,
}

impl Wire {
    pub(super) fn new(client: Client, base: Url, config: &HttpConfig) -> Self {
        // Who waits is a command that has not begun; what was refreshed before may stand in.
        let retry = Retry { tries: config.retry.tries.min(TRIES), ..config.retry.clone() };
        Self { client, base, retry, timeout: config.answer_timeout }
    }

    /// A file of at most `limit` bytes; `None` when the repository says that there is none.
    pub(super) async fn read(
        &self,
        folders: &[&str],
        name: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, Fault> {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(folders).push(name);
        }
        let started = Instant::now();
        let mut failed = 0;
        loop {
            let (fault, asked) =
                match tokio::time::timeout(self.timeout, self.attempt(&url, name, limit)).await {
                    Ok(Ok(found)) => return Ok(found),
                    Ok(Err((Fault::Wrong(wrong), _))) => return Err(Fault::Wrong(wrong)),
                    Ok(Err(passing)) => passing,
                    Err(_) => (unreachable(&format_args!("no answer in {} s", self.timeout.as_secs())), None),
                };
            failed += 1;
            match self.retry.wait(failed, started.elapsed(), asked, url.path()) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(fault),
            }
        }
    }

    async fn attempt(
        &self,
        url: &Url,
        name: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, (Fault, Option<Duration>)> {
        let lost = |error: reqwest::Error| (unreachable(&Chain(&error.without_url())), None);
        let response = self.client.get(url.clone()).send().await.map_err(lost)?;
        match response.status() {
            StatusCode::OK => {}
            // Object stores say 403 for what is not there; both mean "none" to TUF clients (python-tuf, sigstore-tuf).
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => return Ok(None),
            status if is_passing(status) => {
                let asked = asked_wait(response.headers());
                return Err((unreachable(&format_args!("it answers {}", status.as_u16())), asked));
            }
            status => {
                let wrong = Wrong::Status { status: status.as_u16(), name: shorten(name) };
                return Err((Fault::Wrong(wrong), None));
            }
        }
        whole(response, name, limit).await
    }
}

async fn whole(
    mut response: Response,
    name: &str,
    limit: u64,
) -> Result<Option<Vec<u8>>, (Fault, Option<Duration>)> {
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if (body.len() + chunk.len()) as u64 > limit => {
                return Err((Fault::Wrong(Wrong::TooLong { name: shorten(name), limit }), None));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(Some(body.to_vec())),
            Err(error) => return Err((unreachable(&Chain(&error.without_url())), None)),
        }
    }
}

fn unreachable(cause: &dyn fmt::Display) -> Fault {
    Fault::Unreachable { cause: shorten(&cause.to_string()) }
}

/// The innermost cause says what happened; the outer ones that something did.
struct Chain<'a>(&'a reqwest::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cause: &dyn std::error::Error = self.0;
        while let Some(source) = cause.source() {
            cause = source;
        }
        write!(f, "{cause}")
    }
}
