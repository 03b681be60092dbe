//! `action.yml` and its scripts, in a runner that is simulated: what is installed is what was checked, and what is typed
//! in a workflow arrives as it is, or not at all. No network; a release is a folder.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "support/cli.rs"]
#[allow(dead_code, reason = "what tests/cli.rs asks")]
mod cli;
#[path = "support/docker_registry.rs"]
#[allow(dead_code, reason = "a registry without a login")]
mod docker_registry;
#[path = "support/image.rs"]
mod image;
#[path = "action/gitlab.rs"]
mod gitlab;
#[path = "action/local.rs"]
mod local;
#[path = "support/peer.rs"]
mod peer;
#[path = "action/overhead.rs"]
mod overhead;
#[path = "action/release.rs"]
mod release;
#[path = "action/runner.rs"]
mod runner;

use cli::Yard;
use runner::{ASSET, Runner, action, below, here, names, runner_with};
use samebits::digest::Digest;

/// A stub, not samebits: writes down that it ran, and with what.
const STUB: &str = r#"#!/bin/sh
if [ "$1" = --version ]; then echo 'samebits 1.2.3'; exit; fi
printf '%s\0' "$@" >"$RUNNER_TEMP/arguments"
"#;

/// The binary of this build.
const PROGRAM: &str = env!("CARGO_BIN_EXE_samebits");

const ASK: [(&str, &str); 3] = [("command", "check"), ("image", "oci:registry/shop:1"), ("to", "staging")];

/// What the stub was run with; `None` where it was not.
fn arguments(runner: &Runner) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(runner.path("temp/arguments")).ok()?;
    Some(text.strip_suffix('\0').unwrap().split('\0').map(str::to_owned).collect())
}

/// Nothing ran, nothing was put on the PATH, and no output looks like a yes.
#[track_caller]
fn refuses(runner: &Runner, inputs: &[(&str, &str)], code: i32, said: &str) {
    let job = runner.uses(inputs).exits(code).says(said);
    assert_eq!(arguments(runner), None);
    assert!(job.outputs.values().all(String::is_empty), "{:?}", job.outputs);
    let errors = job.log.lines().filter(|line| line.starts_with("::")).count();
    assert_eq!(errors, 1, "one workflow command, the error:\n{}", job.log);
}

/// As [`refuses`], before anything was installed.
#[track_caller]
fn installs_nothing(runner: &Runner, inputs: &[(&str, &str)], code: i32, said: &str) {
    refuses(runner, inputs, code, said);
    assert_eq!(runner.uses(inputs).paths, Vec::<String>::new());
}

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    ASK.into_iter().chain(more.iter().copied()).collect()
}

#[test]
fn a_release_with_the_right_checksum_is_installed_kept_and_run() {
    let runner = Runner::new();
    runner.release(STUB);
    let job = runner.uses(&ASK).exits(0).says("provenance NOT verified: gh is not installed");
    assert_eq!(
        arguments(&runner).unwrap(),
        ["check", "--to=staging", "--output=github", "--", "oci:registry/shop:1"]
    );
    assert_eq!(job.paths.len(), 1);
    let installed = std::path::Path::new(&job.paths[0]).join("samebits");
    assert_eq!(std::fs::read_to_string(&installed).unwrap(), STUB);
    assert!(installed.starts_with(runner.path("temp")), "the job's own copy: {}", installed.display());

    std::fs::remove_dir_all(runner.path("release")).unwrap();
    std::fs::remove_dir_all(runner.path("temp/samebits-action")).unwrap();
    let job = runner.uses(&ASK).exits(0).says("from cache");
    assert_eq!(std::fs::read_to_string(std::path::Path::new(&job.paths[0]).join("samebits")).unwrap(), STUB);
}

#[test]
fn f10_a_release_with_another_checksum_never_runs() {
    let runner = Runner::new();
    runner.pin(STUB);
    runner.serve(STUB.replace("arguments", "arguments-of-another"));
    installs_nothing(&runner, &ASK, 3, &format!("not {}", Digest::of(STUB.as_bytes()).hex()));
    assert!(!runner.path("temp/arguments-of-another").exists());
    assert!(!runner.cached(STUB).exists());
}

