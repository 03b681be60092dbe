//! Plain ustar archives (POSIX.1-1988): one file that holds many.
//!
//! Guarantees: an archive appears whole or not at all, takes the place of nothing, and says nothing of when and by whom it
//! was made, so that the same content is the same bytes. Of one that is read every name is known before any of its bytes
//! is used: regular files, each name once, none that leads out of it, every byte inside of it.
//! Never does: extended headers, links, sparse files, in either direction: they could give a file another name or other
//! bytes than other tools see.
//!
//! Start at [`Entries`] and [`Aside`].

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek as _, SeekFrom, Take};
use std::path::{Component, Path, PathBuf};

use tar::{EntryType, Header};

use crate::digest::shorten;

/// Files begin, and are filled up, at multiples of this.
const BLOCK: u64 = 512;
/// What ends an archive.
pub const END: [u8; 2 * BLOCK as usize] = [0; 2 * BLOCK as usize];

/// Why an archive was not written, or is not read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The disk.
    #[error("{} cannot be {action}", path.display())]
    Io {
        /// The archive.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// Something is there already.
    #[error("{} is there: nothing is overwritten, expected a new one", path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// What an interrupted run left, or another one is writing.
    #[error(
        "{} is there: a run that was interrupted left it, or one is writing it; remove it, and run this again",
        path.display()
    )]
    LeftOver {
        /// What is there.
        path: PathBuf,
    },
    /// Not such an archive.
    #[error("{} is no plain archive: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// Whether a path is one of an archive: by its name, unless a folder is there.
pub fn is_archive(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "tar") && !path.is_dir()
}

/// What an archive holds: names and places.
#[derive(Debug)]
pub struct Entries {
    path: PathBuf,
    all: BTreeMap<String, Place>,
}

/// Where the bytes of a file are.
#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u64,
    length: u64,
}

impl Entries {
    /// Lists an archive of at most `most` entries.
    ///
    /// # Errors
    /// [`ArchiveError::Io`], [`ArchiveError::Malformed`].
    pub fn open(path: &Path, most: usize) -> Result<Self, ArchiveError> {
        let mut entries = Self { path: path.to_owned(), all: BTreeMap::new() };
        // Before it is opened: opening a pipe waits for its other end.
        if !fs::metadata(path).map_err(entries.io())?.is_file() {
            return Err(entries.malformed("it is no regular file".to_owned()));
        }
        let file = File::open(path).map_err(entries.io())?;
        let size = file.metadata().map_err(entries.io())?.len();
        let mut archive = tar::Archive::new(file);
        // As they stand: longer names or other sizes from extensions are not read.
        let found = archive.entries_with_seek().map_err(entries.io())?.raw(true);
        for (count, entry) in found.enumerate() {
            let entry = entry.map_err(entries.io())?;
            if count >= most {
                return Err(entries.malformed(format!("it has more than {most} entries")));
            }
            let name = name(&entry.path().map_err(entries.io())?);
            let name = name.ok_or_else(|| entries.malformed("a name in it leads out of it".to_owned()))?;
            let kind = entry.header().entry_type();
            let place = Place { offset: entry.raw_file_position(), length: entry.size() };
            // Of a folder with a length not everybody agrees where the next entry begins.
            match (kind.is_dir() && place.length == 0, kind.is_file() && !name.is_empty()) {
                (true, _) => {}
                (false, true) => entries.add(name, place, size)?,
                (false, false) => {
                    let name = shorten(&name);
                    let why = format!("`{name}` is a link, device or extended header: expected plain ustar");
                    return Err(entries.malformed(why));
                }
            }
        }
        Ok(entries)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every name, as a `/`-separated path.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.keys().map(String::as_str)
    }

    /// How many bytes a file has; `None` if there is none.
    pub fn length(&self, name: &str) -> Option<u64> {
        self.all.get(name).map(|place| place.length)
    }

