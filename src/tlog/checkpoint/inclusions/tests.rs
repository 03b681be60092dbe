//! The same as proving every entry by itself, and nothing that is forged.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::tlog::{Frontier, LogSigner, inclusion_proof};

/// A log of so many entries: its head, and every stored hash.
struct Log {
    head: SignedCheckpoint,
    nodes: HashMap<Node, Digest>,
}

fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

impl Log {
    fn of(size: u64) -> Self {
        let (mut frontier, mut nodes) = (Frontier::empty(), HashMap::new());
        for index in 0..size {
            let store = |node, hash| {
                nodes.insert(node, hash);
                Ok(())
            };
            frontier.push::<TlogError>(leaf_hash(&entry(index)), store).unwrap();
        }
        let signer = LogSigner::generate("acme.example/log".parse().unwrap()).unwrap();
        Self { head: signer.sign(size, frontier.root()).unwrap(), nodes }
    }

    fn include(
        &self,
        shared: &mut Inclusions<'_>,
        index: u64,
        bytes: Vec<u8>,
    ) -> Result<Included, TlogError> {
        let hashes: Vec<_> = shared.nodes(index)?.iter().map(|node| self.nodes[node]).collect();
        shared.include(index, bytes, &hashes)
    }

    fn alone(&self, index: u64, bytes: Vec<u8>) -> Result<Included, TlogError> {
        let proof =
            inclusion_proof::<TlogError>(index, self.head.size(), |node| Ok(self.nodes[&node])).unwrap();
        self.head.include(index, bytes, &proof)
    }
}

#[test]
fn every_entry_of_every_small_log_is_shown_as_it_is_alone() {
    for size in 1..70 {
        let log = Log::of(size);
        let mut shared = log.head.inclusions();
        // From both ends.
        for step in 0..size {
            let index = if step % 2 == 0 { step / 2 } else { size - 1 - step / 2 };
            let included = log.include(&mut shared, index, entry(index)).unwrap();
            assert_eq!(included, log.alone(index, entry(index)).unwrap(), "{index} of {size}");
            // Once more, there is nothing left to ask for.
            assert_eq!(shared.nodes(index).unwrap(), []);
            assert!(shared.include(index, entry(index), &[]).is_ok());
            assert!(shared.include(index, b"forged".to_vec(), &[]).is_err());
        }
        assert!(matches!(shared.nodes(size), Err(TlogError::OutOfRange { .. })));
    }
    assert!(Log::of(0).head.inclusions().nodes(0).is_err());
}

#[test]
fn what_proofs_share_is_asked_for_once() {
    let log = Log::of(1000);
    let mut shared = log.head.inclusions();
    let mut asked = HashMap::new();
    for index in (0..1000).step_by(50) {
        shared.nodes(index).unwrap().into_iter().for_each(|node| *asked.entry(node).or_insert(0) += 1);
        let _ = log.include(&mut shared, index, entry(index)).unwrap();
    }
    assert!(asked.values().all(|times| *times == 1));
}

proptest! {
    /// With one stored hash changed: whatever is shown is what was signed, and the first record alone decides whether
    /// any lie was told to it. A refusal leaves nothing behind.
    #[test]
    fn d1_a_forged_hash_or_entry_shows_nothing(
        size in 1_u64..200,
        picks in prop::collection::vec((any::<u64>(), any::<bool>()), 1..12),
        forged in any::<prop::sample::Index>(),
    ) {
        let mut log = Log::of(size);
        let mut nodes: Vec<_> = log.nodes.keys().copied().collect();
        nodes.sort();
        let at = nodes[forged.index(nodes.len())];
        let (right, wrong) = (log.nodes[&at], Digest::of(b"forged"));
        log.nodes.insert(at, wrong);
        let head = log.head.clone();
        let mut shared = head.inclusions();
        for (pick, lie) in picks {
            let index = pick % size;
            let asked = shared.nodes(index).unwrap();
            let before = shared.proved.clone();
            let bytes = if lie { b"forged".to_vec() } else { entry(index) };
            let shown = log.include(&mut shared, index, bytes);
            prop_assert_eq!(shown.is_ok(), !lie && !asked.contains(&at), "{} of {}", index, size);
            match shown {
                Ok(included) => {
                    log.nodes.insert(at, right);
                    prop_assert_eq!(included, log.alone(index, entry(index)).unwrap());
                    log.nodes.insert(at, wrong);
                }
                Err(_) => prop_assert_eq!(&shared.proved, &before),
            }
            prop_assert!(!shared.proved.values().any(|hash| *hash == wrong));
        }
    }

    #[test]
    fn the_wrong_number_of_hashes_is_refused(size in 1_u64..100, index in any::<u64>(), more in any::<bool>()) {
        let (log, index) = (Log::of(size), index % size);
        let mut shared = log.head.inclusions();
        let mut hashes: Vec<_> = shared.nodes(index).unwrap().iter().map(|node| log.nodes[node]).collect();
        if more || hashes.is_empty() {
            hashes.push(Digest::of(b"more"));
        } else {
            hashes.pop();
        }
        let refused = shared.include(index, entry(index), &hashes);
        prop_assert!(matches!(refused, Err(TlogError::ProofLength { .. })), "{:?}", refused);
        prop_assert!(shared.proved.is_empty());
    }
}
