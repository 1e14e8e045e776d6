//! JSON and YAML as a tree with positions, because findings point into the file.

use std::{
    collections::{BTreeSet, HashMap},
    iter,
    ops::Range,
    rc::Rc,
};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};
use serde::de::IgnoredAny;

/// More levels than any API needs. The reader is recursive.
const MAX_DEPTH: usize = 120;

/// More than any nesting needs.
const INDENTATION: usize = 2 * MAX_DEPTH;

/// Each of these lines can cost a further reading.
const MAX_INDENTED_LINES: usize = 1_000;

/// The most values that a file can have after its aliases are replaced.
const MAX_NODES: usize = 10_000_000;

/// A value of the file.
#[derive(Debug)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Its place as byte offsets.
    pub span: Range<usize>,
    /// How many values it is, with all values in it.
    size: usize,
}

/// What a value is. JSON and YAML differ only in how they are written: `!Ref x` is `{"Ref": "x"}`.
#[derive(Debug)]
pub enum Value {
    /// Text without quotes: also a number, `true` or `null`.
    Plain(String),
    /// Text in quotes, or a YAML block.
    Text(String),
    /// A list.
    List(Vec<Rc<Node>>),
    /// A map, in the file's order. No key is there twice.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The key's place as byte offsets.
    pub span: Range<usize>,
    /// The value.
    pub node: Rc<Node>,
}

/// What is wrong with the file, and its place.
pub type Mistake = (String, Range<usize>);

impl Node {
    fn new(value: Value, span: Range<usize>) -> Self {
        let inner = match &value {
            Value::Plain(_) | Value::Text(_) => 0,
            Value::List(nodes) => sum(nodes.iter().map(|node| node.size)),
            Value::Map(entries) => sum(entries.iter().map(|entry| entry.node.size)),
        };
        Self { value, span, size: inner.saturating_add(1) }
    }

    /// The text of a scalar, also of a number.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Plain(text) | Value::Text(text) => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Plain(text) if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// `true` or `false`, as YAML 1.1 and CloudFormation read it.
    #[must_use]
    pub fn boolean(&self) -> Option<bool> {
        match self.text()?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => None,
        }
    }

    /// The values of a list. Nothing if it is none.
    #[must_use]
    pub fn items(&self) -> &[Rc<Node>] {
        match &self.value {
            Value::List(nodes) => nodes,
            _ => &[],
        }
    }

    /// The keys and values of a map. Nothing if it is none.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The key with its value.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The value of a key. None if it is `null`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &*entry.node).filter(|node| !node.is_null())
    }

    /// The value at the end of these keys.
    #[must_use]
    pub fn at(&self, keys: &[&str]) -> Option<&Node> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The values that it can have: both branches of `Fn::If`. `None` is `AWS::NoValue`.
    #[must_use]
    pub fn choices(&self) -> Vec<Option<&Node>> {
        match self.entries() {
            [entry] if entry.key == "Fn::If" => match entry.node.items() {
                [_, yes, no] => [yes, no].iter().flat_map(|branch| branch.choices()).collect(),
                _ => vec![Some(self)],
            },
            [entry] if entry.key == "Ref" && entry.node.text() == Some("AWS::NoValue") => vec![None],
            _ => vec![Some(self)],
        }
    }

    /// What an intrinsic function of CloudFormation is called, such as `Fn::Sub`.
    #[must_use]
    pub fn intrinsic(&self) -> Option<&str> {
        match self.entries() {
            [entry] if entry.key == "Ref" || entry.key.starts_with("Fn::") => Some(&entry.key),
            _ => None,
        }
    }

    /// The value that a JSON Pointer such as `#/paths/~1orders` leads to (RFC 6901, section 6).
    #[must_use]
    pub fn pointer(&self, pointer: &str) -> Option<&Node> {
        let mut node = self;
        for token in pointer.strip_prefix("#/")?.split('/') {
            let token = percent_decode(token)?.replace("~1", "/").replace("~0", "~");
            node = match &node.value {
                Value::List(nodes) => nodes.get(token.parse::<usize>().ok()?)?,
                _ => node.get(&token)?,
            };
        }
        Some(node)
    }
}

