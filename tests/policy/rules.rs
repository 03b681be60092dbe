//! Every rule of the format: what is refused, beside something like it that is not.

use super::{SAMPLE, keys, validate};

use proptest::prelude::*;
use samebits::key::{Algorithm, PrivateKey};
use samebits::policy::{Draft, EvidenceClass, Excluded, Home, RefRule};
use samebits::reference::Repository;
use samebits::verify::{Identity, RootName};

/// The sample with one piece replaced, which must be there.
fn with(piece: &str, other: &str) -> String {
    assert!(SAMPLE.contains(piece), "the sample has no {piece:?}");
    SAMPLE.replacen(piece, other, 1)
}

/// Each row: a piece of the sample, what stands there instead, and a part of the error; "" when it is a yes.
fn rows(rows: &[(&str, &str, &str)]) {
    for (piece, other, expected) in rows {
        match (validate(&with(piece, other)), expected.is_empty()) {
            (Ok(_), true) => {}
            (Ok(_), false) => panic!("{other:?} was accepted, expected: {expected}"),
            (Err(errors), true) => panic!("{other:?} was refused:\n{errors}"),
            (Err(errors), false) => {
                let shown = errors.to_string();
                assert!(shown.contains(expected), "{other:?}: expected {expected:?} in\n{shown}");
            }
        }
    }
}

#[test]
fn the_version_is_one() {
    rows(&[
        ("version = 1", "version = 2", "policy version 2"),
        ("version = 1", "version = \"1\"", "expected a whole number, found a string"),
        ("version = 1\n", "", "`version` is missing"),
        ("version = 1", "version = 0x1", ""),
    ]);
}

#[test]
fn unknown_keys_are_refused_with_the_nearest() {
    rows(&[
        ("promoters  =", "promotors  =", "did you mean `promoters`?"),
        ("[ledger]", "[legder]", "did you mean `ledger`?"),
        ("url      =", "uri =", "did you mean `url`?"),
        ("tag        = \"staging\"", "colour = 1", "unknown key `colour`"),
        ("builder = ", "bilder = ", "did you mean `builder`?"),
        ("for-at-least", "for_at_least", "did you mean `for-at-least`?"),
        ("not-from", "not_from", "did you mean `not-from`?"),
        ("platforms  =", "platform =", "did you mean `platforms`?"),
        (
            "public-key = \"keys/staging.pub\"",
            "public_key = \"keys/staging.pub\"",
            "did you mean `public-key`?",
        ),
        ("tag        = \"staging\"\n", "", ""),
    ]);
}

#[test]
fn e12_an_empty_text_is_an_unset_variable() {
    for (piece, other) in [
        ("\"sqlite:.samebits/ledger.db\"", "\"\""),
        ("\"registry.example/shop\"", "\"\""),
        ("\"keys/staging.pub\"", "''"),
        ("tag        = \"staging\"", "tag = \" \""),
        ("\"https://github.com/acme/{service}\"", "\"\""),
        ("signed-by = \"build\"", "signed-by = \"\""),
        ("signed-by = \"build\"", "signed-by = [\"build\", \"\"]"),
        ("promoters  = [\"release\"]", "promoters = [\"\"]"),
        ("\"1h\"", "\"\""),
    ] {
        let shown = validate(&with(piece, other)).unwrap_err().to_string();
        assert!(shown.contains("an unset variable?"), "{other}: {shown}");
    }
}

#[test]
fn e13_a_permit_is_good_for_a_minute_to_a_day() {
    let tag = "tag        = \"production\"";
    let row = |time: &str| format!("{tag}\npermit-for = {time}");
    for wrong in ["\"59s\"", "\"24h1s\"", "\"2d\"", "\"3650d\""] {
        let shown = validate(&with(tag, &row(wrong))).unwrap_err().to_string();
        assert!(
            shown.contains("a permit that is good for") && shown.contains("expected `1m` to `24h`"),
            "{shown}"
        );
        assert!(shown.contains(&format!("permit-for = {wrong}")), "the line: {shown}");
    }
    for wrong in ["\"1\"", "\"0s\"", "\"-1h\"", "\"\"", "\" \"", "\"forever\"", "3600", "true"] {
        assert!(validate(&with(tag, &row(wrong))).is_err(), "{wrong}");
    }
    let seconds = |text: &str| {
        let policy = validate(text).unwrap();
        policy.find_environment("production").unwrap().permit_for().as_secs()
    };
    assert_eq!(seconds(SAMPLE), 3600);
    for (time, expected) in [("1m", 60), ("60s", 60), ("24h", 86_400), ("1d", 86_400), ("1h30m", 5400)] {
        assert_eq!(seconds(&with(tag, &row(&format!("\"{time}\"")))), expected);
    }
}

