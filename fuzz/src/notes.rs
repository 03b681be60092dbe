//! What logs and witnesses publish: notes, checkpoints, cosignatures, tiles, proofs, policies; and their keys.

use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::sync::LazyLock;

use samebits::digest::Digest;
use samebits::ledger::commit::{Commit, Content};
use samebits::ledger::pending::Pending;
use samebits::ledger::{Entry, Index};
use samebits::record::Kind;
use samebits::tlog::{
    Checkpoint, EntryBundle, LogSigner, Quorum, SignedCheckpoint, TilePath, TlogPolicy, TlogProof, Vkey,
    WitnessSigner, WitnessVkey, leaf_hash, node_hash,
};

use super::is_tidy;

const SECRET: &str = "PRIVATE+KEY+fuzz.example/log+3773c20a+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const WITNESS_SECRET: &str =
    "PRIVATE+KEY+witness.example/w1+468d99bb+BAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g";

/// The entries of the log that proofs are about.
const ENTRIES: [&[u8]; 2] = [b"left", b"right"];

/// A log's key; whoever reads this can sign for it, the fuzzer cannot.
pub(super) static LOG: LazyLock<LogSigner> =
    LazyLock::new(|| SECRET.parse().unwrap_or_else(|error| panic!("{error}")));

static WITNESS: LazyLock<WitnessSigner> =
    LazyLock::new(|| WITNESS_SECRET.parse().unwrap_or_else(|error| panic!("{error}")));

/// The checkpoints that were ever signed with the log's key; the last is that of [`ENTRIES`].
pub(super) static SIGNED: LazyLock<Vec<SignedCheckpoint>> = LazyLock::new(|| {
    let sign = |size, root: Digest| LOG.sign(size, root).expect("an honest checkpoint");
    let [left, right] = ENTRIES.map(leaf_hash);
    vec![
        sign(0, Digest::of(b"")),
        sign(1, Digest::of(b"one")),
        sign(u64::from(u32::MAX), Digest::of(b"many")),
        sign(2, node_hash(&left, &right)),
    ]
});

/// The times at which the last of them was cosigned.
const TIMES: [u64; 2] = [7, 1_700_000_000];

/// Its cosignatures by the witness, a line each.
static COSIGNED: LazyLock<Vec<String>> = LazyLock::new(|| {
    let line = |time| WITNESS.cosign(head(), time).expect("an honest cosignature");
    TIMES.map(line).to_vec()
});

fn head() -> &'static SignedCheckpoint {
    SIGNED.last().expect("the log of the entries")
}

/// One spelling in, the same out: what is read, if it is.
fn one_spelling<T: FromStr<Err: Display> + Display + Debug>(text: &str) -> Option<T> {
    match text.parse::<T>() {
        Ok(value) => {
            assert_eq!(value.to_string(), text, "two spellings of one {value:?}");
            Some(value)
        }
        Err(error) => {
            is_tidy(&error);
            None
        }
    }
}

/// Any text as a signed note, and as a key.
pub fn note(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let log = one_spelling::<Vkey>(text);
    let witness = one_spelling::<WitnessVkey>(text);
    assert!(log.is_none() || witness.is_none(), "a key of two types");
    match LOG.vkey().open(text) {
        Err(error) => is_tidy(&error),
        Ok(opened) => {
            let body = |note: &str| note.split("\n\n").next().unwrap_or_default().to_owned();
            let known = SIGNED.iter().any(|known| body(known.text()) == body(text));
            assert!(known, "accepted, and never signed");
            assert_eq!(opened.text(), text);
            assert_eq!(opened.origin(), LOG.vkey().origin());
            assert!(text.contains(&format!("\n{}\n", opened.size())));
        }
    }
}

/// Any text as a checkpoint that nobody signed.
pub fn checkpoint(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match text.parse::<Checkpoint>() {
        Err(error) => is_tidy(&error),
        // Extension lines are opaque, and forgotten.
        Ok(checkpoint) => {
            let written = checkpoint.to_string();
            assert!(text.starts_with(&written), "two spellings of one checkpoint");
            assert!(!text[written.len()..].split_inclusive('\n').any(|line| line == "\n"));
            assert!(text.ends_with('\n'));
        }
    }
}

