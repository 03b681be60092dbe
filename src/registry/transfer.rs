//! `samebits copy`: an image and everything that refers to it, from any place to any other.
//!
//! Guarantees: the bytes are those of the source, whose digest is what the destination is named by; they are read back
//! there; the tag is set last. Never does: decide. What is copied here was not promoted.

use std::fs::File;
use std::path::PathBuf;

use super::backend::Backend;
use super::copy::{self, Along, Already, CopyError, CopyReport, Copying, Side, at};
use super::layout::Layout;
use super::{Registries, RegistryError};
use crate::archive::{ArchiveError, Aside, is_archive};
use crate::closure::{Closure, Platform};
use crate::digest::Digest;
use crate::reference::{Destination, Image, Location, Reference, Repository, Tag};

/// What is to be copied, and where to.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// The image, as typed.
    pub from: Reference,
    /// Where it is to be.
    pub to: Destination,
    /// The platforms whose manifests are copied, each by its own digest; none for the whole image. An index is never
    /// made smaller: it would be another one.
    pub platforms: Vec<Platform>,
    /// What comes along.
    pub along: Along,
    /// What is asked of what is there already.
    pub already: Already,
}

/// What was copied.
#[derive(Clone, Debug)]
pub struct Transferred {
    /// What the reference meant.
    pub source: Image,
    /// The image there, or one for each platform, in the order in which they were asked for.
    pub images: Vec<Arrived>,
    /// The tag that was set.
    pub tag: Option<Tag>,
}

/// One image at its destination.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// The image there.
    pub image: Image,
    /// The platform it was chosen for; none where the image was copied whole.
    pub platform: Option<Platform>,
    /// Its manifests, children before parents, the root last.
    pub manifests: Vec<Digest>,
    /// What the copy did.
    pub report: CopyReport,
}

impl Arrived {
    fn new(to: &Repository, platform: Option<Platform>, closure: &Closure, report: CopyReport) -> Self {
        let image = Image::new(to.clone(), closure.root());
        Self {
            image,
            platform,
            manifests: closure.manifests().map(|manifest| manifest.digest).collect(),
            report,
        }
    }
}

/// Why nothing was copied, or not all.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// One of the two sides.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The archive that was to be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The source's tag means something else than was typed beside it.
    #[error("{reference} means {found}: nothing was copied")]
    Moved {
        /// What was typed.
        reference: Box<Reference>,
        /// What it means.
        found: Digest,
    },
    /// The destination was typed with the digest of something else.
    #[error("{to} was asked for, and what is to be copied is {found}: nothing was copied")]
    Unexpected {
        /// What was typed.
        to: Box<Destination>,
        /// What would be copied.
        found: Digest,
    },
    /// The image has no manifest for that platform.
    #[error("{image} has no manifest for {wanted}: it has {}", listed(.has))]
    NoPlatform {
        /// The image.
        image: Box<Image>,
        /// The platform.
        wanted: Box<Platform>,
        /// Those it has.
        has: Vec<Platform>,
    },
    /// The image has several manifests for that platform.
    #[error("{image} has {first} and {second} for {wanted}: expected one, name it by its digest")]
    Ambiguous {
        /// The image.
        image: Box<Image>,
        /// The platform.
        wanted: Box<Platform>,
        /// One of them.
        first: Digest,
        /// Another.
        second: Digest,
    },
    /// One name for several images.
    #[error("{to} names one image, and {count} platforms are as many images: expected the repository alone")]
    OneNameForSeveral {
        /// What was typed.
        to: Box<Destination>,
        /// How many.
        count: usize,
    },
}

