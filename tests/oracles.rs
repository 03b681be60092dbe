//! Our RFC 6962 tree against three of other people: `tlog_tiles` (a port of Go's sumdb/tlog), `ct-merkle` and
//! `sigstore-merkle`. Every size to 300 with every index, and sizes to 2^40 by index alone.
//!
//! The proofs of all are to be the same bytes, and each is to accept what ours accepts and to refuse what ours refuses.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use proptest::prelude::*;
use samebits::digest::Digest;
use samebits::tlog::{
    EntryBundle, Frontier, LogSigner, Node, SignedCheckpoint, Tile, TileReader, TlogError, check_consistency,
    check_inclusion, consistency_proof, empty_root, inclusion_proof, leaf_hash, node_hash,
};
use sigstore_types::Sha256Hash;
use tlog_tiles::tile::{Tile as TheirTile, TileHashReader, TileReader as TheirTileReader};
use tlog_tiles::tlog::{self as theirs, Hash, HashReader};

/// A log of any size that nobody has to write down: all its entries are the same, but a few.
#[derive(Default)]
struct Log {
    special: BTreeMap<u64, Vec<u8>>,
    /// The hash of a complete subtree by its level, where there is no special entry.
    plain: RefCell<Vec<Digest>>,
    mixed: RefCell<HashMap<Node, Digest>>,
}

impl Log {
    fn new(special: impl IntoIterator<Item = u64>) -> Self {
        let special = special.into_iter().map(|index| (index, format!("entry {index}").into_bytes()));
        Self { special: special.collect(), ..Self::default() }
    }

    fn entry(&self, index: u64) -> Vec<u8> {
        self.special.get(&index).cloned().unwrap_or_else(|| b"plain".to_vec())
    }

    fn plain(&self, level: u8) -> Digest {
        let mut plain = self.plain.borrow_mut();
        while plain.len() <= level.into() {
            let next = plain.last().map_or_else(|| leaf_hash(b"plain"), |below| node_hash(below, below));
            plain.push(next);
        }
        plain[usize::from(level)]
    }

    fn node(&self, node: Node) -> Digest {
        if self.special.range(node.first()..=node.last()).next().is_none() {
            return self.plain(node.level);
        }
        if let Some(known) = self.mixed.borrow().get(&node) {
            return *known;
        }
        let hash = match node.children() {
            Some((left, right)) => node_hash(&self.node(left), &self.node(right)),
            None => leaf_hash(&self.entry(node.index)),
        };
        self.mixed.borrow_mut().insert(node, hash);
        hash
    }

    fn read(&self) -> impl FnMut(Node) -> Result<Digest, TlogError> + '_ {
        |node| Ok(self.node(node))
    }

    fn root(&self, size: u64) -> Digest {
        Frontier::load(size, self.read()).unwrap().root()
    }

    /// MTH of a run that begins at a multiple of a power of two not below its length: RFC 6962 section 2.1.
    fn mth(&self, first: u64, end: u64) -> Digest {
        let n = end - first;
        if n.is_power_of_two() {
            let level = n.ilog2() as u8;
            return self.node(Node { level, index: first >> level });
        }
        let k = 1 << (n - 1).ilog2();
        node_hash(&self.mth(first, first + k), &self.mth(first + k, end))
    }

    /// What `ct-merkle` means by a number (RFC 9420, array-based trees): the subtree around it, as far as there are
    /// leaves.
    fn array_node(&self, number: u64, size: u64) -> Sha2 {
        let level = number.trailing_ones();
        let first = (number >> (level + 1)) << level;
        sha2_of(self.mth(first, (first + (1 << level)).min(size)))
    }
}

impl HashReader for Log {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, theirs::Error> {
        let hash = |index: &u64| {
            let (level, index) = theirs::split_stored_hash_index(*index);
            Hash(*self.node(Node { level, index }).as_bytes())
        };
        Ok(indexes.iter().map(hash).collect())
    }
}

