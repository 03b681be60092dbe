//! `doctor`: what it reads, what it says, what it exits with.

use snapbox::{Data, assert_data_eq, file};

use crate::cli::Yard;

/// A yard whose policy has nothing to find, and these files.
fn yard(files: &[(&str, &str)]) -> Yard {
    let yard = Yard::new();
    // The table that `init` leaves to be filled in.
    yard.edit_policy(|text| {
        ["[environments", "signer =", "builder =", "source =", "ref ="]
            .iter()
            .fold(text, |text, line| text.replace(&format!("# {line}"), line))
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

/// What cannot be listed is not "there are none".
#[cfg(unix)]
#[test]
fn doctor_that_cannot_list_a_folder_has_no_answer() {
    use std::os::unix::ffi::OsStrExt as _;

    let untold = |yard: &Yard| {
        let json = yard.run(["doctor", "-o", "json"]).exits(3).json();
        let all = json["untold"].as_array().unwrap().iter();
        all.map(|one| format!("{}: {}", one["what"].as_str().unwrap(), one["why"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    // Behind a link.
    let linked = yard(&[("elsewhere/a.yml", BAD)]);
    std::fs::create_dir(linked.path(".github")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", linked.path(".github/workflows")).unwrap();
    assert_eq!(untold(&linked), [".github/workflows: it is no folder, or lies behind a link"]);
    // Too many to list: whichever come last would not be seen.
    let many = yard(&[(".github/workflows/a.yml", GOOD)]);
    for number in 0..1_000 {
        many.write(&format!(".github/workflows/{number}.txt"), "");
    }
    assert_eq!(untold(&many), [".github/workflows: it has more than 1000 entries"]);
    // A name that is no text, a folder that is too deep.
    let odd = yard(&[(".github/workflows/a.yml", GOOD), (".github/actions/1/2/3/4/action.yml", "a: 1")]);
    let name = std::ffi::OsStr::from_bytes(b"\xff.yml");
    std::fs::write(odd.path(".github/workflows").join(name), BAD).unwrap();
    assert_eq!(
        untold(&odd),
        [
            "\u{fffd}.yml: a name in .github/workflows that is no text",
            ".github/actions/1/2/3/4: it is too deep"
        ]
    );
    // An error that is not absence.
    let long = format!("include: [ {{ local: /{}.yml }} ]\n", "x".repeat(300));
    let untold = untold(&yard(&[(".gitlab-ci.yml", &long)]));
    assert!(untold[0].contains("File name too long"), "{untold:?}");
}

/// The files that we ship, and what the documentation shows, are what doctor would have them be.
#[test]
fn our_own_files_and_examples_have_nothing_to_find() {
    let home = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let yard = Yard::new();
    for (repository, file, policy) in [
        ("", "action.yml", "release/samebits.toml"),
        ("examples/github", ".github/workflows/release.yml", "examples/github/samebits.toml"),
        ("examples/gitlab", ".gitlab-ci.yml", "examples/samebits.toml"),
    ] {
        let policy = home.join(policy);
        let repository = home.join(repository);
        let words =
            ["--policy", policy.to_str().unwrap(), "doctor", "--repository", repository.to_str().unwrap()];
        let ran = yard.run(words);
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains(&format!("  {file}\n")), "{}", ran.stdout);
    }
    // Each snippet is a file of its own.
    let mut read = 0;
    for page in ["README.md", "docs/ci.md", "docs/github.md", "docs/gitlab.md"] {
        let text = std::fs::read_to_string(home.join(page)).unwrap();
        for snippet in text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
            let gitlab = snippet.contains("include:") || snippet.contains("script:");
            let name = if gitlab { ".gitlab-ci.yml" } else { ".github/workflows/a.yml" };
            let snippet = snippet.replace("@COMMIT", "@0123456789abcdef0123456789abcdef01234567");
            let ran = self::yard(&[(name, &snippet)]).run(["doctor"]);
            assert_eq!(ran.code, Some(0), "{page}\n{snippet}\n{}", ran.stdout);
            read += 1;
        }
    }
    assert!(read >= 4, "{read} snippets");
}

/// One answer for every question, on a socket.
fn forge(
    body: &'static str,
    status: &'static str,
) -> (String, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = std::sync::Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).unwrap_or(0) == 0 {
                    break;
                }
                head.push(byte[0]);
            }
            kept.lock().unwrap().push(String::from_utf8(head).unwrap());
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (api, asked)
}

const ENVIRONMENTS: &str = r#"{ "total_count": 1, "environments": [{ "name": "staging", "can_admins_bypass": true,
    "protection_rules": [], "deployment_branch_policy": null }] }"#;

fn at_github(yard: &Yard, api: &str, more: &[&str]) -> crate::cli::Ran {
    let mut command = yard.command(["doctor", "-o", "json"].into_iter().chain(more.iter().copied()));
    command.env("GITHUB_API_URL", api).env("GITHUB_REPOSITORY", "acme/shop").env("GH_TOKEN", "secret-token");
    crate::cli::ran(&mut command)
}

#[test]
fn doctor_asks_the_forge_where_it_has_a_token() {
    let yard = yard(&[(".github/workflows/release.yml", GOOD)]);
    let (api, asked) = forge(ENVIRONMENTS, "200 OK");
    let ran = at_github(&yard, &api, &[]).exits(1);
    let json = ran.json();
    let found: Vec<_> = json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["code"].clone(), it["environment"].clone()))
        .collect();
    let unprotected = |name: &str| ("environment-unprotected".into(), name.into());
    assert_eq!(found, [unprotected("staging"), unprotected("production")]);
    assert_eq!(json["findings"][0]["forge"], "github");
    let heads = asked.lock().unwrap().join("");
    assert!(heads.starts_with("GET /repos/acme/shop/environments?per_page=100 "), "{heads}");
    assert!(heads.contains("authorization: Bearer secret-token"), "{heads}");
    // Not where it is told not to; and never without a token, or for a forge whose workflows are not here.
    let offline = at_github(&yard, &api, &["--offline"]).exits(0).json();
    assert_eq!(offline["skipped"][0]["why"], "--offline");
    let bare = yard.run(["doctor", "-o", "json"]).exits(0).json();
    assert!(bare["skipped"][0]["why"].as_str().unwrap().contains("no token"), "{bare:#}");
    at_github(&self::yard(&[]), &api, &[]).exits(0);
    assert_eq!(asked.lock().unwrap().len(), 1);
    // A certificate authority of the policy that is looked at, which may be a stranger's, is for registries alone (F1).
    yard.edit_policy(|text| text + "\n[registries.\"registry.example\"]\nca = \"keys/none.pem\"\n");
    at_github(&yard, &api, &[]).exits(1);
    assert_eq!(asked.lock().unwrap().len(), 2);
}

