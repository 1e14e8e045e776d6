//! The value of the `Authorization` header, and the token in it before verification.

use std::{borrow::Cow, fmt};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Refusal, claims::required};
use crate::policy::{ClaimSet, JsonObject};

/// One bearer token (RFC 6750 §2.1) of at most [`BearerToken::MAX_BYTES`]. Its `Debug` shows
/// nothing of it.
pub struct BearerToken<'a>(&'a str);

impl fmt::Debug for BearerToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(…)")
    }
}

impl<'a> BearerToken<'a> {
    /// The length of the longest token that is decoded: 16 KiB. API Gateway itself limits all
    /// headers together to 10,240 bytes.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// The token itself, for introspection.
    pub(super) fn as_str(&self) -> &'a str {
        self.0
    }

    /// Reads `Bearer` in any case, one or more spaces, and a token; or only a token.
    ///
    /// # Errors
    /// [`Refusal::MissingToken`], [`Refusal::NotBearer`] or [`Refusal::TooLong`].
    pub fn from_header_value(value: &'a str) -> Result<Self, Refusal> {
        let token = match value.split_once(' ') {
            None if value.eq_ignore_ascii_case("Bearer") => "",
            None => value,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("Bearer") => rest.trim_start_matches(' '),
            Some(_) => return Err(Refusal::NotBearer),
        };
        match token.len() {
            0 => Err(Refusal::MissingToken),
            bytes if bytes > Self::MAX_BYTES => Err(Refusal::TooLong { bytes }),
            _ => Ok(Self(token)),
        }
    }

    fn not_three_parts(&self) -> Refusal {
        let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        // Not `split`, because a long token of dots would cost more than an accepted call.
        match self.0.bytes().filter(|byte| *byte == b'.').count() + 1 {
            // Two tokens with a comma between them have five parts as well.
            5 if self.0.bytes().all(|byte| byte == b'.' || is_base64url(byte)) => Refusal::EncryptedToken,
            parts => Refusal::NotThreeParts { parts },
        }
    }
}

/// A well-formed RS256 token. Nothing of it is verified; only [`verify`](super::verify) does that.
pub struct UnverifiedToken<'a> {
    pub(super) signing_input: &'a str,
    pub(super) signature: &'a str,
    pub(super) unverified_payload: ClaimSet,
    unverified_kid: String,
}

impl fmt::Debug for UnverifiedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnverifiedToken(…)")
    }
}

impl<'a> UnverifiedToken<'a> {
    /// Splits the compact serialization (RFC 7515 §7.1) and checks the header (RFC 7515 §4.1).
    /// `jwk`, `jku`, `x5u` and `x5c` are ignored, because a token must not bring its own key.
    ///
    /// # Errors
    /// A [`Refusal`] for the first check that fails.
    pub fn decode(token: &BearerToken<'a>) -> Result<Self, Refusal> {
        let (signing_input, signature) = token.0.rsplit_once('.').ok_or_else(|| token.not_three_parts())?;
        let (header, payload) = signing_input.split_once('.').ok_or_else(|| token.not_three_parts())?;
        if payload.contains('.') {
            return Err(token.not_three_parts());
        }
        let unverified_kid = unverified_kid(&json_object(header, "header")?)?;
        let unverified_payload = json_object(payload, "payload")?.into();
        Ok(Self { signing_input, signature, unverified_payload, unverified_kid })
    }

    /// The `kid` that the token names. Never empty.
    #[must_use]
    pub fn unverified_kid(&self) -> &str {
        &self.unverified_kid
    }

    /// The `iss` that the token names. It only chooses whose keys are used to verify the token.
    ///
    /// # Errors
    /// [`Refusal::MissingClaim`] or [`Refusal::WrongClaimType`].
    pub fn unverified_issuer(&self) -> Result<Cow<'_, str>, Refusal> {
        required(&self.unverified_payload, "iss")
    }
}

