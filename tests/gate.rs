//! The gate from outside: rows against `decide` named after `ATTACKS.md`, properties, histories that drive the real
//! walk, and the protocol under rivals and crashes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[allow(dead_code, reason = "shared with benches")]
#[path = "support/world.rs"]
mod world;

#[path = "support/sigstore/mod.rs"]
mod sigstore;

#[path = "support/registry.rs"]
mod registry;

#[path = "gate/approvals.rs"]
mod approvals;
#[path = "gate/attested.rs"]
mod attested;
#[path = "gate/certified.rs"]
mod certified;
#[path = "gate/control.rs"]
mod control;
#[path = "gate/deployed.rs"]
mod deployed;
#[path = "gate/filed.rs"]
mod filed;
#[path = "gate/fresh.rs"]
mod fresh;
#[path = "gate/frozen.rs"]
mod frozen;
#[path = "gate/identity.rs"]
mod identity;
#[path = "gate/meanwhile.rs"]
mod meanwhile;
#[path = "gate/messages.rs"]
mod messages;
#[path = "gate/permit.rs"]
mod permit;
#[path = "gate/predicates.rs"]
mod predicates;
#[path = "gate/properties.rs"]
mod properties;
#[path = "gate/protocol.rs"]
mod protocol;
#[path = "gate/recorded.rs"]
mod recorded;
#[path = "gate/replay.rs"]
mod replay;
#[path = "gate/reconcile.rs"]
mod reconcile;
#[path = "gate/revoked.rs"]
mod revoked;
#[path = "gate/histories.rs"]
mod histories;
#[path = "gate/unjudged.rs"]
mod unjudged;
#[path = "gate/standing.rs"]
mod standing;
