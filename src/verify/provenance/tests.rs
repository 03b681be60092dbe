use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::digest::Digest;
use crate::verify::{Subject, Trust, bundle};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const OTHER: &str = "ffffffffffffffffffffffffffffffffffffffff";

fn attestation(predicate_type: &str, predicate: Value) -> Attestation {
    let subjects = vec![Subject { name: None, digest: Digest::of(b"") }];
    Attestation { predicate_type: predicate_type.to_owned(), subjects, predicate }
}

fn read(predicate_type: &str, predicate: Value) -> Result<Provenance, ProvenanceError> {
    Provenance::read(&attestation(predicate_type, predicate))
}

/// As `actions/attest-build-provenance` writes it.
fn github() -> Value {
    json!({
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": { "workflow": {
                "ref": "refs/heads/main",
                "repository": "https://github.com/acme/shop",
                "path": ".github/workflows/build.yml",
            } },
            "internalParameters": { "github": { "event_name": "push" } },
            "resolvedDependencies": [{
                "uri": "git+https://github.com/acme/shop@refs/heads/main",
                "digest": { "gitCommit": COMMIT },
            }],
        },
        "runDetails": { "builder": { "id": "https://github.com/actions/runner/github-hosted" } },
    })
}

/// As slsa-github-generator's container generator writes it.
fn generator() -> Value {
    json!({
        "builder": { "id": "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_container_slsa3.yml@refs/tags/v2.1.0" },
        "buildType": "https://github.com/slsa-framework/slsa-github-generator/container@v1",
        "invocation": { "configSource": {
            "uri": "git+https://github.com/acme/shop@refs/heads/main",
            "digest": { "sha1": COMMIT },
            "entryPoint": ".github/workflows/build.yml",
        } },
        "materials": [
            { "uri": "git+https://github.com/acme/shop@refs/heads/main", "digest": { "sha1": COMMIT } },
            { "uri": "pkg:docker/alpine@3.20", "digest": { "sha256": "00" } },
        ],
    })
}

fn expected(builder: &str, build_type: &str) -> Provenance {
    Provenance {
        builder: builder.to_owned(),
        source: "https://github.com/acme/shop".to_owned(),
        reference: Some("refs/heads/main".to_owned()),
        commit: Some(COMMIT.to_owned()),
        build_type: build_type.to_owned(),
    }
}

fn github_expected() -> Provenance {
    expected(
        "https://github.com/actions/runner/github-hosted",
        "https://actions.github.io/buildtypes/workflow/v1",
    )
}

#[test]
fn github_provenance_is_read_from_a_verified_bundle() {
    let pem = include_str!("../../../tests/vectors/cosign/p256.pub");
    let trust = Trust::new(vec![crate::key::PublicKey::from_pem(pem).unwrap()]);
    let verified =
        bundle(include_bytes!("../../../tests/vectors/cosign/attest-p256.bundle.json"), &trust).unwrap();
    assert_eq!(Provenance::read(&verified).unwrap(), github_expected());
    assert_eq!(read(V1, github()).unwrap(), github_expected());
}

#[test]
fn v0_2_is_read() {
    let generator = generator();
    let builder = generator["builder"]["id"].as_str().unwrap().to_owned();
    let provenance = read(V0_2, generator).unwrap();
    assert_eq!(
        provenance,
        expected(&builder, "https://github.com/slsa-framework/slsa-github-generator/container@v1")
    );
}

