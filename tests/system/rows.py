# SPDX-License-Identifier: MIT
"""Real rows for the data tests: the Unicode character database that Python carries.

One row for each named character. Keys hold the character itself, values hold commas, quotes, line
breaks and every script there is: what a CSV reader and a store must give back byte for byte.
"""

import csv
import sys
import unicodedata

ROWS_MAX = 21000


def unicode_rows(limit=ROWS_MAX):
    """{key: value} of the first `limit` characters whose names are not made by rule."""
    rows = {}
    for point in range(0xA0, sys.maxunicode):
        character = chr(point)
        name = unicodedata.name(character, "")
        if not name or name.startswith(("CJK UNIFIED", "HANGUL SYLLABLE", "CJK COMPAT")):
            continue
        rows[f"U+{point:04X} {character}"] = (
            f'{character}, "{name}"\r\n{unicodedata.category(character)}, '
            f"{unicodedata.bidirectional(character)}; {unicodedata.decomposition(character)}")
        if len(rows) == limit:
            break
    return rows


def write_csv(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["character", "description"])
        writer.writerows(rows.items())
    return path
