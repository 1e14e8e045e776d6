use std::{path::PathBuf, sync::Arc};

use super::{Access, Api, BasePath, METHODS, Operation, parse, read};
use crate::{
    files::Stop,
    report::{File, Format},
};

fn file(name: &str, text: &str) -> Arc<File> {
    Arc::new(File { name: name.to_owned(), text: text.to_owned() })
}

fn api(name: &str, text: &str) -> Result<Api, Stop> {
    parse(&file(name, text), BasePath::Ignore, &|_| None)
}

/// `METHOD /path line:column access scopes`.
fn line(operation: &Operation) -> String {
    let (line, column) = operation.place.start();
    let access = match &operation.access {
        Access::Authorizer => "ours".to_owned(),
        Access::Open(reason) => format!("open: {reason}"),
        Access::Other(kind) => format!("other: {kind}"),
    };
    let scopes: Vec<_> = operation.scopes.iter().map(|scopes| format!(" [{}]", scopes.join(" "))).collect();
    format!("{} {line}:{column} {access}{}", operation.name(), scopes.concat())
}

fn lines(api: &Api) -> Vec<String> {
    let notes = api.notes.iter().map(|note| format!("note {}: {}", note.place.start().0, note.message));
    api.operations.iter().map(line).chain(notes).collect()
}

fn refusal(stop: &Stop) -> String {
    match stop {
        Stop::Unreadable(reason) => reason.clone(),
        Stop::Mistakes(report) => report.print(Format::Github),
    }
}

#[track_caller]
fn assert_reads(name: &str, text: &str, expected: &[&str]) {
    match api(name, text) {
        Ok(api) => assert_eq!(lines(&api), expected, "{text}"),
        Err(stop) => panic!("{}\n{text}", refusal(&stop)),
    }
}

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

const OPENAPI: &str = r"openapi: 3.0.1
security: [{ Okta: [] }]
components:
  securitySchemes:
    Okta: { type: apiKey, in: header, name: Authorization, x-amazon-apigateway-authorizer: { type: token } }
    Old: { type: apiKey, x-amazon-apigateway-authorizer: { type: request } }
    Pool: { type: apiKey, x-amazon-apigateway-authorizer: { type: cognito_user_pools } }
    Jwt: { type: oauth2, x-amazon-apigateway-authorizer: { type: jwt } }
    Signed: { type: apiKey, x-amazon-apigateway-authtype: awsSigv4 }
    Key: { type: apiKey, in: header, name: x-api-key }
    Docs: { type: oauth2 }
paths:
";

#[test]
fn an_openapi_operation_has_the_access_that_api_gateway_gives_it() {
    let ignored = "open: it has no `security` of its own, and API Gateway ignores the `security` of the document";
    let cases = [
        ("security: [{ Okta: [] }]", "ours"),
        ("security: [{ Key: [] }, { Okta: [] }]", "ours"),
        ("security: [{ Key: [], Okta: [] }]", "ours"),
        ("", ignored),
        ("security: []", "open: its `security` is empty"),
        ("security: [{}]", "open: its `security` is empty"),
        ("security: [{ Key: [] }]", "open: its security scheme `Key` is an API key, which is not authorization"),
        ("security: [{ Docs: [] }]", "open: its security scheme `Docs` has no `x-amazon-apigateway-authorizer`"),
        ("security: [{ Gone: [] }]", "open: its security scheme `Gone` is not defined"),
        ("security: [{ Old: [] }]", "other: an authorizer of the type REQUEST"),
        ("security: [{ Pool: [] }]", "other: a Cognito user pool"),
        ("security: [{ Jwt: [] }]", "other: an authorizer of the type JWT"),
        ("security: [{ Signed: [] }]", "other: AWS_IAM"),
        ("x-amazon-apigateway-auth: { type: none }", "open: x-amazon-apigateway-auth has the type NONE"),
        ("x-amazon-apigateway-auth: { type: AWS_IAM }", "other: x-amazon-apigateway-auth has the type AWS_IAM"),
        ("security: [{ Docs: [a, b] }, { Okta: [] }, { Docs: [c] }]", "ours [a b] [c]"),
        ("security: [{ Okta: [] }]\n      x-okta-scopes: [a, b]", "ours [a b]"),
        ("security: [{ Okta: [] }]\n      x-okta-scopes: [[a, b], [c]]", "ours [a b] [c]"),
    ];
    for (operation, expected) in cases {
        let text = format!("{OPENAPI}  /orders:\n    get:\n      summary: x\n      {operation}\n");
        assert_reads("api.yaml", &text, &[&format!("GET /orders 14:5 {expected}")]);
    }
}

