//! Real git, and bare repositories that refuse what is not a continuation.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::super::evidence;
use super::*;
use crate::digest::Digest;
use crate::evidence::Kept;
use crate::ledger::contract::{Bed, holds, many_writers_lose_and_double_nothing, signer};
use crate::ledger::tests::{audit, entry};
use crate::ledger::{Folders, Ledger, LedgerError, peer};
use crate::tlog::LogSigner;

/// A bare repository, and a cache.
struct Fixture {
    folder: TempDir,
    signer: LogSigner,
}

impl Fixture {
    /// `None`, which was said, where there is no git.
    fn new() -> Option<Self> {
        if !peer::is_installed("git") {
            return None;
        }
        let fixture = Self { folder: tempfile::tempdir().unwrap(), signer: signer() };
        let bare = fixture.bare();
        peer::said(peer::alone("git", fixture.folder.path()).args(["init", "-q", "--bare"]).arg(&bare))
            .unwrap();
        fixture.git(&["config", "receive.denyNonFastForwards", "true"]);
        Some(fixture)
    }

    /// With a ledger of `count` records.
    fn with(count: u64) -> Option<Self> {
        let fixture = Self::new()?;
        let mut ledger = fixture.create().unwrap();
        for number in 0..count {
            let _ = ledger.append(number, &[entry(number)]).unwrap();
        }
        Some(fixture)
    }

    fn bare(&self) -> PathBuf {
        self.folder.path().join("bare.git")
    }

    fn url(&self) -> String {
        format!("git+file://{}#ledger", self.bare().display())
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn create(&self) -> Result<Ledger, LedgerError> {
        Ledger::create(&self.url(), folders(&self.cache()), &self.signer)
    }

    /// As the same user again.
    fn open(&self) -> Result<Ledger, LedgerError> {
        self.open_with(Some(&self.cache()))
    }

    /// As somebody who has seen nothing.
    fn cold(&self) -> Result<Ledger, LedgerError> {
        self.open_with(None)
    }

    fn open_with(&self, cache: Option<&Path>) -> Result<Ledger, LedgerError> {
        let folders = Folders { base: Path::new("/"), cache };
        Ledger::open(&self.url(), folders, self.signer.vkey(), Some(self.signer.clone()))
    }

    /// git in the bare repository, as who has it in his hands.
    #[track_caller]
    fn git(&self, arguments: &[&str]) -> String {
        let mut command = peer::alone("git", &self.bare());
        command.args(["-c", "user.name=m", "-c", "user.email=m@example"]).args(arguments);
        String::from_utf8(peer::said(&mut command).unwrap()).unwrap().trim().to_owned()
    }

    /// Changes one file of the branch in a commit that continues it, which is what `git push` may do.
    fn edit(&self, name: &str, bytes: Option<&[u8]>) {
        let index = self.folder.path().join("index");
        let git = |arguments: &[&str]| {
            let mut command = peer::alone("git", &self.bare());
            command.args(["-c", "user.name=m", "-c", "user.email=m@example"]);
            let said = peer::said(command.args(arguments).env("GIT_INDEX_FILE", &index)).unwrap();
            String::from_utf8(said).unwrap().trim().to_owned()
        };
        git(&["read-tree", "ledger"]);
        match bytes {
            Some(bytes) => {
                let file = self.folder.path().join("file");
                std::fs::write(&file, bytes).unwrap();
                let blob = git(&["hash-object", "-w", file.to_str().unwrap()]);
                git(&["update-index", "--add", "--replace", "--cacheinfo", &format!("100644,{blob},{name}")]);
            }
            None => drop(git(&["rm", "-q", "--cached", name])),
        }
        let tree = git(&["write-tree"]);
        let commit = git(&["commit-tree", &tree, "-p", "ledger", "-m", "x"]);
        git(&["update-ref", "refs/heads/ledger", &commit]);
    }

    /// A hook that runs `script`, as the server does.
    fn hook(&self, name: &str, script: &str) {
        let hook = self.bare().join("hooks").join(name);
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        std::fs::write(&hook, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&hook, PermissionsExt::from_mode(0o755)).unwrap();
    }
}

fn folders(cache: &Path) -> Folders<'_> {
    Folders { base: Path::new("/"), cache: Some(cache) }
}

