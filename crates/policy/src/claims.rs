//! The claims of one token as data, and how the rules read them.

use std::borrow::Cow;

use crate::json::{JsonObject, NotAString, Text};

/// The claims of one token.
///
/// This type does not prove anything: whoever evaluates rules must know that the claims are
/// verified. In the Lambda, `token::Claims` is that proof.
#[derive(Debug)]
pub struct ClaimSet(JsonObject);

/// A claim is present, but it is not a string, an array of strings, a number or a boolean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is an object, or an array with something else than strings")]
pub struct UnsupportedClaimType;

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

    /// A claim as the rules read it: a string is one value, an array of strings is several, and a
    /// number or a boolean is its JSON text. `None` if the claim is absent or null.
    ///
    /// `scopes` is special: it means `scp` (Okta's array, or a string), or else `scope` (RFC 8693
    /// §4.2, separated by spaces).
    ///
    /// # Errors
    /// [`UnsupportedClaimType`] if the claim has another type.
    pub fn values(&self, claim: &str) -> Result<Option<Vec<Cow<'_, str>>>, UnsupportedClaimType> {
        if claim != "scopes" {
            return self.non_null(claim).map(scalar_or_array).transpose();
        }
        let Some(json) = self.non_null("scp").or_else(|| self.non_null("scope")) else { return Ok(None) };
        let scopes = string_or_array(json)?;
        let is_array = json.starts_with('[');
        Ok(Some(if is_array { scopes } else { scopes.into_iter().flat_map(split_scopes).collect() }))
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

fn scalar_or_array(json: &str) -> Result<Vec<Cow<'_, str>>, UnsupportedClaimType> {
    if json.starts_with(['"', '[', '{']) { string_or_array(json) } else { Ok(vec![json.into()]) }
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
                "mixed":["a",1],"deep":[["a"]]}"#,
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
        for unsupported in ["object", "mixed", "deep"] {
            assert_eq!(claims.values(unsupported), Err(UnsupportedClaimType), "{unsupported}");
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
