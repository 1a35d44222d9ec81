"""Compares whether the files of the engine's correlation cases are read or refused, by the engine and by pySigma.

    python3 tests/sigma_differential/correlations.py

core/sigma/tests/correlation has files that the engine reads, and in its folder errors such as it refuses; the engine's
own tests see to both. Ends with 1 if pySigma says otherwise of a file that explained.py does not know.
"""

import glob
import os
import sys

import room

room.enter_venv()

import explained  # noqa: E402
from sigma.collection import SigmaCollection  # noqa: E402
from sigma.correlations import SigmaCorrelationRule  # noqa: E402
from sigma.exceptions import SigmaError  # noqa: E402

CASES = os.path.join(room.ROOT, "core", "sigma", "tests", "correlation")


def refusal(path):
    """Why pySigma refuses a file; None if it does not."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    try:
        collection = SigmaCollection.from_yaml(text)
        collection.resolve_rule_references()
        for rule in collection.rules:
            if not isinstance(rule, SigmaCorrelationRule):
                # Read only when somebody asks for it.
                _ = [condition.parsed for condition in rule.detection.parsed_condition]
    except SigmaError as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def main():
    agreed, known, wrong = 0, 0, 0
    for path in sorted(glob.glob(os.path.join(CASES, "**", "*.rules.yml"), recursive=True)):
        name = os.path.relpath(path, CASES).removesuffix(".rules.yml")
        theirs = refusal(path)
        if (theirs is not None) == name.startswith("errors"):
            agreed += 1
            continue
        why = explained.CORRELATIONS.get(name)
        known += why is not None
        wrong += why is None
        print(f"{'explained' if why else 'DIFFERENT'}: {name}: {why or ''}")
        print(f"    they: {theirs or 'read it'}")
    if not agreed:
        sys.exit(f"no cases in {CASES}")
    print(f"correlations: {agreed} agree, {known} differ for a known reason, {wrong} without an explanation")
    sys.exit(1 if wrong else 0)


main()
