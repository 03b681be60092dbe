use proptest::prelude::*;
use serde_json::json;

use super::found::Dialect;
use super::uri::split;
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
        workflow: Some(".github/workflows/build.yml".to_owned()),
        workflow_source: None,
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

/// A statement under `tests/vectors/provenance/`.
fn vector(name: &str) -> Attestation {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/provenance").join(name);
    let statement: Value =
        serde_json::from_slice(&std::fs::read(folder.join("statement.json")).unwrap()).unwrap();
    attestation(statement["predicateType"].as_str().unwrap(), statement["predicate"].clone())
}

#[test]
fn every_builder_is_read_to_exactly_what_it_says() {
    const GITHUB: &str = "https://actions.github.io/buildtypes/workflow/v1";
    const BUILDKIT: &str =
        "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";
    const CLOUD_BUILD: &str = "https://cloud.google.com/build/gcb-buildtypes/google-worker/v1";
    const GENERATOR: &str = "https://github.com/slsa-framework/slsa-github-generator";
    const SHOP: &str = "https://github.com/acme/shop";
    const RELEASE: &str = ".github/workflows/release.yml";
    const PIPELINE: &str = "https://github.com/acme/pipelines.git";
    let container = format!("{GENERATOR}/.github/workflows/generator_container_slsa3.yml@refs/tags/v2.1.0");
    let based = format!("{GENERATOR}/.github/workflows/builder_container-based_slsa3.yml@refs/tags/v2.1.0");
    let worker = "https://cloudbuild.googleapis.com/GoogleHostedWorker";
    let own = format!("{SHOP}/{RELEASE}@refs/heads/main");
    let reusable = "https://github.com/acme/ci/.github/workflows/image.yml@refs/tags/v2";
    let run = format!("{SHOP}/actions/runs/7");
    let runner = "https://gitlab.com/acme/shop/-/runners/12270831";
    let main = Some("refs/heads/main");
    let chains = "https://tekton.dev/chains/v2";
    let shop_git = "https://github.com/acme/shop.git";
    let gitlab = "https://gitlab.com/acme/shop";
    let by =
        |version: &str| format!("https://gitlab.com/gitlab-org/gitlab-runner/-/blob/{version}/PROVENANCE.md");
    let image = format!("{PIPELINE}/image.yaml");
    let elsewhere = Some((image.as_str(), PIPELINE));
    let bare = "https://github.com/acme/pipelines";
    let (inside, beside) =
        (|path| Some((path, "")), Some(("https://github.com/acme/pipelines/image.yaml", bare)));
    type Row<'a> = (&'a str, &'a str, &'a str, Option<&'a str>, &'a str, Option<(&'a str, &'a str)>);
    let rows: [Row<'_>; 12] = [
        ("github-attest-v1", &own, SHOP, main, GITHUB, inside(RELEASE)),
        ("github-attest-reusable-v1", reusable, SHOP, main, GITHUB, inside(RELEASE)),
        (
            "generator-container-v0.2",
            &container,
            SHOP,
            Some("refs/tags/v1.4.2"),
            &format!("{GENERATOR}/container@v1"),
            inside(RELEASE),
        ),
        (
            "generator-container-based-v1",
            &based,
            SHOP,
            main,
            "https://slsa.dev/container-based-build/v0.1?draft",
            inside(RELEASE),
        ),
        ("buildkit-v0.2", &run, shop_git, main, "https://mobyproject.org/buildkit@v1", inside("Dockerfile")),
        ("buildkit-v1", &format!("{run}/attempts/1"), shop_git, None, BUILDKIT, inside("Dockerfile")),
        ("gitlab-v0.2", runner, gitlab, None, &by("v15.11.0"), inside("build-image")),
        ("gitlab-v1", runner, gitlab, None, &by("v18.0.0"), inside("build-image")),
        ("tekton-v0.2", chains, shop_git, None, "tekton.dev/v1/PipelineRun", elsewhere),
        ("tekton-v1", chains, shop_git, None, "https://tekton.dev/chains/v2/slsa", elsewhere),
        ("cloud-build-v1", worker, SHOP, main, CLOUD_BUILD, inside("cloudbuild.yaml")),
        ("cloud-build-two-repositories-v1", worker, SHOP, main, CLOUD_BUILD, beside),
    ];
    for (name, builder, source, reference, build_type, workflow) in rows {
        let expected = Provenance {
            builder: builder.to_owned(),
            source: source.to_owned(),
            reference: reference.map(str::to_owned),
            commit: Some(COMMIT.to_owned()),
            build_type: build_type.to_owned(),
            workflow: workflow.map(|(path, _)| path.to_owned()),
            workflow_source: workflow.map(|(_, at)| at.to_owned()).filter(|at| !at.is_empty()),
        };
        assert_eq!(Provenance::read(&vector(name)).as_ref(), Ok(&expected), "{name}");
    }
    let folders =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/provenance")).unwrap();
    let folders = folders.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(folders, rows.len() + 1, "one that is refused");
}

