//! The registry module against registries and tools that other people wrote: `docker-registry` and skopeo. Skipped,
//! aloud, where they are not installed; in CI (`SAMEBITS_REQUIRE_PEERS=1`) they have to be.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "support/docker_registry.rs"]
mod docker_registry;
#[path = "support/image.rs"]
mod image;
#[path = "support/peer.rs"]
mod peer;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use docker_registry::{DockerRegistry, Door, PASSWORD, USER};
use samebits::closure::{Document, OCI_INDEX};
use samebits::digest::Digest;
use samebits::reference::{Image, Reference, Repository};
use samebits::registry::{HttpConfig, Referrers, Registries, RegistryError, Side, Suffix};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A registry, a folder for layouts, and the client under test.
struct Bench {
    registry: DockerRegistry,
    registries: Registries,
    folder: TempDir,
}

impl Bench {
    fn open() -> Option<Self> {
        let registry = DockerRegistry::start(Door::Open)?;
        let folder = tempfile::tempdir().unwrap();
        let registries = Registries::new(impatient(), folder.path().to_owned());
        Some(Self { registry, registries, folder })
    }

    fn repository(&self, path: &str) -> Repository {
        format!("{}/{path}", self.registry.host()).parse().unwrap()
    }

    fn reference(&self, text: &str) -> Reference {
        format!("{}/{text}", self.registry.host()).parse().unwrap()
    }
}

/// The defaults, without patience: nothing here gets better by waiting.
fn impatient() -> HttpConfig {
    let mut config = HttpConfig::default();
    config.retry.tries = 2;
    config.retry.first_wait = Duration::from_millis(10);
    config
}

/// A login file as `docker login` writes it.
fn login_file(folder: &Path, host: &str, password: &str) -> HttpConfig {
    let login = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{password}"));
    let file = folder.join("config.json");
    std::fs::write(&file, json!({ "auths": { host: { "auth": login } } }).to_string()).unwrap();
    HttpConfig { login_files: vec![file], ..impatient() }
}

#[tokio::test]
async fn an_image_is_pushed_resolved_and_read_back() {
    let Some(bench) = Bench::open() else { return };
    let shop = bench.repository("shop");
    let image = image::push(&bench.registries, &shop, "1.0", "hello").await;

    let resolved = bench.registries.resolve(&bench.reference("shop:1.0")).await.unwrap();
    assert_eq!(resolved.image, image);
    let closure = bench.registries.closure(&image).await.unwrap();
    let platforms: Vec<String> = closure.platforms().map(|(_, platform)| platform.to_string()).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
    let found = bench.registries.manifest(&image).await.unwrap().unwrap();
    assert_eq!((found.digest, found.media_type.as_str()), (Digest::of(&found.bytes), OCI_INDEX));
    assert_eq!(bench.registries.has_closure(&shop, &closure).await.unwrap(), []);

    // What is not there is an answer, whichever part of the name is wrong.
    let absent = Digest::of(b"never pushed");
    for missing in ["shop:2.0".to_owned(), "nobody/pushed:1.0".to_owned(), format!("shop@{absent}")] {
        let error = bench.registries.resolve(&bench.reference(&missing)).await.unwrap_err();
        assert!(matches!(error, RegistryError::NoSuchImage { .. }), "{missing}: {error:?}");
    }
    assert_eq!(bench.registries.tagged(&shop, &"2.0".parse().unwrap()).await.unwrap(), None);
}

#[tokio::test]
async fn a_copy_within_a_registry_mounts_and_moves_no_bytes() {
    let Some(bench) = Bench::open() else { return };
    let (shop, staging) = (bench.repository("shop"), bench.repository("staging/shop"));
    let image = image::push(&bench.registries, &shop, "1.0", "hello").await;
    let closure = bench.registries.closure(&image).await.unwrap();

    let report =
        bench.registries.copy(&closure, &bench.registries.reading(&shop).unwrap(), &staging).await.unwrap();
    assert_eq!((report.manifests, report.blobs_mounted, report.blobs_copied), (3, 4, 0), "{report:?}");
    assert_eq!(report.bytes_copied, 0);
    assert_eq!(bench.registries.has_closure(&staging, &closure).await.unwrap(), []);
    // A copy sets no tag.
    let tag = "1.0".parse().unwrap();
    assert_eq!(bench.registries.tagged(&staging, &tag).await.unwrap(), None);
    let copied = Image::new(staging.clone(), image.digest);
    bench.registries.set_tag(&copied, &tag).await.unwrap();
    assert_eq!(bench.registries.tagged(&staging, &tag).await.unwrap(), Some(image.digest));
    // Again: everything is there.
    let report =
        bench.registries.copy(&closure, &bench.registries.reading(&shop).unwrap(), &staging).await.unwrap();
    assert_eq!((report.blobs_copied, report.bytes_copied), (0, 0), "{report:?}");
}

