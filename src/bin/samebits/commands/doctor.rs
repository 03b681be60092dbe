//! `doctor`: reads the files, asks the library what is wrong with them, prints it.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, anyhow};
use samebits::doctor::{self, File, Forge, LIMIT, Looked, Skipped};
use samebits::forge::{self, ForgeError, Settings};
use zeroize::Zeroizing;

use crate::Outcome;
use crate::args::Doctor;
use crate::commands::block_on;
use crate::output::Diagnosis;
use crate::report::{BAD, BOLD, DIM, GOOD, Report, WARN, clean};
use crate::session::{self, Session, http_config_without_policy, variable};
use crate::trouble::{Trouble, undecided, usage};

/// How many files are read at most.
const FILES: usize = 1_000;

/// How deep below `.github/actions` actions are looked for.
const DEEP: usize = 3;

pub(crate) fn doctor(session: &Session<'_>, args: &Doctor) -> Result<Outcome, Trouble> {
    let root = root(session, args.repository.as_deref()).map_err(usage)?;
    let mut looked = Looked::default();
    // 1. The policy file.
    let name = name_below(&root, &session.file);
    let today = session::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    looked.findings.extend(doctor::policy(&session.policy, &name, today));
    looked.looked.push(name.clone());
    // 2. The workflow files.
    let mut files = Files { root: &root, found: Vec::new(), untold: Vec::new() };
    files.read_all();
    let Files { found, untold, .. } = files;
    looked.untold.extend(untold);
    if found.is_empty() {
        let what = format!("workflow files of {}", root.display());
        let why = "there are none: no .github/workflows, no .gitlab-ci.yml".to_owned();
        looked.skipped.push(Skipped { what, why });
    }
    looked.findings.extend(doctor::callable(&session.policy, &name, &found));
    looked.add(doctor::workflows(&found));
    // 3. The environments of the forge, whose workflows these are.
    for forge in [Forge::Github, Forge::Gitlab] {
        if found.iter().any(|file| is_of(forge, file)) {
            looked.add(environments(session, forge)?);
        }
    }

    let diagnosis = Diagnosis::new(looked);
    session.outputs.emit(&diagnosis).map_err(undecided)?;
    Ok(match (diagnosis.findings.is_empty(), diagnosis.untold.is_empty()) {
        // A certain no needs no more evidence.
        (false, _) => Outcome::No,
        (true, false) => Outcome::Untold,
        (true, true) => Outcome::Yes,
    })
}

fn is_of(forge: Forge, file: &File) -> bool {
    match forge {
        Forge::Github => file.name.starts_with(".github/workflows/"),
        Forge::Gitlab => file.name == ".gitlab-ci.yml",
    }
}

