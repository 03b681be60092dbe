//! The ledger: an append-only log of records, in one SQLite file or another store of bytes.
//!
//! Guarantees: every record that is read ends in an inclusion check against a [`SignedCheckpoint`]
//! ([`Included`]); an append starts from a verified checkpoint, is one compare-and-swap of it, and is durable when
//! [`Ledger::append`] returns. What it is stored in is believed nothing. Never does: read the records
//! (they are opaque bytes), decide, or promise that a query is complete: the index that queries use is an
//! untrusted cache. In slots it is recomputed as it is taken over; in a table of the newest records when a ledger is
//! pinned ([`Ledger::pin`]), and an older one may be hidden from a query (never invented) until [`Ledger::verify`]
//! names the difference. What a query returns is bound to its place in the log, not to the question: compare the
//! record's own fields.
//!
//! An error of [`Ledger::append`] other than [`LedgerError::Conflict`] means "not known to be appended": open
//! the ledger again and look for the record with [`Ledger::find_key`].
//!
//! There are two lanes in it, each a log with a checkpoint of its own: what is written above is about the main lane.
//! The control lane holds negative evidence; it is small, and read whole or not at all ([`Ledger::control`]).
//!
//! The log is C2SP: RFC 6962 tree, signed checkpoints, entries of at most 65,535 bytes (tlog-tiles, "Log
//! entries"). Start at [`Ledger::open`].

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::digest::{Digest, shorten};
use crate::evidence::Kept;
use crate::record::{ClaimedRow, Kind};
use crate::tlog::{
    Frontier, Included, Inclusions, LogSigner, Node, SignedCheckpoint, TlogError, TlogPolicy, TlogProof,
    Vkey, empty_root, inclusion_proof, leaf_hash,
};

mod audit;
pub mod control;
pub mod copy;
pub mod cosigned;
mod driver;
mod error;
mod inside;
pub mod kept;
mod known;
pub mod pin;
mod place;
mod postgres;
pub mod protocol;
pub mod review;
mod rows;
pub mod seen;
mod slots;
mod sqlite;
mod store;
pub mod target;
#[cfg(test)]
#[path = "../tests/support/peer.rs"]
mod peer;
#[cfg(test)]
mod contract;
#[cfg(test)]
pub(crate) mod faults;
#[cfg(test)]
mod tests;

pub use audit::{Audit, Finding};
pub use error::LedgerError;
use known::Known;
use pin::Pin;
pub use place::Place;
pub use postgres::PostgresError;
use seen::{Lane, Seen, SeenBy};
pub use slots::{GitError, SlotError, commit, pending};
use store::{Batch, Found, Keys, Store, Swap, Tables};

/// The longest entry in bytes (C2SP tlog-tiles: a 16-bit length).
pub const MAX_ENTRY: usize = 65_535;

/// What queries find a record by; computed from the record, and again in [`Ledger::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Its kind.
    pub kind: Kind,
    /// The service it is about.
    pub service: String,
    /// The environment it is about.
    pub environment: String,
    /// The image it is about.
    pub digest: Option<Digest>,
    /// The phase of a promotion, the status of a deployment, the decision of an approval.
    pub phase: String,
    /// What a repeated request is recognised by.
    pub idempotency_key: Option<String>,
}

impl Index {
    /// That of a record, by what its bytes say, whoever signed them: its place in the log makes the same of them for
    /// everybody. `None` where they are no record that this version can file; such an entry is inert wherever it lies.
    pub fn claimed(bytes: &[u8]) -> Option<Self> {
        let ClaimedRow { kind, service, environment, image, outcome, key } = ClaimedRow::read(bytes)?;
        let (digest, idempotency_key) = (Some(image), Some(key.to_string()));
        Some(Self { kind, service, environment, digest, phase: outcome, idempotency_key })
    }
}

/// A record to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The record: 1 to [`MAX_ENTRY`] bytes.
    pub bytes: Vec<u8>,
    /// What it is found by.
    pub index: Index,
}

/// The folders that a ledger has to do with.
#[derive(Clone, Copy, Debug)]
pub struct Folders<'a> {
    /// What relative paths start at.
    pub base: &'a Path,
    /// Where copies of ledgers may be kept that are not on this machine, with the memory of what was seen of them;
    /// without it, nothing is remembered.
    pub cache: Option<&'a Path>,
}

