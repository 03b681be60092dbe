//! `[roots]`: where a root comes from, said once and meant; each rule with a yes and a no.

use std::time::Duration;

use sigstore_trust_root::{SIGSTORE_GITHUB_TRUSTED_ROOT, SIGSTORE_PRODUCTION_TRUSTED_ROOT};

use super::{SAMPLE, keys};
use samebits::policy::{Draft, Policy, PolicyErrors, RootSource, TufSource};
use samebits::verify::RootName;

/// The end of the one signer by certificate.
const IDENTITY: &str = "build.yml@refs/heads/main\"";
const BOOTSTRAP: &str = r#"{ "signed": { "_type": "root" }, "signatures": [] }"#;

/// The sample with its signer by certificate under `root`, and with these tables.
fn policy(root: &str, tables: &str) -> Result<Policy, PolicyErrors> {
    let text = format!("{}\n{tables}", SAMPLE.replacen(IDENTITY, &format!("{IDENTITY}\n{root}"), 1));
    let mut files = keys();
    for (file, text) in [
        ("trust/public.json", SIGSTORE_PRODUCTION_TRUSTED_ROOT),
        ("trust/github.json", SIGSTORE_GITHUB_TRUSTED_ROOT),
        ("trust/root.json", BOOTSTRAP),
        ("trust/timestamp.json", r#"{ "signed": { "_type": "timestamp" }, "signatures": [] }"#),
    ] {
        files.insert(file.to_owned(), text.to_owned());
    }
    Draft::parse("samebits.toml", &text)?.validate(&files)
}

#[track_caller]
fn refused(table: &str, expected: &str) {
    let shown = policy("", table).unwrap_err().to_string();
    assert!(shown.contains(expected), "expected {expected:?} in\n{shown}");
}

/// The source of the one root, which has this name.
#[track_caller]
fn source(root: &str, table: &str) -> RootSource {
    let policy = policy(root, table).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(policy.warnings().is_empty(), "{:?}", policy.warnings());
    let [rule] = policy.roots().collect::<Vec<_>>()[..] else { panic!("not one root") };
    rule.source().clone()
}

#[test]
fn f11_without_a_word_the_root_is_embedded() {
    assert!(matches!(source("", ""), RootSource::Embedded(_)));
    assert!(matches!(source("root = \"github\"", ""), RootSource::Embedded(_)));
}

#[test]
fn f11_a_public_root_may_be_given_or_refreshed() {
    let file = "[roots.public-good]\ntrusted-root = \"trust/public.json\"";
    let RootSource::File { root, taken_on: None, .. } = source("", file) else { panic!() };
    assert_eq!(root.name(), &RootName::PublicGood);
    let day = format!("{file}\ntaken-on = 2026-10-01\nmax-age = \"30d\"");
    let RootSource::File { taken_on: Some(day), .. } = source("", &day) else { panic!() };
    assert_eq!(day.to_string(), "2026-10-01");
    let github = "[roots.github]\ntrusted-root = \"trust/github.json\"";
    assert!(matches!(source("root = \"github\"", github), RootSource::File { .. }));

    let tuf = |source| match source {
        RootSource::Tuf(source) => source,
        RootSource::Embedded(_) | RootSource::File { .. } => panic!("not over TUF"),
    };
    let own = tuf(source("", "[roots.public-good]\nrefresh = \"tuf\"\nmax-age = \"7d\""));
    assert_eq!(own, TufSource::Own { mirror: None });
    let url = "https://tuf.example/sigstore";
    let mirror = tuf(source("", &format!("[roots.public-good]\nrefresh = {{ tuf = \"{url}\" }}")));
    assert_eq!(mirror, TufSource::Own { mirror: Some(url.to_owned()) });
    let acme = format!("[roots.acme]\nrefresh = {{ tuf = \"{url}\", root = \"trust/root.json\" }}");
    let private = tuf(source("root = \"acme\"", &acme));
    assert_eq!(private, TufSource::Private { url: url.to_owned(), bootstrap: BOOTSTRAP.to_owned() });

    let limit = policy("", "[roots.public-good]\nrefresh = \"tuf\"\nmax-age = \"7d\"").unwrap();
    assert_eq!(limit.roots().next().unwrap().max_age(), Some(Duration::from_secs(7 * 86_400)));
}

#[test]
fn f11_what_approvals_bind_is_what_the_file_says_and_not_what_was_refreshed() {
    let bound = |table: &str| {
        let keys = policy("root = \"acme\"", table).unwrap().key_digests().clone();
        keys.into_iter().filter(|(file, _)| file.starts_with("trust/")).collect::<Vec<_>>()
    };
    let digest = |text: &str| samebits::digest::Digest::of(text.as_bytes());
    let url = "https://tuf.example";
    let table = format!("[roots.acme]\nrefresh = {{ tuf = \"{url}\", root = \"trust/root.json\" }}");
    assert_eq!(bound(&table), [("trust/root.json".to_owned(), digest(BOOTSTRAP))]);
    let file = "[roots.acme]\ntrusted-root = \"trust/public.json\"";
    assert_eq!(bound(file), [("trust/public.json".to_owned(), digest(SIGSTORE_PRODUCTION_TRUSTED_ROOT))]);
    let own = policy("", "[roots.public-good]\nrefresh = \"tuf\"").unwrap();
    assert!(own.key_digests().keys().all(|file| file.starts_with("keys/")));
}

#[test]
fn f11_a_refreshed_root_that_nobody_names_is_not_used_and_said_to_be_so() {
    let unused = policy("", "[roots.github]\nrefresh = \"tuf\"").unwrap();
    assert_eq!(unused.roots().map(|rule| rule.name().clone()).collect::<Vec<_>>(), [RootName::PublicGood]);
    assert!(unused.warnings()[0].to_string().contains("root `github` is used nowhere"));
}

#[test]
fn f11_a_root_that_is_said_wrong_is_an_error_at_its_line() {
    let public = "[roots.public-good]\n";
    let acme = "[roots.acme]\n";
    let file = "trusted-root = \"trust/public.json\"\n";
    for (table, lines, expected) in [
        (public, String::new(), "exactly one of `trusted-root` and `refresh`"),
        (public, format!("{file}refresh = \"tuf\""), "exactly one of `trusted-root` and `refresh`"),
        (public, "max-age = \"30d\"".to_owned(), "exactly one of `trusted-root` and `refresh`"),
        (public, "refresh = \"TUF\"".to_owned(), "not one of the words"),
        (public, "refresh = \"\"".to_owned(), "an empty string"),
        (public, "refresh = true".to_owned(), "expected a string"),
        (public, "refresh = {}".to_owned(), "`tuf` is missing"),
        (public, "refresh = \"tuf\"\nrefersh = 1".to_owned(), "unknown key `refersh`"),
        (public, "refresh = { tuf = \"https://t.example\", url = 1 }".to_owned(), "unknown key `url`"),
        (
            public,
            "refresh = { tuf = \"https://t.example\", root = \"trust/root.json\" }".to_owned(),
            "the beginning of trust in `public-good` is in this program",
        ),
        (public, "refresh = \"tuf\"\nmax-age = \"30\"".to_owned(), "`30` is not a duration"),
        (public, "refresh = \"tuf\"\nmax-age = \"0d\"".to_owned(), "`0d` is not a duration"),
        (public, "refresh = \"tuf\"\nmax-age = 30".to_owned(), "expected a string"),
        (public, "refresh = \"tuf\"\ntaken-on = 2026-10-01".to_owned(), "the day of a `trusted-root`"),
        (public, format!("{file}max-age = \"30d\""), "a file that does not say how old it is"),
        (public, format!("{file}taken-on = \"2026-10-01\""), "a date without quotation marks"),
        (public, "trusted-root = \"trust/github.json\"".to_owned(), "no certificate transparency log"),
        (public, "trusted-root = \"trust/root.json\"".to_owned(), "is not one"),
        ("[roots.github]\n", file.to_owned(), "not one of GitHub's"),
        (acme, "refresh = \"tuf\"".to_owned(), "is for `public-good` and `github`"),
        (acme, "refresh = { tuf = \"https://t.example\" }".to_owned(), "`root` is missing"),
        (
            acme,
            "refresh = { tuf = \"https://t.example\", root = \"../root.json\" }".to_owned(),
            "is not a path of a trusted root",
        ),
        (
            acme,
            "refresh = { tuf = \"https://t.example\", root = \"trust/absent.json\" }".to_owned(),
            "`trust/absent.json` could not be read",
        ),
        (
            acme,
            "refresh = { tuf = \"https://t.example\", root = \"trust/timestamp.json\" }".to_owned(),
            "is not the `root.json` of a TUF repository",
        ),
        (
            acme,
            "refresh = { tuf = \"https://t.example\", root = \"trust/public.json\" }".to_owned(),
            "is not the `root.json` of a TUF repository",
        ),
    ] {
        let shown = policy("", &format!("{table}{lines}")).unwrap_err().to_string();
        assert!(shown.contains(expected), "expected {expected:?} for {lines} in\n{shown}");
        assert!(shown.contains("samebits.toml:"), "{shown}");
    }
    refused("[[roots]]\nrefresh = \"tuf\"", "expected a table");
}

#[test]
fn f6_a_repository_speaks_tls_unless_it_is_on_this_machine() {
    let with = |url: &str| format!("[roots.public-good]\nrefresh = {{ tuf = \"{url}\" }}");
    for good in [
        "https://tuf.example",
        "https://tuf.example:8443/a/b-c_d/",
        "http://127.0.0.1:8080",
        "http://localhost:1/x",
        "http://[::1]:8080/x",
        "http://[::1]",
    ] {
        assert!(policy("", &with(good)).is_ok(), "{good}");
    }
    for wrong in [
        "http://tuf.example",
        "http://127.0.0.1.example",
        "http://localhost.example",
        "http://10.0.0.1",
        "https://",
        "https:///x",
        "https://user@tuf.example",
        "https://tuf.example?x=1",
        "https://tuf.example#x",
        "https://tuf.example/a b",
        "ftp://tuf.example",
        "tuf.example",
        "HTTPS://tuf.example",
    ] {
        refused(&with(wrong), "is not the URL of a TUF repository");
    }
}
