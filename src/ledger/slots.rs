//! A ledger in slots: names that can be created once and never changed, in a folder, a bucket, or anything else that
//! can do that ([`Slots`]).
//!
//! Guarantees: an append is one creation of `commits/<size before>` (or `control/<size before>`), which exactly one
//! writer wins; an answer that leaves open whether it happened is settled by reading the slot; a commit is taken over
//! only if it continues the log that was seen before, its entries have the root it signs, and each is filed as it says.
//! Never does: overwrite a slot, believe a listing about where the log ends, or build its copy anew when the slots
//! contradict it.
//!
//! ```text
//! ledger.json                      what it is: origin, and the signed heads of two empty lanes
//! commits/<20 digits>              the main lane: what was appended to a log of that size
//! control/<20 digits>              the control lane, alike
//! evidence/sha256/<hex>            what decisions relied on, written before the commit that names it
//! cosigned/main, cosigned/control  the newest checkpoint of a lane that witnesses cosigned; replaced by newer ones
//! pending/<32 hex>                 records that lost twice, for whoever wins a slot next; no part of the log
//! checkpoint, tile/…               the main lane as C2SP tlog-tiles: derived, best effort
//! ```
//!
//! Questions are answered by the [`Mirror`], a SQLite file of the tables of [`super::sqlite`].

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::place::Place;
use super::seen::Lane;
use super::store::{Batch, Combining, ControlBatch, Keys, Store, Swap, Tables};
use super::{LedgerError, kept};
use crate::digest::Digest;
use crate::tlog::{MAX_NOTE, SignedCheckpoint, TlogError, Vkey};

mod card;
pub mod commit;
mod error;
pub(super) mod git;
mod mirror;
pub(super) mod objects;
pub mod pending;
mod publish;
mod room;
pub(super) mod shelf;
mod sync;
mod tail;
#[cfg(test)]
mod tests;

use card::{CARD, Card};
use commit::{Commit, Content};
pub use error::SlotError;
pub use git::GitError;
use mirror::Mirror;
use shelf::Shelf;

/// How often a slot is tried whose creation was answered ambiguously and that is then not there.
const TRIES: u32 = 5;
/// Before the second try; doubled for each further one.
const PAUSE: Duration = Duration::from_millis(40);

/// What a creation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Created {
    /// It was not there and is now.
    Created,
    /// Something was there, or another creation is under way.
    Exists,
}

/// Names that can be created once. Whatever it returns is checked above it.
pub(super) trait Slots: Send + Sync {
    /// What lies under each of `names`; an error where one has more than `limit` bytes.
    fn get_all(&self, names: &[String], limit: usize) -> Result<Vec<Option<Bytes>>, SlotError>;

    /// Creates each, durably, or says that something is there. An error leaves open which of them were created.
    /// Evidence may be created with the slot that is created next, if both or none are.
    fn create_all(&self, objects: &[(String, Bytes)]) -> Result<Vec<Created>, SlotError>;

    /// The names that begin with `prefix` and come after `after`, in order, the first of many; some may be missing.
    fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, SlotError>;

    /// Writes each, over what may be there: for what is derived.
    fn put_all(&self, objects: &[(String, Bytes)]) -> Result<(), SlotError>;

    /// Writes `bytes` in the place of `before`, which [`Slots::get_or_cut`] said: for what may be put back by who loses a
    /// race, and is none the better for it.
    fn replace(
        &self,
        name: &str,
        before: Option<&[u8]>,
        bytes: &Bytes,
        limit: usize,
    ) -> Result<Swap, SlotError> {
        if self.get_or_cut(name, limit)?.as_deref() != before {
            return Ok(Swap::Conflict);
        }
        self.put_all(&[(name.to_owned(), bytes.clone())])?;
        Ok(Swap::Swapped)
    }

