//! Signed notes of logs, and the keys they are opened with.

use std::sync::LazyLock;

use samebits::digest::Digest;
use samebits::tlog::{LogSigner, Vkey};

use super::is_tidy;

const SECRET: &str = "PRIVATE+KEY+fuzz.example/log+3773c20a+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A log's key; whoever reads this can sign for it, the fuzzer cannot.
pub(super) static LOG: LazyLock<LogSigner> =
    LazyLock::new(|| SECRET.parse().unwrap_or_else(|error| panic!("{error}")));

/// The checkpoints that were ever signed with it.
pub(super) static SIGNED: LazyLock<Vec<String>> = LazyLock::new(|| {
    let sign = |size, root: &[u8]| LOG.sign(size, Digest::of(root)).expect("an honest checkpoint");
    [sign(0, b""), sign(1, b"one"), sign(u64::from(u32::MAX), b"many")]
        .map(|signed| signed.text().to_owned())
        .to_vec()
});

/// Any text as a signed checkpoint, and as a key.
pub fn checkpoint(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match text.parse::<Vkey>() {
        Ok(key) => assert_eq!(key.to_string(), text, "two spellings of one key"),
        Err(error) => is_tidy(&error),
    }
    match LOG.vkey().open(text) {
        Err(error) => is_tidy(&error),
        Ok(opened) => {
            let body = |note: &str| note.split("\n\n").next().unwrap_or_default().to_owned();
            assert!(SIGNED.iter().any(|known| body(known) == body(text)), "accepted, and never signed");
            assert_eq!(opened.text(), text);
            assert_eq!(opened.origin(), LOG.vkey().origin());
            assert!(text.contains(&format!("\n{}\n", opened.size())));
        }
    }
}
