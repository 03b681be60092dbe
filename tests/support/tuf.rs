//! A TUF repository on a loopback socket: root, timestamp, snapshot and targets signed with real keys, consistent
//! snapshots, and a target `trusted_root.json`. It can be told to answer wrongly, and writes down what it was asked.
//!
//! Written after The Update Framework specification 1.0.33 (section 4, "Document formats") and OLPC canonical JSON;
//! nothing here uses the client under test.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use base64::Engine;
use samebits::digest::Digest;
use samebits::key::{Algorithm, PrivateKey};
use serde_json::{Value, json};

pub const FAR: &str = "2999-01-01T00:00:00Z";

/// A key as TUF names it.
pub struct Key {
    private: PrivateKey,
    public: Value,
    id: String,
}

impl Key {
    pub fn new(algorithm: Algorithm) -> Self {
        let private = PrivateKey::generate(algorithm).unwrap();
        let pem = private.public().to_pem();
        let public = match algorithm {
            Algorithm::Ed25519 => {
                let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
                let der = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
                // RFC 8410: the last 32 bytes of the SubjectPublicKeyInfo.
                let raw = hex(&der[der.len() - 32..]);
                json!({ "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": raw } })
            }
            _ => json!({ "keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256", "keyval": { "public": pem } }),
        };
        let id = Digest::of(&canonical(&public)).hex();
        Self { private, public, id }
    }

    fn sign(&self, signed: &Value) -> Value {
        json!({ "keyid": self.id, "sig": hex(&self.private.sign(&canonical(signed)).unwrap()) })
    }
}

/// What the repository says next. Change it, then [`Repository::publish`].
pub struct Contents {
    pub target: Vec<u8>,
    pub version: u64,
    pub timestamp_expires: String,
    /// Two of them sign the root, both have to.
    pub root_keys: [Key; 2],
    /// Signs timestamp, snapshot and targets.
    pub online: Key,
    pub root_version: u64,
    pub root_expires: String,
}

/// How the socket answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Files,
    Status(u16),
}

#[derive(Default)]
struct Shelf {
    files: BTreeMap<String, Vec<u8>>,
    asked: Vec<String>,
    answer: Option<Answer>,
}

/// A repository that is served until it is dropped.
pub struct Repository {
    pub contents: Contents,
    shelf: Arc<Mutex<Shelf>>,
    address: std::net::SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// The first root: what a client is given beforehand.
    pub bootstrap: String,
}

impl Repository {
    pub fn start(target: &[u8]) -> Self {
        let contents = Contents {
            target: target.to_vec(),
            version: 1,
            timestamp_expires: FAR.to_owned(),
            root_keys: [Key::new(Algorithm::Ed25519), Key::new(Algorithm::EcdsaP256)],
            online: Key::new(Algorithm::EcdsaP256),
            root_version: 1,
            root_expires: FAR.to_owned(),
        };
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::clone(&shelf);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let router = Router::new().fallback(answer).with_state(served);
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    served = async { axum::serve(listener, router).await } => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        let mut repository = Self {
            contents,
            shelf,
            address,
            stop: Some(stop),
            thread: Some(thread),
            bootstrap: String::new(),
        };
        let root = repository.root(&[]);
        repository.bootstrap = String::from_utf8(root.clone()).unwrap();
        repository.put("1.root.json", root);
        repository.publish();
        repository
    }

    pub fn url(&self) -> String {
        format!("http://{}/repository", self.address)
    }

