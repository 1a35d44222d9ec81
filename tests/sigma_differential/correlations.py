"""Compares correlations as the engine has them with pySigma's reading and a plain evaluation of it.

    python3 tests/sigma_differential/correlations.py [--full] [--seed N]

First, whether a file is read or refused: core/sigma/tests/correlation has files that the engine reads, and in its
folder errors such as it refuses; the engine's own tests see to both. Then what comes out: those files and made ones
(streams.py) over streams of events, in order, slightly out of order, and partly too late, against correlator.py.
What is compared is each finding: when, which correlation, the group, the count or metric, and the events.

Ends with 1 if there is a difference that explained.py does not know.
"""

import argparse
import collections
import glob
import json
import multiprocessing
import os
import sys
import time

import room

room.enter_venv()

import correlator  # noqa: E402
import explained  # noqa: E402
import streams  # noqa: E402
from sigma.collection import SigmaCollection  # noqa: E402
from sigma.correlations import SigmaCorrelationRule, SigmaExtendedCorrelationCondition  # noqa: E402
from sigma.exceptions import SigmaError  # noqa: E402

CASES = os.path.join(room.ROOT, "core", "sigma", "tests", "correlation")
# Seconds that an event may be late by.
LATENESS = 5
SHOWN = 10
EVERY_TYPE = {
    *("event_count", "value_count", "value_sum", "value_avg", "value_median", "value_percentile"),
    *("temporal", "temporal_ordered", "temporal with expression", "temporal_ordered with expression"),
}


def read(text):
    """The collection, its rules in the order of the text, or why pySigma refuses it."""
    try:
        collection = SigmaCollection.from_yaml(text)
        rules = list(collection.rules)
        collection.resolve_rule_references()
        collection.rules = rules
        for rule in rules:
            if not isinstance(rule, SigmaCorrelationRule):
                # Read only when somebody asks for it.
                _ = [condition.parsed for condition in rule.detection.parsed_condition]
    except SigmaError as error:
        return None, f"{type(error).__name__}: {error}".splitlines()[0]
    return collection, None


