//! Every place and shape that evidence lies in, over a registry on a socket.

mod wire;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::closure::{Closure, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST};
use crate::evidence::Source;
use crate::key::{Algorithm, PrivateKey, PublicKey};
use crate::registry::HttpConfig;
use crate::registry::http::tests::quick;
use crate::registry::http::tests::registry::{Behaviour, Fake, Reply};
use crate::verify::{COSIGN_SIGN, SIMPLE_SIGNING, sign_statement};

const SPDX: &str = "application/spdx+json";
const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

/// An image of two platforms in a registry, and a key that is trusted.
struct World {
    fake: Fake,
    registries: Registries,
    image: Image,
    closure: Closure,
    key: PrivateKey,
    trust: Trust,
}

impl World {
    async fn with(behaviour: Behaviour) -> Self {
        let fake = Fake::with(behaviour);
        let children: Vec<Value> = ["amd64", "arm64"].iter().map(|name| platform(&fake, name)).collect();
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children });
        let digest = fake.seed_manifest("shop", OCI_INDEX, index.to_string().as_bytes());
        let registries = Registries::new(quick(), std::env::temp_dir());
        let repository = format!("{}/shop", fake.host()).parse().unwrap();
        let image = Image::new(repository, digest.parse().unwrap());
        let closure = registries.closure(&image).await.unwrap();
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let trust = Trust::new(vec![key.public().clone()]);
        fake.forget_log();
        Self { fake, registries, image, closure, key, trust }
    }

    async fn new() -> Self {
        Self::with(Behaviour::default()).await
    }

    fn arm64(&self) -> Digest {
        self.closure.platforms().last().unwrap().0
    }

    fn statement(&self, about: Digest, predicate_type: &str) -> Vec<u8> {
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": "shop", "digest": { "sha256": about.hex() } }],
            "predicateType": predicate_type, "predicate": {},
        })
        .to_string()
        .into_bytes()
    }

    fn bundle(&self, about: Digest) -> Vec<u8> {
        sign_statement(&self.statement(about, COSIGN_SIGN), &self.key).unwrap()
    }

    /// A manifest that refers to `subject`, with `change` made to it; not listed by any fallback tag.
    fn refer(&self, subject: Digest, layer: (&str, &[u8]), change: impl FnOnce(&mut Value)) -> Digest {
        let empty = self.fake.seed_blob("shop", b"{}");
        let blob = self.fake.seed_blob("shop", layer.1);
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": { "mediaType": OCI_EMPTY, "digest": empty, "size": 2 },
            "layers": [{ "mediaType": layer.0, "digest": blob, "size": layer.1.len() }],
            "subject": { "mediaType": OCI_INDEX, "digest": subject, "size": 1 },
        });
        change(&mut manifest);
        let media_type = manifest["mediaType"].as_str().unwrap().to_owned();
        self.fake.seed_manifest("shop", &media_type, manifest.to_string().as_bytes()).parse().unwrap()
    }

    /// What the fallback tag of `subject` lists.
    fn fall_back(&self, subject: Digest, descriptors: &[Value]) {
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors });
        let digest = self.fake.seed_manifest("shop", OCI_INDEX, index.to_string().as_bytes());
        self.fake.tag("shop", &format!("sha256-{}", subject.hex()), &digest);
    }

    /// As a new run reads it.
    fn reading(&self, image: &Image) -> Reading {
        self.registries.reading(&image.repository).unwrap()
    }

    async fn look(&self, look: Look) -> Result<Attached, CollectError> {
        self.look_at(&Files::default(), look).await
    }

    async fn look_at(&self, files: &Files, look: Look) -> Result<Attached, CollectError> {
        attached(&self.image, &self.closure, &self.reading(&self.image), files, &self.trust, look).await
    }

    /// What counts: predicate type, where it lies, how it was found.
    async fn found(&self) -> Vec<(String, Digest, Source)> {
        let (found, discarded, _) = self.look(Look::Evidence).await.unwrap().evidence(&self.closure);
        assert!(discarded.is_empty(), "{discarded:?}");
        let said = |found: crate::evidence::Found| {
            (found.attestation.predicate_type().to_owned(), found.on, found.source)
        };
        found.into_iter().map(said).collect()
    }
}