type Sha2 = ct_merkle::digest::Output<sha2::Sha256>;

fn sha2_of(digest: Digest) -> Sha2 {
    (*digest.as_bytes()).into()
}

fn flipped(digest: Digest) -> Digest {
    let mut bytes = *digest.as_bytes();
    bytes[7] ^= 1;
    Digest::from_bytes(bytes)
}

/// The proof, and, of one in seven, the same with something wrong: a hash, its length, its order.
fn variants(proof: &[Digest], at: u64) -> Vec<Vec<Digest>> {
    let mut all = vec![proof.to_vec()];
    if !at.is_multiple_of(7) {
        return all;
    }
    if let Some((last, rest)) = proof.split_last() {
        all.push(rest.to_vec());
        all.push([rest, &[flipped(*last)]].concat());
    }
    if proof.len() > 1 && proof[0] != proof[1] {
        let mut other = proof.to_vec();
        other.swap(0, 1);
        all.push(other);
    }
    all.push([proof, &[empty_root()]].concat());
    all
}

fn inclusion(log: &Log, index: u64, size: u64, root: Digest) {
    let proof = inclusion_proof(index, size, log.read()).unwrap();
    let hash = |digest: &Digest| Hash(*digest.as_bytes());
    let by_tlog: Vec<_> = theirs::prove_record(size, index, log).unwrap().iter().map(|hash| hash.0).collect();
    let ours: Vec<_> = proof.iter().map(|hash| *hash.as_bytes()).collect();
    assert_eq!(ours, by_tlog, "tlog_tiles, {index} of {size}");
    let by_ct = ct_merkle::indices_for_inclusion_proof(size, index);
    let by_ct: Vec<_> = by_ct.into_iter().map(|number| log.array_node(number, size)).collect();
    assert!(proof.iter().copied().map(sha2_of).eq(by_ct.iter().copied()), "ct-merkle, {index} of {size}");

    let entry = log.entry(index);
    let leaf = leaf_hash(&entry);
    for (at, proof) in variants(&proof, index + size).iter().enumerate() {
        let accepted = check_inclusion(leaf, index, size, proof, root).is_ok();
        assert_eq!(accepted, at == 0, "{index} of {size}, variant {at}");
        let one =
            theirs::check_record(&proof.iter().map(hash).collect(), size, hash(&root), index, hash(&leaf));
        assert_eq!(one.is_ok(), accepted, "tlog_tiles, {index} of {size}, variant {at}");
        let digests: Vec<_> = proof.iter().copied().map(sha2_of).collect();
        let two = RootHash::<sha2::Sha256>::new(sha2_of(root), size);
        let two = two.verify_inclusion(&entry, index, &InclusionProof::from_digests(&digests));
        assert_eq!(two.is_ok(), accepted, "ct-merkle, {index} of {size}, variant {at}");
        let three = sigstore_merkle::verify_inclusion_proof(
            &sigstore(&leaf),
            index,
            size,
            &proof.iter().map(sigstore).collect::<Vec<_>>(),
            &sigstore(&root),
        );
        assert_eq!(three.is_ok(), accepted, "sigstore-merkle, {index} of {size}, variant {at}");
    }
}

fn sigstore(digest: &Digest) -> Sha256Hash {
    Sha256Hash::new(*digest.as_bytes())
}

