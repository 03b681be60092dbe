//! GitHub, as far as `examples/github` can tell: workflows that call workflows, jobs in the order of their needs, the tokens
//! that a job's permissions allow, and for each step what its action would do. Our own action is the real one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use samebits::collect::BUNDLE;
use samebits::reference::Image;
use serde_json::{Value, json};

use crate::cli::{Ran, Yard, ran};
use crate::runner::{Runner, below, expand, here, runner_with, yaml};
use crate::sigstore::{Sigstore, oidc};

pub(crate) const WORKFLOWS: &str = "examples/github/.github/workflows";
const ACTIONS: &str = "https://actions.github.io/buildtypes/workflow/v1";

/// A file of YAML, from dotted path to value.
pub(crate) type File = BTreeMap<String, String>;
type Known = BTreeMap<String, String>;

/// Every workflow of the example, by file name.
pub(crate) fn workflows() -> BTreeMap<String, File> {
    let folder = std::fs::read_dir(here(WORKFLOWS)).unwrap();
    let files = folder.map(|entry| entry.unwrap().path());
    let name = |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().to_owned();
    files.map(|file| (name(&file), yaml(&std::fs::read_to_string(file).unwrap()))).collect()
}

/// The names one level below `prefix`, each once.
pub(crate) fn children(file: &File, prefix: &str) -> Vec<String> {
    let mut names: Vec<String> =
        below(file, prefix).map(|(path, _)| path.split('.').next().unwrap().to_owned()).collect();
    names.dedup();
    names
}

/// What became of a job.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    /// `None`: skipped.
    pub(crate) succeeded: Option<bool>,
    pub(crate) outputs: BTreeMap<String, String>,
    pub(crate) log: String,
}

/// The repository `acme/shop`, its runner, and a Sigstore that stands for the public one.
pub(crate) struct Hub {
    pub(crate) yard: Yard,
    sigstore: Sigstore,
    runner: Runner,
    pub(crate) workflows: BTreeMap<String, File>,
    /// What the build makes.
    pub(crate) image: Image,
    /// Whose push it is: what differs from `acme/shop` at main.
    pub(crate) claims: Value,
}

/// Where a workflow runs: what called it with what.
struct Call<'a> {
    file: &'a str,
    known: Known,
    /// Those of the caller; a called workflow can have no more.
    permissions: Option<BTreeMap<String, String>>,
}

impl Hub {
    pub(crate) fn new() -> Self {
        let (yard, sigstore) = (Yard::new(), Sigstore::start());
        yard.write("trusted_root.json", sigstore.trusted_root());
        yard.write("signing_config.json", sigstore.signing_config());
        let example = std::fs::read_to_string(here("examples/github/samebits.toml")).unwrap();
        yard.edit_policy(|ours| policy(&example, &ours));
        yard.write("deploy.sh", "#!/bin/sh\necho \"$1 $2\" >>deployed\n");
        crate::runner::executable(&yard.path("deploy.sh"));
        let program = env!("CARGO_BIN_EXE_samebits");
        let mut runner = runner_with(format!("#!/bin/sh\nexec '{program}' \"$@\"\n").as_bytes());
        let config = yard.path("signing_config.json").to_str().unwrap().to_owned();
        runner.environment.insert("SAMEBITS_SIGNING_CONFIG".to_owned(), config);
        let image = yard.push("1", "first");
        Self { yard, sigstore, runner, workflows: workflows(), image, claims: json!({}) }
    }

    /// What was deployed where, a line each.
    pub(crate) fn deployed(&self) -> String {
        std::fs::read_to_string(self.yard.path("deployed")).unwrap_or_default()
    }

    /// The push to main.
    pub(crate) fn push(&mut self) -> BTreeMap<String, Done> {
        let key = self.yard.read("keys/ledger.key").trim().to_owned();
        let known = Known::from([("secrets.SAMEBITS_LEDGER_KEY".to_owned(), key)]);
        self.workflow(&Call { file: "release.yml", known, permissions: None })
    }

    /// One workflow, called by somebody who grants it everything.
    pub(crate) fn call(&mut self, file: &str, inputs: &[(&str, &str)]) -> BTreeMap<String, Done> {
        let key = self.yard.read("keys/ledger.key").trim().to_owned();
        let mut known = Known::from([("secrets.ledger-key".to_owned(), key)]);
        known.extend(inputs.iter().map(|(name, value)| (format!("inputs.{name}"), (*value).to_owned())));
        self.workflow(&Call { file, known, permissions: None })
    }

