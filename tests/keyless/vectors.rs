//! Attacks as bytes, a folder each: `tests/vectors/bN-…/bundle.json` under `virtual-sigstore/trusted_root.json`. Made once
//! by the virtual Sigstore (`SAMEBITS_VECTORS=1` makes them all anew, root and keys too); their times have passed for ever.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use samebits::digest::Digest;
use samebits::verify::{Root, Trust, attached};
use serde_json::{Value, json};

use crate::sigstore::{
    Checkpoint, Fulcio, Identity, Instance, Kind, Log, Logged, Name, Promise, Recipe, Sct, Signed, Version,
    oidc,
};
use crate::statement;

/// Folder, and the code of the refusal.
const ATTACKS: [(&str, &str); 22] = [
    ("b1-message-over-another-manifest", "artifact-mismatch"),
    ("b6-two-identities", "certificate-identity"),
    ("b6-no-issuer", "certificate-issuer"),
    ("b6-authority-of-the-same-name", "certificate-chain"),
    ("b6-no-sct", "certificate-sct"),
    ("b7-expired-certificate", "certificate-expired"),
    ("b7-no-time", "time-missing"),
    ("b7-timestamp-of-another-signature", "timestamp"),
    ("b8-no-log-entry", "log-entry-missing"),
    ("b8-entry-of-another-signature", "log-entry-mismatch"),
    ("b8-checkpoint-of-another-key", "log-checkpoint"),
    ("b8-promise-of-another-entry", "log-promise"),
    ("b8-log-of-another-instance", "unknown-log"),
    ("b8-tree-size-of-another-checkpoint", "log-disagrees"),
    ("b8-entry-of-2023", "log-entry-unsupported"),
    ("b9-duplicate-key-in-bundle", "not-strict-json"),
    ("b9-payload-type", "payload-type"),
    ("b9-two-signatures", "signature-count"),
    ("b9-no-bundle", "not-a-bundle"),
    ("b9-statement-of-another-type", "statement-type"),
    ("b9-subject-by-sha1", "subject-without-sha256"),
    ("b9-v0.1-without-its-proof", "log-proof-missing"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn manifest() -> Digest {
    Digest::of(b"manifest")
}

fn job(instance: &Instance) -> Identity {
    instance.identity(&oidc::github("acme/shop", "release.yml", "refs/heads/main"))
}

fn made(instance: &Instance, signed: Signed<'_>, who: &Identity, recipe: &Recipe) -> Vec<u8> {
    instance.make(signed, who, instance.now() - SignedDuration::from_hours(24), recipe)
}

/// The honest bundle, changed after it was signed.
fn changed(instance: &Instance, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let statement = statement();
    let honest = made(instance, Signed::Statement(&statement), &job(instance), &Recipe::default());
    let mut bundle = serde_json::from_slice(&honest).unwrap();
    change(&mut bundle);
    bundle.to_string().into_bytes()
}

fn attack(instance: &Instance, name: &str) -> Vec<u8> {
    const ENTRY: &str = "/verificationMaterial/tlogEntries/0";
    let (v1, v2) = (Recipe::default, Recipe::v2);
    let with = |recipe: Recipe| made(instance, Signed::Statement(&statement()), &job(instance), &recipe);
    let by = |change: &dyn Fn(&mut Identity)| {
        let mut who = job(instance);
        change(&mut who);
        made(instance, Signed::Statement(&statement()), &who, &v1())
    };
    let says = |change: &dyn Fn(&mut Value)| {
        let mut said: Value = serde_json::from_slice(&statement()).unwrap();
        change(&mut said);
        made(instance, Signed::Statement(said.to_string().as_bytes()), &job(instance), &v1())
    };
    let edit = |change: &dyn Fn(&mut Value)| changed(instance, change);
    let entry = |change: &dyn Fn(&mut Value)| edit(&|bundle| change(bundle.pointer_mut(ENTRY).unwrap()));
    match name {
        "b1-message-over-another-manifest" => {
            made(instance, Signed::Message(Digest::of(b"another")), &job(instance), &v1())
        }
        "b6-two-identities" => by(&|who| who.names.push(Name::Email("evil@evil.example".to_owned()))),
        "b6-no-issuer" => by(&|who| who.extensions.retain(|number, _| ![1, 8].contains(number))),
        "b6-authority-of-the-same-name" => with(Recipe { fulcio: Fulcio::Another, ..v1() }),
        "b6-no-sct" => with(Recipe { sct: Sct::Missing, ..v1() }),
        "b7-expired-certificate" => with(Recipe { logged_after: SignedDuration::from_mins(11), ..v1() }),
        "b7-no-time" => with(Recipe { stamped: None, ..v2() }),
        "b7-timestamp-of-another-signature" => with(Recipe { stamp_of_another: true, ..v2() }),
        "b8-no-log-entry" => with(Recipe { log: Log::None, ..v2() }),
        "b8-entry-of-another-signature" => with(Recipe { logged: Logged::AnotherSignature, ..v1() }),
        "b8-checkpoint-of-another-key" => with(Recipe { checkpoint: Checkpoint::AnotherKey, ..v1() }),
        "b8-promise-of-another-entry" => with(Recipe { promise: Promise::OfAnotherEntry, ..v1() }),
        "b8-log-of-another-instance" => {
            let other: Value =
                serde_json::from_slice(&changed(&Instance::new(Kind::Public), |_| {})).unwrap();
            entry(&|entry| *entry = other.pointer(ENTRY).unwrap().clone())
        }
        "b8-tree-size-of-another-checkpoint" => {
            entry(&|entry| entry["inclusionProof"]["treeSize"] = json!("1000"))
        }
        "b8-entry-of-2023" => {
            entry(&|entry| entry["kindVersion"] = json!({ "kind": "intoto", "version": "0.0.1" }))
        }
        "b9-duplicate-key-in-bundle" => {
            let honest = String::from_utf8(with(v1())).unwrap();
            honest.replacen('{', r#"{"dsseEnvelope":{},"#, 1).into_bytes()
        }
        "b9-payload-type" => {
            edit(&|bundle| bundle["dsseEnvelope"]["payloadType"] = json!("application/json"))
        }
        "b9-two-signatures" => edit(&|bundle| {
            let signatures = bundle["dsseEnvelope"]["signatures"].as_array_mut().unwrap();
            signatures.push(signatures[0].clone());
        }),
        "b9-no-bundle" => edit(&|bundle| bundle["mediaType"] = json!("application/json")),
        "b9-statement-of-another-type" => {
            says(&|said| said["_type"] = json!("https://in-toto.io/Statement/v2"))
        }
        "b9-subject-by-sha1" => says(&|said| {
            said["subject"][0]["digest"] = json!({ "sha1": "a9993e364706816aba3e25717850c26c9cd0d89d" });
        }),
        "b9-v0.1-without-its-proof" => {
            let old = with(Recipe { version: Version::V0_1, ..v1() });
            let mut bundle: Value = serde_json::from_slice(&old).unwrap();
            bundle.pointer_mut(ENTRY).unwrap().as_object_mut().unwrap().remove("inclusionProof");
            bundle.to_string().into_bytes()
        }
        name => panic!("nobody makes {name}"),
    }
}

/// Whether the vectors are to be made anew.
fn blessing() -> bool {
    #[allow(clippy::disallowed_methods, reason = "how every test here is told")]
    std::env::var_os("SAMEBITS_VECTORS").is_some()
}

#[test]
fn b1_b6_b7_b8_b9_every_attack_in_its_folder_is_refused_for_what_it_is() {
    let shared = folder().join("virtual-sigstore");
    if blessing() {
        let instance = Instance::new(Kind::Public);
        fs::create_dir_all(&shared).unwrap();
        fs::write(shared.join("trusted_root.json"), instance.trusted_root()).unwrap();
        fs::write(shared.join("honest.json"), changed(&instance, |_| {})).unwrap();
        for (name, _) in ATTACKS {
            fs::create_dir_all(folder().join(name)).unwrap();
            fs::write(folder().join(name).join("bundle.json"), attack(&instance, name)).unwrap();
        }
    }
    let root = fs::read_to_string(shared.join("trusted_root.json")).unwrap();
    let root = Root::private("virtual".parse().unwrap(), &root).unwrap();
    let trust = Trust::default().with_roots(vec![root]);
    let honest = fs::read(shared.join("honest.json")).unwrap();
    assert!(attached(&honest, manifest(), &trust).is_ok());
    for (name, code) in ATTACKS {
        let bytes = fs::read(folder().join(name).join("bundle.json")).unwrap();
        let refused = attached(&bytes, manifest(), &trust).unwrap_err();
        assert_eq!(refused.reason.code(), code, "{name}: {refused:?}");
    }
    // No folder that nobody looks at.
    let known: BTreeSet<_> = ATTACKS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let there = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap());
    let there = there.filter(|entry| entry.path().join("bundle.json").exists());
    let there: BTreeSet<_> = there.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert!(there.is_superset(&known), "{:?}", known.difference(&there));
    let ours = |name: &&String| ["b1-", "b6-", "b7-", "b8-", "b9-"].iter().any(|row| name.starts_with(row));
    let unread: Vec<_> = there.iter().filter(ours).filter(|name| !known.contains(*name)).collect();
    assert!(unread.is_empty(), "{unread:?}");
}
