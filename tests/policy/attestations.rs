//! `require.attestations`: every rule of the format, with a yes and a no.

use super::{SAMPLE, keys, validate};
use samebits::policy::{AttestationKind, Draft, Policy, PolicyErrors};

const PLACE: &str = "[environments.production.require]\n";

/// The sample with these entries required in production.
fn policy(entries: &str) -> Result<Policy, PolicyErrors> {
    assert!(SAMPLE.contains(PLACE));
    let text = SAMPLE.replacen(PLACE, &format!("{PLACE}attestations = [{entries}]\n"), 1);
    Draft::parse("samebits.toml", &text)?.validate(&keys())
}

#[track_caller]
fn rows(rows: &[(&str, &str)]) {
    for (entry, expected) in rows {
        match (policy(entry), expected.is_empty()) {
            (Ok(_), true) => {}
            (Ok(_), false) => panic!("{entry} was accepted, expected: {expected}"),
            (Err(errors), true) => panic!("{entry} was refused:\n{errors}"),
            (Err(errors), false) => {
                let shown = errors.to_string();
                assert!(shown.contains(expected), "{entry}: expected {expected:?} in\n{shown}");
                assert!(shown.contains("--> samebits.toml:"), "no line:\n{shown}");
            }
        }
    }
}

#[test]
fn an_entry_has_a_type_and_a_signer() {
    rows(&[
        ("{ type = 'spdx', signer = 'build' }", ""),
        ("{ type = 'cyclonedx', signer = 'build' }, { type = 'spdx', signer = 'staging' }", ""),
        ("", "an empty list"),
        ("'spdx'", "expected a table, as in `{ type = \"spdx\""),
        ("{ signer = 'build' }", "`type` is missing"),
        ("{ type = 'spdx' }", "`signer` is missing"),
        ("{ type = 'spdx', signer = 'nobody' }", "unknown signer `nobody`"),
        ("{ type = 'spdx', signer = ['build'] }", "expected a string, found a list"),
        ("{ type = 'spdx', signer = '' }", "an empty string"),
        ("{ type = 'SPDX', signer = 'build' }", "did you mean `spdx`?"),
        ("{ type = 'sbom', signer = 'build' }", "`sbom` is not a type of attestation"),
        ("{ type = 'http://x.example/t', signer = 'build', present = true }", "is not a type of attestation"),
        (
            "{ type = 'https://x.example/ t', signer = 'build', present = true }",
            "is not a type of attestation",
        ),
        ("{ type = 'openvex', signer = 'build' }", "is not a type of attestation"),
    ]);
}

#[test]
fn a_key_belongs_to_its_type() {
    rows(&[
        ("{ type = 'spdx', signer = 'build', at-most = { high = 0 } }", "unknown key `at-most`"),
        ("{ type = 'spdx', signer = 'build', present = true }", "unknown key `present`"),
        (
            "{ type = 'test-result', signer = 'build', verifier = 'https://v.example' }",
            "unknown key `verifier`",
        ),
        (
            "{ type = 'vulns', signer = 'build', at-most = { high = 0 }, tests = ['a'] }",
            "unknown key `tests`",
        ),
        (
            "{ type = 'svr', signer = 'build', verifier = 'v', properties = ['A'], levels = ['A'] }",
            "unknown key `levels`",
        ),
        (
            "{ type = 'test-result', signer = 'build', after_deployment = 'staging' }",
            "did you mean `after-deployment`?",
        ),
        (
            "{ type = 'https://x.example/t', signer = 'build', cel = 'true', vex = 'build' }",
            "unknown key `vex`",
        ),
        ("{ type = 'spdx', signer = 'build', max_age = '1d' }", "did you mean `max-age`?"),
    ]);
}

#[test]
fn ages_and_days() {
    rows(&[
        ("{ type = 'spdx', signer = 'build', max-age = '7d' }", ""),
        ("{ type = 'spdx', signer = 'build', max-age = '7 days' }", "is not a duration"),
        ("{ type = 'spdx', signer = 'build', max-age = '0s' }", "is not a duration"),
        ("{ type = 'spdx', signer = 'build', warn-until = 2026-12-31 }", ""),
        (
            "{ type = 'spdx', signer = 'build', warn-until = '2026-12-31' }",
            "expected a date without quotation marks",
        ),
    ]);
}

#[test]
fn c11_tests_come_after_a_deployment_that_is_required() {
    let test = |more: &str| format!("{{ type = 'test-result', signer = 'staging', {more} }}");
    for (more, expected) in [
        ("after-deployment = 'staging'", ""),
        ("after-deployment = 'production'", "is not an environment that `after` names here"),
        ("after-deployment = 'Staging'", "is not an environment that `after` names here"),
        ("configuration = ['ci.yml'], tests = ['smoke']", ""),
        ("tests = []", "an empty list"),
        ("tests = ['a', 'a']", "twice"),
        ("tests = ['']", "an empty string"),
    ] {
        rows(&[(&test(more), expected)]);
    }
}

