//! What runs in the processes: appending, and counting what is there.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use std::collections::BTreeMap;

use jiff::Timestamp;
use samebits::collect::trust;
use samebits::digest::Digest;
use samebits::key::{Algorithm, PrivateKey};
use samebits::ledger::protocol::{ProtocolError, Step, Writer};
use samebits::ledger::review::review;
use samebits::ledger::{Folders, Ledger};
use samebits::policy::{Draft as PolicyDraft, EvidenceClass, Policy};
use samebits::record::{
    Actor, Body, Content, ControlBody, ControlDraft, ControlRecord, Deployment, Draft, Freeze, Scope, Status,
    Subjects,
};
use samebits::reference::Image;
use samebits::tlog::LogSigner;
use samebits::verify::Identity;

use crate::load::Random;

/// So many that the records of each stay few.
const SERVICES: u64 = 200;

const POLICY: &str = r#"version = 1
[ledger]
url = "sqlite:ledger.db"
origin = "bench.example/ledger"
verifier = "@VERIFIER@"
[signers.ci]
public-key = "ci.pub"
[signers.duty]
public-key = "duty.pub"
[control]
revokers = ["duty"]
freezers = ["duty"]
[environments.staging]
entry = true
repository = "registry.example/staging/{service}"
promoters = ["ci"]
deployers = ["ci"]
[environments.staging.require]
signed-by = "ci"
"#;

/// The keys of one ledger, and where it is.
struct Yard {
    folder: PathBuf,
    url: String,
    log: LogSigner,
    ci: PrivateKey,
    duty: PrivateKey,
    policy: Policy,
}

impl Yard {
    /// The keys that lie in the folder, made by whoever comes first.
    fn new(folder: &str, url: &str) -> Self {
        let folder = PathBuf::from(folder);
        let key = |name: &str| {
            let file = folder.join(name);
            if !file.exists() {
                let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
                std::fs::write(&file, key.to_pem().as_bytes()).unwrap();
            }
            PrivateKey::from_pem(&std::fs::read_to_string(file).unwrap()).unwrap()
        };
        let (ci, duty) = (key("ci.key"), key("duty.key"));
        let file = folder.join("ledger.key");
        if !file.exists() {
            let log = LogSigner::generate("bench.example/ledger".parse().unwrap()).unwrap();
            std::fs::write(&file, log.to_secret_text()).unwrap();
        }
        let log: LogSigner = std::fs::read_to_string(file).unwrap().parse().unwrap();
        let mut text = POLICY.replace("@VERIFIER@", &log.vkey().to_string());
        for service in 0..SERVICES {
            text += &format!("[services.s{service}]\nrepository = \"registry.example/s{service}\"\n");
        }
        let files = [("ci.pub", &ci), ("duty.pub", &duty)];
        let files = files.map(|(name, key)| (name.to_owned(), key.public().to_pem()));
        let policy = PolicyDraft::parse("samebits.toml", &text).unwrap().validate(&files.into()).unwrap();
        Self { folder, url: url.to_owned(), log, ci, duty, policy }
    }
}

/// The other side of [`crate::store::Store::command`].
pub(crate) fn run(verb: &str, args: &[String]) {
    let [folder, url, rest @ ..] = args else { panic!("{args:?}") };
    let yard = Yard::new(folder, url);
    match (verb, rest) {
        ("create", []) => drop(Ledger::create(url, &yard.folder, &yard.log).unwrap()),
        ("append", [seed, appends, seconds]) => {
            yard.append(seed, appends.parse().unwrap(), Duration::from_secs(seconds.parse().unwrap()));
        }
        ("count", []) => yard.count(),
        other => panic!("{other:?}"),
    }
}

/// One line in one write: all of it, or nothing that counts.
fn say(line: String) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