#[test]
fn f10_a_binary_swapped_in_the_cache_never_runs() {
    let runner = Runner::new();
    runner.release(STUB);
    runner.uses(&ASK).exits(0);
    std::fs::remove_file(runner.path("temp/arguments")).unwrap();
    std::fs::write(runner.cached(STUB), STUB.replace("arguments", "arguments-of-another")).unwrap();
    installs_nothing(&runner, &ASK, 3, "was changed in the cache");
    assert!(!runner.path("temp/arguments-of-another").exists());
}

/// `actions/cache` unpacks what any job of the repository has put there, with absolute names, before anything of it can be
/// hashed: a job that only builds could write what this one runs.
#[test]
fn f10_nothing_but_the_release_is_unpacked_or_run() {
    let action = action();
    let steps: Vec<&String> = action.keys().filter(|key| key.starts_with("runs.steps.")).collect();
    assert!(steps.iter().any(|key| key.ends_with(".run")), "{steps:?}");
    assert!(!steps.iter().any(|key| key.ends_with(".uses")), "{steps:?}");
}

/// A stub of the release before: it writes down what it was asked, and says yes where the bundle says so.
const PREVIOUS: &str = r#"#!/bin/sh
printf '%s\n' "$@" >"$RUNNER_TEMP/asked"
for argument; do case $argument in --bundle=*) exec grep -q yes "${argument#--bundle=}" ;; esac; done
exit 2
"#;

#[test]
fn f10_a_new_release_is_verified_by_the_one_before() {
    let runner = Runner::new();
    let previous = ASSET.replace("1.2.3", "1.2.2");
    runner.serve(STUB);
    std::fs::create_dir(runner.path("release/v1.2.2")).unwrap();
    std::fs::write(runner.path("release/v1.2.2").join(&previous), PREVIOUS).unwrap();
    let (before, now) = (Digest::of(PREVIOUS.as_bytes()).hex(), Digest::of(STUB.as_bytes()).hex());
    let pins = format!("{before}  {previous}\n{now}  {ASSET}\n");
    std::fs::write(runner.path("action/action/checksums.txt"), pins).unwrap();
    std::os::unix::fs::symlink("/bin/grep", runner.path("tools/grep")).unwrap();
    let bundle = runner.path("release/v1.2.3/samebits-1.2.3.provenance.sigstore.json");

    installs_nothing(&runner, &ASK, 3, "could not download");
    std::fs::write(&bundle, "no").unwrap();
    installs_nothing(&runner, &ASK, 3, "samebits 1.2.2 could not verify that acme/samebits built it");
    std::fs::write(&bundle, "yes").unwrap();
    runner.uses(&ASK).exits(0).says("provenance verified by samebits 1.2.2: built by acme/samebits");
    let asked = std::fs::read_to_string(runner.path("temp/asked")).unwrap();
    let asked: Vec<&str> = asked.lines().collect();
    assert_eq!(asked[0], "verify-file");
    assert_eq!(asked[2], "--issuer=https://token.actions.githubusercontent.com");
    let identity = "https://github.com/acme/samebits/.github/workflows/release.yml@refs/tags/v1.2.3";
    assert_eq!(asked[3], format!("--identity={identity}"));
    assert_eq!(asked[4], "--");

    // Kept: not downloaded and not asked again, unless provenance is required.
    std::fs::remove_file(runner.path("temp/asked")).unwrap();
    runner.uses(&ASK).exits(0).says("from cache");
    assert!(!runner.path("temp/asked").exists());
    let required = with(&[("provenance", "required")]);
    runner.uses(&required).exits(0).says("verified by samebits 1.2.2");
    std::fs::remove_file(runner.path("temp/arguments")).unwrap();
    let swapped = PREVIOUS.replace("asked", "asked-of-another");
    std::fs::write(runner.path("release/v1.2.2").join(&previous), swapped).unwrap();
    installs_nothing(&runner, &required, 3, &format!("not {before}"));
    assert!(!runner.path("temp/asked-of-another").exists());
}

#[test]
fn f10_a_version_that_is_not_pinned_needs_its_checksum() {
    let runner = Runner::new();
    let digest = Digest::of(STUB.as_bytes()).hex();
    runner.serve(STUB);
    let unknown = with(&[("version", "1.2.3")]);
    installs_nothing(&runner, &unknown, 2, &format!("checksums.txt does not know {ASSET}"));
    runner.uses(&with(&[("version", "1.2.3"), ("sha256", &digest)])).exits(0);
    assert!(arguments(&runner).is_some());
}

