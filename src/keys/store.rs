//! The keys of one issuer: in memory, else from the shared table, else from Okta.
//!
//! A call whose key is in memory and fresh touches nothing else. Every other call does a lookup:
//!
//! 1. Read the table. If its keys are good enough, stop.
//! 2. Acquire the lease in the table. Only the instance that has it asks Okta, so that a fleet of
//!    many instances sends one request.
//! 3. Ask Okta, keep the keys in memory, and write them to the table.
//!
//! Cooldowns limit how often one instance does a lookup and asks Okta.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};
use tracing::warn;

use super::{
    KeySet, VerifyingKey,
    endpoint::{FetchError, KeysEndpoint},
    refresh_policy::{CachedKeys, RefreshPolicy},
    table::{KeysTable, Lease, LeaseAttempt, UntrustedItem},
};
use crate::telemetry::key_refresh::KeyRefresh;

/// Why there is no key for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// The issuer's keys are available, and none has this `kid`. The token is refused.
    UnknownKid,
    /// No usable keys of the issuer are available. This is a fault, not a bad token.
    Unavailable,
}

/// The keys of one issuer.
#[derive(Debug)]
pub struct KeyStore(Source);

#[derive(Debug)]
enum Source {
    Pinned(KeySet),
    Remote(Box<Remote>),
}

#[derive(Debug)]
struct Remote {
    endpoint: KeysEndpoint,
    table: Option<KeysTable>,
    refresh_policy: RefreshPolicy,
    cached: RwLock<Option<Arc<CachedKeys>>>,
    /// Held during a lookup, so that an instance does one lookup at a time. Not taken on the fast
    /// path.
    cooldowns: Mutex<Cooldowns>,
    /// Number of finished lookups. A caller that waited for the lock compares it, to share the
    /// result of the lookup that it waited for.
    completed_lookups: AtomicU64,
}

/// The earliest times of the next lookup and of the next request to Okta, in epoch seconds.
#[derive(Debug, Default)]
struct Cooldowns {
    /// For a lookup because the keys are stale.
    next_refresh_check_at: u64,
    /// For a lookup because of an unknown `kid`.
    next_kid_lookup_at: u64,
    /// For a request to Okta, if unexpired keys are cached.
    next_fetch_at: u64,
    /// For a request to Okta in every case, from Okta's `Retry-After`.
    retry_after_until: u64,
}

/// Why a lookup is necessary.
#[derive(Debug, Clone, Copy)]
enum LookupReason<'k> {
    /// No unexpired keys are cached.
    NoKeys,
    /// The cached keys are usable, but past `refresh_at`.
    Stale,
    /// The cached keys are usable, but none has this `kid`.
    UnknownKid(&'k str),
}

/// Seconds from one lookup for stale keys to the next, and from one lookup for an unknown `kid` to
/// the next. It bounds the reads of the table that forged kids can cause.
const LOOKUP_COOLDOWN: u64 = 10;
/// Seconds from one request to Okta to the next, successful or not, if unexpired keys are cached.
/// It bounds the requests that forged kids can cause.
const FETCH_COOLDOWN: u64 = 30;
/// How long to wait for the keys of the instance that holds the lease, before the first attempt to
/// take the lease over.
const LEASE_WAIT: Duration = Duration::from_secs(1);
/// The pause between two reads of the item during a wait.
const LEASE_POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How long to wait after another instance took the lease over, because its refresh has just begun.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(KeysTable::REFRESH_TIMEOUT_SECONDS);

impl KeyStore {
    /// Keys that never change. This store makes no network requests.
    #[must_use]
    pub fn pinned(keys: KeySet) -> Self {
        Self(Source::Pinned(keys))
    }

    /// Keys from the issuer's endpoint. With a table, all instances share them.
    #[must_use]
    pub fn remote(endpoint: KeysEndpoint, table: Option<KeysTable>, refresh_policy: RefreshPolicy) -> Self {
        Self(Source::Remote(Box::new(Remote {
            endpoint,
            table,
            refresh_policy,
            cached: RwLock::default(),
            cooldowns: Mutex::default(),
            completed_lookups: AtomicU64::default(),
        })))
    }

