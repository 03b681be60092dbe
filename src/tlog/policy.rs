//! Which logs are believed, and whose cosignatures a checkpoint needs (C2SP tlog-policy, commit 1896a5a).
//!
//! Guarantees: a [`Witnessed`] exists only if cosignatures that were verified make the quorum of a policy. A
//! policy that lists logs believes no other. What is not understood is refused, with its line. Narrower than
//! the specification: UTF-8 only, decimal numbers in one spelling, no key both as a log's and as a witness's.
//!
//! Start at [`TlogPolicy::open`] and [`TlogPolicy::quorum`].

use std::cmp::Reverse;
use std::fmt;

use schemars::json_schema;

use super::key::{Origin, text};
use super::note::Note;
use super::{SignedCheckpoint, TlogError, Vkey, WitnessVkey};

mod read;

/// A transparency log trust policy, as it was written.
#[derive(Clone, PartialEq, Eq)]
pub struct TlogPolicy {
    text: String,
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    /// `None` is `quorum none`.
    quorum: Option<Member>,
}

text!(TlogPolicy, json_schema!({ "type": "string" }));

/// A key in a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyKey<K> {
    /// One that verifies signatures here.
    Ed25519(K),
    /// ML-DSA-44 (type 0x06), which is not implemented: what it signs is ignored, and so never counts.
    MlDsa44(Origin),
}

/// A line `log <vkey> [<url>]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyLog {
    /// Its key, named after its origin.
    pub key: PolicyKey<Vkey>,
    /// Where it is; for the application.
    pub url: Option<String>,
}

/// A line `witness <name> <vkey> [<url>]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyWitness {
    /// Its name within the policy.
    pub name: String,
    /// Its key.
    pub key: PolicyKey<WitnessVkey>,
    /// Where it is: the submission prefix of C2SP tlog-witness.
    pub url: Option<String>,
}

/// A line `group <name> <threshold> <member>…`; all members are defined before it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    name: String,
    /// From 1 to the number of members.
    threshold: usize,
    members: Vec<Member>,
}

/// Place of a witness or a group in the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group(usize),
}

/// What the policy's quorum has to say about a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Quorum {
    /// `quorum none`: nobody was asked, and nothing is vouched for.
    NotRequired,
    /// Enough witnesses cosigned.
    Reached(Witnessed),
    /// Not enough witnesses cosigned.
    Missed {
        /// The names of the policy's witnesses whose cosignature is not there or does not count.
        missing: Vec<String>,
    },
}

/// A quorum of witnesses cosigned a checkpoint; the times are theirs, in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Witnessed {
    times: Times,
    witnesses: Vec<String>,
}

impl Witnessed {
    /// At this time a quorum still had seen nothing newer of the log: the oldest time of the newest set that
    /// makes a quorum, so that one witness with a fast clock cannot make a stale checkpoint fresh. For "how
    /// stale is it".
    pub fn fresh_at(&self) -> u64 {
        self.times.fresh_at
    }

    /// By this time a quorum had seen the checkpoint, and so every entry below it: the newest time of the
    /// oldest set that makes a quorum, so that one witness with a slow clock cannot make it older. For "since
    /// when does it exist".
    pub fn seen_by(&self) -> u64 {
        self.times.seen_by
    }

    /// The names of all witnesses that cosigned, in the order of the policy.
    pub fn witnesses(&self) -> &[String] {
        &self.witnesses
    }
}

/// What a witness or a group says of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    fresh_at: u64,
    seen_by: u64,
}

impl TlogPolicy {
    /// The text, as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The logs; none where the application knows them from elsewhere.
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The witnesses.
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// Opens a signed checkpoint of any log of the policy.
    ///
    /// # Errors
    /// [`TlogError::UnlistedLog`], or what [`Vkey::open`] says of the log whose checkpoint it claims to be.
    pub fn open(&self, note: &str) -> Result<SignedCheckpoint, TlogError> {
        let text = Note::parse(note)?.text;
        let origin = text.split('\n').next().unwrap_or_default();
        self.open_as(origin, note)
    }

    /// Every key of that origin is tried: a log has several while it changes its key.
    fn open_as(&self, origin: &str, note: &str) -> Result<SignedCheckpoint, TlogError> {
        let known = self.logs.iter().filter_map(|log| match &log.key {
            PolicyKey::Ed25519(vkey) if vkey.origin().as_str() == origin => Some(vkey),
            PolicyKey::Ed25519(_) | PolicyKey::MlDsa44(_) => None,
        });
        let mut found = None;
        for vkey in known {
            match vkey.open(note) {
                Ok(head) => found = Some(head),
                Err(TlogError::NotSigned { .. }) => {}
                // signed-note, "Signatures": a wrong signature by a known key condemns the whole note.
                Err(error) => return Err(error),
            }
        }
        found.ok_or_else(|| self.unlisted(origin))
    }

