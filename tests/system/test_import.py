"""Imports and exports over plain HTTP: what a file may look like, and what comes of it."""

import csv
import io
import os
import socket
import threading
from pathlib import Path

import pytest
from lone_gateway import CSV, soon
from ring import SANITIZED


def rows_text(rows):
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


def test_import_20000_rows(gateway):
    rows = [["key", "value"]] + [[f"row-{i}", f'value "{i}",\r\nline {i} \u00e4\u20ac'] for i in range(20000)]
    answer = gateway.upload(rows_text(rows))
    assert answer.status == 202
    operation = gateway.get(answer.headers["Location"]).json()
    assert operation["state"] == "done"
    assert operation["rows_stored"] == operation["rows_read"] == 20000
    assert operation["rows_failed"] == 0 and operation["bytes_read"] == operation["bytes_total"]
    for i in (0, 7777, 19999):
        assert gateway.value(f"row-{i}") == rows[i + 1][1].encode()
    export = gateway.get("/api/v1/exports?format=csv")
    assert export.headers["Content-Type"].startswith("text/csv")
    assert "attachment" in export.headers["Content-Disposition"]
    got = list(csv.reader(io.StringIO(export.body.decode(), newline="")))
    assert got[0] == ["key", "value"]
    assert sorted(row for row in got[1:] if row[0].startswith("row-")) == sorted(rows[1:])


def test_list_in_pages(gateway):
    gateway.upload(rows_text([["k", "v"]] + [[f"page-{i:03}", str(i)] for i in range(250)]))
    for path in ("/data?limit=70", f"/api/v1/nodes/{gateway.address()}/keys?limit=70&prefix=page-"):
        keys, after = [], ""
        while after is not None:
            page = gateway.get(path + (f"&after={after}" if after else "")).json()
            assert len(page["keys"]) <= 70
            keys += [entry["key"] for entry in page["keys"]]
            after = page["next"]
        mine = [key for key in keys if key.startswith("page-")]
        assert sorted(mine) == [f"page-{i:03}" for i in range(250)]
    assert gateway.get("/data?after=nonsense").status == 400
    assert gateway.get("/data?limit=1001").status == 400


def test_later_row_wins(gateway):
    gateway.upload("k,v\n" + "".join(f"same,{i}\n" for i in range(100)))
    assert gateway.value("same") == b"99"


def test_columns(gateway):
    assert gateway.upload('id,name,"a,b"\nc1,x,"1,2"\nc2,"say ""hi""",3\n').status == 202
    assert gateway.value("c1") == b'x,"1,2"'
    assert gateway.value("c2") == b'"say ""hi""",3'
    assert gateway.upload("id,name,n\nc3,c4,5\n", "?key_column=name").status == 202
    assert gateway.value("c4") == b"c3,5"
    assert gateway.upload("id,name\nc5,c6\n", "?key_column=name").status == 202
    assert gateway.value("c6") == b"c5"
    answer = gateway.upload("id,name\nc7,c8\n", "?key_column=nobody")
    assert answer.status == 422 and "nobody" in answer.json()["detail"]


def test_bad_rows(gateway):
    text = ("k,v\ng1,1\nbad\ng2,2\n,empty key\ng3,a\"b\n" + "k" * 1025 + ",long\n"
            "g4,\"open\ng5,5\n").encode() + b"g6,\xff\ng7,7\n"
    operation = gateway.upload(text).json()
    assert operation["state"] == "done"
    assert [error["line"] for error in operation["errors"]] == [3, 5, 6, 7, 8, 10]
    assert all(error["reason"] for error in operation["errors"])
    assert operation["rows_failed"] == 6 and operation["rows_stored"] == 4
    assert [gateway.value(f"g{i}") for i in range(1, 8)] == [b"1", b"2", None, None, b"5", None, b"7"]
    answer = gateway.upload("k,v\nh1,1\nbad\nh2,2\n", "?on_error=abort")
    assert answer.status == 422 and answer.json()["state"] == "failed"
    assert gateway.value("h1") == b"1" and gateway.value("h2") is None
    many = gateway.upload("k,v\n" + "x\n" * 1000).json()
    assert many["rows_failed"] == 1000 and len(many["errors"]) == 100


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf", b"\n\n\n", b"justonecolumn\nx\n",
                                  b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "k,v\na,b\n".encode("utf-16"),
                                  os.urandom(5000), b"\x00" * 5000, b'"never closed\n' * 3],
                         ids=["empty", "mark", "blank", "one-column", "png", "utf-16", "random", "zeros",
                              "unclosed"])
def test_no_csv(gateway, data):
    answer = gateway.upload(data)
    assert answer.status == 422, answer.body
    problem = answer.json()
    assert problem["detail"] and problem["rows_stored"] == 0
    assert gateway.get(answer.headers["Location"]).json()["state"] == "failed"


def form(*parts, boundary="xYzZY"):
    body = b""
    for name, file, data in parts:
        name = f'form-data; name="{name}"' + (f'; filename="{file}"' if file else "")
        body += f"--{boundary}\r\nContent-Disposition: {name}\r\n\r\n".encode() + data + b"\r\n"
    return (body + f"--{boundary}--\r\n".encode(),
            {"Content-Type": f"multipart/form-data; boundary={boundary}"})