#[test]
fn the_other_builders_of_v1_are_read() {
    let with = |parameters: Value, dependencies: Value| {
        let mut predicate = github();
        predicate["buildDefinition"]["externalParameters"] = parameters;
        predicate["buildDefinition"]["resolvedDependencies"] = dependencies;
        read(V1, predicate)
    };
    let uri = "git+https://github.com/acme/shop@refs/heads/main";
    let git = json!([{ "uri": uri, "digest": { "gitCommit": COMMIT } }]);
    // slsa-github-generator, with the older name of the digest
    assert_eq!(
        with(json!({ "source": { "uri": uri, "digest": { "sha1": COMMIT } } }), json!([])).unwrap(),
        github_expected()
    );
    assert_eq!(with(json!({ "configSource": { "uri": uri } }), git.clone()).unwrap(), github_expected());
    // Google Cloud Build
    let config = json!({ "buildConfigSource": {
        "repository": "git+https://github.com/acme/shop", "ref": "refs/heads/main", "path": "cloudbuild.yaml"
    } });
    assert_eq!(with(config, git.clone()).unwrap(), github_expected());
    // GitLab: a plain URI, its dependency without `git+`
    let gitlab = with(
        json!({ "source": "https://gitlab.com/acme/shop", "entryPoint": "build" }),
        json!([{ "uri": "https://gitlab.com/acme/shop", "digest": { "gitCommit": COMMIT } }]),
    )
    .unwrap();
    assert_eq!(gitlab.source, "https://gitlab.com/acme/shop");
    assert_eq!((gitlab.reference, gitlab.commit), (None, Some(COMMIT.to_owned())));
    // Nothing but the dependency
    assert_eq!(with(json!({}), git).unwrap(), github_expected());
}

#[test]
fn two_places_that_disagree_are_an_error_never_a_pick() {
    let dependency = "/buildDefinition/resolvedDependencies/0";
    for (pointer, value, aspect) in [
        (format!("{dependency}/uri"), "git+https://github.com/evil/shop@refs/heads/main", Aspect::Source),
        (format!("{dependency}/uri"), "git+https://github.com/acme/shop.git@refs/heads/main", Aspect::Source),
        (format!("{dependency}/uri"), "git+https://github.com/acme/shop@refs/heads/dev", Aspect::Reference),
        (format!("{dependency}/digest"), "", Aspect::Commit),
        (
            "/buildDefinition/externalParameters/workflow/repository".to_owned(),
            "https://github.com/evil/shop",
            Aspect::Source,
        ),
        ("/buildDefinition/externalParameters/workflow/ref".to_owned(), "refs/heads/dev", Aspect::Reference),
    ] {
        let mut predicate = github();
        let place = predicate.pointer_mut(&pointer).unwrap();
        *place = match aspect {
            Aspect::Commit => json!({ "gitCommit": COMMIT, "sha1": OTHER }),
            Aspect::Source | Aspect::Reference => json!(value),
        };
        let error = read(V1, predicate).unwrap_err();
        let ProvenanceError::Contradiction { aspect: found, .. } = error else {
            panic!("{pointer}: {error}")
        };
        assert_eq!(found, aspect, "{pointer}");
    }
    // A second entry of the same source with another commit; one of another source is no concern.
    let mut predicate = github();
    let dependencies = predicate.pointer_mut("/buildDefinition/resolvedDependencies").unwrap();
    let submodule =
        json!({ "uri": "git+https://github.com/acme/lib@refs/heads/x", "digest": { "gitCommit": OTHER } });
    dependencies.as_array_mut().unwrap().push(submodule);
    assert_eq!(read(V1, predicate.clone()).unwrap(), github_expected());
    let dependencies = predicate.pointer_mut("/buildDefinition/resolvedDependencies").unwrap();
    let again = json!({ "uri": "git+https://github.com/acme/shop", "digest": { "gitCommit": OTHER } });
    dependencies.as_array_mut().unwrap().push(again);
    assert_eq!(read(V1, predicate).unwrap_err().code(), "provenance-contradiction");

    for (pointer, value) in [
        ("/materials/0/digest/sha1", OTHER),
        ("/materials/0/uri", "git+https://github.com/acme/shop@refs/heads/dev"),
        ("/invocation/configSource/digest/sha1", OTHER),
    ] {
        let mut predicate = generator();
        *predicate.pointer_mut(pointer).unwrap() = json!(value);
        assert_eq!(read(V0_2, predicate).unwrap_err().code(), "provenance-contradiction", "{pointer}");
    }
}