#[test]
fn c4_names_are_a_closed_set() {
    rows(&[
        ("[services.shop]", "[services.Shop]", "is not a service name"),
        ("[services.shop]", "[services.\"shop \"]", "`shop ` is not a service name"),
        ("[services.shop]", "[services.\"sh\u{43e}p\"]", "`sh\\u{43e}p` is not a service name"),
        ("[services.shop]", "[services.\"../shop\"]", "is not a service name"),
        ("[services.shop]", "[services.shop-2]", ""),
        ("deployers  = [\"staging\"]", "deployers = [\"stagin\"]", "did you mean `staging`?"),
        ("environment = \"staging\"", "environment = \"Staging\"", "did you mean `staging`?"),
        ("signer  = \"build\"", "signer = \"nobody\"", "unknown signer `nobody`"),
    ]);
    let policy = validate(SAMPLE).unwrap();
    assert_eq!(policy.find_environment("production").unwrap().name().as_str(), "production");
    for wrong in ["Production", "production ", "pr\u{43e}duction", "prodution", ""] {
        let unknown = policy.find_environment(wrong).unwrap_err();
        assert_eq!(unknown.known, ["production", "staging"], "{wrong:?}");
        assert_eq!(unknown.nearest.is_some(), !wrong.is_empty(), "{wrong:?}");
    }
    assert!(policy.find_service("shop").is_ok());
    assert_eq!(policy.find_service("Shop").unwrap_err().nearest.as_deref(), Some("shop"));
}

#[test]
fn an_environment_is_the_entry_or_comes_after_another() {
    let after =
        "after      = [{ environment = \"staging\", for-at-least = \"1h\", evidence = \"observed\" }]";
    rows(&[
        ("entry      = true\n", "", "neither `entry = true` nor `after`"),
        ("entry      = true", "entry = false", "`entry = false` says nothing"),
        (
            "entry      = true",
            "entry = true\nafter = [{ environment = \"production\" }]",
            "both `entry` and `after`",
        ),
        ("entry      = true", "entry = \"yes\"", "expected `true` or `false`, found a string"),
        (after, "after = []", "an empty list"),
        (after, "after = [\"staging\"]", "expected a table, as in `{ environment = \"staging\" }`"),
        (after, "after = [{ any-of = [] }]", "an empty list"),
        (after, "after = [{ environment = \"production\" }]", "comes after itself"),
        (after, "after = [{ environment = \"staging\" }, { environment = \"staging\" }]", "twice"),
        (
            after,
            "after = [{ any-of = [{ environment = \"staging\" }], environment = \"staging\" }]",
            "unknown key",
        ),
        (after, "after = [{ for-at-least = \"1h\" }]", "`environment` is missing"),
        (after, "after = [{ any-of = [{ environment = \"staging\" }] }]", ""),
        (after, "after = [{ environment = \"staging\" }]", ""),
        (
            "entry      = true",
            "after = [{ environment = \"production\" }]",
            "no environment has `entry = true`",
        ),
        (
            "entry      = true",
            "after = [{ environment = \"production\" }]",
            "environments in a circle: staging -> production -> staging",
        ),
    ]);
}

#[test]
fn the_entry_is_guarded_by_the_builds_evidence() {
    let (require, rest) =
        (SAMPLE.find("[environments.staging.require]").unwrap(), SAMPLE.find("# Exactly the").unwrap());
    let without = format!("{}{}", &SAMPLE[..require], &SAMPLE[rest..]);
    assert!(validate(&without).unwrap_err().to_string().contains("requires neither"));
    rows(&[
        ("signed-by = \"build\"", "", ""),
        ("signed-by = \"build\"", "signed-by = [\"build\", \"staging\"]", ""),
        ("signed-by = \"build\"", "signed-by = []", "an empty list"),
        ("ref     = \"refs/heads/main\"", "ref = \"any\"\nwarn-until = 2026-12-31", ""),
    ]);
    let warns =
        with("signed-by = \"build\"", "").replace("# or a list, or \"any\"", "\nwarn-until = 2026-12-31");
    assert!(validate(&warns).unwrap_err().to_string().contains("requires only what is not enforced yet"));
}

#[test]
fn b6_a_signer_is_one_exact_identity() {
    let id = "identity = \"https://github.com/acme/{service}/.github/workflows/build.yml@refs/heads/main\"";
    let key = "public-key = \"keys/staging.pub\"";
    rows(&[
        (id, "identity = \"https://github.com/acme/*\"", "patterns are not in this version"),
        (id, "identity = \"https://github.com/acme/.+\"", "patterns are not in this version"),
        (id, "identity = \"^https://github.com/acme/x$\"", "patterns are not in this version"),
        (id, "identity = \"https://github.com/acme/{repo}/x\"", "`{service}` is the only placeholder"),
        (id, "identity = \"https://github.com/acme/{service\"", "without its other half"),
        (id, "identity = \"build@acme.example\"", ""),
        (id, "", "`identity` is missing"),
        ("issuer   = \"https://token", "issuer = \"http://token", "is not an issuer"),
        ("issuer   = \"https://token", "issuer = \"https://u@token", "is not an issuer"),
        ("issuer   = \"https://token.actions", "issuer = \"https://{service}.actions", "is not an issuer"),
        (key, "", "none of them is here"),
        (
            key,
            "public-key = \"keys/staging.pub\"\nissuer = \"https://x.example\"",
            "found `public-key`, `issuer`",
        ),
        (key, "public-key = \"keys/staging.pub\"\nany-of = []", "found `public-key`, `any-of`"),
        (key, "any-of = []", "an empty list"),
        (key, "any-of = [{ any-of = [] }]", "exactly one of"),
        (
            key,
            "any-of = [{ public-key = \"keys/staging.pub\" }, { public-key = \"keys/staging-again.pub\" }]",
            "twice",
        ),
        (
            key,
            "any-of = [{ public-key = \"keys/staging.pub\" }, { issuer = \"https://x.example\", identity = \"y\" }]",
            "",
        ),
    ]);
}

