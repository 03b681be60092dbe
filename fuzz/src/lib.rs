//! What every parser of foreign bytes must hold for any bytes: a function per target, by libFuzzer or by hand.
//!
//! All go through the public API, so that what is tried is what runs. Where a signature stands before a parser, the
//! input is signed here with a key that is trusted; where a certificate's does, the input is put into a real bundle.
//! No target asks for "no panic" alone: what is accepted must be what was signed, told by a second, simpler reader.
//!
//! Shared with `tests/fuzz.rs`, which runs the same functions over [`seeds()`] and mutations of them.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use samebits::digest::Digest;
use samebits::key::{PrivateKey, PublicKey};
use samebits::verify::{Attestation, Identity, Rejected, Root, Trust, Verified};
use serde_json::Value;

mod certified;
mod notes;
mod seeds;
mod signed;

pub use certified::{certificate_extension, timestamp};
pub use notes::{
    checkpoint, commit, cosignature, entry_bundle, note, pending, tile_path, tlog_policy, tlog_proof,
};
pub use seeds::seeds;
#[cfg(fuzzing)]
pub use seeds::start;
pub use signed::{bundle, dsse, provenance, statement};

/// A target: it panics where something does not hold.
pub type Target = fn(&[u8]);

/// Every target, by the name of its binary.
pub const TARGETS: [(&str, Target); 15] = [
    ("bundle", bundle),
    ("dsse", dsse),
    ("statement", statement),
    ("provenance", provenance),
    ("certificate_extension", certificate_extension),
    ("timestamp", timestamp),
    ("note", note),
    ("checkpoint", checkpoint),
    ("cosignature", cosignature),
    ("tile_path", tile_path),
    ("entry_bundle", entry_bundle),
    ("tlog_proof", tlog_proof),
    ("tlog_policy", tlog_policy),
    ("commit", commit),
    ("pending", pending),
];

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// The key whose signatures stand under fuzzed statements.
static KEY: LazyLock<PrivateKey> = LazyLock::new(|| {
    PrivateKey::from_pem(include_str!("../../tests/vectors/keys/ed25519.pem")).expect("our own key")
});

/// Trust in that key, in those of `tests/vectors/cosign`, and in both embedded roots.
static TRUST: LazyLock<Trust> = LazyLock::new(|| {
    let mut keys: Vec<PublicKey> = [
        include_str!("../../tests/vectors/cosign/p256.pub"),
        include_str!("../../tests/vectors/cosign/p384.pub"),
        include_str!("../../tests/vectors/cosign/rsa.pub"),
        include_str!("../../tests/vectors/cosign/ed25519.pub"),
    ]
    .iter()
    .map(|pem| PublicKey::from_pem(pem).expect("a key of the vectors"))
    .collect();
    keys.push(KEY.public());
    Trust::new(keys).with_roots(vec![public_good(), Root::github().expect("an embedded root")])
});

/// Whether a bundle is one that every target's trust accepts.
pub fn is_accepted(bundle: &[u8]) -> bool {
    samebits::verify::attached(bundle, Digest::of(seeds::ARTIFACT), &TRUST).is_ok()
}

fn public_good() -> Root {
    Root::public_good().expect("an embedded root")
}

/// The conformance suite's `bundle-verify`, where it lies beside the repository or where `SAMEBITS_CONFORMANCE` says.
fn conformance() -> Option<PathBuf> {
    #[allow(clippy::disallowed_methods, reason = "a test may be told where its peers are")]
    let given = std::env::var_os("SAMEBITS_CONFORMANCE").map(PathBuf::from);
    // `fuzz/` has a manifest folder of its own, and worktrees lie one folder deeper.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = ["..", "../..", "../../.."].map(|up| here.join(up).join("shared/conformance"));
    let folders = given.map_or(beside.to_vec(), |given| vec![given]);
    folders.iter().map(|folder| folder.join("test/assets/bundle-verify")).find(|folder| folder.is_dir())
}

/// The DSSE pre-authentication encoding, written down a second time.
fn pae(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

fn base64(value: &Value) -> Option<Vec<u8>> {
    STANDARD.decode(value.as_str()?).ok()
}

/// Foreign text in a message is short and has no control characters (D8).
fn is_tidy(message: &impl Display) {
    let message = message.to_string();
    assert!(message.len() < 2000 && !message.contains(char::is_control), "{message:?}");
}

/// A refusal explains itself, and names the bytes that were refused.
fn refused(rejected: &Rejected, bytes: &[u8]) {
    assert_eq!(rejected.evidence, Digest::of(bytes));
    is_tidy(&rejected.reason);
    rejected.claim.predicate_type.iter().chain(&rejected.claim.hint).for_each(is_tidy);
}

/// Two readings prove the same.
fn same(one: &Verified<Attestation>, other: &Verified<Attestation>) {
    assert_eq!(**one, **other);
    assert_eq!(one.author(), other.author());
}

/// The envelope of what was accepted by a key was signed by that very key over this very payload.
fn was_signed(verified: &Verified<Attestation>, envelope: &Value) {
    let Identity::Key { id } = verified.identity() else { return };
    let key = TRUST.keys().iter().find(|key| key.id() == *id).expect("accepted by a key that is not trusted");
    let payload = base64(&envelope["payload"]).expect("accepted without a payload");
    let signature = base64(&envelope["signatures"][0]["sig"]).expect("accepted without a signature");
    key.verify(&pae(&payload), &signature).expect("accepted, and never signed");
    says(verified, &payload);
}

/// A lenient reader of the payload reads what was accepted: nothing was said twice, or read by halves.
fn says(attestation: &Attestation, payload: &[u8]) {
    let lenient: Value = serde_json::from_slice(payload).expect("accepted, and no JSON");
    assert_eq!(lenient["predicateType"], attestation.predicate_type());
    assert_eq!(lenient.get("predicate").unwrap_or(&Value::Null), attestation.predicate());
    let subjects = lenient["subject"].as_array().expect("accepted without subjects");
    assert_eq!(subjects.len(), attestation.subjects().len());
    assert!(!subjects.is_empty());
    for (lenient, subject) in subjects.iter().zip(attestation.subjects()) {
        assert_eq!(lenient["digest"]["sha256"], subject.digest.hex());
        let name = lenient.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
        assert_eq!(name, subject.name.as_deref());
    }
}
