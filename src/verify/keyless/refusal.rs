//! From the Sigstore crates' errors to our closed reasons.
//!
//! Their enums are open (`non_exhaustive`): what is new becomes [`Reason::Sigstore`], a refusal like any other.

use sigstore_verify::{CertificateError, Error, TimestampError, TransparencyLogError};

use super::Reason;
use super::certificate::Leaf;
use crate::digest::shorten;

pub(super) fn types(error: sigstore_types::Error) -> Reason {
    Reason::BundleMalformed { detail: shorten(&error.to_string()) }
}

/// Why a bundle with this certificate was refused.
pub(super) fn of_certificate(error: Error, leaf: &Leaf) -> Reason {
    match error {
        // The chain's verifier looks at the leaf's life first, and says so in words only.
        Error::Certificate(CertificateError::ChainInvalid(detail)) if detail.contains("CertExpired") => {
            Reason::CertificateExpired { not_after: leaf.not_after }
        }
        Error::Certificate(CertificateError::ChainInvalid(detail)) if detail.contains("CertNotValidYet") => {
            Reason::CertificateNotYetValid { not_before: leaf.not_before }
        }
        error => reason(error),
    }
}

pub(super) fn reason(error: Error) -> Reason {
    match error {
        Error::SignatureInvalid(detail) => Reason::SignatureInvalid { detail: shorten(&detail) },
        Error::ArtifactMismatch(detail) => Reason::ArtifactMismatch { detail: shorten(&detail) },
        Error::UnsupportedArtifact(detail) => Reason::BytesNeeded { detail: shorten(&detail) },
        Error::Certificate(error) => certificate(error),
        Error::TransparencyLog(error) => log(error),
        Error::Timestamp(error) => timestamp(error),
        Error::InvalidBundle(detail) | Error::UnsupportedBundle(detail) => {
            Reason::BundleMalformed { detail: shorten(&detail) }
        }
        Error::Bundle(error) => structure(error),
        Error::Types(error) => types(error),
        other => Reason::Sigstore { detail: shorten(&other.to_string()) },
    }
}

fn structure(error: sigstore_bundle::Error) -> Reason {
    use sigstore_bundle::Error as Structure;
    match error {
        Structure::MissingInclusionPromise(_) => Reason::LogPromiseMissing,
        Structure::MissingInclusionProof(_) => Reason::LogProofMissing,
        Structure::MissingCheckpoint => Reason::CheckpointMissing,
        Structure::MissingSigningTimeEvidence | Structure::MissingTimestamp => Reason::TimeMissing,
        Structure::CheckpointRootMismatch => {
            Reason::LogDisagrees { member: "rootHash", with: "its checkpoint" }
        }
        Structure::LogIndexOutOfRange { .. } => {
            Reason::LogDisagrees { member: "inclusionProof/logIndex", with: "its checkpoint" }
        }
        other => Reason::BundleMalformed { detail: shorten(&other.to_string()) },
    }
}

fn certificate(error: CertificateError) -> Reason {
    match error {
        CertificateError::Malformed(detail) => Reason::CertificateMalformed { detail: shorten(&detail) },
        CertificateError::ChainInvalid(detail) => Reason::CertificateChain { detail: shorten(&detail) },
        CertificateError::NoValidAuthority { time } => Reason::CertificateAuthorityTime { time },
        CertificateError::NotYetValid { not_before, .. } => Reason::CertificateNotYetValid { not_before },
        CertificateError::Expired { not_after, .. } => Reason::CertificateExpired { not_after },
        CertificateError::Sct(detail) => Reason::CertificateTimestamp { detail: shorten(&detail) },
        other => Reason::Sigstore { detail: shorten(&other.to_string()) },
    }
}

fn log(error: TransparencyLogError) -> Reason {
    match error {
        TransparencyLogError::UnknownLog { log_id } => Reason::UnknownLog { found: shorten(&log_id) },
        TransparencyLogError::InclusionProof(detail) => Reason::LogProof { detail: shorten(&detail) },
        TransparencyLogError::Checkpoint(detail) => Reason::Checkpoint { detail: shorten(&detail) },
        TransparencyLogError::InclusionPromise(detail) => Reason::LogPromise { detail: shorten(&detail) },
        TransparencyLogError::EntryMismatch(detail) => Reason::LogEntryMismatch { detail: shorten(&detail) },
        TransparencyLogError::IntegratedTime(detail) => Reason::LogTime { detail: shorten(&detail) },
        TransparencyLogError::MalformedEntry(detail) => {
            Reason::LogEntryMalformed { detail: shorten(&detail) }
        }
        other => Reason::Sigstore { detail: shorten(&other.to_string()) },
    }
}

fn timestamp(error: TimestampError) -> Reason {
    match error {
        TimestampError::Invalid(detail) => Reason::Timestamp { detail: shorten(&detail) },
        TimestampError::OutsideAuthorityValidity { time } => Reason::TimestampAuthorityTime { time },
        TimestampError::NoVerifiedTimestamp(_) => Reason::TimeMissing,
        other => Reason::Sigstore { detail: shorten(&other.to_string()) },
    }
}
