//! A JSON object as JOSE requires it: one object, and no member name twice.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// A JSON object in which no member name occurs twice, at any depth (RFC 7515 §4, RFC 7519 §4).
///
/// Each value keeps its JSON text, because a parsed number could be rounded before it gets into a
/// route. `Debug` shows nothing of the content, because it can be a token's.
pub struct JsonObject {
    /// All names (unescaped) and values, one after the other. One buffer instead of two
    /// allocations for each member, because every call parses a header and a payload.
    text: String,
    /// Sorted by name.
    members: Vec<Member>,
}

/// The byte offsets of one member in `JsonObject::text`: its name, then its value.
struct Member {
    start: usize,
    name_end: usize,
    end: usize,
}

/// The member is present, but its value is not a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAString;

impl fmt::Debug for JsonObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JsonObject(…)")
    }
}

impl JsonObject {
    /// Parses all of `bytes`. Returns `None` if they are not exactly one such object in UTF-8.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let Parsed(mut parsed) = serde_json::from_str(str::from_utf8(bytes).ok()?).ok()?;
        parsed.sort_unstable_by(|(name, _), (other, _)| name.cmp(other));
        if !parsed.is_sorted_by(|(name, _), (next, _)| name < next) {
            return None;
        }
        let mut text = String::with_capacity(bytes.len());
        let members = parsed.iter().map(|(name, json)| {
            let start = text.len();
            text.push_str(name);
            let name_end = text.len();
            text.push_str(json.get());
            Member { start, name_end, end: text.len() }
        });
        let members = members.collect();
        Some(Self { text, members })
    }

    /// The JSON text of a member's value.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&str> {
        let name_of = |member: &Member| self.text.get(member.start..member.name_end);
        let found = self.members.binary_search_by_key(&Some(name), name_of).ok()?;
        let member = self.members.get(found)?;
        self.text.get(member.name_end..member.end)
    }

    /// The text of a member that must be a string if it is present.
    ///
    /// # Errors
    /// [`NotAString`] if the value has another type. `null` is another type.
    pub fn string(&self, name: &str) -> Result<Option<Cow<'_, str>>, NotAString> {
        let text = |json| serde_json::from_str(json).map(|Text(text)| text).map_err(|_| NotAString);
        self.raw(name).map(text).transpose()
    }
}

/// A JSON string, borrowed from the input if it has no escapes.
#[derive(Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// The members of an object. `None` if it is not one, or has a name twice.
pub(crate) fn members(json: &str) -> Option<Vec<(Cow<'_, str>, &RawValue)>> {
    serde_json::from_str(json).map(|Parsed(members)| members).ok()
}

/// The members in the order of the text. Names inside the values are already checked for
/// duplicates; the names at this level are not.
struct Parsed<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Parsed<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ParsedVisitor)
    }
}

struct ParsedVisitor;

impl<'de> Visitor<'de> for ParsedVisitor {
    type Value = Parsed<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with unique names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parsed<'de>, A::Error> {
        let mut members = Vec::with_capacity(16);
        while let Some((Text(name), value)) = map.next_entry::<Text<'de>, &RawValue>()? {
            // `RawValue` checks neither depth nor duplicate names, so parse the value once more.
            serde_json::from_str::<NoDuplicateNames>(value.get()).map_err(A::Error::custom)?;
            members.push((name, value));
        }
        Ok(Parsed(members))
    }
}

/// Any JSON value without a duplicate member name. Only the check matters, so nothing is kept.
struct NoDuplicateNames;

impl<'de> Deserialize<'de> for NoDuplicateNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NoDuplicateNamesVisitor)
    }
}

struct NoDuplicateNamesVisitor;

impl<'de> Visitor<'de> for NoDuplicateNamesVisitor {
    type Value = NoDuplicateNames;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value with unique names")
    }

    fn visit_bool<E>(self, _: bool) -> Result<NoDuplicateNames, E> {
        Ok(NoDuplicateNames)
    }

    fn visit_i64<E>(self, _: i64) -> Result<NoDuplicateNames, E> {
        Ok(NoDuplicateNames)
    }

    fn visit_u64<E>(self, _: u64) -> Result<NoDuplicateNames, E> {
        Ok(NoDuplicateNames)
    }

    fn visit_f64<E>(self, _: f64) -> Result<NoDuplicateNames, E> {
        Ok(NoDuplicateNames)
    }

    fn visit_str<E>(self, _: &str) -> Result<NoDuplicateNames, E> {
        Ok(NoDuplicateNames)
    }

    fn visit_unit<E>(self) -> Result<NoDuplicateNames, E> {
        Ok(NoDuplicateNames)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<NoDuplicateNames, A::Error> {
        while seq.next_element::<NoDuplicateNames>()?.is_some() {}
        Ok(NoDuplicateNames)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NoDuplicateNames, A::Error> {
        let mut names = HashSet::new();
        while let Some((name, NoDuplicateNames)) = map.next_entry::<String, NoDuplicateNames>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("a name occurs twice"));
            }
        }
        Ok(NoDuplicateNames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_each_value_as_it_was_written() {
        let object = JsonObject::parse(br#" {"a": 1.50, "b": "x", "c": [1, {"d": null}]} "#).unwrap();
        assert_eq!(object.raw("a"), Some("1.50"));
        assert_eq!(object.raw("c"), Some(r#"[1, {"d": null}]"#));
        assert_eq!(object.raw("d"), None);
        assert_eq!(object.string("b"), Ok(Some("x".into())));
        assert_eq!(object.string("a"), Err(NotAString));
        assert_eq!(object.string("d"), Ok(None));
    }

    #[test]
    fn an_error_says_what_was_expected() {
        let error = serde_json::from_str::<Parsed>("[]").err().unwrap();
        assert!(error.to_string().contains("expected an object with unique names"), "{error}");
        let bytes = serde::de::value::BytesDeserializer::<serde::de::value::Error>::new(b"x");
        let error = NoDuplicateNames::deserialize(bytes).err().unwrap();
        assert!(error.to_string().contains("expected a value with unique names"), "{error}");
    }

    #[test]
    fn refuses_everything_but_one_object_with_unique_names() {
        let nested = format!(r#"{{"a":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
        for bad in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            r#"{"x":[{"a":1,"a":2}]}"#,
            r#"{"a":1}{"a":1}"#,
            r#"{"a":1} x"#,
            r#"{"a":1,}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":1e999}"#,
            "\u{feff}{}",
            "[]",
            "null",
            "\"{}\"",
            "",
            &nested,
        ] {
            assert!(JsonObject::parse(bad.as_bytes()).is_none(), "{bad}");
        }
        assert!(JsonObject::parse(b"{\"a\":\"\xff\"}").is_none());
        assert!(JsonObject::parse(b"{}").is_some());
    }
}
