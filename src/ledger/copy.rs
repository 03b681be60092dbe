//! A ledger moved to another store: the same records, evidence and signed heads, proved equal by reading them back.
//!
//! Guarantees: only an intact ledger is copied, only to an empty one, and [`copy`] returns only if the destination,
//! read again and audited, has the same heads of both lanes, to the byte, and the same cosignatures. Never does: copy evidence that no record
//! names, keep the checkpoints in between (new ones are signed, by the same key), or stop who appends to the source:
//! one that grew meanwhile is an error.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::kept::relied_on;
use super::protocol::index_of;
use super::review::review;
use super::seen::{Lane, Seen, SeenBy};
use super::store::{Batch, ControlBatch, Swap};
use super::{Audit, Entry, Ledger, LedgerError, Place};
use crate::digest::Digest;
use crate::record::{Body, Content, RecordError};
use crate::tlog::{Frontier, Included, LogSigner, Node, SignedCheckpoint, TlogError, leaf_hash};
use crate::verify::Trust;

/// So many records go into one append.
const RECORDS: usize = 256;
/// Or, if they come first, about so many bytes of records and evidence.
const BYTES: usize = 4 << 20;

/// Why a ledger was not copied, or not wholly.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// One of the two could not be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Damage is not spread.
    #[error("ledger {place} is not intact: {finding}")]
    NotIntact {
        /// The ledger.
        place: Place,
        /// The first thing that is not right.
        finding: String,
    },
    /// A record that the audit could read cannot be read.
    #[error("record {index} cannot be read")]
    Record {
        /// The record.
        index: u64,
        /// Why not.
        source: Box<RecordError>,
    },
    /// Something was appended to the source meanwhile.
    #[error("ledger {place} was appended to while it was copied")]
    Grew {
        /// The source.
        place: Place,
    },
    /// The destination has other cosignatures than the source, or none.
    #[error("ledger {place} does not have the cosignatures of the {lane} that were copied there")]
    Cosignatures {
        /// The destination.
        place: Place,
        /// Whose.
        lane: Lane,
    },
    /// The destination does not have what was written there.
    #[error(
        "ledger {place} does not have what was copied there: expected {expected} records with root {root}"
    )]
    Differs {
        /// The destination.
        place: Place,
        /// How many.
        expected: u64,
        /// The root of the source.
        root: Digest,
    },
}

impl CopyError {
    /// What the reader of the error can do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Ledger(error) => error.hint(),
            Self::NotIntact { .. } => {
                Some("`samebits ledger verify --ledger URL` names everything that is not right")
            }
            Self::Grew { .. } => {
                Some("see that nobody appends to the old ledger any more, and copy again to another place")
            }
            Self::Cosignatures { .. } => Some("run `samebits ledger cosign` on the new ledger"),
            Self::Record { .. } | Self::Differs { .. } => {
                Some("keep the old ledger: it is the one that is right")
            }
        }
    }
}

/// What was copied, and read back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Copied {
    /// The head of the main lane, the same in both.
    pub main: SignedCheckpoint,
    /// The head of the control lane, the same in both.
    pub control: SignedCheckpoint,
    /// How many pieces of evidence.
    pub evidence: usize,
}

/// What goes into one append.
#[derive(Default)]
struct Piece {
    entries: Vec<Entry>,
    nodes: Vec<(Node, Digest)>,
    kept: Vec<(Digest, Bytes)>,
    bytes: usize,
}

impl Piece {
    fn is_full(&self) -> bool {
        self.entries.len() >= RECORDS || self.bytes >= BYTES
    }
}

/// Copies `from` to `to`, which has to be empty and of the same key; the records' signatures are checked against
/// `trust`.
///
/// # Errors
/// [`CopyError`]; the destination is then not to be used.
pub fn copy(from: &Ledger, to: &mut Ledger, trust: &Trust) -> Result<Copied, CopyError> {
    // 1. All of the one is right, and nothing is in the other.
    let audit = clean(from, trust)?;
    let main = audit.checkpoint().clone();
    let lane = from.control()?;
    let control = lane.head().clone();
    empty(to)?;
    // 2. Both lanes, the last head of each as it is.
    let evidence = copy_main(from, to, &main, trust)?;
    let bytes: Vec<_> = lane.entries().iter().map(Included::bytes).collect();
    copy_control(to, &control, &bytes)?;
    // 3. Read again, all of it.
    let copied = clean(to, trust)?;
    for (expected, found) in [(&main, Some(copied.checkpoint())), (&control, copied.control())] {
        if found.map(SignedCheckpoint::text) != Some(expected.text()) {
            let (place, root) = (to.place().clone(), expected.root());
            return Err(CopyError::Differs { place, expected: expected.size(), root });
        }
    }
    // 4. What witnesses say of it goes along.
    for lane in [Lane::Control, Lane::Main] {
        copy_cosigned(from, to, lane)?;
    }
    // 5. And the first is still the same.
    if (from.tip()?.text(), from.control()?.head().text()) != (main.text(), control.text()) {
        return Err(CopyError::Grew { place: from.place().clone() });
    }
    Ok(Copied { main, control, evidence })
}

