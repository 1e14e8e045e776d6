"""Tries the bundle of this machine's architecture as a user does who has no Rust and no compiler.

    python .ci/try_bundle.py FOLDER    unpacks it to FOLDER, which then has `packaged`, the function, too

Use the Python of target/ci-venv. It needs busybox, and root or sudo for chroot. `.ci/release` makes
the bundle. No file of the repository is used but to compare results.
"""

import contextlib
import http.server
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import zipfile
from pathlib import Path

import check_templates
from emulator import ARCHITECTURE, ROOT, check, emulator
from samcli.yamlhelper import yaml_parse

RELEASE = ROOT / "target/release-bundle"
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
NAME = f"okta-authorizer-{VERSION}-{ARCHITECTURE}"
ISSUER = "https://example.okta.com/oauth2/default"
RULES = "[[allow]]\nroutes = ['GET /only/this']\n"


def main():
    os.environ["AWS_DEFAULT_REGION"] = "eu-west-1"  # for SAM's transform
    folder = Path(sys.argv[1]).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    bundle = folder / NAME
    with tempfile.TemporaryDirectory() as temporary:
        tools = Path(temporary, "tools")
        tools.mkdir()
        (tools / "sam").symlink_to(Path(sys.executable).parent / "sam")
        environment = {
            "PATH": str(tools), "HOME": temporary, "LANG": "C.UTF-8", "SAM_CLI_TELEMETRY": "0",
            "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "eu-west-1",
        }
        without_anything_else(Path(temporary, "root"))
        start = time.monotonic()
        subprocess.run(["tar", "-xzf", RELEASE / f"{NAME}.tar.gz"], cwd=folder, check=True)
        for downloaded in (RELEASE, folder):
            sums = ["sha256sum", "--check", "--quiet", "--ignore-missing", RELEASE / "SHA256SUMS"]
            subprocess.run(sums, cwd=downloaded, check=True)
        questions = guided(bundle, environment)
        print(f"from unpacking to the last answer of `sam deploy --guided`: {time.monotonic() - start:.1f} s")
        for number, question in enumerate(questions, 1):
            print(f"{number:3} {question}")
        run("sam", "validate", "--lint", cwd=bundle, env=environment)
        package(bundle, environment, folder)
    same_resources(folder / "packaged.yaml")
    changed_rules(bundle, folder / "changed")
    print("the bundle passed")


def without_anything_else(root):
    """Check and test in a root folder with nothing but busybox, as README.md says."""
    (root / "bin").mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), root / "bin")
    for command in ("sh", "tar", "gunzip", "ls"):
        (root / "bin" / command).symlink_to("busybox")
    shutil.copy(RELEASE / f"{NAME}.tar.gz", root)
    script = f"set -ex; tar -xzf {NAME}.tar.gz; cd {NAME}; ls -l . function; "
    script += "./okta-policy check --strict; ./okta-policy test --strict"
    chroot = ["chroot", root, "/bin/sh", "-c", script]
    command = chroot if os.getuid() == 0 else ["sudo", *chroot]
    subprocess.run(command, env={"PATH": "/bin:/usr/bin:/usr/sbin"}, check=True)