#[test]
fn f10_a_checksum_in_the_workflow_replaces_no_pinned_one() {
    let runner = Runner::new();
    let other = STUB.replace("arguments", "arguments-of-another");
    runner.pin(STUB);
    runner.serve(&other);
    let digest = Digest::of(other.as_bytes()).hex();
    let inputs = with(&[("version", "1.2.3"), ("sha256", &digest)]);
    installs_nothing(&runner, &inputs, 2, "is pinned in checksums.txt");
}

#[test]
fn f10_a_binary_of_another_version_never_runs() {
    let runner = Runner::new();
    runner.release(STUB.replace("samebits 1.2.3", "samebits 1.2.2"));
    installs_nothing(&runner, &ASK, 3, "says that it is samebits 1.2.2");
}

#[test]
fn provenance_is_verified_where_gh_can_and_refused_without_where_it_is_required() {
    let runner = Runner::new();
    runner.release(STUB);
    let required = with(&[("provenance", "required")]);
    installs_nothing(&runner, &required, 3, "gh is not installed");
    let gh = "#!/bin/sh\nprintf '%s ' \"$GH_TOKEN\" \"$@\" >\"$RUNNER_TEMP/gh\"\n";
    runner.tool("gh", &format!("{gh}exit 1\n"));
    installs_nothing(&runner, &ASK, 3, "could not verify that acme/samebits built it");
    assert!(!runner.cached(STUB).exists(), "what was refused is not kept");
    let without_token = with(&[("github-token", "")]);
    runner.uses(&without_token).exits(0).says("provenance NOT verified: there is no github-token");

    // From the cache now, where it came without: who requires provenance has it verified all the same.
    std::fs::remove_file(runner.path("temp/arguments")).unwrap();
    installs_nothing(&runner, &required, 3, "could not verify that acme/samebits built it");
    runner.tool("gh", &format!("{gh}exit 0\n"));
    runner.uses(&required).exits(0).says("provenance verified by gh");
    let said = std::fs::read_to_string(runner.path("temp/gh")).unwrap();
    assert!(said.starts_with("a-token attestation verify /"), "{said}");
    assert!(said.ends_with("/fresh --repo acme/samebits "), "{said}");
}

#[test]
fn what_is_asked_of_the_installation_is_checked() {
    let runner = Runner::new();
    runner.release(STUB);
    let digest = Digest::of(STUB.as_bytes()).hex();
    let escape = format!("{digest}\n::warning::x");
    for (inputs, said) in [
        (vec![("version", "1.2.3; id")], "input version"),
        (vec![("version", "../../1.2.3")], "input version"),
        (vec![("version", "1.2.3\n::warning::x")], "input version"),
        (vec![("version", "v1.2.3")], "input version"),
        (vec![("version", "-1.2.3")], "input version"),
        (vec![("version", "1.2.3"), ("sha256", &digest[1..])], "input sha256"),
        (vec![("version", "1.2.3"), ("sha256", &escape)], "input sha256"),
        (vec![("sha256", &digest)], "input sha256"),
        (vec![("build-from-source", "yes")], "input build-from-source"),
        (vec![("build-from-source", "true"), ("version", "1.2.3")], "input build-from-source"),
        (vec![("build-from-source", "true"), ("provenance", "required")], "input provenance"),
        (vec![("provenance", "off")], "input provenance"),
        (vec![("release-url", "http://mirror.example")], "input release-url"),
        (vec![("release-url", "--config=/etc/passwd")], "input release-url"),
        (vec![("release-url", "file:///nowhere%0A::warning::x\n::warning::x")], "could not download"),
    ] {
        let code = if said == "could not download" { 3 } else { 2 };
        installs_nothing(&runner, &with(&inputs), code, said);
    }
}

