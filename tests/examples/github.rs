//! `examples/github`: the workflows hang together, and are run.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::cli::at;
use crate::hub::{File, Hub, WORKFLOWS, children, workflows};
use crate::peer;
use crate::runner::{action, below, here, names};

/// What signs: workflow, job, step, and the inputs of the action.
fn uses(file: &File, action: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut found = Vec::new();
    for job in children(file, "jobs") {
        for number in 0..children(file, &format!("jobs.{job}.steps")).len() {
            let step = format!("jobs.{job}.steps.{number}");
            let used = file.get(&format!("{step}.uses"));
            if used.is_some_and(|used| used.split('@').next() == Some(action)) {
                let with = below(file, &format!("{step}.with"));
                found.push((
                    job.clone(),
                    with.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
                ));
            }
        }
    }
    found
}

fn policy() -> toml::Table {
    std::fs::read_to_string(here("examples/github/samebits.toml")).unwrap().parse().unwrap()
}

#[test]
fn the_same_bytes_go_from_the_build_to_production() {
    let mut hub = Hub::new();
    let jobs = hub.push();
    let logs: String = jobs.values().map(|done| done.log.as_str()).collect();
    for (name, done) in &jobs {
        assert_eq!(done.succeeded, Some(true), "{name}\n{logs}");
    }
    let (staging, production) = (at("staging", &hub.image), at("production", &hub.image));
    assert_eq!(jobs["staging-gate"].outputs["image"], staging);
    assert_eq!(jobs["production-gate"].outputs["image"], production);
    assert_eq!(hub.deployed(), format!("staging {staging}\nproduction {production}\n"));
    // Each record by the workflow whose word it is.
    let signed: Vec<(String, String)> = hub
        .yard
        .records()
        .iter()
        .map(|record| {
            let subject = record["signer"]["subject"].as_str().unwrap();
            let file = subject.split_once("/workflows/").unwrap().1.split('@').next().unwrap();
            (record["environment"].as_str().unwrap().to_owned(), file.to_owned())
        })
        .collect();
    let by = |environment: &str, file: &str| (environment.to_owned(), file.to_owned());
    let expected = ["staging", "production"].map(|environment| {
        let deploy = format!("deploy-{environment}.yml");
        [by(environment, "promote.yml"), by(environment, "promote.yml"), by(environment, &deploy)]
    });
    assert_eq!(signed, expected.concat());
    hub.yard.run(["ledger", "verify"]).exits(0);
}

/// Somebody leaves staging out of the workflow: there is no image for the job that deploys, and nothing to take instead.
#[test]
fn production_before_staging_is_refused_and_nothing_is_deployed() {
    let mut hub = Hub::new();
    let release = hub.workflows.get_mut("release.yml").unwrap();
    release.retain(|path, _| !path.starts_with("jobs.staging"));
    release.retain(|path, _| !path.starts_with("jobs.production-gate.needs"));
    release.insert("jobs.production-gate.needs".to_owned(), "build".to_owned());
    let built = "${{ needs.build.outputs.image }}".to_owned();
    release.insert("jobs.production-gate.with.image".to_owned(), built);
    let jobs = hub.push();
    assert_eq!(jobs["build"].succeeded, Some(true));
    let gate = &jobs["production-gate"];
    assert_eq!((gate.succeeded, gate.outputs["image"].as_str()), (Some(false), ""), "{}", gate.log);
    assert!(gate.log.contains("never-deployed"), "{}", gate.log);
    assert_eq!(jobs["production"].succeeded, None);
    // Nor if it is made to run all the same.
    let (image, built) = (gate.outputs["image"].clone(), jobs["build"].outputs["image"].clone());
    for image in [image, built, at("production", &hub.image)] {
        let forced = hub.call("deploy-production.yml", &[("image", &image), ("permit", "")]);
        assert_eq!(forced["deploy"].succeeded, Some(false), "{image}: {}", forced["deploy"].log);
    }
    assert_eq!(hub.deployed(), "");
    assert!(hub.yard.tagged_if_there("oci:registry/production/shop", "production").is_none());
}

