//! An item of the shared table, which anybody may have written: it comes out of the AWS SDK as `DynamoDB` would send it, on
//! paused time and without a network. A key is used only of an item that says when, and says it in order.
#![no_main]

use std::{
    sync::{LazyLock, Mutex},
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
use okta_authorizer_fuzz::sample::NOW;
use serde_json::Value;
use tokio::{
    runtime::{Builder, Runtime},
    time::sleep,
};

const REFRESH_POLICY: RefreshPolicy = RefreshPolicy { refresh_seconds: 3_600, max_stale_seconds: 86_400 };

/// Time does not pass by itself, so that nobody waits for a lease.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().start_paused(true).build().unwrap());

/// What the table answers: the item, and whether a lease is to be had.
static ITEM: Mutex<(String, bool)> = Mutex::new((String::new(), false));

#[derive(Debug)]
struct Table;

impl HttpConnector for Table {
    fn call(&self, request: Request) -> HttpConnectorFuture {
        HttpConnectorFuture::new(async move {
            // As long as the authorizer lets it, so that whoever waits for a lease does not ask too often.
            sleep(Duration::from_millis(450)).await;
            let (item, lease_is_to_be_had) = &*ITEM.lock().unwrap();
            let operation = request.headers().get("x-amz-target").unwrap().rsplit('.').next().unwrap();
            let (status, body) = match operation {
                "GetItem" => (200, format!(r#"{{"Item":{item}}}"#)),
                "UpdateItem" if !lease_is_to_be_had => {
                    let kind = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
                    (400, format!(r#"{{"__type":"{kind}","Item":{item}}}"#))
                }
                _ => (200, "{}".to_owned()),
            };
            Ok(Response::new(status.try_into().unwrap(), SdkBody::from(body)))
        })
    }
}

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

/// Its scheme is none that the client speaks, so it fails at once.
static OKTA: LazyLock<HttpsClient> = LazyLock::new(|| HttpsClient::new(TrustAnchors::Embedded));

fuzz_target!(|input: &str| {
    let Some(item) = input.strip_prefix(['0', '1']) else { return };
    *ITEM.lock().unwrap() = (item.to_owned(), input.starts_with('1'));
    let (known, unknown) = RUNTIME.block_on(async {
        let okta = KeysEndpoint::new("none://okta/".parse().unwrap(), OKTA.clone());
        let store = KeyStore::remote(okta, Some(TABLE.clone()), REFRESH_POLICY);
        store.load(NOW).await;
        (store.key("sample", NOW).await, store.key("another", NOW).await)
    });
    let item: Value = serde_json::from_str(item).unwrap_or_default();
    let usable = usable_keys(&item);
    let has = |kid: &str| usable.as_ref().is_some_and(|keys| keys.key(kid).is_some());
    for (kid, answer) in [("sample", known), ("another", unknown)] {
        match answer {
            Ok(_) => assert!(has(kid), "a key came out of a bad item"),
            Err(KeyError::UnknownKid) => assert!(usable.is_some() && !has(kid), "keys came out of a bad item"),
            Err(KeyError::Unavailable) => {}
        }
    }
});

fn usable_keys(item: &Value) -> Option<KeySet> {
    let number = |name: &str| item[name]["N"].as_str()?.parse::<u64>().ok();
    let (fetched, refresh, expires) = (number("fetched_at")?, number("refresh_at")?, number("expires_at")?);
    let good = fetched <= NOW + 5 && fetched < refresh && NOW < expires && NOW < fetched + REFRESH_POLICY.max_stale_seconds;
    good.then(|| KeySet::parse(item["keys"]["S"].as_str()?.as_bytes()).ok()).flatten()
}
