//! The JSON that verbs print: stable, versioned by `schema`, the same content on yes and no.
//!
//! `schema/*.schema.json` is generated from these types; the test below keeps it current.

mod copy;
mod file;
mod doctor;
mod lock;
mod witness;
pub(crate) mod freeze;
mod export;
mod replay;
pub(crate) mod reconcile;
mod permit;
mod roots;

use jiff::Timestamp;
use samebits::closure::Platform;
use samebits::digest::Digest;
use samebits::gate::{Carried, Code, Finding, Outcome, Requirement, Verdict};
use samebits::policy::{EnvironmentName, ServiceName, SignerName};
use samebits::record::{
    EffectiveFrom, Kind, PolicyVersion, Position, Resource, RevocationEffect, Revoked, Scope, Sha256,
    TreeHead,
};
use samebits::reference::{Image, Repository, Tag};
use samebits::registry::CopyReport;
use samebits::verify::Identity;
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) use self::copy::{Arrived, Copied};
pub(crate) use self::doctor::Diagnosis;
pub(crate) use self::export::{ExportAudit, Exported, KeyOf, Proof, Unchecked};
pub(crate) use self::file::FileVerification;
pub(crate) use self::freeze::{Freezing, FreezingEffect, FrozenHere, UnderWay};
pub(crate) use self::lock::{LockReport, LockStands, LockWas};
pub(crate) use self::permit::{PermitVerdict, PermitWritten};
pub(crate) use self::reconcile::{LeftHere, Outcome as LeftOutcome, Reconciling, What as LeftWhat};
pub(crate) use self::replay::{AtHand, Decided, History, Now, Replay};
pub(crate) use self::roots::{RootInUse, RootStands, RootsTable};
pub(crate) use self::witness::{CosignReport, Cosigned, Freshness, WitnessKey};
use crate::kept::KeptEvidence;

/// The answer of `check` and `promote`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Decision {
    /// `https://samebits.dev/schema/decision.schema.json`
    pub(crate) schema: &'static str,
    /// Yes or no.
    pub(crate) decision: YesOrNo,
    /// The image that was asked about, pinned.
    pub(crate) image: Image,
    /// The pinned reference to deploy; only on yes, and only from `promote`.
    pub(crate) promoted: Option<Image>,
    /// The service.
    pub(crate) service: ServiceName,
    /// The environment to enter.
    pub(crate) to: EnvironmentName,
    /// The environment whose repository the image lies in; none for the build's own.
    pub(crate) from: Option<EnvironmentName>,
    /// The platform manifests of the image.
    pub(crate) platforms: Vec<PlatformManifest>,
    /// Who asked, if known.
    pub(crate) requester: Option<Identity>,
    /// The codes of the requirements that refuse.
    pub(crate) codes: Vec<Code>,
    /// Every requirement, in the order it was looked at.
    pub(crate) requirements: Vec<RequirementStands>,
    /// What a reader has to know beside it.
    pub(crate) notes: Vec<String>,
    /// The rules.
    pub(crate) policy: PolicyVersion,
    /// The roots of trust that certificates were judged under.
    pub(crate) roots: Vec<RootInUse>,
    /// The log that was looked at.
    pub(crate) ledger: TreeHead,
    /// Its control lane, read whole.
    pub(crate) control: Option<TreeHead>,
    /// What witnesses say of how fresh that is.
    pub(crate) freshness: Freshness,
    /// When.
    pub(crate) decided_on: Timestamp,
    /// Where it was recorded.
    pub(crate) record: Option<Position>,
    /// Where that can be read, by the policy's `record-url`.
    pub(crate) record_url: Option<String>,
    /// What was copied.
    pub(crate) copy: Option<Copy>,
    /// The tag that was typed, where it means something else by now.
    pub(crate) tag_moved: Option<TagMoved>,
    /// The permit to deploy it, where `promote` was asked for one and it is given.
    pub(crate) permit: Option<PermitWritten>,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum YesOrNo {
    /// It may enter.
    Approved,
    /// It may not.
    Denied,
}

/// A platform manifest.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PlatformManifest {
    /// `os/architecture[/variant]`.
    pub(crate) platform: Platform,
    /// Its digest.
    pub(crate) digest: Digest,
}

