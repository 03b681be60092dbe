//! The audit of a ledger as a whole, both lanes: not only that the bytes are the signed ones, but that they are records
//! of ours, that none is missing from the chain of its target, that every author saw this very log, and that the
//! evidence of every decision is still there.
//!
//! Guarantees: a finding for every entry that is not a valid record, breaks the chain of `prev`, or says it observed
//! a log, or a control lane, that this one is not a continuation of; one for every piece of evidence that a promotion
//! relied on and that is no longer kept as it was. Never does: repair, or judge whether a record was allowed.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::kept::relied_on;
use super::protocol::index_of;
use super::{Audit, Finding, Index, Ledger, LedgerError, audit};
use crate::digest::{Digest, shorten};
use crate::record::{Body, ClaimedRow, Content, ControlRecord, Position, RecordError, TreeHead};
use crate::tlog::{Frontier, Included, TlogError, Whole, leaf_hash};
use crate::verify::{Reason, Trust};

/// Why an entry is not a record that belongs where it lies.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Wrong {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("{0}")]
    Rejected(Reason),
    #[error("it follows {} of its target, and the one before it is {}", place(*found), place(*expected))]
    Chain { expected: Option<u64>, found: Option<u64> },
    #[error(
        "its author had seen a log of {size} records with another root: {observed}, here it is {found:?}"
    )]
    Observed { size: u64, observed: Digest, found: Option<Digest> },
    #[error(
        "its author had seen a control lane of {size} records with root {observed}, here it is {found:?}: the lane was \
         put back to an earlier state, or forked"
    )]
    Control { size: u64, observed: Digest, found: Option<Digest> },
    #[error(transparent)]
    Tree(#[from] TlogError),
}

fn place(index: Option<u64>) -> String {
    index.map_or_else(|| "no record".to_owned(), |index| format!("record {index}"))
}

impl Wrong {
    /// Whether it is only that nobody at hand can say whose signature it is.
    pub(crate) fn is_unknown(&self) -> bool {
        match self {
            Self::Rejected(reason) => is_unknown(reason),
            Self::Record(_)
            | Self::Chain { .. }
            | Self::Observed { .. }
            | Self::Control { .. }
            | Self::Tree(_) => false,
        }
    }
}

/// Whether a signature was refused for want of a key or root.
pub(crate) fn is_unknown(reason: &Reason) -> bool {
    matches!(reason, Reason::NoTrustedKey { .. } | Reason::NoTrustedRoot | Reason::UnknownAuthority { .. })
}

/// What the next record of a target follows.
#[derive(Default)]
struct Head {
    /// The newest record of the target that was read.
    read: Option<Position>,
    /// Those since, by signers nobody knows: their target is a claim, so it may be any of them.
    claimed: Vec<Position>,
}

/// What has been read so far of a main lane, from its beginning.
pub(crate) struct Read {
    frontier: Frontier,
    roots: Vec<Digest>,
    heads: BTreeMap<(String, String), Head>,
    /// Records that nobody can read and that name no target: each may be the one before some later record.
    loose: Vec<Position>,
    /// After a record that is not right, what later authors saw of it is no news.
    broken: bool,
    /// What promotions rely on, and the first record that does.
    relied_on: BTreeMap<Digest, u64>,
    /// The images they are about, and the first record that is.
    images: BTreeMap<Digest, u64>,
}

impl Read {
    /// Of nothing.
    pub(crate) fn new() -> Self {
        let frontier = Frontier::empty();
        let roots = vec![frontier.root()];
        let (heads, relied_on, images) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { frontier, roots, heads, loose: Vec::new(), broken: false, relied_on, images }
    }

    /// The root of every beginning, the empty one first.
    pub(crate) fn roots(&self) -> &[Digest] {
        &self.roots
    }

