//! The records of the control lane: what is no longer good, what is good again, and that nothing enters.
//!
//! Guarantees: those of a [`Record`](super::Record): in the lane, signed, strict, said by who signed. A statement that
//! was signed for this lane but is not understood keeps its author ([`NotRead`]), so that negative evidence by somebody who may give
//! it can be refused instead of overlooked. Never does: decide whether the author may say it.
//!
//! Shapes (`DESIGN.md` section 5, `revocation/v0.1`): in-toto Statement v1; the subjects are the digests that the target
//! stands for, without a name: manifests by their own digest, a key by its id, another identity by the digest of its
//! JSON, a record by its leaf hash, a scope that is frozen by the digest of its JSON. Start at [`ControlRecord::read`].

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::freeze::{Freeze, freeze};
use super::{
    Actor, BASE, DraftError, Kind, LedgerView, Position, RecordError, is_actor, is_for, read, statement,
    without_secret,
};
use crate::digest::{Digest, shorten};
use crate::policy::{EnvironmentName, ServiceName};
use crate::tlog::Included;
use crate::verify::{self, Attestation, Author, Identity, Sign, Trust};

/// The longest reason, in bytes.
const REASON: usize = 2_000;
/// How many digests or identities one revocation may name.
const TARGETS: usize = 1_000;

/// The closed set of kinds of the control lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ControlKind {
    /// A digest, signer or record is no longer good, or is again.
    Revocation,
    /// Nothing enters, or something may again.
    Freeze,
}

impl ControlKind {
    /// The `predicateType`.
    pub fn predicate_type(self) -> &'static str {
        match self {
            Self::Revocation => "https://samebits.dev/revocation/v0.1",
            Self::Freeze => "https://samebits.dev/freeze/v0.1",
        }
    }

    fn of(predicate_type: &str) -> Option<Self> {
        [Self::Revocation, Self::Freeze].into_iter().find(|kind| kind.predicate_type() == predicate_type)
    }
}

/// What a control record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlBody {
    /// A revocation, or its end.
    Revocation(Box<Revocation>),
    /// A freeze, or its end.
    Freeze(Box<Freeze>),
}

impl ControlBody {
    /// Its kind.
    pub fn kind(&self) -> ControlKind {
        match self {
            Self::Revocation(_) => ControlKind::Revocation,
            Self::Freeze(_) => ControlKind::Freeze,
        }
    }

    /// Where it holds.
    pub fn scope(&self) -> &Scope {
        match self {
            Self::Revocation(revocation) => &revocation.scope,
            Self::Freeze(freeze) => &freeze.scope,
        }
    }

    /// The ledger as the author saw it; its origin is that of the control lane.
    pub fn ledger(&self) -> &LedgerView {
        match self {
            Self::Revocation(revocation) => &revocation.ledger,
            Self::Freeze(freeze) => &freeze.ledger,
        }
    }

    fn actor(&self) -> &Actor {
        match self {
            Self::Revocation(revocation) => &revocation.actor,
            Self::Freeze(freeze) => &freeze.actor,
        }
    }

    fn subjects(&self) -> Vec<Digest> {
        match self {
            Self::Revocation(revocation) => revocation.target.subjects(),
            Self::Freeze(freeze) => freeze.subjects(),
        }
    }

    fn lifts(&self) -> Option<Position> {
        match self {
            Self::Revocation(revocation) => revocation.lifts,
            Self::Freeze(freeze) => freeze.lifts,
        }
    }
}

/// What is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Revoked {
    /// An image, its digest first, with its platform manifests as far as the author knew them.
    Digests(Vec<Digest>),
    /// A signer: everybody who goes by its name.
    Identities(Vec<Identity>),
    /// A record of the main lane.
    Record(Position),
}

impl Revoked {
    fn subjects(&self) -> Vec<Digest> {
        match self {
            Self::Digests(digests) => digests.clone(),
            Self::Identities(identities) => identities.iter().map(digest_of).collect(),
            Self::Record(position) => vec![position.leaf_hash],
        }
    }
}