/// One requirement and how it stands.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RequirementStands {
    /// The requirement.
    pub(crate) requirement: Requirement,
    /// How it stands.
    pub(crate) status: Status,
    /// The reason code, where it is not met.
    pub(crate) code: Option<Code>,
    /// The last day on which it only warns.
    pub(crate) warn_until: Option<String>,
    /// What was wanted.
    pub(crate) expected: String,
    /// What there is.
    pub(crate) found: String,
    /// What came closest, and why it does not count.
    pub(crate) nearest: Vec<String>,
    /// What would help.
    pub(crate) fix: Vec<String>,
    /// What it relies on, where it is met.
    pub(crate) evidence: Vec<ReliedOn>,
}

/// Something that a requirement relies on.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReliedOn {
    /// Where or what it is.
    pub(crate) uri: String,
    /// Its digest.
    pub(crate) digest: Sha256,
    /// The manifest of the image that carries it; none for what is in the ledger.
    pub(crate) on: Option<Digest>,
    /// How it was found there: `referrer`, `signature-tag`, `attestation-tag`, `store`, `file`, or `given` for what lies
    /// in a repository that `--evidence` named.
    pub(crate) source: Option<String>,
}

/// How a requirement stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    /// Met.
    Met,
    /// Not met: the answer is no.
    Unmet,
    /// Not met; the policy only warns for now.
    Warned,
}

/// What a copy did.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Copy {
    /// Manifests of the image that are there now.
    pub(crate) manifests: usize,
    /// Those of them that were there before. Their blobs were asked for in a promotion and with `--check-blobs` only.
    pub(crate) manifests_present: usize,
    /// Blobs whose bytes were sent.
    pub(crate) blobs_copied: usize,
    /// Blobs mounted inside one registry.
    pub(crate) blobs_mounted: usize,
    /// Blobs that were asked for and there already.
    pub(crate) blobs_present: usize,
    /// Blob bytes sent.
    pub(crate) bytes_copied: u64,
    /// Referrers that are there now (signatures, attestations).
    pub(crate) referrers: usize,
    /// What is listed as a referrer, or lies under a tag of cosign's, and is no manifest: it was left behind.
    pub(crate) referrers_malformed: Vec<Digest>,
    /// Referrers that the destination refused, and that are in the evidence store.
    pub(crate) referrers_stored: Vec<Digest>,
}

/// A tag that moved while we worked.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TagMoved {
    /// The tag.
    pub(crate) tag: Tag,
    /// What it means now.
    pub(crate) now: Digest,
}

impl Decision {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/decision.schema.json";

    pub(crate) fn new(verdict: &Verdict, decision: YesOrNo) -> Self {
        Self {
            schema: Self::SCHEMA,
            decision,
            image: verdict.image.clone(),
            promoted: None,
            service: verdict.service.clone(),
            to: verdict.environment.clone(),
            from: verdict.from.clone(),
            platforms: verdict
                .platforms
                .iter()
                .map(|(digest, platform)| PlatformManifest { platform: platform.clone(), digest: *digest })
                .collect(),
            requester: verdict.requester.clone(),
            codes: verdict.codes(),
            requirements: verdict.findings.iter().map(RequirementStands::from).collect(),
            notes: verdict.notes.clone(),
            policy: verdict.policy.clone(),
            roots: Vec::new(),
            ledger: verdict.ledger,
            control: verdict.control,
            freshness: Freshness::from(&verdict.freshness),
            decided_on: verdict.decided_on,
            record: None,
            record_url: None,
            copy: None,
            tag_moved: None,
            permit: None,
        }
    }
}

impl From<&Finding> for RequirementStands {
    fn from(finding: &Finding) -> Self {
        let (status, warn_until, evidence) = match &finding.outcome {
            Outcome::Met(evidence) => (Status::Met, None, relied_on(finding, evidence)),
            Outcome::Unmet(_) => (Status::Unmet, None, Vec::new()),
            Outcome::Warned(_, until) => (Status::Warned, Some(until.to_string()), Vec::new()),
        };
        Self {
            requirement: finding.requirement.clone(),
            status,
            code: finding.code(),
            warn_until,
            expected: finding.expected.clone(),
            found: finding.found.clone(),
            nearest: finding.nearest.clone(),
            fix: finding.fix.clone(),
            evidence,
        }
    }
}

