//! Several calls at the same time in one process, while some of them wait for Okta.

use futures_util::future::join_all;
use okta_authorizer_testkit::{
    env::Env,
    event,
    keys::{self, jwks},
    now,
    okta::{IntrospectionRequest, Okta, Reply},
    runtime_api::{Answer, Authorizer},
    table::{Table, item},
    token::claims_of,
    with,
};
use serde_json::json;
use tokio::sync::watch;

use crate::introspection::{
    ACTIVE, INACTIVE, answer, introspecting, is_allowed, is_unavailable, okta_with_active_tokens,
};

/// The environment of a process that Lambda sends up to this number of calls at the same time.
pub fn concurrent(env: Env, calls: &str) -> Env {
    env.with("AWS_LAMBDA_MAX_CONCURRENCY", calls)
}

#[tokio::test]
async fn the_runtime_polls_for_as_many_events_as_configured() {
    let okta = okta_with_active_tokens().await;
    for (configured, polls) in [("4", 4), ("", 1), ("0", 1), ("1", 1), ("four", 1)] {
        let authorizer = Authorizer::start(&concurrent(Env::okta(&[&okta]), configured)).await;
        authorizer.wait_for_polls(polls).await;
        let answers = join_all((0..20).map(|_| answer(&authorizer, &okta))).await;
        assert!(answers.iter().all(is_allowed), "{configured:?}: {answers:?}");
        authorizer.wait_for_polls(polls).await;
        assert_eq!(authorizer.polls().most, polls, "{configured:?}");
    }
}

#[tokio::test]
async fn calls_that_wait_for_okta_do_not_delay_others() {
    let okta = okta_with_active_tokens().await;
    let authorizer = Authorizer::start(&concurrent(introspecting(Env::okta(&[&okta])), "4")).await;
    let gate = watch::Sender::new(false);
    okta.introspects(Reply::text(ACTIVE).when_open(&gate));
    let waiting = join_all((0..3).map(|_| answer(&authorizer, &okta)));
    let others = async {
        okta.wait_for_introspections(3).await;
        for _ in 0..5 {
            okta.introspects(Reply::text(ACTIVE));
            assert!(is_allowed(&answer(&authorizer, &okta).await));
            okta.introspects(Reply::text(INACTIVE));
            assert!(answer(&authorizer, &okta).await.is_unauthorized());
            assert!(authorizer.invoke(event("Bearer x")).await.is_unauthorized());
        }
        gate.send_replace(true);
    };
    let (waited, ()) = tokio::join!(waiting, others);
    assert!(waited.iter().all(is_allowed), "{waited:?}");
    assert_eq!((okta.introspection_requests().len(), okta.requests()), (13, 1));
}

#[tokio::test]
async fn a_fifth_call_waits_until_one_of_four_is_done() {
    let okta = okta_with_active_tokens().await;
    let authorizer = Authorizer::start(&concurrent(introspecting(Env::okta(&[&okta])), "4")).await;
    let gate = watch::Sender::new(false);
    okta.introspects(Reply::text(ACTIVE).when_open(&gate));
    let calls = join_all((0..5).map(|_| answer(&authorizer, &okta)));
    let open = async {
        okta.wait_for_introspections(4).await;
        assert_eq!((authorizer.polls().now, okta.introspection_requests().len()), (0, 4));
        gate.send_replace(true);
    };
    let (answers, ()) = tokio::join!(calls, open);
    assert!(answers.iter().all(is_allowed), "{answers:?}");
    assert_eq!(okta.introspection_requests().len(), 5);
}

#[tokio::test]
async fn concurrent_calls_get_their_own_answers() {
    let okta = Okta::start(Reply::HangUp).await;
    let issuers = ["one", "two", "three"].map(|name| format!("http://{}/oauth2/{name}", okta.address));
    for (name, reply) in [("one", ACTIVE), ("two", INACTIVE), ("three", "{}")] {
        okta.introspects_at(&format!("/oauth2/{name}/v1/introspect"), Reply::text(reply));
    }
    let env = introspecting(Env::pinned(&jwks(&[keys::main()]))).with("OKTA_ISSUER", issuers.join(","));
    let authorizer = Authorizer::start(&concurrent(env, "8")).await;
    let calls = (0..60).map(|number: usize| {
        let (authorizer, which) = (&authorizer, number % 4);
        let uid = format!("00u{number}");
        let key = if which == 3 { keys::attacker() } else { keys::main() };
        let token = key.token(&with(&claims_of(&issuers[which % 3]), &json!({ "uid": uid })));
        async move {
            let answer = authorizer.invoke(event(&token)).await;
            match which {
                0 => assert_eq!((is_allowed(&answer), &answer.response()["principalId"]), (true, &json!(uid))),
                2 => assert!(is_unavailable(&answer), "{answer:?}"),
                _ => assert!(answer.is_unauthorized(), "{answer:?}"),
            }
            (which != 3).then_some(token)
        }
    });
    let mut expected: Vec<_> = join_all(calls).await.into_iter().flatten().collect();
    let mut sent: Vec<_> = okta.introspection_requests().iter().map(IntrospectionRequest::token).collect();
    expected.sort();
    sent.sort();
    assert_eq!(sent, expected, "Okta is asked once for each verified token");
}

#[tokio::test]
async fn concurrent_lookups_of_keys_are_one_lookup() {
    type Check = fn(&Answer) -> bool;
    let both = Reply::keys(&jwks(&[keys::main(), keys::second()]));
    let main = Reply::keys(&jwks(&[keys::main()]));
    let forged = [keys::attacker().named("forged"); 4];
    let cases: [(_, _, _, Check); 2] = [
        ("a new key", both, [keys::second(); 4], is_allowed),
        ("an unknown key", main, forged, Answer::is_unauthorized),
    ];
    for (name, reply, keys_of_calls, check) in cases {
        let okta = Okta::start(Reply::HangUp).await;
        let table = Table::start().await;
        table.put(&item(&okta.keys_endpoint(), &jwks(&[keys::main()]), now(), 100));
        let authorizer = Authorizer::start(&concurrent(Env::okta(&[&okta]).table(&table.endpoint), "5")).await;
        authorizer.wait_for_polls(5).await;
        let before = (okta.requests(), table.reads());
        let gate = watch::Sender::new(false);
        okta.answer(reply.when_open(&gate));

        let claims = claims_of(&okta.issuer());
        let calls = join_all(keys_of_calls.map(|key| authorizer.invoke(event(&key.token(&claims)))));
        let others = async {
            authorizer.wait_for_polls(1).await;
            okta.wait_for_requests(before.0 + 1).await;
            for _ in 0..5 {
                assert!(authorizer.invoke(event("Bearer x")).await.is_unauthorized(), "{name}: it needs no key");
                assert!(is_allowed(&answer(&authorizer, &okta).await), "{name}: its key is cached");
            }
            gate.send_replace(true);
        };
        let (answers, ()) = tokio::join!(calls, others);
        assert!(answers.iter().all(check), "{name}: {answers:?}");
        let requests = (okta.requests() - before.0, table.reads() - before.1);
        assert_eq!(requests, (1, 1), "{name}");
    }
}
