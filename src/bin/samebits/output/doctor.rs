//! What `doctor` found, as it is printed.

use samebits::doctor::{Code, Finding, Forge, Looked, Place, Skipped};
use schemars::JsonSchema;
use serde::Serialize;

/// The answer of `doctor`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Diagnosis {
    /// `https://samebits.dev/schema/doctor.schema.json`
    pub(crate) schema: &'static str,
    /// What is left open, in the order of files and lines.
    pub(crate) findings: Vec<LeftOpen>,
    /// What was looked at.
    pub(crate) looked: Vec<String>,
    /// What there was no way to look at, and why; none of it counts as fine.
    pub(crate) skipped: Vec<Skipped>,
    /// What should have been looked at and could not be read; without findings the exit code is 3.
    pub(crate) untold: Vec<Skipped>,
}

/// One thing that is left open.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LeftOpen {
    /// What kind; docs/doctor.md.
    pub(crate) code: Code,
    /// The file, from the root of the repository.
    pub(crate) file: Option<String>,
    /// The line, from 1.
    pub(crate) line: Option<usize>,
    /// The column, from 1.
    pub(crate) column: Option<usize>,
    /// The forge, where it is no file.
    pub(crate) forge: Option<Forge>,
    /// The forge's environment, where it is no file.
    pub(crate) environment: Option<String>,
    /// What stands there, and what that lets happen.
    pub(crate) found: String,
    /// What should stand there.
    pub(crate) expected: String,
    /// A line to write, or something to do.
    pub(crate) fix: String,
    /// Where, in words.
    #[serde(skip)]
    pub(crate) place: String,
}

impl Diagnosis {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/doctor.schema.json";

    pub(crate) fn new(looked: Looked) -> Self {
        let Looked { findings, looked, skipped, untold } = looked;
        let findings = findings.into_iter().map(LeftOpen::new).collect();
        Self { schema: Self::SCHEMA, findings, looked, skipped, untold }
    }
}

impl LeftOpen {
    fn new(finding: Finding) -> Self {
        let Finding { place, code, found, expected, fix } = finding;
        let said = place.to_string();
        let (file, line, column, forge, environment) = match place {
            Place::File { file, line, column } => (Some(file), Some(line), Some(column), None, None),
            Place::Environment { forge, name } => (None, None, None, Some(forge), Some(name)),
        };
        Self { code, file, line, column, forge, environment, found, expected, fix, place: said }
    }
}
