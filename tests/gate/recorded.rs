//! The record in a permit (E13): whoever can sign as a promoter, with any tool, and did not ask the gate, has none, or one of
//! something else. Each forgery is signed by the promoter himself, with a log key where that is what is at stake.

use std::collections::HashMap;

use samebits::digest::Digest;
use samebits::gate::Code;
use samebits::gate::permit::{Admission, Log, Question, admit};
use samebits::ledger::seen::Lane;
use samebits::promote::{Answer, Given, WalkError};
use samebits::record::{
    Actor, BARE_PERMIT, Body, Content, Draft, Logged, PERMIT, PermitDraft, Phase, Position, Promotion,
    SignedPermit,
};
use samebits::reference::Image;
use samebits::tlog::{
    Frontier, LogSigner, SignedCheckpoint, TlogError, TlogPolicy, TlogProof, WitnessSigner, inclusion_proof,
    leaf_hash,
};
use samebits::verify::sign_statement;
use serde_json::{Value, json};

use super::permit::{forged, given, refused, shown, wanting};
use super::protocol::{block_on, intact, phases, promoted, ready, ready_with};
use super::world::*;

/// The entry of the permit that was given.
fn entry(given: &Given) -> &Logged {
    given.permit.logged.as_ref().unwrap()
}

/// What the log has, and `bytes` behind it, signed by `log`; the ledger itself stays as it is.
fn with(world: &World, log: &LogSigner, bytes: &[u8]) -> (SignedCheckpoint, TlogProof, Position) {
    let tip = world.ledger.tip().unwrap();
    let entries = (0..tip.size()).map(|index| world.ledger.read(&tip, index).unwrap().bytes().to_vec());
    let (mut frontier, mut nodes) = (Frontier::empty(), HashMap::new());
    for entry in entries.chain([bytes.to_vec()]) {
        let keep = |node, hash| {
            nodes.insert(node, hash);
            Ok(())
        };
        frontier.push::<TlogError>(leaf_hash(&entry), keep).unwrap();
    }
    let head = log.sign(frontier.size(), frontier.root()).unwrap();
    let hashes = inclusion_proof::<TlogError>(tip.size(), head.size(), |node| Ok(nodes[&node])).unwrap();
    let proof = TlogProof::new(&head, tip.size(), bytes.to_vec(), hashes).unwrap();
    (head, proof, Position { index: tip.size(), leaf_hash: leaf_hash(bytes) })
}

/// Has the permit rest on `bytes`, which this log has.
fn rest_on(world: &World, log: &LogSigner, draft: &mut PermitDraft, bytes: &[u8]) {
    let (_, proof, position) = with(world, log, bytes);
    draft.permit.record = position;
    draft.permit.logged = Some(Logged { entry: String::from_utf8(bytes.to_vec()).unwrap(), proof });
}

/// The record of the permit that was given, changed and signed by `who`.
fn record(world: &World, given: &Given, who: &str, change: impl FnOnce(&mut Draft)) -> Vec<u8> {
    let (bytes, index) = (entry(given).entry.as_bytes(), given.permit.record.index);
    let Content { subjects, body, .. } =
        Content::read(bytes, "test.example/log", index, &world.trust).unwrap();
    let mut draft = Draft { subjects, body };
    said(&mut draft).actor = Actor::from(&world.identity(who));
    change(&mut draft);
    draft.sign(world.key(who)).unwrap()
}

fn said(draft: &mut Draft) -> &mut Promotion {
    let Body::Promotion(promotion) = &mut draft.body else { panic!("no promotion") };
    promotion
}

