//! A runner of GitHub Actions, as far as a composite action can tell: it takes `action.yml` at its word. Steps run in
//! order with their `shell`, `run` and `env`; expressions are replaced in `env` alone; a step that fails ends the job.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use samebits::digest::Digest;
use tempfile::TempDir;

/// The asset of a release for the machine that the runner says it is.
pub(crate) const ASSET: &str = "samebits-1.2.3-x86_64-unknown-linux-musl";

/// What the scripts may find on the PATH. Neither gh nor cargo: who wants one puts a stub there.
const TOOLS: [&str; 8] = ["bash", "chmod", "cp", "curl", "mkdir", "mv", "rm", "sha256sum"];

/// A file of YAML, read strictly: `key: value`, two spaces a level, lists of maps or words, blocks after `|`, comments. Anything
/// else fails the test, so that nothing is read otherwise than GitHub reads it. From dotted path to value.
pub(crate) fn yaml(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let mut path: Vec<String> = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let content = line.trim_start_matches(' ');
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let mut level = (line.len() - content.len()) / 2;
        assert_eq!((line.len() - content.len()) % 2, 0, "{line}");
        let item = content.strip_prefix("- ");
        if item.is_some() {
            let number = path.get(level).map_or(0, |last| last.parse::<usize>().unwrap() + 1);
            path.truncate(level);
            path.push(number.to_string());
            level += 1;
        }
        let content = item.unwrap_or(content);
        let content = content.split_once(" #").map_or(content, |(content, _)| content);
        let Some((key, value)) = content.split_once(':') else {
            assert!(item.is_some() && !content.contains(['"', '\'', '{', '[']), "{line}");
            values.insert(path.join("."), content.to_owned());
            continue;
        };
        let value = value.strip_prefix(' ').unwrap_or(value);
        assert!(key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{line}");
        let plain = !value.starts_with(['>', '[', '{', '&', '*', '!', '"', '\'']) || value == "{}";
        assert!(plain, "{line}");
        assert!(!value.contains(": ") && path.len() >= level, "{line}");
        path.truncate(level);
        path.push(key.to_owned());
        if let Some(rest) = value.strip_prefix('|') {
            assert_eq!(rest, "", "{line}");
            let indent = " ".repeat(2 * (level + 1));
            let mut block = String::new();
            while let Some(line) = lines.next_if(|line| line.starts_with(&indent) || line.is_empty()) {
                block.extend([line.strip_prefix(&indent).unwrap_or(""), "\n"]);
            }
            assert_eq!(values.insert(path.join("."), block), None, "{line}");
        } else if !value.is_empty() {
            assert_eq!(values.insert(path.join("."), value.to_owned()), None, "{line}");
        }
    }
    values
}

/// What is below `prefix.`: the rest of each path, and its value.
pub(crate) fn below<'a>(
    values: &'a BTreeMap<String, String>,
    prefix: &str,
) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
    let prefix = format!("{prefix}.");
    values.iter().filter_map(move |(path, value)| Some((path.strip_prefix(&prefix)?, value.as_str())))
}

/// The names of the inputs or outputs.
pub(crate) fn names(values: &BTreeMap<String, String>, of: &str) -> Vec<String> {
    let names = below(values, of).filter_map(|(path, _)| path.strip_suffix(".description"));
    names.map(str::to_owned).collect()
}

/// This repository's `action.yml`.
pub(crate) fn action() -> BTreeMap<String, String> {
    yaml(&std::fs::read_to_string(here("action.yml")).unwrap())
}

pub(crate) fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A machine with the action checked out, and a folder of releases.
pub(crate) struct Runner {
    folder: TempDir,
    /// What the runner sets, beside what it sets for each step.
    pub(crate) environment: BTreeMap<String, String>,
    action: BTreeMap<String, String>,
}

/// What a job left behind.
#[derive(Debug)]
pub(crate) struct Job {
    /// The exit code of the step that failed, or 0.
    pub(crate) code: Option<i32>,
    /// Stdout and stderr of all steps.
    pub(crate) log: String,
    /// Those of the action, empty where nothing was set.
    pub(crate) outputs: BTreeMap<String, String>,
    /// What was added to the PATH.
    pub(crate) paths: Vec<String>,
    pub(crate) summary: String,
}

