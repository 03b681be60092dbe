//! Random histories drive the real walk over layouts on disk.
//!
//! Invariant: *no sequence of operations ever ends with a promotion to production of a digest whose closure has no
//! valid staging deployment before it.* Checked by [`Oracle`], which looks at the operations that were issued and at
//! nothing the code under test wrote. It knows who holds which key, what was pushed, and which bytes ran where since
//! when; it is exact, so that a wrong no is found too.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use samebits::collect::Files;
use samebits::digest::Digest;
use samebits::gate::Decision;
use samebits::ledger::protocol::{Intent, ProtocolError, Writer, idempotency_key};
use samebits::ledger::review::review;
use samebits::promote::{Answer, Request, WalkError};
use samebits::record::{Phase, Record, Status};
use samebits::reference::{Image, Tag};
use samebits::registry::RegistryError;

use super::protocol::block_on;
use super::world::*;

/// What may happen. Images, keys and names are numbers.
#[derive(Clone, Debug)]
enum Operation {
    /// Built and pushed under the one tag there is: a rebuild, if another was there.
    Push(usize),
    /// Signed and attested by the build, or by somebody else.
    Sign { image: usize, right: bool },
    /// By tag where no image is named, from the build's repository or from staging's.
    Promote { image: Option<usize>, to: To, who: Who, broken: bool },
    /// Said of staging.
    Say { image: usize, status: usize, name: usize, who: Who },
    /// The walk stops between intent and copy.
    Crash { image: usize, production: bool, who: Who },
    /// Somebody moves an environment's tag by hand, or a crash left it behind.
    MoveTag { production: bool, image: usize },
    /// Minutes.
    Wait(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Staging,
    Production,
    ProductionFromStaging,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Release,
    Release2,
    Staging,
    Production,
}

impl Who {
    fn key(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Release2 => "release-2",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }

