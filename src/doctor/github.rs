//! Workflows and actions of GitHub (docs.github.com, "Workflow syntax for GitHub Actions").

use std::collections::{BTreeMap, BTreeSet};

use super::script::{Options, Ran};
use super::steps::{self, Steps, VERDICTS, place};
use super::yaml::{self, Node};
use super::{File, Finding, Looked, Skipped, deploy};

const WORKFLOWS: &str = ".github/workflows/";

/// A file that was read.
struct Read<'f> {
    file: &'f File,
    root: Node,
}

/// What is known of all the files together.
struct Repository<'f> {
    read: Vec<Read<'f>>,
    /// Files with a gate in them: a workflow by its path, an action by its folder.
    gates: BTreeSet<String>,
}

/// A step, and what it does.
struct Step<'n> {
    node: &'n Node,
    script: Option<Steps>,
    /// Whether it asks the gate.
    gate: bool,
    deploys: bool,
}

struct Job<'n> {
    name: &'n str,
    node: &'n Node,
    steps: Vec<Step<'n>>,
    gate: bool,
}

pub(super) fn look(files: &[File]) -> Looked {
    let mut looked = Looked::default();
    let mut read = Vec::new();
    for file in files.iter().filter(|file| is_workflow(&file.name) || is_action(&file.name)) {
        match yaml::read(&file.text) {
            Ok(root) => {
                looked.looked.push(file.name.clone());
                read.push(Read { file, root });
            }
            Err(error) => {
                looked.untold.push(Skipped { what: file.name.clone(), why: error.to_string() });
            }
        }
    }
    let mut repository = Repository { read, gates: BTreeSet::new() };
    repository.find_gates();
    for Read { file, root } in &repository.read {
        let defaults = Defaults::of(root);
        let mut one = Workflow { repository: &repository, file, root, looked: &mut looked };
        match is_workflow(&file.name) {
            true => one.workflow(&defaults),
            false => one.action(),
        }
    }
    looked
}

fn is_yaml(name: &str) -> bool {
    name.ends_with(".yml") || name.ends_with(".yaml")
}

fn is_workflow(name: &str) -> bool {
    name.strip_prefix(WORKFLOWS).is_some_and(|rest| is_yaml(rest) && !rest.contains('/'))
}

fn is_action(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or_default();
    matches!(last, "action.yml" | "action.yaml")
}

/// `shell` and variables that hold for all that is below.
#[derive(Clone, Default)]
struct Defaults<'n> {
    shell: Option<&'n str>,
    windows: bool,
    variables: Vec<BTreeMap<String, String>>,
}

impl<'n> Defaults<'n> {
    fn of(node: &'n Node) -> Self {
        Self::default().within(node)
    }

    /// What holds inside a workflow, a job, or a step.
    fn within(&self, node: &'n Node) -> Self {
        let mut inner = self.clone();
        let own = node.get("shell").or_else(|| node.at(&["defaults", "run", "shell"]));
        inner.shell = own.and_then(Node::text).or(inner.shell);
        if let Some(runs_on) = node.get("runs-on") {
            inner.windows = runs_on.texts().iter().any(|label| label.contains("windows"));
        }
        inner.variables.insert(0, steps::variables(node.get("env")));
        inner
    }

    /// How a script is begun (`jobs.<job_id>.steps[*].shell`); none for what is no POSIX shell.
    fn options(&self) -> Option<Options> {
        match self.shell {
            None if self.windows => None,
            // `bash -e {0}`, or `sh -e {0}`: without pipefail.
            None | Some("sh") => Some(Options { errexit: true, pipefail: false }),
            // `bash --noprofile --norc -eo pipefail {0}`.
            Some("bash") => Some(Options { errexit: true, pipefail: true }),
            Some(custom) => {
                let mut words = custom.split_whitespace();
                let shell = words.next()?.rsplit('/').next()?;
                let posix = ["bash", "sh", "dash", "ash", "zsh", "ksh"].contains(&shell);
                let flags: Vec<&str> = words.collect();
                let short = |flag: &&&str| flag.starts_with('-') && !flag.starts_with("--");
                let errexit =
                    flags.iter().filter(short).any(|flag| flag.contains('e')) || flags.contains(&"errexit");
                posix.then(|| Options { errexit, pipefail: flags.contains(&"pipefail") })
            }
        }
    }
}

