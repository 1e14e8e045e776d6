//! The language of `when`: literal text and `{capture}`s. A pattern matches one whole claim value.

/// One piece of a pattern or of a route's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text that matches itself.
    Literal(String),
    /// The name between braces.
    Capture(String),
}

/// What is wrong with a pattern, or with the path of a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatternError {
    #[error("is empty; expected text or a {{capture}}")]
    Empty,
    #[error("has a brace that is not closed or not opened; expected text and {{capture}}s")]
    StrayBrace,
    #[error("has the capture `{{{0}}}`; a capture's name has letters, digits and _, and starts with a letter")]
    BadName(String),
    #[error("has the invisible character U+{:04X}; remove it", u32::from(*.0))]
    Invisible(char),
    #[error("has white space at its start or end, and values are compared whole; remove it")]
    Blank,
    #[error("has a `*`, and values are compared whole; {0}")]
    Wildcard(String),
    #[error(
        "looks like a regular expression, and values are compared whole; use text and captures, such as `team-{{name}}`, and a list for alternatives"
    )]
    RegularExpression,
    #[error("has `{{{0}}}` and `{{{1}}}` next to each other; two captures need text between them")]
    Adjacent(String, String),
    #[error("has `{{{0}}}` twice; a capture is bound once")]
    Repeated(String),
}

/// Splits text into literal pieces and captures.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, PatternError> {
    let mut pieces = Vec::new();
    let mut remaining = text;
    while !remaining.is_empty() {
        let (literal, after) =
            remaining.split_once('{').map_or((remaining, None), |(literal, after)| (literal, Some(after)));
        if literal.contains('}') {
            return Err(PatternError::StrayBrace);
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.to_owned()));
        }
        let Some(after) = after else { break };
        let (name, after) = after.split_once('}').ok_or(PatternError::StrayBrace)?;
        let well_named = name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !well_named {
            return Err(PatternError::BadName(name.to_owned()));
        }
        pieces.push(Piece::Capture(name.to_owned()));
        remaining = after;
    }
    Ok(pieces)
}

/// A pattern. Its captures have text between them, and different names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    prefix: String,
    /// Each capture's name and the separator after it. Only the last separator may be empty.
    captures: Vec<(String, String)>,
    /// The places of the captures in the order of their names.
    by_name: Vec<usize>,
    /// How many bytes the captures and the text between them need at least.
    shortest_middle: usize,
}

/// The result of matching one value.
#[derive(Debug, PartialEq, Eq)]
pub enum Match<'v> {
    /// It does not match.
    No,
    /// The value can be split in more than one way, so no split is certain.
    Ambiguous,
    /// The captured texts, in the order of the pattern.
    Yes(Vec<&'v str>),
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        if let Some(invisible) = text.chars().find(|character| is_invisible(*character)) {
            return Err(PatternError::Invisible(invisible));
        }
        if text.trim() != text {
            return Err(PatternError::Blank);
        }
        if looks_like_a_regular_expression(text) {
            return Err(PatternError::RegularExpression);
        }
        if text.contains('*') {
            return Err(PatternError::Wildcard(instead_of_wildcard(text)));
        }
        let mut prefix = String::new();
        let mut captures: Vec<(String, String)> = Vec::new();
        for piece in pieces(text)? {
            match piece {
                Piece::Literal(text) => *captures.last_mut().map_or(&mut prefix, |(_, separator)| separator) = text,
                Piece::Capture(name) => {
                    if let Some((before, _)) = captures.last().filter(|(_, separator)| separator.is_empty()) {
                        return Err(PatternError::Adjacent(before.clone(), name));
                    }
                    if captures.iter().any(|(other, _)| *other == name) {
                        return Err(PatternError::Repeated(name));
                    }
                    captures.push((name, String::new()));
                }
            }
        }
        if prefix.is_empty() && captures.is_empty() {
            return Err(PatternError::Empty);
        }
        let mut by_name: Vec<usize> = (0..captures.len()).collect();
        by_name.sort_by_key(|place| captures.get(*place).map(|(name, _)| name.clone()));
        let between = captures.split_last().map_or(0, |(_, others)| others.iter().map(|(_, text)| text.len()).sum());
        let shortest_middle = captures.len() + between;
        Ok(Self { prefix, captures, by_name, shortest_middle })
    }

    /// Captured texts with the names of their captures, sorted by name.
    pub(super) fn named<'p, 'v>(&'p self, texts: &[&'v str]) -> impl Iterator<Item = (&'p str, &'v str)> {
        self.by_name.iter().filter_map(|place| Some((self.captures.get(*place)?.0.as_str(), *texts.get(*place)?)))
    }

    /// The pattern's text and captures, in order.
    #[must_use]
    pub fn pieces(&self) -> Vec<Piece> {
        let mut pieces = vec![Piece::Literal(self.prefix.clone())];
        for (name, after) in &self.captures {
            pieces.extend([Piece::Capture(name.clone()), Piece::Literal(after.clone())]);
        }
        pieces.retain(|piece| *piece != Piece::Literal(String::new()));
        pieces
    }

    /// The text before the first capture. Without captures, it is all of the pattern.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The captures' names, in order.
    pub fn captures(&self) -> impl Iterator<Item = &str> {
        self.captures.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn capture_count(&self) -> usize {
        self.captures.len()
    }

    /// Matches the whole of `value`. A capture takes one or more characters.
    ///
    /// Splits once with each separator as far left as possible, and once as far right as possible.
    /// The split is unique exactly if both results are equal.
    #[must_use]
    pub fn matches<'v>(&self, value: &'v str) -> Match<'v> {
        let Some(middle) = self.middle(value) else { return Match::No };
        let Some((_, separated)) = self.captures.split_last() else { return Match::Yes(Vec::new()) };
        let Some(left) = split_leftmost(middle, separated) else { return Match::No };
        if is_rightmost(&left, middle, separated) { Match::Yes(left) } else { Match::Ambiguous }
    }

    /// The part of a value that the captures and the text between them have to match. `None` if the
    /// value does not have the pattern's text at its start and at its end, or is too short.
    pub(super) fn middle<'v>(&self, value: &'v str) -> Option<&'v str> {
        match self.captures.last() {
            None => (value == self.prefix).then_some(""),
            Some((_, suffix)) => {
                let middle = value.strip_prefix(&*self.prefix)?.strip_suffix(&**suffix)?;
                // A search costs as much as the longer of both texts.
                (middle.len() >= self.shortest_middle).then_some(middle)
            }
        }
    }
}

