//! What a ledger is stored in: an untrusted store of bytes with one compare-and-swap per lane.
//!
//! Guarantees asked of every [`Store`]: [`Store::swap`] puts the whole batch or nothing, only while the head of the
//! lane is the expected one, and what it swapped is durable when it returns. Never does: verify. A store is believed
//! nothing: [`super::Ledger`] checks the head before it builds on it, signs the next one, and proves what was read.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::place::{Location, Place};
use super::postgres::Postgres;
use super::seen::Lane;
use super::slots::git::Git;
use super::slots::objects::Objects;
use super::slots::pending::Pending;
use super::slots::{SlotError, Slots, Slotted};
use super::sqlite::Sqlite;
use super::{Entry, Filter, Index, LedgerError};
use crate::digest::Digest;
use crate::tlog::{Node, SignedCheckpoint, Vkey};

/// What a compare-and-swap came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Swap {
    /// All of it is there, durably.
    Swapped,
    /// The head was another one; nothing is there.
    Conflict,
}

/// Everything that one append changes in the main lane.
pub(super) struct Batch<'a> {
    /// The index of the first entry, which is the size before.
    pub(super) first: u64,
    /// The entries, with their index rows.
    pub(super) entries: &'a [Entry],
    /// Every subtree they complete.
    pub(super) nodes: Vec<(Node, Digest)>,
    /// The bytes they rely on, each once, under its digest.
    pub(super) kept: Vec<(Digest, &'a Bytes)>,
    /// The new head.
    pub(super) head: &'a SignedCheckpoint,
}

/// Everything that one append changes in the control lane.
pub(super) struct ControlBatch<'a> {
    /// The index of the record, which is the size before.
    pub(super) index: u64,
    /// The record.
    pub(super) bytes: &'a [u8],
    /// The new head.
    pub(super) head: &'a SignedCheckpoint,
}

/// A record by its index, its bytes if they are there.
pub(super) type Found = (u64, Option<Vec<u8>>);

/// An index row as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Projection {
    pub(super) kind: String,
    pub(super) service: String,
    pub(super) environment: String,
    pub(super) digest: Option<Vec<u8>>,
    pub(super) phase: String,
    pub(super) key: Option<String>,
}

impl From<&Index> for Projection {
    fn from(index: &Index) -> Self {
        Self {
            kind: index.kind.as_str().to_owned(),
            service: index.service.clone(),
            environment: index.environment.clone(),
            digest: index.digest.map(|digest| digest.as_bytes().to_vec()),
            phase: index.phase.clone(),
            key: index.idempotency_key.clone(),
        }
    }
}

/// While it lives, [`Tables`] answers from one unchanging state, whoever appends meanwhile.
pub(super) trait Snapshot {}

/// A ledger: where it is, what is read of it, how it is changed.
pub(super) trait Store: Send {
    /// How it is called in messages.
    fn place(&self) -> &Place;

    /// What is read of it.
    fn tables(&self) -> &dyn Tables;

    /// Brings [`Store::tables`] up to date with what others appended to a lane before this call. Not while a
    /// [`Snapshot`] lives.
    fn refresh(&self, lane: Lane) -> Result<(), LedgerError>;

    /// Where [`Store::tables`] are a copy: the same with a new one, made from what is there now, for an audit.
    fn afresh(&self) -> Result<Option<Box<dyn Store>>, LedgerError> {
        Ok(None)
    }

    /// The bytes kept under `digest`; `None` if there are none. Others, or none, where there are more than `limit`.
    fn kept(&self, digest: Digest, limit: usize) -> Result<Option<Vec<u8>>, LedgerError>;

