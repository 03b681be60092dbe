//! The gate: a pure function from policy and evidence to [`Approved`] or [`Denied`].
//!
//! Guarantees: total (every unmet requirement is reported, not the first), deterministic, and monotone: removing
//! positive evidence, or adding a revocation or a freeze, can only turn a yes into a no. An [`Approved`] cannot be built anywhere
//! else.
//! Never does: I/O, clock, environment; what it knows is in [`Target`] and [`Evidence`].
//!
//! Start at [`decide`]. The rules about signatures and provenance are in `gate::attested`, those about other
//! attestations in `gate::predicates`, those about the past in `gate::history`, those about revocations and freezes in [`control`].
//! What a deploy job asks afterwards, with a permit in its hand, is in [`permit`].

mod approvals;
mod attested;
mod code;
pub mod control;
mod history;
mod kept;
pub mod permit;
mod predicates;
mod tally;
pub mod unjudged;

use jiff::Timestamp;
use jiff::civil::Date;

pub use self::code::{Code, Requirement};
use crate::closure::Platform;
use crate::digest::Digest;
use crate::evidence::{Evidence, Freshness, Kept, Source, TagSeen, Target};
use crate::policy::{Mismatch, Policy, ServiceName, SignerName};
use crate::record::{PolicyVersion, Rationale, Resource, Sha256, Subjects, TreeHead};
use crate::reference::{Image, Repository};
use crate::verify::provenance::level::Level;
use crate::verify::{Author, Identity};

/// How one requirement stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Met, by these.
    Met(Vec<Resource>),
    /// Not met.
    Unmet(Code),
    /// Not met, and the policy only warns until the date.
    Warned(Code, Date),
}

/// One requirement, how it stands, and what would help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What the policy wants.
    pub requirement: Requirement,
    /// How it stands.
    pub outcome: Outcome,
    /// What was wanted, in words.
    pub expected: String,
    /// What there is, in words.
    pub found: String,
    /// What came closest and why it does not count.
    pub nearest: Vec<String>,
    /// What to do; lines that start with `samebits` are commands.
    pub fix: Vec<String>,
    /// The SLSA Build level that the provenance justifies, where that is what was wanted and is met.
    pub level: Option<Level>,
    /// Where the attestations lie that meet it, in the order of the evidence; none for other requirements.
    pub carried: Vec<Carried>,
    /// Where it is not met: what the right signer says otherwise, which gives the code.
    pub against: Vec<Resource>,
}

/// An attestation that a requirement relies on, and the level of the image that carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// What it is.
    pub resource: Resource,
    /// The layer that carried it, where a part of the proof lies there.
    pub layer: Option<Resource>,
    /// The manifest it lies on: the index or a platform's.
    pub on: Digest,
    /// Where it was found.
    pub source: Source,
    /// The manifests of the image it is about.
    pub about: Vec<Digest>,
    /// Who signed it.
    pub signer: Identity,
}

impl Finding {
    fn met(requirement: Requirement, expected: String, found: String, evidence: Vec<Resource>) -> Self {
        let outcome = Outcome::Met(evidence);
        Self {
            requirement,
            outcome,
            expected,
            found,
            nearest: Vec::new(),
            fix: Vec::new(),
            level: None,
            carried: Vec::new(),
            against: Vec::new(),
        }
    }

    fn unmet(requirement: Requirement, code: Code, expected: String, found: String) -> Self {
        let outcome = Outcome::Unmet(code);
        Self {
            requirement,
            outcome,
            expected,
            found,
            nearest: Vec::new(),
            fix: Vec::new(),
            level: None,
            carried: Vec::new(),
            against: Vec::new(),
        }
    }

    fn near(mut self, nearest: Vec<String>) -> Self {
        self.nearest = nearest;
        self
    }

    fn against(mut self, against: Option<Carried>) -> Self {
        self.against = against.into_iter().flat_map(|it| [Some(it.resource), it.layer]).flatten().collect();
        self
    }

    fn carried(mut self, carried: Vec<Carried>) -> Self {
        self.carried = carried;
        self
    }

    /// Of no use where the requirement is met.
    fn fix(mut self, fix: Vec<String>) -> Self {
        match self.outcome {
            Outcome::Met(_) => {}
            Outcome::Unmet(_) | Outcome::Warned(..) => self.fix = fix,
        }
        self
    }

