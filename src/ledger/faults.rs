//! Ledgers whose writes go wrong when they are told to: for tests of what is built on a ledger.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::place::{self, Location};
use super::slots::objects::Objects;
use super::slots::{Created, SlotError, Slots, Slotted};
use super::sqlite::Sqlite;
use super::store::{Batch, ControlBatch, Keys, Store, Swap, Tables};
use super::{Lane, Ledger, LedgerError, Place};
use crate::digest::Digest;
use crate::tlog::{LogSigner, SignedCheckpoint};

/// What is wrong with a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not done, and is said to have failed.
    Failed,
    /// It is done, and is said to have failed.
    FailedButHappened,
}

/// Asked before every write, by its name: what is wrong with it, if anything is.
pub(crate) type Judge = Arc<dyn Fn(&str) -> Option<Fault> + Send + Sync>;

/// The ledger that lies at `url`, a file or a folder, to write to.
pub(crate) fn open(url: &str, base: &Path, signer: &LogSigner, judge: Judge) -> Ledger {
    let location = place::locate(url, base).unwrap();
    let lane = signer.control().unwrap();
    let keys = Keys { main: signer.vkey(), control: lane.vkey() };
    let store: Box<dyn Store> = match &location {
        Location::Sqlite(path) => Box::new(Judged { store: Sqlite::open(path, true).unwrap(), judge }),
        Location::Folder(folder) => {
            let slots = JudgedSlots { slots: Objects::folder(folder, false).unwrap(), judge };
            let slotted = Slotted::open(Arc::new(slots), location.place(), keys, None).unwrap();
            Box::new(slotted.for_writing().unwrap())
        }
        Location::Postgres(_) | Location::Bucket { .. } | Location::Git(_) => panic!("{url}: not that one"),
    };
    Ledger::over(store, keys, Some(signer.clone()))
}

/// A store whose appends are judged.
struct Judged {
    store: Sqlite,
    judge: Judge,
}

impl Judged {
    /// As a disk that fails, before the commit or while it is flushed.
    fn judged(
        &self,
        name: &str,
        write: impl FnOnce() -> Result<Swap, LedgerError>,
    ) -> Result<Swap, LedgerError> {
        let fault = (self.judge)(name);
        if fault != Some(Fault::Failed) {
            let swap = write()?;
            if fault.is_none() {
                return Ok(swap);
            }
        }
        let broken = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR);
        Err(LedgerError::sqlite(self.store.place(), rusqlite::Error::SqliteFailure(broken, None)))
    }
}

impl Store for Judged {
    fn place(&self) -> &Place {
        self.store.place()
    }

    fn tables(&self) -> &dyn Tables {
        self.store.tables()
    }

    fn refresh(&self, lane: Lane) -> Result<(), LedgerError> {
        self.store.refresh(lane)
    }

    fn kept(&self, digest: Digest, limit: usize) -> Result<Option<Vec<u8>>, LedgerError> {
        self.store.kept(digest, limit)
    }

    fn swap(&self, expected: &SignedCheckpoint, batch: &Batch<'_>) -> Result<Swap, LedgerError> {
        self.judged("append", || self.store.swap(expected, batch))
    }

    fn cosigned(&self, lane: Lane) -> Result<Option<Vec<u8>>, LedgerError> {
        self.store.cosigned(lane)
    }

    fn keep_cosigned(&self, lane: Lane, before: Option<&[u8]>, note: &str) -> Result<Swap, LedgerError> {
        self.judged("keep cosigned", || self.store.keep_cosigned(lane, before, note))
    }

    fn swap_control(
        &self,
        expected: &SignedCheckpoint,
        batch: &ControlBatch<'_>,
    ) -> Result<Swap, LedgerError> {
        self.judged("append to control", || self.store.swap_control(expected, batch))
    }
}

/// Slots whose creations and writes are judged, by the folder of the first name.
struct JudgedSlots {
    slots: Objects,
    judge: Judge,
}

impl JudgedSlots {
    fn judged<T>(
        &self,
        verb: &str,
        objects: &[(String, Bytes)],
        write: impl FnOnce() -> Result<T, SlotError>,
    ) -> Result<T, SlotError> {
        let name = objects[0].0.clone();
        let fault = (self.judge)(&format!("{verb} {}", name.split('/').next().unwrap_or_default()));
        if fault != Some(Fault::Failed) {
            let done = write()?;
            if fault.is_none() {
                return Ok(done);
            }
        }
        let source = object_store::Error::Generic { store: "test", source: "timed out".into() };
        Err(SlotError::Failed { name, source: Box::new(source) })
    }
}

impl Slots for JudgedSlots {
    fn get_all(&self, names: &[String], limit: usize) -> Result<Vec<Option<Bytes>>, SlotError> {
        self.slots.get_all(names, limit)
    }

    fn create_all(&self, objects: &[(String, Bytes)]) -> Result<Vec<Created>, SlotError> {
        self.judged("create", objects, || self.slots.create_all(objects))
    }

    fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, SlotError> {
        self.slots.list(prefix, after)
    }

    fn put_all(&self, objects: &[(String, Bytes)]) -> Result<(), SlotError> {
        self.judged("put", objects, || self.slots.put_all(objects))
    }
}