#[test]
fn without_a_pinned_release_this_commit_is_built() {
    let runner = Runner::new();
    installs_nothing(&runner, &ASK, 2, "cargo is not installed");
    installs_nothing(&runner, &with(&[("build-from-source", "false")]), 2, "pins no release");
    installs_nothing(&runner, &with(&[("provenance", "required")]), 2, "pins no release");
    // A stub of cargo: it writes down what it was asked for, and where.
    std::fs::write(runner.path("stub"), STUB).unwrap();
    runner::executable(&runner.path("stub"));
    let cargo = format!(
        r#"#!/bin/sh
{{ pwd; printf '%s\n' "$@"; }} >"$RUNNER_TEMP/cargo"
mkdir -p "$RUNNER_TEMP/samebits-action/source/bin"
cp -p {} "$RUNNER_TEMP/samebits-action/source/bin/samebits"
"#,
        runner.path("stub").display()
    );
    runner.tool("cargo", &cargo);
    runner.uses(&ASK).exits(0);
    assert!(arguments(&runner).is_some());
    let said = std::fs::read_to_string(runner.path("temp/cargo")).unwrap();
    let action = runner.path("action").to_str().unwrap().to_owned();
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said[..5], [&action, "install", "--locked", "--path", &action]);

    runner.tool("cargo", "#!/bin/sh\nexit 101\n");
    std::fs::remove_file(runner.path("temp/arguments")).unwrap();
    installs_nothing(&runner, &ASK, 3, "did not build");
}

#[test]
fn a_machine_without_a_release_is_named() {
    let mut runner = Runner::new();
    runner.release(STUB);
    runner.environment.insert("RUNNER_ARCH".to_owned(), "X86".to_owned());
    installs_nothing(&runner, &ASK, 2, "Linux on X86");
    runner.environment.insert("RUNNER_ARCH".to_owned(), "ARM64".to_owned());
    installs_nothing(
        &runner,
        &ASK,
        2,
        "checksums.txt does not know samebits-1.2.3-aarch64-unknown-linux-musl",
    );
}

/// The runner does not enforce `required: true`.
#[test]
fn an_input_that_is_missing_is_named() {
    let runner = Runner::new();
    runner.release(STUB);
    for missing in ["command", "image", "to"] {
        let left_out: Vec<_> = ASK.into_iter().filter(|(name, _)| *name != missing).collect();
        refuses(&runner, &left_out, 2, &format!("input {missing} is required"));
        refuses(&runner, &with(&[(missing, "")]), 2, &format!("input {missing} is required"));
    }
    runner.uses(&[("command", "verify"), ("image", "oci:registry/shop:1")]).exits(0);
    assert_eq!(arguments(&runner).unwrap(), ["verify", "--", "oci:registry/shop:1"]);
}

#[test]
fn commands_are_a_closed_list() {
    let runner = Runner::new();
    runner.release(STUB);
    for command in
        ["ledger", "copy", "Check", "check ", "check --offline", "--help", "check\npromote", "*", "ch?ck"]
    {
        refuses(&runner, &with(&[("command", command)]), 2, "is none of check, promote");
    }
    for (command, flag) in [
        ("check", "to"),
        ("promote", "to"),
        ("approve", "to"),
        ("verify", "to"),
        ("deployed", "in"),
        ("removed", "in"),
    ] {
        runner.uses(&with(&[("command", command)])).exits(0);
        assert_eq!(arguments(&runner).unwrap()[..2], [command, &format!("--{flag}=staging")]);
    }
    runner.uses(&with(&[("command", "permit")])).exits(0);
    assert_eq!(
        arguments(&runner).unwrap(),
        ["permit", "verify", "--in=staging", "--output=github", "--", "oci:registry/shop:1"]
    );
}

#[test]
fn e13_only_promote_gives_a_permit_and_only_where_it_is_asked_for() {
    let runner = Runner::new();
    runner.release(STUB);
    let file = format!("--permit={}/samebits-permit.json", runner.path("temp").display());
    for (permit, given) in [("true", true), ("false", false), ("", false)] {
        runner.uses(&with(&[("command", "promote"), ("permit", permit)])).exits(0);
        assert_eq!(arguments(&runner).unwrap().contains(&file), given, "{permit:?}");
        std::fs::remove_file(runner.path("temp/arguments")).unwrap();
    }
    for wrong in ["True", "yes", "1", "true ", "true\nfalse", "$(id)", "*"] {
        refuses(&runner, &with(&[("command", "promote"), ("permit", wrong)]), 2, "input permit: ");
    }
    for command in ["check", "permit", "deployed", "removed", "approve", "verify"] {
        refuses(&runner, &with(&[("command", command), ("permit", "true")]), 2, "promote gives permits");
    }
}

