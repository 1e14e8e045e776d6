//! The protocol that decides when an issuer's keys are looked up, and which instance asks Okta.
//!
//! It is pure: it has no clock and does no I/O. The driver (`store`) performs one [`Action`] after
//! the other, and gives the result of each back as an [`Event`] with the time at which it arrived.
//! All instances run this protocol, and share one [`Item`] in the table. `tests/keys_model.rs`
//! searches what small fleets can do with it.
//!
//! A lookup in its simplest form: read the item, claim the right to ask Okta, ask, write the keys.
//!
//! | rule | why |
//! |---|---|
//! | a claim is made only for the item that was read | of several instances that read it, one wins |
//! | a claimed request starts within [`Timing::start_within`] | an instance that was frozen after its claim does not ask Okta when others may |
//! | after a claim, and until keys are written, no other for [`Timing::retry_pause`] | Okta is asked once in 5 s at most, also if the owner dies |
//! | keys that are only due: no claim for [`Timing::due_pause`] | the keys are still good, so there is time |
//! | unknown kids have [`Timing::kid_fetches`] | forged kids cannot make the fleet hammer Okta, and one of them does not delay a rotation |
//! | nobody asks before Okta's own time | Okta has said 429 or 503 |
//! | only the claim's owner writes | keys in the item never become older |
//! | keys count from the start of the request for them | a response that waited while the instance was frozen can have a withdrawn key |
//! | keys are accepted only if they are newer | a withdrawn key does not return |
//! | times too far in the future are ignored | one bad write to the table, or a clock that was set back, cannot stop all refreshes |

use std::sync::Arc;

use super::RefreshPolicy;

/// Epoch milliseconds, or a number of milliseconds.
pub type Millis = u64;

/// A key's id, from a token that is not verified yet.
pub type Kid = Arc<str>;

/// A set of keys.
pub trait Keys: Clone {
    /// Whether the set has a key with this `kid`.
    fn has_key(&self, kid: &str) -> bool;
}

/// A set of keys and its times. They are whole seconds, because the table has whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CachedKeys<K> {
    /// The keys.
    pub keys: K,
    /// When the request for the keys started.
    pub fetched_at: Millis,
    /// From this time on, the keys are due: still used, but a call tries to refresh them.
    pub refresh_at: Millis,
    /// From this time on, the keys are not used.
    pub expires_at: Millis,
}

/// What the table's item says about requests to Okta, apart from the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Limits {
    /// When an instance last claimed the right to ask Okta. `None` after a success.
    pub asked_at: Option<Millis>,
    /// Okta's own time: nobody may ask before it. 0 if there is none.
    pub not_before: Millis,
    /// The use of [`Timing::kid_fetches`], see [`Budget`].
    pub kid_budget: Millis,
}

/// The table's item. Nothing in it has been checked except the keys themselves. Empty if there is
/// no item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Item<K> {
    /// The keys, if they are a JWKS and have all their times.
    pub keys: Option<CachedKeys<K>>,
    /// Until when the owner of the last claim is at work.
    pub lease_until: Option<Millis>,
    /// The limits on requests.
    pub limits: Limits,
}

impl<K> Default for Item<K> {
    fn default() -> Self {
        Self { keys: None, lease_until: None, limits: Limits::default() }
    }
}

/// A number of uses per time, with a burst. One number says how much is used: the time at which
/// all uses are paid back (the "theoretical arrival time" of the generic cell rate algorithm).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    /// The time that pays for one use.
    pub interval: Millis,
    /// How many uses are possible at once.
    pub burst: u64,
}

impl Budget {
    fn allows(self, used_until: Millis, now: Millis) -> bool {
        used_until + self.interval <= now + self.longest()
    }

    /// How far in the future its number can be.
    fn longest(self) -> Millis {
        self.interval * self.burst
    }

    fn charged(self, used_until: Millis, now: Millis) -> Millis {
        used_until.max(now) + self.interval
    }
}

