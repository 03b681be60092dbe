//! GitHub with this repository in it: jobs in the order of their needs, what each may do, and what one hands to the next.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{tools, yaml};
use crate::cli::{Ran, Yard, ran};
use crate::docker_registry::{DockerRegistry, Door};
use crate::git_server::GitServer;
use crate::hub::{Done, File, children, grants, needs};
use crate::peer;
use crate::runner::{below, executable, here, outputs};
use crate::sigstore::{Sigstore, oidc};

const WORKFLOWS: &str = ".github/workflows";
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
const PROGRAM: &str = env!("CARGO_BIN_EXE_samebits");
/// The environments of the repository (release/README.md), and whether the ledger's key is one of its secrets.
const ENVIRONMENTS: [(&str, bool); 4] =
    [("promote-staging", true), ("staging", true), ("promote-production", true), ("release", false)];

type Known = BTreeMap<String, String>;

/// What became of the jobs of a workflow.
pub(super) type Jobs = BTreeMap<String, Done>;

/// What goes wrong on the way, and at whose begin.
pub(super) enum Fault {
    /// A file of an artifact is gone when this job begins.
    Lost { job: &'static str, file: String },
    /// It has other bytes.
    Changed { job: &'static str, file: String },
    /// Steps of a workflow are passed over, and called done; of a matrix those whose `env` has such a value.
    Skipped { file: &'static str, step: &'static str, only: &'static str },
    /// The repository's environments have no secret.
    NoSecret,
}

/// The repository `samebits/samebits` with a tag, its machines, registry, ledger and Sigstore.
pub(super) struct Forge {
    pub(super) yard: Yard,
    pub(super) registry: DockerRegistry,
    ledger: GitServer,
    pub(super) sigstore: Sigstore,
    pub(super) tag: String,
    files: BTreeMap<String, File>,
    pub(super) fault: Option<Fault>,
    machines: usize,
}

/// Where a job runs.
pub(super) struct Machine {
    pub(super) folder: PathBuf,
    os: &'static str,
    architecture: &'static str,
}

/// A job: the file that defines it, and what it may do.
pub(super) struct Job<'a> {
    pub(super) workflow: &'a str,
    pub(super) permissions: &'a BTreeMap<String, String>,
}

/// Where a workflow runs: what called it with what, allowed to do what.
struct Call<'a> {
    file: &'a str,
    known: Known,
    permissions: Option<BTreeMap<String, String>>,
}

impl Forge {
    /// With `tag` pushed; `None`, which was said, where a program is missing.
    pub(super) fn with(tag: &str) -> Option<Self> {
        if !["git", "skopeo", "cosign"].iter().all(|program| peer::is_installed(program)) {
            return None;
        }
        let (registry, ledger) = (DockerRegistry::start(Door::Open)?, GitServer::start()?);
        let (yard, sigstore) = (Yard::empty(), Sigstore::start());
        for folder in ["bin", "origin", "published", "artifacts", "documents"] {
            std::fs::create_dir(yard.path(folder)).unwrap();
        }
        yard.write("documents/trusted_root.json", sigstore.trusted_root());
        yard.write("documents/signing_config.json", sigstore.signing_config());
        let variables: BTreeMap<_, _> = ledger.variables().into_iter().collect();
        let real = tools::Real {
            version: VERSION,
            samebits: PROGRAM,
            cosign: &installed("cosign"),
            documents: &yard.path("documents"),
            gitconfig: Path::new(&variables["GIT_CONFIG_GLOBAL"]),
            published: &yard.path("published"),
        };
        tools::write(&yard.path("bin"), &registry.host(), &real);
        let mut forge = Self {
            yard,
            registry,
            ledger,
            sigstore,
            tag: tag.to_owned(),
            files: BTreeMap::new(),
            fault: None,
            machines: 0,
        };
        forge.commit();
        Some(forge)
    }

