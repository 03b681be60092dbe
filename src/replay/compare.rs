//! What was recorded beside what the gate says now.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use super::Recorded;
use crate::gate::{Decision, Verdict};
use crate::record::{Rationale, Resource};

/// A decision that was made again.
#[derive(Debug)]
pub struct Replayed {
    decision: Decision,
    differences: Vec<Difference>,
}

/// One thing that is not as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// `decision`, `image`, `evidence`, the requirement; or `control` and `second look`, where whoever decided has to have
    /// seen more than the record says.
    pub what: String,
    /// As it was recorded.
    pub expected: String,
    /// As it is now.
    pub found: String,
}

impl Replayed {
    /// What the gate says now.
    pub fn verdict(&self) -> &Verdict {
        self.decision.verdict()
    }

    /// Whether it says yes.
    pub fn approved(&self) -> bool {
        match self.decision {
            Decision::Approved(_) => true,
            Decision::Denied(_) => false,
        }
    }

    /// Everything that is not as it was recorded; none: it is the same decision.
    pub fn differences(&self) -> &[Difference] {
        &self.differences
    }

    /// The same, with what was found beside the decision.
    pub(super) fn with(mut self, found: Vec<Difference>) -> Self {
        self.differences.extend(found);
        self
    }

    pub(super) fn compare(recorded: &Recorded, decision: Decision) -> Self {
        let verdict = decision.verdict();
        let promotion = recorded.promotion();
        let mut differences = Vec::new();
        let mut differs = |what: &str, expected: String, found: String| {
            if expected != found {
                differences.push(Difference { what: what.to_owned(), expected, found });
            }
        };
        // 1. Yes or no.
        let word = |approved| if approved { "approved" } else { "denied" }.to_owned();
        let approved = matches!(decision, Decision::Approved(_));
        differs("decision", word(recorded.approved()), word(approved));
        // 2. About the same bytes, for the same place.
        let image = |subjects: &crate::record::Subjects| {
            let platforms: BTreeSet<String> =
                subjects.platforms.iter().map(|(digest, _)| digest.to_string()).collect();
            let platforms: Vec<String> = platforms.into_iter().collect();
            format!("{} with {}", subjects.image, platforms.join(", "))
        };
        differs("image", image(recorded.record().subjects()), image(&verdict.subjects()));
        // 3. Every requirement, in order: how it stands. In what words says the version, and where evidence lay.
        let (then, now) = (&promotion.rationale, verdict.rationale());
        let stands = |line: Option<&Rationale>| match line {
            None => "not asked for".to_owned(),
            Some(Rationale { code: Some(code), found, .. }) => format!("{code}: {found}"),
            Some(Rationale { code: None, found, .. }) => format!("met: {found}"),
        };
        for place in 0..then.len().max(now.len()) {
            let (before, after) = (then.get(place), now.get(place));
            let key = |line: &Rationale| (line.requirement.clone(), line.code.clone());
            if before.map(key) == after.map(key) {
                continue;
            }
            let name = before.or(after).map(|line| line.requirement.as_str()).unwrap_or_default();
            differs(name, stands(before), stands(after));
        }
        // 4. By the same evidence.
        let (then, now) = (promotion.evidence.iter().collect(), verdict.evidence());
        let now: BTreeSet<&Resource> = now.iter().collect();
        let only = |one: &BTreeSet<&Resource>, other: &BTreeSet<&Resource>| {
            let only = one.difference(other).map(|it| format!("{} {}", it.uri, it.digest.0));
            only.collect::<Vec<_>>().join(", ")
        };
        let none = |text: String| if text.is_empty() { "nothing else".to_owned() } else { text };
        if then != now {
            differs("evidence", none(only(&then, &now)), none(only(&now, &then)));
        }
        Self { decision, differences }
    }
}