fn relied_on(finding: &Finding, evidence: &[Resource]) -> Vec<ReliedOn> {
    let relied = |resource: &Resource, carried: Option<&Carried>| ReliedOn {
        uri: resource.uri.clone(),
        digest: resource.digest,
        on: carried.map(|carried| carried.on),
        source: carried.map(|carried| carried.source.to_string()),
    };
    match finding.carried.is_empty() {
        true => evidence.iter().map(|resource| relied(resource, None)).collect(),
        false => finding.carried.iter().map(|carried| relied(&carried.resource, Some(carried))).collect(),
    }
}

impl From<&CopyReport> for Copy {
    fn from(report: &CopyReport) -> Self {
        Self {
            manifests: report.manifests,
            manifests_present: report.manifests_present,
            blobs_copied: report.blobs_copied,
            blobs_mounted: report.blobs_mounted,
            blobs_present: report.blobs_present,
            bytes_copied: report.bytes_copied,
            referrers: report.referrers,
            referrers_malformed: report.referrers_malformed.clone(),
            referrers_stored: report.stored.iter().flat_map(|stored| &stored.referrers).copied().collect(),
        }
    }
}

/// The answer of `deployed`, `removed` and `approve`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Recorded {
    /// `https://samebits.dev/schema/recorded.schema.json`
    pub(crate) schema: &'static str,
    /// What kind of record.
    pub(crate) kind: Kind,
    /// Status or verdict, in one word.
    pub(crate) outcome: String,
    /// What it is about.
    pub(crate) image: Image,
    /// The service.
    pub(crate) service: ServiceName,
    /// The environment.
    pub(crate) environment: EnvironmentName,
    /// Who signed.
    pub(crate) signer: Identity,
    /// Where it lies in the log.
    pub(crate) record: Position,
    /// Where that can be read, by the policy's `record-url`.
    pub(crate) record_url: Option<String>,
    /// The digest of the record; a test result made after a deployment names it in `configuration`.
    pub(crate) digest: Digest,
    /// What a reader has to know beside it.
    pub(crate) notes: Vec<String>,
}

impl Recorded {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/recorded.schema.json";
}

/// One record of the log.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogEntry {
    /// Its index.
    pub(crate) index: u64,
    /// The digest of its bytes.
    pub(crate) digest: Digest,
    /// Its kind; none where it is not a valid record.
    pub(crate) kind: Option<Kind>,
    /// Status, phase or verdict, in one word.
    pub(crate) outcome: Option<String>,
    /// The service.
    pub(crate) service: Option<ServiceName>,
    /// The environment.
    pub(crate) environment: Option<EnvironmentName>,
    /// What it is about.
    pub(crate) image: Option<Image>,
    /// Who signed.
    pub(crate) signer: Option<Identity>,
    /// What the policy calls them.
    pub(crate) names: Vec<SignerName>,
    /// The time the author claims.
    pub(crate) claimed_time: Option<Timestamp>,
    /// The reason codes of a refusal.
    pub(crate) codes: Vec<String>,
    /// Why it is not a valid record.
    pub(crate) invalid: Option<String>,
    /// Of a promotion what it relied on, in `show`.
    pub(crate) evidence: Vec<KeptEvidence>,
}

/// The answer of `revoke`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Revoking {
    /// `https://samebits.dev/schema/revocation.schema.json`
    pub(crate) schema: &'static str,
    /// Whether it revokes or lifts.
    pub(crate) effect: RevocationEffect,
    /// What is revoked, or was.
    pub(crate) target: Revoked,
    /// Where.
    pub(crate) scope: Scope,
    /// Why.
    pub(crate) reason: String,
    /// For a signer: since when; none is from the beginning.
    pub(crate) effective_from: Option<EffectiveFrom>,
    /// The revocation that is lifted.
    pub(crate) lifts: Option<Position>,
    /// Who signed.
    pub(crate) signer: Identity,
    /// Where it lies in the control lane.
    pub(crate) record: Position,
    /// The environments it closes.
    pub(crate) closes: Vec<EnvironmentName>,
    /// Where something it revokes is promoted, or is said to run.
    pub(crate) live: Vec<StatusCell>,
    /// What a reader has to know beside it.
    pub(crate) notes: Vec<String>,
}

impl Revoking {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/revocation.schema.json";
}

