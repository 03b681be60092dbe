//! The ledger in a real PostgreSQL: appended to by many, tampered with, cut off in the middle of an append.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "support/peer.rs"]
mod peer;
#[path = "support/postgres.rs"]
mod postgres;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use postgres::{Postgres, USER};
use samebits::digest::Digest;
use samebits::evidence::Kept;
use samebits::ledger::seen::{Seen, SeenBy};
use samebits::ledger::{Entry, Filter, Finding, Index, Ledger, LedgerError, PostgresError};
use samebits::record::Kind;
use samebits::tlog::{Included, LogSigner};

/// A database of its own with a ledger in it.
struct Fixture {
    server: Arc<Postgres>,
    database: &'static str,
    url: String,
    signer: LogSigner,
}

impl Fixture {
    /// `None`, which was said, where there is no PostgreSQL.
    fn new(database: &'static str) -> Option<(Self, Ledger)> {
        let server = Postgres::shared()?;
        server.database(database);
        let url = server.url(USER, database);
        let signer = signer();
        let ledger = Ledger::create(&url, here(), &signer).unwrap();
        Some((Self { server, database, url, signer }, ledger))
    }

    /// With `count` records.
    fn with(database: &'static str, count: u64) -> Option<(Self, Ledger)> {
        let (fixture, mut ledger) = Self::new(database)?;
        let _ = ledger.append(0, &(0..count).map(entry).collect::<Vec<_>>()).unwrap();
        Some((fixture, ledger))
    }

    fn open(&self) -> Result<Ledger, LedgerError> {
        self.open_at(&self.url)
    }

    fn open_at(&self, url: &str) -> Result<Ledger, LedgerError> {
        Ledger::open(url, here(), self.signer.vkey(), Some(self.signer.clone()))
    }

    #[track_caller]
    fn sql(&self, sql: &str) -> String {
        self.server.sql(self.database, &format!("SET search_path = samebits; {sql}"))
    }
}

fn here() -> &'static Path {
    Path::new("/")
}

fn signer() -> LogSigner {
    LogSigner::generate("acme.example/promotions".parse().unwrap()).unwrap()
}

/// `bytes` say all that the index row says, as a record would.
fn entry(number: u64) -> Entry {
    let kind = [Kind::Deployment, Kind::Promotion, Kind::Approval][(number % 3) as usize];
    let service = ["shop", "cart"][(number % 2) as usize];
    let environment = ["staging", "production"][(number / 2 % 2) as usize];
    named(kind, service, environment, &format!("key-{number}"))
}

fn named(kind: Kind, service: &str, environment: &str, key: &str) -> Entry {
    let digest = Digest::of(service.as_bytes());
    let bytes = format!("{kind} {service} {environment} {digest} done {key}").into_bytes();
    Entry { index: read_index(0, &bytes).unwrap(), bytes }
}

