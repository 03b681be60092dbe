//! What lies on an image: referrers, cosign's tags, files; what of it is evidence, and what is not.
//!
//! ```text
//! for the index and every platform at once    referrers ── manifest ── blobs     a round trip for each arrow,
//!                                             .sig .att ── blobs                 all branches side by side
//! ```
//!
//! A manifest is fetched only where its descriptor leaves open what it carries; a blob once, however often it is
//! attached. Limits are for all of it together; reaching one is an error.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::Semaphore;

use super::files::{Bundle, Files};
use super::layers::{Carrier, Layer, may_carry};
use super::{CollectError, EVIDENCE_BYTES, TOGETHER};
use crate::closure::{Closure, Descriptor, Role};
use crate::digest::{Digest, shorten};
use crate::evidence::{Discarded, Found, Raw, Source};
use crate::reference::{Image, Repository, Tag};
use crate::registry::{Found as Fetched, Reading, Referrers, RegistryError, Suffix};
use crate::verify::{Attestation, Claim, MESSAGE_SIGNATURE, Reason, Rejected, Trust, Verified};

/// How many requests are under way at once.
const CONCURRENCY: usize = 24;
/// How many referrers are looked at, of all manifests of the image together.
const REFERRERS: u64 = 4096;
/// Of how many referrers it is asked what refers to them.
const BENEATH: usize = 100;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Evidence that refers to the image: where that is enough for a yes, nobody has to ask for more.
    Referrers,
    /// All evidence on the image, under cosign's tags too.
    Evidence,
    /// Everything that lies there, and on that in its turn: for people.
    Everything,
}

/// What lies on an image.
#[derive(Debug, Default)]
pub struct Attached {
    /// All of it: of the index, then of each platform manifest in the order of the index.
    pub items: Vec<Item>,
    /// What else was noticed.
    pub remarks: Vec<String>,
}

/// One thing that lies there.
#[derive(Debug)]
pub struct Item {
    /// What it is attached to: a manifest of the image, or a referrer. Of a file: the manifest it is about.
    pub on: Digest,
    /// Where it is.
    pub place: Place,
    /// Its artifact type or the media type of its layer, as its manifest says.
    pub media_type: String,
    /// Of evidence its own digest, else that of its manifest.
    pub digest: Digest,
    /// Of evidence its own size in bytes, else that of all its layers, as their manifest says.
    pub size: u64,
    /// What it is.
    pub content: Content,
}

/// Where a thing is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A referrer, by the digest of its manifest.
    Referrer(Digest),
    /// One of cosign's tags.
    Tag(Tag, Suffix),
    /// A file on disk, and the line in it.
    File(String),
    /// The index of the image itself: what BuildKit lists beside the platforms.
    Index,
    /// In the evidence store, and where there.
    Stored(Repository, Box<Place>),
    /// In a repository that whoever asks has named, and where there.
    Given(Repository, Box<Place>),
}

/// What a thing is.
#[derive(Debug)]
pub enum Content {
    /// Evidence, by somebody who is trusted to be who they are; its bytes; and where the log's entry is, where a
    /// certificate binds it to one.
    Accepted(Box<Verified<Attestation>>, Raw, Option<u64>),
    /// It looks like evidence and is none.
    Rejected(Box<Rejected>),
    /// Something else, in words.
    Other(String),
}

impl Attached {
    /// What the gate may see of it: what lies on the image itself.
    pub fn evidence(&self, closure: &Closure) -> (Vec<Found>, Vec<Discarded>, Vec<String>) {
        let (mut found, mut discarded) = (Vec::new(), Vec::new());
        for Item { on, place, content, .. } in &self.items {
            let Some(source) = place.source().filter(|_| closure.contains(*on)) else { continue };
            match content {
                Content::Accepted(attestation, raw, _) => {
                    let (attestation, raw) = (attestation.as_ref().clone(), raw.clone());
                    found.push(Found { on: *on, source, attestation, raw });
                }
                Content::Rejected(rejected) => {
                    discarded.push(Discarded { on: *on, source, rejected: rejected.as_ref().clone() });
                }
                Content::Other(_) => {}
            }
        }
        (found, discarded, self.remarks.clone())
    }
}

