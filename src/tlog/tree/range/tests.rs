//! Compact ranges: any cut, merged again, is the whole.

use std::collections::BTreeMap;

use super::*;
use crate::tlog::{Frontier, MAX_SIZE, leaf_hash};
use proptest::prelude::*;

type Nodes = BTreeMap<Node, Digest>;

fn keep(nodes: &mut Nodes) -> impl FnMut(Node, Digest) -> Result<(), TlogError> + '_ {
    |node, hash| {
        assert_eq!(nodes.insert(node, hash), None, "{node:?} was made twice");
        Ok(())
    }
}

fn range(entries: Range<u64>, nodes: &mut Nodes) -> CompactRange {
    let mut range = CompactRange::empty(entries.start);
    for index in entries {
        range.push(leaf_hash(&index.to_be_bytes()), keep(nodes)).unwrap();
    }
    range
}

/// The fewest complete subtrees over a run, from the definition: the largest at each place that ends within it.
fn cover(entries: Range<u64>) -> Vec<Node> {
    let (mut at, mut nodes) = (entries.start, Vec::new());
    while at < entries.end {
        let fits = |level: &u8| at.is_multiple_of(1 << level) && at + (1 << level) <= entries.end;
        let level = (0..=62).rfind(fits).unwrap();
        nodes.push(Node { level, index: at >> level });
        at += 1 << level;
    }
    nodes
}

#[test]
fn every_cut_in_three_to_40_merges_to_the_whole() {
    for end in 0..=40 {
        let mut whole_nodes = Nodes::new();
        let whole = range(0..end, &mut whole_nodes);
        let mut frontier = Frontier::empty();
        for index in 0..end {
            frontier.push::<TlogError>(leaf_hash(&u64::to_be_bytes(index)), |_, _| Ok(())).unwrap();
        }
        assert_eq!(whole.root(), Some(frontier.root()));
        for first in 0..=end {
            for second in first..=end {
                let mut nodes = Nodes::new();
                let left = range(0..first, &mut nodes);
                let (middle, right) = (range(first..second, &mut nodes), range(second..end, &mut nodes));
                for part in [&left, &middle, &right] {
                    let covered: Vec<_> = part.nodes().iter().map(|(node, _)| *node).collect();
                    assert_eq!(covered, cover(part.range()));
                }
                // In either order of merging, with every subtree made exactly once.
                let (mut one, mut one_nodes) = (left.clone(), nodes.clone());
                one.merge(&middle, keep(&mut one_nodes)).unwrap();
                one.merge(&right, keep(&mut one_nodes)).unwrap();
                let (mut tail, mut other) = (middle, left);
                tail.merge(&right, keep(&mut nodes)).unwrap();
                other.merge(&tail, keep(&mut nodes)).unwrap();
                assert_eq!((&one, &other), (&whole, &whole), "{first}, {second} of {end}");
                assert_eq!((&one_nodes, &nodes), (&whole_nodes, &whole_nodes), "{first}, {second} of {end}");
            }
        }
    }
}

#[test]
fn ranges_that_do_not_meet_are_refused() {
    let none = |_, _| Ok(());
    let mut nodes = Nodes::new();
    let (left, right) = (range(0..5, &mut nodes), range(6..8, &mut nodes));
    assert_eq!(left.clone().merge(&right, none), Err(TlogError::Apart { end: 5, next: 6 }));
    assert_eq!(right.clone().merge(&left, none), Err(TlogError::Apart { end: 8, next: 0 }));
    assert_eq!(left.clone().merge(&left, none), Err(TlogError::Apart { end: 5, next: 0 }));
    let mut frontier = Frontier::empty();
    assert_eq!(frontier.merge(&right, none), Err(TlogError::Apart { end: 0, next: 6 }));
    // What does not begin at the start has no root.
    assert_eq!((right.root(), CompactRange::empty(1).root()), (None, None));
    assert_eq!(CompactRange::empty(0).root(), Some(empty_root()));
}

#[test]
fn a_range_beyond_the_limit_is_refused() {
    let mut last = CompactRange::empty(MAX_SIZE - 1);
    last.push::<TlogError>(empty_root(), |_, _| Ok(())).unwrap();
    for at in [MAX_SIZE, u64::MAX] {
        let refused = CompactRange::empty(at).push::<TlogError>(empty_root(), |_, _| Ok(()));
        assert_eq!(refused, Err(TlogError::TooLarge { found: at.saturating_add(1) }));
    }
}

proptest! {
    #[test]
    fn anywhere_in_a_large_log_two_halves_are_the_whole(
        first in 0..MAX_SIZE - 100, shift in 0u32..60, cut in 0u64..100, rest in 0u64..100,
    ) {
        let first = first >> shift;
        let (cut, end) = (first + cut.min(rest), first + cut.max(rest));
        let mut nodes = Nodes::new();
        let (mut left, right) = (range(first..cut, &mut nodes), range(cut..end, &mut nodes));
        left.merge(&right, keep(&mut nodes)).unwrap();
        let mut whole = Nodes::new();
        prop_assert_eq!(left, range(first..end, &mut whole));
        prop_assert_eq!(nodes, whole);
    }
}