/// Any text as what a witness answers.
pub fn cosignature(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match head().cosigned(text, WITNESS.vkey()) {
        Err(error) => is_tidy(&error),
        Ok(cosigned) => {
            assert!(cosigned.text().starts_with(head().text()));
            let all = WITNESS.vkey().cosignatures(&cosigned).expect("what was just verified");
            let [one] = all.as_slice() else { panic!("{} cosignatures of one witness", all.len()) };
            assert!(TIMES.contains(&one.time()), "accepted, and never signed");
            assert!(COSIGNED.iter().any(|line| text.contains(line.as_str())));
        }
    }
}

/// Any text as a path of a tiled log.
pub fn tile_path(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Some(path) = one_spelling::<TilePath>(text) else { return };
    let number: String = text.split('/').skip(2).filter(|part| part.len() >= 3).collect();
    let number: String = number.chars().take_while(|c| *c != '.').filter(char::is_ascii_digit).collect();
    let number: u64 = number.parse().expect("the digits of the path");
    match path {
        TilePath::Hashes(tile) => {
            assert!((1..=256).contains(&tile.width()) && tile.level() <= 7);
            let first = tile.nodes().next().expect("a tile has hashes");
            assert_eq!((first.index, first.level), (number * 256, tile.level() * 8));
        }
        TilePath::Entries(bundle) => assert_eq!(bundle.range().start, number * 256),
    }
}

/// Any bytes as a bundle of entries: the first says of how many.
pub fn entry_bundle(input: &[u8]) {
    let Some((width, bytes)) = input.split_first() else { return };
    let bundle = EntryBundle::of(0, u64::from(*width) + 1).expect("1 to 256 entries");
    match bundle.decode(bytes) {
        Err(error) => is_tidy(&error),
        Ok(entries) => {
            assert_eq!(entries.len(), usize::from(*width) + 1);
            assert_eq!(entries.iter().map(|entry| entry.len() + 2).sum::<usize>(), bytes.len());
            assert_eq!(bundle.encode(&entries).expect("what was just read"), bytes);
        }
    }
}

/// Any text as a proof file.
pub fn tlog_proof(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Some(proof) = one_spelling::<TlogProof>(text) else { return };
    assert!(text.contains(&format!("\nindex {}\n", proof.index())) && text.ends_with(proof.note()));
    for (index, entry) in (0..).zip(ENTRIES) {
        match proof.verify(LOG.vkey(), entry.to_vec()) {
            Err(error) => is_tidy(&error),
            Ok(included) => assert_eq!((included.index(), proof.index()), (index, index), "proved elsewhere"),
        }
    }
    assert!(proof.verify(LOG.vkey(), b"never appended".to_vec()).is_err());
}

/// Any text as a policy, and what it says of a checkpoint with one good cosignature.
pub fn tlog_policy(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Some(policy) = one_spelling::<TlogPolicy>(text) else { return };
    let lines = |keyword: &str| {
        let words = text.lines().filter_map(|line| line.split([' ', '\t']).find(|word| !word.is_empty()));
        words.filter(|word| *word == keyword).count()
    };
    assert_eq!(lines("quorum"), 1);
    assert_eq!((lines("log"), lines("witness")), (policy.logs().len(), policy.witnesses().len()));
    let cosigned = head().cosigned(&COSIGNED[0], WITNESS.vkey()).expect("an honest cosignature");
    match policy.quorum(&cosigned, TIMES[0]) {
        Err(error) => is_tidy(&error),
        Ok(Quorum::NotRequired) => assert!(text.contains("none")),
        Ok(Quorum::Missed { missing }) => assert!(!missing.is_empty()),
        Ok(Quorum::Reached(witnessed)) => {
            assert_eq!((witnessed.fresh_at(), witnessed.seen_by()), (TIMES[0], TIMES[0]));
            assert_eq!(witnessed.witnesses().len(), 1);
            assert!(text.contains(&WITNESS.vkey().to_string()), "cosigned by nobody it knows");
        }
    }
    // Before that time nobody had said anything.
    assert!(!matches!(policy.quorum(&cosigned, TIMES[0] - 1), Ok(Quorum::Reached(_))));
}