impl Repository<'_> {
    /// Files with a gate, and files that use those: as deep as GitHub lets them be nested.
    fn find_gates(&mut self) {
        for _ in 0..10 {
            let mut found = BTreeSet::new();
            for Read { file, root } in &self.read {
                let jobs = root.get("jobs").map(Node::entries).unwrap_or_default().iter().map(|(_, job)| job);
                let runs = root.get("runs");
                let steps = |node: &Node| {
                    let steps = node.get("steps").map(Node::items).unwrap_or_default();
                    steps.iter().any(|step| self.is_gate(step))
                };
                let gate = |job: &Node| self.uses_gate(job) || steps(job);
                if jobs.chain(runs).any(gate) {
                    let folder = file.name.rsplit_once('/').map_or("", |(folder, _)| folder);
                    found
                        .insert(if is_workflow(&file.name) { file.name.as_str() } else { folder }.to_owned());
                }
            }
            if found == self.gates {
                return;
            }
            self.gates = found;
        }
    }

    fn is_gate(&self, step: &Node) -> bool {
        let script =
            step.get("run").map(|run| steps::read(&[run], Options { errexit: true, pipefail: true }));
        script.is_some_and(|script| script.gates().next().is_some()) || self.uses_gate(step)
    }

    /// Whether a step or job uses our action for a verdict, or something of this repository that does.
    fn uses_gate(&self, node: &Node) -> bool {
        let Some(uses) = node.get("uses").and_then(Node::text) else { return false };
        if let Some(local) = uses.strip_prefix("./") {
            let local = local.trim_end_matches('/');
            let given = node.at(&["with", "command"]).and_then(Node::text);
            let records = given.is_some_and(|verb| !verb.contains('$') && !VERDICTS.contains(&verb));
            return !records && self.gates.contains(local);
        }
        let verb = node.at(&["with", "command"]).and_then(Node::text).unwrap_or_default();
        action(uses).is_some() && (VERDICTS.contains(&verb) || verb.contains('$'))
    }

    /// Whether a job is of an environment: itself, or by a workflow of this repository that it is.
    fn has_environment(&self, job: &Node) -> bool {
        let (mut known, mut waiting) = (BTreeSet::new(), vec![job]);
        while let Some(job) = waiting.pop() {
            if job.get("environment").is_some() {
                return true;
            }
            let called = job.get("uses").and_then(Node::text).and_then(|uses| uses.strip_prefix("./"));
            if let Some(name) = called.filter(|name| known.insert(*name)) {
                let called = self.read.iter().find(|read| read.file.name == name);
                let jobs = called.and_then(|read| read.root.get("jobs")).map(Node::entries);
                waiting.extend(jobs.unwrap_or_default().iter().map(|(_, job)| job));
            }
        }
        false
    }

    /// The events that start a workflow; of one that others call, theirs too.
    fn events(&self, name: &str, root: &Node) -> BTreeSet<String> {
        let mut events = own_events(root);
        let (mut known, mut waiting) = (BTreeSet::from([name]), vec![name]);
        if !events.contains("workflow_call") {
            return events;
        }
        while let Some(called) = waiting.pop() {
            for Read { file, root } in self.read.iter().filter(|read| calls(&read.root, called)) {
                if known.insert(&file.name) {
                    events.extend(own_events(root));
                    waiting.push(&file.name);
                }
            }
        }
        events
    }
}

/// Whether a file is a workflow that others may call (`workflow_call`). One that cannot be read is told of elsewhere.
pub(super) fn is_callable(file: &File) -> bool {
    let events = || yaml::read(&file.text).map(|root| own_events(&root)).unwrap_or_default();
    is_workflow(&file.name) && events().contains("workflow_call")
}

fn own_events(root: &Node) -> BTreeSet<String> {
    let on = root.get("on");
    let listed = on.map(Node::texts).unwrap_or_default().into_iter();
    let named = on.map(Node::entries).unwrap_or_default().iter().filter_map(|(event, _)| event.text());
    listed.chain(named).map(str::to_owned).collect()
}

/// Whether a workflow has a job that is the workflow `name` of the same repository.
fn calls(root: &Node, name: &str) -> bool {
    let jobs = root.get("jobs").map(Node::entries).unwrap_or_default();
    let local = |job: &Node| {
        job.get("uses").and_then(Node::text).and_then(|uses| uses.strip_prefix("./")) == Some(name)
    };
    jobs.iter().any(|(_, job)| local(job))
}

/// `OWNER/samebits[/…]@REF`: the action, and its ref.
fn action(uses: &str) -> Option<(&str, &str)> {
    let (path, reference) = uses.split_once('@')?;
    (path.split('/').nth(1) == Some("samebits")).then_some((path, reference))
}

