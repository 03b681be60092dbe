use super::*;
use crate::digest::Digest;
use crate::verify::keyless::Proof;
use crate::verify::provenance::Provenance;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const SHOP: &str = "https://github.com/acme/shop";
const OWN: &str = "https://github.com/acme/shop/.github/workflows/release.yml@refs/heads/main";
const REUSABLE: &str = "https://github.com/acme/ci/.github/workflows/image.yml@refs/tags/v2";
const CONTAINER: &str = "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_container_slsa3.yml@refs/tags/v2.1.0";
const CONTAINER_TYPE: &str = "https://github.com/slsa-framework/slsa-github-generator/container@v1";

/// Who signed: as little as the table looks at.
#[derive(Clone)]
struct Signer {
    issuer: &'static str,
    subject: &'static str,
    root: RootName,
    claims: Claims,
}

impl Signer {
    fn author(&self) -> Author {
        Author::from(Proof {
            identity: Identity::Keyless {
                issuer: self.issuer.to_owned(),
                subject: self.subject.to_owned(),
                root: self.root.clone(),
            },
            claims: self.claims.clone(),
            time: "2026-11-21T12:00:00Z".parse().unwrap(),
        })
    }
}

fn on_github(subject: &'static str) -> Signer {
    let some = |text: &str| Some(text.to_owned());
    let claims = Claims {
        runner_environment: some("github-hosted"),
        source_repository_uri: some(SHOP),
        source_repository_digest: some(COMMIT),
        source_repository_ref: some("refs/heads/main"),
        ..Claims::default()
    };
    Signer { issuer: GITHUB, subject, root: RootName::PublicGood, claims }
}

fn built(builder: &str, build_type: &str) -> Provenance {
    Provenance {
        builder: builder.to_owned(),
        source: SHOP.to_owned(),
        reference: Some("refs/heads/main".to_owned()),
        commit: Some(COMMIT.to_owned()),
        build_type: build_type.to_owned(),
        workflow: None,
        workflow_source: None,
    }
}

fn graded(signer: &Signer, provenance: &Provenance) -> (Level, Why) {
    let Grade { level, why } = grade(&signer.author(), provenance);
    (level, why)
}

#[test]
fn b15_the_table_says_which_builder_and_signer_are_worth_what() {
    let [attest, older] = GITHUB_BUILD_TYPES;
    assert_eq!(graded(&on_github(OWN), &built(OWN, attest)), (Level::L2, Why::OwnWorkflow));
    assert_eq!(graded(&on_github(OWN), &built(GITHUB_RUNNER, older)), (Level::L2, Why::OwnWorkflow));
    assert_eq!(graded(&on_github(REUSABLE), &built(REUSABLE, attest)), (Level::L3, Why::Reusable));
    let generator = built(CONTAINER, CONTAINER_TYPE);
    assert_eq!(graded(&on_github(CONTAINER), &generator), (Level::L3, Why::Generator));
    let private = Signer { root: RootName::GitHub, ..on_github(REUSABLE) };
    assert_eq!(graded(&private, &built(REUSABLE, attest)), (Level::L3, Why::Reusable));
}

#[test]
fn b15_a_key_is_worth_level_1_whatever_it_signs() {
    let key = Author::from(Identity::Key { id: Digest::of(b"key") });
    for provenance in [built(OWN, GITHUB_BUILD_TYPES[0]), built(CONTAINER, CONTAINER_TYPE)] {
        assert_eq!(grade(&key, &provenance), Grade { level: Level::L1, why: Why::Key });
    }
}

/// Each thing that the table looks at, otherwise.
#[test]
fn b15_a_signer_who_is_not_the_builder_justifies_nothing() {
    let attest = GITHUB_BUILD_TYPES[0];
    let builds = [
        (on_github(OWN), built(OWN, attest)),
        (on_github(REUSABLE), built(REUSABLE, attest)),
        (on_github(CONTAINER), built(CONTAINER, CONTAINER_TYPE)),
    ];
    let other = |text: &str| Some(format!("{text}x"));
    for (signer, provenance) in &builds {
        let signed = |change: &dyn Fn(&mut Signer)| {
            let mut changed = signer.clone();
            change(&mut changed);
            graded(&changed, provenance)
        };
        let said = |change: &dyn Fn(&mut Provenance)| {
            let mut changed = provenance.clone();
            change(&mut changed);
            graded(signer, &changed)
        };
        let rows = [
            signed(&|signer| signer.issuer = "https://token.actions.acme.ghe.com"),
            signed(&|signer| signer.root = "acme".parse().unwrap()),
            signed(&|signer| {
                signer.subject = "https://github.com/evil/ci/.github/workflows/x.yml@refs/heads/main"
            }),
            signed(&|signer| signer.claims = Claims::default()),
            signed(&|signer| signer.claims.runner_environment = Some("self-hosted".to_owned())),
            signed(&|signer| signer.claims.runner_environment = None),
            signed(&|signer| signer.claims.source_repository_uri = other(SHOP)),
            signed(&|signer| signer.claims.source_repository_digest = other(COMMIT)),
            signed(&|signer| signer.claims.source_repository_ref = other("refs/heads/main")),
            said(&|provenance| provenance.builder.push('x')),
            said(&|provenance| provenance.build_type.push('x')),
            said(&|provenance| provenance.source.push('x')),
            said(&|provenance| provenance.commit = None),
            said(&|provenance| provenance.reference = None),
        ];
        for (at, (level, why)) in rows.into_iter().enumerate() {
            assert_eq!(level, Level::L1, "row {at} of {}: {why}", provenance.builder);
        }
    }
}

