"""Checks template.yaml, examples/ and the workflows. check_attach.py checks examples/attach.

Use the Python of target/ci-venv, with cfn-lint and aws-sam-cli.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "target/templates"
ISSUER = {"OktaIssuer": "https://example.okta.com/oauth2/default"}
PRODUCT = {"AuthorizerFunction", "AuthorizerRole", "KeysTable", "AuthorizerLogGroup"}
DEMO = {"DemoApi", "DemoApiDeployment", "DemoApidemoStage", "DemoApiOktaAuthorizerPermission"}
DEMO_OPTIONS = {"DemoUsagePlan", "DemoPlanKey", "DemoUsagePlanKey", "DemoDomain", "DemoDomainMapping"}
ALARMS = {f"{name}Alarm" for name in ("Faults", "NoDecisions", "RefusalRate", "OktaUnreachable", "OldKeys",
                                      "TruncatedPolicies", "Throttles", "Duration")} | {"Dashboard"}
# A template, the parameters of a stack, and the resources that the stack then has.
STACKS = [
    ("template.yaml", ISSUER, PRODUCT | {"Api1Permission"}),
    ("template.yaml", ISSUER | {"AttachedApiIds": ""}, PRODUCT),
    ("template.yaml", ISSUER | {
        "OktaIntrospectionClientId": "0oasampleclient00001",
        "OktaIntrospectionClientSecretArn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:okta-AbCdEf",
        "PolicyLayerArn": "arn:aws:lambda:eu-west-1:123456789012:layer:rules:1",
        "ApiKeyClaim": "cid",
        "AttachedApiIds": "abcdef1234,bcdefg2345,cdefgh3456,defghi4567,efghij5678",
        "ReservedConcurrency": "50",
    }, PRODUCT | {f"Api{number}Permission" for number in range(1, 6)}),
    ("examples/demo/template.yaml", {}, DEMO),
    ("examples/demo/template.yaml", {
        "ReauthorizeEvery": "60",
        "IpRanges": "192.0.2.0/24,2001:db8::/32",
        "ThrottleRate": "0",
        "PlanClientId": "0oasampleclient00001",
        "DomainName": "api.example.com",
        "CertificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-0000-0000-000000000000",
        "TruststoreUri": "s3://example/truststore.pem",
    }, DEMO | DEMO_OPTIONS),
    ("examples/alarms/template.yaml", {}, ALARMS),
    ("examples/alarms/template.yaml", {"TopicArn": "arn:aws:sns:eu-west-1:123456789012:alarms"}, ALARMS),
]
# A stack of examples/ reads these outputs of the product's stack.
EXPORTS = ("AuthorizerFunctionArn", "AuthorizerFunctionName", "AuthorizerUri", "LogGroupName")
# The Serverless Application Repository refuses a template with a resource type that is not in its
# list. These types are in the list.
# https://docs.aws.amazon.com/serverlessrepo/latest/devguide/list-supported-resources.html
REPOSITORY_TYPES = {"AWS::DynamoDB::Table", "AWS::IAM::Role", "AWS::Lambda::Function", "AWS::Lambda::Permission",
                    "AWS::Logs::LogGroup", "AWS::Serverless::Function"}
MOST_PARAMETERS = 15 # `sam deploy --guided` asks for each one
NOTHING = {"Ref": "AWS::NoValue"}

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln-_"
TOKENS = [f"Bearer {JWT}", f"bearer {JWT}", "Bearer a.b.c", "Bearer " + ".".join(["a" * 3000] * 3)]
# Other spellings of a good header are junk too, because each one would be an entry of the gateway's
# cache.
JUNK = [JWT, "a.b.c", f"BEARER {JWT}", f"bEARER {JWT}", f"Bearer  {JWT}", f"Bearer{JWT}",
        "", "Bearer", "Bearer ", "Bearer a", "a.b", "a.b.c.d", ".b.c", "a..c", "a.b.", f"Basic {JWT}", f" {JWT}", f"{JWT} ",
        f"Bearer\t{JWT}", f"Bearer Bearer {JWT}", f"Bearer {JWT} x", f"x Bearer {JWT}", f"Bearer {JWT}=", "a.b+.c", "a.b/.c", "a.é.c"]
# Parameters, values that their patterns accept, and values that they refuse.
ORG = "https://example.okta.com"
VALUES = [
    ("OktaIssuer", [f"{ORG}/oauth2/default", f"{ORG}/oauth2/aus1, https://login.example.com:8443/oauth2/aus2"],
     ["", ORG, f"{ORG}/", f"{ORG}/oauth2/default/", f"{ORG}/oauth2/default/v1/keys", f"{ORG}/oauth2/a;{ORG}/oauth2/b",
      "https://{yourOktaDomain}/oauth2/default", "https://Example.okta.com/oauth2/default", "http://127.0.0.1:9/x"]),
    ("OktaAudience", ["api://default", "a, https://b.example/?c=d"], ["", "a b", "a;b", '"a"', "'a'", "a,,b"]),
    ("OktaAllowedClientIds", ["", "0oa1", "0oa1 , 0oa2"], ["0oa1 0oa2", "0oa1;0oa2", "`0oa1`"]),
    ("OktaIntrospectionClientId", ["", "0oa1"], ["0oa1,0oa2", "'0oa1'"]),
    ("AttachedApiIds", ["", "*", "abcdef1234", "a1,b2,c3,d4,e5"], ["a,", ",a", "a, b", "*,a", "a,b,c,d,e,f", "a;b", "A"]),
    ("ReservedConcurrency", ["", "1", "100"], ["0", "-1", "05", "1.5", "ten"]),
    ("ApiKeyClaim", ["", "cid"], ["cid,uid", "c id", '"cid"']),
    ("ContextClaims", ["", "email, https://example.com/level"], ["a;b", "a b", "'a'"]),
]


def main():
    os.environ |= {"AWS_DEFAULT_REGION": "eu-west-1", "SAM_CLI_TELEMETRY": "0"}
    OUT.mkdir(parents=True, exist_ok=True)
    for path, parameters, expected in STACKS:
        stack = Stack(path, parameters)
        found = {re.sub(r"(?<=Deployment)[0-9a-f]{10}$", "", key) for key in stack.resources}
        check(found == expected, f"{path}: resources {sorted(found ^ expected)}")
        {"template.yaml": product, "examples/demo/template.yaml": demo, "examples/alarms/template.yaml": alarms}[path](
            stack.resources, stack.parameters)
    exports()
    metadata()
    patterns()
    validation_expression()
    examples()
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        for action in re.findall(r"uses: (\S+)", path.read_text()):
            # A workflow of this repository is of the same commit.
            pinned = action.startswith("./") or re.search(r"@[0-9a-f]{40}$", action)
            check(pinned, f"{path.name}: {action} is not pinned by its commit")
    print("all templates passed")


class Stack:
    """A template as SAM deploys it, with parameters and conditions resolved."""

    def __init__(self, path, parameters):
        source = parsed(path)
        if "AuthorizerFunction" in source["Resources"]:
            source["Resources"]["AuthorizerFunction"]["Properties"]["CodeUri"] = "s3://bucket/key"
        defaults = {name: str(parameter.get("Default", "")) for name, parameter in source["Parameters"].items()}
        unknown = parameters.keys() - defaults.keys()
        check(not unknown, f"{path} has no parameter {unknown}")
        self.parameters = defaults | parameters
        self.template = source
        if "Transform" in source:
            self.template = transform(source, dict(self.parameters), type("NoPolicies", (), {"load": lambda self: {}})())
        self.resources = {name: self.resolve(resource) for name, resource in self.template["Resources"].items()
                          if "Condition" not in resource or self.holds(resource["Condition"])}

    def holds(self, condition):
        if isinstance(condition, str):
            return self.holds(self.template["Conditions"][condition])
        [(operator, operands)] = condition.items()
        if operator == "Condition":
            return self.holds(operands)
        if operator == "Fn::Equals":
            return len({str(self.resolve(operand)) for operand in operands}) == 1
        results = [self.holds(operand) for operand in operands]
        return {"Fn::Not": lambda one: not one[0], "Fn::And": all, "Fn::Or": any}[operator](results)

    def resolve(self, value):
        if isinstance(value, list):
            return [item for item in map(self.resolve, value) if item != NOTHING]
        if not isinstance(value, dict):
            return value
        match list(value.items()):
            case [("Fn::If", [condition, yes, no])]:
                return self.resolve(yes if self.holds(condition) else no)
            case [("Ref", name)]:
                return self.parameters.get(name, value)
            case [("Fn::Split", [separator, text])]:
                return self.resolve(text).split(separator)
            case [("Fn::Join", [separator, parts])] if all(isinstance(part, str) for part in self.resolve(parts)):
                return separator.join(self.resolve(parts))
            case [("Fn::Select", [index, items])]:
                return self.resolve(items)[index]
        resolved = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item != NOTHING}


def product(resources, parameters):
    """The function's variables and its limit, and who may call it."""
    function = resources["AuthorizerFunction"]["Properties"]
    variables = function["Environment"]["Variables"]
    layer = parameters["PolicyLayerArn"]
    check(function.get("Layers", []) == ([layer] if layer else []), "the layer")
    check(variables["POLICY_FILE"] == ("/opt/policy.toml" if layer else ""), "POLICY_FILE")
    arn = "OktaIntrospectionClientSecretArn"
    secret = {"Fn::Sub": f"{{{{resolve:secretsmanager:${{{arn}}}}}}}"} if parameters[arn] else ""
    check(variables["OKTA_INTROSPECTION_CLIENT_SECRET"] == secret, "OKTA_INTROSPECTION_CLIENT_SECRET")
    check(function.get("ReservedConcurrentExecutions", "") == parameters["ReservedConcurrency"], "ReservedConcurrency")
    permissions = [resource["Properties"] for resource in resources.values() if resource["Type"] == "AWS::Lambda::Permission"]
    check(all(each["FunctionName"] == {"Fn::GetAtt": ["AuthorizerFunction", "Arn"]} for each in permissions), "another function")
    callers = [each["SourceArn"]["Fn::Sub"] for each in permissions]
    arn = "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${ApiId}/authorizers/*"
    ids = filter(None, parameters["AttachedApiIds"].split(","))
    check(callers == [[arn, {"ApiId": api}] for api in ids], f"AttachedApiIds: {callers}")
    types = {resource["Type"] for resource in resources.values()}
    check(types <= REPOSITORY_TYPES, f"not in the Serverless Application Repository: {types - REPOSITORY_TYPES}")


