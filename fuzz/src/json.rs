//! A reading of JSON for the targets that compare the authorizer with one.
//!
//! It does not use `serde_json::Value`, which reads an object with the name
//! `$serde_json::private::RawValue` as another value. The fuzzer finds that name.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The members of an object. If a name occurs twice, the last member counts.
pub type Object<'j> = BTreeMap<String, &'j RawValue>;

/// Reads an object. `None` if the text is something else.
pub fn object(json: &[u8]) -> Option<Object<'_>> {
    serde_json::from_slice(json).ok()
}

/// The JSON text of a member that is present and not null.
pub fn raw<'j>(object: &Object<'j>, name: &str) -> Option<&'j str> {
    object.get(name).map(|value| value.get()).filter(|json| *json != "null")
}

/// A member as `T`. `None` if it is absent or something else.
pub fn read<'j, T: Deserialize<'j>>(object: &Object<'j>, name: &str) -> Option<T> {
    serde_json::from_str(object.get(name)?.get()).ok()
}

/// A member that is a string.
pub fn string(object: &Object<'_>, name: &str) -> Option<String> {
    read(object, name)
}