#[test]
fn what_is_missing_is_named() {
    for (predicate_type, predicate, parent, key, code) in [
        (V1, github(), "/runDetails/builder", "id", "provenance-missing-member"),
        (V1, github(), "/buildDefinition", "buildType", "provenance-missing-member"),
        (V0_2, generator(), "/builder", "id", "provenance-missing-member"),
        (V0_2, generator(), "", "buildType", "provenance-missing-member"),
        (V0_2, generator(), "/invocation/configSource", "uri", "provenance-missing-member"),
    ] {
        let mut without = predicate.clone();
        without.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
        assert_eq!(read(predicate_type, without).unwrap_err().code(), code, "{parent}/{key}");
        for wrong in [json!(""), json!(7), json!(null), json!({})] {
            let mut changed = predicate.clone();
            changed.pointer_mut(parent).unwrap()[key] = wrong;
            let code = read(predicate_type, changed).unwrap_err().code();
            assert_eq!(code, "provenance-not-text", "{parent}/{key}");
        }
    }
    let mut nowhere = github();
    nowhere["buildDefinition"]["externalParameters"] = json!({});
    nowhere["buildDefinition"]["resolvedDependencies"] = json!([{ "uri": "pkg:docker/alpine@3.20" }]);
    assert_eq!(read(V1, nowhere).unwrap_err(), ProvenanceError::NoSource);
    assert_eq!(read("https://slsa.dev/provenance/v0.1", github()).unwrap_err().code(), "not-provenance");
    // The two versions are not read as each other.
    assert!(read(V0_2, github()).is_err());
    assert!(read(V1, generator()).is_err());
    assert!(read(V1, Value::Null).is_err());
}

#[test]
fn a_source_is_a_uri_and_a_commit_is_whole() {
    for uri in [
        "",
        "shop",
        "git+",
        "https://",
        "https://github.com",
        "https:///shop",
        "https://github.com/@main",
        "git+https://github.com/a@",
        "https://github.com/a b",
    ] {
        assert!(split("x", uri).is_err(), "{uri}");
    }
    for (uri, source, reference) in [
        ("git+https://github.com/a/b@refs/heads/main", "https://github.com/a/b", Some("refs/heads/main")),
        ("git+ssh://git@github.com/a/b@v1", "ssh://git@github.com/a/b", Some("v1")),
        ("https://github.com/a/b", "https://github.com/a/b", None),
        // Both the reference of a package and a reference made to look like another one.
        ("git+https://h/a@refs/tags/@s/p@1", "https://h/a", Some("refs/tags/@s/p@1")),
        ("git+git+https://h/a", "git+https://h/a", None),
    ] {
        assert_eq!(split("x", uri).unwrap(), (source, reference));
    }
    for commit in ["", "main", &COMMIT[..39], &COMMIT.to_uppercase(), &format!("{COMMIT}0")] {
        let mut predicate = github();
        predicate["buildDefinition"]["resolvedDependencies"][0]["digest"]["gitCommit"] = json!(commit);
        assert!(read(V1, predicate).is_err(), "{commit}");
    }
}

proptest! {
    #[test]
    fn arbitrary_text_in_any_place_never_panics(text: String, at in 0usize..12) {
        for (predicate_type, predicate) in [(V1, github()), (V0_2, generator())] {
            let mut changed = predicate.clone();
            let mut places = Vec::new();
            crate::verify::tests::leaves(&predicate, "", &mut places);
            let place = &places[at % places.len()];
            *changed.pointer_mut(place).unwrap() = json!(text);
            if let (Ok(before), Ok(after)) = (read(predicate_type, predicate), read(predicate_type, changed)) {
                // A place that names the source or its reference is doubled here: it cannot move alone.
                prop_assert_eq!(before.source, after.source);
                prop_assert_eq!(before.reference, after.reference);
            }
        }
        let _ = split("x", &text);
    }
}
