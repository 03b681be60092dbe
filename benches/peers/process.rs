//! One process from start to end: wall, CPU, the most memory it ever had.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// What a process took.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    /// From start to end; may be 1 ms, after the first second 5 ms, too long.
    pub(crate) wall: Duration,
    /// User and system, of all threads and of what it waited for.
    pub(crate) cpu: Duration,
    /// User and system, of the registries it talked to, meanwhile; none without `/proc`.
    pub(crate) served: Duration,
    /// Bytes of resident memory at the most (`VmHWM`); `None` without `/proc`.
    pub(crate) peak: Option<u64>,
}

impl Usage {
    /// The least of each time, the most of the memory.
    pub(crate) fn best(self, other: Self) -> Self {
        Self {
            wall: self.wall.min(other.wall),
            cpu: self.cpu.min(other.cpu),
            served: self.served.min(other.served),
            peak: self.peak.max(other.peak),
        }
    }

    /// No machine of so many cores does the same work in less, whoever waits for whom.
    pub(crate) fn least(self, cores: u32) -> Duration {
        (self.cpu + self.served) / cores
    }
}

/// Whether a program can be run.
pub(crate) fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// Runs a process to its end, which has to be a success; `None` when it was stopped because time was up. Nothing else
/// may be waited for meanwhile: its CPU time would count. `servers` are the processes it talks to.
pub(crate) fn measure(
    mut command: Command,
    until: Instant,
    servers: &[u32],
) -> anyhow::Result<Option<Usage>> {
    let of_servers = || servers.iter().map(|id| cpu_of(*id)).sum::<Duration>();
    let name = command.get_program().to_string_lossy().into_owned();
    let mut said = tempfile::tempfile().context("creating a temporary file")?;
    let second = |file: &File| file.try_clone().context("creating a temporary file");
    command.stdin(Stdio::null()).stdout(second(&said)?).stderr(second(&said)?);
    let (before, served) = (cpu_of_children()?, of_servers());
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| format!("running {name}"))?;
    let mut peak = None;
    let status = loop {
        // `wait4` would say the peak too, but it counts the memory of this process, which it was forked from.
        peak = peak.max(peak_of(&child));
        if let Some(status) = child.try_wait().context("waiting")? {
            break Some(status);
        }
        if Instant::now() > until {
            child.kill().context("stopping")?;
            child.wait().context("waiting")?;
            break None;
        }
        let early = start.elapsed() < Duration::from_secs(1);
        std::thread::sleep(Duration::from_millis(if early { 1 } else { 5 }));
    };
    let wall = start.elapsed();
    let Some(status) = status else { return Ok(None) };
    let cpu = cpu_of_children()?.saturating_sub(before);
    let served = of_servers().saturating_sub(served);
    let mut text = String::new();
    said.rewind().and_then(|()| said.read_to_string(&mut text)).context("reading what it said")?;
    ensure!(status.success(), "{name} ended with {status}:\n{text}");
    Ok(Some(Usage { wall, cpu, served, peak }))
}

/// Of all that were waited for (getrusage(2)), to the microsecond.
fn cpu_of_children() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("getrusage")?;
    let time = |time: TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000);
    Ok(time(usage.user_time()) + time(usage.system_time()))
}

/// Of all threads that a process has (proc(5), `schedstat`: nanoseconds on a processor).
fn cpu_of(process: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let spent = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(spent.sum())
}

fn peak_of(child: &Child) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}
