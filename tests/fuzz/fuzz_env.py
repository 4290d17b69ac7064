# SPDX-License-Identifier: MIT
"""Fuzzer of settings files: a file is refused in one line that can be shown, with the exit code of a
bad setting, or each value keeps its setting's bounds, systemd's EnvironmentFile= reads the same
values in it, and so does our own reader when they are written again."""

import sys
from pathlib import Path

import mutate

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "deploy"))

from launcher import envfile, settings  # noqa: E402
from launcher.common import EXIT_BAD_SETTING, Refused  # noqa: E402

TOKENS = [name.encode() for name in settings.NAMES]
TOKENS += [token.encode() for token in (
    "=", "\n", "\r", "\r\n", " ", "\t", "#", ";", "'", '"', "\\", "\\\n", "export ", "$HOME", "${A", "$(a)", "`a`",
    "~", "~nobody9/", "~/", ",", ":4001", "127.0.0.1", "0.0.0.0", "tailscale:tag:x", "tailscale", "localhost",
    "9" * 20, "-1", "+1", "1e3", "0x10", "\u0661", "\ufeff", "\u00a0", "\u2028", "\u0085", "\u202e", "\x1b[31m",
    "\0", "\x7f", "M=6\n", "DATA_DIR=data\n", "#\n", "a" * 70, "../")]
TOKENS += [b"\xff", b"\xef\xbb\xbf"]
BLANKS, ENDS, COMMENTS = " \t\n\r", "\n\r", "#;"


class File:
    """As much of a Path as the reader wants, without a disk."""
    name, parent = ".env", Path("/srv/chord")

    def __init__(self, data):
        self.data = data

    def __str__(self):
        return self.name

    def exists(self):
        return True

    def read_bytes(self):
        return self.data


def systemd(text):
    """{name: value} as systemd 252 reads an EnvironmentFile=, letter by letter (its states, without
    those that a refused file alone comes to: escapes within values)."""
    found, state, name, value, blanks = {}, "start", "", "", 0
    for letter in text + "\n":
        if state == "start":
            if letter in COMMENTS:
                state = "comment"
            elif letter not in BLANKS:
                state, name = "name", letter
        elif state == "name":
            if letter in ENDS:
                state = "start"
            elif letter == "=":
                state, value, blanks = "before", "", 0
            else:
                name += letter
        elif state in ("before", "value"):
            if letter in ENDS:
                found[name.strip()] = value[:len(value) - blanks]
                state = "start"
            elif letter in "'\"" and state == "before":
                state = letter
            elif letter in BLANKS:
                value, blanks = (value + letter, blanks + 1) if state == "value" else (value, 0)
            else:
                state, value, blanks = "value", value + letter, 0
        elif state in "'\"":
            if letter == state:
                state = "before"
            else:
                value += letter
        elif state == "comment":
            state = "escaped" if letter == "\\" else "start" if letter in ENDS else state
        else:
            state = "comment"
    return found


def check_value(setting, value):
    if setting.kind == "number":
        assert value is None or setting.low <= value <= max(setting.high, 65534 + settings.RPC_PORT_ABOVE)
    elif isinstance(value, Path):
        assert value.is_absolute()
    else:
        assert value is None or isinstance(value, str) and value.isascii() and " " not in value


def target(data):
    try:
        found = envfile.read(File(data))
        chosen = settings.choose({}, {}, File(data), named=True)
    except Refused as refusal:
        said = str(refusal)
        assert refusal.exit_code == EXIT_BAD_SETTING and said.replace("\t", " ").isprintable(), said
        return
    values = {name: value for name, (value, _) in found.items()}
    theirs = systemd(data.decode())
    assert values == theirs, (values, theirs)
    again = "".join(f'{name}="{value}"\n' for name, value in values.items()).encode()
    assert {name: value for name, (value, _) in envfile.read(File(again)).items()} == values
    for setting in settings.TABLE:
        check_value(setting, chosen[setting.name])


if __name__ == "__main__":
    sys.exit(mutate.run(target, TOKENS))
