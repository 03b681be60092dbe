//! Copies to real registries over a wire that breaks in mid-upload: what each can do is found by asking it.

use samebits::closure::OCI_MANIFEST;
use samebits::digest::Digest;
use samebits::reference::Repository;
use serde_json::json;

use super::support::Bench;
use crate::cut::Cut;
use crate::docker_registry::{DockerRegistry, Door};
use crate::served::{Maker, Served};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// olareg says how much it has, and gets the rest. Debian's registry (2.8) forgets an upload that broke, and crane's
/// does not say: they get the blob again. All have the right bytes in the end.
#[test]
fn f5_a_broken_upload_to_a_real_registry_ends_whole() {
    let (debian, crane, olareg) =
        (DockerRegistry::start(Door::Open), Served::start(Maker::Crane), Served::start(Maker::Olareg));
    let (Some(debian), Some(crane), Some(olareg)) = (debian, crane, olareg) else { return };
    let bench = Bench::new();
    let layer: Vec<u8> =
        (0..24 << 20_u32).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let root = bench.wait(async {
        let shop: Repository = "oci:shop".parse().unwrap();
        let config =
            json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] } });
        let config = config.to_string();
        let config = bench.blob(&shop, "application/vnd.oci.image.config.v1+json", config.as_bytes()).await;
        let layer = bench.blob(&shop, LAYER, &layer).await;
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer] });
        let tag = "1".parse().unwrap();
        let bytes = manifest.to_string().into();
        bench.registries().push_manifest(&shop, OCI_MANIFEST, bytes, Some(&tag)).await.unwrap()
    });
    for (name, host) in [("debian", debian.host()), ("crane", crane.host()), ("olareg", olareg.host())] {
        let cut = Cut::start(&host, 9 << 20, 2);
        let ran =
            bench.copy("oci:shop:1", &format!("{}/shop:1", cut.host()), &["-o", "json"]).exits(0).json();
        assert_eq!(cut.count(), 2, "{name}");
        assert_eq!(ran["images"][0]["image"], json!(format!("{}/shop@{root}", cut.host())), "{name}");
        // Sent twice over where nothing is kept; where it is, three parts are the whole.
        let sent = cut.carried();
        match name {
            "olareg" => assert!(sent < layer.len() as u64 + (1 << 20), "{name}: {sent}"),
            _ => assert!(sent > layer.len() as u64 + (18 << 20) - (1 << 20), "{name}: {sent}"),
        }
        // Out again, hashed.
        bench.copy(&format!("{host}/shop:1"), &format!("oci:back-{name}"), &[]).exits(0);
        let file = bench.yard.path(&format!("back-{name}/blobs/sha256/{}", Digest::of(&layer).hex()));
        assert!(std::fs::read(file).unwrap() == layer, "{name}");
    }
}