    /// Reads the next record.
    pub(crate) fn next(
        &mut self,
        index: u64,
        bytes: &[u8],
        origin: &str,
        trust: &Trust,
        lane: Option<&Whole>,
    ) -> Result<Index, Wrong> {
        let row = examine(self, index, bytes, origin, trust, lane);
        match &row {
            Ok(_) => {}
            // Its bytes are in the log all the same: what others saw of that stays checkable.
            Err(wrong) if wrong.is_unknown() => {
                self.unread(Position { index, leaf_hash: leaf_hash(bytes) }, bytes)
            }
            Err(_) => self.broken = true,
        }
        row
    }

    /// A record that nobody at hand can check.
    fn unread(&mut self, position: Position, bytes: &[u8]) {
        match ClaimedRow::read(bytes) {
            Some(row) => {
                let target = (row.service, row.environment);
                self.heads.entry(target).or_default().claimed.push(position);
            }
            None => self.loose.push(position),
        }
    }

    /// Whether `prev` is what a record of this target follows; from now on, it follows `position`.
    fn follows(
        &mut self,
        target: (String, String),
        prev: Option<Position>,
        position: Position,
    ) -> Result<(), Wrong> {
        let head = self.heads.insert(target, Head { read: Some(position), claimed: Vec::new() });
        let Head { read, claimed } = head.unwrap_or_default();
        if prev == read || prev.is_some_and(|prev| claimed.contains(&prev)) {
            return Ok(());
        }
        // One break for each of these.
        if let Some(at) = self.loose.iter().position(|loose| Some(*loose) == prev) {
            self.loose.swap_remove(at);
            return Ok(());
        }
        let (expected, found) = (read.map(|head| head.index), prev.map(|prev| prev.index));
        Err(Wrong::Chain { expected, found })
    }
}

/// Audits `ledger`; the records' signatures are checked against `trust`.
///
/// # Errors
/// [`LedgerError`] when the ledger cannot be read at all; what is wrong with it is in the [`Audit`].
pub fn review(ledger: &Ledger, trust: &Trust) -> Result<Audit, LedgerError> {
    let origin = ledger.vkey().origin().to_string();
    let read = RefCell::new(Read::new());
    // One state of the file for both lanes: each names heads of the other.
    let fresh = ledger.afresh()?;
    let ledger = fresh.as_ref().unwrap_or(ledger);
    let audit = {
        let _snapshot = ledger.tables().snapshot()?;
        let tip = ledger.control_tip()?;
        let lane = match ledger.replay_control() {
            Err(error) if !error.is_tampering() => return Err(error),
            lane => lane,
        };
        let audit = audit::run(ledger.tables(), ledger.head()?, |index, bytes| {
            read.borrow_mut().next(index, bytes, &origin, trust, lane.as_ref().ok())
        })?;
        let findings = match &lane {
            Ok(lane) => control(lane, read.borrow().roots(), trust),
            Err(error) => vec![Finding::ControlLane { why: causes(error) }],
        };
        audit.with_control(tip, findings)
    };
    let Read { mut relied_on, images, .. } = read.into_inner();
    for (image, index) in images {
        for document in ledger.documents(index, image)? {
            relied_on.entry(document).or_insert(index);
        }
    }
    let examined: Result<Vec<_>, _> =
        relied_on.into_iter().map(|(digest, index)| ledger.examine_kept(index, digest)).collect();
    Ok(audit.with(examined?.into_iter().flatten()))
}

fn causes(error: &LedgerError) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// Every record of the control lane, and whether its author saw this very ledger.
fn control(lane: &Whole, roots: &[Digest], trust: &Trust) -> Vec<Finding> {
    let wrong = control_wrong(lane, Some(roots), trust).into_iter();
    wrong.map(|(index, why)| Finding::ControlInvalid { index, why: shorten(&why.to_string()) }).collect()
}

