//! Searches everything that a small fleet can do with the protocol for keys.
//!
//! A world is a few instances, their table's item, and Okta. From a first world, the search tries
//! every order of steps: time passes, a call arrives, an instance does its next action or dies or
//! is frozen, the table fails, Okta fails and comes back, keys are rotated. After each step it
//! checks the scenario's rules. Time is in seconds, and the protocol's times are short, so that the
//! search ends; `the_real_times_are_in_the_same_order` compares them with the real ones.
//!
//! A search that cannot fail proves nothing. So for each guard of the protocol there is a search
//! without it, which must find a violation.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test panics")]

use std::{
    collections::{HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

use okta_authorizer::keys::{
    RefreshPolicy,
    refresh::{Action, Budget, CachedKeys, Event, Found, Item, Keys, Kid, Limits, Lookup, Protocol, State, Timing},
};

/// Okta's keys after a number of rotations. Each rotation replaces the only key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd)]
struct Generation(u8);

impl Keys for Generation {
    fn has_key(&self, kid: &str) -> bool {
        kid.as_bytes() == [b'0' + self.0]
    }
}

const SECOND: u64 = 1_000;
const FORGED: Generation = Generation(9);

const TIMING: Timing = Timing {
    start_within: SECOND,
    fetch: SECOND,
    lease: 3 * SECOND,
    retry_pause: 4 * SECOND,
    due_pause: 7 * SECOND,
    kid_fetches: Budget { interval: 6 * SECOND, burst: 2 },
    kid_lookups: Budget { interval: 2 * SECOND, burst: 4 },
    due_lookup_pause: 2 * SECOND,
    empty_lookup_pause: 4 * SECOND,
    wait: 3 * SECOND,
    poll: SECOND,
    longest_not_before: 6 * SECOND,
    clock_tolerance: SECOND,
};

const PROTOCOL: Protocol = Protocol {
    timing: TIMING,
    refresh_policy: RefreshPolicy { refresh_seconds: 6, max_stale_seconds: 30 },
    has_table: true,
};

/// What is left out of the protocol, or of what the table does for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    Nothing,
    /// A claim is written whatever the item is.
    ClaimForTheItemThatWasRead,
    /// A claimed request may start at any time.
    StartWithin,
    Lease,
    RetryPause,
    DuePause,
    KidBudget,
    NotBefore,
    /// Keys and failures are written whoever has the lease.
    OwnerWrites,
    /// Keys count from the arrival of the response.
    TimeOfTheRequest,
    /// The item's keys are taken whatever is in memory.
    OnlyNewerKeys,
    /// Times far in the future are believed.
    LimitsOfBelief,
    KidLookupBudget,
    DueLookupPause,
    EmptyLookupPause,
}

impl Without {
    fn protocol(self) -> Protocol {
        let far = 1_000 * SECOND;
        let mut protocol = PROTOCOL;
        let timing = &mut protocol.timing;
        match self {
            Self::StartWithin => timing.start_within = far,
            Self::Lease => timing.lease = 0,
            Self::RetryPause => timing.retry_pause = 0,
            Self::DuePause => timing.due_pause = timing.retry_pause,
            Self::KidBudget => timing.kid_fetches.burst = 100,
            Self::NotBefore => timing.longest_not_before = 0,
            Self::LimitsOfBelief => timing.clock_tolerance = far,
            Self::KidLookupBudget => timing.kid_lookups.burst = 100,
            Self::DueLookupPause => timing.due_lookup_pause = 0,
            Self::EmptyLookupPause => timing.empty_lookup_pause = 0,
            Self::Nothing
            | Self::ClaimForTheItemThatWasRead
            | Self::OwnerWrites
            | Self::TimeOfTheRequest
            | Self::OnlyNewerKeys => {}
        }
        protocol
    }
}

/// A lookup in progress.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Busy {
    lookup: Lookup,
    action: Action<Generation>,
    /// The action's result, if it has happened and the instance has not seen it.
    result: Option<Event<Generation>>,
    /// The item that a claim is for.
    read: Item<Generation>,
    /// When the action ends at the latest.
    deadline: u64,
    is_frozen: bool,
    /// The kid that was published when the lookup started, if it looks for that one.
    genuine: Option<Generation>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
struct Instance {
    state: State<Generation>,
    busy: Option<Busy>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Okta {
    Up,
    Down,
    /// 429, with a time.
    Limited(u64),
}

/// How often something may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Budgets {
    calls: u8,
    forged: u8,
    deaths: u8,
    table_faults: u8,
    /// Reads of the item as it was before the last write: `DynamoDB`'s reads are eventually
    /// consistent.
    stale_reads: u8,
    freezes: u8,
    outages: u8,
    limits: u8,
    rotations: u8,
}

impl Budgets {
    const NONE: Self = Self {
        calls: 0,
        forged: 0,
        deaths: 0,
        table_faults: 0,
        stale_reads: 0,
        freezes: 0,
        outages: 0,
        limits: 0,
        rotations: 0,
    };
}

#[derive(Clone, Debug, Hash)]
struct World {
    now: u64,
    end: u64,
    item: Item<Generation>,
    /// The item before the last write.
    earlier_item: Item<Generation>,
    instances: Vec<Instance>,
    okta: Okta,
    published: Generation,
    /// When the last rotation was.
    rotated_at: u64,
    /// When Okta was asked, in order.
    fetches: Vec<u64>,
    reads: u8,
    /// Nothing in this scenario prevents a lookup from finding its key.
    is_calm: bool,
    left: Budgets,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    Tick,
    Call(usize),
    ForgedCall(usize),
    /// The action happens, and the instance sees its result.
    Act(usize),
    /// The action happens, and then the instance is frozen.
    ActThenFreeze(usize),
    Freeze(usize),
    Thaw(usize),
    /// The table fails without doing what it was asked to do, or after doing it.
    FailBefore(usize),
    FailAfter(usize),
    ReadStale(usize),
    Die(usize),
    OktaFails,
    OktaLimits,
    OktaRecovers,
    Rotate,
}

impl World {
    fn cold(instances: usize, end: u64) -> Self {
        Self {
            now: 100 * SECOND,
            end: (100 + end) * SECOND,
            item: Item::default(),
            earlier_item: Item::default(),
            instances: vec![Instance::default(); instances],
            okta: Okta::Up,
            published: Generation(1),
            rotated_at: 0,
            fetches: Vec::new(),
            reads: 0,
            is_calm: false,
            left: Budgets { calls: 4, ..Budgets::NONE },
        }
    }

    /// Every instance and the item have keys that are `age` seconds old.
    fn warm(instances: usize, age: u64, end: u64) -> Self {
        let mut world = Self::cold(instances, end);
        let fetched_at = world.now - age * SECOND;
        let keys = CachedKeys {
            keys: Generation(1),
            fetched_at,
            refresh_at: fetched_at + 6 * SECOND,
            expires_at: fetched_at + 30 * SECOND,
        };
        world.item.keys = Some(keys);
        world.earlier_item = world.item;
        world.instances.iter_mut().for_each(|instance| instance.state.cached = Some(keys));
        world
    }

    fn calm(mut self) -> Self {
        self.is_calm = true;
        self
    }

    fn with(mut self, left: Budgets) -> Self {
        self.left = left;
        self
    }

    /// Worlds that differ only in the order of their instances are the same.
    fn fingerprint(&self) -> u64 {
        let hash = |value: &dyn Fn(&mut DefaultHasher)| {
            let mut hasher = DefaultHasher::new();
            value(&mut hasher);
            hasher.finish()
        };
        let mut instances: Vec<_> =
            self.instances.iter().map(|instance| hash(&|hasher| instance.hash(hasher))).collect();
        instances.sort_unstable();
        hash(&|hasher| {
            (self.now, self.item, self.earlier_item, &instances, self.okta, self.published, self.rotated_at)
                .hash(hasher);
            (&self.fetches, self.reads, self.left).hash(hasher);
        })
    }

    fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        let may_pass =
            |instance: &Instance| instance.busy.as_ref().is_none_or(|busy| busy.is_frozen || self.now < busy.deadline);
        if self.now < self.end && self.instances.iter().all(may_pass) {
            moves.push(Move::Tick);
        }
        for (n, instance) in self.instances.iter().enumerate() {
            match &instance.busy {
                None => {
                    if self.left.calls > 0 {
                        moves.push(Move::Call(n));
                    }
                    if self.left.forged > 0 {
                        moves.push(Move::ForgedCall(n));
                    }
                }
                Some(busy) if busy.is_frozen => moves.push(Move::Thaw(n)),
                Some(busy) => {
                    if !matches!(busy.action, Action::Wait(until) if self.now < until) {
                        moves.push(Move::Act(n));
                    }
                    let on_table = !matches!(busy.action, Action::Fetch(_) | Action::Wait(_));
                    if self.left.table_faults > 0 && on_table && busy.result.is_none() {
                        moves.extend([Move::FailBefore(n), Move::FailAfter(n)]);
                    }
                    if self.left.stale_reads > 0 && busy.action == Action::Read && self.item != self.earlier_item {
                        moves.push(Move::ReadStale(n));
                    }
                    if self.left.freezes > 0 && busy.result.is_none() {
                        moves.extend([Move::Freeze(n), Move::ActThenFreeze(n)]);
                    }
                    if self.left.deaths > 0 {
                        moves.push(Move::Die(n));
                    }
                }
            }
        }
        match self.okta {
            Okta::Up => {
                if self.left.outages > 0 {
                    moves.push(Move::OktaFails);
                }
                if self.left.limits > 0 {
                    moves.push(Move::OktaLimits);
                }
            }
            Okta::Down => moves.push(Move::OktaRecovers),
            Okta::Limited(until) if self.now >= until => moves.push(Move::OktaRecovers),
            Okta::Limited(_) => {}
        }
        if self.left.rotations > 0 {
            moves.push(Move::Rotate);
        }
        moves
    }

    /// The world after a move. An error if an instance breaks a rule that holds in every scenario.
    fn after(&self, next: Move, without: Without) -> Result<Self, String> {
        let mut world = self.clone();
        match next {
            Move::Tick => world.now += SECOND,
            Move::Call(n) => {
                world.left.calls -= 1;
                world.call(n, self.published, Some(self.published), without);
            }
            Move::ForgedCall(n) => {
                world.left.forged -= 1;
                world.call(n, FORGED, None, without);
            }
            Move::Act(n) => {
                let result = world.busy(n).result.take();
                let event = result.unwrap_or_else(|| world.act(n, without));
                world.see(n, event, without)?;
            }
            Move::ActThenFreeze(n) => {
                world.left.freezes -= 1;
                let event = world.act(n, without);
                world.busy(n).result = Some(event);
                world.busy(n).is_frozen = true;
            }
            Move::Freeze(n) => {
                world.left.freezes -= 1;
                world.busy(n).is_frozen = true;
            }
            Move::Thaw(n) => {
                let now = world.now;
                let busy = world.busy(n);
                busy.is_frozen = false;
                busy.deadline = busy.deadline.max(now);
            }
            Move::FailBefore(n) | Move::FailAfter(n) => {
                world.left.table_faults -= 1;
                if matches!(next, Move::FailAfter(_)) {
                    world.act(n, without);
                }
                let writes = matches!(world.busy(n).action, Action::WriteKeys(..) | Action::WriteFailure(..));
                world.see(n, if writes { Event::Written } else { Event::TableFailed }, without)?;
            }
            Move::ReadStale(n) => {
                world.left.stale_reads -= 1;
                world.see(n, Event::Item(self.earlier_item), without)?;
            }
            Move::Die(n) => {
                world.left.deaths -= 1;
                world.instances[n] = Instance::default();
            }
            Move::OktaFails => {
                world.left.outages -= 1;
                world.okta = Okta::Down;
            }
            Move::OktaLimits => {
                world.left.limits -= 1;
                world.okta = Okta::Limited(world.now + 5 * SECOND);
            }
            Move::OktaRecovers => world.okta = Okta::Up,
            Move::Rotate => {
                world.left.rotations -= 1;
                world.published.0 += 1;
                world.rotated_at = world.now;
            }
        }
        if world.item != self.item {
            world.earlier_item = self.item;
        }
        self.check_step_to(&world)?;
        Ok(world)
    }

    fn busy(&mut self, n: usize) -> &mut Busy {
        self.instances[n].busy.as_mut().unwrap()
    }

    fn call(&mut self, n: usize, kid: Generation, genuine: Option<Generation>, without: Without) {
        let kid = Kid::from(kid.0.to_string());
        let Instance { state, busy } = &mut self.instances[n];
        if let Some((lookup, action)) = without.protocol().start(state, Some(&kid), self.now) {
            let deadline = deadline(&action, self.now);
            let read = Item::default();
            *busy = Some(Busy { lookup, action, result: None, read, deadline, is_frozen: false, genuine });
        }
    }

    /// The instance's action happens now.
    fn act(&mut self, n: usize, without: Without) -> Event<Generation> {
        let now = self.now;
        let Busy { action, read, .. } = self.busy(n).clone();
        let owns = |item: &Item<_>, lease| without == Without::OwnerWrites || item.lease_until == Some(lease);
        match action {
            Action::Read => {
                self.reads += 1;
                Event::Item(self.item)
            }
            Action::Claim(claim) => {
                let version =
                    |item: &Item<Generation>| (item.keys.map(|keys| keys.fetched_at), item.lease_until, item.limits);
                if version(&self.item) != version(&read) && without != Without::ClaimForTheItemThatWasRead {
                    return Event::NotClaimed(self.item);
                }
                self.item.lease_until = Some(claim.lease_until);
                let Limits { asked_at, kid_budget, .. } = claim.limits;
                self.item.limits = Limits { asked_at, kid_budget, ..self.item.limits };
                Event::Claimed
            }
            Action::Wait(_) => Event::Waited,
            Action::Fetch(start_by) if now > start_by => Event::TooLate,
            Action::Fetch(_) => {
                self.fetches.push(now);
                match self.okta {
                    Okta::Up => Event::Fetched { started_at: now, keys: self.published, max_age: None },
                    Okta::Down => Event::FetchFailed { not_before: None },
                    Okta::Limited(until) => Event::FetchFailed { not_before: Some(until) },
                }
            }
            Action::WriteKeys(keys, lease_until) => {
                if owns(&self.item, lease_until) {
                    let kid_budget = self.item.limits.kid_budget;
                    self.item = Item {
                        keys: Some(keys),
                        lease_until: None,
                        limits: Limits { kid_budget, ..Limits::default() },
                    };
                }
                Event::Written
            }
            Action::WriteFailure(not_before, lease_until) => {
                if owns(&self.item, lease_until) {
                    self.item.lease_until = None;
                    self.item.limits.not_before = not_before.unwrap_or(self.item.limits.not_before);
                }
                Event::Written
            }
            Action::Done => panic!("a lookup that has ended acts"),
        }
    }

    /// The instance sees the result of its action.
    fn see(&mut self, n: usize, mut event: Event<Generation>, without: Without) -> Result<(), String> {
        let now = self.now;
        let Instance { state, busy } = &mut self.instances[n];
        let mut next = busy.take().unwrap();
        if let (Without::TimeOfTheRequest, Event::Fetched { started_at, .. }) = (without, &mut event) {
            *started_at = now;
        }
        if let Event::Item(item) | Event::NotClaimed(item) = &event {
            next.read = *item;
            if without == Without::OnlyNewerKeys && item.keys.is_some() {
                state.cached = item.keys;
            }
        }
        next.action = without.protocol().next(state, &mut next.lookup, event, now);
        next.deadline = deadline(&next.action, now);
        if next.action == Action::Done {
            let kid = next.genuine.map(|kid| kid.0.to_string());
            let is_found = matches!(state.find(kid.as_deref(), now), Found::Fresh(_) | Found::Due(_));
            if self.is_calm && next.genuine.is_some() && !is_found {
                return Err(format!("a lookup ends without its key at {now}"));
            }
        } else {
            *busy = Some(next);
        }
        Ok(())
    }

    /// The rules that hold from each world to the next one, in every scenario.
    fn check_step_to(&self, next: &Self) -> Result<(), String> {
        match (self.item.keys, next.item.keys) {
            (Some(old), Some(new)) if new.fetched_at < old.fetched_at || new.keys < old.keys => {
                return Err("the item's keys become older".to_owned());
            }
            (Some(_), None) => return Err("the item loses its keys".to_owned()),
            _ => {}
        }
        for (before, after) in self.instances.iter().zip(&next.instances) {
            if let (Some(old), Some(new)) = (before.state.cached, after.state.cached)
                && new.keys < old.keys
            {
                return Err("a withdrawn key returns".to_owned());
            }
            // Keys that need no refresh were Okta's own within the time of a refresh.
            let refresh = PROTOCOL.refresh_policy.refresh_seconds * SECOND;
            if next.now >= next.rotated_at + refresh + SECOND
                && let Found::Fresh(keys) = after.state.find(None, next.now)
                && *keys < next.published
            {
                return Err("a withdrawn key counts as fresh".to_owned());
            }
        }
        Ok(())
    }

    /// Okta works, nothing fails, and every instance is called in every second. Each must have
    /// the published key within the time of a retry and a request, or after Okta's own time.
    fn check_recovery(&self, without: Without) -> Result<(), String> {
        let mut world = self.clone().with(Budgets::NONE);
        (world.okta, world.is_calm) = (Okta::Up, false);
        // A claimed request can start late, and the clock has whole seconds.
        let bound = TIMING.retry_pause + TIMING.start_within + TIMING.fetch;
        let end = match self.okta {
            Okta::Limited(until) => until.max(world.now) + bound,
            // A time that Okta cannot have named does not count.
            Okta::Up | Okta::Down => match self.item.limits.not_before {
                time if time <= world.now + TIMING.longest_not_before => (world.now + bound).max(time + TIMING.fetch),
                _ => world.now + bound,
            },
        };
        let instances = 0..world.instances.len();
        for n in instances.clone() {
            if let Some(busy) = &mut world.instances[n].busy {
                busy.is_frozen = false;
            }
        }
        while world.now <= end {
            for n in instances.clone() {
                if world.instances[n].busy.is_none() {
                    world.call(n, world.published, None, without);
                }
                // A few actions are possible in a second.
                for _ in 0..4 {
                    let is_ready = |busy: &Busy| !matches!(busy.action, Action::Wait(until) if world.now < until);
                    if world.instances[n].busy.as_ref().is_some_and(is_ready) {
                        let result = world.busy(n).result.take();
                        let event = result.unwrap_or_else(|| world.act(n, without));
                        world.see(n, event, without)?;
                    }
                }
            }
            world.now += SECOND;
        }
        let published = world.published.0.to_string();
        let is_current = |instance: &Instance| {
            matches!(instance.state.find(Some(&published), world.now), Found::Fresh(_) | Found::Due(_))
        };
        if world.instances.iter().all(is_current) {
            return Ok(());
        }
        Err(format!("an instance lacks the keys {} s after Okta is back", (end - self.now) / SECOND))
    }
}

