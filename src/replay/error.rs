//! Why a recorded decision cannot be made again: what is missing, or not as it was.

use std::fmt;

use crate::closure::ClosureError;
use crate::digest::Digest;
use crate::evidence::TargetError;
use crate::key::KeyError;
use crate::ledger::LedgerError;
use crate::policy::PolicyErrors;
use crate::record::{RecordError, TreeHead};
use crate::verify::{RootError, RootName};

/// Why there is no answer; never "it would be the same".
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// No such record.
    #[error("there is no record {index}: the ledger has {size}")]
    NoSuchRecord {
        /// The index.
        index: u64,
        /// Number of records.
        size: u64,
    },
    /// A fact or an approval.
    #[error("record {index} is no decision of the gate but {found}: expected a promotion record")]
    NotADecision {
        /// The record.
        index: u64,
        /// What it is.
        found: String,
    },
    /// It does not say what was decided on.
    #[error(
        "record {index} does not say what the gate had before it (`basis`): it is an abort without a decision, or was \
         written by an earlier version"
    )]
    NoBasis {
        /// The record.
        index: u64,
    },
    /// Bytes that were kept with it are gone or changed.
    #[error("not everything that record {index} relied on is kept: {}", list(.pieces))]
    NotKept {
        /// The record.
        index: u64,
        /// All that is not there.
        pieces: Vec<Piece>,
    },
    /// The policy file that was kept is not one.
    #[error("the policy file kept with record {index} cannot be read by this version")]
    Policy {
        /// The record.
        index: u64,
        /// Why.
        source: Box<PolicyErrors>,
    },
    /// What the policy names is not what was kept.
    #[error(
        "what is kept of `{file}`, which the policy of record {index} names, is neither a key nor a text"
    )]
    Key {
        /// The record.
        index: u64,
        /// The file.
        file: String,
        /// Why.
        source: KeyError,
    },
    /// A root of trust that was kept cannot be used.
    #[error("the root of trust `{name}` kept with record {index} cannot be used")]
    Root {
        /// The record.
        index: u64,
        /// Its name.
        name: RootName,
        /// Why.
        source: RootError,
    },
    /// The policy asks for a root of trust that was not kept.
    #[error("the policy names the root of trust `{name}`, which was not kept with record {index}")]
    RootNotKept {
        /// The record.
        index: u64,
        /// Its name.
        name: RootName,
    },
    /// Its signature does not count under the rules that it names.
    #[error("record {index} is not valid under the policy that it names")]
    Record {
        /// The record.
        index: u64,
        /// Why.
        source: Box<RecordError>,
    },
    /// The image cannot be put together again.
    #[error("the image cannot be read again from what was kept")]
    Closure(#[from] ClosureError),
    /// An attestation that cannot be told.
    #[error("what is kept of the evidence {digest} of record {index} is neither a bundle nor an envelope")]
    Evidence {
        /// The record.
        index: u64,
        /// The evidence.
        digest: Digest,
    },
    /// A record it relied on is not listed where it belongs.
    #[error(
        "record {index} relied on {hidden}, which the ledger's index does not list where it belongs: `samebits ledger \
         verify` says what was changed"
    )]
    Hidden {
        /// The record.
        index: u64,
        /// What it relied on.
        hidden: String,
    },
    /// The control lane never was what was decided on.
    #[error(
        "record {index} was decided on a control lane of {} records with root {}, which the lane of today never had: \
         it was put back or forked", head.size, head.root
    )]
    Control {
        /// The record.
        index: u64,
        /// What was decided on.
        head: TreeHead,
    },
    /// The question cannot be asked.
    #[error(transparent)]
    Target(#[from] TargetError),
}

/// Something that was to be kept and is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What it is to the decision.
    pub what: String,
    /// Its digest.
    pub digest: Digest,
    /// Whether something else lies in its place.
    pub changed: bool,
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, digest, changed } = self;
        write!(f, "{what} {digest} {}", if *changed { "was changed" } else { "is gone" })
    }
}

fn list(pieces: &[Piece]) -> String {
    pieces.iter().map(Piece::to_string).collect::<Vec<_>>().join("; ")
}
