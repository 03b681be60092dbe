//! What refers to an image at the source: listed, read, and put in the order in which it can be written.
//!
//! Guarantees: a listing is a claim, and only the manifest itself says what it refers to; nothing is left behind in
//! silence; what could be run is never among what is to be written.

use std::collections::BTreeSet;

use futures_util::future::{try_join, try_join_all};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Already, CopyError, Copying, Side};
use crate::closure::{ClosureError, Document};
use crate::digest::Digest;
use crate::reference::{Image, Tag};
use crate::registry::wire::{Fetched, Listing};
use crate::registry::{CONCURRENCY, RegistryError, Suffix};

/// How many steps of "refers to what refers to" are followed.
const DEPTH: usize = 4;
/// How many referrers of one image, and of its referrers, are copied.
const REFERRERS: usize = 1000;
/// How many bytes the manifests of all those referrers may have together.
const REFERRER_BYTES: u64 = 16 << 20;

/// A referrer found at the source, in the order in which referrers can be written.
pub(super) struct Referrer {
    pub(super) fetched: Fetched,
    pub(super) document: Document,
    /// Cosign's tag, for what is found by tag only.
    pub(super) tag: Option<Tag>,
}

/// What the source says refers to one digest.
struct Listed {
    unsupported: bool,
    /// Subject and referrer.
    claims: Vec<(Digest, Digest)>,
    tagged: Vec<Referrer>,
    /// What is under a tag of cosign's and is no manifest.
    malformed: Vec<Digest>,
}

/// What became of an entry of a listing.
enum Claim {
    True(Box<Referrer>),
    /// It refers to something else.
    False,
    /// It is not there.
    Dangling,
    /// It is no manifest or index: what it refers to is anybody's guess.
    Malformed,
}

/// What refers to the image, and what of it is not brought along.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) referrers: Vec<Referrer>,
    /// How many others the destination lists already.
    pub(super) present: usize,
    pub(super) unsupported: bool,
    pub(super) dangling: Vec<Digest>,
    pub(super) runnable: Vec<Digest>,
    pub(super) malformed: Vec<Digest>,
}

impl Copying {
    /// Looks up, at the source, everything that refers to any manifest of the image, and to that.
    pub(super) async fn plan(&self) -> Result<Plan, CopyError> {
        let mut plan = Plan::default();
        let mut seen: BTreeSet<Digest> = self.closure.manifests().map(|manifest| manifest.digest).collect();
        let mut subjects: Vec<Digest> = vec![self.closure.root()];
        subjects.extend(seen.iter().filter(|digest| **digest != self.closure.root()));
        let names = async {
            self.by_name(&subjects).await?;
            self.source.announce(&subjects).await;
            Ok(())
        };
        try_join(names, self.ask_for_the_api()).await?;
        let mut there = BTreeSet::new();
        let mut bytes = 0;
        for depth in 0.. {
            // 1. What the source lists for each subject.
            self.source.announce(&subjects).await;
            let listings = self.listings(subjects).await?;
            plan.unsupported |= listings.iter().any(|listed| listed.unsupported);
            plan.malformed.extend(listings.iter().flat_map(|listed| &listed.malformed));
            let found: usize = listings.iter().map(|listed| listed.claims.len() + listed.tagged.len()).sum();
            let (found, limit) = match depth < DEPTH {
                true => (plan.referrers.len() + found, REFERRERS),
                // Too deep: nothing may be there, since nothing is left behind in silence.
                false => (plan.referrers.len() + found, plan.referrers.len()),
            };
            if found > limit {
                return Err(self.too_many(found, limit));
            }
            // 2. What of it the destination lists too.
            if depth == 0 {
                there.clone_from(self.there().await?);
            }
            subjects = Vec::new();
            let (claims, tagged): (Vec<_>, Vec<_>) =
                listings.into_iter().map(|listed| (listed.claims, listed.tagged)).unzip();
            let present = self.present(&claims, &there).await?;
            for digest in present.iter().map(|(_, digest)| *digest).filter(|digest| seen.insert(*digest)) {
                plan.present += 1;
                there.insert(digest);
                subjects.push(digest);
            }
            // 3. The manifests themselves.
            let missing = claims.into_iter().flatten().filter(|claim| !present.contains(claim));
            let reads = missing.map(|(subject, digest)| self.referrer(subject, digest));
            let mut reads = stream::iter(reads).buffered(CONCURRENCY);
            let mut found: Vec<Referrer> = tagged.into_iter().flatten().collect();
            while let Some((digest, read)) = reads.try_next().await? {
                match read {
                    Claim::True(referrer) => {
                        bytes += referrer.fetched.bytes.len() as u64;
                        found.push(*referrer);
                    }
                    Claim::False => {}
                    Claim::Dangling => plan.dangling.push(digest),
                    Claim::Malformed => plan.malformed.push(digest),
                }
                if bytes > REFERRER_BYTES {
                    let (root, limit) = (self.closure.root(), REFERRER_BYTES);
                    return Err(self.wrong(ClosureError::TooLargeTogether { root, found: bytes, limit }));
                }
            }
            // 4. They may be referred to themselves. One found by listing and by tag is written both ways.
            for referrer in found {
                let new = seen.insert(referrer.fetched.digest);
                if referrer.document.can_run() {
                    if new {
                        plan.runnable.push(referrer.fetched.digest);
                    }
                    continue;
                }
                if new {
                    subjects.push(referrer.fetched.digest);
                }
                if new || referrer.tag.is_some() {
                    plan.referrers.push(referrer);
                }
            }
            if subjects.is_empty() {
                break;
            }
        }
        Ok(plan)
    }

