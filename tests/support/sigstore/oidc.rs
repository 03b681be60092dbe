//! The OpenID Connect issuer, and what CI systems put into their tokens.
//!
//! One key signs the tokens of every issuer here: the real names of GitHub, GitLab and Buildkite are used, as
//! identities in certificates are compared with them; the virtual Fulcio knows that they are this key's.

use std::sync::Mutex;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::hex;
use super::key::sha256;

pub const GITHUB: &str = "https://token.actions.githubusercontent.com";
pub const GITLAB: &str = "https://gitlab.com";
pub const BUILDKITE: &str = "https://agent.buildkite.com";

/// The audience that Fulcio asks for.
pub const AUDIENCE: &str = "sigstore";
/// How long a token is good, in seconds.
const LIFE: i64 = 300;
/// What `ACTIONS_ID_TOKEN_REQUEST_TOKEN` holds.
pub const BEARER: &str = "virtual-actions-id-token-request-token";

pub struct Oidc {
    /// The own name, of the e-mail kind (as Dex): where the keys are served.
    pub issuer: String,
    key: EcdsaKeyPair,
    /// What the ambient endpoint gives out.
    ambient: Mutex<Value>,
}

impl Oidc {
    pub fn new(issuer: &str) -> Self {
        let ambient = Mutex::new(github("acme/shop", "release.yml", "refs/heads/main"));
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { issuer: issuer.to_owned(), key, ambient }
    }

    /// The claims of the tokens that the ambient endpoint gives out from now on.
    pub fn set_ambient(&self, claims: Value) {
        *self.ambient.lock().unwrap() = claims;
    }

    /// A token with these claims; `iss`, `aud`, `iat`, `nbf` and `exp` are added where absent.
    pub fn token(&self, claims: &Value, now: Timestamp) -> String {
        let mut claims = claims.clone();
        let now = now.as_second();
        let usual = [
            ("iss", json!(self.issuer)),
            ("aud", json!(AUDIENCE)),
            ("iat", json!(now)),
            ("nbf", json!(now)),
            ("exp", json!(now + LIFE)),
        ];
        let members = claims.as_object_mut().unwrap();
        for (name, value) in usual {
            members.entry(name).or_insert(value);
        }
        let header = json!({ "alg": "ES256", "kid": self.kid(), "typ": "JWT" });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(&claims));
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    /// The claims, if the token is this issuer's, for Fulcio, and good now.
    pub fn verified(&self, token: &str, now: Timestamp) -> Result<Value, &'static str> {
        let (message, signature) = token.rsplit_once('.').ok_or("not a JWT")?;
        let (header, claims) = message.split_once('.').ok_or("not a JWT")?;
        let read = |part: &str| {
            let json = URL_SAFE_NO_PAD.decode(part).ok()?;
            serde_json::from_slice::<Value>(&json).ok()
        };
        if read(header).ok_or("no header")?["alg"] != "ES256" {
            return Err("signed by another algorithm");
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "no signature")?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref())
            .verify(message.as_bytes(), &signature)
            .map_err(|_| "the signature is wrong")?;
        let claims = read(claims).ok_or("no claims")?;
        let time = |name: &str| claims[name].as_i64();
        let now = now.as_second();
        if claims["aud"] != AUDIENCE {
            return Err("for another audience");
        }
        if time("exp").is_none_or(|exp| exp <= now) {
            return Err("expired");
        }
        if time("nbf").is_some_and(|nbf| nbf > now) {
            return Err("not yet valid");
        }
        Ok(claims)
    }

    /// `GET …/.well-known/openid-configuration`.
    pub fn configuration(&self) -> Value {
        json!({
            "issuer": self.issuer,
            "jwks_uri": format!("{}/.well-known/jwks", self.issuer),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    /// `GET …/.well-known/jwks` (RFC 7517).
    pub fn keys(&self) -> Value {
        let point = self.key.public_key().as_ref();
        json!({ "keys": [{
            "kty": "EC",
            "crv": "P-256",
            "alg": "ES256",
            "use": "sig",
            "kid": self.kid(),
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]),
            "y": URL_SAFE_NO_PAD.encode(&point[33..]),
        }]})
    }

    /// What GitHub's `ACTIONS_ID_TOKEN_REQUEST_URL` answers: a token for the audience that was asked for, and
    /// for the repository's owner where none was.
    pub fn ambient(&self, authorization: &str, audience: Option<&str>, now: Timestamp) -> Option<Value> {
        let (scheme, bearer) = authorization.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") || bearer != BEARER {
            return None;
        }
        let mut claims = self.ambient.lock().unwrap().clone();
        let owner = format!("https://github.com/{}", claims["repository_owner"].as_str().unwrap_or_default());
        claims["aud"] = json!(audience.unwrap_or(&owner));
        Some(json!({ "value": self.token(&claims, now) }))
    }

    fn kid(&self) -> String {
        hex(&sha256(self.key.public_key().as_ref()))[..16].to_owned()
    }
}

