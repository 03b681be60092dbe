//! A thousand SIGKILLs: processes append to one ledger and are killed at random points; then everything that was
//! acknowledged has to be there once, and the whole audit has to be clean. And many at once: who waits how long.
//!
//! ```text
//! cargo bench --bench crash -- [--kills N] [--seed N] [--store sqlite|file|s3|git|postgres]...
//! cargo bench --bench crash -- --appenders 16 [--seconds N] [--store sqlite|file|postgres]...
//! ```
//!
//! Without `--store` all of them; `--kills` is 1,000 for each, which takes up to a quarter of an hour (git). S3 is moto,
//! which is looked for as in `.ci/run`; PostgreSQL is Debian's. What is not installed is skipped, aloud.
//!
//! Three processes append real records through [`Writer`], each signed and chained to the one before it about its
//! target: deployments, and now and then a freeze in the control lane. Each says on a pipe what it appended, after
//! the append returned. One of them after the other is killed after a random while, and another takes its place, in
//! the same cache; on average it lives for as long as it takes to start and append four records. In PostgreSQL every
//! twentieth kill is one of a backend of the server, every hundredth one of the server. At a quarter, a half, three
//! quarters and the end a process of its own, without a cache, audits the ledger ([`review`]: roots, signatures, chains,
//! what every author saw of both lanes) and lists what is in it. The bench fails where anything acknowledged is lost,
//! anything is there twice, or the audit finds anything. `unacknowledged` were in the log when their author was killed,
//! before it could say so: that is right.
//!
//! Last measured on 2026-11-21 on 2 shared vCPU at a load of 20: 1,003 kills each, none lost, none doubled, no finding:
//!
//! | store | processes that appended | time | acknowledged | in the log |
//! | --- | --- | --- | --- | --- |
//! | sqlite | 543 | 178 s | 4,674 | 4,694 |
//! | file | 274 | 174 s | 1,868 | 2,126 |
//! | postgres | 483 | 367 s | 4,800 | 4,981 |
//! | s3 | 256 | 321 s | 577 | 785 |
//!
//! and, on a quiet machine with combining, s3 303 kills in 127 s, 1,011 acknowledged, 1,108 in the log, and git 203 kills
//! in 315 s, 467 acknowledged, 515 in the log: three who contend for a branch are slow, a thousand kills take 26 minutes.
//!
//! Many at once are sixteen processes, each with targets of its own choosing, all of them appending without a pause.
//! Here an append that gives up is starvation, and fails the bench as well. Last measured at a load of 12 to 17, for 20 s
//! each, none lost, none doubled, no append given up:
//!
//! | store | appends/s | p50 | p99 | longest wait |
//! | --- | --- | --- | --- | --- |
//! | sqlite | 139 | 8.4 ms | 2.0 s | 4.8 s (busy limit 30 s) |
//! | file | 83 | 173 ms | 447 ms | 0.75 s |
//! | postgres | 83 | 21 ms | 2.2 s | 6.3 s |
//!
//! [`Writer`]: samebits::ledger::protocol::Writer
//! [`review`]: samebits::ledger::review::review

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, clippy::exit)]
#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and the environment, and may stop"
)]

mod appender;
mod count;
mod load;
mod store;

#[path = "../../tests/support/peer.rs"]
#[allow(dead_code, reason = "no skopeo here")]
mod peer;
#[path = "../../tests/support/postgres.rs"]
#[allow(dead_code, reason = "shared with tests")]
mod postgres;
#[path = "../../tests/support/s3.rs"]
#[allow(dead_code, reason = "shared with tests")]
mod s3;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use count::Tally;
use load::{Child, Random, Until};
use store::{Kind, Store};

/// How many append at once while they are killed.
const WRITERS: usize = 3;

struct Options {
    kills: u64,
    seed: u64,
    stores: Vec<Kind>,
    /// Nobody is killed; so many append for so long.
    appenders: Option<usize>,
    time: Duration,
}

