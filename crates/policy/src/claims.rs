//! The claims of one token as data, and how the rules read them.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    json::{JsonObject, NotAString, Text, members},
    work::Work,
};

/// The claims of one token.
///
/// This type does not prove anything: whoever evaluates rules must know that the claims are
/// verified. In the Lambda, `token::Claims` is that proof.
#[derive(Debug)]
pub struct ClaimSet(JsonObject);

/// A claim is present, but it is not a string, a number, a boolean or an array of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is an object, or an array with something else than strings, numbers and booleans")]
pub struct UnsupportedClaimType;

/// A claim as `when` names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClaimName {
    /// `scp`, or else `scope`.
    Scopes,
    /// A member of the payload.
    Member(String),
    /// A JSON Pointer into the payload (RFC 6901): the names and indices that lead to a value.
    Pointer(Vec<String>),
}

/// What is wrong with the name of a claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ClaimNameError {
    #[error("has no name")]
    Empty,
    #[error("is not a name that can be used; write `scopes`, which is `scp` or else `scope`")]
    Scope,
    #[error(
        "is one name; a claim inside of a claim is a JSON Pointer, such as \"/app/roles\", and a `/` in a name is \"~1\" there"
    )]
    OneName,
    #[error("is a key of a rule, and belongs beside `when`; if there is a claim of this name, write \"/{0}\"")]
    KeyOfRule(String),
    #[error("has an empty part or a `*`, and a JSON Pointer names each member (RFC 6901)")]
    Part,
    #[error("has a `~` that is not `~0` (a `~`) or `~1` (a `/`), see RFC 6901")]
    Escape,
}

impl ClaimName {
    pub(super) fn parse(text: &str) -> Result<Self, ClaimNameError> {
        match text {
            "" => Err(ClaimNameError::Empty),
            "scopes" => Ok(Self::Scopes),
            _ if ["scopes", "scp", "scope"].contains(&text.trim_start_matches('/').to_ascii_lowercase().as_str())
                && text != "/scopes" =>
            {
                Err(ClaimNameError::Scope)
            }
            "stage" | "api" | "routes" => Err(ClaimNameError::KeyOfRule(text.to_owned())),
            _ => match text.strip_prefix('/') {
                // The name of a claim can be a URL.
                None if text.starts_with("$.") || text.contains('/') && !text.contains("://") => {
                    Err(ClaimNameError::OneName)
                }
                None => Ok(Self::Member(text.to_owned())),
                Some(path) if path.split('/').any(|part| matches!(part, "" | "*")) => Err(ClaimNameError::Part),
                Some(path) => {
                    let parts = path.split('/').map(unescaped).collect::<Option<_>>();
                    parts.map(Self::Pointer).ok_or(ClaimNameError::Escape)
                }
            },
        }
    }
}

/// A part of a JSON Pointer (RFC 6901 §4). `None` if it has a wrong escape.
fn unescaped(part: &str) -> Option<String> {
    let without_escapes = part.replace("~0", "").replace("~1", "");
    (!without_escapes.contains('~')).then(|| part.replace("~1", "/").replace("~0", "~"))
}

/// Why a claim has no values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    UnsupportedType,
    /// There is not enough work left to read it.
    NoWork,
}

impl From<JsonObject> for ClaimSet {
    fn from(object: JsonObject) -> Self {
        Self(object)
    }
}

impl ClaimSet {
    /// Parses a token's payload. Returns `None` if it is not a JSON object with unique names.
    #[must_use]
    pub fn parse(json: &[u8]) -> Option<Self> {
        JsonObject::parse(json).map(Self)
    }

    /// The JSON text of a claim's value.
    #[must_use]
    pub fn raw(&self, claim: &str) -> Option<&str> {
        self.0.raw(claim)
    }

