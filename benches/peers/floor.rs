//! The floor: the same number of bytes read, hashed by what hashes in samebits, and written, by a process that does
//! nothing else. No HTTP, no JSON, one thread. It is this program once more, with other arguments.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use samebits::digest::Hasher;

use crate::process::{self, Usage};
use crate::tools::alone;

/// The first argument of the process that does it.
pub(crate) const ARGUMENT: &str = "read-hash-write";
/// What is read at once: no larger one was faster.
const BUFFER: usize = 256 << 10;

/// One end of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End<'a> {
    /// A loopback connection, as to a registry.
    Wire,
    /// Files of a folder, or a file that is not there yet.
    Disk(&'a Path),
}

/// What stands ready for the process to read from and write to.
pub(crate) struct Floor {
    command: Command,
    helpers: Vec<JoinHandle<io::Result<u64>>>,
}

impl Floor {
    pub(crate) fn prepare(home: &Path, from: End<'_>, to: End<'_>, size: u64) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("finding this program")?;
        let mut floor = Self { command: alone(&program.to_string_lossy(), home), helpers: Vec::new() };
        floor.command.arg(ARGUMENT);
        floor.end(from, move |mut stream| io::copy(&mut io::repeat(7).take(size), &mut stream))?;
        floor.end(to, |mut stream| {
            let (mut buffer, mut total) = (vec![0; BUFFER], 0);
            loop {
                match stream.read(&mut buffer)? {
                    0 => return Ok(total),
                    count => total += count as u64,
                }
            }
        })?;
        Ok(floor)
    }

    fn end(
        &mut self,
        end: End<'_>,
        other: impl FnOnce(TcpStream) -> io::Result<u64> + Send + 'static,
    ) -> anyhow::Result<()> {
        match end {
            End::Disk(path) => {
                self.command.arg("disk").arg(path);
            }
            End::Wire => {
                let listener = TcpListener::bind("127.0.0.1:0").context("binding")?;
                self.command.arg("wire").arg(listener.local_addr().context("binding")?.to_string());
                self.helpers.push(thread::spawn(move || other(listener.accept()?.0)));
            }
        }
        Ok(())
    }

    /// Runs the process to its end; `None` when time is up.
    pub(crate) fn measure(self, until: Instant) -> anyhow::Result<Option<Usage>> {
        let usage = process::measure(self.command, until, &[])?;
        for helper in self.helpers {
            let Ok(done) = helper.join() else { bail!("the other end panicked") };
            ensure!(done.context("the other end")? > 0, "nothing was passed");
        }
        Ok(usage)
    }
}

/// What that process does, by its arguments: `disk PATH` or `wire ADDRESS`, twice.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let [from, from_where, to, to_where] = arguments else { bail!("four arguments are wanted") };
    let mut write: Box<dyn Write> = match to.as_str() {
        "disk" => Box::new(File::create(to_where).context("creating")?),
        _ => Box::new(TcpStream::connect(to_where).context("connecting")?),
    };
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; BUFFER];
    let mut pass = |mut read: Box<dyn Read>| -> anyhow::Result<()> {
        loop {
            let count = read.read(&mut buffer).context("reading")?;
            if count == 0 {
                return Ok(());
            }
            hasher.update(&buffer[..count]);
            write.write_all(&buffer[..count]).context("writing")?;
        }
    };
    match from.as_str() {
        "disk" => {
            for entry in fs::read_dir(from_where).context("listing")? {
                pass(Box::new(File::open(entry.context("listing")?.path()).context("opening")?))?;
            }
        }
        _ => pass(Box::new(TcpStream::connect(from_where).context("connecting")?))?,
    }
    ensure!(hasher.finish().as_bytes() != &[0; 32], "no digest");
    Ok(())
}
