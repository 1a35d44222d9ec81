"""Where things are, and how they are started."""

import json
import os
import subprocess
import sys
import venv

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SHARED = os.path.join(os.path.dirname(ROOT), "shared", "data")
VENV = os.path.join(ROOT, "target", "venv-sigma")


def enter_venv():
    """Goes on in an environment that holds what requirements.txt names; made when it is missing or out of date."""
    if os.path.abspath(sys.prefix) == os.path.abspath(VENV):
        return
    wanted = open(os.path.join(HERE, "requirements.txt"), encoding="utf-8").read()
    stamp = os.path.join(VENV, "installed.txt")
    python = os.path.join(VENV, "bin", "python")
    if not os.path.exists(stamp) or open(stamp, encoding="utf-8").read() != wanted:
        print("installing pySigma and EVTX parsers into target/venv-sigma")
        venv.create(VENV, with_pip=True, clear=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", os.path.join(HERE, "requirements.txt")], check=True)
        with open(stamp, "w", encoding="utf-8") as f:
            f.write(wanted)
    os.execv(python, [python, *sys.argv])


def example(crate, name, arguments, stdin=None):
    """Runs an example of a crate, built as the tests are; its standard output."""
    build = ["cargo", "build", "--quiet", "-p", crate, "--example", name]
    subprocess.run(build, cwd=ROOT, check=True)
    program = os.path.join(ROOT, "target", "debug", "examples", name)
    return subprocess.run([program, *arguments], input=stdin, stdout=subprocess.PIPE, check=True).stdout


def our_matches(rules, events):
    """Keys of the rules that we load, why we refused files, and for each event the keys of the rules that match."""
    lines = "".join(json.dumps(e) + "\n" for e in events)
    head, *rest = example("wardline-sigma", "match_lines", [rules], lines.encode()).splitlines()
    head = json.loads(head)
    keys = head["rules"]
    return set(keys), head["refused"], [{keys[i] for i in json.loads(line)} for line in rest]
