//! One copy after the other: each tool, each case, with a destination and a home that nobody has used before.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::{Context as _, ensure};
use samebits::reference::{Image, Repository};
use samebits::registry::{HttpConfig, Referrers, Registries};

use crate::counter::{Counter, Log};
use crate::floor::{End, Floor};
use crate::image::{self, Pushed};
use crate::process::{self, Usage};
use crate::registry::{Maker, Registry};
use crate::tools::{Place, TAG, Tool};

/// What a tool does again and again until it has spent this or done it so many times.
const SPENT: Duration = Duration::from_secs(8);
const ROUNDS: usize = 5;
const ROUND_TRIP: Duration = Duration::from_millis(20);
const SOURCE: &str = "shop/app";
/// olareg copies what it mounts, so its image is no larger than this.
const SMALL: u64 = 32 << 20;

/// From where to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// From one repository to another of the same registry.
    Mount(Maker),
    /// The same, far away.
    Far(Maker),
    /// The same once more: all of it is there.
    Nothing(Maker),
    /// From one registry to another.
    Across,
    ToLayout,
    /// From the layout that the same tool wrote.
    FromLayout,
}

impl Case {
    pub(crate) const ALL: [Self; 9] = [
        Self::Mount(Maker::Docker),
        Self::Nothing(Maker::Docker),
        Self::Far(Maker::Docker),
        Self::Mount(Maker::Olareg),
        Self::Nothing(Maker::Olareg),
        Self::Far(Maker::Olareg),
        Self::Across,
        Self::ToLayout,
        Self::FromLayout,
    ];

    pub(crate) fn name(self) -> String {
        match self {
            Self::Mount(maker) => format!("mount: cross-repository in one {}", maker.program()),
            Self::Far(maker) => format!("mount-20ms: the same {}, 20 ms round trip", maker.program()),
            Self::Nothing(maker) => format!("nothing: second run in one {}", maker.program()),
            Self::Across => "across: docker-registry to docker-registry".to_owned(),
            Self::ToLayout => "to-layout: docker-registry to OCI layout".to_owned(),
            Self::FromLayout => "from-layout: OCI layout to docker-registry".to_owned(),
        }
    }

    pub(crate) fn maker(self) -> Maker {
        match self {
            Self::Mount(maker) | Self::Far(maker) | Self::Nothing(maker) => maker,
            Self::Across | Self::ToLayout | Self::FromLayout => Maker::Docker,
        }
    }

    /// Whether every byte has to be moved.
    fn moves_bytes(self) -> bool {
        match self {
            Self::Mount(_) | Self::Far(_) | Self::Nothing(_) => false,
            Self::Across | Self::ToLayout | Self::FromLayout => true,
        }
    }

    /// What the issue promises of it.
    pub(crate) fn goal(self) -> &'static str {
        match self {
            Self::Mount(_) | Self::Far(_) => {
                "0 layer bytes; wall at most 0.50, requests at most 0.60 of the fastest peer"
            }
            Self::Nothing(_) => "at most 1 request per manifest and 1 per list of referrers",
            Self::Across | Self::ToLayout | Self::FromLayout => {
                "wall at most 1.00 of the fastest peer, CPU at most 1.30 of the floor, memory at most 64 MiB"
            }
        }
    }
}

/// What a tool took.
pub(crate) struct Measured {
    /// The best of the rounds.
    pub(crate) usage: Usage,
    pub(crate) rounds: usize,
    spent: Duration,
    /// Of the last round that was counted.
    pub(crate) log: Log,
    /// How many referrers are at the destination.
    pub(crate) referrers: usize,
}

impl Measured {
    /// One round more; one that is only counted took the time that the proxy took.
    fn and(&mut self, next: Self, only_counted: bool) {
        (self.log, self.referrers) = (next.log, next.referrers);
        if !only_counted {
            self.usage = self.usage.best(next.usage);
            self.rounds += 1;
            self.spent += next.spent;
        }
    }
}

/// The sources, and where everything is kept.
pub(crate) struct World {
    size: u64,
    folder: PathBuf,
    sources: BTreeMap<Maker, Source>,
    registries: Registries,
    runtime: tokio::runtime::Runtime,
    /// Where each tool's last copy within a registry is, and its layout.
    copies: BTreeMap<(Maker, Tool), String>,
    layouts: BTreeMap<Tool, PathBuf>,
    until: Instant,
    used: usize,
}

/// A registry and what was pushed to it.
struct Source {
    registry: Registry,
    image: Pushed,
}

/// A copy that is about to be made.
struct Stage {
    from: Place,
    /// As the tool is told, maybe through a proxy, and as it is.
    to: Place,
    really: Place,
    counters: Vec<Counter>,
    /// One of its own, which goes away with it.
    destination: Option<Registry>,
}