/// The permit that was given, changed and signed by `who`, and resting on a record that says the same: as if the gate had
/// said yes to that.
pub(crate) fn restated(
    world: &World,
    given: &Given,
    who: &str,
    change: impl FnOnce(&mut PermitDraft),
) -> Vec<u8> {
    forged(world, given, who, |draft| {
        change(draft);
        let bytes = record(world, given, "release", |record| {
            record.subjects = draft.subjects.clone();
            let (record, permit) = (said(record), &draft.permit);
            record.service = permit.service.clone();
            record.to.environment = Some(permit.environment.clone());
            record.to.uri = permit.repository.clone();
            record.kind = permit.kind;
            record.policy = permit.policy.clone();
        });
        rest_on(world, &world.log, draft, &bytes);
    })
}

/// The permit as the promoter would sign it, resting on these bytes instead.
fn resting(world: &World, given: &Given, bytes: &[u8]) -> Vec<u8> {
    forged(world, given, "release", |draft| rest_on(world, &world.log, draft, bytes))
}

/// The same, with another proof.
fn proving(world: &World, given: &Given, proof: &str) -> Vec<u8> {
    forged(world, given, "release", |draft| {
        draft.permit.logged =
            Some(Logged { entry: entry(given).entry.clone(), proof: proof.parse().unwrap() });
    })
}

#[track_caller]
fn finds(admission: &Admission, code: Code, words: &str) {
    let finding = admission.findings().iter().find(|finding| finding.code() == Some(code)).unwrap();
    assert!(finding.found.contains(words), "{words} in {finding:?}");
}

/// Cosign and the promoter's own key are enough to sign; nothing else is.
#[test]
fn e13_a_promoter_who_did_not_ask_the_gate_has_no_record_to_show() {
    let (world, image, given) = given();
    let bare = forged(&world, &given, "release", |draft| draft.permit.logged = None);
    refused(&shown(&world, &image, &bare), &[Code::PermitUnrecorded]);
    // Nothing in its place is something else again.
    let statement = |logged: Value| {
        let mut permit = serde_json::to_value(&given.permit).unwrap();
        permit["logged"] = logged;
        statement(&given, &world, PERMIT, permit)
    };
    refused(&shown(&world, &image, &statement(Value::Null)), &[Code::PermitUnrecorded]);
    let Logged { entry, proof } = entry(&given);
    for wrong in [
        json!({}),
        json!([entry, proof]),
        json!({ "entry": entry }),
        json!({ "proof": proof }),
        json!({ "entry": entry, "proof": "" }),
        json!({ "entry": entry, "proof": proof, "size": 3 }),
        json!({ "entry": entry, "proof": [proof] }),
        json!({ "entry": entry, "proof": proof.to_string() + "\n" }),
    ] {
        refused(&shown(&world, &image, &statement(wrong)), &[Code::PermitMalformed]);
    }
    refused(&shown(&world, &image, &statement(json!({ "entry": entry, "proof": proof }))), &[]);
}

/// The permit that was given, as a statement of this type with this predicate.
fn statement(given: &Given, world: &World, kind: &str, predicate: Value) -> Vec<u8> {
    let subjects = SignedPermit::read(&given.bytes, &world.trust).unwrap().subjects().clone();
    let name = subjects.image.repository.to_string();
    let subject = |digest: Digest| json!({ "name": name, "digest": { "sha256": digest.hex() } });
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects.digests().map(subject).collect::<Vec<_>>(),
        "predicateType": kind,
        "predicate": predicate,
    });
    sign_statement(statement.to_string().as_bytes(), world.key("release")).unwrap()
}

#[test]
fn e13_a_permit_of_the_version_without_a_record_is_refused_and_told_as_such() {
    let (world, image, given) = given();
    let mut old = serde_json::to_value(&given.permit).unwrap();
    old.as_object_mut().unwrap().remove("logged").unwrap();
    let admission = shown(&world, &image, &statement(&given, &world, BARE_PERMIT, old));
    refused(&admission, &[Code::PermitType]);
    finds(&admission, Code::PermitType, "of an older samebits");
}