impl Job {
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.log);
        self
    }

    #[track_caller]
    pub(crate) fn says(self, word: &str) -> Self {
        assert!(self.log.contains(word), "{word:?} was not said:\n{}", self.log);
        self
    }
}

impl Runner {
    /// With nothing released.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        for name in ["action/action", "release/v1.2.3", "temp", "tool-cache", "tools", "workspace", "home"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        for script in ["common.sh", "install.sh", "run.sh", "checksums.txt"] {
            std::fs::copy(here("action").join(script), at(&format!("action/action/{script}"))).unwrap();
        }
        #[allow(clippy::disallowed_methods, reason = "where the tools are, and nothing else of the caller's")]
        let path = std::env::var_os("PATH").unwrap();
        for tool in TOOLS {
            let found =
                std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|file| file.exists());
            let found = found.unwrap_or_else(|| panic!("the action needs {tool}, and it is not installed"));
            std::os::unix::fs::symlink(found, at(&format!("tools/{tool}"))).unwrap();
        }
        let environment = [
            ("PATH", at("tools")),
            ("HOME", at("home")),
            ("CI", "true".to_owned()),
            ("GITHUB_ACTIONS", "true".to_owned()),
            ("GITHUB_ACTION_PATH", at("action")),
            ("GITHUB_WORKSPACE", at("workspace")),
            ("GITHUB_SERVER_URL", "https://github.invalid".to_owned()),
            ("RUNNER_TEMP", at("temp")),
            ("RUNNER_TOOL_CACHE", at("tool-cache")),
            ("RUNNER_OS", "Linux".to_owned()),
            ("RUNNER_ARCH", "X64".to_owned()),
        ];
        let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { folder, environment, action: action() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts `bytes` where the release has its binary; no checksum of it is committed.
    pub(crate) fn serve(&self, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path("release/v1.2.3").join(ASSET), bytes).unwrap();
    }

    /// Commits the checksum of `bytes` with the action.
    pub(crate) fn pin(&self, bytes: impl AsRef<[u8]>) {
        let line = format!("# 1.2.3\n{}  {ASSET}\n", Digest::of(bytes.as_ref()).hex());
        std::fs::write(self.path("action/action/checksums.txt"), line).unwrap();
    }

    /// Both: a release as it should be.
    pub(crate) fn release(&self, bytes: impl AsRef<[u8]>) {
        self.serve(&bytes);
        self.pin(bytes);
    }

    /// Where the action keeps a binary of `bytes` from job to job.
    pub(crate) fn cached(&self, bytes: impl AsRef<[u8]>) -> PathBuf {
        let digest = Digest::of(bytes.as_ref()).hex();
        self.path(&format!("tool-cache/samebits/1.2.3/{digest}/samebits"))
    }

    /// A program on the PATH.
    pub(crate) fn tool(&self, name: &str, script: &str) {
        let file = self.path("tools").join(name);
        std::fs::write(&file, script).unwrap();
        executable(&file);
    }

    /// A job in the runner's own workspace whose only step uses the action, with the release folder as `release-url`.
    pub(crate) fn uses(&self, inputs: &[(&str, &str)]) -> Job {
        self.uses_in(&self.path("workspace"), inputs)
    }

    /// As [`Runner::uses`], in another workspace.
    pub(crate) fn uses_in(&self, workspace: &Path, inputs: &[(&str, &str)]) -> Job {
        let release = format!("file://{}", self.path("release").to_str().unwrap());
        let mut given = BTreeMap::from([("release-url", release.as_str())]);
        given.extend(inputs.iter().copied());
        let mut known: BTreeMap<String, String> = BTreeMap::from([
            ("github.token".to_owned(), "a-token".to_owned()),
            ("github.action_repository".to_owned(), "acme/samebits".to_owned()),
        ]);
        for name in names(&self.action, "inputs") {
            let default = self.action.get(&format!("inputs.{name}.default")).cloned().unwrap_or_default();
            let value = given.remove(name.as_str()).map_or_else(|| expand(&default, &known), str::to_owned);
            known.insert(format!("inputs.{name}"), value);
        }
        assert!(given.is_empty(), "no inputs: {given:?}");

        let mut job = Job {
            code: Some(0),
            log: String::new(),
            outputs: BTreeMap::new(),
            paths: vec![],
            summary: String::new(),
        };
        for step in (0..)
            .map_while(|number| self.action.get(&format!("runs.steps.{number}.id")).map(|id| (number, id)))
        {
            self.step(step.0, step.1, workspace, &mut known, &mut job);
            if job.code != Some(0) {
                break;
            }
        }
        for name in names(&self.action, "outputs") {
            let value = expand(&self.action[&format!("outputs.{name}.value")], &known);
            job.outputs.insert(name, value);
        }
        job
    }

    fn step(&self, number: usize, id: &str, cwd: &Path, known: &mut BTreeMap<String, String>, job: &mut Job) {
        let of = |key: &str| self.action[&format!("runs.steps.{number}.{key}")].as_str();
        let files = tempfile::tempdir().unwrap();
        let file = |name: &str| files.path().join(name);
        std::fs::write(file("script"), of("run")).unwrap();
        let shell: Vec<&str> = of("shell").split(' ').collect();
        let mut command = Command::new(self.path("tools").join(shell[0]));
        command.env_clear().envs(&self.environment).current_dir(cwd).stdin(Stdio::null());
        for argument in &shell[1..] {
            match *argument {
                "{0}" => command.arg(file("script")),
                word => command.arg(word),
            };
        }
        for name in ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_ENV", "GITHUB_PATH"] {
            std::fs::write(file(name), "").unwrap();
            command.env(name, file(name));
        }
        for (name, value) in below(&self.action, &format!("runs.steps.{number}.env")) {
            command.env(name, expand(value, known));
        }
        let output = command.output().unwrap();
        let read = |name: &str| std::fs::read_to_string(file(name)).unwrap();
        job.code = output.status.code();
        job.log += &String::from_utf8_lossy(&output.stdout);
        job.log += &String::from_utf8_lossy(&output.stderr);
        job.paths.extend(read("GITHUB_PATH").lines().map(str::to_owned));
        job.summary += &read("GITHUB_STEP_SUMMARY");
        assert_eq!(read("GITHUB_ENV"), "", "the action sets no environment for others");
        for (name, value) in outputs(&read("GITHUB_OUTPUT")) {
            known.insert(format!("steps.{id}.outputs.{name}"), value);
        }
    }
}

