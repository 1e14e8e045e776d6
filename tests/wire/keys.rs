//! Design 5: where keys come from, and what happens when that is down or lies.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use okta_authorizer_testkit::{
    Failures, arn,
    env::Env,
    event,
    keys::{self, Key, jwks},
    now,
    okta::{Okta, Reply},
    runtime_api::Authorizer,
    table::{SilentServer, Table, closed_port, item, partition_key, unusable_items},
    token::claims_of,
    with,
};
use serde_json::{Value, json};

/// The event of a good token of this issuer by this key.
fn event_of(okta: &Okta, key: Key) -> String {
    event(&format!("Bearer {}", key.token(&claims_of(&okta.issuer()))))
}

async fn passes(authorizer: &Authorizer, okta: &Okta, key: Key) -> bool {
    authorizer.invoke(event_of(okta, key)).await.allows(&arn("GET /apps"))
}

async fn is_refused(authorizer: &Authorizer, okta: &Okta, key: Key) -> bool {
    authorizer.invoke(event_of(okta, key)).await.is_unauthorized()
}

async fn is_fault(authorizer: &Authorizer, okta: &Okta, key: Key) -> bool {
    authorizer.invoke(event_of(okta, key)).await.is_fault()
}

#[tokio::test]
async fn keys_are_loaded_at_init_and_a_warm_call_makes_no_request() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main(), keys::second()]))).await;
    let authorizer = Authorizer::start(&Env::okta(&[&okta])).await;
    assert_eq!(okta.requests(), 1, "before the first event");
    for _ in 0..20 {
        assert!(passes(&authorizer, &okta, keys::main()).await);
        assert!(passes(&authorizer, &okta, keys::second()).await);
        assert!(is_refused(&authorizer, &okta, keys::attacker().named("main")).await);
    }
    assert_eq!((okta.requests(), okta.unexpected_requests()), (1, 0));
}

#[tokio::test]
async fn the_keys_endpoint_can_be_another_one() {
    let issuer = Okta::start(Reply::keys(&jwks(&[keys::attacker()]))).await;
    let mirror = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
    let env = Env::okta(&[&issuer]).with("OKTA_KEYS_ENDPOINT", mirror.keys_endpoint());
    let authorizer = Authorizer::start(&env).await;
    assert!(passes(&authorizer, &issuer, keys::main()).await);
    assert!(is_refused(&authorizer, &issuer, keys::attacker()).await);
    assert!(is_refused(&authorizer, &mirror, keys::main()).await, "the mirror is no issuer");
    assert_eq!((issuer.requests(), issuer.unexpected_requests()), (0, 0));
}

#[tokio::test]
async fn pinned_keys_make_no_network_request_at_all() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::attacker()]))).await;
    let table = SilentServer::start().await;
    let env = Env::okta(&[&okta]).table(&table.endpoint).with("OKTA_JWKS", jwks(&[keys::main()]).to_string());
    let authorizer = Authorizer::start(&env).await;
    assert!(passes(&authorizer, &okta, keys::main()).await);
    for _ in 0..10 {
        assert!(is_refused(&authorizer, &okta, keys::attacker()).await);
    }
    assert!(passes(&authorizer, &okta, keys::main()).await);
    assert_eq!((okta.requests(), okta.unexpected_requests(), table.connections()), (0, 0, 0));
}

#[tokio::test]
async fn a_key_of_one_issuer_verifies_no_token_of_another() {
    let one = Okta::start(Reply::keys(&jwks(&[keys::main().named("shared-name"), keys::main()]))).await;
    let two = Okta::start(Reply::keys(&jwks(&[keys::second().named("shared-name"), keys::second()]))).await;
    let table = Table::start().await;
    for env in [Env::okta(&[&one, &two]), Env::okta(&[&one, &two]).table(&table.endpoint)] {
        let authorizer = Authorizer::start(&env).await;
        let mut failures = Failures::default();
        for (okta, own, foreign) in [(&one, keys::main(), keys::second()), (&two, keys::second(), keys::main())] {
            for good in [own, own.named("shared-name")] {
                failures.check(passes(&authorizer, okta, good).await, || format!("{} by {}", okta.issuer(), good.kid));
            }
            for bad in [foreign, foreign.named("shared-name"), foreign.named(own.kid), own.named(foreign.kid)] {
                failures.check(is_refused(&authorizer, okta, bad).await, || {
                    format!("{} by {} of the other", okta.issuer(), bad.kid)
                });
            }
        }
        failures.report();
    }
}