/// The records of the control lane that are not valid, or whose author saw another ledger: of the main lane, where its
/// `roots` are known.
pub(crate) fn control_wrong(lane: &Whole, roots: Option<&[Digest]>, trust: &Trust) -> Vec<(u64, Wrong)> {
    let examine = |entry: &Included| {
        let record = ControlRecord::read(entry, trust).map_err(|unread| match unread.why {
            RecordError::Rejected(rejected) => Wrong::Rejected(rejected.reason),
            error => Wrong::Record(error),
        })?;
        let view = record.body().ledger();
        saw(lane, view.control)?;
        let Some(roots) = roots else { return Ok(()) };
        let TreeHead { size, root: observed } = view.observed;
        let found = usize::try_from(size).ok().and_then(|size| roots.get(size)).copied();
        match found == Some(observed) {
            true => Ok(()),
            false => Err(Wrong::Observed { size, observed, found }),
        }
    };
    lane.entries().iter().filter_map(|entry| Some((entry.index(), examine(entry).err()?))).collect()
}

fn saw(lane: &Whole, head: TreeHead) -> Result<(), Wrong> {
    let found = lane.root_at(head.size);
    match found == Some(head.root) {
        true => Ok(()),
        false => Err(Wrong::Control { size: head.size, observed: head.root, found }),
    }
}

