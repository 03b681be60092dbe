//! `ledger verify`: everything recomputed.

use samebits::ledger::review::review;
use samebits::record::TreeHead;

use crate::Outcome;
use crate::output::LedgerAudit;
use crate::session::Session;
use crate::trouble::{Trouble, undecided};

pub(crate) fn verify(session: &Session<'_>) -> Result<Outcome, Trouble> {
    let ledger = session.ledger()?;
    let audit = review(&ledger, &session.trust).map_err(undecided)?;
    let checkpoint = audit.checkpoint();
    let report = LedgerAudit {
        schema: LedgerAudit::SCHEMA,
        intact: audit.is_clean(),
        origin: checkpoint.origin().to_string(),
        ledger: Some(TreeHead { size: checkpoint.size(), root: checkpoint.root() }),
        records: checkpoint.size(),
        findings: audit.findings().iter().map(ToString::to_string).collect(),
    };
    session.outputs.emit(&report).map_err(undecided)?;
    Ok(if audit.is_clean() { Outcome::Yes } else { Outcome::No })
}
