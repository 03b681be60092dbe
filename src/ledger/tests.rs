//! The ledger under attack, contention and sudden death.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::*;
use crate::tlog::Origin;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tempfile::TempDir;

const URL: &str = "sqlite:.samebits/ledger.db";
/// Tells the re-executed test binary which folder to append in, and to what.
const CHILD: [&str; 2] = ["SAMEBITS_TEST_APPEND_IN", "SAMEBITS_TEST_APPEND_TO"];

pub(super) struct Fixture {
    folder: TempDir,
    signer: LogSigner,
}

impl Fixture {
    fn new() -> (Self, Ledger) {
        let folder = tempfile::tempdir().unwrap();
        let origin: Origin = "acme.example/promotions".parse().unwrap();
        let signer = LogSigner::generate(origin).unwrap();
        let ledger = Ledger::create(URL, folder.path(), &signer).unwrap();
        (Self { folder, signer }, ledger)
    }

    /// With `count` records, as `entry` makes them.
    pub(super) fn with(count: u64) -> (Self, Ledger) {
        let (fixture, mut ledger) = Self::new();
        let entries: Vec<_> = (0..count).map(entry).collect();
        if count > 0 {
            let _ = ledger.append(0, &entries).unwrap();
        }
        (fixture, ledger)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(".samebits/ledger.db")
    }

    fn open(&self) -> Result<Ledger, LedgerError> {
        Ledger::open(URL, self.folder.path(), self.signer.vkey(), Some(self.signer.clone()))
    }

    /// What somebody with the file and `sqlite3` does.
    pub(super) fn tamper(&self, sql: &str) {
        rusqlite::Connection::open(self.path()).unwrap().execute_batch(sql).unwrap();
    }
}

/// `bytes` say all that the index row says, as a record would.
pub(super) fn entry_of(kind: Kind, service: &str, environment: &str, key: &str) -> Entry {
    let digest = Digest::of(service.as_bytes());
    let bytes = format!("{kind} {service} {environment} {digest} done {key}").into_bytes();
    Entry { index: read_index(0, &bytes).unwrap(), bytes }
}

/// As much of a record as says what it is about, signed by nobody.
pub(super) fn record(service: &str, environment: &str, number: u64) -> Entry {
    let statement = serde_json::json!({
        "predicateType": Kind::Deployment.predicate_type(),
        "subject": [{ "digest": { "sha256": Digest::of(service.as_bytes()).hex() } }],
        "predicate": {
            "service": service,
            "environment": environment,
            "status": "succeeded",
            "ledger": { "idempotencyKey": Digest::of(&number.to_be_bytes()) },
        },
    });
    let payload = STANDARD.encode(statement.to_string());
    let bytes = serde_json::json!({ "dsseEnvelope": { "payload": payload } }).to_string().into_bytes();
    Entry { index: Index::claimed(&bytes).unwrap(), bytes }
}

pub(super) fn entry(number: u64) -> Entry {
    let kind = [Kind::Deployment, Kind::Promotion, Kind::Approval][(number % 3) as usize];
    let environment = ["staging", "production"][(number / 2 % 2) as usize];
    entry_of(kind, ["shop", "cart"][(number % 2) as usize], environment, &format!("key-{number}"))
}

pub(super) fn read_index(_: u64, bytes: &[u8]) -> Result<Index, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let parts: Vec<_> = text.split(' ').collect();
    let [kind, service, environment, digest, phase, key] = parts[..] else {
        return Err(format!("{} parts", parts.len()));
    };
    Ok(Index {
        kind: [Kind::Deployment, Kind::Promotion, Kind::Approval]
            .into_iter()
            .find(|known| known.as_str() == kind)
            .ok_or("kind")?,
        service: service.to_owned(),
        environment: environment.to_owned(),
        digest: Some(digest.parse().map_err(|_| "digest")?),
        phase: phase.to_owned(),
        idempotency_key: Some(key.to_owned()),
    })
}

pub(super) fn indexes(found: &[Included]) -> Vec<u64> {
    found.iter().map(Included::index).collect()
}

pub(super) fn audit(ledger: &Ledger) -> Audit {
    ledger.verify(read_index).unwrap()
}

#[test]
fn a_ledger_goes_to_another_thread() {
    fn send<T: Send>() {}
    send::<Ledger>();
}

