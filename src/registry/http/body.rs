//! What an answer carries, and how its failure is told.
//!
//! Guarantees: no more than a limit is ever held in memory (attack F4); an address in a message is without what signs
//! or authorises it (attack F8). Never does: sends anything.

use std::error::Error as _;

use bytes::{Bytes, BytesMut};
use reqwest::{Response, Url};

use super::guard::NotPublic;
use crate::digest::shorten;
use crate::registry::error::{Asked, Distrust, RegistryError};

/// An address for a message: what signs or authorises it stays out.
pub(super) fn not_followed(asked: &Asked, to: &Url, reason: Distrust) -> RegistryError {
    let to = match to.host_str() {
        Some(_) => format!("{}{}", to.origin().ascii_serialization(), to.path()),
        None => format!("{}:…", to.scheme()),
    };
    RegistryError::NotFollowed { asked: Box::new(asked.clone()), to: shorten(&to), reason }
}

/// A failure of the HTTP client in our words. The URL is left out: it may be signed.
pub(super) fn failed(asked: Box<Asked>, error: reqwest::Error) -> RegistryError {
    let url = error.url().cloned();
    let source = error.without_url();
    let mut cause = source.source();
    while let Some(error) = cause {
        if error.is::<NotPublic>() {
            let to = url.map_or_else(String::new, |url| url.origin().ascii_serialization());
            return RegistryError::NotFollowed { asked, to, reason: Distrust::NotPublic };
        }
        if source.is_connect() && is_tls(error) {
            return RegistryError::Tls { asked, source };
        }
        cause = error.source();
    }
    RegistryError::Unreachable { asked, tries: 1, source }
}

/// Whether this is how tokio-rustls hands on an error of the TLS session: `InvalidData`, in as many I/O errors as
/// there are layers (an I/O error does not name the one inside it as its source).
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let Some(error) = error.downcast_ref::<std::io::Error>() else { return false };
    error.kind() == std::io::ErrorKind::InvalidData || error.get_ref().is_some_and(|inner| is_tls(inner))
}

/// A body of at most `limit` bytes.
pub(super) async fn read_at_most(
    asked: Box<Asked>,
    mut response: Response,
    limit: u64,
) -> Result<Bytes, RegistryError> {
    // HEAD announces the length of a body it does not have; nothing is refused before it is there.
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if (body.len() + chunk.len()) as u64 > limit => {
                return Err(RegistryError::TooLarge { asked, limit });
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body.freeze()),
            Err(error) => return Err(failed(asked, error)),
        }
    }
}
