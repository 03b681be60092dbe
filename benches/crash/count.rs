//! What was acknowledged beside what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::load::{Acknowledged, Said};
use crate::store::Store;

/// The count of one store.
pub(crate) struct Tally {
    name: &'static str,
    pub(crate) kills: u64,
    pub(crate) time: Duration,
    acknowledged: Vec<Acknowledged>,
    /// The longest wait and the appends of each process.
    processes: Vec<(Duration, usize)>,
    /// Errors by their text.
    errors: BTreeMap<String, u64>,
    /// Processes that appended something.
    lives: u64,
    there: usize,
    lost: usize,
    doubled: usize,
    unacknowledged: usize,
    findings: Vec<String>,
    /// What the last audit took.
    audit: Duration,
}

impl Tally {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            kills: 0,
            time: Duration::ZERO,
            acknowledged: Vec::new(),
            processes: Vec::new(),
            errors: BTreeMap::new(),
            lives: 0,
            there: 0,
            lost: 0,
            doubled: 0,
            unacknowledged: 0,
            findings: Vec::new(),
            audit: Duration::ZERO,
        }
    }

    /// What a process said.
    pub(crate) fn add(&mut self, said: Said) {
        let longest = said.acknowledged.iter().map(|one| one.wait).max().unwrap_or_default();
        self.processes.push((longest, said.acknowledged.len()));
        self.lives += u64::from(!said.acknowledged.is_empty());
        self.acknowledged.extend(said.acknowledged);
        for error in said.errors {
            // What was tried, and the last cause.
            let verb = error.split(' ').nth(1).unwrap_or_default();
            let cause = error.rsplit(": ").next().unwrap_or_default();
            *self.errors.entry(format!("{verb}: {cause}")).or_insert(0) += 1;
        }
    }

    /// Audits the store in a process of its own, and looks for everything that was acknowledged.
    pub(crate) fn compare(&mut self, store: &Store) {
        let start = Instant::now();
        let output = store.command("count").output().unwrap();
        self.audit = start.elapsed();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut places: BTreeMap<(bool, String), Vec<u64>> = BTreeMap::new();
        self.findings.clear();
        let mut ended = false;
        for line in text.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                [lane @ ("main" | "control"), index, key] => {
                    let place = places.entry((lane == "control", key.to_owned())).or_default();
                    place.push(index.parse().unwrap());
                }
                ["audited"] => ended = true,
                _ => self.findings.push(line.to_owned()),
            }
        }
        if !ended {
            let said = String::from_utf8_lossy(&output.stderr);
            self.findings.push(format!("the audit did not end: {}", said.replace('\n', " ")));
        }
        let known: BTreeSet<_> = self.acknowledged.iter().map(|one| (one.control, one.key.clone())).collect();
        // At its place, where it was said to be.
        let lost = |one: &&Acknowledged| {
            !places.get(&(one.control, one.key.clone())).is_some_and(|places| places.contains(&one.index))
        };
        self.lost = self.acknowledged.iter().filter(lost).count();
        self.there = places.values().map(Vec::len).sum();
        self.doubled = places.values().filter(|places| places.len() > 1).count();
        self.unacknowledged = places.keys().filter(|key| !known.contains(key)).count();
    }

    pub(crate) fn is_good(&self) -> bool {
        let some = !self.acknowledged.is_empty();
        let starved = self.kills == 0 && !self.errors.is_empty();
        some && !starved && self.lost == 0 && self.doubled == 0 && self.findings.is_empty()
    }

    pub(crate) fn head(at_once: bool) -> String {
        match at_once {
            false => columns(&[
                "store",
                "kills",
                "lives",
                "time",
                "acknowledged",
                "in the log",
                "lost",
                "doubled",
                "unacknowledged",
                "findings",
                "last audit",
            ]),
            true => columns(&[
                "store",
                "processes",
                "fewest",
                "appends/s",
                "acknowledged",
                "p50",
                "p99",
                "longest",
                "lost",
                "doubled",
            ]),
        }
    }

    pub(crate) fn row(&self, at_once: bool) -> String {
        let text = |number: usize| number.to_string();
        let mut row = match at_once {
            false => columns(&[
                self.name,
                &self.kills.to_string(),
                &self.lives.to_string(),
                &format!("{:.0?}", self.time),
                &text(self.acknowledged.len()),
                &text(self.there),
                &text(self.lost),
                &text(self.doubled),
                &text(self.unacknowledged),
                &text(self.findings.len()),
                &format!("{:.1?}", self.audit),
            ]),
            true => {
                let mut waits: Vec<_> = self.acknowledged.iter().map(|one| one.wait).collect();
                waits.sort();
                let at = |share: f64| {
                    waits.get((waits.len() as f64 * share) as usize).copied().unwrap_or_default()
                };
                let fewest = self.processes.iter().map(|(_, appends)| *appends).min().unwrap_or_default();
                let mut row = columns(&[
                    self.name,
                    &text(self.processes.len()),
                    &text(fewest),
                    &format!("{:.0}", waits.len() as f64 / self.time.as_secs_f64()),
                    &text(waits.len()),
                    &format!("{:.1?}", at(0.5)),
                    &format!("{:.1?}", at(0.99)),
                    &format!("{:.1?}", waits.last().copied().unwrap_or_default()),
                    &text(self.lost),
                    &text(self.doubled),
                ]);
                let each = self.processes.iter().map(|(wait, appends)| format!("{wait:.1?} of {appends}"));
                row += &format!("\n  longest wait of each: {}", each.collect::<Vec<_>>().join(", "));
                row
            }
        };
        self.findings.iter().take(20).for_each(|finding| row += &format!("\n  ✗ {finding}"));
        self.errors.iter().take(20).for_each(|(error, times)| row += &format!("\n  {times} x {error}"));
        row
    }
}

fn columns(cells: &[&str]) -> String {
    cells.iter().map(|cell| format!("{cell:>14}")).collect::<Vec<_>>().join(" ").trim_end().to_owned()
}
