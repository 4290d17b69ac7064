# SPDX-License-Identifier: MIT
"""The settings: one table of names, defaults, ranges and meanings, and how a value is chosen.

Precedence: default < .env < environment < flag. Every refusal names the setting, the value, the
range and where the value came from.
"""

import difflib
import ipaddress
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from . import envfile, tailnet, tokens
from .common import EXIT_BAD_SETTING, ROOT, Refused


@dataclass(frozen=True)
class Setting:
    name: str
    kind: str  # "number", "path", "address", "peers", "names", "text"
    default: object
    meaning: str
    low: int = 0
    high: int = 0
    flag: str = ""

    @property
    def flag_name(self):
        return self.flag or "--" + self.name.lower().replace("_", "-")


TABLE = (
    Setting("M", "number", 6, "identifier bits", 3, 160),
    Setting("N", "number", 3, "successors kept by each node", 1, 32),
    Setting("REPLICAS", "number", 3, "copies of each key, at most N+1", 1, 33),
    Setting("PORT", "number", 3000, "ring dashboard; node i's dashboard is PORT+i", 1, 65534),
    Setting("NUM_OF_NODES", "number", 5, "nodes to start on this host", 1, 1000, "--nodes"),
    Setting("DEFAULT_CHANNEL_SIZE", "number", 1000,
            "data requests a node holds before it refuses more", 1, 60000, "--channel-size"),
    Setting("RPC_PORT", "number", None, "node i listens on RPC_PORT+i; PORT+1000 when not set",
            1, 65534),
    Setting("HOST", "address", None,
            "address to bind and advertise; Tailscale's when it runs, else 127.0.0.1"),
    Setting("JOIN", "peers", "", "host[:port] of any member of an existing ring, several with commas; or "
            "tailscale, tailscale:TAG: the hosts of the tailnet, those with the tag"),
    Setting("HOST_NAMES", "names", "",
            "further names of this host that browsers and proxies may ask for, with commas"),
    Setting("HOST_ID", "text", "",
            "what fails as a whole: this machine, which is known by itself, or a room or zone that "
            "is named the same on several hosts; copies of a key are put on different ones"),
    Setting("DATA_DIR", "path", "data", "databases, logs, sockets"),
    Setting("RING_KEY_FILE", "path", "", "file with the key that all nodes of the ring share"),
    Setting("RING_KEY_ALSO_FILE", "path", "",
            "file with another one that they take too, while the ring's key is changed"),
    Setting("CLIENT_KEY_FILE", "path", "", "file with a key for programs that read and write keys"),
    Setting("READER_KEY_FILE", "path", "", "file with a key for programs that only read"),
    Setting("API_TOKEN_FILE", "path", "", "file with the tokens for HTTP: one alone, or lines of: "
            "reader|writer|operator token [name]"),
)
NAMES = {setting.name for setting in TABLE}
# sun_path has 108 bytes; the supervisor's socket lives in DATA_DIR.
DATA_DIR_BYTES_MAX = 90
RPC_PORT_ABOVE = 1000
# What the programs themselves take (node/chord/chord.h, gateway/settings.h, proto/rpc.h).
JOIN_MAX = 16
ADDRESS_BYTES_MAX = 63
HOST_NAMES_MAX = 24
HOST_NAME_BYTES_MAX = 253
TEXT_BYTES_MAX = 63
SHELL_VARIABLE = re.compile(r"\$(\w+|\{[^}]*\}?|\([^)]*\)?)|`[^`]*`?")
QUOTES = "\"'\u201c\u201d\u201e\u2018\u2019\u201a\u00ab\u00bb"  # typewriter's and printers'
RING_KEYS = ("RING_KEY_FILE", "RING_KEY_ALSO_FILE", "CLIENT_KEY_FILE", "READER_KEY_FILE")
SECRETS = (*RING_KEYS, "API_TOKEN_FILE")
RING_KEY_BYTES = (16, 64)


