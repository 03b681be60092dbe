//! Permits through the binary (E13): a gate job that is skipped, fails or says no leaves nothing that a deploy job takes.

use samebits::digest::Digest;
use samebits::key::{Algorithm, PrivateKey};
use samebits::record::{PermitDraft, Position, SignedPermit};
use samebits::reference::Image;
use samebits::tlog::{LogSigner, TlogProof, leaf_hash};
use samebits::verify::Trust;
use serde_json::{Value, json};
use snapbox::{Data, assert_data_eq, file};

use crate::cli::{Ran, Yard, at, ran, redact, valid};
use crate::control::{self, revoke, staged};
use crate::witness::{names, witness};

const FILE: &str = "permit.json";

/// A yard whose policy has a revoker and a freezer, and an image that runs in staging.
fn yard() -> (Yard, Image) {
    let yard = control::yard();
    let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    yard.write("keys/duty.key", key.to_pem().as_bytes());
    yard.write("keys/duty.pub", key.public().to_pem());
    yard.edit_policy(|text| {
        text.replace(
            "[control]\n",
            "[signers.duty]\npublic-key = \"keys/duty.pub\"\n\n[control]\nfreezers = [\"duty\"]\n",
        )
    });
    let image = staged(&yard, "v1");
    (yard, image)
}

/// Promotes from staging into production, and wants a permit.
fn promote(yard: &Yard, image: &Image) -> Ran {
    let from = at("staging", image);
    yard.run(["promote", &from, "--to", "production", "--permit", FILE, "--key", "keys/release.key"])
}

fn verify(yard: &Yard, image: &Image) -> Ran {
    yard.run(["permit", "verify", &at("production", image), "--in", "production", "--permit", FILE])
}

/// In a job that has nothing but the policy file and its public keys, the permit in its environment.
fn in_a_job(yard: &Yard, image: &Image, permit: Option<&str>) -> Ran {
    let job = tempfile::tempdir().unwrap();
    std::fs::create_dir(job.path().join("keys")).unwrap();
    std::fs::copy(yard.path("samebits.toml"), job.path().join("samebits.toml")).unwrap();
    for key in std::fs::read_dir(yard.path("keys")).unwrap() {
        let key = key.unwrap();
        if key.file_name().to_str().unwrap().ends_with(".pub") {
            std::fs::copy(key.path(), job.path().join("keys").join(key.file_name())).unwrap();
        }
    }
    let mut command = yard.command(["permit", "verify", &at("production", image), "--in", "production"]);
    command.current_dir(job.path());
    if let Some(permit) = permit {
        command.env("SAMEBITS_PERMIT", permit);
    }
    ran(&mut command)
}

#[track_caller]
fn refused(ran: Ran, codes: &[&str]) -> Ran {
    let ran = ran.exits(1);
    assert_eq!(ran.stdout, "", "nothing to deploy");
    for code in codes {
        assert!(ran.stderr.contains(code), "{code} in\n{}", ran.stderr);
    }
    ran
}

/// The permit in the file, changed and signed by `role`.
fn forge(yard: &Yard, role: &str, change: impl FnOnce(&mut PermitDraft)) {
    let trust = Trust::new(vec![yard.key("release").public()]);
    let read = SignedPermit::read(yard.read(FILE).as_bytes(), &trust).unwrap();
    let mut draft = PermitDraft { subjects: read.subjects().clone(), permit: read.permit().clone() };
    change(&mut draft);
    yard.write(FILE, draft.sign(&yard.key(role)).unwrap());
}

