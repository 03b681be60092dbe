//! Every write of a promotion goes wrong, one after the other, in two ways: it fails, or it fails and has happened
//! (D6, E9). Over a registry on a socket and real ledgers, each of which somebody looks at from outside before every
//! write: no effect without an intent in the log, no summary and no tag without a commit. Then the same command again.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::collect::Files;
use crate::digest::Digest;
use crate::evidence::Control;
use crate::gate::Decision;
use crate::key::PrivateKey;
use crate::ledger::Ledger;
use crate::ledger::faults::{self, Fault, Judge};
use crate::ledger::review::review;
use crate::ledger::target::{Rules, State, history};
use crate::policy::Policy;
use crate::promote::reconcile::{Left, Mended};
use crate::promote::{Answer, Promotion, Request, Stage, Walk, WalkError};
use crate::record::{Phase, Position, SUMMARY};
use crate::registry::http::tests::quick;
use crate::registry::http::tests::registry::{Behaviour, Fake, INDEX, Reply};
use crate::registry::{HttpConfig, Registries, Retry};
use crate::verify::Trust;
use world::{APPROVALS, Built, World, pinned, with};

#[allow(dead_code, reason = "shared with tests/gate")]
#[path = "../../tests/support/world.rs"]
pub(crate) mod world;

/// Where things lie at the registry.
const BUILD: &str = "shop";
const PRODUCTION: &str = "prod/shop";
const TAG: &str = "production";

/// A yes in production takes a signature, and having run in staging.
fn policy(host: &str) -> String {
    let text = with(&[
        ("registry.example/shop", "HOST/shop"),
        ("registry.example/api", "HOST/api"),
        ("registry.example/staging/{service}", "HOST/staging/{service}"),
        ("registry.example/prod/{service}", "HOST/prod/{service}"),
        (APPROVALS, "[environments.production.require]\nsigned-by = \"build\"\n"),
        ("\"1h\"", "\"10m\""),
    ]);
    text.replace("HOST", host)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Which write of the first command, by its place.
    at: usize,
    fault: Fault,
    /// Every write after it, too: until the command has ended.
    lasting: bool,
}

/// Somebody with a connection of their own to the ledger, who sees every write before it is answered.
struct Witness {
    plan: Option<Plan>,
    /// What was written, by name.
    writes: Vec<String>,
    ledger: Ledger,
    policy: Policy,
    trust: Trust,
    /// What must not have happened.
    wrong: Vec<String>,
}

impl Witness {
    fn judge(&mut self, name: String) -> Option<Fault> {
        let place = self.writes.len();
        self.writes.push(name);
        let hit = |plan: &&Plan| plan.at == place || (plan.lasting && plan.at < place);
        self.plan.as_ref().filter(hit).map(|plan| plan.fault)
    }

    /// A request at the registry.
    fn asked(&mut self, method: &str, path: &str, body: &[u8]) -> Option<Fault> {
        if matches!(method, "GET" | "HEAD") {
            return None;
        }
        let (repository, what) = named(method, path, body);
        let name = format!("{repository} {what}");
        let current = read(&self.ledger, &self.policy, &self.trust, |state| {
            (!state.open.is_empty(), state.current.as_ref().map(|current| current.image.digest))
        });
        let allowed = match (repository.as_str(), what.as_str(), current) {
            // Nothing of the promoter's is written anywhere else.
            (PRODUCTION, "record" | "summary", (_, current)) => current.is_some(),
            (PRODUCTION, "tag production", (_, current)) => current == Some(Digest::of(body)),
            (PRODUCTION, _, (open, current)) => open || current.is_some(),
            _ => false,
        };
        if !allowed {
            self.wrong.push(format!("{name}, and the ledger says {current:?}"));
        }
        self.judge(name)
    }
}