impl<'a> From<&'a Path> for Folders<'a> {
    fn from(base: &'a Path) -> Self {
        Self { base, cache: None }
    }
}

impl<'a> From<&'a PathBuf> for Folders<'a> {
    fn from(base: &'a PathBuf) -> Self {
        base.as_path().into()
    }
}

/// What an append made of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Appended {
    /// The index of the first new entry; the others follow.
    pub first: u64,
    /// The new head.
    pub checkpoint: SignedCheckpoint,
}

/// What [`Ledger::log`] is to return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Of this service only.
    pub service: Option<String>,
    /// Of this environment only.
    pub environment: Option<String>,
    /// Of this kind only.
    pub kind: Option<Kind>,
    /// At most so many.
    pub limit: usize,
}

/// What time it is.
pub type Clock = fn() -> Timestamp;

/// A ledger that was opened: its store has the right format and origin, its checkpoint the right signature.
pub struct Ledger {
    store: Box<dyn Store>,
    vkey: Vkey,
    /// The same key under the name of the control lane.
    control: Vkey,
    signer: Option<LogSigner>,
    /// The checkpoint that was verified last: the same text is not verified again (40 us each).
    verified: RefCell<Option<SignedCheckpoint>>,
    /// The head of the control lane that was replayed last: no later one may contradict it.
    replayed: RefCell<Option<SignedCheckpoint>>,
    /// The records that were read last: the same are not verified again.
    known: RefCell<Known>,
    /// What this user has seen, raised after every append.
    pin: Option<Pin>,
    /// Whose cosignatures count.
    witnesses: Option<TlogPolicy>,
    /// Whether the last append was combined with those of others: the next one is then left for them at once.
    crowded: bool,
    /// Says how old a record is that somebody else left.
    clock: Option<Clock>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ledger({} at {})", self.vkey.origin(), self.place())
    }
}