    /// Subjects and referrers of them that the destination lists already, where what it lists is believed to be whole.
    async fn present(
        &self,
        claims: &[Vec<(Digest, Digest)>],
        there: &BTreeSet<Digest>,
    ) -> Result<BTreeSet<(Digest, Digest)>, CopyError> {
        if !self.believes_manifests() {
            return Ok(BTreeSet::new());
        }
        let asked = claims.iter().filter(|of_one| of_one.first().is_some_and(|(it, _)| there.contains(it)));
        let mut looks = asked.map(|of_one| self.listed_there(of_one));
        let mut listed = BTreeSet::new();
        if self.destination.has_referrers_api().is_none()
            && let Some(first) = looks.next()
        {
            listed.extend(first.await?);
        }
        let looks: Vec<_> = looks.collect();
        let rest: Vec<_> = stream::iter(looks).buffered(CONCURRENCY).try_collect().await?;
        listed.extend(rest.into_iter().flatten());
        Ok(listed)
    }

    /// Those of the referrers of one subject that the destination lists for it.
    async fn listed_there(&self, claims: &[(Digest, Digest)]) -> Result<Vec<(Digest, Digest)>, CopyError> {
        let at = self.at(Side::Destination);
        let Some((subject, _)) = claims.first() else { return Ok(Vec::new()) };
        let listed = match self.destination.referrers(*subject).await.map_err(&at)? {
            Listing::Listed(listed) => listed,
            Listing::Unsupported => Vec::new(),
        };
        let listed: BTreeSet<Digest> = listed.into_iter().map(|descriptor| descriptor.digest).collect();
        let both: Vec<_> = claims.iter().copied().filter(|(_, digest)| listed.contains(digest)).collect();
        if self.destination.has_referrers_api() == Some(true) {
            return Ok(both);
        }
        // A fallback tag may list what is gone.
        let looks = both.into_iter().map(|claim| async move {
            Ok::<_, RegistryError>(self.destination.has_manifest(claim.1).await?.then_some(claim))
        });
        let found: Vec<_> = stream::iter(looks).buffered(CONCURRENCY).try_collect().await.map_err(&at)?;
        Ok(found.into_iter().flatten().collect())
    }

