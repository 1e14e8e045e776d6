//! A time limit that stands still while Lambda has frozen the process.

use std::{pin::pin, time::Duration};

use futures_util::future::{Either, select};
use tokio::time::sleep;

/// The limit is counted in these steps. A freeze of any length is one step.
const STEP: Duration = Duration::from_millis(50);

/// The result of `work`, or `None` if it takes longer than `limit`.
///
/// The clock goes on during a freeze, so an ordinary time limit is over after it, even if what
/// `work` waits for has arrived. Work that goes on after a call would never end.
pub(crate) fn within<T>(limit: Duration, work: impl Future<Output = T>) -> impl Future<Output = Option<T>> {
    // On the heap, because a request of the AWS SDK is large, and would be copied into each caller.
    let work = Box::pin(work);
    async move {
        let steps = async {
            for _ in 0..limit.as_millis().div_ceil(STEP.as_millis()) {
                sleep(STEP).await;
            }
        };
        match select(work, pin!(steps)).await {
            Either::Left((result, _)) => Some(result),
            Either::Right(_) => None,
        }
    }
}