    /// What lies under `name`; nothing of it where it has more than `limit` bytes.
    fn get_or_cut(&self, name: &str, limit: usize) -> Result<Option<Bytes>, SlotError> {
        match self.get(name, limit) {
            Err(SlotError::TooLong { .. }) => Ok(Some(Bytes::new())),
            found => found,
        }
    }

    /// What lies under `name`.
    fn get(&self, name: &str, limit: usize) -> Result<Option<Bytes>, SlotError> {
        Ok(self.get_all(&[name.to_owned()], limit)?.pop().flatten())
    }

    /// Where records can be left for others to commit; none where that would be a slot's worth of work itself.
    fn shelf(&self) -> Option<&dyn Shelf> {
        None
    }
}

/// The slot of what is appended to a lane of `size` entries.
pub(super) fn slot(lane: Lane, size: u64) -> String {
    format!("{}{size:020}", folder(lane))
}

/// The size that a slot of `lane` is for.
fn slot_size(lane: Lane, name: &str) -> Option<u64> {
    let size = name.strip_prefix(folder(lane))?.parse().ok()?;
    (slot(lane, size) == name).then_some(size)
}

fn folder(lane: Lane) -> &'static str {
    match lane {
        Lane::Main => "commits/",
        Lane::Control => "control/",
    }
}

/// Where the bytes of `digest` are kept.
fn evidence(digest: Digest) -> String {
    format!("evidence/sha256/{}", digest.hex())
}

/// What the names begin with under which cosigned checkpoints are kept.
const COSIGNED: &str = "cosigned/";

/// Where the cosigned checkpoint of a lane is kept.
fn cosigned(lane: Lane) -> String {
    format!("{COSIGNED}{}", lane.name())
}

/// A ledger in slots.
pub(super) struct Slotted {
    slots: Arc<dyn Slots>,
    mirror: Mirror,
    place: Place,
    main: Vkey,
    control: Vkey,
    card: Bytes,
    /// Whether the store was seen to honour create-only.
    honours: AtomicBool,
    /// The heads of the mirror that were verified last: the same text is not verified again.
    verified: RefCell<[Option<SignedCheckpoint>; 2]>,
}

impl Slotted {
    /// Makes an empty ledger where nothing is.
    pub(super) fn create(
        slots: Arc<dyn Slots>,
        place: Place,
        keys: Keys<'_>,
        cache: Option<&Path>,
        main: &SignedCheckpoint,
        control: &SignedCheckpoint,
    ) -> Result<Self, LedgerError> {
        let reach = |source| LedgerError::Slots { place: place.clone(), source };
        if !slots.list("", "").map_err(reach)?.is_empty() {
            return Err(LedgerError::Exists { place });
        }
        let card = Card::new(keys.main.origin(), main, control, nonce()?);
        match settle(slots.as_ref(), CARD, &card.to_bytes()).map_err(reach)? {
            Swap::Swapped => Self::open(slots, place, keys, cache)?.for_writing(),
            Swap::Conflict => Err(LedgerError::Exists { place }),
        }
    }

    /// Opens what is there.
    pub(super) fn open(
        slots: Arc<dyn Slots>,
        place: Place,
        keys: Keys<'_>,
        cache: Option<&Path>,
    ) -> Result<Self, LedgerError> {
        let reach = |source| LedgerError::Slots { place: place.clone(), source };
        let Some(bytes) = slots.get(CARD, card::LIMIT).map_err(reach)? else {
            return Err(LedgerError::Absent { place });
        };
        let card = Card::parse(&bytes, &place)?.verify(keys, &place)?;
        let mirror = Mirror::open(cache, &place, keys, &card)?;
        let (main, control) = (keys.main.clone(), keys.control.clone());
        let (honours, verified) = (AtomicBool::new(false), RefCell::default());
        Ok(Self { slots, mirror, place, main, control, card: bytes, honours, verified })
    }

