//! What clients see of an API that the local gateway serves with the real binary: the demo API of
//! `examples/demo` with the tests' rules, and a user's own API with own rules.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test panics")]

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use okta_authorizer_testkit::{
    RULES_FILE,
    env::Env,
    gateway::{
        api_gateway::{Gateway, SOURCE_HEADER, read_api, stage},
        issuer::Issuer,
    },
    keys, now,
    runtime_api::Authorizer,
    table::{Table, closed_port, item},
    temp_file::TempFile,
    token::claims_of,
};
use reqwest::{Client, Method, RequestBuilder, header::HeaderMap};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// The status of requests by `00u1`, the administrator of the tenant `acme`: method, route, path,
/// status.
const TENANT_ADMIN: [(&str, &str, &str, u16); 38] = [
    ("GET", "/hello/{uid}", "/hello/00u1", 200),
    ("POST", "/hello/{uid}", "/hello/00u1", 403),
    ("GET", "/hello/{uid}", "/hello/00u2", 403),
    ("GET", "/users/{uid}/balance", "/users/00u1/balance", 200),
    ("GET", "/users/{uid}/balance", "/users/00u2/balance", 403),
    ("DELETE", "/users/{uid}/balance", "/users/00u1/balance", 403),
    ("GET", "/home/premium", "/home/premium", 403),
    ("POST", "/home/premium", "/home/premium", 403),
    ("GET", "/apps", "/apps", 200),
    ("POST", "/apps", "/apps", 403),
    ("GET", "/apps/{proxy+}", "/apps/0oa9", 200),
    ("GET", "/apps/{proxy+}", "/apps/0oa9/icon/large.png?size=2", 200),
    ("PATCH", "/apps/{proxy+}", "/apps/0oa9", 403),
    ("GET", "/apps/{proxy+}", "/apps/..%2ftenants", 403),
    ("GET", "/tenants", "/tenants", 403),
    ("POST", "/tenants", "/tenants", 403),
    ("GET", "/tenants/{proxy+}", "/tenants/acme", 200),
    ("DELETE", "/tenants/{proxy+}", "/tenants/acme", 403),
    ("GET", "/tenants/{proxy+}", "/tenants/acme2", 403),
    ("GET", "/tenants/{proxy+}", "/tenants/umbra", 403),
    ("GET", "/tenants/{proxy+}", "/tenants/acme/domains", 200),
    ("POST", "/tenants/{proxy+}", "/tenants/acme/domains", 200),
    ("GET", "/tenants/{proxy+}", "/tenants/acme/domains/acme.example", 200),
    ("PUT", "/tenants/{proxy+}", "/tenants/acme/domains/acme.example/verify", 200),
    ("DELETE", "/tenants/{proxy+}", "/tenants/acme/domains/acme.example", 200),
    ("POST", "/tenants/{proxy+}", "/tenants/acme/domains/acme.example", 403),
    ("PUT", "/tenants/{proxy+}", "/tenants/acme/admins/00u2", 200),
    ("PUT", "/tenants/{proxy+}", "/tenants/acme/apps/0oa9", 200),
    ("PUT", "/tenants/{proxy+}", "/tenants/umbra/admins/00u1", 403),
    ("GET", "/tenants/{proxy+}", "/tenants/acme/domains/..%2f..%2fumbra", 403),
    ("GET", "/tenants/{proxy+}", "/tenants/acme/domains/%252e%252e", 403),
    ("GET", "/tenants/{proxy+}", "/tenants/acme/domains/..%5c..%5cumbra", 403),
    ("GET", "/idps", "/idps", 200),
    ("GET", "/idps/{id}", "/idps/0oa1", 200),
    ("PUT", "/idps/{id}", "/idps/0oa1", 200),
    ("PUT", "/idps/{id}", "/idps/0oa2", 403),
    ("GET", "/idps/{id}/metadata.xml", "/idps/0oa1/metadata.xml", 200),
    ("GET", "/idps/{id}/metadata.xml", "/idps/0oa2/metadata.xml", 403),
];

/// The paths of [`TENANT_ADMIN`] that only the path guard denies.
const GUARDED: [&str; 4] = [
    "/apps/..%2ftenants",
    "/tenants/acme/domains/..%2f..%2fumbra",
    "/tenants/acme/domains/%252e%252e",
    "/tenants/acme/domains/..%5c..%5cumbra",
];