/// BuildKit does not verify what its client says of a folder: whoever may build could name any source.
#[test]
fn b15_a_source_that_only_the_client_of_buildkit_names_is_none() {
    let local = vector("buildkit-local-v1");
    assert_eq!(Provenance::read(&local).unwrap_err(), ProvenanceError::LocalFolder);
    let mut old = vector("buildkit-v0.2");
    old.predicate["invocation"]["configSource"].as_object_mut().unwrap().remove("uri");
    let metadata = &mut old.predicate["metadata"]["https://mobyproject.org/buildkit@v1#metadata"];
    metadata["vcs"] = json!({ "source": "https://github.com/acme/shop", "revision": COMMIT });
    assert_eq!(Provenance::read(&old).unwrap_err(), ProvenanceError::LocalFolder);
}

/// Each place that doubles another one, in every shape: moved alone, it is a contradiction.
#[test]
fn b15_no_shape_has_a_place_that_can_lie_alone() {
    const FETCHED: &str = "/buildDefinition/resolvedDependencies";
    for (name, pointer, value) in [
        ("github-attest-v1", format!("{FETCHED}/0/uri"), "git+https://github.com/evil/shop@refs/heads/main"),
        ("generator-container-v0.2", "/materials/0/digest/sha1".to_owned(), OTHER),
        ("generator-container-based-v1", format!("{FETCHED}/0/digest/sha1"), OTHER),
        (
            "generator-container-based-v1",
            "/buildDefinition/internalParameters/GITHUB_WORKFLOW_REF".to_owned(),
            "evil/shop/.github/workflows/release.yml@refs/heads/main",
        ),
        ("buildkit-v0.2", "/materials/1/uri".to_owned(), "https://github.com/acme/shop.git#refs/heads/dev"),
        ("buildkit-v0.2", "/materials/1/digest/sha1".to_owned(), OTHER),
        // The commit stands in the URI, and in the digest.
        ("buildkit-v1", format!("{FETCHED}/1/digest/sha1"), OTHER),
        ("buildkit-v1", "/buildDefinition/externalParameters/configSource/digest/sha1".to_owned(), OTHER),
        ("gitlab-v1", format!("{FETCHED}/0/uri"), "https://gitlab.com/evil/shop"),
        ("tekton-v0.2", "/materials/0/uri".to_owned(), "git+https://github.com/evil/shop.git"),
        ("cloud-build-v1", format!("{FETCHED}/0/uri"), "git+https://github.com/acme/shop@@refs/heads/main"),
        ("cloud-build-two-repositories-v1", format!("{FETCHED}/0/uri"), "git+https://github.com/evil/shop"),
    ] {
        let mut changed = vector(name);
        *changed.predicate.pointer_mut(&pointer).unwrap() = json!(value);
        let error = Provenance::read(&changed).unwrap_err();
        assert_eq!(error.code(), "provenance-contradiction", "{name} {pointer}: {error}");
    }
    // Tekton: two inputs of two sources.
    let mut two = vector("tekton-v1");
    let inputs = two.predicate.pointer_mut(FETCHED).unwrap().as_array_mut().unwrap();
    inputs.push(json!({ "name": "inputs/result", "uri": "git+https://github.com/evil/shop.git" }));
    assert_eq!(Provenance::read(&two).unwrap_err().code(), "provenance-contradiction");
    // None that is called an input: the pipeline's own repository is not the source.
    let inputs = two.predicate.pointer_mut(FETCHED).unwrap().as_array_mut().unwrap();
    inputs.truncate(3);
    assert_eq!(Provenance::read(&two).unwrap_err(), ProvenanceError::NoSource);
}

