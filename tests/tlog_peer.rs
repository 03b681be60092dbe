//! What we write of a log, checked by programs that are not ours: `tests/peers-go` is a few lines around
//! golang.org/x/mod/sumdb (signed notes, proofs, tiles) and filippo.io/torchwood (cosignatures, policies, proof files).
//! Whatever they refuse of a forgery, we refuse too.
//!
//! Skipped, aloud, where it is not installed (`.ci/run` builds it with Go); in CI (`SAMEBITS_REQUIRE_PEERS=1`) it has
//! to be.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "support/peer.rs"]
#[allow(dead_code, reason = "no skopeo here")]
mod peer;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use samebits::digest::Digest;
use samebits::tlog::{
    EntryBundle, Frontier, LogSigner, Node, Quorum, SignedCheckpoint, Tile, TlogError, TlogPolicy, TlogProof,
    WitnessSigner, consistency_proof, inclusion_proof, leaf_hash,
};

const PEER: &str = "tlog-peer";

/// A log in memory, of entries that are all different.
struct Log {
    signer: LogSigner,
    nodes: HashMap<Node, Digest>,
    heads: Vec<SignedCheckpoint>,
}

fn entry(index: u64) -> Vec<u8> {
    format!("{{\"entry\":{index}}}").into_bytes()
}

impl Log {
    fn of(size: u64) -> Self {
        let signer = LogSigner::generate("acme.example/promotions".parse().unwrap()).unwrap();
        let (mut nodes, mut frontier) = (HashMap::new(), Frontier::empty());
        let mut heads = vec![signer.sign(0, frontier.root()).unwrap()];
        for index in 0..size {
            let store = |node, hash| {
                nodes.insert(node, hash);
                Ok::<_, TlogError>(())
            };
            frontier.push(leaf_hash(&entry(index)), store).unwrap();
            heads.push(signer.sign(frontier.size(), frontier.root()).unwrap());
        }
        Self { signer, nodes, heads }
    }

    fn head(&self) -> &SignedCheckpoint {
        self.heads.last().unwrap()
    }

    fn read(&self) -> impl FnMut(Node) -> Result<Digest, TlogError> + '_ {
        |node| Ok(self.nodes[&node])
    }

    fn proof(&self, index: u64) -> TlogProof {
        let hashes = inclusion_proof(index, self.head().size(), self.read()).unwrap();
        TlogProof::new(self.head(), index, entry(index), hashes).unwrap()
    }

    /// As `samebits ledger export` lays it out.
    fn export(&self, folder: &Path) {
        let size = self.head().size();
        put(folder, "vkey", format!("{}\n", self.signer.vkey()).as_bytes());
        put(folder, "checkpoint", self.head().text().as_bytes());
        for index in 0..size {
            put(folder, &format!("records/{index}.json"), &entry(index));
            put(folder, &format!("records/{index}.tlog-proof"), self.proof(index).to_string().as_bytes());
        }
        for tile in Tile::grown(0, size) {
            put(folder, &tile.to_string(), &tile.encode(self.read()).unwrap());
        }
        for bundle in EntryBundle::grown(0, size) {
            let entries: Vec<_> = bundle.range().map(entry).collect();
            put(folder, &bundle.to_string(), &bundle.encode(&entries).unwrap());
        }
    }
}

