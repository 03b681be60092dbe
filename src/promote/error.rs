//! Why the walk ends without an answer. Each says what is recorded by then, and what to do.

use super::publish::TAG_ATTEMPTS;
use crate::collect::CollectError;
use crate::digest::Digest;
use crate::evidence::TargetError;
use crate::ledger::LedgerError;
use crate::ledger::protocol::ProtocolError;
use crate::policy::ServiceName;
use crate::record::DraftError;
use crate::reference::{Image, Repository, Tag};
use crate::registry::{CopyError, RegistryError};

/// Why the walk ended without an answer.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The image could not be resolved or read.
    #[error("the image could not be read")]
    Registry(#[source] Box<RegistryError>),
    /// The repository belongs to no service, or to several, and none was named.
    #[error(
        "{repository} belongs to no service of the policy: expected one of its repositories, or `--service`"
    )]
    NoService {
        /// The repository.
        repository: Repository,
    },
    /// The question cannot be asked.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The evidence could not be read.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// A step of the protocol did not happen.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The ledger.
    #[error("the ledger could not be read")]
    Ledger(#[from] LedgerError),
    /// The bytes did not arrive; the intent stays open for the next run of the same command.
    #[error(
        "the copy to {destination} did not complete; intent {intent} stays open, run the same command again"
    )]
    Copy {
        /// Where they were going.
        destination: Image,
        /// The intent.
        intent: u64,
        /// Why.
        source: Box<CopyError>,
    },
    /// Evidence that the decision relies on is not where the image is now.
    #[error(
        "the evidence {evidence} on {on}, which the decision relies on, is not at {destination} after the copy; intent \
         {intent} stays open, run the same command again"
    )]
    Evidence {
        /// Where it should be.
        destination: Box<Image>,
        /// The intent.
        intent: u64,
        /// The evidence.
        evidence: Digest,
        /// The manifest it was found on.
        on: Digest,
        /// The tag of cosign's under which it should be, where that holds something else there.
        kept: Option<Tag>,
    },
    /// What lies on the image at its destination could not be read after the copy.
    #[error(
        "what was copied to {destination} could not be verified there: nothing was promoted (intent {intent}), run the same \
         command again"
    )]
    ReadBack {
        /// Where it is.
        destination: Box<Image>,
        /// The intent.
        intent: u64,
        /// Why.
        source: Box<CollectError>,
    },
    /// The registry refuses what is attached to images, and the policy does not say where that may live instead.
    #[error(
        "{} takes the image and refuses what is attached to it, and the policy names no `evidence-store` for service \
         `{service}`: nothing was promoted, intent {intent} is closed", .destination.repository
    )]
    SubjectRefused {
        /// Where the image is now.
        destination: Box<Image>,
        /// The service.
        service: ServiceName,
        /// The intent.
        intent: u64,
        /// What was refused.
        source: Box<RegistryError>,
    },
    /// The promotion is recorded, and its record or tag is not yet at the destination.
    #[error(
        "the promotion is recorded ({commit}), but {image} is not published yet: run the same command again"
    )]
    Publish {
        /// The image.
        image: Image,
        /// The commit.
        commit: u64,
        /// Why.
        source: Box<RegistryError>,
    },
    /// What a revoker said is not understood here: nothing is derived from the ledger until it is.
    #[error("control record {index} by a revoker is not understood: {why}")]
    ControlUnknown {
        /// Its index.
        index: u64,
        /// Why.
        why: String,
    },
    /// An image was promoted, and revoked before its tag was set.
    #[error("{image} was promoted, and revoked since by control record {by}: no tag is set to it")]
    ImageRevoked {
        /// The image.
        image: Digest,
        /// The revocation.
        by: u64,
    },
    /// The permit could not be signed.
    #[error("{image} was promoted (record {commit}), and there is no permit for it")]
    Permit {
        /// The image.
        image: Box<Image>,
        /// Its commit.
        commit: u64,
        /// Why.
        source: DraftError,
    },
    /// The record could not be proved, so that there is nothing a permit could rest on.
    #[error(
        "{image} was promoted (record {commit}), and there is no permit for it: its record is not proved"
    )]
    Unproved {
        /// The image.
        image: Box<Image>,
        /// Its commit.
        commit: u64,
        /// Why.
        source: Box<LedgerError>,
    },
    /// The witnesses that the lock asks for did not cosign a checkpoint that has the record.
    #[error(
        "{image} was promoted (record {commit}), and there is no permit for it: the lock asks for witnesses, and there \
         is no cosignature by {}{}", missing.join(", "), why.iter().map(|why| format!("; {why}")).collect::<String>()
    )]
    Uncosigned {
        /// The image.
        image: Box<Image>,
        /// Its commit.
        commit: u64,
        /// The names of the witnesses.
        missing: Vec<String>,
        /// What those said who were asked.
        why: Vec<String>,
    },
    /// The tag was overtaken every time it was set.
    #[error(
        "the tag `{tag}` in {repository} was overtaken {TAG_ATTEMPTS} times while it was being set: run the same \
         command again"
    )]
    TagContention {
        /// Where it is.
        repository: Repository,
        /// The tag.
        tag: Tag,
    },
}

impl From<RegistryError> for WalkError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(Box::new(error))
    }
}