/// The repository, and what is written to it.
fn named(method: &str, path: &str, body: &[u8]) -> (String, String) {
    let rest = path.trim_start_matches("/v2/");
    if let Some((repository, query)) = rest.split_once("/blobs/uploads/") {
        let what = match (method, query.contains("mount=")) {
            ("POST", true) => "mount",
            ("POST", false) => "upload opened",
            _ => "blob",
        };
        return (repository.to_owned(), what.to_owned());
    }
    let (repository, reference) = rest.split_once("/manifests/").unwrap();
    let parsed: Value = serde_json::from_slice(body).unwrap();
    let kind = parsed["annotations"]["dev.sigstore.bundle.predicateType"].as_str();
    let what = match (reference.split_once(':'), parsed.get("subject"), kind) {
        (None, ..) if reference.starts_with("sha256-") => "fallback tag".to_owned(),
        (None, ..) => format!("tag {reference}"),
        (Some(_), Some(_), Some(SUMMARY)) => "summary".to_owned(),
        (Some(_), Some(_), Some(kind)) if kind.contains("/promotion/") => "record".to_owned(),
        (Some(_), Some(_), _) => "evidence".to_owned(),
        (Some(_), None, _) if parsed["mediaType"] == INDEX => "index".to_owned(),
        (Some(_), None, _) => "manifest".to_owned(),
    };
    (repository.to_owned(), what)
}

