//! `.gitlab-ci.yml`, and what it includes from the same repository (docs.gitlab.com, "CI/CD YAML syntax reference").

use std::cell::Cell;
use std::collections::BTreeMap;

use super::script::Options;
use super::steps::{self, Steps, place};
use super::yaml::{self, Node, Value};
use super::{File, Finding, Looked, Skipped};
use crate::digest::shorten;

/// Where GitLab begins, unless the project's settings say otherwise.
pub(super) const ROOT: &str = ".gitlab-ci.yml";

/// How a job's script is begun: GitLab Runner sets `errexit`, and `pipefail` where the shell has it
/// (gitlab-runner, `shells/bash.go`).
const SHELL: Options = Options { errexit: true, pipefail: true };

/// How deep `extends` and `!reference` may go (docs.gitlab.com: 11 and 10).
const DEEP: usize = 11;

/// How many jobs and lists are looked into on the way through `extends`, `<<` and `!reference`, all together.
const LOOKS: usize = 200_000;

/// Words that are no jobs.
const NO_JOBS: [&str; 13] = [
    "default",
    "include",
    "stages",
    "variables",
    "workflow",
    "spec",
    "image",
    "services",
    "cache",
    "before_script",
    "after_script",
    "types",
    "pages:deploy",
];

struct Read<'f> {
    file: &'f File,
    root: Node,
}

/// All files as the one that GitLab makes of them.
struct Pipeline<'p> {
    read: &'p [Read<'p>],
    /// Jobs by name, with the file that says the most of them.
    jobs: BTreeMap<&'p str, (&'p File, &'p Node, &'p Node)>,
    /// Jobs that a component of ours brings along.
    components: Vec<String>,
    /// How many looks are left.
    left: Cell<usize>,
}

pub(super) fn look(files: &[File]) -> Looked {
    let mut looked = Looked::default();
    let mut read: Vec<Read<'_>> = Vec::new();
    let mut waiting = vec![ROOT.to_owned()];
    while let Some(name) = waiting.pop() {
        let Some(file) = files.iter().find(|file| file.name == name) else {
            if name != ROOT {
                looked
                    .untold
                    .push(Skipped { what: name, why: "it is included, and is not there".to_owned() });
            }
            continue;
        };
        if read.iter().any(|known| known.file.name == name) {
            continue;
        }
        match yaml::read(&file.text) {
            Ok(root) => {
                let (local, skipped) = included(&root, file);
                waiting.extend(local);
                looked.skipped.extend(skipped);
                looked.looked.push(name);
                read.push(Read { file, root });
            }
            Err(error) => looked.untold.push(Skipped { what: name, why: error.to_string() }),
        }
    }
    let pipeline = Pipeline::of(&read);
    for Read { file, root } in &read {
        looked.findings.extend(components(file, root).into_iter().filter_map(|(_, finding)| finding));
    }
    pipeline.look(&mut looked);
    if pipeline.left.get() == 0 {
        let why = "its jobs extend and refer to each other more often than is followed".to_owned();
        looked.untold.push(Skipped { what: ROOT.to_owned(), why });
    }
    looked
}

/// The local files that a file includes; none of a file that cannot be read.
pub(super) fn local_includes(file: &File) -> Vec<String> {
    yaml::read(&file.text).map(|root| included(&root, file).0).unwrap_or_default()
}

fn list(node: Option<&Node>) -> Vec<&Node> {
    match node {
        None => Vec::new(),
        Some(node) => match &node.value {
            Value::List(items) => items.iter().collect(),
            Value::Scalar { .. } | Value::Map(_) => vec![node],
        },
    }
}

/// What a file includes: paths in this repository, and what cannot be read from here (`include`).
fn included(root: &Node, file: &File) -> (Vec<String>, Vec<Skipped>) {
    let (mut local, mut skipped) = (Vec::new(), Vec::new());
    for entry in list(root.get("include")) {
        let plain = entry.text().filter(|text| !text.contains("://"));
        let named = entry.get("local").and_then(Node::text).or(plain);
        match named {
            Some(path) if !path.contains(['*', '$']) => {
                local.push(path.trim_start_matches("./").trim_start_matches('/').to_owned());
            }
            Some(path) => skipped.push(Skipped {
                what: format!("{}:{} include {}", file.name, entry.line, shorten(path)),
                why: "which files that is, is known to GitLab alone".to_owned(),
            }),
            None => {
                let words: Vec<&str> = ["project", "remote", "template", "component", "file"]
                    .into_iter()
                    .filter_map(|key| entry.get(key).and_then(Node::text))
                    .collect();
                let what = if words.is_empty() {
                    entry.text().unwrap_or_default().to_owned()
                } else {
                    words.join(" ")
                };
                skipped.push(Skipped {
                    what: format!("{}:{} include {}", file.name, entry.line, shorten(&what)),
                    why: "it is not in this repository".to_owned(),
                });
            }
        }
    }
    (local, skipped)
}