fn read_index(_: u64, bytes: &[u8]) -> Result<Index, String> {
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

fn indexes(found: &[Included]) -> Vec<u64> {
    found.iter().map(Included::index).collect()
}

fn trouble(error: LedgerError) -> PostgresError {
    match error {
        LedgerError::Postgres { source } => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_appended_is_read_back_with_proof_and_queries_answer_in_order() {
    let Some((fixture, mut ledger)) = Fixture::new("reads") else { return };
    for number in 0..20 {
        let appended = ledger.append(number, &[entry(number)]).unwrap();
        assert_eq!((appended.first, appended.checkpoint.size()), (number, number + 1));
    }
    let old = ledger.tip().unwrap();
    let mut kept = Kept::default();
    kept.keep(&b"evidence".to_vec().into());
    let tip = ledger.append_with(20, &(20..40).map(entry).collect::<Vec<_>>(), &kept).unwrap().checkpoint;
    drop(ledger);
    let ledger = Ledger::open(&fixture.url, here(), fixture.signer.vkey(), None).unwrap();
    assert_eq!(ledger.tip().unwrap(), tip);
    for number in 0..40 {
        let included = ledger.read(&tip, number).unwrap();
        assert_eq!((included.index(), included.bytes()), (number, &entry(number).bytes[..]));
    }
    assert_eq!(indexes(&ledger.history(&old, "shop", "staging").unwrap()), [0, 4, 8, 12, 16]);
    assert!(ledger.history(&tip, "shop", "prod").unwrap().is_empty());
    let cart = Digest::of(b"cart");
    assert_eq!(indexes(&ledger.by_digest(&old, &cart).unwrap()), [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]);
    assert_eq!(ledger.find_key(&tip, "key-30").unwrap().unwrap().index(), 30);
    assert!(ledger.find_key(&old, "key-30").unwrap().is_none());
    let mut filter = Filter { service: None, environment: None, kind: None, limit: 3 };
    assert_eq!(indexes(&ledger.log(&tip, 0..u64::MAX, &filter).unwrap()), [39, 38, 37]);
    filter.service = Some("shop".to_owned());
    filter.kind = Some(Kind::Promotion);
    assert_eq!(indexes(&ledger.log(&tip, 0..u64::MAX, &filter).unwrap()), [34, 28, 22]);
    assert_eq!(ledger.kept(20, Digest::of(b"evidence")).unwrap(), &b"evidence"[..]);
    let audit = ledger.verify(read_index).unwrap();
    assert!(audit.is_clean(), "{audit:?}");
    // Without the private key nothing is written.
    let mut ledger = ledger;
    assert!(matches!(ledger.append(40, &[entry(40)]), Err(LedgerError::NoSigner { .. })));
}

#[test]
fn the_control_lane_is_read_whole_or_not_at_all() {
    let Some((fixture, mut ledger)) = Fixture::new("control") else { return };
    for number in 0..5 {
        assert_eq!(
            ledger.append_control(number, format!("record {number}").as_bytes()).unwrap().first,
            number
        );
    }
    assert!(matches!(ledger.append_control(4, b"late"), Err(LedgerError::Conflict { found: 5, .. })));
    assert_eq!(ledger.control().unwrap().head().size(), 5);
    fixture.sql("INSERT INTO control VALUES (9, 'x')");
    assert!(matches!(ledger.control(), Err(LedgerError::ControlStray { index: 9, .. })));
    fixture.sql("DELETE FROM control WHERE idx IN (2, 9)");
    assert!(matches!(ledger.control(), Err(LedgerError::ControlMissing { index: 2, .. })));
    assert!(ledger.append_control(5, b"on top").unwrap_err().is_tampering());
    fixture.sql("INSERT INTO control VALUES (2, 'x')");
    assert!(matches!(ledger.control(), Err(LedgerError::ControlChanged { .. })));
}

#[test]
fn d1_whatever_is_changed_behind_its_back_is_found() {
    let Some((fixture, _)) = Fixture::with("tampered", 20) else { return };
    let read = |index| {
        let ledger = fixture.open()?;
        ledger.read(&ledger.tip()?, index)
    };
    let restore = fixture.sql("SELECT body FROM entries WHERE idx = 7");
    fixture.sql("UPDATE entries SET body = 'x' WHERE idx = 7");
    assert!(matches!(read(7), Err(LedgerError::NotIncluded { index: 7, .. })));
    assert!(read(8).is_ok());
    let findings = fixture.open().unwrap().verify(read_index).unwrap();
    assert!(!findings.is_clean());
    fixture.sql("DELETE FROM entries WHERE idx = 7");
    assert!(matches!(read(7), Err(LedgerError::RecordMissing { index: 7, .. })));
    fixture.sql(&format!("INSERT INTO entries VALUES (7, '{restore}')"));
    assert!(read(7).is_ok());
    // A record that no checkpoint covers is not built on.
    fixture.sql("INSERT INTO entries VALUES (21, 'x')");
    let mut ledger = fixture.open().unwrap();
    let refused = ledger.append(20, &[entry(20), entry(21)]).unwrap_err();
    assert!(matches!(refused, LedgerError::Stray { index: 21, .. }), "{refused}");
    assert_eq!(ledger.tip().unwrap().size(), 20);
    let audit = ledger.verify(read_index).unwrap();
    assert!(
        audit.findings().iter().any(|finding| matches!(finding, Finding::Stray { index: 21 })),
        "{audit:?}"
    );
    fixture.sql("DELETE FROM entries WHERE idx = 21");
    // So is a row of the index, and a hash.
    fixture.sql(
        "INSERT INTO targets SELECT 20, kind, service, environment, digest, phase, key FROM targets LIMIT 1",
    );
    assert!(matches!(ledger.append(20, &[entry(20)]), Err(LedgerError::Stray { index: 20, .. })));
    fixture.sql("DELETE FROM targets WHERE idx = 20; INSERT INTO nodes VALUES (0, 20, '\\x00')");
    assert!(matches!(ledger.append(20, &[entry(20)]), Err(LedgerError::Stray { index: 20, .. })));
    assert!(!ledger.verify(read_index).unwrap().is_clean());
    fixture.sql("DELETE FROM nodes WHERE idx = 20");
    let _ = ledger.append(20, &[entry(20)]).unwrap();
    assert!(ledger.verify(read_index).unwrap().is_clean());
    // Hidden from a query, found by the audit.
    fixture.sql("DELETE FROM targets WHERE idx = 3");
    assert!(!ledger.verify(read_index).unwrap().is_clean());
    // Nothing is built on a forged edge, and an unsigned head is none.
    fixture.sql("UPDATE nodes SET hash = sha256('x') WHERE level = 4 AND idx = 0");
    assert!(matches!(ledger.append(21, &[entry(21)]), Err(LedgerError::RootMismatch { .. })));
    fixture.sql("UPDATE checkpoint SET note = replace(note, '21', '20')");
    assert!(matches!(fixture.open(), Err(LedgerError::Checkpoint { .. })));
    fixture.sql("DELETE FROM checkpoint");
    assert!(matches!(fixture.open(), Err(LedgerError::Checkpoint { .. })));
}

#[test]
fn d2_an_earlier_state_is_a_rollback() {
    let Some((fixture, mut ledger)) = Fixture::with("rolled_back", 5) else { return };
    let dump = fixture.sql("SELECT note FROM checkpoint");
    let seen = ledger.append(5, &[entry(5)]).unwrap().checkpoint;
    fixture.sql(&format!(
        "DELETE FROM entries WHERE idx = 5; DELETE FROM targets WHERE idx = 5; DELETE FROM nodes WHERE idx = 5;
         DELETE FROM nodes WHERE level = 1 AND idx = 2; UPDATE checkpoint SET note = E'{}\n'",
        dump.replace('\n', "\\n")
    ));
    let ledger = fixture.open().unwrap();
    let refused = ledger.require(&Seen::signed(&seen, SeenBy::Process)).unwrap_err();
    let LedgerError::Shorter { found, .. } = &refused else { panic!("{refused}") };
    assert_eq!((found.seen_size, found.found_size), (6, 5));
}

#[test]
fn eight_threads_append_and_nothing_is_lost_or_doubled() {
    const EACH: u64 = 15;
    let Some((fixture, _)) = Fixture::new("contention") else { return };
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let fixture = &fixture;
            scope.spawn(move || {
                let mut ledger = fixture.open().unwrap();
                for number in 0..EACH {
                    let entry = named(Kind::Approval, "shop", "staging", &format!("{thread}-{number}"));
                    loop {
                        let size = ledger.tip().unwrap().size();
                        match ledger.append(size, std::slice::from_ref(&entry)) {
                            Ok(_) => break,
                            Err(LedgerError::Conflict { .. }) => {}
                            Err(other) => panic!("{other}"),
                        }
                    }
                }
            });
        }
    });
    let ledger = fixture.open().unwrap();
    let tip = ledger.tip().unwrap();
    assert_eq!(tip.size(), 8 * EACH);
    let mut keys: Vec<_> = (0..tip.size())
        .map(|index| {
            let bytes = ledger.read(&tip, index).unwrap().bytes().to_vec();
            read_index(0, &bytes).unwrap().idempotency_key.unwrap()
        })
        .collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len() as u64, 8 * EACH);
    assert!(ledger.verify(read_index).unwrap().is_clean());
}

