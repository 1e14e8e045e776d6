//! Okta or the table fails, and the binary has real time. `tests/fleet` asserts the pauses to the
//! second; here are what a call waits for, and what goes on without it.

use std::time::{Duration, Instant, UNIX_EPOCH};

use okta_authorizer_testkit::{
    Failures, arn,
    env::Env,
    event,
    keys::{self, Key, jwks},
    now,
    okta::{Okta, Reply},
    runtime_api::{Answer, Authorizer},
    table::{Table, closed_port, item},
    temp_file::TempFile,
    tls::{Authority, Certificate, TlsFront},
    token::claims_of,
};
use serde_json::Value;
use tokio::{sync::watch, time::sleep};

async fn answer(authorizer: &Authorizer, okta: &Okta, key: Key) -> Answer {
    authorizer.invoke(event(&format!("Bearer {}", key.token(&claims_of(&okta.issuer()))))).await
}

fn is_allowed(answer: &Answer) -> bool {
    answer.allows(&arn("GET /apps"))
}

fn only_main() -> Reply {
    Reply::keys(&jwks(&[keys::main()]))
}

/// The time in the attribute `not_before` of an issuer's item, in whole epoch seconds.
fn not_before(table: &Table, okta: &Okta) -> Option<u64> {
    table.item(&okta.keys_endpoint())?.pointer("/not_before/N")?.as_str()?.split('.').next()?.parse().ok()
}

/// Calls until a call is allowed.
async fn call_until_allowed(authorizer: &Authorizer, okta: &Okta) {
    while !is_allowed(&answer(authorizer, okta, keys::main()).await) {}
}

/// The ways in which Okta fails at start.
fn failing() -> [(&'static str, Reply); 5] {
    [
        ("503", Reply::status("503 Service Unavailable\r\n", "")),
        ("404", Reply::status("404 Not Found\r\n", "")),
        ("429", Reply::status("429 Too Many Requests\r\n", "")),
        ("down", Reply::HangUp),
        ("hanging", Reply::Silence),
    ]
}

#[tokio::test]
async fn without_keys_okta_is_asked_once_in_5_seconds() {
    let cases = failing().into_iter().flat_map(|case| [(case.clone(), false), (case, true)]);
    let cases = cases.map(|((name, reply), with_table)| async move {
        let mut failures = Failures::default();
        let okta = Okta::start(reply).await;
        let table = Table::start().await;
        let env = Env::okta(&[&okta]);
        let env = if with_table { env.table(&table.endpoint) } else { env };
        let mut fleet = vec![Authorizer::start(&env).await];
        if with_table {
            fleet.push(Authorizer::start(&env).await);
        }
        let start = Instant::now();
        for call in 0..100 {
            let answer = answer(&fleet[call % fleet.len()], &okta, keys::main()).await;
            failures.check(answer.is_fault(), || format!("{name}, table {with_table}: {answer:?}"));
        }
        // A hundred calls that wait for nothing take less than the time of one request to Okta each.
        let (requests, took) = (okta.requests(), start.elapsed());
        failures.check(requests == 1 && took < Duration::from_secs(5), || {
            format!("{name}, table {with_table}: {requests} requests in {took:?}")
        });
        failures
    });
    Failures::run(cases).await.report();
}

#[tokio::test]
async fn oktas_own_time_is_written_for_all_instances() {
    const LIMITED: &str = "429 Too Many Requests";
    const UNAVAILABLE: &str = "503 Service Unavailable";
    let at = now() + 100;
    let reset = |time: u64| format!("x-rate-limit-reset: {time}\r\n");
    let date =
        |time: u64| format!("retry-after: {}\r\n", httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(time)));
    // A time, or seconds from the answer on, which is within a second.
    let cases = [
        (LIMITED, reset(at), Some(at)),
        (LIMITED, reset(at - 10) + &reset(at), Some(at)),
        (LIMITED, date(at), Some(at)),
        (LIMITED, "retry-after: 60\r\n".to_owned(), Some(61)),
        (LIMITED, "retry-after: 9999\r\n".to_owned(), Some(300)),
        (LIMITED, String::new(), Some(30)),
        (UNAVAILABLE, reset(at), Some(at)),
        (UNAVAILABLE, String::new(), None),
        ("500 Internal Server Error", reset(at), None),
    ];
    let cases = cases.into_iter().map(|(status, headers, expected)| async move {
        let mut failures = Failures::default();
        let okta = Okta::start(Reply::status(format!("{status}\r\n{headers}"), "")).await;
        let table = Table::start().await;
        let env = Env::okta(&[&okta]).table(&table.endpoint);
        let before = now();
        let first = Authorizer::start(&env).await;
        let after = now();
        let written = not_before(&table, &okta);
        let holds = match (written, expected) {
            (Some(written), Some(time)) if time == at => written == at,
            (Some(written), Some(seconds)) => (before + seconds..=after + seconds).contains(&written),
            (written, expected) => written.is_none() && expected.is_none(),
        };
        failures.check(holds, || format!("{status}, {headers:?}: {written:?}, now {before} to {after}"));
        // Okta is back earlier than it said. Nobody asks.
        okta.answer(only_main());
        let second = Authorizer::start(&env).await;
        for authorizer in [&first, &second] {
            let answer = answer(authorizer, &okta, keys::main()).await;
            failures.check(answer.is_fault(), || format!("{status}, {headers:?}: {answer:?}"));
        }
        failures.check(okta.requests() == 1, || format!("{status}, {headers:?}: {} requests", okta.requests()));
        failures
    });
    Failures::run(cases).await.report();
}

