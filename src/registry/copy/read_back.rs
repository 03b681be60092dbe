//! What was written is read back: the answer to a write is no proof of what is there.
//!
//! Guarantees: every manifest of the image came back from the destination and was hashed here, and is called what it was
//! called when it was sent; each blob was acknowledged in this very run; each referrer is listed for what it refers to.
//! What does not come back is an error that names it. Never does: mend.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::plan::Referrer;
use super::{CopyError, Copying, Side};
use crate::closure::{ClosureError, Manifest};
use crate::digest::Digest;
use crate::reference::Image;
use crate::registry::wire::{Fetched, Which};
use crate::registry::{CONCURRENCY, RegistryError, attach, lost_blobs};

/// A referrer that was written, or was there.
pub(super) struct Written {
    /// The manifest.
    pub(super) fetched: Fetched,
    /// What it refers to; none for what is found by its tag alone.
    pub(super) subject: Option<Digest>,
    /// Whether a fallback tag was read back that lists it.
    pub(super) listed: bool,
}

impl Written {
    pub(super) fn of(referrer: &Referrer) -> Self {
        let Referrer { fetched, document, .. } = referrer;
        Self {
            fetched: fetched.clone(),
            subject: document.subject.as_ref().map(|subject| subject.digest),
            listed: false,
        }
    }
}

impl Copying {
    /// The image is at the destination: these manifests of it, the others were read there before.
    pub(super) async fn read_image_back(&self, manifests: Vec<Manifest>) -> Result<(), CopyError> {
        let reads = manifests.into_iter().map(|manifest| self.lost(manifest));
        let lost: Vec<Option<Digest>> = stream::iter(reads).buffered(CONCURRENCY).try_collect().await?;
        let mut lost: Vec<Digest> = lost.into_iter().flatten().collect();
        // A registry has answered for every blob; in a layout nobody has, and to look costs nothing.
        if self.destination.is_layout() {
            let blobs = lost_blobs(&self.destination, &self.closure).await;
            lost.extend(blobs.map_err(self.at(Side::Destination))?);
        }
        match lost.first() {
            None => Ok(()),
            Some(first) => {
                let (root, first, count) = (self.closure.root(), *first, lost.len());
                Err(self.not_whole(ClosureError::Incomplete { root, first, count }))
            }
        }
    }

    /// A manifest that does not come back; `None` where it does.
    async fn lost(&self, manifest: Manifest) -> Result<Option<Digest>, CopyError> {
        let Manifest { digest, media_type, .. } = manifest;
        for asked in 1.. {
            let found = self.destination.manifest(Which::Digest(digest)).await;
            match found.map_err(self.at(Side::Destination))? {
                Some(found) if found.media_type == media_type => break,
                Some(found) => {
                    return Err(self.not_whole(ClosureError::MediaTypesDisagree {
                        document: digest,
                        by: "the destination",
                        expected: crate::digest::shorten(&found.media_type),
                        found: media_type,
                    }));
                }
                None if self.destination.is_patient(asked, digest).await => {}
                None => return Ok(Some(digest)),
            }
        }
        Ok(None)
    }

    fn not_whole(&self, source: ClosureError) -> CopyError {
        let image = Image::new(self.destination.repository.clone(), self.closure.root()).to_string();
        self.at(Side::Destination)(RegistryError::Image { image, source: Box::new(source) })
    }

    /// What refers to the image is listed for it there.
    pub(super) async fn read_referrers_back(&self, written: &[Written]) -> Result<(), CopyError> {
        let mut of: BTreeMap<Digest, Vec<&Written>> = BTreeMap::new();
        for one in written {
            if let Some(subject) = one.subject {
                of.entry(subject).or_default().push(one);
            }
        }
        // The first answer says whether there is an API: the others need not find out as well.
        if self.destination.has_referrers_api().is_none()
            && let Some((subject, referrers)) = of.pop_first()
        {
            self.are_listed(subject, referrers).await?;
        }
        // Where there is none, the fallback tag is what readers ask, and each that was written was read back.
        if self.destination.has_referrers_api() == Some(false) {
            of.retain(|_, referrers| !referrers.iter().all(|referrer| referrer.listed));
        }
        let listings: Vec<_> =
            of.into_iter().map(|(subject, referrers)| self.are_listed(subject, referrers)).collect();
        stream::iter(listings).buffer_unordered(CONCURRENCY).try_collect().await
    }

    async fn are_listed(&self, subject: Digest, referrers: Vec<&Written>) -> Result<(), CopyError> {
        let tagged = referrers.iter().all(|referrer| referrer.listed);
        let referrers: Vec<&Fetched> = referrers.into_iter().map(|referrer| &referrer.fetched).collect();
        let listed = attach::are_listed(&self.destination, subject, &referrers, tagged);
        listed.await.map_err(self.at(Side::Destination))
    }
}
