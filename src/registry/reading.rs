//! One repository as it is read in one run: what was asked once is not asked again.
//!
//! Guarantees: a manifest or blob that comes out was hashed here when it came in, so that it does not matter when that
//! was; what refers to an image is what was listed the first time, so that a copy brings what the decision saw. Never
//! does: say what is there *now*; who wants to know that asks the repository itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::OnceCell;

use super::backend::Backend;
use super::http::fallback_tag;
use super::progress::Progress;
use super::wire::{Fetched, Listing, Supply, Which};
use super::{Found, Referrers, Registries, RegistryError, Suffix, legacy, supply};
use crate::digest::Digest;
use crate::reference::{Repository, Tag};

/// From as many tags on, that may not be there, the list of all tags is asked for first.
const MANY: usize = 4;

/// What was read of a repository; cheap to clone. Meant for one image: it forgets nothing.
#[derive(Clone)]
pub struct Reading {
    backend: Backend,
    progress: Arc<Progress>,
    read: Arc<Read>,
}

#[derive(Default)]
struct Read {
    manifests: Once<Digest, Option<Fetched>>,
    blobs: Once<Digest, Option<Bytes>>,
    listings: Once<Digest, Listing>,
    legacy: Once<(Digest, Suffix), Option<(Tag, Fetched)>>,
    tags: OnceCell<Option<BTreeSet<Tag>>>,
    /// What went wrong when a listing was asked for ahead: the answer to the first who asks.
    troubles: Mutex<BTreeMap<Digest, RegistryError>>,
}

/// Answers by question; two who ask at once wait for one answer. Trouble is no answer.
struct Once<K, V>(Mutex<BTreeMap<K, Arc<OnceCell<V>>>>);

impl<K, V> Default for Once<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord + Copy, V: Clone> Once<K, V> {
    async fn ask(
        &self,
        question: K,
        ask: impl Future<Output = Result<V, RegistryError>>,
    ) -> Result<V, RegistryError> {
        let cell = {
            let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(answers.entry(question).or_default())
        };
        cell.get_or_try_init(|| ask).await.cloned()
    }

    fn known(&self, question: &K) -> Option<V> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(question)?.get().cloned()
    }
}

impl Registries {
    /// Nothing of a repository is read yet.
    ///
    /// # Errors
    /// A host that is none, settings that cannot be used.
    pub fn reading(&self, repository: &Repository) -> Result<Reading, RegistryError> {
        Ok(Reading { backend: self.backend(repository)?, progress: self.progress(), read: Arc::default() })
    }
}

