//! The ledger's hot paths at a million records: what the gate asks, and one durable append.
//!
//! Run `cargo bench --bench ledger`. The first run fills `target/tmp/ledger-bench` (about 1.2 GB), later ones reuse
//! it. Targets: the raw gate query (newest record, indexes of a target) takes at most 50 us warm, a durable append at
//! most 1.5 times a bare `fdatasync` of the same disk in the same run (the last lines printed). The ratio only says
//! something where a flush takes its time: below about 0.2 ms the disk did not flush and hashing and signing show.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a benchmark reports to a person and may stop")]

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::{Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::Criterion;
use rusqlite::{Connection, OpenFlags, params};
use samebits::digest::Digest;
use samebits::ledger::seen::{Seen, SeenBy};
use samebits::ledger::{Entry, Index, Ledger};
use samebits::record::Kind;
use samebits::tlog::LogSigner;

const RECORDS: u64 = 1_000_000;
const BATCH: u64 = 10_000;
const SERVICES: u64 = 1_000;
const ENVIRONMENTS: u64 = 10;
const URL: &str = "sqlite:ledger.db";

/// Neighbours in the log are of unrelated targets, as they are when a thousand services are busy.
fn entry(number: u64) -> Entry {
    let target = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let service = format!("service-{}", target % SERVICES);
    let environment = format!("environment-{}", target / SERVICES % ENVIRONMENTS);
    let digest = Digest::of(format!("{service} {}", number / 50_000).as_bytes());
    let mut bytes = format!("{number} {service} {environment} {digest} ").into_bytes();
    // Base64 of a signature and a certificate hardly compresses; its content does not matter here.
    while bytes.len() < 600 {
        bytes.extend(Digest::of(&bytes).hex().into_bytes());
    }
    bytes.truncate(600);
    let index = Index {
        kind: [Kind::Promotion, Kind::Deployment][(number % 2) as usize],
        service,
        environment,
        digest: Some(digest),
        phase: "commit".to_owned(),
        idempotency_key: Some(Digest::of(&number.to_be_bytes()).hex()),
    };
    Entry { bytes, index }
}

fn ledger(folder: &Path) -> Ledger {
    std::fs::create_dir_all(folder).unwrap();
    let key = folder.join("key");
    if !key.exists() {
        let signer = LogSigner::generate("bench.example/ledger".parse().unwrap()).unwrap();
        drop(Ledger::create(URL, folder, &signer).unwrap());
        std::fs::write(&key, signer.to_secret_text()).unwrap();
    }
    let signer: LogSigner = std::fs::read_to_string(key).unwrap().parse().unwrap();
    let mut ledger = Ledger::open(URL, folder, &signer.vkey().clone(), Some(signer)).unwrap();
    let (start, first) = (Instant::now(), ledger.tip().unwrap().size());
    let mut size = first;
    while size < RECORDS {
        let batch: Vec<_> = (size..size + BATCH.min(RECORDS - size)).map(entry).collect();
        size = ledger.append(size, &batch).unwrap().checkpoint.size();
    }
    if first < size {
        eprintln!("filled with {} records in {:.1?}", size - first, start.elapsed());
    }
    ledger
}

fn queries(criterion: &mut Criterion, ledger: &Ledger) {
    let tip = ledger.tip().unwrap();
    let raw =
        Connection::open_with_flags(ledger.place().to_string(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    // The same target each time is warm; 64 of them in turn is a busy gate.
    let targets: Vec<_> = (0..64).map(|n| entry(n * 15_013).index).collect();
    let of_target = "FROM targets LEFT JOIN entries ON entries.idx = targets.idx
        WHERE service = ?1 AND environment = ?2 AND targets.idx < ?3 ORDER BY targets.idx";
    let count = |index: &Index| ledger.history(&tip, &index.service, &index.environment).unwrap().len();
    let sizes: Vec<_> = targets.iter().map(count).collect();
    eprintln!(
        "{} records, {} to {} of each target asked for",
        tip.size(),
        sizes.iter().min().unwrap(),
        sizes.iter().max().unwrap()
    );
    let mut group = criterion.benchmark_group("ledger");
    let mut turn = targets.iter().cycle();
    let mut next = || turn.next().unwrap();

    let indexes = "SELECT idx FROM targets WHERE service = ?1 AND environment = ?2 AND idx < ?3 ORDER BY idx";
    let newest = format!("SELECT targets.idx, body {of_target} DESC LIMIT 1");
    let all = format!("SELECT targets.idx, body {of_target}");
    for (name, query) in [("newest", &newest[..]), ("indexes", indexes), ("all", &all)] {
        let mut statement = raw.prepare(query).unwrap();
        let bodies = statement.column_count() == 2;
        group.bench_function(format!("gate query raw, {name}"), |bencher| {
            bencher.iter(|| {
                let target = next();
                let size = i64::try_from(tip.size()).unwrap();
                let mut rows = statement.query(params![target.service, target.environment, size]).unwrap();
                while let Some(row) = rows.next().unwrap() {
                    black_box(row.get_ref(0).unwrap());
                    if bodies {
                        black_box(row.get_ref(1).unwrap());
                    }
                }
            });
        });
    }
    group.bench_function("gate query with proofs (history)", |bencher| {
        bencher.iter(|| {
            let target = next();
            black_box(ledger.history(&tip, &target.service, &target.environment).unwrap())
        });
    });
    group.bench_function("read one record with proof", |bencher| {
        let mut index = 0;
        bencher.iter(|| {
            index = (index + 15_013) % RECORDS;
            black_box(ledger.read(&tip, index).unwrap())
        });
    });
    group.bench_function("find an idempotency key with proof", |bencher| {
        bencher.iter(|| {
            let key = next().idempotency_key.as_deref().unwrap_or_default();
            black_box(ledger.find_key(&tip, key).unwrap())
        });
    });
    group.bench_function("verified tip", |bencher| bencher.iter(|| black_box(ledger.tip().unwrap())));
    group.bench_function("require at least what was seen", |bencher| {
        let seen = Seen::signed(&tip, SeenBy::Process);
        bencher.iter(|| ledger.require(black_box(&seen)).unwrap());
    });
    group.finish();
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// One append and one bare flush in turn, so that both meet the same disk.
fn append(ledger: &mut Ledger, folder: &Path) {
    const ROUNDS: usize = 500;
    let mut file: File =
        OpenOptions::new().create(true).truncate(true).write(true).open(folder.join("flush")).unwrap();
    file.write_all(&vec![1; 1 << 20]).unwrap();
    file.sync_all().unwrap();
    let (mut flushes, mut appends) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let start = Instant::now();
        file.seek(std::io::SeekFrom::Start(round as u64 % 256 * 4096)).unwrap();
        file.write_all(&[round as u8; 4096]).unwrap();
        file.sync_data().unwrap();
        flushes.push(start.elapsed());

        let size = ledger.tip().unwrap().size();
        let entry = entry(size);
        let start = Instant::now();
        let _ = ledger.append(size, std::slice::from_ref(&entry)).unwrap();
        appends.push(start.elapsed());
    }
    let (flush, append) = (median(&mut flushes), median(&mut appends));
    let p99 = |times: &[Duration]| times[times.len() * 99 / 100];
    eprintln!("fdatasync of 4 KiB: p50 {flush:.2?}, p99 {:.2?}", p99(&flushes));
    eprintln!("durable append:     p50 {append:.2?}, p99 {:.2?}", p99(&appends));
    eprintln!("ratio of the medians: {:.2} (target 1.5)", append.as_secs_f64() / flush.as_secs_f64());
}

fn main() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ledger-bench");
    let mut ledger = ledger(&folder);
    let mut criterion = Criterion::default().sample_size(50).configure_from_args();
    queries(&mut criterion, &ledger);
    append(&mut ledger, &folder);
    criterion.final_summary();
}
