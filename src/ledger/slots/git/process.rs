//! A program that is given so much time and so much room, and then ended with everything that it started.
//!
//! git has no limit of its own on what is fetched (`receive.maxInputSize` is the receiver's of a push; `--filter` leaves
//! out what we need), and none on time but `http.lowSpeedTime`, which a server meets with a byte a second. So what it
//! writes is watched from outside. Never does: count what comes in the first moment, or free what was written.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// The most that a program's complaints are read of.
const COMPLAINTS: u64 = 64 << 10;

/// What a program may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How long it may run.
    pub(super) time: Duration,
    /// By how many bytes the folder may grow meanwhile.
    pub(super) room: u64,
    /// How often is looked.
    pub(super) tick: Duration,
}

impl Default for Limits {
    /// Ten minutes and four gigabytes: more than a ledger that belongs on a git branch has.
    fn default() -> Self {
        Self { time: Duration::from_secs(600), room: 4 << 30, tick: Duration::from_millis(500) }
    }
}

/// How it ended.
pub(super) enum Ended {
    /// By itself.
    Alone(Output),
    /// It used up its time.
    TooLong,
    /// It used up its room.
    TooMuch,
}

/// Runs `program` in a process group of its own, with what `write` writes as its input.
pub(super) fn run(
    program: &mut Command,
    folder: &Path,
    limits: Limits,
    write: impl FnOnce(&mut ChildStdin) -> io::Result<()> + Send,
) -> io::Result<Ended> {
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(program, 0);
    let mut child = program.spawn()?;
    let (input, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    // Each pipe is worked at elsewhere, for git may answer before it has read all of its input.
    std::thread::scope(|scope| {
        let (open, closed) = channel();
        let also_open = open.clone();
        // Where git stops reading it says why.
        scope.spawn(move || input.map(|mut input| write(&mut input)));
        let stdout = scope.spawn(move || {
            let mut all = Vec::new();
            let read = stdout.map_or(Ok(0), |mut pipe| pipe.read_to_end(&mut all));
            drop::<Sender<()>>(open);
            read.map(|_| all)
        });
        let stderr = scope.spawn(move || {
            let mut all = Vec::new();
            let read = stderr.map_or(Ok(0), |mut pipe| {
                let read = pipe.by_ref().take(COMPLAINTS).read_to_end(&mut all);
                // The rest is forgotten: a server that complains without end fills no memory.
                read.and(io::copy(&mut pipe, &mut io::sink()))
            });
            drop(also_open);
            read.map(|_| all)
        });
        let watched = watch(&mut child, folder, limits, &closed);
        if !matches!(watched, Ok(None)) {
            // Those it started hold the pipes open.
            end(&mut child);
        }
        let status = child.wait()?;
        let (stdout, stderr) = (stdout.join(), stderr.join());
        if let Some(over) = watched? {
            return Ok(over);
        }
        let gone = |_| io::Error::other("what git printed was lost");
        let (stdout, stderr) = (stdout.map_err(gone)??, stderr.map_err(gone)??);
        Ok(Ended::Alone(Output { status, stdout, stderr }))
    })
}

/// Returns when the program has ended, or what it used up.
fn watch(
    child: &mut Child,
    folder: &Path,
    limits: Limits,
    closed: &Receiver<()>,
) -> io::Result<Option<Ended>> {
    let begun = Instant::now();
    let mut before = None;
    loop {
        match closed.recv_timeout(limits.tick) {
            // Nothing more is printed: it is about to end, or hangs.
            Err(RecvTimeoutError::Disconnected) => {
                if child.try_wait()?.is_some() {
                    return Ok(None);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(()) | Err(RecvTimeoutError::Timeout) => {
                let size = size(folder);
                if size.saturating_sub(*before.get_or_insert(size)) > limits.room {
                    return Ok(Some(Ended::TooMuch));
                }
            }
        }
        if begun.elapsed() >= limits.time {
            return Ok(Some(Ended::TooLong));
        }
    }
}

/// How much lies in a folder, as far as it can be seen: files come and go meanwhile.
fn size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(about) if about.is_dir() => size(&entry.path()),
        Ok(about) => about.len(),
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(of).sum()
}

#[cfg(unix)]
fn end(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process_group};
    // It has not been waited for, so that its number is still its own.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
}

#[cfg(not(unix))]
fn end(child: &mut Child) {
    let _ = child.kill();
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    const SHORT: Limits =
        Limits { time: Duration::from_secs(600), room: 1 << 20, tick: Duration::from_millis(5) };

    fn shell(folder: &Path, script: &str, limits: Limits) -> Ended {
        let mut program = Command::new("sh");
        program.args(["-c", script]).current_dir(folder);
        run(&mut program, folder, limits, |_| Ok(())).unwrap()
    }

    #[test]
    fn what_ends_by_itself_says_what_it_said() {
        let folder = tempfile::tempdir().unwrap();
        let ended = shell(folder.path(), "cat; echo out; echo err >&2; exit 3", SHORT);
        let Ended::Alone(output) = ended else { panic!("it was ended") };
        assert_eq!(
            (output.status.code(), &output.stdout[..], &output.stderr[..]),
            (Some(3), &b"out\n"[..], &b"err\n"[..])
        );
        // What it complains of without end is not kept.
        let script = "head -c 1000000 /dev/zero >&2";
        let Ended::Alone(output) = shell(folder.path(), script, SHORT) else { panic!("it was ended") };
        assert_eq!(output.stderr.len() as u64, COMPLAINTS);
    }

    /// Also what it started, which would hold its pipes for ever, and what closes them and stays.
    #[test]
    fn what_hangs_is_ended_with_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { time: Duration::from_millis(100), ..SHORT };
        for script in
            ["sleep 1000 & sleep 1000", "exec >&- 2>&-; sleep 1000", "trap '' TERM; sleep 1000 & wait"]
        {
            assert!(matches!(shell(folder.path(), script, limits), Ended::TooLong), "{script}");
        }
    }

    #[test]
    fn what_writes_without_end_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("pack")).unwrap();
        let script = "while :; do head -c 100000 /dev/zero >> pack/x; done";
        assert!(matches!(shell(folder.path(), script, SHORT), Ended::TooMuch));
        // What was there before does not count.
        assert!(size(folder.path()) > SHORT.room);
        assert!(matches!(shell(folder.path(), "sleep 0.1", SHORT), Ended::Alone(_)));
    }
}
