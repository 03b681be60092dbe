//! What refers to the image, written at the destination.
//!
//! Guarantees: a subject is there before what refers to it, and what a referrer holds before the referrer; each fallback tag
//! is written once for all that do not wait for one another. Never does: write over evidence of others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::try_join;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::plan::Referrer;
use super::read_back::Written;
use super::refused::Refused;
use super::{CopyError, Copying, Side, merge, sent};
use crate::closure::{Content, Descriptor, Document};
use crate::digest::Digest;
use crate::reference::Tag;
use crate::registry::attach::{self, Answer};
use crate::registry::error::Refusal;
use crate::registry::wire::{Fetched, Which};
use crate::registry::{CONCURRENCY, RegistryError, write};

/// What became of the referrers that were to be brought.
#[derive(Default)]
pub(super) struct Brought {
    /// Those that are there now, and were asked for or written.
    pub(super) written: Vec<Written>,
    /// How many were there with everything they list.
    pub(super) present: usize,
    /// Tags of cosign under which other evidence is there too.
    pub(super) merged: Vec<Tag>,
    /// Tags of cosign that hold something else there.
    pub(super) kept: Vec<Tag>,
    /// What the destination does not take.
    pub(super) refused: Refused,
}

impl Copying {
    /// Writes what refers to the image; a subject is there before what refers to it.
    pub(super) async fn referrers(self: &Arc<Self>, referrers: Vec<Referrer>) -> Result<Brought, CopyError> {
        let mut brought = Brought::default();
        for together in in_steps(referrers) {
            let together = brought.refused.without_theirs(together);
            self.together(together, &mut brought).await?;
        }
        Ok(brought)
    }

    /// [`Copying::referrers`] of those that do not wait for one another: each fallback tag is written once.
    async fn together(
        self: &Arc<Self>,
        referrers: Vec<Referrer>,
        brought: &mut Brought,
    ) -> Result<(), CopyError> {
        let at = self.at(Side::Destination);
        // 1. What is under cosign's tags there.
        let looks: Vec<_> = referrers.into_iter().map(|referrer| self.under_its_tag(referrer)).collect();
        let looks = stream::iter(looks).buffered(CONCURRENCY).try_collect::<Vec<_>>().await.map_err(&at)?;
        let (mut ours, theirs): (Vec<_>, Vec<_>) = looks
            .into_iter()
            .partition(|(referrer, there)| there.as_ref().is_none_or(|it| yields(it, referrer)));
        for (referrer, tag) in theirs.into_iter().filter_map(|(it, _)| it.tag.clone().map(|tag| (it, tag))) {
            match self.merge((&tag, &referrer)).await? {
                Some(both) => {
                    brought.written.push(both);
                    brought.merged.push(tag);
                }
                None => brought.kept.push(tag),
            }
        }
        let all = ours.len();
        if self.believes_manifests() {
            ours.retain(|(referrer, there)| {
                there.as_ref().is_none_or(|there| there.digest != referrer.fetched.digest)
            });
        }
        brought.present += all - ours.len();
        // 2. Contents that did not come with the image, each once.
        let mut seen = self.done().clone();
        let blobs = ours.iter().flat_map(|(referrer, _)| referrer.document.blobs());
        self.blobs(blobs.filter(|blob| seen.insert(sent(blob))).collect()).await?;
        // 3. The referrers.
        let writes: Vec<_> = ours.into_iter().map(|(referrer, there)| self.write(referrer, there)).collect();
        let answers: Vec<_> = stream::iter(writes).buffered(CONCURRENCY).try_collect().await.map_err(&at)?;
        // 4. Fallback tags, for those that the registry does not say it lists. Only now: how long to wait for other writers is
        // told by how long they take, and that by what else it has to do.
        let unlisted = answers.iter().filter_map(|(_, answer)| answer.as_ref().ok()?.clone());
        self.list(unlisted.collect()).await.map_err(&at)?;
        for (referrer, answer) in answers {
            match answer {
                Ok(one) => {
                    brought.written.push(Written { listed: one.is_some(), ..Written::of(&referrer) });
                }
                Err(why) => brought.refused.add(referrer, Some(why)),
            }
        }
        Ok(())
    }

    /// Lists referrers under the fallback tags of their subjects. Whether readers ask for these here is found out meanwhile.
    async fn list(&self, unlisted: Vec<(Digest, Descriptor)>) -> Result<(), RegistryError> {
        let first = unlisted.first().map(|(subject, _)| *subject);
        let probe = async {
            if let Some(subject) = first
                && self.destination.has_referrers_api().is_none()
            {
                self.destination.listed_by_api(subject).await?;
            }
            Ok(())
        };
        try_join(attach::list(&self.destination, unlisted.into_iter()), probe).await?;
        Ok(())
    }

    /// One referrer, unless it is there; and what a fallback tag has to list of it, or that the destination refuses it.
    async fn write(
        &self,
        referrer: Referrer,
        there: Option<Fetched>,
    ) -> Result<(Referrer, Answer), RegistryError> {
        let Fetched { digest, media_type, bytes } = &referrer.fetched;
        if there.is_some_and(|there| there.digest == *digest) {
            return Ok((referrer, Ok(None)));
        }
        let which = referrer.tag.as_ref().map_or(Which::Digest(*digest), Which::Tag);
        let answer = match write(&self.destination, which, media_type, bytes.clone()).await {
            Ok(unlisted) => Ok(unlisted),
            Err(error) if referrer.tag.is_none() => Err(Refusal::of(error)?),
            Err(error) => return Err(error),
        };
        Ok((referrer, answer))
    }

    async fn under_its_tag(&self, referrer: Referrer) -> Result<(Referrer, Option<Fetched>), RegistryError> {
        let there = match &referrer.tag {
            None => None,
            Some(tag) => self.destination.manifest(Which::Tag(tag)).await?,
        };
        Ok((referrer, there))
    }
}

/// In their order, as many at a time as do not wait for one another: for a subject, or for the same manifest.
fn in_steps(referrers: Vec<Referrer>) -> Vec<Vec<Referrer>> {
    let mut steps: Vec<Vec<Referrer>> = Vec::new();
    let mut now = BTreeSet::new();
    for referrer in referrers {
        let subject = referrer.document.subject.as_ref().map(|subject| subject.digest);
        let waits = now.contains(&referrer.fetched.digest) || subject.is_some_and(|it| now.contains(&it));
        if waits {
            now.clear();
        }
        if now.is_empty() {
            steps.push(Vec::new());
        }
        now.insert(referrer.fetched.digest);
        if let Some(step) = steps.last_mut() {
            step.push(referrer);
        }
    }
    steps
}

/// Whether what is under a tag may be written over, or is the same.
fn yields(there: &Fetched, referrer: &Referrer) -> bool {
    there.digest == referrer.fetched.digest || is_superset(&referrer.document, there)
}

/// Whether ours holds everything that is there, and more: only then may it take the tag.
fn is_superset(ours: &Document, there: &Fetched) -> bool {
    let Ok(theirs) = Document::read(&there.bytes, Some(&there.media_type), None) else { return false };
    fn layers(document: &Document) -> BTreeSet<(Digest, &str, &BTreeMap<String, String>)> {
        let blobs = match &document.content {
            Content::Manifest { layers, .. } => layers,
            Content::Index(children) => children,
        };
        blobs.iter().map(merge::said).collect()
    }
    let (ours, theirs) = (layers(ours), layers(&theirs));
    ours != theirs && ours.is_superset(&theirs)
}
