//! SHA-256 by several implementations, in gigabytes (10^9) a second on one core: what samebits hashes with (aws-lc),
//! the same without the processor's SHA extensions, and `sha2`. The best of many short rounds: what else the machine
//! does is left out.
//!
//! Run `cargo bench --bench digest`; on x86 aws-lc is told by `OPENSSL_ia32cap` not to see the extensions. `sha2` takes
//! no such word: `RUSTFLAGS='--cfg sha2_backend="soft"' cargo bench --bench digest` builds all of it without.
#![allow(clippy::print_stdout, reason = "a benchmark reports to a person")]

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use samebits::digest::Hasher;
use sha2::Digest as _;

/// As a blob comes over a connection.
const CHUNK: usize = 64 << 10;
const CHUNKS: usize = 16;
const ROUNDS: usize = 400;

/// The argument of the process without extensions: aws-lc asks the processor once.
const MASKED: &str = "masked";
/// CPUID leaf 7, EBX bit 29 (SHA) counts as not there.
const MASK: (&str, &str) = ("OPENSSL_ia32cap", ":~0x20000000");

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let bytes = vec![7; CHUNK];
    if arguments.iter().any(|argument| argument == MASKED) {
        println!("{}", measure(&bytes, aws_lc));
        return Ok(());
    }
    // `cargo test --benches` only wants to know that it starts.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(());
    }
    ensure!(aws_lc(&bytes) == sha2(&bytes), "they do not agree");
    println!("aws-lc                        {} GB/s", measure(&bytes, aws_lc));
    if cfg!(target_arch = "x86_64") {
        let program = std::env::current_exe().context("finding this program")?;
        let output = Command::new(program).arg(MASKED).env(MASK.0, MASK.1).output();
        let output = output.context("running this program again")?;
        ensure!(output.status.success(), "the run without extensions failed");
        println!("aws-lc, no SHA extensions     {} GB/s", String::from_utf8_lossy(&output.stdout).trim());
    }
    println!("sha2                          {} GB/s", measure(&bytes, sha2));
    Ok(())
}

fn measure(bytes: &[u8], hash: fn(&[u8]) -> [u8; 32]) -> String {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        std::hint::black_box(hash(std::hint::black_box(bytes)));
        best = best.min(start.elapsed());
    }
    format!("{:.2}", (CHUNK * CHUNKS) as f64 / best.as_secs_f64() / 1e9)
}

fn aws_lc(bytes: &[u8]) -> [u8; 32] {
    let mut hasher = Hasher::default();
    for _ in 0..CHUNKS {
        hasher.update(bytes);
    }
    *hasher.finish().as_bytes()
}

fn sha2(bytes: &[u8]) -> [u8; 32] {
    let mut hasher = sha2::Sha256::new();
    for _ in 0..CHUNKS {
        hasher.update(bytes);
    }
    hasher.finalize().into()
}