    /// Loads the keys before the first call. `now` is in epoch seconds. A failure is logged and
    /// otherwise ignored, because the next call tries again.
    pub async fn load(&self, now: u64) {
        if let Source::Remote(remote) = &self.0 {
            remote.lookup_coalesced(LookupReason::NoKeys, now).await;
        }
    }

    /// The key with this `kid`. `now` is in epoch seconds. Does a lookup if the key is not cached
    /// or is stale.
    ///
    /// # Errors
    /// [`KeyError::UnknownKid`] if usable keys are available but none has this `kid`, and
    /// [`KeyError::Unavailable`] if no usable keys are available.
    pub async fn key(&self, kid: &str, now: u64) -> Result<VerifyingKey, KeyError> {
        match &self.0 {
            Source::Pinned(keys) => keys.key(kid).cloned().ok_or(KeyError::UnknownKid),
            Source::Remote(remote) => remote.key(kid, now).await,
        }
    }

    /// Age of the cached keys in seconds, even if they have expired. `None` for pinned keys or an
    /// empty cache. `now` is in epoch seconds.
    #[must_use]
    pub fn age_seconds(&self, now: u64) -> Option<u64> {
        match &self.0 {
            Source::Pinned(_) => None,
            Source::Remote(remote) => remote.cached().map(|cached| now.saturating_sub(cached.fetched_at)),
        }
    }
}

impl Remote {
    async fn key(&self, kid: &str, now: u64) -> Result<VerifyingKey, KeyError> {
        let cached = self.unexpired(now);
        let key = cached.as_ref().and_then(|cached| cached.keys.key(kid)).cloned();
        match (cached, key) {
            (Some(cached), Some(key)) if now < cached.refresh_at => return Ok(key),
            (Some(_), Some(key)) => match self.cooldowns.try_lock() {
                Ok(mut cooldowns) => Box::pin(self.lookup(LookupReason::Stale, &mut cooldowns, now)).await,
                // Another call does a lookup already. The key is still valid, so do not wait.
                Err(_) => return Ok(key),
            },
            (Some(_), None) => self.lookup_coalesced(LookupReason::UnknownKid(kid), now).await,
            (None, _) => self.lookup_coalesced(LookupReason::NoKeys, now).await,
        }
        let cached = self.unexpired(now).ok_or(KeyError::Unavailable)?;
        cached.keys.key(kid).cloned().ok_or(KeyError::UnknownKid)
    }