/// A job of GitHub Actions (docs.github.com, "OpenID Connect reference").
pub fn github(repository: &str, workflow: &str, git_ref: &str) -> Value {
    let owner = repository.split('/').next().unwrap();
    let file = format!("{repository}/.github/workflows/{workflow}@{git_ref}");
    let commit = "c4a1f2d3e4b5a69788796a5b4c3d2e1f00112233";
    json!({
        "iss": GITHUB,
        "sub": format!("repo:{repository}:ref:{git_ref}"),
        "actor": "octocat",
        "actor_id": "583231",
        "event_name": "push",
        "job_workflow_ref": file,
        "job_workflow_sha": commit,
        "ref": git_ref,
        "ref_type": if git_ref.starts_with("refs/tags/") { "tag" } else { "branch" },
        "repository": repository,
        "repository_id": "1296269",
        "repository_owner": owner,
        "repository_owner_id": "9919",
        "repository_visibility": "public",
        "run_attempt": "2",
        "run_id": "9001",
        "run_number": "10",
        "runner_environment": "github-hosted",
        "sha": commit,
        "workflow": "release",
        "workflow_ref": file,
        "workflow_sha": commit,
    })
}

/// A job of GitLab CI (docs.gitlab.com, "Token payload").
pub fn gitlab(project: &str, branch: &str) -> Value {
    let namespace = project.rsplit_once('/').unwrap().0;
    let commit = "714a629c0b401fdce83e847fc9589983fc6f46bc";
    json!({
        "iss": GITLAB,
        "sub": format!("project_path:{project}:ref_type:branch:ref:{branch}"),
        "ci_config_ref_uri": format!("gitlab.com/{project}//.gitlab-ci.yml@refs/heads/{branch}"),
        "ci_config_sha": commit,
        "job_id": "302",
        "namespace_id": "72",
        "namespace_path": namespace,
        "pipeline_id": "574",
        "pipeline_source": "push",
        "project_id": "20",
        "project_path": project,
        "project_visibility": "public",
        "ref": branch,
        "ref_type": "branch",
        "runner_environment": "gitlab-hosted",
        "runner_id": 1,
        "sha": commit,
    })
}

/// A job of Buildkite (buildkite.com/docs, "OIDC").
pub fn buildkite(organization: &str, pipeline: &str) -> Value {
    let commit = "9f3182061f1e2cca4702c368cbc039b7dc9d4485";
    let built = format!("ref:refs/heads/main:commit:{commit}:step:");
    json!({
        "iss": BUILDKITE,
        "sub": format!("organization:{organization}:pipeline:{pipeline}:{built}"),
        "build_commit": commit,
        "build_number": 7,
        "build_source": "webhook",
        "job_id": "0184990a-477b-4fa8-9968-496074483cee",
        "organization_slug": organization,
        "pipeline_slug": pipeline,
        "runner_environment": "self-hosted",
    })
}

/// A person, by the issuer's own name.
pub fn person(email: &str) -> Value {
    json!({ "sub": "CgYxMjM0NTY", "email": email, "email_verified": true })
}
