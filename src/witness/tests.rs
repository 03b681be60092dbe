//! Witnesses on loopback, with real signatures: honest ones, lying ones, and logs that are not what they were.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::*;
use crate::evidence::Freshness;
use crate::ledger::seen::Lane;
use crate::ledger::{Entry, Index, Ledger, LedgerError};
use crate::record::Kind;
use crate::registry::HttpConfig;
use crate::tlog::{LogSigner, SignedCheckpoint, TlogPolicy};

fn clock() -> Timestamp {
    "2030-03-01T09:00:00Z".parse().unwrap()
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

struct World {
    folder: TempDir,
    runtime: Runtime,
    log: LogSigner,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = LogSigner::generate("acme.example/promotions".parse().unwrap()).unwrap();
        drop(Ledger::create("sqlite:ledger.db", folder.path(), &log).unwrap());
        Self { folder, runtime: Runtime::new().unwrap(), log }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ledger(&self, policy: Option<&TlogPolicy>) -> Ledger {
        let signer = Some(self.log.clone());
        let mut ledger =
            Ledger::open("sqlite:ledger.db", self.folder.path(), self.log.vkey(), signer).unwrap();
        ledger.witnessed_by(policy.cloned());
        ledger
    }

    fn grow(&self, main: u8, control: u8) {
        let mut ledger = self.ledger(None);
        for number in 0..main {
            let size = ledger.tip().unwrap().size();
            let mut entry = entry(number);
            entry.bytes.push(main);
            let _ = ledger.append(size, &[entry]).unwrap();
        }
        for number in 0..control {
            let size = ledger.control().unwrap().head().size();
            let _ = ledger.append_control(size, &[main, number]).unwrap();
        }
    }

    fn witness(&self, name: &str) -> Witness {
        let signer = WitnessSigner::generate(format!("witness.example/{name}").parse().unwrap()).unwrap();
        self.again(&signer, name)
    }

    /// The same witness after a restart.
    fn again(&self, signer: &WitnessSigner, name: &str) -> Witness {
        let logs = [self.log.vkey().clone()];
        Witness::open(signer.clone(), &logs, &self.path(&format!("{name}.db"))).unwrap()
    }

    fn serve(&self, witness: Witness) -> SocketAddr {
        self.runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(serve(listener, Arc::new(witness), clock));
            address
        })
    }

    fn cosign(&self, policy: &TlogPolicy) -> Vec<Asked> {
        let client = Client::new(&HttpConfig::default()).unwrap();
        self.runtime.block_on(cosign(&self.ledger(Some(policy)), policy, &client)).unwrap()
    }

    fn fresh(&self, policy: Option<&TlogPolicy>) -> Result<Freshness, LedgerError> {
        let ledger = self.ledger(policy);
        let cosigned = ledger.cosigned(Lane::Control)?;
        ledger.freshness(cosigned.as_ref(), &ledger.control()?, clock())
    }
}

fn policy(witnesses: &[(&WitnessVkey, SocketAddr)], quorum: &str) -> TlogPolicy {
    let mut text = String::new();
    for (index, (vkey, address)) in witnesses.iter().enumerate() {
        text.push_str(&format!("witness w{index} {vkey} http://{address}/\n"));
    }
    format!("{text}{quorum}\n").parse().unwrap()
}

fn sizes(asked: &[Asked]) -> Vec<Result<u64, String>> {
    let short = |error: &AskError| error.to_string().lines().next().unwrap().to_owned();
    asked.iter().map(|asked| asked.cosigned.as_ref().copied().map_err(short)).collect()
}