    /// Changes the main lane, if its head is `expected`. [`LedgerError::Stray`] where an entry stands already.
    fn swap(&self, expected: &SignedCheckpoint, batch: &Batch<'_>) -> Result<Swap, LedgerError>;

    /// What is kept beside a lane as its cosigned checkpoint, whatever it is; nothing of it where it is longer than a
    /// note ([`MAX_NOTE`](crate::tlog::MAX_NOTE)).
    fn cosigned(&self, lane: Lane) -> Result<Option<Vec<u8>>, LedgerError>;

    /// Keeps a note beside a lane, in the place of what [`Store::cosigned`] said. `Conflict`: another is there by now.
    /// Where a store cannot compare and write at once, the later of two writers wins.
    fn keep_cosigned(&self, lane: Lane, before: Option<&[u8]>, note: &str) -> Result<Swap, LedgerError>;

    /// Where writers who lost may leave records for each other; none where they wait for each other instead.
    fn combining(&self) -> Option<&dyn Combining> {
        None
    }

    /// Changes the control lane, if its head is `expected`.
    fn swap_control(
        &self,
        expected: &SignedCheckpoint,
        batch: &ControlBatch<'_>,
    ) -> Result<Swap, LedgerError>;

    /// For tests that put the file into trouble.
    #[cfg(test)]
    fn connection(&self) -> &rusqlite::Connection {
        panic!("{} is not SQLite", self.place())
    }
}

/// Records that wait to be appended by whoever is first. All that others left there may be wrong.
pub(super) trait Combining {
    /// Keeps the bytes that a record relies on, before anybody may append it.
    fn keep(&self, kept: &[(Digest, &Bytes)]) -> Result<(), LedgerError>;

    /// Leaves a record under `name`, for anybody who appends.
    fn offer(&self, name: &str, pending: &Pending) -> Result<(), LedgerError>;

    /// Some of the names under which records were left.
    fn names(&self) -> Result<Vec<String>, LedgerError>;

    /// What lies under each of `names`: `Err` where it is longer than any record that was left, `None` where nothing
    /// is, or nothing could be read now.
    fn read(&self, names: &[String]) -> Result<Vec<Option<Result<Bytes, TooLong>>>, LedgerError>;

    /// Takes records back, as far as they are there.
    fn withdraw(&self, names: &[String]) -> Result<(), LedgerError>;

    /// Whether bytes are kept under each digest; they are not read.
    fn keeps(&self, evidence: &[Digest]) -> Result<Vec<bool>, LedgerError>;

    /// [`Store::swap`], where the bytes of `evidence` are kept already.
    fn swap_for_all(
        &self,
        expected: &SignedCheckpoint,
        entries: &[Entry],
        evidence: BTreeSet<Digest>,
        head: &SignedCheckpoint,
    ) -> Result<Swap, LedgerError>;
}

/// More than is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// What is read of a ledger. All of it may be wrong.
pub(super) trait Tables {
    /// All reads until it is dropped are of one state.
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, LedgerError>;

    /// While it lives, many questions cost less than each by itself; `None` where that makes no difference.
    fn together(&self) -> Result<Option<Box<dyn Snapshot + '_>>, LedgerError> {
        Ok(None)
    }

    /// The name it was made under.
    fn origin(&self) -> Result<String, LedgerError>;

    /// The signed checkpoint of a lane; empty, which is none, where there is none.
    fn note(&self, lane: Lane) -> Result<String, LedgerError>;

    /// The stored hash; `None` if it is missing or not 32 bytes.
    fn node(&self, node: Node) -> Result<Option<Digest>, LedgerError>;

    /// The bytes of a record.
    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, LedgerError>;

    /// The index row of a record.
    fn projection(&self, index: u64) -> Result<Option<Projection>, LedgerError>;

    /// The records of a target below `size`, oldest first.
    fn of_target(&self, service: &str, environment: &str, size: u64) -> Result<Vec<Found>, LedgerError>;

    /// The records about a digest below `size`, oldest first.
    fn of_digest(&self, digest: &Digest, size: u64) -> Result<Vec<Found>, LedgerError>;

    /// The first record with an idempotency key below `size`.
    fn of_key(&self, key: &str, size: u64) -> Result<Option<Found>, LedgerError>;

