//! The state machine that turns fetched bytes into a [`Closure`].

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::document::{Content, config_platform};
use super::{Closure, ClosureError, Descriptor, Document, Limits, Manifest, Platform, Role};
use crate::digest::Digest;

/// How buildx marks what it attaches to an index (docs.docker.com, "Image attestation storage").
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const ATTESTATION: &str = "attestation-manifest";

/// Which kind of content is wanted, since registries keep them at different places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A manifest or an index.
    Manifest,
    /// An image configuration, whose `os` and `architecture` are needed.
    Config,
}

/// One document to fetch next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes, as its descriptor says; none for the root.
    pub size: Option<u64>,
    /// Its media type, as its descriptor says; none for the root.
    pub media_type: Option<String>,
    /// Where it is kept.
    pub what: What,
}

/// How an index lists a manifest (or: the root, listed by nobody).
#[derive(Clone, Debug)]
struct Edge {
    digest: Digest,
    platform: Option<Platform>,
    attachment: bool,
}

struct Pending {
    wanted: Wanted,
    /// How many indexes lie around it.
    depth: usize,
}

struct Node {
    document: Document,
    bytes: Bytes,
}

/// Collects an image document by document, in any order that [`Builder::wants`] allows.
pub struct Builder {
    root: Digest,
    limits: Limits,
    pending: BTreeMap<Digest, Pending>,
    nodes: BTreeMap<Digest, Node>,
    /// Image configurations that decide a platform: wanted (`None`) or read.
    configs: BTreeMap<Digest, (Descriptor, Option<(Platform, Bytes)>)>,
    /// Manifests that somebody lists without a platform.
    unplaced: BTreeSet<Digest>,
    edges: usize,
    blobs: usize,
    bytes: u64,
}

impl Builder {
    /// Starts with the root alone.
    pub fn new(root: Digest, limits: Limits) -> Self {
        let wanted = Wanted { digest: root, size: None, media_type: None, what: What::Manifest };
        Self {
            root,
            limits,
            pending: BTreeMap::from([(root, Pending { wanted, depth: 0 })]),
            nodes: BTreeMap::new(),
            configs: BTreeMap::new(),
            unplaced: BTreeSet::from([root]),
            edges: 0,
            blobs: 0,
            bytes: 0,
        }
    }

    /// The largest document that will be read, in bytes: nothing longer needs to be fetched.
    pub fn document_limit(&self) -> u64 {
        self.limits.manifest_bytes
    }

    /// What to fetch next; empty when the closure is complete.
    pub fn wants(&self) -> Vec<Wanted> {
        let configs = self.configs.values().filter(|(_, platform)| platform.is_none());
        let configs = configs.map(|(config, _)| Wanted {
            digest: config.digest,
            size: Some(config.size),
            media_type: Some(config.media_type.clone()),
            what: What::Config,
        });
        self.pending.values().map(|pending| pending.wanted.clone()).chain(configs).collect()
    }

    /// Takes the bytes of one document that was wanted; `media_type` is the `Content-Type` they came with.
    ///
    /// # Errors
    /// [`ClosureError`]: wrong bytes, a document that is malformed or ambiguous, a limit. The builder then stays
    /// incomplete.
    pub fn feed(
        &mut self,
        digest: Digest,
        media_type: Option<&str>,
        bytes: Bytes,
    ) -> Result<(), ClosureError> {
        // 1. The bytes are the ones that were asked for.
        let found = Digest::of(&bytes);
        if found != digest {
            return Err(ClosureError::DigestMismatch { wanted: digest, found });
        }
        let length = bytes.len() as u64;
        if length > self.limits.manifest_bytes {
            return Err(ClosureError::TooLarge { digest, found: length, limit: self.limits.manifest_bytes });
        }
        let total = self.bytes.saturating_add(length);
        if total > self.limits.total_bytes {
            let limit = self.limits.total_bytes;
            return Err(ClosureError::TooLargeTogether { root: self.root, found: total, limit });
        }
        // 2. Somebody asked for them, and said how many there are.
        let size = |expected: Option<u64>| match expected {
            Some(expected) if expected != length => {
                Err(ClosureError::SizeMismatch { digest, expected, found: length })
            }
            Some(_) | None => Ok(()),
        };
        if let Some((config, platform @ None)) = self.configs.get_mut(&digest) {
            size(Some(config.size))?;
            *platform = Some((config_platform(&bytes)?, bytes));
            self.bytes = total;
            return Ok(());
        }
        let pending = self.pending.get(&digest).ok_or(ClosureError::NotWanted { digest })?;
        size(pending.wanted.size)?;
        // 3. They are a manifest or an index.
        let depth = pending.depth;
        let document = Document::read(&bytes, media_type, pending.wanted.media_type.as_deref())?;
        match &document.content {
            Content::Index(children) => {
                if depth >= self.limits.depth {
                    return Err(ClosureError::TooDeep { digest, limit: self.limits.depth });
                }
                self.edges = self.count("manifests", self.edges + children.len(), self.limits.manifests)?;
                for child in children {
                    self.list(child, depth + 1)?;
                }
            }
            Content::Manifest { config, layers } => {
                self.blobs = self.count("blobs", self.blobs + layers.len() + 1, self.limits.blobs)?;
                if digest == self.root && !config.is_image_config() {
                    let found = crate::digest::shorten(&config.media_type);
                    return Err(ClosureError::NotAnImage { digest, found });
                }
            }
        }
        self.bytes = total;
        self.pending.remove(&digest);
        self.nodes.insert(digest, Node { document, bytes });
        self.place(digest)
    }

