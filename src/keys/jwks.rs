//! A JWKS document (RFC 7517) as a set of keys that may verify RS256, and nothing else.

use std::{collections::BTreeMap, fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::value::RawValue;

/// An RSA public key of 2048 to 8192 bits, published for RS256 signatures. Cheap to clone.
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

/// The usable keys of one JWKS, at least one, by `kid`.
#[derive(Debug, Clone)]
pub struct KeySet {
    keys: BTreeMap<String, VerifyingKey>,
    json: String,
}

/// Why a document is no [`KeySet`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Over [`KeySet::MAX_BYTES`].
    #[error("the JWKS has over {} bytes", KeySet::MAX_BYTES)]
    TooLarge,
    /// Not a JSON object with an array `keys` (RFC 7517 §5).
    #[error("not a JSON object with an array `keys`")]
    NotAJwks,
    /// Over [`KeySet::MAX_KEYS`].
    #[error("the JWKS has {count} keys, over {}", KeySet::MAX_KEYS)]
    TooManyKeys {
        /// How many there are.
        count: usize,
    },
    /// No key is left once the unusable ones are skipped.
    #[error("the JWKS has no RSA key for RS256 with a kid of its own")]
    NoUsableKey,
}

impl KeySet {
    /// The largest document that is read: 256 KiB.
    pub const MAX_BYTES: usize = 256 * 1024;
    /// The most keys that a document may have, usable or not.
    pub const MAX_KEYS: usize = 100;

