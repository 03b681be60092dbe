//! Evidence that whoever asks has named: bundles from disk, for registries that keep none (attack B12), and repositories to
//! look into.
//!
//! Guarantees: every file that was named is read whole or is an error with its file and line; a folder's other
//! files are told, never dropped in silence; sizes and counts are limited as they are for a registry.
//! Never does: verify; what a file holds is as foreign as what a registry holds. Read a repository: that is `store.rs`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::Value;

use super::{EVIDENCE_BYTES, TOGETHER};
use crate::digest::shorten;
use crate::evidence::is_bundle;
use crate::json::{self, JsonError};
use crate::reference::Repository;

/// How many bundles all files together may hold, and how many files a folder.
const COUNT: usize = 1000;

/// What a folder's files must end in to be read: one bundle, or one a line.
const ONE: [&str; 3] = ["json", "bundle", "sigstore"];
const LINES: &str = "jsonl";

/// Why files are no evidence that could be looked at.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// There is no such file or folder.
    #[error(
        "there is no evidence at {path}: expected a bundle, a file with one a line, or a folder of them (a repository is \
         typed `registry:HOST/PATH`, a layout `oci:FOLDER`)"
    )]
    Absent {
        /// As it was typed.
        path: String,
    },
    /// It cannot be read.
    #[error("the evidence at {path} cannot be read")]
    Unreadable {
        /// The file or folder.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A pipe, a device, a folder in a folder.
    #[error("{path} is not a regular file: expected one with bundles")]
    NotAFile {
        /// The file.
        path: String,
    },
    /// Not one JSON text.
    #[error("{place} is not a Sigstore bundle: its JSON is wrong")]
    Json {
        /// The file, and the line in it.
        place: String,
        /// What is wrong.
        source: JsonError,
    },
    /// JSON of another kind.
    #[error(
        "{place} is not a Sigstore bundle: its mediaType is `{found}`, expected \
         `application/vnd.dev.sigstore.bundle.v0.3+json` (cosign: --new-bundle-format)"
    )]
    NotABundle {
        /// The file, and the line in it.
        place: String,
        /// What stands there.
        found: String,
    },
    /// Nothing in it.
    #[error("{path} holds no bundle: expected at least one (a download that failed?)")]
    Empty {
        /// The file or folder.
        path: String,
    },
    /// One bundle is too large.
    #[error("{place} is larger than {limit} bytes")]
    TooLarge {
        /// The file, and the line in it.
        place: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// All of it is too much.
    #[error("there is more evidence on disk than is read: at {path} it is more than {limit} {what}")]
    TooMuch {
        /// Where the limit was reached.
        path: String,
        /// The limit.
        limit: u64,
        /// What was counted.
        what: &'static str,
    },
}

/// Bundles as they lie on disk, nothing in them is proved; and repositories where there may be more.
#[derive(Clone, Debug, Default)]
pub struct Files {
    bundles: Vec<Bundle>,
    repositories: Vec<Repository>,
    remarks: Vec<String>,
    bytes: u64,
}

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Bundle {
    /// The file, and the line in it.
    pub(super) place: String,
    pub(super) bytes: Bytes,
}

impl Files {
    /// Reads what was named: a bundle, a `.jsonl` with one bundle a line (`gh attestation download`), or a folder of
    /// both. A folder is not read into its own folders.
    ///
    /// # Errors
    /// [`FilesError`]; a file that holds no bundles is never the same as no file.
    pub fn read(paths: &[PathBuf]) -> Result<Self, FilesError> {
        let mut files = Self::default();
        for path in paths {
            files.add(path)?;
        }
        Ok(files)
    }

    /// With repositories that are looked into as well, each once. They are read as an evidence store of the policy is, and
    /// never written to.
    pub fn and_from(mut self, repositories: impl IntoIterator<Item = Repository>) -> Self {
        for repository in repositories {
            if !self.repositories.contains(&repository) {
                self.repositories.push(repository);
            }
        }
        self
    }

    pub(super) fn repositories(&self) -> &[Repository] {
        &self.repositories
    }

    pub(super) fn bundles(&self) -> &[Bundle] {
        &self.bundles
    }

    pub(super) fn remarks(&self) -> &[String] {
        &self.remarks
    }

    fn add(&mut self, path: &Path) -> Result<(), FilesError> {
        // Before it is opened: opening a pipe waits for its other end.
        let metadata = std::fs::metadata(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => FilesError::Absent { path: shown(path) },
            _ => FilesError::Unreadable { path: shown(path), source },
        })?;
        let before = self.bundles.len();
        if metadata.is_dir() {
            self.folder(path)?;
        } else {
            self.file(path)?;
        }
        match self.bundles.len() == before {
            true => Err(FilesError::Empty { path: shown(path) }),
            false => Ok(()),
        }
    }

    /// In the order of the names, so that two runs say the same.
    fn folder(&mut self, path: &Path) -> Result<(), FilesError> {
        let unreadable = |source| FilesError::Unreadable { path: shown(path), source };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            if names.len() >= COUNT {
                let limit = COUNT as u64;
                return Err(FilesError::TooMuch { path: shown(path), limit, what: "files" });
            }
            names.push(entry.map_err(unreadable)?.path());
        }
        names.sort();
        for name in names {
            let ending = name.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            if ONE.contains(&ending) || ending == LINES {
                self.file(&name)?;
            } else {
                let expected = "expected .json, .jsonl, .bundle or .sigstore";
                self.remarks.push(format!("{} was not read as evidence: {expected}", shown(&name)));
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<(), FilesError> {
        let bytes = self.whole(path)?;
        let lines = path.extension().is_some_and(|ending| ending == LINES);
        if !lines {
            return self.bundle_at(shown(path), bytes.trim_ascii());
        }
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if !line.is_empty() {
                self.bundle_at(format!("{}, line {}", shown(path), number + 1), line)?;
            }
        }
        Ok(())
    }

    fn whole(&mut self, path: &Path) -> Result<Vec<u8>, FilesError> {
        let unreadable = |source| FilesError::Unreadable { path: shown(path), source };
        if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(FilesError::NotAFile { path: shown(path) });
        }
        let left = TOGETHER - self.bytes;
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(left + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        let length = bytes.len() as u64;
        if length > left {
            return Err(FilesError::TooMuch { path: shown(path), limit: TOGETHER, what: "bytes" });
        }
        self.bytes += length;
        Ok(bytes)
    }

    fn bundle_at(&mut self, place: String, bytes: &[u8]) -> Result<(), FilesError> {
        if bytes.len() as u64 > EVIDENCE_BYTES {
            return Err(FilesError::TooLarge { place, limit: EVIDENCE_BYTES });
        }
        if self.bundles.len() >= COUNT {
            return Err(FilesError::TooMuch { path: place, limit: COUNT as u64, what: "bundles" });
        }
        let value = match json::parse(bytes, json::Limits::default()) {
            Ok(value) => value,
            Err(source) => return Err(FilesError::Json { place, source }),
        };
        let media_type = value.get("mediaType").and_then(Value::as_str).unwrap_or_default();
        if !is_bundle(media_type) {
            return Err(FilesError::NotABundle { place, found: shorten(media_type) });
        }
        self.bundles.push(Bundle { place, bytes: Bytes::copy_from_slice(bytes) });
        Ok(())
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