fn digest_of(identity: &Identity) -> Digest {
    match identity {
        Identity::Key { id } => *id,
        // serde_json sorts the members of an object: the text is canonical.
        Identity::Keyless { issuer, subject, root } => {
            let identity = json!({ "issuer": issuer, "root": root, "subject": subject });
            Digest::of(identity.to_string().as_bytes())
        }
    }
}

/// Where something holds; what is absent is everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// For this service only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// For what enters this environment only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
}

impl Scope {
    /// Whether the service is in it.
    pub fn has_service(&self, service: &ServiceName) -> bool {
        self.service.as_ref().is_none_or(|only| only == service)
    }

    /// Whether the service and the environment are in it.
    pub fn has(&self, service: &ServiceName, environment: &EnvironmentName) -> bool {
        self.has_service(service) && self.environment.as_ref().is_none_or(|only| only == environment)
    }
}

/// What a revocation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RevocationEffect {
    /// What is revoked gets no yes, and helps nothing else to one.
    Refuse,
    /// An earlier revocation no longer holds.
    Lift,
}

/// Since when a signer is not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EffectiveFrom {
    /// Records of the main lane at this index and after it do not count.
    pub index: u64,
    /// What lies outside the ledger counts only with a proof that it was signed before.
    pub time: Timestamp,
}

/// Predicate `https://samebits.dev/revocation/v0.1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Revocation {
    /// Who says so.
    pub actor: Actor,
    /// What it is about; of a lift, what the lifted one is about.
    pub target: Revoked,
    /// Where it holds; of a lift, where the lifted one does.
    pub scope: Scope,
    /// What it does.
    pub effect: RevocationEffect,
    /// Why.
    pub reason: String,
    /// For a signer: since when; from the beginning where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_from: Option<EffectiveFrom>,
    /// The revocation in the control lane that this one lifts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifts: Option<Position>,
    /// When it was said.
    pub decided_on: Timestamp,
    /// The ledger as the author saw it; `origin` is that of the control lane.
    pub ledger: LedgerView,
}

/// A control record about to be signed.
#[derive(Clone, Debug)]
pub struct ControlDraft(pub ControlBody);

impl ControlDraft {
    /// The signed bytes: in-toto Statement v1 in DSSE in a Sigstore bundle v0.3.
    ///
    /// # Errors
    /// [`DraftError`] when there is no signature, or where the reason holds what looks like a secret.
    pub fn sign(&self, signer: &dyn Sign) -> Result<Vec<u8>, DraftError> {
        let reason = match &self.0 {
            ControlBody::Revocation(revocation) => &revocation.reason,
            ControlBody::Freeze(freeze) => &freeze.reason,
        };
        without_secret("reason", reason)?;
        let predicate = match &self.0 {
            ControlBody::Revocation(revocation) => serde_json::to_value(revocation)?,
            ControlBody::Freeze(freeze) => serde_json::to_value(freeze)?,
        };
        let subject =
            self.0.subjects().into_iter().map(|digest| json!({ "digest": { "sha256": digest.hex() } }));
        statement(subject.collect(), self.0.kind().predicate_type(), predicate, signer)
    }
}

/// What lies in the control lane and is not a record that is understood.
#[derive(Clone, Debug, PartialEq)]
pub struct NotRead {
    /// Its index.
    pub index: u64,
    /// Who said it for this very lane, if that is certain: then it may be negative evidence that a newer version wrote.
    /// Anything else that was signed may have been copied here by whoever holds the log's key.
    pub author: Option<Author>,
    /// Why not.
    pub why: RecordError,
}

/// A record of the control lane: in it, signed, well-formed.
#[derive(Clone, Debug)]
pub struct ControlRecord {
    position: Position,
    author: Author,
    body: ControlBody,
}

impl ControlRecord {
    /// Reads what lies at a place of the control lane.
    ///
    /// # Errors
    /// [`NotRead`] when the signature is not by a key of `trust` or the bytes are not a control record of ours.
    pub fn read(entry: &Included, trust: &Trust) -> Result<Self, Box<NotRead>> {
        let index = entry.index();
        // 1. Signature and in-toto Statement v1.
        let no = |author, why| Err(Box::new(NotRead { index, author, why }));
        let attestation = match verify::record(entry.bytes(), trust) {
            Ok(attestation) => attestation,
            Err(rejected) => return no(None, RecordError::Rejected(rejected)),
        };
        let author = attestation.author().clone();
        match Self::content(&attestation, author.identity(), entry) {
            Ok(body) => {
                let position = Position { index, leaf_hash: entry.leaf() };
                Ok(Self { position, author, body })
            }
            Err(why) => no(said_here(&attestation, entry).then_some(author), why),
        }
    }