/// Two jobs, each with a runner and a workspace of its own: what the first one hands on is all that the second one takes.
#[test]
fn e13_the_deploy_job_refuses_without_the_permit_of_the_gate_job() {
    let yard = Yard::new();
    let (image, other) = (yard.build("1", "first"), yard.build("2", "second"));
    let program = format!("#!/bin/sh\nexec '{PROGRAM}' \"$@\"\n");
    let mut gate = runner_with(program.as_bytes());
    gate.environment.insert("SAMEBITS_KEY".to_owned(), "keys/release.key".to_owned());
    let promote = |image: &str, to: &str, permit: &str| {
        let inputs = [("command", "promote"), ("image", image), ("to", to), ("permit", permit)];
        gate.uses_in(&yard.path(""), &inputs)
    };
    assert_eq!(promote("oci:registry/shop:1", "staging", "").exits(0).outputs["permit"], "");
    let yes = promote("oci:registry/shop:1", "staging", "true").exits(0);
    let permit = yes.outputs["permit"].clone();
    assert_eq!(
        std::fs::read_to_string(gate.path("temp/samebits-permit.json")).unwrap(),
        permit.clone() + "\n"
    );

    // The policy file and its public keys, and nothing else of the first job.
    let deploy = |image: &samebits::reference::Image, permit: Option<&str>| {
        let mut runner = runner_with(program.as_bytes());
        let workspace = runner.path("workspace");
        std::fs::create_dir(workspace.join("keys")).unwrap();
        std::fs::copy(yard.path("samebits.toml"), workspace.join("samebits.toml")).unwrap();
        for role in ["build", "release", "staging", "production"] {
            let key = format!("keys/{role}.pub");
            std::fs::copy(yard.path(&key), workspace.join(&key)).unwrap();
        }
        if let Some(permit) = permit {
            runner.environment.insert("SAMEBITS_PERMIT".to_owned(), permit.to_owned());
        }
        let pinned = cli::at("staging", image);
        runner.uses(&[("command", "permit"), ("image", &pinned), ("to", "staging")])
    };
    let pinned = cli::at("staging", &image);
    let taken = deploy(&image, Some(&permit)).exits(0);
    assert_eq!((&taken.outputs["image"], taken.outputs["decision"].as_str()), (&pinned, "approved"));
    assert_eq!(taken.outputs["permit"], "", "it gives none itself");
    // The gate's step was skipped, or said no: its output is empty.
    let no = promote("oci:registry/shop:1", "production", "true").exits(1);
    assert_eq!((no.outputs["permit"].as_str(), no.outputs["image"].as_str()), ("", ""));
    assert!(!gate.path("temp/samebits-permit.json").exists(), "the earlier one is gone");
    for (image, permit, code) in [
        (&image, None, "permit-missing"),
        (&image, Some(no.outputs["permit"].as_str()), "permit-missing"),
        (&image, Some("true"), "permit-malformed"),
        (&other, Some(permit.as_str()), "permit-digest"),
    ] {
        let refused = deploy(image, permit).exits(1);
        assert_eq!((refused.outputs["image"].as_str(), refused.outputs["reasons"].as_str()), ("", code));
        assert!(refused.log.contains("::error "), "{}", refused.log);
    }
}

const NASTY: [&str; 12] = [
    "with  two spaces ",
    "$(touch \"$RUNNER_TEMP/pwned\")",
    "`touch $RUNNER_TEMP/pwned`",
    "; touch $RUNNER_TEMP/pwned #",
    "\" && touch $RUNNER_TEMP/pwned && \"",
    "' | touch $RUNNER_TEMP/pwned '",
    "--yes",
    "-",
    "* ?? [a-z]* ~ {a,b} !!",
    "${{ github.token }} ${RUNNER_TEMP} %0A\\n",
    "one\n::error::two\nthree",
    "\u{202e}\u{1b}[31m\u{fe0f}ß",
];

