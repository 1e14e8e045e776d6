//! Is the token good? From the header's value to verified [`Claims`], or a [`Refusal`].
//!
//! Only introspection uses the network; everything else here is pure. The claims, the `kid` and the
//! `iss` of an unverified token have `unverified` in their names.

mod bearer;
mod claims;
mod introspection;
mod verify;

pub use bearer::{BearerToken, UnverifiedToken};
pub use claims::Claims;
pub use introspection::{ClientCredentials, Introspection, IntrospectionError};
pub use verify::{Expectations, verify};

/// Why a token is refused. The client sees 401 for all of them; only the log names the reason.
///
/// The text says what was wrong with the evidence in the variant, and is on the decision line. The
/// evidence is never a part of the signature or a whole part of the token. It comes from the
/// caller, can be as long as the token, and is verified only if the signature was checked before.
/// The log cuts and escapes it. Times are in epoch seconds without fractions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Refusal {
    /// The payload is not a TOKEN authorizer event.
    #[error("the payload is not a TOKEN authorizer event")]
    NotATokenEvent,
    /// The header has no value, or a scheme without a token.
    #[error("there is no token")]
    MissingToken,
    /// The scheme is not `Bearer` (RFC 6750 §2.1).
    #[error("the scheme is not Bearer")]
    NotBearer,
    /// The token is longer than [`BearerToken::MAX_BYTES`].
    #[error("the token has {bytes} bytes; at most {} are accepted", BearerToken::MAX_BYTES)]
    TooLong {
        /// The token's length.
        bytes: usize,
    },
    /// The token does not have three parts (RFC 7515 §7.1).
    #[error("the token has {parts} parts, and not three")]
    NotThreeParts {
        /// How many it has.
        parts: usize,
    },
    /// The token has the five parts of an encrypted one (RFC 7516 §7.1).
    #[error("the token has the five parts of an encrypted one")]
    EncryptedToken,
    /// A part is not canonical base64url without padding (RFC 7515 §2).
    #[error("the {part} is not base64url")]
    BadBase64 {
        /// `header` or `payload`.
        part: &'static str,
    },
    /// A part is not one JSON object with unique member names (RFC 7515 §4, RFC 7519 §4).
    #[error("the {part} is not a JSON object with unique names")]
    BadJson {
        /// `header` or `payload`.
        part: &'static str,
    },
    /// `alg` is not `RS256`.
    #[error("alg is not RS256: {alg}")]
    WrongAlgorithm {
        /// The header's `alg`, not verified.
        alg: String,
    },
    /// `kid` is absent, empty or not a string.
    #[error("kid is not a non-empty string")]
    BadKid,
    /// `crit` is present, but no extension is supported (RFC 7515 §4.1.11).
    #[error("crit is not supported")]
    CriticalHeader,
    /// `typ` is not `JWT`, `at+jwt` or `application/at+jwt` (RFC 9068 §2.1).
    #[error("typ is not that of an access token: {typ}")]
    WrongType {
        /// The header's `typ`, not verified.
        typ: String,
    },
    /// `iss` is not a configured issuer.
    #[error("iss is not a configured issuer: {issuer}")]
    UnknownIssuer {
        /// `iss`, not verified.
        issuer: String,
    },
    /// The issuer has no key with this `kid`.
    #[error("the issuer has no key with this kid")]
    UnknownKid,
    /// The signature does not verify with the key that `kid` names.
    #[error("the signature does not verify")]
    BadSignature,
    /// A required claim is absent.
    #[error("the claim {claim} is missing")]
    MissingClaim {
        /// The claim's name.
        claim: &'static str,
    },
    /// A claim has another type than RFC 7519 §4.1 or Okta define.
    #[error("the claim {claim} has the wrong type")]
    WrongClaimType {
        /// The claim's name.
        claim: &'static str,
    },
    /// `aud` contains no accepted audience.
    #[error("aud contains no accepted audience: {}", audiences.join(", "))]
    WrongAudience {
        /// `aud`, verified.
        audiences: Vec<String>,
    },
    /// `exp` plus the clock skew is in the past.
    #[error("the token expired {} s ago, at {expired_at}", seconds(*now, *expired_at))]
    Expired {
        /// `exp`.
        expired_at: i64,
        /// The time of the check.
        now: u64,
    },
    /// `nbf` minus the clock skew is in the future.
    #[error("the token is not valid before {not_before}, which is in {} s", seconds(*now, *not_before))]
    NotYetValid {
        /// `nbf`.
        not_before: i64,
        /// The time of the check.
        now: u64,
    },
    /// `iat` minus the clock skew is in the future.
    #[error("the token was issued at {issued_at}, which is in {} s", seconds(*now, *issued_at))]
    IssuedInTheFuture {
        /// `iat`.
        issued_at: i64,
        /// The time of the check.
        now: u64,
    },
    /// `cid` is not an accepted client.
    #[error("cid is not an accepted client: {client}")]
    WrongClient {
        /// `cid`, verified.
        client: String,
    },
    /// `cnf` binds the token to a proof that a TOKEN authorizer does not receive (RFC 7800 §3).
    #[error("the token is sender-constrained")]
    SenderConstrained,
    /// Okta's introspection says that the token is not active (RFC 7662 §2.2).
    #[error("the token is not active")]
    Inactive,
}

impl Refusal {
    /// The stable name of the refusal in the log, in snake case.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// Whether the same token can become good without any change to it: when its key is published,
    /// or when a time has come. Nobody may remember such a refusal.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::UnknownKid | Self::NotYetValid { .. } | Self::IssuedInTheFuture { .. })
    }
}

/// The seconds between now and a time in a token.
fn seconds(now: u64, time: i64) -> u128 {
    i128::from(now).abs_diff(i128::from(time))
}
