//! What lies under cosign's older tags. Where the destination has other evidence there both are kept, ours behind theirs, as
//! cosign itself appends a signature.
//!
//! Guarantees: nothing that was under the tag is taken away, and each layer stays what it is, with its annotations; what was
//! written is read again, and written again where another writer was in between. Never does: merge what is not cosign's.
//! BUG: as for the fallback tag, nothing compares and swaps: a writer that read the tag before our write and writes after
//! our second look takes ours away.
//! Source: cosign 2, `pkg/oci/mutate` (signatures are the layers of an image, in the order in which they were added).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::plan::Referrer;
use super::read_back::Written;
use super::{CopyError, Copying, Side};
use crate::closure::{Content, Descriptor, Document, OCI_MANIFEST};
use crate::digest::Digest;
use crate::evidence::{DSSE_LAYER, SIMPLE_SIGNING_LAYER};
use crate::json;
use crate::reference::{Reference, Tag};
use crate::registry::wire::{Fetched, Which};
use crate::registry::{RegistryError, push, write};

/// What cosign gives its images for a configuration.
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The longest wait for another writer of the tag to be done.
const SETTLED: Duration = Duration::from_secs(1);
/// How many layers are read of one such manifest, here and elsewhere: more would be evidence that nobody sees.
const LAYERS: usize = 256;
/// The longest manifest that registries have to take (distribution-spec v1.1, "Pushing Manifests").
const MANIFEST: usize = 4 << 20;

/// Theirs and ours.
pub(super) struct Union {
    both: Fetched,
    document: Document,
    /// The new configuration; none where ours is among theirs already.
    config: Option<Bytes>,
}

/// What makes a layer of cosign's the same: a signature stands in its annotations, and its type says that it is one.
pub(super) fn said(layer: &Descriptor) -> (Digest, &str, &BTreeMap<String, String>) {
    (layer.digest, &layer.media_type, &layer.annotations)
}

/// What is under a tag, with ours behind it. None where one of the two is not cosign's, or both are too much for one.
pub(super) fn union(there: &Fetched, ours: &Referrer) -> Option<Union> {
    let (mut theirs, their_layers) = cosigns(there)?;
    let (mine, my_layers) = cosigns(&ours.fetched)?;
    // 1. What of ours is not among theirs.
    let known: BTreeSet<_> = their_layers.iter().map(said).collect();
    let is_new = |layer: &&Descriptor| !known.contains(&said(layer));
    let added: Vec<&Descriptor> = my_layers.iter().filter(is_new).collect();
    if added.is_empty() {
        let document = Document::read(&there.bytes, Some(&there.media_type), None).ok()?;
        return Some(Union { both: there.clone(), document, config: None });
    }
    if their_layers.len() + added.len() > LAYERS {
        return None;
    }
    // 2. Their manifest, members that we do not know included, with our layers as they are written.
    let written = mine.get("layers")?.as_array()?.iter().zip(&my_layers);
    let written: Vec<Value> = written.filter(|(_, layer)| is_new(layer)).map(|(it, _)| it.clone()).collect();
    theirs.get_mut("layers")?.as_array_mut()?.extend(written);
    annotate(&mut theirs, &mine)?;
    // 3. A configuration that lists them all.
    let config = config(their_layers.iter().chain(added).map(|layer| layer.digest));
    theirs["config"] = json!({ "mediaType": CONFIG, "digest": Digest::of(&config), "size": config.len() });
    let bytes = Bytes::from(theirs.to_string());
    let document = Document::read(&bytes, Some(OCI_MANIFEST), None).ok()?;
    if document.can_run() || bytes.len() > MANIFEST {
        return None;
    }
    let both = Fetched { digest: Digest::of(&bytes), media_type: OCI_MANIFEST.to_owned(), bytes };
    Some(Union { both, document, config: Some(config) })
}

/// A manifest of cosign's signatures or attestations, and its layers.
fn cosigns(fetched: &Fetched) -> Option<(Value, Vec<Descriptor>)> {
    let document = Document::read(&fetched.bytes, Some(&fetched.media_type), None).ok()?;
    let of_cosign = |layer: &Descriptor| {
        [SIMPLE_SIGNING_LAYER, DSSE_LAYER].contains(&layer.media_type.as_str()) && !layer.is_foreign()
    };
    match document.content {
        Content::Manifest { config, layers }
            if document.media_type == OCI_MANIFEST
                && document.subject.is_none()
                && config.media_type == CONFIG
                && !layers.is_empty()
                && layers.iter().all(of_cosign) =>
        {
            Some((json::parse(&fetched.bytes, json::Limits::default()).ok()?, layers))
        }
        Content::Manifest { .. } | Content::Index(_) => None,
    }
}