/// `old` is neither 0 nor `new`: what the specification leaves out, the others decide each in their own way.
fn consistency(log: &Log, old: u64, new: u64, old_root: Digest, new_root: Digest) {
    let proof = consistency_proof(old, new, log.read()).unwrap();
    let hash = |digest: &Digest| Hash(*digest.as_bytes());
    let by_tlog: Vec<_> = theirs::prove_tree(new, old, log).unwrap().iter().map(|hash| hash.0).collect();
    let ours: Vec<_> = proof.iter().map(|hash| *hash.as_bytes()).collect();
    assert_eq!(ours, by_tlog, "tlog_tiles, {old} to {new}");
    let by_ct = ct_merkle::indices_for_consistency_proof(old, new - old);
    let by_ct: Vec<_> = by_ct.into_iter().map(|number| log.array_node(number, new)).collect();
    assert!(proof.iter().copied().map(sha2_of).eq(by_ct.iter().copied()), "ct-merkle, {old} to {new}");

    for (at, proof) in variants(&proof, old + new).iter().enumerate() {
        let accepted = check_consistency(old, old_root, new, new_root, proof).is_ok();
        assert_eq!(accepted, at == 0, "{old} to {new}, variant {at}");
        let one =
            theirs::check_tree(&proof.iter().map(hash).collect(), new, hash(&new_root), old, hash(&old_root));
        assert_eq!(one.is_ok(), accepted, "tlog_tiles, {old} to {new}, variant {at}");
        let digests: Vec<_> = proof.iter().copied().map(sha2_of).collect();
        let root = |root, size| RootHash::<sha2::Sha256>::new(sha2_of(root), size);
        let two = root(new_root, new)
            .verify_consistency(&root(old_root, old), &ConsistencyProof::from_digests(&digests));
        assert_eq!(two.is_ok(), accepted, "ct-merkle, {old} to {new}, variant {at}");
        let hashes: Vec<_> = proof.iter().map(sigstore).collect();
        let (old_root, new_root) = (sigstore(&old_root), sigstore(&new_root));
        let three = sigstore_merkle::verify_consistency_proof(old, new, &hashes, &old_root, &new_root);
        assert_eq!(three.is_ok(), accepted, "sigstore-merkle, {old} to {new}, variant {at}");
    }
}

#[test]
fn every_inclusion_proof_to_300_is_that_of_the_others() {
    let log = Log::new(0..300);
    for size in 1..=300 {
        let root = log.root(size);
        assert_eq!(theirs::tree_hash(size, &log).unwrap().0, *root.as_bytes(), "size {size}");
        (0..size).for_each(|index| inclusion(&log, index, size, root));
    }
}

#[test]
fn every_consistency_proof_to_300_is_that_of_the_others() {
    let log = Log::new(0..300);
    let roots: Vec<_> = (0..=300).map(|size| log.root(size)).collect();
    for new in 2..=300_u64 {
        for old in 1..new {
            consistency(&log, old, new, roots[old as usize], roots[new as usize]);
        }
    }
}

/// 1 to 2^40, small ones as often as large ones, and the edges of tiles and of powers of two.
fn size() -> impl Strategy<Value = u64> {
    let any = (0u32..=40, any::<u64>()).prop_map(|(bits, low)| (1 << bits) | (low & ((1 << bits) - 1)));
    let edge = (0u32..=40, 0u64..3).prop_map(|(bits, off)| ((1 << bits) + off).saturating_sub(1).max(1));
    prop_oneof![any, edge].prop_map(|size: u64| size.min(1 << 40))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn proofs_of_sizes_to_2_to_the_40_are_those_of_the_others(
        one in size(), other in size(), index: u64, special in prop::collection::vec(any::<u64>(), 12),
    ) {
        let (old, new) = (one.min(other), one.max(other));
        let index = index % new;
        // Something beside the entry, at the old end, and here and there.
        let near = [index, index ^ 1, old - 1, old, new - 1];
        let log = Log::new(special.iter().map(|index| index % new).chain(near).filter(|index| *index < new));
        inclusion(&log, index, new, log.root(new));
        if old < new {
            consistency(&log, old, new, log.root(old), log.root(new));
        }
    }

    #[test]
    fn a_grown_log_writes_the_tiles_of_tlog_tiles(one in size(), more in 0u64..70_000) {
        let (old, new) = (one.saturating_sub(more), one);
        let mut ours: Vec<_> = Tile::grown(old, new).map(|tile| tile.to_string()).collect();
        let mut by_tlog: Vec<_> = TheirTile::new_tiles(8, old, new)
            .iter()
            .map(|tile| tile.path().replacen("tile/8/", "tile/", 1))
            .collect();
        ours.sort();
        by_tlog.sort();
        prop_assert_eq!(ours, by_tlog);
        for bundle in EntryBundle::grown(old, new) {
            let tile = Tile::of(0, bundle.range().start / 256, new).unwrap();
            prop_assert_eq!(bundle.to_string(), tile.to_string().replacen("tile/0/", "tile/entries/", 1));
        }
    }
}

