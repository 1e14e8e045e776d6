//! One table, one Okta, and instances that share them. Both servers can fail, and all requests to
//! them are counted.

use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use okta_authorizer::{
    https::{HttpsClient, TrustAnchors},
    keys::{KeyError, KeyStore, KeysEndpoint, KeysTable, RefreshPolicy, VerifyingKey},
};
use okta_authorizer_testkit::{
    Failures,
    keys::{self, Key, jwks},
    okta::{Okta, Reply},
    table::{TABLE, Table, item},
    tls::Authority,
};
use serde_json::Value;

use crate::{
    fault_proxy::FaultProxy,
    scenarios::{SimulatedClock, client},
};

/// The result of a call, and the number of requests to Okta and to the table that it caused.
pub type Call = (Result<(), KeyError>, usize, usize);

pub const FOUND: Result<(), KeyError> = Ok(());
pub const UNKNOWN: Result<(), KeyError> = Err(KeyError::UnknownKid);
pub const UNAVAILABLE: Result<(), KeyError> = Err(KeyError::Unavailable);

/// The default configuration.
pub const REFRESH_POLICY: RefreshPolicy = RefreshPolicy { refresh_seconds: 3_600, max_stale_seconds: 86_400 };

/// The authority that the instances trust.
pub fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(Authority::new)
}

/// A JWKS with the key `main` only.
pub fn only_main() -> Reply {
    Reply::keys(&jwks(&[keys::main()]))
}

pub struct Fixture {
    name: String,
    clock: SimulatedClock,
    pub okta: Okta,
    pub table: Table,
    pub proxy: FaultProxy,
    client: HttpsClient,
    shared: KeysTable,
    table_requests: Arc<AtomicUsize>,
    /// The numbers of requests to Okta and the table that [`Fixture::new_requests`] has already
    /// returned.
    reported: Mutex<(usize, usize)>,
}

impl Fixture {
    /// An empty table, and an Okta with the key `main`. Failures show the name.
    pub async fn new(name: impl Into<String>) -> Self {
        let table = Table::start().await;
        let proxy = FaultProxy::start(table.address).await;
        let table_requests = Arc::new(AtomicUsize::new(0));
        Self {
            name: name.into(),
            clock: SimulatedClock::default(),
            okta: Okta::start(only_main()).await,
            client: HttpsClient::new(TrustAnchors::from_pem(&authority().pem).unwrap()),
            shared: KeysTable::new(client(&proxy.endpoint, table_requests.clone()), TABLE.to_owned()),
            table,
            proxy,
            table_requests,
            reported: Mutex::default(),
        }
    }

    /// An instance with the default configuration that has not loaded keys.
    pub fn instance(&self) -> KeyStore {
        self.instance_with(REFRESH_POLICY)
    }

    pub fn instance_with(&self, refresh_policy: RefreshPolicy) -> KeyStore {
        self.instance_of(&self.okta.keys_endpoint(), refresh_policy)
    }

    /// An instance with another keys endpoint.
    pub fn instance_of(&self, keys_endpoint: &str, refresh_policy: RefreshPolicy) -> KeyStore {
        let endpoint = KeysEndpoint::new(keys_endpoint.parse().unwrap(), &self.client);
        KeyStore::remote(endpoint, Some(self.shared.clone()), refresh_policy, self.clock.clock())
    }

    /// An instance that has loaded keys, from the table or from Okta.
    pub async fn started(&self, now: u64) -> KeyStore {
        let instance = self.instance();
        assert_eq!(self.key(&instance, "main", now).await.map(drop), FOUND, "{}: a successful start", self.name);
        self.new_requests();
        instance
    }

    /// The number of requests to Okta and the table since the last call of this function.
    pub fn new_requests(&self) -> (usize, usize) {
        let now = (self.okta.requests(), self.table_requests.load(Ordering::SeqCst));
        let before = std::mem::replace(&mut *self.reported.lock().unwrap(), now);
        (now.0 - before.0, now.1 - before.1)
    }

    /// Sets the clock and looks a key up.
    pub async fn key(&self, instance: &KeyStore, kid: &str, now: u64) -> Result<VerifyingKey, KeyError> {
        self.clock.set(now);
        instance.key(kid, now).await
    }

    /// An instance without a table.
    pub fn instance_without_table(&self) -> KeyStore {
        let endpoint = KeysEndpoint::new(self.okta.keys_endpoint().parse().unwrap(), &self.client);
        KeyStore::remote(endpoint, None, REFRESH_POLICY, self.clock.clock())
    }

    /// Looks a key up, and waits for the end of the lookup that it started.
    pub async fn call(&self, instance: &KeyStore, kid: &str, now: u64) -> Call {
        let result = self.key(instance, kid, now).await.map(drop);
        instance.lookup_ended().await;
        let (okta, table) = self.new_requests();
        (result, okta, table)
    }

    /// Looks keys up, each at its second, and compares the results with the expected ones.
    pub async fn check(&self, failures: &mut Failures, instance: &KeyStore, calls: &[(&str, u64, Call)]) {
        for (number, (kid, now, expected)) in calls.iter().enumerate() {
            let call = self.call(instance, kid, *now).await;
            let Self { name, .. } = self;
            failures.check(call == *expected, || {
                format!("{name}: call {number}, {kid} at {now}: {call:?}, expected {expected:?}")
            });
        }
    }

    /// [`Fixture::check`] for a test with one case only. Panics if a result differs.
    pub async fn expect(&self, instance: &KeyStore, calls: &[(&str, u64, Call)]) {
        let mut failures = Failures::default();
        self.check(&mut failures, instance, calls).await;
        failures.report();
    }

    /// An item with these keys. They are due an hour after `fetched_at`.
    pub fn item(&self, keys: &[Key], fetched_at: u64) -> Value {
        item(&self.okta.keys_endpoint(), &jwks(keys), fetched_at, 0)
    }

    /// When the keys in the table were fetched.
    pub fn stored_at(&self) -> Option<u64> {
        let item = self.table.item(&self.okta.keys_endpoint())?;
        item.get("fetched_at")?["N"].as_str()?.parse().ok()
    }
}
