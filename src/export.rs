//! The ledger for strangers: one folder or archive that is checked offline, with samebits and without.
//!
//! ```text
//! README.md                     what is what, and how to check it
//! index.json                    what ought to be here
//! vkey  checkpoint              the log's verifier key and signed head             C2SP signed-note, tlog-checkpoint
//! records/N.json                a record, byte for byte
//! records/N.tlog-proof          that it is entry N of that log                     C2SP tlog-proof
//! tile/…                        the whole log, where it was exported whole         C2SP tlog-tiles
//! control/vkey  control/checkpoint  control/N.json  control/tile/…      the control lane, always whole
//! policies/D.toml  keys/D.pem  roots/D.json               the rules of the decisions, by digest
//! evidence/sha256/D             everything else that they relied on, by digest
//! ```
//!
//! Guarantees: what is written was shown to be in the log, the same ledger gives the same bytes, nothing is overwritten,
//! and an export is there whole or not at all. [`check`](check()) believes nothing that is in it but what follows from signatures:
//! each file is what the signed heads, or the records below them, say, or it is a [`Finding`]. Never does: network.
//!
//! Start at [`write`](write()) and [`check`](check()).

mod check;
mod error;
mod files;
mod place;
mod readme;
mod write;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::record::TreeHead;

pub use check::{Checked, Finding, check};
pub use error::ExportError;
pub use files::Files;
pub use place::{Destination, Writing};
pub use write::{Sink, write};

/// What is exported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Only records about this service, and what they rely on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Only records about this environment, and what they rely on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Only records from this one on, and what they rely on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Only records that claim this time or a later one, and what they rely on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl Part {
    /// Whether it is all of it.
    pub fn is_whole(&self) -> bool {
        *self == Self::default()
    }
}

/// `index.json`: what ought to be in an export. Nothing vouches for it; it says what to look for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// [`FORMAT`].
    pub format: String,
    /// The log.
    pub origin: String,
    /// The head of its main lane.
    pub ledger: TreeHead,
    /// The head of its control lane.
    pub control: TreeHead,
    /// What was asked for; nothing where it is the whole log.
    pub part: Part,
    /// The indexes of the records.
    pub records: Vec<u64>,
    /// What the decisions among them relied on.
    pub evidence: Vec<Digest>,
    /// What they relied on and the ledger no longer had.
    pub missing: Vec<Missing>,
}

/// Evidence that was not there to be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Missing {
    /// The record that names it.
    pub record: u64,
    /// Its digest.
    pub digest: Digest,
}

/// The format of an export.
pub const FORMAT: &str = "https://samebits.dev/export/v0.1";

/// Under what name bytes lie that a decision relied on, by what they are to it.
fn names(digest: Digest) -> [String; 4] {
    let hex = digest.hex();
    [
        format!("evidence/sha256/{hex}"),
        format!("policies/{hex}.toml"),
        format!("keys/{hex}.pem"),
        format!("roots/{hex}.json"),
    ]
}
