//! The GitLab component and the example, as far as they can be run without GitLab: what stands where, and the script as a
//! runner runs it, by `sh` with the job's variables.

use std::process::{Command, Stdio};

use super::NASTY;
use super::runner::{executable, here};

const COMPONENT: &str = "templates/promote.yml";
const EXAMPLE: &str = "examples/gitlab/.gitlab-ci.yml";

fn read(name: &str) -> String {
    std::fs::read_to_string(here(name)).unwrap()
}

/// The block of the component's `script`.
fn script() -> String {
    let text = read(COMPONENT);
    let (_, rest) = text.split_once("  script:\n    - |\n").unwrap();
    let lines = rest.lines().map_while(|line| line.strip_prefix("      "));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Without comments.
fn said(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with('#')).map(|line| format!("{line}\n")).collect()
}

/// A job of the component in an empty folder: exit code, and what `samebits`, a stub, was run with.
fn job(variables: &[(&str, &str)]) -> (Option<i32>, Option<Vec<String>>) {
    let folder = tempfile::tempdir().unwrap();
    let stub = folder.path().join("samebits");
    std::fs::write(&stub, "#!/bin/sh\nprintf '%s\\0' \"$@\" >arguments\nexit 3\n").unwrap();
    executable(&stub);
    let code = run(folder.path(), folder.path(), variables);
    let arguments = std::fs::read_to_string(folder.path().join("arguments")).ok();
    let arguments = arguments
        .map(|text| text.strip_suffix('\0').unwrap().split('\0').map(str::to_owned).collect::<Vec<_>>());
    assert!(!folder.path().join("pwned").exists());
    (code, arguments)
}

fn run(folder: &std::path::Path, tools: &std::path::Path, variables: &[(&str, &str)]) -> Option<i32> {
    let mut command = Command::new("sh");
    command.args(["-e", "-c", &script()]).current_dir(folder).env_clear();
    command.env("PATH", format!("{}:/usr/bin:/bin", tools.display())).env("RUNNER_TEMP", ".");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for (name, value) in variables {
        command.env(format!("SAMEBITS_INPUT_{name}"), value);
    }
    command.status().unwrap().code()
}

#[test]
fn inputs_of_the_component_are_variables_and_never_script() {
    let text = read(COMPONENT);
    let (spec, job) = text.split_once("\n---\n").unwrap();
    let script = script();
    assert!(script.contains("samebits \"$@\" -- \"$SAMEBITS_INPUT_IMAGE\"\n"), "{script}");
    assert!(!script.contains("$[["), "{script}");
    let (_, inputs) = spec.split_once("  inputs:\n").unwrap();
    let blocks: Vec<&str> = inputs.split("\n    ").map(|line| line.trim_end()).collect();
    let mut names = Vec::new();
    for line in blocks {
        let line = line.strip_prefix("    ").unwrap_or(line);
        match line.strip_prefix("  ") {
            None => names.push((line.strip_suffix(':').unwrap(), false)),
            Some(key) => {
                let held = key == "type: boolean"
                    || key.starts_with("options: [")
                    || (key.starts_with("regex: ^[") && key.ends_with(['$']));
                names.last_mut().unwrap().1 |= held;
            }
        }
    }
    assert!(names.len() > 10, "{names:?}");
    for (name, held) in names {
        assert!(held, "any text may be given for {name}");
        assert!(job.contains(&format!("$[[ inputs.{name} ]]\"")), "{name} is not used, or not in quotes");
    }
    assert_eq!(job.matches("$[[").count(), job.matches(" ]]\"").count());
    for variable in script.split("SAMEBITS_INPUT_").skip(1) {
        let name = variable.split(|c: char| !c.is_ascii_uppercase()).next().unwrap();
        assert!(
            job.contains(&format!(
                "\n    SAMEBITS_INPUT_{name}: \"$[[ inputs.{} ]]\"\n",
                name.to_lowercase()
            ))
        );
    }
}