/// Components of ours: the job that each makes, and what is wrong with how it is named.
fn components(file: &File, root: &Node) -> Vec<(String, Option<Finding>)> {
    let each = list(root.get("include")).into_iter().filter_map(|entry| {
        let node = entry.get("component")?;
        let (path, reference) = node.text()?.split_once('@')?;
        path.ends_with("/samebits/promote").then_some((entry, node, reference))
    });
    each.map(|(entry, node, reference)| {
        let job = entry.at(&["inputs", "job"]).and_then(Node::text).unwrap_or("samebits");
        (job.to_owned(), steps::unpinned(place(file, node), node.text().unwrap_or_default(), reference, true))
    })
    .collect()
}

/// A job, and what it does.
struct Job<'p> {
    file: &'p File,
    key: &'p Node,
    node: &'p Node,
    script: Steps,
    gate: bool,
}

impl<'p> Pipeline<'p> {
    fn of(read: &'p [Read<'p>]) -> Self {
        let mut jobs = BTreeMap::new();
        // What includes is read first, and wins.
        for Read { file, root } in read.iter().rev() {
            for (key, node) in root.entries() {
                if let Some(name) = key.text().filter(|name| !NO_JOBS.contains(name)) {
                    jobs.insert(name, (*file, key, node));
                }
            }
        }
        let components = read.iter().flat_map(|read| components(read.file, &read.root)).map(|(job, _)| job);
        Self { read, jobs, components: components.collect(), left: Cell::new(LOOKS) }
    }

    /// Whether there is a look left.
    fn may_look(&self) -> bool {
        self.left.set(self.left.get().saturating_sub(1));
        self.left.get() > 0
    }

    /// A keyword of a job: its own, of what it merges or extends, of `default`.
    fn field(&self, job: &'p Node, key: &str, depth: usize) -> Option<&'p Node> {
        if let Some(own) = job.get(key) {
            return Some(own);
        }
        if depth >= DEEP || !self.may_look() {
            return None;
        }
        let merged =
            list(job.get("<<")).into_iter().rev().find_map(|merged| self.field(merged, key, depth + 1));
        merged.or_else(|| {
            let bases = job.get("extends").map(Node::texts).unwrap_or_default();
            let base =
                |name: &&str| self.jobs.get(name).and_then(|(_, _, base)| self.field(base, key, depth + 1));
            bases.iter().rev().find_map(base)
        })
    }

    fn keyword(&self, job: &'p Node, key: &str) -> Option<&'p Node> {
        let default = || self.read.iter().find_map(|read| read.root.at(&["default", key]));
        let global = || self.read.iter().find_map(|read| read.root.get(key));
        let inherited = ["before_script", "image"].contains(&key);
        self.field(job, key, 0).or_else(|| if inherited { default().or_else(global) } else { None })
    }

    /// The scalars of a script, with lists in lists and `!reference`s followed.
    fn pieces(&self, node: &'p Node, depth: usize, all: &mut Vec<&'p Node>) {
        if depth >= DEEP || !self.may_look() {
            return;
        }
        match &node.value {
            Value::Scalar { .. } => all.push(node),
            Value::List(items) if node.tag.as_deref() == Some("reference") => {
                let path: Vec<&str> = items.iter().filter_map(Node::text).collect();
                let found = match path.as_slice() {
                    [job, key] => self.jobs.get(job).and_then(|(_, _, job)| self.field(job, key, 0)),
                    _ => None,
                };
                if let Some(node) = found {
                    self.pieces(node, depth + 1, all);
                }
            }
            Value::List(items) => items.iter().for_each(|item| self.pieces(item, depth + 1, all)),
            Value::Map(_) => {}
        }
    }

    fn job(&self, name: &str, (file, key, node): (&'p File, &'p Node, &'p Node)) -> Job<'p> {
        let mut pieces = Vec::new();
        for keyword in ["before_script", "script"] {
            if let Some(script) = self.keyword(node, keyword) {
                self.pieces(script, 0, &mut pieces);
            }
        }
        let script = steps::read(&pieces, SHELL);
        let gate = script.gates().next().is_some() || self.components.iter().any(|job| job == name);
        Job { file, key, node, script, gate }
    }

    fn look(&self, looked: &mut Looked) {
        let globals: Vec<_> =
            self.read.iter().map(|read| steps::variables(read.root.get("variables"))).collect();
        // What begins with a dot is no job, but a part of others.
        let named = self.jobs.iter().filter(|(name, _)| !name.starts_with('.'));
        let jobs: Vec<Job<'p>> = named.map(|(name, found)| self.job(name, *found)).collect();
        let gated = jobs.iter().any(|job| job.gate) || !self.components.is_empty();
        let mr_pipelines = self.of_merge_requests();
        for job in &jobs {
            let own = steps::variables(self.keyword(job.node, "variables"));
            let known: Vec<&BTreeMap<String, String>> = std::iter::once(&own).chain(&globals).collect();
            looked.untold.extend(job.script.untold(job.file, job.key));
            looked.findings.extend(job.script.findings(job.file, &known));
            if job.gate {
                looked.findings.extend(self.ignored(job));
                looked.findings.extend(self.of_change(job, mr_pipelines));
            } else if gated && self.deploys(job) {
                looked.findings.extend(self.after_no(job));
            }
        }
    }

    /// `allow_failure`, said or by default (`when: manual` outside `rules`).
    fn ignored(&self, job: &Job<'p>) -> Vec<Finding> {
        let fix = "allow_failure: false";
        let said = self.keyword(job.node, "allow_failure");
        let of_rules =
            list(self.keyword(job.node, "rules")).into_iter().filter_map(|rule| rule.get("allow_failure"));
        let mut findings: Vec<Finding> = said
            .into_iter()
            .chain(of_rules)
            .filter(|node| node.text() != Some("false"))
            .map(|node| {
                let found = match node.text() {
                    Some(_) => "`allow_failure` on the gate's job: the pipeline goes on after a no",
                    None => "`allow_failure: exit_codes` on the gate's job: the pipeline goes on after these, with no image",
                };
                steps::ignored(place(job.file, node), found.to_owned(), fix)
            })
            .collect();
        if said.is_none()
            && self.keyword(job.node, "rules").is_none()
            && let Some(when) = self.keyword(job.node, "when").filter(|when| when.text() == Some("manual"))
        {
            let found = "a job with `when: manual` may fail by default: what comes after the gate does not wait for it";
            findings.push(steps::ignored(place(job.file, when), found.to_owned(), fix));
        }
        findings
    }

    /// Whether all jobs without rules of their own run for merge requests (`workflow: rules`).
    fn of_merge_requests(&self) -> bool {
        let rules = self.read.iter().filter_map(|read| read.root.at(&["workflow", "rules"]));
        rules.flat_map(|rules| list(Some(rules))).any(of_merge_request)
    }

    fn of_change(&self, job: &Job<'p>, by_workflow: bool) -> Option<Finding> {
        let rules = list(self.keyword(job.node, "rules"));
        let only = self.keyword(job.node, "only").map(Node::texts).unwrap_or_default();
        let policy = job.script.gates().find_map(|ran| steps::policy_of(&ran.words)).unwrap_or_default();
        let at = rules.iter().find(|rule| of_merge_request(rule)).copied();
        let own = at.is_some() || only.contains(&"merge_requests");
        let inherited = rules.is_empty() && only.is_empty() && by_workflow;
        // A variable of the project is none of the change's.
        if policy.starts_with(['$', '/']) || !(own || inherited) {
            return None;
        }
        let found = "in pipelines of merge requests the gate reads the policy file of the change under test"
            .to_owned();
        let fix = "rules: [{ if: '$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH' }]; or --policy \"$SAMEBITS_POLICY\", a \
                   protected variable of type File";
        Some(steps::from_change(place(job.file, at.unwrap_or(job.key)), found, fix))
    }

    /// Whether a job deploys: by a command that is known, or as GitLab is told.
    fn deploys(&self, job: &Job<'p>) -> bool {
        let environment = self.keyword(job.node, "environment");
        let action = environment.and_then(|node| node.get("action")).and_then(Node::text).unwrap_or("start");
        job.script.deploys() || environment.is_some() && action == "start"
    }

    fn after_no(&self, job: &Job<'p>) -> Option<Finding> {
        let always =
            |node: Option<&'p Node>| node.filter(|when| matches!(when.text(), Some("always" | "on_failure")));
        let rules = list(self.keyword(job.node, "rules")).into_iter();
        let mut whens = rules.map(|rule| rule.get("when")).chain([self.keyword(job.node, "when")]);
        let when = whens.find_map(always)?;
        let said = format!("when: {}", when.text().unwrap_or_default());
        Some(steps::after_no(place(job.file, when), &said, "when: on_success, which is the default"))
    }
}

/// Whether a rule lets something run in a pipeline of a merge request.
fn of_merge_request(rule: &Node) -> bool {
    let text: String = rule.get("if").and_then(Node::text).unwrap_or_default().split_whitespace().collect();
    let never = rule.get("when").and_then(Node::text) == Some("never");
    let asks = text.contains("$CI_PIPELINE_SOURCE==\"merge_request_event\"")
        || text.contains("$CI_PIPELINE_SOURCE=='merge_request_event'")
        || text.contains("$CI_MERGE_REQUEST_") && !text.contains('!');
    asks && !never
}
