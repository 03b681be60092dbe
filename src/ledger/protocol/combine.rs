//! Contention on stores that have no lock to wait for: who lost [`PLAIN`] times leaves the record with the others, and
//! whoever wins the next slot appends all that stand.
//!
//! Guarantees: a record is appended for somebody else only if an append by himself, now, would put the same record
//! there. It is signed by who may say such a thing by our own policy, and whose word is not revoked; he says that it
//! happened just now; nothing was added to its target since it was drafted, and it follows the newest record there; its
//! author saw a beginning of this log, and exactly the control lane that is there now; it is not in the log yet; the
//! evidence it relies on is kept. Its index row is computed here, from
//! its bytes. Never does: append what nobody at hand can read, wait for others, or believe that something is gone
//! because it was taken back.
//!
//! # Why the step is not run again while a record stands
//!
//! A step sees the records of its target and the control lane, and of the main lane only the head it names
//! ([`View`](super::View)). While these are the same it would write the same record; once they are not, the record does
//! not stand, is taken back, and the step is run again: a loser decides again (D5, E9).
//!
//! # Who tries
//!
//! Those whose records come first by their random names; the others only look whether theirs is appended, and try after
//! [`WAITS`] looks. That saves the store most tries, and everybody most signatures to check. Whoever fills the folder
//! with names that come first delays the others by that much, and no more: what is ours goes into our slot first. Who
//! combined with others leaves the next record at once, without losing twice again; who found nobody does not.
//!
//! # Why a late one is harmless
//!
//! Whoever read a record before it was taken back, or finds that of a writer who died, may append it as long as it
//! stands. That is the append of a writer who stalled before it, and then died: the protocol allows for both
//! (`tests/model.rs`, where all records are of one target, so that its compare-and-swap asks just this). It comes late
//! by [`STALE`] at most, by the clock of whoever appends it: what is older than that is swept, and what is from a future
//! as far away is left alone. So nobody who gave up finds next week that he promoted.
//!
//! - An intent: nobody acts upon it but the same request, which takes it up and looks at both lanes again, behind it;
//!   by its time it is stale, and a rival closes it.
//! - A commit: its bytes were copied before it was signed, and its intent is still the open one, or its target would
//!   have moved. The same request finds it, or `reconcile` does, and publishes.
//! - An abort: its intent is still open, and may be aborted.
//! - A refusal, a deployment, an approval: it was said, and nothing newer was said there.
//!
//! What the control lane takes from its author since is taken from it by its place in the log, like from any other.
//! A writer looks for all that it ever left before it appends another in its place, so that one request is one record;
//! it knows its record by what was signed, since the same can be put into another bundle.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use jiff::Timestamp;

use super::{Position, STALE, Writer, Written, head, index_of};
use crate::digest::Digest;
use crate::evidence::{Control, Kept};
use crate::gate::control::in_force;
use crate::ledger::kept::{bounded, relied_on};
use crate::ledger::pending::{self, Pending};
use crate::ledger::rows::contradiction;
use crate::ledger::seen::{Seen, SeenBy};
use crate::ledger::store::{Combining, Swap, TooLong};
use crate::ledger::{Appended, Entry, Filter, Index, Ledger, LedgerError, commit};
use crate::policy::{ApprovalRule, EnvironmentName, Policy, ServiceName, SignerName};
use crate::record::{Body, Content, LedgerView, Phase, Record, TreeHead, payload};
use crate::tlog::{Checkpoint, Node, SignedCheckpoint, TlogError, Whole, leaf_hash};
use crate::verify::{Identity, Trust};

/// So many conflicts are taken before a record is left for others.
pub(super) const PLAIN: u32 = 2;
/// So far behind the head a record may have been drafted.
const BEHIND: u64 = 4096;
/// At most so many records go into one slot.
const RECORDS: usize = 256;
/// At most so many bytes of records and what is written beside them, in base64 and JSON.
const BYTES: usize = commit::LIMIT / 2;
/// About so many bytes are written beside a record: its index row, and the digest of a piece of evidence.
const ROW: usize = 2048;
const PIECE: usize = 80;
/// So many pieces of evidence are asked for at once.
const EVIDENCE: usize = 1024;

