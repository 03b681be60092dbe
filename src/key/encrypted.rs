//! cosign's encrypted private keys: the `encrypted` package of go-securesystemslib, as JSON in a PEM block.
//!
//! ```text
//! {"kdf": {"name": "scrypt", "params": {"N": …, "r": …, "p": …}, "salt": BASE64 of 32 bytes},
//!  "cipher": {"name": "nacl/secretbox", "nonce": BASE64 of 24 bytes},
//!  "ciphertext": BASE64 of the 16-byte tag and the encrypted DER}
//! ```
//!
//! Wiped when dropped, as best effort: the stretched key and the opened DER. Not within reach: scrypt's own working
//! memory.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::{AeadInPlace as _, Key, KeyInit as _, Nonce, Tag, XSalsa20Poly1305};
use serde_json::Value;
use zeroize::Zeroizing;

use super::KeyError;
use crate::digest::shorten;
use crate::json;

/// The PEM labels of such keys, cosign's present one first.
pub(super) const LABELS: [&str; 2] = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"];

/// An encrypted RSA key of 8192 bits has about 6600 bytes.
const LIMITS: json::Limits = json::Limits { bytes: 64 << 10, depth: 4 };

const KEY: usize = 32;
const SALT: usize = 32;
const TAG: usize = 16;

/// The DER inside, if `password` is the one it was encrypted with.
pub(super) fn open(contents: &[u8], password: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    // 1. The whole shape first: nothing is spent on a password before the file is known to make sense.
    let document = json::parse(contents, LIMITS).map_err(|source| KeyError::EncryptedJson { source })?;
    let [kdf, cipher, ciphertext] =
        members(&document, "the key", ["kdf", "cipher", "ciphertext"], "exactly kdf, cipher and ciphertext")?;
    let [kdf_name, params, salt] =
        members(kdf, "kdf", ["name", "params", "salt"], "exactly name, params and salt")?;
    let kdf_name = text(kdf_name, "kdf.name")?;
    if kdf_name != "scrypt" {
        return Err(KeyError::UnknownKdf { found: shorten(kdf_name) });
    }
    let [cipher_name, nonce] = members(cipher, "cipher", ["name", "nonce"], "exactly name and nonce")?;
    let cipher_name = text(cipher_name, "cipher.name")?;
    if cipher_name != "nacl/secretbox" {
        return Err(KeyError::UnknownCipher { found: shorten(cipher_name) });
    }
    let params = scrypt_params(params)?;
    let salt: [u8; SALT] = exactly(salt, "kdf.salt", "32 bytes in base64")?;
    let nonce: [u8; 24] = exactly(nonce, "cipher.nonce", "24 bytes in base64")?;
    let sealed = bytes(ciphertext, "ciphertext", "base64")?;
    let (tag, body) = match sealed.split_first_chunk::<TAG>() {
        Some((tag, body)) if !body.is_empty() => (tag, body),
        Some(_) | None => {
            let expected = "more than 16 bytes in base64";
            return Err(KeyError::EncryptedMember { member: "ciphertext", expected });
        }
    };

    // 2. From the password to the key (RFC 7914).
    let mut key = Zeroizing::new([0; KEY]);
    // Only an output of a length that scrypt cannot give is an error, and 32 bytes is none.
    scrypt::scrypt(password, &salt, &params, key.as_mut_slice()).map_err(|_| KeyError::WrongPassword)?;

    // 3. Open the box (NaCl `crypto_secretbox`); the tag is compared in constant time before a byte is decrypted.
    let mut der = Zeroizing::new(body.to_vec());
    XSalsa20Poly1305::new(Key::from_slice(key.as_slice()))
        .decrypt_in_place_detached(Nonce::from_slice(&nonce), b"", &mut der, Tag::from_slice(tag))
        .map_err(|_| KeyError::WrongPassword)?;
    Ok(der)
}

