//! The ledger's hot paths from a thousand records to a million, in SQLite: what the gate asks, proofs, the audit, the
//! replay of the control lane, and one durable append.
//!
//! ```text
//! cargo bench --bench ledger              all sizes; the last lines are the figures beside their targets
//! cargo bench --bench ledger -- 1000 10000
//! ```
//!
//! The ledger of a million records is kept in `target/tmp/ledger-bench` (1.2 GB, some minutes the first time), the
//! smaller ones are made anew. What is measured, warm, by the median:
//!
//! - *gate query*: the newest record of a target, by the index, unproved.
//! - *verified gate*: all records of a target, each shown to be in the log: hashed, and proved up to the signed root. Of a
//!   target with 20 records, which is a typical one, and with 100. The signatures of their authors are the gate's
//!   business, and are not in it.
//! - *inclusion proof*: made and checked, with its record read.
//! - *full audit*: every record rehashed, every stored hash and index row recomputed. Without the signatures of the
//!   records' authors, of which a core checks some ten thousand a second; `ledger verify` checks those too (see
//!   `benches/crash`, which says how long that took for how many).
//! - *control replay*: a lane of 1,000 freezes read, its root recomputed, every signature checked.
//! - *durable append*: one record, beside a bare `fdatasync` of the same disk in turn. The ratio only says something
//!   where a flush takes its time: below about 0.2 ms the disk did not flush, and hashing and signing show. Where there
//!   is `strace`, it counts the flushes.
//!
//! Beside the wall clock stands what the thread had of a processor, for machines that others use too: the targets are
//! for the wall clock of one that nobody else does.
//!
//! Last measured on 2026-11-21 on 2 shared vCPU (SHA instructions, ext4 on a virtio disk) at a load of 4: gate query 3.1 us,
//! verified gate 0.45 ms, inclusion proof 84 us, full audit 13.4 s (5.9 s of a CPU), control replay 109 ms (55 ms of a CPU),
//! 1.03 flushes for an append; the disk flushed in 0.14 ms, so that the ratio (3.4) said nothing. 1,120 MB on disk. A target
//! with 100 records takes 8 ms: its pages are more than SQLite keeps in its cache of 2 MB.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark reports to a person"
)]

mod append;
mod control;
mod fill;

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, params};
use samebits::ledger::Ledger;
use samebits::tlog::SignedCheckpoint;

use fill::{Bed, ENVIRONMENT};

const SIZES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// Measured so often each, in turn over the targets.
const ROUNDS: u32 = 400;

/// What was measured at one size.
struct Column {
    size: u64,
    newest: Time,
    typical: Time,
    busy: Time,
    read: Time,
    proof: Time,
    audit: Time,
    append: append::Figures,
    disk: u64,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, folder, count] = &args[..]
        && flag == "--append"
    {
        return append::some(Path::new(folder), count.parse().unwrap());
    }
    // `cargo test --benches` only wants to know that it starts.
    if !args.iter().any(|arg| arg == "--bench") {
        return;
    }
    let asked: Vec<u64> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if asked.is_empty() { SIZES.to_vec() } else { asked };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ledger-bench");
    println!("{}", machine());
    let replay = control::replay(&folder);
    let columns: Vec<Column> = sizes.iter().map(|size| measure(&folder, *size)).collect();
    println!("\n{}\n\n{}", machine(), growth(&columns));
    let flushes = append::flushes(&folder);
    println!("{}", targets(&columns, replay, flushes));
}

/// What the times depend on.
fn machine() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores, load {}", load.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

fn measure(folder: &Path, size: u64) -> Column {
    let mut bed = Bed::open(folder, size);
    let tip = bed.ledger.tip().unwrap();
    let (newest, typical, busy, read, proof) = {
        let ledger = &bed.ledger;
        (
            newest(ledger, &tip),
            gate(ledger, &tip, "typical", 20),
            gate(ledger, &tip, "busy", 100),
            median(ROUNDS, |round| drop(black_box(ledger.read(&tip, far(round) % size).unwrap()))),
            median(ROUNDS, |round| drop(black_box(ledger.proof(&tip, far(round) % size).unwrap()))),
        )
    };
    let audit = once(|| {
        let audit = bed.ledger.verify(fill::read_index).unwrap();
        assert!(audit.is_clean(), "{:?}", audit.findings());
    });
    let append = append::measure(&mut bed);
    let file =
        |more: &str| std::fs::metadata(format!("{}{more}", bed.ledger.place())).map_or(0, |it| it.len());
    let disk = file("") + file("-wal");
    println!("{size} records measured");
    Column { size, newest, typical, busy, read, proof, audit, append, disk }
}

/// Far from the one before it.
fn far(round: u32) -> u64 {
    u64::from(round) * 15_013
}

/// How long something took.
#[derive(Clone, Copy)]
struct Time {
    /// The median.
    wall: Duration,
    /// The mean of what this thread had of a processor: less than `wall` where others have the rest.
    cpu: Duration,
}

/// Of `work`, after a warm-up.
fn median(rounds: u32, mut work: impl FnMut(u32)) -> Time {
    (0..rounds / 4).for_each(&mut work);
    let before = cpu();
    let mut times: Vec<_> = (0..rounds)
        .map(|round| {
            let start = Instant::now();
            work(round);
            start.elapsed()
        })
        .collect();
    Time { cpu: (cpu() - before) / rounds, wall: middle(&mut times) }
}

