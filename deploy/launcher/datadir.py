"""DATA_DIR: the lock that one running init.py holds, the number of slots, reset.

Layout: node-1/ node-2/ ... (each a node's database and logs), gateway.db, gateway.log, init.lock,
supervisor.sock, slots.
"""

import fcntl
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from .common import EXIT_BAD_SETTING, Refused

NODE_DIR = re.compile(r"node-([1-9][0-9]*)")
DATABASE = "chord.db"


class Lock:
    """The flock on DATA_DIR/init.lock. The file says who holds it, for people and for a second
    init.py; the kernel releases the lock however the holder ends."""

    def __init__(self, data_dir):
        self.path = Path(data_dir) / "init.lock"
        self.file = None

    def acquire(self, address):
        """True when this process holds it now."""
        file = open(self.path, "a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self.file = file
        self.write(address)
        return True

    def write(self, address):
        self.file.truncate(0)
        self.file.write(f"pid {os.getpid()}\naddress {address}\n")
        self.file.flush()

    def holder(self):
        """{"pid": text, "address": text} of whoever holds the lock, or None."""
        try:
            with open(self.path, encoding="utf-8") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return dict(line.split(" ", 1) for line in file.read().splitlines())
        except FileNotFoundError:
            pass
        return None

    def release(self):
        if self.file:
            self.file.truncate(0)
            self.file.close()
            self.file = None


def prepare(settings):
    """Creates DATA_DIR; refuses when it cannot be written."""
    path = settings["DATA_DIR"]
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise Refused(f"DATA_DIR={path} (from {settings.origin['DATA_DIR']}) cannot be written: "
                      f"{error.strerror}; choose a folder that this user may write",
                      EXIT_BAD_SETTING) from error


def has_database(settings, slot):
    return (settings.node_dir(slot) / DATABASE).exists()


def known_slots(data_dir):
    """Numbers of the slots that have a folder."""
    try:
        names = [entry.name for entry in Path(data_dir).iterdir()]
    except FileNotFoundError:
        return []
    return sorted(int(match[1]) for name in names if (match := NODE_DIR.fullmatch(name)))


def write_slots(data_dir, count):
    """The gateway re-reads the file while it runs, so it must never see half a number."""
    path = Path(data_dir) / "slots"
    temporary = path.with_suffix(".new")
    temporary.write_text(f"{count}\n")
    temporary.replace(path)


def slots_to_start(settings):
    """A ring comes back with every member it had: never fewer slots than have a database."""
    with_data = [slot for slot in known_slots(settings["DATA_DIR"]) if has_database(settings, slot)]
    return max([settings["NUM_OF_NODES"], *with_data])


def reset(settings, say):
    """Clears what init.py, the nodes and the gateway wrote, after a typed confirmation."""
    data_dir = settings["DATA_DIR"]
    if holder := Lock(data_dir).holder():
        raise Refused(f"init.py is running on {data_dir} (pid {holder.get('pid', '?')}): stop it "
                      "first with Ctrl-C there, then reset")
    doomed = [data_dir / f"node-{slot}" for slot in known_slots(data_dir)]
    for pattern in ("gateway.db*", "gateway.log*", "slots", "slots.new", "init.lock",
                    "supervisor.sock"):
        doomed += sorted(data_dir.glob(pattern))
    if not doomed:
        say(f"{data_dir} holds nothing to clear.")
        return
    say(f"This deletes the ring's data for good, in {data_dir}:")
    say("  " + " ".join(path.name for path in doomed))
    print("Type reset to go on: ", end="", flush=True)
    if sys.stdin.readline().strip() != "reset":
        raise Refused("nothing was deleted")
    for path in doomed:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if not any(data_dir.iterdir()):
        data_dir.rmdir()
    say("Cleared.")
