//! What says when a key signed: every log, every timestamp, honest and odd; in bundles and beside cosign's older tags.

use jiff::{SignedDuration, Timestamp};
use samebits::digest::Digest;
use samebits::key::PublicKey;
use samebits::verify::{
    Annotations, Author, RootName, Trust, Undated, annotated_envelope, annotated_simple_signing, attached,
    bundle,
};
use serde_json::{Value, json};

use crate::sigstore::{Checkpoint, Instance, Key, Kind, Log, Logged, Promise, Recipe, Signed, oidc};
use crate::{root, statement};

fn virtual_root() -> RootName {
    "virtual".parse().unwrap()
}

fn trust(instance: &Instance, key: &Key) -> Trust {
    Trust::new(vec![PublicKey::from_pem(&key.public()).unwrap()]).with_roots(vec![root(instance)])
}

fn long_ago(instance: &Instance) -> Timestamp {
    instance.now() - SignedDuration::from_hours(24)
}

/// The code of what keeps it from being dated, or `dated`.
fn code(author: &Author) -> &'static str {
    match author.is_dated(&virtual_root()) {
        Ok(()) => "dated",
        Err(Undated::ElsewhereOnly) => "elsewhere",
        Err(Undated::Because(why)) => why.code(),
    }
}

const NO: SignedDuration = SignedDuration::ZERO;

#[test]
fn b7_a_key_is_dated_by_every_log_and_by_an_authority() {
    let (instance, key) = (Instance::new(Kind::Public), Key::generate());
    let (v1, v2) = (Recipe::default, Recipe::v2);
    let time = long_ago(&instance);
    for (recipe, told) in [
        (v1(), true),
        (Recipe { stamped: Some(NO), ..v1() }, true),
        (Recipe { log: Log::V1Intoto, ..v1() }, true),
        // Without a promise its time is nobody's word; the log still vouches.
        (Recipe { promise: Promise::Missing, ..v1() }, false),
        (v2(), true),
        (Recipe { stamped: None, ..v2() }, false),
        (Recipe { log: Log::None, ..v2() }, true),
    ] {
        let statement = statement();
        let bytes = instance.make_keyed(Signed::Statement(&statement), &key, time, &recipe);
        let author = bundle(&bytes, &trust(&instance, &key)).unwrap().author().clone();
        assert_eq!(code(&author), "dated", "{recipe:?}");
        assert_eq!(author.time(), told.then_some(time), "{recipe:?}");
        // Under the name it was asked under, and no other.
        assert_eq!(author.is_dated(&RootName::PublicGood), Err(Undated::ElsewhereOnly));
        if recipe.log != Log::V1Intoto {
            let manifest = Digest::of(b"manifest");
            let bytes = instance.make_keyed(Signed::Message(manifest), &key, time, &recipe);
            let verified = attached(&bytes, manifest, &trust(&instance, &key)).unwrap();
            assert_eq!(code(verified.author()), "dated", "{recipe:?}");
        }
    }
}

