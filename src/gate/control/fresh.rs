//! Whether what is known of the control lane is young enough.
//!
//! A lane that was frozen is valid, complete, and hides what was revoked since; only the word of others about when they
//! had seen nothing newer tells (C2SP tlog-cosignature). Age hurts the requester: it counts from the oldest time of the
//! newest quorum of witnesses to the gate's own clock.

use super::super::{Code, Finding, Requirement};
use crate::evidence::{Evidence, Freshness, Target};
use crate::policy::spell_duration;

/// The requirement that the control lane is fresh, where the environment asks for it.
pub(in crate::gate) fn fresh(target: &Target<'_>, evidence: &Evidence) -> Option<Finding> {
    let limit = target.environment().control_max_staleness()?;
    let expected =
        format!("witnesses saw nothing newer in the control lane {} ago at most", spell_duration(limit));
    let unmet = |code, found: String, fix: Vec<String>| {
        Some(Finding::unmet(Requirement::ControlFresh, code, expected.clone(), found).fix(fix))
    };
    let ask = || "samebits ledger cosign".to_owned();
    match evidence.control.freshness() {
        Freshness::Unwitnessed => {
            let fix = vec!["name witnesses in the `witness-policy` of the lock, then:".to_owned(), ask()];
            unmet(Code::ControlUnwitnessed, "unwitnessed: no witness is named".to_owned(), fix)
        }
        Freshness::Missed { missing } => {
            let found = format!("no quorum of witnesses: nothing by {}", missing.join(", "));
            unmet(Code::ControlUnwitnessed, found, vec![ask()])
        }
        Freshness::Cosigned { at, witnesses, size } => {
            let age = std::time::Duration::try_from(evidence.now.duration_since(*at)).unwrap_or_default();
            let by = witnesses.join(", ");
            let found = format!("{} ago, {size} records, by {by}", spell_duration(age));
            match age <= limit {
                true => Some(Finding::met(Requirement::ControlFresh, expected, found, Vec::new())),
                false => unmet(Code::ControlStale, found, vec![ask()]),
            }
        }
    }
}