#[test]
fn what_is_appended_is_read_back_with_proof() {
    let (fixture, mut ledger) = Fixture::new();
    assert_eq!((ledger.tip().unwrap().size(), ledger.tip().unwrap().root()), (0, empty_root()));
    for number in 0..70 {
        let appended = ledger.append(number, &[entry(number)]).unwrap();
        assert_eq!((appended.first, appended.checkpoint.size()), (number, number + 1));
    }
    let appended = ledger.append(70, &(70..130).map(entry).collect::<Vec<_>>()).unwrap();
    assert_eq!((appended.first, appended.checkpoint.size()), (70, 130));
    drop(ledger);
    let ledger = Ledger::open(URL, fixture.folder.path(), fixture.signer.vkey(), None).unwrap();
    let tip = ledger.tip().unwrap();
    assert_eq!(tip, appended.checkpoint);
    for number in 0..130 {
        let included = ledger.read(&tip, number).unwrap();
        assert_eq!((included.index(), included.bytes()), (number, &entry(number).bytes[..]));
    }
    assert!(matches!(ledger.read(&tip, 130), Err(LedgerError::Request { .. })));
    assert!(audit(&ledger).is_clean(), "{:?}", audit(&ledger));
}

#[test]
fn queries_answer_in_order_and_only_below_their_checkpoint() {
    let (_fixture, mut ledger) = Fixture::with(0);
    let old = ledger.append(0, &(0..20).map(entry).collect::<Vec<_>>()).unwrap().checkpoint;
    let tip = ledger.append(20, &(20..40).map(entry).collect::<Vec<_>>()).unwrap().checkpoint;
    assert_eq!(indexes(&ledger.history(&old, "shop", "staging").unwrap()), [0, 4, 8, 12, 16]);
    assert_eq!(
        indexes(&ledger.history(&tip, "cart", "production").unwrap()),
        [3, 7, 11, 15, 19, 23, 27, 31, 35, 39]
    );
    assert!(ledger.history(&tip, "shop", "prod").unwrap().is_empty());
    let cart = Digest::of(b"cart");
    assert_eq!(indexes(&ledger.by_digest(&old, &cart).unwrap()), [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]);
    assert!(ledger.by_digest(&tip, &Digest::of(b"")).unwrap().is_empty());
    assert_eq!(ledger.find_key(&tip, "key-30").unwrap().unwrap().index(), 30);
    assert!(ledger.find_key(&old, "key-30").unwrap().is_none());
    let mut filter = Filter { service: None, environment: None, kind: None, limit: 3 };
    assert_eq!(indexes(&ledger.log(&tip, 0..u64::MAX, &filter).unwrap()), [39, 38, 37]);
    assert_eq!(indexes(&ledger.log(&old, 0..u64::MAX, &filter).unwrap()), [19, 18, 17]);
    filter.service = Some("shop".to_owned());
    assert_eq!(indexes(&ledger.log(&tip, 5..20, &filter).unwrap()), [18, 16, 14]);
    filter.environment = Some("staging".to_owned());
    filter.kind = Some(Kind::Deployment);
    assert_eq!(indexes(&ledger.log(&tip, 0..40, &filter).unwrap()), [36, 24, 12]);
    filter.service = None;
    filter.environment = None;
    assert_eq!(indexes(&ledger.log(&tip, 0..10, &filter).unwrap()), [9, 6, 3]);
}

#[test]
fn d5_the_loser_of_two_appends_gets_a_conflict_and_appends_nothing() {
    let (fixture, mut mine) = Fixture::with(3);
    let mut theirs = fixture.open().unwrap();
    let _ = theirs.append(3, &[entry(3)]).unwrap();
    let lost = mine.append(3, &[entry(4)]);
    assert!(matches!(lost, Err(LedgerError::Conflict { expected: 3, found: 4 })), "{lost:?}");
    assert!(matches!(mine.append(9, &[entry(4)]), Err(LedgerError::Conflict { expected: 9, found: 4 })));
    assert_eq!(mine.tip().unwrap().size(), 4);
    assert!(mine.find_key(&mine.tip().unwrap(), "key-4").unwrap().is_none());
    let _ = mine.append(4, &[entry(4)]).unwrap();
    assert!(audit(&mine).is_clean());
}

