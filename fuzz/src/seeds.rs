//! Where the fuzzer starts: the vectors of the tests, and the conformance suite where it is at hand.

use serde_json::{Value, json};

use super::{base64, certified, conformance, notes};

/// What the suite's message signatures are over.
pub(super) const ARTIFACT: &[u8] = b"DO NOT MODIFY ME!\n\nthis is \"a.txt\", a sample input for sigstore-conformance's test suite.\n\nDO NOT MODIFY ME!\n";

/// A bundle by certificate, logged.
pub(super) const LOGGED: &[u8] = include_bytes!("../../tests/vectors/conformance/happy-path-v0.3.json");

const BUNDLES: [&[u8]; 9] = [
    LOGGED,
    include_bytes!("../../tests/vectors/conformance/happy-path-v0.1.json"),
    include_bytes!("../../tests/vectors/conformance/happy-path-v0.2.json"),
    include_bytes!("../../tests/vectors/conformance/happy-path-intoto-in-dsse-v3.json"),
    include_bytes!("../../tests/vectors/conformance/managed-key-happy-path.json"),
    include_bytes!("../../tests/vectors/cosign/attest-p256.bundle.json"),
    include_bytes!("../../tests/vectors/cosign/sign-p256.bundle.json"),
    include_bytes!("../../tests/vectors/cosign/sign-p384.bundle.json"),
    include_bytes!("../../tests/vectors/cosign/sign-rsa.bundle.json"),
];
const ENVELOPE: &[u8] = include_bytes!("../../tests/vectors/cosign/att-p256.envelope.json");
const SIMPLE_SIGNING: &[u8] = include_bytes!("../../tests/vectors/cosign/sig-p256.payload.json");
const STATEMENTS: [&[u8]; 2] = [
    include_bytes!("../../tests/vectors/b9-duplicate-key-in-predicate/statement.json"),
    include_bytes!("../../tests/vectors/b9-duplicate-key-in-subject/statement.json"),
];

/// Every bundle at hand.
pub(super) fn bundles() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = BUNDLES.iter().map(|bytes| bytes.to_vec()).collect();
    let folders = conformance().and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten();
    let files = folders.flatten().map(|folder| folder.path().join("bundle.sigstore.json"));
    all.extend(files.filter_map(|file| std::fs::read(file).ok()));
    all
}

/// The inputs a target starts with.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let bundles = bundles();
    let values: Vec<Value> = bundles.iter().filter_map(|bytes| serde_json::from_slice(bytes).ok()).collect();
    let envelopes = || values.iter().filter_map(|bundle| bundle.get("dsseEnvelope").cloned());
    let bare: Option<Value> = serde_json::from_slice(ENVELOPE).ok();
    let statements = || envelopes().chain(bare.clone()).filter_map(|envelope| base64(&envelope["payload"]));
    match target {
        "bundle" => bundles,
        "dsse" => {
            let inner = envelopes().map(|envelope| envelope.to_string().into_bytes());
            inner.chain([ENVELOPE.to_vec(), SIMPLE_SIGNING.to_vec()]).collect()
        }
        "statement" => statements().chain(STATEMENTS.map(<[u8]>::to_vec)).collect(),
        "provenance" => {
            let statements = statements().filter_map(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
            let predicates = statements.map(|statement| statement["predicate"].clone());
            predicates.chain(provenance()).map(|predicate| predicate.to_string().into_bytes()).collect()
        }
        "certificate_extension" => certificate_extensions(),
        "timestamp" => {
            let data = "/verificationMaterial/timestampVerificationData/rfc3161Timestamps/0/signedTimestamp";
            values.iter().filter_map(|bundle| base64(bundle.pointer(data)?)).collect()
        }
        "note" | "checkpoint" => {
            let envelope = "/verificationMaterial/tlogEntries/0/inclusionProof/checkpoint/envelope";
            let theirs =
                values.iter().filter_map(|bundle| Some(bundle.pointer(envelope)?.as_str()?.to_owned()));
            theirs.chain(notes::seeds(target)).map(String::into_bytes).collect()
        }
        _ => notes::seeds(target).into_iter().map(String::into_bytes).collect(),
    }
}

/// Writes them where libFuzzer looks for them, if `SAMEBITS_SEEDS` names a folder: into its folder of that name.
#[cfg(fuzzing)]
pub fn start(target: &str) {
    let Some(folder) = std::env::var_os("SAMEBITS_SEEDS") else { return };
    let folder = std::path::Path::new(&folder).join(target);
    std::fs::create_dir_all(&folder).expect("a folder for the seeds");
    for (at, seed) in seeds(target).iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{at}")), seed).expect("a seed");
    }
}

fn certificate_extensions() -> Vec<Vec<u8>> {
    let input = |kind: u8, value: Vec<u8>| [vec![kind], value].concat();
    let mut all = vec![input(certified::WHOLE, certified::honest())];
    all.extend(certified::honest_value(None).map(|value| input(certified::ALL, value)));
    all.extend(certified::honest_name().map(|value| input(certified::NAME, value)));
    // SEQUENCE of one e-mail address, one DNS name, one URI.
    for tag in [0x81, 0x82, 0x86] {
        let name = certified::tlv(0x30, &certified::tlv(tag, b"https://a@b.example"));
        all.push(input(certified::NAME, name));
    }
    for number in 1..=certified::LAST {
        let value = certified::honest_value(Some(&certified::fulcio(number)));
        all.push(input(number, value.unwrap_or_else(|| certified::tlv(0x0c, b"text"))));
    }
    all
}

/// Shapes of the builders that we read, after their public descriptions.
fn provenance() -> Vec<Value> {
    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
    let v1 = |external: Value, dependencies: Value| {
        json!({
            "buildDefinition": {
                "buildType": "https://ci.example/build/v1",
                "externalParameters": external,
                "resolvedDependencies": dependencies,
            },
            "runDetails": { "builder": { "id": "https://ci.example/builder" } },
        })
    };
    let source = "git+https://git.example/acme/shop@refs/heads/main";
    let resource = json!({ "uri": source, "digest": { "gitCommit": COMMIT } });
    let workflow = json!({
        "workflow": {
            "repository": "https://git.example/acme/shop",
            "ref": "refs/heads/main",
            "path": ".github/workflows/build.yml",
        },
    });
    let build_config = json!({ "buildConfigSource": { "repository": "https://git.example/acme/shop", "ref": "refs/tags/v1" } });
    vec![
        v1(workflow, json!([resource])),
        v1(build_config, json!([])),
        v1(json!({ "source": source }), json!([resource])),
        v1(json!({ "source": resource }), json!([resource, { "uri": "pkg:docker/base" }])),
        v1(json!({ "configSource": resource }), Value::Null),
        json!({
            "builder": { "id": "https://ci.example/builder" },
            "buildType": "https://ci.example/build/v0.2",
            "invocation": { "configSource": { "uri": source, "digest": { "sha1": COMMIT }, "entryPoint": "build" } },
            "materials": [{ "uri": source, "digest": { "sha1": COMMIT } }],
        }),
    ]
}
