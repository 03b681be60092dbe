//! SLSA v0.2: the source is `invocation.configSource`, except at Tekton, where that is the build definition.

use serde_json::Value;

use super::found::{Dialect, Found, at, list, optional_text, text};
use super::uri::{spdx, split};
use super::{Provenance, ProvenanceError};

const CONFIG: &str = "/invocation/configSource";
const CONFIG_URI: &str = "/invocation/configSource/uri";
const ENTRY_POINT: &str = "/invocation/configSource/entryPoint";
const MATERIALS: &str = "/materials";

pub(super) fn read(predicate: &Value) -> Result<Provenance, ProvenanceError> {
    let builder = text(predicate, "/builder/id")?;
    let build_type = text(predicate, "/buildType")?;
    let mut found = Found::new(Dialect::of(build_type));
    match found.dialect {
        Dialect::Tekton => tekton(&mut found, predicate)?,
        Dialect::Spdx | Dialect::GitLab | Dialect::BuildKit => {
            let uri = optional_text(predicate, CONFIG_URI)?;
            if uri.is_none() && found.dialect != Dialect::BuildKit {
                return Err(ProvenanceError::Missing { member: CONFIG_URI });
            }
            if let Some(config) = at(predicate, CONFIG) {
                found.resource(CONFIG, config)?;
            }
            found.same_source(MATERIALS, list(predicate, MATERIALS)?)?;
        }
    }
    if let Some(path) = optional_text(predicate, ENTRY_POINT)? {
        found.workflow(ENTRY_POINT, path)?;
    }
    found.provenance(builder, build_type)
}

/// Materials have no names in v0.2. The source is the one Git repository among them that the build definition does
/// not lie in, or that one where there is no other; two others are a contradiction.
fn tekton<'v>(found: &mut Found<'v>, predicate: &'v Value) -> Result<(), ProvenanceError> {
    let definition = match optional_text(predicate, CONFIG_URI)? {
        // A bundle in a registry has no scheme that we would need to understand.
        Some(uri) => Some(split(found.dialect, CONFIG_URI, uri).map_or(uri, |(repository, _)| repository)),
        None => None,
    };
    let mut git = Vec::new();
    for entry in list(predicate, MATERIALS)? {
        if let Some(uri) = entry.get("uri").and_then(Value::as_str).filter(|uri| uri.starts_with("git+")) {
            git.push((spdx(MATERIALS, uri)?.0, entry));
        }
    }
    let others = git.iter().any(|(source, _)| Some(*source) != definition);
    for (source, entry) in git {
        if !others || Some(source) != definition {
            found.resource(MATERIALS, entry)?;
        }
    }
    if let Some(repository) = definition {
        found.defined_in(repository);
    }
    Ok(())
}
