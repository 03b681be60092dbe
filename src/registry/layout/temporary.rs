//! A file of a layout while it is written.
//!
//! Guarantees: under its name a file is whole, and on disk before it has it; what is written of a large one goes to disk
//! while the rest is still coming, so that nobody waits for all of it at the end. Never does: lasting names, which is
//! [`sync_folder`]'s part.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};

use bytes::Bytes;
use tokio::sync::mpsc::Receiver;

use super::disk::failed;
use crate::registry::error::RegistryError;

/// New bytes of a file for which it is worth to begin writing them to disk.
const EARLY: usize = 8 << 20;

/// A file in the making, beside the one it will become; it goes away unless it is kept.
#[derive(Debug)]
pub(super) struct Temporary {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl Temporary {
    pub(super) fn create_in(folder: &Path) -> Result<Self, RegistryError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!(".samebits.{}.{number}", std::process::id()));
            match File::options().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Self { path, file, kept: false }),
                // Left behind by a crashed process of the same number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(failed(&path)(error)),
            }
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), RegistryError> {
        self.file.write_all(bytes).map_err(failed(&self.path))
    }

    /// Writes what comes until nothing more comes; the pieces are not copied on their way.
    pub(super) fn fill(&mut self, mut pieces: Receiver<Bytes>) -> Result<(), RegistryError> {
        let file = &self.file;
        let filled = thread::scope(|scope| {
            let (mut fresh, mut early) = (0, None::<ScopedJoinHandle<'_, std::io::Result<()>>>);
            while let Some(piece) = pieces.blocking_recv() {
                (&*file).write_all(&piece)?;
                fresh += piece.len();
                // One at a time: a slow disk is given more at once.
                if fresh >= EARLY && early.as_ref().is_none_or(ScopedJoinHandle::is_finished) {
                    ended(early.take())?;
                    fresh = 0;
                    // Without a thread all is written at the end.
                    early = thread::Builder::new().spawn_scoped(scope, move || file.sync_data()).ok();
                }
            }
            ended(early)
        });
        filled.map_err(failed(&self.path))
    }

    /// Data to disk, then the name.
    pub(super) fn keep(mut self, path: &Path) -> Result<(), RegistryError> {
        self.file.sync_data().map_err(failed(&self.path))?;
        fs::rename(&self.path, path).map_err(failed(path))?;
        self.kept = true;
        Ok(())
    }
}

/// How it ended. The system tells of a failed write once: whoever is told must not lose it.
fn ended(early: Option<ScopedJoinHandle<'_, std::io::Result<()>>>) -> std::io::Result<()> {
    match early.map(ScopedJoinHandle::join) {
        None => Ok(()),
        Some(Ok(outcome)) => outcome,
        Some(Err(panic)) => std::panic::resume_unwind(panic),
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            // Best effort: a leftover is never read, its name is no digest.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The names in a folder to disk. Windows has no folder that could be opened as a file; NTFS keeps a journal of names.
pub(super) fn sync_folder(folder: &Path) -> Result<(), RegistryError> {
    #[cfg(unix)]
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}