#[test]
fn f7_key_files_are_in_the_policys_folder_and_hold_a_key() {
    rows(&[
        ("\"keys/staging.pub\"", "\"keys/absent.pub\"", "could not be read"),
        ("\"keys/staging.pub\"", "\"keys/broken.pub\"", "holds no usable public key"),
        ("\"keys/staging.pub\"", "\"../keys/staging.pub\"", "is not a path of a key file"),
        ("\"keys/staging.pub\"", "\"/keys/staging.pub\"", "is not a path of a key file"),
        ("\"keys/staging.pub\"", "'keys\\staging.pub'", "is not a path of a key file"),
        ("\"keys/staging.pub\"", "\"keys/staging.pub\\u0000\"", "is not a path of a key file"),
        ("\"keys/staging.pub\"", "\"keys/staging-again.pub\"", ""),
        (".samebits/ledger.key", "a\\nb", "is not a file name"),
        (".samebits/ledger.key", "/run/secrets/ledger.key", ""),
    ]);
}

#[test]
fn e5_deployers_and_the_next_promoters_are_different_identities() {
    let key = "public-key = \"keys/staging.pub\"";
    let promoters = "tag        = \"production\"\npromoters  = [\"release\"]";
    let may = "may both report deployments in `staging`";
    rows(&[
        // By name; by key under two names and in two files; by a key among several.
        (promoters, "promoters = [\"release\", \"staging\"]", may),
        (promoters, "promoters = [\"staging\"]\nsame-identity-accepted = \"one team of one\"", ""),
        (promoters, "promoters = [\"release\"]\nsame-identity-accepted = \"no reason\"", "accepts nothing"),
        (promoters, "promoters = [\"release\"]\nsame-identity-accepted = \"\"", "an unset variable?"),
        (key, "public-key = \"keys/release.pub\"", may),
        (key, "any-of = [{ public-key = \"keys/staging.pub\" }, { public-key = \"keys/release.pub\" }]", may),
        ("entry      = true", "entry = true\nsame-identity-accepted = \"x\"", "accepts nothing"),
        // The deployers of production come after its own promoters: no later promotion depends on them.
        ("deployers  = [\"production\"]", "deployers = [\"release\"]", ""),
    ]);
    let twin = with("\"keys/release.pub\"", "\"keys/staging-again.pub\"");
    assert!(validate(&twin).unwrap_err().to_string().contains(may));
    // A template and a text that are the same for one service only.
    let one = with(key, "issuer = \"https://x.example\"\nidentity = \"https://x.example/{service}\"");
    let clash = |other: &str| {
        one.replace(
            "public-key = \"keys/release.pub\"",
            &format!("issuer = \"https://x.example\"\nidentity = \"{other}\""),
        )
    };
    assert!(validate(&clash("https://x.example/shop")).unwrap_err().to_string().contains(may));
    assert!(validate(&clash("https://x.example/{service}")).unwrap_err().to_string().contains(may));
    assert!(validate(&clash("https://x.example/other")).is_ok());
}

#[test]
fn repositories_have_one_role_each() {
    let prod = "\"registry.example/prod/{service}\"";
    rows(&[
        (prod, "\"registry.example/prod\"", "does not name the service, and there are 2 services"),
        (prod, "\"registry.example/{service}\"", "is the repository of service"),
        (prod, "\"registry.example/staging/{service}\"", "is the repository of service"),
        (prod, "\"registry.example:443/staging/{service}\"", "is the repository of service"),
        (prod, "\"registry.example/{env}/{service}\"", "`{service}` is the only placeholder"),
        (prod, "\"registry.example/prod/{service}:latest\"", "not a repository"),
        (prod, "\"prod/{service}\"", "not a repository"),
        (prod, "\"oci:out/./prod/{service}\"", ""),
        ("\"registry.example/basket\"", "\"registry.example/shop\"", "is the repository of service"),
        ("\"registry.example/basket\"", "\"registry.example/staging/shop\"", "is the repository of service"),
        ("\"registry.example/basket\"", "\"other.example/shop\"", ""),
    ]);
    let one = with("[services.basket]\nrepository = \"registry.example/basket\"\n", "")
        .replace("registry.example/prod/{service}", "registry.example/prod");
    assert!(validate(&one).is_ok());
}

