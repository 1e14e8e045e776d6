//! The `DynamoDB` table that all instances share. It has one item for each keys endpoint: the keys,
//! and the lease on refreshing them.
//!
//! The table is a cache. If an operation on it fails, the caller continues without the table.
//!
//! | attribute | type | meaning |
//! |---|---|---|
//! | `PK` | string | partition key: `JWKS#` and the URL of the keys endpoint |
//! | `keys` | string | the JWKS as Okta sent it |
//! | `fetched_at` | number | when Okta sent it; also the version for conditional writes |
//! | `refresh_at` | number | when it becomes stale |
//! | `expires_at` | number | when it must not be used any more; the table's TTL attribute |
//! | `lease_until` | number | who may ask Okta, see below; missing after a write of keys |
//!
//! All times are in epoch seconds. `lease_until` has four meanings, which depend on its distance
//! from the reader's clock `now`:
//!
//! | `lease_until` minus `now`, in seconds | meaning |
//! |---|---|
//! | missing, or 0 and less | the lease is free |
//! | 1 to 35 | an instance refreshes the keys, or has tried to |
//! | 36 to 335 | Okta sent `Retry-After`, and no instance may ask Okta |
//! | 336 and more | ignored, as if the lease were free |

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use tokio::time::timeout;

use super::{KeySet, refresh_policy::CachedKeys};

/// The keys table, reached through an SDK client.
#[derive(Debug, Clone)]
pub struct KeysTable {
    client: Client,
    name: String,
}

/// An operation on the table failed or took too long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct TableError(String);

/// An item as it was read. Nothing in it has been checked yet. Empty if the table has no item.
#[derive(Debug, Default)]
pub(super) struct UntrustedItem(HashMap<String, AttributeValue>);

/// The state that the lease must have for an attempt to acquire it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lease {
    /// Nobody holds it.
    IfFree,
    /// It is the one that was read last. Its owner has not written keys in time, so it is probably
    /// dead. Only one of the instances that read this lease can take it.
    TakeOver,
}

/// The result of an attempt to acquire the lease.
#[derive(Debug)]
pub(super) enum LeaseAttempt {
    /// Only the caller may refresh the keys, until its lease ends.
    Acquired,
    /// Another instance holds the lease, or has just written new keys. Contains the item as it is
    /// now.
    HeldByOther(UntrustedItem),
}

impl UntrustedItem {
    /// The keys, checked like a response from Okta. `None` if the item is corrupt, expired at
    /// `now`, or from the future. The check of `expires_at` is necessary because `DynamoDB` can
    /// delete items days after their TTL.
    ///
    /// Source: `DynamoDB` developer guide, "Using time to live (TTL)":
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html>.
    pub(super) fn keys(&self, now: u64) -> Option<CachedKeys> {
        let json = self.0.get("keys")?.as_s().ok()?;
        let fetched_at = self.number("fetched_at")?;
        let refresh_at = self.number("refresh_at")?;
        let expires_at = self.number("expires_at")?;
        let from_the_past = fetched_at <= now + KeysTable::CLOCK_TOLERANCE_SECONDS;
        let in_order = fetched_at < refresh_at && fetched_at < expires_at;
        if !from_the_past || !in_order || expires_at <= now {
            return None;
        }
        Some(CachedKeys { keys: KeySet::parse(json.as_bytes()).ok()?, fetched_at, refresh_at, expires_at })
    }

    /// Whether the lease's owner is probably still working: it acquired the lease at most
    /// [`KeysTable::REFRESH_TIMEOUT_SECONDS`] ago.
    pub(super) fn is_being_refreshed(&self, now: u64) -> bool {
        let acquired_at = self.number("lease_until").and_then(|until| until.checked_sub(KeysTable::LEASE_SECONDS));
        acquired_at.is_some_and(|at| at.abs_diff(now) <= KeysTable::REFRESH_TIMEOUT_SECONDS)
    }

