use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::digest::Digest;
use crate::json::JsonError;
use crate::key::{Algorithm, PrivateKey, PublicKey};

// What cosign 3.1.3 wrote (tests/vectors/cosign/README.md).
macro_rules! cosign {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/cosign/", $name)).as_slice()
    };
}
macro_rules! conformance {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/conformance/", $name)).as_slice()
    };
}

mod dated;
mod legacy;
mod mutation;

pub(super) use mutation::leaves;

fn public(pem: &[u8]) -> PublicKey {
    PublicKey::from_pem(std::str::from_utf8(pem).unwrap()).unwrap()
}

fn cosign_trust() -> Trust {
    Trust::new(vec![
        public(cosign!("rsa.pub")),
        public(cosign!("ed25519.pub")),
        public(cosign!("p384.pub")),
        public(cosign!("p256.pub")),
    ])
}

fn image() -> Digest {
    Digest::of(cosign!("image.json"))
}

fn key() -> PrivateKey {
    PrivateKey::from_pem(include_str!("../../tests/vectors/keys/p256.pem")).unwrap()
}

fn trust() -> Trust {
    Trust::new(vec![key().public()])
}

fn statement() -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "registry.example/shop", "digest": { "sha256": image().hex() } }],
        "predicateType": "https://samebits.dev/deployment/v0.1",
        "predicate": { "environment": "staging", "replicas": 2, "parity": [{ "flags": "a" }] },
    })
}

fn signed(statement: &Value) -> Vec<u8> {
    sign_statement(statement.to_string().as_bytes(), &key()).unwrap()
}

/// A bundle as a JSON value, changed.
fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut bundle = serde_json::from_slice(&signed(&statement())).unwrap();
    change(&mut bundle);
    bundle.to_string().into_bytes()
}

#[track_caller]
fn refused(bytes: &[u8], code: &str) -> Rejected {
    let rejected = bundle(bytes, &trust()).unwrap_err();
    assert_eq!(rejected.reason.code(), code, "{rejected:?}");
    assert_eq!(rejected.evidence, Digest::of(bytes));
    rejected
}

#[track_caller]
fn statement_refused(change: impl FnOnce(&mut Value), code: &str) -> Rejected {
    let mut statement = statement();
    change(&mut statement);
    refused(&signed(&statement), code)
}

#[test]
fn what_is_signed_here_is_read_here_with_every_algorithm() {
    let rsa = PrivateKey::from_pem(include_str!("../../tests/vectors/keys/rsa2048.pem")).unwrap();
    let new = [Algorithm::Ed25519, Algorithm::EcdsaP256, Algorithm::EcdsaP384].map(PrivateKey::generate);
    for key in new.into_iter().map(Result::unwrap).chain([rsa]) {
        let bytes = sign_statement(statement().to_string().as_bytes(), &key).unwrap();
        let verified = bundle(&bytes, &Trust::new(vec![key.public()])).unwrap();
        assert_eq!(verified.identity(), &Identity::Key { id: key.public().id() });
        assert_eq!(verified.evidence(), Digest::of(&bytes));
        assert_eq!(verified.predicate_type(), "https://samebits.dev/deployment/v0.1");
        assert_eq!(verified.predicate()["environment"], "staging");
        let name = Some("registry.example/shop".to_owned());
        assert_eq!(verified.subjects(), [Subject { name, digest: image() }]);
        assert_eq!(bundle(&bytes, &trust()).unwrap_err().reason.code(), "no-trusted-key");
    }
}

#[test]
fn bundles_by_cosign_3_are_read() {
    for (bytes, key, predicate_type, name) in [
        (cosign!("sign-p256.bundle.json"), cosign!("p256.pub"), COSIGN_SIGN, None),
        (cosign!("sign-p384.bundle.json"), cosign!("p384.pub"), COSIGN_SIGN, None),
        (cosign!("sign-rsa.bundle.json"), cosign!("rsa.pub"), COSIGN_SIGN, None),
        (
            cosign!("attest-p256.bundle.json"),
            cosign!("p256.pub"),
            "https://slsa.dev/provenance/v1",
            Some("127.0.0.1:5917/shop"),
        ),
    ] {
        let verified = bundle(bytes, &cosign_trust()).unwrap();
        assert_eq!(verified.identity(), &Identity::Key { id: public(key).id() });
        assert_eq!(verified.predicate_type(), predicate_type);
        assert_eq!(verified.subjects(), [Subject { name: name.map(str::to_owned), digest: image() }]);
        // Our hint is cosign's hint.
        let value: Value = serde_json::from_slice(bytes).unwrap();
        assert_eq!(value["verificationMaterial"]["publicKey"]["hint"], public(key).hint());
    }
}

