//! Images that cosign 2 and 3 signed, copied from registry to registry by crane, oras and skopeo, as their users copy:
//! what came along is believed, what was lost is missed. And the other way: what samebits copied, both cosigns believe.
//!
//! All are the real programs, offline. Skipped, aloud, where one is not installed; in CI (`SAMEBITS_REQUIRE_PEERS=1`)
//! they have to be.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "support/cli.rs"]
#[allow(dead_code, reason = "no layouts here")]
mod cli;
#[path = "support/cosign.rs"]
#[allow(dead_code, reason = "what tests/cosign.rs asks")]
mod cosign;
#[path = "support/docker_registry.rs"]
#[allow(dead_code, reason = "no login here")]
mod docker_registry;
#[path = "support/image.rs"]
mod image;
#[path = "support/peer.rs"]
mod peer;
#[path = "support/sigstore/mod.rs"]
mod sigstore;

mod peers {
    mod copied;
    mod copier;
    mod keyless;
    mod merged;
    mod promoted;
}
