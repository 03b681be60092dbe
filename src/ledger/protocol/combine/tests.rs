//! Writers who lose, die, change their minds and lie, over slots in memory.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};

use super::*;
use crate::key::PrivateKey;
use crate::ledger::copy::copy;
use crate::ledger::place::Place;
use crate::ledger::protocol::{ProtocolError, Step, View};
use crate::ledger::review::review;
use crate::ledger::slots::commit::Commit;
use crate::ledger::slots::objects::Objects;
use crate::ledger::slots::shelf::Shelf;
use crate::ledger::slots::{Created, SlotError, Slots, Slotted};
use crate::ledger::store::Keys;
use crate::policy::EvidenceClass;
use crate::promote::tests::world::{self, Built, World, guarded, with};
use crate::record::{
    Actor, ControlBody, ControlDraft, Deployment, Draft, Revocation, RevocationEffect, Revoked, Scope,
    Status, Subjects,
};
use crate::reference::Image;
use crate::tlog::LogSigner;
use crate::verify::Identity;
use jiff::Timestamp;

/// More than one slot takes.
const SERVICES: usize = RECORDS + 4;

fn service(number: usize) -> ServiceName {
    format!("service-{number}").parse().unwrap()
}

const ALL: Filter = Filter { service: None, environment: None, kind: None, limit: usize::MAX };

fn now() -> Timestamp {
    world::MORNING.parse().unwrap()
}

fn staging() -> EnvironmentName {
    "staging".parse().unwrap()
}

/// One ledger in memory, and everybody's keys.
struct Yard {
    objects: Arc<InMemory>,
    policy: Policy,
    trust: Trust,
    log: LogSigner,
    keys: BTreeMap<&'static str, PrivateKey>,
}

impl Yard {
    fn new() -> Self {
        Self::of(10).0
    }

    fn of(services: usize) -> (Self, World) {
        let all: String = (0..services)
            .map(|n| format!("[services.{}]\nrepository = \"registry.example/s{n}\"\n", service(n)))
            .collect();
        let policy = with(&[("[services.api]\nrepository = \"registry.example/api\"\n", &all)]);
        let world = World::new(&guarded(&policy));
        let objects = Arc::new(InMemory::new());
        drop(Ledger::create_in(objects.clone(), "yard", &world.log).unwrap());
        let (policy, trust, log) = (world.policy.clone(), world.trust.clone(), world.log.clone());
        let copy = |name: &'static str| (name, PrivateKey::from_pem(&world.key(name).to_pem()).unwrap());
        let keys = ["staging", "release", "security", "stranger"].map(copy).into();
        (Self { objects, policy, trust, log, keys }, world)
    }

    fn actor(&self, who: &str) -> Actor {
        Actor::from(&Identity::Key { id: self.keys[who].public().id() })
    }

    /// Something is revoked.
    fn revoke(&self) {
        self.revoke_these(&Revoked::Digests(vec![Digest::of(b"revoked")]));
    }

    fn revoke_these(&self, target: &Revoked) {
        let (mut ledger, actor) = (self.ledger(), self.actor("security"));
        let mut writer = Writer { signer: &self.keys["security"], ..self.writer(&mut ledger) };
        let (_, ()) = writer
            .append_control(|view| {
                let body = Revocation {
                    actor: actor.clone(),
                    target: target.clone(),
                    scope: Scope::default(),
                    effect: RevocationEffect::Refuse,
                    reason: "CVE-2030-1".to_owned(),
                    effective_from: None,
                    lifts: None,
                    decided_on: now(),
                    ledger: view.ledger(Digest::of(b"revocation")),
                };
                let draft = ControlDraft(ControlBody::Revocation(Box::new(body)));
                Ok::<_, ProtocolError>(Step::Append(Box::new(draft), ()))
            })
            .unwrap();
    }

    /// As another process has it.
    fn ledger(&self) -> Ledger {
        let (objects, log) = (self.objects.clone(), Some(self.log.clone()));
        Ledger { clock: Some(now), ..Ledger::open_in(objects, "yard", self.log.vkey(), log).unwrap() }
    }

    fn slots(&self) -> Objects {
        Objects::over(self.objects.clone(), "").unwrap()
    }

    fn draft(&self, service: &ServiceName, salt: &str, ledger: LedgerView) -> Draft {
        let repository = self.policy.find_service(service.as_str()).unwrap().repository().clone();
        let body = Body::Deployment(Deployment {
            actor: self.actor("staging"),
            service: service.clone(),
            environment: staging(),
            deployment_name: salt.to_owned(),
            status: Status::Succeeded,
            started_on: now(),
            finished_on: now(),
            evidence_class: EvidenceClass::Asserted,
            runtime: None,
            parity: BTreeMap::new(),
            external_url: None,
            ledger,
        });
        let image = Image { repository, digest: Digest::of(salt.as_bytes()) };
        Draft { subjects: Subjects { image, platforms: Vec::new() }, body }
    }