#[test]
fn requirements_are_strict() {
    let approvals = "count = 2, from = [\"release-managers\"], not-from = [\"requester\", \"builder\"], warn-until = 2026-12-31";
    let manager = "from = [\"release-managers\"]";
    rows(&[
        (approvals, &format!("count = 0, {manager}"), "0 approvals"),
        (approvals, &format!("count = -1, {manager}"), "-1 approvals"),
        (approvals, &format!("count = 4294967296, {manager}"), "4294967296 approvals"),
        (approvals, &format!("count = 3, {manager}"), "3 approvals can never come from 2 identities"),
        (approvals, "count = 3, from = [\"release-managers\", \"staging\"]", ""),
        (approvals, "count = 1, from = []", "an empty list"),
        (
            approvals,
            &format!("count = 1, {manager}, not-from = [\"requestor\"]"),
            "did you mean `requester`?",
        ),
        (approvals, &format!("count = 1, {manager}, not-from = []"), ""),
        (approvals, &format!("count = 1, {manager}"), ""),
        (approvals, "from = [\"release-managers\"]", "`count` is missing"),
        ("warn-until = 2026-12-31", "warn-until = \"2026-12-31\"", "expected a date without quotation marks"),
        (
            "warn-until = 2026-12-31",
            "warn-until = 2026-12-31T00:00:00Z",
            "expected a date without quotation marks",
        ),
        ("warn-until = 2026-12-31", "warn-until = 2026-02-30", "not valid TOML"),
        ("\"refs/heads/main\" #", "\"any\" #", ""),
        ("\"refs/heads/main\" #", "[\"refs/heads/main\", \"refs/tags/v1\"] #", ""),
        ("\"refs/heads/main\" #", "[\"refs/heads/main\", \"any\"] #", "`any` in a list of refs"),
        ("\"refs/heads/main\" #", "\"refs/heads/*\" #", "patterns are not in this version"),
        ("\"refs/heads/main\" #", "\"refs/heads/{service}\" #", "`{service}` has no place here"),
        ("\"refs/heads/main\" #", "[] #", "an empty list"),
        ("ref     = \"refs/heads/main\"", "", "`ref` is missing"),
        ("\"1h\"", "\"0s\"", "no time at all"),
        ("\"1h\"", "\"1 hour\"", "longest first"),
        ("\"1h\"", "3600", "expected a string, found a whole number"),
        ("\"1h\"", "\"1h30m\"", ""),
        ("\"observed\"", "\"seen\"", "expected one of `asserted`, `observed`"),
        ("\"observed\"", "\"asserted\"", ""),
        ("promoters  = [\"release\"]", "promoters = []", "an empty list"),
        ("promoters  = [\"release\"]", "promoters = \"release\"", "expected a list, found a string"),
        ("promoters  = [\"release\"]", "", "`promoters` is missing"),
        ("deployers  = [\"staging\"]", "", "`deployers` is missing"),
        ("promoters  = [\"release\"]", "promoters = [\"release\", \"release\"]", "twice"),
        ("tag        = \"staging\"", "tag = \"-x\"", "not a tag"),
        ("\"linux/arm64\"", "\"linux\"", "not a platform"),
        ("\"linux/arm64\"", "\"linux/amd64\"", "twice"),
        ("[\"linux/amd64\", \"linux/arm64\"]", "[]", "an empty list"),
    ]);
}

#[test]
fn a_policy_has_at_least_one_of_everything() {
    for kind in ["services", "environments", "signers"] {
        let tables: String = SAMPLE
            .split_inclusive('\n')
            .scan(true, |keep, line| {
                if line.starts_with('[') {
                    *keep = !line.starts_with(&format!("[{kind}."));
                }
                Some(if *keep { line } else { "" })
            })
            .collect();
        let shown = validate(&tables).unwrap_err().to_string();
        assert!(shown.contains(&format!("`{kind}` is missing")), "{shown}");
        let shown = validate(&tables.replacen("version = 1", &format!("version = 1\n{kind} = {{}}"), 1));
        assert!(shown.unwrap_err().to_string().contains("the policy has no"), "{kind}");
    }
}

