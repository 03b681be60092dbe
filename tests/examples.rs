//! What stands under `examples/` does what it says: pipelines are run job by job with the real binary, policies of clusters are
//! asked about images that were really promoted. And the workflow of our own release does what it says. Other people's programs that are missing are said and skipped; in CI
//! (`SAMEBITS_REQUIRE_PEERS=1`) they have to be there.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "support/cli.rs"]
#[allow(dead_code, reason = "what tests/cli.rs asks")]
mod cli;
#[path = "examples/cluster.rs"]
mod cluster;
#[path = "examples/crds.rs"]
mod crds;
#[path = "support/docker_registry.rs"]
#[allow(dead_code, reason = "no login here")]
mod docker_registry;
#[path = "examples/documents.rs"]
mod documents;
#[path = "examples/github.rs"]
mod github;
#[path = "support/git_server.rs"]
#[allow(dead_code, reason = "what tests/stores.rs asks")]
mod git_server;
#[path = "examples/gitops.rs"]
mod gitops;
#[path = "examples/hub.rs"]
mod hub;
#[path = "support/image.rs"]
mod image;
#[path = "examples/kubernetes.rs"]
mod kubernetes;
#[path = "support/peer.rs"]
#[allow(dead_code, reason = "no skopeo here")]
mod peer;
#[path = "release/mod.rs"]
mod release;
#[path = "action/runner.rs"]
#[allow(dead_code, reason = "the action itself is tests/action.rs")]
mod runner;
#[path = "examples/steps.rs"]
mod steps;
#[path = "support/sigstore/mod.rs"]
mod sigstore;
