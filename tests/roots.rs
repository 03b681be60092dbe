//! F11: roots of trust over TUF, against a repository on loopback that the test signs itself. What is to be refreshed
//! and cannot be is never another root, and never a silent one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use samebits::policy::{Draft, Policy};
use samebits::registry::{HttpConfig, Retry};
use samebits::roots::{self, Network, Origin, Roots, RootsError, Settings, Unreached, Wrong};
use samebits::verify::{Root, RootName};
use sigstore_trust_root::{SIGSTORE_GITHUB_TRUSTED_ROOT, SIGSTORE_PRODUCTION_TRUSTED_ROOT};
use tempfile::TempDir;

#[path = "support/tuf.rs"]
mod tuf;

use tuf::{Answer, Repository};

const SAMPLE: &str = include_str!("vectors/policy/yes-sample.toml");
/// The one signer by certificate.
const IDENTITY: &str =
    "identity = \"https://github.com/acme/{service}/.github/workflows/build.yml@refs/heads/main\"";

/// A client with a cache of its own, at a time of its own.
struct Client {
    cache: TempDir,
    policy: Policy,
    now: Timestamp,
}

/// The sample policy with its signer by certificate under `root`, and with these tables.
fn policy(root: &str, tables: &str, bootstrap: &str) -> Policy {
    assert_eq!(SAMPLE.matches(IDENTITY).count(), 1);
    let text = format!("{}\n{tables}", SAMPLE.replacen(IDENTITY, &format!("{IDENTITY}\n{root}"), 1));
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let draft = Draft::parse("samebits.toml", &text).unwrap();
    let read = |file: String| {
        let text = match file.as_str() {
            "trust/root.json" => bootstrap.to_owned(),
            "trust/acme.json" => SIGSTORE_PRODUCTION_TRUSTED_ROOT.to_owned(),
            key => std::fs::read_to_string(folder.join(key)).unwrap(),
        };
        (file, text)
    };
    let files: BTreeMap<String, String> = draft.key_files().into_iter().map(read).collect();
    draft.validate(&files).unwrap_or_else(|errors| panic!("{errors}"))
}

impl Client {
    /// Of a private root `acme` that this repository keeps.
    fn of(repository: &Repository) -> Self {
        Self::with(repository, "")
    }

    fn with(repository: &Repository, more: &str) -> Self {
        let url = repository.url();
        let table =
            format!("[roots.acme]\nrefresh = {{ tuf = \"{url}\", root = \"trust/root.json\" }}\n{more}");
        Self::new(policy("root = \"acme\"", &table, &repository.bootstrap))
    }

    fn new(policy: Policy) -> Self {
        Self { cache: tempfile::tempdir().unwrap(), policy, now: "2026-11-21T08:00:00Z".parse().unwrap() }
    }

    fn load(&self, network: Network) -> Result<Roots, RootsError> {
        let quick = Retry { first_wait: Duration::from_millis(1), ..Retry::default() };
        let http = HttpConfig { retry: quick, ..HttpConfig::default() };
        let settings = Settings { cache: Some(self.cache.path().to_owned()), network, http };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(roots::load(&self.policy, &settings, self.now))
    }

    /// The digest of the one root, and why its repository gave no answer now.
    #[track_caller]
    fn root(&self, network: Network) -> (samebits::digest::Digest, Option<Unreached>) {
        let roots = self.load(network).unwrap();
        let trusted = roots.trusted(self.now).unwrap();
        let [ref one] = trusted[..] else { panic!("{} roots", trusted.len()) };
        let Some(Origin::Tuf { unreached, .. }) = roots.iter().next().map(|root| root.origin().clone())
        else {
            panic!("not over TUF")
        };
        (one.digest(), unreached)
    }

    #[track_caller]
    fn refusal(&self, network: Network) -> RootsError {
        let error = self.load(network).map(|roots| format!("{roots:?}")).unwrap_err();
        assert!(error.hint().is_some(), "{error}: what to do?");
        error
    }