def alarms(resources, parameters):
    topics = list(filter(None, [parameters["TopicArn"]]))
    for name, resource in resources.items():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            properties = resource["Properties"]
            check(properties["AlarmActions"] == properties["OKActions"] == topics, f"{name}: topic")


def demo(resources, parameters):
    api = resources["DemoApi"]["Properties"]
    body = api["Body"]
    api_key = [{"api_key": []}] if parameters["PlanClientId"] else []
    function = {"Fn::ImportValue": {"Fn::Sub": f"{parameters['AuthorizerStack']}-AuthorizerFunctionArn"}}
    permission = resources["DemoApiOktaAuthorizerPermission"]["Properties"]
    check(permission["FunctionName"] == function, f"the permission: another function: {permission}")
    for path, methods in body["paths"].items():
        check("security" not in methods["options"], f"{path}: a preflight has no token")
        for method in methods.keys() - {"options", "parameters"}:
            check(methods[method]["security"] == [*api_key, {"Okta": []}], f"{path}: security")
    check(api["ApiKeySourceType"] == ("AUTHORIZER" if api_key else "HEADER"), "ApiKeySourceType")
    okta = body["securityDefinitions"]["Okta"]
    authorizer = okta["x-amazon-apigateway-authorizer"]
    check(okta["name"] == "Authorization" and authorizer["type"] == "token", "the authorizer")
    [uri, names] = authorizer["authorizerUri"]["Fn::Sub"]
    check("/${__FunctionArn__}/" in uri and names == {"__FunctionArn__": function}, f"the authorizer: another function: {names}")
    check(str(authorizer["authorizerResultTtlInSeconds"]) == parameters["ReauthorizeEvery"], "ReauthorizeEvery")
    for name, response in body["x-amazon-apigateway-gateway-responses"].items():
        check("gatewayresponse.header.Access-Control-Allow-Origin" in response["responseParameters"], f"{name}: CORS")
        text = response["responseTemplates"]["application/json"].replace("$context.error.messageString", '"x"')
        check({"message", "type"} == set(json.loads(text)), f"{name}: body")
        header = response["responseParameters"].get("gatewayresponse.header.WWW-Authenticate")
        check(header == ("'Bearer'" if name == "UNAUTHORIZED" else None), f"{name}: WWW-Authenticate")

    ranges = parameters["IpRanges"]
    statements = api.get("Policy", {"Statement": []})["Statement"]
    expected = [("Deny", {"NotIpAddress": {"aws:SourceIp": ranges.split(",")}})] if ranges else []
    # An Allow would open the API to requests that the authorizer's policy does not mention.
    check([(each["Effect"], each["Condition"]) for each in statements] == expected, "the resource policy")
    settings = resources["DemoApidemoStage"]["Properties"].get("MethodSettings", [])
    limits = [str(setting["ThrottlingRateLimit"]) for setting in settings]
    check(limits == [rate for rate in [parameters["ThrottleRate"]] if rate != "0"], "the limit of the stage")
    truststore = parameters["TruststoreUri"]
    closed = body["x-amazon-apigateway-endpoint-configuration"]["disableExecuteApiEndpoint"]
    check(closed is bool(truststore), "the default endpoint must be closed with mutual TLS, and only then")
    if truststore:
        tls = resources["DemoDomain"]["Properties"].get("MutualTlsAuthentication")
        check(tls == {"TruststoreUri": truststore}, "DemoDomain: mutual TLS")