fn deadline(action: &Action<Generation>, now: u64) -> u64 {
    match action {
        Action::Wait(until) => *until,
        Action::Fetch(_) => now + TIMING.fetch,
        _ => now,
    }
}

/// What must hold in a scenario, in addition to what always holds.
type Rule = fn(&World) -> Result<(), String>;

struct Violation {
    what: String,
    path: Vec<Move>,
}

/// Tries everything from `first` on. Returns the number of worlds, or the shortest way to break a
/// rule.
fn search(first: World, without: Without, rule: Rule) -> Result<usize, Violation> {
    /// A scenario that is larger than this is too large for a test.
    const MOST_WORLDS: usize = 3_000_000;
    let mut seen = HashSet::from([first.fingerprint()]);
    let mut steps: Vec<(usize, Move)> = vec![(0, Move::Tick)];
    let mut queue = VecDeque::from([(0, first)]);
    while let Some((at, world)) = queue.pop_front() {
        for next in world.moves() {
            let path = |what| {
                let mut path = vec![next];
                let mut at = at;
                while at != 0 {
                    path.push(steps[at].1);
                    at = steps[at].0;
                }
                path.reverse();
                Violation { what, path }
            };
            let world = world.after(next, without).map_err(path)?;
            if !seen.insert(world.fingerprint()) {
                continue;
            }
            rule(&world).map_err(path)?;
            let ends_a_fault = matches!(
                next,
                Move::OktaRecovers | Move::Thaw(_) | Move::Die(_) | Move::FailBefore(_) | Move::FailAfter(_)
            );
            if ends_a_fault || at == 0 {
                world.check_recovery(without).map_err(path)?;
            }
            steps.push((at, next));
            queue.push_back((steps.len() - 1, world));
            assert!(steps.len() < MOST_WORLDS, "the scenario is too large");
        }
    }
    Ok(steps.len())
}

