//! What a certificate has to say beside its identity: a closed set of Fulcio's claims, each by equality.

use std::collections::BTreeMap;

use super::names::ServiceName;
use super::template::Template;
use crate::verify::Claims;

/// A claim that a policy may ask for (sigstore/fulcio `docs/oid-info.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClaimName {
    /// `source-repository`: `.12`.
    SourceRepository,
    /// `source-ref`: `.14`.
    SourceRef,
    /// `source-repository-id`: `.15`.
    SourceRepositoryId,
    /// `source-repository-owner`: `.16`.
    SourceRepositoryOwner,
    /// `source-repository-owner-id`: `.17`.
    SourceRepositoryOwnerId,
    /// `source-repository-visibility`: `.22`.
    SourceRepositoryVisibility,
    /// `build-signer-uri`: `.9`.
    BuildSignerUri,
    /// `build-config-uri`: `.18`.
    BuildConfigUri,
    /// `workflow-trigger`: `.20`.
    WorkflowTrigger,
    /// `runner-environment`: `.11`.
    RunnerEnvironment,
    /// `deployment-environment`: `.23`.
    DeploymentEnvironment,
}

impl ClaimName {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::SourceRepository,
        Self::SourceRef,
        Self::SourceRepositoryId,
        Self::SourceRepositoryOwner,
        Self::SourceRepositoryOwnerId,
        Self::SourceRepositoryVisibility,
        Self::BuildSignerUri,
        Self::BuildConfigUri,
        Self::WorkflowTrigger,
        Self::RunnerEnvironment,
        Self::DeploymentEnvironment,
    ];

    /// The key in the policy file.
    pub const fn key(self) -> &'static str {
        match self {
            Self::SourceRepository => "source-repository",
            Self::SourceRef => "source-ref",
            Self::SourceRepositoryId => "source-repository-id",
            Self::SourceRepositoryOwner => "source-repository-owner",
            Self::SourceRepositoryOwnerId => "source-repository-owner-id",
            Self::SourceRepositoryVisibility => "source-repository-visibility",
            Self::BuildSignerUri => "build-signer-uri",
            Self::BuildConfigUri => "build-config-uri",
            Self::WorkflowTrigger => "workflow-trigger",
            Self::RunnerEnvironment => "runner-environment",
            Self::DeploymentEnvironment => "deployment-environment",
        }
    }

    /// What it says, for the schema.
    pub(super) fn meaning(self) -> &'static str {
        match self {
            Self::SourceRepository => "the repository that was built, a URL",
            Self::SourceRef => "the git ref that was built",
            Self::SourceRepositoryId => "the repository's id, which survives renaming",
            Self::SourceRepositoryOwner => "the repository's owner, a URL",
            Self::SourceRepositoryOwnerId => "the owner's id, which survives renaming",
            Self::SourceRepositoryVisibility => "`public`, `private` or `internal`, when it was built",
            Self::BuildSignerUri => "the build instructions that asked for the signature, with their ref",
            Self::BuildConfigUri => "the top-level build instructions (the calling workflow), with their ref",
            Self::WorkflowTrigger => "the event that started the build, as in `push`",
            Self::RunnerEnvironment => "`github-hosted` or `self-hosted`",
            Self::DeploymentEnvironment => "the deployment environment that the job named",
        }
    }

    fn of(self, claims: &Claims) -> Option<&str> {
        let found = match self {
            Self::SourceRepository => &claims.source_repository_uri,
            Self::SourceRef => &claims.source_repository_ref,
            Self::SourceRepositoryId => &claims.source_repository_identifier,
            Self::SourceRepositoryOwner => &claims.source_repository_owner_uri,
            Self::SourceRepositoryOwnerId => &claims.source_repository_owner_identifier,
            Self::SourceRepositoryVisibility => &claims.source_repository_visibility,
            Self::BuildSignerUri => &claims.build_signer_uri,
            Self::BuildConfigUri => &claims.build_config_uri,
            Self::WorkflowTrigger => &claims.build_trigger,
            Self::RunnerEnvironment => &claims.runner_environment,
            Self::DeploymentEnvironment => &claims.deployment_environment,
        };
        found.as_deref()
    }
}

/// What a certificate must say beside its identity; all of it, by equality, after `{service}` is filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimRules(pub(super) BTreeMap<ClaimName, Template>);

/// A claim that is not the one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongClaim {
    /// Which.
    pub claim: ClaimName,
    /// What the policy asks for.
    pub expected: String,
    /// What the certificate says, if it says anything.
    pub found: Option<String>,
}

impl ClaimRules {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is asked.
    pub fn asks(&self, claim: ClaimName) -> bool {
        self.0.contains_key(&claim)
    }

    /// The claims that do not hold; a claim that is absent is not the one that was asked for.
    pub fn wrong(&self, claims: Option<&Claims>, service: &ServiceName) -> Vec<WrongClaim> {
        let wrong = |(claim, rule): (&ClaimName, &Template)| {
            let found = claims.and_then(|claims| claim.of(claims));
            let expected = rule.fill(service);
            (found != Some(&expected)).then(|| WrongClaim {
                claim: *claim,
                expected,
                found: found.map(str::to_owned),
            })
        };
        self.0.iter().filter_map(wrong).collect()
    }
}