def test_form(gateway):
    data = b"id,name\r\nf1,\"--xYzZ\r\n--xYzZ\"\r\nf2,2\r\n"
    body, headers = form(("file", "a.csv", data))
    answer = gateway.request("POST", "/upload", body, headers)
    assert answer.status == 200 and answer.json()["rows_stored"] == 2
    assert gateway.value("f1") == b"--xYzZ\r\n--xYzZ"
    body, headers = form(("key_column", None, b"name"), ("file", "../../etc/passwd", b"id,name\n1,f3\n"))
    assert gateway.upload(body, headers=headers).status == 202
    assert gateway.value("f3") == b"1"
    body, headers = form(("file", "a", b"k,v\nf4,4\n"), ("file", "b", b"k,v\nf5,5\n"))
    assert gateway.upload(body, headers=headers).status == 422
    body, headers = form(("key_column", None, b"x"))
    assert gateway.upload(body, headers=headers).status == 422
    assert gateway.upload(b"a=b\0zzz", headers=headers).status in (400, 422)
    assert gateway.upload(b"", headers={"Content-Type": "multipart/form-data"}).status == 400
    for kind in ("application/x-www-form-urlencoded", "application/json"):
        assert gateway.upload("k,v\n", headers={"Content-Type": kind}).status == 415


def test_operation_ids(gateway):
    assert gateway.upload("k,v\ni1,1\n", "?id=chosen-by-me").json()["id"] == "chosen-by-me"
    assert gateway.upload("k,v\ni2,2\n", "?id=chosen-by-me").status == 409
    assert gateway.value("i2") is None
    for wrong in ("short", "UPPERCASE", "x" * 65, "with%20space"):
        assert gateway.upload("k,v\n", "?id=" + wrong).status == 400
    assert gateway.get("/api/v1/operations/not-there-1").status == 404
    assert gateway.upload("k,v\n", "?on_error=maybe").status == 400


def slow_upload(gateway, name, first, length=10_000_000):
    link = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
    link.sendall(f"POST /api/v1/imports?id={name} HTTP/1.1\r\nHost: localhost\r\n"
                 f"Content-Type: text/csv\r\nContent-Length: {length}\r\n\r\n".encode() + first)
    return link


def operation(gateway, name):
    answer = gateway.get(f"/api/v1/operations/{name}")
    return answer.json() if answer.status == 200 else {"state": "none", "rows_stored": 0}


def test_upload_cut(gateway):
    rows = "k,v\n" + "".join(f"cut-{i},{i}\n" for i in range(3000)) + "cut-last,half of a val"
    slow_upload(gateway, "cut-upload", rows.encode()).close()
    soon(lambda: operation(gateway, "cut-upload")["state"] == "failed")
    got = operation(gateway, "cut-upload")
    assert got["rows_stored"] == 3000 and "cut off" in got["error"]
    assert gateway.value("cut-2999") == b"2999" and gateway.value("cut-last") is None


def test_cancel(gateway):
    link = slow_upload(gateway, "cancel-me-1", b"k,v\n" + b"cancel,1\n" * 5000)
    soon(lambda: operation(gateway, "cancel-me-1")["state"] == "running")
    assert gateway.request("DELETE", "/api/v1/operations/cancel-me-1").status == 202
    link.sendall(b"cancel,2\n" * 5000)
    soon(lambda: operation(gateway, "cancel-me-1")["state"] == "cancelled")
    link.close()


def test_import_survives_a_restart_of_the_node(own):
    """The node is away in the middle; what it does not acknowledge is sent again."""
    gateway = own().start_node("--slow", "50")
    rows = "k,v\n" + "".join(f"again-{i},{'x' * 200}\n" for i in range(60000))
    answers = []
    thread = threading.Thread(target=lambda: answers.append(gateway.upload(rows, "?id=through-it")))
    thread.start()
    soon(lambda: operation(gateway, "through-it")["rows_stored"] > 0)
    gateway.nodes[1].kill()
    gateway.nodes[1].wait()
    gateway.start_node()
    thread.join()
    assert answers[0].status == 202 and answers[0].json()["rows_stored"] == 60000
    # It had nothing on disk; the last rows came after its return.
    assert gateway.value("again-59999") == b"x" * 200


@pytest.mark.skipif(SANITIZED, reason="a sanitizer keeps freed memory")
def test_import_memory(own):
    gateway = own().start_node()

    def peak():
        status = Path(f"/proc/{gateway.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0])
    def body(rows):
        yield b"k,v\n"
        for i in range(rows):
            yield b"".join(b"m-%d-%d,%s\n" % (i, k, b"v" * 1000) for k in range(100))
    assert gateway.request("POST", "/api/v1/imports", body(100), CSV).status == 202
    before = peak()
    assert gateway.request("POST", "/api/v1/imports", body(2000), CSV).status == 202
    assert peak() - before < 16 * 1024, "kB more for 200 MB than for 10 MB"
