//! Signers by certificate: roots, patterns, claims; each with a yes and a no.

use samebits::verify::{self, Identity, RootName, Trust, Verified};
use sigstore_trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT as TRUSTED_ROOT;

use super::{SAMPLE, keys};
use samebits::collect;
use samebits::policy::{Draft, Policy, PolicyErrors};

const BUILD: &str = "issuer   = \"https://token.actions.githubusercontent.com\"\nidentity = \"https://github.com/acme/{service}/.github/workflows/build.yml@refs/heads/main\"";
/// A real bundle, and who signed it.
const BUNDLE: &[u8] = include_bytes!("../vectors/conformance/happy-path-intoto-in-dsse-v3.json");
const BEACON: &str = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon";
const WORKFLOW: &str = "/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
const ISSUER: &str = "issuer = \"https://token.actions.githubusercontent.com\"";

/// The sample with another build signer, and more tables behind.
fn policy(build: &str, more: &str) -> Result<Policy, PolicyErrors> {
    assert!(SAMPLE.contains(BUILD));
    let text = format!("{}\n{more}", SAMPLE.replacen(BUILD, build, 1));
    let mut files = keys();
    files.insert("trust/acme.json".to_owned(), TRUSTED_ROOT.to_owned());
    files.insert("trust/empty.json".to_owned(), "{}".to_owned());
    Draft::parse("samebits.toml", &text)?.validate(&files)
}

#[track_caller]
fn refused(build: &str, more: &str, expected: &str) {
    let shown = policy(build, more).unwrap_err().to_string();
    assert!(shown.contains(expected), "expected {expected:?} in\n{shown}");
}

fn beacon() -> Verified<verify::Attestation> {
    let trust = Trust::default().with_roots(vec![verify::Root::public_good().unwrap()]);
    verify::bundle(BUNDLE, &trust).unwrap()
}

/// Who signed the real bundle, says a policy with this build signer.
#[track_caller]
fn who(build: &str, more: &str) -> Vec<String> {
    let policy = policy(build, more).unwrap_or_else(|errors| panic!("{errors}"));
    policy.who(beacon().author(), &"shop".parse().unwrap()).iter().map(|name| name.to_string()).collect()
}

#[test]
fn b6_a_root_is_named_and_counts_for_its_signers_only() {
    let exact = format!("{ISSUER}\nidentity = \"{BEACON}{WORKFLOW}\"");
    let acme = "[roots.acme]\ntrusted-root = \"trust/acme.json\"";
    assert_eq!(who(&exact, ""), ["build"]);
    assert_eq!(who(&format!("{exact}\nroot = \"public-good\""), ""), ["build"]);
    // The same keys under another name are another root.
    assert!(who(&format!("{exact}\nroot = \"acme\""), acme).is_empty());
    assert!(who(&format!("{exact}\nroot = \"github\""), "").is_empty());
    refused(&format!("{exact}\nroot = \"acme\""), "", "unknown root `acme`");
    refused(&format!("{exact}\nroot = \"Github\""), "", "unknown root `Github`");
    refused(&format!("{exact}\nroot = \"\""), "", "an empty string");
}

#[test]
fn f11_the_roots_of_a_policy_are_those_its_signers_name() {
    let names = |policy: &Policy| -> Vec<String> {
        let trust = collect::trust(policy);
        trust.roots().iter().map(|root| root.name().to_string()).collect()
    };
    let acme = "[roots.acme]\ntrusted-root = \"trust/acme.json\"";
    let policy = policy(&format!("{BUILD}\nroot = \"acme\""), acme).unwrap();
    // Nobody named the public good: its word does not count.
    assert_eq!(names(&policy), ["acme"]);
    assert_eq!(
        policy.key_digests()["trust/acme.json"],
        samebits::digest::Digest::of(TRUSTED_ROOT.as_bytes())
    );
    assert!(policy.warnings().is_empty());
    let unused = self::policy(BUILD, acme).unwrap();
    assert_eq!(unused.warnings().len(), 1);
    assert!(unused.warnings()[0].to_string().contains("root `acme` is used nowhere"));
    let draft = Draft::parse("samebits.toml", &format!("{SAMPLE}\n{acme}")).unwrap();
    assert!(draft.key_files().contains("trust/acme.json"));
    for (more, expected) in [
        (
            "[roots.acme]\ntrusted-root = \"trust/absent.json\"",
            "the trusted root `trust/absent.json` could not be read",
        ),
        ("[roots.acme]\ntrusted-root = \"../acme.json\"", "is not a path of a trusted root"),
        (
            "[roots.acme]\ntrusted-root = \"trust/empty.json\"",
            "the trusted root `trust/empty.json` is not one",
        ),
        ("[roots.acme]\ntrusted-root = \"keys/staging.pub\"", "not strict JSON"),
        ("[roots.github]\ntrusted-root = \"trust/acme.json\"", "not one of GitHub's"),
        ("[roots.Acme]\ntrusted-root = \"trust/acme.json\"", "is not a root's name"),
        ("[roots.acme]\ntrusted-root = \"trust/acme.json\"\nsct = false", "unknown key `sct`"),
        ("[roots.acme]", "exactly one of `trusted-root` and `refresh`"),
    ] {
        refused(BUILD, more, expected);
    }
}

