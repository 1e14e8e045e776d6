//! IAM's wildcards.

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

/// Whether a resource matches, of which only the last character may be a `*`, and none a `?`.
pub(super) fn covers(resource: &str, text: &str) -> bool {
    match resource.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => text == resource,
    }
}

/// Whether any text matches both `pattern` and `resource`. Each may have a `*` as its last
/// character only, and only `pattern` may have `?`.
pub(super) fn overlap(pattern: &str, resource: &str) -> bool {
    let (pattern_start, resource_start) = (pattern.strip_suffix('*'), resource.strip_suffix('*'));
    let mut pattern_chars = pattern_start.unwrap_or(pattern).chars();
    let mut resource_chars = resource_start.unwrap_or(resource).chars();
    loop {
        match (pattern_chars.next(), resource_chars.next()) {
            (Some(expected), Some(actual)) if expected == '?' || expected == actual => {}
            (Some(_), Some(_)) => return false,
            (Some(_), None) => return resource_start.is_some(),
            (None, Some(_)) => return pattern_start.is_some(),
            (None, None) => return true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