fn why(error: LedgerError) -> GitError {
    match error {
        LedgerError::Slots { source: SlotError::Git { source }, .. } => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_does_what_every_store_does() {
    let Some(fixture) = Fixture::new() else { return };
    let (url, again) = (fixture.url(), fixture.url());
    holds(&Bed {
        signer: signer(),
        create: Box::new(move |signer| Ledger::create(&url, Path::new("/"), signer)),
        open: Box::new(move |vkey, signer| Ledger::open(&again, Path::new("/"), vkey, signer)),
    });
}

#[test]
fn d5_writers_with_one_cache_lose_and_double_nothing() {
    let Some(fixture) = Fixture::new() else { return };
    let (url, again) = (fixture.url(), fixture.url());
    let (cache, theirs) = (fixture.cache(), fixture.cache());
    drop(fixture.create().unwrap());
    many_writers_lose_and_double_nothing(&Bed {
        signer: fixture.signer.clone(),
        create: Box::new(move |signer| Ledger::create(&url, folders(&cache), signer)),
        open: Box::new(move |vkey, signer| Ledger::open(&again, folders(&theirs), vkey, signer)),
    });
    assert_eq!(fixture.git(&["fsck", "--strict"]), "");
}

#[test]
fn an_append_is_one_commit_with_the_evidence_that_it_names() {
    let Some(fixture) = Fixture::with(0) else { return };
    let mut ledger = fixture.open().unwrap();
    let mut kept = Kept::default();
    kept.keep(&b"one".to_vec().into());
    kept.keep(&b"other".to_vec().into());
    let before = fixture.git(&["rev-parse", "ledger"]);
    let _ = ledger.append_with(0, &[entry(0), entry(1)], &kept).unwrap();
    let changed =
        fixture.git(&["log", "--reverse", "--format=", "--name-status", &format!("{before}..ledger")]);
    let slot = changed.lines().position(|line| line == "A\tcommits/00000000000000000000").unwrap();
    for digest in [Digest::of(b"one"), Digest::of(b"other")] {
        assert!(changed.lines().any(|line| line == format!("A\t{}", evidence(digest))), "{changed}");
    }
    assert!(slot <= 2, "{changed}");
    let first = fixture.git(&["rev-list", "--reverse", &format!("{before}..ledger")]);
    let first = first.lines().next().unwrap();
    assert_eq!(fixture.git(&["log", "-1", "--format=%an %P", first]), format!("samebits {before}"));
    let files = fixture.git(&["diff-tree", "-r", "--name-only", "--no-commit-id", first]);
    assert!(files.lines().count() >= 3, "evidence and slot are one commit: {files}");
    // What is there is not pushed again.
    let _ = ledger.append_with(2, &[entry(2)], &kept).unwrap();
    assert_eq!(ledger.kept(2, Digest::of(b"one")).unwrap(), &b"one"[..]);
    assert_eq!(fixture.cold().unwrap().kept(2, Digest::of(b"other")).unwrap(), &b"other"[..]);
    assert!(audit(&fixture.cold().unwrap()).is_clean());
}

#[test]
fn d2_a_branch_put_back_by_force_is_found_with_both_heads() {
    let Some(fixture) = Fixture::with(3) else { return };
    let old = fixture.git(&["rev-parse", "ledger"]);
    let mut ledger = fixture.open().unwrap();
    for number in 3..5 {
        let _ = ledger.append(number, &[entry(number)]).unwrap();
    }
    let newest = fixture.git(&["rev-parse", "ledger"]);
    fixture.git(&["update-ref", "refs/heads/ledger", &old]);
    let refused = ledger.tip().unwrap_err();
    let LedgerError::Shorter { found, .. } = &refused else { panic!("{refused:?}") };
    assert_eq!((found.seen_size, found.found_size), (5, 3));
    assert!(matches!(ledger.append(5, &[entry(5)]).unwrap_err(), LedgerError::Shorter { .. }));
    // The same user later; nobody puts it right by appending.
    assert!(matches!(fixture.open().and_then(|ledger| ledger.tip()), Err(LedgerError::Shorter { .. })));
    assert_eq!(fixture.git(&["rev-parse", "ledger"]), old);
    fixture.git(&["update-ref", "refs/heads/ledger", &newest]);
    assert_eq!(fixture.open().unwrap().tip().unwrap().size(), 5);
}

/// The copy is gone, what was fetched is there: that remembers for both lanes.
#[test]
fn d2_a_branch_put_back_is_found_by_what_was_fetched_alone() {
    for count in [2, 0] {
        let Some(fixture) = Fixture::with(count) else { return };
        let old = fixture.git(&["rev-parse", "ledger"]);
        let mut ledger = fixture.open().unwrap();
        let _ = ledger.append(count, &[entry(count)]).unwrap();
        let _ = ledger.append_control(0, b"freeze").unwrap();
        assert_eq!(fixture.open().unwrap().control().unwrap().head().size(), 1);
        drop(ledger);
        fixture.git(&["update-ref", "refs/heads/ledger", &old]);
        for folder in std::fs::read_dir(fixture.cache().join("ledgers")).unwrap() {
            let folder = folder.unwrap().path();
            if !folder.join("branch.git").exists() {
                std::fs::remove_dir_all(folder).unwrap();
            }
        }
        let ledger = fixture.open().unwrap();
        for refused in [ledger.tip().map(drop).unwrap_err(), ledger.control().map(drop).unwrap_err()] {
            assert!(matches!(why(refused), GitError::Rewritten { .. }));
        }
    }
}

#[test]
fn d1_a_slot_that_was_edited_in_place_is_refused() {
    let Some(fixture) = Fixture::with(3) else { return };
    let slot = |size: u64| format!("commits/{size:020}");
    let good = fixture.git(&["rev-parse", "ledger"]);
    let last = fixture.git(&["cat-file", "blob", &format!("ledger:{}", slot(2))]);
    fixture.edit(&slot(2), Some(last.replacen("\"", "'", 1).as_bytes()));
    assert!(fixture.cold().and_then(|ledger| ledger.tip()).unwrap_err().is_tampering());
    let refused = fixture.open().and_then(|ledger| ledger.tip()).unwrap_err();
    assert!(refused.is_tampering(), "{refused:?}");
    fixture.edit(&slot(2), None);
    assert!(fixture.open().and_then(|ledger| ledger.tip()).unwrap_err().is_tampering());
    // One that nobody would read again.
    fixture.git(&["update-ref", "refs/heads/ledger", &good]);
    assert_eq!(fixture.open().unwrap().tip().unwrap().size(), 3);
    fixture.edit(&slot(1), Some(b"{}"));
    let refused = fixture.open().and_then(|ledger| ledger.tip()).unwrap_err();
    assert!(refused.is_tampering(), "{refused:?}");
    assert!(matches!(&why(refused), GitError::Rewritten { name } if *name == slot(1)));
    // A folder where a file should be.
    fixture.edit(&format!("{}/x", slot(2)), Some(b"x"));
    assert!(fixture.cold().and_then(|ledger| ledger.tip()).unwrap_err().is_tampering());
}

#[test]
fn d7_absent_unreachable_and_refused_are_different() {
    let Some(fixture) = Fixture::new() else { return };
    assert!(matches!(fixture.cold(), Err(LedgerError::Absent { .. })));
    let url = format!("git+file://{}/nothing.git#ledger", fixture.folder.path().display());
    let open =
        |url: &str| Ledger::open(url, Path::new("/"), fixture.signer.vkey(), Some(fixture.signer.clone()));
    let unreachable = why(open(&url).unwrap_err());
    assert!(
        matches!(&unreachable, GitError::Unreachable { said } if said.contains("nothing.git")),
        "{unreachable:?}"
    );
    assert!(matches!(
        why(Ledger::create(&url, Path::new("/"), &fixture.signer).unwrap_err()),
        GitError::Unreachable { .. }
    ));
    // Other files on the branch are no ledger, and are left alone.
    drop(fixture.create().unwrap());
    assert!(matches!(fixture.create(), Err(LedgerError::Exists { .. })));
    fixture.git(&["branch", "other", "ledger"]);
    let other = fixture.url().replace("#ledger", "#absent");
    assert!(matches!(open(&other), Err(LedgerError::Absent { .. })));
    // A rule of the server's.
    let mut ledger = fixture.open().unwrap();
    fixture.hook("pre-receive", "echo 'protected branch'; exit 1");
    let refused = why(ledger.append(0, &[entry(0)]).unwrap_err());
    assert!(
        matches!(&refused, GitError::Refused { said } if said.contains("protected branch")),
        "{refused:?}"
    );
    fixture.hook("pre-receive", "exit 0");
    assert_eq!(ledger.tip().unwrap().size(), 0);
    let _ = ledger.append(0, &[entry(0)]).unwrap();
}

#[test]
fn d6_a_push_without_an_answer_is_settled_by_looking() {
    let Some(fixture) = Fixture::with(1) else { return };
    let mut ledger = fixture.open().unwrap();
    let flag = fixture.folder.path().join("flag");
    // The server dies: before it took the push, then after.
    let once = format!("[ -e {0} ] || exit 0; rm {0}; kill -9 $PPID", flag.display());
    for (hook, number) in [("pre-receive", 1), ("post-receive", 2)] {
        fixture.hook(hook, &once);
        std::fs::write(&flag, "").unwrap();
        let appended = ledger.append(number, &[entry(number)]).unwrap();
        assert!(!flag.exists());
        assert_eq!(appended.checkpoint.size(), number + 1);
        assert_eq!(fixture.cold().unwrap().tip().unwrap(), appended.checkpoint);
    }
    assert!(audit(&ledger).is_clean());
    // One that always dies is an error, and no conflict.
    fixture.hook("pre-receive", "kill -9 $PPID");
    assert!(matches!(why(ledger.append(3, &[entry(3)]).unwrap_err()), GitError::Open { .. }));
}

#[test]
fn what_lies_beside_the_ledger_on_its_branch_is_left_there() {
    let Some(fixture) = Fixture::with(1) else { return };
    fixture.edit("README.md", Some(b"hello"));
    fixture.edit("commits/a line\nand another", Some(b"x"));
    let mut ledger = fixture.open().unwrap();
    let _ = ledger.append(1, &[entry(1)]).unwrap();
    assert_eq!(fixture.git(&["cat-file", "blob", "ledger:README.md"]), "hello");
    assert_eq!(fixture.cold().unwrap().tip().unwrap().size(), 2);
    // Only the newest commit is here.
    let cache = walk(&fixture.cache());
    let shallow = cache.iter().find(|path| path.ends_with("shallow")).unwrap();
    assert!(std::fs::read_to_string(shallow).unwrap().lines().count() >= 1);
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(walk(&path)) } else { all.push(path) }
    }
    all
}