/// So many try at once.
const FIRST: usize = 3;
/// So often the others look before they try as well: about twice what one of those takes for a slot.
const WAITS: u32 = 20;

/// What a round of combining came to.
pub(super) enum Round<T> {
    /// The record is in the log, whoever put it there.
    Appended(Written, T),
    /// Somebody else's commit is; ours may have been in it.
    Lost,
    /// Nothing of ours stands.
    Nothing,
}

/// A record that would be appended as it is.
struct Claim {
    entry: Entry,
    leaf: Digest,
    service: ServiceName,
    environment: EnvironmentName,
    view: LedgerView,
    evidence: BTreeSet<Digest>,
}

impl Claim {
    fn target(&self) -> (&ServiceName, &EnvironmentName) {
        (&self.service, &self.environment)
    }

    /// About so much it adds to a commit.
    fn bytes(&self) -> usize {
        self.entry.bytes.len() / 3 * 4 + ROW + self.evidence.len() * PIECE
    }
}

/// What somebody left.
struct Left {
    claim: Claim,
    author: Identity,
    /// When it happened, by its author's clock.
    said: Timestamp,
}

impl Left {
    /// What somebody left, if it is a record that its author may write by these rules.
    fn read(bytes: &[u8], origin: &str, policy: &Policy, trust: &Trust) -> Option<Self> {
        let Pending { record, evidence } = Pending::parse(bytes).ok()?;
        // Where it would lie is not known yet; that is looked at with the head at hand.
        let content = Content::read(&record, origin, u64::MAX, trust).ok()?;
        if !may(policy, &content) || !is_named(&content, &evidence) {
            return None;
        }
        let (service, environment) = (content.body.service().clone(), content.body.environment()?.clone());
        let index = index_of(&content.body, &content.subjects);
        // A row that contradicts its bytes would keep ours out as well.
        if contradiction(&record, &(&index).into()).is_some() {
            return None;
        }
        let (leaf, view) = (leaf_hash(&record), content.body.ledger().clone());
        let (author, said) = (content.author.identity().clone(), content.body.claimed_time());
        let entry = Entry { bytes: record, index };
        Some(Self { claim: Claim { entry, leaf, service, environment, view, evidence }, author, said })
    }

    /// Whether its author may be waiting for it, by this clock: whoever gave up long ago does not find it appended.
    fn age(&self, now: Timestamp) -> Standing {
        let age = now.duration_since(self.said);
        match (age > STALE, age < -STALE) {
            (true, _) => Standing::Over,
            (false, true) => Standing::Not,
            (false, false) => Standing::Stands,
        }
    }
}

/// Whether it says what its author may say there. A refusal is recorded of whomever the policy names.
fn may(policy: &Policy, content: &Content) -> bool {
    let Some(environment) = content.body.environment().and_then(|name| policy.environment(name)) else {
        return false;
    };
    let who = policy.who(&content.author, content.body.service());
    let any = |allowed: &[SignerName]| who.iter().any(|name| allowed.contains(name));
    match &content.body {
        Body::Deployment(_) => any(environment.deployers()),
        Body::Promotion(promotion) if promotion.phase == Phase::Refused => !who.is_empty(),
        Body::Promotion(_) => any(environment.promoters()),
        Body::Approval(_) => environment.require().approvals().map(ApprovalRule::from).is_some_and(any),
    }
}

/// Whether all that it relies on is among what is said to be kept for it.
fn is_named(content: &Content, evidence: &BTreeSet<Digest>) -> bool {
    match &content.body {
        Body::Promotion(promotion) => {
            relied_on(promotion, &content.subjects).iter().all(|relied| evidence.contains(&relied.digest))
        }
        Body::Deployment(_) | Body::Approval(_) => true,
    }
}

/// Whether a record may be appended now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It may.
    Stands,
    /// Not now; perhaps somebody else sees more.
    Not,
    /// Never again.
    Over,
}

/// The leaf hashes of a part of the log, and where they are.
#[derive(Default)]
struct Leaves {
    range: Range<u64>,
    at: HashMap<Digest, u64>,
}

