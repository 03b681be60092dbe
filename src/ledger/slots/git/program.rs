//! The `git` program, and a bare repository of ours that holds what it fetched.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bytes::Bytes;

use super::GitError;
use super::process::{self, Ended, Limits};
use crate::digest::{Digest, shorten};
use crate::ledger::place::Remote;
use crate::ledger::slots::{SlotError, room};

/// Where the newest commit that was fetched is kept.
const HEAD: &str = "refs/samebits/head";
/// Where the newest one is that has every slot of those before it.
const SEEN: &str = "refs/samebits/seen";
/// Where one that is about to be pushed is.
const NEXT: &str = "refs/samebits/next";
/// What processes of ours wait for each other by.
const LOCK: &str = "samebits.lock";
/// The folders whose files are never changed.
const SLOTS: [&str; 2] = ["commits", "control"];
/// What of the caller's environment would lead git to another repository (git-rev-parse(1), `--local-env-vars`).
const ELSEWHERE: [&str; 15] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    // Whose certificate would not be looked at.
    "GIT_SSL_NO_VERIFY",
    "GIT_WORK_TREE",
];
/// The configuration of our repository: nothing in it is from anywhere else.
const CONFIG: &[u8] = b"[core]\n\trepositoryformatversion = 0\n\tbare = true\n";
/// No branch is checked out.
const UNBORN: &[u8] = b"ref: refs/heads/none\n";
/// What would lead git elsewhere, or run something (gitrepository-layout(5)); we make none of it.
const FOREIGN: [&str; 10] = [
    "branches",
    "commondir",
    "config.worktree",
    "hooks",
    "info",
    "objects/info/alternates",
    "objects/info/http-alternates",
    "refs/replace",
    "remotes",
    "worktrees",
];
/// Settings that the user's own may not change.
const SETTINGS: [&str; 10] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "transfer.fsckObjects=true",
    "push.gpgSign=false",
    "push.recurseSubmodules=no",
    // A server that sends nothing for a minute is given up.
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=60",
    "http.sslVerify=true",
];

/// The head of the branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Its commit; `None` where there is no branch.
    commit: Option<String>,
    /// The slots that were there before, and are not, or not the same.
    lost: BTreeSet<String>,
}

impl Head {
    /// One of the slots that were there before.
    pub(super) fn lost(&self) -> Option<&str> {
        self.lost.first().map(String::as_str)
    }

    pub(super) fn has_lost(&self, name: &str) -> bool {
        self.lost.contains(name)
    }
}

/// What a push came to.
pub(super) enum Pushed {
    /// It is there.
    Taken,
    /// The branch is not where it was.
    TooLate,
    /// Not known, until somebody looks.
    Open(GitError),
}

/// A bare repository of ours.
pub(super) struct Cache {
    folder: PathBuf,
    url: String,
    branch: String,
    /// The protocol that is allowed, and no other.
    protocol: &'static str,
    temporary: bool,
    pub(super) limits: Limits,
}

impl Drop for Cache {
    fn drop(&mut self) {
        if self.temporary {
            // What is left is below the folder for temporary files.
            drop(fs::remove_dir_all(&self.folder));
        }
    }
}

/// Where a folder is, behind all links. As Windows spells that, git would not find it.
fn plain(folder: &Path) -> io::Result<PathBuf> {
    if cfg!(windows) { std::path::absolute(folder) } else { folder.canonicalize() }
}

impl Cache {
    pub(super) fn open(remote: &Remote, cache: Option<&Path>) -> Result<Self, SlotError> {
        let name = Digest::of(remote.to_string().as_bytes()).hex();
        let (folder, temporary) = match cache {
            Some(cache) => (cache.join("ledgers").join(name).join("branch.git"), false),
            None => {
                (std::env::temp_dir().join(format!("samebits-{}", Digest::from_bytes(random()?).hex())), true)
            }
        };
        let cannot = |source| GitError::Cache { folder: folder.clone(), source };
        // What is in it may be secret, and is run by git; the folder for temporary files is everybody's.
        match cache {
            Some(cache) => room::private_from(cache, &folder)?,
            None => room::private(&folder)?,
        }
        let cache = Self {
            folder: plain(&folder).map_err(cannot)?,
            url: remote.url(),
            branch: remote.branch.clone(),
            protocol: remote.protocol(),
            temporary,
            limits: Limits::default(),
        };
        let _alone = cache.lock()?;
        cache.make().map_err(cannot)?;
        Ok(cache)
    }

