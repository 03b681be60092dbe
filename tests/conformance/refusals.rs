//! Each refusal for what it is, on real bundles that were changed in one place.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use samebits::verify::{
    Annotations, MESSAGE_SIGNATURE, RootName, annotated_envelope, annotated_simple_signing, attached, bundle,
};
use serde_json::{Value, json};

use crate::*;

/// Rekor v1, SET and proof, DSSE, v0.3.
const LOGGED: &str = "happy-path-intoto-in-dsse-v3";
/// Rekor v1, SET and proof, message signature, v0.1.
const OLD: &str = "happy-path-v0.1";
/// Rekor v2, checkpoint and timestamp, DSSE, v0.3.
const TILED: &str = "rekor2-dsse-happy-path";

fn public() -> Trust {
    Trust::default().with_roots(vec![Root::public_good().unwrap()])
}

fn changed(case: &Case, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut value = serde_json::from_slice(&case.bundle).unwrap();
    change(&mut value);
    value.to_string().into_bytes()
}

#[track_caller]
fn refused(case: &Case, change: impl FnOnce(&mut Value), code: &str) {
    let bytes = changed(case, change);
    let trust = case.trust.as_ref().unwrap();
    let rejected = verify::artifact(&bytes, Artifact::Bytes(&case.artifact), trust).unwrap_err();
    assert_eq!(rejected.reason.code(), code, "{rejected:?}");
}

fn entry(bundle: &mut Value) -> &mut Value {
    &mut bundle["verificationMaterial"]["tlogEntries"][0]
}

fn without(value: &mut Value, member: &str) {
    assert!(value.as_object_mut().unwrap().remove(member).is_some(), "{member}");
}

/// Changes one character that is neither the first nor padding.
fn flip(value: &mut Value) {
    let mut text = value.as_str().unwrap().as_bytes().to_vec();
    let at = text.len() / 2;
    text[at] = if text[at] == b'A' { b'B' } else { b'A' };
    *value = json!(String::from_utf8(text).unwrap());
}

#[test]
fn a_real_statement_proves_who_when_and_where() {
    let Some(assets) = assets() else { return };
    let verified = bundle(&Case::read(&assets, LOGGED).bundle, &public()).unwrap();
    let root = RootName::PublicGood;
    let expected = Identity::Keyless { issuer: ISSUER.to_owned(), subject: IDENTITY.to_owned(), root };
    assert_eq!(verified.identity(), &expected);
    assert_eq!(verified.author().time().unwrap().to_string(), "2024-12-16T18:42:56Z");
    let claims = verified.author().claims().unwrap();
    let repository = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon";
    assert_eq!(claims.source_repository_uri.as_deref(), Some(repository));
    assert_eq!(claims.source_repository_ref.as_deref(), Some("refs/heads/main"));
    assert_eq!(claims.build_signer_uri.as_deref(), Some(IDENTITY));
    assert_eq!(claims.build_trigger.as_deref(), Some("workflow_dispatch"));
    assert_eq!(claims.runner_environment.as_deref(), Some("github-hosted"));
    assert_eq!(claims.source_repository_visibility.as_deref(), Some("public"));
}

#[test]
fn b3_b9_a_message_signature_counts_only_for_the_manifest_it_signs() {
    let Some(assets) = assets() else { return };
    let case = Case::read(&assets, "happy-path-v0.3");
    let manifest = Digest::of(&case.artifact);
    let verified = attached(&case.bundle, manifest, &public()).unwrap();
    assert_eq!(verified.predicate_type(), MESSAGE_SIGNATURE);
    assert_eq!(verified.subjects()[0].digest, manifest);
    assert_eq!(verified.predicate(), &Value::Null);
    let code = |result: Result<_, verify::Rejected>| {
        result.map(|_: verify::Verified<_>| ()).unwrap_err().reason.code()
    };
    assert_eq!(code(attached(&case.bundle, Digest::of(b"another"), &public())), "artifact-mismatch");
    assert_eq!(code(bundle(&case.bundle, &public())), "message-signature");
    assert_eq!(code(attached(&case.bundle, manifest, &Trust::default())), "no-trusted-root");
}

