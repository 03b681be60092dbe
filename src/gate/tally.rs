//! What counts for a requirement about attestations, and what came close.
//!
//! An attestation counts for the manifests it names as subjects. It covers the image if it names the root, or if
//! together with others of its kind it names every platform manifest of it (`ATTACKS.md` A4).

use std::collections::BTreeSet;

use super::{Carried, Code, Finding, Requirement, control, describe, is_own};
use crate::digest::Digest;
use crate::evidence::{Evidence, Found, Target};
use crate::policy::{Mismatch, SignerName};
use crate::reference::{Reference, Repository};
use crate::verify::{Attestation, Author, Identity, Verified};

/// How many near misses are told.
const NEAREST: usize = 10;
/// How many manifests are named that carry what was wanted.
const LEVELS: usize = 8;

/// An attestation about this image, by the right signer, for this service.
pub(super) struct Weighed<'a> {
    pub(super) attestation: &'a Verified<Attestation>,
    /// The subjects that count: manifests of the image.
    pub(super) subjects: &'a [Digest],
    /// Whether anybody reads why it does not count.
    pub(super) explain: bool,
}

/// What was weighed, what counted, and what came close.
#[derive(Default)]
pub(super) struct Tally {
    covered: BTreeSet<Digest>,
    carried: Vec<Carried>,
    nearest: Vec<String>,
    /// One that came far enough and says otherwise: the one that gives the code.
    pub(super) against: Option<Carried>,
}

