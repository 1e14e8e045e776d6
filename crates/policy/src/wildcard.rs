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
