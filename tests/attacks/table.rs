//! The list of all tables of attacks, and how a table makes its rows.

use std::fmt;

use okta_authorizer_testkit::{
    env::Env,
    event,
    keys::{self, encode, jwks},
    token, with,
};
use serde_json::{Value, json};

use crate::{algorithms, claims, encodings, events, headers, signatures};

pub const HEADER: &str = r#"{"alg":"RS256","kid":"main"}"#;

/// One attack and its control.
pub struct Row {
    /// The section of the RFC that forbids the attack, or the CVE of a program that accepted it.
    pub source: String,
    pub name: String,
    /// The event, as JSON text.
    pub attack: String,
    /// The reason on the decision line. In process, a space and the evidence of the refusal follow:
    /// its claim, part or size.
    pub reason: String,
    /// The event without what makes the attack bad. It must be allowed.
    pub control: String,
    /// The time of the check, if the row brings its own clock. Such a row runs in process only,
    /// because the binary reads the real time.
    pub now: Option<u64>,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name: String = self.name.escape_debug().take(200).collect();
        write!(f, "{name} ({})", self.source)
    }
}

/// Collects the rows of one table.
pub struct Rows {
    /// Claims of time are relative to this, in epoch seconds.
    pub now: u64,
    rows: Vec<Row>,
}

impl Rows {
    /// Adds a row: an attack event and its control.
    pub fn event(
        &mut self,
        source: &str,
        name: impl Into<String>,
        attack: String,
        reason: impl Into<String>,
        control: String,
    ) -> &mut Row {
        let (source, name, reason) = (source.to_owned(), name.into(), reason.into());
        self.rows.push(Row { source, name, attack, reason, control, now: None });
        self.rows.last_mut().unwrap()
    }

    /// Adds a row: two values of the `Authorization` header.
    pub fn token(
        &mut self,
        source: &str,
        name: impl Into<String>,
        attack: impl AsRef<str>,
        reason: impl Into<String>,
        control: impl AsRef<str>,
    ) -> &mut Row {
        self.event(source, name, event(attack.as_ref()), reason, event(control.as_ref()))
    }

    /// Adds a row: two JOSE headers over the same good claims.
    pub fn header(
        &mut self,
        source: &str,
        attack: impl AsRef<[u8]>,
        reason: impl Into<String>,
        control: impl AsRef<[u8]>,
    ) -> &mut Row {
        let payload = self.claims().to_string();
        let name = String::from_utf8_lossy(attack.as_ref()).into_owned();
        self.token(source, name, keys::main().sign(attack, &payload), reason, keys::main().sign(control, &payload))
    }

    /// Adds a row: two payloads under the same good header.
    pub fn payload(
        &mut self,
        source: &str,
        attack: impl AsRef<[u8]>,
        reason: impl Into<String>,
        control: impl AsRef<[u8]>,
    ) -> &mut Row {
        let name = String::from_utf8_lossy(attack.as_ref()).into_owned();
        self.token(source, name, keys::main().sign(HEADER, attack), reason, keys::main().sign(HEADER, control))
    }

    /// Good claims.
    pub fn claims(&self) -> Value {
        good_claims(self.now)
    }

    /// The good claims as JSON text, with one of them set to a JSON text.
    pub fn claims_with(&self, claim: &str, json: &str) -> String {
        let mut others = self.claims();
        others.as_object_mut().unwrap().remove(claim);
        spliced(&format!("\"{claim}\":{json}"), &others.to_string())
    }

    /// A good token.
    pub fn good(&self) -> String {
        keys::main().token(&self.claims())
    }

    /// What is signed: a header, and the good claims.
    pub fn signing_input(&self, header: &str) -> String {
        format!("{}.{}", encode(header), encode(self.claims().to_string()))
    }
}

/// Claims that are good at `now`.
pub fn good_claims(now: u64) -> Value {
    with(&token::claims(), &json!({ "iat": now - 60, "exp": now + 3600 }))
}

/// `object`, a JSON text, with one more member in front.
pub fn spliced(member: &str, object: &str) -> String {
    format!("{{{member},{}", object.strip_prefix('{').unwrap())
}