/// The scenario holds.
fn holds(first: World, rule: Rule) {
    let started = std::time::Instant::now();
    match search(first, Without::Nothing, rule) {
        Ok(worlds) => println!("{worlds} worlds, {:?}", started.elapsed()),
        Err(Violation { what, path }) => panic!("{what}: {path:?}"),
    }
}

/// The same scenario does not hold without this guard.
fn needs(guard: Without, first: World, rule: Rule) {
    assert!(search(first, guard, rule).is_err(), "no violation without {guard:?}");
}

fn at_most<const MOST: usize>(world: &World) -> Result<(), String> {
    if world.fetches.len() <= MOST { Ok(()) } else { Err(format!("requests at {:?}", world.fetches)) }
}

/// Two requests are at least this number of seconds apart.
fn apart<const SECONDS: u64>(world: &World) -> Result<(), String> {
    let is_close = |pair: &[u64]| pair[1] < pair[0] + SECONDS * SECOND;
    if world.fetches.windows(2).any(is_close) { Err(format!("requests at {:?}", world.fetches)) } else { Ok(()) }
}

const fn calls(calls: u8) -> Budgets {
    Budgets { calls, ..Budgets::NONE }
}

#[test]
fn a_cold_fleet_asks_okta_once_and_every_call_gets_keys() {
    for instances in [2, 3] {
        let first = World::cold(instances, 5).with(calls(4)).calm();
        holds(first.clone(), at_most::<1>);
        needs(Without::ClaimForTheItemThatWasRead, first.clone(), at_most::<1>);
        needs(Without::Lease, first, at_most::<1>);
    }
}