    /// Does a lookup. If another call is doing one, waits for that one and shares its result, good
    /// or bad.
    async fn lookup_coalesced(&self, reason: LookupReason<'_>, now: u64) {
        let completed = self.completed_lookups.load(Ordering::Relaxed);
        let mut cooldowns = self.cooldowns.lock().await;
        if completed == self.completed_lookups.load(Ordering::Relaxed) {
            Box::pin(self.lookup(reason, &mut cooldowns, now)).await;
            self.completed_lookups.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reads the table, then asks Okta under the lease. The caller finds the result in the cache.
    ///
    /// The cooldown is set before any request, so that failures count. It does not apply if no keys
    /// are cached, because then no call can succeed without a lookup.
    ///
    /// The future is large (14 KB): callers box it, so that other calls do not have to move it.
    async fn lookup(&self, reason: LookupReason<'_>, cooldowns: &mut Cooldowns, now: u64) {
        let next_lookup_at = match reason {
            LookupReason::NoKeys => None,
            LookupReason::Stale => Some(&mut cooldowns.next_refresh_check_at),
            LookupReason::UnknownKid(_) => Some(&mut cooldowns.next_kid_lookup_at),
        };
        if let Some(next_lookup_at) = next_lookup_at {
            if now < *next_lookup_at {
                return;
            }
            *next_lookup_at = now + LOOKUP_COOLDOWN;
        }

        let (table, item) = self.read_table(now).await;
        let in_cooldown = self.unexpired(now).is_some() && now < cooldowns.next_fetch_at;
        if self.satisfies(reason, now)
            || in_cooldown
            || now < cooldowns.retry_after_until
            || self.was_just_refreshed(reason, now)
        {
            return;
        }
        match table {
            Some(table) => self.refresh_under_lease(table, item, reason, cooldowns, now).await,
            None => self.refresh(None, cooldowns, now).await,
        }
    }

    /// Asks Okta if no other instance does.
    ///
    /// If another instance holds the lease:
    /// - with stale keys, returns at once;
    /// - with no keys or an unknown `kid`, waits up to [`LEASE_WAIT`] for the owner's keys;
    /// - if there are still no keys, tries to take the lease over, because the owner may be dead;
    /// - if yet another instance has taken it over, waits up to [`REFRESH_TIMEOUT`], and in the end
    ///   asks Okta without the lease.
    async fn refresh_under_lease(
        &self,
        table: &KeysTable,
        mut item: UntrustedItem,
        reason: LookupReason<'_>,
        cooldowns: &mut Cooldowns,
        now: u64,
    ) {
        for (lease, longest_wait) in [(Lease::IfFree, LEASE_WAIT), (Lease::TakeOver, REFRESH_TIMEOUT)] {
            match table.acquire_lease(self.endpoint.url(), &item, lease, now).await {
                Ok(LeaseAttempt::Acquired) => return self.refresh(Some((table, &item)), cooldowns, now).await,
                Ok(LeaseAttempt::HeldByOther(current)) if matches!(reason, LookupReason::Stale) => {
                    self.accept_if_newer(&current, now);
                    if current.is_being_refreshed(now) {
                        // Look for the owner's keys as soon as it should have written them.
                        cooldowns.next_refresh_check_at = now + KeysTable::REFRESH_TIMEOUT_SECONDS;
                    }
                    // Keys past `refresh_at` are still valid: return without waiting.
                    return;
                }
                Ok(LeaseAttempt::HeldByOther(current)) => {
                    item = self.wait_for_owner(table, current, reason, longest_wait, now).await;
                }
                Err(error) => {
                    KeyRefresh::log_table_error(self.endpoint.url(), &error);
                    return self.refresh(None, cooldowns, now).await;
                }
            }
            if self.unexpired(now).is_some() || item.is_rate_limited(now) {
                return;
            }
        }
        self.refresh(Some((table, &item)), cooldowns, now).await;
    }

    /// Reads the item, and puts its keys into the cache if they are newer. If the table fails,
    /// returns no table, so that this lookup does not use it again.
    async fn read_table(&self, now: u64) -> (Option<&KeysTable>, UntrustedItem) {
        let Some(table) = &self.table else { return (None, UntrustedItem::default()) };
        match table.read(self.endpoint.url()).await {
            Ok(item) => {
                self.accept_if_newer(&item, now);
                (Some(table), item)
            }
            Err(error) => {
                KeyRefresh::log_table_error(self.endpoint.url(), &error);
                (None, UntrustedItem::default())
            }
        }
    }

    /// Asks Okta. With a table, shares the keys or the `Retry-After` through it; the item there
    /// must not have changed since it was read.
    async fn refresh(&self, table: Option<(&KeysTable, &UntrustedItem)>, cooldowns: &mut Cooldowns, now: u64) {
        if self.unexpired(now).is_some() {
            cooldowns.next_fetch_at = now + FETCH_COOLDOWN;
        }
        let written = match self.endpoint.fetch().await {
            Ok(fetched) => {
                let cached = self.replace(self.refresh_policy.for_fetched(fetched.keys, fetched.max_age, now));
                KeyRefresh::log_fetched(self.endpoint.url(), cached.keys.len(), cached.refresh_at - now);
                match table {
                    Some((table, expected)) => table.write(self.endpoint.url(), &cached, expected).await,
                    None => Ok(()),
                }
            }
            Err(error) => {
                KeyRefresh::log_fetch_error(self.endpoint.url(), &error);
                let FetchError::RetryAfter { seconds } = error else { return };
                let seconds = seconds.clamp(1, KeysTable::MAX_RETRY_AFTER_SECONDS);
                cooldowns.retry_after_until = now + seconds;
                match table {
                    Some((table, _)) => table.set_retry_after(self.endpoint.url(), seconds, now).await,
                    None => Ok(()),
                }
            }
        };
        if let Err(error) = written {
            // Not a failed refresh, so the metric does not count it.
            warn!(keys_endpoint = self.endpoint.url(), %error, "could not write the keys table");
        }
    }

    /// Reads the item repeatedly, for at most `longest_wait`, until it has keys that are good
    /// enough or its owner is probably dead. Returns the item as it was read last.
    async fn wait_for_owner(
        &self,
        table: &KeysTable,
        mut item: UntrustedItem,
        reason: LookupReason<'_>,
        longest_wait: Duration,
        now: u64,
    ) -> UntrustedItem {
        let poll = async {
            loop {
                self.accept_if_newer(&item, now);
                // Any usable keys are good enough, unless the lookup is for an unknown kid.
                let good_enough = self.unexpired(now).is_some() && !matches!(reason, LookupReason::UnknownKid(_));
                if self.satisfies(reason, now) || good_enough || !item.is_being_refreshed(now) {
                    return;
                }
                sleep(LEASE_POLL_INTERVAL).await;
                if let Ok(read) = table.read(self.endpoint.url()).await {
                    item = read;
                }
            }
        };
        // The caller checks the cache again, so it does not matter whether the time was up.
        let _ = timeout(longest_wait, poll).await;
        item
    }

    /// Whether an unknown `kid` comes less than [`FETCH_COOLDOWN`] after the last refresh. Okta is
    /// not asked again then, because the `kid` is most likely forged.
    fn was_just_refreshed(&self, reason: LookupReason<'_>, now: u64) -> bool {
        matches!(reason, LookupReason::UnknownKid(_))
            && self.unexpired(now).is_some_and(|cached| now < cached.fetched_at + FETCH_COOLDOWN)
    }

    /// Whether the cached keys are what the lookup is for.
    fn satisfies(&self, reason: LookupReason<'_>, now: u64) -> bool {
        self.unexpired(now).is_some_and(|cached| match reason {
            LookupReason::NoKeys | LookupReason::Stale => now < cached.refresh_at,
            LookupReason::UnknownKid(kid) => cached.keys.key(kid).is_some(),
        })
    }

    /// The cached keys, if they may still be used.
    fn unexpired(&self, now: u64) -> Option<Arc<CachedKeys>> {
        self.cached().filter(|cached| now < cached.expires_at)
    }

    fn cached(&self) -> Option<Arc<CachedKeys>> {
        self.cached.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts an item's keys into the cache if they are usable and newer than the cached ones.
    ///
    /// Two fetches within one second can be before and after a rotation, so equal `fetched_at` with
    /// different keys also counts as newer.
    fn accept_if_newer(&self, item: &UntrustedItem, now: u64) {
        let Some(candidate) = item.keys(now).map(|keys| self.refresh_policy.clamped(keys)) else { return };
        let is_newer = self.unexpired(now).is_none_or(|cached| {
            cached.fetched_at < candidate.fetched_at
                || (cached.fetched_at == candidate.fetched_at && cached.keys.json() != candidate.keys.json())
        });
        if now < candidate.expires_at && is_newer {
            let cached = self.replace(candidate);
            let age_seconds = now.saturating_sub(cached.fetched_at);
            KeyRefresh::log_loaded(self.endpoint.url(), cached.keys.len(), age_seconds);
        }
    }

    /// Replaces the cached keys, and returns the new ones.
    fn replace(&self, keys: CachedKeys) -> Arc<CachedKeys> {
        let keys = Arc::new(keys);
        *self.cached.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&keys));
        keys
    }
}
