//! Writers who contend for one ledger in an object store far away: 64 of them, each with a copy of its own and about a
//! service of its own, appending deployments as fast as they can.
//!
//! Run `cargo bench --bench contention [-- SECONDS]`, 20 for each row if nothing is said. *plain* is the protocol without
//! combining: read both lanes and the target, sign, try the slot, begin again. *combined* is
//! [`Writer::append`](samebits::ledger::protocol::Writer::append): plain first, after two conflicts whoever wins appends
//! what all have left. The store is in memory and answers late: 15 ms for GET, HEAD and LIST, 40 ms for PUT and DELETE
//! (one of many names is one request, as with S3). A deployment has no evidence to keep.
//!
//! Target: combined, 64 writers, at least 100 records/s. Every row ends with an audit of the ledger: each record that
//! was acknowledged is in it once.
//!
//! Last measured on 2026-11-21, 12 s a row, on 2 vCPU that did nothing else: plain 1 writer 4.7/s, 16 writers 6.2/s, 64
//! writers 6.3/s (p99 10 s); combined 16 writers 36.5/s, 64 writers 116/s (p50 0.54 s, p99 0.91 s; 1.3 PUTs a record).

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark reports to a person and may stop")]

use std::collections::BTreeMap;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use object_store::ObjectStore;
use samebits::digest::Digest;
use samebits::key::PrivateKey;
use samebits::ledger::protocol::{ProtocolError, Step, View, Writer, index_of};
use samebits::ledger::review::review;
use samebits::ledger::target::history;
use samebits::ledger::{Entry, Ledger, LedgerError};
use samebits::policy::{EnvironmentName, EvidenceClass, Policy, ServiceName};
use samebits::record::{Actor, Body, Deployment, Draft, Status, Subjects};
use samebits::reference::Image;
use samebits::tlog::LogSigner;
use samebits::verify::{Identity, Trust};

mod latent;
#[allow(dead_code, reason = "shared with tests")]
#[path = "../../tests/support/world.rs"]
mod world;

use latent::{Counted, Latent};
use world::{MORNING, World, with};

const SECONDS: u64 = 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Plain,
    Combined,
}

/// What all writers share.
struct Bed {
    objects: Arc<Latent>,
    log: LogSigner,
    policy: Policy,
    trust: Trust,
    key: PrivateKey,
    staging: EnvironmentName,
}

impl Bed {
    fn new(writers: usize) -> Self {
        let services: String = (0..writers)
            .map(|n| format!("[services.{}]\nrepository = \"registry.example/{0}\"\n", service(n)))
            .collect();
        let api = "[services.api]\nrepository = \"registry.example/api\"\n";
        let world = World::new(&with(&[(api, &services)]));
        let key = PrivateKey::from_pem(&world.key("staging").to_pem()).unwrap();
        let staging = "staging".parse().unwrap();
        let World { policy, trust, log, .. } = world;
        Self { objects: Arc::default(), log, policy, trust, key, staging }
    }

    fn open(&self) -> Ledger {
        let objects: Arc<dyn ObjectStore> = self.objects.clone();
        let mut ledger = Ledger::open_in(objects, "bench", self.log.vkey(), Some(self.log.clone())).unwrap();
        ledger.combine_by(|| MORNING.parse().unwrap());
        ledger
    }

    fn draft(&self, service: &ServiceName, number: u64, view: &View<'_>) -> Draft {
        let key = Digest::of(format!("{service} {number}").as_bytes());
        let repository = self.policy.find_service(service.as_str()).unwrap().repository().clone();
        let now = MORNING.parse().unwrap();
        let body = Body::Deployment(Deployment {
            actor: Actor::from(&Identity::Key { id: self.key.public().id() }),
            service: service.clone(),
            environment: self.staging.clone(),
            deployment_name: "default".to_owned(),
            status: Status::Succeeded,
            started_on: now,
            finished_on: now,
            evidence_class: EvidenceClass::Asserted,
            runtime: None,
            parity: BTreeMap::new(),
            external_url: None,
            ledger: view.ledger(key),
        });
        let image = Image { repository, digest: key };
        Draft { subjects: Subjects { image, platforms: Vec::new() }, body }
    }

    fn append(&self, mode: Mode, ledger: &mut Ledger, service: &ServiceName, number: u64) -> u64 {
        match mode {
            Mode::Plain => self.plain(ledger, service, number),
            Mode::Combined => {
                let (policy, trust, signer) = (&self.policy, &self.trust, &self.key);
                let mut writer = Writer { ledger, policy, trust, signer };
                let appended = writer.append(service, &self.staging, |view| {
                    let draft = Box::new(self.draft(service, number, view));
                    Ok::<_, ProtocolError>(Step::Append(draft, ()))
                });
                appended.unwrap().0.unwrap().position.index
            }
        }
    }

