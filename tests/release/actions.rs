//! What stands for the actions that the workflows use: what is not asked of one today fails the test.

use std::collections::BTreeMap;
use std::path::Path;

use samebits::collect::BUNDLE;
use samebits::reference::Image;
use serde_json::{Value, json};

use super::forge::{Forge, Job, Machine};
use crate::hub::{grants, provenance};
use crate::peer;

impl Forge {
    /// A step with `uses`; its outputs, or `None` where it failed.
    pub(super) fn action(
        &self,
        name: &str,
        with: &BTreeMap<String, String>,
        job: &Job<'_>,
        machine: &Machine,
    ) -> Option<Vec<(String, String)>> {
        let workspace = machine.folder.join("workspace");
        let keys: Vec<&str> = with.keys().map(String::as_str).collect();
        let needs = |of: &str, level: &str| {
            assert!(grants(job.permissions, of, level), "{} {name}: {of}", job.workflow)
        };
        match (name, &keys[..]) {
            ("actions/checkout", ["persist-credentials"]) => {
                needs("contents", "read");
                let from = self.yard.path("origin");
                let mut clone = peer::alone("git", &machine.folder);
                clone.args([
                    "clone",
                    "--quiet",
                    "--branch",
                    &self.tag,
                    "--config",
                    "advice.detachedHead=false",
                ]);
                peer::said(clone.arg(from).arg(&workspace)).unwrap();
            }
            ("actions/upload-artifact", ["if-no-files-found", "name", "path"]) => {
                assert_eq!(with["if-no-files-found"], "error");
                return self.upload(&with["name"], &workspace.join(with["path"].strip_suffix("/*").unwrap()));
            }
            ("actions/download-artifact", ["name", "path"]) => {
                return copied(&self.artifact(&with["name"]), &workspace.join(&with["path"])).then(Vec::new);
            }
            ("actions/download-artifact", ["path"] | ["path", "pattern"]) => {
                let pattern = with.get("pattern").map_or("*", String::as_str);
                let (head, tail) = pattern.split_once('*').unwrap();
                for artifact in std::fs::read_dir(self.yard.path("artifacts")).unwrap() {
                    let name = artifact.unwrap().file_name().into_string().unwrap();
                    if name.strip_prefix(head).is_some_and(|rest| rest.ends_with(tail)) {
                        assert!(copied(&self.artifact(&name), &workspace.join(&with["path"]).join(&name)));
                    }
                }
            }
            ("actions/attest-build-provenance", ["subject-checksums"]) => {
                needs("id-token", "write");
                needs("attestations", "write");
                let sums = std::fs::read_to_string(workspace.join(&with["subject-checksums"])).unwrap();
                let subjects = sums.lines().map(|line| {
                    let (digest, name) = line.split_once("  ").unwrap();
                    json!({ "name": name, "digest": { "sha256": digest } })
                });
                let bundle = self.attested(job.workflow, &Value::from_iter(subjects));
                let file = machine.folder.join("temp/attestation.json");
                std::fs::write(&file, bundle).unwrap();
                return Some(vec![("bundle-path".to_owned(), file.to_str().unwrap().to_owned())]);
            }
            ("actions/attest-build-provenance", ["push-to-registry", "subject-digest", "subject-name"]) => {
                ["id-token", "attestations", "packages"].into_iter().for_each(|of| needs(of, "write"));
                // It asks docker's own file for the login.
                assert!(machine.folder.join("home/logged-in").exists());
                let image: Image =
                    format!("{}@{}", with["subject-name"], with["subject-digest"]).parse().unwrap();
                let subject =
                    json!([{ "name": image.repository, "digest": { "sha256": image.digest.hex() } }]);
                let bundle = self.attested(job.workflow, &subject);
                let none = BTreeMap::new();
                let attached = self.yard.registries.attach(&image, BUNDLE[0], BUNDLE[0], &bundle, &none);
                self.yard.runtime.block_on(attached).unwrap();
            }
            other => panic!("what does {other:?} do?"),
        }
        Some(Vec::new())
    }

    /// As actions/upload-artifact: a name is given once in a run but for a job that runs again, nothing stays executable.
    fn upload(&self, name: &str, from: &Path) -> Option<Vec<(String, String)>> {
        let to = self.artifact(name);
        // That of an earlier attempt is another attempt's.
        if to.exists() {
            std::fs::remove_dir_all(&to).unwrap();
        }
        (copied(from, &to) && std::fs::read_dir(&to).unwrap().count() > 0).then(Vec::new)
    }

    fn attested(&self, workflow: &str, subject: &Value) -> Vec<u8> {
        provenance(&self.sigstore, &self.claims(workflow), subject)
    }
}

/// Files of a folder into another, as an archive without modes has them; false where there is no folder.
fn copied(from: &Path, to: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(files) = std::fs::read_dir(from) else { return false };
    std::fs::create_dir_all(to).unwrap();
    for file in files {
        let file = file.unwrap();
        assert!(file.file_type().unwrap().is_file(), "{:?}", file.path());
        let there = to.join(file.file_name());
        std::fs::copy(file.path(), &there).unwrap();
        std::fs::set_permissions(there, std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    true
}
