//! What a decision relied on, as `show` lists it and `ledger evidence` takes it out.

use std::fmt::Write as _;

use samebits::digest::Digest;
use samebits::ledger::kept::Role;
use schemars::JsonSchema;
use serde::Serialize;

use crate::report::{BAD, DIM, Report, clean, size};

/// The answer of `ledger evidence`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EvidenceFolder {
    /// `https://samebits.dev/schema/evidence.schema.json`
    pub(crate) schema: &'static str,
    /// The record.
    pub(crate) record: u64,
    /// Where the files are.
    pub(crate) folder: String,
    /// What was written.
    pub(crate) files: Vec<EvidenceFile>,
}

impl EvidenceFolder {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/evidence.schema.json";
}

/// One file of it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EvidenceFile {
    /// Its name in the folder.
    pub(crate) file: String,
    /// What it is to the decision.
    pub(crate) what: What,
    /// Of an attestation its predicate type, of a key its file in the policy, of a root of trust its name.
    pub(crate) name: Option<String>,
    /// The digest of its bytes, which the record names.
    pub(crate) digest: Digest,
    /// Its size in bytes.
    pub(crate) size: u64,
}

/// What a piece is to the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    /// The record itself.
    Record,
    /// The index or manifest the image is named by.
    Root,
    /// A platform manifest.
    Platform,
    /// A bundle, an envelope or a payload.
    Attestation,
    /// The OCI descriptor of the layer that carried one; the signature is in its annotations.
    Layer,
    /// The policy file.
    Policy,
    /// A public key (DER), or where a root of trust begins.
    Key,
    /// A root of trust (trusted_root.json).
    TrustedRoot,
}

impl What {
    /// A role, and the name that comes with it.
    pub(crate) fn of(role: &Role) -> (Self, Option<String>) {
        match role {
            Role::Root => (Self::Root, None),
            Role::Platform => (Self::Platform, None),
            Role::Attestation(predicate_type) => (Self::Attestation, Some(predicate_type.clone())),
            Role::Layer => (Self::Layer, None),
            Role::Policy => (Self::Policy, None),
            Role::Key(file) => (Self::Key, Some(file.clone())),
            Role::Trusted(name) => (Self::TrustedRoot, Some(name.clone())),
        }
    }
}

/// A piece of evidence that a decision relied on.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeptEvidence {
    /// What it is to the decision.
    pub(crate) what: What,
    /// Of an attestation its predicate type, of a key its file in the policy, of a root of trust its name.
    pub(crate) name: Option<String>,
    /// Its digest.
    pub(crate) digest: Digest,
    /// Whether the ledger still has it.
    pub(crate) state: State,
}

/// Whether a piece is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// As it was.
    Kept,
    /// No longer there.
    Gone,
    /// Something else is there.
    Changed,
}

impl Report for EvidenceFolder {
    fn text(&self) -> String {
        let (count, folder) = (self.files.len(), clean(&self.folder));
        let mut text = format!("wrote {count} files to {folder}: what record {} relied on\n\n", self.record);
        for EvidenceFile { file, name, size: bytes, .. } in &self.files {
            let name = name.as_deref().map(|name| format!("  {}", clean(name))).unwrap_or_default();
            let _ = writeln!(text, "  {}  {DIM}{}{name}{DIM:#}", clean(file), size(*bytes));
        }
        text
    }
}

/// Under the line of a decision: how much of it is kept, which attestations, and what is not.
pub(crate) fn list(text: &mut String, evidence: &[KeptEvidence]) {
    if evidence.is_empty() {
        return;
    }
    let kept = evidence.iter().filter(|piece| piece.state == State::Kept).count();
    let _ = writeln!(text, "        {DIM}relied on {} pieces, {kept} of them kept{DIM:#}", evidence.len());
    for KeptEvidence { what, name, digest, state } in evidence {
        let name = name.as_deref().map(clean).unwrap_or_default();
        match (state, what) {
            (State::Gone, _) => {
                let _ = writeln!(text, "        {BAD}gone{BAD:#}     {digest} {name}");
            }
            (State::Changed, _) => {
                let _ = writeln!(text, "        {BAD}changed{BAD:#}  {digest} {name}");
            }
            (State::Kept, What::Attestation) => {
                let _ = writeln!(text, "        {DIM}kept     {digest} {name}{DIM:#}");
            }
            (
                State::Kept,
                What::Record
                | What::Root
                | What::Platform
                | What::Layer
                | What::Policy
                | What::Key
                | What::TrustedRoot,
            ) => {}
        }
    }
}
