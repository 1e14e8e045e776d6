//! Reads environment variables as text, lists, numbers and words, and refuses names that nobody
//! would read.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    ops::RangeInclusive,
    str::FromStr,
};

use super::{ConfigError, error, quoted};

/// The variables of this program.
pub(super) const KNOWN: [&str; 18] = [
    "OKTA_ISSUER",
    "OKTA_AUDIENCE",
    "OKTA_ALLOWED_CLIENT_IDS",
    "OKTA_KEYS_ENDPOINT",
    "OKTA_JWKS",
    "OKTA_INTROSPECTION_CLIENT_ID",
    "OKTA_INTROSPECTION_CLIENT_SECRET",
    "OKTA_INTROSPECTION_ENDPOINT",
    "KEYS_TABLE_NAME",
    "KEYS_REFRESH_SECONDS",
    "KEYS_MAX_STALE_SECONDS",
    "CLOCK_SKEW_SECONDS",
    "POLICY_FILE",
    "POLICY_MAX_BYTES",
    "PATH_GUARD",
    "INVALID_TOKEN_RESPONSE",
    "API_KEY_CLAIM",
    "CONTEXT_CLAIMS",
];

/// Earlier names, and what replaces them.
const RENAMED: [(&str, &str); 4] = [
    ("OKTA_CLIENT_IDS", "OKTA_ALLOWED_CLIENT_IDS"),
    (
        "OKTA_CLIENT_ID",
        "OKTA_INTROSPECTION_CLIENT_ID for the client that asks Okta, or OKTA_ALLOWED_CLIENT_IDS for the accepted clients",
    ),
    ("OKTA_CLIENT_SECRET", "OKTA_INTROSPECTION_CLIENT_SECRET"),
    ("OKTA_INTROSPECT", "OKTA_INTROSPECTION_CLIENT_ID, whose value is the id of a client and not `true`"),
];

/// Every variable that starts like this is meant for this program.
const PREFIXES: [&str; 3] = ["OKTA_", "KEYS_", "POLICY_"];

/// The environment, and the files that its variables name.
pub(super) struct Environment<R> {
    variables: BTreeMap<OsString, OsString>,
    read: R,
}

impl<R: Fn(&str) -> io::Result<Vec<u8>>> Environment<R> {
    /// Fails if a variable is set that looks like one of this program and is not: nobody would read
    /// it, so it would mean nothing.
    pub(super) fn new(variables: BTreeMap<OsString, OsString>, read: R) -> Result<Self, ConfigError> {
        for (name, value) in &variables {
            if !value.is_empty() {
                check_name(name)?;
            }
        }
        Ok(Self { variables, read })
    }

    /// The value exactly as it is set, for variables that a library reads without removing blanks.
    /// An empty one counts as not set. A blank one is an error, because a blank
    /// `OKTA_ALLOWED_CLIENT_IDS` that counts as not set would accept every client.
    pub(super) fn exact_value(&self, name: &'static str) -> Result<Option<&str>, ConfigError> {
        let Some(value) = self.variables.get(OsStr::new(name)) else { return Ok(None) };
        let value = value.to_str().ok_or_else(|| error(name, "is not Unicode", "text in UTF-8"))?;
        if !value.is_empty() && value.trim().is_empty() {
            return Err(error(name, "is blank", "a value, or none at all"));
        }
        Ok(Some(value).filter(|value| !value.is_empty()))
    }

    /// The value without blanks at its ends.
    pub(super) fn value(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        Ok(self.exact_value(name)?.map(|value| value.trim().to_owned()))
    }

    /// Whether the variable is set, even if it is empty.
    pub(super) fn is_present(&self, name: &str) -> bool {
        self.variables.contains_key(OsStr::new(name))
    }

    pub(super) fn list(&self, name: &'static str) -> Result<Option<Vec<String>>, ConfigError> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        let items: Vec<_> = value.split(',').map(|item| item.trim().to_owned()).collect();
        if items.iter().any(String::is_empty) {
            return Err(error(name, "has an empty item", "one value, or several separated by commas"));
        }
        Ok(Some(items))
    }

