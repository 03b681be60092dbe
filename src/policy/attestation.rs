//! Attestations that must be there, kind by kind, and what they must say.
//!
//! A rule is met by evidence that is there, never by evidence that is not: an attestation that says otherwise (a
//! failed test, a worse scan) does not take an earlier one away, because then deleting it would turn a no into a yes.
//! What bounds how long a good one counts is `max-age` and `after-deployment`; what takes it back is a record in the
//! ledger.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::civil::Date;

use super::cel::Expression;
use super::field::Field;
use super::names::{EnvironmentName, SignerName};
use super::template::Template;
use crate::digest::shorten;
use crate::verify::predicate::is_version_of;
use crate::verify::predicate::{
    CYCLONEDX, Level, SPDX, SVR, Severity, TEST_RESULT, VSA, VULNS_V0_1, VULNS_V0_2,
};

/// The kinds that have a word.
pub(super) const WORDS: [&str; 6] = ["test-result", "spdx", "cyclonedx", "vulns", "vsa", "svr"];

/// An attestation that must be there.
#[derive(Clone, Debug, PartialEq)]
pub struct AttestationRule {
    pub(super) signer: SignerName,
    pub(super) kind: AttestationKind,
    pub(super) fields: Vec<Field>,
    pub(super) cel: Option<Expression>,
    pub(super) max_age: Option<Duration>,
    pub(super) warn_until: Option<Date>,
}

impl AttestationRule {
    /// Who signs it.
    pub fn signer(&self) -> &SignerName {
        &self.signer
    }

    /// Everybody whose word the rule takes: who signs it, and who says what does not matter.
    pub fn attesters(&self) -> impl Iterator<Item = &SignerName> {
        let vex = match &self.kind {
            AttestationKind::Vulns(rule) => rule.vex(),
            AttestationKind::TestResult(_)
            | AttestationKind::Spdx
            | AttestationKind::CycloneDx
            | AttestationKind::Vsa(_)
            | AttestationKind::Svr(_)
            | AttestationKind::Other { .. } => None,
        };
        std::iter::once(&self.signer).chain(vex)
    }

    /// What it is, and what it says.
    pub fn kind(&self) -> &AttestationKind {
        &self.kind
    }

    /// Members of the predicate that must be there and equal: all of them.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// What else must be true of it.
    pub fn cel(&self) -> Option<&Expression> {
        self.cel.as_ref()
    }

    /// How old it may be.
    pub fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    /// Until this day (UTC, the day itself included) a failure is a warning.
    pub fn warn_until(&self) -> Option<Date> {
        self.warn_until
    }
}

/// The kinds of attestations that have rules of their own, and any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttestationKind {
    /// Tests that passed.
    TestResult(TestRule),
    /// An SPDX document.
    Spdx,
    /// A CycloneDX document.
    CycloneDx,
    /// A vulnerability scan.
    Vulns(VulnsRule),
    /// A verdict of another verifier, as SLSA writes it.
    Vsa(VsaRule),
    /// A verdict of another verifier, in short.
    Svr(SvrRule),
    /// Anything else, by its full predicate type.
    Other {
        /// The predicate type, compared exactly.
        predicate_type: String,
    },
}

impl AttestationKind {
    /// Whether an attestation of this predicate type is of this kind.
    pub fn is(&self, predicate_type: &str) -> bool {
        match self {
            Self::TestResult(_) => predicate_type == TEST_RESULT,
            Self::Spdx => is_version_of(predicate_type, SPDX),
            Self::CycloneDx => is_version_of(predicate_type, CYCLONEDX),
            Self::Vulns(_) => [VULNS_V0_1, VULNS_V0_2].contains(&predicate_type),
            Self::Vsa(_) => predicate_type == VSA,
            Self::Svr(_) => predicate_type == SVR,
            Self::Other { predicate_type: wanted } => predicate_type == wanted,
        }
    }

    /// A predicate type of this kind, for a command that makes one.
    pub fn predicate_type(&self) -> &str {
        match self {
            Self::TestResult(_) => TEST_RESULT,
            Self::Spdx => SPDX,
            Self::CycloneDx => CYCLONEDX,
            Self::Vulns(_) => VULNS_V0_2,
            Self::Vsa(_) => VSA,
            Self::Svr(_) => SVR,
            Self::Other { predicate_type } => predicate_type,
        }
    }
}

impl fmt::Display for AttestationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TestResult(_) => f.write_str("test-result"),
            Self::Spdx => f.write_str("spdx"),
            Self::CycloneDx => f.write_str("cyclonedx"),
            Self::Vulns(_) => f.write_str("vulns"),
            Self::Vsa(_) => f.write_str("vsa"),
            Self::Svr(_) => f.write_str("svr"),
            Self::Other { predicate_type } => f.write_str(&shorten(predicate_type)),
        }
    }
}

/// Tests: the result is `PASSED` and no test is listed as failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRule {
    pub(super) after_deployment: Option<EnvironmentName>,
    pub(super) configuration: Vec<String>,
    pub(super) tests: Vec<String>,
}

impl TestRule {
    /// The environment in which the image must have been deployed before the tests were attested (C11); one of those
    /// that [`super::Environment::after`] names.
    pub fn after_deployment(&self) -> Option<&EnvironmentName> {
        self.after_deployment.as_ref()
    }

    /// Names that must be among those of `configuration`: all of them.
    pub fn configuration(&self) -> &[String] {
        &self.configuration
    }

    /// Names that must be in `passedTests`: all of them.
    pub fn tests(&self) -> &[String] {
        &self.tests
    }
}

/// A scan: not more findings of a severity, or of a worse one, than so many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VulnsRule {
    pub(super) at_most: BTreeMap<Severity, u64>,
    pub(super) unknown: Option<u64>,
    pub(super) vex: Option<SignerName>,
    pub(super) vex_max_age: Option<Duration>,
}

impl VulnsRule {
    /// The limits: each for findings of its severity and of every worse one. One at least, here or in
    /// [`VulnsRule::unknown`].
    pub fn at_most(&self) -> &BTreeMap<Severity, u64> {
        &self.at_most
    }

    /// How many findings may be of a severity that cannot be read; `None`: they count as critical.
    pub fn unknown(&self) -> Option<u64> {
        self.unknown
    }

    /// Whose OpenVEX counts; nobody's when absent (B15).
    pub fn vex(&self) -> Option<&SignerName> {
        self.vex.as_ref()
    }

    /// How old the OpenVEX may be.
    pub fn vex_max_age(&self) -> Option<Duration> {
        self.vex_max_age
    }
}

/// A verdict as SLSA writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VsaRule {
    pub(super) verifier: String,
    pub(super) resource_uri: Template,
    pub(super) levels: Vec<Level>,
    pub(super) policy: Option<String>,
}

impl VsaRule {
    /// `verifier.id`, exactly. Never our own: a verdict of this gate is no evidence (B3).
    pub fn verifier(&self) -> &str {
        &self.verifier
    }

    /// `resourceUri`; [`Template::fill`] gives the text to compare with.
    pub fn resource_uri(&self) -> &Template {
        &self.resource_uri
    }

    /// Levels that must be verified, each by itself or by a higher one of its track.
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// `policy.uri`, exactly.
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }
}

/// A verdict in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SvrRule {
    pub(super) verifier: String,
    pub(super) properties: Vec<String>,
}

impl SvrRule {
    /// `verifier.id`, exactly. Never our own.
    pub fn verifier(&self) -> &str {
        &self.verifier
    }

    /// Properties that must be verified: all of them, at least one.
    pub fn properties(&self) -> &[String] {
        &self.properties
    }
}
