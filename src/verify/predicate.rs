//! What predicates other than provenance say: tests, bills of materials, findings, VEX, verdicts of others.
//!
//! Guarantees: a value here comes from an [`super::Attestation`] that was verified, and holds only what the predicate's
//! own specification defines; what is required there and absent, of another type or outside a closed set is an error with
//! the member, what was found and what was expected. Members nobody asks for are ignored, as in-toto's parsing rules
//! want (in-toto/attestation, `spec/v1/README.md`, "Parsing rules").
//! Never does: judge. What a predicate has to say to count is the policy's word and the gate's work.
//!
//! Start at [`TestResult`], [`Sbom`], [`Vulns`], [`Vex`], [`Vsa`] or [`Svr`].

use jiff::Timestamp;

mod read;
mod sbom;
mod svr;
mod test_result;
mod vex;
mod vsa;
mod vulns;

pub use sbom::{Format, Sbom};
pub use svr::Svr;
pub use test_result::{Configuration, TestOutcome, TestResult};
pub use vex::{Vex, VexStatement, VexStatus};
pub use vsa::{Level, Vsa};
pub use vulns::{Finding, Severity, Vulns};

/// The prefix of a CycloneDX predicate type; a version may follow (in-toto/attestation, `cyclonedx.md`).
pub const CYCLONEDX: &str = "https://cyclonedx.org/bom";
/// The prefix of an SPDX predicate type; a version may follow (in-toto/attestation, `spdx2.md`, `spdx3.md`).
pub const SPDX: &str = "https://spdx.dev/Document";
/// A test run (in-toto/attestation, `test-result.md`, v0.1).
pub const TEST_RESULT: &str = "https://in-toto.io/attestation/test-result/v0.1";
/// A vulnerability scan (in-toto/attestation, `vulns.md`, v0.1).
pub const VULNS_V0_1: &str = "https://in-toto.io/attestation/vulns/v0.1";
/// A vulnerability scan (in-toto/attestation, `vulns_02.md`, v0.2).
pub const VULNS_V0_2: &str = "https://in-toto.io/attestation/vulns/v0.2";
/// OpenVEX (openvex/spec, `ATTESTING.md`); a version may follow.
pub const OPENVEX: &str = "https://openvex.dev/ns";
/// A SLSA verification summary (SLSA v1.1, `verification_summary.md`).
pub const VSA: &str = "https://slsa.dev/verification_summary/v1";
/// A simple verification result (in-toto/attestation, `svr.md`, v0.1).
pub const SVR: &str = "https://in-toto.io/attestation/svr/v0.1";

/// Whether a predicate type is `base`, or `base` with a version behind it: `/v1.4`.
pub fn is_version_of(predicate_type: &str, base: &str) -> bool {
    let Some(rest) = predicate_type.strip_prefix(base) else { return false };
    let version = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_digit() || c == '.')
    };
    rest.is_empty() || rest.strip_prefix("/v").is_some_and(version)
}

/// Why a verified attestation does not say what its predicate type promises. Members are JSON pointers into the
/// predicate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PredicateError {
    /// Another kind of statement.
    #[error("predicate type `{found}`: expected {expected}")]
    PredicateType {
        /// The predicate type, shortened.
        found: String,
        /// The kinds that are read here.
        expected: &'static str,
    },
    /// A member that must be there is not.
    #[error("`{member}` is missing")]
    Missing {
        /// The member.
        member: String,
    },
    /// A member of another type, or an empty text.
    #[error("`{member}`: expected {expected}, found {found}")]
    WrongType {
        /// The member.
        member: String,
        /// What belongs there.
        expected: &'static str,
        /// The JSON type found.
        found: &'static str,
    },
    /// A text outside what may stand there.
    #[error("`{member}` is `{found}`: expected {expected}")]
    Word {
        /// The member.
        member: String,
        /// The text, shortened.
        found: String,
        /// What may stand there.
        expected: String,
    },
    /// A text that is no time.
    #[error("`{member}` is `{found}`: expected a time (RFC 3339)")]
    Time {
        /// The member.
        member: String,
        /// The text, shortened.
        found: String,
    },
    /// Two members that must not stand together, or that say two things.
    #[error("`{one}` and `{other}` contradict each other")]
    Contradiction {
        /// The first member.
        one: String,
        /// The second member.
        other: String,
    },
}

impl PredicateError {
    /// A stable code for machines, kebab-case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::PredicateType { .. } => "predicate-type",
            Self::Missing { .. } => "predicate-missing-member",
            Self::WrongType { .. } => "predicate-wrong-type",
            Self::Word { .. } => "predicate-word",
            Self::Time { .. } => "predicate-time",
            Self::Contradiction { .. } => "predicate-contradiction",
        }
    }
}

/// The earlier of two times, where there are two.
fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests;
