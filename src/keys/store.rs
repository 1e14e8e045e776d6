//! The keys of one issuer: in memory, else from the shared table, else from Okta.

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
use tracing::{info, warn};

use super::{
    KeySet, VerifyingKey,
    dynamo::{Claim, KeysTable, Lease, TableError, UntrustedItem},
    freshness::{Freshness, KnownKeys},
    okta::{FetchError, KeysEndpoint},
};

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// The issuer's keys are known, and none has this `kid`: the token is refused.
    UnknownKid,
    /// No usable keys of the issuer are known: a fault, of nobody's token.
    Unavailable,
}

/// The keys of one issuer.
#[derive(Debug)]
pub struct KeyStore(Source);

#[derive(Debug)]
enum Source {
    Pinned(KeySet),
    Live(Box<Live>),
}

#[derive(Debug)]
struct Live {
    okta: KeysEndpoint,
    table: Option<KeysTable>,
    freshness: Freshness,
    known: RwLock<Option<Arc<KnownKeys>>>,
    /// Whoever holds it is the one that looks for keys. A call whose key is known and fresh never asks for it.
    slots: Mutex<Slots>,
    /// How many looks for keys are over: who waited while one went on shares its result, good or bad.
    looks: AtomicU64,
}

/// When the network may be asked again, in epoch seconds.
#[derive(Debug, Default)]
struct Slots {
    for_fresh_keys: u64,
    for_a_kid: u64,
    /// While there are keys to go on with.
    okta: u64,
    /// In any case: Okta has said so.
    okta_wants: u64,
}

/// What is wanted of the table or Okta.
#[derive(Debug, Clone, Copy)]
enum Want<'k> {
    /// Any usable keys, for there are none.
    Keys,
    /// Fresh keys, for those known are due.
    FreshKeys,
    /// A key that the known ones do not have.
    Kid(&'k str),
}

/// Unknown kids, and keys that are due, are looked for again after this many seconds.
const LOOK_COOLDOWN: u64 = 10;
/// Okta is asked again after this many seconds, whether it answered or not, while there are keys to go on with.
const OKTA_COOLDOWN: u64 = 30;
/// How often, and for how long, the item is read again while somebody else refreshes it.
const WAIT_STEP: Duration = Duration::from_millis(50);
const WAIT: Duration = Duration::from_secs(1);
/// How long a whole refresh can take that another instance has just begun.
const REFRESH: Duration = Duration::from_secs(KeysTable::REFRESH_TAKES_AT_MOST);

impl KeyStore {
    /// Keys that never change, and no network.
    #[must_use]
    pub fn pinned(keys: KeySet) -> Self {
        Self(Source::Pinned(keys))
    }

    /// Keys from the issuer's endpoint, shared through the table where there is one.
    #[must_use]
    pub fn live(okta: KeysEndpoint, table: Option<KeysTable>, freshness: Freshness) -> Self {
        let (known, slots, looks) = (RwLock::default(), Mutex::default(), AtomicU64::default());
        Self(Source::Live(Box::new(Live { okta, table, freshness, known, slots, looks })))
    }

    /// Loads the keys before the first call. A failure is not one yet: the next call tries again.
    pub async fn load(&self, now: u64) {
        if let Source::Live(live) = &self.0 {
            live.wait_for_turn_and_look_for(Want::Keys, now).await;
        }
    }

    /// The key that verifies tokens with this `kid`. `now` is in epoch seconds.
    ///
    /// # Errors
    /// [`KeyError::UnknownKid`] once it has been looked for, [`KeyError::Unavailable`] while there are no usable keys.
    pub async fn key(&self, kid: &str, now: u64) -> Result<VerifyingKey, KeyError> {
        match &self.0 {
            Source::Pinned(keys) => keys.key(kid).cloned().ok_or(KeyError::UnknownKid),
            Source::Live(live) => live.key(kid, now).await,
        }
    }

    /// For how many seconds the keys in memory have been known, be they too old to use or not; `None` for pinned ones, and
    /// without any.
    #[must_use]
    pub fn age(&self, now: u64) -> Option<u64> {
        match &self.0 {
            Source::Pinned(_) => None,
            Source::Live(live) => live.known().map(|known| now.saturating_sub(known.fetched_at)),
        }
    }
}