impl Tally {
    /// Returns the digests for which it counts; none if it does not, or if nothing more was needed. `content` returns
    /// what else it took for it to count.
    pub(super) fn weigh(
        &mut self,
        target: &Target<'_>,
        evidence: &Evidence,
        found: &Found,
        signer: &SignerName,
        what: &str,
        content: impl FnOnce(&Weighed<'_>) -> Result<Vec<Carried>, Vec<String>>,
    ) -> Vec<Digest> {
        // One that covers the root is enough; what else there is changes nothing.
        if self.covered.contains(&target.closure().root()) {
            return Vec::new();
        }
        let attestation = &found.attestation;
        let subjects = match subjects(target, evidence, found, signer) {
            Ok(subjects) => subjects,
            Err(why) => {
                self.near(|| why.words(target, found, signer, what));
                return Vec::new();
            }
        };
        // 5. Saying what the policy wants?
        let explain = self.nearest.len() < NEAREST;
        let beside = match content(&Weighed { attestation, subjects: &subjects, explain }) {
            Ok(beside) => beside,
            Err(wrong) => {
                self.against.get_or_insert_with(|| carried(found, &subjects));
                for line in wrong {
                    self.near(|| format!("{what} by `{signer}`: {line}"));
                }
                return Vec::new();
            }
        };
        self.covered.extend(&subjects);
        self.carried.push(carried(found, &subjects));
        for more in beside {
            self.carry(more);
        }
        subjects
    }

    /// Each once, about all that it was needed for.
    fn carry(&mut self, more: Carried) {
        let same = |known: &&mut Carried| {
            (&known.resource, &known.layer, known.on, known.source, &known.signer)
                == (&more.resource, &more.layer, more.on, more.source, &more.signer)
        };
        match self.carried.iter_mut().find(same) {
            Some(known) => known.about.extend(more.about),
            None => self.carried.push(more),
        }
    }

    /// A hundred attestations that do not count are explained by the first few.
    fn near(&mut self, line: impl FnOnce() -> String) {
        if self.nearest.len() < NEAREST {
            self.nearest.push(line());
        }
    }

    pub(super) fn discarded(&mut self, evidence: &Evidence) {
        for discarded in evidence.discarded.iter().take(5) {
            self.nearest.push(format!(
                "a {} on {} does not count: {}",
                discarded.source,
                discarded.on,
                discarded.rejected.reason.whole()
            ));
        }
    }

    pub(super) fn finding(
        self,
        target: &Target<'_>,
        requirement: Requirement,
        code: Code,
        expected: String,
        nothing: &str,
    ) -> Finding {
        // Without the root every platform manifest has to be named, listed by the policy or not: an index that
        // nobody signed may list anything beside what somebody did sign.
        let platforms: Vec<_> = target.closure().platforms().collect();
        let bare: Vec<String> = platforms
            .iter()
            .filter(|(digest, _)| !self.covered.contains(digest))
            .map(|(digest, platform)| format!("{platform} ({digest})"))
            .collect();
        let root = target.closure().root();
        if self.covered.contains(&root) {
            // What was weighed before says something of single platforms, and is not needed.
            let carried: Vec<Carried> =
                self.carried.into_iter().filter(|carried| carried.about.contains(&root)).collect();
            return met(target, requirement, expected, carried);
        }
        if !platforms.is_empty() && bare.is_empty() {
            return met(target, requirement, expected, self.carried);
        }
        let found = match self.covered.is_empty() {
            true => nothing.to_owned(),
            false => format!("not for {}", bare.join(", ")),
        };
        Finding::unmet(requirement, code, expected, found).near(self.nearest).against(self.against)
    }
}

/// Evidence that counts for these manifests.
pub(super) fn carried(found: &Found, about: &[Digest]) -> Carried {
    let attestation = &found.attestation;
    Carried {
        resource: found.resource(),
        layer: found.layer(),
        on: found.on,
        source: found.source,
        about: about.to_vec(),
        signer: attestation.identity().clone(),
    }
}

/// Why an attestation says nothing here.
pub(super) enum Elsewhere {
    /// It is about another image.
    Image,
    /// It is by somebody else.
    Signer,
    /// Who made it was revoked.
    Revoked(String),
    /// It is for another service, or for nobody knows which.
    Service(String),
}

impl Elsewhere {
    pub(super) fn words(
        &self,
        target: &Target<'_>,
        found: &Found,
        signer: &SignerName,
        what: &str,
    ) -> String {
        match self {
            Self::Image => {
                let other = found.attestation.subjects().first();
                let other = other.map_or_else(String::new, |subject| subject.digest.to_string());
                format!("a {what} found on {} is about another image: {other}", found.on)
            }
            Self::Signer => nearly(target, signer, found.attestation.author(), what),
            Self::Revoked(why) => format!("a {what} by `{signer}` does not count: {why}"),
            Self::Service(why) => format!("a {what} by `{signer}` {why}"),
        }
    }
}

/// The manifests of the image that an attestation speaks about, if `signer` made it, for this service.
pub(super) fn subjects(
    target: &Target<'_>,
    evidence: &Evidence,
    found: &Found,
    signer: &SignerName,
) -> Result<Vec<Digest>, Elsewhere> {
    let attestation = &found.attestation;
    // 1. About this image at all? (in-toto v1: subjects are matched by digest)
    if !attestation.subjects().iter().any(|subject| target.closure().contains(subject.digest)) {
        return Err(Elsewhere::Image);
    }
    // 2. By the identity the policy names?
    let names = target.policy().who(attestation.author(), target.service().name());
    if !names.contains(&signer) {
        return Err(Elsewhere::Signer);
    }
    // 3. Still good?
    if let Some(why) = control::of_author(target, evidence, attestation.author()) {
        return Err(Elsewhere::Revoked(why));
    }
    // 4. For this service?
    bound_to_service(target, attestation, signer).map_err(Elsewhere::Service)
}

/// By whom it is instead, and what keeps them from being the signer where they nearly are.
fn nearly(target: &Target<'_>, signer: &SignerName, author: &Author, what: &str) -> String {
    let wrong = target.policy().why_not(signer, author, target.service().name());
    if wrong.is_empty() {
        return format!("there is a {what} by {}", describe(target, author));
    }
    let whose = match (wrong.first(), author.identity()) {
        (Some(Mismatch::Subject { .. } | Mismatch::Issuer { .. }), _) => {
            format!("an identity much like that of `{signer}`")
        }
        (_, Identity::Key { .. }) => format!("the key of `{signer}`"),
        (_, Identity::Keyless { .. }) => format!("the identity of `{signer}`"),
    };
    let wrong: Vec<String> = wrong.iter().map(Mismatch::to_string).collect();
    format!("there is a {what} by {whose} ({}), but {}", author.identity(), wrong.join("; "))
}

/// Which level of the image carries what, in words: `on the index sha256:… (referrer)`, `on linux/amd64 (sha256:…;
/// referrer) and linux/arm64 (…)`. Where something lies on one manifest and is about another, that is said too.
fn met(target: &Target<'_>, requirement: Requirement, expected: String, carried: Vec<Carried>) -> Finding {
    let mut levels: Vec<String> = Vec::new();
    for Carried { on, source, about, .. } in &carried {
        let level = match about.contains(on) {
            true => level(target, *on, &source.to_string()),
            false => {
                let about: Vec<String> = about.iter().map(|digest| name(target, *digest)).collect();
                level(target, *on, &format!("{source}, about {}", about.join(" and ")))
            }
        };
        if !levels.contains(&level) {
            levels.push(level);
        }
    }
    let found = match levels.len() > LEVELS {
        true => format!("on {} and {} more", levels[..LEVELS].join(", "), levels.len() - LEVELS),
        false => format!("on {}", levels.join(" and ")),
    };
    let evidence = carried.iter().flat_map(|it| [Some(&it.resource), it.layer.as_ref()]).flatten();
    let evidence = evidence.cloned().collect();
    Finding::met(requirement, expected, found, evidence).carried(carried)
}

/// One manifest of the image, and how evidence was found on it.
fn level(target: &Target<'_>, on: Digest, how: &str) -> String {
    let closure = target.closure();
    match closure.platforms().find(|(digest, _)| *digest == on) {
        _ if on == closure.root() && closure.is_index() => format!("the index {on} ({how})"),
        Some((_, platform)) => format!("{platform} ({on}; {how})"),
        None => format!("{on} ({how})"),
    }
}

/// One manifest of the image, shortly.
fn name(target: &Target<'_>, digest: Digest) -> String {
    let closure = target.closure();
    match closure.platforms().find(|(platform, _)| *platform == digest) {
        _ if digest == closure.root() && closure.is_index() => "the index".to_owned(),
        Some((_, platform)) => platform.to_string(),
        None => digest.to_string(),
    }
}

/// Evidence of one service never counts for another: a subject that names a repository counts if that is one of the
/// service's own; one that names none counts where another does, or where something else ties the signer to the
/// service. Returns the subjects that count.
fn bound_to_service(
    target: &Target<'_>,
    attestation: &Attestation,
    signer: &SignerName,
) -> Result<Vec<Digest>, String> {
    let (mut named, mut nameless, mut foreign) = (Vec::new(), Vec::new(), None);
    for subject in attestation.subjects().iter().filter(|subject| target.closure().contains(subject.digest)) {
        match subject.name.as_deref().and_then(repository_named) {
            Some(name) if is_own(target, &name) => named.push(subject.digest),
            Some(name) => foreign = Some(name),
            None => nameless.push(subject.digest),
        }
    }
    let tied = || {
        let policy = target.policy();
        policy.services().count() == 1
            || policy.signer(signer).is_some_and(|signer| signer.names_service())
            // Provenance that has to be there, and from a source that is this service's alone.
            || target.environment().require().provenance().is_some_and(|rule| {
                rule.source().names_service() && rule.warn_until().is_none()
            })
    };
    match (named.is_empty(), foreign) {
        (true, Some(foreign)) => Err(format!("names {foreign}, which is not a repository of the service")),
        _ if !named.is_empty() || tied() => {
            named.extend(nameless);
            Ok(named)
        }
        _ => Err("names no repository, and nothing else ties it to the service: require provenance with \
                  {service} in its source too, or put {service} into the signer's identity"
            .to_owned()),
    }
}

/// A subject name that is a repository or a reference; purls, file names and the like are not. Docker Hub has two
/// names for itself (cosign writes the longer one).
fn repository_named(name: &str) -> Option<Repository> {
    let name = match name.strip_prefix("index.docker.io/") {
        Some(path) => format!("docker.io/{path}"),
        None => name.to_owned(),
    };
    // No text is both.
    let repository = name.parse::<Repository>().ok();
    repository.or_else(|| Some(name.parse::<Reference>().ok()?.repository().clone()))
}