#[tokio::test]
async fn a_copy_to_another_registry_takes_the_referrers_along() {
    let Some(bench) = Bench::open() else { return };
    let Some(other) = DockerRegistry::start(Door::Open) else { return };
    let (shop, staging) = (bench.repository("shop"), format!("{}/staging/shop", other.host()));
    let staging: Repository = staging.parse().unwrap();
    let image = image::push(&bench.registries, &shop, "1.0", "hello").await;
    let annotations = BTreeMap::from([("org.example.kind".to_owned(), "test".to_owned())]);
    let artifact = "application/vnd.example.note";
    let attached =
        bench.registries.attach(&image, artifact, artifact, b"a note", &annotations).await.unwrap();
    let closure = bench.registries.closure(&image).await.unwrap();

    let report =
        bench.registries.copy(&closure, &bench.registries.reading(&shop).unwrap(), &staging).await.unwrap();
    assert_eq!((report.manifests, report.blobs_mounted, report.referrers), (3, 0, 1), "{report:?}");
    assert!(report.bytes_copied > 0);
    assert_eq!(bench.registries.has_closure(&staging, &closure).await.unwrap(), []);
    for repository in [&shop, &staging] {
        let image = Image::new(repository.clone(), image.digest);
        let Referrers::Listed(listed) = bench.registries.referrers(&image).await.unwrap() else {
            panic!("{image}: nothing is known of its referrers")
        };
        assert_eq!(listed.iter().map(|referrer| referrer.digest).collect::<Vec<_>>(), [attached], "{image}");
        assert_eq!(listed[0].artifact_type.as_deref(), Some(artifact));
        assert_eq!(listed[0].annotations, annotations);
        // 2.8 has no referrers API: they are listed by the fallback tag, and by nothing else.
        let tag = format!("sha256-{}", image.digest.hex()).parse().unwrap();
        assert!(bench.registries.tagged(repository, &tag).await.unwrap().is_some(), "{image}");
    }
}

#[tokio::test]
async fn b11_a_registry_without_referrers_api_and_without_fallback_tag_cannot_say() {
    let Some(bench) = Bench::open() else { return };
    let image = image::push(&bench.registries, &bench.repository("shop"), "1.0", "hello").await;
    let referrers = bench.registries.referrers(&image).await.unwrap();
    assert_eq!(referrers, Referrers::Unsupported);
}

#[tokio::test]
async fn two_notes_by_two_clients_both_stay() {
    let Some(bench) = Bench::open() else { return };
    let image = image::push(&bench.registries, &bench.repository("shop"), "1.0", "hello").await;
    let second = Registries::new(impatient(), bench.folder.path().to_owned());
    let artifact = "application/vnd.example.note";
    let none = BTreeMap::new();
    let mut attached = [
        bench.registries.attach(&image, artifact, artifact, b"one", &none).await.unwrap(),
        second.attach(&image, artifact, artifact, b"two", &none).await.unwrap(),
    ];
    attached.sort();
    let Referrers::Listed(listed) = bench.registries.referrers(&image).await.unwrap() else { panic!() };
    let mut listed: Vec<Digest> = listed.iter().map(|referrer| referrer.digest).collect();
    listed.sort();
    assert_eq!(listed, attached);
}

/// Each mounts the empty configuration that all their notes list, and while one writes its link the registry finds it empty.
#[tokio::test(flavor = "multi_thread")]
async fn f5_many_clients_copy_to_one_place_at_once() {
    let Some(bench) = Bench::open() else { return };
    let (artifact, none) = ("application/vnd.example.note", BTreeMap::new());
    let clients = || Registries::new(HttpConfig::default(), bench.folder.path().to_owned());
    let mut sources = Vec::new();
    for one in 0..6_u8 {
        let repository = bench.repository(&format!("build{one}"));
        let image = image::push(&bench.registries, &repository, "1.0", "hello").await;
        bench.registries.attach(&image, artifact, artifact, &[one], &none).await.unwrap();
        sources.push((repository, bench.registries.closure(&image).await.unwrap()));
    }
    for round in 0..8 {
        let staging = bench.repository(&format!("staging{round}"));
        let copies = sources.iter().map(|(repository, closure)| {
            let (registries, staging) = (clients(), &staging);
            async move { registries.copy(closure, &registries.reading(repository).unwrap(), staging).await }
        });
        let copied = futures_util::future::join_all(copies).await;
        let failed: Vec<String> =
            copied.iter().filter_map(|one| one.as_ref().err()).map(|error| format!("{error:?}")).collect();
        assert_eq!(failed, Vec::<String>::new(), "round {round}");
    }
}

