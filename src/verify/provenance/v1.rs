//! SLSA v1.0, `provenance/v1`: what the builder was asked for stands in `externalParameters`, in a shape of its
//! `buildType`; what it fetched stands in `resolvedDependencies`.

use serde_json::Value;

use super::found::{Dialect, Found, at, list, optional_text, text};
use super::uri::split;
use super::{Provenance, ProvenanceError};

/// What was asked for.
const ASKED: &str = "/buildDefinition/externalParameters";
/// What was fetched.
const FETCHED: &str = "/buildDefinition/resolvedDependencies";

/// A repository and a reference apart, and the path of the instructions beside them.
struct Apart {
    member: &'static str,
    repository: &'static str,
    reference: &'static str,
    path: &'static str,
}

/// GitHub's `workflow/v1`.
const WORKFLOW: Apart = Apart {
    member: "workflow",
    repository: "/buildDefinition/externalParameters/workflow/repository",
    reference: "/buildDefinition/externalParameters/workflow/ref",
    path: "/buildDefinition/externalParameters/workflow/path",
};
/// Google Cloud Build's `google-worker/v1`, and Tekton's (there of the build definition).
const BUILD_CONFIG: Apart = Apart {
    member: "buildConfigSource",
    repository: "/buildDefinition/externalParameters/buildConfigSource/repository",
    reference: "/buildDefinition/externalParameters/buildConfigSource/ref",
    path: "/buildDefinition/externalParameters/buildConfigSource/path",
};
/// Google Cloud Build, where a trigger takes the source and the instructions from two places.
const TO_BUILD: Apart = Apart {
    member: "sourceToBuild",
    repository: "/buildDefinition/externalParameters/sourceToBuild/repository",
    reference: "/buildDefinition/externalParameters/sourceToBuild/ref",
    path: "/buildDefinition/externalParameters/sourceToBuild/path",
};

pub(super) fn read(predicate: &Value) -> Result<Provenance, ProvenanceError> {
    let builder = text(predicate, "/runDetails/builder/id")?;
    let build_type = text(predicate, "/buildDefinition/buildType")?;
    let mut found = Found::new(Dialect::of(build_type));
    match found.dialect {
        Dialect::Tekton => tekton(&mut found, predicate)?,
        Dialect::Spdx | Dialect::BuildKit | Dialect::GitLab => {
            asked(&mut found, predicate)?;
            fetched(&mut found, predicate)?;
        }
    }
    generator_workflow(&mut found, predicate)?;
    found.provenance(builder, build_type)
}

/// What was asked for, in every shape that is there.
fn asked<'v>(found: &mut Found<'v>, predicate: &'v Value) -> Result<(), ProvenanceError> {
    let asked = at(predicate, ASKED);
    let has = |member: &str| asked.and_then(|asked| asked.get(member));
    // 1. Repository and reference apart.
    let apart = match has(TO_BUILD.member) {
        Some(_) => {
            definition(found, predicate)?;
            [WORKFLOW, TO_BUILD]
        }
        None => [WORKFLOW, BUILD_CONFIG],
    };
    for apart in apart.iter().filter(|apart| has(apart.member).is_some()) {
        if let Some(uri) = optional_text(predicate, apart.repository)? {
            found.uri(apart.repository, uri)?;
            if let Some(reference) = optional_text(predicate, apart.reference)? {
                found.reference(apart.reference, reference)?;
            }
        }
        if let Some(path) = optional_text(predicate, apart.path)? {
            found.workflow(apart.path, path)?;
        }
    }
    // 2. A URI (GitLab) or a resource descriptor (slsa-github-generator, BuildKit).
    const SOURCE: &str = "/buildDefinition/externalParameters/source";
    const CONFIG: &str = "/buildDefinition/externalParameters/configSource";
    match has("source") {
        None => {}
        Some(Value::Object(_)) => resource(found, SOURCE, predicate)?,
        Some(_) => found.uri(SOURCE, text(predicate, SOURCE)?)?,
    }
    if has("configSource").is_some() {
        resource(found, CONFIG, predicate)?;
    }
    // 3. The instructions: a path beside the source (BuildKit), the name of a job (GitLab).
    const PATH: &str = "/buildDefinition/externalParameters/configSource/path";
    const JOB: &str = "/buildDefinition/externalParameters/entryPoint";
    for place in [PATH, JOB] {
        if let Some(path) = optional_text(predicate, place)? {
            found.workflow(place, path)?;
        }
    }
    Ok(())
}

fn resource<'v>(
    found: &mut Found<'v>,
    place: &'static str,
    predicate: &'v Value,
) -> Result<(), ProvenanceError> {
    at(predicate, place).map_or(Ok(()), |descriptor| found.resource(place, descriptor))
}

/// The instructions in a repository of their own: `buildConfigSource`, where it is not the source.
fn definition<'v>(found: &mut Found<'v>, predicate: &'v Value) -> Result<(), ProvenanceError> {
    if let Some(uri) = optional_text(predicate, BUILD_CONFIG.repository)? {
        let (repository, _) = split(found.dialect, BUILD_CONFIG.repository, uri)?;
        found.defined_in(repository);
    }
    if let Some(path) = optional_text(predicate, BUILD_CONFIG.path)? {
        found.workflow(BUILD_CONFIG.path, path)?;
    }
    Ok(())
}

/// What was fetched. The first dependency is the source by convention of all these builders: if it is a Git
/// repository, it must be the one that was asked for.
fn fetched<'v>(found: &mut Found<'v>, predicate: &'v Value) -> Result<(), ProvenanceError> {
    let entries = list(predicate, FETCHED)?;
    if let Some(first) = entries.first()
        && let Some(uri) = first.get("uri").and_then(Value::as_str)
        && (uri.starts_with("git+") || found.dialect == Dialect::GitLab)
    {
        found.resource(FETCHED, first)?;
    }
    found.same_source(FETCHED, entries)
}

/// Tekton Chains: the source is what the dependencies called `inputs/result` name, all of them the same; the build
/// definition is `buildConfigSource`, from wherever it was resolved.
fn tekton<'v>(found: &mut Found<'v>, predicate: &'v Value) -> Result<(), ProvenanceError> {
    for entry in list(predicate, FETCHED)? {
        let member = |name: &str| entry.get(name).and_then(Value::as_str);
        if member("name") == Some("inputs/result") && member("uri").is_some_and(|uri| uri.starts_with("git+"))
        {
            found.resource(FETCHED, entry)?;
        }
    }
    definition(found, predicate)
}

/// slsa-github-generator keeps GitHub's own words: `OWNER/REPOSITORY/PATH@REFERENCE`, of a workflow in the source.
fn generator_workflow<'v>(found: &mut Found<'v>, predicate: &'v Value) -> Result<(), ProvenanceError> {
    const PLACE: &str = "/buildDefinition/internalParameters/GITHUB_WORKFLOW_REF";
    match optional_text(predicate, PLACE)? {
        None => Ok(()),
        Some(written) => found.workflow_of_source(PLACE, written),
    }
}
