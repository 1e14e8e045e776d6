//! The keys of one issuer. A call whose key is in memory and fresh touches nothing else. For every
//! other call, a lookup runs as a task of its own, so that it goes on after the call is answered.
//!
//! This is the driver of the protocol in `refresh`: it performs actions, and decides nothing but
//! how long a call waits.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};
use tracing::warn;

use super::{
    KeySet, RefreshPolicy, VerifyingKey,
    endpoint::{FetchError, FetchedKeys, KeysEndpoint},
    refresh::{Action, Event, Found, Keys, Kid, Lookup, Millis, Protocol, State, Timing},
    table::{KeysTable, TableError, UntrustedItem},
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

/// The wall clock in epoch milliseconds. It must go on while the process is frozen.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// The system's clock.
#[must_use]
pub fn system_clock() -> Clock {
    let since_epoch = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Arc::new(move || u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX))
}

/// The keys of one issuer.
#[derive(Debug)]
pub struct KeyStore(Source);

#[derive(Debug)]
enum Source {
    Pinned(KeySet),
    Remote(Arc<Remote>),
}

struct Remote {
    endpoint: KeysEndpoint,
    table: Option<KeysTable>,
    protocol: Protocol,
    clock: Clock,
    shared: Mutex<Shared>,
    /// Changes with each step of a lookup.
    steps: watch::Sender<()>,
}

#[derive(Debug)]
struct Shared {
    state: State<KeySet>,
    running: Option<Running>,
    /// The last lookup left this instance without keys.
    is_outage: bool,
}

/// The lookup that runs now. There is one at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Running {
    /// The `kid` that it looks for, if it does not look for any key.
    kid: Option<Kid>,
    started_at: Millis,
    /// Okta has sent no keys, and there are none in memory. Only a write is left to do.
    has_failed: bool,
}

/// What a call lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lacks {
    Nothing,
    /// Its key is usable and due for a refresh.
    Newer,
    Key,
}

impl Lacks {
    fn of<K>(found: &Found<'_, K>) -> Self {
        match found {
            Found::Fresh(_) => Self::Nothing,
            Found::Due(_) => Self::Newer,
            Found::UnknownKid | Found::NoKeys => Self::Key,
        }
    }
}

impl Keys for KeySet {
    fn has_key(&self, kid: &str) -> bool {
        self.key(kid).is_some()
    }
}

/// How long a call waits at most if it cannot be answered without the lookup. So it is answered
/// within 3 s.
const LONGEST_WAIT: Duration = Duration::from_millis(2_750);
/// How long the call that started a lookup waits for its end, from the moment on in which the call
/// has a usable key, or cannot get one. Usually the refresh and the write to the table end in this
/// time, so that they do not depend on the process's next call: Lambda freezes it until then.
const LONGEST_WAIT_FOR_THE_END: Duration = Duration::from_millis(250);
/// A lookup that is older than this in milliseconds was most likely frozen: two reads, a claim, a
/// request and a write take 4 s at most.
const LONGEST_LOOKUP: Millis = 5_000;

impl KeyStore {
    /// Keys that never change. This store makes no network requests.
    #[must_use]
    pub fn pinned(keys: KeySet) -> Self {
        Self(Source::Pinned(keys))
    }

    /// Keys from the issuer's endpoint. With a table, all instances share them.
    #[must_use]
    pub fn remote(
        endpoint: KeysEndpoint,
        table: Option<KeysTable>,
        refresh_policy: RefreshPolicy,
        clock: Clock,
    ) -> Self {
        let protocol = Protocol { timing: Timing::PRODUCTION, refresh_policy, has_table: table.is_some() };
        Self(Source::Remote(Arc::new(Remote {
            endpoint,
            table,
            protocol,
            clock,
            shared: Mutex::new(Shared { state: State::default(), running: None, is_outage: false }),
            steps: watch::Sender::new(()),
        })))
    }

    /// Loads the keys before the first call. `now` is in epoch seconds. A failure is logged; the
    /// calls that follow look again when the protocol permits it.
    pub async fn load(&self, now: u64) {
        if let Source::Remote(remote) = &self.0 {
            remote.look_up(None, now).await;
        }
    }

