//! The main lane as files that every reader of C2SP tlog-tiles knows: `checkpoint`, `tile/<L>/<N>`,
//! `tile/entries/<N>`.
//!
//! Guarantees: `checkpoint` is written after what it covers, and what an earlier writer left out is made up for. Never
//! does: trust these files, or need them: they are derived from the commits.

use bytes::Bytes;

use super::{Slotted, error::SlotError};
use crate::ledger::LedgerError;
use crate::tlog::{EntryBundle, MAX_NOTE, SignedCheckpoint, Tile};

/// Where the newest signed note is (C2SP tlog-tiles, "Checkpoints").
pub(super) const CHECKPOINT: &str = "checkpoint";
/// So many files are put together before they are written.
const WINDOW: usize = 64;

impl Slotted {
    /// Writes the files of the log at `head` that are not there.
    pub(super) fn publish(&self, head: &SignedCheckpoint) -> Result<(), LedgerError> {
        // 1. Where the last one got to; what is no checkpoint of ours says nothing.
        let published = match self.slots.get(CHECKPOINT, MAX_NOTE) {
            Err(SlotError::TooLong { .. }) => None,
            found => found.map_err(self.reach())?,
        };
        let published = published.and_then(|note| String::from_utf8(note.into()).ok());
        let published = published.and_then(|note| self.main.open(&note).ok());
        let old = published.map_or(0, |published| published.size());
        if old >= head.size() {
            return Ok(());
        }
        // 2. Entries, then hashes, then the checkpoint that needs them.
        let bundles = EntryBundle::grown(old, head.size()).map(|bundle| self.bundle(bundle));
        let tiles = Tile::grown(old, head.size()).map(|tile| self.tile(tile));
        let mut files = Vec::new();
        for file in bundles.chain(tiles) {
            files.push(file?);
            if files.len() == WINDOW {
                self.slots.put_all(&std::mem::take(&mut files)).map_err(self.reach())?;
            }
        }
        self.slots.put_all(&files).map_err(self.reach())?;
        let note = Bytes::from(head.text().to_owned());
        self.slots.put_all(&[(CHECKPOINT.to_owned(), note)]).map_err(self.reach())
    }

    fn bundle(&self, bundle: EntryBundle) -> Result<(String, Bytes), LedgerError> {
        let entry = |index| {
            let place = || self.mirror.place().clone();
            let entry = self.mirror.tables().entry(index)?;
            entry.ok_or_else(|| LedgerError::RecordMissing { place: place(), index })
        };
        let entries = bundle.range().map(entry).collect::<Result<Vec<_>, _>>()?;
        Ok((bundle.to_string(), bundle.encode(&entries)?.into()))
    }

    fn tile(&self, tile: Tile) -> Result<(String, Bytes), LedgerError> {
        let bytes = tile.encode(|node| {
            let place = || self.mirror.place().clone();
            let hash = self.mirror.tables().node(node)?;
            hash.ok_or_else(|| LedgerError::NodeMissing { place: place(), node })
        })?;
        Ok((tile.to_string(), bytes.into()))
    }
}