#[test]
fn e13_the_deploy_job_takes_what_the_gate_gave_and_nothing_else() {
    let (yard, image) = yard();
    let there = at("production", &image);
    let said = promote(&yard, &image).exits(0);
    assert_eq!(said.stdout, format!("{there}\n"));
    assert!(said.stderr.contains("permit permit.json, good until 2"), "{}", said.stderr);
    let permit = yard.read(FILE);
    assert_eq!((permit.lines().count(), permit.ends_with("}\n")), (1, true));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(yard.path(FILE).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(!yard.path(".permit.json.new").exists());
    let yes = verify(&yard, &image).exits(0);
    assert_eq!(yes.stdout, format!("{there}\n"));
    assert_data_eq!(
        Data::text(redact(&yes.stderr, &[("IMAGE", image.digest)])).raw(),
        file!["permit-yes.txt"].raw()
    );
    // Elsewhere, without ledger, keys or images; as a program reads it, too.
    let yes = in_a_job(&yard, &image, Some(&permit)).exits(0);
    assert_eq!(yes.stdout, format!("{there}\n"));
    let json = ["permit", "verify", &there, "--in", "production", "--permit", FILE, "-o", "json"];
    let json = yard.run(json).exits(0).json();
    assert_eq!((&json["decision"], &json["permitted"]), (&json!("approved"), &json!(there)));
    assert_eq!(
        (&json["in"], &json["permit"]["names"], &json["codes"]),
        (&json!("production"), &json!(["release"]), &json!([]))
    );
    // By its tag, which is asked for where it is.
    let tag = [
        "permit",
        "verify",
        "oci:registry/production/shop:production",
        "--in",
        "production",
        "--permit",
        FILE,
    ];
    assert_eq!(yard.run(tag).exits(0).stdout, format!("{there}\n"));
    let other = Digest::of(b"other");
    let expecting = format!("oci:registry/production/shop:production@{other}");
    refused(
        yard.run(["permit", "verify", &expecting, "--in", "production", "--permit", FILE]),
        &["tag-moved"],
    );
    // The record of it is what it says, and JSON says where it is.
    let again = [
        "promote",
        &at("staging", &image),
        "--to",
        "production",
        "--permit",
        FILE,
        "--key",
        "keys/release.key",
        "-o",
        "json",
    ];
    let again = yard.run(again).exits(0).json();
    assert_eq!(again["permit"]["file"], FILE);
    assert_eq!(again["record"], json["permit"]["record"]);
    assert_eq!(yard.phases(&image, "production"), ["intent", "commit"]);
    yard.run(["ledger", "verify"]).exits(0);
}

#[test]
fn e13_a_job_whose_gate_was_skipped_is_refused() {
    let (yard, image) = yard();
    promote(&yard, &image).exits(0);
    for nothing in [None, Some(""), Some("\n"), Some("  ")] {
        let said = refused(
            in_a_job(&yard, &image, nothing),
            &["permit-missing", "the gate was not asked", "SAMEBITS_PERMIT is"],
        );
        assert!(said.stderr.contains("--permit FILE"), "{}", said.stderr);
    }
    for junk in ["null", "{}", "true", "approved", "{", "\u{1b}[2J::error::x"] {
        let said = refused(in_a_job(&yard, &image, Some(junk)), &["permit-malformed"]);
        assert!(!said.stderr.contains('\u{1b}'), "{:?}", said.stderr);
    }
    std::fs::remove_file(yard.path(FILE)).unwrap();
    let no = refused(verify(&yard, &image), &["permit-missing", "permit.json is not there"]);
    assert_data_eq!(
        Data::text(redact(&no.stderr, &[("IMAGE", image.digest)])).raw(),
        file!["permit-no.txt"].raw()
    );
    yard.write(FILE, "");
    refused(verify(&yard, &image), &["permit-missing", "permit.json is empty"]);
    // What cannot be read is no answer, and not a yes either.
    std::fs::remove_file(yard.path(FILE)).unwrap();
    std::fs::create_dir(yard.path(FILE)).unwrap();
    let undecided = verify(&yard, &image).exits(3);
    assert_eq!(undecided.stdout, "");
    // A name that is empty is a mistake, as everywhere.
    yard.run(["permit", "verify", &at("production", &image), "--in", "production", "--permit", ""]).exits(2);
    yard.run(["permit", "verify", &at("production", &image), "--in", "prodction"]).exits(2);
    let json = ["permit", "verify", &at("production", &image), "--in", "production", "-o", "json"];
    let json = yard.run(json).exits(1).json();
    assert_eq!((&json["decision"], &json["permitted"]), (&json!("denied"), &Value::Null));
    assert_eq!(json["codes"], json!(["permit-missing"]));
    assert!(json["requirements"][0]["fix"].as_array().unwrap().len() > 1);
}

#[test]
fn e13_a_permit_for_something_else_is_refused() {
    let (yard, image) = yard();
    let other = staged(&yard, "v2");
    promote(&yard, &image).exits(0);
    refused(verify(&yard, &other), &["permit-digest"]);
    let ask = |image: &str, environment: &str| {
        yard.run(["permit", "verify", image, "--in", environment, "--permit", FILE])
    };
    let staging = ask(&at("staging", &image), "staging");
    refused(staging, &["permit-environment", "permit-repository"]);
    refused(
        ask(&at("staging", &image), "production"),
        &["permit-repository", "name the image where it was promoted to"],
    );
    // Signed by who deploys, as if he had been the gate; and by a stranger.
    let honest = yard.read(FILE);
    forge(&yard, "production", |_| ());
    refused(verify(&yard, &image), &["permit-signer", "`production`"]);
    for (role, change, code) in [
        (
            "release",
            (|draft| draft.permit.valid_until = draft.permit.issued_on + jiff::SignedDuration::from_hours(2))
                as fn(&mut PermitDraft),
            "permit-too-long",
        ),
        (
            "release",
            |draft| {
                draft.permit.issued_on -= jiff::SignedDuration::from_hours(1);
                draft.permit.valid_until -= jiff::SignedDuration::from_hours(1);
            },
            "permit-expired",
        ),
        (
            "release",
            |draft| {
                draft.permit.issued_on += jiff::SignedDuration::from_mins(10);
                draft.permit.valid_until += jiff::SignedDuration::from_mins(10);
            },
            "permit-not-yet",
        ),
        ("release", |draft| draft.permit.origin = "evil::\u{1b}[2J".to_owned(), "permit-ledger"),
    ] {
        yard.write(FILE, &honest);
        forge(&yard, role, change);
        let no = refused(verify(&yard, &image), &[code]);
        assert!(!no.stderr.contains('\u{1b}'), "{:?}", no.stderr);
    }
    // One byte of what was signed.
    let payload = honest.find("\"payload\":\"").unwrap() + 20;
    let mut bytes = honest.clone().into_bytes();
    bytes[payload] = if bytes[payload] == b'A' { b'B' } else { b'A' };
    yard.write(FILE, &bytes);
    refused(verify(&yard, &image), &["no  shop"]);
    // The record of the promotion, and the summary for other tools, by the same key.
    yard.run(["ledger", "export", "exported"]).exits(0);
    yard.write(FILE, &honest);
    verify(&yard, &image).exits(0);
    // The policy was changed since, if only by a comment.
    yard.edit_policy(|text| text + "# more\n");
    refused(
        verify(&yard, &image),
        &["permit-policy", "read the policy file and its keys from the same commit"],
    );
}

/// Whatever the promoter signed and published: none of it opens the door.
#[test]
fn e13_no_record_and_no_summary_is_a_permit() {
    let (yard, image) = yard();
    promote(&yard, &image).exits(0);
    let there = at("production", &image);
    let store = yard.path("registry/production/shop/blobs/sha256");
    let mut seen = 0;
    for blob in std::fs::read_dir(store).unwrap() {
        let bytes = std::fs::read(blob.unwrap().path()).unwrap();
        if !bytes.starts_with(b"{") || !String::from_utf8_lossy(&bytes).contains("dsseEnvelope") {
            continue;
        }
        yard.write(FILE, &bytes);
        let no = verify(&yard, &image).exits(1);
        assert_eq!(no.stdout, "", "{there}");
        seen += usize::from(no.stderr.contains("permit-type"));
    }
    assert!(seen >= 2, "the record and the summary: {seen}");
}

#[test]
fn e13_no_answer_leaves_a_permit_behind() {
    let (yard, image) = yard();
    promote(&yard, &image).exits(0);
    let old = yard.read(FILE);
    let gone = |ran: Ran, code: i32| {
        let ran = ran.exits(code);
        assert_eq!(ran.stdout, "");
        assert!(!yard.path(FILE).exists(), "the earlier permit is left\n{}", ran.stderr);
        assert!(!yard.path(".permit.json.new").exists());
        yard.write(FILE, &old);
    };
    // No: frozen, then revoked; neither is known to the permit that was given before.
    let freeze = ["freeze", "--in", "production", "--reason", "incident", "--key", "keys/duty.key"];
    yard.run(freeze).exits(0);
    gone(promote(&yard, &image), 1);
    verify(&yard, &image).exits(0);
    yard.run(["thaw", "0", "--reason", "over", "--key", "keys/duty.key"]).exits(0);
    promote(&yard, &image).exits(0);
    revoke(&yard, &[&image.digest.to_string(), "--reason", "CVE-2030-1"]).exits(0);
    gone(promote(&yard, &image), 1);
    // Undecided, and asked wrongly.
    let command = ["promote", &at("staging", &image), "--to", "production", "--permit", FILE];
    gone(yard.run(command), 2);
    gone(yard.run(command.into_iter().chain(["--policy", "nowhere.toml"])), 2);
    gone(
        yard.run(command.into_iter().chain(["--key", "keys/release.key", "--ledger", "sqlite:nowhere.db"])),
        3,
    );
    // Never asked is a promoter of nothing: no record is written for the deployer, and no permit.
    gone(yard.run(command.into_iter().chain(["--key", "keys/production.key"])), 1);
}

#[test]
fn e13_a_permit_is_written_over_an_earlier_one_and_over_nothing_else() {
    let (yard, image) = yard();
    yard.write(FILE, "somebody's\n");
    let no = promote(&yard, &image).exits(2);
    assert!(no.stderr.contains("permit.json is there and is no permit"), "{}", no.stderr);
    assert_eq!(yard.read(FILE), "somebody's\n");
    let key = yard.read("keys/release.key");
    let over =
        ["promote", &at("staging", &image), "--to", "production", "--key", "keys/release.key", "--permit"];
    yard.run(over.into_iter().chain(["keys/release.key"])).exits(2);
    assert_eq!(yard.read("keys/release.key"), key);
    yard.run(over.into_iter().chain(["keys"])).exits(2);
    yard.run(over.into_iter().chain(["nowhere/permit.json"])).exits(2);
    yard.run(over.into_iter().chain([""])).exits(2);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("samebits.toml", yard.path("link")).unwrap();
        yard.run(over.into_iter().chain(["link"])).exits(2);
        assert!(
            yard.read("samebits.toml").starts_with('#') || yard.read("samebits.toml").starts_with("version")
        );
    }
    assert!(yard.phases(&image, "production").is_empty(), "nothing was done");
    // What a killed run left is nobody's.
    std::fs::remove_file(yard.path(FILE)).unwrap();
    yard.write(".permit.json.new", "half a per");
    promote(&yard, &image).exits(0);
    verify(&yard, &image).exits(0);
    yard.write("empty.json", "");
    yard.run(over.into_iter().chain(["empty.json"])).exits(0);
    // `check` gives none.
    yard.run(["check", &at("staging", &image), "--to", "production", "--permit", "p.json"]).exits(2);
}