/// The times of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timing {
    /// How long after its claim a request may start at the latest.
    pub start_within: Millis,
    /// How long a request to Okta can take.
    pub fetch: Millis,
    /// How long a claim shows that its owner is at work: `start_within`, `fetch`, and a write.
    pub lease: Millis,
    /// From one claim to the next, as long as no keys were written.
    pub retry_pause: Millis,
    /// The same, if the keys are still good and only due.
    pub due_pause: Millis,
    /// Requests to Okta because of unknown kids, for the whole fleet.
    pub kid_fetches: Budget,
    /// Lookups because of unknown kids, for one instance. They bound the reads of the table.
    pub kid_lookups: Budget,
    /// From one lookup to the next in one instance, if the keys are due.
    pub due_lookup_pause: Millis,
    /// From one lookup to the next in one instance, if there are no keys and nobody may ask Okta:
    /// the end of that time, but at most this.
    pub empty_lookup_pause: Millis,
    /// How long a lookup waits for the keys of another instance.
    pub wait: Millis,
    /// From one read of the item to the next in a lookup that waits. It doubles three times.
    pub poll: Millis,
    /// The longest time that Okta can ask for.
    pub longest_not_before: Millis,
    /// How far the clocks of two instances may differ.
    pub clock_tolerance: Millis,
}

impl Timing {
    /// What the authorizer uses.
    ///
    /// - One claim in 5.5 s, and a request starts within 0.5 s of it: at most one request in 5 s.
    /// - A claim (0.5 s at most), a request (2 s) and a write (0.5 s) are 3 s.
    /// - Two unknown kids at once, and one every 31 s: at most 3 requests in any minute.
    pub const PRODUCTION: Self = Self {
        start_within: 500,
        fetch: 2_000,
        lease: 3_000,
        retry_pause: 5_500,
        due_pause: 30_000,
        kid_fetches: Budget { interval: 31_000, burst: 2 },
        kid_lookups: Budget { interval: 10_000, burst: 4 },
        due_lookup_pause: 10_000,
        empty_lookup_pause: 5_000,
        wait: 2_500,
        poll: 50,
        longest_not_before: 300_000,
        clock_tolerance: 5_000,
    };
}

/// The right to ask Okta, as it is written to the item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The new lease. The owner's later writes need it unchanged.
    pub lease_until: Millis,
    /// The new limits.
    pub limits: Limits,
    /// When the table may delete the item, if the claim creates it.
    pub expires_at: Millis,
    /// The request must start by then.
    start_by: Millis,
}

/// What the driver does next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action<K> {
    /// Read the item. The result is [`Event::Item`] or [`Event::TableFailed`].
    Read,
    /// Write this claim if the item is as it was read or returned last. The result is
    /// [`Event::Claimed`], [`Event::NotClaimed`] or [`Event::TableFailed`].
    Claim(Claim),
    /// Wait until this time. The result is [`Event::Waited`].
    Wait(Millis),
    /// Ask Okta if it is not later than this. The result is [`Event::TooLate`],
    /// [`Event::Fetched`] or [`Event::FetchFailed`].
    Fetch(Millis),
    /// Write these keys and remove the lease, if it is still this one. The result is
    /// [`Event::Written`], also if the lease is another one or the table fails.
    WriteKeys(CachedKeys<K>, Millis),
    /// Write Okta's own time if it named one, and remove the lease, if it is still this one. The
    /// result is as for `WriteKeys`.
    WriteFailure(Option<Millis>, Millis),
    /// Nothing. The lookup has ended.
    Done,
}

/// The result of an action.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event<K> {
    /// The item as it is, or as it was a moment ago.
    Item(Item<K>),
    /// The claim is written.
    Claimed,
    /// The item had changed, so the claim is not written. This is the item now.
    NotClaimed(Item<K>),
    /// The table did not answer. A claim may or may not be written.
    TableFailed,
    /// The wait is over.
    Waited,
    /// It was too late to ask Okta.
    TooLate,
    /// Okta's keys.
    Fetched {
        /// When the request started.
        started_at: Millis,
        /// The keys.
        keys: K,
        /// Okta's `max-age`, in seconds.
        max_age: Option<u64>,
    },
    /// Okta sent no keys.
    FetchFailed {
        /// Okta's own time, if it named one.
        not_before: Option<Millis>,
    },
    /// The write has ended.
    Written,
}

/// What the cache says about a `kid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'k, K> {
    /// The keys have the `kid`.
    Fresh(&'k K),
    /// The keys have the `kid`, and should be refreshed.
    Due(&'k K),
    /// The keys do not have the `kid`.
    UnknownKid,
    /// There are no keys, or they have expired.
    NoKeys,
}

/// Why a lookup is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Keys,
    Kid,
    Due,
}