    fn count(&self, what: &'static str, found: usize, limit: usize) -> Result<usize, ClosureError> {
        match found > limit {
            true => Err(ClosureError::TooMany { root: self.root, what, found, limit }),
            false => Ok(found),
        }
    }

    /// Takes note of a child of an index.
    fn list(&mut self, child: &Descriptor, depth: usize) -> Result<(), ClosureError> {
        let digest = child.digest;
        let edge = edge(child)?;
        if edge.platform.is_none() {
            self.unplaced.insert(digest);
        }
        // All descriptors of one digest must agree (a lie in one of them would otherwise depend on the order).
        let (size, media_type) = match (self.nodes.get(&digest), self.pending.get(&digest)) {
            (Some(node), _) => (Some(node.bytes.len() as u64), Some(node.document.media_type.clone())),
            (None, Some(pending)) => (pending.wanted.size, pending.wanted.media_type.clone()),
            (None, None) => {
                if self.configs.contains_key(&digest) {
                    return Err(two_roles(digest));
                }
                let wanted = Wanted {
                    digest,
                    size: Some(child.size),
                    media_type: Some(child.media_type.clone()),
                    what: What::Manifest,
                };
                self.pending.insert(digest, Pending { wanted, depth });
                return Ok(());
            }
        };
        if let Some(found) = size.filter(|size| *size != child.size) {
            return Err(ClosureError::SizeMismatch { digest, expected: child.size, found });
        }
        if let Some(found) = media_type.filter(|media_type| *media_type != child.media_type) {
            let by = "the descriptor that points to it";
            let expected = crate::digest::shorten(&child.media_type);
            return Err(ClosureError::MediaTypesDisagree { document: digest, by, expected, found });
        }
        self.place(digest)
    }

    /// Asks for the configuration of a manifest whose platform nobody says: a runtime reads it there too.
    fn place(&mut self, digest: Digest) -> Result<(), ClosureError> {
        let Some(Content::Manifest { config, .. }) =
            self.nodes.get(&digest).map(|node| &node.document.content)
        else {
            return Ok(());
        };
        if !self.unplaced.contains(&digest) || !config.is_image_config() {
            return Ok(());
        }
        if self.pending.contains_key(&config.digest) || self.nodes.contains_key(&config.digest) {
            return Err(two_roles(config.digest));
        }
        if config.size > self.limits.manifest_bytes {
            let limit = self.limits.manifest_bytes;
            return Err(ClosureError::TooLarge { digest: config.digest, found: config.size, limit });
        }
        let (known, _) = self.configs.entry(config.digest).or_insert_with(|| (config.as_ref().clone(), None));
        if known.size != config.size {
            let (expected, found) = (config.size, known.size);
            return Err(ClosureError::SizeMismatch { digest: config.digest, expected, found });
        }
        Ok(())
    }

