//! The text of a policy, line by line (C2SP tlog-policy, "Policy file syntax and structure").

use std::collections::{HashMap, HashSet};
use std::str::FromStr;

use super::{Group, Member, PolicyKey, PolicyLog, PolicyWitness, TlogPolicy};
use crate::digest::{Digest, shorten};
use crate::tlog::key::{Parts, ml_dsa_44};
use crate::tlog::{MAX_POLICY, MAX_POLICY_LINES, TlogError, Vkey, WitnessVkey, decimal};

/// The name that is predefined for the quorum, and nobody else's.
const NONE: &str = "none";

impl FromStr for TlogPolicy {
    type Err = TlogError;

    fn from_str(text: &str) -> Result<Self, TlogError> {
        if text.len() > MAX_POLICY {
            return Err(TlogError::PolicyTooLong { found: text.len() });
        }
        let mut reader = Reader::new(text);
        let lines = text.split('\n').collect::<Vec<_>>();
        let (last, lines) = lines.split_last().map_or(("", &[][..]), |(last, lines)| (*last, lines));
        for line in lines {
            reader.at += 1;
            reader.line(line)?;
        }
        reader.at += 1;
        // "each line is terminated by ASCII newline".
        if !last.is_empty() {
            return Err(reader.wrong(last, "a final newline"));
        }
        match reader.has_quorum {
            true => Ok(reader.policy),
            false => Err(TlogError::NoQuorum),
        }
    }
}

/// The policy as far as it was read.
struct Reader {
    policy: TlogPolicy,
    /// The line that is being read, from 1.
    at: usize,
    has_quorum: bool,
    /// Witnesses and groups: "a single namespace".
    names: HashMap<String, Member>,
    /// Who is a group's member already.
    taken: HashSet<String>,
    /// "Two vkeys are considered duplicate if they wrap the same underlying public key".
    keys: HashSet<Digest>,
}

impl Reader {
    fn new(text: &str) -> Self {
        let policy = TlogPolicy {
            text: text.to_owned(),
            logs: Vec::new(),
            witnesses: Vec::new(),
            groups: Vec::new(),
            quorum: None,
        };
        let (names, taken, keys) = (HashMap::new(), HashSet::new(), HashSet::new());
        Self { policy, at: 0, has_quorum: false, names, taken, keys }
    }

    fn wrong(&self, found: &str, expected: &'static str) -> TlogError {
        TlogError::PolicyLine { line: self.at, found: shorten(found), expected }
    }