#[test]
fn f4_an_entry_has_limits_and_an_append_is_all_or_nothing() {
    let (_fixture, mut ledger) = Fixture::with(1);
    let sized = |length| Entry { bytes: vec![b'x'; length], ..entry(1) };
    for wrong in [0, MAX_ENTRY + 1] {
        let refused = ledger.append(1, &[entry(1), sized(wrong)]);
        assert!(matches!(refused, Err(LedgerError::EntrySize { found, .. }) if found == wrong));
    }
    assert!(matches!(ledger.append(1, &[]), Err(LedgerError::Empty)));
    assert_eq!(ledger.tip().unwrap().size(), 1);
    let _ = ledger.append(1, &[sized(MAX_ENTRY)]).unwrap();
    assert_eq!(ledger.read(&ledger.tip().unwrap(), 1).unwrap().bytes().len(), MAX_ENTRY);
}

#[test]
fn a_ledger_is_never_overwritten() {
    let (fixture, ledger) = Fixture::with(2);
    let again = |fixture: &Fixture| Ledger::create(URL, fixture.folder.path(), &fixture.signer);
    assert!(matches!(again(&fixture), Err(LedgerError::Exists { .. })));
    drop(ledger);
    assert!(matches!(again(&fixture), Err(LedgerError::Exists { .. })));
    assert_eq!(fixture.open().unwrap().tip().unwrap().size(), 2);
    std::fs::write(
        fixture.path(),
        "my notes, which are longer than a hundred bytes, so that SQLite has a look at all \
        of its header and finds none",
    )
    .unwrap();
    assert!(matches!(again(&fixture), Err(LedgerError::Exists { .. })));
    // What a crash within `create` leaves.
    std::fs::write(fixture.path(), "").unwrap();
    assert!(matches!(fixture.open(), Err(LedgerError::NotALedger { .. })));
    assert_eq!(again(&fixture).unwrap().tip().unwrap().size(), 0);
}

#[test]
fn d7_absent_foreign_and_unsupported_are_different_errors() {
    let (fixture, ledger) = Fixture::with(1);
    drop(ledger);
    let vkey = fixture.signer.vkey();
    let open = |url: &str| Ledger::open(url, fixture.folder.path(), vkey, None);
    let absent = open("sqlite:nowhere/ledger.db").unwrap_err();
    assert!(
        matches!(absent, LedgerError::Absent { .. }) && !absent.is_tampering() && absent.hint().is_some()
    );
    assert!(!fixture.folder.path().join("nowhere").exists());
    assert!(matches!(open("http://host/db"), Err(LedgerError::Scheme { .. })));
    assert!(matches!(open("sqlite:.samebits"), Err(LedgerError::NotALedger { .. })));
    std::fs::write(fixture.folder.path().join("text"), "not a database".repeat(99)).unwrap();
    assert!(matches!(open("sqlite:text"), Err(LedgerError::NotALedger { .. })));
    rusqlite::Connection::open(fixture.folder.path().join("other.db"))
        .unwrap()
        .execute("CREATE TABLE t (x)", [])
        .unwrap();
    assert!(matches!(open("sqlite:other.db"), Err(LedgerError::NotALedger { .. })));
    fixture.tamper("PRAGMA user_version = 1");
    assert!(matches!(fixture.open(), Err(LedgerError::Format { found: 1, expected: 3, .. })));
}

#[test]
fn d4_a_ledger_made_anew_is_refused() {
    let (fixture, ledger) = Fixture::with(5);
    drop(ledger);
    let impostor = LogSigner::generate(fixture.signer.vkey().origin().clone()).unwrap();
    let other = LogSigner::generate("other.example/log".parse().unwrap()).unwrap();
    // Another origin, the same origin with another key, the origin's name on another log's checkpoint.
    let wrong = Ledger::open(URL, fixture.folder.path(), other.vkey(), None);
    assert!(matches!(wrong, Err(LedgerError::OriginMismatch { .. })), "{wrong:?}");
    let wrong = Ledger::open(URL, fixture.folder.path(), impostor.vkey(), None);
    assert!(matches!(wrong, Err(LedgerError::Checkpoint { source: TlogError::NotSigned { .. }, .. })));
    let wrong = Ledger::open(URL, fixture.folder.path(), fixture.signer.vkey(), Some(impostor.clone()));
    assert!(matches!(wrong, Err(LedgerError::WrongSigner { .. })));
    std::fs::remove_file(fixture.path()).unwrap();
    drop(Ledger::create(URL, fixture.folder.path(), &impostor).unwrap());
    assert!(fixture.open().unwrap_err().is_tampering());
}