/// A bundle relabelled as an older version must not lose its proof.
#[test]
fn b9_relabelled_as_v0_1_with_its_proof_dropped() {
    let Some(assets) = assets() else { return };
    let case = Case::read(&assets, "happy-path-v0.3");
    for version in ["0.1", "0.2"] {
        let relabel = |bundle: &mut Value| {
            bundle["mediaType"] =
                json!(format!("application/vnd.dev.sigstore.bundle+json;version={version}"));
            let certificate = bundle["verificationMaterial"]["certificate"].take();
            without(&mut bundle["verificationMaterial"], "certificate");
            bundle["verificationMaterial"]["x509CertificateChain"] = json!({ "certificates": [certificate] });
        };
        // Relabelled with all its proofs it is as good as before.
        let trust = case.trust.as_ref().unwrap();
        assert!(verify::artifact(&changed(&case, relabel), Artifact::Bytes(&case.artifact), trust).is_ok());
        let dropped = |bundle: &mut Value| {
            relabel(bundle);
            without(entry(bundle), "inclusionProof");
        };
        refused(&case, dropped, "log-proof-missing");
        refused(
            &case,
            |b| bundle_of(b, relabel, |e| without(&mut e["inclusionProof"], "checkpoint")),
            "log-checkpoint-missing",
        );
    }
    let old = Case::read(&assets, OLD);
    refused(&old, |bundle| without(entry(bundle), "inclusionProof"), "log-proof-missing");
    refused(&old, |bundle| without(entry(bundle), "inclusionPromise"), "log-promise-missing");
    // The newer member in an older bundle, and the older in a newer.
    refused(
        &case,
        |bundle| bundle["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.2"),
        "bundle-material",
    );
    refused(
        &old,
        |bundle| bundle["mediaType"] = json!("application/vnd.dev.sigstore.bundle.v0.3+json"),
        "bundle-material",
    );
}

fn bundle_of(bundle: &mut Value, relabel: impl FnOnce(&mut Value), change: impl FnOnce(&mut Value)) {
    relabel(bundle);
    change(entry(bundle));
}

#[test]
fn b7_no_trusted_time_and_an_expired_certificate() {
    let Some(assets) = assets() else { return };
    let code = |name: &str| {
        let case = Case::read(&assets, name);
        case.verdict(Artifact::Bytes(&case.artifact))
    };
    assert_eq!(code("intoto-expired-certificate_fail"), "certificate-not-yet-valid");
    assert_eq!(code("intoto-set-outside-signing-cert-validity_fail"), "certificate-expired");
    assert_eq!(code("rekor2-no-timestamp_fail"), "time-missing");
    assert_eq!(code("rekor2-timestamp-payload-mismatch_fail"), "timestamp");
    assert_eq!(code("rekor2-timestamp-outside-trust-root-tsa-validity_fail"), "timestamp-authority-time");
    let logged = Case::read(&assets, LOGGED);
    // Without the promise the log's time is nobody's word.
    refused(&logged, |bundle| without(entry(bundle), "inclusionPromise"), "time-missing");
    refused(&logged, |bundle| entry(bundle)["integratedTime"] = json!("1734374577"), "log-promise");
    refused(&logged, |bundle| without(entry(bundle), "integratedTime"), "time-missing");
    let tiled = Case::read(&assets, TILED);
    refused(
        &tiled,
        |bundle| without(&mut bundle["verificationMaterial"], "timestampVerificationData"),
        "time-missing",
    );
    refused(&tiled, |bundle| entry(bundle)["integratedTime"] = json!("1734374577"), "log-disagrees");
}