    /// Whether Okta sent `Retry-After`, and that time has not passed.
    pub(super) fn is_rate_limited(&self, now: u64) -> bool {
        let range = now + KeysTable::MAX_OWNED_SECONDS + 1..=now + KeysTable::MAX_LEASE_UNTIL_SECONDS;
        self.number("lease_until").is_some_and(|until| range.contains(&until))
    }

    /// A condition that this attribute has not changed since the item was read, and the value that
    /// the condition needs. The value may have any type, so that a corrupt item can be replaced.
    fn still_equals(&self, name: &str) -> (String, Option<(String, AttributeValue)>) {
        match self.0.get(name) {
            Some(value) => (format!("{name} = :expected_{name}"), Some((format!(":expected_{name}"), value.clone()))),
            None => (format!("attribute_not_exists({name})"), None),
        }
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.as_n().ok()?.parse().ok()
    }
}

impl KeysTable {
    /// How long a lease lasts. It must be longer than [`Self::REFRESH_TIMEOUT_SECONDS`], so that a
    /// lease that has ended has no working owner. It is also the fleet's pause after a failed
    /// refresh, because the owner of a failed refresh leaves the lease in place.
    const LEASE_SECONDS: u64 = 30;
    /// The longest `Retry-After` that is honoured. A longer one is shortened to this.
    pub(super) const MAX_RETRY_AFTER_SECONDS: u64 = 300;
    /// The longest that an owner's lease can seem to last, on another instance's clock.
    /// [`Self::set_retry_after`] writes a later time, so that [`UntrustedItem::is_rate_limited`]
    /// can tell the two apart.
    const MAX_OWNED_SECONDS: u64 = Self::LEASE_SECONDS + Self::CLOCK_TOLERANCE_SECONDS;
    /// The latest `lease_until` that is believed, relative to now. A later one is ignored, so that
    /// one write by somebody with access to the table cannot stop refreshes forever.
    const MAX_LEASE_UNTIL_SECONDS: u64 = Self::MAX_OWNED_SECONDS + Self::MAX_RETRY_AFTER_SECONDS;
    /// How long an owner is expected to work: 2 s for Okta and 0.5 s for the table, rounded up.
    /// After this time other instances treat the owner as dead and may take the lease over.
    ///
    /// An owner's lease counts from the start of its call, so its first two operations on the table
    /// (0.5 s each at most) count as well. In the worst case an owner needs 3.5 s and is treated as
    /// dead while it works. The effect is one more request to Okta.
    pub(super) const REFRESH_TIMEOUT_SECONDS: u64 = 3;
    /// How far the clocks of two instances may differ.
    const CLOCK_TOLERANCE_SECONDS: u64 = 5;
    /// For one operation, with everything that the SDK does for it.
    /// [`Self::REFRESH_TIMEOUT_SECONDS`] depends on it.
    const OPERATION_TIMEOUT: Duration = Duration::from_millis(500);

    /// The table called `name`. The client should not retry: an operation has 500 ms in all.
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Reads the item of one keys endpoint.
    pub(super) async fn read(&self, endpoint: &str) -> Result<UntrustedItem, TableError> {
        let request = self.client.get_item().table_name(&self.name).key("PK", partition_key(endpoint));
        let output = with_timeout(request.send()).await?.map_err(|error| table_error(&error))?;
        Ok(UntrustedItem(output.item.unwrap_or_default()))
    }