    /// The key with this `kid`. `now` is in epoch seconds. Starts a lookup if the key is not cached
    /// or is due for a refresh.
    ///
    /// # Errors
    /// [`KeyError::UnknownKid`] if usable keys are available but none has this `kid`, and
    /// [`KeyError::Unavailable`] if no usable keys are available.
    pub async fn key(&self, kid: &str, now: u64) -> Result<VerifyingKey, KeyError> {
        match &self.0 {
            Source::Pinned(keys) => keys.key(kid).cloned().ok_or(KeyError::UnknownKid),
            Source::Remote(remote) => {
                if let Found::Fresh(keys) = remote.lock().state.find(Some(kid), now * 1_000) {
                    return keys.key(kid).cloned().ok_or(KeyError::UnknownKid);
                }
                Box::pin(remote.look_up(Some(kid), now)).await;
                match remote.lock().state.find(Some(kid), now * 1_000) {
                    Found::Fresh(keys) | Found::Due(keys) => keys.key(kid).cloned().ok_or(KeyError::UnknownKid),
                    Found::UnknownKid => Err(KeyError::UnknownKid),
                    Found::NoKeys => Err(KeyError::Unavailable),
                }
            }
        }
    }

    /// Waits until no lookup runs, because a lookup goes on after the call that started it. For
    /// tests.
    pub async fn lookup_ended(&self) {
        if let Source::Remote(remote) = &self.0 {
            // The sender lives as long as the store.
            let _ = remote.steps.subscribe().wait_for(|()| remote.lock().running.is_none()).await;
        }
    }

