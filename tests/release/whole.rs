//! What a tag becomes: a release, or nothing.

use std::collections::BTreeMap;

use super::forge::{Fault, Forge, Jobs, VERSION, expand};
use crate::peer;
use crate::runner::here;

const ALL: [&str; 9] =
    ["attest", "build", "extras", "image", "publish", "staging", "to-production", "to-staging", "version"];

fn tag() -> String {
    format!("v{VERSION}")
}

/// What every job said, for a failure of the test.
fn logs(jobs: &Jobs) -> String {
    jobs.iter().map(|(name, done)| format!("== {name}: {:?}\n{}", done.succeeded, done.log)).collect()
}

/// This job failed, with these words; what needs it did not begin, and there is no release.
#[track_caller]
fn stopped(forge: &Forge, jobs: &Jobs, at: &str, words: &str, skipped: &[&str]) {
    assert_eq!(jobs[at].succeeded, Some(false), "{}", logs(jobs));
    assert!(jobs[at].log.contains(words), "{words:?} was not said\n{}", logs(jobs));
    for name in ALL {
        let expected = match name {
            name if name == at => Some(false),
            name if skipped.contains(&name) => None,
            _ => Some(true),
        };
        assert_eq!(jobs[name].succeeded, expected, "{name}\n{}", logs(jobs));
    }
    assert_eq!(forge.published(), None);
    // What the image that is in production is called there.
    if jobs["to-production"].succeeded != Some(true) {
        for name in ["latest", VERSION] {
            let manifest = format!("/v2/samebits/samebits/manifests/{name}");
            assert_eq!(forge.registry.ask("GET", &manifest), Some(404), "{name}");
        }
    }
}

#[test]
fn a_tag_that_is_not_the_version_starts_nothing() {
    let Some(mut forge) = Forge::with("v0.0.9") else { return };
    let jobs = forge.push();
    let rest: Vec<&str> = ALL.into_iter().filter(|name| *name != "version").collect();
    stopped(&forge, &jobs, "version", "::error::the tag is v0.0.9", &rest);
}

/// One release with everything that can go wrong on its way; each time the workflow stops, and goes on when it is mended.
#[test]
fn nothing_is_published_before_all_of_it_is_there() {
    let Some(mut forge) = Forge::with(&tag()) else { return };
    let mac = format!("samebits-aarch64-apple-darwin/samebits-{VERSION}-aarch64-apple-darwin");
    let from_staging_on = ["staging", "to-production", "publish"];

    // 1. A binary is not among the artifacts.
    forge.fault = Some(Fault::Lost { job: "attest", file: mac.clone() });
    let jobs = forge.push();
    let rest = ["image", "to-staging", "staging", "to-production", "publish"];
    stopped(&forge, &jobs, "attest", "aarch64-apple-darwin: No such file", &rest);
    std::fs::write(forge.artifact(&mac), "built again").unwrap();

    // 2. The promoter says no, exit code 1, for nobody signed the image.
    forge.fault = Some(Fault::Skipped { file: "image-build.yml", step: "Sign", only: "" });
    let jobs = forge.again(jobs);
    stopped(&forge, &jobs, "to-staging", "✗ signed-by ", &from_staging_on);
    assert!(jobs["to-staging"].log.ends_with("exit code 1\n"), "{}", logs(&jobs));
    let staging = "/v2/samebits/samebits/staging/manifests/staging";
    assert_eq!(forge.registry.ask("GET", staging), Some(404));

    // 3. A binary is another than the attested one when the image is made of it, or when it is to decide.
    let linux = |machine: &str| {
        format!("samebits-{machine}-unknown-linux-musl/samebits-{VERSION}-{machine}-unknown-linux-musl")
    };
    let mut jobs = jobs;
    for (job, machine, skipped) in [
        ("image", "aarch64", &["to-staging", "staging", "to-production", "publish"][..]),
        ("to-staging", "x86_64", &from_staging_on),
    ] {
        let built = std::fs::read(forge.artifact(&linux(machine))).unwrap();
        forge.fault = Some(Fault::Changed { job, file: linux(machine) });
        jobs = forge.from(job, jobs);
        stopped(&forge, &jobs, job, "is not what was attested", skipped);
        std::fs::write(forge.artifact(&linux(machine)), built).unwrap();
    }

    // 4. The key of the ledger is no secret of the environment.
    forge.fault = Some(Fault::NoSecret);
    jobs = forge.from("image", jobs);
    stopped(&forge, &jobs, "to-staging", "the secret SAMEBITS_LEDGER_KEY is not set", &from_staging_on);

    // 5. Staging has left no record; and then, of one platform.
    for only in ["", "arm64"] {
        forge.fault = Some(Fault::Skipped { file: "image-staging.yml", step: "Run it, and say so", only });
        jobs = forge.from("staging", jobs);
        stopped(&forge, &jobs, "to-production", "✗ deployed ", &["publish"]);
        assert!(jobs["to-production"].log.ends_with("exit code 1\n"), "{}", logs(&jobs));
    }

    // 6. A binary is gone, or is another, when the release is made.
    forge.fault = Some(Fault::Changed { job: "publish", file: mac.clone() });
    jobs = forge.from("staging", jobs);
    stopped(&forge, &jobs, "publish", "computed checksum did NOT match", &[]);
    forge.fault = Some(Fault::Lost { job: "publish", file: mac.clone() });
    jobs = forge.again(jobs);
    stopped(&forge, &jobs, "publish", "No such file", &[]);
    std::fs::write(forge.artifact(&mac), "built again").unwrap();
    let bundle = "attested/SHA256SUMS.sigstore.json";
    let kept = std::fs::read(forge.artifact(bundle)).unwrap();
    forge.fault = Some(Fault::Lost { job: "publish", file: bundle.to_owned() });
    jobs = forge.again(jobs);
    stopped(&forge, &jobs, "publish", "SHA256SUMS.sigstore.json is missing: nothing is published", &[]);
    std::fs::write(forge.artifact(bundle), kept).unwrap();

    // 7. All of it is there.
    forge.fault = None;
    let jobs = forge.again(jobs);
    assert!(ALL.iter().all(|name| jobs[*name].succeeded == Some(true)), "{}", logs(&jobs));
    released(&forge, &jobs);
}