/// What the environment says of a forge: where its API is, the project, the token; and what to set for the last two.
fn asked_of(forge: Forge) -> (String, Option<String>, Option<String>, [&'static str; 2]) {
    let (api, elsewhere, project, tokens, set) = match forge {
        Forge::Github => (
            "https://api.github.com",
            "GITHUB_API_URL",
            "GITHUB_REPOSITORY",
            &["GITHUB_TOKEN", "GH_TOKEN"][..],
            [
                "there is no token: set GITHUB_TOKEN or GH_TOKEN",
                "which repository? set GITHUB_REPOSITORY=OWNER/NAME",
            ],
        ),
        Forge::Gitlab => (
            "https://gitlab.com/api/v4",
            "CI_API_V4_URL",
            "CI_PROJECT_ID",
            &["GITLAB_TOKEN"][..],
            ["there is no token: set GITLAB_TOKEN", "which project? set CI_PROJECT_ID"],
        ),
    };
    let api = variable(elsewhere).unwrap_or_else(|| api.to_owned());
    (api, variable(project), tokens.iter().find_map(|name| variable(name)), set)
}

/// The environments of a forge that have names of the policy's, where it may be asked.
fn environments(session: &Session<'_>, forge: Forge) -> Result<Looked, Trouble> {
    let mut looked = Looked::default();
    let (api, project, token, [no_token, no_project]) = asked_of(forge);
    let skipped = |why: &str| Skipped { what: format!("environments of {forge}"), why: why.to_owned() };
    let (token, project) = match (token, project) {
        _ if session.common.offline => {
            looked.skipped.push(skipped("--offline"));
            return Ok(looked);
        }
        (None, _) => {
            looked.skipped.push(skipped(no_token));
            return Ok(looked);
        }
        (Some(_), None) => {
            looked.skipped.push(skipped(no_project));
            return Ok(looked);
        }
        (Some(token), Some(project)) => (Zeroizing::new(token), project),
    };
    let what = format!("environments of {forge}, {}", clean(&project));
    session.progress(format_args!("asking {forge} for its environments"));
    let names =
        session.policy.environments().iter().map(|environment| environment.name().to_string()).collect();
    // Not with the CAs of the policy: it may be a stranger's, and a token goes out.
    let http = http_config_without_policy();
    let settings = Settings { forge, api, project, token, http };
    match block_on(forge::guards(&settings, &names))? {
        Ok(guards) => {
            looked.findings.extend(doctor::environments(&session.policy, forge, &guards));
            looked.looked.push(what);
        }
        Err(error) => looked.untold.push(Skipped { what, why: why_not(&error) }),
    }
    Ok(looked)
}

/// An error with its cause and what to do.
fn why_not(error: &ForgeError) -> String {
    let cause =
        std::error::Error::source(error).map(|cause| format!(", because {cause}")).unwrap_or_default();
    let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{error}{cause}{hint}")
}

/// The folder that was typed; else the nearest one above the policy file that is a repository; else the policy's own.
fn root(session: &Session<'_>, typed: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(typed) = typed {
        let folder =
            std::path::absolute(typed).with_context(|| format!("{} cannot be found", typed.display()))?;
        return match folder.is_dir() {
            true => Ok(folder),
            false => {
                Err(anyhow!("{} is no folder: expected the one with the workflow files", typed.display()))
            }
        };
    }
    let above = session.folder.ancestors().find(|folder| folder.join(".git").exists());
    Ok(above.unwrap_or(&session.folder).to_owned())
}

/// A path from the root of the repository, where it is below that.
fn name_below(root: &Path, file: &Path) -> String {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let below = absolute.strip_prefix(root).unwrap_or(file);
    below.to_string_lossy().replace('\\', "/")
}

/// The workflow files of a repository. Nothing is followed that leads out of it: it may be a stranger's.
struct Files<'r> {
    root: &'r Path,
    found: Vec<File>,
    untold: Vec<Skipped>,
}