fn platform(fake: &Fake, architecture: &str) -> Value {
    let config = json!({ "os": "linux", "architecture": architecture }).to_string();
    let digest = fake.seed_blob("shop", config.as_bytes());
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [],
        "config": { "mediaType": IMAGE_CONFIG, "digest": digest, "size": config.len() },
    })
    .to_string();
    let digest = fake.seed_manifest("shop", OCI_MANIFEST, manifest.as_bytes());
    let platform = json!({ "os": "linux", "architecture": architecture });
    json!({ "mediaType": OCI_MANIFEST, "digest": digest, "size": manifest.len(), "platform": platform })
}

/// What a change to the manifest of a referrer looks like in a listing.
type Shape = (&'static str, fn(&mut Value), Option<&'static str>);

/// Real shapes: cosign 3, `actions/attest` with push-to-registry, `oras attach`, GHCR's fallback tag.
const SHAPES: [Shape; 8] = [
    ("the artifact type", |manifest| manifest["artifactType"] = json!(BUNDLE[0]), Some(BUNDLE[0])),
    ("its older spelling", |manifest| manifest["artifactType"] = json!(BUNDLE[1]), Some(BUNDLE[1])),
    (
        "with a space in it",
        |manifest| {
            manifest["artifactType"] = json!("application/vnd.dev.sigstore.bundle+json; version=0.3");
        },
        Some("application/vnd.dev.sigstore.bundle+json; version=0.3"),
    ),
    (
        "the configuration's type",
        |manifest| manifest["config"]["mediaType"] = json!(BUNDLE[0]),
        Some(BUNDLE[0]),
    ),
    ("the empty configuration", |manifest| manifest["annotations"] = json!({ "x": "1" }), Some(OCI_EMPTY)),
    ("nothing", |manifest| manifest["annotations"] = json!({ "x": "2" }), None),
    ("an empty text", |manifest| manifest["annotations"] = json!({ "x": "3" }), Some("")),
    (
        "an image's configuration",
        |manifest| manifest["config"]["mediaType"] = json!(IMAGE_CONFIG),
        Some(IMAGE_CONFIG),
    ),
];

#[tokio::test]
async fn b12_every_shape_of_a_bundle_is_found_by_the_api_and_by_the_fallback_tag() {
    for (what, change, listed_as) in SHAPES {
        // 1. As the referrers API derives the type.
        let world = World::new().await;
        let (root, arm64) = (world.image.digest, world.arm64());
        for on in [root, arm64] {
            world.refer(on, (BUNDLE[0], &world.bundle(on)), change);
        }
        let wanted = [root, arm64].map(|on| (COSIGN_SIGN.to_owned(), on, Source::Referrer));
        assert_eq!(world.found().await, wanted, "{what}");

        // 2. As whoever wrote the fallback tag listed it.
        let world = World::with(Behaviour { referrers_api: false, ..Behaviour::default() }).await;
        let root = world.image.digest;
        let referrer = world.refer(root, (BUNDLE[0], &world.bundle(root)), change);
        let mut entry = json!({ "mediaType": OCI_MANIFEST, "digest": referrer, "size": 1 });
        if let Some(listed_as) = listed_as {
            entry["artifactType"] = json!(listed_as);
        }
        world.fall_back(root, &[entry]);
        assert_eq!(world.found().await, wanted_at(&world), "{what}, by the fallback tag");
    }
}

fn wanted_at(world: &World) -> [(String, Digest, Source); 1] {
    [(COSIGN_SIGN.to_owned(), world.image.digest, Source::Referrer)]
}

/// `cosign sign --registry-referrers-mode=oci-1-1`, and `cosign attest` by the same manner.
#[tokio::test]
async fn cosigns_older_formats_are_found_as_referrers_too() {
    let world = World::new().await;
    let root = world.image.digest;
    let payload = json!({
        "critical": {
            "identity": { "docker-reference": world.image.repository },
            "image": { "docker-manifest-digest": root },
            "type": "cosign container image signature",
        },
        "optional": null,
    })
    .to_string();
    let signature = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        world.key.sign(payload.as_bytes()).unwrap(),
    );
    world.refer(root, (SIMPLE, payload.as_bytes()), |manifest| {
        manifest["artifactType"] = json!("application/vnd.dev.cosign.artifact.sig.v1+json");
        manifest["layers"][0]["annotations"] = json!({ "dev.cosignproject.cosign/signature": signature });
    });
    assert_eq!(world.found().await, [(SIMPLE_SIGNING.to_owned(), root, Source::Referrer)]);

    let bundle: Value = serde_json::from_slice(&world.bundle(root)).unwrap();
    world.refer(root, (ENVELOPE, bundle["dsseEnvelope"].to_string().as_bytes()), |manifest| {
        manifest["artifactType"] = json!(ENVELOPE);
    });
    assert_eq!(world.found().await.len(), 2);
}