    /// The same, to write to: refused where the store overwrites what it was to create. Where that cannot be found out
    /// now, it is before the first append: what else is wrong is for who reads to say, with both heads.
    pub(super) fn for_writing(self) -> Result<Self, LedgerError> {
        match self.honours_create_only() {
            Err(error) if matches!(error, SlotError::Overwrites { .. }) => Err(self.reach()(error)),
            Ok(()) | Err(_) => Ok(self),
        }
    }

    /// Creates what is there once more, with the same bytes: the answer has to be that it is there. Everything that two
    /// writers do relies on that.
    fn honours_create_only(&self) -> Result<(), SlotError> {
        if self.honours.load(Ordering::Relaxed) {
            return Ok(());
        }
        let card = [(CARD.to_owned(), self.card.clone())];
        let created = self.slots.create_all(&card).or_else(|error| match error.is_final() {
            true => Err(error),
            false => self.slots.create_all(&card),
        })?;
        if created != [Created::Exists] {
            return Err(SlotError::Overwrites { name: CARD.to_owned() });
        }
        self.honours.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn vkey(&self, lane: Lane) -> &Vkey {
        match lane {
            Lane::Main => &self.main,
            Lane::Control => &self.control,
        }
    }

    fn reach(&self) -> impl Fn(SlotError) -> LedgerError + '_ {
        |source| LedgerError::Slots { place: self.place.clone(), source }
    }

    /// Writes what is to be kept. What is there already and right is left alone; what is not right is put right.
    fn keep(&self, kept: &[(Digest, &Bytes)]) -> Result<(), SlotError> {
        if kept.is_empty() {
            return Ok(());
        }
        let objects: Vec<_> =
            kept.iter().map(|(digest, bytes)| (evidence(*digest), (*bytes).clone())).collect();
        // Whatever an error left behind is there, or is made by the second try.
        let created = self.slots.create_all(&objects).or_else(|error| match error.is_final() {
            true => Err(error),
            false => self.slots.create_all(&objects),
        })?;
        let there = objects.into_iter().zip(created).filter(|(_, created)| *created == Created::Exists);
        let there: Vec<_> = there.map(|(object, _)| object).collect();
        let names: Vec<_> = there.iter().map(|(name, _)| name.clone()).collect();
        let found = match self.slots.get_all(&names, kept::LIMIT) {
            // Somebody put more there than we ever write.
            Err(SlotError::TooLong { .. }) => vec![None; names.len()],
            found => found?,
        };
        let wrong = there.into_iter().zip(found).filter(|((_, ours), found)| found.as_ref() != Some(ours));
        let wrong: Vec<_> = wrong.map(|(object, _)| object).collect();
        if wrong.is_empty() { Ok(()) } else { self.slots.put_all(&wrong) }
    }

    /// Puts a commit into its slot, and, if it is the one that got there, into the mirror.
    fn commit(
        &self,
        expected: &SignedCheckpoint,
        content: Content,
        head: &SignedCheckpoint,
    ) -> Result<Swap, LedgerError> {
        let (size, root) = (expected.size(), expected.root());
        let commit = Commit { size, root, content, note: head.text().to_owned(), nonce: nonce()? };
        let name = slot(commit.lane(), commit.size);
        let bytes = commit.to_bytes();
        if bytes.len() > commit::LIMIT {
            return Err(self.reach()(SlotError::TooLong { name, limit: commit::LIMIT }));
        }
        self.still_there(commit.lane())?;
        self.honours_create_only().map_err(self.reach())?;
        let swap = settle(self.slots.as_ref(), &name, &bytes).map_err(self.reach())?;
        if swap == Swap::Swapped {
            // Nothing undoes the commit: what fails now is done by the next refresh, or by who publishes next.
            let taken = self.take_over(expected, commit.lane(), &bytes);
            let _ = taken.and_then(|()| match commit.lane() {
                Lane::Main => self.publish(head),
                Lane::Control => Ok(()),
            });
        }
        Ok(swap)
    }
}

