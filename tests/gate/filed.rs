//! What queries find a record by follows from its bytes alone, whoever can check its signature.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use samebits::ledger::protocol::index_of;
use samebits::ledger::{Filter, Index};
use samebits::record::{Content, Kind, RecordError, Status};
use samebits::verify::{Sign, Trust};
use serde_json::{Value, json};

use super::protocol::{block_on, promoted};

#[test]
fn what_a_record_is_filed_under_is_what_its_bytes_say() {
    let (mut world, image, request) = super::protocol::ready();
    let mut seen = BTreeSet::new();
    let _ = promoted(block_on(world.promote(&request, "release")));
    let approval = world.approval("ana", &image);
    world.approve("ana", &approval);
    let said = world.deployment("staging", &image);
    world.record("staging", &said.status(Status::Failed));
    let at = world.ledger.tip().unwrap();
    let everything = Filter { service: None, environment: None, kind: None, limit: usize::MAX };
    for entry in world.ledger.log(&at, 0..at.size(), &everything).unwrap() {
        let (origin, bytes) = (at.origin().to_string(), entry.bytes());
        let content = Content::read(bytes, &origin, entry.index(), &world.trust).unwrap();
        let row = index_of(&content.body, &content.subjects);
        assert_eq!(Index::claimed(bytes), Some(row.clone()));
        assert!(Content::read(bytes, &origin, entry.index(), &Trust::new(Vec::new())).is_err());
        seen.insert((row.kind, row.phase));
    }
    assert!(seen.len() >= 5, "{seen:?}");
    for kind in [Kind::Deployment, Kind::Promotion, Kind::Approval] {
        assert!(seen.iter().any(|(seen, _)| *seen == kind), "{seen:?}");
    }
}

/// The statement of a record.
fn statement(bytes: &[u8]) -> Value {
    let bundle: Value = serde_json::from_slice(bytes).unwrap();
    let payload = STANDARD.decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

/// All that is below a value, and it.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(object) => object.iter().for_each(|(name, value)| {
            let name = name.replace('~', "~0").replace('/', "~1");
            pointers(value, &format!("{at}/{name}"), all);
        }),
        Value::Array(array) => {
            array.iter().enumerate().for_each(|(n, value)| pointers(value, &format!("{at}/{n}"), all));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Serde reads them; whoever files a record by its bytes does not.
#[test]
fn d4_a_record_in_another_spelling_is_none() {
    let (mut world, image, request) = super::protocol::ready();
    let _ = promoted(block_on(world.promote(&request, "release")));
    let approval = world.approval("ana", &image);
    world.approve("ana", &approval);
    let said = world.deployment("staging", &image);
    world.record("staging", &said.status(Status::Removed));
    let at = world.ledger.tip().unwrap();
    let everything = Filter { service: None, environment: None, kind: None, limit: usize::MAX };
    let mut spelled = BTreeSet::new();
    for entry in world.ledger.log(&at, 0..at.size(), &everything).unwrap() {
        let read = |statement: &Value, who: &str| {
            let bytes = Sign::sign(world.key(who), statement.to_string().as_bytes()).unwrap();
            Content::read(&bytes, &at.origin().to_string(), entry.index(), &world.trust).map(drop)
        };
        let said = statement(entry.bytes());
        let who = ["staging", "release", "ana"].into_iter().find(|who| read(&said, who).is_ok()).unwrap();
        let mut all = Vec::new();
        pointers(&said["predicate"], "/predicate", &mut all);
        for pointer in all {
            let mut other = said.clone();
            let place = other.pointer_mut(&pointer).unwrap();
            *place = match &*place {
                Value::Object(object) => object.values().cloned().collect(),
                Value::String(word) => json!({ word: null }),
                Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) => continue,
            };
            match read(&other, who) {
                Err(RecordError::Spelling(_)) => drop(spelled.insert(pointer)),
                Err(RecordError::Predicate(_) | RecordError::Rejected(_)) => {}
                other => panic!("{pointer}: {other:?}"),
            }
        }
    }
    for pointer in ["/predicate/status", "/predicate/phase", "/predicate/decision", "/predicate/to"] {
        assert!(spelled.contains(pointer), "{pointer}: {spelled:?}");
    }
}

/// Whoever stores the ledger files an entry that is no record where he likes: it is in nobody's chain.
#[test]
fn d1_what_is_no_record_breaks_no_chain() {
    let (mut world, _, request) = super::protocol::ready();
    let junk = |environment: &str| samebits::ledger::Entry {
        bytes: b"junk".to_vec(),
        index: Index {
            kind: Kind::Deployment,
            service: "shop".to_owned(),
            environment: environment.to_owned(),
            digest: None,
            phase: String::new(),
            idempotency_key: None,
        },
    };
    let size = world.ledger.tip().unwrap().size();
    let _ = world.ledger.append(size, &[junk("staging"), junk("production")]).unwrap();
    let _ = promoted(block_on(world.promote(&request, "release")));
    let history = super::protocol::records(&world);
    assert_eq!((history.inert.len(), history.records.len()), (1, 2));
    assert_eq!(history.records[0].body().ledger().prev, None);
}
