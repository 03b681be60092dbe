//! What witnesses say of a ledger, kept in it: the newest cosigned checkpoint of each lane.
//!
//! Guarantees: a [`Freshness`] is said of a lane only after every cosignature was verified, and after the lane was shown
//! to continue the cosigned head: one that is shorter was rolled back. Never does: believe what is kept; whoever can
//! write the store can take it away, and then nothing is fresh. The lanes' own checkpoints stay as the log signed them.
//!
//! Start at [`Ledger::freshness`].

use jiff::{SignedDuration, Timestamp};

use super::seen::{Lane, Seen, SeenBy};
use super::store::Swap;
use super::{Ledger, LedgerError};
use crate::digest::Digest;
use crate::evidence::Freshness;
use crate::tlog::{
    Frontier, PolicyKey, Quorum, SignedCheckpoint, TlogError, TlogPolicy, Whole, consistency_proof,
};

/// How far the clock of a witness may be ahead of ours.
pub const AHEAD: SignedDuration = SignedDuration::from_mins(1);

/// How often a cosigned checkpoint is kept again because somebody else kept one.
const ATTEMPTS: u32 = 16;

/// Seconds since 1970, as cosignatures count time; nothing before.
pub(crate) fn seconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_second()).unwrap_or(0)
}

/// Until when a cosignature counts.
fn until(now: Timestamp) -> u64 {
    seconds(now.saturating_add(AHEAD).unwrap_or(Timestamp::MAX))
}

impl Ledger {
    /// Names the witnesses whose cosignatures count from now on.
    pub fn witnessed_by(&mut self, policy: Option<TlogPolicy>) {
        self.witnesses = policy;
    }

    /// The witnesses whose cosignatures count, where any are named.
    pub fn witnesses(&self) -> Option<&TlogPolicy> {
        self.witnesses.as_ref()
    }

    /// The newest cosigned checkpoint that is kept of a lane; by which witnesses is not looked at.
    ///
    /// # Errors
    /// [`LedgerError::Cosigned`] where something else is kept; see [`LedgerError`].
    pub fn cosigned(&self, lane: Lane) -> Result<Option<SignedCheckpoint>, LedgerError> {
        self.store.cosigned(lane)?.map(|note| self.believed(lane, &note)).transpose()
    }

    fn believed(&self, lane: Lane, note: &[u8]) -> Result<SignedCheckpoint, LedgerError> {
        let vkey = match lane {
            Lane::Main => &self.vkey,
            Lane::Control => &self.control,
        };
        // What is no text is no note either.
        let note = std::str::from_utf8(note).unwrap_or_default();
        vkey.open(note).map_err(|source| self.not_cosigned(lane, source))
    }

    /// `head`, the newest of its lane, with the cosignatures that are kept of this very head; as it is without any.
    ///
    /// # Errors
    /// As [`Ledger::cosigned`].
    pub fn with_cosignatures(
        &self,
        lane: Lane,
        head: SignedCheckpoint,
    ) -> Result<SignedCheckpoint, LedgerError> {
        let kept = self.cosigned(lane)?;
        Ok(kept.filter(|kept| kept.checkpoint() == head.checkpoint()).unwrap_or(head))
    }

    fn not_cosigned(&self, lane: Lane, source: TlogError) -> LedgerError {
        LedgerError::Cosigned { place: self.place().clone(), lane, source: Box::new(source) }
    }

    /// Keeps a cosigned checkpoint of a lane, with what is kept of the same one by other witnesses, unless a later one
    /// is there. In slots, not on a branch, one that is kept in this very moment may be lost: then the lane is less
    /// fresh than it could be, and no more than that.
    ///
    /// # Errors
    /// [`LedgerError::CosignedByOthers`] where others do so without end; see [`LedgerError`].
    pub fn keep_cosigned(&self, lane: Lane, head: &SignedCheckpoint) -> Result<(), LedgerError> {
        for _ in 0..ATTEMPTS {
            let before = self.store.cosigned(lane)?;
            // What cannot be read gives way.
            let kept = before.as_deref().and_then(|note| self.believed(lane, note).ok());
            let Some(head) = self.newer(kept, head) else { return Ok(()) };
            match self.store.keep_cosigned(lane, before.as_deref(), head.text())? {
                Swap::Swapped => return Ok(()),
                Swap::Conflict => {}
            }
        }
        Err(LedgerError::CosignedByOthers { place: self.place().clone() })
    }

