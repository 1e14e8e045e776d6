//! Scenarios of many key stores that share one table and one Okta, like the instances of one
//! function. Time is simulated.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::{
    config::{
        BehaviorVersion, ConfigBag, Credentials, Intercept, Region, RuntimeComponents,
        interceptors::BeforeTransmitInterceptorContextRef, retry::RetryConfig,
    },
    error::BoxError,
};
use futures_util::{FutureExt, StreamExt, stream};
use okta_authorizer::{
    https::{HttpsClient, TrustAnchors},
    keys::{Clock, KeyError, KeyStore, KeysEndpoint, KeysTable, RefreshPolicy},
};
use okta_authorizer_testkit::{
    keys,
    okta::{Okta, Reply},
    table::{TABLE, Table, closed_port},
};

use crate::fault_proxy::{FaultProxy, TableFault};

/// The simulated second in which every scenario starts.
pub const START: u64 = 1_800_000_000;
/// See [`together`].
const INSTANCES_AT_ONCE: usize = 100;
/// How long Okta takes to respond.
const DELAY: Duration = Duration::from_millis(150);

/// A clock that goes on only when a test sets it.
#[derive(Clone, Default)]
pub struct SimulatedClock(Arc<AtomicU64>);

impl SimulatedClock {
    pub fn set(&self, seconds: u64) {
        self.0.store(seconds * 1_000, Ordering::SeqCst);
    }

    pub fn set_millis(&self, millis: u64) {
        self.0.store(millis, Ordering::SeqCst);
    }

    pub fn clock(&self) -> Clock {
        let millis = self.0.clone();
        Arc::new(move || millis.load(Ordering::SeqCst))
    }
}

/// `N` instances, their table and their Okta.
pub struct Fleet {
    pub okta: Okta,
    pub stores: Vec<KeyStore>,
    clock: SimulatedClock,
    table_requests: Arc<AtomicUsize>,
    /// Dropping them closes their ports.
    _table: Option<(Table, Option<FaultProxy>)>,
}

/// The results of one call per instance.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    pub found: usize,
    pub unknown: usize,
    pub unavailable: usize,
}

/// The cost of a scenario.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    pub okta_requests: usize,
    pub table_requests: usize,
    /// Lookups of a published key that did not return it.
    pub refused_valid: usize,
    /// Simulated seconds until every instance had the current keys.
    pub all_have_keys_after: Option<u64>,
}

#[derive(Debug)]
struct Count(Arc<AtomicUsize>);

impl Intercept for Count {
    fn name(&self) -> &'static str {
        "count"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A client for a table on loopback. It counts its requests.
pub fn client(endpoint: &str, requests: Arc<AtomicUsize>) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::for_tests())
        .endpoint_url(endpoint)
        .http_client(HttpsClient::new(TrustAnchors::Embedded).aws_sdk_client())
        .retry_config(RetryConfig::disabled())
        .interceptor(Count(requests))
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

impl Fleet {
    /// Instances that have not loaded keys, an empty table, and an Okta with the key `main`.
    pub async fn new(instances: usize) -> Self {
        let table = Table::start().await;
        let endpoint = table.endpoint.clone();
        Self::with_table(instances, Some((table, None)), Some(endpoint)).await
    }

    /// The same, and each operation on the table takes this time.
    pub async fn with_slow_table(instances: usize, delay: Duration) -> Self {
        let table = Table::start().await;
        let proxy = FaultProxy::start(table.address).await;
        proxy.set(TableFault::Slow(delay));
        let endpoint = proxy.endpoint.clone();
        Self::with_table(instances, Some((table, Some(proxy))), Some(endpoint)).await
    }

    /// Instances whose table refuses connections.
    pub async fn table_down(instances: usize) -> Self {
        Self::with_table(instances, None, Some(closed_port().await)).await
    }

    /// Instances without a table.
    pub async fn without_table(instances: usize) -> Self {
        Self::with_table(instances, None, None).await
    }

