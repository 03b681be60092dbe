//! Witnesses (C2SP tlog-witness): being one, and asking them.
//!
//! Guarantees: a [`Witness`] cosigns no checkpoint that is smaller than, or does not continue, the last one of its log
//! that it cosigned, however many ask at once and whenever it is killed: the check and the keeping are one transaction,
//! which is on disk before the answer is given. What a witness answers is believed only where its signature is verified
//! ([`cosign`]). Never does: vouch for what is in a log.
//!
//! Start at [`Witness::add_checkpoint`] and [`cosign`].

mod client;
mod server;
mod state;
#[cfg(test)]
mod tests;

pub use client::{AskError, Asked, Client, cosign};
pub use server::serve;
pub use state::StateError;

use std::path::Path;

use crate::tlog::{AddCheckpoint, MAX_REQUEST, Refused, TlogError, Vkey, WitnessSigner, WitnessVkey};
use state::State;

/// A witness of some logs.
#[derive(Debug)]
pub struct Witness {
    signer: WitnessSigner,
    logs: Vec<Vkey>,
    state: State,
}

/// What a witness answers: HTTP without the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The content type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

/// Why a witness has no answer.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// What it remembers cannot be read or kept.
    #[error(transparent)]
    State(#[from] StateError),
    /// It cannot sign.
    #[error("the checkpoint could not be cosigned")]
    Sign(#[from] TlogError),
}

/// Why a request was not granted.
enum No {
    Refused(Refused),
    Failed(WitnessError),
}

impl Witness {
    /// A witness that remembers in the file `state`, of the logs of `vkeys` and, of a ledger, of both its lanes.
    ///
    /// # Errors
    /// [`StateError`] where the file cannot be used.
    pub fn open(signer: WitnessSigner, vkeys: &[Vkey], state: &Path) -> Result<Self, StateError> {
        let control = vkeys.iter().filter_map(|vkey| vkey.control().ok());
        let logs = vkeys.iter().cloned().chain(control).collect();
        Ok(Self { signer, logs, state: State::open(state)? })
    }

    /// Under which key it cosigns.
    pub fn vkey(&self) -> &WitnessVkey {
        self.signer.vkey()
    }

    /// Answers `add-checkpoint`; `now` is in seconds since 1970.
    ///
    /// # Errors
    /// [`WitnessError`]: nothing was cosigned, or nobody was told.
    pub fn add_checkpoint(&self, body: &[u8], now: u64) -> Result<Answer, WitnessError> {
        match self.cosigned(body, now) {
            Ok(line) => Ok(Answer { status: 200, content_type: TEXT, body: line }),
            Err(No::Refused(Refused::Conflict { size })) => {
                Ok(Answer { status: 409, content_type: SIZE, body: format!("{size}\n") })
            }
            Err(No::Refused(refused)) => {
                Ok(Answer { status: refused.status(), content_type: TEXT, body: format!("{refused}\n") })
            }
            Err(No::Failed(error)) => Err(error),
        }
    }

    fn cosigned(&self, body: &[u8], now: u64) -> Result<String, No> {
        let malformed = || {
            let expected = "UTF-8 text of at most the size of 63 lines of proof and a checkpoint";
            No::Refused(Refused::Malformed { line: 1, expected, found: format!("{} bytes", body.len()) })
        };
        let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= MAX_REQUEST);
        let request: AddCheckpoint = text.ok_or_else(malformed)?.parse().map_err(No::Refused)?;
        let head = request.opened(&self.logs).map_err(No::Refused)?;
        // Kept before it is signed: a witness that was killed in between has only promised too much to itself.
        self.state
            .step(&head, |latest| request.continues(&head, latest))
            .map_err(|error| No::Failed(error.into()))?
            .map_err(No::Refused)?;
        self.signer.cosign(&head, now).map_err(|error| No::Failed(error.into()))
    }
}

const TEXT: &str = "text/plain; charset=utf-8";
/// tlog-witness, "add-checkpoint": the type of a 409.
const SIZE: &str = "text/x.tlog.size";
