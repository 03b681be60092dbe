//! Signatures over the manifest itself, without a statement: a bundle's `messageSignature`.

use std::collections::BTreeMap;

use samebits::collect::trust;
use samebits::digest::Digest;
use samebits::evidence::{Discarded, Found, Raw, Source};
use samebits::gate::{Code, Requirement, decide};
use samebits::policy::Draft;
use samebits::verify::{MESSAGE_SIGNATURE, attached};

use super::sigstore::{Identity, Instance, Key, Kind, Recipe, Signed, oidc};
use super::world::*;

/// Who `build` is.
enum Builder {
    Key(Key),
    Job(Identity),
}

/// [`POLICY`] with one service, whose staging wants a signature by `build` and nothing else.
fn governed(instance: &Instance, builder: &Builder) -> World {
    let text = with(&[("[services.api]\nrepository = \"registry.example/api\"\n", "")]);
    let (before, rest) = text.split_once("[environments.staging.require.provenance]").unwrap();
    let (_, after) = rest.split_once("[environments.production]").unwrap();
    let text = format!("{before}[environments.production]{after}");
    let mut world = World::new(&text);
    let key = "public-key = \"keys/build.pub\"\ntime = \"not-required\"";
    let text = match builder {
        Builder::Key(_) => text,
        Builder::Job(job) => text.replace(
            key,
            &format!(
                "issuer = \"{}\"\nidentity = \"{}\"\nroot = \"virtual\"\n[roots.virtual]\ntrusted-root = \"virtual.json\"",
                job.issuer(),
                job.subject()
            ),
        ),
    };
    let text = text.replace("@VERIFIER@", &world.log.vkey().to_string());
    let draft = Draft::parse("samebits.toml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    let content = |file: &str| match (file, builder) {
        ("keys/build.pub", Builder::Key(key)) => key.public(),
        ("virtual.json", _) => instance.trusted_root(),
        (file, _) => {
            let name = file.strip_prefix("keys/").and_then(|file| file.strip_suffix(".pub")).unwrap();
            world.key(name).public().to_pem()
        }
    };
    let files: BTreeMap<String, String> =
        draft.key_files().into_iter().map(|file| (file.clone(), content(&file))).collect();
    world.policy = draft.validate(&files).unwrap_or_else(|errors| panic!("{errors}"));
    world.trust = trust(&world.policy);
    world
}

/// As `build` signs, undated where it has a key.
fn sign(instance: &Instance, builder: &Builder, digest: Digest) -> Vec<u8> {
    let time = MORNING.parse().unwrap();
    match builder {
        Builder::Key(key) => {
            let undated = Recipe { log: super::sigstore::Log::None, stamped: None, ..Recipe::default() };
            instance.make_keyed(Signed::Message(digest), key, time, &undated)
        }
        Builder::Job(job) => instance.message_bundle(digest, job, time),
    }
}

#[test]
fn b1_a_message_signature_counts_over_the_index_and_over_no_other_manifest() {
    let instance = Instance::new(Kind::Public);
    let job = instance.identity(&oidc::github("acme/shop", "build.yml", "refs/heads/main"));
    let stranger = instance.identity(&oidc::github("acme/shop", "other.yml", "refs/heads/main"));
    let image = Built::shop("1");
    for builder in [Builder::Key(Key::generate()), Builder::Job(job)] {
        let world = governed(&instance, &builder);
        let found = |bytes: &[u8], on: Digest| {
            let attestation = attached(bytes, on, &world.trust).unwrap();
            assert_eq!(attestation.predicate_type(), MESSAGE_SIGNATURE);
            Found { on, source: Source::Referrer, attestation, raw: Raw::bundle(bytes.to_vec().into()) }
        };
        // 1. Over the index, which names every platform.
        let over_index = sign(&instance, &builder, image.root);
        yes(&world.ask("staging", &image, &[found(&over_index, image.root)]));
        // 2. Over one platform, for that platform only.
        let amd64 = image.child("linux/amd64");
        let one = found(&sign(&instance, &builder, amd64), amd64);
        let decision = world.ask("staging", &image, &[one]);
        let missing = format!("not for linux/arm64 ({})", image.child("linux/arm64"));
        let verdict = no(&decision, &[Code::NotSignedBy]);
        assert_eq!(finding(verdict, Requirement::SignedBy).found, missing);
        // 3. Over another manifest: it is no evidence here, and is told.
        let rejected = attached(&over_index, amd64, &world.trust).unwrap_err();
        assert_eq!(rejected.reason.code(), "artifact-mismatch");
        let question = world.question(&image);
        let target = question.target("staging");
        let mut evidence = question.evidence(&target, &[]);
        evidence.discarded.push(Discarded { on: amd64, source: Source::Referrer, rejected });
        let decision = decide(&target, &evidence);
        let told = format!("a referrer on {amd64} does not count");
        says(no(&decision, &[Code::NotSignedBy]), Requirement::SignedBy, &[&told]);
        // 4. Shown on this image, and over another one's index.
        let other = Built::shop("2");
        let lent = found(&sign(&instance, &builder, other.root), other.root);
        no(&world.ask("staging", &image, &[Found { on: image.root, ..lent }]), &[Code::NotSignedBy]);
        // 5. By somebody else.
        let by_other = match &builder {
            Builder::Key(_) => Builder::Key(Key::generate()),
            Builder::Job(_) => Builder::Job(stranger.clone()),
        };
        let theirs = sign(&instance, &by_other, image.root);
        match attached(&theirs, image.root, &world.trust) {
            Err(rejected) => assert_eq!(rejected.reason.code(), "no-trusted-key"),
            Ok(attestation) => {
                let raw = Raw::bundle(theirs.into());
                let theirs = Found { on: image.root, source: Source::Referrer, attestation, raw };
                no(&world.ask("staging", &image, &[theirs]), &[Code::NotSignedBy]);
            }
        }
    }
}