    /// The folder of the one repository.
    fn folder(&self) -> PathBuf {
        let mut folders = std::fs::read_dir(self.cache.path()).unwrap();
        let folder = folders.next().unwrap().unwrap().path();
        assert!(folders.next().is_none());
        folder
    }

    fn later(&mut self, time: SignedDuration) {
        self.now = self.now.saturating_add(time).unwrap();
    }
}

/// A root with other bytes and the same meaning.
fn another() -> String {
    SIGSTORE_PRODUCTION_TRUSTED_ROOT.replacen('{', "{ ", 1)
}

fn digest(json: &str) -> samebits::digest::Digest {
    samebits::digest::Digest::of(json.as_bytes())
}

fn served() -> Repository {
    Repository::start(SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes())
}

#[track_caller]
fn refused(error: RootsError) -> Wrong {
    let RootsError::Refused { source, .. } = error else { panic!("{error}") };
    source
}

#[test]
fn f11_a_root_is_refreshed_and_lasts_offline() {
    let mut repository = served();
    let client = Client::of(&repository);
    let first = digest(SIGSTORE_PRODUCTION_TRUSTED_ROOT);
    assert_eq!(client.root(Network::Refresh), (first, None));
    // The price: five requests for a machine that knows nothing, two where nothing changed, five for news.
    let asked = repository.asked();
    let named: Vec<&str> = asked.iter().map(|name| name.rsplit('.').nth(1).unwrap()).collect();
    assert_eq!(named, ["root", "timestamp", "snapshot", "targets", "trusted_root"], "{asked:?}");
    assert_eq!(client.root(Network::Refresh), (first, None));
    assert_eq!(repository.asked(), ["2.root.json", "timestamp.json"]);
    repository.publish_target(another().as_bytes());
    assert_eq!(client.root(Network::Refresh), (digest(&another()), None));
    assert_eq!(repository.asked().len(), 5);
    // Offline: nobody is asked, and nobody is there.
    assert_eq!(client.root(Network::Offline), (digest(&another()), Some(Unreached::Offline)));
    assert!(repository.asked().is_empty());
    repository.stop();
    assert_eq!(client.root(Network::Offline), (digest(&another()), Some(Unreached::Offline)));
    // Not offline: the same, and it is said that nobody answered; or an error, where an answer is the point.
    let (found, unreached) = client.root(Network::Refresh);
    assert_eq!(found, digest(&another()));
    assert!(matches!(unreached, Some(Unreached::Unreachable { .. })), "{unreached:?}");
    let remark = client.load(Network::Refresh).unwrap().iter().next().unwrap().remark(client.now).unwrap();
    assert!(remark.contains("did not answer"), "{remark}");
    assert!(matches!(client.refusal(Network::Required), RootsError::Unreachable { before: None, .. }));
}

#[test]
fn f11_an_empty_cache_is_no_embedded_root() {
    let mut repository = served();
    let url = repository.url();
    repository.stop();
    // The public roots over a mirror: that they are embedded here helps nobody.
    for (name, mirror) in [("public-good", true), ("github", true), ("acme", false)] {
        let table = match mirror {
            true => format!("[roots.{name}]\nrefresh = {{ tuf = \"{url}\" }}"),
            false => format!("[roots.{name}]\nrefresh = {{ tuf = \"{url}\", root = \"trust/root.json\" }}"),
        };
        let client = Client::new(policy(&format!("root = \"{name}\""), &table, &repository.bootstrap));
        let error = client.refusal(Network::Refresh);
        let RootsError::Unreachable { before: Some(before), .. } = &error else { panic!("{error}") };
        assert!(matches!(**before, RootsError::NeverRefreshed { .. }), "{before}");
        assert!(error.hint().unwrap().contains("the embedded root is not used"), "{error}");
        assert!(matches!(client.refusal(Network::Offline), RootsError::NeverRefreshed { .. }));
        // Nor does it come in by the side door.
        assert!(samebits::collect::trust(&client.policy).roots().is_empty());
    }
}

