//! The `DynamoDB` table that all instances share. It has one item for each keys endpoint: the keys,
//! and what the instances must know of each other to ask Okta once.
//!
//! The table is a cache. If an operation on it fails, the caller continues without the table. What
//! the attributes mean for the protocol is in `refresh`; here they are only read and written.
//!
//! | attribute | type | meaning |
//! |---|---|---|
//! | `PK` | string | partition key: `JWKS#` and the URL of the keys endpoint |
//! | `keys` | string | the JWKS as Okta sent it |
//! | `fetched_at` | number | when the request for it started |
//! | `refresh_at` | number | when it becomes due for a refresh |
//! | `expires_at` | number | when it must not be used any more; the table's TTL attribute |
//! | `lease_until` | number | until when the owner of the last claim is at work; missing if none is |
//! | `asked_at` | number | when an instance last claimed the right to ask Okta; missing after a success |
//! | `not_before` | number | nobody may ask Okta before it, because Okta has said so |
//! | `kid_budget_until` | number | until when the budget of requests for unknown kids is used |
//!
//! All times are in epoch seconds. The first three of the numbers are whole; the others can have a
//! fraction.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};

use super::{
    KeySet,
    refresh::{CachedKeys, Claim, Item, Limits, Millis},
};
use crate::running_time;

const KEYS: &str = "keys";
const FETCHED_AT: &str = "fetched_at";
const REFRESH_AT: &str = "refresh_at";
const EXPIRES_AT: &str = "expires_at";
const LEASE_UNTIL: &str = "lease_until";
const ASKED_AT: &str = "asked_at";
const NOT_BEFORE: &str = "not_before";
const KID_BUDGET_UNTIL: &str = "kid_budget_until";

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

/// An item as it was read. Empty if the table has no item.
#[derive(Debug, Default)]
pub(super) struct UntrustedItem(HashMap<String, AttributeValue>);

impl UntrustedItem {
    /// What can be read of the item. The keys are checked like a response from Okta; the protocol
    /// checks the times.
    pub(super) fn parse(&self) -> Item<KeySet> {
        let limits = Limits {
            asked_at: self.time(ASKED_AT),
            not_before: self.time(NOT_BEFORE).unwrap_or_default(),
            kid_budget: self.time(KID_BUDGET_UNTIL).unwrap_or_default(),
        };
        Item { keys: self.keys(), lease_until: self.time(LEASE_UNTIL), limits }
    }

    fn keys(&self) -> Option<CachedKeys<KeySet>> {
        let json = self.0.get(KEYS)?.as_s().ok()?;
        Some(CachedKeys {
            fetched_at: self.whole_seconds(FETCHED_AT)?,
            refresh_at: self.whole_seconds(REFRESH_AT)?,
            expires_at: self.whole_seconds(EXPIRES_AT)?,
            keys: KeySet::parse(json.as_bytes()).ok()?,
        })
    }

    fn whole_seconds(&self, name: &str) -> Option<Millis> {
        self.0.get(name)?.as_n().ok()?.parse::<u64>().ok()?.checked_mul(1_000)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of f64 to u64 saturates")]
    fn time(&self, name: &str) -> Option<Millis> {
        let seconds: f64 = self.0.get(name)?.as_n().ok()?.parse().ok()?;
        Some((seconds * 1_000.0).round() as u64)
    }
}

impl KeysTable {
    /// For one operation, with everything that the SDK does for it. `Timing` depends on it.
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

