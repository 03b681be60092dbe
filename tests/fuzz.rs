//! The fuzz targets as plain tests: every seed, and some thousand mutations of each target's.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[allow(unreachable_pub, unexpected_cfgs, reason = "public for the binaries in fuzz/")]
#[path = "../fuzz/src/lib.rs"]
mod targets;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

/// What is done to a seed.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Cut(Index),
    /// A piece of another seed, over what was there.
    Splice(Index, Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        2 => any::<Index>().prop_map(Change::Remove),
        1 => any::<Index>().prop_map(Change::Cut),
        1 => any::<(Index, Index, Index)>().prop_map(|(seed, from, to)| Change::Splice(seed, from, to)),
    ]
}

fn changed(seeds: &[Vec<u8>], mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let room = bytes.len() + 1;
        match change {
            Change::Set(at, byte) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Change::Insert(at, byte) => bytes.insert(at.index(room), *byte),
            Change::Remove(at) if !bytes.is_empty() => drop(bytes.remove(at.index(bytes.len()))),
            Change::Cut(at) => bytes.truncate(at.index(room)),
            Change::Splice(seed, from, to) => {
                let seed = seed.get(seeds);
                let piece = &seed[from.index(seed.len() + 1)..];
                bytes.truncate(to.index(room));
                bytes.extend_from_slice(piece);
            }
            Change::Set(..) | Change::Remove(_) => {}
        }
    }
    bytes
}

/// Runs one target over its seeds and `mutations` of them.
fn run(name: &str, mutations: u32) {
    let (_, target) = targets::TARGETS.into_iter().find(|(target, _)| *target == name).unwrap();
    let seeds = targets::seeds(name);
    assert!(!seeds.is_empty(), "{name} has no seeds");
    seeds.iter().for_each(|seed| target(seed));
    target(b"");
    let config = Config { cases: mutations, failure_persistence: None, ..Config::default() };
    let input = (any::<Index>(), prop::collection::vec(change(), 1..4));
    TestRunner::new(config)
        .run(&input, |(seed, changes)| {
            target(&changed(&seeds, seed.get(&seeds).clone(), &changes));
            Ok(())
        })
        .unwrap();
}

/// Else nothing of what holds for what is accepted was ever looked at.
#[test]
fn the_seeds_are_not_all_refused() {
    let accepted = targets::seeds("bundle").iter().filter(|bundle| targets::is_accepted(bundle)).count();
    assert!(accepted >= 6, "{accepted}");
}

#[test]
fn the_seeds_of_logs_are_read() {
    use samebits::tlog::{Checkpoint, TilePath, TlogPolicy, TlogProof};
    fn read<T: std::str::FromStr>(target: &str) -> usize {
        let seeds = targets::seeds(target).into_iter().map(|seed| String::from_utf8(seed).unwrap());
        seeds.filter(|seed| seed.parse::<T>().is_ok()).count()
    }
    assert!(read::<Checkpoint>("checkpoint") >= 8);
    assert_eq!(read::<TilePath>("tile_path"), 6);
    assert_eq!(read::<TlogProof>("tlog_proof"), 2);
    assert_eq!(read::<TlogPolicy>("tlog_policy"), 4);
}

#[test]
fn b9_bundle() {
    run("bundle", 1000);
}

#[test]
fn b9_dsse() {
    run("dsse", 2000);
}

#[test]
fn b9_statement() {
    run("statement", 2000);
}

#[test]
fn b9_provenance() {
    run("provenance", 2000);
}

#[test]
fn b9_certificate_extension() {
    run("certificate_extension", 1000);
}

#[test]
fn b9_timestamp() {
    run("timestamp", 1000);
}

#[test]
fn b9_checkpoint() {
    run("checkpoint", 2000);
}

#[test]
fn b9_note() {
    run("note", 2000);
}

#[test]
fn b9_cosignature() {
    run("cosignature", 1000);
}

#[test]
fn b9_tile_path() {
    run("tile_path", 4000);
}

#[test]
fn b9_entry_bundle() {
    run("entry_bundle", 4000);
}

#[test]
fn b9_tlog_proof() {
    run("tlog_proof", 2000);
}

#[test]
fn b9_tlog_policy() {
    run("tlog_policy", 2000);
}

#[test]
fn b9_commit() {
    run("commit", 4000);
}

#[test]
fn b9_pending() {
    run("pending", 4000);
}
