"""The differences that are known, each by the paragraph of docs/sigma.md, "Differences", that explains it."""

import re
import sys

import evaluator

# Golden case -> paragraph.
CASES = {
    "cidr_edges": "D1, a network may be written with host bits or as one address",
    "cidr_v4": "D1, a network may be written with host bits or as one address",
    "collection_global": "D2, documents with `action: global` add up",
    "exists_beside_value": "D7, `yes` and `no` are words (YAML 1.2)",
    "expand_all": "D8, the values of one placeholder are linked by `or`",
    "expand_escaped_percent": "D9, `\\%` is a plain percent sign",
    "expand_no_placeholder": "D9, `\\%` is a plain percent sign",
    "expand_other_types": "D10, placeholders stand for networks and numbers too",
    "expand_regex": "D11, in a regular expression a placeholder stands for its text",
    "number_spelled_otherwise": "D3, a number also meets text spelled as the rule spells it",
    "number_wildcard": "D4, string modifiers on numbers",
    "regex_anchors": "D5, `$` is the very end of the text",
    "regex_multi_line": "D5, `$` is the very end of the text",
    "time_day": "D13, times are read as everywhere else",
    "time_hour": "D13, times are read as everywhere else",
    "time_out_of_hours": "D12, parts of times are compared like numbers",
    "time_parts": "D13, times are read as everywhere else",
    "utf16le_base64": "D24, `utf16le` has that name beside `wide`",
    "windash_any_dash_in_rule": "D6, any of the dashes in a rule, and any number of them",
    "windash_many": "D6, any of the dashes in a rule, and any number of them",
    "yaml_forms": "D7, `yes` and `no` are words (YAML 1.2)",
}

# Case of a correlation -> paragraph.
BOUNDS = "D14, a condition may have several bounds"
NEVER = "D17, what can never come out is refused"
CORRELATIONS = {
    "aggregation_count": "D18, aggregations of Sigma 1 become correlations",
    "aggregation_metrics": "D18, aggregations of Sigma 1 become correlations",
    "aggregation_near": "D18, aggregations of Sigma 1 become correlations",
    "errors/circle": NEVER,
    "errors/expression_contradicts_itself": NEVER,
    "errors/huge_count": "D19, limits",
    "errors/long_chain": "D19, limits",
    "errors/long_timespan": "D19, limits",
    "errors/more_rules_than_there_are": NEVER,
    "errors/needs_no_field": "D20, attributes that mean nothing are refused",
    "errors/needs_percentile": "D20, attributes that mean nothing are refused",
    "errors/never_holds": NEVER,
    "errors/percentile_past_100": NEVER,
    "errors/rule_named_twice": "D20, attributes that mean nothing are refused",
    "errors/same_id": "D21, an id belongs to one rule",
    "errors/unknown_attribute": "D20, attributes that mean nothing are refused",
    "event_count_upper_bounds": BOUNDS,
    "temporal_expression": "D15, `AND`, `OR` and `NOT` in capitals",
    "temporal_void_bound": BOUNDS,
    "value_median_min_max": "D16, `value_min` and `value_max`",
}

OF_RULES = "D23, a correlation's fields get the names that its rules' fields got"

# By the name of a case of pipelines over correlations.
PIPELINES = {
    "contains_field": OF_RULES,
    "contains_detection_item": OF_RULES,
    "contains_after_renaming": OF_RULES,
    "contains_not": OF_RULES,
    "contains_then_applied": OF_RULES,
    "contains_field_of_a_chain": OF_RULES,
    "aliases": OF_RULES,
}


class Tally:
    """Counts cases on which both sides agree, and tells of the others; `known` names the paragraphs of some."""

    def __init__(self, known):
        self.known = known
        self.agreed = self.explained = self.wrong = 0

    def agree(self):
        self.agreed += 1

    def differ(self, name):
        why = self.known.get(name)
        self.explained += why is not None
        self.wrong += why is None
        print(f"{'explained' if why else 'DIFFERENT'}: {name}: {why or ''}")

    def tell(self, what):
        """Ends the program if there was no case, so that none is not taken for all."""
        if not self.agreed:
            sys.exit(f"{what}: no case on which both sides agree")
        print(
            f"{what}: {self.agreed} agree, {self.explained} differ for a known reason, "
            f"{self.wrong} without an explanation"
        )


def reason(rule, event, ours):
    """Why the verdicts on this event differ; None if that is not known."""
    strict = evaluator.compile_rule(rule, dollar_is_the_very_end)
    if strict(evaluator.Event(event)) == ours:
        return CASES["regex_anchors"]
    return None


def dollar_is_the_very_end(expression):
    """The expression with `$` outside of classes as `\\Z`."""
    return re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\$", lambda m: r"\Z" if m[0] == "$" else m[0], str(expression))


def refusal(name, theirs, ours):
    """Why only one side refuses the file; None if that is not known."""
    return None