#[test]
fn b7_b8_what_is_odd_about_a_date_is_no_date() {
    let (instance, key) = (Instance::new(Kind::Public), Key::generate());
    let (v1, v2) = (Recipe::default, Recipe::v2);
    let long_after = SignedDuration::from_hours(48);
    let rows = [
        (Recipe { log: Log::None, ..v1() }, "undated"),
        (Recipe { logged: Logged::AnotherSignature, ..v1() }, "log-entry-mismatch"),
        (Recipe { logged: Logged::AnotherSignature, ..v2() }, "log-entry-mismatch"),
        (Recipe { checkpoint: Checkpoint::AnotherKey, ..v1() }, "log-checkpoint"),
        (Recipe { checkpoint: Checkpoint::AnotherKey, ..v2() }, "log-checkpoint"),
        (Recipe { promise: Promise::OfAnotherEntry, ..v1() }, "log-promise"),
        (Recipe { stamp_of_another: true, ..v2() }, "timestamp"),
        (Recipe { log: Log::None, stamp_of_another: true, ..v2() }, "timestamp"),
        // The good one does not make up for the bad one.
        (Recipe { stamped: Some(NO), stamp_of_another: true, ..v1() }, "timestamp"),
        (Recipe { log: Log::V2Dsse, ..v2() }, "log-entry-kind"),
        (Recipe { logged_after: long_after, ..v1() }, "log-time"),
    ];
    for (recipe, expected) in rows {
        let statement = statement();
        let bytes = instance.make_keyed(Signed::Statement(&statement), &key, long_ago(&instance), &recipe);
        let verified = bundle(&bytes, &trust(&instance, &key)).unwrap();
        assert_eq!(code(verified.author()), expected, "{recipe:?}");
        assert_eq!(verified.author().time(), None, "{recipe:?}");
    }
    // Another instance's root knows neither log nor authority.
    let other = Instance::new(Kind::Public);
    for (recipe, expected) in [(v1(), "unknown-log"), (Recipe { log: Log::None, ..v2() }, "timestamp")] {
        let statement = statement();
        let bytes = instance.make_keyed(Signed::Statement(&statement), &key, long_ago(&instance), &recipe);
        let verified = bundle(&bytes, &trust(&other, &key)).unwrap();
        assert_eq!(code(verified.author()), expected, "{recipe:?}");
    }
    // An entry that was made for the same statement and another key.
    let (statement, time) = (statement(), long_ago(&instance));
    let [mine, theirs] = [&key, &Key::generate()].map(|key| -> Value {
        let bytes = instance.make_keyed(Signed::Statement(&statement), key, time, &v1());
        serde_json::from_slice(&bytes).unwrap()
    });
    let mut grafted = mine;
    grafted["verificationMaterial"]["tlogEntries"] = theirs["verificationMaterial"]["tlogEntries"].clone();
    let verified = bundle(grafted.to_string().as_bytes(), &trust(&instance, &key)).unwrap();
    assert_eq!(code(verified.author()), "log-entry-mismatch");
}

#[test]
fn b7_where_a_root_has_no_log_a_timestamp_dates_a_key() {
    let (instance, key) = (Instance::new(Kind::Stamped), Key::generate());
    let statement = statement();
    for (recipe, expected) in [
        (Recipe::stamped(), "dated"),
        (Recipe { stamp_of_another: true, ..Recipe::stamped() }, "timestamp"),
        (Recipe::v2(), "log-entry-unexpected"),
        (Recipe::default(), "log-entry-unexpected"),
    ] {
        let bytes = instance.make_keyed(Signed::Statement(&statement), &key, long_ago(&instance), &recipe);
        let verified = bundle(&bytes, &trust(&instance, &key)).unwrap();
        assert_eq!(code(verified.author()), expected, "{recipe:?}");
    }
}

/// What cosign 2 wrote into annotations: `dev.sigstore.cosign/bundle` and `…/rfc3161timestamp`.
fn beside(bundle: &Value) -> (String, String) {
    let entry = &bundle["verificationMaterial"]["tlogEntries"][0];
    let number = |member: &str| entry[member].as_str().unwrap().parse::<u64>().unwrap();
    let log = base64(entry["logId"]["keyId"].as_str().unwrap());
    let promise = json!({
        "SignedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
        "Payload": {
            "body": entry["canonicalizedBody"],
            "integratedTime": number("integratedTime"),
            "logIndex": number("logIndex"),
            "logID": log.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        },
    });
    let stamps = "/verificationMaterial/timestampVerificationData/rfc3161Timestamps/0/signedTimestamp";
    let stamp = json!({ "SignedRFC3161Timestamp": bundle.pointer(stamps).cloned().unwrap_or_default() });
    (promise.to_string(), stamp.to_string())
}

