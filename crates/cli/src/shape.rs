//! Sets of requests as text: which requests a route grants, and which ones lead to an operation.
//!
//! A [`Shape`] is `{METHOD}/{path}` with characters of the private use area for its open parts. So
//! one shape covers another exactly if it matches the other's text, because the open parts of the
//! other are characters that no text has.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::api::{Api, Operation, Segment};

/// `*` of IAM: any characters, or none.
pub const STAR: char = '\u{e000}';
/// One segment of a path: one character or more, and no slash.
pub const SEGMENT: char = '\u{e001}';
/// One segment or more.
pub const SEGMENTS: char = '\u{e002}';
/// Letters for what no shape says. A literal of a path can be one of them.
pub const FILLERS: [char; 3] = ['x', 'q', '7'];
/// The value of capture 0. The other captures follow.
const FIRST_CAPTURE: char = '\u{e100}';

/// Whether a character is an open part of a shape.
fn is_open(character: char) -> bool {
    (STAR..='\u{f8ff}').contains(&character)
}

/// The value of a capture as one character.
#[must_use]
pub fn capture(index: usize) -> char {
    u32::try_from(index).ok().and_then(|index| char::from_u32(FIRST_CAPTURE as u32 + index)).unwrap_or(SEGMENT)
}

/// Which capture a character is the value of.
#[must_use]
pub fn capture_index(character: char) -> Option<usize> {
    let is_capture = (FIRST_CAPTURE..='\u{f8ff}').contains(&character);
    is_capture.then(|| character as usize - FIRST_CAPTURE as usize)
}

/// A set of requests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape(pub String);

/// A request that is in several shapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Common {
    /// `{METHOD}/{path}`.
    pub request: String,
    /// The texts of the captures of each shape.
    pub captures: Vec<BTreeMap<usize, String>>,
}

impl Shape {
    /// The requests that lead to an operation, one shape for each method and spelling of its end:
    /// API Gateway takes a slash at the end of a path for nothing.
    #[must_use]
    pub fn of(operation: &Operation) -> Vec<Self> {
        let mut path = String::new();
        for segment in &operation.segments {
            path.push('/');
            match segment {
                Segment::Literal(text) => path.push_str(text),
                Segment::Parameter(_) => path.push(SEGMENT),
                Segment::Proxy(_) => path.push(SEGMENTS),
            }
        }
        let ends = if path.is_empty() { vec!["/".to_owned()] } else { vec![path.clone(), path + "/"] };
        let with_method = |method: &&str| ends.iter().map(|path| Self(format!("{method}{path}"))).collect::<Vec<_>>();
        operation.methods.iter().flat_map(with_method).collect()
    }

    /// The same shapes for an operation of this API. `{proxy+}` is also each number of segments that
    /// another path of the API has, because a request with these can lead to the other path: `/files/x`
    /// leads to `/files/{id}`, even if that has only another method.
    #[must_use]
    pub fn of_api(api: &Api, operation: &Operation) -> Vec<Self> {
        let mut shapes = Self::of(operation);
        let length = operation.segments.len();
        if matches!(operation.segments.last(), Some(Segment::Proxy(_))) {
            let others = api.operations.iter().filter(|other| other.segments.len() >= length);
            let lengths: BTreeSet<_> = others.map(|other| 1 + other.segments.len() - length).collect();
            let longer = lengths.into_iter().flat_map(|more| {
                let segments = format!("{SEGMENT}/").repeat(more) + &SEGMENTS.to_string();
                shapes.iter().map(move |shape| Self(shape.0.replace(SEGMENTS, &segments)))
            });
            let longer: Vec<_> = longer.collect();
            shapes.extend(longer);
        }
        shapes
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// Whether each request of `other` is in this shape. The captures of both are the same values.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        // Most pairs differ in the text before our first open part.
        if !other.0.as_bytes().starts_with(self.literal_start()) {
            return false;
        }
        let (pattern, text): (Vec<char>, Vec<char>) = (self.0.chars().collect(), other.0.chars().collect());
        // Which prefixes of the text the pattern so far covers.
        let mut covered = vec![false; text.len() + 1];
        if let Some(first) = covered.first_mut() {
            *first = true;
        }
        for open in pattern {
            let mut next = vec![false; text.len() + 1];
            let mut is_inside = false;
            for (end, is_covered) in next.iter_mut().enumerate() {
                let before = end.checked_sub(1).and_then(|before| text.get(before).copied());
                let was_covered = |end: usize| covered.get(end).copied().unwrap_or_default();
                let character = before.unwrap_or('\0');
                *is_covered = match open {
                    STAR => {
                        is_inside |= was_covered(end);
                        is_inside
                    }
                    SEGMENT | SEGMENTS => {
                        let starts = end > 0 && was_covered(end - 1);
                        is_inside = (is_inside || starts) && is_within(open, character, is_inside);
                        is_inside
                    }
                    literal => end > 0 && character == literal && was_covered(end - 1),
                };
            }
            covered = next;
        }
        covered.last().copied().unwrap_or_default()
    }