/// The protocol with its settings.
#[derive(Debug, Clone, Copy)]
pub struct Protocol {
    /// The times of the protocol.
    pub timing: Timing,
    /// The deployer's limits on the age of keys.
    pub refresh_policy: RefreshPolicy,
    /// Whether there is a table.
    pub has_table: bool,
}

/// What one instance knows about an issuer's keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State<K> {
    /// The keys in memory, also if they have expired.
    pub cached: Option<CachedKeys<K>>,
    /// What this instance has done itself, or has read.
    limits: Limits,
    /// The earliest next lookup if the keys are due.
    next_due_lookup_at: Millis,
    /// The earliest next lookup if there are no keys.
    next_empty_lookup_at: Millis,
    /// The use of [`Timing::kid_lookups`].
    kid_lookups: Millis,
    /// Whether the table answered the last time.
    table_answers: bool,
}

/// A lookup that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lookup {
    /// The `kid` that the keys should have.
    kid: Option<Kid>,
    started_at: Millis,
    /// Whether the table has answered so far. If it has failed once, this lookup goes on without
    /// it.
    uses_table: bool,
    /// Until when another instance is at work, as the item said last.
    lease_until: Option<Millis>,
    /// How often it has waited for that instance.
    polls: u8,
    /// How many claims it has tried. A few, so that a lookup ends.
    claims: u8,
    /// The claim that it has tried last, until the end of the lookup if it succeeded.
    claim: Option<Claim>,
}

impl Lookup {
    const MAX_CLAIMS: u8 = 3;
}

impl<K> Default for State<K> {
    fn default() -> Self {
        Self {
            cached: None,
            limits: Limits::default(),
            next_due_lookup_at: 0,
            next_empty_lookup_at: 0,
            kid_lookups: 0,
            table_answers: false,
        }
    }
}

impl<K: Keys> State<K> {
    /// Looks into the memory. Without a `kid`, any keys are found.
    #[must_use]
    pub fn find(&self, kid: Option<&str>, now: Millis) -> Found<'_, K> {
        match &self.cached {
            Some(cached) if now < cached.expires_at => match kid {
                Some(kid) if !cached.keys.has_key(kid) => Found::UnknownKid,
                _ if now < cached.refresh_at => Found::Fresh(&cached.keys),
                _ => Found::Due(&cached.keys),
            },
            _ => Found::NoKeys,
        }
    }

    /// What a lookup for this `kid` is needed for.
    fn need(&self, kid: Option<&Kid>, now: Millis) -> Option<Need> {
        match self.find(kid.map(AsRef::as_ref), now) {
            Found::Fresh(_) => None,
            Found::Due(_) => Some(Need::Due),
            Found::UnknownKid => Some(Need::Kid),
            Found::NoKeys => Some(Need::Keys),
        }
    }
}

impl Protocol {
    /// Starts a lookup, if one is needed and it is time for one. An instance does one lookup at a
    /// time: the caller sees to that.
    pub fn start<K: Keys>(&self, state: &mut State<K>, kid: Option<&Kid>, now: Millis) -> Option<(Lookup, Action<K>)> {
        self.forget_impossible_times(state, now);
        match state.need(kid, now)? {
            Need::Keys if now < state.next_empty_lookup_at => return None,
            Need::Keys => {}
            Need::Due if now < state.next_due_lookup_at => return None,
            Need::Due => state.next_due_lookup_at = now + self.timing.due_lookup_pause,
            Need::Kid if !self.timing.kid_lookups.allows(state.kid_lookups, now) => return None,
            Need::Kid => state.kid_lookups = self.timing.kid_lookups.charged(state.kid_lookups, now),
        }
        let uses_table = self.has_table;
        let (kid, started_at) = (kid.cloned(), now);
        let mut lookup = Lookup { kid, started_at, uses_table, lease_until: None, polls: 0, claims: 0, claim: None };
        let action = if uses_table { Action::Read } else { self.decide(state, &mut lookup, now) };
        Some((lookup, action))
    }