    pub(super) fn wrong(&self, source: ClosureError) -> CopyError {
        let image = Image::new(self.source.repository().clone(), self.closure.root()).to_string();
        self.at(Side::Source)(RegistryError::Image { image, source: Box::new(source) })
    }

    fn too_many(&self, found: usize, limit: usize) -> CopyError {
        self.wrong(ClosureError::TooMany { root: self.closure.root(), what: "referrers", found, limit })
    }

    /// What cosign has put under tags of the image is asked for by name, before anything is taken from a list of all tags,
    /// which may be behind: in a promotion of every manifest of the image, else of its root.
    async fn by_name(&self, manifests: &[Digest]) -> Result<(), CopyError> {
        let count = if self.already == Already::Blobs { manifests.len() } else { 1 };
        let names = manifests.iter().take(count).flat_map(|digest| Suffix::EVIDENCE.map(|it| (*digest, it)));
        let asked = names.map(|(digest, suffix)| self.source.tagged(digest, suffix));
        let asked: Vec<_> = asked.collect();
        let asked = stream::iter(asked).buffer_unordered(CONCURRENCY).try_for_each(|_| async { Ok(()) });
        asked.await.map_err(self.at(Side::Source))
    }

    /// The first answer says whether there is an API: the others need not find out as well. It is kept.
    async fn ask_for_the_api(&self) -> Result<(), CopyError> {
        if self.source.backend().has_referrers_api().is_none() {
            self.source.listing(self.closure.root()).await.map_err(self.at(Side::Source))?;
        }
        Ok(())
    }

    async fn listings(&self, subjects: Vec<Digest>) -> Result<Vec<Listed>, CopyError> {
        let lookups = subjects.into_iter().map(|subject| self.listed(subject));
        stream::iter(lookups).buffered(CONCURRENCY).try_collect().await
    }

    /// What refers to one digest: by the referrers API, and by cosign's tags.
    async fn listed(&self, subject: Digest) -> Result<Listed, CopyError> {
        let at = self.at(Side::Source);
        let tags = Suffix::ALL.map(|suffix| self.source.tagged(subject, suffix));
        let (listing, tagged) =
            try_join(self.source.listing(subject), try_join_all(tags)).await.map_err(&at)?;
        let (unsupported, descriptors) = match listing {
            Listing::Unsupported => (true, Vec::new()),
            Listing::Listed(descriptors) => (false, descriptors),
        };
        let claims = descriptors.into_iter().map(|descriptor| (subject, descriptor.digest)).collect();
        let (mut found, mut malformed) = (Vec::new(), Vec::new());
        for (tag, fetched) in tagged.into_iter().flatten() {
            match document(&fetched) {
                Some(document) => found.push(Referrer { fetched, document, tag: Some(tag) }),
                None => malformed.push(fetched.digest),
            }
        }
        Ok(Listed { unsupported, claims, tagged: found, malformed })
    }

    /// One manifest that is listed as a referrer. The listing is a claim: only the manifest itself says what it
    /// refers to.
    async fn referrer(&self, subject: Digest, digest: Digest) -> Result<(Digest, Claim), CopyError> {
        let at = self.at(Side::Source);
        let Some(fetched) = self.source.fetched(digest).await.map_err(&at)? else {
            return Ok((digest, Claim::Dangling));
        };
        let Some(document) = document(&fetched) else { return Ok((digest, Claim::Malformed)) };
        match document.subject.as_ref().is_some_and(|claimed| claimed.digest == subject) {
            true => Ok((digest, Claim::True(Box::new(Referrer { fetched, document, tag: None })))),
            false => Ok((digest, Claim::False)),
        }
    }
}

/// A manifest or index, if it is one: whoever may attach must not stop the copy of the image with what is none.
fn document(fetched: &Fetched) -> Option<Document> {
    Document::read(&fetched.bytes, Some(&fetched.media_type), None).ok()
}