def exports():
    """The stacks in examples/ import only what template.yaml exports."""
    template = parsed("template.yaml")
    exported = {value["Export"]["Name"]["Fn::Sub"] for value in template["Outputs"].values() if "Export" in value}
    check(exported == {f"${{AWS::StackName}}-{name}" for name in EXPORTS}, f"exports: {exported}")
    for path in ("examples/demo/template.yaml", "examples/alarms/template.yaml"):
        imported = set(re.findall(r"\$\{AuthorizerStack\}-(\w+)", (ROOT / path).read_text()))
        check(imported and imported <= set(EXPORTS), f"{path} imports {imported}")


def metadata():
    """The limits of the Serverless Application Repository, and agreement with Cargo.toml."""
    template = parsed("template.yaml")
    check(len(template["Parameters"]) <= MOST_PARAMETERS, "too many parameters")
    application = template["Metadata"]["AWS::ServerlessRepo::Application"]
    package = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]
    check(len(application["Description"]) <= 256 and len(application["Labels"]) <= 10, "Description or Labels")
    check(application["SpdxLicenseId"] in package["license"].split(" OR "), "SpdxLicenseId")
    check(application["SemanticVersion"] == package["version"], "SemanticVersion is not the version in Cargo.toml")
    for key in ("LicenseUrl", "ReadmeUrl"):
        check((ROOT / application[key]).is_file(), key)