#[test]
fn b6_a_pattern_is_for_the_whole_identity() {
    let with = |pattern: &str| format!("{ISSUER}\npattern = '{pattern}'");
    let beacon = BEACON.replace('.', r"\.");
    assert_eq!(
        who(&with(&format!(r"^{beacon}/\.github/workflows/[a-z-]+\.yml@refs/heads/main$")), ""),
        ["build"]
    );
    // A prefix, another branch.
    assert!(who(&with(&format!("^{beacon}$")), "").is_empty());
    assert!(
        who(&with(&format!(r"^{beacon}/\.github/workflows/[a-z-]+\.yml@refs/heads/release$")), "").is_empty()
    );
    refused(&with(".*"), "", "begins with `^` and ends with `$`");
    refused(&with("^.*$"), "", "it matches strangers");
    refused(&with(&beacon), "", "begins with `^` and ends with `$`");
    refused(&format!("{}\nidentity = \"a:b\"", with("^a:b$")), "", "`identity` or `pattern`, not both");
    refused(ISSUER, "", "`identity` is missing");
    refused("pattern = '^a:b$'", "", "`issuer` is missing");
    // A pattern in `identity` is still a mistake.
    refused(&format!("{ISSUER}\nidentity = '^{BEACON}$'"), "", "is not an exact text");
}

#[test]
fn b6_a_pattern_with_a_service_is_that_services_only() {
    let with = |pattern: &str| format!("{ISSUER}\npattern = '{pattern}'");
    // The real bundle's repository, as a service.
    let conformance = BEACON.rsplit('/').next().unwrap();
    let name = format!("[services.{conformance}]\nrepository = \"registry.example/beacon\"");
    let organisation = r"^https://github\.com/sigstore-conformance/{service}/\.github/.+@refs/heads/main$";
    let policy = policy(&with(organisation), &name).unwrap_or_else(|errors| panic!("{errors}"));
    let who = |service: &str| -> Vec<String> {
        let who = policy.who(beacon().author(), &service.parse().unwrap());
        who.iter().map(|name| name.to_string()).collect()
    };
    assert_eq!(who(conformance), ["build"]);
    assert!(who("shop").is_empty(), "another service");
    assert!(policy.signer(&"build".parse().unwrap()).unwrap().names_service());
    let anywhere = self::policy(&with("^https://github.com/[a-z-]+/{service}/.*$"), "");
    assert!(
        matches!(anywhere, Ok(policy) if !policy.signer(&"build".parse().unwrap()).unwrap().names_service())
    );
    refused(&with("^(https://.*|{service})$"), "", "it matches strangers");
    refused(&with("^https://github.com/acme/[{service}]/x$"), "", "not in brackets");
    // As many as services times patterns, and no more than can be tried.
    let services: String =
        (0..1_000).map(|n| format!("[services.s{n}]\nrepository = \"registry.example/s{n}\"\n")).collect();
    let many = |count: usize| {
        format!(
            "any-of = [{}]",
            (0..count)
                .map(|n| format!("{{ {ISSUER}, pattern = '^x:{n}/{{service}}$' }}"))
                .collect::<Vec<_>>()
                .join(", ")
        )
    };
    refused(&many(6), &services, "more than 5000 regular expressions");
}