    /// A list of names that are compared byte for byte, such as audiences.
    pub(super) fn names(&self, name: &'static str) -> Result<Option<Vec<String>>, ConfigError> {
        let names = self.list(name)?;
        let wildcard = |item: &str| (item == "*").then(|| "is `*`, which stands for no other text".to_owned());
        let problem = names.iter().flatten().find_map(|item| odd_character(item).or_else(|| wildcard(item)));
        problem.map_or(Ok(names), |problem| {
            Err(error(name, &problem, "one value, or several separated by commas, without quotation marks"))
        })
    }

    /// One name that is compared byte for byte.
    pub(super) fn name(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        let value = self.value(name)?;
        let problem = value
            .as_deref()
            .and_then(|value| odd_character(value).or_else(|| value.contains(',').then(|| "has a comma".to_owned())));
        problem.map_or(Ok(value), |problem| Err(error(name, &problem, "one value, without quotation marks")))
    }

    pub(super) fn number<N: FromStr + PartialOrd>(
        &self,
        name: &'static str,
        default: N,
        range: RangeInclusive<N>,
        accepted: &'static str,
    ) -> Result<N, ConfigError> {
        let Some(value) = self.value(name)? else { return Ok(default) };
        // `parse` accepts a plus sign.
        let number = value.parse().ok().filter(|number| range.contains(number) && !value.starts_with('+'));
        number.ok_or_else(|| error(name, &format!("is {}", quoted(&value)), accepted))
    }

    /// One of these words. The first is the default.
    pub(super) fn choice<T: Copy>(
        &self,
        name: &'static str,
        accepted: &'static str,
        choices: &[(&str, T)],
    ) -> Result<T, ConfigError> {
        self.choice_by(str::eq, name, accepted, choices)
    }

    /// One of these words in any case. The first is the default.
    pub(super) fn choice_in_any_case<T: Copy>(
        &self,
        name: &'static str,
        accepted: &'static str,
        choices: &[(&str, T)],
    ) -> Result<T, ConfigError> {
        self.choice_by(str::eq_ignore_ascii_case, name, accepted, choices)
    }

    fn choice_by<T: Copy>(
        &self,
        is_equal: impl Fn(&str, &str) -> bool,
        name: &'static str,
        accepted: &'static str,
        choices: &[(&str, T)],
    ) -> Result<T, ConfigError> {
        let value = self.value(name)?;
        let chosen = match &value {
            None => choices.first(),
            Some(value) => choices.iter().find(|(word, _)| is_equal(word, value)),
        };
        let problem = || format!("is {}", quoted(value.as_deref().unwrap_or_default()));
        chosen.map(|(_, choice)| *choice).ok_or_else(|| error(name, &problem(), accepted))
    }

    /// The content of the file that a variable names.
    pub(super) fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        (self.read)(path)
    }

    pub(super) fn file(&self, name: &'static str, path: &str, accepted: &'static str) -> Result<Vec<u8>, ConfigError> {
        (self.read)(path)
            .map_err(|reason| error(name, &format!("names {}, which cannot be read: {reason}", quoted(path)), accepted))
    }
}

/// The first character that no name has, and that a copied or quoted value often has.
pub(super) fn odd_character(text: &str) -> Option<String> {
    text.chars().find_map(|character| match character {
        ';' => Some("has a semicolon".to_owned()),
        '{' | '}' | '<' | '>' => Some("has a placeholder".to_owned()),
        '"' | '\'' | '`' | '\u{ab}' | '\u{bb}' | '\u{2018}'..='\u{201f}' | '\u{2039}' | '\u{203a}' => {
            Some("has a quotation mark".to_owned())
        }
        // The last ones have no width: nobody sees them.
        _ if character.is_whitespace()
            || character.is_control()
            || matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}') =>
        {
            Some(format!("has white space or an invisible character ({})", character.escape_unicode()))
        }
        _ => None,
    })
}

