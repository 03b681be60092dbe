//! Asking witnesses for their cosignatures.
//!
//! Guarantees: of an answer only cosignatures count that were verified with the key of the policy; a witness that knows
//! more than the ledger, or something else, is an error of its own: it says that the log was rolled back or forked.

use std::time::Duration;

use bytes::BytesMut;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Response, Url};

use crate::digest::shorten;
use crate::ledger::seen::Lane;
use crate::ledger::{Ledger, LedgerError};
use crate::registry::{HttpConfig, RegistryError};
use crate::tlog::{
    AddCheckpoint, MAX_NOTE, PolicyKey, PolicyWitness, SignedCheckpoint, TlogError, TlogPolicy, WitnessVkey,
};

/// How often a witness is asked again because it names another size.
const TURNS: usize = 4;

/// Why a witness did not cosign.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The policy does not say where it is, or nothing that can be asked.
    #[error(
        "the policy has no URL of `{witness}` that can be asked: expected one that starts with `https://`"
    )]
    NoUrl {
        /// Its name in the policy.
        witness: String,
    },
    /// A key of a kind that is not verified here.
    #[error("the key of `{witness}` is of a kind that is not supported (ML-DSA-44)")]
    Unsupported {
        /// Its name in the policy.
        witness: String,
    },
    /// The client could not be made.
    #[error("the witnesses cannot be asked")]
    Client(#[source] Box<RegistryError>),
    /// No answer.
    #[error("`{witness}` cannot be reached: {why}")]
    Unreachable {
        /// Its name in the policy.
        witness: String,
        /// What happened.
        why: String,
    },
    /// An answer that means no, or nothing.
    #[error("`{witness}` answers {status}: {text}")]
    Refused {
        /// Its name in the policy.
        witness: String,
        /// The HTTP status.
        status: u16,
        /// What it says, shortened.
        text: String,
    },
    /// It has cosigned a longer log.
    #[error("`{witness}` has cosigned {seen} records of {lane}, and this ledger has {found}:\n{note}")]
    Longer {
        /// Its name in the policy.
        witness: String,
        /// The lane.
        lane: Lane,
        /// The size that it cosigned.
        seen: u64,
        /// The size of the ledger.
        found: u64,
        /// The ledger's signed head.
        note: String,
    },
    /// It has cosigned another log.
    #[error(
        "what `{witness}` has cosigned of {lane}, {seen} records, is not continued by this ledger:\n{note}"
    )]
    Forked {
        /// Its name in the policy.
        witness: String,
        /// The lane.
        lane: Lane,
        /// The size that it cosigned.
        seen: u64,
        /// The ledger's signed head.
        note: String,
    },
    /// An answer without a good cosignature.
    #[error("`{witness}` gave no cosignature that is its own")]
    Cosignature {
        /// Its name in the policy.
        witness: String,
        /// What is wrong with it.
        source: TlogError,
    },
    /// The ledger.
    #[error("the ledger could not be read, or not keep a cosignature")]
    Ledger(#[from] LedgerError),
}

impl AskError {
    /// Whether this says that the log is not what it was.
    pub fn is_alarm(&self) -> bool {
        match self {
            Self::Longer { .. } | Self::Forked { .. } => true,
            Self::NoUrl { .. }
            | Self::Unsupported { .. }
            | Self::Client(_)
            | Self::Unreachable { .. }
            | Self::Refused { .. }
            | Self::Cosignature { .. }
            | Self::Ledger(_) => false,
        }
    }
}

/// One witness, one lane, what came of it.
#[derive(Debug)]
pub struct Asked {
    /// The name of the witness in the policy.
    pub witness: String,
    /// The lane.
    pub lane: Lane,
    /// The size of the lane that was cosigned.
    pub cosigned: Result<u64, AskError>,
}

/// The way to witnesses.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    config: HttpConfig,
    timeout: Duration,
}

/// What a witness said.
enum Reply {
    Lines(String),
    /// The size that it knows.
    Size(u64),
    Inconsistent,
}

impl Client {
    /// With the proxies and certificate authorities of `config`.
    ///
    /// # Errors
    /// [`AskError::Client`].
    pub fn new(config: &HttpConfig) -> Result<Self, AskError> {
        let http = config.direct_client().map_err(|error| AskError::Client(Box::new(error)))?;
        Ok(Self { http, config: config.clone(), timeout: config.answer_timeout })
    }

    /// The submission prefix with `add-checkpoint` behind it; without TLS on loopback only.
    fn url(&self, witness: &PolicyWitness) -> Result<Url, AskError> {
        let none = || AskError::NoUrl { witness: witness.name.clone() };
        let prefix = witness.url.as_deref().ok_or_else(none)?.trim_end_matches('/');
        let url = Url::parse(&format!("{prefix}/add-checkpoint")).map_err(|_| none())?;
        let plain = url.scheme() == "http" && self.config.accepts_plain_http(&url);
        let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        match bare && url.fragment().is_none() && (plain || url.scheme() == "https") {
            true => Ok(url),
            false => Err(none()),
        }
    }

