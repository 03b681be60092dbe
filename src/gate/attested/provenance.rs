//! SLSA provenance that the policy requires: every field it names, compared exactly, and the level.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde_json::Value;

use crate::digest::{Digest, shorten};
use crate::evidence::{Evidence, Found, Target};
use crate::gate::tally::{Tally, Weighed};
use crate::gate::{Code, Finding, Outcome, Requirement};
use crate::policy::{ProvenanceRule, RefRule};
use crate::verify::Attestation;
use crate::verify::provenance::level::{Grade, Level, grade};
use crate::verify::provenance::{self, Provenance, ProvenanceError};

/// SLSA provenance by the rule's signer, equal to the rule in everything that it names.
pub(in crate::gate) fn provenance(
    target: &Target<'_>,
    evidence: &Evidence,
    rule: &ProvenanceRule,
) -> Finding {
    let wanted = Wanted::of(rule, target);
    let mut statements: Vec<Statement<'_>> = evidence
        .attestations
        .iter()
        .filter(|found| [provenance::V1, provenance::V0_2].contains(&found.attestation.predicate_type()))
        .map(Statement::of)
        .collect();
    // The one that justifies most first: what is claimed does not hang on the order in which evidence was found.
    statements.sort_by_key(|statement| Reverse(statement.level()));
    let mut tally = Tally::default();
    let mut levels = BTreeMap::new();
    for statement in &statements {
        let says = |weighed: &Weighed<'_>| {
            wanted.mismatches(weighed.attestation, statement, weighed.explain).map(|()| Vec::new())
        };
        for digest in tally.weigh(target, evidence, statement.found, rule.signer(), "provenance", says) {
            levels.entry(digest).or_insert(statement);
        }
    }
    tally.discarded(evidence);
    let code = if tally.against.is_some() { Code::ProvenanceMismatch } else { Code::NoProvenance };
    let fix = wanted.fix(code, target);
    let finding = tally
        .finding(target, Requirement::Provenance, code, wanted.in_words(), "none")
        .fix(fix)
        .warn_until(rule.warn_until(), evidence.now);
    with_level(finding, target, &levels)
}

/// What a met requirement is worth: the level of what covers the root, or the lowest of the platforms'.
fn with_level(
    mut finding: Finding,
    target: &Target<'_>,
    levels: &BTreeMap<Digest, &Statement<'_>>,
) -> Finding {
    let weakest = match levels.get(&target.closure().root()) {
        Some(statement) => Some(*statement),
        None => levels.values().min_by_key(|statement| statement.level()).copied(),
    };
    match (&finding.outcome, weakest.and_then(|statement| statement.read.as_ref().ok())) {
        (Outcome::Met(_), Some((_, Grade { level, why }))) => {
            finding.found = format!("{}; SLSA Build level {level}: {why}", finding.found);
            finding.level = Some(*level);
            finding
        }
        (Outcome::Met(_) | Outcome::Unmet(_) | Outcome::Warned(..), _) => finding,
    }
}

/// A statement, read once.
struct Statement<'e> {
    found: &'e Found,
    read: Result<(Provenance, Grade), ProvenanceError>,
}

impl<'e> Statement<'e> {
    fn of(found: &'e Found) -> Self {
        let read = Provenance::read(&found.attestation).map(|provenance| {
            let grade = grade(found.attestation.author(), &provenance);
            (provenance, grade)
        });
        Self { found, read }
    }

    fn level(&self) -> Option<Level> {
        self.read.as_ref().ok().map(|(_, grade)| grade.level)
    }
}

/// The rule, filled in for one service.
struct Wanted<'r> {
    rule: &'r ProvenanceRule,
    builder: String,
    source: String,
    workflow: Option<String>,
    parameters: Vec<(&'r str, Value)>,
}

impl<'r> Wanted<'r> {
    fn of(rule: &'r ProvenanceRule, target: &Target<'_>) -> Self {
        let service = target.service().name();
        Self {
            rule,
            builder: rule.builder().fill(service),
            source: rule.source().fill(service),
            workflow: rule.workflow().map(|workflow| workflow.fill(service)),
            parameters: rule
                .parameters()
                .iter()
                .map(|parameter| (parameter.pointer(), parameter.value(service)))
                .collect(),
        }
    }

