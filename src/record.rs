//! The statements samebits writes and reads: deployments, promotions, approvals in the main lane of the ledger,
//! revocations and freezes in its control lane (`DESIGN.md` section 5). The lanes are different types: no record of one is one of
//! the other. A [`Permit`] is in neither: it goes to whoever deploys.
//!
//! Guarantees: a [`Record`] exists only if its bytes were shown to be in the log ([`Included`]), were signed by a
//! key of the [`Trust`], parse strictly as one of the closed set of kinds, and say of their actor what the signature
//! proved. Never does: I/O, or decide whether that actor was allowed to say it; that is the gate's question.
//!
//! Shapes: in-toto Statement v1; `subject[0]` is the image that was named, the rest its platform manifests;
//! `subject[].name` is the repository. Start at [`Draft::sign`] and [`Record::read`].

mod claimed;
mod control;
mod freeze;
mod permit;
mod predicate;
mod secret;
mod summary;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::closure::Platform;
use crate::digest::{Digest, shorten};
use crate::policy::{EnvironmentName, ServiceName};
use crate::reference::{Image, Repository};
use crate::tlog::Included;
use crate::verify::{self, Attestation, Author, Identity, Rejected, Sign, SignError, Trust};

pub(crate) use claimed::{ClaimedRow, claimed_control, payload};
pub use claimed::{ClaimedRules, Unjudged};
pub use control::{
    ControlBody, ControlDraft, ControlKind, ControlRecord, EffectiveFrom, NotRead, Revocation,
    RevocationEffect, Revoked, Scope,
};
pub use freeze::Freeze;
pub use permit::{BARE_PERMIT, Logged, PERMIT, Permit, PermitDraft, SignedPermit, is_permit};
pub use predicate::{
    Actor, Approval, ApprovedFor, Basis, Deployment, Direction, Endpoint, LedgerView, Phase, PolicyVersion,
    Position, Promotion, Rationale, Resource, RootVersion, Runtime, Sha256, Status, Superseded, TagMeant,
    TreeHead, Verdict, WitnessedLane,
};
pub use summary::{SUMMARY, Summary, VERIFIER};

/// The URI base of our predicate types; an identifier, published in `schema/`.
pub const BASE: &str = "https://samebits.dev";

const STATEMENT: &str = "https://in-toto.io/Statement/v1";

/// The closed set of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A fact: these bytes ran there.
    Deployment,
    /// A decision: these bytes may enter there.
    Promotion,
    /// A person or job approves.
    Approval,
}

impl Kind {
    /// The `predicateType`.
    pub fn predicate_type(self) -> &'static str {
        match self {
            Self::Deployment => "https://samebits.dev/deployment/v0.1",
            Self::Promotion => "https://samebits.dev/promotion/v0.1",
            Self::Approval => "https://samebits.dev/approval/v0.1",
        }
    }

    /// The kind in kebab-case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::Promotion => "promotion",
            Self::Approval => "approval",
        }
    }

    fn of(predicate_type: &str) -> Option<Self> {
        [Self::Deployment, Self::Promotion, Self::Approval]
            .into_iter()
            .find(|kind| kind.predicate_type() == predicate_type)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A fact.
    Deployment(Deployment),
    /// A decision.
    Promotion(Box<Promotion>),
    /// An approval.
    Approval(Approval),
}