fn put(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn peer(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let said = peer::said(peer::alone(PEER, folder).args(arguments))?;
    Ok(String::from_utf8(said).unwrap())
}

#[test]
fn the_go_tools_believe_a_whole_export() {
    if !peer::is_installed(PEER) {
        return;
    }
    for size in [1, 2, 7, 255, 256, 257, 600] {
        let (log, folder) = (Log::of(size), tempfile::tempdir().unwrap());
        log.export(folder.path());
        let said = peer(folder.path(), &["export", "."]).unwrap();
        assert_eq!(said, format!("acme.example/promotions: {size} entries, {size} proofs\n"));
    }
}

#[test]
fn d1_the_go_tools_refuse_a_forged_export_and_so_do_we() {
    if !peer::is_installed(PEER) {
        return;
    }
    let (log, folder) = (Log::of(300), tempfile::tempdir().unwrap());
    log.export(folder.path());
    let file = |name: &str| fs::read(folder.path().join(name)).unwrap();
    for (name, at) in [
        ("records/7.json", 3),
        ("records/7.tlog-proof", 40),
        ("tile/0/000", 77),
        ("tile/1/000.p/1", 0),
        ("tile/entries/001.p/44", 9),
        ("checkpoint", 25),
        ("vkey", 60),
    ] {
        let right = file(name);
        let mut wrong = right.clone();
        // Another letter or digit, where there is text.
        wrong[at] = if wrong[at] == b'1' { b'2' } else { b'1' };
        put(folder.path(), name, &wrong);
        assert!(peer(folder.path(), &["export", "."]).is_err(), "{name} at {at}");
        put(folder.path(), name, &right);
    }
    assert!(peer(folder.path(), &["export", "."]).is_ok());
    let vkey = log.signer.vkey();
    assert!(log.proof(7).verify(vkey, entry(8)).is_err());
    put(folder.path(), "other.json", &entry(8));
    assert!(peer(folder.path(), &["proof", "vkey", "records/7.tlog-proof", "other.json"]).is_err());
    assert_eq!(
        peer(folder.path(), &["proof", "vkey", "records/7.tlog-proof", "records/7.json"]).unwrap(),
        "entry 7 of 300\n"
    );
    // Extra data are read over, by both.
    let extra = log.proof(7).with_extra(b"anything".to_vec()).unwrap();
    put(folder.path(), "extra.tlog-proof", extra.to_string().as_bytes());
    assert!(peer(folder.path(), &["proof", "vkey", "extra.tlog-proof", "records/7.json"]).is_ok());
}

#[test]
fn d3_the_go_tools_follow_a_log_that_grew_and_refuse_a_fork() {
    if !peer::is_installed(PEER) {
        return;
    }
    let (log, folder) = (Log::of(300), tempfile::tempdir().unwrap());
    put(folder.path(), "vkey", log.signer.vkey().to_string().as_bytes());
    for (old, new) in [(1, 2), (1, 300), (6, 8), (255, 256), (256, 300), (257, 300), (299, 300), (300, 300)] {
        let proof = consistency_proof(old, new, log.read()).unwrap();
        let hashes: Vec<_> = proof.iter().map(|hash| STANDARD.encode(hash.as_bytes())).collect();
        put(folder.path(), "old", log.heads[old as usize].text().as_bytes());
        put(folder.path(), "new", log.heads[new as usize].text().as_bytes());
        let ask = |hashes: &[String]| {
            let hashes = hashes.iter().map(String::as_str);
            peer(
                folder.path(),
                &["grown", "vkey", "old", "new"].into_iter().chain(hashes).collect::<Vec<_>>(),
            )
        };
        assert_eq!(ask(&hashes).unwrap(), format!("acme.example/promotions: {old} to {new} entries\n"));
        assert!(ask(&[&hashes[..], &[STANDARD.encode([0; 32])]].concat()).is_err(), "{old} to {new}");
        // Signed by the same key, and another log.
        let fork = log.signer.sign(old, Digest::of(b"fork")).unwrap();
        put(folder.path(), "old", fork.text().as_bytes());
        assert!(ask(&hashes).is_err(), "{old} to {new}");
    }
}

#[test]
fn torchwood_and_we_agree_on_every_set_of_witnesses() {
    if !peer::is_installed(PEER) {
        return;
    }
    let (log, folder) = (Log::of(9), tempfile::tempdir().unwrap());
    let witness = |at| WitnessSigner::generate(format!("witness.example/w{at}").parse().unwrap()).unwrap();
    let witnesses: Vec<_> = (0..4).map(witness).collect();
    let lines = witnesses.iter().zip(0..).map(|(key, at)| format!("witness w{at} {}\n", key.vkey()));
    let policy = format!(
        "# two of three, and the fourth\nlog {}\n{}group three 2 w0 w1 w2\ngroup all all three w3\nquorum all\n",
        log.signer.vkey(),
        lines.collect::<String>(),
    );
    put(folder.path(), "policy", policy.as_bytes());
    let policy: TlogPolicy = policy.parse().unwrap();
    for set in 0..16_u32 {
        let mut head = log.head().clone();
        for (at, witness) in witnesses.iter().enumerate().filter(|(at, _)| set >> at & 1 == 1) {
            let line = witness.cosign(&head, 1_700_000_000 + at as u64).unwrap();
            head = head.cosigned(&line, witness.vkey()).unwrap();
        }
        put(folder.path(), "note", head.text().as_bytes());
        let theirs = peer(folder.path(), &["policy", "policy", "note"]);
        match policy.quorum(&head, u64::MAX).unwrap() {
            Quorum::Reached(witnessed) => {
                let mut said = theirs.unwrap();
                assert!(said.starts_with("acme.example/promotions: 9 entries\nacme.example/promotions\n"));
                said.retain(|c| c.is_ascii_digit() || c == '\n');
                assert_eq!(said.lines().count(), 2 + witnessed.witnesses().len(), "{set:04b}");
            }
            Quorum::Missed { .. } => assert!(theirs.is_err(), "{set:04b}: {theirs:?}"),
            Quorum::NotRequired => panic!("a quorum is required"),
        }
        // A cosignature of another checkpoint spoils the note: for Go the first line of each key decides, for us any.
        let elsewhere = witnesses[0].cosign(&log.heads[8], 1_700_000_000).unwrap();
        let spoilt = log.signer.vkey().open(&format!("{}{elsewhere}", head.text())).unwrap();
        put(folder.path(), "note", spoilt.text().as_bytes());
        if set & 1 == 0 {
            assert!(peer(folder.path(), &["policy", "policy", "note"]).is_err(), "{set:04b}");
        }
        assert!(policy.quorum(&spoilt, u64::MAX).is_err(), "{set:04b}");
    }
}
