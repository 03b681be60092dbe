//! Registries that take images and refuse what is attached to them (`subject`): evidence lives in the store that the policy
//! names, or nothing is promoted to them.

use std::collections::BTreeMap;

use samebits::collect::BUNDLE;
use samebits::digest::Digest;
use samebits::reference::{Image, Repository};
use samebits::registry::Referrers;
use samebits::verify::{COSIGN_SIGN, sign_statement};
use serde_json::{Value, json};

use super::support::Bench;
use crate::cli::{Ran, Yard};
use crate::registry::{Behaviour, Fake, Reply};

/// A service whose build pushes to one registry, and whose environments are in another that refuses attachments.
struct Shop {
    yard: Yard,
    build: Fake,
    strict: Fake,
    image: Image,
}

impl Shop {
    fn new(status: u16) -> Self {
        let shop = Self::unsigned(status);
        shop.yard.attest(&shop.image, "build", COSIGN_SIGN);
        shop
    }

    fn unsigned(status: u16) -> Self {
        let (yard, build) = (Yard::empty(), Fake::start());
        let strict = Fake::with(Behaviour { refuses_subject: Some(status), ..Behaviour::default() });
        yard.run(["init", "--service", "shop", "--registry", build.host()]).exits(0);
        yard.edit_policy(|text| {
            let there = |text: String, name: &str| {
                text.replace(&format!("{}/{name}/", build.host()), &format!("{}/{name}/", strict.host()))
            };
            there(there(text, "staging"), "production")
        });
        let image = yard.push_to(&format!("{}/shop", build.host()).parse().unwrap(), "1", "hello");
        Self { yard, build, strict, image }
    }

    fn store(&self) -> String {
        format!("{}/evidence/shop", self.build.host())
    }

    /// The policy names the store.
    fn allow(&self, store: &str) {
        let own = format!("repository = \"{}/shop\"\n", self.build.host());
        let line = format!("{own}evidence-store = \"{store}\"\n");
        self.yard.edit_policy(|text| {
            assert!(text.contains(&own), "{text}");
            text.replace(&own, &line)
        });
    }

    fn promote(&self, to: &str, more: &[&str]) -> Ran {
        let image = match to {
            "staging" => self.image.to_string(),
            _ => self.at("staging").to_string(),
        };
        let command = ["promote", &image, "--to", to, "--key", "keys/release.key"];
        self.yard.run([&command, more].concat())
    }

    fn at(&self, environment: &str) -> Image {
        let repository = format!("{}/{environment}/shop", self.strict.host()).parse().unwrap();
        Image::new(repository, self.image.digest)
    }

    fn deployed(&self) {
        let there = self.at("staging").to_string();
        self.yard.run(["deployed", &there, "--in", "staging", "--key", "keys/staging.key"]).exits(0);
    }

    fn outcomes(&self) -> Vec<String> {
        let outcome = |record: &Value| record["outcome"].as_str().unwrap().to_owned();
        self.yard.records().iter().map(outcome).collect()
    }

    /// Nothing that refers to anything is in the strict registry, and no tag unless this one.
    #[track_caller]
    fn nothing_beside(&self, environment: &str, tag: Option<Digest>) {
        let path = format!("{environment}/shop");
        for manifest in self.strict.manifests(&path) {
            let manifest: Value = serde_json::from_slice(&manifest).unwrap();
            assert_eq!(manifest.get("subject"), None);
        }
        let tagged = self.strict.tagged(&path, environment);
        assert_eq!(tagged, tag.map(|tag| tag.to_string()));
    }

    /// The predicate types that lie on the index in the store.
    fn in_store(&self, store: &str) -> Vec<String> {
        let store: Repository = store.parse().unwrap();
        let on = Image::new(store, self.image.digest);
        let listed = self.yard.runtime.block_on(self.yard.registries.referrers(&on)).unwrap();
        let Referrers::Listed(listed) = listed else { panic!("{listed:?}") };
        let kind = "dev.sigstore.bundle.predicateType";
        let mut kinds: Vec<_> =
            listed.iter().map(|one| one.annotations.get(kind).cloned().unwrap_or_default()).collect();
        kinds.sort();
        kinds
    }
}

