//! The ledger for strangers: what is written, how it is checked, and that each tampering with it is found.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use samebits::digest::Digest;
use samebits::key::{Algorithm, PrivateKey};
use samebits::ledger::Ledger;
use samebits::reference::Image;
use samebits::tlog::LogSigner;
use samebits::verify::sign_statement;
use serde_json::{Value, json};

use crate::cli::{Ran, Yard, at};
use crate::peer;

/// Six records and a revocation that was lifted.
fn yard() -> (Yard, Image) {
    let yard = crate::control::yard();
    let image = crate::control::staged(&yard, "v1");
    let digest = image.digest.to_string();
    crate::control::revoke(&yard, &[&digest, "--reason", "CVE-2030-1"]).exits(0);
    yard.promote(&at("staging", &image), "production").exits(1);
    crate::control::revoke(&yard, &["--lift", "0", "--reason", "not so"]).exits(0);
    yard.promote(&at("staging", &image), "production").exits(0);
    (yard, image)
}

fn vkey(yard: &Yard) -> String {
    let policy = yard.read("samebits.toml");
    let line = policy.lines().find_map(|line| line.strip_prefix("verifier = \"")).unwrap();
    line.trim_end_matches('"').to_owned()
}

fn export(yard: &Yard, args: &[&str]) -> Value {
    let all = ["ledger", "export"].into_iter().chain(args.iter().copied()).chain(["-o", "json"]);
    yard.run(all).exits(0).json()
}

