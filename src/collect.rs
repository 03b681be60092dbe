//! From an image to its [`Evidence`]: what lies beside it in the registry, what the ledger says of it.
//!
//! Guarantees: every attestation was verified here, every record shown to be in the log; a registry or ledger that
//! cannot be read is an error, never an empty list. What is found and does not count is kept for the explanation.
//! Never does: judge. Start at [`collect`].

mod attached;
mod files;
mod layers;
mod store;

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::closure::same_layers;
use crate::digest::Digest;
use crate::evidence::{Control, Evidence, Target};
use crate::gate::control::in_force;
use crate::ledger::seen::Lane;
use crate::ledger::target::past;
use crate::ledger::{Ledger, LedgerError};
use crate::policy::{Policy, RootRule};
use crate::record::{Status, TreeHead};
use crate::reference::Image;
use crate::registry::{Reading, Registries, RegistryError};
use crate::verify::{Identity, Trust};

pub use attached::{Attached, Content, Item, Look, Place, attached};
pub use files::{Files, FilesError};
pub use store::attached_or_stored;

/// The media types a Sigstore bundle goes by (Sigstore bundle specification v0.3, "Media type").
pub const BUNDLE: [&str; 2] =
    ["application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.dev.sigstore.bundle+json;version=0.3"];

/// The largest bundle, envelope or payload that is read.
const EVIDENCE_BYTES: u64 = 4 << 20;
/// The most that is read of all evidence on one image together.
const TOGETHER: u64 = 64 << 20;

/// Why evidence could not be collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The registry.
    #[error("the evidence on {on} could not be read")]
    Registry {
        /// The manifest it is about.
        on: Box<Image>,
        /// Why.
        source: Box<RegistryError>,
    },
    /// The ledger.
    #[error("the history of the image could not be read")]
    Ledger(#[from] LedgerError),
    /// A manifest that lists evidence is not what it should be.
    #[error("the evidence manifest {manifest} on {on} is malformed: {why}")]
    Malformed {
        /// The manifest it is about.
        on: Box<Image>,
        /// The evidence manifest.
        manifest: Digest,
        /// What is wrong.
        why: String,
    },
    /// More evidence than anybody needs: whoever may attach could fill the memory.
    #[error(
        "there are more than {limit} bytes of evidence on the image: expected less, the last was on {on}"
    )]
    TooMuch {
        /// The manifest where the limit was reached.
        on: Box<Image>,
        /// The limit in bytes.
        limit: u64,
    },
    /// More referrers than anybody needs.
    #[error("more than {limit} things refer to the manifests of the image, the last to {on}: expected fewer")]
    TooMany {
        /// The manifest where the limit was reached.
        on: Box<Image>,
        /// The limit.
        limit: u64,
    },
}

impl CollectError {
    /// Whether it is of what lies there, and not of how it was asked for: the same again ends the same way.
    pub fn is_about_what_lies_there(&self) -> bool {
        match self {
            Self::Malformed { .. } | Self::TooMuch { .. } | Self::TooMany { .. } => true,
            Self::Registry { .. } | Self::Ledger(_) => false,
        }
    }

    /// What to do about it, for the `hint:` line.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Registry { source, .. } => source.hint(),
            Self::Ledger(error) => error.hint().map(str::to_owned),
            Self::Malformed { manifest, .. } => {
                Some(format!("whoever attached {manifest} has to attach it again, whole, or delete it"))
            }
            Self::TooMuch { .. } | Self::TooMany { .. } => {
                Some("delete what nobody needs of what refers to the image".to_owned())
            }
        }
    }
}

/// Every key the policy names, and every root of trust that it takes as it is, from this program or a file: whose
/// signatures are looked at. A root that is refreshed, or has an age that it must not reach, is not among them: ask
/// [`crate::roots`] for all, and put them in with [`Trust::with_roots`].
pub fn trust(policy: &Policy) -> Trust {
    Trust::new(policy.keys())
        .with_roots(policy.roots().filter_map(RootRule::unconditional).cloned().collect())
}

/// What counts, or could have counted, for `target`, wherever it is looked for: beside the image, and in the evidence store
/// that the policy names. `files` are bundles from disk and repositories to look into as well, none of them where the default
/// is given; `reading` is of the repository of the image.
///
/// # Errors
/// [`CollectError`] when the registry or the ledger cannot be read; that is never "no evidence".
pub async fn collect(
    target: &Target<'_>,
    (registries, reading): (&Registries, &Reading),
    files: &Files,
    ledger: &Ledger,
    trust: &Trust,
    (look, now): (Look, Timestamp),
) -> Result<Evidence, CollectError> {
    let mut evidence = nothing(now);
    found(&mut evidence, target, look_at(target, (registries, reading), files, trust, look).await?);
    // Last: what was revoked or frozen while evidence was read is seen.
    recall(&mut evidence, target, ledger, trust, now)?;
    // Only a no has to be explained, and no first look ends in one.
    if look != Look::Referrers {
        evidence.same_layers = lookalikes(target, &evidence, registries).await;
    }
    Ok(evidence)
}

