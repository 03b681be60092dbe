//! Images with odd parts: layers that nobody has to keep, empty and double ones, manifests as long as they may be, and
//! sizes that are not those of the bytes.

use bytes::Bytes;
use samebits::closure::{DOCKER_LIST, DOCKER_MANIFEST, OCI_MANIFEST};
use samebits::digest::Digest;
use samebits::reference::{Image, Repository};
use serde_json::{Value, json};

use super::support::Bench;
use crate::docker_registry::{DockerRegistry, Door};
use crate::registry::{Behaviour, Fake};
use crate::served::{Maker, Served};

const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
const FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const PLATFORM: &[u8] =
    b"{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}";

/// A manifest with these layers, tagged `1`; its digest and length.
async fn manifest(
    bench: &Bench,
    to: &Repository,
    [kind, config]: [&str; 2],
    layers: &[Value],
) -> (Digest, usize) {
    let config = bench.blob(to, config, PLATFORM).await;
    let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers });
    push(bench, to, kind, &manifest).await
}

async fn push(bench: &Bench, to: &Repository, kind: &str, manifest: &Value) -> (Digest, usize) {
    let bytes = Bytes::from(manifest.to_string());
    let (size, tag) = (bytes.len(), "1".parse().unwrap());
    (bench.registries().push_manifest(to, kind, bytes, Some(&tag)).await.unwrap(), size)
}

/// Windows' base layers: who has them hands them on, who has not says where they are; and the manifest stays as it is.
#[test]
fn foreign_layers_come_along_from_where_they_are_kept_and_stop_no_copy_where_they_are_not() {
    for (kind, config, layer, foreign) in [
        (OCI_MANIFEST, CONFIG, LAYER, FOREIGN),
        (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER, DOCKER_FOREIGN),
    ] {
        for kept in [true, false] {
            let (bench, here) = (Bench::new(), Fake::start());
            let there = Fake::with(Behaviour { mounts: false, ..Behaviour::default() });
            let journey = [
                format!("{}/shop", here.host()),
                format!("{}/mirror", here.host()),
                format!("{}/mirror", there.host()),
                format!("{}/again", there.host()),
                "oci:folder".to_owned(),
                "oci:archive.tar".to_owned(),
                "oci:second".to_owned(),
                format!("{}/restored", here.host()),
            ];
            let shop: Repository = journey[0].parse().unwrap();
            let (root, closure) = bench.wait(async {
                let bytes: &[u8] = b"base of windows";
                let base = json!({ "mediaType": foreign, "digest": Digest::of(bytes), "size": bytes.len(),
                    "urls": ["https://mcr.example/base"] });
                if kept {
                    bench.blob(&shop, foreign, bytes).await;
                }
                let own = bench.blob(&shop, layer, b"own").await;
                let (root, _) = manifest(&bench, &shop, [kind, config], &[base, own]).await;
                (root, bench.registries().closure(&Image::new(shop.clone(), root)).await.unwrap())
            });
            for (from, to) in journey.iter().zip(&journey[1..]) {
                let ran =
                    bench.copy(&format!("{from}:1"), &format!("{to}:1"), &["-o", "json"]).exits(0).json();
                let said = ran["notes"].to_string().contains("does not keep were not copied (1)");
                assert_eq!(said, !kept, "{from} to {to}: {ran:#}");
                assert_eq!(bench.tagged(to, "1"), Some(root), "{to}");
                bench.wait(async {
                    let to: Repository = to.parse().unwrap();
                    assert_eq!(bench.registries().has_closure(&to, &closure).await.unwrap(), [], "{to}");
                    let base = Digest::of(b"base of windows");
                    let there = bench.registries().blob_bytes(&to, base, 100).await.unwrap();
                    assert_eq!(there.is_some(), kept, "{to}");
                });
            }
            assert!(here.log().iter().chain(&there.log()).all(|one| !one.path.contains("mcr.example")));
        }
    }
}