#[test]
fn b8_an_entry_of_something_else() {
    let Some(assets) = assets() else { return };
    for (name, code) in [
        ("dsse-mismatch-sig_fail", "log-entry-mismatch"),
        ("wrong-hashedrekord-cert-and-sig_fail", "log-entry-mismatch"),
        ("rekor2-dsse-mismatch-sig_fail", "log-entry-mismatch"),
        ("wrong-hashedrekord-entry_fail", "artifact-mismatch"),
        ("signature-mismatch_fail", "signature-invalid"),
    ] {
        let case = Case::read(&assets, name);
        assert_eq!(case.verdict(Artifact::Bytes(&case.artifact)), code, "{name}");
    }
    // Somebody else's entry, whole and genuine.
    let logged = Case::read(&assets, LOGGED);
    let other: Value = serde_json::from_slice(&Case::read(&assets, "happy-path-v0.3").bundle).unwrap();
    let stolen = other["verificationMaterial"]["tlogEntries"].clone();
    let mut bytes: Value = serde_json::from_slice(&logged.bundle).unwrap();
    bytes["verificationMaterial"]["tlogEntries"] = stolen;
    let rejected = bundle(bytes.to_string().as_bytes(), &public()).unwrap_err();
    assert_eq!(rejected.reason.code(), "certificate-not-yet-valid", "its time is not this certificate's");
    refused(
        &logged,
        |bundle| without(&mut bundle["verificationMaterial"], "tlogEntries"),
        "log-entry-missing",
    );
    refused(&logged, |bundle| bundle["verificationMaterial"]["tlogEntries"] = json!([]), "log-entry-missing");
}

#[test]
fn b8_what_disagrees_with_its_own_checkpoint() {
    let Some(assets) = assets() else { return };
    for name in [LOGGED, TILED] {
        let case = Case::read(&assets, name);
        let proof =
            |bundle: &mut Value, member: &str, value: Value| entry(bundle)["inclusionProof"][member] = value;
        refused(&case, |bundle| proof(bundle, "treeSize", json!("99999999")), "log-disagrees");
        refused(&case, |bundle| proof(bundle, "rootHash", json!(STANDARD.encode([7; 32]))), "log-disagrees");
        refused(&case, |bundle| proof(bundle, "logIndex", json!("99999999")), "log-disagrees");
        refused(&case, |bundle| flip(&mut entry(bundle)["inclusionProof"]["hashes"][0]), "log-proof");
        refused(
            &case,
            |bundle| without(&mut entry(bundle)["inclusionProof"], "checkpoint"),
            "log-checkpoint-missing",
        );
        // Another log: unknown, or known and not the checkpoint's.
        refused(
            &case,
            |bundle| entry(bundle)["logId"]["keyId"] = json!(STANDARD.encode([7; 32])),
            "unknown-log",
        );
    }
    let tiled = Case::read(&assets, TILED);
    refused(&tiled, |bundle| entry(bundle)["logIndex"] = json!("1"), "log-disagrees");
    // The public good has two logs; an entry of one cannot stand on the other's checkpoint.
    let logged = Case::read(&assets, LOGGED);
    let second = json!("zxGZFVvd0FEmjR8WrFwMdcAJ9vtaY/QXf44Y1wUeP6A=");
    refused(&logged, |bundle| entry(bundle)["logId"]["keyId"] = second.clone(), "log-promise");
    let two = |bundle: &mut Value| {
        let mut other = entry(bundle).clone();
        other["logId"]["keyId"] = second;
        bundle["verificationMaterial"]["tlogEntries"].as_array_mut().unwrap().push(other);
    };
    refused(&logged, two, "log-disagrees");
    // Rekor's entries of 2023 that are not bound to the envelope in a way that is read.
    refused(
        &logged,
        |bundle| entry(bundle)["kindVersion"] = json!({ "kind": "intoto", "version": "0.0.1" }),
        "log-entry-unsupported",
    );
}

#[test]
fn b9_what_is_no_bundle() {
    let Some(assets) = assets() else { return };
    let case = Case::read(&assets, LOGGED);
    let material =
        |bundle: &mut Value, member: &str, value: Value| bundle["verificationMaterial"][member] = value;
    refused(
        &case,
        |bundle| bundle["mediaType"] = json!("application/vnd.dev.sigstore.bundle.v0.4+json"),
        "bundle-version",
    );
    refused(&case, |bundle| bundle["more"] = json!(1), "unknown-member");
    refused(&case, |bundle| material(bundle, "publicKey", json!({ "hint": "a" })), "bundle-material");
    refused(&case, |bundle| bundle["messageSignature"] = json!({ "signature": "AAAA" }), "two-contents");
    refused(&case, |bundle| entry(bundle)["more"] = json!(1), "unknown-member");
    refused(&case, |bundle| entry(bundle)["inclusionProof"]["more"] = json!(1), "unknown-member");
    refused(&case, |bundle| material(bundle, "timestampVerificationData", Value::Null), "wrong-type");
    let many = |bundle: &mut Value| {
        let one = entry(bundle).clone();
        material(bundle, "tlogEntries", json!(vec![one; 5]));
    };
    refused(&case, many, "too-many");
    let signatures = |bundle: &mut Value| {
        let one = bundle["dsseEnvelope"]["signatures"][0].clone();
        bundle["dsseEnvelope"]["signatures"] = json!([one, one]);
    };
    refused(&case, signatures, "signature-count");
    let text = String::from_utf8(case.bundle.clone()).unwrap();
    let twice = text.replacen('{', "{\"mediaType\":\"a\",", 1);
    let rejected = bundle(twice.as_bytes(), &public()).unwrap_err();
    assert_eq!(rejected.reason.code(), "not-strict-json");
}