#[test]
fn inputs_arrive_as_they_are() {
    let runner = Runner::new();
    runner.release(STUB);
    for nasty in NASTY {
        let inputs = ["image", "to", "policy", "ledger", "service", "keyless"].map(|name| (name, nasty));
        let output = ("output", "json=a b.json\n$(id)\n\n-");
        runner.uses(&[&[("command", "promote"), output][..], &inputs[..]].concat()).exits(0);
        let flags = ["to", "policy", "ledger", "service", "keyless"].map(|flag| format!("--{flag}={nasty}"));
        let outputs =
            ["--output=github", "--output=json=a b.json", "--output=$(id)", "--output=-"].map(str::to_owned);
        let ends = ["--".to_owned(), nasty.to_owned()];
        let expected = [&["promote".to_owned()][..], &flags[..], &outputs[..], &ends[..]].concat();
        assert_eq!(arguments(&runner).unwrap(), expected);
    }
    assert!(!runner.path("temp/pwned").exists());
}

#[test]
fn the_program_refuses_what_is_no_image_and_no_environment() {
    let yard = Yard::new();
    // Not the program itself but what runs it, for its size: here it is installed many times.
    let runner = runner_with(format!("#!/bin/sh\nexec '{PROGRAM}' \"$@\"\n").as_bytes());
    for nasty in NASTY {
        for name in ["image", "to"] {
            let job = runner.uses_in(&yard.path(""), &with(&[(name, nasty)]));
            let job = job.exits(2);
            assert_eq!(job.outputs["image"], "");
            let commands: Vec<&str> =
                job.log.lines().filter(|line| line.starts_with("::error::two")).collect();
            assert_eq!(commands, Vec::<&str>::new(), "{}", job.log);
        }
    }
    assert!(!runner.path("temp/pwned").exists());
}

#[test]
fn the_exit_code_is_that_of_the_program() {
    let yard = Yard::new();
    let (signed, unsigned) = (yard.build("1", "first"), yard.push("2", "second"));
    let mut runner = runner_with(&std::fs::read(PROGRAM).unwrap());
    runner.environment.insert("SAMEBITS_KEY".to_owned(), "keys/release.key".to_owned());
    let promote = |image: &str, more: &[(&'static str, &'static str)]| {
        let inputs = [("command", "promote"), ("image", image), ("to", "staging")];
        runner.uses_in(&yard.path(""), &[&inputs[..], more].concat())
    };
    let pinned = cli::at("staging", &signed);
    let yes = promote("oci:registry/shop:1", &[]).exits(0).says(&pinned);
    assert_eq!(yes.paths.len(), 1);
    assert_eq!(yes.outputs["image"], pinned);
    assert_eq!(yes.outputs["digest"], signed.digest.to_string());
    assert_eq!((yes.outputs["decision"].as_str(), yes.outputs["reasons"].as_str()), ("approved", ""));
    assert_eq!(yes.outputs["record"], "1");
    assert!(yes.summary.contains(&signed.digest.to_string()), "{}", yes.summary);

    let no = promote("oci:registry/shop:2", &[]).exits(1);
    assert_eq!((no.outputs["image"].as_str(), no.outputs["decision"].as_str()), ("", "denied"));
    assert_eq!(no.outputs["reasons"], "not-signed-by");
    assert!(no.log.contains("::error "), "{}", no.log);
    assert!(yard.tagged_if_there("oci:registry/staging/shop", "staging") == Some(signed.digest));
    assert_ne!(signed.digest, unsigned.digest);
    promote("oci:registry/shop:1", &[("policy", "nowhere.toml")]).exits(2);
    let undecided = promote("oci:registry/nothing:1", &[("service", "shop")]).exits(3);
    assert_eq!((undecided.outputs["image"].as_str(), undecided.outputs["reasons"].as_str()), ("", ""));

    // Neither another result nor a switch of the job takes the outputs away.
    runner.environment.insert("SAMEBITS_CI".to_owned(), "off".to_owned());
    let again = [("command", "promote"), ("image", "oci:registry/shop:1"), ("to", "staging")];
    let again = [&again[..], &[("output", "json=result.json\njunit=result.xml")]].concat();
    let again = runner.uses_in(&yard.path(""), &again).exits(0);
    assert_eq!(again.outputs["image"], pinned);
    assert!(yard.read("result.json").contains(&pinned) && yard.read("result.xml").contains("<testcase"));
    runner.uses_in(&yard.path(""), &[("command", "verify"), ("image", "oci:registry/shop:1")]).exits(0);
}

