//! The `DynamoDB` table that all instances share: one item an issuer, with its keys and the lease on refreshing them.
//!
//! It is a cache. Whatever goes wrong with it, the caller goes on without it.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use tokio::time::timeout;
use tracing::{Instrument, field, info_span};

use super::{KeySet, freshness::KnownKeys};

/// The table of keys, through a client that does not retry.
#[derive(Debug, Clone)]
pub struct KeysTable {
    client: Client,
    name: String,
}

/// The table gave no answer in time, or none that is of use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the table does not answer: {0}")]
pub(super) struct TableError(String);

/// An item as it was read: nothing in it is believed yet.
#[derive(Debug, Default)]
pub(super) struct UntrustedItem(HashMap<String, AttributeValue>);

/// Which lease is to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lease {
    /// One that nobody holds.
    IfFree,
    /// The one that was seen last, from an owner that has not come back in time. One of many can have it.
    TakeOver,
}

/// Who may refresh.
#[derive(Debug)]
pub(super) enum Claim {
    /// The caller, alone, until its lease lapses.
    Won,
    /// Somebody else refreshes now, or has just done so: the item as it is.
    Lost(UntrustedItem),
}

impl UntrustedItem {
    /// The keys, checked like an answer from Okta; `None` for an item that is corrupt, or of another time than `now`.
    pub(super) fn keys(&self, now: u64) -> Option<KnownKeys> {
        let json = self.0.get("keys")?.as_s().ok()?;
        let fetched_at = self.number("fetched_at")?;
        let refresh_at = self.number("refresh_at")?;
        let expires_at = self.number("expires_at")?;
        let from_the_past = fetched_at <= now + KeysTable::CLOCK_TOLERANCE;
        let in_order = fetched_at < refresh_at && fetched_at < expires_at;
        if !from_the_past || !in_order || expires_at <= now {
            return None;
        }
        Some(KnownKeys { keys: KeySet::parse(json.as_bytes()).ok()?, fetched_at, refresh_at, expires_at })
    }

    /// Whether the lease's owner can be expected to be at work: it was claimed not longer ago than a refresh takes.
    pub(super) fn is_being_refreshed(&self, now: u64) -> bool {
        let claimed_at = self.number("lease_until").and_then(|until| until.checked_sub(KeysTable::LEASE));
        claimed_at.is_some_and(|at| at.abs_diff(now) <= KeysTable::REFRESH_TAKES_AT_MOST)
    }

    /// Whether Okta has asked not to be asked.
    pub(super) fn is_held(&self, now: u64) -> bool {
        let held = now + KeysTable::LONGEST_OWNED + 1..=now + KeysTable::LONGEST_LEASE;
        self.number("lease_until").is_some_and(|until| held.contains(&until))
    }

    /// The condition that an attribute is still the same, with its value. Whatever a corrupt item has there, it compares.
    fn unchanged(&self, name: &str) -> (String, Option<(String, AttributeValue)>) {
        match self.0.get(name) {
            Some(value) => (format!("{name} = :seen_{name}"), Some((format!(":seen_{name}"), value.clone()))),
            None => (format!("attribute_not_exists({name})"), None),
        }
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.as_n().ok()?.parse().ok()
    }
}

impl KeysTable {
    /// How long a lease lasts, in seconds: more than a refresh can take, so that its owner is dead when it lapses.
    const LEASE: u64 = 30;
    /// The longest `Retry-After` that is honoured, in seconds.
    pub(super) const LONGEST_HOLD: u64 = 300;
    /// The longest that an owner's lease can look to another instance's clock. A hold is longer: that tells the others
    /// not to go to Okta by themselves, even without keys.
    const LONGEST_OWNED: u64 = Self::LEASE + Self::CLOCK_TOLERANCE;
    /// The longest lease that is believed: a later one is none, so that whoever may write the table cannot stop the
    /// refreshes for ever.
    const LONGEST_LEASE: u64 = Self::LONGEST_OWNED + Self::LONGEST_HOLD;
    /// A refresh is over, one way or the other, after this many seconds: 2 for Okta, 0.5 for the table.
    pub(super) const REFRESH_TAKES_AT_MOST: u64 = 3;
    /// How far the clocks of two instances may differ, in seconds.
    const CLOCK_TOLERANCE: u64 = 5;
    /// How long one operation may take.
    const TIMEOUT: Duration = Duration::from_millis(500);

    /// The table called `name`.
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// The item of one keys endpoint; an empty one where there is none.
    pub(super) async fn read(&self, endpoint: &str) -> Result<UntrustedItem, TableError> {
        let request = self.client.get_item().table_name(&self.name).key("PK", partition_key(endpoint));
        let output = within(request.send()).await?.map_err(|error| failure(&error))?;
        Ok(UntrustedItem(output.item.unwrap_or_default()))
    }

