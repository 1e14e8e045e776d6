//! An OpenAPI document as API Gateway's import takes it. Sources: API Gateway Developer Guide,
//! "OpenAPI extensions for API Gateway" and "Set the OpenAPI `basePath` property".

use std::{collections::HashMap, rc::Rc, sync::Arc};

use super::{
    Access, BasePath, Builder,
    document::Document,
    node::{Entry, Node, Value},
};
use crate::report::{File, Place};

const ANY: &str = "x-amazon-apigateway-any-method";
const AUTHORIZER: &str = "x-amazon-apigateway-authorizer";

/// What a security scheme is for API Gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    /// A Lambda authorizer that gets a token.
    Authorizer,
    /// Another kind of authorizer.
    Other(String),
    /// A login that API Gateway does not know, such as `oauth2`.
    Login,
    /// An API key.
    Key,
    /// A scheme that API Gateway does not know, such as `basic`.
    Nothing,
}

/// What SAM adds to a document.
#[derive(Debug, Default)]
pub struct Sam {
    /// `Auth.Authorizers`.
    pub authorizers: HashMap<String, Scheme>,
    /// `Auth.DefaultAuthorizer`.
    pub default: Option<String>,
    /// `Auth.AddDefaultAuthorizerToCorsPreflight` is false.
    pub leaves_preflight_open: bool,
}

/// A document, which can be a part of a template.
struct Reader<'a> {
    file: &'a Arc<File>,
    root: &'a Node,
    sam: &'a Sam,
    schemes: HashMap<String, Scheme>,
    has_authorizer: bool,
    prefix: String,
}

/// Adds the operations of a file.
pub fn read(document: &Document, base_path: BasePath, sam: &Sam, builder: &mut Builder) {
    read_part(&document.file, &document.root, base_path, sam, builder);
}

/// Adds the operations of a document that is this node.
pub fn read_part(file: &Arc<File>, root: &Node, base_path: BasePath, sam: &Sam, builder: &mut Builder) {
    let mut reader = Reader { file, root, sam, schemes: HashMap::new(), has_authorizer: false, prefix: String::new() };
    reader.read_schemes(builder);
    reader.prefix = prefix(root, base_path);
    let Some(paths) = root.get("paths") else {
        return builder.note(file, &root.span, "the document has no `paths`");
    };
    if !matches!(paths.value, Value::Map(_)) {
        let place = Place::new(file, paths.span.clone());
        builder
            .mistake
            .get_or_insert_with(|| ("`paths` is no map; expected paths such as `/orders`".to_owned(), place));
        return;
    }
    for path in paths.entries() {
        reader.read_path(path, builder);
    }
}

impl Sam {
    /// The authorizers that hold for an operation which names these itself.
    #[must_use]
    pub fn complete(&self, method: &str, mut names: Vec<String>) -> Vec<String> {
        let is_own = |name: &String| name == "NONE" || name == "AWS_IAM" || self.authorizers.contains_key(name);
        let is_preflight = method.eq_ignore_ascii_case("OPTIONS") && self.leaves_preflight_open;
        if !is_preflight && !names.iter().any(is_own) {
            names.extend(self.default.clone());
        }
        names
    }

    /// Who decides if these schemes are named.
    #[must_use]
    pub fn access(&self, names: &[String]) -> Access {
        decide(names, &self.authorizers).unwrap_or_else(|| {
            let reason = match names.first().map(String::as_str) {
                Some("NONE") => "its authorizer is NONE".to_owned(),
                Some(name) => format!("its authorizer `{name}` is not in Auth.Authorizers of the API"),
                None => "it has no authorizer, and its API has no DefaultAuthorizer for it".to_owned(),
            };
            Access::Open(reason)
        })
    }
}