/// The answer of `log` and `show`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogPage {
    /// `https://samebits.dev/schema/log.schema.json`
    pub(crate) schema: &'static str,
    /// The log's name.
    pub(crate) origin: String,
    /// The log that was read.
    pub(crate) ledger: TreeHead,
    /// The digest that was asked for.
    pub(crate) digest: Option<Digest>,
    /// The records; newest first in `log`, oldest first in `show`.
    pub(crate) records: Vec<LogEntry>,
    /// In `show`: the revocations in force that name the digest, an image it is in, or a manifest of its own.
    pub(crate) revocations: Vec<InForce>,
    /// In `show`: where it is promoted or said to run, though it is revoked.
    pub(crate) live: Vec<StatusCell>,
}

impl LogPage {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/log.schema.json";
}

/// The answer of `status`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatusTable {
    /// `https://samebits.dev/schema/status.schema.json`
    pub(crate) schema: &'static str,
    /// The log's name.
    pub(crate) origin: String,
    /// The log that was read.
    pub(crate) ledger: TreeHead,
    /// One row a service and environment, in the policy's order.
    pub(crate) cells: Vec<StatusCell>,
    /// The head of the control lane.
    pub(crate) control: TreeHead,
    /// The revocations in force, for one of the services at least, oldest first.
    pub(crate) revocations: Vec<InForce>,
    /// The freezes that were not thawed and are not over, oldest first.
    pub(crate) freezes: Vec<FrozenHere>,
    /// The first command, where nothing is recorded yet.
    pub(crate) next: Option<String>,
}

impl StatusTable {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/status.schema.json";
}

/// One service in one environment.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatusCell {
    /// The service.
    pub(crate) service: ServiceName,
    /// The environment.
    pub(crate) environment: EnvironmentName,
    /// Its repository there.
    pub(crate) repository: Option<Repository>,
    /// What is promoted.
    pub(crate) promoted: Option<Digest>,
    /// The index of the commit.
    pub(crate) promoted_by: Option<u64>,
    /// What runs, by the newest deployment record.
    pub(crate) running: Option<Digest>,
    /// The index of that record.
    pub(crate) running_by: Option<u64>,
    /// An intent that is open.
    pub(crate) open_intent: Option<u64>,
    /// `same`, `differs`, `not-deployed`, `never-promoted` or `empty`.
    pub(crate) agreement: Agreement,
    /// What of it is revoked: the image, a manifest of it, or the word of who promoted or deployed it.
    pub(crate) revoked: Vec<RevokedHere>,
}

/// A revocation in force.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InForce {
    /// Its index in the control lane.
    pub(crate) index: u64,
    /// What is revoked.
    pub(crate) target: Revoked,
    /// Where.
    pub(crate) scope: Scope,
    /// Why.
    pub(crate) reason: String,
    /// For a signer: since when; none is from the beginning.
    pub(crate) effective_from: Option<EffectiveFrom>,
    /// Who signed.
    pub(crate) signer: Identity,
    /// The time the author claims.
    pub(crate) decided_on: Timestamp,
}

/// Something that was let in, or is said to run, and is revoked.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RevokedHere {
    /// The name of the deployment where it runs; none for what is promoted.
    pub(crate) deployment: Option<String>,
    /// The image.
    pub(crate) image: Digest,
    /// The record that says so.
    pub(crate) record: u64,
    /// The revocation, by its index in the control lane.
    pub(crate) revoked_by: u64,
    /// Why.
    pub(crate) reason: String,
}

/// Whether what runs is what was promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Agreement {
    /// What runs is what was promoted.
    Same,
    /// Something else runs.
    Differs,
    /// Promoted, and nothing is known to run.
    NotDeployed,
    /// It runs, and was never promoted.
    NeverPromoted,
    /// Nothing is known.
    Empty,
}

/// The answer of `ledger verify`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LedgerAudit {
    /// `https://samebits.dev/schema/ledger-audit.schema.json`
    pub(crate) schema: &'static str,
    /// Whether everything is right.
    pub(crate) intact: bool,
    /// The log's name.
    pub(crate) origin: String,
    /// The signed checkpoint.
    pub(crate) ledger: Option<TreeHead>,
    /// The signed checkpoint of the control lane.
    pub(crate) control: Option<TreeHead>,
    /// How many records of the main lane were recomputed.
    pub(crate) records: u64,
    /// The least that the lock beside the policy asks for, where there is one.
    pub(crate) lock: Option<LockStands>,
    /// Whether what was seen now is remembered for this user.
    pub(crate) pinned: bool,
    /// What is not right: what was seen before and is not so, then the first record first.
    pub(crate) findings: Vec<String>,
    /// What a reader has to know beside it.
    pub(crate) notes: Vec<String>,
}

