//! `examples/buildkite` and `examples/jenkins`: their scripts, run by the shell that those systems run them by.

use std::process::Command;

use crate::cli::{Ran, Yard, at, ran};
use crate::runner::{executable, here, yaml};

/// Keeps meta-data in files; annotations go nowhere; what a step left lies where it was left.
const AGENT: &str = r#"#!/bin/sh
case "$1 $2" in
  'meta-data set') printf '%s' "$4" >"meta-$3" ;;
  'meta-data get') cat "meta-$3" ;;
  'annotate '*) cat >/dev/null ;;
  'artifact download') test -f "$5" ;;
  *) exit 2 ;;
esac
"#;

fn yard() -> Yard {
    let yard = Yard::new();
    std::fs::create_dir(yard.path("bin")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_samebits"), yard.path("bin/samebits")).unwrap();
    for (name, script) in
        [("bin/buildkite-agent", AGENT), ("deploy.sh", "#!/bin/sh\necho \"$1 $2\" >>deployed\n")]
    {
        yard.write(name, script);
        executable(&yard.path(name));
    }
    yard
}

fn shell(yard: &Yard, shell: &[&str], script: &str, environment: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).arg(script).current_dir(yard.path("")).env_clear();
    command.env("PATH", format!("{}:/usr/bin:/bin", yard.path("bin").display()));
    ran(command.env("HOME", yard.path("")).envs(environment.iter().copied()))
}

fn deployed(yard: &Yard) -> String {
    std::fs::read_to_string(yard.path("deployed")).unwrap_or_default()
}

/// In staging, and running there.
fn staged(yard: &Yard, tag: &str) -> String {
    let image = yard.build(tag, tag);
    yard.promote(&format!("oci:registry/shop:{tag}"), "staging").exits(0);
    yard.deployed_in_staging(&image).exits(0);
    at("staging", &image)
}

#[test]
fn the_steps_of_buildkite_deploy_a_yes_and_nothing_else() {
    let text = std::fs::read_to_string(here("examples/buildkite/pipeline.yml")).unwrap();
    let pipeline = yaml(&text);
    assert_eq!(pipeline["steps.1.depends_on"], pipeline["steps.0.key"]);
    for trap in ["soft_fail", "allow_dependency_failure", "|| true"] {
        assert!(
            !text.lines().any(|line| !line.trim_start().starts_with('#') && line.contains(trap)),
            "{trap}"
        );
    }
    let yard = yard();
    let step = |number: usize, key: &str, candidate: &str| {
        // What an upload leaves of it.
        let script = pipeline[&format!("steps.{number}.command")].replace("$$", "$");
        let environment = [
            ("BUILDKITE", "true"),
            ("BUILDKITE_STEP_KEY", "production-gate"),
            ("SAMEBITS_KEY", key),
            ("CANDIDATE", candidate),
        ];
        shell(&yard, &["bash", "-e", "-c"], &script, &environment)
    };
    let image = staged(&yard, "1");
    step(0, "keys/release.key", &image).exits(0);
    step(1, "keys/production.key", "").exits(0);
    let yes = format!("production {}\n", image.replace("/staging/", "/production/"));
    assert_eq!(deployed(&yard), yes);
    std::fs::copy(yard.path("samebits-permit.json"), yard.path("permit-of-before")).unwrap();
    // A build that never ran in staging: no, and the step that deploys has no image, not that of before either.
    yard.build("2", "second");
    step(0, "keys/release.key", "oci:registry/shop:2").exits(1);
    step(1, "keys/production.key", "").exits(1);
    assert_eq!(deployed(&yard), yes);
    // Another step of the build writes what the gate did not say: no permit, and none of before.
    let other = yard.read("permit-of-before");
    for permit in [None, Some(other)] {
        yard.write("meta-samebits-production-gate-image", image.replace("/staging/", "/production/"));
        if let Some(permit) = permit {
            yard.write("samebits-permit.json", permit);
            let second = yard.build("3", "third");
            yard.write("meta-samebits-production-gate-image", at("production", &second));
        }
        step(1, "keys/production.key", "").exits(1);
        assert_eq!(deployed(&yard), yes);
    }
}

/// What stands between the quotes of `sh`.
fn jenkins() -> [String; 2] {
    let text = std::fs::read_to_string(here("examples/jenkins/Jenkinsfile")).unwrap();
    let gate = text.split("sh 'samebits ").nth(1).unwrap().split('\'').next().unwrap();
    let deploy = text.split("sh '''").nth(1).unwrap().split("'''").next().unwrap();
    assert!(!text.contains('\\') && !text.contains("sh \"") && !text.contains("catchError"), "{text}");
    [format!("samebits {gate}"), deploy.to_owned()]
}

#[test]
fn the_stages_of_jenkins_deploy_a_yes_and_nothing_else() {
    let [gate, deploy] = jenkins();
    let yard = yard();
    let run = |script: &str, key: &str, candidate: &str| {
        let environment = [("SAMEBITS_KEY", key), ("CANDIDATE", candidate)];
        shell(&yard, &["sh", "-xe", "-c"], script, &environment)
    };
    let image = staged(&yard, "1");
    run(&gate, "keys/release.key", &image).exits(0);
    run(&deploy, "keys/production.key", "").exits(0);
    let yes = format!("production {}\n", image.replace("/staging/", "/production/"));
    assert_eq!(deployed(&yard), yes);
    assert!(yard.read("samebits.xml").contains("<testcase"));
    // A no, no answer, and a name that would be a command: the file of before is not what the next stage reads.
    yard.build("2", "second");
    for (candidate, code) in [
        ("oci:registry/shop:2", 1),
        ("oci:registry/shop:none", 3),
        ("$(touch pwned)", 2),
        ("; touch pwned", 2),
    ] {
        let said = run(&gate, "keys/release.key", candidate).exits(code);
        assert!(!said.stderr.contains('\u{1b}'), "{}", said.stderr);
        assert_ne!(run(&deploy, "keys/production.key", "").code, Some(0), "{candidate}");
    }
    assert_eq!(deployed(&yard), yes);
    assert!(!yard.path("pwned").exists());
}