/// What the ledger says is promoted into production.
fn read<T>(ledger: &Ledger, policy: &Policy, trust: &Trust, look: impl FnOnce(&State<'_>) -> T) -> T {
    let (service, environment) = ("shop".parse().unwrap(), "production".parse().unwrap());
    let (at, lane) = (ledger.tip().unwrap(), ledger.control().unwrap());
    let found = history(ledger, &at, &lane, (policy, trust), &service, &environment).unwrap();
    let control = Control::read(&lane, trust);
    let environment = policy.find_environment("production").unwrap();
    let rules = Rules { policy, service: &service, environment, control: &control };
    look(&State::replay(&found.records, &rules))
}

/// How a world is built.
#[derive(Clone, Copy, Debug)]
struct Ground {
    ledger: &'static str,
    /// Referrers have an API, and evidence lies at the registry; else under a tag, and in a file.
    referrers: bool,
}

/// A world over a registry, with an image that has run in staging for ten minutes and may enter production.
struct Rig {
    ground: Ground,
    world: World,
    fake: Fake,
    witness: Arc<Mutex<Witness>>,
    image: Built,
    request: Request,
    /// What was said to be in the log.
    acknowledged: Vec<Position>,
}

impl Rig {
    fn new(ground: Ground, plan: Option<Plan>) -> Self {
        let referrers = ground.referrers;
        let behaviour =
            Behaviour { referrers_api: referrers, subject_header: referrers, ..Behaviour::default() };
        let fake = Fake::with(behaviour);
        let mut world = World::new(&policy(fake.host()));
        world.registries = Registries::new(quick(), world.folder.path().to_owned());
        if ground.ledger != "sqlite:ledger.db" {
            world.ledger = Ledger::create(ground.ledger, world.folder.path(), &world.log).unwrap();
        }
        let image = Built::shop("1");
        let repository = world.repository("shop", None);
        let mut request = pinned(&repository, &image, "production", "run 1");
        block_on(async {
            let pushed = world.push(&image, "v1").await;
            match referrers {
                true => world.attach(&pushed, "build").await,
                false => request.files = signature(&world, &image),
            }
        });
        world.staged(&image);
        world.wait(10);
        let witness = Arc::new(Mutex::new(Witness {
            plan,
            writes: Vec::new(),
            ledger: Self::outside(&world, ground),
            policy: world.policy.clone(),
            trust: world.trust.clone(),
            wrong: Vec::new(),
        }));
        let watching = witness.clone();
        fake.watch(Box::new(move |method, path, body| {
            let fault = watching.lock().unwrap().asked(method, path, body);
            fault.map(|fault| match fault {
                Fault::Failed => Reply::status(500),
                Fault::FailedButHappened => Reply::DoneBut(500),
            })
        }));
        Self { ground, world, fake, witness, image, request, acknowledged: Vec::new() }
    }

    /// The ledger as somebody else reads it, who has nothing of it.
    fn outside(world: &World, ground: Ground) -> Ledger {
        Ledger::open(ground.ledger, world.folder.path(), world.log.vkey(), None).unwrap()
    }

    /// A process of its own: what it opens, it opens anew.
    fn command<T>(
        &mut self,
        who: &str,
        run: impl AsyncFnOnce(&mut Walk<'_>, &PrivateKey, &mut Vec<Position>) -> T,
    ) -> T {
        let watching = self.witness.clone();
        let judge: Judge = Arc::new(move |name| watching.lock().unwrap().judge(name.to_owned()));
        let World { folder, log, policy, trust, registries, .. } = &self.world;
        let mut ledger = faults::open(self.ground.ledger, folder.path(), log, judge);
        let (now, key) = (self.world.now(), self.world.key(who));
        let mut walk =
            Walk { policy, trust, registries, ledger: &mut ledger, clock: &|| now, witnesses: None };
        let answer = block_on(run(&mut walk, key, &mut self.acknowledged));
        drop(ledger);
        // The outage ends with the command that it hit.
        self.witness.lock().unwrap().plan = None;
        self.world.wait(1);
        self.holds();
        answer
    }

    fn promote(&mut self) -> Result<Answer, WalkError> {
        let request = self.request.clone();
        self.command("release", async move |walk, key, acknowledged| {
            let told = Mutex::new(Vec::new());
            let watch = |stage: Stage<'_>| match stage {
                Stage::Intent(position, _) | Stage::Commit(position) => told.lock().unwrap().push(position),
                Stage::Resolve(_) | Stage::Collect(_) | Stage::Copy(_) | Stage::Publish(_) => {}
            };
            let answer = walk.promote_watched(&request, key, &watch).await;
            acknowledged.extend(told.into_inner().unwrap());
            if let Ok(Answer::Promoted(promotion)) = &answer {
                acknowledged.push(promotion.commit());
            }
            answer
        })
    }

    /// What is left, mended by another promoter.
    fn reconcile(&mut self) -> Vec<(Left, Mended)> {
        self.command("release-2", async |walk, key, _| {
            let service = walk.policy.find_service("shop").unwrap();
            let environment = walk.policy.find_environment("production").unwrap();
            let mut all = Vec::new();
            for left in walk.left(service, environment).await.unwrap() {
                let mended = walk.mend(service, environment, &left, key).await.unwrap();
                all.push((left, mended));
            }
            all
        })
    }

    /// What has to be so at any time.
    #[track_caller]
    fn holds(&mut self) {
        assert_eq!(self.witness.lock().unwrap().wrong, [""; 0]);
        // 1. Nothing that was acknowledged is lost, and all of it is as it was signed.
        self.world.ledger = Self::outside(&self.world, self.ground);
        let World { ledger, policy, trust, .. } = &self.world;
        let audit = review(ledger, trust).unwrap();
        assert!(audit.findings().is_empty(), "{:?}", audit.findings());
        let tip = ledger.tip().unwrap();
        for position in &self.acknowledged {
            assert_eq!(ledger.read(&tip, position.index).unwrap().leaf(), position.leaf_hash);
        }
        self.world.replays_the_same();
        // 2. What lies at the destination has its reason in the log.
        let (begun, current) = read(ledger, policy, trust, |state| {
            assert!(state.commits.len() <= 1, "{:?}", state.commits);
            (self.phases().contains(&Phase::Intent), state.current.as_ref().map(|it| it.image.digest))
        });
        let there = self.fake.manifests(PRODUCTION);
        assert!(there.is_empty() || begun, "there are {} manifests, and no intent", there.len());
        assert!(self.summaries() == 0 || current.is_some(), "a summary, and no commit");
        if let Some(tag) = self.fake.tagged(PRODUCTION, TAG) {
            assert_eq!(current.map(|image| image.to_string()), Some(tag));
        }
    }

    fn phases(&self) -> Vec<Phase> {
        let World { ledger, policy, trust, .. } = &self.world;
        let (service, environment) = ("shop".parse().unwrap(), "production".parse().unwrap());
        let (at, lane) = (ledger.tip().unwrap(), ledger.control().unwrap());
        let found = history(ledger, &at, &lane, (policy, trust), &service, &environment).unwrap();
        found.records.iter().filter_map(|record| Some(record.promotion()?.phase)).collect()
    }

    /// Manifests of summaries at the destination, listed or not.
    fn summaries(&self) -> usize {
        let there = self.fake.manifests(PRODUCTION);
        let is = |bytes: &[u8]| named("PUT", &format!("/v2/{PRODUCTION}/manifests/sha256:"), bytes).1;
        there.iter().filter(|bytes| is(bytes) == "summary").count()
    }

    /// One commit, the tag on it, a summary on every manifest, nothing left.
    #[track_caller]
    fn ended_well(&mut self, phases: &[Phase]) {
        assert_eq!(self.phases(), phases);
        assert_eq!(self.fake.tagged(PRODUCTION, TAG), Some(self.image.root.to_string()));
        assert_eq!(block_on(self.world.left()).unwrap(), []);
        assert_eq!(self.fake.manifests(BUILD).len(), if self.ground.referrers { 5 } else { 3 });
    }
}

/// A signature by the build that only a file holds.
fn signature(world: &World, image: &Built) -> Files {
    let name = world.repository("shop", None).to_string();
    let found =
        world.attest("build", crate::verify::COSIGN_SIGN, serde_json::json!({}), &[(&name, image.root)]);
    let file = world.folder.path().join("signature.json");
    std::fs::write(&file, found.raw.bytes()).unwrap();
    Files::read(&[file]).unwrap()
}

#[track_caller]
fn promoted(answer: Result<Answer, WalkError>) -> Promotion {
    match answer.unwrap() {
        Answer::Promoted(promotion) => *promotion,
        Answer::Denied { denied, .. } | Answer::Withheld { denied, .. } => panic!("{denied:?}"),
    }
}

/// How many writes of each name a promotion makes where nothing goes wrong.
fn writes(ground: Ground) -> BTreeMap<String, usize> {
    let mut rig = Rig::new(ground, None);
    let _promotion = promoted(rig.promote());
    let mut count = BTreeMap::new();
    for name in rig.witness.lock().unwrap().writes.drain(..) {
        *count.entry(name).or_insert(0) += 1;
    }
    rig.ended_well(&[Phase::Intent, Phase::Commit]);
    count
}

/// Every write, in both ways; once, and from there on until the command has ended; then the same command again, or
/// `reconcile` before it.
fn every_write_goes_wrong(ground: Ground, expected: &[(&str, usize)]) {
    let count = writes(ground);
    let found: Vec<_> = count.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(found, expected);
    let mut stopped = BTreeMap::new();
    for at in 0..count.values().sum() {
        for fault in [Fault::Failed, Fault::FailedButHappened] {
            for lasting in [false, true] {
                let plan = Plan { at, fault, lasting };
                // Both after every kind of write, for writes of a kind stand beside each other.
                let mend = lasting && (at % 2 == 0) == (fault == Fault::Failed);
                let mut rig = Rig::new(ground, Some(plan));
                let first = rig.promote();
                let hit = rig.witness.lock().unwrap().writes.get(at).cloned();
                let said = format!("{plan:?}, {hit:?}, reconciled: {mend}: {first:?}");
                assert!(hit.is_some(), "{said}");
                let mut phases = vec![Phase::Intent, Phase::Commit];
                if let Ok(Answer::Denied { .. }) = first {
                    panic!("{said}");
                }
                if first.is_err() {
                    stopped.entry(hit.unwrap_or_default()).or_insert([false; 2])[usize::from(mend)] = true;
                    if mend {
                        rig.world.wait(10);
                        let mended = rig.reconcile();
                        assert!(
                            mended.iter().all(|(_, mended)| *mended == Mended::Done),
                            "{said}: {mended:?}"
                        );
                        if mended.iter().any(|(left, _)| matches!(left, Left::Intent { .. })) {
                            phases = vec![Phase::Intent, Phase::Abort, Phase::Intent, Phase::Commit];
                        }
                    }
                    let _promotion = promoted(rig.promote());
                }
                rig.ended_well(&phases);
            }
        }
    }
    // Each of them ended a command at least once before the same command, and once before `reconcile`.
    assert!(
        stopped.keys().eq(count.keys()) && stopped.values().all(|both| *both == [true; 2]),
        "{stopped:?}"
    );
}

/// What is copied, published and tagged at a registry with a referrers API.
const AT_REGISTRY: [(&str, usize); 9] = [
    ("prod/shop blob", 2),
    ("prod/shop evidence", 2),
    ("prod/shop index", 1),
    ("prod/shop manifest", 2),
    ("prod/shop mount", 7),
    ("prod/shop record", 1),
    ("prod/shop summary", 3),
    ("prod/shop tag production", 1),
    ("prod/shop upload opened", 2),
];

#[test]
fn d6_every_write_of_a_promotion_goes_wrong_over_sqlite() {
    let ground = Ground { ledger: "sqlite:ledger.db", referrers: true };
    every_write_goes_wrong(ground, &[&[("append", 2)], &AT_REGISTRY[..]].concat());
}

#[test]
fn d6_every_write_of_a_promotion_goes_wrong_over_slots() {
    let ground = Ground { ledger: "file:ledger", referrers: true };
    let created = [("create commits", 2), ("create evidence", 2), ("create ledger.json", 1)];
    let derived = [("put checkpoint", 2), ("put tile", 2)];
    every_write_goes_wrong(ground, &[&created[..], &AT_REGISTRY, &derived].concat());
}

#[test]
fn d6_every_write_of_a_promotion_goes_wrong_under_a_fallback_tag_with_evidence_in_a_file() {
    let ground = Ground { ledger: "sqlite:ledger.db", referrers: false };
    let writes = [
        ("append", 2),
        // With what finds out whether anything is taken.
        ("prod/shop blob", 4),
        ("prod/shop evidence", 2),
        ("prod/shop fallback tag", 3),
        ("prod/shop index", 1),
        ("prod/shop manifest", 2),
        ("prod/shop mount", 4),
        ("prod/shop record", 1),
        ("prod/shop summary", 3),
        ("prod/shop tag production", 1),
        ("prod/shop upload opened", 4),
    ];
    every_write_goes_wrong(ground, &writes);
}

/// The first look at the registry is on its way while the ledger is read, and nobody waits for its answers then.
#[test]
fn e9_a_ledger_that_is_read_slowly_is_no_registry_that_does_not_answer() {
    let mut rig = Rig::new(Ground { ledger: "sqlite:ledger.db", referrers: true }, None);
    let answer_timeout = Duration::from_secs(3);
    let retry = Retry { tries: 1, ..quick().retry };
    let config = HttpConfig { answer_timeout, retry, ..quick() };
    rig.world.registries = Registries::new(config, rig.world.folder.path().to_owned());
    // The clock is looked at right before the ledger is read.
    let (now, slow) = (rig.world.now(), Cell::new(true));
    let clock = || {
        if slow.take() {
            std::thread::sleep(answer_timeout + Duration::from_millis(100));
        }
        now
    };
    let World { policy, trust, registries, ledger, .. } = &mut rig.world;
    let mut walk = Walk { policy, trust, registries, ledger, clock: &clock, witnesses: None };
    let decision = block_on(walk.check(&rig.request, None)).unwrap();
    assert!(matches!(decision, Decision::Approved(_)), "{decision:?}");
    assert!(!slow.get());
}
