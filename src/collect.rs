//! From an image to its [`Evidence`]: what lies beside it in the registry, what the ledger says of it.
//!
//! Guarantees: every attestation was verified here, every record shown to be in the log; a registry or ledger that
//! cannot be read is an error, never an empty list. What is found and does not count is kept for the explanation.
//! Never does: judge. Start at [`collect`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde_json::Value;

use crate::closure::{Closure, Descriptor, same_layers};
use crate::digest::Digest;
use crate::evidence::{Discarded, Evidence, Found, Source, Target};
use crate::json;
use crate::ledger::target::{History, history};
use crate::ledger::{Ledger, LedgerError};
use crate::policy::{Matcher, Policy, RootRule};
use crate::record::{Status, TreeHead};
use crate::reference::Image;
use crate::registry::{Found as Fetched, Referrers, Registries, RegistryError, Suffix};
use crate::verify::{self, Annotations, Attestation, Rejected, Trust, Verified};

/// The media types a Sigstore bundle goes by (Sigstore bundle specification v0.3, "Media type").
pub const BUNDLE: [&str; 2] =
    ["application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.dev.sigstore.bundle+json;version=0.3"];

const SIMPLE_SIGNING_LAYER: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const DSSE_LAYER: &str = "application/vnd.dsse.envelope.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const REKOR_BUNDLE: &str = "dev.sigstore.cosign/bundle";
const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";

/// The largest bundle, envelope or payload that is read.
const EVIDENCE_BYTES: u64 = 4 << 20;
/// The most that is read of all evidence on one image together.
const TOGETHER: u64 = 64 << 20;
/// How many layers one evidence manifest may have.
const LAYERS: usize = 256;
/// How many requests are under way at once.
const CONCURRENCY: usize = 8;

/// Why evidence could not be collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The registry.
    #[error("the evidence on {on} could not be read")]
    Registry {
        /// The manifest it is about.
        on: Box<Image>,
        /// Why.
        source: Box<RegistryError>,
    },
    /// The ledger.
    #[error("the history of the image could not be read")]
    Ledger(#[from] LedgerError),
    /// A manifest that lists evidence is not what it should be.
    #[error("the evidence manifest {manifest} on {on} is malformed: {why}")]
    Malformed {
        /// The manifest it is about.
        on: Box<Image>,
        /// The evidence manifest.
        manifest: Digest,
        /// What is wrong.
        why: String,
    },
    /// More evidence than anybody needs: whoever may attach could fill the memory.
    #[error(
        "there are more than {limit} bytes of evidence on the image: expected less, the last was on {on}"
    )]
    TooMuch {
        /// The manifest where the limit was reached.
        on: Box<Image>,
        /// The limit in bytes.
        limit: u64,
    },
}

/// How much may still be read.
struct Budget(AtomicU64);

impl Budget {
    fn take(&self, on: &Image, bytes: &[u8]) -> Result<(), CollectError> {
        let length = bytes.len() as u64;
        let taken =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(length));
        taken.map(drop).map_err(|_| CollectError::TooMuch { on: Box::new(on.clone()), limit: TOGETHER })
    }
}

/// Every key the policy names, and every root of trust that it takes as it is, from this program or a file: whose
/// signatures are looked at. A root that is refreshed, or has an age that it must not reach, is not among them: ask
/// [`crate::roots`] for all, and put them in with [`Trust::with_roots`].
pub fn trust(policy: &Policy) -> Trust {
    let matchers = policy.signers().flat_map(|signer| signer.any_of());
    Trust::new(
        matchers
            .filter_map(|matcher| match matcher {
                Matcher::Key { key, .. } => Some(key.clone()),
                // These come with the certificate; there is no key to know beforehand.
                Matcher::Keyless { .. } => None,
            })
            .collect(),
    )
    .with_roots(policy.roots().filter_map(RootRule::unconditional).cloned().collect())
}