    /// Parses a JWKS. Keys that cannot verify RS256, or are marked for another use, are skipped without losing their
    /// neighbours; of two different keys under one `kid` neither is used.
    ///
    /// # Errors
    /// A [`KeySetError`]; nothing is kept of a document that is not wholly read.
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        if json.len() > Self::MAX_BYTES {
            return Err(KeySetError::TooLarge);
        }
        let json = std::str::from_utf8(json).map_err(|_| KeySetError::NotAJwks)?;
        let document: Document<'_> = object(json).ok_or(KeySetError::NotAJwks)?;
        if document.keys.len() > Self::MAX_KEYS {
            return Err(KeySetError::TooManyKeys { count: document.keys.len() });
        }
        // `None` marks a kid that two different keys claim.
        let mut by_kid: BTreeMap<String, Option<RsaKey>> = BTreeMap::new();
        for (kid, key) in document.keys.into_iter().filter_map(usable) {
            by_kid
                .entry(kid)
                .and_modify(|known| {
                    if known.as_ref() != Some(&key) {
                        *known = None;
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

    /// The one key with this `kid`.
    #[must_use]
    pub fn key(&self, kid: &str) -> Option<&VerifyingKey> {
        self.keys.get(kid)
    }

    /// How many keys are usable; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a KeySet is never empty")]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The document as it was read.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// The members of a JWK that decide (RFC 7517 §4, RFC 7518 §6.3.1). Private members are not even read.
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

/// Big-endian, without leading zeros.
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

/// A struct out of a JSON object; serde would take its members in their order from an array as well.
fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    json.trim_start().starts_with('{').then(|| serde_json::from_str(json).ok()).flatten()
}

fn usable(json: &RawValue) -> Option<(String, RsaKey)> {
    let jwk: Jwk = object(json.get())?;
    let for_rs256 = jwk.kty == "RSA"
        && !jwk.kid.is_empty()
        && jwk.public_key_use.is_none_or(|value| value == "sig")
        && jwk.alg.is_none_or(|alg| alg == "RS256")
        && jwk.key_ops.is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
    if !for_rs256 {
        return None;
    }
    let key = RsaKey { modulus: unsigned(&jwk.n)?, exponent: unsigned(&jwk.e)? };
    let bits = key.modulus.len() * 8 - key.modulus.first()?.leading_zeros() as usize;
    let exponent_is_usual = matches!(key.exponent.as_slice(), [3] | [1, 0, 1]);
    let odd = key.modulus.last()? % 2 == 1;
    ((2048..=8192).contains(&bits) && exponent_is_usual && odd).then_some((jwk.kid, key))
}

/// A `Base64urlUInt` (RFC 7518 §2); leading zeros, which it forbids and some servers send, are dropped.
fn unsigned(text: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    bytes.get(first..).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(bits: usize, seed: u8) -> String {
        let mut bytes = vec![seed; bits.div_ceil(8)];
        bytes[0] = 1 << ((bits - 1) % 8);
        *bytes.last_mut().unwrap() |= 1;
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn jwk(kid: &str, more: &str) -> String {
        format!(r#"{{"kty":"RSA","kid":"{kid}","e":"AQAB","n":"{}"{more}}}"#, number(2048, 0xaa))
    }

    fn parse(keys: &[String]) -> Result<KeySet, KeySetError> {
        KeySet::parse(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes())
    }

    /// Whether the key under `kid` `k` is used, with a good neighbour that must not be lost.
    fn is_used(key: &str) -> bool {
        let set = parse(&[key.to_owned(), jwk("neighbour", "")]).unwrap();
        assert!(set.key("neighbour").is_some(), "{key}");
        set.key("k").is_some()
    }

    #[test]
    fn takes_keys_for_rs256_signatures() {
        for more in [
            "",
            r#","use":"sig""#,
            r#","alg":"RS256""#,
            r#","key_ops":["sign","verify"]"#,
            r#","use":null"#,
            r#","x5c":[1],"d":7,"status":"ACTIVE""#,
        ] {
            assert!(is_used(&jwk("k", more)), "{more}");
        }
    }

    #[test]
    fn skips_keys_for_anything_else_without_losing_their_neighbours() {
        for more in [
            r#","use":"enc""#,
            r#","use":7"#,
            r#","alg":"PS256""#,
            r#","alg":"RS512""#,
            r#","key_ops":[]"#,
            r#","key_ops":["sign"]"#,
            r#","key_ops":"verify""#,
            r#","kid":"k""#,
        ] {
            assert!(!is_used(&jwk("k", more)), "{more}");
        }
        for key in ["null", "7", "[]", "{}", r#"{"kty":"RSA","kid":"k"}"#, r#"{"kty":"EC","kid":"k","crv":"P-256"}"#] {
            assert!(!is_used(key), "{key}");
        }
        assert!(!is_used(&jwk("k", "").replace("RSA", "oct")));
        assert!(!is_used(&jwk("k", "").replace(r#""kid":"k","#, "")));
    }

    #[test]
    fn holds_the_modulus_and_the_exponent_to_their_bounds() {
        let key = |n: &str, e: &str| format!(r#"{{"kty":"RSA","kid":"k","n":"{n}","e":"{e}"}}"#);
        for bits in [2048, 2049, 3072, 4096, 8192] {
            assert!(is_used(&key(&number(bits, 7), "AQAB")), "{bits}");
        }
        for bits in [512, 1024, 2047, 8193] {
            assert!(!is_used(&key(&number(bits, 7), "AQAB")), "{bits}");
        }
        let n = number(2048, 7);
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
    fn uses_neither_of_two_different_keys_under_one_kid() {
        let other = jwk("k", "").replace(&number(2048, 0xaa), &number(2048, 0xab));
        let twice = parse(&[jwk("k", ""), other.clone(), jwk("neighbour", "")]).unwrap();
        assert!(twice.key("k").is_none() && twice.key("neighbour").is_some());
        let thrice = parse(&[jwk("k", ""), other, jwk("k", ""), jwk("neighbour", "")]).unwrap();
        assert!(thrice.key("k").is_none());
        let same = parse(&[jwk("k", ""), jwk("k", r#","use":"sig""#)]).unwrap();
        assert!(same.key("k").is_some());
    }

    #[test]
    fn a_document_out_of_bounds_is_no_key_set() {
        let failure = |text: &str| KeySet::parse(text.as_bytes()).unwrap_err();
        let array = format!(r#"[[["RSA","k",null,null,null,"{}","AQAB"]]]"#, number(2048, 7));
        assert_eq!(failure(&array), KeySetError::NotAJwks);
        assert_eq!(failure(&format!(r#"{{"keys":{}}}"#, &array[1..array.len() - 1])), KeySetError::NoUsableKey);
        for text in ["", "<html>", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]"#, r#"{"keys":[],"keys":[]}"#] {
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
    fn debug_shows_a_key_and_not_its_numbers() {
        let set = parse(&[jwk("k", "")]).unwrap();
        assert_eq!(format!("{:?}", set.key("k").unwrap()), "VerifyingKey(RSA)");
    }

    #[test]
    fn keeps_the_document_as_it_was_read() {
        let text = format!(r#"{{"keys":[{}], "more": 1}}"#, jwk("k", ""));
        assert_eq!(KeySet::parse(text.as_bytes()).unwrap().json(), text);
    }
}
