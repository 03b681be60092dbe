//! `samebits doctor` about the policy file: each finding with a policy that has it, and a twin that has not.

use jiff::civil::date;
use samebits::doctor::{self, Code, Place};

use super::*;

/// The findings of a policy, each with the text of its line.
fn found(text: &str) -> Vec<(Code, String)> {
    let policy = validate(text).unwrap_or_else(|errors| panic!("{errors}"));
    let findings = doctor::policy(&policy, "gate/samebits.toml", date(2026, 11, 22));
    findings
        .iter()
        .map(|finding| match &finding.place {
            Place::File { file, line, .. } => {
                assert_eq!(file, "gate/samebits.toml");
                (finding.code, text.lines().nth(line - 1).unwrap().trim().to_owned())
            }
            Place::Environment { .. } => panic!("{finding:?}"),
        })
        .collect()
}

/// The sample with one piece replaced.
fn with(old: &str, new: &str) -> Vec<(Code, String)> {
    assert!(SAMPLE.contains(old), "not in the sample: {old}");
    found(&SAMPLE.replacen(old, new, 1))
}

fn one(code: Code, line: &str) -> Vec<(Code, String)> {
    vec![(code, line.to_owned())]
}

const IDENTITY: &str =
    "identity = \"https://github.com/acme/{service}/.github/workflows/build.yml@refs/heads/main\"";

#[test]
fn the_policies_that_users_read_have_nothing_to_find() {
    assert_eq!(found(SAMPLE), []);
    assert_eq!(found(WHOLE), []);
}

#[test]
fn b6_a_signer_that_anybody_may_call_is_found() {
    let called = |text: &str, on: &str| {
        let policy = validate(text).unwrap_or_else(|errors| panic!("{errors}"));
        let workflow = |name: &str, on: &str| doctor::File {
            name: format!(".github/workflows/{name}"),
            text: format!("on: {on}\njobs: {{}}\n"),
        };
        let files = [workflow("other.yml", "workflow_call"), workflow("build.yml", on)];
        let findings = doctor::callable(&policy, "gate/samebits.toml", &files);
        findings.into_iter().map(|finding| (finding.code, finding.found)).collect::<Vec<_>>()
    };
    for on in ["workflow_call", "[push, workflow_call]", "{ push: {}, workflow_call: { inputs: {} } }"] {
        let found = called(SAMPLE, on);
        assert_eq!((found.len(), found[0].0), (1, Code::CallerNotRequired), "{on}: {found:?}");
        assert!(found[0].1.contains("signs as `build`"), "{found:?}");
    }
    assert_eq!(called(SAMPLE, "push"), [], "nobody calls it");
    for claim in
        ["source-repository = \"https://github.com/acme/shop\"", "source-repository-owner-id = \"7\""]
    {
        assert_eq!(
            called(&SAMPLE.replacen(IDENTITY, &format!("{IDENTITY}\n{claim}"), 1), "workflow_call"),
            []
        );
    }
    let pattern =
        r"pattern = '^https://github\.com/acme/{service}/\.github/workflows/build\.yml@refs/tags/v[0-9]+$'";
    assert_eq!(called(&SAMPLE.replacen(IDENTITY, pattern, 1), "workflow_call").len(), 1);
}

#[test]
fn b6_a_pattern_that_is_too_wide_is_found() {
    let pattern = |end: &str| {
        let start = r"^https://github\.com/acme/";
        with(IDENTITY, &format!("pattern = '{start}{end}$'"))
    };
    for wide in [
        r"{service}/\.github/workflows/build\.yml@refs/heads/.*",
        r"{service}/\.github/workflows/build\.yml@refs/heads/[^/]+",
        r"{service}/\.github/workflows/.*@refs/heads/main",
        r".+/\.github/workflows/build\.yml@refs/heads/main",
        r"{service}/\.github/workflows/build\.yml@refs/(heads|tags)/\S+",
        r"{service}/\.github/workflows/(a|b.*)\.yml@refs/heads/main",
    ] {
        assert_eq!(pattern(wide), one(Code::PatternTooWide, "[signers.build]"), "{wide}");
    }
    for narrow in [
        r"{service}/\.github/workflows/build\.yml@refs/tags/v[0-9]+\.[0-9]+\.[0-9]+",
        r"{service}/\.github/workflows/build\.yml@refs/heads/release-[0-9.]+",
        r"{service}/\.github/workflows/(build|release)\.yml@refs/heads/main",
    ] {
        assert_eq!(pattern(narrow), [], "{narrow}");
    }
}

