//! Verifies a token: the signature first, then the claims.

use std::borrow::Cow;

use jsonwebtoken::{Algorithm, crypto};

use super::{
    Claims, Refusal, UnverifiedToken,
    claims::{optional, required},
};
use crate::{keys::VerifyingKey, policy::ClaimSet};

/// What the tokens of one issuer must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectations {
    /// The issuer. It is compared with `iss` byte for byte.
    pub issuer: String,
    /// Accepted audiences. `aud` must contain one of them.
    pub audiences: Vec<String>,
    /// Accepted values of `cid`. If the list is empty, every client is accepted, and so is a token
    /// without `cid`.
    pub client_ids: Vec<String>,
    /// Leeway for `exp`, `nbf` and `iat`, in seconds.
    pub clock_skew_seconds: u32,
}

/// Verifies the signature under `key`, then the claims (RFC 7519 §7.2, RFC 9068 §4). `now` is in
/// epoch seconds.
///
/// `key` must be the key of `expected.issuer` that the token's `kid` names.
///
/// # Errors
/// A [`Refusal`] for the first check that fails.
pub fn verify(
    token: UnverifiedToken<'_>,
    key: &VerifyingKey,
    expected: &Expectations,
    now: u64,
) -> Result<Claims, Refusal> {
    let message = token.signing_input.as_bytes();
    match crypto::verify(token.signature, message, key.decoding_key(), Algorithm::RS256) {
        Ok(true) => {}
        Ok(false) | Err(_) => return Err(Refusal::BadSignature),
    }
    let payload = token.unverified_payload; // The signature is verified from here on.
    // The caller chose the issuer by the unverified `iss`, so check it here as well.
    let issuer = required(&payload, "iss")?;
    if issuer != expected.issuer {
        return Err(Refusal::UnknownIssuer { issuer: issuer.into_owned() });
    }
    check_audience(&payload, &expected.audiences)?;
    check_times(&payload, f64::from(expected.clock_skew_seconds), now)?;
    check_client(&payload, &expected.client_ids)?;
    if payload.raw("cnf").is_some() {
        return Err(Refusal::SenderConstrained);
    }
    Claims::new(payload)
}

fn check_audience(payload: &ClaimSet, accepted: &[String]) -> Result<(), Refusal> {
    let audiences = payload.string_or_array("aud").map_err(|_| Refusal::WrongClaimType { claim: "aud" })?;
    let audiences = audiences.ok_or(Refusal::MissingClaim { claim: "aud" })?;
    let is_accepted = audiences.iter().any(|audience| accepted.iter().any(|accepted| accepted == audience));
    if is_accepted {
        return Ok(());
    }
    Err(Refusal::WrongAudience { audiences: audiences.into_iter().map(Cow::into_owned).collect() })
}

#[expect(clippy::cast_precision_loss, reason = "epoch seconds fit into the 53 bits of a double for 285 million years")]
#[expect(clippy::cast_possible_truncation, reason = "only the evidence is rounded; the checks use the exact numbers")]
fn check_times(payload: &ClaimSet, skew: f64, now_seconds: u64) -> Result<(), Refusal> {
    let now = now_seconds as f64;
    let expires = numeric_date(payload, "exp")?.ok_or(Refusal::MissingClaim { claim: "exp" })?;
    let issued = numeric_date(payload, "iat")?.ok_or(Refusal::MissingClaim { claim: "iat" })?;
    let not_before = numeric_date(payload, "nbf")?;
    if now >= expires + skew {
        return Err(Refusal::Expired { expired_at: expires as i64, now: now_seconds });
    }
    if let Some(not_before) = not_before
        && now < not_before - skew
    {
        return Err(Refusal::NotYetValid { not_before: not_before as i64, now: now_seconds });
    }
    if now < issued - skew {
        return Err(Refusal::IssuedInTheFuture { issued_at: issued as i64, now: now_seconds });
    }
    Ok(())
}

/// Seconds since the epoch, fractions allowed (RFC 7519 §2).
fn numeric_date(payload: &ClaimSet, claim: &'static str) -> Result<Option<f64>, Refusal> {
    let Some(json) = payload.raw(claim) else { return Ok(None) };
    serde_json::from_str(json).map(Some).map_err(|_| Refusal::WrongClaimType { claim })
}