#[tokio::test]
async fn one_cached_policy_is_right_for_every_route() {
    let (issuer, api) = TestApi::with_issuer(None).await;
    let fields = [("uid", "00u1"), ("scope", "api:read"), ("groups", "ADMINS"), ("tenants", "0oa1:acme:00g1")];
    let token = login(&issuer, &fields).await;

    let listed: BTreeSet<_> = TENANT_ADMIN.iter().map(|(_, resource, ..)| (*resource).to_owned()).collect();
    assert_eq!(listed, api.resources);
    // The policy of any first request is cached for all the others.
    for start in 0..TENANT_ADMIN.len() {
        let (rest, first) = TENANT_ADMIN.split_at(start);
        for (index, (method, resource, path, status)) in first.iter().chain(rest).enumerate() {
            let answer = api.call(method, path, &token).await;
            assert_eq!(answer.status, *status, "{method} {path} after {:?}", first[0]);
            let source = if index == 0 { "asked" } else { "cached" };
            assert_eq!(answer.source(), if GUARDED.contains(path) { "guarded" } else { source }, "{path}");
            if *status == 200 {
                assert_eq!((&answer.body["method"], &answer.body["resource"]), (&json!(method), &json!(resource)));
            }
        }
        assert_eq!(api.gateway.authorizer().invocations(), start + 1);
        api.pass(api.gateway.ttl());
    }
}

#[tokio::test]
async fn an_allowed_request_carries_the_authorizers_context() {
    let (issuer, api) = TestApi::with_issuer(None).await;
    let token = login(&issuer, &[("uid", "00u1"), ("scope", "api:read openid"), ("tenants", "0oa1:acme:00g1")]).await;
    let answer = api.call("GET", "/hello/00u1", &token).await;
    let context = json!({
        "principalId": "00u1",
        "uid": "00u1",
        "sub": "00u1@example.com",
        "cid": "0oatoyclient",
        "scopes": "api:read openid",
        "tenants": r#"["0oa1:acme:00g1"]"#,
    });
    assert_eq!(answer.body, json!({ "method": "GET", "resource": "/hello/{uid}", "authorizer": context }));
    assert_eq!(answer.header("access-control-allow-origin"), "*");
}

#[tokio::test]
async fn a_machine_is_allowed_by_its_scope() {
    let (issuer, api) = TestApi::with_issuer(None).await;
    let form = [("grant_type", "client_credentials"), ("client_id", "0oarobot"), ("scope", "premium_api/read")];
    let token = request_token(&issuer, &form).await["access_token"].as_str().unwrap().to_owned();
    let answer = api.call("GET", "/home/premium", &token).await;
    assert_eq!((answer.status, &answer.body["authorizer"]["principalId"]), (200, &json!("0oarobot")));
    assert_eq!(api.call("POST", "/home/premium", &token).await.status, 403);
    let refused = request_token(&issuer, &[("grant_type", "password")]).await;
    assert_eq!(refused["error"], "unsupported_grant_type");
}

#[tokio::test]
async fn a_malformed_header_is_401_without_an_invocation() {
    let api = TestApi::pinned().await;
    let good = keys::sample().token(&claims_of("https://example.okta.com/oauth2/default"));
    // The authorizer accepts these spellings, but each one would be an entry of the gateway's
    // cache.
    let spellings = ["", "BEARER ", "bEARER ", "Bearer  ", "bearer   "].map(|scheme| format!("{scheme}{good}"));
    let junk = ["", "Bearer", "Basic YTpi", "Bearer a.b", "a.a.a.", "Bearer a.b.c d", "Bearer a.b.c.d.e"];
    let headers = junk.into_iter().chain(spellings.iter().map(String::as_str));
    for header in headers.map(Some).chain([None]) {
        let mut request = api.request("GET", "/hello/00u1");
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        let answer = Answer::of(request).await;
        let reason = match header {
            None => "there is no header Authorization",
            Some(_) => "the header Authorization does not match ^[Bb]earer [A-Za-z0-9_-]+([.][A-Za-z0-9_-]+){2}$",
        };
        assert_eq!(answer.header(SOURCE_HEADER), format!("refused; {reason}"), "{header:?}");
        answer.assert_401_of_the_template();
    }
    assert_eq!(api.gateway.authorizer().invocations(), 0);
    for scheme in ["Bearer", "bearer"] {
        let request = api.request("GET", "/apps").header("authorization", format!("{scheme} {good}"));
        assert_eq!(Answer::of(request).await.source(), "asked", "{scheme}");
    }
}

