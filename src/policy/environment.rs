//! Environments: what comes before, who promotes, who deploys, what is required.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::attestation::AttestationRule;
use super::field::Field;
use super::names::{EnvironmentName, ServiceName, SignerName};
use super::template::Template;
use crate::reference::{Repository, Tag};
use crate::verify::provenance::level::Level;

/// `[environments.NAME]`.
#[derive(Clone, Debug)]
pub struct Environment {
    pub(super) name: EnvironmentName,
    pub(super) entry: bool,
    pub(super) after: Vec<After>,
    pub(super) repository: Template,
    pub(super) repositories: BTreeMap<ServiceName, Repository>,
    pub(super) tag: Option<Tag>,
    pub(super) promoters: Vec<SignerName>,
    pub(super) deployers: Vec<SignerName>,
    pub(super) require: Require,
    pub(super) control_max_staleness: Option<Duration>,
    pub(super) permit_for: Duration,
    pub(super) same_identity_accepted: Option<String>,
}

impl Environment {
    /// Its name.
    pub fn name(&self) -> &EnvironmentName {
        &self.name
    }

    /// Whether images enter here straight from the build; then [`Environment::after`] is empty, else it is not.
    pub fn entry(&self) -> bool {
        self.entry
    }

    /// Where exactly the same bytes must have run before: all of these.
    pub fn after(&self) -> &[After] {
        &self.after
    }

    /// Every environment that [`Environment::after`] names, once, sorted.
    pub fn predecessors(&self) -> BTreeSet<&EnvironmentName> {
        self.after.iter().flat_map(|after| &after.any_of).map(|before| &before.environment).collect()
    }

    /// Where the environment pulls a service from; `None` for a service of another policy.
    pub fn repository(&self, service: &ServiceName) -> Option<&Repository> {
        self.repositories.get(service)
    }

    /// The repository as written.
    pub fn repository_template(&self) -> &Template {
        &self.repository
    }

    /// The tag that is moved to the promoted digest.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// Who may promote to here; at least one.
    pub fn promoters(&self) -> &[SignerName] {
        &self.promoters
    }

    /// Who may say that an image runs here; at least one.
    pub fn deployers(&self) -> &[SignerName] {
        &self.deployers
    }

    /// What is required beside [`Environment::after`].
    pub fn require(&self) -> &Require {
        &self.require
    }

    /// How long ago witnesses may have seen the newest state of the control lane.
    pub fn control_max_staleness(&self) -> Option<Duration> {
        self.control_max_staleness
    }

    /// How long a permit to deploy here is good; from a minute to a day.
    pub fn permit_for(&self) -> Duration {
        self.permit_for
    }

    /// Why a promoter of this environment may be a deployer of one before; belongs into every decision.
    pub fn same_identity_accepted(&self) -> Option<&str> {
        self.same_identity_accepted.as_deref()
    }
}

/// Any of several environments before; most often one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    pub(super) any_of: Vec<Predecessor>,
}

impl After {
    /// One of these is enough; at least one.
    pub fn any_of(&self) -> &[Predecessor] {
        &self.any_of
    }
}

/// An environment in which exactly the same bytes must have run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predecessor {
    pub(super) environment: EnvironmentName,
    pub(super) for_at_least: Duration,
    pub(super) evidence: EvidenceClass,
}

impl Predecessor {
    /// The environment.
    pub fn environment(&self) -> &EnvironmentName {
        &self.environment
    }

    /// For how long; zero when any time is enough. At most 3650 days.
    pub fn for_at_least(&self) -> Duration {
        self.for_at_least
    }

    /// Whose word is enough.
    pub fn evidence(&self) -> EvidenceClass {
        self.evidence
    }
}

/// How it is known that an image ran. The order is the order of strength.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceClass {
    /// The deploy job says so.
    Asserted,
    /// A collector saw it.
    Observed,
}

impl std::fmt::Display for EvidenceClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Asserted => "asserted",
            Self::Observed => "observed",
        })
    }
}

/// What an environment requires beside `after`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Require {
    pub(super) signed_by: Vec<SignerName>,
    pub(super) provenance: Option<ProvenanceRule>,
    pub(super) attestations: Vec<AttestationRule>,
    pub(super) approvals: Option<ApprovalRule>,
}

