//! The services themselves: what a client may ask, what it is told.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::SignedDuration;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use sigstore_sign::{SigningContext, SigningServices};

use crate::sigstore::key::{P256, pem_of, spki_of_certificate};
use crate::sigstore::{Kind, Name, Sigstore, der, oidc};
use crate::{keyless, statement, verified};

/// A certificate signing request for the key, signed by `by` (RFC 2986), as Fulcio takes it.
fn csr(key: &P256, by: &P256) -> Value {
    let info = der::sequence(&[der::integer(&[0]), der::name("nobody"), key.spki(), der::tagged(0, &[])]);
    let algorithm = der::sequence(&[der::oid("1.2.840.10045.4.3.2")]);
    let request = der::sequence(&[info.clone(), algorithm, der::bits(&by.sign(&info))]);
    json!(STANDARD.encode(pem_of("CERTIFICATE REQUEST", &request)))
}

/// A key, and what proves that one has it.
fn proof(key: &P256, proof: &[u8]) -> Value {
    json!({
        "publicKey": { "algorithm": "ECDSA", "content": pem_of("PUBLIC KEY", &key.spki()) },
        "proofOfPossession": STANDARD.encode(proof),
    })
}

async fn certificate(sigstore: &Sigstore, body: &Value) -> Response {
    let url = format!("{}/api/v2/signingCert", sigstore.url);
    Client::new().post(url).json(body).send().await.unwrap()
}

#[tokio::test]
async fn fulcio_certifies_who_proves_to_have_the_key() {
    let sigstore = Sigstore::start();
    let job = oidc::github("acme/shop", "release.yml", "refs/heads/main");
    let (key, other) = (P256::generate(), P256::generate());
    let credentials = json!({ "oidcIdentityToken": sigstore.token(&job) });
    let subject = job["sub"].as_str().unwrap().as_bytes();
    let good = [
        json!({ "credentials": credentials, "certificateSigningRequest": csr(&key, &key) }),
        json!({ "credentials": credentials, "publicKeyRequest": proof(&key, &key.sign(subject)) }),
    ];
    for body in good {
        let answer = certificate(&sigstore, &body).await;
        assert_eq!(answer.status(), 200);
        let chain: Value = answer.json().await.unwrap();
        let chain = &chain["signedCertificateEmbeddedSct"]["chain"]["certificates"];
        assert_eq!(chain.as_array().unwrap().len(), 3);
        let leaf = pem::parse(chain[0].as_str().unwrap()).unwrap();
        assert_eq!(spki_of_certificate(leaf.contents()).unwrap(), key.spki());
    }
    let wrong = [
        json!({ "credentials": credentials, "certificateSigningRequest": csr(&key, &other) }),
        json!({ "credentials": credentials, "publicKeyRequest": proof(&key, &other.sign(subject)) }),
        json!({ "credentials": credentials, "publicKeyRequest": proof(&key, &key.sign(b"another")) }),
        json!({ "credentials": credentials }),
    ];
    for body in wrong {
        assert_eq!(certificate(&sigstore, &body).await.status(), 400, "{body}");
    }
}

#[tokio::test]
async fn fulcio_believes_no_token_but_the_issuers() {
    let sigstore = Sigstore::start();
    let job = oidc::github("acme/shop", "release.yml", "refs/heads/main");
    let token = sigstore.token(&job);
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let none = URL_SAFE_NO_PAD.encode("{\"alg\":\"none\"}");
    let mut fork = job.clone();
    fork["repository"] = json!("evil/shop");
    let fork = sigstore.token(&fork);
    let unverified = json!({ "sub": "1", "email": "ana@acme.example", "email_verified": false });
    let key = P256::generate();
    for token in [
        format!("{none}.{claims}."),
        format!("{none}.{claims}.{signature}"),
        format!("{header}.{}.{signature}", fork.split('.').nth(1).unwrap()),
        sigstore.token(&unverified),
        String::new(),
    ] {
        let credentials = json!({ "oidcIdentityToken": token });
        let body = json!({ "credentials": credentials, "certificateSigningRequest": csr(&key, &key) });
        assert_eq!(certificate(&sigstore, &body).await.status(), 401, "{token}");
    }
}

#[tokio::test]
async fn the_logs_take_no_wrong_signature_and_no_entry_twice() {
    let sigstore = Sigstore::start();
    let key = P256::generate();
    let (digest, other) = ([7; 32], [8; 32]);
    let signature = STANDARD.encode(key.sign_digest(digest));
    let pem = STANDARD.encode(pem_of("PUBLIC KEY", &key.spki()));
    let v1 = |digest: [u8; 32]| {
        let hash = samebits::digest::Digest::from_bytes(digest).hex();
        json!({ "apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
            "data": { "hash": { "algorithm": "sha256", "value": hash } },
            "signature": { "content": signature, "publicKey": { "content": pem } },
        }})
    };
    let v2 = |digest: [u8; 32]| {
        let verifier = json!({
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "publicKey": { "rawBytes": STANDARD.encode(key.spki()) },
        });
        json!({ "hashedRekordRequestV002": {
            "digest": STANDARD.encode(digest),
            "signature": { "content": signature, "verifier": verifier },
        }})
    };
    for (version, good, wrong) in [(1, v1(digest), v1(other)), (2, v2(digest), v2(other))] {
        let url = format!("{}/api/v{version}/log/entries", sigstore.url);
        let post = async |body: &Value| Client::new().post(&url).json(body).send().await.unwrap().status();
        assert_eq!(post(&wrong).await, 400);
        assert_eq!(post(&good).await, 201);
        assert_eq!(post(&good).await, 409);
        assert_eq!(post(&json!({})).await, 400);
    }
}