/// The folder of what was fetched.
fn fetched(fixture: &Fixture) -> PathBuf {
    let config = walk(&fixture.cache()).into_iter().find(|path| path.ends_with("branch.git/config")).unwrap();
    config.parent().unwrap().to_owned()
}

#[test]
fn what_was_planted_in_the_cache_is_not_run() {
    let Some(fixture) = Fixture::with(1) else { return };
    let (cache, marker) = (fetched(&fixture), fixture.folder.path().join("marker"));
    let script = fixture.folder.path().join("run");
    std::fs::write(&script, format!("#!/bin/sh\ntouch {}\nexit 1\n", marker.display())).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let config = format!(
        "[core]\n\trepositoryformatversion = 0\n\tbare = true\n\
         [remote \"file://{0}\"]\n\tuploadpack = {1}\n\treceivepack = {1}\n",
        fixture.bare().display(),
        script.display()
    );
    std::fs::write(cache.join("config"), &config).unwrap();
    // It does run, where git is asked in there.
    let url = format!("file://{}", fixture.bare().display());
    let _ = peer::alone("git", &cache).args(["fetch", "-q", &url]).output().unwrap();
    assert!(marker.exists());
    std::fs::remove_file(&marker).unwrap();
    std::fs::create_dir_all(cache.join("objects/info")).unwrap();
    std::fs::write(cache.join("objects/info/alternates"), "/nonexistent\n").unwrap();
    std::fs::write(cache.join("commondir"), "/nonexistent\n").unwrap();
    let mut ledger = fixture.open().unwrap();
    let _ = ledger.append(1, &[entry(1)]).unwrap();
    assert!(!marker.exists());
    assert!(!cache.join("commondir").exists() && !cache.join("objects/info/alternates").exists());
}