/// Every file of a folder by its name in it.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        for entry in fs::read_dir(folder.join(&below)).unwrap() {
            let entry = entry.unwrap();
            let name = below.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(name);
            } else {
                found.insert(name.to_str().unwrap().to_owned(), fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

/// As a stranger: in another folder, with nothing but the export and perhaps the key.
fn strangers(yard: &Yard, path: &str, more: &[&str]) -> Ran {
    let stranger = Yard::empty();
    let path = yard.path(path);
    let args = ["ledger", "verify", path.to_str().unwrap(), "-o", "json"];
    stranger.run(args.into_iter().chain(more.iter().copied()))
}

#[test]
fn a_stranger_checks_an_export_offline() {
    let (yard, image) = yard();
    let said = export(&yard, &["audit"]);
    assert_eq!((&said["records"], &said["missing"]), (&json!(6), &json!([])), "{said:#}");
    let all = files(&yard.path("audit"));
    let has = |name: &str| assert!(all.contains_key(name), "{name} in {:?}", all.keys());
    for name in ["README.md", "index.json", "vkey", "checkpoint", "control/checkpoint", "control/0.json"] {
        has(name);
    }
    for name in ["records/0.json", "records/5.tlog-proof", "tile/0/000.p/6", "tile/entries/000.p/6"] {
        has(name);
    }
    has("control/tile/0/000.p/2");
    has("control/vkey");
    has(&format!("evidence/sha256/{}", image.digest.hex()));
    has(&format!("policies/{}.toml", Digest::of(yard.read("samebits.toml").as_bytes()).hex()));
    has(&format!("keys/{}.pem", yard.key("build").public().id().hex()));
    assert_eq!(all["vkey"], format!("{}\n", vkey(&yard)).into_bytes());
    let readme = String::from_utf8(all["README.md"].clone()).unwrap();
    assert!(readme.contains("all 6 records of the log") && readme.contains(&vkey(&yard)), "{readme}");
    // Everything but what is signed by nobody is named by its digest, or follows from a signed head.
    for (name, bytes) in all.iter().filter(|(name, _)| name.starts_with("evidence/")) {
        assert!(name.ends_with(&Digest::of(bytes).hex()), "{name}");
    }

    // With the key from elsewhere, with the policy, and with what it brings along.
    let vkey = vkey(&yard);
    let given = strangers(&yard, "audit", &["--vkey", &vkey]).exits(0).json();
    let told = [&given["intact"], &given["whole"], &given["records"], &given["key"]];
    assert_eq!(told, [&json!(true), &json!(true), &json!(6), &json!("given")], "{given:#}");
    assert_eq!((&given["unchecked"], &given["control"]["size"]), (&json!([]), &json!(2)));
    assert_eq!(strangers(&yard, "audit", &[]).exits(0).json()["key"], "export");
    assert_eq!(yard.run(["ledger", "verify", "audit", "-o", "json"]).exits(0).json()["key"], "policy");
    let text = yard.run(["ledger", "verify", "audit"]).exits(0).stdout;
    assert!(
        text.starts_with("intact  audit: shop.example/promotions, 6 of 6 records and 2 control records\n"),
        "{text}"
    );
    let stranger = Yard::empty();
    let text = stranger.run(["ledger", "verify", yard.path("audit").to_str().unwrap()]).exits(0).stdout;
    assert!(text.contains("checked with the key that it brings along"), "{text}");

    // The same ledger gives the same bytes, as a folder and as an archive.
    export(&yard, &["again"]);
    assert_eq!(files(&yard.path("again")), all);
    export(&yard, &["one.tar"]);
    export(&yard, &["two.tar"]);
    let archive = fs::read(yard.path("one.tar")).unwrap();
    assert_eq!(archive, fs::read(yard.path("two.tar")).unwrap());
    tar::Archive::new(&archive[..]).unpack(yard.path("unpacked")).unwrap();
    assert_eq!(files(&yard.path("unpacked")), all);
    assert_eq!(strangers(&yard, "one.tar", &["--vkey", &vkey]).exits(0).json()["records"], 6);

    // Another ledger's key is none of this one.
    let other = self::vkey(&Yard::new());
    let refused = strangers(&yard, "audit", &["--vkey", &other]).exits(1).json();
    assert!(refused["findings"].to_string().contains("the vkey in it is another one"), "{refused:#}");
    assert!(
        refused["findings"].to_string().contains("checkpoint is no signed head of this log"),
        "{refused:#}"
    );
}

#[test]
fn an_export_overwrites_nothing_and_is_whole_or_not_there() {
    let (yard, _) = yard();
    export(&yard, &["audit"]);
    let before = files(&yard.path("audit"));
    let refused = yard.run(["ledger", "export", "audit"]).exits(2);
    assert!(
        refused.stderr.contains("audit is there and not empty: nothing is overwritten"),
        "{}",
        refused.stderr
    );
    yard.write("there.tar", "something");
    yard.run(["ledger", "export", "there.tar"]).exits(2);
    assert_eq!((files(&yard.path("audit")), yard.read("there.tar")), (before, "something".to_owned()));
    // An empty folder is as good as none.
    fs::create_dir(yard.path("empty")).unwrap();
    export(&yard, &["empty"]);
    // What an interrupted export left is nobody's export.
    fs::create_dir(yard.path("next.partial")).unwrap();
    let refused = yard.run(["ledger", "export", "next"]).exits(2);
    assert!(
        refused.stderr.contains("next.partial is there: an export that was interrupted"),
        "{}",
        refused.stderr
    );
    assert!(!yard.path("next").exists());
    // A ledger that cannot be read leaves nothing behind.
    let connection = rusqlite::Connection::open(yard.path(".samebits/ledger.db")).unwrap();
    connection.execute("UPDATE entries SET body = x'00' WHERE idx = 4", []).unwrap();
    for path in ["broken", "broken.tar"] {
        yard.run(["ledger", "export", path]).exits(3);
        assert!(!yard.path(path).exists() && !yard.path(&format!("{path}.partial")).exists());
    }
}

#[test]
fn a_part_has_what_was_asked_for_and_what_that_relies_on() {
    let (yard, _) = yard();
    let vkey = vkey(&yard);
    let indexes = |folder: &str| -> Value {
        serde_json::from_slice::<Value>(&files(&yard.path(folder))["index.json"]).unwrap()["records"].take()
    };
    // Production's decisions, and the deployment in staging that they rely on.
    export(&yard, &["production", "--in", "production"]);
    assert_eq!(indexes("production"), json!([2, 3, 4, 5]));
    let checked = strangers(&yard, "production", &["--vkey", &vkey]).exits(0);
    let said = checked.json();
    assert_eq!(
        (&said["whole"], &said["records"], &said["ledger"]["size"]),
        (&json!(false), &json!(4), &json!(6))
    );
    export(&yard, &["late", "--since", "5"]);
    assert_eq!(indexes("late"), json!([2, 4, 5]));
    export(&yard, &["never", "--since", "2099-01-01"]);
    assert_eq!(indexes("never"), json!([]));
    export(&yard, &["shop.tar", "--service", "shop", "--since", "2020-01-01"]);
    for path in ["late", "shop.tar"] {
        strangers(&yard, path, &["--vkey", &vkey]).exits(0);
    }
    // No record in it says whose keys count, for the control lane neither: who has the policy can tell.
    strangers(&yard, "never", &["--vkey", &vkey]).exits(3);
    yard.run(["ledger", "verify", "never"]).exits(0);
    yard.run(["ledger", "export", "x", "--service", "shpo"]).exits(2);
    yard.run(["ledger", "export", "x", "--in", "prod"]).exits(2);
}

/// One change to an export, and what is said of it.
#[test]
fn d1_each_tampering_with_an_export_is_found() {
    let (yard, image) = yard();
    let vkey = vkey(&yard);
    export(&yard, &["audit"]);
    let all = files(&yard.path("audit"));
    let hex = |digest: Digest| digest.hex();
    let policy = format!("policies/{}.toml", hex(Digest::of(yard.read("samebits.toml").as_bytes())));
    let key = format!("keys/{}.pem", hex(yard.key("build").public().id()));
    let root = format!("evidence/sha256/{}", image.digest.hex());
    let other = Yard::new();
    export(&other, &["audit"]);
    let theirs = files(&other.path("audit"));
    let flip = |name: &str| {
        let mut bytes = all[name].clone();
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        Some(bytes)
    };
    let index = |edit: &dyn Fn(&mut Value)| {
        let mut index: Value = serde_json::from_slice(&all["index.json"]).unwrap();
        edit(&mut index);
        Some(index.to_string().into_bytes())
    };
    let proof_of = |record: u64| Some(all[&format!("records/{record}.tlog-proof")].clone());
    let cases: Vec<(&str, Option<Vec<u8>>, &str)> = vec![
        // Signed heads.
        ("checkpoint", flip("checkpoint"), "checkpoint is no signed head of this log"),
        ("checkpoint", Some(theirs["checkpoint"].clone()), "checkpoint is no signed head of this log"),
        ("checkpoint", Some(all["control/checkpoint"].clone()), "checkpoint is no signed head of this log"),
        ("control/checkpoint", flip("control/checkpoint"), "control/checkpoint is no signed head"),
        ("control/checkpoint", None, "control/checkpoint is missing"),
        ("control/vkey", Some(all["vkey"].clone()), "control/vkey was changed"),
        ("vkey", Some(theirs["vkey"].clone()), "the vkey in it is another one"),
        // Records and proofs.
        ("records/3.json", flip("records/3.json"), "record 3 is not shown to be in the log"),
        ("records/3.json", Some(all["records/4.json"].clone()), "record 3 is not shown to be in the log"),
        ("records/3.json", None, "records/3.json is missing"),
        ("records/3.tlog-proof", flip("records/3.tlog-proof"), "record 3 is not shown to be in the log"),
        (
            "records/3.tlog-proof",
            proof_of(4),
            "record 3 is not shown to be in the log: its proof is of entry 4",
        ),
        ("records/3.tlog-proof", None, "records/3.tlog-proof is missing"),
        ("records/6.json", Some(all["records/5.json"].clone()), "records/6.tlog-proof is missing"),
        ("records/03.json", Some(all["records/3.json"].clone()), "records/03.json does not belong here"),
        // The control lane.
        ("control/0.json", flip("control/0.json"), "the control lane is not the signed one"),
        ("control/0.json", Some(all["control/1.json"].clone()), "the control lane is not the signed one"),
        (
            "control/1.json",
            None,
            "control/1.json is missing: the control lane is whole or counts for nothing",
        ),
        ("control/2.json", Some(all["control/1.json"].clone()), "control/2.json does not belong here"),
        // Tiles.
        ("tile/0/000.p/6", flip("tile/0/000.p/6"), "tile/0/000.p/6 was changed"),
        ("tile/entries/000.p/6", flip("tile/entries/000.p/6"), "tile/entries/000.p/6 was changed"),
        ("tile/entries/000.p/6", None, "tile/entries/000.p/6 is missing"),
        ("control/tile/0/000.p/2", flip("control/tile/0/000.p/2"), "control/tile/0/000.p/2 was changed"),
        ("tile/0/001", Some(b"x".to_vec()), "tile/0/001 does not belong here"),
        // What decisions rely on.
        (&root, flip(&root), "was changed"),
        (&root, None, "is missing: record 0 relied on it"),
        (&policy, flip(&policy), "was changed"),
        (&policy, None, "is missing: record"),
        (&key, Some(theirs["vkey"].clone()), "was changed"),
        (&key, None, "is missing: record"),
        // What it says of itself.
        ("index.json", None, "index.json is missing"),
        ("index.json", index(&|index| index["ledger"]["size"] = json!(5)), "index.json is not about this"),
        ("index.json", index(&|index| index["records"] = json!([0, 1])), "it does not list record 2"),
        ("index.json", index(&|index| index["more"] = json!(1)), "index.json is not about this"),
        ("README.md", Some(b"run this".to_vec()), "README.md was changed"),
        ("README.md", flip("README.md"), "README.md was changed"),
        ("README.md", None, "README.md is missing"),
        ("readme.txt", Some(b"run this".to_vec()), "readme.txt does not belong here"),
    ];
    for (name, bytes, said) in cases {
        let path = yard.path("audit").join(name);
        match &bytes {
            Some(bytes) => {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, bytes).unwrap();
            }
            None => fs::remove_file(&path).unwrap(),
        }
        let found = strangers(&yard, "audit", &["--vkey", &vkey]).exits(1).json();
        assert_eq!(found["intact"], false);
        let findings: Vec<&str> =
            found["findings"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        assert!(findings.iter().any(|finding| finding.contains(said)), "{name}, {said}: {findings:#?}");
        // One change is a few findings, not a flood.
        assert!(findings.len() <= 4, "{name}: {findings:#?}");
        match all.get(name) {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
    }
    strangers(&yard, "audit", &["--vkey", &vkey]).exits(0);
    // What is no export is no answer.
    for (path, said) in [
        ("keys", "is no export of a ledger"),
        ("samebits.toml", "whose name ends in .tar"),
        ("nowhere", "cannot be read"),
    ] {
        let undecided = yard.run(["ledger", "verify", path]).exits(3);
        assert!(undecided.stderr.contains(said), "{}", undecided.stderr);
    }
}

/// An archive is plain ustar: what GNU tar or pax add to it could give a file another name than other tools see.
#[test]
fn d1_an_archive_with_extended_headers_is_no_export() {
    let (yard, _) = yard();
    export(&yard, &["audit.tar"]);
    let all = fs::read(yard.path("audit.tar")).unwrap();
    strangers(&yard, "audit.tar", &[]).exits(0);
    for kind in [b'L', b'K', b'x', b'g'] {
        let mut header = tar::Header::new_ustar();
        header.set_path("long").unwrap();
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_size(512);
        header.set_cksum();
        let mut content = b"12 path=vkey\n".to_vec();
        content.resize(512, 0);
        let bytes = [header.as_bytes().as_slice(), &content, &all].concat();
        fs::write(yard.path("more.tar"), bytes).unwrap();
        let refused = strangers(&yard, "more.tar", &[]).exits(3);
        assert!(refused.stderr.contains("expected plain ustar"), "{}", refused.stderr);
    }
}

/// An export without what its records name is not intact, also where `index.json` does not ask for it.
#[test]
fn d1_an_export_stripped_of_its_keys_is_not_intact() {
    let (yard, _) = yard();
    export(&yard, &["audit"]);
    let audit = yard.path("audit");
    let policy = Digest::of(yard.read("samebits.toml").as_bytes()).hex();
    for folder in ["keys", "policies", "roots", "evidence"] {
        drop(fs::remove_dir_all(audit.join(folder)));
    }
    let mut index: Value = serde_json::from_slice(&fs::read(audit.join("index.json")).unwrap()).unwrap();
    index["evidence"] = json!([]);
    fs::write(audit.join("index.json"), index.to_string()).unwrap();
    let found = strangers(&yard, "audit", &["--vkey", &vkey(&yard)]).exits(1).json();
    assert_eq!((&found["intact"], &found["unchecked"][5]["record"]), (&json!(false), &json!(5)), "{found:#}");
    let said = format!("evidence/sha256/{policy} is missing: record 0 relied on it");
    assert!(found["findings"].to_string().contains(&said), "{found:#}");
}

/// Keys that nothing but the export vouches for are believed by nobody; who cannot check a record does not say yes.
#[test]
fn d1_a_key_that_no_record_names_is_not_believed() {
    let yard = crate::control::yard();
    crate::control::staged(&yard, "v1");
    // A deployment, and no decision that says whose it is.
    export(&yard, &["part", "--since", "2"]);
    let untold = strangers(&yard, "part", &["--vkey", &vkey(&yard)]).exits(3).json();
    assert_eq!((&untold["intact"], &untold["findings"]), (&json!(false), &json!([])), "{untold:#}");
    assert_eq!(untold["unchecked"][0]["record"], 2, "{untold:#}");
    assert!(!untold["unnamed"].as_array().unwrap().is_empty(), "{untold:#}");
    let stranger = Yard::empty();
    let text = stranger.run(["ledger", "verify", yard.path("part").to_str().unwrap()]).exits(3).stdout;
    assert!(text.starts_with("not all could be checked") && text.contains("record 2 could not be"), "{text}");
    // With the policy, it can be checked.
    let told = yard.run(["ledger", "verify", "part", "-o", "json"]).exits(0).json();
    assert_eq!((&told["unchecked"], &told["unnamed"]), (&json!([]), &json!([])), "{told:#}");
}

/// The whole control lane of an earlier day, with its own signed head: what the records saw tells.
#[test]
fn d2_an_older_control_lane_in_an_export_is_found() {
    let yard = crate::control::yard();
    let image = crate::control::staged(&yard, "v1");
    crate::control::revoke(&yard, &["--signer", "production", "--reason", "early"]).exits(0);
    export(&yard, &["early"]);
    crate::control::revoke(&yard, &[&image.digest.to_string(), "--reason", "CVE-2030-1"]).exits(0);
    yard.promote(&at("staging", &image), "production").exits(1);
    export(&yard, &["audit"]);
    let (early, audit) = (yard.path("early"), yard.path("audit"));
    fs::remove_dir_all(audit.join("control")).unwrap();
    fs::rename(early.join("control"), audit.join("control")).unwrap();
    let index = |folder: &Path| -> Value {
        serde_json::from_slice(&fs::read(folder.join("index.json")).unwrap()).unwrap()
    };
    let mut changed = index(&audit);
    changed["control"] = index(&early)["control"].take();
    fs::write(audit.join("index.json"), changed.to_string()).unwrap();
    let found = strangers(&yard, "audit", &["--vkey", &vkey(&yard)]).exits(1).json();
    let said = "record 3 is not valid: its author had seen a control lane of 2 records";
    assert!(found["findings"].to_string().contains(said), "{found:#}");
    // And the README says how many control records there were.
    assert!(found["findings"].to_string().contains("README.md was changed"), "{found:#}");
    assert_eq!(found["findings"].as_array().unwrap().len(), 2, "{found:#}");
}

/// B5: evidence that was gone when it was exported is said to be, by both.
#[test]
fn b5_an_export_says_what_was_no_longer_there() {
    let (yard, image) = yard();
    let hex = image.digest.hex();
    let connection = rusqlite::Connection::open(yard.path(".samebits/ledger.db")).unwrap();
    connection.execute_batch(&format!("DELETE FROM kept WHERE digest = x'{hex}'")).unwrap();
    let said = yard.run(["ledger", "export", "audit", "-o", "json"]).exits(1).json();
    assert_eq!(said["missing"], json!([{ "record": 0, "digest": image.digest }]), "{said:#}");
    let found = yard.run(["ledger", "verify", "audit", "-o", "json"]).exits(1).json();
    let expected = format!("evidence/sha256/{hex} is missing: record 0 relied on it");
    assert_eq!(found["findings"], json!([expected]), "{found:#}");
    let readme = String::from_utf8(files(&yard.path("audit"))["README.md"].clone()).unwrap();
    assert!(readme.contains("1 pieces of evidence were no longer in the ledger"), "{readme}");
}

#[test]
fn d1_a_record_is_proved_to_whoever_has_it_and_the_key() {
    let (yard, _) = yard();
    let vkey = vkey(&yard);
    let text = yard.run(["ledger", "prove", "4"]).exits(0).stdout;
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nindex 4\n"), "{text}");
    let document = yard.run(["ledger", "prove", "4", "-o", "json"]).exits(0).json();
    assert_eq!(document["proof"], text);
    let digest = document["digest"].as_str().unwrap();
    assert_eq!(yard.run(["ledger", "prove", digest]).exits(0).stdout, text);
    yard.run(["ledger", "prove", "4", "--to", "4.tlog-proof", "--with-record"]).exits(0);
    assert_eq!(yard.read("4.tlog-proof"), text);
    assert_eq!(Digest::of(yard.read("4.json").as_bytes()).to_string(), digest);
    let proved = strangers(&yard, "4.tlog-proof", &["--vkey", &vkey]).exits(0).json();
    assert_eq!((&proved["proved"], &proved["record"]), (&json!(true), &json!(4)));
    yard.run(["ledger", "verify", "4.tlog-proof"]).exits(0);
    // Nothing is overwritten, a proof does not say whose it is, and there are six records.
    yard.run(["ledger", "prove", "4", "--to", "4.tlog-proof"]).exits(2);
    let whose = strangers(&yard, "4.tlog-proof", &[]).exits(2);
    assert!(whose.stderr.contains("expected --vkey"), "{}", whose.stderr);
    yard.run(["ledger", "prove", "6"]).exits(2);
    // Of another record, another place, another log.
    let record = yard.read("4.json");
    yard.write("4.json", record.replacen("\"payload\":\"", "\"payload\":\"A", 1));
    let not = strangers(&yard, "4.tlog-proof", &["--vkey", &vkey]).exits(1).json();
    assert!(not["why"].as_str().unwrap().contains("entry 4 is not in the log of 6 entries"), "{not:#}");
    yard.write("4.json", record);
    yard.write("4.tlog-proof", text.replace("index 4", "index 5"));
    strangers(&yard, "4.tlog-proof", &["--vkey", &vkey]).exits(1);
    yard.write("4.tlog-proof", &text);
    strangers(&yard, "4.tlog-proof", &["--vkey", &self::vkey(&Yard::new())]).exits(1);
    yard.write("4.tlog-proof", text.replace("tlog-proof@v1", "tlog-proof@v2"));
    strangers(&yard, "4.tlog-proof", &["--vkey", &vkey]).exits(3);
}

/// Both lanes of a real export, by Go's sumdb packages and torchwood.
#[test]
fn d1_tools_that_are_not_ours_believe_an_export_and_no_forged_one() {
    if !peer::is_installed("tlog-peer") {
        return;
    }
    let (yard, _) = yard();
    export(&yard, &["audit"]);
    let ask = |folder: &str| {
        peer::said(peer::alone("tlog-peer", &yard.path("audit")).args(["export", folder]))
            .map(|said| String::from_utf8(said).unwrap())
    };
    assert_eq!(ask(".").unwrap(), "shop.example/promotions: 6 entries, 6 proofs\n");
    assert_eq!(ask("control").unwrap(), "shop.example/promotions/control: 2 entries, 0 proofs\n");
    let record = yard.path("audit/records/3.json");
    let mut bytes = fs::read(&record).unwrap();
    bytes[9] ^= 1;
    fs::write(record, bytes).unwrap();
    assert!(ask(".").unwrap_err().contains("3.tlog-proof"));
}

/// Appends to the control lane with the log's key.
fn append_control(yard: &Yard, bytes: &[u8]) {
    let signer: LogSigner = yard.read("keys/ledger.key").trim().parse().unwrap();
    let (base, vkey) = (yard.path(""), signer.vkey().clone());
    let mut ledger = Ledger::open("sqlite:.samebits/ledger.db", &base, &vkey, Some(signer)).unwrap();
    let size = ledger.control().unwrap().head().size();
    let _appended = ledger.append_control(size, bytes).unwrap();
}

/// The control lane is whole in every export, and so are its signatures: also where the main lane is not.
#[test]
fn d1_in_a_partial_export_a_forged_control_record_is_found() {
    let (yard, _) = yard();
    let last = ["part", "--since", "5"];
    export(&yard, &last);
    let vkey = vkey(&yard);
    let good = strangers(&yard, "part", &["--vkey", &vkey]).exits(0).json();
    assert_eq!((&good["whole"], &good["uncheckedControl"]), (&json!(false), &json!([])), "{good:#}");
    // What a revoker signed, with another reason.
    let mut bundle: Value =
        serde_json::from_slice(&fs::read(yard.path("part/control/0.json")).unwrap()).unwrap();
    let payload = STANDARD.decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    let other = String::from_utf8(payload).unwrap().replace("CVE-2030-1", "CVE-2030-2");
    bundle["dsseEnvelope"]["payload"] = STANDARD.encode(other).into();
    append_control(&yard, bundle.to_string().as_bytes());
    fs::remove_dir_all(yard.path("part")).unwrap();
    export(&yard, &last);
    let found = strangers(&yard, "part", &["--vkey", &vkey]).exits(1).json();
    assert!(found["findings"].to_string().contains("control record 2 is not valid"), "{found:#}");
    // By somebody whom no rule here knows: nobody can tell, here and where all of the log is there.
    let (yard, _) = self::yard();
    let stranger = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "x", "digest": { "sha256": "00".repeat(32) } }],
        "predicateType": "https://stranger.example/v1",
        "predicate": {},
    });
    append_control(&yard, &sign_statement(statement.to_string().as_bytes(), &stranger).unwrap());
    let vkey = self::vkey(&yard);
    for part in [&["part", "--since", "5"][..], &["whole"]] {
        export(&yard, part);
        let untold = strangers(&yard, part[0], &["--vkey", &vkey]).exits(3).json();
        assert_eq!(untold["uncheckedControl"][0]["record"], 2, "{untold:#}");
        assert_eq!(untold["findings"], json!([]), "{untold:#}");
    }
    let text = yard.run(["ledger", "verify", "part"]).exits(3).stdout;
    assert!(text.contains("control record 2 could not be checked: "), "{text}");
}