#[tokio::test]
async fn a_refused_token_is_401_and_is_not_cached() {
    let api = TestApi::pinned().await;
    for call in 1..=2 {
        let answer = api.call("GET", "/hello/00u1", "bm8.bm8.bm8").await;
        answer.assert_401_of_the_template();
        assert_eq!(answer.header(SOURCE_HEADER), "refused; the authorizer says why in its log");
        assert_eq!(api.gateway.authorizer().invocations(), call);
    }
}

#[tokio::test]
async fn a_denied_request_is_403_and_the_policy_is_cached() {
    let (issuer, api) = TestApi::with_issuer(None).await;
    let token = login(&issuer, &[("uid", "00u1")]).await;
    let denied = "User is not authorized to access this resource";
    for (path, source, message) in [
        // The policy denies the route that it was made for explicitly.
        ("/hello/00u2", "asked", format!("{denied} with an explicit deny")),
        ("/hello/00u2", "cached", format!("{denied} with an explicit deny")),
        ("/hello/00u3", "cached", denied.to_owned()),
    ] {
        let answer = api.call("GET", path, &token).await;
        assert_eq!(answer.status, 403);
        assert_eq!(answer.header(SOURCE_HEADER), format!("{source}; denied: no rule grants it"));
        assert_eq!(answer.body, json!({ "message": message, "type": "ACCESS_DENIED" }));
        answer.assert_json_for_any_origin();
    }
    assert_eq!(api.gateway.authorizer().invocations(), 1);
}

#[tokio::test]
async fn an_unreachable_issuer_is_500() {
    let closed = closed_port().await;
    let api = TestApi::start(Env::lambda().with("OKTA_ISSUER", format!("{closed}/oauth2/default")), None).await;
    let claims = claims_of(&format!("{closed}/oauth2/default"));
    let answer = api.call("GET", "/hello/00uada", &keys::main().token(&claims)).await;
    assert_eq!((answer.status, answer.header(SOURCE_HEADER)), (500, "asked; it failed, and says why in its log"));
    assert_eq!(answer.body, json!({ "message": "The token could not be checked", "type": "AUTHORIZER_FAILURE" }));
    answer.assert_json_for_any_origin();
}

#[tokio::test]
async fn an_unknown_route_is_404_with_any_token() {
    let api = TestApi::pinned().await;
    assert!(api.url.ends_with("/demo"), "{}", api.url);
    for path in ["/", "/nothing", "/apps//", "/hello", "/hello/", "/hello/00u1/more", "/home/premium2", "/Apps"] {
        let answer = api.call("GET", path, "a.b.c").await;
        assert_eq!((answer.status, answer.header(SOURCE_HEADER)), (404, "not asked; there is no such route"), "{path}");
        assert_eq!(answer.body, json!({ "message": "No such route", "type": "MISSING_AUTHENTICATION_TOKEN" }));
        answer.assert_json_for_any_origin();
    }
}

#[tokio::test]
async fn a_preflight_needs_no_token() {
    let api = TestApi::pinned().await;
    let answer = Answer::of(api.request("OPTIONS", "/idps/0oa1")).await;
    let source = "open; SAM answers a browser's preflight without an authorizer";
    assert_eq!((answer.status, answer.header(SOURCE_HEADER)), (200, source));
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("access-control-allow-headers"), "Authorization,Content-Type");
}

#[tokio::test]
async fn a_policy_is_cached_per_token_for_the_templates_ttl() {
    let (issuer, api) = TestApi::with_issuer(None).await;
    assert_eq!(api.gateway.ttl(), Duration::from_mins(5));
    let [one, other] = [login(&issuer, &[("uid", "00u1")]).await, login(&issuer, &[("uid", "00u1")]).await];
    // The fourth request shows that a use does not extend the lifetime.
    for (seconds, token, source, invocations) in [
        (0, &one, "asked", 1),
        (0, &other, "asked", 2),
        (299, &one, "cached", 2),
        (1, &one, "asked", 3),
        (0, &one, "cached", 3),
    ] {
        api.pass(Duration::from_secs(seconds));
        let answer = api.call("GET", "/apps", token).await;
        assert_eq!((answer.source(), api.gateway.authorizer().invocations()), (source, invocations));
    }
}

