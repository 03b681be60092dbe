//! The logs of the model: each a log of real records, signed by the promoters' keys, laid into an RFC 6962 tree under a
//! signed checkpoint, and read back with all that a reader asks of them. What they add up to is [`State::replay`]'s word.

use std::collections::HashMap;

use samebits::evidence::Control;
use samebits::gate::control::freezes;
use samebits::ledger::target::{Rules, State};
use samebits::record::{Body, Phase, Position, Record, TreeHead};
use samebits::tlog::{Frontier, TlogError, leaf_hash};

use crate::world::{APPROVALS, Built, Freezes, World, freezable, guarded, with};

/// The promoters, by their keys.
const KEYS: [&str; 2] = ["release", "release-2"];

/// A record of the model. An intent is named by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    /// Of a promoter, for its image.
    Intent(usize),
    /// By a promoter, of an intent.
    Commit(usize, usize),
    /// By a promoter, of anybody's intent.
    Abort(usize, usize),
}

/// A log: the same entries have the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LogId(usize);

impl LogId {
    pub(crate) const EMPTY: Self = Self(0);
}

/// An intent that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) intent: usize,
    pub(crate) image: usize,
}

/// A commit that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) intent: usize,
    pub(crate) commit: usize,
    pub(crate) image: usize,
}

/// What a log adds up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) open: Vec<Open>,
    pub(crate) commits: Vec<Committed>,
    pub(crate) current: Option<Committed>,
}

#[derive(Default)]
struct Node {
    entries: Vec<Entry>,
    bytes: Vec<Vec<u8>>,
    records: Vec<Record>,
    sum: Sum,
    then: HashMap<Entry, LogId>,
}

/// Every log that was reached.
pub(crate) struct Log {
    world: World,
    images: [Built; 2],
    /// The control lane without the freeze, and with it.
    control: [Control; 2],
    nodes: Vec<Node>,
}

impl Log {
    pub(crate) fn new() -> Self {
        let policy = freezable(&guarded(&with(&[(APPROVALS, ""), ("for-at-least = \"1h\", ", "")])));
        let mut world = World::new(&policy);
        let open = world.control();
        world.freeze("duty", &Freezes::everything());
        let control = [open, world.control()];
        let images = ["0", "1"].map(Built::shop);
        Self { world, images, control, nodes: vec![Node::default()] }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn entries(&self, id: LogId) -> &[Entry] {
        &self.nodes[id.0].entries
    }

    pub(crate) fn state(&self, id: LogId) -> Sum {
        self.nodes[id.0].sum.clone()
    }

    /// Whether the lane, with the freeze or without, stops what would enter: the gate's own answer.
    pub(crate) fn stops(&self, frozen: bool) -> bool {
        let policy = &self.world.policy;
        let service = policy.find_service("shop").unwrap().name();
        let environment = policy.find_environment("production").unwrap().name();
        let freezes = freezes(policy, service, &self.control[usize::from(frozen)]);
        freezes.iter().any(|freeze| freeze.stops(environment, self.world.now()))
    }

    /// The log with one more record.
    pub(crate) fn append(&mut self, id: LogId, entry: Entry) -> LogId {
        if let Some(then) = self.nodes[id.0].then.get(&entry) {
            return *then;
        }
        let node = self.extend(&self.nodes[id.0], entry);
        let then = LogId(self.nodes.len());
        self.nodes.push(node);
        self.nodes[id.0].then.insert(entry, then);
        then
    }

    fn extend(&self, before: &Node, entry: Entry) -> Node {
        // 1. The record, by whoever writes it, about the image of the intent.
        let (who, phase, intent) = match entry {
            Entry::Intent(who) => (who, Phase::Intent, None),
            Entry::Commit(who, intent) => (who, Phase::Commit, Some(intent)),
            Entry::Abort(who, intent) => (who, Phase::Abort, Some(intent)),
        };
        let image = intent.map_or(who, |intent| image_of(&before.entries, intent));
        let image = match phase {
            Phase::Commit => who,
            Phase::Intent | Phase::Abort | Phase::Refused => image,
        };
        let intent: Option<Position> = intent.map(|intent| before.records[intent].position());
        let mut draft = self.world.forged(KEYS[who], &self.images[image], phase, intent);
        let Body::Promotion(body) = &mut draft.body else { panic!("{draft:?}") };
        body.ledger.observed = head(&before.bytes);
        body.ledger.prev = before.records.last().map(Record::position);
        // 2. Signed, under a checkpoint of the log that has it, and read as from a ledger.
        let mut bytes = before.bytes.clone();
        bytes.push(draft.sign(self.world.key(KEYS[who])).unwrap());
        let TreeHead { size, root } = head(&bytes);
        let checkpoint = self.world.log.sign(size, root).unwrap();
        let whole = checkpoint.whole(bytes.clone()).unwrap();
        let mut records = before.records.clone();
        records.push(Record::read(whole.entries().last().unwrap(), &self.world.trust).unwrap());
        // 3. What it adds up to.
        let sum = self.replay(&records);
        let mut entries = before.entries.clone();
        entries.push(entry);
        Node { entries, bytes, records, sum, then: HashMap::new() }
    }

    /// The real one. A freeze takes nobody's word: it is the same over either lane.
    fn replay(&self, records: &[Record]) -> Sum {
        let policy = &self.world.policy;
        let service = policy.find_service("shop").unwrap().name();
        let environment = policy.find_environment("production").unwrap();
        let image = |digest| self.images.iter().position(|image| image.root == digest).unwrap();
        let [sum, frozen] = [0, 1].map(|frozen| {
            let control = &self.control[frozen];
            let state = State::replay(records, &Rules { policy, service, environment, control });
            let open = state.open.iter().map(|open| Open {
                intent: open.position.index as usize,
                image: image(open.record.subjects().image.digest),
            });
            let committed = |it: &samebits::ledger::target::Current| Committed {
                intent: it.intent.index as usize,
                commit: it.commit.index as usize,
                image: image(it.image.digest),
            };
            Sum {
                open: open.collect(),
                commits: state.commits.iter().map(committed).collect(),
                current: state.current.as_ref().map(committed),
            }
        });
        assert_eq!(sum, frozen);
        sum
    }
}

fn image_of(entries: &[Entry], intent: usize) -> usize {
    match entries[intent] {
        Entry::Intent(who) => who,
        other => panic!("{other:?} is no intent"),
    }
}

fn head(bytes: &[Vec<u8>]) -> TreeHead {
    let mut frontier = Frontier::empty();
    for bytes in bytes {
        frontier.push::<TlogError>(leaf_hash(bytes), |_, _| Ok(())).unwrap();
    }
    TreeHead { size: frontier.size(), root: frontier.root() }
}