    /// As `Writer::append` is where a store cannot combine, and as often as it takes.
    fn plain(&self, ledger: &mut Ledger, service: &ServiceName, number: u64) -> u64 {
        loop {
            let (at, lane) = (ledger.tip().unwrap(), ledger.control().unwrap());
            let rules = (&self.policy, &self.trust);
            let history = history(ledger, &at, &lane, rules, service, &self.staging).unwrap();
            let view = View { at: &at, lane: &lane, trust: &self.trust, history: &history };
            let draft = self.draft(service, number, &view);
            let bytes = draft.sign(&self.key).unwrap();
            let entry = Entry { bytes, index: index_of(&draft.body, &draft.subjects) };
            match ledger.append(at.size(), &[entry]) {
                Ok(appended) => return appended.first,
                Err(LedgerError::Conflict { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn service(number: usize) -> String {
    format!("service-{number}")
}

fn run(mode: Mode, writers: usize, seconds: Duration) {
    let bed = Bed::new(writers);
    let objects: Arc<dyn ObjectStore> = bed.objects.clone();
    drop(Ledger::create_in(objects, "bench", &bed.log).unwrap());
    bed.objects.answer_late();
    let (barrier, bed) = (Barrier::new(writers + 1), &bed);
    let (mut places, mut times, elapsed, counted, cpu) = std::thread::scope(|scope| {
        let barrier = &barrier;
        let run = |number| {
            move || {
                let (mut ledger, service) = (bed.open(), service(number).parse().unwrap());
                barrier.wait();
                let (start, mut done) = (Instant::now(), Vec::new());
                while start.elapsed() < seconds {
                    let began = Instant::now();
                    let index = bed.append(mode, &mut ledger, &service, done.len() as u64);
                    done.push((index, began.elapsed(), start.elapsed() < seconds));
                }
                done
            }
        };
        let running: Vec<_> = (0..writers).map(|number| scope.spawn(run(number))).collect();
        barrier.wait();
        let (start, before, cpu) = (Instant::now(), bed.objects.counted(), cpu());
        let done: Vec<_> = running.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        let (counted, cpu) = (bed.objects.counted().since(before), self::cpu() - cpu);
        let places: Vec<_> = done.iter().map(|(index, ..)| *index).collect();
        // Those that ended later count for nothing: the others were fewer by then.
        let times: Vec<_> = done.iter().filter(|(.., within)| *within).map(|(_, time, _)| *time).collect();
        (places, times, start.elapsed(), counted, cpu)
    });
    // Each is there once, and nothing else.
    places.sort_unstable();
    assert!(places.iter().copied().eq(0..places.len() as u64), "lost or doubled");
    bed.objects.answer_at_once();
    let audit = review(&bed.open(), &bed.trust).unwrap();
    assert_eq!(audit.findings(), []);
    assert_eq!(audit.checkpoint().size(), places.len() as u64);
    report(mode, writers, &mut times, places.len(), seconds, elapsed, counted, cpu);
}

#[allow(clippy::too_many_arguments, reason = "the columns of a table")]
fn report(
    mode: Mode,
    writers: usize,
    times: &mut [Duration],
    all: usize,
    seconds: Duration,
    elapsed: Duration,
    counted: Counted,
    cpu: f64,
) {
    times.sort();
    let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len() - 1)).unwrap();
    let each = |count: u64| count as f64 / all as f64;
    let mode = match mode {
        Mode::Plain => "plain",
        Mode::Combined => "combined",
    };
    println!(
        "| {mode:8} | {writers:7} | {:9.1} | {:6} | {:6} | {:4.1} | {:5.1} | {:4.1} | {:7} | {:5.1} | {cpu:5.1} |",
        times.len() as f64 / seconds.as_secs_f64(),
        at(50).as_millis(),
        at(99).as_millis(),
        each(counted.puts),
        each(counted.gets),
        each(counted.lists),
        all,
        elapsed.as_secs_f64(),
    );
}

/// Seconds of processor time of this process so far (Linux, in ticks of 10 ms).
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn main() {
    let seconds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(SECONDS);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("GET, LIST {:?}, PUT {:?}; load before: {}", latent::GET, latent::PUT, load.trim());
    println!(
        "| mode     | writers | records/s | p50 ms | p99 ms | PUTs |  GETs | LIST | records | all s | CPU s |"
    );
    println!(
        "| -------- | ------- | --------- | ------ | ------ | ---- | ----- | ---- | ------- | ----- | ----- |"
    );
    for (mode, writers) in [
        (Mode::Plain, 1),
        (Mode::Combined, 1),
        (Mode::Plain, 16),
        (Mode::Combined, 16),
        (Mode::Plain, 64),
        (Mode::Combined, 64),
    ] {
        run(mode, writers, Duration::from_secs(seconds));
    }
}
