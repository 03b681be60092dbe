//! What was revoked: by whom the policy lets revoke, and not lifted.
//!
//! Negative evidence, and the rule for it is the other way round: adding a revocation can only turn a yes into a no
//! (but for one: that of a record that nobody can judge, [`unjudged`](super::unjudged)).
//! A revocation by anybody else counts for nothing and is told as a remark, or any key could close production. What a
//! revoked signer said still counts where it hurts the requester: that something was removed, failed, was rejected.
//!
//! A lift counts only while its author is not revoked himself: nobody frees himself. Start at [`in_force`]; what is
//! frozen says [`freezes`], and what a revocation takes from promotions in the log, [`Standing`].

mod freeze;
mod fresh;
mod standing;

use std::collections::BTreeSet;

use super::{Code, Finding, Requirement, either};
use crate::closure::Closure;
use crate::digest::{Digest, shorten};
use crate::evidence::{Control, Evidence, Target};
use crate::policy::{EnvironmentName, Policy, ServiceName};
use crate::record::{
    ControlBody, ControlRecord, NotRead, Record, RecordError, Revocation, RevocationEffect, Revoked,
};
use crate::verify::{Author, Identity};

pub(super) use freeze::not_frozen;
pub use freeze::{Frozen, freezes};
pub(super) use fresh::fresh;
pub use standing::{Standing, Taken};

/// How many remarks are told.
const REMARKS: usize = 10;

/// A revocation in force.
#[derive(Clone, Copy, Debug)]
pub struct Holds<'c> {
    /// Where it lies, and who said it.
    pub record: &'c ControlRecord,
    /// What it says.
    pub revocation: &'c Revocation,
}

/// The revocations in force for a service.
#[derive(Clone, Debug, Default)]
pub struct InForce<'c>(Vec<Holds<'c>>);

/// The revocations in `control` that hold for `service`: by revokers, in scope, and not lifted.
///
/// Where who may lift depends on what is lifted, the answer is the one with the most revocations in force.
pub fn in_force<'c>(policy: &Policy, service: &ServiceName, control: &'c Control) -> InForce<'c> {
    InForce(sort(policy, service, control).holds)
}

/// What revokers said of a service, sorted by what it does.
#[derive(Clone, Debug, Default)]
struct Sorted<'c> {
    /// Every revocation.
    all: Vec<Holds<'c>>,
    /// The lifts that count: their authors are not revoked.
    lifts: Vec<Holds<'c>>,
    /// The revocations that none of them lifts.
    holds: Vec<Holds<'c>>,
}

fn sort<'c>(policy: &Policy, service: &ServiceName, control: &'c Control) -> Sorted<'c> {
    let said = control.records().iter().filter_map(|record| {
        let revocation = record.revocation()?;
        let counts = revocation.scope.has_service(service) && policy.may_revoke(record.author(), service);
        counts.then_some(Holds { record, revocation })
    });
    let (all, lifts): (Vec<_>, Vec<_>) =
        said.partition(|it| it.revocation.effect == RevocationEffect::Refuse);
    let mut holds = all.clone();
    loop {
        // With fewer revocations in force more lifts count, never fewer: this ends.
        let revoked: BTreeSet<&Identity> = holds.iter().flat_map(Holds::identities).collect();
        let free = |lift: &&Holds<'_>| !revoked.contains(lift.record.author().identity());
        let lifts: Vec<_> = lifts.iter().filter(free).copied().collect();
        let next: Vec<_> =
            all.iter().filter(|it| !lifts.iter().any(|lift| lift.lifts(it))).copied().collect();
        if next.len() == holds.len() {
            return Sorted { all, lifts, holds: next };
        }
        holds = next;
    }
}

impl<'c> Holds<'c> {
    fn identities(&self) -> &'c [Identity] {
        match &self.revocation.target {
            Revoked::Identities(identities) => identities,
            Revoked::Digests(_) | Revoked::Record(_) => &[],
        }
    }

    /// Whether this lifts the other: it names its place, and says the same of what it is about.
    fn lifts(&self, other: &Self) -> bool {
        self.revocation.lifts == Some(other.record.position())
            && self.revocation.target == other.revocation.target
            && self.revocation.scope == other.revocation.scope
    }

    /// Whether it is about an environment.
    pub(super) fn reaches(&self, environment: &EnvironmentName) -> bool {
        self.revocation.scope.environment.as_ref().is_none_or(|only| only == environment)
    }

    /// Where it lies, who said it, and why.
    pub fn words(&self, policy: &Policy, service: &ServiceName) -> String {
        let index = self.record.position().index;
        let by = who(policy, service, self.record.author());
        format!("revoked by {by} in control record {index}: {}", shorten(&self.revocation.reason))
    }
}

impl<'c> InForce<'c> {
    /// All of them, oldest first.
    pub fn all(&self) -> &[Holds<'c>] {
        &self.0
    }