    fn content(
        attestation: &Attestation,
        signed: &Identity,
        entry: &Included,
    ) -> Result<ControlBody, RecordError> {
        // 2. Kind and predicate, closed and strict.
        let kind = ControlKind::of(attestation.predicate_type())
            .ok_or_else(|| RecordError::Kind(shorten(attestation.predicate_type())))?;
        let body = match kind {
            ControlKind::Revocation => ControlBody::Revocation(Box::new(revocation(attestation)?)),
            ControlKind::Freeze => ControlBody::Freeze(Box::new(freeze(attestation)?)),
        };
        // 3. The subjects are what the target stands for.
        let subjects = attestation.subjects().iter();
        if subjects.map(|subject| subject.digest).collect::<Vec<_>>() != body.subjects() {
            return Err(RecordError::Subjects("they are not what its target stands for"));
        }
        // 4. The actor is the signer.
        is_actor(body.actor(), signed)?;
        // 5. Written for this lane, after what it refers to.
        is_for(body.ledger(), entry.origin().as_str())?;
        let later = |position: Position| position.index >= entry.index();
        if body.ledger().control.size > entry.index() || body.lifts().is_some_and(later) {
            return Err(RecordError::Order);
        }
        Ok(body)
    }

    /// Where it lies in the control lane.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Who signed it.
    pub fn author(&self) -> &Author {
        &self.author
    }

    /// What it says.
    pub fn body(&self) -> &ControlBody {
        &self.body
    }

    /// The revocation, if it is one.
    pub fn revocation(&self) -> Option<&Revocation> {
        match &self.body {
            ControlBody::Revocation(revocation) => Some(revocation),
            ControlBody::Freeze(_) => None,
        }
    }

    /// The freeze, if it is one.
    pub fn freeze(&self) -> Option<&Freeze> {
        match &self.body {
            ControlBody::Freeze(freeze) => Some(freeze),
            ControlBody::Revocation(_) => None,
        }
    }
}

/// Whether it is a statement of ours that is of no kind of the main lane, and names this lane as its own.
fn said_here(attestation: &Attestation, entry: &Included) -> bool {
    let kind = attestation.predicate_type();
    let ours = kind.strip_prefix(BASE).is_some_and(|rest| rest.starts_with('/')) && Kind::of(kind).is_none();
    let origin = attestation.predicate().pointer("/ledger/origin").and_then(Value::as_str);
    ours && origin == Some(entry.origin().as_str())
}

pub(super) fn reason(text: &str) -> Result<(), RecordError> {
    if text.trim().is_empty() || text.len() > REASON {
        return Err(RecordError::Contradiction("it gives no reason, or one beyond 2000 bytes"));
    }
    Ok(())
}

fn revocation(attestation: &Attestation) -> Result<Revocation, RecordError> {
    let revocation: Revocation = read(attestation)?;
    let no = |why| Err(RecordError::Contradiction(why));
    reason(&revocation.reason)?;
    let targets = match &revocation.target {
        Revoked::Digests(digests) => digests.len(),
        Revoked::Identities(identities) => identities.len(),
        Revoked::Record(_) => 1,
    };
    if !(1..=TARGETS).contains(&targets) {
        return no("it revokes nothing, or more than 1000 things");
    }
    if (revocation.effect == RevocationEffect::Lift) != revocation.lifts.is_some() {
        return no("a lift, and nothing else, names what it lifts");
    }
    let signer = matches!(revocation.target, Revoked::Identities(_));
    if let Some(from) = revocation.effective_from {
        if !signer || revocation.lifts.is_some() {
            return no("only the revocation of a signer has a beginning");
        }
        if from.index > revocation.ledger.observed.size {
            return no("it begins behind the log that its author had seen");
        }
    }
    if revocation.ledger.prev.is_some() {
        return no("a control record follows no record of a target");
    }
    Ok(revocation)
}
