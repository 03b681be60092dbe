//! Requirements met by attestations other than signatures and provenance: tests, bills of materials, scans with VEX,
//! verdicts of others, and whatever a policy describes by its fields.
//!
//! Absent is unmet, always (`ATTACKS.md` B4). One attestation that says what the rule wants is enough, whatever others
//! say: a failed test does not take a passed one back, a VEX statement does not take back one in another document.
//! Otherwise whoever deletes evidence could turn a no into a yes. How long a good one counts is bounded by `max-age`
//! and `after-deployment`.
//!
//! Every time is taken so that it hurts the requester: of the time that a log or a timestamp authority vouches for and
//! the one that the statement claims, the earlier. A claim is the signer's word; where there is neither, nothing is
//! young enough.

use std::cell::Cell;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::history::{SKEW, deployments};
use super::tally::{Tally, Weighed, carried, subjects};
use super::{Carried, Code, Finding, Past, Requirement, counted};
use crate::digest::{Digest, shorten};
use crate::evidence::{Evidence, Found, Target};
use crate::policy::{
    AttestationKind, AttestationRule, EnvironmentName, SvrRule, TestRule, VsaRule, VulnsRule, spell_duration,
};
use crate::verify::predicate::is_version_of;
use crate::verify::predicate::{OPENVEX, Sbom, Severity, Svr, TestOutcome, TestResult, Vex, Vsa, Vulns};
use crate::verify::{Attestation, Verified};

/// An attestation of the rule's kind, by the rule's signer, that says what the rule wants and is young enough.
pub(super) fn attested(
    target: &Target<'_>,
    evidence: &Evidence,
    rule: &AttestationRule,
    past: Past,
) -> Finding {
    let (kind, signer) = (rule.kind(), rule.signer());
    let what = kind.to_string();
    let (differs, stale) = (Cell::new(false), Cell::new(false));
    let unread = Cell::new(false);
    let question = Question { target, evidence, rule, past, unread: &unread };
    let mut tally = Tally::default();
    for found in &evidence.attestations {
        if kind.is(found.attestation.predicate_type()) {
            let young = !stale.get();
            let _counted = tally.weigh(target, evidence, found, signer, &what, |weighed| {
                let (wrong, flag) = match question.content(weighed) {
                    Ok(said) => match question.young(weighed.attestation, said.claimed, rule.max_age()) {
                        Ok(()) => return Ok(said.beside),
                        Err(why) => (vec![why], &stale),
                    },
                    Err(wrong) => (wrong, &differs),
                };
                flag.set(true);
                Err(wrong)
            });
            // Too old is said before anything else.
            if young && stale.get() {
                tally.against = Some(carried(found, &[]));
            }
        }
    }
    tally.discarded(evidence);
    let (code, needed) = match (differs.get(), stale.get()) {
        (_, true) => (Code::AttestationStale, "make it again, and attest it"),
        (true, false) => (Code::AttestationMismatch, "attest it"),
        (false, false) => (Code::NoAttestation, "attest it"),
    };
    let (nothing, fix) = match unread.get() {
        true => (UNREAD, question.ask_check()),
        false => ("none", question.fix(needed)),
    };
    tally
        .finding(target, Requirement::Attestation, code, question.expected(), nothing)
        .fix(fix)
        .warn_until(rule.warn_until(), evidence.now)
}

/// One rule, asked of one image.
struct Question<'q, 'a> {
    target: &'q Target<'a>,
    evidence: &'q Evidence,
    rule: &'q AttestationRule,
    past: Past,
    /// Set where the ledger alone would tell.
    unread: &'q Cell<bool>,
}

/// What is found where the ledger was not read.
const UNREAD: &str = "not looked at here: `samebits check` does, it reads the ledger";

/// What a statement that says what the rule wants says beside it.
#[derive(Default)]
struct Said {
    /// The time that it claims.
    claimed: Option<Timestamp>,
    /// Other evidence without which it would not say enough: the audit needs it too (B5).
    beside: Vec<Carried>,
}

/// Everything that is wrong, one line each, if anything is.
type Content = Result<Said, Vec<String>>;