fn check_name(name: &OsStr) -> Result<(), ConfigError> {
    let name = name.to_string_lossy();
    if KNOWN.contains(&&*name) {
        return Ok(());
    }
    if let Some((old, new)) = RENAMED.iter().find(|(old, _)| *old == name) {
        return Err(error(*old, "has a new name", format!("{new}, see CHANGELOG.md")));
    }
    // Most variables are Lambda's own, and comparing takes time at every start.
    if ["AWS_", "LAMBDA_", "_"].iter().any(|prefix| name.starts_with(prefix)) {
        return Ok(());
    }
    let upper = name.to_ascii_uppercase();
    let letters = letters(&upper);
    let earlier = RENAMED.iter().map(|(old, _)| old);
    if !PREFIXES.iter().any(|prefix| upper.starts_with(prefix))
        && !KNOWN.iter().chain(earlier).any(|known| is_nearly(&letters, known))
    {
        return Ok(());
    }
    let nearest = nearest(&upper);
    let name: String = name.chars().take(100).flat_map(char::escape_debug).collect();
    Err(error(
        Cow::from(name),
        "is unknown, so it would have no effect",
        format!("the nearest name, {nearest}, or another of docs/configuration.md"),
    ))
}

/// The known name that is meant most probably: one with the same beginning, else the one with the
/// fewest changes. For an earlier name it is what replaces it.
fn nearest(name: &str) -> &'static str {
    let known = KNOWN.iter().map(|known| (*known, *known)).chain(RENAMED);
    let changes = |known: &str| {
        let has_same_start = known.starts_with(name) || name.starts_with(known);
        (!has_same_start, edit_distance(name, known))
    };
    known.min_by_key(|(known, _)| changes(known)).map_or("", |(_, name)| name)
}

/// A name without what separates its words: `OktaJwks` is meant as `OKTA_JWKS`.
fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect()
}

/// Whether the letters of a name differ from those of a known one by one or two changes, or lack its
/// `OKTA`. This runs for each variable at every start, so it compares the cheap things first.
fn is_nearly(name: &str, known: &str) -> bool {
    let length = known.bytes().filter(u8::is_ascii_alphanumeric).count();
    if name.len().abs_diff(length) > 2 && name.len() + "OKTA".len() != length {
        return false;
    }
    let known = letters(known);
    known.strip_prefix("OKTA") == Some(name)
        || (different_letters(name, &known) <= 4 && edit_distance(name, &known) <= 2)
}

/// How many letters are in one text and not in the other. A change makes two at most.
fn different_letters(one: &str, other: &str) -> usize {
    let count = |text: &str, letter: u8| text.bytes().filter(|byte| *byte == letter).count();
    (b'A'..=b'Z').map(|letter| count(one, letter).abs_diff(count(other, letter))).sum()
}

