//! How far a builder is to be believed: the SLSA Build level that builder and signer justify together.
//!
//! Guarantees: a closed table, from who signed (as proved) and which builder is named to the highest level that may
//! be claimed (SLSA v1.0, "Verifying artifacts", step 1: "roots of trust"); what is not in it is level 1: there is
//! provenance, and somebody known signed it. Never does: read a level out of the provenance.
//! Start at [`grade`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::found::Dialect;
use super::{Aspect, Provenance};
use crate::digest::shorten;
use crate::verify::{Author, Claims, Identity, RootName};

/// GitHub Actions, as an OpenID Connect issuer.
const GITHUB: &str = "https://token.actions.githubusercontent.com";
/// gitlab.com, as an OpenID Connect issuer.
const GITLAB: &str = "https://gitlab.com";
/// The builder of provenance that a job on GitHub's runners made for itself, before reusable workflows were named.
const GITHUB_RUNNER: &str = "https://github.com/actions/runner/github-hosted";
/// What `actions/attest-build-provenance` writes, and what its first versions and npm wrote.
const GITHUB_BUILD_TYPES: [&str; 2] = [
    "https://actions.github.io/buildtypes/workflow/v1",
    "https://slsa-framework.github.io/github-actions-buildtypes/workflow/v1",
];
/// slsa-github-generator's builders whose certificates name themselves, each with what it writes.
const GENERATORS: [(&str, &str); 4] = [
    ("generator_container_slsa3.yml", "https://github.com/slsa-framework/slsa-github-generator/container@v1"),
    ("generator_generic_slsa3.yml", "https://github.com/slsa-framework/slsa-github-generator/generic@v1"),
    ("builder_go_slsa3.yml", "https://github.com/slsa-framework/slsa-github-generator/go@v1"),
    ("builder_container-based_slsa3.yml", "https://slsa.dev/container-based-build/v0.1?draft"),
];
const GENERATOR: &str = "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/";

/// A SLSA Build level (v1.0, "Security levels").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Provenance exists.
    L1,
    /// A hosted platform made and signed it.
    L2,
    /// The platform kept it out of reach of the build.
    L3,
}

impl Level {
    /// As a verification summary names it (SLSA v1.0, verification_summary/v1, `SlsaResult`).
    pub fn result(self) -> &'static str {
        match self {
            Self::L1 => "SLSA_BUILD_LEVEL_1",
            Self::L2 => "SLSA_BUILD_LEVEL_2",
            Self::L3 => "SLSA_BUILD_LEVEL_3",
        }
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::L1 => "1",
            Self::L2 => "2",
            Self::L3 => "3",
        })
    }
}

/// A level, and why it is this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grade {
    /// The highest level that may be claimed.
    pub level: Level,
    /// Why not more, or why that much.
    pub why: Why,
}

/// The rows of the table, and the ways to fall out of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Level 3: the reusable workflow that made the provenance is in the table, and signed it itself.
    #[error("slsa-github-generator signed it itself")]
    Generator,
    /// Level 3: a reusable workflow from outside the source built and signed; the policy names it as the builder.
    #[error("a reusable workflow outside the source built and signed it")]
    Reusable,
    /// Level 2: the source's own workflow built and signed on GitHub's runners; the build could reach the signing.
    #[error("a workflow of the source itself built and signed it")]
    OwnWorkflow,
    /// Level 2: a job on gitlab.com's runners signed it; the build could reach the signing.
    #[error("a job on GitLab's runners signed it")]
    GitLabJob,
    /// A key says who signed, not which platform holds it.
    #[error("a key signed it, and a key does not show which platform holds it")]
    Key,
    /// Somebody else's root: whom it certifies, the table does not know.
    #[error("the signer is known under the root `{root}`, which the table does not know")]
    Root {
        /// The root.
        root: RootName,
    },
    /// A platform that is not in the table.
    #[error("the signer's issuer is {issuer}, whose builders the table does not know")]
    Issuer {
        /// The issuer.
        issuer: String,
    },
    /// The machine was somebody's own, or the certificate does not say.
    #[error("the certificate does not say that the platform's own runner did it")]
    Runner,
    /// The certificate is about another build than the provenance.
    #[error("the certificate does not say the {aspect} that the provenance says")]
    Certificate {
        /// What the certificate says otherwise, or does not say.
        aspect: Aspect,
    },
    /// The signer is not the builder.
    #[error("the signer {signer} is not the builder")]
    NotTheBuilder {
        /// Who signed.
        signer: String,
    },
    /// The signer is the builder, and what it built how is not in the table.
    #[error("the table does not know this builder with the build type {build_type}")]
    BuildType {
        /// The build type.
        build_type: String,
    },
}

