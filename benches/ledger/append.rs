//! One durable append, beside what it cannot do without.

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::fill::{Bed, open};
use crate::middle;

const ROUNDS: usize = 300;

/// Medians.
pub(crate) struct Figures {
    pub(crate) append: Duration,
    /// Of 4 KiB.
    pub(crate) flush: Duration,
}

impl Figures {
    pub(crate) fn ratio(&self) -> f64 {
        self.append.as_secs_f64() / self.flush.as_secs_f64()
    }
}

/// One append and one bare flush in turn, so that both meet the same disk.
pub(crate) fn measure(bed: &mut Bed) -> Figures {
    let path = bed.folder.join("flush");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path).unwrap();
    file.write_all(&vec![1; 1 << 20]).unwrap();
    file.sync_all().unwrap();
    let (mut flushes, mut appends) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let start = Instant::now();
        file.seek(SeekFrom::Start(round as u64 % 256 * 4096)).unwrap();
        file.write_all(&[round as u8; 4096]).unwrap();
        file.sync_data().unwrap();
        flushes.push(start.elapsed());
        let size = bed.ledger.tip().unwrap().size();
        let entry = bed.entry(size);
        let start = Instant::now();
        let _ = bed.ledger.append(size, std::slice::from_ref(&entry)).unwrap();
        appends.push(start.elapsed());
    }
    Figures { append: middle(&mut appends), flush: middle(&mut flushes) }
}

/// `count` appends to the ledger in a folder: what `strace` watches.
pub(crate) fn some(folder: &Path, count: u64) {
    let mut ledger = open(folder);
    let first = ledger.tip().unwrap().size();
    for number in first..first + count {
        let bytes =
            format!("{number} service environment {} x", samebits::digest::Digest::of(b"")).into_bytes();
        let index = crate::fill::read_index(number, &bytes).unwrap();
        let _ = ledger.append(number, &[samebits::ledger::Entry { index, bytes }]).unwrap();
    }
}

/// How often one append flushes: the difference between many appends and few, for opening and closing flush too. `None`
/// without `strace`.
pub(crate) fn flushes(folder: &Path) -> Option<f64> {
    let (folder, counted) = (folder.join("flushes"), folder.join("strace"));
    let _ = std::fs::remove_dir_all(&folder);
    let count = |appends: u64| {
        let mut command = Command::new("strace");
        command.args(["-f", "-e", "trace=fsync,fdatasync,sync_file_range,msync", "-o"]).arg(&counted);
        command.arg(std::env::current_exe().unwrap()).arg("--append").arg(&folder).arg(appends.to_string());
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
        let calls = std::fs::read_to_string(&counted).ok().filter(|_| status.success())?;
        Some(calls.lines().filter(|line| line.contains("sync") && line.contains(" = 0")).count() as f64)
    };
    // Made, so that neither run makes it.
    count(1)?;
    let (few, many) = (count(50)?, count(450)?);
    Some((many - few) / 400.0)
}
