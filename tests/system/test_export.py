# SPDX-License-Identifier: MIT
"""Export and import as a round trip: any bytes, empty values, expiry; and an export that was cut."""

import csv
import hashlib
import io
import os
import random
import re
import socket
import threading
import time
from urllib.parse import quote

import pytest


SEED = int(os.environ.get("CHORD_TEST_SEED", time.time_ns() % 2**32))
csv.field_size_limit(1 << 24)
END = re.compile(r"(\d+) rows, sha256 ([0-9a-f]{64})")


def odd_rows():
    """{key: value}, bytes of every kind."""
    print(f"CHORD_TEST_SEED={SEED}")
    source = random.Random(SEED)
    rows = {bytes([byte]): bytes([byte]) * 3 for byte in range(256)}
    rows |= {bytes([byte, 0, 255 - byte]): bytes(range(256)) for byte in (0, 10, 13, 34, 44, 255)}
    rows |= {b"empty": b"", b'"': b'"', b'""': b'"",""', b",": b"\r\n", b" x ": b" y ", b"\r": b"\n",
             b"\xef\xbb\xbfmark": b"\xef\xbb\xbf", b"chord:end": b"3 rows, sha256 " + b"0" * 64,
             b"sep=;": b"sep=;", b"=1+1": b"@SUM(A1)", b"'": b"''", b"-1": b"+1",
             "ä€😀".encode(): "ä€😀".encode(), b"k" * 1024: b"v" * 1000000, b"QUJD": b"QUJD=="}
    for _ in range(150):
        rows[source.randbytes(source.randint(1, 40))] = source.randbytes(source.randint(0, 60))
    return rows


def is_text(data):
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


def put_all(gateway, rows):
    for key, value in rows.items():
        answer = gateway.request("PUT", "/api/v1/kv/?key=" + quote(key, safe=""), value)
        assert answer.status in (201, 204), (key, answer.body)


def delete_all(gateway, rows):
    for key in rows:
        assert gateway.request("DELETE", "/api/v1/kv/?key=" + quote(key, safe="")).status == 204


def checksum(rows):
    digest = hashlib.sha256()
    for cells in rows:
        for cell in cells:
            digest.update(b"%d:%b," % (len(cell), cell))
    return digest.hexdigest()


@pytest.fixture
def full(own):
    """A gateway of its own whose ring has the odd rows."""
    gateway = own().start_node()
    rows = odd_rows()
    put_all(gateway, rows)
    return gateway, rows


def test_lossless_round_trip(full):
    gateway, rows = full
    export = gateway.get("/api/v1/exports?format=lossless")
    assert export.status == 200 and "lossless" in export.headers["Content-Disposition"]
    delete_all(gateway, rows)
    answer = gateway.upload(export.body)
    assert answer.status == 202, answer.body
    operation = answer.json()
    assert operation["state"] == "done" and operation["form"] == "lossless"
    assert operation["rows_stored"] == operation["rows_read"] == len(rows)
    for key, value in rows.items():
        assert gateway.get("/api/v1/kv/?key=" + quote(key, safe="")).body == value, key
    # The same file by other programs: a CSV reader survives it, ten lines check it.
    assert gateway.get("/api/v1/exports?format=lossless").body == export.body
    lines = list(csv.reader(io.StringIO(export.body.decode(), newline="")))
    assert lines[0] == ["key", "value", "chord:base64", "chord:expires_at_ms"]
    assert all(len(line) == 4 for line in lines) and lines[-1][2] == "end"


