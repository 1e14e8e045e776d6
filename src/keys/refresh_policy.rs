//! When cached keys are refreshed, and how long they may be used.

use super::KeySet;

/// The deployer's limits on the age of keys. Both count from the time at which Okta sent the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshPolicy {
    /// Seconds after which keys are refreshed. Okta's `max-age` can shorten this time, down to
    /// [`RefreshPolicy::MIN_REFRESH_SECONDS`]. It never lengthens it.
    pub refresh_seconds: u64,
    /// Seconds after which keys are no longer used, even if a refresh is not possible.
    pub max_stale_seconds: u64,
}

/// A key set and its times, in epoch seconds.
#[derive(Debug, Clone)]
pub(super) struct CachedKeys {
    pub(super) keys: KeySet,
    /// When Okta sent the keys.
    pub(super) fetched_at: u64,
    /// From this time on, the keys are stale: still used, but a call tries to refresh them.
    pub(super) refresh_at: u64,
    /// From this time on, the keys are not used.
    pub(super) expires_at: u64,
}

impl RefreshPolicy {
    /// The lower bound on Okta's `max-age`, in seconds. Without it, a `max-age` of 0 would make
    /// every call refresh the keys.
    pub const MIN_REFRESH_SECONDS: u64 = 60;

    /// Keys that Okta sent at `now` (epoch seconds), with its `max-age` in seconds.
    pub(super) fn for_fetched(self, keys: KeySet, max_age: Option<u64>, now: u64) -> CachedKeys {
        let max_age = max_age.map_or(u64::MAX, |seconds| seconds.max(Self::MIN_REFRESH_SECONDS));
        CachedKeys {
            keys,
            fetched_at: now,
            refresh_at: now + self.refresh_seconds.min(max_age),
            expires_at: now + self.max_stale_seconds,
        }
    }

    /// Keys from the table, with times that are at most this instance's own limits. Another
    /// instance may have written them under other limits.
    pub(super) fn clamped(self, keys: CachedKeys) -> CachedKeys {
        CachedKeys {
            refresh_at: keys.refresh_at.min(keys.fetched_at + self.refresh_seconds),
            expires_at: keys.expires_at.min(keys.fetched_at + self.max_stale_seconds),
            ..keys
        }
    }
}
