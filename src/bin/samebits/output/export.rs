//! What `ledger export`, `ledger prove` and `ledger verify PATH` print.

use std::fmt::Write as _;

use samebits::digest::Digest;
use samebits::export::{Missing, Part};
use samebits::record::TreeHead;
use samebits::tlog::Vkey;
use schemars::JsonSchema;
use serde::Serialize;

use crate::report::{BAD, DIM, GOOD, Report, WARN, clean};

/// The answer of `ledger export`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Exported {
    /// `https://samebits.dev/schema/export.schema.json`
    pub(crate) schema: &'static str,
    /// The folder or archive.
    pub(crate) path: String,
    /// The log's name.
    pub(crate) origin: String,
    /// What was asked for; nothing where it is the whole log.
    pub(crate) part: Part,
    /// The head of the log.
    pub(crate) ledger: TreeHead,
    /// The head of its control lane, which is always whole.
    pub(crate) control: TreeHead,
    /// How many records were written.
    pub(crate) records: usize,
    /// How many pieces that decisions relied on.
    pub(crate) evidence: usize,
    /// What they relied on and the ledger no longer has.
    pub(crate) missing: Vec<Missing>,
}

impl Exported {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/export.schema.json";
}

impl Report for Exported {
    fn text(&self) -> String {
        let mut text = format!(
            "wrote {}: {} of {} records, {} control records, {} pieces of evidence\n",
            clean(&self.path),
            self.records,
            self.ledger.size,
            self.control.size,
            self.evidence
        );
        for Missing { record, digest } in &self.missing {
            let _ = writeln!(text, "  {BAD}gone{BAD:#}  {digest}, which record {record} relied on");
        }
        text
    }
}

/// The answer of `ledger prove`, and of `ledger verify` of one proof.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Proof {
    /// `https://samebits.dev/schema/proof.schema.json`
    pub(crate) schema: &'static str,
    /// Whether the record is shown to be in the log.
    pub(crate) proved: bool,
    /// The record.
    pub(crate) record: u64,
    /// The digest of its bytes.
    pub(crate) digest: Digest,
    /// The key of the log.
    pub(crate) vkey: Vkey,
    /// The head that the proof leads to; none where it leads to none.
    pub(crate) ledger: Option<TreeHead>,
    /// The proof (C2SP tlog-proof).
    pub(crate) proof: String,
    /// The files that were written.
    pub(crate) files: Vec<String>,
    /// Why it is not shown.
    pub(crate) why: Option<String>,
    /// Whether the text form is the proof itself.
    #[serde(skip)]
    pub(crate) bare: bool,
}

impl Proof {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/proof.schema.json";
}

impl Report for Proof {
    fn text(&self) -> String {
        if self.bare {
            return self.proof.clone();
        }
        let mut text: String = self.files.iter().map(|file| format!("wrote {}\n", clean(file))).collect();
        let _ = match (&self.why, self.ledger) {
            (None, Some(head)) => writeln!(
                text,
                "{GOOD}proved{GOOD:#}  {} is record {} of {} records with root {} of {}",
                self.digest,
                self.record,
                head.size,
                head.root,
                self.vkey.origin()
            ),
            (why, _) => writeln!(
                text,
                "{BAD}not proved{BAD:#}  record {}: {}",
                self.record,
                clean(why.as_deref().unwrap_or_default())
            ),
        };
        text
    }
}

/// The answer of `ledger verify` of an export.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExportAudit {
    /// `https://samebits.dev/schema/export-audit.schema.json`
    pub(crate) schema: &'static str,
    /// Whether everything in it is as it was signed, and all of that could be checked.
    pub(crate) intact: bool,
    /// The folder or archive.
    pub(crate) path: String,
    /// The log's name, where a signed head says it.
    pub(crate) origin: Option<String>,
    /// The signed head of the log.
    pub(crate) ledger: Option<TreeHead>,
    /// The signed head of its control lane.
    pub(crate) control: Option<TreeHead>,
    /// How many records are in it, and shown to be in the log.
    pub(crate) records: u64,
    /// Whether that is all of the log.
    pub(crate) whole: bool,
    /// Whose key it was checked with.
    pub(crate) key: KeyOf,
    /// The records whose signature nobody could check with what is in it; with any, the exit code is 3.
    pub(crate) unchecked: Vec<Unchecked>,
    /// The same of the records of the control lane.
    pub(crate) unchecked_control: Vec<Unchecked>,
    /// The keys in it that no record in it names: none of them was believed.
    pub(crate) unnamed: Vec<String>,
    /// What is not right.
    pub(crate) findings: Vec<String>,
}

/// A record that nobody could check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Unchecked {
    /// Its index.
    pub(crate) record: u64,
    /// What there is not to check it with.
    pub(crate) why: String,
}

/// Where the log's key came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KeyOf {
    /// It was typed.
    Given,
    /// The policy file has it.
    Policy,
    /// The export brought it: it says nothing of whose log this is.
    Export,
}

impl ExportAudit {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/export-audit.schema.json";
}

impl Report for ExportAudit {
    fn text(&self) -> String {
        let (word, style) = match (self.intact, self.findings.is_empty()) {
            (true, _) => ("intact", GOOD),
            (false, true) => ("not all could be checked", WARN),
            (false, false) => ("not intact", BAD),
        };
        let origin = clean(self.origin.as_deref().unwrap_or("no signed head"));
        let of = self.ledger.map_or_else(String::new, |head| format!(" of {}", head.size));
        let control = self.control.map_or(0, |head| head.size);
        let mut text = format!(
            "{style}{word}{style:#}  {}: {origin}, {}{of} records and {control} control records\n",
            clean(&self.path),
            self.records
        );
        for finding in &self.findings {
            let _ = writeln!(text, "  {BAD}✗{BAD:#} {}", clean(finding));
        }
        let mut note = |words: &str| {
            let _ = writeln!(text, "  {WARN}!{WARN:#} {words}");
        };
        if self.key == KeyOf::Export {
            note("checked with the key that it brings along: this says nothing of whose log it is (--vkey)");
        }
        if !self.whole {
            note("a part of the log: what is not in it, nobody can tell from it");
        }
        for file in &self.unnamed {
            note(&format!("{} was not believed: no record in it names that key", clean(file)));
        }
        let all = [("record", &self.unchecked), ("control record", &self.unchecked_control)];
        for (what, Unchecked { record, why }) in
            all.iter().flat_map(|(what, unchecked)| unchecked.iter().map(move |it| (what, it)))
        {
            note(&format!("{what} {record} could not be checked: {}", clean(why)));
        }
        if all.iter().any(|(_, unchecked)| !unchecked.is_empty()) {
            note("expected the keys and roots of their signers, named by the rules of a record in it");
        }
        if let Some(head) = &self.ledger {
            let _ = writeln!(text, "{DIM}signed head: {} records, root {}{DIM:#}", head.size, head.root);
        }
        text
    }
}
