//! The real binary as a whole process: how fast it starts, what a promotion of a large image costs, beside what
//! people use today in the same run on the same machine.
//!
//! Run `cargo bench --bench whole`. It starts two `docker-registry` on loopback, pushes random images of 1 GiB
//! (`SAMEBITS_BENCH_MIB` says otherwise) and promotes them; `skopeo copy --all --preserve-digests` copies the same
//! image between the same places. It takes up to three minutes and 8 GiB under `target/tmp`, which go away at the
//! end. A peer that is not installed is skipped, aloud. Nothing here fails because of a time: the ratios say
//! something, the seconds depend on the machine. `skopeo` decides nothing, records nothing and leaves signatures
//! behind; the figures of `samebits` are with all of that.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark reports to a person")]

mod image;
mod process;
mod registry;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use samebits::key::PrivateKey;
use samebits::reference::Repository;
use samebits::registry::{HttpConfig, Registries};

use crate::image::Shape;
use crate::process::{Usage, is_installed};
use crate::registry::DockerRegistry;
use crate::table::{Row, Table, mib, time};

/// All of it, pushing included; what has not ended by then is stopped, and said to be.
const TIME: Duration = Duration::from_secs(170);
const TAG: &str = "1.4.2";

fn main() -> anyhow::Result<()> {
    // `cargo test --benches` only wants to know that it starts.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let size = size()? << 20;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("whole-bench");
    // Left behind by a run that was stopped.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let mut bench = Bench {
        size,
        until: Instant::now() + TIME,
        runtime: tokio::runtime::Runtime::new().context("starting the runtime")?,
        table: Table::default(),
    };
    let before = machine();
    let result = bench.run(&folder);
    fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
    println!("\nimages of {}; {before}, then {}", mib(bench.size), load());
    print!("{}", bench.table);
    result
}

/// Bytes of an image, in MiB.
#[allow(clippy::disallowed_methods, reason = "a benchmark takes its size from the environment")]
fn size() -> anyhow::Result<u64> {
    let Some(text) = std::env::var_os("SAMEBITS_BENCH_MIB") else { return Ok(1024) };
    let text = text.to_string_lossy();
    let size = text.parse().ok().filter(|size| (1..=16 << 10).contains(size));
    size.with_context(|| format!("SAMEBITS_BENCH_MIB is `{text}`: expected a number of MiB from 1 to 16384"))
}

/// What the seconds depend on.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
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

struct Bench {
    /// Bytes of every image.
    size: u64,
    until: Instant,
    runtime: tokio::runtime::Runtime,
    table: Table,
}

/// One promotion and the copy it is compared with.
struct Case<'a> {
    name: &'a str,
    environment: &'a str,
    /// What `skopeo` copies from and to.
    peer: (String, String),
    /// The registries that take part.
    registries: &'a [&'a DockerRegistry],
    /// Inside one registry no layer has to move.
    mounts: bool,
}

impl Bench {
    fn run(&mut self, folder: &Path) -> anyhow::Result<()> {
        self.start_up()?;
        self.layouts(&folder.join("layouts"))?;
        self.registries(&folder.join("registries"))
    }

