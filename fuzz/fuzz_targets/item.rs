//! An item of the shared table, which anybody with access to the table may have written. The AWS
//! SDK reads it from a response, without a network. A key of the item may be used only if its times
//! are present and in order, and it has not expired.
#![no_main]

use std::{
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client, Config,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
};
use aws_smithy_runtime_api::{
    client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    http::{Request, Response},
};
use aws_smithy_types::body::SdkBody;
use libfuzzer_sys::fuzz_target;
use okta_authorizer::{
    https::{HttpsClient, TrustAnchors},
    keys::{KeyError, KeySet, KeyStore, KeysEndpoint, KeysTable, RefreshPolicy},
};
use okta_authorizer_fuzz::{
    json::{Object, object, read, string},
    sample::NOW,
};
use serde_json::value::RawValue;
use tokio::{
    runtime::{Builder, Runtime},
    time::sleep,
};

const REFRESH_POLICY: RefreshPolicy = RefreshPolicy { refresh_seconds: 3_600, max_stale_seconds: 86_400 };

/// Time is paused: it jumps to the next timer, so that waiting for a lease takes no time.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().start_paused(true).build().unwrap());

/// The table's item, and whether its lease can be acquired.
static ITEM: Mutex<(String, bool)> = Mutex::new((String::new(), false));

#[derive(Debug)]
struct Table;

impl HttpConnector for Table {
    fn call(&self, request: Request) -> HttpConnectorFuture {
        HttpConnectorFuture::new(async move {
            // Just below the operation's timeout, so that waiting for a lease takes few requests.
            sleep(Duration::from_millis(450)).await;
            let (item, lease_is_free) = &*ITEM.lock().unwrap();
            let operation = request.headers().get("x-amz-target").unwrap().rsplit('.').next().unwrap();
            let (status, body) = match operation {
                "GetItem" => (200, format!(r#"{{"Item":{item}}}"#)),
                "UpdateItem" if !lease_is_free => {
                    let kind = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
                    (400, format!(r#"{{"__type":"{kind}","Item":{item}}}"#))
                }
                _ => (200, "{}".to_owned()),
            };
            Ok(Response::new(status.try_into().unwrap(), SdkBody::from(body)))
        })
    }
}

/// By how much the clock is ahead from its third reading on, in seconds.
const LATER: u64 = 20;

static TABLE: LazyLock<KeysTable> = LazyLock::new(|| {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::for_tests())
        .retry_config(RetryConfig::disabled())
        .http_client(http_client_fn(|_, _| SharedHttpConnector::new(Table)))
        .build();
    KeysTable::new(Client::from_conf(config), "keys".to_owned())
});

/// Every request fails at once, because the client does not support the endpoint's scheme.
static OKTA: LazyLock<HttpsClient> = LazyLock::new(|| HttpsClient::new(TrustAnchors::Embedded));

fuzz_target!(|input: &str| {
    let Some(item) = input.strip_prefix(['0', '1']) else { return };
    // Text that is not one value could add members to the response around it.
    if serde_json::from_str::<&RawValue>(item).is_err() {
        return;
    }
    *ITEM.lock().unwrap() = (item.to_owned(), input.starts_with('1'));
    let (known, unknown) = RUNTIME.block_on(async {
        let okta = KeysEndpoint::new("none://okta/".parse().unwrap(), &OKTA);
        // The clock is fast, so that no lookup waits for another instance.
        let readings = AtomicU64::new(0);
        let clock = move || (NOW + if readings.fetch_add(1, Relaxed) < 2 { 0 } else { LATER }) * 1_000;
        let store = KeyStore::remote(okta, Some(TABLE.clone()), REFRESH_POLICY, Arc::new(clock));
        store.load(NOW).await;
        (store.key("sample", NOW).await, store.key("another", NOW).await)
    });
    let usable =
        object(item.as_bytes()).and_then(|item| usable_keys(&item, NOW).or_else(|| usable_keys(&item, NOW + LATER)));
    let has = |kid: &str| usable.as_ref().is_some_and(|keys| keys.key(kid).is_some());
    for (kid, result) in [("sample", known), ("another", unknown)] {
        match result {
            Ok(_) => assert!(has(kid), "a key of an unusable item"),
            Err(KeyError::UnknownKid) => assert!(usable.is_some() && !has(kid), "the keys of an unusable item"),
            Err(KeyError::Unavailable) => {}
        }
    }
});

fn usable_keys(item: &Object<'_>, now: u64) -> Option<KeySet> {
    let attribute = |name, kind| string(&read::<Object<'_>>(item, name)?, kind);
    let number = |name| attribute(name, "N")?.parse::<u64>().ok();
    let (fetched, refresh, expires) = (number("fetched_at")?, number("refresh_at")?, number("expires_at")?);
    let is_usable =
        fetched <= now + 5 && fetched < refresh && now < expires && now < fetched + REFRESH_POLICY.max_stale_seconds;
    is_usable.then(|| KeySet::parse(attribute("keys", "S")?.as_bytes()).ok()).flatten()
}