/// The header, payload and signature of a token.
pub fn parts(token: &str) -> [&str; 3] {
    token.split('.').collect::<Vec<_>>().try_into().unwrap()
}

/// Attacks on one configuration.
pub struct Table {
    pub name: &'static str,
    pub env: Env,
    fill: fn(&mut Rows),
}

impl Table {
    pub fn rows(&self, now: u64) -> Vec<Row> {
        let mut rows = Rows { now, rows: Vec::new() };
        (self.fill)(&mut rows);
        assert!(!rows.rows.is_empty(), "{} has no rows", self.name);
        rows.rows
    }
}

/// All tables.
pub fn tables() -> Vec<Table> {
    macro_rules! table {
        ($env:expr, $fill:path) => {
            Table { name: stringify!($fill), env: $env.clone(), fill: $fill }
        };
    }
    let usual = Env::pinned(&jwks(&[keys::main(), keys::second()]));
    let skew = |seconds: &str| usual.clone().with("CLOCK_SKEW_SECONDS", seconds);
    vec![
        table!(usual, algorithms::alg_is_exactly_rs256),
        table!(usual, algorithms::a_token_must_be_signed),
        table!(usual, algorithms::a_public_key_is_not_an_hmac_secret),
        table!(usual, algorithms::another_scheme_of_the_same_key_is_not_rs256),
        table!(usual, algorithms::the_header_that_names_the_algorithm_is_signed),
        table!(usual, claims::a_required_claim_is_present),
        table!(usual, claims::a_claim_of_the_wrong_type_is_not_a_missing_claim),
        table!(usual, claims::no_member_name_occurs_twice),
        table!(usual, claims::issuer_and_audience_are_compared_byte_for_byte),
        table!(usual.clone().with("OKTA_ISSUER", claims::TWO_ISSUERS), claims::only_configured_issuers_are_accepted),
        table!(
            usual.clone().with("OKTA_AUDIENCE", "api://one, api://two"),
            claims::any_configured_audience_is_accepted
        ),
        table!(
            usual.clone().with("OKTA_ALLOWED_CLIENT_IDS", claims::CLIENTS),
            claims::the_client_is_one_of_those_configured
        ),
        table!(skew("0"), claims::time_limits::<0>),
        table!(skew("1"), claims::time_limits::<1>),
        table!(skew("60"), claims::time_limits::<60>),
        table!(skew("300"), claims::time_limits::<300>),
        table!(usual, claims::odd_times_are_refused_or_taken_literally),
        table!(usual, claims::a_sender_constrained_token_is_refused),
        table!(usual, claims::optional_and_unknown_members_are_not_required),
        table!(usual, encodings::base64url_is_canonical_and_unpadded),
        table!(usual, encodings::header_and_payload_are_each_one_json_object),
        table!(usual, encodings::a_token_has_three_parts),
        table!(usual, encodings::a_token_has_at_most_16_kib),
        table!(usual, events::the_header_value_is_one_bearer_token),
        table!(usual, events::only_token_events_are_accepted),
        table!(usual, events::an_unusable_method_arn_is_a_fault),
        table!(usual, headers::every_critical_extension_is_refused),
        table!(usual, headers::the_payload_is_always_base64url),
        table!(usual, headers::a_token_in_a_token_is_refused),
        table!(usual, headers::typ_is_absent_or_that_of_an_access_token),
        table!(usual, crate::keys::a_key_in_the_token_is_ignored),
        table!(usual, crate::keys::kid_is_only_compared),
        table!(crate::keys::mixed(), crate::keys::only_keys_for_rs256_signatures_are_used),
        table!(crate::keys::unusual(), crate::keys::a_key_has_2048_to_8192_bits_and_a_usual_exponent),
        table!(Env::pinned(&jwks(&[keys::second()])), crate::keys::only_published_keys_are_used),
        table!(usual, signatures::the_signature_covers_these_bytes),
        table!(signatures::forgery_env(), signatures::only_the_one_encoding_of_the_digest_is_accepted),
    ]
}
