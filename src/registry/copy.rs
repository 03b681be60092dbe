//! Copying an image by digest, with everything that refers to it.
//!
//! Guarantees: the order of writes is blobs, manifests, indexes, root, and only then what refers to them, so that
//! whatever is at the destination is whole; each byte is hashed once, while it passes, and wrong bytes never
//! complete. Never does: tags, other than those of cosign which name their content; deleting; bringing along
//! what refers to the image and could itself be run.

mod along;
pub(super) mod archive;
mod plan;
mod read_back;
mod refused;
mod tagged;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::try_join;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;

use self::along::Brought;
use self::plan::{Plan, Referrer};
use super::backend::Backend;
use super::reading::Reading;
use super::wire::{Mounted, Supply, Which};
use super::{CONCURRENCY, RegistryError, put};
use crate::closure::{Closure, Descriptor, Manifest, Role};
use crate::digest::Digest;
use crate::reference::{Repository, Tag};

pub use self::refused::Stored;

/// Which of the two repositories the trouble was with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where the image comes from.
    Source,
    /// Where it goes to.
    Destination,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Destination => "destination",
        })
    }
}

/// Why a copy did not end, and on which side.
#[derive(Debug, thiserror::Error)]
#[error("{side} {repository}")]
pub struct CopyError {
    /// The side.
    pub side: Side,
    /// Its repository.
    pub repository: Repository,
    /// What happened there.
    pub source: Box<RegistryError>,
}

/// Says whose trouble it is.
pub(super) fn at(side: Side, repository: &Repository) -> impl Fn(RegistryError) -> CopyError + use<> {
    let repository = repository.clone();
    move |source| CopyError { side, repository: repository.clone(), source: Box::new(source) }
}

impl CopyError {
    /// What to do about it, for the `hint:` line.
    pub fn hint(&self) -> Option<String> {
        match &*self.source {
            RegistryError::SubjectRefused { .. } => Some(
                "name a registry that takes it, or leave it behind: samebits copy --no-referrers".to_owned(),
            ),
            other => other.hint(),
        }
    }

    /// Whether the same copy may well succeed a little later.
    pub fn is_transient(&self) -> bool {
        self.source.is_transient()
    }
}

/// What comes along with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Along {
    /// Everything that refers to it, to its manifests, and to that: what a promotion takes along.
    Referrers,
    /// Nothing.
    Nothing,
}

/// What is asked of an image that lies at the destination already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Already {
    /// Its manifests and what refers to them: who wrote a manifest had written what it lists.
    Manifests,
    /// Every blob too, whoever wrote its manifest: what a promotion says of its image (attack A12).
    Blobs,
}

/// What a copy did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyReport {
    /// Manifests and indexes of the image.
    pub manifests: usize,
    /// Those of them that were there, with everything they list.
    pub manifests_present: usize,
    /// Blobs sent, of the image and of its referrers.
    pub blobs_copied: usize,
    /// Blobs that the registry took from the source repository by itself.
    pub blobs_mounted: usize,
    /// Blobs that were there.
    pub blobs_present: usize,
    /// Foreign layers, which neither side has to keep.
    pub blobs_foreign: usize,
    /// Bytes of the blobs sent.
    pub bytes_copied: u64,
    /// Referrers at the destination, those under cosign's tags included.
    pub referrers: usize,
    /// The source has no referrers API and, for a manifest of the image or more, no fallback tag: of what refers to
    /// those only cosign's tags were looked at.
    pub referrers_unsupported: bool,
    /// What the source lists as a referrer and does not have.
    pub referrers_dangling: Vec<Digest>,
    /// What refers to the image and can run, or be looked into by what runs images: no evidence, and not decided
    /// upon, so it stays where it is.
    pub referrers_runnable: Vec<Digest>,
    /// What refers to the image, or lies under a tag of cosign's, and is no manifest: left behind, whatever it is.
    pub referrers_malformed: Vec<Digest>,
    /// Whether the destination took something that refers to a manifest.
    pub took_subject: bool,
    /// What the destination refused and the evidence store took; none where it refused nothing.
    pub stored: Option<Stored>,
    /// Tags of cosign under which the destination had other evidence: theirs is there, and ours behind it.
    pub legacy_merged: Vec<Tag>,
    /// Tags of cosign that hold at the destination what ours cannot be put behind, and were left as they are.
    pub legacy_kept: Vec<Tag>,
}