def patterns():
    for name, accepted, refused in VALUES:
        pattern = parsed("template.yaml")["Parameters"][name]["AllowedPattern"]
        for value in accepted:
            check(re.search(pattern, value), f"{name} refuses {value!r}")
        for value in refused:
            check(not re.search(pattern, value), f"{name} accepts {value!r}")


def validation_expression():
    okta = parsed("examples/demo/template.yaml")["Resources"]["DemoApi"]["Properties"]["Auth"]["Authorizers"]["Okta"]
    expression = okta["Identity"]["ValidationExpression"]
    for token in TOKENS:
        check(re.fullmatch(expression, token), f"ValidationExpression refuses {token[:60]!r}")
    for junk in JUNK:
        check(not re.search(expression, junk), f"ValidationExpression accepts {junk!r}")


def examples():
    layer = ROOT / "examples/layer"
    lint(ROOT / "template.yaml", *(ROOT / "examples").glob("*/template.yaml"))
    run("sam", "build", "--template", layer / "template.yaml", "--build-dir", OUT / "layer")
    built = yaml_parse((OUT / "layer/template.yaml").read_text())["Resources"]["Rules"]["Properties"]["ContentUri"]
    tomllib.loads((OUT / "layer" / built / "policy.toml").read_text())


def parsed(path):
    return yaml_parse((ROOT / path).read_text())


def lint(*paths):
    run("cfn-lint", "--include-checks", "I", "--non-zero-exit-code", "informational", "--", *paths)


def run(*command, **options):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [shutil.which(command[0], path=path), *map(str, command[1:])]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    check(done.returncode == 0, f"{' '.join(command)}\n{done.stdout}")
    return done.stdout


def check(holds, message):
    if not holds:
        sys.exit(f"error: {message}")


if __name__ == "__main__":
    main()
