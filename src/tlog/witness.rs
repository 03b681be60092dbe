//! What is asked of a witness, and when it may say yes (C2SP tlog-witness, commit 5ba5ee8, "add-checkpoint").
//!
//! Guarantees: [`AddCheckpoint::opened`] and [`AddCheckpoint::continues`] are the checks of the specification in its
//! order, each with the status it names. Never does: remember; the latest head that was cosigned is an argument, and
//! whoever gives it sees to it that nothing happens between the check and the keeping.

use std::fmt;
use std::str::FromStr;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::note::Note;
use super::{
    Checkpoint, MAX_NOTE, MAX_PROOF, SignedCheckpoint, TlogError, Vkey, check_consistency, decimal,
    empty_root, hash_line,
};
use crate::digest::{Digest, shorten};

/// The longest request, in bytes: the old size, 63 lines of proof, an empty line, the checkpoint.
pub const MAX_REQUEST: usize = MAX_NOTE + (MAX_PROOF + 2) * 45;

/// A checkpoint that is handed to a witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size of the log as the witness knows it.
    pub old: u64,
    /// How the new one continues it.
    pub proof: Vec<Digest>,
    /// The signed checkpoint, as text.
    pub note: String,
}

/// Why a witness does not cosign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not such a request.
    #[error("the request is malformed at line {line}: expected {expected}, found `{found}`")]
    Malformed {
        /// Counted from 1.
        line: usize,
        /// What should stand there.
        expected: &'static str,
        /// What does.
        found: String,
    },
    /// Not a note.
    #[error("the checkpoint is malformed")]
    Note(#[source] TlogError),
    /// Another log.
    #[error("the log `{found}` is not known here")]
    UnknownLog {
        /// Its name, shortened.
        found: String,
    },
    /// Not signed by a key that is known for the log.
    #[error("the checkpoint is not signed by a known key of its log")]
    Unsigned(#[source] TlogError),
    /// A proof from a later state to an earlier one.
    #[error("the old size {old} is larger than the size {size} of the checkpoint")]
    Backwards {
        /// The old size.
        old: u64,
        /// The checkpoint's.
        size: u64,
    },
    /// The witness knows another state of the log.
    #[error("the latest cosigned checkpoint has the size {size}")]
    Conflict {
        /// Its size.
        size: u64,
    },
    /// The log was forked.
    #[error("the checkpoint does not continue the latest cosigned one")]
    Inconsistent(#[source] TlogError),
}

impl Refused {
    /// The HTTP status that the specification names.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed { .. } | Self::Note(_) | Self::Backwards { .. } => 400,
            Self::Unsigned(_) => 403,
            Self::UnknownLog { .. } => 404,
            Self::Conflict { .. } => 409,
            Self::Inconsistent(_) => 422,
        }
    }
}

impl AddCheckpoint {
    /// The checkpoint, verified with the keys that are known for its origin.
    ///
    /// # Errors
    /// [`Refused::Note`], [`Refused::UnknownLog`], [`Refused::Unsigned`], [`Refused::Backwards`].
    pub fn opened(&self, known: &[Vkey]) -> Result<SignedCheckpoint, Refused> {
        let text = Note::parse(&self.note).map_err(Refused::Note)?.text;
        let origin = text.split('\n').next().unwrap_or_default();
        let unknown = || Refused::UnknownLog { found: shorten(origin) };
        let mut keys = known.iter().filter(|vkey| vkey.origin().as_str() == origin).peekable();
        keys.peek().ok_or_else(unknown)?;
        let mut opened = Err(unknown());
        for vkey in keys {
            match vkey.open(&self.note) {
                Ok(head) => opened = Ok(head),
                Err(error @ TlogError::NotSigned { .. }) => {
                    opened = opened.or(Err(Refused::Unsigned(error)));
                }
                // signed-note, "Signatures": a wrong signature by a known key condemns the whole note.
                Err(error @ TlogError::BadSignature { .. }) => return Err(Refused::Unsigned(error)),
                Err(error) => return Err(Refused::Note(error)),
            }
        }
        let head = opened?;
        match self.old <= head.size() {
            true => Ok(head),
            false => Err(Refused::Backwards { old: self.old, size: head.size() }),
        }
    }

