//! One process from start to end: wall, CPU, the most memory it ever had.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

/// What a process took.
pub(crate) struct Usage {
    /// From start to end; may be 1 ms, after the first second 5 ms, too long.
    pub(crate) wall: Duration,
    /// User and system, of all threads, in steps of 10 ms; `None` without `/proc`.
    pub(crate) cpu: Option<Duration>,
    /// Bytes of resident memory at the most (`VmHWM`); `None` without `/proc`.
    pub(crate) peak: Option<u64>,
}

/// Whether a program can be run.
pub(crate) fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// Runs a process to its end, which has to be a success; `None` when it was stopped because time was up.
pub(crate) fn measure(mut command: Command, until: Instant) -> anyhow::Result<Option<Usage>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut said = tempfile::tempfile().context("creating a temporary file")?;
    let second = |file: &File| file.try_clone().context("creating a temporary file");
    command.stdin(Stdio::null()).stdout(second(&said)?).stderr(second(&said)?);
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| format!("running {name}"))?;
    let (mut cpu, mut peak) = (None, None);
    let ended = loop {
        // `wait4` would say the peak too, but it counts the memory of this process, which it was forked from.
        peak = peak.max(peak_of(&child));
        match stat_of(&child) {
            // Ended and not yet waited for: its CPU time is whole.
            Some(stat) if stat.ended => {
                cpu = Some(stat.cpu);
                break true;
            }
            Some(_) => {}
            None if child.try_wait().context("waiting")?.is_some() => break true,
            None => {}
        }
        if Instant::now() > until {
            child.kill().context("stopping")?;
            break false;
        }
        let early = start.elapsed() < Duration::from_secs(1);
        std::thread::sleep(Duration::from_millis(if early { 1 } else { 5 }));
    };
    let wall = start.elapsed();
    let status = child.wait().context("waiting")?;
    if !ended {
        return Ok(None);
    }
    let mut text = String::new();
    said.rewind().and_then(|()| said.read_to_string(&mut text)).context("reading what it said")?;
    ensure!(status.success(), "{name} ended with {status}:\n{text}");
    Ok(Some(Usage { wall, cpu, peak }))
}

struct Stat {
    ended: bool,
    cpu: Duration,
}

/// `/proc/PID/stat` (proc(5)): state, `utime` and `stime` are fields 3, 14 and 15; the name before them may hold
/// anything. Ticks are 10 ms on every Linux that people run.
fn stat_of(child: &Child) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat { ended: *fields.first()? == "Z", cpu: Duration::from_millis(10 * (ticks(14)? + ticks(15)?)) })
}

fn peak_of(child: &Child) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}
