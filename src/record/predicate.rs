//! The predicates of `DESIGN.md` section 5, field by field.
//!
//! Guarantees: unknown fields are refused, an absent optional field is not written, every name is the one of the
//! published schema. Never does: judge whether fields fit together; that is done where a record is read.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::closure::Platform;
use crate::digest::Digest;
use crate::policy::{EnvironmentName, EvidenceClass, ServiceName};
use crate::reference::{Repository, Tag};
use crate::verify::provenance::level::Level;
use crate::verify::{Identity, Root, RootName};

/// A size and root of a log, as an author saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TreeHead {
    /// Number of entries.
    pub size: u64,
    /// RFC 6962 root hash.
    pub root: Digest,
}

impl TreeHead {
    /// The head of a log without entries (RFC 6962 section 2.1: the hash of the empty string).
    pub fn empty() -> Self {
        Self { size: 0, root: Digest::of(b"") }
    }
}

/// A place in the log and the leaf hash that lies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Position {
    /// Zero-based index.
    pub index: u64,
    /// RFC 6962 leaf hash.
    pub leaf_hash: Digest,
}

/// Who acts, as the record says; [`Record::read`](super::Record::read) refuses a record whose signature says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// The OIDC issuer, or `public-key`.
    pub issuer: String,
    /// The OIDC subject, or the digest of the public key.
    pub subject: String,
    /// The root of trust of the OIDC identity; a key has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<RootName>,
}

impl From<&Identity> for Actor {
    fn from(identity: &Identity) -> Self {
        match identity {
            Identity::Key { id } => {
                Self { issuer: "public-key".to_owned(), subject: id.to_string(), root: None }
            }
            Identity::Keyless { issuer, subject, root } => {
                Self { issuer: issuer.clone(), subject: subject.clone(), root: Some(root.clone()) }
            }
        }
    }
}

/// What the author had seen of the ledger, and the record's place in the chain of its target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LedgerView {
    /// The origin of the log the record is for; a record copied from another log is void.
    pub origin: String,
    /// The main lane as the author had verified it.
    pub observed: TreeHead,
    /// The control lane as the author had verified it.
    pub control: TreeHead,
    /// The same request has the same key, whatever the attempt.
    pub idempotency_key: Digest,
    /// The previous record about the same service and environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<Position>,
}

/// Digest and location of something a record refers to (in-toto v1 ResourceDescriptor, `uri` and `digest`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// Where or what it is.
    pub uri: String,
    /// Its digests; ours have exactly `sha256`.
    pub digest: Sha256,
}

/// An in-toto v1 DigestSet with exactly one member, `sha256`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sha256(pub Digest);

impl JsonSchema for Sha256 {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Sha256".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "An in-toto v1 DigestSet with exactly one member.",
            "type": "object",
            "properties": { "sha256": { "type": "string", "pattern": "^[0-9a-f]{64}$" } },
            "required": ["sha256"],
            "additionalProperties": false
        })
    }
}

impl Serialize for Sha256 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        BTreeMap::from([("sha256", self.0.hex())]).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let set = BTreeMap::<String, String>::deserialize(deserializer)?;
        match set.iter().next() {
            Some((name, hex)) if name == "sha256" && set.len() == 1 => {
                Digest::from_hex(hex).map(Self).map_err(D::Error::custom)
            }
            _ => Err(D::Error::custom("expected a digest set with exactly `sha256`")),
        }
    }
}

impl Resource {
    /// A resource from its two parts.
    pub fn new(uri: impl Into<String>, digest: Digest) -> Self {
        Self { uri: uri.into(), digest: Sha256(digest) }
    }
}

/// How a deployment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It runs.
    Succeeded,
    /// It was tried and did not come up.
    Failed,
    /// It ran and runs no longer.
    Removed,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Removed => "removed",
        })
    }
}

/// What the runtime itself reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Runtime {
    /// The digest the runtime names: the index or a platform manifest.
    pub observed_digest: Digest,
    /// The platform it ran on; then the record speaks for that platform only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// How many replicas ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
}

/// Predicate `https://samebits.dev/deployment/v0.1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Deployment {
    /// Who says so.
    pub actor: Actor,
    /// The service.
    pub service: ServiceName,
    /// Where it ran.
    pub environment: EnvironmentName,
    /// One of several deployments of the service there (region, cluster); `default` where there is one.
    pub deployment_name: String,
    /// How it ended.
    pub status: Status,
    /// When it began.
    pub started_on: Timestamp,
    /// When it was up (succeeded), given up (failed) or gone (removed).
    pub finished_on: Timestamp,
    /// The deploy job's word or a collector's.
    pub evidence_class: EvidenceClass,
    /// What the runtime reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
    /// Digests of what else has to be equal: config, flags, schema.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parity: BTreeMap<String, Digest>,
    /// A page about this deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_url: Option<String>,
    /// The log as the author saw it.
    pub ledger: LedgerView,
}

