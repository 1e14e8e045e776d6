//! IAM's wildcards.

/// IAM's match of a resource: `*` is any run of characters, slashes included, `?` any one character.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    // (what is left of the pattern behind its last `*`, where the text stood when that was tried)
    let mut retry: Option<(&str, &str)> = None;
    let (mut pattern, mut text) = (pattern, text);
    loop {
        let mut rest = pattern.chars();
        let mut left = text.chars();
        match (rest.next(), left.next()) {
            (Some('*'), _) => {
                pattern = rest.as_str();
                retry = Some((pattern, text));
            }
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                (pattern, text) = (rest.as_str(), left.as_str());
            }
            (None, None) => return true,
            _ => {
                let Some((behind, tried)) = retry else { return false };
                let mut next = tried.chars();
                if next.next().is_none() {
                    return false;
                }
                (pattern, text) = (behind, next.as_str());
                retry = Some((behind, next.as_str()));
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