    fn find(&self, environment: &EnvironmentName, is: impl Fn(&Revocation) -> bool) -> Option<Holds<'c>> {
        self.0.iter().find(|it| it.reaches(environment) && is(it.revocation)).copied()
    }

    /// The first that names one of these digests, and the digest.
    pub fn of_digests(
        &self,
        environment: &EnvironmentName,
        is: impl Fn(Digest) -> bool,
    ) -> Option<(Holds<'c>, Digest)> {
        let named = |it: &Holds<'c>| match &it.revocation.target {
            Revoked::Digests(digests) => digests.iter().copied().find(|digest| is(*digest)),
            Revoked::Identities(_) | Revoked::Record(_) => None,
        };
        self.0.iter().filter(|it| it.reaches(environment)).find_map(|it| Some((*it, named(it)?)))
    }

    /// The first that names an image, one of its manifests, or what they are made of; and the digest it names.
    pub fn of_image(&self, environment: &EnvironmentName, closure: &Closure) -> Option<(Holds<'c>, Digest)> {
        let blobs: BTreeSet<Digest> = closure.blobs().into_iter().map(|blob| blob.digest).collect();
        self.of_digests(environment, |digest| closure.contains(digest) || blobs.contains(&digest))
    }

    /// The first that takes the word from somebody who would speak now.
    pub fn of_identity(&self, environment: &EnvironmentName, identity: &Identity) -> Option<Holds<'c>> {
        self.find(environment, |revocation| names(revocation, identity))
    }

    /// The first that takes a record of the main lane, or what its author signed since then.
    pub fn of_record(&self, environment: &EnvironmentName, record: &Record) -> Option<Holds<'c>> {
        self.find(environment, |revocation| match &revocation.target {
            Revoked::Digests(_) => false,
            Revoked::Identities(_) => {
                let since = revocation.effective_from.map_or(0, |from| from.index);
                names(revocation, record.identity()) && record.position().index >= since
            }
            Revoked::Record(position) => *position == record.position(),
        })
    }

    /// The first that takes what an author signed outside the ledger, unless it was proved to be signed before.
    pub fn of_author(&self, environment: &EnvironmentName, author: &Author) -> Option<Holds<'c>> {
        self.find(environment, |revocation| {
            let before = revocation.effective_from.zip(author.time());
            names(revocation, author.identity()) && before.is_none_or(|(from, signed)| signed >= from.time)
        })
    }
}

fn names(revocation: &Revocation, identity: &Identity) -> bool {
    match &revocation.target {
        Revoked::Identities(identities) => identities.contains(identity),
        Revoked::Digests(_) | Revoked::Record(_) => false,
    }
}

fn who(policy: &Policy, service: &ServiceName, author: &Author) -> String {
    match policy.who(author, service).first() {
        Some(name) => format!("`{name}`"),
        None => author.identity().to_string(),
    }
}

/// Asks what is in force only where some record of the lane could matter: most often none does.
fn ask<'e>(
    target: &Target<'_>,
    evidence: &'e Evidence,
    matters: impl Fn(&Revocation) -> bool,
    question: impl FnOnce(&InForce<'e>, &EnvironmentName) -> Option<Holds<'e>>,
) -> Option<String> {
    let (policy, service) = (target.policy(), target.service().name());
    if !evidence.control.records().iter().filter_map(ControlRecord::revocation).any(matters) {
        return None;
    }
    let in_force = in_force(policy, service, &evidence.control);
    question(&in_force, target.environment().name()).map(|holds| holds.words(policy, service))
}

/// Why a record no longer helps, if it does not.
pub(super) fn of_record(target: &Target<'_>, evidence: &Evidence, record: &Record) -> Option<String> {
    let matters =
        |it: &Revocation| names(it, record.identity()) || it.target == Revoked::Record(record.position());
    ask(target, evidence, matters, |in_force, environment| in_force.of_record(environment, record))
}

/// Why an attestation by this author no longer helps, if it does not.
pub(super) fn of_author(target: &Target<'_>, evidence: &Evidence, author: &Author) -> Option<String> {
    let matters = |it: &Revocation| names(it, author.identity());
    ask(target, evidence, matters, |in_force, environment| in_force.of_author(environment, author))
}

/// Why this requester may ask for nothing, if so.
pub(super) fn of_requester(target: &Target<'_>, evidence: &Evidence, requester: &Author) -> Option<String> {
    let matters = |it: &Revocation| names(it, requester.identity());
    ask(target, evidence, matters, |in_force, environment| {
        in_force.of_identity(environment, requester.identity())
    })
}

