//! The requirement that the image ran in the environment before, long enough, said by who may say it.
//!
//! A deployment record covers a platform manifest of the image if it is about the same index, or about any image
//! that has this very manifest (`ATTACKS.md` §6); a record that names a platform or an observed manifest covers that
//! one only. Order is the log's. Times are claims, and every bound is taken so that it hurts the requester: an
//! interval begins at the latest plausible moment and ends at the earliest, and intervals are never added up (C5).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Code, Finding, Outcome, Requirement, control, counted, describe, either, sign_as};
use crate::closure::Platform;
use crate::digest::Digest;
use crate::evidence::{Evidence, Target};
use crate::policy::{After, Environment, EnvironmentName, EvidenceClass, Predecessor};
use crate::record::{Deployment, Phase, Record, Resource, Status};

/// How far ahead of the gate's clock a record may be before it is void.
pub(super) const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// Any one of the predecessors is enough.
pub(super) fn deployed(target: &Target<'_>, evidence: &Evidence, after: &After) -> Finding {
    let mut findings: Vec<Finding> =
        after.any_of().iter().map(|predecessor| ran_in(target, evidence, predecessor)).collect();
    if let Some(met) = findings.iter().position(|finding| matches!(finding.outcome, Outcome::Met(_))) {
        return findings.swap_remove(met);
    }
    let mut findings = findings.into_iter();
    let Some(mut first) = findings.next() else {
        // The policy's validation leaves no empty alternative; without one nothing can be met.
        let expected = "a deployment in an environment the policy names".to_owned();
        return Finding::unmet(
            Requirement::Deployed,
            Code::NeverDeployed,
            expected,
            "none is named".to_owned(),
        );
    };
    for other in findings {
        first.expected = format!("{}; or {}", first.expected, other.expected);
        first.found = format!("{}; {}", first.found, other.found);
        first.nearest.extend(other.nearest);
        first.fix.extend(other.fix);
    }
    first
}

