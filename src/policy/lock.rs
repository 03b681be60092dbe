//! `samebits.lock`: the ledger as it was seen, in a file that is reviewed like the policy it lies beside.
//!
//! Guarantees: one strict reading, unknown keys refused, every error at its line; [`Lock::raised`] changes nothing but
//! sizes and roots, and never to a smaller size, so that what a reviewer sees is what the ledger grew by. Never does:
//! I/O, or compare with a ledger: [`crate::ledger::seen`] does.
//!
//! The checkpoints are size and root, without signatures: nobody can review a signature, and who may change this file
//! may change the policy. The checkpoints that are proof against the log's own key are in the pin
//! ([`crate::ledger::pin`]) and in the records.

use toml::de::DeTable;

use super::diagnostic::{Errors, Span};
use super::read::{At, Found, Read, Table};
use super::{LIMIT, PolicyErrors, Problem, toml_table};
use crate::digest::{Digest, shorten};
use crate::tlog::{Checkpoint, Origin, TlogPolicy, Vkey};

/// The two lanes' least checkpoints, and whose they are.
#[derive(Clone, Debug)]
pub struct Lock {
    file: String,
    text: String,
    origin: Origin,
    vkeys: Vec<Vkey>,
    witness_policy: Option<TlogPolicy>,
    main: Least,
    control: Least,
}

/// A checkpoint and where it is written.
#[derive(Clone, Debug)]
struct Least {
    checkpoint: Checkpoint,
    size: Span,
    root: Span,
}

/// A lock that is about another log than the policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Another name.
    #[error("{file} is about the log `{found}`, and the policy names `{expected}`")]
    Origin {
        /// The lock.
        file: String,
        /// The policy's.
        expected: Origin,
        /// The lock's.
        found: Origin,
    },
    /// Another key.
    #[error("{file} does not have the policy's verifier key {expected} among its `vkeys`")]
    Key {
        /// The lock.
        file: String,
        /// The policy's.
        expected: Vkey,
    },
}

impl LockError {
    /// What the reader of the error can do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Origin { .. } | Self::Key { .. } => {
                "one of the two files was changed: whoever reviews them has to say which is right"
            }
        }
    }
}

/// The file as it is written.
struct Raw {
    origin: At<String>,
    vkeys: At<Vec<At<String>>>,
    witness_policy: Option<At<String>>,
    main: RawHead,
    control: RawHead,
}

struct RawHead {
    size: At<i64>,
    root: At<String>,
}

impl Lock {
    /// A first lock for the log of `vkey`, with the heads it has now; `control` is its control lane's.
    pub fn new(
        file: &str,
        vkey: &Vkey,
        main: &Checkpoint,
        control: &Checkpoint,
    ) -> Result<Self, PolicyErrors> {
        let head =
            |name, head: &Checkpoint| format!("[{name}]\nsize = {}\nroot = \"{}\"\n", head.size, head.root);
        let text = format!(
            "# The ledger as it was seen: a shorter or another one is refused. `samebits ledger lock --update` raises it.\n\
             version = 1\norigin = \"{}\"\nvkeys = [\"{vkey}\"]\n\n{}\n{}",
            vkey.origin(),
            head("main", main),
            head("control", control),
        );
        Self::parse(file, &text)
    }

    /// Reads the text of a lock. `file` is its name in error messages.
    ///
    /// # Errors
    /// Everything that is not TOML, is of the wrong type, is missing, is empty, has an unknown key, or is no key, size
    /// or root.
    pub fn parse(file: &str, text: &str) -> Result<Self, PolicyErrors> {
        if text.len() > LIMIT {
            return Err(PolicyErrors::whole(file, Problem::TooLong { length: text.len(), limit: LIMIT }));
        }
        let mut errors = Errors::default();
        let table = toml_table(text, &mut errors);
        let lock = table.and_then(|table| Self::read(file, text, table.get_ref(), &mut errors));
        errors.finish(file, text)?;
        // Cannot happen: nothing is left out without an error.
        lock.ok_or_else(|| PolicyErrors::whole(file, Problem::Incomplete))
    }