/// Control characters, and some that have no width or change the direction.
fn is_invisible(character: char) -> bool {
    let ranges = ['\u{ad}'..='\u{ad}', '\u{200b}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2060}'..='\u{2064}'];
    character.is_control() || character == '\u{feff}' || ranges.iter().any(|range| range.contains(&character))
}

/// Finds what is common in regular expressions, and rare in the name of a group.
fn looks_like_a_regular_expression(text: &str) -> bool {
    const PARTS: [&str; 14] =
        [".*", ".+", "\\d+", "\\w+", "\\s+", "\\d*", "\\w*", "\\s*", "(?", "[^", "[a-z", "[A-Z", "[0-9", "\\."];
    text.starts_with('^') || text.ends_with('$') || text.contains('|') || PARTS.iter().any(|part| text.contains(part))
}

/// What to write instead of a `*`.
fn instead_of_wildcard(text: &str) -> String {
    if text.trim_matches('*').is_empty() {
        return "for any value, write { present = true }".to_owned();
    }
    let with_capture = text.replace('*', "{any}");
    let is_pattern = Pattern::parse(&with_capture).is_ok();
    format!("for any text, write a capture, such as \"{}\"", if is_pattern { &with_capture } else { "team-{name}" })
}

/// Most separators are one byte, and that is found faster.
fn find(text: &str, separator: &str) -> Option<usize> {
    match separator.as_bytes() {
        [byte] => text.bytes().position(|other| other == *byte),
        _ => text.find(separator),
    }
}

fn rfind(text: &str, separator: &str) -> Option<usize> {
    match separator.as_bytes() {
        [byte] => text.bytes().rposition(|other| other == *byte),
        _ => text.rfind(separator),
    }
}

fn split_leftmost<'v>(mut remaining: &'v str, inner: &[(String, String)]) -> Option<Vec<&'v str>> {
    let mut values = Vec::with_capacity(inner.len() + 1);
    for (_, separator) in inner {
        let first = remaining.chars().next()?.len_utf8();
        let end = first + find(remaining.get(first..)?, separator)?;
        values.push(remaining.get(..end)?);
        remaining = remaining.get(end + separator.len()..)?;
    }
    values.push(remaining);
    (!remaining.is_empty()).then_some(values)
}

