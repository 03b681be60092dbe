//! Attestations that must be there: which kind, by whom, and what they must say.

use super::*;
use crate::policy::attestation::{AttestationKind as Kind, WORDS};
use crate::verify::predicate::{self, Level, Severity, is_version_of};
use crate::verify::{COSIGN_SIGN, MESSAGE_SIGNATURE, SIMPLE_SIGNING, provenance};

/// Everything that this program signs, and its verdicts: none of it is evidence here (B3).
const OURS: &str = "https://samebits.dev";

impl Check<'_> {
    pub(super) fn attestations(
        &mut self,
        list: &At<Vec<raw::Attestation>>,
        after: &[After],
    ) -> Vec<AttestationRule> {
        if list.value.is_empty() {
            self.errors.push(&list.span, Problem::EmptyList);
        }
        list.value.iter().filter_map(|raw| self.attestation(raw, after)).collect()
    }

    fn attestation(&mut self, raw: &raw::Attestation, after: &[After]) -> Option<AttestationRule> {
        let before = self.errors.problems().count();
        let signer = self.signer_name(&raw.signer);
        let kind = self.attestation_kind(raw, after);
        let fields = raw.fields.as_ref().map(|fields| self.fields(fields, "fields"));
        let cel = raw.cel.as_ref().and_then(|text| {
            let problem = |source| Problem::Expression { text: shorten(&text.value), source };
            self.errors.keep(&text.span, Expression::parse(&text.value), problem)
        });
        let max_age = raw.max_age.as_ref().and_then(|text| self.duration(text));
        let warn_until = raw.warn_until.as_ref().map(|date| date.value);
        // What could not be read must not become no rule.
        let read = self.errors.problems().count() == before;
        let rule = AttestationRule {
            signer: signer?,
            kind: kind?,
            fields: fields.map_or(Some(Vec::new()), |fields| fields)?,
            cel,
            max_age,
            warn_until,
        };
        read.then_some(rule)
    }

    fn attestation_kind(&mut self, raw: &raw::Attestation, after: &[After]) -> Option<Kind> {
        match raw.kind.value.as_str() {
            "test-result" => Some(Kind::TestResult(TestRule {
                after_deployment: match &raw.after_deployment {
                    Some(text) => Some(self.predecessor_named(text, after)?),
                    None => None,
                },
                configuration: self.texts(raw.configuration.as_ref()),
                tests: self.texts(raw.tests.as_ref()),
            })),
            "spdx" => Some(Kind::Spdx),
            "cyclonedx" => Some(Kind::CycloneDx),
            "vulns" => self.vulns(raw).map(Kind::Vulns),
            "vsa" => {
                let verifier = self.verifier(raw.verifier.as_ref()?);
                let resource_uri = self.template(raw.resource_uri.as_ref()?);
                let levels = raw.levels.as_ref().map(|list| self.levels(list)).unwrap_or_default();
                let policy = match &raw.policy {
                    Some(text) => Some(self.exact(text)?),
                    None => None,
                };
                Some(Kind::Vsa(VsaRule { verifier: verifier?, resource_uri: resource_uri?, levels, policy }))
            }
            "svr" => {
                let verifier = self.verifier(raw.verifier.as_ref()?);
                let properties = self.texts(raw.properties.as_ref());
                Some(Kind::Svr(SvrRule { verifier: verifier?, properties }))
            }
            _ => self.other_kind(raw),
        }
    }

    /// A full predicate type: a URI (in-toto v1, "TypeURI") that has no word and no part of the policy of its own.
    fn other_kind(&mut self, raw: &raw::Attestation) -> Option<Kind> {
        let (text, span) = (raw.kind.value.as_str(), &raw.kind.span);
        let found = || shorten(text);
        let uri =
            text.starts_with("https://") && text.len() > 8 && text.bytes().all(|c| c.is_ascii_graphic());
        let problem = match text {
            _ if !uri => {
                let nearest = crate::policy::names::nearest(text, WORDS);
                Some(Problem::AttestationType { found: found(), nearest })
            }
            predicate::TEST_RESULT => {
                Some(Problem::AttestationHasWord { found: found(), word: "test-result" })
            }
            predicate::VULNS_V0_1 | predicate::VULNS_V0_2 => {
                Some(Problem::AttestationHasWord { found: found(), word: "vulns" })
            }
            predicate::VSA => Some(Problem::AttestationHasWord { found: found(), word: "vsa" }),
            predicate::SVR => Some(Problem::AttestationHasWord { found: found(), word: "svr" }),
            _ if is_version_of(text, predicate::SPDX) => {
                Some(Problem::AttestationHasWord { found: found(), word: "spdx" })
            }
            _ if is_version_of(text, predicate::CYCLONEDX) => {
                Some(Problem::AttestationHasWord { found: found(), word: "cyclonedx" })
            }
            provenance::V1 | provenance::V0_2 => Some(Problem::NotRequiredHere {
                found: found(),
                instead: "provenance is required in `[environments.NAME.require.provenance]`",
            }),
            COSIGN_SIGN | SIMPLE_SIGNING | MESSAGE_SIGNATURE => Some(Problem::NotRequiredHere {
                found: found(),
                instead: "signatures are required by `signed-by`",
            }),
            _ if is_ours(text) => Some(Problem::NotRequiredHere {
                found: found(),
                instead: "what this program signs counts in the ledger only",
            }),
            _ => None,
        };
        if let Some(problem) = problem {
            self.errors.push(span, problem);
            return None;
        }
        match (&raw.present, raw.fields.is_some() || raw.cel.is_some()) {
            (Some(present), says) if says || !present.value => {
                self.errors.push(&present.span, Problem::PresentHasNoMeaning);
                None
            }
            (None, false) => {
                self.errors.push(span, Problem::AttestationSaysNothing);
                None
            }
            (Some(_), _) | (None, true) => Some(Kind::Other { predicate_type: text.to_owned() }),
        }
    }

    fn vulns(&mut self, raw: &raw::Attestation) -> Option<VulnsRule> {
        let limits = raw.at_most.as_ref()?;
        let each = [
            (Severity::Critical, &limits.critical),
            (Severity::High, &limits.high),
            (Severity::Medium, &limits.medium),
            (Severity::Low, &limits.low),
        ];
        let mut at_most = BTreeMap::new();
        for (severity, limit) in each {
            if let Some(limit) = limit {
                at_most.insert(severity, self.limit(limit)?);
            }
        }
        let unknown = match &limits.unknown {
            Some(limit) => Some(self.limit(limit)?),
            None => None,
        };
        if at_most.is_empty() && unknown.is_none() {
            self.errors.push(&raw.kind.span, Problem::EmptyTable { key: "at-most" });
        }
        let vex = match &raw.vex {
            Some(text) => Some(self.signer_name(text)?),
            None => None,
        };
        if let (Some(age), None) = (&raw.vex_max_age, &vex) {
            self.errors.push(&age.span, Problem::AgeOfNothing);
        }
        let vex_max_age = raw.vex_max_age.as_ref().and_then(|text| self.duration(text));
        Some(VulnsRule { at_most, unknown, vex, vex_max_age })
    }

    fn limit(&mut self, limit: &At<i64>) -> Option<u64> {
        let problem = |_| Problem::Limit { found: limit.value.to_string() };
        self.errors.keep(&limit.span, u64::try_from(limit.value), problem)
    }

    /// An identifier of a verifier; ours is none (B3).
    fn verifier(&mut self, text: &Text) -> Option<String> {
        let verifier = self.exact(text)?;
        if is_ours(&verifier) {
            self.errors.push(&text.span, Problem::OwnVerifier { found: shorten(&verifier) });
            return None;
        }
        Some(verifier)
    }

    fn levels(&mut self, list: &At<Vec<Text>>) -> Vec<Level> {
        let mut levels = Vec::new();
        for text in self.each(list) {
            match Level::parse(&text.value) {
                Some(Level::Custom(word)) if word == "FAILED" => {
                    self.errors.push(&text.span, Problem::SlsaResult { found: shorten(&word) });
                }
                Some(level) => levels.push(level),
                None => self.errors.push(&text.span, Problem::SlsaResult { found: shorten(&text.value) }),
            }
        }
        levels
    }

    /// An environment among those that come before: only there the bytes must have run.
    fn predecessor_named(&mut self, text: &Text, after: &[After]) -> Option<EnvironmentName> {
        let mut before = after.iter().flat_map(|after| &after.any_of).map(|before| &before.environment);
        let named = before.find(|name| name.as_str() == text.value).cloned();
        if named.is_none() {
            self.errors.push(&text.span, Problem::NotAPredecessor { found: shorten(&text.value) });
        }
        named
    }

    fn texts(&mut self, list: Option<&At<Vec<Text>>>) -> Vec<String> {
        list.map(|list| self.each(list)).unwrap_or_default().iter().map(|text| text.value.clone()).collect()
    }

    pub(super) fn duration(&mut self, text: &Text) -> Option<Duration> {
        let problem = |source| Problem::Duration { found: shorten(&text.value), source };
        self.errors.keep(&text.span, crate::policy::duration::parse(&text.value), problem)
    }
}

/// This program's own place, or something below it; as written or in other letters.
fn is_ours(uri: &str) -> bool {
    let uri = uri.to_ascii_lowercase();
    uri.strip_prefix(OURS).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#', ':']))
}