impl Files<'_> {
    fn read_all(&mut self) {
        let is_yaml = |name: &str| name.ends_with(".yml") || name.ends_with(".yaml");
        for name in self.names(".github/workflows").into_iter().filter(|name| is_yaml(name)) {
            self.read(&format!(".github/workflows/{name}"));
        }
        for name in ["action.yml", "action.yaml"] {
            self.read(name);
        }
        self.actions(".github/actions", DEEP);
        // GitLab's, and what they include from here, once each.
        let mut waiting = vec![".gitlab-ci.yml".to_owned()];
        while let Some(name) = waiting.pop() {
            if !self.found.iter().any(|file| file.name == name) && self.read(&name) {
                waiting.extend(self.found.last().map(doctor::includes).unwrap_or_default());
            }
        }
    }

    fn actions(&mut self, folder: &str, depth: usize) {
        for name in self.names(folder) {
            let path = format!("{folder}/{name}");
            if matches!(name.as_str(), "action.yml" | "action.yaml") {
                self.read(&path);
            } else if self.kind(&path).is_some_and(|kind| !kind.is_file()) {
                match depth.checked_sub(1) {
                    Some(depth) => self.actions(&path, depth),
                    None => self.cannot(&path, "it is too deep"),
                }
            }
        }
    }

    /// What could not be looked at, and why.
    fn cannot(&mut self, what: &str, why: impl std::fmt::Display) {
        self.untold.push(Skipped { what: what.to_owned(), why: why.to_string() });
    }

    /// What a folder holds, sorted; nothing, where there is none.
    fn names(&mut self, folder: &str) -> Vec<String> {
        let mut names = Vec::new();
        match self.kind(folder) {
            None => return names,
            Some(kind) if kind.is_dir() => {}
            Some(_) => {
                self.cannot(folder, "it is no folder, or lies behind a link");
                return names;
            }
        }
        match std::fs::read_dir(self.root.join(folder)) {
            Ok(entries) => {
                for entry in entries {
                    if names.len() >= FILES {
                        self.cannot(folder, format_args!("it has more than {FILES} entries"));
                        break;
                    }
                    match entry.map(|entry| entry.file_name().into_string()) {
                        Ok(Ok(name)) => names.push(name),
                        Ok(Err(name)) => {
                            self.cannot(
                                &name.to_string_lossy(),
                                format_args!("a name in {folder} that is no text"),
                            );
                        }
                        Err(error) => self.cannot(folder, error),
                    }
                }
            }
            Err(error) => self.cannot(folder, error),
        }
        names.sort();
        names
    }

    /// What lies at a path, without following a link on the way; nothing, where nothing does.
    fn kind(&mut self, name: &str) -> Option<std::fs::FileType> {
        let mut path = self.root.to_owned();
        let mut kind = None;
        for part in Path::new(name).components() {
            let Component::Normal(part) = part else { return None };
            path.push(part);
            match std::fs::symlink_metadata(&path) {
                Ok(found) => kind = Some(found.file_type()),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    return None;
                }
                Err(error) => {
                    self.cannot(name, error);
                    return None;
                }
            }
            if kind.is_some_and(|kind| kind.is_symlink()) {
                return kind;
            }
        }
        kind
    }

    /// Whether a file is there and was read.
    fn read(&mut self, name: &str) -> bool {
        let Some(kind) = self.kind(name) else { return false };
        let why = if self.found.len() >= FILES {
            format!("there are more than {FILES} files")
        } else if !kind.is_file() {
            "it is no file, or lies behind a link".to_owned()
        } else {
            match self.text(name) {
                Ok(text) => {
                    self.found.push(File { name: name.to_owned(), text });
                    return true;
                }
                Err(error) => error.to_string(),
            }
        };
        self.cannot(name, why);
        false
    }

    /// What a file holds; of one that is too long, enough to tell.
    fn text(&self, name: &str) -> std::io::Result<String> {
        let mut text = String::new();
        let file = std::fs::File::open(self.root.join(name))?;
        file.take(LIMIT as u64 + 1).read_to_string(&mut text)?;
        Ok(text)
    }
}

impl Report for Diagnosis {
    fn text(&self) -> String {
        let mut text = String::new();
        let many = match self.findings.len() {
            1 => "1 finding".to_owned(),
            count => format!("{count} findings"),
        };
        let _ = match (self.findings.is_empty(), self.untold.is_empty()) {
            (true, true) => writeln!(text, "{GOOD}nothing found{GOOD:#}"),
            (true, false) => {
                writeln!(text, "{WARN}nothing found, and not everything could be looked at{WARN:#}")
            }
            (false, _) => writeln!(text, "{BAD}{many}{BAD:#}"),
        };
        for finding in &self.findings {
            let _ =
                writeln!(text, "\n{BAD}✗{BAD:#} {BOLD}{}{BOLD:#}  {}", finding.code, clean(&finding.place));
            let _ = writeln!(text, "  found     {}", clean(&finding.found));
            let _ = writeln!(text, "  expected  {}", clean(&finding.expected));
            let _ = writeln!(text, "  to fix    {}", clean(&finding.fix));
        }
        if !self.looked.is_empty() {
            let _ = writeln!(text, "\n{DIM}looked at{DIM:#}");
            for name in &self.looked {
                let _ = writeln!(text, "  {}", clean(name));
            }
        }
        for (title, entries) in [("not looked at", &self.skipped), ("could not be looked at", &self.untold)] {
            if !entries.is_empty() {
                let _ = writeln!(text, "\n{WARN}{title}{WARN:#}");
            }
            for Skipped { what, why } in entries {
                let _ = writeln!(text, "  {}: {}", clean(what), clean(why));
            }
        }
        text
    }
}