fn check_client(payload: &ClaimSet, accepted: &[String]) -> Result<(), Refusal> {
    let client = optional(payload, "cid")?;
    if accepted.is_empty() {
        return Ok(());
    }
    let client = client.ok_or(Refusal::MissingClaim { claim: "cid" })?;
    let is_accepted = accepted.iter().any(|accepted| *accepted == client);
    if is_accepted { Ok(()) } else { Err(Refusal::WrongClient { client: client.into_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn claims(payload: &str) -> ClaimSet {
        ClaimSet::parse(payload.as_bytes()).unwrap()
    }

    fn times(payload: &str) -> Result<(), Refusal> {
        check_times(&claims(payload), 60.0, NOW)
    }

    #[test]
    fn times_are_checked_to_the_second() {
        for (payload, result) in [
            (r#"{"exp":1000000,"iat":1000000}"#, Ok(())),
            (r#"{"exp":999941,"iat":1}"#, Ok(())),
            (r#"{"exp":999940.5,"iat":1}"#, Ok(())),
            (r#"{"exp":999940,"iat":1}"#, Err(Refusal::Expired { expired_at: 999_940, now: NOW })),
            (r#"{"exp":-1.5,"iat":1}"#, Err(Refusal::Expired { expired_at: -1, now: NOW })),
            (r#"{"exp":2000000,"iat":1000060}"#, Ok(())),
            (r#"{"exp":2000000,"iat":1000061}"#, Err(Refusal::IssuedInTheFuture { issued_at: 1_000_061, now: NOW })),
            (r#"{"exp":2000000,"iat":1,"nbf":1000060}"#, Ok(())),
            (r#"{"exp":2000000,"iat":1,"nbf":1000061}"#, Err(Refusal::NotYetValid { not_before: 1_000_061, now: NOW })),
            (r#"{"iat":1}"#, Err(Refusal::MissingClaim { claim: "exp" })),
            (r#"{"exp":2000000}"#, Err(Refusal::MissingClaim { claim: "iat" })),
            (r#"{"exp":"2000000","iat":1}"#, Err(Refusal::WrongClaimType { claim: "exp" })),
            (r#"{"exp":null,"iat":1}"#, Err(Refusal::WrongClaimType { claim: "exp" })),
            (r#"{"exp":2000000,"iat":[1]}"#, Err(Refusal::WrongClaimType { claim: "iat" })),
            (r#"{"exp":2000000,"iat":1,"nbf":"1"}"#, Err(Refusal::WrongClaimType { claim: "nbf" })),
            (r#"{"exp":2000000,"iat":1,"nbf":null}"#, Err(Refusal::WrongClaimType { claim: "nbf" })),
        ] {
            assert_eq!(times(payload), result, "{payload}");
        }
    }

    #[test]
    fn the_audience_is_a_string_or_an_array_of_strings() {
        let accepted = ["api://default".to_owned(), "api://other".to_owned()];
        let wrong = |audiences: &[&str]| {
            Err(Refusal::WrongAudience { audiences: audiences.iter().map(|&audience| audience.to_owned()).collect() })
        };
        for (payload, result) in [
            (r#"{"aud":"api://default"}"#, Ok(())),
            (r#"{"aud":["x","api://other"]}"#, Ok(())),
            (r#"{"aud":"api://default/"}"#, wrong(&["api://default/"])),
            (r#"{"aud":["a","b"]}"#, wrong(&["a", "b"])),
            (r#"{"aud":[]}"#, wrong(&[])),
            (r"{}", Err(Refusal::MissingClaim { claim: "aud" })),
            (r#"{"aud":null}"#, Err(Refusal::WrongClaimType { claim: "aud" })),
            (r#"{"aud":["api://default",1]}"#, Err(Refusal::WrongClaimType { claim: "aud" })),
            (r#"{"aud":{"api://default":1}}"#, Err(Refusal::WrongClaimType { claim: "aud" })),
        ] {
            assert_eq!(check_audience(&claims(payload), &accepted), result, "{payload}");
        }
    }

    #[test]
    fn the_client_must_be_accepted_if_clients_are_listed() {
        let accepted = ["0oa1".to_owned()];
        for (payload, result) in [
            (r#"{"cid":"0oa1"}"#, Ok(())),
            (r#"{"cid":"0oa2"}"#, Err(Refusal::WrongClient { client: "0oa2".to_owned() })),
            (r"{}", Err(Refusal::MissingClaim { claim: "cid" })),
            (r#"{"cid":["0oa1"]}"#, Err(Refusal::WrongClaimType { claim: "cid" })),
        ] {
            assert_eq!(check_client(&claims(payload), &accepted), result, "{payload}");
        }
        assert_eq!(check_client(&claims("{}"), &[]), Ok(()));
    }
}
