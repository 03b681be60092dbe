//! What is asked of the past: decisions made again, and the log for strangers.

use std::path::PathBuf;

use clap::Args;
use samebits::digest::Digest;

use super::{present, present_text};

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The record of a promotion or a refusal: its index, or its digest. Without it every decision is made again by
    /// the policy file of today, or the one of --policy.
    #[arg(value_name = "RECORD", value_parser = record_name, conflicts_with_all = ["since", "to", "service"])]
    pub(crate) record: Option<RecordName>,
    /// The ledger's verifier key, where there is no policy file that says it; needs --ledger.
    #[arg(long, value_name = "VKEY", value_parser = present_text, requires_all = ["ledger", "record"])]
    pub(crate) vkey: Option<String>,
    /// Only decisions from this record or day on: an index, a digest, a day (UTC) or a time.
    #[arg(long, value_name = "RECORD|DATE", value_parser = since)]
    pub(crate) since: Option<Since>,
    /// Only decisions about this environment.
    #[arg(long, value_name = "ENVIRONMENT", value_parser = present_text)]
    pub(crate) to: Option<String>,
    /// Only decisions about this service.
    #[arg(long, value_name = "NAME", value_parser = present_text)]
    pub(crate) service: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyLedger {
    /// An export, or a .tlog-proof; without it the ledger itself is audited.
    #[arg(value_name = "PATH", value_parser = present)]
    pub(crate) path: Option<PathBuf>,
    /// The log's verifier key, from somewhere else than the export.
    #[arg(long, value_name = "VKEY", value_parser = present_text, requires = "path")]
    pub(crate) vkey: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The folder to make, or the archive where it ends in `.tar`.
    #[arg(value_name = "PATH", value_parser = present)]
    pub(crate) path: PathBuf,
    /// Only records about this service, and what they rely on.
    #[arg(long, value_name = "NAME", value_parser = present_text)]
    pub(crate) service: Option<String>,
    /// Only records about this environment, and what they rely on.
    #[arg(long = "in", value_name = "ENVIRONMENT", value_parser = present_text)]
    pub(crate) environment: Option<String>,
    /// Only records from this record or day on, and what they rely on.
    #[arg(long, value_name = "RECORD|DATE", value_parser = since)]
    pub(crate) since: Option<Since>,
}

#[derive(Debug, Args)]
pub(crate) struct Prove {
    /// The record: its index, or its digest.
    #[arg(value_name = "RECORD", value_parser = record_name)]
    pub(crate) record: RecordName,
    /// The file to write; stdout, if not given. Nothing is overwritten.
    #[arg(long, value_name = "FILE", value_parser = present)]
    pub(crate) to: Option<PathBuf>,
    /// Write the record beside it, byte for byte: the same name with `.json`.
    #[arg(long, requires = "to")]
    pub(crate) with_record: bool,
}

/// How a record is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordName {
    /// By its place.
    Index(u64),
    /// By the digest of its bytes.
    Digest(Digest),
}

/// Where a look at the past begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// At a record.
    Record(RecordName),
    /// At a time.
    Time(jiff::Timestamp),
}

pub(crate) fn record_name(text: &str) -> Result<RecordName, String> {
    present_text(text)?;
    match (text.parse(), text.starts_with("sha256:")) {
        (Ok(index), _) => Ok(RecordName::Index(index)),
        (Err(_), true) => super::digest(text).map(RecordName::Digest),
        (Err(_), false) => Err("expected the index of a record, or its digest (sha256:…)".to_owned()),
    }
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(day) = text.parse::<jiff::civil::Date>()
        && let Ok(begin) = day.to_zoned(jiff::tz::TimeZone::UTC)
    {
        return Ok(Since::Time(begin.timestamp()));
    }
    if let Ok(time) = text.parse() {
        return Ok(Since::Time(time));
    }
    let why = |why| format!("{why}, a day (2026-11-21) or a time (RFC 3339)");
    record_name(text).map(Since::Record).map_err(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_a_record_a_day_or_a_time() {
        assert_eq!(since("7"), Ok(Since::Record(RecordName::Index(7))));
        let digest = Digest::of(b"");
        assert_eq!(since(&digest.to_string()), Ok(Since::Record(RecordName::Digest(digest))));
        let midnight = Since::Time("2026-11-21T00:00:00Z".parse().unwrap());
        assert_eq!(since("2026-11-21"), Ok(midnight));
        assert_eq!(since("2026-11-21T01:00:00+01:00"), Ok(midnight));
        for wrong in ["", " ", "-1", "yesterday", "sha256:00", "2026-13-01"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }
}
