//! A SAM or CloudFormation template. Sources: AWS SAM Developer Guide, "Control API access with your
//! AWS SAM template"; the AWS SAM translator; CloudFormation's template reference.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

use super::{
    Access, BasePath, Builder,
    document::Document,
    node::{Entry, Node},
    openapi::{self, Sam, Scheme, authorizer_kind},
};
use crate::{
    files::Stop,
    report::{File, Place},
};

/// The API of events that name none.
const IMPLICIT: &str = "ServerlessRestApi";

struct Template<'a> {
    file: &'a Arc<File>,
    root: &'a Node,
    base_path: BasePath,
    load: &'a dyn Fn(&str) -> Option<Arc<File>>,
    builder: &'a mut Builder,
}

/// An event of type Api.
struct Event<'a> {
    span: Range<usize>,
    properties: &'a Node,
}

/// `Auth` of an API.
#[derive(Default)]
struct Auth {
    sam: Sam,
    /// `AuthorizationScopes` of the authorizers. One of them is enough.
    scopes: HashMap<String, Vec<Vec<String>>>,
}

/// Adds the operations of every REST API in the template.
pub fn read(document: &Document, base_path: BasePath, load: &dyn Fn(&str) -> Option<Arc<File>>, builder: &mut Builder) {
    let mut template = Template { file: &document.file, root: &document.root, base_path, load, builder };
    template.unseen();
    let events = template.events();
    for name in template.apis(&events) {
        template.read_api(&name, &events);
        template.builder.end_of_api();
    }
    template.builder.stage = template.stage(&events);
}

/// What a `Ref`, `Fn::GetAtt` or `Fn::Sub` names: a resource, and the attribute if there is one.
fn reference(node: &Node) -> Option<(&str, &str)> {
    let [entry] = node.entries() else { return None };
    match entry.key.as_str() {
        "Ref" => Some((entry.node.text()?, "")),
        "Fn::GetAtt" => match entry.node.items() {
            [name, attribute] => Some((name.text()?, attribute.text()?)),
            _ => entry.node.text()?.split_once('.'),
        },
        "Fn::Sub" => {
            let name = entry.node.text()?.strip_prefix("${")?.strip_suffix('}')?;
            (!name.contains("${")).then(|| name.split_once('.').unwrap_or((name, "")))
        }
        _ => None,
    }
}

/// A text that is the same for every stack.
fn fixed_text(node: &Node) -> Option<&str> {
    let text = match node.entries() {
        [entry] if entry.key == "Fn::Sub" => entry.node.text()?,
        _ => return node.text(),
    };
    (!text.contains("${")).then_some(text)
}

/// One of them is enough.
fn alternatives(scopes: Option<&Node>) -> Vec<Vec<String>> {
    let items = scopes.map(Node::items).unwrap_or_default();
    items.iter().filter_map(|scope| scope.text()).map(|scope| vec![scope.to_owned()]).collect()
}

/// The resource that a property names.
fn api_name(properties: &Node) -> Option<String> {
    match properties.get("RestApiId") {
        None => Some(IMPLICIT.to_owned()),
        Some(id) => reference(id).map(|(name, _)| name).or_else(|| id.text()).map(str::to_owned),
    }
}

/// The API of a method. Methods of APIs that cannot be seen are taken together.
fn api_of(method: &Entry) -> String {
    method.node.get("Properties").and_then(api_name).unwrap_or_default()
}