#[test]
fn a_cache_that_others_can_write_to_is_refused() {
    let Some(fixture) = Fixture::with(1) else { return };
    let cache = fetched(&fixture);
    for folder in [cache.as_path(), cache.parent().unwrap()] {
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o777)).unwrap();
        let refused = fixture.open().unwrap_err();
        let LedgerError::Slots { source, .. } = &refused else { panic!("{refused:?}") };
        assert!(matches!(source, SlotError::Shared { why: "others can write to it", .. }), "{source:?}");
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o700)).unwrap();
    }
    assert_eq!(fixture.open().unwrap().tip().unwrap().size(), 1);
}

#[test]
fn d6_a_push_without_an_answer_and_nobody_to_ask_is_not_known() {
    let Some(fixture) = Fixture::with(1) else { return };
    let mut ledger = fixture.open().unwrap();
    // The server takes it, dies, and is away.
    let away = fixture.folder.path().join("away.git");
    fixture
        .hook("post-receive", &format!("mv {} {}; kill -9 $PPID", fixture.bare().display(), away.display()));
    let error = ledger.append(1, &[entry(1)]).unwrap_err();
    let LedgerError::Slots { source, .. } = &error else { panic!("{error:?}") };
    assert!(!source.is_final(), "{source:?}");
    assert!(!error.hint().unwrap().contains("nothing was appended"), "{error:?}");
    std::fs::rename(&away, fixture.bare()).unwrap();
    assert_eq!(fixture.cold().unwrap().tip().unwrap().size(), 2);
}