/// How many characters must be inserted, removed or replaced to make one text of the other
/// (Levenshtein).
fn edit_distance(one: &str, other: &str) -> usize {
    let mut above: Vec<usize> = (0..=other.len()).collect();
    for (row, byte) in one.bytes().enumerate() {
        let mut left = row + 1;
        let mut current = vec![left];
        for (other_byte, pair) in other.bytes().zip(above.windows(2)) {
            let &[diagonal, up] = pair else { break };
            left = (diagonal + usize::from(byte != other_byte)).min(up + 1).min(left + 1);
            current.push(left);
        }
        above = current;
    }
    above.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_error(name: &str) -> Option<String> {
        check_name(OsStr::new(name)).err().map(|error| error.to_string())
    }

    #[test]
    fn an_unknown_name_gets_the_nearest_known_one() {
        for (name, nearest) in [
            ("OKTA_AUDIENCES", "OKTA_AUDIENCE"),
            ("OKTA_ISSUERS", "OKTA_ISSUER"),
            ("okta_issuer", "OKTA_ISSUER"),
            ("OKTA_JWK", "OKTA_JWKS"),
            ("OKTA_CLIENTS", "OKTA_ALLOWED_CLIENT_IDS"),
            ("OKTA_ALLOWED_CLIENTS", "OKTA_ALLOWED_CLIENT_IDS"),
            ("OKTA_INTROSPECTION", "OKTA_INTROSPECTION_CLIENT_ID, whose value is the id of a client and not `true`"),
            ("KEYS_TABLE", "KEYS_TABLE_NAME"),
            ("KEYS_MAX_STALE", "KEYS_MAX_STALE_SECONDS"),
            ("KEYS_REFRESH_SECONDS_MAX", "KEYS_REFRESH_SECONDS"),
            ("KEY_TABLE_NAME", "KEYS_TABLE_NAME"),
            ("POLICY_MAX_BYTE", "POLICY_MAX_BYTES"),
            ("PATH_GAURD", "PATH_GUARD"),
            ("CLOCK_SKEW_SECOND", "CLOCK_SKEW_SECONDS"),
            ("CONTEXT_CLAIM", "CONTEXT_CLAIMS"),
            ("OKAT_CLIENT_IDS", "OKTA_ALLOWED_CLIENT_IDS"),
            ("OKTACLIENT_IDS", "OKTA_ALLOWED_CLIENT_IDS"),
            ("IKTA_ALLOWED_CLIENT_IDS", "OKTA_ALLOWED_CLIENT_IDS"),
            ("ALLOWED_CLIENT_IDS", "OKTA_ALLOWED_CLIENT_IDS"),
            ("OktaAllowedClientIds", "OKTA_ALLOWED_CLIENT_IDS"),
            ("okta.jwks", "OKTA_JWKS"),
        ] {
            let expected = format!(
                "{name} is unknown, so it would have no effect; accepted: the nearest name, {nearest}, or another of docs/configuration.md"
            );
            assert_eq!(name_error(name), Some(expected));
        }
    }

    #[test]
    fn a_renamed_variable_gets_its_new_name() {
        for (old, new) in RENAMED {
            let expected = format!("{old} has a new name; accepted: {new}, see CHANGELOG.md");
            assert_eq!(name_error(old), Some(expected));
        }
    }

    #[test]
    fn names_of_others_are_accepted() {
        for name in
            ["PATH", "LANG", "TZ", "_HANDLER", "AWS_REGION", "SSL_CERT_FILE", "MY_OKTA_ISSUER_URL", "KEYSTORE", ""]
                .into_iter()
                .chain(KNOWN)
        {
            assert_eq!(name_error(name), None);
        }
    }

    #[test]
    fn a_name_in_an_error_is_short_and_printable() {
        let error = name_error(&format!("OKTA_\n\u{202e}{}", "X".repeat(1_000))).unwrap();
        assert!(error.starts_with(r"OKTA_\n\u{202e}XX") && error.len() < 300, "{error}");
    }

    #[test]
    fn the_edit_distance_counts_changes() {
        for (one, other, distance) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("abc", "abc", 0), ("ab", "ba", 2)]
        {
            assert_eq!(edit_distance(one, other), distance, "{one} {other}");
        }
    }

    #[test]
    fn characters_of_copied_text_are_found() {
        for text in [
            "a;b",
            "\"a\"",
            "a'",
            "`a`",
            "\u{201c}a\u{201d}",
            "a b",
            "a\tb",
            "a\u{a0}b",
            "a\u{200b}",
            "\u{feff}a",
            "{a}",
            "<a>",
        ] {
            assert!(odd_character(text).is_some(), "{text:?}");
        }
        for text in ["", "api://default", "https://example.com/claims/a_b-c", "0oa1", "größe", "a.b:c@d+e!*()$"] {
            assert_eq!(odd_character(text), None);
        }
    }
}
