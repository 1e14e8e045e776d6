//! Parses a JWKS document (RFC 7517). Only keys that may verify RS256 signatures are kept.

use std::{collections::BTreeMap, fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::value::RawValue;

/// An RSA public key of 2048 to 8192 bits for RS256 signatures. Cheap to clone.
#[derive(Clone)]
pub struct VerifyingKey(Arc<DecodingKey>);

impl VerifyingKey {
    pub(crate) fn decoding_key(&self) -> &DecodingKey {
        &self.0
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyingKey(RSA)")
    }
}

/// The usable keys of one JWKS by `kid`. There is at least one.
#[derive(Debug, Clone)]
pub struct KeySet {
    keys: BTreeMap<String, VerifyingKey>,
    json: String,
}

/// Why a document is not a usable JWKS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Larger than [`KeySet::MAX_BYTES`].
    #[error("the JWKS is larger than {} bytes", KeySet::MAX_BYTES)]
    TooLarge,
    /// Not a JSON object with an array `keys` (RFC 7517 §5).
    #[error("not a JSON object with an array `keys`")]
    NotAJwks,
    /// More keys than [`KeySet::MAX_KEYS`].
    #[error("the JWKS has {count} keys, more than {}", KeySet::MAX_KEYS)]
    TooManyKeys {
        /// The number of keys in the document.
        count: usize,
    },
    /// All keys were skipped because they cannot be used.
    #[error("the JWKS has no RSA key for RS256 with a unique kid")]
    NoUsableKey,
}

impl KeySet {
    /// The size limit of a document: 256 KiB. A response from Okta is read up to this size.
    pub const MAX_BYTES: usize = 256 * 1024;
    /// The largest number of keys in a document, usable or not.
    pub const MAX_KEYS: usize = 100;

    /// Parses a JWKS (RFC 7517 §5).
    ///
    /// Keys that cannot verify RS256, or that are marked for another use, are skipped; the other
    /// keys are kept. If two different keys have the same `kid`, neither is used, because it is not
    /// clear which one is meant.
    ///
    /// # Errors
    /// A [`KeySetError`] if the document breaks a limit, is not a JWKS, or has no usable key.
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        if json.len() > Self::MAX_BYTES {
            return Err(KeySetError::TooLarge);
        }
        let json = std::str::from_utf8(json).map_err(|_| KeySetError::NotAJwks)?;
        let document: JwksDocument<'_> = from_json_object(json).ok_or(KeySetError::NotAJwks)?;
        if document.keys.len() > Self::MAX_KEYS {
            return Err(KeySetError::TooManyKeys { count: document.keys.len() });
        }
        // `None` marks a kid with two different keys.
        let mut by_kid: BTreeMap<String, Option<RsaKey>> = BTreeMap::new();
        for (kid, key) in document.keys.into_iter().filter_map(parse_rs256_key) {
            by_kid
                .entry(kid)
                .and_modify(|earlier| {
                    if earlier.as_ref() != Some(&key) {
                        *earlier = None;
                    }
                })
                .or_insert_with(|| Some(key.clone()));
        }
        let keys: BTreeMap<_, _> = by_kid.into_iter().filter_map(|(kid, key)| Some((kid, key?.into()))).collect();
        if keys.is_empty() {
            return Err(KeySetError::NoUsableKey);
        }
        Ok(Self { keys, json: json.to_owned() })
    }

    /// The key with this `kid`.
    #[must_use]
    pub fn key(&self, kid: &str) -> Option<&VerifyingKey> {
        self.keys.get(kid)
    }

    /// Whether a key for RS256 in the document has this modulus, a `Base64urlUInt`.
    #[must_use]
    pub fn has_modulus(&self, modulus: &str) -> bool {
        let document: Option<JwksDocument<'_>> = from_json_object(&self.json);
        let keys = document.into_iter().flat_map(|document| document.keys).filter_map(parse_rs256_key);
        let modulus = decode_base64url_uint(modulus);
        modulus.is_some_and(|modulus| keys.into_iter().any(|(_, key)| key.modulus == modulus))
    }

    /// The number of usable keys, at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a KeySet is never empty")]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The JSON text from which the set was parsed, unchanged.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }
}

#[derive(Deserialize)]
struct JwksDocument<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// The members of a JWK that decide whether it can be used (RFC 7517 §4, RFC 7518 §6.3.1). All
/// other members are ignored, also those of a private key.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: String,
    #[serde(rename = "use")]
    public_key_use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    n: String,
    e: String,
}

