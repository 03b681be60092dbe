//! The documents a client of this instance needs (sigstore/protobuf-specs `sigstore_trustroot.proto`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Instance, Kind, STARTED};

impl Instance {
    /// The `trusted_root.json` of exactly these services.
    pub fn trusted_root(&self) -> String {
        let (logs, ctlogs) = match self.kind {
            Kind::Public => (vec![self.log_v1(), self.log_v2()], vec![self.ct_log()]),
            Kind::Stamped => (vec![], vec![self.ct_log()]),
            Kind::GitHub => (vec![], vec![]),
        };
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": logs,
            "certificateAuthorities": [authority(
                "fulcio", &self.url, &[&self.intermediate.certificate, &self.root.certificate],
            )],
            "ctlogs": ctlogs,
            "timestampAuthorities": [authority(
                "timestamp", &self.tsa_url(), &[&self.tsa.signer.certificate, &self.tsa.root.certificate],
            )],
        })
        .to_string()
    }

    /// The signing config, version 0.2; Rekor v2 is named too, so that clients which know it take it.
    pub fn signing_config(&self) -> String {
        let logs = match self.kind {
            Kind::Public => vec![service(&self.url, 2), service(&self.url, 1)],
            Kind::Stamped | Kind::GitHub => vec![],
        };
        self.signing_config_of(logs)
    }

    /// The same with Rekor v1 alone.
    pub fn signing_config_v1(&self) -> String {
        self.signing_config_of(vec![service(&self.url, 1)])
    }

    fn signing_config_of(&self, logs: Vec<Value>) -> String {
        json!({
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": [service(&self.url, 1)],
            "oidcUrls": [service(&self.oidc.issuer, 1)],
            "rekorTlogUrls": logs,
            "tsaUrls": [service(&self.tsa_url(), 1)],
            "rekorTlogConfig": { "selector": "ANY" },
            "tsaConfig": { "selector": "ANY" },
        })
        .to_string()
    }

    fn log_v1(&self) -> Value {
        let key = &self.rekor_v1.key;
        log(&self.url, &key.spki(), "PKIX_ECDSA_P256_SHA_256", &key.id())
    }

    fn log_v2(&self) -> Value {
        log(&self.url, &self.rekor_v2.key.spki(), "PKIX_ED25519", &self.rekor_v2.id())
    }

    fn ct_log(&self) -> Value {
        let key = &self.ct.key;
        log(&format!("{}/ct", self.url), &key.spki(), "PKIX_ECDSA_P256_SHA_256", &key.id())
    }
}

fn log(url: &str, spki: &[u8], details: &str, id: &[u8]) -> Value {
    json!({
        "baseUrl": url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": STANDARD.encode(spki),
            "keyDetails": details,
            "validFor": { "start": STARTED },
        },
        "logId": { "keyId": STANDARD.encode(id) },
    })
}

fn authority(name: &str, url: &str, chain: &[&[u8]]) -> Value {
    let certificates: Vec<_> = chain.iter().map(|one| json!({ "rawBytes": STANDARD.encode(one) })).collect();
    json!({
        "subject": { "organization": "virtual.example", "commonName": name },
        "uri": url,
        "certChain": { "certificates": certificates },
        "validFor": { "start": STARTED },
    })
}

fn service(url: &str, version: u32) -> Value {
    json!({
        "url": url,
        "majorApiVersion": version,
        "validFor": { "start": STARTED },
        "operator": "virtual.example",
    })
}
