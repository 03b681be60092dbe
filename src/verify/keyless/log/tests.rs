//! What is checked here instead of in `sigstore-verify` refuses all that it refuses: `sigstore-verify`, asked for the
//! log, is the other judge of each case. The bundle is real, and of Sigstore's public log.

use jiff::Timestamp;
use serde_json::{Value, json};
use sigstore_trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT;
use sigstore_types::{CheckpointData, InclusionPromise, LogIndex, SignedTimestamp};
use sigstore_verify::VerificationPolicy;

use super::super::certificate::Leaf;
use super::super::{Artifact, Candidate, Root, Version, artifact, shape};
use super::*;
use crate::json::{self, Limits};
use crate::verify::tests::leaves;

const BUNDLE: &str = include_str!("../../../../tests/vectors/conformance/happy-path-intoto-in-dsse-v3.json");

fn root() -> Root {
    Root::public_good().unwrap()
}

fn read(bundle: &Value) -> Option<Bundle> {
    let bundle = json::parse(bundle.to_string().as_bytes(), Limits::default()).unwrap();
    shape::read(bundle.as_object().unwrap(), Version::V0_3).ok()
}

fn original() -> Value {
    serde_json::from_str(BUNDLE).unwrap()
}

/// One that the statement is about.
fn subject() -> Artifact<'static> {
    let payload = original()["dsseEnvelope"]["payload"].as_str().unwrap().to_owned();
    let payload = sigstore_types::PayloadBytes::from_base64(&payload).unwrap();
    let statement: Value = serde_json::from_slice(payload.as_bytes()).unwrap();
    let hex = statement["subject"][0]["digest"]["sha256"].as_str().unwrap();
    Artifact::Digest(Digest::from_hex(hex).unwrap())
}

/// The verdicts of both: ours with what is checked here, and `sigstore-verify` asked for all of it.
fn verdicts(bundle: &Bundle) -> (Result<(), Reason>, bool) {
    let object = crate::verify::read::Object::new();
    let candidate = Candidate { object: &object, version: Version::V0_3, artifact: subject() };
    let root = root();
    let theirs = root.0.log_of(bundle, Version::V0_3).is_ok_and(|log| {
        let all = VerificationPolicy::any_identity();
        log.verifier.verify(artifact(subject()).unwrap(), bundle, &all).is_ok_and(|it| it.tlog_verified())
    });
    let ours = Leaf::read(&[bundle.signing_certificate().unwrap().as_bytes()])
        .and_then(|leaf| root.0.proves(bundle, &candidate, &leaf).map(drop));
    (ours, theirs)
}

/// Refused by both, and here for this reason. What both readers of one entry compare first (`agrees`) is not asked.
#[track_caller]
fn refused(change: impl FnOnce(&mut TransparencyLogEntry), code: &str) {
    let mut bundle = read(&original()).unwrap();
    let entry = &mut bundle.verification_material.tlog_entries[0];
    change(entry);
    let root = root();
    let log = root.0.logs.iter().find(|log| log.is_of(entry)).unwrap();
    assert_eq!(log.includes(entry).map_err(|reason| reason.code()), Err(code));
    let (ours, theirs) = verdicts(&bundle);
    assert!(ours.is_err() && !theirs, "{ours:?}, {theirs}");
}

fn note(entry: &TransparencyLogEntry) -> String {
    entry.inclusion_proof.as_ref().unwrap().checkpoint.envelope().to_owned()
}

fn with_note(entry: &mut TransparencyLogEntry, note: &str) {
    entry.inclusion_proof.as_mut().unwrap().checkpoint = CheckpointData::new(note).unwrap();
}

#[test]
fn b8_the_promise_of_such_an_entry_is_verified_once_and_the_rest_here() {
    let bundle = read(&original()).unwrap();
    assert!(are_dated(&bundle));
    let (ours, theirs) = verdicts(&bundle);
    assert!(ours.is_ok() && theirs, "{ours:?}");
    // Two of them, where one is wrong.
    let mut two = bundle.clone();
    two.verification_material.tlog_entries.extend(bundle.clone().verification_material.tlog_entries);
    let (ours, theirs) = verdicts(&two);
    assert!(ours.is_ok() && theirs && are_dated(&two), "{ours:?}");
    two.verification_material.tlog_entries[1].inclusion_proof.as_mut().unwrap().hashes.reverse();
    assert_eq!(verdicts(&two).0.unwrap_err().code(), "log-proof");
    // Its promise is not left out: it is what the time stands on.
    let mut other = bundle.clone();
    let promise = &mut other.verification_material.tlog_entries[0].inclusion_promise;
    let mut bytes = promise.as_ref().unwrap().signed_entry_timestamp.as_bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    *promise = Some(InclusionPromise::new(SignedTimestamp::new(bytes)));
    assert_eq!(verdicts(&other).0.unwrap_err().code(), "log-promise");
}