/// Honest inputs of each target here.
pub(super) fn seeds(target: &str) -> Vec<String> {
    let keys = || [LOG.vkey().to_string(), WITNESS.vkey().to_string()];
    let notes = || SIGNED.iter().map(|signed| signed.text().to_owned());
    match target {
        "note" => notes().chain(keys()).collect(),
        "checkpoint" => {
            let texts = SIGNED.iter().map(|signed| signed.checkpoint().to_string());
            texts.flat_map(|text| [text.clone(), format!("{text}extension\n")]).collect()
        }
        "cosignature" => COSIGNED.iter().cloned().chain([COSIGNED.concat()]).collect(),
        "tile_path" => [
            "tile/0/000",
            "tile/0/x001/x234/067.p/1",
            "tile/7/000.p/127",
            "tile/entries/x001/000",
            "tile/entries/000.p/255",
            "tile/0/x036/x028/x797/x018/x963/967.p/255",
        ]
        .map(str::to_owned)
        .to_vec(),
        "entry_bundle" => vec!["\0\0\0".to_owned(), "\u{1}\0\u{4}left\0\u{5}right".to_owned()],
        "tlog_proof" => proofs(),
        "tlog_policy" => policies(),
        "commit" => commits().to_vec(),
        "pending" => pending_records().to_vec(),
        unknown => panic!("no target {unknown}"),
    }
}

fn proofs() -> Vec<String> {
    let prove = |index, entry: &[u8], other| {
        TlogProof::new(head(), index, entry.to_vec(), vec![leaf_hash(other)]).expect("an honest proof")
    };
    let [left, right] = ENTRIES;
    let plain = prove(0, left, right);
    let extra = prove(1, right, left).with_extra(b"extra".to_vec()).expect("little extra data");
    vec![plain.to_string(), extra.to_string()]
}

fn policies() -> Vec<String> {
    let (log, witness) = (LOG.vkey(), WITNESS.vkey());
    vec![
        format!("log {log}\nwitness w {witness} https://w.example/\nquorum w\n"),
        format!("# all\nwitness w {witness}\ngroup g all w\ngroup h 1 g\nquorum h\n"),
        format!("log {log}\n\nquorum none\n"),
        format!("witness w {witness}\nwitness ml {}\ngroup g any w ml\nquorum g\n", ml_dsa_44()),
    ]
}

/// A key of a type that is recognised and not supported.
fn ml_dsa_44() -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let bytes = [&[6][..], &[1; 1312]].concat();
    let hashed = [&b"ml.example\n"[..], &bytes].concat();
    format!("ml.example+{}+{}", &Digest::of(&hashed).hex()[..8], STANDARD.encode(bytes))
}

/// Any bytes as what lies in a slot of a ledger: what is read is written again as it was.
pub fn commit(input: &[u8]) {
    match Commit::parse(input) {
        Ok(commit) => assert_eq!(commit.to_bytes(), input, "two spellings of one commit"),
        Err(error) => is_tidy(&error),
    }
}

/// Commits of both lanes.
fn commits() -> [String; 2] {
    let index = Index {
        kind: Kind::Deployment,
        service: "shop".to_owned(),
        environment: "staging".to_owned(),
        digest: Some(Digest::of(b"image")),
        phase: "succeeded".to_owned(),
        idempotency_key: Some("key".to_owned()),
    };
    let bare = Index { digest: None, idempotency_key: None, kind: Kind::Approval, ..index.clone() };
    let entries = [index, bare].map(|index| Entry { bytes: b"record".to_vec(), index });
    let evidence = [Digest::of(b"one"), Digest::of(b"two")].into();
    let main = Content::Main { entries: entries.to_vec(), evidence };
    let control = Content::Control(vec![b"freeze".to_vec(), b"thaw".to_vec()]);
    let commit = |content| {
        let note = SIGNED[1].text().to_owned();
        let commit = Commit { size: 7, root: Digest::of(b"root"), content, note, nonce: [7; 16] };
        String::from_utf8(commit.to_bytes()).expect("JSON is UTF-8")
    };
    [commit(main), commit(control)]
}

/// Any bytes as what a writer left for others: what is read is written again as it was.
pub fn pending(input: &[u8]) {
    match Pending::parse(input) {
        Ok(pending) => assert_eq!(pending.to_bytes(), input, "two spellings of one pending record"),
        Err(error) => is_tidy(&error),
    }
}

/// With evidence and without.
fn pending_records() -> [String; 2] {
    let some = [Digest::of(b"one"), Digest::of(b"two")].into();
    [some, Default::default()].map(|evidence| {
        let pending = Pending { record: b"record".to_vec(), evidence };
        String::from_utf8(pending.to_bytes()).expect("JSON is UTF-8")
    })
}
