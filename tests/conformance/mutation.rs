//! Every leaf of real bundles of every kind: changed, it is refused, or it stands below with the reason.

use serde_json::{Value, json};

use crate::*;

const BASES: [&str; 8] = [
    "happy-path-v0.1",
    "happy-path-v0.2",
    "happy-path-v0.3",
    "happy-path-intoto-in-dsse-v3",
    "intoto-with-custom-trust-root",
    "rekor2-happy-path",
    "rekor2-dsse-happy-path",
    "managed-key-happy-path",
];

/// How a leaf read before, how it reads now: may it?
type May = fn(&str, &Value) -> bool;

/// Where a change may be accepted: the end of the leaf's path, how the leaf may read then, and why that is harmless.
const FREE: [(&str, May, &str); 5] = [
    (
        "/mediaType",
        |before, after| {
            let spellings = [
                "application/vnd.dev.sigstore.bundle+json;version=0.3",
                "application/vnd.dev.sigstore.bundle.v0.3+json",
                "application/vnd.dev.sigstore.bundle+json;version=0.1",
                "application/vnd.dev.sigstore.bundle+json;version=0.2",
            ];
            spellings.contains(&before) && after.as_str().is_some_and(|after| spellings.contains(&after))
        },
        "two spellings of v0.3; v0.1 and v0.2 of the same members are held to the same proofs",
    ),
    ("/publicKey/hint", |_, after| after.is_string(), "says which key to try first, nothing else"),
    (
        "/signatures/0/keyid",
        |_, after| after.is_string(),
        "DSSE v1: an unauthenticated hint, never used for decisions",
    ),
    (
        "/signedTimestamp",
        |before, after| after.as_str().is_some_and(|after| after.len() == before.len()),
        "parts of a CMS token that its signature does not cover and nobody reads (versions, embedded certificates)",
    ),
    (
        "/checkpoint/envelope",
        |before, after| {
            // The note's text and the log's own signature are as they were; only lines of others changed.
            let log = |text: &str| {
                let (note, signatures) = text.split_once("\n\n")?;
                Some((note.to_owned(), signatures.lines().map(str::to_owned).collect::<Vec<_>>()))
            };
            let (Some((note, lines)), Some((changed, others))) = (log(before), after.as_str().and_then(log))
            else {
                return false;
            };
            note == changed
                && lines.iter().any(|line| others.iter().any(|other| signature(line) == signature(other)))
        },
        "cosignatures of witnesses and the names before signatures: no witness is trusted, keys are told by their id",
    ),
];

/// Key id and signature of a line `— NAME BASE64`.
fn signature(line: &str) -> Option<&str> {
    line.rsplit_once(' ').map(|(_, signature)| signature)
}

fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            object.iter().for_each(|(key, value)| leaves(value, &format!("{path}/{key}"), found))
        }
        Value::Array(array) => {
            array.iter().enumerate().for_each(|(at, value)| leaves(value, &format!("{path}/{at}"), found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => found.push(path.to_owned()),
    }
}

/// Other types, other lengths, and one character at up to forty places.
fn replacements(leaf: &Value) -> Vec<Value> {
    let mut all =
        vec![Value::Null, json!(0), json!(-1), json!(true), json!(""), json!([]), json!({}), json!("AAAA")];
    if let Some(text) = leaf.as_str() {
        all.extend([json!(format!("{text}A")), json!(format!(" {text}")), json!(format!("{text}\n"))]);
        if let Ok(number) = text.parse::<u64>() {
            all.extend([
                json!((number + 1).to_string()),
                json!((number - number.min(1)).to_string()),
                json!("0"),
            ]);
        }
        let characters: Vec<char> = text.chars().collect();
        let step = characters.len().div_ceil(40).max(1);
        all.extend((0..characters.len()).step_by(step).map(|at| {
            let mut changed = characters.clone();
            changed[at] = if changed[at] == 'A' { 'B' } else { 'A' };
            json!(changed.into_iter().collect::<String>())
        }));
    }
    all.retain(|value| value != leaf);
    all
}

#[test]
#[allow(clippy::print_stdout)]
fn b9_no_leaf_of_a_real_bundle_can_be_changed() {
    let Some(assets) = assets() else { return };
    let (mut tried, mut accepted, mut wrong) = (0, BTreeMap::<String, usize>::new(), Vec::new());
    for name in BASES {
        let case = Case::read(&assets, name);
        let trust = case.trust.as_ref().unwrap();
        let original: Value = serde_json::from_slice(&case.bundle).unwrap();
        let artifact = Artifact::Bytes(&case.artifact);
        let proved = verify::artifact(original.to_string().as_bytes(), artifact, trust).unwrap();
        let mut paths = Vec::new();
        leaves(&original, "", &mut paths);
        for path in paths {
            let before = original.pointer(&path).unwrap();
            for replacement in replacements(before) {
                let mut changed = original.clone();
                *changed.pointer_mut(&path).unwrap() = replacement.clone();
                tried += 1;
                let Ok(still) = verify::artifact(changed.to_string().as_bytes(), artifact, trust) else {
                    continue;
                };
                // Whatever was changed: what is proved is what was proved.
                assert_eq!(*still, *proved, "{name} {path} = {replacement}");
                assert_eq!(still.identity(), proved.identity(), "{name} {path} = {replacement}");
                assert_eq!(
                    still.author().claims(),
                    proved.author().claims(),
                    "{name} {path} = {replacement}"
                );
                assert_eq!(still.author().time(), proved.author().time(), "{name} {path} = {replacement}");
                let text = before.as_str().unwrap_or_default();
                match FREE.iter().find(|(end, may, _)| path.ends_with(end) && may(text, &replacement)) {
                    Some((end, _, _)) => *accepted.entry((*end).to_owned()).or_default() += 1,
                    None => wrong.push(format!("{name} {path} = {replacement}")),
                }
            }
        }
    }
    println!("{tried} bundles with one leaf changed; accepted: {accepted:?}");
    assert!(wrong.is_empty(), "{} accepted:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried > 5_000, "{tried}");
}

#[test]
fn b9_no_member_of_a_real_bundle_can_be_added() {
    let Some(assets) = assets() else { return };
    for name in BASES {
        let case = Case::read(&assets, name);
        let original: Value = serde_json::from_slice(&case.bundle).unwrap();
        let mut objects = vec![String::new()];
        let mut at = 0;
        while let Some(path) = objects.get(at).cloned() {
            let children: Vec<String> = match original.pointer(&path).unwrap() {
                Value::Object(object) => object.keys().map(|key| format!("{path}/{key}")).collect(),
                Value::Array(array) => (0..array.len()).map(|at| format!("{path}/{at}")).collect(),
                _ => Vec::new(),
            };
            objects.extend(children);
            at += 1;
        }
        for path in objects.iter().filter(|path| original.pointer(path).unwrap().is_object()) {
            let mut more = original.clone();
            more.pointer_mut(path).unwrap()["more"] = json!(1);
            let trust = case.trust.as_ref().unwrap();
            let artifact = Artifact::Bytes(&case.artifact);
            let rejected = verify::artifact(more.to_string().as_bytes(), artifact, trust).unwrap_err();
            assert_eq!(rejected.reason.code(), "unknown-member", "{name} {path}");
        }
    }
}
