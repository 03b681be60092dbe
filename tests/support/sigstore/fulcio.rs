//! Fulcio v2 (sigstore/fulcio `fulcio.proto`, `docs/oidc.md`, `docs/oid-info.md`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::ca::{Identity, Name};
use super::der::Element;
use super::key::{pem_of, point, spki_of_pem, verifies};
use super::log::Refused;
use super::oidc::{BUILDKITE, GITHUB, GITLAB};
use super::rekor_v1::text;

/// A good request: whose key is to be certified for whom.
pub struct Wanted {
    pub spki: Vec<u8>,
    pub identity: Identity,
}

impl Wanted {
    /// Reads the body of `POST /api/v2/signingCert`, whose token had these claims.
    pub fn read(request: &Value, claims: &Value, own: &str) -> Result<Self, Refused> {
        let identity = Identity::of(claims, own)
            .ok_or_else(|| (401, "There was an error processing the identity token".to_owned()))?;
        let spki = match (request.get("publicKeyRequest"), request.get("certificateSigningRequest")) {
            (Some(asked), None) => proved(asked, challenge(claims)),
            (None, Some(asked)) => requested(asked),
            _ => return Err((400, "The key is missing".to_owned())),
        };
        let wrong = "The signature supplied in the request could not be verified";
        Ok(Self { spki: spki.ok_or_else(|| (400, wrong.to_owned()))?, identity })
    }
}

/// What the client signs to prove that it has the key: the e-mail address, or else the subject.
fn challenge(claims: &Value) -> &str {
    match text(claims, "/email") {
        "" => text(claims, "/sub"),
        email => email,
    }
}

fn proved(asked: &Value, challenge: &str) -> Option<Vec<u8>> {
    let spki = spki_of_pem(text(asked, "/publicKey/content").as_bytes())?;
    let proof = STANDARD.decode(text(asked, "/proofOfPossession")).ok()?;
    verifies(&spki, challenge.as_bytes(), &proof).then_some(spki)
}

/// The key of a CSR that signs itself (RFC 2986), base64 of PEM.
fn requested(asked: &Value) -> Option<Vec<u8>> {
    let block = pem::parse(STANDARD.decode(asked.as_str()?).ok()?).ok()?;
    let parts = Element::read(block.contents())?.children()?;
    let [info, _, signature] = parts.as_slice() else { return None };
    let spki = info.children()?.get(2)?.whole;
    point(spki)?;
    verifies(spki, info.whole, signature.content.get(1..)?).then(|| spki.to_vec())
}

/// The answer.
pub fn response(chain: &[Vec<u8>], sct: bool) -> Value {
    let certificates: Vec<_> = chain.iter().map(|one| pem_of("CERTIFICATE", one)).collect();
    let chain = json!({ "certificates": certificates });
    match sct {
        true => json!({ "signedCertificateEmbeddedSct": { "chain": chain } }),
        // An instance without a certificate transparency log.
        false => {
            json!({ "signedCertificateDetachedSct": { "chain": chain, "signedCertificateTimestamp": "" } })
        }
    }
}

/// The body of `POST /api/v1/signingCert` in the words of version 2.
pub fn of_version_1(request: &Value) -> Value {
    let content = STANDARD.decode(text(request, "/publicKey/content")).unwrap_or_default();
    json!({ "publicKeyRequest": {
        "publicKey": { "content": String::from_utf8_lossy(&content) },
        "proofOfPossession": text(request, "/signedEmailAddress"),
    } })
}

/// The certificates of an answer, one PEM text: what version 1 answers.
pub fn chain(answer: &Value) -> String {
    let kinds = ["signedCertificateEmbeddedSct", "signedCertificateDetachedSct"];
    let chain = kinds.iter().find_map(|kind| answer.get(kind)?.pointer("/chain/certificates")?.as_array());
    chain.into_iter().flatten().filter_map(Value::as_str).collect()
}

impl Identity {
    /// What Fulcio makes of these claims; `own` is the issuer of e-mail addresses.
    pub fn of(claims: &Value, own: &str) -> Option<Self> {
        let issuer = text(claims, "/iss");
        let (name, pairs) = match issuer {
            GITHUB => github(claims),
            GITLAB => gitlab(claims),
            BUILDKITE => buildkite(claims),
            issuer if issuer == own => person(claims)?,
            _ => return None,
        };
        let mut extensions: std::collections::BTreeMap<_, _> =
            pairs.into_iter().filter(|(_, text)| !text.is_empty()).collect();
        extensions.insert(1, issuer.to_owned());
        extensions.insert(8, issuer.to_owned());
        let subject = text(claims, "/sub");
        if !matches!(name, Name::Email(_)) {
            extensions.insert(24, subject.to_owned());
        }
        Some(Self { names: vec![name], extensions })
    }

