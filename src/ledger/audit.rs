//! The audit: which records and hashes of a ledger are not the ones that were signed.
//!
//! Guarantees: an [`Audit`] without findings means that the signed root was recomputed from every record,
//! that every stored hash is the recomputed one and every index row the one its record asks for. Memory grows
//! with the damage, not with the ledger. Never does: repair.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::store::{Projection, Tables};
use super::{Index, LedgerError};
use crate::digest::{Digest, shorten};
use crate::tlog::{Frontier, Node, SignedCheckpoint, empty_root, leaf_hash, node_hash};

/// One thing that is not as it was signed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Finding {
    /// The bytes of a record are not the signed ones.
    LeafChanged {
        /// The record.
        index: u64,
    },
    /// A signed record is gone from the middle.
    Missing {
        /// The record.
        index: u64,
    },
    /// All signed records from an index on are gone.
    Truncated {
        /// The first record that is gone.
        from: u64,
        /// The signed size.
        size: u64,
    },
    /// Somewhere among these records, but their hashes do not say where, something is not as it was signed.
    Unproven {
        /// The first record of the subtree.
        first: u64,
        /// Its last record.
        last: u64,
    },
    /// The record is as signed but not valid in itself.
    RecordInvalid {
        /// The record.
        index: u64,
        /// What its reader said.
        why: String,
    },
    /// Evidence that a promotion relied on is no longer kept; the record that named it first.
    EvidenceGone {
        /// The record.
        index: u64,
        /// What it relied on.
        digest: Digest,
    },
    /// The bytes kept of evidence are not what a promotion relied on; the record that named it first.
    EvidenceChanged {
        /// The record.
        index: u64,
        /// What it relied on.
        digest: Digest,
    },
    /// The row that queries find the record by is missing or not what the record asks for.
    IndexRow {
        /// The record.
        index: u64,
    },
    /// A record or an index row outside the signed log.
    Stray {
        /// Its index.
        index: i64,
    },
    /// A stored hash is missing or not the one that the signed root implies.
    NodeChanged {
        /// 0 for leaves.
        level: u8,
        /// Within the level.
        index: u64,
    },
    /// A stored hash outside the signed log.
    StrayNode {
        /// As stored.
        level: i64,
        /// As stored.
        index: i64,
    },
    /// The control lane is not the signed one.
    ControlLane {
        /// How that shows.
        why: String,
    },
    /// A record of the control lane is as signed but not valid in itself.
    ControlInvalid {
        /// The record, in the control lane.
        index: u64,
        /// What its reader said.
        why: String,
    },
    /// Neither the records nor the stored hashes give the signed root.
    RootMismatch {
        /// The signed root.
        expected: Digest,
        /// Of the records, if all are there.
        found: Option<Digest>,
    },
}

impl Finding {
    /// The first record that is not as signed, not valid, in doubt, or without its evidence; `None` for damage to
    /// caches only.
    pub fn record(&self) -> Option<u64> {
        match self {
            Self::LeafChanged { index }
            | Self::Missing { index }
            | Self::RecordInvalid { index, .. }
            | Self::EvidenceGone { index, .. }
            | Self::EvidenceChanged { index, .. } => Some(*index),
            Self::Truncated { from, .. } => Some(*from),
            Self::Unproven { first, .. } => Some(*first),
            Self::IndexRow { .. }
            | Self::Stray { .. }
            | Self::NodeChanged { .. }
            | Self::StrayNode { .. }
            | Self::ControlLane { .. }
            | Self::ControlInvalid { .. }
            | Self::RootMismatch { .. } => None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeafChanged { index } => write!(f, "record {index} was changed after it was signed"),
            Self::Missing { index } => write!(f, "record {index} was deleted"),
            Self::Truncated { from, size } => {
                write!(f, "records {from} to {} were cut off", size.saturating_sub(1))
            }
            Self::Unproven { first, last } if first == last => {
                write!(f, "record {first} is not the signed one")
            }
            Self::Unproven { first, last } => {
                write!(f, "records {first} to {last} do not have the signed hash: at least one was changed")
            }
            Self::RecordInvalid { index, why } => write!(f, "record {index} is not valid: {why}"),
            Self::EvidenceGone { index, digest } => {
                write!(f, "the evidence {digest} of record {index} is gone")
            }
            Self::EvidenceChanged { index, digest } => {
                write!(f, "the evidence {digest} of record {index} was changed")
            }
            Self::IndexRow { index } => {
                write!(f, "the index row of record {index} does not match the record")
            }
            Self::Stray { index } => write!(f, "record {index} lies outside the signed log"),
            Self::NodeChanged { level, index } => {
                write!(f, "the stored hash at level {level}, index {index} was changed")
            }
            Self::StrayNode { level, index } => {
                write!(f, "the stored hash at level {level}, index {index} lies outside the signed log")
            }
            Self::ControlLane { why } => f.write_str(why),
            Self::ControlInvalid { index, why } => write!(f, "control record {index} is not valid: {why}"),
            Self::RootMismatch { expected, found: Some(found) } => {
                write!(f, "the records have root {found}, signed is {expected}")
            }
            Self::RootMismatch { expected, found: None } => {
                write!(f, "what is stored does not have the signed root {expected}")
            }
        }
    }
}

