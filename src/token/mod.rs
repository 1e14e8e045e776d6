//! Is the token good? From the header's value to verified [`Claims`], or a [`Refusal`].
//!
//! Pure but for introspection: no clock, no network. Everything read before the signature has passed says `unverified` in its name.

mod bearer;
mod claims;
mod introspection;
mod json;
mod verify;

pub use bearer::{BearerToken, UnverifiedToken};
pub use claims::{Claims, Unreadable};
pub use introspection::{ClientCredentials, Introspection, IntrospectionError};
pub use verify::{Expectations, verify};

/// Why a token is not good. The client sees 401 for each of them; only the log tells which it was.
///
/// The evidence in the variants is safe to log: no token, no signature, no claim's value but times.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The payload is not a TOKEN authorizer event.
    #[error("the payload is not a TOKEN authorizer event")]
    NotATokenEvent,
    /// No header value, or a scheme with nothing behind it.
    #[error("there is no token")]
    MissingToken,
    /// A scheme other than `Bearer` (RFC 6750 §2.1).
    #[error("the scheme is not Bearer")]
    NotBearer,
    /// Longer than [`BearerToken::MAX_BYTES`].
    #[error("the token has {bytes} bytes")]
    TooLong {
        /// The token's length.
        bytes: usize,
    },
    /// Not three parts (RFC 7515 §7.1).
    #[error("the token has not three parts")]
    NotThreeParts,
    /// Not unpadded, canonical base64url (RFC 7515 §2).
    #[error("the {part} is not base64url")]
    BadBase64 {
        /// `header` or `payload`.
        part: &'static str,
    },
    /// Not one JSON object with unique member names (RFC 7515 §4, RFC 7519 §4).
    #[error("the {part} is not a JSON object with unique names")]
    BadJson {
        /// `header` or `payload`.
        part: &'static str,
    },
    /// `alg` is not `RS256`.
    #[error("alg is not RS256")]
    WrongAlgorithm,
    /// `kid` is absent, empty or no string.
    #[error("kid is not a non-empty string")]
    BadKid,
    /// `crit` is present: we understand no extension (RFC 7515 §4.1.11).
    #[error("crit is not supported")]
    CriticalHeader,
    /// `typ` is none of `JWT`, `at+jwt`, `application/at+jwt` (RFC 9068 §2.1).
    #[error("typ is not that of an access token")]
    WrongType,
    /// `iss` is no configured issuer.
    #[error("iss is no configured issuer")]
    UnknownIssuer,
    /// The issuer has no key with this `kid`.
    #[error("the issuer has no key with this kid")]
    UnknownKid,
    /// The signature does not verify under the key that `kid` names.
    #[error("the signature does not verify")]
    BadSignature,
    /// A required claim is absent.
    #[error("the claim {claim} is missing")]
    MissingClaim {
        /// The claim's name.
        claim: &'static str,
    },
    /// A claim is present with another type than RFC 7519 §4.1 or Okta give it.
    #[error("the claim {claim} has the wrong type")]
    WrongClaimType {
        /// The claim's name.
        claim: &'static str,
    },
    /// `aud` holds no accepted audience.
    #[error("aud holds no accepted audience")]
    WrongAudience,
    /// `exp` plus the skew has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` less the skew is still to come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iat` less the skew is still to come.
    #[error("the token was issued in the future")]
    IssuedInTheFuture,
    /// `cid` is none of the accepted clients.
    #[error("cid is no accepted client")]
    WrongClient,
    /// `cnf` binds the token to a proof that a TOKEN authorizer cannot see (RFC 7800 §3).
    #[error("the token is sender-constrained")]
    SenderConstrained,
    /// Okta says that the token is not active any more (RFC 7662 §2.2).
    #[error("the token is not active any more")]
    Inactive,
}

impl Refusal {
    /// The stable name that stands in the log.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotATokenEvent => "not_a_token_event",
            Self::MissingToken => "missing_token",
            Self::NotBearer => "not_bearer",
            Self::TooLong { .. } => "too_long",
            Self::NotThreeParts => "not_three_parts",
            Self::BadBase64 { .. } => "bad_base64",
            Self::BadJson { .. } => "bad_json",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::BadKid => "bad_kid",
            Self::CriticalHeader => "critical_header",
            Self::WrongType => "wrong_type",
            Self::UnknownIssuer => "unknown_issuer",
            Self::UnknownKid => "unknown_kid",
            Self::BadSignature => "bad_signature",
            Self::MissingClaim { .. } => "missing_claim",
            Self::WrongClaimType { .. } => "wrong_claim_type",
            Self::WrongAudience => "wrong_audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::IssuedInTheFuture => "issued_in_the_future",
            Self::WrongClient => "wrong_client",
            Self::SenderConstrained => "sender_constrained",
            Self::Inactive => "inactive",
        }
    }
}