    /// Its first name's text.
    pub fn subject(&self) -> &str {
        match self.names.first() {
            Some(Name::Uri(text) | Name::Email(text)) => text,
            None => "",
        }
    }

    /// The issuer, as the certificate says it.
    pub fn issuer(&self) -> &str {
        self.extensions.get(&8).map_or("", String::as_str)
    }
}

type Mapped = (Name, Vec<(u32, String)>);

fn github(claims: &Value) -> Mapped {
    let claim = |name: &str| text(claims, &format!("/{name}")).to_owned();
    let url = |path: String| format!("https://github.com/{path}");
    let run =
        format!("{}/actions/runs/{}/attempts/{}", claim("repository"), claim("run_id"), claim("run_attempt"));
    let pairs = vec![
        (2, claim("event_name")),
        (3, claim("sha")),
        (4, claim("workflow")),
        (5, claim("repository")),
        (6, claim("ref")),
        (9, url(claim("job_workflow_ref"))),
        (10, claim("job_workflow_sha")),
        (11, claim("runner_environment")),
        (12, url(claim("repository"))),
        (13, claim("sha")),
        (14, claim("ref")),
        (15, claim("repository_id")),
        (16, url(claim("repository_owner"))),
        (17, claim("repository_owner_id")),
        (18, url(claim("workflow_ref"))),
        (19, claim("workflow_sha")),
        (20, claim("event_name")),
        (21, url(run)),
        (22, claim("repository_visibility")),
        (23, claim("environment")),
    ];
    (Name::Uri(url(claim("job_workflow_ref"))), pairs)
}

fn gitlab(claims: &Value) -> Mapped {
    let claim = |name: &str| text(claims, &format!("/{name}")).to_owned();
    let url = |path: String| format!("https://gitlab.com/{path}");
    let pipeline = format!("https://{}", claim("ci_config_ref_uri"));
    let kind = if claim("ref_type") == "branch" { "heads" } else { "tags" };
    let pairs = vec![
        (9, pipeline.clone()),
        (10, claim("ci_config_sha")),
        (11, claim("runner_environment")),
        (12, url(claim("project_path"))),
        (13, claim("sha")),
        (14, format!("refs/{kind}/{}", claim("ref"))),
        (15, claim("project_id")),
        (16, url(claim("namespace_path"))),
        (17, claim("namespace_id")),
        (18, pipeline.clone()),
        (19, claim("ci_config_sha")),
        (20, claim("pipeline_source")),
        (21, url(format!("{}/-/jobs/{}", claim("project_path"), claim("job_id")))),
        (22, claim("project_visibility")),
        (23, claim("environment")),
    ];
    (Name::Uri(pipeline), pairs)
}

fn buildkite(claims: &Value) -> Mapped {
    let claim = |name: &str| text(claims, &format!("/{name}")).to_owned();
    let pipeline = format!("https://buildkite.com/{}/{}", claim("organization_slug"), claim("pipeline_slug"));
    let run = format!("{pipeline}/builds/{}#{}", claims["build_number"], claim("job_id"));
    let pairs = vec![
        (11, claim("runner_environment")),
        (13, claim("build_commit")),
        (20, claim("build_source")),
        (21, run),
    ];
    (Name::Uri(pipeline), pairs)
}

/// Only an address that was verified.
fn person(claims: &Value) -> Option<Mapped> {
    (claims["email_verified"] == true).then(|| (Name::Email(text(claims, "/email").to_owned()), vec![]))
}

/// `GET /api/v2/configuration`.
pub fn configuration(own: &str) -> Value {
    let issuer = |url: &str, kind: &str, claim: &str| -> Value {
        json!({
            "issuerUrl": url,
            "audience": "sigstore",
            "challengeClaim": claim,
            "issuerType": kind,
        })
    };
    json!({ "issuers": [
        issuer(GITHUB, "ci-provider", "sub"),
        issuer(GITLAB, "ci-provider", "sub"),
        issuer(BUILDKITE, "ci-provider", "sub"),
        issuer(own, "email", "email"),
    ]})
}