/// Cosign and the promoter's key sign anything. What they cannot make is a record that the log has.
#[test]
fn e13_who_signs_as_the_promoter_and_skips_the_gate_has_no_record_to_show() {
    let (yard, image) = yard();
    let other = staged(&yard, "v2");
    promote(&yard, &image).exits(0);
    let honest = yard.read(FILE);
    forge(&yard, "release", |draft| draft.permit.logged = None);
    refused(verify(&yard, &image), &["permit-unrecorded", "did not show that the promotion was recorded"]);
    // For an image that nobody promoted, resting on the promotion of another.
    yard.write(FILE, &honest);
    forge(&yard, "release", |draft| {
        draft.subjects.image = Image::new(draft.subjects.image.repository.clone(), other.digest);
    });
    refused(
        verify(&yard, &other),
        &["permit-contradiction", &format!("it promoted {}", at("production", &image))],
    );
    // By the proof of another log that he made himself, under the same name.
    let mine = LogSigner::generate("shop.example/promotions".parse().unwrap()).unwrap();
    yard.write(FILE, &honest);
    forge(&yard, "release", |draft| {
        let logged = draft.permit.logged.as_mut().unwrap();
        let entry = logged.entry.clone().into_bytes();
        let head = mine.sign(1, leaf_hash(&entry)).unwrap();
        draft.permit.record = Position { index: 0, leaf_hash: leaf_hash(&entry) };
        logged.proof = TlogProof::new(&head, 0, entry, Vec::new()).unwrap();
    });
    let no = refused(verify(&yard, &image), &["permit-ledger", "with a checkpoint by the key of"]);
    assert!(
        !no.stderr.contains("permit-unproved"),
        "nothing is read of a log that is another's: {}",
        no.stderr
    );
    yard.write(FILE, &honest);
    verify(&yard, &image).exits(0);
}