    /// Runs the binary as a job of `file`.
    pub(crate) fn run_as<'a>(&self, file: &str, args: impl IntoIterator<Item = &'a str>) -> Ran {
        let mut command = self.yard.command(args);
        command.args(["--keyless", "--signing-config", "signing_config.json"]);
        command.env("SAMEBITS_LEDGER_KEY", "keys/ledger.key");
        ran(command.env("SIGSTORE_ID_TOKEN", self.sigstore.token(&self.token(file))))
    }

    /// The claims of a job that `file` defines and release.yml of whoever it is calls.
    fn token(&self, file: &str) -> Value {
        let mut claims = oidc::github("acme/shop", file, "refs/heads/main");
        claims["workflow_ref"] = json!("acme/shop/.github/workflows/release.yml@refs/heads/main");
        claims.as_object_mut().unwrap().extend(self.claims.as_object().unwrap().clone());
        claims
    }

    fn workflow(&mut self, call: &Call<'_>) -> BTreeMap<String, Done> {
        let file = self.workflows[call.file].clone();
        assert_eq!(file["permissions"], "{}", "{}", call.file);
        let mut done: BTreeMap<String, Done> = BTreeMap::new();
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

    fn job(&mut self, call: &Call<'_>, file: &File, name: &str, done: &BTreeMap<String, Done>) -> Done {
        let job = format!("jobs.{name}");
        let mut known = call.known.clone();
        for (other, done) in done {
            known.extend(
                done.outputs
                    .iter()
                    .map(|(key, value)| (format!("needs.{other}.outputs.{key}"), value.clone())),
            );
        }
        let permissions: BTreeMap<String, String> = below(file, &format!("{job}.permissions"))
            .map(|(of, level)| (of.to_owned(), level.to_owned()))
            .collect();
        if let Some(granted) = &call.permissions {
            let more = permissions.iter().find(|(of, level)| !grants(granted, of, level));
            assert_eq!(
                more, None,
                "{} {name} asks for more than its caller has: GitHub starts nothing",
                call.file
            );
        }
        match file.get(&format!("{job}.uses")) {
            Some(called) => {
                let called = called.strip_prefix("./.github/workflows/").unwrap();
                let mut handed = Known::new();
                for (kind, prefix) in [("with", "inputs"), ("secrets", "secrets")] {
                    let given = below(file, &format!("{job}.{kind}"));
                    handed
                        .extend(given.map(|(key, value)| (format!("{prefix}.{key}"), expand(value, &known))));
                }
                self.called(called, handed, permissions)
            }
            None => self.steps(call.file, file, &job, known, &permissions),
        }
    }

    fn called(&mut self, name: &str, known: Known, permissions: BTreeMap<String, String>) -> Done {
        let file = self.workflows[name].clone();
        for input in children(&file, "on.workflow_call.inputs") {
            assert!(known.contains_key(&format!("inputs.{input}")), "{name} is not given {input}");
        }
        let jobs = self.workflow(&Call { file: name, known, permissions: Some(permissions) });
        let mut known = Known::new();
        for (job, done) in &jobs {
            known.extend(
                done.outputs.iter().map(|(key, value)| (format!("jobs.{job}.outputs.{key}"), value.clone())),
            );
        }
        let outputs = children(&file, "on.workflow_call.outputs").into_iter().map(|output| {
            let value = expand(&file[&format!("on.workflow_call.outputs.{output}.value")], &known);
            (output, value)
        });
        Done {
            outputs: outputs.collect(),
            succeeded: Some(jobs.values().all(|done| done.succeeded == Some(true))),
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
        known.extend(
            [("github.sha", "c4a1f2d"), ("github.actor", "octocat"), ("github.token", "a-token")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        known.insert("runner.temp".to_owned(), self.runner.path("temp").to_str().unwrap().to_owned());
        let signs = grants(permissions, "id-token", "write");
        let mut done = Done { succeeded: Some(true), ..Done::default() };
        for number in 0..children(file, &format!("{job}.steps")).len() {
            let step = format!("{job}.steps.{number}");
            let environment: BTreeMap<String, String> = below(file, &format!("{step}.env"))
                .map(|(name, value)| (name.to_owned(), expand(value, &known)))
                .collect();
            let id = file.get(&format!("{step}.id")).cloned().unwrap_or_default();
            let succeeded = match file
                .get(&format!("{step}.uses"))
                .map(|uses| uses.split('@').next().unwrap())
            {
                None => self.script(&file[&format!("{step}.run")], &environment, &mut done),
                Some("acme/samebits") => {
                    let inputs: Vec<(String, String)> = below(file, &format!("{step}.with"))
                        .map(|(name, value)| (name.to_owned(), expand(value, &known)))
                        .collect();
                    let job = self.samebits(workflow, &inputs, environment, signs);
                    done.log += &job.log;
                    let outputs = job.outputs.into_iter();
                    known.extend(outputs.map(|(name, value)| (format!("steps.{id}.outputs.{name}"), value)));
                    job.code == Some(0)
                }
                Some("docker/build-push-action") => {
                    known.insert(format!("steps.{id}.outputs.digest"), self.image.digest.to_string());
                    true
                }
                Some("actions/attest-build-provenance") => {
                    assert!(signs && grants(permissions, "attestations", "write"));
                    self.attest(workflow);
                    true
                }
                Some("actions/checkout" | "docker/login-action" | "docker/setup-buildx-action") => true,
                Some(other) => panic!("what does {other} do?"),
            };
            if !succeeded {
                done.succeeded = Some(false);
                break;
            }
        }
        for output in children(file, &format!("{job}.outputs")) {
            let value = expand(&file[&format!("{job}.outputs.{output}")], &known);
            done.outputs.insert(output, value.replace("ghcr.io/acme/", "oci:registry/"));
        }
        done
    }

    /// A step with `run`: `bash -e`, as at GitHub where no `shell` is said.
    fn script(&self, script: &str, environment: &BTreeMap<String, String>, done: &mut Done) -> bool {
        self.yard.write("step.sh", script);
        let mut command = Command::new("bash");
        command.args(["-e", "step.sh"]).current_dir(self.yard.path("")).env_clear();
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", self.runner.path("home"));
        let ran = ran(command.env("RUNNER_TEMP", self.runner.path("temp")).envs(environment));
        done.log += &format!("{}{}", ran.stdout, ran.stderr);
        ran.code == Some(0)
    }

    fn samebits(
        &mut self,
        workflow: &str,
        inputs: &[(String, String)],
        environment: BTreeMap<String, String>,
        signs: bool,
    ) -> crate::runner::Job {
        let before = self.runner.environment.clone();
        self.runner.environment.extend(environment);
        if signs {
            self.sigstore.oidc.set_ambient(self.token(workflow));
            let token = [
                ("ACTIONS_ID_TOKEN_REQUEST_URL", self.sigstore.ambient_url()),
                ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", oidc::BEARER.to_owned()),
            ];
            self.runner.environment.extend(token.map(|(name, value)| (name.to_owned(), value)));
        }
        let inputs: Vec<(&str, &str)> =
            inputs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let job = self.runner.uses_in(&self.yard.path(""), &inputs);
        self.runner.environment = before;
        job
    }

    /// What actions/attest-build-provenance says of the image, by the certificate of its job.
    fn attest(&self, workflow: &str) {
        let claims = self.token(workflow);
        let subject =
            json!([{ "name": self.image.repository, "digest": { "sha256": self.image.digest.hex() } }]);
        let bundle = provenance(&self.sigstore, &claims, &subject);
        let none = BTreeMap::new();
        let attached = self.yard.registries.attach(&self.image, BUNDLE[0], BUNDLE[0], &bundle, &none);
        self.yard.runtime.block_on(attached).unwrap();
    }
}

/// The bundle that actions/attest-build-provenance makes in a job of release.yml, or of a workflow that it calls.
pub(crate) fn provenance(sigstore: &Sigstore, claims: &Value, subject: &Value) -> Vec<u8> {
    let said = |name: &str| claims[name].as_str().unwrap();
    let (source, path) =
        (format!("https://github.com/{}", said("repository")), ".github/workflows/release.yml");
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": ACTIONS,
                "externalParameters": {
                    "workflow": { "ref": said("ref"), "repository": source, "path": path },
                },
                "internalParameters": { "github": {
                    "event_name": said("event_name"), "runner_environment": said("runner_environment"),
                } },
                "resolvedDependencies": [{
                    "uri": format!("git+{source}@{}", said("ref")), "digest": { "gitCommit": said("sha") },
                }],
            },
            "runDetails": {
                "builder": { "id": format!("https://github.com/{}", said("job_workflow_ref")) },
                "metadata": { "invocationId": format!("{source}/actions/runs/9001/attempts/2") },
            },
        },
    });
    let who = sigstore.identity(claims);
    sigstore.bundle(statement.to_string().as_bytes(), &who, sigstore.now())
}

/// The example's policy with this yard's registry, ledger and root; `ours` is what `init` wrote.
fn policy(example: &str, ours: &str) -> String {
    let line = |text: &str, key: &str| text.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    let example = ["url ", "origin ", "verifier "]
        .into_iter()
        .fold(example.to_owned(), |text, key| text.replace(&line(&text, key), &line(ours, key)));
    let root = "\n[roots.public-good]\ntrusted-root = \"trusted_root.json\"\n";
    example.replace("ghcr.io/acme/", "oci:registry/") + root
}

pub(crate) fn needs<'a>(file: &'a File, job: &str) -> impl Iterator<Item = &'a str> {
    let (one, many) = (format!("jobs.{job}.needs"), format!("jobs.{job}.needs."));
    file.iter()
        .filter(move |(path, _)| **path == one || path.starts_with(&many))
        .map(|(_, value)| value.as_str())
}

pub(crate) fn grants(permissions: &BTreeMap<String, String>, of: &str, level: &str) -> bool {
    permissions.get(of).is_some_and(|granted| granted == level || granted == "write")
}
