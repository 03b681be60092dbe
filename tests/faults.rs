//! Everything that goes wrong on the wire, with every kind of request that a promotion and a copy make, on both sides.
//!
//! Whatever goes wrong: no wrong yes (what is under the tag is exactly what was promoted, and whole, or what was there
//! before), no login at another origin, an error that names the side and what to do, and the same again ends well once
//! the fault is gone. What is broken, and where, is `faults/table.rs`; one run of one row is `faults/bench.rs`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/docker_registry.rs"]
mod docker_registry;
#[path = "support/peer.rs"]
mod peer;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/registry.rs"]
mod registry;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/world.rs"]
mod world;

#[path = "faults/bench.rs"]
mod bench;
#[path = "faults/table.rs"]
mod table;
#[path = "faults/ways.rs"]
mod ways;

use std::sync::Mutex;

use bench::{Bench, Upstream};
use docker_registry::{DockerRegistry, Door};
use table::{Act, Row};

/// How many rows at a time, each with a registry client, proxies and a world of its own.
const BENCHES: usize = 4;

/// Runs the table; the number of its rows is part of the test, so that it cannot shrink unseen.
fn run(rows: &[Row], act: Act, upstream: impl Fn() -> Upstream + Sync, expected: usize) {
    assert_eq!(rows.len(), expected, "the table has another number of rows than this test says");
    let queue = Mutex::new(rows.iter());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for number in 0..BENCHES {
            let (queue, failures, upstream) = (&queue, &failures, &upstream);
            scope.spawn(move || {
                let mut bench = Bench::new(act, number, upstream());
                loop {
                    let next: Option<&Row> = queue.lock().unwrap().next();
                    let Some(row) = next else { return };
                    if let Err(wrong) = bench.run(row) {
                        failures.lock().unwrap().push(format!("{row}: {wrong}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {} rows:\n{}", failures.len(), rows.len(), failures.join("\n"));
}

/// What is between us and a real registry is the same; one row in seven is enough to show that it answers as ours does.
fn some(rows: Vec<Row>) -> Vec<Row> {
    rows.into_iter().step_by(7).collect()
}

#[test]
fn f5_no_fault_of_a_registry_makes_a_promotion_wrong() {
    let rows = table::rows(Act::Promotion, true);
    run(&rows, Act::Promotion, Upstream::in_process, 549);
}

#[test]
fn f5_no_fault_of_a_registry_makes_a_copy_wrong() {
    let rows = table::rows(Act::Copy, true);
    run(&rows, Act::Copy, Upstream::in_process, 734);
}

#[test]
fn f5_no_fault_of_a_registry_makes_a_layout_wrong() {
    let rows = table::rows(Act::Unpack, true);
    run(&rows, Act::Unpack, Upstream::in_process, 363);
}

#[test]
fn f5_no_fault_between_us_and_a_real_registry_makes_a_promotion_wrong() {
    let Some(registry) = DockerRegistry::start(Door::Basic) else { return };
    let rows = some(table::rows(Act::Promotion, false));
    run(&rows, Act::Promotion, || Upstream::real(&registry), 75);
}

#[test]
fn f5_no_fault_between_us_and_a_real_registry_makes_a_copy_wrong() {
    let Some(registry) = DockerRegistry::start(Door::Basic) else { return };
    let rows = some(table::rows(Act::Copy, false));
    run(&rows, Act::Copy, || Upstream::real(&registry), 100);
}
