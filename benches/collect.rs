//! Round trips to collect the evidence on an index of 4 platforms with 20 referrers.
//!
//! Run `cargo bench --bench collect`. Requests are counted by the registry, and so is the depth: how often an answer had
//! to be there to know what to ask next. The wall time is with 20 ms a round trip. Requests and depth are asserted:
//! they must not grow.
//!
//! Nobody knows beforehand what is attached, so that at least 46 requests at depth 3 are needed; it is 55:
//!
//! | Requests | Why |
//! | --- | --- |
//! | 5 | referrers of the index and of each platform: the specification lists those of one digest |
//! | 20 | a manifest a referrer: a listing names the manifest, not the layer with the bundle |
//! | 20 | a blob a referrer |
//! | 10 | `.sig` and `.att` of each manifest. One `tags/list` would do for a small repository, and is the one way to 46; but it grows with the repository (78 bytes a tag of cosign's, in pages that come one after another), is slow where tags are kept as objects in a bucket, and tags it names would be fetched a round later. Ten small answers side by side cost no round |
//!
//! Depth 3: listing, manifest, blob; each names the next. Without the referrers API the fallback tag is one round
//! more, since the specification has the API asked first; once per repository and process. The tag `.sbom` is only
//! asked for when people look (`verify`), as are manifests of types that are no evidence.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark reports to a person and may stop")]

#[path = "../tests/support/registry.rs"]
mod registry;

use std::time::{Duration, Instant};

use registry::{Behaviour, Fake, INDEX, MANIFEST};
use samebits::closure::Closure;
use samebits::collect::{BUNDLE, Files, Look, attached};
use samebits::key::{Algorithm, PrivateKey};
use samebits::reference::Image;
use samebits::registry::{HttpConfig, Registries};
use samebits::verify::{COSIGN_SIGN, Trust, sign_statement};
use serde_json::{Value, json};

const PLATFORMS: usize = 4;
const REFERRERS: usize = 20;
/// For the wall time: a registry far away.
const FAR: Duration = Duration::from_millis(20);
/// For the depth: so long that a busy machine does not look like a round of its own.
const LONG: Duration = Duration::from_millis(300);

struct Bench {
    fake: Fake,
    registries: Registries,
    image: Image,
    closure: Closure,
    trust: Trust,
    /// Whether the same registry has been asked before.
    known: bool,
}

impl Bench {
    /// `artifact_type` is what the referrers are listed as; they are `spread` over all manifests or all on the index.
    async fn new(behaviour: Behaviour, spread: bool, artifact_type: &str) -> Self {
        let with_api = behaviour.referrers_api;
        let fake = Fake::with(behaviour);
        let children: Vec<(String, Value)> = (0..PLATFORMS).map(|number| platform(&fake, number)).collect();
        let listed: Vec<&Value> = children.iter().map(|(_, descriptor)| descriptor).collect();
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed });
        let root = fake.seed_manifest("shop", INDEX, index.to_string().as_bytes());
        let registries = Registries::new(HttpConfig::default(), std::env::temp_dir());
        let image: Image = format!("{}/shop@{root}", fake.host()).parse().unwrap();
        let closure = registries.closure(&image).await.unwrap();

        let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
        let mut subjects = vec![root];
        subjects.extend(children.into_iter().map(|(digest, _)| digest));
        let mut fallback: Vec<Vec<Value>> = vec![Vec::new(); subjects.len()];
        for number in 0..REFERRERS {
            let place = if spread { number % subjects.len() } else { 0 };
            let referrer = refer(&fake, &key, &subjects[place], artifact_type);
            fallback[place].push(referrer);
        }
        if !with_api {
            for (subject, entries) in subjects.iter().zip(fallback) {
                let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
                let digest = fake.seed_manifest("shop", INDEX, index.to_string().as_bytes());
                fake.tag("shop", &subject.replace(':', "-"), &digest);
            }
        }
        let trust = Trust::new(vec![key.public().clone()]);
        Self { fake, registries, image, closure, trust, known: false }
    }

    /// Prints and returns requests and depth.
    async fn run(&self, what: &str, look: Look, found: usize) -> (usize, usize) {
        self.look(LONG, look, found).await;
        let (requests, depth) = (self.fake.log().len(), self.fake.depth());
        let wall = self.look(FAR, look, found).await.as_millis();
        println!("{what:<58} requests {requests:>3}, depth {depth}, wall {wall:>4} ms");
        (requests, depth)
    }

    async fn look(&self, latency: Duration, look: Look, found: usize) -> Duration {
        self.fake.behave(|behaviour| behaviour.latency = latency);
        self.fake.forget_log();
        // Nothing is known of the registry yet.
        let registries = Registries::new(HttpConfig::default(), std::env::temp_dir());
        let registries = if self.known { &self.registries } else { &registries };
        let (began, files) = (Instant::now(), Files::default());
        let reading = registries.reading(&self.image.repository).unwrap();
        let attached = attached(&self.image, &self.closure, &reading, &files, &self.trust, look);
        let (accepted, discarded, _) = attached.await.unwrap().evidence(&self.closure);
        assert_eq!((accepted.len(), discarded.len()), (found, 0));
        began.elapsed()
    }
}