    /// The commit that is released: this tree, made ready as release/README.md says ("Set up once"), with hosts that are here.
    fn commit(&mut self) {
        let origin = self.yard.path("origin");
        copy_of_this_tree(&origin);
        // The key, and the ledger on its branch.
        std::fs::create_dir(self.yard.path("setup")).unwrap();
        let url = self.ledger.url();
        let mut init = Command::new(PROGRAM);
        init.args(["init", "--origin", "samebits.dev/releases", "--ledger", &url]);
        init.current_dir(self.yard.path("setup")).env_clear().env("HOME", self.yard.path("setup"));
        ran(init.envs(self.ledger.variables())).exits(0);
        let written = self.yard.read("setup/samebits.toml");
        let line =
            |text: &str, key: &str| text.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
        let host = self.registry.host();
        let edit = |name: &str, edit: &dyn Fn(String) -> String| {
            let text = std::fs::read_to_string(origin.join(name)).unwrap();
            std::fs::write(origin.join(name), edit(text.replace("ghcr.io", &host))).unwrap();
        };
        edit("release/samebits.toml", &|text| {
            let text = text.replace(&line(&text, "verifier "), &line(&written, "verifier "));
            let text = text.replace(&line(&text, "url "), &format!("url = \"{url}\""));
            text + &format!(
                "\n[registries.\"{host}\"]\nplain-http = true\n\n[roots.public-good]\n\
                 trusted-root = \"trusted_root.json\"\n"
            )
        });
        std::fs::copy(
            self.yard.path("documents/trusted_root.json"),
            origin.join("release/trusted_root.json"),
        )
        .unwrap();
        edit("release/job.sh", &|text| text);
        for entry in std::fs::read_dir(origin.join(WORKFLOWS)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            edit(&format!("{WORKFLOWS}/{name}"), &|text| text);
            let text = std::fs::read_to_string(origin.join(WORKFLOWS).join(&name)).unwrap();
            self.files.insert(name, yaml::read(&text));
        }
        let git = |args: &[&str]| {
            let mut git = peer::alone("git", &origin);
            git.args(["-c", "user.name=a", "-c", "user.email=a@a.example", "-c", "init.defaultBranch=main"]);
            peer::said(git.args(args)).unwrap();
        };
        git(&["init", "--quiet"]);
        git(&["add", "--all", "--force"]);
        git(&["commit", "--quiet", "--message", "a release"]);
        git(&["tag", &self.tag]);
    }

    /// What the push of the tag starts.
    pub(super) fn push(&mut self) -> Jobs {
        self.again(Jobs::new())
    }

    /// "Re-run failed jobs": those that did not succeed, with what the others left.
    pub(super) fn again(&mut self, done: Jobs) -> Jobs {
        let done: Jobs = done.into_iter().filter(|(_, done)| done.succeeded == Some(true)).collect();
        // None is there, but for those of environments.
        let known = Known::from([("secrets.SAMEBITS_LEDGER_KEY".to_owned(), String::new())]);
        self.workflow(&Call { file: "release.yml", known, permissions: None }, done)
    }

    /// The same, and this job too.
    pub(super) fn from(&mut self, job: &str, mut done: Jobs) -> Jobs {
        done.remove(job);
        self.again(done)
    }

