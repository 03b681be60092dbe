//! What refers to the image, written at the destination.
//!
//! Guarantees: a subject is there before what refers to it, and what a referrer holds before the referrer; each fallback tag
//! is written once for all that do not wait for one another. Never does: write over evidence of others.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::try_join;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::plan::Referrer;
use super::read_back::Written;
use super::refused::Refused;
use super::tagged::Under;
use super::{CopyError, Copying, Side, sent};
use crate::closure::Descriptor;
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
        let (mut tagged, mut ours) = (Vec::new(), Vec::new());
        for referrer in referrers {
            match referrer.tag.clone() {
                Some(tag) => tagged.push((tag, referrer)),
                None => ours.push(referrer),
            }
        }
        // 1. What lies under cosign's tags.
        let under: Vec<_> = tagged.iter().map(|(tag, referrer)| self.under_tag(tag, referrer)).collect();
        let under = stream::iter(under).buffered(CONCURRENCY).try_collect::<Vec<_>>();
        // 2. Contents of the others that did not come with the image, each once; and they themselves.
        let others = async {
            let mut seen = self.done().clone();
            let blobs = ours.iter().flat_map(|referrer| referrer.document.blobs());
            self.blobs(blobs.filter(|blob| seen.insert(sent(blob))).collect()).await?;
            let writes: Vec<_> = ours.into_iter().map(|referrer| self.write(referrer)).collect();
            stream::iter(writes).buffered(CONCURRENCY).try_collect::<Vec<_>>().await.map_err(&at)
        };
        let (under, answers) = try_join(under, others).await?;
        let mut unlisted = Vec::new();
        for ((tag, _), under) in tagged.into_iter().zip(under) {
            match under {
                Under::There => brought.present += 1,
                Under::Written { written, merged, unlisted: one } => {
                    brought.written.push(written);
                    brought.merged.extend(merged.then_some(tag));
                    unlisted.extend(one);
                }
                Under::Kept => brought.kept.push(tag),
            }
        }
        // 3. Fallback tags, for those that the registry does not say it lists. Only now: how long to wait for other writers is
        // told by how long they take, and that by what else it has to do.
        unlisted.extend(answers.iter().filter_map(|(_, answer)| answer.as_ref().ok()?.clone()));
        self.list(unlisted).await.map_err(&at)?;
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

    /// One referrer; and what a fallback tag has to list of it, or that the destination refuses it.
    async fn write(&self, referrer: Referrer) -> Result<(Referrer, Answer), RegistryError> {
        let Fetched { digest, media_type, bytes } = &referrer.fetched;
        let answer = match write(&self.destination, Which::Digest(*digest), media_type, bytes.clone()).await {
            Ok(unlisted) => Ok(unlisted),
            Err(error) => Err(Refusal::of(error)?),
        };
        Ok((referrer, answer))
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