impl World {
    /// Starts the registries and pushes an image to each.
    pub(crate) fn set(folder: &Path, size: u64, makers: &[Maker], until: Instant) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
        let registries = Registries::new(HttpConfig::default(), folder.to_owned());
        let mut sources = BTreeMap::new();
        for maker in makers {
            let registry = Registry::start(*maker, &folder.join(maker.program()))?;
            let repository: Repository = format!("{}/{SOURCE}", registry.host()).parse()?;
            let size = match maker {
                Maker::Docker => size,
                Maker::Olareg => size.min(SMALL),
            };
            let tag = TAG.parse()?;
            let push = async {
                let root = image::push(&registries, &repository, &tag, size).await?;
                image::attach(&registries, root).await
            };
            let image = runtime.block_on(push).with_context(|| format!("pushing {repository}"))?;
            sources.insert(*maker, Source { registry, image });
        }
        let folder = folder.to_owned();
        let (copies, layouts) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { size, folder, sources, registries, runtime, copies, layouts, until, used: 0 })
    }

    /// What is copied in a case.
    pub(crate) fn image(&self, case: Case) -> &Pushed {
        &self.sources[&case.maker()].image
    }

    /// Each tool in turn until each has done so often enough, then each once more through a proxy that counts. Tools
    /// that fail, or have no time left, are missing from the answer, and that is said.
    pub(crate) fn measure(&mut self, case: Case, tools: &[Tool]) -> Vec<(Tool, Measured)> {
        let mut measured: BTreeMap<Tool, Measured> = BTreeMap::new();
        let mut failed = BTreeSet::new();
        // What takes its time from the round trips is measured and counted at once.
        let far = matches!(case, Case::Far(_));
        if case.moves_bytes()
            && let Err(error) = self.warm()
        {
            println!("  the source was not read before: {error:#}");
        }
        let alone = |tool: &Tool| *tool == Tool::SamebitsAlone && case.moves_bytes();
        let mut tools: Vec<Tool> = tools.iter().copied().filter(|tool| !alone(tool)).collect();
        for round in 0..=ROUNDS {
            let count = round == ROUNDS;
            // Who goes first finds another disk than who goes last.
            tools.reverse();
            for tool in tools.iter().filter(|_| !(far && count)) {
                let enough = measured.get(tool).is_some_and(|it| it.spent >= SPENT) && !count;
                if enough || failed.contains(tool) {
                    continue;
                }
                match self.once(case, *tool, far || count) {
                    Ok(Some(once)) => match measured.entry(*tool) {
                        Entry::Vacant(vacant) => drop(vacant.insert(once)),
                        Entry::Occupied(mut occupied) => occupied.get_mut().and(once, count),
                    },
                    Ok(None) => {
                        println!("  {}: stopped, out of time", tool.name());
                        failed.insert(*tool);
                    }
                    Err(error) => {
                        println!("  {}: failed: {error:#}", tool.name());
                        failed.insert(*tool);
                    }
                }
            }
        }
        measured.retain(|tool, _| !failed.contains(tool));
        measured.into_iter().collect()
    }

    /// Reads the source, so that nobody has to wait for the disk alone.
    fn warm(&self) -> anyhow::Result<()> {
        let mut folders = vec![self.folder.join(Maker::Docker.program())];
        folders.extend(self.layouts.values().cloned());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                match entry.file_type()?.is_dir() {
                    true => folders.push(entry.path()),
                    false => drop(io::copy(&mut fs::File::open(entry.path())?, &mut io::sink())?),
                }
            }
        }
        Ok(())
    }

    fn once(&mut self, case: Case, tool: Tool, through: bool) -> anyhow::Result<Option<Measured>> {
        let stage = self.stage(case, tool, through)?;
        let home = self.fresh("home")?;
        // Best effort: without it the first of two writes on the time of the second.
        let _ = std::process::Command::new("sync").status();
        let source = self.sources[&case.maker()].registry.id();
        let servers: Vec<u32> =
            std::iter::once(source).chain(stage.destination.iter().map(Registry::id)).collect();
        let usage = process::measure(tool.copy(&home, &stage.from, &stage.to), self.until, &servers)?;
        fs::remove_dir_all(&home).context("removing a home")?;
        let Some(usage) = usage else { return Ok(None) };
        let referrers =
            self.arrived(case, &stage.really).with_context(|| format!("{}: {tool:?}", case.name()))?;
        match (case, stage.really) {
            (Case::Mount(maker), Place::Registry { repository, .. }) => {
                self.copies.insert((maker, tool), repository);
            }
            (Case::ToLayout, Place::Layout(layout)) => {
                if let Some(old) = self.layouts.insert(tool, layout) {
                    fs::remove_dir_all(old).context("removing a layout")?;
                }
            }
            _ => {}
        }
        let log = stage.counters.iter().map(Counter::take_log).reduce(Log::and).unwrap_or_default();
        Ok(Some(Measured { usage, rounds: 1, spent: usage.wall, log, referrers }))
    }

    /// A path nobody has used; a folder for a home, nothing for the rest.
    fn fresh(&mut self, what: &str) -> anyhow::Result<PathBuf> {
        self.used += 1;
        let path = self.folder.join(format!("{what}-{}", self.used));
        if what == "home" {
            fs::create_dir_all(&path).context("creating a home")?;
        }
        Ok(path)
    }

    fn stage(&mut self, case: Case, tool: Tool, through: bool) -> anyhow::Result<Stage> {
        let mut counters = Vec::new();
        let round_trip = if matches!(case, Case::Far(_)) { ROUND_TRIP } else { Duration::ZERO };
        let mut way = |host: &str| -> anyhow::Result<String> {
            if !through {
                return Ok(host.to_owned());
            }
            let counter = Counter::start(host, round_trip)?;
            let host = counter.host().to_owned();
            counters.push(counter);
            Ok(host)
        };
        let fresh = format!("mirror/{}-{}", if tool.is_ours() { "samebits" } else { tool.name() }, self.used);
        let source = self.sources[&case.maker()].registry.host().to_owned();
        let (from, to, really, destination) = match case {
            Case::Mount(_) | Case::Far(_) => {
                let host = way(&source)?;
                let (to, really) = (Place::registry(&host, &fresh), Place::registry(&source, &fresh));
                (Place::registry(&host, SOURCE), to, really, None)
            }
            Case::Nothing(maker) => {
                if !self.copies.contains_key(&(maker, tool)) {
                    ensure!(self.once(Case::Mount(maker), tool, false)?.is_some(), "out of time");
                }
                let there = &self.copies[&(maker, tool)];
                let host = way(&source)?;
                let (to, really) = (Place::registry(&host, there), Place::registry(&source, there));
                (Place::registry(&host, SOURCE), to, really, None)
            }
            Case::Across => {
                let from = Place::registry(&way(&source)?, SOURCE);
                let there = Registry::start(Maker::Docker, &self.fresh("there")?)?;
                let to = Place::registry(&way(there.host())?, &fresh);
                (from, to, Place::registry(there.host(), &fresh), Some(there))
            }
            Case::ToLayout => {
                let to = Place::Layout(self.fresh("layout")?);
                (Place::registry(&way(&source)?, SOURCE), to.clone(), to, None)
            }
            Case::FromLayout => {
                if !self.layouts.contains_key(&tool) {
                    ensure!(self.once(Case::ToLayout, tool, false)?.is_some(), "out of time");
                }
                let from = Place::Layout(self.layouts[&tool].clone());
                let there = Registry::start(Maker::Docker, &self.fresh("there")?)?;
                let to = Place::registry(&way(there.host())?, &fresh);
                (from, to, Place::registry(there.host(), &fresh), Some(there))
            }
        };
        Ok(Stage { from, to, really, counters, destination })
    }

    /// Fails unless the image is there under its own digest; how many of the referrers are, too.
    fn arrived(&self, case: Case, place: &Place) -> anyhow::Result<usize> {
        let image = self.image(case);
        let root = image.root.digest;
        match place {
            Place::Registry { host, repository } => self.runtime.block_on(async {
                let there: Repository = format!("{host}/{repository}").parse()?;
                let found = self.registries.tagged(&there, &TAG.parse()?).await?;
                ensure!(found == Some(root), "{there}:{TAG} is {found:?}, not {root}");
                let mut listed = 0;
                for subject in &image.subjects {
                    let referrers = self.registries.referrers(&Image::new(there.clone(), *subject)).await?;
                    listed += match referrers {
                        Referrers::Unsupported => 0,
                        Referrers::Listed(referrers) => referrers.len(),
                    };
                }
                Ok(listed)
            }),
            Place::Layout(folder) => {
                let index = fs::read_to_string(folder.join("index.json")).context("reading the layout")?;
                ensure!(index.contains(&root.to_string()), "{} has no {root}", folder.display());
                let present = |digest: &&samebits::digest::Digest| {
                    folder.join("blobs/sha256").join(digest.hex()).exists()
                };
                let whole = image.subjects.iter().filter(present).count();
                ensure!(whole == image.subjects.len(), "{} is not whole", folder.display());
                Ok(image.attached.iter().filter(present).count())
            }
        }
    }

    /// The same bytes read, hashed and written, and nothing else; `None` where nothing has to be.
    pub(crate) fn floor(&mut self, case: Case) -> anyhow::Result<Option<Usage>> {
        let home = self.fresh("home")?;
        let blobs = self.layouts.values().next().map(|layout| layout.join("blobs/sha256"));
        let file = home.join("bytes");
        let mut best: Option<Usage> = None;
        for _ in 0..2 {
            let (from, to) = match case {
                Case::Across => (End::Wire, End::Wire),
                Case::ToLayout => (End::Wire, End::Disk(file.as_path())),
                Case::FromLayout => (End::Disk(blobs.as_deref().context("no layout")?), End::Wire),
                Case::Mount(_) | Case::Far(_) | Case::Nothing(_) => return Ok(None),
            };
            let floor = Floor::prepare(&home, from, to, self.size)?;
            let Some(usage) = floor.measure(self.until)? else { return Ok(None) };
            best = Some(best.map_or(usage, |best| best.best(usage)));
        }
        fs::remove_dir_all(&home).context("removing a home")?;
        Ok(best)
    }
}
