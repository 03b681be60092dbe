//! Slots under faults, rollbacks and forks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use tempfile::TempDir;

use super::objects::Objects;
use super::*;
use crate::evidence::Kept;
use crate::ledger::contract::{Bed, holds, many_writers_lose_and_double_nothing, signer};
use crate::ledger::tests::{append_until_done, audit, entry};
use crate::ledger::{Finding, Folders, Ledger};
use crate::tlog::{LogSigner, Vkey, empty_root};

mod hostile;

/// Slots in memory, that many share.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<BTreeMap<String, Bytes>>>);

impl Slots for Memory {
    fn get_all(&self, names: &[String], limit: usize) -> Result<Vec<Option<Bytes>>, SlotError> {
        let all = self.0.lock().unwrap();
        let found = names.iter().map(|name| match all.get(name) {
            Some(bytes) if bytes.len() > limit => Err(SlotError::TooLong { name: name.clone(), limit }),
            found => Ok(found.cloned()),
        });
        found.collect()
    }

    fn create_all(&self, objects: &[(String, Bytes)]) -> Result<Vec<Created>, SlotError> {
        let mut all = self.0.lock().unwrap();
        let created = objects.iter().map(|(name, bytes)| match all.contains_key(name) {
            true => Created::Exists,
            false => {
                all.insert(name.clone(), bytes.clone());
                Created::Created
            }
        });
        Ok(created.collect())
    }

    fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, SlotError> {
        let all = self.0.lock().unwrap();
        Ok(all.keys().filter(|name| name.starts_with(prefix) && name.as_str() > after).cloned().collect())
    }

    fn put_all(&self, objects: &[(String, Bytes)]) -> Result<(), SlotError> {
        self.0.lock().unwrap().extend(objects.iter().cloned());
        Ok(())
    }
}

/// What is wrong with one call of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It was not done, and no answer came.
    Failed,
    /// It was done, and no answer came.
    FailedButHappened,
    /// It was not done, and the answer is that something is there (S3's 409).
    InFlight,
    /// It was done, and the answer is that something is there (a try of the client's before had arrived).
    Twice,
}

/// Slots of which one writing call goes wrong.
struct Faulty {
    slots: Memory,
    fault: Fault,
    at: usize,
    calls: AtomicUsize,
}

impl Faulty {
    fn hit(&self) -> bool {
        self.calls.fetch_add(1, Ordering::SeqCst) == self.at
    }
}

fn no_answer(name: &str) -> SlotError {
    let source = std::io::Error::other("timed out").into();
    let source = Box::new(object_store::Error::Generic { store: "test", source });
    SlotError::Failed { name: name.to_owned(), source }
}

impl Slots for Faulty {
    fn get_all(&self, names: &[String], limit: usize) -> Result<Vec<Option<Bytes>>, SlotError> {
        self.slots.get_all(names, limit)
    }

    fn create_all(&self, objects: &[(String, Bytes)]) -> Result<Vec<Created>, SlotError> {
        if !self.hit() {
            return self.slots.create_all(objects);
        }
        match self.fault {
            Fault::Failed => Err(no_answer(&objects[0].0)),
            Fault::FailedButHappened => {
                self.slots.create_all(objects)?;
                Err(no_answer(&objects[0].0))
            }
            Fault::InFlight => Ok(vec![Created::Exists; objects.len()]),
            Fault::Twice => {
                self.slots.create_all(objects)?;
                self.slots.create_all(objects)
            }
        }
    }

    fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, SlotError> {
        self.slots.list(prefix, after)
    }

    fn put_all(&self, objects: &[(String, Bytes)]) -> Result<(), SlotError> {
        match (self.hit(), self.fault) {
            (false, _) => self.slots.put_all(objects),
            (true, Fault::Failed | Fault::InFlight) => Err(no_answer(&objects[0].0)),
            (true, Fault::FailedButHappened | Fault::Twice) => {
                self.slots.put_all(objects)?;
                Err(no_answer(&objects[0].0))
            }
        }
    }
}

fn place() -> Place {
    Place::file(Path::new("memory"))
}

