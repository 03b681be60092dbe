//! `ledger copy`: the same ledger in another place.

use samebits::ledger::copy;
use samebits::record::TreeHead;
use samebits::tlog::SignedCheckpoint;
use schemars::JsonSchema;
use serde::Serialize;

use crate::Outcome;
use crate::args::LedgerCopy;
use crate::report::{DIM, GOOD, Report, clean};
use crate::session::Session;
use crate::trouble::{Trouble, undecided};

/// The answer of `ledger copy`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(title = "LedgerCopy")]
pub(crate) struct CopyReport {
    /// `https://samebits.dev/schema/ledger-copy.schema.json`
    pub(crate) schema: &'static str,
    /// The log's name.
    pub(crate) origin: String,
    /// Where it was copied from.
    pub(crate) from: String,
    /// Where it was copied to.
    pub(crate) to: String,
    /// The signed checkpoint of both.
    pub(crate) ledger: TreeHead,
    /// The signed checkpoint of both control lanes.
    pub(crate) control: TreeHead,
    /// How many pieces of evidence came with the records.
    pub(crate) evidence: usize,
}

impl CopyReport {
    pub(crate) const SCHEMA: &str = "https://samebits.dev/schema/ledger-copy.schema.json";
}

impl Report for CopyReport {
    fn text(&self) -> String {
        let Self { origin, from, to, ledger, control, evidence, .. } = self;
        format!(
            "{GOOD}copied{GOOD:#}  {}: {} records, {} control records and {evidence} pieces of evidence\n\
             {DIM}from {} to {}, read back and compared; root {}{DIM:#}\n",
            clean(origin),
            ledger.size,
            control.size,
            clean(from),
            clean(to),
            ledger.root
        )
    }
}

pub(crate) fn copy(session: &Session<'_>, args: &LedgerCopy) -> Result<Outcome, Trouble> {
    let (from, mut to) = session.ledger_and_new(&args.from, &args.to)?;
    let copied = copy::copy(&from, &mut to, &session.trust).map_err(undecided)?;
    let head = |head: &SignedCheckpoint| TreeHead { size: head.size(), root: head.root() };
    let report = CopyReport {
        schema: CopyReport::SCHEMA,
        origin: copied.main.origin().to_string(),
        from: from.place().to_string(),
        to: to.place().to_string(),
        ledger: head(&copied.main),
        control: head(&copied.control),
        evidence: copied.evidence,
    };
    session.outputs.emit(&report).map_err(undecided)?;
    Ok(Outcome::Yes)
}