#[test]
fn a_reader_without_the_key_cannot_append() {
    let (fixture, _ledger) = Fixture::with(1);
    let mut reader = Ledger::open(URL, fixture.folder.path(), fixture.signer.vkey(), None).unwrap();
    assert!(matches!(reader.append(1, &[entry(1)]), Err(LedgerError::NoSigner { .. })));
    let foreign = LogSigner::generate("other.example/log".parse().unwrap()).unwrap();
    let at = foreign.sign(1, empty_root()).unwrap();
    assert!(matches!(reader.read(&at, 0), Err(LedgerError::Request { .. })));
}

#[test]
fn d1_a_changed_record_is_named() {
    let (fixture, mut ledger) = Fixture::with(23);
    for index in [0, 13, 22] {
        let body = String::from_utf8(entry(index).bytes).unwrap();
        let changed = body.replace("done", "d0ne");
        fixture.tamper(&format!("UPDATE entries SET body = CAST('{changed}' AS BLOB) WHERE idx = {index}"));
        let tip = ledger.tip().unwrap();
        let refused = ledger.read(&tip, index).unwrap_err();
        assert!(matches!(refused, LedgerError::NotIncluded { index: found, .. } if found == index));
        let found = audit(&ledger);
        assert_eq!(found.first_bad_record(), Some(index));
        assert_eq!(found.findings(), [Finding::LeafChanged { index }, Finding::IndexRow { index }]);
        // Its own record, and no other.
        assert!(ledger.read(&tip, (index + 1) % 23).is_ok());
        fixture.tamper(&format!("UPDATE entries SET body = CAST('{body}' AS BLOB) WHERE idx = {index}"));
    }
    assert!(audit(&ledger).is_clean());
    let _ = ledger.append(23, &[entry(23)]).unwrap();
}

#[test]
fn d1_a_record_changed_with_its_own_hashes_is_still_found() {
    let (fixture, ledger) = Fixture::with(23);
    let forged = entry_of(Kind::Promotion, "shop", "production", "forged");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    fixture.tamper(&format!(
        "UPDATE entries SET body = x'{}' WHERE idx = 13; UPDATE nodes SET hash = x'{}' WHERE level = 0 AND idx = 13;",
        hex(&forged.bytes),
        leaf_hash(&forged.bytes).hex()
    ));
    assert!(ledger.read(&ledger.tip().unwrap(), 13).is_err());
    // Record and hash agree with each other but not with the signed parent: one of the two siblings.
    let found = audit(&ledger);
    assert_eq!(
        found.findings(),
        [Finding::Unproven { first: 12, last: 13 }, Finding::IndexRow { index: 13 }]
    );
    assert_eq!(found.first_bad_record(), Some(12));
    // Up to the peak: the other peak and the root give it away.
    let sibling = leaf_hash(&entry(12).bytes);
    let mut hash = node_at(&fixture, 0, 13);
    assert_eq!(hash, leaf_hash(&forged.bytes));
    hash = crate::tlog::node_hash(&sibling, &hash);
    fixture.tamper(&format!("UPDATE nodes SET hash = x'{}' WHERE level = 1 AND idx = 6", hash.hex()));
    assert_eq!(audit(&ledger).findings()[0], Finding::Unproven { first: 12, last: 15 });
    hash = crate::tlog::node_hash(&hash, &node_at(&fixture, 1, 7));
    fixture.tamper(&format!("UPDATE nodes SET hash = x'{}' WHERE level = 2 AND idx = 3", hash.hex()));
    hash = crate::tlog::node_hash(&node_at(&fixture, 2, 2), &hash);
    fixture.tamper(&format!("UPDATE nodes SET hash = x'{}' WHERE level = 3 AND idx = 1", hash.hex()));
    hash = crate::tlog::node_hash(&node_at(&fixture, 3, 0), &hash);
    fixture.tamper(&format!("UPDATE nodes SET hash = x'{}' WHERE level = 4 AND idx = 0", hash.hex()));
    let found = audit(&ledger);
    assert!(found.findings().contains(&Finding::Unproven { first: 0, last: 22 }), "{found:?}");
    let mismatch = |finding: &Finding| matches!(finding, Finding::RootMismatch { found: Some(_), .. });
    assert!(found.findings().iter().any(mismatch), "{found:?}");
    let refused = fixture.open().unwrap().append(23, &[entry(23)]);
    assert!(matches!(refused, Err(LedgerError::RootMismatch { .. })), "{refused:?}");
}