    async fn with_table(
        instances: usize,
        table: Option<(Table, Option<FaultProxy>)>,
        endpoint: Option<String>,
    ) -> Self {
        let okta = Okta::start(Reply::keys(&keys::jwks(&[keys::main()])).after(DELAY)).await;
        let table_requests = Arc::new(AtomicUsize::new(0));
        let shared =
            endpoint.map(|endpoint| KeysTable::new(client(&endpoint, table_requests.clone()), TABLE.to_owned()));
        let clock = SimulatedClock::default();
        let refresh_policy = RefreshPolicy { refresh_seconds: 3_600, max_stale_seconds: 86_400 };
        let stores = (0..instances)
            .map(|_| {
                let client = HttpsClient::new(TrustAnchors::Embedded);
                let endpoint = KeysEndpoint::new(okta.keys_endpoint().parse().unwrap(), &client);
                KeyStore::remote(endpoint, shared.clone(), refresh_policy, clock.clock())
            })
            .collect();
        Self { okta, stores, clock, table_requests, _table: table }
    }

    pub fn set_clock(&self, seconds: u64) {
        self.clock.set(seconds);
    }

    pub fn set_clock_millis(&self, millis: u64) {
        self.clock.set_millis(millis);
    }

    /// All instances start at once.
    pub async fn start(&self, now: u64) {
        self.clock.set(now);
        together(self.stores.iter().map(|store| store.load(now))).await;
    }

    /// Looks the same key up in all instances at once, and waits for the end of all lookups.
    pub async fn round(&self, kid: &str, now: u64) -> Round {
        self.clock.set(now);
        let mut round = Round::default();
        for result in together(self.stores.iter().map(|store| store.key(kid, now))).await {
            match result {
                Ok(_) => round.found += 1,
                Err(KeyError::UnknownKid) => round.unknown += 1,
                Err(KeyError::Unavailable) => round.unavailable += 1,
            }
        }
        // The clock must not go on during a lookup that took less than a second.
        together(self.stores.iter().map(KeyStore::lookup_ended)).await;
        round
    }

    pub fn table_requests(&self) -> usize {
        self.table_requests.load(Ordering::Relaxed)
    }

    fn report(&self, since: (usize, usize), refused_valid: usize, all_have_keys_after: Option<u64>) -> Report {
        Report {
            okta_requests: self.okta.requests() - since.0,
            table_requests: self.table_requests() - since.1,
            refused_valid,
            all_have_keys_after,
        }
    }

    fn requests(&self) -> (usize, usize) {
        (self.okta.requests(), self.table_requests())
    }
}

/// All instances start at once on an empty table. Then each looks up a published key.
pub async fn cold_start(instances: usize) -> Report {
    let fleet = Fleet::new(instances).await;
    fleet.start(START).await;
    let round = fleet.round("main", START).await;
    fleet.report((0, 0), instances - round.found, Some(0))
}

/// The same without a table.
pub async fn table_down(instances: usize) -> Report {
    let fleet = Fleet::table_down(instances).await;
    fleet.start(START).await;
    let round = fleet.round("main", START).await;
    fleet.report((0, 0), instances - round.found, Some(0))
}

/// A second key is published. Every second, all instances look it up, until all of them have it.
pub async fn rotation(instances: usize) -> Report {
    let fleet = Fleet::new(instances).await;
    fleet.start(START).await;
    let since = fleet.requests();
    fleet.okta.answer(Reply::keys(&keys::jwks(&[keys::main(), keys::second()])).after(DELAY));
    let published = START + 100;
    let mut refused = 0;
    let mut after = None;
    for second in 0..60 {
        let round = fleet.round("second", published + second).await;
        refused += instances - round.found;
        if round.found == instances {
            after = Some(second);
            break;
        }
    }
    fleet.report(since, refused, after)
}

