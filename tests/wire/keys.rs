//! Where the binary's keys come from: at init, in later calls, and through the table. `tests/fleet`
//! asserts every failure, pause and time limit of a key store, to the second.

use okta_authorizer_testkit::{
    Failures, arn,
    env::Env,
    event,
    keys::{self, Key, jwks},
    now,
    okta::{Okta, Reply},
    runtime_api::{Answer, Authorizer},
    table::{SilentServer, Table, item, partition_key},
    token::claims_of,
    with,
};
use serde_json::{Value, json};
use tokio::sync::watch;

/// The answer to a valid token of this issuer, signed by `key`.
async fn answer(authorizer: &Authorizer, okta: &Okta, key: Key) -> Answer {
    authorizer.invoke(event(&format!("Bearer {}", key.token(&claims_of(&okta.issuer()))))).await
}

async fn is_allowed(authorizer: &Authorizer, okta: &Okta, key: Key) -> bool {
    answer(authorizer, okta, key).await.allows(&arn("GET /apps"))
}

async fn is_refused(authorizer: &Authorizer, okta: &Okta, key: Key) -> bool {
    answer(authorizer, okta, key).await.is_unauthorized()
}

async fn is_fault(authorizer: &Authorizer, okta: &Okta, key: Key) -> bool {
    answer(authorizer, okta, key).await.is_fault()
}

/// A number in the table's item of this issuer.
fn number(item: &Value, name: &str) -> u64 {
    let digits = item.pointer(&format!("/{name}/N")).and_then(Value::as_str);
    let number = digits.and_then(|digits| digits.parse().ok());
    number.unwrap_or_else(|| panic!("{name} is not a whole number: {item}"))
}

#[tokio::test]
async fn keys_are_loaded_at_init_and_a_warm_call_sends_no_request() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main(), keys::second()]))).await;
    let authorizer = Authorizer::start(&Env::okta(&[&okta])).await;
    assert_eq!(okta.requests(), 1, "before the first event");
    for _ in 0..20 {
        assert!(is_allowed(&authorizer, &okta, keys::main()).await);
        assert!(is_allowed(&authorizer, &okta, keys::second()).await);
        assert!(is_refused(&authorizer, &okta, keys::attacker().named("main")).await);
    }
    assert_eq!((okta.requests(), okta.unexpected_requests()), (1, 0));
}

#[tokio::test]
async fn the_keys_endpoint_can_be_on_another_host_than_the_issuer() {
    let issuer = Okta::start(Reply::keys(&jwks(&[keys::attacker()]))).await;
    let mirror = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
    let env = Env::okta(&[&issuer]).with("OKTA_KEYS_ENDPOINT", mirror.keys_endpoint());
    let authorizer = Authorizer::start(&env).await;
    assert!(is_allowed(&authorizer, &issuer, keys::main()).await);
    assert!(is_refused(&authorizer, &issuer, keys::attacker()).await);
    assert!(is_refused(&authorizer, &mirror, keys::main()).await, "the mirror is not an issuer");
    assert_eq!((issuer.requests(), issuer.unexpected_requests()), (0, 0));
}

#[tokio::test]
async fn with_pinned_keys_there_is_no_network_request() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::attacker()]))).await;
    let table = SilentServer::start().await;
    let env = Env::okta(&[&okta]).table(&table.endpoint).with("OKTA_JWKS", jwks(&[keys::main()]).to_string());
    let authorizer = Authorizer::start(&env).await;
    assert!(is_allowed(&authorizer, &okta, keys::main()).await);
    for _ in 0..10 {
        assert!(is_refused(&authorizer, &okta, keys::attacker()).await);
    }
    assert!(is_allowed(&authorizer, &okta, keys::main()).await);
    assert_eq!((okta.requests(), okta.unexpected_requests(), table.connections()), (0, 0, 0));
}

#[tokio::test]
async fn a_key_of_one_issuer_does_not_verify_tokens_of_another() {
    let one = Okta::start(Reply::keys(&jwks(&[keys::main().named("shared"), keys::main()]))).await;
    let two = Okta::start(Reply::keys(&jwks(&[keys::second().named("shared"), keys::second()]))).await;
    let table = Table::start().await;
    for env in [Env::okta(&[&one, &two]), Env::okta(&[&one, &two]).table(&table.endpoint)] {
        let authorizer = Authorizer::start(&env).await;
        let mut failures = Failures::default();
        for (okta, own, foreign) in [(&one, keys::main(), keys::second()), (&two, keys::second(), keys::main())] {
            for key in [own, own.named("shared")] {
                let allowed = is_allowed(&authorizer, okta, key).await;
                failures.check(allowed, || format!("{}: own key {}", okta.issuer(), key.kid));
            }
            for key in [foreign, foreign.named("shared"), foreign.named(own.kid), own.named(foreign.kid)] {
                let refused = is_refused(&authorizer, okta, key).await;
                failures.check(refused, || format!("{}: foreign key {}", okta.issuer(), key.kid));
            }
        }
        failures.report();
    }
}

