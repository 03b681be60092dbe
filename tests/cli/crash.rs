//! Killed, fenced, locked out, raced: the same command again ends well, and nothing is lost or done twice.

use std::io::{BufRead, BufReader, Read};
use std::process::Child;
use std::time::{Duration, Instant};

use crate::cli::{Ran, Yard, at};
use samebits::reference::Image;
use serde_json::Value;

const ENTRY: &str = "oci:registry/staging/shop";

fn promote(image: &Image) -> [String; 6] {
    let image = format!("oci:registry/shop@{}", image.digest);
    ["promote", &image, "--to", "staging", "--key", "keys/release.key"].map(str::to_owned)
}

fn start(yard: &Yard, image: &Image) -> Child {
    yard.spawn(promote(image).iter().map(String::as_str))
}

fn run(yard: &Yard, image: &Image) -> Ran {
    yard.run(promote(image).iter().map(String::as_str))
}

fn finish(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// What has to be true of a promotion into staging that ended, whatever came before it.
#[track_caller]
fn ended_well(yard: &Yard, image: &Image, ran: Ran) {
    let ran = ran.exits(0);
    assert_eq!(ran.stdout, format!("{}\n", at("staging", image)));
    let phases = yard.phases(image, "staging");
    assert_eq!(phases, ["intent", "commit"], "{ran:?}");
    assert_eq!(yard.tagged(ENTRY, "staging"), Some(image.digest));
    yard.run(["ledger", "verify"]).exits(0);
    let status = yard.run(["status", "-o", "json"]).exits(0).json();
    assert_eq!(status["cells"][0]["openIntent"], Value::Null);
    assert_eq!(status["cells"][0]["promoted"], image.digest.to_string());
}

/// SIGKILL at points spread over the whole run; then the same command.
#[test]
fn d6_killed_anywhere_the_same_command_ends_in_the_same_yes() {
    const ROUNDS: u32 = 24;
    let yard = Yard::new();
    let warm = yard.build("1", "warm");
    let began = Instant::now();
    let ran = run(&yard, &warm);
    let whole = began.elapsed();
    ended_well(&yard, &warm, ran);
    let mut killed = 0;
    for round in 0..ROUNDS {
        let image = yard.build("1", &format!("build {round}"));
        // Twice, so that a resumed run is killed too.
        for half in 0..2 {
            let mut child = start(&yard, &image);
            std::thread::sleep(whole * (2 * round + half) / (2 * ROUNDS));
            // `kill` is SIGKILL; a run that has ended already is as good.
            child.kill().unwrap();
            let ran = finish(child);
            killed += u32::from(ran.code.is_none());
            // A line on stdout is a yes that holds.
            if !ran.stdout.is_empty() {
                assert_eq!(ran.stdout, format!("{}\n", at("staging", &image)));
                assert_eq!(yard.phases(&image, "staging"), ["intent", "commit"]);
            }
        }
        ended_well(&yard, &image, run(&yard, &image));
    }
    assert!(killed > 0, "no run was killed");
}

/// SIGKILL as soon as the intent is in the ledger, while the bytes are on their way; then the same command.
#[test]
fn d6_killed_between_intent_and_commit_the_same_command_ends_in_the_same_yes() {
    let yard = Yard::new();
    let ledger = rusqlite::Connection::open(yard.path(".samebits/ledger.db")).unwrap();
    let entries =
        || ledger.query_row("SELECT count(*) FROM entries", [], |row| row.get::<_, i64>(0)).unwrap();
    let mut caught = 0;
    // A run that is faster than we are is not the one; the next may be.
    for attempt in 0..100 {
        let image = yard.build("1", &format!("{attempt} {}", "a large layer ".repeat(1 << 20)));
        let before = entries();
        let mut child = start(&yard, &image);
        let began = Instant::now();
        while entries() == before && began.elapsed() < Duration::from_secs(20) {}
        child.kill().unwrap();
        finish(child);
        caught += u32::from(yard.phases(&image, "staging") == ["intent"]);
        ended_well(&yard, &image, run(&yard, &image));
        if caught == 2 {
            return;
        }
    }
    panic!("{caught} of 100 runs were killed between intent and commit");
}

/// The copy fails after the intent: it is listed, a rival waits, the same request takes it up.
#[test]
fn d6_an_open_intent_is_listed_and_resumed_by_the_same_request_only() {
    let yard = Yard::new();
    let (image, rival) = (yard.build("1", "first"), yard.build("2", "second"));
    yard.write("registry/staging", "in the way");
    let ran = run(&yard, &image).exits(3);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("intent 0 stays open, run the same command again"), "{}", ran.stderr);
    assert!(yard.run(["status"]).exits(0).stdout.contains("open intent 0"));

    std::fs::remove_file(yard.path("registry/staging")).unwrap();
    let busy = run(&yard, &rival).exits(3);
    assert_eq!(busy.stdout, "");
    assert!(
        busy.stderr.contains("another promotion into `staging` is under way: record 0"),
        "{}",
        busy.stderr
    );
    assert!(busy.stderr.contains("hint: wait for it"), "{}", busy.stderr);
    assert_eq!(yard.tagged_if_there(ENTRY, "staging"), None);

    ended_well(&yard, &image, run(&yard, &image));
    ended_well(&yard, &rival, run(&yard, &rival));
    assert_eq!(yard.replays_the_same(), 4);
}