#[tokio::test]
async fn every_instance_gets_keys_when_okta_is_back() {
    let okta = Okta::start(Reply::HangUp).await;
    let table = Table::start().await;
    let env = Env::okta(&[&okta]);
    let alone = Authorizer::start(&env).await;
    let env = env.table(&table.endpoint);
    let [one, two] = [Authorizer::start(&env).await, Authorizer::start(&env).await];
    assert_eq!(okta.requests(), 2, "one without a table, and one of two with it");
    okta.answer(only_main());
    let calls = [&alone, &one, &two].map(|authorizer| call_until_allowed(authorizer, &okta));
    futures_util::future::join_all(calls).await;
    assert_eq!(okta.requests(), 4);
}

#[tokio::test]
async fn a_call_does_not_wait_for_the_refresh_of_usable_keys() {
    let okta = Okta::start(Reply::HangUp).await;
    let table = Table::start().await;
    let env = Env::okta(&[&okta]).table(&table.endpoint);
    let endpoint = okta.keys_endpoint();
    let is_refreshed = || table.item(&endpoint).unwrap()["keys"]["S"].as_str().unwrap().contains("second");
    for freezes in [false, true] {
        let gate = watch::Sender::new(false);
        okta.answer(Reply::keys(&jwks(&[keys::main(), keys::second()])).when_open(&gate));
        table.put(&item(&endpoint, &jwks(&[keys::main()]), now(), 7_200));
        // The keys are due at init, and Okta does not answer before the gate is open.
        let before = okta.requests();
        let authorizer = Authorizer::start(&env).await;
        okta.wait_for_requests(before + 1).await;
        assert!(is_allowed(&answer(&authorizer, &okta, keys::main()).await));
        assert!(!is_refreshed());
        if freezes {
            authorizer.freeze().await;
        }
        gate.send_replace(true);
        if freezes {
            // Longer than a request may take, because the time of a freeze must not count.
            sleep(Duration::from_millis(2_500)).await;
            authorizer.thaw().await;
        }
        while !is_refreshed() {
            assert!(is_allowed(&answer(&authorizer, &okta, keys::main()).await));
        }
        assert!(is_allowed(&answer(&authorizer, &okta, keys::second()).await), "freezes: {freezes}");
        assert_eq!(okta.requests() - before, 1, "freezes: {freezes}");
    }
}

/// Lambda freezes the process after each answer, and calls are rare. Okta takes longer than a call
/// waits.
#[tokio::test]
async fn a_refresh_ends_although_each_answer_is_followed_by_a_freeze() {
    let okta = Okta::start(only_main()).await;
    let env = Env::okta(&[&okta]).with("KEYS_REFRESH_SECONDS", "1");
    let authorizer = Authorizer::start(&env).await;
    okta.answer(Reply::keys(&jwks(&[keys::second()])).after(Duration::from_millis(600)));
    let mut calls = 0;
    loop {
        authorizer.freeze().await;
        sleep(Duration::from_secs(6)).await;
        authorizer.thaw().await;
        calls += 1;
        if answer(&authorizer, &okta, keys::main()).await.is_unauthorized() {
            break;
        }
        assert!(calls < 5, "the withdrawn key is still accepted");
    }
    assert!(calls >= 2, "the first call does not wait so long");
}

