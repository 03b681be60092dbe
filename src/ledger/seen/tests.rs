//! A ledger file that is put back, forked by its own key, and shown to two clients.

use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::digest::Digest;
use crate::ledger::pin::{Pin, PinError, Pinned};
use crate::ledger::tests::record;
use crate::ledger::{Entry, Index};
use crate::record::Kind;
use crate::tlog::{LogSigner, empty_root};

/// One SQLite file, and what somebody who can write it does.
struct Yard {
    folder: TempDir,
    signer: LogSigner,
}

fn entry(number: u8) -> Entry {
    let index = Index {
        kind: Kind::Deployment,
        service: "shop".to_owned(),
        environment: "staging".to_owned(),
        digest: None,
        phase: "succeeded".to_owned(),
        idempotency_key: None,
    };
    Entry { bytes: vec![number], index }
}

impl Yard {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let signer = LogSigner::generate("acme.example/promotions".parse().unwrap()).unwrap();
        drop(Ledger::create("sqlite:ledger.db", folder.path(), &signer).unwrap());
        Self { folder, signer }
    }

    fn open(&self) -> Ledger {
        let vkey = self.signer.vkey();
        Ledger::open("sqlite:ledger.db", self.folder.path(), vkey, Some(self.signer.clone())).unwrap()
    }

    /// Appends `count` records to the main lane; those of another `kind` are other records.
    fn append(&self, kind: u8, count: u8) {
        let mut ledger = self.open();
        let size = ledger.tip().unwrap().size();
        let entries: Vec<_> = (0..count).map(|number| entry(kind + number)).collect();
        let _ = ledger.append(size, &entries).unwrap();
    }

    fn revoke(&self, kind: u8) {
        let mut ledger = self.open();
        let size = ledger.control().unwrap().head().size();
        let _ = ledger.append_control(size, &[kind]).unwrap();
    }

    /// The file as it is: everything is in it, for nobody has it open.
    fn copy(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join("ledger.db")).unwrap()
    }

    fn put_back(&self, copy: &[u8]) {
        std::fs::write(self.folder.path().join("ledger.db"), copy).unwrap();
    }

    fn pins(&self, user: &str) -> PathBuf {
        self.folder.path().join(user).join("samebits/pins")
    }

    /// What a user who comes by sees.
    fn visit(&self, user: &str) -> Result<Pinned, LedgerError> {
        self.open().pin(self.pin(user))
    }

    fn pin(&self, user: &str) -> Pin {
        Pin::new(&self.pins(user), self.signer.vkey())
    }
}

fn head(ledger: &Ledger) -> Seen {
    Seen::signed(&ledger.tip().unwrap(), SeenBy::Lock("samebits.lock".to_owned()))
}