/// What the action hands on is what the program sets: a stub, which sets every output that the action declares.
#[test]
fn the_outputs_are_those_of_the_program() {
    let runner = Runner::new();
    let declared = names(&action(), "outputs");
    assert_eq!(declared, ["decision", "digest", "image", "permit", "reasons", "record"]);
    let lines: String = declared
        .iter()
        .map(|name| format!("printf '{name}<<END\\n{name} of\\nthe stub\\nEND\\n' >>\"$GITHUB_OUTPUT\"\n"))
        .collect();
    runner.release(format!("{STUB}{lines}echo '# Yes' >>\"$GITHUB_STEP_SUMMARY\"\n"));
    let job = runner.uses(&ASK).exits(0);
    for name in declared {
        assert_eq!(job.outputs[&name], format!("{name} of\nthe stub"));
    }
    assert_eq!(job.summary, "# Yes\n");
}

#[test]
fn every_input_is_mapped_and_used_and_none_reaches_a_script_as_text() {
    let action = action();
    let inputs = names(&action, "inputs");
    let mut used = Vec::new();
    for (number, script) in [(0, "install.sh"), (1, "run.sh")] {
        let step = format!("runs.steps.{number}");
        let text = std::fs::read_to_string(here("action").join(script)).unwrap();
        for key in ["run", "shell", "name"] {
            assert!(!action[&format!("{step}.{key}")].contains("${{"), "{step}.{key}");
        }
        assert_eq!(action[&format!("{step}.shell")], "bash --noprofile --norc -p -euo pipefail {0}");
        assert!(!text.contains("${{") && !text.contains("eval "), "{script}");
        for (variable, value) in below(&action, &format!("{step}.env")) {
            assert!(text.contains(&format!("${{{variable}:")), "{script} does not use {variable}");
            let input = value.strip_prefix("${{ inputs.").and_then(|rest| rest.strip_suffix(" }}"));
            used.extend(input.map(str::to_owned));
        }
        // And the other way: what a script takes for an input is one, and is given all of them.
        for variable in text.split("${INPUT_").skip(1).map(|rest| rest.split([':', '}']).next().unwrap()) {
            assert!(action.contains_key(&format!("{step}.env.INPUT_{variable}")), "{script}: {variable}");
        }
    }
    used.sort();
    assert_eq!(used, inputs);
    for output in names(&action, "outputs") {
        assert_eq!(
            action[&format!("outputs.{output}.value")],
            format!("${{{{ steps.run.outputs.{output} }}}}")
        );
    }
}

#[test]
fn f10_functions_and_start_up_files_of_the_environment_are_not_obeyed() {
    let mut runner = Runner::new();
    runner.release(STUB);
    let startup = runner.path("startup");
    std::fs::write(&startup, "echo >\"$RUNNER_TEMP/pwned\"\n").unwrap();
    for name in ["BASH_ENV", "ENV"] {
        runner.environment.insert(name.to_owned(), startup.to_str().unwrap().to_owned());
    }
    runner.uses(&ASK).exits(0);
    std::fs::remove_file(runner.path("temp/arguments")).unwrap();
    for name in ["BASH_FUNC_sha256sum%%", "BASH_FUNC_printf%%", "BASH_FUNC_test%%"] {
        let function = "() { echo >\"$RUNNER_TEMP/pwned\"; }".to_owned();
        runner.environment.insert(name.to_owned(), function);
        installs_nothing(&runner, &ASK, 2, "BASH_FUNC_");
        runner.environment.remove(name);
    }
    assert!(!runner.path("temp/pwned").exists());
}

/// Exit code 1 is a decision, and a script makes none.
#[test]
fn trouble_of_the_scripts_is_never_a_no() {
    let mut runner = Runner::new();
    runner.release(STUB);
    std::fs::remove_file(runner.path("tools/mkdir")).unwrap();
    runner.uses(&ASK).exits(3);
    let temp = runner.environment.remove("RUNNER_TEMP").unwrap();
    runner.uses(&ASK).exits(3);
    runner.environment.insert("RUNNER_TEMP".to_owned(), temp);
    std::fs::remove_file(runner.path("action/action/checksums.txt")).unwrap();
    runner.uses(&ASK).exits(3).says("checksums.txt is missing");
    assert_eq!(arguments(&runner), None);
}