/// The tree of a file.
///
/// # Errors
/// If it is neither JSON nor YAML, or too deep or large.
pub fn parse(text: &str, is_json: bool) -> Result<Node, Mistake> {
    let after_mark = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mark = text.len() - after_mark.len();
    // A YAML reader does not read all JSON: surrogate pairs, for example.
    match serde_json::from_str::<IgnoredAny>(after_mark) {
        Ok(_) => Json { text, at: mark }.value(0),
        Err(error) if is_json => {
            let lines = after_mark.split_inclusive('\n').take(error.line().saturating_sub(1));
            let line = mark + lines.map(str::len).sum::<usize>();
            let at = (line + error.column().saturating_sub(1)).min(text.len());
            let at = (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
            Err((format!("the file is no JSON: {error}"), at..at))
        }
        Err(_) => yaml(text, mark),
    }
}

fn sum(sizes: impl Iterator<Item = usize>) -> usize {
    sizes.fold(0, usize::saturating_add)
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let hex: Vec<u8> = rest.by_ref().take(2).collect();
            let hex = std::str::from_utf8(&hex).ok().filter(|hex| hex.len() == 2)?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn twice(key: &str, span: Range<usize>) -> Mistake {
    (format!("the key `{key}` is written twice in one map, and only one of the values counts; remove one"), span)
}

fn too_deep(at: usize) -> Mistake {
    (format!("the values are nested more than {MAX_DEPTH} levels deep; expected a file without such nesting"), at..at)
}

/// A map whose keys are unique.
#[derive(Default)]
struct Entries {
    entries: Vec<Entry>,
    keys: HashMap<String, usize>,
}

impl Entries {
    fn push(&mut self, entry: Entry) -> Result<(), Mistake> {
        if self.keys.insert(entry.key.clone(), self.entries.len()).is_some() {
            return Err(twice(&entry.key, entry.span));
        }
        self.entries.push(entry);
        Ok(())
    }
}

/// Text that is known to be JSON.
struct Json<'a> {
    text: &'a str,
    at: usize,
}

impl Json<'_> {
    fn value(&mut self, depth: usize) -> Result<Node, Mistake> {
        if depth > MAX_DEPTH {
            return Err(too_deep(self.at));
        }
        self.skip_space();
        let start = self.at;
        let value = match self.peek() {
            Some(b'{') => {
                let mut map = Entries::default();
                while self.next_item(b'}') {
                    self.skip_space();
                    let start = self.at;
                    let key = self.string()?;
                    let span = start..self.at;
                    self.skip_space();
                    self.at += 1; // the colon
                    map.push(Entry { key, span, node: Rc::new(self.value(depth + 1)?) })?;
                }
                Value::Map(map.entries)
            }
            Some(b'[') => {
                let mut nodes = Vec::new();
                while self.next_item(b']') {
                    nodes.push(Rc::new(self.value(depth + 1)?));
                }
                Value::List(nodes)
            }
            Some(b'"') => Value::Text(self.string()?),
            _ => {
                let rest = self.text.get(start..).unwrap_or_default();
                let ends = |byte: u8| matches!(byte, b',' | b']' | b'}') || byte.is_ascii_whitespace();
                self.at += rest.bytes().position(ends).unwrap_or(rest.len());
                Value::Plain(self.text.get(start..self.at).unwrap_or_default().to_owned())
            }
        };
        Ok(Node::new(value, start..self.at))
    }

    /// Steps over the opening bracket, a comma or the closing bracket. False at the closing one.
    fn next_item(&mut self, close: u8) -> bool {
        self.skip_space();
        if self.peek() == Some(close) {
            self.at += 1;
            return false;
        }
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(close) {
            self.at += 1;
            return false;
        }
        true
    }

    fn string(&mut self) -> Result<String, Mistake> {
        let start = self.at;
        let rest = self.text.get(start + 1..).unwrap_or_default();
        let mut is_escaped = false;
        let length = rest.bytes().position(|byte| {
            let is_end = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            is_end
        });
        self.at = start + 1 + length.map_or(rest.len(), |length| length + 1);
        let span = start..self.at;
        serde_json::from_str(self.text.get(span.clone()).unwrap_or_default())
            .map_err(|error| (format!("the text is no JSON: {error}"), span))
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// The tree of YAML. `PyYAML`, and so AWS, takes flow collections and quoted texts whose later lines
/// are not indented. YAML 1.2 and the parser do not:
///
/// ```yaml
/// key: [
///   a
/// ]
/// ```
///
/// White space there means nothing, so such lines are indented, and the file is read again.
fn yaml(text: &str, mark: usize) -> Result<Node, Mistake> {
    let mut indented = BTreeSet::new();
    loop {
        let source = Source::new(text, mark, &indented);
        let failed = match Yaml::new(text, &source).document() {
            Ok(node) => return Ok(node),
            Err(failed) => failed,
        };
        let before = indented.len();
        let (reason, span) = failed;
        let line_start = |at: usize| text.get(..at).and_then(|text| text.rfind('\n')).map_or(0, |at| at + 1).max(mark);
        if reason.ends_with("invalid indentation") || reason.ends_with("invalid indentation in flow construct") {
            indented.insert(line_start(span.start));
            // Outside a text, only the end of a collection starts with these.
            let closes = |line: &str| line.trim_start().starts_with([']', '}']);
            let starts = lines(text, mark).filter(|(_, line)| closes(line)).map(|(start, _)| start);
            indented.extend(starts);
        } else if reason.ends_with("invalid indentation in quoted scalar") {
            let end = quoted_end(text, span.start);
            let starts =
                lines(text, mark).map(|(start, _)| start).filter(|start| (span.start + 1..end).contains(start));
            indented.extend(starts);
        }
        if indented.len() == before || before > MAX_INDENTED_LINES {
            return Err((reason, span));
        }
    }
}

/// The lines with their byte offsets.
fn lines(text: &str, mark: usize) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.get(mark..).unwrap_or_default().split_inclusive('\n');
    lines.scan(mark, |at, line| {
        let start = *at;
        *at += line.len();
        Some((start, line))
    })
}

/// The end of the text in quotes that starts here. `''` in single quotes is a quote.
fn quoted_end(text: &str, start: usize) -> usize {
    let mut bytes = text.bytes().enumerate().skip(start).peekable();
    let quote = bytes.next().map(|(_, byte)| byte);
    while let Some((at, byte)) = bytes.next() {
        let is_doubled = quote == Some(b'\'') && bytes.peek().is_some_and(|(_, next)| *next == b'\'');
        match byte {
            b'\\' if quote == Some(b'"') => drop(bytes.next()),
            _ if Some(byte) != quote => {}
            _ if is_doubled => drop(bytes.next()),
            _ => return at,
        }
    }
    text.len()
}

/// What the parser reads.
struct Source {
    text: String,
    /// The byte offset of each character in the file.
    offsets: Vec<usize>,
}

impl Source {
    fn new(text: &str, mark: usize, indented: &BTreeSet<usize>) -> Self {
        let mut source = Self { text: String::with_capacity(text.len()), offsets: Vec::with_capacity(text.len()) };
        for (at, character) in text.char_indices().skip_while(|(at, _)| *at < mark) {
            if indented.contains(&at) {
                source.text.push_str(&" ".repeat(INDENTATION));
                source.offsets.resize(source.offsets.len() + INDENTATION, at);
            }
            source.text.push(character);
            source.offsets.push(at);
        }
        source
    }
}

/// YAML 1.2, with the merge key `<<` of YAML 1.1 and the tags of CloudFormation.
struct Yaml<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// The file.
    text: &'a str,
    offsets: &'a [usize],
    anchors: HashMap<usize, Rc<Node>>,
    /// How many values there are so far.
    size: usize,
}