    fn promotes(self) -> bool {
        matches!(self, Self::Release | Self::Release2)
    }
}

const IMAGES: usize = 4;
const NAMES: [&str; 2] = ["default", "eu"];
const SOAK: i64 = 10;

/// 0 and 1 share amd64, 2 has the same children as 0 under another index, 3 is another image.
fn images() -> [Built; IMAGES] {
    let children = [("linux/amd64", "1"), ("linux/arm64", "1")];
    [
        Built::shop("1"),
        Built::index(&[("linux/amd64", "1"), ("linux/arm64", "2")]),
        Built::index_with(&children, serde_json::json!({ "written": "again" })),
        Built::shop("3"),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let image = || prop_oneof![3 => Just(0_usize), 2 => 0..IMAGES];
    let promoter = || prop_oneof![6 => Just(Who::Release), 2 => Just(Who::Release2), 1 => Just(Who::Staging)];
    let sayer = prop_oneof![6 => Just(Who::Staging), 1 => Just(Who::Release), 1 => Just(Who::Production)];
    let to = prop_oneof![
        2 => Just(To::Staging), 3 => Just(To::Production), 1 => Just(To::ProductionFromStaging)
    ];
    let status = prop_oneof![6 => Just(0_usize), 1 => Just(1), 1 => Just(2)];
    prop_oneof![
        3 => image().prop_map(Operation::Push),
        2 => (image(), prop::bool::weighted(0.8)).prop_map(|(image, right)| Operation::Sign { image, right }),
        6 => (prop::option::weighted(0.7, image()), to, promoter(), prop::bool::weighted(0.15))
            .prop_map(|(image, to, who, broken)| Operation::Promote { image, to, who, broken }),
        5 => (image(), status, prop_oneof![4 => Just(0_usize), 1 => Just(1)], sayer)
            .prop_map(|(image, status, name, who)| Operation::Say { image, status, name, who }),
        1 => (image(), any::<bool>(), promoter())
            .prop_map(|(image, production, who)| Operation::Crash { image, production, who }),
        1 => (any::<bool>(), image()).prop_map(|(production, image)| Operation::MoveTag { production, image }),
        4 => prop_oneof![Just(1_i64), Just(9), Just(10), Just(11)].prop_map(Operation::Wait),
    ]
}

/// What has to be so, from the operations alone.
#[derive(Default)]
struct Oracle {
    minute: i64,
    pushed: BTreeSet<usize>,
    tag: Option<usize>,
    signed: BTreeSet<usize>,
    staged: BTreeSet<usize>,
    /// By deployment name and manifest: since when it runs there.
    since: BTreeMap<(usize, Digest), i64>,
    /// By manifest: the longest it ever ran in one place without a break, of what is over.
    longest: BTreeMap<Digest, i64>,
    /// By environment: the image the last promotion made current; none after somebody moved the tag.
    current: [Option<usize>; 2],
    moved: [bool; 2],
    /// By environment: when intents were left open, whose, and of what.
    open: [Vec<(i64, Who, usize)>; 2],
}

impl Oracle {
    /// Staging says it; nobody else's word counts.
    fn say(&mut self, images: &[Built; IMAGES], image: usize, status: usize, name: usize) {
        let has: BTreeSet<Digest> = images[image].closure.platforms().map(|(digest, _)| digest).collect();
        let all: BTreeSet<Digest> =
            images.iter().flat_map(|image| image.closure.platforms().map(|(digest, _)| digest)).collect();
        for manifest in all {
            let runs = has.contains(&manifest);
            let ends = match status {
                // Deployed: what it does not have is replaced.
                0 => !runs,
                // Removed or failed: what it has is gone.
                _ => runs,
            };
            if ends && let Some(since) = self.since.remove(&(name, manifest)) {
                let lasted = self.longest.entry(manifest).or_insert(0);
                *lasted = (*lasted).max(self.minute - since);
            }
            if runs && status == 0 {
                self.since.entry((name, manifest)).or_insert(self.minute);
            }
        }
    }

    /// Every platform manifest ran for ten minutes in one place without a break.
    fn proven(&self, built: &Built) -> bool {
        built.closure.platforms().all(|(manifest, _)| {
            let over = self.longest.get(&manifest).copied();
            let running = (0..NAMES.len()).filter_map(|name| self.since.get(&(name, manifest)));
            running.map(|since| self.minute - since).chain(over).any(|lasted| lasted >= SOAK)
        })
    }
}

fn environment(production: bool) -> &'static str {
    if production { "production" } else { "staging" }
}

/// A world, what ought to be in it, and the commits that were answered.
struct Play {
    world: World,
    images: [Built; IMAGES],
    oracle: Oracle,
    commits: BTreeSet<u64>,
    /// How many promotions to production there were, for the census.
    promoted: usize,
}

impl Play {
    fn new() -> Self {
        let (world, oracle) = (World::new(&on_disk()), Oracle::default());
        Self { world, images: images(), oracle, commits: BTreeSet::new(), promoted: 0 }
    }

    async fn step(&mut self, operation: &Operation) {
        match operation.clone() {
            Operation::Push(image) => {
                self.world.push(&self.images[image], "v1").await;
                self.oracle.pushed.insert(image);
                self.oracle.tag = Some(image);
            }
            Operation::Sign { image, right } => {
                if self.oracle.pushed.contains(&image) {
                    let named = Image::new(self.world.repository("shop", None), self.images[image].root);
                    self.world.attach(&named, if right { "build" } else { "ana" }).await;
                    if right {
                        self.oracle.signed.insert(image);
                    }
                }
            }
            Operation::Say { image, status, name, who } => {
                let said = self.world.deployment("staging", &self.images[image]).name(NAMES[name]);
                let said = said.status([Status::Succeeded, Status::Removed, Status::Failed][status]);
                self.world.record(who.key(), &said);
                if who == Who::Staging {
                    self.oracle.say(&self.images, image, status, name);
                }
            }
            Operation::Wait(minutes) => {
                self.world.wait(minutes);
                self.oracle.minute += minutes;
            }
            Operation::MoveTag { production, image } => {
                let repository = self.world.repository("shop", Some(environment(production)));
                let tag: Tag = environment(production).parse().unwrap();
                let named = Image::new(repository, self.images[image].root);
                if self.world.registries.set_tag(&named, &tag).await.is_ok() {
                    self.oracle.moved[usize::from(production)] = true;
                }
            }
            Operation::Crash { image, production, who } => self.crash(image, production, who).await,
            Operation::Promote { image, to, who, broken } => self.promote(image, to, who, broken).await,
        }
    }