/// Words of the finding, and what the record says otherwise.
type Row = (&'static str, fn(&mut Draft));

/// A record that the log has, by a promoter, about something else.
#[test]
fn e13_the_record_of_something_else_carries_no_permit() {
    let (world, image, given) = given();
    let rows: [Row; 10] = [
        ("it promoted oci:prod/shop@sha256:", |draft| draft.subjects.image.digest = Digest::of(b"other")),
        ("it promoted oci:prod/api@sha256:", |draft| {
            draft.subjects.image.repository = "oci:prod/api".parse().unwrap();
        }),
        ("it has other platforms", |draft| drop(draft.subjects.platforms.pop())),
        ("it has other platforms", |draft| draft.subjects.platforms.push((Digest::of(b"other"), None))),
        ("it is of `api`", |draft| said(draft).service = "api".parse().unwrap()),
        ("it is into `staging`", |draft| said(draft).to.environment = Some("staging".parse().unwrap())),
        ("it is to oci:staging/shop", |draft| said(draft).to.uri = "oci:staging/shop".parse().unwrap()),
        ("it is in the other direction", |draft| {
            said(draft).kind = serde_json::from_value(json!("rollback")).unwrap();
        }),
        ("it was made under samebits.toml", |draft| {
            said(draft).policy.digest.0 = Digest::of(b"other");
        }),
        ("it was made under samebits.toml", |draft| said(draft).policy.keys.clear()),
    ];
    for (words, change) in rows {
        let bytes = record(&world, &given, "release", change);
        let admission = shown(&world, &image, &resting(&world, &given, &bytes));
        refused(&admission, &[Code::PermitContradiction]);
        finds(&admission, Code::PermitContradiction, words);
    }
    refused(
        &shown(&world, &image, &resting(&world, &given, &record(&world, &given, "release", |_| ()))),
        &[],
    );
}

/// Whoever writes a record of a promotion is not for that a promoter.
#[test]
fn e13_the_record_is_by_a_promoter_too() {
    let (world, image, given) = given();
    for (who, name) in
        [("production", "production"), ("staging", "staging"), ("build", "build"), ("ana", "managers")]
    {
        let bytes = record(&world, &given, who, |_| ());
        let admission = shown(&world, &image, &resting(&world, &given, &bytes));
        refused(&admission, &[Code::PermitRecordSigner]);
        finds(&admission, Code::PermitRecordSigner, &format!("`{name}`"));
    }
    let bytes = record(&world, &given, "release-2", |_| ());
    refused(&shown(&world, &image, &resting(&world, &given, &bytes)), &[]);
    // Nobody whom the policy knows; and one who says that it was somebody else.
    for bytes in [
        record(&world, &given, "stranger", |_| ()),
        record(&world, &given, "release", |draft| {
            said(draft).actor = Actor::from(&world.identity("release-2"));
        }),
    ] {
        refused(&shown(&world, &image, &resting(&world, &given, &bytes)), &[Code::PermitRecord]);
    }
}

/// Everything else that a log has, or could have.
#[test]
fn e13_only_the_commit_of_a_promotion_carries_a_permit() {
    let (world, image, given) = given();
    let tip = world.ledger.tip().unwrap();
    // 0 is the deployment in staging, 1 the intent, 2 the commit.
    for (index, code) in [(0, Some("another kind: deployment")), (1, Some(": intent")), (2, None)] {
        let included = world.ledger.read(&tip, index).unwrap();
        let bytes = forged(&world, &given, "release", |draft| {
            draft.permit.record = Position { index, leaf_hash: included.leaf() };
            let proof = world.ledger.proof(&tip, index).unwrap();
            draft.permit.logged = Some(Logged::new(&included, proof));
        });
        let admission = shown(&world, &image, &bytes);
        match code {
            Some(words) => {
                refused(&admission, &[Code::PermitRecord]);
                finds(&admission, Code::PermitRecord, words);
            }
            None => refused(&admission, &[]),
        }
    }
    for (phase, words) in [(Phase::Abort, ": abort"), (Phase::Refused, ": refused")] {
        let bytes = record(&world, &given, "release", |draft| {
            let promotion = said(draft);
            promotion.phase = phase;
            promotion.intent = promotion.intent.filter(|_| phase == Phase::Abort);
        });
        let admission = shown(&world, &image, &resting(&world, &given, &bytes));
        refused(&admission, &[Code::PermitRecord]);
        finds(&admission, Code::PermitRecord, words);
    }
    let (subjects, mut approval) = world.approval("ana", &image);
    approval.ledger.origin = "test.example/log".to_owned();
    let approval = Draft { subjects, body: Body::Approval(approval) }.sign(world.key("ana")).unwrap();
    // A commit without intent, or of another log, one that has seen what comes after it; a permit; and no record at all.
    let odd = [
        approval,
        record(&world, &given, "release", |draft| said(draft).intent = None),
        record(&world, &given, "release", |draft| said(draft).ledger.origin = "test.example/lo".to_owned()),
        record(&world, &given, "release", |draft| said(draft).ledger.observed.size = 1000),
        given.bytes.clone(),
        b"yes".to_vec(),
        b"{}".to_vec(),
    ];
    for bytes in odd {
        refused(&shown(&world, &image, &resting(&world, &given, &bytes)), &[Code::PermitRecord]);
    }
}

/// What was revoked or frozen lies in a log of its own, and its kinds are none of this one's.
#[test]
fn e13_a_record_of_the_control_lane_carries_no_permit() {
    let (mut world, image, request) = ready_with(&guarded(&on_disk()));
    let given = promoted(block_on(world.promote(&wanting(&request), "release"))).permit().unwrap().clone();
    world.revoke("security", &Revokes::digest(Digest::of(b"other")));
    let lane = world.ledger.control().unwrap();
    let revocation = &lane.entries()[0];
    let bytes = forged(&world, &given, "release", |draft| {
        let proof = TlogProof::new(lane.head(), 0, revocation.bytes().to_vec(), Vec::new()).unwrap();
        draft.permit.record = Position { index: 0, leaf_hash: revocation.leaf() };
        draft.permit.logged = Some(Logged::new(revocation, proof));
    });
    refused(&shown(&world, &image, &bytes), &[Code::PermitLedger]);
    // In the main lane it is nothing.
    let bytes = resting(&world, &given, revocation.bytes());
    refused(&shown(&world, &image, &bytes), &[Code::PermitRecord]);
}

/// A log that the promoter made for himself, of the same name.
#[test]
fn e13_a_record_of_another_log_carries_no_permit() {
    let (world, image, given) = given();
    let bytes = record(&world, &given, "release", |_| ());
    let other = |name: &str| LogSigner::generate(name.parse().unwrap()).unwrap();
    for log in [other("test.example/log"), other("test.example/lo"), world.log.control().unwrap()] {
        let permit = forged(&world, &given, "release", |draft| rest_on(&world, &log, draft, &bytes));
        refused(&shown(&world, &image, &permit), &[Code::PermitLedger]);
    }
    // His signature beside that of the log changes nothing.
    let mine = other("test.example/log");
    let (head, proof, _) = with(&world, &mine, &bytes);
    let both = proof.to_string() + world.ledger.tip().unwrap().text().lines().last().unwrap() + "\n";
    assert_ne!(head.root(), world.ledger.tip().unwrap().root());
    let permit = forged(&world, &given, "release", |draft| {
        rest_on(&world, &mine, draft, &bytes);
        draft.permit.logged.as_mut().unwrap().proof = both.parse().unwrap();
    });
    refused(&shown(&world, &image, &permit), &[Code::PermitLedger]);
}

/// The right checkpoint, and a path that does not lead there.
#[test]
fn e13_a_proof_that_does_not_lead_to_the_checkpoint_is_refused() {
    let (mut world, image, given) = given();
    // A longer log, so that the path has something to go wrong.
    for built in ["2", "3", "4"] {
        world.staged(&Built::shop(built));
        world.wait(1);
    }
    let (index, tip) = (given.permit.record.index, world.ledger.tip().unwrap());
    let proof = world.ledger.proof(&tip, index).unwrap().to_string();
    let lines: Vec<&str> = proof.lines().collect();
    assert_eq!((lines[1], lines[5]), ("index 2", ""), "{proof}");
    refused(&shown(&world, &image, &proving(&world, &given, &proof)), &[]);
    let edited = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        change(&mut lines);
        lines.join("\n") + "\n"
    };
    for change in [
        &(|lines: &mut Vec<String>| drop(lines.remove(2))) as &dyn Fn(&mut Vec<String>),
        &|lines| lines.insert(2, lines[2].clone()),
        &|lines| lines.swap(2, 3),
        &|lines| lines[4] = lines[3].clone(),
        &|lines| lines[1] = "index 3".to_owned(),
        &|lines| lines[1] = "index 6".to_owned(),
        &|lines| lines[1] = "index 9223372036854775807".to_owned(),
    ] {
        refused(&shown(&world, &image, &proving(&world, &given, &edited(change))), &[Code::PermitUnproved]);
    }
    // A checkpoint that was tampered with is nobody's: its size, its root, its signature.
    for change in [
        &(|lines: &mut Vec<String>| lines[7] = "7".to_owned()) as &dyn Fn(&mut Vec<String>),
        &|lines| lines[8] = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=".to_owned(),
        &|lines| lines[6] = "test.example/lo".to_owned(),
        &|lines| lines.insert(9, "extension".to_owned()),
    ] {
        refused(&shown(&world, &image, &proving(&world, &given, &edited(change))), &[Code::PermitLedger]);
    }
    // One by the right key, of before the record; and of another branch.
    let fork = with(&world, &world.log, b"another").0;
    for head in [&world.log.sign(2, tip.root()).unwrap(), &fork] {
        let text = format!("{}\n\n{}", proof.split_once("\n\n").unwrap().0, head.text());
        refused(&shown(&world, &image, &proving(&world, &given, &text)), &[Code::PermitUnproved]);
    }
    // The entry is the one that was proved, to the byte, and the one that the permit names.
    for change in [
        &(|draft: &mut PermitDraft| draft.permit.logged.as_mut().unwrap().entry.push('\n'))
            as &dyn Fn(&mut PermitDraft),
        &|draft| {
            let _ = draft.permit.logged.as_mut().unwrap().entry.pop();
        },
        &|draft| draft.permit.logged.as_mut().unwrap().entry.clear(),
        &|draft| draft.permit.record.index = 3,
        &|draft| draft.permit.record.leaf_hash = Digest::of(b"other"),
    ] {
        let bytes = forged(&world, &given, "release", change);
        refused(&shown(&world, &image, &bytes), &[Code::PermitUnproved]);
    }
}