/// What the lock asks for is asked for on both sides.
#[test]
fn e13_where_the_lock_names_witnesses_a_permit_takes_their_cosignatures() {
    let (yard, image) = yard();
    let other = staged(&yard, "v2");
    let key = yard.run(["ledger", "witness", "key", "witness.example/w1", "--to", "witness.key"]).exits(0);
    let vkey = key.stdout.lines().last().unwrap().to_owned();
    yard.run(["ledger", "lock"]).exits(0);
    let bare = yard.read("samebits.lock");
    // Given before anybody named one.
    promote(&yard, &image).exits(0);
    names(&yard, &vkey, "http://127.0.0.1:1/");
    refused(verify(&yard, &image), &["permit-unwitnessed", "nothing by w1", "samebits ledger cosign"]);
    // It cannot be had: nothing is written, and the answer says what to do.
    let none = promote(&yard, &image).exits(3);
    assert_eq!(none.stdout, "");
    for words in ["there is no permit for it", "no cosignature by w1", "cannot be reached", "ledger cosign"] {
        assert!(none.stderr.contains(words), "{words} in {}", none.stderr);
    }
    assert!(!yard.path(FILE).exists());
    // It can: the walk asks by itself.
    let serving = witness(&yard);
    names(&yard, &vkey, &serving.1);
    promote(&yard, &image).exits(0);
    verify(&yard, &image).exits(0);
    promote(&yard, &other).exits(0);
    verify(&yard, &other).exits(0);
    assert_eq!(yard.phases(&image, "production"), ["intent", "commit"], "it is the same promotion");
    // What was cosigned stays so while nobody can be asked.
    drop(serving);
    promote(&yard, &other).exits(0);
    verify(&yard, &other).exits(0);
    yard.run(["ledger", "verify"]).exits(0);
    // A job without a lock, and one that names somebody else.
    yard.write("samebits.lock", &bare);
    verify(&yard, &other).exits(0);
    let key = yard.run(["ledger", "witness", "key", "witness.example/w1", "--to", "other.key"]).exits(0);
    names(&yard, key.stdout.lines().last().unwrap(), "http://127.0.0.1:1/");
    refused(verify(&yard, &other), &["permit-unwitnessed"]);
    // A lock that cannot be read is no lock that asks for nothing.
    yard.write("samebits.lock", "version = 1\n");
    assert_eq!(verify(&yard, &other).exits(2).stdout, "");
}

