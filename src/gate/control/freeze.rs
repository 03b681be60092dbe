//! What is frozen: by whom the policy lets freeze, not thawed, and not over.
//!
//! As with revocations, adding a freeze can only turn a yes into a no, and nobody thaws what stops himself: a thaw counts
//! only while its author is not revoked. A freeze by somebody who was revoked since still holds; another freezer thaws
//! it. The clock is the gate's, and both ends are taken so that they hurt the requester. Start at [`freezes`].

use jiff::Timestamp;

use super::super::history::SKEW;
use super::super::{Code, Finding, Requirement, either};
use super::{in_force, unread_by, who};
use crate::digest::shorten;
use crate::evidence::{Control, Evidence, Target};
use crate::policy::{EnvironmentName, Policy, ServiceName};
use crate::record::{ControlRecord, Freeze};
use crate::verify::Author;

/// A freeze that nobody has thawed.
#[derive(Clone, Copy, Debug)]
pub struct Frozen<'c> {
    /// Where it lies, and who said it.
    pub record: &'c ControlRecord,
    /// What it says.
    pub freeze: &'c Freeze,
}

/// The freezes in `control` for `service`: by freezers, in scope, and not thawed; to come, in force or over. Oldest
/// first.
pub fn freezes<'c>(policy: &Policy, service: &ServiceName, control: &'c Control) -> Vec<Frozen<'c>> {
    let said = |record: &'c ControlRecord| {
        let freeze = record.freeze()?;
        let counts = freeze.scope.has_service(service) && policy.may_freeze(record.author(), service);
        counts.then_some(Frozen { record, freeze })
    };
    let (mut holds, thaws): (Vec<_>, Vec<_>) =
        control.records().iter().filter_map(said).partition(|it| it.freeze.lifts.is_none());
    if !thaws.is_empty() {
        let in_force = in_force(policy, service, control);
        let free =
            |author: &Author| !in_force.all().iter().any(|it| it.identities().contains(author.identity()));
        holds.retain(|it| !thaws.iter().any(|thaw| thaw.thaws(it) && free(thaw.record.author())));
    }
    holds
}

impl Frozen<'_> {
    /// Whether this thaws the other: it names its place, and says the same of what it held.
    fn thaws(&self, other: &Self) -> bool {
        self.freeze.lifts == Some(other.record.position())
            && self.freeze.scope == other.freeze.scope
            && (self.freeze.from, self.freeze.until) == (other.freeze.from, other.freeze.until)
    }

    /// Whether it is over: by more than a clock may be wrong.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.freeze.until.is_some_and(|until| until.saturating_add(SKEW).is_ok_and(|end| now >= end))
    }

    /// Whether it stops, now, what would enter an environment. A clock may be wrong by five minutes, at either end.
    pub fn stops(&self, environment: &EnvironmentName, now: Timestamp) -> bool {
        let begun = self.freeze.from.saturating_sub(SKEW).is_ok_and(|begin| now >= begin);
        let scope = &self.freeze.scope;
        begun && !self.is_over(now) && scope.environment.as_ref().is_none_or(|only| only == environment)
    }

    /// Where it lies, who said it, until when, and why.
    pub fn words(&self, policy: &Policy, service: &ServiceName) -> String {
        let index = self.record.position().index;
        let by = who(policy, service, self.record.author());
        let until = match self.freeze.until {
            Some(until) => format!("until {until:.0}"),
            None => "until it is thawed".to_owned(),
        };
        format!("frozen by {by} in control record {index}, {until}: {}", shorten(&self.freeze.reason))
    }
}

/// The requirement that nothing is frozen here: wherever somebody may freeze, or a freeze is in the lane.
pub(in crate::gate) fn not_frozen(target: &Target<'_>, evidence: &Evidence) -> Option<Finding> {
    let (policy, service, control) = (target.policy(), target.service().name(), &evidence.control);
    let environment = target.environment().name();
    let freezers = policy.control().map(crate::policy::Control::freezers).unwrap_or_default();
    let expected = match freezers {
        [] => format!("`{environment}` is not frozen; the policy lets nobody freeze"),
        freezers => format!("`{environment}` is not frozen by {}", either(freezers)),
    };
    let said = control.records().iter().any(|record| record.freeze().is_some());
    if freezers.is_empty() && !said {
        return None;
    }
    let unmet = |code, expected, found| Some(Finding::unmet(Requirement::NotFrozen, code, expected, found));
    // 1. Nothing is known of a lane that was not looked at.
    if control.head().is_none() {
        return unmet(Code::ControlUnknown, expected, "the control lane was not looked at".to_owned());
    }
    // 2. What a freezer said and nobody here understands may be a no.
    if let Some(finding) = unread_by(target, control, Policy::may_freeze, Requirement::NotFrozen, &expected) {
        return Some(finding);
    }
    // 3. The freezes that hold now: to wait for the last of them, or to have each thawed.
    let freezes = freezes(policy, service, control);
    let stops: Vec<_> = freezes.iter().filter(|it| it.stops(environment, evidence.now)).collect();
    let Some(first) = stops.first() else {
        let found = format!("it is not; {} freeze(s) to come or over", freezes.len());
        return Some(Finding::met(Requirement::NotFrozen, expected, found, Vec::new()));
    };
    let ends: Option<Vec<Timestamp>> = stops.iter().map(|it| it.freeze.until).collect();
    let wait = ends.and_then(|ends| ends.into_iter().max()).map(|end| {
        format!("wait until {end:.0} and five minutes, in case a clock is wrong; or a freezer thaws it:")
    });
    let wait = wait.unwrap_or_else(|| "nothing enters until a freezer thaws it:".to_owned());
    let thaw = stops.iter().map(|it| format!("samebits thaw {} --reason TEXT", it.record.position().index));
    let near = stops.iter().skip(1).map(|it| it.words(policy, service)).collect();
    let found = first.words(policy, service);
    let fix = std::iter::once(wait).chain(thaw).collect();
    unmet(Code::Frozen, expected, found).map(|finding| finding.near(near).fix(fix))
}
