//! What is read of the tables. No hashes and no index are kept of the control lane: it is small, and always read whole.

use std::ops::Range;

use rusqlite::{OptionalExtension, Row, TransactionBehavior, params};

use super::{Sqlite, signed};
use crate::digest::Digest;
use crate::ledger::seen::Lane;
use crate::ledger::store::{Found, Projection, Snapshot, Tables};
use crate::ledger::{Filter, LedgerError, MAX_ENTRY};
use crate::record::Kind;
use crate::tlog::Node;

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

fn found(row: &Row<'_>) -> rusqlite::Result<Found> {
    Ok((unsigned(row, 0)?, row.get(1)?))
}

impl Snapshot for rusqlite::Transaction<'_> {}

impl Tables for Sqlite {
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, LedgerError> {
        Ok(Box::new(self.begin(TransactionBehavior::Deferred)?))
    }

    fn together(&self) -> Result<Option<Box<dyn Snapshot + '_>>, LedgerError> {
        // Outside of a transaction, every question locks the file, and unlocks it.
        match self.connection.is_autocommit() {
            true => self.snapshot().map(Some),
            false => Ok(None),
        }
    }

    fn origin(&self) -> Result<String, LedgerError> {
        self.ask(|c| c.query_row("SELECT origin FROM meta", [], |row| row.get(0)))
    }

    fn note(&self, lane: Lane) -> Result<String, LedgerError> {
        let query = match lane {
            Lane::Main => "SELECT note FROM checkpoint",
            Lane::Control => "SELECT note FROM control_checkpoint",
        };
        self.ask(|c| {
            c.prepare_cached(query)?.query_row([], |row| row.get(0)).optional().map(Option::unwrap_or_default)
        })
    }

    fn node(&self, node: Node) -> Result<Option<Digest>, LedgerError> {
        self.ask(|c| {
            c.prepare_cached("SELECT hash FROM nodes WHERE level = ?1 AND idx = ?2")?
                .query_row(params![node.level, signed(node.index)], |row| {
                    Ok(row.get_ref(0)?.as_blob()?.try_into().ok().map(Digest::from_bytes))
                })
                .optional()
        })
        .map(Option::flatten)
    }

    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, LedgerError> {
        self.ask(|c| {
            c.prepare_cached("SELECT body FROM entries WHERE idx = ?1")?
                .query_row([signed(index)], |row| row.get(0))
                .optional()
        })
    }

    fn projection(&self, index: u64) -> Result<Option<Projection>, LedgerError> {
        self.ask(|c| {
            c.prepare_cached(
                "SELECT kind, service, environment, digest, phase, key FROM targets WHERE idx = ?1",
            )?
            .query_row([signed(index)], |row| {
                Ok(Projection {
                    kind: row.get(0)?,
                    service: row.get(1)?,
                    environment: row.get(2)?,
                    digest: row.get(3)?,
                    phase: row.get(4)?,
                    key: row.get(5)?,
                })
            })
            .optional()
        })
    }

    fn of_target(&self, service: &str, environment: &str, size: u64) -> Result<Vec<Found>, LedgerError> {
        self.ask(|c| {
            c.prepare_cached(
                "SELECT targets.idx, body FROM targets LEFT JOIN entries ON entries.idx = targets.idx
                 WHERE service = ?1 AND environment = ?2 AND targets.idx < ?3 ORDER BY targets.idx",
            )?
            .query_map(params![service, environment, signed(size)], found)?
            .collect()
        })
    }

    fn of_digest(&self, digest: &Digest, size: u64) -> Result<Vec<Found>, LedgerError> {
        self.ask(|c| {
            c.prepare_cached(
                "SELECT targets.idx, body FROM targets LEFT JOIN entries ON entries.idx = targets.idx
                 WHERE digest = ?1 AND targets.idx < ?2 ORDER BY targets.idx",
            )?
            .query_map(params![digest.as_bytes(), signed(size)], found)?
            .collect()
        })
    }

    fn of_key(&self, key: &str, size: u64) -> Result<Option<Found>, LedgerError> {
        self.ask(|c| {
            c.prepare_cached(
                "SELECT targets.idx, body FROM targets LEFT JOIN entries ON entries.idx = targets.idx
                 WHERE key = ?1 AND targets.idx < ?2 ORDER BY targets.idx LIMIT 1",
            )?
            .query_row(params![key, signed(size)], found)
            .optional()
        })
    }

    fn newest(&self, range: Range<u64>, filter: &Filter) -> Result<Vec<Found>, LedgerError> {
        // Only conditions that are asked for, so that SQLite picks the index of a target where there is one.
        let mut query = "SELECT targets.idx, body FROM targets LEFT JOIN entries ON entries.idx = targets.idx
                         WHERE targets.idx >= ?1 AND targets.idx < ?2 AND ?4 IS ?4 AND ?5 IS ?5 AND ?6 IS ?6"
            .to_owned();
        for (condition, asked) in [
            (" AND service = ?4", filter.service.is_some()),
            (" AND environment = ?5", filter.environment.is_some()),
            (" AND kind = ?6", filter.kind.is_some()),
        ] {
            if asked {
                query.push_str(condition);
            }
        }
        query.push_str(" ORDER BY targets.idx DESC LIMIT ?3");
        self.ask(|c| {
            c.prepare_cached(&query)?
                .query_map(
                    params![
                        signed(range.start),
                        signed(range.end),
                        i64::try_from(filter.limit).unwrap_or(i64::MAX),
                        filter.service,
                        filter.environment,
                        filter.kind.map(Kind::as_str),
                    ],
                    found,
                )?
                .collect()
        })
    }

    fn last_entry(&self) -> Result<Option<u64>, LedgerError> {
        self.ask(|c| {
            c.query_row("SELECT idx FROM entries WHERE idx >= 0 ORDER BY idx DESC LIMIT 1", [], |row| {
                unsigned(row, 0)
            })
            .optional()
        })
    }

    fn strays(&self, size: u64) -> Result<Vec<i64>, LedgerError> {
        self.ask(|c| {
            c.prepare(
                "SELECT idx FROM entries WHERE idx >= ?1 OR idx < 0
                 UNION SELECT idx FROM targets WHERE idx >= ?1 OR idx < 0 ORDER BY idx",
            )?
            .query_map([signed(size)], |row| row.get(0))?
            .collect()
        })
    }

    fn stray_nodes(&self, size: u64) -> Result<Vec<(i64, i64)>, LedgerError> {
        self.ask(|c| {
            c.prepare(
                "SELECT level, idx FROM nodes
                 WHERE level NOT BETWEEN 0 AND 62 OR idx < 0 OR idx >= (?1 >> level) ORDER BY level, idx",
            )?
            .query_map([signed(size)], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
        })
    }

    fn control_entries(&self, size: u64) -> Result<Vec<(i64, Vec<u8>)>, LedgerError> {
        self.ask(|c| {
            let query = "SELECT idx, CASE WHEN length(body) <= ?2 THEN body ELSE x'' END FROM control
                         ORDER BY idx LIMIT ?1";
            c.prepare_cached(query)?
                .query_map(params![signed(size.saturating_add(1)), signed(MAX_ENTRY as u64)], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?
                .collect()
        })
    }
}