    /// The closure, when nothing is wanted any more.
    ///
    /// # Errors
    /// [`ClosureError::Incomplete`]; a manifest with two roles; an image in which nothing can run.
    pub fn finish(self) -> Result<Closure, ClosureError> {
        let wants = self.wants();
        if let Some(first) = wants.first() {
            let (root, first) = (self.root, first.digest);
            return Err(ClosureError::Incomplete { root, first, count: wants.len() });
        }
        let mut walk =
            Walk { builder: &self, roles: BTreeMap::new(), order: Vec::new(), platforms: Vec::new() };
        walk.visit(&Edge { digest: self.root, platform: None, attachment: false })?;
        let Walk { mut roles, order, platforms, .. } = walk;
        if platforms.is_empty() {
            return Err(ClosureError::NoPlatform { root: self.root });
        }
        let manifest = |(digest, node): (Digest, Node)| {
            let role = roles.remove(&digest)?;
            let blobs = node.document.blobs();
            let Node { document, bytes } = node;
            Some((digest, Manifest { digest, media_type: document.media_type, role, bytes, blobs }))
        };
        let manifests = self.nodes.into_iter().filter_map(manifest).collect();
        let configs = self.configs.into_values().filter_map(|(_, read)| Some(read?.1)).collect();
        Ok(Closure { root: self.root, manifests, order, platforms, configs })
    }
}

/// The depth-first walk over the finished documents. No cycle is possible (it would be a collision of SHA-256),
/// and each document is entered once.
struct Walk<'a> {
    builder: &'a Builder,
    roles: BTreeMap<Digest, Role>,
    order: Vec<Digest>,
    platforms: Vec<(Digest, Platform)>,
}

impl Walk<'_> {
    fn visit(&mut self, edge: &Edge) -> Result<(), ClosureError> {
        let digest = edge.digest;
        let incomplete = ClosureError::Incomplete { root: self.builder.root, first: digest, count: 1 };
        let node = self.builder.nodes.get(&digest).ok_or(incomplete)?;
        let role = match &node.document.content {
            Content::Index(_) if edge.attachment => return Err(ClosureError::AttachmentIsIndex { digest }),
            Content::Index(_) => Role::Index,
            Content::Manifest { config, .. } => {
                let said =
                    || self.builder.configs.get(&config.digest)?.1.as_ref().map(|(said, _)| said.clone());
                // An artifact without a platform: nothing that runs, but counted, since nobody says so. A runtime may
                // take its configuration at its word whatever the media type, so it is no attachment either.
                let stated = edge.platform.clone().or_else(said);
                let unknown = stated.as_ref().is_some_and(Platform::is_unknown);
                let platform = stated.unwrap_or_else(Platform::unknown);
                match edge.attachment {
                    true if unknown => Role::Attachment,
                    true => return Err(ClosureError::AttachmentRuns { digest, platform }),
                    false => Role::Platform(platform),
                }
            }
        };
        if let Role::Platform(platform) = &role {
            let place = (digest, platform.clone());
            if !self.platforms.contains(&place) {
                self.platforms.push(place);
            }
        }
        match (self.roles.get(&digest), &role) {
            (None, _) => {}
            (Some(Role::Attachment), Role::Platform(_)) | (Some(Role::Platform(_)), Role::Attachment) => {
                let (first, second) = ("an attestation manifest", "an image for a platform");
                return Err(ClosureError::TwoRoles { digest, first, second });
            }
            (Some(Role::Index | Role::Platform(_) | Role::Attachment), _) => return Ok(()),
        }
        self.roles.insert(digest, role);
        for child in node.document.children() {
            self.visit(&self::edge(child)?)?;
        }
        self.order.push(digest);
        Ok(())
    }
}

/// How an index lists this child. `unknown/unknown` with the annotation is an attestation; the annotation on a
/// real platform is a contradiction; without the annotation `unknown/unknown` stays a platform.
fn edge(child: &Descriptor) -> Result<Edge, ClosureError> {
    let attachment = child.annotations.get(REFERENCE_TYPE).is_some_and(|kind| kind == ATTESTATION);
    match &child.platform {
        Some(platform) if attachment && !platform.is_unknown() => {
            Err(ClosureError::AttachmentRuns { digest: child.digest, platform: platform.clone() })
        }
        platform => Ok(Edge { digest: child.digest, platform: platform.clone(), attachment }),
    }
}

fn two_roles(digest: Digest) -> ClosureError {
    ClosureError::TwoRoles { digest, first: "a manifest", second: "an image configuration" }
}