/// What is said of the whole: by both, where they do not contradict each other.
fn annotate(theirs: &mut Value, mine: &Value) -> Option<()> {
    let none = serde_json::Map::new();
    let mine = mine.get("annotations").and_then(Value::as_object).unwrap_or(&none);
    for (key, value) in mine {
        if !theirs["annotations"].is_object() {
            theirs["annotations"] = json!({});
        }
        if theirs["annotations"].get(key).is_some_and(|said| said != value) {
            return None;
        }
        theirs["annotations"][key] = value.clone();
    }
    Some(())
}

/// As cosign writes it: an image without a platform, whose layers are not compressed.
fn config(layers: impl Iterator<Item = Digest>) -> Bytes {
    let never = "0001-01-01T00:00:00Z";
    let layers: Vec<Digest> = layers.collect();
    let history: Vec<Value> = layers.iter().map(|_| json!({ "created": never })).collect();
    let config = json!({
        "architecture": "", "created": never, "history": history, "os": "",
        "rootfs": { "type": "layers", "diff_ids": layers }, "config": {},
    });
    Bytes::from(config.to_string())
}

/// Whether ours holds everything that is there, and more: only then may it take the tag as it is.
fn is_superset(ours: &Document, there: &Fetched) -> bool {
    let Ok(theirs) = Document::read(&there.bytes, Some(&there.media_type), None) else { return false };
    fn layers(document: &Document) -> BTreeSet<(Digest, &str, &BTreeMap<String, String>)> {
        let blobs = match &document.content {
            Content::Manifest { layers, .. } => layers,
            Content::Index(children) => children,
        };
        blobs.iter().map(said).collect()
    }
    let (ours, theirs) = (layers(ours), layers(&theirs));
    ours != theirs && ours.is_superset(&theirs)
}

/// What became of what lies under a tag of cosign's at the source.
pub(super) enum Under {
    /// It was there, with everything it lists.
    There,
    /// It is there now.
    Written {
        written: Written,
        /// Together with other evidence.
        merged: bool,
        /// What a fallback tag has to list of it, where it refers to something as well.
        unlisted: Vec<(Digest, Descriptor)>,
    },
    /// The tag holds there what ours cannot be put behind, and stays as it is.
    Kept,
}

impl Copying {
    /// Brings what lies under a tag of cosign's: as it is, or behind what is there. That is looked at right before it is
    /// written over, and again when other writers are done.
    pub(super) async fn under_tag(self: &Arc<Self>, tag: &Tag, ours: &Referrer) -> Result<Under, CopyError> {
        let at = self.at(Side::Destination);
        let look = async || self.destination.manifest(Which::Tag(tag)).await.map_err(&at);
        let is_ours =
            |there: &Option<Fetched>| there.as_ref().is_some_and(|there| there.digest == ours.fetched.digest);
        // 1. It may be there.
        let there = look().await?;
        if self.believes_manifests() && is_ours(&there) {
            return Ok(Under::There);
        }
        // 2. What it lists. Together with others it has another configuration.
        let alone = is_ours(&there) || there.is_none_or(|there| is_superset(&ours.document, &there));
        let is_needed = |blob: &Descriptor| alone || blob.media_type != CONFIG;
        self.blobs(ours.document.blobs().into_iter().filter(is_needed).collect()).await?;
        let (mut tries, mut unlisted) = (0, Vec::new());
        loop {
            let began = Instant::now();
            // 3. What is there now. After a write: whether ours still is.
            let there = look().await?;
            let (wanted, config) = match &there {
                Some(_) if is_ours(&there) => {
                    let written = Written { listed: !unlisted.is_empty(), ..Written::of(ours) };
                    return Ok(Under::Written { written, merged: false, unlisted });
                }
                Some(there) if !is_superset(&ours.document, there) => match union(there, ours) {
                    None => return Ok(Under::Kept),
                    Some(Union { both, document, config: None }) => {
                        let both = Referrer { fetched: both, document, tag: Some(tag.clone()) };
                        let written = Written { listed: !unlisted.is_empty(), ..Written::of(&both) };
                        return Ok(Under::Written { written, merged: true, unlisted });
                    }
                    Some(Union { both, config, .. }) => (both, config),
                },
                None | Some(_) => (ours.fetched.clone(), None),
            };
            if tries > 0 && !self.destination.is_patient(tries, ours.fetched.digest).await {
                let tagged = Reference::Tagged(self.destination.repository.clone(), tag.clone()).to_string();
                let found = there.map(|there| there.digest);
                return Err(at(RegistryError::TagNotSet { tagged, wanted: wanted.digest, found }));
            }
            // 4. With ours.
            match config {
                Some(config) => drop(push(&self.destination, config).await.map_err(&at)?),
                None => self.blobs(ours.document.blobs()).await?,
            }
            let put = write(&self.destination, Which::Tag(tag), &wanted.media_type, wanted.bytes).await;
            unlisted = put.map_err(&at)?.into_iter().collect();
            tries += 1;
            // 5. Whoever read the tag before our write has written his when it is looked at again.
            if !self.destination.is_layout() {
                tokio::time::sleep((began.elapsed() * 2).min(SETTLED)).await;
            }
        }
    }
}
