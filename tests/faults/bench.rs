//! One row at a time: a registry, a proxy on either side of it, a world with an image that may be promoted.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use samebits::closure::{Document, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST};
use samebits::collect::Files;
use samebits::digest::Digest;
use samebits::key::PrivateKey;
use samebits::ledger::Ledger;
use samebits::promote::{Answer as Promoted, Request, Walk, WalkError};
use samebits::reference::{Destination, Image, Location, Reference, Repository};
use samebits::registry::{
    Along, Already, HttpConfig, Referrers, Registries, Side, Suffix, Transfer, TransferError,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::docker_registry::{DockerRegistry, PASSWORD, USER};
use crate::proxy::{Answer, Proxy, Rule};
use crate::registry::{Behaviour, Fake, Login};
use crate::table::{Act, Kind, Places, Row, Wrong};
use crate::world::{Built, World, tagged, with};

/// The first wait of who need not wait.
const AT_ONCE: Duration = Duration::from_millis(1);

/// What is behind the proxies.
pub(crate) enum Upstream {
    /// A registry in this process for each side: with tokens, and the referrers API.
    InProcess(Box<[Fake; 2]>),
    /// One real registry for both: with passwords, without referrers API.
    Real(String),
}

impl Upstream {
    pub(crate) fn in_process() -> Self {
        let bearer = || Behaviour { login: Login::bearer(), ..Behaviour::default() };
        Self::InProcess(Box::new([Fake::with(bearer()), Fake::with(bearer())]))
    }

    pub(crate) fn real(registry: &DockerRegistry) -> Self {
        Self::Real(registry.host())
    }
}

/// What came of a run.
#[derive(Debug)]
enum Outcome {
    Yes,
    No,
    Trouble { side: Option<Side>, text: String, advice: Option<String> },
}

pub(crate) struct Bench {
    act: Act,
    number: usize,
    rows: usize,
    upstream: Upstream,
    source: Proxy,
    destination: Proxy,
    stranger: Proxy,
    login: String,
    folder: TempDir,
    world: World,
    calm: Registries,
    quick: Registries,
    hasty: Registries,
    built: Built,
    /// By host: what refers to the image in the build's own repository there, and the evidence in the first of them.
    seeded: BTreeMap<String, (Vec<Digest>, Digest)>,
    runtime: Runtime,
}

/// How long a slow answer may take.
const HURRY: Duration = Duration::from_secs(1);
const TAG: &str = "1.0";

impl Bench {
    /// The image is at the source, and at the destination in the build's own repository, with its evidence.
    pub(crate) fn new(act: Act, number: usize, upstream: Upstream) -> Self {
        let (source, destination, login) = match &upstream {
            Upstream::InProcess(fakes) => {
                let proxies = fakes.each_ref().map(|fake| {
                    let proxy = Proxy::start(fake.host());
                    let realm = Some(format!("http://{}/token", proxy.host()));
                    let login = Login::Bearer { anonymous_pull: false, expires_in: Some(3600), realm };
                    fake.behave(|behaviour| behaviour.login = login);
                    proxy
                });
                let [source, destination] = proxies;
                (source, destination, "user:password".to_owned())
            }
            Upstream::Real(host) => (Proxy::start(host), Proxy::start(host), format!("{USER}:{PASSWORD}")),
        };
        let login = base64::engine::general_purpose::STANDARD.encode(login);
        let folder = tempfile::tempdir().unwrap();
        let auths =
            [source.host(), destination.host()].map(|host| (host.to_owned(), json!({ "auth": login })));
        let auths: serde_json::Map<String, serde_json::Value> = auths.into_iter().collect();
        std::fs::write(folder.path().join("config.json"), json!({ "auths": auths }).to_string()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let built = Built::index(&[("linux/amd64", &format!("bench {number}"))]);
        // A client takes long to make: each reads the machine's certificates.
        let patience = Duration::from_secs(30);
        let quick = client(folder.path(), (3, AT_ONCE), patience);
        let hasty = client(folder.path(), (1, AT_ONCE), HURRY);
        // Debian's registry empties the file of a tag before it writes it, and answers 500 between the two: a request that we
        // gave up may still be there.
        let calm = client(folder.path(), (8, Duration::from_millis(50)), patience);
        let mut bench = Self {
            act,
            calm,
            quick,
            hasty,
            number,
            rows: 0,
            upstream,
            world: World::new(&with(&[])),
            source,
            destination,
            stranger: Proxy::stranger(),
            login,
            folder,
            seeded: BTreeMap::new(),
            built,
            runtime,
        };
        for host in [bench.destination.host().to_owned(), bench.source.host().to_owned()] {
            bench.seed(&host);
        }
        bench
    }

    /// Pushes the image, signed, to the build's repository at this host.
    fn seed(&mut self, host: &str) {
        self.world.govern(&self.policy(host));
        self.world.registries = self.calm.clone();
        let (world, built) = (&self.world, &self.built);
        let (referrers, evidence) = self.runtime.block_on(async {
            let image = world.push(built, TAG).await;
            world.attach(&image, "build").await;
            let Referrers::Listed(listed) = world.registries.referrers(&image).await.unwrap() else {
                panic!()
            };
            let referrers: Vec<Digest> = listed.iter().map(|one| one.digest).collect();
            let sbom = Suffix::Sbom.tag(built.root).unwrap();
            world.registries.push_blob(&image.repository, Bytes::from_static(b"{}")).await.unwrap();
            let pushed =
                world.registries.push_manifest(&image.repository, OCI_MANIFEST, old_manifest(), Some(&sbom));
            pushed.await.unwrap();
            let first = Image::new(image.repository.clone(), referrers[0]);
            let manifest = world.registries.manifest(&first).await.unwrap().unwrap();
            let document = Document::read(&manifest.bytes, None, None).unwrap();
            (referrers, document.blobs().last().unwrap().digest)
        });
        self.seeded.insert(host.to_owned(), (referrers, evidence));
    }

    /// The policy of this row: the build pushes to `from`, staging is at the destination.
    fn policy(&self, from: &str) -> String {
        let (here, number, row) = (self.destination.host(), self.number, self.rows);
        with(&[
            (
                "platforms = [\"linux/amd64\", \"linux/arm64\"]\n[services.api]",
                "platforms = [\"linux/amd64\"]\n[services.api]",
            ),
            ("\"registry.example/shop\"", &format!("\"{from}/w{number}/build/shop\"")),
            ("\"registry.example/api\"", &format!("\"{from}/w{number}/build/api\"")),
            ("\"registry.example/staging/{service}\"", &format!("\"{here}/w{number}/r{row}/{{service}}\"")),
            ("\"registry.example/prod/{service}\"", &format!("\"{here}/w{number}/p{row}/{{service}}\"")),
        ])
    }

    /// The client that has to live with the fault; one of its own where it would be wrong afterwards.
    fn exposed(&self, row: &Row, patience: Duration) -> Registries {
        match (row.wrong, row.kind) {
            (Wrong::Drip, _) if patience == HURRY => self.hasty.clone(),
            (Wrong::Drip, _) => client(self.folder.path(), (1, AT_ONCE), patience),
            (Wrong::Gone, Kind::Listing | Kind::ListingBack) => {
                client(self.folder.path(), (3, AT_ONCE), patience)
            }
            (_, _) => self.quick.clone(),
        }
    }

    /// Runs one row; `Err` says what is wrong.
    pub(crate) fn run(&mut self, row: &Row) -> Result<(), String> {
        // A slow answer is told from a slow machine by giving the machine more time.
        let mut patience = match row.wrong {
            Wrong::Drip => HURRY,
            _ => Duration::from_secs(30),
        };
        loop {
            match self.try_run(row, patience)? {
                true => return Ok(()),
                false if row.wrong == Wrong::Drip && patience < Duration::from_secs(8) => patience *= 2,
                false => return Err("no such request was made".to_owned()),
            }
        }
    }

    /// False when the fault found nothing to break.
    fn try_run(&mut self, row: &Row, patience: Duration) -> Result<bool, String> {
        self.rows += 1;
        // 1. Where nothing is yet, but for what the tag means.
        let together = row.kind == Kind::Mount;
        let from_host = if together { self.destination.host() } else { self.source.host() }.to_owned();
        self.world.govern(&self.policy(&from_host));
        let ledger = tempfile::tempdir().unwrap();
        self.world.ledger = Ledger::create("sqlite:ledger.db", ledger.path(), &self.world.log).unwrap();
        self.world.registries = self.calm.clone();
        let from = self.world.repository("shop", None);
        let (to, archive) = match self.act {
            Act::Promotion | Act::Copy => (self.world.repository("shop", Some("staging")), None),
            Act::Unpack => {
                let name =
                    format!("out{}{}", self.rows, if self.rows.is_multiple_of(2) { ".tar" } else { "" });
                let to = format!("oci:{name}").parse().unwrap();
                (to, Some(self.folder.path().join(name)).filter(|_| self.rows.is_multiple_of(2)))
            }
        };
        // An archive is made in one go.
        let old = if archive.is_some() { None } else { Some(self.old(&to)?) };
        // 2. The fault.
        let proxy = match row.kind.side() {
            Side::Source => &self.source,
            Side::Destination => &self.destination,
        };
        let fault = row.wrong.fault(row.kind, &self.old_answer(row.kind), self.stranger.host());
        let times = if row.once { 1 } else { usize::MAX };
        proxy.rule(Rule::new(row.kind.finder(&self.places(&from, &to)), times, fault));
        self.stranger.take_log();
        if let (Kind::SourceToken, Upstream::InProcess(fakes)) = (row.kind, &self.upstream) {
            fakes[0].revoke_tokens();
        }
        let exposed = self.exposed(row, patience);
        let reference = match row.kind {
            Kind::Index => Reference::Pinned(Image::new(from.clone(), self.built.root)),
            _ => tagged(&from, TAG),
        };
        let outcome = self.act(reference.clone(), &to, exposed);
        for proxy in [&self.source, &self.destination] {
            proxy.mend();
        }
        let proxy = match row.kind.side() {
            Side::Source => &self.source,
            Side::Destination => &self.destination,
        };
        if proxy.fired() == 0 {
            return Ok(false);
        }
        // 3. What must be true of it.
        self.no_secrets()?;
        self.told(row, proxy.host(), &outcome)?;
        self.nothing_wrong(row, (&from, &to), old, &outcome)?;
        if row.once && !matches!(outcome, Outcome::Yes) {
            return Err(format!("a patient client gets past it: {outcome:?}"));
        }
        // 4. Again, and nothing is broken.
        if let (Some(archive), Outcome::Yes) = (archive, &outcome) {
            std::fs::remove_file(archive).unwrap();
        }
        let again = self.act(reference, &to, self.calm.clone());
        if !matches!(again, Outcome::Yes) {
            return Err(format!("first {outcome:?}, then without the fault {again:?}"));
        }
        self.nothing_wrong(row, (&from, &to), old, &again)
            .map_err(|wrong| format!("then without the fault: {wrong}"))?;
        Ok(true)
    }

    fn places(&self, from: &Repository, to: &Repository) -> Places {
        let path = |repository: &Repository| match repository.location() {
            Location::Registry { path, .. } => path.to_owned(),
            // Nobody asks it anything on the wire.
            Location::Layout { .. } => "none".to_owned(),
        };
        let child = self.built.closure.platforms().next().unwrap().0;
        let blobs = &self.built.closure.manifest(child).unwrap().blobs;
        Places {
            from: path(from),
            to: path(to),
            tag_there: TAG,
            tag_here: "staging",
            root: self.built.root,
            child,
            config: blobs[0].digest,
            layer: blobs[1].digest,
            referrer: self.referrers(from)[0],
            evidence: self.seeded[host(from)].1,
        }
    }

    fn referrers(&self, from: &Repository) -> &[Digest] {
        &self.seeded[host(from)].0
    }

    /// Something else under the tag of the destination.
    fn old(&self, to: &Repository) -> Result<Digest, String> {
        let (registries, tag) = (&self.world.registries, "staging".parse().unwrap());
        self.runtime.block_on(async {
            registries.push_blob(to, Bytes::from_static(b"{}")).await.map_err(|error| story(&error))?;
            let manifest = registries.push_manifest(to, OCI_MANIFEST, old_manifest(), Some(&tag)).await;
            manifest.map_err(|error| story(&error))
        })
    }

    /// What a cache on the way may still hold.
    fn old_answer(&self, kind: Kind) -> Answer {
        let found = |media_type: &str, body: &[u8]| Answer::new(200, &[("content-type", media_type)], body);
        match kind {
            Kind::Tag | Kind::TagAgain | Kind::TagAfter => found(OCI_MANIFEST, &old_manifest()),
            Kind::TagList => found("application/json", br#"{"name":"x","tags":[]}"#),
            Kind::Listing | Kind::ListingBack | Kind::FallbackTag | Kind::ReadFallbackTag => {
                let empty = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [] });
                found(OCI_INDEX, empty.to_string().as_bytes())
            }
            _ => Answer::new(404, &[], br#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#),
        }
    }

    fn act(&mut self, reference: Reference, to: &Repository, registries: Registries) -> Outcome {
        match self.act {
            Act::Promotion => self.promote(reference, registries),
            Act::Copy | Act::Unpack => self.runtime.block_on(copy(&registries, reference, to)),
        }
    }

    fn promote(&mut self, reference: Reference, registries: Registries) -> Outcome {
        let request = Request {
            reference,
            environment: "staging".to_owned(),
            service: None,
            run: "run".to_owned(),
            files: Files::default(),
            permit: false,
        };
        let key = PrivateKey::from_pem(&self.world.key("release").to_pem()).unwrap();
        let now = self.world.now();
        let World { policy, trust, ledger, .. } = &mut self.world;
        let mut walk =
            Walk { policy, trust, registries: &registries, ledger, clock: &|| now, witnesses: None };
        match self.runtime.block_on(walk.promote(&request, &key)) {
            Ok(Promoted::Promoted(promotion)) if promotion.destination().digest == self.built.root => {
                Outcome::Yes
            }
            Ok(Promoted::Promoted(promotion)) => panic!("promoted {}", promotion.destination()),
            Ok(Promoted::Denied { .. } | Promoted::Withheld { .. }) => Outcome::No,
            Err(error) => {
                let side = match &error {
                    WalkError::Copy { source, .. } => Some(source.side),
                    WalkError::ReadBack { .. } => Some(Side::Destination),
                    _ => None,
                };
                Outcome::Trouble { side, text: story(&error), advice: advice(&error) }
            }
        }
    }

    /// Nobody else was shown a login.
    fn no_secrets(&self) -> Result<(), String> {
        for asked in self.stranger.take_log() {
            let secrets = ["password", "horse", &self.login, "token-", "Bearer", "Basic"];
            if asked.header("authorization").is_some() || secrets.iter().any(|secret| asked.says(secret)) {
                return Err(format!("a stranger was told {asked:?}"));
            }
        }
        Ok(())
    }

    /// Trouble says where, and what to do.
    fn told(&self, row: &Row, host: &str, outcome: &Outcome) -> Result<(), String> {
        let Outcome::Trouble { side, text, advice } = outcome else { return Ok(()) };
        if side.is_some_and(|side| side != row.kind.side()) {
            return Err(format!("it blames the other side: {text}"));
        }
        if !text.contains(host) {
            return Err(format!("it does not name {host}: {text}"));
        }
        if matches!(row.kind, Kind::SourceToken | Kind::DestinationToken) && !text.contains("token server") {
            return Err(format!("it does not say that it was the token server: {text}"));
        }
        if advice.is_none() && !text.contains("run the same command again") {
            return Err(format!("it does not say what to do: {text}"));
        }
        let immutable = (row.kind, row.wrong) == (Kind::WriteTag, Wrong::Immutable);
        let says = |advice: &String| advice.contains("immutable");
        let recorded = self.act != Act::Promotion || text.contains("the promotion is recorded");
        if immutable && !(recorded && advice.as_ref().is_some_and(says)) {
            return Err(format!("a tag that may not move is not named: {text}, {advice:?}"));
        }
        let secrets = ["password", "horse", &self.login, "token-"];
        if secrets.iter().any(|secret| text.contains(secret)) {
            return Err(format!("it shows a secret: {text}"));
        }
        Ok(())
    }

    /// The tag is what it was, or the image, whole; and a yes is a yes.
    fn nothing_wrong(
        &self,
        row: &Row,
        (from, to): (&Repository, &Repository),
        old: Option<Digest>,
        outcome: &Outcome,
    ) -> Result<(), String> {
        let registries = &self.calm;
        let image = Image::new(to.clone(), self.built.root);
        let (tag, whole, listed) = self.runtime.block_on(async {
            let tag = registries.tagged(to, &"staging".parse().unwrap()).await.unwrap();
            let whole = registries.closure_if_whole(&image).await.unwrap().is_some();
            let listed = match registries.referrers(&image).await {
                Ok(Referrers::Listed(listed)) => listed.into_iter().map(|one| one.digest).collect(),
                Ok(Referrers::Unsupported) => Vec::new(),
                Err(error) if error.is_absence() => Vec::new(),
                Err(error) => panic!("{error}"),
            };
            (tag, whole, listed)
        });
        let moved = match tag {
            Some(digest) if digest == self.built.root => true,
            tag if tag == old => false,
            other => return Err(format!("the tag means {other:?} after {outcome:?}")),
        };
        if moved && !whole {
            return Err(format!("the tag moved to what is not whole: {outcome:?}"));
        }
        if moved && matches!(outcome, Outcome::No) {
            return Err(format!("the tag moved: {outcome:?}"));
        }
        if let Outcome::Yes = outcome {
            if !whole || !moved {
                return Err(format!("a wrong yes: the image is {whole:?}, the tag {moved:?}"));
            }
            let sbom = self.runtime.block_on(registries.legacy(&image, Suffix::Sbom)).unwrap();
            if sbom.is_none() && !row.hides_tag() {
                return Err("a yes, and what is under cosign's tag is not there".to_owned());
            }
            if row.hides_evidence(self.act) {
                return Ok(());
            }
            if let Some(lost) = self.referrers(from).iter().find(|digest| !listed.contains(digest)) {
                return Err(format!("a yes, and the evidence {lost} is not listed there"));
            }
        }
        Ok(())
    }
}

fn client(folder: &Path, (tries, first_wait): (u32, Duration), patience: Duration) -> Registries {
    let mut config = HttpConfig {
        login_files: vec![folder.join("config.json")],
        answer_timeout: patience,
        idle_timeout: patience,
        ..HttpConfig::default()
    };
    config.retry.tries = tries;
    config.retry.first_wait = first_wait;
    config.retry.longest_wait = 2 * first_wait;
    config.retry.longest_asked_wait = 3 * first_wait;
    Registries::new(config, folder.to_owned())
}

fn host(repository: &Repository) -> &str {
    match repository.location() {
        Location::Registry { host, .. } => host,
        Location::Layout { .. } => unreachable!("{repository}"),
    }
}

fn old_manifest() -> Bytes {
    let empty = json!({ "mediaType": OCI_EMPTY, "digest": Digest::of(b"{}"), "size": 2 });
    let manifest = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/x",
        "config": empty, "layers": [empty] });
    Bytes::from(manifest.to_string())
}

async fn copy(registries: &Registries, from: Reference, to: &Repository) -> Outcome {
    let to = Destination { repository: to.clone(), tag: Some("staging".parse().unwrap()), digest: None };
    let (along, already) = (Along::Referrers, Already::Blobs);
    let transfer = Transfer { from, to, platforms: Vec::new(), along, already };
    match registries.transfer(&transfer).await {
        Ok(_) => Outcome::Yes,
        Err(TransferError::Copy(error)) => {
            Outcome::Trouble { side: Some(error.side), text: story(&error), advice: error.hint() }
        }
        Err(error) => panic!("{error:?} is no trouble with a registry"),
    }
}

/// Everything an error says, causes included.
fn story(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// As the binary finds it.
fn advice(error: &WalkError) -> Option<String> {
    match error {
        WalkError::Registry(source) | WalkError::Publish { source, .. } => source.hint(),
        WalkError::Collect(error) => error.hint(),
        WalkError::Copy { source, .. } => source.hint(),
        WalkError::ReadBack { source, .. } => source.hint(),
        WalkError::TagContention { .. } | WalkError::Evidence { .. } => None,
        error => panic!("{error:?} is no trouble with a registry"),
    }
}
