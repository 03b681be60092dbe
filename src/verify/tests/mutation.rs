//! Every leaf, every member, any byte: what may change without a refusal is listed, with the reason.

use proptest::prelude::*;

use super::*;

/// Every path to a leaf of a JSON value.
pub(crate) fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            object.iter().for_each(|(key, value)| leaves(value, &format!("{path}/{key}"), found));
        }
        Value::Array(array) => {
            array.iter().enumerate().for_each(|(at, value)| leaves(value, &format!("{path}/{at}"), found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => found.push(path.to_owned()),
    }
}

fn replacements(leaf: &Value) -> Vec<Value> {
    let mut all = vec![Value::Null, json!(0), json!(true), json!(""), json!([]), json!({}), json!("A")];
    if let Some(text) = leaf.as_str() {
        all.extend([json!(format!("{text}A")), json!(format!(" {text}")), json!(text.to_uppercase())]);
        all.extend((0..text.len()).map(|at| {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            json!(String::from_utf8(bytes).unwrap())
        }));
    }
    all.retain(|value| value != leaf);
    all
}

/// What may be changed without a refusal: path, and why.
const UNAUTHENTICATED: [(&str, &str); 2] = [
    ("/verificationMaterial/publicKey/hint", "says which key to try first, nothing else; any text"),
    (
        "/dsseEnvelope/signatures/0/keyid",
        "DSSE v1: an unauthenticated hint, MUST NOT be used for decisions; any text",
    ),
];

type Verify = fn(&[u8], &Trust) -> Result<Verified<Attestation>, Rejected>;

fn no_leaf_can_be_changed(
    original: &Value,
    trust: &Trust,
    verify: Verify,
    free: &[&str],
    leaves_there: usize,
) {
    assert!(verify(original.to_string().as_bytes(), trust).is_ok());
    let mut paths = Vec::new();
    leaves(original, "", &mut paths);
    assert_eq!(paths.len(), leaves_there, "{paths:?}");
    for path in paths {
        for replacement in replacements(original.pointer(&path).unwrap()) {
            let mut changed = original.clone();
            *changed.pointer_mut(&path).unwrap() = replacement.clone();
            let accepted = verify(changed.to_string().as_bytes(), trust).is_ok();
            let may = free.contains(&path.as_str()) && replacement.is_string();
            assert_eq!(accepted, may, "{path} = {replacement}");
        }
    }
}

#[test]
fn b9_no_leaf_of_a_bundle_can_be_changed() {
    let free = UNAUTHENTICATED.map(|(path, _)| path);
    let mut ours: Value = serde_json::from_slice(&signed(&statement())).unwrap();
    ours["dsseEnvelope"]["signatures"][0]["keyid"] = json!("a");
    no_leaf_can_be_changed(&ours, &trust(), bundle, &free, 6);
    for (bytes, key) in [
        (cosign!("sign-p256.bundle.json"), cosign!("p256.pub")),
        (cosign!("sign-p384.bundle.json"), cosign!("p384.pub")),
        (cosign!("sign-rsa.bundle.json"), cosign!("rsa.pub")),
        (cosign!("attest-p256.bundle.json"), cosign!("p256.pub")),
    ] {
        let trust = Trust::new(vec![public(key)]);
        no_leaf_can_be_changed(&serde_json::from_slice(bytes).unwrap(), &trust, bundle, &free, 5);
    }
    let att = serde_json::from_slice(cosign!("att-p256.envelope.json")).unwrap();
    no_leaf_can_be_changed(&att, &cosign_trust(), envelope, &[], 3);
}

#[test]
fn b9_no_member_of_a_bundle_can_be_added_or_left_out() {
    let original: Value = serde_json::from_slice(&signed(&statement())).unwrap();
    for object in [
        "",
        "/verificationMaterial",
        "/verificationMaterial/publicKey",
        "/dsseEnvelope",
        "/dsseEnvelope/signatures/0",
    ] {
        let mut more = original.clone();
        more.pointer_mut(object).unwrap()["more"] = json!(1);
        refused(more.to_string().as_bytes(), "unknown-member");
        for key in original.pointer(object).unwrap().as_object().unwrap().keys() {
            let mut less = original.clone();
            less.pointer_mut(object).unwrap().as_object_mut().unwrap().remove(key);
            assert_eq!(
                bundle(less.to_string().as_bytes(), &trust()).is_ok(),
                key == "hint",
                "{object}/{key}"
            );
        }
    }
}

#[test]
fn b9_no_leaf_of_a_signed_statement_can_be_changed() {
    let original = statement();
    let mut paths = Vec::new();
    leaves(&original, "", &mut paths);
    for path in paths {
        for replacement in replacements(original.pointer(&path).unwrap()) {
            let mut statement = original.clone();
            *statement.pointer_mut(&path).unwrap() = replacement;
            let payload = STANDARD.encode(statement.to_string());
            refused(&changed(|bundle| bundle["dsseEnvelope"]["payload"] = json!(payload)), "bad-signature");
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, text: String) {
        prop_assert!(bundle(&bytes, &trust()).is_err());
        prop_assert!(envelope(&bytes, &trust()).is_err());
        prop_assert!(simple_signing(&bytes, &text, &trust()).is_err());
        // Signed rubbish reaches the statement's reader.
        prop_assert!(bundle(&sign_statement(&bytes, &key()).unwrap(), &trust()).is_err());
    }

    #[test]
    fn one_changed_byte_never_panics_and_never_changes_the_meaning(at: prop::sample::Index, byte: u8) {
        let original = signed(&statement());
        let before = bundle(&original, &trust()).unwrap();
        let mut bytes = original.clone();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(after) = bundle(&bytes, &trust()) {
            prop_assert_eq!(&*after, &*before);
            prop_assert_eq!(after.identity(), before.identity());
        }
    }

    #[test]
    fn arbitrary_statements_never_panic(
        members in prop::collection::btree_map("_type|subject|predicateType|predicate", "[\\[\\]{}:,\"a1]{0,8}", 0..4)
    ) {
        let text = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect::<Vec<_>>().join(",");
        let _ = statement::read(format!("{{{text}}}").as_bytes());
    }
}