    /// What is to be kept in the place of `kept`, if anything is.
    fn newer(&self, kept: Option<SignedCheckpoint>, head: &SignedCheckpoint) -> Option<SignedCheckpoint> {
        let mut head = head.clone();
        if let Some(kept) = kept.filter(|kept| kept.size() >= head.size()) {
            if kept.checkpoint() != head.checkpoint() {
                return None;
            }
            for witness in self.witnesses.iter().flat_map(TlogPolicy::witnesses) {
                let PolicyKey::Ed25519(vkey) = &witness.key else { continue };
                let lines = kept.text().rsplit_once("\n\n").map_or("", |(_, lines)| lines);
                if let Ok(both) = head.cosigned(lines, vkey) {
                    head = both;
                }
            }
            if head.text() == kept.text() {
                return None;
            }
        }
        Some(head)
    }

    /// A checkpoint to prove record `index` at, to somebody who has the same witness policy: the newest, or the newest
    /// cosigned one where witnesses are named. Else the names of those whose cosignature is missing.
    ///
    /// # Errors
    /// [`LedgerError::Cosigned`] where a cosignature is wrong; see [`LedgerError`].
    pub fn vouched(
        &self,
        index: u64,
        now: Timestamp,
    ) -> Result<Result<SignedCheckpoint, Vec<String>>, LedgerError> {
        let Some(policy) = &self.witnesses else { return Ok(Ok(self.tip()?)) };
        let head = match self.cosigned(Lane::Main)?.filter(|kept| kept.size() > index) {
            Some(kept) => kept,
            None => self.tip()?,
        };
        let quorum = policy.quorum(&head, until(now));
        Ok(match quorum.map_err(|source| self.not_cosigned(Lane::Main, source))? {
            Quorum::NotRequired | Quorum::Reached(_) => Ok(head),
            Quorum::Missed { missing } => Err(missing),
        })
    }

    /// The newest checkpoint of a lane.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn lane_tip(&self, lane: Lane) -> Result<SignedCheckpoint, LedgerError> {
        match lane {
            Lane::Main => self.tip(),
            Lane::Control => self.control().map(|whole| whole.head().clone()),
        }
    }

    /// How the lane of `head` went on from `old` entries.
    ///
    /// # Errors
    /// [`LedgerError::Request`] beyond `head`; see [`LedgerError`].
    pub fn consistency(
        &self,
        lane: Lane,
        old: u64,
        head: &SignedCheckpoint,
    ) -> Result<Vec<Digest>, LedgerError> {
        match lane {
            Lane::Main => consistency_proof(old, head.size(), |node| self.node(node)),
            Lane::Control => {
                let whole = self.control()?;
                let mut nodes = std::collections::HashMap::new();
                let mut frontier = Frontier::empty();
                for entry in whole.entries() {
                    frontier.push::<TlogError>(entry.leaf(), |node, hash| {
                        nodes.insert(node, hash);
                        Ok(())
                    })?;
                }
                let missing = |node| LedgerError::NodeMissing { place: self.place().clone(), node };
                consistency_proof(old, head.size(), |node| nodes.get(&node).copied().ok_or(missing(node)))
            }
        }
    }

    /// How fresh the control lane is by its witnesses: `cosigned` was read before `lane`, so that nobody who goes on
    /// meanwhile looks like a rollback.
    ///
    /// # Errors
    /// [`LedgerError::Shorter`], [`LedgerError::Forked`] where a witness has seen more of the lane, or something else;
    /// [`LedgerError::Cosigned`] where a cosignature is wrong.
    pub fn freshness(
        &self,
        cosigned: Option<&SignedCheckpoint>,
        lane: &Whole,
        now: Timestamp,
    ) -> Result<Freshness, LedgerError> {
        if let Some(head) = cosigned {
            self.require_lane(lane, &Seen::signed(head, SeenBy::Witnesses))?;
        }
        let Some(policy) = &self.witnesses else { return Ok(Freshness::Unwitnessed) };
        let head = cosigned.unwrap_or(lane.head());
        let quorum =
            policy.quorum(head, until(now)).map_err(|source| self.not_cosigned(Lane::Control, source))?;
        Ok(match quorum {
            Quorum::NotRequired => Freshness::Unwitnessed,
            Quorum::Missed { missing } => Freshness::Missed { missing },
            Quorum::Reached(witnessed) => {
                let at = i64::try_from(witnessed.fresh_at()).unwrap_or(i64::MAX);
                let at = Timestamp::from_second(at).unwrap_or(Timestamp::MIN);
                Freshness::Cosigned { at, size: head.size(), witnesses: witnessed.witnesses().to_vec() }
            }
        })
    }
}
