//! Images in a real registry that the real cosign signs keyless, in both of its layouts: samebits lets them
//! in by the workflow's identity under the root that the policy names, and by no other.

use samebits::reference::{Image, Repository};

use super::cosign::{cosign, folder};
use crate::cli::Yard;
use crate::docker_registry::{DockerRegistry, Door};
use crate::peer;
use crate::sigstore::{Sigstore, oidc};

const WORKFLOW: &str = "release.yml";

/// `build` signs keyless, under a root of its own.
fn policy(text: &str, workflow: &str) -> String {
    let identity =
        format!("https://github.com/acme/{{service}}/.github/workflows/{workflow}@refs/heads/main");
    let build = format!(
        r#"[roots.virtual]
trusted-root = "root.json"
[signers.build]
issuer = "{}"
identity = "{identity}"
root = "virtual"
"#,
        oidc::GITHUB
    );
    let text = text.replace("time = \"not-required\"\n", "");
    text.replacen("[signers.build]\npublic-key = \"keys/build.pub\"\n", &build, 1)
}

/// As cosign 3 signs, with a signing config.
const BUNDLE: [&str; 2] = ["--signing-config=v2.json", "--trusted-root=root.json"];

#[test]
fn what_cosign_signs_keyless_is_promoted_by_its_identity_and_no_other() {
    if !peer::is_installed("cosign") {
        return;
    }
    let Some(registry) = DockerRegistry::start(Door::Open) else { return };
    let sigstore = Sigstore::start();
    let documents = folder(&sigstore);
    let job = oidc::github("acme/shop", WORKFLOW, "refs/heads/main");
    std::fs::write(documents.path().join("token"), sigstore.token(&job)).unwrap();
    let (fulcio, rekor) = (format!("--fulcio-url={}", sigstore.url), format!("--rekor-url={}", sigstore.url));
    let tags = [
        "--new-bundle-format=false",
        "--use-signing-config=false",
        "--insecure-skip-verify=true",
        &fulcio,
        &rekor,
    ];
    let yard = Yard::empty();
    yard.run(["init", "--service", "shop", "--registry", &registry.host()]).exits(0);
    yard.write("root.json", sigstore.trusted_root());
    let written = yard.read("samebits.toml");
    let shop: Repository = format!("{}/shop", registry.host()).parse().unwrap();
    for layout in [&BUNDLE[..], &tags[..]] {
        let Image { digest, .. } = yard.push_to(&shop, "1.0", layout[0]);
        let image = Image::new(shop.clone(), digest).to_string();
        let sign = ["sign", "--identity-token=token", "--allow-insecure-registry", "-y", &image];
        cosign(documents.path(), &[], &[&sign[..], layout].concat()).unwrap();
        let sig = yard.tagged(&shop.to_string(), &format!("sha256-{}.sig", digest.hex()));
        assert_eq!(sig.is_some(), layout == tags, "cosign wrote another layout than {layout:?}");
        yard.write("samebits.toml", policy(&written, "another.yml"));
        yard.run(["verify", &image]).exits(1);
        yard.promote(&image, "staging").exits(1);
        yard.write("samebits.toml", policy(&written, WORKFLOW));
        yard.run(["verify", &image]).exits(0);
        yard.promote(&image, "staging").exits(0);
    }
}