/// No ledger, no yes, and nothing moves; with the ledger back, the same command goes on.
#[test]
fn d7_ledger_unavailable_is_exit_3_and_changes_nothing() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    run(&yard, &image).exits(0);
    let before = yard.records();
    let next = yard.build("2", "second");
    let ask = format!("oci:registry/shop@{}", next.digest);
    let refuses = |said: &str| {
        for ran in [run(&yard, &next), yard.run(["check", &ask, "--to", "staging"])] {
            let ran = ran.exits(3);
            assert_eq!(ran.stdout, "");
            assert!(ran.stderr.contains(said), "{}", ran.stderr);
        }
    };
    // Absent.
    std::fs::rename(yard.path(".samebits"), yard.path("elsewhere")).unwrap();
    refuses("there is no ledger at");
    // Another one.
    let other = Yard::new();
    std::fs::rename(other.path(".samebits"), yard.path(".samebits")).unwrap();
    refuses("error: the ledger cannot be opened\n  because ");
    std::fs::remove_dir_all(yard.path(".samebits")).unwrap();
    // Not a ledger at all.
    std::fs::create_dir(yard.path(".samebits")).unwrap();
    yard.write(".samebits/ledger.db", "rubbish".repeat(1000));
    refuses("is not a samebits ledger");
    std::fs::remove_dir_all(yard.path(".samebits")).unwrap();
    std::fs::rename(yard.path("elsewhere"), yard.path(".samebits")).unwrap();

    assert_eq!(yard.records(), before);
    assert_eq!(yard.tagged(ENTRY, "staging"), Some(image.digest));
    ended_well(&yard, &next, run(&yard, &next));
}

/// Nobody answers at the registry: no answer is no decision, and leaves nothing behind.
#[test]
fn f5_a_dead_registry_is_exit_3_and_changes_nothing() {
    let yard = Yard::new();
    let policy = yard.read("samebits.toml");
    // A port that was free a moment ago, and that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let host = format!("127.0.0.1:{port}");
    yard.write("samebits.toml", policy.replace("\"oci:registry/shop\"", &format!("\"{host}/shop\"")));
    let before = yard.records();
    let image = format!("{host}/shop:1");
    for verb in ["check", "promote"] {
        let ran = yard.run([verb, &image, "--to", "staging", "--key", "keys/release.key"]).exits(3);
        assert_eq!(ran.stdout, "");
        assert!(ran.stderr.contains(&host) && ran.stderr.contains("no answer"), "{}", ran.stderr);
        assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
    }
    assert_eq!(yard.records(), before);
}

/// The key that signs checkpoints is not there, or another's: reading goes on, recording does not.
#[test]
fn d7_without_the_ledger_key_nothing_is_recorded_and_nothing_moves() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    let key = yard.read("keys/ledger.key");
    yard.write("keys/ledger.key", Yard::new().read("keys/ledger.key"));
    let ran = run(&yard, &image).exits(3);
    assert!(
        ran.stdout.is_empty() && ran.stderr.contains("hint: the policy, the keys and the ledger"),
        "{ran:?}"
    );
    std::fs::remove_file(yard.path("keys/ledger.key")).unwrap();
    let ran = run(&yard, &image).exits(2);
    assert!(ran.stdout.is_empty() && ran.stderr.contains("keys/ledger.key cannot be read"), "{ran:?}");
    yard.run(["check", "oci:registry/shop:1", "--to", "staging"]).exits(0);
    assert!(yard.records().is_empty());
    yard.write("keys/ledger.key", key);
    ended_well(&yard, &image, run(&yard, &image));
}

