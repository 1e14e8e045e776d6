"""Runs the bootstrap with tokens of a certified OAuth server (npm's oidc-provider) in Okta's shape.

    python .ci/oauth.py                         without a table
    .ci/dynamodb-local.sh python .ci/oauth.py   with DynamoDB Local as the shared table

Use the Python of target/ci-venv. Needs Node.js 20 or newer and npm.
"""

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.request

import boto3

from emulator import ROOT, check, emulator, free_address, running

HOME = ROOT / "target/oidc"
ARN = "arn:aws:execute-api:us-east-1:123456789012:abcdef1234/prod/"
RULES = """
[[allow]]
when   = { scopes = "api:read", uid = "{uid}" }
routes = ["GET /users/{uid}/balance"]

[[allow]]
when   = { tenants = "{id}:{name}:{users_group}" }
routes = ["PUT /tenants/{name}/admins"]

[[allow]]
when   = { scopes = "premium_api/read" }
routes = ["GET /home/premium"]
"""
BALANCE, ADMINS, PREMIUM = "GET/users/00ualice/balance", "PUT/tenants/acme/admins", "GET/home/premium"


def main():
    shutil.copytree(ROOT / ".ci/oidc", HOME, dirs_exist_ok=True)
    npm = ["npm", "install", "--silent", "--engine-strict", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
    subprocess.run(npm, cwd=HOME, check=True)
    (HOME / "policy.toml").write_text(RULES)
    address = free_address()
    issuer = f"http://{address}"
    with running(["node", HOME / "server.mjs", address], address):
        environment = {"OKTA_ISSUER": issuer, "POLICY_FILE": str(HOME / "policy.toml")}
        table = shared_table()
        with emulator(environment | table) as (invoke, _):
            check_rotation(issuer, invoke)
        if table:
            with emulator(environment | table) as (invoke, _):
                expect(invoke, token(issuer, "0oaservice"), PREMIUM, "Allow", "second instance, keys from the table")
            check_fetches(issuer, 2)


def check_rotation(issuer, invoke):
    user, service = token(issuer, "0oaalice"), token(issuer, "0oaservice")
    first_fetch = time.monotonic()
    expect(invoke, user, BALANCE, "Allow", "own balance")
    expect(invoke, user, BALANCE.replace("alice", "bob"), "Deny", "balance of another user")
    expect(invoke, user, ADMINS, "Allow", "administrator of the tenant")
    expect(invoke, service, PREMIUM, "Allow", "scope of the client")
    expect(invoke, service, PREMIUM.replace("GET", "POST"), "Deny", "write without the scope")
    check_fetches(issuer, 1)

    urllib.request.urlopen(f"{issuer}/rotate", b"", timeout=10)
    rotated = token(issuer, "0oaalice")
    # For an unknown kid the authorizer requests keys at most every 30 s, because forged tokens must
    # not cause load.
    while effect(invoke, rotated, BALANCE) == "Unauthorized":
        check(time.monotonic() - first_fetch < 45, "the new key is not accepted after 45 s")
        check(effect(invoke, user, BALANCE) == "Allow", "the old key is refused")
        time.sleep(1)
    expect(invoke, rotated, BALANCE, "Allow", f"new key, {time.monotonic() - first_fetch:.0f} s after the first request for keys")
    expect(invoke, user, BALANCE, "Allow", "old key, which is still published")
    check_fetches(issuer, 2)


def expect(invoke, bearer, request, expected, what):
    got = effect(invoke, bearer, request)
    check(got == expected, f"{what}: {request}: expected {expected}, got {got}")
    print(f"{what}: {request}: {got}", flush=True)


def effect(invoke, bearer, request):
    """The effect of the statement that names the request, or the error. RULES have no wildcards."""
    event = {"type": "TOKEN", "authorizationToken": f"Bearer {bearer}", "methodArn": ARN + request}
    answer = invoke(json.dumps(event).encode())
    if "errorMessage" in answer:
        return answer["errorMessage"]
    statements = answer["policyDocument"]["Statement"]
    return " and ".join({statement["Effect"] for statement in statements if ARN + request in statement["Resource"]})


def token(issuer, client):
    request = urllib.request.Request(f"{issuer}/v1/token", b"grant_type=client_credentials")
    request.add_header("Authorization", "Basic " + base64.b64encode(f"{client}:secret".encode()).decode())
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)["access_token"]


def check_fetches(issuer, expected):
    fetches = int(urllib.request.urlopen(f"{issuer}/fetches", timeout=10).read())
    check(fetches == expected, f"{fetches} requests for the keys, expected {expected}")


def shared_table():
    """The variables for a new table in the DynamoDB at $DYNAMODB_ENDPOINT, if that is set."""
    if not (endpoint := os.environ.get("DYNAMODB_ENDPOINT")):
        return {}
    credentials = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    os.environ |= credentials
    boto3.client("dynamodb", endpoint_url=endpoint, region_name="us-east-1").create_table(
        TableName="keys",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "PK", "AttributeType": "S"}],
    )
    return credentials | {"AWS_ENDPOINT_URL_DYNAMODB": endpoint, "KEYS_TABLE_NAME": "keys"}


main()
