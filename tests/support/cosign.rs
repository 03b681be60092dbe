//! The real cosign, both major versions in use, over a real registry; offline.

use std::path::Path;

use base64::Engine;
use samebits::reference::{Image, Repository};
use serde_json::{Value, json};

use crate::cli::{Ran, Yard};
use crate::docker_registry::{DockerRegistry, Door};
use crate::peer;

/// As the in-toto statement names it.
pub(crate) const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
pub(crate) const SUMMARY: &str = "https://slsa.dev/verification_summary/v1";
const BUILDER: &str = "https://ci.example/builder";

/// Of every key that cosign encrypts.
pub(crate) const PASSWORD: &str = "correct horse";

/// Where cosign 2 looks for the keys of an instance when it writes tags; the files need not be there.
const KEYS_OF_SERVICES: [(&str, &str); 3] = [
    ("SIGSTORE_ROOT_FILE", "fulcio.pem"),
    ("SIGSTORE_REKOR_PUBLIC_KEY", "rekor.pem"),
    ("SIGSTORE_CT_LOG_PUBLIC_KEY_FILE", "ct.pem"),
];

/// A root that vouches for nobody.
const NO_ROOT: &str = r#"{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}"#;

/// What the entry environment wants of a build, beside the signature that `init` writes.
const RULE: &str = r#"signed-by = "build"
[environments.staging.require.provenance]
signer = "build"
builder = "https://ci.example/builder"
source = "https://git.example/acme/{service}"
ref = "refs/heads/main"
"#;

/// Whose cosign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// `cosign2`, as `.ci/run` names it.
    V2,
    V3,
}

impl Version {
    pub(crate) const ALL: [Self; 2] = [Self::V2, Self::V3];

    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::V2 => "cosign2",
            Self::V3 => "cosign",
        }
    }
}

/// How cosign stores what it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Sigstore bundles as referrers: what cosign 3 writes unless told otherwise.
    Bundle,
    /// The tags `sha256-….sig` and `sha256-….att`: cosign 1 and 2.
    Tags,
}

impl Format {
    pub(crate) const ALL: [Self; 2] = [Self::Bundle, Self::Tags];

    pub(crate) fn flag(self) -> &'static str {
        match self {
            Self::Bundle => "--new-bundle-format=true",
            Self::Tags => "--new-bundle-format=false",
        }
    }
}

/// A registry, and a folder after `samebits init` with keys that cosign can use.
pub(crate) struct Bench {
    pub(crate) registry: DockerRegistry,
    pub(crate) yard: Yard,
}

/// One version of cosign in that folder.
#[derive(Clone, Copy)]
pub(crate) struct Cosign<'b> {
    version: Version,
    bench: &'b Bench,
}

impl Bench {
    /// `None`, which was said, where one of the programs is missing.
    pub(crate) fn open(programs: &[&str]) -> Option<Self> {
        if !programs.iter().all(|program| peer::is_installed(program)) {
            return None;
        }
        let registry = DockerRegistry::start(Door::Open)?;
        let yard = Yard::empty();
        yard.run(["init", "--service", "shop", "--registry", &registry.host()]).exits(0);
        yard.edit_policy(|text| text.replacen("signed-by = \"build\"\n", RULE, 1));
        let bench = Self { registry, yard };
        // Keys of ours, as somebody who comes from `init` has them. Cosign wants its own, encrypted, file.
        for role in ["build", "release", "production"] {
            let (key, prefix) = (format!("keys/{role}.key"), format!("cosign-{role}"));
            let import = ["import-key-pair", "--key", &key, "--output-key-prefix", &prefix, "-y"];
            bench.cosign(Version::V3).run(&import).unwrap();
        }
        Some(bench)
    }

    pub(crate) fn cosign(&self, version: Version) -> Cosign<'_> {
        Cosign { version, bench: self }
    }

    pub(crate) fn push(&self, text: &str) -> Image {
        let shop: Repository = format!("{}/shop", self.registry.host()).parse().unwrap();
        self.yard.push_to(&shop, "1.0", text)
    }

    /// `image`, where it was promoted to.
    pub(crate) fn staged(&self, image: &Image) -> Image {
        let staging = format!("{}/staging/shop", self.registry.host()).parse().unwrap();
        Image::new(staging, image.digest)
    }

    pub(crate) fn verify(&self, image: &Image) -> Ran {
        self.yard.run(["verify", &image.to_string(), "-o", "json"])
    }

    pub(crate) fn promote(&self, image: &Image) -> Ran {
        self.yard.promote(&image.to_string(), "staging")
    }
}

