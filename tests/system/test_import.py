# SPDX-License-Identifier: MIT
"""Imports and exports over plain HTTP: what a file may look like, and what comes of it."""

import csv
import io
import json
import os
import socket
import subprocess
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
            "g4,\"open\ng5,5\n").encode() + b"g8,\xc3\xa4\ng6,\xff\ng7,7\n"
    operation = gateway.upload(text, "?strict=1").json()
    assert operation["state"] == "partial"
    assert [error["line"] for error in operation["errors"]] == [3, 5, 6, 7, 8, 11]
    assert all(error["reason"] for error in operation["errors"])
    assert operation["rows_failed"] == 6 and operation["rows_stored"] == 5
    assert [gateway.value(f"g{i}") for i in range(1, 8)] == [b"1", b"2", None, None, b"5", None, b"7"]
    answer = gateway.upload("k,v\nh1,1\nbad\nh2,2\n", "?on_error=abort")
    assert answer.status == 422 and answer.json()["state"] == "failed"
    assert gateway.value("h1") == b"1" and gateway.value("h2") is None
    many = gateway.upload("k,v\n" + "x\n" * 1000)
    assert many.status == 422 and many.json()["state"] == "failed"
    assert many.json()["rows_failed"] == 1000 and len(many.json()["errors"]) == 100