impl Require {
    /// Who must have signed the image: all of these. Empty when nobody has to.
    pub fn signed_by(&self) -> &[SignerName] {
        &self.signed_by
    }

    /// Whoever has to have attested something.
    pub fn attesters(&self) -> impl Iterator<Item = &SignerName> {
        let others = self.attestations.iter().flat_map(AttestationRule::attesters);
        self.signed_by.iter().chain(self.provenance.iter().map(ProvenanceRule::signer)).chain(others)
    }

    /// The provenance that must be there.
    pub fn provenance(&self) -> Option<&ProvenanceRule> {
        self.provenance.as_ref()
    }

    /// What else must be attested: all of these.
    pub fn attestations(&self) -> &[AttestationRule] {
        &self.attestations
    }

    /// The approvals that must be there.
    pub fn approvals(&self) -> Option<&ApprovalRule> {
        self.approvals.as_ref()
    }
}

/// SLSA provenance that must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenanceRule {
    pub(super) signer: SignerName,
    pub(super) builder: Template,
    pub(super) source: Template,
    pub(super) reference: RefRule,
    pub(super) commit: Option<String>,
    pub(super) workflow: Option<Template>,
    pub(super) build_type: Option<String>,
    pub(super) parameters: Vec<Field>,
    pub(super) level: Option<Level>,
    pub(super) warn_until: Option<Date>,
}

impl ProvenanceRule {
    /// Who signs it.
    pub fn signer(&self) -> &SignerName {
        &self.signer
    }

    /// The builder's id; [`Template::fill`] gives the text to compare with.
    pub fn builder(&self) -> &Template {
        &self.builder
    }

    /// The source repository; [`Template::fill`] gives the text to compare with.
    pub fn source(&self) -> &Template {
        &self.source
    }

    /// The git refs that are good.
    pub fn reference(&self) -> &RefRule {
        &self.reference
    }

    /// The only commit that is good, in full.
    pub fn commit(&self) -> Option<&str> {
        self.commit.as_deref()
    }

    /// The build's instructions; [`Template::fill`] gives the text to compare with.
    pub fn workflow(&self) -> Option<&Template> {
        self.workflow.as_ref()
    }

    /// The build type, exactly.
    pub fn build_type(&self) -> Option<&str> {
        self.build_type.as_deref()
    }

    /// What the builder must have been asked for, each once, in the order of the file: in `externalParameters` (SLSA
    /// v1) or `invocation.parameters` (v0.2).
    pub fn parameters(&self) -> &[Field] {
        &self.parameters
    }

    /// The SLSA Build level that builder and signer must justify.
    pub fn level(&self) -> Option<Level> {
        self.level
    }

    /// Until this day (UTC, the day itself included) a failure is a warning.
    pub fn warn_until(&self) -> Option<Date> {
        self.warn_until
    }
}

/// The git refs that an image may be built from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefRule {
    /// Every branch and tag: the policy says `any`.
    Any,
    /// One of these, exactly; at least one.
    Exactly(Vec<String>),
}

/// Approvals that must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRule {
    pub(super) count: u32,
    pub(super) from: Vec<SignerName>,
    pub(super) not_from: BTreeSet<Excluded>,
    pub(super) warn_until: Option<Date>,
}

impl ApprovalRule {
    /// How many different identities must approve; at least one, and `from` has that many.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Who may approve; at least one.
    pub fn from(&self) -> &[SignerName] {
        &self.from
    }

    /// Whose approval does not count. Both when the policy does not say.
    pub fn not_from(&self) -> &BTreeSet<Excluded> {
        &self.not_from
    }

    /// Until this day (UTC, the day itself included) a failure is a warning.
    pub fn warn_until(&self) -> Option<Date> {
        self.warn_until
    }
}

/// Somebody whose own approval does not count (E5).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Excluded {
    /// Whoever asks for the promotion.
    Requester,
    /// Whoever signed the provenance, or the image.
    Builder,
}

impl std::fmt::Display for Excluded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Requester => "requester",
            Self::Builder => "builder",
        })
    }
}
