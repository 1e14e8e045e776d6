//! Scenarios of a bad day: Okta or the table fails. Some of them take real time, because they count
//! how long a call waits.

use std::time::{Duration, Instant};

use okta_authorizer::keys::KeyError;
use okta_authorizer_testkit::{
    keys::{self, jwks},
    okta::Reply,
};
use tokio::time::sleep;

use crate::scenarios::{Fleet, START};

/// The ways in which Okta fails.
pub fn okta_faults() -> [(&'static str, Reply); 5] {
    [
        ("503", Reply::status("503 Service Unavailable\r\n", "")),
        ("404", Reply::status("404 Not Found\r\n", "")),
        ("429", Reply::status("429 Too Many Requests\r\n", "")),
        ("hangs up", Reply::HangUp),
        ("hangs", Reply::Silence),
    ]
}

/// The cost of a minute without keys.
#[derive(Debug)]
pub struct Minute {
    pub okta_requests: usize,
    pub table_requests: usize,
    pub faults: usize,
    /// The longest time that one of the calls took that did not start a request to Okta.
    pub longest_call: Duration,
}

/// A simulated minute in which no instance has keys and Okta fails. In each second, every instance
/// has this number of calls.
pub async fn minute_without_keys(fleet: &Fleet, reply: Reply, calls: u64) -> Minute {
    fleet.okta.answer(reply);
    fleet.start(START).await;
    let mut minute = Minute { okta_requests: 0, table_requests: 0, faults: 0, longest_call: Duration::ZERO };
    for second in 0..60 {
        fleet.set_clock(START + second);
        for _ in 0..calls {
            for store in &fleet.stores {
                let (before, start) = (fleet.okta.requests(), Instant::now());
                let result = store.key("main", START + second).await;
                let took = start.elapsed();
                store.lookup_ended().await;
                minute.faults += usize::from(matches!(result, Err(KeyError::Unavailable)));
                if fleet.okta.requests() == before {
                    minute.longest_call = minute.longest_call.max(took);
                }
            }
        }
    }
    minute.okta_requests = fleet.okta.requests();
    minute.table_requests = fleet.table_requests();
    minute
}

/// How long calls take in real time while Okta hangs.
#[derive(Debug)]
pub struct Waits {
    /// The start of a process without keys.
    pub start: Duration,
    /// The first call after it.
    pub first_call: Duration,
    /// A call without keys that asks Okta, with a table that takes 450 ms for each operation.
    pub with_slow_table: Duration,
    /// The longest of 50 calls with keys that are due.
    pub due: Duration,
    /// From Okta's return to the first instance's next success.
    pub recovery: Duration,
}

pub async fn waits() -> Waits {
    let good = || Reply::keys(&jwks(&[keys::main()]));
    let timed = async |fleet: &Fleet, now| {
        let start = Instant::now();
        let found = fleet.stores[0].key("main", now).await.is_ok();
        (start.elapsed(), found)
    };

    let fleet = Fleet::new(1).await;
    fleet.okta.answer(Reply::Silence);
    let start = Instant::now();
    fleet.start(START).await;
    let start = start.elapsed();
    let (first_call, _) = timed(&fleet, START + 1).await;

    let slow = Fleet::with_slow_table(1, Duration::from_millis(450)).await;
    slow.okta.answer(Reply::Silence);
    slow.set_clock(START);
    let (with_slow_table, _) = timed(&slow, START).await;

    let warm = Fleet::new(1).await;
    warm.start(START).await;
    warm.stores[0].lookup_ended().await;
    warm.okta.answer(Reply::Silence);
    let mut due = Duration::ZERO;
    for call in 0..50 {
        let now = START + 3_600 + call;
        warm.set_clock(now);
        let (took, found) = timed(&warm, now).await;
        assert!(found, "a usable key is found");
        due = due.max(took);
    }

    // Real time from here on: the clock of the store goes on with it.
    let back = Fleet::new(1).await;
    back.okta.answer(Reply::HangUp);
    let begin = Instant::now();
    let now = || START + begin.elapsed().as_secs();
    back.start(START).await;
    back.okta.answer(good());
    let okta_is_back = Instant::now();
    loop {
        back.set_clock_millis(START * 1_000 + u64::try_from(begin.elapsed().as_millis()).unwrap_or_default());
        if timed(&back, now()).await.1 {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    Waits { start, first_call, with_slow_table, due, recovery: okta_is_back.elapsed() }
}
