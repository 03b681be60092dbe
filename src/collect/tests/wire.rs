//! Listings of referrers byte for byte, from `tests/vectors/`: what a registry answers, and how it ends.

use std::path::PathBuf;

use serde::Deserialize;

use super::*;

/// One way a registry answers (`cases.json`).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    ends: Ends,
    /// A bundle on disk, `--evidence`.
    evidence: Option<String>,
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Ends {
    /// With the one signature, as a referrer.
    Found,
    /// With the one signature, from the file.
    File,
    /// With a signature that is about something else.
    Discarded,
    /// With nothing, and nothing to say.
    None,
    /// With nothing, and a word that nobody could say.
    Unsupported,
    /// Without an answer.
    Error,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    path: String,
    status: u16,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    file: Option<String>,
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        Self(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).unwrap()
    }

    /// Every case, in a registry of its own.
    async fn ends(&self) {
        let cases: Vec<Case> = serde_json::from_slice(&self.bytes("cases.json")).unwrap();
        for case in cases {
            let files: Vec<PathBuf> = case.evidence.iter().map(|name| self.0.join(name)).collect();
            let files = Files::read(&files).unwrap();
            let (image, outcome) = self.look(&case, &files).await;
            assert_ends(&case, &image, outcome);
        }
    }

    async fn look(&self, case: &Case, files: &Files) -> (Image, Result<Evidence, CollectError>) {
        let fake = Fake::start();
        fake.seed_blob("shop", &self.bytes("config.json"));
        let digest = fake.seed_manifest("shop", OCI_MANIFEST, &self.bytes("image.json"));
        if let Ends::Found = case.ends {
            fake.seed_blob("shop", &self.bytes("bundle.json"));
            fake.seed_manifest("shop", OCI_MANIFEST, &self.bytes("referrer.json"));
        }
        for answer in &case.answers {
            let body = match (&answer.body, &answer.file) {
                (Some(text), None) => text.clone().into_bytes(),
                (None, Some(file)) => self.bytes(file),
                (Some(_), Some(_)) | (None, None) => panic!("{}: a body or a file", case.case),
            };
            let headers = answer.headers.iter().map(|(name, value)| (header(name), value.clone())).collect();
            fake.on("GET", &answer.path, usize::MAX, Reply::Instead { status: answer.status, headers, body });
        }
        let registries = Registries::new(quick(), std::env::temp_dir());
        let repository = format!("{}/shop", fake.host()).parse().unwrap();
        let image = Image::new(repository, digest.parse().unwrap());
        let closure = registries.closure(&image).await.unwrap();
        let key = Folder::new("keys").bytes("ed25519.pub");
        let key = PublicKey::from_pem(std::str::from_utf8(&key).unwrap()).unwrap();
        let trust = Trust::new(vec![key]);
        let reading = registries.reading(&image.repository).unwrap();
        let attached = attached(&image, &closure, &reading, files, &trust, Look::Evidence).await;
        // What names another type is not asked for.
        assert!(fake.count("GET", "/blobs/") <= 2, "{}: {:?}", case.case, fake.log());
        (image, attached.map(|attached| attached.evidence(&closure)))
    }
}

type Evidence = (Vec<crate::evidence::Found>, Vec<crate::evidence::Discarded>, Vec<String>);

fn assert_ends(case: &Case, image: &Image, outcome: Result<Evidence, CollectError>) {
    let name = &case.case;
    let (found, discarded, remarks) = match (outcome, &case.ends) {
        (Err(error), Ends::Error) => {
            assert!(matches!(error, CollectError::Registry { .. }), "{name}: {error}");
            return;
        }
        (Err(error), _) => panic!("{name}: {error}"),
        (Ok(evidence), _) => evidence,
    };
    let sources: Vec<Source> = found.iter().map(|found| found.source).collect();
    assert!(found.iter().all(|found| found.on == image.digest), "{name}");
    match case.ends {
        Ends::Found => assert_eq!((sources, discarded.len()), (vec![Source::Referrer], 0), "{name}"),
        Ends::File => assert_eq!((sources, discarded.len()), (vec![Source::File], 0), "{name}"),
        Ends::Discarded => {
            assert_eq!((sources.len(), discarded.len()), (0, 1), "{name}");
            assert_eq!(discarded[0].rejected.reason.code(), "artifact-mismatch", "{name}");
        }
        Ends::None | Ends::Unsupported => {
            assert_eq!((sources.len(), discarded.len()), (0, 0), "{name}");
            let told = remarks.iter().any(|remark| remark.contains("--evidence"));
            assert_eq!(told, matches!(case.ends, Ends::Unsupported), "{name}: {remarks:?}");
        }
        Ends::Error => panic!("{name}: an answer where there is none: {found:?}"),
    }
}

/// As the fake registry takes them.
fn header(name: &str) -> &'static str {
    let known = ["content-type", "link", "oci-filters-applied"];
    known.into_iter().find(|known| *known == name).unwrap()
}

#[tokio::test]
async fn b10_pages_of_referrers_are_all_read_or_it_is_an_error() {
    Folder::new("b10-pages-of-referrers").ends().await;
}

#[tokio::test]
async fn b11_none_and_no_answer_are_not_the_same() {
    Folder::new("b11-none-or-no-answer").ends().await;
}

#[tokio::test]
async fn b12_a_registry_without_referrers_or_refusing_them() {
    Folder::new("b12-registry-without-referrers").ends().await;
}