    /// Writes the claim if the keys' time and all that claims and failures change are as in
    /// `expected`. Returns the item as it is if they are not.
    ///
    /// A new item gets an `expires_at`, so that the table deletes it if no keys follow.
    pub(super) async fn claim(
        &self,
        endpoint: &str,
        expected: &UntrustedItem,
        claim: &Claim,
    ) -> Result<Option<UntrustedItem>, TableError> {
        let mut request = self
            .update(endpoint)
            .update_expression(
                "SET lease_until = :lease_until, asked_at = :asked_at, kid_budget_until = :kid_budget_until, \
                 expires_at = if_not_exists(expires_at, :expires_at)",
            )
            .expression_attribute_values(":lease_until", time(claim.lease_until))
            .expression_attribute_values(":asked_at", time(claim.limits.asked_at.unwrap_or_default()))
            .expression_attribute_values(":kid_budget_until", time(claim.limits.kid_budget))
            .expression_attribute_values(":expires_at", whole_seconds(claim.expires_at))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let mut conditions = Vec::new();
        for name in [FETCHED_AT, LEASE_UNTIL, ASKED_AT, NOT_BEFORE, KID_BUDGET_UNTIL] {
            match expected.0.get(name) {
                // The value may have any type, so that a corrupt item can be replaced.
                Some(value) => {
                    conditions.push(format!("{name} = :expected_{name}"));
                    request = request.expression_attribute_values(format!(":expected_{name}"), value.clone());
                }
                None => conditions.push(format!("attribute_not_exists({name})")),
            }
        }
        match with_timeout(request.condition_expression(conditions.join(" AND ")).send()).await? {
            Ok(_) => Ok(None),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(Some(UntrustedItem(failed.item.clone().unwrap_or_default())))
                }
                _ => Err(table_error(&error)),
            },
        }
    }

    /// Writes the keys and ends the claim, if its lease is still `lease_until`. Otherwise another
    /// instance has made a claim, and this writes nothing and returns `Ok`.
    pub(super) async fn write_keys(
        &self,
        endpoint: &str,
        keys: &CachedKeys<KeySet>,
        lease_until: Millis,
    ) -> Result<(), TableError> {
        let request = self
            .update(endpoint)
            .update_expression(
                "SET #keys = :keys, fetched_at = :fetched_at, refresh_at = :refresh_at, expires_at = :expires_at \
                 REMOVE lease_until, asked_at, not_before",
            )
            .expression_attribute_names("#keys", KEYS)
            .expression_attribute_values(":keys", AttributeValue::S(keys.keys.json().to_owned()))
            .expression_attribute_values(":fetched_at", whole_seconds(keys.fetched_at))
            .expression_attribute_values(":refresh_at", whole_seconds(keys.refresh_at))
            .expression_attribute_values(":expires_at", whole_seconds(keys.expires_at));
        send_if_owner(request, lease_until).await
    }

    /// Ends the claim without keys, if its lease is still `lease_until`, and writes Okta's own
    /// time if it named one.
    pub(super) async fn write_failure(
        &self,
        endpoint: &str,
        not_before: Option<Millis>,
        lease_until: Millis,
    ) -> Result<(), TableError> {
        let request = match not_before {
            Some(not_before) => self
                .update(endpoint)
                .update_expression("SET not_before = :not_before REMOVE lease_until")
                .expression_attribute_values(":not_before", time(not_before)),
            None => self.update(endpoint).update_expression("REMOVE lease_until"),
        };
        send_if_owner(request, lease_until).await
    }

    fn update(&self, endpoint: &str) -> UpdateItemFluentBuilder {
        self.client.update_item().table_name(&self.name).key("PK", partition_key(endpoint))
    }
}

async fn send_if_owner(request: UpdateItemFluentBuilder, lease_until: Millis) -> Result<(), TableError> {
    let request = request
        .condition_expression("lease_until = :owned_lease")
        .expression_attribute_values(":owned_lease", time(lease_until));
    match with_timeout(request.send()).await? {
        Err(error) if error.as_service_error().is_none_or(|error| !error.is_conditional_check_failed_exception()) => {
            Err(table_error(&error))
        }
        _ => Ok(()),
    }
}

fn with_timeout<T, E>(
    operation: impl Future<Output = Result<T, SdkError<E>>>,
) -> impl Future<Output = Result<Result<T, SdkError<E>>, TableError>> {
    let result = running_time::within(KeysTable::OPERATION_TIMEOUT, operation);
    async { result.await.ok_or_else(|| TableError("timed out after 500 ms".to_owned())) }
}

/// Keeps only the error's code, because the full error may contain request data.
fn table_error<E: ProvideErrorMetadata>(error: &SdkError<E>) -> TableError {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    TableError(code.unwrap_or("could not connect, or the response is invalid").to_owned())
}

fn partition_key(endpoint: &str) -> AttributeValue {
    AttributeValue::S(format!("JWKS#{endpoint}"))
}

fn whole_seconds(millis: Millis) -> AttributeValue {
    AttributeValue::N((millis / 1_000).to_string())
}

/// Epoch seconds, to the millisecond.
fn time(millis: Millis) -> AttributeValue {
    AttributeValue::N(format!("{}.{:03}", millis / 1_000, millis % 1_000))
}
