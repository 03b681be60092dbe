//! GitHub's environments (docs.github.com, REST API 2022-11-28: "List environments", "List deployment branch policies").

use std::collections::BTreeSet;

use reqwest::Url;
use reqwest::header::LINK;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::wire::{Page, Wire};
use super::{ForgeError, Settings};
use crate::digest::shorten;
use crate::doctor::Guard;

/// A page of a list that says how long it is as a whole.
trait Listed: DeserializeOwned {
    type Item;
    fn taken(self) -> (usize, Vec<Self::Item>);
}

#[derive(Deserialize)]
struct Environments {
    total_count: usize,
    environments: Vec<Environment>,
}

#[derive(Deserialize)]
struct Environment {
    name: String,
    /// Absent: none.
    #[serde(default)]
    protection_rules: Vec<Rule>,
    /// Null: every branch may deploy.
    deployment_branch_policy: Option<BranchPolicy>,
    /// Absent where the server is older than the switch: then they may.
    can_admins_bypass: Option<bool>,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    wait_timer: u64,
    #[serde(default)]
    prevent_self_review: bool,
}

#[derive(Deserialize)]
struct BranchPolicy {
    custom_branch_policies: bool,
}

#[derive(Deserialize)]
struct Policies {
    total_count: usize,
    branch_policies: Vec<Policy>,
}

#[derive(Deserialize)]
struct Policy {
    name: String,
}

impl Listed for Environments {
    type Item = Environment;
    fn taken(self) -> (usize, Vec<Environment>) {
        (self.total_count, self.environments)
    }
}

impl Listed for Policies {
    type Item = Policy;
    fn taken(self) -> (usize, Vec<Policy>) {
        (self.total_count, self.branch_policies)
    }
}

pub(super) async fn guards(
    wire: &Wire,
    settings: &Settings,
    wanted: &BTreeSet<String>,
) -> Result<Vec<Guard>, ForgeError> {
    let (owner, name) = project(settings)?;
    let path = ["repos", owner, name, "environments"];
    let found = all::<Environments>(wire, &path).await?;
    let mut guards = Vec::new();
    for environment in found {
        let open_to = match &environment.deployment_branch_policy {
            Some(policy) if policy.custom_branch_policies && wanted.contains(&environment.name) => {
                let path = [&path[..], &[&environment.name, "deployment-branch-policies"]].concat();
                every_branch(&all::<Policies>(wire, &path).await?)
            }
            Some(_) => None,
            None => Some("any branch".to_owned()),
        };
        guards.push(guard(environment, open_to));
    }
    Ok(guards)
}

fn project(settings: &Settings) -> Result<(&str, &str), ForgeError> {
    let (owner, name) = settings.project.split_once('/').unwrap_or_default();
    let good = |part: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        part.chars().all(known) && part.chars().any(|c| c != '.')
    };
    match good(owner) && good(name) {
        true => Ok((owner, name)),
        false => Err(ForgeError::Project { forge: settings.forge, project: shorten(&settings.project) }),
    }
}

/// Every entry of a list, over all its pages: as many as it says that it has.
async fn all<L: Listed>(wire: &Wire, path: &[&str]) -> Result<Vec<L::Item>, ForgeError> {
    let mut next = Some(wire.url(path, &[("per_page", "100")]));
    let (mut found, mut count) = (Vec::new(), 0);
    while let Some(url) = next {
        let page: Page<L> = wire.get(&url).await?;
        let links = page.headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
        let following = following(wire, &url, links)?;
        let (said, entries) = page.body.taken();
        // A page of nothing that promises another would go on for ever.
        next = following.filter(|_| !entries.is_empty());
        count = said;
        found.extend(entries);
        wire.not_too_many(found.len())?;
    }
    match found.len() == count {
        true => Ok(found),
        false => Err(wire.malformed(format_args!("{} entries of {count}", found.len()))),
    }
}

/// The page behind this one (RFC 8288, `rel="next"`).
fn following<'l>(
    wire: &Wire,
    url: &Url,
    links: impl Iterator<Item = &'l str>,
) -> Result<Option<Url>, ForgeError> {
    let next = links.flat_map(|links| links.split(',')).find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = |parameter: &str| matches!(parameter.trim(), "rel=\"next\"" | "rel=next");
        parameters.split(';').any(is_next).then_some(target)
    });
    next.map(|target| wire.given(url, target)).transpose()
}

/// The pattern that every branch, or every tag, matches, if there is one: a star is anything but a `/`.
fn every_branch(policies: &[Policy]) -> Option<String> {
    let stars = |policy: &&Policy| policy.name.chars().all(|c| matches!(c, '*' | '/'));
    policies.iter().find(stars).map(|policy| format!("every branch or tag (`{}`)", shorten(&policy.name)))
}

fn guard(environment: Environment, open_to: Option<String>) -> Guard {
    let rules = &environment.protection_rules;
    let reviewed = rules.iter().find(|rule| rule.kind == "required_reviewers");
    let waits = rules.iter().any(|rule| rule.kind == "wait_timer" && rule.wait_timer > 0);
    Guard {
        protected: !rules.is_empty() || environment.deployment_branch_policy.is_some(),
        open_to,
        held: reviewed.is_some() || waits,
        self_review: reviewed.is_some_and(|rule| !rule.prevent_self_review),
        bypass: environment.can_admins_bypass.unwrap_or(true),
        name: environment.name,
    }
}
