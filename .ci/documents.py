"""Runs the commands of README.md and docs/ as they are printed, in bash and in zsh, and compares what
they print with the page.

A block of commands starts with ```console. A line after `$ ` is a command, the lines below it are
its output, and `…` is any text. All blocks of a page are one session of an interactive shell. Words
after `console` say otherwise:

    background    the command runs until the end of the page, and first prints the lines below it
    aws, docker, github, cargo-lambda, ci
                  the block needs that, so it is not run here; its commands are printed. `ci` means
                  that another step of .ci/run runs them
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]
NEEDS = {"aws", "docker", "github", "cargo-lambda", "ci"}
SHELLS = {"bash": ["bash", "--norc", "-i"], "zsh": ["zsh", "-f", "-i"]}
MARK = "@@ the next command of the page @@"


def main():
    os.chdir(ROOT)
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--workspace", "--bins", "--examples"], check=True)
    left_out, ran = [], 0
    for page in PAGES:
        blocks = list(blocks_of((ROOT / page).read_text(), page))
        left_out += [f"{page}: {sorted(words & NEEDS)}: {command}" for words, steps in blocks if words & NEEDS
                     for command, _ in steps]
        blocks = [block for block in blocks if not block[0] & NEEDS]
        for shell in SHELLS if blocks else []:
            ran += run_page(page, shell, blocks)
    check(ran >= 10, f"only {ran} commands")
    print("\n".join(["NOT RUN, because the page says what they need:", *left_out]))
    print(f"{ran} commands in {', '.join(SHELLS)} print what their pages say")


def blocks_of(text, page):
    """The words after `console`, and the commands of the block with their output."""
    for words, body in re.findall(r"^ *```console *(.*)\n((?:.*\n)*?) *```$", text, re.M):
        words = set(words.split())
        check(words <= NEEDS | {"background"}, f"{page}: unknown words {words}")
        steps = []
        for line in body.splitlines():
            line = line.strip()
            if line.startswith("$ "):
                steps.append((line[2:], []))
            elif steps and steps[-1][0].endswith("\\") and not steps[-1][1]:
                steps[-1] = (f"{steps[-1][0]}\n{line}", [])
            elif line:
                check(steps, f"{page}: output without a command: {line}")
                steps[-1][1].append(line)
        yield words, steps


def run_page(page, shell, blocks):
    servers, count = [], 0
    steps = []
    try:
        for words, block in blocks:
            if "background" in words:
                [(command, output)] = block
                servers.append(background(command))
                wait_for(page, servers[-1], command, output)
            else:
                steps += block
        script = "".join(f"{command}\nprintf '\\n%s %s\\n' \"$?\" '{MARK}'\n" for command, _ in steps)
        with tempfile.TemporaryFile("w+") as errors:
            done = subprocess.run(SHELLS[shell], input=script, text=True, stdout=subprocess.PIPE, stderr=errors,
                                  env=environment(), timeout=600, start_new_session=True)
            errors.seek(0)
            errors = errors.read()
        printed = done.stdout.split(f"{MARK}\n")
        check(len(printed) == len(steps) + 1, f"{page}: {shell} stopped: {done.stdout}\n{errors}")
        for (command, output), text in zip(steps, printed):
            text, _, status = text.rstrip().rpartition("\n")
            text = "\n".join(line.strip() for line in text.splitlines() if line.strip())
            where = f"{page}, in {shell}: {command}"
            check(status == "0" or output, f"{where}: exit code {status}\n{text}\n{errors}")
            check(not output or pattern(output).fullmatch(text), f"{where}\nprints\n{text}\n{errors}")
            count += 1
    finally:
        for server in servers:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()
    return count


def background(command):
    return subprocess.Popen(["bash", "-c", command], text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                            env=environment(), start_new_session=True)


def wait_for(page, server, command, output):
    """Waits until the server has printed as many lines as the page shows."""
    printed = []
    while len(printed) < len(output):
        line = server.stdout.readline()
        check(line, f"{page}: {command} ended after {printed}")
        printed.append(line.strip())
    check(pattern(output).fullmatch("\n".join(printed)), f"{page}: {command}\nprints\n{printed}")


def pattern(output):
    """`…` is any text in a line. A line of `…` alone is any lines, or none."""
    parts = [r"(?:.*\n)*?" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\n" for line in output]
    text = "".join(parts)
    return re.compile(text.removesuffix(r"\n") + r"\n?" if output[-1] != "…" else text + r"(?:.*\n)*.*")


def environment():
    path = f"{ROOT / 'target/debug'}{os.pathsep}{os.environ['PATH']}"
    return {key: value for key, value in os.environ.items() if not key.startswith(("OKTA_", "POLICY_"))} | {
        "PATH": path, "PS1": "", "PS2": "", "PROMPT": "", "HISTFILE": "", "TERM": "dumb"}


def check(holds, message):
    if not holds:
        sys.exit(f"error: {message}")


main()
