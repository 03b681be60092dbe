//! What every store has to do, as one suite that is run over each of them.

use super::tests::{append_until_done, audit, entry, entry_of, indexes};
use super::*;
use crate::tlog::{MAX_NOTE, Origin, WitnessSigner};

type Create = dyn Fn(&LogSigner) -> Result<Ledger, LedgerError> + Sync;
type Open = dyn Fn(&Vkey, Option<LogSigner>) -> Result<Ledger, LedgerError> + Sync;

/// A place for one ledger, with its keys.
pub(super) struct Bed {
    pub(super) signer: LogSigner,
    /// Makes the ledger.
    pub(super) create: Box<Create>,
    /// Opens it as a process of its own would, with nothing remembered; with the signer or without.
    pub(super) open: Box<Open>,
}

pub(super) fn signer() -> LogSigner {
    let origin: Origin = "acme.example/promotions".parse().unwrap();
    LogSigner::generate(origin).unwrap()
}

impl Bed {
    pub(super) fn writer(&self) -> Ledger {
        (self.open)(self.signer.vkey(), Some(self.signer.clone())).unwrap()
    }

    fn reader(&self) -> Ledger {
        (self.open)(self.signer.vkey(), None).unwrap()
    }
}

fn kept(pieces: &[&[u8]]) -> Kept {
    let mut kept = Kept::default();
    pieces.iter().for_each(|bytes| kept.keep(&bytes.to_vec().into()));
    kept
}

/// All of it.
pub(super) fn holds(bed: &Bed) {
    it_is_made_once(bed);
    what_is_appended_is_read_back(bed);
    the_loser_gets_a_conflict(bed);
    the_control_lane_is_read_whole(bed);
    evidence_comes_with_the_record(bed);
    cosignatures_are_kept_beside_the_lanes(bed);
    many_writers_lose_and_double_nothing(bed);
}

fn it_is_made_once(bed: &Bed) {
    let (vkey, signer) = (bed.signer.vkey(), &bed.signer);
    let absent = (bed.open)(vkey, None).unwrap_err();
    assert!(matches!(absent, LedgerError::Absent { .. }), "{absent:?}");
    let made = (bed.create)(signer).unwrap();
    assert_eq!((made.tip().unwrap().size(), made.control().unwrap().head().size()), (0, 0));
    let again = (bed.create)(signer).unwrap_err();
    assert!(matches!(again, LedgerError::Exists { .. }), "{again:?}");
    // Another log's key, and another key of the same name.
    let other = LogSigner::generate("other.example/log".parse().unwrap()).unwrap();
    let wrong = (bed.open)(other.vkey(), None).unwrap_err();
    assert!(matches!(wrong, LedgerError::OriginMismatch { .. }), "{wrong:?}");
    let impostor = LogSigner::generate(vkey.origin().clone()).unwrap();
    let wrong = (bed.open)(impostor.vkey(), None).unwrap_err();
    assert!(matches!(wrong, LedgerError::Checkpoint { .. }), "{wrong:?}");
    let unsigned = bed.reader().append(0, &[entry(0)]).unwrap_err();
    assert!(matches!(unsigned, LedgerError::NoSigner { .. }), "{unsigned:?}");
}

fn what_is_appended_is_read_back(bed: &Bed) {
    let mut ledger = bed.writer();
    for number in 0..5 {
        let appended = ledger.append(number, &[entry(number)]).unwrap();
        assert_eq!((appended.first, appended.checkpoint.size()), (number, number + 1));
    }
    let appended = ledger.append(5, &(5..24).map(entry).collect::<Vec<_>>()).unwrap();
    // Who wrote it and who comes to it cold see the same, with the same head to the byte.
    for ledger in [ledger, bed.reader()] {
        let tip = ledger.tip().unwrap();
        assert_eq!(tip, appended.checkpoint);
        for number in 0..24 {
            let included = ledger.read(&tip, number).unwrap();
            assert_eq!((included.index(), included.bytes()), (number, &entry(number).bytes[..]));
        }
        assert_eq!(indexes(&ledger.history(&tip, "shop", "staging").unwrap()), [0, 4, 8, 12, 16, 20]);
        assert_eq!(ledger.find_key(&tip, "key-19").unwrap().unwrap().index(), 19);
        assert_eq!(ledger.by_digest(&tip, &Digest::of(b"cart")).unwrap().len(), 12);
        let filter = Filter { service: None, environment: None, kind: None, limit: 2 };
        assert_eq!(indexes(&ledger.log(&tip, 0..u64::MAX, &filter).unwrap()), [23, 22]);
        assert!(audit(&ledger).is_clean(), "{:?}", audit(&ledger));
    }
}

