"""Runs `tidemark load` and gives its report; a run that is not counted right is no result."""

import json
import os
import subprocess
import time

from processes import idle_and_stolen_seconds

MICROSECONDS = 1e6
# Events in a request of bulk.
BULK = 1000


def command(options, url, rate, connections, arguments):
    fixed = [f"{options.binaries}/tidemark", "load", "--json", "--url", url, "--rate", rate, "--connections", str(connections)]
    return fixed + [str(argument) for argument in arguments]


def load(options, url, rate, connections=100, arguments=("--check",)):
    return finished(start(options, url, rate, connections, arguments))


def start(options, url, rate, connections=100, arguments=("--check",)):
    return subprocess.Popen(command(options, url, rate, connections, arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process):
    out, said = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"a load has failed, so there is no result: {said.strip()}")
    return json.loads(out)


class Cpu:
    """CPU of each process of a stack while something runs, and what of the machine was at rest or taken by others."""

    def __init__(self, stack):
        self.stack = stack

    def __enter__(self):
        self.before, self.machine_before, self.began_at = self.stack.cpu(), idle_and_stolen_seconds(), time.time()
        return self

    def __exit__(self, *_):
        self.spent = {name: after - self.before.get(name, 0.0) for name, after in self.stack.cpu().items()}
        whole = (time.time() - self.began_at) * os.cpu_count()
        shares = (100 * (after - before) / whole for before, after in zip(self.machine_before, idle_and_stolen_seconds()))
        self.idle_percent, self.stolen_percent = shares

    def per_event(self, events):
        """Microseconds of each process for an event; processes that rested are left out."""
        return {name: round(MICROSECONDS * spent / max(events, 1), 2) for name, spent in self.spent.items() if spent}


def costs(spent, report):
    """What a request costs each process in microseconds of CPU; of the generator too."""
    return spent.per_event(report["sent"]) | {"load": round(report["cpu_us_per_request"], 2)}
