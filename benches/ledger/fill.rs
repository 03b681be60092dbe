//! Ledgers of a given size, with made-up records.

use std::path::{Path, PathBuf};
use std::time::Instant;

use samebits::digest::Digest;
use samebits::ledger::{Entry, Index, Ledger};
use samebits::record::Kind;
use samebits::tlog::LogSigner;

const BATCH: u64 = 10_000;
const SERVICES: u64 = 1_000;
const ENVIRONMENTS: u64 = 10;
const URL: &str = "sqlite:ledger.db";

/// So many targets have 20 records each, spread over the whole log; one has 100.
pub(crate) const TYPICAL: u32 = 8;
/// That of the targets that are asked for.
pub(crate) const ENVIRONMENT: &str = "production";

/// A ledger, and where it lies.
pub(crate) struct Bed {
    pub(crate) ledger: Ledger,
    pub(crate) folder: PathBuf,
    size: u64,
}

impl Bed {
    /// Of at least `size` records; that of a million is kept from run to run.
    pub(crate) fn open(folder: &Path, size: u64) -> Self {
        let folder = folder.join(size.to_string());
        if size < 1_000_000 {
            let _ = std::fs::remove_dir_all(&folder);
        }
        let mut bed = Self { ledger: open(&folder), folder, size };
        let (start, first) = (Instant::now(), bed.ledger.tip().unwrap().size());
        let mut at = first;
        while at < size {
            let batch: Vec<_> = (at..at + BATCH.min(size - at)).map(|number| bed.entry(number)).collect();
            at = bed.ledger.append(at, &batch).unwrap().checkpoint.size();
        }
        if first < at {
            println!("filled with {} records in {:.1?}", at - first, start.elapsed());
        }
        bed
    }

    /// Neighbours in the log are of unrelated targets, as they are when a thousand services are busy.
    pub(crate) fn entry(&self, number: u64) -> Entry {
        let target = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let (of_20, of_100) = (number % (self.size / 20), number % (self.size / 100));
        let (service, environment) = match number < self.size {
            true if of_20 < u64::from(TYPICAL) => (format!("typical-{of_20}"), ENVIRONMENT.to_owned()),
            true if of_100 == 9 => ("busy-0".to_owned(), ENVIRONMENT.to_owned()),
            true | false => (
                format!("service-{}", target % SERVICES),
                format!("environment-{}", target / SERVICES % ENVIRONMENTS),
            ),
        };
        let digest = Digest::of(format!("{service} {}", number / 50_000).as_bytes());
        let mut bytes = format!("{number} {service} {environment} {digest} ").into_bytes();
        // Base64 of a signature and a certificate hardly compresses; its content does not matter here.
        while bytes.len() < 600 {
            bytes.extend(Digest::of(&bytes).hex().into_bytes());
        }
        bytes.truncate(600);
        Entry { index: read_index(number, &bytes).unwrap(), bytes }
    }
}

/// The row that a record asks for.
pub(crate) fn read_index(_: u64, bytes: &[u8]) -> Result<Index, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let mut words = text.split(' ');
    let mut word = || words.next().ok_or("a word is missing");
    let number: u64 = word()?.parse().map_err(|_| "number")?;
    Ok(Index {
        kind: [Kind::Promotion, Kind::Deployment][usize::from(number % 2 == 1)],
        service: word()?.to_owned(),
        environment: word()?.to_owned(),
        digest: Some(word()?.parse().map_err(|_| "digest")?),
        phase: "commit".to_owned(),
        idempotency_key: Some(Digest::of(&number.to_be_bytes()).hex()),
    })
}

/// The ledger in a folder, made if there is none.
pub(crate) fn open(folder: &Path) -> Ledger {
    std::fs::create_dir_all(folder).unwrap();
    let key = folder.join("key");
    if !key.exists() {
        let signer = LogSigner::generate("bench.example/ledger".parse().unwrap()).unwrap();
        drop(Ledger::create(URL, folder, &signer).unwrap());
        std::fs::write(&key, signer.to_secret_text()).unwrap();
    }
    let signer: LogSigner = std::fs::read_to_string(key).unwrap().parse().unwrap();
    Ledger::open(URL, folder, &signer.vkey().clone(), Some(signer)).unwrap()
}