#[test]
fn a_ledger_is_cosigned_step_by_step_by_a_witness_that_restarts() {
    let world = World::new();
    let signer = WitnessSigner::generate("witness.example/w".parse().unwrap()).unwrap();
    for (main, control) in [(0, 0), (3, 0), (0, 2), (1, 1), (40, 3)] {
        world.grow(main, control);
        let address = world.serve(world.again(&signer, "w"));
        let policy = policy(&[(signer.vkey(), address)], "quorum w0");
        let ledger = world.ledger(None);
        let (tip, lane) = (ledger.tip().unwrap(), ledger.control().unwrap());
        // Twice: the second time is a fresh word about the same head.
        for _ in 0..2 {
            assert_eq!(sizes(&world.cosign(&policy)), [Ok(lane.head().size()), Ok(tip.size())]);
        }
        for (lane, head) in [(Lane::Main, &tip), (Lane::Control, lane.head())] {
            let kept = ledger.cosigned(lane).unwrap().unwrap();
            assert_eq!(kept.checkpoint(), head.checkpoint());
            assert_eq!(signer.vkey().cosignatures(&kept).unwrap().len(), 1);
        }
        // The ledger's own checkpoints stay as the log signed them.
        assert_eq!((ledger.tip().unwrap(), tip.text().matches('\u{2014}').count()), (tip, 1));
        let fresh = world.fresh(Some(&policy)).unwrap();
        assert!(matches!(&fresh, Freshness::Cosigned { at, .. } if *at == clock()), "{fresh:?}");
    }
}

#[test]
fn d2_d3_a_witness_does_not_follow_a_log_that_was_rolled_back_or_forked() {
    let world = World::new();
    world.grow(3, 1);
    let old = std::fs::read(world.path("ledger.db")).unwrap();
    world.grow(4, 2);
    let witness = world.witness("w");
    let vkey = witness.vkey().clone();
    let policy = policy(&[(&vkey, world.serve(witness))], "quorum w0");
    assert_eq!(sizes(&world.cosign(&policy)), [Ok(3), Ok(7)]);
    std::fs::write(world.path("ledger.db"), old).unwrap();
    let asked = world.cosign(&policy);
    assert!(asked.iter().all(|asked| asked.cosigned.as_ref().is_err_and(AskError::is_alarm)), "{asked:?}");
    let said = asked[1].cosigned.as_ref().unwrap_err().to_string();
    let tip = world.ledger(None).tip().unwrap();
    assert!(said.contains("`w0` has cosigned 7 records of main lane, and this ledger has 3"), "{said}");
    assert!(said.contains(tip.text()), "{said}");
    // Longer again, by the real key, and another history.
    world.grow(9, 9);
    let asked = world.cosign(&policy);
    assert!(asked.iter().all(|asked| asked.cosigned.as_ref().is_err_and(AskError::is_alarm)), "{asked:?}");
    assert!(asked[0].cosigned.as_ref().unwrap_err().to_string().contains("is not continued by this ledger"));
    assert_eq!(world.ledger(None).cosigned(Lane::Main).unwrap(), None);
}

/// The cosigned head that is kept says more than the lane has: nobody needs to ask anybody.
#[test]
fn d2_a_lane_behind_its_own_cosigned_head_was_rolled_back() {
    let world = World::new();
    world.grow(1, 1);
    let witness = world.witness("w");
    let vkey = witness.vkey().clone();
    let policy = policy(&[(&vkey, world.serve(witness))], "quorum w0");
    let note: String = {
        let rows = rusqlite::Connection::open(world.path("ledger.db")).unwrap();
        rows.query_row("SELECT note FROM control_checkpoint", [], |row| row.get(0)).unwrap()
    };
    world.grow(0, 1);
    world.cosign(&policy);
    let rows = rusqlite::Connection::open(world.path("ledger.db")).unwrap();
    rows.execute("DELETE FROM control WHERE idx = 1", []).unwrap();
    rows.execute("UPDATE control_checkpoint SET note = ?1", [note]).unwrap();
    for policy in [Some(&policy), None] {
        let refused = world.fresh(policy).unwrap_err();
        assert!(matches!(refused, LedgerError::Shorter { .. }), "{refused}");
        assert!(refused.to_string().contains("a witness has seen 2"), "{refused}");
    }
    // Without it, it is as if nobody had cosigned.
    rows.execute("DELETE FROM cosigned", []).unwrap();
    let fresh = world.fresh(Some(&policy)).unwrap();
    assert_eq!(fresh, Freshness::Missed { missing: vec!["w0".to_owned()] });
    rows.execute("INSERT INTO cosigned VALUES ('control', 'x')", []).unwrap();
    assert!(matches!(world.fresh(Some(&policy)), Err(LedgerError::Cosigned { .. })));
    // They are asked again, and what was there gives way.
    std::fs::remove_file(world.path("w.db")).unwrap();
    let witness = world.witness("v");
    let vkey = witness.vkey().clone();
    let policy = self::policy(&[(&vkey, world.serve(witness))], "quorum w0");
    world.cosign(&policy);
    assert!(matches!(world.fresh(Some(&policy)).unwrap(), Freshness::Cosigned { size: 1, .. }));
}

