"""Evaluates the correlations that pySigma has parsed, over a whole list of events at once.

pySigma reads the rules and correlations; which events match the rules `evaluator` says. What correlations mean is
written here from the Sigma correlation specification 2.1 and, where that leaves a choice, from docs/sigma.md ("Where
the specification leaves a choice"), without a look at the engine: every window is made anew from all events.

`findings` is what comes out.
"""

import collections
import functools
import itertools
import math
import re

import evaluator
from sigma.correlations import (
    CorrelationConditionAND,
    CorrelationConditionNOT,
    CorrelationConditionOR,
    SigmaCorrelationCondition,
    SigmaCorrelationRule,
)

# When (milliseconds), the correlation's title, the group as text, the count or metric, and the numbers of the events;
# a value or events of which neither the specification nor docs/sigma.md says enough are None.
Finding = collections.namedtuple("Finding", "time title group value events")

# What comes to a correlation. `order` tells the arrivals of one time apart; `rules` are the positions of the
# correlation's rules that it is a match of; `field` is a function from a name to a value; `events` are numbers.
Arrival = collections.namedtuple("Arrival", "time order rules group values field events")

# A moment at which a correlation's condition holds; `fresh` if it is reported.
Moment = collections.namedtuple("Moment", "time order fresh group value field events")

COMPARE = {
    "LT": lambda a, b: a < b,
    "LTE": lambda a, b: a <= b,
    "GT": lambda a, b: a > b,
    "GTE": lambda a, b: a >= b,
    "EQ": lambda a, b: a == b,
    "NEQ": lambda a, b: a != b,
}


def of_interest(collection):
    """A function that says whether an event matches a rule that a correlation refers to."""
    references = [r for c in collection.rules if isinstance(c, SigmaCorrelationRule) for r in c.referenced_rules]
    rules = {id(r.rule): r.rule for r in references if not isinstance(r.rule, SigmaCorrelationRule)}
    tests = [evaluator.compile_rule(rule) for rule in rules.values()]
    return lambda fields: any(test(evaluator.Event(fields)) for test in tests)


def findings(collection, events):
    """All findings of a collection's correlations over `(milliseconds, fields)`, which come in the order of time."""
    rules = [r for r in collection.rules if not isinstance(r, SigmaCorrelationRule)]
    matches = {id(r): evaluator.compile_rule(r) for r in rules}
    subjects = [(time, evaluator.Event(fields)) for time, fields in events]
    matching = [{key for key, test in matches.items() if test(subject)} for _, subject in subjects]
    inner_first = ranked([r for r in collection.rules if isinstance(r, SigmaCorrelationRule)])
    silent = silenced(inner_first)
    moments, out = {}, []
    for rank, correlation in enumerate(inner_first):
        arrivals = []
        for number, (time, subject) in enumerate(subjects):
            arrivals += of_event(correlation, time, number, subject, matching[number], rank)
        for position, reference in enumerate(correlation.referenced_rules):
            if isinstance(reference.rule, SigmaCorrelationRule):
                arrivals += of_moments(correlation, position, reference, moments[id(reference.rule)], rank)
        found = moments[id(correlation)] = evaluate(correlation, arrivals, rank)
        if id(correlation) not in silent:
            chained = any(isinstance(r.rule, SigmaCorrelationRule) for r in correlation.referenced_rules)
            for moment in filter(lambda m: m.fresh, found):
                group = tuple(", ".join(v) if isinstance(v, tuple) else v for v in moment.group)
                events_known = moment.events if not chained else None
                out.append(Finding(moment.time, correlation.title, group, moment.value, events_known))
    return out


def ranked(correlations):
    """Inner ones before outer ones; those of one depth as they are written."""
    def depth(correlation):
        inner = [r.rule for r in correlation.referenced_rules if isinstance(r.rule, SigmaCorrelationRule)]
        return 1 + max(map(depth, inner), default=0)

    return sorted(correlations, key=depth)


def silenced(correlations):
    """Those that another one refers to, unless one of them says `generate`."""
    heard = {id(r.rule) for c in correlations if c.generate for r in c.referenced_rules}
    return {id(r.rule) for c in correlations for r in c.referenced_rules} - heard


def of_event(correlation, time, number, subject, matching, rank):
    """What an event is to a correlation: one arrival, or several if its rules' aliases make different groups of it."""
    def field(name):
        value = subject.value(name)
        return None if value is evaluator.MISSING else value

    known = {}
    for position, reference in enumerate(correlation.referenced_rules):
        if id(reference.rule) in matching:
            group, values = group_of(correlation, reference, field), values_of(correlation, reference, field)
            known.setdefault((group, values), set()).add(position)
    order = (0, number, (rank,))
    return [Arrival(time, order, rules, group, values, field, (number,)) for (group, values), rules in known.items()]


