"""Checks the stacks in examples/attach.

Each stack is built with its own tool, and must attach the authorizer exactly as EXPECTED says. The
Terraform module must make the same resources as template.yaml. Then a part of each stack is taken
away or changed, one after the other, and the check must notice it.

Use the Python of target/ci-venv. Without npm or terraform, the checks that need them print NOT RUN.
"""

import base64
import contextlib
import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from check_templates import OUT, ROOT, Stack, check, lint, parsed, run

ATTACH = ROOT / "examples/attach"
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:okta-authorizer"
# check_templates.py tries this expression with tokens and with junk.
EXPRESSION = parsed("examples/demo/template.yaml")["Resources"]["DemoApi"]["Properties"]["Auth"]["Authorizers"]["Okta"][
    "Identity"]["ValidationExpression"]

PREFLIGHT = {"authorizer": None, "allows": {"Origin": "'*'", "Headers": "'Authorization,Content-Type'"}}
JWT = {"authorizer": {
    "type": "JWT", "header": "method.request.header.Authorization", "scopes": ["catalog:read"],
    "issuers": {"DefaultAlgorithms": ["RS256"], "Issuers": [
        {"Issuer": "https://example.okta.com/oauth2/default", "Audiences": ["api://default"]}]}}}


def okta(ttl=300):
    return {"authorizer": {"type": "TOKEN", "header": "method.request.header.Authorization",
                           "expression": EXPRESSION, "ttl": ttl, "is_the_function": True}}


CORS = {"Access-Control-Allow-Origin": "'*'"}
RESPONSES = {
    "UNAUTHORIZED": ("401", CORS | {"WWW-Authenticate": "'Bearer'", "Access-Control-Expose-Headers": "'WWW-Authenticate'"}),
    "ACCESS_DENIED": ("403", CORS),
    "DEFAULT_4XX": (None, CORS),
    "DEFAULT_5XX": (None, CORS),
}
LOG = {
    "requestId": "$context.requestId", "time": "$context.requestTime", "ip": "$context.identity.sourceIp",
    "method": "$context.httpMethod", "path": "$context.path", "resource": "$context.resourcePath",
    "status": "$context.status", "principalId": "$context.authorizer.principalId",
    "authorizerError": "$context.authorizer.error", "responseType": "$context.error.responseType",
}
ONE_ENDPOINT = {"Effect": "Deny", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*",
                "Condition": {"StringNotEquals": {"aws:SourceVpce": "vpce-0123456789abcdef0"}}}
HELLO = {"GET /hello/{uid}": okta(), "OPTIONS /hello/{uid}": PREFLIGHT}


def expected(methods, policy=(), permissions=0):
    return {"methods": methods, "responses": RESPONSES, "log": LOG, "policy": list(policy), "not deployed": [],
            "permissions": [True] * permissions}