fn create(slots: Arc<dyn Slots>, signer: &LogSigner, cache: Option<&Path>) -> Result<Ledger, LedgerError> {
    let lane = signer.control()?;
    let keys = Keys { main: signer.vkey(), control: lane.vkey() };
    let (main, control) = (signer.sign(0, empty_root())?, lane.sign(0, empty_root())?);
    let store = Slotted::create(slots, place(), keys, cache, &main, &control)?;
    Ok(Ledger::over(Box::new(store), keys, Some(signer.clone())))
}

fn open(
    slots: Arc<dyn Slots>,
    vkey: &Vkey,
    signer: Option<LogSigner>,
    cache: Option<&Path>,
) -> Result<Ledger, LedgerError> {
    let control = vkey.control()?;
    let keys = Keys { main: vkey, control: &control };
    let store = Slotted::open(slots, place(), keys, cache)?;
    let store = if signer.is_some() { store.for_writing()? } else { store };
    Ok(Ledger::over(Box::new(store), keys, signer))
}

/// A ledger in memory, and somebody who comes back to it with the same cache.
struct Fixture {
    slots: Memory,
    signer: LogSigner,
    cache: TempDir,
}

impl Fixture {
    fn with(count: u64) -> (Self, Ledger) {
        let (slots, signer, cache) = (Memory::default(), signer(), tempfile::tempdir().unwrap());
        let mut ledger = create(Arc::new(slots.clone()), &signer, Some(cache.path())).unwrap();
        for number in 0..count {
            let _ = ledger.append(number, &[entry(number)]).unwrap();
        }
        (Self { slots, signer, cache }, ledger)
    }

    fn back(&self) -> Result<Ledger, LedgerError> {
        let ledger = open(
            Arc::new(self.slots.clone()),
            self.signer.vkey(),
            Some(self.signer.clone()),
            Some(self.cache.path()),
        )?;
        let _ = ledger.tip()?;
        Ok(ledger)
    }

    /// Somebody who never saw it.
    fn cold(&self) -> Result<Ledger, LedgerError> {
        let ledger = open(Arc::new(self.slots.clone()), self.signer.vkey(), Some(self.signer.clone()), None)?;
        let _ = ledger.tip()?;
        Ok(ledger)
    }

    /// What somebody with the bucket does.
    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Bytes>)) {
        change(&mut self.slots.0.lock().unwrap());
    }
}

fn bed(slots: impl Fn() -> Arc<dyn Slots> + Clone + Sync + 'static) -> Bed {
    let opened = slots.clone();
    Bed {
        signer: signer(),
        create: Box::new(move |signer| create(slots(), signer, None)),
        open: Box::new(move |vkey, signer| open(opened(), vkey, signer, None)),
    }
}

#[test]
fn slots_in_memory_do_it() {
    let slots = Memory::default();
    holds(&bed(move || Arc::new(slots.clone())));
}

#[test]
fn an_object_store_with_latency_does_it() {
    let millisecond = std::time::Duration::from_millis(1);
    let latency = ThrottleConfig {
        wait_get_per_call: millisecond,
        wait_put_per_call: 2 * millisecond,
        wait_list_per_call: 2 * millisecond,
        ..ThrottleConfig::default()
    };
    let store: Arc<dyn object_store::ObjectStore> = Arc::new(ThrottledStore::new(InMemory::new(), latency));
    holds(&bed(move || Arc::new(Objects::over(store.clone(), "below/here").unwrap())));
}

/// Processes of one machine share a mirror.
#[test]
fn d5_writers_with_one_mirror_lose_and_double_nothing() {
    let (fixture, _ledger) = Fixture::with(3);
    let Fixture { slots, signer, cache } = fixture;
    let cache = Arc::new(cache);
    many_writers_lose_and_double_nothing(&Bed {
        signer,
        create: Box::new(|_| unreachable!("it is there")),
        open: Box::new(move |vkey, signer| open(Arc::new(slots.clone()), vkey, signer, Some(cache.path()))),
    });
}

