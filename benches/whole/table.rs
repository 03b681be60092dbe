//! The table that is printed.

use std::fmt;
use std::time::Duration;

/// One figure beside its reference of the same run.
pub(crate) struct Row<'a> {
    /// What was done; empty where the row above says it.
    pub(crate) case: &'a str,
    /// What was measured.
    pub(crate) figure: &'a str,
    /// Ours.
    pub(crate) ours: String,
    /// What it is to be seen beside, named.
    pub(crate) reference: String,
    /// Ours through theirs.
    pub(crate) ratio: Option<f64>,
    /// What was promised.
    pub(crate) budget: &'a str,
}

/// All rows.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<[String; 6]>,
}

impl Table {
    pub(crate) fn row(&mut self, row: Row<'_>) {
        let Row { case, figure, ours, reference, ratio, budget } = row;
        let ratio = ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
        self.rows.push([case.to_owned(), figure.to_owned(), ours, reference, ratio, budget.to_owned()]);
    }

    /// A row without a figure.
    pub(crate) fn say(&mut self, case: &str, why: &str) {
        self.rows.push([case, why, "", "", "", ""].map(str::to_owned));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["case", "figure", "samebits", "beside", "ratio", "budget"].map(str::to_owned);
        let rows = || std::iter::once(&head).chain(&self.rows);
        let widths: [usize; 6] =
            std::array::from_fn(|column| rows().map(|row| row[column].chars().count()).max().unwrap_or(0));
        for row in rows() {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// A duration as people say it.
pub(crate) fn time(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        seconds => format!("{seconds:.2} s"),
    }
}

/// Bytes as people say them.
pub(crate) fn mib(bytes: u64) -> String {
    match bytes as f64 / f64::from(1 << 20) {
        0.0 => "0".to_owned(),
        mib if mib < 10.0 => format!("{mib:.2} MiB"),
        mib => format!("{mib:.0} MiB"),
    }
}