/// Somebody leaves the gate of production out: the permit that is there is for staging, or for other bytes.
#[test]
fn a_permit_for_something_else_deploys_nothing() {
    let mut hub = Hub::new();
    let jobs = hub.push();
    let deployed = hub.deployed();
    let of = |job: &str| jobs[job].outputs["permit"].clone();
    let (staging, production) = (at("staging", &hub.image), at("production", &hub.image));
    let second =
        at("production", &hub.yard.push_to(&"oci:registry/production/shop".parse().unwrap(), "2", "second"));
    for (image, permit, why) in [
        (&production, of("staging-gate"), "permit-environment"),
        (&staging, of("staging-gate"), "permit-environment"),
        (&second, of("production-gate"), "permit-digest"),
        (&production, String::new(), "permit-missing"),
    ] {
        let done = hub.call("deploy-production.yml", &[("image", image), ("permit", &permit)]);
        assert_eq!(done["deploy"].succeeded, Some(false), "{image}");
        assert!(done["deploy"].log.contains(why), "{image} {why}: {}", done["deploy"].log);
    }
    assert_eq!(hub.deployed(), deployed);
}

/// GitHub names a reusable workflow in the certificate whoever calls it, from wherever: the claims say who.
#[test]
fn b6_a_stranger_who_calls_the_promoters_workflow_is_nobody() {
    let mut hub = Hub::new();
    let image = hub.push()["build"].outputs["image"].clone();
    let second = hub.yard.push("2", "second");
    let strangers = [
        json!({ "repository": "evil/shop", "repository_owner": "evil", "workflow": "x" }),
        json!({ "ref": "refs/heads/evil", "sub": "repo:acme/shop:ref:refs/heads/evil" }),
        json!({ "event_name": "pull_request_target" }),
    ];
    for claims in strangers {
        hub.claims = claims.clone();
        let jobs = hub.call("promote.yml", &[("image", &image), ("to", "production")]);
        assert_eq!(jobs["gate"].succeeded, Some(false), "{claims}");
        assert!(jobs["gate"].log.contains("not-a-promoter"), "{claims}: {}", jobs["gate"].log);
        assert_eq!(jobs["gate"].outputs["image"], "");
        let there = at("staging", &hub.image);
        let said = hub.run_as("deploy-staging.yml", ["deployed", &there, "--in", "staging"]).exits(2);
        assert!(said.stderr.contains("may not say what runs in `staging`"), "{}", said.stderr);
        // What it builds is nobody's build.
        let first = std::mem::replace(&mut hub.image, second.clone());
        hub.call("build.yml", &[]);
        hub.claims = json!({});
        let candidate = second.to_string();
        let jobs = hub.call("promote.yml", &[("image", &candidate), ("to", "staging")]);
        assert_eq!(jobs["gate"].succeeded, Some(false), "{claims}: {}", jobs["gate"].log);
        hub.image = first;
    }
}

#[test]
fn nobody_of_the_three_can_do_what_another_does() {
    let mut hub = Hub::new();
    hub.push();
    let (built, staged) = (hub.image.to_string(), at("staging", &hub.image));
    for file in ["build.yml", "deploy-staging.yml", "deploy-production.yml", "release.yml"] {
        let no = hub.run_as(file, ["promote", &built, "--to", "staging"]).exits(1);
        assert!(no.stderr.contains("not-a-promoter"), "{file}: {}", no.stderr);
    }
    for file in ["build.yml", "promote.yml", "deploy-production.yml", "release.yml"] {
        let no = hub.run_as(file, ["deployed", &staged, "--in", "staging"]).exits(2);
        assert!(no.stderr.contains("may not say what runs in `staging`"), "{file}: {}", no.stderr);
    }
}

