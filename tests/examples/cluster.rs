//! A registry with images that were really promoted, by a promoter who signs with a certificate and one who signs with a key,
//! for the admission policies of `examples/kubernetes`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use samebits::collect::BUNDLE;
use samebits::key::{Algorithm, PrivateKey};
use samebits::reference::{Image, Repository};
use samebits::verify::{COSIGN_SIGN, sign_statement};
use serde_json::{Value, json};

use crate::cli::{Yard, ran};
use crate::docker_registry::{DockerRegistry, Door};
use crate::sigstore::{Recipe, Signed, Sigstore, oidc};

/// The identity in the examples.
const PROMOTER: &str = "https://github.com/acme/shop/.github/workflows/promote.yml@refs/heads/main";

pub(crate) struct Cluster {
    pub(crate) yard: Yard,
    pub(crate) sigstore: Sigstore,
    registry: DockerRegistry,
}

impl Cluster {
    /// `None`, which was said, where there is no registry.
    pub(crate) fn start() -> Option<Self> {
        let registry = DockerRegistry::start(Door::Open)?;
        let (yard, sigstore) = (Yard::empty(), Sigstore::start());
        yard.run(["init", "--service", "shop", "--registry", &registry.host()]).exits(0);
        yard.write("trusted_root.json", sigstore.trusted_root());
        yard.write("signing_config.json", sigstore.signing_config_v1());
        Some(Self { yard, sigstore, registry })
    }

    /// The promoter of production is a key of its own from here on.
    pub(crate) fn gated(self) -> Self {
        let gate = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        self.yard.write("keys/gate.key", gate.to_pem());
        self.yard.write("keys/gate.pub", gate.public().to_pem());
        self.yard.edit_policy(|text| {
            let text = text.replace(
                "[signers.build]",
                "[signers.gate]\npublic-key = \"keys/gate.pub\"\n[signers.build]",
            );
            let (before, production) = text.split_once("[environments.production]").unwrap();
            let production = production.replace("promoters = [\"release\"]", "promoters = [\"gate\"]");
            format!("{before}[environments.production]{production}")
        });
        self
    }

    /// The promoter is a workflow from here on.
    pub(crate) fn keyless(self) -> Self {
        let workflow =
            format!("issuer = \"{}\"\nidentity = \"{PROMOTER}\"\nroot = \"virtual\"", oidc::GITHUB);
        self.yard.edit_policy(|text| {
            let root = "[roots.virtual]\ntrusted-root = \"trusted_root.json\"\n[signers.build]";
            text.replace("[signers.build]", root).replace("public-key = \"keys/release.pub\"", &workflow)
        });
        self
    }

    fn is_keyless(&self) -> bool {
        self.yard.read("samebits.toml").contains(PROMOTER)
    }

    pub(crate) fn host(&self) -> String {
        self.registry.host()
    }

    /// A build of `shop`, signed by its key.
    pub(crate) fn build(&self, text: &str) -> Image {
        let shop: Repository = format!("{}/shop", self.host()).parse().unwrap();
        let image = self.yard.push_to(&shop, "1.0", text);
        self.yard.attest(&image, "build", COSIGN_SIGN);
        image
    }

    pub(crate) fn at(&self, environment: &str, image: &Image) -> Image {
        let repository = format!("{}/{environment}/shop", self.host()).parse().unwrap();
        Image::new(repository, image.digest)
    }

    fn token(&self) -> String {
        self.sigstore.token(&oidc::github("acme/shop", "promote.yml", "refs/heads/main"))
    }

    /// By the workflow, if the promoter is one, else by the key.
    pub(crate) fn promote(&self, image: &Image, to: &str) -> Image {
        let image_text = image.to_string();
        let mut command = self.yard.command(["promote", &image_text, "--to", to]);
        match self.is_keyless() {
            true => command
                .args(["--keyless=virtual", "--signing-config", "signing_config.json"])
                .env("SIGSTORE_ID_TOKEN", self.token()),
            false if to == "production" && self.yard.path("keys/gate.key").exists() => {
                command.args(["--key", "keys/gate.key"])
            }
            false => command.args(["--key", "keys/release.key"]),
        };
        ran(&mut command).exits(0);
        self.at(to, image)
    }

    /// Into staging, run there, and into production.
    pub(crate) fn promote_to_production(&self, image: &Image) -> Image {
        let staged = self.promote(image, "staging");
        let staged_text = staged.to_string();
        let said = ["deployed", &staged_text, "--in", "staging", "--key", "keys/staging.key"];
        self.yard.run(said).exits(0);
        self.promote(&staged, "production")
    }

    /// Attaches to `image` a summary by the promoter of production that says `predicate`.
    pub(crate) fn summarise(&self, image: &Image, predicate: &Value) {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": image.repository, "digest": { "sha256": image.digest.hex() } }],
            "predicateType": "https://slsa.dev/verification_summary/v1",
            "predicate": predicate,
        });
        let statement = statement.to_string();
        let bundle = match self.is_keyless() {
            true => {
                let who =
                    self.sigstore.identity(&oidc::github("acme/shop", "promote.yml", "refs/heads/main"));
                let recipe = Recipe { stamped: Some(jiff::SignedDuration::ZERO), ..Recipe::default() };
                self.sigstore.make(
                    Signed::Statement(statement.as_bytes()),
                    &who,
                    self.sigstore.now(),
                    &recipe,
                )
            }
            false => sign_statement(statement.as_bytes(), &self.yard.key("gate")).unwrap(),
        };
        let none = std::collections::BTreeMap::new();
        let attached = self.yard.registries.attach(image, BUNDLE[0], BUNDLE[0], &bundle, &none);
        self.yard.runtime.block_on(attached).unwrap();
    }

    /// The virtual Sigstore as policy-controller reads a root.
    pub(crate) fn trust_root(&self) -> Value {
        let root: Value = serde_json::from_str(&self.sigstore.trusted_root()).unwrap();
        let authorities = |name: &str| -> Vec<Value> {
            let list = root[name].as_array().unwrap().iter();
            list.map(|authority| {
                let chain = authority["certChain"]["certificates"].as_array().unwrap().iter();
                let chain: String = chain.map(|one| pem("CERTIFICATE", one["rawBytes"].as_str().unwrap())).collect();
                json!({
                    "subject": authority["subject"], "uri": authority["uri"], "certChain": STANDARD.encode(chain),
                })
            })
            .collect()
        };
        let logs = |name: &str| -> Vec<Value> {
            // It knows no Ed25519 keys: Rekor v2 is left out.
            let known = |log: &&Value| log["publicKey"]["keyDetails"] == "PKIX_ECDSA_P256_SHA_256";
            let list = root[name].as_array().unwrap().iter().filter(known);
            list.map(|log| {
                let key = pem("PUBLIC KEY", log["publicKey"]["rawBytes"].as_str().unwrap());
                json!({ "baseURL": log["baseUrl"], "hashAlgorithm": "sha-256", "publicKey": STANDARD.encode(key) })
            })
            .collect()
        };
        json!({
            "apiVersion": "policy.sigstore.dev/v1alpha1", "kind": "TrustRoot", "metadata": { "name": "virtual" },
            "spec": { "sigstoreKeys": {
                "certificateAuthorities": authorities("certificateAuthorities"),
                "timestampAuthorities": authorities("timestampAuthorities"),
                "tLogs": logs("tlogs"),
                "ctLogs": logs("ctlogs"),
            } },
        })
    }
}

fn pem(label: &str, base64: &str) -> String {
    let lines: Vec<&str> =
        base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