/// Taken away by itself, or by a collection of what has no tag; the fallback tag lists it still, and the registry takes no list
/// of what it has not.
#[tokio::test]
async fn b12_a_note_that_was_taken_away_does_not_keep_others_from_being_attached() {
    let Some(bench) = Bench::open() else { return };
    let image = image::push(&bench.registries, &bench.repository("shop"), "1.0", "hello").await;
    let (artifact, none) = ("application/vnd.example.note", BTreeMap::new());
    let attach =
        async |note: &[u8]| bench.registries.attach(&image, artifact, artifact, note, &none).await.unwrap();
    let (kept, gone) = (attach(b"kept").await, attach(b"gone").await);
    assert_eq!(bench.registry.ask("DELETE", &format!("/v2/shop/manifests/{gone}")), Some(202));
    let late = attach(b"late").await;
    let Referrers::Listed(listed) = bench.registries.referrers(&image).await.unwrap() else { panic!() };
    let listed: Vec<Digest> = listed.iter().map(|referrer| referrer.digest).collect();
    assert_eq!(listed, [kept, late]);
}

#[tokio::test]
async fn a_layout_is_a_registry_like_any_other() {
    let Some(bench) = Bench::open() else { return };
    let (shop, back) = (bench.repository("shop"), bench.repository("back"));
    let layout: Repository = "oci:images".parse().unwrap();
    let image = image::push(&bench.registries, &shop, "1.0", "hello").await;
    let artifact = "application/vnd.example.note";
    bench.registries.attach(&image, artifact, artifact, b"a note", &BTreeMap::new()).await.unwrap();
    let closure = bench.registries.closure(&image).await.unwrap();

    for (from, to) in [(&shop, &layout), (&layout, &back)] {
        let report =
            bench.registries.copy(&closure, &bench.registries.reading(from).unwrap(), to).await.unwrap();
        assert_eq!((report.manifests, report.referrers), (3, 1), "{to}: {report:?}");
        assert_eq!(bench.registries.has_closure(to, &closure).await.unwrap(), [], "{to}");
        let copied = bench.registries.closure(&Image::new(to.clone(), image.digest)).await.unwrap();
        assert_eq!(copied.root(), image.digest);
    }
}

#[tokio::test]
async fn skopeo_reads_what_we_wrote_and_we_read_what_skopeo_wrote() {
    if !peer::is_installed("skopeo") {
        return;
    }
    let Some(bench) = Bench::open() else { return };
    let shop = bench.repository("shop");
    let image = image::push(&bench.registries, &shop, "1.0", "hello").await;
    let index = bench.registries.manifest(&image).await.unwrap().unwrap().bytes;
    let host = bench.registry.host();
    let skopeo = |arguments: &[&str]| peer::skopeo(bench.folder.path(), arguments).unwrap();

    // 1. It reads ours, by tag and by digest.
    let ours = format!("docker://{host}/shop:1.0");
    assert_eq!(skopeo(&["inspect", "--tls-verify=false", "--raw", &ours]), index);
    let pinned = format!("docker://{host}/shop@{}", image.digest);
    let inspected =
        skopeo(&["inspect", "--tls-verify=false", "--override-os=linux", "--override-arch=arm64", &pinned]);
    let inspected: Value = serde_json::from_slice(&inspected).unwrap();
    assert_eq!((&inspected["Architecture"], &inspected["Os"]), (&json!("arm64"), &json!("linux")));
    // 2. It unpacks every layer of ours, and writes the same image elsewhere.
    let theirs = format!("docker://{host}/theirs:1.0");
    let unverified = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    skopeo(&["copy", "--all", "--preserve-digests", unverified[0], unverified[1], &ours, &theirs]);
    let resolved = bench.registries.resolve(&bench.reference("theirs:1.0")).await.unwrap();
    assert_eq!(resolved.image.digest, image.digest);
    let closure = bench.registries.closure(&resolved.image).await.unwrap();
    assert_eq!(bench.registries.has_closure(&resolved.image.repository, &closure).await.unwrap(), []);
    // 3. One platform in docker's own format: other bytes, so another digest, which we read all the same.
    let docker = format!("docker://{host}/docker:1.0");
    let platform = ["--override-os=linux", "--override-arch=amd64"];
    skopeo(&[
        "copy",
        "--format=v2s2",
        platform[0],
        platform[1],
        unverified[0],
        unverified[1],
        &ours,
        &docker,
    ]);
    let single = bench.registries.resolve(&bench.reference("docker:1.0")).await.unwrap();
    assert_ne!(single.image.digest, image.digest);
    let closure = bench.registries.closure(&single.image).await.unwrap();
    assert!(!closure.is_index());
    assert_eq!(
        closure.platforms().map(|(_, platform)| platform.to_string()).collect::<Vec<_>>(),
        ["linux/amd64"]
    );
    let found = bench.registries.manifest(&single.image).await.unwrap().unwrap();
    Document::read(&found.bytes, Some(&found.media_type), None).unwrap();
    // 4. A tag that we set is the tag that it sees.
    bench.registries.set_tag(&single.image, &"live".parse().unwrap()).await.unwrap();
    let live = skopeo(&["inspect", "--tls-verify=false", "--raw", &format!("docker://{host}/docker:live")]);
    assert_eq!(Digest::of(&live), single.image.digest);
}

