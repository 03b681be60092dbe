//! `verify-file` against the virtual Sigstore: yes for exactly these bytes, this identity, this issuer, this root.

use serde_json::json;

use samebits::digest::Digest;

use crate::cli::{Ran, Yard};
use crate::sigstore::{Sigstore, oidc};

const IDENTITY: &str = "https://github.com/acme/samebits/.github/workflows/release.yml@refs/tags/v1.2.3";
const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

/// A yard with `binary`, its provenance by the release workflow, and the root that knows it.
fn released() -> (Yard, Sigstore) {
    let (yard, sigstore) = (Yard::empty(), Sigstore::start());
    yard.write("trusted_root.json", sigstore.trusted_root());
    yard.write("binary", "the bytes of a release");
    let subject =
        |text: &str| json!({ "name": text, "digest": { "sha256": Digest::of(text.as_bytes()).hex() } });
    // One statement about every binary of the release, as GitHub's action makes it of a list of checksums.
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [subject("for another machine"), subject("the bytes of a release")],
        "predicateType": PROVENANCE,
        "predicate": {},
    });
    let who = sigstore.identity(&oidc::github("acme/samebits", "release.yml", "refs/tags/v1.2.3"));
    yard.write("bundle.json", sigstore.bundle(statement.to_string().as_bytes(), &who, sigstore.now()));
    (yard, sigstore)
}

fn verify(yard: &Yard, file: &str, issuer: &str, identity: &str, more: &[&str]) -> Ran {
    let arguments =
        ["verify-file", file, "--bundle", "bundle.json", "--issuer", issuer, "--identity", identity];
    yard.run(arguments.into_iter().chain(more.iter().copied()))
}

#[test]
fn a_file_is_verified_by_a_bundle_beside_it() {
    let (yard, _sigstore) = released();
    let root = ["--trusted-root", "trusted_root.json"];
    let yes = verify(&yard, "binary", oidc::GITHUB, IDENTITY, &root).exits(0);
    assert!(yes.stdout.starts_with(&format!("verified binary: {PROVENANCE}\n")), "{}", yes.stdout);
    let yes = verify(&yard, "binary", oidc::GITHUB, IDENTITY, &[&root[..], &["-o", "json"]].concat())
        .exits(0)
        .json();
    assert_eq!((&yes["verified"], &yes["predicateType"]), (&json!(true), &json!(PROVENANCE)));
    assert_eq!(yes["digest"], Digest::of(b"the bytes of a release").to_string());
}

#[test]
fn f10_other_bytes_another_signer_and_another_root_are_refused() {
    let (yard, _sigstore) = released();
    let root = ["--trusted-root", "trusted_root.json", "-o", "json"];
    yard.write("other", "the bytes of a thief");
    let refused = |file: &str, issuer: &str, identity: &str, more: &[&str], code: i32| {
        let no = verify(&yard, file, issuer, identity, more).exits(code).json();
        assert_eq!(no["verified"], false, "{no:#}");
        assert_eq!(no["predicateType"], json!(null));
        no["reason"].as_str().unwrap().to_owned()
    };
    refused("other", oidc::GITHUB, IDENTITY, &root, 1);
    let reason = refused("binary", oidc::GITHUB, &IDENTITY.replace("v1.2.3", "v1.2.30"), &root, 1);
    assert!(reason.contains(IDENTITY) && reason.contains("v1.2.30"), "{reason}");
    refused("binary", oidc::GITHUB, &IDENTITY.replace("release.yml", "build.yml"), &root, 1);
    refused("binary", "https://gitlab.com", IDENTITY, &root, 1);
    // The public instance never heard of this authority: no answer.
    refused("binary", oidc::GITHUB, IDENTITY, &["-o", "json"], 3);
    yard.write("bundle.json", yard.read("bundle.json").replacen("\"payload\":\"", "\"payload\":\"AA", 1));
    refused("binary", oidc::GITHUB, IDENTITY, &root, 1);
    yard.write("bundle.json", "{}");
    refused("binary", oidc::GITHUB, IDENTITY, &root, 1);
}

#[test]
fn what_cannot_be_read_is_no_answer_and_what_is_empty_is_no_question() {
    let (yard, _sigstore) = released();
    verify(&yard, "nowhere", oidc::GITHUB, IDENTITY, &[]).exits(3);
    verify(&yard, "binary", oidc::GITHUB, IDENTITY, &["--trusted-root", "nowhere"]).exits(2);
    verify(&yard, "binary", oidc::GITHUB, IDENTITY, &["--trusted-root", "bundle.json"]).exits(2);
    verify(&yard, "binary", oidc::GITHUB, "", &[]).exits(2);
    verify(&yard, "binary", "", IDENTITY, &[]).exits(2);
    yard.run(["verify-file", "binary", "--bundle", "bundle.json"]).exits(2);
}
