//! The evidence store of a service: a repository where evidence lies that the registry of the image refuses to keep.
//!
//! Guarantees: it is read as the repository of the image is, and believed no more: what lies there is bound to the image
//! by digest and verified; a store adds evidence and takes none away; one that cannot be read is an error, one that was
//! never written is said. Never does: write.

use std::collections::BTreeSet;

use futures_util::future::try_join;

use super::attached::{Attached, Content, Item, Look, Place, attached};
use super::{CollectError, Files};
use crate::closure::Closure;
use crate::digest::Digest;
use crate::reference::{Image, Repository};
use crate::registry::{Reading, Registries};
use crate::verify::Trust;

/// [`attached`], and what lies in the evidence store, where there is one: both are asked at once.
///
/// # Errors
/// Those of [`attached`], of either place.
pub async fn attached_or_stored(
    image: &Image,
    closure: &Closure,
    (registries, reading, store): (&Registries, &Reading, Option<&Repository>),
    files: &Files,
    trust: &Trust,
    look: Look,
) -> Result<Attached, CollectError> {
    let beside = attached(image, closure, reading, files, trust, look);
    let Some(store) = store else { return beside.await };
    let (mut all, stored) = try_join(beside, stored(closure, registries, store, trust, look)).await?;
    // To people each place is shown; to the gate the same evidence twice says nothing more.
    let known: BTreeSet<_> = all.items.iter().filter(|_| look != Look::Everything).filter_map(same).collect();
    let new = |item: &Item| same(item).is_none_or(|it| !known.contains(&it));
    let items: Vec<Item> = stored.items.into_iter().filter(|item| new(item)).collect();
    // What was remarked of the repository of the image alone, the store answers.
    all.items.extend(items);
    all.remarks.extend(stored.remarks);
    Ok(all)
}

/// What of an image lies in an evidence store.
///
/// # Errors
/// Those of [`attached`]. A store that is not there yet has nothing in it, which is said.
pub async fn stored(
    closure: &Closure,
    registries: &Registries,
    store: &Repository,
    trust: &Trust,
    look: Look,
) -> Result<Attached, CollectError> {
    let (image, none) = (Image::new(store.clone(), closure.root()), Files::default());
    let reading = registries.reading(store);
    let wrong = |source| CollectError::Registry { on: Box::new(image.clone()), source: Box::new(source) };
    let mut found = match attached(&image, closure, &reading.map_err(wrong)?, &none, trust, look).await {
        Ok(found) => found,
        Err(CollectError::Registry { source, .. }) if source.is_absence() => {
            let remarks =
                vec![format!("the evidence store {store} is not there yet: nothing was looked at in it")];
            return Ok(Attached { items: Vec::new(), remarks });
        }
        Err(error) => return Err(error),
    };
    found.items.retain(|item| item.place != Place::Index);
    for item in &mut found.items {
        let place = Box::new(std::mem::replace(&mut item.place, Place::Index));
        item.place = Place::Stored(store.clone(), place);
    }
    Ok(found)
}

/// What makes evidence the same wherever it lies.
fn same(item: &Item) -> Option<(Digest, Digest, Option<Vec<u8>>)> {
    match &item.content {
        Content::Accepted(_, raw, _) => {
            Some((item.on, Digest::of(raw.bytes()), raw.descriptor().map(|it| it.to_vec())))
        }
        Content::Rejected(_) | Content::Other(_) => None,
    }
}
