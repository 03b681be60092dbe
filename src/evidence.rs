//! What the gate decides on: everything that was collected, and nothing that was not proved.
//!
//! Guarantees: what can turn a no into a yes is here only as a value with one constructor: [`Verified`]
//! attestations, [`Record`]s shown to be in the log. What was rejected is kept for the explanation alone.
//! Never does: I/O, or judge.

mod kept;
mod raw;

use jiff::Timestamp;

use crate::closure::Closure;
use crate::digest::Digest;
use crate::policy::{Environment, Policy, Service, UnknownName};
use crate::record::{ControlRecord, NotRead, Record, Resource, TreeHead, Unjudged};
use crate::reference::{Image, Repository, Tag};
use crate::tlog::Whole;
use crate::verify::{Attestation, Author, Rejected, Trust, Verified};

pub use kept::Kept;
pub use raw::{DESCRIPTOR, DSSE_LAYER, Format, Raw, SIMPLE_SIGNING_LAYER, is_bundle};

/// What is asked: may this image of this service enter this environment?
#[derive(Clone, Debug)]
pub struct Target<'a> {
    policy: &'a Policy,
    service: &'a Service,
    environment: &'a Environment,
    image: Image,
    destination: &'a Repository,
    closure: &'a Closure,
    tag: Option<TagSeen>,
    requester: Option<Author>,
}

/// A tag and what it meant when it was resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagSeen {
    /// The tag.
    pub tag: Tag,
    /// What it meant.
    pub found: Digest,
    /// What the person who typed `repository:tag@digest` expected.
    pub expected: Option<Digest>,
}

/// Why a question cannot even be asked.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The service or environment is not in the policy.
    #[error(transparent)]
    Unknown(#[from] UnknownName),
    /// The environment has no repository for the service.
    #[error("`{environment}` has no repository for this service")]
    NoRepository {
        /// The environment.
        environment: String,
    },
    /// The closure is that of another image.
    #[error("the closure of {closure} was given for the image {image}")]
    Closure {
        /// The root of the closure.
        closure: Digest,
        /// The image asked about.
        image: Image,
    },
}

impl<'a> Target<'a> {
    /// A question about `image`, whose closure was recomputed, for a service and an environment of the policy.
    ///
    /// `requester` is the author that would sign the promotion; a `check` without a key has none.
    ///
    /// # Errors
    /// [`TargetError`] when a name is not in the policy or the closure is another image's.
    pub fn new(
        policy: &'a Policy,
        service: &str,
        environment: &str,
        image: Image,
        closure: &'a Closure,
        tag: Option<TagSeen>,
        requester: Option<Author>,
    ) -> Result<Self, TargetError> {
        let service = policy.find_service(service)?;
        let environment = policy.find_environment(environment)?;
        if closure.root() != image.digest {
            return Err(TargetError::Closure { closure: closure.root(), image });
        }
        let destination = environment
            .repository(service.name())
            .ok_or_else(|| TargetError::NoRepository { environment: environment.name().to_string() })?;
        Ok(Self { policy, service, environment, image, destination, closure, tag, requester })
    }

    /// The rules.
    pub fn policy(&self) -> &'a Policy {
        self.policy
    }

    /// What is promoted.
    pub fn service(&self) -> &'a Service {
        self.service
    }

    /// Where it would enter.
    pub fn environment(&self) -> &'a Environment {
        self.environment
    }

    /// The image as it was named, pinned.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Its closure.
    pub fn closure(&self) -> &'a Closure {
        self.closure
    }

    /// The tag it was named by, if it was.
    pub fn tag(&self) -> Option<&TagSeen> {
        self.tag.as_ref()
    }

    /// Who asks, if known.
    pub fn requester(&self) -> Option<&Author> {
        self.requester.as_ref()
    }

    /// Where it would lie: the same bytes in the environment's repository.
    pub fn destination(&self) -> Image {
        Image::new(self.destination.clone(), self.image.digest)
    }
}

/// An attestation and where it lay.
#[derive(Clone, Debug)]
pub struct Found {
    /// The manifest it was attached to.
    pub on: Digest,
    /// How it was found.
    pub source: Source,
    /// What was proved.
    pub attestation: Verified<Attestation>,
    /// The bytes it was proved from.
    pub raw: Raw,
}

impl Found {
    /// How a decision refers to it.
    pub fn resource(&self) -> Resource {
        Resource::new(self.attestation.predicate_type(), self.attestation.evidence())
    }

    /// How it refers to the layer that carried it, where a part of the proof lies there: see [`Raw::descriptor`].
    pub fn layer(&self) -> Option<Resource> {
        self.raw.descriptor().map(|bytes| Resource::new(DESCRIPTOR, Digest::of(bytes)))
    }
}

