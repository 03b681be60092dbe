//! The real binary beside what people use today, in one run on one machine: how fast it starts, the whole gate, and
//! copying an image with everything that refers to it.
//!
//! Run `cargo bench --bench peers`, or `cargo bench --bench peers -- gate across` for what has one of these words in
//! its name. The peers are found on the `PATH`; `.ci/run` builds them into `~/.cache/samebits-ci/*/bin`, each at its
//! version. One that is missing is skipped, aloud. It takes some minutes, ten at the most, and up to 8 GiB under
//! `target/tmp`, which go away at the end. Nothing here fails because of a time: ratios say something, seconds depend
//! on the machine.
//!
//! - **The gate**: `samebits promote` beside `crane digest`, `cosign verify`, `cosign verify-attestation` and `crane
//!   cp`, of an image that cosign signed with a key; promoted before, copied before, or neither.
//! - **The copy**: an index of four platforms with ten layers, 1 GiB together (`SAMEBITS_BENCH_MIB` says otherwise;
//!   at most 32 MiB in olareg), and twenty referrers. Like is set beside like: `samebits copy` beside `oras cp -r`
//!   and `regctl image copy --referrers`, and with `--no-referrers` beside `crane cp` and `skopeo copy --all`, which
//!   leave referrers behind. Afterwards the root is at the destination by its own digest, or the tool has failed, and
//!   the referrers are counted.
//! - **The floor**: the same bytes read, hashed by the same code and written, by a process that does nothing else.
//!
//! Wall and CPU are the best of up to five rounds, in turns, of a process that talks to the registry itself; each
//! begins without a home, a cache or a destination. Requests and bytes are of one round more, through a proxy that
//! counts (`counter.rs`). "registry" is the CPU that the registries took meanwhile, "least" both together through the
//! number of cores: on this machine nobody who asks the same of them can be faster than that. Depth is the longest chain of requests of which each began after the one before had been
//! answered.
//!
//! Measured on two quiet cores with SHA extensions, by `SAMEBITS_BENCH_MIB=64 cargo bench --bench peers -- gate
//! mount` (the line about nothing to do earlier; the last three by 1024, in one or two rounds): samebits, then of those that
//! do as much the one with the fewest requests; wall and least beside the fastest of them.
//!
//! | Case | Requests | Wall | Least |
//! | --- | --- | --- | --- |
//! | the gate, promoted before, docker-registry / olareg | 12 : 32 / 11 : 28 | 0.19 / 0.16 | 0.21 / 0.15 |
//! | the gate, its bytes there, never promoted | 40 : 35 / 37 : 31 | 0.78 / 0.26 | 0.68 / 0.24 |
//! | mount with 20 referrers | 118 : 211 / 126 : 170 | 0.61 / 0.60 | 0.49 / 0.67 |
//! | mount, image alone | 32 : 46 / 32 : 46 | 0.86 / 0.82 | 0.84 / 0.84 |
//! | mount with 20 referrers, 20 ms | 118 : 211 / 128 : 170 | 0.29 / 0.40 | 0.44 / 0.37 |
//! | mount, image alone, 20 ms | 32 : 46 / 32 : 46 | 0.32 / 0.30 | 0.63 / 0.57 |
//! | nothing to do, with 20 referrers, olareg | 44 : 49 | 0.52 | |
//! | from one docker-registry to another | 223 : 280 | 1.02, CPU 1.09 of the floor, 39 MiB | 0.99 |
//! | all of it from docker-registry to a layout | 69 : 87 | 1.74, CPU 2.12 of the floor, 43 MiB | 1.77 |
//! | all of it from a layout to docker-registry | 154 : 195 | 1.19, CPU 1.29 of the floor, 37 MiB | 1.20 |
//!
//! No copy can make fewer requests than these: of the image alone 5 manifests are read, written and read back and 14 blobs
//! mounted, 29 (crane, which reads nothing back: 46); with referrers 25 manifests are read, asked about and written and 35
//! blobs mounted, 110 before anything is read back (regctl beside an API: 170). Both share the registry's own work, most
//! of it for mounts, which nobody saves: olareg copies the bytes.
//!
//! Beside whom: of the peers skopeo alone writes a layout to disk before it says that it is done (0.98 of its wall, and
//! it leaves referrers behind), and oras and crane hash nothing of what they read from a layout. Neither does the floor
//! wait for the disk. What the page cache costs differs from run to run by more than all the rest on machines whose
//! memory the host takes back: compare runs in turns, and the best of many.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark reports to a person")]

mod copy;
mod counter;
mod floor;
mod gate;
mod image;
mod process;
mod registry;
mod table;
mod tools;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::copy::{Case, Measured, World};
use crate::gate::{Compared, Gate};
use crate::process::is_installed;
use crate::registry::Maker;
use crate::table::{Table, mib, ratio, time};
use crate::tools::Tool;

/// All of it, pushing included; what has not ended by then is stopped, and said to be.
const TIME: Duration = Duration::from_secs(600);