#[test]
fn f6_plain_http_is_said_of_one_host() {
    let add = |text: &str| format!("{SAMPLE}\n{text}");
    let policy = validate(&add("[registries.\"registry.example\"]\nplain-http = true")).unwrap();
    assert_eq!(policy.plain_http_hosts().into_iter().collect::<Vec<_>>(), ["registry.example"]);
    assert!(policy.warnings().iter().any(|warning| warning.to_string().contains("without TLS")));
    assert!(validate(SAMPLE).unwrap().plain_http_hosts().is_empty());
    assert!(
        validate(&add("[registries.\"registry.example\"]\nca = \"ca.pem\"\ntoken-host = \"auth.example\""))
            .is_ok()
    );
    for (wrong, expected) in [
        ("[registries.\"*\"]\nplain-http = true", "is not a registry host"),
        ("[registries.\"https://x.example\"]\nplain-http = true", "is not a registry host"),
        ("[registries.\"x.example\"]", "nothing is said"),
        ("[registries.\"x.example\"]\nplain-http = true\nca = \"ca.pem\"", "no meaning"),
        ("[registries.\"x.example\"]\ninsecure = true", "unknown key `insecure`"),
        ("[registries.\"x.example\"]\ntoken-host = \"https://x\"", "is not a registry host"),
    ] {
        let shown = validate(&add(wrong)).unwrap_err().to_string();
        assert!(shown.contains(expected), "{wrong}: {shown}");
    }
}

#[test]
fn the_ledger_names_its_log() {
    rows(&[
        ("sqlite:.samebits", "nowhere", "is not a ledger URL"),
        (
            "origin   = \"acme.example/promotions\"",
            "origin = \"acme.example/other\"",
            "the origin is `acme.example/other`",
        ),
        ("origin   = \"acme.example/promotions\"", "origin = \"acme example\"", "is not a log origin"),
        ("verifier = \"acme", "verifier = \"bcme", "is not the verifier key of a log"),
        ("verifier =", "verifer =", "did you mean `verifier`?"),
        ("signing-key = \".samebits/ledger.key\"", "", ""),
        (
            "signing-key =",
            "record-url = \"http://a.example/{index}\"\nsigning-key =",
            "is not where a record can be read",
        ),
        ("signing-key =", "record-url = \"\"\nsigning-key =", "an empty string"),
        ("signing-key =", "record-urls = \"\"\nsigning-key =", "did you mean `record-url`?"),
        ("signing-key =", "record-url = \"https://a.example/{index}\"\nsigning-key =", ""),
    ]);
}

#[test]
fn the_policy_says_what_the_file_says() {
    let policy = validate(SAMPLE).unwrap();
    assert_eq!(policy.digest(), samebits::digest::Digest::of(SAMPLE.as_bytes()));
    let production = policy.find_environment("production").unwrap();
    assert!(!production.entry());
    let before = &production.after()[0].any_of()[0];
    assert_eq!(before.for_at_least().as_secs(), 3600);
    assert_eq!(before.evidence(), EvidenceClass::Observed);
    let rule = production.require().approvals().unwrap();
    assert_eq!((rule.count(), rule.not_from().len()), (2, 2));
    assert_eq!(rule.warn_until(), Some(jiff::civil::date(2026, 12, 31)));
    let staging = policy.find_environment("staging").unwrap();
    assert_eq!(
        *staging.require().provenance().unwrap().reference(),
        RefRule::Exactly(vec!["refs/heads/main".to_owned()])
    );
    // What is not said about approvals is the strict reading (E5).
    let silent = validate(&with(", not-from = [\"requester\", \"builder\"]", "")).unwrap();
    let excluded =
        silent.find_environment("production").unwrap().require().approvals().unwrap().not_from().clone();
    assert_eq!(excluded.into_iter().collect::<Vec<_>>(), [Excluded::Requester, Excluded::Builder]);
}

#[test]
fn an_environment_does_not_run_from_an_archive() {
    let text = with("\"registry.example/staging/{service}\"", "\"oci:staging/{service}.tar\"");
    let shown = validate(&text).unwrap_err().to_string();
    assert!(shown.contains("`oci:staging/basket.tar` is an archive"), "{shown}");
    let line = 1 + text.lines().position(|line| line.contains("{service}.tar")).unwrap();
    assert!(shown.contains(&format!("samebits.toml:{line}:")), "{shown}");
    validate(&text.replace("{service}.tar", "{service}.tarred")).unwrap();
}

