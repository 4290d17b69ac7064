# SPDX-License-Identifier: MIT
"""chordctl against live nodes: what it prints, what it stores, and its exit codes."""

import base64
import csv
import hashlib
import json
import os
import pty
import re
import subprocess
import threading
import time

import pytest

from hostile_proxy import HostileProxy
from ring import BUILD, SANITIZER_WORDS, until
from rows import unicode_rows, write_csv

CHORDCTL = BUILD / "node" / "chordctl"
OK, NOT_FOUND, USAGE, NO_NODE, REFUSED, UNKNOWN = range(6)
IMPORT_ROWS = 20000
DEADLINE_S = 120


class Chordctl:
    def __init__(self, *addresses):
        self.environment = {name: value for name, value in os.environ.items()
                            if name not in ("CHORD_NODE", "HOST", "PORT", "RPC_PORT",
                                            "RING_KEY_FILE")}
        if addresses:
            self.environment["CHORD_NODE"] = ",".join(addresses)

    def run(self, *words, stdin=b"", exits=OK, sentences=1):
        """(stdout, stderr) as bytes; fails when the exit code is another one."""
        done = subprocess.run([CHORDCTL, *words], input=stdin, capture_output=True,
                              env=self.environment, timeout=DEADLINE_S)
        errors = done.stderr.decode(errors="replace")
        assert not any(word in errors for word in SANITIZER_WORDS), errors
        assert done.returncode == exits, (words, done.returncode, done.stdout[-500:], errors)
        if exits in (USAGE, NO_NODE, REFUSED, UNKNOWN):
            assert errors.count("\n") == sentences, errors
            assert errors.splitlines()[-1].startswith("chordctl: "), errors
        return done.stdout, done.stderr

    def text(self, *words, **options):
        return self.run(*words, **options)[0].decode()

    def json(self, *words, **options):
        return json.loads(self.run(*words, "-o", "json", **options)[0])

    def lines(self, *words, **options):
        return [json.loads(line)
                for line in self.run(*words, "-o", "json", **options)[0].splitlines()]


@pytest.fixture
def ring(new_ring):
    return new_ring().start(5)


@pytest.fixture
def ctl(ring):
    return Chordctl(ring.address(1), ring.address(2))


def wait_ideal(ctl, members):
    def look():
        answer = ctl.json("ring")
        return answer["ideal"] and answer["members"] == members and answer
    return until(look, 30, lambda: ctl.text("ring"))


# Without a ring


def test_usage_is_refused_in_one_sentence():
    ctl = Chordctl()
    for words in (["bogus"], [], ["get"], ["get", "a", "b"], ["get", "-x", "a"], ["ring", "--node"],
                  ["ring", "--node", "nowhere"], ["ring", "--node", "h:0"],
                  ["ring", "--timeout", "0"], ["ring", "--timeout", "1s"], ["ring", "-o", "xml"],
                  ["ring", "--check=1"], ["get", ""], ["get", "k" * 1025],
                  ["get", "--base64", "*"], ["ring", "--ring-key-file", "/nonexistent"],
                  ["import", "/nonexistent"], ["import", "--on-error", "ask", "/dev/null"],
                  ["keys", "--limit", "0"], ["logs", "--level", "loud"], ["leave", "no:address"]):
        ctl.run("--node", "127.0.0.1:1", *words, exits=USAGE)


def test_nobody_there():
    ctl = Chordctl("127.0.0.1:1")
    for words in (["ring"], ["node"], ["keys"], ["logs"], ["get", "a"], ["put", "a", "b"],
                  ["del", "a"], ["lookup", "a"], ["import", "-"], ["ping"], ["info"],
                  ["leave", "127.0.0.1:1"], ["join", "127.0.0.1:1"], ["kill", "127.0.0.1:1"]):
        begin = time.monotonic()
        _, errors = ctl.run(*words, exits=NO_NODE)
        assert b"127.0.0.1:1" in errors
        assert time.monotonic() - begin < 10


def test_help_names_every_command_and_exit_code():
    text = Chordctl().text("--help")
    for name in ("ring", "node", "keys", "logs", "get", "put", "del", "lookup", "import", "export", "leave",
                 "join", "kill", "recover", "doctor", "ping", "info"):
        assert f"\n  {name} " in text
        assert f"chordctl {name}" in Chordctl().text(name, "--help")
    for code in range(6):
        assert f"{code} " in text[text.index("Exit codes:"):]


