//! What says when a key signed. The entry and the timestamp are real: sigstore-conformance's managed key, logged in
//! Sigstore's public log.

use super::*;

const BUNDLE: &[u8] = conformance!("managed-key-happy-path.json");
/// Of the artifact that it is over; here the manifest it lies on.
const MANIFEST: &str = "sha256:a0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf";

fn manifest() -> Digest {
    MANIFEST.parse().unwrap()
}

fn managed() -> Trust {
    let key = public(conformance!("managed-key.pub"));
    Trust::new(vec![key]).with_roots(vec![Root::public_good().unwrap()])
}

fn with(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut bundle = serde_json::from_slice(BUNDLE).unwrap();
    change(&mut bundle);
    bundle.to_string().into_bytes()
}

/// Why nothing says when it was signed.
#[track_caller]
fn undated<T: std::fmt::Debug>(verified: &Verified<T>) -> &'static str {
    assert_eq!(verified.author().time(), None);
    match verified.author().is_dated(&RootName::PublicGood) {
        Err(Undated::Because(why)) => why.code(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn b7_a_key_alone_says_who_and_never_when() {
    let bytes = signed(&statement());
    assert_eq!(undated(&bundle(&bytes, &trust()).unwrap()), "undated");
    assert_eq!(undated(&attached(&bytes, image(), &trust()).unwrap()), "undated");
    let empty = changed(|bundle| {
        bundle["verificationMaterial"]["tlogEntries"] = json!([]);
        bundle["verificationMaterial"]["timestampVerificationData"] = json!({});
    });
    let roots = trust().with_roots(vec![Root::public_good().unwrap()]);
    assert_eq!(undated(&bundle(&empty, &roots).unwrap()), "undated");
    // In the ledger its place does.
    let record = record(&bytes, &trust()).unwrap();
    assert_eq!(record.author().is_dated(&RootName::PublicGood), Ok(()));
    assert_eq!(record.author().time(), None);
    // cosign's older ways.
    let old = cosign_trust();
    assert_eq!(undated(&envelope(cosign!("att-p256.envelope.json"), &old).unwrap()), "undated");
}

#[test]
fn b7_a_log_entry_dates_a_key_under_its_own_root_only() {
    let verified = attached(BUNDLE, manifest(), &managed()).unwrap();
    assert_eq!(verified.predicate_type(), MESSAGE_SIGNATURE);
    assert_eq!(verified.subjects(), [Subject { name: None, digest: manifest() }]);
    assert_eq!(verified.author().time(), Some("2025-12-18T17:04:39Z".parse().unwrap()));
    assert_eq!(verified.author().is_dated(&RootName::PublicGood), Ok(()));
    let elsewhere = verified.author().is_dated(&RootName::GitHub);
    assert_eq!(elsewhere, Err(Undated::ElsewhereOnly));
    // The same keys under another name vouch under that name.
    let own = Root::private("own".parse().unwrap(), sigstore_trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT);
    let own = managed().with_roots(vec![Root::github().unwrap(), own.unwrap()]);
    let verified = attached(BUNDLE, manifest(), &own).unwrap();
    assert_eq!(verified.author().is_dated(&"own".parse().unwrap()), Ok(()));
    assert_eq!(verified.author().is_dated(&RootName::PublicGood), Err(Undated::ElsewhereOnly));
}

#[test]
fn b1_a_message_signature_by_a_key_is_over_this_very_manifest() {
    let code = |bytes: &[u8], on, trust: &Trust| attached(bytes, on, trust).unwrap_err().reason.code();
    assert_eq!(code(BUNDLE, image(), &managed()), "artifact-mismatch");
    let silent =
        with(|bundle| drop(bundle["messageSignature"].as_object_mut().unwrap().remove("messageDigest")));
    assert_eq!(code(&silent, image(), &managed()), "bad-signature");
    assert_eq!(code(BUNDLE, manifest(), &trust()), "no-trusted-key");
    let sha512 = with(|bundle| bundle["messageSignature"]["messageDigest"]["algorithm"] = "SHA2_512".into());
    assert_eq!(code(&sha512, manifest(), &managed()), "bytes-needed");
    let more = with(|bundle| bundle["messageSignature"]["more"] = 1.into());
    assert_eq!(code(&more, manifest(), &managed()), "unknown-member");
    assert_eq!(bundle(BUNDLE, &managed()).unwrap_err().reason.code(), "message-signature");
    assert_eq!(record(BUNDLE, &managed()).unwrap_err().reason.code(), "message-signature");
}

#[test]
fn b8_what_is_wrong_beside_a_key_dates_nothing() {
    const ENTRY: &str = "/verificationMaterial/tlogEntries/0";
    let code = |change: &dyn Fn(&mut Value)| {
        let verified = attached(&with(change), manifest(), &managed()).unwrap();
        undated(&verified)
    };
    let entry = |change: &dyn Fn(&mut Value)| code(&|bundle| change(bundle.pointer_mut(ENTRY).unwrap()));
    assert_eq!(entry(&|entry| entry["integratedTime"] = "1766077480".into()), "log-promise");
    assert_eq!(entry(&|entry| entry["logIndex"] = "771488338".into()), "log-promise");
    assert_eq!(entry(&|entry| entry["inclusionProof"]["treeSize"] = "649584077".into()), "log-disagrees");
    assert_eq!(entry(&|entry| entry["logId"]["keyId"] = STANDARD.encode([1; 32]).into()), "unknown-log");
    assert_eq!(
        entry(&|entry| drop(entry.as_object_mut().unwrap().remove("inclusionProof"))),
        "log-proof-missing"
    );
    assert_eq!(entry(&|entry| entry["more"] = 1.into()), "unknown-member");
    assert_eq!(entry(&|entry| entry["kindVersion"]["kind"] = "intoto".into()), "log-entry-unsupported");
    assert_eq!(entry(&|entry| entry["kindVersion"]["kind"] = "tuf".into()), "log-entry-kind");
    // One good entry does not make up for a bad timestamp, nor the other way round.
    let stamp = "/verificationMaterial/timestampVerificationData/rfc3161Timestamps/0/signedTimestamp";
    assert_eq!(code(&|bundle| *bundle.pointer_mut(stamp).unwrap() = "MIIB".into()), "timestamp");
    assert_eq!(
        undated(&attached(BUNDLE, manifest(), &managed().with_roots(Vec::new())).unwrap()),
        "no-trusted-root"
    );
    // Both are gone: a key alone.
    let bare = |bundle: &mut Value| {
        let hint = bundle["verificationMaterial"]["publicKey"].take();
        bundle["verificationMaterial"] = json!({ "publicKey": hint });
    };
    assert_eq!(code(&bare), "undated");
}

#[test]
fn b8_the_entry_and_the_timestamp_of_another_signature_date_nothing() {
    let real: Value = serde_json::from_slice(BUNDLE).unwrap();
    let roots = trust().with_roots(vec![Root::public_good().unwrap()]);
    for (member, code) in [("tlogEntries", "bundle-malformed"), ("timestampVerificationData", "timestamp")] {
        let grafted = changed(|bundle| {
            bundle["verificationMaterial"][member] = real["verificationMaterial"][member].clone();
        });
        assert_eq!(undated(&bundle(&grafted, &roots).unwrap()), code, "{member}");
        // A record's place dates it whatever lies beside.
        assert_eq!(record(&grafted, &roots).unwrap().author().is_dated(&RootName::PublicGood), Ok(()));
    }
    // The timestamp alone, and over this very signature, is enough.
    let stamped =
        with(|bundle| drop(bundle["verificationMaterial"].as_object_mut().unwrap().remove("tlogEntries")));
    let verified = attached(&stamped, manifest(), &managed()).unwrap();
    assert_eq!(verified.author().is_dated(&RootName::PublicGood), Ok(()));
    assert!(verified.author().time().is_some());
}