/// Said out loud, of one service, and nothing else lies there.
#[test]
fn evidence_lives_elsewhere_only_where_a_service_says_so() {
    let at = |text: &str| format!("repository = \"registry.example/shop\"\n{text}");
    let store = |text: &str| {
        let policy = validate(&with("repository = \"registry.example/shop\"", &at(text))).unwrap();
        let store = policy.find_service("shop").unwrap().evidence_store().map(ToString::to_string);
        assert_eq!(policy.find_service("basket").unwrap().evidence_store(), None);
        // What lies there is no image of the service.
        assert!(store.iter().all(|store| policy.service_of(&store.parse().unwrap()).is_none()));
        (policy.digest(), store)
    };
    let (none, some) = (store(""), store("evidence-store = \"ghcr.io/acme/evidence/shop\""));
    assert_eq!((none.1, some.1.as_deref()), (None, Some("ghcr.io/acme/evidence/shop")));
    assert_ne!(none.0, some.0, "the digest in every decision covers it");
    assert_eq!(store("evidence-store = \"oci:evidence\"").1.as_deref(), Some("oci:evidence"));
    let refused = [
        ("evidence-store = \"\"", "an empty string"),
        ("evidence-store = 1", "expected a string"),
        ("evidence-store = \"registry.example/evidence:1\"", "error: "),
        ("evidence-store = \"oci:evidence.tar\"", "`oci:evidence.tar` is an archive"),
        ("evidence-stores = \"oci:evidence\"", "did you mean `evidence-store`?"),
        ("evidence-store = \"registry.example/shop\"", "another for its evidence store"),
        (
            "evidence-store = \"registry.example/basket\"",
            "is the repository of the evidence store of service `shop`",
        ),
        (
            "evidence-store = \"registry.example/prod/shop\"",
            "is the repository of the evidence store of service `shop`",
        ),
    ];
    for (line, expected) in refused {
        let shown =
            validate(&with("repository = \"registry.example/shop\"", &at(line))).unwrap_err().to_string();
        assert!(shown.contains(expected), "{line}: expected {expected:?} in\n{shown}");
    }
    // A host is in use where only a store is at it.
    let text =
        with("repository = \"registry.example/shop\"", &at("evidence-store = \"evidence.example/shop\""));
    let text = text + "\n[registries.\"evidence.example\"]\ntoken-host = \"registry.example\"\n";
    assert!(validate(&text).unwrap().warnings().is_empty());
}