    /// Makes the repository, or of one that is there what git is led by (gitrepository-layout(5)).
    fn make(&self) -> io::Result<()> {
        for name in FOREIGN {
            room::remove(&self.folder.join(name))?;
        }
        for name in ["objects", "refs"] {
            fs::create_dir_all(self.folder.join(name))?;
        }
        room::replace(&self.folder.join("config"), CONFIG)?;
        room::replace(&self.folder.join("HEAD"), UNBORN)?;
        self.sweep()
    }

    /// Takes away what git kept locked and did not live to unlock: it never would, and nothing could be fetched again.
    /// What is younger than git may run may be that of a git that still does, whose parent was killed.
    fn sweep(&self) -> io::Result<()> {
        // Just written.
        let now = fs::metadata(self.folder.join("config"))?.modified()?;
        for folder in [self.folder.clone(), self.folder.join("refs/samebits")] {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            for path in entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()? {
                let ours = path.file_name().is_some_and(|name| name == LOCK);
                let locks = path.extension().is_some_and(|extension| extension == "lock") && !ours;
                // It may have been unlocked meanwhile.
                let Ok(since) = fs::symlink_metadata(&path).and_then(|about| about.modified()) else {
                    continue;
                };
                if locks && now.duration_since(since).is_ok_and(|age| age > self.limits.time) {
                    room::remove(&path)?;
                }
            }
        }
        Ok(())
    }

    /// Nobody else of this user's works in it meanwhile.
    pub(super) fn lock(&self) -> Result<File, GitError> {
        let cannot = |source| GitError::Cache { folder: self.folder.clone(), source };
        room::lock(&self.folder.join(LOCK)).map_err(cannot)
    }

    /// The newest head that is known here.
    pub(super) fn head(&self) -> Result<Head, GitError> {
        Ok(self.known()?.0)
    }

