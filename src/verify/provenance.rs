//! SLSA provenance, v1 and v0.2: who built it, from what, how.
//!
//! Guarantees: a [`Provenance`] has one builder, one source and one build type; where a statement names its source,
//! branch, commit or workflow in several places, all places agree, or there is a [`ProvenanceError::Contradiction`].
//! Never does: pick between two answers, verify signatures (it reads an attestation already verified), compare with
//! what was expected (the gate compares, exactly). Start at [`Provenance::read`]; how far a builder is to be believed
//! is [`level`].
//!
//! A source URI is normalised as SPDX download locations are written, and no further: `git+` in front is taken off,
//! `@` and what follows it is the reference (BuildKit: `#` and what follows it). A reference that is a whole object
//! id is the commit. `https://github.com/acme/shop.git` and `https://github.com/acme/shop` are two sources.
//!
//! What is read of whom, and where each shape is published, stands in `tests/vectors/provenance/README.md`.

use serde_json::Value;

use super::Attestation;
use crate::digest::shorten;

mod found;
pub mod level;
mod uri;
mod v0_2;
mod v1;

/// The `predicateType` of SLSA provenance v1.
pub const V1: &str = "https://slsa.dev/provenance/v1";
/// The `predicateType` of SLSA provenance v0.2.
pub const V0_2: &str = "https://slsa.dev/provenance/v0.2";

/// What a builder says of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The builder's identity, a URI: `runDetails.builder.id` (v1), `builder.id` (v0.2).
    pub builder: String,
    /// Where the source came from, a URI without `git+` and without reference.
    pub source: String,
    /// The branch or tag that was built, as the builder spells it (`refs/heads/main`).
    pub reference: Option<String>,
    /// The commit that was built: 40 or 64 lowercase hexadecimal digits.
    pub commit: Option<String>,
    /// How to read the builder's parameters, a URI: `buildType`.
    pub build_type: String,
    /// What the build was told to do: a path in the source (`.github/workflows/build.yml`, `cloudbuild.yaml`,
    /// `Dockerfile`), or the name of a job (GitLab). Where it lies elsewhere, `REPOSITORY/PATH`.
    pub workflow: Option<String>,
    /// The repository that the workflow lies in, where that is not the source.
    pub workflow_source: Option<String>,
}

/// What places in a provenance can disagree about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// The source repository.
    Source,
    /// The branch or tag.
    Reference,
    /// The commit.
    Commit,
    /// The workflow.
    Workflow,
}

impl std::fmt::Display for Aspect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Reference => "reference",
            Self::Commit => "commit",
            Self::Workflow => "workflow",
        })
    }
}

/// Why a verified attestation says nothing usable about a build. Members are JSON pointers into the predicate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProvenanceError {
    /// Another kind of statement.
    #[error("predicate type `{found}` is not SLSA provenance: expected `{V1}` or `{V0_2}`")]
    PredicateType {
        /// The predicate type.
        found: String,
    },
    /// A member that must be there is not.
    #[error("the provenance has no `{member}`")]
    Missing {
        /// The member.
        member: &'static str,
    },
    /// A member that is no text, or an empty one.
    #[error("`{member}` of the provenance: expected a string that is not empty")]
    NotText {
        /// The member.
        member: &'static str,
    },
    /// No place names the source.
    #[error(
        "the provenance names no source: expected `externalParameters` with `workflow`, `source`, `configSource` or \
         `buildConfigSource`, or a first resolved dependency `git+…`"
    )]
    NoSource,
    /// BuildKit was given a folder. What its client says of that folder (`vcs`) BuildKit does not verify: its
    /// `slsa-definitions.md` calls it a hint that cannot be trusted.
    #[error(
        "the provenance names no source: BuildKit built a local folder, and does not verify the `vcs` metadata \
         beside it; build a Git context (`https://HOST/REPOSITORY.git#REF`), or have the CI system attest the build"
    )]
    LocalFolder,
    /// A source that is no URI.
    #[error(
        "`{member}` of the provenance is `{found}`: expected a URI `[git+]https://HOST/REPOSITORY[@REFERENCE]`"
    )]
    SourceUri {
        /// The member.
        member: &'static str,
        /// What it says.
        found: String,
    },
    /// A commit that is no full Git object id.
    #[error("`{member}` of the provenance is `{found}`: expected 40 or 64 lowercase hexadecimal digits")]
    Commit {
        /// The member.
        member: &'static str,
        /// What it says.
        found: String,
    },
    /// Two places say two things, and which one is true is not ours to guess.
    #[error(
        "the provenance contradicts itself: {aspect} is `{one}` in `{first}` and `{other}` in `{second}`"
    )]
    Contradiction {
        /// What they disagree about.
        aspect: Aspect,
        /// The first place.
        first: &'static str,
        /// What it says.
        one: String,
        /// The second place.
        second: &'static str,
        /// What it says.
        other: String,
    },
}

impl ProvenanceError {
    /// A stable code for machines, kebab-case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::PredicateType { .. } => "not-provenance",
            Self::Missing { .. } => "provenance-missing-member",
            Self::NotText { .. } => "provenance-not-text",
            Self::NoSource => "provenance-without-source",
            Self::LocalFolder => "provenance-of-a-local-folder",
            Self::SourceUri { .. } => "provenance-source-uri",
            Self::Commit { .. } => "provenance-commit",
            Self::Contradiction { .. } => "provenance-contradiction",
        }
    }
}

impl Provenance {
    /// Reads SLSA provenance from an attestation.
    ///
    /// # Errors
    /// [`ProvenanceError`] when the attestation is of another kind, a member is missing or malformed, or two places
    /// disagree.
    pub fn read(attestation: &Attestation) -> Result<Self, ProvenanceError> {
        let predicate = attestation.predicate();
        match attestation.predicate_type() {
            V1 => v1::read(predicate),
            V0_2 => v0_2::read(predicate),
            found => Err(ProvenanceError::PredicateType { found: shorten(found) }),
        }
    }

    /// What the builder was asked for, beside the source: `buildDefinition.externalParameters` (v1),
    /// `invocation.parameters` (v0.2). `None` where there are none, and for other kinds of statements.
    pub fn parameters(attestation: &Attestation) -> Option<&Value> {
        let predicate = attestation.predicate();
        match attestation.predicate_type() {
            V1 => predicate.get("buildDefinition")?.get("externalParameters"),
            V0_2 => predicate.get("invocation")?.get("parameters"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
