# SPDX-License-Identifier: MIT
"""DATA_DIR: the lock that one running init.py holds, the number of slots, reset.

Layout: node-1/ node-2/ ... (each a node's database and logs), gateway.db, gateway.log, init.lock,
supervisor.sock, slots, ring.json (memory.py), login (login.py), audit.log, init.log (background.py).
The folder and all in it are their owner's alone; files are opened without following links, which
somebody else may have put there.
"""

import errno
import fcntl
import os
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from .common import EXIT_BAD_SETTING, Refused

NODE_DIR = re.compile(r"node-([1-9][0-9]*)")
DATABASE = "chord.db"
INIT_LOG = "init.log"
LOG_BYTES_MAX = 16 * 1024 * 1024
ROOM_BYTES_MIN = 256 * 1024  # for the first databases and logs; what a ring needs is the rows' size


class Lock:
    """The flock on DATA_DIR/init.lock. The file says who holds it, for people and for a second
    init.py; the kernel releases the lock however the holder ends."""

    def __init__(self, data_dir):
        self.path = Path(data_dir) / "init.lock"
        self.file = None

    def acquire(self, address):
        """True when this process holds it now."""
        file = open_private(self.path, "a+")
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
            with open_private(self.path, "r") as file:
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


def open_private(path, mode):
    """Like open(), for a text file of the owner alone that is no link."""
    def opener(name, flags):
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        return open(path, mode, encoding="utf-8", opener=opener)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Refused(f"{path} is a symbolic link, which is not followed: remove it") from None
        raise


def prepare(settings):
    """Creates DATA_DIR; refuses when it cannot be written, or is open to others."""
    path = settings["DATA_DIR"]
    named = f"DATA_DIR={path} (from {settings.origin['DATA_DIR']})"
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        about = path.stat()
    except OSError as error:
        raise Refused(f"{named} cannot be written: {error.strerror}; choose a folder that this "
                      "user may write, for example: --data-dir ~/chord-data",
                      EXIT_BAD_SETTING) from error
    if about.st_uid != os.geteuid():
        raise Refused(f"{named} belongs to user {about.st_uid}, this is user {os.geteuid()}: "
                      "start as that user, or choose another folder", EXIT_BAD_SETTING)
    if about.st_mode & 0o077:
        raise Refused(f"{named} is open to other users (mode {about.st_mode & 0o777:03o}), who "
                      f"could read every row: choose another, or, if only Chord's data is in it, "
                      f"chmod -R go= {shlex.quote(str(path))}", EXIT_BAD_SETTING)
    try:
        with tempfile.TemporaryFile(dir=path):
            pass
        about = os.statvfs(path)
        room = about.f_bavail * about.f_frsize
        if room < ROOM_BYTES_MIN:
            raise OSError(errno.ENOSPC, f"only {room} bytes are left")
    except OSError as error:
        raise Refused(f"{named} cannot be written: {error.strerror}; choose a folder that this "
                      "user may write and that has room", EXIT_BAD_SETTING) from error


def replace_file(path, text):
    """Others re-read the file while it runs: they must never see half of it."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    with open_private(temporary, "x") as file:
        file.write(text)
    temporary.replace(path)


def trim_log(path):
    """Cuts a log that grew too long, for who appends to it while that runs; the last part is kept
    beside it."""
    try:
        if os.path.getsize(path) > LOG_BYTES_MAX:
            shutil.copyfile(path, f"{path}.1")
            os.truncate(path, 0)
    except OSError:
        pass


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
    """For the gateway: how many slots this host has."""
    replace_file(Path(data_dir) / "slots", f"{count}\n")


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
    for pattern in ("gateway.db*", "gateway.log*", "init.log*", "audit.log*", "login", "login.new", "slots",
                    "slots.new", "ring.json", "ring.new", "init.lock", "supervisor.sock"):
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