    fn read(file: &str, text: &str, table: &DeTable<'_>, errors: &mut Errors) -> Option<Self> {
        let raw = Raw::read(table, errors)?;
        let origin: Option<Origin> = raw.origin.value.parse().ok();
        let control = origin.as_ref().and_then(|origin| origin.control().ok());
        if control.is_none() {
            let found = shorten(&raw.origin.value);
            errors.push(&raw.origin.span, Problem::Origin { found });
        }
        if raw.vkeys.value.is_empty() {
            errors.push(&raw.vkeys.span, Problem::EmptyList);
        }
        let mut vkeys: Vec<Vkey> = Vec::new();
        for text in &raw.vkeys.value {
            vkeys.extend(vkey(text, &raw.origin.value, &vkeys, errors));
        }
        let main = least(&raw.main, origin.clone(), errors);
        let control = least(&raw.control, control, errors);
        let witness_policy = raw.witness_policy.as_ref().and_then(|text| {
            errors.keep(&text.span, text.value.parse(), |source| Problem::WitnessPolicy { source })
        });
        let (file, text) = (file.to_owned(), text.to_owned());
        Some(Self { file, text, origin: origin?, vkeys, witness_policy, main: main?, control: control? })
    }

    /// Its name in messages.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The whole file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The log.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The keys it may be signed with.
    pub fn vkeys(&self) -> &[Vkey] {
        &self.vkeys
    }

    /// Whose cosignatures a checkpoint needs (C2SP tlog-policy), where anybody's.
    pub fn witness_policy(&self) -> Option<&TlogPolicy> {
        self.witness_policy.as_ref()
    }

    /// The least that the main lane has.
    pub fn main(&self) -> &Checkpoint {
        &self.main.checkpoint
    }

    /// The least that the control lane has.
    pub fn control(&self) -> &Checkpoint {
        &self.control.checkpoint
    }

    /// Refuses a lock for another log than the one of `vkey`, the policy's.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn agree(&self, vkey: &Vkey) -> Result<(), LockError> {
        let file = || self.file.clone();
        if self.origin != *vkey.origin() {
            let (expected, found) = (vkey.origin().clone(), self.origin.clone());
            return Err(LockError::Origin { file: file(), expected, found });
        }
        match self.vkeys.contains(vkey) {
            true => Ok(()),
            false => Err(LockError::Key { file: file(), expected: vkey.clone() }),
        }
    }

    /// The same file with these heads where they are larger; everything else in it stays, comments too.
    ///
    /// The heads must be known to continue those of the lock.
    ///
    /// # Errors
    /// None that can happen: what is written is read again.
    pub fn raised(&self, main: &Checkpoint, control: &Checkpoint) -> Result<Self, PolicyErrors> {
        let mut edits = Vec::new();
        for (least, head) in [(&self.main, main), (&self.control, control)] {
            if head.size > least.checkpoint.size {
                edits.push((least.size.clone(), head.size.to_string()));
                edits.push((least.root.clone(), format!("\"{}\"", head.root)));
            }
        }
        // From the end, so that the places before stay where they are.
        edits.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
        let mut text = self.text.clone();
        edits.into_iter().for_each(|(span, new)| text.replace_range(span, &new));
        Self::parse(&self.file, &text)
    }
}

fn vkey(text: &At<String>, origin: &str, before: &[Vkey], errors: &mut Errors) -> Option<Vkey> {
    let found = || shorten(&text.value);
    let vkey =
        errors.keep(&text.span, text.value.parse::<Vkey>(), |_| Problem::Verifier { found: found() })?;
    if vkey.origin().as_str() != origin {
        let found = shorten(vkey.origin().as_str());
        errors.push(&text.span, Problem::VerifierOrigin { found, origin: shorten(origin) });
    }
    if before.contains(&vkey) {
        errors.push(&text.span, Problem::Repeated { value: found() });
    }
    Some(vkey)
}