#[test]
fn the_parameters_are_the_ones_of_the_version() {
    let at =
        |name: &str, pointer: &str| Provenance::parameters(&vector(name)).unwrap().pointer(pointer).cloned();
    assert_eq!(at("generator-container-v0.2", "/event_inputs/debug"), Some(json!(false)));
    assert_eq!(at("buildkit-v0.2", "/args/build-arg:FLAVOUR"), Some(json!("plain")));
    assert_eq!(at("buildkit-v1", "/request/args/target"), Some(json!("release")));
    assert_eq!(at("tekton-v1", "/runSpec/params/0/value"), Some(json!("plain")));
    assert_eq!(at("cloud-build-v1", "/substitutions/_FLAVOUR"), Some(json!("plain")));
    assert_eq!(at("cloud-build-v1", "/substitutions/_flavour"), None);
    assert!(Provenance::parameters(&attestation("https://spdx.dev/Document", github())).is_none());
    assert!(Provenance::parameters(&attestation(V1, generator())).is_none());
}

/// The plainest shapes of v1: a descriptor, or nothing but the first dependency.
#[test]
fn a_builder_nobody_knows_is_read_by_the_conventions() {
    let with = |parameters: Value, dependencies: Value| {
        let mut predicate = github();
        predicate["buildDefinition"]["externalParameters"] = parameters;
        predicate["buildDefinition"]["resolvedDependencies"] = dependencies;
        read(V1, predicate)
    };
    let plain = Provenance { workflow: None, ..github_expected() };
    let uri = "git+https://github.com/acme/shop@refs/heads/main";
    let git = json!([{ "uri": uri, "digest": { "gitCommit": COMMIT } }]);
    let source = json!({ "source": { "uri": uri, "digest": { "sha1": COMMIT } } });
    assert_eq!(with(source, json!([])).unwrap(), plain);
    assert_eq!(with(json!({ "configSource": { "uri": uri } }), git.clone()).unwrap(), plain);
    assert_eq!(with(json!({}), git).unwrap(), plain);
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
            Aspect::Source | Aspect::Reference | Aspect::Workflow => json!(value),
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
        assert!(split(Dialect::Spdx, "x", uri).is_err(), "{uri}");
    }
    for (uri, source, reference) in [
        ("git+https://github.com/a/b@refs/heads/main", "https://github.com/a/b", Some("refs/heads/main")),
        ("git+ssh://git@github.com/a/b@v1", "ssh://git@github.com/a/b", Some("v1")),
        ("https://github.com/a/b", "https://github.com/a/b", None),
        // Both the reference of a package and a reference made to look like another one.
        ("git+https://h/a@refs/tags/@s/p@1", "https://h/a", Some("refs/tags/@s/p@1")),
        ("git+git+https://h/a", "git+https://h/a", None),
    ] {
        assert_eq!(split(Dialect::Spdx, "x", uri).unwrap(), (source, reference));
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
        let _ = split(Dialect::Spdx, "x", &text);
    }
}
