//! A program that is given so much time and so much room, and then ended with everything that it started.
//!
//! git has no limit of its own on what is fetched (`receive.maxInputSize` is the receiver's of a push; `--filter` leaves
//! out what we need), and none on time but `http.lowSpeedTime`, which a server meets with a byte a second. So what it
//! writes is watched from outside. Never does: count what comes in the first moment, or free what was written.

use std::io::{self, Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most that a program's complaints are read of.
const COMPLAINTS: usize = 64 << 10;
/// How long is waited for the pipes of a program that has ended: what it started may hold them for ever.
const HELD: Duration = Duration::from_secs(1);

/// What a program may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How long it may run.
    pub(super) time: Duration,
    /// By how many bytes the folder may grow meanwhile.
    pub(super) room: u64,
    /// How many bytes it may print, all of which are kept.
    pub(super) output: u64,
    /// How often is looked.
    pub(super) tick: Duration,
}

impl Default for Limits {
    /// Ten minutes and four gigabytes: more than a ledger that belongs on a git branch has. What is read of it at once is
    /// less.
    fn default() -> Self {
        let (time, tick) = (Duration::from_secs(600), Duration::from_millis(500));
        Self { time, room: 4 << 30, output: 512 << 20, tick }
    }
}

/// How it ended.
pub(super) enum Ended {
    /// By itself.
    Alone(Output),
    /// It used up its time.
    TooLong,
    /// It wrote or printed more than so many bytes.
    TooMuch(u64),
}

/// What came through a pipe that is closed now.
enum Heard {
    /// What was printed; `None` where that was too much.
    Stdout(io::Result<Option<Vec<u8>>>),
    Stderr,
}

/// Runs `program` in a process group of its own, with `input` as its input.
///
/// What it started may have left the group and hold the pipes for ever. So each pipe is worked at by a thread that nobody
/// has to wait for.
pub(super) fn run(program: &mut Command, folder: &Path, limits: Limits, input: Vec<u8>) -> io::Result<Ended> {
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(program, 0);
    let mut child = program.spawn()?;
    let complaints = Arc::new(Mutex::new(Vec::new()));
    let heard = listen(&mut child, limits.output, input, &complaints);
    let mut stdout = None;
    let status = match watch(&mut child, folder, limits, &heard, &mut stdout) {
        Ok(Ok(status)) => status,
        over => {
            end(&mut child);
            child.wait()?;
            return over.map(|over| over.err().unwrap_or(Ended::TooLong));
        }
    };
    // What it said before it ended is on its way.
    let until = Instant::now() + HELD;
    while let Ok(next) = heard.recv_timeout(until.saturating_duration_since(Instant::now())) {
        if let Heard::Stdout(read) = next {
            stdout = Some(read);
        }
    }
    // Half of what it printed is no answer; half of what it complained of is.
    let held = || io::Error::other("what git started holds its output open, so that nobody knows its end");
    let Some(stdout) = stdout.ok_or_else(held)?? else { return Ok(Ended::TooMuch(limits.output)) };
    let stderr = complaints.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(Ended::Alone(Output { status, stdout, stderr }))
}

/// Works at the pipes, each elsewhere: git may answer before it has read all of its input.
fn listen(
    child: &mut Child,
    limit: u64,
    input: Vec<u8>,
    complaints: &Arc<Mutex<Vec<u8>>>,
) -> Receiver<Heard> {
    let (say, heard) = channel();
    if let Some(mut pipe) = child.stdin.take() {
        // Where git stops reading it says why.
        std::thread::spawn(move || pipe.write_all(&input));
    }
    if let Some(pipe) = child.stdout.take() {
        let say = say.clone();
        std::thread::spawn(move || {
            let mut all = Vec::new();
            let read = pipe.take(limit.saturating_add(1)).read_to_end(&mut all);
            // Nobody listens any more where it was ended.
            let _ = say.send(Heard::Stdout(read.map(|count| (count as u64 <= limit).then_some(all))));
        });
    }
    if let Some(pipe) = child.stderr.take() {
        let complaints = Arc::clone(complaints);
        std::thread::spawn(move || {
            complain(pipe, &complaints);
            let _ = say.send(Heard::Stderr);
        });
    }
    heard
}

