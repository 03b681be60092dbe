//! `.github/workflows/release.yml` and the three workflows that it calls, run as a whole: every job in the order of its needs,
//! every step by the shell that the file says, with outputs, artifacts, permissions and identities as GitHub has them.
//!
//! Real: the workflow files and every script of `release/`, from a commit made as `release/README.md` says; cosign; git, over
//! TLS, for the ledger; a registry; a Sigstore of the test's own; samebits, which promotes, reports and copies.
//!
//! Stand-ins, on the PATH or in place of an action: `checkout`, the artifacts and `attest-build-provenance`; `gh` (a folder is
//! the release); `docker` (pulls with skopeo, runs the program that is in the image); `rustup`, `sudo`, `go` (gives the
//! cosign that is installed); and `cargo`. That one compiles nothing: its "binaries" for Linux are scripts that run
//! this build's samebits, those of the other systems say their version and no more, and its SBOM is a word. All jobs run on
//! this machine, whatever their `runs-on`.

mod actions;
mod forge;
mod tools;
mod whole;
mod yaml;