    /// From nothing to the first answer.
    fn start_up(&mut self) -> anyhow::Result<()> {
        const RUNS: usize = 50;
        let null = ["/bin/true", "/usr/bin/true"].into_iter().find(|path| Path::new(path).exists());
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
            let our = once(BINARY, &["--version"])?;
            let other = null.map(|null| once(null, &[])).transpose()?;
            if round > 0 {
                ours.push(our);
                nothing.extend(other);
            }
        }
        let reference = null.map(|null| (null, median(nothing)));
        self.table.row(Row {
            case: "start-up, --version",
            figure: "wall, median of 50",
            ours: time(median(ours)),
            reference: match reference {
                Some((name, median)) => format!("{} {name}", time(median)),
                None => "skipped: no true".to_owned(),
            },
            ratio: None,
            budget: "10 ms",
        });
        Ok(())
    }

    /// From one folder to another: no network, and the same code around it.
    fn layouts(&mut self, folder: &Path) -> anyhow::Result<()> {
        let workspace = Workspace::set(folder, "oci:here", "oci:there")?;
        self.push(&workspace, "ten", Shape::OnePlatform)?;
        let case = Case {
            name: "layout to layout, 10 layers",
            environment: "elsewhere",
            peer: (format!("oci:here/ten:{TAG}"), format!("oci:skopeo/ten:{TAG}")),
            registries: &[],
            mounts: false,
        };
        self.case(&workspace, "ten", &case)?;
        fs::remove_dir_all(folder).context("removing the layouts")
    }

    fn registries(&mut self, folder: &Path) -> anyhow::Result<()> {
        if !is_installed("docker-registry") {
            self.table.say("registries", "skipped: no docker-registry");
            return Ok(());
        }
        let here = DockerRegistry::start(&folder.join("here"))?;
        let there = DockerRegistry::start(&folder.join("there"))?;
        let workspace = Workspace::set(&folder.join("workspace"), here.host(), there.host())?;
        for (service, shape, same, two) in [
            ("ten", Shape::OnePlatform, "same registry, 10 layers", "two registries, 10 layers"),
            ("four", Shape::FourPlatforms, "same registry, 4 platforms", "two registries, 4 platforms"),
        ] {
            self.push(&workspace, service, shape)?;
            // The same registry first: skopeo remembers, as root for the whole machine, where it saw a blob, and
            // with that memory it mounts. A CI job starts without.
            let from = format!("docker://{}/{service}:{TAG}", here.host());
            let to = |host: &str| format!("docker://{host}/skopeo/{service}:{TAG}");
            let same = Case {
                name: same,
                environment: "staging",
                peer: (from.clone(), to(here.host())),
                registries: &[&here],
                mounts: true,
            };
            self.case(&workspace, service, &same)?;
            let two = Case {
                name: two,
                environment: "elsewhere",
                peer: (from, to(there.host())),
                registries: &[&here, &there],
                mounts: false,
            };
            self.case(&workspace, service, &two)?;
        }
        Ok(())
    }

    fn push(&self, workspace: &Workspace, service: &str, shape: Shape) -> anyhow::Result<()> {
        let repository: Repository = format!("{}/{service}", workspace.here).parse()?;
        let tag = TAG.parse()?;
        let registries = Registries::new(HttpConfig::default(), workspace.folder.clone());
        let start = Instant::now();
        let push = image::push(&registries, &repository, &tag, &workspace.key, shape, self.size);
        let image = self.runtime.block_on(push).with_context(|| format!("pushing {repository}"))?;
        eprintln!("pushed {image} in {:.1?}", start.elapsed());
        Ok(())
    }

    fn case(&mut self, workspace: &Workspace, service: &str, case: &Case<'_>) -> anyhow::Result<()> {
        eprintln!("{}: samebits", case.name);
        let decision = workspace.folder.join("decision.json");
        let image = format!("{}/{service}:{TAG}", workspace.here);
        let mut promote = workspace.samebits();
        promote.args(["promote", &image, "--to", case.environment, "--service", service]);
        promote.args(["--key", "keys/release.key", "--output", "json=decision.json"]);
        let Some(ours) = self.measure(promote, case)? else {
            self.table.say(case.name, "stopped: out of time");
            return Ok(());
        };
        let theirs = match is_installed("skopeo") {
            false => Err("skipped: no skopeo"),
            true => {
                eprintln!("{}: skopeo", case.name);
                let copy = workspace.skopeo(&case.peer.0, &case.peer.1);
                self.measure(copy, case)?.ok_or("stopped: out of time")
            }
        };
        self.rows(case, &ours, theirs.as_ref().map_err(|why| *why));
        let text = fs::read_to_string(decision).context("reading the decision")?;
        let decision: serde_json::Value = serde_json::from_str(&text).context("reading the decision")?;
        let copy = &decision["copy"];
        let sent = copy["bytesCopied"].as_u64().context("no bytesCopied in the decision")?;
        self.table.row(Row {
            case: "",
            figure: "blob bytes sent",
            ours: mib(sent),
            reference: format!("{} mounted, {} sent", copy["blobsMounted"], copy["blobsCopied"]),
            ratio: None,
            budget: if case.mounts { "0" } else { "" },
        });
        Ok(())
    }

    /// Runs a process to its end, on a disk that has nothing left to write, and what the registries did meanwhile.
    fn measure(&self, command: Command, case: &Case<'_>) -> anyhow::Result<Option<Measured>> {
        // Best effort: without it the first of two writes on the time of the second.
        let _ = Command::new("sync").status();
        let before: Vec<_> = case.registries.iter().map(|registry| registry.work()).collect();
        let Some(usage) = process::measure(command, self.until)? else { return Ok(None) };
        let (mut requests, mut moved) = (0, Some(0));
        for (registry, before) in case.registries.iter().zip(before) {
            let after = registry.work();
            requests += after.requests - before.requests;
            moved =
                moved.zip(after.moved.zip(before.moved)).map(|(sum, (after, before))| sum + after - before);
        }
        Ok(Some(Measured { usage, requests, moved }))
    }

    fn rows(&mut self, case: &Case<'_>, ours: &Measured, theirs: Result<&Measured, &str>) {
        let mut name = case.name;
        let mut row =
            |figure, budget, of: &dyn Fn(&Measured) -> Option<f64>, show: &dyn Fn(f64) -> String| {
                let unknown = || "unknown: no /proc".to_owned();
                let (our, their) = (of(ours), theirs.map(of));
                self.table.row(Row {
                    case: std::mem::take(&mut name),
                    figure,
                    ours: our.map_or_else(unknown, show),
                    reference: match their {
                        Ok(their) => their.map_or_else(unknown, |their| format!("{} skopeo", show(their))),
                        Err(why) => why.to_owned(),
                    },
                    ratio: our.zip(their.ok().flatten()).map(|(our, their)| our / their),
                    budget,
                });
            };
        let seconds = |seconds: f64| time(Duration::from_secs_f64(seconds));
        let bytes = |bytes: f64| mib(bytes as u64);
        row("wall", "1.0 x skopeo", &|it| Some(it.usage.wall.as_secs_f64()), &seconds);
        row("CPU", "", &|it| it.usage.cpu.map(|cpu| cpu.as_secs_f64()), &seconds);
        row("peak memory", "64 MiB", &|it| it.usage.peak.map(|peak| peak as f64), &bytes);
        if !case.registries.is_empty() {
            row("requests", "", &|it| Some(it.requests as f64), &|count| format!("{count}"));
            row("registries' own I/O", "", &|it| it.moved.map(|moved| moved as f64), &bytes);
        }
    }
}