#[test]
fn an_owner_that_dies_costs_one_more_request() {
    for instances in [2, 3] {
        let first = World::cold(instances, 9).with(Budgets { deaths: 1, ..calls(4) });
        holds(first.clone(), |world| at_most::<2>(world).and_then(|()| apart::<3>(world)));
        needs(Without::RetryPause, first, apart::<3>);
    }
}

#[test]
fn a_table_that_fails_costs_one_more_request() {
    for instances in [2, 3] {
        holds(World::cold(instances, 5).with(Budgets { table_faults: 1, ..calls(4) }), at_most::<2>);
        // A stale read costs nothing, because a claim is for the item as it is.
        holds(World::cold(instances, 5).with(Budgets { stale_reads: 2, ..calls(4) }), at_most::<1>);
    }
    // Each instance without a table limits itself.
    let mut alone = World::cold(1, 9).with(Budgets { outages: 1, ..calls(6) });
    alone.instances.truncate(1);
    holds(alone, apart::<3>);
}

#[test]
fn during_an_outage_a_cold_fleet_asks_once_in_each_pause() {
    for instances in [2, 3] {
        let mut first = World::cold(instances, 9).with(calls(4));
        first.okta = Okta::Down;
        holds(first.clone(), apart::<3>);
        needs(Without::RetryPause, first, apart::<3>);
    }
}

