"""Makes files of correlations, and streams of events that meet their edges. The same seed makes the same."""

import random

BASE = """title: A
name: a
logsource: {category: test}
detection: {selection: {kind: [1, 4]}, condition: selection}
---
title: B
name: b
logsource: {category: test}
detection: {selection: {kind: [2, 4]}, condition: selection}
---
title: C
name: c
logsource: {category: test}
detection: {selection: {kind: 3}, condition: selection}
"""

EXPRESSIONS = {
    2: ["{0} and {1}", "{0} or {1}", "{0} and not {1}", "not {0} and {1}", "not ({0} and {1})"],
    3: [
        "{0} and {1} and {2}",
        "{0} and ({1} or {2})",
        "({0} or {1}) and not {2}",
        "{0} and not ({1} or {2})",
        "not ({0} and {1}) and {2}",
        "{2} or {0} and not {1}",
    ],
}

# Numbers as logs write them, and what is none.
NUMBERS = [
    *(0, 1, 2, 5, 5, 10, 20, -3, 2.5, 0.1, "4", "7.5", " 3 ", "0x10", "1e1", "+2", ".5"),
    *("word", "", "nan", "inf", "1e999", "0x", "1_0", "１", None, True),
    *([1, 2], [], ["3", "x"], [None, 4], {"n": 1}),
]
USERS = ["ann", "ann", "bob", "Ann", "", None, 7, "7", ["ann", "bob"], [None, "ann"], [], {"ann": 1}, "missing"]


def correlation(random, name, known):
    """A correlation over some of the rules and correlations that are known by name."""
    kind = random.choice(
        "event_count event_count value_count value_sum value_avg value_median value_percentile "
        "temporal temporal temporal_ordered temporal_ordered".split()
    )
    temporal = kind.startswith("temporal")
    most = min(3, len(known))
    rules = random.sample(known, random.randint(2 if temporal else 1, most))
    lines = [f"type: {kind}", f"rules: [{', '.join(rules)}]", f"timespan: {random.choice(['3s', '5s', '10s', '1m'])}"]
    group = random.choice([[], ["user"], ["user"], ["host"], ["user", "host"], ["who"], ["host", "who"]])
    if group:
        lines.append(f"group-by: [{', '.join(group)}]")
    if "who" in group:
        fields = random.choice([("user", "peer"), ("peer", "user"), ("host", "user")])
        lines += ["aliases:", "  who:"] + [f"    {rule}: {random.choice(fields)}" for rule in rules]
    if random.random() < 0.2:
        lines.append("generate: true")
    op = random.choice(["gte", "gte", "gte", "gt", "lt", "lte", "eq", "neq"])
    if temporal:
        condition = random.choice(["every", "count", "expression"])
        if condition == "expression":
            lines.append("condition: " + random.choice(EXPRESSIONS[len(rules)]).format(*rules))
        elif condition == "count":
            bound = random.randint(1, len(rules))
            lines.append(f"condition: {{{op}: {bound}}}")
    elif kind == "event_count":
        lines.append(f"condition: {{{op}: {random.randint(1, 4)}}}")
    elif kind == "value_count":
        field = random.choice(["n", "user", "host", "[user, host]", "[host, n]"])
        lines.append(f"condition: {{field: {field}, {op}: {random.randint(1, 3)}}}")
    else:
        percentile = f", percentile: {random.choice([0, 25, 50, 80, 95, 100])}" if kind == "value_percentile" else ""
        lines.append(f"condition: {{field: n, {op}: {random.choice([1, 3, 5, 10, 20])}{percentile}}}")
    body = "\n".join(f"  {line}" for line in lines)
    return f"title: {name.upper()}\nname: {name}\ncorrelation:\n{body}\n"


def rules(seed):
    """A file with the rules a, b, c and up to four correlations, over them and over one another."""
    rng = random.Random(f"rules {seed}")
    known, documents = ["a", "b", "c"], [BASE]
    for i in range(rng.randint(1, 4)):
        name = f"x{i}"
        documents.append(correlation(rng, name, known))
        known.append(name)
    return "---\n".join(documents)


def made(seed):
    """A stream for the rules above: (milliseconds, fields) in the order of time, with many equal times and bursts."""
    rng = random.Random(f"events {seed}")
    time, events = 1_700_000_000_000, []
    for _ in range(rng.randint(5, 50)):
        # Steps that add up to timespans, so that the edges of windows are hit.
        time += rng.choice([0, 0, 0, 500, 500, 1000, 1000, 2500, 3000, 5000, 10_000, 60_000, 1])
        fields = {"kind": rng.randint(1, 4), "n": rng.choice(NUMBERS)}
        for name in ("user", "host", "peer"):
            value = rng.choice(USERS if rng.random() < 0.3 else USERS[:3])
            if value != "missing":
                fields[name] = value
        events.append((time, fields))
    return events


def changed(recorded, seed):
    """A stream of the events of a case, drawn anew at other times."""
    rng = random.Random(f"changed {seed}")
    steps = [b - a for a, b in zip(sorted(t for t, _ in recorded), sorted(t for t, _ in recorded)[1:])] or [1000]
    time, events = 0, []
    for _ in range(min(60, 2 * len(recorded) + 5)):
        time += rng.choice([0, *steps])
        events.append((time, rng.choice(recorded)[1]))
    return events


def mixed(events, lateness, seed):
    """The same events as they may arrive if each is up to `lateness` milliseconds late."""
    rng = random.Random(f"mixed {seed}")
    return sorted(events, key=lambda e: e[0] + rng.randint(0, lateness))