impl Said {
    fn at(claimed: Option<Timestamp>) -> Self {
        Self { claimed, ..Self::default() }
    }
}

impl Question<'_, '_> {
    /// What the attestation says, against what the rule wants.
    fn content(&self, weighed: &Weighed<'_>) -> Content {
        let attestation = weighed.attestation;
        let said = match self.rule.kind() {
            AttestationKind::TestResult(rule) => self.test_result(rule, weighed)?,
            AttestationKind::Spdx | AttestationKind::CycloneDx => {
                Said::at(Sbom::read(attestation).map_err(|error| vec![error.to_string()])?.created)
            }
            AttestationKind::Vulns(rule) => self.vulns(rule, weighed)?,
            AttestationKind::Vsa(rule) => self.vsa(rule, attestation)?,
            AttestationKind::Svr(rule) => svr(rule, attestation)?,
            AttestationKind::Other { .. } => Said::default(),
        };
        let mut wrong = Vec::new();
        for field in self.rule.fields() {
            let (found, wanted) =
                (attestation.predicate().pointer(field.pointer()), field.value(self.target.service().name()));
            if found != Some(&wanted) {
                let found = found.map_or("absent".to_owned(), spell);
                let wanted = spell(&wanted);
                wrong.push(format!("`{}` is {found}, not {wanted}", shorten(field.pointer())));
            }
        }
        if let Some(expression) = self.rule.cel() {
            let facts = self.facts(attestation);
            let facts: Vec<(&str, &Value)> = facts.iter().map(|(name, value)| (*name, value)).collect();
            let facts = [&facts[..], &[("predicate", attestation.predicate())]].concat();
            if let Err(refusal) = expression.holds(&facts) {
                wrong.push(format!("`{}` {refusal}", shorten(expression.as_str())));
            }
        }
        match wrong.is_empty() {
            true => Ok(said),
            false => Err(wrong),
        }
    }