fn base64(text: &str) -> Vec<u8> {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

#[test]
fn b7_b8_cosigns_older_tags_are_dated_by_their_annotations() {
    let (instance, key) = (Instance::new(Kind::Public), Key::generate());
    let (trust, time) = (trust(&instance, &key), long_ago(&instance));
    let both = Recipe { stamped: Some(NO), ..Recipe::default() };
    let made = |signed: Signed<'_>| -> Value {
        serde_json::from_slice(&instance.make_keyed(signed, &key, time, &both)).unwrap()
    };
    let payload = json!({ "critical": {
        "identity": { "docker-reference": "registry.example/shop" },
        "image": { "docker-manifest-digest": Digest::of(b"manifest").to_string() },
        "type": "cosign container image signature",
    }, "optional": null })
    .to_string();
    let signed = made(Signed::Message(Digest::of(payload.as_bytes())));
    let other = made(Signed::Message(Digest::of(b"another")));
    let signature = signed["messageSignature"]["signature"].as_str().unwrap();
    let ((promise, stamp), (stolen, stolen_stamp)) = (beside(&signed), beside(&other));
    let sig = |bundle: Option<&str>, timestamp: Option<&str>| {
        let annotations = Annotations { certificate: None, bundle, timestamp };
        let verified = annotated_simple_signing(payload.as_bytes(), signature, &annotations, &trust).unwrap();
        let author = verified.author();
        assert_eq!(author.time(), (code(author) == "dated").then_some(time));
        code(author)
    };
    assert_eq!(sig(None, None), "undated");
    assert_eq!(sig(Some(&promise), None), "dated");
    assert_eq!(sig(None, Some(&stamp)), "dated");
    assert_eq!(sig(Some(&promise), Some(&stamp)), "dated");
    assert_eq!(sig(Some(&stolen), None), "artifact-mismatch");
    assert_eq!(sig(None, Some(&stolen_stamp)), "timestamp");
    assert_eq!(sig(Some(&promise), Some(&stolen_stamp)), "timestamp");
    assert_eq!(sig(Some(&promise.replace("\"logIndex\":", "\"logIndex\":1")), None), "log-promise");
    assert_eq!(sig(Some("{}"), None), "missing-member");

    let statement = statement();
    let signed = made(Signed::Statement(&statement));
    let envelope = signed["dsseEnvelope"].to_string();
    let (promise, stamp) = beside(&signed);
    let att = |bundle: Option<&str>, timestamp: Option<&str>| {
        let annotations = Annotations { certificate: None, bundle, timestamp };
        code(annotated_envelope(envelope.as_bytes(), &annotations, &trust).unwrap().author())
    };
    assert_eq!(att(None, None), "undated");
    assert_eq!(att(Some(&promise), None), "dated");
    assert_eq!(att(None, Some(&stamp)), "dated");
    assert_eq!(att(Some(&stolen), None), "bundle-malformed");
}

/// Rekor's `intoto` 0.0.1 (sigstore/rekor `pkg/types/intoto/v0.0.1`): hashes of envelope and payload, and the key. The
/// Sigstore crates do not bind it to anything.
#[test]
fn b8_a_log_entry_of_2023_is_refused_by_its_kind() {
    let (instance, key) = (Instance::new(Kind::Public), Key::generate());
    let (statement, time) = (statement(), long_ago(&instance));
    let who = instance.identity(&oidc::github("acme/shop", "release.yml", "refs/heads/main"));
    let keyless = instance.make(Signed::Statement(&statement), &who, time, &Recipe::default());
    let keyed = instance.make_keyed(Signed::Statement(&statement), &key, time, &Recipe::default());
    let old = |bytes: &[u8], kind: &str| {
        let mut bundle: Value = serde_json::from_slice(bytes).unwrap();
        let envelope = bundle["dsseEnvelope"].to_string();
        let hash = |bytes: &[u8]| json!({ "algorithm": "sha256", "value": Digest::of(bytes).hex() });
        let body = json!({ "apiVersion": "0.0.1", "kind": kind, "spec": {
            "content": { "hash": hash(envelope.as_bytes()), "payloadHash": hash(&statement) },
            "publicKey": "LS0tLS1CRUdJTg==",
        } });
        use ::base64::Engine as _;
        let body = ::base64::engine::general_purpose::STANDARD.encode(body.to_string());
        let entry = bundle.pointer_mut("/verificationMaterial/tlogEntries/0").unwrap();
        entry["canonicalizedBody"] = json!(body);
        entry["kindVersion"] = json!({ "kind": kind, "version": "0.0.1" });
        bundle.to_string().into_bytes()
    };
    let refused = crate::verified(&instance, &old(&keyless, "intoto")).unwrap_err().reason;
    assert_eq!(refused.code(), "log-entry-unsupported");
    let said = refused.to_string();
    assert!(said.contains("intoto 0.0.1") && said.contains("attest again with cosign 2.2"), "{said}");
    let kind = crate::verified(&instance, &old(&keyless, "alpine")).unwrap_err().reason;
    assert_eq!(kind.code(), "log-entry-kind");
    let verified = bundle(&old(&keyed, "intoto"), &trust(&instance, &key)).unwrap();
    assert_eq!(code(verified.author()), "log-entry-unsupported");
}