#[test]
fn scans_have_limits() {
    let scan = |more: &str| format!("{{ type = 'vulns', signer = 'build', {more} }}");
    for (more, expected) in [
        ("at-most = { critical = 0, high = 3, unknown = 0 }", ""),
        ("at-most = { unknown = 0 }", ""),
        ("at-most = {}", "an empty table: `at-most`"),
        ("at-most = { critical = -1 }", "at most -1 findings"),
        ("at-most = { critical = '0' }", "expected a whole number"),
        ("at-most = { severe = 0 }", "unknown key `severe`"),
        ("at-most = 0", "expected a table"),
        ("vex = 'release'", "`at-most` is missing"),
        ("at-most = { high = 0 }, vex = 'release', vex-max-age = '90d'", ""),
        ("at-most = { high = 0 }, vex = 'nobody'", "unknown signer `nobody`"),
        ("at-most = { high = 0 }, vex-max-age = '90d'", "`vex-max-age` without `vex`"),
    ] {
        rows(&[(&scan(more), expected)]);
    }
}

#[test]
fn b3_our_own_verdict_is_never_evidence() {
    let vsa = |verifier: &str| {
        format!(
            "{{ type = 'vsa', signer = 'release', verifier = '{verifier}', resource-uri = 'registry.example/{{service}}' }}"
        )
    };
    let svr = |verifier: &str| {
        format!("{{ type = 'svr', signer = 'release', verifier = '{verifier}', properties = ['A'] }}")
    };
    for entry in [vsa, svr] {
        rows(&[(&entry("https://v.example"), ""), (&entry("https://samebits.dev.example/gate"), "")]);
        for own in [
            samebits::record::VERIFIER,
            "https://samebits.dev",
            "https://SAMEBITS.dev/gate",
            "https://samebits.dev:443/x",
        ] {
            rows(&[(&entry(own), "its own verdict is never evidence")]);
        }
    }
    for own in ["deployment/v0.1", "promotion/v0.1", "approval/v0.1"] {
        let entry =
            format!("{{ type = '{}/{own}', signer = 'release', present = true }}", samebits::record::BASE);
        rows(&[(&entry, "what this program signs counts in the ledger only")]);
    }
}

#[test]
fn verdicts_of_others_name_verifier_and_resource() {
    let vsa = |more: &str| format!("{{ type = 'vsa', signer = 'release', {more} }}");
    let (verifier, resource) =
        ("verifier = 'https://v.example'", "resource-uri = 'registry.example/{service}'");
    for (more, expected) in [
        (
            format!(
                "{verifier}, {resource}, levels = ['SLSA_BUILD_LEVEL_3', 'ACME'], policy = 'https://p.example'"
            ),
            "",
        ),
        (resource.to_owned(), "`verifier` is missing"),
        (verifier.to_owned(), "`resource-uri` is missing"),
        (format!("{verifier}, resource-uri = 'registry.example/*'"), "looks like a pattern"),
        (format!("verifier = 'https://v.example/{{service}}', {resource}"), "`{service}` has no place here"),
        (
            format!("{verifier}, {resource}, levels = ['SLSA_BUILD_LEVEL']"),
            "`SLSA_BUILD_LEVEL` is not a level",
        ),
        (format!("{verifier}, {resource}, levels = ['FAILED']"), "`FAILED` is not a level"),
        (format!("{verifier}, {resource}, levels = []"), "an empty list"),
    ] {
        rows(&[(&vsa(&more), expected)]);
    }
    rows(&[
        ("{ type = 'svr', signer = 'release', verifier = 'https://v.example' }", "`properties` is missing"),
        (
            "{ type = 'svr', signer = 'release', verifier = 'https://v.example', properties = [] }",
            "an empty list",
        ),
        ("{ type = 'svr', signer = 'release', properties = ['A'] }", "`verifier` is missing"),
    ]);
}

