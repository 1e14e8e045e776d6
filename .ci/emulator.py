"""Runs the bootstrap in AWS's Runtime Interface Emulator (RIE), which is part of aws-sam-cli.

    python .ci/emulator.py                   every event, then one event 1,000 times
    python .ci/emulator.py sam-local BUNDLE  every event through `sam local invoke` in an unpacked
                                             bundle, for .ci/sam-local.sh

The expected answers come from `cargo run --example invoke`. Use the Python of target/ci-venv. Set
$BOOTSTRAP to run another binary than that of `cargo lambda build`.
"""

import base64
import contextlib
import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import samcli

ROOT = Path(__file__).resolve().parent.parent
BOOTSTRAP = os.environ.get("BOOTSTRAP", str(ROOT / "target/lambda/okta-authorizer/bootstrap"))
ARCHITECTURE = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
RIE = Path(samcli.__file__).parent / f"local/rapid/aws-lambda-rie-{ARCHITECTURE}"
INVOCATIONS = 1000
# Whether lambda_runtime can read the client context. If not, the emulator gives the same event
# again until the process ends, and then starts another one for the next event.
CLIENT_CONTEXTS = {
    '{"custom":{"a":"b"}}': True,
    "{}": True,
    "[]": True,
    '{"custom":{"a":{"b":1}}}': False,
    '{"client":5}': False,
    "null": False,
    "{": False,
    "7": False,
}


def main():
    os.chdir(ROOT)
    expected = expected_answers()
    if sys.argv[1:2] == ["sam-local"]:
        for event, answer in expected.items():
            check_answer(event, sam_local_invoke(event, sys.argv[2]), answer)
        return
    environment = json.loads(Path("events/env.json").read_text())["Parameters"]
    with emulator(environment) as (invoke, pid):
        for event, answer in expected.items():
            check_answer(event, invoke(Path(event).read_bytes()), answer)
        event = Path("events/own-resource.json").read_bytes()
        before = resident_kib(pid)
        for _ in range(INVOCATIONS):
            invoke(event)
        after = resident_kib(pid)
        print(f"{INVOCATIONS} invocations: resident memory {before} KiB before, {after} KiB after")
        check(after <= before * 1.1, "resident memory grew by more than 10 %")
        check_client_contexts(invoke, pid, event, expected["events/own-resource.json"])


def expected_answers():
    """Status and JSON for each event."""
    command = ["cargo", "run", "--quiet", "--locked", "--example", "invoke"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    answers = {}
    *blocks, _table = output.strip().split("\n\n")
    for block in blocks:
        heading, answer = block.split("\n", 1)
        event, status = re.match(r"(events/[^:]+): (\d+), ", heading).groups()
        answers[event] = (int(status), json.loads(answer))
    events = {str(file) for file in Path("events").glob("*.json")} - {"events/env.json"}
    check(events and set(answers) == events, f"`invoke` does not print {events - set(answers)}")
    return answers


def check_answer(event, answer, expected):
    status, body = expected
    expected = body if status == 401 else {"policyDocument": body}
    check(status in (200, 401, 403), f"{event}: a sample event causes the fault {body}")
    check({key: answer.get(key) for key in expected} == expected, f"{event}: expected {expected}, got {answer}")
    check(("errorMessage" in answer) != ("policyDocument" in answer), f"{event}: both a policy and an error")
    print(f"{event}: {status}", flush=True)


def check_client_contexts(invoke, pid, event, expected):
    for context, readable in CLIENT_CONTEXTS.items():
        process = bootstrap_of(pid)
        answer = invoke(event, context)
        if readable:
            check_answer(f"client context {context}", answer, expected)
        else:
            print(f"client context {context}: {answer}")
            check(answer.get("errorType") == "Runtime.ExitError", "the call does not fail with the process")
        check_answer(f"the event after client context {context}", invoke(event), expected)
        check((bootstrap_of(pid) == process) == readable, "the process ends if the context is unreadable, only then")


def sam_local_invoke(event, bundle):
    command = ["sam", "local", "invoke", "AuthorizerFunction", "--env-vars", "events/env.json", "-e", event]
    command += ["--skip-pull-image"]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True, timeout=120)
    lines = done.stdout.strip().splitlines()
    # The exit code is 0 even if the function fails, so only the body counts.
    check(done.returncode == 0 and lines, f"{event}: sam local invoke: {done.returncode}\n{done.stderr}")
    return json.loads(lines[-1])


@contextlib.contextmanager
def emulator(environment, bootstrap=BOOTSTRAP):
    """Yields a function that invokes the bootstrap, and the process id of the RIE."""
    address, runtime_api = free_address(), free_address()
    command = [RIE, "--runtime-interface-emulator-address", address, "--runtime-api-address", runtime_api, bootstrap]
    variables = {"PATH": os.environ["PATH"], "AWS_REGION": "us-east-1", "AWS_LAMBDA_FUNCTION_NAME": "okta-authorizer",
                 "LAMBDA_TASK_ROOT": str(Path(bootstrap).parent)}

    def invoke(event, client_context=None):
        request = urllib.request.Request(f"http://{address}/2015-03-31/functions/function/invocations", event)
        if client_context is not None:
            request.add_header("X-Amz-Client-Context", base64.b64encode(client_context.encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:  # 502 if the process ends
            return json.load(error)

    with running(command, address, env=variables | environment) as pid:
        yield invoke, pid


@contextlib.contextmanager
def running(command, address, **options):
    """Starts a server, waits until it listens, and stops it with its children at the end."""
    log = ROOT / f"target/{Path(command[0]).name}.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, **options)
    try:
        deadline = time.monotonic() + 10
        while not listens(address):
            check(process.poll() is None and time.monotonic() < deadline, f"{command[0]} does not start")
            time.sleep(0.05)
        yield process.pid
    except BaseException:
        print(f"see {log}", file=sys.stderr)
        raise
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def listens(address):
    host, port = address.split(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
        return True
    return False


def free_address():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


def bootstrap_of(pid):
    """The process id of the bootstrap, which is a child of the RIE."""
    [child] = {child for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()}
    return child


def resident_kib(pid):
    status = Path(f"/proc/{bootstrap_of(pid)}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])


def check(holds, message):
    if not holds:
        sys.exit(f"error: {message}")


if __name__ == "__main__":
    main()
