//! A build, as a CI job would do it: two platforms, real layers, a signature and SLSA provenance by the build's key.

use std::collections::BTreeMap;
use std::io::Write as _;

use anyhow::Context as _;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use samebits::digest::Digest;
use samebits::key::PrivateKey;
use samebits::reference::{Image, Repository, Tag};
use samebits::registry::Registries;
use samebits::verify::{COSIGN_SIGN, provenance, sign_statement};
use serde_json::{Value, json};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// The builder the policy of the quickstart expects.
pub(crate) const BUILDER: &str = "https://ci.example/builder";
/// The source the policy of the quickstart expects.
pub(crate) const SOURCE: &str = "https://git.example/acme/shop";
/// The ref the policy of the quickstart expects.
pub(crate) const REF: &str = "refs/heads/main";

/// Builds, pushes under `tag`, signs and attests. Another `seed` is another build: same tag, other bytes.
pub(crate) async fn build(
    registries: &Registries,
    repository: &Repository,
    tag: &Tag,
    key: &PrivateKey,
    seed: u8,
) -> anyhow::Result<Image> {
    let mut manifests = Vec::new();
    for (architecture, share) in [("amd64", 0), ("arm64", 1)] {
        let (layer, diff) = layer(seed.wrapping_mul(2).wrapping_add(share))?;
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": { "Entrypoint": ["/shop"] },
            "rootfs": { "type": "layers", "diff_ids": [diff] },
        });
        let config = Bytes::from(config.to_string());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": { "mediaType": CONFIG, "digest": Digest::of(&config), "size": config.len() },
            "layers": [{ "mediaType": LAYER, "digest": Digest::of(&layer), "size": layer.len() }],
        });
        let manifest = Bytes::from(manifest.to_string());
        let size = manifest.len();
        registries.push_blob(repository, config).await?;
        registries.push_blob(repository, layer).await?;
        let digest = registries.push_manifest(repository, MANIFEST, manifest, None).await?;
        manifests.push(json!({
            "mediaType": MANIFEST,
            "digest": digest,
            "size": size,
            "platform": { "os": "linux", "architecture": architecture },
        }));
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    let digest =
        registries.push_manifest(repository, INDEX, Bytes::from(index.to_string()), Some(tag)).await?;
    let image = Image::new(repository.clone(), digest);
    let commit = format!("{seed:040x}");
    attest(registries, &image, key, COSIGN_SIGN, json!({})).await?;
    attest(registries, &image, key, provenance::V1, slsa(&commit)).await?;
    Ok(image)
}

/// SLSA provenance v1, in the shape GitHub's builders write.
fn slsa(commit: &str) -> Value {
    json!({
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": {
                "workflow": { "repository": SOURCE, "ref": REF, "path": ".github/workflows/build.yml" },
            },
            "resolvedDependencies": [
                { "uri": format!("git+{SOURCE}@{REF}"), "digest": { "gitCommit": commit } },
            ],
        },
        "runDetails": { "builder": { "id": BUILDER } },
    })
}

/// An in-toto statement about the image, signed, beside it as a referrer: what `cosign attest` would push.
async fn attest(
    registries: &Registries,
    image: &Image,
    key: &PrivateKey,
    predicate_type: &str,
    predicate: Value,
) -> anyhow::Result<()> {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": image.repository, "digest": { "sha256": image.digest.hex() } }],
        "predicateType": predicate_type,
        "predicate": predicate,
    });
    let bundle = sign_statement(statement.to_string().as_bytes(), key)?;
    let annotations = BTreeMap::from([
        ("dev.sigstore.bundle.content".to_owned(), "dsse-envelope".to_owned()),
        ("dev.sigstore.bundle.predicateType".to_owned(), predicate_type.to_owned()),
    ]);
    registries.attach(image, BUNDLE, BUNDLE, &bundle, &annotations).await?;
    Ok(())
}

/// A gzipped tar with one program of 3 MiB, and its digest before compression.
fn layer(seed: u8) -> anyhow::Result<(Bytes, Digest)> {
    // Hashes of a counter do not compress, like a real program.
    let program: Vec<u8> = (0_u32..3 * 32 * 1024)
        .flat_map(|count| *Digest::of(&[&[seed], &count.to_be_bytes()[..]].concat()).as_bytes())
        .collect();
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(program.len() as u64);
    header.set_mode(0o755);
    header.set_mtime(0);
    header.set_cksum();
    archive.append_data(&mut header, "shop", program.as_slice()).context("writing the layer")?;
    let archive = archive.into_inner().context("writing the layer")?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&archive).context("compressing the layer")?;
    Ok((Bytes::from(gzip.finish().context("compressing the layer")?), Digest::of(&archive)))
}