    fn unlisted(&self, origin: &str) -> TlogError {
        let names = self.logs.iter().map(|log| match &log.key {
            PolicyKey::Ed25519(vkey) => format!("`{vkey}`"),
            PolicyKey::MlDsa44(name) => format!("`{name}` by an ML-DSA-44 key, which is not supported"),
        });
        let names: Vec<_> = names.collect();
        let expected = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        TlogError::UnlistedLog { found: crate::digest::shorten(origin), expected }
    }

    /// What the quorum says of `head`. A cosignature from after `not_after` (seconds since 1970: now, and what
    /// clocks may differ) does not count, nor does one of the time 0.
    ///
    /// # Errors
    /// [`TlogError::UnlistedLog`] if the policy lists logs and `head` is by none of them;
    /// [`TlogError::BadCosignature`] if a line claims to be by one of its witnesses and is not.
    pub fn quorum(&self, head: &SignedCheckpoint, not_after: u64) -> Result<Quorum, TlogError> {
        if !self.logs.is_empty() {
            let _ = self.open_as(head.origin().as_str(), head.text())?;
        }
        let note = Note::parse(head.text())?;
        let of_witness = |witness: &PolicyWitness| times(&note, &witness.key, not_after);
        let witnesses = self.witnesses.iter().map(of_witness).collect::<Result<Vec<_>, _>>()?;
        let Some(quorum) = self.quorum else { return Ok(Quorum::NotRequired) };
        let names = |cosigned: bool| {
            let all = self.witnesses.iter().zip(&witnesses);
            all.filter(|(_, times)| times.is_some() == cosigned).map(|(one, _)| one.name.clone()).collect()
        };
        Ok(match self.times_of(quorum, &witnesses) {
            Some(times) => Quorum::Reached(Witnessed { times, witnesses: names(true) }),
            None => Quorum::Missed { missing: names(false) },
        })
    }

    /// A group's members stand before it, so one pass in the order of definition decides them all.
    fn times_of(&self, quorum: Member, witnesses: &[Option<Times>]) -> Option<Times> {
        let mut groups: Vec<Option<Times>> = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let members = group.members.iter().filter_map(|member| at(*member, witnesses, &groups));
            groups.push(of_group(group.threshold, members.collect()));
        }
        at(quorum, witnesses, &groups)
    }
}

fn at(member: Member, witnesses: &[Option<Times>], groups: &[Option<Times>]) -> Option<Times> {
    match member {
        Member::Witness(at) => witnesses.get(at).copied().flatten(),
        Member::Group(at) => groups.get(at).copied().flatten(),
    }
}

/// Of `threshold` members the last: no witness is in two of them, so this is the best that any set can do.
fn of_group(threshold: usize, members: Vec<Times>) -> Option<Times> {
    let last = threshold.checked_sub(1)?;
    let mut fresh: Vec<_> = members.iter().map(|times| times.fresh_at).collect();
    let mut seen: Vec<_> = members.iter().map(|times| times.seen_by).collect();
    fresh.sort_unstable_by_key(|time| Reverse(*time));
    seen.sort_unstable();
    Some(Times { fresh_at: *fresh.get(last)?, seen_by: *seen.get(last)? })
}

/// The newest and the oldest time of one witness, if it cosigned.
fn times(note: &Note<'_>, key: &PolicyKey<WitnessVkey>, not_after: u64) -> Result<Option<Times>, TlogError> {
    let vkey = match key {
        PolicyKey::Ed25519(vkey) => vkey,
        // signed-note, "Signatures": "Verifiers MUST ignore signatures from unknown keys".
        PolicyKey::MlDsa44(_) => return Ok(None),
    };
    let all = vkey.read(note)?;
    let counted = all.iter().map(super::Cosignature::time).filter(|time| (1..=not_after).contains(time));
    let (newest, oldest) = (counted.clone().max(), counted.min());
    Ok(newest.zip(oldest).map(|(fresh_at, seen_by)| Times { fresh_at, seen_by }))
}

impl fmt::Display for TlogPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for TlogPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (logs, witnesses, groups) = (self.logs.len(), self.witnesses.len(), self.groups.len());
        write!(f, "TlogPolicy({logs} logs, {witnesses} witnesses, {groups} groups)")
    }
}

#[cfg(test)]
mod tests;