/// Every writing call, each in four ways: nothing is lost, nothing is doubled (D6).
#[test]
fn d6_every_write_that_goes_wrong_is_settled_by_reading() {
    for fault in [Fault::Failed, Fault::FailedButHappened, Fault::InFlight, Fault::Twice] {
        for at in 0..12 {
            let (fixture, ledger) = Fixture::with(1);
            drop(ledger);
            let faulty = Faulty { slots: fixture.slots.clone(), fault, at, calls: AtomicUsize::new(0) };
            let signer = Some(fixture.signer.clone());
            let mut ledger = open(Arc::new(faulty), fixture.signer.vkey(), signer, None).unwrap();
            // What is not known to be appended is looked for, as the protocol does.
            for number in 1..4 {
                let entry = entry(number);
                let mut kept = Kept::default();
                kept.keep(&entry.bytes.clone().into());
                let tip = ledger.tip().unwrap();
                if let Err(error) = ledger.append_with(number, std::slice::from_ref(&entry), &kept) {
                    assert!(!matches!(error, LedgerError::Conflict { .. }), "{fault:?} {at}: {error}");
                    let found = ledger.find_key(&ledger.tip().unwrap(), &format!("key-{number}")).unwrap();
                    assert!(found.is_none(), "an error, and yet it happened: {fault:?} {at}");
                    append_until_done(&mut ledger, &entry);
                }
                assert_eq!(ledger.tip().unwrap().size(), tip.size() + 1, "{fault:?} {at}");
                assert_eq!(ledger.kept(number, Digest::of(&entry.bytes)).unwrap(), entry.bytes);
            }
            let _ = ledger.append_control(0, b"freeze").unwrap();
            assert_eq!(ledger.control().unwrap().head().size(), 1);
            let cold = fixture.cold().unwrap();
            assert_eq!(cold.tip().unwrap().size(), 4);
            assert!(audit(&cold).is_clean());
        }
    }
}

#[test]
fn d6_a_ledger_is_made_whole_or_not_at_all() {
    for fault in [Fault::Failed, Fault::FailedButHappened, Fault::InFlight, Fault::Twice] {
        let (slots, signer) = (Memory::default(), signer());
        let faulty = Faulty { slots: slots.clone(), fault, at: 0, calls: AtomicUsize::new(0) };
        let mut made = create(Arc::new(faulty), &signer, None).unwrap();
        let _ = made.append(0, &[entry(0)]).unwrap();
        let again = create(Arc::new(slots), &signer, None).unwrap_err();
        assert!(matches!(again, LedgerError::Exists { .. }), "{again:?}");
    }
}

#[test]
fn a_store_that_denies_and_one_that_never_settles_are_errors_and_no_conflict() {
    struct Never(Memory, bool);
    impl Slots for Never {
        fn get_all(&self, names: &[String], limit: usize) -> Result<Vec<Option<Bytes>>, SlotError> {
            self.0.get_all(names, limit)
        }
        fn create_all(&self, objects: &[(String, Bytes)]) -> Result<Vec<Created>, SlotError> {
            let path = objects[0].0.clone();
            let source = std::io::Error::other("403").into();
            match self.1 {
                true => Err(SlotError::Denied {
                    name: path.clone(),
                    source: Box::new(object_store::Error::PermissionDenied { path, source }),
                }),
                false => Ok(vec![Created::Exists; objects.len()]),
            }
        }
        fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, SlotError> {
            self.0.list(prefix, after)
        }
        fn put_all(&self, objects: &[(String, Bytes)]) -> Result<(), SlotError> {
            self.0.put_all(objects)
        }
    }
    let (fixture, _ledger) = Fixture::with(2);
    for denied in [true, false] {
        let never = Never(fixture.slots.clone(), denied);
        let signer = Some(fixture.signer.clone());
        let mut ledger = open(Arc::new(never), fixture.signer.vkey(), signer, None).unwrap();
        assert_eq!(ledger.tip().unwrap().size(), 2);
        let refused = ledger.append(2, &[entry(2)]).unwrap_err();
        let LedgerError::Slots { source, .. } = &refused else { panic!("{refused:?}") };
        assert_eq!(matches!(source, SlotError::Denied { .. }), denied, "{source:?}");
        assert_eq!(matches!(source, SlotError::Unsettled { .. }), !denied, "{source:?}");
        assert!(refused.hint().is_some() && !refused.is_tampering());
    }
}

