//! The tree against the definitions of RFC 6962 and published vectors.

use std::collections::HashMap;

use super::*;
use crate::tlog::leaf_hash;
use proptest::prelude::*;

/// RFC 6962 section 2.1, word for word.
fn mth(entries: &[Vec<u8>]) -> Digest {
    match entries.len() {
        0 => Digest::of(b""),
        1 => leaf_hash(&entries[0]),
        n => {
            let k = (1..n).rfind(|k| k.is_power_of_two()).unwrap();
            node_hash(&mth(&entries[..k]), &mth(&entries[k..]))
        }
    }
}

/// RFC 6962 section 2.1.1, word for word.
fn path(m: usize, entries: &[Vec<u8>]) -> Vec<Digest> {
    let n = entries.len();
    if n == 1 {
        return Vec::new();
    }
    let k = (1..n).rfind(|k| k.is_power_of_two()).unwrap();
    let (mut proof, rest) = if m < k {
        (path(m, &entries[..k]), mth(&entries[k..]))
    } else {
        (path(m - k, &entries[k..]), mth(&entries[..k]))
    };
    proof.push(rest);
    proof
}

/// RFC 6962 section 2.1.2, word for word.
fn subproof(m: usize, entries: &[Vec<u8>], whole: bool) -> Vec<Digest> {
    let n = entries.len();
    if m == n {
        return if whole { Vec::new() } else { vec![mth(entries)] };
    }
    let k = (1..n).rfind(|k| k.is_power_of_two()).unwrap();
    let (mut proof, rest) = if m <= k {
        (subproof(m, &entries[..k], whole), mth(&entries[k..]))
    } else {
        (subproof(m - k, &entries[k..], false), mth(&entries[..k]))
    };
    proof.push(rest);
    proof
}

fn entries(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| format!("entry {i}").into_bytes()).collect()
}

#[derive(Default)]
struct Stored(HashMap<Node, Digest>);

impl Stored {
    fn of(entries: &[Vec<u8>]) -> (Self, Frontier) {
        let (mut stored, mut frontier) = (Self::default(), Frontier::empty());
        for entry in entries {
            frontier
                .push(leaf_hash(entry), |node, hash| {
                    assert_eq!(stored.0.insert(node, hash), None, "{node:?} was stored twice");
                    Ok::<_, TlogError>(())
                })
                .unwrap();
        }
        (stored, frontier)
    }

    fn read(&self) -> impl FnMut(Node) -> Result<Digest, TlogError> + '_ {
        |node| Ok(self.0[&node])
    }
}

/// The vectors of the certificate-transparency repository (`merkle_tree_test.cc`), also in trillian and
/// transparency-dev/merkle.
const LEAVES: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

