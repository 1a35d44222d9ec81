"""Measures the main street on this machine; called by ./bench main_street.

Prints a table and writes target/bench/main_street.json: figure -> number. Needs root (the sensor), a release build,
and, for the scan, the shared logs and rules beside the project.
"""

import glob
import http.cookiejar
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WARDLINE = os.path.join(ROOT, "target/release/wardline")


def children(pid):
    """Processes by their role: {'hub': pid, 'agent': pid}."""
    found = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as stat:
                fields = stat.read().rsplit(")", 1)
            if int(fields[1].split()[1]) != pid:
                continue
            own = path.split("/")[2]
            with open(f"/proc/{own}/cmdline", "rb") as f:
                found[f.read().split(b"\0")[1].decode()] = int(own)
        except OSError:
            continue
    return found


def rss_mb(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) / 1024


def browser(link):
    """Signs in with a one-time link; gives an opener with the session's cookie."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    base = link.split("/signin/")[0]
    request = urllib.request.Request(link, data=b"", headers={"Origin": base})
    opener.open(request, timeout=5)
    return opener, base


def main_street(figures):
    data = tempfile.mkdtemp(prefix="wardline-bench-")
    began = time.monotonic()
    up = subprocess.Popen(
        [os.path.join(ROOT, "run"), "--data", data, "--http", "127.0.0.1:8790", "--agents", "127.0.0.1:8791"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        link = None
        for line in up.stdout:
            found = re.search(r"http://\S+/signin/\S+", re.sub(r"\x1b\[\d*m", "", line))
            if found:
                link = found.group(0)
                break
        if not link:
            sys.exit("wardline up printed no sign-in link")
        opener, base = browser(link)
        while time.monotonic() - began < 60:
            page = opener.open(base + "/findings", timeout=5).read().decode()
            if re.search(r'href="/findings/[0-9a-f]{32}"', page):
                break
            time.sleep(0.02)
        else:
            sys.exit("no finding was shown within 60 s")
        figures["first_finding_s"] = time.monotonic() - began
        # At rest: after the start's own work is done.
        time.sleep(8)
        # `run` has become `wardline up`, with sudo in between where it was needed.
        parts = children(up.pid)
        for role in ("hub", "agent"):
            figures[f"{role}_rss_mb"] = rss_mb(parts[role])
        runs = subprocess.run(
            [WARDLINE, "drill", "--runs", "200", "--json"], stdout=subprocess.PIPE, text=True, check=False
        )
        result = json.loads(runs.stdout)
        if result["stopped"] != 200:
            sys.exit(f"only {result['stopped']} of 200 drills were stopped")
        figures["kill_p50_ms"] = result["kill_p50_ms"]
        figures["kill_p99_ms"] = result["kill_p99_ms"]
    finally:
        up.terminate()
        up.wait(30)
        shutil.rmtree(data, ignore_errors=True)


def engine(figures):
    out = subprocess.run(
        [os.path.join(ROOT, "target/release/examples/engine")],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
    ).stdout
    figures["engine_eps"] = json.loads(out)["engine_eps"]


def scan(figures):
    shared = os.path.join(os.path.dirname(ROOT), "shared", "data")
    logs, rules = os.path.join(shared, "evtx"), os.path.join(shared, "sigma", "rules")
    if not os.path.isdir(logs):
        print("scan: skipped, no shared data beside the project")
        return
    size = sum(os.path.getsize(f) for f in glob.glob(logs + "/**/*.evtx", recursive=True))
    # The user's own caches are left alone.
    own = {**os.environ, "XDG_CACHE_HOME": os.path.join(ROOT, "target/bench/cache")}
    times, records = [], 0
    for _ in range(3):
        began = time.monotonic()
        out = subprocess.run(
            [WARDLINE, "scan", logs, "--rules", rules], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False, env=own,
        ).stdout
        times.append(time.monotonic() - began)
        found = re.search(r"Records\s+([\d,]+) read", out)
        records = int(found.group(1).replace(",", "")) if found else 0
    middle = sorted(times)[1]
    figures["scan_s"] = middle
    figures["scan_mb_s"] = size / 1e6 / middle
    figures["scan_eps"] = records / middle


def main():
    if os.geteuid() != 0:
        sys.exit("./bench main_street needs root: the sensor does")
    figures = {}
    main_street(figures)
    engine(figures)
    scan(figures)
    folder = os.path.join(ROOT, "target/bench")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "main_street.json"), "w") as f:
        json.dump(figures, f, indent=2)
    width = max(map(len, figures))
    for name, value in figures.items():
        print(f"{name:<{width}}  {value:>12,.2f}")


main()
