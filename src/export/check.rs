//! Checks an export, as somebody does who has nothing but the export and, at best, the log's key.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::write::{Tiles, root_of};
use super::{ExportError, FORMAT, Files, Index, names, readme};
use crate::digest::{Digest, shorten};
use crate::key::PublicKey;
use crate::ledger::kept::relied_on;
use crate::ledger::review::{self, Read};
use crate::record::{Body, ClaimedRules, Content, TreeHead};
use crate::tlog::{Included, SignedCheckpoint, TlogProof, Vkey, Whole};
use crate::verify::{RootName, Trust};

/// Something in an export that is not what the signed heads, or the records below them, say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// The verifier key in it is not the one that was given.
    OtherKey {
        /// As it was found.
        found: String,
    },
    /// A signed head that is none.
    Checkpoint {
        /// The file.
        file: String,
        /// How that shows.
        why: String,
    },
    /// `index.json` says something else.
    Index {
        /// What is wrong.
        why: String,
    },
    /// A record that is not shown to be in the log.
    Unproven {
        /// The record.
        index: u64,
        /// Why not.
        why: String,
    },
    /// A record that is in the log, and not valid.
    Invalid {
        /// The record.
        index: u64,
        /// Why not.
        why: String,
    },
    /// Something of the control lane.
    Control {
        /// What.
        why: String,
    },
    /// A record of the control lane that is in it, and not valid.
    ControlInvalid {
        /// Its index.
        index: u64,
        /// Why not.
        why: String,
    },
    /// A file that ought to be there.
    Missing {
        /// Its name.
        file: String,
        /// What for.
        why: String,
    },
    /// A file whose bytes are others.
    Changed {
        /// Its name.
        file: String,
    },
    /// A file that nothing asks for.
    Stray {
        /// Its name.
        file: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherKey { found } => write!(f, "the vkey in it is another one: {found}"),
            Self::Checkpoint { file, why } => write!(f, "{file} is no signed head of this log: {why}"),
            Self::Index { why } => write!(f, "index.json is not about this: {why}"),
            Self::Unproven { index, why } => write!(f, "record {index} is not shown to be in the log: {why}"),
            Self::Invalid { index, why } => write!(f, "record {index} is not valid: {why}"),
            Self::Control { why } => write!(f, "the control lane is not the signed one: {why}"),
            Self::ControlInvalid { index, why } => write!(f, "control record {index} is not valid: {why}"),
            Self::Missing { file, why } => write!(f, "{file} is missing: {why}"),
            Self::Changed { file } => write!(f, "{file} was changed"),
            Self::Stray { file } => write!(f, "{file} does not belong here"),
        }
    }
}

/// The result of a check.
#[derive(Clone, Debug)]
#[must_use]
pub struct Checked {
    /// The head of the main lane; none where there is no signed one.
    pub ledger: Option<SignedCheckpoint>,
    /// The head of the control lane.
    pub control: Option<SignedCheckpoint>,
    /// How many records are in it, and shown to be in the log.
    pub records: u64,
    /// Whether that is all of the log.
    pub whole: bool,
    /// Whether the key was the export's own: then it shows that the export agrees with itself, not whose it is.
    pub own_key: bool,
    /// The records whose signature nobody could check, and what there is not to check it with. They are no findings,
    /// and neither is the export intact with them: nobody can tell.
    pub unchecked: BTreeMap<u64, String>,
    /// The same of the records of the control lane.
    pub unchecked_control: BTreeMap<u64, String>,
    /// The keys in it that neither a record of it nor the checker's own policy names: nobody believed them.
    pub unnamed: Vec<String>,
    /// Everything found.
    pub findings: Vec<Finding>,
}