EXPECTED = {
    "sam.yaml": expected(HELLO, permissions=1),
    "cloudformation.yaml": expected(HELLO),
    "openapi/template.yaml": expected(HELLO),
    "cdk": expected(HELLO | {"OPTIONS /": PREFLIGHT, "OPTIONS /hello": PREFLIGHT}),
    "serverless": expected(HELLO, permissions=1),
    "terraform/example": expected(HELLO),
    # A resource policy that only denies refuses every preflight.
    "private.yaml": expected({"GET /hello/{uid}": okta()}, [ONE_ENDPOINT], permissions=1),
    "two-authorizers.yaml": expected(HELLO | {"POST /payments": okta(ttl=0), "OPTIONS /payments": PREFLIGHT},
                                     permissions=2),
    "jwt-authorizer.yaml": expected(HELLO | {"GET /catalog": JWT, "OPTIONS /catalog": PREFLIGHT}),
}
PARAMETERS = {
    "private.yaml": {"VpcEndpointId": "vpce-0123456789abcdef0"},
    "jwt-authorizer.yaml": {"OktaIssuer": "https://example.okta.com/oauth2/default"},
}
# Changes to the text of the resources. Each place is changed alone, and the check must notice it.
CHANGES = [
    ("another kind of authorizer", r'"(TOKEN|token)"', '"REQUEST"'),
    ("another expression", re.escape(json.dumps(EXPRESSION)), '"^.*$"'),
    ("another time in the cache", r'(?<=esultTtlInSeconds": )\d+', "301"),
    ("another function", r"-Authorizer(Uri|FunctionArn)|(?<=function:)okta-authorizer(?=[\"/])", "-Other"),
    ("a method without the authorizer", r'"AuthorizationType": "CUSTOM"', '"AuthorizationType": "NONE"'),
    ("a method without the authorizer", r'"security": \[\{"\w+": \[\]\}\]', '"security": []'),
    ("a preflight that needs something", r'"AuthorizationType": "NONE"', '"AuthorizationType": "AWS_IAM"'),
    ("a preflight that needs something", r'"options": \{', '"options": {"security": [{"Okta": []}], '),
    ("a preflight without Authorization", r"'Authorization,Content-Type'", "'Content-Type'"),
    ("no such gateway response", r'"(UNAUTHORIZED|ACCESS_DENIED|DEFAULT_4XX|DEFAULT_5XX)"', '"THROTTLED"'),
    ("no CORS header", r"gatewayresponse\.header\.Access-Control-Allow-Origin", "gatewayresponse.header.X"),
    ("no WWW-Authenticate", r"gatewayresponse\.header\.WWW-Authenticate", "gatewayresponse.header.X"),
    ("no such field in the log", r"\$context\.(authorizer\.principalId|authorizer\.error|error\.responseType)", "-"),
    ("no log group", r'"DestinationArn": (\{[^{}]*\}|"[^"]*")', '"DestinationArn": {"Ref": "Nothing"}'),
    ("an Allow in the resource policy", r'(?<="Effect": )"Deny"(?=.{,150}SourceVpce)', '"Allow"'),
    ("an Allow in the resource policy", r'"Type": "AWS::ApiGateway::RestApi", "Properties": \{(?!.*SourceVpce)',
     r'\g<0>"Policy": {"Statement": [{"Effect": "Allow"}]}, '),
    ("another scope", r'"catalog:read"', '"catalog:write"'),
]


def main():
    os.environ |= {"AWS_DEFAULT_REGION": "eu-west-1", "SAM_CLI_TELEMETRY": "0"}
    OUT.mkdir(parents=True, exist_ok=True)
    lint(*ATTACH.glob("*.yaml"), ATTACH / "openapi/template.yaml")
    stacks = {path.name: Stack(path, PARAMETERS.get(path.name, {})).resources for path in ATTACH.glob("*.yaml")}
    stacks["openapi/template.yaml"] = Stack(openapi(), {}).resources
    builds = {"terraform/example": terraform}
    if shutil.which("npm"):
        builds |= {"cdk": cdk, "serverless": serverless}
    else:
        print("NOT RUN: cdk synth, osls package: no npm")
    with ThreadPoolExecutor() as pool:
        running = {name: pool.submit(build) for name, build in builds.items()}
    stacks |= {name: build.result() for name, build in running.items() if build.result()}
    check(stacks.keys() <= EXPECTED.keys(), f"{stacks.keys() - EXPECTED.keys()} is in no table of this check")

    unused = {name for name, *_ in CHANGES}
    for name, resources in stacks.items():
        check_same(name, attached(resources), EXPECTED[name])
        unused -= noticed(name, resources)
    check(not unused, f"these changes found no place in any stack: {unused}")
    print(f"all stacks passed: {', '.join(sorted(stacks))}")


def noticed(name, resources):
    """The changes that this stack has a place for. The check must notice each one."""
    text, used = json.dumps(resources), set()
    for change, pattern, replacement in CHANGES:
        for match in re.finditer(pattern, text):
            changed = text[:match.start()] + match.expand(replacement) + text[match.end():]
            used.add(change)
            # The change can also make the stack unreadable.
            with contextlib.suppress(KeyError, ValueError):
                found = attached(json.loads(changed))
                check(found != EXPECTED[name], f"{name}: the check does not notice: {change}, at {text[match.start() - 80:match.end()]}")
    for deployment in [key for key, each in resources.items() if each["Type"] == "AWS::ApiGateway::Deployment"]:
        found = attached(resources | {deployment: resources[deployment] | {"DependsOn": []}})
        has_body = any(each["Properties"].get("Body") for each in resources.values())
        check(has_body or found != EXPECTED[name], f"{name}: the check does not notice that the deployment waits for nothing")
    needed = {change for change, *_ in CHANGES} - {"another scope"}
    if name == "private.yaml":
        needed -= {"a preflight that needs something", "a preflight without Authorization"}
    check(needed <= used, f"{name}: no place for {needed - used}")
    return used