    /// The text before the first open part, or its start.
    pub fn literal_start(&self) -> &[u8] {
        // In UTF-8, all characters of open parts start with one of these bytes.
        let bytes = self.0.as_bytes();
        let end = bytes.iter().position(|byte| matches!(byte, 0xee | 0xef)).unwrap_or(bytes.len());
        bytes.get(..end).unwrap_or_default()
    }

    /// Whether a request can be in both, as far as the text before their first open parts shows.
    #[must_use]
    pub fn starts_like(&self, other: &Self) -> bool {
        let length = self.literal_start().len().min(other.literal_start().len());
        self.0.as_bytes().get(..length) == other.0.as_bytes().get(..length)
    }

    /// Whether a request can be in both, as far as the text after their last open parts shows.
    fn ends_like(&self, other: &Self) -> bool {
        let mut pairs = self.0.chars().rev().zip(other.0.chars().rev());
        let pairs = pairs.by_ref().take_while(|(one, two)| !is_open(*one) && !is_open(*two));
        pairs.into_iter().all(|(one, two)| one == two)
    }

    /// `METHOD /path` of one request, with `filler` in place of each open part that is no capture,
    /// and the value of each capture.
    #[must_use]
    pub fn request(&self, filler: &str, value: impl Fn(usize) -> String) -> String {
        let mut text = String::new();
        for character in self.0.chars() {
            match character {
                STAR | SEGMENT | SEGMENTS => text.push_str(filler),
                other => match capture_index(other) {
                    Some(index) => text.push_str(&value(index)),
                    None => text.push(other),
                },
            }
        }
        text.replacen('/', " /", 1)
    }

    /// The same requests for any values of the captures.
    #[must_use]
    pub fn any_value(&self) -> Self {
        let any = |character| if capture_index(character).is_some() { SEGMENT } else { character };
        Self(self.0.chars().map(any).collect())
    }

    /// The same requests, except that each `*` is one segment.
    #[must_use]
    pub fn one_segment(&self) -> Self {
        Self(self.0.replace(STAR, &SEGMENT.to_string()))
    }

    /// Whether a `*` is at the end, and no other one.
    #[must_use]
    pub fn ends_with_star(&self) -> bool {
        self.0.find(STAR).is_some_and(|at| at + STAR.len_utf8() == self.0.len())
    }

    /// Whether there is a `*`.
    #[must_use]
    pub fn has_star(&self) -> bool {
        self.0.contains(STAR)
    }
}

/// Whether a character can be in an open part. `is_inside` says that it is not the first one.
fn is_within(open: char, character: char, is_inside: bool) -> bool {
    match open {
        SEGMENT => !matches!(character, '/' | STAR | SEGMENTS),
        // Segments are not empty. A slash after the first character is not checked further.
        SEGMENTS => (is_inside || character != '/') && character != STAR,
        _ => true,
    }
}

/// A request that is in all of these shapes, if there is one: with something in place of each open
/// part if that is possible, or else with nothing in place of a [`STAR`]. `filler` is the letter for
/// what no shape says.
#[must_use]
pub fn common(shapes: &[&Shape], filler: char) -> Option<Common> {
    let mut pairs = shapes.iter().zip(shapes.iter().skip(1));
    if pairs.any(|(one, other)| !one.starts_like(other) || !one.ends_like(other)) {
        return None;
    }
    let sides: Vec<Vec<char>> = shapes.iter().map(|shape| shape.0.chars().collect()).collect();
    search(&sides, filler, false).or_else(|| search(&sides, filler, true))
}

/// A place in a shape, and whether the open part there has a character already.
type At = (usize, bool);