def test_default_node_comes_from_host_and_rpc_port():
    ctl = Chordctl()
    ctl.environment.update(HOST="127.0.0.1", RPC_PORT="1")
    assert b"127.0.0.1:2:" in ctl.run("ring", exits=NO_NODE)[1]
    ctl.environment["RPC_PORT"] = "x"
    assert b"RPC_PORT=x" in ctl.run("ring", exits=USAGE)[1]


def test_conditions(ring, ctl):
    wait_ideal(ctl, 5)
    first = ctl.json("put", "--if-absent", "apple", "red")["version"]
    ctl.run("put", "--if-absent", "apple", "green", exits=REFUSED)
    second = ctl.json("put", "--if-match", first, "apple", "yellow")["version"]
    assert second != first
    ctl.run("put", "--if-match", first, "apple", "blue", exits=REFUSED)
    ctl.run("del", "--if-match", first, "apple", exits=REFUSED)
    assert ctl.run("get", "apple")[0] == b"yellow"
    ctl.run("del", "--if-match", second, "apple")
    ctl.run("get", "apple", exits=NOT_FOUND)
    ctl.run("put", "--if-match", "nonsense", "apple", "blue", exits=USAGE)
    ctl.run("put", "--if-match", first, "--if-absent", "apple", "blue", exits=USAGE)


def test_recover_what_is_left_of_a_majority(new_ring):
    ring = new_ring(NUM_OF_NODES=3).start(3)
    ring.wait_healthy(3)
    ctl = Chordctl(ring.address(1))
    for number in range(20):
        ctl.run("put", f"key {number}", f"value {number}")
    ranges = ctl.json("node", ring.address(1))["ranges"]
    assert all(not one["recovered"] for one in ranges)
    ctl.run("recover", ring.address(1), "--range", ranges[0]["hi"], "--confirm", ranges[0]["hi"],
            exits=REFUSED)  # nothing is lost
    ring.kill(2, 3)
    until(lambda: ctl.json("ring", "--timeout", "1000")["members"] == 1, 30, lambda: "one member")
    ctl.run("get", "key 1", "--timeout", "1500", exits=REFUSED)
    assert ctl.run("get", "--stale", "key 1")[0] == b"value 1"
    for one in ctl.json("node", ring.address(1))["ranges"]:
        ctl.run("recover", ring.address(1), "--range", one["hi"], "--confirm", "ff", exits=REFUSED)
        ctl.run("recover", ring.address(1), "--range", one["hi"], "--confirm", one["hi"])
    for number in range(20):
        assert ctl.run("get", f"key {number}")[0] == f"value {number}".encode()
    assert all(one["recovered"] for one in ctl.json("node", ring.address(1))["ranges"])
    until(lambda: ring.node(1).get("recovered", 0) > 0, 10, lambda: json.dumps(ring.ring()))
    assert "WARN  recovered" in ctl.text("doctor")


# The ring


def test_ring_node_and_the_other_views(ring, ctl):
    answer = wait_ideal(ctl, 5)
    assert (answer["m"], answer["n"], answer["replicas"]) == (6, 3, 3)
    assert [node["address"] for node in answer["nodes"]] == \
        [node["address"] for node in sorted(ring.members(), key=lambda node: node["id"])]
    text = ctl.text("ring", "--check")
    assert "\nring ideal: 5 members" in text
    # One verdict, whoever is asked.
    until(lambda: ring.ring().get("state_reason") == ctl.json("ring")["verdict"], 20,
          lambda: f"{ring.ring().get('state_reason')} is {ctl.json('ring')['verdict']}")
    for node in answer["nodes"]:
        assert node["address"] in text
        full = ctl.json("node", node["address"])
        assert full["invariant"] == ""
        assert full["id"] == node["id"] and full["state"] == "member"
        assert [peer["id"] for peer in full["successors"]] == node["successors"]
        assert full["fingers"] and full["ranges"]
        assert ctl.json("node", node["id"])["address"] == node["address"]
        assert node["id"] in ctl.text("node", node["id"])
    assert ctl.json("ping")["state"] == "member"
    assert "answers: id" in ctl.text("ping", ring.address(3))
    assert ctl.json("info")["key_bytes_max"] == 1024
    assert "KvService/Batch" in ctl.text("info")
    lines = ctl.lines("logs", ring.address(1), "--limit", "5")
    assert len(lines) == 5 and lines[0]["sequence"] < lines[4]["sequence"]
    assert ctl.run("node", "3f" if "3f" not in text else "00", exits=NOT_FOUND)
    # A name for the same node is no second node.
    assert ctl.json("--node", ring.address(1).replace("127.0.0.1", "localhost"),
                    "ring")["members"] == 5