/// Checks an export with the log's key, or, where none is given, with the one in it. Whose the records are is judged by
/// the rules that the records name, and by `ours`: the keys and roots of the checker's own policy, if there is one.
///
/// # Errors
/// [`ExportError`] when it cannot be read, or is no export at all.
pub fn check(files: &Files, vkey: Option<&Vkey>, ours: &Trust) -> Result<Checked, ExportError> {
    let not = |why: &str| ExportError::NotAnExport { path: files.path().to_owned(), why: why.to_owned() };
    let own = text(files, "vkey")?;
    if own.is_none() || text(files, "checkpoint")?.is_none() {
        return Err(not("it has no `vkey` or no `checkpoint`"));
    }
    let own: Option<Vkey> = own.and_then(|own| own.strip_suffix('\n')?.parse().ok());
    let mut findings = BTreeSet::new();
    let (key, own_key) = match (vkey, own) {
        (Some(given), own) => {
            if own.as_ref() != Some(given) {
                let found = own.map_or_else(|| "not a verifier key".to_owned(), |own| own.to_string());
                findings.insert(Finding::OtherKey { found });
            }
            (given.clone(), false)
        }
        (None, Some(own)) => (own, true),
        (None, None) => return Err(not("its `vkey` is not a verifier key")),
    };
    let mut check = Check { files, key, findings, seen: BTreeSet::new() };
    for file in ["vkey", "checkpoint", "control/checkpoint", "index.json", "README.md"] {
        check.seen.insert(file.to_owned());
    }
    // 1. The heads.
    let main = check.head("checkpoint", &check.key.clone())?;
    let control = match check.key.control() {
        Ok(key) => {
            check.same(&[("control/vkey".to_owned(), format!("{key}\n").into_bytes())])?;
            check.head("control/checkpoint", &key)?
        }
        Err(_) => None,
    };
    let mut checked = Checked {
        ledger: main.clone(),
        control: control.clone(),
        records: 0,
        whole: false,
        own_key,
        unchecked: BTreeMap::new(),
        unchecked_control: BTreeMap::new(),
        unnamed: Vec::new(),
        findings: Vec::new(),
    };
    if let Some(main) = main {
        let index = check.listed()?;
        let claims_whole = index.as_ref().is_some_and(|index| index.part.is_whole());
        // 2. The control lane, whole.
        let lane = match &control {
            Some(head) => check.lane(head)?,
            None => {
                check.pass("control/");
                None
            }
        };
        // 3. Every record is in the log, and what decisions rely on is there.
        let records = check.records(&main)?;
        let trust = check.trust(&records, ours, &mut checked.unnamed)?;
        checked.records = records.len() as u64;
        checked.whole = records.keys().copied().eq(0..main.size());
        // 4. Every record is valid; of the whole log, each follows the one before it.
        (checked.unchecked, checked.unchecked_control) =
            check.valid(&main, &records, &trust, lane.as_ref(), checked.whole)?;
        // 5. The tiles, of all that there is.
        check.tiles(&records, &main, checked.whole, claims_whole)?;
        // 6. And what it says of itself.
        if let Some(index) = index {
            check.index(&index, &main, control.as_ref(), &records, checked.whole)?;
        }
        check.strays();
    }
    checked.findings = check.findings.into_iter().collect();
    Ok(checked)
}