    /// A no becomes a warning while the policy says `warn-until` a day that has not passed (UTC).
    fn warn_until(mut self, until: Option<Date>, now: Timestamp) -> Self {
        if let (Outcome::Unmet(code), Some(until)) = (&self.outcome, until)
            && now.to_zoned(jiff::tz::TimeZone::UTC).date() <= until
        {
            self.outcome = Outcome::Warned(*code, until);
        }
        self
    }

    /// The reason code, where the requirement is not met.
    pub fn code(&self) -> Option<Code> {
        match self.outcome {
            Outcome::Met(_) => None,
            Outcome::Unmet(code) | Outcome::Warned(code, _) => Some(code),
        }
    }

    /// What it relies on: what meets it, or what gives the code.
    fn relied_on(&self) -> &[Resource] {
        match &self.outcome {
            Outcome::Met(evidence) => evidence,
            Outcome::Unmet(_) | Outcome::Warned(..) => &self.against,
        }
    }

    fn refuses(&self) -> bool {
        match self.outcome {
            Outcome::Unmet(_) => true,
            Outcome::Met(_) | Outcome::Warned(..) => false,
        }
    }
}

/// Everything that was asked and answered; the content of yes and no alike.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The image, as named and pinned.
    pub image: Image,
    /// Where the bytes would go.
    pub destination: Image,
    /// The service.
    pub service: crate::policy::ServiceName,
    /// The environment.
    pub environment: crate::policy::EnvironmentName,
    /// The environment whose repository the image lies in; none for the build's own.
    pub from: Option<crate::policy::EnvironmentName>,
    /// The platform manifests of the closure.
    pub platforms: Vec<(Digest, Platform)>,
    /// Who asked, if known.
    pub requester: Option<Identity>,
    /// The tag the image was named by, if it was.
    pub tag: Option<TagSeen>,
    /// Every requirement, in order.
    pub findings: Vec<Finding>,
    /// What a reader of this decision has to know beside it.
    pub notes: Vec<String>,
    /// The rules.
    pub policy: PolicyVersion,
    /// The log that was looked at.
    pub ledger: TreeHead,
    /// The control lane that was looked at; none where it was not, which is never a yes.
    pub control: Option<TreeHead>,
    /// How fresh it is by its witnesses.
    pub freshness: Freshness,
    /// When.
    pub decided_on: Timestamp,
    /// The bytes of everything above that is named by digest and is no record: all that the image's closure was made
    /// from, what the requirements rely on, the policy file and what it names. Of a root of trust the caller has them.
    pub kept: Kept,
}

impl Verdict {
    /// The distinct codes of the requirements that refuse, in order.
    pub fn codes(&self) -> Vec<Code> {
        let mut codes = Vec::new();
        for finding in self.findings.iter().filter(|finding| finding.refuses()) {
            codes.extend(finding.code().filter(|code| !codes.contains(code)));
        }
        codes
    }

    /// What a record of this decision is about: the image where it would lie, and its platform manifests.
    pub fn subjects(&self) -> Subjects {
        let image = self.destination.clone();
        let platforms = self.platforms.iter().filter(|(digest, _)| *digest != image.digest);
        let platforms = platforms.map(|(digest, platform)| (*digest, Some(platform.clone()))).collect();
        Subjects { image, platforms }
    }

    /// The SLSA Build level that the provenance justified on this decision; none where none was asked for or met.
    pub fn level(&self) -> Option<Level> {
        self.findings.iter().filter_map(|finding| finding.level).max()
    }

    /// Everything the requirements rely on, each once, sorted: what meets them, and what was said otherwise by who
    /// ought to meet them.
    pub fn evidence(&self) -> Vec<Resource> {
        let findings = self.findings.iter();
        let mut all: Vec<Resource> = findings.flat_map(Finding::relied_on).cloned().collect();
        all.sort();
        all.dedup();
        all
    }

    /// The findings as a record keeps them.
    pub fn rationale(&self) -> Vec<Rationale> {
        self.findings
            .iter()
            .map(|finding| Rationale {
                requirement: finding.requirement.to_string(),
                code: finding.code().map(|code| code.to_string()),
                expected: finding.expected.clone(),
                found: finding.found.clone(),
            })
            .collect()
    }
}