    /// The text of a claim that must be a string if it is present.
    ///
    /// # Errors
    /// [`NotAString`] if the claim has another type. `null` is another type.
    pub fn string(&self, claim: &str) -> Result<Option<Cow<'_, str>>, NotAString> {
        self.0.string(claim)
    }

    /// The texts of a claim that must be a string or an array of strings if it is present.
    ///
    /// # Errors
    /// [`UnsupportedClaimType`] if the claim has another type. `null` is another type.
    pub fn string_or_array(&self, claim: &str) -> Result<Option<Vec<Cow<'_, str>>>, UnsupportedClaimType> {
        self.raw(claim).map(string_or_array).transpose()
    }

    /// The JSON text of a claim, without white space around it. `None` if it is absent or null.
    pub(super) fn json(&self, claim: &ClaimName, work: &mut Work) -> Result<Option<&str>, Unread> {
        match claim {
            ClaimName::Member(name) => Ok(self.non_null(name)),
            ClaimName::Scopes => Ok(self.scopes()),
            ClaimName::Pointer(path) => {
                let Some((first, rest)) = path.split_first() else { return Ok(None) };
                let mut json = self.raw(first);
                for part in rest {
                    let Some(outer) = json else { break };
                    if !work.read(outer) {
                        return Err(Unread::NoWork);
                    }
                    json = inner(outer, part);
                }
                Ok(json.filter(|json| *json != "null"))
            }
        }
    }

    /// The values of a claim as the rules read it: a string is one value, an array is several, and a
    /// number or a boolean is its JSON text. `None` if the claim is absent or null.
    ///
    /// `scopes` is special: it means `scp` (Okta's array, or a string), or else `scope` (RFC 8693
    /// §4.2, separated by spaces).
    ///
    /// # Errors
    /// [`UnsupportedClaimType`] if the claim has another type.
    pub fn values(&self, claim: &str) -> Result<Option<Vec<Cow<'_, str>>>, UnsupportedClaimType> {
        if claim == "scopes" { self.scopes().map(scopes) } else { self.non_null(claim).map(texts) }.transpose()
    }

    fn scopes(&self) -> Option<&str> {
        self.non_null("scp").or_else(|| self.non_null("scope"))
    }

    /// A claim as text for the authorizer's `context`: a string as it is, another value as its JSON
    /// text. `None` if the claim is absent or null.
    #[must_use]
    pub fn context_text(&self, claim: &str) -> Option<String> {
        let json = self.non_null(claim)?;
        Some(serde_json::from_str(json).unwrap_or_else(|_| json.to_owned()))
    }

    fn non_null(&self, claim: &str) -> Option<&str> {
        self.raw(claim).filter(|json| *json != "null")
    }
}

impl ClaimName {
    /// The values of this claim.
    pub(super) fn values<'j>(&self, json: &'j str) -> Result<Vec<Cow<'j, str>>, UnsupportedClaimType> {
        if *self == Self::Scopes { scopes(json) } else { texts(json) }
    }
}

fn scopes(json: &str) -> Result<Vec<Cow<'_, str>>, UnsupportedClaimType> {
    let scopes = string_or_array(json)?;
    let is_array = json.starts_with('[');
    Ok(if is_array { scopes } else { scopes.into_iter().flat_map(split_scopes).collect() })
}

fn texts(json: &str) -> Result<Vec<Cow<'_, str>>, UnsupportedClaimType> {
    if !json.starts_with('[') {
        return Ok(vec![scalar(json)?]);
    }
    // Most arrays have strings only, and those are read faster at once.
    string_or_array(json).or_else(|_| {
        let elements: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| UnsupportedClaimType)?;
        elements.into_iter().map(|element| scalar(element.get())).collect()
    })
}

fn scalar(json: &str) -> Result<Cow<'_, str>, UnsupportedClaimType> {
    match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str(json).map(|Text(text)| text).map_err(|_| UnsupportedClaimType),
        Some(b'[' | b'{' | b'n') | None => Err(UnsupportedClaimType),
        Some(_) => Ok(json.into()),
    }
}

/// The member or element of a JSON text that a part of a JSON Pointer leads to.
fn inner<'j>(json: &'j str, part: &str) -> Option<&'j str> {
    if json.starts_with('{') {
        return members(json)?.into_iter().find(|(name, _)| name == part).map(|(_, value)| value.get());
    }
    let elements: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    // RFC 6901 §4: no sign and no leading zero.
    let is_index = part == "0" || (!part.starts_with('0') && part.bytes().all(|byte| byte.is_ascii_digit()));
    let element = is_index.then(|| part.parse::<usize>().ok().and_then(|index| elements.get(index)))?;
    element.map(|value| value.get())
}

fn string_or_array(json: &str) -> Result<Vec<Cow<'_, str>>, UnsupportedClaimType> {
    let texts = if json.starts_with('"') {
        serde_json::from_str(json).map(|text: Text<'_>| vec![text])
    } else {
        serde_json::from_str(json)
    };
    texts.map(|texts| texts.into_iter().map(|Text(text)| text).collect()).map_err(|_| UnsupportedClaimType)
}

