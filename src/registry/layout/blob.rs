//! A blob of a layout while it is read.
//!
//! Guarantees: every byte is hashed where it is read, before it is handed out; one chunk is held back until the digest of
//! all is known; a few chunks are in memory, in buffers that are used again. Never does: ends without a word, which would
//! be taken for the end of the blob.

use std::fs::File;
use std::io::{ErrorKind, Read, Take};
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc::{Sender, channel};

use super::disk::{Disk, failed};
use crate::digest::Digest;
use crate::registry::buffers::Buffers;
use crate::registry::error::RegistryError;
use crate::registry::trail::Pass;
use crate::registry::wire::Chunks;

/// Bytes that are read at once: they are hashed before the processor has forgotten them.
const CHUNK: usize = 256 << 10;
/// Chunks that wait for whoever takes them.
const QUEUE: usize = 1;

/// One blob, opened.
pub(super) struct Opened {
    pub(super) path: PathBuf,
    /// Behind what the reading has passed already.
    pub(super) file: Take<File>,
    pub(super) digest: Digest,
    pub(super) reading: Pass,
}

impl Opened {
    /// Its bytes, read by a thread of their own.
    pub(super) fn chunks(self, disk: &Disk) -> Chunks {
        let (sender, receiver) = channel(QUEUE);
        let reading = disk.run(move |_| self.read(&sender));
        let state = Some((receiver, Box::pin(reading)));
        let chunks = stream::unfold(state, |state| async {
            let (mut receiver, reading) = state?;
            match receiver.recv().await {
                Some(chunk) => Some((Ok(chunk), Some((receiver, reading)))),
                // How it ended is what it says, and nothing else.
                None => reading.await.err().map(|error| (Err(error), None)),
            }
        });
        chunks.boxed()
    }

    fn read(mut self, to: &Sender<Bytes>) -> Result<(), RegistryError> {
        let (mut buffers, mut held) = (Buffers::default(), None);
        loop {
            let mut buffer = buffers.free(CHUNK);
            let count = read_some(&mut self.file, &mut buffer).map_err(failed(&self.path))?;
            let next = if count > 0 {
                let chunk = buffers.hand_out(buffer, count);
                self.reading.pass(&chunk)?;
                held.replace(chunk)
            } else {
                let found = self.reading.digest()?;
                if found != self.digest {
                    return Err(RegistryError::LayoutDigest { file: self.path, found });
                }
                held.take()
            };
            // Whoever does not listen any more does not want the rest.
            let gone = next.is_some_and(|chunk| to.blocking_send(chunk).is_err());
            if gone || count == 0 {
                return Ok(());
            }
        }
    }
}

fn read_some(file: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}