@pytest.mark.parametrize("form, head", [("csv", ["key", "value"]), ("spreadsheet", ["chord:key", "chord:value"])])
def test_other_forms(full, form, head):
    gateway, rows = full
    texts = {key: value for key, value in rows.items() if is_text(key) and is_text(value)}
    delete_all(gateway, [key for key in rows if key not in texts])
    body = gateway.get(f"/api/v1/exports?format={form}").body
    lines = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline="")))
    assert lines[0] == head and lines[-1][0] == "chord:end" and len(lines) == len(texts) + 2
    got = [[cell.encode() for cell in line] for line in lines[1:-1]]
    if form == "spreadsheet":
        assert body.startswith(b"\xef\xbb\xbf")
        assert not any(cell[:1] in (b"=", b"+", b"-", b"@", b"\t", b"\r") for line in got for cell in line if cell)
        got = [[cell[1:] if cell[:1] == b"'" else cell for cell in line] for line in got]
    assert dict(got) == texts
    count, sha256 = END.fullmatch(lines[-1][1]).groups()
    assert int(count) == len(texts) and sha256 == checksum([*line, b"0"] for line in got)
    delete_all(gateway, texts)
    answer = gateway.upload(body)
    assert answer.status == 202 and answer.json()["form"] == form and answer.json()["state"] == "done"
    for key, value in texts.items():
        assert gateway.get("/api/v1/kv/?key=" + quote(key, safe="")).body == value, key


def test_export_that_is_not_whole(gateway):
    gateway.upload("k,v\n" + "".join(f"whole-{i},{i}\n" for i in range(50)))
    for form in ("csv", "lossless", "spreadsheet"):
        body = gateway.get(f"/api/v1/exports?format={form}").body
        lines = body.splitlines(keepends=True)
        assert gateway.upload(body).status == 202
        # Quotes and line ends are not what it is about.
        assert gateway.upload(body.replace(b"\r\n", b"\n")).status == 202
        changed = body.replace(b"whole-7,7", b"whole-7,8")
        for text, word in ((b"".join(lines[:5] + lines[6:]), "rows"), (changed, "checksum"),
                           (body + lines[1], "follows")):
            answer = gateway.upload(text)
            assert answer.status == 422 and word in answer.json()["detail"], answer.body
            assert answer.json()["state"] == "failed"
        cut = gateway.upload(b"".join(lines[:-1]))
        assert cut.status == (202 if form == "csv" else 422), cut.body
        if form != "csv":
            assert "was cut" in cut.json()["detail"]
    for wrong in ("?format=xls", "?format=%zz", "?format=" + "c" * 300):
        assert gateway.get("/api/v1/exports" + wrong).status == 400


class OldProxy:
    """Speaks HTTP/1.0 to the gateway, as nginx does by default, and hands on what comes."""

    def __init__(self, port):
        self.target = ("127.0.0.1", port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.first = threading.Event()
        self.how = None

    def serve(self, path):
        client, _ = self.listener.accept()
        client.recv(65536)
        with socket.create_connection(self.target, timeout=60) as upstream:
            upstream.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            try:
                while part := upstream.recv(65536):
                    client.sendall(part)
                    self.first.set()
                self.how = "end"
            except ConnectionResetError:
                self.how = "reset"
        client.close()

    def close(self):
        self.listener.close()


def read_to_the_end(proxy, answers):
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        got = b""
        while part := client.recv(1 << 20):
            got += part
        answers.append(got)


@pytest.mark.slow
def test_export_cut_behind_an_old_proxy(own):
    """A node that is killed in the middle, HTTP/1.0: the proxy sees a reset, not an end; and what
    came is told from a whole file by its last line."""
    gateway = own().start_node()
    gateway.upload("k,v\n" + "".join(f"cut-{i},{'x' * 20000}\n" for i in range(2000)))
    proxies = {form: OldProxy(gateway.port) for form in ("csv", "lossless")}
    threads, answers = [], {}
    for form, proxy in proxies.items():
        answers[form] = []
        threads += [threading.Thread(target=proxy.serve, args=(f"/api/v1/exports?format={form}",)),
                    threading.Thread(target=read_to_the_end, args=(proxy, answers[form]))]
    for thread in threads:
        thread.start()
    for proxy in proxies.values():
        assert proxy.first.wait(30)
    gateway.nodes[1].kill()
    gateway.nodes[1].wait()
    for thread in threads:
        thread.join(60)
    gateway.start_node()
    for form, proxy in proxies.items():
        proxy.close()
        assert proxy.how == "reset"
        head, _, body = answers[form][0].partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200") and b"chord:end" not in body
        if form == "lossless":
            answer = gateway.upload(body[:body.rindex(b"\n") + 1])
            assert answer.status == 422 and "was cut" in answer.json()["detail"]