#[tokio::test]
async fn b10_the_filter_is_ours_and_all_pages_are_read() {
    // A registry that says it has filtered has been asked for nothing of the kind.
    let world = World::with(Behaviour { page: Some(1), ..Behaviour::default() }).await;
    let root = world.image.digest;
    for number in 0..3 {
        let sbom = format!("sbom {number}");
        world.refer(root, (SPDX, sbom.as_bytes()), |manifest| manifest["artifactType"] = json!(SPDX));
    }
    world.refer(root, (BUNDLE[0], &world.bundle(root)), |manifest| {
        manifest["artifactType"] = json!(BUNDLE[0]);
    });
    world.fake.on(
        "GET",
        "/referrers/",
        usize::MAX,
        Reply::Header("oci-filters-applied", "artifactType".into()),
    );
    assert_eq!(world.found().await, wanted_at(&world));
    assert_eq!(world.fake.count("", "artifactType="), 0);
    // What names another type is not fetched: one manifest, one blob.
    assert_eq!(world.fake.count("GET", "/manifests/sha256:"), 1);
    assert_eq!(world.fake.count("GET", "/blobs/"), 1);
}

#[tokio::test]
async fn b10_too_many_referrers_together_are_an_error_and_no_shorter_answer() {
    let world = World::new().await;
    let listing = |count: usize| {
        let entry = |number: usize| {
            let digest = Digest::of(&number.to_be_bytes());
            json!({ "mediaType": OCI_MANIFEST, "digest": digest, "size": 1, "artifactType": SPDX })
        };
        let entries: Vec<Value> = (0..count).map(entry).collect();
        json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries }).to_string().into_bytes()
    };
    // Three manifests; one listing holds at most a thousand.
    world.fake.on("GET", "/referrers/", 3, Reply::Bytes(listing(1000)));
    assert_eq!(world.look(Look::Evidence).await.unwrap().items.len(), 0);
    let fake = Fake::start();
    let children: Vec<Value> = (0..5).map(|number| platform(&fake, &format!("a{number}"))).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children });
    let digest = fake.seed_manifest("shop", OCI_INDEX, index.to_string().as_bytes());
    let image = Image::new(format!("{}/shop", fake.host()).parse().unwrap(), digest.parse().unwrap());
    let closure = world.registries.closure(&image).await.unwrap();
    fake.on("GET", "/referrers/", usize::MAX, Reply::Bytes(listing(1000)));
    let (files, trust) = (Files::default(), Trust::default());
    let error = attached(&image, &closure, &world.reading(&image), &files, &trust, Look::Evidence).await;
    assert!(matches!(error, Err(CollectError::TooMany { .. })), "{error:?}");
}

/// Whoever may attach to the image must not be able to fill the memory of whoever judges it.
#[tokio::test]
async fn b10_evidence_is_bounded_together_and_too_much_is_no_shorter_answer() {
    let folder = tempfile::tempdir().unwrap();
    let registries = Registries::new(HttpConfig::default(), folder.path().to_owned());
    let shop = crate::reference::Repository::layout("shop").unwrap();
    let config = br#"{"os":"linux","architecture":"amd64"}"#;
    let digest = registries.push_blob(&shop, bytes::Bytes::from_static(config)).await.unwrap();
    let config = json!({ "mediaType": IMAGE_CONFIG, "digest": digest, "size": config.len() });
    let manifest = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [] });
    let manifest = bytes::Bytes::from(manifest.to_string());
    let image = Image::new(
        shop.clone(),
        registries.push_manifest(&shop, OCI_MANIFEST, manifest, None).await.unwrap(),
    );
    let closure = registries.closure(&image).await.unwrap();
    let attach = async |number: u8| {
        let bundle = vec![number; usize::try_from(EVIDENCE_BYTES).unwrap()];
        registries.attach(&image, BUNDLE[0], BUNDLE[0], &bundle, &BTreeMap::new()).await.unwrap()
    };
    let fits = u8::try_from(TOGETHER / EVIDENCE_BYTES).unwrap() - 1;
    for number in 0..fits {
        attach(number).await;
    }
    let (trust, files) = (Trust::default(), Files::default());
    let reading = || registries.reading(&image.repository).unwrap();
    let look = || async { attached(&image, &closure, &reading(), &files, &trust, Look::Evidence).await };
    assert_eq!(look().await.unwrap().items.len(), usize::from(fits));
    // The last one fits by itself, and not with the manifests that list them all.
    attach(fits).await;
    let error = look().await.unwrap_err();
    assert!(matches!(error, CollectError::TooMuch { .. }), "{error}");
}

