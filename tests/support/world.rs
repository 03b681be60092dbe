//! A world for tests: real keys, a validated policy, images made of real bytes, a ledger on disk, a clock.
//!
//! Nothing in it is a mock: keys are generated, records are signed and appended through the protocol's own
//! [`Writer`], attestations go through [`verify::bundle`], closures through [`Builder`]. What is settable is the
//! clock, and whose key signs: every forgery here is something that a person with that key could do.
//!
//! Start at [`World::new`] with [`POLICY`], or with [`with`] a piece of it replaced.

use std::cell::Cell;
use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use samebits::closure::{Builder, Closure, Limits, Platform};
use samebits::collect::{BUNDLE, Files, recall, trust};
use samebits::digest::Digest;
use samebits::evidence::{Control, Evidence, Found, Raw, Source, TagSeen, Target};
use samebits::gate::{Code, Decision, Finding, Requirement, Verdict, decide};
use samebits::key::{Algorithm, PrivateKey};
use samebits::ledger::Ledger;
use samebits::ledger::protocol::{ProtocolError, Step, Writer};
use samebits::policy::{Draft as PolicyDraft, EvidenceClass, Policy};
use samebits::promote::reconcile::{Left, Mended};
use samebits::promote::{Answer, Request, Stage, Walk, WalkError};
use samebits::record::{
    Actor, Approval, ApprovedFor, Body, ControlBody, ControlDraft, Deployment, Direction, Draft,
    EffectiveFrom, Endpoint, Freeze, LedgerView, Phase, PolicyVersion, Position, Promotion, Revocation,
    RevocationEffect, Revoked, Runtime, Scope, Sha256, Status, Subjects, TreeHead, Verdict as Approves,
};
use samebits::reference::{Image, Reference, Repository, Tag};
use samebits::registry::{HttpConfig, Registries};
use samebits::replay::{Recorded, ReplayError};
use samebits::tlog::LogSigner;
use samebits::verify::{COSIGN_SIGN, Identity, Trust, bundle, provenance, sign_statement};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Two services, two platforms, staging before production for an hour, observed.
pub(crate) const POLICY: &str = r#"version = 1
[ledger]
url = "sqlite:ledger.db"
origin = "test.example/log"
verifier = "@VERIFIER@"

[signers.build]
public-key = "keys/build.pub"
time = "not-required"
[signers.staging]
public-key = "keys/staging.pub"
[signers.release]
any-of = [{ public-key = "keys/release.pub" }, { public-key = "keys/release-2.pub" }]
[signers.production]
public-key = "keys/production.pub"
[signers.managers]
any-of = [{ public-key = "keys/ana.pub" }, { public-key = "keys/ben.pub" }]

[services.shop]
repository = "registry.example/shop"
platforms = ["linux/amd64", "linux/arm64"]
[services.api]
repository = "registry.example/api"

[environments.staging]
entry = true
repository = "registry.example/staging/{service}"
tag = "staging"
promoters = ["release"]
deployers = ["staging"]
[environments.staging.require]
signed-by = "build"
[environments.staging.require.provenance]
signer = "build"
builder = "https://ci.example/builder"
source = "https://git.example/acme/{service}"
ref = "refs/heads/main"

[environments.production]
after = [{ environment = "staging", for-at-least = "1h", evidence = "observed" }]
repository = "registry.example/prod/{service}"
tag = "production"
promoters = ["release"]
deployers = ["production"]
[environments.production.require]
approvals = { count = 1, from = ["managers"] }
"#;

