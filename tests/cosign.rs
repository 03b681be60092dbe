//! What cosign signs, samebits believes; what samebits copies and publishes, cosign believes. Both are the real
//! programs, over a real registry, offline. Skipped, aloud, where cosign or `docker-registry` is not installed; in CI
//! (`SAMEBITS_REQUIRE_PEERS=1`) they have to be.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "support/cli.rs"]
#[allow(dead_code, reason = "no layouts here")]
mod cli;
#[path = "support/docker_registry.rs"]
#[allow(dead_code, reason = "no login here")]
mod docker_registry;
#[path = "support/image.rs"]
mod image;
#[path = "support/peer.rs"]
#[allow(dead_code, reason = "no skopeo here")]
mod peer;

use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use cli::{Ran, Yard};
use docker_registry::{DockerRegistry, Door};
use samebits::reference::{Image, Repository};
use samebits::verify::COSIGN_SIGN;
use serde_json::{Value, json};

/// As the in-toto statement names it.
const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
const SUMMARY: &str = "https://slsa.dev/verification_summary/v1";
const BUILDER: &str = "https://ci.example/builder";

/// What the entry environment wants of a build, beside the signature that `init` writes.
const RULE: &str = r#"signed-by = "build"
[environments.staging.require.provenance]
signer = "build"
builder = "https://ci.example/builder"
source = "https://git.example/acme/{service}"
ref = "refs/heads/main"
"#;

/// How cosign stores what it signs.
#[derive(Clone, Copy, Debug)]
enum Format {
    /// Sigstore bundles as referrers: what cosign 3 writes unless told otherwise.
    Bundle,
    /// The tags `sha256-….sig` and `sha256-….att`: cosign 1 and 2.
    Tags,
}

/// Cosign, a registry, and a folder after `samebits init` with keys that cosign can use.
struct Bench {
    registry: DockerRegistry,
    yard: Yard,
}

impl Bench {
    fn open() -> Option<Self> {
        if !peer::is_installed("cosign") {
            return None;
        }
        let registry = DockerRegistry::start(Door::Open)?;
        let yard = Yard::empty();
        yard.run(["init", "--service", "shop", "--registry", &registry.host()]).exits(0);
        yard.edit_policy(|text| text.replacen("signed-by = \"build\"\n", RULE, 1));
        let bench = Self { registry, yard };
        // Keys of ours, as somebody who comes from `init` has them. Cosign wants its own, encrypted, file.
        for role in ["build", "production"] {
            let (key, prefix) = (format!("keys/{role}.key"), format!("cosign-{role}"));
            bench.cosign(&["import-key-pair", "--key", &key, "--output-key-prefix", &prefix, "-y"]).unwrap();
        }
        Some(bench)
    }

    fn push(&self, text: &str) -> Image {
        let shop: Repository = format!("{}/shop", self.registry.host()).parse().unwrap();
        self.yard.push_to(&shop, "1.0", text)
    }

    /// `image`, where it was promoted to.
    fn staged(&self, image: &Image) -> Image {
        let staging = format!("{}/staging/shop", self.registry.host()).parse().unwrap();
        Image::new(staging, image.digest)
    }

    fn cosign(&self, arguments: &[&str]) -> Result<Vec<u8>, String> {
        cosign(&self.yard.path(""), arguments)
    }

    /// Signs `image` with `KEY.key`, a file of cosign's.
    fn sign(&self, image: &Image, key: &str, format: Format) {
        self.write("sign", &[], image, key, format);
    }

    /// Says with `KEY.key` that `image` was built from `branch`.
    fn attest(&self, image: &Image, key: &str, branch: &str, format: Format) {
        self.yard.write("predicate.json", provenance(branch).to_string());
        let predicate = ["--type=slsaprovenance1", "--predicate=predicate.json"];
        self.write("attest", &predicate, image, key, format);
    }

    fn write(&self, verb: &str, what: &[&str], image: &Image, key: &str, format: Format) {
        let (key, image) = (format!("--key={key}.key"), image.to_string());
        let format = match format {
            Format::Bundle => "--new-bundle-format=true",
            Format::Tags => "--new-bundle-format=false",
        };
        let offline =
            ["--allow-insecure-registry", "--use-signing-config=false", "--tlog-upload=false", "-y"];
        self.cosign(&[&[verb, &key, format], what, &offline, &[&image]].concat()).unwrap();
    }

    /// What cosign says of the signatures of `role` on `image`.
    fn signed(&self, image: &Image, role: &str) -> Result<(), String> {
        self.read("verify", &[], image, role).map(drop)
    }