@dataclass
class Settings:
    """The chosen values. origin[name] tells people where a value came from."""

    values: dict
    origin: dict

    def __getitem__(self, name):
        return self.values[name]

    def explicit(self, name):
        """Whether somebody insisted on this value. An .env line that repeats the default does
        not count: the file ships with those."""
        default = next(setting.default for setting in TABLE if setting.name == name)
        origin = self.origin[name]
        if origin == "default":
            return False
        return not (origin.startswith("line ") and self.values[name] == default)

    def environment(self):
        """For the programs: what they are to know stands on their command lines, and nothing that
        this reading did not choose reaches them past it."""
        return {name: value for name, value in os.environ.items() if name not in NAMES}

    def same_folder(self):
        """What an order to this init.py needs beside the order."""
        if self.origin["DATA_DIR"] == "default" or self.origin["DATA_DIR"].endswith(" of .env"):
            return ""
        return f" --data-dir {shlex.quote(str(self['DATA_DIR']))}"

    def rpc_address(self, slot):
        return f"{self['HOST']}:{self['RPC_PORT'] + slot}"

    def dashboard(self, slot=0):
        return f"http://{self['HOST']}:{self['PORT'] + slot}"

    def node_dir(self, slot):
        return self["DATA_DIR"] / f"node-{slot}"


def bad(setting, value, origin, fix):
    return Refused(f"{setting.name}={value} (from {origin}) {fix}", EXIT_BAD_SETTING)


def read_env_file(path, named):
    """{name: (text, origin)} of a settings file. Only the one beside init.py, which nobody named,
    may be missing. A name that is no setting is a mistake of somebody who wanted something."""
    if not named and not path.exists():
        return {}
    found = envfile.read(path)
    for name, (_, origin) in found.items():
        if name not in NAMES:
            near = difflib.get_close_matches(name.upper(), sorted(NAMES), 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else "there are: " + ", ".join(sorted(NAMES))
            raise Refused(f"{name} ({origin}) is no setting; {hint}", EXIT_BAD_SETTING)
    return found


def parse_number(setting, text, origin):
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise bad(setting, text or "(empty)", origin,
                  f"is not a whole number: give one in {setting.low}..{setting.high}")
    number = int(text)
    if not setting.low <= number <= setting.high:
        raise bad(setting, text, origin, f"is out of range {setting.low}..{setting.high}")
    return number


def words_of(text):
    return re.split(r"[,\s]+", text.strip(", \t"))


def parse_peers(setting, text, origin):
    """Commas, blanks or both between them; what the programs get (seeds.py) has commas only."""
    if re.fullmatch(r"tailscale(:tag:[A-Za-z0-9-]+)?", text):
        return text
    peers = words_of(text)
    for peer in peers:
        host, _, port = peer.partition(":")
        if not re.fullmatch(r"[A-Za-z0-9._-]+", host) \
                or ":" in peer and not re.fullmatch(r"[0-9]{1,5}", port) \
                or port and not 1 <= int(port) <= 65535 or len(peer) > ADDRESS_BYTES_MAX:
            raise bad(setting, text, origin, f"has {peer!r}, which is not HOST[:PORT] of at most "
                      f"{ADDRESS_BYTES_MAX} bytes, for example 100.101.102.103:4001, or tailscale, or "
                      "tailscale:tag:NAME alone")
    if len(peers) > JOIN_MAX:
        raise bad(setting, text, origin, f"has {len(peers)} addresses: range 1..{JOIN_MAX}")
    return ",".join(peers)


def parse_names(setting, text, origin):
    names = words_of(text)
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9._-]+", name) or len(name) > HOST_NAME_BYTES_MAX:
            raise bad(setting, text, origin, f"has {name!r}, which is no host name (without scheme "
                      "and port), for example chord.example.net")
    if len(names) > HOST_NAMES_MAX:
        raise bad(setting, text, origin, f"has {len(names)} names: range 1..{HOST_NAMES_MAX}")
    return ",".join(names)


def parse_text(setting, text, origin):
    if len(text.encode()) > TEXT_BYTES_MAX or not text.isprintable():
        raise bad(setting, text, origin,
                  f"is not 1 to {TEXT_BYTES_MAX} bytes of text without control characters")
    return text


def parse_address(setting, text, origin):
    if text == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        raise bad(setting, text, origin,
                  "is not an IPv4 address, for example 127.0.0.1") from None
    if address.is_unspecified or address.is_multicast:
        raise bad(setting, text, origin,
                  "is no address that others can dial: give the one of this host")
    return text