#[test]
fn d1_a_changed_record_is_named_and_nothing_is_promoted_on_it() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    run(&yard, &image).exits(0);
    yard.deployed_in_staging(&image).exits(0);
    let database = rusqlite::Connection::open(yard.path(".samebits/ledger.db")).unwrap();
    let mut body: Vec<u8> =
        database.query_row("SELECT body FROM entries WHERE idx = 2", [], |row| row.get(0)).unwrap();
    let middle = body.len() / 2;
    body[middle] ^= 1;
    database.execute("UPDATE entries SET body = ?1 WHERE idx = 2", [body]).unwrap();
    drop(database);
    let audit = yard.run(["ledger", "verify"]).exits(1);
    assert!(audit.stdout.contains("✗ record 2 was changed after it was signed"), "{}", audit.stdout);
    let audit = yard.run(["ledger", "verify", "-o", "json"]).exits(1).json();
    assert_eq!(audit["intact"], false);
    let ran = yard.promote(&at("staging", &image), "production").exits(3);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("was tampered with"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: keep the file"), "{}", ran.stderr);
}

/// The tag is moved after it was resolved and before anything is recorded: what was resolved is what is promoted.
#[test]
fn a1_tag_moves_between_resolve_and_deploy() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    // Nobody can append, so that the promotion stops between collecting and recording.
    let lock = yard.lock_ledger();
    let args = ["promote", "oci:registry/shop:1", "--to", "staging", "--key", "keys/release.key", "-v"];
    let mut child = yard.spawn(args.into_iter().chain(["-o", "json=out.json"]));
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("collecting ") {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it ended before it collected");
    }
    let moved = yard.build("1", "second");
    drop(lock);
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    let ran = finish(child).exits(0);

    assert_eq!(ran.stdout, format!("{}\n", at("staging", &image)));
    assert_eq!(yard.tagged(ENTRY, "staging"), Some(image.digest));
    assert!(said.contains(&format!("tag-moved: `1` means {} by now", moved.digest)), "{said}");
    let document: Value = serde_json::from_str(&yard.read("out.json")).unwrap();
    crate::cli::valid(&document);
    assert_eq!(document["tagMoved"]["now"], moved.digest.to_string());
}

/// Two at once into the same environment: never two at the same time, and the tag is the last commit's.
#[test]
fn e9_two_promotions_race_for_one_environment() {
    for round in 0..6 {
        let yard = Yard::new();
        let images = [yard.build("1", &format!("a{round}")), yard.build("2", &format!("b{round}"))];
        // Both decide before either can record.
        let lock = yard.lock_ledger();
        let children = images.each_ref().map(|image| start(&yard, image));
        std::thread::sleep(Duration::from_millis(150 + 20 * round));
        drop(lock);
        let mut won = 0;
        for (image, ran) in images.iter().zip(children.map(finish)) {
            match ran.code {
                Some(0) => {
                    won += 1;
                    assert_eq!(ran.stdout, format!("{}\n", at("staging", image)));
                    assert_eq!(yard.phases(image, "staging"), ["intent", "commit"]);
                }
                Some(3) => {
                    assert_eq!(ran.stdout, "");
                    assert!(ran.stderr.contains("is under way"), "{}", ran.stderr);
                    assert!(yard.phases(image, "staging").is_empty());
                }
                _ => panic!("{ran:?}"),
            }
        }
        assert!(won >= 1);
        let records = yard.records();
        let commits: Vec<&Value> = records.iter().filter(|record| record["outcome"] == "commit").collect();
        assert_eq!(commits.len(), won);
        let last = commits.last().unwrap()["image"].as_str().unwrap();
        let tag = yard.tagged(ENTRY, "staging").unwrap();
        assert!(last.ends_with(&tag.to_string()), "the tag means {tag}, the last commit {last}");
        yard.run(["ledger", "verify"]).exits(0);
    }
}

/// The same request twice at once: both say yes to the same bytes, by one intent and one commit. Whoever decided
/// before the other's commit decides again (D5).
#[test]
fn e9_the_same_promotion_twice_at_once_is_the_same_yes() {
    for round in 0..6 {
        let yard = Yard::new();
        let image = yard.build("1", &format!("same {round}"));
        let lock = yard.lock_ledger();
        let children = [start(&yard, &image), start(&yard, &image)];
        std::thread::sleep(Duration::from_millis(150 + 20 * round));
        drop(lock);
        for ran in children.map(finish) {
            let ran = ran.exits(0);
            assert_eq!(ran.stdout, format!("{}\n", at("staging", &image)));
        }
        let phases = yard.phases(&image, "staging");
        assert_eq!(phases, ["intent", "commit"]);
        assert_eq!(yard.tagged(ENTRY, "staging"), Some(image.digest));
        yard.run(["ledger", "verify"]).exits(0);
    }
}