#[test]
fn d2_a_store_put_back_to_an_earlier_state_is_found_with_both_heads() {
    let (fixture, mut ledger) = Fixture::with(5);
    let seen = ledger.tip().unwrap();
    fixture.change(|slots| slots.retain(|name, _| *name < slot(Lane::Main, 3) || !name.starts_with("com")));
    let built_on = ledger.append(5, &[entry(5)]).unwrap_err();
    for refused in [ledger.tip().unwrap_err(), fixture.back().unwrap_err(), built_on] {
        let LedgerError::Shorter { found, .. } = &refused else { panic!("{refused:?}") };
        assert_eq!((found.seen_size, found.found_size), (5, 3));
        let text = refused.to_string();
        assert!(text.contains("commits/00000000000000000004"), "{text}");
        for line in seen.text().lines().chain(found.found.lines()) {
            assert!(text.contains(line), "{text}");
        }
        assert!(refused.is_tampering());
    }
    // Nobody who remembers builds on it; who never saw it cannot know.
    assert_eq!(fixture.cold().unwrap().tip().unwrap().size(), 3);
    // All of it.
    fixture.change(BTreeMap::clear);
    assert!(matches!(fixture.back().unwrap_err(), LedgerError::Absent { .. }));
    assert!(matches!(ledger.tip().unwrap_err(), LedgerError::Shorter { found, .. } if found.found_size == 0));
}

#[test]
fn d3_another_log_in_the_same_place_is_found_with_both_heads() {
    let (fixture, ledger) = Fixture::with(3);
    let seen = ledger.tip().unwrap();
    // The same key signs another history, from the second record on.
    fixture.change(|slots| {
        slots.remove(&slot(Lane::Main, 1));
        slots.remove(&slot(Lane::Main, 2));
    });
    let mut other = fixture.cold().unwrap();
    for number in 1..6 {
        let _ = other.append(number, &[entry(number + 50)]).unwrap();
    }
    for refused in [ledger.tip().unwrap_err(), fixture.back().unwrap_err()] {
        let LedgerError::Forked { found, .. } = &refused else { panic!("{refused:?}") };
        assert_eq!((&found.seen[..], found.seen_size, found.found_size), (seen.text(), 3, 3));
        assert_ne!(found.seen, found.found);
    }
    assert_eq!(fixture.cold().unwrap().tip().unwrap().size(), 6);
    // A ledger made anew there, with the same key.
    fixture.change(BTreeMap::clear);
    drop(create(Arc::new(fixture.slots.clone()), &fixture.signer, None).unwrap());
    assert!(matches!(fixture.back().unwrap_err(), LedgerError::Shorter { .. }));
}

#[test]
fn d3_a_slot_that_does_not_continue_ours_is_found_with_both_heads() {
    let (fixture, ledger) = Fixture::with(2);
    let slots = Memory::default();
    let mut theirs = create(Arc::new(slots.clone()), &fixture.signer, None).unwrap();
    for number in 0..3 {
        let _ = theirs.append(number, &[entry(number + 70)]).unwrap();
    }
    let name = slot(Lane::Main, 2);
    let foreign = slots.0.lock().unwrap()[&name].clone();
    fixture.change(|all| drop(all.insert(name.clone(), foreign)));
    for refused in [ledger.tip().unwrap_err(), fixture.cold().unwrap_err()] {
        let LedgerError::Forked { found, .. } = &refused else { panic!("{refused:?}") };
        assert_eq!((found.seen_size, found.found_size), (2, 3));
        assert!(refused.to_string().contains(&name), "{refused}");
    }
}