/// Everything that counts, or could have counted, for `target`.
///
/// # Errors
/// [`CollectError`] when the registry or the ledger cannot be read; that is never "no evidence".
pub async fn collect(
    target: &Target<'_>,
    registries: &Registries,
    ledger: &Ledger,
    trust: &Trust,
    now: Timestamp,
) -> Result<Evidence, CollectError> {
    let Attached { attestations, discarded, remarks } =
        attached(target.image(), target.closure(), registries, trust).await?;
    let mut evidence = Evidence {
        attestations,
        discarded,
        remarks,
        history: Vec::new(),
        same_layers: Vec::new(),
        ledger: TreeHead::empty(),
        now,
    };
    recall(&mut evidence, target, ledger, trust, now)?;
    evidence.same_layers = lookalikes(target, &evidence, registries).await;
    Ok(evidence)
}

/// Reads the ledger part again, at its newest checkpoint: the second look, after the intent is durable.
///
/// # Errors
/// [`CollectError::Ledger`] when the ledger cannot be read.
pub fn recall(
    evidence: &mut Evidence,
    target: &Target<'_>,
    ledger: &Ledger,
    trust: &Trust,
    now: Timestamp,
) -> Result<(), CollectError> {
    let at = ledger.tip()?;
    let mut environments: BTreeSet<_> = BTreeSet::from([target.environment().name()]);
    for after in target.environment().after() {
        environments.extend(after.any_of().iter().map(|predecessor| predecessor.environment()));
    }
    let mut records = Vec::new();
    for environment in environments {
        let History { records: found, .. } =
            history(ledger, &at, trust, target.service().name(), environment)?;
        records.extend(found);
    }
    records.sort_by_key(|record| record.position());
    evidence.history = records;
    evidence.ledger = TreeHead { size: at.size(), root: at.root() };
    evidence.now = now;
    Ok(())
}

/// What lies beside an image.
#[derive(Debug, Default)]
pub struct Attached {
    /// What counts.
    pub attestations: Vec<Found>,
    /// What does not, and why.
    pub discarded: Vec<Discarded>,
    /// What else was noticed.
    pub remarks: Vec<String>,
}

/// Attestations on the index and on every platform manifest: referrers and cosign's tags.
///
/// # Errors
/// [`CollectError`] when the registry cannot be read.
pub async fn attached(
    image: &Image,
    closure: &Closure,
    registries: &Registries,
    trust: &Trust,
) -> Result<Attached, CollectError> {
    let mut manifests = vec![image.digest];
    manifests.extend(closure.platforms().map(|(digest, _)| digest).filter(|digest| *digest != image.digest));
    let budget = Budget(AtomicU64::new(TOGETHER));
    let all: Vec<(Vec<Candidate>, Vec<String>)> = stream::iter(manifests)
        .map(|digest| candidates(Image::new(image.repository.clone(), digest), registries, &budget))
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    let mut attached = Attached::default();
    let mut seen = BTreeSet::new();
    for (candidates, dangling) in all {
        attached.remarks.extend(dangling);
        for candidate in candidates {
            if !seen.insert((candidate.on, Digest::of(&candidate.bytes), candidate.annotations.clone())) {
                continue;
            }
            let Candidate { on, source, .. } = candidate;
            match candidate.verify(trust) {
                Ok(attestation) => attached.attestations.push(Found { on, source, attestation }),
                Err(rejected) => attached.discarded.push(Discarded { on, source, rejected }),
            }
        }
    }
    Ok(attached)
}

/// Bytes that may be evidence.
struct Candidate {
    on: Digest,
    source: Source,
    bytes: Vec<u8>,
    /// Of the layer: cosign keeps a legacy signature and its certificate in them.
    annotations: BTreeMap<String, String>,
}

impl Candidate {
    fn verify(&self, trust: &Trust) -> Result<Verified<Attestation>, Rejected> {
        let annotation = |name| self.annotations.get(name).map(String::as_str);
        // An empty one is none: cosign writes an empty certificate beside a key.
        let written = |name| annotation(name).filter(|text| !text.is_empty());
        let annotations = Annotations {
            certificate: written(CERTIFICATE),
            bundle: written(REKOR_BUNDLE),
            timestamp: written(TIMESTAMP),
        };
        let signature = annotation(SIGNATURE).unwrap_or_default();
        match self.source {
            Source::Referrer => verify::attached(&self.bytes, self.on, trust),
            Source::SignatureTag => {
                verify::annotated_simple_signing(&self.bytes, signature, &annotations, trust)
            }
            Source::AttestationTag => verify::annotated_envelope(&self.bytes, &annotations, trust),
        }
    }
}

