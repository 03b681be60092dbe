//! Asynchronous clients behind a synchronous store: a runtime of its own, on a thread of its own.
//!
//! Guarantees: [`Driver::run`] may be called from anywhere, also from inside another runtime, for it drives nothing on
//! the caller's thread; what is still under way when the driver is dropped is given up. Never does: bound the time
//! that a future takes.

use std::sync::mpsc;

use tokio::runtime::{Builder, Runtime};

/// A runtime with one thread.
#[derive(Debug)]
pub(super) struct Driver(Option<Runtime>);

impl Driver {
    /// Starts it.
    ///
    /// # Errors
    /// What the operating system said.
    pub(super) fn new() -> std::io::Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("ledger").enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    /// Waits for `future`, which is driven elsewhere.
    ///
    /// # Panics
    /// If `future` does.
    pub(super) fn run<T, F>(&self, future: F) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (sender, receiver) = mpsc::sync_channel(1);
        if let Some(runtime) = &self.0 {
            runtime.spawn(async move {
                // Whoever asked waits below.
                let _ = sender.send(future.await);
            });
        }
        receiver.recv().expect("a future answers unless it panics, which the runtime has said already")
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Dropped inside another runtime it may not wait for its own.
        self.0.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_inside_and_outside_of_another_runtime() {
        let work = || {
            let driver = Driver::new().unwrap();
            let (sender, receiver) = tokio::sync::oneshot::channel();
            driver.run(async move { drop(tokio::spawn(async move { sender.send(7) })) });
            assert_eq!(driver.run(receiver), Ok(7));
        };
        work();
        Builder::new_current_thread().build().unwrap().block_on(async { work() });
    }

    #[test]
    #[should_panic(expected = "unless it panics")]
    fn a_panic_is_not_swallowed() {
        Driver::new().unwrap().run(async { assert!(std::env::args().next().is_none(), "inside") });
    }
}
