//! What was seen of the ledger, held against it whenever it is opened: the lock beside the policy, this user's pin.

use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::Context as _;
use samebits::ledger::pin::{Pin, Pinned};
use samebits::ledger::seen::{Seen, SeenBy};
use samebits::ledger::{Ledger, LedgerError};
use samebits::policy::Lock;
use samebits::tlog::TlogPolicy;

use crate::session::{FileError, Session, read_text, user_folder};
use crate::trouble::{Trouble, undecided, usage};

impl Session<'_> {
    /// The file of the lock: beside the policy file, and called like it.
    pub(crate) fn lock_file(&self) -> PathBuf {
        self.file.with_extension("lock")
    }

    /// The lock, where there is one; it is about the policy's log.
    pub(crate) fn lock(&self) -> Result<Option<Lock>, Trouble> {
        let file = self.lock_file();
        let text = match read_text(&file) {
            Ok(text) => text,
            Err(FileError::Io(error)) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let error = anyhow::Error::new(error);
                return Err(usage(error.context(format!("the lock {} cannot be read", file.display()))));
            }
        };
        let name = file.file_name().map_or_else(|| file.to_string_lossy(), |name| name.to_string_lossy());
        let lock = Lock::parse(&name, &text).map_err(usage)?;
        lock.agree(&self.vkey().map_err(usage)?).map_err(usage)?;
        Ok(Some(lock))
    }

    /// Whose cosignatures count, where the lock says it.
    pub(crate) fn witness_policy(&self) -> Result<Option<TlogPolicy>, Trouble> {
        Ok(self.lock()?.and_then(|lock| lock.witness_policy().cloned()))
    }

    /// Halts on a ledger that does not continue what was seen of it (D2, D3, D4).
    pub(crate) fn guard(&self, ledger: &mut Ledger) -> Result<(), Trouble> {
        self.against_both(ledger)?.context(NOT_USED).map_err(undecided)
    }

    /// As [`Session::guard`], for what needs no newest state: of a copy that was named, an older one will do.
    pub(crate) fn guard_copy(&self, ledger: &mut Ledger) -> Result<(), Trouble> {
        match self.against_both(ledger)? {
            Err(LedgerError::Shorter { place, .. }) if self.common.ledger.is_some() => {
                self.warn(format_args!("warning: {place} is older than what was seen of this ledger before"));
                Ok(())
            }
            held => held.context(NOT_USED).map_err(undecided),
        }
    }

    /// For an audit: what was seen and is not so. Damage that shows only on the way there is left to whoever looks at
    /// everything: the second part.
    pub(crate) fn contradiction(
        &self,
        ledger: &mut Ledger,
    ) -> Result<(Option<String>, Option<LedgerError>), Trouble> {
        match self.against_both(ledger)? {
            Ok(()) => Ok((None, None)),
            Err(error @ (LedgerError::Shorter { .. } | LedgerError::Forked { .. })) => {
                Ok((Some(error.to_string()), None))
            }
            Err(error @ LedgerError::Pin(_)) => Err(undecided(error)),
            Err(error) => Ok((None, Some(error))),
        }
    }

    /// The lock first: what contradicts it is not pinned.
    fn against_both(&self, ledger: &mut Ledger) -> Result<Result<(), LedgerError>, Trouble> {
        ledger.witnessed_by(self.witness_policy()?);
        Ok(match self.against_lock(ledger)? {
            Ok(()) => self.against_pin(ledger),
            Err(error) => Err(error),
        })
    }

    fn against_lock(&self, ledger: &Ledger) -> Result<Result<(), LedgerError>, Trouble> {
        let Some(lock) = self.lock()? else { return Ok(Ok(())) };
        let heads = [lock.main(), lock.control()];
        Ok(heads.into_iter().try_for_each(|head| {
            ledger.require(&Seen::claimed(head.clone(), SeenBy::Lock(lock.file().to_owned())))
        }))
    }

    fn against_pin(&self, ledger: &mut Ledger) -> Result<(), LedgerError> {
        let Some(folder) = user_folder("XDG_STATE_HOME", ".local/state") else {
            *self.unpinned.borrow_mut() = Some("there is neither XDG_STATE_HOME nor HOME".to_owned());
            return Ok(());
        };
        let pin = Pin::new(&folder.join("samebits/pins"), ledger.vkey());
        let file = pin.file().display().to_string();
        if let Pinned::No(why) = ledger.pin(pin)? {
            *self.unpinned.borrow_mut() = Some(format!("the pin {file} cannot be written: {why}"));
        }
        Ok(())
    }

    /// What a reader of an answer about the ledger has to know beside it.
    pub(crate) fn ledger_notes(&self) -> Vec<String> {
        let unpinned = self.unpinned.borrow();
        let note = |why: &String| {
            format!("unpinned: an older copy of the ledger would not be noticed the next time; {why}")
        };
        unpinned.iter().map(note).collect()
    }
}

const NOT_USED: &str = "this ledger is not used";