impl Live {
    async fn key(&self, kid: &str, now: u64) -> Result<VerifyingKey, KeyError> {
        let known = self.usable(now);
        let key = known.as_ref().and_then(|known| known.keys.key(kid)).cloned();
        match (known, key) {
            (Some(known), Some(key)) if now < known.refresh_at => return Ok(key),
            // Somebody is refreshing already: what is known is good until it is done.
            (Some(_), Some(key)) => match self.slots.try_lock() {
                Ok(mut slots) => Box::pin(self.look_for(Want::FreshKeys, &mut slots, now)).await,
                Err(_) => return Ok(key),
            },
            (Some(_), None) => self.wait_for_turn_and_look_for(Want::Kid(kid), now).await,
            (None, _) => self.wait_for_turn_and_look_for(Want::Keys, now).await,
        }
        let known = self.usable(now).ok_or(KeyError::Unavailable)?;
        known.keys.key(kid).cloned().ok_or(KeyError::UnknownKid)
    }

    async fn wait_for_turn_and_look_for(&self, want: Want<'_>, now: u64) {
        let looks = self.looks.load(Ordering::Relaxed);
        let mut slots = self.slots.lock().await;
        if looks == self.looks.load(Ordering::Relaxed) {
            Box::pin(self.look_for(want, &mut slots, now)).await;
            self.looks.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The table first, then Okta under the lease. The slot is taken before anything is asked, so that failures count;
    /// only a store without any keys has nothing to go on with and always asks.
    ///
    /// The future holds those of all requests: whoever awaits it boxes it, or every call would move them.
    async fn look_for(&self, want: Want<'_>, slots: &mut Slots, now: u64) {
        let slot = match want {
            Want::Keys => &mut 0,
            Want::FreshKeys => &mut slots.for_fresh_keys,
            Want::Kid(_) => &mut slots.for_a_kid,
        };
        if now < *slot {
            return;
        }
        *slot = now + LOOK_COOLDOWN;

        let (table, seen) = self.read_table(now).await;
        let cooling = self.usable(now).is_some() && now < slots.okta;
        if self.has(want, now) || cooling || now < slots.okta_wants || self.was_just_refreshed(want, now) {
            return;
        }
        match table {
            Some(table) => self.refresh_under_lease(table, seen, want, slots, now).await,
            None => self.refresh(None, slots, now).await,
        }
    }

    /// Asks Okta if nobody else does. Who loses carries on with known keys; having none, it waits for the winner's, then
    /// tries to take the lease over from it, and goes to Okta without one in the end.
    async fn refresh_under_lease(
        &self,
        table: &KeysTable,
        mut seen: UntrustedItem,
        want: Want<'_>,
        slots: &mut Slots,
        now: u64,
    ) {
        for (lease, patience) in [(Lease::IfFree, WAIT), (Lease::TakeOver, REFRESH)] {
            match table.claim(self.okta.url(), &seen, lease, now).await {
                Ok(Claim::Won) => return self.refresh(Some((table, &seen)), slots, now).await,
                Ok(Claim::Lost(item)) if matches!(want, Want::FreshKeys) => {
                    self.adopt(&item, now);
                    if item.is_being_refreshed(now) {
                        slots.for_fresh_keys = now + KeysTable::REFRESH_TAKES_AT_MOST;
                    }
                    return; // nobody waits for what is due: it is still good
                }
                Ok(Claim::Lost(item)) => seen = self.wait_for_owner(table, item, want, patience, now).await,
                Err(error) => {
                    self.say_that_the_table_failed(&error);
                    return self.refresh(None, slots, now).await;
                }
            }
            if self.usable(now).is_some() || seen.is_held(now) {
                return;
            }
        }
        self.refresh(Some((table, &seen)), slots, now).await;
    }

    /// What the table has, taken over if it is good. A table that does not answer is not asked again by this call.
    async fn read_table(&self, now: u64) -> (Option<&KeysTable>, UntrustedItem) {
        let Some(table) = &self.table else { return (None, UntrustedItem::default()) };
        match table.read(self.okta.url()).await {
            Ok(item) => {
                self.adopt(&item, now);
                (Some(table), item)
            }
            Err(error) => {
                self.say_that_the_table_failed(&error);
                (None, UntrustedItem::default())
            }
        }
    }

    fn say_that_the_table_failed(&self, error: &TableError) {
        warn!(
            key_refreshes = 1_u64,
            keys_source = "table",
            result = "failed",
            keys_endpoint = self.okta.url(),
            %error,
            "going on without the table"
        );
    }

    /// Asks Okta, and shares what it answers through the table, in the place of the item that was seen there.
    async fn refresh(&self, table: Option<(&KeysTable, &UntrustedItem)>, slots: &mut Slots, now: u64) {
        if self.usable(now).is_some() {
            slots.okta = now + OKTA_COOLDOWN;
        }
        let written = match self.okta.fetch().await {
            Ok(fetched) => {
                let known = self.remember(self.freshness.of_okta(fetched.keys, fetched.max_age, now));
                info!(
                    key_refreshes = 1_u64,
                    keys_source = "okta",
                    result = "ok",
                    keys_endpoint = self.okta.url(),
                    usable_keys = known.keys.len(),
                    refresh_in_seconds = known.refresh_at - now,
                    "keys refreshed"
                );
                match table {
                    Some((table, seen)) => table.write(self.okta.url(), &known, seen).await,
                    None => Ok(()),
                }
            }
            Err(error) => {
                warn!(
                    key_refreshes = 1_u64,
                    keys_source = "okta",
                    result = "failed",
                    keys_endpoint = self.okta.url(),
                    %error,
                    "the keys cannot be refreshed"
                );
                let FetchError::RetryAfter { seconds } = error else { return };
                let seconds = seconds.clamp(1, KeysTable::LONGEST_HOLD);
                slots.okta_wants = now + seconds;
                match table {
                    Some((table, _)) => table.hold(self.okta.url(), seconds, now).await,
                    None => Ok(()),
                }
            }
        };
        if let Err(error) = written {
            warn!(keys_endpoint = self.okta.url(), %error, "the other instances do not know");
        }
    }

    /// Reads the item again and again, for `patience` at most, while its owner can be expected to write it. Returns it as it
    /// was read last.
    async fn wait_for_owner(
        &self,
        table: &KeysTable,
        mut item: UntrustedItem,
        want: Want<'_>,
        patience: Duration,
        now: u64,
    ) -> UntrustedItem {
        let written = async {
            loop {
                self.adopt(&item, now);
                // Known keys are good enough to go on with; only an unknown kid is worth the wait then.
                let content = self.usable(now).is_some() && !matches!(want, Want::Kid(_));
                if self.has(want, now) || content || !item.is_being_refreshed(now) {
                    return;
                }
                sleep(WAIT_STEP).await;
                if let Ok(read) = table.read(self.okta.url()).await {
                    item = read;
                }
            }
        };
        // In vain or not: what comes next looks at what is known then.
        let _ = timeout(patience, written).await;
        item
    }

    /// An unknown kid is no reason to refresh what was refreshed less than [`OKTA_COOLDOWN`] ago.
    fn was_just_refreshed(&self, want: Want<'_>, now: u64) -> bool {
        matches!(want, Want::Kid(_)) && self.usable(now).is_some_and(|known| now < known.fetched_at + OKTA_COOLDOWN)
    }

    fn has(&self, want: Want<'_>, now: u64) -> bool {
        self.usable(now).is_some_and(|known| match want {
            Want::Keys | Want::FreshKeys => now < known.refresh_at,
            Want::Kid(kid) => known.keys.key(kid).is_some(),
        })
    }

    fn usable(&self, now: u64) -> Option<Arc<KnownKeys>> {
        self.known().filter(|known| now < known.expires_at)
    }

    fn known(&self) -> Option<Arc<KnownKeys>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes an item's keys over if they are usable, and newer than those known or others of the same second.
    fn adopt(&self, item: &UntrustedItem, now: u64) {
        let Some(found) = item.keys(now).map(|found| self.freshness.of_table(found)) else { return };
        // Two fetches within one second can stand on both sides of a rotation.
        let news = self.usable(now).is_none_or(|known| {
            known.fetched_at < found.fetched_at
                || (known.fetched_at == found.fetched_at && known.keys.json() != found.keys.json())
        });
        if now < found.expires_at && news {
            let known = self.remember(found);
            info!(
                key_refreshes = 1_u64,
                keys_source = "table",
                result = "ok",
                keys_endpoint = self.okta.url(),
                usable_keys = known.keys.len(),
                age_seconds = now.saturating_sub(known.fetched_at),
                "keys loaded"
            );
        }
    }

    fn remember(&self, known: KnownKeys) -> Arc<KnownKeys> {
        let known = Arc::new(known);
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&known));
        known
    }
}