def test_put_get_delete_any_bytes(ctl):
    assert ctl.text("put", "greeting", "hello") == "stored greeting\n"
    assert ctl.text("put", "greeting", "hello again") == "replaced greeting\n"
    assert ctl.text("get", "greeting") == "hello again"
    assert ctl.text("get", "greeting", "--stale") in ("", "hello", "hello again")
    assert ctl.json("get", "greeting")["value"] == "hello again"
    ctl.run("put", "empty", "")
    assert ctl.run("get", "empty")[0] == b""
    key, value = b"k\xff\x1b[31m\n", os.urandom(1024 * 1024)
    ctl.run("put", key, stdin=value)
    assert ctl.run("get", key)[0] == value
    assert "value_base64" in ctl.json("get", key) and "key_base64" in ctl.json("get", key)
    ctl.run("put", "--", "-dash", "-")
    assert ctl.run("get", "--", "-dash")[0] == b""
    ctl.run("put", "large", "-", stdin=value + b"1", exits=USAGE)
    ctl.run("get", "no such key", exits=NOT_FOUND)
    assert ctl.json("get", "no such key", exits=NOT_FOUND)["found"] is False
    assert ctl.text("del", "greeting") == "deleted greeting\n"
    ctl.run("del", "greeting", exits=NOT_FOUND)
    ctl.run("get", "greeting", exits=NOT_FOUND)


def test_output_cannot_move_the_terminal(ctl):
    ctl.run("put", b"evil\x1b]0;title\x07\xc2\x9b\xe2\x80\xae\xff", b"\x1b[2J")
    addresses = [node["address"] for node in ctl.json("ring")["nodes"]]
    shown = b"".join(ctl.run("keys", address, "--values")[0] for address in addresses)
    assert rb"evil\x1b]0;title\x07\u{9b}\u{202e}\xff" in shown
    _, errors = ctl.run("get", b"\x1b[31mno", exits=NOT_FOUND)
    for output in (shown, errors):
        assert not any(byte < 0x20 and byte != 0x0a for byte in output)
    parent, child = pty.openpty()
    subprocess.run([CHORDCTL, "get", b"evil\x1b]0;title\x07\xc2\x9b\xe2\x80\xae\xff"],
                   stdout=child, env=ctl.environment, timeout=DEADLINE_S, check=True)
    assert os.read(parent, 1000) == b"\\x1b[2J\r\n"
    os.close(parent)
    os.close(child)


def test_lookup_shows_the_path_to_the_owner(ctl):
    nodes = wait_ideal(ctl, 5)["nodes"]
    for key in ("a", "b", "c", "d"):
        answer = ctl.json("lookup", key)
        owner = next((node for node in nodes if node["id"] >= answer["key_id"]), nodes[0])
        assert answer["owner"]["id"] == owner["id"]
        assert answer["hops"][0]["node"]["address"] in ctl.environment["CHORD_NODE"]
        assert all(hop["microseconds"] >= 0 for hop in answer["hops"])
    assert "its owner is node" in ctl.text("lookup", "a")


# Import


def test_import_and_every_row_back(ctl, tmp_path):
    rows = unicode_rows(IMPORT_ROWS)
    path = write_csv(tmp_path / "rows.csv", rows)
    summary = ctl.json("import", path)
    assert (summary["rows_read"], summary["rows_stored"], summary["rows_failed"]) == \
        (IMPORT_ROWS, IMPORT_ROWS, 0)
    assert summary["bytes_read"] == path.stat().st_size
    found = {}
    for node in wait_ideal(ctl, 5)["nodes"]:  # while a range moves, neither may list it as led
        for line in ctl.lines("keys", node["address"], "--led", "--values"):
            assert line["key"] not in found
            found[line["key"]] = line["value"]
    assert found == rows
    assert ctl.json("ring")["keys"] == IMPORT_ROWS
    assert len(ctl.lines("keys", "--limit", "1500", "--prefix", "U+0")) == 1500


