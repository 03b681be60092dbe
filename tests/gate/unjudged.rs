//! Rows about records of the main lane under a certificate that the roots here cannot judge: none is passed over that
//! may be a no.

use std::cell::Cell;
use std::collections::BTreeMap;

use samebits::collect::trust;
use samebits::digest::Digest;
use samebits::gate::{Code, Decision, Requirement};
use samebits::ledger::protocol::{ProtocolError, STALE, Step, View, Writer, abort_stale};
use samebits::policy::Draft as PolicyDraft;
use samebits::promote::WalkError;
use samebits::record::{
    Actor, Body, Deployment, Draft, Phase, Position, Revoked, Status, Verdict as Approves,
};
use samebits::verify::{Author, Sign, SignError, bundle};
use serde_json::json;

use super::protocol::{block_on, promoted, ready_with, tag};
use super::sigstore::{Identity, Instance, Kind, oidc};
use super::world::*;

/// A CI job that signs by certificate.
struct Job {
    instance: Instance,
    identity: Identity,
}

impl Job {
    fn new() -> Self {
        let instance = Instance::new(Kind::Public);
        let identity = instance.identity(&oidc::github("acme/shop", "deploy.yml", "refs/heads/main"));
        Self { instance, identity }
    }

    fn bundle(&self, statement: &[u8]) -> Vec<u8> {
        self.instance.bundle(statement, &self.identity, "2025-06-01T09:00:00Z".parse().unwrap())
    }

    /// `policy`, where the signer that has this line is the job too, judged by the root of `instance`.
    fn govern(&self, world: &mut World, policy: &str, line: &str, instance: &Instance) {
        assert_eq!(policy.matches(line).count(), 1, "{line}");
        let keys = line.strip_prefix("any-of = [").and_then(|line| line.strip_suffix("]"));
        let keys = keys.map_or_else(|| format!("{{ {line} }}"), ToOwned::to_owned);
        let job = format!(
            "any-of = [{keys}, {{ issuer = \"{}\", identity = \"{}\", root = \"virtual\" }}]",
            self.identity.issuer(),
            self.identity.subject()
        );
        let root = "[roots.virtual]\ntrusted-root = \"virtual.json\"\n\n[services.shop]\n";
        let text = policy.replace(line, &job).replace("[services.shop]\n", root);
        let text = text.replace("@VERIFIER@", &world.log.vkey().to_string());
        let draft = PolicyDraft::parse("samebits.toml", &text).unwrap_or_else(|errors| panic!("{errors}"));
        let file = |file: String| {
            let name = file.strip_prefix("keys/").and_then(|file| file.strip_suffix(".pub"));
            let text = name.map_or_else(|| instance.trusted_root(), |name| world.key(name).public().to_pem());
            (file, text)
        };
        let files: BTreeMap<String, String> = draft.key_files().into_iter().map(file).collect();
        world.policy = draft.validate(&files).unwrap_or_else(|errors| panic!("{errors}"));
        world.trust = trust(&world.policy);
    }

    /// Signs and appends, about production or staging.
    fn append(&self, world: &mut World, environment: &str, said: impl Fn(&View<'_>) -> Draft) -> Position {
        let (service, environment) = ("shop".parse().unwrap(), environment.parse().unwrap());
        let World { ledger, policy, trust, .. } = world;
        let mut writer = Writer { ledger, policy, trust, signer: &Signs(self, trust.clone()) };
        let step = |view: &View<'_>| Ok::<_, ProtocolError>(Step::Append(Box::new(said(view)), ()));
        writer.append(&service, &environment, step).unwrap().0.unwrap().position
    }

    /// That the image was removed from staging.
    fn removes(&self, world: &mut World, image: &Built) -> Position {
        let said = world.deployment("staging", image).status(Status::Removed);
        let author = Signs(self, world.trust.clone()).author();
        self.append(world, "staging", |view| Draft {
            subjects: said.subjects.clone(),
            body: Body::Deployment(Deployment {
                actor: Actor::from(author.identity()),
                service: "shop".parse().unwrap(),
                environment: "staging".parse().unwrap(),
                deployment_name: said.name.clone(),
                status: said.status,
                started_on: said.began,
                finished_on: said.ended,
                evidence_class: said.class,
                runtime: said.runtime.clone(),
                parity: BTreeMap::new(),
                external_url: None,
                ledger: view.ledger(Digest::of(b"removed")),
            }),
        })
    }
}

/// Another process, which trusts the instance of the job, says in its name what a promoter may say.
fn rival(hook: &Hook, job: &Job, policy: &str, phase: Phase) -> Position {
    let world = &mut *hook.0.borrow_mut();
    job.govern(world, policy, RELEASE, &job.instance);
    let author = Signs(job, world.trust.clone()).author();
    let nowhere = Position { index: 0, leaf_hash: Digest::of(b"nowhere") };
    let template =
        world.forged("release", &Built::shop("2"), phase, (phase == Phase::Abort).then_some(nowhere));
    job.append(world, "production", |view| {
        let mut draft = template.clone();
        let Body::Promotion(body) = &mut draft.body else { panic!("{draft:?}") };
        (body.actor, body.ledger) = (Actor::from(author.identity()), view.ledger(Digest::of(b"rival")));
        if let Some(open) = view.history.records.last().filter(|_| phase == Phase::Abort) {
            body.intent = Some(open.position());
        }
        draft
    })
}

/// The job, as those see it who trust its instance.
struct Signs<'j>(&'j Job, samebits::verify::Trust);

