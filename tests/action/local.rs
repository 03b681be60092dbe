//! The GitLab example and the component, run job by job by gitlab-ci-local with this build's binary: what one job reports
//! is what the next one deploys.

use std::path::Path;
use std::process::Command;

use super::PROGRAM;
use super::cli::{Ran, Yard, at, ran};
use super::peer;
use super::runner::{executable, here};

/// A project in `yard` whose pipeline is `pipeline`. `None`, which was said, where gitlab-ci-local is not installed.
fn project(yard: &Yard, pipeline: &str) -> Option<()> {
    if !peer::is_installed("gitlab-ci-local") {
        return None;
    }
    yard.write(".gitlab-ci.yml", pipeline);
    std::fs::create_dir(yard.path("templates")).unwrap();
    std::fs::copy(here("templates/promote.yml"), yard.path("templates/promote.yml")).unwrap();
    yard.write("deploy.sh", "#!/bin/sh\necho \"$1 $2\" >>deployed\n");
    executable(&yard.path("deploy.sh"));
    // Variables with a scope, as the project's settings have them: to each job the key that is its own.
    yard.write(
        ".gitlab-ci-local-variables.yml",
        "SAMEBITS_KEY:
  type: variable
  values:
    gate/*: keys/release.key
    staging: keys/staging.key
    production: keys/production.key
",
    );
    std::fs::create_dir(yard.path("bin")).unwrap();
    std::os::unix::fs::symlink(PROGRAM, yard.path("bin/samebits")).unwrap();
    let git = |args: &[&str]| peer::said(peer::alone("git", &yard.path("")).args(args)).unwrap();
    git(&["init", "--quiet", "."]);
    git(&["remote", "add", "origin", "https://gitlab.example/acme/shop.git"]);
    git(&["add", ".gitlab-ci.yml", "templates"]);
    git(&[
        "-c",
        "user.name=acme",
        "-c",
        "user.email=acme@gitlab.example",
        "commit",
        "--quiet",
        "-m",
        "pipeline",
    ]);
    Some(())
}

fn pipeline(yard: &Yard, candidate: &str) -> Ran {
    #[allow(clippy::disallowed_methods, reason = "where the peers are")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = format!("{}:{}", yard.path("bin").display(), path.display());
    let mut command: Command = peer::alone("gitlab-ci-local", &yard.path(""));
    command.args(["--force-shell-executor", "--variable", "CI_COMMIT_REF_PROTECTED=true", "--variable"]);
    ran(command.arg(format!("CANDIDATE={candidate}")).env("PATH", path))
}

fn deployed(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("deployed")).unwrap_or_default()
}

/// The example's own policy, with this yard's registry, ledger and keys.
fn policy_of_the_example(yard: &Yard) {
    let example = std::fs::read_to_string(here("examples/gitlab/samebits.toml")).unwrap();
    let line = |text: &str, key: &str| text.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    yard.edit_policy(|ours| {
        let lines = ["url ", "origin ", "verifier "].into_iter();
        let policy = lines.fold(example, |text, key| text.replace(&line(&text, key), &line(&ours, key)));
        let key = line(&ours, "signing-key ");
        let policy = policy.replace("[signers.build]", &format!("{key}\n[signers.build]"));
        let policy = policy.replace("registry.gitlab.example/acme/shop/staging", "oci:registry/staging/shop");
        let policy =
            policy.replace("registry.gitlab.example/acme/shop/production", "oci:registry/production/shop");
        policy.replace("registry.gitlab.example/acme", "oci:registry")
    });
}

#[test]
fn the_example_goes_to_production() {
    let yard = Yard::new();
    let example = std::fs::read_to_string(here("examples/gitlab/.gitlab-ci.yml")).unwrap();
    let Some(()) = project(&yard, &example) else { return };
    policy_of_the_example(&yard);
    let image = yard.build("1", "first");
    let run = pipeline(&yard, "oci:registry/shop:1");
    let log = run.stdout + &run.stderr;
    assert_eq!(run.code, Some(0), "{log}");
    let both = format!("staging {}\nproduction {}\n", at("staging", &image), at("production", &image));
    assert_eq!(deployed(&yard.path("")), both, "{log}");
    // Each by the key of its own scope.
    let by = |name: &str| yard.records().into_iter().filter(|record| record["names"][0] == name).count();
    assert_eq!((by("release"), by("staging"), by("production")), (4, 1, 1));
}

/// Production wants an hour in staging: it says no, and its deploy job does not run.
#[test]
fn the_example_deploys_what_was_promoted_and_stops_at_a_no() {
    let yard = Yard::new();
    let example = std::fs::read_to_string(here("examples/gitlab/.gitlab-ci.yml")).unwrap();
    let Some(()) = project(&yard, &example) else { return };
    let hour = "{ environment = \"staging\", for-at-least = \"1h\" }";
    yard.edit_policy(|policy| policy.replace("{ environment = \"staging\" }", hour));
    assert!(yard.read("samebits.toml").contains(hour));
    let image = yard.build("1", "first");
    let run = pipeline(&yard, "oci:registry/shop:1");
    let log = run.stdout + &run.stderr;
    assert_ne!(run.code, Some(0), "{log}");
    assert!(log.contains(" PASS  deploy to staging"), "{log}");
    assert!(log.contains(" FAIL  promote to production"), "{log}");
    assert_eq!(deployed(&yard.path("")), format!("staging {}\n", at("staging", &image)), "{log}");
    assert_eq!(yard.phases(&image, "staging"), ["intent", "commit"]);
    let deployments = yard.records().into_iter().filter(|record| record["kind"] == "deployment").count();
    assert_eq!(deployments, 1);
}

#[test]
fn an_image_that_nobody_signed_reaches_no_deploy_job() {
    let yard = Yard::new();
    let example = std::fs::read_to_string(here("examples/gitlab/.gitlab-ci.yml")).unwrap();
    let Some(()) = project(&yard, &example) else { return };
    yard.push("1", "first");
    let run = pipeline(&yard, "oci:registry/shop:1");
    let log = run.stdout + &run.stderr;
    assert!(log.contains(" FAIL  promote to staging"), "{log}");
    assert_eq!(deployed(&yard.path("")), "", "{log}");
}

#[test]
fn the_component_hands_on_the_pinned_reference() {
    let yard = Yard::new();
    let consumer = format!(
        "include:
  - local: templates/promote.yml
    inputs:
      job: promote-to-staging
      command: promote
      runs-in: registry.example/tools/samebits@sha256:{}
      image: $CANDIDATE
      to: staging
      environment: gate/staging
deploy:
  stage: deploy
  needs: [promote-to-staging]
  environment: staging
  script:
    - ': \"${{SAMEBITS_IMAGE:?no promotion said yes}}\"'
    - ./deploy.sh staging \"$SAMEBITS_IMAGE\"
",
        "0".repeat(64)
    );
    let Some(()) = project(&yard, &consumer) else { return };
    let image = yard.build("1", "first");
    let run = pipeline(&yard, "oci:registry/shop:1");
    let log = run.stdout + &run.stderr;
    assert_eq!(run.code, Some(0), "{log}");
    assert_eq!(deployed(&yard.path("")), format!("staging {}\n", at("staging", &image)), "{log}");
}
