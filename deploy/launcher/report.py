# SPDX-License-Identifier: MIT
"""How init.py tells people, or programs, what happens: a live table on a terminal, plain lines
without one, one JSON object a line with --json."""

import json
import os
import shutil
import sys
import textwrap
import time

from .terminal import Terminal

STATUS_PERIOD_S = 10
RECENT_LINES = 8


def put(stream, text):
    """Writes past Python's buffers. Whoever reads may be gone, or the disk full: what is said then
    is lost, and the ring goes on."""
    data = text.encode(getattr(stream, "encoding", None) or "utf-8", errors="replace")
    try:
        place = stream.fileno()
        while data:
            data = data[os.write(place, data):]
    except (OSError, ValueError, AttributeError):
        pass


def human_bytes(count):
    if count is None:
        return "-"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return "-"


def human_time(seconds):
    seconds = int(seconds)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"


def number(value):
    return "-" if value is None else f"{value}"


def fingerprint(picture):
    """What a change of makes a new line: not CPU, memory and time, which always move."""
    return (picture["ring_state"], picture["active"], tuple(picture["waiting_for"]),
            tuple((node["slot"], node["state"]) for node in picture["nodes"]))


def troubles(picture):
    """What stays to be done by somebody: nodes that ended by themselves, and who is waited for."""
    found = [f"node {node['slot']} {node['ended']}: {node['why']}" for node in picture["nodes"]
             if node["why"]]
    if picture["waiting_for"]:
        found.append("waiting for " + ", ".join(picture["waiting_for"]))
    return found


def summary(picture):
    used, total = picture["memory_used_bytes"], picture["memory_total_bytes"]
    down = [f"node {node['slot']} {node['state']}" for node in picture["nodes"]
            if node["state"] != "member"]
    cpu = sum(node["cpu_percent"] for node in picture["nodes"])
    memory = sum(node["memory_pss_bytes"] or 0 for node in picture["nodes"])
    parts = [f"ring {picture['ring_state']}", f"{picture['active']} active nodes"]
    if picture["ring_state"] == "degraded":
        parts[0] += f": {picture['ring_reason']}"
    if picture["keys"] is not None:
        parts.append(f"{picture['keys']} keys")
    parts += [f"nodes use {cpu:.1f} % CPU and {human_bytes(memory)} (PSS)",
              f"system memory {human_bytes(used)} of {human_bytes(total)}"]
    return ", ".join(parts + down + troubles(picture))


class PlainReporter:
    """Lines, and a status line when something changed or STATUS_PERIOD_S passed."""

    def __init__(self):
        self.last_status, self.last_status_at = None, 0.0

    def say(self, text):
        self.event("message", text)

    def event(self, name, text, **fields):
        del name, fields
        put(sys.stdout, text + "\n")

    def error(self, text):
        put(sys.stderr, f"init.py: {text}\n")

    def ask(self, question, wanted):
        """Whether somebody types the wanted word; False where nobody can be asked."""
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            return False
        put(sys.stdout, question)
        return sys.stdin.readline().strip() == wanted

    def due(self, picture):
        now, status = time.monotonic(), fingerprint(picture)
        if status == self.last_status and now - self.last_status_at < STATUS_PERIOD_S:
            return False
        self.last_status, self.last_status_at = status, now
        return True

    def status(self, picture):
        if self.due(picture):
            put(sys.stdout, time.strftime("%H:%M:%S ") + summary(picture) + "\n")

    def close(self):
        """Back to plain lines."""


class JsonReporter(PlainReporter):
    """One JSON object a line: {"event": name, "time_ms": ..., "text": ..., ...}."""

    def emit(self, name, fields):
        line = {"event": name, "time_ms": int(time.time() * 1000), **fields}
        put(sys.stdout, json.dumps(line) + "\n")

    def event(self, name, text, **fields):
        self.emit(name, {"text": text, **fields})

    def error(self, text):
        self.emit("error", {"text": text})

    def ask(self, question, wanted):
        return False  # programs read this

    def status(self, picture):
        if self.due(picture):
            self.emit("status", picture)


# name, whether numbers stand in it, the cell of a node. Memory is PSS, as on the page: pages that
# processes share count as their part.
COLUMNS = (
    ("node", True, lambda node: f"{node['slot']}"),
    ("id", False, lambda node: shortened(number(node["id"]), 10)),
    ("address", False, lambda node: node["address"]),
    ("state", False, lambda node: node["state"]),
    ("keys", True, lambda node: number(node["keys"])),
    ("CPU %", True, lambda node: f"{node['cpu_percent']:.1f}"),
    ("PSS", True, lambda node: human_bytes(node["memory_pss_bytes"])),
    ("uptime", True, lambda node: human_time(node["uptime_s"])),
)
# What a narrow terminal does without, the first first.
DISPENSABLE = ("uptime", "CPU %", "id", "PSS", "keys")
COLOURS = {"member": "32", "healthy": "32", "down": "31", "left": "33", "degraded": "31"}


def shortened(text, most):
    return text if len(text) <= most else text[:most - 1] + "…"