#[tokio::test]
async fn an_issuer_that_is_down_does_not_affect_the_other() {
    let up = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
    let down = Okta::start(Reply::HangUp).await;
    let authorizer = Authorizer::start(&Env::okta(&[&down, &up])).await;
    assert!(is_allowed(&authorizer, &up, keys::main()).await);
    assert!(is_fault(&authorizer, &down, keys::second()).await);
    assert!(is_allowed(&authorizer, &up, keys::main()).await);
    assert!(is_fault(&authorizer, &down, keys::second()).await);
    assert_eq!((up.requests(), down.requests()), (1, 1));
}

#[tokio::test]
async fn without_keys_a_malformed_token_is_still_unauthorized() {
    let okta = Okta::start(Reply::HangUp).await;
    let authorizer = Authorizer::start(&Env::okta(&[&okta])).await;
    for malformed in ["", "Bearer", "Bearer x", "Basic x", "Bearer a.b.c"] {
        assert!(authorizer.invoke(event(malformed)).await.is_unauthorized(), "{malformed:?}");
    }
    assert!(is_fault(&authorizer, &okta, keys::main()).await);
}

#[tokio::test]
async fn fetched_keys_are_written_to_the_table_for_other_instances() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main(), keys::second()]))).await;
    let table = Table::start().await;
    let env = Env::okta(&[&okta]).table(&table.endpoint);
    let before = now();
    let first = Authorizer::start(&env).await;
    assert!(is_allowed(&first, &okta, keys::main()).await);
    assert_eq!(okta.requests(), 1);

    let item = table.item(&okta.keys_endpoint()).expect("the item exists");
    assert_eq!(item["PK"]["S"], partition_key(&okta.keys_endpoint()));
    let stored: Value = serde_json::from_str(item["keys"]["S"].as_str().unwrap()).expect("a JWKS as text");
    let kids: Vec<_> = stored["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!(kids, ["main", "second"]);
    let fetched_at = number(&item, "fetched_at");
    assert!((before..=now()).contains(&fetched_at), "{item}");
    assert_eq!((number(&item, "refresh_at"), number(&item, "expires_at")), (fetched_at + 3_600, fetched_at + 86_400));

    let second = Authorizer::start(&env).await;
    for _ in 0..5 {
        assert!(is_allowed(&second, &okta, keys::main()).await);
        assert!(is_allowed(&second, &okta, keys::second()).await);
    }
    assert_eq!(okta.requests(), 1, "the second instance has the keys from the table");
}

#[tokio::test]
async fn keys_in_the_table_need_no_request_to_okta() {
    let okta = Okta::start(Reply::HangUp).await;
    let table = Table::start().await;
    table.put(&item(&okta.keys_endpoint(), &jwks(&[keys::main()]), now(), 100));
    let authorizer = Authorizer::start(&Env::okta(&[&okta]).table(&table.endpoint)).await;
    assert_eq!(table.reads(), 1, "before the first event");
    for _ in 0..10 {
        assert!(is_allowed(&authorizer, &okta, keys::main()).await);
        assert!(is_refused(&authorizer, &okta, keys::attacker().named("main")).await);
    }
    assert_eq!((okta.requests(), table.reads()), (0, 1));
}

#[tokio::test]
async fn without_its_table_an_instance_warns_and_asks_okta() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
    let table = Table::start().await;
    let not_dynamodb = Okta::start(Reply::HangUp).await;
    let env = Env::okta(&[&okta]);
    for (name, error, env) in [
        (
            "another name",
            "ResourceNotFoundException",
            env.clone().table(&table.endpoint).with("KEYS_TABLE_NAME", "another-table"),
        ),
        ("not DynamoDB", "keys table", env.table(&not_dynamodb.issuer())),
    ] {
        let before = okta.requests();
        let authorizer = Authorizer::start(&env).await;
        for _ in 0..3 {
            assert!(is_allowed(&authorizer, &okta, keys::main()).await, "{name}");
            assert!(is_refused(&authorizer, &okta, keys::attacker().named("main")).await, "{name}");
        }
        assert_eq!(okta.requests() - before, 1, "{name}");
        let lines = authorizer.stop().await;
        assert!(lines.iter().any(|line| line.contains("WARN") && line.contains(error)), "{name}: {lines:#?}");
    }
}

