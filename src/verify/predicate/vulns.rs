//! Vulnerability scans, vulns v0.1 and v0.2 (in-toto/attestation, `vulns.md`, `vulns_02.md`).
//!
//! cosign's `https://cosign.sigstore.dev/attestation/vuln/v1` is not read: its `result` is whatever the scanner
//! prints, which no specification fixes.

use jiff::Timestamp;

use super::read::Place;
use super::{PredicateError, VULNS_V0_1, VULNS_V0_2};
use crate::digest::shorten;
use crate::verify::Attestation;

/// A severity, mildest first (CVSS v3.1, section 5 "Qualitative severity rating scale").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// 0.0, and what scanners call negligible or informational.
    None,
    /// 0.1 to 3.9.
    Low,
    /// 4.0 to 6.9.
    Medium,
    /// 7.0 to 8.9.
    High,
    /// 9.0 to 10.0.
    Critical,
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

/// One vulnerability that a scanner found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its identifier, as in `CVE-2021-44228`.
    pub id: String,
    /// The worst severity that could be read.
    pub severity: Option<Severity>,
    /// Something about its severity could not be read: it may be worse.
    pub unclear: bool,
}

/// What a scanner found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vulns {
    /// `scanner.result`; nothing found is an empty list.
    pub findings: Vec<Finding>,
    /// `metadata.scanFinishedOn`.
    pub finished: Timestamp,
}

impl Vulns {
    /// Reads a scan.
    ///
    /// # Errors
    /// [`PredicateError`] when it is of another kind, or not what the specification says.
    pub fn read(attestation: &Attestation) -> Result<Self, PredicateError> {
        let found = attestation.predicate_type();
        if ![VULNS_V0_1, VULNS_V0_2].contains(&found) {
            let expected = "a vulnerability scan v0.1 or v0.2";
            return Err(PredicateError::PredicateType { found: shorten(found), expected });
        }
        let root = Place::root(attestation.predicate());
        // 1. scanner.uri, required
        let scanner = root.need("scanner")?;
        scanner.need("uri")?.text()?;
        // 2. scanner.result, required; empty says that nothing was found
        let result = scanner.need("result")?.elements()?;
        let findings = result.iter().map(|place| finding(place, found)).collect::<Result<_, _>>()?;
        // 3. metadata.scanFinishedOn, required
        let finished = root.need("metadata")?.need("scanFinishedOn")?.time()?;
        Ok(Self { findings, finished })
    }
}

/// v0.1 has the members in `vulnerability` by its text and beside it by its example; both at once are nobody's.
fn finding(place: &Place<'_>, predicate_type: &str) -> Result<Finding, PredicateError> {
    let nested = match predicate_type {
        VULNS_V0_1 => place.member("vulnerability")?,
        _ => None,
    };
    let at = match (nested, place.member("id")?) {
        (Some(nested), Some(flat)) => {
            let (one, other) = (nested.path().to_owned(), flat.path().to_owned());
            return Err(PredicateError::Contradiction { one, other });
        }
        (Some(nested), None) => nested,
        (None, _) => place.clone(),
    };
    let id = at.need("id")?.text()?.to_owned();
    // "severity, required object … contains a list": one object is a list of one.
    let severity = at.need("severity")?;
    let scores = match severity.is_object() {
        true => vec![severity],
        false => severity.elements()?,
    };
    let (mut worst, mut unclear) = (None, false);
    for score in &scores {
        match rate(score.need("method")?.text()?, score.need("score")?.text()?) {
            Rating::Is(severity) => worst = worst.max(Some(severity)),
            Rating::Unclear => unclear = true,
            Rating::OfSomethingElse => {}
        }
    }
    Ok(Finding { id, severity: worst, unclear: unclear || worst.is_none() })
}

enum Rating {
    Is(Severity),
    /// A severity that cannot be read: a vector, a word nobody knows.
    Unclear,
    /// A number that is no severity, as the probability of EPSS is none.
    OfSomethingElse,
}

/// A word is a severity whatever its method; a number is one where the method is a CVSS.
fn rate(method: &str, score: &str) -> Rating {
    let (method, word) = (method.to_ascii_lowercase(), score.to_ascii_lowercase());
    let rates = ["cvss", "nvd", "ghsa"].iter().any(|known| method.contains(known));
    match (word.as_str(), score.parse::<f64>()) {
        ("critical", _) => Rating::Is(Severity::Critical),
        ("high" | "important", _) => Rating::Is(Severity::High),
        ("medium" | "moderate", _) => Rating::Is(Severity::Medium),
        ("low", _) => Rating::Is(Severity::Low),
        ("none" | "negligible" | "informational", _) => Rating::Is(Severity::None),
        (_, Ok(number)) if rates => match number {
            0.0 => Rating::Is(Severity::None),
            number if number > 0.0 && number < 4.0 => Rating::Is(Severity::Low),
            number if (4.0..7.0).contains(&number) => Rating::Is(Severity::Medium),
            number if (7.0..9.0).contains(&number) => Rating::Is(Severity::High),
            number if (9.0..=10.0).contains(&number) => Rating::Is(Severity::Critical),
            _ => Rating::Unclear,
        },
        (_, Ok(_)) => Rating::OfSomethingElse,
        (_, Err(_)) => Rating::Unclear,
    }
}
