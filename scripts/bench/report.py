"""docs/BENCHMARKS.md from results, and what it was measured on."""

import os
import platform
import statistics
import subprocess

# What `tidemark load` plots, in its order; of the ramp.
PLOTS = ["ramp-throughput", "ramp-latency", "ramp-percentiles"]

HEAD = """# Benchmarks

The tables, details and plots are written by `just bench`; from "What the questions tell" on the page is kept by hand. Generator, NATS and all roles
share the cores of one machine. Where there is a peer it ran in turns with Tidemark in the same run, and the ratio is the median of the ratios
of the rounds. A run counts only if SQL counts exactly the events that were acknowledged, and one at full speed only if nothing was refused.
`tidemark load` measures: `max` is a closed loop, which tells capacity; everything else is an open loop, whose latencies count from the time
at which a request was meant to be sent, and which lasts so long that commits fall into it. NATS syncs before each acknowledgement unless a
row says otherwise.
"""


def markdown(results):
    parts = [HEAD, conditions(results)]
    parts.append("| what | target | ours | peer | ours / peer | met |\n|---|---|---|---|---|---|")
    parts[-1] += "".join("\n" + line(row) for row in results["rows"])
    details = [detail(row) for row in results["rows"] if row["details"]]
    if details:
        parts.append("## Details\n\n" + "\n".join(details))
    if "open-loop" in results["measured"]:
        parts.append("## The ramp\n\nThe last round.\n\n" + "\n\n".join(f"![{name}]({name}.svg)" for name in PLOTS))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def conditions(results):
    machine, versions = results["machine"], results["versions"]
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}. Commit {results['commit']}, "
        f"{results['date']}. {listed}. {results['rounds']} rounds, of {results['seconds']} s after a warm-up at full speed, of 30 to 60 s at a rate. Made by `{results['command']}`."
    )


def line(row):
    what = row["what"] + (f" ({row['notes']})" if row["notes"] else "")
    peer = spread(row["peers"], row["unit"]) if row["peers"] else ""
    ratio = spread(row["ratios"], "x") if row["ratios"] else ""
    return f"| {what} | {row['target']} | {spread(row['ours'], row['unit'])} | {peer} | {ratio} | {met(row['short_percent'])} |"


def met(short_percent):
    """Whether a target is met, and by how much it is not."""
    if short_percent is None:
        return ""
    return f"**no**, by {number(short_percent)} %" if short_percent else "yes"


def spread(values, unit):
    """The median, and the lowest and the highest of several."""
    digits = 3 if unit == "x" else 2
    shown = number(statistics.median(values), digits) + (unit if unit == "x" else f" {unit}")
    return shown if len(values) == 1 else f"{shown} ({number(min(values), digits)}-{number(max(values), digits)})"


def number(value, digits=2):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.{digits}f}" if value < 10 else f"{value:.1f}"


def detail(row):
    told = "; ".join(f"{name.replace('_', ' ')}: {shown(value)}" for name, value in row["details"].items())
    return f"- {row['what']}: {told}"


def shown(value):
    if isinstance(value, dict):
        return ", ".join(f"{name} {number(of)}" for name, of in value.items())
    return ", ".join(number(of) for of in value) if isinstance(value, list) else number(value)


def machine():
    with open("/proc/cpuinfo") as file:
        cpu = next((text.split(":", 1)[1].strip() for text in file if text.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return {"cpu": cpu, "cores": os.cpu_count(), "memory_gib": round(memory), "system": f"{platform.system()} {platform.release()}"}


def versions(binaries):
    def version(*command):
        return said(*command).split()[-1].lstrip("v")

    return {
        "tidemark": version(f"{binaries}/tidemark", "--version"),
        "nats-server": version(".tools/bin/nats-server", "--version"),
        "rustc": said("rustc", "--version").split()[1],
    }


def commit():
    # Its own page and plots, which a run writes again and again, are no change of what is measured.
    own = [":!docs/BENCHMARKS.md", *(f":!docs/{name}.svg" for name in PLOTS)]
    changed = " with changes" if said("git", "status", "--porcelain", "--untracked-files=no", "--", ".", *own) else ""
    return said("git", "rev-parse", "--short", "HEAD") + changed


def said(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