/// The gate said yes. Only [`decide`] makes one.
#[must_use = "an approval that nothing follows is a decision nobody acted on"]
#[derive(Clone, Debug)]
pub struct Approved(Verdict);

/// The gate said no. Only [`decide`] makes one.
#[must_use = "a refusal has to be recorded and explained"]
#[derive(Clone, Debug)]
pub struct Denied(Verdict);

/// Yes or no; both with everything that led there.
#[must_use = "a decision has to be acted on"]
#[derive(Clone, Debug)]
pub enum Decision {
    /// Yes.
    Approved(Approved),
    /// No.
    Denied(Denied),
}

impl Approved {
    /// What led to the yes.
    pub fn verdict(&self) -> &Verdict {
        &self.0
    }

    /// A no after all, to whoever asks for a permit: what is promoted there by now is something else, or nothing.
    pub fn superseded(self, now: Option<&Image>) -> Denied {
        let mut verdict = self.0;
        let (image, environment) = (&verdict.destination, &verdict.environment);
        let expected = format!("{image} is what is promoted in `{environment}`");
        let found = now.map_or_else(|| "nothing is".to_owned(), |now| format!("{now} is"));
        let fix = vec![
            "look at what was promoted since; if this is still what is to run there:".to_owned(),
            format!("samebits promote {} --to {environment} --permit FILE", verdict.image),
        ];
        let unmet = Finding::unmet(Requirement::Permit, Code::PermitSuperseded, expected, found);
        verdict.findings.push(unmet.fix(fix));
        Denied(verdict)
    }
}

impl Denied {
    /// What led to the no.
    pub fn verdict(&self) -> &Verdict {
        &self.0
    }
}

impl Decision {
    /// What led to it.
    pub fn verdict(&self) -> &Verdict {
        match self {
            Self::Approved(approved) => approved.verdict(),
            Self::Denied(denied) => denied.verdict(),
        }
    }
}

/// May this image enter this environment? Every requirement of the policy is looked at, in order, whatever the
/// others say.
pub fn decide(target: &Target<'_>, evidence: &Evidence) -> Decision {
    let environment = target.environment();
    let require = environment.require();
    let mut findings = vec![
        // 1. Identity of bytes.
        own_repository(target),
        platforms(target),
        // 2. Who asks.
        promoter(target, evidence),
    ];
    findings.extend(tag(target.tag(), &target.image().repository));
    // 3. What is no longer good, and whether anything may enter.
    findings.extend(control::fresh(target, evidence));
    findings.extend(control::not_revoked(target, evidence));
    findings.extend(control::not_frozen(target, evidence));
    // 4. Evidence on the image.
    findings.extend(attested(target, evidence, Past::Read));
    // 5. The past.
    findings.extend(unjudged::known(target, evidence));
    findings.extend(environment.after().iter().map(|after| history::deployed(target, evidence, after)));
    // 6. People.
    if let Some(rule) = require.approvals() {
        findings.push(approvals::approved(target, evidence, rule));
    }

    let refused = findings.iter().any(Finding::refuses);
    let kept = kept::kept(target, evidence, &findings);
    let verdict = Verdict {
        image: target.image().clone(),
        destination: target.destination(),
        service: target.service().name().clone(),
        environment: environment.name().clone(),
        from: origin(target),
        platforms: target
            .closure()
            .platforms()
            .map(|(digest, platform)| (digest, platform.clone()))
            .collect(),
        requester: target.requester().map(|author| author.identity().clone()),
        tag: target.tag().cloned(),
        findings,
        notes: notes(target, evidence),
        policy: PolicyVersion {
            uri: target.policy().file().to_owned(),
            digest: Sha256(target.policy().digest()),
            keys: target.policy().key_digests().clone(),
        },
        ledger: evidence.ledger,
        control: evidence.control.head(),
        freshness: evidence.control.freshness().clone(),
        decided_on: evidence.now,
        kept,
    };
    match refused {
        true => Decision::Denied(Denied(verdict)),
        false => Decision::Approved(Approved(verdict)),
    }
}

