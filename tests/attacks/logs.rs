//! What the real binary's log says about all of these tables.

use std::collections::BTreeSet;

use okta_authorizer_testkit::{env::Env, event_for, runtime_api::Authorizer, token::claims as good_now};
use serde_json::{Value, json};

use crate::{
    algorithms, claims, encodings, events, forgeries, headers, keys,
    table::{ISSUER, STAGE, good_claims, recorded, with},
    test_keys,
};

const TABLES: &[fn()] = &[
    algorithms::the_algorithm_is_rs256_to_the_letter,
    algorithms::a_token_without_a_signature_is_no_token,
    algorithms::the_public_key_is_no_hmac_secret,
    algorithms::the_named_key_and_another_scheme_is_no_rs256,
    algorithms::the_header_that_chose_the_algorithm_is_the_one_that_is_signed,
    claims::a_required_claim_is_there,
    claims::a_claim_of_the_wrong_type_is_not_a_missing_claim,
    claims::no_name_stands_twice,
    claims::the_issuer_and_the_audience_are_compared_byte_for_byte,
    claims::a_token_of_one_issuer_is_not_good_for_another,
    claims::times_beyond_all_clocks_are_refused_or_mean_what_they_say,
    claims::time_may_stand_at_either_end,
    claims::the_client_is_one_that_was_named,
    claims::a_token_bound_to_a_proof_is_refused_without_it,
    encodings::base64url_is_unpadded_canonical_and_of_its_own_alphabet,
    encodings::header_and_payload_are_each_one_json_object_in_utf_8,
    encodings::a_token_has_three_parts_that_are_not_empty,
    encodings::a_token_is_at_most_16_kib,
    events::the_header_value_is_bearer_and_one_token_or_a_bare_token,
    events::an_event_that_is_none_is_refused,
    events::a_good_token_for_an_arn_that_is_none_is_a_fault_and_a_bad_one_a_refusal,
    forgeries::a_signature_is_the_one_that_the_key_makes_of_the_one_encoding,
    headers::a_critical_extension_is_refused_whatever_it_says,
    headers::a_payload_is_base64url_whatever_b64_says,
    headers::a_token_inside_a_token_is_no_token,
    headers::the_type_is_absent_or_an_access_tokens,
    keys::a_key_that_the_token_brings_or_points_to_is_ignored,
    keys::a_kid_is_a_name_and_nothing_more,
    keys::a_key_of_the_set_that_is_not_for_rs256_signatures_verifies_nothing,
    keys::the_set_may_be_a_single_key_and_a_token_of_no_issuers_key_is_refused,
];

/// Characters that would change how a line reads: all of them are escaped.
const ODD: [&str; 12] = [
    "\u{202e}",
    "\u{2066}",
    "\u{200f}",
    "\u{200b}",
    "\u{feff}",
    "\u{2028}",
    "\u{85}",
    "\u{1b}[2K",
    "\r\n",
    "\0",
    "\u{7f}",
    "\u{1f600}",
];

#[tokio::test]
async fn every_attack_is_one_line_that_tells_no_secret_and_cannot_be_forged() {
    let made: Value = serde_json::from_str(include_str!("fixtures/forgeries.json")).unwrap();
    let mut published = made["jwks"]["keys"].as_array().unwrap().clone();
    published.extend([test_keys::main().jwk(), test_keys::second().jwk()]);
    let env = Env::pinned(&json!({ "keys": published })).with("OKTA_ISSUER", ISSUER).with("CLOCK_SKEW_SECONDS", "300");

    let mut events = recorded(|| TABLES.iter().for_each(|table| table()));
    let now = |members: Value| {
        let claims = with(&good_now(), &json!({ "iss": ISSUER, "sub": good_claims()["sub"] }));
        test_keys::main().token(&with(&claims, &members))
    };
    for odd in ODD {
        let text = format!("x{odd}{{\"outcome\":\"allow\"}}");
        events.push(event_for(&now(json!({ "uid": text, "cid": text, "jti": text })), &format!("{STAGE}/GET/apps")));
        events.push(event_for(&now(json!({})), &format!("{STAGE}/GET/apps/{text}")));
        events.push(event_for(&now(json!({})), &format!("{STAGE}/DELETE/apps/{text}")));
        events.push(event_for(&now(json!({})), &text));
        let header = json!({ "alg": "RS256", "kid": text }).to_string();
        events
            .push(event_for(&test_keys::main().sign(header, good_claims().to_string()), &format!("{STAGE}/GET/apps")));
    }
    println!("{} events", events.len());
    assert!(events.len() > 1_500, "a test of little: {}", events.len());

    let authorizer = Authorizer::start(&env).await;
    for event in &events {
        authorizer.invoke(event.as_str()).await;
    }
    let lines = authorizer.stop().await;
    let decisions: Vec<Value> = lines
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| line.get("outcome").is_some())
        .collect();
    assert_eq!(decisions.len(), events.len(), "one line for each decision");
    let outcomes: BTreeSet<_> = decisions.iter().filter_map(|line| line["outcome"].as_str()).collect();
    assert_eq!(outcomes, BTreeSet::from(["allow", "deny", "fault", "refused"]));

    let log = lines.join("\n");
    for line in &lines {
        assert!(line.chars().all(|c| matches!(c, ' '..='~' | '…')), "{line}");
    }
    assert!(!log.contains(good_claims()["sub"].as_str().unwrap()), "a sub");
    assert!(!log.contains("authorizationToken"), "an event");
    let mut parts = BTreeSet::new();
    for event in &events {
        let is_digit = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let found: Value = serde_json::from_str(event).unwrap_or_default();
        let token = found["authorizationToken"].as_str().unwrap_or_default().to_owned();
        parts.extend(token.split(|c| !is_digit(c)).filter(|part| part.len() >= 40).map(|part| part[..40].to_owned()));
    }
    assert!(parts.len() > 500, "a test of little: {} parts", parts.len());
    // The first 40 characters of a part are more than any line may have of it.
    let said: Vec<_> = parts.iter().filter(|part| log.contains(part.as_str())).collect();
    assert!(said.is_empty(), "{said:#?}");
}
