//! The tree: stored nodes, the frontier that grows it, and proofs made and checked.
//!
//! Guarantees: the checks follow RFC 9162 step by step and read nothing but their arguments. What
//! [`Frontier::load`], [`inclusion_proof`] and [`consistency_proof`] return is only as good as the nodes they
//! were given: compare with a signed root. Never does: I/O; nodes come from the caller's closure.

use super::{MAX_PROOF, MAX_SIZE, TlogError, empty_root, node_hash};
use crate::digest::Digest;

/// The place of a complete subtree: it covers the entries `index << level` to `((index + 1) << level) - 1`.
///
/// Only complete subtrees are stored, so a stored node never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// 0 for leaves.
    pub level: u8,
    /// Counted from the left, from 0, within the level.
    pub index: u64,
}

impl Node {
    /// The first entry below this node.
    pub fn first(self) -> u64 {
        self.index << self.level
    }

    /// The last entry below this node.
    pub fn last(self) -> u64 {
        self.first() + ((1 << self.level) - 1)
    }

    /// The two nodes below, left first; `None` for a leaf.
    pub fn children(self) -> Option<(Self, Self)> {
        let level = self.level.checked_sub(1)?;
        Some((Self { level, index: self.index * 2 }, Self { level, index: self.index * 2 + 1 }))
    }
}

/// The largest complete subtrees of the entries `first..end`, left to right. `first` is a multiple of a power
/// of two that is not smaller than `end - first`.
fn peaks(first: u64, end: u64) -> impl Iterator<Item = Node> {
    let mut at = first;
    (0..=62u8).rev().filter(move |level| ((end - first) >> level) & 1 == 1).map(move |level| {
        let node = Node { level, index: at >> level };
        at += 1 << level;
        node
    })
}

/// MTH of neighbouring subtrees, left to right; `None` of none.
fn fold(peaks: impl DoubleEndedIterator<Item = Digest>) -> Option<Digest> {
    peaks.rev().reduce(|right, left| node_hash(&left, &right))
}

/// The hash of the entries `first..end`, which are never none.
fn range_hash<E>(
    first: u64,
    end: u64,
    read: &mut impl FnMut(Node) -> Result<Digest, E>,
) -> Result<Digest, E> {
    let hashes = peaks(first, end).map(&mut *read).collect::<Result<Vec<_>, _>>()?;
    Ok(fold(hashes.into_iter()).unwrap_or_else(empty_root))
}

/// The right edge of a log: all that is needed to append to it (a compact range from 0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

impl Frontier {
    /// Of the empty log.
    pub fn empty() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    /// Of a log of `size` entries, from its stored nodes. Not to be believed until [`Frontier::root`] equals
    /// a signed root.
    ///
    /// # Errors
    /// What `read` returned; [`TlogError::TooLarge`].
    pub fn load<E: From<TlogError>>(
        size: u64,
        read: impl FnMut(Node) -> Result<Digest, E>,
    ) -> Result<Self, E> {
        within(size)?;
        Ok(Self { size, peaks: Self::nodes(size).map(read).collect::<Result<_, _>>()? })
    }

    /// The nodes that [`Frontier::load`] reads, left to right.
    pub fn nodes(size: u64) -> impl Iterator<Item = Node> {
        peaks(0, size)
    }

    /// Number of entries.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the log (RFC 6962 section 2.1, MTH).
    pub fn root(&self) -> Digest {
        fold(self.peaks.iter().copied()).unwrap_or_else(empty_root)
    }

    /// Appends the hash of a leaf; `store` is handed every complete subtree this makes, the leaf first.
    ///
    /// # Errors
    /// What `store` returned; [`TlogError::TooLarge`]. The frontier is then of no further use.
    pub fn push<E: From<TlogError>>(
        &mut self,
        leaf: Digest,
        mut store: impl FnMut(Node, Digest) -> Result<(), E>,
    ) -> Result<(), E> {
        within(self.size.saturating_add(1))?;
        let mut node = Node { level: 0, index: self.size };
        let mut hash = leaf;
        store(node, hash)?;
        // An odd index is a right child: its left sibling is the last peak.
        while node.index & 1 == 1
            && let Some(left) = self.peaks.pop()
        {
            node = Node { level: node.level + 1, index: node.index >> 1 };
            hash = node_hash(&left, &hash);
            store(node, hash)?;
        }
        self.peaks.push(hash);
        self.size += 1;
        Ok(())
    }
}

fn within(size: u64) -> Result<(), TlogError> {
    if size > MAX_SIZE { Err(TlogError::TooLarge { found: size }) } else { Ok(()) }
}