/// Who decides, if one of the schemes does.
fn decide(names: &[String], schemes: &HashMap<String, Scheme>) -> Option<Access> {
    let mut other = None;
    for name in names {
        match schemes.get(name) {
            Some(Scheme::Authorizer) => return Some(Access::Authorizer),
            Some(Scheme::Other(kind)) => other = other.or(Some(kind.clone())),
            None if name == "AWS_IAM" => other = other.or(Some("AWS_IAM".to_owned())),
            Some(Scheme::Login | Scheme::Key | Scheme::Nothing) | None => {}
        }
    }
    other.map(Access::Other)
}

impl<'a> Reader<'a> {
    fn read_schemes(&mut self, builder: &mut Builder) {
        let keys: [&[&str]; 2] = [&["securityDefinitions"], &["components", "securitySchemes"]];
        let definitions: Vec<&Entry> =
            keys.iter().filter_map(|keys| self.root.at(keys)).flat_map(Node::entries).collect();
        for definition in &definitions {
            let Some(node) = self.follow(&definition.node, builder) else { continue };
            let scheme = self.scheme(node, builder);
            self.has_authorizer |= node.get(AUTHORIZER).is_some();
            self.schemes.insert(definition.key.clone(), scheme);
        }
        self.has_authorizer |= !self.sam.authorizers.is_empty();
        if !self.has_authorizer {
            // A plain document: the authorizer comes later.
            for definition in definitions {
                let Some(scheme @ Scheme::Login) = self.schemes.get_mut(&definition.key) else { continue };
                *scheme = Scheme::Authorizer;
                let message = format!(
                    "`{}` is taken for this authorizer, because no scheme of the file has {AUTHORIZER}; API Gateway \
                     leaves the operations open until one has it",
                    definition.key
                );
                builder.note(self.file, &definition.span, message);
            }
        }
        self.schemes.extend(self.sam.authorizers.clone());
    }

    fn scheme(&self, node: &Node, builder: &mut Builder) -> Scheme {
        let text = |key| node.get(key).and_then(Node::text).unwrap_or_default().to_ascii_lowercase();
        if let Some(authorizer) = node.get(AUTHORIZER) {
            return authorizer_kind(self.file, authorizer, authorizer.get("type"), builder);
        }
        // Sigv4 and every word that starts with aws are reserved.
        if text("x-amazon-apigateway-authtype").starts_with("aws") {
            return Scheme::Other("AWS_IAM".to_owned());
        }
        match (text("type").as_str(), text("scheme").as_str()) {
            ("oauth2" | "openidconnect", _) | ("http", "bearer") => Scheme::Login,
            // How OpenAPI 2.0 has to write a bearer token.
            ("apikey", _) if text("in") == "header" && text("name") == "authorization" => Scheme::Login,
            ("apikey", _) => Scheme::Key,
            _ => Scheme::Nothing,
        }
    }

    fn read_path(&self, path: &Entry, builder: &mut Builder) {
        if path.key.starts_with("x-") {
            return;
        }
        if path.key.starts_with("Fn::") {
            let message = format!("{} makes paths that cannot be seen here", path.key);
            return builder.note(self.file, &path.span, message);
        }
        for item in path.node.choices().into_iter().flatten() {
            let target = item.get("$ref").and_then(|_| self.follow(item, builder));
            for entry in item.entries().iter().chain(target.map(Node::entries).unwrap_or_default()) {
                let method = entry.key.as_str();
                let is_method = ["get", "put", "post", "delete", "options", "head", "patch", "trace"]
                    .iter()
                    .any(|name| method.eq_ignore_ascii_case(name));
                if !is_method && method != ANY {
                    continue;
                }
                let method = if is_method { method } else { "ANY" };
                let full = format!("{}{}", self.prefix, path.key);
                for operation in entry.node.choices().into_iter().flatten() {
                    let access = self.access(method, operation);
                    let scopes = self.scopes(operation, builder);
                    builder.add(method, &full, access, scopes, Place::new(self.file, entry.span.clone()));
                }
            }
        }
    }