impl Ledger {
    /// Makes an empty ledger (and its folder) at `url`. Never overwrites.
    ///
    /// # Errors
    /// [`LedgerError::Exists`] where there is anything but an empty file; see [`LedgerError`].
    pub fn create<'a>(
        url: &str,
        folders: impl Into<Folders<'a>>,
        signer: &LogSigner,
    ) -> Result<Self, LedgerError> {
        let Folders { base, cache } = folders.into();
        let location = place::locate(url, base)?;
        let head = |signer: &LogSigner| signer.sign(0, empty_root());
        let sign = |source| LedgerError::Sign { place: location.place(), source };
        let (main, lane) = (head(signer).map_err(sign)?, signer.control()?);
        let control = head(&lane).map_err(sign)?;
        let keys = Keys { main: signer.vkey(), control: lane.vkey() };
        let store = store::create(&location, cache, keys, &main, &control)?;
        Ok(Self::over(store, keys, Some(signer.clone())))
    }

    /// Opens the ledger of `vkey` at `url`; without `signer` for reading only.
    ///
    /// # Errors
    /// [`LedgerError::Absent`], [`LedgerError::NotALedger`], [`LedgerError::Format`],
    /// [`LedgerError::OriginMismatch`], [`LedgerError::Checkpoint`], [`LedgerError::ControlCheckpoint`],
    /// [`LedgerError::WrongSigner`]; see [`LedgerError`].
    pub fn open<'a>(
        url: &str,
        folders: impl Into<Folders<'a>>,
        vkey: &Vkey,
        signer: Option<LogSigner>,
    ) -> Result<Self, LedgerError> {
        let Folders { base, cache } = folders.into();
        let location = place::locate(url, base)?;
        if let Some(found) = signer.as_ref().map(LogSigner::vkey).filter(|found| *found != vkey) {
            return Err(LedgerError::WrongSigner {
                place: location.place(),
                expected: Box::new(vkey.clone()),
                found: Box::new(found.clone()),
            });
        }
        let control = vkey.control()?;
        let keys = Keys { main: vkey, control: &control };
        Self::opened(store::open(&location, cache, keys, signer.is_some())?, keys, signer)
    }

    /// Of the right origin, both heads signed.
    fn opened(store: Box<dyn Store>, keys: Keys<'_>, signer: Option<LogSigner>) -> Result<Self, LedgerError> {
        let vkey = keys.main;
        let origin = store.tables().origin()?;
        if origin != vkey.origin().as_str() {
            return Err(LedgerError::OriginMismatch {
                place: store.place().clone(),
                expected: vkey.origin().clone(),
                found: shorten(&origin),
            });
        }
        let ledger = Self::over(store, keys, signer);
        let _verified = (ledger.head()?, ledger.control_tip()?);
        Ok(ledger)
    }

    fn over(store: Box<dyn Store>, keys: Keys<'_>, signer: Option<LogSigner>) -> Self {
        let (vkey, control) = (keys.main.clone(), keys.control.clone());
        let (verified, replayed, known) = (RefCell::default(), RefCell::default(), RefCell::default());
        let (pin, witnesses, crowded, clock) = (None, None, false, None);
        Self { store, vkey, control, signer, verified, replayed, known, pin, witnesses, crowded, clock }
    }

    /// Lets appends take along what others left in this store, as long as it is fresh by this clock. Without one nobody
    /// else's record is appended.
    pub fn combine_by(&mut self, clock: Clock) {
        self.clock = Some(clock);
    }

    /// The key that checkpoints are verified with.
    pub fn vkey(&self) -> &Vkey {
        &self.vkey
    }

    /// How the ledger is called in messages.
    pub fn place(&self) -> &Place {
        self.store.place()
    }

    /// The newest checkpoint. An older copy of the whole file has an older one: see
    /// [`Ledger::require`] and [`pin`].
    ///
    /// # Errors
    /// [`LedgerError::Checkpoint`] unless it is signed by the ledger's key; see [`LedgerError`].
    pub fn tip(&self) -> Result<SignedCheckpoint, LedgerError> {
        self.store.refresh(Lane::Main)?;
        self.head()
    }

    /// The checkpoint that is read now, without looking for what others appended.
    fn head(&self) -> Result<SignedCheckpoint, LedgerError> {
        let note = self.tables().note(Lane::Main)?;
        let mut verified = self.verified.borrow_mut();
        if let Some(same) = verified.as_ref().filter(|checkpoint| checkpoint.text() == note) {
            return Ok(same.clone());
        }
        let place = || self.place().clone();
        let tip =
            self.vkey.open(&note).map_err(|source| LedgerError::Checkpoint { place: place(), source })?;
        if let Some(before) = &*verified {
            self.require_main(&tip, &Seen::signed(before, SeenBy::Process))?;
        }
        Ok(verified.insert(tip).clone())
    }

    /// Appends `entries`, all or none, if the log still has `expected_size` entries (compare and swap).
    ///
    /// # Errors
    /// [`LedgerError::Conflict`]: nothing was appended, decide again. Any other error: not known to be
    /// appended.
    pub fn append(&mut self, expected_size: u64, entries: &[Entry]) -> Result<Appended, LedgerError> {
        self.append_with(expected_size, entries, &Kept::default())
    }

    /// [`Ledger::append`], keeping with it the bytes that the entries rely on.
    ///
    /// # Errors
    /// Those of [`Ledger::append`], and [`LedgerError::EvidenceSize`].
    pub fn append_with(
        &mut self,
        expected_size: u64,
        entries: &[Entry],
        kept: &Kept,
    ) -> Result<Appended, LedgerError> {
        let kept = kept::bounded(kept)?;
        self.append_by(expected_size, entries, |store, tip, nodes, head| {
            store.swap(tip, &Batch { first: tip.size(), entries, nodes, kept, head })
        })
    }

    /// The same, by a compare-and-swap of the caller's from one head to the next.
    fn append_by(
        &mut self,
        expected_size: u64,
        entries: &[Entry],
        swap: impl FnOnce(
            &dyn Store,
            &SignedCheckpoint,
            Vec<(Node, Digest)>,
            &SignedCheckpoint,
        ) -> Result<Swap, LedgerError>,
    ) -> Result<Appended, LedgerError> {
        let place = || self.place().clone();
        let signer = self.signer.as_ref().ok_or_else(|| LedgerError::NoSigner { place: place() })?;
        if entries.is_empty() {
            return Err(LedgerError::Empty);
        }
        if let Some(entry) = entries.iter().find(|entry| !(1..=MAX_ENTRY).contains(&entry.bytes.len())) {
            return Err(LedgerError::EntrySize { found: entry.bytes.len(), limit: MAX_ENTRY });
        }
        // What is filed wrongly stops every reader.
        for (at, Entry { bytes, index }) in entries.iter().enumerate() {
            if let Some((filed, says)) = rows::contradiction(bytes, &index.into()) {
                return Err(LedgerError::EntryRow { at, filed, says });
            }
        }
        // Who counts more entries than we know of has read further.
        if self.head()?.size() < expected_size {
            self.store.refresh(Lane::Main)?;
        }
        let mut nodes = Vec::new();
        let (tip, frontier) = {
            let _snapshot = self.tables().snapshot()?;
            // 1. The head is signed, and still the one that was decided upon.
            let tip = self.head()?;
            if tip.size() != expected_size {
                return Err(LedgerError::Conflict { expected: expected_size, found: tip.size() });
            }
            // 2. The stored right edge is the one that was signed: nothing is built on a forged one.
            let frontier = Frontier::load(tip.size(), |node| self.node(node))?;
            (tip, frontier)
        };
        if frontier.root() != tip.root() {
            let (expected, found) = (tip.root(), frontier.root());
            return Err(LedgerError::RootMismatch { place: place(), expected, found });
        }
        // 3. Every subtree the entries complete.
        let mut frontier = frontier;
        for entry in entries {
            frontier.push::<TlogError>(leaf_hash(&entry.bytes), |node, hash| {
                nodes.push((node, hash));
                Ok(())
            })?;
        }
        // 4. The new head.
        let checkpoint = signer
            .sign(frontier.size(), frontier.root())
            .map_err(|source| LedgerError::Sign { place: place(), source })?;
        // 5. All of it, unless somebody was faster.
        match swap(self.store.as_ref(), &tip, nodes, &checkpoint)? {
            Swap::Swapped => {
                // What was acknowledged has to be there.
                self.require(&Seen::signed(&checkpoint, SeenBy::Process))?;
                self.raise_pin()?;
                Ok(Appended { first: tip.size(), checkpoint })
            }
            Swap::Conflict => {
                Err(LedgerError::Conflict { expected: expected_size, found: self.tip()?.size() })
            }
        }
    }

    /// Record `index`, shown to be in the log of `at`.
    ///
    /// # Errors
    /// [`LedgerError::Request`] beyond `at`; [`LedgerError::is_tampering`] where the store contradicts it.
    pub fn read(&self, at: &SignedCheckpoint, index: u64) -> Result<Included, LedgerError> {
        self.own(at)?;
        if index >= at.size() {
            return Err(TlogError::OutOfRange { index, size: at.size() }.into());
        }
        let _together = self.tables().together()?;
        self.prove(&mut at.inclusions(), (index, self.tables().entry(index)?))
    }

    /// The records of a service in an environment, oldest first.
    ///
    /// # Errors
    /// As [`Ledger::read`].
    pub fn history(
        &self,
        at: &SignedCheckpoint,
        service: &str,
        environment: &str,
    ) -> Result<Vec<Included>, LedgerError> {
        self.history_below(at, at.size(), service, environment)
    }

    /// Those with an index below `size`.
    fn history_below(
        &self,
        at: &SignedCheckpoint,
        size: u64,
        service: &str,
        environment: &str,
    ) -> Result<Vec<Included>, LedgerError> {
        self.own(at)?;
        self.prove_all(at, self.tables().of_target(service, environment, size.min(at.size()))?)
    }

    /// The records whose index names `digest`, oldest first.
    ///
    /// # Errors
    /// As [`Ledger::read`].
    pub fn by_digest(&self, at: &SignedCheckpoint, digest: &Digest) -> Result<Vec<Included>, LedgerError> {
        self.own(at)?;
        self.prove_all(at, self.tables().of_digest(digest, at.size())?)
    }

    /// The first record with an idempotency key.
    ///
    /// # Errors
    /// As [`Ledger::read`].
    pub fn find_key(&self, at: &SignedCheckpoint, key: &str) -> Result<Option<Included>, LedgerError> {
        self.own(at)?;
        let (_together, found) = (self.tables().together()?, self.tables().of_key(key, at.size())?);
        found.map(|found| self.prove(&mut at.inclusions(), found)).transpose()
    }

    /// The records of `range` that pass `filter`, newest first.
    ///
    /// # Errors
    /// As [`Ledger::read`].
    pub fn log(
        &self,
        at: &SignedCheckpoint,
        range: Range<u64>,
        filter: &Filter,
    ) -> Result<Vec<Included>, LedgerError> {
        self.own(at)?;
        self.prove_all(at, self.tables().newest(range.start..range.end.min(at.size()), filter)?)
    }

    /// Audits the whole ledger: every record rehashed, every stored hash and index row recomputed, all of it
    /// compared with the signed checkpoint. `recompute` reads record `index` (checking its signature) and
    /// returns the index row it ought to have, or why it is not a valid record.
    ///
    /// # Errors
    /// See [`LedgerError`]. What the audit finds is in the [`Audit`], not an error.
    pub fn verify<E: fmt::Display>(
        &self,
        recompute: impl Fn(u64, &[u8]) -> Result<Index, E>,
    ) -> Result<Audit, LedgerError> {
        let fresh = self.afresh()?;
        let ledger = fresh.as_ref().unwrap_or(self);
        let _snapshot = ledger.tables().snapshot()?;
        audit::run(ledger.tables(), ledger.head()?, recompute)
    }

    fn tables(&self) -> &dyn Tables {
        self.store.tables()
    }

    /// Both lanes are up to date. Where a copy is read, that was seen to be of this ledger, and is left: what an audit
    /// reads has to come from the ledger itself.
    fn afresh(&self) -> Result<Option<Self>, LedgerError> {
        self.store.refresh(Lane::Main)?;
        self.store.refresh(Lane::Control)?;
        let Some(store) = self.store.afresh()? else { return Ok(None) };
        let fresh = Self::over(store, Keys { main: &self.vkey, control: &self.control }, None);
        for seen in [self.head()?, self.control_tip()?] {
            fresh.require(&Seen::signed(&seen, SeenBy::Process))?;
        }
        Ok(Some(fresh))
    }

    /// A checkpoint of another log has nothing to do here.
    fn own(&self, at: &SignedCheckpoint) -> Result<(), LedgerError> {
        if at.origin() == self.vkey.origin() {
            return Ok(());
        }
        let found = at.origin().to_string();
        Err(TlogError::OriginMismatch { expected: self.vkey.origin().clone(), found }.into())
    }

    fn node(&self, node: Node) -> Result<Digest, LedgerError> {
        let place = || self.place().clone();
        self.tables().node(node)?.ok_or_else(|| LedgerError::NodeMissing { place: place(), node })
    }

    fn prove_all(&self, at: &SignedCheckpoint, found: Vec<Found>) -> Result<Vec<Included>, LedgerError> {
        // Proofs of one log share the upper part of their paths.
        let (mut shared, _together) = (at.inclusions(), self.tables().together()?);
        found.into_iter().map(|found| self.prove(&mut shared, found)).collect()
    }

    /// The proof that record `index` is in the log of `at`, for whoever has the record and the log's key (C2SP
    /// tlog-proof).
    ///
    /// # Errors
    /// As [`Ledger::read`].
    pub fn proof(&self, at: &SignedCheckpoint, index: u64) -> Result<TlogProof, LedgerError> {
        let entry = self.read(at, index)?;
        let _together = self.tables().together()?;
        let hashes = inclusion_proof(index, at.size(), |node| self.node(node))?;
        let not = |source| LedgerError::NotIncluded { place: self.place().clone(), index, source };
        TlogProof::new(at, index, entry.bytes().to_vec(), hashes).map_err(not)
    }

    fn prove(&self, shared: &mut Inclusions<'_>, (index, bytes): Found) -> Result<Included, LedgerError> {
        let place = || self.place().clone();
        let bytes = bytes.ok_or_else(|| LedgerError::RecordMissing { place: place(), index })?;
        let nodes = shared.nodes(index)?.into_iter();
        let hashes = nodes.map(|node| self.node(node)).collect::<Result<Vec<_>, _>>()?;
        let not = |source| LedgerError::NotIncluded { place: place(), index, source };
        shared.include(index, bytes, &hashes).map_err(not)
    }
}