fn examine(
    read: &mut Read,
    index: u64,
    bytes: &[u8],
    origin: &str,
    trust: &Trust,
    lane: Option<&Whole>,
) -> Result<Index, Wrong> {
    let leaf_hash = leaf_hash(bytes);
    read.frontier.push::<TlogError>(leaf_hash, |_, _| Ok(()))?;
    read.roots.push(read.frontier.root());
    // 1. A record of ours.
    let content = Content::read(bytes, origin, index, trust).map_err(|error| match error {
        // The reason behind a rejected signature is worth a reader's while.
        RecordError::Rejected(rejected) => Wrong::Rejected(rejected.reason),
        error => Wrong::Record(error),
    })?;
    let row = index_of(&content.body, &content.subjects);
    if let Body::Promotion(promotion) = &content.body {
        for relied in relied_on(promotion, &content.subjects) {
            read.relied_on.entry(relied.digest).or_insert(index);
        }
        read.images.entry(content.subjects.image.digest).or_insert(index);
    }
    // 2. It follows the one before it about the same target.
    let view = content.body.ledger();
    let target = (row.service.clone(), row.environment.clone());
    let follows = read.follows(target, view.prev, Position { index, leaf_hash });
    if !read.broken {
        follows?;
    }
    // 3. Its author saw this very log.
    let seen = usize::try_from(view.observed.size).ok().and_then(|size| read.roots.get(size)).copied();
    if seen != Some(view.observed.root) && !read.broken {
        return Err(Wrong::Observed { size: view.observed.size, observed: view.observed.root, found: seen });
    }
    // 4. And a control lane that this one continues.
    if let Some(lane) = lane {
        saw(lane, view.control)?;
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::key::{Algorithm, PrivateKey};
    use crate::record::{Actor, Approval, ApprovedFor, Draft, LedgerView, Subjects, Verdict as Approves};
    use crate::reference::Image;
    use crate::verify::Sign;

    const ORIGIN: &str = "shop.example/promotions";

    /// A log of approvals, as their authors see it.
    struct Log {
        known: PrivateKey,
        stranger: PrivateKey,
        read: Read,
    }

    impl Log {
        fn new() -> Self {
            let key = || PrivateKey::generate(Algorithm::Ed25519).unwrap();
            Self { known: key(), stranger: key(), read: Read::new() }
        }

        fn size(&self) -> u64 {
            self.read.frontier.size()
        }

        fn head(&self) -> TreeHead {
            TreeHead { size: self.size(), root: self.read.frontier.root() }
        }

        fn approval(
            &self,
            key: &PrivateKey,
            environment: &str,
            prev: Option<Position>,
            observed: TreeHead,
        ) -> Vec<u8> {
            let digest = Digest::of(b"image");
            let image: Image = format!("registry.example/shop@{digest}").parse().unwrap();
            let body = Body::Approval(Approval {
                actor: Actor::from(key.author().identity()),
                service: "shop".parse().unwrap(),
                decision: Approves::Approved,
                approved_for: ApprovedFor {
                    environment: environment.parse().unwrap(),
                    policy_digest: digest,
                    keys: BTreeMap::new(),
                },
                nonce: Digest::of(&self.size().to_be_bytes()),
                valid_until: "2030-01-02T00:00:00Z".parse().unwrap(),
                decided_on: "2030-01-01T00:00:00Z".parse().unwrap(),
                comment: None,
                ledger: LedgerView {
                    origin: ORIGIN.to_owned(),
                    observed,
                    control: TreeHead::empty(),
                    idempotency_key: digest,
                    prev,
                },
            });
            Draft { subjects: Subjects { image, platforms: Vec::new() }, body }.sign(key).unwrap()
        }

        fn next(&mut self, bytes: &[u8]) -> (Position, Result<Index, Wrong>) {
            let trust = Trust::new(vec![self.known.public().clone()]);
            let position = Position { index: self.size(), leaf_hash: leaf_hash(bytes) };
            (position, self.read.next(position.index, bytes, ORIGIN, &trust, None))
        }

        /// One of a known signer about production, and one of a stranger about `environment`.
        fn begun(environment: &str) -> (Self, Position, Position) {
            let mut log = Self::new();
            let bytes = log.approval(&log.known, "production", None, log.head());
            let (first, row) = log.next(&bytes);
            row.unwrap();
            let prev = (environment == "production").then_some(first);
            let bytes = log.approval(&log.stranger, environment, prev, log.head());
            let (strangers, row) = log.next(&bytes);
            assert!(row.unwrap_err().is_unknown());
            (log, first, strangers)
        }
    }

    #[test]
    fn d1_after_a_record_of_a_stranger_what_authors_saw_is_still_checked() {
        let (mut log, first, _) = Log::begun("staging");
        let other = TreeHead { size: 2, root: Digest::of(b"another log") };
        let forked = log.approval(&log.known, "production", Some(first), other);
        assert!(matches!(log.next(&forked).1, Err(Wrong::Observed { size: 2, .. })));
        let (mut log, first, _) = Log::begun("staging");
        let right = log.approval(&log.known, "production", Some(first), log.head());
        log.next(&right).1.unwrap();
    }

    #[test]
    fn d1_after_a_record_of_a_stranger_the_chain_is_still_checked() {
        // It says that it is about something else.
        for prev in [None, Some(())] {
            let (mut log, _, strangers) = Log::begun("staging");
            let gap = log.approval(&log.known, "production", prev.map(|()| strangers), log.head());
            assert!(matches!(log.next(&gap).1, Err(Wrong::Chain { expected: Some(0), .. })));
        }
        // About the same: the next may follow it, or the one before it, and nothing else.
        let (mut log, _, strangers) = Log::begun("production");
        let (next, row) = {
            let bytes = log.approval(&log.known, "production", Some(strangers), log.head());
            log.next(&bytes)
        };
        row.unwrap();
        let back = log.approval(&log.known, "production", Some(strangers), log.head());
        assert!(matches!(log.next(&back).1, Err(Wrong::Chain { expected: Some(2), .. })), "{next:?}");
        let (mut log, ..) = Log::begun("production");
        let gap = log.approval(&log.known, "production", None, log.head());
        assert!(matches!(log.next(&gap).1, Err(Wrong::Chain { expected: Some(0), .. })));
    }

    #[test]
    fn d1_a_record_of_a_stranger_that_names_no_target_excuses_one_break() {
        let (mut log, ..) = Log::begun("staging");
        let statement = serde_json::json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": "shop", "digest": { "sha256": "00".repeat(32) } }],
            "predicateType": "https://stranger.example/v1",
            "predicate": {},
        });
        let bytes = Sign::sign(&log.stranger, statement.to_string().as_bytes()).unwrap();
        let (nameless, row) = log.next(&bytes);
        let wrong = row.unwrap_err();
        assert!(wrong.is_unknown(), "{wrong}");
        let once = log.approval(&log.known, "production", Some(nameless), log.head());
        log.next(&once).1.unwrap();
        let twice = log.approval(&log.known, "production", Some(nameless), log.head());
        assert!(matches!(log.next(&twice).1, Err(Wrong::Chain { expected: Some(3), .. })));
    }
}
