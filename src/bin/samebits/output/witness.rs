//! What witnesses say, as it is printed.

use jiff::Timestamp;
use samebits::evidence;
use schemars::JsonSchema;
use serde::Serialize;

/// How fresh the control lane is by its witnesses.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "status")]
pub(crate) enum Freshness {
    /// No witness is named: an older state of the ledger would look the same.
    Unwitnessed,
    /// Not enough of the witnesses cosigned.
    Missed {
        /// Those whose cosignature is not there.
        missing: Vec<String>,
    },
    /// Enough of them did.
    Cosigned {
        /// At this time they had seen nothing newer.
        at: Timestamp,
        /// The size of the control lane that they had seen.
        size: u64,
        /// Who.
        witnesses: Vec<String>,
    },
}

impl From<&evidence::Freshness> for Freshness {
    fn from(freshness: &evidence::Freshness) -> Self {
        match freshness.clone() {
            evidence::Freshness::Unwitnessed => Self::Unwitnessed,
            evidence::Freshness::Missed { missing } => Self::Missed { missing },
            evidence::Freshness::Cosigned { at, size, witnesses } => Self::Cosigned { at, size, witnesses },
        }
    }
}

/// The answer of `ledger cosign`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CosignReport {
    /// `https://samebits.dev/schema/cosign.schema.json`
    pub(crate) schema: &'static str,
    /// The log's name.
    pub(crate) origin: String,
    /// Every witness and lane.
    pub(crate) witnesses: Vec<Cosigned>,
    /// How fresh the control lane is now.
    pub(crate) freshness: Freshness,
}

impl CosignReport {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/cosign.schema.json";
}

/// What one witness said of one lane.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cosigned {
    /// Its name in the witness policy.
    pub(crate) witness: String,
    /// `main lane` or `control lane`.
    pub(crate) lane: String,
    /// How many records it cosigned.
    pub(crate) size: Option<u64>,
    /// Why it did not.
    pub(crate) why: Option<String>,
}

/// The answer of `ledger witness key`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WitnessKey {
    /// `https://samebits.dev/schema/witness-key.schema.json`
    pub(crate) schema: &'static str,
    /// The file with the private key.
    pub(crate) file: String,
    /// The public key, as a witness policy names it.
    pub(crate) vkey: String,
}

impl WitnessKey {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/witness-key.schema.json";
}
