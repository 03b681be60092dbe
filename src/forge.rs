//! The environments of GitHub and GitLab, read through their APIs.
//!
//! Guarantees: the token goes to the origin that was named and to no other, over TLS unless that is this machine; bodies,
//! pages and time are limited; "no such project", "not allowed", "not now" and "an answer that is none" are told apart,
//! and none of them is "no environments". Never does: changes anything.
//!
//! Start at [`guards`]. Judged they are by [`crate::doctor::environments`].

mod github;
mod gitlab;
mod wire;

use std::collections::BTreeSet;
use std::fmt;

use crate::doctor::{Forge, Guard};
use crate::registry::{HttpConfig, RegistryError};

use self::wire::Wire;

/// How many environments are looked at.
pub const MOST: usize = 2_000;

/// Whom to ask, about what, and as whom.
pub struct Settings {
    /// Which API it is.
    pub forge: Forge,
    /// Where it is: `https://api.github.com`, `https://gitlab.com/api/v4`.
    pub api: String,
    /// `OWNER/NAME` at GitHub; the id or the path of a project at GitLab.
    pub project: String,
    /// The token.
    pub token: zeroize::Zeroizing<String>,
    /// Proxies, certificate authorities, patience.
    pub http: HttpConfig,
}

impl fmt::Debug for Settings {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings {{ forge: {}, api: {:?}, project: {:?} }}", self.forge, self.api, self.project)
    }
}

/// Why a forge could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// The address of the API is none.
    #[error("`{api}` is no address of an API: expected https://HOST/PATH, without TLS on this machine only")]
    Api {
        /// What was given, shortened.
        api: String,
    },
    /// The project is named in no way that the forge knows.
    #[error("`{project}` is no project of {forge}: expected OWNER/NAME at GitHub, an id or a path at GitLab")]
    Project {
        /// The forge.
        forge: Forge,
        /// What was given, shortened.
        project: String,
    },
    /// The token has characters that none has.
    #[error("the token for {forge} is no token: it has characters that cannot be sent")]
    Token {
        /// The forge.
        forge: Forge,
    },
    /// The client could not be made.
    #[error("{forge} cannot be asked")]
    Client {
        /// The forge.
        forge: Forge,
        /// Why.
        source: Box<RegistryError>,
    },
    /// No answer.
    #[error("{forge} cannot be reached: {why}")]
    Unreachable {
        /// The forge.
        forge: Forge,
        /// What happened.
        why: String,
    },
    /// The token is not good, or not for this.
    #[error("{forge} answers {status}: {text}")]
    Refused {
        /// The forge.
        forge: Forge,
        /// The HTTP status.
        status: u16,
        /// What it says, shortened.
        text: String,
    },
    /// Too many questions, of whomever the token belongs to.
    #[error("{forge} answers {status}: it was asked too often")]
    TooOften {
        /// The forge.
        forge: Forge,
        /// The HTTP status.
        status: u16,
    },
    /// Nothing there, or nothing that the token may see.
    #[error("{forge} has no such project, or none that the token may see: `{project}` (404)")]
    Absent {
        /// The forge.
        forge: Forge,
        /// The project, shortened.
        project: String,
    },
    /// It sends elsewhere.
    #[error("{forge} sends to `{to}`, which is another place: the token is not sent there")]
    Elsewhere {
        /// The forge.
        forge: Forge,
        /// Where to, shortened.
        to: String,
    },
    /// An answer that is none.
    #[error("{forge} gave an answer that is none: {why}")]
    Malformed {
        /// The forge.
        forge: Forge,
        /// What is wrong with it.
        why: String,
    },
}

impl ForgeError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { forge: Forge::Github, .. } => {
                Some("the token needs to read the repository's environments: `actions: read`".to_owned())
            }
            Self::Refused { forge: Forge::Gitlab, .. } => Some(
                "the token needs the scope `read_api` and the role Maintainer; a job's own CI_JOB_TOKEN is not enough"
                    .to_owned(),
            ),
            Self::Absent { forge: Forge::Gitlab, .. } => {
                Some("GitLab has protected environments from its tier Premium on".to_owned())
            }
            Self::Absent { forge: Forge::Github, .. } => {
                Some("is GITHUB_REPOSITORY the repository, and may the token read it?".to_owned())
            }
            Self::TooOften { .. } | Self::Unreachable { .. } => Some("run it again later".to_owned()),
            Self::Api { .. }
            | Self::Project { .. }
            | Self::Token { .. }
            | Self::Client { .. }
            | Self::Elsewhere { .. }
            | Self::Malformed { .. } => None,
        }
    }
}

/// Every environment that the forge guards, or has; of those in `wanted` all that there is to know.
///
/// # Errors
/// [`ForgeError`] whenever the answer is not whole.
pub async fn guards(settings: &Settings, wanted: &BTreeSet<String>) -> Result<Vec<Guard>, ForgeError> {
    let wire = Wire::new(settings)?;
    match settings.forge {
        Forge::Github => github::guards(&wire, settings, wanted).await,
        Forge::Gitlab => gitlab::guards(&wire, settings).await,
    }
}

#[cfg(test)]
mod tests;
