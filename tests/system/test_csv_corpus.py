# SPDX-License-Identifier: MIT
"""The CSV reader against Python's: cases as other readers' tests have them, files that the
distributions ship, and random files, well-formed and broken. A failure prints the seed;
CHORD_TEST_SEED=n replays it.
"""

import csv
import io
import os
import random
import subprocess
import time
from pathlib import Path

import pytest

from ring import BUILD

DUMP = BUILD / "tests" / "csv_dump"
SEED = int(os.environ.get("CHORD_TEST_SEED", time.time_ns() % 2**32))
csv.field_size_limit(1 << 24)

# (text, rows): what csv-spectrum and Papa Parse try, in our own words.
CASES = [
    ("a,b\n1,2\n", [["a", "b"], ["1", "2"]]),
    ("a,b\r\n1,2", [["a", "b"], ["1", "2"]]),
    ("a,b\r1,2\r", [["a", "b"], ["1", "2"]]),
    ("first,last,address,city\nJohn,Doe,120 any st.,\"Anytown, WW\"\n",
     [["first", "last", "address", "city"], ["John", "Doe", "120 any st.", "Anytown, WW"]]),
    ('a,b,c\n1,"",""\n2,3,4\n', [["a", "b", "c"], ["1", "", ""], ["2", "3", "4"]]),
    ('a,b,c\r\n1,"",""\r\n2,3,4\r\n', [["a", "b", "c"], ["1", "", ""], ["2", "3", "4"]]),
    ('a,b\n1,"ha ""ha"" ha"\n3,4\n', [["a", "b"], ["1", 'ha "ha" ha'], ["3", "4"]]),
    ('key,val\n1,"{""type"": ""Point"", ""coordinates"": [102.0, 0.5]}"\n',
     [["key", "val"], ["1", '{"type": "Point", "coordinates": [102.0, 0.5]}']]),
    ('a,b,c\n1,2,3\n"Once upon \na time",5,6\n7,8,9\n',
     [["a", "b", "c"], ["1", "2", "3"], ["Once upon \na time", "5", "6"], ["7", "8", "9"]]),
    ('a,b\n1,"ha \n""ha"" \nha"\n3,4\n', [["a", "b"], ["1", 'ha \n"ha" \nha'], ["3", "4"]]),
    ("a,b,c\n1,2,3\n4,5,ʤ\n", [["a", "b", "c"], ["1", "2", "3"], ["4", "5", "ʤ"]]),
    ("a, b ,c\n", [["a", " b ", "c"]]),
    (' "a",b\n', [[' "a"', "b"]]),
    ("a\tb\nc\td,e\n", [["a", "b"], ["c", "d,e"]]),
    ("a;b\nc;d,e\n", [["a", "b"], ["c", "d,e"]]),
    ("sep=;\na;b\n", [["a", "b"]]),
    (",\n,\n", [["", ""], ["", ""]]),
    ("a,b\n\n\r\nc,d\n", [["a", "b"], ["c", "d"]]),
    ('"a\r\nb",c\r\n', [["a\r\nb", "c"]]),
    ('a,5" pipe\nb,6\n', [["a", '5" pipe'], ["b", "6"]]),
    ('a,""""\n', [["a", '"']]),
    ('"a""b","c"\n', [['a"b', "c"]]),
    ("a,b,c,\nd,e,f,\n", [["a", "b", "c", ""], ["d", "e", "f", ""]]),
    # Broken: None is a bad row, and the next line is looked at.
    ('a,"b"c\nd,e\n', [None, ["d", "e"]]),
    ('a,"b\nc,d\ne,f\n', [None, ["c", "d"], ["e", "f"]]),
    ('a,b\nc,"d\n"e",f\ng,h\n', [["a", "b"], None, ["e", "f"], ["g", "h"]]),
    ('a,b\n"c" ,d\ne,f\n', [["a", "b"], None, ["e", "f"]]),
    ('a,b\nc,"d\n', [["a", "b"], None]),
    ("a,b\nc,d\re\nf,g\n", [["a", "b"], None, ["f", "g"]]),
]