fn json_object(encoded: &str, part: &'static str) -> Result<JsonObject, Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| Refusal::BadBase64 { part })?;
    JsonObject::parse(&bytes).ok_or(Refusal::BadJson { part })
}

fn unverified_kid(header: &JsonObject) -> Result<String, Refusal> {
    if header.string("alg") != Ok(Some("RS256".into())) {
        return Err(Refusal::WrongAlgorithm { alg: evidence(header, "alg") });
    }
    if header.raw("crit").is_some() {
        return Err(Refusal::CriticalHeader);
    }
    // RFC 7515 §4.1.9: media types ignore case, and `application/` can be left out.
    let accepted_types = ["JWT", "at+jwt", "application/at+jwt"];
    let is_accepted = |typ: &str| accepted_types.iter().any(|accepted| accepted.eq_ignore_ascii_case(typ));
    if !header.string("typ").is_ok_and(|typ| typ.is_none_or(|typ| is_accepted(&typ))) {
        return Err(Refusal::WrongType { typ: evidence(header, "typ") });
    }
    let kid = header.string("kid").ok().flatten().filter(|kid| !kid.is_empty());
    kid.map(Cow::into_owned).ok_or(Refusal::BadKid)
}

/// The text of a member of the header, the JSON text of one that is not a string, or `absent`.
fn evidence(header: &JsonObject, name: &str) -> String {
    match header.string(name) {
        Ok(Some(text)) => text.into_owned(),
        _ => header.raw(name).unwrap_or("absent").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header_value(value: &str) -> Result<&str, Refusal> {
        BearerToken::from_header_value(value).map(|token| token.0)
    }

    #[test]
    fn reads_the_scheme_in_any_case_and_a_bare_token() {
        for good in ["Bearer a.b.c", "bearer a.b.c", "BEARER    a.b.c", "a.b.c"] {
            assert_eq!(header_value(good), Ok("a.b.c"), "{good}");
        }
    }

    #[test]
    fn refuses_other_schemes_and_a_missing_token() {
        assert_eq!(header_value("Basic a.b.c"), Err(Refusal::NotBearer));
        assert_eq!(header_value(" a.b.c"), Err(Refusal::NotBearer));
        assert_eq!(header_value("a.b.c "), Err(Refusal::NotBearer));
        for nothing in ["", "Bearer", "bearer ", "Bearer   "] {
            assert_eq!(header_value(nothing), Err(Refusal::MissingToken), "{nothing:?}");
        }
    }

    #[test]
    fn the_length_is_checked_before_anything_is_decoded() {
        let longest = "a".repeat(BearerToken::MAX_BYTES);
        assert_eq!(header_value(&format!("Bearer {longest}")), Ok(longest.as_str()));
        let bytes = BearerToken::MAX_BYTES + 1;
        assert_eq!(header_value(&"a".repeat(bytes)), Err(Refusal::TooLong { bytes }));
    }

    #[test]
    fn debug_shows_nothing_of_the_bearer_token() {
        let token = BearerToken::from_header_value("a.b.c").unwrap();
        assert_eq!(format!("{token:?}"), "BearerToken(…)");
    }

    fn decode(token: &str) -> Result<String, Refusal> {
        let bearer = BearerToken::from_header_value(token)?;
        UnverifiedToken::decode(&bearer).map(|token| token.unverified_kid)
    }

    fn with_header(header: &str) -> Result<String, Refusal> {
        decode(&format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(header)))
    }

    #[test]
    fn debug_shows_nothing_of_the_token() {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","kid":"k"}"#);
        let token = format!("{header}.e30.c2ln");
        let bearer = BearerToken::from_header_value(&token).unwrap();
        assert_eq!(format!("{:?}", UnverifiedToken::decode(&bearer).unwrap()), "UnverifiedToken(…)");
    }

    #[test]
    fn a_token_has_three_parts_of_canonical_base64url() {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","kid":"k"}"#);
        assert_eq!(decode(&format!("{header}.e30.c2ln")), Ok("k".to_owned()));
        for (token, parts) in [
            (header.clone(), 1),
            (format!("{header}.e30"), 2),
            (format!("{header}.e30.c2ln.x"), 4),
            (format!("{header}.e30.c2ln,{header}.e30.c2ln"), 5),
            ("a.b.c.d.e.f".to_owned(), 6),
        ] {
            assert_eq!(decode(&token), Err(Refusal::NotThreeParts { parts }), "{token}");
        }
        // RFC 7516 §7.1: with a shared key there is no encrypted key.
        for encrypted in [format!("{header}.a.b.c.d"), format!("{header}..b-_.c.d")] {
            assert_eq!(decode(&encrypted), Err(Refusal::EncryptedToken), "{encrypted}");
        }
        for payload in ["e30=", "e31", "e3 0", "e+0", "é"] {
            let token = format!("{header}.{payload}.c2ln");
            let refusal = Refusal::BadBase64 { part: "payload" };
            let refusal = if payload.contains(' ') { Refusal::NotBearer } else { refusal };
            assert_eq!(decode(&token), Err(refusal), "{payload}");
        }
        assert_eq!(decode(&format!("{header}..c2ln")), Err(Refusal::BadJson { part: "payload" }));
    }

    #[test]
    fn the_type_must_be_that_of_an_access_token() {
        for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"] {
            let header = format!(r#"{{"alg":"RS256","kid":"k","typ":"{typ}"}}"#);
            assert_eq!(with_header(&header), Ok("k".to_owned()), "{typ}");
        }
        for (typ, evidence) in [
            (r#""id+jwt""#, "id+jwt"),
            (r#""""#, ""),
            ("null", "null"),
            ("1", "1"),
            (r#"["JWT"]"#, r#"["JWT"]"#),
            (r#""JWT ""#, "JWT "),
        ] {
            let header = format!(r#"{{"alg":"RS256","kid":"k","typ":{typ}}}"#);
            assert_eq!(with_header(&header), Err(Refusal::WrongType { typ: evidence.to_owned() }), "{typ}");
        }
    }

    #[test]
    fn refuses_other_algorithms_any_crit_and_bad_kids() {
        let wrong_algorithm = |alg: &str| Refusal::WrongAlgorithm { alg: alg.to_owned() };
        let cases = [
            (r#"{"kid":"k"}"#, wrong_algorithm("absent")),
            (r#"{"alg":"none","kid":"k"}"#, wrong_algorithm("none")),
            (r#"{"alg":"rs256","kid":"k"}"#, wrong_algorithm("rs256")),
            (r#"{"alg":"PS256","kid":"k"}"#, wrong_algorithm("PS256")),
            (r#"{"alg":["RS256"],"kid":"k"}"#, wrong_algorithm(r#"["RS256"]"#)),
            (r#"{"alg":"RS256","kid":"k","crit":[]}"#, Refusal::CriticalHeader),
            (r#"{"alg":"RS256","kid":"k","crit":null}"#, Refusal::CriticalHeader),
            (r#"{"alg":"RS256"}"#, Refusal::BadKid),
            (r#"{"alg":"RS256","kid":""}"#, Refusal::BadKid),
            (r#"{"alg":"RS256","kid":7}"#, Refusal::BadKid),
            (r#"{"alg":"RS256","kid":"k","kid":"k"}"#, Refusal::BadJson { part: "header" }),
            (r#"["RS256"]"#, Refusal::BadJson { part: "header" }),
        ];
        for (header, refusal) in cases {
            assert_eq!(with_header(header), Err(refusal), "{header}");
        }
        assert_eq!(with_header(r#"{"alg":"RS256","kid":"k","jku":"https://x","b64":true}"#), Ok("k".to_owned()));
    }
}