#[test]
fn f11_expired_metadata_is_refused_online_and_offline() {
    let mut repository = served();
    repository.contents.timestamp_expires = "2026-11-28T08:00:00Z".to_owned();
    repository.publish();
    let mut client = Client::of(&repository);
    let roots = client.load(Network::Refresh).unwrap();
    let Some(Origin::Tuf { expires, .. }) = roots.iter().next().map(|root| root.origin()) else { panic!() };
    assert_eq!(expires.to_string(), "2026-11-28T08:00:00Z");
    client.later(SignedDuration::from_hours(7 * 24 - 1));
    client.root(Network::Offline);
    client.root(Network::Refresh);
    client.later(SignedDuration::from_hours(2));
    let expired = |source: &Wrong| matches!(source, Wrong::Expired { role, .. } if role == "timestamp");
    // A mirror that was frozen.
    let online = refused(client.refusal(Network::Refresh));
    assert!(expired(&online), "{online}");
    let RootsError::CacheRefused { source, .. } = client.refusal(Network::Offline) else { panic!() };
    assert!(expired(&source), "{source}");
    // Unreachable is no way around it.
    repository.stop();
    let error = client.refusal(Network::Refresh);
    assert!(error.to_string().contains("timestamp expired at 2026-11-28T08:00:00Z"), "{error}");
}

#[test]
fn f11_a_changed_target_is_refused_on_the_wire_and_on_disk() {
    let repository = served();
    let client = Client::of(&repository);
    let name = format!("targets/{}.trusted_root.json", digest(SIGSTORE_PRODUCTION_TRUSTED_ROOT).hex());
    repository.put(&name, another().into_bytes());
    // One byte more than is signed for is not even read.
    let source = refused(client.refusal(Network::Refresh));
    assert!(matches!(source, Wrong::TooLong { .. }), "{source}");
    let swapped = SIGSTORE_PRODUCTION_TRUSTED_ROOT.replacen("rekor", "rakor", 1);
    assert_eq!(swapped.len(), SIGSTORE_PRODUCTION_TRUSTED_ROOT.len());
    repository.put(&name, swapped.clone().into_bytes());
    let source = refused(client.refusal(Network::Refresh));
    assert!(matches!(source, Wrong::Changed { .. }), "{source}");
    // Nothing of it was kept.
    assert!(matches!(client.refusal(Network::Offline), RootsError::NeverRefreshed { .. }));

    repository.put(&name, SIGSTORE_PRODUCTION_TRUSTED_ROOT.into());
    client.root(Network::Refresh);
    let file = client.folder().join("targets/trusted_root.json");
    std::fs::write(&file, &swapped).unwrap();
    assert!(matches!(client.refusal(Network::Offline), RootsError::CacheRefused { .. }));
    // The network mends it.
    assert_eq!(client.root(Network::Refresh).0, digest(SIGSTORE_PRODUCTION_TRUSTED_ROOT));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), SIGSTORE_PRODUCTION_TRUSTED_ROOT);
    // A file without any metadata is nothing at all.
    for gone in ["timestamp.json", "snapshot.json", "targets.json"] {
        client.root(Network::Refresh);
        std::fs::remove_file(client.folder().join(gone)).unwrap();
        assert!(matches!(client.refusal(Network::Offline), RootsError::CacheRefused { .. }), "{gone}");
    }
}

#[test]
fn f11_a_rollback_is_refused_across_runs() {
    let mut repository = served();
    let client = Client::of(&repository);
    let old = repository.file("timestamp.json");
    repository.publish_target(another().as_bytes());
    client.root(Network::Refresh);
    repository.put("timestamp.json", old);
    let source = refused(client.refusal(Network::Refresh));
    assert_eq!(source, Wrong::Rollback { role: "timestamp".to_owned(), seen: 2, found: 1 });
    // A repository that answers wrongly is no repository that does not answer: the good cache does not hide it.
    assert_eq!(client.root(Network::Offline).0, digest(&another()));
}