#[test]
fn b6_the_certificates_identity_is_exact_and_under_its_root() {
    let Some(assets) = assets() else { return };
    let case = Case::read(&assets, LOGGED);
    let public_root = Root::public_good().unwrap();
    // The same trust material under another name is another identity.
    let json = assets.join("trust-root-tlog-validity-end-inclusive/trusted_root.json");
    let own = Root::private("own".parse().unwrap(), &std::fs::read_to_string(json).unwrap()).unwrap();
    let old = Case::read(&assets, "trust-root-tlog-validity-end-inclusive");
    let of = |roots: Vec<Root>| {
        let trust = Trust::default().with_roots(roots);
        let verified = verify::artifact(&old.bundle, Artifact::Bytes(&old.artifact), &trust).unwrap();
        verified.identity().clone()
    };
    assert_ne!(of(vec![own.clone()]), of(vec![public_root.clone()]));
    assert!(matches!(
        of(vec![own, public_root.clone()]),
        Identity::Keyless { root: RootName::Private(_), .. }
    ));

    // GitHub's exemptions help no bundle of the public good, alone or beside it.
    let github = Root::github().unwrap();
    let code = |bytes: &[u8], roots: Vec<Root>| {
        let trust = Trust::default().with_roots(roots);
        bundle(bytes, &trust).map(|_| ()).map_err(|rejected| rejected.reason.code())
    };
    assert_eq!(code(&case.bundle, vec![github.clone()]), Err("unknown-authority"));
    let unlogged = changed(&case, |bundle| without(&mut bundle["verificationMaterial"], "tlogEntries"));
    for roots in [vec![github.clone()], vec![github.clone(), public_root.clone()], vec![public_root, github]]
    {
        let expected = if roots.len() == 1 { "unknown-authority" } else { "log-entry-missing" };
        assert_eq!(code(&unlogged, roots), Err(expected));
    }
}

#[test]
fn f11_a_root_that_does_not_know_is_a_refusal_with_a_reason() {
    let Some(assets) = assets() else { return };
    let tiled = Case::read(&assets, TILED);
    // Another instance's root: not found there, and nobody is asked to look elsewhere.
    let rejected = bundle(&tiled.bundle, &public()).unwrap_err();
    assert!(["unknown-log", "unknown-authority"].contains(&rejected.reason.code()), "{rejected:?}");
    assert_eq!(bundle(&tiled.bundle, &Trust::default()).unwrap_err().reason.code(), "no-trusted-root");
}

/// The annotations cosign 1 and 2 would have written for a bundle with a promise.
fn annotations(bundle: &Value) -> (String, String) {
    let material = &bundle["verificationMaterial"];
    let der = material
        .pointer("/certificate/rawBytes")
        .or(material.pointer("/x509CertificateChain/certificates/0/rawBytes"))
        .unwrap();
    let certificate = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        der.as_str()
            .unwrap()
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect::<Vec<_>>()
            .join("\n")
    );
    let entry = &material["tlogEntries"][0];
    let log = STANDARD.decode(entry["logId"]["keyId"].as_str().unwrap()).unwrap();
    let number = |member: &str| entry[member].as_str().unwrap().parse::<u64>().unwrap();
    let promise = json!({
        "SignedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
        "Payload": {
            "body": entry["canonicalizedBody"],
            "integratedTime": number("integratedTime"),
            "logIndex": number("logIndex"),
            "logID": log.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        },
    });
    (certificate, promise.to_string())
}

