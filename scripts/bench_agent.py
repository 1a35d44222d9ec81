"""Measures what the agent costs, and how fast it sees and stops; called by ./bench agent [--quick]. Needs root.

Programs are started as fast as it goes, alone, beside the agent, and beside auditd and bpftrace where they are installed.
Trees are frozen and killed, a network namespace made for it is isolated under traffic, harmless encryptors run against
folders made for them, and ordinary programs do their work beside the ransomware guard. The real agent, both processes, rests
beside a hub of its own, and a compilation is done with and without it, in turns. Prints a table with the goals, writes
target/bench/agent.json and the section of docs/performance.md between its markers. --quick runs less and leaves
docs/performance.md as it is.
"""

import argparse
import ctypes
import datetime
import json
import os
import platform
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = os.path.join(ROOT, "target", "bench")
PAGE = os.path.join(ROOT, "docs", "performance.md")
BEGIN, END = "<!-- ./bench agent writes this: begin -->", "<!-- ./bench agent: end -->"
CLONE_NEWNET = 0x40000000
STORM = os.path.join(ROOT, "target/release/examples/exec_storm")
RULES = os.path.join(ROOT, "..", "shared", "data", "sigma", "rules", "linux")
BPFTRACE = "tracepoint:syscalls:sys_enter_execve { printf(\"%d %s\\n\", pid, str(args->filename)); }"
WORDS = {
    "exec_storm_lost": "events lost of all that storms of 20,000 programs made; all runs",
    "exec_storm_per_second": "programs per second in the storms, agent running; median",
    "exec_added_us": "time on the processors that each program costs more with the agent, its own threads not counted; median",
    "exec_added_dynamic_us": "the same for /bin/true, which the dynamic linker starts",
    "consumer_cpu_s_per_20k": "the agent's time on the processors for 20,000 programs: reading, matching all rules, deciding,"
                              " encoding; median",
    "writer_cpu_s_per_20k": "the same of its thread that writes the spool",
    "storm_rules": "rules in force in the storms",
    "storm_agent_rss_mb": "resident memory of that agent after a storm",
    "critical_p50_ms": "kernel to decision for a program that a rule kills, while each processor is kept busy",
    "critical_p99_ms": "the same, 99th percentile",
    "auditd_added_us": "what each program of the storm costs more with auditd (Debian's defaults, one rule for execve)",
    "auditd_per_second": "programs per second then",
    "bpftrace_added_us": "the same with bpftrace that prints each execve",
    "bpftrace_lost": "of 20,000, those that bpftrace did not print",
    "freeze_own_ms": "a tree of 51 in a cgroup of its own stands still after the order; median of 30",
    "freeze_own_ms_max": "the slowest of them",
    "stop_foreign_ms": "a tree of 51 that shares its cgroup stands still; median of 30",
    "stop_foreign_ms_max": "the slowest of them",
    "freeze_foreign_ms": "a tree that shares its cgroup and forks all the time stands still; median of 30",
    "freeze_foreign_ms_max": "the slowest of them",
    "isolation_last_stray_ms": "from the order to isolate to the last packet that arrived elsewhere; the worst run",
    "isolation_last_stray_median_ms": "the same, median",
    "hub_gap_ms": "longest silence of the hub's stream within 100 ms of the order, less its longest in the second before;"
                  " median",
    "files_lost_median": "files that a harmless encryptor destroyed before it stood still; all runs of all encryptors",
    "files_lost_max": "the most in any run",
    "encryptor_runs": "runs of encryptors",
    "false_stops": "ordinary programs that were stopped",
    "ordinary_programs": "ordinary programs that ran to their end",
    "rss_mb": "resident memory of the agent at rest, guard and courier together, with all rules",
    "idle_cpu_percent": "of one core, what both take while nothing else is started by this benchmark",
    "compile_added_percent": "what a long compilation costs more on the processors with the agent, its own time not counted;"
                             " median of rounds in turns",
    "compile_slowed_percent": "how much longer it takes from start to end; median",
    "compile_seconds": "how long it takes without the agent; median",
}
# What each may be at most.
GOALS = {
    "exec_storm_lost": 0, "exec_added_us": 10, "consumer_cpu_s_per_20k": 0.25, "rss_mb": 40, "critical_p99_ms": 5,
    "files_lost_max": 10, "isolation_last_stray_ms": 10, "hub_gap_ms": 0, "freeze_own_ms": 1, "freeze_foreign_ms": 50,
    "false_stops": 0, "idle_cpu_percent": 0.5, "compile_added_percent": 2, "compile_slowed_percent": 2,
}