/// The release binary with the optimisation of this profile.
const BINARY: &str = env!("CARGO_BIN_EXE_samebits");

/// What one run cost, here and at the registries.
struct Measured {
    usage: Usage,
    /// Requests the registries answered.
    requests: usize,
    /// Bytes the registries read and wrote, on sockets and files.
    moved: Option<u64>,
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// A policy, its keys and its ledger, as `samebits init` writes them, with one more service and environment.
struct Workspace {
    folder: PathBuf,
    /// Where the build pushes.
    here: String,
    key: PrivateKey,
}

impl Workspace {
    /// `staging` is beside the source, `elsewhere` is not.
    fn set(folder: &Path, here: &str, there: &str) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let mut init = samebits(folder);
        let output = init.args(["init", "--service", "ten", "--registry", here]).output();
        let output = output.context("running samebits init")?;
        ensure!(output.status.success(), "samebits init: {}", String::from_utf8_lossy(&output.stderr));
        let policy = folder.join("samebits.toml");
        let text = fs::read_to_string(&policy).context("reading the policy")?;
        let more = format!(
            r#"
[services.four]
repository = "{here}/four"

[environments.elsewhere]
entry = true
repository = "{there}/elsewhere/{{service}}"
tag = "elsewhere"
promoters = ["release"]
deployers = ["production"]
[environments.elsewhere.require]
signed-by = "build"
"#
        );
        fs::write(&policy, text + &more).context("writing the policy")?;
        let pem = fs::read_to_string(folder.join("keys/build.key")).context("reading the build's key")?;
        Ok(Self { folder: folder.to_owned(), here: here.to_owned(), key: PrivateKey::from_pem(&pem)? })
    }

    fn samebits(&self) -> Command {
        samebits(&self.folder)
    }

    /// `skopeo` of a fresh job: no login, no registry configuration of whoever runs this.
    fn skopeo(&self, from: &str, to: &str) -> Command {
        let mut command = Command::new("skopeo");
        command.args(["--insecure-policy", "copy", "--quiet", "--all", "--preserve-digests"]);
        command.args(["--src-tls-verify=false", "--dest-tls-verify=false", from, to]);
        command.current_dir(&self.folder).env("HOME", &self.folder);
        command.env("REGISTRY_AUTH_FILE", self.folder.join("auth.json"));
        // `oci:` makes no folders above its own.
        let _ = fs::create_dir_all(self.folder.join("skopeo"));
        command
    }
}

fn samebits(folder: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.current_dir(folder).env("HOME", folder);
    for variable in ["SAMEBITS_KEY", "SAMEBITS_LEDGER_KEY", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE"] {
        command.env_remove(variable);
    }
    command
}