def of_moments(correlation, position, reference, moments, rank):
    """What another correlation's matches are: its reports, for a temporal one each moment at which it holds."""
    for moment in moments:
        if moment.fresh or is_temporal(correlation):
            group = group_of(correlation, reference, moment.field)
            values = values_of(correlation, reference, moment.field)
            *when, path = moment.order
            order = (*when, (*path, rank))
            yield Arrival(moment.time, order, {position}, group, values, moment.field, moment.events)


def is_temporal(correlation):
    return correlation.type.name.startswith("TEMPORAL")


def is_ordered(correlation):
    return correlation.type.name.startswith("TEMPORAL_ORDERED")


def named(correlation, reference, name):
    """The field that a name means in the matches of a rule."""
    alias = correlation.aliases.aliases.get(name)
    for rule, field in alias.mapping.items() if alias else ():
        if rule.reference in (reference.reference, reference.rule.name, str(reference.rule.id)):
            return field
    return name


def captured(value):
    """A value as text; a list as a tuple of texts; None for what is missing or null."""
    if isinstance(value, list):
        return tuple(evaluator.as_text(v) for v in value if v is not None)
    return evaluator.as_text(value)


def group_of(correlation, reference, field):
    return tuple(captured(field(named(correlation, reference, name))) for name in correlation.group_by or ())


def values_of(correlation, reference, field):
    """The values that count: a list's elements each; of several fields the combination, if none is missing."""
    condition = correlation.condition
    names = condition.fieldref if isinstance(condition, SigmaCorrelationCondition) else None
    if names is None:
        return ()
    found = [captured(field(named(correlation, reference, n))) for n in ([names] if isinstance(names, str) else names)]
    if len(found) > 1:
        return () if None in found else (tuple(found),)
    return found[0] if isinstance(found[0], tuple) else () if found[0] is None else (found[0],)


def number(text):
    """The number that a text spells; None if it is a word, or past 1e290 and more than can be added up."""
    if not isinstance(text, str):
        return None
    text = text.strip()
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", text):
        return float(int(text, 16))
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII):
        return None
    return float(text) if abs(float(text)) <= 1e290 else None


def evaluate(correlation, arrivals, rank):
    """Every moment at which the condition holds."""
    span = correlation.timespan.seconds * 1000
    groups = collections.defaultdict(list)
    for arrival in sorted(arrivals, key=lambda a: (a.time, a.order)):
        groups[arrival.group].append(arrival)
    look = at_end if waits(correlation) else at_each
    moments = [m for group in groups.values() for m in look(correlation, group, span, rank)]
    return sorted(moments, key=lambda m: (m.time, m.order))


def waits(correlation):
    """Whether the condition would hold as soon as a window begins, so that its end is waited for."""
    condition = correlation.condition
    if not isinstance(condition, SigmaCorrelationCondition):
        return any(absent for _, absent in ways(condition.parsed, correlation))
    op, bound = condition.op.name, condition.count
    if not is_temporal(correlation):
        counts = correlation.type.name in ("EVENT_COUNT", "VALUE_COUNT", "VALUE_SUM")
        return counts and op in ("LT", "LTE", "EQ", "NEQ")
    # A bound that the number of rules cannot exceed is none.
    most = len(correlation.referenced_rules)
    return {"LT": bound <= most, "LTE": bound < most, "EQ": bound != most, "NEQ": 1 <= bound <= most}.get(op, False)


def at_each(correlation, group, span, rank):
    """Windows that end with each arrival; reported again after the timespan."""
    reported = None
    for i, arrival in enumerate(group):
        window = [a for a in group[: i + 1] if a.time >= arrival.time - span]
        found = verdict(correlation, window)
        if found:
            fresh = reported is None or arrival.time > reported + span
            reported = arrival.time if fresh else reported
            yield moment(correlation, arrival.time, arrival.order, fresh, window, found)


def at_end(correlation, group, span, rank):
    """Windows one after another; each begins with the first arrival after the end of the one before."""
    while group:
        end = group[0].time + span
        window, group = [a for a in group if a.time <= end], [a for a in group if a.time > end]
        found = verdict(correlation, window)
        if found:
            # At one time what comes counts before windows end, inner windows before outer ones, older groups first.
            yield moment(correlation, end, (1, rank, window[0].time, window[0].order, (rank,)), True, window, found)


def moment(correlation, time, order, fresh, window, found):
    value, events = found
    last, group = window[-1], window[-1].group
    own = dict(zip(correlation.group_by or (), group))

    def field(name):
        if name not in own:
            return last.field(name)
        return list(own[name]) if isinstance(own[name], tuple) else own[name]

    return Moment(time, order, fresh, group, value, field, events)


