//! Evidence that is deleted after a promotion (B5): the ledger has it, and says so when it no longer does.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use samebits::collect::BUNDLE;
use samebits::digest::Digest;
use samebits::key::PrivateKey;
use samebits::reference::Image;
use samebits::verify::{self, COSIGN_SIGN, Trust};
use serde_json::{Value, json};

use crate::cli::Yard;

/// Promotes `image` into staging; then nothing of it is left in any registry.
fn promoted_and_lost(yard: &Yard, image: &Image) {
    yard.promote(&format!("oci:registry/shop@{}", image.digest), "staging").exits(0);
    std::fs::remove_dir_all(yard.path("registry")).unwrap();
}

fn build_key(yard: &Yard) -> Trust {
    let key: PrivateKey = yard.key("build");
    Trust::new(vec![key.public()])
}

/// What `ledger evidence` wrote of record 1: what it is, and its bytes, each named by its own digest.
fn taken_out(yard: &Yard, folder: &str) -> Vec<(Value, Vec<u8>)> {
    let document = yard.run(["ledger", "evidence", "1", "--to", folder, "-o", "json"]).exits(0).json();
    let files = document["files"].as_array().unwrap();
    assert_eq!(std::fs::read_dir(yard.path(folder)).unwrap().count(), files.len());
    let read = |file: &Value| {
        let bytes = std::fs::read(yard.path(folder).join(file["file"].as_str().unwrap())).unwrap();
        assert_eq!(file["digest"], Digest::of(&bytes).to_string());
        assert_eq!(file["size"], bytes.len());
        (file.clone(), bytes)
    };
    files.iter().map(read).collect()
}

fn only<'a>(files: &'a [(Value, Vec<u8>)], what: &str) -> &'a (Value, Vec<u8>) {
    let found: Vec<_> = files.iter().filter(|(file, _)| file["what"] == what).collect();
    assert_eq!(found.len(), 1, "{what}: {found:?}");
    found[0]
}

#[test]
fn b5_evidence_deleted_after_promotion_is_in_the_ledger() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    // Beside what is relied on lies what is not: of somebody else, and of another kind.
    yard.attest(&image, "production", COSIGN_SIGN);
    yard.attest(&image, "build", "https://example.com/other/v1");
    let index =
        std::fs::read(yard.path(&format!("registry/shop/blobs/sha256/{}", image.digest.hex()))).unwrap();
    promoted_and_lost(&yard, &image);

    yard.run(["ledger", "verify"]).exits(0);
    let files = taken_out(&yard, "evidence");
    let (root, bytes) = only(&files, "root");
    assert_eq!((root["file"].as_str(), bytes), (Some("index.json"), &index));
    assert_eq!(files.iter().filter(|(file, _)| file["what"] == "platform").count(), 2);
    assert_eq!(only(&files, "policy").1, yard.read("samebits.toml").as_bytes());
    assert!(
        files
            .iter()
            .any(|(file, bytes)| file["name"] == "keys/build.pub"
                && *bytes == yard.key("build").public().der())
    );
    // The one bundle that counted, as it was; anybody can verify it.
    let (bundle, bytes) = only(&files, "attestation");
    assert_eq!(bundle["name"], COSIGN_SIGN);
    assert!(bundle["file"].as_str().unwrap().ends_with(".sigstore.json"));
    let verified = verify::attached(bytes, image.digest, &build_key(&yard)).unwrap();
    assert_eq!(verified.evidence().to_string(), bundle["digest"].as_str().unwrap());
    assert_eq!(only(&files, "record").0["file"], "record.sigstore.json");

    // Nothing is overwritten, and only promotions have evidence.
    let again = yard.run(["ledger", "evidence", "1", "--to", "evidence"]).exits(2);
    assert!(again.stderr.contains("is not empty: nothing is overwritten"), "{}", again.stderr);
    let none = yard.run(["ledger", "evidence", "2", "--to", "new"]).exits(2);
    assert!(none.stderr.contains("there is no record 2: the ledger has 2"), "{}", none.stderr);
    let (images, digest) = ([("FIRST", image.digest)], image.digest.to_string());
    let shown = yard.run(["show", &digest]).exits(0).stdout;
    assert!(shown.contains(&format!("relied on {0} pieces, {0} of them kept", files.len() - 1)), "{shown}");
    assert!(shown.contains(bundle["digest"].as_str().unwrap()), "{shown} {images:?}");
}

