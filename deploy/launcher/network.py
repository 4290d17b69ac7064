# SPDX-License-Identifier: MIT
"""Addresses and ports: which address to use, whether ports are free, who holds them."""

import errno
import getpass
import os
import socket
import time
from pathlib import Path

from . import tailnet
from .common import Refused

FROM_TAILSCALE = "tailscale status"
LEFTOVER_TIMEOUT_S = 20
LISTEN_STATE = "0A"


def choose_host(settings, say):
    """Fills in HOST when nobody set it."""
    if settings["HOST"] is not None:
        return
    found, state = tailnet.find_own()
    settings.values["HOST"] = found or "127.0.0.1"
    settings.origin["HOST"] = FROM_TAILSCALE if found else f"default: Tailscale is {state}"
    if not found and state != tailnet.NOT_INSTALLED:
        say(f"{tailnet.reason(state)}, so this host's nodes listen on 127.0.0.1, which only this "
            "machine can dial")


def user_name():
    """A uid without an entry in the password file, as in many containers, has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "USER"


def reach_hint(settings):
    """How to open the page from another machine, when the address is a loopback one."""
    if not settings["HOST"].startswith("127."):
        return ""
    port = settings["PORT"]
    return (f"This address works on this machine only. From another one: ssh -L {port}:"
            f"{settings['HOST']}:{port} {user_name()}@{socket.gethostname()} "
            f"and open http://127.0.0.1:{port}, or start Tailscale (tailscale up) and start again.")


def try_bind(host, port):
    """None when the port is free, else the OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            return error
    return None


def listener_of(port):
    """(pid, command line) of the process that listens on a TCP port; (None, "") if unknown, for
    example because it belongs to another user."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if columns[3] == LISTEN_STATE and int(columns[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{columns[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(fd) in inodes for fd in (process / "fd").iterdir()):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ")
                return int(process.name), command.decode(errors="replace").strip()
        except OSError:
            continue
    return None, ""


def start_ports(settings, slots):
    """[(port, what it is for)] of a whole start."""
    return [(settings["PORT"], "the ring dashboard"), *slot_ports(settings, slots)]


def slot_ports(settings, slots):
    """The same for more nodes beside a running gateway."""
    return [pair for slot in slots for pair in
            ((settings["PORT"] + slot, f"the dashboard of node {slot}"),
             node_port(settings, slot))]


def node_port(settings, slot):
    return settings["RPC_PORT"] + slot, f"node {slot}"


def refuse_taken(settings, port, purpose, error):
    if error.errno == errno.EADDRNOTAVAIL:
        raise Refused(f"HOST={settings['HOST']} (from {settings.origin['HOST']}) is no address of "
                      "this machine")
    if error.errno == errno.EACCES:
        raise Refused(f"port {port}, for {purpose}, needs root: choose PORT above 1023, "
                      "for example: python3 init.py --port 8000")
    pid, command = listener_of(port)
    holder = f"process {pid} ({command[:80]})" if pid else "a process of another user"
    setting = "RPC_PORT" if port > settings["RPC_PORT"] and purpose.startswith("node") else "PORT"
    other = settings[setting] + 1000 if settings[setting] + 2000 < 65536 else 20000
    flag = "--" + setting.lower().replace("_", "-")
    raise Refused(f"port {port}, for {purpose}, is taken by {holder}: end that, or choose "
                  f"another {setting} in .env or by flag, for example: "
                  f"python3 init.py {flag} {other}")


def check_ports(settings, ports):
    """Refuses when one of [(port, what it is for)] is taken."""
    for port, purpose in ports:
        if error := try_bind(settings["HOST"], port):
            refuse_taken(settings, port, purpose, error)


def wait_for_leftovers(settings, ports, say):
    """Processes of a run on the same DATA_DIR whose init.py was killed end by themselves."""
    deadline = time.monotonic() + LEFTOVER_TIMEOUT_S
    told = set()
    for port, _ in ports:
        while try_bind(settings["HOST"], port) and time.monotonic() < deadline:
            pid, command = listener_of(port)
            if not pid or f"--data {settings['DATA_DIR']}" not in command:
                break
            if pid not in told:
                told.add(pid)
                say(f"Waiting for process {pid} of the last run to end (port {port}) ...")
            time.sleep(0.1)
