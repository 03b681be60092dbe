//! `examples/argocd`, `examples/flux`, `examples/kubernetes`: each manifest by the schema that its cluster has, from the
//! controllers' own definitions (`CustomResourceDefinition`), strictly: a field that a cluster would drop is an error.
//!
//! `.ci/run` takes the definitions from the controllers' Go modules and says where they are in `SAMEBITS_CRDS`. What they say in CEL
//! (`x-kubernetes-validations`) is not looked at.

use std::io::Write as _;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::documents::documents;
use crate::runner::here;

/// A manifest, and who defines it.
const MANIFESTS: [(&str, &str); 5] = [
    ("examples/argocd/application.yaml", "application-crd.yaml"),
    ("examples/flux/production.yaml", "source.toolkit.fluxcd.io_ocirepositories.yaml"),
    ("examples/flux/production.yaml", "kustomize.toolkit.fluxcd.io_kustomizations.yaml"),
    ("examples/kubernetes/kyverno.yaml", "policies.kyverno.io_imagevalidatingpolicies.yaml"),
    ("examples/kubernetes/policy-controller.yaml", "300-clusterimagepolicy.yaml"),
];

/// The folder of the definitions; none is said and skipped, as for a peer.
fn folder() -> Option<PathBuf> {
    #[allow(
        clippy::disallowed_methods,
        reason = "how CI says where they are, and that nothing may be skipped"
    )]
    let (folder, required) =
        (std::env::var_os("SAMEBITS_CRDS"), std::env::var_os("SAMEBITS_REQUIRE_PEERS").is_some());
    if folder.is_none() {
        assert!(!required, "no SAMEBITS_CRDS, and SAMEBITS_REQUIRE_PEERS is set: `.ci/run` makes the folder");
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        std::io::stderr().write_all(format!("skipped: {test}: no SAMEBITS_CRDS\n").as_bytes()).unwrap();
    }
    folder.map(PathBuf::from)
}

fn read(file: PathBuf) -> Vec<Value> {
    documents(&std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
}

/// The JSON Schema of the version that `manifest` is written in.
fn schema(definition: &Value, manifest: &Value) -> Value {
    let spec = &definition["spec"];
    assert_eq!(definition["kind"], "CustomResourceDefinition");
    let version = spec["versions"].as_array().unwrap().iter().find(|version| {
        let name = format!("{}/{}", spec["group"].as_str().unwrap(), version["name"].as_str().unwrap());
        manifest["apiVersion"] == name.as_str() && version["served"] == true
    });
    let version = version.unwrap_or_else(|| panic!("{} is not served", manifest["apiVersion"]));
    let mut schema = strict(&version["schema"]["openAPIV3Schema"]);
    // Kubernetes' own, which a definition need not repeat (TypeMeta, ObjectMeta v1); what a person writes of it.
    schema["properties"]["apiVersion"] = json!({ "const": manifest["apiVersion"] });
    schema["properties"]["kind"] = json!({ "const": spec["names"]["kind"] });
    let text = json!({ "type": "string", "minLength": 1 });
    let texts = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    schema["properties"]["metadata"] = json!({
        "type": "object",
        "required": ["name"],
        "properties": { "name": text, "namespace": text, "labels": texts, "annotations": texts },
        "additionalProperties": false,
    });
    schema["required"] = json!(["apiVersion", "kind", "metadata", "spec"]);
    schema
}

/// OpenAPI v3 as definitions have it ("structural schemas") is JSON Schema but for what it takes for granted: a field that is not named
/// is dropped, unless it says otherwise. Here it is an error.
fn strict(schema: &Value) -> Value {
    let Value::Object(from) = schema else { return schema.clone() };
    let mut to = Map::new();
    for (key, value) in from {
        let value = match (key.as_str(), value) {
            ("properties", Value::Object(fields)) => {
                fields.iter().map(|(name, field)| (name.clone(), strict(field))).collect::<Map<_, _>>().into()
            }
            ("items" | "additionalProperties", inner) => strict(inner),
            // What several branches add is about values alone.
            (_, other) => other.clone(),
        };
        to.insert(key.clone(), value);
    }
    let open = from.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
    if from.get("type") == Some(&json!("object")) && !open {
        to.entry("additionalProperties").or_insert(json!(false));
    }
    if from.get("nullable") == Some(&json!(true)) {
        to["type"] = json!([from["type"], "null"]);
    }
    to.into()
}

/// What is wrong with `manifest`, by its definition.
fn wrong(definition: &Value, manifest: &Value) -> Option<String> {
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource("https://definition.example/", schema(definition, manifest)).unwrap();
    let index = compiler.compile("https://definition.example/", &mut schemas).unwrap();
    schemas.validate(manifest, index).err().map(|error| format!("{error:#}"))
}

#[test]
fn every_manifest_is_what_its_cluster_takes() {
    let Some(folder) = folder() else { return };
    for (manifest, definition) in MANIFESTS {
        let definition = &read(folder.join(definition))[0];
        let kind = &definition["spec"]["names"]["kind"];
        let found = read(here(manifest)).into_iter().filter(|document| document["kind"] == *kind);
        let found: Vec<Value> = found.collect();
        assert_eq!(found.len(), 1, "{manifest} has one {kind}");
        assert_eq!(wrong(definition, &found[0]), None, "{manifest}");
    }
}

/// Every key of every manifest, one at a time: without its last letter it is found out, unless its place is for any word.
#[test]
fn a_misspelt_field_is_noticed_wherever_it_is() {
    let Some(folder) = folder() else { return };
    for (manifest, definition) in MANIFESTS {
        let definition = &read(folder.join(definition))[0];
        let kind = &definition["spec"]["names"]["kind"];
        let good = read(here(manifest)).into_iter().find(|document| document["kind"] == *kind).unwrap();
        let keys = keys(&good);
        assert!(keys.len() > 8, "{keys:?}");
        for key in keys {
            let mut bad = good.clone();
            let (at, name) = key.rsplit_once('/').unwrap();
            let map = bad.pointer_mut(at).unwrap().as_object_mut().unwrap();
            let value = map.remove(name).unwrap();
            map.insert(format!("{name}x"), value);
            // Of which definition it is, is read from this one.
            if key != "/apiVersion" {
                assert!(wrong(definition, &bad).is_some(), "{manifest}: `{key}x` is taken");
            }
        }
        let mut bad = good.clone();
        bad["spec"] = json!("text");
        assert!(wrong(definition, &bad).is_some());
    }
}

/// The pointers (RFC 6901) to all keys.
fn keys(value: &Value) -> Vec<String> {
    let below = |name: &str, value: &Value| {
        keys(value).into_iter().map(|key| format!("/{name}{key}")).collect::<Vec<_>>()
    };
    match value {
        Value::Object(map) => map
            .iter()
            .flat_map(|(name, value)| std::iter::once(format!("/{name}")).chain(below(name, value)))
            .collect(),
        Value::Array(items) => {
            items.iter().enumerate().flat_map(|(at, item)| below(&at.to_string(), item)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}
