"""The settings: one table of names, defaults, ranges and meanings, and how a value is chosen.

Precedence: default < .env < environment < flag. Every refusal names the setting, the value, the
range and where the value came from.
"""

import ipaddress
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from .common import EXIT_BAD_SETTING, ROOT, Refused


@dataclass(frozen=True)
class Setting:
    name: str
    kind: str  # "number", "text", "path", "address", "peers"
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
            "data requests a node holds before it refuses more", 1, 1000000, "--channel-size"),
    Setting("RPC_PORT", "number", None, "node i listens on RPC_PORT+i; PORT+1000 when not set",
            1, 65534),
    Setting("HOST", "address", None,
            "address to bind and advertise; Tailscale's when it runs, else 127.0.0.1"),
    Setting("JOIN", "peers", "", "host:port of any member of an existing ring"),
    Setting("DATA_DIR", "path", "data", "databases, logs, sockets"),
    Setting("RING_KEY_FILE", "path", "", "file with the key that all nodes of the ring share"),
    Setting("API_TOKEN_FILE", "path", "", "file with the token for changes over HTTP"),
)
NAMES = {setting.name for setting in TABLE}
TAILSCALE_NETWORK = ipaddress.ip_network("100.64.0.0/10")
# sun_path has 108 bytes; the supervisor's socket lives in DATA_DIR.
DATA_DIR_BYTES_MAX = 90


@dataclass
class Settings:
    """The chosen values. origin[name] tells people where a value came from."""

    values: dict
    origin: dict
    warnings: list = field(default_factory=list)

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

    def rpc_address(self, slot):
        return f"{self['HOST']}:{self['RPC_PORT'] + slot}"

    def dashboard(self, slot=0):
        return f"http://{self['HOST']}:{self['PORT'] + slot}"

    def node_dir(self, slot):
        return self["DATA_DIR"] / f"node-{slot}"


def bad(setting, value, origin, fix):
    return Refused(f"{setting.name}={value} (from {origin}) {fix}", EXIT_BAD_SETTING)


def read_env_file(path):
    """{name: (text, origin)} of an .env file; {} when there is none."""
    from dotenv import dotenv_values

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"cannot read {path}: {error}", EXIT_BAD_SETTING) from error
    lines = {}
    for number, line in enumerate(text.splitlines(), 1):
        word = line.strip()
        if not word or word.startswith("#"):
            continue
        match = re.match(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=", word)
        if not match:
            raise Refused(f"line {number} of {path} is not NAME=VALUE: {word[:60]!r}",
                          EXIT_BAD_SETTING)
        lines[match[1]] = number
    values = dotenv_values(path, interpolate=False)
    return {name: ((value or "").strip(), f"line {lines.get(name, '?')} of {path.name}")
            for name, value in values.items()}


def parse_number(setting, text, origin):
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise bad(setting, text or "(empty)", origin,
                  f"is not a whole number: give one in {setting.low}..{setting.high}")
    number = int(text)
    if not setting.low <= number <= setting.high:
        raise bad(setting, text, origin, f"is out of range {setting.low}..{setting.high}")
    return number


def parse_peers(setting, text, origin):
    for peer in filter(None, text.split(",")):
        host, colon, port = peer.rpartition(":")
        if not colon or not host or not port.isdigit() or not 1 <= int(port) <= 65535:
            raise bad(setting, text, origin, "is not HOST:PORT[,HOST:PORT...], "
                      "for example 100.101.102.103:4001")
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


def parse(setting, text, origin, base):
    if setting.kind == "number":
        return parse_number(setting, text, origin)
    if not text:
        return setting.default
    if setting.kind == "peers":
        return parse_peers(setting, text, origin)
    if setting.kind == "address":
        return parse_address(setting, text, origin)
    if setting.kind == "path":
        return Path(os.path.abspath(base / Path(text).expanduser()))
    return text


def choose(flags, environment, env_file):
    """Settings from {name: text} of flags, the environment and an .env file; only single values
    are checked here, check_together() does the rest."""
    from_file = read_env_file(env_file)
    settings = Settings({}, {})
    for name in sorted(set(from_file) - NAMES):
        settings.warnings.append(f"{name} ({from_file[name][1]}) is no setting and is ignored")
    for setting in TABLE:
        name = setting.name
        # An empty environment variable counts as not set.
        if flags.get(name) is not None:
            text, origin, base = str(flags[name]), f"flag {setting.flag_name}", Path.cwd()
        elif environment.get(name):
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
            if setting.kind == "path" and not value and setting.default:
                value = ROOT / setting.default
        settings.values[name] = value
        settings.origin[name] = origin
    if settings["RPC_PORT"] is None:
        settings.values["RPC_PORT"] = settings["PORT"] + 1000
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
    for name in ("RING_KEY_FILE", "API_TOKEN_FILE"):
        check_secret(settings, name)


def check_ports(settings, slots):
    port, rpc_port, origin = settings["PORT"], settings["RPC_PORT"], settings.origin
    for name in ("PORT", "RPC_PORT"):
        if settings[name] + slots > 65535:
            raise bad(setting_named(name), settings[name], origin[name],
                      f"leaves no room for {slots} nodes: range 1..{65535 - slots}")
    if port <= rpc_port + slots and rpc_port + 1 <= port + slots:
        raise bad(setting_named("RPC_PORT"), rpc_port, origin["RPC_PORT"],
                  f"makes ports {rpc_port + 1}..{rpc_port + slots} of the nodes meet the "
                  f"dashboards' ports {port}..{port + slots}: choose another")


def check_secret(settings, name):
    path = settings[name]
    if not path:
        return
    try:
        empty = not path.read_bytes().strip()
    except OSError as error:
        raise bad(setting_named(name), path, settings.origin[name],
                  f"cannot be read: {error.strerror}") from error
    if empty:
        raise bad(setting_named(name), path, settings.origin[name],
                  "is empty: put a secret of at least 16 characters into it")


def check_exposure(settings):
    """Only loopback and Tailscale addresses go without secrets."""
    address = ipaddress.IPv4Address(settings["HOST"])
    if address.is_loopback or address in TAILSCALE_NETWORK:
        return
    lacking = [name for name in ("RING_KEY_FILE", "API_TOKEN_FILE") if not settings[name]]
    if lacking:
        raise bad(setting_named("HOST"), address, settings.origin["HOST"],
                  f"can be reached by strangers: set {' and '.join(lacking)} to files with "
                  "secrets, or use 127.0.0.1 or a Tailscale address")
