//! Where a ledger is: its URL, and the file systems it may not be on.
//!
//! Guarantees: a place has one spelling, and what is not one of this version is refused; so is SQLite on a file system
//! known to share files between machines. Never does: guess a default, or take credentials from a URL.

use std::fmt;
use std::path::{Component, Path, PathBuf, Prefix};

use super::LedgerError;
use super::postgres::Server;
use crate::digest::shorten;

/// How a ledger is called in messages: its path, or its URL without anything secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(String);

impl Place {
    pub(super) fn file(path: &Path) -> Self {
        Self(path.display().to_string())
    }

    pub(super) fn server(server: &Server) -> Self {
        Self(server.to_string())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whose buckets they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cloud {
    /// `s3:`, Amazon's and whatever speaks its protocol.
    S3,
    /// `gs:`
    Google,
    /// `az:`
    Azure,
}

/// What a ledger's URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// A file of SQLite's.
    Sqlite(PathBuf),
    /// A schema of a PostgreSQL server's.
    Postgres(Box<Server>),
    /// A folder of slots.
    Folder(PathBuf),
    /// A bucket of slots.
    Bucket {
        cloud: Cloud,
        bucket: String,
        /// Names below which everything is; may be empty.
        prefix: String,
    },
    /// A branch of slots.
    Git(Remote),
}

/// A branch of a git repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remote {
    protocol: Protocol,
    /// What follows `https:` or `file:`, from `//`.
    rest: String,
    /// Its name, below `refs/heads/`.
    pub(super) branch: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Https,
    File,
}

impl Remote {
    /// What git calls the repository.
    pub(super) fn url(&self) -> String {
        format!("{}:{}", self.protocol(), self.rest)
    }

    /// What git calls the protocol, the only one that is spoken.
    pub(super) fn protocol(&self) -> &'static str {
        match self.protocol {
            Protocol::Https => "https",
            Protocol::File => "file",
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "git+{}#{}", self.url(), self.branch)
    }
}

impl Location {
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Sqlite(path) | Self::Folder(path) => Place::file(path),
            Self::Postgres(server) => Place::server(server),
            Self::Git(remote) => Place(remote.to_string()),
            Self::Bucket { cloud, bucket, prefix } => {
                let scheme = match cloud {
                    Cloud::S3 => "s3",
                    Cloud::Google => "gs",
                    Cloud::Azure => "az",
                };
                let slash = if prefix.is_empty() { "" } else { "/" };
                Place(format!("{scheme}://{bucket}{slash}{prefix}"))
            }
        }
    }
}

/// File systems shared between machines, by their name in `/proc/self/mountinfo`. WAL needs memory shared by
/// all writers and locks that hold (sqlite.org/wal.html, "Disadvantages" 2). `9p` is missing for it is WSL's
/// own disk.
const NETWORK: [&str; 25] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb2",
    "smb3",
    "smbfs",
    "afs",
    "ceph",
    "lustre",
    "glusterfs",
    "gfs2",
    "ocfs2",
    "gpfs",
    "beegfs",
    "davfs",
    "fuse.sshfs",
    "fuse.glusterfs",
    "fuse.ceph",
    "fuse.ceph-fuse",
    "fuse.s3fs",
    "fuse.gcsfuse",
    "fuse.rclone",
    "fuse.davfs2",
    "fuse.mount-s3",
    "fuse.juicefs",
];

/// Where `url` says a ledger is; its path is relative to `base`.
pub(super) fn locate(url: &str, base: &Path) -> Result<Location, LedgerError> {
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(LedgerError::Url { found: shorten(url), expected: "`sqlite:PATH`" });
    };
    match scheme {
        "sqlite" => Ok(Location::Sqlite(base.join(path(url, rest, "`sqlite:PATH`")?))),
        "file" => Ok(Location::Folder(base.join(path(url, rest, "`file:FOLDER`, with one `/` or none")?))),
        // Both are PostgreSQL's own spelling.
        "postgres" | "postgresql" => Ok(Location::Postgres(Box::new(Server::parse(rest, base)?))),
        "s3" => bucket(Cloud::S3, url, rest),
        "gs" => bucket(Cloud::Google, url, rest),
        "az" => bucket(Cloud::Azure, url, rest),
        "git+https" => branch(Protocol::Https, rest),
        "git+file" => branch(Protocol::File, rest),
        other => Err(LedgerError::Scheme { found: shorten(other) }),
    }
}