impl Place {
    /// As evidence names it; none for where no evidence lies.
    pub fn source(&self) -> Option<Source> {
        match self {
            Self::Referrer(_) => Some(Source::Referrer),
            Self::Tag(_, Suffix::Sig) => Some(Source::SignatureTag),
            Self::Tag(_, Suffix::Att) => Some(Source::AttestationTag),
            Self::File(_) => Some(Source::File),
            Self::Tag(_, Suffix::Sbom) | Self::Index => None,
            Self::Stored(_, place) => place.source().map(|_| Source::Store),
            Self::Given(_, place) => place.source().map(|_| Source::Given),
        }
    }

    /// The manifest of the referrer, wherever that is.
    pub fn referrer(&self) -> Option<Digest> {
        match self {
            Self::Referrer(manifest) => Some(*manifest),
            Self::Stored(_, place) | Self::Given(_, place) => place.referrer(),
            Self::Tag(..) | Self::File(_) | Self::Index => None,
        }
    }
}

/// Everything on the index and on every platform manifest, verified; then what the files hold.
///
/// # Errors
/// [`CollectError`] when the registry cannot be read, or holds more than anybody needs.
pub async fn attached(
    image: &Image,
    closure: &Closure,
    reading: &Reading,
    files: &Files,
    trust: &Trust,
    look: Look,
) -> Result<Attached, CollectError> {
    let reader = Reader::new(reading, look);
    let manifests = manifests(closure);
    let mut things = reader.all(manifests.iter().copied().map(|digest| (digest, true))).await?;
    let mut attached = Attached::default();
    if look == Look::Everything {
        attached.items.extend(buildkit(closure));
        let mut seen = BTreeSet::new();
        let referrers = things.iter().filter_map(|thing| match &thing.place {
            Place::Referrer(digest) => seen.insert(*digest).then_some((*digest, false)),
            Place::Tag(..) | Place::File(_) | Place::Index | Place::Stored(..) | Place::Given(..) => None,
        });
        let referrers: Vec<_> = referrers.take(BENEATH).collect();
        things.extend(reader.all(referrers.into_iter()).await?);
    }
    let given = !files.bundles().is_empty() || !files.repositories().is_empty();
    let nowhere = things.is_empty() && !given && look != Look::Referrers;
    if nowhere && reader.unsupported.load(Ordering::Relaxed) {
        attached.remarks.push(format!(
            "{} has no referrers API and nothing under its fallback tags: evidence that lies elsewhere has to be \
             given with --evidence",
            image.repository
        ));
    }
    let mut seen = BTreeSet::new();
    for thing in things {
        if let What::Gone = thing.what {
            attached
                .remarks
                .push(format!("{} is listed as a referrer of {} and is not there", thing.digest, thing.on));
        }
        if let What::Left(why) = &thing.what {
            attached.remarks.push(format!("{} on {} is {why}", thing.digest, thing.on));
        }
        // To people each place is shown; to the gate the same evidence twice says nothing more.
        if let What::Candidate(raw) = &thing.what
            && look != Look::Everything
            && !seen.insert((thing.on, Digest::of(raw.bytes()), raw.descriptor().cloned()))
        {
            continue;
        }
        attached.items.push(thing.judge(trust));
    }
    attached.items.extend(files.bundles().iter().map(|bundle| on_disk(bundle, &manifests, trust)));
    attached.remarks.extend(files.remarks().iter().cloned());
    Ok(attached)
}

/// What can carry evidence: the root, then every platform manifest.
fn manifests(closure: &Closure) -> Vec<Digest> {
    let mut seen = BTreeSet::new();
    let platforms = closure.platforms().map(|(digest, _)| digest);
    std::iter::once(closure.root()).chain(platforms).filter(|digest| seen.insert(*digest)).collect()
}

/// What BuildKit puts into the index: statements that nobody signed.
fn buildkit(closure: &Closure) -> impl Iterator<Item = Item> {
    closure.manifests().filter(|manifest| manifest.role == Role::Attachment).map(|manifest| Item {
        on: closure.root(),
        place: Place::Index,
        media_type: manifest.media_type.clone(),
        digest: manifest.digest,
        size: manifest.blobs.iter().skip(1).map(|layer| layer.size).fold(0, u64::saturating_add),
        content: Content::Other("an attestation manifest of BuildKit, which nobody signed".to_owned()),
    })
}