    /// The predicates of this type on `image` that cosign believes `role`.
    fn attested(&self, image: &Image, role: &str, predicate_type: &str) -> Result<Vec<Value>, String> {
        let said = self.read("verify-attestation", &["--type", predicate_type], image, role)?;
        let mut predicates = Vec::new();
        for envelope in serde_json::Deserializer::from_slice(&said).into_iter::<Value>() {
            let payload = envelope.unwrap()["payload"].as_str().unwrap().to_owned();
            let statement = base64::engine::general_purpose::STANDARD.decode(payload).unwrap();
            let mut statement: Value = serde_json::from_slice(&statement).unwrap();
            assert_eq!(statement["predicateType"], predicate_type);
            predicates.push(statement["predicate"].take());
        }
        Ok(predicates)
    }

    fn read(&self, verb: &str, what: &[&str], image: &Image, role: &str) -> Result<Vec<u8>, String> {
        let (key, image) = (format!("--key=keys/{role}.pub"), image.to_string());
        let offline = ["--insecure-ignore-tlog=true", "--allow-insecure-registry"];
        self.cosign(&[&[verb, &key], what, &offline, &[&image]].concat())
    }

    fn verify(&self, image: &Image) -> Ran {
        self.yard.run(["verify", &image.to_string(), "-o", "json"])
    }

    fn promote(&self, image: &Image) -> Ran {
        self.yard.promote(&image.to_string(), "staging")
    }
}