#[test]
fn e5_a_pattern_may_be_the_deployer_too() {
    let may = "may both report deployments in `staging`";
    let staging = "[signers.staging]\npublic-key = \"keys/staging.pub\"";
    let release = "[signers.release]\npublic-key = \"keys/release.pub\"";
    let issuer = "issuer = \"https://x.example\"";
    let both = |deployer: &str, promoter: &str| {
        let text = SAMPLE.replacen(staging, &format!("[signers.staging]\n{issuer}\n{deployer}"), 1).replacen(
            release,
            &format!("[signers.release]\n{issuer}\n{promoter}"),
            1,
        );
        Draft::parse("p", &text).unwrap().validate(&keys()).map(|_| ()).map_err(|errors| errors.to_string())
    };
    let clash = |deployer, promoter| both(deployer, promoter).unwrap_err().contains(may);
    assert!(clash("pattern = '^x:[a-z]+$'", "identity = \"x:shop\""));
    assert!(clash("identity = \"x:{service}\"", "pattern = '^x:(shop|y)$'"));
    assert!(clash("pattern = '^x:a$'", "pattern = '^x:b$'"), "two patterns are taken for one");
    assert!(clash("pattern = '^x:{service}$'", "identity = \"x:shop\""));
    assert_eq!(both("pattern = '^x:{service}$'", "identity = \"x:other\""), Ok(()));
    // What else is asked of a certificate does not make two identities of one.
    assert!(clash("identity = \"x:a\"\nsource-ref = \"refs/heads/a\"", "identity = \"x:a\""));
    assert_eq!(both("pattern = '^x:[a-z]+$'", "identity = \"x:1\""), Ok(()));
    assert_eq!(both("identity = \"x:a\"\nroot = \"github\"", "identity = \"x:a\""), Ok(()));
}

#[test]
fn b6_claims_are_exact_and_never_assumed() {
    let with = |claims: &str| format!("{ISSUER}\nidentity = \"{BEACON}{WORKFLOW}\"\n{claims}");
    for (right, wrong) in [
        (format!("source-repository = \"{BEACON}\""), format!("source-repository = \"{BEACON}/\"")),
        ("source-ref = \"refs/heads/main\"".to_owned(), "source-ref = \"main\"".to_owned()),
        ("workflow-trigger = \"workflow_dispatch\"".to_owned(), "workflow-trigger = \"push\"".to_owned()),
        (
            "runner-environment = \"github-hosted\"".to_owned(),
            "runner-environment = \"self-hosted\"".to_owned(),
        ),
    ] {
        assert_eq!(who(&with(&right), ""), ["build"], "{right}");
        assert!(who(&with(&wrong), "").is_empty(), "{wrong}");
        // An identity alone does not show what else its certificate says.
        let policy = policy(&with(&right), "").unwrap();
        assert!(policy.who(&beacon().identity().clone().into(), &"shop".parse().unwrap()).is_empty());
        // Where somebody is shut out (E5: who builds does not approve), the identity alone is enough.
        let build = policy.signer(&"build".parse().unwrap()).unwrap();
        let shop = "shop".parse().unwrap();
        assert!(build.could_be(beacon().identity(), &shop));
        let Identity::Keyless { issuer, subject, .. } = beacon().identity().clone() else { panic!() };
        let elsewhere = Identity::Keyless { issuer, subject, root: RootName::GitHub };
        assert!(!build.could_be(&elsewhere, &shop));
    }
    refused(&with("source-ref = \"refs/heads/*\""), "", "is not an exact text");
    refused(&with("source-ref = \"\""), "", "an empty string");
    refused(&with("source-branch = \"main\""), "", "unknown key `source-branch`");
    refused("public-key = \"keys/ana.pub\"\nsource-ref = \"refs/heads/main\"", "", "exactly one of");
    // And with the ones that survive a new name.
    for (claim, right) in [
        ("source-repository-owner", "https://github.com/sigstore-conformance"),
        ("source-repository-owner-id", "131804563"),
        ("source-repository-id", "632596897"),
        ("source-repository-visibility", "public"),
        ("build-signer-uri", &format!("{BEACON}{WORKFLOW}")),
        ("build-config-uri", &format!("{BEACON}{WORKFLOW}")),
    ] {
        assert_eq!(who(&with(&format!("{claim} = \"{right}\"")), ""), ["build"], "{claim}");
        assert!(who(&with(&format!("{claim} = \"{right}0\"")), "").is_empty(), "{claim}");
    }
    let name = Identity::Keyless {
        issuer: "https://token.actions.githubusercontent.com".to_owned(),
        subject: format!("{BEACON}{WORKFLOW}"),
        root: RootName::PublicGood,
    };
    assert_eq!(beacon().identity(), &name);
}