#[test]
fn the_published_roots_are_ours() {
    assert_eq!(
        Frontier::empty().root().hex(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    for size in 1..=8 {
        let leaves: Vec<_> = LEAVES[..size].iter().map(|leaf| leaf.to_vec()).collect();
        assert_eq!(Stored::of(&leaves).1.root().hex(), ROOTS[size - 1], "size {size}");
        assert_eq!(mth(&leaves).hex(), ROOTS[size - 1], "the test's own definition, size {size}");
    }
}

#[test]
fn the_published_proofs_are_ours() {
    let leaves: Vec<_> = LEAVES.iter().map(|leaf| leaf.to_vec()).collect();
    let stored = Stored::of(&leaves).0;
    let hex = |proof: Vec<Digest>| proof.iter().map(Digest::hex).collect::<Vec<_>>();
    assert_eq!(
        hex(inclusion_proof(5, 8, stored.read()).unwrap()),
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
    );
    assert_eq!(
        hex(consistency_proof(6, 8, stored.read()).unwrap()),
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
    );
}

#[test]
fn every_size_to_130_agrees_with_the_definition() {
    let all = entries(130);
    let (stored, _) = Stored::of(&all);
    for size in 0..=130u64 {
        let root = mth(&all[..size as usize]);
        assert_eq!(Stored::of(&all[..size as usize]).1.root(), root);
        let loaded = Frontier::load(size, stored.read()).unwrap();
        assert_eq!((loaded.root(), loaded.size()), (root, size));
        for index in 0..size {
            let proof = inclusion_proof(index, size, stored.read()).unwrap();
            assert_eq!(proof, path(index as usize, &all[..size as usize]), "{index} of {size}");
            check_inclusion(leaf_hash(&all[index as usize]), index, size, &proof, root).unwrap();
        }
        assert_eq!(
            inclusion_proof(size, size, stored.read()),
            Err(TlogError::OutOfRange { index: size, size })
        );
    }
}

#[test]
fn every_pair_to_64_is_consistent_and_agrees_with_the_definition() {
    let all = entries(64);
    let (stored, _) = Stored::of(&all);
    for new in 0..=64u64 {
        for old in 0..=new {
            let (old_root, new_root) = (mth(&all[..old as usize]), mth(&all[..new as usize]));
            let proof = consistency_proof(old, new, stored.read()).unwrap();
            if old > 0 {
                assert_eq!(proof, subproof(old as usize, &all[..new as usize], true), "{old} to {new}");
            }
            check_consistency(old, old_root, new, new_root, &proof).unwrap();
        }
        assert_eq!(
            consistency_proof(new + 1, new, stored.read()),
            Err(TlogError::Shrunk { old: new + 1, new })
        );
    }
}

/// What the proof of an entry says of the log before it.
#[test]
fn d3_the_proof_of_an_entry_gives_the_root_before_it() {
    for size in 1..=130 {
        let entries = entries(size);
        for index in 0..size {
            let found = root_before(index as u64, size as u64, &path(index, &entries));
            assert_eq!(found, mth(&entries[..index]), "{index} of {size}");
        }
    }
}

fn flipped(digest: Digest, bit: usize) -> Digest {
    let mut bytes = *digest.as_bytes();
    bytes[bit / 8 % 32] ^= 1 << (bit % 8);
    Digest::from_bytes(bytes)
}

/// Each hash flipped, each left out, one added in each place.
fn tampered(proof: &[Digest]) -> Vec<Vec<Digest>> {
    let mut all = Vec::new();
    for at in 0..proof.len() {
        let mut other = proof.to_vec();
        other[at] = flipped(other[at], at * 7);
        all.push(other);
        let mut other = proof.to_vec();
        other.remove(at);
        all.push(other);
    }
    for at in 0..=proof.len() {
        let mut other = proof.to_vec();
        other.insert(at, proof.get(at).copied().unwrap_or_else(empty_root));
        all.push(other);
    }
    all.push(vec![empty_root(); 65]);
    all
}

#[test]
fn d1_a_tampered_inclusion_proof_is_refused() {
    let all = entries(40);
    let (stored, _) = Stored::of(&all);
    for size in 1..=40u64 {
        let root = mth(&all[..size as usize]);
        for index in 0..size {
            let leaf = leaf_hash(&all[index as usize]);
            let proof = inclusion_proof(index, size, stored.read()).unwrap();
            for wrong in tampered(&proof) {
                assert!(check_inclusion(leaf, index, size, &wrong, root).is_err(), "{index} of {size}");
            }
            assert!(check_inclusion(flipped(leaf, 3), index, size, &proof, root).is_err());
            assert!(check_inclusion(leaf, index, size, &proof, flipped(root, 9)).is_err());
            for other in (0..size + 2).filter(|other| *other != index) {
                assert!(check_inclusion(leaf, other, size, &proof, root).is_err(), "{other} for {index}");
            }
        }
    }
}

#[test]
fn an_inclusion_proof_of_another_size_is_refused() {
    let all = entries(33);
    let (stored, _) = Stored::of(&all);
    for size in 1..=33u64 {
        for index in 0..size {
            let proof = inclusion_proof(index, size, stored.read()).unwrap();
            for other in (0..=33u64).filter(|other| *other != size) {
                let root = mth(&all[..other as usize]);
                let leaf = leaf_hash(&all[index as usize]);
                assert!(check_inclusion(leaf, index, other, &proof, root).is_err());
            }
        }
    }
    for size in [MAX_SIZE + 1, u64::MAX] {
        let none = check_inclusion(empty_root(), 0, size, &[], empty_root());
        assert_eq!(none, Err(TlogError::TooLarge { found: size }));
    }
}

#[test]
fn d3_a_tampered_consistency_proof_is_refused() {
    let all = entries(33);
    let (stored, _) = Stored::of(&all);
    for new in 1..=33u64 {
        for old in 0..=new {
            let (old_root, new_root) = (mth(&all[..old as usize]), mth(&all[..new as usize]));
            let proof = consistency_proof(old, new, stored.read()).unwrap();
            for wrong in tampered(&proof) {
                assert!(
                    check_consistency(old, old_root, new, new_root, &wrong).is_err(),
                    "{old} to {new}: {wrong:?}"
                );
            }
            assert!(check_consistency(old, flipped(old_root, 1), new, new_root, &proof).is_err());
            if old != 0 {
                assert!(check_consistency(old, old_root, new, flipped(new_root, 1), &proof).is_err());
            }
            if old != new {
                assert!(check_consistency(new, new_root, old, old_root, &proof).is_err());
            }
        }
    }
}

#[test]
fn d3_two_logs_with_one_beginning_are_a_fork() {
    let (mine, mut theirs) = (entries(20), entries(20));
    theirs[12] = b"another".to_vec();
    let (stored, _) = Stored::of(&theirs);
    for old in 13..=20u64 {
        let proof = consistency_proof(old, 20, stored.read()).unwrap();
        let refused = check_consistency(old, mth(&mine[..old as usize]), 20, mth(&theirs), &proof);
        assert!(matches!(refused, Err(TlogError::Forked { .. })), "{old}: {refused:?}");
    }
}

#[test]
fn a_leaf_is_not_a_node() {
    let (left, right) = (leaf_hash(b"l"), leaf_hash(b"r"));
    let concatenated = [&left.as_bytes()[..], right.as_bytes()].concat();
    assert_ne!(leaf_hash(&concatenated), node_hash(&left, &right));
}

proptest! {
    #[test]
    fn arbitrary_proofs_never_panic(
        leaf: [u8; 32], index: u64, size: u64, root: [u8; 32],
        proof in prop::collection::vec(any::<[u8; 32]>(), 0..70),
    ) {
        let proof: Vec<_> = proof.into_iter().map(Digest::from_bytes).collect();
        let (leaf, root) = (Digest::from_bytes(leaf), Digest::from_bytes(root));
        for shift in [0, 1, 30, 60] {
            let (index, size) = (index >> shift, size >> shift);
            prop_assert!(check_inclusion(leaf, index, size, &proof, root).is_err());
            prop_assert!(check_consistency(index, leaf, size, root, &proof).is_err());
            let read = |node: Node| Ok::<_, TlogError>(leaf_hash(&node.index.to_be_bytes()));
            if let Ok(proof) = inclusion_proof(index, size, read) {
                prop_assert!(proof.len() <= MAX_PROOF);
                let root = Frontier::load(size, read).unwrap().root();
                // Nodes made up at will never lead to a root made up at will, except that of one entry.
                prop_assert!(size == 1 || check_inclusion(leaf, index, size, &proof, root).is_err());
            }
            if let Ok(proof) = consistency_proof(index, size, read) {
                prop_assert!(proof.len() <= MAX_PROOF + 1);
            }
        }
    }
}