    /// The newest head that is known here, and whether it has been seen.
    fn known(&self) -> Result<(Head, bool), GitError> {
        let refs = self.local("for-each-ref", &["--format=%(refname) %(objectname)", "refs/samebits/"])?;
        let refs = String::from_utf8_lossy(&refs);
        let of = |name: &str| {
            refs.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(' ')?.to_owned()))
        };
        let (commit, seen) = (of(HEAD), of(SEEN));
        let lost = match (&seen, &commit) {
            (Some(seen), Some(commit)) if seen != commit => {
                let changed =
                    ["-r", "-z", "--name-only", "--no-renames", "--diff-filter=a", seen, commit, "--"];
                self.names("diff-tree", &[&changed[..], &SLOTS].concat())?
            }
            (Some(seen), None) => self.names(
                "ls-tree",
                &[&["-r", "-z", "--name-only", "--full-tree", seen][..], &SLOTS].concat(),
            )?,
            (Some(_), Some(_)) | (None, _) => BTreeSet::new(),
        };
        let before = seen == commit;
        Ok((Head { commit, lost }, before))
    }

    /// [`Cache::head`], which from now on is what others have to continue, if it continues what was seen.
    fn seen(&self) -> Result<Head, GitError> {
        let (head, before) = self.known()?;
        if let Some(commit) = head.commit.as_deref().filter(|_| !before && head.lost.is_empty()) {
            self.local("update-ref", &[SEEN, commit])?;
        }
        Ok(head)
    }

    /// The newest head that there is.
    pub(super) fn fetch(&self) -> Result<Head, GitError> {
        let refspec = format!("+refs/heads/{}:{HEAD}", self.branch);
        let arguments =
            ["--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"];
        let fetched = self.run("fetch", &[&arguments[..], &["--", &self.url, &refspec]].concat(), Vec::new());
        if let Err(GitError::TooLong { .. } | GitError::TooMuch { .. }) = &fetched {
            // What came is of nothing that is known: away with it.
            drop(self.local("prune", &["--expire=now"]));
        }
        let fetched = fetched?;
        if fetched.status.success() {
            return self.seen();
        }
        // Nothing there, or nobody there?
        let reference = format!("refs/heads/{}", self.branch);
        let listed =
            self.run("ls-remote", &["--quiet", "--exit-code", "--", &self.url, &reference], Vec::new())?;
        match listed.status.code() {
            Some(2) => {
                self.local("update-ref", &["-d", HEAD])?;
                self.head()
            }
            Some(0) => Err(GitError::Unreachable { said: said(&fetched) }),
            Some(_) | None => Err(GitError::Unreachable { said: said(&listed) }),
        }
    }

    /// Which of `names` are there.
    pub(super) fn which(&self, head: &Head, names: &[String]) -> Result<BTreeSet<String>, SlotError> {
        let Some(commit) = &head.commit else { return Ok(BTreeSet::new()) };
        if names.is_empty() {
            return Ok(BTreeSet::new());
        }
        let answers = self.batch("--batch-check", commit, names)?;
        let there = names.iter().zip(answers.split(|byte| *byte == b'\n'));
        Ok(there.filter(|(_, answer)| !answer.ends_with(b" missing")).map(|(name, _)| name.clone()).collect())
    }

    /// What lies under each of `names`.
    pub(super) fn read(
        &self,
        head: &Head,
        names: &[String],
        limit: usize,
    ) -> Result<Vec<Option<Bytes>>, SlotError> {
        let Some(commit) = &head.commit else { return Ok(vec![None; names.len()]) };
        // How long they are, before they are read.
        let sizes = self.batch("--batch-check", commit, names)?;
        for (name, answer) in names.iter().zip(sizes.split(|byte| *byte == b'\n')) {
            let size =
                answer.rsplit(|byte| *byte == b' ').next().and_then(|size| std::str::from_utf8(size).ok());
            if size.and_then(|size| size.parse::<usize>().ok()).is_some_and(|size| size > limit) {
                return Err(SlotError::TooLong { name: name.clone(), limit });
            }
        }
        let contents = self.batch("--batch", commit, names)?;
        let mut rest = &contents[..];
        names.iter().map(|_| object(&mut rest).map_err(|source| GitError::Run { source }.into())).collect()
    }

    fn batch(&self, how: &'static str, commit: &str, names: &[String]) -> Result<Vec<u8>, GitError> {
        let asked = names.iter().map(|name| format!("{commit}:{name}\n")).collect::<String>();
        let output = self.run("cat-file", &[how], asked.into_bytes())?;
        succeeded("cat-file", output)
    }

    /// The names of all files below the folder of `prefix`, in order: what else lies on the branch is not walked through.
    pub(super) fn list(&self, head: &Head, prefix: &str) -> Result<Vec<String>, SlotError> {
        let Some(commit) = &head.commit else { return Ok(Vec::new()) };
        let folder = prefix.rsplit_once('/').map(|(folder, _)| folder);
        let mut arguments = vec!["-r", "-z", "--name-only", "--full-tree", commit.as_str()];
        arguments.extend(folder);
        Ok(self.names("ls-tree", &arguments)?.into_iter().collect())
    }

    /// The names that a command prints with a NUL after each.
    fn names(&self, command: &'static str, arguments: &[&str]) -> Result<BTreeSet<String>, GitError> {
        let listed = self.local(command, arguments)?;
        let names = listed.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        // A name that is no line of text is none of ours, and cannot be asked for.
        let names = names.filter_map(|name| String::from_utf8(name.to_vec()).ok());
        Ok(names.filter(|name| !name.contains(char::is_control)).collect())
    }

    /// Makes a commit of `head` with these files in it (git-fast-import(1)).
    pub(super) fn commit(&self, head: &Head, objects: &[(&str, &Bytes)]) -> Result<String, SlotError> {
        let size: usize = objects.iter().map(|(_, bytes)| bytes.len()).sum();
        let first = objects.first().map_or("", |(name, _)| name);
        let message = format!("{first}: {} files, {size} bytes\n", objects.len());
        let mut input = format!("commit {NEXT}\nmark :1\ncommitter samebits <samebits@localhost> now\n");
        input.push_str(&format!("data {}\n{message}\n", message.len()));
        if let Some(commit) = &head.commit {
            input.push_str(&format!("from {commit}\n"));
        }
        let mut input = input.into_bytes();
        for (name, bytes) in objects {
            input.extend(format!("M 100644 inline {name}\ndata {}\n", bytes.len()).as_bytes());
            input.extend_from_slice(bytes);
            input.push(b'\n');
        }
        input.extend(b"\nget-mark :1\ndone\n");
        let output = self.run("fast-import", &["--quiet", "--force", "--date-format=now"], input)?;
        Ok(line(&succeeded("fast-import", output)?))
    }

    /// Pushes `commit` without force: the server takes it only where it continues the branch.
    pub(super) fn push(&self, commit: &str) -> Result<Pushed, GitError> {
        let reference = format!("refs/heads/{}", self.branch);
        let refspec = format!("{commit}:{reference}");
        let pushed = self.run(
            "push",
            &["--porcelain", "--no-verify", "--no-follow-tags", "--", &self.url, &refspec],
            Vec::new(),
        );
        let pushed = match pushed {
            // It may have been taken.
            Err(error @ (GitError::TooLong { .. } | GitError::TooMuch { .. } | GitError::Run { .. })) => {
                return Ok(Pushed::Open(GitError::Open { said: error.to_string() }));
            }
            pushed => pushed?,
        };
        if pushed.status.success() {
            // Nothing undoes the push: what is not noted here is fetched again.
            let _ = self.local("update-ref", &[HEAD, commit]).and_then(|_| self.seen());
            return Ok(Pushed::Taken);
        }
        // `! FROM:TO [reason]` is an answer (git-push(1), "OUTPUT"); anything else is none.
        let output = String::from_utf8_lossy(&pushed.stdout);
        let answer = output.lines().find_map(|line| line.strip_prefix("!\t")?.split('\t').nth(1));
        match answer {
            // Another push was faster, by this client's look or by the server's.
            Some(why) if why.starts_with("[rejected]") => Ok(Pushed::TooLate),
            Some(why) if RACES.iter().any(|race| why.contains(race)) => Ok(Pushed::TooLate),
            Some(why) if why.starts_with("[remote rejected]") => {
                Err(GitError::Refused { said: shorten(&format!("{why} {}", said(&pushed))) })
            }
            Some(_) | None => Ok(Pushed::Open(GitError::Open { said: said(&pushed) })),
        }
    }

    fn local(&self, command: &'static str, arguments: &[&str]) -> Result<Vec<u8>, GitError> {
        succeeded(command, self.run(command, arguments, Vec::new())?)
    }

    /// Runs git on our repository.
    fn run(&self, command: &'static str, arguments: &[&str], input: Vec<u8>) -> Result<Output, GitError> {
        let mut program = Command::new("git");
        SETTINGS.iter().for_each(|setting| {
            program.args(["-c", setting]);
        });
        program.arg(command).args(arguments).current_dir(&self.folder);
        ELSEWHERE.iter().for_each(|name| {
            program.env_remove(name);
        });
        program.env("GIT_DIR", &self.folder).env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
        program.env("GIT_NO_REPLACE_OBJECTS", "1").env("GIT_ALLOW_PROTOCOL", self.protocol);
        let ended = process::run(&mut program, &self.folder, self.limits, input);
        match ended.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => GitError::NoProgram,
            _ => GitError::Run { source },
        })? {
            Ended::Alone(output) => Ok(output),
            Ended::TooLong => Err(GitError::TooLong { command, seconds: self.limits.time.as_secs() }),
            Ended::TooMuch(limit) => Err(GitError::TooMuch { command, limit }),
        }
    }
}