/// cosign 3.1.3 signs bundles with Ed25519ph, which the bundle's key does not say and cosign itself does not verify.
#[test]
fn ed25519ph_is_not_ed25519() {
    let rejected = bundle(cosign!("sign-ed25519.bundle.json"), &cosign_trust()).unwrap_err();
    let key = public(cosign!("ed25519.pub")).id();
    assert_eq!(rejected.reason, Reason::BadSignature { key });
}

#[test]
fn b1_the_subject_is_what_was_signed() {
    let other = Digest::of(b"another image").hex();
    let bytes = changed(|bundle| {
        let mut statement = statement();
        statement["subject"][0]["digest"]["sha256"] = json!(other);
        bundle["dsseEnvelope"]["payload"] = json!(STANDARD.encode(statement.to_string()));
    });
    let rejected = refused(&bytes, "bad-signature");
    assert_eq!(rejected.reason, Reason::BadSignature { key: key().public().id() });
    // Told for the explanation, in a type that no decision takes.
    assert_eq!(rejected.claim.subjects, [Digest::of(b"another image")]);
}

#[test]
fn b3_an_own_verdict_without_a_signature_is_nothing() {
    let mut verdict = statement();
    verdict["predicateType"] = json!("https://slsa.dev/verification_summary/v1");
    verdict["predicate"] = json!({ "verificationResult": "PASSED" });
    refused(verdict.to_string().as_bytes(), "missing-member");
    refused(&changed(|bundle| bundle["dsseEnvelope"]["signatures"] = json!([])), "signature-count");
    refused(&changed(|bundle| bundle["dsseEnvelope"]["signatures"][0]["sig"] = json!("")), "wrong-type");
    // Signed, by anybody.
    let anybody = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    let bytes = sign_statement(verdict.to_string().as_bytes(), &anybody).unwrap();
    let rejected = refused(&bytes, "no-trusted-key");
    let hint = Some(anybody.public().hint());
    assert_eq!(rejected.reason, Reason::NoTrustedKey { trusted: 1, hint: hint.clone() });
    assert_eq!(rejected.claim.predicate_type.as_deref(), Some("https://slsa.dev/verification_summary/v1"));
    assert_eq!(rejected.claim.hint, hint);
    // Nor does naming a trusted key help.
    let mut named: Value = serde_json::from_slice(&bytes).unwrap();
    named["verificationMaterial"]["publicKey"]["hint"] = json!(key().public().hint());
    refused(named.to_string().as_bytes(), "bad-signature");
}

#[test]
fn b3_trust_in_no_key_is_trust_in_nothing() {
    let rejected = bundle(&signed(&statement()), &Trust::default()).unwrap_err();
    assert!(matches!(rejected.reason, Reason::NoTrustedKey { trusted: 0, .. }));
}

#[test]
fn the_hint_helps_and_never_decides() {
    let many: Vec<_> = (0..3).map(|_| PrivateKey::generate(Algorithm::Ed25519).unwrap().public()).collect();
    let trust = Trust::new(many.iter().cloned().chain([key().public()]).collect());
    for hint in [json!(many[0].hint()), json!(key().public().hint()), json!("anything"), json!("")] {
        let bytes = changed(|bundle| bundle["verificationMaterial"]["publicKey"]["hint"] = hint);
        let verified = bundle(&bytes, &trust).unwrap();
        assert_eq!(verified.identity(), &Identity::Key { id: key().public().id() });
    }
    let without = changed(|bundle| bundle["verificationMaterial"]["publicKey"] = json!({}));
    assert!(bundle(&without, &trust).is_ok());
}

#[test]
fn b9_an_older_bundle_version_is_refused_by_name() {
    for media_type in [
        "application/vnd.dev.sigstore.bundle+json;version=0.1",
        "application/vnd.dev.sigstore.bundle+json;version=0.2",
        "application/vnd.dev.sigstore.bundle.v0.1+json",
        "application/vnd.dev.sigstore.bundle.v0.2+json",
        "application/vnd.dev.sigstore.bundle.v0.4+json",
        "application/vnd.dev.sigstore.bundle+json; version=0.3",
    ] {
        let rejected = refused(&changed(|bundle| bundle["mediaType"] = json!(media_type)), "bundle-version");
        assert_eq!(rejected.reason, Reason::BundleVersion { found: media_type.to_owned() });
    }
    refused(&changed(|bundle| bundle["mediaType"] = json!("application/json")), "not-a-bundle");
    let other =
        changed(|bundle| bundle["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.3"));
    assert!(bundle(&other, &trust()).is_ok());
}