def parse_path(setting, text, origin, base):
    """~ is a home folder, as in shells. What else a shell would replace is refused: no other reader
    does, and a folder of that name is nobody's wish."""
    if variable := SHELL_VARIABLE.search(text):
        meant = os.path.expandvars(text)
        raise bad(setting, text, origin, f"has {variable[0]}, which is not replaced here: write the "
                  "whole path" + ("" if SHELL_VARIABLE.search(meant) else f", {meant}"))
    if text[0] in QUOTES:
        raise bad(setting, text, origin, f"begins with {text[0]}, which would be a part of the name: "
                  "write it without")
    try:
        path = Path(text).expanduser()
    except RuntimeError:  # a user without an entry in the password file
        raise bad(setting, text, origin, f"begins with {text.split('/')[0]}, and no such home folder "
                  "is known: give the whole path") from None
    return Path(os.path.abspath(base / path))


def parse(setting, text, origin, base):
    if setting.kind == "number":
        return parse_number(setting, text, origin)
    if not text:
        if setting.kind == "path" and setting.default:
            raise bad(setting, "(empty)", origin, "is no folder: give one, or take the setting away "
                      f"for {ROOT / setting.default}")
        return setting.default
    if setting.kind == "peers":
        return parse_peers(setting, text, origin)
    if setting.kind == "names":
        return parse_names(setting, text, origin)
    if setting.kind == "address":
        return parse_address(setting, text, origin)
    if setting.kind == "text":
        return parse_text(setting, text, origin)
    return parse_path(setting, text, origin, base)


def choose(flags, environment, env_file, named=False):
    """Settings from {name: text} of flags, the environment and a settings file (named: somebody
    asked for that very file); only single values are checked here, check_together() does the
    rest."""
    from_file = read_env_file(env_file, named)
    settings = Settings({}, {})
    for setting in TABLE:
        name = setting.name
        # An empty environment variable counts as not set.
        if flags.get(name) is not None:
            text, origin, base = str(flags[name]).strip(), f"flag {setting.flag_name}", Path.cwd()
        elif environment.get(name, "").strip():
            text, origin, base = environment[name].strip(), "the environment", Path.cwd()
        elif name in from_file:
            (text, origin), base = from_file[name], env_file.parent
        else:
            text, origin, base = None, "default", ROOT
        if text is None:
            value = setting.default
            if setting.kind == "path" and value:
                value = ROOT / value
        else:
            value = parse(setting, text, origin, base)
        settings.values[name] = value
        settings.origin[name] = origin
    if settings["RPC_PORT"] is None:
        settings.values["RPC_PORT"] = settings["PORT"] + RPC_PORT_ABOVE
    return settings


def setting_named(name):
    return next(setting for setting in TABLE if setting.name == name)


def check_together(settings, slots):
    """Refuses values that are fine alone but not together. slots: nodes that will run here."""
    values, origin = settings.values, settings.origin
    if slots > 2 ** values["M"]:
        raise bad(setting_named("NUM_OF_NODES"), slots, origin["NUM_OF_NODES"],
                  f"is more than the {2 ** values['M']} ids of M={values['M']} "
                  f"(from {origin['M']}): range 1..{2 ** values['M']}, or choose a larger M")
    if values["REPLICAS"] > values["N"] + 1:
        raise bad(setting_named("REPLICAS"), values["REPLICAS"], origin["REPLICAS"],
                  f"is more than N+1: range 1..{values['N'] + 1} with N={values['N']} "
                  f"(from {origin['N']})")
    check_ports(settings, slots)
    if len(os.fsencode(values["DATA_DIR"])) > DATA_DIR_BYTES_MAX:
        raise bad(setting_named("DATA_DIR"), values["DATA_DIR"], origin["DATA_DIR"],
                  f"is longer than {DATA_DIR_BYTES_MAX} bytes: choose a shorter path")
    check_secrets(settings)


def check_secrets(settings):
    lines = {}
    check_tokens(settings)
    for name in RING_KEYS:
        line = check_secret(settings, name)
        if not line:
            continue
        if not settings["RING_KEY_FILE"]:
            raise bad(setting_named(name), settings[name], settings.origin[name],
                      "is set without RING_KEY_FILE: members need a key of their own")
        if line in lines:
            raise bad(setting_named(name), settings[name], settings.origin[name],
                      f"holds the same secret as {lines[line]}, which allows something else: make "
                      "one for it")
        lines[line] = name