    fn line(&mut self, line: &str) -> Result<(), TlogError> {
        // "The only allowed control characters are tab and newline".
        if line.chars().any(|c| c.is_ascii_control() && c != '\t') {
            return Err(self.wrong(line, "no control characters but tabs"));
        }
        // "sequences of ASCII space and tab characters *only*".
        let items: Vec<_> = line.split([' ', '\t']).filter(|item| !item.is_empty()).collect();
        match items.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with('#') => Ok(()),
            ["log", vkey] => self.log(vkey, None),
            ["log", vkey, url] => self.log(vkey, Some(url)),
            ["witness", name, vkey] => self.witness(name, vkey, None),
            ["witness", name, vkey, url] => self.witness(name, vkey, Some(url)),
            ["group", name, threshold, members @ ..] if !members.is_empty() => {
                self.group(name, threshold, members)
            }
            ["quorum", name] => self.quorum(name),
            [_, ..] => Err(self.wrong(
                line,
                "`log VKEY [URL]`, `witness NAME VKEY [URL]`, `group NAME K MEMBER…` or `quorum NAME`",
            )),
        }
    }

    fn log(&mut self, vkey: &str, url: Option<&str>) -> Result<(), TlogError> {
        if self.policy.logs.len() == MAX_POLICY_LINES {
            return Err(self.wrong(vkey, "at most 64 logs"));
        }
        let key = self.key::<Vkey>(vkey, Vkey::bytes)?;
        self.policy.logs.push(PolicyLog { key, url: url.map(str::to_owned) });
        Ok(())
    }

    fn witness(&mut self, name: &str, vkey: &str, url: Option<&str>) -> Result<(), TlogError> {
        let at = self.policy.witnesses.len();
        if at == MAX_POLICY_LINES {
            return Err(self.wrong(name, "at most 64 witnesses"));
        }
        let key = self.key::<WitnessVkey>(vkey, WitnessVkey::bytes)?;
        self.define(name, Member::Witness(at))?;
        self.policy.witnesses.push(PolicyWitness { name: name.to_owned(), key, url: url.map(str::to_owned) });
        Ok(())
    }

    /// A key of the type for its place, or one of ML-DSA-44; of no other line.
    fn key<K: FromStr<Err = TlogError>>(
        &mut self,
        text: &str,
        bytes: fn(&K) -> &[u8; 32],
    ) -> Result<PolicyKey<K>, TlogError> {
        let unreadable = |source| TlogError::PolicyKey { line: self.at, source: Box::new(source) };
        let (key, public) = match Parts::split(text).and_then(ml_dsa_44) {
            Some(parts) => {
                parts.has_id_of(&parts.bytes).map_err(unreadable)?;
                (PolicyKey::MlDsa44(parts.name), Digest::of(&parts.bytes))
            }
            None => {
                let key: K = text.parse().map_err(unreadable)?;
                let public = Digest::of(bytes(&key));
                (PolicyKey::Ed25519(key), public)
            }
        };
        match self.keys.insert(public) {
            true => Ok(key),
            false => Err(self.wrong(text, "a key that is on no other line")),
        }
    }

    fn define(&mut self, name: &str, member: Member) -> Result<(), TlogError> {
        if name == NONE {
            return Err(self.wrong(name, "a name other than `none`, which is predefined"));
        }
        match self.names.insert(name.to_owned(), member) {
            None => Ok(()),
            Some(_) => Err(self.wrong(name, "a name that no other line defines")),
        }
    }

    fn group(&mut self, name: &str, threshold: &str, members: &[&str]) -> Result<(), TlogError> {
        let at = self.policy.groups.len();
        if at == MAX_POLICY_LINES {
            return Err(self.wrong(name, "at most 64 groups"));
        }
        let threshold = match threshold {
            "all" => members.len(),
            "any" => 1,
            // "it is required that 1 <= k <= n".
            number => match decimal(number).and_then(|k| usize::try_from(k).ok()) {
                Some(k) if (1..=members.len()).contains(&k) => k,
                Some(_) | None => {
                    return Err(self.wrong(number, "`all`, `any` or a number from 1 to that of the members"));
                }
            },
        };
        // Before the group has its name: it is not its own member.
        let members = members.iter().map(|member| self.member(member)).collect::<Result<_, _>>()?;
        self.define(name, Member::Group(at))?;
        self.policy.groups.push(Group { name: name.to_owned(), threshold, members });
        Ok(())
    }

    /// "Each defined name can be listed as a group member at most once."
    fn member(&mut self, name: &str) -> Result<Member, TlogError> {
        let member = self.defined(name)?;
        match self.taken.insert(name.to_owned()) {
            true => Ok(member),
            false => Err(self.wrong(name, "a member of no other group, named once")),
        }
    }

    fn defined(&self, name: &str) -> Result<Member, TlogError> {
        let expected = "the name of a witness or group of a line before";
        self.names.get(name).copied().ok_or_else(|| self.wrong(name, expected))
    }

    /// "A policy file must include exactly one quorum line."
    fn quorum(&mut self, name: &str) -> Result<(), TlogError> {
        if self.has_quorum {
            return Err(self.wrong(name, "one quorum line, not two"));
        }
        self.has_quorum = true;
        self.policy.quorum = match name {
            NONE => None,
            name => Some(self.defined(name)?),
        };
        Ok(())
    }
}