#[test]
fn public_conformance_bundles_prove_nothing_without_a_root() {
    let trust = Trust::new(vec![public(conformance!("managed-key.pub"))]);
    for (bytes, code) in [
        (conformance!("managed-key-happy-path.json"), "message-signature"),
        (conformance!("happy-path-v0.1.json"), "message-signature"),
        (conformance!("happy-path-v0.2.json"), "message-signature"),
        (conformance!("happy-path-v0.3.json"), "message-signature"),
        (conformance!("happy-path-intoto-in-dsse-v3.json"), "no-trusted-root"),
    ] {
        assert_eq!(bundle(bytes, &trust).unwrap_err().reason.code(), code);
    }
}

#[test]
fn a_certificate_beside_a_key_is_not_ignored() {
    let rooted = trust().with_roots(vec![Root::public_good().unwrap()]);
    for member in ["certificate", "x509CertificateChain"] {
        let bytes = changed(|bundle| bundle["verificationMaterial"][member] = json!({ "rawBytes": "AAAA" }));
        assert_eq!(refused(&bytes, "no-trusted-root").reason, Reason::NoTrustedRoot);
        assert_eq!(bundle(&bytes, &rooted).unwrap_err().reason.code(), "bundle-material");
    }
    refused(&changed(|bundle| bundle["verificationMaterial"] = json!({})), "missing-member");
    refused(&changed(|bundle| bundle["messageSignature"] = json!({})), "two-contents");
    let message = changed(|bundle| {
        bundle.as_object_mut().unwrap().remove("dsseEnvelope");
        bundle["messageSignature"] = json!({ "signature": "AAAA" });
    });
    refused(&message, "message-signature");
}

#[test]
fn log_entries_beside_a_key_are_not_read() {
    let bytes = changed(|bundle| {
        bundle["verificationMaterial"]["tlogEntries"] = json!([{ "integratedTime": "1" }]);
        bundle["verificationMaterial"]["timestampVerificationData"] = json!({});
    });
    assert!(bundle(&bytes, &trust()).is_ok());
}

#[test]
fn exactly_one_signature() {
    let twice = changed(|bundle| {
        let signature = bundle["dsseEnvelope"]["signatures"][0].clone();
        bundle["dsseEnvelope"]["signatures"] = json!([signature, signature]);
    });
    assert_eq!(refused(&twice, "signature-count").reason, Reason::SignatureCount { found: 2 });
}

#[test]
fn b9_the_payload_type_is_signed_and_fixed() {
    for payload_type in ["application/vnd.in-toto+JSON", "application/json", "application/vnd.in-toto+json "]
    {
        refused(
            &changed(|bundle| bundle["dsseEnvelope"]["payloadType"] = json!(payload_type)),
            "payload-type",
        );
    }
    // A signature over the same bytes as another type, relabelled.
    let payload = statement().to_string();
    let signature = key().sign(&dsse::pae("application/json", payload.as_bytes())).unwrap();
    let relabelled =
        changed(|bundle| bundle["dsseEnvelope"]["signatures"][0]["sig"] = json!(STANDARD.encode(signature)));
    refused(&relabelled, "bad-signature");
    // A signature over the bare payload, without the pre-authentication encoding.
    let bare = key().sign(payload.as_bytes()).unwrap();
    let bare =
        changed(|bundle| bundle["dsseEnvelope"]["signatures"][0]["sig"] = json!(STANDARD.encode(bare)));
    refused(&bare, "bad-signature");
}

#[test]
fn b9_base64_has_one_spelling() {
    for change in [
        |text: &str| text.trim_end_matches('=').to_owned(),
        |text: &str| format!("{text}\n"),
        |text: &str| format!("{text}="),
        |text: &str| text.replace('+', "-").replace('/', "_") + "-_",
    ] {
        let bytes = changed(|bundle| {
            let sig = &mut bundle["dsseEnvelope"]["signatures"][0]["sig"];
            // A length that needs padding, so that every change is one.
            *sig = json!(change("MEQ="));
        });
        refused(&bytes, "not-base64");
    }
    refused(&changed(|bundle| bundle["dsseEnvelope"]["payload"] = json!("MER=")), "not-base64");
}