/// The line of [`POLICY`] that asks for approvals.
pub(crate) const APPROVALS: &str = "[environments.production.require]
approvals = { count = 1, from = [\"managers\"] }
";

/// [`POLICY`], or what was made of it, with `security` and `security-2` as revokers.
pub(crate) fn guarded(policy: &str) -> String {
    let control = "[signers.security]
any-of = [{ public-key = \"keys/security.pub\" }, { public-key = \"keys/security-2.pub\" }]

[control]
revokers = [\"security\"]

[services.shop]
";
    assert_eq!(policy.matches("[services.shop]\n").count(), 1);
    policy.replace("[services.shop]\n", control)
}

/// What [`guarded`] made, with `duty` and `duty-2` as freezers.
pub(crate) fn freezable(policy: &str) -> String {
    let duty = "[signers.duty]
any-of = [{ public-key = \"keys/duty.pub\" }, { public-key = \"keys/duty-2.pub\" }]

[control]
freezers = [\"duty\"]
";
    assert_eq!(policy.matches("[control]\n").count(), 1);
    policy.replace("[control]\n", duty)
}

/// [`POLICY`] with pieces replaced, each of which must be there exactly once.
pub(crate) fn with(pieces: &[(&str, &str)]) -> String {
    pieces.iter().fold(POLICY.to_owned(), |text, (piece, other)| {
        assert_eq!(text.matches(piece).count(), 1, "{piece:?}");
        text.replace(piece, other)
    })
}

/// [`POLICY`] over OCI layouts on disk, without approvals, with a soak of ten minutes.
pub(crate) fn on_disk() -> String {
    with(&[
        ("registry.example/shop", "oci:build/shop"),
        ("registry.example/api", "oci:build/api"),
        ("registry.example/staging/{service}", "oci:staging/{service}"),
        ("registry.example/prod/{service}", "oci:prod/{service}"),
        (APPROVALS, ""),
        ("\"1h\"", "\"10m\""),
    ])
}

/// Nine in the morning of a day long after any `warn-until` that a test does not set.
pub(crate) const MORNING: &str = "2030-03-01T09:00:00Z";

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// See the module.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) policy: Policy,
    pub(crate) trust: Trust,
    pub(crate) ledger: Ledger,
    pub(crate) registries: Registries,
    pub(crate) log: LogSigner,
    keys: BTreeMap<String, PrivateKey>,
    now: Cell<Timestamp>,
}

impl World {
    /// The policy's keys, an empty ledger, nine in the morning. `stranger` is a key the policy does not name.
    pub(crate) fn new(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = LogSigner::generate("test.example/log".parse().unwrap()).unwrap();
        let ledger = Ledger::create("sqlite:ledger.db", folder.path(), &log).unwrap();
        let registries = Registries::new(HttpConfig::default(), folder.path().to_owned());
        let mut keys = BTreeMap::new();
        let policy = read(policy, &log, &mut keys);
        keys.insert("stranger".to_owned(), PrivateKey::generate(Algorithm::Ed25519).unwrap());
        let trust = trust(&policy);
        let now = Cell::new(MORNING.parse().unwrap());
        Self { folder, policy, trust, ledger, registries, log, keys, now }
    }

    /// Another policy file over the same keys and the same ledger.
    pub(crate) fn govern(&mut self, policy: &str) {
        self.policy = read(policy, &self.log, &mut self.keys);
        self.trust = trust(&self.policy);
    }

    /// The key file `keys/NAME.pub` holds another key from now on; the policy file stays as it is.
    pub(crate) fn replace_key(&mut self, name: &str, key: PrivateKey, policy: &str) {
        self.keys.insert(name.to_owned(), key);
        self.govern(policy);
    }

    /// The ledger, opened again: as another process has it.
    pub(crate) fn reopen(&self) -> Ledger {
        let vkey = self.log.vkey().clone();
        Ledger::open("sqlite:ledger.db", self.folder.path(), &vkey, Some(self.log.clone())).unwrap()
    }

    /// Another process with the same keys, policy, layouts and ledger; for what happens meanwhile.
    pub(crate) fn hook(&self) -> Hook {
        let copy = |key: &PrivateKey| PrivateKey::from_pem(&key.to_pem()).unwrap();
        Hook(std::cell::RefCell::new(World {
            folder: tempfile::tempdir().unwrap(),
            policy: self.policy.clone(),
            trust: self.trust.clone(),
            ledger: self.reopen(),
            registries: Registries::new(HttpConfig::default(), self.folder.path().to_owned()),
            log: self.log.clone(),
            keys: self.keys.iter().map(|(name, key)| (name.clone(), copy(key))).collect(),
            now: self.now.clone(),
        }))
    }

    pub(crate) fn key(&self, name: &str) -> &PrivateKey {
        self.keys.get(name).unwrap_or_else(|| panic!("there is no key {name}"))
    }

    pub(crate) fn identity(&self, name: &str) -> Identity {
        Identity::Key { id: self.key(name).public().id() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now.get()
    }

    /// The clock goes on.
    pub(crate) fn wait(&self, minutes: i64) {
        self.now.set(self.now.get() + SignedDuration::from_mins(minutes));
    }

    pub(crate) fn set_clock(&self, text: &str) {
        self.now.set(text.parse().unwrap());
    }

    /// `HH:MM` of the first day.
    pub(crate) fn at(text: &str) -> Timestamp {
        format!("2030-03-01T{text}:00Z").parse().unwrap()
    }

    /// Where the service lies in an environment, or where its build pushes.
    pub(crate) fn repository(&self, service: &str, environment: Option<&str>) -> Repository {
        let service = self.policy.find_service(service).unwrap();
        match environment {
            None => service.repository().clone(),
            Some(name) => {
                let environment = self.policy.find_environment(name).unwrap();
                environment.repository(service.name()).unwrap().clone()
            }
        }
    }

    /// A deployment of the image in the environment, now, under the name `default`, observed: to be changed, then
    /// recorded with [`World::record`].
    pub(crate) fn deployment(&self, environment: &str, built: &Built) -> Said {
        let repository = self.repository("shop", Some(environment));
        Said {
            subjects: built.subjects(repository),
            service: "shop".to_owned(),
            environment: environment.to_owned(),
            name: "default".to_owned(),
            status: Status::Succeeded,
            began: self.now(),
            ended: self.now(),
            class: EvidenceClass::Observed,
            runtime: Some(Runtime { observed_digest: built.root, platform: None, replicas: Some(1) }),
        }
    }

    /// Signs with the key `who` and appends.
    pub(crate) fn record(&mut self, who: &str, said: &Said) -> Position {
        let actor = Actor::from(&self.identity(who));
        let (service, environment) = (said.service.parse().unwrap(), said.environment.parse().unwrap());
        let key = Digest::of(&said.ended.to_string().into_bytes());
        let draft = |view: &samebits::ledger::protocol::View<'_>| Draft {
            subjects: said.subjects.clone(),
            body: Body::Deployment(Deployment {
                actor: actor.clone(),
                service: said.service.parse().unwrap(),
                environment: said.environment.parse().unwrap(),
                deployment_name: said.name.clone(),
                status: said.status,
                started_on: said.began,
                finished_on: said.ended,
                evidence_class: said.class,
                runtime: said.runtime.clone(),
                parity: BTreeMap::new(),
                external_url: None,
                ledger: view.ledger(key),
            }),
        };
        let Self { ledger, policy, trust, keys, .. } = self;
        let mut writer = Writer { ledger, policy, trust, signer: &keys[who] };
        let (written, ()) = writer
            .append(&service, &environment, |view| {
                Ok::<_, ProtocolError>(Step::Append(Box::new(draft(view)), ()))
            })
            .unwrap();
        written.unwrap().position
    }

    /// Deployed in staging by staging, observed, now.
    pub(crate) fn staged(&mut self, built: &Built) -> Position {
        let said = self.deployment("staging", built);
        self.record("staging", &said)
    }

    /// An approval of the image for production, for a day, by `who`: to be changed, then recorded with
    /// [`World::approve`].
    pub(crate) fn approval(&self, who: &str, built: &Built) -> (Subjects, Approval) {
        let approval = Approval {
            actor: Actor::from(&self.identity(who)),
            service: "shop".parse().unwrap(),
            decision: Approves::Approved,
            approved_for: ApprovedFor {
                environment: "production".parse().unwrap(),
                policy_digest: self.policy.digest(),
                keys: self.policy.key_digests().clone(),
            },
            nonce: Digest::of(self.now().to_string().as_bytes()),
            valid_until: self.now() + SignedDuration::from_hours(24),
            decided_on: self.now(),
            comment: None,
            ledger: LedgerView {
                origin: String::new(),
                observed: TreeHead::empty(),
                control: TreeHead::empty(),
                idempotency_key: Digest::of(b""),
                prev: None,
            },
        };
        (built.subjects(self.repository("shop", None)), approval)
    }

    /// Signs the approval with the key `who` and appends it.
    pub(crate) fn approve(&mut self, who: &str, (subjects, approval): &(Subjects, Approval)) -> Position {
        let (service, environment) = (&approval.service, &approval.approved_for.environment);
        let Self { ledger, policy, trust, keys, .. } = self;
        let mut writer = Writer { ledger, policy, trust, signer: &keys[who] };
        let (written, ()) = writer
            .append(service, environment, |view| {
                let mut approval = approval.clone();
                approval.ledger = view.ledger(approval.nonce);
                let draft = Draft { subjects: subjects.clone(), body: Body::Approval(approval) };
                Ok::<_, ProtocolError>(Step::Append(Box::new(draft), ()))
            })
            .unwrap();
        written.unwrap().position
    }

    /// The control lane as it is.
    pub(crate) fn control(&self) -> Control {
        Control::read(&self.ledger.control().unwrap(), &self.trust)
    }

    /// Appends to the control lane, signed by the key `who`, whoever that is.
    pub(crate) fn revoke(&mut self, who: &str, said: &Revokes) -> Position {
        let (actor, now) = (Actor::from(&self.identity(who)), self.now());
        let Self { ledger, policy, trust, keys, .. } = self;
        let mut writer = Writer { ledger, policy, trust, signer: &keys[who] };
        let (position, ()) = writer
            .append_control(|view| {
                let body = Revocation {
                    actor: actor.clone(),
                    target: said.target.clone(),
                    scope: said.scope.clone(),
                    effect: if said.lifts.is_some() {
                        RevocationEffect::Lift
                    } else {
                        RevocationEffect::Refuse
                    },
                    reason: "CVE-2030-1".to_owned(),
                    effective_from: said.from,
                    lifts: said.lifts,
                    decided_on: now,
                    ledger: view.ledger(Digest::of(b"revocation")),
                };
                let draft = ControlDraft(ControlBody::Revocation(Box::new(body)));
                Ok::<_, ProtocolError>(Step::Append(Box::new(draft), ()))
            })
            .unwrap();
        position.unwrap()
    }

    /// Appends a freeze, or its end, to the control lane, signed by the key `who`, whoever that is.
    pub(crate) fn freeze(&mut self, who: &str, said: &Freezes) -> Position {
        let (actor, now) = (Actor::from(&self.identity(who)), self.now());
        let Self { ledger, policy, trust, keys, .. } = self;
        let mut writer = Writer { ledger, policy, trust, signer: &keys[who] };
        let (position, ()) = writer
            .append_control(|view| {
                let body = Freeze {
                    actor: actor.clone(),
                    scope: said.scope.clone(),
                    from: said.from,
                    until: said.until,
                    reason: "incident 117".to_owned(),
                    lifts: said.lifts,
                    decided_on: now,
                    ledger: view.ledger(Digest::of(b"freeze")),
                };
                let draft = ControlDraft(ControlBody::Freeze(Box::new(body)));
                Ok::<_, ProtocolError>(Step::Append(Box::new(draft), ()))
            })
            .unwrap();
        position.unwrap()
    }

    /// Signs a promotion record into production with the key `who` and appends it: no gate was asked.
    pub(crate) fn forge(
        &mut self,
        who: &str,
        built: &Built,
        phase: Phase,
        intent: Option<Position>,
    ) -> Position {
        self.forge_with(who, built, phase, intent, |_| ())
    }

    /// [`World::forge`], after `change` had its way with what is signed.
    pub(crate) fn forge_with(
        &mut self,
        who: &str,
        built: &Built,
        phase: Phase,
        intent: Option<Position>,
        change: impl Fn(&mut Promotion),
    ) -> Position {
        let template = self.forged(who, built, phase, intent);
        let (service, environment) = (template.body.service().clone(), "production".parse().unwrap());
        let Self { ledger, policy, trust, keys, .. } = self;
        let mut writer = Writer { ledger, policy, trust, signer: &keys[who] };
        let (written, ()) = writer
            .append(&service, &environment, |view| {
                let mut draft = template.clone();
                let Body::Promotion(body) = &mut draft.body else { panic!("{draft:?}") };
                body.ledger = view.ledger(Digest::of(b"forged"));
                change(body);
                Ok::<_, ProtocolError>(Step::Append(Box::new(draft), ()))
            })
            .unwrap();
        written.unwrap().position
    }

    /// A promotion record of the shop into production, now, that has seen nothing: to be changed and signed.
    pub(crate) fn forged(&self, who: &str, built: &Built, phase: Phase, intent: Option<Position>) -> Draft {
        let repository = self.repository("shop", Some("production"));
        let policy = &self.policy;
        let body = Promotion {
            actor: Actor::from(&self.identity(who)),
            service: "shop".parse().unwrap(),
            phase,
            kind: Direction::Promote,
            intent,
            from: Endpoint { environment: None, uri: self.repository("shop", None) },
            to: Endpoint { environment: Some("production".parse().unwrap()), uri: repository.clone() },
            supersedes: None,
            policy: PolicyVersion {
                uri: policy.file().to_owned(),
                digest: Sha256(policy.digest()),
                keys: policy.key_digests().clone(),
            },
            roots: Vec::new(),
            evidence: Vec::new(),
            exceptions: Vec::new(),
            level: None,
            rationale: Vec::new(),
            rollback_to: None,
            abort_reason: None,
            basis: None,
            decided_on: self.now(),
            ledger: LedgerView {
                origin: "test.example/log".to_owned(),
                observed: TreeHead::empty(),
                control: TreeHead::empty(),
                idempotency_key: Digest::of(b"forged"),
                prev: None,
            },
        };
        Draft { subjects: built.subjects(repository), body: Body::Promotion(Box::new(body)) }
    }

    /// A statement about these subjects, signed with the key `who`, verified, as if found on the first of them.
    pub(crate) fn attest(&self, who: &str, kind: &str, predicate: Value, about: &[(&str, Digest)]) -> Found {
        let bytes = sign_statement(&statement(kind, predicate, about), self.key(who)).unwrap();
        let attestation = bundle(&bytes, &self.trust).unwrap();
        let raw = Raw::bundle(bytes.into());
        Found { on: about[0].1, source: Source::Referrer, attestation, raw }
    }

    /// What the build attaches: a signature and provenance, both naming the service's repository.
    pub(crate) fn built(&self, built: &Built) -> Vec<Found> {
        let about = [("registry.example/shop", built.root)];
        vec![
            self.attest("build", COSIGN_SIGN, json!({}), &about),
            self.attest("build", provenance::V1, slsa(SOURCE), &about),
        ]
    }

    /// May this image of the shop, named in the build's repository, enter? `release` asks.
    pub(crate) fn ask(&self, environment: &str, built: &Built, attestations: &[Found]) -> Decision {
        self.question(built).ask(environment, attestations)
    }

    /// A question with everything that can be asked otherwise.
    pub(crate) fn question<'w>(&'w self, built: &'w Built) -> Question<'w> {
        Question {
            world: self,
            built,
            service: "shop".to_owned(),
            repository: self.repository("shop", None),
            requester: Some(self.identity("release")),
            tag: None,
        }
    }

    /// The whole walk, with the key `who`; the clock stands still.
    pub(crate) async fn promote(&mut self, request: &Request, who: &str) -> Result<Answer, WalkError> {
        let now = self.now();
        self.promote_by(request, who, &|| now).await
    }

    /// The whole walk by a clock that may do other things when it is asked.
    pub(crate) async fn promote_by(
        &mut self,
        request: &Request,
        who: &str,
        clock: &dyn Fn() -> Timestamp,
    ) -> Result<Answer, WalkError> {
        let Self { policy, trust, registries, ledger, keys, .. } = self;
        let answer = Walk { policy, trust, registries, ledger, clock, witnesses: None }
            .promote(request, &keys[who])
            .await;
        if answer.is_ok() {
            self.replays_the_same();
        }
        answer
    }

    /// Every decision in the ledger, made again from what was kept with it, is the one that was recorded.
    #[track_caller]
    pub(crate) fn replays_the_same(&self) {
        for index in 0..self.ledger.tip().unwrap().size() {
            match Recorded::load(&self.ledger, index) {
                Ok(recorded) => {
                    let again = recorded.again(&self.ledger).unwrap();
                    assert_eq!(again.differences(), [], "record {index}: {}", story(again.verdict()));
                }
                Err(ReplayError::NotADecision { .. } | ReplayError::NoBasis { .. }) => {}
                Err(error) => panic!("record {index}: {error}"),
            }
        }
    }

    /// The whole walk, to where `stop` says so: there it ends as if the machine had.
    pub(crate) fn crash(&mut self, request: &Request, who: &str, stop: impl Fn(&Stage<'_>) -> bool) {
        let now = self.now();
        let Self { policy, trust, registries, ledger, keys, .. } = self;
        let mut walk = Walk { policy, trust, registries, ledger, clock: &|| now, witnesses: None };
        let watch = |stage: Stage<'_>| {
            if stop(&stage) {
                std::panic::panic_any(Crash);
            }
        };
        let run = walk.promote_watched(request, &keys[who], &watch);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        crashes(|| drop(runtime.block_on(run)));
    }

    /// What is not as the ledger says of the shop in production.
    pub(crate) async fn left(&mut self) -> Result<Vec<Left>, WalkError> {
        let now = self.now();
        let Self { policy, trust, registries, ledger, .. } = self;
        let service = policy.find_service("shop").unwrap();
        let environment = policy.find_environment("production").unwrap();
        Walk { policy, trust, registries, ledger, clock: &|| now, witnesses: None }
            .left(service, environment)
            .await
    }

    /// Mends something that was left, with the key `who`.
    pub(crate) async fn mend(&mut self, left: &Left, who: &str) -> Result<Mended, WalkError> {
        let now = self.now();
        let Self { policy, trust, registries, ledger, keys, .. } = self;
        let service = policy.find_service("shop").unwrap();
        let environment = policy.find_environment("production").unwrap();
        let mut walk = Walk { policy, trust, registries, ledger, clock: &|| now, witnesses: None };
        walk.mend(service, environment, left, &keys[who]).await
    }

    /// The first half of the walk, with the key `who`.
    pub(crate) async fn check(&mut self, request: &Request, who: &str) -> Result<Decision, WalkError> {
        let (now, requester) = (self.now(), self.identity(who));
        let Self { policy, trust, registries, ledger, .. } = self;
        Walk { policy, trust, registries, ledger, clock: &|| now, witnesses: None }
            .check(request, Some(requester.into()))
            .await
    }

    /// Pushes the image to the service's repository under `tag`.
    pub(crate) async fn push(&self, built: &Built, tag: &str) -> Image {
        let repository = self.repository("shop", None);
        let tag: Tag = tag.parse().unwrap();
        for blob in &built.blobs {
            self.registries.push_blob(&repository, blob.clone()).await.unwrap();
        }
        let (root, children) = built.documents.split_last().unwrap();
        for (media_type, bytes) in children {
            let bytes = bytes.clone();
            self.registries.push_manifest(&repository, media_type, bytes, None).await.unwrap();
        }
        let digest =
            self.registries.push_manifest(&repository, root.0, root.1.clone(), Some(&tag)).await.unwrap();
        assert_eq!(digest, built.root);
        Image::new(repository, digest)
    }

    /// Attaches a signature and provenance by the key `who` to what was pushed.
    pub(crate) async fn attach(&self, image: &Image, who: &str) {
        let name = image.repository.to_string();
        for (kind, predicate) in [(COSIGN_SIGN, json!({})), (provenance::V1, slsa(SOURCE))] {
            let statement = statement(kind, predicate, &[(&name, image.digest)]);
            let bytes = sign_statement(&statement, self.key(who)).unwrap();
            self.registries.attach(image, BUNDLE[0], BUNDLE[0], &bytes, &BTreeMap::new()).await.unwrap();
        }
    }
}

/// What a run that ends in the middle ends with.
pub(crate) struct Crash;

/// Runs what has to end in a [`Crash`].
#[track_caller]
pub(crate) fn crashes(run: impl FnOnce()) {
    let hook = std::panic::take_hook();
    // The others go on saying what is wrong with them.
    std::panic::set_hook(Box::new(move |info| {
        if !info.payload().is::<Crash>() {
            hook(info);
        }
    }));
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Err(payload) if payload.is::<Crash>() => {}
        Err(payload) => std::panic::resume_unwind(payload),
        Ok(()) => panic!("the run ended, and was to be ended"),
    }
}

/// A revocation about to be signed.
#[derive(Clone, Debug)]
pub(crate) struct Revokes {
    pub(crate) target: Revoked,
    pub(crate) scope: Scope,
    pub(crate) from: Option<EffectiveFrom>,
    pub(crate) lifts: Option<Position>,
}

impl Revokes {
    pub(crate) fn of(target: Revoked) -> Self {
        Self { target, scope: Scope::default(), from: None, lifts: None }
    }

    /// These bytes.
    pub(crate) fn digest(digest: Digest) -> Self {
        Self::of(Revoked::Digests(vec![digest]))
    }

    /// This identity, from the beginning.
    pub(crate) fn signer(identity: Identity) -> Self {
        Self::of(Revoked::Identities(vec![identity]))
    }

    pub(crate) fn since(mut self, index: u64, time: Timestamp) -> Self {
        self.from = Some(EffectiveFrom { index, time });
        self
    }

    pub(crate) fn scope(mut self, service: Option<&str>, environment: Option<&str>) -> Self {
        self.scope = Scope {
            service: service.map(|name| name.parse().unwrap()),
            environment: environment.map(|name| name.parse().unwrap()),
        };
        self
    }

    /// The end of what was recorded there.
    pub(crate) fn lift(mut self, position: Position) -> Self {
        self.lifts = Some(position);
        self.from = None;
        self
    }
}

/// A freeze about to be signed: of everything, since nine in the morning, until it is thawed.
#[derive(Clone, Debug)]
pub(crate) struct Freezes {
    pub(crate) scope: Scope,
    pub(crate) from: Timestamp,
    pub(crate) until: Option<Timestamp>,
    pub(crate) lifts: Option<Position>,
}

impl Freezes {
    pub(crate) fn everything() -> Self {
        let from = MORNING.parse().unwrap();
        Self { scope: Scope::default(), from, until: None, lifts: None }
    }

    pub(crate) fn scope(mut self, service: Option<&str>, environment: Option<&str>) -> Self {
        self.scope = Scope {
            service: service.map(|name| name.parse().unwrap()),
            environment: environment.map(|name| name.parse().unwrap()),
        };
        self
    }

    /// From and until these times of the first day.
    pub(crate) fn between(mut self, from: &str, until: &str) -> Self {
        (self.from, self.until) = (World::at(from), Some(World::at(until)));
        self
    }

    /// The end of what was recorded there.
    pub(crate) fn lift(mut self, position: Position) -> Self {
        self.lifts = Some(position);
        self
    }
}

/// What another process does meanwhile.
pub(crate) struct Hook(pub(crate) std::cell::RefCell<World>);

impl Hook {
    pub(crate) fn revoke(&self, who: &str, said: &Revokes) {
        self.0.borrow_mut().revoke(who, said);
    }

    pub(crate) fn freeze(&self, who: &str, said: &Freezes) {
        self.0.borrow_mut().freeze(who, said);
    }

    pub(crate) fn record(&self, who: &str, said: &Said) {
        self.0.borrow_mut().record(who, said);
    }

    /// Mends what is left some minutes from now.
    pub(crate) fn reconcile(&self, who: &str, minutes: i64) {
        let mut world = self.0.borrow_mut();
        let world = &mut *world;
        world.wait(minutes);
        std::thread::scope(|scope| {
            let run = scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                for left in runtime.block_on(world.left()).unwrap() {
                    let mended = runtime.block_on(world.mend(&left, who)).unwrap();
                    assert_eq!(mended, Mended::Done, "{left:?}");
                }
            });
            run.join().unwrap();
        });
    }

    /// Records that an image was promoted into production, and does nothing else: no gate was asked.
    pub(crate) fn forge(&self, who: &str, built: &Built) {
        let mut world = self.0.borrow_mut();
        let intent = world.forge(who, built, Phase::Intent, None);
        world.forge(who, built, Phase::Commit, Some(intent));
    }

    /// The whole walk, to a yes, on a runtime of its own: this may be called from within another.
    pub(crate) fn promote(&self, request: &Request, who: &str) {
        let mut world = self.0.borrow_mut();
        let world = &mut *world;
        std::thread::scope(|scope| {
            let run = scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let answer = runtime.block_on(world.promote(request, who)).unwrap();
                assert!(matches!(answer, Answer::Promoted(_)), "{answer:?}");
            });
            run.join().unwrap();
        });
    }
}

fn read(text: &str, log: &LogSigner, keys: &mut BTreeMap<String, PrivateKey>) -> Policy {
    let text = text.replace("@VERIFIER@", &log.vkey().to_string());
    let draft = PolicyDraft::parse("samebits.toml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    let mut files = BTreeMap::new();
    for file in draft.key_files() {
        let name = file.trim_start_matches("keys/").trim_end_matches(".pub").to_owned();
        let key = keys.entry(name).or_insert_with(|| PrivateKey::generate(Algorithm::Ed25519).unwrap());
        files.insert(file, key.public().to_pem());
    }
    draft.validate(&files).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The source the policy expects for the shop.
pub(crate) const SOURCE: &str = "https://git.example/acme/shop";

/// SLSA provenance v1, in the shape GitHub's builders write.
pub(crate) fn slsa(source: &str) -> Value {
    json!({
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": { "workflow": { "repository": source, "ref": "refs/heads/main" } },
            "resolvedDependencies": [
                { "uri": format!("git+{source}@refs/heads/main"), "digest": { "gitCommit": "a".repeat(40) } },
            ],
        },
        "runDetails": { "builder": { "id": "https://ci.example/builder" } },
    })
}

/// An in-toto statement; an empty name is none.
fn statement(kind: &str, predicate: Value, about: &[(&str, Digest)]) -> Vec<u8> {
    let subject: Vec<Value> = about
        .iter()
        .map(|(name, digest)| match name.is_empty() {
            true => json!({ "digest": { "sha256": digest.hex() } }),
            false => json!({ "name": name, "digest": { "sha256": digest.hex() } }),
        })
        .collect();
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject,
        "predicateType": kind,
        "predicate": predicate,
    })
    .to_string()
    .into_bytes()
}

/// A deployment record about to be signed.
#[derive(Clone)]
pub(crate) struct Said {
    pub(crate) subjects: Subjects,
    pub(crate) service: String,
    pub(crate) environment: String,
    pub(crate) name: String,
    pub(crate) status: Status,
    pub(crate) began: Timestamp,
    pub(crate) ended: Timestamp,
    pub(crate) class: EvidenceClass,
    pub(crate) runtime: Option<Runtime>,
}

impl Said {
    /// It ended like this; nothing runs, so nothing is observed of it.
    pub(crate) fn status(mut self, status: Status) -> Self {
        self.status = status;
        if status != Status::Succeeded {
            self.runtime = None;
        }
        self
    }

    /// Began and ended at this time of the first day.
    pub(crate) fn at(mut self, text: &str) -> Self {
        self.began = World::at(text);
        self.ended = self.began;
        self
    }

    pub(crate) fn name(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// A deploy job's word.
    pub(crate) fn asserted(mut self) -> Self {
        self.class = EvidenceClass::Asserted;
        self.runtime = None;
        self
    }

    /// The runtime names a digest, and perhaps a platform.
    pub(crate) fn runtime(mut self, observed_digest: Digest, platform: Option<&str>) -> Self {
        let platform = platform.map(|text| text.parse().unwrap());
        self.runtime = Some(Runtime { observed_digest, platform, replicas: None });
        self
    }

    /// The record lists no platform manifests, as `samebits removed` writes it.
    pub(crate) fn bare(mut self) -> Self {
        self.subjects.platforms.clear();
        self
    }
}

/// An image made of real bytes, nowhere yet.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    pub(crate) root: Digest,
    pub(crate) closure: Closure,
    /// Manifests, the root last: media type and bytes.
    documents: Vec<(&'static str, Bytes)>,
    blobs: Vec<Bytes>,
}

impl Built {
    /// One manifest for a platform; the salt makes other bytes.
    pub(crate) fn single(platform: &str, salt: &str) -> Self {
        let mut blobs = Vec::new();
        let manifest = manifest(platform, salt, &mut blobs);
        Self::of(vec![(MANIFEST, manifest)], blobs)
    }

    /// An index of manifests, each of a platform and a salt: the same pair is the same manifest in every index.
    pub(crate) fn index(children: &[(&str, &str)]) -> Self {
        Self::index_with(children, json!({}))
    }

    /// An index with annotations of its own: other bytes, the same children.
    pub(crate) fn index_with(children: &[(&str, &str)], annotations: Value) -> Self {
        let mut blobs = Vec::new();
        let mut documents = Vec::new();
        let mut entries = Vec::new();
        for (platform, salt) in children {
            let bytes = manifest(platform, salt, &mut blobs);
            let mut entry =
                json!({ "mediaType": MANIFEST, "digest": Digest::of(&bytes), "size": bytes.len() });
            entry["platform"] = fields(platform);
            if *platform == "unknown/unknown" {
                entry["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
            }
            entries.push(entry);
            documents.push((MANIFEST, bytes));
        }
        let mut index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
        if annotations.as_object().is_some_and(|annotations| !annotations.is_empty()) {
            index["annotations"] = annotations;
        }
        documents.push((INDEX, Bytes::from(index.to_string())));
        Self::of(documents, blobs)
    }

    /// Both platforms of the shop.
    pub(crate) fn shop(salt: &str) -> Self {
        Self::index(&[("linux/amd64", salt), ("linux/arm64", salt)])
    }

    fn of(documents: Vec<(&'static str, Bytes)>, blobs: Vec<Bytes>) -> Self {
        let root = Digest::of(&documents.last().unwrap().1);
        let mut builder = Builder::new(root, Limits::default());
        loop {
            let wants = builder.wants();
            if wants.is_empty() {
                break;
            }
            for wanted in wants {
                let document = documents.iter().find(|(_, bytes)| Digest::of(bytes) == wanted.digest);
                let blob = || blobs.iter().find(|bytes| Digest::of(bytes) == wanted.digest);
                let (media_type, bytes) = match document {
                    Some((media_type, bytes)) => (Some(*media_type), bytes),
                    None => (None, blob().unwrap()),
                };
                builder.feed(wanted.digest, media_type, bytes.clone()).unwrap();
            }
        }
        Self { root, closure: builder.finish().unwrap(), documents, blobs }
    }

    /// The manifest of a platform.
    pub(crate) fn child(&self, platform: &str) -> Digest {
        let platform: Platform = platform.parse().unwrap();
        self.closure.platforms().find(|(_, found)| **found == platform).unwrap().0
    }

    /// The image, then its platform manifests, as a record lists them.
    pub(crate) fn subjects(&self, repository: Repository) -> Subjects {
        let platforms = self.closure.platforms().filter(|(digest, _)| *digest != self.root);
        Subjects {
            image: Image::new(repository, self.root),
            platforms: platforms.map(|(digest, platform)| (digest, Some(platform.clone()))).collect(),
        }
    }
}

fn fields(platform: &str) -> Value {
    let mut parts = platform.split('/');
    let mut fields = json!({ "os": parts.next().unwrap(), "architecture": parts.next().unwrap() });
    if let Some(variant) = parts.next() {
        fields["variant"] = json!(variant);
    }
    fields
}

fn manifest(platform: &str, salt: &str, blobs: &mut Vec<Bytes>) -> Bytes {
    let layer = Bytes::from(format!("layer {platform} {salt}"));
    let mut config = fields(platform);
    config["rootfs"] = json!({ "type": "layers", "diff_ids": [Digest::of(&layer)] });
    let config = Bytes::from(config.to_string());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": { "mediaType": CONFIG, "digest": Digest::of(&config), "size": config.len() },
        "layers": [{ "mediaType": LAYER, "digest": Digest::of(&layer), "size": layer.len() }],
    });
    blobs.extend([config, layer]);
    Bytes::from(manifest.to_string())
}

/// A question to the gate.
pub(crate) struct Question<'w> {
    world: &'w World,
    built: &'w Built,
    service: String,
    repository: Repository,
    requester: Option<Identity>,
    tag: Option<TagSeen>,
}

impl Question<'_> {
    /// The image is named in this repository.
    pub(crate) fn from(mut self, repository: &str) -> Self {
        self.repository = repository.parse().unwrap();
        self
    }

    pub(crate) fn service(mut self, service: &str) -> Self {
        self.service = service.to_owned();
        self
    }

    /// This key asks; nobody's for "none".
    pub(crate) fn by(mut self, who: Option<&str>) -> Self {
        self.requester = who.map(|who| self.world.identity(who));
        self
    }

    /// Named as `repository:tag@expected`.
    pub(crate) fn expecting(mut self, tag: &str, expected: Digest) -> Self {
        let tag = tag.parse().unwrap();
        self.tag = Some(TagSeen { tag, found: self.built.root, expected: Some(expected) });
        self
    }

    /// Decides, with what the ledger holds now.
    pub(crate) fn ask(self, environment: &str, attestations: &[Found]) -> Decision {
        self.ask_with(environment, attestations, |_| ())
    }

    /// Decides, after `change` had its way with the evidence.
    pub(crate) fn ask_with(
        self,
        environment: &str,
        attestations: &[Found],
        change: impl FnOnce(&mut Evidence),
    ) -> Decision {
        let target = self.target(environment);
        let mut evidence = self.evidence(&target, attestations);
        change(&mut evidence);
        decide(&target, &evidence)
    }

    pub(crate) fn target(&self, environment: &str) -> Target<'_> {
        let image = Image::new(self.repository.clone(), self.built.root);
        let (tag, requester) = (self.tag.clone(), self.requester.clone());
        let policy = &self.world.policy;
        Target::new(
            policy,
            &self.service,
            environment,
            image,
            &self.built.closure,
            tag,
            requester.map(Into::into),
        )
        .unwrap()
    }

    pub(crate) fn evidence(&self, target: &Target<'_>, attestations: &[Found]) -> Evidence {
        let mut evidence = Evidence {
            attestations: attestations.to_vec(),
            discarded: Vec::new(),
            remarks: Vec::new(),
            history: Vec::new(),
            unjudged: Vec::new(),
            control: Control::not_looked_at(),
            same_layers: Vec::new(),
            ledger: TreeHead::empty(),
            now: self.world.now(),
        };
        recall(&mut evidence, target, &self.world.ledger, &self.world.trust, self.world.now()).unwrap();
        evidence
    }
}