    /// What was published as the release of the tag, by name; `None` where nothing was.
    pub(super) fn published(&self) -> Option<Vec<String>> {
        assert!(std::fs::read_dir(self.yard.path("published")).unwrap().count() <= 2);
        let release = std::fs::read_dir(self.yard.path("published").join(&self.tag)).ok()?;
        let mut names: Vec<String> =
            release.map(|asset| asset.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        Some(names)
    }

    /// samebits with the policy of the release, as anybody can ask it.
    pub(super) fn ask(&self, args: &[&str]) -> Ran {
        let policy = self.yard.path("origin/release/samebits.toml");
        let mut command = self.yard.command(args.iter().copied());
        command.arg("--policy").arg(policy).envs(self.ledger.variables());
        ran(&mut command)
    }

    /// Of the artifact that a job of that name left: `ARTIFACT/FILE`.
    pub(super) fn artifact(&self, file: &str) -> PathBuf {
        self.yard.path("artifacts").join(file)
    }

    fn workflow(&mut self, call: &Call<'_>, mut done: Jobs) -> Jobs {
        let file = self.files[call.file].clone();
        assert_eq!(file["permissions"], "{}", "{}", call.file);
        let names = children(&file, "jobs");
        while done.len() < names.len() {
            let ready = |name: &&String| {
                !done.contains_key(*name) && needs(&file, name).all(|it| done.contains_key(it))
            };
            let name = names.iter().find(ready).expect("needs go round in a circle").clone();
            let finished = match needs(&file, &name).all(|it| done[it].succeeded == Some(true)) {
                true => self.job(call, &file, &name, &done),
                false => Done::default(),
            };
            done.insert(name, finished);
        }
        done
    }

    fn job(&mut self, call: &Call<'_>, file: &File, name: &str, done: &Jobs) -> Done {
        let job = format!("jobs.{name}");
        self.sabotage(name);
        let mut known = call.known.clone();
        // What a job does not name among its needs it does not see.
        for other in needs(file, name) {
            let of = done[other].outputs.iter();
            known.extend(of.map(|(key, value)| (format!("needs.{other}.outputs.{key}"), value.clone())));
        }
        let permissions = table(file, &format!("{job}.permissions"));
        if let Some(granted) = &call.permissions {
            let more = permissions.iter().find(|(of, level)| !grants(granted, of, level));
            assert_eq!(more, None, "{} {name} may do more than its caller: GitHub starts nothing", call.file);
        }
        if let Some(called) = file.get(&format!("{job}.uses")) {
            let called = called.strip_prefix("./.github/workflows/").unwrap();
            let mut handed = Known::new();
            for (kind, prefix) in [("with", "inputs"), ("secrets", "secrets")] {
                let given = below(file, &format!("{job}.{kind}"));
                handed.extend(given.map(|(key, value)| (format!("{prefix}.{key}"), expand(value, &known))));
            }
            return self.called(called, handed, permissions);
        }
        let rows = children(file, &format!("{job}.strategy.matrix.include"));
        if rows.is_empty() {
            return self.steps(call.file, file, &job, known, &permissions);
        }
        let mut all = Done { succeeded: Some(true), ..Done::default() };
        for row in rows {
            let mut known = known.clone();
            let row = below(file, &format!("{job}.strategy.matrix.include.{row}"));
            known.extend(row.map(|(key, value)| (format!("matrix.{key}"), value.to_owned())));
            let one = self.steps(call.file, file, &job, known, &permissions);
            all.log += &one.log;
            assert!(one.outputs.is_empty(), "of which row?");
            if one.succeeded != Some(true) {
                // `fail-fast`.
                return Done { succeeded: Some(false), ..all };
            }
        }
        all
    }

    fn called(&mut self, name: &str, known: Known, permissions: BTreeMap<String, String>) -> Done {
        let file = self.files[name].clone();
        for (of, prefix) in [("inputs", "inputs"), ("secrets", "secrets")] {
            let wanted = children(&file, &format!("on.workflow_call.{of}"));
            let given: Vec<_> = below_known(&known, prefix).collect();
            assert_eq!(given, wanted, "{name}: {of}");
        }
        let jobs = self.workflow(&Call { file: name, known, permissions: Some(permissions) }, Jobs::new());
        let succeeded = jobs.values().all(|done| done.succeeded == Some(true));
        let mut known = Known::new();
        for (job, done) in &jobs {
            let of = done.outputs.iter();
            known.extend(of.map(|(key, value)| (format!("jobs.{job}.outputs.{key}"), value.clone())));
        }
        let names = if succeeded { children(&file, "on.workflow_call.outputs") } else { Vec::new() };
        let outputs = names.into_iter().map(|output| {
            let value = expand(&file[&format!("on.workflow_call.outputs.{output}.value")], &known);
            (output, value)
        });
        Done {
            outputs: outputs.collect(),
            succeeded: Some(succeeded),
            log: jobs.into_values().map(|done| done.log).collect(),
        }
    }

    fn steps(
        &mut self,
        workflow: &str,
        file: &File,
        job: &str,
        mut known: Known,
        permissions: &BTreeMap<String, String>,
    ) -> Done {
        let machine = self.machine(&expand(&file[&format!("{job}.runs-on")], &known));
        let context = [
            ("github.ref_name", self.tag.as_str()),
            ("github.repository", "samebits/samebits"),
            ("github.server_url", "https://github.com"),
            ("github.token", "a-token"),
            ("runner.os", machine.os),
        ];
        known.extend(context.map(|(name, value)| (name.to_owned(), value.to_owned())));
        if let Some(environment) = file.get(&format!("{job}.environment")) {
            let environment = expand(environment, &known);
            let (_, has_key) = ENVIRONMENTS.iter().find(|(name, _)| *name == environment).unwrap();
            if *has_key && !matches!(self.fault, Some(Fault::NoSecret)) {
                let key = self.yard.read("setup/keys/ledger.key").trim().to_owned();
                known.insert("secrets.SAMEBITS_LEDGER_KEY".to_owned(), key);
            }
        }
        let which = Job { workflow, permissions };
        let mut done = Done { succeeded: Some(true), ..Done::default() };
        for number in 0..children(file, &format!("{job}.steps")).len() {
            let step = format!("{job}.steps.{number}");
            if let Some(condition) = file.get(&format!("{step}.if")) {
                let (name, value) = condition.split_once(" == '").unwrap();
                if known[name] != value.strip_suffix('\'').unwrap() {
                    continue;
                }
            }
            let filled = |kind: &str| -> BTreeMap<String, String> {
                let given = below(file, &format!("{step}.{kind}"));
                given.map(|(name, value)| (name.to_owned(), expand(value, &known))).collect()
            };
            let (with, environment) = (filled("with"), filled("env"));
            if self.skips(workflow, file.get(&format!("{step}.name")), &environment) {
                continue;
            }
            let result = match (file.get(&format!("{step}.uses")), file.get(&format!("{step}.run"))) {
                (Some(uses), None) => self.action(uses.split('@').next().unwrap(), &with, &which, &machine),
                (None, Some(run)) => {
                    let shell = &file["defaults.run.shell"];
                    self.script(&which, shell, run, &environment, &machine, &mut done.log)
                }
                other => panic!("{step}: {other:?}"),
            };
            let Some(said) = result else {
                done.succeeded = Some(false);
                return done;
            };
            if let Some(id) = file.get(&format!("{step}.id")) {
                known.extend(
                    said.into_iter().map(|(name, value)| (format!("steps.{id}.outputs.{name}"), value)),
                );
            }
        }
        for output in children(file, &format!("{job}.outputs")) {
            let value = expand(&file[&format!("{job}.outputs.{output}")], &known);
            done.outputs.insert(output, value);
        }
        done
    }

    /// A fresh one, by the label of `runs-on`.
    fn machine(&mut self, label: &str) -> Machine {
        self.machines += 1;
        let folder = self.yard.path(&format!("machine-{}", self.machines));
        for name in ["temp", "home"] {
            std::fs::create_dir_all(folder.join(name)).unwrap();
        }
        let (os, architecture) = match label {
            "ubuntu-24.04" => ("Linux", "X64"),
            "ubuntu-24.04-arm" => ("Linux", "ARM64"),
            "macos-15" => ("macOS", "ARM64"),
            "macos-15-intel" => ("macOS", "X64"),
            "windows-2025" => ("Windows", "X64"),
            other => panic!("what is {other}?"),
        };
        Machine { folder, os, architecture }
    }

    /// A step with `run`; its outputs, or `None` where it failed.
    fn script(
        &self,
        job: &Job<'_>,
        shell: &str,
        run: &str,
        environment: &BTreeMap<String, String>,
        machine: &Machine,
        log: &mut String,
    ) -> Option<Vec<(String, String)>> {
        let at = |name: &str| machine.folder.join(name);
        std::fs::write(at("step.sh"), run).unwrap();
        let mut words = shell.split(' ').map(|word| word.replace("{0}", at("step.sh").to_str().unwrap()));
        let mut command = Command::new(words.next().unwrap());
        command.args(words).current_dir(at("workspace")).env_clear().stdin(Stdio::null());
        command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", self.yard.path("bin").display()));
        for name in ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_ENV", "GITHUB_PATH"] {
            std::fs::write(at(name), "").unwrap();
            command.env(name, at(name));
        }
        let ours = [
            ("CI", "true"),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_ACTOR", "octocat"),
            ("GITHUB_EVENT_NAME", "push"),
            ("GITHUB_REF", &format!("refs/tags/{}", self.tag)),
            ("GITHUB_REF_NAME", &self.tag),
            ("GITHUB_REPOSITORY", "samebits/samebits"),
            ("GITHUB_RUN_ATTEMPT", "1"),
            ("GITHUB_RUN_ID", "9001"),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_WORKSPACE", at("workspace").to_str().unwrap()),
            ("HOME", at("home").to_str().unwrap()),
            ("RUNNER_ARCH", machine.architecture),
            ("RUNNER_OS", machine.os),
            ("RUNNER_TEMP", at("temp").to_str().unwrap()),
            // The services of the test's Sigstore; and the world is out of reach.
            ("SAMEBITS_SIGNING_CONFIG", self.yard.path("documents/signing_config.json").to_str().unwrap()),
            ("HTTP_PROXY", "http://127.0.0.1:1"),
            ("HTTPS_PROXY", "http://127.0.0.1:1"),
            ("NO_PROXY", "127.0.0.1"),
        ]
        .map(|(name, value)| (name, value.to_owned()));
        command.envs(ours);
        if grants(job.permissions, "id-token", "write") {
            self.sigstore.oidc.set_ambient(self.claims(job.workflow));
            command.env("ACTIONS_ID_TOKEN_REQUEST_URL", self.sigstore.ambient_url());
            command.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", oidc::BEARER);
        }
        let ran = ran(command.envs(environment));
        *log += &format!("{}{}", ran.stdout, ran.stderr);
        if let Some(code) = ran.code.filter(|code| *code != 0) {
            *log += &format!("exit code {code}\n");
        }
        let read = |name: &str| std::fs::read_to_string(at(name)).unwrap();
        assert_eq!(read("GITHUB_ENV") + &read("GITHUB_PATH"), "", "no step sets anything for the next");
        (ran.code == Some(0)).then(|| outputs(&read("GITHUB_OUTPUT")))
    }