/// Something that looked like evidence and is none; for the explanation only.
#[derive(Clone, Debug)]
pub struct Discarded {
    /// The manifest it was attached to.
    pub on: Digest,
    /// How it was found.
    pub source: Source,
    /// Why it does not count.
    pub rejected: Rejected,
}

/// Where evidence lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A referrer (OCI distribution-spec v1.1).
    Referrer,
    /// A cosign `sha256-….sig` tag.
    SignatureTag,
    /// A cosign `sha256-….att` tag.
    AttestationTag,
    /// The evidence store that the policy names for the service.
    Store,
    /// A file on disk.
    File,
    /// A repository that whoever asks has named.
    Given,
    /// Kept in a ledger, with the record that relied on it.
    Ledger,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Referrer => "referrer",
            Self::SignatureTag => "signature-tag",
            Self::AttestationTag => "attestation-tag",
            Self::Store => "store",
            Self::File => "file",
            Self::Given => "given",
            Self::Ledger => "ledger",
        })
    }
}

/// The control lane: everything in it, read or not.
#[derive(Clone, Debug)]
pub struct Control {
    head: Option<TreeHead>,
    /// The root of every beginning of it, the empty one first.
    roots: Vec<Digest>,
    records: Vec<ControlRecord>,
    unread: Vec<NotRead>,
    freshness: Freshness,
}

/// How fresh the control lane is by its witnesses: without them nobody can tell whether there is a newer one (a frozen
/// log is valid, and hides what was revoked since).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// No witness is named.
    Unwitnessed,
    /// Not enough of them cosigned.
    Missed {
        /// Those whose cosignature is not there.
        missing: Vec<String>,
    },
    /// Enough of them did.
    Cosigned {
        /// At this time, by their clocks, they had seen nothing newer.
        at: Timestamp,
        /// The size of the lane that they had seen; what was read continues it.
        size: u64,
        /// Who.
        witnesses: Vec<String>,
    },
}

impl Control {
    /// Reads a lane that was shown to be whole.
    pub fn read(lane: &Whole, trust: &Trust) -> Self {
        Self::first(lane, TreeHead { size: lane.head().size(), root: lane.head().root() }, trust)
    }

    /// The same lane as it was when it had this head; `None` where it never had.
    pub fn read_at(lane: &Whole, head: TreeHead, trust: &Trust) -> Option<Self> {
        (lane.root_at(head.size) == Some(head.root)).then(|| Self::first(lane, head, trust))
    }

    fn first(lane: &Whole, head: TreeHead, trust: &Trust) -> Self {
        let roots = (0..=head.size).filter_map(|size| lane.root_at(size)).collect();
        let (records, unread) = (Vec::new(), Vec::new());
        let mut control =
            Self { head: Some(head), roots, records, unread, freshness: Freshness::Unwitnessed };
        for entry in lane.entries().iter().take_while(|entry| entry.index() < head.size) {
            match ControlRecord::read(entry, trust) {
                Ok(record) => control.records.push(record),
                Err(unread) => control.unread.push(*unread),
            }
        }
        control
    }

    /// The lane was not looked at: enough for questions about attestations alone, and never for a yes.
    pub fn not_looked_at() -> Self {
        let freshness = Freshness::Unwitnessed;
        Self { head: None, roots: Vec::new(), records: Vec::new(), unread: Vec::new(), freshness }
    }

    /// The same, with what its witnesses say.
    pub fn with_freshness(self, freshness: Freshness) -> Self {
        Self { freshness, ..self }
    }

    /// What its witnesses say.
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// The head of the lane; none where it was not looked at.
    pub fn head(&self) -> Option<TreeHead> {
        self.head
    }

    /// Whether this is a beginning of the lane: who names its root had seen every record in it.
    pub fn is_prefix(&self, head: TreeHead) -> bool {
        let root = usize::try_from(head.size).ok().and_then(|size| self.roots.get(size));
        root == Some(&head.root)
    }

    /// The records, oldest first.
    pub fn records(&self) -> &[ControlRecord] {
        &self.records
    }

    /// What lies there and is no record that is understood.
    pub fn unread(&self) -> &[NotRead] {
        &self.unread
    }
}

/// Everything collected about a target.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Attestations on the closure whose signature was checked.
    pub attestations: Vec<Found>,
    /// What was found there and does not count.
    pub discarded: Vec<Discarded>,
    /// What else was noticed on the way; for the explanation only.
    pub remarks: Vec<String>,
    /// The service's records in the target environment and in those before it, in log order.
    pub history: Vec<Record>,
    /// What says that it is one of them, under a certificate that nobody here can judge.
    pub unjudged: Vec<Unjudged>,
    /// What was revoked: the control lane of the ledger, whole.
    pub control: Control,
    /// Images that ran before and have the same layers under other manifests; for the explanation only (A7).
    pub same_layers: Vec<Digest>,
    /// The log these records were shown to be in.
    pub ledger: TreeHead,
    /// The gate's clock when collection ended.
    pub now: Timestamp,
}