impl Reading {
    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.backend.repository
    }

    pub(super) fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Where copies from here say how far they are.
    pub(super) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// [`Registries::manifest`].
    ///
    /// # Errors
    /// Trouble only.
    pub async fn manifest(&self, digest: Digest) -> Result<Option<Found>, RegistryError> {
        Ok(self.fetched(digest).await?.map(Found::from))
    }

    pub(super) async fn fetched(&self, digest: Digest) -> Result<Option<Fetched>, RegistryError> {
        self.read.manifests.ask(digest, self.backend.manifest(Which::Digest(digest))).await
    }

    /// [`Registries::blob_bytes`].
    ///
    /// # Errors
    /// Trouble, wrong bytes, more bytes than `limit`.
    pub async fn blob_bytes(&self, digest: Digest, limit: u64) -> Result<Option<Bytes>, RegistryError> {
        self.read.blobs.ask(digest, self.backend.small_blob(digest, limit)).await
    }

    /// A blob that is to be sent: from memory where it was read before.
    pub(super) fn supply(&self, digest: Digest) -> Supply {
        match self.read.blobs.known(&digest).flatten() {
            Some(bytes) => supply(bytes),
            None => self.backend.supply(digest),
        }
    }

    /// [`Registries::referrers`].
    ///
    /// # Errors
    /// Trouble only; "none" and "cannot say" are answers.
    pub async fn referrers(&self, digest: Digest) -> Result<Referrers, RegistryError> {
        Ok(match self.listing(digest).await? {
            Listing::Unsupported => Referrers::Unsupported,
            Listing::Listed(descriptors) => Referrers::Listed(descriptors),
        })
    }

    pub(super) async fn listing(&self, digest: Digest) -> Result<Listing, RegistryError> {
        let listing = async {
            let trouble = self.troubles().remove(&digest);
            if let Some(trouble) = trouble {
                return Err(trouble);
            }
            // Without the API the question is one for a tag.
            if self.backend.has_referrers_api() == Some(false)
                && let Some(Some(tags)) = self.read.tags.get()
                && !fallback_tag(digest).parse().is_ok_and(|tag: Tag| tags.contains(&tag))
            {
                return Ok(Listing::Unsupported);
            }
            self.backend.referrers(digest).await
        };
        self.read.listings.ask(digest, listing).await
    }

    /// Asks what refers to a digest before anybody wants to know. Trouble is for whoever does.
    pub(super) async fn listing_ahead(&self, digest: Digest) {
        if let Err(trouble) = self.listing(digest).await {
            self.troubles().insert(digest, trouble);
        }
    }

    fn troubles(&self) -> MutexGuard<'_, BTreeMap<Digest, RegistryError>> {
        self.read.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// [`Registries::legacy`].
    ///
    /// # Errors
    /// Trouble only.
    pub async fn legacy(
        &self,
        digest: Digest,
        suffix: Suffix,
    ) -> Result<Option<(Tag, Found)>, RegistryError> {
        Ok(self.tagged(digest, suffix).await?.map(|(tag, fetched)| (tag, fetched.into())))
    }

    pub(super) async fn tagged(
        &self,
        digest: Digest,
        suffix: Suffix,
    ) -> Result<Option<(Tag, Fetched)>, RegistryError> {
        let look = async {
            if let Some(Some(tags)) = self.read.tags.get()
                && !suffix.tag(digest).is_ok_and(|tag| tags.contains(&tag))
            {
                return Ok(None);
            }
            Ok(legacy(&self.backend, digest, [suffix]).await?.into_iter().next())
        };
        self.read.legacy.ask((digest, suffix), look).await
    }

    /// Says that everything about these digests is going to be asked: where that is much, the list of all tags comes
    /// first, and what is not on it is not asked for.
    pub(super) async fn announce(&self, digests: &[Digest]) {
        let unknown = |digest: &Digest| {
            let tags = Suffix::ALL.into_iter();
            tags.filter(|suffix| self.read.legacy.known(&(*digest, *suffix)).is_none()).count()
        };
        let questions: usize = digests.iter().map(unknown).sum();
        if questions >= MANY {
            self.read.tags.get_or_init(|| self.backend.tags(questions.div_ceil(MANY))).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::super::http::tests::quick;
    use super::super::http::tests::registry::{Behaviour, Fake, INDEX, MANIFEST, Reply};
    use super::*;

    fn reading(fake: &Fake) -> Reading {
        let registries = Registries::new(quick(), std::env::temp_dir());
        registries.reading(&format!("{}/shop", fake.host()).parse().unwrap()).unwrap()
    }

    fn digest(text: &str) -> Digest {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn what_was_asked_once_is_not_asked_again() {
        let fake = Fake::start();
        let (one, blob) = (fake.seed_manifest("shop", MANIFEST, b"{}"), fake.seed_blob("shop", b"layer"));
        let (one, blob, none) = (digest(&one), digest(&blob), Digest::of(b"none"));
        let reading = reading(&fake);
        let same = reading.clone();
        for _ in 0..3 {
            // At once, too.
            let (first, second) = tokio::join!(reading.manifest(one), same.manifest(one));
            assert_eq!(first.unwrap(), second.unwrap());
            assert_eq!(reading.manifest(none).await.unwrap(), None);
            assert!(reading.blob_bytes(blob, 100).await.unwrap().is_some());
            assert_eq!(reading.referrers(one).await.unwrap(), Referrers::Listed(vec![]));
            assert_eq!(reading.legacy(one, Suffix::Sig).await.unwrap(), None);
        }
        assert_eq!(fake.log().len(), 5, "{:#?}", fake.log());
        // The bytes that were read come from memory, all others as a stream.
        let other = digest(&fake.seed_blob("shop", b"other"));
        for (wanted, bytes, asked) in [(blob, "layer", 5), (other, "other", 6)] {
            let chunks = reading.supply(wanted)(0).await.unwrap();
            let chunks: Vec<_> = chunks.map(Result::unwrap).collect().await;
            assert_eq!((chunks.concat(), fake.log().len()), (bytes.as_bytes().to_vec(), asked));
        }
    }

    #[tokio::test]
    async fn b11_trouble_is_no_answer_and_asked_again() {
        let fake = Fake::start();
        let one = digest(&fake.seed_manifest("shop", MANIFEST, b"{}"));
        let reading = reading(&fake);
        fake.on("GET", "", 4, Reply::error(403, "DENIED"));
        assert!(reading.manifest(one).await.is_err());
        assert!(reading.referrers(one).await.is_err());
        assert!(reading.legacy(one, Suffix::Sig).await.is_err());
        assert!(reading.blob_bytes(one, 100).await.is_err());
        assert!(reading.manifest(one).await.unwrap().is_some());
        assert_eq!(reading.referrers(one).await.unwrap(), Referrers::Listed(vec![]));
        assert_eq!(reading.legacy(one, Suffix::Sig).await.unwrap(), None);
    }

    #[tokio::test]
    async fn b11_what_went_wrong_ahead_is_told_once_and_not_asked_again() {
        let fake = Fake::start();
        let one = digest(&fake.seed_manifest("shop", MANIFEST, b"{}"));
        let reading = reading(&fake);
        fake.on("GET", "", 1, Reply::error(403, "DENIED"));
        reading.listing_ahead(one).await;
        assert!(reading.referrers(one).await.is_err());
        assert_eq!(fake.log().len(), 1);
        assert_eq!(reading.referrers(one).await.unwrap(), Referrers::Listed(vec![]));
        assert_eq!(fake.log().len(), 2);
        reading.listing_ahead(one).await;
        assert_eq!(fake.log().len(), 2, "it is known");
    }

    /// Four questions or more about tags are one about all of them; and the answers are the same.
    #[tokio::test]
    async fn many_tags_are_one_question() {
        for listed in [true, false] {
            let fake = Fake::with(Behaviour { referrers_api: false, ..Behaviour::default() });
            let (one, two) = (fake.seed_manifest("shop", MANIFEST, b"{}"), Digest::of(b"two"));
            let one = digest(&one);
            fake.tag("shop", &format!("sha256-{}.att", one.hex()), &one.to_string());
            let index = fake.seed_manifest("shop", INDEX, br#"{"schemaVersion":2,"manifests":[]}"#);
            fake.tag("shop", &format!("sha256-{}", one.hex()), &index);
            if !listed {
                fake.on("GET", "/tags/list", usize::MAX, Reply::status(404));
            }
            let reading = reading(&fake);
            reading.announce(&[one]).await;
            assert_eq!(fake.log().len(), 0, "three are few");
            reading.announce(&[one, two]).await;
            assert_eq!(reading.listing(one).await.unwrap(), Listing::Listed(vec![]));
            assert_eq!(reading.listing(two).await.unwrap(), Listing::Unsupported);
            for suffix in Suffix::ALL {
                let found = reading.legacy(one, suffix).await.unwrap();
                assert_eq!(found.map(|(_, found)| found.digest), (suffix == Suffix::Att).then_some(one));
                assert_eq!(reading.legacy(two, suffix).await.unwrap(), None);
            }
            // The list, the API, and two tags that are there; or each by itself.
            assert_eq!(fake.log().len(), if listed { 4 } else { 10 }, "{:#?}", fake.log());
        }
    }
}