/// The tiles of a log, of which somebody forged one.
struct Forged {
    log: Log,
    size: u64,
    tile: Tile,
    bytes: Vec<u8>,
}

impl Forged {
    /// Puts `entry` over entry `index`, in its tile alone.
    fn new(size: u64, index: u64, entry: &[u8]) -> Self {
        let log = Log::new([index]);
        let tile = Tile::of(0, index / 256, size).unwrap();
        let mut bytes = tile.encode(log.read()).unwrap();
        bytes[(index % 256) as usize * 32..][..32].copy_from_slice(leaf_hash(entry).as_bytes());
        Self { log, size, tile, bytes }
    }

    fn bytes(&self, tile: Tile) -> Vec<u8> {
        if tile == self.tile { self.bytes.clone() } else { tile.encode(self.log.read()).unwrap() }
    }
}

impl TheirTileReader for Forged {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[TheirTile]) -> Result<Vec<Vec<u8>>, theirs::Error> {
        let bytes = |tile: &TheirTile| {
            let ours = Tile::of(tile.level(), tile.level_index(), self.size).unwrap();
            assert_eq!(u32::from(ours.width()), tile.width());
            self.bytes(ours)
        };
        Ok(tiles.iter().map(bytes).collect())
    }

    fn save_tiles(&self, _: &[TheirTile], _: &[Vec<u8>]) {}
}

fn head(log: &Log, size: u64) -> SignedCheckpoint {
    let signer = LogSigner::generate("acme.example/log".parse().unwrap()).unwrap();
    signer.sign(size, log.root(size)).unwrap()
}

/// `tlog_tiles` promises that "any hashes returned by the `HashReader` are already proven to be in the tree". At these
/// sizes it leaves tiles unchecked (what Go fixed as CVE-2026-56865 in x/mod v0.40.0).
#[test]
fn d1_a_forged_tile_that_another_reader_accepts_is_refused() {
    let (index, entry) = (77, &b"never appended"[..]);
    for size in [1000, 70_000, 132_869, 200_000] {
        let forged = Forged::new(size, index, entry);
        let root = Hash(*forged.log.root(size).as_bytes());
        let asked = [theirs::stored_hash_index(0, index)];
        let accepted = TileHashReader::new(size, root, &forged).read_hashes(&asked).unwrap();
        assert_eq!(accepted[0].0, *leaf_hash(entry).as_bytes(), "{size}: tlog_tiles was mended; say so");

        let mut reader = TileReader::new(size, |tile| Ok::<_, TlogError>(forged.bytes(tile)));
        let proof = inclusion_proof(index, size, |node| reader.node(node)).unwrap();
        let refused = head(&forged.log, size).include(index, entry.to_vec(), &proof);
        assert!(matches!(refused, Err(TlogError::NotIncluded { .. })), "{size}: {refused:?}");
        // The same tiles still prove what was appended: the path does not lead over the forged hash.
        assert!(head(&forged.log, size).include(index, forged.log.entry(index), &proof).is_ok());
    }
    // Where the other reader looks, it sees it.
    for size in [512, 1024, 131_072] {
        let forged = Forged::new(size, index, entry);
        let root = Hash(*forged.log.root(size).as_bytes());
        let asked = [theirs::stored_hash_index(0, index)];
        assert!(TileHashReader::new(size, root, &forged).read_hashes(&asked).is_err(), "{size}");
    }
}