/// Keeps the first complaints. The rest is forgotten: a server that complains without end fills no memory.
fn complain(mut pipe: impl Read, complaints: &Mutex<Vec<u8>>) {
    let mut chunk = [0; 4096];
    loop {
        match pipe.read(&mut chunk) {
            Ok(0) => return,
            Ok(count) => {
                let mut all = complaints.lock().unwrap_or_else(PoisonError::into_inner);
                let left = COMPLAINTS.saturating_sub(all.len());
                all.extend(chunk.iter().take(count.min(left)));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Returns when the program has ended, or what it used up.
fn watch(
    child: &mut Child,
    folder: &Path,
    limits: Limits,
    heard: &Receiver<Heard>,
    stdout: &mut Option<io::Result<Option<Vec<u8>>>>,
) -> io::Result<Result<ExitStatus, Ended>> {
    let begun = Instant::now();
    let mut before = None;
    loop {
        match heard.recv_timeout(limits.tick) {
            Ok(Heard::Stdout(Ok(None))) => return Ok(Err(Ended::TooMuch(limits.output))),
            Ok(Heard::Stdout(read)) => *stdout = Some(read),
            Ok(Heard::Stderr) => {}
            // Nothing more is printed: it is about to end, or hangs.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(Duration::from_millis(1)),
            Err(RecvTimeoutError::Timeout) => {
                let size = size(folder);
                if size.saturating_sub(*before.get_or_insert(size)) > limits.room {
                    return Ok(Err(Ended::TooMuch(limits.room)));
                }
            }
        }
        if let Some(status) = child.try_wait()? {
            return Ok(Ok(status));
        }
        if begun.elapsed() >= limits.time {
            return Ok(Err(Ended::TooLong));
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

    const SHORT: Limits = Limits {
        time: Duration::from_secs(600),
        room: 1 << 20,
        output: 1 << 20,
        tick: Duration::from_millis(5),
    };

    fn shell(folder: &Path, script: &str, limits: Limits) -> Ended {
        let mut program = Command::new("sh");
        program.args(["-c", script]).current_dir(folder);
        run(&mut program, folder, limits, Vec::new()).unwrap()
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
        assert_eq!(output.stderr.len(), COMPLAINTS);
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
        assert!(matches!(shell(folder.path(), script, SHORT), Ended::TooMuch(room) if room == SHORT.room));
        // What was there before does not count.
        assert!(size(folder.path()) > SHORT.room);
        assert!(matches!(shell(folder.path(), "sleep 0.1", SHORT), Ended::Alone(_)));
    }

    #[test]
    fn what_prints_without_end_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { output: 1000, ..SHORT };
        let script = "trap '' PIPE; while :; do echo x || sleep 1000; done";
        assert!(matches!(shell(folder.path(), script, limits), Ended::TooMuch(1000)));
        assert!(matches!(shell(folder.path(), "head -c 1001 /dev/zero", limits), Ended::TooMuch(1000)));
        let ended = shell(folder.path(), "head -c 1000 /dev/zero", limits);
        assert!(matches!(ended, Ended::Alone(output) if output.stdout.len() == 1000));
    }

    /// What it started has left its group, where no signal of ours finds it.
    #[test]
    fn what_ended_or_was_ended_is_not_waited_for_because_of_a_pipe_that_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let held = |holds: &str, then: &str| {
            // The test ends what it leaves behind.
            format!(
                "setsid sh -c 'echo $$ > pid; exec sleep 1000' {holds} & while [ ! -s pid ]; do :; done; {then}"
            )
        };
        let short = Limits { time: Duration::from_millis(300), ..SHORT };
        let run = |script: String, limits| {
            let program = || {
                let mut program = Command::new("sh");
                program.args(["-c", &script]).current_dir(folder.path());
                run(&mut program, folder.path(), limits, Vec::new())
            };
            let ended = program();
            let path = folder.path().join("pid");
            let pid: i32 = std::fs::read_to_string(&path).unwrap().trim().parse().unwrap();
            std::fs::remove_file(path).unwrap();
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            ended
        };
        // 1. Its complaints are held: what it said before it ended is all there.
        let ended = run(held(">/dev/null </dev/null", "echo out; echo err >&2; exit 3"), SHORT).unwrap();
        let Ended::Alone(output) = ended else { panic!("it was ended") };
        assert_eq!(
            (output.status.code(), &output.stdout[..], &output.stderr[..]),
            (Some(3), &b"out\n"[..], &b"err\n"[..])
        );
        // 2. Its output is held: nobody knows whether that was all.
        assert!(run(held("2>/dev/null </dev/null", "echo out"), SHORT).is_err());
        // 3. It hangs, and all its pipes are held.
        assert!(matches!(run(held("", "sleep 1000"), short).unwrap(), Ended::TooLong));
    }
}
