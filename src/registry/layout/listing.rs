//! Manifests that are to be listed in `index.json`.
//!
//! Guarantees: `index.json` changes under a lock that other samebits processes respect; what it lists is on disk before
//! it says so, and it is itself on disk before anybody is told; what several want at the same time is written at once.
//! Never does: deleting.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, INDEX};
use super::list;
use super::temporary::sync_folder;
use crate::closure::Document;
use crate::digest::Digest;
use crate::reference::Tag;
use crate::registry::error::RegistryError;

/// A manifest whose file is there.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) tag: Option<Tag>,
    pub(super) document: Document,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) listed: AtomicBool,
}

/// Those that are not listed yet, of all that share a [`Disk`].
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Vec<Arc<Wanted>>>);

impl Waiting {
    fn all(&self) -> MutexGuard<'_, Vec<Arc<Wanted>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    /// Lists a manifest, and what others wait to have listed.
    pub(super) fn list(&self, wanted: Wanted) -> Result<(), RegistryError> {
        let wanted = Arc::new(wanted);
        self.waiting.all().push(Arc::clone(&wanted));
        let outcome = self.lock().and_then(|_lock| match wanted.listed.load(Ordering::Acquire) {
            // Whoever had the lock before has done it.
            true => Ok(()),
            false => self.list_all(),
        });
        self.waiting.all().retain(|other| !Arc::ptr_eq(other, &wanted));
        outcome
    }

    /// Under the lock. Where it fails, each of the others finds out by itself.
    fn list_all(&self) -> Result<(), RegistryError> {
        // What is listed and waits for nothing but the lock is not listed again: its tag may have moved on since.
        let waits = |one: &&Arc<Wanted>| !one.listed.load(Ordering::Acquire);
        let all: Vec<_> = self.waiting.all().iter().filter(waits).cloned().collect();
        // 1. The names of what is listed, and of what that holds.
        sync_folder(&self.blobs())?;
        // 2. The list.
        let mut value = self.index_value()?;
        let before = value.clone();
        for Wanted { tag, document, digest, size, .. } in all.iter().map(Arc::as_ref) {
            list(&mut value, tag.as_ref(), document, *digest, *size);
        }
        match value == before {
            // Whoever wrote it may have ended, or failed, before its name was on disk.
            true => self.sync_names()?,
            false => self.replace(INDEX, &value)?,
        }
        all.iter().for_each(|wanted| wanted.listed.store(true, Ordering::Release));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::closure::OCI_INDEX;

    fn wanted(disk: &Disk, tag: Option<&str>, salt: usize) -> Wanted {
        let bytes = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[],"annotations":{{"salt":"{salt}"}}}}"#
        );
        let digest = Digest::of(bytes.as_bytes());
        disk.write_blob(digest, bytes.as_bytes()).unwrap();
        Wanted {
            tag: tag.map(|tag| tag.parse().unwrap()),
            document: Document::read(bytes.as_bytes(), None, Some(OCI_INDEX)).unwrap(),
            digest,
            size: bytes.len() as u64,
            listed: AtomicBool::new(false),
        }
    }

    #[test]
    fn what_waits_is_listed_along_and_nothing_twice() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::folder(folder.path().join("layout"));
        disk.prepare().unwrap();
        let others: Vec<_> = (1..4).map(|salt| Arc::new(wanted(&disk, None, salt))).collect();
        disk.waiting.all().extend(others.iter().cloned());
        let own = wanted(&disk, Some("1.0"), 0);
        let digest = own.digest;
        disk.list(own).unwrap();
        assert!(others.iter().all(|other| other.listed.load(Ordering::Acquire)));
        let listed: Vec<Digest> = disk.index().unwrap().entries.iter().map(|entry| entry.digest).collect();
        let wanted: Vec<Digest> = others.iter().map(|other| other.digest).chain([digest]).collect();
        assert_eq!(listed, wanted);
        assert_eq!(disk.waiting.all().len(), 3, "each goes by itself");
    }

    #[test]
    fn a_tag_that_was_listed_along_and_has_moved_on_is_not_moved_back() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::folder(folder.path().join("layout"));
        disk.prepare().unwrap();
        // One of ours lists it along; it still waits for the lock.
        let first = Arc::new(wanted(&disk, Some("1.0"), 1));
        disk.waiting.all().push(Arc::clone(&first));
        disk.list(wanted(&disk, None, 0)).unwrap();
        assert!(first.listed.load(Ordering::Acquire));
        // Another process moves the tag, and then it is the turn of one of ours.
        let others = Disk::folder(folder.path().join("layout"));
        let second = wanted(&others, Some("1.0"), 2);
        let moved = second.digest;
        others.list(second).unwrap();
        disk.list(wanted(&disk, None, 3)).unwrap();
        let index = disk.index().unwrap();
        let tagged = index.tagged(&disk, &"1.0".parse().unwrap()).unwrap();
        assert_eq!(tagged.map(|entry| entry.digest), Some(moved));
    }

    #[test]
    fn where_the_list_cannot_be_written_nobody_is_told_that_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::folder(folder.path().join("layout"));
        disk.prepare().unwrap();
        let other = Arc::new(wanted(&disk, None, 1));
        disk.waiting.all().push(Arc::clone(&other));
        let own = wanted(&disk, None, 0);
        std::fs::write(folder.path().join("layout").join(INDEX), "{").unwrap();
        assert!(matches!(disk.list(own), Err(RegistryError::LayoutMalformed { .. })));
        assert!(!other.listed.load(Ordering::Acquire));
        assert_eq!(disk.waiting.all().len(), 1, "who failed does not wait any more");
    }
}