#[test]
fn a_session_that_is_ended_in_the_middle_of_an_append_leaves_nothing() {
    let Some((fixture, mut ledger)) = Fixture::with("ended", 3) else { return };
    // Whoever holds the lock ends the session that waits for it, before he lets go.
    let mut holder = fixture.server.psql(fixture.database);
    let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut say = holder.stdin.take().unwrap();
    let mut told = holder.stdout.take().unwrap();
    say.write_all(b"BEGIN; SELECT 'held' FROM samebits.checkpoint FOR UPDATE;\n").unwrap();
    let mut held = [0; 5];
    told.read_exact(&mut held).unwrap();
    assert_eq!(&held, b"held\n");
    say.write_all(
        b"DO $$ DECLARE waiting int; BEGIN
              LOOP
                  SELECT pid INTO waiting FROM pg_stat_activity
                  WHERE datname = 'ended' AND wait_event_type = 'Lock' AND application_name = 'samebits';
                  EXIT WHEN waiting IS NOT NULL;
                  PERFORM pg_stat_clear_snapshot();
              END LOOP;
              PERFORM pg_terminate_backend(waiting, 10000);
          END $$; COMMIT;\n",
    )
    .unwrap();
    drop(say);
    let lost = trouble(ledger.append(3, &[entry(3)]).unwrap_err());
    assert!(matches!(lost, PostgresError::Lost { .. }), "{lost:?}");
    assert!(lost.hint().unwrap().starts_with("run the command again"));
    assert!(holder.wait().unwrap().success());
    // The same handle logs in again, and sees that nothing was appended.
    let tip = ledger.tip().unwrap();
    assert_eq!(tip.size(), 3);
    assert!(ledger.find_key(&tip, "key-3").unwrap().is_none());
    let _ = ledger.append(3, &[entry(3)]).unwrap();
    assert!(ledger.verify(read_index).unwrap().is_clean());
}