/// What is signed by `build` about `image`.
fn bundle(yard: &Yard, image: Digest) -> Vec<u8> {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "shop", "digest": { "sha256": image.hex() } }],
        "predicateType": COSIGN_SIGN,
        "predicate": {},
    });
    sign_statement(statement.to_string().as_bytes(), &yard.key("build")).unwrap()
}

/// Where evidence may live is the policy's to say: what is named on the command line is read, and never written to.
#[test]
fn b12_a_repository_that_is_named_is_looked_into_and_is_no_store() {
    let shop = Shop::unsigned(405);
    let sigs = format!("{}/sigs/shop", shop.build.host());
    shop.yard.run(["copy", &shop.image.to_string(), &sigs]).exits(0);
    let named = ["--evidence", &format!("registry:{sigs}")];
    let no = shop.promote("staging", &named).exits(1);
    assert!(no.stderr.contains(&format!("nothing that refers to the image lies in {sigs}")), "{}", no.stderr);
    // Signed as if it were an image of its own: another repository is nobody's, whoever names it (A11).
    let on = Image::new(sigs.parse().unwrap(), shop.image.digest);
    shop.yard.attest(&on, "build", COSIGN_SIGN);
    let no = shop.promote("staging", &named).exits(1);
    assert!(no.stderr.contains("which is not a repository of the service"), "{}", no.stderr);
    let (bundle, none) = (bundle(&shop.yard, shop.image.digest), BTreeMap::new());
    let attached = shop.yard.registries.attach(&on, BUNDLE[0], BUNDLE[0], &bundle, &none);
    shop.yard.runtime.block_on(attached).unwrap();
    let there = shop.build.manifests("sigs/shop").len();
    let ran = shop.promote("staging", &named).exits(2);
    assert!(ran.stderr.contains("under [services.shop]: evidence-store = "), "{}", ran.stderr);
    assert_eq!(shop.outcomes().last().unwrap(), "abort");
    shop.nothing_beside("staging", None);
    assert_eq!(shop.build.manifests("sigs/shop").len(), there);
    // The policy names a store: what counted goes there, and nothing where it was.
    shop.allow(&shop.store());
    shop.promote("staging", &named).exits(0);
    assert!(shop.in_store(&shop.store()).contains(&COSIGN_SIGN.to_owned()));
    assert_eq!(shop.build.manifests("sigs/shop").len(), there);
    // What cannot be read is never nothing.
    shop.build.on("GET", "/v2/sigs/shop/", usize::MAX, Reply::error(403, "DENIED"));
    shop.promote("staging", &named).exits(3);
}

#[test]
fn b12_without_a_store_nothing_is_committed_where_attachments_are_refused() {
    for status in [400, 405, 406, 415, 422, 501] {
        let shop = Shop::new(status);
        let ran = shop.promote("staging", &[]).exits(2);
        assert_eq!(ran.stdout, "");
        let refused = shop.yard.runtime.block_on(shop.yard.registries.referrers(&shop.image)).unwrap();
        let Referrers::Listed(refused) = refused else { panic!("{refused:?}") };
        for said in [
            format!("{}/staging/shop", shop.strict.host()),
            status.to_string(),
            refused[0].digest.to_string(),
            "intent 0 is closed".to_owned(),
            "under [services.shop]: evidence-store = ".to_owned(),
        ] {
            assert!(ran.stderr.contains(&said), "{status}: expected {said:?} in\n{}", ran.stderr);
        }
        assert_eq!(shop.outcomes(), ["intent", "abort"]);
        shop.nothing_beside("staging", None);
        // Nobody waits: the policy is changed, the same command goes through.
        shop.allow(&shop.store());
        shop.promote("staging", &[]).exits(0);
        assert_eq!(shop.outcomes(), ["intent", "abort", "intent", "commit"]);
    }
}