fn ran_in(target: &Target<'_>, evidence: &Evidence, predecessor: &Predecessor) -> Finding {
    let Some(before) = target.policy().environment(predecessor.environment()) else {
        let expected = format!("a deployment in `{}`", predecessor.environment());
        return Finding::unmet(
            Requirement::Deployed,
            Code::NeverDeployed,
            expected,
            "no such environment".into(),
        );
    };
    let expected = expected(predecessor, before);
    let counted = counted(target);
    let shown: Vec<(Proof<'_>, Digest, &Platform)> = counted
        .iter()
        .map(|(digest, platform)| {
            (prove(target, evidence, predecessor, before, &counted, *digest, platform), *digest, *platform)
        })
        .collect();

    let carried = carried_along(target, evidence, before);

    // 1. Everything that counts ran, long enough, and nothing else is carried along.
    let suffices = !shown.is_empty() && shown.iter().all(|(proof, ..)| proof.suffices(predecessor));
    if suffices && carried.is_empty() {
        let records = shown.iter().filter_map(|(proof, ..)| proof.record);
        let used: BTreeSet<Resource> = records.map(Record::resource).collect();
        let shortest = shown.iter().filter_map(|(proof, ..)| proof.longest).min().unwrap_or_default();
        let indexes: Vec<&str> = used.iter().map(|resource| resource.uri.as_str()).collect();
        let found = format!("ran in `{}` for {} ({})", before.name(), words(shortest), indexes.join(", "));
        return Finding::met(Requirement::Deployed, expected, found, used.into_iter().collect());
    }

    // 2. Otherwise say what is missing, worst first.
    let image = target.image().digest;
    let bare: Vec<String> = shown
        .iter()
        .filter(|(proof, ..)| proof.longest.is_none())
        .map(|(_, digest, platform)| format!("{platform} ({digest})"))
        .collect();
    let ran_somewhere = shown.iter().any(|(proof, ..)| proof.longest.is_some());
    let only_asserted = shown.iter().any(|(proof, ..)| proof.longest.is_none() && proof.asserted);
    let only_failed = shown.iter().any(|(proof, ..)| proof.failed);
    let (code, found) = if suffices {
        let found = format!("no image that ran in `{}` has {}", before.name(), carried.join(", "));
        (Code::PlatformUnproven, found)
    } else if ran_somewhere && bare.is_empty() {
        let shortest = shown.iter().filter_map(|(proof, ..)| proof.longest).min().unwrap_or_default();
        (
            Code::SoakTooShort,
            format!("{image} ran in `{}` for {} without a break", before.name(), words(shortest)),
        )
    } else if ran_somewhere {
        (Code::PlatformUnproven, format!("`{}` never ran {}", before.name(), bare.join(", ")))
    } else if only_asserted {
        let found =
            format!("a deploy job says that {image} ran in `{}`, and nobody observed it", before.name());
        (Code::NotObserved, found)
    } else if only_failed {
        (Code::DeploymentFailed, format!("the deployment of {image} in `{}` failed", before.name()))
    } else {
        (Code::NeverDeployed, never(evidence, target, before, image))
    };
    let near = near_misses(target, evidence, before);
    let fix = fix(target, evidence, before, code, predecessor, &shown);
    Finding::unmet(Requirement::Deployed, code, expected, found).near(near).fix(fix)
}

/// The platform manifests that the policy does not list and that no image that ran there has: an index may be
/// assembled from what ran and something else, and what lies in the environment's repository may be run.
fn carried_along(target: &Target<'_>, evidence: &Evidence, before: &Environment) -> Vec<String> {
    let counted: BTreeSet<Digest> = counted(target).into_iter().map(|(digest, _)| digest).collect();
    let ran = |digest: Digest| {
        evidence.history.iter().any(|record| {
            deployment_in(record, before).is_some_and(|said| said.status == Status::Succeeded)
                && may_say(target, before, record)
                && in_own_repository(record, target, before)
                && record.body().claimed_time().duration_since(evidence.now) <= SKEW
                && control::of_record(target, evidence, record).is_none()
                && (record.subjects().image.digest == target.closure().root()
                    || record.subjects().contain(digest))
        })
    };
    let platforms = target.closure().platforms();
    let carried = platforms.filter(|(digest, _)| !counted.contains(digest) && !ran(*digest));
    carried.map(|(digest, platform)| format!("{platform} ({digest})")).collect()
}

fn expected(predecessor: &Predecessor, before: &Environment) -> String {
    let who = either(before.deployers());
    let how = match predecessor.evidence() {
        EvidenceClass::Asserted => "said by",
        EvidenceClass::Observed => "observed by",
    };
    let mut text = format!("these bytes ran in `{}`, {how} {who}", before.name());
    if !predecessor.for_at_least().is_zero() {
        text.push_str(&format!(", for at least {} without a break", words(predecessor.for_at_least())));
    }
    text
}

fn never(evidence: &Evidence, target: &Target<'_>, before: &Environment, image: Digest) -> String {
    let latest =
        evidence.history.iter().rev().filter(|record| may_say(target, before, record)).find(|record| {
            deployment_in(record, before).is_some_and(|said| said.status == Status::Succeeded)
        });
    match latest {
        None => format!("`{}` has no deployment of {image}", before.name()),
        Some(record) => format!(
            "`{}` never ran {image}; it last ran {} (record {})",
            before.name(),
            record.subjects().image.digest,
            record.position().index
        ),
    }
}

/// What the log shows for one platform manifest.
#[derive(Default)]
struct Proof<'a> {
    /// The longest time without a break; `None` when it never ran.
    longest: Option<Duration>,
    /// The beginning of the interval that still lasts, if one does.
    since: Option<Timestamp>,
    /// The record that began it.
    record: Option<&'a Record>,
    /// Every record that it ran, and the earliest time at which that counts.
    begins: Vec<(Timestamp, &'a Record)>,
    /// A deploy job said so where a collector was wanted.
    asserted: bool,
    /// A deployment of it failed.
    failed: bool,
}

impl<'a> Proof<'a> {
    fn suffices(&self, predecessor: &Predecessor) -> bool {
        self.longest.is_some_and(|longest| longest >= predecessor.for_at_least())
    }

    fn interval(&mut self, begin: Timestamp, end: Timestamp, record: &'a Record) {
        let lasted = Duration::try_from(end.duration_since(begin)).unwrap_or_default();
        if self.longest.is_none_or(|longest| lasted >= longest) {
            self.longest = Some(lasted);
            self.record = Some(record);
        }
    }
}

/// The deployments of one platform manifest in an environment that comes before: each record, and the time from which
/// it counts. By the strictest of the rules about that environment.
pub(super) fn deployments<'a>(
    target: &Target<'_>,
    evidence: &'a Evidence,
    environment: &EnvironmentName,
    digest: Digest,
    platform: &Platform,
) -> Vec<(Timestamp, &'a Record)> {
    let rules = target.environment().after().iter().flat_map(After::any_of);
    let rule = rules.filter(|rule| rule.environment() == environment).max_by_key(|rule| rule.evidence());
    match (rule, target.policy().environment(environment)) {
        (Some(rule), Some(before)) => {
            prove(target, evidence, rule, before, &counted(target), digest, platform).begins
        }
        (None, _) | (_, None) => Vec::new(),
    }
}

