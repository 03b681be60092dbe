//! Cosignatures: one made by another implementation, and what is refused.

use super::*;
use crate::tlog::{LogSigner, MAX_SIGNATURES, Vkey, empty_root};
use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::prelude::*;

// The checkpoint of C2SP tlog-cosignature, signed with the seed 00 01 02 … 1f, and cosigned by
// filippo.io/torchwood v0.9.0 with the seed 01 02 03 … 20.
const LOG: &str =
    "PRIVATE+KEY+example.com/behind-the-sofa+1f59e8f5+AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
const ROOT: &str = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
const WITNESS: &str = "PRIVATE+KEY+witness.example/w1+468d99bb+BAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g";
const VKEY: &str = "witness.example/w1+468d99bb+BHm1Vi6P5lT5QHixEuipi6eQH4U65pW+1+DjkQutBJZk";
const LINE: &str = "— witness.example/w1 Ro2ZuwAAAABrAbift2yNUhDIf5ES82ldASjtcUXVIXZENkvzMYMz4qO8sL4Nmqq/m/r772yWNsIx1u2/fFEBs/W/PeFeeGfyMv1iCg==\n";
const TIME: u64 = 1795274911;

fn log() -> LogSigner {
    LOG.parse().unwrap()
}

fn head() -> SignedCheckpoint {
    let root: [u8; 32] = STANDARD.decode(ROOT).unwrap().try_into().unwrap();
    log().sign(20852163, crate::digest::Digest::from_bytes(root)).unwrap()
}

fn witness() -> WitnessSigner {
    WITNESS.parse().unwrap()
}

fn other() -> WitnessSigner {
    WitnessSigner::generate("witness.example/w2".parse().unwrap()).unwrap()
}

fn raw(key: &WitnessVkey, bytes: &[u8]) -> String {
    signature_line(&key.0, bytes)
}

#[test]
fn the_cosignature_of_torchwood_is_ours_byte_for_byte() {
    assert_eq!(witness().vkey().to_string(), VKEY);
    assert_eq!(witness().to_secret_text(), WITNESS);
    assert_eq!(witness().cosign(&head(), TIME).unwrap(), LINE);
    let cosigned = head().cosigned(LINE, witness().vkey()).unwrap();
    assert_eq!(cosigned.text(), format!("{}{LINE}", head().text()));
    let all = witness().vkey().cosignatures(&cosigned).unwrap();
    assert_eq!(all.iter().map(Cosignature::time).collect::<Vec<_>>(), [TIME]);
    assert_eq!(all[0].witness(), witness().vkey());
    // It is still the log's checkpoint.
    assert_eq!(log().vkey().open(cosigned.text()).unwrap(), cosigned);
}

