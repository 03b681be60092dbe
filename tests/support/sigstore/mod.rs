//! A Sigstore instance with real cryptography: OIDC issuer, Fulcio, certificate transparency, Rekor v1 and
//! v2, a timestamp authority; over HTTP on loopback, or in process.
//!
//! ```ignore
//! let sigstore = Sigstore::start();            // HTTP in a thread of its own; everything at sigstore.url
//! let root = sigstore.trusted_root();          // trusted_root.json; signing_config() likewise
//! let token = sigstore.token(&oidc::github("acme/shop", "release.yml", "refs/heads/main"));
//!
//! let sigstore = Instance::new(Kind::Public);  // the same without HTTP
//! let who = sigstore.identity(&oidc::person("ana@acme.example"));
//! let bundle = sigstore.bundle(&statement, &who, sigstore.now());
//! let recipe = Recipe { sct: Sct::Missing, ..Recipe::default() };
//! let odd = sigstore.make(Signed::Statement(&statement), &who, sigstore.now(), &recipe);
//! ```
//!
//! The clock is the real one until [`Instance::set_clock`]: verifiers refuse times in the future by the real
//! clock.
#![allow(dead_code, unused_imports, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::sync::Mutex;

use jiff::Timestamp;
use serde_json::Value;

mod bundle;
pub mod ca;
mod ct;
pub mod der;
mod fulcio;
mod http;
pub mod key;
mod legacy;
mod log;
pub mod oidc;
mod rekor_v1;
mod rekor_v2;
mod root;
mod tsa;

pub use bundle::{Checkpoint, Fulcio, Key, Log, Logged, Promise, Recipe, Sct, Signed, Version};
pub use ca::{Identity, Name};
pub use http::Sigstore;
pub use legacy::Layer;
use log::Refused;

/// Since when every key and certificate of the services is good.
const STARTED: &str = "2021-01-01T00:00:00Z";

/// Whose instance it resembles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The public one: SCT, logs, timestamps.
    Public,
    /// A private one without a log: SCT, timestamps.
    Stamped,
    /// GitHub's: timestamps alone.
    GitHub,
}

/// The services.
pub struct Instance {
    pub kind: Kind,
    /// Of Fulcio and both Rekors.
    pub url: String,
    pub oidc: oidc::Oidc,
    root: ca::Authority,
    intermediate: ca::Authority,
    ct: ct::Ct,
    rekor_v1: rekor_v1::RekorV1,
    rekor_v2: rekor_v2::RekorV2,
    tsa: tsa::Tsa,
    clock: Mutex<Option<Timestamp>>,
}

impl Instance {
    /// Without HTTP.
    pub fn new(kind: Kind) -> Self {
        Self::at(kind, "sigstore.virtual.example", "https")
    }

    fn at(kind: Kind, host: &str, scheme: &str) -> Self {
        let url = format!("{scheme}://{host}");
        let root = ca::Authority::root("virtual root");
        // Rekor v2 names itself by its host without the port.
        let origin = host.split(':').next().unwrap();
        Self {
            kind,
            oidc: oidc::Oidc::new(&format!("{url}/oidc")),
            intermediate: root.intermediate("virtual intermediate"),
            root,
            ct: ct::Ct::new(),
            rekor_v1: rekor_v1::RekorV1::new(host),
            rekor_v2: rekor_v2::RekorV2::new(origin),
            tsa: tsa::Tsa::new("virtual"),
            clock: Mutex::new(None),
            url,
        }
    }

    /// What the services believe the time is, in whole seconds.
    pub fn now(&self) -> Timestamp {
        #[allow(clippy::disallowed_methods, reason = "sigstore-verify compares with the real clock")]
        let now = || Timestamp::now();
        Timestamp::from_second(self.clock.lock().unwrap().unwrap_or_else(now).as_second()).unwrap()
    }

    /// Stops the clock at this time; `None` is the real one again.
    pub fn set_clock(&self, time: Option<Timestamp>) {
        *self.clock.lock().unwrap() = time;
    }

    /// A token of the virtual issuer: see [`oidc`] for claims.
    pub fn token(&self, claims: &Value) -> String {
        self.oidc.token(claims, self.now())
    }

    /// What Fulcio would certify for a token with these claims.
    pub fn identity(&self, claims: &Value) -> Identity {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().entry("iss").or_insert(Value::from(self.oidc.issuer.as_str()));
        Identity::of(&claims, &self.oidc.issuer).unwrap()
    }

    /// `ACTIONS_ID_TOKEN_REQUEST_URL`; the bearer is [`oidc::BEARER`].
    pub fn ambient_url(&self) -> String {
        format!("{}/oidc/ambient?api-version=2.0", self.url)
    }

    /// Where timestamps are asked for.
    pub fn tsa_url(&self) -> String {
        format!("{}/api/v1/timestamp", self.url)
    }

    /// `POST /api/v2/signingCert`; the token may come as a bearer instead.
    fn certify(&self, request: &Value, bearer: Option<&str>) -> Result<Value, Refused> {
        let inside = request.pointer("/credentials/oidcIdentityToken").and_then(Value::as_str);
        let token = inside.or(bearer).unwrap_or_default();
        let now = self.now();
        let claims = self.oidc.verified(token, now).map_err(|why| (401, why.to_owned()))?;
        let wanted = fulcio::Wanted::read(request, &claims, &self.oidc.issuer)?;
        let ct = (self.kind != Kind::GitHub).then_some(&self.ct);
        let leaf = self.intermediate.leaf(&wanted.spki, &wanted.identity, now, ct);
        let chain = [leaf, self.intermediate.certificate.clone(), self.root.certificate.clone()];
        Ok(fulcio::response(&chain, ct.is_some()))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// DSSE's pre-authentication encoding, version 1.
fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}