fn clean(ledger: &Ledger, trust: &Trust) -> Result<Audit, CopyError> {
    let audit = review(ledger, trust)?;
    match audit.findings().first() {
        None => Ok(audit),
        Some(finding) => {
            Err(CopyError::NotIntact { place: ledger.place().clone(), finding: finding.to_string() })
        }
    }
}

fn empty(to: &Ledger) -> Result<(), LedgerError> {
    match (to.tip()?.size(), to.control()?.head().size()) {
        (0, 0) => Ok(()),
        _ => Err(LedgerError::Exists { place: to.place().clone() }),
    }
}

fn copy_main(from: &Ledger, to: &Ledger, at: &SignedCheckpoint, trust: &Trust) -> Result<usize, CopyError> {
    let origin = at.origin().to_string();
    let mut frontier = Frontier::empty();
    let mut before = to.tip()?;
    let mut seen = BTreeSet::new();
    let mut piece = Piece::default();
    for index in 0..at.size() {
        let included = from.read(at, index)?;
        let content = Content::read(included.bytes(), &origin, index, trust)
            .map_err(|source| CopyError::Record { index, source: Box::new(source) })?;
        if let Body::Promotion(promotion) = &content.body {
            let named = relied_on(promotion, &content.subjects).into_iter().map(|relied| relied.digest);
            let documents = from.documents(index, content.subjects.image.digest)?;
            for digest in named.chain(documents) {
                if seen.insert(digest) {
                    let bytes = from.kept(index, digest)?;
                    piece.bytes += bytes.len();
                    piece.kept.push((digest, bytes));
                }
            }
        }
        let nodes = &mut piece.nodes;
        frontier
            .push::<TlogError>(included.leaf(), |node, hash| {
                nodes.push((node, hash));
                Ok(())
            })
            .map_err(LedgerError::from)?;
        piece.bytes += included.bytes().len();
        let row = index_of(&content.body, &content.subjects);
        piece.entries.push(Entry { bytes: included.bytes().to_vec(), index: row });
        let last = index + 1 == at.size();
        if last || piece.is_full() {
            let head = next(to.signer.as_ref(), to, &frontier, last.then_some(at))?;
            append(to, &before, std::mem::take(&mut piece), &head)?;
            before = head;
        }
    }
    Ok(seen.len())
}

/// The head that was signed already, where it is that one; else a new one.
fn next(
    signer: Option<&LogSigner>,
    to: &Ledger,
    frontier: &Frontier,
    signed: Option<&SignedCheckpoint>,
) -> Result<SignedCheckpoint, LedgerError> {
    let place = || to.place().clone();
    let (size, root) = (frontier.size(), frontier.root());
    match signed {
        Some(signed) if (signed.size(), signed.root()) == (size, root) => Ok(signed.clone()),
        Some(signed) => {
            Err(LedgerError::RootMismatch { place: place(), expected: signed.root(), found: root })
        }
        None => {
            let signer = signer.ok_or_else(|| LedgerError::NoSigner { place: place() })?;
            signer.sign(size, root).map_err(|source| LedgerError::Sign { place: place(), source })
        }
    }
}

fn append(
    to: &Ledger,
    before: &SignedCheckpoint,
    piece: Piece,
    head: &SignedCheckpoint,
) -> Result<(), LedgerError> {
    let Piece { entries, nodes, kept, .. } = piece;
    let kept = kept.iter().map(|(digest, bytes)| (*digest, bytes)).collect();
    let batch = Batch { first: before.size(), entries: &entries, nodes, kept, head };
    swapped(to, before, to.store.swap(before, &batch)?)
}

/// The cosigned checkpoint of a lane that is kept, if the lane continues it, to the byte.
fn copy_cosigned(from: &Ledger, to: &Ledger, lane: Lane) -> Result<(), CopyError> {
    let Some(cosigned) = from.cosigned(lane)? else { return Ok(()) };
    from.require(&Seen::signed(&cosigned, SeenBy::Witnesses))?;
    to.keep_cosigned(lane, &cosigned)?;
    match to.cosigned(lane)? == Some(cosigned) {
        true => Ok(()),
        false => Err(CopyError::Cosignatures { place: to.place().clone(), lane }),
    }
}

fn copy_control(to: &Ledger, at: &SignedCheckpoint, records: &[&[u8]]) -> Result<(), LedgerError> {
    let signer = to.signer.as_ref().map(LogSigner::control).transpose()?;
    let mut frontier = Frontier::empty();
    let mut before = to.control()?.head().clone();
    for (index, bytes) in (0..).zip(records) {
        frontier.push::<TlogError>(leaf_hash(bytes), |_, _| Ok(()))?;
        let last = (frontier.size() == at.size()).then_some(at);
        let head = next(signer.as_ref(), to, &frontier, last)?;
        let batch = ControlBatch { index, bytes, head: &head };
        swapped(to, &before, to.store.swap_control(&before, &batch)?)?;
        before = head;
    }
    Ok(())
}

/// Nobody else has any business there yet.
fn swapped(to: &Ledger, before: &SignedCheckpoint, swap: Swap) -> Result<(), LedgerError> {
    match swap {
        Swap::Swapped => Ok(()),
        Swap::Conflict => Err(LedgerError::Conflict { expected: before.size(), found: to.tip()?.size() }),
    }
}