    /// Somebody's run decides, opens its intent, and is never heard of again.
    async fn crash(&mut self, image: usize, production: bool, who: Who) {
        let repository = self.world.repository("shop", None);
        let request = pinned(&repository, &self.images[image], environment(production), "crash");
        let Ok(Decision::Approved(approved)) = self.world.check(&request, who.key()).await else { return };
        let now = self.world.now();
        let mut ledger = self.world.reopen();
        let World { policy, trust, .. } = &self.world;
        let key = self.world.key(who.key());
        let idempotency = idempotency_key(approved.verdict(), "crash");
        let mut writer = Writer { ledger: &mut ledger, policy, trust, signer: key };
        let rules = policy.find_environment(environment(production)).unwrap();
        match Intent::open(&mut writer, approved, rules, idempotency, now) {
            Ok(_dropped) => {
                let open = &mut self.oracle.open[usize::from(production)];
                if !open.iter().any(|left| (left.1, left.2) == (who, image)) {
                    *open = vec![(self.oracle.minute, who, image)];
                }
            }
            Err(ProtocolError::Busy { .. }) => self.busy(production),
            Err(error) => panic!("{error}"),
        }
    }

    /// Somebody else's intent is open, and not for ten minutes yet.
    fn busy(&self, production: bool) {
        let open = &self.oracle.open[usize::from(production)];
        assert!(open.iter().any(|left| self.oracle.minute - left.0 < SOAK), "nobody is at it: {open:?}");
    }

    async fn promote(&mut self, image: Option<usize>, to: To, who: Who, broken: bool) {
        let production = to != To::Staging;
        let repository = match to {
            To::Staging | To::Production => self.world.repository("shop", None),
            To::ProductionFromStaging => self.world.repository("shop", Some("staging")),
        };
        let staging = to == To::ProductionFromStaging;
        // 1. What is meant, by the operations that were issued.
        let (reference, meant) = match (image, staging) {
            (Some(image), _) => {
                let request = pinned(&repository, &self.images[image], environment(production), "");
                (request.reference, Some(image))
            }
            (None, false) => (tagged(&repository, "v1"), self.oracle.tag),
            // What staging's tag means after somebody moved it is nobody's to say.
            (None, true) if self.oracle.moved[0] => return,
            (None, true) => (tagged(&repository, "staging"), self.oracle.current[0]),
        };
        let there = match (meant, staging) {
            (Some(image), true) => self.oracle.staged.contains(&image),
            (Some(image), false) => self.oracle.pushed.contains(&image),
            (None, _) => false,
        };
        let run = format!("run {}", self.oracle.minute);
        let environment = environment(production).to_owned();
        let request =
            Request { reference, environment, service: None, run, files: Files::default(), permit: false };
        // 2. The walk, perhaps with a layer that cannot be read.
        let layer = meant.filter(|_| broken).map(|image| {
            let layer = self.images[image].closure.blobs().into_iter().max_by_key(|blob| blob.digest);
            let folder = if staging { "staging/shop" } else { "build/shop" };
            let blobs = self.world.folder.path().join(folder).join("blobs/sha256");
            (blobs.join(layer.unwrap().digest.hex()), blobs.join("hidden"))
        });
        let hidden = layer.filter(|(from, to)| std::fs::rename(from, to).is_ok());
        let answer = self.world.promote(&request, who.key()).await;
        if let Some((from, to)) = &hidden {
            std::fs::rename(to, from).unwrap();
        }
        // 3. The answer against the oracle.
        let allowed = meant.filter(|image| {
            let good = match production {
                true => self.oracle.proven(&self.images[*image]),
                false => self.oracle.signed.contains(image),
            };
            there && who.promotes() && good
        });
        match answer {
            Ok(Answer::Promoted(promotion)) => {
                let image = allowed.unwrap_or_else(|| {
                    panic!("promoted, and it never ran: {meant:?} to {to:?}\n{}", story(promotion.verdict()))
                });
                assert_eq!(promotion.destination().digest, self.images[image].root);
                let place = usize::from(production);
                self.oracle.current[place] = Some(image);
                self.oracle.moved[place] = false;
                self.oracle.open[place].clear();
                if !production {
                    self.oracle.staged.insert(image);
                }
                self.promoted += usize::from(production);
                self.commits.insert(promotion.commit().index);
                self.has_arrived(image, production, promotion.commit().index).await;
            }
            Ok(Answer::Denied { denied, .. } | Answer::Withheld { denied, .. }) => {
                assert!(there && allowed.is_none(), "denied: {meant:?}\n{}", story(denied.verdict()));
            }
            Err(WalkError::Registry(error))
                if matches!(
                    *error,
                    RegistryError::NoSuchImage { .. } | RegistryError::LayoutAbsent { .. }
                ) =>
            {
                assert!(!there, "{meant:?}");
            }
            Err(WalkError::Copy { .. }) => {
                assert!(hidden.is_some() && allowed.is_some(), "{meant:?}");
                // A stale rival was aborted before, and this run's own intent is open now.
                let open = &mut self.oracle.open[usize::from(production)];
                *open = vec![(self.oracle.minute, who, meant.unwrap())];
            }
            Err(WalkError::Protocol(ProtocolError::Busy { .. })) => {
                assert!(allowed.is_some());
                self.busy(production);
            }
            Err(error) => panic!("{operation}: {error:?}", operation = request.environment),
        }
    }