#[test]
fn d1_a_changed_slot_is_named() {
    let (fixture, ledger) = Fixture::with(4);
    let name = slot(Lane::Main, 2);
    let before = fixture.slots.0.lock().unwrap()[&name].clone();
    let commit = Commit::parse(&before).unwrap();
    let Content::Main { entries, evidence } = commit.content.clone() else { panic!() };
    // Another record under the same signature.
    let forged = Content::Main { entries: vec![entry(90)], evidence: evidence.clone() };
    let forged = Commit { content: forged, ..commit.clone() }.to_bytes();
    fixture.change(|all| drop(all.insert(name.clone(), forged.into())));
    let refused = fixture.cold().unwrap_err();
    assert!(
        matches!(&refused, LedgerError::SlotChanged { name: found, .. } if *found == name),
        "{refused:?}"
    );
    // No commit at all.
    fixture.change(|all| drop(all.insert(name.clone(), Bytes::from_static(b"{}"))));
    let refused = fixture.cold().unwrap_err();
    assert!(matches!(&refused, LedgerError::Slot { name: found, .. } if *found == name), "{refused:?}");
    // A signature of somebody else's.
    let note = commit.note.replace("4\n", "5\n").replace("3\n", "4\n");
    let unsigned = Commit { note, ..commit.clone() }.to_bytes();
    fixture.change(|all| drop(all.insert(name.clone(), unsigned.into())));
    assert!(matches!(fixture.cold().unwrap_err(), LedgerError::Checkpoint { .. }));
    // Gone from the middle: the log ends there for who comes cold, and the audit of who was here says what was seen.
    fixture.change(|all| drop(all.remove(&name)));
    assert!(ledger.tip().is_ok(), "the last slot is what it was");
    let refused = ledger.verify(crate::ledger::tests::read_index).unwrap_err();
    assert!(matches!(refused, LedgerError::Shorter { .. }), "{refused:?}");
    // Only the index row: the record is as signed, and is not found under its service.
    let mut row = entries[0].clone();
    row.index.service = "hidden".to_owned();
    let content = Content::Main { entries: vec![row], evidence };
    let hidden = Commit { content, ..commit }.to_bytes();
    fixture.change(|all| drop(all.insert(name.clone(), hidden.into())));
    assert_eq!(audit(&fixture.cold().unwrap()).findings(), [Finding::IndexRow { index: 2 }]);
    // The audit reads the slots, not the copy.
    assert_eq!(audit(&ledger).findings(), [Finding::IndexRow { index: 2 }]);
    fixture.change(|all| drop(all.insert(name.clone(), before)));
    assert!(audit(&ledger).is_clean());
}

#[test]
fn b5_evidence_is_read_where_it_lies_and_put_right_by_who_has_it() {
    let (fixture, mut ledger) = Fixture::with(1);
    let keep = |bytes: &[u8]| {
        let mut kept = Kept::default();
        kept.keep(&bytes.to_vec().into());
        kept
    };
    let (one, name) = (Digest::of(b"one"), evidence(Digest::of(b"one")));
    let _ = ledger.append_with(1, &[entry(1)], &keep(b"one")).unwrap();
    for wrong in [Bytes::from_static(b"two"), vec![0; kept::LIMIT + 1].into()] {
        fixture.change(|all| drop(all.insert(name.clone(), wrong)));
        assert!(matches!(ledger.kept(1, one).unwrap_err(), LedgerError::EvidenceChanged { .. }));
        let size = ledger.tip().unwrap().size();
        let _ = ledger.append_with(size, &[entry(size)], &keep(b"one")).unwrap();
        assert_eq!(ledger.kept(1, one).unwrap(), &b"one"[..]);
    }
    fixture.change(|all| drop(all.remove(&name)));
    assert!(matches!(ledger.kept(1, one).unwrap_err(), LedgerError::EvidenceGone { .. }));
}

#[test]
fn a_mirror_that_was_deleted_is_made_again_and_one_that_was_changed_is_not_believed() {
    let (fixture, ledger) = Fixture::with(40);
    let tip = ledger.tip().unwrap();
    let file = || -> PathBuf {
        let folders: Vec<_> = std::fs::read_dir(fixture.cache.path().join("ledgers")).unwrap().collect();
        assert_eq!(folders.len(), 1);
        folders[0].as_ref().unwrap().path().join("mirror-2.db")
    };
    drop(ledger);
    std::fs::remove_dir_all(fixture.cache.path().join("ledgers")).unwrap();
    assert_eq!(fixture.back().unwrap().tip().unwrap(), tip);
    // The right edge, which the next append builds on.
    let edge = "UPDATE nodes SET hash = zeroblob(32) WHERE level = 5";
    rusqlite::Connection::open(file()).unwrap().execute_batch(edge).unwrap();
    let mut ledger = fixture.back().unwrap();
    let refused = ledger.append(40, &[entry(40)]).unwrap_err();
    assert!(matches!(refused, LedgerError::RootMismatch { .. }), "{refused:?}");
    assert!(fixture.slots.get(&slot(Lane::Main, 40), commit::LIMIT).unwrap().is_none());
}