/// With a token, no answer is no answer; beside a finding the finding counts, and the question stays open.
#[test]
fn doctor_that_the_forge_does_not_answer_has_no_answer() {
    let good = yard(&[(".github/workflows/release.yml", GOOD)]);
    for (body, status, said) in [
        (r#"{ "message": "Bad credentials" }"#, "401 Unauthorized", "401: Bad credentials"),
        ("<html>", "200 OK", "an answer that is none"),
        (r#"{ "message": "Not Found" }"#, "404 Not Found", "no such project"),
    ] {
        let ran = at_github(&good, &forge(body, status).0, &[]).exits(3);
        let json = ran.json();
        let why = json["untold"][0]["why"].as_str().unwrap();
        assert!(why.contains(said) && why.starts_with("GitHub"), "{why}");
        assert!(!ran.stdout.contains("secret-token") && !ran.stderr.contains("secret-token"));
    }
    let bad = yard(&[(".github/workflows/release.yml", BAD)]);
    let json = at_github(&bad, &forge("", "401 Unauthorized").0, &[]).exits(1).json();
    assert_eq!(json["untold"].as_array().unwrap().len(), 1);
}

#[test]
fn doctor_asks_gitlab_for_protected_environments() {
    let yard = yard(&[(".gitlab-ci.yml", "gate:\n  script: [samebits promote x --to production]\n")]);
    let body = r#"[{ "name": "production", "deploy_access_levels": [{ "access_level": 30 }] },
                   { "name": "staging", "deploy_access_levels": [{ "access_level": 40 }] }]"#;
    let (api, asked) = forge(body, "200 OK");
    let mut command = yard.command(["doctor", "-o", "json"]);
    command
        .env("CI_API_V4_URL", format!("{api}/api/v4"))
        .env("CI_PROJECT_ID", "7")
        .env("GITLAB_TOKEN", "secret-token");
    let json = crate::cli::ran(&mut command).exits(1).json();
    assert_eq!(json["findings"].as_array().unwrap().len(), 1, "{json:#}");
    assert_eq!(json["findings"][0]["code"], "environment-too-open");
    let heads = asked.lock().unwrap().join("");
    assert!(heads.starts_with("GET /api/v4/projects/7/protected_environments?"), "{heads}");
    assert!(heads.contains("private-token: secret-token"), "{heads}");
}
