//! The processes that append, from the side of whoever kills them.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::store::Store;

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014): the same seed, the same run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit.max(1)
    }
}

/// A record that was said to be in the log.
#[derive(Clone, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) control: bool,
    pub(crate) index: u64,
    pub(crate) key: String,
    /// From the call to its return.
    pub(crate) wait: Duration,
}

/// All that one process said.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// Appends that ended in an error: not known to be in the log.
    pub(crate) errors: Vec<String>,
}

/// When a process ends by itself.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    Killed,
    /// After so many appends.
    Appended(u64),
    /// When so much time has passed.
    Passed(Duration),
}

/// A process that appends.
pub(crate) struct Child {
    process: std::process::Child,
    reader: JoinHandle<Said>,
}

impl Child {
    /// Starts one.
    pub(crate) fn append(store: &Store, seed: &str, until: Until) -> Self {
        let (appends, seconds) = match until {
            Until::Killed => (u64::MAX, u64::MAX),
            Until::Appended(appends) => (appends, u64::MAX),
            Until::Passed(time) => (u64::MAX, time.as_secs()),
        };
        let mut command = store.command("append");
        command.args([seed, &appends.to_string(), &seconds.to_string()]).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let stdout = process.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut said = Said::default();
            let mut lines = BufReader::new(stdout);
            let mut line = String::new();
            // Half a line was not said.
            while lines.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
                said.hear(line.trim_end());
                line.clear();
            }
            said
        });
        Self { process, reader }
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) -> Said {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.reader.join().unwrap()
    }

    /// Waits for its end, which has to be a success.
    pub(crate) fn finish(mut self) -> Said {
        let status = self.process.wait().unwrap();
        let mut said = self.reader.join().unwrap();
        if !status.success() {
            said.errors.push(format!("it ended with {status}"));
        }
        said
    }
}

impl Said {
    fn hear(&mut self, line: &str) {
        let parts: Vec<&str> = line.splitn(5, ' ').collect();
        match parts[..] {
            ["+", lane, index, key, wait] => self.acknowledged.push(Acknowledged {
                control: lane == "control",
                index: index.parse().unwrap(),
                key: key.to_owned(),
                wait: Duration::from_micros(wait.parse().unwrap()),
            }),
            _ => self.errors.push(line.to_owned()),
        }
    }
}