    /// Takes the result of the last action, and returns the next one.
    pub fn next<K: Keys>(&self, state: &mut State<K>, lookup: &mut Lookup, event: Event<K>, now: Millis) -> Action<K> {
        match event {
            Event::Item(item) | Event::NotClaimed(item) => {
                lookup.lease_until = self.accept(state, item, now);
                self.decide(state, lookup, now)
            }
            Event::TableFailed => self.without_table(state, lookup, now),
            Event::Waited => Action::Read,
            Event::Claimed => match &lookup.claim {
                Some(claim) => {
                    state.limits = claim.limits;
                    Action::Fetch(claim.start_by)
                }
                None => Action::Done,
            },
            // Others may ask Okta by now. The next call starts again.
            Event::TooLate => lookup.claim.map_or(Action::Done, |claim| Action::WriteFailure(None, claim.lease_until)),
            Event::Written => Action::Done,
            Event::Fetched { started_at, keys, max_age } => {
                // Two requests within a second have different times, so that the later one is
                // newer.
                let earliest = state.cached.as_ref().map_or(0, |cached| cached.fetched_at + 1_000);
                let latest = started_at + self.timing.clock_tolerance;
                let fetched_at = started_at.max(earliest.min(latest));
                let keys = self.refresh_policy.for_fetched(keys, max_age, fetched_at);
                state.cached = Some(keys.clone());
                state.limits.asked_at = None;
                lookup.claim.map_or(Action::Done, |claim| Action::WriteKeys(keys, claim.lease_until))
            }
            Event::FetchFailed { not_before } => {
                state.limits.not_before = state.limits.not_before.max(not_before.unwrap_or_default());
                self.pause_empty_lookups(state, now);
                lookup.claim.map_or(Action::Done, |claim| {
                    Action::WriteFailure(not_before.map(|_| state.limits.not_before), claim.lease_until)
                })
            }
        }
    }

    /// Goes on after the table did not answer.
    fn without_table<K: Keys>(&self, state: &mut State<K>, lookup: &mut Lookup, now: Millis) -> Action<K> {
        // The owner is still at work, and its keys may be readable in a moment.
        if let Some(wait) = self.wait_for_owner(state, lookup, now) {
            return wait;
        }
        // The instance was frozen in the claim. The item can have other keys now.
        if lookup.claim.is_some_and(|claim| claim.lease_until < now) && lookup.claims < Lookup::MAX_CLAIMS {
            lookup.claim = None;
            return Action::Read;
        }
        // A flood of forged kids can make the table too slow for a moment. Then the whole fleet must not
        // ask Okta at once.
        let is_first_failure = std::mem::take(&mut state.table_answers);
        if is_first_failure && state.need(lookup.kid.as_ref(), now) == Some(Need::Kid) {
            return Action::Done;
        }
        // A claim that got no answer can be in the item. If it is, the write at the end succeeds.
        (lookup.uses_table, lookup.lease_until) = (false, None);
        self.decide(state, lookup, now)
    }

    /// Another read of the item in a moment, if an owner is at work and the call needs its keys.
    fn wait_for_owner<K: Keys>(&self, state: &State<K>, lookup: &mut Lookup, now: Millis) -> Option<Action<K>> {
        let needs_keys = matches!(state.need(lookup.kid.as_ref(), now), Some(Need::Keys | Need::Kid));
        let is_owned = lookup.lease_until.is_some_and(|until| now < until);
        let has_time = now < lookup.started_at + self.timing.wait;
        (needs_keys && is_owned && has_time).then(|| {
            // Many instances can wait for one owner, so they read less and less often.
            let pause = self.timing.poll << lookup.polls.min(3);
            lookup.polls = lookup.polls.saturating_add(1);
            Action::Wait(now + pause)
        })
    }

    /// Takes over what an item says, as far as it can be true. Returns the end of another
    /// instance's lease.
    fn accept<K: Keys>(&self, state: &mut State<K>, item: Item<K>, now: Millis) -> Option<Millis> {
        state.table_answers = true;
        let latest = now + self.timing.clock_tolerance;
        let limits = self.possible(item.limits, now);
        // An item of an earlier version has no `asked_at`, and its lease has other meanings.
        let is_lease = |until: &Millis| limits.asked_at.is_some() && *until <= latest + self.timing.lease;
        let lease_until = item.lease_until.filter(is_lease);

        let keys = item.keys.filter(|keys| keys.fetched_at <= latest);
        if let Some(keys) = keys.map(|keys| self.refresh_policy.clamped(keys))
            && keys.fetched_at < keys.refresh_at
            && now < keys.expires_at
            && state
                .cached
                .as_ref()
                .is_none_or(|cached| cached.fetched_at < keys.fetched_at || cached.expires_at <= now)
        {
            state.cached = Some(keys);
            // What this instance knew about requests is older than these keys.
            state.limits.asked_at = None;
        }
        state.limits = Limits {
            asked_at: state.limits.asked_at.max(limits.asked_at),
            not_before: state.limits.not_before.max(limits.not_before),
            kid_budget: state.limits.kid_budget.max(limits.kid_budget),
        };
        lease_until
    }