#[test]
fn b8_other_entries_are_left_to_the_crate_that_verifies_them_whole() {
    let entry = |change: fn(&mut TransparencyLogEntry)| {
        let mut bundle = read(&original()).unwrap();
        change(&mut bundle.verification_material.tlog_entries[0]);
        bundle
    };
    for change in [
        |entry: &mut TransparencyLogEntry| entry.inclusion_promise = None,
        |entry: &mut TransparencyLogEntry| entry.integrated_time = None,
        |entry: &mut TransparencyLogEntry| entry.inclusion_proof = None,
        |entry: &mut TransparencyLogEntry| entry.kind_version = KindVersion::HashedRekordV002,
    ] {
        let bundle = entry(change);
        assert!(!are_dated(&bundle));
        let (ours, theirs) = verdicts(&bundle);
        assert!(ours.is_err() && !theirs, "{ours:?}");
        // One such entry beside another is enough.
        let mut two = read(&original()).unwrap();
        two.verification_material.tlog_entries.extend(bundle.verification_material.tlog_entries);
        assert!(!are_dated(&two));
        let (ours, theirs) = verdicts(&two);
        assert!(ours.is_err() || theirs, "{ours:?}");
    }
}

#[test]
fn b8_a_proof_of_anything_else_is_refused() {
    let hashes = read(&original()).unwrap().verification_material.tlog_entries[0].clone();
    let hashes = hashes.inclusion_proof.unwrap().hashes.len();
    assert!(hashes > 10, "{hashes}");
    for at in 0..hashes {
        let change = |entry: &mut TransparencyLogEntry| {
            let hash = &mut entry.inclusion_proof.as_mut().unwrap().hashes[at];
            let mut bytes = *hash.as_bytes();
            bytes[at % 32] ^= 1;
            *hash = Sha256Hash::new(bytes);
        };
        refused(change, "log-proof");
        let without = |entry: &mut TransparencyLogEntry| {
            entry.inclusion_proof.as_mut().unwrap().hashes.remove(at);
        };
        refused(without, "log-proof");
    }
    refused(|entry| entry.inclusion_proof.as_mut().unwrap().hashes.clear(), "log-proof");
    refused(
        |entry| entry.inclusion_proof.as_mut().unwrap().hashes.push(Sha256Hash::new([0; 32])),
        "log-proof",
    );
    refused(|entry| entry.inclusion_proof.as_mut().unwrap().hashes.reverse(), "log-proof");
    let index = |entry: &TransparencyLogEntry| entry.inclusion_proof.as_ref().unwrap().log_index.get();
    for change in [|index| index + 1, |index| index - 1, |_| 0, |index| index ^ 1 << 20] {
        let to = move |entry: &mut TransparencyLogEntry| {
            let to = LogIndex::new(change(index(entry))).unwrap();
            entry.inclusion_proof.as_mut().unwrap().log_index = to;
        };
        refused(to, "log-proof");
    }
    let body = |entry: &mut TransparencyLogEntry| {
        entry.canonicalized_body = [entry.canonicalized_body.as_bytes(), b" "].concat().into();
    };
    refused(body, "log-proof");
    refused(|entry| entry.inclusion_proof = None, "log-proof-missing");
    let bare = |entry: &mut TransparencyLogEntry| {
        entry.inclusion_proof.as_mut().unwrap().checkpoint = CheckpointData::default();
    };
    refused(bare, "log-checkpoint-missing");
}

