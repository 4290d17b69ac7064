# SPDX-License-Identifier: MIT
"""Hosts of a tailnet that is none: network namespaces, each with an address of Tailscale's network
and a `tailscale` command that tells of the others. A router stands between them; a host's link can
be taken down there. Nothing of it is seen by the rest of the machine, and it ends with its
processes."""

import json
import signal
import subprocess
import sys
from pathlib import Path

from ring import BUILD, ROOT, until

MEMBERS_TIMEOUT_S = 90


def why_not():
    """None where namespaces can be made, else the reason."""
    done = subprocess.run(["unshare", "-rn", "sh", "-c", "ip link add type veth"], check=False,
                          capture_output=True, text=True)
    return None if done.returncode == 0 else f"no network namespaces here: {done.stderr.strip()}"


def hold(*words):
    """A process that keeps new namespaces, once they are there."""
    holder = subprocess.Popen([*words, "sh", "-c", "echo up && exec sleep 1800"],
                              stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "up\n"
    return holder


class Host:
    def __init__(self, tailnet, number, holder):
        self.tailnet, self.number, self.holder = tailnet, number, holder
        self.address = f"100.64.{number}.1"
        self.folder = tailnet.folder / f"host-{number}"
        self.folder.mkdir()
        self.starts = []
        self.token = None  # of its gateway, where that has one

    def inside(self, *words):
        return ["nsenter", "-t", str(self.holder.pid), "-U", "-n", "--preserve-credentials",
                *map(str, words)]

    def run(self, *words, timeout_s=60):
        return subprocess.run(self.inside(*words), capture_output=True, text=True,
                              timeout=timeout_s, check=False, env=self.environment())

    def environment(self):
        return {"PATH": f"{self.folder}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.folder),
                "LANG": "C.UTF-8"}

    def tailscale_says(self, status):
        (self.folder / "bin").mkdir(exist_ok=True)
        (self.folder / "status.json").write_text(json.dumps(status))
        script = self.folder / "bin" / "tailscale"
        script.write_text(f'#!/bin/sh\n[ "$*" = "status --json" ] && cat {self.folder}/status.json\n')
        script.chmod(0o755)

    def init(self, *words):
        """The words of an init.py with a data folder of its own."""
        (self.folder / ".env").touch()
        return [sys.executable, ROOT / "init.py", "--build", BUILD.absolute(), "--env-file",
                self.folder / ".env", "--data-dir", self.folder / "data",
                "--host-id", f"host-{self.number}",  # they share the machine's own
                *words]

    def start(self, *words):
        self.starts.append(open(self.folder / f"init-{len(self.starts)}.log", "w+"))
        self.process = subprocess.Popen(self.inside(*self.init("--m", 32, *words)),
                                        stdin=subprocess.DEVNULL, stdout=self.starts[-1],
                                        stderr=subprocess.STDOUT, env=self.environment())
        return self

    def said(self):
        return Path(self.starts[-1].name).read_text()

    def ask(self, path, *words, timeout_s=60):
        """(status, body) of this host's own gateway, asked from the host; status 0 = no answer."""
        token = ["-H", f"Authorization: Bearer {self.token}"] if self.token else []
        done = self.run("curl", "-s", "-m", timeout_s, "-w", "\n%{http_code}", *token, *words,
                        f"http://{self.address}:3000{path}", timeout_s=timeout_s + 10)
        body, _, status = done.stdout.rpartition("\n")
        return int(status or 0), body

    def ring(self):
        status, body = self.ask("/api/v1/ring", timeout_s=5)
        return {"state": f"{status}", "nodes": [], **(json.loads(body) if body else {})}

    def members(self):
        return sorted(node["address"] for node in self.ring()["nodes"] if node["state"] == "member")

    def wait_members(self, count):
        def whole():
            assert self.process.poll() is None, self.said()
            ring = self.ring()
            return ring["state"] == "healthy" and len(self.members()) == count
        until(whole, MEMBERS_TIMEOUT_S, lambda: f"{count} members: {self.ring()} {self.said()}")

    def link(self, state):
        """Takes the host's cable out ("down"), or puts it in ("up")."""
        self.tailnet.router(f"ip link set v{self.number} {state}")
        if state == "up":
            subprocess.run(self.inside("ip", "route", "replace", "default", "via",
                                       f"100.64.{self.number}.254"), check=True)

    def power_off(self):
        """For the others: from one moment to the next nothing of it answers, nor says that it ends."""
        self.link("down")
        self.stop(signal.SIGKILL)  # its nodes and its gateway end with it

    def stop(self, number=signal.SIGINT):
        if self.starts and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(60)


class Tailnet:
    def __init__(self, folder, count):
        self.folder = folder
        self.holders = [hold("unshare", "-rn")]
        self.router("ip link set lo up && echo 1 > /proc/sys/net/ipv4/ip_forward")
        self.hosts = [self.add(number) for number in range(1, count + 1)]
        for host in self.hosts:
            host.tailscale_says(self.status(host))

    def router(self, script):
        subprocess.run(["nsenter", "-t", str(self.holders[0].pid), "-U", "-n",
                        "--preserve-credentials", "sh", "-ec", script], check=True)

    def add(self, number):
        holder = hold("nsenter", "-t", str(self.holders[0].pid), "-U", "-n",
                      "--preserve-credentials", "unshare", "-n")
        self.holders.append(holder)
        hub = f"100.64.{number}.254"
        self.router(f"ip link add v{number} type veth peer name eth0 netns {holder.pid} && "
                    f"ip addr add {hub}/24 dev v{number} && ip link set v{number} up")
        host = Host(self, number, holder)
        subprocess.run(host.inside("sh", "-ec", f"ip link set lo up; ip addr add {host.address}/24 "
                                   f"dev eth0; ip link set eth0 up; ip route add default via {hub}"),
                       check=True)
        return host

    def status(self, own):
        """What `tailscale status --json` says on that host, shortened."""
        def entry(host):
            return {"HostName": f"host-{host.number}", "Online": True, "OS": "linux",
                    "TailscaleIPs": [host.address, f"fd7a:115c:a1e0::{host.number}"]}
        return {"Version": "1.82.0", "BackendState": "Running", "Self": entry(own),
                "Peer": {f"nodekey:{host.number}": entry(host) for host in self.hosts
                         if host is not own}}

    def close(self):
        for host in self.hosts:
            host.stop()
        for holder in self.holders:
            holder.kill()
            holder.wait()
