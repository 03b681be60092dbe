//! What a gate asks, and why it says no: stable words, for people and machines. `docs/reasons/` has a page for each code.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

/// Why a requirement is not met. The text form is stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The image lies in a repository that is not the service's.
    ForeignRepository,
    /// A platform the policy requires is not in the image.
    PlatformMissing,
    /// The tag does not mean the digest that was expected.
    TagMoved,
    /// The requester may not promote into this environment.
    NotAPromoter,
    /// No signature by the signer the policy names.
    NotSignedBy,
    /// No SLSA provenance by the signer the policy names.
    NoProvenance,
    /// There is provenance, and it says something else.
    ProvenanceMismatch,
    /// No attestation of the type by the signer the policy names.
    NoAttestation,
    /// There is one, and it does not say what the policy wants.
    AttestationMismatch,
    /// There is one that says it, and it is too old, or not known to be young enough.
    AttestationStale,
    /// No valid record that the image ran there.
    NeverDeployed,
    /// It was deployed there and the deployment failed.
    DeploymentFailed,
    /// Some platforms ran there, others did not.
    PlatformUnproven,
    /// It ran there, not long enough without a break.
    SoakTooShort,
    /// It is said to run there, and nobody observed it.
    NotObserved,
    /// Too few approvals.
    ApprovalMissing,
    /// The image, or who asks, was revoked.
    Revoked,
    /// The environment is frozen.
    Frozen,
    /// What is known of the control lane is older than the environment allows.
    ControlStale,
    /// Nobody vouches for how old it is.
    ControlUnwitnessed,
    /// What was revoked or frozen is not known, or not understood.
    ControlUnknown,
    /// A record of the past cannot be judged here, and may be a no.
    RecordUnknown,
    /// No permit was shown: whatever should have asked the gate did not, or it said no.
    PermitMissing,
    /// What was shown cannot be read.
    PermitMalformed,
    /// It is signed, and something else than a permit.
    PermitType,
    /// It is not signed by a promoter of the environment.
    PermitSigner,
    /// It is for other bytes.
    PermitDigest,
    /// It is for another environment.
    PermitEnvironment,
    /// It is for another service.
    PermitService,
    /// It is for another repository than the environment pulls from, or the image is named in another.
    PermitRepository,
    /// It was given under another policy file, or other keys.
    PermitPolicy,
    /// It rests on a record of another log, or its checkpoint is not by this one's key.
    PermitLedger,
    /// It carries no record.
    PermitUnrecorded,
    /// The witnesses that the lock names did not cosign its checkpoint.
    PermitUnwitnessed,
    /// It is not shown that the log has its record.
    PermitUnproved,
    /// Its record is not the commit of a promotion, or cannot be read.
    PermitRecord,
    /// Its record is not signed by a promoter of the environment.
    PermitRecordSigner,
    /// Its record says something else than it does.
    PermitContradiction,
    /// It is good for longer than the policy allows.
    PermitTooLong,
    /// It was given in the future.
    PermitNotYet,
    /// Its time is over.
    PermitExpired,
    /// Something else was promoted there before it could be given.
    PermitSuperseded,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ForeignRepository => "foreign-repository",
            Self::PlatformMissing => "platform-missing",
            Self::TagMoved => "tag-moved",
            Self::NotAPromoter => "not-a-promoter",
            Self::NotSignedBy => "not-signed-by",
            Self::NoProvenance => "no-provenance",
            Self::ProvenanceMismatch => "provenance-mismatch",
            Self::NoAttestation => "no-attestation",
            Self::AttestationMismatch => "attestation-mismatch",
            Self::AttestationStale => "attestation-stale",
            Self::NeverDeployed => "never-deployed",
            Self::DeploymentFailed => "deployment-failed",
            Self::PlatformUnproven => "platform-unproven",
            Self::SoakTooShort => "soak-too-short",
            Self::NotObserved => "not-observed",
            Self::ApprovalMissing => "approval-missing",
            Self::Revoked => "revoked",
            Self::Frozen => "frozen",
            Self::ControlStale => "control-stale",
            Self::ControlUnwitnessed => "control-unwitnessed",
            Self::ControlUnknown => "control-unknown",
            Self::RecordUnknown => "record-unknown",
            Self::PermitMissing => "permit-missing",
            Self::PermitMalformed => "permit-malformed",
            Self::PermitType => "permit-type",
            Self::PermitSigner => "permit-signer",
            Self::PermitDigest => "permit-digest",
            Self::PermitEnvironment => "permit-environment",
            Self::PermitService => "permit-service",
            Self::PermitRepository => "permit-repository",
            Self::PermitPolicy => "permit-policy",
            Self::PermitLedger => "permit-ledger",
            Self::PermitUnrecorded => "permit-unrecorded",
            Self::PermitUnwitnessed => "permit-unwitnessed",
            Self::PermitUnproved => "permit-unproved",
            Self::PermitRecord => "permit-record",
            Self::PermitRecordSigner => "permit-record-signer",
            Self::PermitContradiction => "permit-contradiction",
            Self::PermitTooLong => "permit-too-long",
            Self::PermitNotYet => "permit-not-yet",
            Self::PermitExpired => "permit-expired",
            Self::PermitSuperseded => "permit-superseded",
        })
    }
}

/// What the policy wants, in the order it is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Requirement {
    /// The image lies in one of the service's own repositories.
    Repository,
    /// The required platforms are in it.
    Platforms,
    /// The tag means what was expected.
    Tag,
    /// The requester is a promoter of the environment.
    Promoter,
    /// Nothing of the image was revoked.
    NotRevoked,
    /// What is known of the control lane is fresh.
    ControlFresh,
    /// The environment is not frozen.
    NotFrozen,
    /// A signature.
    SignedBy,
    /// SLSA provenance.
    Provenance,
    /// Another attestation; which, says the finding.
    Attestation,
    /// Every record of the past is judged.
    PastKnown,
    /// It ran in the environment before.
    Deployed,
    /// People or jobs approved.
    Approvals,
    /// A deploy job shows that the gate said yes; which of what that takes, says the finding.
    Permit,
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Repository => "repository",
            Self::Platforms => "platforms",
            Self::Tag => "tag",
            Self::Promoter => "promoter",
            Self::NotRevoked => "not-revoked",
            Self::ControlFresh => "control-fresh",
            Self::NotFrozen => "not-frozen",
            Self::SignedBy => "signed-by",
            Self::Provenance => "provenance",
            Self::Attestation => "attestation",
            Self::PastKnown => "past-known",
            Self::Deployed => "deployed",
            Self::Approvals => "approvals",
            Self::Permit => "permit",
        })
    }
}