#[test]
fn the_identities_in_the_policy_are_the_workflows_that_sign() {
    let policy = policy();
    let files = workflows();
    let mut roles: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let identity = |signer: &str| {
        let signer = policy["signers"][signer].as_table().unwrap();
        for (claim, value) in [
            ("source-repository", "https://github.com/acme/shop"),
            ("source-ref", "refs/heads/main"),
            ("workflow-trigger", "push"),
        ] {
            assert_eq!(signer[claim].as_str(), Some(value));
        }
        let identity = signer["identity"].as_str().unwrap();
        let file = identity.strip_prefix("https://github.com/acme/shop/.github/workflows/").unwrap();
        file.strip_suffix("@refs/heads/main").unwrap().to_owned()
    };
    let mut says = |file: String, role: &str| roles.entry(file).or_default().insert(role.to_owned());
    for (name, environment) in policy["environments"].as_table().unwrap() {
        for (key, role) in [("promoters", "promote".to_owned()), ("deployers", format!("deployed {name}"))] {
            for signer in environment[key].as_array().unwrap() {
                says(identity(signer.as_str().unwrap()), &role);
            }
        }
    }
    let provenance = &policy["environments"]["staging"]["require"]["provenance"];
    says(identity(provenance["signer"].as_str().unwrap()), "build");
    assert!(provenance["builder"].as_str().unwrap().ends_with("/build.yml@refs/heads/main"));

    let mut signing: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, file) in &files {
        let samebits =
            uses(file, "acme/samebits").into_iter().filter(|(_, with)| with.contains_key("keyless"));
        for (_, with) in samebits {
            let role = match with["command"].as_str() {
                "deployed" => format!("deployed {}", with["to"]),
                command => command.to_owned(),
            };
            signing.entry(name.clone()).or_default().insert(role);
        }
        if !uses(file, "actions/attest-build-provenance").is_empty() {
            signing.entry(name.clone()).or_default().insert("build".to_owned());
        }
    }
    assert_eq!(roles, signing);
    assert!(roles.values().all(|roles| roles.len() == 1), "{roles:?}");
}

/// By step: what it needs of the job's token. The ledger is a branch of the repository, the registry GitHub's.
fn needed(used: &str, with: &BTreeMap<String, String>) -> Vec<(&'static str, &'static str)> {
    match (used.split('@').next().unwrap(), with.get("command").map(String::as_str)) {
        ("actions/checkout", _) => vec![("contents", "read")],
        ("docker/login-action" | "docker/setup-buildx-action", _) => vec![],
        ("docker/build-push-action", _) => vec![("packages", "write")],
        ("actions/attest-build-provenance", _) => {
            vec![("packages", "write"), ("id-token", "write"), ("attestations", "write")]
        }
        // docs/github.md, "Permissions".
        ("acme/samebits", Some("promote")) => {
            vec![("contents", "write"), ("packages", "write"), ("id-token", "write")]
        }
        // By a reference with a digest it reads the policy file, and nothing else.
        ("acme/samebits", Some("permit")) => vec![],
        ("acme/samebits", Some("deployed")) => {
            vec![("contents", "write"), ("packages", "read"), ("id-token", "write")]
        }
        (other, command) => panic!("what does {other} {command:?} need?"),
    }
}

fn permissions(file: &File, job: &str) -> BTreeMap<String, String> {
    let of = below(file, &format!("jobs.{job}.permissions"));
    of.map(|(name, level)| (name.to_owned(), level.to_owned())).collect()
}

#[test]
fn each_job_may_do_what_its_steps_need_and_no_more() {
    let files = workflows();
    for (name, file) in &files {
        for job in children(file, "jobs") {
            let mut wanted: BTreeMap<String, String> = BTreeMap::new();
            match file.get(&format!("jobs.{job}.uses")) {
                Some(called) => {
                    let called = &files[called.strip_prefix("./.github/workflows/").unwrap()];
                    let inner = children(called, "jobs");
                    wanted.extend(inner.iter().flat_map(|job| permissions(called, job)));
                }
                None => {
                    for number in 0..children(file, &format!("jobs.{job}.steps")).len() {
                        let step = format!("jobs.{job}.steps.{number}");
                        let Some(used) = file.get(&format!("{step}.uses")) else { continue };
                        let with = below(file, &format!("{step}.with"));
                        let with = with.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                        for (of, level) in needed(used, &with) {
                            let before = wanted.entry(of.to_owned()).or_insert_with(|| level.to_owned());
                            if level == "write" {
                                level.clone_into(before);
                            }
                        }
                    }
                }
            }
            assert_eq!(permissions(file, &job), wanted, "{name} {job}");
        }
    }
}