fn prove<'a>(
    target: &Target<'_>,
    evidence: &'a Evidence,
    predecessor: &Predecessor,
    before: &Environment,
    counted: &[(Digest, &Platform)],
    digest: Digest,
    platform: &Platform,
) -> Proof<'a> {
    let mut proof = Proof::default();
    let mut running: BTreeMap<&str, (Timestamp, &Record)> = BTreeMap::new();
    // Every image that was said to have run with this manifest in it, by the name of the deployment.
    let mut images: BTreeSet<(&str, Digest)> = BTreeSet::new();
    // The latest time any earlier record claims: what was recorded later cannot have begun to count before (C6).
    // Positive evidence sets no floor, so that adding it never shortens an interval.
    let mut floor = Timestamp::MIN;
    for record in &evidence.history {
        let claimed = record.body().claimed_time();
        let from_the_future = claimed.duration_since(evidence.now) > SKEW;
        if let Some(said) = deployment_in(record, before)
            && may_say(target, before, record)
        {
            let name = said.deployment_name.as_str();
            let image = record.subjects().image.digest;
            // The end of an image need not list its platforms again, nor say what is seen there now: what said that
            // it ran says what it had.
            let ran = image == target.closure().root() || images.contains(&(name, image));
            match (outcome(said), speaks_of(record, said, target, digest, platform)) {
                (Status::Succeeded, Speaks::This) => {
                    images.insert((name, image));
                    // Nobody observed anything who cannot say what.
                    let observed = said.evidence_class == EvidenceClass::Observed && said.runtime.is_some();
                    if predecessor.evidence() == EvidenceClass::Observed && !observed {
                        proof.asserted = true;
                    } else if !from_the_future
                        && in_own_repository(record, target, before)
                        // It still ends what ran there before; it only begins nothing.
                        && control::of_record(target, evidence, record).is_none()
                    {
                        // Said again, it began when the earlier of the two claims: were one of them not there, the
                        // other would count alone.
                        let begin = said.finished_on.max(floor);
                        proof.begins.push((begin, record));
                        let run = running.entry(name).or_insert((begin, record));
                        if begin < run.0 {
                            *run = (begin, record);
                        }
                    }
                }
                (Status::Failed, Speaks::This) => {
                    proof.failed = true;
                    close(&mut running, &mut proof, name, said.started_on, evidence.now);
                }
                (Status::Removed, Speaks::This) | (Status::Succeeded, Speaks::Another) => {
                    close(&mut running, &mut proof, name, said.started_on, evidence.now);
                }
                (Status::Failed | Status::Removed, Speaks::Another) if ran => {
                    close(&mut running, &mut proof, name, said.started_on, evidence.now);
                }
                (Status::Failed | Status::Removed, Speaks::Another) | (_, Speaks::AnotherPlatform) => {}
            }
        }
        if !from_the_future && !supports(target, record, counted) && known(target, record) {
            floor = floor.max(claimed);
        }
    }
    proof.since = running.values().map(|(begin, _)| *begin).min();
    for (begin, record) in running.into_values() {
        proof.interval(begin, evidence.now, record);
    }
    proof
}

fn close<'a>(
    running: &mut BTreeMap<&'a str, (Timestamp, &'a Record)>,
    proof: &mut Proof<'a>,
    name: &str,
    end: Timestamp,
    now: Timestamp,
) {
    if let Some((begin, record)) = running.remove(name) {
        proof.interval(begin, end.min(now), record);
    }
}

/// How it ended; what runs with no replica does not run.
fn outcome(said: &Deployment) -> Status {
    match (said.status, &said.runtime) {
        (Status::Succeeded, Some(runtime)) if runtime.replicas == Some(0) => Status::Removed,
        (status, _) => status,
    }
}

/// What a deployment record says about one platform manifest.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaks {
    This,
    Another,
    AnotherPlatform,
}

fn speaks_of(
    record: &Record,
    said: &Deployment,
    target: &Target<'_>,
    digest: Digest,
    platform: &Platform,
) -> Speaks {
    let subjects = record.subjects();
    let same = subjects.image.digest == target.closure().root() || subjects.contain(digest);
    let of_the_image = same || target.closure().contains(subjects.image.digest);
    if let Some(runtime) = &said.runtime {
        // A runtime that names a platform or a platform manifest of this image speaks of that one only; one that
        // names another image's says that this deployment is another image now.
        if of_the_image && runtime.platform.as_ref().is_some_and(|ran| ran != platform) {
            return Speaks::AnotherPlatform;
        }
        let observed = runtime.observed_digest;
        if same && observed != digest && observed != subjects.image.digest {
            return match target.closure().contains(observed) {
                true => Speaks::AnotherPlatform,
                false => Speaks::Another,
            };
        }
    }
    match same {
        true => Speaks::This,
        false => Speaks::Another,
    }
}

fn deployment_in<'a>(record: &'a Record, before: &Environment) -> Option<&'a Deployment> {
    record.deployment().filter(|said| said.environment == *before.name())
}

