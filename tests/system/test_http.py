"""The gateway over plain HTTP, against a stand-in node that can misbehave (tests/unit/fake_node.c).

What needs a real ring is in test_ring.py and test_data.py. Programs come from CHORD_BUILD.
"""

import csv
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from ports import PortBlock

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("CHORD_BUILD", ROOT / "build" / "asan"))
GATEWAY = Path(os.environ.get("CHORD_GATEWAY", BUILD / "gateway" / "chord-gateway"))
FAKE_NODE = Path(os.environ.get("CHORD_FAKE_NODE", BUILD / "tests" / "fake_node"))
SANITIZED = any(word in str(GATEWAY) for word in ("asan", "tsan"))
SANITIZER_WORDS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:",
                   "WARNING: ThreadSanitizer")
CSV = {"Content-Type": "text/csv"}


def until(condition, deadline_s=15, what="the condition"):
    deadline = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not come true within {deadline_s} s"
        time.sleep(0.02)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self):
        return json.loads(self.body)


class Gateway:
    def __init__(self, folder, *flags, slots=1, **environment):
        self.ports = PortBlock()
        self.port, self.rpc_port, self.folder = self.ports.port, self.ports.rpc_port, folder
        self.flags, self.slots, self.environment = flags, slots, environment
        self.nodes = {}
        self.process = None

    def start(self):
        self.stderr = open(self.folder / "gateway.log", "ab")
        names = ("PATH", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS")
        environment = {name: os.environ[name] for name in names if name in os.environ}
        self.process = subprocess.Popen(
            [GATEWAY, "--port", str(self.port), "--rpc-port", str(self.rpc_port), "--slots",
             str(self.slots), "--data", str(self.folder / "data"), *self.flags],
            stdout=subprocess.PIPE, stderr=self.stderr, text=True,
            env={**environment, **self.environment})
        assert self.process.stdout.readline().startswith("listening http://127.0.0.1:")
        return self

    def start_node(self, *flags, slot=1):
        node = subprocess.Popen([FAKE_NODE, self.address(slot), *flags], stdout=subprocess.PIPE,
                                stderr=self.stderr, text=True)
        self.nodes[slot] = node
        assert node.stdout.readline().startswith("listening")
        until(lambda: self.get("/readyz").status == 200, what="/readyz")
        return self

    def address(self, slot=1):
        return f"127.0.0.1:{self.rpc_port + slot}"

    def stop(self):
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0
        return time.monotonic() - began

    def close(self):
        for child in [*self.nodes.values(), self.process]:
            if child is not None and child.poll() is None:
                child.send_signal(signal.SIGTERM)
                child.wait(20)
        self.ports.close()
        self.stderr.close()
        text = (self.folder / "gateway.log").read_text(errors="replace")
        for word in SANITIZER_WORDS:
            assert word not in text, text[text.index(word):][:5000]
        assert self.process.returncode == 0

    def connect(self, slot=0, timeout=60):
        return http.client.HTTPConnection("127.0.0.1", self.port + slot, timeout=timeout)

    def request(self, method, path, body=None, headers=None, slot=0):
        connection = self.connect(slot)
        try:
            connection.request(method, path, body, headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def raw(self, data, timeout=15):
        """What comes back for these bytes, until the gateway closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as link:
            link.sendall(data)
            got = b""
            try:
                while True:
                    part = link.recv(65536)
                    if not part:
                        return got
                    got += part
            except (TimeoutError, ConnectionResetError):
                return got

    def upload(self, text, query="", headers=CSV):
        data = text if isinstance(text, bytes) else text.encode()
        return self.request("POST", "/api/v1/imports" + query, data, headers)

    def value(self, key):
        answer = self.get("/api/v1/kv/" + quote(key, safe=""))
        return answer.body if answer.status == 200 else None


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """One for the tests that leave it as it was. Every 5th operation of a batch fails once."""
    it = Gateway(tmp_path_factory.mktemp("http")).start()
    try:
        yield it.start_node("--fail", "5")
    finally:
        it.close()


@pytest.fixture
def own(tmp_path):
    made = []

    def create(*flags, **more):
        made.append(Gateway(tmp_path, *flags, **more))
        return made[-1].start()
    yield create
    for it in made:
        it.close()


# Headers, origin, methods

def test_headers(gateway):
    for path in ("/livez", "/api/v1/ring", "/", "/nothing"):
        headers = gateway.get(path).headers
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe-inline" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in headers
    assert gateway.get("/api/v1/ring").headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_foreign_host(gateway, host):
    assert gateway.get("/livez", headers={"Host": host}).status in (400, 403)


def test_own_hosts(gateway):
    for host in ("localhost", f"localhost:{gateway.port}", "127.0.0.1:1", "LOCALHOST:3000"):
        assert gateway.get("/livez", headers={"Host": host}).status == 200


def test_origin(gateway):
    path, own_origin = "/api/v1/kv/origin", f"http://127.0.0.1:{gateway.port}"
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"},
                    {"Origin": f"http://127.0.0.1:{gateway.port + 1}"},
                    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
                    {"Origin": own_origin, "Sec-Fetch-Site": "cross-site"}):
        assert gateway.request("PUT", path, b"x", headers).status == 403, headers
        assert gateway.value("origin") is None
    headers = {"Origin": own_origin, "Sec-Fetch-Site": "same-origin"}
    assert gateway.request("PUT", path, b"x", headers).status == 201
    assert gateway.request("DELETE", path, headers=headers).status == 204
    # A foreign page may not hold event streams open either; following a link is fine.
    foreign = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    assert gateway.get("/api/v1/ring", headers=foreign).status == 403
    assert gateway.get("/", headers={"Sec-Fetch-Site": "cross-site",
                                     "Sec-Fetch-Mode": "navigate"}).status == 200


def test_methods(gateway):
    answer = gateway.request("POST", "/api/v1/ring", b"")
    assert answer.status == 405 and "GET" in answer.headers["Allow"]
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert gateway.request("TRACE", "/livez").status in (400, 501)
    assert gateway.request("OPTIONS", "/api/v1/kv/x").status == 204
    problem = gateway.get("/api/v1/nothing").json()
    assert problem["status"] == 404 and problem["code"] == "NOT_FOUND" and problem["title"]
    assert gateway.get("/kys").status == 405  # no change by GET


MALFORMED = [
    b"GARBAGE\r\n\r\n", b"\r\n\r\n", b"\x00\x01\x02\xff" * 50 + b"\r\n\r\n", b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", b"GET nonsense HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"b" * 20000 + b"\r\n\r\n",
    b"PUT /api/v1/kv/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
    b"PUT /api/v1/kv/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9x\r\n\r\nabc",
    b"PUT /api/v1/kv/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"PUT /api/v1/kv/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"PUT /api/v1/kv/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /api/v1/kv/%zz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /api/v1/nodes/%00/logs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"POST /lookup HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 7\r\n\r\na=b\0zzz",
    b"POST /lookup HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 7\r\n\r\na=b&c=%",
]


@pytest.mark.parametrize("data", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed(gateway, data):
    got = gateway.raw(data)
    assert not got.startswith(b"HTTP/1.1 2") or b"HTTP/9.9" in data
    assert b"<html" not in got.lower() and b"root:" not in got
    assert gateway.get("/livez").status == 200
    assert gateway.value("x") is None


# Keys and values

@pytest.mark.parametrize("key", [b"a", b"a/b", b"/", b"../x", b"\x00\x01\xff", "schl\u00fcssel".encode(),
                                 b"%41", b"a b+c", b"?q=1&r#f", b"k" * 1024], ids=range(10))
def test_key_bytes(gateway, key):
    path = "/api/v1/kv/" + quote(key, safe="")
    value = b"\x00value\r\n\xff" + key
    assert gateway.request("PUT", path, value).status == 201
    answer = gateway.get(path)
    assert answer.status == 200 and answer.body == value
    assert answer.headers["Content-Type"] == "application/octet-stream"
    head = gateway.request("HEAD", path)
    assert head.body == b"" and int(head.headers["Content-Length"]) == len(value)
    assert gateway.get("/api/v1/kv?key=" + quote(key, safe="")).body == value
    assert gateway.request("DELETE", path).status == 204
    assert gateway.request("DELETE", path).status == 404
    assert gateway.get(path).status == 404


def test_value_sizes(gateway):
    path = "/api/v1/kv/size"
    for size in (0, 1, 65536, 65537, 1024 * 1024):
        value = os.urandom(size)
        assert gateway.request("PUT", path, value).status in (201, 204)
        assert gateway.get(path).body == value
    assert gateway.request("PUT", path, b"x" * (1024 * 1024 + 1)).status == 413
    assert gateway.request("PUT", "/api/v1/kv/" + "k" * 1025, b"").status == 400
    assert gateway.request("PUT", "/api/v1/kv/", b"").status == 400
    chunks = [b"ab", b"cd" * 5000, b"e"]
    assert gateway.request("PUT", path, iter(chunks)).status == 204
    assert gateway.value("size") == b"".join(chunks)
    assert gateway.request("PUT", path, iter([b"x" * 600000] * 2)).status == 413
    gateway.request("DELETE", path)


def test_keep_alive(gateway):
    connection = gateway.connect()
    for number in range(20):
        connection.request("PUT", "/api/v1/kv/alive", f"{number}".encode() * 1000)
        answer = Answer(connection.getresponse())
        assert answer.status in (201, 204)
        assert answer.headers["Connection"] == "keep-alive"
    connection.close()
    gateway.request("DELETE", "/api/v1/kv/alive")


def test_conditions(gateway):
    path = "/api/v1/kv/condition"
    first = gateway.request("PUT", path, b"1", {"If-None-Match": "*"})
    assert first.status == 201
    tag = first.headers["ETag"]
    assert gateway.get(path).headers["ETag"] == tag
    assert gateway.get(path, headers={"If-None-Match": tag}).status == 304
    assert gateway.request("PUT", path, b"2", {"If-None-Match": "*"}).status == 412
    second = gateway.request("PUT", path, b"3", {"If-Match": tag})
    assert second.status == 204 and second.headers["ETag"] != tag
    assert gateway.request("PUT", path, b"4", {"If-Match": tag}).status == 412
    assert gateway.request("PUT", path, b"4", {"If-Match": "nonsense"}).status == 400
    assert gateway.request("DELETE", path, headers={"If-Match": tag}).status == 412
    assert gateway.value("condition") == b"3"
    assert gateway.request("DELETE", path, headers={"If-Match": second.headers["ETag"]}).status == 204


def test_unknown_for_good(gateway):
    """A write that the node answers with UNKNOWN and a version is not sent again."""
    path, versions = "/api/v1/kv/unknown%20outcome", []
    for value in (b"1", b"2"):
        answer = gateway.request("PUT", path, value)
        assert answer.status == 503 and answer.json()["code"] == "UNKNOWN"
        versions.append(int(gateway.get(path).headers["ETag"].strip('"').split(".")[1]))
    assert versions[1] == versions[0] + 1


def test_unknown_is_never_refused(gateway):
    """A first attempt whose outcome nobody knows, then a node that fails: still unknown, for the
    first one was executed."""
    path = "/api/v1/kv/broken%20node"
    answer = gateway.request("PUT", path, b"done")
    assert gateway.value("broken node") == b"done"
    assert answer.status == 503 and answer.json()["code"] == "UNKNOWN"
    answer = gateway.request("DELETE", path)
    assert gateway.get(path).status == 404
    assert answer.status == 503 and answer.json()["code"] == "UNKNOWN"


def test_lookup(gateway):
    gateway.request("PUT", "/api/v1/kv/look%20up", b"found")
    answer = gateway.get("/api/v1/lookups/look%20up").json()
    assert answer["key"] == "look up" and len(answer["key_id"]) == 8
    assert answer["owner"]["address"] == gateway.address() and answer["hops"]
    for body, kind in ((b"key=look+up", "application/x-www-form-urlencoded"),
                       (b'{"key":"look up"}', "application/json")):
        answer = gateway.request("POST", "/lookup", body, {"Content-Type": kind})
        assert answer.json()["value"] == "found"
    assert gateway.request("POST", "/lookup", b"").status == 400
    assert gateway.request("POST", "/lookup", b"[[[[").status == 400
    gateway.request("DELETE", "/api/v1/kv/look%20up")


# Nodes

def test_nodes(gateway):
    ring = gateway.get("/api/v1/ring").json()
    assert ring["state"] == "healthy" and ring["m"] == 32 and len(ring["nodes"]) == 1
    node = ring["nodes"][0]
    assert node["slot"] == 1 and node["dashboard"].endswith(str(gateway.port + 1))
    for name in (node["id"], node["id"].upper(), gateway.address(), quote(gateway.address(), safe="")):
        assert gateway.get(f"/api/v1/nodes/{name}").json()["address"] == gateway.address()
    assert gateway.get("/api/v1/nodes/ffffffff").status == 404
    assert gateway.get("/api/v1/nodes/127.0.0.1:1").status == 404
    lines = gateway.get(f"/api/v1/nodes/{node['id']}/logs").json()["lines"]
    assert lines[0]["word"] == "join" and "<b>" in lines[0]["text"]
    assert gateway.get(f"/api/v1/nodes/{node['id']}/logs?limit=0").status == 400
    assert gateway.get(f"/api/v1/nodes/{node['id']}/logs?level=loud").status == 400


def test_kill_needs_the_id(gateway):
    path = f"/api/v1/nodes/{gateway.address()}/kill"
    for body in (b"", b"{}", b"[]", b"nonsense", b'{"confirm":7}', b"x" * 5000):
        assert gateway.request("POST", path, body).status == 400
    assert gateway.request("POST", path, b'{"confirm":"00"}').status == 409
    assert gateway.get("/readyz").status == 200


def test_start_without_supervisor(gateway):
    answer = gateway.request("POST", f"/api/v1/nodes/{gateway.address()}/start")
    assert answer.status == 409 and "init.py --start 1" in answer.json()["detail"]


def test_start_by_supervisor(own):
    gateway = own()
    gateway.start_node()
    asked = []
    server = socket.socket(socket.AF_UNIX)
    old = os.getcwd()
    os.chdir(gateway.folder / "data")  # a socket's path is short
    server.bind("supervisor.sock")
    os.chdir(old)
    server.listen()

    def serve():
        for answer in ({"ok": True, "pid": 7}, {"ok": False, "error": "node 1 is already running"}):
            link, _ = server.accept()
            with link, link.makefile("rw") as lines:
                asked.append(json.loads(lines.readline()))
                lines.write(json.dumps(answer) + "\n")
    thread = threading.Thread(target=serve)
    thread.start()
    path = f"/api/v1/nodes/{gateway.address()}/start"
    assert gateway.request("POST", path).status == 202
    answer = gateway.request("POST", path)
    assert answer.status == 409 and "already running" in answer.json()["detail"]
    thread.join()
    server.close()
    assert asked == [{"command": "start", "slot": 1}] * 2


def test_slot_port(gateway):
    assert gateway.get("/api/v1/self").json()["slot"] is None
    answer = gateway.get("/api/v1/self", slot=1).json()
    assert answer == {"slot": 1, "address": gateway.address(),
                      "ring_dashboard": f"http://127.0.0.1:{gateway.port}"}
    assert gateway.request("POST", "/leave").status == 404  # the ring is no node
    assert gateway.get("/data", slot=1).status == 200


def test_pages(gateway):
    ring, node = gateway.get("/"), gateway.get("/", slot=1)
    assert ring.status == node.status == 200 and ring.body != node.body
    assert ring.headers["Content-Type"].startswith("text/html")
    tag = ring.headers["ETag"]
    assert gateway.get("/", headers={"If-None-Match": tag}).status == 304
    assert gateway.get("/index.html").body == ring.body
    assert gateway.get("/node.html").body == node.body
    assert gateway.get("/package.json").status == 404


def test_leave_join_kill(own):
    gateway = own().start_node()
    assert gateway.request("POST", "/leave", slot=1).json()["warning"]
    until(lambda: gateway.get("/api/v1/ring").json()["nodes"][0]["state"] == "left")
    assert gateway.request("POST", f"/api/v1/nodes/{gateway.address()}/join").status == 202
    until(lambda: gateway.get("/readyz").status == 200)
    node_id = gateway.get("/api/v1/ring").json()["nodes"][0]["id"]
    answer = gateway.request("POST", f"/api/v1/nodes/{gateway.address()}/kill",
                             json.dumps({"confirm": node_id}))
    assert answer.status == 202
    until(lambda: gateway.get("/api/v1/ring").status == 503)
    problem = gateway.get("/api/v1/ring").json()
    assert problem["nodes"][0]["state"] == "down" and "no node" in problem["detail"]
    assert gateway.get("/api/v1/kv/x").status == 503
    assert gateway.upload("k,v\na,b\n", "?id=nobody-there").status == 503
    assert gateway.get("/api/v1/operations/nobody-there").json()["rows_stored"] == 0
    assert gateway.get("/livez").status == 200
    gateway.start_node()
    until(lambda: gateway.get("/api/v1/ring").status == 200)


def test_slots_grow(own):
    gateway = own().start_node()
    with pytest.raises(ConnectionRefusedError):
        gateway.get("/livez", slot=2)
    (gateway.folder / "data" / "slots").write_text("2\n")

    def answers():
        try:
            return gateway.get("/api/v1/self", slot=2).json()["slot"] == 2
        except ConnectionRefusedError:
            return False
    until(answers)
    until(lambda: gateway.get(f"/api/v1/nodes/{gateway.address(2)}").json().get("state") == "down")
    assert gateway.get("/readyz").status == 503  # a slot that should run and does not


# Imports

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
    until(lambda: operation(gateway, "cut-upload")["state"] == "failed")
    got = operation(gateway, "cut-upload")
    assert got["rows_stored"] == 3000 and "cut off" in got["error"]
    assert gateway.value("cut-2999") == b"2999" and gateway.value("cut-last") is None


def test_cancel(gateway):
    link = slow_upload(gateway, "cancel-me-1", b"k,v\n" + b"cancel,1\n" * 5000)
    until(lambda: operation(gateway, "cancel-me-1")["state"] == "running")
    assert gateway.request("DELETE", "/api/v1/operations/cancel-me-1").status == 202
    link.sendall(b"cancel,2\n" * 5000)
    until(lambda: operation(gateway, "cancel-me-1")["state"] == "cancelled")
    link.close()


def test_import_survives_a_restart_of_the_node(own):
    """The node is away in the middle; what it does not acknowledge is sent again."""
    gateway = own().start_node("--slow", "50")
    rows = "k,v\n" + "".join(f"again-{i},{'x' * 200}\n" for i in range(60000))
    answers = []
    thread = threading.Thread(target=lambda: answers.append(gateway.upload(rows, "?id=through-it")))
    thread.start()
    until(lambda: operation(gateway, "through-it")["rows_stored"] > 0)
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


# Events

class Stream:
    def __init__(self, gateway, query="", **headers):
        self.connection = gateway.connect(timeout=20)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request("GET", "/api/v1/events" + query, headers=headers)
        self.response = self.connection.getresponse()
        self.status = self.response.status

    def next(self, *kinds):
        event = {}
        while True:
            line = self.response.readline().decode().rstrip("\n")
            if line == "" and "event" in event and (not kinds or event["event"] in kinds):
                return event["event"], json.loads(event["data"]), int(event["id"])
            if line == "":
                event = {}
            elif not line.startswith(":"):
                name, _, value = line.partition(": ")
                event[name] = value

    def close(self):
        self.response.close()
        self.connection.close()


def test_events(gateway):
    stream = Stream(gateway)
    assert stream.response.headers["Content-Type"] == "text/event-stream"
    kind, ring, _ = stream.next()
    assert kind == "ring" and ring["nodes"][0]["address"] == gateway.address()
    gateway.upload("k,v\ne1,1\n", "?id=seen-in-events")
    kind, data, number = stream.next("import")
    while data["state"] != "done":
        kind, data, number = stream.next("import")
    assert data["id"] == "seen-in-events" and data["rows_stored"] == 1
    stream.close()
    gateway.upload("k,v\ne2,2\n", "?id=missed-meanwhile")
    stream = Stream(gateway, Last_Event_ID=str(number))
    assert stream.next("import")[1]["id"] == "missed-meanwhile"
    stream.close()


def test_node_events(own):
    gateway = own().start_node()
    stream = Stream(gateway)
    stream.next("ring")
    gateway.nodes[1].kill()
    gateway.nodes[1].wait()
    kind, data, number = stream.next("node.down")
    assert data["address"] == gateway.address() and data["text"]
    gateway.start_node()
    assert stream.next("node.back")[1]["address"] == gateway.address()
    stream.close()
    gateway.stop()  # what happened is remembered over a restart
    gateway.start()
    stream = Stream(gateway, Last_Event_ID=str(number))
    assert stream.next("node.back")[1]["address"] == gateway.address()
    stream.close()


def test_stream_limit(own):
    gateway = own().start_node()
    streams = [Stream(gateway) for _ in range(16)]
    assert all(stream.status == 200 for stream in streams)
    refused = Stream(gateway)
    assert refused.status == 503 and refused.response.headers["Retry-After"]
    refused.close()
    assert gateway.get("/api/v1/ring").status == 200
    assert gateway.stop() < (8 if SANITIZED else 2)
    for stream in streams:
        stream.close()
    gateway.start()


# Settings

def test_token(own, tmp_path):
    (tmp_path / "token").write_text("a-token-of-16-bytes\n")
    gateway = own("--api-token-file", str(tmp_path / "token")).start_node()
    assert gateway.get("/api/v1/ring").status == 200
    path = "/api/v1/kv/token"
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "a-token-of-16-bytes"}):
        answer = gateway.request("PUT", path, b"x", headers)
        assert answer.status == 401 and "Bearer" in answer.headers["WWW-Authenticate"]
    good = {"Authorization": "Bearer a-token-of-16-bytes"}
    assert gateway.request("PUT", path, b"x", good).status == 201


def test_host_names(own):
    gateway = own(HOST_NAMES="box.tail1234.ts.net, other").start_node()
    assert gateway.get("/livez", headers={"Host": "box.tail1234.ts.net"}).status == 200
    assert gateway.get("/livez", headers={"Host": "other:3000"}).status == 200
    assert gateway.get("/livez", headers={"Host": "third"}).status == 403


@pytest.mark.parametrize("flags, code, word", [
    (["--port", "0"], 2, "--port"), (["--port", "70000"], 2, "--port"), (["--port", "x"], 2, "--port"),
    (["--slots", "-1"], 2, "--slots"), (["--join", "nowhere"], 2, "nowhere"),
    (["--unknown", "1"], 2, "--unknown"), (["--host", "0.0.0.0"], 2, "API_TOKEN_FILE"),
    (["--host", "8.8.8.8"], 2, "API_TOKEN_FILE"), (["--api-token-file", "/nowhere"], 2, "/nowhere"),
    (["--ring-key-file", "/nowhere"], 2, "/nowhere"), (["--data", "/proc/nowhere"], 4, "/proc/nowhere"),
])
def test_wrong_settings(tmp_path, flags, code, word):
    base = [] if "--data" in flags else ["--data", str(tmp_path / "data")]
    done = subprocess.run([GATEWAY, *base, *flags], capture_output=True, text=True, timeout=20,
                          env={"PATH": os.environ["PATH"]})
    assert done.returncode == code
    assert word in done.stderr and done.stderr.count("\n") == 1 and done.stdout == ""


def test_port_taken(gateway, tmp_path):
    done = subprocess.run([GATEWAY, "--port", str(gateway.port), "--data", str(tmp_path / "data")],
                          capture_output=True, text=True, timeout=20)
    assert done.returncode == 3 and str(gateway.port) in done.stderr


def test_exit_with_parent(tmp_path):
    block = PortBlock()
    script = ("import subprocess, sys, os\n"
              "p = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)\n"
              "p.stdout.readline(); print(p.pid, flush=True); sys.stdin.read(); os._exit(0)\n")
    parent = subprocess.Popen(
        ["python3", "-c", script, GATEWAY, "--exit-with-parent", "--port", str(block.port), "--data",
         str(tmp_path / "data")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    parent.stdin.close()
    parent.wait(10)

    def gone():
        try:
            return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
        except OSError:
            return True
    until(gone, 15, "the gateway's end")
    block.close()