/// One copy under way.
pub(super) struct Copying {
    source: Reading,
    destination: Backend,
    /// Where that goes which the destination refuses.
    store: Option<Backend>,
    closure: Closure,
    along: Along,
    already: Already,
    /// The manifests of the image that were there before.
    there: OnceCell<BTreeSet<Digest>>,
    /// How many blobs are sent at a time.
    turns: Semaphore,
    /// The blobs that the destination has acknowledged.
    done: Mutex<BTreeSet<(Digest, u64, bool)>>,
    copied: AtomicUsize,
    mounted: AtomicUsize,
    present: AtomicUsize,
    foreign: AtomicUsize,
    bytes: AtomicU64,
}

impl Copying {
    pub(super) fn new(
        source: &Reading,
        (destination, store): (Backend, Option<Backend>),
        closure: &Closure,
        (along, already): (Along, Already),
    ) -> Arc<Self> {
        Arc::new(Self {
            source: source.clone(),
            destination,
            store,
            closure: closure.clone(),
            along,
            already,
            there: OnceCell::new(),
            turns: Semaphore::new(CONCURRENCY),
            done: Mutex::default(),
            copied: AtomicUsize::new(0),
            mounted: AtomicUsize::new(0),
            present: AtomicUsize::new(0),
            foreign: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    fn at(&self, side: Side) -> impl Fn(RegistryError) -> CopyError + use<> {
        let repository = match side {
            Side::Source => self.source.repository(),
            Side::Destination => &self.destination.repository,
        };
        at(side, repository)
    }

    pub(super) async fn run(self: Arc<Self>) -> Result<CopyReport, CopyError> {
        // The image, and what it takes to bring what refers to it, at once; what refers to it comes when it is there, so that
        // nothing dangles.
        let (written, mut plan) = try_join(self.image(), self.prepared()).await?;
        // 5. What refers to it; the image is read back meanwhile.
        let referrers = self.referrers(std::mem::take(&mut plan.referrers));
        let (mut brought, ()) = try_join(referrers, self.read_image_back(written)).await?;
        self.read_referrers_back(&brought.written).await?;
        // 6. What the destination refuses is kept in the store.
        let took = brought.written.iter().any(|one| one.subject.is_some());
        let stored = self.store(std::mem::take(&mut brought.refused), took).await?;
        let mut report = self.report(plan, self.there().await?.len(), brought);
        let referrers: Vec<Digest> = stored.iter().map(|one| one.fetched.digest).collect();
        let store = self.store.as_ref().filter(|_| !referrers.is_empty());
        report.stored = store.map(|store| Stored { store: store.repository.clone(), referrers });
        Ok(report)
    }

    /// The image itself. Returns the manifests that were written.
    async fn image(self: &Arc<Self>) -> Result<Vec<Manifest>, CopyError> {
        // 1. What of it is there.
        let there = self.there().await?;
        // 2. Blobs.
        self.blobs(self.to_bring(there)).await?;
        // 3. Manifests, children before parents, the root last.
        self.manifests(there).await
    }

    /// What refers to the image, if that is to come along, and what it holds, which is brought.
    async fn prepared(self: &Arc<Self>) -> Result<Plan, CopyError> {
        match self.along {
            Along::Nothing => Ok(Plan::default()),
            Along::Referrers => {
                // 4. What there is, and contents.
                let plan = self.plan().await?;
                self.blobs(contents(&plan.referrers)).await?;
                Ok(plan)
            }
        }
    }

    /// The manifests of the image that the destination has, read there, once. Where it has not the root, nothing else of
    /// it is asked for: it is written last.
    async fn there(&self) -> Result<&BTreeSet<Digest>, CopyError> {
        self.there.get_or_try_init(|| self.look_there()).await
    }

    async fn look_there(&self) -> Result<BTreeSet<Digest>, CopyError> {
        // In a layout a file may lie there and be listed nowhere: to write it again costs nothing.
        if self.destination.is_layout() {
            return Ok(BTreeSet::new());
        }
        let is_root = |manifest: &&Manifest| manifest.digest == self.closure.root();
        let (root, others): (Vec<_>, Vec<_>) = self.closure.manifests().partition(is_root);
        let mut there = BTreeSet::new();
        for manifests in [root, others] {
            let looks: Vec<_> =
                manifests.into_iter().map(|manifest| self.is_there(manifest.clone())).collect();
            let found: Vec<_> = stream::iter(looks).buffered(CONCURRENCY).try_collect().await?;
            there.extend(found.into_iter().flatten());
            if there.is_empty() {
                break;
            }
        }
        Ok(there)
    }

    async fn is_there(&self, manifest: Manifest) -> Result<Option<Digest>, CopyError> {
        let Manifest { digest, media_type, .. } = manifest;
        let found = self.destination.manifest(Which::Digest(digest)).await;
        let found = found.map_err(self.at(Side::Destination))?;
        // Under another media type it is another document: written again, and read back.
        Ok(found.is_some_and(|found| found.media_type == media_type).then_some(digest))
    }

    /// The blobs that the destination may not have.
    fn to_bring(&self, there: &BTreeSet<Digest>) -> Vec<Descriptor> {
        let believed = |manifest: &&Manifest| self.believes_manifests() && there.contains(&manifest.digest);
        let brought: BTreeSet<Digest> = self
            .closure
            .manifests()
            .filter(|manifest| !believed(manifest))
            .flat_map(|manifest| manifest.blobs.iter().map(|blob| blob.digest))
            .collect();
        let blobs = self.closure.blobs().into_iter();
        blobs.filter(|blob| brought.contains(&blob.digest)).cloned().collect()
    }

    /// Whether a manifest that is at the destination says that its blobs are. In a layout to look costs nothing.
    fn believes_manifests(&self) -> bool {
        self.already == Already::Manifests && !self.destination.is_layout()
    }

    /// What was done.
    fn report(&self, plan: Plan, manifests_present: usize, brought: Brought) -> CopyReport {
        let Brought { written, present, merged, kept, .. } = brought;
        CopyReport {
            manifests: self.closure.manifests().count(),
            manifests_present,
            blobs_copied: self.copied.load(Ordering::Relaxed),
            blobs_mounted: self.mounted.load(Ordering::Relaxed),
            blobs_present: self.present.load(Ordering::Relaxed),
            blobs_foreign: self.foreign.load(Ordering::Relaxed),
            bytes_copied: self.bytes.load(Ordering::Relaxed),
            referrers: written.len() + present + plan.present,
            referrers_unsupported: plan.unsupported,
            referrers_dangling: plan.dangling,
            referrers_runnable: plan.runnable,
            referrers_malformed: plan.malformed,
            took_subject: written.iter().any(|one| one.subject.is_some()),
            stored: None,
            legacy_merged: merged,
            legacy_kept: kept,
        }
    }

    /// Several blobs at a time, each in a task of its own: hashing is most of the work and uses every core.
    async fn blobs(self: &Arc<Self>, blobs: Vec<Descriptor>) -> Result<(), CopyError> {
        self.source.progress().expect(&blobs);
        let mut tasks = JoinSet::new();
        let mut queue = blobs.into_iter();
        loop {
            for blob in queue.by_ref().take(CONCURRENCY - tasks.len()) {
                let copying = Arc::clone(self);
                tasks.spawn(async move { copying.once(&blob).await });
            }
            // Leaving early drops the set, which ends what is still under way.
            match tasks.join_next().await {
                None => return Ok(()),
                Some(Ok(outcome)) => outcome?,
                Some(Err(ended)) => match ended.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime is shutting down: nobody waits for an answer.
                    Err(_) => std::future::pending().await,
                },
            }
        }
    }

    /// One blob, unless this copy has brought it already: every referrer has the same empty configuration.
    async fn once(&self, blob: &Descriptor) -> Result<(), CopyError> {
        if self.done().contains(&sent(blob)) {
            self.source.progress().present(blob);
            return Ok(());
        }
        self.blob(blob).await?;
        self.done().insert(sent(blob));
        Ok(())
    }

    fn done(&self) -> MutexGuard<'_, BTreeSet<(Digest, u64, bool)>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One blob: mounted, or there, or sent.
    async fn blob(&self, blob: &Descriptor) -> Result<(), CopyError> {
        let count = |counter: &AtomicUsize| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        let (source, progress) = (self.source.backend(), self.source.progress());
        if blob.is_foreign() && !source.has_blob(blob).await.map_err(self.at(Side::Source))? {
            count(&self.foreign);
            progress.present(blob);
            return Ok(());
        }
        // 1. In the same registry a mount is both the question and the copy.
        let mut session = None;
        if self.destination.repository != source.repository
            && self.destination.repository.shares_registry_with(&source.repository)
        {
            let mount = self.destination.mount_blob(source, blob.digest).await;
            match mount.map_err(self.at(Side::Destination))? {
                Mounted::Yes => {
                    count(&self.mounted);
                    progress.mounted(blob);
                    return Ok(());
                }
                Mounted::No(opened) => session = opened,
            }
        }
        // 2. Is it there? Some registries open an upload for every mount, whatever they have.
        if self.destination.holds_blob(blob).await.map_err(self.at(Side::Destination))? {
            count(&self.present);
            progress.present(blob);
            return Ok(());
        }
        // 3. Sent, hashed on the way, when it is its turn: the image and what refers to it come at the same time. Whose
        // trouble it was is known to whoever read the bytes.
        let _turn = self.turns.acquire().await;
        let broken = Arc::new(AtomicBool::new(false));
        let (noticed, sending) = (Arc::clone(&broken), Arc::new(progress.begin()));
        let source = self.source.supply(blob.digest);
        let supply: Supply = Box::new(move |from| {
            let (opening, noticed, sending) = (source(from), Arc::clone(&noticed), Arc::clone(&sending));
            sending.from(from);
            async move {
                let broken = |_: &RegistryError| noticed.store(true, Ordering::Relaxed);
                let chunks = opening.await.inspect_err(broken)?;
                let noticed = Arc::clone(&noticed);
                let chunks = chunks.inspect_ok(move |chunk| sending.pass(chunk.len()));
                Ok(chunks.inspect_err(move |_| noticed.store(true, Ordering::Relaxed)).boxed())
            }
            .boxed()
        });
        let sent = self.destination.put_blob(blob.digest, blob.size, supply, session).await;
        sent.map_err(|error| match error {
            RegistryError::UploadSource { source, .. } => self.at(Side::Source)(*source),
            // What came is not what the manifest says.
            error @ RegistryError::Size { .. } => self.at(Side::Source)(error),
            // A layout hands on what the source says.
            error if self.destination.is_layout() && broken.load(Ordering::Relaxed) => {
                self.at(Side::Source)(error)
            }
            error => self.at(Side::Destination)(error),
        })?;
        count(&self.copied);
        self.bytes.fetch_add(blob.size, Ordering::Relaxed);
        Ok(())
    }

    /// The manifests of the image that are not there. Platform manifests do not depend on one another; indexes do.
    /// Returns those that were written.
    async fn manifests(&self, there: &BTreeSet<Digest>) -> Result<Vec<Manifest>, CopyError> {
        let write = |manifest: Manifest| async move {
            let Manifest { digest, media_type, bytes, .. } = &manifest;
            put(&self.destination, Which::Digest(*digest), media_type, bytes.clone())
                .await
                .map_err(self.at(Side::Destination))?;
            Ok::<_, CopyError>(manifest)
        };
        let missing = self.closure.manifests().filter(|manifest| !there.contains(&manifest.digest)).cloned();
        let (indexes, leaves): (Vec<_>, Vec<_>) = missing.partition(|manifest| manifest.role == Role::Index);
        let leaves = stream::iter(leaves.into_iter().map(write)).buffer_unordered(CONCURRENCY);
        let mut written: Vec<Manifest> = leaves.try_collect().await?;
        for index in indexes {
            written.push(write(index).await?);
        }
        Ok(written)
    }
}

/// What these referrers hold, each once. What lies under a tag of cosign's may have to be put behind what lies there.
fn contents(referrers: &[Referrer]) -> Vec<Descriptor> {
    let mut seen = BTreeSet::new();
    let untagged = referrers.iter().filter(|referrer| referrer.tag.is_none());
    untagged.flat_map(|it| it.document.blobs()).filter(|blob| seen.insert(sent(blob))).collect()
}

/// What makes a blob the same to a copy: one that may be left out is not one that has to be there.
fn sent(blob: &Descriptor) -> (Digest, u64, bool) {
    (blob.digest, blob.size, blob.is_foreign())
}