def whole(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def readings():
    """Compares who reads which of the cases; the number of differences without an explanation."""
    tally = explained.Tally(explained.CORRELATIONS)
    for path in sorted(glob.glob(os.path.join(CASES, "**", "*.rules.yml"), recursive=True)):
        name = os.path.relpath(path, CASES).removesuffix(".rules.yml")
        _, theirs = read(whole(path))
        if (theirs is not None) == name.startswith("errors"):
            tally.agree()
            continue
        tally.differ(name)
        print(f"    they: {theirs or 'read it'}")
    tally.tell("files")
    return tally.wrong


def recorded(path):
    """The events of a case as (milliseconds, fields)."""
    lines = whole(path.replace(".rules.yml", ".events.jsonl")).splitlines()
    events = [json.loads(line) for line in lines]
    return [(round(event.pop("_time") * 1000), event) for event in events]


def works(first, made):
    """(name, rules, streams): every case that both read, and made ones."""
    for path in sorted(glob.glob(os.path.join(CASES, "*.rules.yml"))):
        name = os.path.basename(path).removesuffix(".rules.yml")
        events = recorded(path)
        if read(whole(path))[0] is not None:
            yield name, whole(path), [events] + [streams.changed(events, f"{name} {first + n}") for n in range(4)]
    for seed in range(first, first + made):
        yield f"seed {seed}", streams.rules(seed), [streams.made(f"{seed} {n}") for n in range(3)]


def arrangements(events, seed):
    """A stream in order, and as it may arrive."""
    ordered = sorted(events, key=lambda e: e[0])
    yield {"wait": False, "lateness": 0, "events": ordered}
    # As late as is allowed, so that the order of arrival makes no difference ...
    yield {"wait": True, "lateness": LATENESS, "events": streams.mixed(events, LATENESS * 1000, seed)}
    # ... and later, so that some are left out.
    yield {"wait": True, "lateness": 1, "events": streams.mixed(events, LATENESS * 1000, f"{seed} late")}
    yield {"wait": False, "lateness": LATENESS, "events": streams.mixed(events, LATENESS * 2000, f"{seed} at once")}


def as_taken(stream, is_of_interest):
    """The events in the order in which they count, at the times at which they do, with their places; how many are late."""
    newest, taken, late = -1 << 62, [], 0
    for place, (at, fields) in enumerate(stream["events"]):
        if not is_of_interest(fields):
            continue
        if at < newest - stream["lateness"] * 1000:
            late += 1
            continue
        newest = max(newest, at)
        taken.append((at if stream["wait"] else newest, place, fields))
    return sorted(taken, key=lambda e: e[:2]), late


def theirs(collection, stream):
    taken, late = as_taken(stream, correlator.of_interest(collection))
    found = correlator.findings(collection, [(at, fields) for at, _, fields in taken])
    place = [p for _, p, _ in taken]
    events = lambda f: None if f.events is None else tuple(dict.fromkeys(place[n] for n in f.events))  # noqa: E731
    return collections.Counter(f._replace(value=rounded(f.value), events=events(f)) for f in found), late


def ours(stream, like):
    """The engine's findings, without what the evaluation does not say of them."""
    says = {}
    for finding in like:
        says.setdefault(finding.title, (finding.value is not None, finding.events is not None))
    found = collections.Counter()
    for at, title, group, value, events in stream["found"]:
        value_said, events_said = says.get(title, (True, True))
        found[correlator.Finding(at, title, tuple(group), rounded(value) if value_said else None,
                                 tuple(events) if events_said else None)] += 1
    return found, stream["late"]


def type_of(correlation):
    extended = isinstance(correlation.condition, SigmaExtendedCorrelationCondition)
    return correlation.type.name.lower().removesuffix("_extended") + (" with expression" if extended else "")


def rounded(value):
    return None if value is None else float(f"{value:.9g}")


def compare(pair):
    """What differs for one file of rules: (name, rules, stream, ours, theirs)."""
    (name, text, all_streams), answer = pair
    out, kinds = [], collections.Counter()
    collection, _ = read(text)
    types = {c.title: type_of(c) for c in collection.rules if isinstance(c, SigmaCorrelationRule)}
    for stream, result in zip(all_streams, answer["streams"]):
        they = theirs(collection, stream)
        we = ours(result, they[0])
        kinds.update(types[f.title] for f in they[0].elements())
        if we != they:
            out.append((name, text, stream, we, they))
    return out, kinds


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--full", action="store_true", help="ten times as many made files")
    parser.add_argument("--seed", type=int, default=0, help="the first seed of made files")
    options = parser.parse_args()
    began = time.monotonic()
    wrong = readings()
    todo = []
    for name, text, events in works(options.seed, 2000 if options.full else 200):
        todo.append((name, text, [a for n, e in enumerate(events) for a in arrangements(e, f"{name} {n}")]))
    lines = "".join(json.dumps({"rules": text, "streams": s}) + "\n" for _, text, s in todo)
    answers = [json.loads(a) for a in room.example("wardline-sigma", "correlate_lines", [], lines.encode()).splitlines()]
    refused = [(n, a["refused"]) for (n, _, _), a in zip(todo, answers) if "refused" in a]
    pairs = [(t, a) for t, a in zip(todo, answers) if "refused" not in a]
    for name, why in refused:
        # A made file may ask for what can never come out.
        if "S044" not in why or not name.startswith("seed "):
            wrong += 1
            print(f"DIFFERENT: {name} is refused by us only: {why}")
    different, kinds = [], collections.Counter()
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        for found, count in pool.imap(compare, pairs, chunksize=4):
            different += found
            kinds.update(count)
    shown = {name: rest for name, *rest in reversed(different)}
    for name, (text, stream, (we, late), (they, their_late)) in sorted(shown.items())[:SHOWN]:
        print(f"DIFFERENT: {name}, wait {stream['wait']}, lateness {stream['lateness']} s:")
        for side, more in (("we", we - they), ("they", they - we)):
            for finding in sorted(more, key=str)[:3]:
                print(f"    only {side} say: {tuple(finding)}")
        if late != their_late:
            print(f"    late: we {late}, they {their_late}")
    wrong += len(different)
    print(f"findings: {len(pairs)} files, {len(refused)} refused, {sum(len(t[2]) for t, _ in pairs):,} streams, "
          f"{kinds.total():,} findings, {len(different)} streams differ")
    print("  " + ", ".join(f"{kind} {count:,}" for kind, count in sorted(kinds.items())))
    quiet = EVERY_TYPE - kinds.keys()
    if quiet:
        wrong += 1
        print(f"  nothing was found by {', '.join(sorted(quiet))}: the streams are too poor")
    print(f"correlations: {wrong} differences without an explanation; {time.monotonic() - began:.0f} s")
    sys.exit(1 if wrong else 0)


main()