def freezes(figures):
    out = subprocess.run(
        [os.path.join(ROOT, "target/release/examples/freeze_times")], stdout=subprocess.PIPE, text=True, check=True,
    ).stdout
    for line in out.splitlines():
        name, value = line.split()
        figures[name] = float(value)


class Estate:
    """Two namespaces and a cable; IPv4 and IPv6 addresses of a ward's machine, a hub, and somebody else."""

    def __init__(self):
        self.ward, self.world = (f"wl-bench-{os.getpid()}-{n}" for n in ("ward", "world"))
        ip = self.ip
        for name in (self.ward, self.world):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", self.ward, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", self.world)
        for name, addresses in ((self.ward, ("1",)), (self.world, ("2", "3"))):
            ip("-n", name, "link", "set", "cable", "up")
            for last in addresses:
                ip("-n", name, "addr", "add", f"10.9.0.{last}/24", "dev", "cable")
                ip("-n", name, "addr", "add", f"fd09::{last}/64", "dev", "cable", "nodad")

    @staticmethod
    def ip(*arguments):
        subprocess.run(["ip", *arguments], check=True, timeout=20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for name in (self.ward, self.world):
            subprocess.run(["ip", "netns", "del", name], check=False, timeout=20)

    def socket(self, name, family, kind):
        """A socket made inside a namespace works there, whoever holds it."""
        made = []

        def make():
            with open(f"/run/netns/{name}", "rb") as namespace:
                # Python has it from 3.12 on.
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            made.append(socket.socket(family, kind))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]


def hear(sock, times, stopped):
    sock.settimeout(0.05)
    while not stopped.is_set():
        try:
            if not sock.recv(2048):
                return
            times.append(time.monotonic_ns())
        except TimeoutError:
            pass


def isolation(figures, runs):
    """Floods somebody else, and streams to the hub, over both families, while the order is given."""
    strays, gaps = [], []
    for run in range(runs):
        family, other, hub = ((socket.AF_INET, "10.9.0.3", "10.9.0.2"), (socket.AF_INET6, "fd09::3", "fd09::2"))[run % 2]
        with Estate() as estate:
            far = estate.socket(estate.world, family, socket.SOCK_DGRAM)
            far.bind((other, 5000))
            near = estate.socket(estate.ward, family, socket.SOCK_DGRAM)
            listener = estate.socket(estate.world, family, socket.SOCK_STREAM)
            listener.bind((hub, 8443))
            listener.listen()
            stream = estate.socket(estate.ward, family, socket.SOCK_STREAM)
            stream.connect((hub, 8443))
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            accepted = listener.accept()[0]
            strayed, streamed, stopped = [], [], threading.Event()

            def talk():
                while not stopped.is_set():
                    try:
                        near.sendto(b"stray", (other, 5000))
                    except OSError:
                        pass  # Cut at its own filter.
                    stream.send(b"beat")
                    time.sleep(0.0002)

            threads = [
                threading.Thread(target=talk), threading.Thread(target=hear, args=(far, strayed, stopped)),
                threading.Thread(target=hear, args=(accepted, streamed, stopped)),
            ]
            for thread in threads:
                thread.start()
            time.sleep(1.2)
            address = f"[{hub}]:8443" if ":" in hub else f"{hub}:8443"
            said = subprocess.run(
                ["ip", "netns", "exec", estate.ward, os.path.join(ROOT, "target/release/examples/isolate_once"), address],
                stdout=subprocess.PIPE, text=True, check=True, timeout=20,
            ).stdout
            time.sleep(0.5)
            stopped.set()
            for thread in threads:
                thread.join()
            ordered = int(said.split()[0])
            if not strayed or strayed[-1] > ordered + 400_000_000:
                sys.exit("the isolation did not cut, or nothing was heard before it")
            strays.append(max(0, strayed[-1] - ordered) / 1e6)

            def longest(begin, end):
                beats = [t for t in streamed if begin <= t <= end]
                return max((b - a for a, b in zip(beats, beats[1:])), default=end - begin)

            usual = longest(ordered - 1_000_000_000, ordered)
            gaps.append(max(0, longest(ordered - 1_000_000, ordered + 100_000_000) - usual) / 1e6)
            for sock in (far, near, listener, stream, accepted):
                sock.close()
    figures["isolation_last_stray_ms"] = max(strays)
    figures["isolation_last_stray_median_ms"] = statistics.median(strays)
    figures["hub_gap_ms"] = statistics.median(gaps)