struct Workflow<'w> {
    repository: &'w Repository<'w>,
    file: &'w File,
    root: &'w Node,
    looked: &'w mut Looked,
}

impl<'w> Workflow<'w> {
    fn push(&mut self, finding: Finding) {
        self.looked.findings.push(finding);
    }

    fn workflow(&mut self, defaults: &Defaults<'w>) {
        let jobs = self.root.get("jobs").map(Node::entries).unwrap_or_default();
        let jobs: Vec<Job<'w>> = jobs
            .iter()
            .filter_map(|(name, node)| {
                let steps = self.steps(node, &defaults.within(node));
                let gate = self.repository.uses_gate(node) || steps.iter().any(|step| step.gate);
                Some(Job { name: name.text()?, node, steps, gate })
            })
            .collect();
        let events = self.repository.events(&self.file.name, self.root);
        for job in &jobs {
            if job.gate {
                self.continues(job.node, "job");
                self.job_of_the_gate(job, &events);
            }
            self.in_job_after_no(job);
        }
        self.jobs_after_no(&jobs);
    }

    /// A composite action: its steps are those of whoever uses it.
    fn action(&mut self) {
        let Some(runs) = self.root.get("runs") else { return };
        let steps = self.steps(runs, &Defaults::default());
        let job = Job { name: "", node: runs, gate: steps.iter().any(|step| step.gate), steps };
        self.in_job_after_no(&job);
    }