fn the_loser_gets_a_conflict(bed: &Bed) {
    let (mut mine, mut theirs) = (bed.writer(), bed.writer());
    let size = mine.tip().unwrap().size();
    assert_eq!(theirs.tip().unwrap().size(), size);
    let _ = theirs.append(size, &[entry(size)]).unwrap();
    let lost = mine.append(size, &[entry(90)]).unwrap_err();
    let found = size + 1;
    assert!(
        matches!(lost, LedgerError::Conflict { expected, found: now } if (expected, now) == (size, found)),
        "{lost:?}"
    );
    let tip = mine.tip().unwrap();
    assert_eq!(tip.size(), found);
    assert!(mine.find_key(&tip, "key-90").unwrap().is_none());
    let ahead = mine.append(size + 9, &[entry(90)]).unwrap_err();
    assert!(matches!(ahead, LedgerError::Conflict { .. }), "{ahead:?}");
    let _ = mine.append(found, &[entry(found)]).unwrap();
    assert_eq!(theirs.tip().unwrap(), mine.tip().unwrap());
}

fn the_control_lane_is_read_whole(bed: &Bed) {
    let (mut mine, mut theirs) = (bed.writer(), bed.writer());
    let before = mine.tip().unwrap();
    let _ = mine.append_control(0, b"freeze").unwrap();
    let lost = theirs.append_control(0, b"revoke").unwrap_err();
    assert!(matches!(lost, LedgerError::Conflict { expected: 0, found: 1 }), "{lost:?}");
    let _ = theirs.append_control(1, b"revoke").unwrap();
    let _ = mine.append_control(2, b"thaw").unwrap();
    for ledger in [mine, theirs, bed.reader()] {
        let lane = ledger.control().unwrap();
        let bytes: Vec<_> = lane.entries().iter().map(Included::bytes).collect();
        assert_eq!(bytes, [&b"freeze"[..], b"revoke", b"thaw"]);
        assert_eq!(ledger.tip().unwrap(), before);
    }
}

fn evidence_comes_with_the_record(bed: &Bed) {
    let mut ledger = bed.writer();
    let size = ledger.tip().unwrap().size();
    let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
    let _ = ledger.append_with(size, &[entry(size)], &kept(&[b"one", b"other"])).unwrap();
    // Again, by somebody else: it is there already.
    let mut theirs = bed.writer();
    let size = size + 1;
    let _ = theirs.append_with(size, &[entry(size)], &kept(&[b"one", b"more"])).unwrap();
    for ledger in [ledger, theirs, bed.reader()] {
        assert_eq!(ledger.kept(size, one).unwrap(), &b"one"[..]);
        assert_eq!(ledger.kept(size, other).unwrap(), &b"other"[..]);
        assert_eq!(ledger.kept(size, Digest::of(b"more")).unwrap(), &b"more"[..]);
        let gone = ledger.kept(size, Digest::of(b"never")).unwrap_err();
        assert!(matches!(gone, LedgerError::EvidenceGone { .. }), "{gone:?}");
        assert!(ledger.examine_kept(size, one).unwrap().is_none());
    }
}