impl Leaves {
    /// Where a leaf is in the log of `at`, from `size` on.
    fn find(
        &mut self,
        ledger: &Ledger,
        at: &SignedCheckpoint,
        size: u64,
        leaf: Digest,
    ) -> Result<Option<u64>, LedgerError> {
        if self.range.is_empty() {
            self.range = at.size()..at.size();
        }
        let (before, behind) = (size..self.range.start, self.range.end..at.size());
        for index in before.chain(behind) {
            self.at.insert(ledger.node(Node { level: 0, index })?, index);
        }
        self.range = self.range.start.min(size)..self.range.end.max(at.size());
        Ok(self.at.get(&leaf).copied().filter(|index| *index >= size))
    }
}

/// Both lanes, as they are for one slot.
struct Sight<'l> {
    ledger: &'l Ledger,
    at: &'l SignedCheckpoint,
    lane: &'l Whole,
    policy: &'l Policy,
    trust: &'l Trust,
    /// What the control lane says; read where others left something.
    control: Option<Control>,
    /// The heads that were compared with the log, and whether it continues them.
    heads: BTreeMap<(u64, Digest), bool>,
}

impl Sight<'_> {
    fn standing(&mut self, claim: &Claim, leaves: &mut Leaves) -> Result<Standing, LedgerError> {
        let TreeHead { size, .. } = claim.view.observed;
        // 1. Drafted not too long ago, and not in the log.
        if size > self.at.size() {
            return Ok(Standing::Not);
        }
        if self.at.size() - size > BEHIND || leaves.find(self.ledger, self.at, size, claim.leaf)?.is_some() {
            return Ok(Standing::Over);
        }
        // 2. The newest of its target is what it follows, and was there when it was drafted.
        let newest = self.newest(claim)?;
        if newest.as_ref().is_some_and(|newest| newest.index >= size) {
            return Ok(Standing::Over);
        }
        if newest != claim.view.prev {
            return Ok(Standing::Not);
        }
        // 3. Nothing was revoked or frozen since, and nothing that we do not see.
        let control = claim.view.control;
        if control != head(self.lane.head()) {
            let past = self.lane.root_at(control.size) == Some(control.root);
            return Ok(if past { Standing::Over } else { Standing::Not });
        }
        // 4. Of this log.
        Ok(if self.continues(claim.view.observed)? { Standing::Stands } else { Standing::Not })
    }

    /// That of somebody else's.
    fn standing_of(&mut self, left: &Left, leaves: &mut Leaves) -> Result<Standing, LedgerError> {
        let Left { claim, author, .. } = left;
        match self.ledger.clock.map_or(Standing::Not, |clock| left.age(clock())) {
            Standing::Stands => {}
            other @ (Standing::Not | Standing::Over) => return Ok(other),
        }
        let standing = self.standing(claim, leaves)?;
        if standing == Standing::Stands && self.is_revoked(claim, author) {
            return Ok(Standing::Not);
        }
        Ok(standing)
    }

    /// Whether the word of somebody is taken from him there.
    fn is_revoked(&mut self, claim: &Claim, author: &Identity) -> bool {
        let control = self.control.get_or_insert_with(|| Control::read(self.lane, self.trust));
        in_force(self.policy, &claim.service, control).of_identity(&claim.environment, author).is_some()
    }

    /// The newest entry of its target. What only its index row files there is none, as in
    /// [`history`](crate::ledger::target::history).
    fn newest(&self, claim: &Claim) -> Result<Option<Position>, LedgerError> {
        let filter = Filter {
            service: Some(claim.service.to_string()),
            environment: Some(claim.environment.to_string()),
            kind: None,
            limit: 1,
        };
        let mut size = self.at.size();
        loop {
            let Some(entry) = self.ledger.log(self.at, 0..size, &filter)?.pop() else { return Ok(None) };
            if Index::claimed(entry.bytes()).is_some() {
                return Ok(Some(Position { index: entry.index(), leaf_hash: entry.leaf() }));
            }
            size = entry.index();
        }
    }

    fn continues(&mut self, TreeHead { size, root }: TreeHead) -> Result<bool, LedgerError> {
        if let Some(known) = self.heads.get(&(size, root)) {
            return Ok(*known);
        }
        let seen = Checkpoint { origin: self.at.origin().clone(), size, root };
        let continues = match self.ledger.require_main(self.at, &Seen::claimed(seen, SeenBy::Process)) {
            Ok(()) => true,
            // Of a record in the log that is a fork; of one that anybody put beside it, it is none of ours.
            Err(LedgerError::Forked { .. } | LedgerError::Shorter { .. }) => false,
            Err(error) => return Err(error),
        };
        self.heads.insert((size, root), continues);
        Ok(continues)
    }
}