fn main() -> anyhow::Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == floor::ARGUMENT) {
        return floor::run(&arguments[1..]);
    }
    // `cargo test --benches` only wants to know that it starts.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(());
    }
    arguments.retain(|argument| !argument.starts_with("--"));
    let size = size()? << 20;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers-bench");
    // Left behind by a run that was stopped.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let before = machine();
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|word| name.contains(word));
    let result = run(&folder, size, &wanted);
    fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
    println!("\nimage of {}; {before}, then {}", mib(size), load());
    result
}

fn run(folder: &Path, size: u64, wanted: &dyn Fn(&str) -> bool) -> anyhow::Result<()> {
    let until = Instant::now() + TIME;
    if wanted("start-up") {
        start_up()?;
    }
    gates(folder, wanted, until)?;
    copies(folder, size, wanted, until)
}

fn gates(folder: &Path, wanted: &dyn Fn(&str) -> bool, until: Instant) -> anyhow::Result<()> {
    let mut gates: Vec<Gate> = Gate::all().into_iter().filter(|gate| wanted(&gate.name())).collect();
    if gates.is_empty() || !["crane", "cosign"].map(has).into_iter().all(|has| has) {
        return Ok(());
    }
    let makers = Maker::ALL.into_iter().filter(|maker| has(maker.program())).collect::<Vec<_>>();
    gates.retain(|gate| makers.contains(&gate.maker));
    println!(
        "\nthe whole gate: samebits promote beside crane digest, cosign verify, cosign verify-attestation, crane cp"
    );
    println!("  goal: wall at most 0.20, at most 12 requests");
    for gate in gates {
        println!("\n{}", gate.name());
        let folder = folder.join("gate");
        match gate::compare(gate, &folder, until) {
            Ok(Some(compared)) => report_gate(&compared),
            Ok(None) => println!("  stopped, out of time"),
            Err(error) => println!("  failed: {error:#}"),
        }
        fs::remove_dir_all(&folder).context("removing a gate")?;
    }
    Ok(())
}

fn report_gate(compared: &Compared) {
    let mut table = Table::new(&["", "wall", "CPU", "registry", "least", "requests", "depth"]);
    let ways = [("samebits", &compared.ours), ("pipeline", &compared.theirs)];
    for (name, it) in ways {
        let counts = [it.log.requests(), it.log.depth()].map(|count| count.to_string());
        let times = [it.usage.wall, it.usage.cpu, it.usage.served, it.usage.least(cores())].map(time);
        table.row(std::iter::once(name.to_owned()).chain(times).chain(counts));
    }
    let figures = |it: &gate::Measured| {
        let (requests, depth) = (it.log.requests() as f64, it.log.depth() as f64);
        let usage = it.usage;
        let times = [usage.wall, usage.cpu, usage.served, usage.least(cores())].map(|it| it.as_secs_f64());
        times.into_iter().chain([requests, depth])
    };
    let pairs = figures(&compared.ours).zip(figures(&compared.theirs));
    table.row(std::iter::once("ratio".to_owned()).chain(pairs.map(|(our, their)| ratio(our, their))));
    print!("{table}");
    for (name, it) in ways {
        println!("  {name} asks: {}", it.log.kinds());
    }
}

fn copies(folder: &Path, size: u64, wanted: &dyn Fn(&str) -> bool, until: Instant) -> anyhow::Result<()> {
    let mut cases: Vec<Case> = Case::ALL.into_iter().filter(|case| wanted(&case.name())).collect();
    if cases.is_empty() {
        return Ok(());
    }
    let mut makers = Maker::ALL.to_vec();
    makers.retain(|maker| cases.iter().any(|case| case.maker() == *maker) && has(maker.program()));
    cases.retain(|case| makers.contains(&case.maker()));
    let tools: Vec<Tool> = Tool::ALL.into_iter().filter(|tool| has(tool.program())).collect();
    let mut world = World::set(folder, size, &makers, until)?;
    for case in cases {
        println!("\n{}\n  goal: {}", case.name(), case.goal());
        let measured = world.measure(case, &tools);
        let floor = world.floor(case)?;
        report(&measured, floor, world.image(case).attached.len());
    }
    Ok(())
}

/// Whether a program can be run; said where it cannot.
fn has(program: &str) -> bool {
    let has = is_installed(program);
    if !has {
        println!("skipped: {program} is not installed");
    }
    has
}

/// What a ratio is printed of, in the order of the columns.
const FIGURES: [fn(&Measured) -> f64; 9] = [
    |it| it.usage.wall.as_secs_f64(),
    |it| it.usage.cpu.as_secs_f64(),
    |it| it.usage.served.as_secs_f64(),
    |it| it.usage.least(cores()).as_secs_f64(),
    |it| it.usage.peak.unwrap_or(0) as f64,
    |it| it.log.down as f64,
    |it| it.log.up as f64,
    |it| it.log.requests() as f64,
    |it| it.log.depth() as f64,
];