#[tokio::test]
async fn the_clock_of_all_services_is_settable() {
    let sigstore = Sigstore::start();
    let then = sigstore.now() - SignedDuration::from_hours(24 * 30);
    sigstore.set_clock(Some(then));
    let job = oidc::github("acme/shop", "release.yml", "refs/heads/main");
    let token = sigstore.token(&job);
    let services = SigningServices::new(&sigstore.url, &sigstore.url).with_tsa_url(sigstore.tsa_url());
    let context = SigningContext::new(services);
    let sign = async || {
        let token = sigstore_sign::oidc::IdentityToken::from_jwt(&token).unwrap();
        context.signer(token).sign_raw_statement(&statement()).await
    };
    let bundle = sign().await.unwrap().to_json().unwrap();
    assert_eq!(verified(&sigstore, bundle.as_bytes()).unwrap().author().time(), Some(then));
    // The token of that day is none today.
    sigstore.set_clock(None);
    assert!(sign().await.unwrap_err().to_string().contains("401"));
}

#[tokio::test]
async fn a_service_that_is_down_is_no_signature() {
    let sigstore = Sigstore::start();
    let services = SigningServices::new(&sigstore.url, &sigstore.url).with_tsa_url(sigstore.tsa_url());
    let context = SigningContext::new(services);
    for path in ["/signingCert", "/log/entries", "/timestamp"] {
        sigstore.break_with(path, 503);
        let token = sigstore.token(&oidc::person("ana@acme.example"));
        let token = sigstore_sign::oidc::IdentityToken::from_jwt(&token).unwrap();
        context.signer(token).sign_raw_statement(&statement()).await.unwrap_err();
        sigstore.mend();
    }
}

#[test]
fn an_address_is_a_name_of_its_own_kind() {
    let sigstore = Sigstore::start();
    let who = sigstore.identity(&oidc::person("ana@acme.example"));
    assert_eq!(who.names, [Name::Email("ana@acme.example".to_owned())]);
    let found = verified(&sigstore, &sigstore.bundle(&statement(), &who, sigstore.now())).unwrap();
    assert_eq!(*found.identity(), keyless(&who));
}

#[tokio::test]
async fn the_ambient_endpoint_wants_its_bearer_and_gives_the_audience_asked_for() {
    let sigstore = Sigstore::start();
    let client = Client::new();
    let asked = async |bearer: &str, audience: &str| {
        let url = format!("{}{audience}", sigstore.ambient_url());
        client.get(url).bearer_auth(bearer).send().await.unwrap()
    };
    assert_eq!(asked("wrong", "&audience=sigstore").await.status(), 401);
    let anonymous = client.get(sigstore.ambient_url()).send().await.unwrap();
    assert_eq!(anonymous.status(), 401);
    let audience = async |asked: reqwest::Response| -> Value {
        let answer: Value = asked.json().await.unwrap();
        let claims = answer["value"].as_str().unwrap().split('.').nth(1).unwrap().to_owned();
        let claims = URL_SAFE_NO_PAD.decode(claims).unwrap();
        serde_json::from_slice::<Value>(&claims).unwrap()["aud"].clone()
    };
    assert_eq!(audience(asked(oidc::BEARER, "&audience=sigstore").await).await, "sigstore");
    assert_eq!(audience(asked(oidc::BEARER, "").await).await, "https://github.com/acme");
}

#[tokio::test]
async fn an_instance_without_a_log_serves_none() {
    let sigstore = Sigstore::start_as(Kind::Stamped);
    let client = Client::new();
    for path in ["/api/v1/log/entries", "/api/v2/log/entries"] {
        let answer = client.post(format!("{}{path}", sigstore.url)).body("{}").send().await.unwrap();
        assert_eq!(answer.status(), 404);
    }
    sigstore.break_with("/timestamp", 503);
    let answer = client.post(sigstore.tsa_url()).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    sigstore.mend();
    let answer = client.post(sigstore.tsa_url()).send().await.unwrap();
    assert_eq!(answer.status(), 415);
    assert_eq!(sigstore.requests().len(), 4);
}

#[tokio::test]
async fn the_issuer_serves_its_keys() {
    let sigstore = Sigstore::start();
    let get = async |url: String| reqwest::get(url).await.unwrap().json::<Value>().await.unwrap();
    let found = get(format!("{}/.well-known/openid-configuration", sigstore.oidc.issuer)).await;
    assert_eq!(found["issuer"], *sigstore.oidc.issuer);
    let keys = get(found["jwks_uri"].as_str().unwrap().to_owned()).await;
    assert_eq!(keys["keys"][0]["crv"], "P-256");
}