#[tokio::test]
async fn b11_unsupported_none_and_error_are_told_apart() {
    // None: nothing to say.
    let world = World::new().await;
    let none = world.look(Look::Evidence).await.unwrap();
    assert!(none.items.is_empty() && none.remarks.is_empty(), "{none:?}");
    // Unsupported: said aloud, once.
    let world = World::with(Behaviour { referrers_api: false, ..Behaviour::default() }).await;
    let unsupported = world.look(Look::Evidence).await.unwrap();
    assert!(unsupported.items.is_empty());
    assert_eq!(unsupported.remarks.len(), 1);
    assert!(unsupported.remarks[0].contains("no referrers API"), "{unsupported:?}");
    // An error anywhere is no shorter list.
    for (place, behaviour) in [
        ("/referrers/", Behaviour::default()),
        ("/manifests/sha256-", Behaviour { referrers_api: false, ..Behaviour::default() }),
        (".sig", Behaviour::default()),
        (".att", Behaviour::default()),
        ("/manifests/sha256:", Behaviour::default()),
        ("/blobs/", Behaviour::default()),
    ] {
        for status in [403, 429, 500] {
            let world = World::with(behaviour.clone()).await;
            let root = world.image.digest;
            let referrer = world.refer(root, (BUNDLE[0], &world.bundle(root)), |_| ());
            world.fall_back(root, &[json!({ "mediaType": OCI_MANIFEST, "digest": referrer, "size": 1 })]);
            assert_eq!(world.found().await, wanted_at(&world));
            world.fake.on("GET", place, usize::MAX, Reply::error(status, "DENIED"));
            let error = world.look(Look::Evidence).await.unwrap_err();
            assert!(matches!(error, CollectError::Registry { .. }), "{status} at {place}: {error}");
        }
    }
}

#[tokio::test]
async fn what_is_listed_and_gone_is_told_and_what_is_malformed_is_an_error() {
    let world = World::new().await;
    let root = world.image.digest;
    let referrer = world.refer(root, (BUNDLE[0], &world.bundle(root)), |_| ());
    let entry = json!({ "mediaType": OCI_MANIFEST, "digest": Digest::of(b"gone"), "size": 1 });
    let listing = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry] });
    world.fake.on("GET", "/referrers/", 1, Reply::Bytes(listing.to_string().into_bytes()));
    let attached = world.look(Look::Evidence).await.unwrap();
    assert!(attached.remarks[0].contains("is not there"), "{attached:?}");
    // Its blob is gone.
    let blob = Digest::of(&world.bundle(root));
    world.fake.lose("shop", &referrer.to_string());
    world.refer(root, (BUNDLE[0], &world.bundle(root)), |manifest| {
        manifest["layers"][0]["digest"] = json!(Digest::of(b"no such blob"));
    });
    let error = world.look(Look::Evidence).await.unwrap_err();
    assert!(matches!(error, CollectError::Malformed { .. }), "{error} {blob}");
}

#[tokio::test]
async fn b9_a_bundle_of_an_unknown_version_is_rejected_and_not_overlooked() {
    let world = World::new().await;
    let root = world.image.digest;
    let next = "application/vnd.dev.sigstore.bundle.v0.9+json";
    let bundle = String::from_utf8(world.bundle(root)).unwrap().replace(BUNDLE[0], next);
    world.refer(root, (next, bundle.as_bytes()), |manifest| manifest["artifactType"] = json!(next));
    let (found, discarded, _) = world.look(Look::Evidence).await.unwrap().evidence(&world.closure);
    assert!(found.is_empty());
    assert_eq!(discarded[0].rejected.reason.code(), "bundle-version");
}