/// Runs cosign in `folder` and returns what it printed; `Err` is what it complained about.
fn cosign(folder: &Path, arguments: &[&str]) -> Result<Vec<u8>, String> {
    #[allow(clippy::disallowed_methods, reason = "where the peers are, and nothing else of the caller's")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    // An empty home: no login, key or trusted root of whoever runs the tests. And no world outside of this machine
    // (Go takes no proxy to a loopback address): what it would fetch or send is an error.
    let output = Command::new("cosign")
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", path)
        .env("HOME", folder)
        .env("COSIGN_PASSWORD", "")
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .env("HTTPS_PROXY", "http://127.0.0.1:1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(format!("cosign {arguments:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

fn provenance(branch: &str) -> Value {
    json!({
        "buildDefinition": {
            "buildType": "https://ci.example/build/v1",
            "externalParameters": { "source": {
                "uri": format!("git+https://git.example/acme/shop@refs/heads/{branch}"),
                "digest": { "gitCommit": "0123456789abcdef0123456789abcdef01234567" },
            } },
        },
        "runDetails": { "builder": { "id": BUILDER } },
    })
}

/// What a run of `verify -o json` found of each requirement: its code, or `met`.
fn requirements(ran: &Ran) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let document = ran.json();
    let requirements = document["requirements"].as_array().unwrap();
    let outcome = |found: &Value| text(&found["code"]).or_else(|| text(&found["status"])).unwrap();
    requirements.iter().map(|found| (text(&found["requirement"]).unwrap(), outcome(found))).collect()
}

/// The same, as it is expected.
fn expected(signed_by: &str, provenance: &str) -> Vec<(String, String)> {
    vec![("signed-by".to_owned(), signed_by.to_owned()), ("provenance".to_owned(), provenance.to_owned())]
}

#[test]
fn cosign_signs_samebits_promotes_and_cosign_believes_the_copy() {
    let Some(bench) = Bench::open() else { return };
    let image = bench.push("hello");
    bench.sign(&image, "cosign-build", Format::Bundle);
    bench.attest(&image, "cosign-build", "main", Format::Bundle);

    let verified = bench.verify(&image).exits(0);
    assert_eq!(requirements(&verified), expected("met", "met"));
    let staged = bench.staged(&image);
    bench.signed(&staged, "build").unwrap_err();
    let promoted = bench.promote(&image).exits(0);
    assert_eq!(promoted.stdout.trim_end(), staged.to_string());
    // The platforms have no fallback tag. That is said, and not that the index had none.
    assert!(
        promoted.stderr.contains("only what fallback tags and cosign's tags list"),
        "{}",
        promoted.stderr
    );
    assert!(promoted.stderr.contains(" 2 referrers; "), "{}", promoted.stderr);

    // 1. What the build said is at the destination, as it said it, and nobody else said it.
    bench.signed(&staged, "build").unwrap();
    bench.signed(&staged, "production").unwrap_err();
    assert_eq!(bench.attested(&staged, "build", COSIGN_SIGN).unwrap().len(), 1);
    assert_eq!(bench.attested(&staged, "build", PROVENANCE).unwrap(), [provenance("main")]);
    for predicate_type in [COSIGN_SIGN, PROVENANCE] {
        bench.attested(&staged, "release", predicate_type).unwrap_err();
    }
    // 2. What we decided is on the index and on each platform: a cluster asks for what it runs.
    let closure = bench.yard.runtime.block_on(bench.yard.registries.closure(&staged)).unwrap();
    let platforms: Vec<_> = closure.platforms().map(|(digest, _)| digest).collect();
    assert_eq!(platforms.len(), 2);
    for digest in [vec![image.digest], platforms].concat() {
        let on = Image::new(staged.repository.clone(), digest);
        let summaries = bench.attested(&on, "release", SUMMARY).unwrap();
        assert_eq!(summaries.len(), 1, "{on}");
        assert_eq!(summaries[0]["verificationResult"], "PASSED", "{on}");
        assert_eq!(summaries[0]["resourceUri"], format!("oci://{}", staged.repository), "{on}");
        for role in ["build", "production"] {
            bench.attested(&on, role, SUMMARY).unwrap_err();
        }
        // Only where it was let in.
        let source = Image::new(image.repository.clone(), digest);
        bench.attested(&source, "release", SUMMARY).unwrap_err();
    }
}

#[test]
fn cosigns_older_tags_are_believed_and_copied() {
    let Some(bench) = Bench::open() else { return };
    let image = bench.push("hello");
    bench.sign(&image, "cosign-build", Format::Tags);
    bench.attest(&image, "cosign-build", "main", Format::Tags);

    let verified = bench.verify(&image).exits(0);
    assert_eq!(requirements(&verified), expected("met", "met"));
    bench.promote(&image).exits(0);

    let staged = bench.staged(&image);
    for suffix in ["sig", "att"] {
        let tag = format!("sha256-{}.{suffix}", image.digest.hex());
        let at = |image: &Image| bench.yard.tagged(&image.repository.to_string(), &tag);
        assert!(at(&image).is_some(), "cosign wrote no {tag}");
        assert_eq!(at(&staged), at(&image), "{tag}");
    }
    // Where there is any bundle, as ours, cosign 3 looks at bundles only: it has to be told to look at the tags.
    let tags = "--new-bundle-format=false";
    bench.read("verify", &[tags], &staged, "build").unwrap();
    bench.read("verify", &[tags], &staged, "production").unwrap_err();
    let provenance = ["--type", PROVENANCE, tags];
    bench.read("verify-attestation", &provenance, &staged, "build").unwrap();
    bench.read("verify-attestation", &provenance, &staged, "production").unwrap_err();
    assert_eq!(bench.attested(&staged, "release", SUMMARY).unwrap().len(), 1);
}

#[test]
fn what_cosign_signed_with_another_key_stays_where_it_is() {
    let Some(bench) = Bench::open() else { return };
    bench.cosign(&["generate-key-pair", "--output-key-prefix", "stranger"]).unwrap();
    // Nobody, and somebody who may say other things.
    for key in ["stranger", "cosign-production"] {
        for format in [Format::Bundle, Format::Tags] {
            let image = bench.push(&format!("{key} {format:?}"));
            bench.sign(&image, key, format);
            bench.attest(&image, key, "main", format);
            let verified = bench.verify(&image).exits(1);
            assert_eq!(
                requirements(&verified),
                expected("not-signed-by", "no-provenance"),
                "{key} {format:?}"
            );
            let refused = bench.promote(&image).exits(1);
            assert_eq!(refused.stdout, "", "{key} {format:?}");
            assert!(refused.stderr.contains("not-signed-by"), "{}", refused.stderr);
            let staged = bench.staged(&image);
            let manifest = format!("/v2/staging/shop/manifests/{}", staged.digest);
            assert_eq!(bench.registry.ask("GET", &manifest), Some(404), "{key} {format:?}");
        }
    }
}

#[test]
fn what_cosign_attested_is_no_signature_and_has_to_be_what_was_asked_for() {
    let Some(bench) = Bench::open() else { return };
    for format in [Format::Bundle, Format::Tags] {
        // Cosign 3 itself takes any bundle by the key for a signature.
        let image = bench.push(&format!("attested only {format:?}"));
        bench.attest(&image, "cosign-build", "main", format);
        let verified = bench.verify(&image).exits(1);
        assert_eq!(requirements(&verified), expected("not-signed-by", "met"), "{format:?}");

        let image = bench.push(&format!("from a branch {format:?}"));
        bench.sign(&image, "cosign-build", format);
        bench.attest(&image, "cosign-build", "feature", format);
        let verified = bench.verify(&image).exits(1);
        assert_eq!(requirements(&verified), expected("met", "provenance-mismatch"), "{format:?}");
        bench.promote(&image).exits(1);
    }
}