async fn candidates(
    on: Image,
    registries: &Registries,
    budget: &Budget,
) -> Result<(Vec<Candidate>, Vec<String>), CollectError> {
    let trouble = |source| CollectError::Registry { on: Box::new(on.clone()), source: Box::new(source) };
    let mut candidates = Vec::new();
    let mut dangling = Vec::new();
    // 1. Referrers (distribution-spec v1.1); the filter is ours, a registry's is not believed.
    let (referrers, legacy) =
        futures_util::try_join!(registries.referrers(&on), registries.legacy(&on)).map_err(trouble)?;
    let listed = match referrers {
        // Nothing can have been attached where nobody could say so: no evidence from here.
        Referrers::Unsupported => Vec::new(),
        Referrers::Listed(listed) => listed,
    };
    let manifests: Vec<(Digest, Option<Fetched>)> = stream::iter(listed.into_iter().filter(may_be_bundle))
        .map(|descriptor| {
            let (on, image) = (&on, Image::new(on.repository.clone(), descriptor.digest));
            async move {
                let fetched = registries.manifest(&image).await;
                let fetched = fetched.map_err(|source| CollectError::Registry {
                    on: Box::new(on.clone()),
                    source: Box::new(source),
                })?;
                fetched.iter().try_for_each(|fetched| budget.take(on, &fetched.bytes))?;
                Ok::<_, CollectError>((image.digest, fetched))
            }
        })
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    for (digest, fetched) in manifests {
        // What is listed and gone can only be missing evidence, which never helps anyone.
        let Some(fetched) = fetched else {
            dangling.push(format!("{digest} is listed as a referrer of {on} and is not there"));
            continue;
        };
        let layers = layers(&on, digest, &fetched.bytes)?;
        let bundles = layers.iter().filter(|layer| BUNDLE.contains(&layer.media_type.as_str()));
        fetch(&on, Source::Referrer, bundles, registries, budget, &mut candidates).await?;
    }
    // 2. cosign's tags.
    for (suffix, fetched) in legacy {
        let (source, media_type) = match suffix {
            Suffix::Sig => (Source::SignatureTag, SIMPLE_SIGNING_LAYER),
            Suffix::Att => (Source::AttestationTag, DSSE_LAYER),
            // Bills of materials under this tag are not signed.
            Suffix::Sbom => continue,
        };
        let layers = layers(&on, fetched.digest, &fetched.bytes)?;
        let wanted = layers.iter().filter(|layer| layer.media_type == media_type);
        fetch(&on, source, wanted, registries, budget, &mut candidates).await?;
    }
    Ok((candidates, dangling))
}

/// A referrer that names another artifact type is not fetched; one that names none may be a bundle.
fn may_be_bundle(descriptor: &Descriptor) -> bool {
    match descriptor.artifact_type.as_deref() {
        // GHCR lists every referrer under the empty config's type.
        None | Some("" | "application/vnd.oci.empty.v1+json") => true,
        Some(artifact_type) => BUNDLE.contains(&artifact_type),
    }
}

/// The layers of an evidence manifest.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: Digest,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

fn layers(on: &Image, manifest: Digest, bytes: &[u8]) -> Result<Vec<Layer>, CollectError> {
    let malformed = |why: String| CollectError::Malformed { on: Box::new(on.clone()), manifest, why };
    let mut value =
        json::parse(bytes, json::Limits::default()).map_err(|error| malformed(error.to_string()))?;
    let layers = value.get_mut("layers").map(Value::take).unwrap_or_else(|| Value::Array(Vec::new()));
    let layers: Vec<Layer> = serde_json::from_value(layers)
        .map_err(|error| malformed(crate::digest::shorten(&error.to_string())))?;
    match layers.len() {
        count if count > LAYERS => Err(malformed(format!("it has {count} layers, more than {LAYERS}"))),
        _ => Ok(layers),
    }
}

