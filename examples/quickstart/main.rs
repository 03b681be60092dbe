//! The whole story on one machine: no network, no server, nothing but this repository.
//!
//! ```text
//! cargo run --example quickstart [FOLDER]
//! ```
//!
//! Builds a two-platform image, signs it and attests its provenance with a build key, and then drives the real
//! `samebits` binary: what gets into production, what does not, and why. The folder stays for you to play with.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it tells a story")]
#![allow(
    clippy::disallowed_methods,
    reason = "like the binary, it reads the clock and the environment itself"
)]

mod image;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let folder = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("quickstart"), PathBuf::from);
    match story::tell(&folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nthe quickstart did not go as told: {error:#}");
            ExitCode::FAILURE
        }
    }
}