/// A bundle from a file: about whichever manifest it names. A message signature names none; each is tried.
fn on_disk(bundle: &Bundle, manifests: &[Digest], trust: &Trust) -> Item {
    let named = |subjects: &[Digest]| manifests.iter().copied().find(|digest| subjects.contains(digest));
    let root = manifests.first().copied().unwrap_or_else(|| Digest::of(&bundle.bytes));
    let item = |on, content| Item {
        on,
        place: Place::File(bundle.place.clone()),
        media_type: super::BUNDLE[0].to_owned(),
        digest: Digest::of(&bundle.bytes),
        size: bundle.bytes.len() as u64,
        content,
    };
    let raw = Raw::bundle(bundle.bytes.clone());
    let mut first = None;
    for manifest in manifests {
        match raw.verify(*manifest, trust) {
            Ok(attestation) => {
                let subjects: Vec<Digest> =
                    attestation.subjects().iter().map(|subject| subject.digest).collect();
                return match named(&subjects) {
                    Some(on) => {
                        let log = attestation.author().claims().and_then(|_| raw.log_index());
                        item(on, Content::Accepted(Box::new(attestation), raw, log))
                    }
                    None => item(root, Content::Rejected(Box::new(of_another(&attestation, subjects)))),
                };
            }
            Err(rejected) => {
                let another = matches!(
                    rejected.reason,
                    Reason::ArtifactMismatch { .. }
                        | Reason::SignatureInvalid { .. }
                        | Reason::LogEntryMismatch { .. }
                );
                let message = rejected.claim.predicate_type.as_deref() == Some(MESSAGE_SIGNATURE);
                let rejected = first.get_or_insert(rejected);
                if !(another && message) {
                    let on = named(&rejected.claim.subjects).unwrap_or(root);
                    return item(on, Content::Rejected(Box::new(rejected.clone())));
                }
            }
        }
    }
    match first {
        Some(rejected) => item(root, Content::Rejected(Box::new(rejected))),
        None => item(root, Content::Other("there is no manifest it could be about".to_owned())),
    }
}

/// Signed, and about something else (attack B1).
fn of_another(attestation: &Verified<Attestation>, subjects: Vec<Digest>) -> Rejected {
    let other = subjects.first().map_or_else(String::new, Digest::to_string);
    Rejected {
        evidence: attestation.evidence(),
        reason: Reason::ArtifactMismatch { detail: format!("it names {other}, which is not in this image") },
        claim: Box::new(Claim {
            predicate_type: Some(shorten(attestation.predicate_type())),
            hint: None,
            subjects,
        }),
    }
}

/// Something that lies there, before anybody looked into it.
struct Thing {
    on: Digest,
    place: Place,
    media_type: String,
    digest: Digest,
    size: u64,
    what: What,
}

enum What {
    Candidate(Raw),
    Other(String),
    /// Evidence in what a copy of the image leaves behind, in words: for the environments after it there is none.
    Left(String),
    /// Listed, and not there: it can only be missing evidence, which never helps anyone.
    Gone,
}

impl Thing {
    fn judge(self, trust: &Trust) -> Item {
        let Self { on, place, media_type, digest, size, what } = self;
        let content = match what {
            What::Candidate(raw) => match raw.verify(on, trust) {
                Ok(attestation) => {
                    let log = attestation.author().claims().and_then(|_| raw.log_index());
                    Content::Accepted(Box::new(attestation), raw, log)
                }
                Err(rejected) => Content::Rejected(Box::new(rejected)),
            },
            What::Other(words) | What::Left(words) => Content::Other(words),
            What::Gone => Content::Other("listed, and not there".to_owned()),
        };
        Item { on, place, media_type, digest, size, content }
    }
}

/// One reading of one repository: what may still be read, and what was read already.
struct Reader<'a> {
    reading: &'a Reading,
    look: Look,
    bytes: AtomicU64,
    referrers: AtomicU64,
    permits: Semaphore,
    /// The blobs that were counted.
    blobs: Mutex<BTreeSet<Digest>>,
    unsupported: AtomicBool,
}