/// A runner with `bytes` released as the version of this build.
pub(crate) fn runner_with(bytes: &[u8]) -> Runner {
    let runner = Runner::new();
    let version = env!("CARGO_PKG_VERSION");
    let asset = ASSET.replace("1.2.3", version);
    let line = format!("{}  {asset}\n", Digest::of(bytes).hex());
    std::fs::write(runner.path("action/action/checksums.txt"), line).unwrap();
    let folder = runner.path(&format!("release/v{version}"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(asset), bytes).unwrap();
    runner
}

/// `text` with its expressions replaced: lookups only. What is not set is empty, as at GitHub.
pub(crate) fn expand(text: &str, known: &BTreeMap<String, String>) -> String {
    let mut parts = text.split("${{ ");
    let mut expanded = parts.next().unwrap().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(" }}").unwrap();
        expanded += known.get(name).map_or("", String::as_str);
        expanded += rest;
    }
    expanded
}

/// A file of step outputs: `name=value`, or `name<<DELIMITER`, lines, `DELIMITER`. Anything else fails, as at GitHub.
pub(crate) fn outputs(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let heredoc = line.split_once("<<").filter(|(name, _)| !name.contains('='));
        found.push(match heredoc {
            Some((name, delimiter)) => {
                let value: Vec<&str> = lines.by_ref().take_while(|line| *line != delimiter).collect();
                (name.to_owned(), value.join("\n"))
            }
            None => {
                let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("no output: {line:?}"));
                (name.to_owned(), value.to_owned())
            }
        });
    }
    found
}

pub(crate) fn executable(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
}