/// The result of an audit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Audit {
    checkpoint: SignedCheckpoint,
    control: Option<SignedCheckpoint>,
    findings: Vec<Finding>,
}

impl Audit {
    /// The head that everything was compared with.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// The head of the control lane, where that was audited too.
    pub fn control(&self) -> Option<&SignedCheckpoint> {
        self.control.as_ref()
    }

    /// The same with what the control lane's audit found.
    pub(super) fn with_control(mut self, control: SignedCheckpoint, findings: Vec<Finding>) -> Self {
        self.control = Some(control);
        self.findings.extend(findings);
        self
    }

    /// Whether all is as it was signed.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// The first record that is not as signed or not valid; where the hashes only tell a range and no record
    /// in it was named, the first of the range.
    pub fn first_bad_record(&self) -> Option<u64> {
        let named = |range: &(u64, u64)| {
            let inside = |record: u64| range.0 <= record && record <= range.1;
            self.findings
                .iter()
                .filter(|finding| !matches!(finding, Finding::Unproven { .. }))
                .filter_map(Finding::record)
                .any(inside)
        };
        self.findings
            .iter()
            .filter(|finding| match finding {
                Finding::Unproven { first, last } => !named(&(*first, *last)),
                _ => true,
            })
            .filter_map(Finding::record)
            .min()
    }

    /// The same, with what else was found of its records.
    pub(super) fn with(mut self, findings: impl IntoIterator<Item = Finding>) -> Self {
        self.findings.extend(findings);
        self.findings.sort_by_key(order);
        self
    }

    /// Everything found: records in log order, then the caches.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

/// A hash as stored and as recomputed from the records; `None` where there is none.
#[derive(Clone, Copy)]
struct Pair {
    stored: Option<Digest>,
    computed: Option<Digest>,
}

/// Where stored and recomputed hashes differ; everywhere else they agree.
type Differences = BTreeMap<Node, Pair>;

pub(super) fn run<E: fmt::Display>(
    tables: &dyn Tables,
    checkpoint: SignedCheckpoint,
    recompute: impl Fn(u64, &[u8]) -> Result<Index, E>,
) -> Result<Audit, LedgerError> {
    let size = checkpoint.size();
    let mut findings = BTreeSet::new();
    let mut differences = Differences::new();
    // The right edge as recomputed; `None` below which a record is missing.
    let mut edge: Vec<Option<Digest>> = Vec::new();
    let present = tables.last_entry()?.map_or(0, |last| last.saturating_add(1)).min(size);

    // 1. Every record and index row, bottom up; what was cut off needs no walk.
    for index in 0..size {
        let entry = if index < present { tables.entry(index)? } else { None };
        match &entry {
            Some(bytes) => match recompute(index, bytes) {
                Ok(row) if tables.projection(index)? == Some(Projection::from(&row)) => {}
                Ok(_) => {
                    findings.insert(Finding::IndexRow { index });
                }
                Err(why) => {
                    findings.insert(Finding::RecordInvalid { index, why: shorten(&why.to_string()) });
                }
            },
            None if index < present => {
                findings.insert(Finding::Missing { index });
            }
            None => {}
        }
        let mut node = Node { level: 0, index };
        let mut computed = entry.as_deref().map(leaf_hash);
        compare(tables, &mut differences, node, computed)?;
        while node.index & 1 == 1
            && let Some(left) = edge.pop()
        {
            node = Node { level: node.level + 1, index: node.index >> 1 };
            computed = left.zip(computed).map(|(left, right)| node_hash(&left, &right));
            compare(tables, &mut differences, node, computed)?;
        }
        edge.push(computed);
    }
    if present < size {
        findings.insert(Finding::Truncated { from: present, size });
    }

    // 2. From the signed root down to where signed and present part.
    let peaks: Vec<_> = Frontier::nodes(size).zip(edge).collect();
    let computed = peaks.iter().map(|(_, hash)| *hash).collect::<Option<Vec<_>>>();
    let root = computed.map(|hashes| fold(&hashes));
    if root == Some(checkpoint.root()) {
        // Every record is as signed: what differs is the stored hashes.
        findings.extend(differences.keys().map(changed));
    } else {
        let candidates: Vec<_> = peaks
            .iter()
            .map(|(node, computed)| {
                differences.get(node).copied().unwrap_or(Pair { stored: *computed, computed: *computed })
            })
            .collect();
        match choose(&candidates, checkpoint.root(), fold) {
            Some(signed) => {
                for ((node, _), signed) in peaks.iter().zip(signed) {
                    settle(tables, *node, signed, &differences, &mut findings)?;
                }
            }
            None => {
                findings.insert(Finding::RootMismatch { expected: checkpoint.root(), found: root });
                if size > 0 {
                    doubt(0, size - 1, &differences, &mut findings);
                }
            }
        }
    }

    // 3. What no checkpoint covers.
    findings.extend(tables.strays(size)?.into_iter().map(|index| Finding::Stray { index }));
    let nodes = tables.stray_nodes(size)?;
    findings.extend(nodes.into_iter().map(|(level, index)| Finding::StrayNode { level, index }));

    // A cut tail is one finding, not one per record.
    findings.retain(|finding| match finding {
        Finding::Missing { index } | Finding::LeafChanged { index } => *index < present,
        _ => true,
    });
    // Records in log order, then the rest.
    let mut findings: Vec<_> = findings.into_iter().collect();
    findings.sort_by_key(order);
    Ok(Audit { checkpoint, control: None, findings })
}

fn order(finding: &Finding) -> u64 {
    finding.record().unwrap_or(u64::MAX)
}

fn changed(node: &Node) -> Finding {
    Finding::NodeChanged { level: node.level, index: node.index }
}

fn compare(
    tables: &dyn Tables,
    differences: &mut Differences,
    node: Node,
    computed: Option<Digest>,
) -> Result<(), LedgerError> {
    let stored = tables.node(node)?;
    if stored != computed || stored.is_none() {
        differences.insert(node, Pair { stored, computed });
    }
    Ok(())
}

fn fold(hashes: &[Digest]) -> Digest {
    hashes.iter().rev().copied().reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root)
}