fn node_at(fixture: &Fixture, level: u8, index: u64) -> Digest {
    fixture.open().unwrap().node(Node { level, index }).unwrap()
}

#[test]
fn d1_a_deleted_record_is_named() {
    let (fixture, ledger) = Fixture::with(23);
    fixture.tamper("DELETE FROM entries WHERE idx IN (7, 20)");
    let tip = ledger.tip().unwrap();
    assert!(matches!(ledger.read(&tip, 7), Err(LedgerError::RecordMissing { index: 7, .. })));
    assert!(ledger.history(&tip, "cart", "production").is_err());
    let found = audit(&ledger);
    assert_eq!(found.first_bad_record(), Some(7));
    assert_eq!(found.findings(), [Finding::Missing { index: 7 }, Finding::Missing { index: 20 }]);
}

#[test]
fn d1_two_swapped_records_are_named() {
    let (fixture, ledger) = Fixture::with(23);
    fixture.tamper(
        "UPDATE entries SET idx = 99 WHERE idx = 4; UPDATE entries SET idx = 4 WHERE idx = 9;
         UPDATE entries SET idx = 9 WHERE idx = 99;",
    );
    let tip = ledger.tip().unwrap();
    assert!(ledger.read(&tip, 4).is_err() && ledger.read(&tip, 9).is_err());
    let found = audit(&ledger);
    assert_eq!(found.first_bad_record(), Some(4));
    assert!(found.findings().contains(&Finding::LeafChanged { index: 4 }));
    assert!(found.findings().contains(&Finding::LeafChanged { index: 9 }));
}

#[test]
fn d2_a_truncated_tail_is_named() {
    let (fixture, ledger) = Fixture::with(23);
    fixture.tamper("DELETE FROM entries WHERE idx >= 17");
    let found = audit(&ledger);
    assert_eq!(found.findings(), [Finding::Truncated { from: 17, size: 23 }]);
    // With all that belongs to them.
    fixture.tamper("DELETE FROM targets WHERE idx >= 17; DELETE FROM nodes WHERE ((idx + 1) << level) > 17;");
    let found = audit(&ledger);
    assert!(found.findings().contains(&Finding::Truncated { from: 17, size: 23 }), "{found:?}");
    assert_eq!(found.first_bad_record(), Some(17));
    assert!(matches!(fixture.open().unwrap().append(23, &[entry(23)]), Err(LedgerError::NodeMissing { .. })));
    fixture.tamper("DELETE FROM entries; DELETE FROM targets; DELETE FROM nodes;");
    assert_eq!(audit(&ledger).first_bad_record(), Some(0));
}

