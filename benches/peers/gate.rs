//! The whole gate: one `samebits promote` beside the shell pipeline that people write today, with the same image, keys
//! and registry. The pipeline decides nothing but two signatures, keeps no record and looks at no history.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use samebits::reference::{Image, Repository, Tag};
use samebits::registry::{HttpConfig, Registries};
use serde_json::json;

use crate::counter::{Counter, Log};
use crate::image;
use crate::process::{self, Usage};
use crate::registry::{Maker, Registry};
use crate::tools::{Tool, alone};

/// Of every figure; a new decision takes a new image for each.
const ROUNDS: usize = 5;
const PASSWORD: &str = "correct horse";
const BUILDER: &str = "https://ci.example/builder";

/// What the entry environment wants, beside the signature that `init` writes.
const RULE: &str = r#"signed-by = "build"
[environments.staging.require.provenance]
signer = "build"
builder = "https://ci.example/builder"
source = "https://git.example/acme/{service}"
ref = "refs/heads/main"
"#;

/// What stands in for samebits. A key needs neither a root of trust nor a log, so nothing but the registry is asked.
const PIPELINE: &str = r#"
digest=$(crane digest "$IMAGE")
pinned="$REPOSITORY@$digest"
cosign verify --key keys/build.pub --insecure-ignore-tlog=true --allow-insecure-registry "$pinned"
cosign verify-attestation --key keys/build.pub --type https://slsa.dev/provenance/v1 \
  --insecure-ignore-tlog=true --allow-insecure-registry "$pinned"
crane cp "$pinned" "$DESTINATION"
"#;

/// What is there before the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// It was promoted, and nothing has changed since.
    Promoted,
    /// Its bytes lie at the destination; nobody has decided about it.
    Copied,
    /// Nothing: its bytes lie elsewhere in the registry.
    Nothing,
}

/// What is promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One manifest, one layer.
    One,
    /// An index, four platforms, ten layers.
    Four,
}

/// One comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate {
    pub(crate) maker: Maker,
    pub(crate) shape: Shape,
    pub(crate) before: Before,
}

impl Gate {
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for maker in Maker::ALL {
            for shape in [Shape::One, Shape::Four] {
                for before in [Before::Promoted, Before::Copied, Before::Nothing] {
                    all.push(Self { maker, shape, before });
                }
            }
        }
        all
    }

    pub(crate) fn name(self) -> String {
        let shape = match self.shape {
            Shape::One => "1 platform, 1 layer",
            Shape::Four => "4 platforms, 10 layers",
        };
        let before = match self.before {
            Before::Promoted => "promoted before",
            Before::Copied => "never promoted, its bytes are at the destination",
            Before::Nothing => "never promoted, its bytes are in another repository",
        };
        format!("gate: {}, {shape}, {before}", self.maker.program())
    }
}

/// What one way took.
pub(crate) struct Measured {
    pub(crate) usage: Usage,
    pub(crate) log: Log,
}

/// Both ways; `None` when time was up.
pub(crate) struct Compared {
    pub(crate) ours: Measured,
    pub(crate) theirs: Measured,
}

pub(crate) fn compare(gate: Gate, folder: &Path, until: Instant) -> anyhow::Result<Option<Compared>> {
    let direct = Yard::set(gate, &folder.join("direct"), false)?;
    let mut best: Option<(Usage, Usage)> = None;
    for round in 0..ROUNDS {
        let Some((ours, theirs)) = direct.round(gate, round, until)? else { return Ok(None) };
        best = Some(best.map_or((ours, theirs), |(our, their)| (our.best(ours), their.best(theirs))));
    }
    drop(direct);
    let counted = Yard::set(gate, &folder.join("counted"), true)?;
    let image = counted.prepare(gate, 0)?;
    let counter = counted.counter.as_ref().context("no proxy")?;
    let log_of = |command: Command| -> anyhow::Result<Option<Log>> {
        counter.take_log();
        Ok(process::measure(command, until, &[])?.map(|_| counter.take_log()))
    };
    let Some(ours) = log_of(counted.promote(&image))? else { return Ok(None) };
    let Some(theirs) = log_of(counted.pipeline(&image))? else { return Ok(None) };
    let Some((our, their)) = best else { return Ok(None) };
    Ok(Some(Compared {
        ours: Measured { usage: our, log: ours },
        theirs: Measured { usage: their, log: theirs },
    }))
}

/// A registry, and a folder after `samebits init` with keys that cosign can use.
struct Yard {
    folder: PathBuf,
    /// As the policy names it.
    host: String,
    registries: Registries,
    runtime: tokio::runtime::Runtime,
    counter: Option<Counter>,
    registry: Registry,
}

/// What is about to be promoted.
struct Candidate {
    image: Image,
    tag: Tag,
}