#[test]
fn a_commit_that_is_refused_leaves_nothing() {
    let Some((fixture, mut ledger)) = Fixture::with("refused", 3) else { return };
    fixture.sql(
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
             'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END';
         CREATE CONSTRAINT TRIGGER die AFTER INSERT ON entries DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION die()",
    );
    let lost = trouble(ledger.append(3, &[entry(3)]).unwrap_err());
    assert!(matches!(lost, PostgresError::Lost { .. }), "{lost:?}");
    assert_eq!(ledger.tip().unwrap().size(), 3);
    fixture.sql("DROP TRIGGER die ON entries");
    let _ = ledger.append(3, &[entry(3)]).unwrap();
    assert!(ledger.verify(read_index).unwrap().is_clean());
}

/// Passes bytes on to the server until the client says COMMIT `after` more times; then it lets the server do it, and
/// keeps the answer to itself. Later connections are passed on.
fn cut_at_commit(server: &Postgres, after: usize) -> u16 {
    let (listener, port) = (TcpListener::bind("127.0.0.1:0").unwrap(), server.port());
    let ours = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut left = Some(after);
        for client in listener.incoming() {
            let (mut client, mut server) =
                (client.unwrap(), TcpStream::connect(("127.0.0.1", port)).unwrap());
            let (mut answers, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            let cut = Arc::new(std::sync::atomic::AtomicBool::new(false));
            let silent = Arc::clone(&cut);
            let back = std::thread::spawn(move || {
                let mut bytes = [0; 1 << 16];
                while let Ok(length @ 1..) = answers.read(&mut bytes) {
                    if silent.load(std::sync::atomic::Ordering::SeqCst) {
                        break;
                    }
                    to_client.write_all(&bytes[..length]).unwrap();
                }
                let _ = (to_client.shutdown(Shutdown::Both), answers.shutdown(Shutdown::Both));
            });
            let mut bytes = [0; 1 << 16];
            while let Ok(length @ 1..) = client.read(&mut bytes) {
                if bytes[..length].windows(7).any(|window| window == b"COMMIT\0") {
                    left = match left {
                        Some(0) => {
                            cut.store(true, std::sync::atomic::Ordering::SeqCst);
                            None
                        }
                        Some(left) => Some(left - 1),
                        None => None,
                    };
                }
                if server.write_all(&bytes[..length]).is_err() {
                    break;
                }
            }
            let _ = server.shutdown(Shutdown::Write);
            back.join().unwrap();
        }
    });
    ours
}

