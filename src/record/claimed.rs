//! What the bytes of a promotion record say of the rules it was made by, before anybody checked them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use super::{Body, Kind, PolicyVersion, Position, RecordError, RootVersion, Subjects, TreeHead};
use crate::digest::{Digest, shorten};
use crate::json;
use crate::policy::{EnvironmentName, ServiceName};
use crate::tlog::Included;
use crate::verify::Rejected;

/// The rules that a record names: with them its signature can be checked. A claim, and nothing more, until
/// [`Record::read`](super::Record::read) took the record under these very rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedRules {
    /// The rules.
    pub policy: PolicyVersion,
    /// The roots of trust.
    pub roots: Vec<RootVersion>,
}

impl ClaimedRules {
    /// The claim in the bytes of a record.
    ///
    /// # Errors
    /// What the bytes are instead of a promotion record, in words.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let statement = statement(bytes).ok_or("no statement in a bundle")?;
        let found = statement.get("predicateType").and_then(Value::as_str).unwrap_or_default();
        match Kind::of(found) {
            Some(Kind::Promotion) => {}
            Some(other @ (Kind::Deployment | Kind::Approval)) => return Err(other.to_string()),
            None => return Err(format!("of the type `{}`", shorten(found))),
        }
        let predicate = statement.get("predicate").ok_or("a statement without predicate")?;
        let policy = PolicyVersion::deserialize(&predicate["policy"]);
        let policy = policy.map_err(|_| "a promotion that names no policy".to_owned())?;
        let roots = match predicate.get("roots") {
            None => Vec::new(),
            Some(roots) => {
                Vec::deserialize(roots).map_err(|_| "a promotion with malformed roots".to_owned())?
            }
        };
        Ok(Self { policy, roots })
    }

    /// The digest of everything that they are: the policy, its keys, the roots.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        let keys = self.policy.keys.values().copied();
        let roots = self.roots.iter().map(|root| root.digest.0);
        std::iter::once(self.policy.digest.0).chain(keys).chain(roots)
    }
}

/// What the bytes of a record say that queries find it by. A claim, like [`ClaimedRules`]; but one that whoever stores
/// the bytes cannot change, so that all readers file the record alike, whoever of them can check its signature. What
/// [`Content::read`](super::Content::read) takes for a record has one, with the same values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimedRow {
    pub(crate) kind: Kind,
    pub(crate) service: String,
    pub(crate) environment: String,
    pub(crate) image: Digest,
    pub(crate) outcome: String,
    pub(crate) key: Digest,
}

impl ClaimedRow {
    /// The claim in the bytes of a record; `None` where they are no record, or not one that this version can file.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let statement = statement(bytes)?;
        let kind = Kind::of(statement.get("predicateType")?.as_str()?)?;
        let (environment, outcome) = match kind {
            Kind::Deployment => ("/predicate/environment", "/predicate/status"),
            Kind::Promotion => ("/predicate/to/environment", "/predicate/phase"),
            Kind::Approval => ("/predicate/for/environment", "/predicate/decision"),
        };
        let text = |pointer: &str| Some(statement.pointer(pointer)?.as_str()?.to_owned());
        Some(Self {
            kind,
            service: text("/predicate/service")?,
            environment: text(environment)?,
            image: Digest::from_hex(&text("/subject/0/digest/sha256")?).ok()?,
            outcome: text(outcome)?,
            key: text("/predicate/ledger/idempotencyKey")?.parse().ok()?,
        })
    }

    /// That of a record; `None` for one that names no environment.
    pub(super) fn of(body: &Body, subjects: &Subjects) -> Option<Self> {
        Some(Self {
            kind: body.kind(),
            service: body.service().to_string(),
            environment: body.environment()?.to_string(),
            image: subjects.image.digest,
            outcome: body.outcome(),
            key: body.ledger().idempotency_key,
        })
    }
}

/// What lies in the place of a target, says that it is about it, and is neither believed nor refused: other roots of
/// trust, or a clock that is right, might have taken its signature ([`Reason::is_untold`](crate::verify::Reason)).
#[derive(Clone, Debug, PartialEq)]
pub struct Unjudged {
    /// Where it lies.
    pub position: Position,
    /// The environment it says it is about.
    pub environment: EnvironmentName,
    /// What it says it is.
    pub kind: Kind,
    /// Its phase, status or decision, as it says.
    pub outcome: String,
    /// Why nobody here can tell whose it is.
    pub why: Rejected,
}

impl Unjudged {
    /// What was refused with `error`, if it is such an entry of the target; what its bytes say is a claim, and for
    /// whoever signed it his own.
    pub(crate) fn of(
        entry: &Included,
        service: &ServiceName,
        environment: &EnvironmentName,
        error: &RecordError,
    ) -> Option<Self> {
        let RecordError::Rejected(why) = error else { return None };
        let row = ClaimedRow::read(entry.bytes())?;
        let here = row.service == service.as_str() && row.environment == environment.as_str();
        (why.reason.is_untold() && here).then(|| Self {
            position: Position { index: entry.index(), leaf_hash: entry.leaf() },
            environment: environment.clone(),
            kind: row.kind,
            outcome: row.outcome,
            why: why.clone(),
        })
    }
}

/// The head of the control lane that the bytes of a record name. A claim, like [`ClaimedRules`]; that of a lane which has
/// that root was made when it had it.
pub(crate) fn claimed_control(bytes: &[u8]) -> Option<TreeHead> {
    let statement = statement(bytes)?;
    TreeHead::deserialize(statement.pointer("/predicate/ledger/control")?).ok()
}

/// What was signed, by the bytes of a record: the same whatever bundle it is put into.
pub(crate) fn payload(bytes: &[u8]) -> Option<Vec<u8>> {
    let bundle = json::parse(bytes, json::Limits::default()).ok()?;
    STANDARD.decode(bundle.pointer("/dsseEnvelope/payload")?.as_str()?).ok()
}

fn statement(bytes: &[u8]) -> Option<Value> {
    json::parse(&payload(bytes)?, json::Limits::default()).ok()
}