def attached(resources):
    """How the API in CloudFormation's resources uses the authorizer, in the form of EXPECTED."""
    def of(kind):
        return {name: resource["Properties"] for name, resource in resources.items()
                if resource["Type"] == f"AWS::ApiGateway::{kind}"}

    [api] = of("RestApi").values()
    body = api.get("Body", {})
    if body:
        methods, responses, unreached = methods_of_body(body), responses_of_body(body), set()
    else:
        methods = methods_of_resources(of("Method"), of("Resource"), of("Authorizer"))
        responses = {each["ResponseType"]: (each.get("StatusCode"), each["ResponseParameters"])
                     for each in of("GatewayResponse").values()}
        [deployment] = of("Deployment")
        unreached = (of("Method") | of("GatewayResponse")).keys() - before(deployment, resources)
    return {
        "methods": methods,
        "responses": {kind: (status and str(status), {name.removeprefix("gatewayresponse.header."): value
                                                      for name, value in headers.items()})
                      for kind, (status, headers) in responses.items()},
        "log": access_log(of("Stage"), resources),
        "policy": statements(api.get("Policy")) + statements(body.get("x-amazon-apigateway-policy")),
        # A deployment copies the API as it is at that moment, so it must wait for these.
        "not deployed": sorted(unreached),
        # SAM and the Serverless Framework let the API call the function of the other stack.
        "permissions": [is_the_function(resource["Properties"]["FunctionName"]) for resource in resources.values()
                        if resource["Type"] == "AWS::Lambda::Permission"
                        and target(resource["Properties"]["FunctionName"]) not in resources],
    }


def methods_of_body(body):
    schemes = body.get("securityDefinitions") or body["components"]["securitySchemes"]
    methods = {}
    for path, operations in body["paths"].items():
        for verb in operations.keys() - {"parameters"}:
            operation = operations[verb]
            security = [name for requirement in operation.get("security", []) for name in requirement]
            if security:
                [name] = security
                scheme = schemes[name]
                authorizer = scheme["x-amazon-apigateway-authorizer"]
                found = {"authorizer": {
                    "type": authorizer["type"].upper(), "header": f"method.request.header.{scheme['name']}",
                    "expression": authorizer["identityValidationExpression"], "ttl": authorizer["authorizerResultTtlInSeconds"],
                    "is_the_function": is_the_function(authorizer["authorizerUri"])}}
            else:
                [answer] = operation["x-amazon-apigateway-integration"]["responses"].values()
                found = without_authorizer(answer.get("responseParameters", {}))
            methods[f"{verb.upper()} {path}"] = found
    return methods


def responses_of_body(body):
    return {kind: (response.get("statusCode"), response["responseParameters"])
            for kind, response in body["x-amazon-apigateway-gateway-responses"].items()}


def methods_of_resources(methods, paths, authorizers):
    def path(name):
        return f"{path(target(paths[name]['ParentId']))}/{paths[name]['PathPart']}" if name in paths else ""

    found = {}
    for method in methods.values():
        kind, answers = method["AuthorizationType"], method["Integration"].get("IntegrationResponses", [{}])
        if kind == "NONE":
            use = without_authorizer(answers[0].get("ResponseParameters", {}))
        else:
            authorizer = authorizers.get(target(method.get("AuthorizerId")), {"Type": "NONE"})
            use = {"authorizer": {"type": authorizer["Type"], "header": authorizer.get("IdentitySource")}}
            if (kind, authorizer["Type"]) == ("CUSTOM", "TOKEN"):
                use["authorizer"] |= {
                    "expression": authorizer["IdentityValidationExpression"], "ttl": authorizer["AuthorizerResultTtlInSeconds"],
                    "is_the_function": is_the_function(authorizer["AuthorizerUri"])}
            elif (kind, authorizer["Type"]) == ("JWT", "JWT"):
                use["authorizer"] |= {"scopes": method["AuthorizationScopes"], "issuers": authorizer["JwtConfiguration"]}
        found[f"{method['HttpMethod']} {path(target(method['ResourceId'])) or '/'}"] = use
    return found


