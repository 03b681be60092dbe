//! Writes an export, file by file, in one order.

use std::collections::{BTreeMap, BTreeSet};

use super::{ExportError, FORMAT, Index, Missing, Part, names, readme};
use crate::digest::Digest;
use crate::key::PublicKey;
use crate::ledger::kept::{Relied, Role, relied_on};
use crate::ledger::seen::Lane;
use crate::ledger::{Ledger, LedgerError};
use crate::policy::Policy;
use crate::record::{Body, ClaimedRules, Content, TreeHead};
use crate::tlog::{EntryBundle, Frontier, Node, SignedCheckpoint, Tile, TlogError, leaf_hash};
use crate::verify::{Root, RootName, Trust};

/// Takes the name and bytes of one file.
pub type Sink<'s> = &'s mut dyn FnMut(&str, &[u8]) -> Result<(), ExportError>;

/// Writes `part` of the ledger through `put`; with it goes the policy of today, which says whose records are whose.
/// `trust` reads the records, to see which are asked for and what they rely on.
///
/// # Errors
/// [`ExportError`]; evidence that the ledger no longer has is named in the [`Index`], and no error.
pub fn write(
    ledger: &Ledger,
    trust: &Trust,
    policy: &Policy,
    part: &Part,
    put: Sink<'_>,
) -> Result<Index, ExportError> {
    let at = ledger.with_cosignatures(Lane::Main, ledger.tip()?)?;
    // After the main lane: no record of it has seen more of this one.
    let lane = ledger.control()?;
    let control = ledger.with_cosignatures(Lane::Control, lane.head().clone())?;
    let trust = &everybody(ledger, &at, trust)?;
    let mut pieces = Pieces { ledger, put, written: BTreeSet::new(), missing: Vec::new() };
    (pieces.put)("vkey", format!("{}\n", ledger.vkey()).as_bytes())?;
    (pieces.put)("checkpoint", at.text().as_bytes())?;
    (pieces.put)("control/vkey", format!("{}\n", ledger.vkey().control()?).as_bytes())?;
    (pieces.put)("control/checkpoint", control.text().as_bytes())?;
    // 1. The main lane: records, proofs, what they relied on; tiles only of all of it.
    let asked = asked(ledger, trust, &at, part)?;
    let mut tiles = part.is_whole().then(|| Tiles::of(at.size(), ""));
    for index in &asked {
        let entry = ledger.read(&at, *index)?;
        (pieces.put)(&format!("records/{index}.json"), entry.bytes())?;
        let proof = ledger.proof(&at, *index)?;
        (pieces.put)(&format!("records/{index}.tlog-proof"), proof.to_string().as_bytes())?;
        pieces.of_record(trust, &at, *index, entry.bytes())?;
        if let Some(tiles) = &mut tiles {
            tiles.add(entry.bytes(), pieces.put)?;
        }
    }
    tiles.iter().try_for_each(|tiles| tiles.finish(pieces.put))?;
    // 2. The control lane.
    let mut tiles = Tiles::of(lane.head().size(), "control/");
    for entry in lane.entries() {
        (pieces.put)(&format!("control/{}.json", entry.index()), entry.bytes())?;
        tiles.add(entry.bytes(), pieces.put)?;
    }
    tiles.finish(pieces.put)?;
    // 3. The rules of today.
    for bytes in policy.sources() {
        let role = if Digest::of(bytes) == policy.digest() { Role::Policy } else { Role::Key(String::new()) };
        pieces.piece(&role, bytes)?;
    }
    trust.roots().iter().try_for_each(|root| pieces.piece(&Role::Trusted(String::new()), root.json()))?;
    // 4. What all this is.
    let head = |at: &SignedCheckpoint| TreeHead { size: at.size(), root: at.root() };
    let Pieces { written, missing, put, .. } = pieces;
    let index = Index {
        format: FORMAT.to_owned(),
        origin: at.origin().to_string(),
        ledger: head(&at),
        control: head(lane.head()),
        part: part.clone(),
        records: asked.into_iter().collect(),
        evidence: written.into_iter().collect(),
        missing,
    };
    put("index.json", format!("{:#}\n", serde_json::to_value(&index)?).as_bytes())?;
    put("README.md", readme::text(ledger.vkey(), &index).as_bytes())?;
    Ok(index)
}

