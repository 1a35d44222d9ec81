"""Compares our engine's matches with a plain evaluator of what pySigma reads, over all shared rules.

    python3 tests/sigma_differential/compare.py [--full]

Two kinds of events: every record of the shared event logs, as our reader gives it; and events made from each rule's
own patterns. For a recorded event all rules are checked that could see it; for a made one the rule it was made from,
every rule that we say matches, and some others. Ends with 1 if there is a difference that explained.py does not know.

Installs pySigma into target/venv-sigma. Prints "skipped: no shared data" where there is none.
"""

import argparse
import collections
import glob
import hashlib
import json
import multiprocessing
import os
import sys
import time

import room

RULES = os.path.join(room.SHARED, "sigma")
LOGS = os.path.join(room.SHARED, "evtx")
SHOWN = 40

if not os.path.isdir(RULES):
    print("skipped: no shared data")
    sys.exit(0)
room.enter_venv()

import evaluator  # noqa: E402
import explained  # noqa: E402
import synthesise  # noqa: E402
from sigma.collection import SigmaCollection  # noqa: E402
from sigma.exceptions import SigmaError  # noqa: E402


class Theirs:
    """A rule as pySigma reads it."""

    def __init__(self, key, rule):
        self.key = key
        self.rule = rule
        source = rule.logsource
        self.source = (source.product or "", source.category or "", source.service or "")
        self.matches = evaluator.compile_rule(rule)

    def sees(self, event):
        """Each term that the rule gives is one of the event's."""
        source = event["_logsource"]
        product, category, service = self.source
        categories = (source["category"], *source.get("also", ()))
        return (
            product in ("", source["product"])
            and (category == "" or category in categories)
            and service in ("", source["service"])
        )


def load(folder):
    """All rules below a folder, and which files were refused and why."""
    rules, refused = {}, {}
    for path in sorted(glob.glob(folder + "/**/*.yml", recursive=True)):
        name = os.path.relpath(path, folder)
        with open(path, encoding="utf-8") as f:
            text = f.read()
        try:
            found = [Theirs(f"{name}#{i}", r) for i, r in enumerate(SigmaCollection.from_yaml(text).rules)]
            rules.update((r.key, r) for r in found)
        except (SigmaError, evaluator.NotCovered) as error:
            refused[name] = str(error)
    return rules, refused


def fields(event):
    return {name: value for name, value in event.items() if not name.startswith("_")}


def named(key, event):
    """The fields of the event that the rule names; all if it has keywords."""
    names = synthesise.fields_of(RULE_BY_KEY[key].rule)
    return {n: v for n, v in fields(event).items() if n in names or synthesise.KEYWORD_FIELD in names}


def differences(work):
    """(key, event, ours, theirs) where the verdicts differ, and how many verdicts were compared."""
    event, ours, rules = work
    subject = evaluator.Event(fields(event))
    found = []
    for key in rules:
        theirs = RULE_BY_KEY[key].matches(subject)
        if theirs != (key in ours):
            found.append((key, event, key in ours, theirs))
    return found, len(rules)


def judge(title, works, keys):
    """Compares and prints; the number of differences without an explanation."""
    unexplained, reasons, verdicts = [], collections.Counter(), 0
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        for found, count in pool.imap_unordered(differences, works, chunksize=200):
            verdicts += count
            for key, event, ours, theirs in found:
                reason = explained.reason(RULE_BY_KEY[key].rule, fields(event), ours)
                if reason:
                    reasons[reason] += 1
                else:
                    unexplained.append((key, event, ours, theirs))
    matching = {key for _, ours, _ in works for key in ours}
    print(f"{title}: {len(works):,} events, {verdicts:,} verdicts, {len(matching & keys):,} of {len(keys):,} rules match")
    for reason, count in sorted(reasons.items()):
        print(f"  explained, {count:,}: {reason}")
    unexplained.sort(key=lambda u: (u[0], json.dumps(u[1], sort_keys=True)))
    first = {key: one for key, *one in reversed(unexplained)}
    for key, (event, ours, theirs) in sorted(first.items())[:SHOWN]:
        print(f"  DIFFERENT {key}: we say {ours}, they say {theirs}: {json.dumps(named(key, event))[:1000]}")
    print(f"  {len(unexplained):,} differences without an explanation")
    return len(unexplained)


def recorded(keys):
    """Each recorded event against every rule that could see it."""
    lines = room.example("wardline-sense", "dump", [LOGS]).splitlines()
    events = [json.loads(line) for line in lines]
    _, _, ours = room.our_matches(RULES, events)
    seen = {}
    works = []
    for event, matched in zip(events, ours):
        source = json.dumps(event["_logsource"])
        if source not in seen:
            seen[source] = [r.key for r in RULE_BY_KEY.values() if r.key in keys and r.sees(event)]
        outside = matched - set(seen[source])
        assert not outside, f"a match outside of the rule's log source: {outside}"
        works.append((event, matched, seen[source]))
    return judge("recorded events", works, keys)


def made(keys, changes, others):
    """Events made from each rule against it, all that match, and some others of the same log source."""
    by_source = collections.defaultdict(list)
    for key in sorted(keys):
        by_source[RULE_BY_KEY[key].source].append(key)
    events, checked = [], []
    for key in sorted(keys):
        rule = RULE_BY_KEY[key]
        terms = dict(zip(("product", "category", "service"), rule.source))
        near = by_source[rule.source]
        for event in synthesise.events(rule.rule, key, changes):
            at = int.from_bytes(hashlib.sha256(f"{key} {len(events)}".encode()).digest()[:8])
            events.append({**event, "_logsource": terms})
            checked.append({key} | {near[(at + 7 * i) % len(near)] for i in range(min(others, len(near)))})
    _, _, ours = room.our_matches(RULES, events)
    works = [(e, m, sorted(c | (m & keys))) for e, m, c in zip(events, ours, checked)]
    return judge("made events", works, keys)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--full", action="store_true", help="four times as many changed events, more rules for each")
    full = parser.parse_args().full
    began = time.monotonic()
    global RULE_BY_KEY
    RULE_BY_KEY, refused = load(RULES)
    ours, ours_refused, _ = room.our_matches(RULES, [])
    wrong = 0
    for name in sorted(refused.keys() ^ ours_refused.keys()):
        why = explained.refusal(name, refused.get(name), ours_refused.get(name))
        wrong += why is None
        print(f"  {'explained: ' + why if why else 'DIFFERENT'}: {name} is refused by {'them' if name in refused else 'us'} "
              f"only: {refused.get(name) or ours_refused[name]}")
    keys = ours & RULE_BY_KEY.keys()
    print(f"rules: {len(keys):,} are read by both, {len(refused.keys() & ours_refused.keys())} files refused by both")
    if os.path.isdir(LOGS):
        wrong += recorded(keys)
    wrong += made(keys, 96 if full else 24, 40 if full else 6)
    print(f"{wrong} differences without an explanation; {time.monotonic() - began:.0f} s")
    sys.exit(1 if wrong else 0)


main()
