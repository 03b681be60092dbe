//! What cosign before version 3 left in `.att` and `.sig` images.

use super::*;

#[test]
fn legacy_att_and_sig_layers_are_read() {
    let verified = envelope(cosign!("att-p256.envelope.json"), &cosign_trust()).unwrap();
    assert_eq!(verified.predicate_type(), "https://slsa.dev/provenance/v1");
    assert_eq!(verified.subjects()[0].digest, image());

    let payload = cosign!("sig-p256.payload.json");
    let verified = simple_signing(payload, &sig_annotation(), &cosign_trust()).unwrap();
    assert_eq!(verified.identity(), &Identity::Key { id: public(cosign!("p256.pub")).id() });
    assert_eq!(verified.predicate_type(), SIMPLE_SIGNING);
    let name = Some("127.0.0.1:5917/shop".to_owned());
    assert_eq!(verified.subjects(), [Subject { name, digest: image() }]);
}

fn sig_annotation() -> String {
    let manifest: Value = serde_json::from_slice(cosign!("sig-p256.manifest.json")).unwrap();
    let annotation = &manifest["layers"][0]["annotations"]["dev.cosignproject.cosign/signature"];
    annotation.as_str().unwrap().to_owned()
}

#[test]
fn legacy_layers_are_refused_when_anything_is_wrong() {
    let payload = cosign!("sig-p256.payload.json");
    let code = |payload: &[u8], signature: &str, trust: &Trust| {
        simple_signing(payload, signature, trust).unwrap_err().reason.code()
    };
    assert_eq!(code(payload, &sig_annotation(), &trust()), "no-trusted-key");
    assert_eq!(code(payload, &sig_annotation(), &Trust::default()), "no-trusted-key");
    assert_eq!(code(payload, "", &cosign_trust()), "no-trusted-key");
    assert_eq!(code(payload, "not base64", &cosign_trust()), "not-base64");
    assert_eq!(code(&[payload, b"\n"].concat(), &sig_annotation(), &cosign_trust()), "no-trusted-key");

    // Signed by the right key, but saying something else.
    let ours = |payload: &str| {
        let signature = STANDARD.encode(key().sign(payload.as_bytes()).unwrap());
        simple_signing(payload.as_bytes(), &signature, &trust()).map_err(|rejected| rejected.reason.code())
    };
    let good = std::str::from_utf8(payload).unwrap();
    assert!(ours(good).is_ok());
    for (from, to, code) in [
        ("cosign container image signature", "atomic container signature", "simple-signing-type"),
        ("\"type\":\"cosign container image signature\"", "\"kind\":1", "unknown-member"),
        (",\"type\":\"cosign container image signature\"", "", "missing-member"),
        ("\"image\":{", "\"image\":{\"x\":1,", "unknown-member"),
        ("{\"critical\"", "{\"extra\":1,\"critical\"", "unknown-member"),
        ("{\"critical\":{", "{\"critical\":{\"type\":\"\",", "not-strict-json"),
        ("\"optional\":null", "\"optional\":{\"a\":1,\"a\":2}", "not-strict-json"),
        ("\"optional\":null", "\"optional\":3", "wrong-type"),
        ("127.0.0.1:5917/shop", "", "wrong-type"),
        ("sha256:", "sha512:", "subject-digest"),
        ("sha256:68", "sha256:", "subject-digest"),
        ("\"sha256:68", "\"SHA256:68", "subject-digest"),
    ] {
        assert!(good.contains(from), "{from}");
        assert_eq!(ours(&good.replacen(from, to, 1)).unwrap_err(), code, "{from} -> {to}");
    }
    assert_eq!(ours(&format!("{good} x")).unwrap_err(), "not-strict-json");

    let envelope_code = |bytes: &[u8]| envelope(bytes, &cosign_trust()).unwrap_err().reason.code();
    let att: Value = serde_json::from_slice(cosign!("att-p256.envelope.json")).unwrap();
    let with = |pointer: &str, value: Value| {
        let mut att = att.clone();
        *att.pointer_mut(pointer).unwrap() = value;
        att.to_string().into_bytes()
    };
    assert_eq!(envelope_code(&with("/payload", json!("e30="))), "no-trusted-key");
    assert_eq!(envelope_code(&with("/signatures", json!([]))), "signature-count");
    assert_eq!(envelope_code(&with("/payloadType", json!("text/plain"))), "payload-type");
    assert_eq!(envelope_code(b"{}"), "missing-member");
    assert_eq!(envelope_code(&signed(&statement())), "unknown-member", "a bundle is not an envelope");
    assert_eq!(
        bundle(cosign!("att-p256.envelope.json"), &cosign_trust()).unwrap_err().reason.code(),
        "missing-member"
    );
}
