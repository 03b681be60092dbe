//! What whoever decided has to have seen, whatever the record says that he had.
//!
//! The heads in a record are its author's word. A promoter who asked no gate could name those of a quieter day: nothing
//! was revoked then, nothing removed. Two things bound that from below, and need no word of his:
//! - who names the root of a control lane has seen it, so that the lane was that long when his record was appended; and
//!   the gate reads the main lane before it reads the control lane;
//! - before a commit the gate looks again at both lanes, once its intent is in the log.
//!
//! What was appended between the first look and the intent, and takes no yes away, is nobody's fault.

use super::{Difference, Recorded, ReplayError};
use crate::gate::{Decision, decide};
use crate::ledger::{Filter, Ledger};
use crate::record::{Phase, Position, TreeHead, claimed_control};
use crate::tlog::{SignedCheckpoint, Whole};

/// How many records are read at once.
const AT_ONCE: u64 = 4096;

/// A control lane that was there, and the record that shows it.
#[derive(Clone, Copy)]
struct Shown {
    head: TreeHead,
    by: u64,
}

impl Recorded {
    /// What the heads that the record names leave out, as differences.
    pub(super) fn overlooked(&self, ledger: &Ledger) -> Result<Vec<Difference>, ReplayError> {
        let (at, lane) = (ledger.tip()?, ledger.control()?);
        let mut differences = Vec::new();
        // 1. The control lane of the first look is no shorter than records show that it had read.
        let basis = self.basis();
        if let Some(shown) = shown(ledger, &at, &lane, basis.observed.size)?
            && shown.head.size > basis.control.size
        {
            differences.push(Difference {
                what: "control".to_owned(),
                expected: format!("decided on {} control records", basis.control.size),
                found: format!(
                    "record {}, which it had read, shows that there were {}",
                    shown.by, shown.head.size
                ),
            });
        }
        // 2. The second look, which no record tells of, would have been a yes too.
        if let (Phase::Commit, Some(intent)) = (self.promotion.phase, self.promotion.intent) {
            differences.extend(self.second_look(ledger, (&at, &lane), intent)?);
        }
        Ok(differences)
    }

    fn second_look(
        &self,
        ledger: &Ledger,
        (at, lane): (&SignedCheckpoint, &Whole),
        intent: Position,
    ) -> Result<Option<Difference>, ReplayError> {
        // What the author of the intent had seen is shown by it as by any other record.
        let shown = shown(ledger, at, lane, intent.index + 1)?.map(|shown| shown.head);
        let mut basis = self.basis().clone();
        basis.control = shown.filter(|head| head.size > basis.control.size).unwrap_or(basis.control);
        if intent.index >= basis.observed.size {
            let entry = ledger.read(at, intent.index)?;
            basis.observed = TreeHead { size: intent.index, root: entry.root_before() };
        }
        if basis == *self.basis() {
            return Ok(None);
        }
        let target = self.target(&self.policy)?;
        let evidence = self.evidence_on(ledger, &target, &self.trust, &basis)?;
        let Decision::Denied(denied) = decide(&target, &evidence) else { return Ok(None) };
        let codes: Vec<String> = denied.verdict().codes().iter().map(ToString::to_string).collect();
        Ok(Some(Difference {
            what: "second look".to_owned(),
            expected: format!("approved again, once intent {} was in the log", intent.index),
            found: format!(
                "denied by what was there by then, {} records and {} control records: {}",
                basis.observed.size,
                basis.control.size,
                codes.join(", ")
            ),
        }))
    }
}

/// The longest control lane that a record below `size` shows. Whose record it is does not matter: nobody can name the
/// root of a lane that is not there yet.
fn shown(
    ledger: &Ledger,
    at: &SignedCheckpoint,
    lane: &Whole,
    size: u64,
) -> Result<Option<Shown>, ReplayError> {
    let everything = Filter { service: None, environment: None, kind: None, limit: usize::MAX };
    let mut longest: Option<Shown> = None;
    let size = size.min(at.size());
    for from in (0..size).step_by(AT_ONCE as usize) {
        for entry in ledger.log(at, from..size.min(from + AT_ONCE), &everything)? {
            let Some(head) = claimed_control(entry.bytes()) else { continue };
            let longer = longest.is_none_or(|longest| head.size > longest.head.size);
            if longer && lane.root_at(head.size) == Some(head.root) {
                longest = Some(Shown { head, by: entry.index() });
            }
        }
    }
    Ok(longest)
}
