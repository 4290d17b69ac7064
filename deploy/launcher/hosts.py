# SPDX-License-Identifier: MIT
"""Reads hosts.toml: the hosts of one ring, and what each is started with. A sample that says all of it:
deploy/hosts.example.toml.

What stands at the top, in [settings] and in [secrets] is for every host; a [[host]] may say otherwise.
Everything is checked here, before any host is asked; every refusal names the file, the table and the key.
"""

import difflib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from . import settings as settings_module
from .common import EXIT_BAD_SETTING, Refused
from .settings import JOIN_MAX, NAMES, RPC_PORT_ABOVE, SECRETS, Settings, setting_named

FILE_BYTES_MAX = 256 * 1024
HOSTS_MAX = 64
TEXT_BYTES_MAX = 255
DIRECTORY = "chord"
# Settings that hosts.toml says in another place.
ELSEWHERE = {"HOST": "address", "NUM_OF_NODES": "nodes", "JOIN": "the addresses of all hosts",
             **dict.fromkeys(SECRETS, "[secrets]")}
KEYS_OF_ALL = ("directory", "nodes", "build")
KEYS_OF_ONE = (*KEYS_OF_ALL, "name", "address", "local")
SSH_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]*")  # never an option of ssh's


@dataclass(frozen=True)
class Host:
    name: str       # as ssh knows it
    directory: str  # of the checkout, from the login's home folder
    address: str    # what it binds and the others dial; "" = its Tailscale address
    local: bool     # this machine: no ssh
    build: str      # folder with built programs there (from the checkout), or "" = it builds
    settings: dict  # name -> text, as flags take it
    secrets: dict   # name -> Path on this machine

    def data_dir(self):
        return self.settings.get("DATA_DIR") or setting_named("DATA_DIR").default

    def secret_name(self, setting):
        """Its file in DATA_DIR: ring.key for RING_KEY_FILE."""
        return setting.removesuffix("_FILE").lower().replace("_", ".")

    def seed(self):
        """What JOIN calls it. Without a port the one who joins tries those that he uses himself."""
        if "RPC_PORT" in self.settings:
            return f"{self.address}:{int(self.settings['RPC_PORT']) + 1}"
        if "PORT" in self.settings:
            return f"{self.address}:{int(self.settings['PORT']) + RPC_PORT_ABOVE + 1}"
        return self.address


