"""Compares which fields correlations look at once pipelines have been applied, by the engine and by pySigma.

    python3 tests/sigma_differential/pipelines.py

core/sigma/tests/pipeline_correlations has pipelines, rules, and what the engine makes of their correlations; its own
tests see to that. Ends with 1 if pySigma says otherwise of a case that explained.py does not know.
"""

import glob
import os
import sys

import room

room.enter_venv()

import explained  # noqa: E402
from sigma.collection import SigmaCollection  # noqa: E402
from sigma.correlations import SigmaCorrelationRule  # noqa: E402
from sigma.processing.pipeline import ProcessingPipeline  # noqa: E402

CASES = os.path.join(room.ROOT, "core", "sigma", "tests", "pipeline_correlations")


def text(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def fields(base):
    """The fields of each correlation as the .expected files spell them."""
    collection = SigmaCollection.from_yaml(text(base + ".rules.yml"))
    collection.resolve_rule_references()
    pipeline = ProcessingPipeline.from_yaml(text(base + ".pipeline.yml"))
    for rule in collection.rules:
        pipeline.apply(rule)
    lines = []
    for rule in collection.rules:
        if not isinstance(rule, SigmaCorrelationRule):
            continue
        parts = [f"group-by {', '.join(rule.group_by)}"] if rule.group_by else []
        field = getattr(rule.condition, "fieldref", None)
        parts += [f"field {field}"] if field else []
        for alias in rule.aliases:
            parts += [f"{alias.alias} is {name} of {ref.reference}" for ref, name in alias.mapping.items()]
        lines.append(f"{rule.title}: {'; '.join(parts)}\n")
    return "".join(lines)


def main():
    tally = explained.Tally(explained.PIPELINES)
    for path in sorted(glob.glob(os.path.join(CASES, "*.pipeline.yml"))):
        base = path.removesuffix(".pipeline.yml")
        name = os.path.basename(base)
        ours, theirs = text(base + ".expected"), fields(base)
        if ours == theirs:
            tally.agree()
            continue
        tally.differ(name)
        print(f"    we:   {ours}    they: {theirs}", end="")
    tally.tell("pipelines")
    sys.exit(1 if tally.wrong else 0)


main()