#[test]
fn without_an_authorizer_in_the_file_a_login_is_the_authorizer() {
    let logins = [
        ("type: oauth2", "ours [a]"),
        ("type: openIdConnect", "ours [a]"),
        ("type: http, scheme: bearer", "ours [a]"),
        ("type: apiKey, in: header, name: Authorization", "ours [a]"),
        ("type: http, scheme: basic", "open: its security scheme `S` is no authorizer for API Gateway"),
        (
            "type: apiKey, in: header, name: x-api-key",
            "open: its security scheme `S` is an API key, which is not authorization",
        ),
    ];
    for (scheme, expected) in logins {
        let note = |line: usize| {
            let note = "`S` is taken for this authorizer, because no scheme of the file has \
                        x-amazon-apigateway-authorizer; API Gateway leaves the operations open until one has it";
            expected.starts_with("ours").then(|| format!("note {line}: {note}"))
        };
        let openapi = format!(
            "openapi: 3.1.0\ncomponents: {{ securitySchemes: {{ S: {{ {scheme} }} }} }}\npaths:\n  /a:\n    get: {{ security: [{{ S: [a] }}] }}\n"
        );
        let lines: Vec<_> = [Some(format!("GET /a 5:5 {expected}")), note(2)].into_iter().flatten().collect();
        assert_reads("api.yaml", &openapi, &lines.iter().map(String::as_str).collect::<Vec<_>>());
        let swagger = format!(
            "swagger: '2.0'\nsecurityDefinitions: {{ S: {{ {scheme} }} }}\npaths:\n  /a:\n    get: {{ security: [{{ S: [a] }}] }}\n"
        );
        assert_reads("api.yaml", &swagger, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn paths_and_methods_are_those_of_a_rest_api() {
    let text = "openapi: 3.0.1
components:
  pathItems:
    Shared: { put: {} }
paths:
  x-comment: no path
  /:
    get: {}
  /a/:
    parameters: []
    x-amazon-apigateway-any-method: {}
    get: {}
    trace: {}
  /a/{b}:
    $ref: '#/components/pathItems/Shared'
  /a/{c}/{rest+}:
    $ref: '#/paths/~1a~1%7Bb%7D'
  /gone:
    $ref: other.yaml#/x
  /{id}.pdf: { get: {} }
  /{rest+}/end: { get: {} }
  /a//b: { get: {} }
  /a#b: { get: {} }
  no-slash: { get: {} }
";
    let open = "open: it has no `security`";
    let left_out = "is left out, because";
    let expected = [
        format!("GET / 8:5 {open}"),
        format!("ANY /a 11:5 {open}"),
        format!("GET /a 12:5 {open}"),
        format!("PUT /a/{{b}} 4:15 {open}"),
        format!("PUT /a/{{c}}/{{rest+}} 4:15 {open}"),
        format!("note 13: TRACE /a/ {left_out} a REST API has no method TRACE"),
        "note 19: `$ref: other.yaml#/x` leads to nothing in this document; what it names is not read".to_owned(),
        format!(
            "note 20: GET /{{id}}.pdf {left_out} a parameter is a part of the segment `{{id}}.pdf`, and API Gateway refuses that"
        ),
        format!("note 21: GET /{{rest+}}/end {left_out} `{{rest+}}` is not the end of the path, and API Gateway refuses that"),
        format!("note 22: GET /a//b {left_out} the path has an empty segment, and API Gateway refuses that"),
        format!("note 23: GET /a#b {left_out} `a#b` has a character that no path has, and API Gateway refuses that"),
        format!("note 24: GET no-slash {left_out} the path does not start with a slash, and API Gateway refuses that"),
        "note 4: API Gateway refuses {c} in /a/{c}/{rest+} next to {b} in /a/{b}, because a path parameter has one name; \
         both are read here"
            .to_owned(),
    ];
    assert_reads("api.yaml", text, &expected.each_ref().map(String::as_str));
    let any = &api("api.yaml", text).expect("a valid document").operations[1];
    assert_eq!(any.methods, METHODS.iter().copied().filter(|method| *method != "GET").collect::<Vec<_>>());
}

#[test]
fn base_paths_are_read_as_an_import_reads_them() {
    let cases = [
        ("swagger: '2.0'\nbasePath: /a/b", ["/x", "/a/b/x", "/b/x"]),
        ("swagger: '2.0'\nbasePath: /", ["/x", "/x", "/x"]),
        ("swagger: '2.0'", ["/x", "/x", "/x"]),
        ("openapi: 3.0.1\nservers: [{ url: 'https://h.example/a/b' }, { url: /c }]", ["/x", "/a/b/x", "/b/x"]),
        ("openapi: 3.0.1\nservers: [{ url: 'https://h.example' }]", ["/x", "/x", "/x"]),
        (
            "openapi: 3.0.1\nservers: [{ url: 'https://h.example/{v}', variables: { v: { default: v1 } } }]",
            ["/x", "/v1/x", "/x"],
        ),
        (
            "openapi: 3.0.1\nservers: [{ url: 'https://h.example/{basePath}', variables: { basePath: { default: /prod } } }]",
            ["/x", "/prod/x", "/x"],
        ),
    ];
    for (head, expected) in cases {
        let text = format!("{head}\npaths: {{ /x: {{ get: {{}} }} }}\n");
        let paths = [BasePath::Ignore, BasePath::Prepend, BasePath::Split].map(|base_path| {
            let api = parse(&file("api.yaml", &text), base_path, &|_| None).expect("a valid document");
            api.operations[0].path.clone()
        });
        assert_eq!(paths, expected, "{head}");
    }
}

#[test]
fn places_are_right_in_every_encoding_and_line_ending() {
    let yaml = "# größe 😀\nopenapi: 3.0.1\ninfo: { title: \"\u{1f600} ü\" }\npaths:\n  /straße:\n    get: {}\n";
    let json = "{\n\t\"openapi\": \"3.0.1\", \"info\": {\"title\": \"\\ud83d\\ude00\\/ ü\"},\n\t\"paths\": {\"\\/straße\": {\n\t\t\"get\": {}}}}\n";
    for (name, text, place) in [("api.yaml", yaml, (6, 5)), ("api.json", json, (4, 3)), ("api.yml", json, (4, 3))] {
        for text in [text.to_owned(), text.replace('\n', "\r\n"), format!("\u{feff}{text}")] {
            let api = api(name, &text).unwrap_or_else(|stop| panic!("{}", refusal(&stop)));
            let operation = &api.operations[0];
            assert_eq!(operation.name(), "GET /straße");
            assert_eq!(operation.place.start(), place, "{text:?}");
            assert_eq!(text[operation.place.span.clone()].trim_matches('"'), "get");
        }
    }
}

#[test]
fn flow_collections_and_quoted_texts_need_no_indentation() {
    let text = "openapi: 3.0.1
info:
    title: \"ü
a \\\" b\"
    version: 'it''s
1'
script: |
  if (x) {
  }
x:
  y: {
      a: [
  b,
  c ]
  }
paths: { /a: {
  get: {}
}}
";
    assert_reads("api.yaml", text, &["GET /a 17:3 open: it has no `security`"]);
    assert_reads("api.yaml", &text.replace('\n', "\r\n"), &["GET /a 17:3 open: it has no `security`"]);
}

#[test]
fn anchors_aliases_and_merges_are_read() {
    let text = "openapi: 3.0.1
x-common: &common
  get: &get { x-okta-scopes: [a] }
  put: {}
paths:
  /a:
    <<: *common
    put: { x-okta-scopes: [b] }
  /b: { post: *get }
";
    let open = "open: it has no `security`";
    let expected =
        [format!("PUT /a 8:5 {open} [b]"), format!("GET /a 3:3 {open} [a]"), format!("POST /b 9:9 {open} [a]")];
    assert_reads("api.yaml", text, &expected.each_ref().map(String::as_str));
}

#[test]
fn what_is_no_api_is_refused_with_the_reason() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb = format!("{bomb}a{level}: &a{level} [{aliases}]\n");
    }
    let valid = "openapi: 3.0.1\npaths: { /a: { get: {} } }\n";
    assert!(api("api.yaml", valid).is_ok());
    let cases = [
        (
            "p.toml",
            "[[allow]]\nroutes = []\n".to_owned(),
            "p.toml: this is a rules file, which belongs to --rules; expected an OpenAPI",
        ),
        ("t.toml", "[[case]]\nclaims = {}\n".to_owned(), "t.toml: this is a tests file; expected"),
        ("a.html", "<!DOCTYPE html>\n<p>: x".to_owned(), "a.html: this is HTML or XML; expected"),
        (
            "a.json",
            r#"{"info": {"_postman_id": "1"}, "item": []}"#.to_owned(),
            "a.json: this is a Postman collection; export",
        ),
        (
            "a.yml",
            "service: x\nprovider: {}\nfunctions: {}\n".to_owned(),
            "a.yml: this is a file of the Serverless Framework; run",
        ),
        (
            "a.tf",
            "resource \"aws_api_gateway_rest_api\" \"a\" {\n}\n".to_owned(),
            "a.tf: this is a file of Terraform; expected",
        ),
        (
            "a.yml",
            "asyncapi: 2.0.0\n".to_owned(),
            "a.yml: this is an AsyncAPI document, which has no methods and paths;",
        ),
        ("a.yml", valid.replace("3.0.1", "4.0.0"), "a.yml: this is OpenAPI 4.0.0; expected"),
        ("a.yml", valid.replace("openapi: 3.0.1", "swagger: '1.2'"), "a.yml: this is Swagger 1.2; expected"),
        ("a.yml", valid.replace("openapi: 3.0.1", ""), "a.yml: the file has none of the keys `openapi`, `swagger` and"),
        ("a.yml", "- a\n".to_owned(), "a.yml: the file is not a map of keys and values; expected"),
        (
            "a.yml",
            String::new(),
            "::error title=mistake,file=a.yml,line=1,endLine=1,col=1,endColumn=1::the file is empty;",
        ),
        (
            "a.json",
            "{\"a\": 1,\n \"b\" 2}".to_owned(),
            "::error title=mistake,file=a.json,line=2,endLine=2,col=6,endColumn=6::the file is no JSON",
        ),
        ("a.yml", "a: [1\nb: 2\n".to_owned(), "::error title=mistake,file=a.yml,line=2,"),
        (
            "a.yml",
            format!("{valid}---\n{valid}"),
            "::error title=mistake,file=a.yml,line=4,endLine=4,col=1,endColumn=1::the file has several YAML",
        ),
        (
            "a.yml",
            format!("{valid}paths: {{}}\n"),
            "::error title=mistake,file=a.yml,line=3,endLine=3,col=1,endColumn=6::the key `paths` is written twice",
        ),
        (
            "a.json",
            r#"{"openapi": "3.0.1", "openapi": "3.0.1"}"#.to_owned(),
            "::error title=mistake,file=a.json,line=1,endLine=1,col=22,endColumn=31::the key `openapi` is",
        ),
        (
            "a.yml",
            format!("{valid}x: {}{}\n", "[".repeat(125), "]".repeat(125)),
            "::error title=mistake,file=a.yml,line=3,endLine=3,col=124,",
        ),
        ("a.yml", format!("{valid}{bomb}"), "::error title=mistake,file=a.yml,line=9,"),
        (
            "a.yml",
            format!("{valid}x: &x [*x]\n"),
            "::error title=mistake,file=a.yml,line=3,endLine=3,col=8,endColumn=10::the alias names a value that it is a part of",
        ),
        (
            "a.yml",
            "openapi: 3.0.1\npaths: []\n".to_owned(),
            "::error title=mistake,file=a.yml,line=2,endLine=2,col=8,endColumn=10::`paths` is no map",
        ),
        (
            "a.yml",
            "openapi: 3.0.1\npaths: {}\n".to_owned(),
            "::error title=mistake,file=a.yml,line=1,endLine=1,col=1,endColumn=1::the document has no operation of a REST \
             API; expected",
        ),
        (
            "a.yml",
            "Resources:\n  A: { Type: AWS::Serverless::HttpApi }\n".to_owned(),
            "::notice title=unseen,file=a.yml,line=2,endLine=2,col=3,endColumn=4::this is no REST API, and only REST APIs have TOKEN \
             authorizers; it is not read\n::error title=mistake,file=a.yml,line=1,endLine=1,col=1,endColumn=1::the \
             template has no operation of a REST API that can be seen; expected",
        ),
    ];
    for (name, text, expected) in cases {
        let refused = api(name, &text).map(|api| lines(&api)).expect_err(expected);
        let refused = refusal(&refused);
        assert!(refused.starts_with(expected), "{refused}\n{expected}");
    }
}

const SAM: &str = "Transform: AWS::Serverless-2016-10-31
Globals:
  Api: { Auth: { Authorizers: { Global: { FunctionArn: x }, Pool: { UserPoolArn: x, AuthorizationScopes: [a, b] } } } }
Resources:
  Api:
    Type: AWS::Serverless::Api
    Properties:
      Auth: { DefaultAuthorizer: Own, Authorizers: { Own: { FunctionArn: x, FunctionPayloadType: TOKEN }, Old: { FunctionPayloadType: REQUEST } } }
  F:
    Type: AWS::Serverless::Function
    Properties:
      Events:
";

#[test]
fn a_sam_event_has_the_authorizer_that_sam_gives_it() {
    let cases = [
        ("RestApiId: !Ref Api", "ours"),
        ("RestApiId: { Ref: Api }", "ours"),
        ("RestApiId: !Ref Api, Auth: { Authorizer: Own }", "ours"),
        ("RestApiId: !Ref Api, Auth: { Authorizer: Global }", "ours"),
        ("RestApiId: !Ref Api, Auth: { Authorizer: NONE }", "open: its authorizer is NONE"),
        ("RestApiId: !Ref Api, Auth: { Authorizer: Old }", "other: an authorizer of the type REQUEST"),
        ("RestApiId: !Ref Api, Auth: { Authorizer: Pool }", "other: a Cognito user pool [a] [b]"),
        ("RestApiId: !Ref Api, Auth: { Authorizer: Pool, AuthorizationScopes: [c] }", "other: a Cognito user pool [c]"),
        ("RestApiId: !Ref Api, Auth: { Authorizer: AWS_IAM }", "other: AWS_IAM"),
        (
            "RestApiId: !Ref Api, Auth: { Authorizer: Gone }",
            "open: its authorizer `Gone` is not in Auth.Authorizers of the API",
        ),
        ("Auth: { Authorizer: Global }", "ours"),
        ("RestApiId: !Ref ServerlessRestApi, Auth: { Authorizer: Global }", "ours"),
        ("Auth: {}", "open: it has no authorizer, and its API has no DefaultAuthorizer for it"),
    ];
    for (properties, expected) in cases {
        let event = format!("        E: {{ Type: Api, Properties: {{ Method: get, Path: /a/, {properties} }} }}\n");
        let api = api("t.yaml", &format!("{SAM}{event}")).unwrap_or_else(|stop| panic!("{}", refusal(&stop)));
        assert_eq!(line(&api.operations[0]), format!("GET /a 13:9 {expected}"), "{properties}");
        assert_eq!(api.operations.len(), 1);
    }
}

#[test]
fn what_a_template_does_not_fix_is_noted() {
    let events = "        A: { Type: Api, Properties: { Method: any, Path: '/a/{b+}', RestApiId: !Ref Api } }
        B: { Type: Api, Properties: { Method: get, Path: !Sub '/${x}', RestApiId: !Ref Api } }
        C: { Type: Api, Properties: { Method: get, Path: /c, RestApiId: !ImportValue x } }
        D: { Type: Api, Properties: { Method: get, Path: /d, RestApiId: !Ref Parameter } }
        E: { Type: Api, Properties: { Method: get, Path: !Sub /e, RestApiId: !Ref Api } }
        F: { Type: HttpApi }
  Stack: { Type: AWS::CloudFormation::Stack }
  File: { Type: AWS::Serverless::Api, Properties: { DefinitionUri: s3://bucket/key } }
  Include: { Type: AWS::Serverless::Api, Properties: { DefinitionBody: { Fn::Transform: { Parameters: { Location: !Sub 's3://${b}/x' } } } } }
  Whole: { Type: AWS::ApiGateway::RestApi, Properties: { Body: !FindInMap [a, b, c] } }
";
    let unseen = "the paths are in a file that cannot be seen here; give that file as well";
    let expected = [
        "ANY /a/{b+} 13:9 ours",
        "GET /e 17:9 ours",
        "note 19: the APIs of a nested stack are not read; give its template as well",
        "note 15: the API of this event cannot be seen here; the event is not read",
        "note 18: events of type HttpApi are not read, because they belong to no REST API",
        "note 14: the Method or the Path of this event depends on the stack; the event is not read",
        &format!("note 20: {unseen}"),
        &format!("note 21: {unseen}"),
        "note 22: the paths in this Fn::FindInMap cannot be seen here",
        "note 16: `Parameter` is no AWS::Serverless::Api of this template; the event is not read",
    ];
    assert_reads("t.yaml", &format!("{SAM}{events}"), &expected);
}

#[test]
fn sam_adds_its_authorizers_and_preflights_to_a_document() {
    let template = |auth: &str, security: &str| {
        format!(
            "Resources:
  Api:
    Type: AWS::Serverless::Api
    Properties:
      Cors: \"'*'\"
      Auth: {{ {auth} }}
      DefinitionBody:
        swagger: 2.0
        securityDefinitions: {{ Key: {{ type: apiKey, in: header, name: x-api-key }} }}
        paths:
          /a:
            get: {{ {security} }}
"
        )
    };
    let own = "Authorizers: { Own: { FunctionArn: !Ref F } }";
    let default = format!("{own}, DefaultAuthorizer: Own");
    let without = format!("{default}, AddDefaultAuthorizerToCorsPreflight: false");
    let preflight = "open: SAM answers a browser's preflight without an authorizer";
    let conditional = "security: [!If [C, { Key: [] }, !Ref AWS::NoValue]]";
    let key = "its security scheme `Key` is an API key, which is not authorization";
    let maybe = "security: [!If [C, { Own: [] }, { Key: [] }]]";
    let cases = [
        (default.as_str(), "", "ours", "ours"),
        (&without, "", "ours", preflight),
        (&without, conditional, "ours", preflight),
        (&without, "security: [{ NONE: [] }]", "open: its authorizer is NONE", preflight),
        (own, "", "open: it has no `security`", preflight),
        (own, "security: [{ Own: [] }]", "ours", preflight),
        (own, maybe, "open: under a condition of the template, its `security` is empty", preflight),
        (own, "security: !If [C, [{ Own: [] }], [{ Own: [] }, { Key: [] }]]", "ours", preflight),
        (
            own,
            "security: !If [C, [{ Own: [] }], [{ Key: [] }]]",
            &format!("open: under a condition of the template, {key}"),
            preflight,
        ),
    ];
    for (auth, security, get, options) in cases {
        let expected = [format!("GET /a 12:13 {get}"), format!("OPTIONS /a 5:7 {options}")];
        assert_reads("t.yaml", &template(auth, security), &expected.each_ref().map(String::as_str));
    }
}

#[test]
fn a_document_next_to_the_template_is_read() {
    let template = "Resources:
  Api: { Type: AWS::Serverless::Api, Properties: { DefinitionUri: ./api.yaml } }
  Body: { Type: AWS::ApiGateway::RestApi, Properties: { Parameters: { basepath: prepend }, Body: { Fn::Transform: { Name: AWS::Include, Parameters: { Location: b.json } } } } }
";
    let load = |name: &str| match name {
        "./api.yaml" => Some(file("api.yaml", "openapi: 3.0.1\npaths: { /a: { get: {} } }\n")),
        "b.json" => Some(file("b.json", r#"{"swagger": "2.0", "basePath": "/v1", "paths": {"/b": {"get": {}}}}"#)),
        _ => None,
    };
    let api = parse(&file("t.yaml", template), BasePath::Ignore, &load).expect("a valid template");
    assert_eq!(lines(&api), ["GET /a 2:16 open: it has no `security`", "GET /v1/b 1:56 open: it has no `security`"]);
    let names: Vec<_> = api.operations.iter().map(|operation| operation.place.file.name.as_str()).collect();
    assert_eq!(names, ["api.yaml", "b.json"]);
    let bad = |_: &str| Some(file("api.yaml", "a: [\n"));
    let stop = parse(&file("t.yaml", template), BasePath::Ignore, &bad).expect_err("a bad document");
    assert!(refusal(&stop).contains("file=api.yaml,line=2"), "{}", refusal(&stop));
}

#[test]
fn methods_of_cloudformation_have_the_path_of_their_resources() {
    let template = |method: &str| {
        format!(
            r#"{{"Resources": {{
"Api": {{"Type": "AWS::ApiGateway::RestApi", "Properties": {{}}}},
"A": {{"Type": "AWS::ApiGateway::Resource", "Properties": {{"RestApiId": {{"Ref": "Api"}}, "ParentId": {{"Fn::GetAtt": ["Api", "RootResourceId"]}}, "PathPart": "a"}}}},
"B": {{"Type": "AWS::ApiGateway::Resource", "Properties": {{"RestApiId": {{"Ref": "Api"}}, "ParentId": {{"Ref": "A"}}, "PathPart": "{{b+}}"}}}},
"Loop": {{"Type": "AWS::ApiGateway::Resource", "Properties": {{"ParentId": {{"Ref": "Loop"}}, "PathPart": "c"}}}},
"Token": {{"Type": "AWS::ApiGateway::Authorizer", "Properties": {{"Type": "TOKEN"}}}},
"Pool": {{"Type": "AWS::ApiGateway::Authorizer", "Properties": {{"Type": "COGNITO_USER_POOLS"}}}},
"Get": {{"Type": "AWS::ApiGateway::Method", "Properties": {{"RestApiId": {{"Ref": "Api"}}, "HttpMethod": "GET", {method}}}}}
}}}}"#
        )
    };
    let root = r#""ResourceId": {"Fn::GetAtt": "Api.RootResourceId"}"#;
    let custom = r#""ResourceId": {"Ref": "B"}, "AuthorizationType": "CUSTOM", "AuthorizerId":"#;
    let kind = |kind: &str| format!(r#"{root}, "AuthorizationType": {kind}"#);
    let taken = "note 8: the authorizer is not in the template; it is taken for a TOKEN authorizer";
    let cases: [(String, &[&str]); 10] = [
        (format!(r#"{custom} {{"Ref": "Token"}}"#), &["GET /a/{b+} 8:1 ours"]),
        (format!(r#"{custom} {{"Fn::GetAtt": ["Token", "AuthorizerId"]}}"#), &["GET /a/{b+} 8:1 ours"]),
        (
            format!(r#"{custom} {{"Ref": "Pool"}}, "AuthorizationScopes": ["a", "b"]"#),
            &["GET /a/{b+} 8:1 other: a Cognito user pool [a] [b]"],
        ),
        (format!(r#"{custom} {{"Ref": "Parameter"}}"#), &["GET /a/{b+} 8:1 ours", taken]),
        (kind(r#""NONE""#), &["GET / 8:1 open: its AuthorizationType is NONE"]),
        (root.to_owned(), &["GET / 8:1 open: it has no AuthorizationType"]),
        (kind(r#""AWS_IAM""#), &["GET / 8:1 other: AWS_IAM"]),
        (
            kind(r#"{"Fn::If": ["C", "AWS_IAM", "NONE"]}"#),
            &["GET / 8:1 open: under a condition of the template, its AuthorizationType is NONE"],
        ),
        (
            kind(r#"{"Ref": "Kind"}"#),
            &[
                "GET / 8:1 open: its AuthorizationType depends on the stack",
                "note 8: the AuthorizationType cannot be seen here; the AuthorizerId counts",
            ],
        ),
        (kind(r#"{"Fn::If": ["C", "AWS_IAM", "AWS_IAM"]}"#), &["GET / 8:1 other: AWS_IAM"]),
    ];
    for (method, expected) in cases {
        assert_reads("t.json", &template(&method), expected);
    }
    let unknown = [
        (r#""ResourceId": {"Ref": "Loop"}"#, "its parents do not lead to the root"),
        (r#""ResourceId": {"Ref": "Gone"}"#, "`Gone` is not in the template"),
        (r#""ResourceId": {"Fn::ImportValue": "x"}"#, "its path depends on the stack"),
    ];
    for (method, reason) in unknown {
        let stop = api("t.json", &template(method)).expect_err(reason);
        let expected = format!("this method is not read, because {reason}\n");
        assert!(refusal(&stop).contains(&expected), "{}", refusal(&stop));
    }
}

#[test]
fn this_repositorys_own_apis_are_read() {
    let read =
        |path: &str| read(&repository(path), BasePath::Ignore).unwrap_or_else(|stop| panic!("{}", refusal(&stop)));
    let demo = read("examples/demo/template.yaml");
    let names: Vec<_> = demo.operations.iter().map(Operation::name).collect();
    let paths = [
        "/hello/{uid}",
        "/users/{uid}/balance",
        "/home/premium",
        "/apps",
        "/apps/{proxy+}",
        "/tenants",
        "/tenants/{proxy+}",
        "/idps",
        "/idps/{id}",
        "/idps/{id}/metadata.xml",
    ];
    let expected: Vec<_> =
        ["ANY", "OPTIONS"].iter().flat_map(|method| paths.map(|path| format!("{method} {path}"))).collect();
    assert_eq!(names, expected);
    for operation in demo.operations.iter().filter(|operation| operation.method == "ANY") {
        assert_eq!((&operation.access, operation.methods.len()), (&Access::Authorizer, 6));
    }
    assert_eq!(demo.notes, []);

    let kind = |operation: &Operation| match &operation.access {
        Access::Authorizer => "ours".to_owned(),
        Access::Open(_) => "open".to_owned(),
        Access::Other(kind) => kind.clone(),
    };
    let hello = ["GET /hello/{uid} ours", "OPTIONS /hello/{uid} open"];
    let payments = ["POST /payments ours", "OPTIONS /hello/{uid} open", "OPTIONS /payments open"];
    let catalog = ["GET /catalog JWT", "OPTIONS /catalog open"];
    for (path, expected) in [
        ("sam.yaml", hello.to_vec()),
        ("cloudformation.yaml", hello.to_vec()),
        ("openapi/openapi.yaml", hello.to_vec()),
        ("openapi/template.yaml", hello.to_vec()),
        ("private.yaml", vec![hello[0]]),
        ("two-authorizers.yaml", [&hello[..1], &payments].concat()),
        ("jwt-authorizer.yaml", [hello, catalog].concat()),
    ] {
        let api = read(&format!("examples/attach/{path}"));
        let found: Vec<_> = api.operations.iter().map(|each| format!("{} {}", each.name(), kind(each))).collect();
        assert_eq!((found, api.notes.len()), (expected.iter().map(ToString::to_string).collect(), 0), "{path}");
    }
}

#[test]
fn a_request_goes_to_the_most_exact_path() {
    let text = "openapi: 3.0.1
paths:
  /: { get: {} }
  /a: { get: {}, x-amazon-apigateway-any-method: {} }
  /a/b: { get: {} }
  /a/{id}: { get: {}, put: {} }
  /a/{id}/c: { get: {} }
  /a/b/d: { get: {} }
  /{rest+}: { x-amazon-apigateway-any-method: {} }
";
    let api = api("api.yaml", text).expect("a valid document");
    let cases = [
        ("GET", "/", Some("GET /")),
        ("PUT", "/", None),
        ("GET", "/a", Some("GET /a")),
        ("GET", "/a/", Some("GET /a")),
        ("GET", "/a//", Some("ANY /{rest+}")),
        ("PUT", "/a", Some("ANY /a")),
        ("GET", "/A", Some("ANY /{rest+}")),
        ("GET", "/a/b", Some("GET /a/b")),
        ("PUT", "/a/b", None),
        ("PUT", "/a/x", Some("PUT /a/{id}")),
        ("GET", "/a/x/c", Some("GET /a/{id}/c")),
        ("GET", "/a/b/c", Some("GET /a/{id}/c")),
        ("GET", "/a/b/d", Some("GET /a/b/d")),
        ("GET", "/a/x/d", Some("ANY /{rest+}")),
        ("GET", "/x//y", Some("ANY /{rest+}")),
        ("GET", "//", Some("GET /")),
        ("GET", "/a//c", Some("ANY /{rest+}")),
        ("GET", "", None),
        ("GET", "a", None),
        ("TRACE", "/x", None),
    ];
    for (method, path, expected) in cases {
        let found = api.operation_for(method, path).map(Operation::name);
        assert_eq!(found.as_deref(), expected, "{method} {path}");
    }
    let put = api.operations.iter().find(|operation| operation.name() == "PUT /a/{id}").expect("it is there");
    assert!(put.matches("PUT", "/a/b") && !put.matches("GET", "/a/x") && !put.matches("PUT", "/a/x/c"));
}

#[test]
fn the_stage_is_that_of_the_template() {
    let of_api = |stage: &str| {
        let body = "DefinitionBody: { paths: { /a: { get: {} } } }";
        format!("Resources:\n  Api: {{ Type: AWS::Serverless::Api, Properties: {{ {stage} {body} }} }}\n")
    };
    let parameter = |default: &str| {
        let api = of_api("StageName: !Ref Stage,");
        format!("Parameters: {{ Stage: {{ Type: String{default} }} }}\n{api}")
    };
    let of_stage = "Resources:
  Api: { Type: AWS::ApiGateway::RestApi, Properties: { Body: { paths: { /a: { get: {} } } } } }
  Bucket: { Type: AWS::S3::Bucket, Properties: { StageName: no } }
  Stage: { Type: AWS::ApiGateway::Stage, Properties: { StageName: !Sub beta, RestApiId: !Ref Api } }
";
    let implicit = "Resources:
  Function:
    Type: AWS::Serverless::Function
    Properties: { Events: { A: { Type: Api, Properties: { Path: /a, Method: get } } } }
";
    let openapi = "openapi: 3.0.1\npaths: { /a: { get: {} } }\n";
    for (text, expected) in [
        (of_api("StageName: live,"), Some("live")),
        (of_api("StageName: !Sub '${Env}-x',"), None),
        (of_api(""), None),
        (parameter(", Default: dev"), Some("dev")),
        (parameter(""), None),
        (of_stage.to_owned(), Some("beta")),
        (implicit.to_owned(), Some("Prod")),
        (openapi.to_owned(), None),
    ] {
        assert_eq!(api("t.yaml", &text).unwrap().stage.as_deref(), expected, "{text}");
    }
}
