# SPDX-License-Identifier: MIT
"""Plots as SVG, written by hand: lines over two logarithmic axes, and bars. Knows no figures of ours."""

import math
from html import escape

COLOURS = ("#1f6fb4", "#d1620a", "#2f8f3f", "#b3262c", "#7d5bb0", "#7a5548", "#c0569f", "#5f6a72")
WIDTH, BARS_WIDTH, LINE = 680, 860, 18
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 50


def text(x, y, words, anchor="start", size=12, more=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" {more}>'
            f"{escape(words)}</text>")


def line(x1, y1, x2, y2, colour, width=1.0):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"/>')


def picture(width, height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" font-family="sans-serif">\n'
            f'<rect width="{width}" height="{height}" fill="white"/>\n' + "\n".join(parts)
            + "\n</svg>\n")


def short(value):
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


class Axis:
    """A logarithmic one, from a power of ten to another, on `begin`..`end` of the picture."""

    def __init__(self, values, begin, end):
        self.low = math.floor(math.log10(min(values)) + 1e-9)
        self.high = max(math.ceil(math.log10(max(values)) - 1e-9), self.low + 1)
        self.begin, self.end = begin, end

    def place(self, value):
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.begin + share * (self.end - self.begin)

    def ticks(self):
        return [10.0 ** power for power in range(self.low, self.high + 1)]


def lines(title, x_title, y_title, curves):
    """curves: {name: [(x, y, low, high)]}; all above 0. The spread is a thin vertical bar."""
    legend = LINE * ((len(curves) + 1) // 2)
    height = 400 + legend
    points = [point for curve in curves.values() for point in curve]
    xs = sorted({point[0] for point in points})
    x = Axis(xs, LEFT, WIDTH - RIGHT)
    y = Axis([value for point in points for value in point[1:]], height - BOTTOM - legend, TOP)
    parts = [text(WIDTH / 2, 20, title, "middle", 14)]
    for tick in y.ticks():
        parts += [line(LEFT, y.place(tick), WIDTH - RIGHT, y.place(tick), "#dddddd"),
                  text(LEFT - 6, y.place(tick) + 4, short(tick), "end")]
    for value in xs:
        parts += [line(x.place(value), y.begin, x.place(value), TOP, "#eeeeee"),
                  text(x.place(value), y.begin + 16, short(value), "middle")]
    parts += [text((LEFT + WIDTH - RIGHT) / 2, y.begin + 34, x_title, "middle"),
              text(16, (TOP + y.begin) / 2, y_title, "middle", 12,
                   f'transform="rotate(-90 16 {(TOP + y.begin) / 2:.1f})"')]
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        way = " ".join(f"{x.place(at):.1f},{y.place(value):.1f}" for at, value, *_ in curve)
        parts.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for at, value, low, high in curve:
            parts += [line(x.place(at), y.place(low), x.place(at), y.place(high), colour),
                      f'<circle cx="{x.place(at):.1f}" cy="{y.place(value):.1f}" r="3" '
                      f'fill="{colour}"/>']
        key_x, key_y = LEFT + number % 2 * 300, y.begin + 54 + number // 2 * LINE
        parts += [line(key_x, key_y - 4, key_x + 20, key_y - 4, colour, 3),
                  text(key_x + 26, key_y, name)]
    return picture(WIDTH, height, parts)


def bars(title, rows):
    """rows: (name, value, low, high), on one logarithmic axis; a dark line is 1."""
    left, height = 440, TOP + LINE * len(rows) + BOTTOM
    rows = [(name, *(max(value, 1e-4) for value in values)) for name, *values in rows]
    x = Axis([1.0, *(value for row in rows for value in row[1:])], left, BARS_WIDTH - RIGHT - 40)
    parts = [text(BARS_WIDTH / 2, 20, title, "middle", 14)]
    for tick in x.ticks():
        parts += [line(x.place(tick), TOP, x.place(tick), height - BOTTOM,
                       "#333333" if tick == 1 else "#dddddd"),
                  text(x.place(tick), height - BOTTOM + 16, short(tick), "middle")]
    for number, (name, value, low, high) in enumerate(rows):
        y = TOP + LINE * number
        parts += [text(left - 6, y + 13, name, "end", 11),
                  f'<rect x="{left}" y="{y + 4}" width="{max(x.place(value) - left, 1):.1f}" '
                  f'height="{LINE - 8}" fill="{COLOURS[0]}"/>',
                  line(x.place(low), y + 9, x.place(high), y + 9, COLOURS[1], 2),
                  text(BARS_WIDTH - RIGHT, y + 13, f"{value:.3f}", "end", 11)]
    return picture(BARS_WIDTH, height, parts)
