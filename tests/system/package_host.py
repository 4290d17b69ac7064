# SPDX-License-Identifier: MIT
"""Hosts to install packages on, without touching this one: a root folder in mounts of its own.

OverlayHost is this system below a layer that is thrown away. It has no systemd: what a unit says is
done here (service_unit.py). BootedHost is a fresh system (debootstrap) whose systemd really runs, so
that units, sandboxes, credentials and maintainer scripts are what they are on a server. Both can do
the same. `Refused` says why there is no such host here.
"""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from ring import until
from service_unit import Service

STEP_TIMEOUT_S = 120
DEBOOTSTRAP_TIMEOUT_S = 600
UNITS = ("chord-node@1", "chord-node@2", "chord-node@3", "chord-gateway")

# Mounts of its own, the folder $1 in memory, and at the end `become` in the new root. Of /dev it gets
# what programs need; it cannot change what the kernel shares.
PRELUDE = r"""
set -e
umask 022
mount --make-rprivate /
become() {
    mount -t tmpfs -o mode=755 tmpfs "$1/run"
    mount -t tmpfs -o mode=1777 tmpfs "$1/tmp"
    mount -t tmpfs -o mode=755 tmpfs "$1/dev"
    for name in null zero full random urandom tty; do
        : >"$1/dev/$name"
        mount --bind "/dev/$name" "$1/dev/$name"
    done
    ln -s /proc/self/fd "$1/dev/fd"
    mkdir "$1/dev/shm" "$1/dev/pts"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$1/dev/pts"
    ln -s pts/ptmx "$1/dev/ptmx"
    mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm"
    mkdir "$1/run/old"
    cd "$1"
    pivot_root . run/old
}
"""
OVERLAY = PRELUDE + r"""
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount --rbind /proc "$1/root/proc"
become "$1/root"
umount -l /run/old
rm -rf /etc/chord /var/lib/chord /var/lib/private/chord
mkdir -p /run/systemd/system
echo ready
exec sleep infinity
"""
BOOTED = PRELUDE + r"""
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount -t sysfs -o ro sysfs "$1/sys"
mount -t cgroup2 cgroup2 "$1/sys/fs/cgroup"
become "$1"
umount -l /run/old
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount --make-rshared /
exec env -i container=chord-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --log-target=null --unit=basic.target
"""


class Refused(Exception):
    pass


def needs(*tools):
    """Also root: the kernel lets nobody else lay a folder over the whole system."""
    if os.geteuid() != 0:
        raise Refused("only root can make a host for packages")
    for tool in tools:
        if shutil.which(tool) is None:
            raise Refused(f"{tool} is missing (sh deploy/install-deps.sh test)")


class Host:
    """`holder` keeps the root, `pid` is a process in it."""

    def __init__(self):
        self.holder, self.pid, self.flags = None, None, []

    @property
    def root(self):
        """Its files, seen from here."""
        return Path(f"/proc/{self.pid}/root")

    def words(self, *command):
        return ["nsenter", "--target", str(self.pid), "--mount", "--root", *self.flags,
                "env", "--chdir=/", "PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
                "DEBIAN_FRONTEND=noninteractive", *map(str, command)]

    def run(self, *command, check=True):
        """What it said, both ways, as text."""
        done = subprocess.run(self.words(*command), stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=STEP_TIMEOUT_S, check=False, umask=0o022)
        assert done.returncode == 0 or not check, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def write(self, path, text, mode=0o644):
        file = self.root / path.lstrip("/")
        file.write_text(text)
        file.chmod(mode)

    def exists(self, path):
        return (self.root / path.lstrip("/")).exists()

    def copied(self, packages):
        folder = self.root / "tmp" / f"packages-{time.monotonic_ns()}"
        folder.mkdir()
        for package in packages:
            shutil.copy(package, folder)
        return [f"/tmp/{folder.name}/{package.name}" for package in packages]

    def install(self, packages):
        return self.run("dpkg", "--install", *self.copied(packages))

    def close(self):
        if self.holder is not None:
            self.holder.kill()
            self.holder.communicate()


class OverlayHost(Host):
    """Units are started as they say, by hand; their orders to systemctl are written down."""

    def __init__(self, folder):
        super().__init__()
        needs("unshare", "nsenter", "dpkg")
        folder.mkdir()
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", OVERLAY, "sh", str(folder)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.pid = self.holder.pid
        if self.holder.stdout.readline() != "ready\n":
            problem = self.holder.communicate()[1].strip().splitlines()
            raise Refused(f"no mounts of its own: {(problem or ['it ended'])[0]}")
        self.services = {}
        self.write("/usr/local/sbin/systemctl", '#!/bin/sh\necho "$*" >>/run/orders\n', 0o755)

    def orders(self):
        """What the maintainer scripts asked of systemctl since the last call."""
        file = self.root / "run" / "orders"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return [line for line in lines if line != "daemon-reload"]

    def check_nothing_started(self):
        assert self.orders() == []

    def start(self, *units):
        for unit in units:
            self.services[unit] = Service(self, unit)
            self.services[unit].start()

    def restart(self, unit):
        self.services[unit].stop()
        self.start(unit)

    def pid_of(self, unit):
        return self.services[unit].process.pid

    def status(self, unit):
        return self.services[unit].status()

    def check_upgraded(self, pids):
        """The scripts let nodes go on; the gateway they start again, here by hand."""
        assert self.orders() == ["--quiet is-active chord-node@*.service",
                                 "try-restart chord-gateway.service"]
        assert pids == {unit: self.pid_of(unit) for unit in UNITS}
        self.restart("chord-gateway")

    def remove(self, names):
        said = self.run("dpkg", "--remove", *names)
        assert sorted(self.orders()) == ["stop chord-gateway.service", "stop chord-node@*.service"]
        for service in self.services.values():
            service.stop()
        return said

    def close(self):
        for service in getattr(self, "services", {}).values():
            service.kill()
        super().close()


