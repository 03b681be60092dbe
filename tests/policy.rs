//! The policy file from outside: the sample, the schema, every rule with a yes and a no, and what the errors
//! look like (`tests/vectors/policy/*.toml` beside `.txt`; `SAMEBITS_BLESS=1` rewrites the latter).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use samebits::policy::{Draft, Policy, PolicyErrors};

#[path = "policy/attestations.rs"]
mod attestations;
#[path = "policy/doctor.rs"]
mod doctor;
#[path = "policy/keyless.rs"]
mod keyless;
#[path = "policy/roots.rs"]
mod roots;
#[path = "policy/rules.rs"]
mod rules;

/// What the rows are pieces of: everything but `attestations`, which have rows of their own.
const SAMPLE: &str = include_str!("vectors/policy/yes-sample.toml");

/// What users read.
const WHOLE: &str = include_str!("../examples/samebits.toml");

/// The sample's keys, and three more for what can go wrong.
fn keys() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/keys");
    let mut keys: BTreeMap<String, String> = ["staging", "production", "release", "ana", "ben"]
        .into_iter()
        .map(|name| {
            (format!("keys/{name}.pub"), fs::read_to_string(folder.join(format!("{name}.pub"))).unwrap())
        })
        .collect();
    // The same key, framed in other bytes.
    let twin = format!("a comment\n{}\n\n", keys["keys/staging.pub"].trim());
    keys.insert("keys/staging-again.pub".to_owned(), twin);
    keys.insert(
        "keys/broken.pub".to_owned(),
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n".to_owned(),
    );
    keys
}

fn validate(text: &str) -> Result<Policy, PolicyErrors> {
    Draft::parse("samebits.toml", text)?.validate(&keys())
}

#[allow(clippy::disallowed_methods, reason = "a test may be told to rewrite what it compares with")]
fn compare(path: &Path, found: &str) {
    if std::env::var_os("SAMEBITS_BLESS").is_some() {
        fs::write(path, found).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(found, expected, "{} is not current: run with SAMEBITS_BLESS=1 and look", path.display());
}

#[test]
fn the_sample_is_valid_and_draws_no_warning() {
    let draft = Draft::parse("samebits.toml", WHOLE).unwrap();
    assert_eq!(draft.key_files().len(), 5);
    let policy = draft.validate(&keys()).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(policy.warnings().is_empty(), "{:?}", policy.warnings());
    assert_eq!(policy.environments().len(), 2);
    assert_eq!(policy.key_digests().len(), 5);
    // One of each kind, but one SBOM stands for the other.
    assert_eq!(policy.environments()[1].require().attestations().len(), 6);
}

#[test]
fn the_published_schema_is_what_the_types_say() {
    let schema = format!("{}\n", serde_json::to_string_pretty(&samebits::policy::schema()).unwrap());
    compare(&Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/policy.schema.json"), &schema);
}

#[test]
fn errors_look_like_this() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/policy");
    let mut vectors: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    vectors.sort();
    assert!(!vectors.is_empty());
    for path in vectors {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let shown = match validate(&fs::read_to_string(&path).unwrap()) {
            Ok(policy) => {
                assert!(name.starts_with("yes-"), "{name} was accepted");
                policy.warnings().iter().map(|warning| format!("{warning}\n\n")).collect()
            }
            Err(errors) => {
                assert!(name.starts_with("no-"), "{name} was refused:\n{errors}");
                format!("{errors}\n")
            }
        };
        compare(&path.with_extension("txt"), &shown);
    }
}