#[test]
fn nothing_lets_a_pipeline_go_on_without_a_yes() {
    for (name, jobs) in [(COMPONENT, 1), (EXAMPLE, 1)] {
        let text = said(&read(name));
        for trap in ["allow_failure", "id_tokens", "when: on_failure", "|| true", "set +e"] {
            assert!(!text.contains(trap), "{name} has {trap}");
        }
        assert_eq!(text.matches("retry:\n    max: 2\n    exit_codes: [3]\n").count(), jobs, "{name}");
        assert_eq!(text.matches("retry:").count(), jobs, "{name}");
        let reports = [
            "dotenv: samebits.env\n",
            "junit: samebits.xml\n",
            "annotations: samebits.json\n",
            "resource_group: ",
        ];
        for report in reports {
            assert_eq!(text.matches(report).count(), jobs, "{name}: {report}");
        }
    }
    let example = read(EXAMPLE);
    let deploys: Vec<&str> = example.split("\ndeploy to ").skip(1).collect();
    assert_eq!(deploys.len(), 2);
    for deploy in deploys {
        let (_, script) = deploy.split_once("  script:\n").unwrap();
        assert!(script.starts_with("    - ': \"${SAMEBITS_IMAGE:?"), "{script}");
    }
}

#[test]
fn a_deploy_job_without_an_image_fails_first() {
    let example = read(EXAMPLE);
    let guard = example.lines().find_map(|line| line.strip_prefix("    - ': ")).unwrap();
    let guard = format!(": {}", guard.strip_suffix('\'').unwrap());
    let code = |image: Option<&str>| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{guard}\nexit 0")]).env_clear().stderr(Stdio::null());
        command.envs(image.map(|image| ("SAMEBITS_IMAGE", image))).status().unwrap().code()
    };
    assert_ne!(code(None), Some(0));
    assert_ne!(code(Some("")), Some(0));
    assert_eq!(code(Some("registry.example/shop@sha256:00")), Some(0));
}

#[test]
fn variables_of_the_component_arrive_as_they_are() {
    for nasty in NASTY {
        let rest = ["IMAGE", "TO", "POLICY", "LEDGER", "SERVICE", "KEYLESS"].map(|name| (name, nasty));
        let (code, arguments) = job(&[&[("COMMAND", "promote")][..], &rest[..]].concat());
        assert_eq!(code, Some(3), "the program's own");
        let flags = ["policy", "ledger", "service", "keyless"].map(|flag| format!("--{flag}={nasty}"));
        let reports = ["dotenv=samebits.env", "junit=samebits.xml", "annotations=samebits.json"];
        let reports = reports.map(|report| format!("--output={report}"));
        let begins = ["promote".to_owned(), format!("--to={nasty}")];
        let expected = [&begins[..], &reports, &flags, &["--".to_owned(), nasty.to_owned()]].concat();
        assert_eq!(arguments, Some(expected));
    }
}

#[test]
fn a_variable_that_is_missing_is_a_usage_error() {
    let all = [("COMMAND", "check"), ("IMAGE", "oci:registry/shop:1"), ("TO", "staging")];
    assert_eq!(job(&all).0, Some(3), "the program's own");
    for (missing, _) in all {
        let rest: Vec<_> = all.into_iter().filter(|(name, _)| *name != missing).collect();
        assert_eq!(job(&rest), (Some(2), None), "{missing}");
        assert_eq!(job(&[&rest[..], &[(missing, "")]].concat()), (Some(2), None), "{missing}");
    }
    for command in ["deployed", "check\npromote", "--help"] {
        assert_eq!(job(&[&[("COMMAND", command)], &all[1..]].concat()), (Some(2), None), "{command}");
    }
}

/// Asked for it is where the job's artifacts are; what is neither yes nor no is refused before anything runs.
#[test]
fn e13_the_component_leaves_a_permit_where_one_is_asked_for() {
    let asked = [("COMMAND", "promote"), ("IMAGE", "oci:registry/shop:1"), ("TO", "staging")];
    let with = |permit| job(&[&asked[..], &[("PERMIT", permit)]].concat());
    let is_asked = |arguments: Option<Vec<String>>| {
        arguments.unwrap().iter().any(|argument| argument == "--permit=samebits-permit.json")
    };
    assert!(is_asked(with("true").1) && !is_asked(with("false").1) && !is_asked(with("").1));
    for wrong in ["True", "1", "true ", "true\nfalse", "*"] {
        assert_eq!(with(wrong), (Some(2), None), "{wrong:?}");
    }
    assert_eq!(job(&[&[("COMMAND", "check"), ("PERMIT", "true")], &asked[1..]].concat()), (Some(2), None));
    assert!(said(&read(COMPONENT)).contains("\n    paths: [samebits-permit.json]\n"));
}