/// Whether the same split has each separator as far right as possible.
fn is_rightmost(split: &[&str], mut remaining: &str, inner: &[(String, String)]) -> bool {
    inner.iter().zip(split.iter().skip(1)).rev().all(|((_, separator), after)| {
        let last = remaining.chars().next_back().map_or(0, char::len_utf8);
        let before_last = remaining.get(..remaining.len() - last).unwrap_or_default();
        let Some(start) = rfind(before_last, separator) else { return false };
        let is_same = remaining.get(start + separator.len()..) == Some(*after);
        remaining = remaining.get(..start).unwrap_or_default();
        is_same
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_its_pieces_again() {
        let (literal, capture) =
            (|text: &str| Piece::Literal(text.to_owned()), |name: &str| Piece::Capture(name.to_owned()));
        for (text, prefix, pieces) in [
            ("STAFF", "STAFF", vec![literal("STAFF")]),
            ("{a}", "", vec![capture("a")]),
            ("x-{a}:{b}", "x-", vec![literal("x-"), capture("a"), literal(":"), capture("b")]),
            ("{b}_end", "", vec![capture("b"), literal("_end")]),
        ] {
            let pattern = Pattern::parse(text).unwrap();
            assert_eq!((pattern.prefix(), pattern.pieces()), (prefix, pieces), "{text}");
        }
    }

    fn matched<'v>(pattern: &str, value: &'v str) -> Match<'v> {
        Pattern::parse(pattern).unwrap().matches(value)
    }

    #[test]
    fn a_regular_expression_is_not_a_pattern() {
        for bad in ["^a", "a$", "a|b", "a.*", "a.+b", r"\d+", r"a\.b", "(?i)a", "[^a]", "[a-z]", "[A-Z]x", "[0-9]"] {
            assert_eq!(Pattern::parse(bad), Err(PatternError::RegularExpression), "{bad}");
        }
        for good in ["a^", "$a", "a.", "a+", "(a)", "[a]", r"CORP\dev", "a?"] {
            assert!(Pattern::parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn captured_texts_are_sorted_by_name() {
        let pattern = Pattern::parse("{b}:{c}:{a}").unwrap();
        assert!(pattern.named(&["1", "2", "3"]).eq([("a", "3"), ("b", "1"), ("c", "2")]));
        assert_eq!(Pattern::parse("x").unwrap().named(&[]).count(), 0);
    }

    #[test]
    fn a_literal_matches_only_itself() {
        assert_eq!(matched("SUPERUSERS", "SUPERUSERS"), Match::Yes(vec![]));
        for other in ["", "superusers", "SUPERUSERS ", " SUPERUSERS", "SUPERUSERSX"] {
            assert_eq!(matched("SUPERUSERS", other), Match::No, "{other:?}");
        }
    }

    #[test]
    fn a_capture_takes_one_or_more_characters() {
        assert_eq!(matched("{x}", "é*/"), Match::Yes(vec!["é*/"]));
        assert_eq!(matched("{x}", ""), Match::No);
        assert_eq!(matched("a{x}b", "ab"), Match::No);
        assert_eq!(matched("a{x}b", "aéb"), Match::Yes(vec!["é"]));
        assert_eq!(matched("aa{x}aa", "aaa"), Match::No);
        assert_eq!(matched("{id}:{name}:{group}", "1:acme:g"), Match::Yes(vec!["1", "acme", "g"]));
        for other in ["1:acme", "1::g", ":acme:g", "1:acme:", "::", ""] {
            assert_eq!(matched("{id}:{name}:{group}", other), Match::No, "{other:?}");
        }
    }

    #[test]
    fn the_middle_is_what_is_left_to_split() {
        let middle = |pattern: &str, value: &'static str| Pattern::parse(pattern).unwrap().middle(value);
        assert_eq!(middle("a{x}:{y}b", "a1:2b"), Some("1:2"));
        assert_eq!((middle("a{x}b", "ab"), middle("a{x}b", "acb")), (None, Some("c")));
        assert_eq!((middle("{x}::{y}", "a::"), middle("{x}::{y}", "a::b")), (None, Some("a::b")));
        assert_eq!((middle("{x}::{y}z", "abcz"), middle("{x}::{y}z", "abcdz")), (None, Some("abcd")));
        assert_eq!((middle("a{x}b", "xb"), middle("a{x}b", "ax"), middle("aa{x}aa", "aaa")), (None, None, None));
        assert_eq!((middle("ab", "ab"), middle("ab", "abc")), (Some(""), None));
        assert_eq!(Pattern::parse("{x}:{y}").unwrap().capture_count(), 2);
    }

    #[test]
    fn a_captures_name_has_letters_digits_and_underscores() {
        for name in ["a", "a1", "a_b", "a_1b2", "z__", "userId", "A", "Z9_z"] {
            assert_eq!(Pattern::parse(&format!("{{{name}}}")).unwrap().captures().next(), Some(name));
        }
    }

    #[test]
    fn a_value_with_more_than_one_split_is_ambiguous() {
        for (pattern, value) in [
            ("{a}:{b}", "1:2:3"),
            ("{a}:{b}", "a::b"),
            ("{a}:{b}", "::::"),
            ("{a}:{b}:{c}", "1:2:3:4"),
            ("{a}--{b}", "a---b"),
            ("x{a}é{b}y", "xaébéby"),
        ] {
            assert_eq!(matched(pattern, value), Match::Ambiguous, "{pattern} {value}");
        }
        assert_eq!(matched("{a}:{b}", "::b"), Match::Yes(vec![":", "b"]));
        assert_eq!(matched("{a}::{b}", "1::2"), Match::Yes(vec!["1", "2"]));
        assert_eq!(matched("{a}:{b}@{c}", "a:b@c:d"), Match::Yes(vec!["a", "b", "c:d"]));
    }

    /// Counts every split one by one. Slow, but simple.
    fn splits(value: &str, pieces: &[Piece]) -> usize {
        match pieces {
            [] => usize::from(value.is_empty()),
            [Piece::Literal(text), rest @ ..] => {
                value.strip_prefix(text.as_str()).map_or(0, |value| splits(value, rest))
            }
            [Piece::Capture(_), rest @ ..] => {
                let ends = value.char_indices().map(|(at, c)| at + c.len_utf8());
                ends.map(|end| splits(&value[end..], rest)).sum()
            }
        }
    }

    #[test]
    fn matching_agrees_with_counting_every_split() {
        let alphabet = ["a", ":", "-"];
        let mut values = vec![String::new()];
        for _ in 0..6 {
            values = values
                .iter()
                .flat_map(|v| alphabet.iter().map(move |c| format!("{v}{c}")))
                .chain([String::new()])
                .collect();
        }
        for pattern in ["{x}:{y}", "{x}:a{y}", "a{x}:{y}-", "{x}:{y}:{z}", "{x}::{y}", "{x}a:a{y}", "{x}:{y}a", "::{x}"]
        {
            for value in &values {
                let expected = match splits(value, &pieces(pattern).unwrap()) {
                    0 => "No",
                    1 => "Yes",
                    _ => "Ambiguous",
                };
                let found = format!("{:?}", matched(pattern, value));
                assert!(found.starts_with(expected), "{pattern} {value}: {found}, expected {expected}");
            }
        }
    }

    #[test]
    fn an_error_says_what_is_wrong_with_a_pattern() {
        for (pattern, error) in [
            ("", PatternError::Empty),
            ("STA\u{ad}FF", PatternError::Invisible('\u{ad}')),
            ("a\u{200b}", PatternError::Invisible('\u{200b}')),
            ("a\u{202e}b", PatternError::Invisible('\u{202e}')),
            ("\u{2060}a", PatternError::Invisible('\u{2060}')),
            ("\u{feff}a", PatternError::Invisible('\u{feff}')),
            ("a\tb", PatternError::Invisible('\t')),
            (" a", PatternError::Blank),
            ("a\u{a0}", PatternError::Blank),
            ("a*b*", PatternError::Wildcard("for any text, write a capture, such as \"team-{name}\"".to_owned())),
            ("{t}*", PatternError::Wildcard("for any text, write a capture, such as \"team-{name}\"".to_owned())),
            ("{a", PatternError::StrayBrace),
            ("a}", PatternError::StrayBrace),
            ("{a}}", PatternError::StrayBrace),
            ("{}", PatternError::BadName(String::new())),
            ("{_a}", PatternError::BadName("_a".to_owned())),
            ("{a-b}", PatternError::BadName("a-b".to_owned())),
            ("{é}", PatternError::BadName("é".to_owned())),
            ("{1a}", PatternError::BadName("1a".to_owned())),
            ("{a{b}}", PatternError::BadName("a{b".to_owned())),
            ("{a}{b}", PatternError::Adjacent("a".to_owned(), "b".to_owned())),
            ("{a}:{a}", PatternError::Repeated("a".to_owned())),
        ] {
            assert_eq!(Pattern::parse(pattern), Err(error), "{pattern}");
        }
    }
}