/// Whatever is cut off, it is no permit.
#[test]
fn e13_a_permit_that_was_cut_off_is_refused() {
    let (world, image, given) = given();
    for length in (0..given.bytes.len()).step_by(97) {
        refused(&shown(&world, &image, &given.bytes[..length]), &[Code::PermitMalformed]);
    }
    let proof = entry(&given).proof.to_string();
    let permit = |proof: &str| {
        let mut permit = serde_json::to_value(&given.permit).unwrap();
        permit["logged"]["proof"] = json!(proof);
        statement(&given, &world, PERMIT, permit)
    };
    for length in (0..proof.len()).step_by(7).chain([proof.len() - 1]) {
        let codes = shown(&world, &image, &permit(&proof[..length])).codes();
        assert_eq!(codes, [Code::PermitMalformed], "{length} of {}", proof.len());
    }
    refused(&shown(&world, &image, &permit(&proof)), &[]);
}

fn witness(name: &str) -> WitnessSigner {
    WitnessSigner::generate(format!("witness.example/{name}").parse().unwrap()).unwrap()
}

/// One or all of these two, one of them, or nobody.
fn policy(one: &WitnessSigner, two: &WitnessSigner, quorum: &str) -> TlogPolicy {
    let group = match quorum {
        "any" => "group any 1 w1 w2\n",
        "all" => "group all 2 w1 w2\n",
        _ => "",
    };
    let (one, two) = (one.vkey(), two.vkey());
    format!("witness w1 {one}\nwitness w2 {two}\n{group}quorum {quorum}\n").parse().unwrap()
}