impl Sign for Signs<'_> {
    fn author(&self) -> Author {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": "x", "digest": { "sha256": Digest::of(b"").hex() } }],
            "predicateType": "https://example.com/any",
            "predicate": {},
        });
        bundle(&self.0.bundle(statement.to_string().as_bytes()), &self.1).unwrap().author().clone()
    }

    fn sign(&self, statement: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(self.0.bundle(statement))
    }
}

const STAGING: &str = "public-key = \"keys/staging.pub\"";
const RELEASE: &str =
    "any-of = [{ public-key = \"keys/release.pub\" }, { public-key = \"keys/release-2.pub\" }]";
const MANAGERS: &str = "any-of = [{ public-key = \"keys/ana.pub\" }, { public-key = \"keys/ben.pub\" }]";

#[track_caller]
fn unknown(decision: &Decision, record: Position, pieces: &[&str]) {
    let verdict = no(decision, &[Code::RecordUnknown]);
    let record = format!("record {} (", record.index);
    let whole: Vec<&str> = [&record[..], "cannot be judged here"].iter().chain(pieces).copied().collect();
    says(verdict, Requirement::PastKnown, &whole);
}

/// The job says that the image was taken out of staging, under a root that the machine of the promoter has not yet: it ran
/// there for an hour by all that can be read.
#[test]
fn c5_a_removal_that_cannot_be_judged_here_is_not_passed_over() {
    let policy = guarded(&with(&[(APPROVALS, "")]));
    let mut world = World::new(&policy);
    let (job, elsewhere) = (Job::new(), Instance::new(Kind::Public));
    job.govern(&mut world, &policy, STAGING, &job.instance);
    world.set_clock("2025-06-01T09:00:00Z");
    let image = Built::shop("1");
    world.staged(&image);
    let removed = job.removes(&mut world, &image);
    world.wait(60);
    // Who can judge it knows that it did not run.
    no(&world.ask("production", &image, &[]), &[Code::SoakTooShort]);
    // Who cannot does not say that it ran.
    job.govern(&mut world, &policy, STAGING, &elsewhere);
    let decision = world.ask("production", &image, &[]);
    unknown(&decision, removed, &["(deployment in `staging`)", "root"]);
    // Where everybody who may say so is known by key, it is nobody's: another signer, for anything else.
    job.govern(&mut world, &policy, "public-key = \"keys/production.pub\"", &elsewhere);
    yes(&world.ask("production", &image, &[]));
    world.govern(&policy);
    yes(&world.ask("production", &image, &[]));
    // A revoker, and nobody else, takes it away.
    job.govern(&mut world, &policy, STAGING, &elsewhere);
    world.revoke("release", &Revokes::of(Revoked::Record(removed)));
    unknown(&world.ask("production", &image, &[]), removed, &[]);
    let other = Position { index: removed.index, leaf_hash: Digest::of(b"another") };
    world.revoke("security", &Revokes::of(Revoked::Record(other)));
    // Neither where it lies alone, nor where it would be entered alone.
    for only in ["production", "staging"] {
        world.revoke("security", &Revokes::of(Revoked::Record(removed)).scope(None, Some(only)));
        unknown(&world.ask("production", &image, &[]), removed, &[]);
    }
    world.revoke("security", &Revokes::of(Revoked::Record(removed)));
    yes(&world.ask("production", &image, &[]));
    // It stays what it is for who can judge it.
    job.govern(&mut world, &policy, STAGING, &job.instance);
    no(&world.ask("production", &image, &[]), &[Code::SoakTooShort]);
}

/// Of a clock that is behind, as of the root: the certificate is not yet good there.
#[test]
fn e6_a_withdrawal_that_cannot_be_judged_here_is_not_passed_over() {
    let policy = with(&[]);
    let mut world = World::new(&policy);
    let (job, elsewhere) = (Job::new(), Instance::new(Kind::Public));
    job.govern(&mut world, &policy, MANAGERS, &job.instance);
    world.set_clock("2025-06-01T09:00:00Z");
    let image = Built::shop("1");
    world.staged(&image);
    world.wait(60);
    let author = Signs(&job, world.trust.clone()).author();
    let mut said = Vec::new();
    for decision in [Approves::Approved, Approves::Withdrawn] {
        let (subjects, mut approval) = world.approval("ana", &image);
        (approval.actor, approval.decision) = (Actor::from(author.identity()), decision);
        said.push(job.append(&mut world, "production", |view| {
            let ledger = view.ledger(approval.nonce);
            let approval = samebits::record::Approval { ledger, ..approval.clone() };
            Draft { subjects: subjects.clone(), body: Body::Approval(approval) }
        }));
    }
    no(&world.ask("production", &image, &[]), &[Code::ApprovalMissing]);
    let approval = world.approval("ben", &image);
    world.approve("ben", &approval);
    yes(&world.ask("production", &image, &[]));
    job.govern(&mut world, &policy, MANAGERS, &elsewhere);
    let approval = world.approval("ben", &image);
    world.approve("ben", &approval);
    unknown(&world.ask("production", &image, &[]), said[0], &["(approval in `production`)"]);
}