class BootedHost(Host):
    def __init__(self, folder, own_network=False):
        """own_network: nobody from outside reaches it, and it has every address to itself. Only
        packages are still fetched from outside."""
        super().__init__()
        needs("unshare", "nsenter", "debootstrap")
        self.cgroup = self.cgroup_make()
        fresh = folder.parents[1] / "fresh-system"
        if not fresh.exists():
            self.debootstrap(fresh)
        subprocess.run(["cp", "--archive", fresh, folder], check=True)
        network = ["--net"] if own_network else []
        join = f"echo $$ >{self.cgroup}/cgroup.procs && exec \"$@\""
        self.holder = subprocess.Popen(
            ["sh", "-c", join, "sh", "unshare", "--mount", "--pid", "--fork", "--uts", "--ipc",
             "--cgroup", *network, "--kill-child", "sh", "-c", BOOTED, "sh", str(folder)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.flags = ["--pid", "--uts", "--ipc", "--cgroup", *network]
        until(self.is_booted, 60, "a booted system")

    @staticmethod
    def cgroup_make():
        """A group of its own, so that what systemd makes there can be taken away again."""
        mounts = Path("/proc/mounts").read_text().splitlines()
        places = [line.split()[1] for line in mounts if line.split()[2] == "cgroup2"]
        if not places:
            raise Refused("no control groups (version 2) are mounted here")
        group = Path(places[0]) / f"chord-test-{os.getpid()}"
        try:
            group.mkdir(exist_ok=True)
        except OSError as error:
            raise Refused(f"no control group of its own: {error}") from None
        return group

    @staticmethod
    def debootstrap(folder):
        suite = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.M)
        command = ["debootstrap", "--variant=minbase", "--include=systemd", suite[1], str(folder)]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, check=False, umask=0o022,
                                  timeout=DEBOOTSTRAP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            shutil.rmtree(folder, ignore_errors=True)
            raise Refused(f"debootstrap did not end within {DEBOOTSTRAP_TIMEOUT_S} s") from None
        if done.returncode != 0:
            shutil.rmtree(folder, ignore_errors=True)
            raise Refused(f"debootstrap failed: {(done.stdout.splitlines() or ['?'])[-1]}")
        shutil.copy("/etc/resolv.conf", folder / "etc" / "resolv.conf")
        folder.chmod(0o755)

    def is_booted(self):
        if self.holder.poll() is not None:
            problem = self.holder.communicate()[1].strip().splitlines()
            raise Refused(f"systemd does not start here: {(problem or ['it ended'])[0]}")
        if self.pid is None:
            children = Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text()
            self.pid = int(children.split()[0]) if children.split() else None
        return self.pid and "running" in self.run("systemctl", "is-system-running", check=False)

    def install(self, packages):
        """With what they depend on, from the distribution."""
        flags, self.flags = self.flags, [flag for flag in self.flags if flag != "--net"]
        try:
            if not self.exists("/usr/bin/chord-node"):
                self.run("apt-get", "update")
            return self.run("apt-get", "install", "--yes", "--no-install-recommends",
                            *self.copied(packages))
        finally:
            self.flags = flags

    def check_nothing_started(self):
        assert "chord" not in self.run("systemctl", "list-units", "--plain", "--no-legend")

    def start(self, *units):
        try:
            self.run("systemctl", "enable", "--now", *units, "chord.target")
        except AssertionError as problem:
            status = self.run("systemctl", "status", "--no-pager", *units, check=False)
            raise AssertionError(f"{problem}\n{status}") from None

    def restart(self, unit):
        self.run("systemctl", "restart", unit)

    def show(self, unit, name):
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def pid_of(self, unit):
        return int(self.show(unit, "MainPID"))

    def status(self, unit):
        return self.show(unit, "StatusText")

    def check_upgraded(self, pids):
        for unit in UNITS:
            assert (self.pid_of(unit) == pids[unit]) == unit.startswith("chord-node@"), unit

    def signal(self, unit, number):
        self.run("sh", "-c", f"kill -{int(number)} {self.pid_of(unit)}")

    def add_address(self, address):
        """Of its own network."""
        subprocess.run(["nsenter", "--target", str(self.pid), "--net", "ip", "address", "add",
                        f"{address}/32", "dev", "lo"], check=True)

    def remove(self, names):
        return self.run("dpkg", "--remove", *names)

    def close(self):
        super().close()
        until(lambda: (self.cgroup / "cgroup.events").read_text().startswith("populated 0"), 30,
              "the end of all processes")
        for folder, _, _ in os.walk(self.cgroup, topdown=False):
            os.rmdir(folder)
