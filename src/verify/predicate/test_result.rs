//! Test Result v0.1 (in-toto/attestation, `spec/predicates/test-result.md`).

use super::read::Place;
use super::{PredicateError, TEST_RESULT};
use crate::digest::{Digest, shorten};
use crate::verify::Attestation;

/// How a run of tests ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestOutcome {
    /// Everything passed.
    Passed,
    /// Everything passed, something with a warning.
    Warned,
    /// Something failed.
    Failed,
}

impl std::fmt::Display for TestOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Passed => "PASSED",
            Self::Warned => "WARNED",
            Self::Failed => "FAILED",
        })
    }
}

/// One entry of `configuration`, an in-toto ResourceDescriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Its `name`.
    pub name: Option<String>,
    /// Its `digest.sha256`.
    pub digest: Option<Digest>,
}

/// One run of a test suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestResult {
    /// `result`.
    pub outcome: TestOutcome,
    /// `configuration`, in the order written.
    pub configuration: Vec<Configuration>,
    /// `passedTests`.
    pub passed: Vec<String>,
    /// `failedTests`.
    pub failed: Vec<String>,
}

impl TestResult {
    /// Reads a test result.
    ///
    /// # Errors
    /// [`PredicateError`] when it is of another kind, or not what the specification says.
    pub fn read(attestation: &Attestation) -> Result<Self, PredicateError> {
        if attestation.predicate_type() != TEST_RESULT {
            let found = shorten(attestation.predicate_type());
            return Err(PredicateError::PredicateType { found, expected: "a test result v0.1" });
        }
        let root = Place::root(attestation.predicate());
        // 1. `result`, required
        let result = root.need("result")?;
        let outcome = match result.text()? {
            "PASSED" => TestOutcome::Passed,
            "WARNED" => TestOutcome::Warned,
            "FAILED" => TestOutcome::Failed,
            found => return Err(result.word(found, "PASSED, WARNED or FAILED")),
        };
        // 2. `configuration`, required
        let configuration = root.need("configuration")?.elements()?;
        let configuration = configuration.iter().map(resource).collect::<Result<_, _>>()?;
        // 3. the lists, optional
        let list = |name| root.member(name)?.map_or(Ok(Vec::new()), |list| list.texts());
        let (passed, failed) = (list("passedTests")?, list("failedTests")?);
        list("warnedTests")?;
        Ok(Self { outcome, configuration, passed, failed })
    }
}

fn resource(place: &Place<'_>) -> Result<Configuration, PredicateError> {
    let name = place.member("name")?.map(|name| name.text().map(str::to_owned)).transpose()?;
    let digest = match place.member("digest")? {
        Some(digests) => digests.member("sha256")?,
        None => None,
    };
    let digest = match digest {
        Some(digest) => {
            let text = digest.text()?;
            let wrong = |_| digest.word(text, "64 lowercase hexadecimal digits");
            Some(Digest::from_hex(text).map_err(wrong)?)
        }
        None => None,
    };
    Ok(Configuration { name, digest })
}
