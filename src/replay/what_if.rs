//! What another policy would have said.

use super::{Recorded, ReplayError};
use crate::evidence::TargetError;
use crate::gate::{Code, Decision, Finding, Outcome, Requirement, Verdict, decide};
use crate::ledger::Ledger;
use crate::policy::{Policy, SignerName};
use crate::verify::{Root, RootName, Trust};

/// What another policy would have made of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhatIf {
    /// The answer.
    pub answer: Answer,
    /// Why, one line for each requirement that decides it; none where nothing changes.
    pub why: Vec<String>,
    /// The codes of the requirements that refuse under the other policy.
    pub codes: Vec<Code>,
}

/// What would have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The same decision.
    Same,
    /// It was a yes, and would be a no.
    Refused,
    /// It was a no, and would be a yes.
    Allowed,
    /// The other policy asks for what nobody collected.
    CannotTell,
}

impl Recorded {
    /// Decides again by other rules, over what was kept for its own.
    ///
    /// What the other rules ask for and its own did not may have lain beside the image and was not kept: then nobody can
    /// tell. An approval is for one policy file; here the other stands in its place.
    ///
    /// # Errors
    /// [`ReplayError`] when the ledger cannot be read.
    pub fn under(&self, ledger: &Ledger, other: &Policy) -> Result<WhatIf, ReplayError> {
        let index = self.record.position().index;
        let told = |answer, why: String| Ok(WhatIf { answer, why: vec![why], codes: Vec::new() });
        let roots = match self.roots_for(other) {
            Ok(roots) => roots,
            Err(name) => {
                return told(Answer::CannotTell, ReplayError::RootNotKept { index, name }.to_string());
            }
        };
        let trust = Trust::new(other.keys()).with_roots(roots);
        let placed = other.clone().in_the_place_of(&self.policy);
        let target = match self.target(&placed) {
            Ok(target) => target,
            // A service or an environment that is no longer there lets nothing in.
            Err(error @ (TargetError::Unknown(_) | TargetError::NoRepository { .. })) => {
                let answer = if self.approved() { Answer::Refused } else { Answer::Same };
                return told(answer, error.to_string());
            }
            Err(error @ TargetError::Closure { .. }) => return Err(error.into()),
        };
        let decision = decide(&target, &self.evidence(ledger, &target, &trust)?);
        let verdict = decision.verdict();
        Ok(match (self.approved(), &decision) {
            (true, Decision::Approved(_)) => {
                WhatIf { answer: Answer::Same, why: Vec::new(), codes: Vec::new() }
            }
            (false, Decision::Approved(_)) => {
                WhatIf { answer: Answer::Allowed, why: self.no_longer(), codes: Vec::new() }
            }
            (was_approved, Decision::Denied(_)) => self.denied(was_approved, verdict, other),
        })
    }

    /// What refused then.
    fn no_longer(&self) -> Vec<String> {
        let lines = self.promotion.rationale.iter();
        let codes = lines.filter_map(|line| Some(format!("no longer {}", line.code.as_ref()?)));
        codes.collect()
    }

    fn denied(&self, was_approved: bool, verdict: &Verdict, other: &Policy) -> WhatIf {
        let unmet = |finding: &&Finding| matches!(finding.outcome, Outcome::Unmet(_));
        let asked = self.asked_for(verdict, other);
        let (told, untold): (Vec<_>, Vec<_>) = verdict
            .findings
            .iter()
            .zip(asked)
            .filter(|(finding, _)| unmet(finding))
            .partition(|(_, told)| *told);
        let line = |(finding, _): &(&Finding, bool)| {
            let code = finding.code().map(|code| format!("{code}: ")).unwrap_or_default();
            format!("{code}wanted {}, found {}", finding.expected, finding.found)
        };
        let not_collected =
            |(finding, _): &(&Finding, bool)| format!("not collected then: {}", finding.expected);
        let codes = told.iter().filter_map(|(finding, _)| finding.code()).collect();
        match (told.is_empty(), was_approved) {
            (true, _) => {
                WhatIf { answer: Answer::CannotTell, why: untold.iter().map(not_collected).collect(), codes }
            }
            (false, true) => WhatIf { answer: Answer::Refused, why: told.iter().map(line).collect(), codes },
            (false, false) => WhatIf { answer: Answer::Same, why: Vec::new(), codes },
        }
    }

    /// Of each finding whether it can be told: it is about the log and the image alone, or evidence that says otherwise
    /// is kept, or the rules of then asked the same signer for the same, so that what there was is kept.
    fn asked_for(&self, verdict: &Verdict, other: &Policy) -> Vec<bool> {
        let (new, old) =
            (other.environment(&verdict.environment), self.policy.environment(&verdict.environment));
        let (Some(new), Some(old)) = (new, old) else { return vec![false; verdict.findings.len()] };
        let same = |name: &SignerName, then: &SignerName| {
            let both = other.signer(name).zip(self.policy.signer(then));
            both.is_some_and(|(new, old)| new.any_of() == old.any_of())
        };
        let mut signatures = new.require().signed_by().iter();
        let mut attestations = new.require().attestations().iter();
        let told = |finding: &Finding| match finding.requirement {
            Requirement::SignedBy => {
                let wanted = signatures.next();
                wanted.is_some_and(|name| old.require().signed_by().iter().any(|then| same(name, then)))
            }
            Requirement::Provenance => {
                let rules = new.require().provenance().zip(old.require().provenance());
                rules.is_some_and(|(new, old)| same(new.signer(), old.signer()))
            }
            Requirement::Attestation => {
                let wanted = attestations.next();
                wanted.is_some_and(|rule| {
                    let kind = rule.kind().to_string();
                    old.require()
                        .attestations()
                        .iter()
                        .any(|then| then.kind().to_string() == kind && same(rule.signer(), then.signer()))
                })
            }
            Requirement::Repository
            | Requirement::Platforms
            | Requirement::Tag
            | Requirement::Promoter
            | Requirement::NotFrozen
            | Requirement::NotRevoked
            | Requirement::PastKnown
            | Requirement::Deployed
            | Requirement::Approvals
            | Requirement::Permit => true,
            // Nobody keeps what witnesses would have said, had they been asked.
            Requirement::ControlFresh => {
                old.control_max_staleness().is_some() && new.control_max_staleness().is_some()
            }
        };
        let told: Vec<bool> = verdict.findings.iter().map(told).collect();
        told.into_iter()
            .zip(&verdict.findings)
            .map(|(told, finding)| told || !finding.against.is_empty())
            .collect()
    }

    /// The roots that were kept, and those that the other policy takes without asking anybody.
    fn roots_for(&self, other: &Policy) -> Result<Vec<Root>, RootName> {
        let mut roots = self.trust.roots().to_vec();
        for rule in other.roots().filter(|rule| !self.trust.roots().iter().any(|it| it.name() == rule.name()))
        {
            match rule.unconditional() {
                Some(root) => roots.push(root.clone()),
                None => return Err(rule.name().clone()),
            }
        }
        Ok(roots)
    }
}