    /// Every step, with the findings that it has by itself.
    fn steps(&mut self, job: &'w Node, defaults: &Defaults<'w>) -> Vec<Step<'w>> {
        let nodes = job.get("steps").map(Node::items).unwrap_or_default();
        let mut all = Vec::new();
        for node in nodes {
            let defaults = defaults.within(node);
            let known: Vec<&BTreeMap<String, String>> = defaults.variables.iter().collect();
            let gate = self.repository.is_gate(node);
            if gate {
                self.continues(node, "step");
            }
            let mut step = Step { node, script: None, gate, deploys: false };
            if let Some(run) = node.get("run") {
                self.run(run, &defaults, &known, &mut step);
            }
            if let Some(uses) = node.get("uses").and_then(Node::text) {
                self.uses(node, uses, &known, &mut step);
            }
            all.push(step);
        }
        if let Some(uses) = job.get("uses") {
            self.pinned(uses);
        }
        all
    }

    fn run(
        &mut self,
        run: &'w Node,
        defaults: &Defaults<'w>,
        known: &[&BTreeMap<String, String>],
        step: &mut Step<'w>,
    ) {
        let Some(options) = defaults.options() else {
            if run.text().is_some_and(|text| text.contains("samebits") || text.contains("kubectl")) {
                let why = format!("scripts of `{}` are not read", defaults.shell.unwrap_or("pwsh"));
                self.looked.skipped.push(Skipped { what: format!("{}:{}", self.file.name, run.line), why });
            }
            return;
        };
        let script = steps::read(&[run], options);
        self.looked.untold.extend(script.untold(self.file, run));
        self.looked.findings.extend(script.findings(self.file, known));
        step.deploys = script.deploys();
        step.script = Some(script);
    }

    fn uses(&mut self, node: &'w Node, uses: &str, known: &[&BTreeMap<String, String>], step: &mut Step<'w>) {
        if let Some(uses) = node.get("uses") {
            self.pinned(uses);
        }
        let path = uses.split('@').next().unwrap_or_default();
        let Some(name) = deploy::input_of(path) else { return };
        step.deploys = true;
        if let Some(input) = node.at(&["with", name]) {
            let images = deploy::mutable(&steps::input(input.text().unwrap_or_default()), known);
            let at = place(self.file, input);
            self.looked.findings.extend(images.iter().map(|image| steps::by_tag(at.clone(), image)));
        }
    }

    fn pinned(&mut self, uses: &Node) {
        let text = uses.text().unwrap_or_default();
        if let Some((_, reference)) = action(text)
            && let Some(finding) = steps::unpinned(place(self.file, uses), text, reference, false)
        {
            self.push(finding);
        }
    }

    /// `continue-on-error`, of a step or job with the gate.
    fn continues(&mut self, node: &Node, what: &str) {
        let Some((key, value)) = node.entry("continue-on-error") else { return };
        let text = value.text().unwrap_or_default();
        if text != "false" {
            let found = match text {
                "true" => format!("`continue-on-error: true` on the {what} of the gate: a no is a success"),
                _ => format!(
                    "`continue-on-error` on the {what} of the gate may be true: then a no is a success"
                ),
            };
            self.push(steps::ignored(place(self.file, key), found, "take `continue-on-error` away"));
        }
    }

    /// Steps behind the gate that deploy whatever it said.
    fn in_job_after_no(&mut self, job: &Job<'_>) {
        let behind = job.steps.iter().skip_while(|step| !step.gate).skip(1);
        let deploying: Vec<&Node> = behind.filter(|step| step.deploys).map(|step| step.node).collect();
        let gates = job.steps.iter().filter(|step| step.gate);
        let gates = gates.filter_map(|step| step.node.get("id").and_then(Node::text)).collect();
        deploying.into_iter().for_each(|node| self.condition(node, &gates));
    }

    /// Jobs that need the gate's job, however far away, and deploy whatever it said.
    fn jobs_after_no(&mut self, jobs: &[Job<'_>]) {
        let mut behind: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for job in jobs {
            for need in job.node.get("needs").map(Node::texts).unwrap_or_default() {
                behind.entry(need).or_default().push(job.name);
            }
        }
        let mut waiting: Vec<&str> = jobs.iter().filter(|job| job.gate).map(|job| job.name).collect();
        let mut reached = BTreeSet::new();
        while let Some(name) = waiting.pop() {
            let next = behind.get(name).into_iter().flatten();
            waiting.extend(next.filter(|name| reached.insert(**name)));
        }
        // What is behind the gate, and did well, had the gate's yes: of its own condition it is told where it stands.
        let gates =
            jobs.iter().filter(|job| job.gate).map(|job| job.name).chain(reached.iter().copied()).collect();
        for job in jobs.iter().filter(|job| !job.gate && reached.contains(job.name)) {
            let deploys = job.steps.iter().any(|step| step.deploys);
            if deploys || self.repository.has_environment(job.node) {
                self.condition(job.node, &gates);
            }
        }
    }

    fn condition(&mut self, node: &Node, gates: &BTreeSet<&str>) {
        let Some((key, value)) = node.entry("if") else { return };
        let text = value.text().unwrap_or_default();
        if runs_after_no(text, gates) {
            let fix = "take the `if` away: without one it runs after success alone; or add `&& success()`";
            self.push(steps::after_no(place(self.file, key), text, fix));
        }
    }

    /// Whose policy file the gate of a job reads, and by which event.
    fn job_of_the_gate(&mut self, job: &Job<'_>, events: &BTreeSet<String>) {
        let Some((which, gate)) = job.steps.iter().enumerate().find(|(_, step)| step.gate) else { return };
        if restricted(job.node) || restricted(gate.node) {
            return;
        }
        let policy = policy(gate);
        let before = &job.steps[..which];
        let fix = "run the gate on `push` to a protected branch; or check the policy out from there: `ref: ${{ \
                   github.event.pull_request.base.sha }}` with a `path`, and `policy: PATH/samebits.toml`";
        for event in ["pull_request_target", "workflow_run", "pull_request"] {
            if !events.contains(event) || policy.starts_with(['$', '/']) {
                continue;
            }
            let Some((at, found)) = source(before, &policy, event) else { continue };
            let place = place(self.file, at);
            let found = format!("on `{event}` the gate reads the policy file {found}");
            self.push(steps::from_change(place, found, fix));
            return;
        }
    }
}

/// The policy file that a step names, from the root of the workspace.
fn policy(gate: &Step<'_>) -> String {
    let given = gate.node.at(&["with", "policy"]).and_then(Node::text);
    let typed = || {
        gate.script
            .as_ref()
            .and_then(|script| script.gates().find_map(|ran: &Ran| steps::policy_of(&ran.words)))
    };
    let folder = gate.node.get("working-directory").and_then(Node::text).map(|folder| format!("{folder}/"));
    let file = given.or_else(typed).unwrap_or("samebits.toml");
    format!("{}{}", folder.unwrap_or_default(), file).trim_start_matches("./").to_owned()
}