#[test]
fn a_commit_whose_answer_is_lost_is_found() {
    let Some((fixture, _)) = Fixture::with("answer", 3) else { return };
    let url = |port| format!("postgres://trusted@127.0.0.1:{port}/answer");
    let mut ledger = fixture.open_at(&url(cut_at_commit(&fixture.server, 1))).unwrap();
    let _ = ledger.append(3, &[entry(3)]).unwrap();
    let appended = ledger.append(4, &[entry(4), entry(5)]).unwrap();
    assert_eq!((appended.first, appended.checkpoint), (4, fixture.open().unwrap().tip().unwrap()));
    let _ = ledger.append(6, &[entry(6)]).unwrap();
    assert!(ledger.verify(read_index).unwrap().is_clean());
    let mut ledger = fixture.open_at(&url(cut_at_commit(&fixture.server, 0))).unwrap();
    assert_eq!(ledger.append_control(0, b"control").unwrap().checkpoint.size(), 1);
    assert_eq!(ledger.control().unwrap().head().size(), 1);
}

#[test]
fn a_ledger_is_never_overwritten_and_nothing_else_is_taken_for_one() {
    let Some((fixture, _)) = Fixture::with("places", 2) else { return };
    let create = |url: &str| Ledger::create(url, here(), &fixture.signer);
    assert!(matches!(create(&fixture.url), Err(LedgerError::Exists { .. })));
    assert_eq!(fixture.open().unwrap().tip().unwrap().size(), 2);
    // Another schema is another ledger; an empty one that an administrator made is used.
    let other = format!("{}&schema=other", fixture.url);
    assert!(matches!(fixture.open_at(&other), Err(LedgerError::Absent { .. })));
    fixture.sql(&format!("CREATE SCHEMA other AUTHORIZATION {USER}"));
    assert!(matches!(fixture.open_at(&other), Err(LedgerError::NotALedger { .. })));
    assert_eq!(create(&other).unwrap().tip().unwrap().size(), 0);
    // Anything in it is a reason to stay away.
    fixture.sql("CREATE SCHEMA taken; CREATE TABLE taken.meta (x int)");
    let taken = format!("{}&schema=taken", fixture.server.url("postgres", "places"));
    assert!(matches!(create(&taken), Err(LedgerError::Exists { .. })));
    assert!(matches!(fixture.open_at(&taken), Err(LedgerError::NotALedger { .. })));
    // Another format, another name, another key.
    fixture.sql("UPDATE other.meta SET format = 4");
    assert!(matches!(fixture.open_at(&other), Err(LedgerError::Format { found: 4, expected: 3, .. })));
    fixture.sql("UPDATE other.meta SET format = 3, origin = 'acme.example/else'");
    assert!(matches!(fixture.open_at(&other), Err(LedgerError::OriginMismatch { .. })));
    let stranger = signer();
    let refused = Ledger::open(&fixture.url, here(), stranger.vkey(), Some(stranger.clone()));
    assert!(matches!(refused, Err(LedgerError::Checkpoint { .. })));
}