/// The service, environment and identity fit: what runs in an environment is said by its deployers (C1, C3).
fn may_say(target: &Target<'_>, before: &Environment, record: &Record) -> bool {
    let service = target.service().name();
    let who = target.policy().who(record.author(), service);
    record.body().service() == service && who.iter().any(|name| before.deployers().contains(name))
}

/// Signed by anyone the policy names.
fn known(target: &Target<'_>, record: &Record) -> bool {
    !target.policy().who(record.author(), target.service().name()).is_empty()
}

/// A successful deployment of this image or of one of its manifests, or an approval.
fn supports(target: &Target<'_>, record: &Record, counted: &[(Digest, &Platform)]) -> bool {
    let about = record.subjects().image.digest == target.closure().root()
        || counted.iter().any(|(digest, _)| record.subjects().contain(*digest));
    about
        && record.deployment().is_none_or(|said| said.status == Status::Succeeded)
        && record.promotion().is_none()
}

fn in_own_repository(record: &Record, target: &Target<'_>, before: &Environment) -> bool {
    Some(&record.subjects().image.repository) == before.repository(target.service().name())
}

/// Records about these bytes that do not count, and why.
fn near_misses(target: &Target<'_>, evidence: &Evidence, before: &Environment) -> Vec<String> {
    let mut near = Vec::new();
    for record in &evidence.history {
        let Some(said) = record.deployment() else { continue };
        let about = record.subjects().image.digest == target.closure().root()
            || counted(target).iter().any(|(digest, _)| record.subjects().contain(*digest));
        if !about {
            continue;
        }
        let index = record.position().index;
        if said.environment != *before.name() {
            near.push(format!("record {index} is about `{}`, not `{}`", said.environment, before.name()));
        } else if said.service != *target.service().name() {
            near.push(format!("record {index} is about the service `{}`", said.service));
        } else if !may_say(target, before, record) {
            let deployers = before.deployers().iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
            near.push(format!(
                "record {index} says that it {} there, but it is signed by {}, and only {} may say what runs in `{}`",
                said.status,
                describe(target, record.author()),
                deployers.join(" or "),
                before.name()
            ));
        } else if !in_own_repository(record, target, before) {
            near.push(format!(
                "record {index} is about {}, which is not the repository of `{}` in `{}`",
                record.subjects().image.repository,
                target.service().name(),
                before.name()
            ));
        } else if said.finished_on.duration_since(evidence.now) > SKEW {
            near.push(format!("record {index} claims {}, which has not come yet", said.finished_on));
        } else if let Some(why) = control::of_record(target, evidence, record) {
            near.push(format!("record {index} does not count: {why}"));
        } else if said.status == Status::Failed {
            near.push(format!("record {index} says that the deployment failed"));
        }
    }
    for other in &evidence.same_layers {
        near.push(format!(
            "{other} has the same layers and configuration under another manifest: re-written bytes are other bytes"
        ));
    }
    near
}

fn fix(
    target: &Target<'_>,
    evidence: &Evidence,
    before: &Environment,
    code: Code,
    predecessor: &Predecessor,
    shown: &[(Proof<'_>, Digest, &Platform)],
) -> Vec<String> {
    let name = before.name();
    let there = match before.repository(target.service().name()) {
        Some(repository) => {
            crate::reference::Image::new(repository.clone(), target.image().digest).to_string()
        }
        None => target.image().digest.to_string(),
    };
    if code == Code::SoakTooShort {
        let since = shown.iter().map(|(proof, ..)| proof.since).max().flatten();
        return match since.and_then(|since| since.checked_add(predecessor.for_at_least()).ok()) {
            Some(ready) => {
                vec![format!("let it run in `{name}` until {ready:.0}, then run the same command again")]
            }
            None => vec![format!("deploy it in `{name}` again, and let it run")],
        };
    }
    let promoted = evidence.history.iter().filter_map(|record| Some((record, record.promotion()?))).any(
        |(record, promotion)| {
            promotion.phase == Phase::Commit
                && promotion.to.environment.as_ref() == Some(name)
                && record.subjects().image.digest == target.image().digest
        },
    );
    let mut steps = Vec::new();
    if !promoted {
        let how = sign_as(target, before.promoters());
        steps.push(format!("let it into `{name}` ({how}):"));
        steps.push(format!("samebits promote {} --to {name}", target.image()));
    }
    let how = sign_as(target, before.deployers());
    steps.push(format!("deploy it in `{name}`, then record that it runs there ({how}):"));
    steps.push(format!("samebits deployed {there} --in {name}"));
    steps
}

/// A duration as people say it, to the second.
fn words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts =
        [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let said: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
    match said.is_empty() {
        true => "0s".to_owned(),
        false => said.join(" "),
    }
}
