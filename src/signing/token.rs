//! Who the CI system says we are: an OIDC identity token.

use std::fmt;

use sigstore_sign::oidc::IdentityToken;
use zeroize::Zeroizing;

use crate::digest::shorten;

/// The audience that Fulcio asks for.
pub const AUDIENCE: &str = "sigstore";

/// Where tokens come from.
pub enum Token {
    /// One that was given (`SIGSTORE_ID_TOKEN`): good for as long as it says.
    Given(Zeroizing<String>),
    /// The CI system's, asked for anew each time: GitHub Actions with `id-token: write`, GitLab CI with `id_tokens`,
    /// Buildkite, CircleCI.
    Ambient,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Given(_) => "Given(…)",
            Self::Ambient => "Ambient",
        })
    }
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not in a CI system we know, and none given.
    #[error("no CI system here gives an identity token, and SIGSTORE_ID_TOKEN is not set")]
    None,
    /// The CI system gave none.
    #[error("the CI system gave no identity token: {detail}")]
    Ambient {
        /// What it said, neutralised.
        detail: String,
    },
    /// Not a token.
    #[error("the identity token is not a JWT: expected three parts, with the claims `iss`, `sub` and `exp`")]
    Malformed,
    /// For somebody else.
    #[error("the identity token is for another audience: expected `{AUDIENCE}`")]
    Audience,
}

impl Token {
    /// A token for Fulcio. What it says is Fulcio's to verify; what it would be refused for is said here already.
    pub(super) async fn fetch(&self) -> Result<IdentityToken, TokenError> {
        let token = match self {
            Self::Given(text) => IdentityToken::from_jwt(text.trim()).map_err(|_| TokenError::Malformed)?,
            Self::Ambient => IdentityToken::detect_ambient()
                .await
                .map_err(|error| TokenError::Ambient { detail: shorten(&error.to_string()) })?
                .ok_or(TokenError::None)?,
        };
        match token.claims().aud.contains(AUDIENCE) {
            true => Ok(token),
            false => Err(TokenError::Audience),
        }
    }
}