#[test]
fn a_quorum_is_what_the_policy_says_and_no_witness_is_unwitnessed() {
    let world = World::new();
    world.grow(2, 1);
    assert_eq!(world.fresh(None).unwrap(), Freshness::Unwitnessed);
    let (one, other) = (world.witness("one"), world.witness("other"));
    let (key, other_key) = (one.vkey().clone(), other.vkey().clone());
    let address = world.serve(one);
    // Nobody listens there any more.
    let gone = world
        .runtime
        .block_on(async { TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap() });
    let both = [(&key, address), (&other_key, gone)];
    for (quorum, reached) in
        [("group g all w0 w1\nquorum g", false), ("group g any w0 w1\nquorum g", true), ("quorum w0", true)]
    {
        let policy = policy(&both, quorum);
        let asked = world.cosign(&policy);
        assert!(asked[0].cosigned.is_ok(), "{asked:?}");
        let lost = asked[1].cosigned.as_ref().unwrap_err();
        assert!(matches!(lost, AskError::Unreachable { .. }) && !lost.is_alarm(), "{lost}");
        match world.fresh(Some(&policy)).unwrap() {
            Freshness::Cosigned { witnesses, .. } if reached => assert_eq!(witnesses, ["w0"]),
            Freshness::Missed { missing } if !reached => assert_eq!(missing, ["w1"]),
            fresh => panic!("{quorum}: {fresh:?}"),
        }
    }
    let none = policy(&both, "quorum none");
    assert_eq!(world.fresh(Some(&none)).unwrap(), Freshness::Unwitnessed);
    // A second one comes later: its word is put beside the first one's.
    let policy = policy(&[(&key, address), (&other_key, world.serve(other))], "group g all w0 w1\nquorum g");
    world.cosign(&policy);
    assert!(matches!(world.fresh(Some(&policy)).unwrap(), Freshness::Cosigned { .. }));
}

/// What it says it cosigned it has to have cosigned.
#[test]
fn b7_a_lying_witness_makes_nothing_fresh() {
    let world = World::new();
    world.grow(2, 2);
    let stranger = WitnessSigner::generate("witness.example/w".parse().unwrap()).unwrap();
    let honest = WitnessSigner::generate("witness.example/w".parse().unwrap()).unwrap();
    let head =
        |kind: u8| -> SignedCheckpoint { world.log.sign(9, crate::digest::Digest::of(&[kind])).unwrap() };
    let answers = [
        ("200 OK", String::new()),
        ("200 OK", "yes\n".to_owned()),
        ("200 OK", stranger.cosign(&head(0), 1_900_000_000).unwrap()),
        // Its own signature, under another checkpoint.
        ("200 OK", honest.cosign(&head(0), 1_900_000_000).unwrap()),
        ("200 OK", "x".repeat(1 << 20)),
        ("409 Conflict", "no number\n".to_owned()),
        ("409 Conflict", "01\n".to_owned()),
        ("409 Conflict", "0\n".to_owned()),
        ("409 Conflict", "1\n".to_owned()),
        ("403 Forbidden", "\u{1b}[31m::error::no\n".to_owned()),
        ("404 Not Found", String::new()),
        ("500 Internal Server Error", String::new()),
        ("302 Found", String::new()),
    ];
    for (status, body) in answers {
        let address = world.runtime.block_on(liar(status, body.clone()));
        let policy = policy(&[(honest.vkey(), address)], "quorum w0");
        let asked = world.cosign(&policy);
        let short = body.chars().take(60).collect::<String>();
        assert!(asked.iter().all(|asked| asked.cosigned.is_err()), "{status} {short}: {asked:?}");
        let said = asked[0].cosigned.as_ref().unwrap_err().to_string();
        assert!(!said.contains('\u{1b}'), "{said:?}");
        let fresh = world.fresh(Some(&policy)).unwrap();
        assert!(matches!(fresh, Freshness::Missed { .. }), "{status} {short}: {fresh:?}");
    }
}