/// Where a promotion stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Approved and about to act; the first open intent of a target holds its lock.
    Intent,
    /// Acted; valid only while its intent was the open one.
    Commit,
    /// The intent is closed without effect.
    Abort,
    /// The gate said no.
    Refused,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Intent => "intent",
            Self::Commit => "commit",
            Self::Abort => "abort",
            Self::Refused => "refused",
        })
    }
}

/// Forward or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The next image.
    Promote,
    /// An image that was good there before.
    Rollback,
}

/// One end of a promotion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// The environment; none where the build's own repository is the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// The repository.
    pub uri: Repository,
}

/// What a promotion takes the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Superseded {
    /// The image that was promoted before.
    pub digest: Digest,
    /// The index of its commit.
    pub index: u64,
}

/// The rules a decision was made by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyVersion {
    /// The policy file's name.
    pub uri: String,
    /// The digest of its bytes.
    pub digest: Sha256,
    /// The keys it names: file and key id.
    pub keys: BTreeMap<String, Digest>,
}

/// A root of trust that certificates were judged under. Not a part of [`PolicyVersion`]: it may change without
/// anybody's decision, and an approval must not run out by that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RootVersion {
    /// Its name.
    pub name: RootName,
    /// The digest of its `trusted_root.json`.
    pub digest: Sha256,
}

impl From<&Root> for RootVersion {
    fn from(root: &Root) -> Self {
        Self { name: root.name().clone(), digest: Sha256(root.digest()) }
    }
}

/// What the gate had before it, beside what the record names anyway: with policy, roots and evidence all that it takes
/// to decide again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Basis {
    /// The main lane that was read; the record may have been appended to a longer one.
    pub observed: TreeHead,
    /// The control lane that was read.
    pub control: TreeHead,
    /// The gate's clock.
    pub decided_on: Timestamp,
    /// The tag that the image was named by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<TagMeant>,
    /// What witnesses said of the control lane, where a quorum did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witnessed: Option<WitnessedLane>,
}

/// A quorum of witnesses had seen nothing newer of a lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WitnessedLane {
    /// At this time, by their clocks.
    pub at: Timestamp,
    /// The size of the lane then.
    pub size: u64,
    /// Who, by their names in the witness policy.
    pub witnesses: Vec<String>,
}

/// A tag, what it meant, and what it was expected to mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TagMeant {
    /// The tag.
    pub name: Tag,
    /// What it meant.
    pub found: Digest,
    /// What the person who typed `repository:tag@digest` expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Digest>,
}

/// One line of the reasoning: a requirement and how it stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rationale {
    /// The requirement (kebab-case).
    pub requirement: String,
    /// The reason code where it was not met (kebab-case).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What the policy wanted.
    pub expected: String,
    /// What there was.
    pub found: String,
}

/// Predicate `https://samebits.dev/promotion/v0.1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Promotion {
    /// Who asks.
    pub actor: Actor,
    /// The service.
    pub service: ServiceName,
    /// Where it stands.
    pub phase: Phase,
    /// Forward or back.
    pub kind: Direction,
    /// The intent that a commit or abort closes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<Position>,
    /// Where the bytes come from.
    pub from: Endpoint,
    /// Where they may go.
    pub to: Endpoint,
    /// What was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<Superseded>,
    /// The rules.
    pub policy: PolicyVersion,
    /// The roots of trust, where there were any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roots: Vec<RootVersion>,
    /// Everything the decision relied on.
    pub evidence: Vec<Resource>,
    /// Exceptions used.
    pub exceptions: Vec<Resource>,
    /// The SLSA Build level that the provenance justified; none where none was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Why.
    pub rationale: Vec<Rationale>,
    /// The digest a rollback goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_to: Option<Digest>,
    /// Why an intent was aborted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_reason: Option<String>,
    /// What the gate had before it; none where the record is no decision of the gate (an abort by a rival).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<Basis>,
    /// When.
    pub decided_on: Timestamp,
    /// The log as the author saw it.
    pub ledger: LedgerView,
}

/// What an approver says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Yes.
    Approved,
    /// No.
    Rejected,
    /// An earlier yes no longer holds.
    Withdrawn,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
        })
    }
}

/// What an approval is good for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ApprovedFor {
    /// The environment to enter.
    pub environment: EnvironmentName,
    /// The policy the approver had before them.
    pub policy_digest: Digest,
    /// The keys it named: file and key id. The file alone does not say whose word its names stand for.
    pub keys: BTreeMap<String, Digest>,
}

/// Predicate `https://samebits.dev/approval/v0.1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Approval {
    /// Who approves.
    pub actor: Actor,
    /// The service.
    pub service: ServiceName,
    /// What they say.
    pub decision: Verdict,
    /// What it is good for.
    #[serde(rename = "for")]
    pub approved_for: ApprovedFor,
    /// Random, so that two approvals are never the same bytes.
    pub nonce: Digest,
    /// After this it is void.
    pub valid_until: Timestamp,
    /// When it was given.
    pub decided_on: Timestamp,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The log as the author saw it.
    pub ledger: LedgerView,
}
