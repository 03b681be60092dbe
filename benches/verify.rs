//! One keyless bundle, verified: beside the signature checks in it, done bare.
//!
//! Run `cargo bench --bench verify`. Target: at most 1.5 times the raw checks. Interleaved, one thread, medians. The raw
//! checks are those that a verification cannot do without: every signature by a key of the trusted root or by one that
//! such a key vouches for, over the very bytes that are in the bundle, with aws-lc-rs and nothing around it. The
//! bundle with a timestamp and Rekor v2 is the conformance suite's, read in place where it lies beside the repository.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark may stop, and prints")]

#[path = "verify/checks.rs"]
mod checks;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use checks::Check;
use samebits::verify::{Root, Trust, bundle};
use serde_json::Value;
use sigstore_trust_root::{SIGSTORE_PRODUCTION_TRUSTED_ROOT, TrustedRoot};
use sigstore_types::{Artifact, Bundle, Sha256Hash};
use sigstore_verify::{VerificationPolicy, Verifier};

const LOGGED: &[u8] = include_bytes!("../tests/vectors/conformance/happy-path-intoto-in-dsse-v3.json");
const ROUNDS: usize = 2000;

fn main() {
    let production = SIGSTORE_PRODUCTION_TRUSTED_ROOT;
    measure("Rekor v1: promise, proof", LOGGED, production, Root::public_good().unwrap());
    let stamped = ["..", "../.."].map(|up| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(up)
            .join("shared/conformance/test/assets/bundle-verify/rekor2-dsse-happy-path")
    });
    match stamped.iter().find(|folder| folder.is_dir()) {
        None => println!("Rekor v2, timestamp: SKIPPED, the conformance suite is not beside the repository"),
        Some(folder) => {
            let root = std::fs::read_to_string(folder.join("trusted_root.json")).unwrap();
            let bytes = std::fs::read(folder.join("bundle.sigstore.json")).unwrap();
            let private = Root::private("suite".parse().unwrap(), &root).unwrap();
            measure("Rekor v2: proof, timestamp", &bytes, &root, private);
        }
    }
}

fn measure(name: &str, bytes: &[u8], root: &str, ours: Root) {
    let trust = Trust::default().with_roots(vec![ours]);
    let checks = checks::of(&serde_json::from_slice(bytes).unwrap(), &serde_json::from_str(root).unwrap());
    // The crate below, alone: its bundle is read already, its keys are prepared.
    let read = Bundle::from_json(std::str::from_utf8(bytes).unwrap()).unwrap();
    let verifier = Verifier::new(&TrustedRoot::from_json(root).unwrap()).unwrap();
    let policy = VerificationPolicy::any_identity();
    let subject = subject(bytes);

    let mut whole = Vec::new();
    let mut below = Vec::new();
    let mut raw = vec![Vec::new(); checks.len()];
    for _ in 0..ROUNDS {
        whole.push(time(|| drop(black_box(bundle(black_box(bytes), &trust)).unwrap())));
        for (check, times) in checks.iter().zip(&mut raw) {
            times.push(time(|| check.verify()));
        }
        let artifact = Artifact::from_digest(subject);
        below.push(time(|| drop(black_box(verifier.verify(artifact, &read, &policy)).unwrap())));
    }

    println!("{name}");
    let mut sum = Duration::ZERO;
    for (Check { what, .. }, times) in checks.iter().zip(raw) {
        let median = median(times);
        sum += median;
        println!("  {:>8.1} us  {what}", micros(median));
    }
    let (whole, below) = (median(whole), median(below));
    let ratio = |time: Duration| time.as_secs_f64() / sum.as_secs_f64();
    println!("  {:>8.1} us  all of these, raw", micros(sum));
    println!("  {:>8.1} us  sigstore-verify alone: {:.2} x", micros(below), ratio(below));
    println!("  {:>8.1} us  verify::bundle: {:.2} x (target 1.5 x)", micros(whole), ratio(whole));
}

/// The first subject of the statement.
fn subject(bundle: &[u8]) -> Sha256Hash {
    let bundle: Value = serde_json::from_slice(bundle).unwrap();
    let statement: Value =
        serde_json::from_slice(&checks::base64(&bundle["dsseEnvelope"]["payload"])).unwrap();
    Sha256Hash::from_hex(statement["subject"][0]["digest"]["sha256"].as_str().unwrap()).unwrap()
}

fn time(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
