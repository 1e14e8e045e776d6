//! IAM's wildcards.

use std::cmp::Ordering;

/// Whether an IAM resource pattern matches: `*` is any number of any characters, slashes included;
/// `?` is exactly one character.
///
/// Source: IAM user guide, "Using wildcards in resource ARNs".
pub(super) fn matches(mut pattern: &str, mut text: &str) -> bool {
    // The pattern after the last `*`, and the text that this `*` has not taken yet.
    let mut last_star: Option<(&str, &str)> = None;
    loop {
        let mut pattern_chars = pattern.chars();
        let mut text_chars = text.chars();
        match (pattern_chars.next(), text_chars.next()) {
            (Some('*'), _) => {
                pattern = pattern_chars.as_str();
                last_star = Some((pattern, text));
            }
            (Some(expected), Some(actual)) if expected == '?' || expected == actual => {
                (pattern, text) = (pattern_chars.as_str(), text_chars.as_str());
            }
            (None, None) => return true,
            _ => {
                // Let the last `*` take one more character, and match from there again.
                let Some((pattern_after_star, untaken)) = last_star else { return false };
                let mut untaken = untaken.chars();
                if untaken.next().is_none() {
                    return false;
                }
                (pattern, text) = (pattern_after_star, untaken.as_str());
                last_star = Some((pattern, text));
            }
        }
    }
}

/// The end of a method ARN that is compared with many resources.
#[derive(Debug)]
pub(super) struct Asked<'t> {
    text: &'t str,
    /// How many bytes may still be searched for what is between two `*`. A path and a list of
    /// resources can both be long.
    searchable: usize,
}

impl<'t> Asked<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, searchable: 2_000_000 }
    }

    /// Whether a resource without `?` covers the text. It is decided at the first difference,
    /// because most resources are about other paths. If there was too much to search, the answer is
    /// `false` for resources with a `*` that is not at the end.
    #[inline]
    pub(super) fn is_covered_by(&mut self, resource: &str) -> bool {
        let is_equal = |(one, other): &(u8, u8)| one == other && *one != b'*';
        let equal = resource.bytes().zip(self.text.bytes()).take_while(is_equal).count();
        match resource.as_bytes().get(equal..) {
            Some([]) => self.text.len() == equal,
            Some(b"*") => true,
            Some([b'*', ..]) if self.text.len() <= self.searchable => {
                self.searchable -= self.text.len();
                covers(resource, self.text)
            }
            Some(_) | None => false,
        }
    }
}

/// Whether a resource without `?` matches: each `*` is any characters.
#[must_use]
pub fn covers(resource: &str, text: &str) -> bool {
    let mut parts = resource.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(last) = parts.next_back() else { return text == first };
    let between = text.strip_prefix(first).and_then(|rest| rest.strip_suffix(last));
    // Each part as far left as possible, so that the most is left for the next ones.
    let after_all = parts.try_fold(between, |rest, part| Some(rest?.split_once(part).map(|(_, after)| after)));
    after_all.flatten().is_some()
}

/// Whether some text can match both `pattern` and `resource`. `pattern` may have `?`, and a `*` as
/// its last character; `resource` may have `*`. If both have wildcards, only the text before the
/// first `*` and after the last `*` of `resource` is compared, so the result can be `true` without
/// such a text.
pub(super) fn overlap(pattern: &str, resource: &str) -> bool {
    if !pattern.contains(['?', '*']) {
        return covers(resource, pattern);
    }
    let is_same = |(expected, actual): (char, char)| expected == '?' || expected == actual;
    let (start, resource_has_star) = before_star(resource);
    let (pattern_start, pattern_has_star) = before_star(pattern);
    let (length, pattern_length) = (start.chars().count(), pattern_start.chars().count());
    let can_be_as_long = match length.cmp(&pattern_length) {
        Ordering::Less => resource_has_star,
        Ordering::Equal => true,
        Ordering::Greater => pattern_has_star,
    };
    let end = resource.rsplit_once('*').map_or("", |(_, end)| end);
    let ends_alike = pattern_has_star || pattern_start.chars().rev().zip(end.chars().rev()).all(is_same);
    can_be_as_long && ends_alike && pattern_start.chars().zip(start.chars()).all(is_same)
}