#[test]
fn any_other_type_says_what_must_be_in_it() {
    let other = |more: &str| format!("{{ type = 'https://x.example/t/v1', signer = 'build'{more} }}");
    for (more, expected) in [
        (", present = true", ""),
        (", fields = { '/a' = 'x', '/b/0' = 1, '/c~1d' = true }", ""),
        (", cel = 'predicate.score > 7'", ""),
        ("", "nothing is said of what it must say"),
        (", present = false", "`present` has no meaning here"),
        (", present = true, cel = 'true'", "`present` has no meaning here"),
        (", fields = {}", "an empty table: `fields`"),
        (", fields = { a = 'x' }", "`a` is not a pointer"),
        (", fields = { '/a~2' = 'x' }", "is not a pointer"),
        (", fields = { '/a' = 1.5 }", "expected a string, a whole number, `true` or `false`"),
        (", fields = { '/a' = ['x'] }", "expected a string, a whole number"),
    ] {
        rows(&[(&other(more), expected)]);
    }
    for (kind, expected) in [
        ("https://slsa.dev/verification_summary/v1", "say `type = \"vsa\"`"),
        ("https://in-toto.io/attestation/svr/v0.1", "say `type = \"svr\"`"),
        ("https://in-toto.io/attestation/vulns/v0.2", "say `type = \"vulns\"`"),
        ("https://in-toto.io/attestation/test-result/v0.1", "say `type = \"test-result\"`"),
        ("https://spdx.dev/Document/v2.3", "say `type = \"spdx\"`"),
        ("https://cyclonedx.org/bom", "say `type = \"cyclonedx\"`"),
        ("https://slsa.dev/provenance/v1", "provenance is required in"),
        ("https://sigstore.dev/cosign/sign/v1", "signatures are required by `signed-by`"),
    ] {
        rows(&[(&format!("{{ type = '{kind}', signer = 'build', present = true }}"), expected)]);
    }
}

#[test]
fn an_expression_is_read_with_the_policy() {
    let cel = |text: &str| format!("{{ type = 'spdx', signer = 'build', cel = '''{text}''' }}");
    for (text, expected) in [
        ("predicate.packages.all(p, p.licenseDeclared != 'GPL')", ""),
        ("has(predicate.a) && predicate.a.b[0] in ['x', 'y'] && size(subject) > 0", ""),
        ("predicate.url.startsWith('https://' + service)", ""),
        ("signer == 'build' && environment == 'production'", ""),
        ("predicate.", "not CEL"),
        ("", "an empty string"),
        ("predicate ==", "not CEL"),
        ("predikate.a", "unknown name `predikate`"),
        ("predicate.a.matches('.*')", "`matches` is not a function that a policy may call"),
        ("timestamp(predicate.a) > timestamp('2020-01-01T00:00:00Z')", "is not a function"),
        ("Message{a: 1}", "makes a message"),
        ("[1].all(x, y == 1)", "unknown name `y`"),
        (
            "predicate.a.all(x, predicate.a.all(y, predicate.a.all(z, predicate.a.all(w, w == x))))",
            "more loops multiply than 3",
        ),
    ] {
        rows(&[(&cel(text), expected)]);
    }
    rows(&[(&cel(&"(".repeat(600)), "is not an expression")]);
    rows(&[(&cel(&format!("{}1{} == [1]", "[".repeat(100), "]".repeat(100))), "is not an expression")]);
    rows(&[(&cel(&format!("1{} == 1", "+1".repeat(400))), "nested deeper than")]);
    rows(&[(&cel(&format!("1 == 1{}", " ".repeat(1000))), "bytes long: expected at most 1000")]);
    let many = "[".repeat(500);
    rows(&[(&cel(&many), "is not an expression")]);
}

#[test]
fn the_rules_are_what_was_written() {
    let policy = policy(
        "{ type = 'test-result', signer = 'staging', after-deployment = 'staging', max-age = '1h' }, \
         { type = 'https://x.example/t', signer = 'build', fields = { '/a' = 1 } }",
    )
    .unwrap();
    let rules = policy.find_environment("production").unwrap().require().attestations();
    assert_eq!(rules.len(), 2);
    assert_eq!(rules[0].signer().as_str(), "staging");
    assert_eq!(rules[0].max_age().unwrap().as_secs(), 3600);
    let AttestationKind::TestResult(tests) = rules[0].kind() else { panic!("{rules:?}") };
    assert_eq!(tests.after_deployment().unwrap().as_str(), "staging");
    assert!(rules[1].kind().is("https://x.example/t"));
    assert!(!rules[1].kind().is("https://x.example/t/v1"));
    // Not even in an entry environment is an attestation of this kind enough by itself.
    let text =
        SAMPLE.replacen("signed-by = \"build\"", "attestations = [{ type = 'spdx', signer = 'build' }]", 1);
    let at = text.find("[environments.staging.require.provenance]").unwrap();
    let end = at + text[at..].find("# Exactly the same bytes").unwrap();
    let shown = validate(&format!("{}{}", &text[..at], &text[end..])).unwrap_err().to_string();
    assert!(shown.contains("requires neither `signed-by` nor `provenance`"), "{shown}");
}