impl Cosign<'_> {
    /// Signs `image` with `KEY.key`, a file of cosign's.
    pub(crate) fn sign(self, image: &Image, key: &str, format: Format) {
        self.write("sign", &[], image, key, format);
    }

    /// Says with `KEY.key` that `image` was built from `branch`.
    pub(crate) fn attest(self, image: &Image, key: &str, branch: &str, format: Format) {
        self.bench.yard.write("predicate.json", provenance(branch).to_string());
        let predicate = ["--type=slsaprovenance1", "--predicate=predicate.json"];
        self.write("attest", &predicate, image, key, format);
    }

    fn write(self, verb: &str, what: &[&str], image: &Image, key: &str, format: Format) {
        let (key, image) = (format!("--key={key}.key"), image.to_string());
        let offline: &[&str] = match self.version {
            Version::V2 => &["--allow-insecure-registry", "--tlog-upload=false", "-y"],
            Version::V3 => {
                &["--allow-insecure-registry", "--use-signing-config=false", "--tlog-upload=false", "-y"]
            }
        };
        self.run(&[&[verb, &key, format.flag()], what, offline, &[&image]].concat()).unwrap();
    }

    /// What cosign says of the signatures of `role` on `image`.
    pub(crate) fn signed(self, image: &Image, role: &str) -> Result<(), String> {
        self.read("verify", &[], image, role).map(drop)
    }

    /// The predicates of this type on `image` that cosign believes `role`.
    pub(crate) fn attested(
        self,
        image: &Image,
        role: &str,
        predicate_type: &str,
    ) -> Result<Vec<Value>, String> {
        let said = self.read("verify-attestation", &["--type", predicate_type], image, role)?;
        let mut predicates = Vec::new();
        for envelope in serde_json::Deserializer::from_slice(&said).into_iter::<Value>() {
            let payload = envelope.unwrap()["payload"].as_str().unwrap().to_owned();
            let statement = base64::engine::general_purpose::STANDARD.decode(payload).unwrap();
            let mut statement: Value = serde_json::from_slice(&statement).unwrap();
            assert_eq!(statement["predicateType"], predicate_type);
            predicates.push(statement["predicate"].take());
        }
        Ok(predicates)
    }

    pub(crate) fn read(
        self,
        verb: &str,
        what: &[&str],
        image: &Image,
        role: &str,
    ) -> Result<Vec<u8>, String> {
        let (key, image) = (format!("--key=keys/{role}.pub"), image.to_string());
        let mut offline = vec!["--insecure-ignore-tlog=true", "--allow-insecure-registry"];
        // Version 2 wants a root where there is any bundle, and fetches one unless it is given: a key needs nothing of it.
        if self.version == Version::V2 {
            self.bench.yard.write("root.json", NO_ROOT);
            offline.push("--trusted-root=root.json");
        }
        self.run(&[&[verb, &key], what, &offline, &[&image]].concat())
    }

    /// What cosign printed; `Err` is what it complained about.
    pub(crate) fn run(self, arguments: &[&str]) -> Result<Vec<u8>, String> {
        cosign(self.version.program(), &self.bench.yard.path(""), arguments)
    }
}

fn cosign(program: &str, folder: &Path, arguments: &[&str]) -> Result<Vec<u8>, String> {
    let mut command = peer::alone(program, folder);
    // No world outside of this machine (Go takes no proxy to a loopback address): what it would fetch or send is an
    // error.
    command
        .args(arguments)
        .envs(KEYS_OF_SERVICES)
        .env("COSIGN_PASSWORD", PASSWORD)
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .env("HTTPS_PROXY", "http://127.0.0.1:1");
    peer::said(&mut command)
}

pub(crate) fn provenance(branch: &str) -> Value {
    json!({
        "buildDefinition": {
            "buildType": "https://ci.example/build/v1",
            "externalParameters": { "source": {
                "uri": format!("git+https://git.example/acme/shop@refs/heads/{branch}"),
                "digest": { "gitCommit": "0123456789abcdef0123456789abcdef01234567" },
            } },
        },
        "runDetails": { "builder": { "id": BUILDER } },
    })
}

/// What a run of `verify -o json` found of each requirement: its code, or `met`.
pub(crate) fn requirements(ran: &Ran) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let document = ran.json();
    let requirements = document["requirements"].as_array().unwrap();
    let outcome = |found: &Value| text(&found["code"]).or_else(|| text(&found["status"])).unwrap();
    requirements.iter().map(|found| (text(&found["requirement"]).unwrap(), outcome(found))).collect()
}

/// The same, as it is expected.
pub(crate) fn expected(signed_by: &str, provenance: &str) -> Vec<(String, String)> {
    vec![("signed-by".to_owned(), signed_by.to_owned()), ("provenance".to_owned(), provenance.to_owned())]
}