/// A deploy job whose lock names witnesses.
fn shown_to(world: &World, image: &Built, bytes: &[u8], policy: &TlogPolicy) -> Admission {
    let log = Log { witnesses: Some(policy), trust: &world.trust };
    let place = Image::new(world.repository("shop", Some("production")), image.root);
    let question = Question::new(&world.policy, log, "shop", "production", place, None).unwrap();
    admit(&question, &SignedPermit::read(bytes, &world.trust).into(), world.now())
}

/// Who has the log's key can show one reader another log: witnesses have seen one only.
#[test]
fn e13_where_the_lock_names_witnesses_they_have_cosigned() {
    let (world, image, given) = given();
    let (one, two) = (witness("w1"), witness("w2"));
    let now = u64::try_from(world.now().as_second()).unwrap();
    let head = world.ledger.tip().unwrap();
    let by = |who: &[(&WitnessSigner, u64)]| {
        let cosigned = who.iter().fold(head.clone(), |head, (who, time)| {
            head.cosigned(&who.cosign(&head, *time).unwrap(), who.vkey()).unwrap()
        });
        let path = entry(&given).proof.to_string();
        let text = format!("{}\n\n{}", path.split_once("\n\n").unwrap().0, cosigned.text());
        proving(&world, &given, &text)
    };
    let ask = |bytes: &[u8], quorum: &str| shown_to(&world, &image, bytes, &policy(&one, &two, quorum));
    for quorum in ["any", "all", "w1"] {
        refused(&ask(&given.bytes, quorum), &[Code::PermitUnwitnessed]);
    }
    finds(&ask(&given.bytes, "any"), Code::PermitUnwitnessed, "nothing by w1, w2");
    refused(&ask(&given.bytes, "none"), &[]);
    let first = by(&[(&one, now)]);
    refused(&ask(&first, "any"), &[]);
    refused(&ask(&first, "w1"), &[]);
    refused(&ask(&first, "w2"), &[Code::PermitUnwitnessed]);
    refused(&ask(&first, "all"), &[Code::PermitUnwitnessed]);
    refused(&ask(&by(&[(&one, now), (&two, now)]), "all"), &[]);
    // A name and no key; a cosignature of another head; a time to come.
    let stranger = by(&[(&witness("w1"), now)]);
    refused(&ask(&stranger, "any"), &[Code::PermitUnwitnessed]);
    let line = one.cosign(&world.log.sign(2, Digest::of(b"other")).unwrap(), now).unwrap();
    let other = proving(&world, &given, &(entry(&given).proof.to_string() + &line));
    refused(&ask(&other, "any"), &[Code::PermitUnwitnessed]);
    refused(&ask(&by(&[(&one, now + 60)]), "any"), &[]);
    refused(&ask(&by(&[(&one, now + 61)]), "any"), &[Code::PermitUnwitnessed]);
    // It is no matter of witnesses alone.
    let both = forged(&world, &given, "release", |draft| draft.permit.record.index = 3);
    refused(&ask(&both, "any"), &[Code::PermitUnwitnessed, Code::PermitUnproved]);
}

