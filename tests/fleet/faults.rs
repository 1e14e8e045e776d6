//! The fault matrix: whatever the table or Okta does, cold and warm, what a call comes to, what it costs, and how it ends.

use std::time::Duration;

use okta_authorizer::{
    https::{HttpsClient, TrustAnchors},
    keys::{KeyStore, KeysEndpoint},
};
use serde_json::{Value, json};

use crate::{
    gate::{Fault, Switch},
    scenarios::START,
    support::{
        Faults,
        keys::{self, jwks},
        okta::{Okta, Reply},
        tls::{Authority, Certificate, TlsFront},
        with, without,
    },
    world::{FOUND, REFRESH_POLICY, UNAVAILABLE, UNKNOWN, World, authority, main_alone},
};

/// When keys of [`START`] are due.
const DUE: u64 = START + 3_600;
/// When keys of [`START`] are too old.
const TOO_OLD: u64 = START + 86_400;

/// What a table can do instead of answering.
const TABLE_FAULTS: [(&str, Fault); 9] = [
    ("hanging up", Fault::HangUp),
    ("silent", Fault::Silence),
    ("slow", Fault::Slow(Duration::from_millis(700))),
    ("throttling", Fault::Error(400, "ProvisionedThroughputExceededException")),
    ("denying access", Fault::Error(400, "AccessDeniedException")),
    ("missing", Fault::Error(400, "ResourceNotFoundException")),
    ("broken", Fault::Error(500, "InternalServerError")),
    ("HTML", Fault::Body("<!doctype html><title>Sign in</title>")),
    ("no JSON", Fault::Body(r#"{"Item":"#)),
];

#[tokio::test]
async fn a_table_that_fails_costs_one_request_a_look_and_no_answer() {
    let cases = TABLE_FAULTS.into_iter().map(|(name, fault)| async move {
        let mut faults = Faults::default();
        let world = World::new(name).await;
        world.gate.set(fault);
        let instance = world.instance();
        let cold_and_warm = [
            ("main", START, (FOUND, 1, 1)),
            ("main", START + 1, (FOUND, 0, 0)),
            ("forged", START + 100, (UNKNOWN, 1, 1)),
            ("main", START + 3_700, (FOUND, 1, 1)),
        ];
        world.walk(&mut faults, &instance, &cold_and_warm).await;
        faults.check(world.stored_at().is_none(), || format!("{name}: something got through"));

        world.gate.set(Fault::None);
        world.walk(&mut faults, &instance, &[("main", START + 7_300, (FOUND, 1, 3))]).await;
        world.walk(&mut faults, &world.instance(), &[("main", START + 7_300, (FOUND, 0, 1))]).await;
        faults
    });
    Faults::of(cases).await.report();
}

#[tokio::test]
async fn a_table_that_is_not_too_slow_is_waited_for() {
    let world = World::new("200 ms").await;
    world.gate.set(Fault::Slow(Duration::from_millis(200)));
    world.expect(&world.instance(), &[("main", START, (FOUND, 1, 3))]).await;
    world.expect(&world.instance(), &[("main", START, (FOUND, 0, 1))]).await;
}

#[tokio::test]
async fn a_table_that_can_only_be_read_costs_the_fleet_nothing_but_requests() {
    let refused = Fault::Error(400, "AccessDeniedException");
    for (operation, first, next) in [("UpdateItem", 2, 2), ("PutItem", 3, 4)] {
        let world = World::new(operation).await;
        world.gate.set_for(operation, refused);
        // The second comes ten seconds later: the first cannot be at work any more, though its lease may still stand.
        world.expect(&world.instance(), &[("main", START, (FOUND, 1, first))]).await;
        world.expect(&world.instance(), &[("main", START + 10, (FOUND, 1, next))]).await;
        assert_eq!(world.stored_at(), None, "{operation}");

        world.table.put(&world.item(&[keys::main()], START));
        let reader = world.instance();
        let calls = [("main", START + 20, (FOUND, 0, 1)), ("main", DUE, (FOUND, 1, first))];
        world.expect(&reader, &calls).await;
        world.gate.set(Fault::None);
        world.expect(&reader, &[("main", DUE + 3_600, (FOUND, 1, 3))]).await;
        assert_eq!(world.stored_at(), Some(DUE + 3_600), "{operation}");
    }
}

/// Items that count as none: of a key that Okta never had, so that it shows if one was believed.
fn bad_items(world: &World) -> Vec<(&'static str, Value)> {
    let good = world.item(&[keys::attacker()], START);
    let set = |members: Value| with(&good, &members);
    let times = |fetched_at: u64, refresh_at: u64, expires_at: u64| {
        let number = |value: u64| json!({ "N": value.to_string() });
        set(
            json!({ "fetched_at": number(fetched_at), "refresh_at": number(refresh_at), "expires_at": number(expires_at) }),
        )
    };
    let foreign = json!({ "keys": [{ "kty": "EC", "kid": "attacker", "crv": "P-256", "x": "AA", "y": "AA" }] });
    vec![
        ("no JSON", set(json!({ "keys": { "S": "nonsense" } }))),
        ("cut-off JSON", set(json!({ "keys": { "S": jwks(&[keys::attacker()]).to_string().split_at(99).0 } }))),
        ("JSON of something else", set(json!({ "keys": { "S": r#"{"session":{"user":"keys"}}"# } }))),
        ("keys of other types", set(json!({ "keys": { "S": foreign.to_string() } }))),
        ("keys as bytes", set(json!({ "keys": { "B": "e30=" } }))),
        ("keys as a map", set(json!({ "keys": { "M": { "keys": { "L": [] } } } }))),
        ("keys as a set", set(json!({ "keys": { "SS": ["attacker"] } }))),
        ("keys as nothing", set(json!({ "keys": { "NULL": true } }))),
        ("no keys", without(&good, "keys")),
        ("no fetched_at", without(&good, "fetched_at")),
        ("fetched_at as text", set(json!({ "fetched_at": { "S": START.to_string() } }))),
        ("fetched_at as a list", set(json!({ "fetched_at": { "L": [{ "N": "1" }] } }))),
        ("fetched_at as a set", set(json!({ "fetched_at": { "NS": [START.to_string()] } }))),
        ("fetched_at as nothing", set(json!({ "fetched_at": { "NULL": true } }))),
        ("a fraction", set(json!({ "fetched_at": { "N": "1800000000.5" } }))),
        ("before time", set(json!({ "fetched_at": { "N": "-1" } }))),
        ("lease as text", with(&without(&good, "keys"), &json!({ "lease_until": { "S": "for ever" } }))),
        ("lease as a map", with(&without(&good, "keys"), &json!({ "lease_until": { "M": {} } }))),
        ("lease as truth", with(&without(&good, "keys"), &json!({ "lease_until": { "BOOL": true } }))),
        ("lease before time", with(&without(&good, "keys"), &json!({ "lease_until": { "N": "-1" } }))),
        ("lease for ever", with(&without(&good, "keys"), &json!({ "lease_until": { "N": "9".repeat(38) } }))),
        ("expired", times(START - 90_000, START - 86_400, START - 3_600)),
        ("just expired", times(START - 10, START + 10, START)),
        ("older than may be", times(START - 86_400, START + 10, START + 10)),
        ("from the future", times(START + 9_000, START + 12_600, START + 95_400)),
        ("refreshed before it was fetched", times(START - 10, START - 10, START + 10)),
    ]
    .into_iter()
    .map(|(name, item)| {
        (name, if item["lease_until"]["N"] == "1800000030" { without(&item, "lease_until") } else { item })
    })
    .collect()
}

#[tokio::test]
async fn a_bad_item_counts_as_none_and_is_replaced() {
    let names: Vec<_> = bad_items(&World::new("names").await).into_iter().map(|(name, _)| name).collect();
    let cases = names.into_iter().enumerate().map(|(number, name)| async move {
        let mut faults = Faults::default();
        let world = World::new(name).await;
        let (_, item) = bad_items(&world).remove(number);

        world.table.put(&item);
        let instance = world.instance();
        world
            .walk(&mut faults, &instance, &[("main", START, (FOUND, 1, 3)), ("attacker", START, (UNKNOWN, 0, 1))])
            .await;
        faults.check(world.stored_at() == Some(START), || format!("{name}: not replaced, cold"));

        // A bad item is bad to those who know keys as well.
        world.table.put(&item);
        world.walk(&mut faults, &instance, &[("attacker", START + 30, (UNKNOWN, 1, 3))]).await;
        faults.check(world.stored_at() == Some(START + 30), || format!("{name}: not replaced, warm"));

        // And it is no more than none while Okta is away.
        world.table.put(&item);
        world.okta.answer(Reply::HangUp);
        let cold = world.instance();
        world.walk(&mut faults, &cold, &[("attacker", START, (UNAVAILABLE, 1, 2))]).await;
        world.walk(&mut faults, &instance, &[("attacker", START + 60, (UNKNOWN, 1, 2))]).await;
        world.okta.answer(main_alone());
        world.walk(&mut faults, &cold, &[("main", START + 90, (FOUND, 1, 3))]).await;
        faults
    });
    Faults::of(cases).await.report();
}

#[tokio::test]
async fn an_item_is_taken_up_to_its_bounds() {
    let cases = [
        ("fresh", START, 86_400, (FOUND, 0, 1)),
        ("from a clock that is fast", START + 5, 86_400, (FOUND, 0, 1)),
        ("from a clock that is too fast", START + 6, 86_400, (UNAVAILABLE, 1, 2)),
        ("about to expire", START - 10, 11, (FOUND, 0, 1)),
        ("expired", START - 10, 10, (UNAVAILABLE, 1, 2)),
        ("due", START - 3_600, 86_400, (FOUND, 1, 2)),
        ("as old as may be", START - 86_399, 86_401, (FOUND, 1, 2)),
        ("older than may be", START - 86_400, 86_401, (UNAVAILABLE, 1, 2)),
    ];
    let mut faults = Faults::default();
    for (name, fetched_at, expires_in, expected) in cases {
        let world = World::new(name).await;
        let item = without(&world.item(&[keys::main()], fetched_at), "lease_until");
        let expires_at = (fetched_at + expires_in).to_string();
        world.table.put(&with(&item, &json!({ "expires_at": { "N": expires_at } })));
        world.okta.answer(Reply::HangUp);
        world.walk(&mut faults, &world.instance(), &[("main", START, expected)]).await;
    }
    faults.report();
}

/// What Okta can do instead of answering with keys. With each of them good keys that must not be taken.
fn okta_faults(elsewhere: &Okta) -> Vec<(&'static str, Reply)> {
    let text = jwks(&[keys::main()]).to_string();
    let status = |head: &str| Reply::status(format!("{head}\r\n"), &text);
    let redirect = |code: &str| Reply::status(format!("{code}\r\nlocation: {}\r\n", elsewhere.keys_endpoint()), &text);
    vec![
        ("down", Reply::HangUp),
        ("hanging", Reply::Silence),
        ("dripping", Reply::Drip(text.clone())),
        ("half a body", Reply::HalfABody(text.clone())),
        ("429", status("429 Too Many Requests")),
        ("429 and no number", status("429 Too Many Requests\r\nretry-after: soon")),
        ("429 and a date", status("429 Too Many Requests\r\nretry-after: Fri, 31 Dec 2027 23:59:59 GMT")),
        ("500", status("500 Internal Server Error")),
        ("503 that says when", status("503 Service Unavailable\r\nretry-after: 100")),
        ("404", status("404 Not Found")),
        ("301", redirect("301 Moved Permanently")),
        ("302", redirect("302 Found")),
        ("308", redirect("308 Permanent Redirect")),
        ("HTML", Reply::text("<!doctype html><title>Sign in</title>")),
        ("truncated", Reply::text(text.split_at(text.len() / 2).0)),
        ("empty", Reply::text("")),
        ("no keys", Reply::text(r#"{"keys":[]}"#)),
        ("huge", Reply::text(format!("{}{text}", " ".repeat(8 * 1024 * 1024)))),
    ]
}

#[tokio::test]
async fn an_okta_that_fails_is_a_fault_without_keys_and_none_with_them() {
    let elsewhere = Okta::start(main_alone()).await;
    let cases = okta_faults(&elsewhere).into_iter().map(|(name, reply)| async move {
        let mut faults = Faults::default();
        let world = World::new(name).await;
        world.okta.answer(reply.clone());
        let cold = world.instance();
        world.walk(&mut faults, &cold, &[("main", START, (UNAVAILABLE, 1, 2))]).await;
        world.okta.answer(main_alone());
        // The lease that was taken for nothing still stands; who has no keys takes it over.
        world
            .walk(&mut faults, &cold, &[("main", START + 10, (FOUND, 1, 4)), ("main", START + 10, (FOUND, 0, 0))])
            .await;

        let due = DUE + 10;
        world.okta.answer(reply);
        let warm_then_back = [
            ("main", due - 1, (FOUND, 0, 0)),
            ("main", due, (FOUND, 1, 2)),
            ("main", due + 9, (FOUND, 0, 0)),
            ("main", due + 10, (FOUND, 0, 1)),
            ("forged", due + 11, (UNKNOWN, 0, 1)),
            ("forged", due + 20, (UNKNOWN, 0, 0)),
            ("main", due + 20, (FOUND, 0, 1)),
            ("main", due + 29, (FOUND, 0, 0)),
        ];
        world.walk(&mut faults, &cold, &warm_then_back).await;
        world.okta.answer(main_alone());
        world.walk(&mut faults, &cold, &[("main", due + 30, (FOUND, 1, 3)), ("main", due + 31, (FOUND, 0, 0))]).await;
        faults
    });
    Faults::of(cases).await.report();
    assert_eq!((elsewhere.requests(), elsewhere.strays()), (0, 0), "a redirect was followed");
}

#[tokio::test]
async fn keys_that_okta_does_not_renew_serve_to_the_last_second() {
    let world = World::new("a day").await;
    let instance = world.started(START).await;
    world.okta.answer(Reply::HangUp);
    let calls = [
        ("main", DUE, (FOUND, 1, 2)),
        ("main", TOO_OLD - 1, (FOUND, 1, 2)),
        // The lease of the last try still stands, its owner long gone.
        ("main", TOO_OLD + 9, (UNAVAILABLE, 1, 3)),
        ("forged", TOO_OLD + 50, (UNAVAILABLE, 1, 2)),
    ];
    world.expect(&instance, &calls).await;
    world.expect(&world.instance(), &[("main", TOO_OLD + 100, (UNAVAILABLE, 1, 2))]).await;
    world.okta.answer(main_alone());
    world
        .expect(&instance, &[("main", TOO_OLD + 200, (FOUND, 1, 3)), ("forged", TOO_OLD + 201, (UNKNOWN, 0, 1))])
        .await;
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_an_okta_that_is_down() {
    let stranger = Authority::new();
    let cases = [
        (authority(), Certificate::OfAnotherName),
        (authority(), Certificate::Expired),
        (&stranger, Certificate::Good),
    ];
    let mut faults = Faults::default();
    for (signed_by, certificate) in cases {
        let world = World::new(format!("{certificate:?}")).await;
        let bad = TlsFront::start(signed_by, certificate, world.okta.address).await;
        let good = TlsFront::start(authority(), Certificate::Good, world.okta.address).await;
        let switch = Switch::start(address(&bad)).await;
        let endpoint = format!("https://localhost:{}/oauth2/default/v1/keys", switch.port);
        let instance = world.instance_of(&endpoint, REFRESH_POLICY);
        world.walk(&mut faults, &instance, &[("main", START, (UNAVAILABLE, 0, 2))]).await;
        switch.lead_to(address(&good));
        world.walk(&mut faults, &instance, &[("main", START + 30, (FOUND, 1, 3))]).await;
        switch.lead_to(address(&bad));
        let due = DUE + 30;
        let warm =
            [("main", due, (FOUND, 0, 2)), ("forged", due + 1, (UNKNOWN, 0, 1)), ("main", due + 10, (FOUND, 0, 1))];
        world.walk(&mut faults, &instance, &warm).await;
        switch.lead_to(address(&good));
        world.walk(&mut faults, &instance, &[("main", due + 30, (FOUND, 1, 3))]).await;
    }
    faults.report();
}

fn address(front: &TlsFront) -> std::net::SocketAddr {
    let port: u16 = front.origin().rsplit(':').next().unwrap().parse().unwrap();
    ([127, 0, 0, 1], port).into()
}

#[tokio::test]
async fn with_both_down_known_keys_serve_and_the_rest_is_a_fault() {
    let [hanging_up, silent, ..] = TABLE_FAULTS;
    let down = ("down", Reply::HangUp);
    // The slowest first: the others are done meanwhile.
    let slowest = [(silent, ("hanging", Reply::Silence)), (hanging_up, ("HTML", Reply::text("<!doctype html>")))];
    let cases = slowest.into_iter().chain(TABLE_FAULTS.map(|table| (table, down.clone()))).map(
        |((table, fault), (okta, reply))| async move {
            let mut faults = Faults::default();
            let world = World::new(format!("table {table}, Okta {okta}")).await;
            let warm = world.started(START).await;
            world.gate.set(fault);
            world.okta.answer(reply.clone());
            let cold = world.instance();
            // Without keys nobody waits for a cooldown: every call tries.
            world
                .walk(&mut faults, &cold, &[("main", DUE, (UNAVAILABLE, 1, 1)), ("main", DUE, (UNAVAILABLE, 1, 1))])
                .await;
            let calls = [
                ("main", DUE, (FOUND, 1, 1)),
                ("main", DUE + 9, (FOUND, 0, 0)),
                ("main", DUE + 10, (FOUND, 0, 1)),
                ("forged", DUE + 15, (UNKNOWN, 0, 1)),
            ];
            world.walk(&mut faults, &warm, &calls).await;

            // The table comes back first: what it holds is good enough to go on with.
            world.gate.set(Fault::None);
            world.walk(&mut faults, &cold, &[("main", DUE + 20, (FOUND, 1, 2))]).await;
            world.okta.answer(main_alone());
            world.walk(&mut faults, &cold, &[("main", DUE + 50, (FOUND, 1, 3))]).await;
            world
                .walk(&mut faults, &warm, &[("main", DUE + 51, (FOUND, 0, 1)), ("main", DUE + 52, (FOUND, 0, 0))])
                .await;
            faults
        },
    );
    Faults::of(cases).await.report();
}

#[tokio::test]
async fn without_a_table_an_instance_lives_by_itself() {
    let world = World::new("no table").await;
    let client = HttpsClient::new(TrustAnchors::Embedded);
    let endpoint = KeysEndpoint::new(world.okta.keys_endpoint().parse().unwrap(), client);
    let instance = KeyStore::remote(endpoint, None, REFRESH_POLICY);
    world.okta.answer(Reply::HangUp);
    world
        .expect(&instance, &[("main", START - 1, (UNAVAILABLE, 1, 0)), ("main", START - 1, (UNAVAILABLE, 1, 0))])
        .await;
    world.okta.answer(main_alone());
    let calls = [
        ("main", START, (FOUND, 1, 0)),
        ("forged", START + 29, (UNKNOWN, 0, 0)),
        ("forged", START + 38, (UNKNOWN, 0, 0)),
        ("forged", START + 39, (UNKNOWN, 1, 0)),
        ("main", START + 3_638, (FOUND, 0, 0)),
        ("main", START + 3_639, (FOUND, 1, 0)),
    ];
    world.expect(&instance, &calls).await;
}
