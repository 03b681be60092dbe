//! `sigstore-sign`, which knows nothing of this crate, signs over HTTP; what it makes verifies here.

use samebits::digest::Digest;
use samebits::verify::{Artifact, MESSAGE_SIGNATURE, attached};
use sigstore_sign::oidc::IdentityToken;
use sigstore_sign::trust_root::SigningConfig;
use sigstore_sign::{SigningContext, SigningServices};

use crate::sigstore::{Kind, Sigstore, oidc};
use crate::{keyless, statement, trust, verified};

fn context(config: &str) -> SigningContext {
    let config = SigningConfig::from_json(config).unwrap();
    SigningContext::new(SigningServices::from_signing_config(&config).unwrap())
}

fn v2(sigstore: &Sigstore) -> SigningContext {
    context(&sigstore.signing_config())
}

/// With a timestamp too, as the signing config asks for one.
fn v1(sigstore: &Sigstore) -> SigningContext {
    context(&sigstore.signing_config_v1())
}

/// With the log's word for the time alone.
fn v1_alone(sigstore: &Sigstore) -> SigningContext {
    SigningContext::new(SigningServices::new(&sigstore.url, &sigstore.url))
}

#[tokio::test]
async fn statements_in_both_logs_verify_and_their_claims_are_read() {
    let sigstore = Sigstore::start();
    let job = oidc::github("acme/shop", "release.yml", "refs/heads/main");
    let before = sigstore.now();
    for context in [v1(&sigstore), v1_alone(&sigstore), v2(&sigstore)] {
        let token = IdentityToken::from_jwt(&sigstore.token(&job)).unwrap();
        let bundle = context.signer(token).sign_raw_statement(&statement()).await.unwrap();
        let bundle = bundle.to_json().unwrap();
        let verified = verified(&sigstore, bundle.as_bytes()).unwrap();
        assert_eq!(*verified.identity(), keyless(&sigstore.identity(&job)));
        let said = verified.author().claims().unwrap();
        assert_eq!(said.source_repository_uri.as_deref(), Some("https://github.com/acme/shop"));
        assert_eq!(said.source_repository_ref.as_deref(), Some("refs/heads/main"));
        assert_eq!(said.build_trigger.as_deref(), Some("push"));
        assert_eq!(said.runner_environment.as_deref(), Some("github-hosted"));
        assert_eq!(
            said.run_invocation_uri.as_deref(),
            Some("https://github.com/acme/shop/actions/runs/9001/attempts/2")
        );
        assert!((before..=sigstore.now()).contains(&verified.author().time().unwrap()));
        assert_eq!(verified.predicate_type(), "https://acme.example/checked/v1");
    }
}

#[tokio::test]
async fn messages_in_both_logs_verify() {
    let sigstore = Sigstore::start();
    let job = oidc::github("acme/shop", "release.yml", "refs/heads/main");
    let manifest = b"{\"schemaVersion\":2}";
    for context in [v1(&sigstore), v1_alone(&sigstore), v2(&sigstore)] {
        let token = IdentityToken::from_jwt(&sigstore.token(&job)).unwrap();
        let bundle = context.signer(token).sign(manifest.as_slice()).await.unwrap().to_json().unwrap();
        let found = attached(bundle.as_bytes(), Digest::of(manifest), &trust(&sigstore)).unwrap();
        assert_eq!(found.predicate_type(), MESSAGE_SIGNATURE);
        assert_eq!(*found.identity(), keyless(&sigstore.identity(&job)));
        for artifact in [Artifact::Bytes(manifest), Artifact::Digest(Digest::of(manifest))] {
            let _ = samebits::verify::artifact(bundle.as_bytes(), artifact, &trust(&sigstore)).unwrap();
        }
        let other = attached(bundle.as_bytes(), Digest::of(b"other"), &trust(&sigstore)).unwrap_err();
        assert_eq!(other.reason.code(), "artifact-mismatch");
    }
}

#[tokio::test]
async fn every_issuer_has_its_identity() {
    let sigstore = Sigstore::start();
    let rows = [
        (oidc::gitlab("acme/shop", "main"), "https://gitlab.com/acme/shop//.gitlab-ci.yml@refs/heads/main"),
        (oidc::buildkite("acme", "shop"), "https://buildkite.com/acme/shop"),
        (oidc::person("ana@acme.example"), "ana@acme.example"),
    ];
    for (claims, subject) in rows {
        let token = IdentityToken::from_jwt(&sigstore.token(&claims)).unwrap();
        let bundle = v2(&sigstore).signer(token).sign_raw_statement(&statement()).await.unwrap();
        let verified = verified(&sigstore, bundle.to_json().unwrap().as_bytes()).unwrap();
        let identity = sigstore.identity(&claims);
        assert_eq!(identity.subject(), subject);
        assert_eq!(*verified.identity(), keyless(&identity));
    }
}

#[tokio::test]
async fn each_service_refuses_what_it_should() {
    let sigstore = Sigstore::start();
    let job = oidc::github("acme/shop", "release.yml", "refs/heads/main");
    let refused = async |claims: serde_json::Value| {
        let token = IdentityToken::from_jwt(&sigstore.token(&claims)).unwrap();
        v2(&sigstore).signer(token).sign_raw_statement(&statement()).await.unwrap_err().to_string()
    };
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = job.clone();
        claims[name] = value;
        claims
    };
    for claims in [
        with("aud", "another".into()),
        with("exp", 1.into()),
        with("nbf", 32_503_680_000_i64.into()),
        with("iss", "https://evil.example".into()),
    ] {
        let why = refused(claims.clone()).await;
        assert!(why.contains("401"), "{claims}: {why}");
    }
    // Nothing was logged, nothing stamped.
    assert!(sigstore.requests().iter().all(|request| request == "POST /api/v2/signingCert"));
    // Signed by another instance's issuer.
    let other = Sigstore::start_as(Kind::Stamped);
    let token = IdentityToken::from_jwt(&other.token(&job)).unwrap();
    let why = v2(&sigstore).signer(token).sign_raw_statement(&statement()).await.unwrap_err().to_string();
    assert!(why.contains("401"), "{why}");
}