def test(name):
    """Runs a test of the ransomware guard and returns what it printed; says so if a limit was broken."""
    done = subprocess.run(
        ["cargo", "test", "--release", "--quiet", "-p", "wardline-ransomware", "--test", name, "--", "--nocapture"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )
    if done.returncode != 0:
        print(f"the test {name} failed:\n" + "\n".join(re.findall(r"panicked at.*\n.*", done.stdout)), file=sys.stderr)
    return done.stdout


def ransomware(figures, runs):
    lost = []
    for _ in range(runs):
        out = test("encryptors")
        lost += [int(n) for n in re.findall(r": (\d+) lost, ", out)]
        lost += [int(n) for n in re.findall(r"(\d+) of \d+ lost", out)]
    if not lost:
        sys.exit("no encryptor ran")
    figures["files_lost_median"], figures["files_lost_max"] = statistics.median(lost), max(lost)
    figures["encryptor_runs"] = len(lost)
    out = test("ordinary")
    figures["false_stops"] = len(re.findall(r" was stopped: \[", out))
    figures["ordinary_programs"] = len(re.findall(r": not stopped", out))
    if not figures["ordinary_programs"]:
        sys.exit("no ordinary program ran")


class Beside:
    """A program that runs beside a storm, and what it printed; ends with its standard input or by SIGINT."""

    def __init__(self, command, ready):
        self.child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.child.stdout:
            if ready in line:
                break
        time.sleep(0.3)

    def end(self, interrupt=False):
        if interrupt:
            self.child.send_signal(2)
        return self.child.communicate(timeout=60)[0]


def storm(starts, program, *arguments):
    out = subprocess.run(
        [STORM, "storm", str(starts), program, *arguments], stdout=subprocess.PIPE, text=True, check=True,
        stdin=subprocess.DEVNULL, timeout=300)
    return json.loads(out.stdout)


def agent():
    rules = ["--rules", RULES] if os.path.isdir(RULES) else []
    return Beside([STORM, "agent", *rules], "ready")


def storms(figures, rounds):
    """Alternates storms alone and with the agent, and with others where they are installed."""
    added, books, paces = {"tiny": [], "/bin/true": []}, [], []
    others = {"bpftrace": ([], []), "auditd": ([], [])}
    for _ in range(rounds):
        for program, starts in (("tiny", 20_000), ("/bin/true", 4_000)):
            alone = storm(starts, program)
            beside = agent()
            seen = storm(starts, program)
            told = json.loads(beside.end())
            added[program].append(seen["cpu_us"] - alone["cpu_us"])
            if program == "tiny":
                books.append(told)
                paces.append(seen["per_second"])
                compare(others, starts, alone)
            else:
                figures["exec_storm_lost"] = figures.get("exec_storm_lost", 0) + told["lost"]
    figures["exec_storm_lost"] += sum(b["lost"] + b["spool_dropped"] for b in books)
    figures["exec_storm_per_second"] = statistics.median(paces)
    figures["exec_added_us"] = statistics.median(added["tiny"])
    figures["exec_added_dynamic_us"] = statistics.median(added["/bin/true"])
    figures["consumer_cpu_s_per_20k"] = statistics.median(b["reading_s"] for b in books)
    figures["writer_cpu_s_per_20k"] = statistics.median(b["writing_s"] for b in books)
    figures["storm_rules"] = books[-1]["rules"]
    figures["storm_agent_rss_mb"] = max(b["rss_mb"] for b in books)
    for name, (costs, rates) in others.items():
        if costs:
            figures[f"{name}_added_us"] = statistics.median(costs)
            figures[f"{name}_{'per_second' if name == 'auditd' else 'lost'}"] = statistics.median(rates)


def compare(others, starts, alone):
    if shutil.which("bpftrace"):
        # It wants tracefs, which need not be mounted here.
        script = "mount -t tracefs tracefs /sys/kernel/tracing && exec bpftrace -e '" + BPFTRACE + "'"
        beside = Beside(["unshare", "-m", "--propagation", "private", "sh", "-c", script], "Attaching")
        time.sleep(1)
        seen = storm(starts, "tiny")
        printed = sum("/tiny" in line for line in beside.end(interrupt=True).splitlines())
        others["bpftrace"][0].append(seen["cpu_us"] - alone["cpu_us"])
        others["bpftrace"][1].append(starts - printed)
    if shutil.which("auditd") and own_auditd():
        try:
            subprocess.run(["auditctl", "-b", "8192"], check=True, stdout=subprocess.DEVNULL)
            subprocess.run(["auditctl", "-a", "always,exit", "-F", "arch=b64", "-S", "execve"], check=True,
                           stdout=subprocess.DEVNULL)
            seen = storm(starts // 10, "tiny")
            others["auditd"][0].append(seen["cpu_us"] - alone["cpu_us"])
            others["auditd"][1].append(seen["per_second"])
        finally:
            for order in (["-D"], ["-e", "0"]):
                subprocess.run(["auditctl", *order], check=False, stdout=subprocess.DEVNULL)
            with open("/run/auditd.pid", encoding="utf-8") as f:
                os.kill(int(f.read()), 15)


def own_auditd():
    """Starts auditd, unless the machine has one already, whose log is none of ours."""
    status = subprocess.run(["auditctl", "-s"], stdout=subprocess.PIPE, text=True, check=False).stdout
    if not re.search(r"^pid 0$", status, re.M):
        return False
    subprocess.run(["auditd", "-s", "enable"], check=False, stderr=subprocess.DEVNULL)
    for _ in range(50):
        status = subprocess.run(["auditctl", "-s"], stdout=subprocess.PIPE, text=True, check=False).stdout
        if not re.search(r"^pid 0$", status, re.M):
            return True
        time.sleep(0.1)
    return False


def critical(figures, starts):
    """How long after the kernel a program is decided about that a rule kills, while each processor has work."""
    burning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count())]
    try:
        beside = agent()
        for _ in range(starts):
            subprocess.run(
                ["/bin/bash", "-c", ": wardline-drill 'bash -i >& /dev/tcp/127.0.0.1/9 0>&1'"], check=True, timeout=20)
        told = json.loads(beside.end())
    finally:
        for child in burning:
            child.kill()
            child.wait()
    if told["decided"] < starts:
        sys.exit(f"of {starts} drills {told['decided']} were decided about")
    figures["critical_p50_ms"], figures["critical_p99_ms"] = told["decided_p50_ms"], told["decided_p99_ms"]