    fn writer<'a>(&'a self, ledger: &'a mut Ledger) -> Writer<'a> {
        Writer { ledger, policy: &self.policy, trust: &self.trust, signer: &self.keys["staging"] }
    }

    /// A deployment of a service, unless it is there.
    fn deploy(&self, ledger: &mut Ledger, number: usize, salt: &str) -> Written {
        self.deploy_amid(ledger, number, salt, |_| ()).unwrap()
    }

    /// The same, with something going on before each draft.
    fn deploy_amid(
        &self,
        ledger: &mut Ledger,
        number: usize,
        salt: &str,
        mut amid: impl FnMut(u32),
    ) -> Result<Written, ProtocolError> {
        let (service, mut drafts) = (service(number), 0);
        let (written, before) = self.writer(ledger).append(&service, &staging(), |view: &View<'_>| {
            amid(drafts);
            drafts += 1;
            let key = Digest::of(salt.as_bytes());
            let mut records = view.history.records.iter();
            if let Some(record) = records.find(|record| record.body().ledger().idempotency_key == key) {
                let written = Written { position: record.position(), digest: record.digest() };
                return Ok(Step::Done(Some(written)));
            }
            let draft = self.draft(&service, salt, view.ledger(key));
            Ok::<_, ProtocolError>(Step::Append(Box::new(draft), None))
        })?;
        Ok(written.or(before).unwrap())
    }

    /// The same, after it lost so often that it combines. Service 9 is who is faster.
    fn combine(&self, number: usize, salt: &str) -> Written {
        let mut ledger = self.ledger();
        self.deploy_amid(&mut ledger, number, salt, |drafts| self.faster(drafts)).unwrap()
    }

    fn faster(&self, drafts: u32) {
        if drafts < PLAIN {
            let size = self.size();
            self.deploy(&mut self.ledger(), 9, &format!("faster {size}"));
        }
    }

    /// What somebody drafted by what he sees now, and signed.
    fn signed(&self, who: &str, number: usize, salt: &str, change: impl Fn(&mut LedgerView)) -> Vec<u8> {
        let (mut ledger, service) = (self.ledger(), service(number));
        let mut bytes = Vec::new();
        let (_, ()) = self
            .writer(&mut ledger)
            .append(&service, &staging(), |view| {
                let mut ledger = view.ledger(Digest::of(salt.as_bytes()));
                change(&mut ledger);
                let mut draft = self.draft(&service, salt, ledger);
                let Body::Deployment(said) = &mut draft.body else { panic!("it is one") };
                said.actor = self.actor(who);
                bytes = draft.sign(&self.keys[who]).unwrap();
                Ok::<_, ProtocolError>(Step::Done(()))
            })
            .unwrap();
        bytes
    }

    /// Leaves it and dies.
    fn leave(&self, record: &[u8]) -> String {
        self.leave_with(record, [].into())
    }

    fn leave_with(&self, record: &[u8], evidence: BTreeSet<Digest>) -> String {
        self.put(&Pending { record: record.to_vec(), evidence }.to_bytes())
    }

    fn put(&self, bytes: &[u8]) -> String {
        let name = pending::name(rand());
        self.slots().put_all(&[(name.clone(), bytes.to_vec().into())]).unwrap();
        name
    }

    fn pending(&self) -> Vec<String> {
        self.slots().list("pending/", "").unwrap()
    }

    fn size(&self) -> u64 {
        self.ledger().tip().unwrap().size()
    }

    /// How often a record is in the log.
    fn count(&self, record: &[u8]) -> usize {
        let ledger = self.ledger();
        let tip = ledger.tip().unwrap();
        (0..tip.size()).filter(|index| ledger.read(&tip, *index).unwrap().bytes() == record).count()
    }

    /// Every index row, every chain, every head that an author saw.
    fn is_clean(&self) {
        assert_eq!(review(&self.ledger(), &self.trust).unwrap().findings(), []);
    }

    /// How many entries the newest slot has.
    fn newest(&self) -> usize {
        let slots = self.slots();
        let name = slots.list("commits/", "").unwrap().pop().unwrap();
        let bytes = slots.get(&name, commit::LIMIT).unwrap().unwrap();
        match Commit::parse(&bytes).unwrap().content {
            commit::Content::Main { entries, .. } => entries.len(),
            commit::Content::Control(entries) => entries.len(),
        }
    }

    /// A ledger to which `hook` happens before (`false`) and after (`true`) each creation, by its name.
    fn hooked(&self, hook: impl FnMut(&str, bool) -> bool + Send + 'static) -> Ledger {
        let hooked = Hooked { slots: self.slots(), hook: Mutex::new(Box::new(hook)) };
        let log = &self.log;
        let control = log.vkey().control().unwrap();
        let keys = Keys { main: log.vkey(), control: &control };
        let place = Place::file(std::path::Path::new("yard"));
        let store = Slotted::open(Arc::new(hooked), place, keys, None).unwrap().for_writing().unwrap();
        Ledger { clock: Some(now), ..Ledger::over(Box::new(store), keys, Some(log.clone())) }
    }
}

