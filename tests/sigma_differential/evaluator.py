"""Evaluates what pySigma has parsed, on one event at a time.

pySigma reads the rules: YAML, modifiers, wildcards, conditions. What its values mean for an event is written here
from the Sigma specification 2.1, without a look at the engine that is tested. Slow and plain on purpose.

`compile_rule` makes of a rule's conditions a function of an `Event`.
"""

import datetime
import ipaddress
import json
import re

from sigma import types as st
from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)

MISSING = object()


class NotCovered(Exception):
    """The rule holds something that has no meaning without more input, such as a placeholder."""


def fold(text):
    """Unicode's simple case folding: one character for one. Python has the full folding only."""
    if text.isascii():
        return text.lower()
    return "".join(_fold_char(c) for c in text)


def _fold_char(c):
    folded = c.casefold()
    if len(folded) == 1:
        return folded
    lower = c.lower()
    return lower if len(lower) == 1 else c


def as_text(value):
    """A scalar as text; None for null."""
    if value is None:
        return None
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, dict):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return str(value)


class Event:
    """A record: names and values as JSON has them."""

    __slots__ = ("fields", "_texts", "_folded", "_all")

    def __init__(self, fields):
        self.fields = fields
        self._texts = {}
        self._folded = {}
        self._all = None

    def value(self, name):
        """A field's value, also by a dotted name into nested objects; the flat spelling goes first."""
        at = self.fields.get(name, MISSING)
        if at is not MISSING or "." not in name:
            return at
        return _nested(self.fields, name)

    def scalars(self, name):
        """The field's values; [] if it is not there."""
        value = self.value(name)
        return [] if value is MISSING else list(_flat(value))

    def texts(self, name):
        found = self._texts.get(name)
        if found is None:
            found = self._texts[name] = [t for t in map(as_text, self.scalars(name)) if t is not None]
        return found

    def folded(self, name):
        found = self._folded.get(name)
        if found is None:
            found = self._folded[name] = [fold(t) for t in self.texts(name)]
        return found

    def all_texts(self):
        """(text, folded) of every field: the event as a keyword sees it."""
        if self._all is None:
            self._all = [
                (text, fold(text))
                for value in self.fields.values()
                for text in map(as_text, _leaves(value))
                if text is not None
            ]
        return self._all


def _nested(at, name):
    parts = name.split(".")
    for cut in range(1, len(parts)):
        head, rest = ".".join(parts[:cut]), ".".join(parts[cut:])
        inner = at.get(head)
        if isinstance(inner, dict):
            found = inner.get(rest, MISSING)
            if found is MISSING:
                found = _nested(inner, rest)
            if found is not MISSING:
                return found
    return MISSING


def _flat(value):
    if isinstance(value, list):
        for item in value:
            yield from _flat(item)
    else:
        yield value


def _leaves(value):
    """All scalars in a value: lists and nested objects taken apart."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def compile_rule(rule, read_regex=str):
    """The rule's conditions, linked by `or`, as a function of an event. `read_regex` may rewrite expressions."""
    parts = [compile_condition(condition.parsed, read_regex) for condition in rule.detection.parsed_condition]
    return parts[0] if len(parts) == 1 else lambda e: any(p(e) for p in parts)


def compile_condition(c, read_regex):
    if isinstance(c, (ConditionAND, ConditionOR)):
        parts = [compile_condition(arg, read_regex) for arg in c.args]
        if isinstance(c, ConditionAND):
            return lambda e: all(p(e) for p in parts)
        return lambda e: any(p(e) for p in parts)
    if isinstance(c, ConditionNOT):
        part = compile_condition(c.args[0], read_regex)
        return lambda e: not part(e)
    if isinstance(c, ConditionFieldEqualsValueExpression):
        return field_test(c.field, c.value, read_regex)
    if isinstance(c, ConditionValueExpression):
        return keyword_test(c.value, read_regex)
    raise NotCovered(f"condition {type(c).__name__}")