/// The requirements that attestations on the image meet or do not meet, for a reader who has no ledger: signatures,
/// provenance, and every other one that the policy names. A rule with `after-deployment` is never met here, and says so.
pub fn attestations(target: &Target<'_>, evidence: &Evidence) -> Vec<Finding> {
    attested(target, evidence, Past::Unread)
}

/// Whether the evidence holds the ledger's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Past {
    Read,
    Unread,
}

fn attested(target: &Target<'_>, evidence: &Evidence, past: Past) -> Vec<Finding> {
    let require = target.environment().require();
    let signed = require.signed_by().iter().map(|signer| attested::signed_by(target, evidence, signer));
    let provenance = require.provenance().map(|rule| attested::provenance(target, evidence, rule));
    let others = require.attestations().iter().map(|rule| predicates::attested(target, evidence, rule, past));
    signed.chain(provenance).chain(others).collect()
}

/// The environment whose repository the image lies in.
fn origin(target: &Target<'_>) -> Option<crate::policy::EnvironmentName> {
    let holds = |environment: &&crate::policy::Environment| {
        environment.repository(target.service().name()) == Some(&target.image().repository)
    };
    target.policy().environments().iter().find(holds).map(|environment| environment.name().clone())
}

/// The service's own repositories: where the build pushes, and its place in every environment.
fn own_repositories(target: &Target<'_>) -> Vec<Repository> {
    let service = target.service();
    let environments = target.policy().environments().iter();
    std::iter::once(service.repository().clone())
        .chain(environments.filter_map(|environment| environment.repository(service.name()).cloned()))
        .collect()
}

fn is_own(target: &Target<'_>, repository: &Repository) -> bool {
    target.policy().service_of(repository).is_some_and(|owner| owner.name() == target.service().name())
}

fn own_repository(target: &Target<'_>) -> Finding {
    let repository = &target.image().repository;
    let expected = format!("an image in a repository of `{}`", target.service().name());
    if is_own(target, repository) {
        return Finding::met(Requirement::Repository, expected, repository.to_string(), Vec::new());
    }
    let found = match target.policy().service_of(repository) {
        Some(owner) => format!("{repository}, which belongs to `{}`", owner.name()),
        None => format!("{repository}, which the policy does not name"),
    };
    let list = own_repositories(target).iter().map(Repository::to_string).collect::<Vec<_>>().join(", ");
    Finding::unmet(Requirement::Repository, Code::ForeignRepository, expected, found)
        .near(vec![format!("`{}` has: {list}", target.service().name())])
}

/// The platform manifests that count: those the policy lists, all of them where it lists none. Where it lists a
/// platform, every variant of it counts too: a `linux/arm/v7` that nobody listed is what a `linux/arm/v6` node with
/// a newer processor would run.
fn counted<'a>(target: &Target<'a>) -> Vec<(Digest, &'a Platform)> {
    let listed = target.service().platforms();
    let alike = |one: &Platform, other: &Platform| {
        (one.os(), one.architecture()) == (other.os(), other.architecture())
    };
    let counts = |found: &Platform| listed.is_empty() || listed.iter().any(|wanted| alike(wanted, found));
    target.closure().platforms().filter(|(_, platform)| counts(platform)).collect()
}

fn platforms(target: &Target<'_>) -> Finding {
    let has: Vec<&Platform> = target.closure().platforms().map(|(_, platform)| platform).collect();
    let missing = target.service().platforms().iter().filter(|wanted| !has.contains(wanted));
    let missing: Vec<String> = missing.map(Platform::to_string).collect();
    let list = |platforms: Vec<String>| match platforms.is_empty() {
        true => "none".to_owned(),
        false => platforms.join(", "),
    };
    let found = list(has.iter().map(ToString::to_string).collect());
    let expected = match target.service().platforms() {
        [] => "at least one platform".to_owned(),
        platforms => list(platforms.iter().map(Platform::to_string).collect()),
    };
    if missing.is_empty() && !has.is_empty() {
        return Finding::met(Requirement::Platforms, expected, found, Vec::new());
    }
    Finding::unmet(Requirement::Platforms, Code::PlatformMissing, expected, found).fix(vec![
        "build the image for every platform the policy lists, or mend `platforms` in the policy".into(),
    ])
}