/// The messages of these log lines.
fn messages(lines: &[String]) -> Vec<String> {
    let lines = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| line.get("message").and_then(Value::as_str).unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_instance_that_loses_a_race_logs_no_warning() {
    let okta = Okta::start(Reply::HangUp).await;
    let endpoint = okta.keys_endpoint();
    let table = Table::start().await;
    let env = Env::okta(&[&okta]).table(&table.endpoint);
    let due = item(&endpoint, &jwks(&[keys::main()]), now(), 7_200);

    // Another instance has the lease.
    let claim = json!({ "lease_until": { "N": (now() + 3).to_string() }, "asked_at": { "N": now().to_string() } });
    table.put(&with(&due, &claim));
    let authorizer = Authorizer::start(&env).await;
    assert!(is_allowed(&authorizer, &okta, keys::main()).await);
    assert_eq!(messages(&authorizer.stop().await), ["started", "keys loaded", "decision"]);
    assert_eq!(okta.requests(), 0);

    // Another instance writes newer keys during the request to Okta.
    let gate = watch::Sender::new(false);
    okta.answer(Reply::keys(&jwks(&[keys::main()])).when_open(&gate));
    table.put(&due);
    let newer = item(&endpoint, &jwks(&[keys::main(), keys::second()]), now(), 0);
    let other_instance = async {
        okta.wait_for_requests(1).await;
        table.put(&newer);
        gate.send_replace(true);
    };
    let (authorizer, ()) = tokio::join!(Authorizer::start(&env), other_instance);
    assert_eq!(messages(&authorizer.stop().await), ["started", "keys loaded", "keys refreshed"]);
    assert_eq!(table.item(&endpoint), Some(newer), "the newer keys were overwritten");
}

#[tokio::test]
async fn the_refresh_age_is_configured_and_okta_can_shorten_it() {
    let body = jwks(&[keys::main()]).to_string();
    let mut failures = Failures::default();
    for (headers, configured, refresh_seconds) in [
        ("cache-control: max-age=600\r\n", "", 600),
        ("cache-control: max-age=86400, must-revalidate\r\n", "", 3_600),
        ("", "900", 900),
        ("cache-control: max-age=600\r\n", "300", 300),
    ] {
        let okta = Okta::start(Reply::Body { headers: headers.to_owned(), body: body.clone() }).await;
        let table = Table::start().await;
        let env = Env::okta(&[&okta]).table(&table.endpoint).with("KEYS_REFRESH_SECONDS", configured);
        let authorizer = Authorizer::start(&env).await;
        let name = format!("{headers:?}, {configured:?}");
        failures.check(is_allowed(&authorizer, &okta, keys::main()).await, || format!("{name}: not allowed"));
        let item = table.item(&okta.keys_endpoint()).unwrap();
        let seconds = ["refresh_at", "expires_at"].map(|time| number(&item, time) - number(&item, "fetched_at"));
        failures.check(seconds == [refresh_seconds, 86_400], || format!("{name}: {seconds:?}"));
    }
    failures.report();
}

#[tokio::test]
async fn keys_expire_at_the_configured_age() {
    let okta = Okta::start(Reply::HangUp).await;
    for (age, configured, is_usable) in
        [(7_200, "", true), (7_200, "7000", false), (7_200, "7600", true), (86_500, "", false)]
    {
        let table = Table::start().await;
        table.put(&item(&okta.keys_endpoint(), &jwks(&[keys::main()]), now(), age));
        let env = Env::okta(&[&okta]).table(&table.endpoint).with("KEYS_MAX_STALE_SECONDS", configured);
        let answer = answer(&Authorizer::start(&env).await, &okta, keys::main()).await;
        let (allows, is_fault) = (answer.allows(&arn("GET /apps")), answer.is_fault());
        assert_eq!((allows, is_fault), (is_usable, !is_usable), "{age}, {configured:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_rotated_key_is_accepted_in_the_first_call_with_it() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::second()]))).await;
    let table = Table::start().await;
    table.put(&item(&okta.keys_endpoint(), &jwks(&[keys::main()]), now(), 100));
    let authorizer = Authorizer::start(&Env::okta(&[&okta]).table(&table.endpoint)).await;
    assert!(is_allowed(&authorizer, &okta, keys::main()).await);
    assert_eq!(okta.requests(), 0);
    assert!(is_allowed(&authorizer, &okta, keys::second()).await, "Okta has rotated its keys");
    assert_eq!(okta.requests(), 1);
    assert!(is_refused(&authorizer, &okta, keys::main()).await, "Okta has withdrawn this key");
    assert!(is_allowed(&authorizer, &okta, keys::second()).await);
    assert_eq!(okta.requests(), 2, "the withdrawn kid is an unknown one now");
}