#[test]
fn b12_the_next_environment_finds_the_evidence_in_the_store() {
    for layout in [false, true] {
        let shop = Shop::new(400);
        let store = if layout { "oci:evidence".to_owned() } else { shop.store() };
        shop.allow(&store);
        let ran = shop.promote("staging", &["-o", "json"]).exits(0).json();
        assert_eq!(ran["copy"]["referrersStored"].as_array().unwrap().len(), 1, "{ran:#}");
        assert_eq!(ran["copy"]["referrers"], 0);
        let notes = ran["notes"].to_string();
        assert!(notes.contains(&format!("it was kept in {store}")), "{notes}");
        assert!(notes.contains("is not there yet"), "{notes}");
        shop.nothing_beside("staging", Some(shop.image.digest));
        // The signature; then what a promotion publishes.
        let published =
            ["", "https://samebits.dev/promotion/v0.1", "https://slsa.dev/verification_summary/v1"];
        assert_eq!(shop.in_store(&store), published);
        // Again: everything is there.
        shop.promote("staging", &[]).exits(0);
        assert_eq!(shop.in_store(&store), published);
        assert!(
            shop.yard.run(["reconcile", "-o", "json"]).exits(0).json()["left"].as_array().unwrap().is_empty()
        );
        // Beside the image in staging there is nothing.
        shop.deployed();
        let ran = shop.promote("production", &["-o", "json"]).exits(0).json();
        assert!(!ran["notes"].to_string().contains("is not there yet"), "{ran:#}");
        let relied = ran["requirements"].to_string();
        assert!(relied.contains("\"source\":\"store\""), "{relied}");
        shop.nothing_beside("production", Some(shop.image.digest));
        let there = shop.at("production").to_string();
        let seen = shop.yard.run(["verify", &there, "--to", "production", "-o", "json"]).exits(0).json();
        let found = &seen["manifests"][0]["items"][0]["found"];
        assert_eq!((&found["store"], &found["source"]), (&json!(store), &json!("referrer")), "{seen:#}");
        assert!(
            shop.yard.run(["verify", &there]).stdout.contains(&format!("in     {store}, referrer sha256:"))
        );
        assert_eq!(shop.yard.replays_the_same(), 4);
    }
}

/// Without the policy's word evidence in another place is none, wherever else it lies.
#[test]
fn b12_evidence_elsewhere_counts_only_where_the_policy_says_so() {
    let shop = Shop::new(400);
    shop.allow(&shop.store());
    shop.promote("staging", &[]).exits(0);
    shop.deployed();
    shop.yard.edit_policy(|text| text.replace("evidence-store", "# evidence-store"));
    let ran = shop.promote("production", &[]).exits(1);
    assert!(ran.stderr.contains("signature-missing") || ran.stderr.contains("signed-by"), "{}", ran.stderr);
    shop.nothing_beside("production", None);
}

/// A registry may say so only when something is published, for nothing lay on the image: it is asked before the commit.
#[test]
fn b12_a_refusal_is_found_out_before_the_commit_where_nothing_was_attached() {
    let shop = Shop::unsigned(422);
    shop.yard.write("build.json", bundle(&shop.yard, shop.image.digest));
    let ran = shop.promote("staging", &["--evidence", "build.json"]).exits(2);
    assert!(ran.stderr.contains("422") && ran.stderr.contains("evidence-store"), "{}", ran.stderr);
    assert_eq!(shop.outcomes(), ["intent", "abort"]);
    shop.nothing_beside("staging", None);
    shop.allow(&shop.store());
    shop.promote("staging", &["--evidence", "build.json"]).exits(0);
    // What the file held too.
    assert_eq!(shop.in_store(&shop.store()).len(), 3);
    shop.deployed();
    shop.promote("production", &[]).exits(0);
}

/// Only the word that it does not take the thing is a refusal: not that of a busy registry, or of one that wants a login, or
/// misses a blob.
#[test]
fn b12_other_trouble_is_no_refusal() {
    for reply in [
        Reply::error(400, "MANIFEST_BLOB_UNKNOWN"),
        Reply::error(400, "DIGEST_INVALID"),
        Reply::error(403, "DENIED"),
        Reply::error(404, "NAME_UNKNOWN"),
        Reply::error(409, "MANIFEST_INVALID"),
        Reply::status(413),
        Reply::status(500),
    ] {
        let shop = Shop::new(400);
        shop.allow(&shop.store());
        shop.strict.behave(|behaviour| behaviour.refuses_subject = None);
        let told = reply.clone();
        shop.strict.watch(Box::new(move |method, path, body| {
            let refers = body.windows(9).any(|window| window == b"\"subject\"");
            (method == "PUT" && path.contains("/manifests/") && refers).then(|| told.clone())
        }));
        let ran = shop.promote("staging", &[]).exits(3);
        assert!(ran.stderr.contains("did not complete"), "{reply:?}: {}", ran.stderr);
        assert_eq!(shop.outcomes(), ["intent"], "{reply:?}");
        assert_eq!(shop.build.count("PUT", "/evidence/"), 0, "{reply:?}");
        shop.nothing_beside("staging", None);
    }
}

