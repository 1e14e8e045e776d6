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
API_KEY = {"Fn::If": ["HasUsagePlan", {"api_key": []}, {"Ref": "AWS::NoValue"}]}
# Without the demo API, the alarms and the permission for another API.
CORE = {"AuthorizerFunction", "AuthorizerRole", "KeysTable", "AuthorizerLogGroup"}

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln-_"
TOKENS = [f"Bearer {JWT}", f"bearer {JWT}", f"BEARER     {JWT}", JWT, "a.b.c", "Bearer " + ".".join(["a" * 3000] * 3)]
JUNK = ["", "Bearer", "Bearer ", "Bearer a", "a.b", "a.b.c.d", ".b.c", "a..c", "a.b.", f"Basic {JWT}", f" {JWT}", f"{JWT} ",
        f"Bearer\t{JWT}", f"Bearer Bearer {JWT}", f"Bearer {JWT} x", f"x Bearer {JWT}", f"Bearer {JWT}=", "a.b+.c", "a.b/.c", "a.é.c"]


def main():
    os.environ |= {"AWS_DEFAULT_REGION": "eu-west-1", "SAM_CLI_TELEMETRY": "0"}
    OUT.mkdir(parents=True, exist_ok=True)
    resources = translated()["Resources"]
    core = {name for name, resource in resources.items() if "Condition" not in resource}
    check(core == CORE, f"resources without a condition: {core ^ CORE}")
    demo_api(resources["DemoApi"]["Properties"])
    metadata()
    validation_expression()
    examples()
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        for action in re.findall(r"uses: (\S+)", path.read_text()):
            check(re.search(r"@[0-9a-f]{40}$", action), f"{path.name}: {action} is not pinned by its commit")
    print("all templates passed")


def translated():
    """template.yaml as SAM deploys it."""
    source = yaml_parse((ROOT / "template.yaml").read_text())
    source["Resources"]["AuthorizerFunction"]["Properties"]["CodeUri"] = "s3://bucket/key"
    defaults = {name: parameter.get("Default", "") for name, parameter in source["Parameters"].items()}
    return transform(source, defaults, type("NoManagedPolicies", (), {"load": lambda self: {}})())


def demo_api(api):
    body = api["Body"]
    for path, methods in body["paths"].items():
        check("security" not in methods["options"], f"{path}: a preflight has no token")
        for method in methods.keys() - {"options", "parameters"}:
            check(methods[method]["security"] == [API_KEY, {"Okta": []}], f"{path}: security")
    okta = body["securityDefinitions"]["Okta"]
    check(okta["name"] == "Authorization" and okta["x-amazon-apigateway-authorizer"]["type"] == "token", "the authorizer")
    for name, response in body["x-amazon-apigateway-gateway-responses"].items():
        check("gatewayresponse.header.Access-Control-Allow-Origin" in response["responseParameters"], f"{name}: CORS")
        text = response["responseTemplates"]["application/json"].replace("$context.error.messageString", '"x"')
        check({"message", "type"} == set(json.loads(text)), f"{name}: body")
    [_, policy, _] = api["Policy"]["Fn::If"]
    check({statement["Effect"] for statement in policy["Statement"]} == {"Deny"}, "the resource policy allows something")


def metadata():
    """The limits of the Serverless Application Repository, and agreement with Cargo.toml."""
    application = TEMPLATE["Metadata"]["AWS::ServerlessRepo::Application"]
    package = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]
    check(len(application["Description"]) <= 256 and len(application["Labels"]) <= 10, "Description or Labels")
    check(application["SpdxLicenseId"] in package["license"].split(" OR "), "SpdxLicenseId")
    check(application["SemanticVersion"] == package["version"], "SemanticVersion is not the version in Cargo.toml")
    for key in ("LicenseUrl", "ReadmeUrl"):
        check((ROOT / application[key]).is_file(), key)


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