/// A second key replaces the first just before the refresh is due. How long does any instance
/// accept the first key?
pub async fn withdrawal(instances: usize) -> Report {
    let fleet = Fleet::new(instances).await;
    fleet.start(START).await;
    let since = fleet.requests();
    fleet.okta.answer(Reply::keys(&keys::jwks(&[keys::second()])).after(DELAY));
    let due = START + 3_600;
    let mut after = None;
    for second in 0..60 {
        if fleet.round("main", due + second).await.unknown == instances {
            after = Some(second);
            break;
        }
    }
    let refused = instances - fleet.round("second", due + 60).await.found;
    fleet.report(since, refused, after)
}

/// Forged kids within a simulated minute, spread over the fleet. A valid call follows each. Also
/// returns the median durations of a valid call before and during the flood.
pub async fn flood(instances: usize, forged: usize) -> (Report, [Duration; 2]) {
    let fleet = Fleet::new(instances).await;
    fleet.start(START).await;
    let since = fleet.requests();
    let quiet = fleet.minute(0, forged, START + 100).await;
    let flooded = fleet.minute(forged, forged, START + 200).await;
    let report = fleet.report(since, quiet.refused + flooded.refused, None);
    (report, [median(quiet.durations), median(flooded.durations)])
}

#[derive(Default)]
struct Calls {
    refused: usize,
    durations: Vec<Duration>,
}

impl Fleet {
    /// One minute that starts at `from`. Unknown and known kids are spread evenly over the minute
    /// and the fleet.
    async fn minute(&self, forged: usize, valid: usize, from: u64) -> Calls {
        let mut minute = Calls::default();
        let share = |count: usize, part: usize, parts: usize| count / parts + usize::from(part < count % parts);
        for second in 0..60 {
            let (forged, valid) = (share(forged, second, 60), share(valid, second, 60));
            self.clock.set(from + second as u64);
            let calls = self.stores.iter().enumerate().map(|(instance, store)| {
                let n = self.stores.len();
                calls(store, share(forged, instance, n), share(valid, instance, n), from + second as u64)
            });
            for calls in together(calls).await {
                minute.refused += calls.refused;
                minute.durations.extend(calls.durations);
            }
        }
        minute
    }
}

/// Runs what all instances do at the same simulated time. All instances share the CPUs of one machine
/// with the table, and an operation on the table has 500 real milliseconds. So only some instances run at
/// once, because a thousand would make the table slower than a real one.
async fn together<F: Future>(instances: impl Iterator<Item = F>) -> Vec<F::Output> {
    stream::iter(instances).buffer_unordered(INSTANCES_AT_ONCE).collect().await
}

async fn calls(store: &KeyStore, forged: usize, valid: usize, now: u64) -> Calls {
    let mut calls = Calls::default();
    for call in 0..forged.max(valid) {
        if call < forged {
            assert_eq!(store.key(&format!("forged-{now}-{call}"), now).await.unwrap_err(), KeyError::UnknownKid);
        }
        if call < valid {
            let start = Instant::now();
            // A cached key is returned at once, so a call that has to wait counts as refused.
            let key = store.key("main", now).now_or_never();
            calls.refused += usize::from(!matches!(key, Some(Ok(_))));
            calls.durations.push(start.elapsed());
        }
    }
    calls
}

fn median(mut durations: Vec<Duration>) -> Duration {
    durations.sort_unstable();
    durations.get(durations.len() / 2).copied().unwrap_or_default()
}

/// Okta fails for 24 hours from the first refresh on, and every instance has a call every half
/// hour. Also returns the results of one call per instance when the keys have expired, and when
/// Okta works again.
pub async fn outage(instances: usize) -> (Report, Round, Round) {
    let fleet = Fleet::new(instances).await;
    fleet.start(START).await;
    let since = fleet.requests();
    fleet.okta.answer(Reply::HangUp);
    let mut refused = 0;
    for half_hour in 1..48 {
        refused += instances - fleet.round("main", START + half_hour * 1_800).await.found;
    }
    let report = fleet.report(since, refused, None);
    let after_a_day = fleet.round("main", START + 86_400).await;
    fleet.okta.answer(Reply::keys(&keys::jwks(&[keys::main()])).after(DELAY));
    let okta_is_back = fleet.round("main", START + 86_500).await;
    (report, after_a_day, okta_is_back)
}