/// What others left.
#[derive(Default)]
struct Others {
    /// All that was read; `None` is nothing that we can judge, and is left alone.
    read: BTreeMap<String, Option<Left>>,
    /// The evidence that was seen to be kept.
    kept: BTreeSet<Digest>,
}

impl Others {
    /// Reads what is new among `names`, as far as that can be done now: what is not read is not appended, and that is
    /// all.
    fn look(&mut self, writer: &Writer<'_>, names: BTreeSet<String>) -> Result<(), LedgerError> {
        let Some(store) = writer.ledger.store.combining() else { return Ok(()) };
        self.read.retain(|name, _| names.contains(name));
        let new: Vec<_> = names.into_iter().filter(|name| !self.read.contains_key(name)).collect();
        let found = if new.is_empty() { Vec::new() } else { store.read(&new)? };
        let origin = writer.ledger.vkey.origin().as_str();
        for (name, found) in new.into_iter().zip(found) {
            let left = match found {
                Some(Ok(bytes)) => Left::read(&bytes, origin, writer.policy, writer.trust),
                Some(Err(TooLong)) => None,
                None => continue,
            };
            self.read.insert(name, left);
        }
        let pieces = self.read.values().flatten().flat_map(|left| &left.claim.evidence);
        let unknown: BTreeSet<_> = pieces.filter(|piece| !self.kept.contains(piece)).copied().collect();
        let unknown: Vec<_> = unknown.into_iter().take(EVIDENCE).collect();
        if !unknown.is_empty() {
            let kept = store.keeps(&unknown)?;
            self.kept.extend(unknown.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(piece, _)| piece));
        }
        Ok(())
    }
}

/// What goes into a slot, and what is taken away once it is there.
#[derive(Default)]
struct Batch {
    entries: Vec<Entry>,
    evidence: BTreeSet<Digest>,
    /// Under which names they were left, and those that will never stand again.
    names: Vec<String>,
}

impl Batch {
    fn take(&mut self, name: &str, claim: &Claim) {
        self.entries.push(claim.entry.clone());
        self.evidence.extend(&claim.evidence);
        self.names.push(name.to_owned());
    }

    /// Ours first, then what stands of the others', of each target one.
    fn of(
        name: &str,
        mine: &Claim,
        others: &Others,
        sight: &mut Sight<'_>,
        leaves: &mut Leaves,
    ) -> Result<Self, LedgerError> {
        let mut batch = Self::default();
        batch.take(name, mine);
        let (mut bytes, mut targets) = (mine.bytes(), BTreeSet::from([mine.target()]));
        for (name, left) in &others.read {
            let Some(left) = left else { continue };
            let claim = &left.claim;
            match sight.standing_of(left, leaves)? {
                Standing::Not => {}
                Standing::Over => batch.names.push(name.clone()),
                Standing::Stands => {
                    let fits = batch.entries.len() < RECORDS && bytes + claim.bytes() <= BYTES;
                    if fits && claim.evidence.is_subset(&others.kept) && targets.insert(claim.target()) {
                        bytes += claim.bytes();
                        batch.take(name, claim);
                    }
                }
            }
        }
        Ok(batch)
    }
}

/// A record of ours that was left for others.
struct Offer<T> {
    name: String,
    claim: Claim,
    answer: T,
    /// Whether it was not taken back yet.
    lies: bool,
}