/// A rival whose records cannot be judged here may hold the lock, or have promoted something else since: nothing is
/// promoted, and no tag is derived.
#[test]
fn e9_a_promotion_that_cannot_be_judged_here_lets_nobody_past() {
    let policy = on_disk();
    let (mut world, image, request) = ready_with(&policy);
    let (job, elsewhere) = (Job::new(), Instance::new(Kind::Public));
    job.govern(&mut world, &policy, RELEASE, &elsewhere);
    let _done = promoted(block_on(world.promote(&request, "release")));
    assert_eq!(tag(&world), Some(image.root));
    // The rival, who trusts his own instance.
    job.govern(&mut world, &policy, RELEASE, &job.instance);
    let author = Signs(&job, world.trust.clone()).author();
    let other = Built::shop("2");
    let template = world.forged("release", &other, Phase::Intent, None);
    let rival = job.append(&mut world, "production", |view| {
        let mut draft = template.clone();
        let Body::Promotion(body) = &mut draft.body else { panic!("{draft:?}") };
        (body.actor, body.ledger) = (Actor::from(author.identity()), view.ledger(Digest::of(b"rival")));
        draft
    });
    job.govern(&mut world, &policy, RELEASE, &elsewhere);
    unknown(&block_on(world.check(&request, "release")).unwrap(), rival, &["(promotion in `production`)"]);
    // Nor does a run that had committed set a tag.
    match block_on(world.left()) {
        Err(WalkError::Protocol(ProtocolError::RecordUnknown { index, .. })) => {
            assert_eq!(index, rival.index)
        }
        other => panic!("{other:?}"),
    }
}

/// It lies there since the yes: between the decision and the intent, or between the second look and the commit.
#[test]
fn e9_no_step_goes_past_a_promotion_that_cannot_be_judged_here() {
    for (phase, when) in [(Phase::Intent, 2), (Phase::Intent, 4), (Phase::Abort, 2), (Phase::Abort, 4)] {
        let policy = guarded(&on_disk());
        let (mut world, _, request) = ready_with(&policy);
        let (job, elsewhere) = (Job::new(), Instance::new(Kind::Public));
        job.govern(&mut world, &policy, RELEASE, &elsewhere);
        let (hook, now, calls, said) = (world.hook(), world.now(), Cell::new(0), Cell::new(None));
        let clock = || {
            calls.set(calls.get() + 1);
            if calls.get() == when {
                said.set(Some(rival(&hook, &job, &policy, phase)));
            }
            now
        };
        let answer = block_on(world.promote_by(&request, "release", &clock));
        let rival = said.get().unwrap();
        let is_told = |error: &ProtocolError| match error {
            ProtocolError::RecordUnknown { index, .. } => assert_eq!(*index, rival.index, "{phase}, {when}"),
            other => panic!("{phase}, {when}: {other:?}"),
        };
        let Err(WalkError::Protocol(error)) = answer else { panic!("{phase}, {when}: {answer:?}") };
        is_told(&error);
        assert_eq!((calls.get(), tag(&world)), (when, None));
        // Nor is an intent closed that may be closed, or not the first.
        let (service, intents) = ("shop".parse().unwrap(), super::protocol::records(&world).records);
        let environment = world.policy.find_environment("production").unwrap();
        assert_eq!(intents.len(), usize::from(when == 4));
        for intent in intents {
            let (mut ledger, key) = (world.reopen(), world.key("release"));
            let (policy, trust) = (&world.policy, &world.trust);
            let mut writer = Writer { ledger: &mut ledger, policy, trust, signer: key };
            let closed = abort_stale(&mut writer, &service, environment, intent.position(), now + STALE);
            is_told(&closed.unwrap_err());
        }
        // A revoker takes away what opens something, and nothing that closes it.
        world.revoke("security", &Revokes::of(Revoked::Record(rival)));
        match phase {
            Phase::Abort => {
                let decision = block_on(world.check(&request, "release")).unwrap();
                unknown(&decision, rival, &["(promotion in `production`)"]);
                let fix = format!("{:?}", decision.verdict());
                assert!(!fix.contains("revoke --record"), "{fix}");
            }
            Phase::Intent => drop(yes(&block_on(world.check(&request, "release")).unwrap())),
            Phase::Commit | Phase::Refused => panic!("{phase}"),
        }
    }
}
