//! Every bundle of the Sigstore conformance suite, by file and by digest: none wrongly accepted, none wrongly refused.
//!
//! The suite's files are not ours to keep: they are read in place, from `$SAMEBITS_CONFORMANCE` or `../shared/conformance`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use samebits::digest::Digest;
use samebits::key::PublicKey;
use samebits::verify::{self, Artifact, Identity, Root, Trust};

mod conformance {
    mod mutation;
    mod refusals;
}

const IDENTITY: &str = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
const ISSUER: &str = "https://token.actions.githubusercontent.com";
/// How many cases the suite has at the commit we read, so that an empty folder is no success.
const CASES: usize = 70;

#[allow(clippy::disallowed_methods, reason = "a test may be told where its peers are")]
/// The suite's bundles, or `None` and a word about it where they may be absent.
#[allow(clippy::print_stderr)]
fn assets() -> Option<PathBuf> {
    let given = std::env::var_os("SAMEBITS_CONFORMANCE").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance");
    // Worktrees lie one folder deeper.
    let deeper = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance");
    let folders: Vec<PathBuf> = match given {
        Some(given) => vec![given],
        None => vec![beside, deeper],
    };
    let assets = folders.iter().map(|folder| folder.join("test/assets/bundle-verify"));
    let found = assets.clone().find(|folder| folder.is_dir());
    if found.is_none() {
        let looked: Vec<String> = assets.map(|folder| folder.display().to_string()).collect();
        let absent = format!("the conformance suite is in none of {}", looked.join(", "));
        assert_ne!(std::env::var("SAMEBITS_REQUIRE_PEERS").as_deref(), Ok("1"), "{absent}");
        eprintln!("SKIPPED: {absent}");
    }
    found
}

/// One folder of the suite.
struct Case {
    name: String,
    bundle: Vec<u8>,
    artifact: Vec<u8>,
    trust: Result<Trust, String>,
    expected: Option<Identity>,
}

impl Case {
    fn read(assets: &Path, name: &str) -> Self {
        let folder = assets.join(name);
        let text = |file: &str| std::fs::read_to_string(folder.join(file)).ok();
        let or =
            |file: &str, default: &str| text(file).map_or(default.to_owned(), |text| text.trim().to_owned());
        let artifact = match folder.join("artifact") {
            own if own.exists() => own,
            _ => assets.join("a.txt"),
        };
        let root = match text("trusted_root.json") {
            Some(json) => Root::private("conformance".parse().unwrap(), &json),
            None => Root::public_good(),
        };
        let key = text("key.pub").map(|pem| PublicKey::from_pem(&pem).map_err(|error| error.to_string()));
        let trust = match (root, key) {
            (Err(error), _) => Err(error.to_string()),
            (_, Some(Err(error))) => Err(error),
            (Ok(root), key) => Ok((
                root.name().clone(),
                Trust::new(key.into_iter().flatten().collect()).with_roots(vec![root]),
            )),
        };
        let expected = trust.as_ref().ok().map(|(root, trust)| match trust.keys() {
            [key] => Identity::Key { id: key.id() },
            _ => Identity::Keyless {
                issuer: or("issuer", ISSUER),
                subject: or("identity", IDENTITY),
                root: root.clone(),
            },
        });
        Self {
            name: name.to_owned(),
            bundle: std::fs::read(folder.join("bundle.sigstore.json")).unwrap(),
            artifact: std::fs::read(artifact).unwrap(),
            trust: trust.map(|(_, trust)| trust),
            expected,
        }
    }

    /// The verdict in one word: `accepted`, or the code of the refusal.
    fn verdict(&self, artifact: Artifact<'_>) -> String {
        let Ok(trust) = &self.trust else { return "no-trust".to_owned() };
        match verify::artifact(&self.bundle, artifact, trust) {
            Ok(verified) if Some(verified.identity()) == self.expected.as_ref() => {
                assert_eq!(verified.digest(), Digest::of(&self.artifact));
                let (author, root) = (verified.author(), trust.roots()[0].name());
                assert_eq!(author.is_dated(root), Ok(()), "{}", self.name);
                // A log of the second version vouches for a key, and tells no time.
                assert!(author.time().is_some() || !trust.keys().is_empty(), "{}", self.name);
                "accepted".to_owned()
            }
            Ok(verified) => format!("signed by {}", verified.identity()),
            Err(rejected) => rejected.reason.code().to_owned(),
        }
    }
}

fn cases(assets: &Path) -> Vec<Case> {
    let folders = std::fs::read_dir(assets).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<String> = folders
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names.iter().map(|name| Case::read(assets, name)).collect()
}

#[test]
#[allow(clippy::print_stdout)]
fn every_case_by_file_and_by_digest() {
    let Some(assets) = assets() else { return };
    let cases = cases(&assets);
    assert!(cases.len() >= CASES, "{} cases", cases.len());
    let mut wrong = BTreeMap::new();
    for case in &cases {
        let digest = Digest::of(&case.artifact);
        for (how, artifact) in
            [("file", Artifact::Bytes(&case.artifact)), ("digest", Artifact::Digest(digest))]
        {
            let verdict = case.verdict(artifact);
            println!("{:60} {how:6} {verdict}", case.name);
            if (verdict == "accepted") == case.name.ends_with("_fail") {
                wrong.insert((case.name.clone(), how), verdict);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
