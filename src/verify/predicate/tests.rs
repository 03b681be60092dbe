use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::digest::Digest;
use crate::verify::{Attestation, Subject};

fn said(predicate_type: &str, predicate: Value) -> Attestation {
    let subjects = vec![Subject { name: None, digest: Digest::of(b"") }];
    Attestation { predicate_type: predicate_type.to_owned(), subjects, predicate }
}

/// Each row: a member of a good predicate, what stands there instead (`null` takes it away), and a part of the error.
fn rows<T: std::fmt::Debug>(
    kind: &str,
    good: &Value,
    read: fn(&Attestation) -> Result<T, PredicateError>,
    rows: &[(&str, Value, &str)],
) {
    read(&said(kind, good.clone())).unwrap();
    for (member, other, expected) in rows {
        let mut wrong = good.clone();
        let (parent, name) = member.rsplit_once('/').unwrap();
        let parent = wrong.pointer_mut(parent).unwrap();
        match (other, parent) {
            (Value::Null, Value::Object(object)) => _ = object.remove(name),
            (other, Value::Object(object)) => _ = object.insert(name.to_owned(), other.clone()),
            (other, parent) => *parent.get_mut(name.parse::<usize>().unwrap()).unwrap() = other.clone(),
        }
        let error = read(&said(kind, wrong)).unwrap_err();
        assert!(error.to_string().contains(expected), "{member}: {error}, expected {expected:?}");
        assert!(error.code().starts_with("predicate-"));
    }
    assert!(matches!(read(&said("https://x", good.clone())), Err(PredicateError::PredicateType { .. })));
}

#[test]
fn a_version_is_behind_its_kind() {
    for (text, base, good) in [
        ("https://cyclonedx.org/bom", CYCLONEDX, true),
        ("https://cyclonedx.org/bom/v1.4", CYCLONEDX, true),
        ("https://cyclonedx.org/bomb", CYCLONEDX, false),
        ("https://cyclonedx.org/bom/", CYCLONEDX, false),
        ("https://cyclonedx.org/bom/v", CYCLONEDX, false),
        ("https://cyclonedx.org/bom/v1.4/x", CYCLONEDX, false),
        ("https://spdx.dev/Document/v3", SPDX, true),
        ("https://openvex.dev/ns/v0.2.0", OPENVEX, true),
    ] {
        assert_eq!(is_version_of(text, base), good, "{text}");
    }
}

#[test]
fn test_results() {
    let good = json!({
        "result": "PASSED",
        "configuration": [{ "name": "ci.yml", "digest": { "gitBlob": "e", "sha256": "0".repeat(64) } }],
        "passedTests": ["smoke"],
        "warnedTests": [],
    });
    let read = TestResult::read(&said(TEST_RESULT, good.clone())).unwrap();
    assert_eq!(read.outcome, TestOutcome::Passed);
    assert_eq!(read.passed, ["smoke"]);
    assert_eq!(read.configuration[0].name.as_deref(), Some("ci.yml"));
    rows(
        TEST_RESULT,
        &good,
        TestResult::read,
        &[
            ("/result", json!(null), "`/result` is missing"),
            ("/result", json!("passed"), "`/result` is `passed`: expected PASSED, WARNED or FAILED"),
            ("/result", json!(true), "expected a string that is not empty, found true or false"),
            ("/configuration", json!(null), "`/configuration` is missing"),
            ("/configuration", json!({}), "expected an array, found an object"),
            ("/configuration/0", json!("ci.yml"), "`/configuration/0`: expected an object"),
            ("/configuration/0/digest/sha256", json!("ABC"), "64 lowercase hexadecimal digits"),
            ("/passedTests", json!([1]), "`/passedTests/0`: expected a string"),
            ("/warnedTests", json!("x"), "`/warnedTests`: expected an array"),
        ],
    );
}