fn platform(fake: &Fake, number: usize) -> (String, Value) {
    let architecture = ["amd64", "arm64", "s390x", "riscv64"][number];
    let config = json!({ "os": "linux", "architecture": architecture }).to_string();
    let digest = fake.seed_blob("shop", config.as_bytes());
    let media_type = "application/vnd.oci.image.config.v1+json";
    let config = json!({ "mediaType": media_type, "digest": digest, "size": config.len() });
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [] });
    let manifest = manifest.to_string();
    let digest = fake.seed_manifest("shop", MANIFEST, manifest.as_bytes());
    let platform = json!({ "os": "linux", "architecture": architecture });
    let descriptor =
        json!({ "mediaType": MANIFEST, "digest": digest, "size": manifest.len(), "platform": platform });
    (digest, descriptor)
}

/// A bundle about `subject` beside it; returns its descriptor.
fn refer(fake: &Fake, key: &PrivateKey, subject: &str, artifact_type: &str) -> Value {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "shop", "digest": { "sha256": subject.strip_prefix("sha256:").unwrap() } }],
        "predicateType": COSIGN_SIGN, "predicate": {},
    });
    // ECDSA signs the same text differently every time.
    let bundle = sign_statement(statement.to_string().as_bytes(), key).unwrap();
    let (empty, blob) = (fake.seed_blob("shop", b"{}"), fake.seed_blob("shop", &bundle));
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": artifact_type,
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2 },
        "layers": [{ "mediaType": BUNDLE[0], "digest": blob, "size": bundle.len() }],
        "subject": { "mediaType": MANIFEST, "digest": subject, "size": 1 },
    })
    .to_string();
    let digest = fake.seed_manifest("shop", MANIFEST, manifest.as_bytes());
    json!({ "mediaType": MANIFEST, "digest": digest, "size": manifest.len(), "artifactType": artifact_type })
}

#[tokio::main]
async fn main() {
    println!("evidence on an index of {PLATFORMS} platforms, {REFERRERS} referrers, 20 ms a round trip:");
    let with_api = Behaviour::default;
    let without = || Behaviour { referrers_api: false, ..Behaviour::default() };

    let spread = Bench::new(with_api(), true, BUNDLE[0]).await;
    assert_eq!(spread.run("referrers API, 4 on each manifest", Look::Evidence, 20).await, (55, 3));
    let index = Bench::new(with_api(), false, BUNDLE[0]).await;
    assert_eq!(index.run("referrers API, all on the index", Look::Evidence, 20).await, (55, 3));
    let other = Bench::new(with_api(), true, "application/spdx+json").await;
    assert_eq!(other.run("referrers API, none is evidence", Look::Evidence, 0).await, (15, 1));
    let mut fallback = Bench::new(without(), true, BUNDLE[0]).await;
    assert_eq!(fallback.run("fallback tags, first time", Look::Evidence, 20).await, (60, 4));
    fallback.known = true;
    fallback.look(FAR, Look::Evidence, 20).await;
    assert_eq!(fallback.run("fallback tags, once it is known", Look::Evidence, 20).await, (55, 3));
    spread.run("verify: everything, and what refers to the referrers", Look::Everything, 20).await;
    println!(
        "55 = 5 listings + 10 tags + 20 manifests + 20 blobs; 46 is possible, where all tags of the repository fit on"
    );
    println!("one page that is fetched instead. Depth 3 is the least: listing > manifest > blob");
}