impl Body {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Deployment(_) => Kind::Deployment,
            Self::Promotion(_) => Kind::Promotion,
            Self::Approval(_) => Kind::Approval,
        }
    }

    /// The service it is about.
    pub fn service(&self) -> &ServiceName {
        match self {
            Self::Deployment(deployment) => &deployment.service,
            Self::Promotion(promotion) => &promotion.service,
            Self::Approval(approval) => &approval.service,
        }
    }

    /// The environment it is about; `None` only for a promotion that names none, which no valid one does.
    pub fn environment(&self) -> Option<&EnvironmentName> {
        match self {
            Self::Deployment(deployment) => Some(&deployment.environment),
            Self::Promotion(promotion) => promotion.to.environment.as_ref(),
            Self::Approval(approval) => Some(&approval.approved_for.environment),
        }
    }

    /// The time the author claims for what happened.
    pub fn claimed_time(&self) -> Timestamp {
        match self {
            Self::Deployment(deployment) => deployment.finished_on,
            Self::Promotion(promotion) => promotion.decided_on,
            Self::Approval(approval) => approval.decided_on,
        }
    }

    /// The log as the author saw it.
    pub fn ledger(&self) -> &LedgerView {
        match self {
            Self::Deployment(deployment) => &deployment.ledger,
            Self::Promotion(promotion) => &promotion.ledger,
            Self::Approval(approval) => &approval.ledger,
        }
    }

    /// Status, phase or verdict, in one word.
    pub fn outcome(&self) -> String {
        match self {
            Self::Deployment(deployment) => deployment.status.to_string(),
            Self::Promotion(promotion) => promotion.phase.to_string(),
            Self::Approval(approval) => approval.decision.to_string(),
        }
    }

    fn basis(&self) -> Option<&Basis> {
        match self {
            Self::Promotion(promotion) => promotion.basis.as_ref(),
            Self::Deployment(_) | Self::Approval(_) => None,
        }
    }

    fn actor(&self) -> &Actor {
        match self {
            Self::Deployment(deployment) => &deployment.actor,
            Self::Promotion(promotion) => &promotion.actor,
            Self::Approval(approval) => &approval.actor,
        }
    }

    /// What a person typed, by the name of its field.
    fn typed(&self) -> Vec<(&'static str, &str)> {
        match self {
            Self::Deployment(deployment) => {
                let url = deployment.external_url.as_deref().map(|url| ("externalUrl", url));
                url.into_iter().chain([("deploymentName", deployment.deployment_name.as_str())]).collect()
            }
            Self::Approval(approval) => {
                approval.comment.as_deref().map(|comment| ("comment", comment)).into_iter().collect()
            }
            // All of it is ours, or evidence.
            Self::Promotion(_) => Vec::new(),
        }
    }

    fn to_value(&self) -> Result<serde_json::Value, serde_json::Error> {
        match self {
            Self::Deployment(deployment) => serde_json::to_value(deployment),
            Self::Promotion(promotion) => serde_json::to_value(promotion),
            Self::Approval(approval) => serde_json::to_value(approval),
        }
    }
}

/// What a record is about: the image that was named and its platform manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subjects {
    /// The image that was named: an index or a single manifest.
    pub image: Image,
    /// Its platform manifests, without the image itself.
    pub platforms: Vec<(Digest, Option<Platform>)>,
}

impl Subjects {
    /// The image and its platform manifests.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        std::iter::once(self.image.digest).chain(self.platforms.iter().map(|(digest, _)| *digest))
    }

    /// Whether `digest` is the image or one of its platform manifests.
    pub fn contain(&self, digest: Digest) -> bool {
        self.image.digest == digest || self.platforms.iter().any(|(platform, _)| *platform == digest)
    }
}

/// A record about to be signed.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What it is about.
    pub subjects: Subjects,
    /// What it says.
    pub body: Body,
}

impl Draft {
    /// The signed bytes: in-toto Statement v1 in DSSE in a Sigstore bundle v0.3.
    ///
    /// # Errors
    /// [`DraftError`] when there is no signature, or where a person typed what looks like a secret.
    pub fn sign(&self, signer: &dyn Sign) -> Result<Vec<u8>, DraftError> {
        self.body.typed().into_iter().try_for_each(|(field, text)| without_secret(field, text))?;
        sign(&self.subjects, self.body.kind().predicate_type(), self.body.to_value()?, signer)
    }
}

fn without_secret(field: &'static str, text: &str) -> Result<(), DraftError> {
    match secret::find(text) {
        Some(what) => Err(DraftError::Secret { field, what }),
        None => Ok(()),
    }
}

/// An in-toto Statement v1 about `subjects`, in DSSE in a Sigstore bundle v0.3.
fn sign(
    subjects: &Subjects,
    predicate_type: &str,
    predicate: Value,
    signer: &dyn Sign,
) -> Result<Vec<u8>, DraftError> {
    let name = subjects.image.repository.to_string();
    let mut subject = vec![json!({ "name": name, "digest": { "sha256": subjects.image.digest.hex() } })];
    for (digest, platform) in &subjects.platforms {
        let mut entry = json!({ "name": name, "digest": { "sha256": digest.hex() } });
        if let Some(platform) = platform {
            entry["annotations"] = json!({ "platform": platform.to_string() });
        }
        subject.push(entry);
    }
    statement(subject, predicate_type, predicate, signer)
}

fn statement(
    subject: Vec<Value>,
    predicate_type: &str,
    predicate: Value,
    signer: &dyn Sign,
) -> Result<Vec<u8>, DraftError> {
    let statement = json!({
        "_type": STATEMENT,
        "subject": subject,
        "predicateType": predicate_type,
        "predicate": predicate,
    });
    Ok(signer.sign(&serde_json::to_vec(&statement)?)?)
}