/// A size in a manifest is the word of whoever wrote it. What came is not that, wherever it was to go: the source's fault.
#[test]
fn a2_a_manifest_that_says_another_size_than_the_blob_has_is_the_sources_trouble() {
    let (bench, here) = (Bench::new(), Fake::start());
    for (number, size) in [(0, 4_u64), (1, 6), (2, 1 << 40)] {
        let from = format!("{}/shop{number}", here.host());
        bench.wait(async {
            let shop: Repository = from.parse().unwrap();
            let mut layer = bench.blob(&shop, LAYER, b"layer").await;
            layer["size"] = json!(size);
            manifest(&bench, &shop, [OCI_MANIFEST, CONFIG], &[layer]).await;
        });
        let there = Fake::start();
        for to in [format!("{}/to", there.host()), format!("oci:to{number}"), format!("oci:to{number}.tar")] {
            let refused = bench.copy(&format!("{from}:1"), &format!("{to}:1"), &[]).exits(3);
            let digest = Digest::of(b"layer").to_string();
            for said in [&format!("source {from}"), &digest, "hint: do not use these bytes"] {
                assert!(refused.stderr.contains(said), "{to}: {said}: {}", refused.stderr);
            }
            assert_eq!(refused.stdout, "");
            match to.ends_with(".tar") {
                true => assert!(!bench.yard.path(&format!("to{number}.tar")).exists()),
                false => assert_eq!(bench.tagged(&to, "1"), None),
            }
        }
    }
}

/// A list of docker's, an empty layer, each layer twice, a manifest of 4 MiB to the byte: in, out of and within registries
/// that other people wrote.
#[test]
fn an_image_of_docker_with_empty_double_and_very_long_parts_goes_through_three_registries() {
    let (debian, crane, olareg) =
        (DockerRegistry::start(Door::Open), Served::start(Maker::Crane), Served::start(Maker::Olareg));
    let (Some(debian), Some(crane), Some(olareg)) = (debian, crane, olareg) else { return };
    let bench = Bench::new();
    let (root, closure) = bench.wait(async {
        let shop: Repository = "oci:shop".parse().unwrap();
        let empty = bench.blob(&shop, DOCKER_LAYER, b"").await;
        let layer = bench.blob(&shop, DOCKER_LAYER, b"layer").await;
        let config = bench.blob(&shop, DOCKER_CONFIG, PLATFORM).await;
        let mut long = json!({ "schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": config,
            "layers": [empty, layer, layer, empty], "annotations": { "x": "" } });
        long["annotations"]["x"] = json!("x".repeat((4 << 20) - long.to_string().len()));
        let (child, size) = push(&bench, &shop, DOCKER_MANIFEST, &long).await;
        assert_eq!(size, 4 << 20);
        let list = json!({ "schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [
            { "mediaType": DOCKER_MANIFEST, "digest": child, "size": size,
              "platform": { "os": "linux", "architecture": "amd64" } }
        ]});
        let (root, _) = push(&bench, &shop, DOCKER_LIST, &list).await;
        (root, bench.registries().closure(&Image::new(shop, root)).await.unwrap())
    });
    for (name, host) in [("debian", debian.host()), ("crane", crane.host()), ("olareg", olareg.host())] {
        let journey = [
            "oci:shop".to_owned(),
            format!("{host}/shop"),
            format!("{host}/mirror"),
            format!("oci:{name}.tar"),
            format!("oci:{name}"),
        ];
        for (from, to) in journey.iter().zip(&journey[1..]) {
            bench.copy(&format!("{from}:1"), &format!("{to}:1"), &[]).exits(0);
            assert_eq!(bench.tagged(to, "1"), Some(root), "{to}");
            bench.wait(async {
                let to: Repository = to.parse().unwrap();
                assert_eq!(bench.registries().has_closure(&to, &closure).await.unwrap(), [], "{to}");
                for manifest in closure.manifests() {
                    assert_eq!(
                        bench.bytes(&to, manifest.digest).await.as_ref(),
                        Some(&manifest.bytes),
                        "{to}"
                    );
                }
                let none = bench.registries().blob_bytes(&to, Digest::of(b""), 0).await.unwrap();
                assert_eq!(none, Some(Bytes::new()), "{to}");
            });
        }
    }
}
