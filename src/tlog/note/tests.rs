//! Notes and keys: published examples, and what is refused.

use super::*;
use crate::tlog::key::PRIVATE;
use proptest::prelude::*;

// The example of the documentation of golang.org/x/mod/sumdb/note.
const GO_SECRET: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const GO_VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_TEXT: &str =
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const GO_LINE: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
// The example of C2SP signed-note, "Verifier keys".
const C2SP_VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const C2SP_NOTE: &str = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
const OTHER_LINE: &str = "— example.com/other Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq\n";

fn go() -> LogSigner {
    GO_SECRET.parse().unwrap()
}

fn go_note() -> String {
    format!("{GO_TEXT}\n{GO_LINE}")
}

#[test]
fn the_published_example_of_go_is_ours_byte_for_byte() {
    assert_eq!(go().vkey().to_string(), GO_VKEY);
    assert_eq!(go().to_secret_text(), GO_SECRET);
    assert_eq!(go().sign_note(GO_TEXT).unwrap(), go_note());
    assert_eq!(GO_VKEY.parse::<Vkey>().unwrap().verify(&go_note()).unwrap(), GO_TEXT);
}

#[test]
fn the_published_example_of_c2sp_verifies() {
    let vkey: Vkey = C2SP_VKEY.parse().unwrap();
    assert_eq!(vkey.verify(C2SP_NOTE).unwrap(), "This is an example message.\n");
    assert_eq!(vkey.verify(&go_note()), Err(TlogError::NotSigned { expected: vkey.clone() }));
    // A signed note that is no checkpoint.
    assert!(matches!(vkey.open(C2SP_NOTE), Err(TlogError::OriginMismatch { .. })));
}

#[test]
fn unknown_keys_are_ignored_and_never_enough() {
    let vkey: Vkey = GO_VKEY.parse().unwrap();
    assert!(vkey.verify(&format!("{GO_TEXT}\n{OTHER_LINE}{GO_LINE}{OTHER_LINE}")).is_ok());
    let unsigned = Err(TlogError::NotSigned { expected: vkey.clone() });
    assert_eq!(vkey.verify(&format!("{GO_TEXT}\n{OTHER_LINE}")), unsigned);
    // The known name with another identifier, the known identifier with another name.
    let renamed = GO_LINE.replace("PeterNeumann", "PeterNeumanm");
    assert_eq!(vkey.verify(&format!("{GO_TEXT}\n{renamed}")), unsigned);
    let other_id = GO_LINE.replace("x08go", "x18go");
    assert_eq!(vkey.verify(&format!("{GO_TEXT}\n{other_id}")), unsigned);
}

#[test]
fn a_wrong_signature_by_the_known_key_spoils_the_note() {
    let vkey: Vkey = GO_VKEY.parse().unwrap();
    let bad = Err(TlogError::BadSignature { expected: vkey.clone() });
    assert_eq!(vkey.verify(&go_note().replace("answer", "Answer")), bad);
    let wrong = GO_LINE.replace("ZJku", "ZJkv");
    assert_eq!(vkey.verify(&format!("{GO_TEXT}\n{wrong}")), bad);
    assert_eq!(vkey.verify(&format!("{GO_TEXT}\n{GO_LINE}{wrong}")), bad);
    let short = format!("{GO_TEXT}\n— PeterNeumann {}\n", STANDARD.encode(b"\xc7\x4f\x20\xa3short"));
    assert_eq!(vkey.verify(&short), bad);
}

#[test]
fn b9_malformed_notes_are_refused() {
    let vkey: Vkey = GO_VKEY.parse().unwrap();
    let note = go_note();
    for wrong in [
        "",
        "\n",
        "\n\n",
        GO_TEXT,
        GO_LINE,
        note.trim_end(),
        &note.replace("\n\n", "\n"),
        &format!("{note}\n"),
        &format!("{note} \n"),
        &note.replace('—', "-"),
        &note.replace("— ", "—"),
        &note.replace("PeterNeumann x08", "PeterNeumann  x08"),
        &note.replace("PeterNeumann x08", "Peter\u{a0}Neumann x08"),
        &note.replace("PeterNeumann x08", "Peter+Neumann x08"),
        &note.replace("AM=\n", "AM\n"),
        &note.replace("AM=\n", "AN=\n"),
        &note.replace("AM=\n", "AM=\n\n"),
        &note.replace("AM=\n", "AM= \n"),
        &note.replace('\n', "\r\n"),
        &note.replace("problem,", "problem,\0"),
        &note.replace("problem,", "problem\t,"),
        &format!("{GO_TEXT}\n{GO_LINE}— x AAAAAA==\n"),
    ] {
        assert!(vkey.verify(wrong).is_err(), "{wrong:?} was accepted");
    }
}