/// Why a record could not be written.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// There is no signature.
    #[error("the record cannot be signed")]
    Sign(#[from] SignError),
    /// Somebody typed what looks like a secret (D9). It is not repeated.
    #[error("`{field}` holds what looks like {what}, and a record is for ever")]
    Secret {
        /// The field.
        field: &'static str,
        /// What it looks like.
        what: &'static str,
    },
    /// JSON refused one of our own values.
    #[error("the record cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// Why the bytes at a place in the log are not a record of ours.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RecordError {
    /// Signature or statement refused.
    #[error("its signature does not count")]
    Rejected(#[source] Rejected),
    /// A predicate type outside the closed set.
    #[error("its predicate type `{0}` is not one of ours")]
    Kind(String),
    /// The predicate is not of the shape its type demands.
    #[error("its predicate is malformed: {0}")]
    Predicate(String),
    /// It can be read, and is not spelled as its type says: who files records by their bytes would read something else.
    #[error("its predicate is not spelled as records are: {0}")]
    Spelling(&'static str),
    /// A subject without a name, or named differently from the first.
    #[error("its subjects are malformed: {0}")]
    Subjects(&'static str),
    /// The record says somebody else acted than the one who signed.
    #[error("it says that {claimed} acted, but it is signed by {signed}")]
    Actor {
        /// Issuer and subject as claimed.
        claimed: String,
        /// The identity the signature proved.
        signed: Identity,
    },
    /// Written for another log.
    #[error("it was written for the log `{found}`, not for `{expected}`")]
    Origin {
        /// This log.
        expected: String,
        /// The log it names.
        found: String,
    },
    /// It claims to have seen a longer log than the one before it, or to follow a later record.
    #[error("it refers to a place in the log that is not before it")]
    Order,
    /// An intent without target, a commit without intent, and the like.
    #[error("its fields contradict each other: {0}")]
    Contradiction(&'static str),
}

/// What the bytes of a record say, before they are shown to be in the log.
#[derive(Clone, Debug)]
pub struct Content {
    /// Who signed.
    pub author: Author,
    /// What it is about.
    pub subjects: Subjects,
    /// What it says.
    pub body: Body,
}

impl Content {
    /// Reads the bytes of record `index` of the log `origin`. For audits: a decision needs a [`Record`].
    ///
    /// # Errors
    /// [`RecordError`] when the signature is not by a key of `trust` or the bytes are not a record of ours.
    pub fn read(bytes: &[u8], origin: &str, index: u64, trust: &Trust) -> Result<Self, RecordError> {
        // 1. Signature and in-toto Statement v1.
        let attestation = verify::record(bytes, trust).map_err(RecordError::Rejected)?;
        // 2. Kind and predicate, closed and strict, and in the one spelling.
        let kind = Kind::of(attestation.predicate_type())
            .ok_or_else(|| RecordError::Kind(shorten(attestation.predicate_type())))?;
        let body = parse_body(kind, &attestation)?;
        is_spelled(&body, attestation.predicate())?;
        // 3. Subjects: one repository, the image first. All readers file it alike.
        let subjects = parse_subjects(&attestation)?;
        if ClaimedRow::read(bytes) != ClaimedRow::of(&body, &subjects) {
            return Err(RecordError::Spelling("it would be filed as something else than it says"));
        }
        // 4. The actor is the signer.
        is_actor(body.actor(), attestation.identity())?;
        // 5. Written for this log, after what it refers to.
        let view = body.ledger();
        is_for(view, origin)?;
        if view.observed.size > index || view.prev.is_some_and(|prev| prev.index >= index) {
            return Err(RecordError::Order);
        }
        // 6. Nothing was decided on that its author had not seen.
        if body.basis().is_some_and(|basis| {
            basis.observed.size > view.observed.size || basis.control.size > view.control.size
        }) {
            return Err(RecordError::Order);
        }
        Ok(Self { author: attestation.author().clone(), subjects, body })
    }
}

/// A record of ours: in the log, signed, well-formed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Record {
    position: Position,
    digest: Digest,
    content: Arc<Content>,
}

impl Record {
    /// Reads what lies at a place of the log.
    ///
    /// # Errors
    /// [`RecordError`] when the signature is not by a key of `trust` or the bytes are not a record of ours.
    pub fn read(entry: &Included, trust: &Trust) -> Result<Self, RecordError> {
        let content = Content::read(entry.bytes(), entry.origin().as_str(), entry.index(), trust)?;
        let position = Position { index: entry.index(), leaf_hash: entry.leaf() };
        Ok(Self { position, digest: entry.content(), content: Arc::new(content) })
    }

    /// Where it lies.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Who signed it.
    pub fn author(&self) -> &Author {
        &self.content.author
    }

    /// The author's identity.
    pub fn identity(&self) -> &Identity {
        self.content.author.identity()
    }

    /// The digest of its bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What it is about.
    pub fn subjects(&self) -> &Subjects {
        &self.content.subjects
    }

    /// What it says.
    pub fn body(&self) -> &Body {
        &self.content.body
    }

    /// The deployment, if it is one.
    pub fn deployment(&self) -> Option<&Deployment> {
        match self.body() {
            Body::Deployment(deployment) => Some(deployment),
            Body::Promotion(_) | Body::Approval(_) => None,
        }
    }

    /// The promotion, if it is one.
    pub fn promotion(&self) -> Option<&Promotion> {
        match self.body() {
            Body::Promotion(promotion) => Some(promotion),
            Body::Deployment(_) | Body::Approval(_) => None,
        }
    }

    /// The approval, if it is one.
    pub fn approval(&self) -> Option<&Approval> {
        match self.body() {
            Body::Approval(approval) => Some(approval),
            Body::Deployment(_) | Body::Promotion(_) => None,
        }
    }

    /// How a decision refers to it.
    pub fn resource(&self) -> Resource {
        Resource::new(format!("ledger:{}", self.position.index), self.digest)
    }
}

fn is_actor(claimed: &Actor, signed: &Identity) -> Result<(), RecordError> {
    if *claimed == Actor::from(signed) {
        return Ok(());
    }
    let Actor { issuer, subject, root: _ } = claimed;
    let claimed = shorten(&format!("{subject} ({issuer})"));
    Err(RecordError::Actor { claimed, signed: signed.clone() })
}

fn is_for(view: &LedgerView, origin: &str) -> Result<(), RecordError> {
    if view.origin == origin {
        return Ok(());
    }
    Err(RecordError::Origin { expected: origin.to_owned(), found: shorten(&view.origin) })
}

fn read<T: serde::de::DeserializeOwned>(attestation: &Attestation) -> Result<T, RecordError> {
    T::deserialize(attestation.predicate())
        .map_err(|error| RecordError::Predicate(shorten(&error.to_string())))
}

fn parse_body(kind: Kind, attestation: &Attestation) -> Result<Body, RecordError> {
    Ok(match kind {
        Kind::Deployment => {
            let deployment: Deployment = read(attestation)?;
            if deployment.deployment_name.is_empty() {
                return Err(RecordError::Contradiction("the deployment name is empty"));
            }
            if deployment.finished_on < deployment.started_on {
                return Err(RecordError::Contradiction("it finished before it started"));
            }
            Body::Deployment(deployment)
        }
        Kind::Promotion => {
            let promotion: Promotion = read(attestation)?;
            if promotion.to.environment.is_none() {
                return Err(RecordError::Contradiction("a promotion names no environment to enter"));
            }
            let closes = matches!(promotion.phase, Phase::Commit | Phase::Abort);
            if closes != promotion.intent.is_some() {
                return Err(RecordError::Contradiction(
                    "a commit or abort, and nothing else, names its intent",
                ));
            }
            Body::Promotion(Box::new(promotion))
        }
        Kind::Approval => Body::Approval(read(attestation)?),
    })
}

/// That a predicate has objects, arrays and text where we write them. Serde takes an array for an object, and
/// `{"removed": null}` for `"removed"`.
fn is_spelled(body: &Body, predicate: &Value) -> Result<(), RecordError> {
    let written = body.to_value().map_err(|error| RecordError::Predicate(shorten(&error.to_string())))?;
    match is_shaped(predicate, &written) {
        true => Ok(()),
        false => Err(RecordError::Spelling("an array for an object, or an object for a word")),
    }
}

/// Whether `found` has the shape of `written`. What is null, or left out of what is written, is a default.
fn is_shaped(found: &Value, written: &Value) -> bool {
    match (found, written) {
        (Value::Object(found), Value::Object(written)) => found.iter().all(|(name, found)| {
            found.is_null() || written.get(name).is_none_or(|written| is_shaped(found, written))
        }),
        (Value::Array(found), Value::Array(written)) => {
            found.len() == written.len()
                && found.iter().zip(written).all(|(found, written)| is_shaped(found, written))
        }
        (Value::Null, Value::Null)
        | (Value::Bool(_), Value::Bool(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::String(_), Value::String(_)) => true,
        (
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_),
            _,
        ) => false,
    }
}

fn parse_subjects(attestation: &Attestation) -> Result<Subjects, RecordError> {
    let mut subjects = attestation.subjects().iter();
    let first = subjects.next().ok_or(RecordError::Subjects("there is none"))?;
    let name = first.name.as_deref().ok_or(RecordError::Subjects("the first has no name"))?;
    let repository =
        name.parse::<Repository>().map_err(|_| RecordError::Subjects("the name is not a repository"))?;
    let mut platforms = Vec::new();
    for subject in subjects {
        if subject.name.as_deref() != Some(name) {
            return Err(RecordError::Subjects("they name different repositories"));
        }
        platforms.push((subject.digest, None));
    }
    Ok(Subjects { image: Image::new(repository, first.digest), platforms })
}