/// It is a yes.
#[track_caller]
pub(crate) fn yes(decision: &Decision) -> &Verdict {
    match decision {
        Decision::Approved(approved) => approved.verdict(),
        Decision::Denied(denied) => panic!("expected a yes:\n{}", story(denied.verdict())),
    }
}

/// It is a no, for exactly these reasons.
#[track_caller]
pub(crate) fn no<'d>(decision: &'d Decision, codes: &[Code]) -> &'d Verdict {
    match decision {
        Decision::Denied(denied) => {
            assert_eq!(denied.verdict().codes(), codes, "\n{}", story(denied.verdict()));
            denied.verdict()
        }
        Decision::Approved(approved) => panic!("expected {codes:?}:\n{}", story(approved.verdict())),
    }
}

/// The one finding about a requirement.
#[track_caller]
pub(crate) fn finding(verdict: &Verdict, requirement: Requirement) -> &Finding {
    let mut findings = verdict.findings.iter().filter(|finding| finding.requirement == requirement);
    let first = findings.next().unwrap_or_else(|| panic!("no finding: {requirement}"));
    assert!(findings.next().is_none(), "{requirement} twice");
    first
}

/// The finding's text, found and nearest misses, contains all of these.
#[track_caller]
pub(crate) fn says(verdict: &Verdict, requirement: Requirement, pieces: &[&str]) {
    let finding = finding(verdict, requirement);
    let text = format!("{}\n{}", finding.found, finding.nearest.join("\n"));
    for piece in pieces {
        assert!(text.contains(piece), "expected {piece:?} in\n{text}");
    }
}

/// Everything a verdict says, for the message of a failed assertion.
pub(crate) fn story(verdict: &Verdict) -> String {
    let lines = verdict.findings.iter().map(|finding| format!("{finding:#?}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Asks for an image by digest, in the repository where it is.
pub(crate) fn pinned(repository: &Repository, built: &Built, environment: &str, run: &str) -> Request {
    Request {
        reference: Reference::Pinned(Image::new(repository.clone(), built.root)),
        environment: environment.to_owned(),
        service: None,
        run: run.to_owned(),
        files: Files::default(),
        permit: false,
    }
}

/// A reference by tag.
pub(crate) fn tagged(repository: &Repository, tag: &str) -> Reference {
    Reference::Tagged(repository.clone(), tag.parse().unwrap())
}