fn text(files: &Files, name: &str) -> Result<Option<String>, ExportError> {
    // What is not text is not what it ought to be, and is found so by its reader.
    Ok(files.read(name)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// The records by their index.
type Records = BTreeMap<u64, Included>;
/// Records of which nobody can tell, by index, and why.
type Unchecked = BTreeMap<u64, String>;

struct Check<'f> {
    files: &'f Files,
    key: Vkey,
    findings: BTreeSet<Finding>,
    /// The files that something asked for.
    seen: BTreeSet<String>,
}

impl Check<'_> {
    fn find(&mut self, finding: Finding) {
        self.findings.insert(finding);
    }

    /// Once for each file.
    fn missing(&mut self, file: &str, why: impl fmt::Display) {
        let known =
            |finding: &Finding| matches!(finding, Finding::Missing { file: known, .. } if known == file);
        if self.findings.iter().any(known) {
            return;
        }
        let why = shorten(&why.to_string());
        self.find(Finding::Missing { file: file.to_owned(), why });
    }

    fn head(&mut self, file: &str, key: &Vkey) -> Result<Option<SignedCheckpoint>, ExportError> {
        let Some(note) = text(self.files, file)? else {
            self.missing(file, "it is the signed head of a lane");
            return Ok(None);
        };
        match key.open(&note) {
            Ok(head) => Ok(Some(head)),
            Err(error) => {
                let why = shorten(&error.to_string());
                self.find(Finding::Checkpoint { file: file.to_owned(), why });
                Ok(None)
            }
        }
    }

    fn lane(&mut self, head: &SignedCheckpoint) -> Result<Option<Whole>, ExportError> {
        let mut entries = Vec::new();
        let mut tiles = Tiles::of(head.size(), "control/");
        let mut expected = Vec::new();
        for index in 0..head.size() {
            let file = format!("control/{index}.json");
            let Some(bytes) = self.files.read(&file)? else {
                self.missing(&file, "the control lane is whole or counts for nothing");
                self.pass("control/");
                return Ok(None);
            };
            self.seen.insert(file);
            tiles.add(&bytes, &mut collect(&mut expected))?;
            entries.push(bytes);
        }
        match head.whole(entries) {
            Ok(lane) => {
                tiles.finish(&mut collect(&mut expected))?;
                self.same(&expected)?;
                Ok(Some(lane))
            }
            Err(error) => {
                self.find(Finding::Control { why: error.to_string() });
                self.pass("control/");
                Ok(None)
            }
        }
    }

    /// What cannot be judged because of something that is found anyway.
    fn pass(&mut self, prefix: &str) {
        self.seen.extend(self.files.names().filter(|name| name.starts_with(prefix)).map(str::to_owned));
    }

    /// Every record that is there, shown to be in the log by the proof beside it.
    fn records(&mut self, head: &SignedCheckpoint) -> Result<Records, ExportError> {
        let name = |file: &str| Some((file.strip_prefix("records/")?.strip_suffix(".json")?).to_owned());
        let named: Vec<String> = self.files.names().filter_map(name).collect();
        let mut records = BTreeMap::new();
        for text in named {
            // One spelling: another one is a stray file.
            let Some(index) = text.parse::<u64>().ok().filter(|index| index.to_string() == text) else {
                continue;
            };
            let (file, beside) = (format!("records/{index}.json"), format!("records/{index}.tlog-proof"));
            self.seen.extend([file.clone(), beside.clone()]);
            let bytes = self.files.read(&file)?.unwrap_or_default();
            let Some(proof) = self::text(self.files, &beside)? else {
                self.missing(&beside, "nothing shows that the record is in the log");
                continue;
            };
            match self.proved(head, index, bytes, &proof) {
                Ok(entry) => drop(records.insert(index, entry)),
                Err(why) => self.find(Finding::Unproven { index, why: shorten(&why) }),
            }
        }
        Ok(records)
    }

    fn proved(
        &self,
        head: &SignedCheckpoint,
        index: u64,
        bytes: Vec<u8>,
        proof: &str,
    ) -> Result<Included, String> {
        let proof: TlogProof = proof.parse().map_err(|error| format!("{error}"))?;
        if proof.index() != index {
            return Err(format!("its proof is of entry {}", proof.index()));
        }
        if proof.note() != head.text() {
            return Err("its proof ends in another head than `checkpoint`".to_owned());
        }
        proof.verify(&self.key, bytes).map_err(|error| error.to_string())
    }

    /// The keys and roots in it that the decisions name, each with the digest by which they do, and our own. Anybody
    /// can lay a key beside them.
    fn trust(
        &mut self,
        records: &Records,
        ours: &Trust,
        unnamed: &mut Vec<String>,
    ) -> Result<Trust, ExportError> {
        let rules: Vec<ClaimedRules> =
            records.values().filter_map(|entry| ClaimedRules::read(entry.bytes()).ok()).collect();
        let known: BTreeSet<Digest> =
            rules.iter().flat_map(|rules| rules.policy.keys.values().copied()).collect();
        let named = |prefix: &str, ending: &str| -> Vec<String> {
            let ours = |file: &&str| file.starts_with(prefix) && file.ends_with(ending);
            self.files.names().filter(ours).map(str::to_owned).collect()
        };
        let mut keys = ours.keys().to_vec();
        for file in named("keys/", ".pem") {
            let key = text(self.files, &file)?.and_then(|pem| PublicKey::from_pem(&pem).ok());
            match key.filter(|key| names(key.id())[2] == file) {
                Some(key) if known.contains(&key.id()) => keys.push(key),
                Some(key) if ours.keys().iter().any(|our| our.id() == key.id()) => {}
                Some(_) => unnamed.push(shorten(&file)),
                None => self.find(Finding::Changed { file }),
            }
        }
        let versions: BTreeSet<(RootName, Digest)> =
            rules.into_iter().flat_map(|rules| rules.roots).map(|root| (root.name, root.digest.0)).collect();
        let mut roots = ours.roots().to_vec();
        for (name, digest) in versions {
            let json = self.files.read(&names(digest)[3])?;
            let json = json.filter(|json| Digest::of(json) == digest);
            roots.extend(json.and_then(|json| root_of(name, &json)));
        }
        Ok(Trust::new(keys).with_roots(roots))
    }

    /// Whether each record is one of ours, and what it relies on is there. Returns those of which nobody can tell, of the
    /// main lane and of the control lane.
    fn valid(
        &mut self,
        head: &SignedCheckpoint,
        records: &Records,
        trust: &Trust,
        lane: Option<&Whole>,
        whole: bool,
    ) -> Result<(Unchecked, Unchecked), ExportError> {
        let origin = head.origin().as_str();
        let mut unchecked = BTreeMap::new();
        let mut read = Read::new();
        for (index, entry) in records {
            let (index, bytes) = (*index, entry.bytes());
            let found = match whole {
                true => match read.next(index, bytes, origin, trust, lane) {
                    Ok(_) => None,
                    Err(wrong) => Some((wrong.is_unknown(), wrong.to_string())),
                },
                false => alone(index, bytes, origin, trust, lane),
            };
            match found {
                None => {}
                Some((true, why)) => drop(unchecked.insert(index, shorten(&why))),
                Some((false, why)) => self.find(Finding::Invalid { index, why: shorten(&why) }),
            }
            // The bytes are those in the log: it takes no signature to know which rules they name.
            if let Ok(rules) = ClaimedRules::read(bytes) {
                rules.digests().try_for_each(|digest| self.piece(index, digest))?;
            }
            if let Ok(content) = Content::read(bytes, origin, index, trust)
                && let Body::Promotion(promotion) = &content.body
            {
                for relied in relied_on(promotion, &content.subjects) {
                    self.piece(index, relied.digest)?;
                }
            }
        }
        // Where the main lane is not all there, nobody can say what the authors of the control lane saw of it.
        let roots = whole.then(|| read.roots());
        Ok((unchecked, lane.map(|lane| self.control(lane, roots, trust)).unwrap_or_default()))
    }

    /// Whether each record of the control lane is one of ours. Returns those of which nobody can tell.
    fn control(&mut self, lane: &Whole, roots: Option<&[Digest]>, trust: &Trust) -> Unchecked {
        let mut unchecked = BTreeMap::new();
        for (index, wrong) in review::control_wrong(lane, roots, trust) {
            let why = shorten(&wrong.to_string());
            match wrong.is_unknown() {
                true => drop(unchecked.insert(index, why)),
                false => self.find(Finding::ControlInvalid { index, why }),
            }
        }
        unchecked
    }

    /// What a record relied on is there under its digest.
    fn piece(&mut self, record: u64, digest: Digest) -> Result<(), ExportError> {
        let names = names(digest);
        if names.iter().any(|name| self.seen.contains(name)) {
            return Ok(());
        }
        let there: Vec<String> = names.iter().filter(|name| self.files.has(name)).cloned().collect();
        if there.is_empty() {
            self.missing(&names[0], format!("record {record} relied on it"));
        }
        for file in there {
            self.hashed(&file, digest)?;
        }
        Ok(())
    }

    /// A file that is called by the digest of what it holds.
    fn hashed(&mut self, file: &str, digest: Digest) -> Result<(), ExportError> {
        self.seen.insert(file.to_owned());
        let bytes = self.files.read(file)?.unwrap_or_default();
        let found = match file.starts_with("keys/") {
            true => PublicKey::from_pem(&String::from_utf8_lossy(&bytes)).ok().map(|key| key.id()),
            false => Some(Digest::of(&bytes)),
        };
        if found != Some(digest) {
            self.find(Finding::Changed { file: file.to_owned() });
        }
        Ok(())
    }

    fn tiles(
        &mut self,
        records: &Records,
        head: &SignedCheckpoint,
        whole: bool,
        claims_whole: bool,
    ) -> Result<(), ExportError> {
        let there = self.files.names().any(|name| name.starts_with("tile/"));
        if !whole {
            // They are of a whole log, and without it nobody can judge them: that it is not there is said.
            if claims_whole {
                self.pass("tile/");
            }
            return Ok(());
        }
        if !there {
            // A part has none, also where nothing was left out.
            if claims_whole && head.size() > 0 {
                self.missing("tile/", "the whole log is there, and its tiles are not");
            }
            return Ok(());
        }
        let (mut tiles, mut expected) = (Tiles::of(head.size(), ""), Vec::new());
        for entry in records.values() {
            tiles.add(entry.bytes(), &mut collect(&mut expected))?;
            self.same(&std::mem::take(&mut expected))?;
        }
        if tiles.root() != head.root() {
            self.find(Finding::Index { why: "the records do not give the signed root".to_owned() });
        }
        tiles.finish(&mut collect(&mut expected))?;
        self.same(&expected)
    }

    /// These files are there, and hold this.
    fn same(&mut self, expected: &[(String, Vec<u8>)]) -> Result<(), ExportError> {
        for (file, bytes) in expected {
            self.seen.insert(file.clone());
            match self.files.read(file)? {
                None => self.missing(file, "it follows from the log and its key"),
                Some(found) if found == *bytes => {}
                Some(_) => self.find(Finding::Changed { file: file.clone() }),
            }
        }
        Ok(())
    }

    /// What it says of itself.
    fn listed(&mut self) -> Result<Option<Index>, ExportError> {
        let Some(text) = text(self.files, "index.json")? else {
            self.missing("index.json", "it says what ought to be here");
            return Ok(None);
        };
        match serde_json::from_str(&text) {
            Ok(index) => Ok(Some(index)),
            Err(error) => {
                self.find(Finding::Index { why: shorten(&error.to_string()) });
                Ok(None)
            }
        }
    }

    fn index(
        &mut self,
        index: &Index,
        main: &SignedCheckpoint,
        control: Option<&SignedCheckpoint>,
        records: &Records,
        whole: bool,
    ) -> Result<(), ExportError> {
        // A stranger does as it says.
        self.same(&[("README.md".to_owned(), readme::text(&self.key, index).into_bytes())])?;
        let head = |at: &SignedCheckpoint| TreeHead { size: at.size(), root: at.root() };
        let same = index.format == FORMAT
            && index.origin == main.origin().as_str()
            && index.ledger == head(main)
            && control.is_none_or(|control| index.control == head(control));
        if !same {
            self.find(Finding::Index { why: "it names another format, log or head".to_owned() });
        }
        if index.part.is_whole() && !whole {
            self.find(Finding::Index { why: "it says that the whole log is here, and it is not".to_owned() });
        }
        for record in index.records.iter().filter(|record| !records.contains_key(record)) {
            let file = format!("records/{record}.json");
            if !self.seen.contains(&file) {
                self.missing(&file, "it is listed in index.json");
            }
        }
        let listed: BTreeSet<u64> = index.records.iter().copied().collect();
        for record in records.keys().filter(|record| !listed.contains(record)) {
            self.find(Finding::Index { why: format!("it does not list record {record}") });
        }
        // The rest of an image's documents, and the policy of who exported: named by no record, yet by their digest.
        for digest in index.evidence.iter().copied() {
            let known: Vec<String> = names(digest).into_iter().filter(|name| self.files.has(name)).collect();
            if known.is_empty() {
                self.missing(&names(digest)[0], "it is listed in index.json");
            }
            for file in known {
                self.hashed(&file, digest)?;
            }
        }
        Ok(())
    }

    fn strays(&mut self) {
        let strays: Vec<String> =
            self.files.names().filter(|name| !self.seen.contains(*name)).map(shorten).collect();
        for file in strays {
            self.find(Finding::Stray { file });
        }
    }
}

/// One record by itself: whether nobody can tell, and why it is not valid.
fn alone(
    index: u64,
    bytes: &[u8],
    origin: &str,
    trust: &Trust,
    lane: Option<&Whole>,
) -> Option<(bool, String)> {
    match Content::read(bytes, origin, index, trust) {
        Err(crate::record::RecordError::Rejected(rejected)) => {
            Some((review::is_unknown(&rejected.reason), rejected.reason.to_string()))
        }
        Err(error) => Some((false, error.to_string())),
        Ok(content) => {
            let TreeHead { size, root } = content.body.ledger().control;
            let seen = lane.is_none_or(|lane| lane.root_at(size) == Some(root));
            (!seen).then(|| (false, "its author had seen another control lane".to_owned()))
        }
    }
}

fn collect(into: &mut Vec<(String, Vec<u8>)>) -> impl FnMut(&str, &[u8]) -> Result<(), ExportError> {
    |name, bytes| {
        into.push((name.to_owned(), bytes.to_vec()));
        Ok(())
    }
}