#[tokio::test]
async fn a_ttl_of_zero_invokes_the_authorizer_on_every_request() {
    let (issuer, api) = TestApi::with_issuer(Some(Duration::ZERO)).await;
    let token = login(&issuer, &[("uid", "00u1")]).await;
    for call in 1..=3 {
        assert_eq!(api.call("GET", "/apps", &token).await.source(), "asked");
        assert_eq!(api.gateway.authorizer().invocations(), call);
    }
}

/// The keys in the table are a minute old, so that the authorizer may request the keys from the
/// issuer at once.
#[tokio::test]
async fn tokens_of_old_and_new_keys_pass_after_a_rotation() {
    let issuer = issuer().await;
    let table = Table::start().await;
    let endpoint = format!("{}/v1/keys", issuer.issuer());
    let published: Value = Client::new().get(&endpoint).send().await.unwrap().text().await.unwrap().parse().unwrap();
    table.put(&item(&endpoint, &published, now(), 60));
    let env = env_of(&issuer).table(&table.endpoint);
    let api = TestApi::start(env, Some(Duration::ZERO)).await;

    let before = login(&issuer, &[("uid", "00u1")]).await;
    assert_eq!(api.call("GET", "/hello/00u1", &before).await.status, 200);
    let rotated = Client::new().post(format!("{}/rotate", issuer.origin())).send().await.unwrap().text().await.unwrap();
    let rotated: Value = rotated.parse().unwrap();
    assert_eq!((&rotated["signs"], &rotated["published"]), (&json!("toy-2"), &json!(["toy-1", "toy-2"])));
    let after = login(&issuer, &[("uid", "00u1")]).await;
    for token in [&before, &after, &before, &after] {
        assert_eq!(api.call("GET", "/hello/00u1", token).await.status, 200);
    }
}

#[tokio::test]
async fn the_sample_events_get_the_status_that_their_names_say() {
    let api = TestApi::pinned().await;
    for (file, status) in [
        ("own-resource", 200),
        ("others-resource", 403),
        ("scope-present", 200),
        ("scope-missing", 403),
        ("machine-write", 200),
        ("machine-write-with-read-scope", 403),
        ("superuser", 200),
        ("tenant-admin", 200),
        ("tenant-admin-of-another", 403),
        ("expired", 401),
        ("tampered", 401),
        ("wrong-audience", 401),
    ] {
        let event = Path::new(env!("CARGO_MANIFEST_DIR")).join("events").join(file).with_extension("json");
        let event: Value = fs::read_to_string(event).unwrap().parse().unwrap();
        let arn = event["methodArn"].as_str().unwrap();
        let [_, _, method, path] = arn.splitn(4, '/').collect::<Vec<_>>()[..] else { panic!("{arn}") };
        let request = api.request(method, &format!("/{path}"));
        let answer = Answer::of(request.header("authorization", event["authorizationToken"].as_str().unwrap())).await;
        assert_eq!(answer.status, status, "{file}");
    }
}

const OWN_API: &str = r"
openapi: 3.0.1
components:
  securitySchemes:
    Okta: { type: apiKey, in: header, name: Authorization, x-amazon-apigateway-authorizer: { type: token } }
    Pool: { type: apiKey, in: header, name: Authorization, x-amazon-apigateway-authorizer: { type: cognito_user_pools } }
paths:
  /: { get: { security: [{ Okta: [] }] } }
  /health: { get: { security: [] } }
  /orders/{id}: { get: { security: [{ Okta: [] }] }, delete: { security: [{ Okta: [] }] } }
  /files/{path+}: { x-amazon-apigateway-any-method: { security: [{ Okta: [] }] } }
  /users: { get: { security: [{ Pool: [] }] }, options: {} }
";

const OWN_RULES: &str = r#"[[allow]]
name   = "own region"
when   = { region = "{region}" }
routes = ["GET /orders/{region}", "GET /files/{region}/*"]

