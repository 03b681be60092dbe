//! The control lane, read whole.

use std::path::Path;

use jiff::Timestamp;
use samebits::digest::Digest;
use samebits::evidence::Control;
use samebits::key::{Algorithm, PrivateKey};
use samebits::record::{Actor, ControlBody, ControlDraft, Freeze, LedgerView, Scope, TreeHead};
use samebits::verify::{Identity, Trust};

use crate::fill::open;
use crate::{Time, median};

const RECORDS: u64 = 1_000;

/// The lane's root recomputed from its records, and every signature checked.
pub(crate) fn replay(folder: &Path) -> Time {
    let folder = folder.join("control");
    let _ = std::fs::remove_dir_all(&folder);
    let mut ledger = open(&folder);
    let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let trust = Trust::new(vec![key.public().clone()]);
    let origin = ledger.control().unwrap().head().origin().to_string();
    for number in 0..RECORDS {
        let now = Timestamp::UNIX_EPOCH;
        let body = Freeze {
            actor: Actor::from(&Identity::Key { id: key.public().id() }),
            scope: Scope { service: Some(format!("service-{number}").parse().unwrap()), environment: None },
            from: now,
            until: None,
            reason: "a benchmark".to_owned(),
            lifts: None,
            decided_on: now,
            ledger: LedgerView {
                origin: origin.clone(),
                observed: TreeHead::empty(),
                control: TreeHead::empty(),
                idempotency_key: Digest::of(&number.to_be_bytes()),
                prev: None,
            },
        };
        let bytes = ControlDraft(ControlBody::Freeze(Box::new(body))).sign(&key).unwrap();
        let _ = ledger.append_control(number, &bytes).unwrap();
    }
    median(20, |_| {
        let lane = ledger.control().unwrap();
        let control = Control::read(&lane, &trust);
        assert_eq!(control.records().len() as u64, RECORDS);
        assert!(control.unread().is_empty());
    })
}