class Reader:
    """One file; `place` is the table that is being read, for the refusals."""

    def __init__(self, path):
        self.path = path

    def refuse(self, place, problem):
        raise Refused(f"{self.path}: {place}{' ' if place else ''}{problem}", EXIT_BAD_SETTING)

    def known(self, place, table, names, what):
        for name in table:
            if name not in names:
                near = difflib.get_close_matches(name, sorted(names), 1, 0.5) or \
                    difflib.get_close_matches(name.upper(), sorted(names), 1, 0.5)
                self.refuse(place, f"has {name[:TEXT_BYTES_MAX]}, which is no {what}; " + (
                    f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(names))}"))

    def table(self, place, parent, name):
        found = parent.get(name, {})
        if not isinstance(found, dict):
            self.refuse(place, f"{name} is no table: write [{name}] and its lines below")
        return found

    def text(self, place, table, name, default=""):
        value = table.get(name, default)
        if not isinstance(value, str) or len(value.encode()) > TEXT_BYTES_MAX or \
                any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
            self.refuse(place, f"{name} is no text of 1 to {TEXT_BYTES_MAX} printable bytes in quotes")
        if name in table and not value:
            self.refuse(place, f"{name} is empty: give it, or take the line away")
        return value

    def folder(self, place, table, name, default="", below="the checkout"):
        """Of the host: whole, or from `below`."""
        text = self.text(place, table, name, default)
        if text.startswith("~") or "$" in text:
            self.refuse(place, f"{name}={text} has what only a shell replaces: write the whole path, "
                        f"or the part below {below}")
        return text

    def setting(self, place, name, value):
        """The text that a flag takes. Paths are of the host, which checks them itself."""
        if name in ELSEWHERE:
            self.refuse(place, f"has {name}, which stands in {ELSEWHERE[name]} here")
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            self.refuse(place, f"{name} is neither a number nor a text in quotes")
        setting, text = setting_named(name), str(value)
        if setting.kind == "path":
            return self.folder(place, {name: value}, name)
        settings_module.parse(setting, text, f"{self.path}, {place}", self.path.parent)
        return text

    def secret(self, place, name, value):
        if not isinstance(value, str) or not value:
            self.refuse(place, f"{name} is no path in quotes")
        setting, origin = setting_named(name), f"{self.path}, {place}"
        return settings_module.parse(setting, value, origin, self.path.parent)

    def host(self, index, entry, shared):
        place = f"[[host]] {index}"
        if not isinstance(entry, dict):
            self.refuse(place, "is no table")
        self.known(place, entry, (*KEYS_OF_ONE, "settings", "secrets"), "key of a host")
        name = self.text(place, entry, "name")
        if not SSH_NAME.fullmatch(name):
            self.refuse(place, f"name={name or '(missing)'} is nothing that ssh takes: give name = "
                        "\"HOST\" or \"USER@HOST\"; what else ssh needs belongs into ~/.ssh/config")
        place = f"[[host]] {name}"
        both = {**{key: shared[key] for key in KEYS_OF_ALL if key in shared}, **entry}
        address = self.text(place, entry, "address")
        if address:
            settings_module.parse_address(setting_named("HOST"), address, f"{self.path}, {place}")
        local = entry.get("local", False)
        if not isinstance(local, bool):
            self.refuse(place, "local is neither true nor false")
        settings = {**self.settings_of("", shared), **self.settings_of(place, entry)}
        if address:
            settings["HOST"] = address
        if "nodes" in both:
            nodes = both["nodes"]
            if isinstance(nodes, bool) or not isinstance(nodes, int):
                self.refuse(place, f"nodes={nodes} is no whole number")
            settings_module.parse(setting_named("NUM_OF_NODES"), str(nodes), f"{self.path}, {place}",
                                  self.path.parent)
            settings["NUM_OF_NODES"] = str(nodes)
        secrets = {**self.secrets_of("", shared), **self.secrets_of(place, entry)}
        return Host(name, self.folder(place, both, "directory", DIRECTORY, "the home folder"), address, local,
                    self.folder(place, both, "build"), settings, secrets)

    def settings_of(self, place, parent):
        table = self.table(place, parent, "settings")
        place = f"{place} [settings]".strip()
        self.known(place, table, NAMES, "setting")
        return {name: self.setting(place, name, value) for name, value in table.items()}

    def secrets_of(self, place, parent):
        table = self.table(place, parent, "secrets")
        place = f"{place} [secrets]".strip()
        self.known(place, table, SECRETS, "file with a secret")
        return {name: self.secret(place, name, value) for name, value in table.items()}

    def check_together(self, hosts):
        for what in ("name", "address"):
            values = [getattr(host, what) for host in hosts if getattr(host, what)]
            if twice := [value for value in values if values.count(value) > 1]:
                self.refuse("", f"two hosts have the {what} {twice[0]}")
        lacking = [host.name for host in hosts if not host.address]
        if lacking and len(lacking) < len(hosts):
            self.refuse("", f"{lacking[0]} has no address and others have one: give each its own, or "
                        "none, and all use Tailscale's")
        for host in hosts:
            self.check_secrets(host)

    def check_secrets(self, host):
        """The same rules as at a start."""
        if host.secrets:
            chosen = {**dict.fromkeys(SECRETS), **host.secrets}
            settings_module.check_secrets(
                Settings(chosen, dict.fromkeys(chosen, f"{self.path}, {host.name}")))


def read_toml(path):
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise Refused(f"{path} is not there: copy deploy/hosts.example.toml there and name your hosts",
                      EXIT_BAD_SETTING) from None
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror}", EXIT_BAD_SETTING) from error
    if len(data) > FILE_BYTES_MAX:
        raise Refused(f"{path} has more than {FILE_BYTES_MAX} bytes", EXIT_BAD_SETTING)
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise Refused(f"{path} is no TOML: {error}", EXIT_BAD_SETTING) from None


def read(path):
    """The hosts in the order of the file; the first makes the ring where there is none."""
    reader, content = Reader(Path(path).absolute()), read_toml(path)
    reader.known("", content, (*KEYS_OF_ALL, "settings", "secrets", "host"), "key")
    entries = content.get("host", [])
    if not isinstance(entries, list) or not 1 <= len(entries) <= HOSTS_MAX:
        reader.refuse("", f"needs 1 to {HOSTS_MAX} tables [[host]]")
    hosts = [reader.host(index, entry, content) for index, entry in enumerate(entries, 1)]
    reader.check_together(hosts)
    return hosts


def join_of(hosts, own):
    """JOIN for a host: all others, as many as JOIN takes, the next in the file first."""
    at = hosts.index(own)
    others = hosts[at + 1:] + hosts[:at]
    if not own.address:
        return "tailscale" if others else ""
    return ",".join(other.seed() for other in others[:JOIN_MAX])