[[allow]]
when   = { "/address/country" = "DE", level = "3" }
routes = ["DELETE /orders/*", "GET /"]

[[deny]]
when   = { groups = "SUSPENDED" }
routes = ["ANY /*"]
"#;

#[tokio::test]
async fn a_users_own_api_has_own_routes_rules_and_claims() {
    let (file, rules) = (TempFile::new("api.yaml", OWN_API), TempFile::new("policy.toml", OWN_RULES));
    let (issuer, api) = TestApi::own(&file, &rules).await;
    assert!(api.url.ends_with("/prod"), "{}", api.url);
    let ada = [("uid", "00u1"), ("region", "eu"), ("level:", "3"), ("address:", r#"{"country":"DE"}"#)];
    let banned = [&ada[..], &[("groups", "SUSPENDED")]].concat();
    let (ada, bob) = (login(&issuer, &ada).await, login(&issuer, &[("uid", "00u2"), ("region", "us")]).await);
    let banned = login(&issuer, &banned).await;
    for (token, method, path, status, source) in [
        (&ada, "GET", "/orders/eu", 200, "asked; allowed by the rule \"own region\""),
        (&ada, "GET", "/orders/us", 403, "cached; denied: no rule grants it"),
        (&ada, "DELETE", "/orders/us", 200, "cached; allowed by the rule in line 6"),
        (&ada, "GET", "/", 200, "cached; allowed by the rule in line 6"),
        (&ada, "GET", "", 200, "cached; allowed by the rule in line 6"),
        (&ada, "GET", "/files/eu/a/b.pdf", 200, "cached; allowed by the rule \"own region\""),
        (&ada, "GET", "/files/eu/..%2fus", 403, "guarded; denied by the path guard"),
        (&ada, "PUT", "/orders/eu", 404, "not asked; there is no such route"),
        (&bob, "GET", "/files/us/..%2feu", 403, "guarded; denied by the path guard"),
        (&bob, "GET", "/orders/us", 200, "cached; allowed by the rule \"own region\""),
        (&bob, "DELETE", "/orders/us", 403, "cached; denied: no rule grants it"),
        (&banned, "GET", "/orders/eu", 403, "asked; denied by the rule in line 10"),
        (&banned, "GET", "/health", 200, "open; its `security` is empty"),
        (&banned, "OPTIONS", "/users", 200, "open; it has no `security`"),
        (
            &ada,
            "GET",
            "/users",
            501,
            "not asked; a Cognito user pool decides, and the local gateway does not have that",
        ),
    ] {
        let answer = api.call(method, path, token).await;
        assert_eq!((answer.status, answer.header(SOURCE_HEADER)), (status, source), "{method} {path}");
    }
    assert_eq!(api.gateway.authorizer().invocations(), 3);

    let answer = api.call("GET", "/orders/eu", &ada).await;
    let context = json!({
        "principalId": "00u1", "uid": "00u1", "sub": "00u1@example.com", "cid": "0oatoyclient", "region": "eu",
        "level": "3",
    });
    assert_eq!(answer.body, json!({ "method": "GET", "resource": "/orders/{id}", "authorizer": context }));
    let open = Answer::of(api.request("GET", "/health")).await;
    assert_eq!((open.status, open.header(SOURCE_HEADER)), (200, "open; its `security` is empty"));
    assert_eq!(open.body, json!({ "method": "GET", "resource": "/health", "authorizer": null }));
}

/// 600 routes do not fit, so the answer depends on the request that the policy was made for.
#[tokio::test]
async fn a_route_that_the_cached_policy_left_out_is_named() {
    let rules = "[[allow]]\nwhen = { region = '{region}' }\nroutes = ['GET /orders/{region}']\n";
    let (file, rules) = (TempFile::new("api.yaml", OWN_API), TempFile::new("policy.toml", rules));
    let (issuer, api) = TestApi::own(&file, &rules).await;
    let regions: Vec<_> = (0..600).map(|number| format!("region-{number:03}")).collect();
    let fields = regions.iter().map(|region| ("region", region.as_str()));
    let token = login(&issuer, &[("uid", "00u1")].into_iter().chain(fields).collect::<Vec<_>>()).await;
    for (path, status, source) in [
        ("/orders/region-599", 200, "asked; allowed by the rule in line 1"),
        ("/orders/region-000", 200, "cached; allowed by the rule in line 1"),
        ("/orders/other", 403, "cached; denied: no rule grants it"),
    ] {
        let answer = api.call("GET", path, &token).await;
        assert_eq!((answer.status, answer.header(SOURCE_HEADER)), (status, source), "{path}");
    }
    let answer = api.call("GET", "/orders/region-598", &token).await;
    let source = "cached; denied under the policy that was made for GET /orders/region-599 (208 routes left out)";
    assert_eq!((answer.status, answer.header(SOURCE_HEADER)), (403, source));
}

#[tokio::test]
async fn an_api_that_cannot_be_read_is_one_line() {
    let read = |name: &str, text: &str| {
        let file = TempFile::new(name, text);
        let error = read_api(Some(file.path())).err().map(|error| error.to_string());
        error.map(|error| error.replace(&file.path().display().to_string(), name))
    };
    assert_eq!(read("good.yaml", "openapi: 3.0.1\npaths: { /a: { get: {} } }\n"), None);
    for (name, text, error) in [
        ("twice.yaml", "openapi: 3.0.1\npaths: {}\npaths: {}\n", "twice.yaml:3:1: the key `paths` is written twice"),
        ("empty.yaml", "openapi: 3.0.1\npaths: {}\n", "empty.yaml:1:1: the document has no operation of a REST API"),
        ("rules.toml", OWN_RULES, "rules.toml: this is a rules file, which belongs to --rules"),
    ] {
        let found = read(name, text).unwrap();
        assert!(found.starts_with(error) && found.lines().count() == 1, "{found}");
    }
    let error = read_api(Some(Path::new("/nowhere/api.yaml"))).err().unwrap();
    assert_eq!(error.to_string(), "/nowhere/api.yaml: there is no such file");
}

#[tokio::test]
async fn a_field_that_the_toy_issuer_cannot_mean_is_refused() {
    let issuer = issuer().await;
    let own = "leave it out, because the toy issuer sets it itself";
    let toy = [("grant_type", "toy"), ("uid", "00u1")];
    let client = [("grant_type", "client_credentials")];
    for (form, field, problem) in [
        (&toy[..], ("exp", "1"), format!("the claim exp cannot be set in this way; {own}")),
        (&toy, ("iss:", "1"), format!("the claim iss cannot be set in this way; {own}")),
        (&client, ("aud", "x"), format!("the claim aud cannot be set in this way; {own}")),
        (&toy, ("cid", "x"), "the claim cid cannot be set in this way; write client_id=TEXT".to_owned()),
        (&toy, ("scp", "x"), "the claim scp cannot be set in this way; write scope=TEXT".to_owned()),
        (&toy, ("uid", "00u2"), "uid is there 2 times; expected it once".to_owned()),
        (
            &toy,
            ("level:", "x"),
            "the value of level:= is not JSON (expected value at line 1 column 1); for a text write level=TEXT"
                .to_owned(),
        ),
        (
            &[client[0], ("scope", "a")],
            ("scope", "b"),
            "scope is there more than once; expected it once, and scopes with a space between".to_owned(),
        ),
        (
            &client,
            ("uid", "00u1"),
            "a token of client_credentials has no uid of its own; write grant_type=toy".to_owned(),
        ),
        (&toy[..1], ("region", "eu"), "the grant toy needs the user's id; write uid=TEXT".to_owned()),
    ] {
        let refused = request_token(&issuer, &[form, &[field]].concat()).await;
        assert_eq!(refused, json!({ "error": "invalid_request", "error_description": problem }));
    }
    for form in [&toy[..], &client] {
        let good = request_token(&issuer, &[form, &[("region", "eu"), ("client_secret", "x")]].concat()).await;
        let payload = good["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        assert_eq!((&claims["region"], &claims["client_secret"]), (&json!("eu"), &Value::Null));
    }
}

/// An API on its own port, with a clock that only [`TestApi::pass`] moves.
struct TestApi {
    gateway: Arc<Gateway>,
    resources: BTreeSet<String>,
    url: String,
    client: Client,
    now: Arc<Mutex<Instant>>,
    server: JoinHandle<std::io::Result<()>>,
}

impl TestApi {
    /// The demo. The issuer and the key are those of the sample events.
    async fn pinned() -> Self {
        let env = Env::lambda().with("OKTA_ISSUER", "https://example.okta.com/oauth2/default");
        Self::start(env.with("OKTA_JWKS", keys::jwks(&[keys::sample()]).to_string()), None).await
    }

    /// The demo.
    async fn with_issuer(ttl: Option<Duration>) -> (Issuer, Self) {
        let issuer = issuer().await;
        let api = Self::start(env_of(&issuer), ttl).await;
        (issuer, api)
    }

    /// A user's own API and rules.
    async fn own(api: &TempFile, rules: &TempFile) -> (Issuer, Self) {
        let issuer = issuer().await;
        let env = env_of(&issuer).with("POLICY_FILE", rules.path()).with("CONTEXT_CLAIMS", "region,level");
        let api = Self::serve(Some(api.path()), rules.path(), env, None).await;
        (issuer, api)
    }

    async fn start(env: Env, ttl: Option<Duration>) -> Self {
        Self::serve(None, Path::new(RULES_FILE), env, ttl).await
    }

    async fn serve(api: Option<&Path>, rules: &Path, env: Env, ttl: Option<Duration>) -> Self {
        let api = read_api(api).unwrap();
        let resources = api.operations.iter().map(|operation| operation.path.clone()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/{}", listener.local_addr().unwrap(), stage(&api));
        let authorizer = Authorizer::start(&env).await;
        let now = Arc::new(Mutex::new(Instant::now()));
        let clock = Arc::clone(&now);
        let gateway = Gateway::new(api, rules, authorizer, ttl, Arc::new(move || *clock.lock().unwrap()));
        let gateway = Arc::new(gateway.unwrap());
        let server = gateway.serve(listener);
        let client = Client::builder().no_proxy().build().unwrap();
        Self { gateway, resources, url, client, now, server }
    }

    fn pass(&self, time: Duration) {
        *self.now.lock().unwrap() += time;
    }

    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.client.request(Method::from_bytes(method.as_bytes()).unwrap(), format!("{}{path}", self.url))
    }

    async fn call(&self, method: &str, path: &str, token: &str) -> Answer {
        Answer::of(self.request(method, path).header("authorization", format!("Bearer {token}"))).await
    }
}

impl Drop for TestApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let answer = Self { status, headers, body: response.text().await.unwrap().parse().unwrap_or_default() };
        // The rules explain what the authorizer's policy decided.
        if ["asked", "cached", "guarded"].contains(&answer.source()) && status != 500 {
            let header = answer.header(SOURCE_HEADER);
            assert_eq!((status == 200, status == 403), (header.contains("; allowed "), header.contains("; denied")));
        }
        answer
    }

    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// Who decided, without the reason.
    fn source(&self) -> &str {
        self.header(SOURCE_HEADER).split(';').next().unwrap()
    }

    fn assert_401_of_the_template(&self) {
        assert_eq!(self.status, 401);
        assert_eq!(self.body, json!({ "message": "Unauthorized", "type": "UNAUTHORIZED" }));
        assert_eq!(self.header("www-authenticate"), "Bearer");
        assert_eq!(self.header("access-control-expose-headers"), "WWW-Authenticate");
        self.assert_json_for_any_origin();
    }

    fn assert_json_for_any_origin(&self) {
        assert_eq!(self.header("content-type"), "application/json");
        assert_eq!(self.header("access-control-allow-origin"), "*");
    }
}

async fn issuer() -> Issuer {
    Issuer::start(TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap()
}

fn env_of(issuer: &Issuer) -> Env {
    Env::lambda().with("OKTA_ISSUER", issuer.issuer())
}

async fn login(issuer: &Issuer, fields: &[(&str, &str)]) -> String {
    let form = [&[("grant_type", "toy")], fields].concat();
    request_token(issuer, &form).await["access_token"].as_str().unwrap().to_owned()
}

async fn request_token(issuer: &Issuer, form: &[(&str, &str)]) -> Value {
    let request = Client::new().post(format!("{}/v1/token", issuer.issuer())).form(form);
    request.send().await.unwrap().text().await.unwrap().parse().unwrap()
}
