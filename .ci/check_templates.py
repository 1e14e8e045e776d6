"""Checks template.yaml, examples/ and the workflows.

Use the Python of target/ci-venv, with cfn-lint and aws-sam-cli. Without npm or terraform, the checks
that need them print NOT RUN.
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
TEMPLATE = yaml_parse((ROOT / "template.yaml").read_text())
ISSUER = {"OktaIssuer": "https://example.okta.com/oauth2/default"}
EVERYTHING = ISSUER | {
    "OktaIntrospectionClientId": "0oasampleclient00001",
    "OktaIntrospectionClientSecretArn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:okta-AbCdEf",
    "PolicyLayerArn": "arn:aws:lambda:eu-west-1:123456789012:layer:rules:1",
    "ApiKeyClaim": "cid",
    "WithAlarms": "true",
    "AlarmTopicArn": "arn:aws:sns:eu-west-1:123456789012:alarms",
    "AttachedApiId": "abcdef1234",
    "ReauthorizeEvery": "60",
    "DemoIpRanges": "192.0.2.0/24,2001:db8::/32",
    "DemoThrottleRate": "50",
    "DemoPlanClientId": "0oasampleclient00001",
    "DemoDomainName": "api.example.com",
    "DemoCertificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-0000-0000-000000000000",
    "DemoTruststoreUri": "s3://example/truststore.pem",
}
CORE = {"AuthorizerFunction", "AuthorizerRole", "KeysTable", "AuthorizerLogGroup"}
ATTACHED = {"AttachedApiPermission"}
DEMO = {"DemoApi", "DemoApiDeployment", "DemoApidemoStage", "DemoApiOktaAuthorizerPermission"}
DEMO_OPTIONS = {"DemoUsagePlan", "DemoPlanKey", "DemoUsagePlanKey", "DemoDomain", "DemoDomainMapping"}
ALARMS = {f"{name}Alarm" for name in ("Faults", "NoDecisions", "RefusalRate", "OktaUnreachable", "OldKeys",
                                      "TruncatedPolicies", "Throttles", "Duration")} | {"Dashboard"}
# The parameters of a stack and the resources that it then has.
STACKS = {
    "default": (ISSUER, CORE | DEMO | ATTACHED),
    "bare": (ISSUER | {"WithDemoApi": "false", "AttachedApiId": ""}, CORE),
    "without-demo": (EVERYTHING | {"WithDemoApi": "false", "AlarmTopicArn": ""}, CORE | ATTACHED | ALARMS),
    "everything": (EVERYTHING, CORE | ATTACHED | ALARMS | DEMO | DEMO_OPTIONS),
}
FUNCTION_ARN = {"Fn::GetAtt": ["AuthorizerFunction", "Arn"]}
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
    ("OktaIntrospectionEndpoint", ["", f"{ORG}/oauth2/default/v1/introspect"], ["http://a.example", f"{ORG}/x?y", "https://{a}/b"]),
    ("OktaKeysEndpoint", ["", f"{ORG}/oauth2/v1/keys?client_id=0oa1"], ["http://a.example", "https://<a>/b", "https://u:p@a.example"]),
    ("ApiKeyClaim", ["", "cid"], ["cid,uid", "c id", '"cid"']),
    ("ContextClaims", ["", "email, https://example.com/level"], ["a;b", "a b", "'a'"]),
]


def main():
    os.environ |= {"AWS_DEFAULT_REGION": "eu-west-1", "SAM_CLI_TELEMETRY": "0"}
    OUT.mkdir(parents=True, exist_ok=True)
    for name, (parameters, expected) in STACKS.items():
        stack = Stack(parameters)
        found = {re.sub(r"(?<=Deployment)[0-9a-f]{10}$", "", key) for key in stack.resources}
        check(found == expected, f"{name}: resources {sorted(found ^ expected)}")
        wiring(stack.resources, stack.parameters)
        if "DemoApi" in found:
            demo_api(stack.resources, stack.parameters)
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
    """template.yaml as SAM deploys it, with parameters and conditions resolved."""

    def __init__(self, parameters):
        source = yaml_parse((ROOT / "template.yaml").read_text())
        source["Resources"]["AuthorizerFunction"]["Properties"]["CodeUri"] = "s3://bucket/key"
        defaults = {name: str(parameter.get("Default", "")) for name, parameter in source["Parameters"].items()}
        self.parameters = defaults | parameters
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
        resolved = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item != NOTHING}


def wiring(resources, parameters):
    """The function's variables, who may call it, and whom the alarms notify."""
    function = resources["AuthorizerFunction"]["Properties"]
    variables = function["Environment"]["Variables"]
    layer, topics = parameters["PolicyLayerArn"], list(filter(None, [parameters["AlarmTopicArn"]]))
    check(function.get("Layers", []) == ([layer] if layer else []), "the layer")
    check(variables["POLICY_FILE"] == ("/opt/policy.toml" if layer else ""), "POLICY_FILE")
    arn = "OktaIntrospectionClientSecretArn"
    secret = {"Fn::Sub": f"{{{{resolve:secretsmanager:${{{arn}}}}}}}"} if parameters[arn] else ""
    check(variables["OKTA_INTROSPECTION_CLIENT_SECRET"] == secret, "OKTA_INTROSPECTION_CLIENT_SECRET")
    for name, resource in resources.items():
        properties = resource["Properties"]
        if resource["Type"] == "AWS::Lambda::Permission":
            check(properties["FunctionName"] == FUNCTION_ARN, f"{name}: another function")
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            check(properties["AlarmActions"] == properties["OKActions"] == topics, f"{name}: topic")