#[test]
fn bills_of_materials() {
    let spdx = json!({
        "SPDXID": "SPDXRef-DOCUMENT", "spdxVersion": "SPDX-2.3",
        "creationInfo": { "created": "2030-03-01T08:00:00Z" },
    });
    let read = Sbom::read(&said(SPDX, spdx.clone())).unwrap();
    assert_eq!((read.format, read.version.as_str()), (Format::Spdx, "2.3"));
    rows(
        "https://spdx.dev/Document/v2.3",
        &spdx,
        Sbom::read,
        &[
            ("/SPDXID", json!(null), "`/SPDXID` is missing"),
            ("/spdxVersion", json!("SPDX-2.2"), "expected version 2.3 as the predicate type says"),
            ("/spdxVersion", json!("SPDX-3.0"), "expected `SPDX-2.…`"),
            ("/creationInfo/created", json!("yesterday"), "expected a time (RFC 3339)"),
            ("/creationInfo", json!(null), "`/creationInfo` is missing"),
        ],
    );
    let spdx = json!({
        "@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld",
        "@graph": [
            { "type": "CreationInfo", "created": "2030-03-01T08:00:00Z" },
            { "type": "CreationInfo", "created": "2030-02-01T08:00:00Z" },
            { "type": "software_Package" },
        ],
    });
    let read = Sbom::read(&said("https://spdx.dev/Document/v3", spdx.clone())).unwrap();
    assert_eq!(read.created, Some("2030-02-01T08:00:00Z".parse().unwrap()), "the earliest");
    rows(
        "https://spdx.dev/Document/v3",
        &spdx,
        Sbom::read,
        &[
            ("/@context", json!("https://spdx.org/rdf/2.3/spdx-context.jsonld"), "rdf/3."),
            ("/@graph", json!([]), "an array that is not empty"),
            ("/@graph/2", json!({}), "`/@graph/2/type` is missing"),
        ],
    );
    let cyclonedx = json!({ "bomFormat": "CycloneDX", "specVersion": "1.5" });
    assert_eq!(Sbom::read(&said(CYCLONEDX, cyclonedx.clone())).unwrap().created, None);
    rows(
        "https://cyclonedx.org/bom/v1.5",
        &cyclonedx,
        Sbom::read,
        &[
            ("/bomFormat", json!("SPDX"), "expected `CycloneDX`"),
            ("/specVersion", json!("1.50"), "expected version 1.5"),
            ("/specVersion", json!("15"), "expected `1.…`"),
            ("/metadata", json!({ "timestamp": 7 }), "`/metadata/timestamp`: expected a string"),
        ],
    );
}

#[test]
fn findings_and_their_worst_severity() {
    let good = json!({
        "scanner": { "uri": "pkg:x", "result": [{ "id": "CVE-1", "severity": [
            { "method": "nvd", "score": "medium" }, { "method": "cvss_score", "score": "7.2" },
        ] }] },
        "metadata": { "scanFinishedOn": "2030-03-01T08:00:00Z" },
    });
    let severity = |scores: Value| {
        let mut scan = good.clone();
        scan["scanner"]["result"][0]["severity"] = scores;
        let vulns = Vulns::read(&said(VULNS_V0_2, scan)).unwrap();
        (vulns.findings[0].severity, vulns.findings[0].unclear)
    };
    let one = |method: &str, score: &str| severity(json!([{ "method": method, "score": score }]));
    assert_eq!(severity(good["scanner"]["result"][0]["severity"].clone()), (Some(Severity::High), false));
    assert_eq!(severity(json!({ "method": "nvd", "score": "low" })), (Some(Severity::Low), false));
    assert_eq!(one("cvss_v3", "9.0"), (Some(Severity::Critical), false));
    assert_eq!(one("cvss_v3", "0.0"), (Some(Severity::None), false));
    assert_eq!(one("nvd", "CRITICAL"), (Some(Severity::Critical), false));
    for (method, score) in
        [("cvss", "10.1"), ("cvss", "-1"), ("cvss", "NaN"), ("x", "severe"), ("epss", "0.9")]
    {
        assert_eq!(one(method, score), (None, true), "{method} {score}");
    }
    assert_eq!(severity(json!([])), (None, true));
    let both =
        json!([{ "method": "nvd", "score": "low" }, { "method": "cvss_v4", "score": "CVSS:4.0/AV:N" }]);
    assert_eq!(severity(both), (Some(Severity::Low), true), "what cannot be read may be worse");
    let both = json!([{ "method": "nvd", "score": "low" }, { "method": "epss", "score": "0.97" }]);
    assert_eq!(severity(both), (Some(Severity::Low), false), "a probability is no severity");
    rows(
        VULNS_V0_2,
        &good,
        Vulns::read,
        &[
            ("/scanner", json!(null), "`/scanner` is missing"),
            ("/scanner/uri", json!(null), "`/scanner/uri` is missing"),
            ("/scanner/result", json!(null), "`/scanner/result` is missing"),
            ("/scanner/result", json!({}), "expected an array"),
            ("/scanner/result/0/id", json!(null), "`/scanner/result/0/id` is missing"),
            ("/scanner/result/0/severity", json!(null), "severity` is missing"),
            ("/scanner/result/0/severity/0/score", json!(9.8), "expected a string"),
            ("/metadata/scanFinishedOn", json!(null), "`/metadata/scanFinishedOn` is missing"),
        ],
    );
    // v0.1: nested or flat, not both.
    let mut nested = good.clone();
    nested["scanner"]["result"][0] = json!({ "vulnerability": good["scanner"]["result"][0] });
    assert_eq!(Vulns::read(&said(VULNS_V0_1, nested.clone())).unwrap().findings[0].id, "CVE-1");
    assert!(Vulns::read(&said(VULNS_V0_2, nested.clone())).is_err());
    nested["scanner"]["result"][0]["id"] = json!("CVE-2");
    let error = Vulns::read(&said(VULNS_V0_1, nested)).unwrap_err();
    assert!(matches!(error, PredicateError::Contradiction { .. }), "{error}");
}

