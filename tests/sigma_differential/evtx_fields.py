"""Compares how we read EVTX with two other parsers, field by field, over the shared event logs.

    python3 tests/sigma_differential/evtx_fields.py [FOLDER]

`python-evtx` is written in Python alone, by somebody else, and gives XML. `evtx` is the parser that we use, too; what
is compared there is what we make of its output. Values are compared as text after the formatting that docs/sigma.md
describes is taken away. Takes minutes. Ends with 1 if a record is missing or a value differs.
"""

import base64
import collections
import datetime
import json
import multiprocessing
import os
import re
import sys
import xml.etree.ElementTree as etree

import room

LOGS = sys.argv[1] if len(sys.argv) > 1 else os.path.join(room.SHARED, "evtx")
if not os.path.isdir(LOGS):
    print("skipped: no shared data")
    sys.exit(0)
room.enter_venv()

import Evtx.Evtx  # noqa: E402
import evtx  # noqa: E402

SHOWN = 3  # of each field
# What we add or rename so that rules find it; not in the file under this name.
SYSTEM = {
    "Provider": {"Name": "Provider_Name", "Guid": "Provider_Guid"},
    "TimeCreated": {"SystemTime": "TimeCreated"},
    "Execution": {"ProcessID": "Execution_ProcessID", "ThreadID": "Execution_ThreadID"},
    "Security": {"UserID": "UserID"},
    "Correlation": {"ActivityID": "ActivityID"},
}
# XML 1.0 has no control characters; python-evtx writes them as they are.
CONTROL = "[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]"
# Fields of the Security log whose values we write as Sysmon does, so that one rule fits both.
CONVERTED = {"ProcessId", "Protocol"}


def plain(value):
    """A value as text without the formatting in which tools differ."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "\n".join(map(plain, value))
    text = re.sub(CONTROL, "", str(value).replace("\r\n", "\n").replace("\r", "\n")).strip()
    if re.fullmatch(r"0x[0-9a-fA-F]+", text):
        return str(int(text, 16))
    if re.fullmatch(r"\{?[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}?", text):
        return text.strip("{}").lower()
    return {"True": "true", "False": "false"}.get(text, text)


def same(ours, theirs):
    """Whether two values say the same. python-evtx reckons times with floating point and is off by
    some microseconds; a time of zero it puts into the year 1."""
    ours, theirs = plain(ours), plain(theirs)
    if ours == theirs:
        return True
    times = [time_of(ours), time_of(theirs.replace("0001-01-01", "1601-01-01"))]
    return None not in times and abs(times[0] - times[1]) < datetime.timedelta(microseconds=9)


def time_of(text):
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d+)?(?:Z|\+00:00)?", text)
    if not found:
        return None
    whole = datetime.datetime.fromisoformat(f"{found[1]} {found[2]}")
    return whole + datetime.timedelta(seconds=float(found[3] or 0))


def tag(element):
    return element.tag.rsplit("}", 1)[-1]


def decoded(binary):
    """python-evtx writes bytes in Base64, Windows in hexadecimal."""
    return base64.b64decode(binary or "").hex().upper()


def strings(text):
    """python-evtx writes a list of strings as elements within the text."""
    found = re.findall(r"<string>(.*?)</string>", text or "", re.DOTALL)
    return found or [text]


def from_xml(text):
    """Fields of an event as XML, under the names that Sigma's rules use."""
    root = etree.fromstring(re.sub(CONTROL, "", text))
    found, unnamed = {}, []
    for part in root:
        if tag(part) == "System":
            for element in part:
                names = SYSTEM.get(tag(element))
                if names is None:
                    found[tag(element)] = element.text
                else:
                    found.update((names[a], v) for a, v in element.attrib.items() if a in names)
        elif tag(part) == "EventData":
            for element in part:
                element.text = decoded(element.text) if tag(element) == "Binary" else element.text
                if "Name" in element.attrib:
                    found[element.attrib["Name"]] = element.text
                elif tag(element) == "Data":
                    unnamed.extend(strings(element.text))
                else:
                    found[tag(element)] = element.text
        elif tag(part) == "UserData":
            found.update((tag(leaf), leaf.text) for leaf in part.iter() if len(leaf) == 0)
    if unnamed:
        found["Data"] = unnamed
    return found