    /// What a `$ref` within the document leads to, or the node itself.
    fn follow<'b>(&self, node: &'b Node, builder: &mut Builder) -> Option<&'b Node>
    where
        'a: 'b,
    {
        let mut node = node;
        for _ in 0..10 {
            let Some(reference) = node.get("$ref") else { return Some(node) };
            let text = reference.text().unwrap_or_default();
            let Some(target) = self.root.pointer(text) else {
                let message = format!("`$ref: {text}` leads to nothing in this document; what it names is not read");
                builder.note(self.file, &reference.span, message);
                return None;
            };
            node = target;
        }
        builder.note(self.file, &node.span, "a `$ref` leads to more than 10 others; what it names is not read");
        None
    }

    fn access(&self, method: &str, operation: &Node) -> Access {
        if let Some(auth) = operation.get("x-amazon-apigateway-auth") {
            let kind = auth.get("type").and_then(Node::text).unwrap_or_default().to_ascii_uppercase();
            return match kind.as_str() {
                "NONE" => Access::Open("x-amazon-apigateway-auth has the type NONE".to_owned()),
                kind => Access::Other(format!("x-amazon-apigateway-auth has the type {kind}")),
            };
        }
        let Some(security) = operation.get("security") else { return self.access_of(method, None, &[]) };
        let lists = security.choices().into_iter().map(|list| self.access_of_list(method, list));
        Access::under_conditions(lists.collect())
    }

    /// A requirement can be there under a condition only.
    fn access_of_list(&self, method: &str, list: Option<&Node>) -> Access {
        let (mut certain, mut possible) = (Vec::new(), Vec::new());
        for item in list.map(Node::items).unwrap_or_default() {
            let choices = item.choices();
            let names = |choice: Option<&Node>| -> Vec<String> {
                choice.map(Node::entries).unwrap_or_default().iter().map(|entry| entry.key.clone()).collect()
            };
            let all: Vec<Vec<String>> = choices.into_iter().map(names).collect();
            let first = all.first().cloned().unwrap_or_default();
            certain.extend(first.into_iter().filter(|name| all.iter().all(|names| names.contains(name))));
            possible.extend(all.into_iter().flatten());
        }
        let accesses = [&certain, &possible].map(|names| self.access_of(method, list, names));
        Access::under_conditions(accesses.into())
    }

    fn access_of(&self, method: &str, list: Option<&Node>, names: &[String]) -> Access {
        let names = self.sam.complete(method, names.to_vec());
        decide(&names, &self.schemes).unwrap_or_else(|| Access::Open(self.open(list, &names)))
    }

    /// Why nobody decides.
    fn open(&self, list: Option<&Node>, names: &[String]) -> String {
        let Some(name) = names.first() else {
            let has_document = self.root.get("security").is_some_and(|list| !list.items().is_empty());
            let reason = match list {
                Some(_) => "its `security` is empty",
                None if has_document => {
                    "it has no `security` of its own, and API Gateway ignores the `security` of the document"
                }
                None => "it has no `security`",
            };
            return reason.to_owned();
        };
        match self.schemes.get(name) {
            _ if name == "NONE" => "its authorizer is NONE".to_owned(),
            None => format!("its security scheme `{name}` is not defined"),
            Some(Scheme::Login) => format!("its security scheme `{name}` has no `{AUTHORIZER}`"),
            Some(Scheme::Key) => format!("its security scheme `{name}` is an API key, which is not authorization"),
            Some(_) => format!("its security scheme `{name}` is no authorizer for API Gateway"),
        }
    }

    /// `x-okta-scopes`, or the scopes of `security`. Here, the document's `security` counts too,
    /// because it is what its author wants.
    fn scopes(&self, operation: &Node, builder: &mut Builder) -> Vec<Vec<String>> {
        let texts = |node: &Node| node.items().iter().filter_map(|node| node.text()).map(str::to_owned).collect();
        if let Some(scopes) = operation.get("x-okta-scopes") {
            let items = scopes.items();
            if !items.is_empty() && items.iter().all(|item| item.text().is_some()) {
                return vec![texts(scopes)];
            }
            let is_list =
                |item: &Rc<Node>| !item.items().is_empty() && item.items().iter().all(|item| item.text().is_some());
            if items.iter().all(is_list) && matches!(scopes.value, Value::List(_)) {
                return items.iter().map(|item| texts(item)).collect();
            }
            let message = "`x-okta-scopes` is no list of scopes that are all needed, such as [orders:read], and no list of \
                           such lists, of which one is enough; leave it out if any valid token may call the operation";
            builder.mistake.get_or_insert_with(|| (message.to_owned(), Place::new(self.file, scopes.span.clone())));
        }
        let security = operation.entry("security").or_else(|| self.root.entry("security"));
        let mut alternatives: Vec<Vec<String>> = Vec::new();
        let lists = security.map(|entry| entry.node.choices()).unwrap_or_default();
        for requirement in lists.into_iter().flatten().flat_map(Node::items).flat_map(|item| item.choices()).flatten() {
            let is_login = |name: &str| matches!(self.schemes.get(name), Some(Scheme::Authorizer | Scheme::Login));
            let logins = requirement.entries().iter().filter(|entry| is_login(&entry.key));
            let mut scopes: Vec<String> = Vec::new();
            for scope in logins.flat_map(|entry| texts(&entry.node)) {
                if !scopes.contains(&scope) {
                    scopes.push(scope);
                }
            }
            if !scopes.is_empty() && !alternatives.contains(&scopes) {
                alternatives.push(scopes);
            }
        }
        alternatives
    }
}

