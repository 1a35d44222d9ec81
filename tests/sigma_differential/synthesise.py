"""Events made from a rule's own patterns, most of them one step away from matching.

`events(rule, key)` gives field dictionaries: first ones that ought to match, then each of them with one thing
changed. The same rule gives the same events in every run: choices are drawn from a hash of the rule's key.
"""

import hashlib
import ipaddress
import random
import re
from re import _constants as rc
from re import _parser as rp

from sigma import types as st
from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)

VARIANTS = 4  # ways to satisfy a rule that are tried
KEYWORD_FIELD = "Message"
MANY = st.SpecialChars.WILDCARD_MULTI


def events(rule, key, changes):
    draw = random.Random(hashlib.sha256(key.encode()).digest())
    seen = []
    for condition in rule.detection.parsed_condition:
        for _ in range(VARIANTS):
            wants = want(condition.parsed, True, draw)
            base = realise(wants, draw)
            if base not in seen:
                seen.append(base)
    yield from seen
    for base in seen:
        every = [(f, change) for f in base for change in CHANGES]
        for field, change in draw.sample(every, min(changes // max(1, len(seen)), len(every))):
            changed = dict(base)
            if change(changed, field, draw) is not False:
                yield changed
        # The same text in another case, everywhere at once.
        yield {f: swap_case(v) for f, v in base.items()}


# What must hold, as {field: [(value, wanted)]}; the field of keywords is KEYWORD_FIELD.


def want(c, wanted, draw):
    if isinstance(c, ConditionNOT):
        return want(c.args[0], not wanted, draw)
    if isinstance(c, (ConditionAND, ConditionOR)):
        all_of = isinstance(c, ConditionAND) == wanted
        # Of alternatives one, sometimes two: what one brings must not hide the other.
        args = c.args if all_of else draw.sample(c.args, min(len(c.args), draw.choice([1, 1, 1, 2])))
        merged = {}
        for arg in args:
            for field, values in want(arg, wanted, draw).items():
                merged.setdefault(field, []).extend(values)
        return merged
    if isinstance(c, ConditionFieldEqualsValueExpression):
        return {c.field: [(one_of(c.value, draw), wanted)]}
    if isinstance(c, ConditionValueExpression):
        return {KEYWORD_FIELD: [(around(one_of(c.value, draw)), wanted)]}
    raise TypeError(type(c).__name__)


def fields_of(rule):
    """The fields that a rule names; KEYWORD_FIELD if it has keywords."""
    found, todo = set(), [condition.parsed for condition in rule.detection.parsed_condition]
    while todo:
        c = todo.pop()
        todo.extend(getattr(c, "args", ()))
        if isinstance(c, ConditionFieldEqualsValueExpression):
            found.add(c.field)
            if isinstance(c.value, st.SigmaFieldReference):
                found.add(c.value.field)
        elif isinstance(c, ConditionValueExpression):
            found.add(KEYWORD_FIELD)
    return found


def one_of(value, draw):
    while isinstance(value, st.SigmaExpansion):
        value = draw.choice(value.values)
    return value


def around(value):
    if isinstance(value, st.SigmaString):
        return MANY + value + MANY
    if isinstance(value, st.SigmaNumber):
        return MANY + st.SigmaString(str(value.number)) + MANY
    return value


def realise(wants, draw):
    event = {"Filler": "nothing to see", "Number": 7}
    references = []
    for field, values in wants.items():
        texts, fixed = [], None
        unwanted = False
        for value, wanted in values:
            if not wanted:
                unwanted = True
            elif isinstance(value, st.SigmaString):
                texts.append(value)
            elif isinstance(value, st.SigmaFieldReference):
                references.append((field, value.field))
            else:
                fixed = (concrete(value, draw),)
        if texts:
            event[field] = weave(texts, draw)
        elif fixed:
            if fixed[0] is not ABSENT:
                event[field] = fixed[0]
        elif unwanted and not any(wanted for _, wanted in values):
            # What must not match: often not there at all, sometimes something else.
            if draw.random() < 0.4:
                event[field] = draw.choice(["something else", "", 0, None])
    for field, other in references:
        event[field] = event.setdefault(other, "the same")
    return event


ABSENT = object()


def concrete(value, draw):
    if isinstance(value, st.SigmaTimestampPart):
        return timestamp(value)
    if isinstance(value, st.SigmaNumber):
        return draw.choice([value.number, str(value.number)])
    if isinstance(value, st.SigmaBool):
        return draw.choice([value.boolean, str(value.boolean), str(value.boolean).lower()])
    if isinstance(value, st.SigmaNull):
        return draw.choice([None, ABSENT])
    if isinstance(value, st.SigmaExists):
        return draw.choice(["there", "", None, 0]) if value.exists else ABSENT
    if isinstance(value, st.SigmaCIDRExpression):
        network = value.network
        edge = draw.choice([0, 1, -1, -2])
        address = network[edge] if abs(edge) < network.num_addresses else network[0]
        if isinstance(network, ipaddress.IPv4Network) and draw.random() < 0.2:
            return f"::ffff:{address}"
        return str(address)
    if isinstance(value, st.SigmaCompareExpression):
        step = {"LT": -1, "GT": 1}.get(value.op.name, 0)
        number = value.number.number + step
        return draw.choice([number, str(number)])
    if isinstance(value, st.SigmaRegularExpression):
        return from_regex(value, draw)
    raise TypeError(type(value).__name__)


def timestamp(value):
    parts = {"YEAR": 2024, "MONTH": 3, "DAY": 4, "HOUR": 5, "MINUTE": 6}
    unit = value.timestamp_part.name
    if unit == "WEEK":
        import datetime

        return datetime.datetime.fromisocalendar(2024, value.number, 2).isoformat()
    parts[unit] = value.number
    return "{YEAR:04}-{MONTH:02}-{DAY:02}T{HOUR:02}:{MINUTE:02}:07".format(**parts)


def fill(value, draw):
    out = []
    for part in value.s:
        if isinstance(part, str):
            out.append(part)
        elif part == MANY:
            out.append(draw.choice(["", "x", " ", "some thing", "\\", "\n", "ß*?"]))
        elif part == st.SpecialChars.WILDCARD_SINGLE:
            out.append(draw.choice(["x", "\\", "é", "\n", "?"]))
    return "".join(out)


def weave(values, draw):
    """One text for several patterns: what begins it, what is in it, what ends it."""
    whole = [v for v in values if not (v.startswith(MANY) or v.endswith(MANY))]
    if whole:
        return fill(draw.choice(whole), draw)
    first = [v for v in values if not v.startswith(MANY)]
    last = [v for v in values if not v.endswith(MANY)]
    inner = [v for v in values if v.startswith(MANY) and v.endswith(MANY)]
    draw.shuffle(inner)
    return draw.choice(["", " "]).join(fill(v, draw) for v in [*first, *inner, *last])


def from_regex(value, draw):
    flags = re.IGNORECASE if any(f.name == "IGNORECASE" for f in value.flags) else 0
    try:
        body = generate(rp.parse(str(value.regexp), flags), draw, {})
    except (KeyError, NotImplementedError, re.error):
        return "no text for this expression"
    return draw.choice([body, body, "x" + body, body + "\nx", body + " y"])


def generate(tree, draw, groups):
    return "".join(one(op, arg, draw, groups) for op, arg in tree)


def one(op, arg, draw, groups):
    if op is rc.LITERAL:
        return chr(arg)
    if op is rc.NOT_LITERAL:
        return "x" if arg != ord("x") else "y"
    if op is rc.ANY:
        return draw.choice("aZ0 \\")
    if op is rc.AT:
        return ""
    if op is rc.IN:
        return from_class(arg, draw)
    if op is rc.BRANCH:
        return generate(draw.choice(arg[1]), draw, groups)
    if op is rc.SUBPATTERN:
        groups[arg[0]] = generate(arg[3], draw, groups)
        return groups[arg[0]]
    if op is rc.GROUPREF:
        return groups[arg]
    if op in (rc.MAX_REPEAT, rc.MIN_REPEAT, rc.POSSESSIVE_REPEAT):
        low, high, inner = arg
        count = draw.randint(low, min(high, low + 2))
        return "".join(generate(inner, draw, groups) for _ in range(count))
    if op in (rc.ASSERT, rc.ASSERT_NOT):
        return ""
    raise NotImplementedError(str(op))


CATEGORY = {
    rc.CATEGORY_DIGIT: "07",
    rc.CATEGORY_SPACE: " \t",
    rc.CATEGORY_WORD: "aZ_9",
    rc.CATEGORY_NOT_DIGIT: "a ",
    rc.CATEGORY_NOT_SPACE: "a9",
    rc.CATEGORY_NOT_WORD: " -",
}


def from_class(items, draw):
    if items[0][0] is rc.NEGATE:
        refused = re.compile("[" + "".join(map(class_item, items[1:])) + "]")
        allowed = [c for c in "xY7 -\\/.é\n" if not refused.match(c)]
        return draw.choice(allowed) if allowed else "\u2603"
    op, arg = draw.choice(items)
    if op is rc.LITERAL:
        return chr(arg)
    if op is rc.RANGE:
        return chr(draw.randint(arg[0], arg[1]))
    return draw.choice(CATEGORY[arg])


def class_item(item):
    op, arg = item
    if op is rc.LITERAL:
        return re.escape(chr(arg))
    if op is rc.RANGE:
        return f"{re.escape(chr(arg[0]))}-{re.escape(chr(arg[1]))}"
    short = {
        rc.CATEGORY_DIGIT: r"\d", rc.CATEGORY_SPACE: r"\s", rc.CATEGORY_WORD: r"\w",
        rc.CATEGORY_NOT_DIGIT: r"\D", rc.CATEGORY_NOT_SPACE: r"\S", rc.CATEGORY_NOT_WORD: r"\W",
    }
    return short[arg]


# Changes. Each takes the event, a field in it and the drawn numbers; False if it changed nothing.


def changes_text(make):
    def change(event, field, draw):
        value = event[field]
        if not isinstance(value, str):
            return False
        event[field] = make(value, draw)
        return event[field] != value

    return change


def at(text, draw):
    return draw.randrange(len(text)) if text else 0


def without_one(text, draw):
    i = at(text, draw)
    return text[:i] + text[i + 1:]


def with_another(text, draw):
    i = at(text, draw)
    return text[:i] + draw.choice("~é\\*?/- ") + text[i + 1:]


def one_more(text, draw):
    i = at(text, draw)
    return text[:i] + draw.choice(["~", "\\", "*", " ", "\n", "\u0130", "\u212a"]) + text[i:]


def swap_case(value):
    """Each letter's other case, where that is one letter and comes back."""
    if not isinstance(value, str):
        return value
    return "".join(s if len(s := c.swapcase()) == 1 and s.swapcase() == c else c for c in value)


def other_type(event, field, draw):
    value = event[field]
    if isinstance(value, bool) or value is None:
        event[field] = str(value).lower()
    elif isinstance(value, (int, float)):
        event[field] = str(value)
    elif re.fullmatch(r"-?[0-9]{1,15}", value):
        event[field] = int(value)
    else:
        return False


def other_number(event, field, draw):
    value = event[field]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    event[field] = draw.choice([value + 1, value - 1, float(value), value + 0.5, f"{value}.0", f" {value}", f"0{value}"])


def set_to(value):
    def change(event, field, draw):
        event[field] = value

    return change


def remove(event, field, draw):
    del event[field]


def in_a_list(event, field, draw):
    event[field] = draw.choice([[event[field]], ["other", event[field]], [event[field], None], [[event[field]], 1]])


def under_another_name(event, field, draw):
    event[field + "X"] = event.pop(field)


def name_in_other_case(event, field, draw):
    if field.swapcase() == field:
        return False
    event[field.swapcase()] = event.pop(field)


CHANGES = [
    changes_text(lambda t, d: "x" + t),
    changes_text(lambda t, d: t + "x"),
    changes_text(lambda t, d: " " + t + " "),
    changes_text(lambda t, d: t[1:]),
    changes_text(lambda t, d: t[:-1]),
    changes_text(without_one),
    changes_text(with_another),
    changes_text(one_more),
    changes_text(lambda t, d: t + "\n"),
    changes_text(lambda t, d: t.upper()),
    changes_text(lambda t, d: t.replace("\\", "\\\\")),
    changes_text(lambda t, d: t.replace("-", "/").replace(" /", " \u2013")),
    changes_text(lambda t, d: t + " " + t),
    changes_text(lambda t, d: t[::-1]),
    other_type,
    other_number,
    set_to(None),
    set_to(""),
    set_to([]),
    set_to(["other", "values"]),
    remove,
    in_a_list,
    under_another_name,
    name_in_other_case,
]
