//! The pin: the newest heads of a log that this user has verified, in a file of their own (`ATTACKS.md` D2, D3).
//!
//! Guarantees: a ledger that does not continue its pin is refused; a pin is never lowered, whoever else raises it, and
//! is whole or not there; one that is malformed is an error that names the file. The heads are kept as signed notes:
//! with a ledger that does not continue them they prove that the log's key signed two histories. Never does: protect
//! from whoever can write this user's files, or notice anything on a machine that sees the ledger for the first time.
//!
//! Start at [`Ledger::pin`].

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::seen::{Seen, SeenBy};
use super::{Ledger, LedgerError};
use crate::digest::Digest;
use crate::json;
use crate::tlog::{MAX_NOTE, SignedCheckpoint, TlogError, Vkey};

/// The largest pin in bytes: two notes, escaped.
const LIMIT: usize = 4 * MAX_NOTE;

/// Why a pin cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// It cannot be read, and may say anything.
    #[error("the pin {file} cannot be read")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is no pin.
    #[error("the pin {file} is malformed: expected JSON with the signed checkpoints `main` and `control`")]
    Malformed {
        /// The file.
        file: PathBuf,
    },
    /// What it holds is not signed by the ledger's key.
    #[error("the {lane} checkpoint in the pin {file} is not believed")]
    Unsigned {
        /// The file.
        file: PathBuf,
        /// `main` or `control`.
        lane: &'static str,
        /// Why not.
        source: Box<TlogError>,
    },
}

/// Whether what was seen now will be remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pinned {
    /// It is.
    Yes,
    /// It was compared with what there is, but could not be written, and why.
    No(String),
}

/// Where the pin of one log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    file: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Notes {
    main: String,
    control: String,
}

impl Notes {
    /// Strict JSON with exactly these two.
    fn read(bytes: &[u8]) -> Option<Self> {
        let value = json::parse(bytes, json::Limits { bytes: LIMIT, depth: 1 }).ok()?;
        serde_json::from_value(value).ok()
    }
}

struct Heads {
    main: SignedCheckpoint,
    control: SignedCheckpoint,
}

impl Pin {
    /// The pin of the log of `vkey` among those in `folder`: named by the digest of the key's text, which has the origin
    /// in it, so that no name of a log can lead out of the folder (F7).
    pub fn new(folder: &Path, vkey: &Vkey) -> Self {
        Self { file: folder.join(Digest::of(vkey.to_string().as_bytes()).hex()) }
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Compares the ledger with the pin, then raises the pin, all of it while no other process does.
    fn meet(&self, ledger: &Ledger) -> Result<Pinned, LedgerError> {
        let guard = self.lock();
        let before = self.read(ledger)?;
        if let Some(Heads { main, control }) = &before {
            let by = || SeenBy::Pin(self.file.display().to_string());
            ledger.require(&Seen::signed(main, by()))?;
            ledger.require(&Seen::signed(control, by()))?;
        }
        let (main, control) = (ledger.tip()?, ledger.control_tip()?);
        // What is new is filed as it says, before it is anything that was seen.
        ledger.require_rows(&main, before.as_ref().map_or(0, |before| before.main.size()))?;
        let guard = match guard {
            Ok(guard) => guard,
            Err(error) => return Ok(Pinned::No(error.to_string())),
        };
        let higher = before
            .is_none_or(|before| main.size() > before.main.size() || control.size() > before.control.size());
        let written = if higher { self.write(&main, &control) } else { Ok(()) };
        drop(guard);
        Ok(written.map_or_else(|error| Pinned::No(error.to_string()), |()| Pinned::Yes))
    }

    /// Held while the pin is read and raised; let go of when the process ends, however it does.
    fn lock(&self) -> io::Result<File> {
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder)?;
        }
        let lock = File::options().create(true).truncate(false).write(true).open(self.beside("lock"))?;
        lock.lock()?;
        Ok(lock)
    }

    fn beside(&self, extension: &str) -> PathBuf {
        self.file.with_extension(extension)
    }

    fn read(&self, ledger: &Ledger) -> Result<Option<Heads>, PinError> {
        let file = || self.file.clone();
        let opened = match File::open(&self.file) {
            Ok(opened) => opened,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(source) => return Err(PinError::Unreadable { file: file(), source }),
        };
        let mut bytes = Vec::new();
        opened
            .take(LIMIT as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| PinError::Unreadable { file: file(), source })?;
        let notes = Notes::read(&bytes).ok_or_else(|| PinError::Malformed { file: file() })?;
        let open = |lane, vkey: &Vkey, note: &str| {
            vkey.open(note).map_err(|source| PinError::Unsigned {
                file: file(),
                lane,
                source: Box::new(source),
            })
        };
        Ok(Some(Heads {
            main: open("main", &ledger.vkey, &notes.main)?,
            control: open("control", &ledger.control, &notes.control)?,
        }))
    }

    /// Whole or not at all: a new file in the place of the old one.
    fn write(&self, main: &SignedCheckpoint, control: &SignedCheckpoint) -> io::Result<()> {
        let notes = Notes { main: main.text().to_owned(), control: control.text().to_owned() };
        let new = self.beside("new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec_pretty(&notes)?)?;
        file.sync_all()?;
        fs::rename(&new, &self.file)
    }
}

impl Ledger {
    /// Refuses a ledger that does not continue `pin`, raises the pin to what it has now, and again after every append.
    ///
    /// # Errors
    /// [`LedgerError::Shorter`], [`LedgerError::Forked`], [`LedgerError::Pin`]; see [`LedgerError`].
    pub fn pin(&mut self, pin: Pin) -> Result<Pinned, LedgerError> {
        let pinned = pin.meet(self)?;
        self.pin = Some(pin);
        Ok(pinned)
    }

    /// After an append that is durable: where the pin cannot be written it stays as it was, which is noticed when the
    /// ledger is opened again.
    pub(super) fn raise_pin(&self) -> Result<(), LedgerError> {
        match &self.pin {
            Some(pin) => pin.meet(self).map(|_| ()),
            None => Ok(()),
        }
    }
}
