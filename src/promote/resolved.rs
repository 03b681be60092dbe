//! What an image was when it was looked up, once: everything later is about that.

use crate::closure::Closure;
use crate::evidence::TagSeen;
use crate::reference::{Image, Reference};
use crate::registry::{Reading, Registries, RegistryError};

/// What the resolution of a reference brought.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The image, pinned.
    pub image: Image,
    /// Its closure.
    pub closure: Closure,
    /// The tag it was named by.
    pub tag: Option<TagSeen>,
}

impl Resolved {
    /// The image, its closure, and what its tag meant.
    ///
    /// # Errors
    /// [`RegistryError`] when it is not there or cannot be read.
    pub async fn resolve(registries: &Registries, reference: &Reference) -> Result<Self, RegistryError> {
        let (found, closure) = registries.resolve_closure(reference).await?;
        Ok(Self::of(reference, found.image, closure))
    }

    /// [`Resolved::resolve`] for whoever looks next at what refers to the image, by the same reading.
    pub(super) async fn resolve_ahead(
        registries: &Registries,
        reference: &Reference,
        reading: &Reading,
    ) -> Result<Self, RegistryError> {
        let (found, closure) = registries.resolve_closure_ahead(reference, reading).await?;
        Ok(Self::of(reference, found.image, closure))
    }

    fn of(reference: &Reference, image: Image, closure: Closure) -> Self {
        let tag = reference.tag().map(|tag| TagSeen {
            tag: tag.clone(),
            found: image.digest,
            expected: match reference {
                Reference::Expected(image, _) => Some(image.digest),
                Reference::Tagged(..) | Reference::Pinned(_) => None,
            },
        });
        Self { image, closure, tag }
    }
}