/// Splits at spaces only (RFC 6749 §3.3): a tab or a line break is part of a scope.
fn split_scopes(text: Cow<'_, str>) -> Vec<Cow<'_, str>> {
    let is_scope = |part: &&str| !part.is_empty();
    match text {
        Cow::Borrowed(text) => text.split(' ').filter(is_scope).map(Cow::Borrowed).collect(),
        Cow::Owned(text) => text.split(' ').filter(is_scope).map(|part| Cow::Owned(part.to_owned())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: &str) -> ClaimSet {
        ClaimSet::parse(json.as_bytes()).unwrap()
    }

    fn list(values: &[&'static str]) -> Vec<Cow<'static, str>> {
        values.iter().map(|value| Cow::Borrowed(*value)).collect()
    }

    #[test]
    fn debug_shows_nothing_of_the_token() {
        assert_eq!(format!("{:?}", claims(r#"{"sub":"secret"}"#)), "ClaimSet(JsonObject(…))");
    }

    #[test]
    fn every_claim_reads_as_a_list_of_strings() {
        let claims = claims(
            r#"{"one":"a b","escaped":"a\nb","many":["a","b"],"none":[],"int":7,"float":1.50,
                "big":123456789012345678901234567890,"yes":true,"null":null,"object":{"a":1},
                "mixed":["a",1,1.50,true, "\u0062"],"deep":[["a"]],"holes":["a",null],"objects":[1,{}]}"#,
        );
        assert_eq!(claims.values("one"), Ok(Some(list(&["a b"]))));
        assert_eq!(claims.values("escaped"), Ok(Some(list(&["a\nb"]))));
        assert_eq!(claims.values("many"), Ok(Some(list(&["a", "b"]))));
        assert_eq!(claims.values("none"), Ok(Some(list(&[]))));
        assert_eq!(claims.values("int"), Ok(Some(list(&["7"]))));
        assert_eq!(claims.values("float"), Ok(Some(list(&["1.50"]))));
        assert_eq!(claims.values("big"), Ok(Some(list(&["123456789012345678901234567890"]))));
        assert_eq!(claims.values("yes"), Ok(Some(list(&["true"]))));
        assert_eq!(claims.values("null"), Ok(None));
        assert_eq!(claims.values("absent"), Ok(None));
        assert_eq!(claims.values("mixed"), Ok(Some(list(&["a", "1", "1.50", "true", "b"]))));
        for unsupported in ["object", "deep", "holes", "objects"] {
            assert_eq!(claims.values(unsupported), Err(UnsupportedClaimType), "{unsupported}");
        }
    }

    #[test]
    fn a_name_is_a_member_or_a_pointer() {
        let pointer = |parts: &[&str]| Ok(ClaimName::Pointer(parts.iter().map(|part| (*part).to_owned()).collect()));
        for (name, parsed) in [
            ("scopes", Ok(ClaimName::Scopes)),
            ("groups", Ok(ClaimName::Member("groups".to_owned()))),
            ("https://x.org/a~", Ok(ClaimName::Member("https://x.org/a~".to_owned()))),
            ("app.roles", Ok(ClaimName::Member("app.roles".to_owned()))),
            ("app/roles", Err(ClaimNameError::OneName)),
            ("$.app.roles", Err(ClaimNameError::OneName)),
            ("Scopes", Err(ClaimNameError::Scope)),
            ("SCP", Err(ClaimNameError::Scope)),
            ("scope2", Ok(ClaimName::Member("scope2".to_owned()))),
            ("/", Err(ClaimNameError::Part)),
            ("/app/", Err(ClaimNameError::Part)),
            ("/app/*/role", Err(ClaimNameError::Part)),
            ("stage", Err(ClaimNameError::KeyOfRule("stage".to_owned()))),
            ("api", Err(ClaimNameError::KeyOfRule("api".to_owned()))),
            ("routes", Err(ClaimNameError::KeyOfRule("routes".to_owned()))),
            ("/stage", pointer(&["stage"])),
            ("name", Ok(ClaimName::Member("name".to_owned()))),
            ("/a/b", pointer(&["a", "b"])),
            ("/a~1b/~0/~01", pointer(&["a/b", "~", "~1"])),
            ("/scopes", pointer(&["scopes"])),
            ("/a/scp", pointer(&["a", "scp"])),
            ("", Err(ClaimNameError::Empty)),
            ("scp", Err(ClaimNameError::Scope)),
            ("scope", Err(ClaimNameError::Scope)),
            ("/scp", Err(ClaimNameError::Scope)),
            ("/scope", Err(ClaimNameError::Scope)),
            ("/a~", Err(ClaimNameError::Escape)),
            ("/a/~2", Err(ClaimNameError::Escape)),
            ("/~~0", Err(ClaimNameError::Escape)),
        ] {
            assert_eq!(ClaimName::parse(name), parsed, "{name}");
        }
    }

    #[test]
    fn a_pointer_leads_into_objects_and_arrays() {
        let claims = claims(
            r#"{"app":{"roles":["a", {"b": 1.50}],"":0,"null":null},"text":"x","many":[0,1,2,3,4,5,6,7,8,9,"ten"]}"#,
        );
        for (pointer, expected) in [
            ("/text", Some(r#""x""#)),
            ("/app/roles", Some(r#"["a", {"b": 1.50}]"#)),
            ("/app/roles/0", Some(r#""a""#)),
            ("/app/roles/1/b", Some("1.50")),
            ("/many/10", Some(r#""ten""#)),
            ("/app/null", None),
            ("/app/null/x", None),
            ("/app/other", None),
            ("/other/roles", None),
            ("/text/0", None),
            ("/app/roles/2", None),
            ("/many/-1", None),
            ("/many/+1", None),
            ("/many/01", None),
            ("/many/00", None),
            ("/many/1.0", None),
            ("/many/99999999999999999999999", None),
        ] {
            let name = ClaimName::parse(pointer).unwrap();
            assert_eq!(claims.json(&name, &mut Work::for_one_token()), Ok(expected), "{pointer}");
        }
    }

    #[test]
    fn a_string_is_read_unescaped_and_another_type_is_an_error() {
        let claims = claims(r#"{"text":"a\"b","null":null,"number":1}"#);
        assert_eq!(claims.string("text"), Ok(Some("a\"b".into())));
        assert_eq!(claims.string("absent"), Ok(None));
        assert_eq!((claims.string("null"), claims.string("number")), (Err(NotAString), Err(NotAString)));
    }

    #[test]
    fn a_string_or_an_array_of_strings_and_nothing_else() {
        let claims = claims(r#"{"one":"a","many":["a","b"],"null":null,"number":1,"mixed":["a",1]}"#);
        assert_eq!(claims.string_or_array("one"), Ok(Some(list(&["a"]))));
        assert_eq!(claims.string_or_array("many"), Ok(Some(list(&["a", "b"]))));
        assert_eq!(claims.string_or_array("absent"), Ok(None));
        for other in ["null", "number", "mixed"] {
            assert_eq!(claims.string_or_array(other), Err(UnsupportedClaimType), "{other}");
        }
    }

    #[test]
    fn scopes_are_scp_or_else_scope() {
        for (payload, scopes) in [
            (r#"{"scp":["a","b"],"scope":"c"}"#, Ok(Some(list(&["a", "b"])))),
            (r#"{"scp":"a","scope":"c"}"#, Ok(Some(list(&["a"])))),
            (r#"{"scope":"c d"}"#, Ok(Some(list(&["c", "d"])))),
            (r#"{"scope":"  c  d "}"#, Ok(Some(list(&["c", "d"])))),
            (r#"{"scope":"c\td\ne"}"#, Ok(Some(list(&["c\td\ne"])))),
            (r#"{"scope":"c\u0064 e"}"#, Ok(Some(list(&["cd", "e"])))),
            (r#"{"scp":null,"scope":"c d"}"#, Ok(Some(list(&["c", "d"])))),
            (r#"{"scope":""}"#, Ok(Some(list(&[])))),
            (r#"{"scp":[],"scope":"c"}"#, Ok(Some(list(&[])))),
            (r#"{"scopes":["x"]}"#, Ok(None)),
            ("{}", Ok(None)),
            (r#"{"scp":{"a":1},"scope":"c"}"#, Err(UnsupportedClaimType)),
            (r#"{"scp":7}"#, Err(UnsupportedClaimType)),
            (r#"{"scope":{}}"#, Err(UnsupportedClaimType)),
        ] {
            assert_eq!(claims(payload).values("scopes"), scopes, "{payload}");
        }
    }

    #[test]
    fn context_text_is_the_string_itself_or_json() {
        let claims = claims(r#"{"a":"x\"y","b":[1],"c":null,"d":false}"#);
        assert_eq!(claims.context_text("a").as_deref(), Some("x\"y"));
        assert_eq!(claims.context_text("b").as_deref(), Some("[1]"));
        assert_eq!(claims.context_text("c"), None);
        assert_eq!(claims.context_text("d").as_deref(), Some("false"));
        assert_eq!(claims.context_text("e"), None);
    }
}