#[tokio::test]
async fn a_rotation_right_after_a_forged_kid_is_accepted() {
    let okta = Okta::start(only_main()).await;
    let table = Table::start().await;
    let env = Env::okta(&[&okta]);
    for env in [env.clone(), env.table(&table.endpoint)] {
        okta.answer(only_main());
        let authorizer = Authorizer::start(&env).await;
        assert!(answer(&authorizer, &okta, keys::attacker().named("forged")).await.is_unauthorized());
        okta.answer(Reply::keys(&jwks(&[keys::main(), keys::second()])));
        assert!(is_allowed(&answer(&authorizer, &okta, keys::second()).await));
        // The budget of forged kids is used, and a call with a cached key does not need it.
        let requests = okta.requests();
        for number in 0..20 {
            let forged = keys::attacker().named(["f0", "f1", "f2", "f3"][number % 4]);
            assert!(answer(&authorizer, &okta, forged).await.is_unauthorized());
            assert!(is_allowed(&answer(&authorizer, &okta, keys::main()).await));
        }
        assert_eq!(okta.requests(), requests);
    }
}

#[tokio::test]
async fn the_log_says_why_a_request_for_keys_failed() {
    let (authority, untrusted) = (Authority::new(), Authority::new());
    let bundle = TempFile::new("bundle.pem", &authority.pem);
    let okta = Okta::start(only_main()).await;
    let expired = TlsFront::start(&authority, Certificate::Expired, okta.address).await;
    let of_another = TlsFront::start(&authority, Certificate::OfAnotherName, okta.address).await;
    let distrusted = TlsFront::start(&untrusted, Certificate::Good, okta.address).await;
    let closed = closed_port().await;
    // It answers CONNECT with an error.
    let refusing_proxy = format!("http://{}", okta.address);
    let ok = Env::okta(&[&okta]);
    for (origin, proxy, expected) in [
        (expired.origin(), "", "TLS failed: invalid peer certificate: certificate expired"),
        (of_another.origin(), "", "TLS failed: invalid peer certificate: certificate not valid for name"),
        (distrusted.origin(), "", "TLS failed: invalid peer certificate: "),
        ("https://no-such-host.invalid".to_owned(), "", "the host's name was not found"),
        (closed.clone(), "", "connection refused"),
        ("https://keys.example.com".to_owned(), &closed, "the proxy failed: failed to create underlying connection"),
        ("https://keys.example.com".to_owned(), &refusing_proxy, "the proxy failed: "),
    ] {
        let endpoint = format!("{origin}/keys");
        let env = ok.clone().with("OKTA_KEYS_ENDPOINT", &endpoint).with("HTTPS_PROXY", proxy);
        let env = env.with("SSL_CERT_FILE", bundle.path());
        let authorizer = Authorizer::start(&env).await;
        assert!(answer(&authorizer, &okta, keys::main()).await.is_fault(), "{endpoint}");
        let errors = errors(&authorizer.stop().await);
        assert!(matches!(&errors[..], [error] if error.starts_with(expected)), "{endpoint}: {errors:?}");
    }
    for (reply, expected) in [
        (Reply::Silence, "timed out"),
        (Reply::HangUp, "the response is incomplete"),
        (Reply::status("503 Service Unavailable\r\n", ""), "HTTP status 503 Service Unavailable"),
        (Reply::text("<html>"), "not a JSON object with an array `keys`"),
    ] {
        okta.answer(reply);
        let authorizer = Authorizer::start(&ok).await;
        assert!(answer(&authorizer, &okta, keys::main()).await.is_fault(), "{expected}");
        assert_eq!(errors(&authorizer.stop().await), [expected]);
    }
}

/// The members `error` of these log lines.
fn errors(lines: &[String]) -> Vec<String> {
    let lines = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| Some(line.get("error")?.as_str()?.to_owned())).collect()
}
