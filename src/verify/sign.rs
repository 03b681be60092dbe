//! The one place that builds a bundle.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{bundle, dsse};
use crate::key::{KeyError, PrivateKey};

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