/// What one append left for others, about one target; the last may still stand.
pub(super) struct Offers<'t, T> {
    pub(super) service: &'t ServiceName,
    pub(super) environment: &'t EnvironmentName,
    made: Vec<Offer<T>>,
    others: Others,
    leaves: Leaves,
    /// How often it is looked for one before it is tried; unknown until others were looked for.
    waits: Option<u32>,
}

impl<'t, T> Offers<'t, T> {
    /// None so far.
    pub(super) fn of(service: &'t ServiceName, environment: &'t EnvironmentName) -> Self {
        let (others, leaves) = (Others::default(), Leaves::default());
        Self { service, environment, made: Vec::new(), others, leaves, waits: None }
    }

    /// Leaves a record for others, behind its evidence.
    pub(super) fn make(
        &mut self,
        ledger: &Ledger,
        entry: Entry,
        view: &LedgerView,
        kept: &Kept,
        answer: T,
    ) -> Result<(), LedgerError> {
        let mut random = [0; 16];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| TlogError::Crypto { action: "give random bytes" })?;
        let name = pending::name(random);
        let kept = bounded(kept)?;
        let evidence: BTreeSet<Digest> = kept.iter().map(|(digest, _)| *digest).collect();
        if let Some(store) = ledger.store.combining() {
            store.keep(&kept)?;
            let pending = Pending { record: entry.bytes.clone(), evidence: evidence.clone() };
            // Where it cannot be left, or that is not known, we append it ourselves, and look for it all the same.
            if pending.to_bytes().len() <= pending::LIMIT {
                let _ = store.offer(&name, &pending);
            }
        }
        let (service, environment) = (self.service.clone(), self.environment.clone());
        let leaf = leaf_hash(&entry.bytes);
        let claim = Claim { entry, leaf, service, environment, view: view.clone(), evidence };
        self.made.push(Offer { name, claim, answer, lies: true });
        Ok(())
    }

    /// The one that somebody appended, if anybody did.
    pub(super) fn landed(
        &mut self,
        ledger: &Ledger,
        at: &SignedCheckpoint,
        trust: &Trust,
    ) -> Result<Option<(Written, T)>, LedgerError> {
        for (number, Offer { claim, .. }) in self.made.iter().enumerate() {
            let size = claim.view.observed.size;
            let written = match self.leaves.find(ledger, at, size, claim.leaf)? {
                // It is there, which the stored hash alone does not show.
                Some(index) => Some(Written::of(&claim.entry, ledger.read(at, index)?.index())),
                None => twin(ledger, at, claim, trust)?,
            };
            if let Some(written) = written {
                let offer = self.made.swap_remove(number);
                // Whoever appended it takes it away.
                return Ok(Some((written, offer.answer)));
            }
        }
        Ok(None)
    }

    /// Takes back what still lies there, if that can be done. Returns whether anything was ever left.
    pub(super) fn withdraw(&mut self, ledger: &Ledger) -> bool {
        let lying = self.made.iter_mut().filter(|offer| offer.lies);
        let taken = lying.map(|offer| {
            offer.lies = false;
            offer.name.clone()
        });
        take_away(ledger, &taken.collect::<Vec<_>>());
        !self.made.is_empty()
    }
}

/// The record that was signed as the claim was, in another bundle, if somebody appended that.
fn twin(
    ledger: &Ledger,
    at: &SignedCheckpoint,
    claim: &Claim,
    trust: &Trust,
) -> Result<Option<Written>, LedgerError> {
    let size = claim.view.observed.size;
    if size >= at.size() {
        return Ok(None);
    }
    let filter = Filter {
        service: Some(claim.service.to_string()),
        environment: Some(claim.environment.to_string()),
        kind: None,
        limit: RECORDS,
    };
    let ours = payload(&claim.entry.bytes);
    let found = ledger.log(at, size..at.size(), &filter)?.into_iter().find(|entry| {
        // What is not signed is no record of anybody's, whatever it quotes.
        payload(entry.bytes()) == ours && ours.is_some() && Record::read(entry, trust).is_ok()
    });
    Ok(found.map(|entry| Written {
        position: Position { index: entry.index(), leaf_hash: entry.leaf() },
        digest: entry.content(),
    }))
}