def demo_api(resources, parameters):
    api = resources["DemoApi"]["Properties"]
    body = api["Body"]
    api_key = [{"api_key": []}] if parameters["DemoPlanClientId"] else []
    for path, methods in body["paths"].items():
        check("security" not in methods["options"], f"{path}: a preflight has no token")
        for method in methods.keys() - {"options", "parameters"}:
            check(methods[method]["security"] == [*api_key, {"Okta": []}], f"{path}: security")
    check(api["ApiKeySourceType"] == ("AUTHORIZER" if api_key else "HEADER"), "ApiKeySourceType")
    okta = body["securityDefinitions"]["Okta"]
    authorizer = okta["x-amazon-apigateway-authorizer"]
    check(okta["name"] == "Authorization" and authorizer["type"] == "token", "the authorizer")
    [uri, names] = authorizer["authorizerUri"]["Fn::Sub"]
    check("/${__FunctionArn__}/" in uri and names == {"__FunctionArn__": FUNCTION_ARN}, "the authorizer: another function")
    check(str(authorizer["authorizerResultTtlInSeconds"]) == parameters["ReauthorizeEvery"], "ReauthorizeEvery")
    for name, response in body["x-amazon-apigateway-gateway-responses"].items():
        check("gatewayresponse.header.Access-Control-Allow-Origin" in response["responseParameters"], f"{name}: CORS")
        text = response["responseTemplates"]["application/json"].replace("$context.error.messageString", '"x"')
        check({"message", "type"} == set(json.loads(text)), f"{name}: body")
        header = response["responseParameters"].get("gatewayresponse.header.WWW-Authenticate")
        check(header == ("'Bearer'" if name == "UNAUTHORIZED" else None), f"{name}: WWW-Authenticate")

    ranges = parameters["DemoIpRanges"]
    statements = api.get("Policy", {"Statement": []})["Statement"]
    expected = [("Deny", {"NotIpAddress": {"aws:SourceIp": ranges.split(",")}})] if ranges else []
    # An Allow would open the API to requests that the authorizer's policy does not mention.
    check([(each["Effect"], each["Condition"]) for each in statements] == expected, "the resource policy")
    settings = resources["DemoApidemoStage"]["Properties"].get("MethodSettings", [])
    limits = [str(setting["ThrottlingRateLimit"]) for setting in settings]
    check(limits == [rate for rate in [parameters["DemoThrottleRate"]] if rate != "0"], "the limit of the stage")
    truststore = parameters["DemoTruststoreUri"]
    closed = body["x-amazon-apigateway-endpoint-configuration"]["disableExecuteApiEndpoint"]
    check(closed is bool(truststore), "the default endpoint must be closed with mutual TLS, and only then")
    if truststore:
        tls = resources["DemoDomain"]["Properties"].get("MutualTlsAuthentication")
        check(tls == {"TruststoreUri": truststore}, "DemoDomain: mutual TLS")