#[test]
fn vex_by_the_newest_statement() {
    let (subject, root, other) = (Digest::of(b"amd64"), Digest::of(b"index"), Digest::of(b"other"));
    let statement = |status: &str, time: &str, product: Value| {
        json!({
            "vulnerability": { "name": "CVE-1", "aliases": ["GHSA-1"] }, "products": [product], "status": status,
            "justification": "component_not_present", "timestamp": time,
        })
    };
    let purl = |digest: Digest| json!({ "@id": format!("pkg:oci/shop@sha256%3A{}?tag=1", digest.hex()) });
    let document = |statements: Value| {
        json!({
            "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://x/1", "author": "Ana",
            "timestamp": "2030-03-01T08:00:00Z", "version": 1, "statements": statements,
        })
    };
    let clears = |statements: Value, name: &str| {
        Vex::read(&said(OPENVEX, document(statements))).unwrap().clears(name, subject, root)
    };
    let (early, late) = ("2030-03-01T08:00:00Z", "2030-03-02T08:00:00Z");
    let no_harm = |time: &str| statement("not_affected", time, purl(subject));
    assert!(clears(json!([no_harm(early)]), "CVE-1"));
    assert!(clears(json!([no_harm(early)]), "GHSA-1"));
    assert!(!clears(json!([no_harm(early)]), "CVE-2"));
    assert!(clears(json!([statement("not_affected", early, purl(root))]), "CVE-1"));
    assert!(!clears(json!([statement("not_affected", early, purl(other))]), "CVE-1"));
    assert!(!clears(
        json!([statement("not_affected", early, json!({ "@id": "pkg:oci/shop@1.0" }))]),
        "CVE-1"
    ));
    let hashed = json!({ "@id": "pkg:oci/shop", "hashes": { "sha-256": subject.hex() } });
    assert!(clears(json!([statement("not_affected", early, hashed)]), "CVE-1"));
    for status in ["affected", "under_investigation", "fixed"] {
        let says = |time: &str| statement(status, time, purl(subject));
        assert!(!clears(json!([says(early)]), "CVE-1"), "{status}");
        assert!(!clears(json!([says(late), no_harm(early)]), "CVE-1"), "{status}");
        assert!(!clears(json!([no_harm(early), says(early)]), "CVE-1"), "{status}");
        assert!(clears(json!([no_harm(late), says(early)]), "CVE-1"), "{status}");
    }
    // A statement about one component takes back nothing that was said of another, or of all of it: a scan tells only
    // that something was found.
    let within = |status: &str, time: &str, parts: &[&str]| {
        let mut product = purl(subject);
        product["subcomponents"] = parts.iter().map(|part| json!({ "@id": part })).collect();
        statement(status, time, product)
    };
    for about in [&["pkg:a/other"][..], &["pkg:a/lib", "pkg:a/other"], &[]] {
        let said = [within("affected", early, about), within("not_affected", late, &["pkg:a/lib"])];
        assert!(!clears(json!(said), "CVE-1"), "{about:?}");
    }
    let affected = within("affected", early, &["pkg:a/lib"]);
    for about in [&["pkg:a/lib"][..], &["pkg:a/lib", "pkg:a/other"], &[]] {
        let said = [affected.clone(), within("not_affected", late, about)];
        assert!(clears(json!(said), "CVE-1"), "{about:?}");
    }
    assert!(!clears(json!([no_harm(early), within("affected", late, &["pkg:a/lib"])]), "CVE-1"));
    // No product: the subjects. Prose alone: no justification.
    let mut bare = no_harm(early);
    bare.as_object_mut().unwrap().remove("products");
    assert!(clears(json!([bare]), "CVE-1"));
    bare.as_object_mut().unwrap().remove("justification");
    bare["impact_statement"] = json!("trust me");
    assert!(!clears(json!([bare]), "CVE-1"));
    rows(
        "https://openvex.dev/ns/v0.2.0",
        &document(json!([no_harm(early)])),
        Vex::read,
        &[
            ("/@context", json!("https://x"), "expected `https://openvex.dev/ns`"),
            ("/author", json!(null), "`/author` is missing"),
            ("/timestamp", json!(null), "`/timestamp` is missing"),
            ("/statements", json!(null), "`/statements` is missing"),
            ("/statements/0/vulnerability", json!("CVE-1"), "expected an object, found a string"),
            ("/statements/0/vulnerability/name", json!(null), "name` is missing"),
            ("/statements/0/status", json!("harmless"), "is `harmless`: expected not_affected, affected"),
            ("/statements/0/justification", json!("because"), "component_not_present"),
            ("/statements/0/justification", json!(null), "`/statements/0/impact_statement` is missing"),
            ("/statements/0/timestamp", json!("x"), "expected a time"),
        ],
    );
}