fn least(raw: &RawHead, origin: Option<Origin>, errors: &mut Errors) -> Option<Least> {
    let size = u64::try_from(raw.size.value).map_err(|_| raw.size.value.to_string());
    let size = errors.keep(&raw.size.span, size, |found| Problem::LogSize { found });
    let root = raw.root.value.parse::<Digest>();
    let root = errors.keep(&raw.root.span, root, |_| Problem::LogRoot { found: shorten(&raw.root.value) });
    let checkpoint = Checkpoint { origin: origin?, size: size?, root: root? };
    Some(Least { checkpoint, size: raw.size.span.clone(), root: raw.root.span.clone() })
}

impl Raw {
    fn read(table: &DeTable<'_>, errors: &mut Errors) -> Option<Self> {
        let mut table = Table::root(table, errors);
        let version: Option<At<i64>> = table.need("version");
        if let Some(version) = version.filter(|version| version.value != 1) {
            let found = version.value.to_string();
            table.errors().push(&version.span, Problem::LockVersion { found });
        }
        let (origin, vkeys) = (table.need("origin"), table.need("vkeys"));
        let witness_policy = table.take("witness-policy");
        let (main, control) = (table.need("main"), table.need("control"));
        table.finish();
        Some(Self { origin: origin?, vkeys: vkeys?, witness_policy, main: main?, control: control? })
    }
}

