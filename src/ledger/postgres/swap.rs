//! One append, under the lock of one row.

use std::collections::HashSet;

use futures_util::try_join;
use tokio_postgres::Error;

use super::session::{Session, Value, value};
use super::signed;
use crate::digest::Digest;
use crate::ledger::seen::Lane;
use crate::ledger::store::{Batch, ControlBatch};
use crate::tlog::Node;

/// What came of it.
#[derive(Clone, Copy)]
pub(super) enum Outcome {
    /// All of it is there, durably.
    Swapped,
    /// The head was another one; nothing is there.
    Conflict,
    /// A row of this record was there already; nothing is there.
    Stray(Lane, u64),
}

/// When it went wrong.
pub(super) enum Trouble {
    /// Nothing was appended.
    Before(Error),
    /// It may have been.
    AtCommit(Error),
}

/// Whoever stalls while he holds the lock loses it, and his transaction.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
                     SET LOCAL idle_in_transaction_session_timeout = '30s'";

/// What one append changes.
pub(super) struct Change {
    lane: Lane,
    expected: String,
    head: String,
    rows: Rows,
}

enum Rows {
    Main(Box<Main>),
    Control { index: u64, row: [Value; 2] },
}

struct Main {
    numbers: Vec<u64>,
    entries: [Value; 2],
    targets: [Value; 7],
    hashed: Vec<Node>,
    nodes: [Value; 3],
    kept: Vec<(Digest, Vec<u8>)>,
}

impl Change {
    pub(super) fn main(expected: &str, batch: &Batch<'_>) -> Self {
        let numbers: Vec<u64> = (batch.first..).zip(batch.entries).map(|(index, _)| index).collect();
        let rows = || batch.entries.iter().map(|entry| &entry.index);
        let column = || value(numbers.iter().map(|index| signed(*index)).collect::<Vec<_>>());
        let bodies: Vec<_> = batch.entries.iter().map(|entry| entry.bytes.clone()).collect();
        let digest = |digest: Digest| digest.as_bytes().to_vec();
        let targets = [
            column(),
            value(rows().map(|row| row.kind.as_str().to_owned()).collect::<Vec<_>>()),
            value(rows().map(|row| row.service.clone()).collect::<Vec<_>>()),
            value(rows().map(|row| row.environment.clone()).collect::<Vec<_>>()),
            value(rows().map(|row| row.digest.map(digest)).collect::<Vec<_>>()),
            value(rows().map(|row| row.phase.clone()).collect::<Vec<_>>()),
            value(rows().map(|row| row.idempotency_key.clone()).collect::<Vec<_>>()),
        ];
        let nodes = || batch.nodes.iter();
        let main = Main {
            entries: [column(), value(bodies)],
            targets,
            hashed: nodes().map(|(node, _)| *node).collect(),
            nodes: [
                value(nodes().map(|(node, _)| level(*node)).collect::<Vec<_>>()),
                value(nodes().map(|(node, _)| signed(node.index)).collect::<Vec<_>>()),
                value(nodes().map(|(_, hash)| digest(*hash)).collect::<Vec<_>>()),
            ],
            kept: batch.kept.iter().map(|(digest, bytes)| (*digest, bytes.to_vec())).collect(),
            numbers,
        };
        let rows = Rows::Main(Box::new(main));
        Self { lane: Lane::Main, expected: expected.to_owned(), head: batch.head.text().to_owned(), rows }
    }

    pub(super) fn control(expected: &str, batch: &ControlBatch<'_>) -> Self {
        let row = [value(signed(batch.index)), value(batch.bytes.to_vec())];
        let rows = Rows::Control { index: batch.index, row };
        Self { lane: Lane::Control, expected: expected.to_owned(), head: batch.head.text().to_owned(), rows }
    }

    /// Makes the change, if the head is the expected one.
    pub(super) async fn make(&self, session: &Session) -> Result<Outcome, Trouble> {
        // 1. The lock. Whoever waits for it reads what its last holder wrote (PostgreSQL 17 documentation, 13.2.1).
        session.begin(BEGIN).await.map_err(Trouble::Before)?;
        let done = self.under_lock(session).await;
        match done {
            // 5. All of it is there, or nothing.
            Ok(Outcome::Swapped) => {
                session.client.batch_execute("COMMIT").await.map_err(Trouble::AtCommit)?;
            }
            // Where this fails the connection is lost, and its transaction with it.
            Ok(Outcome::Conflict | Outcome::Stray(..)) | Err(_) => {
                drop(session.client.batch_execute("ROLLBACK").await);
            }
        }
        done.map_err(Trouble::Before)
    }