#[test]
fn verdicts_of_others() {
    let good = json!({
        "verifier": { "id": "https://v.example" }, "timeVerified": "2030-03-01T08:00:00Z",
        "resourceUri": "registry.example/shop", "policy": { "uri": "https://p.example" },
        "verificationResult": "PASSED", "verifiedLevels": ["SLSA_BUILD_LEVEL_3", "ACME_SCANNED"],
    });
    rows(
        VSA,
        &good,
        Vsa::read,
        &[
            ("/verifier/id", json!(null), "`/verifier/id` is missing"),
            ("/timeVerified", json!("now"), "expected a time"),
            ("/resourceUri", json!(""), "found an empty string"),
            ("/policy", json!(null), "`/policy` is missing"),
            ("/policy/uri", json!(null), "`/policy/uri` is missing"),
            ("/verificationResult", json!("passed"), "expected PASSED or FAILED"),
            ("/verifiedLevels", json!(null), "`/verifiedLevels` is missing"),
            ("/verifiedLevels", json!(["SLSA_BUILD_LEVEL_X"]), "SLSA_<TRACK>_LEVEL_<n>"),
            ("/verifiedLevels", json!(["SLSA_BUILD_LEVEL_1", "SLSA_BUILD_LEVEL_3"]), "contradict each other"),
            ("/verifiedLevels", json!(["FAILED"]), "contradict each other"),
        ],
    );
    let level = |text: &str| Level::parse(text).unwrap();
    assert!(level("SLSA_BUILD_LEVEL_3").implies(&level("SLSA_BUILD_LEVEL_2")));
    assert!(!level("SLSA_BUILD_LEVEL_2").implies(&level("SLSA_BUILD_LEVEL_3")));
    assert!(!level("SLSA_SOURCE_LEVEL_3").implies(&level("SLSA_BUILD_LEVEL_1")));
    assert!(level("ACME").implies(&level("ACME")));
    assert!(!level("ACME_2").implies(&level("ACME")));
    let good = json!({
        "verifier": { "id": "https://v.example" }, "timeCreated": "2030-03-01T08:00:00Z", "properties": ["A"],
    });
    rows(
        SVR,
        &good,
        Svr::read,
        &[
            ("/verifier", json!("https://v.example"), "expected an object"),
            ("/timeCreated", json!(null), "`/timeCreated` is missing"),
            ("/properties", json!([""]), "found an empty string"),
        ],
    );
}

/// Every predicate with one value of the good ones replaced by another.
fn shaken() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        Just(json!("")),
        Just(json!("é")),
        Just(json!(1e300)),
        Just(json!([])),
        Just(json!({})),
        Just(json!("2030-03-01T08:00:00Z")),
        Just(json!("PASSED")),
        Just(json!("pkg:oci/a@sha256:")),
    ];
    let key = prop::sample::select(vec![
        "result",
        "configuration",
        "digest",
        "sha256",
        "spdxVersion",
        "@context",
        "@graph",
        "type",
        "scanner",
        "uri",
        "severity",
        "id",
        "method",
        "score",
        "metadata",
        "statements",
        "vulnerability",
        "name",
        "products",
        "status",
        "verifier",
        "verifiedLevels",
        "policy",
        "bomFormat",
        "specVersion",
        "timestamp",
    ]);
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..8)
                .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn arbitrary_predicates_never_panic(predicate in shaken()) {
        for kind in [TEST_RESULT, SPDX, "https://spdx.dev/Document/v3", CYCLONEDX, VULNS_V0_1, VULNS_V0_2, OPENVEX, VSA, SVR] {
            let said = said(kind, predicate.clone());
            let _ = (TestResult::read(&said), Sbom::read(&said), Vulns::read(&said));
            let _ = (Vex::read(&said), Vsa::read(&said), Svr::read(&said));
        }
    }
}