    /// What an expression may name, beside the predicate.
    fn facts(&self, attestation: &Attestation) -> [(&'static str, Value); 4] {
        let subject = |subject: &crate::verify::Subject| match &subject.name {
            Some(name) => json!({ "name": name, "digest": { "sha256": subject.digest.hex() } }),
            None => json!({ "digest": { "sha256": subject.digest.hex() } }),
        };
        [
            ("subject", attestation.subjects().iter().map(subject).collect()),
            ("signer", json!(self.rule.signer().as_str())),
            ("service", json!(self.target.service().name().as_str())),
            ("environment", json!(self.target.environment().name().as_str())),
        ]
    }

    /// Passed, nothing failed, with the configuration and tests that are wanted, after the deployment (C11).
    fn test_result(&self, rule: &TestRule, weighed: &Weighed<'_>) -> Content {
        let result = TestResult::read(weighed.attestation).map_err(|error| vec![error.to_string()])?;
        let mut wrong = Vec::new();
        match result.outcome {
            TestOutcome::Passed => {}
            TestOutcome::Warned | TestOutcome::Failed => wrong.push(format!("it says {}", result.outcome)),
        }
        // The specification's own words: "it asserts the contents of `result` and that `failedTests` is empty".
        if let Some(failed) = result.failed.first() {
            wrong.push(format!("{} test(s) failed, the first is {}", result.failed.len(), shorten(failed)));
        }
        for name in rule.configuration() {
            if !result.configuration.iter().any(|found| found.name.as_deref() == Some(name)) {
                wrong.push(format!("it was not run with the configuration {}", shorten(name)));
            }
        }
        for test in rule.tests() {
            if !result.passed.contains(test) {
                wrong.push(format!("{} is not among the tests that passed", shorten(test)));
            }
        }
        if let Some(environment) = rule.after_deployment() {
            match self.past {
                Past::Read => wrong.extend(self.before_deployment(environment, &result, weighed)),
                Past::Unread => {
                    self.unread.set(self.unread.get() || wrong.is_empty());
                    wrong.push(format!(
                        "whether it came after the deployment in `{environment}` was {UNREAD}"
                    ));
                }
            }
        }
        match wrong.is_empty() {
            true => Ok(Said::default()),
            false => Err(wrong),
        }
    }

    /// Why it is not shown that the tests were attested after the image ran in the environment; `None` when it is.
    ///
    /// Shown it is by two things that nobody can back-date: a proven time behind the deployment's, or the digest of the
    /// deployment's own record in `configuration`, which nobody knows before that record is signed. A key proves no
    /// time: what it signs needs the latter. The order of the log alone says nothing here, a test result is not in it.
    fn before_deployment(
        &self,
        environment: &EnvironmentName,
        result: &TestResult,
        weighed: &Weighed<'_>,
    ) -> Option<String> {
        let root = self.target.closure().root();
        let concerned = match weighed.subjects.contains(&root) {
            true => counted(self.target),
            false => {
                let platforms = self.target.closure().platforms();
                platforms.filter(|(digest, _)| weighed.subjects.contains(digest)).collect()
            }
        };
        let proven = weighed.attestation.author().time();
        for (digest, platform) in &concerned {
            let deployed = deployments(self.target, self.evidence, environment, *digest, platform);
            let after = deployed.iter().any(|(time, record)| {
                proven.is_some_and(|proven| proven > *time)
                    || result
                        .configuration
                        .iter()
                        .any(|named| named.digest == Some(record.resource().digest.0))
            });
            if after {
                continue;
            }
            return Some(match (deployed.iter().map(|(time, _)| time).min(), proven) {
                (None, _) => format!("`{environment}` has no deployment of {platform} ({digest})"),
                (Some(time), Some(proven)) => {
                    format!("it was attested at {proven}, before the deployment in `{environment}` at {time}")
                }
                (Some(_), None) => format!(
                    "nothing shows that it was made after the deployment in `{environment}`: a key proves no time, \
                     and `configuration` does not name the deployment's record by its digest"
                ),
            });
        }
        concerned.is_empty().then(|| format!("`{environment}` has no deployment of what was tested"))
    }

    /// Not more findings than the rule lets pass, without those that the rule's VEX says do no harm.
    fn vulns(&self, rule: &VulnsRule, weighed: &Weighed<'_>) -> Content {
        let scan = Vulns::read(weighed.attestation).map_err(|error| vec![error.to_string()])?;
        let cleared = self.cleared(rule);
        let left: Vec<_> = scan
            .findings
            .iter()
            .filter(|finding| {
                !weighed
                    .subjects
                    .iter()
                    .all(|subject| cleared.iter().any(|vex| vex.clears(&finding.id, *subject)))
            })
            .collect();
        let used = |vex: &&Clearance<'_>| {
            let mut each = weighed.subjects.iter();
            each.any(|subject| scan.findings.iter().any(|finding| vex.clears(&finding.id, *subject)))
        };
        let beside = cleared.iter().filter(used).map(|vex| carried(vex.found, weighed.subjects)).collect();
        let mut wrong = Vec::new();
        let mut limit = |most: u64, which: &str, counts: &dyn Fn(Option<Severity>, bool) -> bool| {
            let over: Vec<&str> = left
                .iter()
                .filter(|finding| counts(finding.severity, finding.unclear))
                .map(|finding| finding.id.as_str())
                .collect();
            if over.len() as u64 > most {
                let named = over.iter().take(3).map(|id| shorten(id)).collect::<Vec<_>>().join(", ");
                wrong.push(format!("{} finding(s) {which}, at most {most} may be: {named}", over.len()));
            }
        };
        for (severity, most) in rule.at_most() {
            // What cannot be read counts as the worst there is, unless it has a limit of its own.
            limit(*most, &format!("{severity} or worse"), &|found, unclear| {
                found >= Some(*severity) || unclear && rule.unknown().is_none()
            });
        }
        if let Some(most) = rule.unknown() {
            limit(most, "of unknown severity", &|_, unclear| unclear);
        }
        match wrong.is_empty() {
            true => Ok(Said { claimed: Some(scan.finished), beside }),
            false => Err(wrong),
        }
    }

