"""Compares the metric lines that tests/wire/metrics.rs prints with two sources:

- the JSON schema of CloudWatch's embedded metric format, from an old release of AWS's package,
  because newer releases do not contain it;
- the alarms and the dashboard of examples/alarms, which must use metrics and dimensions that exist.

Use the Python of target/ci-venv, with cfn-lint (for jsonschema) and aws-sam-cli.
"""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import jsonschema
from samcli.yamlhelper import yaml_parse

PACKAGE = "aws-lambda-powertools==1.10.0"
SCHEMA = "aws_lambda_powertools/metrics/schema.json"
NAMESPACE = "okta-authorizer"
ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "target" / "emf"


def main():
    test = ["cargo", "test", "--locked", "--quiet", "--test", "wire", "--", "metrics::", "--nocapture"]
    printed = subprocess.run(test, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
    lines = [json.loads(line[line.index("{"):]) for line in printed.splitlines() if '"_aws"' in line]
    check(len(lines) >= 10, f"only {len(lines)} metric lines")
    validator = jsonschema.Draft7Validator(schema())
    broken = dict(lines[0], _aws=dict(lines[0]["_aws"], Timestamp="now"))
    check(not validator.is_valid(broken), "the schema accepts a broken line")
    for line in lines:
        validator.validate(line)

    directives = [directive for line in lines for directive in line["_aws"]["CloudWatchMetrics"]]
    emitted = {
        (metric["Name"], frozenset(dimensions))
        for directive in directives for metric in directive["Metrics"] for dimensions in directive["Dimensions"]
    }
    used = used_by_template()
    check(used <= emitted, f"examples/alarms uses metrics that are not emitted: {used - emitted}")
    unused = {name for name, _ in emitted} - {name for name, _ in used}
    check(not unused, f"neither an alarm nor the dashboard uses {unused}")
    print(f"{len(lines)} metric lines follow the schema; examples/alarms uses {len(used)} of {len(emitted)} series")


def schema():
    download = ["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", FOLDER, PACKAGE]
    subprocess.run([sys.executable, "-m", "pip", *download], check=True)
    [wheel] = FOLDER.glob("*.whl")
    return json.loads(zipfile.ZipFile(wheel).read(SCHEMA))


def used_by_template():
    """The name and the dimensions of each metric that an alarm or the dashboard reads."""
    used = set()
    resources = yaml_parse((ROOT / "examples/alarms/template.yaml").read_text())["Resources"]
    for resource in resources.values():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            alarm = resource["Properties"]
            metrics = [query["MetricStat"]["Metric"] for query in alarm.get("Metrics", []) if "MetricStat" in query]
            for metric in metrics or [alarm]:
                if metric["Namespace"] == NAMESPACE:
                    used.add((metric["MetricName"], frozenset(dimension["Name"] for dimension in metric["Dimensions"])))
    body = resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"][0]
    for widget in json.loads(re.sub(r"\$\{[\w:]+\}", "1", body))["widgets"]:
        for metric in widget["properties"].get("metrics", []):
            if metric[0] == NAMESPACE:
                used.add((metric[1], frozenset(metric[2::2])))
            elif isinstance(metric[0], dict):
                dimensions, name = re.search(r'\{"okta-authorizer",([\w,]+)\} MetricName="(\w+)"', metric[0]["expression"]).groups()
                used.add((name, frozenset(dimensions.split(","))))
    return used


def check(holds, message):
    if not holds:
        sys.exit(f"error: {message}")


main()