def verdict(correlation, window):
    """The count or metric and the numbers of the events, if the condition holds for a window; otherwise None."""
    condition, kind = correlation.condition, correlation.type.name
    if not isinstance(condition, SigmaCorrelationCondition):
        if is_ordered(correlation):
            # Which of several ways is shown is nowhere said.
            met = any(one_after_another(window, *way) for way in ways(condition.parsed, correlation))
            return (None, None) if met else None
        seen = frozenset().union(*(a.rules for a in window))
        return (len(seen), last_of_each(window, seen)) if holds_of(condition.parsed, seen, correlation) else None
    if kind == "EVENT_COUNT":
        value, events = len(window), [a.events for a in window]
    elif kind == "VALUE_COUNT":
        last = {v: i for i, a in enumerate(window) for v in a.values}
        # If there is no value at all, the last event stands for the window.
        value, events = len(last), [window[i].events for i in sorted(set(last.values()))] or [window[-1].events]
    elif kind == "TEMPORAL":
        seen = frozenset().union(*(a.rules for a in window))
        value, events = len(seen), last_of_each(window, seen)
    elif kind == "TEMPORAL_ORDERED":
        value, events = longest_run(window), None
    else:
        numbers = [n for a in window for n in map(number, a.values) if n is not None]
        if not numbers:
            return None
        value = metric(kind, numbers, condition.percentile)
        events = [a.events for a in window if any(number(v) is not None for v in a.values)]
    if not COMPARE[condition.op.name](value, condition.count):
        return None
    if events is not None and kind != "TEMPORAL":
        events = tuple(itertools.chain(*(e or () for e in events)))
    return value, events


def last_of_each(window, seen):
    """The last event of each rule, oldest first."""
    last = {max(i for i, a in enumerate(window) if rule in a.rules) for rule in seen}
    return tuple(itertools.chain(*(window[i].events or () for i in sorted(last))))


def metric(kind, numbers, percentile):
    if kind == "VALUE_SUM":
        return math.fsum(numbers)
    if kind == "VALUE_AVG":
        return math.fsum(numbers) / len(numbers)
    rank = (50 if kind == "VALUE_MEDIAN" else percentile) / 100 * (len(numbers) - 1)
    numbers = sorted(numbers)
    low, high = numbers[math.floor(rank)], numbers[math.ceil(rank)]
    return low + (high - low) * (rank - math.floor(rank))


def holds_of(node, seen, correlation):
    if isinstance(node, CorrelationConditionAND):
        return all(holds_of(a, seen, correlation) for a in node.args)
    if isinstance(node, CorrelationConditionOR):
        return any(holds_of(a, seen, correlation) for a in node.args)
    if isinstance(node, CorrelationConditionNOT):
        return not holds_of(node.args[0], seen, correlation)
    return position(node, correlation) in seen


def position(reference, correlation):
    return [r.reference for r in correlation.referenced_rules].index(reference.reference)


def ways(node, correlation, negated=False):
    """The ways to meet an expression: the rules that must be there, and those that must not, as a list of pairs."""
    if isinstance(node, CorrelationConditionNOT):
        return ways(node.args[0], correlation, not negated)
    if isinstance(node, (CorrelationConditionAND, CorrelationConditionOR)):
        parts = [ways(a, correlation, negated) for a in node.args]
        if isinstance(node, CorrelationConditionAND) == negated:
            return list(itertools.chain(*parts))
        joined = (
            (frozenset().union(*(p for p, _ in combination)), frozenset().union(*(a for _, a in combination)))
            for combination in itertools.product(*parts)
        )
        return [(there, absent) for there, absent in joined if not there & absent]
    one = frozenset([position(node, correlation)])
    return [(frozenset(), one) if negated else (one, frozenset())]


def one_after_another(window, there, absent):
    """Whether these rules match in the order in which they are listed, and those not at all."""
    if any(a.rules & absent for a in window):
        return False
    after = -math.inf
    for rule in sorted(there):
        after = min((a.time for a in window if rule in a.rules and a.time >= after), default=None)
        if after is None:
            return False
    return True


def longest_run(window):
    """The length of the longest run of matches, each of a later rule and not of an earlier time than the one before."""
    spots = sorted({(rule, a.time) for a in window for rule in a.rules})

    @functools.cache
    def run_from(i):
        later = (j for j in range(i + 1, len(spots)) if spots[j][0] > spots[i][0] and spots[j][1] >= spots[i][1])
        return 1 + max(map(run_from, later), default=0)

    return max(map(run_from, range(len(spots))))