    async fn ask(&self, name: &str, url: &Url, request: &AddCheckpoint) -> Result<Reply, AskError> {
        let lost = |error: reqwest::Error| AskError::Unreachable {
            witness: name.to_owned(),
            why: shorten(&innermost(&error.without_url())),
        };
        let sent = self.http.post(url.clone()).timeout(self.timeout).body(request.to_string()).send().await;
        let response = sent.map_err(lost)?;
        let status = response.status().as_u16();
        let is_size = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "text/x.tlog.size");
        let text = text(response).await.map_err(lost)?;
        let refused = || AskError::Refused {
            witness: name.to_owned(),
            status,
            text: shorten(text.lines().next().unwrap_or_default()),
        };
        match status {
            200 => Ok(Reply::Lines(text)),
            409 if is_size => {
                let size = text.strip_suffix('\n').and_then(crate::tlog::decimal);
                size.map(Reply::Size).ok_or_else(refused)
            }
            422 => Ok(Reply::Inconsistent),
            _ => Err(refused()),
        }
    }

    /// Hands `head` to a witness: first from where it is thought to be, then from where it says that it is.
    async fn cosignature(
        &self,
        ledger: &Ledger,
        lane: Lane,
        head: &SignedCheckpoint,
        witness: &PolicyWitness,
        known: u64,
    ) -> Result<SignedCheckpoint, AskError> {
        let name = || witness.name.clone();
        let vkey = key(witness)?;
        let url = self.url(witness)?;
        let mut old = known.min(head.size());
        for _ in 0..TURNS {
            let proof = ledger.consistency(lane, old, head)?;
            let request = AddCheckpoint { old, proof, note: head.text().to_owned() };
            let note = || head.text().to_owned();
            match self.ask(&witness.name, &url, &request).await? {
                Reply::Lines(lines) => {
                    let cosigned = head.cosigned(&lines, vkey);
                    return cosigned.map_err(|source| AskError::Cosignature { witness: name(), source });
                }
                Reply::Size(seen) if seen > head.size() => {
                    let found = head.size();
                    return Err(AskError::Longer { witness: name(), lane, seen, found, note: note() });
                }
                // It repeats itself: asked with this very size it cannot be of another mind.
                Reply::Size(seen) if seen == old => break,
                Reply::Size(seen) => old = seen,
                Reply::Inconsistent => {
                    return Err(AskError::Forked { witness: name(), lane, seen: old, note: note() });
                }
            }
        }
        let text = "it names one size after the other".to_owned();
        Err(AskError::Refused { witness: name(), status: 409, text })
    }
}

fn key(witness: &PolicyWitness) -> Result<&WitnessVkey, AskError> {
    match &witness.key {
        PolicyKey::Ed25519(vkey) => Ok(vkey),
        PolicyKey::MlDsa44(_) => Err(AskError::Unsupported { witness: witness.name.clone() }),
    }
}

/// Asks every witness of `policy` to cosign both lanes as they are now, and keeps what they give.
///
/// # Errors
/// [`AskError`] where nobody can be asked; what a witness refuses is in its [`Asked`].
pub async fn cosign(ledger: &Ledger, policy: &TlogPolicy, client: &Client) -> Result<Vec<Asked>, AskError> {
    let mut all = Vec::new();
    for lane in [Lane::Control, Lane::Main] {
        let tip = ledger.lane_tip(lane)?;
        // What cannot be read gives way to what they say now.
        let kept = ledger.cosigned(lane).unwrap_or_default();
        let mut head = tip.clone();
        for witness in policy.witnesses() {
            let has = |kept: &&SignedCheckpoint| {
                key(witness).and_then(|vkey| {
                    let source = |source| AskError::Cosignature { witness: witness.name.clone(), source };
                    vkey.cosignatures(kept).map_err(source)
                })
            };
            let known = kept.as_ref().filter(|kept| has(kept).is_ok_and(|all| !all.is_empty()));
            let known = known.map_or(0, SignedCheckpoint::size);
            let asked = client.cosignature(ledger, lane, &head, witness, known).await;
            let cosigned = asked.map(|cosigned| head = cosigned).map(|()| tip.size());
            all.push(Asked { witness: witness.name.clone(), lane, cosigned });
        }
        if head.text() != tip.text() {
            ledger.keep_cosigned(lane, &head)?;
        }
    }
    Ok(all)
}

/// At most as much as a note has.
async fn text(mut response: Response) -> Result<String, reqwest::Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_NOTE {
            break;
        }
    }
    body.truncate(MAX_NOTE);
    Ok(String::from_utf8_lossy(&body).into_owned())
}

fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