fn shows_both(error: &LedgerError, seen: &str, found: &str) {
    let text = error.to_string();
    for note in [seen, found] {
        for line in note.lines() {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}

#[test]
fn d2_an_older_copy_of_the_file_is_refused_by_what_was_seen() {
    let yard = Yard::new();
    yard.append(0, 5);
    let (old, copy) = (head(&yard.open()), yard.copy());
    yard.append(5, 2);
    let seen = head(&yard.open());
    let ledger = yard.open();
    let first = Checkpoint { origin: yard.signer.vkey().origin().clone(), size: 0, root: empty_root() };
    let first = Seen::claimed(first, SeenBy::Process);
    for good in [&seen, &old, &first] {
        ledger.require(good).unwrap();
    }
    drop(ledger);
    yard.put_back(&copy);
    let refused = yard.open().require(&seen).unwrap_err();
    assert!(matches!(&refused, LedgerError::Shorter { found, .. } if found.lane == Lane::Main));
    assert!(refused.to_string().contains("its main lane has 5 records, and samebits.lock has seen 7"));
    shows_both(&refused, &seen.text, &old.text);
    // D3: appended to differently after the rollback, it is longer, and a fork.
    yard.append(90, 5);
    let refused = yard.open().require(&seen).unwrap_err();
    assert!(matches!(refused, LedgerError::Forked { .. }) && refused.is_tampering());
    shows_both(&refused, &seen.text, &head(&yard.open()).text);
    yard.open().require(&old).unwrap();
    // A claim that is no head of this log at all.
    let mut wrong = first;
    wrong.checkpoint.root = Digest::of(b"");
    wrong.checkpoint.size = 3;
    assert!(matches!(yard.open().require(&wrong), Err(LedgerError::Forked { .. })));
    wrong.checkpoint.origin = "other.example/log".parse().unwrap();
    assert!(matches!(yard.open().require(&wrong), Err(LedgerError::Request { .. })));
}

#[test]
fn d2_an_older_control_lane_is_refused_by_what_was_seen() {
    let yard = Yard::new();
    yard.revoke(1);
    let copy = yard.copy();
    yard.revoke(2);
    yard.append(0, 1);
    let ledger = yard.open();
    let seen = Seen::signed(ledger.control().unwrap().head(), SeenBy::Process);
    drop(ledger);
    yard.put_back(&copy);
    let refused = yard.open().require(&seen).unwrap_err();
    assert!(
        matches!(&refused, LedgerError::Shorter { found, .. } if found.lane == Lane::Control),
        "{refused}"
    );
    yard.revoke(3);
    yard.revoke(4);
    let refused = yard.open().require(&seen).unwrap_err();
    assert!(
        matches!(&refused, LedgerError::Forked { found, .. } if found.lane == Lane::Control),
        "{refused}"
    );
}

#[test]
fn d2_a_file_put_back_under_an_open_ledger_is_noticed() {
    let yard = Yard::new();
    yard.append(0, 3);
    let copy = yard.copy();
    yard.append(3, 3);
    let (ledger, mut other) = (yard.open(), yard.open());
    assert_eq!(ledger.tip().unwrap().size(), 6);
    let _ = ledger.control().unwrap();
    // Another process goes on, and that is no rollback.
    let _ = other.append(6, &[entry(9)]).unwrap();
    assert_eq!(ledger.tip().unwrap().size(), 7);
    drop(other);
    // The rows of an older copy, over the same connection: SQLite would rather not have its file replaced.
    std::fs::write(yard.folder.path().join("old.db"), copy).unwrap();
    let rows = rusqlite::Connection::open(yard.folder.path().join("ledger.db")).unwrap();
    rows.execute("ATTACH ?1 AS old", [yard.folder.path().join("old.db").to_str().unwrap()]).unwrap();
    rows.execute_batch("UPDATE checkpoint SET note = (SELECT note FROM old.checkpoint)").unwrap();
    let refused = ledger.tip().unwrap_err();
    assert!(
        matches!(&refused, LedgerError::Shorter { found, .. } if found.by == SeenBy::Process),
        "{refused}"
    );
}

#[test]
fn d2_a_pin_refuses_an_older_file_and_is_never_lowered() {
    let yard = Yard::new();
    yard.append(0, 4);
    let copy = yard.copy();
    assert_eq!(yard.visit("ana").unwrap(), Pinned::Yes);
    // Ana appends: her pin goes with it.
    let mut ledger = yard.open();
    assert_eq!(ledger.pin(yard.pin("ana")).unwrap(), Pinned::Yes);
    let _ = ledger.append(4, &[entry(4)]).unwrap();
    let _ = ledger.append_control(0, &[1]).unwrap();
    let (pinned, newest) = (std::fs::read(yard.pin("ana").file()).unwrap(), head(&ledger));
    drop(ledger);
    yard.put_back(&copy);
    for _ in 0..2 {
        let refused = yard.visit("ana").unwrap_err();
        shows_both(&refused, &newest.text, &head(&yard.open()).text);
        assert!(matches!(&refused, LedgerError::Shorter { found, .. } if matches!(found.by, SeenBy::Pin(_))));
        assert_eq!(std::fs::read(yard.pin("ana").file()).unwrap(), pinned);
    }
    // Ben has seen nothing of this.
    assert_eq!(yard.visit("ben").unwrap(), Pinned::Yes);
}

#[test]
fn d3_two_clients_of_a_fork_by_the_real_key_each_refuse_the_others() {
    let yard = Yard::new();
    yard.append(0, 3);
    let common = yard.copy();
    yard.append(10, 2);
    assert_eq!(yard.visit("ana").unwrap(), Pinned::Yes);
    let anas = yard.copy();
    yard.put_back(&common);
    yard.append(20, 2);
    assert_eq!(yard.visit("ben").unwrap(), Pinned::Yes);
    let bens = yard.copy();
    // Both are right by themselves: signed, complete, of one length.
    for (user, file, other) in [("ana", &anas, "ben"), ("ben", &bens, "ana")] {
        yard.put_back(file);
        assert_eq!(yard.visit(user).unwrap(), Pinned::Yes);
        let refused = yard.visit(other).unwrap_err();
        assert!(matches!(refused, LedgerError::Forked { .. }), "{refused}");
        assert!(refused.to_string().contains("it does not continue what was seen before"), "{refused}");
        // Both signatures are there: what is printed proves it.
        assert_eq!(refused.to_string().matches("\u{2014} acme.example/promotions ").count(), 2, "{refused}");
    }
}

#[test]
fn d4_a_ledger_made_anew_under_the_same_name_has_no_pin_and_the_old_key_refuses_it() {
    let (yard, mut again) = (Yard::new(), Yard::new());
    yard.append(0, 1);
    yard.visit("ana").unwrap();
    // Another key: what was pinned is about another log.
    assert_ne!(yard.pin("ana").file().file_name(), again.pin("ana").file().file_name());
    // The same key: a genesis that was replaced.
    again.signer = yard.signer.clone();
    again.folder = tempfile::tempdir().unwrap();
    drop(Ledger::create("sqlite:ledger.db", again.folder.path(), &again.signer).unwrap());
    again.append(7, 5);
    let refused = again.open().pin(yard.pin("ana")).unwrap_err();
    assert!(matches!(refused, LedgerError::Forked { .. }), "{refused}");
}

#[test]
fn a_malformed_pin_is_an_error_that_names_it() {
    let yard = Yard::new();
    yard.append(0, 2);
    yard.visit("ana").unwrap();
    let file = yard.pin("ana").file().to_owned();
    let good = std::fs::read_to_string(&file).unwrap();
    let other = LogSigner::generate("acme.example/promotions".parse().unwrap()).unwrap();
    let stranger = other.sign(1, Digest::of(b"")).unwrap().text().replace('\n', "\\n");
    let wrongs = [
        String::new(),
        "{}".to_owned(),
        good.replace("main", "mian"),
        good.replace('{', "{\"more\": \"\","),
        format!("{good}{{}}"),
        good.replace("acme.example/promotions\\n2", "acme.example/promotions\\n1"),
        format!("{{\"main\": \"{stranger}\", \"control\": \"{stranger}\"}}"),
    ];
    for wrong in wrongs {
        std::fs::write(&file, &wrong).unwrap();
        let refused = yard.visit("ana").unwrap_err();
        assert!(matches!(&refused, LedgerError::Pin(_)), "{wrong}\n{refused}");
        assert!(refused.to_string().contains(file.to_str().unwrap()), "{refused}");
        // It is left as it was, for whoever looks into it.
        assert_eq!(std::fs::read_to_string(&file).unwrap(), wrong);
    }
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let refused = yard.visit("ana").unwrap_err();
    assert!(matches!(refused, LedgerError::Pin(PinError::Unreadable { .. })), "{refused}");
}

#[test]
fn where_nothing_can_be_written_nothing_is_pinned_and_that_is_said() {
    let yard = Yard::new();
    yard.append(0, 1);
    // A file stands where the folder would be.
    std::fs::write(yard.folder.path().join("ana"), "").unwrap();
    let Pinned::No(why) = yard.visit("ana").unwrap() else { panic!("it was pinned") };
    assert!(!why.is_empty());
}

#[test]
fn many_clients_at_once_never_lower_a_pin() {
    let yard = Yard::new();
    yard.append(0, 1);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut ledger = yard.open();
                ledger.pin(yard.pin("ana")).unwrap();
                for _ in 0..4 {
                    let size = ledger.tip().unwrap().size();
                    match ledger.append(size, &[entry(1)]) {
                        Ok(_) | Err(LedgerError::Conflict { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    let newest = yard.open().tip().unwrap();
    let pin = std::fs::read_to_string(yard.pin("ana").file()).unwrap();
    assert!(pin.contains(&newest.text().replace('\n', "\\n")), "{pin}");
}

/// In a table that somebody else can write to, the newest records are filed as they say, before they are anything that
/// was seen.
#[test]
fn d2_a_record_that_is_filed_elsewhere_is_found_before_it_is_pinned() {
    let yard = Yard::new();
    yard.append(0, 2);
    assert_eq!(yard.visit("ana").unwrap(), Pinned::Yes);
    let pinned = || std::fs::read(yard.pin("ana").file()).unwrap();
    let before = pinned();
    let mut ledger = yard.open();
    let _ = ledger.append(2, &[record("shop", "staging", 1), record("shop", "staging", 2)]).unwrap();
    drop(ledger);
    let sql = |sql: &str| {
        let file = yard.folder.path().join("ledger.db");
        rusqlite::Connection::open(file).unwrap().execute_batch(sql).unwrap();
    };
    for (change, back, filed) in [
        ("SET service = 'cart'", "SET service = 'shop'", "service `cart`"),
        ("SET environment = ''", "SET environment = 'staging'", "environment ``"),
        ("SET idx = 9", "SET idx = 3", "nothing"),
    ] {
        sql(&format!("UPDATE targets {change} WHERE idx = 3"));
        // Who has a pin, and who never was here.
        for who in ["ana", "ben"] {
            let refused = yard.visit(who).unwrap_err();
            assert!(matches!(&refused, LedgerError::Row { index: 3, .. }), "{refused:?}");
            assert!(refused.to_string().contains(filed), "{refused}");
        }
        assert_eq!(pinned(), before);
        sql(&format!("UPDATE targets {back} WHERE idx IN (3, 9)"));
    }
    // The record with its row, so that the two agree.
    let other = record("cart", "staging", 2);
    let body: String = other.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    sql(&format!(
        "UPDATE entries SET body = x'{body}' WHERE idx = 3;
         UPDATE targets SET service = 'cart', digest = x'{}', key = '{}' WHERE idx = 3",
        other.index.digest.unwrap().hex(),
        other.index.idempotency_key.unwrap(),
    ));
    let refused = yard.visit("ana").unwrap_err();
    assert!(matches!(refused, LedgerError::RootMismatch { .. }), "{refused:?}");
    assert_eq!(pinned(), before);
}
