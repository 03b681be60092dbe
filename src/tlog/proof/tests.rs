//! Proof files: what is written, what is refused, and what they show.

use super::*;
use crate::tlog::{LogSigner, WitnessSigner, leaf_hash, node_hash};
use proptest::prelude::*;

struct Log {
    signer: LogSigner,
    head: SignedCheckpoint,
    proof: TlogProof,
}

/// Two entries, of which the proof is for the second.
fn log() -> Log {
    let signer = LogSigner::generate("acme.example/log".parse().unwrap()).unwrap();
    let (left, right) = (leaf_hash(b"left"), leaf_hash(b"right"));
    let head = signer.sign(2, node_hash(&left, &right)).unwrap();
    let proof = TlogProof::new(&head, 1, b"right".to_vec(), vec![left]).unwrap();
    Log { signer, head, proof }
}

#[test]
fn the_text_is_as_the_specification_has_it() {
    let Log { head, proof, .. } = log();
    let left = STANDARD.encode(leaf_hash(b"left").as_bytes());
    let text = format!("c2sp.org/tlog-proof@v1\nindex 1\n{left}\n\n{}", head.text());
    assert_eq!(proof.to_string(), text);
    assert_eq!(text.parse::<TlogProof>().unwrap(), proof);
    let extra = proof.with_extra(b"hints".to_vec()).unwrap();
    let text = text.replace("index", "extra aGludHM=\nindex");
    assert_eq!(extra.to_string(), text);
    let read = text.parse::<TlogProof>().unwrap();
    assert_eq!((read.extra(), read.index(), read.note()), (&b"hints"[..], 1, head.text()));
    // A log of one entry has a proof without hashes.
    let signer = LogSigner::generate("acme.example/log".parse().unwrap()).unwrap();
    let head = signer.sign(1, leaf_hash(b"only")).unwrap();
    let only = TlogProof::new(&head, 0, b"only".to_vec(), vec![]).unwrap().to_string();
    assert_eq!(only, format!("c2sp.org/tlog-proof@v1\nindex 0\n\n{}", head.text()));
    assert!(only.parse::<TlogProof>().unwrap().verify(signer.vkey(), b"only".to_vec()).is_ok());
}

#[test]
fn d1_a_proof_proves_its_own_entry_of_its_own_log() {
    let Log { signer, proof, .. } = log();
    let included = proof.verify(signer.vkey(), b"right".to_vec()).unwrap();
    assert_eq!((included.index(), included.bytes()), (1, &b"right"[..]));
    let refused = proof.verify(signer.vkey(), b"left".to_vec());
    assert!(matches!(refused, Err(TlogError::NotIncluded { .. })), "{refused:?}");
    let other = LogSigner::generate("acme.example/log".parse().unwrap()).unwrap();
    assert!(matches!(proof.verify(other.vkey(), b"right".to_vec()), Err(TlogError::NotSigned { .. })));
    let text = proof.to_string();
    for (from, to) in [("index 1", "index 0"), ("index 1", "index 2"), ("\n2\n", "\n3\n")] {
        let changed: TlogProof = text.replace(from, to).parse().unwrap();
        assert!(changed.verify(signer.vkey(), b"right".to_vec()).is_err(), "{from} to {to}");
    }
    // One that does not hold is not made.
    let Log { head, .. } = log();
    assert!(TlogProof::new(&head, 1, b"right".to_vec(), vec![]).is_err());
    assert!(TlogProof::new(&head, 0, b"right".to_vec(), vec![leaf_hash(b"left")]).is_err());
}

#[test]
fn witnesses_are_asked_of_the_same_checkpoint() {
    let Log { signer, head, .. } = log();
    let witness = WitnessSigner::generate("w.example".parse().unwrap()).unwrap();
    let policy = format!("witness w {}\nquorum w\n", witness.vkey()).parse().unwrap();
    let make = |head| TlogProof::new(head, 1, b"right".to_vec(), vec![leaf_hash(b"left")]).unwrap();
    let ask =
        |head, now| make(head).verify_cosigned(signer.vkey(), &policy, now, b"right".to_vec()).unwrap().1;
    assert_eq!(ask(&head, 100), Quorum::Missed { missing: vec!["w".to_owned()] });
    let cosigned = head.cosigned(&witness.cosign(&head, 90).unwrap(), witness.vkey()).unwrap();
    assert!(matches!(ask(&cosigned, 100), Quorum::Reached(witnessed) if witnessed.fresh_at() == 90));
    assert!(matches!(ask(&cosigned, 89), Quorum::Missed { .. }));
    // A policy that lists another log has nothing to say for this one.
    let other = log().signer;
    let policy = format!("log {}\nquorum none\n", other.vkey()).parse().unwrap();
    let refused = make(&head).verify_cosigned(signer.vkey(), &policy, 100, b"right".to_vec());
    assert!(matches!(refused, Err(TlogError::UnlistedLog { .. })), "{refused:?}");
}

