//! What stands behind a signature by a key: bundles, envelopes, statements, provenance.

use std::collections::HashSet;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use samebits::digest::Digest;
use samebits::verify::provenance::{Provenance, ProvenanceError};
use samebits::verify::{self, Artifact, Identity, Reason};
use serde_json::{Value, json};

use super::{KEY, PAYLOAD_TYPE, TRUST, base64, is_tidy, pae, refused, same, says, seeds, was_signed};

/// Signatures of the seeds: nobody here can make another one by certificate.
static KNOWN: LazyLock<HashSet<Vec<u8>>> = LazyLock::new(|| {
    seeds::bundles().iter().filter_map(|bundle| signature(&serde_json::from_slice(bundle).ok()?)).collect()
});

/// The signature of a bundle, of either kind.
fn signature(bundle: &Value) -> Option<Vec<u8>> {
    base64(&bundle["dsseEnvelope"]["signatures"][0]["sig"])
        .or_else(|| base64(&bundle["messageSignature"]["signature"]))
}

/// Any bytes as a bundle.
pub fn bundle(input: &[u8]) {
    let lenient = || serde_json::from_slice::<Value>(input).expect("accepted, and no JSON");
    let known = |identity: &Identity| match identity {
        Identity::Key { .. } => true,
        Identity::Keyless { .. } => signature(&lenient()).is_some_and(|sig| KNOWN.contains(&sig)),
    };
    let manifest = Digest::of(seeds::ARTIFACT);
    let alone = verify::bundle(input, &TRUST);
    let attached = verify::attached(input, manifest, &TRUST);
    match &alone {
        Err(rejected) => refused(rejected, input),
        Ok(verified) => {
            assert_eq!(verified.evidence(), Digest::of(input));
            assert!(known(verified.identity()), "by certificate, and a signature that nobody made");
            was_signed(verified, &lenient()["dsseEnvelope"]);
            // The manifest beside it takes nothing away, and another spelling of the JSON changes nothing.
            same(verified, attached.as_ref().expect("refused beside a manifest"));
            let spelled = serde_json::to_vec_pretty(&lenient()).expect("JSON");
            same(verified, &verify::bundle(&spelled, &TRUST).expect("refused in another spelling"));
        }
    }
    match &attached {
        Err(rejected) => refused(rejected, input),
        Ok(verified) if alone.is_err() => {
            assert_eq!(verified.predicate_type(), verify::MESSAGE_SIGNATURE);
            assert_eq!(verified.subjects().len(), 1);
            assert_eq!(verified.subjects()[0].digest, manifest);
            assert!(known(verified.identity()), "by certificate, and a signature that nobody made");
        }
        Ok(_) => {}
    }
    match verify::artifact(input, Artifact::Digest(manifest), &TRUST) {
        Err(rejected) => refused(&rejected, input),
        Ok(verified) => {
            assert_eq!(verified.digest(), manifest);
            assert!(known(verified.identity()), "by certificate, and a signature that nobody made");
        }
    }
}

/// Any bytes as an envelope, and as a simple signing payload that was signed.
pub fn dsse(input: &[u8]) {
    match verify::envelope(input, &TRUST) {
        Err(rejected) => refused(&rejected, input),
        Ok(verified) => {
            let lenient: Value = serde_json::from_slice(input).expect("accepted, and no JSON");
            assert_eq!(lenient["payloadType"], PAYLOAD_TYPE);
            assert_eq!(lenient["signatures"].as_array().map(Vec::len), Some(1));
            assert_eq!(verified.evidence(), Digest::of(input));
            assert!(matches!(verified.identity(), Identity::Key { .. }));
            was_signed(&verified, &lenient);
        }
    }
    let signature = STANDARD.encode(KEY.sign(input).expect("randomness"));
    match verify::simple_signing(input, &signature, &TRUST) {
        Err(rejected) => {
            refused(&rejected, input);
            is_honest(&rejected.reason);
        }
        Ok(verified) => {
            let lenient: Value = serde_json::from_slice(input).expect("accepted, and no JSON");
            let digest = &lenient["critical"]["image"]["docker-manifest-digest"];
            assert_eq!(*digest, verified.subjects()[0].digest.to_string());
            assert_eq!(verified.predicate_type(), verify::SIMPLE_SIGNING);
            assert_eq!(*verified.predicate(), lenient);
        }
    }
}