/// The store is as foreign as any other registry (A2, B1, F5).
#[test]
fn b12_a_store_that_lies_or_is_out_of_reach_is_never_a_yes() {
    // 1. Other bytes than those asked for.
    let shop = Shop::new(400);
    shop.allow(&shop.store());
    shop.promote("staging", &[]).exits(0);
    shop.deployed();
    for (path, reply) in [
        ("/v2/evidence/shop/manifests/sha256:", Reply::Bytes(b"{}".to_vec())),
        ("/v2/evidence/shop/blobs/sha256:", Reply::Bytes(b"{}".to_vec())),
        ("/v2/evidence/shop/referrers/", Reply::status(500)),
        ("/v2/evidence/shop/referrers/", Reply::error(403, "DENIED")),
        // What is no route says nothing of evidence, and the tag that it points to is out of order.
        ("/v2/evidence/shop/", Reply::html(404)),
    ] {
        let told = reply.clone();
        shop.build.watch(Box::new(move |method, asked, _| {
            (method == "GET" && asked.starts_with(path)).then(|| told.clone())
        }));
        let ran = shop.promote("production", &[]).exits(3);
        assert!(ran.stderr.contains("evidence/shop"), "{reply:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
    shop.nothing_beside("production", None);
    // 2. Nobody is there.
    let Shop { yard, build, strict, image } = shop;
    drop(build);
    let there = format!("{}/staging/shop@{}", strict.host(), image.digest);
    let ran = yard.run(["promote", &there, "--to", "production", "--key", "keys/release.key"]).exits(3);
    assert!(ran.stderr.contains("evidence/shop") && ran.stderr.contains("no answer"), "{}", ran.stderr);
}

#[test]
fn b1_evidence_in_the_store_about_another_image_is_none() {
    let shop = Shop::unsigned(400);
    shop.allow("oci:evidence");
    let other = bundle(&shop.yard, Digest::of(b"another image"));
    let here = Image::new("oci:evidence".parse().unwrap(), shop.image.digest);
    // It refers to the image, and is about something else; an image has to be there for the library to attach it.
    let (registries, none) = (&shop.yard.registries, BTreeMap::new());
    let closure = shop.yard.runtime.block_on(registries.closure(&shop.image)).unwrap();
    shop.yard
        .runtime
        .block_on(async {
            let from = registries.reading(&shop.image.repository).unwrap();
            registries.copy(&closure, &from, &here.repository).await.unwrap();
            registries.attach(&here, BUNDLE[0], BUNDLE[0], &other, &none).await
        })
        .unwrap();
    let ran = shop.promote("staging", &[]).exits(1);
    assert!(ran.stderr.contains("is about another image"), "{}", ran.stderr);
    assert_eq!(shop.strict.count("PUT", "/"), 0);
    // The honest beside it counts: a store takes nothing away.
    let honest = bundle(&shop.yard, shop.image.digest);
    shop.yard.runtime.block_on(registries.attach(&here, BUNDLE[0], BUNDLE[0], &honest, &none)).unwrap();
    shop.promote("staging", &[]).exits(0);
}

/// What the decision relies on has to be there still when it is recorded.
#[test]
fn b5_evidence_that_vanishes_from_the_store_before_the_commit_stops_the_promotion() {
    let shop = Shop::new(400);
    shop.allow(&shop.store());
    shop.promote("staging", &[]).exits(0);
    shop.deployed();
    let none = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let listing = "/v2/evidence/shop/referrers/";
    // Index and two platforms, as the gate looks; then nothing is listed any more, in both looks before the commit.
    shop.build.on("GET", listing, 3, Reply::Header("x-seen", "by the gate".to_owned()));
    shop.build.on("GET", listing, 6, Reply::Bytes(none.to_vec()));
    let ran = shop.promote("production", &[]).exits(3);
    assert!(ran.stderr.contains("which the decision relies on, is not at"), "{}", ran.stderr);
    assert_eq!(shop.outcomes(), ["intent", "commit", "succeeded", "intent"]);
    shop.nothing_beside("production", None);
    shop.promote("production", &[]).exits(0);
}

#[test]
fn b12_a_copy_says_what_could_not_be_attached_and_sets_no_tag() {
    let bench = Bench::new();
    let here = Fake::start();
    let strict = Fake::with(Behaviour { refuses_subject: Some(415), ..Behaviour::default() });
    let (from, to) = (format!("{}/shop:1", here.host()), format!("{}/mirror:1", strict.host()));
    let pushed = bench.push(&format!("{}/shop", here.host()), "hello");
    let ran = bench.copy(&from, &to, &[]).exits(3);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains(&format!("destination {}/mirror", strict.host())), "{}", ran.stderr);
    for (_, referrer) in &pushed.attached {
        assert!(ran.stderr.contains(&referrer.to_string()), "{referrer}: {}", ran.stderr);
    }
    assert!(
        ran.stderr.contains("415 MANIFEST_INVALID") && ran.stderr.contains("--no-referrers"),
        "{}",
        ran.stderr
    );
    assert_eq!(strict.tagged("mirror", "1"), None);
    bench.copy(&from, &to, &["--no-referrers"]).exits(0);
    assert_eq!(strict.tagged("mirror", "1"), Some(pushed.image.digest.to_string()));
}

/// The store is for what is refused, and what it refuses in its turn is nowhere.
#[test]
fn b12_a_store_is_written_only_where_the_destination_refuses_and_has_to_take_it() {
    let shop = Shop::new(400);
    shop.allow(&shop.store());
    shop.strict.behave(|behaviour| behaviour.refuses_subject = None);
    shop.promote("staging", &[]).exits(0);
    assert_eq!(shop.build.count("PUT", "/evidence/"), 0);
    shop.strict.behave(|behaviour| behaviour.refuses_subject = Some(400));
    shop.build.behave(|behaviour| behaviour.refuses_subject = Some(400));
    shop.deployed();
    let ran = shop.promote("production", &[]).exits(3);
    assert!(ran.stderr.contains(&format!("{}/evidence/shop", shop.build.host())), "{}", ran.stderr);
    assert!(ran.stderr.contains("name a registry that takes it"), "{}", ran.stderr);
    shop.nothing_beside("production", None);
}

/// What refers to something that was refused goes where that went: where the image is it would refer to nothing.
#[test]
fn b12_what_refers_to_what_was_refused_goes_to_the_store_with_it() {
    let shop = Shop::new(400);
    shop.allow(&shop.store());
    let on = |digest| Image::new(shop.image.repository.clone(), digest);
    let listed = shop.yard.runtime.block_on(shop.yard.registries.referrers(&shop.image)).unwrap();
    let Referrers::Listed(listed) = listed else { panic!("{listed:?}") };
    let (signature, none) = (listed[0].digest, BTreeMap::new());
    let note = "application/vnd.example.note";
    let subject = on(signature);
    let attached = shop.yard.registries.attach(&subject, note, note, b"of the signature", &none);
    let below = shop.yard.runtime.block_on(attached).unwrap();
    // It refuses what refers to images, and would take what refers to anything else.
    shop.strict.behave(|behaviour| behaviour.refuses_subject = None);
    let subject = format!("\"{signature}\"");
    shop.strict.watch(Box::new(move |method, path, body| {
        let body = String::from_utf8_lossy(body);
        let refused = body.contains("\"subject\"") && !body.contains(&subject);
        (method == "PUT" && path.contains("/manifests/") && refused)
            .then(|| Reply::error(400, "MANIFEST_INVALID"))
    }));
    shop.promote("staging", &[]).exits(0);
    shop.nothing_beside("staging", Some(shop.image.digest));
    assert!(shop.build.manifest("evidence/shop", &below.to_string()).is_some());
}