    /// Of the token of a job that `workflow` defines.
    pub(super) fn claims(&self, workflow: &str) -> Value {
        let tag = format!("refs/tags/{}", self.tag);
        let mut claims = oidc::github("samebits/samebits", workflow, &tag);
        claims["workflow_ref"] = json!(format!("samebits/samebits/.github/workflows/release.yml@{tag}"));
        claims
    }

    fn skips(&self, workflow: &str, step: Option<&String>, environment: &BTreeMap<String, String>) -> bool {
        let Some(Fault::Skipped { file, step: name, only }) = &self.fault else { return false };
        let here = workflow == *file && step.is_some_and(|step| step == name);
        here && (only.is_empty() || environment.values().any(|value| value == only))
    }

    fn sabotage(&self, name: &str) {
        match &self.fault {
            Some(Fault::Lost { job, file }) if *job == name => {
                std::fs::remove_file(self.artifact(file)).unwrap()
            }
            Some(Fault::Changed { job, file }) if *job == name => {
                std::fs::write(self.artifact(file), "evil").unwrap()
            }
            Some(Fault::Lost { .. } | Fault::Changed { .. } | Fault::Skipped { .. } | Fault::NoSecret)
            | None => {}
        }
    }
}

/// `text` with its expressions replaced; one that is not known fails the test.
pub(super) fn expand(text: &str, known: &Known) -> String {
    let mut parts = text.split("${{ ");
    let mut expanded = parts.next().unwrap().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(" }}").unwrap();
        expanded += known
            .get(name)
            .unwrap_or_else(|| panic!("what is {name} in {text:?}? known: {:?}", known.keys()));
        expanded += rest;
    }
    expanded
}

fn table(file: &File, of: &str) -> BTreeMap<String, String> {
    below(file, of).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn below_known<'a>(known: &'a Known, prefix: &'a str) -> impl Iterator<Item = String> + 'a {
    below(known, prefix).map(|(name, _)| name.to_owned())
}

/// Where a program of the caller's PATH lies.
fn installed(program: &str) -> PathBuf {
    #[allow(clippy::disallowed_methods, reason = "where the peers are, and nothing else of the caller's")]
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.exists()).unwrap()
}

/// What is committed here or would be.
fn copy_of_this_tree(to: &Path) {
    let listed = peer::said(peer::alone("git", &here("")).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]));
    for name in String::from_utf8(listed.unwrap()).unwrap().split_terminator('\0') {
        // One that was removed is listed still; a link is another's.
        if here(name).symlink_metadata().is_ok_and(|about| about.is_file()) {
            std::fs::create_dir_all(to.join(name).parent().unwrap()).unwrap();
            std::fs::copy(here(name), to.join(name)).unwrap();
        }
    }
    executable(&to.join("release/version.sh"));
}
