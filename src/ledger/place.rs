//! Where a ledger is: its URL, and the file systems it may not be on.
//!
//! Guarantees: only `sqlite:PATH` is a ledger of this version, and a file system known to share files between
//! machines is refused. Never does: guess a default.

use std::fmt;
use std::path::{Path, PathBuf};

use super::LedgerError;
use crate::digest::shorten;

/// How a ledger is called in messages: its path, or its URL without anything secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(String);

impl Place {
    pub(super) fn file(path: &Path) -> Self {
        Self(path.display().to_string())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a ledger's URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// A file of SQLite's.
    Sqlite(PathBuf),
}

impl Location {
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Sqlite(path) => Place::file(path),
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
    let Some((scheme, path)) = url.split_once(':') else {
        return Err(LedgerError::Url { found: shorten(url) });
    };
    if scheme != "sqlite" {
        return Err(LedgerError::Scheme { found: shorten(scheme) });
    }
    // The bundled SQLite reads `file:` names as URIs. `sqlite::memory:` and `sqlite:///` are other tools'
    // spellings; a NUL ends a path early.
    if path.is_empty()
        || path.starts_with("file:")
        || path.starts_with(':')
        || path.starts_with("//")
        || path.contains('\0')
    {
        return Err(LedgerError::Url { found: shorten(url) });
    }
    Ok(Location::Sqlite(base.join(path)))
}

/// Refuses a path on a network file system, as far as the operating system tells (Linux).
pub(super) fn local(path: &Path) -> Result<(), LedgerError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Elsewhere there is no such file, and a folder that is not there is reported by whoever opens it.
    let (Ok(folder), Ok(mounts)) = (folder.canonicalize(), std::fs::read_to_string("/proc/self/mountinfo"))
    else {
        return Ok(());
    };
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
    fn only_sqlite_and_a_path_is_a_ledger_of_this_version() {
        let base = Path::new("/srv/policy");
        let sqlite = |path: &str| Location::Sqlite(path.into());
        assert_eq!(
            locate("sqlite:.samebits/ledger.db", base).unwrap(),
            sqlite("/srv/policy/.samebits/ledger.db")
        );
        assert_eq!(locate("sqlite:/var/lib/l.db", base).unwrap(), sqlite("/var/lib/l.db"));
        for scheme in ["s3", "gs", "az", "file", "git+https", "postgres", "SQLITE", ""] {
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
        ] {
            assert!(matches!(locate(wrong, base), Err(LedgerError::Url { .. })), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_mounts_and_urls_never_panic(text: String, folder: String) {
            let _ = file_system(&text, Path::new(&folder));
            let _ = unescape(&format!("{text}\\{folder}"));
            let _ = locate(&text, Path::new("/"));
        }
    }
}