/// The bundled SQLite reads `file:` names as URIs. `sqlite::memory:`, `sqlite:///` and `file://` are other tools'
/// spellings; a NUL ends a path early.
fn path<'t>(url: &str, path: &'t str, expected: &'static str) -> Result<&'t str, LedgerError> {
    let wrong = path.is_empty()
        || path.starts_with("file:")
        || path.starts_with(':')
        || path.starts_with("//")
        || path.contains('\0');
    if wrong { Err(LedgerError::Url { found: shorten(url), expected }) } else { Ok(path) }
}

/// Nothing but names: no user, port, query, escapes or empty parts, so that a place has one spelling and no secret.
fn bucket(cloud: Cloud, url: &str, rest: &str) -> Result<Location, LedgerError> {
    let expected =
        "a bucket and names below it, of letters, digits, `.`, `_` and `-`, as in `s3://BUCKET/PREFIX`";
    // What may be a password is not repeated.
    let found = || if rest.contains(['@', '?']) { format!("{}://…", scheme_of(url)) } else { shorten(url) };
    let name = |name: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        !name.is_empty() && name.bytes().all(plain) && name.bytes().any(|byte| byte != b'.')
    };
    let names = rest.strip_prefix("//").unwrap_or_default();
    if names.len() > 512 || !names.split('/').all(name) {
        return Err(LedgerError::Url { found: found(), expected });
    }
    let (bucket, prefix) = names.split_once('/').unwrap_or((names, ""));
    Ok(Location::Bucket { cloud, bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

/// A repository and a branch of it: one spelling, nothing secret, nothing that git would take for anything else.
fn branch(protocol: Protocol, rest: &str) -> Result<Location, LedgerError> {
    let (kind, expected) = match protocol {
        Protocol::Https => (
            "git+https",
            "a repository without a login, and a branch, of letters, digits, `.`, `_` and `-`, as in \
             `git+https://HOST/PATH#BRANCH`",
        ),
        Protocol::File => ("git+file", "a folder and a branch, as in `git+file:///FOLDER#BRANCH`"),
    };
    // What may be a password is not repeated.
    let found = || match rest.contains(['@', '?']) {
        true => format!("{kind}://…"),
        false => shorten(&format!("{kind}:{rest}")),
    };
    let wrong = || LedgerError::Url { found: found(), expected };
    let (place, branch) = rest.split_once('#').ok_or_else(wrong)?;
    let part = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+~".contains(&byte);
        !part.is_empty() && part.bytes().all(plain) && !part.starts_with(['.', '-']) && !part.contains("..")
    };
    // git-check-ref-format(1), and less.
    let name =
        |name: &str| part(name) && !name.contains('~') && !name.ends_with(".lock") && !name.ends_with('.');
    let repository = match (protocol, place.strip_prefix("//")) {
        (Protocol::Https, Some(address)) => address.split_once('/').is_some_and(|(host, path)| {
            let (host, port) = host.split_once(':').unwrap_or((host, "443"));
            part(host) && port.parse::<u16>().is_ok_and(|port| port > 0) && path.split('/').all(part)
        }),
        // A folder may be called as it likes, but for what git reads otherwise.
        (Protocol::File, Some(path)) => {
            path.starts_with('/')
                && path.len() > 1
                && !path.contains(|c: char| c.is_control() || "@?%".contains(c))
        }
        (Protocol::Https | Protocol::File, None) => false,
    };
    match repository && branch.len() <= 200 && branch.split('/').all(name) {
        true => Ok(Location::Git(Remote { protocol, rest: place.to_owned(), branch: branch.to_owned() })),
        false => Err(wrong()),
    }
}

fn scheme_of(url: &str) -> &str {
    url.split(':').next().unwrap_or_default()
}

/// Refuses a path on a network file system, as far as the operating system tells (Linux by its mounts, Windows by the
/// name of a share; macOS does not).
pub(super) fn local(path: &Path) -> Result<(), LedgerError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A folder that is not there is reported by whoever opens it.
    let Ok(folder) = folder.canonicalize() else { return Ok(()) };
    // A drive that is connected to a share has the share's name by now.
    if let Some(Component::Prefix(prefix)) = folder.components().next()
        && matches!(prefix.kind(), Prefix::UNC(..) | Prefix::VerbatimUNC(..))
    {
        let found = "a Windows share".to_owned();
        return Err(LedgerError::NetworkFileSystem { place: Place::file(path), found });
    }
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mountinfo") else { return Ok(()) };
    match file_system(&mounts, &folder) {
        Some(name) if NETWORK.contains(&name) => {
            Err(LedgerError::NetworkFileSystem { place: Place::file(path), found: name.to_owned() })
        }
        Some(_) | None => Ok(()),
    }
}