/// What servers say of a branch that moved while they looked.
const RACES: [&str; 4] =
    ["cannot lock ref", "failed to update ref", "reference already exists", "incorrect old value provided"];

fn succeeded(command: &'static str, output: Output) -> Result<Vec<u8>, GitError> {
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(GitError::Local { command, said: said(&output) }),
    }
}

/// The lines in which git complains.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<_> = text
        .lines()
        .filter(|line| ["fatal: ", "error: ", "remote: "].iter().any(|mark| line.starts_with(mark)))
        .collect();
    shorten(&if complaints.is_empty() { text.trim().to_owned() } else { complaints.join(" ") })
}

fn line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).trim().to_owned()
}

/// The next answer of `cat-file --batch`: `ID TYPE SIZE`, the bytes, a line's end; or `NAME missing`.
fn object(rest: &mut impl io::BufRead) -> io::Result<Option<Bytes>> {
    let mut header = String::new();
    rest.read_line(&mut header)?;
    let header = header.trim_end();
    if header.ends_with(" missing") {
        return Ok(None);
    }
    let size = header.rsplit(' ').next().and_then(|size| size.parse::<usize>().ok());
    let mut bytes = vec![0; size.ok_or(io::ErrorKind::InvalidData)? + 1];
    rest.read_exact(&mut bytes)?;
    bytes.pop();
    Ok(Some(bytes.into()))
}

fn random() -> Result<[u8; 32], GitError> {
    let mut bytes = [0; 32];
    let failed = |_| GitError::Run { source: io::ErrorKind::Other.into() };
    aws_lc_rs::rand::fill(&mut bytes).map_err(failed)?;
    Ok(bytes)
}
