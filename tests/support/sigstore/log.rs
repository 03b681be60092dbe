//! The tree under both Rekors: the crate's own (`samebits::tlog`), growing, never empty.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use samebits::digest::Digest;
use samebits::tlog::{Frontier, Node, TlogError, inclusion_proof, leaf_hash};

/// Entries of nobody that every log starts with, so that proofs are not empty.
const EARLIER: u8 = 5;

/// Who asked for an entry that the log refuses: status and words.
pub type Refused = (u16, String);

/// A log's entries.
pub struct Tree {
    frontier: Frontier,
    nodes: HashMap<Node, Digest>,
    leaves: Vec<Digest>,
}

/// Where an entry stands.
#[derive(Clone, Debug)]
pub struct Place {
    pub index: u64,
    pub size: u64,
    pub root: Digest,
    pub hashes: Vec<Digest>,
}

impl Tree {
    pub fn new() -> Self {
        let mut tree = Self { frontier: Frontier::empty(), nodes: HashMap::new(), leaves: Vec::new() };
        for number in 0..EARLIER {
            tree.append(&[number]);
        }
        tree
    }

    /// Appends an entry; one that is there already is not appended again.
    pub fn append(&mut self, body: &[u8]) -> Option<Place> {
        let leaf = leaf_hash(body);
        if self.leaves.contains(&leaf) {
            return None;
        }
        let nodes = &mut self.nodes;
        let store = |node, hash| {
            nodes.insert(node, hash);
            Ok::<_, TlogError>(())
        };
        self.frontier.push(leaf, store).unwrap();
        self.leaves.push(leaf);
        let (index, size) = (self.leaves.len() as u64 - 1, self.frontier.size());
        let hashes = inclusion_proof(index, size, |node| Ok::<_, TlogError>(self.nodes[&node])).unwrap();
        Some(Place { index, size, root: self.frontier.root(), hashes })
    }

    /// The head.
    pub fn head(&self) -> (u64, Digest) {
        (self.frontier.size(), self.frontier.root())
    }
}

impl Place {
    /// An inclusion proof as in bundles.
    pub fn proof(&self, checkpoint: &str) -> serde_json::Value {
        let hashes: Vec<_> = self.hashes.iter().map(|hash| STANDARD.encode(hash.as_bytes())).collect();
        serde_json::json!({
            "logIndex": self.index.to_string(),
            "rootHash": STANDARD.encode(self.root.as_bytes()),
            "treeSize": self.size.to_string(),
            "hashes": hashes,
            "checkpoint": { "envelope": checkpoint },
        })
    }
}

/// A signed note of a checkpoint (C2SP signed-note and tlog-checkpoint).
pub fn checkpoint(
    origin: &str,
    (size, root): (u64, Digest),
    (signer, hint): (&str, &[u8]),
    sign: impl FnOnce(&[u8]) -> Vec<u8>,
) -> String {
    let text = format!("{origin}\n{size}\n{}\n", STANDARD.encode(root.as_bytes()));
    let signature = [&hint[..4], &sign(text.as_bytes())].concat();
    format!("{text}\n\u{2014} {signer} {}\n", STANDARD.encode(signature))
}