/// The type of the file system `folder` is on: that of the longest mount point above it, the last one where
/// several are mounted over each other (proc_pid_mountinfo(5)).
fn file_system<'m>(mounts: &'m str, folder: &Path) -> Option<&'m str> {
    mounts
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let point = PathBuf::from(unescape(left.split(' ').nth(4)?));
            folder.starts_with(&point).then_some((point.components().count(), right.split(' ').next()?))
        })
        .max_by_key(|(depth, _)| *depth)
        .map(|(_, name)| name)
}

/// Undoes `\040` and the like.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|octal| u8::from_str_radix(octal, 8).ok()) {
            Some(byte) => {
                plain.push(byte.into());
                plain.push_str(&part[3..]);
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOUNTS: &str = "\
22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
23 22 0:21 / /proc rw - proc proc rw
40 22 0:50 / /srv/builds rw,relatime shared:9 - nfs4 server:/builds rw,vers=4.2
41 22 0:51 / /srv/my\\040share rw - cifs //server/share rw
42 40 259:3 / /srv/builds/local rw - xfs /dev/sdb1 rw
43 22 0:52 / /twice rw - ext4 /dev/sdc1 rw
44 43 0:53 / /twice rw - fuse.sshfs host:/ rw
";

    #[test]
    fn the_longest_mount_point_counts() {
        for (folder, expected) in [
            ("/", "ext4"),
            ("/srv", "ext4"),
            ("/srv/buildsx", "ext4"),
            ("/srv/builds", "nfs4"),
            ("/srv/builds/shop/.samebits", "nfs4"),
            ("/srv/builds/local/a", "xfs"),
            ("/srv/my share/a", "cifs"),
            ("/twice/a", "fuse.sshfs"),
        ] {
            assert_eq!(file_system(MOUNTS, Path::new(folder)), Some(expected), "{folder}");
        }
        assert_eq!(file_system("nonsense\n - \n1 2 - ext4", Path::new("/")), None);
    }

    #[test]
    fn a_ledger_here_is_not_on_a_network() {
        local(&tempfile::tempdir().unwrap().path().join("ledger.db")).unwrap();
    }

    #[test]
    fn only_a_known_scheme_and_a_path_is_a_ledger_of_this_version() {
        let base = Path::new("/srv/policy");
        let sqlite = |path: &str| Location::Sqlite(path.into());
        assert_eq!(
            locate("sqlite:.samebits/ledger.db", base).unwrap(),
            sqlite("/srv/policy/.samebits/ledger.db")
        );
        assert_eq!(locate("sqlite:/var/lib/l.db", base).unwrap(), sqlite("/var/lib/l.db"));
        for scheme in ["git", "git+ssh", "git+http", "POSTGRES", "SQLITE", "S3", "http", ""] {
            let found = locate(&format!("{scheme}://x/y"), base);
            assert!(matches!(found, Err(LedgerError::Scheme { .. })), "{scheme}");
        }
        for wrong in [
            "",
            "ledger.db",
            "sqlite:",
            "sqlite::memory:",
            "sqlite:file:x?mode=memory",
            "sqlite:///a",
            "sqlite:a\0b",
            "file:",
            "file://host/a",
            "file:///a",
        ] {
            assert!(matches!(locate(wrong, base), Err(LedgerError::Url { .. })), "{wrong:?}");
        }
    }

    #[test]
    fn a_place_in_a_bucket_has_one_spelling_and_no_secret() {
        let base = Path::new("/srv/policy");
        assert_eq!(locate("file:ledger", base).unwrap(), Location::Folder("/srv/policy/ledger".into()));
        for (url, cloud, bucket, prefix) in [
            ("s3://acme-ledger/shop", Cloud::S3, "acme-ledger", "shop"),
            ("gs://acme/a/b_c/D.1", Cloud::Google, "acme", "a/b_c/D.1"),
            ("az://acme", Cloud::Azure, "acme", ""),
        ] {
            let found = locate(url, base).unwrap();
            let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
            assert_eq!(found, Location::Bucket { cloud, bucket, prefix });
            assert_eq!(found.place().to_string(), url);
        }
        for wrong in [
            "s3:",
            "s3:bucket/a",
            "s3:/bucket/a",
            "s3://",
            "s3:///a",
            "s3://bucket/",
            "s3://bucket//a",
            "s3://bucket/./a",
            "s3://bucket/../a",
            "s3://bucket/a/",
            "s3://bucket/a b",
            "s3://bucket/%61",
            "s3://bucket:80/a",
            "s3://bucket/a#1",
            "gs://b\u{fc}cket/a",
        ] {
            assert!(matches!(locate(wrong, base), Err(LedgerError::Url { .. })), "{wrong:?}");
        }
        for secret in ["s3://key:hunter2@bucket/a", "az://bucket/a?sig=hunter2"] {
            let text = locate(secret, base).unwrap_err().to_string();
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_branch_has_one_spelling_and_no_login() {
        let of = |url: &str| locate(url, Path::new("/srv/policy"));
        for (url, repository) in [
            ("git+https://github.com/acme/ledger#main", "https://github.com/acme/ledger"),
            ("git+https://git.example:8443/a/b.git#ledger/v1", "https://git.example:8443/a/b.git"),
            ("git+file:///srv/git/ledger.git#main", "file:///srv/git/ledger.git"),
        ] {
            let Location::Git(remote) = of(url).unwrap() else { panic!("{url}") };
            assert_eq!((remote.to_string(), remote.url()), (url.to_owned(), repository.to_owned()));
        }
        for wrong in [
            "git+https://github.com/acme/ledger",
            "git+https://github.com/acme/ledger#",
            "git+https://github.com/acme/ledger#-x",
            "git+https://github.com/acme/ledger#a..b",
            "git+https://github.com/acme/ledger#a b",
            "git+https://github.com/acme/ledger#a:b",
            "git+https://github.com/acme/ledger#a#b",
            "git+https://github.com/acme/ledger#/a",
            "git+https://github.com/acme/ledger#a.lock",
            "git+https://github.com/../ledger#main",
            "git+https://github.com#main",
            "git+https://-x/a#main",
            "git+https://host:0/a#main",
            "git+https:github.com/a#main",
            "git+file://host/a#main",
            "git+file:a#main",
            "git+file:///#main",
            "git+file:///a\nb#main",
        ] {
            assert!(matches!(of(wrong), Err(LedgerError::Url { .. })), "{wrong:?}");
        }
        for secret in
            ["git+https://ci:hunter2@github.com/a#main", "git+https://github.com/a?token=hunter2#main"]
        {
            let refused = of(secret).unwrap_err();
            assert!(matches!(refused, LedgerError::Url { .. }));
            assert!(!format!("{refused} {refused:?}").contains("hunter2"), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_mounts_and_urls_never_panic(text: String, folder: String) {
            let _ = file_system(&text, Path::new(&folder));
            let _ = unescape(&format!("{text}\\{folder}"));
            let _ = locate(&text, Path::new("/"));
            let _ = locate(&format!("git+https://{text}"), Path::new("/"));
        }
    }
}
