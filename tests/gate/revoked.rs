//! B13 and B14 as bytes: `tests/vectors/b13-signer-revoked/` and `b14-digest-revoked/`, a control record each, with
//! what becomes of it. Made by `SAMEBITS_VECTORS=make cargo test --test gate revoked::`, with the keys beside them.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use samebits::digest::Digest;
use samebits::evidence::Control;
use samebits::gate::Code;
use samebits::key::PrivateKey;
use samebits::verify::sign_statement;
use serde_json::{Value, json};

use super::world::*;

/// A control record: its file, whose key signed it, what differs from `refused.json`, and what becomes of it.
struct Case {
    file: &'static str,
    key: &'static str,
    differs: fn() -> Vec<(&'static str, Value)>,
    /// Why it is not read; `None` where it is.
    why: Option<&'static str>,
    /// What is wrong with the image in production afterwards.
    codes: &'static [Code],
}

const REVOKER: &str = "ed25519";
const STAGING: &str = "p256";
const STRANGER: &str = "p384";

/// The signer of staging is revoked: nothing says any more that the image ran there.
const SIGNER: [Case; 8] = [
    Case { file: "refused.json", key: REVOKER, differs: Vec::new, why: None, codes: &[Code::NeverDeployed] },
    Case {
        file: "by-a-stranger.json",
        key: STRANGER,
        differs: || vec![by(STRANGER)],
        why: Some("its signature does not count"),
        codes: &[],
    },
    // Named by the policy, but not as a revoker: it is read, and has no effect.
    Case {
        file: "by-one-who-may-not.json",
        key: STAGING,
        differs: || vec![by(STAGING)],
        why: None,
        codes: &[],
    },
    Case {
        file: "in-the-name-of-the-revoker.json",
        key: STAGING,
        differs: Vec::new,
        why: Some("acted, but it is signed by"),
        codes: &[],
    },
    Case {
        file: "nobody.json",
        key: REVOKER,
        differs: || vec![("/predicate/target", json!({ "identities": [] }))],
        why: Some("it revokes nothing"),
        codes: &[Code::ControlUnknown],
    },
    Case {
        file: "another-subject.json",
        key: REVOKER,
        differs: || vec![("/subject", json!([{ "digest": { "sha256": Digest::of(b"other").hex() } }]))],
        why: Some("they are not what its target stands for"),
        codes: &[Code::ControlUnknown],
    },
    Case {
        file: "since-a-place-not-seen.json",
        key: REVOKER,
        differs: || vec![("/predicate/effectiveFrom", json!({ "index": 7, "time": MORNING }))],
        why: Some("it begins behind the log that its author had seen"),
        codes: &[Code::ControlUnknown],
    },
    Case {
        file: "lift-of-nothing.json",
        key: REVOKER,
        differs: || vec![("/predicate/effect", json!("lift"))],
        why: Some("a lift, and nothing else, names what it lifts"),
        codes: &[Code::ControlUnknown],
    },
];

/// The image is revoked.
const DIGEST: [Case; 9] = [
    Case { file: "refused.json", key: REVOKER, differs: Vec::new, why: None, codes: &[Code::Revoked] },
    Case {
        file: "by-a-stranger.json",
        key: STRANGER,
        differs: || vec![by(STRANGER)],
        why: Some("its signature does not count"),
        codes: &[],
    },
    Case {
        file: "by-one-who-may-not.json",
        key: STAGING,
        differs: || vec![by(STAGING)],
        why: None,
        codes: &[],
    },
    // Copied here from the lane of another ledger: it was never said of this one.
    Case {
        file: "another-ledger.json",
        key: REVOKER,
        differs: || vec![("/predicate/ledger/origin", json!("other.example/log/control"))],
        why: Some("it was written for the log `other.example/log/control`"),
        codes: &[],
    },
    Case {
        file: "no-reason.json",
        key: REVOKER,
        differs: || vec![("/predicate/reason", json!(" "))],
        why: Some("it gives no reason"),
        codes: &[Code::ControlUnknown],
    },
    Case {
        file: "unknown-effect.json",
        key: REVOKER,
        differs: || vec![("/predicate/effect", json!("pause"))],
        why: Some("unknown variant `pause`"),
        codes: &[Code::ControlUnknown],
    },
    Case {
        file: "unknown-scope.json",
        key: REVOKER,
        differs: || vec![("/predicate/scope", json!({ "tenant": "acme" }))],
        why: Some("unknown field `tenant`"),
        codes: &[Code::ControlUnknown],
    },
    Case {
        file: "with-a-beginning.json",
        key: REVOKER,
        differs: || vec![("/predicate/effectiveFrom", json!({ "index": 0, "time": MORNING }))],
        why: Some("only the revocation of a signer has a beginning"),
        codes: &[Code::ControlUnknown],
    },
    Case {
        file: "after-what-is-not-there.json",
        key: REVOKER,
        differs: || vec![("/predicate/ledger/control/size", json!(9))],
        why: Some("it refers to a place in the log that is not before it"),
        codes: &[Code::ControlUnknown],
    },
];

/// The member that says who acts.
fn by(name: &str) -> (&'static str, Value) {
    ("/predicate/actor/subject", json!(key(name).public().id()))
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn key(name: &str) -> PrivateKey {
    PrivateKey::from_pem(&fs::read_to_string(vectors().join(format!("keys/{name}.pem"))).unwrap()).unwrap()
}

/// A world where the revoker and staging sign with the keys beside the vectors.
fn world() -> World {
    let policy = guarded(&with(&[(APPROVALS, ""), ("for-at-least = \"1h\", ", "")]));
    let mut world = World::new(&policy);
    world.replace_key("security", key(REVOKER), &policy);
    world.replace_key("staging", key(STAGING), &policy);
    world
}

fn become_of(folder: &str, revokes: &Revokes, cases: &[Case]) {
    let folder = vectors().join(folder);
    if blessing() {
        make(&folder, revokes, cases);
    }
    for Case { file, why, codes, .. } in cases {
        let mut world = world();
        let image = Built::shop("1");
        world.staged(&image);
        yes(&world.ask("production", &image, &[]));
        let bytes = fs::read(folder.join(file)).unwrap();
        let _appended = world.ledger.append_control(0, &bytes).unwrap();
        let control = Control::read(&world.ledger.control().unwrap(), &world.trust);
        match why {
            None => assert_eq!((control.records().len(), control.unread()), (1, &[][..]), "{file}"),
            Some(why) => {
                assert!(control.records().is_empty(), "{file}");
                let found = control.unread()[0].why.to_string();
                assert!(found.contains(why), "{file}: {found}");
            }
        }
        let decision = world.ask("production", &image, &[]);
        match codes {
            [] => drop(yes(&decision)),
            codes => drop(no(&decision, codes)),
        }
    }
    // Every file is a case.
    let files = fs::read_dir(&folder).unwrap().count();
    assert_eq!(files, cases.len() + 1, "{}: the cases and a README", folder.display());
}

#[test]
fn b13_revocations_of_a_signer_byte_for_byte() {
    let signer = Revokes::signer(world().identity("staging"));
    become_of("b13-signer-revoked", &signer, &SIGNER);
}

#[test]
fn b14_revocations_of_a_digest_byte_for_byte() {
    let digest = Revokes::digest(Built::shop("1").root);
    become_of("b14-digest-revoked", &digest, &DIGEST);
}

/// Whether the vectors are to be made anew.
fn blessing() -> bool {
    #[allow(clippy::disallowed_methods, reason = "how every test here is told")]
    std::env::var_os("SAMEBITS_VECTORS").is_some()
}

fn make(folder: &Path, revokes: &Revokes, cases: &[Case]) {
    let mut world = world();
    world.revoke("security", revokes);
    let lane = world.ledger.control().unwrap();
    let bundle: Value = serde_json::from_slice(lane.entries()[0].bytes()).unwrap();
    let payload = STANDARD.decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    for case in cases {
        let mut statement: Value = serde_json::from_slice(&payload).unwrap();
        for (pointer, value) in (case.differs)() {
            let (parent, member) = pointer.rsplit_once('/').unwrap();
            statement.pointer_mut(parent).unwrap()[member] = value;
        }
        let bytes = sign_statement(statement.to_string().as_bytes(), &key(case.key)).unwrap();
        fs::write(folder.join(case.file), bytes).unwrap();
    }
}