    /// The OpenVEX documents that count: by the signer the rule names and by nobody else (B15), young enough.
    fn cleared(&self, rule: &VulnsRule) -> Vec<Clearance<'_>> {
        let Some(signer) = rule.vex() else { return Vec::new() };
        let root = self.target.closure().root();
        let documents = self
            .evidence
            .attestations
            .iter()
            .filter(|found| is_version_of(found.attestation.predicate_type(), OPENVEX));
        documents
            .filter_map(|found| {
                let subjects = subjects(self.target, self.evidence, found, signer).ok()?;
                let document = Vex::read(&found.attestation).ok()?;
                let newest = document.statements.iter().map(|statement| statement.time);
                self.not_from_the_future(newest.chain([document.issued]).max()?).ok()?;
                self.young(&found.attestation, Some(document.issued), rule.vex_max_age()).ok()?;
                Some(Clearance { found, subjects, document, root })
            })
            .collect()
    }

    /// SLSA v1.1, `verification_summary.md`, and "How to verify" of its previous version: steps 1 to 3 (signature,
    /// subject, predicate type) were taken before.
    fn vsa(&self, rule: &VsaRule, attestation: &Attestation) -> Content {
        let vsa = Vsa::read(attestation).map_err(|error| vec![error.to_string()])?;
        let mut wrong = Vec::new();
        // 4. The verifier is the one that this signer may speak for.
        if vsa.verifier != rule.verifier() {
            wrong.push(format!("the verifier is {}", shorten(&vsa.verifier)));
        }
        // 5. The resource is the one that was meant.
        let resource = rule.resource_uri().fill(self.target.service().name());
        if vsa.resource != resource {
            wrong.push(format!("it is about {}", shorten(&vsa.resource)));
        }
        // 6. It passed.
        if !vsa.passed {
            wrong.push("it says FAILED".to_owned());
        }
        // 7. The levels are there, each by itself or by a higher one of its track.
        for level in rule.levels() {
            if !vsa.levels.iter().any(|found| found.implies(level)) {
                let found = vsa.levels.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                wrong.push(format!("it verified {found}, not {level}"));
            }
        }
        // 8. By the policy that was meant, where the rule names one.
        if rule.policy().is_some_and(|policy| policy != vsa.policy) {
            wrong.push(format!("it was verified by the policy {}", shorten(&vsa.policy)));
        }
        match wrong.is_empty() {
            true => Ok(Said::at(Some(vsa.verified))),
            false => Err(wrong),
        }
    }

    /// Whether it was made lately enough, by the earlier of what is proved and what is claimed.
    fn young(
        &self,
        attestation: &Verified<Attestation>,
        claimed: Option<Timestamp>,
        max_age: Option<Duration>,
    ) -> Result<(), String> {
        for time in [attestation.author().time(), claimed].into_iter().flatten() {
            self.not_from_the_future(time)?;
        }
        let Some(max_age) = max_age else { return Ok(()) };
        let made = match (attestation.author().time(), claimed) {
            (Some(proven), Some(claimed)) => proven.min(claimed),
            (Some(time), None) | (None, Some(time)) => time,
            (None, None) => {
                return Err(
                    "nothing shows when it was made: a key proves no time, and it states none".to_owned()
                );
            }
        };
        let age = self.evidence.now.duration_since(made);
        match SignedDuration::try_from(max_age) {
            Ok(limit) if age <= limit => Ok(()),
            Ok(_) | Err(_) => {
                Err(format!("it was made at {made}: longer ago than {}", spell_duration(max_age)))
            }
        }
    }

    fn not_from_the_future(&self, time: Timestamp) -> Result<(), String> {
        match time.duration_since(self.evidence.now) <= SKEW {
            true => Ok(()),
            false => Err(format!("it claims {time}, which has not come yet")),
        }
    }

    /// The rule in words.
    fn expected(&self) -> String {
        let rule = self.rule;
        let mut text = format!("{} by `{}`", rule.kind(), rule.signer());
        let wants = match rule.kind() {
            AttestationKind::TestResult(tests) => {
                let listed =
                    |names: &[String]| names.iter().map(|name| shorten(name)).collect::<Vec<_>>().join(", ");
                let mut wants = vec!["PASSED".to_owned()];
                wants
                    .extend(tests.after_deployment().map(|name| format!("after the deployment in `{name}`")));
                for (what, names) in [("configuration", tests.configuration()), ("tests", tests.tests())] {
                    wants.extend((!names.is_empty()).then(|| format!("{what} {}", listed(names))));
                }
                wants
            }
            AttestationKind::Spdx | AttestationKind::CycloneDx | AttestationKind::Other { .. } => Vec::new(),
            AttestationKind::Vulns(vulns) => {
                let mut wants: Vec<String> = vulns
                    .at_most()
                    .iter()
                    .rev()
                    .map(|(severity, most)| format!("at most {most} {severity} or worse"))
                    .collect();
                wants.extend(vulns.unknown().map(|most| format!("at most {most} of unknown severity")));
                wants.extend(vulns.vex().map(|signer| format!("without what VEX by `{signer}` clears")));
                wants
            }
            AttestationKind::Vsa(vsa) => {
                let resource = vsa.resource_uri().fill(self.target.service().name());
                let mut wants = vec![format!("PASSED by {} for {resource}", vsa.verifier())];
                wants.extend(vsa.levels().iter().map(ToString::to_string));
                wants.extend(vsa.policy().map(|policy| format!("policy {policy}")));
                wants
            }
            AttestationKind::Svr(svr) => {
                let mut wants = vec![format!("by {}", svr.verifier())];
                wants.extend(svr.properties().iter().map(|property| shorten(property)));
                wants
            }
        };
        let service = self.target.service().name();
        let fields = rule
            .fields()
            .iter()
            .map(|field| format!("{} is {}", shorten(field.pointer()), spell(&field.value(service))));
        let cel = rule.cel().map(|cel| format!("`{}`", shorten(cel.as_str())));
        let age = rule.max_age().map(|age| format!("not older than {}", spell_duration(age)));
        let wants: Vec<String> = wants.into_iter().chain(fields).chain(cel).chain(age).collect();
        if !wants.is_empty() {
            text.push_str(": ");
            text.push_str(&wants.join(", "));
        }
        text
    }

    fn ask_check(&self) -> Vec<String> {
        vec![format!("samebits check {} --to {}", self.target.image(), self.target.environment().name())]
    }

    fn fix(&self, needed: &str) -> Vec<String> {
        let (kind, signer) = (self.rule.kind(), self.rule.signer());
        vec![
            format!(
                "{needed} as `{signer}`, for instance: cosign attest --type {} --predicate FILE --key KEY {}",
                shorten(kind.predicate_type()),
                self.target.image()
            ),
            "see what is on it:".to_owned(),
            format!("samebits verify {} --to {}", self.target.image(), self.target.environment().name()),
        ]
    }
}