impl Options {
    fn parse(args: &[String]) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let mut options = Self {
            kills: 1000,
            seed: u64::from(now.subsec_nanos()),
            stores: Vec::new(),
            appenders: None,
            time: Duration::from_secs(20),
        };
        let mut args = args.iter().filter(|arg| *arg != "--bench");
        while let Some(arg) = args.next() {
            let mut value = || args.next().unwrap_or_else(|| panic!("{arg} takes a value")).as_str();
            match arg.as_str() {
                "--kills" => options.kills = value().parse().unwrap(),
                "--seed" => options.seed = value().parse().unwrap(),
                "--store" => options.stores.push(Kind::named(value())),
                "--appenders" => options.appenders = Some(value().parse().unwrap()),
                "--seconds" => options.time = Duration::from_secs(value().parse().unwrap()),
                other => panic!("{other}: expected --kills, --seed, --store, --appenders or --seconds"),
            }
        }
        if options.stores.is_empty() {
            options.stores = match options.appenders {
                None => Kind::ALL.to_vec(),
                Some(_) => vec![Kind::Sqlite, Kind::File, Kind::Postgres],
            };
        }
        options
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, verb, rest @ ..] = &args[..]
        && flag == "--as"
    {
        appender::run(verb, rest);
        return ExitCode::SUCCESS;
    }
    // `cargo test --benches` only wants to know that it starts.
    if !args.iter().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    let options = Options::parse(&args);
    println!("seed {}, {}", options.seed, machine());
    let mut good = true;
    let mut tables = Vec::new();
    for kind in &options.stores {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("crash-{}", kind.name()));
        // Left behind by a run that was stopped.
        let _ = std::fs::remove_dir_all(&folder);
        let Some(mut store) = Store::start(*kind, &folder) else {
            println!("{}: skipped, not installed", kind.name());
            continue;
        };
        let tally = match options.appenders {
            None => kill(&mut store, &options),
            Some(many) => at_once(&mut store, many, options.time),
        };
        good &= tally.is_good();
        tables.push(tally.row(options.appenders.is_some()));
        println!("{}", tables.last().unwrap());
        if tally.is_good() {
            drop(store);
            std::fs::remove_dir_all(&folder).unwrap();
        }
    }
    println!("\n{}\n{}", machine(), Tally::head(options.appenders.is_some()));
    tables.iter().for_each(|row| println!("{row}"));
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the times depend on.
fn machine() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores, load {}", load.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// Kills one after the other, until there were enough.
fn kill(store: &mut Store, options: &Options) -> Tally {
    let mut random = Random(options.seed ^ store.kind as u64);
    let (began, mut tally) = (Instant::now(), Tally::new(store.kind.name()));
    let mut lives = 0;
    let mut spawn = |store: &Store| {
        lives += 1;
        Child::append(store, &format!("{}-{lives}", options.seed), Until::Killed)
    };
    // How long a process takes to start and append a little, all of them at once: so long they live, on average.
    let first: Vec<Child> = (0..WRITERS)
        .map(|number| Child::append(store, &format!("first-{number}"), Until::Appended(4)))
        .collect();
    first.into_iter().for_each(|child| tally.add(child.finish()));
    let life = u64::try_from(began.elapsed().as_micros()).unwrap();
    println!("  {}: a life is {:.0?}", store.kind.name(), began.elapsed());
    let mut children: Vec<Child> = (0..WRITERS).map(|_| spawn(store)).collect();
    let quarter = options.kills.div_ceil(4);
    while tally.kills < options.kills {
        std::thread::sleep(Duration::from_micros(random.below(2 * life / WRITERS as u64)));
        tally.kills += 1;
        if !store.kill_server(tally.kills, &mut random) {
            let victim = &mut children[usize::try_from(random.below(WRITERS as u64)).unwrap()];
            tally.add(std::mem::replace(victim, spawn(store)).kill());
        }
        if tally.kills % quarter == 0 || tally.kills == options.kills {
            for child in children.drain(..) {
                tally.kills += 1;
                tally.add(child.kill());
            }
            tally.compare(store);
            tally.time = began.elapsed();
            println!("{}", tally.row(false));
            if !tally.is_good() {
                break;
            }
            if tally.kills < options.kills {
                children = (0..WRITERS).map(|_| spawn(store)).collect();
            }
        }
    }
    for child in children {
        tally.kills += 1;
        tally.add(child.kill());
    }
    tally.compare(store);
    tally.time = began.elapsed();
    tally
}

/// Many at once, to the end.
fn at_once(store: &mut Store, many: usize, time: Duration) -> Tally {
    let mut tally = Tally::new(store.kind.name());
    let began = Instant::now();
    let children: Vec<_> =
        (0..many).map(|number| Child::append(store, &number.to_string(), Until::Passed(time))).collect();
    children.into_iter().for_each(|child| tally.add(child.finish()));
    tally.time = began.elapsed();
    tally.compare(store);
    tally
}
