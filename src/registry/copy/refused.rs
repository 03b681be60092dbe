//! What the destination refuses to have attached to the image that it took, and the evidence store that takes it.
//!
//! Guarantees: what is refused is in the store, byte for byte and listed there for its subject, or the copy is an error that
//! names it; what refers to something that was refused goes where that went. Never does: take an answer about anything
//! else for a refusal.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::plan::Referrer;
use super::read_back::Written;
use super::{CopyError, Copying, Side, at};
use crate::digest::Digest;
use crate::reference::Repository;
use crate::registry::error::Refusal;

/// Referrers that the destination refused and the evidence store took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The store.
    pub store: Repository,
    /// The referrers.
    pub referrers: Vec<Digest>,
}

/// What was refused, in the order in which it can be written elsewhere.
#[derive(Default)]
pub(super) struct Refused {
    referrers: Vec<Referrer>,
    digests: BTreeSet<Digest>,
    why: Option<Refusal>,
}

impl Refused {
    pub(super) fn add(&mut self, referrer: Referrer, why: Option<Refusal>) {
        self.digests.insert(referrer.fetched.digest);
        self.referrers.push(referrer);
        self.why = self.why.take().or(why);
    }

    /// Those that wait for nothing which was refused; the others are not tried.
    pub(super) fn without_theirs(&mut self, referrers: Vec<Referrer>) -> Vec<Referrer> {
        let theirs = |referrer: &Referrer| {
            let subject = referrer.document.subject.as_ref();
            referrer.tag.is_none() && subject.is_some_and(|subject| self.digests.contains(&subject.digest))
        };
        let (theirs, others): (Vec<_>, Vec<_>) = referrers.into_iter().partition(theirs);
        theirs.into_iter().for_each(|referrer| self.add(referrer, None));
        others
    }
}

impl Copying {
    /// What was refused is written into the store, and read back there.
    /// Where the destination `took` others, the refusal is of what was refused, and no word about all.
    pub(super) async fn store(
        self: &Arc<Self>,
        refused: Refused,
        took: bool,
    ) -> Result<Vec<Written>, CopyError> {
        let Refused { referrers, why, .. } = refused;
        let Some(why) = why else { return Ok(Vec::new()) };
        let Some(store) = &self.store else {
            if took {
                return Err(self.at(Side::Destination)(why.of_this()));
            }
            let digests = referrers.iter().map(|referrer| referrer.fetched.digest).collect();
            return Err(self.at(Side::Destination)(why.of_these(digests)));
        };
        let how = (self.along, self.already);
        let into = Self::new(&self.source, (store.clone(), None), &self.closure, how);
        let brought = into.referrers(referrers).await?;
        if let Some(why) = brought.refused.why {
            let digests = brought.refused.digests.into_iter().collect();
            return Err(at(Side::Destination, &store.repository)(why.of_these(digests)));
        }
        into.read_referrers_back(&brought.written).await?;
        for (all, these) in [
            (&self.copied, &into.copied),
            (&self.mounted, &into.mounted),
            (&self.present, &into.present),
            (&self.foreign, &into.foreign),
        ] {
            all.fetch_add(these.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.bytes.fetch_add(into.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
        Ok(brought.written)
    }
}