impl Why {
    /// The table's last column.
    fn level(&self) -> Level {
        match self {
            Self::Generator | Self::Reusable => Level::L3,
            Self::OwnWorkflow | Self::GitLabJob => Level::L2,
            Self::Key
            | Self::Root { .. }
            | Self::Issuer { .. }
            | Self::Runner
            | Self::Certificate { .. }
            | Self::NotTheBuilder { .. }
            | Self::BuildType { .. } => Level::L1,
        }
    }
}

/// The level of provenance that somebody signed. It presumes that the policy names the builder and compares it exactly:
/// a reusable workflow is worth as much as the policy's author, who named it, found it to be.
pub fn grade(author: &Author, provenance: &Provenance) -> Grade {
    let why = why(author.identity(), author.claims(), provenance);
    Grade { level: why.level(), why }
}

fn why(identity: &Identity, claims: Option<&Claims>, provenance: &Provenance) -> Why {
    let (issuer, subject, root) = match identity {
        Identity::Key { .. } => return Why::Key,
        Identity::Keyless { issuer, subject, root } => (issuer, subject, root),
    };
    // 1. Roots that certify these issuers, and no others'.
    if ![RootName::PublicGood, RootName::GitHub].contains(root) {
        return Why::Root { root: root.clone() };
    }
    let silent = Claims::default();
    let claims = claims.unwrap_or(&silent);
    match issuer.as_str() {
        GITHUB => github(subject, claims, provenance),
        GITLAB => gitlab(claims, provenance),
        other => Why::Issuer { issuer: shorten(other) },
    }
}

/// docs.github.com, "Artifact attestations", "SLSA levels": level 2 by itself, level 3 with a reusable workflow.
fn github(subject: &str, claims: &Claims, provenance: &Provenance) -> Why {
    // 2. A fresh machine of the platform's.
    if claims.runner_environment.as_deref() != Some("github-hosted") {
        return Why::Runner;
    }
    // 3. The same build. All of it comes from one token where it is true.
    for (aspect, certified, said) in [
        (Aspect::Source, &claims.source_repository_uri, Some(&provenance.source)),
        (Aspect::Commit, &claims.source_repository_digest, provenance.commit.as_ref()),
        (Aspect::Reference, &claims.source_repository_ref, provenance.reference.as_ref()),
    ] {
        if said.is_none() || certified.as_ref() != said {
            return Why::Certificate { aspect };
        }
    }
    // 4. The builder.
    let attested = GITHUB_BUILD_TYPES.contains(&provenance.build_type.as_str());
    let build_type = || Why::BuildType { build_type: shorten(&provenance.build_type) };
    // GitHub's names are the same in any letters, and a workflow is named as its caller spells it.
    let of_source = |workflow: &str| {
        let (workflow, source) = (workflow.to_ascii_lowercase(), provenance.source.to_ascii_lowercase());
        workflow.strip_prefix(&source).is_some_and(|rest| rest.starts_with('/'))
    };
    match provenance.builder == subject {
        true if is_generator(provenance) => Why::Generator,
        true if !attested => build_type(),
        true if of_source(subject) => Why::OwnWorkflow,
        true => Why::Reusable,
        false if provenance.builder != GITHUB_RUNNER => Why::NotTheBuilder { signer: shorten(subject) },
        false if !attested => build_type(),
        false => Why::OwnWorkflow,
    }
}

/// A released generator, and what this one writes. Only tags `vN.N.N` are releases.
fn is_generator(provenance: &Provenance) -> bool {
    let Some((name, version)) =
        provenance.builder.strip_prefix(GENERATOR).and_then(|rest| rest.split_once("@refs/tags/v"))
    else {
        return false;
    };
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let released = version.split('.').count() == 3 && version.split('.').all(number);
    released && GENERATORS.contains(&(name, provenance.build_type.as_str()))
}

/// docs.gitlab.com, "Runner-generated provenance": level 2, where the job signs what its runner wrote.
fn gitlab(claims: &Claims, provenance: &Provenance) -> Why {
    if claims.runner_environment.as_deref() != Some("gitlab-hosted") {
        return Why::Runner;
    }
    for (aspect, certified, said) in [
        (Aspect::Source, &claims.source_repository_uri, Some(&provenance.source)),
        (Aspect::Commit, &claims.source_repository_digest, provenance.commit.as_ref()),
    ] {
        if said.is_none() || certified.as_ref() != said {
            return Why::Certificate { aspect };
        }
    }
    let runner = provenance.builder.strip_prefix(provenance.source.as_str());
    match (runner.is_some_and(|rest| rest.starts_with("/-/runners/")), Dialect::of(&provenance.build_type)) {
        (true, Dialect::GitLab) => Why::GitLabJob,
        (true, Dialect::Spdx | Dialect::BuildKit | Dialect::Tekton) => {
            Why::BuildType { build_type: shorten(&provenance.build_type) }
        }
        (false, _) => Why::NotTheBuilder { signer: "a job of the source".to_owned() },
    }
}

#[cfg(test)]
mod tests;