#[test]
fn during_an_outage_a_fleet_with_due_keys_asks_less_often() {
    for instances in [2, 3] {
        let mut first = World::warm(instances, 6, 9).with(calls(4));
        first.okta = Okta::Down;
        holds(first.clone(), apart::<6>);
        needs(Without::DuePause, first, apart::<6>);
    }
}

#[test]
fn nobody_asks_before_oktas_own_time() {
    let cold = [2, 3].map(|instances| World::cold(instances, 7).with(calls(3)));
    let warm = [2, 3].map(|instances| World::warm(instances, 6, 7).with(Budgets { forged: 1, ..calls(2) }));
    for mut first in cold.into_iter().chain(warm) {
        first.okta = Okta::Limited(first.now + 6 * SECOND);
        // The first request can be before it, because nobody knows.
        let rule: Rule = |world| match world.fetches.as_slice() {
            [_, second, ..] if *second < 106 * SECOND => Err(format!("requests at {:?}", world.fetches)),
            _ => Ok(()),
        };
        holds(first.clone(), rule);
        needs(Without::NotBefore, first, rule);
    }
}

#[test]
fn a_rotation_costs_one_request_and_is_accepted_at_once() {
    for instances in [2, 3] {
        let mut first = World::warm(instances, 1, 4).with(calls(4)).calm();
        first.published = Generation(2);
        first.rotated_at = first.now;
        holds(first, at_most::<1>);
    }
}