    /// The limits without times that are further in the future than an instance can have set them.
    fn possible(&self, limits: Limits, now: Millis) -> Limits {
        let Timing { clock_tolerance, longest_not_before, kid_fetches, .. } = self.timing;
        let latest = now + clock_tolerance;
        Limits {
            asked_at: limits.asked_at.filter(|at| *at <= latest),
            not_before: zero_if_after(latest + longest_not_before, limits.not_before),
            kid_budget: zero_if_after(latest + kid_fetches.longest(), limits.kid_budget),
        }
    }

    /// If the clock was set back, pauses that count from a later time would last too long.
    fn forget_impossible_times<K>(&self, state: &mut State<K>, now: Millis) {
        let Timing { lease, due_lookup_pause, empty_lookup_pause, kid_lookups, .. } = self.timing;
        state.limits = self.possible(state.limits, now);
        state.next_due_lookup_at = zero_if_after(now + due_lookup_pause.max(lease), state.next_due_lookup_at);
        state.next_empty_lookup_at = zero_if_after(now + empty_lookup_pause, state.next_empty_lookup_at);
        state.kid_lookups = zero_if_after(now + kid_lookups.longest(), state.kid_lookups);
    }

    /// The next action after everything is known that can be: ask Okta, wait for another instance
    /// that does, or neither.
    fn decide<K: Keys>(&self, state: &mut State<K>, lookup: &mut Lookup, now: Millis) -> Action<K> {
        let Some(need) = state.need(lookup.kid.as_ref(), now) else { return Action::Done };
        if lookup.lease_until.is_some_and(|until| now < until) {
            if need == Need::Due {
                // The keys are still good, so nobody waits.
                state.next_due_lookup_at = now + self.timing.lease;
            }
            return self.wait_for_owner(state, lookup, now).unwrap_or(Action::Done);
        }
        let may_fetch = now >= self.next_fetch_at(state, need)
            && (need != Need::Kid || self.timing.kid_fetches.allows(state.limits.kid_budget, now));
        if !may_fetch {
            if need == Need::Keys {
                self.pause_empty_lookups(state, now);
            }
            return Action::Done;
        }
        let kid_budget = match need {
            Need::Kid => self.timing.kid_fetches.charged(state.limits.kid_budget, now),
            Need::Keys | Need::Due => state.limits.kid_budget,
        };
        let limits = Limits { asked_at: Some(now), kid_budget, ..state.limits };
        let start_by = now + self.timing.start_within;
        if !lookup.uses_table {
            state.limits = limits;
            return Action::Fetch(start_by);
        }
        if lookup.claims == Lookup::MAX_CLAIMS {
            return Action::Done;
        }
        lookup.claims += 1;
        let expires_at = now + self.refresh_policy.max_stale_seconds * 1_000;
        let claim = Claim { lease_until: now + self.timing.lease, limits, expires_at, start_by };
        lookup.claim = Some(claim);
        Action::Claim(claim)
    }

    /// When Okta may be asked again, apart from the budget of unknown kids.
    fn next_fetch_at<K>(&self, state: &State<K>, need: Need) -> Millis {
        let pause = match need {
            Need::Due => self.timing.due_pause,
            Need::Keys | Need::Kid => self.timing.retry_pause,
        };
        state.limits.asked_at.map_or(0, |at| at + pause).max(state.limits.not_before)
    }

    /// Calls without keys are answered at once until somebody may ask Okta. Another instance can
    /// get keys earlier, so the pause is bounded.
    fn pause_empty_lookups<K>(&self, state: &mut State<K>, now: Millis) {
        let pause_end = self.next_fetch_at(state, Need::Keys);
        state.next_empty_lookup_at = pause_end.min(now + self.timing.empty_lookup_pause);
    }
}

/// The time, or 0 if it is after `latest`: no pause ends then.
fn zero_if_after(latest: Millis, time: Millis) -> Millis {
    if time <= latest { time } else { 0 }
}
