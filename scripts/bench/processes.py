"""The processes of a measurement: each in a folder of its own, on free ports, ended with the measurement."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
NATS_CONFIG = "config/nats.conf"


class Stack(contextlib.ExitStack):
    """NATS and the roles of Tidemark, in a temporary folder."""

    def __init__(self, options):
        super().__init__()
        self.binaries = options.binaries
        self.processes, self.commands = {}, {}

    def __enter__(self):
        super().__enter__()
        self.folder = tempfile.mkdtemp(prefix="tidemark-bench-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        self.callback(shutil.rmtree, self.folder, ignore_errors=True)
        return self

    def start(self, name, command):
        log = self.enter_context(open(f"{self.folder}/{name}.log", "a"))
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=os.getcwd())
        self.processes[name], self.commands[name] = process, command
        self.callback(end, process)
        return process

    def start_again(self, name):
        return self.start(name, self.commands[name])

    def end(self, name):
        end(self.processes.pop(name))

    def nats(self, sync="always"):
        """A server with an empty store. `sync`: always, as config/nats.conf has it, or default, which is every two minutes."""
        with open(NATS_CONFIG) as file:
            text = file.read()
        if sync == "default":
            text = text.replace("sync_interval: always", "")
        port, monitoring = free_port(), free_port()
        text = re.sub(r"(?m)^port:.*", f"port: {port}", text)
        text = re.sub(r"(?m)^http_port:.*", f"http_port: {monitoring}", text)
        with open(f"{self.folder}/nats.conf", "w") as file:
            file.write(text)
        self.start("nats", [".tools/bin/nats-server", "--config", f"{self.folder}/nats.conf", "--store_dir", f"{self.folder}/nats"])
        self.nats_url, self.monitoring = f"nats://127.0.0.1:{port}", f"http://127.0.0.1:{monitoring}"
        until("nats", lambda: get(f"{self.monitoring}/healthz"))

    def role(self, name, port_setting, *settings):
        """Starts `tidemark serve` or a role alone; gives its public address and its internal one."""
        public, admin = free_port(), free_port()
        section = "serve" if name == "serve" else name
        command = [f"{self.binaries}/tidemark", "serve"] if name == "serve" else [f"{self.binaries}/{name}"]
        common = ["journal.max_bytes=4GiB", f"nats.url={self.nats_url}", f"nats.monitoring_url={self.monitoring}", f"table.url={self.folder}/lake"]
        ports = [f"{section}.admin_listen=127.0.0.1:{admin}"] + ([f"{section}.listen=127.0.0.1:{public}"] if port_setting else [])
        for setting in [*common, *ports, *settings]:
            command += ["--set", setting]
        self.start(name, command)
        self.settings = [*common, *settings]
        until(name, lambda: get(f"http://127.0.0.1:{admin}/readyz"))
        return f"http://127.0.0.1:{public}", f"http://127.0.0.1:{admin}"

    def tidemark(self, *arguments):
        """What a command prints that has the settings of the last role."""
        command = [f"{self.binaries}/tidemark", *arguments]
        for setting in self.settings:
            command += ["--set", setting]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def serve(self, *settings):
        return self.role("serve", True, *settings)

    def roles(self, *settings):
        """The three roles as processes of their own."""
        self.ingest, self.ingest_admin = self.role("ingest", True, *settings)
        _, self.pipeline_admin = self.role("pipeline", False, *settings)
        self.query, _ = self.role("query", True, f"query.pipelines={self.pipeline_admin}", *settings)

    def peer(self, kind, *arguments):
        port = free_port()
        self.start(kind, [f"{self.binaries}/bench-peer", kind, "--listen", f"127.0.0.1:{port}", *arguments])
        until(kind, lambda: connected(port))
        return f"http://127.0.0.1:{port}"

    def journal(self):
        """What the server says of the journal's only stream."""
        streams = json.loads(get(f"{self.monitoring}/jsz?streams=true"))["account_details"][0]["stream_detail"]
        return next(stream["state"] for stream in streams if stream["name"].startswith("tidemark"))

    def wait_committed(self, admin, patience=300):
        """Waits until the table holds the whole journal; the time at which it was seen."""
        last = self.journal()["last_seq"]
        until("the commit", lambda: metric(admin, "tidemark_pipeline_tidemark") == last, patience)
        return time.time()

    def cpu(self):
        """CPU seconds of each process so far."""
        return {name: cpu_seconds(process.pid) for name, process in self.processes.items() if process.poll() is None}


def free_port():
    """Below the ports that the system gives to outgoing connections, of which a load has many."""
    while True:
        port = random.randrange(15_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            return port


def end(process):
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def get(url, timeout=60):
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read()


def connected(port):
    socket.create_connection(("127.0.0.1", port), 1).close()
    return True


def until(what, condition, patience=60, pause=0.02):
    """Asks until there is something; errors of the network count as not yet."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, urllib.error.URLError):
            if condition():
                return
        time.sleep(pause)
    raise SystemExit(f"waited {patience} s for {what}")


def metric(admin, name):
    """A metric of a process; the sum over its labels."""
    lines = get(f"{admin}/metrics").decode().splitlines()
    values = [float(line.rsplit(" ", 1)[1]) for line in lines if re.match(rf"{name}[{{ ]", line)]
    return sum(values) if values else None


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def idle_and_stolen_seconds():
    """Of all cores together so far: at rest, and taken by others on the same hardware, which only a virtual machine knows."""
    with open("/proc/stat") as file:
        fields = file.readline().split()
    return (int(fields[4]) + int(fields[5])) / TICKS, int(fields[8]) / TICKS


def most_memory_bytes(pid):
    """The most that it had since it was started."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def memory_bytes(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * PAGE