/// Finds the shortest request that is in all of the shapes: a search over the lists of places.
fn search(sides: &[Vec<char>], filler: char, can_be_empty: bool) -> Option<Common> {
    let start: Vec<At> = vec![(0, false); sides.len()];
    let mut came_from: HashMap<Vec<At>, (Vec<At>, Option<char>)> = HashMap::new();
    let mut queue = VecDeque::from([start.clone()]);
    let is_end = |state: &[At]| state.iter().zip(sides).all(|((place, _), side)| *place == side.len());
    let mut state = loop {
        let state = queue.pop_front()?;
        if is_end(&state) {
            break state;
        }
        for (next, character) in steps(sides, &state, filler, can_be_empty) {
            if next != start && !came_from.contains_key(&next) {
                came_from.insert(next.clone(), (state.clone(), character));
                if character.is_some() { queue.push_back(next) } else { queue.push_front(next) }
            }
        }
    };
    let mut taken = Vec::new();
    while let Some((before, character)) = came_from.get(&state) {
        taken.extend(character.map(|character| (before.clone(), character)));
        state.clone_from(before);
    }
    taken.reverse();
    let request = taken.iter().map(|(_, character)| *character).collect();
    let mut captures = Vec::new();
    for (number, side) in sides.iter().enumerate() {
        let mut texts: BTreeMap<usize, String> = BTreeMap::new();
        for (index, text) in captured(side, number, &taken) {
            let first = texts.entry(index).or_insert_with(|| text.clone());
            if *first != text {
                // The capture has two texts, so it must be one of them.
                let choices = [first.clone(), text];
                return choices.iter().find_map(|text| with_text(sides, number, index, text, filler, can_be_empty));
            }
        }
        captures.push(texts);
    }
    Some(Common { request, captures })
}

/// The same search with a text in place of a capture of one shape.
fn with_text(
    sides: &[Vec<char>],
    number: usize,
    index: usize,
    text: &str,
    filler: char,
    can_be_empty: bool,
) -> Option<Common> {
    let mut sides = sides.to_vec();
    let side = sides.get_mut(number)?;
    let replaced = side.iter().flat_map(|character| {
        let is_capture = capture_index(*character) == Some(index);
        if is_capture { text.chars().collect() } else { vec![*character] }
    });
    *side = replaced.collect();
    let mut common = search(&sides, filler, can_be_empty)?;
    common.captures.get_mut(number)?.insert(index, text.to_owned());
    Some(common)
}

/// The captures of one shape with their texts, one for each place.
fn captured(side: &[char], number: usize, taken: &[(Vec<At>, char)]) -> Vec<(usize, String)> {
    let mut texts: BTreeMap<usize, (usize, String)> = BTreeMap::new();
    for (state, character) in taken {
        let Some((place, _)) = state.get(number) else { continue };
        if let Some(index) = side.get(*place).copied().and_then(capture_index) {
            texts.entry(*place).or_insert((index, String::new())).1.push(*character);
        }
    }
    texts.into_values().collect()
}

/// The next states, each with the character that all sides take. Leaving an open part takes none.
fn steps(sides: &[Vec<char>], state: &[At], filler: char, can_be_empty: bool) -> Vec<(Vec<At>, Option<char>)> {
    let at = |(side, (place, has_one)): (&Vec<char>, &At)| (side.get(*place).copied(), *place, *has_one);
    let sides: Vec<_> = sides.iter().zip(state).map(at).collect();
    let mut next = Vec::new();
    for (number, (character, place, has_one)) in sides.iter().enumerate() {
        let is_open = character.is_some_and(is_open);
        if is_open && (*has_one || (*character == Some(STAR) && can_be_empty)) {
            let mut left = state.to_vec();
            if let Some(at) = left.get_mut(number) {
                *at = (place + 1, false);
            }
            next.push((left, None));
        }
    }
    let literal = sides.iter().find_map(|(character, ..)| character.filter(|character| !is_open(*character)));
    for character in literal.map_or(vec![filler, '/'], |literal| vec![literal]) {
        let take = |(own, place, has_one): &(Option<char>, usize, bool)| match (*own)? {
            open if is_open(open) => can_take(open, character, *has_one).then_some((*place, true)),
            own => (own == character).then_some((place + 1, false)),
        };
        next.extend(sides.iter().map(take).collect::<Option<_>>().map(|taken: Vec<_>| (taken, Some(character))));
    }
    next
}

