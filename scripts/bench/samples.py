"""Where a role's time goes under a load. Run by `just bench-profile`; needs Linux and perf.

Writes what perf sampled to a folder, a text with the stacks in it that https://profiler.firefox.com shows as a flame graph, and prints the
functions that take most themselves.
"""

import argparse
import os
import signal
import subprocess
import time

from loads import Cpu, costs, finished, start
from processes import Stack

# No multiple of anything that happens at a rate of its own.
SAMPLES_A_SECOND = 997
# Until all connections are open.
SETTLED_SECONDS = 1
SHOWN = 30


def main():
    parser = argparse.ArgumentParser(prog="just bench-profile", description=__doc__.split("\n\n")[0])
    parser.add_argument("binaries", help="the folder of the binaries to measure")
    parser.add_argument("role", choices=["ingest", "pipeline", "query"])
    parser.add_argument("--rate", default="max", help="as of `tidemark load`, without a time")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--batch", type=int, default=1, help="events in a request")
    parser.add_argument("--folder", default=".run/profile")
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    recorded, stacks = f"{options.folder}/perf.data", f"{options.folder}/{options.role}.perf"
    with Stack(options) as stack:
        stack.nats()
        stack.roles()
        with Cpu(stack) as spent:
            arguments = ["--no-check", "--batch", options.batch]
            running = start(options, stack.ingest, f"{options.rate} for {options.seconds + 2 * SETTLED_SECONDS}s", options.connections, arguments)
            time.sleep(SETTLED_SECONDS)
            record(stack.processes[options.role].pid, options.seconds, recorded)
            report = finished(running)
    print(f"{report['accepted_per_second']:,.0f} requests/s accepted; us of CPU for each request: {costs(spent, report)}")
    with open(stacks, "w") as file:
        subprocess.run(["perf", "script", "-i", recorded], check=True, stdout=file, stderr=subprocess.DEVNULL)
    told = ["perf", "report", "-i", recorded, "--stdio", "--no-children", "-g", "none", "--percent-limit", "0.5"]
    lines = subprocess.run(told, check=True, capture_output=True, text=True).stdout.splitlines()
    print("\n".join([line.rstrip() for line in lines if line.strip() and not line.startswith("#")][:SHOWN]))
    print(f"\nFlame graph: open {stacks} at https://profiler.firefox.com")


def record(pid, seconds, file):
    """Stacks are of registers and a copy of the stack, as release builds have no frame pointers."""
    command = ["perf", "record", "-q", "-F", str(SAMPLES_A_SECOND), "--call-graph", "dwarf,8192", "-p", str(pid), "-o", file]
    recording = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    time.sleep(seconds)
    recording.send_signal(signal.SIGINT)
    _, said = recording.communicate()
    if not os.path.exists(file):
        raise SystemExit(f"perf has recorded nothing: {said.strip()}")


if __name__ == "__main__":
    main()
