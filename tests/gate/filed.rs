//! What queries find a record by follows from its bytes alone, whoever can check its signature.

use std::collections::BTreeSet;

use samebits::ledger::protocol::index_of;
use samebits::ledger::{Filter, Index};
use samebits::record::{Content, Kind, Status};
use samebits::verify::Trust;

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