impl<'a> Yaml<'a> {
    fn new(text: &'a str, source: &'a Source) -> Self {
        let parser = Parser::new_from_str(&source.text);
        Self { parser, text, offsets: &source.offsets, anchors: HashMap::new(), size: 0 }
    }

    fn document(mut self) -> Result<Node, Mistake> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                event if root.is_none() => root = Some(self.node(event, span, 0)?),
                _ => {
                    let reason =
                        "the file has several YAML documents; expected one, so remove the `---` and the others";
                    return Err((reason.to_owned(), self.span(span)));
                }
            }
        }
        let root = root.ok_or_else(|| ("the file is empty".to_owned(), 0..0))?;
        Rc::try_unwrap(root).map_err(|root| ("the file is one alias".to_owned(), root.span.clone()))
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Mistake> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let at = self.offset(*error.marker());
                Err((format!("the file is no YAML: {}", error.info()), at..at))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Rc<Node>, Mistake> {
        if depth > MAX_DEPTH {
            return Err(too_deep(self.offset(span.start)));
        }
        let (value, anchor, tag, end) = match event {
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).map(Rc::clone);
                let node = node.ok_or_else(|| {
                    ("the alias names a value that it is a part of; write the value here".to_owned(), self.span(span))
                })?;
                self.grow(node.size, span)?;
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = style != ScalarStyle::Plain
                    || tag.as_ref().is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
                let value = if is_text { Value::Text(text.into_owned()) } else { Value::Plain(text.into_owned()) };
                (value, anchor, tag, span)
            }
            Event::SequenceStart(anchor, tag) => {
                let mut nodes = Vec::new();
                let end = loop {
                    match self.next()? {
                        (Event::SequenceEnd | Event::StreamEnd, end) => break end,
                        (event, span) => nodes.push(self.node(event, span, depth + 1)?),
                    }
                };
                (Value::List(nodes), anchor, tag, end)
            }
            Event::MappingStart(anchor, tag) => {
                let (entries, end) = self.map(depth)?;
                (Value::Map(entries), anchor, tag, end)
            }
            _ => (Value::Plain(String::new()), 0, None, span),
        };
        self.grow(1, span)?;
        let start = self.offset(span.start);
        // A block ends before the next token. The white space before that is no part of it.
        let end = self.offset(end.end).max(start);
        let end = start + self.text.get(start..end).map_or(0, |text| text.trim_end().len());
        let node = Rc::new(Node::new(value, start..end));
        let node = tag.map_or(Rc::clone(&node), |tag| intrinsic(&tag, node));
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        Ok(node)
    }

    fn map(&mut self, depth: usize) -> Result<(Vec<Entry>, Span), Mistake> {
        let mut map = Entries::default();
        let mut merged = Vec::new();
        let end = loop {
            let (event, span) = match self.next()? {
                (Event::MappingEnd | Event::StreamEnd, end) => break end,
                key => key,
            };
            let is_merge = matches!(&event, Event::Scalar(key, ScalarStyle::Plain, ..) if key == "<<");
            let key = self.node(event, span, depth + 1)?;
            let (event, value_span) = self.next()?;
            let node = self.node(event, value_span, depth + 1)?;
            if is_merge {
                merged.push(node);
                continue;
            }
            let Some(text) = key.text() else {
                return Err(("this key is a list or a map; expected a text".to_owned(), key.span.clone()));
            };
            map.push(Entry { key: text.to_owned(), span: self.span(span), node })?;
        };
        for source in merged {
            let sources = if source.items().is_empty() { vec![source] } else { source.items().to_vec() };
            for entry in sources.iter().flat_map(|source| source.entries()) {
                if !map.keys.contains_key(&entry.key) {
                    self.grow(entry.node.size, end)?;
                    map.push(entry.clone())?;
                }
            }
        }
        Ok((map.entries, end))
    }

    fn grow(&mut self, by: usize, span: Span) -> Result<(), Mistake> {
        self.size = self.size.saturating_add(by);
        if self.size > MAX_NODES {
            let reason = format!("aliases make more than {MAX_NODES} values of this file; write the values instead");
            return Err((reason, self.span(span)));
        }
        Ok(())
    }

    fn span(&self, span: Span) -> Range<usize> {
        let start = self.offset(span.start);
        start..self.offset(span.end).max(start)
    }

    /// The parser counts characters.
    fn offset(&self, marker: Marker) -> usize {
        self.offsets.get(marker.index()).copied().unwrap_or(self.text.len())
    }
}

/// `!Sub x` in its long form `Fn::Sub: x`.
fn intrinsic(tag: &Tag, node: Rc<Node>) -> Rc<Node> {
    if tag.handle != "!" || tag.suffix.is_empty() {
        return node;
    }
    let key = match tag.suffix.as_str() {
        name @ ("Ref" | "Condition") => name.to_owned(),
        name => format!("Fn::{name}"),
    };
    let span = node.span.clone();
    let entry = Entry { key, span: span.clone(), node };
    Rc::new(Node::new(Value::Map(iter::once(entry).collect()), span))
}