#[test]
fn b9_a_statement_of_another_type_is_refused_although_signed() {
    for wrong in [
        "foo",
        "https://in-toto.io/Statement/v2",
        "https://in-toto.io/Statement/v1/",
        "https://in-toto.io/statement/v1",
    ] {
        statement_refused(|statement| statement["_type"] = json!(wrong), "statement-type");
    }
    statement_refused(|statement| statement["_type"] = json!(""), "wrong-type");
    statement_refused(|statement| statement["_type"] = json!(1), "wrong-type");
    statement_refused(|statement| statement["predicateType"] = json!(""), "wrong-type");
    statement_refused(|statement| statement["predicate"] = json!("text"), "wrong-type");
    statement_refused(|statement| statement["predicate"] = Value::Null, "wrong-type");
    statement_refused(|statement| statement["subject"] = json!({}), "wrong-type");
    statement_refused(|statement| statement["subject"] = json!([]), "no-subject");
    statement_refused(|statement| statement["subject"][0] = json!("x"), "wrong-type");
    statement_refused(|statement| statement["subject"][0]["name"] = json!(7), "wrong-type");
    refused(&sign_statement(b"[]", &key()).unwrap(), "wrong-type");
    refused(&sign_statement(b"\x00", &key()).unwrap(), "not-strict-json");

    let mut old = statement();
    old["_type"] = json!("https://in-toto.io/Statement/v0.1");
    assert!(bundle(&signed(&old), &trust()).is_ok());
}

#[test]
fn a9_a_subject_counts_by_its_full_sha256_only() {
    for digest in [
        json!({}),
        json!({ "sha1": "da39a3ee5e6b4b0d3255bfef95601890afd80709" }),
        json!({ "sha512": "00", "gitCommit": "00" }),
        json!({ "SHA256": image().hex() }),
    ] {
        statement_refused(|statement| statement["subject"][0]["digest"] = digest, "subject-without-sha256");
    }
    for spelled in
        [image().to_string(), image().hex().to_uppercase(), image().short(), format!("{} ", image().hex())]
    {
        statement_refused(
            |statement| statement["subject"][0]["digest"]["sha256"] = json!(spelled),
            "subject-digest",
        );
    }
    statement_refused(|statement| statement["subject"][0]["digest"]["sha256"] = json!(1), "wrong-type");
    statement_refused(|statement| statement["subject"][0]["digest"]["sha512"] = json!(1), "wrong-type");
    // One good subject does not carry a bad one.
    let rejected = statement_refused(
        |statement| {
            let good = statement["subject"][0].clone();
            statement["subject"] = json!([good, { "name": "b", "digest": { "sha1": "00" } }]);
        },
        "subject-without-sha256",
    );
    assert_eq!(rejected.reason, Reason::SubjectWithoutSha256 { index: 1, found: vec!["sha1".to_owned()] });

    let mut both = statement();
    both["subject"][0]["digest"]["sha512"] = json!("beside a sha256, not looked at");
    assert_eq!(bundle(&signed(&both), &trust()).unwrap().subjects()[0].digest, image());
}

#[test]
fn b9_json_that_two_readers_could_read_differently_is_refused() {
    let text = String::from_utf8(signed(&statement())).unwrap();
    for (from, to) in [
        ("{\"dsseEnvelope\"", "{\"mediaType\":\"x\",\"dsseEnvelope\""),
        ("\"payloadType\"", "\"payloadType\":\"application/json\",\"payloadType\""),
        ("{\"hint\"", "{\"hint\":\"x\",\"hint\""),
        ("\"sig\"", "\"sig\":\"AAAA\",\"sig\""),
    ] {
        assert!(text.contains(from));
        let rejected = refused(text.replacen(from, to, 1).as_bytes(), "not-strict-json");
        assert!(matches!(rejected.reason, Reason::Json { part: Part::Bundle, .. }));
    }
    refused(format!("{text}{text}").as_bytes(), "not-strict-json");
    refused(format!("{text}\0").as_bytes(), "not-strict-json");
    refused(format!("\u{feff}{text}").as_bytes(), "not-strict-json");
    refused(b"", "not-strict-json");

    // Inside a good signature: B9 one level down, where a lenient reader takes the last.
    for (name, statement) in [
        (
            "predicate",
            include_bytes!("../../tests/vectors/b9-duplicate-key-in-predicate/statement.json").as_slice(),
        ),
        (
            "subject",
            include_bytes!("../../tests/vectors/b9-duplicate-key-in-subject/statement.json").as_slice(),
        ),
    ] {
        assert!(serde_json::from_slice::<Value>(statement).is_ok(), "{name}: a lenient reader reads it");
        let rejected = refused(&sign_statement(statement, &key()).unwrap(), "not-strict-json");
        let Reason::Json { part: Part::Statement, source: JsonError::DuplicateKey { .. } } = rejected.reason
        else {
            panic!("{name}: {:?}", rejected.reason);
        };
    }
    let trailing = format!("{}{{}}", statement());
    refused(&sign_statement(trailing.as_bytes(), &key()).unwrap(), "not-strict-json");
}

