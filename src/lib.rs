//! samebits lets an image into an environment only if exactly the same bytes have already run in the environment
//! before it.
//!
//! # The walk
//!
//! ```text
//! "registry.example/shop:1.4.2"
//!    | parse                    reference   text -> Reference                 (no implied tag)
//!    | resolve       network    registry    Reference -> Image + Closure      (bytes rehashed here)
//!    | refresh       network    roots       Policy -> roots of trust            (TUF, where the policy asks for it)
//!    | collect       network    collect     Image -> Evidence                 (bundles verified; ledger history)
//!    | decide        PURE       gate        (&Target, &Evidence) -> Decision  (every unmet requirement)
//!    |                                        Denied -> recorded, explained, exit 1
//!    | record intent disk       ledger      Approved -> Intent                (nothing has an effect before this)
//!    | copy          network    registry    Intent -> Copied                  (by digest, closure and referrers)
//!    | record commit disk       ledger      Copied -> Promotion               (valid while its intent is open)
//!    | publish       network    registry    the record as a referrer; the tag last, derived from the ledger
//!    v
//! stdout: registry.example/prod/shop@sha256:…     exit 0
//! ```
//!
//! A run that ends before that leaves nothing that the same command does not take up, or [`promote::reconcile`] mend.
//!
//! Every step takes what the step before it returned, so none can be skipped or reordered: [`gate::Approved`],
//! [`ledger::protocol::Intent`], [`promote::Copied`] and [`promote::Promotion`] cannot be built by hand
//! (`tests/compile/`). The whole story stands once, in [`promote`].
//!
//! # The modules, in the order of reading
//!
//! A module uses only modules above it; `tests/layering.rs` enforces it. Down to [`doctor`] they are pure: no I/O, no
//! clock, no environment, no async.

// What tests use of `tests/support` names this crate as they do.
#[cfg(test)]
extern crate self as samebits;

// Identity of bytes.
pub mod digest;
pub mod json;
pub mod reference;
pub mod key;
pub mod closure;
// What was proved, and by whom.
pub mod tlog;
pub mod verify;
// The rules, the records, the question, the answer.
pub mod policy;
pub mod record;
pub mod evidence;
pub mod gate;
// Where all of that is left open.
pub mod doctor;
// The world.
pub mod ledger;
pub mod replay;
pub mod archive;
pub mod export;
pub mod registry;
pub mod roots;
pub mod witness;
pub mod forge;
pub mod signing;
pub mod collect;
pub mod promote;