    /// Whether the change was made by a session that was lost at its commit. The lock is had only when that session is
    /// gone, so the answer is final.
    pub(super) async fn was_made(&self, session: &Session) -> Result<bool, Error> {
        session.begin(BEGIN).await?;
        let found = session.rows(self.sql().0, &[]).await?;
        let note: Option<String> = found.first().map(|row| row.try_get(0)).transpose()?;
        let made = match (note, &self.rows) {
            (Some(note), _) if note == self.head => true,
            (Some(note), _) if note == self.expected => false,
            // Others went on from there, or from where we began.
            (Some(_) | None, Rows::Main(main)) => {
                let same = "SELECT count(*) FROM unnest($1::int8[], $2::bytea[]) AS ours (idx, body)
                            JOIN entries USING (idx, body)";
                session.rows(same, &main.entries).await?.first().map(|row| row.try_get(0)).transpose()?
                    == i64::try_from(main.numbers.len()).ok()
            }
            (Some(_) | None, Rows::Control { row, .. }) => {
                let same = "SELECT FROM control WHERE idx = $1 AND body = $2";
                !session.rows(same, row).await?.is_empty()
            }
        };
        session.client.batch_execute("ROLLBACK").await?;
        Ok(made)
    }

    /// How the head of the lane is locked, and changed.
    fn sql(&self) -> (&'static str, &'static str) {
        match self.lane {
            Lane::Main => (
                "SELECT note FROM checkpoint WHERE id = 1 FOR UPDATE",
                "UPDATE checkpoint SET note = $1 WHERE id = 1",
            ),
            Lane::Control => (
                "SELECT note FROM control_checkpoint WHERE id = 1 FOR UPDATE",
                "UPDATE control_checkpoint SET note = $1 WHERE id = 1",
            ),
        }
    }

    async fn under_lock(&self, session: &Session) -> Result<Outcome, Error> {
        let (lock, update) = self.sql();
        let found = session.rows(lock, &[]).await?;
        let note: Option<String> = found.first().map(|row| row.try_get(0)).transpose()?;
        // 2. The comparison.
        if note.is_none_or(|note| note != self.expected) {
            return Ok(Outcome::Conflict);
        }
        // 3. The rows.
        let stray = match &self.rows {
            Rows::Main(main) => main.write(session).await?,
            Rows::Control { index, row } => {
                let insert = "INSERT INTO control VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING idx";
                session.rows(insert, row).await?.is_empty().then_some(*index)
            }
        };
        if let Some(index) = stray {
            return Ok(Outcome::Stray(self.lane, index));
        }
        // 4. The swap.
        session.rows(update, &[value(self.head.clone())]).await?;
        Ok(Outcome::Swapped)
    }
}

fn level(node: Node) -> i16 {
    i16::from(node.level)
}

impl Main {
    /// Writes the rows; the first record that somebody had put there already.
    async fn write(&self, session: &Session) -> Result<Option<u64>, Error> {
        // Sent together.
        let (entries, targets, nodes, ()) = try_join!(
            session.rows(
                "INSERT INTO entries SELECT * FROM unnest($1::int8[], $2::bytea[])
                 ON CONFLICT DO NOTHING RETURNING idx",
                &self.entries
            ),
            session.rows(
                "INSERT INTO targets SELECT * FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[],
                 $5::bytea[], $6::text[], $7::text[]) ON CONFLICT DO NOTHING RETURNING idx",
                &self.targets
            ),
            session.rows(
                "INSERT INTO nodes SELECT * FROM unnest($1::int2[], $2::int8[], $3::bytea[])
                 ON CONFLICT DO NOTHING RETURNING level, idx",
                &self.nodes
            ),
            self.keep(session)
        )?;
        for rows in [entries, targets] {
            let written = rows.iter().map(|row| row.try_get(0)).collect::<Result<HashSet<i64>, _>>()?;
            if let Some(index) = self.numbers.iter().find(|index| !written.contains(&signed(**index))) {
                return Ok(Some(*index));
            }
        }
        let written = nodes.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        let written = written.collect::<Result<HashSet<(i16, i64)>, Error>>()?;
        let there = |node: &&Node| !written.contains(&(level(**node), signed(node.index)));
        Ok(self.hashed.iter().find(there).map(|node| node.last()))
    }

    /// What is there already and right is neither sent nor changed.
    async fn keep(&self, session: &Session) -> Result<(), Error> {
        if self.kept.is_empty() {
            return Ok(());
        }
        let all: Vec<_> = self.kept.iter().map(|(digest, _)| digest.as_bytes().to_vec()).collect();
        let right = "SELECT digest FROM kept WHERE digest = ANY($1) AND sha256(bytes) = digest";
        let right = session.rows(right, &[value(all)]).await?;
        let right = right.iter().map(|row| row.try_get(0)).collect::<Result<HashSet<Vec<u8>>, _>>()?;
        for (digest, bytes) in &self.kept {
            let digest = digest.as_bytes().to_vec();
            if right.contains(&digest) {
                continue;
            }
            let put = "INSERT INTO kept VALUES ($1, $2)
                       ON CONFLICT (digest) DO UPDATE SET bytes = excluded.bytes";
            session.rows(put, &[value(digest), value(bytes.clone())]).await?;
        }
        Ok(())
    }
}