#[test]
fn eight_make_one_ledger_and_one_of_them_does() {
    let Some(server) = Postgres::shared() else { return };
    server.database("race");
    let url = server.url(USER, "race");
    let made: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| Ledger::create(&url, here(), &signer()).map(drop))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1, "{made:?}");
    for lost in made.into_iter().filter_map(Result::err) {
        assert!(matches!(lost, LedgerError::Exists { .. }), "{lost:?}");
    }
}

#[test]
fn every_kind_of_trouble_is_called_by_its_name() {
    let Some((fixture, mut ledger)) = Fixture::with("troubles", 2) else { return };
    let (server, port) = (&fixture.server, fixture.server.port());
    let of = |url: &str| trouble(fixture.open_at(url).unwrap_err());
    // 1. Nobody there.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refused = of(&format!("postgres://ci@127.0.0.1:{nobody}/troubles"));
    assert!(matches!(refused, PostgresError::Unreachable { .. }), "{refused:?}");
    assert!(matches!(of("postgres:///d?host=/nowhere"), PostgresError::Unreachable { .. }));
    // 2. Nobody who is let in; the password is not in the URL, and not in this process.
    let refused = of(&format!("postgres://{USER}@127.0.0.1:{port}/troubles"));
    assert!(matches!(refused, PostgresError::Login { .. }), "{refused:?}");
    assert!(matches!(of(&server.url("nobody", "troubles")), PostgresError::Login { .. }));
    // 3. No such database.
    assert!(matches!(of(&server.url(USER, "nothing")), PostgresError::NoDatabase { .. }));
    // 4. Rights.
    let reader = server.url("reader", "troubles");
    assert!(matches!(of(&reader), PostgresError::Forbidden { .. }));
    fixture.sql(
        "GRANT USAGE ON SCHEMA samebits TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA samebits TO reader",
    );
    assert!(matches!(of(&reader), PostgresError::ReadOnlyLogin { .. }));
    let reading = Ledger::open(&reader, here(), fixture.signer.vkey(), None).unwrap();
    assert!(reading.verify(read_index).unwrap().is_clean());
    let refused = Ledger::create(&format!("{reader}&schema=mine"), here(), &signer()).unwrap_err();
    assert!(matches!(trouble(refused), PostgresError::Forbidden { .. }));
    // 5. A server that takes no writes, as a standby.
    fixture.sql("ALTER DATABASE troubles SET default_transaction_read_only = on");
    assert!(matches!(of(&fixture.url), PostgresError::Standby { .. }));
    server.sql("postgres", "ALTER DATABASE troubles RESET default_transaction_read_only");
    // 6. A session is made durable, whatever the default is.
    fixture.sql("ALTER DATABASE troubles SET synchronous_commit = off");
    fixture.sql(
        "CREATE FUNCTION sure() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN ASSERT current_setting(''synchronous_commit'') = ''on''; RETURN NULL; END';
         CREATE TRIGGER sure AFTER INSERT ON entries EXECUTE FUNCTION sure()",
    );
    let _ = fixture.open().unwrap().append(2, &[entry(2)]).unwrap();
    // 7. Tables that are no longer ours.
    fixture.sql("ALTER TABLE nodes RENAME COLUMN hash TO hush");
    assert!(matches!(trouble(ledger.append(3, &[entry(3)]).unwrap_err()), PostgresError::Tables { .. }));
    fixture.sql(
        "ALTER TABLE nodes RENAME COLUMN hush TO hash; ALTER TABLE entries ALTER body TYPE text USING 'x'",
    );
    let ledger = fixture.open().unwrap();
    let refused = trouble(ledger.read(&ledger.tip().unwrap(), 0).unwrap_err());
    assert!(matches!(refused, PostgresError::Tables { .. }), "{refused:?}");
    assert!(refused.hint().is_some());
}