/// scrypt's parameters, within bounds: the file is foreign until it is open, and it says what opening it costs.
/// cosign writes N = 65536 (older versions 32768), r = 8, p = 1.
fn scrypt_params(value: &Value) -> Result<scrypt::Params, KeyError> {
    let [n, r, p] = members(value, "kdf.params", ["N", "r", "p"], "exactly N, r and p")?;
    let n = number(n, "kdf.params.N")?;
    let r = number(r, "kdf.params.r")?;
    let p = number(p, "kdf.params.p")?;
    let refused = KeyError::KdfBounds { n, r, p };
    let parts =
        n.is_power_of_two() && (2..=1 << 20).contains(&n) && (1..=8).contains(&r) && (1..=16).contains(&p);
    // Memory is 128 bytes times N times r; time goes with N times r times p.
    if !parts || n * r > 1 << 21 || n * r * p > 1 << 23 {
        return Err(refused);
    }
    let (Ok(log_n), Ok(r), Ok(p)) = (u8::try_from(n.trailing_zeros()), u32::try_from(r), u32::try_from(p))
    else {
        return Err(refused);
    };
    // RFC 7914 also wants N below 2^(16 r): the library knows.
    scrypt::Params::new(log_n, r, p, KEY).map_err(|_| refused)
}

/// The members of an object that has these and no others.
fn members<'a, const N: usize>(
    value: &'a Value,
    member: &'static str,
    names: [&str; N],
    expected: &'static str,
) -> Result<[&'a Value; N], KeyError> {
    let object = value.as_object().filter(|object| object.len() == N);
    let refused = KeyError::EncryptedMember { member, expected };
    let found: Option<Vec<&Value>> =
        object.and_then(|object| names.iter().map(|name| object.get(*name)).collect());
    found.and_then(|found| found.try_into().ok()).ok_or(refused)
}

fn text<'a>(value: &'a Value, member: &'static str) -> Result<&'a str, KeyError> {
    value.as_str().ok_or(KeyError::EncryptedMember { member, expected: "a string" })
}

fn number(value: &Value, member: &'static str) -> Result<u64, KeyError> {
    value.as_u64().ok_or(KeyError::EncryptedMember { member, expected: "a whole number" })
}

fn bytes(value: &Value, member: &'static str, expected: &'static str) -> Result<Vec<u8>, KeyError> {
    STANDARD.decode(text(value, member)?).map_err(|_| KeyError::EncryptedMember { member, expected })
}