#[tokio::test]
async fn everything_is_shown_to_people_and_only_evidence_is_asked_for_by_the_gate() {
    let world = World::new().await;
    let root = world.image.digest;
    let sbom = world.refer(root, (SPDX, b"sbom"), |manifest| manifest["artifactType"] = json!(SPDX));
    world.refer(sbom, (BUNDLE[0], &world.bundle(sbom)), |manifest| {
        manifest["artifactType"] = json!(BUNDLE[0]);
    });
    assert_eq!(world.look(Look::Evidence).await.unwrap().items.len(), 0);
    let attached = world.look(Look::Everything).await.unwrap();
    let [other, signature] = &attached.items[..] else { panic!("{attached:?}") };
    assert_eq!((other.media_type.as_str(), other.size, other.on), (SPDX, 4, root));
    assert!(matches!(other.content, Content::Other(_)));
    assert_eq!(signature.on, sbom);
    assert!(matches!(signature.content, Content::Accepted(..)));
    // A signature on a bill of materials is none on the image.
    assert!(attached.evidence(&world.closure).0.is_empty());
}

#[tokio::test]
async fn one_bundle_on_every_manifest_is_fetched_once() {
    let world = World::new().await;
    let bundle = world.bundle(world.image.digest);
    for on in [world.image.digest, world.arm64()] {
        world.refer(on, (BUNDLE[0], &bundle), |manifest| manifest["artifactType"] = json!(BUNDLE[0]));
    }
    assert_eq!(world.found().await.len(), 2);
    assert_eq!(world.fake.count("GET", "/blobs/"), 1);
}