fn rand() -> [u8; 16] {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).unwrap();
    random
}

/// What somebody says that he saw.
type Lie<'l> = &'l dyn Fn(&mut LedgerView);

type Hook = Box<dyn FnMut(&str, bool) -> bool + Send>;

/// Slots where something happens between; a hook that says no before a creation makes it fail.
struct Hooked {
    slots: Objects,
    hook: Mutex<Hook>,
}

impl Slots for Hooked {
    fn get_all(&self, names: &[String], limit: usize) -> Result<Vec<Option<Bytes>>, SlotError> {
        self.slots.get_all(names, limit)
    }

    fn create_all(&self, objects: &[(String, Bytes)]) -> Result<Vec<Created>, SlotError> {
        let name = &objects[0].0;
        if !self.hook.lock().unwrap()(name, false) {
            return Err(SlotError::Unsettled { name: name.clone() });
        }
        let created = self.slots.create_all(objects)?;
        self.hook.lock().unwrap()(name, true);
        Ok(created)
    }

    fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, SlotError> {
        self.slots.list(prefix, after)
    }

    fn put_all(&self, objects: &[(String, Bytes)]) -> Result<(), SlotError> {
        self.slots.put_all(objects)
    }

    fn shelf(&self) -> Option<&dyn Shelf> {
        self.slots.shelf()
    }
}

/// Once, behind the offer with this number.
fn behind_offer(
    number: usize,
    mut then: impl FnMut() + Send + 'static,
) -> impl FnMut(&str, bool) -> bool + Send {
    let mut offers = 0;
    move |name, after| {
        if after && name.starts_with("pending/") {
            offers += 1;
            if offers == number {
                then();
            }
        }
        true
    }
}