def check_ports(settings, slots):
    """Names the setting that somebody gave: RPC_PORT may only follow PORT."""
    port, rpc_port = settings["PORT"], settings["RPC_PORT"]
    follows = settings.origin["RPC_PORT"] == "default"
    for name in ("PORT", "RPC_PORT"):
        if settings[name] + slots <= 65535:
            continue
        above, note = 0, ""
        if name == "RPC_PORT" and follows:
            name, above, note = "PORT", RPC_PORT_ABOVE, f", RPC_PORT={rpc_port} (PORT+1000) above it"
        room = 65535 - above - slots
        if settings.origin[name] == "default":
            raise bad(setting_named("NUM_OF_NODES"), slots, settings.origin["NUM_OF_NODES"],
                      f"needs more ports than there are above {name}={settings[name]}: range "
                      f"1..{65535 - above - settings[name]}")
        raise bad(setting_named(name), settings[name], settings.origin[name],
                  f"leaves no room for {slots} nodes{note}: range 1..{room}")
    if port <= rpc_port + slots and rpc_port + 1 <= port + slots:
        name = "RPC_PORT" if not follows else "NUM_OF_NODES"
        value = rpc_port if not follows else slots
        raise bad(setting_named(name), value, settings.origin[name],
                  f"makes ports {rpc_port + 1}..{rpc_port + slots} of the nodes meet the "
                  f"dashboards' ports {port}..{port + slots}: choose another")


def read_secret(settings, name):
    """The bytes of a file that its owner keeps, by the programs' rules: proto/private.c."""
    path, setting, origin = settings[name], setting_named(name), settings.origin[name]
    try:
        about = path.stat()
        secret = path.read_bytes() if path.is_file() else None
    except OSError as error:
        raise bad(setting, path, origin, f"cannot be read: {error.strerror}") from error
    if secret is None:
        raise bad(setting, path, origin, "is no file")
    if secret.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise bad(setting, path, origin, "begins with a byte order mark (BOM), which would count "
                  "as a part of the secret: save it as plain text without BOM")
    check_owner(setting, path, origin, about)
    return secret


def check_tokens(settings):
    if not settings["API_TOKEN_FILE"]:
        return
    secret = read_secret(settings, "API_TOKEN_FILE")
    try:
        tokens.parse(secret)
    except ValueError as problem:
        raise bad(setting_named("API_TOKEN_FILE"), settings["API_TOKEN_FILE"],
                  settings.origin["API_TOKEN_FILE"], f"cannot be used: {problem}") from None


def check_secret(settings, name):
    """The key of a file, or None."""
    path = settings[name]
    if not path:
        return None
    setting, origin = setting_named(name), settings.origin[name]
    low, high = RING_KEY_BYTES
    line = re.split(rb"\r\n|\n|\r", read_secret(settings, name))[0]
    if not low <= len(line) <= high:
        raise bad(setting, path, origin, f"has {len(line)} bytes in its first line: a secret has "
                  f"{low} to {high}, for example: head -c 32 /dev/urandom | base64 > {path}")
    if tokens.is_weak(line):
        raise bad(setting, path, origin, "has a first line that can be guessed (few different "
                  f"characters, or a text repeated): head -c 32 /dev/urandom | base64 > {path}")
    return line


def check_owner(setting, path, origin, about):
    """Readable for its owner alone; a file of root's also for a group."""
    if about.st_uid not in (0, os.geteuid()):
        raise bad(setting, path, origin, f"belongs to user {about.st_uid}, who could change it: "
                  f"chown it to user {os.geteuid()}")
    if about.st_mode & (0o027 if about.st_uid == 0 and os.geteuid() != 0 else 0o077):
        raise bad(setting, path, origin, f"can be read by others (mode {about.st_mode & 0o777:03o})"
                  f": chmod 600 {shlex.quote(str(path))}")


def check_exposure(settings):
    """Only loopback and Tailscale addresses go without secrets."""
    address = ipaddress.IPv4Address(settings["HOST"])
    if address.is_loopback or address in tailnet.NETWORK:
        return
    lacking = [name for name in ("RING_KEY_FILE", "API_TOKEN_FILE") if not settings[name]]
    if lacking:
        raise bad(setting_named("HOST"), address, settings.origin["HOST"],
                  f"can be reached by strangers: set {' and '.join(lacking)} to files with "
                  "secrets, or use 127.0.0.1 or a Tailscale address")