/// The bytes of `tests/vectors/b5-evidence-deleted-after-promotion/`, deleted and given back.
#[test]
fn b5_the_kept_bundle_proves_what_the_deleted_one_did() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let deleted = vectors.join("b5-evidence-deleted-after-promotion/bundle.json");
    let yard = Yard::new();
    for end in ["key", "pub"] {
        let file = vectors.join("keys/ed25519").with_extension(end.replace("key", "pem"));
        yard.write(&format!("keys/build.{end}"), std::fs::read(file).unwrap());
    }
    let image = yard.push("1", "first");
    if blessing() {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": image.repository, "digest": { "sha256": image.digest.hex() } }],
            "predicateType": COSIGN_SIGN,
            "predicate": {},
        });
        let bundle = verify::sign_statement(statement.to_string().as_bytes(), &yard.key("build")).unwrap();
        std::fs::write(&deleted, bundle).unwrap();
    }
    let deleted = std::fs::read(deleted).unwrap();
    let none = BTreeMap::new();
    let attached = yard.registries.attach(&image, BUNDLE[0], BUNDLE[0], &deleted, &none);
    yard.runtime.block_on(attached).unwrap();
    promoted_and_lost(&yard, &image);

    let files = taken_out(&yard, "evidence");
    let (_, kept) = only(&files, "attestation");
    assert_eq!(*kept, deleted);
    let [before, after] =
        [&deleted, kept].map(|bytes| verify::attached(bytes, image.digest, &build_key(&yard)));
    let (before, after) = (before.unwrap(), after.unwrap());
    assert_eq!(before.evidence(), after.evidence());
    assert_eq!(before.author(), after.author());
    assert_eq!(before.subjects(), after.subjects());
    assert_eq!(before.predicate(), after.predicate());
    // It is those bytes: of a changed one nothing is left.
    let changed = String::from_utf8(deleted).unwrap().replace("\"payload\":\"", "\"payload\":\"AAAA");
    assert!(verify::attached(changed.as_bytes(), image.digest, &build_key(&yard)).is_err());
}

/// Whether the bundle is to be made anew.
fn blessing() -> bool {
    #[allow(clippy::disallowed_methods, reason = "how every test here is told")]
    std::env::var_os("SAMEBITS_VECTORS").is_some()
}

#[test]
fn b5_kept_evidence_that_is_changed_or_gone_is_named() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    promoted_and_lost(&yard, &image);
    let whole = yard.run(["show", &image.digest.to_string(), "-o", "json"]).exits(0).json();
    let pieces = whole["records"][0]["evidence"].as_array().unwrap().clone();
    assert!(pieces.iter().all(|piece| piece["state"] == "kept"), "{pieces:#?}");
    let database = rusqlite::Connection::open(yard.path(".samebits/ledger.db")).unwrap();
    for piece in &pieces {
        let digest = piece["digest"].as_str().unwrap();
        let hex = digest.strip_prefix("sha256:").unwrap();
        let bytes: Vec<u8> = database
            .query_row(&format!("SELECT bytes FROM kept WHERE digest = x'{hex}'"), [], |row| row.get(0))
            .unwrap();
        let mut other = bytes.clone();
        other[0] ^= 1;
        for (state, said, broken) in
            [("changed", "was changed", Some(&other)), ("gone", "is gone", None::<&Vec<u8>>)]
        {
            database.execute(&format!("DELETE FROM kept WHERE digest = x'{hex}'"), []).unwrap();
            if let Some(broken) = broken {
                database.execute(&format!("INSERT INTO kept VALUES (x'{hex}', ?1)"), [broken]).unwrap();
            }
            // Every one is missed, and named with the first record that relied on it.
            let audit = yard.run(["ledger", "verify", "-o", "json"]).exits(1).json();
            assert_eq!(audit["findings"], json!([format!("the evidence {digest} of record 0 {said}")]));
            let show = yard.run(["show", &image.digest.to_string(), "-o", "json"]).exits(0).json();
            let shown = show["records"][1]["evidence"].as_array().unwrap();
            let shown = shown.iter().find(|piece| piece["digest"] == digest).unwrap();
            assert_eq!(shown["state"], state);
            // Half of it is not handed out.
            let ran = yard.run(["ledger", "evidence", "1", "--to", "evidence"]).exits(3);
            assert!(
                ran.stderr.contains(&format!("the evidence {digest} of record 1 {said}")),
                "{}",
                ran.stderr
            );
            assert!(ran.stdout.is_empty() && !yard.path("evidence").exists());
        }
        database.execute(&format!("INSERT INTO kept VALUES (x'{hex}', ?1)"), [bytes]).unwrap();
    }
    yard.run(["ledger", "verify"]).exits(0);
}