def from_json(event):
    """Fields of an event as the crate's JSON has them."""
    found, unnamed = {}, []
    text = lambda v: v.get("#text") if isinstance(v, dict) else v  # noqa: E731
    for name, value in event.get("System", {}).items():
        attributes = value.get("#attributes", {}) if isinstance(value, dict) else {}
        if name in SYSTEM:
            found.update((SYSTEM[name][a], v) for a, v in attributes.items() if a in SYSTEM[name])
        elif not name.endswith("_attributes"):
            found[name] = text(value)
    for name, value in (event.get("EventData") or {}).items():
        if name == "Data":
            for item in value if isinstance(value, list) else [value]:
                inner = text(item)
                unnamed.extend(inner if isinstance(inner, list) else [inner])
        elif not name.startswith(("#", "xmlns")):
            found[name] = text(value)
    leaves(event.get("UserData"), found)
    if unnamed:
        found["Data"] = unnamed
    return found


def leaves(value, found):
    for name, inner in (value or {}).items():
        if isinstance(inner, dict) and "#text" not in inner:
            leaves(inner, found)
        elif not name.startswith(("#", "xmlns")):
            found[name] = inner.get("#text") if isinstance(inner, dict) else inner


def theirs_python(path):
    with Evtx.Evtx.Evtx(path) as log:
        for record in log.records():
            try:
                yield from_xml(record.xml())
            except Exception as error:  # noqa: BLE001 - a fault of theirs is a finding, not the end
                yield {"EventRecordID": record.record_num(), "_error": f"{type(error).__name__}: {error}"}


def theirs_crate(path):
    for record in evtx.PyEvtxParser(path).records_json():
        if not isinstance(record, Exception):
            yield from_json(json.loads(record["data"])["Event"])


def compare(work):
    """Differences in one file: (kind, record, field, ours, theirs), and numbers."""
    path, ours = work
    found, count = [], collections.Counter()
    for kind, read in (("python-evtx", theirs_python), ("evtx", theirs_crate)):
        seen = collections.Counter()
        try:
            for fields in read(path):
                number = plain(fields.get("EventRecordID"))
                nth = seen[number]
                seen[number] += 1
                count[kind + " records"] += 1
                mine = ours.get(number, [])
                if nth >= len(mine):
                    found.append((kind, number, "the record", "missing", "there"))
                elif "_error" in fields:
                    found.append((kind, number, "the record", "there", fields["_error"]))
                else:
                    differ(kind, number, mine[nth], fields, found, count)
        except Exception as error:  # noqa: BLE001
            found.append((kind, "-", "the file", "read", f"{type(error).__name__}: {error}"))
        for number, mine in ours.items():
            if seen[number] < len(mine):
                found.append((kind, number, "the record", "there", "missing"))
    return path, found, count


def differ(kind, number, ours, theirs, found, count):
    for name, value in theirs.items():
        count[kind + " values"] += 1
        mine = ours.get(name)
        if name in CONVERTED and ours.get("Channel") == "Security":
            count["values that we convert"] += 1
        elif not same(mine, value):
            found.append((kind, number, name, repr(mine), repr(value)))


def main():
    ours = collections.defaultdict(lambda: collections.defaultdict(list))
    for line in room.example("wardline-sense", "dump", [LOGS]).splitlines():
        event = json.loads(line)
        ours[event["_file"]][plain(event.get("EventRecordID"))].append(event)
    works = [(path, dict(records)) for path, records in sorted(ours.items())]
    total, kinds = collections.Counter(), collections.Counter()
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        for path, found, count in pool.imap(compare, works):
            total += count
            for kind, number, name, mine, value in found:
                kinds[kind, name] += 1
                if kinds[kind, name] <= SHOWN:
                    print(f"  {os.path.basename(path)} record {number} {name}: we {mine[:120]}, {kind} {value[:120]}")
    for name, n in sorted(total.items()):
        print(f"{name}: {n:,}")
    for (kind, name), n in kinds.most_common():
        print(f"different from {kind}: {name}: {n:,}")
    sys.exit(1 if kinds else 0)


main()