#[test]
fn a_repository_belongs_to_one_service_and_one_role() {
    let policy = validate(SAMPLE).unwrap();
    let repository = |text: &str| text.parse::<Repository>().unwrap();
    let name = |text: &str| policy.service_of(&repository(text)).map(|service| service.name().to_string());
    assert_eq!(name("registry.example/shop").as_deref(), Some("shop"));
    assert_eq!(name("registry.example/prod/basket").as_deref(), Some("basket"));
    assert_eq!(name("registry.example/prod/other"), None);
    assert_eq!(name("registry.example/shop/x"), None);
    match policy.home_of(&repository("registry.example/staging/shop")) {
        Some(Home::Environment(service, environment)) => {
            assert_eq!((service.name().as_str(), environment.name().as_str()), ("shop", "staging"));
            assert_eq!(
                environment.repository(service.name()).unwrap().to_string(),
                "registry.example/staging/shop"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn b6_an_identity_is_who_the_file_says_and_nobody_else() {
    let policy = validate(SAMPLE).unwrap();
    let (shop, basket) = ("shop".parse().unwrap(), "basket".parse().unwrap());
    let build = |subject: &str| Identity::Keyless {
        issuer: "https://token.actions.githubusercontent.com".to_owned(),
        subject: subject.to_owned(),
        root: RootName::PublicGood,
    };
    let right = "https://github.com/acme/shop/.github/workflows/build.yml@refs/heads/main";
    let who = |identity: &Identity, service| {
        policy.who(&identity.clone().into(), service).iter().map(|name| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(who(&build(right), &shop), ["build"]);
    // The other service's build, a prefix, a suffix, another branch, another issuer.
    assert!(who(&build(right), &basket).is_empty());
    assert!(who(&build(&format!("{right}x")), &shop).is_empty());
    assert!(who(&build(&right[1..]), &shop).is_empty());
    assert!(who(&build(&right.replace("main", "evil")), &shop).is_empty());
    let elsewhere = Identity::Keyless {
        issuer: "https://evil.example".to_owned(),
        subject: right.to_owned(),
        root: RootName::PublicGood,
    };
    assert!(who(&elsewhere, &shop).is_empty());
    // The same names, proved under another root.
    for root in [RootName::GitHub, "acme".parse().unwrap()] {
        let Identity::Keyless { issuer, subject, .. } = build(right) else { unreachable!() };
        assert!(who(&Identity::Keyless { issuer, subject, root }, &shop).is_empty());
    }
    // Keys.
    let ana = Identity::Key { id: policy.key_digests()["keys/ana.pub"] };
    assert_eq!(who(&ana, &shop), ["release-managers"]);
    let stranger = PrivateKey::generate(Algorithm::Ed25519).unwrap().public();
    assert!(who(&Identity::Key { id: stranger.id() }, &shop).is_empty());
    let signer =
        |name: &str| policy.signers().find(|signer| signer.name().as_str() == name).unwrap().names_service();
    assert!(signer("build") && !signer("release"));
}

#[test]
fn every_error_is_reported_at_once_in_the_order_of_the_lines() {
    let text = with("\"1h\"", "\"soon\"")
        .replace("\"registry.example/basket\"", "\"basket\"")
        .replace("deployers  = [\"staging\"]", "deployers = [\"nobody\"]")
        .replace("count = 2", "count = 9");
    let errors = validate(&text).unwrap_err();
    let starts: Vec<usize> =
        errors.errors().iter().filter_map(|error| error.span()).map(|span| span.start).collect();
    assert_eq!(starts.len(), 4, "{errors}");
    assert!(starts.is_sorted());
}

#[test]
fn the_order_of_environments_is_the_walk() {
    let mut text = with(
        "[environments.staging]",
        "[environments.zeta]\nafter = [{ environment = \"production\" }, { any-of = [{ environment = \"qa\" }] }]\nrepository = \"registry.example/zeta/{service}\"\npromoters = [\"release\"]\ndeployers = [\"staging\"]\n[environments.staging]",
    );
    text.push_str("\n[environments.qa]\nafter = [{ environment = \"staging\" }]\nrepository = \"registry.example/qa/{service}\"\npromoters = [\"release\"]\ndeployers = [\"production\"]\n");
    let policy = validate(&text).unwrap();
    let order: Vec<&str> =
        policy.environments().iter().map(|environment| environment.name().as_str()).collect();
    assert_eq!(order, ["staging", "production", "qa", "zeta"]);
}

#[test]
fn a_flood_of_errors_is_answered_quickly() {
    let signers: String =
        (0..1990).map(|n| format!("[signers.s{n}]\npublic-key = \"keys/ana.pub\"\n")).collect();
    let unknown: String = (0..60_000).map(|n| format!("\"x{n}\",")).collect();
    let text = with("deployers  = [\"staging\"]", &format!("deployers = [{unknown}]")) + &signers;
    assert!(text.len() < samebits::policy::LIMIT);
    let shown = validate(&text).unwrap_err().to_string();
    assert!(shown.contains("more errors") && shown.len() < 200_000, "{} bytes", shown.len());
    let many: String =
        (0..2500).map(|n| format!("[signers.s{n}]\npublic-key = \"keys/ana.pub\"\n")).collect();
    assert!(validate(&format!("{SAMPLE}{many}")).unwrap_err().to_string().contains("expected at most 2000"));
}

#[test]
fn a_file_that_is_too_long_is_not_read() {
    let long = format!("{SAMPLE}#{}", "x".repeat(samebits::policy::LIMIT));
    assert!(validate(&long).unwrap_err().to_string().contains("expected at most 1048576"));
    let nested = format!("a = {}1{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(validate(&nested).is_err());
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text: String) {
        let _ = validate(&text).map_err(|errors| errors.to_string());
    }

    #[test]
    fn a_sample_with_a_hole_never_panics(start in 0..SAMPLE.len(), length in 0usize..200, filler in "[ -~\n]{0,5}") {
        let (before, rest) = SAMPLE.split_at(start);
        let text = format!("{before}{filler}{}", &rest[length.min(rest.len())..]);
        let shown = |text: &str| match validate(text) {
            Ok(policy) => format!("{policy:?}"),
            Err(errors) => errors.to_string(),
        };
        // The same text means the same policy, or the same errors.
        prop_assert_eq!(shown(&text), shown(&text));
    }

    #[test]
    fn generated_chains_are_valid_and_keep_their_order(length in 1usize..20, services in 1usize..6, soak in 1u32..500) {
        let head = &SAMPLE[..SAMPLE.find("# Services:").unwrap()];
        let mut text = head.to_owned();
        for service in 0..services {
            text.push_str(&format!("[services.s{service}]\nrepository = \"r.example/s{service}\"\n"));
        }
        for index in 0..length {
            let gate = match index {
                0 => "entry = true\nrequire = { signed-by = \"build\" }".to_owned(),
                _ => format!("after = [{{ environment = \"e{}\", for-at-least = \"{soak}m\" }}]", index - 1),
            };
            text.push_str(&format!(
                "[environments.e{index}]\n{gate}\nrepository = \"r.example/e{index}/{{service}}\"\npromoters = [\"release\"]\ndeployers = [\"staging\"]\n"
            ));
        }
        let policy = Draft::parse("p", &text).unwrap().validate(&keys());
        let policy = policy.map_err(|errors| TestCaseError::fail(errors.to_string()))?;
        let order: Vec<String> = policy.environments().iter().map(|environment| environment.name().to_string()).collect();
        prop_assert_eq!(order, (0..length).map(|index| format!("e{index}")).collect::<Vec<_>>());
    }
}

#[test]
fn provenance_may_be_asked_for_more() {
    let reference = "ref     = \"refs/heads/main\" #";
    let full = "0123456789abcdef".repeat(4);
    let more = |line: &str| format!("{line}\n{reference}");
    for (line, expected) in [
        (format!("commit = \"{full}\""), ""),
        (format!("commit = \"{}\"", &full[..40]), ""),
        (format!("commit = \"{}\"", &full[..39]), "is not a commit"),
        (format!("commit = \"{}\"", full[..40].to_uppercase()), "is not a commit"),
        ("commit = \"main\"".to_owned(), "expected the whole commit"),
        ("workflow = \".github/workflows/{service}.yml\"".to_owned(), ""),
        ("workflow = \".github/workflows/*.yml\"".to_owned(), "patterns are not in this version"),
        ("workflow = [\"a\", \"b\"]".to_owned(), "expected a string, found a list"),
        ("build-type = \"https://slsa.dev/container-based-build/v0.1?draft\"".to_owned(), ""),
        ("build-type = \"https://acme.example/{service}\"".to_owned(), "`{service}` has no place here"),
        ("build_type = \"https://acme.example/x\"".to_owned(), "did you mean `build-type`?"),
        ("level = 1".to_owned(), ""),
        ("level = 3".to_owned(), ""),
        ("level = 0".to_owned(), "there is no SLSA Build level 0"),
        ("level = 4".to_owned(), "expected 1, 2 or 3"),
        ("level = \"3\"".to_owned(), "expected a whole number, found a string"),
        (
            "parameters = { \"/workflow/path\" = \"a b*{service}\", \"/x\" = true, \"/y~1z\" = -3 }"
                .to_owned(),
            "",
        ),
        ("parameters = {}".to_owned(), "an empty table: `parameters`"),
        ("parameters = { \"\" = \"a\" }".to_owned(), "`` is not a pointer"),
        ("parameters = { \"workflow/path\" = \"a\" }".to_owned(), "`workflow/path` is not a pointer"),
        ("parameters = { \"/a~2\" = \"a\" }".to_owned(), "expected an RFC 6901 pointer"),
        ("parameters = { \"/a\" = \"\" }".to_owned(), "an empty string"),
        ("parameters = { \"/a\" = \"{name}\" }".to_owned(), "unknown placeholder `{name}`"),
        ("parameters = { \"/a\" = 1.5 }".to_owned(), "found a number with a fraction"),
        (
            "parameters = { \"/a\" = [\"x\"] }".to_owned(),
            "expected a string, a whole number, `true` or `false`",
        ),
        ("parameters = \"x\"".to_owned(), "expected a table, found a string"),
    ] {
        rows(&[(reference, &more(&line), expected)]);
    }
    // Each error at its own line.
    let wrong = ["commit = \"x\"", "level = 9", "parameters = { \"a\" = 1 }"];
    let text = with(reference, &more(&wrong.join("\n")));
    let shown = validate(&text).unwrap_err().to_string();
    for piece in wrong {
        let line = text.lines().position(|line| line.contains(piece)).unwrap() + 1;
        assert!(shown.contains(&format!("samebits.toml:{line}:")), "{piece}:\n{shown}");
    }
}

#[test]
fn b13_revokers_are_named_and_can_lift_nothing_that_stops_them() {
    let control = |table: &str| with("[services.shop]", &format!("[control]\n{table}\n\n[services.shop]"));
    for (table, expected) in [
        ("revokers = [\"release-managers\"]", ""),
        ("revokers = [\"release-managers\", \"build\"]", ""),
        ("revokers = []", "an empty list"),
        ("", "`revokers` is missing"),
        ("revokers = \"release-managers\"", "expected a list"),
        ("revokers = [\"release-manager\"]", "did you mean `release-managers`?"),
        ("revokers = [\"build\", \"build\"]", "twice"),
        ("revokers = [\"release\"]", "is a revoker (`release`) and acts in `"),
        ("revokers = [\"staging\"]", "is a revoker (`staging`) and acts in `staging` (`staging`)"),
        ("revokers = [\"release\"]\nsame-identity-accepted = \"two people\"", ""),
        ("revokers = [\"build\"]\nsame-identity-accepted = \"two people\"", "accepts nothing"),
        ("revokers = [\"release\"]\nsame-identity-accepted = \"\"", "an empty string"),
        ("revokers = [\"build\"]\nfreezers = [\"release-managers\"]", ""),
        ("freezers = [\"build\"]", "`revokers` is missing"),
        ("revokers = [\"build\"]\nfreezers = []", "an empty list"),
        ("revokers = [\"build\"]\nfreezers = [\"builder\"]", "unknown signer `builder`"),
        ("revokers = [\"build\"]\nfreezers = [\"release\"]", "is a freezer (`release`) and acts in `"),
        ("revokers = [\"build\"]\nfreezers = [\"release\"]\nsame-identity-accepted = \"two people\"", ""),
        ("revokers = [\"build\"]\nlifters = [\"build\"]", "unknown key `lifters`"),
    ] {
        match (validate(&control(table)), expected.is_empty()) {
            (Ok(policy), true) => assert!(policy.control().is_some()),
            (Ok(_), false) => panic!("{table:?} was accepted, expected: {expected}"),
            (Err(errors), true) => panic!("{table:?} was refused:\n{errors}"),
            (Err(errors), false) => {
                let shown = errors.to_string();
                assert!(shown.contains(expected), "{table:?}: expected {expected:?} in\n{shown}");
            }
        }
    }
    assert!(validate(SAMPLE).unwrap().control().is_none());
}

#[test]
fn d4_no_ledger_has_the_name_of_a_control_lane() {
    rows(&[(
        "origin   = \"acme.example/promotions\"",
        "origin = \"acme.example/promotions/control\"",
        "origin",
    )]);
}
