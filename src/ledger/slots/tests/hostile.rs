//! Who can write to the bucket files records elsewhere, and serves more than anybody can hold.

use super::*;
use crate::ledger::Index;
use crate::ledger::tests::record;
use crate::record::Kind;

/// The newest record hidden from who comes cold is the same as cut off: only, its root is the signed one.
#[test]
fn d2_a_record_that_is_filed_elsewhere_halts_who_comes_cold() {
    let (fixture, mut ledger) = Fixture::with(1);
    let _ = ledger.append(1, &[record("shop", "staging", 1)]).unwrap();
    let _ = ledger.append(2, &[record("shop", "staging", 2), record("shop", "staging", 3)]).unwrap();
    let name = slot(Lane::Main, 2);
    let before = fixture.slots.0.lock().unwrap()[&name].clone();
    let commit = Commit::parse(&before).unwrap();
    let Content::Main { entries, evidence } = commit.content.clone() else { panic!() };
    type Change = fn(&mut Index);
    let changes: [(Change, &str, &str); 6] = [
        (|row| row.service = "cart".to_owned(), "service `cart`", "service `shop`"),
        (|row| row.environment = "production".to_owned(), "`production`", "environment `staging`"),
        (|row| row.kind = Kind::Approval, "kind `approval`", "kind `deployment`"),
        (|row| row.phase = "failed".to_owned(), "phase `failed`", "phase `succeeded`"),
        (|row| row.digest = None, "no image", "image `sha256:"),
        (|row| row.idempotency_key = Some("mine".to_owned()), "key `mine`", "key `sha256:"),
    ];
    for (change, filed, says) in changes {
        let mut entries = entries.clone();
        change(&mut entries[1].index);
        let content = Content::Main { entries, evidence: evidence.clone() };
        let forged = Commit { content, ..commit.clone() }.to_bytes();
        fixture.change(|all| drop(all.insert(name.clone(), forged.into())));
        let refused = fixture.cold().unwrap_err();
        assert!(matches!(&refused, LedgerError::Row { index: 3, .. }), "{refused:?}");
        let text = refused.to_string();
        assert!([&name, filed, says].iter().all(|piece| text.contains(*piece)), "{text}");
        assert!(refused.is_tampering() && refused.hint().is_some());
        // Who was here before sees that the slot is another one; an audit looks at all of them.
        assert!(matches!(ledger.tip().unwrap_err(), LedgerError::Forked { .. }));
    }
    fixture.change(|all| drop(all.insert(name, before)));
    assert_eq!(fixture.cold().unwrap().tip().unwrap().size(), 4);
}

/// An owner appended what is no record: that ends nobody's ledger, wherever it is filed.
#[test]
fn what_is_no_record_is_filed_anywhere_and_harms_nobody() {
    let (fixture, mut ledger) = Fixture::with(0);
    for bytes in [&b"junk"[..], b"{}", br#"{"dsseEnvelope":{"payload":"e30="}}"#] {
        let size = ledger.tip().unwrap().size();
        let mut junk = entry(size);
        junk.bytes = bytes.to_vec();
        let _ = ledger.append(size, &[junk, record("shop", "staging", size)]).unwrap();
    }
    let cold = fixture.cold().unwrap();
    assert_eq!(cold.tip().unwrap().size(), 6);
}

/// A bucket that serves as much as it can: what is held of it before it was verified has a bound.
#[test]
fn f4_of_large_slots_one_is_held_at_a_time() {
    struct Counting(Memory, Arc<AtomicUsize>);
    impl Slots for Counting {
        fn get_all(&self, names: &[String], limit: usize) -> Result<Vec<Option<Bytes>>, SlotError> {
            let found = self.0.get_all(names, limit)?;
            self.1.fetch_max(found.iter().flatten().map(Bytes::len).sum(), Ordering::SeqCst);
            Ok(found)
        }
        fn create_all(&self, objects: &[(String, Bytes)]) -> Result<Vec<Created>, SlotError> {
            self.0.create_all(objects)
        }
        fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, SlotError> {
            self.0.list(prefix, after)
        }
        fn put_all(&self, objects: &[(String, Bytes)]) -> Result<(), SlotError> {
            self.0.put_all(objects)
        }
    }
    let (fixture, mut ledger) = Fixture::with(3);
    // Forty of 1.5 MiB, and junk of 16 MiB behind names that no commit leads to.
    for _ in 0..40 {
        let size = ledger.tip().unwrap().size();
        let large = |number| {
            let mut entry = entry(number);
            entry.bytes.resize(60_000, b'x');
            entry
        };
        let _ = ledger.append(size, &(size..size + 20).map(large).collect::<Vec<_>>()).unwrap();
    }
    for number in 0..64 {
        let junk = vec![b'x'; commit::LIMIT].into();
        fixture.change(|all| drop(all.insert(slot(Lane::Main, 4 + 20 * number), junk)));
    }
    let most = Arc::new(AtomicUsize::new(0));
    let slots = Arc::new(Counting(fixture.slots.clone(), most.clone()));
    let cold = open(slots, fixture.signer.vkey(), None, None).unwrap();
    assert_eq!(cold.tip().unwrap(), ledger.tip().unwrap());
    let most = most.load(Ordering::SeqCst);
    // One of them.
    assert!((1 << 20..2 << 20).contains(&most), "{most}");
}