def without_authorizer(parameters):
    prefix = "method.response.header.Access-Control-Allow-"
    allows = {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}
    return {"authorizer": None, "allows": {name: value for name, value in allows.items() if name in PREFLIGHT["allows"]}}


def access_log(stages, resources):
    [stage] = stages.values()
    setting = stage["AccessLogSetting"]
    group = resources[target(setting["DestinationArn"])]
    return json.loads(setting["Format"]) if group["Type"] == "AWS::Logs::LogGroup" else None


def statements(policy):
    found = (policy or {"Statement": []})["Statement"]
    return found if isinstance(found, list) else [found]


def is_the_function(uri):
    """Whether all that this imports, or the ARN in it, is the authorizer of the stack okta-authorizer."""
    text = json.dumps(uri)
    imports = re.findall(r'"Fn::ImportValue": (?:\{"Fn::Sub": )?"([^"]*)"', text) or re.findall(r"arn:aws:lambda:[^/\"]*", text)
    return bool(imports) and all(
        name in ("${AuthorizerStack}-AuthorizerUri", "${AuthorizerStack}-AuthorizerFunctionArn",
                 "okta-authorizer-AuthorizerFunctionArn", FUNCTION) for name in imports)


def target(reference):
    """The resource that a Ref, or a GetAtt, names."""
    match reference:
        case {"Ref": name} | {"Fn::GetAtt": [name, _]}:
            return name
        case str():
            return reference
    return None


def before(name, resources):
    """The resources that this one waits for because of DependsOn."""
    names = resources.get(name, {}).get("DependsOn", [])
    names = {names} if isinstance(names, str) else set(names)
    return names.union(*(before(each, resources) for each in names))


def openapi():
    """openapi/template.yaml with its document in it, as CloudFormation includes it."""
    template = parsed(ATTACH / "openapi/template.yaml")
    include = template["Resources"]["Api"]["Properties"].pop("DefinitionBody")["Fn::Transform"]
    check(include["Name"] == "AWS::Include", "openapi/template.yaml: not AWS::Include")
    document = ATTACH / "openapi" / include["Parameters"]["Location"]
    # CloudFormation refuses an included file with a short form.
    check(not re.search(r"^[^#]*[:\s]!(Ref|Sub|GetAtt|ImportValue)\b", document.read_text(), re.MULTILINE), "openapi.yaml: a short form")
    template["Resources"]["Api"]["Properties"]["DefinitionBody"] = parsed(document)
    (OUT / "openapi.json").write_text(json.dumps(template))
    lint(OUT / "openapi.json")
    return OUT / "openapi.json"


def cdk():
    folder = installed("cdk")
    run("npx", "--no-install", "cdk", "synth", "--quiet", "--no-notices", "--no-version-reporting", cwd=folder)
    lint(folder / "cdk.out/hello.template.json")
    return json.loads((folder / "cdk.out/hello.template.json").read_text())["Resources"]


def serverless():
    folder = installed("serverless")
    with cloudformation() as address:
        run("npx", "--no-install", "osls", "package", "--package", "package", cwd=folder, env=os.environ | {
            "AWS_ENDPOINT_URL_CLOUDFORMATION": address, "AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing"})
    template = folder / "package/cloudformation-template-update-stack.json"
    run("cfn-lint", "--non-zero-exit-code", "error", "--", template)
    resources = json.loads(template.read_text())["Resources"]
    logs = json.loads((folder / "package/serverless-state.json").read_text())["service"]["provider"]["logs"]["restApi"]
    check(logs["accessLogging"] and logs["roleManagedExternally"], "serverless: the access log")
    check(resources["ApiGatewayRestApi"]["Properties"].pop("Policy") == "", "serverless: a resource policy")
    # The framework turns the log on after the deployment, so its template has no stage.
    resources["Stage"] = {"Type": "AWS::ApiGateway::Stage", "Properties": {"AccessLogSetting": {
        "Format": logs["format"], "DestinationArn": {"Ref": "ApiGatewayLogGroup"}}}}
    return resources


