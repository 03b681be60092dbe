//! Our own signer against the virtual services, and what it says when one of them fails.

use std::error::Error as _;

use jiff::{SignedDuration, Timestamp};
use samebits::registry::HttpConfig;
use samebits::signing::{Services, SigningError, Token, TokenError, Workload};
use samebits::verify::{Sign as _, SignError, Trust};
use serde_json::Value;

use crate::sigstore::{Kind, Sigstore, oidc};
use crate::{keyless, statement, trust, verified};

#[allow(clippy::disallowed_methods, reason = "the virtual services live in the real time, too")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// The certificate in hand has always run out.
fn later() -> Timestamp {
    now() + SignedDuration::from_mins(20)
}

fn job() -> Value {
    oidc::github("acme/shop", "release.yml", "refs/heads/main")
}

/// A signer for this token and signing config, that believes in this trust.
fn workload(
    token: String,
    config: &str,
    trust: Trust,
    clock: fn() -> Timestamp,
) -> Result<Workload, SigningError> {
    let http = HttpConfig::default();
    let services = Services::read(config, &http).unwrap();
    Workload::open(services, "virtual".parse().unwrap(), trust, Token::Given(token.into()), &http, clock)
}

#[test]
fn what_it_signs_verifies_in_both_logs() {
    let sigstore = Sigstore::start();
    for config in [sigstore.signing_config(), sigstore.signing_config_v1()] {
        let signer = workload(sigstore.token(&job()), &config, trust(&sigstore), now).unwrap();
        let (first, second) = (signer.sign(&statement()).unwrap(), signer.sign(&statement()).unwrap());
        assert_ne!(first, second);
        let certificate = |bundle: &[u8]| {
            let bundle: Value = serde_json::from_slice(bundle).unwrap();
            bundle["verificationMaterial"]["certificate"]["rawBytes"].clone()
        };
        // One certificate for both.
        assert_eq!(certificate(&first), certificate(&second));
        for bundle in [first, second] {
            let verified = verified(&sigstore, &bundle).unwrap();
            assert_eq!(*verified.identity(), keyless(&sigstore.identity(&job())));
            // What was announced is what was proved.
            assert_eq!(verified.identity(), signer.author().identity());
            assert_eq!(verified.author().claims(), signer.author().claims());
            assert!(verified.author().time().is_some());
        }
    }
}

#[test]
fn it_signs_from_within_another_runtime() {
    let sigstore = Sigstore::start();
    let config = sigstore.signing_config();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let signed = runtime.block_on(async {
        let signer = workload(sigstore.token(&job()), &config, trust(&sigstore), now).unwrap();
        let signed = signer.sign(&statement()).unwrap();
        drop(signer);
        signed
    });
    assert!(verified(&sigstore, &signed).is_ok());
}

#[test]
fn a_certificate_that_runs_out_is_renewed_for_the_same_identity() {
    let sigstore = Sigstore::start();
    let signer =
        workload(sigstore.token(&job()), &sigstore.signing_config(), trust(&sigstore), later).unwrap();
    let (first, second) = (signer.sign(&statement()).unwrap(), signer.sign(&statement()).unwrap());
    let certificate = |bundle: &[u8]| {
        let bundle: Value = serde_json::from_slice(bundle).unwrap();
        bundle["verificationMaterial"]["certificate"]["rawBytes"].clone()
    };
    assert_ne!(certificate(&first), certificate(&second));
    assert!(verified(&sigstore, &first).is_ok() && verified(&sigstore, &second).is_ok());
}

#[test]
fn a_token_that_fulcio_would_refuse_is_refused() {
    let sigstore = Sigstore::start();
    let config = sigstore.signing_config();
    let refused = |token: String| workload(token, &config, trust(&sigstore), now).err().unwrap();
    assert!(matches!(refused("rubbish".to_owned()), SigningError::Token(TokenError::Malformed)));
    let mut elsewhere = job();
    elsewhere["aud"] = "https://vault.example".into();
    assert!(matches!(refused(sigstore.token(&elsewhere)), SigningError::Token(TokenError::Audience)));
    // Somebody else's issuer: Fulcio says no, once; it is not a moment's trouble.
    let other = Sigstore::start();
    let error = refused(other.token(&job()));
    assert!(
        matches!(&error, SigningError::Certificate { detail, .. } if detail.contains("HTTP 4")),
        "{error}"
    );
    assert!(error.to_string().starts_with(&format!("{} gave no certificate", sigstore.url)), "{error}");
}

#[test]
fn services_of_another_root_are_found_out_before_anything_is_recorded() {
    let (sigstore, other) = (Sigstore::start(), Sigstore::start());
    let signer = workload(sigstore.token(&job()), &sigstore.signing_config(), trust(&other), now).unwrap();
    let error = signer.sign(&statement()).unwrap_err();
    let SignError::Service(source) = &error else { panic!("{error}") };
    assert!(source.to_string().contains("does not verify under the root `virtual`"), "{source}");
    // An instance without a log has no services that could sign what we verify.
    let stamped = Sigstore::start_as(Kind::Stamped);
    assert!(Services::read(&stamped.signing_config(), &HttpConfig::default()).is_err());
}

#[test]
fn a_service_that_is_away_is_named() {
    let sigstore = Sigstore::start();
    let away = |member: &str| {
        let mut config: Value = serde_json::from_str(&sigstore.signing_config()).unwrap();
        config[member][0]["url"] = "http://127.0.0.1:1".into();
        config.to_string()
    };
    let open = |config: &str| workload(sigstore.token(&job()), config, trust(&sigstore), now);
    let error = open(&away("caUrls")).err().unwrap();
    assert!(error.to_string().starts_with("http://127.0.0.1:1 gave no certificate"), "{error}");
    for (member, said) in [
        ("rekorTlogUrls", "the transparency log http://127.0.0.1:1 took no entry"),
        ("tsaUrls", "the timestamp authority http://127.0.0.1:1 gave no timestamp"),
    ] {
        let error = open(&away(member)).unwrap().sign(&statement()).unwrap_err();
        let source = error.source().unwrap().to_string();
        assert!(source.starts_with(said), "{member}: {source}");
    }
}
