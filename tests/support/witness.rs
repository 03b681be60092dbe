//! A witness that the binary serves.

use crate::cli::Yard;

/// A witness of its own process, killed when dropped.
pub(crate) struct Witness(std::process::Child, pub(crate) String);

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the witness `witness.key` of the yard's ledger, and returns where it listens.
pub(crate) fn witness(yard: &Yard) -> Witness {
    use std::io::BufRead as _;
    let policy = yard.read("samebits.toml");
    let log = policy.lines().find_map(|line| line.strip_prefix("verifier = ")).unwrap().trim_matches('"');
    let args = ["ledger", "witness", "serve", "--witness-key", "witness.key", "--listen", "127.0.0.1:0"];
    let mut child = yard.spawn(args.into_iter().chain(["--state", "witness.db", "--log", log]));
    let mut line = String::new();
    std::io::BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().rsplit(' ').next().unwrap().to_owned();
    assert!(url.starts_with("http://127.0.0.1:"), "{line}");
    Witness(child, url)
}

/// Has the lock of the yard name one witness.
pub(crate) fn names(yard: &Yard, vkey: &str, url: &str) {
    let lock = yard.read("samebits.lock");
    let lock = match lock.find("witness-policy") {
        None => lock.clone(),
        Some(at) => format!("{}{}", &lock[..at], &lock[lock.rfind("\"\"\"\n").unwrap() + 4..]),
    };
    let policy = format!("witness-policy = \"\"\"\nwitness w1 {vkey} {url}\nquorum w1\n\"\"\"\n");
    yard.write("samebits.lock", lock.replacen("version = 1\n", &format!("version = 1\n{policy}"), 1));
}