impl LedgerAudit {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/ledger-audit.schema.json";
}

/// The answer of `init`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Initialised {
    /// `https://samebits.dev/schema/initialised.schema.json`
    pub(crate) schema: &'static str,
    /// What was written, in order.
    pub(crate) files: Vec<String>,
    /// The log's name.
    pub(crate) origin: String,
}

impl Initialised {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/initialised.schema.json";
}

/// What is printed when there is no answer (exit 2 and 3).
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Trouble {
    /// `https://samebits.dev/schema/trouble.schema.json`
    pub(crate) schema: &'static str,
    /// `usage` (exit 2) or `undecided` (exit 3).
    pub(crate) kind: TroubleKind,
    /// The error and its causes, outermost first.
    pub(crate) causes: Vec<String>,
    /// What to do.
    pub(crate) hint: Option<String>,
    /// The byte of the policy file that is wrong.
    #[serde(skip)]
    pub(crate) at: Option<usize>,
}

impl Trouble {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/trouble.schema.json";
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TroubleKind {
    /// The command line or the policy is wrong.
    Usage,
    /// Could not decide; safe to run again.
    Undecided,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::CopyReport;
    use crate::kept::EvidenceFolder;
    use crate::verification::Verification;
    use schemars::schema_for;

    /// Rewritten with `SAMEBITS_BLESS=1 cargo test`.
    #[test]
    fn the_schemas_are_current() {
        let schemas = [
            (Decision::SCHEMA, schema_for!(Decision)),
            (Recorded::SCHEMA, schema_for!(Recorded)),
            (Revoking::SCHEMA, schema_for!(Revoking)),
            (Freezing::SCHEMA, schema_for!(Freezing)),
            (Reconciling::SCHEMA, schema_for!(Reconciling)),
            (Verification::SCHEMA, schema_for!(Verification)),
            (PermitVerdict::SCHEMA, schema_for!(PermitVerdict)),
            (LogPage::SCHEMA, schema_for!(LogPage)),
            (StatusTable::SCHEMA, schema_for!(StatusTable)),
            (Exported::SCHEMA, schema_for!(Exported)),
            (Proof::SCHEMA, schema_for!(Proof)),
            (ExportAudit::SCHEMA, schema_for!(ExportAudit)),
            (Replay::SCHEMA, schema_for!(Replay)),
            (History::SCHEMA, schema_for!(History)),
            (Diagnosis::SCHEMA, schema_for!(Diagnosis)),
            (RootsTable::SCHEMA, schema_for!(RootsTable)),
            (LedgerAudit::SCHEMA, schema_for!(LedgerAudit)),
            (LockReport::SCHEMA, schema_for!(LockReport)),
            (Copied::SCHEMA, schema_for!(Copied)),
            (CopyReport::SCHEMA, schema_for!(CopyReport)),
            (CosignReport::SCHEMA, schema_for!(CosignReport)),
            (WitnessKey::SCHEMA, schema_for!(WitnessKey)),
            (EvidenceFolder::SCHEMA, schema_for!(EvidenceFolder)),
            (FileVerification::SCHEMA, schema_for!(FileVerification)),
            (Initialised::SCHEMA, schema_for!(Initialised)),
            (Trouble::SCHEMA, schema_for!(Trouble)),
        ];
        for (id, mut schema) in schemas {
            schema.insert("$id".to_owned(), id.into());
            let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
            let name = id.rsplit('/').next().unwrap();
            let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(name);
            #[allow(clippy::disallowed_methods, reason = "a test may be told to rewrite its golden files")]
            if std::env::var_os("SAMEBITS_BLESS").is_some() {
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(&file, &text).unwrap();
            }
            let kept = std::fs::read_to_string(&file).unwrap_or_default();
            assert_eq!(kept, text, "{} is stale: SAMEBITS_BLESS=1 cargo test", file.display());
        }
    }
}