/// The one choice among stored and recomputed hashes that `combine` maps to `signed`. With more than ten
/// places in doubt none is looked for.
fn choose(pairs: &[Pair], signed: Digest, combine: impl Fn(&[Digest]) -> Digest) -> Option<Vec<Digest>> {
    let doubtful: Vec<_> = (0..pairs.len()).filter(|at| pairs[*at].stored != pairs[*at].computed).collect();
    if doubtful.len() > 10 {
        return None;
    }
    (0..1u32 << doubtful.len()).find_map(|choice| {
        let hashes = pairs
            .iter()
            .enumerate()
            .map(|(at, pair)| match doubtful.iter().position(|other| *other == at) {
                Some(bit) if (choice >> bit) & 1 == 1 => pair.computed,
                Some(_) | None => pair.stored,
            })
            .collect::<Option<Vec<_>>>()?;
        (combine(&hashes) == signed).then_some(hashes)
    })
}

/// Reports what differs from `signed`, the proven hash of `node`, at and below it.
fn settle(
    tables: &dyn Tables,
    node: Node,
    signed: Digest,
    differences: &Differences,
    findings: &mut BTreeSet<Finding>,
) -> Result<(), LedgerError> {
    let pair = differences.get(&node).copied();
    if pair.is_some_and(|pair| pair.stored != Some(signed)) {
        findings.insert(changed(&node));
    }
    // What agrees with itself and was proven is as signed, and so are all records below it: only stored
    // hashes can be wrong there.
    if pair.is_none_or(|pair| pair.computed == Some(signed)) {
        findings.extend(below(node, differences).map(changed));
        return Ok(());
    }
    let Some((left, right)) = node.children() else {
        findings.insert(leaf(node.index, pair.and_then(|pair| pair.computed)));
        return Ok(());
    };
    let mut pairs = [left, right].map(|child| differences.get(&child).copied());
    for (pair, child) in pairs.iter_mut().zip([left, right]) {
        if pair.is_none() {
            let agreed = tables.node(child)?;
            *pair = Some(Pair { stored: agreed, computed: agreed });
        }
    }
    let pairs: Vec<_> = pairs.into_iter().flatten().collect();
    match choose(&pairs, signed, fold) {
        Some(hashes) => {
            for (child, hash) in [left, right].into_iter().zip(hashes) {
                settle(tables, child, hash, differences, findings)?;
            }
        }
        None => doubt(node.first(), node.last(), differences, findings),
    }
    Ok(())
}

fn leaf(index: u64, computed: Option<Digest>) -> Finding {
    match computed {
        Some(_) => Finding::LeafChanged { index },
        None => Finding::Missing { index },
    }
}

/// The places of the differences strictly below `node`.
fn below(node: Node, differences: &Differences) -> impl Iterator<Item = &Node> {
    (0..node.level).flat_map(move |level| {
        let at = |entry: u64| Node { level, index: entry >> level };
        differences.range(at(node.first())..=at(node.last())).map(|(node, _)| node)
    })
}

/// Somewhere in `first..=last` something is not as signed; where stored hash and record disagree is named.
fn doubt(first: u64, last: u64, differences: &Differences, findings: &mut BTreeSet<Finding>) {
    findings.insert(Finding::Unproven { first, last });
    let leaves = Node { level: 0, index: first }..=Node { level: 0, index: last };
    findings.extend(differences.range(leaves).map(|(node, pair)| leaf(node.index, pair.computed)));
}
