//! JSON objects as JOSE wants them: one object, no member name twice.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// A JSON object in which no member name stands twice, at any depth (RFC 7515 §4, RFC 7519 §4).
///
/// Members keep their JSON text, so that a number is never rounded on its way into a route.
pub(super) struct Object {
    /// Every member's name, unescaped, and the JSON behind it: two allocations, however many claims a token has.
    text: String,
    /// Sorted by name.
    members: Vec<Member>,
}

/// Where in the object's text a member lies.
struct Member {
    start: usize,
    name_end: usize,
    end: usize,
}

/// A member that is there, with another type.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotAString;

impl Object {
    /// Parses the whole of `bytes`; `None` for anything but one such object in UTF-8.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
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
    pub(super) fn member(&self, name: &str) -> Option<&str> {
        let name_of = |member: &Member| self.text.get(member.start..member.name_end);
        let found = self.members.binary_search_by_key(&Some(name), name_of).ok()?;
        let member = self.members.get(found)?;
        self.text.get(member.name_end..member.end)
    }

    /// A member that must be a string if it is there.
    pub(super) fn string(&self, name: &str) -> Result<Option<Cow<'_, str>>, NotAString> {
        let text = |json| serde_json::from_str(json).map(|Text(text)| text).map_err(|_| NotAString);
        self.member(name).map(text).transpose()
    }
}

/// A JSON string, borrowed where nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// An object's members as they come; only in their values has no name been found twice.
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
            // A raw value is only skipped over: this reads it, and bounds its depth.
            serde_json::from_str::<Unique>(value.get()).map_err(A::Error::custom)?;
            members.push((name, value));
        }
        Ok(Parsed(members))
    }
}

/// Any JSON value without a duplicate member name; nothing of it is kept.
struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Unique;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value with unique names")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_str<E>(self, _: &str) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_unit<E>(self) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Unique, A::Error> {
        while seq.next_element::<Unique>()?.is_some() {}
        Ok(Unique)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
        let mut names = HashSet::new();
        while let Some((name, Unique)) = map.next_entry::<String, Unique>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        Ok(Unique)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_each_member_as_it_was_written() {
        let object = Object::parse(br#" {"a": 1.50, "b": "x", "c": [1, {"d": null}]} "#).unwrap();
        assert_eq!(object.member("a"), Some("1.50"));
        assert_eq!(object.member("c"), Some(r#"[1, {"d": null}]"#));
        assert_eq!(object.member("d"), None);
        assert_eq!(object.string("b"), Ok(Some("x".into())));
        assert_eq!(object.string("a"), Err(NotAString));
        assert_eq!(object.string("d"), Ok(None));
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
            assert!(Object::parse(bad.as_bytes()).is_none(), "{bad}");
        }
        assert!(Object::parse(b"{\"a\":\"\xff\"}").is_none());
        assert!(Object::parse(b"{}").is_some());
    }
}
