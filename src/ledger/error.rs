//! What can go wrong with a ledger. None of it is ever a yes.

use rusqlite::ErrorCode;

use super::pin::PinError;
use super::place::Place;
use super::postgres::PostgresError;
use super::seen::{Contradiction, Lane};
use super::slots::commit::CommitError;
use super::slots::{GitError, SlotError};
use crate::digest::Digest;
use crate::tlog::{Checkpoint, Node, Origin, TlogError, Vkey};

/// Why a ledger did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The index lists an entry under a service or environment it is not about.
    #[error("record {index} lies under `{service}` in `{environment}` and is about something else")]
    Misfiled {
        /// The record.
        index: u64,
        /// The service it is listed under.
        service: String,
        /// The environment it is listed under.
        environment: String,
    },
    /// A record is filed under something else than what it says.
    #[error("{at} of ledger {place} files record {index} under {filed}, and the record itself says {says}")]
    Row {
        /// The ledger.
        place: Place,
        /// The slot, or the index.
        at: String,
        /// The record.
        index: u64,
        /// The first thing that it is found by and does not say.
        filed: String,
        /// What it says instead.
        says: String,
    },
    /// A record to append is not to be found by what it says.
    #[error("entry {at} is to be filed under {filed}, and says {says}")]
    EntryRow {
        /// Which, from 0.
        at: usize,
        /// The first thing that it is to be found by.
        filed: String,
        /// What it says instead.
        says: String,
    },
    /// A record of a target does not follow the one before it: one is missing, or was never there.
    #[error(
        "record {index} follows record {expected:?} of its target, and the one found before it is {found:?}"
    )]
    Gap {
        /// The record.
        index: u64,
        /// The one it says it follows.
        expected: Option<u64>,
        /// The one that was found before it.
        found: Option<u64>,
    },
    /// Not the URL of a ledger.
    #[error("`{found}` is not a ledger URL: expected {expected}")]
    Url {
        /// The text.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A kind of ledger that this version does not have.
    #[error(
        "ledgers of the kind `{found}:` are not in this version: expected `sqlite:PATH`, `file:FOLDER`, \
         `postgres://…`, `git+https://…#BRANCH`, or `s3:`, `gs:` or `az:` and `//BUCKET/PREFIX`"
    )]
    Scheme {
        /// The scheme.
        found: String,
    },
    /// On a file system that machines share.
    #[error("ledger {place} is on a network file system ({found}), whose locks SQLite cannot rely on")]
    NetworkFileSystem {
        /// The ledger.
        place: Place,
        /// The file system's type.
        found: String,
    },
    /// There is nothing.
    #[error("there is no ledger at {place}")]
    Absent {
        /// Where it was looked for.
        place: Place,
    },
    /// There is something already.
    #[error("there is already something at {place}: a ledger is never overwritten")]
    Exists {
        /// Where the ledger was to be made.
        place: Place,
    },
    /// Something else is there.
    #[error("{place} is not a samebits ledger")]
    NotALedger {
        /// The file.
        place: Place,
    },
    /// A ledger of another version of this program.
    #[error("ledger {place} has format {found}: expected {expected}")]
    Format {
        /// The file.
        place: Place,
        /// Its format number.
        found: i64,
        /// Ours.
        expected: i64,
    },
    /// The stored checkpoint of the control lane is not believed.
    #[error("the checkpoint of the control lane of ledger {place} is not believed")]
    ControlCheckpoint {
        /// The file.
        place: Place,
        /// Why not.
        source: TlogError,
    },
    /// A signed record of the control lane is gone.
    #[error("ledger {place} was tampered with: control record {index} is missing")]
    ControlMissing {
        /// The file.
        place: Place,
        /// The record.
        index: u64,
    },
    /// The control lane holds a record that no checkpoint covers.
    #[error("ledger {place} was tampered with: it holds a control record {index} that no checkpoint covers")]
    ControlStray {
        /// The file.
        place: Place,
        /// Its index as stored.
        index: i64,
    },
    /// The control lane's records are not the signed ones.
    #[error("ledger {place} was tampered with: its control records are not the signed ones")]
    ControlChanged {
        /// The file.
        place: Place,
        /// How that shows.
        source: TlogError,
    },
    /// Another ledger than the one the policy names.
    #[error("ledger {place} is `{found}`: expected `{expected}`")]
    OriginMismatch {
        /// The file.
        place: Place,
        /// The name in the key that was given.
        expected: Origin,
        /// The name in the file.
        found: String,
    },
    /// The stored checkpoint is not believed.
    #[error("the checkpoint of ledger {place} is not believed")]
    Checkpoint {
        /// The file.
        place: Place,
        /// Why not.
        source: TlogError,
    },
    /// The private key is not the one of the public key.
    #[error("the key to sign ledger {place} with is {found}: expected {expected}")]
    WrongSigner {
        /// The file.
        place: Place,
        /// The verifier key that was given.
        expected: Box<Vkey>,
        /// That of the private key.
        found: Box<Vkey>,
    },
    /// Opened for reading only, then asked to append.
    #[error("ledger {place} was opened without its private key and cannot be appended to")]
    NoSigner {
        /// The file.
        place: Place,
    },
    /// The new checkpoint could not be signed.
    #[error("the new checkpoint of ledger {place} could not be signed")]
    Sign {
        /// The file.
        place: Place,
        /// Why not.
        source: TlogError,
    },
    /// Nothing to append.
    #[error("an append needs at least one entry")]
    Empty,
    /// An entry without bytes, or beyond what C2SP tiles can hold.
    #[error("the entry is {found} bytes long: expected 1 to {limit}")]
    EntrySize {
        /// Its length in bytes.
        found: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A decision that names evidence nobody has the bytes of.
    #[error(
        "the decision relies on {digest}, and its bytes are not at hand: expected them, to be kept with the record"
    )]
    EvidenceNotAtHand {
        /// What it relies on.
        digest: Digest,
    },
    /// More evidence than is kept.
    #[error("the evidence {digest} has {found} bytes: expected at most {limit}")]
    EvidenceSize {
        /// What would be kept.
        digest: Digest,
        /// Its size in bytes.
        found: usize,
        /// What is left of the limits, in bytes.
        limit: usize,
    },
    /// Evidence that a record relies on is no longer kept.
    #[error("the evidence {digest} of record {index} is gone from ledger {place}")]
    EvidenceGone {
        /// The file.
        place: Place,
        /// The record.
        index: u64,
        /// What it relied on.
        digest: Digest,
    },
    /// What is kept is not what the record relied on.
    #[error("the evidence {digest} of record {index} was changed in ledger {place}")]
    EvidenceChanged {
        /// The file.
        place: Place,
        /// The record.
        index: u64,
        /// What it relied on.
        digest: Digest,
    },
    /// Somebody else appended first: evaluate again, do not merely retry.
    #[error("the ledger has {found} entries: expected {expected}; somebody appended in between")]
    Conflict {
        /// The size that the caller had read.
        expected: u64,
        /// The size now.
        found: u64,
    },
    /// The stored tree does not have the signed root.
    #[error("ledger {place} was tampered with: its stored hashes give root {found}, signed is {expected}")]
    RootMismatch {
        /// The file.
        place: Place,
        /// The signed root.
        expected: Digest,
        /// The root computed from what is stored.
        found: Digest,
    },
    /// A record that was signed is gone.
    #[error("ledger {place} was tampered with: record {index} is missing")]
    RecordMissing {
        /// The file.
        place: Place,
        /// The record.
        index: u64,
    },
    /// A stored hash is gone, or is not one.
    #[error("ledger {place} was tampered with: the hash at level {}, index {} is missing or damaged", node.level, node.index)]
    NodeMissing {
        /// The file.
        place: Place,
        /// The hash.
        node: Node,
    },
    /// A record stands where the signed log ends.
    #[error("ledger {place} was tampered with: it holds a record {index} that no checkpoint covers")]
    Stray {
        /// The file.
        place: Place,
        /// The record.
        index: u64,
    },
    /// A record is not the one that was signed.
    #[error("ledger {place} was tampered with: record {index} is not the signed one")]
    NotIncluded {
        /// The file.
        place: Place,
        /// The record.
        index: u64,
        /// The failed proof.
        source: TlogError,
    },
    /// A checkpoint of another log, or an index beyond it.
    #[error("the ledger cannot be read at that place")]
    Request {
        /// Why not.
        #[from]
        source: TlogError,
    },
    /// The ledger is shorter than it was once seen.
    #[error("ledger {place} was rolled back: {found}")]
    Shorter {
        /// The ledger.
        place: Place,
        /// What was seen, and what there is.
        found: Box<Contradiction>,
    },
    /// The ledger does not continue what was once seen.
    #[error("ledger {place} was forked, it does not continue what was seen before: {found}")]
    Forked {
        /// The ledger.
        place: Place,
        /// What was seen, and what there is.
        found: Box<Contradiction>,
    },
    /// What is kept as a cosigned checkpoint is none.
    #[error("what is kept in ledger {place} as the cosigned checkpoint of its {lane} is not believed")]
    Cosigned {
        /// The ledger.
        place: Place,
        /// Whose.
        lane: Lane,
        /// Why not.
        source: Box<TlogError>,
    },
    /// Others keep cosignatures faster.
    #[error("others kept cosignatures in ledger {place} each time that these were about to be")]
    CosignedByOthers {
        /// The ledger.
        place: Place,
    },
    /// What this user has seen before cannot be told.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// SQLite could not switch to its write-ahead log here.
    #[error("ledger {place} keeps a journal of the kind `{found}`: expected `wal`")]
    NoWal {
        /// The file.
        place: Place,
        /// The journal mode in force.
        found: String,
    },
    /// What lies in a slot is no commit.
    #[error("ledger {place} was tampered with: what lies in `{name}` is no commit")]
    Slot {
        /// The ledger.
        place: Place,
        /// The slot.
        name: String,
        /// Why not.
        source: CommitError,
    },
    /// What lies in a slot is not what it signs.
    #[error(
        "ledger {place} was tampered with: `{name}` signs {}, and its entries give root {found}",
        head(signed)
    )]
    SlotChanged {
        /// The ledger.
        place: Place,
        /// The slot.
        name: String,
        /// The head it carries.
        signed: Box<Checkpoint>,
        /// The root of what it holds.
        found: Digest,
    },
    /// A folder or bucket did not do what it was asked for.
    #[error("ledger {place} cannot be reached")]
    Slots {
        /// The ledger.
        place: Place,
        /// Why not.
        source: SlotError,
    },
    /// The folder of a new ledger could not be made.
    #[error("the folder of ledger {place} cannot be made")]
    Folder {
        /// The file.
        place: Place,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Locked by another process for longer than we wait.
    #[error("ledger {place} is locked by another process")]
    Busy {
        /// The file.
        place: Place,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The file or its folder cannot be written.
    #[error("ledger {place} cannot be written")]
    ReadOnly {
        /// The file.
        place: Place,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The disk, or the quota, is full.
    #[error("the disk of ledger {place} is full")]
    Full {
        /// The file.
        place: Place,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The file, its folder or its `-wal` and `-shm` companions cannot be opened.
    #[error("ledger {place} cannot be opened")]
    Unreadable {
        /// The file.
        place: Place,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The file is damaged below the level of records.
    #[error("ledger {place} is corrupt")]
    Corrupt {
        /// The file.
        place: Place,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Any other failure of the store (disk error, no memory).
    #[error("ledger {place} failed")]
    Store {
        /// The file.
        place: Place,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Trouble with a server.
    #[error(transparent)]
    Postgres {
        /// Which.
        #[from]
        source: PostgresError,
    },
}

fn head(Checkpoint { size, root, .. }: &Checkpoint) -> String {
    format!("{size} records with root {root}")
}

impl LedgerError {
    /// What SQLite said about `place`, sorted.
    pub(super) fn sqlite(place: &Place, source: rusqlite::Error) -> Self {
        let place = place.clone();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { place, source },
            Some(ErrorCode::ReadOnly) => Self::ReadOnly { place, source },
            Some(ErrorCode::DiskFull) => Self::Full { place, source },
            Some(
                ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::AuthorizationForStatementDenied,
            ) => Self::Unreadable { place, source },
            Some(ErrorCode::NotADatabase) => Self::NotALedger { place },
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt { place, source },
            // Not our enum: SQLite may learn new codes, and a wrong column type has none.
            _ => Self::Store { place, source },
        }
    }

    /// Whether the stored bytes contradict what was signed.
    pub fn is_tampering(&self) -> bool {
        matches!(
            self,
            Self::Checkpoint { .. }
                | Self::ControlCheckpoint { .. }
                | Self::ControlMissing { .. }
                | Self::ControlStray { .. }
                | Self::ControlChanged { .. }
                | Self::RootMismatch { .. }
                | Self::RecordMissing { .. }
                | Self::NodeMissing { .. }
                | Self::Stray { .. }
                | Self::NotIncluded { .. }
                | Self::Misfiled { .. }
                | Self::Row { .. }
                | Self::Gap { .. }
                | Self::Shorter { .. }
                | Self::Forked { .. }
                | Self::Slots { source: SlotError::Git { source: GitError::Rewritten { .. } }, .. }
                | Self::Slot { .. }
                | Self::SlotChanged { .. }
                | Self::EvidenceGone { .. }
                | Self::EvidenceChanged { .. }
        )
    }

    /// What the reader of the error can do.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Url { .. } | Self::Scheme { .. } => {
                "write `url = \"sqlite:.samebits/ledger.db\"` under `[ledger]`, or `file:FOLDER`, `s3://BUCKET/PREFIX`"
            }
            Self::Postgres { source } => return source.hint(),
            Self::NetworkFileSystem { .. } | Self::NoWal { .. } => {
                "put the ledger on a disk of the machine that promotes"
            }
            Self::Absent { .. } => "`samebits init` makes a ledger; check `url` under `[ledger]`",
            Self::Exists { .. } => "name another file, or use the ledger that is there",
            Self::NotALedger { .. } => "check `url` under `[ledger]`",
            Self::Format { found, expected, .. } if found < expected => {
                "no released version wrote this: keep the file, make a new ledger with `samebits init`, and record anew \
                 what runs"
            }
            Self::Format { .. } => "use the version of samebits that wrote it, or a newer one",
            Self::OriginMismatch { .. } | Self::WrongSigner { .. } => {
                "the policy, the keys and the ledger must be those of one `samebits init`"
            }
            Self::NoSigner { .. } => "give the ledger's private key",
            Self::Sign { .. } | Self::Empty | Self::Request { .. } | Self::Store { .. } => return None,
            Self::EntrySize { .. } => "shorten the record; large evidence belongs in the registry, by digest",
            Self::EvidenceNotAtHand { .. } => return None,
            Self::EvidenceSize { .. } => "take away what is attached and not needed, or split the bundle",
            Self::EvidenceGone { .. } | Self::EvidenceChanged { .. } => {
                "look in a copy of the ledger (--ledger), or for the digest beside the image"
            }
            Self::Conflict { .. } => "run the command again: it will decide on what the ledger says now",
            Self::Checkpoint { .. }
            | Self::ControlCheckpoint { .. }
            | Self::ControlMissing { .. }
            | Self::ControlStray { .. }
            | Self::ControlChanged { .. }
            | Self::RootMismatch { .. }
            | Self::RecordMissing { .. }
            | Self::NodeMissing { .. }
            | Self::Stray { .. }
            | Self::NotIncluded { .. }
            | Self::Misfiled { .. }
            | Self::Gap { .. } => "keep the file; `samebits ledger verify` names what was changed",
            Self::Row { .. } => {
                "keep the ledger as it is and see who wrote to it: records are hidden by being filed elsewhere; `samebits \
                 ledger verify` names all that are not filed as they say"
            }
            Self::EntryRow { .. } => "file it as `Index::claimed` of its bytes says",
            Self::Slot { .. } | Self::SlotChanged { .. } => {
                "keep the slot and see who wrote it: nothing is promoted on a ledger that says two things"
            }
            Self::Slots { source, .. } => source.hint(),
            Self::Shorter { .. } => {
                "keep the file and find the newer copy; nothing is promoted on a ledger that lost records"
            }
            Self::Forked { .. } => {
                "keep both: whoever has the log's key showed two histories; find out whose is right before anything is \
                 promoted"
            }
            Self::Cosigned { .. } => "`samebits ledger cosign` asks the witnesses again",
            Self::CosignedByOthers { .. } => "run the command again",
            Self::Pin(_) => {
                "keep the file aside and see who wrote it; without it the ledger is taken as it is, and pinned anew"
            }
            Self::Busy { .. } => "run the command again when the other process has finished",
            Self::ReadOnly { .. } | Self::Folder { .. } => {
                "make the file and its folder writable for this user"
            }
            Self::Full { .. } => "free some space and run the command again: nothing was appended",
            Self::Unreadable { .. } => {
                "the file must be readable and its folder writable: SQLite keeps a `-wal` and a `-shm` file beside it"
            }
            Self::Corrupt { .. } => {
                "keep the file and restore a copy that is not older than the last promotion"
            }
        })
    }
}