fn listed(platforms: &[Platform]) -> String {
    platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What became of the names that were typed: one image to be copied.
struct Chosen {
    platform: Option<Platform>,
    closure: Closure,
}

impl Registries {
    /// Copies an image, reads it back, and sets the tag last. Safe to repeat; what is there is not sent.
    ///
    /// # Errors
    /// [`TransferError`]; of what was copied until then everything stays, without the tag.
    pub async fn transfer(&self, asked: &Transfer) -> Result<Transferred, TransferError> {
        let Transfer { from, to, platforms, along, already } = asked;
        let mut wanted: Vec<&Platform> = Vec::new();
        for platform in platforms {
            if !wanted.contains(&platform) {
                wanted.push(platform);
            }
        }
        if wanted.len() > 1 && (to.tag.is_some() || to.digest.is_some()) {
            return Err(TransferError::OneNameForSeveral { to: Box::new(to.clone()), count: wanted.len() });
        }
        // 1. Resolve, once.
        let resolved = self.resolve_closure(from).await;
        let (source, whole) = resolved.map_err(at(Side::Source, from.repository()))?;
        let found = source.image.digest;
        if source.expected.is_some_and(|expected| expected != found) {
            return Err(TransferError::Moved { reference: Box::new(from.clone()), found });
        }
        // A layout in an archive is made in one go: its name is taken before anything is fetched.
        let archive = self.archive_of(&to.repository);
        let writing = archive.as_deref().map(Aside::begin).transpose()?;
        let chosen = self.chosen(&source.image, whole, &wanted).await?;
        for Chosen { closure, .. } in &chosen {
            if to.digest.is_some_and(|digest| digest != closure.root()) {
                return Err(TransferError::Unexpected { to: Box::new(to.clone()), found: closure.root() });
            }
        }
        if let Some((aside, file)) = writing {
            let images = self.write_archive(asked, chosen, aside, &file).await?;
            return Ok(Transferred { source: source.image, images, tag: to.tag.clone() });
        }
        // 2. The bytes.
        let mut images = Vec::new();
        let reading = self.reading(from.repository()).map_err(at(Side::Source, from.repository()))?;
        for Chosen { platform, closure } in &chosen {
            let report =
                self.copy_with(closure, &reading, (&to.repository, None), (*along, *already)).await?;
            images.push(Arrived::new(&to.repository, platform.clone(), closure, report));
        }
        // 3. The tag, last.
        if let (Some(tag), [Chosen { closure, .. }]) = (&to.tag, chosen.as_slice()) {
            let there = images.iter().any(|arrived| arrived.report.manifests_present > 0);
            let set = self.tag(&to.repository, closure, tag, there).await;
            set.map_err(at(Side::Destination, &to.repository))?;
        }
        Ok(Transferred { source: source.image, images, tag: to.tag.clone() })
    }

    /// Sets the tag, unless it means that already: only where the image was there before.
    async fn tag(
        &self,
        repository: &Repository,
        closure: &Closure,
        tag: &Tag,
        there: bool,
    ) -> Result<(), RegistryError> {
        if there && self.tagged(repository, tag).await? == Some(closure.root()) {
            return Ok(());
        }
        self.set_tag_of(repository, closure, tag).await
    }

    fn archive_of(&self, repository: &Repository) -> Option<PathBuf> {
        match repository.location() {
            Location::Layout { folder } => Some(self.base.join(folder)).filter(|path| is_archive(path)),
            Location::Registry { .. } => None,
        }
    }

    /// All of it into a new archive, with the tag, read back before it is put in its place.
    async fn write_archive(
        &self,
        asked: &Transfer,
        chosen: Vec<Chosen>,
        aside: Aside,
        file: &File,
    ) -> Result<Vec<Arrived>, TransferError> {
        let Transfer { from, to, along, already, .. } = asked;
        let source = self.reading(from.repository()).map_err(at(Side::Source, from.repository()))?;
        let destination = Backend::layout(&to.repository, Layout::archive(aside.aside().to_owned()));
        let copying =
            |it: &Chosen| Copying::new(&source, (destination.clone(), None), &it.closure, (*along, *already));
        let images: Vec<_> = chosen.iter().map(copying).collect();
        let reports = copy::archive::write(&images, to.tag.as_ref(), aside.aside(), file).await?;
        aside.finish(file)?;
        let arrived = chosen.into_iter().zip(reports);
        Ok(arrived
            .map(|(Chosen { platform, closure }, report)| {
                Arrived::new(&to.repository, platform, &closure, report)
            })
            .collect())
    }

    /// The image itself, or its manifests for these platforms.
    async fn chosen(
        &self,
        image: &Image,
        whole: Closure,
        wanted: &[&Platform],
    ) -> Result<Vec<Chosen>, TransferError> {
        let at_source = at(Side::Source, &image.repository);
        if wanted.is_empty() {
            return Ok(vec![Chosen { platform: None, closure: whole }]);
        }
        let mut chosen = Vec::new();
        for platform in wanted {
            let digest = manifest_for(image, &whole, platform)?;
            let closure =
                self.closure(&Image::new(image.repository.clone(), digest)).await.map_err(&at_source)?;
            chosen.push(Chosen { platform: Some((*platform).clone()), closure });
        }
        Ok(chosen)
    }
}

fn manifest_for(image: &Image, whole: &Closure, wanted: &Platform) -> Result<Digest, TransferError> {
    let mut found = whole.platforms().filter(|(_, platform)| *platform == wanted).map(|(digest, _)| digest);
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (Some(first), Some(second)) => {
            let (image, wanted) = (Box::new(image.clone()), Box::new(wanted.clone()));
            Err(TransferError::Ambiguous { image, wanted, first, second })
        }
        (None, _) => {
            let has = whole.platforms().map(|(_, platform)| platform.clone()).collect();
            Err(TransferError::NoPlatform {
                image: Box::new(image.clone()),
                wanted: Box::new(wanted.clone()),
                has,
            })
        }
    }
}