#[tokio::test]
async fn a12_what_was_deleted_is_missing() {
    let Some(bench) = Bench::open() else { return };
    let shop = bench.repository("shop");
    let image = image::push(&bench.registries, &shop, "1.0", "hello").await;
    let closure = bench.registries.closure(&image).await.unwrap();
    let child = closure.platforms().next().unwrap().0;
    let layer = closure.manifest(child).unwrap().blobs[1].digest;
    assert_eq!(bench.registry.ask("DELETE", &format!("/v2/shop/manifests/{child}")), Some(202));
    assert_eq!(bench.registry.ask("DELETE", &format!("/v2/shop/blobs/{layer}")), Some(202));
    let mut expected = [child, layer];
    expected.sort();
    let mut missing = bench.registries.has_closure(&shop, &closure).await.unwrap();
    missing.sort();
    assert_eq!(missing, expected);
    // The index is still there, and the image is not whole.
    let error = bench.registries.closure(&image).await.unwrap_err();
    assert!(matches!(error, RegistryError::Image { .. }), "{error:?}");
}

#[tokio::test]
async fn f3_a_login_from_dockers_file_opens_the_door_and_a_wrong_one_does_not() {
    let Some(registry) = DockerRegistry::start(Door::Basic) else { return };
    let folder = tempfile::tempdir().unwrap();
    let host = registry.host();
    let shop: Repository = format!("{host}/shop").parse().unwrap();
    let reference: Reference = format!("{host}/shop:1.0").parse().unwrap();
    let right = Registries::new(login_file(folder.path(), &host, PASSWORD), folder.path().to_owned());
    let image = image::push(&right, &shop, "1.0", "hello").await;
    assert_eq!(right.resolve(&reference).await.unwrap().image, image);

    let (wrong, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (config, logged) in [
        (login_file(wrong.path(), &host, "wrong horse"), true),
        (login_file(elsewhere.path(), "127.0.0.1:1", PASSWORD), false),
        (impatient(), false),
    ] {
        let wrong = Registries::new(config, folder.path().to_owned());
        for error in [
            wrong.resolve(&reference).await.unwrap_err(),
            wrong.tagged(&shop, &"1.0".parse().unwrap()).await.unwrap_err(),
            wrong.referrers(&image).await.unwrap_err(),
            wrong.push_blob(&shop, "x".into()).await.unwrap_err(),
        ] {
            let RegistryError::Status { status: 401, logged_in, .. } = error else { panic!("{error:?}") };
            assert_eq!(logged_in, logged);
            assert!(
                !format!("{error} {error:?} {:?}", error.hint()).contains("horse"),
                "a password is shown"
            );
        }
    }
}

#[tokio::test]
async fn f5_a_registry_that_is_gone_is_trouble_and_not_absence() {
    let Some(mut bench) = Bench::open() else { return };
    let Some(other) = DockerRegistry::start(Door::Open) else { return };
    let shop = bench.repository("shop");
    let image = image::push(&bench.registries, &shop, "1.0", "hello").await;
    let closure = bench.registries.closure(&image).await.unwrap();
    let gone: Repository = format!("{}/shop", other.host()).parse().unwrap();
    drop(other);
    let there = Image::new(gone.clone(), image.digest);
    let tag = "1.0".parse().unwrap();
    bench.registries = Registries::new(impatient(), bench.folder.path().to_owned());
    for error in [
        bench.registries.resolve(&Reference::Pinned(there.clone())).await.unwrap_err(),
        bench.registries.closure(&there).await.unwrap_err(),
        bench.registries.tagged(&gone, &tag).await.unwrap_err(),
        bench.registries.referrers(&there).await.unwrap_err(),
        bench.registries.legacy(&there, Suffix::Sig).await.unwrap_err(),
        bench.registries.has_closure(&gone, &closure).await.unwrap_err(),
        bench.registries.set_tag(&there, &tag).await.unwrap_err(),
    ] {
        assert!(matches!(error, RegistryError::Unreachable { .. }) && error.is_transient(), "{error:?}");
    }
    // The copy says on which side.
    let error =
        bench.registries.copy(&closure, &bench.registries.reading(&shop).unwrap(), &gone).await.unwrap_err();
    assert_eq!(error.side, Side::Destination, "{error:?}");
    let error =
        bench.registries.copy(&closure, &bench.registries.reading(&gone).unwrap(), &shop).await.unwrap_err();
    assert_eq!(error.side, Side::Source, "{error:?}");
}