fn exactly<const N: usize>(
    value: &Value,
    member: &'static str,
    expected: &'static str,
) -> Result<[u8; N], KeyError> {
    let found = bytes(value, member, expected)?;
    found.try_into().map_err(|_| KeyError::EncryptedMember { member, expected })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Algorithm, PrivateKey, PublicKey};
    use proptest::prelude::*;
    use serde_json::json;

    const P256: &str = include_str!("../../tests/vectors/keys/cosign/p256.key");
    const PASSWORD: &[u8] = include_bytes!("../../tests/vectors/keys/cosign/password.txt").trim_ascii_end();

    /// As cosign encrypts, but cheap: N = 2, r = 1, p = 1.
    fn sealed(body: &[u8], password: &[u8]) -> Value {
        let mut key = [0; KEY];
        let params = scrypt::Params::new(1, 1, 1, KEY).unwrap();
        scrypt::scrypt(password, &[7; SALT], &params, &mut key).unwrap();
        let mut body = body.to_vec();
        let tag = XSalsa20Poly1305::new(Key::from_slice(&key))
            .encrypt_in_place_detached(Nonce::from_slice(&[9; 24]), b"", &mut body)
            .unwrap();
        json!({
            "kdf": { "name": "scrypt", "params": { "N": 2, "r": 1, "p": 1 }, "salt": STANDARD.encode([7; SALT]) },
            "cipher": { "name": "nacl/secretbox", "nonce": STANDARD.encode([9; 24]) },
            "ciphertext": STANDARD.encode([tag.as_slice(), &body].concat()),
        })
    }

    fn framed(contents: &[u8]) -> String {
        crate::key::unframed(LABELS[0], contents)
    }

    fn read(document: &Value, password: &[u8]) -> Result<PrivateKey, KeyError> {
        PrivateKey::from_encrypted_pem(&framed(document.to_string().as_bytes()), password)
    }

    fn der(pem: &str) -> Vec<u8> {
        pem::parse(pem).unwrap().into_contents()
    }

    #[test]
    fn keys_of_cosign_open_and_sign_for_their_public_halves() {
        for (algorithm, private, public, password) in [
            (Algorithm::EcdsaP256, P256, include_str!("../../tests/vectors/keys/cosign/p256.pub"), PASSWORD),
            (
                Algorithm::EcdsaP256,
                include_str!("../../tests/vectors/keys/cosign/empty.key"),
                include_str!("../../tests/vectors/keys/cosign/empty.pub"),
                b"",
            ),
            (
                Algorithm::EcdsaP384,
                include_str!("../../tests/vectors/keys/cosign/p384.key"),
                include_str!("../../tests/vectors/keys/p384.pub"),
                PASSWORD,
            ),
            (
                Algorithm::Ed25519,
                include_str!("../../tests/vectors/keys/cosign/ed25519.key"),
                include_str!("../../tests/vectors/keys/ed25519.pub"),
                PASSWORD,
            ),
            (
                Algorithm::Rsa,
                include_str!("../../tests/vectors/keys/cosign/rsa2048.key"),
                include_str!("../../tests/vectors/keys/rsa2048.pub"),
                PASSWORD,
            ),
        ] {
            let key = PrivateKey::from_encrypted_pem(private, password).unwrap();
            let public = PublicKey::from_pem(public).unwrap();
            assert_eq!(key.public(), public);
            assert_eq!(public.algorithm(), algorithm);
            public.verify(b"same bytes", &key.sign(b"same bytes").unwrap()).unwrap();
        }
        // The older label.
        let older = P256.replace("SIGSTORE", "COSIGN");
        assert!(PrivateKey::from_encrypted_pem(&older, PASSWORD).is_ok());
    }

    #[test]
    fn another_password_does_not_open_it_and_is_not_repeated() {
        for password in [&b""[..], b"hunter2", &PASSWORD[1..], &[PASSWORD, b"\n"].concat()] {
            let error = PrivateKey::from_encrypted_pem(P256, password).unwrap_err();
            assert_eq!(error, KeyError::WrongPassword);
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn both_encodings_of_the_body_are_read_and_nothing_else() {
        let pkcs8 = der(include_str!("../../tests/vectors/keys/p256.pem"));
        let sec1 = der(include_str!("../../tests/vectors/keys/p256.sec1.pem"));
        let public = PublicKey::from_pem(include_str!("../../tests/vectors/keys/p256.pub")).unwrap();
        for body in [&pkcs8, &sec1] {
            assert_eq!(read(&sealed(body, b"x"), b"x").unwrap().public(), public);
            assert_eq!(read(&sealed(body, b"x"), b"y").unwrap_err(), KeyError::WrongPassword);
        }
        let small = der(include_str!("../../tests/vectors/keys/rsa1024.pem"));
        for body in [&pkcs8[1..], &small, b"-----BEGIN PRIVATE KEY-----", b"\0"] {
            assert_eq!(read(&sealed(body, b"x"), b"x").unwrap_err(), KeyError::UnknownPrivateKey);
        }
    }

    #[test]
    fn f4_a_key_file_cannot_ask_for_more_than_bounded_time_and_memory() {
        let good = sealed(b"body", b"x");
        for (n, r, p) in [
            (0, 8, 1),
            (1, 8, 1),
            (65535, 8, 1),
            (1 << 21, 1, 1),
            (1 << 19, 8, 1),
            (1 << 18, 8, 5),
            (1 << 63, 1, 1),
            (u64::MAX, u64::MAX, u64::MAX),
            (65536, 0, 1),
            (65536, 9, 1),
            (65536, 8, 0),
            (65536, 8, 17),
            // RFC 7914, section 2: N below 2^(128 r / 8).
            (65536, 1, 1),
        ] {
            let mut changed = good.clone();
            changed["kdf"]["params"] = json!({ "N": n, "r": r, "p": p });
            assert_eq!(read(&changed, b"x").unwrap_err(), KeyError::KdfBounds { n, r, p });
        }
        for params in [json!({ "N": 1 << 18, "r": 8, "p": 4 }), json!({ "N": 32768, "r": 8, "p": 16 })] {
            assert!(scrypt_params(&params).is_ok(), "{params}");
        }
    }

    #[test]
    fn every_member_that_is_missing_changed_or_too_many_is_refused() {
        let body = der(include_str!("../../tests/vectors/keys/p256.pem"));
        let good = sealed(&body, b"x");
        assert!(read(&good, b"x").is_ok());
        let refused = |edit: &dyn Fn(&mut Value), at: &str| {
            let mut changed = good.clone();
            edit(&mut changed);
            match read(&changed, b"x").unwrap_err() {
                KeyError::EncryptedMember { member, .. } => assert_eq!(member, at, "{changed}"),
                error => panic!("{changed}: {error}"),
            }
        };
        // Every place in the file, with the object that a lack of it is blamed on.
        for (pointer, at, parent) in [
            ("/kdf", "kdf", "the key"),
            ("/cipher", "cipher", "the key"),
            ("/ciphertext", "ciphertext", "the key"),
            ("/kdf/name", "kdf.name", "kdf"),
            ("/kdf/params", "kdf.params", "kdf"),
            ("/kdf/params/N", "kdf.params.N", "kdf.params"),
            ("/kdf/params/r", "kdf.params.r", "kdf.params"),
            ("/kdf/params/p", "kdf.params.p", "kdf.params"),
            ("/kdf/salt", "kdf.salt", "kdf"),
            ("/cipher/name", "cipher.name", "cipher"),
            ("/cipher/nonce", "cipher.nonce", "cipher"),
        ] {
            for wrong in [json!(null), json!(true), json!(-1), json!(1.5), json!([]), json!({})] {
                refused(&|key| *key.pointer_mut(pointer).unwrap() = wrong.clone(), at);
            }
            let (object, name) = pointer.rsplit_once('/').unwrap();
            let inside = |key: &mut Value, edit: &dyn Fn(&mut serde_json::Map<String, Value>)| {
                edit(key.pointer_mut(object).unwrap().as_object_mut().unwrap());
            };
            refused(&|key| inside(key, &|object| drop(object.remove(name))), parent);
            refused(&|key| inside(key, &|object| drop(object.insert("more".to_owned(), json!(1)))), parent);
            let renamed = |object: &mut serde_json::Map<String, Value>| {
                let value = object.remove(name).unwrap();
                object.insert(name.to_uppercase() + "x", value);
            };
            refused(&|key| inside(key, &renamed), parent);
        }
        for (pointer, at) in
            [("/kdf/salt", "kdf.salt"), ("/cipher/nonce", "cipher.nonce"), ("/ciphertext", "ciphertext")]
        {
            let encoded = good.pointer(pointer).unwrap().as_str().unwrap().to_owned();
            let url = encoded[1..].to_owned() + "_";
            for wrong in ["", "A", "!", " ", "AAAA", &encoded[1..], &url, &(encoded.clone() + "\n")] {
                refused(&|key| *key.pointer_mut(pointer).unwrap() = json!(wrong), at);
            }
        }
        let changed = |pointer: &str, value: &str| {
            let mut changed = good.clone();
            *changed.pointer_mut(pointer).unwrap() = json!(value);
            read(&changed, b"x").unwrap_err()
        };
        for found in ["", "Scrypt", "pbkdf2"] {
            assert_eq!(changed("/kdf/name", found), KeyError::UnknownKdf { found: found.to_owned() });
            assert_eq!(changed("/cipher/name", found), KeyError::UnknownCipher { found: found.to_owned() });
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_what_is_sealed_is_refused() {
        let body = der(include_str!("../../tests/vectors/keys/ed25519.pem"));
        let good = sealed(&body, b"x");
        for pointer in ["/kdf/salt", "/cipher/nonce", "/ciphertext"] {
            let bytes = STANDARD.decode(good.pointer(pointer).unwrap().as_str().unwrap()).unwrap();
            for at in 0..bytes.len() {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1;
                for wrong in [&flipped[..], &bytes[..at], &[&bytes[..], &bytes[..=at]].concat()] {
                    let mut changed = good.clone();
                    *changed.pointer_mut(pointer).unwrap() = json!(STANDARD.encode(wrong));
                    let error = read(&changed, b"x").unwrap_err();
                    let closed = matches!(error, KeyError::WrongPassword | KeyError::EncryptedMember { .. });
                    assert!(closed, "{pointer}, byte {at}: {error}");
                }
            }
        }
    }

    #[test]
    fn every_cut_of_the_file_is_refused() {
        let text = sealed(&der(include_str!("../../tests/vectors/keys/ed25519.pem")), b"x").to_string();
        for end in 0..text.len() {
            let error = PrivateKey::from_encrypted_pem(&framed(&text.as_bytes()[..end]), b"x").unwrap_err();
            assert!(matches!(error, KeyError::EncryptedJson { .. }), "{end}: {error}");
        }
        // Two values for one member, something behind the end, too much of it.
        let twice = text.replacen("{\"cipher\":", "{\"cipher\":1,\"cipher\":", 1);
        assert_ne!(twice, text);
        for text in [twice, text.clone() + "{}", text + &" ".repeat(LIMITS.bytes)] {
            let error = PrivateKey::from_encrypted_pem(&framed(text.as_bytes()), b"x").unwrap_err();
            assert!(matches!(error, KeyError::EncryptedJson { .. }), "{error}");
        }
        let body = P256.trim_end();
        for cut in (0..body.len()).step_by(7) {
            let error = PrivateKey::from_encrypted_pem(&body[..cut], PASSWORD).unwrap_err();
            assert_eq!(error, KeyError::NotPem { expected: LABELS[0] }, "{cut}");
        }
    }

    #[test]
    fn what_is_not_one_encrypted_key_is_refused() {
        let plain = include_str!("../../tests/vectors/keys/p256.pem");
        let expected = LABELS[0];
        let error = PrivateKey::from_encrypted_pem(plain, b"").unwrap_err();
        assert_eq!(error, KeyError::Label { found: "PRIVATE KEY".to_owned(), expected });
        let two = PrivateKey::from_encrypted_pem(&format!("{P256}{plain}"), PASSWORD).unwrap_err();
        assert_eq!(two, KeyError::SeveralBlocks { found: 2, expected });
        let headers = P256.replacen("-----\n", "-----\nProc-Type: 4,ENCRYPTED\n\n", 1);
        let error = PrivateKey::from_encrypted_pem(&headers, PASSWORD).unwrap_err();
        assert_eq!(error, KeyError::UnknownEncryption { label: LABELS[0].to_owned() });
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            text: String,
            contents: Vec<u8>,
            password: Vec<u8>,
            at: prop::sample::Index,
            byte: u8,
        ) {
            prop_assert!(PrivateKey::from_encrypted_pem(&text, &password).is_err());
            prop_assert!(PrivateKey::from_encrypted_pem(&framed(&contents), &password).is_err());
            prop_assert!(read(&sealed(&contents, &password), &password).is_err());
            // One byte of a good file is another: it opens to the same key, or not at all.
            let key = der(include_str!("../../tests/vectors/keys/ed25519.pem"));
            let mut changed = sealed(&key, &password).to_string().into_bytes();
            let at = at.index(changed.len());
            changed[at] = byte;
            if let Ok(found) = PrivateKey::from_encrypted_pem(&framed(&changed), &password) {
                let public = include_str!("../../tests/vectors/keys/ed25519.pub");
                prop_assert_eq!(found.public(), PublicKey::from_pem(public).unwrap());
            }
        }
    }
}
