use std::fs;
use std::path::{Path, PathBuf};

use futures_util::{StreamExt, stream};

use super::*;
use crate::registry::RegistryError;

/// More than goes to disk at once, more than is in memory at once, and no multiple of anything.
const LARGE: usize = (20 << 20) + 17;

fn bytes(length: usize) -> Bytes {
    (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<_>>().into()
}

fn pieces(bytes: &Bytes) -> Vec<Result<Bytes, RegistryError>> {
    let step = 300 << 10;
    (0..bytes.len()).step_by(step).map(|at| Ok(bytes.slice(at..bytes.len().min(at + step)))).collect()
}

fn layout(folder: &tempfile::TempDir) -> (Layout, PathBuf) {
    let path = folder.path().join("layout");
    (Layout::new(path.clone()), path.join("blobs/sha256"))
}

fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

async fn read(layout: &Layout, digest: Digest, from: u64) -> (Vec<u8>, Option<RegistryError>) {
    let trail = Trail::new(digest);
    let mut chunks = layout.blob(digest, trail.read_from(from)).await.unwrap();
    let mut all = Vec::new();
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Ok(chunk) => all.extend_from_slice(&chunk),
            Err(error) => return (all, Some(error)),
        }
    }
    (all, None)
}

#[tokio::test]
async fn a_large_blob_is_written_and_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (layout, blobs) = layout(&folder);
    let all = bytes(LARGE);
    let digest = Digest::of(&all);
    layout.put_blob(digest, LARGE as u64, stream::iter(pieces(&all)).boxed()).await.unwrap();
    assert_eq!(files(&blobs), [digest.hex()], "and nothing else");
    let (found, error) = read(&layout, digest, 0).await;
    assert!(error.is_none() && found == *all);
    assert!(layout.is_intact(digest).await.unwrap());
}

#[tokio::test]
async fn an_empty_blob_is_a_blob() {
    let folder = tempfile::tempdir().unwrap();
    let (layout, _) = layout(&folder);
    let digest = Digest::of(b"");
    layout.put_blob(digest, 0, stream::iter([]).boxed()).await.unwrap();
    assert!(matches!(read(&layout, digest, 0).await, (all, None) if all.is_empty()));
    assert_eq!(layout.blob_size(digest).await.unwrap(), Some(0));
}

#[tokio::test]
async fn f4_what_is_longer_or_shorter_or_breaks_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (layout, blobs) = layout(&folder);
    let all = bytes(LARGE);
    let digest = Digest::of(&all);
    for size in [LARGE as u64 - 1, LARGE as u64 + 1, 0] {
        let written = layout.put_blob(digest, size, stream::iter(pieces(&all)).boxed()).await;
        assert!(matches!(written, Err(RegistryError::Size { wanted, .. }) if wanted == size));
        assert_eq!(files(&blobs), [""; 0], "of {size}");
    }
    let mut broken = pieces(&all);
    let last = broken.len() - 1;
    broken[last] = Err(RegistryError::ReadTwice { digest });
    let written = layout.put_blob(digest, LARGE as u64, stream::iter(broken).boxed()).await;
    assert!(matches!(written, Err(RegistryError::ReadTwice { .. })), "what the source says: {written:?}");
    assert_eq!(files(&blobs), [""; 0]);
}

#[tokio::test]
async fn a2_of_a_changed_blob_the_last_bytes_never_come() {
    let folder = tempfile::tempdir().unwrap();
    let (layout, blobs) = layout(&folder);
    let all = bytes(LARGE);
    let digest = Digest::of(&all);
    layout.put_blob(digest, LARGE as u64, stream::iter(pieces(&all)).boxed()).await.unwrap();
    let mut wrong = all.to_vec();
    wrong[5] ^= 1;
    for wrong in [&wrong[..], &all[..LARGE - 1], &[&all[..], b"more"].concat()] {
        fs::write(blobs.join(digest.hex()), wrong).unwrap();
        let (found, error) = read(&layout, digest, 0).await;
        assert!(matches!(error, Some(RegistryError::LayoutDigest { .. })), "{error:?}");
        assert!(found.len() < wrong.len());
        assert!(!layout.is_intact(digest).await.unwrap());
    }
}

#[tokio::test]
async fn who_stops_reading_stops_the_reader() {
    let folder = tempfile::tempdir().unwrap();
    let (layout, _) = layout(&folder);
    let all = bytes(LARGE);
    let digest = Digest::of(&all);
    layout.put_blob(digest, LARGE as u64, stream::iter(pieces(&all)).boxed()).await.unwrap();
    let trail = Trail::new(digest);
    let mut chunks = layout.blob(digest, trail.read_from(0)).await.unwrap();
    chunks.next().await.unwrap().unwrap();
    drop(chunks);
    // Again from the middle of what was read: that is hashed, and the first reading's hash of it is no hindrance.
    let mut again = layout.blob(digest, trail.read_from(0)).await.unwrap();
    let mut length = 0;
    while let Some(chunk) = again.next().await {
        length += chunk.unwrap().len();
    }
    assert_eq!(length, LARGE);
}