/// Of `work`, done once.
fn once(work: impl FnOnce()) -> Time {
    let (before, start) = (cpu(), Instant::now());
    work();
    Time { wall: start.elapsed(), cpu: cpu() - before }
}

/// What this thread has had of a processor (proc(5), schedstat: the first field, in nanoseconds); nothing where that is
/// not told.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or_default())
}

fn middle(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn newest(ledger: &Ledger, tip: &SignedCheckpoint) -> Time {
    let raw =
        Connection::open_with_flags(ledger.place().to_string(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let query = "SELECT targets.idx, body FROM targets LEFT JOIN entries ON entries.idx = targets.idx
        WHERE service = ?1 AND environment = ?2 AND targets.idx < ?3 ORDER BY targets.idx DESC LIMIT 1";
    let mut statement = raw.prepare(query).unwrap();
    median(ROUNDS, |round| {
        let service = format!("typical-{}", round % fill::TYPICAL);
        let size = i64::try_from(tip.size()).unwrap();
        let mut rows = statement.query(params![service, ENVIRONMENT, size]).unwrap();
        let row = rows.next().unwrap().unwrap();
        black_box((row.get_ref(0).unwrap(), row.get_ref(1).unwrap()));
    })
}

/// All records of a target, with proofs.
fn gate(ledger: &Ledger, tip: &SignedCheckpoint, name: &str, records: usize) -> Time {
    median(ROUNDS / 2, |round| {
        let service = format!("{name}-{}", if name == "busy" { 0 } else { round % fill::TYPICAL });
        let found = ledger.history(tip, &service, ENVIRONMENT).unwrap();
        assert_eq!(found.len(), records);
        black_box(found);
    })
}

fn growth(columns: &[Column]) -> String {
    let mut text = format!("{:<34}", "records");
    columns.iter().for_each(|column| write!(text, "{:>12}", column.size).unwrap());
    let mut row = |name: &str, cell: &dyn Fn(&Column) -> String| {
        write!(text, "\n{name:<34}").unwrap();
        columns.iter().for_each(|column| write!(text, "{:>12}", cell(column)).unwrap());
    };
    row("gate query, newest record", &|it| time(it.newest.wall));
    row("verified gate, 20 records", &|it| time(it.typical.wall));
    row("verified gate, 100 records", &|it| time(it.busy.wall));
    row("one record with its proof", &|it| time(it.read.wall));
    row("inclusion proof", &|it| time(it.proof.wall));
    row("full audit", &|it| time(it.audit.wall));
    row("durable append, p50", &|it| time(it.append.append));
    row("bare fdatasync, p50", &|it| time(it.append.flush));
    row("ratio", &|it| format!("{:.2}", it.append.ratio()));
    row("size on disk, MB", &|it| format!("{:.1}", it.disk as f64 / 1e6));
    text
}

fn targets(columns: &[Column], replay: Time, flushes: Option<f64>) -> String {
    let mut text = format!("\n{:<50}{:>10}{:>12}{:>12}", "figure", "target", "measured", "of a CPU");
    let mut row = |figure: &str, target: &str, measured: String, cpu: String, said: &str| {
        write!(text, "\n{figure:<50}{target:>10}{measured:>12}{cpu:>12}  {said}").unwrap();
    };
    let met = |met: bool| if met { "ok" } else { "MISS" };
    let mut limit = |figure: &str, measured: Time, micros: u64| {
        let limit = Duration::from_micros(micros);
        let said = match (measured.wall <= limit, measured.cpu <= limit) {
            (true, _) => "ok",
            (false, true) => "MISS, but others had the processor",
            (false, false) => "MISS",
        };
        // What is short is not counted.
        let cpu = if measured.cpu < Duration::from_micros(20) { String::new() } else { time(measured.cpu) };
        row(figure, &time(limit), time(measured.wall), cpu, said);
    };
    limit("control replay of 1,000", replay, 150_000);
    if let Some(last) = columns.last() {
        let mut limit = |figure: &str, measured, micros| {
            limit(&format!("{figure}, {} records", last.size), measured, micros);
        };
        limit("gate query", last.newest, 50);
        limit("verified gate (20 of the target)", last.typical, 1_000);
        limit("inclusion proof", last.proof, 200);
        limit("full audit", last.audit, 15_000_000);
        let (ratio, flush) = (last.append.ratio(), last.append.flush);
        let said = match flush < Duration::from_micros(200) {
            true => "says nothing: the disk did not flush",
            false => met(ratio <= 1.5),
        };
        row("durable append / bare fdatasync", "1.50", format!("{ratio:.2}"), String::new(), said);
    }
    match flushes {
        // WAL is copied into the file once every thousand pages.
        Some(flushes) => {
            row(
                "flushes of a durable append",
                "1",
                format!("{flushes:.2}"),
                String::new(),
                met(flushes < 1.2),
            );
        }
        None => text += "\nflushes of a durable append: not counted, there is no strace",
    }
    text
}

/// A duration as people say it.
fn time(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 1e-3 => format!("{:.1} us", seconds * 1e6),
        seconds if seconds < 1.0 => format!("{:.2} ms", seconds * 1e3),
        seconds => format!("{seconds:.2} s"),
    }
}
