//! What is read of the tables, each by one question. What is longer than anything we write ([`MAX_ENTRY`],
//! [`MAX_NOTE`]), or more than what was signed, is not sent: it is as if it were not there.
//!
//! [`MAX_ENTRY`]: crate::ledger::MAX_ENTRY
//! [`MAX_NOTE`]: crate::tlog::MAX_NOTE

use std::ops::Range;

use tokio_postgres::Row;

use super::ahead::number;
use super::session::value;
use super::{Postgres, signed};
use crate::digest::Digest;
use crate::ledger::seen::Lane;
use crate::ledger::store::{Found, Projection, Snapshot, Tables};
use crate::ledger::{Filter, LedgerError};
use crate::record::Kind;
use crate::tlog::Node;

/// An index row: of each text no more than what a record has room for, of its digest nothing but 32 bytes.
pub(super) const ROW: &str = "left(kind, 65536), left(service, 65536), left(environment, 65536),
    CASE WHEN octet_length(digest) = 32 THEN digest END, left(phase, 65536), left(key, 65536)";

/// A transaction that reads; ends when it is dropped.
struct Reading<'a>(&'a Postgres);

impl Snapshot for Reading<'_> {}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        // Nothing was written; a connection that was lost is noticed by the next question.
        drop(self.0.batch("ROLLBACK"));
        self.0.reading.set(false);
        self.0.forget();
    }
}

impl Postgres {
    /// Rows of an index and a body, with the hashes that prove them in a log of `size` records fetched.
    fn found(&self, rows: &[Row], size: Option<u64>) -> Result<Vec<Found>, LedgerError> {
        let found = rows.iter().map(|row| Ok((number(self.get(row, 0)?), self.get(row, 1)?)));
        let found: Vec<Found> = found.collect::<Result<_, LedgerError>>()?;
        self.were_found(&found, size)?;
        Ok(found)
    }

    pub(super) fn read_projection(&self, row: &Row) -> Result<Projection, LedgerError> {
        Ok(Projection {
            kind: self.get(row, 0)?,
            service: self.get(row, 1)?,
            environment: self.get(row, 2)?,
            digest: self.get(row, 3)?,
            phase: self.get(row, 4)?,
            key: self.get(row, 5)?,
        })
    }
}

impl Tables for Postgres {
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, LedgerError> {
        self.forget();
        self.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
        self.reading.set(true);
        Ok(Box::new(Reading(self)))
    }

    fn origin(&self) -> Result<String, LedgerError> {
        Ok(self.first("SELECT left(origin, 4096) FROM meta LIMIT 1", Vec::new())?.unwrap_or_default())
    }

    fn note(&self, lane: Lane) -> Result<String, LedgerError> {
        let query = match lane {
            Lane::Main => "SELECT note FROM checkpoint WHERE octet_length(note) <= 131072 LIMIT 1",
            Lane::Control => "SELECT note FROM control_checkpoint WHERE octet_length(note) <= 131072 LIMIT 1",
        };
        let note: String = self.first(query, Vec::new())?.unwrap_or_default();
        match lane {
            Lane::Main => self.note_was_read(&note)?,
            Lane::Control => {}
        }
        Ok(note)
    }

    fn node(&self, node: Node) -> Result<Option<Digest>, LedgerError> {
        if let Some(known) = self.ahead.borrow().node(node) {
            return Ok(known);
        }
        let query = "SELECT hash FROM nodes WHERE level = $1 AND idx = $2 AND octet_length(hash) = 32";
        let hash: Option<Vec<u8>> =
            self.first(query, vec![value(i16::from(node.level)), value(signed(node.index))])?;
        Ok(hash.and_then(|hash| hash.try_into().ok()).map(Digest::from_bytes))
    }

    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, LedgerError> {
        self.block(index)?;
        if let Some(known) = self.ahead.borrow().body(index) {
            return Ok(known);
        }
        self.were_found(&[(index, None)], None)?;
        self.first(
            "SELECT body FROM entries WHERE idx = $1 AND octet_length(body) <= 65535",
            vec![value(signed(index))],
        )
    }

    fn projection(&self, index: u64) -> Result<Option<Projection>, LedgerError> {
        if let Some(known) = self.ahead.borrow().row(index) {
            return Ok(known);
        }
        let rows =
            self.rows(&format!("SELECT {ROW} FROM targets WHERE idx = $1"), vec![value(signed(index))])?;
        rows.first().map(|row| self.read_projection(row)).transpose()
    }