#[test]
fn d1_changed_hashes_and_index_rows_are_named_and_never_believed() {
    let (fixture, mut ledger) = Fixture::with(23);
    let tip = ledger.tip().unwrap();
    fixture.tamper(
        "UPDATE nodes SET hash = zeroblob(32) WHERE level = 2 AND idx = 1;
         UPDATE nodes SET hash = zeroblob(32) WHERE level = 0 AND idx = 2;
         DELETE FROM nodes WHERE level = 1 AND idx = 10;
         INSERT INTO nodes VALUES (5, 0, zeroblob(32)), (0, 23, zeroblob(32));
         UPDATE targets SET environment = 'production' WHERE idx = 0;
         DELETE FROM targets WHERE idx = 16;
         INSERT INTO targets VALUES (23, 'promotion', 'shop', 'production', NULL, 'commit', NULL);",
    );
    let found = audit(&ledger);
    assert_eq!(
        found.findings(),
        [
            Finding::IndexRow { index: 0 },
            Finding::IndexRow { index: 16 },
            Finding::Stray { index: 23 },
            Finding::NodeChanged { level: 0, index: 2 },
            Finding::NodeChanged { level: 1, index: 10 },
            Finding::NodeChanged { level: 2, index: 1 },
            Finding::StrayNode { level: 0, index: 23 },
            Finding::StrayNode { level: 5, index: 0 },
        ]
    );
    assert_eq!(found.first_bad_record(), None);
    assert!(ledger.read(&tip, 3).unwrap_err().is_tampering());
    assert!(matches!(ledger.read(&tip, 22), Err(LedgerError::NodeMissing { .. })));
    // A row that points a question at another record: the record is proven, its own fields tell.
    let answered = ledger.history(&tip, "shop", "production");
    assert!(answered.is_err() || answered.unwrap().iter().any(|record| record.index() == 0));
    assert!(matches!(
        ledger.append(23, &[entry(23)]),
        Err(LedgerError::NodeMissing { .. } | LedgerError::RootMismatch { .. } | LedgerError::Stray { .. })
    ));
}

#[test]
fn d1_a_record_that_nobody_signed_blocks_the_next_append() {
    let (fixture, mut ledger) = Fixture::with(23);
    fixture.tamper("INSERT INTO entries VALUES (23, x'00')");
    assert!(matches!(ledger.append(23, &[entry(23)]), Err(LedgerError::Stray { index: 23, .. })));
    assert_eq!(audit(&ledger).findings(), [Finding::Stray { index: 23 }]);
}

#[test]
fn a_record_that_is_invalid_in_itself_is_named() {
    let (_fixture, mut ledger) = Fixture::with(4);
    let _ = ledger.append(4, &[Entry { bytes: b"gibberish".to_vec(), ..entry(4) }]).unwrap();
    let found = audit(&ledger);
    assert_eq!(found.findings(), [Finding::RecordInvalid { index: 4, why: "1 parts".to_owned() }]);
    assert_eq!(found.first_bad_record(), Some(4));
}

#[test]
fn every_changed_record_of_every_small_size_is_named() {
    for size in 1..=12 {
        let (fixture, ledger) = Fixture::with(size);
        for index in 0..size {
            fixture.tamper(&format!(
                "UPDATE entries SET body = CAST(body || x'00' AS BLOB) WHERE idx = {index}"
            ));
            assert_eq!(audit(&ledger).first_bad_record(), Some(index), "{index} of {size}");
            fixture.tamper(&format!(
                "UPDATE entries SET body = CAST(substr(body, 1, length(body) - 1) AS BLOB) WHERE idx = {index}"
            ));
        }
        assert!(audit(&ledger).is_clean());
    }
}

#[test]
fn a_forged_checkpoint_is_refused() {
    let (fixture, mut ledger) = Fixture::with(3);
    let longer = ledger.tip().unwrap().text().replace("\n3\n", "\n4\n");
    fixture.tamper(&format!("UPDATE checkpoint SET note = '{longer}'"));
    assert!(matches!(
        ledger.tip(),
        Err(LedgerError::Checkpoint { source: TlogError::BadSignature { .. }, .. })
    ));
    assert!(matches!(ledger.append(4, &[entry(4)]), Err(LedgerError::Checkpoint { .. })));
    assert!(ledger.verify(read_index).is_err());
    fixture.tamper("DELETE FROM checkpoint");
    assert!(fixture.open().is_err());
}