#[test]
fn f4_size_and_depth_are_limited() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    refused(deep.as_bytes(), "not-strict-json");
    let mut nested = statement();
    nested["predicate"]["deep"] = (0..70).fold(json!(1), |inner, _| json!([inner]));
    refused(&signed(&nested), "not-strict-json");
    let long = vec![b' '; (4 << 20) + 1];
    let rejected = refused(&long, "not-strict-json");
    assert!(matches!(rejected.reason, Reason::Json { source: JsonError::TooLong { .. }, .. }));
}

#[test]
fn d8_foreign_text_in_a_refusal_is_short_and_without_control_characters() {
    let nasty = format!("\u{1b}[2J::error::\n{}", "x".repeat(500));
    for bytes in [
        changed(|bundle| bundle["mediaType"] = json!(nasty)),
        changed(|bundle| bundle["dsseEnvelope"]["payloadType"] = json!(nasty)),
        changed(|bundle| bundle["dsseEnvelope"][&nasty] = json!(1)),
    ] {
        let rejected = bundle(&bytes, &trust()).unwrap_err();
        let message = rejected.reason.to_string();
        assert!(!message.contains(char::is_control) && message.len() < 400, "{message}");
    }
    let stranger = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let mut statement = statement();
    statement["predicateType"] = json!(nasty);
    let mut foreign: Value =
        serde_json::from_slice(&sign_statement(statement.to_string().as_bytes(), &stranger).unwrap())
            .unwrap();
    foreign["verificationMaterial"]["publicKey"]["hint"] = json!(nasty);
    let rejected = bundle(foreign.to_string().as_bytes(), &trust()).unwrap_err();
    assert!(!rejected.claim.predicate_type.unwrap().contains(char::is_control));
    assert!(!rejected.claim.hint.unwrap().contains(char::is_control));
    assert!(!rejected.reason.to_string().contains(char::is_control));
}

#[test]
fn an_identity_has_one_spelling() {
    let key = Identity::Key { id: image() };
    let keyless = |root: &str| Identity::Keyless {
        issuer: "https://issuer".to_owned(),
        subject: "me@example".to_owned(),
        root: root.parse().unwrap(),
    };
    assert_eq!(key.to_string(), format!("key:{}", image()));
    assert_eq!(keyless("public-good").to_string(), "me@example (https://issuer)");
    assert_eq!(keyless("github").to_string(), "me@example (https://issuer, root github)");
    assert_ne!(keyless("public-good"), keyless("github"));
    for (identity, text) in [
        (key, json!({ "key": image().to_string() })),
        (keyless("acme"), json!({ "issuer": "https://issuer", "subject": "me@example", "root": "acme" })),
    ] {
        assert_eq!(serde_json::to_value(&identity).unwrap(), text);
        assert_eq!(serde_json::from_value::<Identity>(text).unwrap(), identity);
    }
    for wrong in [
        json!({}),
        json!({ "key": "sha256:00" }),
        json!({ "issuer": "a" }),
        json!({ "issuer": "a", "subject": "b" }),
        json!({ "issuer": "a", "subject": "b", "root": "Github" }),
        json!({ "issuer": "", "subject": "b", "root": "github" }),
        json!({ "issuer": "a", "subject": "", "root": "github" }),
        json!({ "key": image().to_string(), "issuer": "a", "subject": "b" }),
        json!("key"),
    ] {
        assert!(serde_json::from_value::<Identity>(wrong.clone()).is_err(), "{wrong}");
    }
}