#[test]
fn f4_notes_beyond_the_limits_are_refused() {
    let vkey: Vkey = GO_VKEY.parse().unwrap();
    assert!(vkey.verify(&format!("{GO_TEXT}\n{}{GO_LINE}", OTHER_LINE.repeat(63))).is_ok());
    assert_eq!(
        vkey.verify(&format!("{GO_TEXT}\n{}{GO_LINE}", OTHER_LINE.repeat(64))),
        Err(TlogError::TooManySignatures { found: 65 })
    );
    let long = format!("{}\n{GO_LINE}", "x\n".repeat(MAX_NOTE / 2));
    assert_eq!(vkey.verify(&long), Err(TlogError::NoteTooLong { found: long.len() }));
}

#[test]
fn malformed_keys_are_refused() {
    for wrong in [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        &GO_VKEY.replace("PeterNeumann", ""),
        &GO_VKEY.replace("PeterNeumann", "Peter Neumann"),
        &GO_VKEY.replace("PeterNeumann", "PeterNeumänn"),
        &GO_VKEY.replace("c74f20a3", "C74F20A3"),
        &GO_VKEY.replace("c74f20a3", "c74f20a"),
        &GO_VKEY.replace("+ARpc", "+AhpC"),
        &GO_VKEY.replace("10TW", "10T"),
        &format!("{GO_VKEY}AAAA"),
        &format!("{GO_VKEY}\n"),
        &format!(" {GO_VKEY}"),
        GO_SECRET,
    ] {
        assert!(wrong.parse::<Vkey>().is_err(), "{wrong:?} was accepted");
        let secret = format!("{PRIVATE}{wrong}");
        assert_eq!(
            secret.parse::<LogSigner>().err(),
            Some(TlogError::Secret { of: KeyOf::Log }),
            "{secret:?}"
        );
    }
    assert_eq!(GO_VKEY.parse::<LogSigner>().err(), Some(TlogError::Secret { of: KeyOf::Log }));
    assert!(matches!(
        GO_VKEY.replace("PeterNeumann", "PeterNeumanm").parse::<Vkey>(),
        Err(TlogError::KeyId { .. })
    ));
    assert!(matches!(
        GO_SECRET.replace("c74f20a3", "c74f20a4").parse::<LogSigner>(),
        Err(TlogError::KeyId { .. })
    ));
}

#[test]
fn f8_the_secret_is_not_in_what_is_printed() {
    assert_eq!(format!("{:?}", go()), format!("LogSigner({GO_VKEY})"));
    let error = GO_SECRET.replace("PRIVATE+KEY", "PRIVATE+KEYS").parse::<LogSigner>().unwrap_err();
    assert!(!format!("{error} {error:?}").contains("AYEKFALV"));
}

#[test]
fn c4_an_origin_has_one_spelling() {
    for right in ["acme.example/promotions", "x", "PeterNeumann", &"a".repeat(255)] {
        assert_eq!(right.parse::<Origin>().unwrap().to_string(), right);
    }
    let long = "a".repeat(256);
    for wrong in ["", " ", "a b", "a+b", "a\n", "a\u{a0}b", "асme.example", &long] {
        assert!(wrong.parse::<Origin>().is_err(), "{wrong:?} was accepted");
    }
}

#[test]
fn two_generated_keys_differ_and_round_trip() {
    let origin: Origin = "acme.example/promotions".parse().unwrap();
    let (one, two) = (LogSigner::generate(origin.clone()).unwrap(), LogSigner::generate(origin).unwrap());
    assert_ne!(one.vkey(), two.vkey());
    let again: LogSigner = one.to_secret_text().parse().unwrap();
    assert_eq!(again.vkey(), one.vkey());
    assert_eq!(one.vkey().to_string().parse::<Vkey>().unwrap(), *one.vkey());
    let json = serde_json::to_string(one.vkey()).unwrap();
    assert_eq!(serde_json::from_str::<Vkey>(&json).unwrap(), *one.vkey());
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text: String, tail in "[\\n— a-zA-Z0-9+/=]{0,200}") {
        let vkey: Vkey = GO_VKEY.parse().unwrap();
        for text in [text.clone(), tail.clone(), format!("{text}\n\n{DASH}{tail}\n")] {
            prop_assert!(vkey.verify(&text).is_err());
            if let Ok(key) = text.parse::<Vkey>() {
                prop_assert_eq!(key.to_string(), text.clone());
            }
            if let Ok(key) = text.parse::<LogSigner>() {
                prop_assert_eq!(key.to_secret_text(), text.clone());
            }
            if let Ok(origin) = text.parse::<Origin>() {
                prop_assert_eq!(origin.to_string(), text);
            }
        }
    }

    #[test]
    fn no_single_change_of_a_note_is_accepted_as_another_text(at in 0usize..160, byte in 0u8..128) {
        let vkey: Vkey = GO_VKEY.parse().unwrap();
        let mut note = go_note().into_bytes();
        note[at] = byte;
        if let Ok(note) = String::from_utf8(note) && let Ok(text) = vkey.verify(&note) {
            prop_assert_eq!(text, GO_TEXT);
        }
    }
}