    /// What was asked for since the last time, without the folder.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.shelf.lock().unwrap().asked)
    }

    pub fn answers(&self, answer: Answer) {
        self.shelf.lock().unwrap().answer = Some(answer);
    }

    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        self.shelf.lock().unwrap().files.insert(name.to_owned(), bytes);
    }

    pub fn file(&self, name: &str) -> Vec<u8> {
        self.shelf.lock().unwrap().files[name].clone()
    }

    /// The socket is closed; nobody answers there.
    pub fn stop(&mut self) {
        if let (Some(stop), Some(thread)) = (self.stop.take(), self.thread.take()) {
            let _ = stop.send(());
            thread.join().unwrap();
        }
    }

    /// Signs timestamp, snapshot and targets of the version that [`Contents`] says.
    pub fn publish(&self) {
        let Contents { target, version, online, timestamp_expires, .. } = &self.contents;
        let sha256 = Digest::of(target).hex();
        let targets = envelope(
            json!({
                "_type": "targets", "spec_version": "1.0.33", "version": version, "expires": FAR,
                "targets": { "trusted_root.json": { "length": target.len(), "hashes": { "sha256": sha256 } } },
            }),
            &[online],
        );
        let snapshot = envelope(
            json!({
                "_type": "snapshot", "spec_version": "1.0.33", "version": version, "expires": FAR,
                "meta": { "targets.json": pin(&targets, *version) },
            }),
            &[online],
        );
        let timestamp = envelope(
            json!({
                "_type": "timestamp", "spec_version": "1.0.33", "version": version,
                "expires": timestamp_expires, "meta": { "snapshot.json": pin(&snapshot, *version) },
            }),
            &[online],
        );
        self.put(&format!("targets/{sha256}.trusted_root.json"), target.clone());
        self.put(&format!("{version}.targets.json"), targets);
        self.put(&format!("{version}.snapshot.json"), snapshot);
        self.put("timestamp.json", timestamp);
    }

    /// The next version with another target.
    pub fn publish_target(&mut self, target: &[u8]) {
        self.contents.target = target.to_vec();
        self.contents.version += 1;
        self.publish();
    }

    /// The root metadata, signed by its keys and by `also`.
    pub fn root(&self, also: &[&Key]) -> Vec<u8> {
        let Contents { root_keys: [one, two], online, root_version, root_expires, .. } = &self.contents;
        let role = json!({ "keyids": [online.id], "threshold": 1 });
        let keys = BTreeMap::from([one, two, online].map(|key| (key.id.clone(), key.public.clone())));
        let signed = json!({
            "_type": "root", "spec_version": "1.0.33", "version": root_version, "expires": root_expires,
            "consistent_snapshot": true, "keys": keys,
            "roles": {
                "root": { "keyids": [one.id, two.id], "threshold": 2 },
                "timestamp": role, "snapshot": role, "targets": role,
            },
        });
        let mut by = vec![one, two];
        by.extend(also);
        envelope(signed, &by)
    }

    /// A new root with other keys for every role; `old` says whether those who leave sign it too, as they must.
    pub fn rotate(&mut self, old: bool) {
        let fresh = [Key::new(Algorithm::EcdsaP256), Key::new(Algorithm::Ed25519)];
        let before = std::mem::replace(&mut self.contents.root_keys, fresh);
        self.contents.online = Key::new(Algorithm::Ed25519);
        self.contents.root_version += 1;
        let also: Vec<&Key> = if old { before.iter().collect() } else { Vec::new() };
        self.put(&format!("{}.root.json", self.contents.root_version), self.root(&also));
        self.contents.version += 1;
        self.publish();
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn answer(State(shelf): State<Arc<Mutex<Shelf>>>, request: Request) -> (StatusCode, Vec<u8>) {
    let mut shelf = shelf.lock().unwrap();
    let name = request.uri().path().trim_start_matches("/repository/").to_owned();
    shelf.asked.push(name.clone());
    if let Some(Answer::Status(status)) = shelf.answer {
        return (StatusCode::from_u16(status).unwrap(), b"<html>".to_vec());
    }
    match shelf.files.get(&name) {
        Some(bytes) => (StatusCode::OK, bytes.clone()),
        None => (StatusCode::NOT_FOUND, Vec::new()),
    }
}

fn pin(bytes: &[u8], version: u64) -> Value {
    json!({ "version": version, "length": bytes.len(), "hashes": { "sha256": Digest::of(bytes).hex() } })
}

fn envelope(signed: Value, keys: &[&Key]) -> Vec<u8> {
    let signatures: Vec<Value> = keys.iter().map(|key| key.sign(&signed)).collect();
    serde_json::to_vec_pretty(&json!({ "signed": signed, "signatures": signatures })).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// OLPC canonical JSON: sorted keys, no spaces, and in strings only `"` and `\` escaped.
fn canonical(value: &Value) -> Vec<u8> {
    match value {
        Value::Object(object) => {
            let members: BTreeMap<&String, &Value> = object.iter().collect();
            let members = members.into_iter().map(|(name, value)| {
                let name = canonical(&Value::String(name.clone()));
                [name, vec![b':'], canonical(value)].concat()
            });
            [b"{".to_vec(), members.collect::<Vec<_>>().join(&b','), b"}".to_vec()].concat()
        }
        Value::Array(values) => {
            let values: Vec<Vec<u8>> = values.iter().map(canonical).collect();
            [b"[".to_vec(), values.join(&b','), b"]".to_vec()].concat()
        }
        Value::String(text) => {
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")).into_bytes()
        }
        other => other.to_string().into_bytes(),
    }
}