async fn fetch(
    on: &Image,
    source: Source,
    layers: impl Iterator<Item = &Layer>,
    registries: &Registries,
    budget: &Budget,
    candidates: &mut Vec<Candidate>,
) -> Result<(), CollectError> {
    for layer in layers {
        let blob = registries.blob_bytes(&on.repository, layer.digest, EVIDENCE_BYTES).await;
        let bytes = blob
            .map_err(|source| CollectError::Registry { on: Box::new(on.clone()), source: Box::new(source) })?
            .ok_or_else(|| {
                let why = "its layer is not there".to_owned();
                CollectError::Malformed { on: Box::new(on.clone()), manifest: layer.digest, why }
            })?;
        budget.take(on, &bytes)?;
        candidates.push(Candidate {
            on: on.digest,
            source,
            bytes: bytes.to_vec(),
            annotations: layer.annotations.clone(),
        });
    }
    Ok(())
}

/// For the explanation: did something run before that differs from this image in its manifests alone (A7)?
async fn lookalikes(target: &Target<'_>, evidence: &Evidence, registries: &Registries) -> Vec<Digest> {
    let mut others = BTreeSet::new();
    let ran = |digest| {
        evidence
            .history
            .iter()
            .any(|record| record.deployment().is_some() && record.subjects().contain(digest))
    };
    if ran(target.image().digest) {
        return Vec::new();
    }
    for record in evidence.history.iter().rev() {
        let ran = record.deployment().is_some_and(|said| said.status == Status::Succeeded);
        let other = &record.subjects().image;
        // A record names any place its author likes: nobody is sent elsewhere than to the service's own.
        let own = target.policy().service_of(&other.repository);
        let own = own.is_some_and(|service| service.name() == target.service().name());
        if ran && own && other.digest != target.image().digest {
            others.insert(other.clone());
        }
    }
    let mut same = Vec::new();
    for other in others.into_iter().take(3) {
        // What cannot be read cannot be compared; nothing is decided by it.
        if let Ok(closure) = registries.closure(&other).await
            && same_layers(target.closure(), &closure)
        {
            same.push(other.digest);
        }
    }
    same
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::closure::OCI_MANIFEST;
    use crate::reference::Repository;
    use crate::registry::HttpConfig;

    async fn image(registries: &Registries, to: &Repository) -> Image {
        let config = br#"{"os":"linux","architecture":"amd64"}"#;
        let digest = registries.push_blob(to, Bytes::from_static(config)).await.unwrap();
        let config = json!({
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": config.len()
        });
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [] });
        let manifest = Bytes::from(manifest.to_string());
        let digest = registries.push_manifest(to, OCI_MANIFEST, manifest, None).await.unwrap();
        Image::new(to.clone(), digest)
    }

    /// Whoever may attach to the image must not be able to fill the memory of whoever judges it.
    #[tokio::test]
    async fn b10_evidence_is_bounded_together_and_too_much_is_no_shorter_answer() {
        let folder = tempfile::tempdir().unwrap();
        let registries = Registries::new(HttpConfig::default(), folder.path().to_owned());
        let image = image(&registries, &Repository::layout("shop").unwrap()).await;
        let closure = registries.closure(&image).await.unwrap();
        let attach = async |number: u8| {
            let bundle = vec![number; usize::try_from(EVIDENCE_BYTES).unwrap()];
            registries.attach(&image, BUNDLE[0], BUNDLE[0], &bundle, &BTreeMap::new()).await.unwrap()
        };
        let fits = u8::try_from(TOGETHER / EVIDENCE_BYTES).unwrap() - 1;
        for number in 0..fits {
            attach(number).await;
        }
        let found = attached(&image, &closure, &registries, &Trust::default()).await.unwrap();
        assert_eq!(found.discarded.len(), usize::from(fits));
        // The last one fits by itself, and not with the manifests that list them all.
        attach(fits).await;
        let error = attached(&image, &closure, &registries, &Trust::default()).await.unwrap_err();
        assert!(matches!(error, CollectError::TooMuch { .. }), "{error}");
    }
}
