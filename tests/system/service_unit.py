# SPDX-License-Identifier: MIT
"""Starts an installed unit of systemd as the unit says, without systemd: its settings, credentials,
state folder, user and notify socket. Only what our units use; anything else in one that changes
what is started fails here."""

import os
import re
import shlex
import subprocess

from notify_socket import NotifySocket

READY_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60
DYNAMIC_USER = 61184  # the first that systemd gives to units with DynamicUser=
UNITS = "/usr/lib/systemd/system"


def read_unit(text):
    """{key: values, in order} of [Service]."""
    service = re.search(r"^\[Service\]\n(.*?)(?=^\[|\Z)", text, re.M | re.S)[1]
    values = {}
    for line in service.splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition("=")
            values.setdefault(key, []).append(value)
    return values


class Service:
    def __init__(self, host, unit):
        name, _, self.instance = unit.partition("@")
        file = f"{name}{'@' if self.instance else ''}.service"
        self.host, self.unit, self.process = host, unit, None
        self.values = read_unit((host.root / UNITS.lstrip("/") / file).read_text())
        self.credentials = f"/run/credentials/{unit}.service"
        self.uid = DYNAMIC_USER
        assert self.values["Type"] == ["notify"] and self.values["DynamicUser"] == ["yes"]

    def specifiers(self, text):
        assert not set(re.findall(r"%(.)", text)) - {"i", "d"}, text
        return text.replace("%i", self.instance).replace("%d", self.credentials)

    def environment(self):
        values = {}
        for line in self.values["Environment"]:
            values.update(word.split("=", 1) for word in shlex.split(self.specifiers(line)))
        for name in self.values["EnvironmentFile"]:
            path = self.host.root / self.specifiers(name).lstrip("-/")
            if path.exists() or not name.startswith("-"):
                lines = path.read_text().splitlines()
                values.update(line.split("=", 1) for line in lines
                              if line and not line.startswith("#"))
        return values

    def command(self, environment):
        """${NAME} within a word; $NAME as a word is none, one or several."""
        words = []
        for word in self.specifiers(self.values["ExecStart"][0]).split():
            if re.fullmatch(r"\$[A-Z_]+", word):
                words += environment[word[1:]].split()
            else:
                words.append(re.sub(r"\$\{([A-Z_]+)\}", lambda it: environment[it[1]], word))
        return words

    def folder(self, path, mode):
        folder = self.host.root / path.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(mode)
        os.chown(folder, self.uid, self.uid)
        return folder

    def prepare(self):
        (self.host.root / "var/lib/private").mkdir(mode=0o700, exist_ok=True)
        # 0755 here: without mounts of its own for each unit the user must come through.
        (self.host.root / "var/lib/private").chmod(0o755)
        (state,) = self.values["StateDirectory"]
        self.folder("/var/lib/private/" + self.specifiers(state),
                    int(self.values["StateDirectoryMode"][0], 8))
        link = self.host.root / "var/lib" / self.specifiers(state)
        link.parent.mkdir(exist_ok=True, parents=True)
        for folder in (link.parent, self.host.root / "var/lib/private/chord"):
            folder.chmod(0o755)
        if not link.is_symlink():
            link.symlink_to("/var/lib/private/" + self.specifiers(state))
        folder = self.folder(self.credentials, 0o700)
        folder.parent.chmod(0o755)
        preset = dict(line.split(":", 1) for line in self.values["SetCredential"])
        for line in self.values["LoadCredential"]:
            name, path = line.split(":")
            source = self.host.root / path.lstrip("/")
            file = folder / name
            file.unlink(missing_ok=True)
            file.write_text(source.read_text() if source.exists() else preset[name])
            file.chmod(0o400)
            os.chown(file, self.uid, self.uid)

    def start(self):
        self.prepare()
        environment = self.environment()
        self.manager = NotifySocket()
        watchdog_s = float(self.values["WatchdogSec"][0])
        settings = {**environment, **self.manager.environment(watchdog_s)}
        with open(self.host.root / "run" / f"{self.unit}.log", "ab") as log:
            self.process = subprocess.Popen(
                [*self.host.words(*[f"{name}={value}" for name, value in settings.items()]),
                 "chroot", f"--userspec={self.uid}:{self.uid}", "/", *self.command(environment)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                umask=int(self.values["UMask"][0], 8))
        try:
            self.manager.wait("READY=1", READY_TIMEOUT_S)
        except AssertionError as problem:
            raise AssertionError(f"{self.unit}: {problem}\n{self.log()}") from None

    def log(self):
        return (self.host.root / "run" / f"{self.unit}.log").read_text(errors="replace")[-2000:]

    def status(self):
        try:
            while True:
                self.manager.hear(0)
        except AssertionError:
            pass
        return next((text.removeprefix("STATUS=") for text in reversed(self.manager.heard)
                     if text.startswith("STATUS=")), "")

    def stop(self):
        """KillSignal; a stopped service says so and ends with 0."""
        assert self.values["KillSignal"] == ["SIGTERM"]
        self.process.terminate()
        self.manager.wait("STOPPING=1", STOP_TIMEOUT_S)
        assert self.process.wait(STOP_TIMEOUT_S) == 0, self.log()
        self.manager.close()

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            self.manager.close()