/// A reader of tiles that knows nothing of commits; what a crash left out is made up for.
#[test]
fn the_main_lane_is_published_as_tiles() {
    let (fixture, mut ledger) = Fixture::with(3);
    for (first, end) in [(3, 255), (255, 258), (258, 259)] {
        if first == 258 {
            // As if the two writers before had died after their commit.
            fixture.change(|all| {
                all.retain(|name, _| !name.starts_with("tile/"));
                all.remove(publish::CHECKPOINT);
            });
        }
        let _ = ledger.append(first, &(first..end).map(entry).collect::<Vec<_>>()).unwrap();
        let get =
            |name: &str| fixture.slots.get(name, usize::MAX).unwrap().unwrap_or_else(|| panic!("no {name}"));
        let note = String::from_utf8(get("checkpoint").into()).unwrap();
        let head = fixture.signer.vkey().open(&note).unwrap();
        assert_eq!(head, ledger.tip().unwrap());
        let mut reader = crate::tlog::TileReader::new(head.size(), |tile: crate::tlog::Tile| {
            Ok::<_, LedgerError>(Vec::from(get(&tile.to_string())))
        });
        for index in [0, first, end - 1] {
            let bundle = crate::tlog::EntryBundle::of(index / 256, head.size()).unwrap();
            let bytes = get(&bundle.to_string());
            let entries = bundle.decode(&bytes).unwrap();
            let bytes = entries[usize::try_from(index % 256).unwrap()].to_vec();
            assert_eq!(bytes, entry(index).bytes);
            let proof =
                crate::tlog::inclusion_proof(index, head.size(), |node| reader.node::<LedgerError>(node));
            assert_eq!(head.include(index, bytes, &proof.unwrap()).unwrap().index(), index);
        }
    }
}

#[test]
fn a_slot_that_no_commit_leads_to_is_none() {
    let (fixture, ledger) = Fixture::with(0);
    drop(ledger);
    let mut ledger = fixture.cold().unwrap();
    let _ = ledger.append(0, &[entry(0), entry(1), entry(2)]).unwrap();
    for number in 3..6 {
        let _ = ledger.append(number, &[entry(number)]).unwrap();
    }
    for stray in ["commits/00000000000000000001", "commits/7", "commits/notes.txt"] {
        fixture.change(|all| drop(all.insert(stray.to_owned(), Bytes::from_static(b"x"))));
    }
    assert_eq!(fixture.cold().unwrap().tip().unwrap().size(), 6);
    assert_eq!(fixture.back().unwrap().tip().unwrap().size(), 6);
}

#[test]
fn a_folder_that_is_no_ledger_is_not_taken_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let signer = signer();
    let open = |url: &str| Ledger::open(url, folder.path(), signer.vkey(), None).unwrap_err();
    assert!(matches!(open("file:nowhere"), LedgerError::Absent { .. }));
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    assert!(matches!(open("file:empty"), LedgerError::Absent { .. }));
    std::fs::write(folder.path().join("file"), "notes").unwrap();
    assert!(matches!(open("file:file"), LedgerError::NotALedger { .. }));
    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("notes.txt"), "notes").unwrap();
    assert!(matches!(open("file:other"), LedgerError::Absent { .. }));
    let refused = Ledger::create("file:other", folder.path(), &signer).unwrap_err();
    assert!(matches!(refused, LedgerError::Exists { .. }), "{refused:?}");
    for (card, expected) in [("{}", "not a samebits ledger"), ("{\"format\":2}", "format 2: expected 1")] {
        std::fs::write(other.join("ledger.json"), card).unwrap();
        assert!(open("file:other").to_string().contains(expected), "{}", open("file:other"));
    }
}