impl<'a> Reader<'a> {
    fn new(reading: &'a Reading, look: Look) -> Self {
        Self {
            reading,
            look,
            bytes: AtomicU64::new(TOGETHER),
            referrers: AtomicU64::new(REFERRERS),
            permits: Semaphore::new(CONCURRENCY),
            blobs: Mutex::default(),
            unsupported: AtomicBool::new(false),
        }
    }

    /// Of each digest what refers to it and, where that is asked for too, what lies under its tags.
    async fn all(&self, digests: impl Iterator<Item = (Digest, bool)>) -> Result<Vec<Thing>, CollectError> {
        let looks = digests.map(|(digest, tags)| async move {
            let on = Image::new(self.reading.repository().clone(), digest);
            let (mut things, tagged) = futures_util::try_join!(self.referrers(&on), self.tagged(&on, tags))?;
            things.extend(tagged);
            Ok::<_, CollectError>(things)
        });
        let all: Vec<Vec<Thing>> = stream::iter(looks).buffered(CONCURRENCY).try_collect().await?;
        Ok(all.into_iter().flatten().collect())
    }

    /// One request among those that are under way.
    async fn ask<T>(
        &self,
        on: &Image,
        request: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, CollectError> {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        request
            .await
            .map_err(|source| CollectError::Registry { on: Box::new(on.clone()), source: Box::new(source) })
    }

    fn take(&self, on: &Image, bytes: &[u8]) -> Result<(), CollectError> {
        take(&self.bytes, bytes.len() as u64)
            .ok_or_else(|| CollectError::TooMuch { on: Box::new(on.clone()), limit: TOGETHER })
    }

    /// Referrers (distribution-spec v1.1); the filter is ours, a registry's is not believed.
    async fn referrers(&self, on: &Image) -> Result<Vec<Thing>, CollectError> {
        let listed = match self.ask(on, self.reading.referrers(on.digest)).await? {
            Referrers::Listed(listed) => listed,
            // Nothing can have been attached where nobody could say so: no evidence from here.
            Referrers::Unsupported => {
                self.unsupported.store(true, Ordering::Relaxed);
                return Ok(Vec::new());
            }
        };
        take(&self.referrers, listed.len() as u64)
            .ok_or_else(|| CollectError::TooMany { on: Box::new(on.clone()), limit: REFERRERS })?;
        let looks = listed.into_iter().map(|descriptor| self.referrer(on, descriptor));
        let all: Vec<Vec<Thing>> = stream::iter(looks).buffered(CONCURRENCY).try_collect().await?;
        Ok(all.into_iter().flatten().collect())
    }

    async fn referrer(&self, on: &Image, descriptor: Descriptor) -> Result<Vec<Thing>, CollectError> {
        let may_carry = may_carry(&descriptor);
        if !may_carry && self.look != Look::Everything {
            return Ok(Vec::new());
        }
        let digest = descriptor.digest;
        let thing = |media_type: Option<String>, size, what| Thing {
            on: on.digest,
            place: Place::Referrer(digest),
            media_type: media_type.unwrap_or_default(),
            digest,
            size,
            what,
        };
        let Some(fetched) = self.ask(on, self.reading.manifest(digest)).await? else {
            return Ok(vec![thing(descriptor.artifact_type, descriptor.size, What::Gone)]);
        };
        self.take(on, &fetched.bytes)?;
        let carrier = match Carrier::read(&fetched.bytes, &fetched.media_type) {
            Ok(carrier) => carrier,
            Err(why) if may_carry => return Err(malformed(on, digest, why)),
            Err(why) => {
                let other = What::Other(format!("its manifest is malformed: {why}"));
                return Ok(vec![thing(descriptor.artifact_type, descriptor.size, other)]);
            }
        };
        let place = Place::Referrer(digest);
        match may_carry {
            true => self.carried(on, &place, digest, &carrier).await,
            false => {
                let what = What::Other("no signature in it that is read here".to_owned());
                Ok(vec![thing(Some(carrier.artifact_type.clone()), carrier.size(), what)])
            }
        }
    }

    /// cosign's tags. Bills of materials under theirs are not signed: only people look at them.
    async fn tagged(&self, on: &Image, tags: bool) -> Result<Vec<Thing>, CollectError> {
        let suffixes: &[Suffix] = match (tags, self.look) {
            (false, _) | (true, Look::Referrers) => &[],
            (true, Look::Evidence) => &[Suffix::Sig, Suffix::Att],
            (true, Look::Everything) => &Suffix::ALL,
        };
        let looks = suffixes.iter().map(|suffix| async move {
            let found = self.ask(on, self.reading.legacy(on.digest, *suffix)).await?;
            let Some((tag, Fetched { digest, media_type, bytes })) = found else { return Ok(Vec::new()) };
            self.take(on, &bytes)?;
            let carrier = Carrier::read(&bytes, &media_type);
            let carrier = carrier.map_err(|why| malformed(on, digest, why))?;
            self.carried(on, &Place::Tag(tag, *suffix), digest, &carrier).await
        });
        let all: Vec<Vec<Thing>> = stream::iter(looks).buffered(Suffix::ALL.len()).try_collect().await?;
        Ok(all.into_iter().flatten().collect())
    }

    /// The evidence in a manifest's layers, or the manifest itself where there is none.
    async fn carried(
        &self,
        on: &Image,
        place: &Place,
        manifest: Digest,
        carrier: &Carrier,
    ) -> Result<Vec<Thing>, CollectError> {
        let is_evidence = place.source().is_some();
        let layers = carrier.layers.iter().filter_map(|layer| Some((layer, layer.format()?)));
        let listed_on = matches!(place, Place::Referrer(_)).then_some(on.digest);
        if let Some(why) = carrier.left_behind(listed_on)
            && layers.clone().next().is_some()
        {
            return Ok(vec![Thing {
                on: on.digest,
                place: place.clone(),
                media_type: carrier.artifact_type.clone(),
                digest: manifest,
                size: carrier.size(),
                what: What::Left(format!("no evidence, since a copy of the image leaves it behind: {why}")),
            }]);
        }
        let fetches = layers.filter(|_| is_evidence).map(|(layer, format)| async move {
            let bytes = self.blob(on, layer).await?;
            let size = bytes.len() as u64;
            Ok::<_, CollectError>(Thing {
                on: on.digest,
                place: place.clone(),
                media_type: layer.media_type.clone(),
                digest: layer.digest,
                size,
                what: What::Candidate(Raw::layer(format, bytes, &layer.annotations)),
            })
        });
        let things: Vec<Thing> = stream::iter(fetches).buffered(CONCURRENCY).try_collect().await?;
        if !things.is_empty() {
            return Ok(things);
        }
        let media_type = match (carrier.artifact_type.as_str(), carrier.layers.first()) {
            ("" | "application/vnd.oci.empty.v1+json", Some(layer)) => layer.media_type.clone(),
            (_, Some(layer)) if !is_evidence => layer.media_type.clone(),
            (own, _) => own.to_owned(),
        };
        let what = What::Other("no signature in it that is read here".to_owned());
        let (on, place) = (on.digest, place.clone());
        Ok(vec![Thing { on, place, media_type, digest: manifest, size: carrier.size(), what }])
    }

    /// One blob, asked for and counted once: the same bundle may be attached to every platform.
    async fn blob(&self, on: &Image, layer: &Layer) -> Result<Bytes, CollectError> {
        let bytes = self.ask(on, self.reading.blob_bytes(layer.digest, EVIDENCE_BYTES)).await?;
        let bytes = bytes.ok_or_else(|| malformed(on, layer.digest, "its layer is not there".to_owned()))?;
        if self.blobs.lock().unwrap_or_else(PoisonError::into_inner).insert(layer.digest) {
            self.take(on, &bytes)?;
        }
        Ok(bytes)
    }
}

fn malformed(on: &Image, manifest: Digest, why: String) -> CollectError {
    CollectError::Malformed { on: Box::new(on.clone()), manifest, why }
}

/// As much as is left, or nothing.
fn take(left: &AtomicU64, amount: u64) -> Option<()> {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(amount)).ok().map(drop)
}