BAD_CSV = (b'\xef\xbb\xbfid,name,key,other\n'       # 1
           b'1,a,k1,"x,y"\n'                        # 2
           b'2,b\n'                                 # 3: two fields
           b'3,"c\nopen,k2,z\n'                     # 4: never closed; 5: taken back, 3 fields
           b'4,d"d,k3,q\n'                          # 6: quote inside
           b'5,e,,q\n'                              # 7: no key
           b'\n'                                    # 8
           b'6,f\r,k4,q\n'                          # 9: lone CR
           b'7,g,k5,"q""q"\r\n'                     # 10
           b'8,h,k\xff,q\n'                         # 11: no UTF-8
           b'9,i,k6,"multi\r\nline"\n'              # 12, 13
           b'10, j ,k7,last\n'                      # 14
           b'11,k,k7,later')                        # 15: the later row wins


def test_import_names_bad_rows_and_stores_the_others(ctl, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_bytes(BAD_CSV)
    output, errors = ctl.run("import", path, "--key-column", "key", "--strict", "--charset",
                             "utf-8", exits=NOT_FOUND)
    assert output.startswith(b"partial: 12 rows read, 5 stored, 7 failed")
    lines = [int(line.split(":")[1]) for line in errors.decode().splitlines()]
    assert lines == [3, 4, 5, 6, 7, 9, 11]
    assert ctl.run("get", "k1")[0] == b'1,a,"x,y"'
    assert ctl.run("get", "k5")[0] == b'7,g,"q""q"'
    assert ctl.run("get", "k6")[0] == b'9,i,"multi\r\nline"'
    assert ctl.run("get", "k7")[0] == b"11,k,later"
    for key in ("k2", "k3", "k4"):
        ctl.run("get", key, exits=NOT_FOUND)


def test_import_stops_where_it_must(ctl, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_bytes(b"key,value\ngood,1\nbad\nnever,2\n")
    _, errors = ctl.run("import", path, "--on-error", "abort", exits=NOT_FOUND)
    assert b"stopped at line 3" in errors
    assert ctl.run("get", "good")[0] == b"1"
    ctl.run("get", "never", exits=NOT_FOUND)
    for content in (b"", b"\n\n", b"one column\nx\n", os.urandom(100000)):
        ctl.run("import", "-", stdin=content, exits=USAGE)
    ctl.run("import", path, "--key-column", "no such", exits=USAGE)
    output, errors = ctl.run("import", "-", stdin=b"k,v\nx\ny\n", exits=USAGE,
                             sentences=3)
    assert output.startswith(b"failed: 2 rows read, 0 stored, 2 failed") and b"none of" in errors
    for option, value in (("--delimiter", "ab"), ("--charset", "ebcdic"), ("--format", "xls")):
        _, errors = ctl.run("import", path, option, value, exits=USAGE)
        assert option.encode() in errors and value.encode() in errors


def test_import_of_other_dialects(ctl):
    for content, options in ((b"sep=;\nk;v\nd1;0,5\n", ()), (b"k\tv\nd1\t1,5\n", ()),
                             ("k;v\r\nd1;2,5\r\n".encode("utf-16"), ()),
                             (b"d1|3,5\n", ("--delimiter", "pipe", "--no-header")),
                             ("k,v\nd1,4\" \u00e4\n".encode("cp1252"), ())):
        ctl.run("import", "-", *options, stdin=content)
        value = content.decode("utf-16" if b"\0" in content else "cp1252").strip()
        assert ctl.run("get", "d1")[0].decode() == re.split("d1[;,|\t]", value)[1]


def test_import_goes_on_after_the_bad(ctl, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_bytes(b"key,value\ngood,1\nbad\nnever,2\n")
    large = b"key,value\nlong," + b"x" * (1024 * 1024) + b'\nlonger,' + b"x" * (1024 * 1024 + 1) + \
        b'\nopen,"' + (b"\n" + b"x" * 1000) * 3000 + b'"\nlast,3\n'
    output, errors = ctl.run("import", "-", stdin=large, exits=NOT_FOUND)
    # The lines inside the value that is too long are rows like others, and bad ones.
    assert output.startswith(b"partial: 3004 rows read, 2 stored, 3002 failed"), (output, errors)
    assert len(errors.splitlines()) == 101 and b"2902 more" in errors
    assert ctl.run("get", "last")[0] == b"3"
    assert len(ctl.run("get", "long")[0]) == 1024 * 1024


def test_export_and_import_are_a_round_trip(ring, ctl, tmp_path):
    """Any bytes and expiry, over five nodes; a file that was cut is told."""
    expires = int(time.time() * 1000) + 3600_000
    head = "key,value,chord:base64,chord:expires_at_ms\r\n"
    rows = {f"trip-{number},{number}": f"value {number}" for number in range(3000)}
    lines = [f'"{key}",{value},,{expires + number if number % 3 == 0 else ""}'
             for number, (key, value) in enumerate(rows.items())]
    lines += ["AP8KDSIs,,key,", 'plain,AAE=,value,', "/w==,/g==,key value," + str(expires)]
    path, again = tmp_path / "in.csv", tmp_path / "out.csv"
    digest = hashlib.sha256()
    for line in lines:
        key, value, kinds, end = next(csv.reader([line]))
        cells = [base64.b64decode(cell) if name in kinds.split() else cell.encode()
                 for cell, name in ((key, "key"), (value, "value"))]
        for cell in (*cells, (end or "0").encode()):
            digest.update(b"%d:%b," % (len(cell), cell))
    end = f'chord:end,"{len(lines)} rows, sha256 {digest.hexdigest()}",end,\r\n'
    path.write_bytes((head + "\r\n".join(lines) + "\r\n" + end).encode())
    assert ctl.json("import", path)["state"] == "done"
    assert ctl.json("export", again)["form"] == "lossless"
    assert again.stat().st_mode & 0o077 == 0
    got = set(again.read_bytes().decode().split("\r\n"))
    assert got >= set(lines) and head.strip() in got
    summary = ctl.json("import", again)
    assert summary["state"] == "done" and summary["rows_stored"] >= len(lines)
    assert ctl.run("export", "-")[0] == again.read_bytes()
    # The gateway writes the same file and takes it back.
    address = "/api/v1/exports?format=lossless"
    assert ring.raw("GET", address) == (200, again.read_bytes())
    status, answer = ring.raw("POST", "/api/v1/imports", again.read_bytes(), "text/csv", DEADLINE_S)
    assert status == 202 and json.loads(answer)["state"] == "done", answer
    assert ring.raw("GET", address) == (200, again.read_bytes())
    cut = again.read_bytes()[:-len(end) + 30]
    output, errors = ctl.run("import", "-", stdin=cut, exits=NOT_FOUND)
    assert output.startswith(b"failed: ") and b"was cut" in errors
    _, errors = ctl.run("export", tmp_path / "no" / "such", exits=NOT_FOUND)
    assert b"cannot be written" in errors and not list(tmp_path.glob("*.part"))
    _, errors = ctl.run("export", again, "--format", "xls", exits=USAGE)
    for form in ("csv", "spreadsheet"):
        assert ctl.json("export", again, "--format", form)["rows"] == summary["rows_stored"]


def test_import_outlives_the_node_it_asked(ring, tmp_path):
    rows = unicode_rows(2000)
    path = write_csv(tmp_path / "rows.csv", rows)
    ctl = Chordctl(ring.address(1))
    with subprocess.Popen([CHORDCTL, "import", "-"], stdin=subprocess.PIPE, env=ctl.environment,
                          stdout=subprocess.PIPE) as process:
        # Two files' worth: more than one window, so that the node dies between or inside them.
        process.stdin.write(b"key,value\n" + b"".join(
            b"pad-%d,%s\n" % (number, b"x" * 1000) for number in range(5000)))
        process.stdin.flush()
        ring.kill(1)
        body = path.read_bytes()
        process.stdin.write(body[body.index(b"\n") + 1:])
        process.stdin.close()
        assert process.wait(DEADLINE_S) == OK
    ctl = Chordctl(ring.address(2))
    for key in list(rows)[::200]:
        assert ctl.run("get", key)[0] == rows[key].encode()


# Changing the ring


def test_leave_join_kill(ring, ctl):
    wait_ideal(ctl, 5)
    ctl.run("put", "kept", "here")
    assert ctl.json("leave", ring.address(4), "--wait", "--timeout", "60000")["result"] == "left"
    ctl.run("leave", ring.address(4), exits=REFUSED)
    wait_ideal(ctl, 4)
    ctl.run("join", ring.address(3), exits=REFUSED)
    assert "member" in ctl.text("join", ring.address(4), ring.address(1), "--wait",
                                "--timeout", "60000")
    node = next(node for node in wait_ideal(ctl, 5)["nodes"]
                if node["address"] == ring.address(5))
    ctl.run("kill", ring.address(5), exits=USAGE)
    ctl.run("kill", ring.address(5), "--confirm", "zz", exits=REFUSED)
    assert ctl.json("ring")["members"] == 5
    assert "killed" in ctl.text("kill", node["id"], "--confirm", node["id"])
    ring.supervisor.nodes[5].process.wait(30)
    wait_ideal(ctl, 4)
    assert ctl.text("get", "kept") == "here"


def test_kill_asks_on_a_terminal(ring, ctl):
    identity = ctl.json("node", ring.address(5))["id"]
    for answer, exits in (("no", REFUSED), (identity, OK)):
        parent, child = pty.openpty()
        process = subprocess.Popen([CHORDCTL, "kill", ring.address(5)], stdin=child,
                                   env=ctl.environment, stderr=subprocess.PIPE,
                                   stdout=subprocess.PIPE)
        os.write(parent, answer.encode() + b"\n")
        _, errors = process.communicate(timeout=DEADLINE_S)
        os.close(parent)
        os.close(child)
        assert process.returncode == exits, errors
        assert b"type its id" in errors
    ring.supervisor.nodes[5].process.wait(30)


def test_logs_follow(ring, ctl):
    wait_ideal(ctl, 5)
    successor = ctl.json("node", ring.address(1))["successors"][0]["address"]
    slot = next(slot for slot in range(1, 6) if ring.address(slot) == successor)
    with subprocess.Popen([CHORDCTL, "logs", ring.address(1), "-f", "-o", "json"],
                          env=ctl.environment, stdout=subprocess.PIPE) as process:
        deadline = threading.Timer(DEADLINE_S, process.kill)
        deadline.start()
        newest = json.loads(process.stdout.readline())
        ring.kill(slot)
        while not (newest["word"] == "failure" and successor in newest["text"]):
            line = json.loads(process.stdout.readline())
            assert line["sequence"] > newest["sequence"]
            newest = line
        deadline.cancel()
        process.terminate()


def test_ring_key(new_ring, tmp_path):
    key, other = tmp_path / "key", tmp_path / "other"
    key.write_text("a key of the whole ring\n")
    other.write_text("some other ring's key..\n")
    ring = new_ring(RING_KEY_FILE=key).start(1)
    ctl = Chordctl(ring.address(1))
    ctl.run("ring", exits=REFUSED)
    ctl.run("put", "a", "b", exits=REFUSED)
    ctl.run("get", "a", "--ring-key-file", other, exits=REFUSED)
    ctl.run("put", "a", "b", "--ring-key-file", other, exits=UNKNOWN)
    ctl.environment["RING_KEY_FILE"] = str(key)
    ctl.run("put", "a", "b")
    assert ctl.text("get", "a") == "b"
    assert ctl.json("ring")["ideal"]


def test_ping_measures_the_call(new_ring):
    """Not how long it took to be connected: this one is let in after a while."""
    ring = new_ring().start(1)
    proxy = HostileProxy(ring.settings["RPC_PORT"] + 1, 1, hostile=False, hello_s=0.4)
    try:
        pong = Chordctl(f"127.0.0.2:{proxy.port}").json("ping")
        assert 0 < pong["microseconds"] < 300_000
    finally:
        proxy.close()
