"""Measures the Sigma engine on this machine; called by ./bench sigma [--quick].

Matching alone with growing numbers of rules, scanning of EVTX and of JSON lines, loading of rules, memory; beside it
what parsing EVTX costs by itself, and other engines if they are on PATH. Prints tables, writes target/bench/sigma.json
and the section of docs/performance.md between its markers. --quick runs everything once on small inputs and leaves
docs/performance.md as it is.

Times are seconds on the processor in user mode, so that a busy machine disturbs them little; medians of three runs.
Needs a release build and the shared logs and rules beside the project.
"""

import argparse
import collections
import datetime
import glob
import json
import os
import platform
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SHARED = os.path.join(os.path.dirname(ROOT), "shared", "data")
OUT = os.path.join(ROOT, "target", "bench")
WARDLINE = os.path.join(ROOT, "target", "release", "wardline")
PAGE = os.path.join(ROOT, "docs", "performance.md")
BEGIN, END = "<!-- ./bench sigma writes this: begin -->", "<!-- end -->"
CHUNK, HEADER = 64 * 1024, 4096

Run = collections.namedtuple("Run", "wall user rss_mb output code")


def example(name):
    return os.path.join(ROOT, "target", "release", "examples", name)


def run(command, env=None, stdin=None, keep=False):
    """Runs a program to its end; None if it cannot be started."""
    with tempfile.TemporaryFile() as out:
        began = time.monotonic()
        try:
            source = open(stdin, "rb") if stdin else subprocess.DEVNULL
            child = subprocess.Popen(
                command, stdin=source, stdout=out if keep else subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env={**os.environ, **(env or {})},
            )
        except OSError:
            return None
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - began
        out.seek(0)
        # The clock of processors ticks in milliseconds at best.
        return Run(wall, max(usage.ru_utime, 0.001), usage.ru_maxrss / 1024, out.read().decode(errors="replace"), child.returncode)