/// The text before the first `*`, and whether there is one.
fn before_star(pattern: &str) -> (&str, bool) {
    pattern.split_once('*').map_or((pattern, false), |(start, _)| (start, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_covers_itself_or_what_begins_like_it() {
        for (resource, text, expected) in [
            ("GET/a", "GET/a", true),
            ("GET/a", "GET/ab", false),
            ("GET/a", "GET/", false),
            ("GET/a/*", "GET/a/", true),
            ("GET/a/*", "GET/a/b/*", true),
            ("GET/a/*", "GET/a", false),
            ("GET/a/*/b", "GET/a/x/b", true),
            ("GET/a/*/b", "GET/a/x/y/b", true),
            ("GET/a/*/b", "GET/a/x/bc", false),
            ("GET/a/*/b", "GET/b/x/b", false),
            ("GET/*/b/*", "GET/x/b/y", true),
            ("GET/*/b/*", "GET/x/c/y", false),
            ("GET/*/b/*", "GET/*/b/*", true),
            ("GET/*/aa/*/aa", "GET/x/aa/aa", false),
            ("GET/*/aa/*/aa", "GET/x/aa//aa", true),
            ("GET/*/a", "GET/a", false),
            ("GET/*/*", "GET//", true),
            ("GET/*/*", "GET/", false),
        ] {
            assert_eq!(covers(resource, text), expected, "{resource} {text}");
            assert_eq!(Asked::new(text).is_covered_by(resource), expected, "{resource} {text}");
            assert_eq!(matches(resource, text), expected, "{resource} {text}");
        }
    }

    #[test]
    fn there_is_a_bound_on_what_is_searched() {
        let text = format!("GET/{}/x", "a".repeat(1_000_000 - 6));
        assert_eq!(text.len(), 1_000_000);
        let mut asked = Asked::new(&text);
        let answers: Vec<_> =
            ["GET/*/x", "GET/b", "GET/*/x", "GET/*/x", "GET/*"].map(|it| asked.is_covered_by(it)).into();
        assert_eq!(answers, [true, false, true, false, true]);
    }

    #[test]
    fn two_wildcards_can_overlap_less_than_their_starts() {
        for (pattern, resource, expected) in [
            ("a/b", "a/*/c", false),
            ("a/b/c", "a/*/c", true),
            ("a/?/d", "a/*/c", false),
            ("a/?/?", "a/*/c", true),
            ("a/?/c*", "a/*/d", true),
            ("b/?/c", "a/*/c", false),
            ("a*", "a/*/c", true),
            ("b*", "a/*/c", false),
        ] {
            assert_eq!(overlap(pattern, resource), expected, "{pattern} {resource}");
        }
    }

    /// Compares with a search for a text that both match.
    #[test]
    fn two_patterns_overlap_if_a_text_matches_both() {
        let longer = |texts: Vec<String>, letters: &[&str]| -> Vec<String> {
            let more = texts.iter().flat_map(|text| letters.iter().map(move |letter| format!("{text}{letter}")));
            let more: Vec<_> = more.collect();
            [texts, more].concat()
        };
        let all = |letters: &[&str], length| (0..length).fold(vec![String::new()], |texts, _| longer(texts, letters));
        let texts = all(&["a", "b"], 4);
        let (patterns, resources) = (all(&["a", "b", "?"], 3), all(&["a", "b"], 3));
        for (pattern, resource) in patterns.iter().flat_map(|one| resources.iter().map(move |other| (one, other))) {
            for (pattern, resource) in
                ["", "*"].iter().flat_map(|p| ["", "*"].map(|r| (format!("{pattern}{p}"), format!("{resource}{r}"))))
            {
                let expected = texts.iter().any(|text| matches(&pattern, text) && matches(&resource, text));
                assert_eq!(overlap(&pattern, &resource), expected, "{pattern} {resource}");
            }
        }
    }

    #[test]
    fn matches_as_iam_does() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "A", false),
            ("*", "", true),
            ("a/*", "a/", true),
            ("a/*", "a/b/c", true),
            ("a/*", "a", false),
            ("*/../*", "a/b/../c", true),
            ("*/..", "a/../b", false),
            ("*/..", "a/../b/..", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            ("?", "é", true),
            ("a**", "a", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