impl<'a> Template<'a> {
    fn resources(&self) -> &'a [Entry] {
        self.root.get("Resources").map(Node::entries).unwrap_or_default()
    }

    fn resource(&self, name: &str) -> Option<(&'a Entry, &'a str)> {
        let resource = self.root.get("Resources")?.entry(name)?;
        Some((resource, resource.node.get("Type").and_then(Node::text).unwrap_or_default()))
    }

    fn note(&mut self, span: &Range<usize>, message: impl Into<String>) {
        self.builder.note(self.file, span, message);
    }

    /// The name of the first stage that has one. A parameter has its default.
    fn stage(&self, events: &[(String, Event)]) -> Option<String> {
        let default_of = |name: &str| self.root.at(&["Parameters", name, "Default"])?.text();
        let name_of = |resource: &'a Entry| {
            let kind = resource.node.get("Type").and_then(Node::text)?;
            let is_stage =
                ["AWS::Serverless::Api", "AWS::ApiGateway::Stage", "AWS::ApiGateway::Deployment"].contains(&kind);
            let name = resource.node.at(&["Properties", "StageName"]).filter(|_| is_stage)?;
            fixed_text(name).or_else(|| default_of(reference(name)?.0))
        };
        let named = self.resources().iter().find_map(name_of);
        // SAM gives this name to the stage of the API that it makes of events.
        named.or_else(|| events.iter().any(|(api, _)| api == IMPLICIT).then_some("Prod")).map(str::to_owned)
    }

    /// Says which resources are not read.
    fn unseen(&mut self) {
        for resource in self.resources() {
            let message = match resource.node.get("Type").and_then(Node::text).unwrap_or_default() {
                _ if resource.key.starts_with("Fn::ForEach") => "Fn::ForEach makes resources that cannot be seen here",
                "AWS::Serverless::HttpApi" | "AWS::ApiGatewayV2::Api" => {
                    "this is no REST API, and only REST APIs have TOKEN authorizers; it is not read"
                }
                "AWS::CloudFormation::Stack" | "AWS::Serverless::Application" => {
                    "the APIs of a nested stack are not read; give its template as well"
                }
                _ => continue,
            };
            self.note(&resource.span, message);
        }
    }

    fn events(&mut self) -> Vec<(String, Event<'a>)> {
        let mut events = Vec::new();
        let mut has_http = false;
        for resource in self.resources() {
            let kind = resource.node.get("Type").and_then(Node::text);
            if !matches!(kind, Some("AWS::Serverless::Function" | "AWS::Serverless::StateMachine")) {
                continue;
            }
            for event in resource.node.at(&["Properties", "Events"]).map(Node::entries).unwrap_or_default() {
                let kind = event.node.get("Type").and_then(Node::text);
                if kind == Some("HttpApi") && !has_http {
                    has_http = true;
                    self.note(&event.span, "events of type HttpApi are not read, because they belong to no REST API");
                }
                if kind != Some("Api") {
                    continue;
                }
                let Some(properties) = event.node.get("Properties") else { continue };
                match api_name(properties) {
                    Some(api) => events.push((api, Event { span: event.span.clone(), properties })),
                    None => self.note(&event.span, "the API of this event cannot be seen here; the event is not read"),
                }
            }
        }
        events
    }

    /// The names of the APIs, in the template's order. What names no API that can be seen is one.
    fn apis(&self, events: &[(String, Event)]) -> Vec<String> {
        let mut seen = HashSet::new();
        let mut names = Vec::new();
        for resource in self.resources() {
            let name = match resource.node.get("Type").and_then(Node::text) {
                Some("AWS::Serverless::Api" | "AWS::ApiGateway::RestApi") => resource.key.clone(),
                Some("AWS::ApiGateway::Method") => api_of(resource),
                _ => continue,
            };
            names.push(name);
        }
        names.extend(events.iter().map(|(name, _)| name.clone()));
        names.retain(|name| seen.insert(name.clone()));
        names
    }

    fn read_api(&mut self, name: &str, events: &[(String, Event)]) {
        let resource = self.resource(name);
        let properties = resource.and_then(|(resource, _)| resource.node.get("Properties"));
        let kind = resource.map(|(_, kind)| kind).unwrap_or_default();
        let is_sam = kind == "AWS::Serverless::Api" || resource.is_none() && name == IMPLICIT;
        let auth = if is_sam { self.auth(properties) } else { Auth::default() };
        let span = resource.map(|(resource, _)| resource.span.clone()).unwrap_or_default();
        let property = |key| properties.and_then(|properties| properties.get(key));

        let (body, uri) = if is_sam { ("DefinitionBody", "DefinitionUri") } else { ("Body", "BodyS3Location") };
        let base_path = property("Parameters").and_then(|node| {
            let entry = node.entries().iter().find(|entry| entry.key.eq_ignore_ascii_case("basepath"))?;
            match entry.node.text()? {
                "ignore" => Some(BasePath::Ignore),
                "prepend" => Some(BasePath::Prepend),
                "split" => Some(BasePath::Split),
                _ => None,
            }
        });
        let base_path = base_path.unwrap_or(self.base_path);
        let uri = property(uri).or_else(|| is_sam.then(|| self.global("DefinitionUri")).flatten());
        let has_document = property(body).is_some() || uri.is_some();
        let merges = property("MergeDefinitions").or_else(|| self.global("MergeDefinitions"));
        let merges = merges.and_then(Node::boolean) == Some(true);
        // If both have an operation, SAM takes the event's.
        for (_, event) in events.iter().filter(|(api, _)| api == name) {
            if !is_sam {
                let message = format!("`{name}` is no AWS::Serverless::Api of this template; the event is not read");
                self.note(&event.span, message);
            } else if !has_document || merges {
                self.read_event(event, &auth);
            }
        }
        for choice in property(body).map(Node::choices).unwrap_or_default().into_iter().flatten() {
            self.read_body(choice, base_path, &auth.sam);
        }
        if let Some(location) = uri {
            self.read_location(location, base_path, &auth.sam);
        }
        if is_sam && has_document && !merges {
            for (_, event) in events.iter().filter(|(api, _)| api == name) {
                self.override_auth(event, &auth);
            }
        }
        let cors = [properties, self.root.at(&["Globals", "Api"])].into_iter().flatten();
        let cors = cors.filter_map(|node| node.entry("Cors")).find(|entry| !entry.node.is_null());
        if let Some(cors) = cors.filter(|_| is_sam) {
            self.add_preflight(&cors.span, &auth);
        }
        for method in self.resources() {
            let kind = method.node.get("Type").and_then(Node::text);
            if kind == Some("AWS::ApiGateway::Method") && api_of(method) == name {
                self.read_method(method);
            }
        }
        if !has_document && self.builder.operations.len() == self.builder.start && resource.is_some() {
            self.note(&span, format!("no operation of the API `{name}` can be seen here"));
        }
    }

    /// A property of `Globals.Api`.
    fn global(&self, key: &str) -> Option<&'a Node> {
        self.root.at(&["Globals", "Api", key])
    }

    /// `Auth` of the API and of `Globals`. What the API says wins.
    fn auth(&mut self, properties: Option<&'a Node>) -> Auth {
        let own = properties.and_then(|properties| properties.get("Auth"));
        let levels: Vec<&Node> = [own, self.global("Auth")].into_iter().flatten().collect();
        for level in levels.iter().filter(|level| level.intrinsic().is_some()) {
            self.note(&level.span, "this Auth depends on the stack and is not read");
        }
        let find = |key: &str| levels.iter().find_map(|level| level.get(key));
        let mut auth = Auth::default();
        auth.sam.leaves_preflight_open =
            find("AddDefaultAuthorizerToCorsPreflight").and_then(Node::boolean) == Some(false);
        auth.sam.default = find("DefaultAuthorizer").and_then(fixed_text).map(str::to_owned);
        if let Some(default) = find("DefaultAuthorizer").filter(|_| auth.sam.default.is_none()) {
            self.note(&default.span, "this DefaultAuthorizer depends on the stack and is not read");
        }
        // The last to be inserted wins.
        for authorizer in levels.iter().rev().filter_map(|level| level.get("Authorizers")).flat_map(Node::entries) {
            let scheme = self.authorizer(authorizer);
            auth.sam.authorizers.insert(authorizer.key.clone(), scheme);
            let scopes = alternatives(authorizer.node.get("AuthorizationScopes"));
            auth.scopes.insert(authorizer.key.clone(), scopes);
        }
        // SAM adds the default only if it knows it.
        let is_known = |name: &String| name == "AWS_IAM" || auth.sam.authorizers.contains_key(name);
        if auth.sam.default.as_ref().is_some_and(|name| !is_known(name)) {
            let span = find("DefaultAuthorizer").map(|node| node.span.clone()).unwrap_or_default();
            self.note(&span, "this DefaultAuthorizer is not in Auth.Authorizers of the API");
        }
        auth
    }

    fn authorizer(&mut self, authorizer: &Entry) -> Scheme {
        let node = &*authorizer.node;
        if node.get("UserPoolArn").is_some() {
            return Scheme::Other("a Cognito user pool".to_owned());
        }
        match node.get("FunctionPayloadType") {
            None => Scheme::Authorizer,
            kind => authorizer_kind(self.file, node, kind, self.builder),
        }
    }

    fn read_body(&mut self, body: &Node, base_path: BasePath, sam: &Sam) {
        if let Some(include) = body.get("Fn::Transform") {
            match include.at(&["Parameters", "Location"]) {
                Some(location) => self.read_location(location, base_path, sam),
                None => self.note(&include.span, "this transform makes paths that cannot be seen here"),
            }
            if body.get("paths").is_none() {
                return;
            }
        }
        if let Some(name) = body.intrinsic() {
            let message = format!("the paths in this {name} cannot be seen here");
            return self.note(&body.span, message);
        }
        openapi::read_part(self.file, body, base_path, sam, self.builder);
    }

    /// A file next to the template. `sam package` and `aws cloudformation package` upload it.
    fn read_location(&mut self, location: &Node, base_path: BasePath, sam: &Sam) {
        let file = fixed_text(location).filter(|name| !name.contains("://")).and_then(|name| (self.load)(name));
        let Some(file) = file else {
            let message = "the paths are in a file that cannot be seen here; give that file as well";
            return self.note(&location.span, message);
        };
        let place = Place::new(self.file, location.span.clone());
        let mistake = match Document::parse(&file) {
            Ok(document) if document.is_template() => {
                (format!("{} is a template; expected an OpenAPI document", file.name), place)
            }
            Ok(document) => return openapi::read(&document, base_path, sam, self.builder),
            Err(Stop::Unreadable(reason)) => (reason, place),
            Err(Stop::Mistakes(report)) => {
                let first = report.findings.into_iter().next();
                let mistake = first.map(|finding| (finding.message, finding.places.into_iter().next()));
                let (message, place_there) = mistake.unwrap_or_default();
                (message, place_there.unwrap_or(place))
            }
        };
        self.builder.mistake.get_or_insert(mistake);
    }

    /// The method and the path of an event.
    fn route<'b>(&mut self, event: &Event<'b>) -> Option<(&'b str, &'b str)> {
        let text = |key| event.properties.get(key).and_then(fixed_text);
        let route = text("Method").zip(text("Path"));
        if route.is_none() {
            self.note(&event.span, "the Method or the Path of this event depends on the stack; the event is not read");
        }
        route
    }

    fn event_access(event: &Event, method: &str, auth: &Auth) -> (Access, Vec<Vec<String>>) {
        let names = match event.properties.at(&["Auth", "Authorizer"]).and_then(fixed_text) {
            Some(name) => vec![name.to_owned()],
            None => auth.sam.complete(method, Vec::new()),
        };
        let scopes = match event.properties.at(&["Auth", "AuthorizationScopes"]) {
            Some(scopes) => alternatives(Some(scopes)),
            None => names.first().and_then(|name| auth.scopes.get(name)).cloned().unwrap_or_default(),
        };
        (auth.sam.access(&names), scopes)
    }

    fn read_event(&mut self, event: &Event, auth: &Auth) {
        let Some((method, path)) = self.route(event) else { return };
        if let Some(own) = event.properties.at(&["Auth", "Authorizer"]).filter(|own| fixed_text(own).is_none()) {
            self.note(&own.span, "this Authorizer depends on the stack and is not read");
        }
        let (access, scopes) = Self::event_access(event, method, auth);
        self.builder.add(method, path, access, scopes, Place::new(self.file, event.span.clone()));
    }

    /// With a document, an event's `Auth` counts only if it has `OverrideApiAuth`.
    fn override_auth(&mut self, event: &Event, auth: &Auth) {
        let overrides = event.properties.at(&["Auth", "OverrideApiAuth"]).and_then(Node::boolean) == Some(true);
        if !overrides || event.properties.at(&["Auth", "Authorizer"]).is_none() {
            return;
        }
        let Some((method, path)) = self.route(event) else { return };
        let (access, _) = Self::event_access(event, method, auth);
        let start = self.builder.start;
        let path = if path == "/" { path } else { path.trim_end_matches('/') };
        for operation in self.builder.operations.iter_mut().skip(start) {
            if operation.method.eq_ignore_ascii_case(method) && operation.path == path {
                operation.access = access.clone();
            }
        }
    }

    /// SAM answers OPTIONS on every path that has no OPTIONS of its own.
    fn add_preflight(&mut self, cors: &Range<usize>, auth: &Auth) {
        let operations = self.builder.operations.get(self.builder.start..).unwrap_or_default();
        let has_own: HashSet<&str> = operations
            .iter()
            .filter(|operation| operation.method == "OPTIONS")
            .map(|operation| operation.path.as_str())
            .collect();
        let mut seen = HashSet::new();
        let paths: Vec<String> = operations
            .iter()
            .map(|operation| operation.path.as_str())
            .filter(|path| !has_own.contains(path) && seen.insert(*path))
            .map(str::to_owned)
            .collect();
        let access = match auth.sam.access(&auth.sam.complete("OPTIONS", Vec::new())) {
            Access::Open(_) => Access::Open("SAM answers a browser's preflight without an authorizer".to_owned()),
            access => access,
        };
        for path in paths {
            let place = Place::new(self.file, cors.clone());
            self.builder.add("OPTIONS", &path, access.clone(), Vec::new(), place);
        }
    }

    fn read_method(&mut self, resource: &Entry) {
        let Some(properties) = resource.node.get("Properties") else { return };
        let Some(method) = properties.get("HttpMethod").and_then(fixed_text) else {
            return self.note(&resource.span, "the HttpMethod depends on the stack; the method is not read");
        };
        let path =
            properties.get("ResourceId").map_or_else(|| Err("it has no ResourceId".to_owned()), |id| self.path(id));
        let path = match path {
            Ok(path) if path.is_empty() => "/".to_owned(),
            Ok(path) => path,
            Err(reason) => return self.note(&resource.span, format!("this method is not read, because {reason}")),
        };
        let access = self.method_access(properties, &resource.span);
        let scopes = alternatives(properties.get("AuthorizationScopes"));
        self.builder.add(method, &path, access, scopes, Place::new(self.file, resource.span.clone()));
    }

    /// The path of a resource. The root's is empty.
    fn path(&self, id: &Node) -> Result<String, String> {
        let mut id = id;
        let mut parts = Vec::new();
        for _ in 0..100 {
            let (name, attribute) = reference(id).ok_or("its path depends on the stack")?;
            if attribute == "RootResourceId" {
                parts.reverse();
                return Ok(parts.concat());
            }
            let (resource, kind) = self.resource(name).ok_or_else(|| format!("`{name}` is not in the template"))?;
            let properties = resource.node.get("Properties").filter(|_| kind == "AWS::ApiGateway::Resource");
            let properties = properties.ok_or_else(|| format!("`{name}` is no AWS::ApiGateway::Resource"))?;
            let part = properties.get("PathPart").and_then(fixed_text);
            parts.push(format!("/{}", part.ok_or_else(|| format!("the PathPart of `{name}` depends on the stack"))?));
            id = properties.get("ParentId").ok_or_else(|| format!("`{name}` has no ParentId"))?;
        }
        Err("its parents do not lead to the root".to_owned())
    }

    fn method_access(&mut self, properties: &Node, span: &Range<usize>) -> Access {
        let kinds = properties.get("AuthorizationType").map_or_else(|| vec![None], Node::choices);
        let authorizer = properties.get("AuthorizerId");
        let mut accesses = Vec::new();
        for kind in kinds {
            let text = kind.and_then(fixed_text).map(str::to_ascii_uppercase);
            accesses.push(match text.as_deref() {
                Some("NONE") => Access::Open("its AuthorizationType is NONE".to_owned()),
                Some("CUSTOM") => self.custom_access(authorizer, span),
                Some("COGNITO_USER_POOLS") => Access::Other("a Cognito user pool".to_owned()),
                Some(kind) => Access::Other(kind.to_owned()),
                None if kind.is_none() && authorizer.is_none() => {
                    Access::Open("it has no AuthorizationType".to_owned())
                }
                None => {
                    self.note(span, "the AuthorizationType cannot be seen here; the AuthorizerId counts");
                    match authorizer {
                        Some(_) => self.custom_access(authorizer, span),
                        None => Access::Open("its AuthorizationType depends on the stack".to_owned()),
                    }
                }
            });
        }
        Access::under_conditions(accesses)
    }

    fn custom_access(&mut self, authorizer: Option<&Node>, span: &Range<usize>) -> Access {
        let choices = authorizer.map(Node::choices).unwrap_or_default();
        let mut accesses = Vec::new();
        for choice in choices.into_iter().flatten() {
            let resource = reference(choice).and_then(|(name, _)| self.resource(name));
            let resource = resource.filter(|(_, kind)| *kind == "AWS::ApiGateway::Authorizer");
            let Some((resource, _)) = resource else {
                self.note(span, "the authorizer is not in the template; it is taken for a TOKEN authorizer");
                accesses.push(Access::Authorizer);
                continue;
            };
            let kind = resource.node.at(&["Properties", "Type"]);
            accesses.push(match authorizer_kind(self.file, &resource.node, kind, self.builder) {
                Scheme::Other(kind) => Access::Other(kind),
                _ => Access::Authorizer,
            });
        }
        if accesses.is_empty() {
            return Access::Open("it has no AuthorizerId".to_owned());
        }
        Access::under_conditions(accesses)
    }
}