/// What keeps the real bundle's author from being this build signer.
#[track_caller]
fn why_not(build: &str, more: &str) -> Vec<String> {
    let policy = policy(build, more).unwrap_or_else(|errors| panic!("{errors}"));
    let (build, shop) = ("build".parse().unwrap(), "shop".parse().unwrap());
    policy.why_not(&build, beacon().author(), &shop).iter().map(|wrong| wrong.to_string()).collect()
}

#[test]
fn b6_a_refusal_says_what_did_not_match() {
    let exact = format!("{ISSUER}\nidentity = \"{BEACON}{WORKFLOW}\"");
    assert!(why_not(&exact, "").is_empty());
    for (claims, said) in [
        (
            "source-ref = \"refs/heads/release\"",
            &["its certificate says refs/heads/main for source-ref: expected refs/heads/release"]
                as &[&str],
        ),
        (
            "deployment-environment = \"production\"",
            &["its certificate says nothing for deployment-environment: expected production"],
        ),
        (
            "workflow-trigger = \"push\"\nrunner-environment = \"self-hosted\"\nsource-ref = \"refs/heads/main\"",
            &[
                "its certificate says workflow_dispatch for workflow-trigger: expected push",
                "its certificate says github-hosted for runner-environment: expected self-hosted",
            ],
        ),
        ("root = \"github\"", &["it was proved under the root public-good: expected github"]),
    ] {
        assert_eq!(why_not(&format!("{exact}\n{claims}"), ""), said, "{claims}");
    }
    // Another branch, another issuer; and nobody near.
    let branch = exact.replace("refs/heads/main", "refs/heads/dev");
    assert_eq!(
        why_not(&branch, ""),
        [format!("its identity is {BEACON}{WORKFLOW}: expected {BEACON}{}", WORKFLOW.replace("main", "dev"))]
    );
    let issuer = exact.replace("token.actions.githubusercontent.com", "issuer.example");
    assert_eq!(
        why_not(&issuer, ""),
        ["its issuer is https://token.actions.githubusercontent.com: expected https://issuer.example"]
    );
    assert!(why_not(BUILD, "").is_empty());
    assert!(why_not("public-key = \"keys/ana.pub\"", "").is_empty());
    // Of several identities the nearest one is told.
    let nearest = format!(
        "any-of = [{{ {} }}, {{ {}, source-ref = \"refs/heads/release\" }}]",
        branch.replace('\n', ", "),
        exact.replace('\n', ", ")
    );
    assert!(why_not(&nearest, "")[0].contains("for source-ref"));
}

#[test]
fn b7_a_key_says_what_has_to_date_it() {
    let key = "public-key = \"keys/ana.pub\"";
    let roots = |build: &str, more: &str| -> Vec<String> {
        let policy = policy(build, more).unwrap_or_else(|errors| panic!("{errors}"));
        policy.roots().map(|root| root.name().to_string()).collect()
    };
    let acme = "[roots.acme]\ntrusted-root = \"trust/acme.json\"";
    // Who attests has to be dated under a root, which has to be there. Who signs records only needs none.
    assert_eq!(roots(key, ""), ["public-good"]);
    assert_eq!(roots(&format!("{key}\nroot = \"acme\""), acme), ["acme"]);
    assert!(roots(&format!("{key}\ntime = \"not-required\""), "").is_empty());
    refused(&format!("{key}\nroot = \"acme\""), "", "unknown root `acme`");
    refused(&format!("{key}\ntime = \"not-required\"\nroot = \"github\""), "", "`root` has no meaning");
    refused(&format!("{key}\ntime = \"required\""), "", "is not one of the words that may stand here");
    refused(&format!("{key}\ntime = \"\""), "", "an empty string");
    refused(&format!("{key}\ntime = false"), "", "expected");
    refused(&format!("{ISSUER}\nidentity = \"a:b\"\ntime = \"not-required\""), "", "exactly one of");
    refused("time = \"not-required\"", "", "`public-key` is missing");
}