#[test]
fn the_message_of_the_specification_is_ours() {
    // The example of the specification, whose keys are not published.
    let note = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        — witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
    let note = Note::parse(note).unwrap();
    let (time, signature) = note.signatures[1].bytes.split_first_chunk::<8>().unwrap();
    let (time, signature) = (u64::from_be_bytes(*time), signature.len());
    assert_eq!((time, signature), (1679315147, 64));
    assert_eq!(
        message(note.text, time),
        "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n\
         CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    );
}

#[test]
fn a_key_of_one_type_is_none_of_the_other() {
    for text in [VKEY, &log().vkey().to_string()] {
        assert_ne!(text.parse::<Vkey>().is_ok(), text.parse::<WitnessVkey>().is_ok(), "{text}");
    }
    assert_eq!(WITNESS.parse::<LogSigner>().err(), Some(TlogError::Secret { of: KeyOf::Log }));
    assert_eq!(LOG.parse::<WitnessSigner>().err(), Some(TlogError::Secret { of: KeyOf::Witness }));
    // The key of a witness with the type of a log's, and its identifier made right.
    let bytes = [&[1_u8][..], witness().vkey().bytes()].concat();
    let retyped = format!("witness.example/w1+468d99bb+{}", STANDARD.encode(bytes));
    assert!(matches!(retyped.parse::<Vkey>(), Err(TlogError::KeyId { .. })));
    assert!(matches!(retyped.parse::<WitnessVkey>(), Err(TlogError::Vkey { of: KeyOf::Witness, .. })));
}

#[test]
fn f8_the_secret_is_not_in_what_is_printed() {
    assert_eq!(format!("{:?}", witness()), format!("WitnessSigner({VKEY})"));
}

#[test]
fn d3_a_cosignature_of_another_checkpoint_is_refused() {
    let (head, witness) = (head(), witness());
    let bad = Err(TlogError::BadCosignature { expected: witness.vkey().clone() });
    let elsewhere = witness.cosign(&log().sign(20852163, empty_root()).unwrap(), TIME).unwrap();
    assert_eq!(head.cosigned(&elsewhere, witness.vkey()), bad);
    // The log's own type of signature, by the witness's key, over the text.
    let text = Note::parse(head.text()).unwrap().text;
    let plain = witness.secret.sign(text.as_bytes()).unwrap();
    assert_eq!(head.cosigned(&raw(witness.vkey(), &plain), witness.vkey()), bad);
    // The right signature with another time, cut off, with one byte more.
    let decoded = STANDARD.decode(LINE.trim_end().rsplit(' ').next().unwrap()).unwrap();
    for at in [0, 7] {
        let mut bytes = decoded[4..].to_vec();
        bytes[at] ^= 0x80;
        assert_eq!(head.cosigned(&raw(witness.vkey(), &bytes), witness.vkey()), bad, "{at}");
    }
    for bytes in
        [&decoded[4..decoded.len() - 1], &decoded[4..12], &decoded[4..9], &[&decoded[4..], &[0]].concat()]
    {
        assert_eq!(head.cosigned(&raw(witness.vkey(), bytes), witness.vkey()), bad, "{bytes:?}");
    }
    // A signature that is right, of a time beyond 2^63 - 1.
    let late = 1 << 63;
    let signature = witness.secret.sign(message(text, late).as_bytes()).unwrap();
    let late = raw(witness.vkey(), &[&late.to_be_bytes()[..], &signature].concat());
    assert_eq!(head.cosigned(&late, witness.vkey()), bad);
}

#[test]
fn a_wrong_line_condemns_the_right_one_beside_it() {
    let (head, witness) = (head(), witness());
    let wrong = raw(witness.vkey(), &[0; 72]);
    let bad = TlogError::BadCosignature { expected: witness.vkey().clone() };
    assert_eq!(head.cosigned(&format!("{LINE}{wrong}"), witness.vkey()), Err(bad.clone()));
    let note = format!("{}{LINE}{wrong}", head.text());
    let head = log().vkey().open(&note).unwrap();
    assert_eq!(witness.vkey().cosignatures(&head), Err(bad));
}

#[test]
fn unknown_witnesses_are_ignored_and_never_enough() {
    let (head, witness, other) = (head(), witness(), other());
    let theirs = other.cosign(&head, TIME).unwrap();
    let missing = Err(TlogError::NotCosigned { expected: witness.vkey().clone() });
    assert_eq!(head.cosigned(&theirs, witness.vkey()), missing);
    // An ML-DSA-44 cosignature under the witness's own name.
    let unknown = format!("— witness.example/w1 {}\n", STANDARD.encode([7_u8; 4 + 8 + 2420]));
    assert_eq!(head.cosigned(&unknown, witness.vkey()), missing);
    let cosigned = head.cosigned(&format!("{theirs}{LINE}{unknown}"), witness.vkey()).unwrap();
    assert_eq!(cosigned.text(), format!("{}{LINE}", head.text()));
    assert_eq!(other.vkey().cosignatures(&cosigned).unwrap(), []);
}

#[test]
fn the_newest_cosignature_of_a_witness_stays_and_the_others_are_left_alone() {
    let (witness, other) = (witness(), other());
    let theirs = other.cosign(&head(), 5).unwrap();
    let mut now = head().cosigned(&theirs, other.vkey()).unwrap();
    for (time, newest) in [(10, 10), (12, 12), (11, 12), (12, 12)] {
        now = now.cosigned(&witness.cosign(&now, time).unwrap(), witness.vkey()).unwrap();
        let newest = witness.cosign(&head(), newest).unwrap();
        assert_eq!(now.text(), format!("{}{theirs}{newest}", head().text()));
    }
    assert_eq!(log().vkey().open(now.text()).unwrap(), now);
}

#[test]
fn b9_malformed_answers_are_refused() {
    let witness = witness();
    for wrong in [
        "",
        "\n",
        LINE.trim_end(),
        &format!("{LINE}\n"),
        &format!("\n{LINE}"),
        &format!("extension\n\n{LINE}"),
        &format!("{LINE}\n{LINE}"),
        &LINE.replace("— ", "- "),
        &LINE.replace("==", "="),
        &LINE.replace('\n', "\r\n"),
        &LINE.repeat(MAX_SIGNATURES + 1),
    ] {
        assert!(head().cosigned(wrong, witness.vkey()).is_err(), "{wrong:?} was accepted");
    }
    // What a full note has no room for.
    let mut full = head().text().to_owned();
    for number in 1..MAX_SIGNATURES {
        full.push_str(&format!("— other.example/{number} {}\n", STANDARD.encode([1; 5])));
    }
    let full = log().vkey().open(&full).unwrap();
    let refused = full.cosigned(LINE, witness.vkey());
    assert_eq!(refused, Err(TlogError::TooManySignatures { found: MAX_SIGNATURES + 1 }));
}

#[test]
fn a_time_that_none_can_have_is_not_signed() {
    for time in [0, MAX_TIME + 1, u64::MAX] {
        assert_eq!(witness().cosign(&head(), time), Err(TlogError::Time { found: time }));
    }
    assert!(witness().cosign(&head(), MAX_TIME).is_ok());
}

proptest! {
    #[test]
    fn one_spelling_in_the_same_spelling_out(text: String, key in "[a-z]{1,3}\\+[0-9a-f]{8}\\+B[A-Za-z0-9+/]{43}") {
        for text in [text, key] {
            if let Ok(key) = text.parse::<WitnessVkey>() {
                prop_assert_eq!(key.to_string(), text.clone());
            }
            if let Ok(key) = text.parse::<WitnessSigner>() {
                prop_assert_eq!(key.to_secret_text(), text);
            }
        }
    }

    #[test]
    fn no_single_change_of_an_answer_is_accepted(at in 0usize..LINE.len() - 1, byte in 0u8..128) {
        let mut line = LINE.as_bytes().to_vec();
        prop_assume!(line[at] != byte);
        line[at] = byte;
        if let Ok(line) = String::from_utf8(line) {
            prop_assert!(head().cosigned(&line, witness().vkey()).is_err(), "{}", line);
        }
    }
}