/// A server that says the same to everybody.
async fn liar(status: &str, body: String) -> SocketAddr {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let length = body.len();
    let kind = "content-type: text/x.tlog.size\r\nlocation: http://127.0.0.1:1/\r\nconnection: close";
    let answer = format!("HTTP/1.1 {status}\r\n{kind}\r\ncontent-length: {length}\r\n\r\n{body}");
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                // The whole request, by the line that every checkpoint ends in.
                let (mut request, mut piece) = (Vec::new(), [0; 4096]);
                while !String::from_utf8_lossy(&request).contains("\u{2014} acme.example") {
                    match stream.read(&mut piece).await {
                        Ok(0) | Err(_) => return,
                        Ok(read) => request.extend_from_slice(&piece[..read]),
                    }
                }
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

/// A clock that runs ahead makes nothing fresh for longer.
#[test]
fn c6_a_cosignature_from_the_future_does_not_count() {
    let world = World::new();
    world.grow(0, 1);
    let signer = WitnessSigner::generate("witness.example/w".parse().unwrap()).unwrap();
    let policy = policy(&[(signer.vkey(), "127.0.0.1:1".parse().unwrap())], "quorum w0");
    let ledger = world.ledger(Some(&policy));
    let head = ledger.control().unwrap().head().clone();
    let at = |minutes: i64| {
        let time = clock() + SignedDuration::from_mins(minutes);
        let line = signer.cosign(&head, u64::try_from(time.as_second()).unwrap()).unwrap();
        let rows = rusqlite::Connection::open(world.path("ledger.db")).unwrap();
        drop(rows.execute("DELETE FROM cosigned", []));
        ledger.keep_cosigned(Lane::Control, &head.cosigned(&line, signer.vkey()).unwrap()).unwrap();
        world.fresh(Some(&policy)).unwrap()
    };
    assert!(
        matches!(at(-60), Freshness::Cosigned { at, .. } if at == clock() - SignedDuration::from_mins(60))
    );
    assert!(matches!(at(1), Freshness::Cosigned { .. }));
    assert!(matches!(at(2), Freshness::Missed { .. }));
}

/// Of all who ask at once with different histories one is followed.
#[test]
fn d3_a_witness_asked_by_many_at_once_follows_one_history() {
    let world = World::new();
    let witness = world.witness("w");
    let note = |kind: u8, size: u64| {
        let head = world.log.sign(size, crate::digest::Digest::of(&[kind])).unwrap();
        AddCheckpoint { old: 0, proof: Vec::new(), note: head.text().to_owned() }.to_string()
    };
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let (witness, note) = (&witness, &note);
        let asked: Vec<_> = (0..16_u8)
            .map(|kind| scope.spawn(move || witness.add_checkpoint(note(kind, 5).as_bytes(), 1).unwrap()))
            .collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(200), count(409)), (1, 15));
    let refused = answers.iter().find(|answer| answer.status == 409).unwrap();
    assert_eq!((refused.content_type, refused.body.as_str()), ("text/x.tlog.size", "5\n"));
    // Beyond the limits.
    assert_eq!(witness.add_checkpoint(&vec![b'x'; MAX_REQUEST + 1], 1).unwrap().status, 400);
    assert_eq!(witness.add_checkpoint(&[0xff], 1).unwrap().status, 400);
}

#[test]
fn the_state_of_a_witness_is_its_own() {
    let world = World::new();
    let signer = WitnessSigner::generate("witness.example/w".parse().unwrap()).unwrap();
    let open = |name: &str| Witness::open(signer.clone(), &[], &world.path(name));
    assert!(matches!(open("ledger.db"), Err(StateError::NotAState { .. })));
    std::fs::write(world.path("text"), "x".repeat(5000)).unwrap();
    assert!(matches!(open("text"), Err(StateError::Store { .. })));
    let witness = world.again(&signer, "w");
    let head = world.ledger(None).tip().unwrap();
    let request = AddCheckpoint { old: 0, proof: Vec::new(), note: head.text().to_owned() }.to_string();
    assert_eq!(witness.add_checkpoint(request.as_bytes(), 1).unwrap().status, 200);
    let rows = rusqlite::Connection::open(world.path("w.db")).unwrap();
    rows.execute("UPDATE cosigned SET note = 'x'", []).unwrap();
    let failed = witness.add_checkpoint(request.as_bytes(), 1).unwrap_err();
    assert!(matches!(failed, WitnessError::State(StateError::Damaged { .. })), "{failed}");
}
