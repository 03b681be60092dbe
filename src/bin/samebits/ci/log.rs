//! What is said in the log of a job whose system shows little else: a section in GitLab, lines that begin with `[samebits]` in
//! Jenkins. Verdict, codes, the lines of the policy file that refuse, the record; on stderr, beside what is said anywhere.
//!
//! GitLab: "Create custom collapsible sections" (CI/CD job logs, GitLab 18). A marker of a section has to hold `\r\e[0K`, which no
//! foreign text gets through, so nobody else opens or ends one. Jenkins reads no markers; colours are a plugin's.

use std::fmt::Write as _;

use super::github::SHOWN;
use super::text::{is_link, line, percent};
use super::{View, Word};
use crate::output::{RequirementStands, Status};
use crate::report::{BAD, GOOD, WARN};

/// What every line of ours begins with in Jenkins: filters, failure analysers and people look for it.
const MARK: &str = "[samebits] ";

/// Whose log it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Log {
    /// Of a job of GitLab.
    Gitlab {
        /// Where files of the commit can be looked at; empty where that is not known.
        blobs: String,
        /// Whether to colour the verdict.
        colours: bool,
    },
    /// Of a build of Jenkins.
    Jenkins,
}

impl Log {
    /// The one this is written to, by what runners set.
    pub(super) fn found(colours: bool, variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        if variable("GITLAB_CI").is_some_and(|value| value == "true") {
            return Some(Self::Gitlab { blobs: blobs(&variable).unwrap_or_default(), colours });
        }
        // Not JENKINS_HOME, which a controller gives to whatever it starts.
        (variable("JENKINS_URL").is_some() && variable("BUILD_ID").is_some()).then_some(Self::Jenkins)
    }

    /// Its lines. `now` is in seconds, and `random` is the name of a section that nothing else in this log has.
    pub(super) fn render(&self, view: &View<'_>, now: i64, random: &str) -> String {
        let (verdict, more) = (verdict(view), self.lines(view));
        match self {
            Self::Jenkins => {
                let lines = std::iter::once(&verdict).chain(&more);
                lines.map(|line| format!("{MARK}{line}\n")).collect()
            }
            Self::Gitlab { colours, .. } => {
                let style = match view.facts.word {
                    Word::Approved | Word::Recorded => GOOD,
                    Word::Denied => BAD,
                    Word::Undecided => WARN,
                };
                let header = if *colours { format!("{style}{verdict}{style:#}") } else { verdict };
                // Of a yes there is no more to do.
                let shut = if style == GOOD { "[collapsed=true]" } else { "" };
                let name = format!("samebits_{random}");
                let mut text = format!("\x1b[0Ksection_start:{now}:{name}{shut}\r\x1b[0K{header}\n");
                more.iter().for_each(|line| text.extend(["  ", line, "\n"]));
                let _ = writeln!(text, "\x1b[0Ksection_end:{now}:{name}\r\x1b[0K");
                text
            }
        }
    }

    fn lines(&self, view: &View<'_>) -> Vec<String> {
        let facts = view.facts;
        let mut lines = Vec::new();
        let said: Vec<&RequirementStands> =
            facts.requirements.iter().filter(|stands| stands.status != Status::Met).collect();
        for stands in said.iter().take(SHOWN) {
            let code = stands.code.map(|code| code.to_string()).unwrap_or_default();
            let warns = if stands.status == Status::Warned { " (warns)" } else { "" };
            lines.push(format!("{code}{warns}: {}", self.place(view, view.line(stands))));
        }
        if said.len() > SHOWN {
            lines.push(format!("and {} more", said.len() - SHOWN));
        }
        if let Some(at) = facts.at.and_then(|at| Some(view.policy?.line_at(at))) {
            lines.push(self.place(view, Some(at)));
        }
        match (facts.record, view.record_url(), &facts.digest) {
            (Some(index), Some(url), _) => lines.push(format!("record {index}: {url}")),
            (Some(index), None, Some(digest)) => {
                lines.push(format!("record {index}: samebits show {}", line(digest)));
            }
            (Some(index), None, None) => lines.push(format!("record {index}")),
            (None, _, _) => {}
        }
        lines
    }

    /// A line of the policy file: where it can be looked at, or its name and number.
    fn place(&self, view: &View<'_>, at: Option<usize>) -> String {
        let linked = match self {
            Self::Gitlab { blobs, .. } => link(view, blobs, at),
            Self::Jenkins => None,
        };
        let file = || line(view.file().unwrap_or("the policy file"));
        match (linked, at) {
            (Some(url), _) => url,
            // Not `FILE:LINE:`, which readers of compilers' messages take for one.
            (None, Some(at)) => format!("{} line {at}", file()),
            (None, None) => file(),
        }
    }
}

/// `WORD: samebits VERB SERVICE → ENVIRONMENT`, and what refuses.
fn verdict(view: &View<'_>) -> String {
    let (facts, asked) = (view.facts, view.asked);
    let word = facts.word.short();
    let service = if facts.service.is_empty() { String::new() } else { format!(" {}", line(&facts.service)) };
    let mut text = format!("{word}: samebits {}{service} → {}", asked.verb, line(&asked.environment));
    let why = match facts.word {
        Word::Denied => facts.codes.iter().map(|code| line(code)).collect::<Vec<_>>().join(", "),
        // The first line of the first: the rest is above.
        Word::Undecided => {
            facts.causes.iter().flat_map(|cause| cause.lines()).map(line).next().unwrap_or_default()
        }
        Word::Approved | Word::Recorded => String::new(),
    };
    if !why.is_empty() {
        text.extend([": ", &why]);
    }
    text
}

/// Where GitLab shows files of the commit that this job is of (18, predefined variables).
pub(super) fn blobs(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let (project, commit) = (variable("CI_PROJECT_URL")?, variable("CI_COMMIT_SHA")?);
    let hex = matches!(commit.len(), 40 | 64) && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then(|| format!("{project}/-/blob/{commit}/"))
}

/// Where GitLab shows a line of the policy file, if it is a file of the repository.
pub(super) fn link(view: &View<'_>, blobs: &str, at: Option<usize>) -> Option<String> {
    let file = view.policy?.in_repository()?;
    let line = at.map(|at| format!("#L{at}")).unwrap_or_default();
    let url = format!("{blobs}{}{line}", percent(file));
    is_link(&url).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)]) -> Option<Log> {
        let get = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        Log::found(true, get)
    }

    #[test]
    fn a_log_is_known_by_what_its_runner_sets() {
        let commit = "0f".repeat(20);
        let all = [
            ("GITLAB_CI", "true"),
            ("CI_PROJECT_URL", "https://git.example/a/b"),
            ("CI_COMMIT_SHA", commit.as_str()),
        ];
        let gitlab = |blobs: String| Some(Log::Gitlab { blobs, colours: true });
        assert_eq!(found(&all), gitlab(format!("https://git.example/a/b/-/blob/{commit}/")));
        assert_eq!(found(&all[..2]), gitlab(String::new()));
        assert_eq!(found(&[all[0], all[1], ("CI_COMMIT_SHA", "main")]), gitlab(String::new()));
        assert_eq!(found(&[("GITLAB_CI", "1")]), None);
        let jenkins = [("JENKINS_URL", "https://ci.example/"), ("BUILD_ID", "7")];
        assert_eq!(found(&jenkins), Some(Log::Jenkins));
        for one in jenkins {
            assert_eq!(found(&[one, ("JENKINS_HOME", "/var/jenkins")]), None);
        }
    }
}