def guided(bundle, environment):
    """The questions of `sam deploy --guided`. After the last one, SAM calls AWS, which fails here."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(bundle)
        # A closed port in place of AWS.
        closed = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1", "TERM": "dumb"}
        os.execvpe("sam", ["sam", "deploy", "--guided"], environment | closed)
    questions, line = [], ""
    # Reading fails when the process has ended.
    with contextlib.suppress(OSError):
        while text := os.read(terminal, 4096).decode():
            line = (line + text).replace("\r", "").split("\n")[-1]
            if re.search(r"(\]:|\]|:) $", line) and line.startswith("\t"):
                question = re.sub(r"\x1b\[[0-9;]*m", "", line).strip()
                questions.append(question)
                os.write(terminal, (f"{ISSUER}\n" if "Parameter OktaIssuer" in question else "\n").encode())
                line = ""
    os.waitpid(process, 0)
    os.close(terminal)
    parameters = yaml_parse((bundle / "template.yaml").read_text())["Parameters"]
    asked = {question.split()[1] for question in questions if question.startswith("Parameter ")}
    check(asked == parameters.keys(), f"sam deploy --guided asks for {asked}")
    check(questions[-1].startswith("SAM configuration environment"), f"sam deploy --guided stops after {questions}")
    return questions


def package(bundle, environment, folder):
    """`sam package` to a stand-in for S3. The function is then in `folder/packaged`."""
    with storage() as (url, objects):
        local = {"AWS_ENDPOINT_URL_S3": url, "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required"}
        run("sam", "package", "--s3-bucket", "bucket", "--output-template-file", folder / "packaged.yaml",
            cwd=bundle, env=environment | local)
    packaged = yaml_parse((folder / "packaged.yaml").read_text())
    key = packaged["Resources"]["AuthorizerFunction"]["Properties"]["CodeUri"].removeprefix("s3://bucket/")
    (folder / "packaged.zip").write_bytes(objects[key])
    with zipfile.ZipFile(folder / "packaged.zip") as archive:
        modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in archive.infolist()}
        check(modes.keys() == {"bootstrap", "policy.toml"}, f"the zip has {modes}")
        check(modes["bootstrap"] == 0o755 and modes["policy.toml"] & 0o444 == 0o444, f"the modes are {modes}")
        for name in modes:
            check(archive.read(name) == (bundle / "function" / name).read_bytes(), f"the zip has another {name}")
        archive.extractall(folder / "packaged")
    (folder / "packaged/bootstrap").chmod(0o755)
    with zipfile.ZipFile(RELEASE / f"{NAME}.zip") as plain:
        check({entry.filename: entry.external_attr >> 16 & 0o777 for entry in plain.infolist()}
              == {"bootstrap": 0o755, "policy.toml": 0o644}, "the plain zip has other files or modes")


@contextlib.contextmanager
def storage():
    """A stand-in for S3. Yields its URL, and what was put there."""
    objects = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self.answer(200 if self.key() in objects else 404)

        def do_PUT(self):
            objects[self.key()] = self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(200)

        def key(self):
            return self.path.removeprefix("/bucket/")

        def answer(self, status):
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", objects
    server.shutdown()


def same_resources(packaged):
    """The bundle's stack is that of template.yaml, for any parameters."""
    for path, parameters, _ in check_templates.STACKS:
        if path == "template.yaml":
            theirs = check_templates.Stack(packaged, parameters).resources
            ours = check_templates.Stack(path, parameters | {"Architecture": ARCHITECTURE}).resources
            for resource in (*theirs.values(), *ours.values()):
                resource.pop("Metadata", None)  # how SAM builds it, and its name
            check(theirs == ours, f"{parameters}: other resources than those of template.yaml")
            print(f"the same {len(ours)} resources as those of template.yaml")


def changed_rules(bundle, changed):
    """The answer is that of the rules in the folder of the bootstrap."""
    shutil.copytree(bundle / "function", changed)
    (changed / "policy.toml").write_text(RULES)
    variables = json.loads((bundle / "events/env.json").read_text())["Parameters"]
    event = (bundle / "events/own-resource.json").read_bytes()
    answers = []
    for function in (bundle / "function", changed):
        with emulator(variables, str(function / "bootstrap")) as (invoke, _):
            answers.append(json.dumps(invoke(event)["policyDocument"]))
    changed = ["/GET/only/this" in answer for answer in answers]
    check(changed == [False, True], f"other rules have no effect: {answers}")


def run(*command, env, **options):
    command = [shutil.which(command[0], path=env["PATH"]), *map(str, command[1:])]
    done = subprocess.run(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    check(done.returncode == 0, f"{' '.join(command)}\n{done.stdout}")
    print(f"$ {Path(command[0]).name} {' '.join(command[1:])}")


main()
