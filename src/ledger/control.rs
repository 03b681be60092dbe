//! The control lane: negative evidence, read whole or not at all.
//!
//! Guarantees: [`Ledger::control`] returns every record of the lane, its root recomputed from their bytes and compared
//! with the lane's own signed checkpoint; anything that is missing, changed or too many is an error, never "nothing is
//! revoked". Never does: notice that the whole lane was put back to an earlier state with the checkpoint of then; the
//! heads that main records say their authors saw do ([`super::review`]).

use super::protocol::{ProtocolError, Step, Writer, attempts, head};
use super::seen::{Lane, Seen, SeenBy};
use super::store::{ControlBatch, Swap};
use super::{Appended, Ledger, LedgerError, MAX_ENTRY};
use crate::digest::Digest;
use crate::evidence::Control;
use crate::record::{ControlDraft, LedgerView, Position};
use crate::tlog::{Frontier, Included, SignedCheckpoint, TlogError, Whole, leaf_hash};

impl Ledger {
    /// The whole control lane.
    ///
    /// # Errors
    /// [`LedgerError::ControlMissing`], [`LedgerError::ControlStray`], [`LedgerError::ControlChanged`],
    /// [`LedgerError::ControlCheckpoint`] where it is not the signed one; see [`LedgerError`].
    pub fn control(&self) -> Result<Whole, LedgerError> {
        self.store.refresh(Lane::Control)?;
        let _snapshot = self.tables().snapshot()?;
        self.replay_control()
    }

    /// Appends one record to the control lane, if it still has `expected_size` (compare and swap).
    ///
    /// # Errors
    /// [`LedgerError::Conflict`]: nothing was appended, read the lane again. Any other error: not known to be appended.
    pub fn append_control(&mut self, expected_size: u64, bytes: &[u8]) -> Result<Appended, LedgerError> {
        let place = || self.place().clone();
        let signer =
            self.signer.as_ref().ok_or_else(|| LedgerError::NoSigner { place: place() })?.control()?;
        if !(1..=MAX_ENTRY).contains(&bytes.len()) {
            return Err(LedgerError::EntrySize { found: bytes.len(), limit: MAX_ENTRY });
        }
        // 1. The lane is the signed one, and still the one that was read.
        self.store.refresh(Lane::Control)?;
        let lane = {
            let _snapshot = self.tables().snapshot()?;
            self.replay_control()?
        };
        let size = lane.head().size();
        if size != expected_size {
            return Err(LedgerError::Conflict { expected: expected_size, found: size });
        }
        // 2. The record, the new head.
        let mut frontier = Frontier::empty();
        let leaves = lane.entries().iter().map(Included::leaf).chain([leaf_hash(bytes)]);
        for leaf in leaves {
            frontier.push::<TlogError>(leaf, |_, _| Ok(()))?;
        }
        let checkpoint = signer
            .sign(frontier.size(), frontier.root())
            .map_err(|source| LedgerError::Sign { place: place(), source })?;
        // 3. Both, unless somebody was faster.
        let batch = ControlBatch { index: size, bytes, head: &checkpoint };
        match self.store.swap_control(lane.head(), &batch)? {
            Swap::Swapped => {
                // What was acknowledged has to be there.
                self.require(&Seen::signed(&checkpoint, SeenBy::Process))?;
                self.raise_pin()?;
                Ok(Appended { first: size, checkpoint })
            }
            Swap::Conflict => {
                self.store.refresh(Lane::Control)?;
                Err(LedgerError::Conflict { expected: size, found: self.control_tip()?.size() })
            }
        }
    }

    /// The newest checkpoint of the control lane; what it covers is not looked at.
    pub(super) fn control_tip(&self) -> Result<SignedCheckpoint, LedgerError> {
        let note = self.tables().note(Lane::Control)?;
        // The same text is not verified again.
        if let Some(same) = self.replayed.borrow().as_ref().filter(|head| head.text() == note) {
            return Ok(same.clone());
        }
        self.control
            .open(&note)
            .map_err(|source| LedgerError::ControlCheckpoint { place: self.place().clone(), source })
    }

    /// The whole lane, within a snapshot of the caller's.
    pub(super) fn replay_control(&self) -> Result<Whole, LedgerError> {
        let place = || self.place().clone();
        let tip = self.control_tip()?;
        let mut entries = Vec::new();
        for (index, bytes) in self.tables().control_entries(tip.size())? {
            let expected = entries.len() as u64;
            match u64::try_from(index) {
                Ok(found) if found == expected && found < tip.size() => entries.push(bytes),
                // A gap comes to light at the first row behind it.
                Ok(found) if found < tip.size() => {
                    return Err(LedgerError::ControlMissing { place: place(), index: expected });
                }
                Ok(_) | Err(_) => return Err(LedgerError::ControlStray { place: place(), index }),
            }
        }
        if (entries.len() as u64) < tip.size() {
            return Err(LedgerError::ControlMissing { place: place(), index: entries.len() as u64 });
        }
        let lane =
            tip.whole(entries).map_err(|source| LedgerError::ControlChanged { place: place(), source })?;
        let mut replayed = self.replayed.borrow_mut();
        if let Some(before) = &*replayed {
            self.require_lane(&lane, &Seen::signed(before, SeenBy::Process))?;
        }
        *replayed = Some(lane.head().clone());
        Ok(lane)
    }
}

/// What a control record is made from: both lanes as they are.
pub struct LaneView<'a> {
    /// The checkpoint of the main lane.
    pub at: &'a SignedCheckpoint,
    /// The control lane.
    pub lane: &'a Whole,
    /// What it says.
    pub control: &'a Control,
}

impl LaneView<'_> {
    /// The ledger as seen here, for the control record that is about to be written.
    pub fn ledger(&self, idempotency_key: Digest) -> LedgerView {
        LedgerView {
            origin: self.lane.head().origin().to_string(),
            observed: head(self.at),
            control: head(self.lane.head()),
            idempotency_key,
            prev: None,
        }
    }
}

impl Writer<'_> {
    /// Reads both lanes, lets `step` say what to append to the control lane, appends it if nothing was added there in
    /// between, else begins again. Returns the place of the record, if one was appended.
    ///
    /// # Errors
    /// Whatever `step` refuses with; [`ProtocolError::Contention`] when others were faster every time.
    pub fn append_control<T, E: From<ProtocolError>>(
        &mut self,
        mut step: impl FnMut(&LaneView<'_>) -> Result<Step<T, ControlDraft>, E>,
    ) -> Result<(Option<Position>, T), E> {
        let trouble = |error: LedgerError| E::from(ProtocolError::from(error));
        for _ in 0..attempts(self.ledger) {
            let at = self.ledger.tip().map_err(trouble)?;
            let lane = self.ledger.control().map_err(trouble)?;
            let control = Control::read(&lane, self.trust);
            let (draft, answer) = match step(&LaneView { at: &at, lane: &lane, control: &control })? {
                Step::Done(answer) => return Ok((None, answer)),
                Step::Append(draft, answer) => (draft, answer),
            };
            let bytes = draft.sign(self.signer).map_err(|error| E::from(ProtocolError::from(error)))?;
            match self.ledger.append_control(lane.head().size(), &bytes) {
                Ok(appended) => {
                    let position = Position { index: appended.first, leaf_hash: leaf_hash(&bytes) };
                    return Ok((Some(position), answer));
                }
                Err(LedgerError::Conflict { .. }) => {}
                Err(error) => return Err(trouble(error)),
            }
        }
        Err(ProtocolError::Contention { offered: false }.into())
    }
}
