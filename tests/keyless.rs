//! Keyless signing and verification, end to end on loopback with real cryptography: other people's client
//! against the virtual Sigstore, and this crate's verification of what comes out.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod keyless {
    mod client;
    mod cosign;
    mod dated;
    mod images;
    mod legacy;
    mod refused;
    mod services;
    mod vectors;
    mod workload;
}
#[path = "support/cli.rs"]
#[allow(dead_code, reason = "no layouts here")]
mod cli;
#[path = "support/docker_registry.rs"]
#[allow(dead_code, reason = "no login here")]
mod docker_registry;
#[path = "support/image.rs"]
mod image;
#[path = "support/peer.rs"]
#[allow(dead_code, reason = "no skopeo here")]
mod peer;
#[path = "support/sigstore/mod.rs"]
mod sigstore;

use samebits::verify::{Attestation, Identity, Rejected, Root, Trust, Verified, bundle};
use sigstore::Instance;

const SUBJECT: &str = "1111111111111111111111111111111111111111111111111111111111111111";

/// An in-toto statement about [`SUBJECT`].
fn statement() -> Vec<u8> {
    serde_json::json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "shop", "digest": { "sha256": SUBJECT } }],
        "predicateType": "https://acme.example/checked/v1",
        "predicate": { "passed": true },
    })
    .to_string()
    .into_bytes()
}

fn root(instance: &Instance) -> Root {
    Root::private("virtual".parse().unwrap(), &instance.trusted_root()).unwrap()
}

fn trust(instance: &Instance) -> Trust {
    Trust::new(vec![]).with_roots(vec![root(instance)])
}

fn verified(instance: &Instance, bytes: &[u8]) -> Result<Verified<Attestation>, Rejected> {
    bundle(bytes, &trust(instance))
}

/// Who somebody is under the virtual root.
fn keyless(identity: &sigstore::Identity) -> Identity {
    Identity::Keyless {
        issuer: identity.issuer().to_owned(),
        subject: identity.subject().to_owned(),
        root: "virtual".parse().unwrap(),
    }
}