/// The names under which others left something, as far as that can be found out now.
fn others(ledger: &Ledger, mine: &str) -> BTreeSet<String> {
    let names = ledger.store.combining().and_then(|store| store.names().ok()).unwrap_or_default();
    names.into_iter().filter(|name| name != mine).collect()
}

/// What stays lies there until somebody else takes it away.
fn take_away(ledger: &Ledger, names: &[String]) {
    if let Some(store) = ledger.store.combining().filter(|_| !names.is_empty()) {
        let _ = store.withdraw(names);
    }
}

impl Ledger {
    /// Whether records can be left for others here.
    pub(super) fn combines(&self) -> bool {
        self.store.combining().is_some()
    }

    /// Appends the records of many, whose evidence is kept already.
    fn append_for_all(&mut self, size: u64, batch: &Batch) -> Result<Appended, LedgerError> {
        let Batch { entries, evidence, .. } = batch;
        self.append_by(size, entries, |store, tip, _, head| {
            let swap = |store: &dyn Combining| store.swap_for_all(tip, entries, evidence.clone(), head);
            store.combining().map_or(Ok(Swap::Conflict), swap)
        })
    }
}

impl Writer<'_> {
    /// Tries to append what was left last, with what others left.
    pub(super) fn round<T>(&mut self, offers: &mut Offers<'_, T>) -> Result<Round<T>, LedgerError> {
        let Some(Offer { name, lies: true, .. }) = offers.made.last() else { return Ok(Round::Nothing) };
        // 1. What others left, before the head: the slot is tried right after that was read. Without it, ours alone is.
        let names = match offers.waits {
            Some(waits @ 1..) => {
                offers.waits = Some(waits - 1);
                return self.wait(offers);
            }
            Some(0) | None => others(self.ledger, name),
        };
        if offers.waits.is_none() {
            let first = names.iter().filter(|other| *other < name).count() < FIRST;
            offers.waits = Some(if first { 0 } else { WAITS });
            if !first {
                return self.wait(offers);
            }
        }
        let _ = offers.others.look(self, names);
        // 2. Both lanes as they are now.
        let at = self.ledger.tip()?;
        if let Some((written, answer)) = offers.landed(self.ledger, &at, self.trust)? {
            self.ledger.crowded = true;
            return Ok(Round::Appended(written, answer));
        }
        let lane = self.ledger.control()?;
        // 3. Ours, as anybody's.
        let Offers { made, others, leaves, .. } = &mut *offers;
        let Some(Offer { name, claim, .. }) = made.last() else { return Ok(Round::Nothing) };
        let (policy, trust) = (self.policy, self.trust);
        let (control, heads) = (None, BTreeMap::new());
        let mut sight = Sight { ledger: self.ledger, at: &at, lane: &lane, policy, trust, control, heads };
        if sight.standing(claim, leaves)? != Standing::Stands {
            offers.withdraw(self.ledger);
            return Ok(Round::Nothing);
        }
        // 4. All of it, unless somebody was faster.
        let batch = Batch::of(name, claim, others, &mut sight, leaves)?;
        match self.ledger.append_for_all(at.size(), &batch) {
            Ok(appended) => {
                self.ledger.crowded = batch.entries.len() > 1;
                take_away(self.ledger, &batch.names);
                let Some(offer) = offers.made.pop() else { return Ok(Round::Nothing) };
                Ok(Round::Appended(Written::of(&offer.claim.entry, appended.first), offer.answer))
            }
            Err(LedgerError::Conflict { .. }) => Ok(Round::Lost),
            Err(error) => Err(error),
        }
    }

    /// Looks whether others appended what was left.
    fn wait<T>(&mut self, offers: &mut Offers<'_, T>) -> Result<Round<T>, LedgerError> {
        let landed = offers.landed(self.ledger, &self.ledger.tip()?, self.trust)?;
        self.ledger.crowded |= landed.is_some();
        Ok(landed.map_or(Round::Lost, |(written, answer)| Round::Appended(written, answer)))
    }
}

#[cfg(test)]
mod tests;