#[test]
fn d7_trouble_with_the_file_is_never_an_answer() {
    let (fixture, mut ledger) = Fixture::with(3);
    // Full.
    ledger.store.connection().pragma_update(None, "max_page_count", 1).unwrap();
    let big = Entry { bytes: vec![b'x'; MAX_ENTRY], ..entry(3) };
    let full = ledger.append(3, &[big]).unwrap_err();
    assert!(matches!(full, LedgerError::Full { .. }), "{full:?}");
    ledger.store.connection().pragma_update(None, "max_page_count", 1_000_000).unwrap();
    // Not writable.
    ledger.store.connection().pragma_update(None, "query_only", true).unwrap();
    let refused = ledger.append(3, &[entry(3)]).unwrap_err();
    assert!(matches!(refused, LedgerError::ReadOnly { .. }), "{refused:?}");
    ledger.store.connection().pragma_update(None, "query_only", false).unwrap();
    // Locked.
    let other = fixture.open().unwrap();
    ledger.store.connection().busy_timeout(Duration::from_millis(20)).unwrap();
    other.store.connection().execute_batch("BEGIN IMMEDIATE").unwrap();
    let busy = ledger.append(3, &[entry(3)]).unwrap_err();
    other.store.connection().execute_batch("ROLLBACK").unwrap();
    assert!(matches!(busy, LedgerError::Busy { .. }), "{busy:?}");
    // None of it left a trace.
    let _ = ledger.append(3, &[entry(3)]).unwrap();
    assert!(audit(&ledger).is_clean());
    drop((ledger, other));
    // Corrupt.
    let mut bytes = std::fs::read(fixture.path()).unwrap();
    bytes[100..].fill(0xff);
    std::fs::write(fixture.path(), bytes).unwrap();
    let corrupt = fixture.open().unwrap_err();
    assert!(matches!(corrupt, LedgerError::Corrupt { .. }), "{corrupt:?}");
    assert!(corrupt.hint().is_some());
}