/// Before anything is looked at.
fn nothing(now: Timestamp) -> Evidence {
    Evidence {
        attestations: Vec::new(),
        discarded: Vec::new(),
        remarks: Vec::new(),
        history: Vec::new(),
        unjudged: Vec::new(),
        control: Control::not_looked_at(),
        same_layers: Vec::new(),
        ledger: TreeHead::empty(),
        now,
    }
}

/// What the ledger says of an image, both lanes at their newest checkpoint; nothing that lies anywhere is looked at yet.
///
/// # Errors
/// [`CollectError::Ledger`] when the ledger cannot be read.
pub fn remember(
    target: &Target<'_>,
    ledger: &Ledger,
    trust: &Trust,
    now: Timestamp,
) -> Result<Evidence, CollectError> {
    let mut evidence = nothing(now);
    recall(&mut evidence, target, ledger, trust, now)?;
    Ok(evidence)
}

/// What lies in registries and files. A ledger that was read before is to be read again ([`recall`]): who decides by what it
/// said then does not see what was revoked or frozen since.
///
/// # Errors
/// [`CollectError`] when the registry cannot be read; that is never "no evidence".
pub async fn look_at(
    target: &Target<'_>,
    (registries, reading): (&Registries, &Reading),
    files: &Files,
    trust: &Trust,
    look: Look,
) -> Result<Attached, CollectError> {
    let places = (registries, reading, target.service().evidence_store());
    attached_or_stored(target.image(), target.closure(), places, files, trust, look).await
}

/// Puts what [`look_at`] found in the place of what was found before.
pub fn found(evidence: &mut Evidence, target: &Target<'_>, attached: Attached) {
    (evidence.attestations, evidence.discarded, evidence.remarks) = attached.evidence(target.closure());
}

/// Reads the ledger part again, both lanes at their newest checkpoint: the second look, after the intent is durable.
///
/// # Errors
/// [`CollectError::Ledger`] when the ledger cannot be read.
pub fn recall(
    evidence: &mut Evidence,
    target: &Target<'_>,
    ledger: &Ledger,
    trust: &Trust,
    now: Timestamp,
) -> Result<(), CollectError> {
    let at = ledger.tip()?;
    let cosigned = ledger.cosigned(Lane::Control)?;
    let lane = ledger.control()?;
    (evidence.history, evidence.unjudged) = past(ledger, &at, &lane, at.size(), trust, target)?;
    let freshness = ledger.freshness(cosigned.as_ref(), &lane, now)?;
    evidence.control = Control::read(&lane, trust).with_freshness(freshness);
    let in_force = in_force(target.policy(), target.service().name(), &evidence.control);
    let taken = |who: &Identity| in_force.of_identity(target.environment().name(), who).is_some();
    ledger.require_seen_by_control(&lane, &evidence.control, taken)?;
    evidence.ledger = TreeHead { size: at.size(), root: at.root() };
    evidence.now = now;
    Ok(())
}

/// For the explanation: did something run before that differs from this image in its manifests alone (A7)?
async fn lookalikes(target: &Target<'_>, evidence: &Evidence, registries: &Registries) -> Vec<Digest> {
    let mut others = BTreeSet::new();
    let ran = |digest| {
        evidence
            .history
            .iter()
            .any(|record| record.deployment().is_some() && record.subjects().contain(digest))
    };
    if ran(target.image().digest) {
        return Vec::new();
    }
    for record in evidence.history.iter().rev() {
        let ran = record.deployment().is_some_and(|said| said.status == Status::Succeeded);
        let other = &record.subjects().image;
        // A record names any place its author likes: nobody is sent elsewhere than to the service's own.
        let own = target.policy().service_of(&other.repository);
        let own = own.is_some_and(|service| service.name() == target.service().name());
        if ran && own && other.digest != target.image().digest {
            others.insert(other.clone());
        }
    }
    let mut same = Vec::new();
    for other in others.into_iter().take(3) {
        // What cannot be read cannot be compared; nothing is decided by it.
        if let Ok(closure) = registries.closure(&other).await
            && same_layers(target.closure(), &closure)
        {
            same.push(other.digest);
        }
    }
    same
}

#[cfg(test)]
mod tests;