/// Two unsigned integers, big-endian, without leading zeros.
#[derive(Clone, PartialEq)]
struct RsaKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl From<RsaKey> for VerifyingKey {
    fn from(key: RsaKey) -> Self {
        Self(Arc::new(DecodingKey::from_rsa_raw_components(&key.modulus, &key.exponent)))
    }
}

/// Reads a struct from a JSON object only. Without this check, serde would also read it from an
/// array with the members in order.
fn from_json_object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    json.trim_start().starts_with('{').then(|| serde_json::from_str(json).ok()).flatten()
}

/// The `kid` and the key of a JWK, if it may verify RS256 signatures (RFC 7517 §4, RFC 7518 §3.3).
fn parse_rs256_key(json: &RawValue) -> Option<(String, RsaKey)> {
    let jwk: Jwk = from_json_object(json.get())?;
    let for_rs256 = jwk.kty == "RSA"
        && !jwk.kid.is_empty()
        && jwk.public_key_use.is_none_or(|value| value == "sig")
        && jwk.alg.is_none_or(|alg| alg == "RS256")
        && jwk.key_ops.is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
    if !for_rs256 {
        return None;
    }
    let key = RsaKey { modulus: decode_base64url_uint(&jwk.n)?, exponent: decode_base64url_uint(&jwk.e)? };
    let bits = key.modulus.len() * 8 - key.modulus.first()?.leading_zeros() as usize;
    let common_exponent = matches!(key.exponent.as_slice(), [3] | [1, 0, 1]);
    let odd_modulus = key.modulus.last()? % 2 == 1;
    ((2048..=8192).contains(&bits) && common_exponent && odd_modulus).then_some((jwk.kid, key))
}