/// Whoever any decision knew, and who is known today: a record may be older than today's rules.
fn everybody(ledger: &Ledger, at: &SignedCheckpoint, today: &Trust) -> Result<Trust, ExportError> {
    let (mut keys, mut roots) = (today.keys().to_vec(), today.roots().to_vec());
    let mut seen = BTreeSet::new();
    for index in 0..at.size() {
        let entry = ledger.read(at, index)?;
        let Ok(rules) = ClaimedRules::read(entry.bytes()) else { continue };
        let named = rules.policy.keys.into_values().map(|digest| (digest, None));
        let named = named.chain(rules.roots.into_iter().map(|root| (root.digest.0, Some(root.name))));
        for (digest, root) in named {
            if !seen.insert((digest, root.clone())) {
                continue;
            }
            let bytes = match ledger.kept(index, digest) {
                Ok(bytes) => bytes,
                Err(error) => {
                    missing_or(error)?;
                    continue;
                }
            };
            match root {
                None => keys.extend(PublicKey::from_der(&bytes)),
                Some(name) => roots.extend(root_of(name, &bytes)),
            }
        }
    }
    Ok(Trust::new(keys).with_roots(roots))
}

/// A root of trust by its bytes. What GitHub's own repository signed was taken by whoever decided, and the record is
/// bound to these very bytes.
pub(super) fn root_of(name: RootName, json: &[u8]) -> Option<Root> {
    let json = std::str::from_utf8(json).ok()?;
    Root::given(name.clone(), json).or_else(|_| Root::refreshed(name, json)).ok()
}

/// The records that were asked for, and those that they rely on.
fn asked(
    ledger: &Ledger,
    trust: &Trust,
    at: &SignedCheckpoint,
    part: &Part,
) -> Result<BTreeSet<u64>, ExportError> {
    if part.is_whole() {
        return Ok((0..at.size()).collect());
    }
    let mut asked = BTreeSet::new();
    // What is relied on lies before what relies on it.
    for index in (0..at.size()).rev() {
        let entry = ledger.read(at, index)?;
        let Ok(content) = Content::read(entry.bytes(), at.origin().as_str(), index, trust) else { continue };
        if asked.contains(&index) || is_asked(part, index, &content.body) {
            asked.insert(index);
            asked.extend(relied_records(&content.body).filter(|relied| *relied < index));
        }
    }
    Ok(asked)
}

fn is_asked(part: &Part, index: u64, body: &Body) -> bool {
    let Part { service, environment, from, since } = part;
    service.as_ref().is_none_or(|only| body.service().as_str() == only)
        && environment.as_ref().is_none_or(|only| body.environment().is_some_and(|it| it.as_str() == only))
        && from.is_none_or(|from| index >= from)
        && since.is_none_or(|since| body.claimed_time() >= since)
}

/// The records that a decision relied on, and the intent that it closes.
fn relied_records(body: &Body) -> impl Iterator<Item = u64> {
    let promotion = match body {
        Body::Promotion(promotion) => Some(promotion),
        Body::Deployment(_) | Body::Approval(_) => None,
    };
    let named = promotion.into_iter().flat_map(|it| &it.evidence);
    let named = named.filter_map(|resource| resource.uri.strip_prefix("ledger:")?.parse().ok());
    named.chain(promotion.and_then(|it| it.intent).map(|intent| intent.index))
}

/// What decisions relied on, each once.
struct Pieces<'s> {
    ledger: &'s Ledger,
    put: Sink<'s>,
    written: BTreeSet<Digest>,
    missing: Vec<Missing>,
}

