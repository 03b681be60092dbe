//! Ways that real registries have: tested on one where it is installed, else on the one in this process.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;

use bytes::Bytes;
use samebits::closure::OCI_MANIFEST;
use samebits::digest::Digest;
use samebits::reference::{Image, Repository};
use samebits::registry::{HttpConfig, Referrers, Registries, RegistryError, Side};
use serde_json::{Value, json};

use crate::docker_registry::{DockerRegistry, Door};
use crate::registry::{Behaviour, Fake, Reply};

const NOTE: &str = "application/vnd.example.note";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// A registry without referrers API.
enum Place {
    Real(DockerRegistry),
    InProcess(Fake),
}

impl Place {
    fn start() -> Self {
        let without = Behaviour { referrers_api: false, subject_header: false, ..Behaviour::default() };
        DockerRegistry::start(Door::Open).map_or_else(|| Self::InProcess(Fake::with(without)), Self::Real)
    }

    fn repository(&self, path: &str) -> Repository {
        let host = match self {
            Self::Real(registry) => registry.host(),
            Self::InProcess(fake) => fake.host().to_owned(),
        };
        format!("{host}/{path}").parse().unwrap()
    }
}

fn client() -> Registries {
    let mut config = HttpConfig::default();
    config.retry.first_wait = Duration::from_millis(20);
    Registries::new(config, Path::new(".").to_owned())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn blob(registries: &Registries, to: &Repository, media_type: &str, bytes: &'static [u8]) -> Value {
    let digest = registries.push_blob(to, Bytes::from_static(bytes)).await.unwrap();
    json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
}

/// A manifest that other things can refer to.
async fn subject(registries: &Registries, to: &Repository, salt: &str) -> Image {
    let config = blob(
        registries,
        to,
        "application/vnd.oci.image.config.v1+json",
        b"{\"os\":\"linux\",\"architecture\":\"amd64\"}",
    )
    .await;
    let manifest = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [],
        "annotations": { "salt": salt } });
    let digest = registries.push_manifest(to, OCI_MANIFEST, manifest.to_string().into(), None).await.unwrap();
    Image::new(to.clone(), digest)
}

/// Each writer reads the fallback tag, adds itself and writes it: who is overtaken has to notice.
#[test]
fn b12_two_writers_of_a_fallback_tag_at_once_are_both_listed() {
    const ROUNDS: usize = 8;
    let place = Place::start();
    let shop = place.repository("shop");
    let images: Vec<Image> = runtime().block_on(async {
        let registries = client();
        let mut images = Vec::new();
        for round in 0..ROUNDS {
            images.push(subject(&registries, &shop, &round.to_string()).await);
        }
        images
    });
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        for note in ["one", "two"] {
            let (images, barrier) = (&images, &barrier);
            scope.spawn(move || {
                let (runtime, registries) = (runtime(), client());
                for image in images {
                    barrier.wait();
                    let none = BTreeMap::new();
                    let attached = registries.attach(image, NOTE, NOTE, note.as_bytes(), &none);
                    runtime.block_on(attached).unwrap();
                }
            });
        }
    });
    let registries = client();
    for image in &images {
        let listed = runtime().block_on(registries.referrers(image)).unwrap();
        let Referrers::Listed(listed) = listed else { panic!("{image}") };
        assert_eq!(listed.len(), 2, "{image}: {listed:?}");
    }
}

#[test]
fn b12_a_registry_that_refuses_a_subject_is_named_and_the_image_is_there() {
    let (from, to) = (Fake::start(), Fake::start());
    let shop: Repository = format!("{}/shop", from.host()).parse().unwrap();
    let staging: Repository = format!("{}/staging", to.host()).parse().unwrap();
    runtime().block_on(async {
        let registries = client();
        let image = subject(&registries, &shop, "x").await;
        let referrer = registries.attach(&image, NOTE, NOTE, b"note", &BTreeMap::new()).await.unwrap();
        to.on("PUT", &format!("/manifests/{referrer}"), usize::MAX, Reply::error(400, "MANIFEST_INVALID"));
        let closure = registries.closure(&image).await.unwrap();
        let error =
            registries.copy(&closure, &registries.reading(&shop).unwrap(), &staging).await.unwrap_err();
        assert_eq!(error.side, Side::Destination);
        assert!(matches!(*error.source, RegistryError::SubjectRefused { .. }), "{:?}", error.source);
        let text = format!("{error}: {}", error.source);
        assert!(text.contains(&referrer.to_string()) && text.contains("MANIFEST_INVALID"), "{text}");
        assert!(error.hint().is_some());
        // The image came before what refers to it, and nothing dangles.
        let copied = Image::new(staging.clone(), image.digest);
        assert!(registries.closure_if_whole(&copied).await.unwrap().is_some());
        assert_eq!(registries.referrers(&copied).await.unwrap(), Referrers::Listed(vec![]));
    });
}

/// A list of docker's, an empty layer, the same layer twice, a manifest nearly as long as one may be.
#[test]
fn an_image_of_docker_with_empty_double_and_very_many_parts_is_copied_whole() {
    let from = Fake::start();
    let shop: Repository = format!("{}/shop", from.host()).parse().unwrap();
    let place = Place::start();
    let staging = place.repository("staging");
    runtime().block_on(async {
        let registries = client();
        let config =
            blob(&registries, &shop, DOCKER_CONFIG, b"{\"os\":\"linux\",\"architecture\":\"amd64\"}").await;
        let empty = blob(&registries, &shop, DOCKER_LAYER, b"").await;
        let layer = blob(&registries, &shop, DOCKER_LAYER, b"layer").await;
        let mut manifest = json!({ "schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": config,
            "layers": [empty, layer, layer, empty] });
        let short = manifest.to_string().len();
        manifest["annotations"] = json!({ "x": "x".repeat((4 << 20) - short - 100) });
        let manifest = manifest.to_string();
        assert!(((4 << 20) - 100..=4 << 20).contains(&manifest.len()), "{}", manifest.len());
        let size = manifest.len();
        let child = registries.push_manifest(&shop, DOCKER_MANIFEST, manifest.into(), None).await.unwrap();
        let list = json!({ "schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [
            { "mediaType": DOCKER_MANIFEST, "digest": child, "size": size,
              "platform": { "os": "linux", "architecture": "amd64" } }
        ]});
        let list = Bytes::from(list.to_string());
        let root = registries.push_manifest(&shop, DOCKER_LIST, list.clone(), None).await.unwrap();

        let closure = registries.closure(&Image::new(shop.clone(), root)).await.unwrap();
        let report = registries.copy(&closure, &registries.reading(&shop).unwrap(), &staging).await.unwrap();
        assert_eq!((report.manifests, report.blobs_copied), (2, 3), "each blob once: {report:?}");
        let copied = Image::new(staging.clone(), root);
        assert_eq!(registries.has_closure(&staging, &closure).await.unwrap(), []);
        let found = registries.manifest(&copied).await.unwrap().unwrap();
        assert_eq!((found.media_type.as_str(), found.bytes), (DOCKER_LIST, list));
        let none = registries.blob_bytes(&staging, Digest::of(b""), 0).await.unwrap();
        assert_eq!(none, Some(Bytes::new()));
        let again = registries.copy(&closure, &registries.reading(&shop).unwrap(), &staging).await.unwrap();
        assert_eq!((again.blobs_copied, again.bytes_copied), (0, 0), "{again:?}");
    });
}
