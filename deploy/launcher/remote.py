# SPDX-License-Identifier: MIT
"""Runs a command on a host of hosts.toml: by ssh, which may be Tailscale's, or here where the host is
this machine. The command is one for a shell; secrets and code go through its standard input only."""

import subprocess
from pathlib import Path
from tempfile import TemporaryFile

SSH = ("ssh", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4")
SSH_FAILED = 255  # ssh's own exit code
LINE_CHARACTERS_MAX = 2000


def arguments(host, command):
    return ["sh", "-c", command] if host.local else [*SSH, host.name, command]


def shown(host, command):
    """As it would stand in a terminal of the host."""
    return f"{'here' if host.local else host.name}$ {command}"


def run(host, command, data, say, timeout_s=None):
    """(exit code, last line). data: bytes for its standard input. say(line): each line as it comes.
    timeout_s: without one, ssh gives up when the host is not heard of for a minute."""
    with TemporaryFile() as given:
        given.write(data)
        given.seek(0)
        try:
            process = subprocess.Popen(arguments(host, command), stdin=given, stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT, text=True, errors="replace",
                                       cwd=Path.home() if host.local else None)
        except OSError as error:
            return SSH_FAILED, f"ssh: {error.strerror}"
    with process:
        if timeout_s is not None:
            return finished(process, timeout_s)
        last = ""
        try:
            for line in process.stdout:
                line = line.rstrip()[:LINE_CHARACTERS_MAX]
                last = line or last
                say(line)
        except BaseException:
            process.kill()
            raise
    return process.returncode, last


def finished(process, timeout_s):
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return SSH_FAILED, f"no answer within {timeout_s} s"
    return process.returncode, (output.rstrip().splitlines() or [""])[-1]