#[test]
fn e13_step_outputs_and_reports_of_both_sides() {
    let (yard, image) = yard();
    let there = at("production", &image);
    let github = |args: &[&str], permit: Option<&str>, code: i32| {
        for name in ["output", "summary"] {
            yard.write(name, "");
        }
        let mut command = yard.command(args.iter().copied());
        command.env("GITHUB_OUTPUT", yard.path("output")).env("GITHUB_STEP_SUMMARY", yard.path("summary"));
        if let Some(permit) = permit {
            command.env("SAMEBITS_PERMIT", permit);
        }
        ran(&mut command).exits(code);
        yard.read("output")
    };
    let value = |outputs: &str, name: &str| {
        let (_, rest) = outputs.split_once(&format!("{name}<<")).unwrap();
        rest.lines().nth(1).unwrap().to_owned()
    };
    let from = at("staging", &image);
    let promote = ["promote", &from, "--to", "production", "--key", "keys/release.key", "-o", "github"];
    let outputs = github(&promote, None, 0);
    assert_eq!(value(&outputs, "permit"), "");
    assert!(!outputs.contains("dsseEnvelope"), "nobody asked for one");
    let outputs = github(&[&promote[..], &["--permit", FILE]].concat(), None, 0);
    let permit = value(&outputs, "permit");
    assert_eq!(format!("{permit}\n"), yard.read(FILE));
    let verify = [
        "permit",
        "verify",
        &there,
        "--in",
        "production",
        "-o",
        "github",
        "-o",
        "dotenv=out.env",
        "-o",
        "junit=out.xml",
        "-o",
        "sarif=out.sarif",
    ];
    let outputs = github(&verify, Some(&permit), 0);
    assert_eq!(value(&outputs, "image"), there);
    assert_eq!(value(&outputs, "decision"), "approved");
    assert!(yard.read("out.env").contains(&format!("SAMEBITS_IMAGE={there}\n")));
    assert!(yard.read("summary").contains("yes: samebits permit verify"), "{}", yard.read("summary"));
    let outputs = github(&verify, None, 1);
    assert!(outputs.contains("permit-missing") && !outputs.contains("sha256:0000"), "{outputs}");
    assert!(!yard.read("out.env").contains("SAMEBITS_IMAGE"));
    assert!(yard.read("out.xml").contains("type=\"permit-missing\""), "{}", yard.read("out.xml"));
    assert!(yard.read("out.sarif").contains("permit-missing"));
    assert!(!yard.read("summary").contains("ecorded"), "{}", yard.read("summary"));
    // A command line that is wrong has no image either.
    let outputs = github(
        &["permit", "verify", &there, "--in", "production", "--wrong", "-o", "github"],
        Some(&permit),
        2,
    );
    assert_eq!((value(&outputs, "image").as_str(), value(&outputs, "decision").as_str()), ("", "undecided"));
    let json = yard.run(["permit", "verify", &there, "--in", "nowhere", "-o", "json"]).exits(2).json();
    valid(&json);
}
