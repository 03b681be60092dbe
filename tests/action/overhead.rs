//! What the action costs before the program asks its first question: a measurement, which nothing is asserted about.
//! `SAMEBITS_MEASURED=BINARY cargo test --test action overhead -- --ignored --nocapture`, with a binary as released.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::cli::Yard;
use super::{PROGRAM, runner_with};

const RUNS: usize = 15;

#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stdout, reason = "what is measured is said")]
fn the_overhead_of_a_step() {
    #[allow(clippy::disallowed_methods, reason = "which binary is measured")]
    let binary = std::env::var_os("SAMEBITS_MEASURED").unwrap_or_else(|| PROGRAM.into());
    let yard = Yard::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    yard.edit_policy(|text| {
        let text = text.replace("oci:registry/shop", &format!("{host}/shop"));
        text + &format!("[registries.\"{host}\"]\nplain-http = true\n")
    });
    // Hangs up on everybody: the first request is all that counts.
    let (said, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || listener.incoming().all(|_| said.send(Instant::now()).is_ok()));
    let runner = runner_with(&std::fs::read(&binary).unwrap());
    let image = format!("{host}/shop:1");
    let inputs = [("command", "check"), ("image", image.as_str()), ("to", "staging")];
    let mut took: Vec<Duration> = (0..=RUNS)
        .map(|_| {
            let begin = Instant::now();
            runner.uses_in(&yard.path(""), &inputs).exits(3);
            let first = asked.recv().unwrap();
            asked.try_iter().for_each(drop);
            first - begin
        })
        .skip(1) // The first downloads.
        .collect();
    took.sort();
    let of = binary.display();
    println!("{of}: from the action's start to the first request, binary cached: {RUNS} runs");
    println!("median {:?}, least {:?}, most {:?}", took[RUNS / 2], took[0], took[RUNS - 1]);
}