fn report(measured: &[(Tool, Measured)], floor: Option<process::Usage>, all: usize) {
    let mut table = Table::new(&[
        "",
        "wall",
        "CPU",
        "registry",
        "least",
        "memory",
        "down",
        "up",
        "requests",
        "depth",
        "referrers",
        "rounds",
    ]);
    let memory = |usage: &process::Usage| usage.peak.map_or("unknown".to_owned(), mib);
    for (tool, it) in measured {
        table.row([
            tool.name().to_owned(),
            time(it.usage.wall),
            time(it.usage.cpu),
            time(it.usage.served),
            time(it.usage.least(cores())),
            memory(&it.usage),
            mib(it.log.down),
            mib(it.log.up),
            it.log.requests().to_string(),
            it.log.depth().to_string(),
            format!("{} of {all}", it.referrers),
            it.rounds.to_string(),
        ]);
    }
    // Like with like: who takes referrers along beside who does, and the image alone beside who takes that alone.
    for (ours, what) in [(Tool::Samebits, "with referrers"), (Tool::SamebitsAlone, "image alone")] {
        // Where every byte is moved, what refers to the image is next to nothing of it.
        let find = |wanted: Tool| measured.iter().find(|(tool, _)| *tool == wanted);
        let Some((_, ours)) = find(ours).or_else(|| find(Tool::Samebits)) else { continue };
        let peers = || {
            let alike = |tool: &Tool| !tool.is_ours() && tool.takes_referrers() == (what == "with referrers");
            measured.iter().filter(move |(tool, _)| alike(tool))
        };
        let Some((fastest, _)) = peers().min_by_key(|(_, it)| it.usage.wall) else { continue };
        let ratios = FIGURES.map(|of| {
            let theirs = peers().map(|(_, it)| of(it)).fold(f64::INFINITY, f64::min);
            ratio(of(ours), theirs)
        });
        table.row(std::iter::once(format!("{what}: through the best peer")).chain(ratios));
        let Some((_, theirs)) = find(*fastest) else { continue };
        let ratios = FIGURES.map(|of| ratio(of(ours), of(theirs)));
        table.row(std::iter::once(format!("{what}: through the fastest, {}", fastest.name())).chain(ratios));
    }
    let ours = measured.iter().find(|(tool, _)| *tool == Tool::Samebits);
    if let (Some(floor), Some((_, ours))) = (floor, ours) {
        let nobody = String::new;
        let times = [time(floor.wall), time(floor.cpu), nobody(), nobody(), memory(&floor)];
        table.row(std::iter::once("read, hash, write".to_owned()).chain(times));
        let [wall, cpu] = [
            ratio(ours.usage.wall.as_secs_f64(), floor.wall.as_secs_f64()),
            ratio(ours.usage.cpu.as_secs_f64(), floor.cpu.as_secs_f64()),
        ];
        table.row(["through that floor".to_owned(), wall, cpu]);
    }
    print!("{table}");
    for (tool, it) in measured {
        println!("  {} asks: {}", tool.name(), it.log.kinds());
    }
}

/// From nothing to the first answer.
fn start_up() -> anyhow::Result<()> {
    const RUNS: usize = 50;
    let once = |program: &str, arguments: &[&str]| -> anyhow::Result<Duration> {
        let start = Instant::now();
        let mut command = Command::new(program);
        let status = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).status();
        ensure!(status.with_context(|| format!("running {program}"))?.success(), "{program} failed");
        Ok(start.elapsed())
    };
    let (mut ours, mut nothing) = (Vec::new(), Vec::new());
    // The first round warms up.
    for round in 0..=RUNS {
        let our = once(Tool::Samebits.program(), &["--version"])?;
        let other = once("true", &[])?;
        if round > 0 {
            ours.push(our);
            nothing.push(other);
        }
    }
    println!("start-up: samebits --version, median of {RUNS}");
    println!("  {} beside {} of true; budget 10 ms", time(median(ours)), time(median(nothing)));
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Bytes of an image, in MiB.
#[allow(clippy::disallowed_methods, reason = "a benchmark takes its size from the environment")]
fn size() -> anyhow::Result<u64> {
    let Some(text) = std::env::var_os("SAMEBITS_BENCH_MIB") else { return Ok(1024) };
    let text = text.to_string_lossy();
    let size = text.parse().ok().filter(|size| (1..=16 << 10).contains(size));
    size.with_context(|| format!("SAMEBITS_BENCH_MIB is `{text}`: expected a number of MiB from 1 to 16384"))
}

fn cores() -> u32 {
    let cores = std::thread::available_parallelism().ok().and_then(|cores| u32::try_from(cores.get()).ok());
    cores.unwrap_or(1)
}

/// What the seconds depend on.
fn machine() -> String {
    let cores = cores();
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let sha = match processor.split_ascii_whitespace().any(|flag| flag == "sha_ni" || flag == "sha2") {
        true => "with",
        false => "without",
    };
    format!("{cores} cores {sha} SHA instructions, load {}", load())
}

fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().filter(|load| !load.is_empty()).unwrap_or("unknown").to_owned()
}
