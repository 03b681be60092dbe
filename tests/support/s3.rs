//! An S3 server of other people's on a loopback port: moto 5 (`pip install 'moto[server]'`), which honours
//! `If-None-Match: *`. Its buckets are in memory, and go away with it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::peer;

/// A running server with one bucket; stops when dropped.
pub(crate) struct S3 {
    process: Child,
    address: SocketAddr,
}

/// The bucket.
pub(crate) const BUCKET: &str = "acme-ledger";

impl S3 {
    /// Starts one and waits until it has a bucket; `None`, which was said, where there is no `moto_server`.
    pub(crate) fn start() -> Option<Self> {
        if !peer::is_installed("moto_server") {
            return None;
        }
        // Between looking for a free port and taking it somebody else may take it.
        let started = (0..5).find_map(|_| Self::try_start());
        Some(started.expect("moto_server did not start: five times it ended, or did not answer within 60 s"))
    }

    fn try_start() -> Option<Self> {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new("moto_server")
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self { process, address };
        for _ in 0..600 {
            if server.process.try_wait().unwrap().is_some() {
                return None;
            }
            if server.ask("PUT", &format!("/{BUCKET}"), b"").is_some_and(|(status, _)| status == 200) {
                return Some(server);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        None
    }

    /// Tells a client where it is and who it is: the variables of AWS's own tools.
    pub(crate) fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ]
    }

    /// What lies under a name of the bucket, behind the back of what is tested.
    pub(crate) fn get(&self, name: &str) -> Option<Vec<u8>> {
        let (status, body) = self.ask("GET", &format!("/{BUCKET}/{name}"), b"").unwrap();
        (status == 200).then_some(body)
    }

    /// Overwrites it.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        assert_eq!(self.ask("PUT", &format!("/{BUCKET}/{name}"), bytes).unwrap().0, 200);
    }

    /// Deletes it.
    pub(crate) fn delete(&self, name: &str) {
        assert_eq!(self.ask("DELETE", &format!("/{BUCKET}/{name}"), b"").unwrap().0, 204);
    }

    /// Status and body of a bare request; `None` where nobody answers.
    fn ask(&self, method: &str, path: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        let (host, length) = (self.address, body.len());
        let head = "HTTP/1.0\r\nAuthorization: AWS test:test\r\nConnection: close";
        write!(stream, "{method} {path} {head}\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n").ok()?;
        stream.write_all(body).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
        let status = String::from_utf8_lossy(&answer[..end]).split(' ').nth(1)?.parse().ok()?;
        Some((status, answer.split_off(end + 4)))
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to stop.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