class RealAgent:
    """A hub, and an agent that is enrolled with it and monitors: the built binary, in a folder of its own."""

    WARDLINE = os.path.join(ROOT, "target/release/wardline")

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="wardline-bench-")
        self.hub_data, self.data = (os.path.join(self.folder.name, name) for name in ("hub", "agent"))
        self.hub, self.agents = self.start("agents connect to ", "hub", "run", "--data", self.hub_data, "--http", "127.0.0.1:0",
                                           "--agents", "127.0.0.1:0")
        token = self.ask("hub", "token", "--data", self.hub_data)
        self.ask("agent", "enrol", self.agents, token, "--data", self.data)
        self.agent = None

    def ask(self, *arguments):
        done = subprocess.run([self.WARDLINE, *arguments], stdout=subprocess.PIPE, text=True, check=True, timeout=60)
        return done.stdout.strip()

    def start(self, ready, *arguments):
        """Starts a part, and gives it with the word after those by which it is ready."""
        child = subprocess.Popen([self.WARDLINE, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, text=True)
        word = None
        for line in child.stderr:
            if ready in line:
                word = line.split(ready)[1].split()[0]
                break
        if word is None:
            sys.exit(f"wardline {' '.join(arguments)} ended ({child.wait()})")
        # What it says later is read, so that it never waits for us.
        threading.Thread(target=child.stderr.read, daemon=True).start()
        return child, word

    def watch(self):
        rules = ["--rules", RULES] if os.path.isdir(RULES) else []
        self.agent = self.start("connected to the hub at ", "agent", "run", "--data", self.data, *rules)[0]

    def processes(self):
        """Guard and courier."""
        with open(f"/proc/{self.agent.pid}/task/{self.agent.pid}/children", encoding="utf-8") as f:
            found = [self.agent.pid, *map(int, f.read().split())]
        # Any of its threads may have started it.
        for task in os.listdir(f"/proc/{self.agent.pid}/task"):
            with open(f"/proc/{self.agent.pid}/task/{task}/children", encoding="utf-8") as f:
                found += [int(pid) for pid in f.read().split() if int(pid) not in found]
        return found

    def cpu(self):
        """Seconds on the processors of both, so far."""
        total = 0
        for pid in self.processes():
            # In nanoseconds, where ticks would be too coarse (Documentation/scheduler/sched-stats.rst).
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat", encoding="utf-8") as f:
                    total += int(f.read().split()[0])
        return total / 1e9

    def rss(self):
        total = 0
        for pid in self.processes():
            with open(f"/proc/{pid}/status", encoding="utf-8") as f:
                total += int(re.search(r"^VmRSS:\s+(\d+) kB", f.read(), re.M).group(1))
        return total / 1024

    def unwatch(self):
        if self.agent:
            self.end(self.agent)
            self.agent = None

    @staticmethod
    def end(child):
        child.send_signal(2)
        child.wait(timeout=60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.unwatch()
        self.end(self.hub)
        self.folder.cleanup()


def at_rest(figures, real, seconds):
    real.watch()
    if len(real.processes()) != 2:
        sys.exit(f"an agent is a guard and a courier, not {real.processes()}")
    # Its start is over.
    time.sleep(10)
    before, began = real.cpu(), time.monotonic()
    time.sleep(seconds)
    figures["idle_cpu_percent"] = (real.cpu() - before) / (time.monotonic() - began) * 100
    figures["rss_mb"] = real.rss()
    real.unwatch()


def source(number):
    """A file in C with much to do for a compiler."""
    body = "\n".join(
        f"__attribute__((noinline)) static int f{i}(int *a, int n) {{ int s = {i}; for (int i = 0; i < n; i++) {{ s += a[i] * {i % 7 + 1};"
        f" if (s % {i % 11 + 2}) s ^= a[n - i - 1] << {i % 5}; }} return s; }}" for i in range(80))
    calls = " + ".join(f"f{i}(a, n)" for i in range(80))
    return f"{body}\nint g{number}(int *a, int n) {{ return {calls}; }}\n"


def compilation(folder, files):
    """Compiles each by a process of its own, as make does; seconds on the processors and on the wall."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    for path in files:
        subprocess.run(["cc", "-O2", "-c", path, "-o", os.path.join(folder, "out.o")], check=True, timeout=300)
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime, wall


def compilations(figures, real, rounds, count):
    added, slowed, alone_walls = [], [], []
    with tempfile.TemporaryDirectory(prefix="wardline-bench-") as folder:
        files = []
        for n in range(count):
            files.append(os.path.join(folder, f"part{n}.c"))
            with open(files[-1], "w", encoding="utf-8") as f:
                f.write(source(n))
        compilation(folder, files)
        for number in range(rounds):
            # Whoever comes second finds the caches warmer: turn by turn another one.
            measured = {}
            for watched in ((False, True), (True, False))[number % 2]:
                if watched:
                    real.watch()
                measured[watched] = compilation(folder, files)
                real.unwatch()
            (cpu, wall), (cpu_with, wall_with) = measured[False], measured[True]
            added.append((cpu_with / cpu - 1) * 100)
            slowed.append((wall_with / wall - 1) * 100)
            alone_walls.append(wall)
    figures["compile_added_percent"] = statistics.median(added)
    figures["compile_slowed_percent"] = statistics.median(slowed)
    figures["compile_seconds"] = statistics.median(alone_walls)


def goal(name, value):
    """The goal, and whether it is met; nothing where there is none."""
    if name not in GOALS:
        return ""
    return f"≤ {GOALS[name]:g}" + ("" if value <= GOALS[name] else ", missed")


def write_page(figures):
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        model = re.search(r"model name\s*: (.*)", f.read())
    head = (
        f"Measured on {datetime.date.today()}, Linux {platform.release().split('-')[0]}, {os.cpu_count()} cores"
        f" ({model.group(1) if model else platform.machine()}), load {os.getloadavg()[0]:.1f}."
    )
    rows = [f"| `{name}` | {value:,.3g} | {goal(name, value)} | {WORDS[name]} |" for name, value in figures.items()]
    with open(PAGE, encoding="utf-8") as f:
        page = f.read()
    if BEGIN not in page:
        page = page.rstrip() + f"\n\n## The agent's stops\n\n{BEGIN}\n{END}\n"
    before, rest = page.split(BEGIN, 1)
    lines = [head, "", "| figure | value | goal | what |", "|---|---|---|---|", *rows]
    with open(PAGE, "w", encoding="utf-8") as f:
        f.write(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + rest.split(END, 1)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer runs; docs/performance.md stays")
    quick = parser.parse_args().quick
    if os.geteuid() != 0:
        sys.exit("./bench agent needs root: it freezes, isolates and loads eBPF")
    figures = {}
    storms(figures, 1 if quick else 5)
    critical(figures, 50 if quick else 500)
    freezes(figures)
    isolation(figures, 4 if quick else 20)
    ransomware(figures, 1 if quick else 5)
    with RealAgent() as real:
        at_rest(figures, real, 10 if quick else 60)
        compilations(figures, real, 2 if quick else 10, 6 if quick else 12)
    os.makedirs(OUT, exist_ok=True)
    with open(os.path.join(OUT, "agent.json"), "w", encoding="utf-8") as f:
        json.dump(figures, f, indent=2)
    if not quick:
        write_page(figures)
    width = max(map(len, figures))
    for name, value in figures.items():
        print(f"{name:<{width}}  {value:>10.3f}  {goal(name, value):<15}  {WORDS[name]}")


if __name__ == "__main__":
    main()