#[test]
fn one_forged_kid_does_not_delay_a_rotation() {
    // The forged call comes first. Then every call with the new kid must find it.
    let mut first = World::warm(2, 1, 4).with(Budgets { forged: 1, ..calls(3) }).calm();
    first = first.after(Move::ForgedCall(0), Without::Nothing).unwrap();
    while first.instances[0].busy.is_some() {
        first = first.after(Move::Act(0), Without::Nothing).unwrap();
    }
    assert_eq!(first.fetches.len(), 1);
    first.published = Generation(2);
    first.rotated_at = first.now;
    holds(first, at_most::<2>);
}

#[test]
fn forged_kids_have_a_budget() {
    // Three requests are never within the time that pays for one. The first can start a second
    // after its claim.
    let rule: Rule = |world| {
        let is_close = |three: &[u64]| three[2] < three[0] + 5 * SECOND;
        if world.fetches.windows(3).any(is_close) { Err(format!("requests at {:?}", world.fetches)) } else { Ok(()) }
    };
    for (first, forged) in [(World::warm(2, 0, 7), 6), (World::warm(1, 0, 9), 6), (World::warm(3, 0, 7), 4)] {
        let first = first.with(Budgets { forged, ..calls(0) });
        holds(first.clone(), rule);
        needs(Without::KidBudget, first, rule);
    }
}