impl Read for RawHead {
    fn read(found: &Found<'_>, errors: &mut Errors) -> Option<Self> {
        let mut table = Table::of(found, "a table with `size` and `root`", errors)?;
        let (size, root) = (table.need("size"), table.need("root"));
        table.finish();
        Some(Self { size: size?, root: root? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::{LogSigner, empty_root};

    fn signer() -> LogSigner {
        LogSigner::generate("acme.example/promotions".parse().unwrap()).unwrap()
    }

    fn head(origin: &Origin, size: u64) -> Checkpoint {
        let root = if size == 0 { empty_root() } else { Digest::of(&size.to_be_bytes()) };
        Checkpoint { origin: origin.clone(), size, root }
    }

    fn lock() -> (Vkey, Lock) {
        let vkey = signer().vkey().clone();
        let (main, control) = (vkey.origin().clone(), vkey.origin().control().unwrap());
        let lock = Lock::new("samebits.lock", &vkey, &head(&main, 12), &head(&control, 0)).unwrap();
        (vkey, lock)
    }

    #[test]
    fn a_lock_is_read_as_it_is_written() {
        let (vkey, lock) = lock();
        assert_eq!(lock.vkeys(), std::slice::from_ref(&vkey));
        assert_eq!((lock.origin(), lock.main().size, lock.control().size), (vkey.origin(), 12, 0));
        assert_eq!(lock.control().origin.as_str(), "acme.example/promotions/control");
        assert_eq!(Lock::parse("samebits.lock", lock.text()).unwrap().text(), lock.text());
        lock.agree(&vkey).unwrap();
    }

    #[test]
    fn a_lock_may_name_witnesses() {
        let (_, lock) = lock();
        assert_eq!(lock.witness_policy(), None);
        let witness = crate::tlog::WitnessSigner::generate("witness.example/w1".parse().unwrap()).unwrap();
        let policy = format!("witness w1 {} https://witness.example/\nquorum w1\n", witness.vkey());
        let text = lock
            .text()
            .replace("version = 1", &format!("version = 1\nwitness-policy = \"\"\"\n{policy}\"\"\""));
        let lock = Lock::parse("samebits.lock", &text).unwrap();
        assert_eq!(lock.witness_policy().unwrap().as_str(), policy);
    }

    #[test]
    fn d2_raising_never_lowers_and_keeps_every_other_byte() {
        let (_, lock) = lock();
        let noted = lock.text().replace("[main]", "# seen on Monday\n[main] # both lanes");
        let lock = Lock::parse("samebits.lock", &noted).unwrap();
        let (main, control) = (lock.origin().clone(), lock.control().origin.clone());
        let raised = lock.raised(&head(&main, 13), &head(&control, 2)).unwrap();
        assert_eq!((raised.main(), raised.control()), (&head(&main, 13), &head(&control, 2)));
        let back =
            raised.text().replace(&head(&main, 13).root.to_string(), &head(&main, 12).root.to_string());
        let back = back.replace(&head(&control, 2).root.to_string(), &empty_root().to_string());
        assert_eq!(back.replace("size = 13", "size = 12").replace("size = 2\n", "size = 0\n"), noted);
        let same = raised.raised(&head(&main, 12), &head(&control, 1)).unwrap();
        assert_eq!(same.text(), raised.text());
    }

    #[test]
    fn d4_a_lock_of_another_log_is_an_error() {
        let (vkey, lock) = lock();
        let other = LogSigner::generate("other.example/log".parse().unwrap()).unwrap();
        assert!(matches!(lock.agree(other.vkey()), Err(LockError::Origin { .. })));
        // The right name with another key, as after somebody made the ledger anew.
        let again = signer();
        assert!(matches!(lock.agree(again.vkey()), Err(LockError::Key { .. })));
        // Both, as while the key is changed.
        let both = lock.text().replace(&format!("\"{vkey}\""), &format!("\"{vkey}\", \"{}\"", again.vkey()));
        let both = Lock::parse("samebits.lock", &both).unwrap();
        both.agree(&vkey).unwrap();
        both.agree(again.vkey()).unwrap();
    }

    #[test]
    fn d4_a_malformed_lock_is_refused_at_its_line() {
        let (vkey, lock) = lock();
        let good = lock.text();
        let root = lock.main().root.to_string();
        for (piece, other, says) in [
            ("version = 1", "version = 2", "version 2"),
            ("version = 1\n", "", "`version` is missing"),
            ("origin = ", "orgin = ", "did you mean `origin`?"),
            ("origin = \"acme.example/promotions\"", "origin = \"a b\"", "not a log origin"),
            ("origin = \"acme.example/promotions\"", "origin = \"a/control\"", "not a log origin"),
            (
                "origin = \"acme.example/promotions\"",
                "origin = \"acme.example/other\"",
                "the verifier key is of",
            ),
            (&format!("[\"{vkey}\"]"), "[]", "an empty list"),
            (&format!("[\"{vkey}\"]"), &format!("[\"{vkey}\", \"{vkey}\"]"), "twice"),
            (&format!("[\"{vkey}\"]"), &format!("\"{vkey}\""), "expected a list"),
            (&format!("[\"{vkey}\"]"), "[\"x\"]", "not the verifier key"),
            ("size = 12", "size = -1", "`-1` is not the size of a log"),
            ("size = 12", "size = 9223372036854775808", "63 bits"),
            ("size = 12", "size = \"12\"", "expected a whole number"),
            (&root, "sha256:12", "not the root of a log"),
            ("[control]", "[contol]", "did you mean `control`?"),
            ("version = 1", "version = 1\nwitness-policy = \"quorum w1\"", "the witness policy is not one"),
            ("version = 1", "version = 1\nwitness-policy = \"\"", "an empty string"),
            ("[main]", "[main]\nnote = \"x\"", "unknown key `note`"),
        ] {
            assert_eq!(good.matches(piece).count(), 1, "{piece}");
            let error = Lock::parse("samebits.lock", &good.replace(piece, other)).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("samebits.lock"), "{piece} -> {other}\n{error}");
        }
        assert!(Lock::parse("samebits.lock", "").is_err());
        assert!(Lock::parse("samebits.lock", &"#".repeat(LIMIT + 1)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_text_never_panics(text: String) {
            let _ = Lock::parse("samebits.lock", &text);
        }
    }
}