/// The largest power of two smaller than `n`, which is at least 2.
fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// The hashes that lead from entry `index` to the root of a log of `size` entries (RFC 6962 section 2.1.1,
/// PATH).
///
/// # Errors
/// What `read` returned; [`TlogError::OutOfRange`], [`TlogError::TooLarge`].
pub fn inclusion_proof<E: From<TlogError>>(
    index: u64,
    size: u64,
    mut read: impl FnMut(Node) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    within(size)?;
    if index >= size {
        return Err(TlogError::OutOfRange { index, size }.into());
    }
    let (mut first, mut end, mut proof) = (0, size, Vec::new());
    while end - first > 1 {
        let middle = first + split(end - first);
        if index < middle {
            proof.push(range_hash(middle, end, &mut read)?);
            end = middle;
        } else {
            proof.push(range_hash(first, middle, &mut read)?);
            first = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// Checks that the leaf with hash `leaf` is entry `index` of the log of `size` entries with root `root`
/// (RFC 9162 section 2.1.3.2).
///
/// # Errors
/// [`TlogError::OutOfRange`], [`TlogError::TooLarge`], [`TlogError::ProofLength`],
/// [`TlogError::NotIncluded`].
pub fn check_inclusion(
    leaf: Digest,
    index: u64,
    size: u64,
    proof: &[Digest],
    root: Digest,
) -> Result<(), TlogError> {
    within(size)?;
    let length = TlogError::ProofLength { found: proof.len(), index, size };
    if proof.len() > MAX_PROOF {
        return Err(length);
    }
    // 1. leaf_index below tree_size.
    if index >= size {
        return Err(TlogError::OutOfRange { index, size });
    }
    // 2. fn and sn.
    let (mut fnode, mut snode) = (index, size - 1);
    // 3. r.
    let mut r = leaf;
    // 4. Each value of the inclusion path.
    for p in proof {
        // 4.1
        if snode == 0 {
            return Err(length);
        }
        // 4.2
        if fnode & 1 == 1 || fnode == snode {
            r = node_hash(p, &r);
            while fnode & 1 == 0 && fnode != 0 {
                fnode >>= 1;
                snode >>= 1;
            }
        } else {
            r = node_hash(&r, p);
        }
        // 4.3
        fnode >>= 1;
        snode >>= 1;
    }
    // 5. sn is 0 and r is the root.
    if snode != 0 {
        return Err(length);
    }
    if r != root {
        return Err(TlogError::NotIncluded { index, size, expected: root, found: r });
    }
    Ok(())
}

/// The hashes that show the log of `new` entries to continue the one of `old` entries (RFC 6962 section
/// 2.1.2, PROOF); empty when either is the other or the empty log.
///
/// # Errors
/// What `read` returned; [`TlogError::Shrunk`], [`TlogError::TooLarge`].
pub fn consistency_proof<E: From<TlogError>>(
    old: u64,
    new: u64,
    mut read: impl FnMut(Node) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    within(new)?;
    if old > new {
        return Err(TlogError::Shrunk { old, new }.into());
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let (mut first, mut end, mut whole, mut proof) = (0, new, true, Vec::new());
    // SUBPROOF: `whole` while the subtree is the older log itself, whose root the checker has.
    while old != end {
        let middle = first + split(end - first);
        if old <= middle {
            proof.push(range_hash(middle, end, &mut read)?);
            end = middle;
        } else {
            proof.push(range_hash(first, middle, &mut read)?);
            first = middle;
            whole = false;
        }
    }
    if !whole {
        proof.push(range_hash(first, end, &mut read)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Checks that the log of `new` entries with root `new_root` continues the one of `old` entries with root
/// `old_root` (RFC 9162 section 2.1.4.2; the cases it leaves out are equal and empty logs, whose proof is
/// empty).
///
/// # Errors
/// [`TlogError::Shrunk`], [`TlogError::TooLarge`], [`TlogError::ProofLength`], [`TlogError::Forked`].
pub fn check_consistency(
    old: u64,
    old_root: Digest,
    new: u64,
    new_root: Digest,
    proof: &[Digest],
) -> Result<(), TlogError> {
    within(new)?;
    let length = TlogError::ProofLength { found: proof.len(), index: old, size: new };
    let forked = TlogError::Forked { old, old_root, new };
    if old > new {
        return Err(TlogError::Shrunk { old, new });
    }
    // One more than an inclusion proof: the subtree it starts from.
    if proof.len() > MAX_PROOF + 1 {
        return Err(length);
    }
    if old == new || old == 0 {
        let same = if old == new { new_root } else { empty_root() };
        return match (proof.is_empty(), old_root == same) {
            (false, _) => Err(length),
            (true, false) => Err(forked),
            (true, true) => Ok(()),
        };
    }
    // 1. An empty path fails. 2. A power of two is itself the first value.
    let seed = [old_root];
    let mut path = if old.is_power_of_two() { &seed[..] } else { &[] }.iter().chain(proof);
    let (false, Some(first)) = (proof.is_empty(), path.next()) else {
        return Err(length);
    };
    // 3. fn and sn.
    let (mut fnode, mut snode) = (old - 1, new - 1);
    // 4. To the root of the last complete subtree.
    while fnode & 1 == 1 {
        fnode >>= 1;
        snode >>= 1;
    }
    // 5. fr and sr.
    let (mut fr, mut sr) = (*first, *first);
    // 6. Each further value.
    for c in path {
        // 6.1
        if snode == 0 {
            return Err(length);
        }
        // 6.2
        if fnode & 1 == 1 || fnode == snode {
            fr = node_hash(c, &fr);
            sr = node_hash(c, &sr);
            while fnode & 1 == 0 && fnode != 0 {
                fnode >>= 1;
                snode >>= 1;
            }
        } else {
            sr = node_hash(&sr, c);
        }
        // 6.3
        fnode >>= 1;
        snode >>= 1;
    }
    // 7. Both roots, and nothing left to climb.
    if snode != 0 {
        return Err(length);
    }
    if fr != old_root || sr != new_root {
        return Err(forked);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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
}