@contextlib.contextmanager
def cloudformation():
    """A stand-in for CloudFormation that knows the outputs of one stack."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            request = self.rfile.read(int(self.headers["Content-Length"])).decode()
            check("Action=DescribeStacks" in request and "StackName=okta-authorizer" in request, f"serverless asks {request}")
            outputs = "".join(f"<member><OutputKey>{name}</OutputKey><OutputValue>{value}</OutputValue></member>"
                              for name, value in {"AuthorizerFunctionArn": FUNCTION}.items())
            answer = f"""<DescribeStacksResponse><DescribeStacksResult><Stacks><member><StackName>okta-authorizer</StackName>
                <CreationTime>2026-01-01T00:00:00Z</CreationTime><StackStatus>CREATE_COMPLETE</StackStatus>
                <Outputs>{outputs}</Outputs></member></Stacks></DescribeStacksResult></DescribeStacksResponse>""".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def installed(name):
    """A copy of the folder, with its packages of npm."""
    folder = shutil.copytree(ATTACH / name, OUT / name, dirs_exist_ok=True)
    run("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent", cwd=folder)
    return folder


# Terraform runs with a stand-in for AWS.
MOCKS = f"""
mock_provider "aws" {{
  mock_resource "aws_iam_role" {{
    defaults = {{ arn = "arn:aws:iam::123456789012:role/authorizer" }}
  }}
  mock_resource "aws_lambda_function" {{
    defaults = {{
      arn        = "{FUNCTION}"
      invoke_arn = "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/{FUNCTION}/invocations"
    }}
  }}
  mock_resource "aws_cloudwatch_log_group" {{
    defaults = {{ arn = "arn:aws:logs:eu-west-1:123456789012:log-group:mock" }}
  }}
  mock_resource "aws_dynamodb_table" {{
    defaults = {{ arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/keys" }}
  }}
  mock_data "aws_partition" {{
    defaults = {{ partition = "aws" }}
  }}
  mock_data "aws_region" {{
    defaults = {{ id = "eu-west-1" }}
  }}
  mock_data "aws_caller_identity" {{
    defaults = {{ account_id = "123456789012" }}
  }}
  mock_data "aws_secretsmanager_secret_version" {{
    defaults = {{ secret_string = "secret of the client" }}
  }}
}}
variables {{
  okta_issuer = "https://example.okta.com/oauth2/default"
}}
"""
APIS = ["abcdef1234", "bcdefg2345", "cdefgh3456", "defghi4567", "efghij5678"]
LAYER = "arn:aws:lambda:eu-west-1:123456789012:layer:rules:1"
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:okta-AbCdEf"
# Variables of the module, and the same parameters of template.yaml.
SETTINGS = [
    ({}, {}),
    ({"attached_api_ids": []}, {"AttachedApiIds": ""}),
    ({"okta_audience": "api://orders", "okta_allowed_client_ids": "0oa1,0oa2", "okta_introspection_client_id": "0oa1",
      "okta_introspection_client_secret_arn": SECRET, "api_key_claim": "cid", "context_claims": "email",
      "policy_layer_arn": LAYER, "architecture": "x86_64", "memory_size": 512, "reserved_concurrency": 50,
      "log_retention_days": 30, "attached_api_ids": APIS},
     {"OktaAudience": "api://orders", "OktaAllowedClientIds": "0oa1,0oa2", "OktaIntrospectionClientId": "0oa1",
      "OktaIntrospectionClientSecretArn": SECRET, "ApiKeyClaim": "cid", "ContextClaims": "email",
      "PolicyLayerArn": LAYER, "Architecture": "x86_64", "MemorySize": "512", "ReservedConcurrency": "50",
      "LogRetentionDays": "30", "AttachedApiIds": ",".join(APIS)}),
]


def terraform():
    """The resources of terraform/example, in CloudFormation's form. None without Terraform."""
    if not shutil.which("terraform"):
        return print("NOT RUN: terraform: it is not installed")
    run("terraform", "fmt", "-check", "-recursive", ATTACH / "terraform")
    shutil.rmtree(OUT / "terraform", ignore_errors=True)
    module = shutil.copytree(ATTACH / "terraform", OUT / "terraform")
    for folder in (module, module / "example"):
        if not initialised(folder):
            return print("NOT RUN: terraform validate: no AWS provider can be had")
        run("terraform", "validate", cwd=folder)
    names = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in parsed("template.yaml")["Parameters"]}
    names |= {"zip_path", "zip_url", "zip_sha256", "name", "environment"}
    found = set(re.findall(r'^variable "(\w+)"', (module / "variables.tf").read_text(), re.MULTILINE))
    check(found == names, f"terraform: variables {found ^ names}")

    zip_file = module / "release.zip"
    zip_file.write_bytes(b"a zip")
    wrong = "0" * 64
    right = hashlib.sha256(zip_file.read_bytes()).hexdigest()
    by_path, by_url = {"zip_path": str(zip_file)}, {"zip_url": zip_file.as_uri(), "zip_sha256": right}
    # Where the zip comes from, and a variable of the function, for each of SETTINGS.
    sources = [by_path, by_url, by_path | {"zip_sha256": right}]
    others = [{}, {}, {"PATH_GUARD": "off"}]
    bad = [
        ({}, "Give the release zip either as zip_path"),
        (by_path | by_url, "Give the release zip either as zip_path"),
        (by_path | {"zip_sha256": wrong}, "does not have the hash zip_sha256"),
        (by_url | {"zip_sha256": wrong}, "FAILED"),
        ({"zip_url": zip_file.as_uri()}, "zip_url needs zip_sha256"),
        (by_path | {"zip_sha256": right.upper()}, "64 hexadecimal digits in lower case"),
        (by_path | {"okta_issuer": "https://example.okta.com"}, "okta_issuer must be one or more issuers"),
        (by_path | {"architecture": "arm"}, "architecture must be arm64 or x86_64"),
        (by_path | {"okta_introspection_client_secret_arn": SECRET}, "requires okta_introspection_client_id"),
    ]
    good = [source | variables | {"environment": other}
            for source, other, (variables, _) in zip(sources, others, SETTINGS, strict=True)]
    applied = apply(module, good + [variables for variables, _ in bad])
    for (resources, errors), other, (_, parameters) in zip(applied, others, SETTINGS):
        check(not errors, f"terraform: {errors}")
        product = Stack("template.yaml", {"OktaIssuer": "https://example.okta.com/oauth2/default"} | parameters)
        wanted = product_of_template(product.resources)
        wanted["variables"] |= other
        check_same("terraform, against template.yaml", product_of_state(resources), wanted)
        [function] = [each["values"] for each in resources if each["type"] == "aws_lambda_function"]
        hash_of_lambda = base64.b64encode(bytes.fromhex(right)).decode()
        check(function["source_code_hash"] == hash_of_lambda, f"terraform: the hash is {function['source_code_hash']}")
        check((module / function["filename"]).read_bytes() == b"a zip", f"terraform: the file {function['filename']}")
    for (resources, errors), (variables, message) in zip(applied[len(SETTINGS):], bad, strict=True):
        check(message in errors, f"terraform: {variables} gives {errors!r}, not {message!r}")
    downloads = sorted(file.name for file in (module / ".terraform").glob("okta-authorizer-*"))
    check(downloads == [f"okta-authorizer-{right}.zip"], f"terraform: the downloads are {downloads}")

    [(resources, errors)] = apply(module / "example", [by_path])
    check(not errors, f"terraform/example: {errors}")
    return cloudformation_of_state(resources)


def initialised(folder):
    """Whether `terraform init` finds the AWS provider: in a mirror on this machine, or in the registry."""
    mirrors = [[f"-plugin-dir={mirror.parent}"] for mirror in Path("/").glob("*/*/registry.terraform.io")]
    command = ["terraform", "init", "-input=false", "-backend=false"]
    return any(subprocess.run([*command, *mirror], cwd=folder, capture_output=True).returncode == 0
               for mirror in [*mirrors, []])


def apply(folder, cases):
    """The resources and the errors of a `terraform apply` for each of these sets of variables."""
    def walk(module):
        yield from module.get("resources", [])
        for child in module.get("child_modules", []):
            yield from walk(child)

    for number, variables in enumerate(cases):
        values = "".join(f"    {name} = {json.dumps(value)}\n" for name, value in variables.items())
        (folder / f"case{number}.tftest.hcl").write_text(f'{MOCKS}run "apply" {{\n  variables {{\n{values}  }}\n}}\n')
    done = subprocess.run(["terraform", "test", "-json", "-verbose"], cwd=folder, text=True, capture_output=True)
    found = {f"case{number}.tftest.hcl": ([], []) for number in range(len(cases))}
    for message in [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]:
        if message["type"] == "test_state":
            found[message["@testfile"]][0].extend(walk(message["test_state"]["root_module"]))
        elif message["type"] == "diagnostic" and message["diagnostic"]["severity"] == "error":
            check("@testfile" in message, f"terraform test: {message}")
            found[message["@testfile"]][1].append(message["diagnostic"].get("detail", ""))
    return [(resources, " ".join(" ".join(errors).split())) for resources, errors in found.values()]


def product_of_state(resources):
    def values(kind):
        return [each["values"] for each in resources if each["type"] == kind and each["mode"] == "managed"]

    [function], [role], [policy] = values("aws_lambda_function"), values("aws_iam_role"), values("aws_iam_role_policy")
    [table], [group] = values("aws_dynamodb_table"), values("aws_cloudwatch_log_group")
    check(policy["role"] == role["id"] and function["role"] == role["arn"], "terraform: the role")
    names = {table["arn"]: "table", f"{group['arn']}:*": "log group", table["name"]: "table", group["name"]: "log group"}
    [logging], [tracing], [environment] = function["logging_config"], function["tracing_config"], function["environment"]
    [ttl], [encryption], [recovery] = table["ttl"], table["server_side_encryption"], table["point_in_time_recovery"]
    variables = environment["variables"]
    return {
        "function": [function["runtime"], function["handler"], function["architectures"], function["memory_size"],
                     function["timeout"], tracing["mode"], function["layers"] or [],
                     function["reserved_concurrent_executions"], function["description"]],
        "logging": [names.get(logging["log_group"]), logging["log_format"], logging["application_log_level"],
                    logging["system_log_level"], group["retention_in_days"]],
        "variables": variables | {"KEYS_TABLE_NAME": names.get(variables["KEYS_TABLE_NAME"])},
        "assumed by": json.loads(role["assume_role_policy"])["Statement"],
        "may": [each | {"Resource": names.get(each["Resource"], each["Resource"])}
                for each in json.loads(policy["policy"])["Statement"]],
        "table": [table["billing_mode"], [[each["name"], each["type"]] for each in table["attribute"]], table["hash_key"],
                  table["range_key"], ttl["attribute_name"], ttl["enabled"], encryption["enabled"], recovery["enabled"]],
        "called by": [[each["function_name"] == function["arn"], each["action"], each["principal"], each["source_arn"]]
                      for each in values("aws_lambda_permission")],
    }


def product_of_template(resources):
    def named(reference):
        return {"KeysTable": "table", "AuthorizerLogGroup": "log group", "AuthorizerRole": "role"}.get(target(reference), reference)

    def arn(source):
        [text, names] = source["Fn::Sub"]
        for name, value in ({"AWS::Partition": "aws", "AWS::Region": "eu-west-1", "AWS::AccountId": "123456789012"} | names).items():
            text = text.replace(f"${{{name}}}", value)
        return text

    function = resources["AuthorizerFunction"]["Properties"]
    role, table = resources["AuthorizerRole"]["Properties"], resources["KeysTable"]["Properties"]
    check(named(function["Role"]) == "role", "template.yaml: the role")
    variables = function["Environment"]["Variables"]
    if variables["OKTA_INTROSPECTION_CLIENT_SECRET"]:
        variables = variables | {"OKTA_INTROSPECTION_CLIENT_SECRET": "secret of the client"}
    [key] = table["KeySchema"]
    [policy] = role["Policies"]
    logging, ttl = function["LoggingConfig"], table["TimeToLiveSpecification"]
    reserved = function.get("ReservedConcurrentExecutions")
    return {
        "function": [function["Runtime"], function["Handler"], function["Architectures"], int(function["MemorySize"]),
                     function["Timeout"], function["TracingConfig"]["Mode"], function.get("Layers", []),
                     reserved and int(reserved), function["Description"]],
        "logging": [named(logging["LogGroup"]), logging["LogFormat"], logging["ApplicationLogLevel"], logging["SystemLogLevel"],
                    int(resources["AuthorizerLogGroup"]["Properties"]["RetentionInDays"])],
        "variables": variables | {"KEYS_TABLE_NAME": named(variables["KEYS_TABLE_NAME"])},
        "assumed by": role["AssumeRolePolicyDocument"]["Statement"],
        "may": [each | {"Resource": named(each["Resource"])} for each in policy["PolicyDocument"]["Statement"]],
        "table": [table["BillingMode"], [list(each.values()) for each in table["AttributeDefinitions"]], key["AttributeName"],
                  None, ttl["AttributeName"], ttl["Enabled"], table["SSESpecification"]["SSEEnabled"],
                  table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]],
        "called by": [[target(each["Properties"]["FunctionName"]) == "AuthorizerFunction", each["Properties"]["Action"],
                       each["Properties"]["Principal"], arn(each["Properties"]["SourceArn"])]
                      for _, each in sorted(resources.items()) if each["Type"] == "AWS::Lambda::Permission"],
    }


