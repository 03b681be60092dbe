//! `ledger.json`: what says that these slots are a ledger, and which.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::digest::shorten;
use crate::ledger::LedgerError;
use crate::ledger::place::Place;
use crate::ledger::store::Keys;
use crate::tlog::{Origin, SignedCheckpoint, empty_root};

pub(super) const CARD: &str = "ledger.json";
/// Its longest in bytes.
pub(super) const LIMIT: usize = 64 << 10;
/// The version of the layout of the slots.
const FORMAT: i64 = 1;

/// As it is written: one line of JSON.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Card {
    format: i64,
    origin: String,
    /// The signed note of the empty main lane.
    checkpoint: String,
    /// The signed note of the empty control lane.
    control: String,
    /// Tells two makers apart.
    nonce: String,
}

/// What it says, verified: the heads of two empty lanes.
pub(super) struct Empty {
    pub(super) main: SignedCheckpoint,
    pub(super) control: SignedCheckpoint,
}

impl Card {
    pub(super) fn new(
        origin: &Origin,
        main: &SignedCheckpoint,
        control: &SignedCheckpoint,
        nonce: [u8; 16],
    ) -> Self {
        Self {
            format: FORMAT,
            origin: origin.to_string(),
            checkpoint: main.text().to_owned(),
            control: control.text().to_owned(),
            nonce: STANDARD.encode(nonce),
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("texts and a number are JSON");
        bytes.push(b'\n');
        bytes
    }

    pub(super) fn parse(bytes: &[u8], place: &Place) -> Result<Self, LedgerError> {
        /// Of any version.
        #[derive(Deserialize)]
        struct Any {
            format: i64,
        }
        let nothing = || LedgerError::NotALedger { place: place.clone() };
        let Any { format } = serde_json::from_slice(bytes).map_err(|_| nothing())?;
        if format != FORMAT {
            return Err(LedgerError::Format { place: place.clone(), found: format, expected: FORMAT });
        }
        let card: Self = serde_json::from_slice(bytes).map_err(|_| nothing())?;
        if card.to_bytes() == bytes { Ok(card) } else { Err(nothing()) }
    }

    pub(super) fn verify(self, keys: Keys<'_>, place: &Place) -> Result<Empty, LedgerError> {
        let place = || place.clone();
        if self.origin != keys.main.origin().as_str() {
            let (expected, found) = (keys.main.origin().clone(), shorten(&self.origin));
            return Err(LedgerError::OriginMismatch { place: place(), expected, found });
        }
        let main = keys.main.open(&self.checkpoint);
        let main = main.map_err(|source| LedgerError::Checkpoint { place: place(), source })?;
        let control = keys.control.open(&self.control);
        let control = control.map_err(|source| LedgerError::ControlCheckpoint { place: place(), source })?;
        let empty = |head: &SignedCheckpoint| head.size() == 0 && head.root() == empty_root();
        match empty(&main) && empty(&control) {
            true => Ok(Empty { main, control }),
            false => Err(LedgerError::NotALedger { place: place() }),
        }
    }
}
