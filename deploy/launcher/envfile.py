# SPDX-License-Identifier: MIT
"""Reads a settings file (.env): the part of its grammar on which this reader, systemd's
EnvironmentFile= and shells agree. Everything else is refused by line, because another reader would
understand it otherwise: a comment behind a value, `export`, a backslash, a quote that does not end.
"""

import re

from .common import EXIT_BAD_SETTING, Refused

BOM = "\ufeff"
NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*(.*)")
QUOTED = re.compile(r"\"([^\"]*)\"|'([^']*)'")


def refuse(path, number, problem):
    raise Refused(f"line {number} of {path}: {problem}", EXIT_BAD_SETTING)


def read_text(path):
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror}", EXIT_BAD_SETTING) from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[:error.start].count(b"\n") + 1
        raise Refused(f"line {line} of {path}: byte {data[error.start]:#04x} is no UTF-8; save the "
                      "file as UTF-8", EXIT_BAD_SETTING) from None
    if text.startswith(BOM):
        raise Refused(f"{path} begins with a byte order mark (BOM), which systemd would read as "
                      "part of the first line: save it as UTF-8 without BOM, or run: "
                      f"sed -i '1s/^\\xEF\\xBB\\xBF//' {path}", EXIT_BAD_SETTING)
    return text


def value_of(path, number, name, text):
    """The value that stands behind NAME=, without its quotes."""
    line = f"{name}={text[:60]}"
    if text[:1] in ("'", '"'):
        match = QUOTED.match(text)
        if not match:
            refuse(path, number, f"the quote {text[0]} of {line} has no end: put another one behind "
                   "the value, or take this one away")
        if text[match.end():].strip():
            refuse(path, number, f"{text[match.end():].strip()[:40]!r} stands behind the quoted "
                   f"value of {line}: put it into the quotes, or take it away; a comment needs a "
                   "line of its own")
        text = match[1] if match[1] is not None else match[2]
        if text != text.strip():
            refuse(path, number, f"{line} has a blank at an end of the quoted text, which not every "
                   "reader keeps: take it away")
    elif '"' in text or "'" in text:
        refuse(path, number, f"{line} has a quote in the middle: put the whole value into quotes, "
               "or none of it")
    elif re.search(r"[ \t]#", text) or text.startswith("#"):
        refuse(path, number, f"{line} has a comment behind the value, which systemd would take for "
               "a part of it: put it on a line of its own")
    if "\\" in text:
        refuse(path, number, f"{line} has a backslash, which not every reader takes as it is: "
               "write the value without")
    return text


def read(path):
    """{name: (text, "line N of .env")} of a file in the order of its lines."""
    found = {}
    for number, line in enumerate(re.split(r"\r\n|\n|\r", read_text(path)), 1):
        line = line.strip(" \t")
        if line[:1] in ("#", ";") and line.endswith("\\"):
            refuse(path, number, "the comment ends with a backslash, behind which systemd before 254 "
                   "takes the next line for a comment too: take it away")
        if not line or line[0] in "#;":
            continue
        if not line.replace("\t", "").isprintable():
            refuse(path, number, f"a character that is not seen (a control character, or a blank of "
                   f"another kind) stands in {line[:60]!r}")
        if re.match(r"export[ \t]", line):
            refuse(path, number, "'export' is for shells, systemd does not know it: write "
                   f"{line.split(None, 1)[1][:40]}")
        match = NAME.fullmatch(line)
        if not match:
            refuse(path, number, f"{line[:60]!r} is not NAME=VALUE")
        name = match[1]
        if name in found:
            refuse(path, number, f"{name} is set again; {found[name][1]} set it first: keep one")
        found[name] = value_of(path, number, name, match[2]), f"line {number} of {path.name}"
    return found