/// What somebody can find out who has the release, and nothing else.
fn released(forge: &Forge, jobs: &Jobs) {
    let binary = |target: &str| format!("samebits-{VERSION}-{target}");
    let linux = binary("x86_64-unknown-linux-musl");
    let mut expected = vec![
        "SHA256SUMS".to_owned(),
        "SHA256SUMS.sigstore.json".to_owned(),
        format!("samebits-{VERSION}-completions-and-man.tar.gz"),
        format!("samebits-{VERSION}.cdx.json"),
        format!("samebits-{VERSION}.provenance.sigstore.json"),
        linux.clone(),
    ];
    let others = [
        "aarch64-apple-darwin",
        "aarch64-unknown-linux-musl",
        "x86_64-apple-darwin",
        "x86_64-pc-windows-msvc.exe",
    ];
    expected.extend(others.map(binary));
    expected.sort();
    assert_eq!(forge.published(), Some(expected));

    // As release/README.md says, under "Who checks it".
    let folder = forge.yard.path("published").join(tag());
    peer::said(peer::alone("sha256sum", &folder).args(["--check", "--strict", "SHA256SUMS"])).unwrap();
    let readme = std::fs::read_to_string(here("release/README.md")).unwrap();
    let identity = |tag: &str| {
        format!("https://github.com/samebits/samebits/.github/workflows/release.yml@refs/tags/{tag}")
    };
    assert!(readme.contains(&format!("--certificate-identity {}", identity(&tag()))));
    let root = forge.yard.path("documents/trusted_root.json");
    let checked = |tag: &str| {
        let mut cosign = peer::alone("cosign", &folder);
        cosign.args(["verify-blob", "SHA256SUMS", "--bundle", "SHA256SUMS.sigstore.json"]);
        cosign.args(["--certificate-oidc-issuer", "https://token.actions.githubusercontent.com"]);
        cosign.args(["--certificate-identity", &identity(tag)]).arg("--trusted-root").arg(&root);
        peer::said(&mut cosign)
    };
    checked(&tag()).unwrap();
    checked("v9.9.9").unwrap_err();
    let verify = |file: &str, tag: &str| {
        let provenance = folder.join(format!("samebits-{VERSION}.provenance.sigstore.json"));
        let (file, provenance) = (folder.join(file), provenance.to_str().unwrap().to_owned());
        forge.yard.run([
            "verify-file",
            file.to_str().unwrap(),
            "--bundle",
            &provenance,
            "--issuer",
            "https://token.actions.githubusercontent.com",
            "--identity",
            &identity(tag),
            "--trusted-root",
            root.to_str().unwrap(),
        ])
    };
    verify(&linux, &tag()).exits(0);
    verify(&linux, "v9.9.9").exits(1);
    verify("SHA256SUMS.sigstore.json", &tag()).exits(1);

    // The image that the release names is in production, by its version and as the latest; and the log says how it came there.
    let image = &jobs["to-production"].outputs["image"];
    assert!(forge.yard.read("published/notes").contains(&format!("`{image}`")), "{image}");
    let (repository, digest) = image.split_once('@').unwrap();
    assert_eq!(repository, format!("{}/samebits/samebits", forge.registry.host()));
    for name in ["latest", VERSION] {
        let there = forge.yard.tagged(repository, name).map(|digest| digest.to_string());
        assert_eq!(there.as_deref(), Some(digest), "{name}");
    }
    forge.ask(&["ledger", "verify"]).exits(0);
}

#[test]
fn an_expression_that_is_not_known_is_an_error() {
    let known = BTreeMap::from([("github.token".to_owned(), "t".to_owned())]);
    assert_eq!(expand("a ${{ github.token }} b", &known), "a t b");
    for text in ["${{ github.tokens }}", "${{ always() }}", "${{ github.token || 'x' }}"] {
        assert!(std::panic::catch_unwind(|| expand(text, &known)).is_err(), "{text}");
    }
}
