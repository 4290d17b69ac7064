# SPDX-License-Identifier: MIT
"""The socket of a service manager, and what programs say there."""

import itertools
import os
import socket

COUNTER = itertools.count()


class NotifySocket:
    """With a folder a file in it, else a name without a file, which every root folder can reach."""

    def __init__(self, folder=None):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        place = f"chord-test-{os.getpid()}-{next(COUNTER)}"
        self.name = str(folder / place) if folder else f"@{place}"
        self.socket.bind(self.name if folder else f"\0{place}")
        self.heard = []

    def environment(self, watchdog_s=None):
        more = {"WATCHDOG_USEC": str(int(watchdog_s * 1e6))} if watchdog_s else {}
        return {"NOTIFY_SOCKET": self.name, **more}

    def hear(self, timeout_s):
        self.socket.settimeout(timeout_s)
        try:
            self.heard.append(self.socket.recv(4096).decode())
        except (TimeoutError, BlockingIOError):
            raise AssertionError(f"nothing more within {timeout_s} s: {self.heard}") from None
        return self.heard[-1]

    def wait(self, beginning, timeout_s=30):
        """The next message that begins so; those before it are in `heard`."""
        while not self.hear(timeout_s).startswith(beginning):
            pass
        return self.heard[-1]

    def close(self):
        self.socket.close()
        if not self.name.startswith("@"):
            os.unlink(self.name)