def metadata():
    """The limits of the Serverless Application Repository, and agreement with Cargo.toml."""
    application = TEMPLATE["Metadata"]["AWS::ServerlessRepo::Application"]
    package = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]
    check(len(application["Description"]) <= 256 and len(application["Labels"]) <= 10, "Description or Labels")
    check(application["SpdxLicenseId"] in package["license"].split(" OR "), "SpdxLicenseId")
    check(application["SemanticVersion"] == package["version"], "SemanticVersion is not the version in Cargo.toml")
    for key in ("LicenseUrl", "ReadmeUrl"):
        check((ROOT / application[key]).is_file(), key)


def patterns():
    for name, accepted, refused in VALUES:
        pattern = TEMPLATE["Parameters"][name]["AllowedPattern"]
        for value in accepted:
            check(re.search(pattern, value), f"{name} refuses {value!r}")
        for value in refused:
            check(not re.search(pattern, value), f"{name} accepts {value!r}")


def validation_expression():
    okta = TEMPLATE["Resources"]["DemoApi"]["Properties"]["Auth"]["Authorizers"]["Okta"]
    expression = okta["Identity"]["ValidationExpression"]
    for token in TOKENS:
        check(re.fullmatch(expression, token), f"ValidationExpression refuses {token[:60]!r}")
    for junk in JUNK:
        check(not re.search(expression, junk), f"ValidationExpression accepts {junk!r}")
    for example in ("sam.yaml", "cloudformation.yaml", "openapi.yaml", "cdk/app.ts", "terraform/main.tf"):
        check(expression in (ROOT / "examples/attach" / example).read_text(), f"{example}: another ValidationExpression")


def examples():
    attach, layer = ROOT / "examples/attach", ROOT / "examples/layer"
    lint(*attach.glob("*.yaml"), layer / "template.yaml")
    run("sam", "build", "--template", layer / "template.yaml", "--build-dir", OUT / "layer")
    built = yaml_parse((OUT / "layer/template.yaml").read_text())["Resources"]["Rules"]["Properties"]["ContentUri"]
    tomllib.loads((OUT / "layer" / built / "policy.toml").read_text())

    if not shutil.which("npm"):
        print("NOT RUN: cdk synth: no npm")
    else:
        cdk = shutil.copytree(attach / "cdk", OUT / "cdk", dirs_exist_ok=True)
        run("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent", cwd=cdk)
        run("npx", "--no-install", "cdk", "synth", "--quiet", "--no-notices", "--no-version-reporting", cwd=cdk)
        lint(cdk / "cdk.out/hello.template.json")
    if not shutil.which("terraform"):
        print("NOT RUN: terraform fmt: no terraform")
    else:
        run("terraform", "fmt", "-check", attach / "terraform")
    print("NOT RUN: terraform validate: CI cannot reach the registry of the AWS provider")


def lint(*paths):
    run("cfn-lint", "--include-checks", "I", "--non-zero-exit-code", "informational", "--", *paths)


def run(*command, **options):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [shutil.which(command[0], path=path), *map(str, command[1:])]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    check(done.returncode == 0, f"{' '.join(command)}\n{done.stdout}")


def check(holds, message):
    if not holds:
        sys.exit(f"error: {message}")


main()