    fn in_words(&self) -> String {
        let mut words = format!(
            "SLSA provenance by `{}`: builder {}, source {}, ref {}",
            self.rule.signer(),
            self.builder,
            self.source,
            match self.rule.reference() {
                RefRule::Any => "any".to_owned(),
                RefRule::Exactly(these) => these.join(" or "),
            },
        );
        let named = [
            ("commit", self.rule.commit()),
            ("workflow", self.workflow.as_deref()),
            ("build type", self.rule.build_type()),
        ];
        for (what, text) in named.into_iter().filter_map(|(what, text)| Some((what, text?))) {
            words.push_str(&format!(", {what} {text}"));
        }
        for (pointer, value) in &self.parameters {
            words.push_str(&format!(", parameter {pointer} {value}"));
        }
        if let Some(level) = self.rule.level() {
            words.push_str(&format!(", SLSA Build level {level} or higher"));
        }
        words
    }

    fn fix(&self, code: Code, target: &Target<'_>) -> Vec<String> {
        match code {
            Code::ProvenanceMismatch => vec![format!(
                "promote an image built from {} by the builder the policy names, or change the policy in review",
                self.source
            )],
            _ => vec![format!(
                "have the build attest SLSA provenance as `{}`, for instance: cosign attest --type \
                 slsaprovenance1 --predicate provenance.json --key KEY {}",
                self.rule.signer(),
                target.image()
            )],
        }
    }

    /// What the provenance says otherwise than the rule, one line each where that is wanted.
    fn mismatches(
        &self,
        attestation: &Attestation,
        statement: &Statement<'_>,
        explain: bool,
    ) -> Result<(), Vec<String>> {
        let (said, grade) = statement.read.as_ref().map_err(|error| vec![error.to_string()])?;
        let checks = [
            self.builder == said.builder,
            self.source == said.source,
            self.good_reference(said),
            self.rule.commit().is_none_or(|commit| said.commit.as_deref() == Some(commit)),
            self.good_workflow(said),
            self.rule.build_type().is_none_or(|build_type| said.build_type == build_type),
            self.parameters.iter().all(|(pointer, value)| parameter(attestation, pointer) == Some(value)),
            self.rule.level().is_none_or(|level| grade.level >= level),
        ];
        match (checks.iter().all(|good| *good), explain) {
            (true, _) => Ok(()),
            (false, false) => Err(Vec::new()),
            (false, true) => Err(self.explain(attestation, said, grade)),
        }
    }

    fn good_reference(&self, said: &Provenance) -> bool {
        match self.rule.reference() {
            RefRule::Any => true,
            RefRule::Exactly(these) => said.reference.as_ref().is_some_and(|found| these.contains(found)),
        }
    }

    /// Instructions that lie in another repository than the source are somebody else's, unless the rule names them.
    fn good_workflow(&self, said: &Provenance) -> bool {
        match &self.workflow {
            Some(workflow) => said.workflow.as_ref() == Some(workflow),
            None => said.workflow_source.is_none(),
        }
    }

    fn explain(&self, attestation: &Attestation, said: &Provenance, grade: &Grade) -> Vec<String> {
        let mut wrong = Vec::new();
        let absent = |text: Option<&str>| text.map_or("absent".to_owned(), shorten);
        if said.builder != self.builder {
            wrong.push(format!("builder is {}", shorten(&said.builder)));
        }
        if said.source != self.source {
            wrong.push(format!("source is {}", shorten(&said.source)));
        }
        if !self.good_reference(said) {
            wrong.push(format!("ref is {}", absent(said.reference.as_deref())));
        }
        if self.rule.commit().is_some_and(|commit| said.commit.as_deref() != Some(commit)) {
            wrong.push(format!("commit is {}", absent(said.commit.as_deref())));
        }
        if !self.good_workflow(said) {
            wrong.push(match (&self.workflow, &said.workflow_source) {
                (None, Some(repository)) => format!(
                    "the build's instructions lie in {}, not in the source: name them with `workflow`",
                    shorten(repository)
                ),
                (Some(_), _) | (None, None) => format!("workflow is {}", absent(said.workflow.as_deref())),
            });
        }
        if self.rule.build_type().is_some_and(|build_type| said.build_type != build_type) {
            wrong.push(format!("build type is {}", shorten(&said.build_type)));
        }
        for (pointer, value) in &self.parameters {
            match parameter(attestation, pointer) {
                Some(found) if found == value => {}
                Some(found) => wrong.push(format!("parameter {pointer} is {}", shorten(&found.to_string()))),
                None => wrong.push(format!("parameter {pointer} is absent")),
            }
        }
        if self.rule.level().is_some_and(|level| grade.level < level) {
            wrong.push(format!("SLSA Build level is {}, not more: {}", grade.level, grade.why));
        }
        wrong
    }
}

/// What the builder was asked for, at an RFC 6901 pointer.
fn parameter<'a>(attestation: &'a Attestation, pointer: &str) -> Option<&'a Value> {
    Provenance::parameters(attestation)?.pointer(pointer)
}