#[test]
fn b8_legacy_att_layers_are_bound_to_their_log_entry() {
    let Some(assets) = assets() else { return };
    let value: Value = serde_json::from_slice(&Case::read(&assets, LOGGED).bundle).unwrap();
    let envelope = value["dsseEnvelope"].to_string();
    let (certificate, promise) = annotations(&value);
    let verdict = |envelope: &str, certificate: &str, promise: Option<&str>| {
        let annotations = Annotations { certificate: Some(certificate), bundle: promise, timestamp: None };
        annotated_envelope(envelope.as_bytes(), &annotations, &public())
            .map_err(|rejected| rejected.reason.code())
    };
    let verified = verdict(&envelope, &certificate, Some(&promise)).unwrap();
    assert_eq!(verified.author().time().unwrap().to_string(), "2024-12-16T18:42:56Z");
    assert!(verified.author().claims().is_some());

    let code = |envelope: &str, certificate: &str, promise: Option<&str>| {
        verdict(envelope, certificate, promise).map(|_| ()).unwrap_err()
    };
    assert_eq!(code(&envelope, &certificate, None), "log-entry-missing");
    assert_eq!(code(&envelope, "", Some(&promise)), "wrong-type");
    assert_eq!(code(&envelope, &certificate, Some("{}")), "missing-member");
    assert_eq!(
        code(&envelope, &certificate, Some(&promise.replace("1734374576", "1734374577"))),
        "log-promise"
    );
    let mut changed: Value = serde_json::from_str(&envelope).unwrap();
    flip(&mut changed["signatures"][0]["sig"]);
    assert_eq!(code(&changed.to_string(), &certificate, Some(&promise)), "signature-invalid");
    // A genuine promise for something else that was signed with another certificate.
    let other: Value = serde_json::from_slice(&Case::read(&assets, OLD).bundle).unwrap();
    let (theirs, stolen) = annotations(&other);
    assert_eq!(code(&envelope, &certificate, Some(&stolen)), "certificate-not-yet-valid");
    assert_eq!(code(&envelope, &theirs, Some(&stolen)), "signature-invalid");
    assert_eq!(code(&envelope, &theirs, Some(&promise)), "certificate-expired");
    // Entries of 2023.
    let mut old: Value = serde_json::from_str(&promise).unwrap();
    for (kind, said) in [("intoto", "log-entry-unsupported"), ("tuf", "log-entry-kind")] {
        let body = json!({ "apiVersion": "0.0.1", "kind": kind, "spec": {} }).to_string();
        old["Payload"]["body"] = json!(STANDARD.encode(body));
        assert_eq!(code(&envelope, &certificate, Some(&old.to_string())), said);
    }
}

#[test]
fn b8_legacy_sig_layers_are_bound_to_their_log_entry() {
    let Some(assets) = assets() else { return };
    let case = Case::read(&assets, OLD);
    let value: Value = serde_json::from_slice(&case.bundle).unwrap();
    let signature = value["messageSignature"]["signature"].as_str().unwrap().to_owned();
    let (certificate, promise) = annotations(&value);
    let code = |payload: &[u8], signature: &str, promise: Option<&str>| {
        let annotations = Annotations { certificate: Some(&certificate), bundle: promise, timestamp: None };
        annotated_simple_signing(payload, signature, &annotations, &public()).unwrap_err().reason.code()
    };
    // What was signed is a text, not a simple signing payload: that is said only after the signature was verified.
    assert_eq!(code(&case.artifact, &signature, Some(&promise)), "not-strict-json");
    assert_eq!(code(b"another", &signature, Some(&promise)), "signature-invalid");
    let mut flipped = json!(signature);
    flip(&mut flipped);
    assert_eq!(code(&case.artifact, flipped.as_str().unwrap(), Some(&promise)), "signature-invalid");
    assert_eq!(code(&case.artifact, &signature, None), "log-entry-missing");
    // CVE-2022-36056: a genuine promise about another signature.
    let other: Value = serde_json::from_slice(&Case::read(&assets, LOGGED).bundle).unwrap();
    assert_eq!(code(&case.artifact, &signature, Some(&annotations(&other).1)), "certificate-expired");
}