    /// The commit is in the log, every byte is at the destination, the tag means it.
    async fn has_arrived(&self, image: usize, production: bool, commit: u64) {
        let World { ledger, trust, registries, .. } = &self.world;
        let repository = self.world.repository("shop", Some(environment(production)));
        let record = Record::read(&ledger.read(&ledger.tip().unwrap(), commit).unwrap(), trust).unwrap();
        let promotion = record.promotion().unwrap();
        assert_eq!(promotion.phase, Phase::Commit);
        assert_eq!(promotion.to.environment.as_ref().unwrap().as_str(), environment(production));
        assert_eq!(record.subjects().image, Image::new(repository.clone(), self.images[image].root));
        let missing = registries.has_closure(&repository, &self.images[image].closure).await.unwrap();
        assert!(missing.is_empty(), "{missing:?}");
        self.tags_are_the_commits().await;
    }

    async fn tags_are_the_commits(&self) {
        for production in [false, true] {
            let place = usize::from(production);
            let repository = self.world.repository("shop", Some(environment(production)));
            let tag = environment(production).parse().unwrap();
            let found = self.world.registries.tagged(&repository, &tag).await.unwrap();
            let current = self.oracle.current[place].map(|image| self.images[image].root);
            assert!(self.oracle.moved[place] || found == current, "{}", environment(production));
        }
    }

    /// The whole log: intact, and no commit that was not answered.
    async fn ends(&self) {
        self.tags_are_the_commits().await;
        let World { ledger, trust, .. } = &self.world;
        let audit = review(ledger, trust).unwrap();
        assert!(audit.findings().is_empty(), "{:?}", audit.findings());
        let at = ledger.tip().unwrap();
        for index in 0..at.size() {
            let record = Record::read(&ledger.read(&at, index).unwrap(), trust).unwrap();
            let commits = record.promotion().is_some_and(|promotion| promotion.phase == Phase::Commit);
            assert_eq!(commits, self.commits.contains(&index), "record {index}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_history_promotes_to_production_what_did_not_run_in_staging(
        operations in prop::collection::vec(operation(), 8..40),
    ) {
        block_on(async {
            let mut play = Play::new();
            for operation in &operations {
                play.step(operation).await;
            }
            play.ends().await;
        });
    }
}

/// The property is about something only if histories get that far.
#[test]
fn the_histories_reach_production() {
    use Operation::{Crash, MoveTag, Promote, Push, Say, Sign, Wait};
    let promote = |image, to| Promote { image, to, who: Who::Release, broken: false };
    let history = [
        Push(0),
        Sign { image: 0, right: true },
        promote(None, To::Staging),
        Say { image: 0, status: 0, name: 0, who: Who::Staging },
        Wait(9),
        promote(None, To::Production),
        Wait(1),
        Promote { image: Some(0), to: To::Production, who: Who::Release, broken: true },
        promote(None, To::Production),
        MoveTag { production: true, image: 0 },
        Push(3),
        promote(None, To::Production),
        promote(Some(2), To::Production),
        Push(2),
        promote(Some(2), To::Production),
        Crash { image: 0, production: true, who: Who::Release2 },
        promote(Some(2), To::Production),
        Wait(10),
        promote(Some(0), To::ProductionFromStaging),
    ];
    block_on(async {
        let mut play = Play::new();
        for operation in &history {
            play.step(operation).await;
        }
        play.ends().await;
        assert_eq!((play.promoted, play.commits.len()), (3, 4));
    });
}
