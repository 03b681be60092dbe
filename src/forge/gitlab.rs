//! GitLab's protected environments (docs.gitlab.com, "Protected environments API": "List protected environments").

use serde::Deserialize;

use super::wire::{Page, Wire};
use super::{ForgeError, Settings};
use crate::digest::shorten;
use crate::doctor::Guard;

/// Developer access (docs.gitlab.com, "Valid access levels").
const DEVELOPER: u64 = 30;

#[derive(Deserialize)]
struct Environment {
    name: String,
    deploy_access_levels: Vec<Access>,
}

#[derive(Deserialize)]
struct Access {
    /// Null where it is that of a user or a group.
    access_level: Option<u64>,
}

pub(super) async fn guards(wire: &Wire, settings: &Settings) -> Result<Vec<Guard>, ForgeError> {
    if settings.project.split('/').any(|part| matches!(part, "" | "." | "..")) {
        let project = shorten(&settings.project);
        return Err(ForgeError::Project { forge: settings.forge, project });
    }
    let path = ["projects", &settings.project, "protected_environments"];
    let mut guards = Vec::new();
    let mut number = 1_u64;
    loop {
        let url = wire.url(&path, &[("per_page", "100"), ("page", &number.to_string())]);
        let page: Page<Vec<Environment>> = wire.get(&url).await?;
        guards.extend(page.body.into_iter().map(guard));
        wire.not_too_many(guards.len())?;
        // Empty on the last page, or absent (docs.gitlab.com, "Offset-based pagination").
        match page.headers.get("x-next-page").map(|next| next.to_str().unwrap_or_default().trim()) {
            None | Some("") => return Ok(guards),
            Some(next) if next == (number + 1).to_string() => number += 1,
            Some(next) => return Err(wire.malformed(format_args!("page `{next}` behind page {number}"))),
        }
        if number > super::MOST as u64 {
            return Err(wire.malformed("pages that do not end"));
        }
    }
}

fn guard(environment: Environment) -> Guard {
    let open = |access: &Access| access.access_level.is_some_and(|level| level <= DEVELOPER);
    // Level 0 is nobody.
    let developers =
        environment.deploy_access_levels.iter().any(|access| open(access) && access.access_level != Some(0));
    Guard {
        name: environment.name,
        protected: true,
        open_to: developers.then(|| "every developer".to_owned()),
        held: false,
        self_review: false,
        bypass: false,
    }
}