    /// The records of `range` that pass `filter`, newest first.
    fn newest(&self, range: Range<u64>, filter: &Filter) -> Result<Vec<Found>, LedgerError>;

    /// The highest entry, wherever it may be.
    fn last_entry(&self) -> Result<Option<u64>, LedgerError>;

    /// Entries and index rows that no checkpoint of `size` covers.
    fn strays(&self, size: u64) -> Result<Vec<i64>, LedgerError>;

    /// Stored hashes that are not of a complete subtree of a log of `size` entries, as (level, index).
    fn stray_nodes(&self, size: u64) -> Result<Vec<(i64, i64)>, LedgerError>;

    /// The records of the control lane in the order of their indexes, whatever these are, and one more than `size` at
    /// the most: that shows that there are too many. One that is longer than any record is empty.
    fn control_entries(&self, size: u64) -> Result<Vec<(i64, Vec<u8>)>, LedgerError>;
}

/// What a ledger's checkpoints are verified with.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    pub(super) main: &'a Vkey,
    pub(super) control: &'a Vkey,
}

/// Makes an empty ledger with the heads of its two lanes. Never overwrites.
pub(super) fn create(
    location: &Location,
    cache: Option<&Path>,
    keys: Keys<'_>,
    main: &SignedCheckpoint,
    control: &SignedCheckpoint,
) -> Result<Box<dyn Store>, LedgerError> {
    let place = location.place();
    Ok(match location {
        Location::Sqlite(path) => Box::new(Sqlite::create(path, keys.main.origin(), main, control)?),
        Location::Postgres(server) => Box::new(Postgres::create(server, keys.main.origin(), main, control)?),
        Location::Folder(folder) => {
            let slots = slots(&place, Objects::folder(folder, true))?;
            Box::new(Slotted::create(slots, place, keys, cache, main, control)?)
        }
        Location::Bucket { cloud, bucket, prefix } => {
            let slots = slots(&place, Objects::bucket(*cloud, bucket, prefix))?;
            Box::new(Slotted::create(slots, place, keys, cache, main, control)?)
        }
        Location::Git(remote) => {
            let slots = slots(&place, Git::open(remote, cache))?;
            Box::new(Slotted::create(slots, place, keys, cache, main, control)?)
        }
    })
}

/// Opens what is there.
pub(super) fn open(
    location: &Location,
    cache: Option<&Path>,
    keys: Keys<'_>,
    write: bool,
) -> Result<Box<dyn Store>, LedgerError> {
    let place = location.place();
    Ok(match location {
        Location::Sqlite(path) => Box::new(Sqlite::open(path, write)?),
        Location::Postgres(server) => Box::new(Postgres::open(server, write)?),
        Location::Folder(folder) => {
            if matches!(folder.try_exists(), Ok(false)) {
                return Err(LedgerError::Absent { place });
            }
            if folder.is_file() {
                return Err(LedgerError::NotALedger { place });
            }
            let slots = slots(&place, Objects::folder(folder, false))?;
            Box::new(slotted(Slotted::open(slots, place, keys, cache)?, write)?)
        }
        Location::Bucket { cloud, bucket, prefix } => {
            let slots = slots(&place, Objects::bucket(*cloud, bucket, prefix))?;
            Box::new(slotted(Slotted::open(slots, place, keys, cache)?, write)?)
        }
        Location::Git(remote) => {
            let slots = slots(&place, Git::open(remote, cache))?;
            Box::new(slotted(Slotted::open(slots, place, keys, cache)?, write)?)
        }
    })
}

fn slotted(store: Slotted, write: bool) -> Result<Slotted, LedgerError> {
    if write { store.for_writing() } else { Ok(store) }
}

fn slots(
    place: &Place,
    opened: Result<impl Slots + 'static, SlotError>,
) -> Result<Arc<dyn Slots>, LedgerError> {
    let slots = opened.map_err(|source| LedgerError::Slots { place: place.clone(), source })?;
    Ok(Arc::new(slots))
}
