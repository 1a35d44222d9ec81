"""Runs the engine's golden cases (core/sigma/tests/golden) through the evaluator of what pySigma reads.

    python3 tests/sigma_differential/cases.py

Each case is one construct of the specification, with the outcome for each event. Ends with 1 if the evaluator, or
pySigma's reading, says otherwise in a case that explained.py does not know.
"""

import glob
import json
import os
import sys

import room

room.enter_venv()

import evaluator  # noqa: E402
import explained  # noqa: E402
from sigma.collection import SigmaCollection  # noqa: E402
from sigma.correlations import SigmaCorrelationRule  # noqa: E402
from sigma.exceptions import SigmaError  # noqa: E402
from sigma.processing.pipeline import ProcessingItem, ProcessingPipeline  # noqa: E402
from sigma.processing.transformations import ValueListPlaceholderTransformation  # noqa: E402
import yaml  # noqa: E402

GOLDEN = os.path.join(room.ROOT, "core", "sigma", "tests", "golden")


def sees(rule, source):
    """Each term that the rule gives is the event's."""
    own = rule.logsource
    return all(term in (None, "", source.get(name, "")) for name, term in
               (("product", own.product), ("category", own.category), ("service", own.service)))


def outcomes(text, events, placeholders):
    """What the evaluator says of each event, spelled as the golden files spell it."""
    rules = [r for r in SigmaCollection.from_yaml(text).rules if not isinstance(r, SigmaCorrelationRule)]
    if placeholders:
        item = ProcessingItem(ValueListPlaceholderTransformation())
        for rule in rules:
            ProcessingPipeline(items=[item], vars=placeholders).apply(rule)
    compiled = [(rule, evaluator.compile_rule(rule)) for rule in rules]
    first = rules[0].logsource
    default = {"product": first.product or "", "category": first.category or "", "service": first.service or ""}
    for event in events:
        source = event.pop("_logsource", default)
        subject = evaluator.Event(event)
        titles = [rule.title for rule, matches in compiled if sees(rule, source) and matches(subject)]
        yield "no match" if not titles else "match" if len(rules) == 1 else "match: " + ", ".join(titles)


def main():
    tally = explained.Tally(explained.CASES)
    for path in sorted(glob.glob(os.path.join(GOLDEN, "*.rule.yml"))):
        base = path.removesuffix(".rule.yml")
        name = os.path.basename(base)
        read = lambda ending: open(base + ending, encoding="utf-8").read()  # noqa: E731
        expected = read(".expected").splitlines()
        try:
            events = [json.loads(line) for line in read(".events.jsonl").splitlines()]
            values = base + ".placeholders.yml"
            placeholders = yaml.safe_load(read(".placeholders.yml")) if os.path.exists(values) else {}
            found = list(outcomes(read(".rule.yml"), events, placeholders))
        except (SigmaError, evaluator.NotCovered) as error:
            found = [f"refused: {type(error).__name__}: {error}".splitlines()[0]]
        if found == expected:
            tally.agree()
            continue
        tally.differ(name)
        if found[0].startswith("refused"):
            print(f"    they: {found[0]}")
            continue
        lines = read(".events.jsonl").splitlines()
        for line, ours, theirs in zip(lines, expected, found):
            if ours != theirs:
                print(f"    we: {ours}, they: {theirs}: {line}")
    tally.tell("golden cases")
    sys.exit(1 if tally.wrong else 0)


main()