#[test]
fn d5_under_contention_everybodys_record_is_there_once() {
    const WRITERS: usize = 8;
    const EACH: usize = 6;
    let yard = Yard::new();
    let millisecond = std::time::Duration::from_millis(1);
    let late = ThrottleConfig {
        wait_get_per_call: millisecond,
        wait_put_per_call: 3 * millisecond,
        wait_list_per_call: millisecond,
        ..ThrottleConfig::default()
    };
    let objects: Arc<dyn ObjectStore> = Arc::new(ThrottledStore::new(InMemory::new(), late));
    let Yard { policy, trust, log, .. } = &yard;
    drop(Ledger::create_in(objects.clone(), "late", log).unwrap());
    let signer = &yard.keys["staging"];
    let drafts: Vec<Vec<Draft>> = (0..WRITERS)
        .map(|writer| {
            let ledger = || LedgerView {
                origin: String::new(),
                observed: TreeHead::empty(),
                control: TreeHead::empty(),
                idempotency_key: Digest::of(b""),
                prev: None,
            };
            (0..EACH).map(|n| yard.draft(&service(writer), &format!("{writer} {n}"), ledger())).collect()
        })
        .collect();
    let mut places: Vec<u64> = std::thread::scope(|scope| {
        let run = |drafts: Vec<Draft>| {
            let objects = objects.clone();
            move || {
                let opened = Ledger::open_in(objects, "late", log.vkey(), Some(log.clone())).unwrap();
                let mut ledger = Ledger { clock: Some(now), ..opened };
                let append = |mut draft: Draft| {
                    let mut writer = Writer { ledger: &mut ledger, policy, trust, signer };
                    let service = draft.body.service().clone();
                    let (written, ()) = writer
                        .append(&service, &staging(), |view| {
                            let Body::Deployment(said) = &mut draft.body else { panic!("it is one") };
                            said.ledger = view.ledger(Digest::of(said.deployment_name.as_bytes()));
                            Ok::<_, ProtocolError>(Step::Append(Box::new(draft.clone()), ()))
                        })
                        .unwrap();
                    written.unwrap().position.index
                };
                drafts.into_iter().map(append).collect::<Vec<_>>()
            }
        };
        let running: Vec<_> = drafts.into_iter().map(|drafts| scope.spawn(run(drafts))).collect();
        running.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    places.sort_unstable();
    assert!(places.iter().copied().eq(0..(WRITERS * EACH) as u64), "{places:?}");
    let ledger = Ledger::open_in(objects, "late", log.vkey(), None).unwrap();
    assert_eq!(review(&ledger, trust).unwrap().findings(), []);
}

#[test]
fn d5_who_wins_a_slot_appends_what_others_left() {
    let yard = Yard::new();
    yard.deploy(&mut yard.ledger(), 1, "before");
    let left: Vec<_> = (1..4).map(|number| yard.signed("staging", number, "left", |_| ())).collect();
    left.iter().for_each(|record| drop(yard.leave(record)));
    let written = yard.combine(0, "mine");
    assert_eq!((yard.newest(), yard.size()), (4, 1 + 2 + 4));
    assert_eq!(written.position.index, 3, "our own is the first");
    assert!(left.iter().all(|record| yard.count(record) == 1));
    assert_eq!(yard.pending(), [""; 0]);
    yard.is_clean();
}

/// Who had company the last time leaves the record at once; who had none tries for himself again.
#[test]
fn d5_who_combined_in_company_goes_on_combining() {
    let yard = Yard::new();
    let offers = Arc::new(Mutex::new(0));
    let count = Arc::clone(&offers);
    let mut ledger = yard.hooked(move |name, after| {
        *count.lock().unwrap() += u32::from(after && name.starts_with("pending/"));
        true
    });
    let offered = || std::mem::take(&mut *offers.lock().unwrap());
    yard.deploy(&mut ledger, 0, "a");
    assert_eq!(offered(), 0);
    yard.leave(&yard.signed("staging", 5, "left", |_| ()));
    yard.deploy_amid(&mut ledger, 0, "b", |drafts| yard.faster(drafts)).unwrap();
    assert_eq!((offered(), yard.newest()), (1, 2));
    yard.deploy(&mut ledger, 0, "c");
    assert_eq!((offered(), yard.newest()), (1, 1));
    yard.deploy(&mut ledger, 0, "d");
    assert_eq!((offered(), yard.newest()), (0, 1));
    yard.is_clean();
}

#[test]
fn d5_what_does_not_stand_is_not_appended_for_anybody() {
    let gone = |left: &dyn Fn(&Yard) -> Vec<u8>, then: &dyn Fn(&Yard)| {
        let yard = Yard::new();
        yard.deploy(&mut yard.ledger(), 1, "before");
        let record = left(&yard);
        yard.leave(&record);
        then(&yard);
        yard.combine(0, "mine");
        assert_eq!(yard.newest(), 1);
        yard.is_clean();
        (yard.count(&record), yard.pending().len())
    };
    let honest: &dyn Fn(&Yard) -> Vec<u8> = &|yard| yard.signed("staging", 1, "left", |_| ());
    let nothing: &dyn Fn(&Yard) = &|_| ();
    // E9: something newer is said of its target. It never stands again, so it is swept.
    let moved = |yard: &Yard| {
        yard.deploy(&mut yard.ledger(), 1, "newer");
    };
    assert_eq!(gone(honest, &moved), (0, 0));
    // Somebody revoked something, or froze: it was decided without that.
    assert_eq!(gone(honest, &Yard::revoke), (0, 0));
    // It is in the log already.
    let appended = |yard: &Yard| {
        yard.combine(2, "somebody who takes all");
        let name = pending::name(rand());
        let ledger = yard.ledger();
        let record = ledger.read(&ledger.tip().unwrap(), 4).unwrap();
        let pending = Pending { record: record.bytes().to_vec(), evidence: [].into() };
        yard.slots().put_all(&[(name, pending.to_bytes().into())]).unwrap();
    };
    assert_eq!(gone(honest, &appended), (1, 0));
    // What follows is left alone: somebody else may see more, or know whose it is.
    let lies: [(&str, Lie); 5] = [
        ("another beginning", &|view| view.observed.root = Digest::of(b"fork")),
        ("a later one", &|view| view.observed.size += 100),
        ("another lane", &|view| view.control.root = Digest::of(b"lane")),
        ("another log", &|view| view.origin = "evil.example/log".to_owned()),
        ("a gap", &|view| view.prev = None),
    ];
    for (what, lie) in lies {
        let lying = |yard: &Yard| yard.signed("staging", 1, "left", lie);
        assert_eq!(gone(&lying, nothing), (0, 1), "{what}");
    }
    for who in ["stranger", "release"] {
        let forged = |yard: &Yard| yard.signed(who, 1, "left", |_| ());
        assert_eq!(gone(&forged, nothing), (0, 1), "{who}");
    }
    let changed = |yard: &Yard| {
        let mut record = honest(yard);
        let at = record.len() / 2;
        record[at] ^= 1;
        record
    };
    assert_eq!(gone(&changed, nothing), (0, 1));
    // And what stands is taken, or all of this shows nothing; also behind what only an index row files there.
    let yard = Yard::new();
    yard.deploy(&mut yard.ledger(), 1, "before");
    let record = honest(&yard);
    yard.leave(&record);
    let mut ledger = yard.ledger();
    let row = Index::claimed(&record).unwrap();
    let _ = ledger.append(1, &[Entry { bytes: b"no record".to_vec(), index: row }]).unwrap();
    yard.combine(0, "mine");
    assert_eq!((yard.newest(), yard.count(&record)), (2, 1));
}

/// Its author gave up, or died: nobody appends it next week. He himself goes on, whatever the time of what he says.
#[test]
fn e9_what_was_left_long_ago_is_not_appended_for_anybody() {
    const NEXT: jiff::SignedDuration = jiff::SignedDuration::from_nanos(1);
    let clocks: [(crate::ledger::Clock, (usize, usize)); 4] = [
        (|| now() + STALE, (1, 0)),
        (|| now() + STALE + NEXT, (0, 0)),
        (|| now() - STALE, (1, 0)),
        (|| now() - STALE - NEXT, (0, 1)),
    ];
    for (clock, found) in clocks {
        let yard = Yard::new();
        let record = yard.signed("staging", 1, "left", |_| ());
        yard.leave(&record);
        let mut ledger = yard.ledger();
        ledger.combine_by(clock);
        yard.deploy_amid(&mut ledger, 0, "mine", |drafts| yard.faster(drafts)).unwrap();
        assert_eq!((yard.count(&record), yard.pending().len()), found, "{}", clock());
        yard.is_clean();
    }
    // Without a clock nobody can say how old it is.
    let yard = Yard::new();
    let record = yard.signed("staging", 1, "left", |_| ());
    yard.leave(&record);
    let mut ledger = Ledger { clock: None, ..yard.ledger() };
    yard.deploy_amid(&mut ledger, 0, "mine", |drafts| yard.faster(drafts)).unwrap();
    assert_eq!((yard.count(&record), yard.pending().len()), (0, 1));
}

/// Nobody appends for him whose word is taken, though he saw that it is.
#[test]
fn e9_what_a_revoked_author_left_is_not_appended_for_him() {
    let yard = Yard::new();
    let who = |who: &str| Revoked::Identities(vec![Identity::Key { id: yard.keys[who].public().id() }]);
    yard.revoke_these(&who("release"));
    let record = yard.signed("staging", 1, "left", |_| ());
    yard.leave(&record);
    yard.combine(0, "mine");
    assert_eq!((yard.count(&record), yard.pending().len()), (1, 0), "somebody else is");
    yard.revoke_these(&who("staging"));
    let record = yard.signed("staging", 1, "left again", |_| ());
    yard.leave(&record);
    yard.combine(0, "mine again");
    assert_eq!((yard.count(&record), yard.pending().len()), (0, 1));
}

/// What was signed lies there in another bundle: it is said once.
#[test]
fn d5_a_twin_of_what_was_left_is_no_second_record() {
    let yard = Arc::new(Yard::new());
    let (theirs, twin) = (yard.clone(), Arc::new(Mutex::new(Vec::new())));
    let seen = twin.clone();
    let mut ledger = yard.hooked(behind_offer(1, move || {
        let name = theirs.pending().pop().unwrap();
        let pending = theirs.slots().get(&name, pending::LIMIT).unwrap().unwrap();
        let record = Pending::parse(&pending).unwrap().record;
        let bundle: serde_json::Value = serde_json::from_slice(&record).unwrap();
        let other = serde_json::to_vec_pretty(&bundle).unwrap();
        assert_ne!(other, record);
        theirs.leave(&other);
        theirs.slots().shelf().unwrap().delete_all(&[name]).unwrap();
        theirs.combine(2, "somebody who takes all");
        *seen.lock().unwrap() = other;
    }));
    let (service, mut drafts) = (service(0), 0);
    let (written, ()) = yard
        .writer(&mut ledger)
        .append(&service, &staging(), |view| {
            yard.faster(drafts);
            drafts += 1;
            let draft = yard.draft(&service, "mine", view.ledger(Digest::of(b"mine")));
            Ok::<_, ProtocolError>(Step::Append(Box::new(draft), ()))
        })
        .unwrap();
    let (written, twin) = (written.unwrap(), twin.lock().unwrap().clone());
    assert_eq!((drafts, yard.count(&twin)), (PLAIN + 1, 1));
    assert_eq!((written.digest, written.position.leaf_hash), (Digest::of(&twin), leaf_hash(&twin)));
    let (tip, history) = (ledger.tip().unwrap(), Filter { service: Some(service.to_string()), ..ALL });
    assert_eq!(ledger.log(&tip, 0..tip.size(), &history).unwrap().len(), 1);
    yard.is_clean();
}

/// Names that are none take no place among those that are.
#[test]
fn d5_junk_that_comes_first_hides_nothing() {
    let yard = Yard::new();
    let junk = |n| (format!("pending/!{n:04}"), Bytes::from_static(b"junk"));
    yard.slots().put_all(&(0..600).map(junk).collect::<Vec<_>>()).unwrap();
    let record = yard.signed("staging", 1, "left", |_| ());
    yard.leave(&record);
    yard.combine(0, "mine");
    assert_eq!((yard.count(&record), yard.pending().len()), (1, 600));
}

#[test]
fn d5_junk_is_left_alone_and_keeps_nobody_from_appending() {
    let yard = Yard::new();
    let record = yard.signed("staging", 1, "left", |_| ());
    let whole = Pending { record: record.clone(), evidence: [].into() }.to_bytes();
    let long = vec![b'x'; pending::LIMIT + 1];
    for junk in [&b""[..], b"junk", &whole[..whole.len() - 1], &long] {
        yard.put(junk);
    }
    // Such as come first, and such as are no names of ours.
    for first in 0..5 {
        yard.slots().put_all(&[(format!("pending/{first:032x}"), Bytes::from_static(b"junk"))]).unwrap();
    }
    let odd = ["pending/x", "pending/x/y", "pending/0123456789abcdef0123456789ABCDEF"];
    for name in odd {
        yard.slots().put_all(&[(name.to_owned(), whole.clone().into())]).unwrap();
    }
    let lying = yard.pending();
    yard.combine(0, "mine");
    assert_eq!((yard.newest(), yard.count(&record)), (1, 0));
    assert_eq!(yard.pending(), lying);
    yard.is_clean();
    // Nor does it keep another from being taken.
    yard.leave(&yard.signed("staging", 2, "left", |_| ()));
    yard.combine(0, "mine again");
    assert_eq!((yard.newest(), yard.pending()), (2, lying));
}

#[test]
fn d5_of_one_target_one_is_taken() {
    let yard = Yard::new();
    let two = ["one", "other"].map(|salt| yard.signed("staging", 1, salt, |_| ()));
    two.iter().for_each(|record| drop(yard.leave(record)));
    // And of ours none but our own.
    let rival = yard.signed("staging", 0, "rival", |_| ());
    yard.leave(&rival);
    yard.combine(0, "mine");
    assert_eq!(two.iter().map(|record| yard.count(record)).sum::<usize>(), 1);
    assert_eq!((yard.newest(), yard.count(&rival), yard.pending().len()), (2, 0, 2));
    // These are over, and swept by who comes next.
    yard.combine(2, "next");
    assert_eq!((yard.newest(), yard.pending().len()), (1, 0));
    yard.is_clean();
}

#[test]
fn b5_what_relies_on_evidence_that_nobody_has_is_not_taken() {
    let yard = Yard::new();
    let (piece, record) = (Digest::of(b"piece"), yard.signed("staging", 1, "left", |_| ()));
    yard.leave_with(&record, [piece].into());
    yard.combine(0, "mine");
    assert_eq!((yard.newest(), yard.count(&record), yard.pending().len()), (1, 0, 1));
    let kept = format!("evidence/sha256/{}", piece.hex());
    yard.slots().put_all(&[(kept, Bytes::from_static(b"piece"))]).unwrap();
    yard.combine(0, "mine again");
    assert_eq!((yard.newest(), yard.count(&record), yard.pending().len()), (2, 1, 0));
}

/// A promotion relies on more than whoever left it may say.
#[test]
fn b5_a_decision_names_its_evidence_or_is_not_taken() {
    let (yard, world) = Yard::of(1);
    let mut draft = world.forged("release", &Built::shop("1"), Phase::Intent, None);
    let ledger = yard.ledger();
    let (at, lane) = (ledger.tip().unwrap(), ledger.control().unwrap());
    let Body::Promotion(said) = &mut draft.body else { panic!("it is one") };
    (said.ledger.observed, said.ledger.control) = (head(&at), head(lane.head()));
    let relied: BTreeSet<Digest> =
        relied_on(said, &draft.subjects).iter().map(|relied| relied.digest).collect();
    let record = draft.sign(world.key("release")).unwrap();
    let Yard { policy, trust, log, .. } = &yard;
    let read = |evidence: &BTreeSet<Digest>| {
        let pending = Pending { record: record.clone(), evidence: evidence.clone() }.to_bytes();
        Left::read(&pending, log.vkey().origin().as_str(), policy, trust).is_some()
    };
    assert!(read(&relied));
    for piece in &relied {
        let mut fewer = relied.clone();
        fewer.remove(piece);
        assert!(!read(&fewer));
    }
    // Whoever may not promote there decides nothing there.
    draft = world.forged("staging", &Built::shop("1"), Phase::Intent, None);
    let record = draft.sign(world.key("staging")).unwrap();
    let pending = Pending { record, evidence: relied }.to_bytes();
    assert!(Left::read(&pending, log.vkey().origin().as_str(), policy, trust).is_none());
}

#[test]
fn e9_a_loser_decides_again_once_its_target_moved() {
    let yard = Arc::new(Yard::new());
    let theirs = yard.clone();
    let faster = behind_offer(1, move || {
        theirs.deploy(&mut theirs.ledger(), 0, "theirs");
    });
    let (mut ledger, mut drafts) = (yard.hooked(faster), 0);
    let written = yard.deploy_amid(&mut ledger, 0, "mine", |number| {
        drafts = number + 1;
        yard.faster(number);
    });
    assert_eq!(drafts, PLAIN + 2, "the step was run again");
    let index = written.unwrap().position.index;
    let tip = ledger.tip().unwrap();
    let ours = ledger.read(&tip, index).unwrap();
    let record = crate::record::Record::read(&ours, &yard.trust).unwrap();
    assert_eq!(record.body().ledger().prev.unwrap().index, index - 1);
    assert_eq!((yard.size(), yard.pending().len()), (4, 0));
    yard.is_clean();
}

#[test]
fn d5_a_loser_decides_again_once_something_was_revoked() {
    let yard = Arc::new(Yard::new());
    let theirs = yard.clone();
    let mut ledger = yard.hooked(behind_offer(1, move || theirs.revoke()));
    let (service, mut drafts) = (service(0), 0);
    let (written, lane) = yard
        .writer(&mut ledger)
        .append(&service, &staging(), |view| {
            yard.faster(drafts);
            drafts += 1;
            let draft = yard.draft(&service, "mine", view.ledger(Digest::of(b"mine")));
            Ok::<_, ProtocolError>(Step::Append(Box::new(draft), view.lane.head().size()))
        })
        .unwrap();
    assert_eq!((drafts, lane), (PLAIN + 2, 1));
    assert_eq!((written.unwrap().position.index, yard.size(), yard.pending().len()), (2, 3, 0));
    yard.is_clean();
}

/// Slow to look at the control lane, somebody appends what was taken back: it is the record of the request all the same.
#[test]
fn d5_what_was_taken_back_and_appended_all_the_same_is_no_second_record() {
    let yard = Arc::new(Yard::new());
    let (theirs, mut first) = (yard.clone(), None);
    let mut ledger = yard.hooked({
        let mut offers = 0;
        move |name, after| {
            if after && name.starts_with("pending/") {
                offers += 1;
                let read = |name: &str| theirs.slots().get(name, pending::LIMIT).unwrap().unwrap();
                match offers {
                    1 => {
                        first = Some(Pending::parse(&read(name)).unwrap().record);
                        theirs.revoke();
                    }
                    2 => {
                        let claim = Left::read(
                            &Pending { record: first.take().unwrap(), evidence: [].into() }.to_bytes(),
                            theirs.log.vkey().origin().as_str(),
                            &theirs.policy,
                            &theirs.trust,
                        );
                        let size = theirs.size();
                        let _ = theirs.ledger().append(size, &[claim.unwrap().claim.entry]).unwrap();
                    }
                    _ => {}
                }
            }
            true
        }
    });
    let service = service(0);
    let mut drafts = 0;
    let (written, draft) = yard
        .writer(&mut ledger)
        .append(&service, &staging(), |view| {
            yard.faster(drafts);
            drafts += 1;
            let draft = yard.draft(&service, "mine", view.ledger(Digest::of(b"mine")));
            Ok::<_, ProtocolError>(Step::Append(Box::new(draft), drafts))
        })
        .unwrap();
    assert_eq!((drafts, draft), (PLAIN + 2, PLAIN + 1), "the answer is that of the record that is there");
    assert_eq!((written.unwrap().position.index, yard.size(), yard.pending().len()), (2, 3, 0));
    yard.is_clean();
}

#[test]
fn d6_who_died_behind_an_offer_is_found_again() {
    // Somebody was there first: the same request finds it.
    let yard = Yard::new();
    let record = yard.signed("staging", 1, "left", |_| ());
    yard.leave(&record);
    yard.combine(0, "mine");
    let written = yard.deploy(&mut yard.ledger(), 1, "left");
    assert_eq!((written.digest, yard.count(&record), yard.size()), (Digest::of(&record), 1, 4));
    // The same request was: what was left is over.
    let yard = Yard::new();
    let record = yard.signed("staging", 1, "left", |_| ());
    yard.leave(&record);
    yard.deploy(&mut yard.ledger(), 9, "other");
    yard.deploy(&mut yard.ledger(), 1, "left");
    yard.combine(0, "mine");
    assert_eq!((yard.count(&record), yard.size(), yard.pending().len()), (0, 5, 0));
}

#[test]
fn d6_a_death_behind_the_commit_leaves_what_the_next_one_sweeps() {
    let yard = Yard::new();
    let record = yard.signed("staging", 1, "left", |_| ());
    let name = yard.leave(&record);
    yard.combine(0, "mine");
    let bytes = Pending { record: record.clone(), evidence: [].into() }.to_bytes();
    yard.slots().put_all(&[(name, bytes.into())]).unwrap();
    yard.combine(2, "next");
    assert_eq!((yard.count(&record), yard.newest(), yard.pending().len()), (1, 1, 0));
    yard.is_clean();
}

#[test]
fn d5_where_nothing_can_be_left_all_the_same_is_appended() {
    let yard = Yard::new();
    let mut ledger = yard.hooked(|name, _| !name.starts_with("pending/"));
    let written = yard.deploy_amid(&mut ledger, 0, "mine", |drafts| yard.faster(drafts)).unwrap();
    assert_eq!((written.position.index, yard.size()), (2, 3));
    yard.is_clean();
}

/// A step that says no takes back what it had said yes to.
#[test]
fn e9_a_no_takes_back_what_was_left() {
    let yard = Arc::new(Yard::new());
    let theirs = yard.clone();
    let faster = behind_offer(1, move || {
        theirs.deploy(&mut theirs.ledger(), 0, "theirs");
    });
    let (mut ledger, mut drafts) = (yard.hooked(faster), 0);
    let refused = yard.writer(&mut ledger).append(&service(0), &staging(), |view| {
        yard.faster(drafts);
        drafts += 1;
        if view.history.head.is_some() {
            return Err(ProtocolError::Fenced { index: 7 });
        }
        let draft = yard.draft(&service(0), "mine", view.ledger(Digest::of(b"mine")));
        Ok(Step::Append(Box::new(draft), ()))
    });
    assert!(matches!(refused, Err(ProtocolError::Fenced { index: 7 })), "{refused:?}");
    assert_eq!((yard.size(), yard.pending().len()), (3, 0));
}

#[test]
fn d5_who_never_wins_is_told_that_it_may_be_appended_yet() {
    let yard = Arc::new(Yard::new());
    let (theirs, mut number, mut other) = (yard.clone(), 0, yard.ledger());
    // Somebody who does not combine is always faster.
    let mut ledger = yard.hooked(move |name, after| {
        if !after && name.starts_with("commits/") {
            number += 1;
            theirs.deploy(&mut other, 1 + number % 8, &format!("faster {number}"));
        }
        true
    });
    let refused = yard.deploy_amid(&mut ledger, 0, "mine", |_| ()).unwrap_err();
    assert!(matches!(refused, ProtocolError::Contention { offered: true }), "{refused:?}");
    assert!(refused.to_string().ends_with("so that it may still be appended"), "{refused}");
    assert_eq!(yard.pending(), [""; 0]);
    assert!(!ProtocolError::Contention { offered: false }.to_string().contains("left for them"));
}

#[test]
fn one_slot_takes_so_many_and_no_more() {
    let (yard, _) = Yard::of(SERVICES);
    for number in 0..SERVICES {
        if number != 9 {
            yard.leave(&yard.signed("staging", number, "left", |_| ()));
        }
    }
    yard.combine(0, "mine");
    assert_eq!(yard.newest(), RECORDS);
    // That of service 0 is over; service 9 is who is faster, and never left one.
    assert_eq!(yard.pending().len(), SERVICES - 1 - (RECORDS - 1));
    let claim = |bytes: usize| bytes / 3 * 4 + ROW;
    assert!(
        BYTES + claim(crate::ledger::MAX_ENTRY) < commit::LIMIT,
        "with room for what is written around them"
    );
    yard.is_clean();
}

#[test]
fn a_copy_is_made_without_what_was_left() {
    let yard = Yard::new();
    yard.deploy(&mut yard.ledger(), 1, "before");
    yard.leave(&yard.signed("staging", 1, "left", |_| ()));
    yard.is_clean();
    let objects = Arc::new(InMemory::new());
    let mut to = Ledger::create_in(objects.clone(), "copy", &yard.log).unwrap();
    let _ = copy(&yard.ledger(), &mut to, &yard.trust).unwrap();
    assert_eq!(to.tip().unwrap(), yard.ledger().tip().unwrap());
    assert_eq!(Objects::over(objects, "").unwrap().list("pending/", "").unwrap(), [""; 0]);
    assert_eq!(yard.pending().len(), 1);
}

/// SQLite waits for its lock, and a file pushed to a branch is a push.
#[test]
fn only_slots_in_object_stores_combine() {
    let (yard, world) = Yard::of(1);
    assert!(yard.ledger().combines() && !world.ledger.combines());
}
