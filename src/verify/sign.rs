//! Whoever signs statements, and the one place that builds a bundle with a key.

use std::error::Error;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{Author, Identity, bundle, dsse};
use crate::key::{KeyError, PrivateKey};

/// Somebody who signs statements: a private key, or a workload with a certificate.
pub trait Sign {
    /// Who will have signed.
    fn author(&self) -> Author;

    /// Signs the bytes of an in-toto statement, byte for byte: DSSE in a Sigstore bundle v0.3.
    ///
    /// # Errors
    /// [`SignError`] when there is no signature; nothing was recorded then.
    fn sign(&self, statement: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// Why a statement was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The key cannot sign.
    #[error("the key cannot sign")]
    Key(#[from] KeyError),
    /// A service that signing by certificate needs did not do its part.
    #[error("there is no signature by certificate")]
    Service(#[source] Box<dyn Error + Send + Sync>),
}

impl Sign for PrivateKey {
    fn author(&self) -> Author {
        Author::from(Identity::Key { id: self.public().id() })
    }

    fn sign(&self, statement: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(sign_statement(statement, self)?)
    }
}

/// Signs the bytes of an in-toto statement: DSSE in a Sigstore bundle v0.3 with the key's hint.
///
/// The statement goes in as it is, byte for byte. What comes out is read by [`bundle()`](super::bundle()) and by cosign.
///
/// # Errors
/// [`KeyError`] when the key cannot sign (no randomness).
pub fn sign_statement(statement: &[u8], key: &PrivateKey) -> Result<Vec<u8>, KeyError> {
    let signature = key.sign(&dsse::pae(dsse::PAYLOAD_TYPE, statement))?;
    let bundle = json!({
        "mediaType": bundle::MEDIA_TYPE,
        "verificationMaterial": { "publicKey": { "hint": key.public().hint() } },
        "dsseEnvelope": {
            "payload": STANDARD.encode(statement),
            "payloadType": dsse::PAYLOAD_TYPE,
            "signatures": [{ "sig": STANDARD.encode(signature) }],
        },
    });
    Ok(bundle.to_string().into_bytes())
}