    fn of_target(&self, service: &str, environment: &str, size: u64) -> Result<Vec<Found>, LedgerError> {
        let query = "SELECT targets.idx, CASE WHEN octet_length(body) <= 65535 THEN body END
                     FROM targets LEFT JOIN entries ON entries.idx = targets.idx
                     WHERE service = $1 AND environment = $2 AND targets.idx >= 0 AND targets.idx < $3
                     ORDER BY targets.idx";
        let values = vec![value(service.to_owned()), value(environment.to_owned()), value(signed(size))];
        self.found(&self.rows(query, values)?, Some(size))
    }

    fn of_digest(&self, digest: &Digest, size: u64) -> Result<Vec<Found>, LedgerError> {
        let query = "SELECT targets.idx, CASE WHEN octet_length(body) <= 65535 THEN body END
                     FROM targets LEFT JOIN entries ON entries.idx = targets.idx
                     WHERE digest = $1 AND targets.idx >= 0 AND targets.idx < $2 ORDER BY targets.idx";
        self.found(
            &self.rows(query, vec![value(digest.as_bytes().to_vec()), value(signed(size))])?,
            Some(size),
        )
    }

    fn of_key(&self, key: &str, size: u64) -> Result<Option<Found>, LedgerError> {
        let query = "SELECT targets.idx, CASE WHEN octet_length(body) <= 65535 THEN body END
                     FROM targets LEFT JOIN entries ON entries.idx = targets.idx
                     WHERE key = $1 AND targets.idx >= 0 AND targets.idx < $2 ORDER BY targets.idx LIMIT 1";
        let found =
            self.found(&self.rows(query, vec![value(key.to_owned()), value(signed(size))])?, Some(size))?;
        Ok(found.into_iter().next())
    }

    fn newest(&self, range: Range<u64>, filter: &Filter) -> Result<Vec<Found>, LedgerError> {
        let mut query = "SELECT targets.idx, CASE WHEN octet_length(body) <= 65535 THEN body END
                     FROM targets LEFT JOIN entries ON entries.idx = targets.idx
                         WHERE targets.idx >= $1 AND targets.idx < $2"
            .to_owned();
        let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
        let mut values = vec![value(signed(range.start)), value(signed(range.end)), value(limit)];
        for (column, asked) in [
            ("service", filter.service.clone()),
            ("environment", filter.environment.clone()),
            ("kind", filter.kind.map(Kind::as_str).map(str::to_owned)),
        ] {
            if let Some(asked) = asked {
                values.push(value(asked));
                query.push_str(&format!(" AND {column} = ${}", values.len()));
            }
        }
        query.push_str(" ORDER BY targets.idx DESC LIMIT $3");
        self.found(&self.rows(&query, values)?, None)
    }

    fn last_entry(&self) -> Result<Option<u64>, LedgerError> {
        let query = "SELECT idx FROM entries WHERE idx >= 0 ORDER BY idx DESC LIMIT 1";
        Ok(self.first::<i64>(query, Vec::new())?.and_then(|index| u64::try_from(index).ok()))
    }

    fn strays(&self, size: u64) -> Result<Vec<i64>, LedgerError> {
        let query = "SELECT idx FROM entries WHERE idx >= $1 OR idx < 0
                     UNION SELECT idx FROM targets WHERE idx >= $1 OR idx < 0 ORDER BY idx LIMIT 10000";
        self.rows(query, vec![value(signed(size))])?.iter().map(|row| self.get(row, 0)).collect()
    }

    fn stray_nodes(&self, size: u64) -> Result<Vec<(i64, i64)>, LedgerError> {
        let query = "SELECT level::int8, idx FROM nodes
                     WHERE level NOT BETWEEN 0 AND 62 OR idx < 0 OR idx >= ($1::int8 >> level::int4)
                     ORDER BY level, idx LIMIT 10000";
        let rows = self.rows(query, vec![value(signed(size))])?;
        rows.iter().map(|row| Ok((self.get(row, 0)?, self.get(row, 1)?))).collect()
    }

    fn control_entries(&self, size: u64) -> Result<Vec<(i64, Vec<u8>)>, LedgerError> {
        let query = "SELECT idx, CASE WHEN octet_length(body) <= 65535 THEN body ELSE '' END FROM control
                     ORDER BY idx LIMIT $1";
        let rows = self.rows(query, vec![value(signed(size.saturating_add(1)))])?;
        rows.iter().map(|row| Ok((self.get(row, 0)?, self.get(row, 1)?))).collect()
    }
}