impl Pieces<'_> {
    fn of_record(
        &mut self,
        trust: &Trust,
        at: &SignedCheckpoint,
        index: u64,
        bytes: &[u8],
    ) -> Result<(), ExportError> {
        let Ok(content) = Content::read(bytes, at.origin().as_str(), index, trust) else {
            // Whoever signed it: with the rules that it names, somebody may find out.
            return self.of_claim(index, bytes);
        };
        let Body::Promotion(promotion) = &content.body else { return Ok(()) };
        for Relied { role, digest } in relied_on(promotion, &content.subjects) {
            self.kept(index, &role, digest)?;
        }
        // What of the image the record does not name itself: the rest of what its closure was made from.
        let documents = self.ledger.documents(index, content.subjects.image.digest)?;
        documents.into_iter().try_for_each(|digest| self.kept(index, &Role::Platform, digest))
    }

    fn of_claim(&mut self, index: u64, bytes: &[u8]) -> Result<(), ExportError> {
        let Ok(ClaimedRules { policy, roots }) = ClaimedRules::read(bytes) else { return Ok(()) };
        self.kept(index, &Role::Policy, policy.digest.0)?;
        for (file, digest) in policy.keys {
            self.kept(index, &Role::Key(file), digest)?;
        }
        roots
            .iter()
            .try_for_each(|root| self.kept(index, &Role::Trusted(root.name.to_string()), root.digest.0))
    }

    fn kept(&mut self, record: u64, role: &Role, digest: Digest) -> Result<(), ExportError> {
        if self.written.contains(&digest) || self.missing.iter().any(|missing| missing.digest == digest) {
            return Ok(());
        }
        match self.ledger.kept(record, digest) {
            Ok(bytes) => self.piece(role, &bytes),
            Err(error) => {
                missing_or(error)?;
                self.missing.push(Missing { record, digest });
                Ok(())
            }
        }
    }

    fn piece(&mut self, role: &Role, bytes: &[u8]) -> Result<(), ExportError> {
        let digest = Digest::of(bytes);
        if !self.written.insert(digest) {
            return Ok(());
        }
        let [evidence, policy, key, root] = names(digest);
        match role {
            Role::Policy => (self.put)(&policy, bytes),
            Role::Trusted(_) => (self.put)(&root, bytes),
            // Strangers' tools read PEM; what else the policy names is a root, or where one begins.
            Role::Key(_) => match PublicKey::from_der(bytes) {
                Ok(public) => (self.put)(&key, public.to_pem().as_bytes()),
                Err(_) => (self.put)(&root, bytes),
            },
            Role::Root | Role::Platform | Role::Attestation(_) | Role::Layer => (self.put)(&evidence, bytes),
        }
    }
}

/// Evidence that is gone or changed is not there; anything else is trouble.
fn missing_or(error: LedgerError) -> Result<(), ExportError> {
    match error {
        LedgerError::EvidenceGone { .. } | LedgerError::EvidenceChanged { .. } => Ok(()),
        error => Err(error.into()),
    }
}

/// The tiles of a whole log, as its entries go by (C2SP tlog-tiles).
pub(super) struct Tiles {
    size: u64,
    prefix: &'static str,
    frontier: Frontier,
    /// Every eighth level of the tree: those that tiles hold.
    hashes: BTreeMap<u8, Vec<Digest>>,
    bundle: Vec<Vec<u8>>,
}

impl Tiles {
    pub(super) fn of(size: u64, prefix: &'static str) -> Self {
        Self { size, prefix, frontier: Frontier::empty(), hashes: BTreeMap::new(), bundle: Vec::new() }
    }

    pub(super) fn add(&mut self, entry: &[u8], put: Sink<'_>) -> Result<(), ExportError> {
        let index = self.frontier.size();
        self.frontier.push::<TlogError>(leaf_hash(entry), |node, hash| {
            if node.level % 8 == 0 {
                self.hashes.entry(node.level).or_default().push(hash);
            }
            Ok(())
        })?;
        self.bundle.push(entry.to_vec());
        let bundle = EntryBundle::of(index / 256, self.size).filter(|bundle| bundle.range().end == index + 1);
        if let Some(bundle) = bundle {
            let bytes = bundle.encode(&std::mem::take(&mut self.bundle))?;
            put(&format!("{}{bundle}", self.prefix), &bytes)?;
        }
        Ok(())
    }

    pub(super) fn finish(&self, put: Sink<'_>) -> Result<(), ExportError> {
        for tile in Tile::grown(0, self.size) {
            let hash = |node: Node| {
                let known = self.hashes.get(&node.level).zip(usize::try_from(node.index).ok());
                let known = known.and_then(|(level, index)| level.get(index)).copied();
                known.ok_or(TlogError::NoNode { node, size: self.size })
            };
            let bytes = tile.encode(hash)?;
            put(&format!("{}{tile}", self.prefix), &bytes)?;
        }
        Ok(())
    }

    /// The root of what was added.
    pub(super) fn root(&self) -> Digest {
        self.frontier.root()
    }
}