/// What was signed here is not refused for its signature.
fn is_honest(reason: &Reason) {
    assert!(!matches!(reason, Reason::BadSignature { .. } | Reason::NoTrustedKey { .. }), "{reason}");
}

/// Any bytes as the statement in a bundle and in an envelope that were signed.
pub fn statement(input: &[u8]) {
    let bundle = verify::sign_statement(input, &KEY).expect("randomness");
    let envelope = json!({
        "payload": STANDARD.encode(input),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{ "sig": STANDARD.encode(KEY.sign(&pae(input)).expect("randomness")) }],
    })
    .to_string();
    match (verify::bundle(&bundle, &TRUST), verify::envelope(envelope.as_bytes(), &TRUST)) {
        (Ok(one), Ok(other)) => {
            same(&one, &other);
            let author = one.author();
            assert_eq!(*one.identity(), Identity::Key { id: KEY.public().id() });
            assert_eq!((author.claims(), author.time()), (None, None), "a key proves no more than itself");
            says(&one, input);
        }
        (Err(one), Err(other)) => {
            refused(&one, &bundle);
            refused(&other, envelope.as_bytes());
            // An empty statement is no base64 text at all, which two readers name by their own names.
            assert!(one.reason.code() == other.reason.code(), "{} or {}", one.reason, other.reason);
            is_honest(&one.reason);
        }
        (one, other) => panic!("{one:?} in a bundle, {other:?} in an envelope"),
    }
}

/// Any JSON object as the predicate of signed provenance, of both versions.
pub fn provenance(input: &[u8]) {
    let Ok(predicate @ Value::Object(_)) = serde_json::from_slice::<Value>(input) else { return };
    for predicate_type in ["https://slsa.dev/provenance/v1", "https://slsa.dev/provenance/v0.2"] {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "predicateType": predicate_type,
            "subject": [{ "digest": { "sha256": Digest::of(b"").hex() } }],
            "predicate": predicate,
        });
        let bundle = verify::sign_statement(statement.to_string().as_bytes(), &KEY).expect("randomness");
        let Ok(verified) = verify::bundle(&bundle, &TRUST) else { continue };
        let read = Provenance::read(&verified);
        assert_eq!(read, Provenance::read(&verified.clone()));
        match read {
            Ok(provenance) => is_said(&provenance, &predicate),
            Err(error) => {
                is_tidy(&error);
                let wrong_kind = matches!(error, ProvenanceError::PredicateType { .. });
                assert!(!wrong_kind, "the type is one of ours");
            }
        }
    }
}

/// Every part of it stands in the predicate, and is of its kind.
fn is_said(provenance: &Provenance, predicate: &Value) {
    let mut texts = Vec::new();
    strings(predicate, &mut texts);
    let whole = |wanted: &str| texts.contains(&wanted);
    let part = |wanted: &str| texts.iter().any(|text| text.contains(wanted));
    assert!(!provenance.builder.is_empty() && whole(&provenance.builder));
    assert!(!provenance.build_type.is_empty() && whole(&provenance.build_type));
    let source = &provenance.source;
    assert!(part(source) && source.contains("://") && !source.contains(char::is_whitespace), "{source}");
    if let Some(reference) = &provenance.reference {
        assert!(!reference.is_empty() && part(reference));
    }
    if let Some(commit) = &provenance.commit {
        assert!(whole(commit) && matches!(commit.len(), 40 | 64), "{commit}");
        assert!(commit.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{commit}");
    }
}

fn strings<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(members) => members.values().for_each(|member| strings(member, found)),
    }
}