def cloudformation_of_state(resources):
    """Terraform's resources of an API in CloudFormation's form. A resource is named by its id."""
    def camel(name):
        return "".join(part.capitalize() for part in name.split("_"))

    addresses = {each["address"]: each["values"].get("id") for each in resources}
    found, answers = {}, {}
    for each in resources:
        values, kind = each["values"], each["type"]
        properties = {camel(name): value for name, value in values.items() if value is not None}
        if kind == "aws_api_gateway_integration_response":
            answers[values["resource_id"], values["http_method"]] = properties
        elif kind == "aws_cloudwatch_log_group" and values["name_prefix"] == "hello-access-":
            found[values["arn"]] = {"Type": "AWS::Logs::LogGroup", "Properties": properties}
        elif kind.startswith("aws_api_gateway_"):
            # The stand-in for AWS makes up a policy where the stack has none.
            if not values.get("policy", "").startswith("{"):
                properties.pop("Policy", None)
            found[values["id"]] = {"Type": f"AWS::ApiGateway::{camel(kind.removeprefix('aws_api_gateway_'))}", "Properties": properties,
                                   "DependsOn": [addresses[name] for name in depends_on(each, addresses)]}
    for resource in found.values():
        properties = resource["Properties"]
        match resource["Type"]:
            case "AWS::ApiGateway::Method":
                properties["AuthorizationType"] = properties.pop("Authorization")
                answer = answers[properties["ResourceId"], properties["HttpMethod"]]
                properties["Integration"] = {"IntegrationResponses": [answer]}
            case "AWS::ApiGateway::Stage":
                [setting] = properties.pop("AccessLogSettings")
                properties["AccessLogSetting"] = {"Format": setting["format"], "DestinationArn": setting["destination_arn"]}
    return found


def depends_on(resource, addresses):
    return [address for address in addresses for name in resource.get("depends_on", [])
            if address == name or address.startswith(f"{name}[")]


def check_same(name, found, wanted):
    for key in wanted:
        check(found[key] == wanted[key], f"{name}: {key} is\n{json.dumps(found[key], indent=1)}\nbut must be\n{json.dumps(wanted[key], indent=1)}")
    check(found.keys() == wanted.keys(), f"{name}: {found.keys() ^ wanted.keys()}")


if __name__ == "__main__":
    main()