#[test]
fn inputs_are_those_of_the_action_and_a_deploy_step_takes_the_gates_word_alone() {
    let files = workflows();
    let action = action();
    let inputs = names(&action, "inputs");
    let outputs = names(&action, "outputs");
    let mut pins: BTreeMap<String, String> = BTreeMap::new();
    for (name, file) in &files {
        for (job, with) in uses(file, "acme/samebits") {
            for input in with.keys() {
                assert!(inputs.contains(input), "{name} {job}: {input}");
            }
            for required in ["command", "image", "to"] {
                assert!(with.contains_key(required), "{name} {job}: {required}");
            }
            // Who deploys takes what the gate handed on, whole, and what the permit is for from there on.
            let from = match with["command"].as_str() {
                "deployed" => "${{ steps.permit.outputs.image }}",
                _ => "${{ inputs.image }}",
            };
            assert_eq!(with["image"], from, "{name}");
        }
        for (path, value) in file {
            if let Some(output) = value.split("steps.gate.outputs.").nth(1) {
                assert!(
                    outputs.iter().any(|known| *known == output.trim_end_matches(" }}")),
                    "{name} {value}"
                );
            }
            if path.ends_with(".run") {
                assert!(!value.contains("${{"), "{name} {path}: text of others in a script");
            }
            if path.ends_with(".uses") && !value.starts_with("./") {
                let (action, commit) = value.split_once('@').unwrap();
                assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{value}");
                let before = pins.insert(action.to_owned(), commit.to_owned());
                assert!(before.is_none_or(|before| before == commit), "{action} by two commits");
            }
        }
        let text = std::fs::read_to_string(here(WORKFLOWS).join(name)).unwrap();
        for trap in
            ["continue-on-error", "if: always()", "pull_request_target", "secrets: inherit", "|| true"]
        {
            assert!(!text.contains(trap), "{name}: {trap}");
        }
        assert!(text.contains("\npermissions: {}\n"), "{name}");
    }
    let release = &files["release.yml"];
    for job in children(release, "jobs") {
        let called = &release[&format!("jobs.{job}.uses")];
        if called.contains("/deploy-") {
            let image = &release[&format!("jobs.{job}.with.image")];
            let gate =
                image.strip_prefix("${{ needs.").and_then(|rest| rest.strip_suffix(".outputs.image }}"));
            assert_eq!(release[&format!("jobs.{}.uses", gate.unwrap())], "./.github/workflows/promote.yml");
        }
    }
    assert_eq!(children(release, "on"), ["push"]);
}

#[test]
fn actionlint_has_nothing_to_say() {
    if !peer::is_installed("actionlint") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let workflows = folder.path().join(".github/workflows");
    std::fs::create_dir_all(&workflows).unwrap();
    for entry in std::fs::read_dir(here(WORKFLOWS)).unwrap() {
        let file = entry.unwrap().path();
        std::fs::copy(&file, workflows.join(file.file_name().unwrap())).unwrap();
    }
    let git = |args: &[&str]| peer::said(peer::alone("git", folder.path()).args(args)).unwrap();
    git(&["init", "--quiet", "."]);
    let lint = || peer::alone("actionlint", folder.path()).arg("-no-color").output().unwrap();
    let said = lint();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
    // It reads them: an input that the called workflow does not have is found.
    let release = std::fs::read_to_string(workflows.join("release.yml")).unwrap();
    std::fs::write(
        workflows.join("release.yml"),
        release.replace("      to: staging", "      into: staging"),
    )
    .unwrap();
    assert!(!lint().status.success());
}