#[tokio::test]
async fn one_issuer_that_is_down_does_not_take_the_other_along() {
    let up = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
    let down = Okta::start(Reply::HangUp).await;
    let authorizer = Authorizer::start(&Env::okta(&[&down, &up])).await;
    assert!(passes(&authorizer, &up, keys::main()).await);
    assert!(is_fault(&authorizer, &down, keys::second()).await);
    assert!(passes(&authorizer, &up, keys::main()).await);
    down.answer(Reply::keys(&jwks(&[keys::second()])));
    assert!(passes(&authorizer, &down, keys::second()).await);
}

#[tokio::test]
async fn a_fetch_is_written_to_the_table_and_serves_the_next_instance() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main(), keys::second()]))).await;
    let table = Table::start().await;
    let env = Env::okta(&[&okta]).table(&table.endpoint);
    let before = now();
    let first = Authorizer::start(&env).await;
    assert!(passes(&first, &okta, keys::main()).await);
    assert_eq!(okta.requests(), 1);

    let item = table.item(&okta.keys_endpoint()).expect("an item for the next instance");
    let text = |name: &str| item[name]["S"].as_str().unwrap_or_else(|| panic!("{name} is no string: {item}"));
    let number = |name: &str| -> u64 {
        let digits = item[name]["N"].as_str().unwrap_or_else(|| panic!("{name} is no number: {item}"));
        digits.parse().unwrap_or_else(|_| panic!("{name} is no whole number: {item}"))
    };
    assert_eq!(text("PK"), partition_key(&okta.keys_endpoint()));
    let stored: Value = serde_json::from_str(text("keys")).expect("a JWKS as text");
    let kids: Vec<_> = stored["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!(kids, ["main", "second"]);
    assert!((before..=now()).contains(&number("fetched_at")), "{item}");
    assert_eq!(number("refresh_at"), number("fetched_at") + 3600);
    assert_eq!(number("expires_at"), number("fetched_at") + 86_400);

    let second = Authorizer::start(&env).await;
    for _ in 0..5 {
        assert!(passes(&second, &okta, keys::main()).await);
        assert!(passes(&second, &okta, keys::second()).await);
    }
    assert_eq!(okta.requests(), 1, "the second instance has them from the table");
}

#[tokio::test]
async fn the_age_at_which_keys_are_refreshed_is_configured_and_shortened_by_okta() {
    let body = jwks(&[keys::main()]).to_string();
    let table_of = [
        ("", "", 3600, 86_400),
        ("cache-control: max-age=600\r\n", "", 600, 86_400),
        ("cache-control: max-age=86400, must-revalidate\r\n", "", 3600, 86_400),
        ("cache-control: public, max-age=5\r\n", "", 60, 86_400),
        ("cache-control: max-age=0\r\n", "", 60, 86_400),
        ("cache-control: max-age=abc\r\n", "", 3600, 86_400),
        ("cache-control: max-age=-1\r\n", "", 3600, 86_400),
        ("", "900", 900, 86_400),
        ("cache-control: max-age=600\r\n", "300", 300, 86_400),
    ];
    let mut failures = Failures::default();
    for (headers, configured, refresh, stale) in table_of {
        let okta = Okta::start(Reply::Body { headers: headers.to_owned(), body: body.clone() }).await;
        let table = Table::start().await;
        let env = Env::okta(&[&okta]).table(&table.endpoint).with("KEYS_REFRESH_SECONDS", configured);
        let authorizer = Authorizer::start(&env).await;
        failures.check(passes(&authorizer, &okta, keys::main()).await, || format!("{headers:?}: no answer"));
        let item = table.item(&okta.keys_endpoint()).unwrap();
        let number = |name: &str| item[name]["N"].as_str().unwrap().parse::<u64>().unwrap();
        let found = (number("refresh_at") - number("fetched_at"), number("expires_at") - number("fetched_at"));
        failures.check(found == (refresh, stale), || format!("{headers:?}, {configured:?}: {found:?}"));
    }
    failures.report();
}

