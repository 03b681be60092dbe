//! Evidence that does not lie beside the image: in the evidence store that the policy names for a service, and in
//! repositories that whoever asks has named.
//!
//! Guarantees: they are read as the repository of the image is, and believed no more: what lies there is bound to the image
//! by digest and verified; they add evidence and take none away; one that cannot be read is an error. A store that was
//! never written is said; a repository that was named and is not there is an error. Never does: write.

use std::collections::BTreeSet;

use futures_util::future::{try_join, try_join_all};

use super::attached::{Attached, Content, Item, Look, Place, attached};
use super::{CollectError, Files};
use crate::closure::Closure;
use crate::digest::Digest;
use crate::reference::{Image, Repository};
use crate::registry::{Reading, Registries};
use crate::verify::Trust;

/// [`attached`], and what lies in the evidence store, where there is one, and in repositories that were named beside
/// `files`: all are asked at once.
///
/// # Errors
/// Those of [`attached`], of any place.
pub async fn attached_or_stored(
    image: &Image,
    closure: &Closure,
    (registries, reading, store): (&Registries, &Reading, Option<&Repository>),
    files: &Files,
    trust: &Trust,
    look: Look,
) -> Result<Attached, CollectError> {
    let beside = attached(image, closure, reading, files, trust, look);
    let of_policy = store.into_iter().map(|place| (place, By::Policy));
    // What is looked at anyway is not looked at twice.
    let looked_at = |place: &&Repository| **place == image.repository || Some(*place) == store;
    let given = files.repositories().iter().filter(|place| !looked_at(place)).map(|place| (place, By::Hand));
    let looks =
        of_policy.chain(given).map(|(place, by)| elsewhere(closure, registries, (place, by), trust, look));
    let (mut all, found) = try_join(beside, try_join_all(looks)).await?;
    for Attached { items, remarks } in found {
        // To people each place is shown; to the gate the same evidence twice says nothing more.
        let known: BTreeSet<_> =
            all.items.iter().filter(|_| look != Look::Everything).filter_map(same).collect();
        let new = |item: &Item| same(item).is_none_or(|it| !known.contains(&it));
        let items: Vec<Item> = items.into_iter().filter(|item| new(item)).collect();
        all.items.extend(items);
        all.remarks.extend(remarks);
    }
    Ok(all)
}

/// Who has named a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// The policy, for the service.
    Policy,
    /// Whoever asks.
    Hand,
}

/// What of an image lies in another place. A store that is not there yet has nothing in it, which is said.
async fn elsewhere(
    closure: &Closure,
    registries: &Registries,
    (place, by): (&Repository, By),
    trust: &Trust,
    look: Look,
) -> Result<Attached, CollectError> {
    let (image, none) = (Image::new(place.clone(), closure.root()), Files::default());
    let reading = registries.reading(place);
    let wrong = |source| CollectError::Registry { on: Box::new(image.clone()), source: Box::new(source) };
    let mut found = match attached(&image, closure, &reading.map_err(wrong)?, &none, trust, look).await {
        Ok(found) => found,
        Err(CollectError::Registry { source, .. }) if by == By::Policy && source.is_absence() => {
            let remarks =
                vec![format!("the evidence store {place} is not there yet: nothing was looked at in it")];
            return Ok(Attached { items: Vec::new(), remarks });
        }
        Err(error) => return Err(error),
    };
    found.items.retain(|item| item.place != Place::Index);
    if by == By::Hand && found.items.is_empty() && look != Look::Referrers {
        found.remarks = vec![format!("nothing that refers to the image lies in {place}")];
    }
    for item in &mut found.items {
        let there = Box::new(std::mem::replace(&mut item.place, Place::Index));
        item.place = match by {
            By::Policy => Place::Stored(place.clone(), there),
            By::Hand => Place::Given(place.clone(), there),
        };
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