#[test]
fn f11_a_new_root_needs_those_who_leave() {
    let mut repository = served();
    let (before, after) = (Client::of(&repository), Client::of(&repository));
    before.root(Network::Refresh);
    repository.rotate(true);
    repository.publish_target(another().as_bytes());
    repository.rotate(true);
    // Two steps at once, from the cache of the first and from nothing.
    for client in [&before, &after] {
        assert_eq!(client.root(Network::Refresh).0, digest(&another()));
        assert_eq!(client.root(Network::Offline).0, digest(&another()));
    }
    // Keys that were never let in.
    let mut seized = served();
    let client = Client::of(&seized);
    client.root(Network::Refresh);
    seized.rotate(false);
    let source = refused(client.refusal(Network::Refresh));
    let Wrong::Signatures { role, found: 0, threshold: 2 } = &source else { panic!("{source}") };
    assert_eq!(role, "root");
}

#[test]
fn f11_another_repository_in_its_place_is_refused() {
    let (repository, other) = (served(), served());
    let mut client = Client::of(&repository);
    client.root(Network::Refresh);
    for name in ["timestamp.json", "1.snapshot.json", "1.targets.json"] {
        repository.put(name, other.file(name));
    }
    let source = refused(Client::of(&repository).refusal(Network::Refresh));
    assert!(matches!(&source, Wrong::Signatures { role, .. } if role == "timestamp"), "{source}");
    // The public instances begin with their own root.json, whatever the mirror says.
    for name in ["public-good", "github"] {
        let table = format!("[roots.{name}]\nrefresh = {{ tuf = \"{}\" }}", other.url());
        client.policy = policy(&format!("root = \"{name}\""), &table, "");
        client.cache = tempfile::tempdir().unwrap();
        let source = refused(client.refusal(Network::Refresh));
        assert!(matches!(source, Wrong::Signatures { .. }), "{name}: {source}");
    }
}

#[test]
fn f11_an_answer_that_is_none_is_told_from_no_answer() {
    let repository = served();
    let client = Client::of(&repository);
    client.root(Network::Refresh);
    let answer = |status| {
        repository.answers(Answer::Status(status));
        client.load(Network::Refresh)
    };
    // Of the moment: what was refreshed before stands in.
    for status in [429, 500, 503] {
        let roots = answer(status).unwrap();
        let remark = roots.iter().next().unwrap().remark(client.now).unwrap();
        assert!(remark.contains(&format!("it answers {status}")), "{remark}");
    }
    // Somebody else's: a redirect, a login, a wall, nothing at all.
    for status in [301, 302, 401, 407, 418] {
        let source = refused(answer(status).unwrap_err());
        assert!(matches!(source, Wrong::Status { status: found, .. } if found == status), "{source}");
    }
    for status in [403, 404] {
        let source = refused(answer(status).unwrap_err());
        assert_eq!(source, Wrong::Absent { name: "timestamp.json".to_owned() });
    }
    let source = refused(answer(200).unwrap_err());
    assert!(matches!(source, Wrong::Malformed { .. }), "{source}");
}

#[test]
fn f11_what_a_repository_vouches_for_must_be_a_root_by_the_rules_of_its_name() {
    for wrong in ["{}", "rubbish", SIGSTORE_GITHUB_TRUSTED_ROOT] {
        let repository = Repository::start(wrong.as_bytes());
        let client = Client::of(&repository);
        let error = client.load(Network::Refresh).unwrap_err();
        assert!(matches!(error, RootsError::Root { .. }), "{error}");
    }
    let unreadable = Repository::start(&[0xff, 0xfe]);
    let source = refused(Client::of(&unreadable).refusal(Network::Refresh));
    assert!(matches!(source, Wrong::Malformed { .. }), "{source}");
}