/// Appends the record `key` however often somebody else is first.
pub(super) fn append_until_done(ledger: &mut Ledger, entry: &Entry) -> u64 {
    let mut kept = Kept::default();
    kept.keep(&entry.bytes.clone().into());
    loop {
        let size = ledger.tip().unwrap().size();
        match ledger.append_with(size, std::slice::from_ref(entry), &kept) {
            Ok(appended) => return appended.first,
            Err(LedgerError::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn d5_concurrent_appends_lose_and_double_nothing() {
    let (fixture, ledger) = Fixture::with(0);
    let key = |thread: u64, number: u64| format!("{thread}-{number}");
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let mut ledger = fixture.open().unwrap();
            scope.spawn(move || {
                for number in 0..12 {
                    let entry = entry_of(Kind::Deployment, "shop", "staging", &key(thread, number));
                    let index = append_until_done(&mut ledger, &entry);
                    let tip = ledger.tip().unwrap();
                    assert_eq!(ledger.read(&tip, index).unwrap().bytes(), entry.bytes);
                }
            });
        }
    });
    let tip = ledger.tip().unwrap();
    let mut found: Vec<_> = ledger
        .history(&tip, "shop", "staging")
        .unwrap()
        .iter()
        .map(|record| record.bytes().to_vec())
        .collect();
    let mut expected: Vec<_> = (0..8)
        .flat_map(|thread| (0..12).map(move |number| (thread, number)))
        .map(|(thread, number)| entry_of(Kind::Deployment, "shop", "staging", &key(thread, number)).bytes)
        .collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert!(audit(&ledger).is_clean());
}

/// Not a test of its own: what `d6_…` below starts, and kills.
#[test]
#[ignore = "runs only as the child of d6_what_was_acknowledged_survives_sigkill"]
#[allow(clippy::disallowed_methods, reason = "the only way to tell a re-executed test what to do")]
fn child_that_appends() {
    let [Ok(folder), Ok(url)] = CHILD.map(std::env::var) else { return };
    let (folder, cache) = (PathBuf::from(&folder), PathBuf::from(&folder).join("cache"));
    let signer: LogSigner = std::fs::read_to_string(folder.join("key")).unwrap().parse().unwrap();
    let folders = Folders { base: &folder, cache: Some(&cache) };
    let mut ledger = Ledger::open(&url, folders, &signer.vkey().clone(), Some(signer)).unwrap();
    let acknowledged = folder.join(format!("acknowledged-{}", std::process::id()));
    let mut lines = String::new();
    for number in 0.. {
        let key = format!("{}-{number}", std::process::id());
        append_until_done(&mut ledger, &entry_of(Kind::Deployment, "shop", "staging", &key));
        lines.push_str(&key);
        lines.push('\n');
        // Renamed into place, so that it is never half written.
        std::fs::write(acknowledged.with_extension("new"), &lines).unwrap();
        std::fs::rename(acknowledged.with_extension("new"), &acknowledged).unwrap();
    }
}

#[test]
fn d6_what_was_acknowledged_survives_sigkill() {
    let (fixture, ledger) = Fixture::with(0);
    drop(ledger);
    kill_and_count(&fixture, URL);
    let count = "SELECT count(*) FROM kept";
    let ledger = fixture.open().unwrap();
    let kept: i64 = ledger.store.connection().query_row(count, [], |row| row.get(0)).unwrap();
    assert_eq!(u64::try_from(kept).unwrap(), ledger.tip().unwrap().size());
}

/// The children share a mirror, which they are killed over as well.
#[test]
fn d6_what_was_acknowledged_in_slots_survives_sigkill() {
    let (fixture, _sqlite) = Fixture::with(0);
    drop(Ledger::create("file:slots", fixture.folder.path(), &fixture.signer).unwrap());
    kill_and_count(&fixture, "file:slots");
}

/// The files of the children that got as far as one append.
fn acknowledged_in(fixture: &Fixture) -> Vec<PathBuf> {
    let files = std::fs::read_dir(fixture.folder.path()).unwrap().map(|file| file.unwrap().path());
    let acknowledged = |file: &PathBuf| {
        file.file_name().unwrap().to_string_lossy().starts_with("acknowledged-") && file.extension().is_none()
    };
    files.filter(acknowledged).collect()
}

fn kill_and_count(fixture: &Fixture, url: &str) {
    std::fs::write(fixture.folder.path().join("key"), fixture.signer.to_secret_text()).unwrap();
    for round in 0..6 {
        let mut children: Vec<_> = (0..2)
            .map(|_| {
                Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", "ledger::tests::child_that_appends", "--ignored"])
                    .envs([(CHILD[0], fixture.folder.path().as_os_str()), (CHILD[1], url.as_ref())])
                    .stdout(std::process::Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        std::thread::sleep(Duration::from_millis(120 + 37 * round));
        // On a busy machine the last ones may have got nowhere yet.
        while round == 5 && acknowledged_in(fixture).is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
    // By who comes cold, and by who has the mirror that the children left.
    let cache = fixture.folder.path().join("cache");
    let folders = Folders { base: fixture.folder.path(), cache: Some(&cache) };
    let warm = Ledger::open(url, folders, fixture.signer.vkey(), None).unwrap();
    let ledger = Ledger::open(url, fixture.folder.path(), fixture.signer.vkey(), None).unwrap();
    assert_eq!(warm.tip().unwrap(), ledger.tip().unwrap());
    assert!(audit(&warm).is_clean());
    let tip = ledger.tip().unwrap();
    let found: Vec<_> = ledger
        .history(&tip, "shop", "staging")
        .unwrap()
        .iter()
        .map(|record| read_index(0, record.bytes()).unwrap().idempotency_key.unwrap())
        .collect();
    let mut acknowledged = 0;
    for file in acknowledged_in(fixture) {
        for key in std::fs::read_to_string(file).unwrap().lines() {
            assert_eq!(found.iter().filter(|found| *found == key).count(), 1, "{key}");
            acknowledged += 1;
        }
    }
    let mut once = found.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), found.len(), "a record was doubled");
    assert!(acknowledged > 0, "no child got as far as one append");
    assert_eq!(found.len() as u64, tip.size());
    assert!(audit(&ledger).is_clean());
    // What a record relies on came with it, or not at all.
    for index in 0..tip.size() {
        let record = ledger.read(&tip, index).unwrap();
        assert_eq!(ledger.kept(index, Digest::of(record.bytes())).unwrap(), record.bytes());
    }
}

#[test]
fn what_is_to_be_filed_wrongly_is_not_appended() {
    let (_fixture, mut ledger) = Fixture::with(1);
    let mut entries = [record("shop", "staging", 1), record("shop", "staging", 2)];
    entries[1].index.service = "elsewhere".to_owned();
    let refused = ledger.append(1, &entries).unwrap_err();
    let LedgerError::EntryRow { at: 1, filed, says } = &refused else { panic!("{refused:?}") };
    assert_eq!((&filed[..], &says[..]), ("service `elsewhere`", "service `shop`"));
    assert!(refused.hint().is_some() && !refused.is_tampering());
    entries[1].index = Index::claimed(&entries[1].bytes).unwrap();
    let _ = ledger.append(1, &entries).unwrap();
}