/// The kind of an authorizer. If it cannot be known, a note says so, and it is taken for ours.
pub fn authorizer_kind(file: &Arc<File>, authorizer: &Node, kind: Option<&Node>, builder: &mut Builder) -> Scheme {
    match kind.and_then(Node::text).map(str::to_ascii_uppercase).as_deref() {
        Some("TOKEN") => Scheme::Authorizer,
        Some("COGNITO_USER_POOLS") => Scheme::Other("a Cognito user pool".to_owned()),
        Some("REQUEST") => Scheme::Other("an authorizer of the type REQUEST".to_owned()),
        Some(kind) => Scheme::Other(format!("an authorizer of the type {kind}")),
        None => {
            let message = "the type of this authorizer cannot be seen here; it is taken for a TOKEN authorizer";
            builder.note(file, &authorizer.span, message);
            Scheme::Authorizer
        }
    }
}

/// What `basepath` puts in front of each path.
fn prefix(root: &Node, base_path: BasePath) -> String {
    let base = base(root);
    let base = base.trim_matches('/');
    let base = match base_path {
        BasePath::Ignore => return String::new(),
        BasePath::Prepend => base,
        BasePath::Split => base.split_once('/').map(|(_, rest)| rest).unwrap_or_default(),
    };
    if base.is_empty() { String::new() } else { format!("/{base}") }
}

/// `basePath` of OpenAPI 2.0, or the first `basePath` variable of OpenAPI 3, or the path of the
/// first server.
fn base(root: &Node) -> String {
    if let Some(base) = root.get("basePath").and_then(Node::text) {
        return base.to_owned();
    }
    let servers = root.get("servers").map(Node::items).unwrap_or_default();
    let variable =
        |server: &Rc<Node>| server.at(&["variables", "basePath", "default"]).and_then(Node::text).map(str::to_owned);
    if let Some(base) = servers.iter().find_map(variable) {
        return base;
    }
    let Some(server) = servers.first() else { return String::new() };
    let mut url = server.get("url").and_then(Node::text).unwrap_or_default().to_owned();
    for variable in server.get("variables").map(Node::entries).unwrap_or_default() {
        let value = variable.node.get("default").and_then(Node::text).unwrap_or_default();
        url = url.replace(&format!("{{{}}}", variable.key), value);
    }
    let path =
        url.split_once("://").map_or(url.as_str(), |(_, rest)| rest.find('/').map_or("", |at| rest.split_at(at).1));
    path.to_owned()
}