/// Creates `name`, and says whether these bytes are what lies there now.
///
/// # Errors
/// When that could not be found out: not known to be there.
fn settle(slots: &dyn Slots, name: &str, bytes: &[u8]) -> Result<Swap, SlotError> {
    let object = [(name.to_owned(), Bytes::copy_from_slice(bytes))];
    let mut pause = PAUSE;
    let mut unsettled = None;
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(pause);
            pause *= 2;
        }
        match slots.create_all(&object) {
            Ok(created) if created == [Created::Created] => return Ok(Swap::Swapped),
            Ok(_) => {}
            // It is about this try alone.
            Err(error) if error.is_final() => return Err(unsettled.unwrap_or(error)),
            Err(error) => unsettled = Some(error),
        }
        // Exists, or an answer that leaves it open (S3's 409, a timeout, 5xx): the slot knows.
        match slots.get(name, commit::LIMIT) {
            Ok(Some(found)) if found == bytes => return Ok(Swap::Swapped),
            Ok(Some(_)) | Err(SlotError::TooLong { .. }) => return Ok(Swap::Conflict),
            // Not there: another creation was under way and failed, or ours never arrived.
            Ok(None) => {}
            // Why nobody can look is not why it is not known.
            Err(error) => unsettled = unsettled.or(Some(error)),
        }
    }
    Err(unsettled.unwrap_or_else(|| SlotError::Unsettled { name: name.to_owned() }))
}

/// 16 random bytes.
fn nonce() -> Result<[u8; 16], LedgerError> {
    let mut nonce = [0; 16];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| TlogError::Crypto { action: "give random bytes" })?;
    Ok(nonce)
}

impl Store for Slotted {
    fn place(&self) -> &Place {
        &self.place
    }

    fn tables(&self) -> &dyn Tables {
        self.mirror.tables()
    }

    fn refresh(&self, lane: Lane) -> Result<(), LedgerError> {
        self.sync(lane)
    }

    fn combining(&self) -> Option<&dyn Combining> {
        self.slots.shelf().map(|_| self as &dyn Combining)
    }

    fn afresh(&self) -> Result<Option<Box<dyn Store>>, LedgerError> {
        let keys = Keys { main: &self.main, control: &self.control };
        Ok(Some(Box::new(Self::open(self.slots.clone(), self.place.clone(), keys, None)?)))
    }

    fn kept(&self, digest: Digest, limit: usize) -> Result<Option<Vec<u8>>, LedgerError> {
        let found = self.slots.get_or_cut(&evidence(digest), limit).map_err(self.reach())?;
        Ok(found.map(Vec::from))
    }

    fn cosigned(&self, lane: Lane) -> Result<Option<Vec<u8>>, LedgerError> {
        let found = self.slots.get_or_cut(&cosigned(lane), MAX_NOTE).map_err(self.reach())?;
        Ok(found.map(Vec::from))
    }

    fn keep_cosigned(&self, lane: Lane, before: Option<&[u8]>, note: &str) -> Result<Swap, LedgerError> {
        let note = Bytes::from(note.to_owned());
        self.slots.replace(&cosigned(lane), before, &note, MAX_NOTE).map_err(self.reach())
    }

    fn swap(&self, expected: &SignedCheckpoint, batch: &Batch<'_>) -> Result<Swap, LedgerError> {
        self.keep(&batch.kept).map_err(self.reach())?;
        let evidence = batch.kept.iter().map(|(digest, _)| *digest).collect();
        let content = Content::Main { entries: batch.entries.to_vec(), evidence };
        self.commit(expected, content, batch.head)
    }

    fn swap_control(
        &self,
        expected: &SignedCheckpoint,
        batch: &ControlBatch<'_>,
    ) -> Result<Swap, LedgerError> {
        let content = Content::Control(vec![batch.bytes.to_vec()]);
        self.commit(expected, content, batch.head)
    }
}
