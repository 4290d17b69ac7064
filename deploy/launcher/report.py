"""How init.py tells people, or programs, what happens: a live table on a terminal, plain lines
without one, one JSON object a line with --json."""

import json
import os
import shutil
import sys
import time

STATUS_PERIOD_S = 10
RECENT_LINES = 8


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
    return (picture["ring_state"], picture["active"],
            tuple((node["slot"], node["state"]) for node in picture["nodes"]))


def summary(picture):
    used, total = picture["memory_used_bytes"], picture["memory_total_bytes"]
    down = [f"node {node['slot']} {node['state']}" for node in picture["nodes"]
            if node["state"] != "member"]
    cpu = sum(node["cpu_percent"] for node in picture["nodes"])
    memory = sum(node["memory_bytes"] or 0 for node in picture["nodes"])
    parts = [f"ring {picture['ring_state']}", f"{picture['active']} active nodes"]
    if picture["keys"] is not None:
        parts.append(f"{picture['keys']} keys")
    parts += [f"nodes use {cpu:.1f} % CPU and {human_bytes(memory)}",
              f"system memory {human_bytes(used)} of {human_bytes(total)}"]
    return ", ".join(parts + down)


class PlainReporter:
    """Lines, and a status line when something changed or STATUS_PERIOD_S passed."""

    def __init__(self):
        self.last_status, self.last_status_at = None, 0.0

    def say(self, text):
        self.event("message", text)

    def event(self, name, text, **fields):
        del name, fields
        print(text, flush=True)

    def error(self, text):
        print(f"init.py: {text}", file=sys.stderr, flush=True)

    def due(self, picture):
        now, status = time.monotonic(), fingerprint(picture)
        if status == self.last_status and now - self.last_status_at < STATUS_PERIOD_S:
            return False
        self.last_status, self.last_status_at = status, now
        return True

    def status(self, picture):
        if self.due(picture):
            print(time.strftime("%H:%M:%S ") + summary(picture), flush=True)

    def close(self):
        """Back to plain lines."""


class JsonReporter(PlainReporter):
    """One JSON object a line: {"event": name, "time_ms": ..., "text": ..., ...}."""

    def emit(self, name, fields):
        line = {"event": name, "time_ms": int(time.time() * 1000), **fields}
        print(json.dumps(line), flush=True)

    def event(self, name, text, **fields):
        self.emit(name, {"text": text, **fields})

    def error(self, text):
        self.emit("error", {"text": text})

    def status(self, picture):
        if self.due(picture):
            self.emit("status", picture)


COLUMNS = (("node", 4), ("id", 10), ("address", 21), ("state", 9), ("keys", 8), ("CPU %", 6),
           ("memory", 10), ("uptime", 9))
COLOURS = {"member": "32", "healthy": "32", "down": "31", "left": "33", "degraded": "31"}


class TableReporter(PlainReporter):
    """Plain lines until the first status; then a table on the terminal's alternate screen, which
    close() gives back."""

    def __init__(self):
        super().__init__()
        self.drawn = False
        self.recent = []
        self.plain = bool(os.environ.get("NO_COLOR"))

    def event(self, name, text, **fields):
        if self.drawn:
            self.recent = (self.recent + [time.strftime("%H:%M:%S ") + text])[-RECENT_LINES:]
        else:
            super().event(name, text, **fields)

    def error(self, text):
        self.close()
        super().error(text)

    def colour(self, word, width=0):
        code = COLOURS.get(word, "36")
        padded = f"{word:<{width}}"
        return padded if self.plain else f"\x1b[{code}m{padded}\x1b[0m"

    def row(self, node):
        ident = number(node["id"])
        cells = [f"{node['slot']:>4}", f"{ident if len(ident) <= 10 else ident[:9] + '…':<10}",
                 f"{node['address']:<21}", self.colour(node["state"], 9),
                 f"{number(node['keys']):>8}", f"{node['cpu_percent']:>6.1f}",
                 f"{human_bytes(node['memory_bytes']):>10}", f"{human_time(node['uptime_s']):>9}"]
        return "  ".join(cells)

    def lines(self, picture, height):
        used, total = picture["memory_used_bytes"], picture["memory_total_bytes"]
        head = [f"Ring {self.colour(picture['ring_state'])}  {picture['ring_reason']}",
                f"{picture['active']} active nodes, {picture['members_elsewhere']} of them "
                f"elsewhere   {number(picture['keys'])} keys   "
                f"system memory {human_bytes(used)} of {human_bytes(total)}",
                f"{picture['ring_dashboard']}   (node i: the port + i)   {picture['warning']}", "",
                "  ".join(f"{name:{'<' if name in ('id', 'address', 'state') else '>'}{width}}"
                          for name, width in COLUMNS)]
        tail = ["", *self.recent, "Ctrl-C stops the nodes (data stays); again: at once"]
        room = max(1, height - len(head) - len(tail) - 1)
        rows = [self.row(node) for node in picture["nodes"]]
        if len(rows) > room:
            # What needs eyes comes first when not every row fits.
            order = sorted(picture["nodes"], key=lambda node: node["state"] == "member")
            rows = [self.row(node) for node in order[:room - 1]]
            rows.append(f"      ... {len(order) - room + 1} more nodes")
        return head + rows + tail

    def status(self, picture):
        if not self.drawn:
            self.drawn = True
            sys.stdout.write("\x1b[?1049h\x1b[?25l")
        size = shutil.get_terminal_size()
        lines = self.lines(picture, size.lines)[:size.lines]
        # Wrapping off while drawing: a narrow terminal cuts lines instead of scrolling.
        sys.stdout.write("\x1b[?7l\x1b[H" + "\x1b[K\r\n".join(lines) + "\x1b[K\x1b[J\x1b[?7h")
        sys.stdout.flush()

    def close(self):
        if self.drawn:
            self.drawn = False
            sys.stdout.write("\x1b[?25h\x1b[?1049l")
            sys.stdout.flush()
            for line in self.recent:
                print(line)


def choose(as_json):
    if as_json:
        return JsonReporter()
    return TableReporter() if sys.stdout.isatty() else PlainReporter()
