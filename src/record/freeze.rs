//! The freeze: nothing enters, for a while or until it is thawed (`DESIGN.md` section 5, `freeze/v0.1`).
//!
//! Guarantees: those of a [`ControlRecord`](super::ControlRecord). Never does: say whether it holds now; that is a
//! question of the gate's clock ([`crate::gate::control`]).

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::control::reason;
use super::{Actor, LedgerView, Position, RecordError, Scope, read};
use crate::digest::Digest;
use crate::verify::Attestation;

/// Predicate `https://samebits.dev/freeze/v0.1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Freeze {
    /// Who says so.
    pub actor: Actor,
    /// Where nothing enters; of a thaw, where the freeze held.
    pub scope: Scope,
    /// Since when; of a thaw, since when the freeze held.
    pub from: Timestamp,
    /// Until when; until it is thawed where it is absent. Of a thaw, what the freeze said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: String,
    /// The freeze in the control lane that this one ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifts: Option<Position>,
    /// When it was said.
    pub decided_on: Timestamp,
    /// The ledger as the author saw it; `origin` is that of the control lane.
    pub ledger: LedgerView,
}

impl Freeze {
    /// A freeze is about no bytes: its one subject is the digest of the JSON of its scope.
    pub(super) fn subjects(&self) -> Vec<Digest> {
        // serde_json sorts the members of an object: the text is canonical.
        vec![Digest::of(json!(self.scope).to_string().as_bytes())]
    }
}

pub(super) fn freeze(attestation: &Attestation) -> Result<Freeze, RecordError> {
    let freeze: Freeze = read(attestation)?;
    reason(&freeze.reason)?;
    if freeze.until.is_some_and(|until| until <= freeze.from) {
        return Err(RecordError::Contradiction("it ends before it begins"));
    }
    if freeze.ledger.prev.is_some() {
        return Err(RecordError::Contradiction("a control record follows no record of a target"));
    }
    Ok(freeze)
}