#[test]
fn e_a_server_proves_its_name_or_is_not_talked_to() {
    let Some((fixture, _)) = Fixture::with("tls", 2) else { return };
    let port = fixture.server.port();
    let root = fixture.server.folder().join("ca.pem").display().to_string();
    let of =
        |host: &str, rest: &str| fixture.open_at(&format!("postgres://trusted@{host}:{port}/tls?{rest}"));
    assert_eq!(of("localhost", &format!("sslrootcert={root}")).unwrap().tip().unwrap().size(), 2);
    // The certificate is for another name; of a root that nobody trusts; of another root.
    for (host, rest) in [
        ("127.0.0.1", format!("sslrootcert={root}")),
        ("localhost", "sslmode=verify-full".to_owned()),
        ("localhost", format!("sslrootcert={}", fixture.server.folder().join("server.crt").display())),
    ] {
        let refused = trouble(of(host, &rest).unwrap_err());
        assert!(matches!(refused, PostgresError::Tls { .. }), "{host} {rest}: {refused:?}");
    }
    let refused = trouble(of("localhost", "sslrootcert=/nowhere.pem").unwrap_err());
    assert!(matches!(refused, PostgresError::Roots { .. }));
}

/// What somebody made longer or more than anything we write is not even sent.
#[test]
fn f4_rows_that_are_too_long_or_too_many_are_not_read() {
    let Some((fixture, mut ledger)) = Fixture::with("huge", 4) else { return };
    let tip = ledger.tip().unwrap();
    fixture.sql("UPDATE entries SET body = convert_to(repeat('x', 100000000), 'UTF8') WHERE idx = 2");
    let missing = |result: Result<(), LedgerError>| {
        let error = result.unwrap_err();
        assert!(matches!(error, LedgerError::RecordMissing { index: 2, .. }), "{error:?}");
    };
    missing(ledger.read(&tip, 2).map(drop));
    missing(ledger.history(&tip, "shop", "production").map(drop));
    missing(ledger.by_digest(&tip, &Digest::of(b"shop")).map(drop));
    assert_eq!(ledger.verify(read_index).unwrap().findings()[0], Finding::Missing { index: 2 });
    // Rows that were never signed, without end.
    fixture.sql("INSERT INTO targets SELECT -g, 'x', 'shop', 'staging', NULL, 'x', NULL FROM generate_series(1, 200000) g");
    assert_eq!(indexes(&ledger.history(&tip, "shop", "staging").unwrap()), [0]);
    assert!(ledger.verify(read_index).unwrap().findings().len() < 20_000);
    let _ = ledger.append_control(0, b"freeze").unwrap();
    fixture.sql("INSERT INTO control SELECT g, 'x' FROM generate_series(1, 200000) g");
    assert!(matches!(ledger.control(), Err(LedgerError::ControlStray { index: 1, .. })));
    fixture.sql("DELETE FROM control WHERE idx > 0; UPDATE control SET body = convert_to(repeat('x', 100000000), 'UTF8')");
    assert!(matches!(ledger.control(), Err(LedgerError::ControlChanged { .. })));
    // Neither are heads and hashes.
    fixture.sql("UPDATE checkpoint SET note = repeat('x', 100000000)");
    assert!(matches!(fixture.open(), Err(LedgerError::Checkpoint { .. })));
    let note = tip.text();
    fixture
        .sql(&format!("UPDATE checkpoint SET note = '{note}'; UPDATE nodes SET hash = 'x' WHERE level = 0"));
    let refused = fixture.open().unwrap().read(&tip, 0).unwrap_err();
    assert!(matches!(refused, LedgerError::NodeMissing { .. }), "{refused:?}");
}
