//! The requirement that enough others approved: these bytes, this environment, this policy, in time (E5, E6).

use std::collections::BTreeMap;

use super::{Code, Finding, Requirement, control, describe};
use crate::evidence::{Evidence, Target};
use crate::policy::{ApprovalRule, Excluded};
use crate::record::{Record, Resource, Verdict};
use crate::verify::Identity;

pub(super) fn approved(target: &Target<'_>, evidence: &Evidence, rule: &ApprovalRule) -> Finding {
    let from = rule.from().iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let expected = format!("{} approval(s) from {from}", rule.count());

    // What every identity said since it last said no; order is the log's. An approval never takes an earlier one
    // away, so that adding one never hurts.
    let mut said: BTreeMap<&Identity, Vec<&Record>> = BTreeMap::new();
    let mut nearest = Vec::new();
    for record in &evidence.history {
        let Some(approval) = record.approval() else { continue };
        let about = approval.service == *target.service().name()
            && approval.approved_for.environment == *target.environment().name()
            && record.subjects().image.digest == target.image().digest;
        if about {
            let said = said.entry(record.identity()).or_default();
            match approval.decision {
                Verdict::Approved => said.push(record),
                Verdict::Rejected | Verdict::Withdrawn => *said = vec![record],
            }
        }
    }
    let mut counts: Vec<Resource> = Vec::new();
    for (identity, records) in said {
        let mut voids = Vec::new();
        let good = records.into_iter().rev().find(|record| {
            let why = void(target, evidence, rule, identity, record);
            voids.extend(why.iter().map(|why| {
                let (index, who) = (record.position().index, describe(target, record.author()));
                format!("the approval in record {index} by {who} does not count: {why}")
            }));
            why.is_none()
        });
        match good {
            Some(record) => counts.push(record.resource()),
            None => nearest.extend(voids),
        }
    }
    let found = format!("{}", counts.len());
    if u32::try_from(counts.len()).is_ok_and(|count| count >= rule.count()) {
        return Finding::met(Requirement::Approvals, expected, found, counts);
    }
    Finding::unmet(Requirement::Approvals, Code::ApprovalMissing, expected, found)
        .near(nearest)
        .fix(vec![
            format!("have it approved (each as themselves: {from}):"),
            format!("samebits approve {} --to {}", target.image(), target.environment().name()),
        ])
        .warn_until(rule.warn_until(), evidence.now)
}

/// Why an approval does not count; `None` when it does.
fn void(
    target: &Target<'_>,
    evidence: &Evidence,
    rule: &ApprovalRule,
    identity: &Identity,
    record: &Record,
) -> Option<String> {
    let approval = record.approval()?;
    let who = target.policy().who(record.author(), target.service().name());
    if !who.iter().any(|name| rule.from().contains(name)) {
        return Some("the policy does not let them approve".to_owned());
    }
    if excludes(target, rule, identity) {
        return Some("who requests or builds does not approve".to_owned());
    }
    if let Some(why) = control::of_record(target, evidence, record) {
        return Some(format!("it is {why}"));
    }
    if approval.decision != Verdict::Approved {
        return Some(format!("it says `{}`", approval.decision));
    }
    if approval.approved_for.policy_digest != target.policy().digest() {
        return Some("it was given under another policy file".to_owned());
    }
    if approval.approved_for.keys != *target.policy().key_digests() {
        return Some("the policy file named other keys when it was given".to_owned());
    }
    if approval.valid_until <= evidence.now {
        return Some(format!("it was good until {}", approval.valid_until));
    }
    None
}

/// Who builds is said by the policy, not by the evidence at hand, so that no evidence can take an exclusion away.
fn excludes(target: &Target<'_>, rule: &ApprovalRule, identity: &Identity) -> bool {
    let requests = target.requester().is_some_and(|requester| requester.identity() == identity);
    let policy = target.policy();
    // Not by `who`: a builder who is known by claims too is shut out by the identity alone.
    let is = |name| policy.signer(name).is_some_and(|it| it.could_be(identity, target.service().name()));
    let builds = policy.environments().iter().any(|environment| {
        let require = environment.require();
        let by = require.provenance().map(|provenance| provenance.signer());
        require.signed_by().iter().chain(by).any(is)
    });
    rule.not_from().contains(&Excluded::Requester) && requests
        || rule.not_from().contains(&Excluded::Builder) && builds
}