def median(times, command, **how):
    """The run with the median of user time, of as many runs as asked for."""
    runs = [run(command, **how) for _ in range(times)]
    # 1 is said by programs that found something, or could not read all; what is above is a refusal to work.
    runs = [r for r in runs if r and r.code in (0, 1)]
    return sorted(runs, key=lambda r: r.user)[len(runs) // 2] if runs else None


def instructions(command):
    """Instructions in user mode, if `perf` is there and may count."""
    if not shutil.which("perf"):
        return None
    with tempfile.NamedTemporaryFile() as out:
        run(["perf", "stat", "-x", ",", "-e", "instructions:u", "-o", out.name, "--", *command])
        found = re.search(r"^(\d+),", out.read().decode(), re.MULTILINE)
        return int(found.group(1)) if found else None


# Inputs.


def windows_rules(folder):
    """The shared rules for Windows, copied into a folder; how many files."""
    shutil.rmtree(folder, ignore_errors=True)
    count = 0
    for path in sorted(glob.glob(os.path.join(SHARED, "sigma", "rules*", "**", "*.yml"), recursive=True)):
        with open(path, encoding="utf-8") as f:
            if not re.search(r"^ +product: *windows\b", f.read(), re.MULTILINE):
                continue
        target = os.path.join(folder, os.path.relpath(path, os.path.join(SHARED, "sigma")))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(path, target)
        count += 1
    return count


def full_chunks(logs):
    """The chunks of the logs that are nearly full and right: (bytes, number of records)."""
    for path in sorted(glob.glob(logs + "/**/*.evtx", recursive=True)):
        with open(path, "rb") as f:
            data = f.read()
        for at in range(HEADER, len(data) - CHUNK + 1, CHUNK):
            chunk = data[at : at + CHUNK]
            first, last, _, _, header, _, free, records_crc = struct.unpack_from("<QQQQIIII", chunk, 8)
            if not chunk.startswith(b"ElfChnk\0") or header != 128 or not 60_000 < free <= CHUNK:
                continue
            (header_crc,) = struct.unpack_from("<I", chunk, 124)
            right = zlib.crc32(chunk[:120] + chunk[128:512]) == header_crc and zlib.crc32(chunk[512:free]) == records_crc
            if right:
                yield chunk, last - first + 1


def dense_log(path, logs, size):
    """An EVTX file of this size made of the logs' own full chunks, again and again; how many records."""
    chunks = list(full_chunks(logs))
    count = (size - HEADER) // CHUNK
    records = sum(chunks[i % len(chunks)][1] for i in range(count))
    header = bytearray(HEADER)
    struct.pack_into("<8sQQQIHHHH", header, 0, b"ElfFile\0", 0, count - 1, records + 1, 128, 1, 3, HEADER, count)
    struct.pack_into("<I", header, 124, zlib.crc32(bytes(header[:120])))
    with open(path, "wb") as f:
        f.write(header)
        for i in range(count):
            f.write(chunks[i % len(chunks)][0])
    return records


def for_peers(events, path):
    """The events with the terms of their log source as fields, as rsigma wants them."""
    with open(events, encoding="utf-8") as source, open(path, "w", encoding="utf-8") as out:
        for line in source:
            event = json.loads(line)
            terms = event.pop("_logsource")
            event = {n: v for n, v in event.items() if not n.startswith("_")}
            event.update({f"ls_{n}": terms[n] for n in ("product", "category", "service") if terms[n]})
            out.write(json.dumps(event) + "\n")


# Measurements.


def matching(figures, rules, events, rounds):
    """Matching alone, with more and more rules."""
    # 3,000 stands for all Windows rules, of which there are a few less. Of fewer rules two sets are measured: their mean.
    done = run([example("throughput"), rules, events, str(rounds)], keep=True)
    by_count, count = {}, None
    for name, value in re.findall(r"^ *(\w+) ([\d.]+)$", done.output, re.MULTILINE):
        if name == "rules_of_set":
            count = int(value)
        elif name == "once_us_per_event" and count and float(value):
            by_count.setdefault(count, []).append(float(value))
    by_count = {count: statistics.mean(times) for count, times in by_count.items()}
    rows = []
    for count, us in sorted(by_count.items()):
        rows.append((f"{count:,} rules", f"{us:.2f} µs", f"{1e6 / us:,.0f}"))
        if count in (100, 300, 1000):
            figures[f"eps_{count}"] = 1e6 / us
    if by_count:
        most = max(by_count)
        figures["match_us_per_event"] = by_count[most]
        figures["eps_3000"] = 1e6 / by_count[most]
        figures["match_rules"] = most
        half = most // 2
        if half in by_count:
            figures["doubling_costs_percent"] = (by_count[most] / by_count[half] - 1) * 100
    return rows


def loading(figures, rules, tiny, times):
    """From the start of `wardline scan` to its end with a log of one line: cold, and with what it kept."""
    command = [WARDLINE, "scan", tiny, "--rules", rules, "--quiet"]
    cold, cached = [], []
    for _ in range(times):
        with tempfile.TemporaryDirectory(prefix="wardline-bench-") as cache:
            env = {"XDG_CACHE_HOME": cache}
            cold.append(run(command, env=env))
            run(command, env=env)
            cached.append(run(command, env=env))
    figures["load_cold_ms"] = statistics.median(r.wall for r in cold) * 1e3
    figures["load_cached_ms"] = statistics.median(r.wall for r in cached) * 1e3
    return [
        ("cold", f"{figures['load_cold_ms']:.0f} ms", f"{statistics.median(r.user for r in cold):.2f} s"),
        ("again", f"{figures['load_cached_ms']:.0f} ms", f"{statistics.median(r.user for r in cached):.2f} s"),
    ]


def peers(logs, rules, flat):
    """Other engines on PATH: (name, command) for this input."""
    found = []
    if shutil.which("rsigma"):
        common = ["rsigma", "engine", "eval", "--quiet", "--rules", rules]
        if flat:
            terms = "product=ls_product,category=ls_category,service=ls_service"
            routing = ["--logsource-routing", "--logsource-field-map", terms, "--input-format", "json"]
            found.append(("rsigma, flat JSON", [*common, *routing, "--event", "@" + flat]))
        elif os.path.isfile(logs):
            found.append(("rsigma, EVTX", [*common, "--event", "@" + logs]))
    if not flat:
        where = "--directory" if os.path.isdir(logs) else "--file"
        if shutil.which("hayabusa"):
            # With the rules that it brings along: it reads no others as they are.
            out = os.path.join(OUT, "hayabusa.csv")
            found.append(("Hayabusa", ["hayabusa", "csv-timeline", where, logs, "-o", out, "-w", "-q", "-C"]))
        if shutil.which("chainsaw") and os.environ.get("CHAINSAW_MAPPING"):
            mapping = os.environ["CHAINSAW_MAPPING"]
            found.append(("Chainsaw", ["chainsaw", "hunt", logs, "-s", rules, "--mapping", mapping, "--json", "-q"]))
        if shutil.which("zircolite") and os.environ.get("ZIRCOLITE_RULES"):
            ruleset = os.environ["ZIRCOLITE_RULES"]
            found.append(("Zircolite", ["zircolite", "--evtx", logs, "--ruleset", ruleset, "--no-recursion"]))
    return found


def scanning(title, logs, records, rules, times, flat=None):
    """Wardline on one core and on all, parsing alone, the peers: rows, and Wardline's two runs."""
    scan = [WARDLINE, "scan", logs, "--rules", rules, "--json", "--quiet"]
    work = [("Wardline, one thread", [*scan, "--threads", "1"]), ("Wardline", scan)]
    if not flat:
        work.append(("parsing alone", [example("read_cost"), logs, "parse"]))
    work.extend(peers(logs, rules, flat))
    results = {}
    for name, command in work:
        done = median(times, command)
        if not done and name.startswith("Wardline"):
            sys.exit(f"{' '.join(command)} failed")
        if done:
            results[name] = (done, instructions(command) if name.startswith(("Wardline, one", "parsing")) else None)
    base = results["Wardline, one thread"][0].user
    rows = []
    for name, (done, count) in results.items():
        rows.append((
            title if not rows else "", name, f"{done.user:.2f} s", f"{done.wall:.2f} s", f"{done.rss_mb:.0f} MB",
            f"{records / done.user:,.0f}", f"{done.user / base:.2f}", f"{count / 1e9:.2f}" if count else "–",
        ))
    return rows, results["Wardline, one thread"][0], results["Wardline"][0]


def loaded_rules(figures):
    """Of the rules of all shared folders, how many load."""
    head = json.loads(run([example("match_lines"), os.path.join(SHARED, "sigma")], keep=True).output.splitlines()[0])
    figures["rules_loaded"] = len(head["rules"])
    figures["rules_total"] = len(head["rules"]) + len(head["refused"])


def table(head, rows):
    text = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return text + ["| " + " | ".join(row) + " |" for row in rows]


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        model = re.search(r"model name\s*: (.*)", f.read())
    return f"{os.cpu_count()} cores ({model.group(1) if model else platform.machine()}), load {os.getloadavg()[0]:.1f}"


def write_page(lines):
    with open(PAGE, encoding="utf-8") as f:
        page = f.read()
    if BEGIN not in page:
        page = page.rstrip() + f"\n\n## The Sigma engine\n\n{BEGIN}\n{END}\n"
    before, rest = page.split(BEGIN, 1)
    with open(PAGE, "w", encoding="utf-8") as f:
        f.write(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + rest.split(END, 1)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small inputs, each once; docs/performance.md stays")
    parser.add_argument("--keep", action="store_true", help="leave the large logs that are made in target/bench/inputs")
    arguments = parser.parse_args()
    quick = arguments.quick
    logs = os.path.join(SHARED, "evtx")
    if not os.path.isdir(logs):
        sys.exit("skipped: no shared data beside the project")
    times = 1 if quick else 3
    inputs = os.path.join(OUT, "inputs")
    os.makedirs(inputs, exist_ok=True)
    # The user's own caches are left alone.
    os.environ["XDG_CACHE_HOME"] = os.path.join(OUT, "cache")
    rules = os.path.join(inputs, "rules")
    rule_files = windows_rules(rules)
    events, flat = os.path.join(inputs, "events.jsonl"), os.path.join(inputs, "flat.jsonl")
    with open(events, "wb") as f:
        subprocess.run([example("dump"), logs], stdout=f, stderr=subprocess.DEVNULL, check=True)
    for_peers(events, flat)
    with open(events, encoding="utf-8") as f:
        count = sum(1 for _ in f)
    tiny = os.path.join(inputs, "tiny.jsonl")
    with open(tiny, "w", encoding="utf-8") as f:
        f.write('{"EventID": 1, "Channel": "Microsoft-Windows-Sysmon/Operational", "Image": "C:\\\\a.exe"}\n')

    figures = {}
    loaded_rules(figures)
    print("matching", flush=True)
    match_rows = matching(figures, rules, events, 3 if quick else 9)
    print("loading", flush=True)
    load_rows = loading(figures, rules, tiny, times)
    print("scanning", flush=True)
    scan_rows, _, _ = scanning(f"shared logs, {count:,} events", logs, count, rules, times)
    more, _, _ = scanning(f"the same as JSON lines, {count:,} events", events, count, rules, times, flat)
    scan_rows += more
    for size in [32] if quick else [256, 1024]:
        path = os.path.join(inputs, f"dense-{size}.evtx")
        records = dense_log(path, logs, size << 20)
        more, one, both = scanning(f"{size} MB of EVTX, {records:,} events", path, records, rules, times)
        scan_rows += more
        figures["scan_eps_1core"] = records / one.user
        figures["scan_eps"] = records / both.wall
        figures["rss_mb"] = both.rss_mb
        if not arguments.keep:
            os.remove(path)
    with open(os.path.join(OUT, "sigma.json"), "w", encoding="utf-8") as f:
        json.dump(figures, f, indent=2)

    today = datetime.date.today().isoformat()
    lines = [
        "",
        f"Measured on {today}: {machine()}; {rule_files:,} rule files for Windows of the shared rules; medians of {times}.",
        f"Of all {figures['rules_total']:,} shared rules {figures['rules_loaded']:,} load.",
        "",
        f"Matching alone, over the {count:,} events of the shared logs (`throughput`, time on the processor, one core):",
        "",
        *table(["", "per event", "events/s"], match_rows),
        "",
        "Loading the rules and scanning one line:",
        "",
        *table(["", "from start to end", "user time"], load_rows),
        "",
        "Scanning, the loading of the rules included; ×: user time as a multiple of Wardline's on one thread:",
        "",
        *table(["input", "program", "user time", "wall time", "memory", "events/s of user time", "×", "10⁹ instructions"], scan_rows),
    ]
    print("\n".join(lines))
    if not quick:
        write_page(lines)
    print()
    for name, value in figures.items():
        print(f"{name:<24} {value:>14,.2f}")


main()