#[test]
fn what_was_seen_is_remembered_between_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (signer, cache) = (signer(), folder.path().join("cache"));
    let folders = Folders { base: folder.path(), cache: Some(&cache) };
    let mut ledger = Ledger::create("file:l", folders, &signer).unwrap();
    let _ = ledger.append(0, &[entry(0)]).unwrap();
    let _ = ledger.append(1, &[entry(1)]).unwrap();
    drop(ledger);
    std::fs::remove_file(folder.path().join("l/commits/00000000000000000001")).unwrap();
    let ledger = Ledger::open("file:l", folders, signer.vkey(), None).unwrap();
    assert!(matches!(ledger.tip().unwrap_err(), LedgerError::Shorter { .. }));
}

/// A store that takes every creation, as some that know no `If-None-Match` do.
struct Overwrites(Memory);

impl Slots for Overwrites {
    fn get_all(&self, names: &[String], limit: usize) -> Result<Vec<Option<Bytes>>, SlotError> {
        self.0.get_all(names, limit)
    }

    fn create_all(&self, objects: &[(String, Bytes)]) -> Result<Vec<Created>, SlotError> {
        self.0.put_all(objects)?;
        Ok(vec![Created::Created; objects.len()])
    }

    fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, SlotError> {
        self.0.list(prefix, after)
    }

    fn put_all(&self, objects: &[(String, Bytes)]) -> Result<(), SlotError> {
        self.0.put_all(objects)
    }
}

#[test]
fn d5_a_store_that_overwrites_is_not_written_to() {
    let signer = signer();
    let made = create(Arc::new(Overwrites(Memory::default())), &signer, None).map(drop).unwrap_err();
    let (fixture, _ledger) = Fixture::with(2);
    let over = || Arc::new(Overwrites(fixture.slots.clone()));
    let vkey = fixture.signer.vkey();
    let opened = open(over(), vkey, Some(fixture.signer.clone()), None).map(drop).unwrap_err();
    for refused in [made, opened] {
        let LedgerError::Slots { source, .. } = &refused else { panic!("{refused:?}") };
        assert!(matches!(source, SlotError::Overwrites { name } if name == CARD), "{source:?}");
        assert!(source.is_final() && refused.hint().unwrap().contains("overwrite each other"));
    }
    // Nothing was lost by asking, and reading needs no such promise.
    assert_eq!(open(over(), vkey, None, None).unwrap().tip().unwrap().size(), 2);
}

/// A store that acknowledges what it was to create, and once has nothing of it.
struct Forgets(Memory, &'static str);

impl Slots for Forgets {
    fn get_all(&self, names: &[String], limit: usize) -> Result<Vec<Option<Bytes>>, SlotError> {
        self.0.get_all(names, limit)
    }

    fn create_all(&self, objects: &[(String, Bytes)]) -> Result<Vec<Created>, SlotError> {
        match objects.iter().any(|(name, _)| name.starts_with(self.1)) {
            true => Ok(vec![Created::Created; objects.len()]),
            false => self.0.create_all(objects),
        }
    }

    fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, SlotError> {
        self.0.list(prefix, after)
    }

    fn put_all(&self, objects: &[(String, Bytes)]) -> Result<(), SlotError> {
        self.0.put_all(objects)
    }
}

#[test]
fn d2_an_acknowledged_append_that_is_not_there_is_refused() {
    let (fixture, _ledger) = Fixture::with(2);
    for folder in ["commits/", "control/"] {
        let forgets = Arc::new(Forgets(fixture.slots.clone(), folder));
        let mut ledger = open(forgets, fixture.signer.vkey(), Some(fixture.signer.clone()), None).unwrap();
        assert_eq!(ledger.tip().unwrap().size(), 2);
        let refused = match folder {
            "commits/" => ledger.append(2, &[entry(2)]).map(drop).unwrap_err(),
            _ => ledger.append_control(0, b"freeze").map(drop).unwrap_err(),
        };
        assert!(matches!(refused, LedgerError::Shorter { .. }), "{folder}: {refused:?}");
    }
}
