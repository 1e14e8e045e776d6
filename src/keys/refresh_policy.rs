//! When cached keys are refreshed, and how long they may be used.

use super::refresh::{CachedKeys, Millis};

/// The deployer's limits on the age of keys. Both count from the start of the request for the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RefreshPolicy {
    /// Seconds after which keys are refreshed. Okta's `max-age` can shorten this time, down to
    /// [`RefreshPolicy::MIN_REFRESH_SECONDS`]. It never lengthens it.
    pub refresh_seconds: u64,
    /// Seconds after which keys are no longer used, even if a refresh is not possible.
    pub max_stale_seconds: u64,
}

impl RefreshPolicy {
    /// The lower bound on Okta's `max-age`, in seconds. Without it, a `max-age` of 0 would make
    /// every call refresh the keys.
    pub const MIN_REFRESH_SECONDS: u64 = 60;

    /// Keys from Okta, with its `max-age` in seconds. The request started at `started_at`.
    pub(super) fn for_fetched<K>(self, keys: K, max_age: Option<u64>, started_at: Millis) -> CachedKeys<K> {
        let max_age = max_age.map_or(u64::MAX, |seconds| seconds.max(Self::MIN_REFRESH_SECONDS));
        let fetched_at = started_at / 1_000 * 1_000;
        CachedKeys {
            keys,
            fetched_at,
            refresh_at: fetched_at + self.refresh_seconds.min(max_age) * 1_000,
            expires_at: fetched_at + self.max_stale_seconds * 1_000,
        }
    }

    /// Keys from the table, with times that are at most this instance's own limits. Another
    /// instance may have written them under other limits.
    pub(super) fn clamped<K>(self, keys: CachedKeys<K>) -> CachedKeys<K> {
        CachedKeys {
            refresh_at: keys.refresh_at.min(keys.fetched_at + self.refresh_seconds * 1_000),
            expires_at: keys.expires_at.min(keys.fetched_at + self.max_stale_seconds * 1_000),
            ..keys
        }
    }
}