/// Which step brought the policy file from the change under test, and from where in it.
fn source<'n>(before: &[Step<'n>], policy: &str, event: &str) -> Option<(&'n Node, String)> {
    let privileged = event != "pull_request";
    // 1. A script that fetches the change.
    let fetches = |step: &&Step<'_>| {
        let ran = step.script.iter().flat_map(|script| &script.commands.ran);
        ran.into_iter().any(|ran| {
            let text = ran.words.join(" ");
            text.starts_with("gh pr checkout")
                || (text.starts_with("git ") && (text.contains("pull/") || is_head(&text)))
        })
    };
    if let Some(step) = before.iter().find(fetches).filter(|_| privileged) {
        return Some((step.node, "of the change under test, which a step before it fetches".to_owned()));
    }
    // 2. The checkout whose folder it lies in.
    let checkouts = before.iter().filter(|step| {
        step.node.get("uses").and_then(Node::text).is_some_and(|uses| uses.starts_with("actions/checkout@"))
    });
    let folder = |step: &&Step<'n>| {
        let path = step.node.at(&["with", "path"]).and_then(Node::text).unwrap_or_default();
        let path = path.trim_start_matches("./").trim_matches('/').to_owned();
        let inside =
            path.is_empty() || policy.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('/'));
        inside.then_some(path.len())
    };
    let step = checkouts.filter(|step| folder(step).is_some()).max_by_key(|step| folder(step))?;
    let with = |key: &str| step.node.at(&["with", key]).and_then(Node::text);
    let (reference, repository) = (with("ref"), with("repository"));
    let other =
        repository.is_some_and(|repository| !repository.contains("github.") && !repository.contains("$"));
    let at = step.node.at(&["with", "ref"]).unwrap_or(step.node);
    match reference {
        _ if repository.is_some_and(is_head) => Some((at, "of the change's own repository".to_owned())),
        Some(reference) if is_head(reference) || reference.contains("refs/pull/") => {
            Some((at, format!("of the change under test (`ref: {}`)", crate::digest::shorten(reference))))
        }
        // On `pull_request` the default, `github.sha` and `github.ref` are the change, merged.
        None if !privileged && !other => {
            Some((at, "of the change under test, which checkout takes by default".to_owned()))
        }
        Some(reference)
            if !privileged && ["github.sha", "github.ref "].iter().any(|own| reference.contains(own)) =>
        {
            Some((at, "of the change under test".to_owned()))
        }
        Some(_) | None => None,
    }
}

/// Whether an expression names the head of a change.
fn is_head(text: &str) -> bool {
    [
        "pull_request.head.",
        "github.head_ref",
        "workflow_run.head_",
        "GITHUB_HEAD_REF",
        "pull_request.merge_commit_sha",
    ]
    .iter()
    .any(|name| text.contains(name))
}

/// Whether an `if` keeps a job or step to events or refs that are none of a change under test.
fn restricted(node: &Node) -> bool {
    let text = node.get("if").and_then(Node::text).unwrap_or_default();
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().replace('"', "'");
    let of_change = text.contains("event_name=='pull_request") || text.contains("event_name=='workflow_run");
    let asks = text.contains("github.event_name=='")
        || text.contains("github.event_name!='pull_request")
        || text.contains("github.ref=='refs/heads/")
        || text.contains("github.ref_name=='")
        || text.contains("startsWith(github.ref,'refs/");
    asks && !of_change && !text.contains("||")
}

/// Whether a condition lets something run though what it needs said no, or was skipped. `gates` are the jobs or steps whose
/// success means the gate's yes; functions and properties are read without case, as GitHub does.
fn runs_after_no(condition: &str, gates: &BTreeSet<&str>) -> bool {
    let text: String = condition.chars().filter(|c| !c.is_whitespace()).collect();
    let text = text.to_ascii_lowercase().replace('"', "'");
    let runs =
        ["always()", "cancelled()", "failure()", "!success()"].iter().any(|status| text.contains(status));
    runs && (!asks(&text, gates) || text.contains("!success()") || text.contains("||"))
}

/// Whether a condition, in lower case and without blanks, asks for the gate's own yes: that another job did well says
/// nothing of it, and neither does that nothing failed, where the gate was skipped.
fn asks(text: &str, gates: &BTreeSet<&str>) -> bool {
    text.contains("success()")
        || gates.iter().any(|gate| {
            let gate = gate.to_ascii_lowercase();
            let said = |of: &str, property: &str| {
                text.contains(&format!("{of}.{gate}.{property}=='success'"))
                    || text.contains(&format!("'success'=={of}.{gate}.{property}"))
            };
            let outputs = |of: &str| text.contains(&format!("{of}.{gate}.outputs."));
            said("needs", "result")
                || ["outcome", "conclusion"].iter().any(|property| said("steps", property))
                || outputs("needs")
                || outputs("steps")
        })
}