#[test]
fn an_entry_that_is_production_is_found() {
    for (name, bad) in
        [("prod", true), ("eu-production", true), ("live", true), ("preprod", false), ("canary", false)]
    {
        let text = SAMPLE.replace("[environments.staging", &format!("[environments.{name}"));
        let text = text.replace("environment = \"staging\"", &format!("environment = \"{name}\""));
        let wanted = if bad { one(Code::ProductionWithoutAfter, "entry      = true") } else { vec![] };
        assert_eq!(found(&text), wanted, "{name}");
    }
}

#[test]
fn e5_one_identity_under_two_names_is_found() {
    let twice = SAMPLE.replacen("keys/ana.pub", "keys/staging-again.pub", 1);
    let codes: Vec<Code> = found(&twice).into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, [Code::IdentityShared]);
}

#[test]
fn e5_an_accepted_identity_is_found() {
    let text = SAMPLE.replacen("deployers  = [\"staging\"]", "deployers  = [\"release\"]", 1);
    let text = text.replacen(
        "[environments.production]\n",
        "[environments.production]\nsame-identity-accepted = \"one job\"\n",
        1,
    );
    assert_eq!(found(&text), one(Code::SameIdentityAccepted, "same-identity-accepted = \"one job\""));
}

#[test]
fn e5_a_builder_that_promotes_or_deploys_is_found() {
    let promotes = with("promoters  = [\"release\"]", "promoters  = [\"release\", \"build\"]");
    assert_eq!(promotes, one(Code::BuilderDecides, "promoters  = [\"release\", \"build\"]"));
    let deploys = with("deployers  = [\"staging\"]", "deployers  = [\"build\"]");
    assert!(deploys[0].0 == Code::BuilderDecides && deploys[0].1.starts_with("deployers"), "{deploys:?}");
}

#[test]
fn b6_an_entry_without_source_or_ref_is_found() {
    let any = found(&SAMPLE.replacen("ref     = \"refs/heads/main\"", "ref     = \"any\"", 1));
    assert_eq!(any.len(), 1);
    assert_eq!(any[0].0, Code::AnyRef);
    assert!(any[0].1.starts_with("ref     = \"any\""));
    // Without provenance: a workflow at a ref says it in its certificate, a key does not.
    let start = SAMPLE.find("[environments.staging.require.provenance]").unwrap();
    let end = start + SAMPLE[start..].find("\n\n").unwrap();
    let bare = format!("{}{}", &SAMPLE[..start], &SAMPLE[end..]);
    assert_eq!(found(&bare), []);
    let issuer = "issuer   = \"https://token.actions.githubusercontent.com\"";
    let key = bare.replacen(issuer, "", 1).replacen(IDENTITY, "public-key = \"keys/staging-again.pub\"", 1);
    let codes: Vec<Code> = found(&key).into_iter().map(|(code, _)| code).collect();
    assert!(codes.contains(&Code::SourceNotRequired), "{codes:?}");
}

#[test]
fn e5_approvals_by_who_asks_are_found() {
    let line = "not-from = [\"requester\", \"builder\"]";
    for (now, bad) in
        [("not-from = [\"builder\"]", true), ("not-from = [\"requester\"]", true), (line, false)]
    {
        let codes: Vec<Code> = with(line, now).into_iter().map(|(code, _)| code).collect();
        assert_eq!(codes, if bad { vec![Code::SelfApproval] } else { vec![] }, "{now}");
    }
}

#[test]
fn a_requirement_that_only_warns_for_years_is_found() {
    for (day, bad) in
        [("2026-12-31", false), ("2027-05-21", false), ("2027-05-22", true), ("2099-01-01", true)]
    {
        let codes: Vec<Code> = with("warn-until = 2026-12-31", &format!("warn-until = {day}"))
            .into_iter()
            .map(|(code, _)| code)
            .collect();
        assert_eq!(codes, if bad { vec![Code::WarnsTooLong] } else { vec![] }, "{day}");
    }
}

#[test]
fn f6_a_registry_without_tls_is_found() {
    let host = |host: &str| {
        let text = SAMPLE.replace("registry.example/", &format!("{host}/"));
        found(&format!("{text}\n[registries.\"{host}\"]\nplain-http = true\n"))
    };
    assert_eq!(host("registry.lan:5000"), one(Code::PlainHttp, "[registries.\"registry.lan:5000\"]"));
    assert_eq!(host("localhost:5000"), []);
}

/// docs/doctor.md has a section for each code, and no other.
#[test]
fn every_finding_is_explained() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/doctor.md")).unwrap();
    let explained: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(explained, codes);
}