#[tokio::test]
async fn keys_in_the_table_need_no_request_to_okta() {
    let okta = Okta::start(Reply::HangUp).await;
    let table = Table::start().await;
    table.put(&item(&okta.keys_endpoint(), &jwks(&[keys::main()]), now(), 100));
    let authorizer = Authorizer::start(&Env::okta(&[&okta]).table(&table.endpoint)).await;
    assert_eq!(table.reads(), 1, "before the first event");
    for _ in 0..10 {
        assert!(passes(&authorizer, &okta, keys::main()).await);
        assert!(is_refused(&authorizer, &okta, keys::attacker().named("main")).await);
    }
    assert_eq!((okta.requests(), table.reads()), (0, 1));
}

/// The document with so much white space that it has `size` bytes.
fn padded(document: &Value, size: usize) -> String {
    let text = document.to_string();
    format!("{}{text}", " ".repeat(size - text.len()))
}

#[tokio::test]
async fn a_poisoned_item_counts_as_none() {
    let cases = unusable_items(now()).into_iter().map(|(name, item)| async move {
        let mut failures = Failures::default();
        let okta = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
        let table = Table::start().await;
        table.put_for(&okta.keys_endpoint(), &item);
        let authorizer = Authorizer::start(&Env::okta(&[&okta]).table(&table.endpoint)).await;
        failures
            .check(passes(&authorizer, &okta, keys::main()).await, || format!("{name}: a good token was not allowed"));
        failures.check(is_refused(&authorizer, &okta, keys::attacker()).await, || format!("{name}: believed"));
        failures.check(okta.requests() == 1, || format!("{name}: {} requests", okta.requests()));
        let healed = table.item(&okta.keys_endpoint()).unwrap();
        let keys = healed["keys"]["S"].as_str().unwrap_or_default();
        failures.check(keys.contains(r#""main""#), || format!("{name}: not replaced: {healed:.300}"));
        failures
    });
    Failures::of(cases).await.report();
}

#[tokio::test]
async fn without_okta_a_poisoned_item_is_a_fault_and_never_an_allow() {
    let cases = unusable_items(now()).into_iter().map(|(name, item)| async move {
        let mut failures = Failures::default();
        let okta = Okta::start(Reply::HangUp).await;
        let table = Table::start().await;
        table.put_for(&okta.keys_endpoint(), &item);
        let authorizer = Authorizer::start(&Env::okta(&[&okta]).table(&table.endpoint)).await;
        let answer = authorizer.invoke(event_of(&okta, keys::attacker())).await;
        failures.check(answer.is_fault(), || format!("{name}: {answer:?}"));
        failures
    });
    Failures::of(cases).await.report();
}

#[tokio::test]
async fn a_table_that_is_down_or_hangs_or_is_no_table_is_done_without() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
    let hanging = SilentServer::start().await;
    let empty = Table::start().await;
    let missing = Env::okta(&[&okta]).table(&empty.endpoint).with("KEYS_TABLE_NAME", "another-table");
    let no_dynamo = Okta::start(Reply::HangUp).await;
    let cases = [
        ("down", Env::okta(&[&okta]).table(&closed_port().await)),
        ("hanging", Env::okta(&[&okta]).table(&hanging.endpoint)),
        ("missing", missing),
        ("no DynamoDB", Env::okta(&[&okta]).table(&no_dynamo.issuer())),
    ];
    for (name, env) in cases {
        let before = okta.requests();
        let started = Instant::now();
        let authorizer = Authorizer::start(&env).await;
        for _ in 0..3 {
            assert!(passes(&authorizer, &okta, keys::main()).await, "{name}");
            assert!(is_refused(&authorizer, &okta, keys::attacker().named("main")).await, "{name}");
        }
        assert_eq!(okta.requests() - before, 1, "{name}");
        // A look, a claim of the lease and a write, 500 ms each, and the fetch itself; ten times that is a hang.
        assert!(started.elapsed() < Duration::from_secs(10), "{name}: {:?}", started.elapsed());
    }
    assert!(hanging.connections() > 0, "a test of nothing");
}

/// Answers of Okta's that hold no keys for us.
fn no_keys(elsewhere: &Okta) -> Vec<(&'static str, Reply)> {
    let good = jwks(&[keys::main()]);
    let text = good.to_string();
    let location = elsewhere.keys_endpoint();
    // Each of them with good keys, which must not be taken.
    let status = |head: &str| Reply::status(format!("{head}\r\n"), &text);
    let redirect = |code: &str| Reply::status(format!("{code}\r\nlocation: {location}\r\n"), &text);
    let crowd = json!({ "keys": (0..101).map(|n| with(&keys::main().jwk(), &json!({ "kid": format!("k{n}") }))).collect::<Vec<_>>() });
    vec![
        ("hang-up", Reply::HangUp),
        ("500", status("500 Internal Server Error")),
        ("503", status("503 Service Unavailable")),
        ("404", status("404 Not Found")),
        ("401", status("401 Unauthorized")),
        ("204", Reply::status("204 No Content\r\n", "")),
        ("201", status("201 Created")),
        ("206", status("206 Partial Content")),
        ("301", redirect("301 Moved Permanently")),
        ("302", redirect("302 Found")),
        ("307", redirect("307 Temporary Redirect")),
        ("308", redirect("308 Permanent Redirect")),
        ("nothing", Reply::text("")),
        ("HTML", Reply::text("<!doctype html><title>Sign in</title>")),
        ("an array", Reply::text(json!([keys::main().jwk()]).to_string())),
        ("no member keys", Reply::text("{}")),
        ("keys of another type", Reply::text(r#"{"keys":"main"}"#)),
        ("no keys", Reply::text(r#"{"keys":[]}"#)),
        ("no usable key", Reply::keys(&json!({ "keys": [with(&keys::main().jwk(), &json!({ "use": "enc" }))] }))),
        ("cut-off JSON", Reply::text(text.split_at(text.len() / 2).0)),
        ("JSON and more", Reply::text(format!("{text}x"))),
        ("257 KiB", Reply::text(padded(&good, 257 * 1024))),
        ("8 MiB", Reply::text(padded(&good, 8 * 1024 * 1024))),
        ("101 keys", Reply::keys(&crowd)),
        ("half a body", Reply::HalfABody(text.clone())),
        ("silence", Reply::Silence),
        ("a body that drips", Reply::Drip(text)),
    ]
}

#[tokio::test]
async fn without_keys_a_call_is_a_fault_until_okta_is_back() {
    let elsewhere = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
    let cases = no_keys(&elsewhere).into_iter().map(|(name, reply)| async move {
        let mut failures = Failures::default();
        let okta = Okta::start(reply).await;
        let started = Instant::now();
        let authorizer = Authorizer::start(&Env::okta(&[&okta])).await;
        let answer = authorizer.invoke(event_of(&okta, keys::main())).await;
        failures.check(answer.is_fault(), || format!("{name}: {answer:?}"));
        // Init's fetch and the call's own, 2 s each.
        failures.check(started.elapsed() < Duration::from_secs(12), || format!("{name}: {:?}", started.elapsed()));
        okta.answer(Reply::keys(&jwks(&[keys::main()])));
        let answer = authorizer.invoke(event_of(&okta, keys::main())).await;
        failures.check(answer.allows(&arn("GET /apps")), || format!("{name}, and then back: {answer:?}"));
        failures.check(is_refused(&authorizer, &okta, keys::attacker().named("main")).await, || {
            format!("{name}: a forgery")
        });
        failures
    });
    Failures::of(cases).await.report();
    assert_eq!((elsewhere.requests(), elsewhere.unexpected_requests()), (0, 0), "a redirect was followed");
}

#[tokio::test]
async fn without_keys_a_token_that_cannot_be_good_is_still_unauthorized() {
    let okta = Okta::start(Reply::HangUp).await;
    let authorizer = Authorizer::start(&Env::okta(&[&okta])).await;
    for bad in ["", "Bearer", "Bearer x", "Basic x", "Bearer a.b.c"] {
        assert!(authorizer.invoke(event(bad)).await.is_unauthorized(), "{bad:?}");
    }
    assert!(is_fault(&authorizer, &okta, keys::main()).await);
}

#[tokio::test]
async fn an_answer_at_its_bounds_is_taken() {
    let hundred = json!({ "keys": (0..99).map(|n| json!({ "kty": "EC", "kid": format!("ec{n}") })).chain([keys::main().jwk()]).collect::<Vec<_>>() });
    for reply in [Reply::text(padded(&jwks(&[keys::main()]), 256 * 1024)), Reply::keys(&hundred)] {
        let okta = Okta::start(reply).await;
        let authorizer = Authorizer::start(&Env::okta(&[&okta])).await;
        assert!(passes(&authorizer, &okta, keys::main()).await);
        assert_eq!(okta.requests(), 1);
    }
}

#[tokio::test]
async fn keys_past_their_refresh_serve_on_while_okta_has_none() {
    let elsewhere = Okta::start(Reply::keys(&jwks(&[keys::attacker()]))).await;
    let cases = no_keys(&elsewhere).into_iter().map(|(name, reply)| async move {
        let mut failures = Failures::default();
        let okta = Okta::start(reply).await;
        let table = Table::start().await;
        table.put(&item(&okta.keys_endpoint(), &jwks(&[keys::main()]), now(), 2 * 3600));
        let authorizer = Authorizer::start(&Env::okta(&[&okta]).table(&table.endpoint)).await;
        for _ in 0..3 {
            failures.check(passes(&authorizer, &okta, keys::main()).await, || format!("{name}: the old keys are gone"));
        }
        failures.check(okta.requests() >= 1, || format!("{name}: never asked"));
        let kept = table.item(&okta.keys_endpoint()).unwrap();
        let text = kept["keys"]["S"].as_str().unwrap_or_default();
        failures.check(text.contains(r#""main""#), || format!("{name}: the item was spoilt: {kept:.300}"));
        failures
    });
    Failures::of(cases).await.report();
    assert_eq!((elsewhere.requests(), elsewhere.unexpected_requests()), (0, 0), "a redirect was followed");
}

#[tokio::test]
async fn keys_past_their_refresh_are_refreshed_once() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::second()]))).await;
    let table = Table::start().await;
    table.put(&item(&okta.keys_endpoint(), &jwks(&[keys::main()]), now(), 2 * 3600));
    let authorizer = Authorizer::start(&Env::okta(&[&okta]).table(&table.endpoint)).await;
    assert!(passes(&authorizer, &okta, keys::second()).await);
    assert!(is_refused(&authorizer, &okta, keys::main()).await, "Okta withdrew it");
    assert_eq!(okta.requests(), 1);
    let item = table.item(&okta.keys_endpoint()).unwrap();
    assert!(item["keys"]["S"].as_str().unwrap().contains(r#""second""#), "{item}");
}

#[tokio::test]
async fn keys_are_dead_once_okta_was_away_for_longer_than_configured() {
    let okta = Okta::start(Reply::HangUp).await;
    for (age, configured, serves) in
        [(7200, "", true), (7200, "7000", false), (7200, "7600", true), (86_500, "", false)]
    {
        let table = Table::start().await;
        table.put(&item(&okta.keys_endpoint(), &jwks(&[keys::main()]), now(), age));
        let env = Env::okta(&[&okta]).table(&table.endpoint).with("KEYS_MAX_STALE_SECONDS", configured);
        let authorizer = Authorizer::start(&env).await;
        let answer = authorizer.invoke(event_of(&okta, keys::main())).await;
        assert_eq!(
            (answer.allows(&arn("GET /apps")), answer.is_fault()),
            (serves, !serves),
            "{age}, {configured:?}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn a_new_key_is_picked_up_by_the_first_call_that_carries_it() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::second()]))).await;
    let table = Table::start().await;
    table.put(&item(&okta.keys_endpoint(), &jwks(&[keys::main()]), now(), 100));
    let authorizer = Authorizer::start(&Env::okta(&[&okta]).table(&table.endpoint)).await;
    assert!(passes(&authorizer, &okta, keys::main()).await);
    assert_eq!(okta.requests(), 0);
    assert!(passes(&authorizer, &okta, keys::second()).await, "Okta rotated");
    assert_eq!(okta.requests(), 1);
    assert!(is_refused(&authorizer, &okta, keys::main()).await, "Okta withdrew it");
    assert!(passes(&authorizer, &okta, keys::second()).await);
    assert_eq!(okta.requests(), 1);
}

#[tokio::test]
async fn a_new_key_that_another_instance_put_into_the_table_needs_no_request() {
    let okta = Okta::start(Reply::HangUp).await;
    let table = Table::start().await;
    table.put(&item(&okta.keys_endpoint(), &jwks(&[keys::main()]), now(), 100));
    let authorizer = Authorizer::start(&Env::okta(&[&okta]).table(&table.endpoint)).await;
    assert!(passes(&authorizer, &okta, keys::main()).await);
    table.put(&item(&okta.keys_endpoint(), &jwks(&[keys::main(), keys::second()]), now(), 1));
    assert!(passes(&authorizer, &okta, keys::second()).await);
    assert!(passes(&authorizer, &okta, keys::main()).await);
    assert_eq!(okta.requests(), 0);
}

#[tokio::test]
async fn forged_kids_cost_one_request_and_evict_nothing() {
    const KIDS: [&str; 10] = ["f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9"];
    let published = jwks(&[keys::main()]);
    for reply in [Reply::keys(&published), Reply::HangUp] {
        for age in [100, 5] {
            let okta = Okta::start(reply.clone()).await;
            let table = Table::start().await;
            table.put(&item(&okta.keys_endpoint(), &published, now(), age));
            let authorizer = Authorizer::start(&Env::okta(&[&okta]).table(&table.endpoint)).await;
            for kid in KIDS.iter().cycle().take(50) {
                assert!(is_refused(&authorizer, &okta, keys::attacker().named(kid)).await, "{kid}, {reply:.20?}");
                assert!(passes(&authorizer, &okta, keys::main()).await, "after {kid}, {reply:.20?}");
            }
            // Five seconds ago someone refreshed: that is too lately to ask again.
            let most = usize::from(age > 30);
            assert!(okta.requests() <= most, "{} requests, {age} s after a refresh", okta.requests());
            // Init's, and one look for a kid in 10 s.
            assert!(table.reads() <= 3, "{} reads", table.reads());
        }
    }
}

#[tokio::test]
async fn without_a_table_forged_kids_cost_one_request_at_most() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
    let authorizer = Authorizer::start(&Env::okta(&[&okta])).await;
    for _ in 0..50 {
        assert!(is_refused(&authorizer, &okta, keys::attacker()).await);
        assert!(passes(&authorizer, &okta, keys::main()).await);
    }
    assert!(okta.requests() <= 2, "{} requests", okta.requests());
}

#[tokio::test]
async fn okta_that_asks_for_patience_is_not_asked_again() {
    let patience =
        Reply::status("429 Too Many Requests\r\nretry-after: 100\r\n", jwks(&[keys::attacker()]).to_string());
    let okta = Okta::start(patience.clone()).await;
    let table = Table::start().await;
    table.put(&item(&okta.keys_endpoint(), &jwks(&[keys::main()]), now(), 2 * 3600));
    let env = Env::okta(&[&okta]).table(&table.endpoint);
    for _ in 0..3 {
        let authorizer = Authorizer::start(&env).await;
        for _ in 0..5 {
            assert!(passes(&authorizer, &okta, keys::main()).await);
            assert!(is_refused(&authorizer, &okta, keys::attacker()).await);
        }
    }
    assert_eq!(okta.requests(), 1);

    let okta = Okta::start(patience).await;
    let cold = Authorizer::start(&Env::okta(&[&okta])).await;
    for _ in 0..5 {
        assert!(is_fault(&cold, &okta, keys::attacker()).await);
    }
    assert_eq!(okta.requests(), 1);
}

#[tokio::test]
async fn a_forged_kid_does_not_hold_up_the_others() {
    let okta = Okta::start(Reply::Silence).await;
    let table = Table::start().await;
    table.put(&item(&okta.keys_endpoint(), &jwks(&[keys::main()]), now(), 100));
    let env = Env::okta(&[&okta]).table(&table.endpoint).with("AWS_LAMBDA_MAX_CONCURRENCY", "4");
    let authorizer = Authorizer::start(&env).await;
    let forged = is_refused(&authorizer, &okta, keys::attacker());
    let good = async {
        okta.wait_for_requests(1).await;
        for _ in 0..10 {
            assert!(passes(&authorizer, &okta, keys::main()).await);
        }
    };
    tokio::pin!(forged);
    tokio::select! {
        // Okta has two seconds; ten good calls need none of them.
        _ = &mut forged => panic!("the good calls came after the forged one"),
        () = good => {}
    }
    assert!(forged.await);
}

#[tokio::test]
async fn calls_at_the_same_time_get_their_own_answers() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
    let authorizer = Authorizer::start(&Env::okta(&[&okta]).with("AWS_LAMBDA_MAX_CONCURRENCY", "8")).await;
    let calls = (0..40).map(|number| {
        let (authorizer, okta) = (&authorizer, &okta);
        async move {
            let uid = format!("00u{number}");
            let claims = with(&claims_of(&okta.issuer()), &json!({ "uid": uid }));
            let (good, bad) = (keys::main().token(&claims), keys::attacker().token(&claims));
            let answer = authorizer.invoke(event(&good)).await;
            assert_eq!(answer.response()["principalId"], uid);
            assert!(authorizer.invoke(event(&bad)).await.is_unauthorized());
        }
    });
    join_all(calls).await;
}
