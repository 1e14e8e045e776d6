//! The language of `when`: literal text and `{capture}`s, matched against one whole claim value.

/// One piece of a pattern or of a route's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text that stands for itself.
    Text(String),
    /// The name between braces.
    Capture(String),
}

/// What is wrong with a pattern or a route's path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatternError {
    #[error("is empty; expected text or a {{capture}}")]
    Empty,
    #[error("has a brace without its partner; expected text and {{capture}}s")]
    StrayBrace,
    #[error("has the capture `{{{0}}}`; a capture's name is made of a-z, 0-9 and _ and starts with a letter")]
    BadName(String),
    #[error("has `{{{0}}}` and `{{{1}}}` side by side; two captures need text between them")]
    Adjacent(String, String),
    #[error("has `{{{0}}}` twice; a capture is bound once")]
    Repeated(String),
}

/// Splits text into literal pieces and captures.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, PatternError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (literal, after) = rest.split_once('{').map_or((rest, None), |(literal, after)| (literal, Some(after)));
        if literal.contains('}') {
            return Err(PatternError::StrayBrace);
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal.to_owned()));
        }
        let Some(after) = after else { break };
        let (name, after) = after.split_once('}').ok_or(PatternError::StrayBrace)?;
        let well_named = name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !well_named {
            return Err(PatternError::BadName(name.to_owned()));
        }
        pieces.push(Piece::Capture(name.to_owned()));
        rest = after;
    }
    Ok(pieces)
}

/// A pattern whose captures all have text between them, and names of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    prefix: String,
    /// Each capture with the text behind it; only the last one's text may be empty.
    captures: Vec<(String, String)>,
}

/// How a value matched a pattern.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Match<'v> {
    No,
    /// It can be split in two ways, so it says nothing certain.
    Ambiguous,
    /// The captured values, in the pattern's order.
    Yes(Vec<&'v str>),
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let mut prefix = String::new();
        let mut captures: Vec<(String, String)> = Vec::new();
        for piece in pieces(text)? {
            match piece {
                Piece::Text(text) => *captures.last_mut().map_or(&mut prefix, |(_, behind)| behind) = text,
                Piece::Capture(name) => {
                    if let Some((before, _)) = captures.last().filter(|(_, behind)| behind.is_empty()) {
                        return Err(PatternError::Adjacent(before.clone(), name));
                    }
                    if captures.iter().any(|(known, _)| *known == name) {
                        return Err(PatternError::Repeated(name));
                    }
                    captures.push((name, String::new()));
                }
            }
        }
        if prefix.is_empty() && captures.is_empty() {
            return Err(PatternError::Empty);
        }
        Ok(Self { prefix, captures })
    }

    /// The captures' names, in order.
    pub(super) fn captures(&self) -> impl Iterator<Item = &str> {
        self.captures.iter().map(|(name, _)| name.as_str())
    }

    /// Matches the whole of `value`; a capture takes one or more characters.
    ///
    /// Taking every capture as short as it can be puts each separator as far left as any split does, and as long as it
    /// can be as far right: the two agree exactly when there is only one split.
    pub(super) fn matches<'v>(&self, value: &'v str) -> Match<'v> {
        let Some((last, inner)) = self.captures.split_last() else {
            return if value == self.prefix { Match::Yes(Vec::new()) } else { Match::No };
        };
        let Some(inside) = value.strip_prefix(&*self.prefix).and_then(|value| value.strip_suffix(&*last.1)) else {
            return Match::No;
        };
        match (shortest_first(inside, inner), longest_first(inside, inner)) {
            (Some(left), Some(right)) if left == right => Match::Yes(left),
            (Some(_), Some(_)) => Match::Ambiguous,
            _ => Match::No,
        }
    }
}

fn shortest_first<'v>(mut rest: &'v str, inner: &[(String, String)]) -> Option<Vec<&'v str>> {
    let mut values = Vec::with_capacity(inner.len() + 1);
    for (_, separator) in inner {
        let first = rest.chars().next()?.len_utf8();
        let end = first + rest.get(first..)?.find(separator)?;
        values.push(rest.get(..end)?);
        rest = rest.get(end + separator.len()..)?;
    }
    values.push(rest);
    (!rest.is_empty()).then_some(values)
}

fn longest_first<'v>(mut rest: &'v str, inner: &[(String, String)]) -> Option<Vec<&'v str>> {
    let mut values = Vec::with_capacity(inner.len() + 1);
    for (_, separator) in inner.iter().rev() {
        let last = rest.chars().next_back()?.len_utf8();
        let start = rest.get(..rest.len() - last)?.rfind(separator)?;
        values.push(rest.get(start + separator.len()..)?);
        rest = rest.get(..start)?;
    }
    values.push(rest);
    values.reverse();
    (!rest.is_empty()).then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched<'v>(pattern: &str, value: &'v str) -> Match<'v> {
        Pattern::parse(pattern).unwrap().matches(value)
    }

    #[test]
    fn a_literal_matches_itself_whole() {
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
    fn a_value_that_can_be_split_in_two_ways_is_ambiguous() {
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

    /// Counts the splits one by one, the slow and certain way.
    fn splits(value: &str, pieces: &[Piece]) -> usize {
        match pieces {
            [] => usize::from(value.is_empty()),
            [Piece::Text(text), rest @ ..] => value.strip_prefix(text.as_str()).map_or(0, |value| splits(value, rest)),
            [Piece::Capture(_), rest @ ..] => {
                let ends = value.char_indices().map(|(at, c)| at + c.len_utf8());
                ends.map(|end| splits(&value[end..], rest)).sum()
            }
        }
    }

    #[test]
    fn agrees_with_counting_every_split() {
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
    fn says_what_is_wrong_with_a_pattern() {
        for (pattern, error) in [
            ("", PatternError::Empty),
            ("{a", PatternError::StrayBrace),
            ("a}", PatternError::StrayBrace),
            ("{a}}", PatternError::StrayBrace),
            ("{}", PatternError::BadName(String::new())),
            ("{A}", PatternError::BadName("A".to_owned())),
            ("{1a}", PatternError::BadName("1a".to_owned())),
            ("{a{b}}", PatternError::BadName("a{b".to_owned())),
            ("{a}{b}", PatternError::Adjacent("a".to_owned(), "b".to_owned())),
            ("{a}:{a}", PatternError::Repeated("a".to_owned())),
        ] {
            assert_eq!(Pattern::parse(pattern), Err(error), "{pattern}");
        }
    }
}
