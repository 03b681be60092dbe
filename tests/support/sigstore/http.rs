//! The services on one loopback socket, in a thread of its own.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::log::Refused;
use super::rekor_v1::Entry;
use super::{Instance, Kind, fulcio, key};

/// A running instance; it ends when this is dropped.
pub struct Sigstore {
    shared: Arc<Shared>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

struct Shared {
    instance: Instance,
    requests: Mutex<Vec<String>>,
    broken: Mutex<Vec<(String, u16)>>,
}

impl Deref for Sigstore {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        &self.shared.instance
    }
}

impl Drop for Sigstore {
    fn drop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
    }
}

impl Sigstore {
    /// A public instance.
    pub fn start() -> Self {
        Self::start_as(Kind::Public)
    }

    pub fn start_as(kind: Kind) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let instance = Instance::at(kind, &host, "http");
        let shared = Arc::new(Shared { instance, requests: Mutex::default(), broken: Mutex::default() });
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let app = Router::new().fallback(serve).with_state(shared.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    outcome = axum::serve(listener, app) => outcome.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self { shared, stop: Some(stop) }
    }

    /// Every request so far, as `POST /api/v2/signingCert`.
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// From now on, requests whose path contains `path` are answered with this status and nothing is done.
    pub fn break_with(&self, path: &str, status: u16) {
        self.shared.broken.lock().unwrap().push((path.to_owned(), status));
    }

    /// The services are well again.
    pub fn mend(&self) {
        self.shared.broken.lock().unwrap().clear();
    }
}

#[derive(serde::Deserialize)]
struct Asked {
    audience: Option<String>,
}

async fn serve(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    shared.requests.lock().unwrap().push(format!("{method} {path}"));
    let broken = shared.broken.lock().unwrap().iter().find(|(part, _)| path.contains(part)).cloned();
    if let Some((_, status)) = broken {
        return json_reply(status, &json!({ "code": status, "message": "told to fail" }));
    }
    let authorization =
        headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or("");
    let instance = &shared.instance;
    let request = || serde_json::from_slice::<Value>(&body).unwrap_or_default();
    let logs = instance.kind == Kind::Public;
    match (method.as_str(), path.as_str()) {
        ("GET", "/oidc/.well-known/openid-configuration") => json_reply(200, &instance.oidc.configuration()),
        ("GET", "/oidc/.well-known/jwks") => json_reply(200, &instance.oidc.keys()),
        ("GET", "/oidc/ambient") => {
            let asked = Query::<Asked>::try_from_uri(&uri).map(|query| query.0.audience).unwrap_or_default();
            match instance.oidc.ambient(authorization, asked.as_deref(), instance.now()) {
                Some(answer) => json_reply(200, &answer),
                None => json_reply(401, &json!({ "message": "Bad credentials" })),
            }
        }
        ("POST", "/api/v2/signingCert") => {
            let bearer = authorization.strip_prefix("Bearer ");
            outcome(200, instance.certify(&request(), bearer))
        }
        // What cosign 2 asks.
        ("POST", "/api/v1/signingCert") => {
            let bearer = authorization.strip_prefix("Bearer ");
            match instance.certify(&fulcio::of_version_1(&request()), bearer) {
                Ok(answer) => {
                    reply(201, "application/pem-certificate-chain", fulcio::chain(&answer).into_bytes())
                }
                Err(refused) => outcome(201, Err(refused)),
            }
        }
        ("GET", "/api/v2/trustBundle") => {
            let chain = [instance.intermediate.certificate.clone(), instance.root.certificate.clone()];
            let certificates = chain.map(|one| key::pem_of("CERTIFICATE", &one));
            json_reply(200, &json!({ "chains": [{ "certificates": certificates }] }))
        }
        ("GET", "/api/v2/configuration") => json_reply(200, &fulcio::configuration(&instance.oidc.issuer)),
        ("POST", "/api/v1/log/entries") if logs => {
            let entry = instance.rekor_v1.post(&request(), instance.now());
            let uuid = entry.as_ref().map(Entry::uuid).unwrap_or_default();
            let mut answer = outcome(201, entry.map(|entry| entry.response()));
            if answer.status() == StatusCode::CREATED {
                let location = format!("/api/v1/log/entries/{uuid}");
                answer.headers_mut().insert(header::ETAG, uuid.parse().unwrap());
                answer.headers_mut().insert(header::LOCATION, location.parse().unwrap());
            }
            answer
        }
        ("GET", "/api/v1/log") if logs => json_reply(200, &instance.rekor_v1.info()),
        ("GET", "/api/v1/log/publicKey") if logs => {
            let pem = key::pem_of("PUBLIC KEY", &instance.rekor_v1.key.spki());
            reply(200, "application/x-pem-file", pem.into_bytes())
        }
        ("POST", "/api/v2/log/entries") if logs => outcome(201, instance.rekor_v2.post(&request())),
        ("GET", "/api/v2/checkpoint") if logs => {
            reply(200, "text/plain; charset=utf-8", instance.rekor_v2.latest().into_bytes())
        }
        ("POST", "/api/v1/timestamp") => {
            let kind = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
            if kind != Some(b"application/timestamp-query") {
                return json_reply(
                    415,
                    &json!({ "code": 415, "message": "expected application/timestamp-query" }),
                );
            }
            match instance.tsa.answer(&body, instance.now()) {
                Ok(answer) => reply(201, "application/timestamp-reply", answer),
                Err(why) => json_reply(400, &json!({ "code": 400, "message": why })),
            }
        }
        _ => json_reply(404, &json!({ "code": 404, "message": format!("no {method} {path} here") })),
    }
}

fn outcome(good: u16, outcome: Result<Value, Refused>) -> Response {
    match outcome {
        Ok(answer) => json_reply(good, &answer),
        Err((status, why)) => json_reply(status, &json!({ "code": status, "message": why })),
    }
}

fn json_reply(status: u16, body: &Value) -> Response {
    reply(status, "application/json", body.to_string().into_bytes())
}

fn reply(status: u16, kind: &str, body: Vec<u8>) -> Response {
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header(header::CONTENT_TYPE, kind)
        .body(Body::from(body))
        .unwrap()
}
