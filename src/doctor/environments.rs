//! The environments of a forge: whether they are there, and who gets past them.
//!
//! What a gate decides is worth what its job is worth: whoever can run a job in an environment has the keys and the
//! identity of that environment.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Code, Finding, Place};
use crate::policy::{Environment, Policy};

/// Where the repository lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Forge {
    /// GitHub, or GitHub Enterprise Server.
    Github,
    /// GitLab.
    Gitlab,
}

impl fmt::Display for Forge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Github => "GitHub",
            Self::Gitlab => "GitLab",
        })
    }
}

/// An environment of a forge, and what guards it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Its name there.
    pub name: String,
    /// Whether anything guards it: reviewers, a timer, rules of its own, branches.
    pub protected: bool,
    /// Who may deploy there that should not, where that is so.
    pub open_to: Option<String>,
    /// Whether people have to approve a deployment, or it has to wait.
    pub held: bool,
    /// Whether an approval may be by who started the deployment.
    pub self_review: bool,
    /// Whether administrators may pass.
    pub bypass: bool,
}

/// What is left open by the environments that have the names of the policy's.
pub fn environments(policy: &Policy, forge: Forge, guards: &[Guard]) -> Vec<Finding> {
    let named =
        |environment: &Environment| guards.iter().find(|guard| guard.name == environment.name().as_str());
    let all = policy.environments().iter();
    all.flat_map(|environment| match named(environment) {
        Some(guard) => judged(forge, guard),
        None => vec![absent(forge, environment)],
    })
    .collect()
}

fn absent(forge: Forge, environment: &Environment) -> Finding {
    let name = environment.name();
    let (found, expected, fix) = match forge {
        Forge::Github => (
            format!(
                "the repository has no environment `{name}`: a job that names it makes one that guards nothing"
            ),
            format!("an environment `{name}` that only the branches that release may deploy to"),
            format!(
                "Settings, Environments, New environment `{name}`; Deployment branches: Selected branches and tags"
            ),
        ),
        Forge::Gitlab => (
            format!("`{name}` is no protected environment: every developer may run its jobs"),
            format!("a protected environment `{name}`"),
            format!(
                "Settings, CI/CD, Protected environments, Protect an environment: `{name}`, allowed to deploy: Maintainers"
            ),
        ),
    };
    finding(forge, name.as_str(), Code::EnvironmentUnprotected, (found, expected, fix))
}

fn judged(forge: Forge, guard: &Guard) -> Vec<Finding> {
    let name = guard.name.as_str();
    let mut findings = Vec::new();
    let mut found = |code, text: (String, String, String)| findings.push(finding(forge, name, code, text));
    match (&guard.open_to, guard.protected) {
        (_, false) => found(
            Code::EnvironmentUnprotected,
            (
                "nothing protects it: a job on any branch gets its keys and its identity".to_owned(),
                "the branches that release, and no others".to_owned(),
                format!(
                    "Settings, Environments, `{name}`, Deployment branches and tags: Selected branches and tags"
                ),
            ),
        ),
        (Some(who), true) => found(
            Code::EnvironmentTooOpen,
            match forge {
                Forge::Github => (
                    format!("{who} may deploy to it: whoever can push one gets its keys and its identity"),
                    "the branches that release, and no others".to_owned(),
                    format!(
                        "Settings, Environments, `{name}`, Deployment branches and tags: Selected branches and tags"
                    ),
                ),
                Forge::Gitlab => (
                    format!("{who} may deploy to it"),
                    "maintainers, or a group of those who release".to_owned(),
                    format!(
                        "Settings, CI/CD, Protected environments, `{name}`, Allowed to deploy: Maintainers"
                    ),
                ),
            },
        ),
        (None, true) => {}
    }
    if guard.held && guard.self_review {
        found(
            Code::EnvironmentSelfReview,
            (
                "who starts a deployment may approve it".to_owned(),
                "somebody else".to_owned(),
                format!("Settings, Environments, `{name}`, Required reviewers: Prevent self-review"),
            ),
        );
    }
    if guard.held && guard.bypass {
        found(
            Code::EnvironmentBypass,
            (
                "administrators may go past its reviewers and timers".to_owned(),
                "nobody goes past them".to_owned(),
                format!(
                    "Settings, Environments, `{name}`: no \"Allow administrators to bypass configured protection rules\""
                ),
            ),
        );
    }
    findings
}

fn finding(
    forge: Forge,
    name: &str,
    code: Code,
    (found, expected, fix): (String, String, String),
) -> Finding {
    Finding { place: Place::Environment { forge, name: name.to_owned() }, code, found, expected, fix }
}