#[test]
fn forged_kids_cause_few_reads_of_the_table() {
    let first = World::warm(1, 0, 2).with(Budgets { forged: 12, ..calls(0) });
    let rule: Rule = |world| if world.reads <= 5 { Ok(()) } else { Err(format!("{} reads", world.reads)) };
    holds(first.clone(), rule);
    needs(Without::KidLookupBudget, first, rule);
}

#[test]
fn calls_in_a_pause_cause_few_reads_of_the_table() {
    let few: Rule = |world| if world.reads <= 3 { Ok(()) } else { Err(format!("{} reads", world.reads)) };
    for (guard, first) in
        [(Without::EmptyLookupPause, World::cold(1, 3)), (Without::DueLookupPause, World::warm(1, 6, 3))]
    {
        let mut first = first.with(calls(8));
        first.okta = Okta::Down;
        holds(first.clone(), few);
        needs(guard, first, few);
    }
}

#[test]
fn a_frozen_owner_does_not_ask_when_others_may() {
    for instances in [2, 3] {
        let first = World::cold(instances, 9).with(Budgets { freezes: 1, ..calls(3) });
        holds(first.clone(), apart::<3>);
        needs(Without::StartWithin, first, apart::<3>);
    }
}

#[test]
fn keys_never_become_older() {
    let frozen = World::warm(3, 6, 5).with(Budgets { freezes: 1, rotations: 1, ..calls(2) });
    holds(frozen, at_most::<2>);
    let due = World::warm(2, 6, 5);
    let frozen = due.clone().with(Budgets { freezes: 1, rotations: 1, ..calls(2) });
    holds(frozen.clone(), at_most::<2>);
    needs(Without::OwnerWrites, frozen, at_most::<2>);
    // New keys that could not be written, and then another reason to read the item.
    let stale = due.clone().with(Budgets { stale_reads: 1, rotations: 1, forged: 1, ..calls(2) });
    holds(stale.clone(), at_most::<3>);
    needs(Without::OnlyNewerKeys, stale, at_most::<3>);
    let failing = due.with(Budgets { table_faults: 1, rotations: 1, forged: 1, ..calls(1) });
    holds(failing.clone(), at_most::<2>);
    needs(Without::OnlyNewerKeys, failing, at_most::<2>);
}

#[test]
fn a_response_that_waited_in_a_frozen_instance_is_old() {
    let mut first = World::warm(2, 6, 12).with(Budgets { freezes: 1, rotations: 1, ..calls(3) });
    let until_the_response = [Move::Call(0), Move::Act(0), Move::Act(0), Move::ActThenFreeze(0), Move::Rotate];
    for next in until_the_response {
        first = first.after(next, Without::Nothing).unwrap();
    }
    assert_eq!(first.fetches.len(), 1);
    holds(first.clone(), at_most::<4>);
    needs(Without::TimeOfTheRequest, first, at_most::<4>);
}

#[test]
fn an_outage_ends_by_itself() {
    for instances in [2, 3] {
        let first = World::cold(instances, 6).with(Budgets { outages: 1, deaths: 1, ..calls(3) });
        holds(first, at_most::<9>);
    }
    let limited = World::cold(2, 7).with(Budgets { limits: 1, table_faults: 1, ..calls(2) });
    holds(limited, at_most::<9>);
}

