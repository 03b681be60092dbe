//! The services themselves: what a client may ask, what it is told.

use reqwest::Client;
use serde_json::Value;

use crate::sigstore::{Kind, Sigstore, oidc};

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
        use base64::Engine as _;
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
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