/// Whether an open part can take this character of a request.
fn can_take(open: char, character: char, has_one: bool) -> bool {
    match open {
        STAR => true,
        SEGMENT | SEGMENTS => is_within(open, character, has_one),
        // A capture. Its value is usable, so it has no slash.
        _ => character != '/',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shape, with `*` for any characters, `+` for a segment, `#` for segments, and the digits 0 to
    /// 3 for captures.
    fn shape(text: &str) -> Shape {
        let open = |character| match character {
            '*' => STAR,
            '+' => SEGMENT,
            '#' => SEGMENTS,
            '0'..='3' => capture(character as usize - '0' as usize),
            other => other,
        };
        Shape(text.chars().map(open).collect())
    }

    #[test]
    fn a_shape_covers_what_all_its_requests_are_in() {
        for (wide, narrow, is_covered) in [
            ("GET/a", "GET/a", true),
            ("GET/a", "GET/b", false),
            ("GET/a", "GET/ab", false),
            ("GET/ab", "GET/a", false),
            ("GET/*", "GET/a", true),
            ("GET/*", "GET/", true),
            ("GET/*", "GET/a/b", true),
            ("GET/*", "GET/*", true),
            ("GET/*", "GET/0/*", true),
            ("GET/*", "GET/+", true),
            ("GET/*", "GET/#", true),
            ("GET/a/*", "GET/*", false),
            ("GET/*/b", "GET/*", false),
            ("GET/*/b", "GET/+/b", true),
            ("GET/*/b", "GET/a/c/b", true),
            ("GET/*b*", "GET/*abc", true),
            ("GET/0", "GET/0", true),
            ("GET/0", "GET/1", false),
            ("GET/0", "GET/a", false),
            ("GET/+", "GET/a", true),
            ("GET/+", "GET/0", true),
            ("GET/+", "GET/", false),
            ("GET/+", "GET/a/b", false),
            ("GET/+", "GET/*", false),
            ("GET/+", "GET/#", false),
            ("GET/#", "GET/a/b", true),
            ("GET/#", "GET/+/0", true),
            ("GET/#", "GET/*", false),
            ("GET/#", "GET//a", false),
            ("GET/+/b", "GET/a/b", true),
            ("GET/+/b", "GET/a/a/b", false),
        ] {
            assert_eq!(shape(wide).covers(&shape(narrow)), is_covered, "{wide} {narrow}");
        }
    }

    #[test]
    fn a_common_request_is_the_shortest() {
        for (one, other, request) in [
            ("GET/a", "GET/a", Some("GET/a")),
            ("GET/a", "GET/b", None),
            ("GET/a", "GET/ab", None),
            ("GET/a", "PUT/a", None),
            ("GET/*", "GET/a", Some("GET/a")),
            ("GET/*", "GET/", Some("GET/")),
            ("GET/*", "GET/*", Some("GET/x")),
            ("GET/a/*", "GET/*/b", Some("GET/a/b")),
            ("GET/+", "GET/a", Some("GET/a")),
            ("GET/+", "GET/", None),
            ("GET/+", "GET/a/b", None),
            ("GET/+/b", "GET/*/b", Some("GET/x/b")),
            ("GET/+/b/+", "GET/*/b", Some("GET/x/b/b")),
            ("GET/+/c/+", "GET/*/b", Some("GET/x/c/b")),
            ("GET/#", "GET/a/*", Some("GET/a/x")),
            ("GET/0/b", "GET/a/*", Some("GET/a/b")),
            ("GET/0/0", "GET/a/b", None),
            ("GET/0/0", "GET/a/a", Some("GET/a/a")),
            ("GET/0/0", "GET/a/+", Some("GET/a/a")),
            ("GET/0/0", "GET/+/a", Some("GET/a/a")),
            ("GET/0/1/0/1", "GET/a/+/+/b", Some("GET/a/b/a/b")),
        ] {
            for (one, other) in [(one, other), (other, one)] {
                let common = common(&[&shape(one), &shape(other)], 'x');
                assert_eq!(common.map(|common| common.request).as_deref(), request, "{one} {other}");
            }
        }
    }

    #[test]
    fn a_common_request_gives_the_captures_of_both() {
        let common = common(&[&shape("GET/0/1"), &shape("GET/acme/0"), &shape("GET/*")], 'x').unwrap();
        assert_eq!(common.request, "GET/acme/x");
        assert_eq!(common.captures[0], BTreeMap::from([(0, "acme".to_owned()), (1, "x".to_owned())]));
        assert_eq!(common.captures[1], BTreeMap::from([(0, "x".to_owned())]));
    }
}