/// Decodes a `Base64urlUInt` (RFC 7518 §2). Leading zeros are removed: the RFC forbids them, but
/// some servers send them. `None` for zero.
fn decode_base64url_uint(text: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    bytes.get(first..).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An odd number of so many bits as a `Base64urlUInt`.
    fn odd_number(bits: usize, seed: u8) -> String {
        let mut bytes = vec![seed; bits.div_ceil(8)];
        bytes[0] = 1 << ((bits - 1) % 8);
        *bytes.last_mut().unwrap() |= 1;
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// A good JWK, with more members at its end.
    fn jwk(kid: &str, members: &str) -> String {
        format!(r#"{{"kty":"RSA","kid":"{kid}","e":"AQAB","n":"{}"{members}}}"#, odd_number(2048, 0xaa))
    }

    fn parse(keys: &[String]) -> Result<KeySet, KeySetError> {
        KeySet::parse(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes())
    }

    /// Whether the key with the `kid` `k` is used. A good key in the same set is the control.
    fn is_used(key: &str) -> bool {
        let set = parse(&[key.to_owned(), jwk("control", "")]).unwrap();
        assert!(set.key("control").is_some(), "{key}");
        set.key("k").is_some()
    }

    #[test]
    fn keys_for_rs256_signatures_are_used() {
        for members in [
            "",
            r#","use":"sig""#,
            r#","alg":"RS256""#,
            r#","key_ops":["sign","verify"]"#,
            r#","use":null"#,
            r#","x5c":[1],"d":7,"status":"ACTIVE""#,
        ] {
            assert!(is_used(&jwk("k", members)), "{members}");
        }
    }

    #[test]
    fn keys_for_another_use_are_skipped() {
        for members in [
            r#","use":"enc""#,
            r#","use":7"#,
            r#","alg":"PS256""#,
            r#","alg":"RS512""#,
            r#","key_ops":[]"#,
            r#","key_ops":["sign"]"#,
            r#","key_ops":"verify""#,
            r#","kid":"k""#,
        ] {
            assert!(!is_used(&jwk("k", members)), "{members}");
        }
        for key in ["null", "7", "[]", "{}", r#"{"kty":"RSA","kid":"k"}"#, r#"{"kty":"EC","kid":"k","crv":"P-256"}"#] {
            assert!(!is_used(key), "{key}");
        }
        assert!(!is_used(&jwk("k", "").replace("RSA", "oct")));
        assert!(!is_used(&jwk("k", "").replace(r#""kid":"k","#, "")));
    }

    #[test]
    fn the_modulus_and_the_exponent_have_limits() {
        let key = |n: &str, e: &str| format!(r#"{{"kty":"RSA","kid":"k","n":"{n}","e":"{e}"}}"#);
        for bits in [2048, 2049, 3072, 4096, 8192] {
            assert!(is_used(&key(&odd_number(bits, 7), "AQAB")), "{bits}");
        }
        for bits in [512, 1024, 2047, 8193] {
            assert!(!is_used(&key(&odd_number(bits, 7), "AQAB")), "{bits}");
        }
        let n = odd_number(2048, 7);
        for e in ["Aw", "AQAB", "AAEAAQ"] {
            assert!(is_used(&key(&n, e)), "{e}");
        }
        for e in ["", "AQ", "Ag", "AQAA", "AA", "Aw==", "A+/B"] {
            assert!(!is_used(&key(&n, e)), "{e}");
        }
        let even = URL_SAFE_NO_PAD.encode([[0x80].as_slice(), &[0; 255]].concat());
        assert!(!is_used(&key(&even, "AQAB")));
    }

    #[test]
    fn two_different_keys_with_one_kid_are_both_skipped() {
        let other = jwk("k", "").replace(&odd_number(2048, 0xaa), &odd_number(2048, 0xab));
        let twice = parse(&[jwk("k", ""), other.clone(), jwk("control", "")]).unwrap();
        assert!(twice.key("k").is_none() && twice.key("control").is_some());
        let thrice = parse(&[jwk("k", ""), other, jwk("k", ""), jwk("control", "")]).unwrap();
        assert!(thrice.key("k").is_none());
        let same = parse(&[jwk("k", ""), jwk("k", r#","use":"sig""#)]).unwrap();
        assert!(same.key("k").is_some());
    }

    #[test]
    fn a_document_outside_the_limits_is_rejected() {
        let failure = |text: &str| KeySet::parse(text.as_bytes()).unwrap_err();
        let array = format!(r#"[[["RSA","k",null,null,null,"{}","AQAB"]]]"#, odd_number(2048, 7));
        assert_eq!(failure(&array), KeySetError::NotAJwks);
        assert_eq!(failure(&format!(r#"{{"keys":{}}}"#, &array[1..array.len() - 1])), KeySetError::NoUsableKey);
        let key = jwk("k", "");
        let more = format!(r#"{{"keys":[{key}]}}x"#);
        let others = [&key, &more, "", "nonsense", "{", "null", "<html>", "[]", "{}", r#"{"keys":{}}"#];
        for text in others.into_iter().chain([r#"{"keys":[]"#, r#"{"keys":[],"keys":[]}"#]) {
            assert_eq!(failure(text), KeySetError::NotAJwks, "{text}");
        }
        assert_eq!(failure(r#"{"keys":[]}"#), KeySetError::NoUsableKey);
        let padded = |bytes: usize| {
            let text = format!(r#"{{"keys":[{},{}]}}"#, jwk("k", ""), jwk("l", ""));
            text.clone() + &" ".repeat(bytes - text.len())
        };
        assert_eq!(KeySet::parse(padded(KeySet::MAX_BYTES).as_bytes()).unwrap().len(), 2);
        assert_eq!(failure(&padded(KeySet::MAX_BYTES + 1)), KeySetError::TooLarge);
        assert_eq!(parse(&vec!["{}".to_owned(); 101]).unwrap_err(), KeySetError::TooManyKeys { count: 101 });
        let mut hundred = vec!["{}".to_owned(); 99];
        hundred.push(jwk("k", ""));
        assert_eq!(parse(&hundred).unwrap().len(), 1);
    }

    #[test]
    fn a_key_is_found_by_its_modulus_alone() {
        let n = |seed| odd_number(2048, seed);
        let set = parse(&[jwk("k", ""), jwk("l", "").replace(&n(0xaa), &n(0xab)).replace("AQAB", "Aw")]).unwrap();
        for (modulus, is_found) in [(n(0xaa), true), (n(0xab), true), (n(0xac), false), (String::new(), false)] {
            assert_eq!(set.has_modulus(&modulus), is_found, "{modulus}");
        }
    }

    #[test]
    fn debug_does_not_show_the_numbers_of_a_key() {
        let set = parse(&[jwk("k", "")]).unwrap();
        assert_eq!(format!("{:?}", set.key("k").unwrap()), "VerifyingKey(RSA)");
    }

    #[test]
    fn the_json_text_is_kept_unchanged() {
        let text = format!(r#"{{"keys":[{}], "more": 1}}"#, jwk("k", ""));
        assert_eq!(KeySet::parse(text.as_bytes()).unwrap().json(), text);
    }
}