impl Yard {
    fn append(&self, seed: &str, appends: u64, time: Duration) {
        let cache = self.folder.join("cache");
        let folders = Folders { base: &self.folder, cache: Some(&cache) };
        let began = Instant::now();
        let trust = trust(&self.policy);
        let mut random =
            Random(u64::from(std::process::id()) << 32 | u64::from(began.elapsed().subsec_nanos()));
        let (mut ledger, mut done) = (None, 0);
        for number in 0_u64.. {
            if done >= appends || began.elapsed() >= time {
                break;
            }
            if ledger.is_none() {
                // A server that is being restarted.
                match Ledger::open(&self.url, folders, self.log.vkey(), Some(self.log.clone())) {
                    Ok(opened) => ledger = Some(opened),
                    Err(error) => {
                        say(told("- open", &error));
                        std::thread::sleep(Duration::from_millis(50));
                    }
                }
            }
            let Some(opened) = &mut ledger else { continue };
            let control = random.below(64) == 0;
            let key = Digest::of(format!("{seed} {number}").as_bytes());
            let signer = if control { &self.duty } else { &self.ci };
            let mut writer = Writer { ledger: opened, policy: &self.policy, trust: &trust, signer };
            let start = Instant::now();
            let service = format!("s{}", random.below(SERVICES));
            let appended = match control {
                true => freeze(&mut writer, &service, key),
                false => deploy(&mut writer, &service, key),
            };
            let lane = if control { "control" } else { "main" };
            match appended {
                Ok(index) => {
                    done += 1;
                    say(format!("+ {lane} {index} {key} {}", start.elapsed().as_micros()));
                }
                Err(error) => {
                    say(told("- append", &error));
                    ledger = None;
                }
            }
        }
    }

    /// The audit, and the key of every record: in a process that has nothing of this ledger.
    fn count(&self) {
        let ledger = Ledger::open(&self.url, self.folder.as_path(), self.log.vkey(), None).unwrap();
        let trust = trust(&self.policy);
        let audit = review(&ledger, &trust).unwrap();
        audit.findings().iter().for_each(|finding| say(format!("finding {finding}")));
        let tip = ledger.tip().unwrap();
        let origin = self.log.vkey().origin().to_string();
        for index in 0..tip.size() {
            let entry = ledger.read(&tip, index).unwrap();
            let content = Content::read(entry.bytes(), &origin, index, &trust).unwrap();
            say(format!("main {index} {}", content.body.ledger().idempotency_key));
        }
        for entry in ledger.control().unwrap().entries() {
            let record = ControlRecord::read(entry, &trust).unwrap();
            say(format!("control {} {}", entry.index(), record.body().ledger().idempotency_key));
        }
        say("audited".to_owned());
    }
}

/// An error with its causes, in one line.
fn told(what: &str, error: &dyn std::error::Error) -> String {
    let mut text = format!("{what} {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text.replace('\n', " ")
}

fn deploy(writer: &mut Writer<'_>, service: &str, key: Digest) -> Result<u64, ProtocolError> {
    let (now, environment) = (Timestamp::now(), "staging".parse().unwrap());
    let actor = Actor::from(&Identity::clone(writer.author().identity()));
    let repository = format!("registry.example/staging/{service}").parse().unwrap();
    let subjects =
        Subjects { image: Image::new(repository, Digest::of(key.as_bytes())), platforms: Vec::new() };
    let (written, ()) = writer.append(&service.parse().unwrap(), &environment, |view| {
        let body = Body::Deployment(Deployment {
            actor: actor.clone(),
            service: service.parse().unwrap(),
            environment: environment.clone(),
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
        Ok::<_, ProtocolError>(Step::Append(Box::new(Draft { subjects: subjects.clone(), body }), ()))
    })?;
    Ok(written.unwrap().position.index)
}

fn freeze(writer: &mut Writer<'_>, service: &str, key: Digest) -> Result<u64, ProtocolError> {
    let (now, actor) = (Timestamp::now(), Actor::from(&Identity::clone(writer.author().identity())));
    let (position, ()) = writer.append_control(|view| {
        let body = Freeze {
            actor: actor.clone(),
            scope: Scope { service: Some(service.parse().unwrap()), environment: None },
            from: now,
            until: None,
            reason: "a benchmark".to_owned(),
            lifts: None,
            decided_on: now,
            ledger: view.ledger(key),
        };
        let draft = ControlDraft(ControlBody::Freeze(Box::new(body)));
        Ok::<_, ProtocolError>(Step::Append(Box::new(draft), ()))
    })?;
    Ok(position.unwrap().index)
}

/// Where a relative path of a ledger's URL starts, for whoever runs these processes.
pub(crate) fn at(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}