    /// The archive at the first byte of a file, and how many bytes that has; `None` if there is none.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn read(&self, name: &str) -> std::io::Result<Option<Take<File>>> {
        let Some(Place { offset, length }) = self.all.get(name).copied() else { return Ok(None) };
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Some(file.take(length)))
    }

    fn add(&mut self, name: String, place: Place, size: u64) -> Result<(), ArchiveError> {
        // What is passed over is not looked at by the reader of archives.
        if place.offset.checked_add(place.length).is_none_or(|end| end > size) {
            return Err(self.malformed(format!("it ends in the middle of `{}`", shorten(&name))));
        }
        match self.all.insert(name.clone(), place) {
            None => Ok(()),
            Some(_) => Err(self.malformed(format!("it has `{}` twice", shorten(&name)))),
        }
    }

    fn io(&self) -> impl Fn(std::io::Error) -> ArchiveError + use<> {
        io(&self.path, "read")
    }

    fn malformed(&self, why: String) -> ArchiveError {
        ArchiveError::Malformed { path: self.path.clone(), why }
    }
}

/// The one spelling of a name: no `.`, no empty parts. `None` where it leads out of the archive or is not UTF-8.
fn name(path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::ParentDir => return None,
        }
    }
    Some(parts.join("/"))
}

/// An archive that is being written beside its place; it goes away unless it is finished.
#[derive(Debug)]
pub struct Aside {
    path: PathBuf,
    aside: PathBuf,
    finished: bool,
}

impl Aside {
    /// Begins; the name must be free.
    ///
    /// # Errors
    /// [`ArchiveError::Exists`], [`ArchiveError::LeftOver`], [`ArchiveError::Io`].
    pub fn begin(path: &Path) -> Result<(Self, File), ArchiveError> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(io(path, "looked at")(error)),
            Ok(_) => return Err(ArchiveError::Exists { path: path.to_owned() }),
        }
        let aside = aside(path);
        let file = File::options().write(true).create_new(true).open(&aside);
        let file = file.map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => ArchiveError::LeftOver { path: aside.clone() },
            _ => io(&aside, "made")(source),
        })?;
        Ok((Self { path: path.to_owned(), aside, finished: false }, file))
    }

    /// Where it is written.
    pub fn aside(&self) -> &Path {
        &self.aside
    }

    /// Puts it in its place, where nobody was faster.
    ///
    /// # Errors
    /// [`ArchiveError::Exists`], [`ArchiveError::Io`].
    pub fn finish(mut self, file: &File) -> Result<(), ArchiveError> {
        file.sync_all().map_err(io(&self.aside, "written"))?;
        // Unlike a renaming, this takes the place of nothing.
        fs::hard_link(&self.aside, &self.path).map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => ArchiveError::Exists { path: self.path.clone() },
            _ => io(&self.path, "put in its place")(source),
        })?;
        self.finished = true;
        fs::remove_file(&self.aside).map_err(io(&self.aside, "removed"))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if !self.finished {
            // Best effort: what is left of it is named the next time.
            let _ = fs::remove_file(&self.aside);
        }
    }
}

/// Where something is written that will be put at `path`.
pub fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().map(ToOwned::to_owned).unwrap_or_default();
    name.push(".partial");
    path.with_file_name(name)
}

/// What stands before a file of `length` bytes: no time, no owner.
///
/// # Errors
/// A name that is too long for ustar.
pub fn header(name: &str, length: u64) -> std::io::Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_entry_type(EntryType::Regular);
    header.set_size(length);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    Ok(header)
}

/// What fills a file of `length` bytes up to the next.
pub fn padding(length: u64) -> &'static [u8] {
    // Less than a block.
    let missing = (BLOCK - length % BLOCK) % BLOCK;
    &END[..missing as usize]
}