/// A JSON value in words: a text in its own quotes, so that it is nothing else.
fn spell(value: &Value) -> String {
    match value.as_str() {
        Some(text) => format!("`{}`", shorten(text)),
        None => shorten(&value.to_string()),
    }
}

/// An OpenVEX document that counts, and the manifests it is about.
struct Clearance<'e> {
    found: &'e Found,
    subjects: Vec<Digest>,
    document: Vex,
    root: Digest,
}

impl Clearance<'_> {
    /// Whether a finding in one manifest does no harm: said of that manifest, or of the whole image.
    fn clears(&self, vulnerability: &str, scanned: Digest) -> bool {
        let about = self.subjects.contains(&scanned) || self.subjects.contains(&self.root);
        about && self.document.clears(vulnerability, scanned, self.root)
    }
}

/// The verifier is the one that this signer may speak for, and every property is there.
fn svr(rule: &SvrRule, attestation: &Attestation) -> Content {
    let svr = Svr::read(attestation).map_err(|error| vec![error.to_string()])?;
    let mut wrong = Vec::new();
    if svr.verifier != rule.verifier() {
        wrong.push(format!("the verifier is {}", shorten(&svr.verifier)));
    }
    for property in rule.properties() {
        if !svr.properties.contains(property) {
            wrong.push(format!("{} is not among the properties", shorten(property)));
        }
    }
    match wrong.is_empty() {
        true => Ok(Said::at(Some(svr.created))),
        false => Err(wrong),
    }
}