#[test]
fn times_far_in_the_future_do_not_stop_requests() {
    let far = 900 * SECOND;
    for change in 0..4 {
        // With a far budget, a genuine rotation must still be found.
        let mut first = if change == 3 { World::warm(2, 1, 2).calm() } else { World::cold(2, 2) }.with(calls(2));
        (first.published, first.rotated_at) = if change == 3 { (Generation(2), first.now) } else { (Generation(1), 0) };
        let (item, at) = (&mut first.item, first.now + far);
        match change {
            0 => item.limits.asked_at = Some(at),
            1 => item.limits.not_before = at,
            2 => (item.lease_until, item.limits.asked_at) = (Some(at), Some(first.now - far / 10)),
            _ => item.limits.kid_budget = at,
        }
        holds(first.clone(), at_most::<1>);
        needs(Without::LimitsOfBelief, first, at_most::<1>);
    }
}

#[test]
fn an_instance_that_was_frozen_in_its_claim_reads_again() {
    let mut world = World::warm(2, 6, 12).with(Budgets { freezes: 1, table_faults: 1, ..calls(2) });
    let refreshed_by_the_other = [Move::Call(1), Move::Act(1), Move::Act(1), Move::Act(1), Move::Act(1)];
    let steps = [Move::Call(0), Move::Act(0), Move::Freeze(0), Move::Tick, Move::Tick, Move::Tick, Move::Tick];
    let thawed = [Move::Thaw(0), Move::FailBefore(0), Move::Act(0)];
    for step in steps.into_iter().chain(refreshed_by_the_other).chain(thawed) {
        world = world.after(step, Without::Nothing).unwrap();
    }
    assert!(world.instances.iter().all(|instance| instance.busy.is_none()), "{world:?}");
    assert_eq!(world.fetches.len(), 1);
}

#[test]
fn a_request_that_is_too_late_ends_the_lease() {
    let mut world = World::cold(1, 9).with(Budgets { freezes: 1, ..calls(1) });
    let frozen = [Move::Freeze(0), Move::Tick, Move::Tick, Move::Thaw(0)];
    let steps = [Move::Call(0), Move::Act(0), Move::Act(0)].into_iter().chain(frozen);
    for step in steps.chain([Move::Act(0), Move::Act(0)]) {
        world = world.after(step, Without::Nothing).unwrap();
    }
    assert_eq!((world.fetches.len(), world.item.lease_until), (0, None));
}

#[test]
fn a_clock_that_was_set_back_stops_nothing() {
    let run = |without| {
        let mut world = World::cold(1, 0).with(calls(2));
        world.okta = Okta::Down;
        for set_back in [0, 50 * SECOND] {
            world.now -= set_back;
            world = world.after(Move::Call(0), without).unwrap();
            while world.instances[0].busy.is_some() {
                world = world.after(Move::Act(0), without).unwrap();
            }
        }
        world.fetches.len()
    };
    assert_eq!(run(Without::Nothing), 2);
    assert_eq!(run(Without::LimitsOfBelief), 1);
}

#[test]
fn the_lease_of_an_earlier_version_is_ignored() {
    for (asked_at, requests) in [(None, 1), (Some(100 * SECOND), 0)] {
        let mut world = World::cold(1, 0).with(calls(1));
        world.item.lease_until = Some(world.now + 2 * SECOND);
        world.item.limits.asked_at = asked_at;
        world = world.after(Move::Call(0), Without::Nothing).unwrap();
        while world.moves() == [Move::Act(0)] {
            world = world.after(Move::Act(0), Without::Nothing).unwrap();
        }
        assert_eq!(world.fetches.len(), requests, "{asked_at:?}");
    }
}

#[test]
fn the_real_times_are_in_the_same_order() {
    for timing in [TIMING, Timing::PRODUCTION] {
        let least_distance = timing.retry_pause - timing.start_within;
        assert!(timing.start_within + timing.fetch < timing.lease);
        assert!(timing.lease <= least_distance && timing.lease <= timing.retry_pause);
        assert!(timing.retry_pause < timing.due_pause);
        assert!(timing.due_lookup_pause < timing.due_pause);
        assert!(timing.kid_fetches.burst == 2 && timing.kid_fetches.interval <= timing.due_pause + timing.lease);
        assert!(timing.kid_fetches.burst < timing.kid_lookups.burst);
        assert!(timing.poll < timing.wait);
    }
    let real = Timing::PRODUCTION;
    assert!(real.retry_pause - real.start_within >= 5_000, "at most one request in 5 s");
    assert!(real.retry_pause < 6_000, "keys within 6 s");
    assert!(
        real.kid_fetches.interval * 2 - real.start_within > 60_000,
        "at most 3 requests for unknown kids in a minute"
    );
}