fn tag(seen: Option<&TagSeen>, repository: &Repository) -> Option<Finding> {
    let seen = seen?;
    let wanted = seen.expected?;
    let expected = format!("tag `{}` means {wanted}", seen.tag);
    Some(match seen.found == wanted {
        true => Finding::met(Requirement::Tag, expected, "it does".to_owned(), Vec::new()),
        false => {
            let found = format!("it means {} now", seen.found);
            Finding::unmet(Requirement::Tag, Code::TagMoved, expected, found)
                .fix(vec![format!("name the bytes you mean: {repository}@{wanted}")])
        }
    })
}

fn promoter(target: &Target<'_>, evidence: &Evidence) -> Finding {
    let environment = target.environment();
    let expected = format!("a promoter of `{}`: {}", environment.name(), either(environment.promoters()));
    let Some(requester) = target.requester() else {
        let found = "no key given; assumed for this check".to_owned();
        return Finding::met(Requirement::Promoter, expected, found, Vec::new());
    };
    if let Some(why) = control::of_requester(target, evidence, requester) {
        let found = format!("{}, {why}", describe(target, requester));
        return Finding::unmet(Requirement::Promoter, Code::Revoked, expected, found)
            .fix(vec![format!("run this {}", sign_as(target, environment.promoters()))]);
    }
    let who = target.policy().who(requester, target.service().name());
    match who.iter().find(|name| environment.promoters().contains(name)) {
        Some(name) => Finding::met(Requirement::Promoter, expected, format!("`{name}`"), Vec::new()),
        None => {
            Finding::unmet(Requirement::Promoter, Code::NotAPromoter, expected, describe(target, requester))
                .fix(vec![format!("run this {}", sign_as(target, environment.promoters()))])
        }
    }
}

fn either(names: &[SignerName]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
}

/// How one of these signers signs.
fn sign_as(target: &Target<'_>, names: &[SignerName]) -> String {
    let who = either(names);
    let signers: Vec<_> = names.iter().filter_map(|name| target.policy().signer(name)).collect();
    let keys = signers.iter().any(|signer| signer.keys().next().is_some());
    let jobs = signers.iter().any(|signer| signer.keys().count() < signer.any_of().len());
    match (keys, jobs) {
        (true, false) => format!("with the key of {who}, --key FILE"),
        (false, true | false) => format!("in the job that is {who}, --keyless"),
        (true, true) => format!("with the key of {who}, --key FILE, or in its job, --keyless"),
    }
}

/// An identity as a reader of the policy knows it.
fn describe(target: &Target<'_>, author: &Author) -> String {
    known_as(target.policy(), target.service().name(), author)
}

fn known_as(policy: &Policy, service: &ServiceName, author: &Author) -> String {
    let identity = author.identity();
    if let Some(name) = policy.who(author, service).first() {
        return format!("`{name}` ({identity})");
    }
    // By the identity alone: what else is asked of them, they do not show.
    match policy.signers().find(|signer| signer.could_be(identity, service)) {
        Some(signer) => {
            let wrong: Vec<String> = policy
                .why_not(signer.name(), author, service)
                .iter()
                .filter(|wrong| !matches!(wrong, Mismatch::Undated { .. }))
                .map(|wrong| format!("; {wrong}"))
                .collect();
            format!("`{}` ({identity}{})", signer.name(), wrong.concat())
        }
        None => format!("{identity}, which the policy does not name"),
    }
}

fn notes(target: &Target<'_>, evidence: &Evidence) -> Vec<String> {
    let environment = target.environment();
    environment
        .same_identity_accepted()
        .map(|reason| {
            format!(
                "`{}` accepts that who deploys before it also promotes into it: {}",
                environment.name(),
                crate::digest::shorten(reason)
            )
        })
        .into_iter()
        .chain(target.policy().control().and_then(|control| control.same_identity_accepted()).map(|reason| {
            format!(
                "who revokes or freezes may act too, and lift what stops him: {}",
                crate::digest::shorten(reason)
            )
        }))
        .chain(control::remarks(target, &evidence.control))
        .chain(evidence.remarks.iter().cloned())
        .collect()
}
