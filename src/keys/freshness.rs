//! For how long keys are good.

use super::KeySet;

/// How long keys are used, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// Keys older than this are refreshed; Okta's `max-age` shortens it, to [`Freshness::SHORTEST`] at least.
    pub refresh_seconds: u64,
    /// Keys older than this are not used any more.
    pub max_stale_seconds: u64,
}

/// A key set and its times, in epoch seconds.
#[derive(Debug, Clone)]
pub(super) struct KnownKeys {
    pub(super) keys: KeySet,
    pub(super) fetched_at: u64,
    pub(super) refresh_at: u64,
    pub(super) expires_at: u64,
}

impl Freshness {
    /// However short Okta's `max-age` is, keys are not refreshed more often than this, in seconds.
    pub const SHORTEST: u64 = 60;

    /// Keys that Okta answered at `now`, with its `max-age`.
    pub(super) fn of_okta(self, keys: KeySet, max_age: Option<u64>, now: u64) -> KnownKeys {
        let longest = max_age.map_or(u64::MAX, |seconds| seconds.max(Self::SHORTEST));
        KnownKeys {
            keys,
            fetched_at: now,
            refresh_at: now + self.refresh_seconds.min(longest),
            expires_at: now + self.max_stale_seconds,
        }
    }

    /// Keys of the table, held to this instance's own limits.
    pub(super) fn of_table(self, known: KnownKeys) -> KnownKeys {
        KnownKeys {
            refresh_at: known.refresh_at.min(known.fetched_at + self.refresh_seconds),
            expires_at: known.expires_at.min(known.fetched_at + self.max_stale_seconds),
            ..known
        }
    }
}