impl Yard {
    fn set(gate: Gate, folder: &Path, through: bool) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let registry = Registry::start(gate.maker, &folder.join("registry"))?;
        let counter = through.then(|| Counter::start(registry.host(), Duration::ZERO)).transpose()?;
        let host = counter.as_ref().map_or(registry.host(), Counter::host).to_owned();
        let registries = Registries::new(HttpConfig::default(), folder.to_owned());
        let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
        let folder = folder.to_owned();
        let yard = Self { folder, host, registries, runtime, counter, registry };
        yard.run(Tool::Samebits.program(), &["init", "--service", "shop", "--registry", &yard.host])?;
        let policy = yard.folder.join("samebits.toml");
        let text = fs::read_to_string(&policy).context("reading the policy")?;
        let edited = text.replacen("signed-by = \"build\"\n", RULE, 1);
        ensure!(edited != text, "`init` writes another policy now");
        fs::write(&policy, edited).context("writing the policy")?;
        fs::write(yard.folder.join("predicate.json"), predicate()).context("writing the predicate")?;
        let import = ["import-key-pair", "--key", "keys/build.key", "--output-key-prefix", "cosign", "-y"];
        yard.run("cosign", &import)?;
        Ok(yard)
    }

    /// One round of each, on an image that is as `gate` says.
    fn round(&self, gate: Gate, round: usize, until: Instant) -> anyhow::Result<Option<(Usage, Usage)>> {
        // Promoted before: the same one again.
        let image = match gate.before {
            Before::Promoted if round > 0 => self.candidate(0)?,
            Before::Promoted | Before::Copied | Before::Nothing => self.prepare(gate, round)?,
        };
        let servers = [self.registry.id()];
        let Some(ours) = process::measure(self.promote(&image), until, &servers)? else { return Ok(None) };
        let Some(theirs) = process::measure(self.pipeline(&image), until, &servers)? else { return Ok(None) };
        Ok(Some((ours, theirs)))
    }

    /// What [`Yard::prepare`] made in a round.
    fn candidate(&self, round: usize) -> anyhow::Result<Candidate> {
        let repository: Repository = format!("{}/shop", self.host).parse()?;
        let tag: Tag = format!("1.{round}").parse()?;
        let digest = self.runtime.block_on(self.registries.tagged(&repository, &tag))?;
        Ok(Candidate { image: Image::new(repository, digest.context("nothing was pushed")?), tag })
    }

    fn prepare(&self, gate: Gate, round: usize) -> anyhow::Result<Candidate> {
        let repository: Repository = format!("{}/shop", self.host).parse()?;
        let tag: Tag = format!("1.{round}").parse()?;
        let image = self.runtime.block_on(async {
            match gate.shape {
                Shape::One => image::push_small(&self.registries, &repository, &tag, 1 << 20).await,
                Shape::Four => image::push(&self.registries, &repository, &tag, 10 << 20).await,
            }
        })?;
        let offline = [
            "--key=cosign.key",
            "--new-bundle-format=true",
            "--allow-insecure-registry",
            "--use-signing-config=false",
            "--tlog-upload=false",
            "-y",
        ];
        let pinned = image.to_string();
        self.run("cosign", &[&["sign"], &offline[..], &[&pinned]].concat())?;
        let provenance = ["attest", "--type=slsaprovenance1", "--predicate=predicate.json"];
        self.run("cosign", &[&provenance[..], &offline, &[&pinned]].concat())?;
        let candidate = Candidate { image, tag };
        match gate.before {
            Before::Nothing => {}
            Before::Copied => {
                // With what was signed, as the pipeline leaves it, and under no tag that means anything.
                for to in ["staging", "pipeline"] {
                    let there = format!("{}/{to}/shop", self.host);
                    self.run(Tool::Samebits.program(), &["copy", &pinned, &there])?;
                }
            }
            Before::Promoted => {
                for mut command in [self.promote(&candidate), self.pipeline(&candidate)] {
                    ended(&mut command)?;
                }
            }
        }
        Ok(candidate)
    }

    fn promote(&self, candidate: &Candidate) -> Command {
        let mut command = self.command(Tool::Samebits.program());
        let Candidate { image, tag } = candidate;
        command.args(["promote", &format!("{}:{tag}", image.repository), "--to", "staging"]);
        command.args(["--key", "keys/release.key"]);
        command
    }

    fn pipeline(&self, candidate: &Candidate) -> Command {
        let mut command = self.command("sh");
        let Candidate { image, tag } = candidate;
        command.args(["-ec", PIPELINE]);
        command.env("IMAGE", format!("{}:{tag}", image.repository));
        command.env("REPOSITORY", image.repository.to_string());
        command.env("DESTINATION", format!("{}/pipeline/shop:staging", self.host));
        command
    }

    /// With no world outside of this machine (Go takes no proxy to a loopback address).
    fn command(&self, program: &str) -> Command {
        let mut command = alone(program, &self.folder);
        command.env("COSIGN_PASSWORD", PASSWORD);
        command.env("HTTP_PROXY", "http://127.0.0.1:1").env("HTTPS_PROXY", "http://127.0.0.1:1");
        command.env("NO_PROXY", "127.0.0.1");
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = self.command(program);
        ended(command.args(arguments))
    }
}

fn ended(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn predicate() -> String {
    let predicate = json!({
        "buildDefinition": {
            "buildType": "https://ci.example/build/v1",
            "externalParameters": { "source": {
                "uri": "git+https://git.example/acme/shop@refs/heads/main",
                "digest": { "gitCommit": "0123456789abcdef0123456789abcdef01234567" },
            } },
        },
        "runDetails": { "builder": { "id": BUILDER } },
    });
    predicate.to_string()
}
