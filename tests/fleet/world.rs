//! One table and one Okta that can both go wrong, and instances whose every call is counted.

use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use okta_authorizer::{
    https::{HttpsClient, TrustAnchors},
    keys::{KeyError, KeyStore, KeysEndpoint, KeysTable, RefreshPolicy},
};
use serde_json::Value;

use crate::{
    gate::Gate,
    scenarios::client,
    support::{
        Faults,
        keys::{self, Key, jwks},
        okta::{Okta, Reply},
        table::{TABLE, Table, item},
        tls::Authority,
    },
};

/// What a call came to, and how often Okta and the table were asked for it.
pub type Call = (Result<(), KeyError>, usize, usize);

pub const FOUND: Result<(), KeyError> = Ok(());
pub const UNKNOWN: Result<(), KeyError> = Err(KeyError::UnknownKid);
pub const UNAVAILABLE: Result<(), KeyError> = Err(KeyError::Unavailable);

/// As the program has it unless it is told otherwise.
pub const REFRESH_POLICY: RefreshPolicy = RefreshPolicy { refresh_seconds: 3_600, max_stale_seconds: 86_400 };

/// Whom the instances trust.
pub fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(Authority::new)
}

/// What [`jwks`] says of the key `main` alone, unless another test says otherwise.
pub fn main_alone() -> Reply {
    Reply::keys(&jwks(&[keys::main()]))
}

pub struct World {
    name: String,
    pub okta: Okta,
    pub table: Table,
    pub gate: Gate,
    client: HttpsClient,
    shared: KeysTable,
    to_table: Arc<AtomicUsize>,
    /// What had been asked of Okta and the table when it was last looked at.
    seen: Mutex<(usize, usize)>,
}

impl World {
    /// An empty table, and an Okta with the key `main`. The name says in which case something was wrong.
    pub async fn new(name: impl Into<String>) -> Self {
        let table = Table::start().await;
        let gate = Gate::start(table.address).await;
        let to_table = Arc::new(AtomicUsize::new(0));
        Self {
            name: name.into(),
            okta: Okta::start(main_alone()).await,
            client: HttpsClient::new(TrustAnchors::from_pem(&authority().pem).unwrap()),
            shared: KeysTable::new(client(&gate.endpoint, to_table.clone()), TABLE.to_owned()),
            table,
            gate,
            to_table,
            seen: Mutex::default(),
        }
    }

    /// An instance that has not started.
    pub fn instance(&self) -> KeyStore {
        self.instance_with(REFRESH_POLICY)
    }

    pub fn instance_with(&self, refresh_policy: RefreshPolicy) -> KeyStore {
        self.instance_of(&self.okta.keys_endpoint(), refresh_policy)
    }

    /// An instance that has its keys from another endpoint.
    pub fn instance_of(&self, keys_endpoint: &str, refresh_policy: RefreshPolicy) -> KeyStore {
        let endpoint = KeysEndpoint::new(keys_endpoint.parse().unwrap(), self.client.clone());
        KeyStore::remote(endpoint, Some(self.shared.clone()), refresh_policy)
    }

    /// An instance that has loaded its keys, from wherever they are.
    pub async fn started(&self, now: u64) -> KeyStore {
        let instance = self.instance();
        assert_eq!(instance.key("main", now).await.map(drop), FOUND, "{}: a good start", self.name);
        self.asked();
        instance
    }

    /// How often Okta and the table were asked since this was last looked at.
    pub fn asked(&self) -> (usize, usize) {
        let now = (self.okta.requests(), self.to_table.load(Ordering::SeqCst));
        let before = std::mem::replace(&mut *self.seen.lock().unwrap(), now);
        (now.0 - before.0, now.1 - before.1)
    }

    /// Asks for a key.
    pub async fn call(&self, instance: &KeyStore, kid: &str, now: u64) -> Call {
        let answer = instance.key(kid, now).await.map(drop);
        let (okta, table) = self.asked();
        (answer, okta, table)
    }

    /// Asks for keys in turn, each at its second, and holds what comes of it against what should.
    pub async fn walk(&self, faults: &mut Faults, instance: &KeyStore, calls: &[(&str, u64, Call)]) {
        for (number, (kid, now, expected)) in calls.iter().enumerate() {
            let call = self.call(instance, kid, *now).await;
            let Self { name, .. } = self;
            faults.check(call == *expected, || {
                format!("{name}: call {number}, {kid} at {now}: {call:?} and not {expected:?}")
            });
        }
    }

    /// [`World::walk`] where there is one case only.
    pub async fn expect(&self, instance: &KeyStore, calls: &[(&str, u64, Call)]) {
        let mut faults = Faults::default();
        self.walk(&mut faults, instance, calls).await;
        faults.report();
    }

    /// The item with these keys, fetched then and due after an hour.
    pub fn item(&self, keys: &[Key], fetched_at: u64) -> Value {
        item(&self.okta.keys_endpoint(), &jwks(keys), fetched_at, 0)
    }

    /// When the keys in the table were fetched.
    pub fn stored_at(&self) -> Option<u64> {
        let item = self.table.item(&self.okta.keys_endpoint())?;
        item.get("fetched_at")?["N"].as_str()?.parse().ok()
    }
}
