//! One line about a copy, for somebody who waits at a terminal.
//!
//! Guarantees: nothing is drawn where nobody looks (stderr is no terminal, a dumb one, `--quiet`, JSON, CI); the cursor
//! always rests at the start of the line below, so that whatever ends the process leaves a whole line and a clean prompt;
//! no colours. Not indicatif: it would be several more crates for one line.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use samebits::registry::{Moved, Progress};

use crate::args::Common;
use crate::report::Outputs;
use crate::session::variable;

/// A few times a second.
const TICK: Duration = Duration::from_millis(200);
/// How many ticks the rate is taken over: three seconds.
const TICKS: usize = 15;
/// Up to the line that was drawn, and it away.
const ERASE: &str = "\x1b[1A\r\x1b[2K";
const MIB: u64 = 1 << 20;

/// Whether somebody looks.
pub(crate) fn is_watched(common: &Common, outputs: &Outputs) -> bool {
    let asked = !common.quiet && !outputs.is_json();
    let drawable = variable("TERM").is_some_and(|term| term != "dumb") && variable("CI").is_none();
    asked && drawable && std::io::stderr().is_terminal()
}

/// The line, redrawn until this is dropped; then it is gone.
#[derive(Debug)]
pub(crate) struct Bar {
    stop: Sender<()>,
    drawing: Option<JoinHandle<()>>,
}

impl Bar {
    /// Draws how far `progress` is from now on.
    pub(crate) fn draw(progress: Arc<Progress>) -> Self {
        let (stop, stopped) = channel();
        let drawing = std::thread::spawn(move || {
            let (mut sent, mut drawn) = (Vec::new(), false);
            // Nothing flashes up for what is done at once.
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(TICK) {
                let moved = progress.look();
                sent.push(moved.sent);
                if sent.len() > TICKS {
                    sent.remove(0);
                }
                // Nothing is known yet of what there is to do.
                if moved.blobs == 0 {
                    continue;
                }
                let before = if drawn { ERASE } else { "" };
                drawn = show(&format!("{before}{}\n", line(&moved, rate(&sent), width())));
            }
            if drawn {
                show(ERASE);
            }
        });
        Self { stop, drawing: Some(drawing) }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        // It ends by itself when this side is gone.
        let _ = self.stop.send(());
        if let Some(drawing) = self.drawing.take() {
            let _ = drawing.join();
        }
    }
}

/// In one piece; false where stderr is gone.
fn show(text: &str) -> bool {
    std::io::stderr().lock().write_all(text.as_bytes()).is_ok()
}

fn width() -> usize {
    let size = terminal_size::terminal_size_of(std::io::stderr());
    size.map(|(columns, _)| usize::from(columns.0)).filter(|columns| *columns > 0).unwrap_or(80)
}

/// Bytes a second, over the last ticks; none before there is anything to compare.
fn rate(sent: &[u64]) -> Option<u64> {
    let (first, last) = (sent.first()?, sent.last()?);
    let ticks = u64::try_from(sent.len()).ok()?.checked_sub(1).filter(|ticks| *ticks > 0)?;
    let each = u64::try_from(TICK.as_millis()).ok()?;
    // What is sent again is taken back first.
    Some(last.saturating_sub(*first).saturating_mul(1000) / (ticks * each))
}

/// The line, as much of it as fits: what is least missed goes first.
fn line(moved: &Moved, rate: Option<u64>, width: usize) -> String {
    let Moved { blobs, bytes, done, sent: _, mounted, present, moving } = *moved;
    let done = done.min(bytes);
    let share = |of: u64| done.saturating_mul(of).checked_div(bytes).unwrap_or(of);
    let cells = usize::try_from(share(20)).unwrap_or(20);
    let bar = format!("{}{}", "█".repeat(cells), "░".repeat(20_usize.saturating_sub(cells)));
    let amount = format!("{} / {}", mib(done), with_unit(bytes));
    let rate = rate.map(|rate| format!("{}/s", with_unit(rate))).unwrap_or_default();
    let counts = format!("{blobs} blobs: {mounted} mounted, {present} present, {moving} moving");
    let percent = format!("{} %", share(100));
    let full = [&bar, &amount, &rate, &counts];
    let tries: [&[&String]; 5] = [&full, &[&bar, &amount, &rate], &[&bar, &amount], &[&amount], &[&percent]];
    for parts in tries {
        let parts: Vec<&str> =
            parts.iter().map(|part| part.as_str()).filter(|part| !part.is_empty()).collect();
        let text = format!("copying     {}", parts.join("  "));
        // The last column stays free: some terminals go on to the next line there.
        if text.chars().count() < width {
            return text;
        }
    }
    percent.chars().take(width.saturating_sub(1)).collect()
}

fn mib(bytes: u64) -> String {
    if bytes < 10 * MIB && !bytes.is_multiple_of(MIB) {
        let tenths = bytes.saturating_mul(10) / MIB;
        return format!("{}.{}", tenths / 10, tenths % 10);
    }
    (bytes / MIB).to_string()
}

fn with_unit(bytes: u64) -> String {
    format!("{} MiB", mib(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved() -> Moved {
        let (bytes, done) = (1024 * MIB, 812 * MIB);
        Moved { blobs: 41, bytes, done, sent: 212 * MIB, mounted: 30, present: 7, moving: 4 }
    }

    #[test]
    fn one_line_says_all() {
        assert_eq!(
            line(&moved(), Some(148 * MIB), 120),
            "copying     ███████████████░░░░░  812 / 1024 MiB  148 MiB/s  41 blobs: 30 mounted, 7 present, 4 moving"
        );
        let nothing = Moved::default();
        assert!(line(&nothing, None, 120).contains("████████████████████  0 / 0 MiB  0 blobs"));
        let little = Moved { bytes: 3 * MIB / 2, done: MIB / 2, ..moved() };
        assert!(line(&little, None, 120).contains("0.5 / 1.5 MiB"));
        // What is sent again may be more than all for a moment.
        let more = Moved { done: u64::MAX, ..moved() };
        assert!(line(&more, None, 120).contains("1024 / 1024 MiB"));
    }

    #[test]
    fn a_narrow_terminal_gets_what_fits() {
        for width in 0..130 {
            let text = line(&moved(), Some(148 * MIB), width);
            assert!(text.chars().count() < width.max(1), "{width}: {text}");
        }
        assert_eq!(
            line(&moved(), Some(MIB), 72),
            "copying     ███████████████░░░░░  812 / 1024 MiB  1 MiB/s"
        );
        assert_eq!(line(&moved(), Some(MIB), 30), "copying     812 / 1024 MiB");
        assert_eq!(line(&moved(), Some(MIB), 20), "copying     79 %");
        assert_eq!(line(&moved(), Some(MIB), 4), "79 ");
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        assert_eq!(rate(&[]), None);
        assert_eq!(rate(&[7]), None);
        assert_eq!(rate(&[0, MIB, 2 * MIB]), Some(5 * MIB));
        assert_eq!(rate(&[5, 3]), Some(0));
    }
}
