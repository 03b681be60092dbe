//! `doctor`: what it reads, what it says, what it exits with.

use snapbox::{Data, assert_data_eq, file};

use crate::cli::Yard;

/// A yard whose policy has nothing to find, and these files.
fn yard(files: &[(&str, &str)]) -> Yard {
    let yard = Yard::new();
    yard.edit_policy(|text| {
        text.replacen("ref = \"refs/heads/main\"", "ref = \"refs/heads/main\"", 1)
            .replace(
                "# [environments.staging.require.provenance]\n# signer",
                "[environments.staging.require.provenance]\nsigner",
            )
            .replace("# builder =", "builder =")
            .replace("# source =", "source =")
            .replace("# ref =", "ref =")
    });
    for (name, text) in files {
        std::fs::create_dir_all(yard.path(name).parent().unwrap()).unwrap();
        yard.write(name, text);
    }
    yard
}

const GOOD: &str = "on: push\njobs:\n  gate:\n    runs-on: ubuntu-24.04\n    steps:\n      - run: samebits promote x --to production\n";

const BAD: &str = "\
on: pull_request
jobs:
  gate:
    runs-on: ubuntu-24.04
    steps:
      - uses: actions/checkout@0123456789abcdef0123456789abcdef01234567
      - run: |
          samebits promote registry.example/shop:1 --to production | tee log
          kubectl set image deployment/shop shop=registry.example/shop:1
        continue-on-error: true
";

#[test]
fn doctor_says_what_it_found_and_how_to_fix_it() {
    let yard = yard(&[(".github/workflows/release.yml", BAD)]);
    let ran = yard.run(["doctor"]).exits(1);
    assert_data_eq!(Data::text(ran.stdout.clone()).raw(), file!["doctor.txt"].raw());
    let json = yard.run(["doctor", "-o", "json"]).exits(1).json();
    let codes: Vec<&str> =
        json["findings"].as_array().unwrap().iter().map(|it| it["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["policy-from-change", "exit-code-lost", "mutable-tag", "failure-ignored"]);
    assert_eq!(
        (&json["findings"][1]["file"], &json["findings"][1]["line"]),
        (&".github/workflows/release.yml".into(), &8.into())
    );
}

#[test]
fn doctor_that_finds_nothing_says_what_it_looked_at_and_what_not() {
    let good = yard(&[(".github/workflows/release.yml", GOOD)]);
    let ran = good.run(["doctor"]).exits(0);
    assert!(ran.stdout.starts_with("nothing found\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("  samebits.toml\n  .github/workflows/release.yml\n"), "{}", ran.stdout);
    let none = yard(&[]).run(["doctor", "-o", "json"]).exits(0).json();
    assert!(none["skipped"][0]["why"].as_str().unwrap().contains("there are none"), "{none:#}");
    // From below, and from elsewhere.
    std::fs::create_dir_all(good.path(".git")).unwrap();
    std::fs::create_dir_all(good.path("sub")).unwrap();
    let mut below = good.command(["doctor", "-o", "json"]);
    let below = crate::cli::ran(below.current_dir(good.path("sub"))).exits(0).json();
    assert_eq!(below["looked"], serde_json::json!(["samebits.toml", ".github/workflows/release.yml"]));
    let sub = good.run(["doctor", "--repository", "sub"]).exits(0);
    assert!(sub.stdout.contains("there are none"), "{}", sub.stdout);
    good.run(["doctor", "--repository", "absent"]).exits(2);
    good.run(["doctor", "--repository", ""]).exits(2);
}

/// What `init` writes has one finding, and its comment says how to fill it in: which source, it cannot know.
#[test]
fn doctor_about_the_policy_of_init_asks_for_the_source_alone() {
    let json = Yard::new().run(["doctor", "-o", "json"]).exits(1).json();
    let findings = json["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{json:#}");
    assert_eq!(findings[0]["code"], "source-not-required");
}

/// A file that cannot be read is neither good nor bad; with a finding beside it the answer is no.
#[test]
fn doctor_that_cannot_read_a_file_has_no_answer() {
    let broken = ("action.yml", "a: [");
    let ran = yard(&[(".github/workflows/a.yml", GOOD), broken]).run(["doctor"]).exits(3);
    assert!(ran.stdout.contains("could not be looked at\n  action.yml: it is no YAML"), "{}", ran.stdout);
    yard(&[(".github/workflows/a.yml", BAD), broken]).run(["doctor"]).exits(1);
    #[cfg(unix)]
    {
        // A link may lead anywhere, and what is no file may never end.
        let yard = yard(&[(".github/workflows/a.yml", GOOD)]);
        std::os::unix::fs::symlink("/dev/zero", yard.path(".gitlab-ci.yml")).unwrap();
        let json = yard.run(["doctor", "-o", "json"]).exits(3).json();
        assert_eq!(json["untold"][0]["what"], ".gitlab-ci.yml");
        std::fs::remove_file(yard.path(".gitlab-ci.yml")).unwrap();
        yard.write(".gitlab-ci.yml", "include: [ { local: ../../../../etc/passwd } ]\n");
        let json = yard.run(["doctor", "-o", "json"]).exits(3).json();
        assert_eq!(json["looked"].as_array().unwrap().len(), 3, "{json:#}");
    }
    yard(&[(".gitlab-ci.yml", &"#".repeat(1 << 20 | 1))]).run(["doctor"]).exits(3);
}

/// The files that we ship, and what the documentation shows, are what doctor would have them be.
#[test]
fn our_own_files_and_examples_have_nothing_to_find() {
    let home = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let policy = home.join("examples/samebits.toml");
    let yard = Yard::new();
    let ran =
        yard.run(["--policy", policy.to_str().unwrap(), "doctor", "--repository", home.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("  action.yml\n"), "{}", ran.stdout);
    // A page at a time, for each snippet is a file of its own.
    for (page, name) in [
        ("docs/github.md", ".github/workflows/a.yml"),
        ("docs/gitlab.md", ".gitlab-ci.yml"),
        ("README.md", ".github/workflows/a.yml"),
    ] {
        let text = std::fs::read_to_string(home.join(page)).unwrap();
        for snippet in text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
            let snippet = snippet.replace("@COMMIT", "@0123456789abcdef0123456789abcdef01234567");
            let yard = self::yard(&[(name, &snippet)]);
            let ran = yard.run(["doctor"]);
            assert_eq!(ran.code, Some(0), "{page}\n{snippet}\n{}", ran.stdout);
        }
    }
}