#[test]
fn b8_a_checkpoint_that_the_log_did_not_sign_is_refused() {
    // Its text: more of it, its origin.
    for (from, to) in [("\n\n", "\nmore\n\n"), ("rekor.sigstore.dev - ", "rekor.sigstore.dev -  ")] {
        let change = |entry: &mut TransparencyLogEntry| {
            let note = note(entry);
            assert!(note.contains(from), "{note}");
            with_note(entry, &note.replacen(from, to, 1));
        };
        refused(change, "log-checkpoint");
    }
    // Its signature: each byte of the line, its four bytes of name included.
    let bundle = read(&original()).unwrap();
    let real = SignatureLine::of(&note(&bundle.verification_material.tlog_entries[0]));
    for at in 0..real.bytes.len() {
        let mut other = real.clone();
        other.bytes[at] ^= 1;
        refused(|entry| with_note(entry, &other.note()), "log-checkpoint");
    }
    // Another's line beside the log's own takes nothing away, not even under its four bytes, and adds nothing.
    let mut others = real.clone();
    others.bytes.truncate(4);
    others.bytes.extend([0; 64]);
    refused(|entry| with_note(entry, &others.note()), "log-checkpoint");
    let mut both = bundle;
    with_note(&mut both.verification_material.tlog_entries[0], &(others.note() + &real.line()));
    let (ours, theirs) = verdicts(&both);
    assert!(ours.is_ok() && theirs, "{ours:?}");
}

/// A checkpoint with one signature, taken apart.
#[derive(Clone)]
struct SignatureLine {
    text: String,
    name: String,
    bytes: Vec<u8>,
}

impl SignatureLine {
    fn of(note: &str) -> Self {
        let (text, line) = note.split_once("\n\n").unwrap();
        let [_, name, bytes] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line}") };
        let bytes = sigstore_types::SignatureBytes::from_base64(bytes).unwrap().into_bytes();
        Self { text: text.to_owned(), name: name.to_owned(), bytes }
    }

    fn line(&self) -> String {
        let bytes = sigstore_types::SignatureBytes::new(self.bytes.clone()).to_base64();
        format!("\u{2014} {} {bytes}\n", self.name)
    }

    fn note(&self) -> String {
        format!("{}\n\n{}", self.text, self.line())
    }
}

#[test]
fn b8_a_key_signs_in_its_time_only() {
    let bundle = read(&original()).unwrap();
    let entry = &bundle.verification_material.tlog_entries[0];
    let of = |start: &str, end: &str| {
        let mut root: Value = serde_json::from_str(SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
        for log in root["tlogs"].as_array_mut().unwrap() {
            log["publicKey"]["validFor"] = json!({ "start": start, "end": end });
        }
        let root = Root::private("own".parse().unwrap(), &root.to_string()).unwrap();
        let log = root.0.logs.iter().find(|log| log.is_of(entry)).unwrap();
        log.includes(entry).map_err(|reason| reason.code())
    };
    let time = entry.integrated_time.unwrap();
    let at = |seconds: i64| Timestamp::from_second(time.as_second() + seconds).unwrap().to_string();
    assert_eq!(of(&at(0), &at(0)), Ok(()));
    assert_eq!(of(&at(-9), &at(-1)), Err("log-checkpoint"));
    assert_eq!(of(&at(1), &at(9)), Err("log-checkpoint"));
    refused(|entry| entry.integrated_time = None, "log-checkpoint");
}

#[test]
fn b8_nothing_is_accepted_that_the_crate_asked_for_all_refuses() {
    let original = original();
    let mut paths = Vec::new();
    leaves(&original, "", &mut paths);
    let (mut both, mut none) = (0, 0);
    for path in paths {
        let text = original.pointer(&path).unwrap().as_str().unwrap().to_owned();
        for at in (0..text.len()).step_by(text.len().div_ceil(12)) {
            // Another digit, another letter of base64: what can still be read.
            let mut bytes = text.clone().into_bytes();
            bytes[at] =
                if bytes[at].is_ascii_digit() { b'0' + (bytes[at] - b'0' + 1) % 10 } else { bytes[at] ^ 1 };
            let Ok(other) = String::from_utf8(bytes) else { continue };
            let mut changed = original.clone();
            *changed.pointer_mut(&path).unwrap() = other.into();
            let Some(bundle) = read(&changed) else { continue };
            let (ours, theirs) = verdicts(&bundle);
            assert!(ours.is_err() || theirs, "{path}, {at}");
            match ours.is_ok() {
                true => both += 1,
                false => none += 1,
            }
        }
    }
    assert!(none > 200, "{none} refused, {both} accepted by both");
}