#[test]
fn b9_malformed_proofs_are_refused() {
    let Log { proof, .. } = log();
    let text = proof.to_string();
    let hash = format!("{}\n", STANDARD.encode([1; 32]));
    for wrong in [
        "",
        "\n",
        "c2sp.org/tlog-proof@v1",
        "c2sp.org/tlog-proof@v1\nindex 1\n\n",
        text.split_once("\n\n").unwrap().0,
        proof.note(),
        text.trim_end(),
        &format!("{text}\n"),
        &format!("\n{text}"),
        &text.replace("@v1", "@v2"),
        &text.replace("@v1\n", "@v1 \n"),
        &text.replace("@v1\n", "@v1\n\n"),
        &text.replace("index 1", "index"),
        &text.replace("index 1", "index "),
        &text.replace("index 1", "index 01"),
        &text.replace("index 1", "index +1"),
        &text.replace("index 1", "index  1"),
        &text.replace("index 1", "index 1 "),
        &text.replace("index 1", "index -1"),
        &text.replace("index 1", "index 18446744073709551616"),
        &text.replace("index 1", "Index 1"),
        &text.replace("index 1", "index 1\nindex 1"),
        &text.replace("index 1", "index 1\nextra aGludHM="),
        &text.replace("index 1", "extra \nindex 1"),
        &text.replace("index 1", "extra\nindex 1"),
        &text.replace("index 1", "extra aGludHM\nindex 1"),
        &text.replace("index 1", "extra aGludHN=\nindex 1"),
        &text.replace("index 1", "extra aGludHM=\nextra aGludHM=\nindex 1"),
        &text.replace("index 1", "index 1\nAAAA"),
        &text.replace("index 1\n", &format!("index 1\n{}", hash.replace("=\n", "\n"))),
        &text.replace("index 1\n", &format!("index 1\n {hash}")),
        &text.replace("index 1\n", &format!("index 1\n{}", hash.repeat(63))),
        &text.replace("\n\n— ", "\n— "),
        &text.replace('\n', "\r\n"),
    ] {
        assert!(wrong.parse::<TlogProof>().is_err(), "{wrong:?} was accepted");
    }
    // 62 more are 63.
    let most = text.replace("index 1\n", &format!("index 1\n{}", hash.repeat(62)));
    assert_eq!(most.parse::<TlogProof>().unwrap().to_string(), most);
}

#[test]
fn f4_proofs_beyond_the_limits_are_refused() {
    let Log { proof, .. } = log();
    let most = proof.clone().with_extra(vec![7; MAX_EXTRA]).unwrap();
    assert_eq!(most.to_string().parse::<TlogProof>().unwrap(), most);
    let refused = proof.clone().with_extra(vec![7; MAX_EXTRA + 1]);
    assert_eq!(refused, Err(TlogError::ExtraTooLong { found: MAX_EXTRA + 1 }));
    let extra = format!("extra {}\nindex", STANDARD.encode([7; MAX_EXTRA + 1]));
    let long = proof.to_string().replace("index", &extra);
    assert!(matches!(long.parse::<TlogProof>(), Err(TlogError::ProofLine { line: 2, .. })));
    let long = " ".repeat(MAX_TEXT + 1);
    let refused = long.parse::<TlogProof>();
    assert_eq!(refused, Err(TlogError::ProofTooLong { found: MAX_TEXT + 1, limit: MAX_TEXT }));
}

proptest! {
    #[test]
    fn one_spelling_in_the_same_spelling_out(
        extra in prop::option::of("[a-zA-Z0-9+/]{0,6}={0,2}"), index in "[0-9]{1,3}",
        hashes in prop::collection::vec("[a-zA-Z0-9+/]{42}[AEIMQUYcgkosw048]=", 0..4), any: String,
    ) {
        let extra = extra.map_or(String::new(), |extra| format!("extra {extra}\n"));
        let hashes: String = hashes.iter().flat_map(|hash| [hash, "\n"]).collect();
        let text = format!("{HEADER}\n{extra}index {index}\n{hashes}\n{}", log().head.text());
        for text in [text, format!("{HEADER}\n{any}"), any] {
            if let Ok(proof) = text.parse::<TlogProof>() {
                prop_assert_eq!(proof.to_string(), text);
            }
        }
    }
}