/// Only a released generator, with what it writes, from its own repository; anything else there is a reusable
/// workflow of an unknown build type.
#[test]
fn b15_what_looks_like_the_generator_is_not_the_generator() {
    let at = |text: &str| CONTAINER.replace("refs/tags/v2.1.0", text);
    for builder in [
        at("refs/heads/main"),
        at("refs/tags/v2.1"),
        at("refs/tags/v2.1.0-rc.0"),
        at("refs/tags/v2.1.0.0"),
        at("refs/tags/v2..0"),
        CONTAINER.replace("slsa-framework/", "slsa-framevork/"),
        CONTAINER.replace("generator_container_slsa3", "generator_container_slsa4"),
    ] {
        let mut signer = on_github(CONTAINER);
        signer.subject = Box::leak(builder.clone().into_boxed_str());
        let (level, why) = graded(&signer, &built(&builder, CONTAINER_TYPE));
        assert_eq!(level, Level::L1, "{builder}: {why}");
    }
    let generic = built(CONTAINER, "https://github.com/slsa-framework/slsa-github-generator/generic@v1");
    assert_eq!(graded(&on_github(CONTAINER), &generic).0, Level::L1);
}

/// A workflow in the source itself is no reusable one, whatever its name; a repository whose name only begins like
/// the source is another one.
#[test]
fn b15_the_sources_own_workflow_is_not_isolated_from_the_build() {
    let attest = GITHUB_BUILD_TYPES[0];
    let called = "https://github.com/acme/shop/.github/workflows/reusable.yml@refs/tags/v1";
    assert_eq!(graded(&on_github(called), &built(called, attest)), (Level::L2, Why::OwnWorkflow));
    // As a caller may spell it: GitHub's names are the same in any letters.
    let spelled = called.replace("acme/shop", "Acme/SHOP");
    let signer = Signer { subject: spelled.clone().leak(), ..on_github(called) };
    assert_eq!(graded(&signer, &built(&spelled, attest)), (Level::L2, Why::OwnWorkflow));
    let near = "https://github.com/acme/shop-ci/.github/workflows/image.yml@refs/tags/v1";
    assert_eq!(graded(&on_github(near), &built(near, attest)), (Level::L3, Why::Reusable));
}

#[test]
fn b15_gitlab_is_level_2_on_its_own_runners_only() {
    let project = "https://gitlab.com/acme/shop";
    let some = |text: &str| Some(text.to_owned());
    let signer = Signer {
        issuer: GITLAB,
        subject: "https://gitlab.com/acme/shop//.gitlab-ci.yml@refs/heads/main",
        root: RootName::PublicGood,
        claims: Claims {
            runner_environment: some("gitlab-hosted"),
            source_repository_uri: some(project),
            source_repository_digest: some(COMMIT),
            ..Claims::default()
        },
    };
    let provenance = Provenance {
        builder: format!("{project}/-/runners/12270831"),
        source: project.to_owned(),
        reference: None,
        ..built("", "https://gitlab.com/gitlab-org/gitlab-runner/-/blob/v18.0.0/PROVENANCE.md")
    };
    assert_eq!(graded(&signer, &provenance), (Level::L2, Why::GitLabJob));
    let mut own = signer.clone();
    own.claims.runner_environment = some("self-hosted");
    assert_eq!(graded(&own, &provenance), (Level::L1, Why::Runner));
    let mut elsewhere = signer.clone();
    elsewhere.claims.source_repository_uri = some("https://gitlab.com/evil/shop");
    assert_eq!(graded(&elsewhere, &provenance).0, Level::L1);
    let self_managed = Signer { issuer: "https://gitlab.acme.example", ..signer.clone() };
    assert_eq!(graded(&self_managed, &provenance).0, Level::L1);
    let foreign =
        Provenance { builder: "https://gitlab.com/evil/x/-/runners/1".to_owned(), ..provenance.clone() };
    assert_eq!(graded(&signer, &foreign).0, Level::L1);
    let unknown = Provenance { build_type: "https://acme.example/x".to_owned(), ..provenance };
    assert_eq!(graded(&signer, &unknown).0, Level::L1);
}

#[test]
fn a_level_is_named_as_slsa_names_it() {
    let names = [Level::L1, Level::L2, Level::L3].map(Level::result);
    assert_eq!(names, ["SLSA_BUILD_LEVEL_1", "SLSA_BUILD_LEVEL_2", "SLSA_BUILD_LEVEL_3"]);
    assert!(Level::L1 < Level::L2 && Level::L2 < Level::L3);
}