fn io(path: &Path, action: &'static str) -> impl Fn(std::io::Error) -> ArchiveError + use<> {
    let path = path.to_owned();
    move |source| ArchiveError::Io { path: path.clone(), action, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn archive(folder: &Path, entries: &[(Header, &[u8])]) -> PathBuf {
        let path = folder.join("a.tar");
        let mut file = File::create(&path).unwrap();
        for (header, bytes) in entries {
            file.write_all(header.as_bytes()).unwrap();
            file.write_all(bytes).unwrap();
            file.write_all(padding(bytes.len() as u64)).unwrap();
        }
        file.write_all(&END).unwrap();
        path
    }

    /// `header` with a name and a type that ours would not take.
    fn odd(name: &str, kind: EntryType, length: u64) -> Header {
        let mut header = header("name", length).unwrap();
        header.as_old_mut().name = [0; 100];
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_cksum();
        header
    }

    fn refused(entries: &[(Header, &[u8])]) -> String {
        let folder = tempfile::tempdir().unwrap();
        match Entries::open(&archive(folder.path(), entries), 8) {
            Err(ArchiveError::Malformed { why, .. }) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn files_are_found_by_one_spelling_of_their_name() {
        let folder = tempfile::tempdir().unwrap();
        let long = vec![7; 1000];
        let entries = [
            (odd("./", EntryType::Directory, 0), &b""[..]),
            (odd("./a/", EntryType::Directory, 0), b""),
            (odd("./a//b", EntryType::Regular, 1000), &long),
            (header("c", 0).unwrap(), b""),
        ];
        let entries = Entries::open(&archive(folder.path(), &entries), 8).unwrap();
        assert_eq!(entries.names().collect::<Vec<_>>(), ["a/b", "c"]);
        let mut read = Vec::new();
        entries.read("a/b").unwrap().unwrap().read_to_end(&mut read).unwrap();
        assert_eq!((read, entries.length("c")), (long, Some(0)));
        assert!(entries.read("b").unwrap().is_none());
    }

    #[test]
    fn f7_what_is_no_plain_file_of_its_own_is_refused() {
        let plain = |name: &str| (header(name, 1).unwrap(), &b"x"[..]);
        for name in ["../a", "/a", "a/../../b", ".."] {
            assert!(refused(&[(odd(name, EntryType::Regular, 1), b"x")]).contains("leads out"), "{name}");
        }
        for kind in *b"123456LKxgSMV7" {
            let why = refused(&[plain("a"), (odd("b", EntryType::new(kind), 1), b"x")]);
            assert!(why.contains("expected plain ustar"), "{}: {why}", char::from(kind));
        }
        assert!(refused(&[plain("a"), plain("b"), plain("a")]).contains("`a` twice"));
        assert!(refused(&[plain("a"), (odd("./a", EntryType::Regular, 1), b"x")]).contains("`a` twice"));
        assert!(refused(&[(odd("./", EntryType::Regular, 1), b"x")]).contains("expected plain ustar"));
        assert!(refused(&[(header("a", 1 << 40).unwrap(), b"x")]).contains("ends in the middle"));
        let many: Vec<String> = (0..9).map(|number| number.to_string()).collect();
        let many: Vec<_> = many.iter().map(|name| plain(name)).collect();
        assert!(refused(&many).contains("more than 8"));
    }

    #[test]
    fn an_archive_is_put_in_its_place_whole_and_takes_the_place_of_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        let (aside, file) = Aside::begin(&path).unwrap();
        assert!(matches!(Aside::begin(&path), Err(ArchiveError::LeftOver { .. })));
        assert!(!path.exists());
        aside.finish(&file).unwrap();
        assert!(matches!(Aside::begin(&path), Err(ArchiveError::Exists { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

        let other = folder.path().join("b.tar");
        let (aside, file) = Aside::begin(&other).unwrap();
        fs::write(&other, "somebody was faster").unwrap();
        assert!(matches!(aside.finish(&file), Err(ArchiveError::Exists { .. })));
        assert_eq!(fs::read(&other).unwrap(), b"somebody was faster");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes: Vec<u8>, whole: bool) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.tar");
            if whole {
                let header = header("a", bytes.len() as u64).unwrap();
                bytes = [&header.as_bytes()[..], &bytes].concat();
            }
            fs::write(&path, bytes).unwrap();
            let _ = Entries::open(&path, 8);
        }
    }
}