def field_test(name, value, read_regex):
    if isinstance(value, st.SigmaExpansion):
        parts = [field_test(name, v, read_regex) for v in value.values]
        return lambda e: any(p(e) for p in parts)
    if isinstance(value, st.SigmaString):
        test = text_test(value)
        if isinstance(value, st.SigmaCasedString):
            return lambda e: any(map(test, e.texts(name)))
        return lambda e: any(map(test, e.folded(name)))
    if isinstance(value, st.SigmaTimestampPart):
        unit, wanted = value.timestamp_part.name, value.number
        return lambda e: any(time_part(t, unit) == wanted for t in e.texts(name))
    if isinstance(value, st.SigmaNumber):
        wanted, spelled = value.number, as_text(value.number)
        return lambda e: any(equals_number(v, wanted, spelled) for v in e.scalars(name))
    if isinstance(value, st.SigmaBool):
        wanted = "true" if value.boolean else "false"
        return lambda e: wanted in e.folded(name)
    if isinstance(value, st.SigmaNull):
        return lambda e: e.value(name) is MISSING or any(v is None for v in e.scalars(name))
    if isinstance(value, st.SigmaRegularExpression):
        search = regex(value, read_regex)
        return lambda e: any(search(t) for t in e.texts(name))
    if isinstance(value, st.SigmaCIDRExpression):
        network = value.network
        return lambda e: any(isinstance(v, str) and in_network(v, network) for v in e.scalars(name))
    if isinstance(value, st.SigmaCompareExpression):
        bound, op = value.number.number, value.op.name
        return lambda e: any(compares(v, op, bound) for v in e.scalars(name))
    if isinstance(value, st.SigmaFieldReference):
        return lambda e: refers(e.folded(name), e.folded(value.field), value)
    if isinstance(value, st.SigmaExists):
        return lambda e: (e.value(name) is not MISSING) == value.exists
    raise NotCovered(f"value {type(value).__name__}")


def keyword_test(value, read_regex):
    """Keywords are "applied to the full log message": they are found anywhere in it."""
    if isinstance(value, st.SigmaExpansion):
        parts = [keyword_test(v, read_regex) for v in value.values]
        return lambda e: any(p(e) for p in parts)
    if isinstance(value, st.SigmaRegularExpression):
        search = regex(value, read_regex)
        return lambda e: any(search(text) for text, _ in e.all_texts())
    if isinstance(value, st.SigmaString):
        many = st.SpecialChars.WILDCARD_MULTI
        around = value if value.startswith(many) else many + value
        test = text_test(around if around.endswith(many) else around + many)
        at = 0 if isinstance(value, st.SigmaCasedString) else 1
        return lambda e: any(test(pair[at]) for pair in e.all_texts())
    if isinstance(value, st.SigmaNumber) and not isinstance(value, st.SigmaTimestampPart):
        wanted = as_text(value.number)
        return lambda e: any(wanted in folded for _, folded in e.all_texts())
    if isinstance(value, st.SigmaBool):
        wanted = "true" if value.boolean else "false"
        return lambda e: any(wanted in folded for _, folded in e.all_texts())
    raise NotCovered(f"keyword {type(value).__name__}")


def parts_of(value):
    """A Sigma string as literals (str), '*' and '?' as the enumeration's members."""
    for part in value.s:
        if isinstance(part, st.Placeholder):
            raise NotCovered(f"placeholder {part.name}")
        yield part


def text_test(value):
    """A function of a text (folded before, unless the string is cased) for a string with wildcards."""
    many = st.SpecialChars.WILDCARD_MULTI
    cased = isinstance(value, st.SigmaCasedString)
    parts = [p if not isinstance(p, str) or cased else fold(p) for p in parts_of(value)]
    merged = []
    for part in parts:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        elif part != "":
            merged.append(part)
    match merged:
        case []:
            return lambda t: t == ""
        case [str(s)]:
            return lambda t: t == s
        case [a, str(s), b] if a == b == many:
            return lambda t: s in t
        case [a, str(s)] if a == many:
            return lambda t: t.endswith(s)
        case [str(s), b] if b == many:
            return lambda t: t.startswith(s)
    pattern = "".join(
        re.escape(p) if isinstance(p, str) else ".*" if p == many else "." for p in merged
    )
    return re.compile(pattern, re.DOTALL).fullmatch


FLAGS = {"IGNORECASE": re.IGNORECASE, "MULTILINE": re.MULTILINE, "DOTALL": re.DOTALL}


def regex(value, read_regex):
    flags = 0
    for flag in value.flags:
        flags |= FLAGS[flag.name]
    if value.regexp.contains_placeholder():
        raise NotCovered("placeholder in a regular expression")
    return re.compile(read_regex(value.regexp), flags).search


def equals_number(value, wanted, spelled):
    if isinstance(value, bool) or value is None:
        return False
    if isinstance(value, (int, float)):
        return value == wanted
    return as_text(value) == spelled


def number_of(value):
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", value, re.ASCII):
        return float(value)
    return None


def compares(value, op, bound):
    n = number_of(value)
    if n is None:
        return False
    return {"LT": n < bound, "LTE": n <= bound, "GT": n > bound, "GTE": n >= bound, "NEQ": n != bound}[op]


def in_network(text, network):
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return False
    if address in network:
        return True
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped is not None and mapped in network


def refers(texts, others, reference):
    def one(text, other):
        if reference.starts_with and reference.ends_with:
            return other in text
        if reference.starts_with:
            return text.startswith(other)
        if reference.ends_with:
            return text.endswith(other)
        return text == other

    return any(one(text, other) for text in texts for other in others)


def time_part(text, unit):
    """The part of a date as it is written: "not designed to handle timezone or format conversions"."""
    try:
        when = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    if unit == "WEEK":
        return when.isocalendar().week
    return getattr(when, unit.lower())
