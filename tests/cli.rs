//! The real binary, end to end, over OCI layouts: wiring, exit codes, what goes to stdout and what to stderr, and
//! what is left when it is killed. What decides is tested where it is written (`src/gate`).
//!
//! Snapshots lie in `tests/cli/`; `SNAPSHOTS=overwrite cargo test --test cli` rewrites them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "cli/ci.rs"]
mod ci;
#[path = "support/cli.rs"]
mod cli;
#[path = "cli/ci_log.rs"]
mod ci_log;
#[path = "cli/control.rs"]
mod control;
#[path = "cli/crash.rs"]
mod crash;
#[path = "cli/doctor.rs"]
mod doctor;
#[path = "cli/evidence.rs"]
mod evidence;
#[path = "cli/export.rs"]
mod export;
#[path = "cli/faces.rs"]
mod faces;
#[path = "cli/file.rs"]
mod file_verification;
#[path = "cli/filed.rs"]
mod filed;
#[path = "cli/foreign.rs"]
mod foreign;
#[path = "cli/freeze.rs"]
mod freeze;
#[path = "cli/git.rs"]
mod git;
#[path = "support/image.rs"]
mod image;
#[path = "cli/kept.rs"]
mod kept;
#[path = "cli/keyless.rs"]
mod keyless;
#[path = "cli/ledger.rs"]
mod ledger;
// Their files have modes, their helpers are scripts.
#[cfg(unix)]
#[path = "cli/logins.rs"]
mod logins;
#[path = "cli/permit.rs"]
mod permit;
#[path = "cli/reconcile.rs"]
mod reconcile;
#[path = "support/peer.rs"]
mod peer;
#[cfg(unix)]
#[path = "support/postgres.rs"]
mod postgres;
#[path = "cli/refused.rs"]
mod refused;
#[path = "support/registry.rs"]
mod registry;
#[path = "cli/replay.rs"]
mod replay;
#[path = "cli/roots.rs"]
mod roots;
#[path = "cli/seen.rs"]
mod seen;
#[path = "cli/shell.rs"]
mod shell;
#[path = "support/sigstore/mod.rs"]
mod sigstore;
#[cfg(unix)]
#[path = "cli/postgres.rs"]
mod stored;
#[path = "support/tuf.rs"]
mod tuf;
#[path = "support/witness.rs"]
mod witness;