/// A server that accepts and never answers costs the time that a command has, and nothing else.
#[test]
fn f5_a_server_that_never_answers_is_given_up() {
    if !peer::is_installed("git") {
        return;
    }
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let home = tempfile::tempdir().unwrap();
    let url = format!("git+https://127.0.0.1:{}/x#ledger", silent.local_addr().unwrap().port());
    let located = crate::ledger::place::locate(&url, home.path()).unwrap();
    let crate::ledger::place::Location::Git(remote) = located else { panic!("{located:?}") };
    let mut cache = program::Cache::open(&remote, Some(home.path())).unwrap();
    cache.limits.time = std::time::Duration::from_millis(300);
    let error = cache.fetch().unwrap_err();
    assert!(matches!(error, GitError::TooLong { command: "fetch", .. }), "{error:?}");
    assert!(error.is_final() && error.hint().contains("nothing was appended"));
    // Of a push nobody knows.
    let bytes = bytes::Bytes::from_static(b"x");
    let commit = cache.commit(&cache.head().unwrap(), &[("commits/x", &bytes)]).unwrap();
    assert!(matches!(cache.push(&commit).unwrap(), program::Pushed::Open(_)));
}

/// git that is killed leaves what it kept locked: it is taken away once no git can be at work behind it.
#[test]
fn d6_what_a_killed_git_left_locked_is_unlocked() {
    let Some(fixture) = Fixture::with(2) else { return };
    let ledgers = fixture.cache().join("ledgers");
    let mut rooms = std::fs::read_dir(ledgers).unwrap().map(|room| room.unwrap().path().join("branch.git"));
    let room = rooms.find(|room| room.exists()).unwrap();
    let locks = ["shallow.lock", "refs/samebits/head.lock"].map(|name| room.join(name));
    for lock in &locks {
        let lock = std::fs::File::create(lock).unwrap();
        let before = lock.metadata().unwrap().modified().unwrap();
        lock.set_modified(before - std::time::Duration::from_secs(3600)).unwrap();
    }
    let young = room.join("young.lock");
    std::fs::write(&young, "").unwrap();
    let mut ledger = fixture.open().unwrap();
    assert!(locks.iter().all(|lock| !lock.exists()) && young.exists());
    let _ = ledger.append(2, &[entry(2)]).unwrap();
    assert_eq!(fixture.cold().unwrap().tip().unwrap().size(), 3);
}