def dump(data, *options):
    """[(line, row or None)], how it ended."""
    done = subprocess.run([DUMP, *options], input=data, capture_output=True, check=True)
    lines = done.stdout.decode().split("\n")
    rows = []
    for line in lines[:-2]:
        number, _, rest = line.partition(" ")
        bad = rest.startswith("! ")
        rows.append((int(number), None if bad else [bytes.fromhex(cell) for cell in rest.split(" ")
                                                    if cell != "completed"]))
    return rows, lines[-2].partition(" ")[2]


def python_rows(text, delimiter=","):
    """The same by Python's reader and the rule: a row that is bad costs the line it begins on."""
    lines = text.split("\n")
    lines = [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    at, rows = 0, []
    while at < len(lines):
        row, used = None, 1
        for used in range(1, len(lines) - at + 1):
            try:
                read = list(csv.reader(lines[at:at + used], delimiter=delimiter, strict=True))
            except csv.Error as error:
                if "unexpected end of data" in str(error):
                    continue
                break
            row = read[0]
            break
        if row != []:
            rows.append((at + 1, row and [cell.encode() for cell in row]))
        at += used if row is not None else 1
    return rows


@pytest.mark.parametrize("text, rows", CASES)
def test_cases(text, rows):
    got, _ = dump(text.encode())
    assert [row and [cell.decode() for cell in row] for _, row in got] == rows


def random_text(source):
    pieces = ["a", "bc", '"', '"', ",", ",", "\n", "\n", "\r\n", '""', '","', "x y", "ä", '",\n', "7"]
    return "k,v\n" + "".join(source.choice(pieces) for _ in range(source.randint(0, 60)))


def test_broken_files_against_python():
    source = random.Random(SEED)
    for round in range(150):
        text = "k,v\n" + "".join(random_text(source)[4:] for _ in range(source.randint(1, 4)))
        got, _ = dump(text.encode(), "delimiter=comma")
        assert got == python_rows(text), f"CHORD_TEST_SEED={SEED}, round {round}: {text!r}"


def test_well_formed_files_against_python():
    source = random.Random(SEED)
    alphabet = ["a", '"', ",", ";", "\n", "\r\n", "\t", " ", "ü", "€", "'"]
    for round in range(60):
        delimiter = source.choice([",", ";", "\t"])
        rows = [["".join(source.choice(alphabet) for _ in range(source.randint(0, 6)))
                 for _ in range(source.randint(2, 5))] for _ in range(source.randint(1, 30))]
        out = io.StringIO()
        csv.writer(out, delimiter=delimiter, quoting=source.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
                   lineterminator=source.choice(["\n", "\r\n"])).writerows(rows)
        got, _ = dump(out.getvalue().encode(), f"delimiter={delimiter}")
        assert [[cell.decode() for cell in row] for _, row in got] == rows, \
            f"CHORD_TEST_SEED={SEED}, round {round}: {out.getvalue()!r}"


SHIPPED = [Path(path) for path in ("/usr/share/distro-info/debian.csv", "/usr/share/distro-info/ubuntu.csv",
                                   "/usr/share/ieee-data/oui.csv", "/usr/share/ieee-data/iab.csv",
                                   "/usr/share/ieee-data/mam.csv", "/usr/share/ieee-data/oui36.csv")]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_files_of_distributions(path):
    """Every row is there, those whose last cells are absent as well."""
    data = path.read_bytes()
    expected = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    got, _ = dump(data)
    assert [[cell.decode() for cell in row] for _, row in got] == [row for row in expected if row]
    records, ended = dump(data, "table", "key=series" if "distro" in str(path) else "key=Assignment")
    assert ended == "" and all(row is not None for _, row in records)
    assert len(records) == len([row for row in expected if row]) - 1


def test_stray_quote_in_each_line_is_linear():
    """Figures at 100 MB: gateway/README.md."""
    data = b'a","x\n' * 150_000
    began = time.monotonic()
    rows, _ = dump(data)
    assert len(rows) == 150_000 and time.monotonic() - began < 60
