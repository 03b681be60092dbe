//! A ledger in an object store that the caller brings: one in memory, one with latencies, one that no URL names.
//!
//! Guarantees and limits are those of a ledger in a bucket; nothing is remembered between two openings.

use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;

use super::place::Place;
use super::slots::objects::Objects;
use super::slots::{Slots, Slotted};
use super::store::{Keys, Store};
use super::{Ledger, LedgerError};
use crate::tlog::{LogSigner, Vkey, empty_root};

impl Ledger {
    /// Makes an empty ledger in `objects`, called `name` in messages. Never overwrites.
    ///
    /// # Errors
    /// Those of [`Ledger::create`].
    pub fn create_in(
        objects: Arc<dyn ObjectStore>,
        name: &str,
        signer: &LogSigner,
    ) -> Result<Self, LedgerError> {
        let (place, slots) = slots(objects, name)?;
        let lane = signer.control()?;
        let (main, control) = (signer.sign(0, empty_root())?, lane.sign(0, empty_root())?);
        let keys = Keys { main: signer.vkey(), control: lane.vkey() };
        let store = Slotted::create(slots, place, keys, None, &main, &control)?;
        Ok(Self::over(Box::new(store), keys, Some(signer.clone())))
    }

    /// Opens the ledger of `vkey` in `objects`; without `signer` for reading only.
    ///
    /// # Errors
    /// Those of [`Ledger::open`].
    pub fn open_in(
        objects: Arc<dyn ObjectStore>,
        name: &str,
        vkey: &Vkey,
        signer: Option<LogSigner>,
    ) -> Result<Self, LedgerError> {
        let (place, slots) = slots(objects, name)?;
        if let Some(found) = signer.as_ref().map(LogSigner::vkey).filter(|found| *found != vkey) {
            let (expected, found) = (Box::new(vkey.clone()), Box::new(found.clone()));
            return Err(LedgerError::WrongSigner { place, expected, found });
        }
        let control = vkey.control()?;
        let keys = Keys { main: vkey, control: &control };
        let store = Slotted::open(slots, place, keys, None)?;
        let store: Box<dyn Store> = Box::new(if signer.is_some() { store.for_writing()? } else { store });
        Self::opened(store, keys, signer)
    }
}

fn slots(objects: Arc<dyn ObjectStore>, name: &str) -> Result<(Place, Arc<dyn Slots>), LedgerError> {
    let place = Place::file(Path::new(name));
    match Objects::over(objects, "") {
        Ok(slots) => Ok((place, Arc::new(slots))),
        Err(source) => Err(LedgerError::Slots { place, source }),
    }
}