    /// Age of the cached keys in seconds, even if they have expired. `None` for pinned keys or an
    /// empty cache. `now` is in epoch seconds.
    #[must_use]
    pub fn age_seconds(&self, now: u64) -> Option<u64> {
        match &self.0 {
            Source::Pinned(_) => None,
            Source::Remote(remote) => {
                remote.lock().state.cached.as_ref().map(|cached| now.saturating_sub(cached.fetched_at / 1_000))
            }
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Remote {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a lookup, as long as this call should. Starts one if none runs and the protocol
    /// permits it. The caller finds the result in the state.
    ///
    /// A call that finds a lookup for the same `kid` in progress shares its result, good or bad.
    async fn look_up(self: &Arc<Self>, kid: Option<&str>, now: u64) {
        let mut deadline = Instant::now() + LONGEST_WAIT;
        let mut steps = self.steps.subscribe();
        let mut is_own = false;
        let mut joined = false;
        loop {
            let (lacks, running, is_outage) = {
                let shared = self.lock();
                (Lacks::of(&shared.state.find(kid, now * 1_000)), shared.running.clone(), shared.is_outage)
            };
            let Some(running) = running else {
                if lacks == Lacks::Nothing || is_own || joined || !self.start(kid) {
                    return;
                }
                is_own = true;
                continue;
            };
            joined |= running.kid.as_deref() == kid;
            let waits = is_own
                || match lacks {
                    Lacks::Nothing => false,
                    // A lookup that was frozen needs time to run.
                    Lacks::Newer => (self.clock)() > running.started_at + LONGEST_LOOKUP,
                    // Nothing is known to be wrong, so the keys will most likely come.
                    Lacks::Key => !is_outage && !running.has_failed,
                };
            if !waits {
                return;
            }
            if lacks != Lacks::Key || running.has_failed {
                deadline = deadline.min(Instant::now() + LONGEST_WAIT_FOR_THE_END);
            }
            if timeout_at(deadline, steps.changed()).await.is_err() {
                return;
            }
        }
    }

    /// Starts a lookup if the protocol permits one.
    fn start(self: &Arc<Self>, kid: Option<&str>) -> bool {
        let kid: Option<Kid> = kid.map(Into::into);
        let now = (self.clock)();
        let mut shared = self.lock();
        let Some((lookup, action)) = self.protocol.start(&mut shared.state, kid.as_ref(), now) else {
            return false;
        };
        shared.running = Some(Running { kid, started_at: now, has_failed: false });
        drop(shared);
        tokio::spawn(Arc::clone(self).run(lookup, action));
        true
    }

    /// Runs a lookup to its end.
    async fn run(self: Arc<Self>, mut lookup: Lookup, mut action: Action<KeySet>) {
        let _end = EndOfLookup(&self);
        let url = self.endpoint.url();
        // The item as it was read last. A claim is for this item.
        let mut item = UntrustedItem::default();
        loop {
            let event = match (action, &self.table) {
                (Action::Done, _) => return,
                (Action::Fetch(start_by), _) => self.fetch(start_by).await,
                (Action::Wait(until), _) => {
                    sleep(Duration::from_millis(until.saturating_sub((self.clock)()))).await;
                    Event::Waited
                }
                (Action::Read, Some(table)) => match table.read(url).await {
                    Ok(read) => {
                        item = read;
                        Event::Item(item.parse())
                    }
                    Err(error) => self.table_failed(&error),
                },
                (Action::Claim(claim), Some(table)) => match table.claim(url, &item, &claim).await {
                    Ok(None) => Event::Claimed,
                    Ok(Some(current)) => {
                        item = current;
                        Event::NotClaimed(item.parse())
                    }
                    Err(error) => self.table_failed(&error),
                },
                (Action::WriteKeys(keys, lease_until), Some(table)) => {
                    self.written(table.write_keys(url, &keys, lease_until).await)
                }
                (Action::WriteFailure(not_before, lease_until), Some(table)) => {
                    self.written(table.write_failure(url, not_before, lease_until).await)
                }
                // The protocol uses the table only if there is one.
                (Action::Read | Action::Claim(_), None) => Event::TableFailed,
                (Action::WriteKeys(..) | Action::WriteFailure(..), None) => Event::Written,
            };
            action = self.step(&mut lookup, event);
        }
    }

    /// Gives an event to the protocol, logs new keys, and wakes the calls that wait.
    fn step(&self, lookup: &mut Lookup, event: Event<KeySet>) -> Action<KeySet> {
        let now = (self.clock)();
        let is_fetched = matches!(event, Event::Fetched { .. });
        let has_failed = matches!(event, Event::FetchFailed { .. });
        let mut shared = self.lock();
        let before = shared.state.cached.as_ref().map(|cached| cached.fetched_at);
        let action = self.protocol.next(&mut shared.state, lookup, event, now);
        if let Some(cached) = &shared.state.cached {
            let (url, count) = (self.endpoint.url(), cached.keys.len());
            if is_fetched {
                KeyRefresh::log_fetched(url, count, cached.refresh_at.saturating_sub(now).div_ceil(1_000));
            } else if before != Some(cached.fetched_at) {
                KeyRefresh::log_loaded(url, count, now.saturating_sub(cached.fetched_at) / 1_000);
            }
        }
        if has_failed
            && matches!(shared.state.find(None, now), Found::NoKeys)
            && let Some(running) = &mut shared.running
        {
            running.has_failed = true;
        }
        drop(shared);
        self.steps.send_replace(());
        action
    }

    async fn fetch(&self, start_by: Millis) -> Event<KeySet> {
        let started_at = (self.clock)();
        if started_at > start_by {
            return Event::TooLate;
        }
        // The process can have been frozen since Okta answered.
        let answered_at = || (self.clock)().min(started_at + self.protocol.timing.fetch) / 1_000;
        match self.endpoint.fetch(answered_at).await {
            Ok(FetchedKeys { keys, max_age }) => Event::Fetched { started_at, keys, max_age },
            Err(error) => {
                KeyRefresh::log_fetch_error(self.endpoint.url(), &error);
                let not_before = match error {
                    FetchError::NotBefore { not_before, .. } => Some(not_before * 1_000),
                    _ => None,
                };
                Event::FetchFailed { not_before }
            }
        }
    }

    fn table_failed(&self, error: &TableError) -> Event<KeySet> {
        KeyRefresh::log_table_error(self.endpoint.url(), error);
        Event::TableFailed
    }

    fn written(&self, result: Result<(), TableError>) -> Event<KeySet> {
        if let Err(error) = result {
            // Not a failed refresh, so the metric does not count it.
            warn!(keys_endpoint = self.endpoint.url(), %error, "could not write the keys table");
        }
        Event::Written
    }
}

/// Ends a lookup when it is dropped, so that a lookup that panics does not block all others.
struct EndOfLookup<'r>(&'r Remote);

impl Drop for EndOfLookup<'_> {
    fn drop(&mut self) {
        let mut shared = self.0.lock();
        shared.running = None;
        shared.is_outage = matches!(shared.state.find(None, (self.0.clock)()), Found::NoKeys);
        drop(shared);
        self.0.steps.send_replace(());
    }
}