@pytest.mark.parametrize("row, lines, stored", [
    ('"{0}two\nlines","x\ny",third', [2], []), (',"x\n{0}y,z\nw"', [2], []), ('"{0}x\n{0}y,z\nw"', [2], []),
    ('{0}x,"' + "long\n" * 220000 + '"', [2], []), ('"{0}' + "k\n" * 600 + '",v', [2], []),
    ('{0}x,"x\n{0}y,\0z\nw"', [2], []),
    ('{0}x,"x\n{0}y,z\nw"behind', [2, 4], ["y"]), ('{0}x,"x\n{0}y,z\nw', [2, 4], ["y"]),
    ('{0}x,"x\n{0}y,z\n' + "long" * 560000 + '\n{0}w,5"', [2, 4], ["y", "w"]),
], ids=["cells", "no-key", "one-cell", "value", "key", "nul", "behind", "open", "huge"])
def test_a_bad_row_over_several_lines(gateway, request, row, lines, stored):
    name = request.node.callspec.id
    answer = gateway.upload("k,v\n" + row.replace("{0}", name + "-") + f"\n{name}-last,1\n")
    assert answer.status == 202, answer.body
    operation = answer.json()
    assert [error["line"] for error in operation["errors"]] == lines, operation
    assert operation["rows_failed"] == len(lines) and operation["rows_stored"] == len(stored) + 1
    for key in ("x", "y", "w", "last"):
        assert (gateway.value(f"{name}-{key}") is not None) == (key in (*stored, "last")), key


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf", b"\n\n\n", b"justonecolumn\nx\n",
                                  b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
                                  os.urandom(5000), b"\x00" * 5000, b'"never closed\n' * 3],
                         ids=["empty", "mark", "blank", "one-column", "png", "random", "zeros",
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
    assert gateway.upload("k,v\n", headers={"Content-Type": "application/json"}).status == 415
    body, headers = form(("file", "a.csv", b"k,v\nf6,6\n"), ("key_column", None, b"v"))
    answer = gateway.upload(body, headers=headers)
    assert answer.status == 422 and "before the file" in answer.json()["detail"]
    for name, value in (("on_error", b"maybe"), ("charset", b"klingon"), ("delimiter", b";;")):
        body, headers = form((name, None, value), ("file", "a.csv", b"k,v\nf7,7\n"))
        answer = gateway.upload(body, headers=headers)
        assert answer.status == 422 and name in answer.json()["detail"]
    assert gateway.value("f7") is None


def test_what_curl_sends(gateway, tmp_path):
    """As the README writes it; a page of another origin may not send the same."""
    path = tmp_path / "rows.csv"
    path.write_text("k,v\ncurl,1\n")
    address = f"http://127.0.0.1:{gateway.port}/api/v1/imports"
    said = subprocess.run(["curl", "-sS", "--data-binary", f"@{path}", address],
                          capture_output=True, text=True, check=True)
    assert json.loads(said.stdout)["rows_stored"] == 1, said
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    own = f"http://localhost:{gateway.port}"
    for where, status in (({"Origin": "http://evil.example"}, 403), ({"Sec-Fetch-Site": "cross-site"}, 403),
                          ({"Origin": own, "Host": f"localhost:{gateway.port}"}, 415),
                          ({"Sec-Fetch-Site": "same-origin"}, 415), ({"Referer": "http://evil.example/"}, 415)):
        assert gateway.upload("k,v\nform,1\n", headers={**kind, **where}).status == status, where
    assert gateway.value("form") is None


def test_options_that_are_wrong(gateway):
    for query in ("key_column=%zz", "on_error=maybe", "delimiter=ab", "delimiter=%22", "charset=ebcdic",
                  "header=no", "format=xls", "strict=yes", "key_column=" + "k" * 512, "id=%zz"):
        answer = gateway.upload("k,v\nwrong,1\n", "?" + query)
        assert answer.status == 400 and query.partition("=")[0] in answer.json()["detail"], query
    assert gateway.value("wrong") is None
    for encoding in ("gzip", "br", "gzip, identity"):
        answer = gateway.upload("k,v\nwrong,1\n", headers={**CSV, "Content-Encoding": encoding})
        assert answer.status == 415 and "Content-Encoding" in answer.json()["detail"]


def test_stray_quote_costs_one_row(gateway):
    """Also where what follows is more than a row may have."""
    rows = [f"stray-{i},{'x' * 160} {i}" for i in range(15000)]
    rows[10] = 'stray-10,"never closed'
    answer = gateway.upload("k,v\n" + "\n".join(rows) + "\n")
    assert answer.status == 202
    operation = answer.json()
    assert operation["state"] == "partial"
    assert (operation["rows_read"], operation["rows_stored"], operation["rows_failed"]) == (15000, 14999, 1)
    assert operation["errors"][0]["line"] == 12
    assert gateway.value("stray-11") == b"x" * 160 + b" 11" and gateway.value("stray-10") is None


def account_closes(operation):
    return operation["rows_read"] == operation["rows_stored"] + operation["rows_failed"]


def test_other_dialects(gateway):
    def rows(text, query="", key="k1"):
        answer = gateway.upload(text, query)
        assert answer.status == 202 and account_closes(answer.json()), answer.body
        return answer.json(), gateway.value(key)
    got, value = rows("sep=;\nk;v\nk1;1,5\n")
    assert value == b"1,5" and got["delimiter"] == "semicolon" and got["rows_read"] == 1
    assert rows("k;v\nk1;2,5\n")[1] == b"2,5"
    assert rows("k\tv\nk1\t3,5\n")[1] == b"3,5"
    assert rows("k|v\nk1|4\n", "?delimiter=pipe")[1] == b"4"
    assert rows("k,v,\nk1,5,\nk2,6\n")[1] == b"5"
    assert rows('k,v\nk1,5" pipe\n')[1] == b'5" pipe'
    got, value = rows("k,v,w\nk1,7\nk2,8,9\n")
    assert value == b"7," and got["rows_completed"] == 1
    assert rows("k1,9\n", "?header=absent")[1] == b"9"
    assert rows("10,k1\n", "?header=absent&key_column=2")[1] == b"10"
    for charset in ("utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "cp1252"):
        got, value = rows(f"k,v\nk1,{charset} \u20ac \u00e4\n".encode(charset))
        assert value.decode() == f"{charset} \u20ac \u00e4", got
    assert rows("k,v\nk1,\u20ac\n".encode("iso-8859-15"), "?charset=ISO-8859-15")[1] == "\u20ac".encode()
    for query in ("?header=absent&key_column=k", "?header=absent&key_column=3"):
        assert gateway.upload("k1,1\n", query).status == 422
    strict = gateway.upload('k,v,w\nk1,1\nk2,5" x,3\nk3,1,2,\nk4,1,2\n', "?strict=1").json()
    assert strict["rows_failed"] == 3 and strict["rows_stored"] == 1


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
    assert got["rows_stored"] == 3000 and "cut off" in got["error"] and account_closes(got)
    assert gateway.value("cut-2999") == b"2999" and gateway.value("cut-last") is None


def test_cancel(gateway):
    link = slow_upload(gateway, "cancel-me-1", b"k,v\n" + b"cancel,1\n" * 5000)
    soon(lambda: operation(gateway, "cancel-me-1")["state"] == "running")
    assert gateway.request("DELETE", "/api/v1/operations/cancel-me-1").status == 202
    link.sendall(b"cancel,2\n" * 5000)
    soon(lambda: operation(gateway, "cancel-me-1")["state"] == "cancelled")
    assert account_closes(operation(gateway, "cancel-me-1"))
    link.close()


def test_import_survives_a_restart_of_the_node(own):
    """The node is away in the middle; what it does not acknowledge is sent again."""
    gateway = own().start_node("--slow", "50")
    rows = "k,v\n" + "".join(f"again-{i},{'x' * 200}\n" for i in range(120000))
    answers = []
    thread = threading.Thread(target=lambda: answers.append(gateway.upload(rows, "?id=through-it")))
    thread.start()
    soon(lambda: operation(gateway, "through-it")["rows_stored"] > 0)
    gateway.nodes[1].kill()
    gateway.nodes[1].wait()
    gateway.start_node()
    thread.join()
    assert answers[0].status == 202 and answers[0].json()["rows_stored"] == 120000
    # It had nothing on disk; rows go out in the order of their hashes, and some after its return.
    held = {gateway.value(f"again-{i}") for i in range(0, 120000, 53)}
    assert held == {None, b"x" * 200}


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