#[tokio::test]
async fn b12_bundles_from_disk_count_for_what_they_name_and_b1_for_nothing_else() {
    let world = World::with(Behaviour { referrers_api: false, ..Behaviour::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let (root, arm64) = (world.image.digest, world.arm64());
    let line = |about| String::from_utf8(world.bundle(about)).unwrap();
    let other = Digest::of(b"another image");
    let download = folder.path().join(format!("{root}.jsonl"));
    std::fs::write(&download, format!("{}\n\n{}\n", line(arm64), line(other))).unwrap();
    std::fs::write(folder.path().join("a.json"), line(root)).unwrap();
    std::fs::write(folder.path().join("README.md"), "hello").unwrap();
    std::fs::create_dir(folder.path().join("below.d")).unwrap();
    let files = Files::read(&[folder.path().to_owned()]).unwrap();
    let attached = world.look_at(&files, Look::Evidence).await.unwrap();
    let (found, discarded, remarks) = attached.evidence(&world.closure);
    let found: Vec<_> = found.iter().map(|found| (found.on, found.source)).collect();
    assert_eq!(found, [(root, Source::File), (arm64, Source::File)]);
    assert_eq!(discarded[0].rejected.reason.code(), "artifact-mismatch");
    assert!(discarded[0].rejected.reason.whole().contains(&other.to_string()));
    assert!(matches!(&attached.items[2].place, Place::File(place) if place.ends_with(".jsonl, line 3")));
    assert_eq!(remarks.len(), 2, "{remarks:?}");
    assert!(files.bundles().iter().any(|bundle| bundle.bytes == line(root).as_bytes()));
    // By a key that nobody trusts it is rejected, however it came.
    let trust = Trust::default();
    let look = Look::Evidence;
    let reading = world.reading(&world.image);
    let attached = super::attached(&world.image, &world.closure, &reading, &files, &trust, look);
    let (found, discarded, _) = attached.await.unwrap().evidence(&world.closure);
    assert_eq!((found.len(), discarded.len()), (0, 3));
}

#[test]
fn b9_a_file_that_holds_no_bundle_is_an_error_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let bundle = json!({ "mediaType": BUNDLE[0] }).to_string();
    std::fs::write(path("good.jsonl"), format!("{bundle}\n{bundle}")).unwrap();
    assert_eq!(Files::read(&[path("good.jsonl")]).unwrap().bundles().len(), 2);
    for (name, text, wanted) in [
        ("cut.json", &bundle[..20], "cut.json is not a Sigstore bundle"),
        ("two.json", &format!("{bundle}\n{bundle}"), "two.json is not a Sigstore bundle"),
        ("bad.jsonl", &format!("{bundle}\n{{\n"), "bad.jsonl, line 2 is not a Sigstore bundle"),
        ("twice.json", r#"{"mediaType":"a","mediaType":"b"}"#, "its JSON is wrong"),
        ("other.json", r#"{"base64Signature":"eA==","cert":""}"#, "its mediaType is ``"),
        ("sbom.json", r#"{"mediaType":"application/spdx+json"}"#, "its mediaType is `application/spdx+json`"),
        ("list.json", "[]", "its mediaType is ``"),
        ("empty.jsonl", "\n\n", "holds no bundle"),
        ("empty.json", "", "its JSON is wrong"),
    ] {
        std::fs::write(path(name), text).unwrap();
        let error = Files::read(&[path("good.jsonl"), path(name)]).unwrap_err();
        assert!(error.to_string().contains(wanted), "{name}: {error}");
    }
    let absent = Files::read(&[path("nowhere")]).unwrap_err();
    assert!(matches!(absent, FilesError::Absent { .. }), "{absent}");
    std::fs::create_dir(path("empty")).unwrap();
    assert!(matches!(Files::read(&[path("empty")]).unwrap_err(), FilesError::Empty { .. }));
    std::fs::create_dir(path("folder")).unwrap();
    std::fs::create_dir(path("folder/inner.json")).unwrap();
    assert!(matches!(Files::read(&[path("folder")]).unwrap_err(), FilesError::NotAFile { .. }));
    let large = vec![b' '; usize::try_from(EVIDENCE_BYTES).unwrap() + 1];
    std::fs::write(path("large.json"), [&large[..], b"{}", &large[..], b"x"].concat()).unwrap();
    assert!(matches!(Files::read(&[path("large.json")]).unwrap_err(), FilesError::TooLarge { .. }));
    let lines = format!("{bundle}\n").repeat(1001);
    std::fs::write(path("many.jsonl"), lines).unwrap();
    assert!(matches!(Files::read(&[path("many.jsonl")]).unwrap_err(), FilesError::TooMuch { .. }));
}

/// What the copy leaves behind is no evidence here either; the honest one beside it counts.
#[tokio::test]
async fn b5_what_a_copy_leaves_behind_is_no_candidate() {
    let image_layer = "application/vnd.oci.image.layer.v1.tar";
    type Change = fn(&mut Value);
    let left: [(&str, Change, &str); 4] = [
        (
            "it can run",
            |manifest| manifest["config"]["mediaType"] = json!(IMAGE_CONFIG),
            "application/vnd.oci.image.layer.v1.tar",
        ),
        (
            "it refers to sha256:00",
            |manifest| manifest["subject"]["digest"] = json!(format!("sha256:{}", "0".repeat(64))),
            "",
        ),
        ("it refers to nothing", |manifest| drop(manifest.as_object_mut().unwrap().remove("subject")), ""),
        // The artifact manifest that never was, as a copy finds out.
        (
            "no manifest that a copy takes along",
            |manifest| {
                manifest["mediaType"] = json!("application/vnd.oci.artifact.manifest.v1+json");
                manifest["blobs"] = manifest["layers"].take();
                let object = manifest.as_object_mut().unwrap();
                object.remove("layers");
                object.remove("config");
            },
            "",
        ),
    ];
    for (why, change, beside) in left {
        let world = World::with(Behaviour { referrers_api: false, ..Behaviour::default() }).await;
        let root = world.image.digest;
        let bundle = world.bundle(root);
        let mut respelled = bundle.clone();
        respelled.push(b'\n');
        let blob = world.fake.seed_blob("shop", b"layer");
        let other = world.refer(root, (BUNDLE[0], &respelled), |manifest| {
            change(manifest);
            if beside == image_layer {
                let layer = json!({ "mediaType": image_layer, "digest": blob, "size": 5 });
                manifest["layers"].as_array_mut().unwrap().push(layer);
            }
        });
        let honest = world.refer(root, (BUNDLE[0], &bundle), |_| ());
        let entry = |digest| json!({ "mediaType": OCI_MANIFEST, "digest": digest, "size": 1 });
        world.fall_back(root, &[entry(other), entry(honest)]);
        let attached = world.look(Look::Evidence).await.unwrap();
        let (found, discarded, remarks) = attached.evidence(&world.closure);
        let found: Vec<Digest> = found.iter().map(|found| Digest::of(found.raw.bytes())).collect();
        assert_eq!((found, discarded.len()), (vec![Digest::of(&bundle)], 0), "{why}");
        let said = remarks.iter().any(|remark| remark.contains(&other.to_string()) && remark.contains(why));
        assert!(said, "{why}: {remarks:?}");
    }
}