/// What cosign wrote before bundles has its signature beside it, in the manifest that listed it.
#[test]
fn b5_an_older_signature_is_kept_with_the_layer_that_carried_it() {
    let yard = Yard::new();
    let image = yard.push("1", "first");
    let payload = json!({
        "critical": {
            "identity": { "docker-reference": image.repository },
            "image": { "docker-manifest-digest": image.digest },
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    let payload = Bytes::from(payload.to_string());
    let signature = STANDARD.encode(yard.key("build").sign(&payload).unwrap());
    yard.runtime.block_on(async {
        let to = &image.repository;
        let config = yard.registries.push_blob(to, Bytes::from_static(b"{}")).await.unwrap();
        let layer = yard.registries.push_blob(to, payload.clone()).await.unwrap();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2 },
            "layers": [{
                "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
                "digest": layer,
                "size": payload.len(),
                "annotations": { "dev.cosignproject.cosign/signature": signature, "org.example": "x" },
            }],
        });
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = Bytes::from(manifest.to_string());
        let digest = yard.registries.push_manifest(to, media_type, manifest, None).await.unwrap();
        let tag = format!("sha256-{}.sig", image.digest.hex()).parse().unwrap();
        yard.registries.set_tag(&Image::new(to.clone(), digest), &tag).await.unwrap();
    });
    promoted_and_lost(&yard, &image);

    yard.run(["ledger", "verify"]).exits(0);
    let files = taken_out(&yard, "evidence");
    let (file, bytes) = only(&files, "attestation");
    assert!(file["file"].as_str().unwrap().ends_with(".payload.json"), "{file}");
    assert_eq!(*bytes, payload);
    let layer: Value = serde_json::from_slice(&only(&files, "layer").1).unwrap();
    assert_eq!(layer["digest"], file["digest"]);
    let annotations: BTreeMap<String, String> = serde_json::from_value(layer["annotations"].clone()).unwrap();
    assert_eq!(annotations.keys().collect::<Vec<_>>(), ["dev.cosignproject.cosign/signature"]);
    let signature = &annotations["dev.cosignproject.cosign/signature"];
    let verified = verify::simple_signing(bytes, signature, &build_key(&yard)).unwrap();
    assert_eq!(verified.subjects()[0].digest, image.digest);
}

/// Of a refusal what it found good is kept, and nothing that anybody could attach.
#[test]
fn b5_a_refusal_keeps_what_it_relied_on_and_no_more() {
    let yard = Yard::new();
    let image = yard.build("1", "first");
    for number in 0..3 {
        let none = BTreeMap::new();
        let junk = format!("{{\"junk\":{number}}}");
        let attached = yard.registries.attach(&image, BUNDLE[0], BUNDLE[0], junk.as_bytes(), &none);
        yard.runtime.block_on(attached).unwrap();
    }
    yard.promote("oci:registry/shop:1", "production").exits(1);
    let shown = yard.run(["show", &image.digest.to_string(), "-o", "json"]).exits(0).json();
    assert_eq!(shown["records"][0]["outcome"], "refused");
    let pieces = shown["records"][0]["evidence"].as_array().unwrap();
    let database = rusqlite::Connection::open(yard.path(".samebits/ledger.db")).unwrap();
    let kept: i64 = database.query_row("SELECT count(*) FROM kept", [], |row| row.get(0)).unwrap();
    assert_eq!(usize::try_from(kept).unwrap(), pieces.len());
    yard.run(["ledger", "verify"]).exits(0);
}