/// The requirement that these bytes are not revoked: wherever somebody may revoke, or something is in the lane.
pub(super) fn not_revoked(target: &Target<'_>, evidence: &Evidence) -> Option<Finding> {
    let (policy, service) = (target.policy(), target.service().name());
    let control = &evidence.control;
    let expected = match policy.control() {
        Some(control) => format!("these bytes are not revoked by {}", either(control.revokers())),
        None => "these bytes are not revoked; the policy lets nobody revoke".to_owned(),
    };
    let unmet = |code, expected, found| Some(Finding::unmet(Requirement::NotRevoked, code, expected, found));
    // 1. Nothing is known of a lane that was not looked at.
    let Some(head) = control.head() else {
        return unmet(Code::ControlUnknown, expected, "the control lane was not looked at".to_owned());
    };
    if policy.control().is_none() && head.size == 0 {
        return None;
    }
    // 2. What a revoker said and nobody here understands may be a no.
    if let Some(finding) = unread_by(target, control, Policy::may_revoke, Requirement::NotRevoked, &expected)
    {
        return Some(finding);
    }
    // 3. The image, its manifests, and what they are made of.
    let in_force = in_force(policy, service, control);
    let closure = target.closure();
    if let Some((holds, digest)) = in_force.of_image(target.environment().name(), closure) {
        let what = match digest == closure.root() {
            true => format!("{digest} is"),
            false => format!("{digest}, which is part of it, is"),
        };
        let found = format!("{what} {}", holds.words(policy, service));
        let index = holds.record.position().index;
        let fix = vec![
            "promote an image that has nothing of it; if it was revoked by mistake, a revoker lifts that:"
                .to_owned(),
            format!("samebits revoke --lift {index} --reason TEXT"),
        ];
        return unmet(Code::Revoked, expected, found).map(|finding| finding.fix(fix));
    }
    let found = format!("nothing of it; {} revocation(s) in force", in_force.all().len());
    Some(Finding::met(Requirement::NotRevoked, expected, found, Vec::new()))
}

/// The first thing a revoker said, or may have said, that nobody here understands: it may take somebody's word.
pub fn not_understood<'c>(
    policy: &Policy,
    service: &ServiceName,
    control: &'c Control,
) -> Option<&'c NotRead> {
    control.unread().iter().find(|unread| match &unread.author {
        Some(author) => policy.may_revoke(author, service),
        None => untold(policy, unread),
    })
}

/// Whether it may be by somebody who may say no, for all that can be told here: older roots of trust than its author's, or
/// a clock that is behind, must not make a no go away.
fn untold(policy: &Policy, unread: &NotRead) -> bool {
    let RecordError::Rejected(rejected) = &unread.why else { return false };
    rejected.reason.is_untold() && policy.may_say_no_by_certificate()
}

/// That somebody who may say no said something that nobody here understands.
fn unread_by(
    target: &Target<'_>,
    control: &Control,
    may: impl Fn(&Policy, &Author, &ServiceName) -> bool,
    requirement: Requirement,
    expected: &str,
) -> Option<Finding> {
    let (policy, service) = (target.policy(), target.service().name());
    let (found, fix) = control.unread().iter().find_map(|unread| match &unread.author {
        Some(author) if may(policy, author, service) => Some((
            format!(
                "control record {} by {} is not understood: {}",
                unread.index,
                who(policy, service, author),
                unread.why
            ),
            vec!["use the version of samebits that wrote it, or a newer one".to_owned()],
        )),
        None if untold(policy, unread) => Some((
            format!(
                "control record {} may be by somebody who may say no, and cannot be judged here: {}",
                unread.index, unread.why
            ),
            vec![
                "see that this machine's clock is right, and refresh the roots of trust:".to_owned(),
                "samebits roots refresh".to_owned(),
            ],
        )),
        Some(_) | None => None,
    })?;
    Some(Finding::unmet(requirement, Code::ControlUnknown, expected.to_owned(), found).fix(fix))
}

/// What lies in the lane and counts for nothing, the newest first.
pub(super) fn remarks(target: &Target<'_>, control: &Control) -> Vec<String> {
    let (policy, service) = (target.policy(), target.service().name());
    let idle = control.records().iter().rev().filter_map(|record| {
        let author = record.author();
        let (may, role) = match record.body() {
            ControlBody::Revocation(_) => (policy.may_revoke(author, service), "revoker"),
            ControlBody::Freeze(_) => (policy.may_freeze(author, service), "freezer"),
        };
        let index = record.position().index;
        let idle = record.body().scope().has_service(service) && !may;
        let by = who(policy, service, author);
        idle.then(|| format!("control record {index} does not count: {by} is no {role} of the policy"))
    });
    let may = |author: &Author| policy.may_revoke(author, service) || policy.may_freeze(author, service);
    let no = |unread: &NotRead| unread.author.as_ref().map_or(untold(policy, unread), may);
    let unread = control.unread().iter().rev().filter(|unread| !no(unread));
    let unread =
        unread.map(|unread| format!("control record {} does not count: {}", unread.index, unread.why));
    idle.chain(unread).take(REMARKS).collect()
}