/// Who asks for a permit has it cosigned first, or has none.
#[test]
fn e13_without_the_cosignatures_there_is_no_permit() {
    let (mut world, image, request) = ready();
    let (one, two) = (witness("w1"), witness("w2"));
    let witnesses = policy(&one, &two, "all");
    world.ledger.witnessed_by(Some(witnesses.clone()));
    let request = wanting(&request);
    let now = u64::try_from(world.now().as_second()).unwrap();
    let none = |answer: Result<Answer, WalkError>, names: &[&str]| match answer {
        Err(WalkError::Uncosigned { commit: 2, missing, .. }) => assert_eq!(missing, names),
        answer => panic!("{answer:?}"),
    };
    none(block_on(world.promote(&request, "release")), &["w1", "w2"]);
    assert_eq!(phases(&world), [Phase::Intent, Phase::Commit], "it was promoted");
    let head = world.ledger.tip().unwrap();
    let one = head.cosigned(&one.cosign(&head, now).unwrap(), one.vkey()).unwrap();
    world.ledger.keep_cosigned(Lane::Main, &one).unwrap();
    none(block_on(world.promote(&request, "release")), &["w2"]);
    let both = one.cosigned(&two.cosign(&head, now).unwrap(), two.vkey()).unwrap();
    world.ledger.keep_cosigned(Lane::Main, &both).unwrap();
    // What came after the checkpoint is no reason to ask again.
    world.staged(&Built::shop("2"));
    let again = promoted(block_on(world.promote(&request, "release")));
    assert_eq!((again.commit().index, again.uncosigned()), (2, None));
    let given = again.permit().unwrap();
    let kept = world.ledger.cosigned(Lane::Main).unwrap().unwrap();
    assert_eq!((entry(given).proof.note(), kept.checkpoint()), (kept.text(), head.checkpoint()));
    refused(&shown_to(&world, &image, &given.bytes, &witnesses), &[]);
    // Cosigned before the record is not cosigned.
    let (mut world, _, request) = ready();
    world.ledger.witnessed_by(Some(policy(&witness("w1"), &witness("w2"), "any")));
    none(block_on(world.promote(&wanting(&request), "release")), &["w1", "w2"]);
}