def table(nodes, width):
    """(head, rows) of plain cells that fit the width: first the gaps shrink, then columns go."""
    columns = list(COLUMNS)
    cells = {name: [cell(node) for node in nodes] for name, _, cell in COLUMNS}
    widths = {name: max([len(name), *map(len, cells[name])]) for name in cells}
    dispensable = list(DISPENSABLE)

    def needed(gap):
        return sum(widths[column[0]] for column in columns) + gap * (len(columns) - 1)

    while needed(1) > width and dispensable:
        gone = dispensable.pop(0)
        columns = [column for column in columns if column[0] != gone]
    gap = " " * (2 if needed(2) <= width else 1)

    def line(texts):
        return gap.join(f"{text:{'>' if right else '<'}{widths[name]}}"
                        for (name, right, _), text in zip(columns, texts))
    return line([column[0] for column in columns]), \
        [line([cells[column[0]][row] for column in columns]) for row in range(len(nodes))]


def wrapped(text, width):
    return textwrap.wrap(text, max(width, 20), subsequent_indent="  ") or [""]


class TableReporter(PlainReporter):
    """Plain lines until the first status; then a table on the terminal's alternate screen, which
    close() gives back."""

    def __init__(self):
        super().__init__()
        self.drawn = False
        self.recent = []
        self.plain = bool(os.environ.get("NO_COLOR"))
        self.terminal = Terminal()

    def event(self, name, text, **fields):
        if self.drawn:
            self.recent = (self.recent + [time.strftime("%H:%M:%S ") + text])[-RECENT_LINES:]
        else:
            super().event(name, text, **fields)

    def error(self, text):
        self.close()
        super().error(text)

    def coloured(self, line, word):
        code = COLOURS.get(word, "36")
        return line if self.plain else line.replace(word, f"\x1b[{code}m{word}\x1b[0m", 1)

    def head(self, picture, width):
        used, total = picture["memory_used_bytes"], picture["memory_total_bytes"]
        ring = wrapped(f"Ring {picture['ring_state']}  {picture['ring_reason']}", width)
        ring[0] = self.coloured(ring[0], picture["ring_state"])
        # The reason says it already, but while the ring heals: then it is what is mended.
        survives = picture["survives_failures"] if picture["ring_state"] == "healing" else None
        elsewhere = picture["members_elsewhere"]
        facts = [f"{picture['active']} active nodes"]
        facts += [f"{elsewhere} of them elsewhere"] if elsewhere else []
        facts += [f"{number(picture['keys'])} keys"]
        facts += [f"survives {survives} more failure{'' if survives == 1 else 's'}"] \
            if survives is not None else []
        facts += [f"system memory {human_bytes(used)} of {human_bytes(total)}"]
        told = filter(None, [picture["warning"], *troubles(picture)])
        return [*ring, *wrapped(", ".join(facts), width),
                *wrapped(f"{picture['ring_dashboard']} (node i: the port + i)", width),
                *(line for text in told for line in wrapped(text, width)), ""]

    def lines(self, picture, height, width):
        head = self.head(picture, width)
        titles, rows = table(picture["nodes"], width)
        hint = "Ctrl-C stops the nodes (data stays); again: at once"
        # The last event is always there as a whole; older ones and nodes share what is left.
        recent = [wrapped(text, width) for text in self.recent]
        room = height - len(head) - 3 - (len(recent[-1]) if recent else 0)
        shown = self.chosen_rows(picture["nodes"], rows, max(1, room))
        events = recent[-1] if recent else []
        for lines in reversed(recent[:-1]):
            if len(shown) + len(events) + len(lines) > height - len(head) - 3:
                break
            events = lines + events
        return [*head, titles, *shown, "", *events, hint[:width]]

    def chosen_rows(self, nodes, rows, room):
        """What needs eyes comes first when not every row fits."""
        order = range(len(rows))
        more = []
        if len(rows) > room:
            order = sorted(order, key=lambda row: nodes[row]["state"] == "member")[:room - 1]
            more = [f"... {len(rows) - len(order)} more nodes"]
        return [self.coloured(rows[row], nodes[row]["state"]) for row in order] + more

    def status(self, picture):
        if not self.drawn:
            self.drawn = True
            self.terminal.quiet()
            put(sys.stdout, "\x1b[?1049h\x1b[?25l")
        size = shutil.get_terminal_size()
        lines = self.lines(picture, size.lines, size.columns)[:size.lines]
        # Wrapping off while drawing: what is still too long is cut instead of scrolling.
        put(sys.stdout, "\x1b[?7l\x1b[H" + "\x1b[K\r\n".join(lines) + "\x1b[K\x1b[J\x1b[?7h")

    def close(self):
        if self.drawn:
            self.drawn = False
            put(sys.stdout, "\x1b[?25h\x1b[?1049l" + "".join(line + "\n" for line in self.recent))
            self.terminal.restore()


def choose(as_json):
    if as_json:
        return JsonReporter()
    return TableReporter() if sys.stdout.isatty() else PlainReporter()