fn cosignatures_are_kept_beside_the_lanes(bed: &Bed) {
    let witness = |name: &str| WitnessSigner::generate(format!("{name}.example/w").parse().unwrap()).unwrap();
    let (one, other) = (witness("one"), witness("other"));
    let policy = format!(
        "witness one {}\nwitness other {}\ngroup both all one other\nquorum both\n",
        one.vkey(),
        other.vkey()
    );
    let keeper = || {
        let mut ledger = bed.writer();
        ledger.witnessed_by(Some(policy.parse().unwrap()));
        ledger
    };
    let by = |head: &SignedCheckpoint, who: &WitnessSigner, time| {
        head.cosigned(&who.cosign(head, time).unwrap(), who.vkey()).unwrap()
    };
    let heads =
        |ledger: &Ledger| [Lane::Main, Lane::Control].map(|lane| (lane, ledger.lane_tip(lane).unwrap()));
    let mut ledger = keeper();
    let old = heads(&ledger);
    for (lane, head) in &old {
        assert_eq!(ledger.cosigned(*lane).unwrap(), None);
        ledger.keep_cosigned(*lane, &by(head, &one, 100)).unwrap();
        assert_eq!(bed.reader().cosigned(*lane).unwrap(), Some(by(head, &one, 100)));
    }
    // Another witness of the same head comes to it.
    for (lane, head) in &old {
        keeper().keep_cosigned(*lane, &by(head, &other, 90)).unwrap();
        let both = bed.reader().cosigned(*lane).unwrap().unwrap();
        assert_eq!(both.checkpoint(), head.checkpoint());
        for who in [&one, &other] {
            assert_eq!(who.vkey().cosignatures(&both).unwrap().len(), 1);
        }
    }
    // A newer one takes its place, and is not replaced by the older one.
    let _ = ledger.append(old[0].1.size(), &[entry(old[0].1.size())]).unwrap();
    let _ = ledger.append_control(old[1].1.size(), b"revoke").unwrap();
    let new = heads(&ledger);
    for ((lane, old), (_, new)) in old.iter().zip(&new) {
        let cosigned = by(new, &one, 200);
        keeper().keep_cosigned(*lane, &cosigned).unwrap();
        keeper().keep_cosigned(*lane, &by(old, &other, 300)).unwrap();
        assert_eq!(bed.reader().cosigned(*lane).unwrap(), Some(cosigned.clone()));
        // Whoever looked before that does not put it back either.
        let swap = ledger.store.keep_cosigned(*lane, Some(old.text().as_bytes()), old.text()).unwrap();
        assert_eq!(swap, Swap::Conflict);
        assert_eq!(ledger.store.keep_cosigned(*lane, None, old.text()).unwrap(), Swap::Conflict);
        assert_eq!(bed.reader().cosigned(*lane).unwrap(), Some(cosigned));
        // The lane's own checkpoint is as the log signed it.
        assert_eq!(heads(&bed.reader()).into_iter().find(|(which, _)| which == lane).unwrap().1, *new);
    }
    // What is none is an error that names it, and gives way.
    let mut before: Vec<_> =
        new.iter().map(|(_, head)| by(head, &one, 200).text().as_bytes().to_vec()).collect();
    for wrong in ["", "nothing of the sort\n", &"x".repeat(MAX_NOTE + 1)] {
        for ((lane, head), before) in new.iter().zip(&mut before) {
            let swap = ledger.store.keep_cosigned(*lane, Some(before), wrong).unwrap();
            assert_eq!(swap, Swap::Swapped);
            let refused = bed.reader().cosigned(*lane).unwrap_err();
            assert!(matches!(refused, LedgerError::Cosigned { .. }), "{refused:?}");
            assert!(refused.to_string().contains(&lane.to_string()), "{refused}");
            assert!(refused.hint().is_some_and(|hint| hint.contains("ledger cosign")));
            keeper().keep_cosigned(*lane, &by(head, &one, 400)).unwrap();
            let kept = bed.reader().cosigned(*lane).unwrap().unwrap();
            assert_eq!(kept, by(head, &one, 400));
            *before = kept.text().as_bytes().to_vec();
        }
    }
}

const WRITERS: u64 = 8;
const EACH: u64 = 6;

/// Nothing is lost, nothing is doubled, and every head on the way is a prefix of the last.
pub(super) fn many_writers_lose_and_double_nothing(bed: &Bed) {
    let before = bed.reader().tip().unwrap();
    let record =
        |writer, number| entry_of(Kind::Deployment, "race", "staging", &format!("{writer}-{number}"));
    let heads: Vec<SignedCheckpoint> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    let mut ledger = bed.writer();
                    let append = |number| {
                        let entry = record(writer, number);
                        let index = append_until_done(&mut ledger, &entry);
                        let tip = ledger.tip().unwrap();
                        assert_eq!(ledger.read(&tip, index).unwrap().bytes(), entry.bytes);
                        tip
                    };
                    (0..EACH).map(append).collect::<Vec<_>>()
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    let ledger = bed.reader();
    let tip = ledger.tip().unwrap();
    assert_eq!(tip.size(), before.size() + WRITERS * EACH);
    let found = ledger.history(&tip, "race", "staging").unwrap();
    let mut found: Vec<_> = found.iter().map(|record| record.bytes().to_vec()).collect();
    let mut expected: Vec<_> =
        (0..WRITERS).flat_map(|writer| (0..EACH).map(move |n| record(writer, n).bytes)).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    for head in heads.iter().chain([&before]) {
        ledger.require(&Seen::signed(head, SeenBy::Process)).unwrap();
    }
    assert!(audit(&ledger).is_clean());
}

#[test]
fn sqlite_does_it() {
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let (made, opened) = (folder.clone(), folder);
    holds(&Bed {
        signer: signer(),
        create: Box::new(move |signer| Ledger::create("sqlite:l.db", made.path(), signer)),
        open: Box::new(move |vkey, signer| Ledger::open("sqlite:l.db", opened.path(), vkey, signer)),
    });
}

#[test]
fn slots_in_a_folder_do_it() {
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let (made, opened) = (folder.clone(), folder);
    holds(&Bed {
        signer: signer(),
        create: Box::new(move |signer| Ledger::create("file:ledger", made.path(), signer)),
        open: Box::new(move |vkey, signer| Ledger::open("file:ledger", opened.path(), vkey, signer)),
    });
}