/// A permit says under which policy the gate was asked: where that has changed, the promotion is recorded under it first.
#[test]
fn e13_under_another_policy_a_permit_takes_another_record() {
    let piece = "tag = \"production\"\n";
    let (mut world, image, request) = ready();
    let first = promoted(block_on(world.promote(&wanting(&request), "release"))).commit();
    world.wait(1);
    world.govern(&on_disk().replace(piece, &format!("{piece}permit-for = \"10m\"\n")));
    // Without one there is nothing to record.
    assert_eq!(promoted(block_on(world.promote(&request, "release"))).commit(), first);
    let again = promoted(block_on(world.promote(&wanting(&request), "release")));
    assert_ne!(again.commit(), first);
    let given = again.permit().unwrap();
    assert_eq!(given.permit.record, again.commit());
    refused(&shown(&world, &image, &given.bytes), &[]);
    world.wait(1);
    let third = promoted(block_on(world.promote(&wanting(&request), "release")));
    assert_eq!(third.commit(), again.commit(), "once is enough");
    refused(&shown(&world, &image, &third.permit().unwrap().bytes), &[]);
    intact(&world);
}

/// Linux takes 128 KiB for one variable of the environment (`MAX_ARG_STRLEN`), its name included; a certificate, its
/// log entry and timestamp take 16 of them at most.
#[test]
fn a_permit_with_the_largest_record_fits_into_a_variable() {
    let (world, _, given) = given();
    let longest = "{\"evidence\":\"".repeat(200);
    let longest = longest.clone() + &"x".repeat(samebits::ledger::MAX_ENTRY - longest.len());
    let largest = resting(&world, &given, longest.as_bytes());
    assert!(largest.len() + "SAMEBITS_PERMIT=".len() < (128 - 16) * 1024, "{}", largest.len());
    assert!(given.bytes.len() < 16 * 1024, "{}", given.bytes.len());
}