    /// Tries to acquire the lease for [`Self::LEASE_SECONDS`] from `now`. This fails if the lease
    /// is not in the state that `lease` names, or if the keys are not those of the `expected` item.
    ///
    /// Source: `DynamoDB` developer guide, "Condition and filter expressions, operators, and
    /// functions".
    pub(super) async fn acquire_lease(
        &self,
        endpoint: &str,
        expected: &UntrustedItem,
        lease: Lease,
        now: u64,
    ) -> Result<LeaseAttempt, TableError> {
        let (same_keys, fetched_at) = expected.still_equals("fetched_at");
        let mut until = now + Self::LEASE_SECONDS;
        let (lease_condition, mut values) = match lease {
            Lease::IfFree => (
                "(attribute_not_exists(lease_until) OR NOT lease_until BETWEEN :earliest AND :latest)".to_owned(),
                vec![
                    (":earliest".to_owned(), number(now + 1)),
                    (":latest".to_owned(), number(now + Self::MAX_LEASE_UNTIL_SECONDS)),
                ],
            ),
            Lease::TakeOver => {
                // Two leases of the same second must differ. Otherwise the next instance would see
                // an unchanged lease, and could take it over as well.
                until += u64::from(expected.number("lease_until") == Some(until));
                let (same_lease, lease_until) = expected.still_equals("lease_until");
                (same_lease, lease_until.into_iter().collect())
            }
        };
        values.extend(fetched_at);
        let request = self
            .set_lease_until(endpoint, until)
            .condition_expression(format!("{lease_condition} AND {same_keys}"))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let request =
            values.into_iter().fold(request, |request, (name, value)| request.expression_attribute_values(name, value));
        match with_timeout(request.send()).await? {
            Ok(_) => Ok(LeaseAttempt::Acquired),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(LeaseAttempt::HeldByOther(UntrustedItem(failed.item.clone().unwrap_or_default())))
                }
                _ => Err(table_error(&error)),
            },
        }
    }

    /// Tells all instances not to ask Okta for `seconds` from `now`. This replaces the lease.
    pub(super) async fn set_retry_after(&self, endpoint: &str, seconds: u64, now: u64) -> Result<(), TableError> {
        let request = self.set_lease_until(endpoint, now + Self::MAX_OWNED_SECONDS + seconds);
        with_timeout(request.send()).await?.map(drop).map_err(|error| table_error(&error))
    }

    fn set_lease_until(&self, endpoint: &str, until: u64) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.name)
            .key("PK", partition_key(endpoint))
            .update_expression("SET lease_until = :until")
            .expression_attribute_values(":until", number(until))
    }

    /// Writes the whole item without `lease_until`, which releases the lease. If the item no longer
    /// has the keys of `expected`, another instance has written newer ones; then this writes
    /// nothing and returns `Ok`.
    pub(super) async fn write(
        &self,
        endpoint: &str,
        keys: &CachedKeys,
        expected: &UntrustedItem,
    ) -> Result<(), TableError> {
        let (same_keys, fetched_at) = expected.still_equals("fetched_at");
        let request = self
            .client
            .put_item()
            .table_name(&self.name)
            .item("PK", partition_key(endpoint))
            .item("keys", AttributeValue::S(keys.keys.json().to_owned()))
            .item("fetched_at", number(keys.fetched_at))
            .item("refresh_at", number(keys.refresh_at))
            .item("expires_at", number(keys.expires_at))
            .condition_expression(same_keys)
            .set_expression_attribute_values(fetched_at.map(|value| HashMap::from([value])));
        match with_timeout(request.send()).await? {
            Err(error)
                if error.as_service_error().is_none_or(|error| !error.is_conditional_check_failed_exception()) =>
            {
                Err(table_error(&error))
            }
            _ => Ok(()),
        }
    }
}

async fn with_timeout<T, E>(
    operation: impl Future<Output = Result<T, SdkError<E>>>,
) -> Result<Result<T, SdkError<E>>, TableError> {
    let result = timeout(KeysTable::OPERATION_TIMEOUT, operation).await;
    result.map_err(|_| TableError("timed out after 500 ms".to_owned()))
}

/// Keeps only the error's code, because the full error may contain request data.
fn table_error<E: ProvideErrorMetadata>(error: &SdkError<E>) -> TableError {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    TableError(code.unwrap_or("could not connect, or the response is invalid").to_owned())
}

fn partition_key(endpoint: &str) -> AttributeValue {
    AttributeValue::S(format!("JWKS#{endpoint}"))
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