    /// Claims the refresh until `now + LEASE`, where the keys are still those of `seen` and the lease is to be had.
    pub(super) async fn claim(
        &self,
        endpoint: &str,
        seen: &UntrustedItem,
        lease: Lease,
        now: u64,
    ) -> Result<Claim, TableError> {
        let (unchanged, fetched_at) = seen.unchanged("fetched_at");
        let mut until = now + Self::LEASE;
        let (to_be_had, mut values) = match lease {
            Lease::IfFree => (
                "(attribute_not_exists(lease_until) OR NOT lease_until BETWEEN :soon AND :latest)".to_owned(),
                vec![(":soon".to_owned(), number(now + 1)), (":latest".to_owned(), number(now + Self::LONGEST_LEASE))],
            ),
            Lease::TakeOver => {
                // Within one second two leases would be the same, and everybody could take the same one over.
                until += u64::from(seen.number("lease_until") == Some(until));
                let (still_held, lease_until) = seen.unchanged("lease_until");
                (still_held, lease_until.into_iter().collect())
            }
        };
        values.extend(fetched_at);
        let request = self
            .set_lease(endpoint, until)
            .condition_expression(format!("{to_be_had} AND {unchanged}"))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let request =
            values.into_iter().fold(request, |request, (name, value)| request.expression_attribute_values(name, value));
        match within(request.send()).await? {
            Ok(_) => Ok(Claim::Won),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(lost)) => {
                    Ok(Claim::Lost(UntrustedItem(lost.item.clone().unwrap_or_default())))
                }
                _ => Err(failure(&error)),
            },
        }
    }

    /// Keeps everybody from asking Okta for the next `seconds`.
    pub(super) async fn hold(&self, endpoint: &str, seconds: u64, now: u64) -> Result<(), TableError> {
        let request = self.set_lease(endpoint, now + Self::LONGEST_OWNED + seconds);
        within(request.send()).await?.map(drop).map_err(|error| failure(&error))
    }

    fn set_lease(&self, endpoint: &str, until: u64) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.name)
            .key("PK", partition_key(endpoint))
            .update_expression("SET lease_until = :until")
            .expression_attribute_values(":until", number(until))
    }

    /// Writes the whole item, which frees the lease; only where the keys are still those of `seen`, so that nobody who
    /// comes late writes over newer ones.
    pub(super) async fn write(
        &self,
        endpoint: &str,
        known: &KnownKeys,
        seen: &UntrustedItem,
    ) -> Result<(), TableError> {
        let (unchanged, fetched_at) = seen.unchanged("fetched_at");
        let request = self
            .client
            .put_item()
            .table_name(&self.name)
            .item("PK", partition_key(endpoint))
            .item("keys", AttributeValue::S(known.keys.json().to_owned()))
            .item("fetched_at", number(known.fetched_at))
            .item("refresh_at", number(known.refresh_at))
            .item("expires_at", number(known.expires_at))
            .condition_expression(unchanged)
            .set_expression_attribute_values(fetched_at.map(|value| HashMap::from([value])));
        match within(request.send()).await? {
            Err(error)
                if error.as_service_error().is_none_or(|error| !error.is_conditional_check_failed_exception()) =>
            {
                Err(failure(&error))
            }
            _ => Ok(()),
        }
    }
}

async fn within<T, E>(
    operation: impl Future<Output = Result<T, SdkError<E>>>,
) -> Result<Result<T, SdkError<E>>, TableError> {
    let span = info_span!("DynamoDB keys table", failed = field::Empty);
    let answer = timeout(KeysTable::TIMEOUT, operation).instrument(span.clone()).await;
    // A condition that does not hold is an answer as well.
    span.record("failed", !matches!(answer, Ok(Ok(_) | Err(SdkError::ServiceError(_)))));
    answer.map_err(|_| TableError("no answer within 500 ms".to_owned()))
}

/// The error's code alone: what else it holds may be of the request.
fn failure<E>(error: &SdkError<E>) -> TableError
where
    E: aws_sdk_dynamodb::error::ProvideErrorMetadata,
{
    let code = error.as_service_error().and_then(aws_sdk_dynamodb::error::ProvideErrorMetadata::code);
    TableError(code.unwrap_or("no connection, or no usable answer").to_owned())
}

fn partition_key(endpoint: &str) -> AttributeValue {
    AttributeValue::S(format!("JWKS#{endpoint}"))
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