    /// That `head`, which was opened from here, continues the `latest` head that the witness cosigned; the empty log if
    /// it never did.
    ///
    /// # Errors
    /// [`Refused::Conflict`], [`Refused::Inconsistent`].
    pub fn continues(&self, head: &SignedCheckpoint, latest: Option<&Checkpoint>) -> Result<(), Refused> {
        let (size, root) = latest.map_or((0, empty_root()), |latest| (latest.size, latest.root));
        if self.old != size {
            return Err(Refused::Conflict { size });
        }
        check_consistency(size, root, head.size(), head.root(), &self.proof).map_err(Refused::Inconsistent)
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        for hash in &self.proof {
            writeln!(f, "{}", STANDARD.encode(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.note)
    }
}

impl FromStr for AddCheckpoint {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let wrong =
            |line, expected, found: &str| Err(Refused::Malformed { line, expected, found: shorten(found) });
        let Some((head, note)) = text.split_once("\n\n") else {
            return wrong(1, "lines, an empty line and a checkpoint", text);
        };
        let mut lines = head.split('\n');
        let first = lines.next().unwrap_or_default();
        let Some(old) = first.strip_prefix("old ").and_then(decimal) else {
            return wrong(1, "`old` and a decimal size", first);
        };
        let mut proof = Vec::new();
        for (line, number) in lines.zip(2..) {
            match hash_line(line) {
                Some(hash) if proof.len() < MAX_PROOF => proof.push(hash),
                Some(_) => return wrong(number, "at most 63 lines of proof", line),
                None => return wrong(number, "a hash in base64", line),
            }
        }
        Ok(Self { old, proof, note: note.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::{Frontier, LogSigner, consistency_proof, leaf_hash};
    use std::collections::HashMap;

    struct Log {
        signer: LogSigner,
        nodes: HashMap<crate::tlog::Node, Digest>,
        heads: Vec<SignedCheckpoint>,
    }

    fn log(kind: u8, count: u8) -> Log {
        let signer = LogSigner::generate("acme.example/promotions".parse().unwrap()).unwrap();
        grown(&signer, kind, count)
    }

    fn grown(signer: &LogSigner, kind: u8, count: u8) -> Log {
        let (mut nodes, mut frontier) = (HashMap::new(), Frontier::empty());
        let mut heads = vec![signer.sign(0, frontier.root()).unwrap()];
        for number in 0..count {
            let keep = |node, hash| {
                nodes.insert(node, hash);
                Ok::<_, TlogError>(())
            };
            frontier.push(leaf_hash(&[kind, number]), keep).unwrap();
            heads.push(signer.sign(frontier.size(), frontier.root()).unwrap());
        }
        Log { signer: signer.clone(), nodes, heads }
    }

    impl Log {
        fn request(&self, old: u64, new: u64) -> AddCheckpoint {
            let proof = consistency_proof::<TlogError>(old, new, |node| Ok(self.nodes[&node])).unwrap();
            AddCheckpoint { old, proof, note: self.heads[new as usize].text().to_owned() }
        }

        fn ask(&self, request: &AddCheckpoint, latest: u64) -> Result<(), Refused> {
            let head = request.opened(&[self.signer.vkey().clone()])?;
            request.continues(&head, Some(self.heads[latest as usize].checkpoint()))
        }
    }

    #[test]
    fn every_step_forward_is_cosigned_and_one_spelling_goes_through() {
        let log = log(0, 12);
        for old in 0..=12 {
            for new in old..=12 {
                let request = log.request(old, new);
                assert_eq!(request.to_string().parse::<AddCheckpoint>().unwrap(), request);
                log.ask(&request, old).unwrap();
            }
        }
        let first = log.request(0, 7);
        let head = first.opened(&[log.signer.vkey().clone()]).unwrap();
        first.continues(&head, None).unwrap();
    }

    #[test]
    fn d2_d3_what_a_witness_refuses_has_the_status_of_the_specification() {
        let log = log(0, 9);
        let fork = grown(&log.signer, 1, 9);
        let stranger = self::log(0, 9);
        let status = |refused: Result<(), Refused>| refused.unwrap_err().status();
        // Another state than the witness knows, and which.
        assert_eq!(log.ask(&log.request(3, 9), 5), Err(Refused::Conflict { size: 5 }));
        assert_eq!(log.ask(&log.request(0, 4), 5), Err(Refused::Conflict { size: 5 }));
        // A fork by the real key: longer, of the same size, from the beginning on.
        assert_eq!(status(log.ask(&fork.request(5, 9), 5)), 422);
        assert_eq!(status(log.ask(&fork.request(5, 5), 5)), 422);
        let mut request = log.request(5, 9);
        request.proof.pop();
        assert_eq!(status(log.ask(&request, 5)), 422);
        let mut request = log.request(0, 9);
        request.proof.push(Digest::of(b""));
        assert_eq!(status(log.ask(&request, 0)), 422);
        let forged = log.signer.sign(0, Digest::of(b"x")).unwrap().text().to_owned();
        let empty = AddCheckpoint { old: 0, proof: Vec::new(), note: forged };
        assert_eq!(status(log.ask(&empty, 0)), 422);
        // Shrinking.
        let backwards = AddCheckpoint { old: 7, ..log.request(3, 3) };
        assert_eq!(status(log.ask(&backwards, 7)), 400);
        // Others.
        assert_eq!(status(log.ask(&stranger.request(5, 9), 5)), 403);
        let mut renamed = log.request(5, 9);
        renamed.note = renamed.note.replace("acme.example", "else.example");
        assert_eq!(status(log.ask(&renamed, 5)), 404);
        let mut spoiled = log.request(5, 9);
        spoiled.note = spoiled.note.replace("\n9\n", "\n8\n");
        assert_eq!(status(log.ask(&spoiled, 5)), 403);
        let note = AddCheckpoint { note: "x".to_owned(), ..log.request(5, 9) };
        assert_eq!(status(log.ask(&note, 5)), 400);
    }

    #[test]
    fn b9_malformed_requests_are_refused() {
        let good = log(0, 9).request(5, 9).to_string();
        for wrong in [
            String::new(),
            "old 5".to_owned(),
            good.replace("old 5", "old 05"),
            good.replace("old 5", "old +5"),
            good.replace("old 5", "old  5"),
            good.replace("old 5", "new 5"),
            good.replace("old 5\n", "old 5\nx\n"),
            good.replace("old 5\n", "old 5\r\n"),
            good.replace(
                "old 5\n",
                &format!("old 5\n{}", "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n".repeat(64)),
            ),
        ] {
            assert_eq!(wrong.parse::<AddCheckpoint>().unwrap_err().status(), 400, "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_text_never_panics(text: String, size in "[0-9]{1,20}", line in "[A-Za-z0-9+/=]{40,46}") {
            for text in [text.clone(), format!("old {size}\n{line}\n\n{text}")] {
                if let Ok(request) = text.parse::<AddCheckpoint>() {
                    proptest::prop_assert_eq!(request.to_string(), text);
                }
            }
        }
    }
}