#[test]
fn f11_past_its_max_age_a_root_is_not_handed_out() {
    let repository = served();
    let mut client = Client::with(&repository, "max-age = \"2d\"");
    client.root(Network::Refresh);
    client.later(SignedDuration::from_hours(48));
    client.root(Network::Offline);
    client.later(SignedDuration::from_secs(1));
    let roots = client.load(Network::Offline).unwrap();
    let error = roots.trusted(client.now).unwrap_err();
    assert!(matches!(error, RootsError::TooOld { refreshed: true, .. }), "{error}");
    assert_eq!(error.hint().unwrap(), "run `samebits roots refresh` where the repository can be reached");
    // A refresh makes it young, a clock that is wrong does not.
    client.root(Network::Refresh);
    client.later(SignedDuration::from_hours(-25));
    let roots = client.load(Network::Offline).unwrap();
    assert!(matches!(roots.trusted(client.now), Err(RootsError::Ahead { .. })));

    let file = "[roots.acme]\ntrusted-root = \"trust/acme.json\"\ntaken-on = 2026-11-01\nmax-age = \"30d\"";
    let mut client = Client::new(policy("root = \"acme\"", file, ""));
    let trusted = |client: &Client| client.load(Network::Refresh).unwrap().trusted(client.now);
    assert_eq!(trusted(&client).unwrap().len(), 1);
    assert!(samebits::collect::trust(&client.policy).roots().is_empty(), "a limit that nobody looked at");
    client.later(SignedDuration::from_hours(10 * 24));
    let error = trusted(&client).unwrap_err();
    assert!(matches!(error, RootsError::TooOld { refreshed: false, .. }), "{error}");
    assert!(error.to_string().contains("the policy allows 30d"), "{error}");
}

#[test]
fn f11_nobody_is_asked_for_a_root_that_no_signer_names() {
    let repository = served();
    let table = format!(
        "[roots.acme]\nrefresh = {{ tuf = \"{}\", root = \"trust/root.json\" }}\n[roots.github]\nrefresh = \"tuf\"",
        repository.url()
    );
    let client = Client::new(policy("", &table, &repository.bootstrap));
    let roots = client.load(Network::Refresh).unwrap();
    let names: Vec<&RootName> = roots.iter().map(|root| root.root().name()).collect();
    assert_eq!(names, [&RootName::PublicGood]);
    assert!(repository.asked().is_empty());
    assert_eq!(std::fs::read_dir(client.cache.path()).unwrap().count(), 0);
}

#[test]
fn f11_an_embedded_root_says_when_it_is_old() {
    let mut client = Client::new(policy("", "", ""));
    let old = client.load(Network::Refresh).unwrap();
    let old = old.iter().next().unwrap();
    assert_eq!(old.root().digest(), Root::public_good().unwrap().digest());
    assert_eq!((old.age(client.now).unwrap().as_hours() / 24, old.remark(client.now)), (29, None));
    client.later(SignedDuration::from_hours(62 * 24));
    let remark = old.remark(client.now).unwrap();
    assert!(remark.contains("`public-good` is 91 days old"), "{remark}");
    assert!(old.checked(client.now).is_ok(), "it refuses what is new by itself");
}

#[test]
fn f11_a_cache_that_cannot_be_used_is_an_error() {
    let repository = served();
    let client = Client::of(&repository);
    std::fs::remove_dir(client.cache.path()).unwrap();
    std::fs::write(client.cache.path(), "a file").unwrap();
    assert!(matches!(client.refusal(Network::Refresh), RootsError::Cache { .. }));
    std::fs::remove_file(client.cache.path()).unwrap();
    let settings = Settings { cache: None, network: Network::Refresh, http: HttpConfig::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(roots::load(&client.policy, &settings, client.now)).unwrap_err();
    assert!(matches!(error, RootsError::NoCache { .. }), "{error}");
}

#[test]
fn two_runs_at_once_leave_one_whole_cache() {
    let repository = served();
    let client = Client::of(&repository);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| client.root(Network::Refresh));
        }
    });
    assert_eq!(client.root(Network::Offline).0, digest(SIGSTORE_PRODUCTION_TRUSTED_ROOT));
}
