# SPDX-License-Identifier: MIT
"""The gateway over plain HTTP: headers, keys, nodes, settings; see lone_gateway.py.

What needs a real ring is in test_ring.py and test_data.py.
"""

import http.client
import json
import os
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest
from lone_gateway import GATEWAY, Answer, soon
from ports import PortBlock, own_address
from ring import until

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


def test_preflights_allow_nothing(gateway):
    """What a browser asks before a foreign page may send a PUT, or read an answer."""
    for host in (f"127.0.0.1:{gateway.port}", "evil.example"):
        for origin in ("http://evil.example", "null"):
            answer = gateway.request("OPTIONS", "/api/v1/kv/preflight", headers={
                "Host": host, "Origin": origin, "Access-Control-Request-Method": "PUT",
                "Access-Control-Request-Headers": "authorization",
                "Access-Control-Request-Private-Network": "true"})
            assert not [name for name in answer.headers if name.startswith("Access-Control-")]


def test_a_rebound_name_changes_nothing(gateway):
    """The attacker's name leads to this gateway: its page is of the same origin, and Host tells."""
    rebound = {"Host": f"evil.example:{gateway.port}", "Origin": f"http://evil.example:{gateway.port}",
               "Sec-Fetch-Site": "same-origin"}
    for method, path in (("PUT", "/api/v1/kv/rebound"), ("DELETE", "/api/v1/kv/rebound"),
                         ("POST", "/api/v1/imports"), ("GET", "/api/v1/kv/rebound"), ("GET", "/api/v1/events")):
        assert gateway.request(method, path, b"x", rebound).status == 403, (method, path)
    assert gateway.value("rebound") is None


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
    assert gateway.request("PUT", path, b"4", {"If-Match": "nonsense"}).status == 412
    began = time.monotonic()
    assert gateway.request("PUT", path, b"4", {"If-Match": '"900.1"'}).status == 412  # nobody gave that out
    assert time.monotonic() - began < 3
    assert gateway.request("DELETE", path, headers={"If-Match": tag}).status == 412
    assert gateway.value("condition") == b"3"
    assert gateway.request("DELETE", path, headers={"If-Match": second.headers["ETag"]}).status == 204


GET_CONDITIONS = [  # the headers, with TAG for the value's; the status
    ({"If-None-Match": "*"}, 304), ({"If-None-Match": "TAG"}, 304), ({"If-None-Match": "W/TAG"}, 304),
    ({"If-None-Match": '"x", TAG'}, 304), ({"If-None-Match": '"a,b" ,\tW/TAG,'}, 304),
    ({"If-None-Match": '"x"'}, 200), ({"If-None-Match": "nonsense"}, 200), ({"If-None-Match": "TAGx"}, 200),
    ({"If-None-Match": ""}, 200), ({"If-None-Match": '"*"'}, 200), ({"If-None-Match": "w/TAG"}, 200),
    ({"If-Match": "*"}, 200), ({"If-Match": "TAG"}, 200), ({"If-Match": '"x", TAG'}, 200),
    ({"If-Match": "W/TAG"}, 412), ({"If-Match": '"x"'}, 412), ({"If-Match": "nonsense"}, 412),
    ({"If-Match": ""}, 412), ({"If-Match": "TAG", "If-None-Match": "TAG"}, 304),
    ({"If-Match": '"x"', "If-None-Match": "TAG"}, 412), ({"If-Match": "TAG", "If-None-Match": '"x"'}, 200),
]
PUT_CONDITIONS = [
    ({"If-Match": "TAG"}, 204), ({"If-Match": "*"}, 204), ({"If-Match": '"x", TAG'}, 204),
    ({"If-Match": "TAG, nonsense"}, 412), ({"If-Match": "W/TAG"}, 412), ({"If-Match": '"x"'}, 412),
    ({"If-Match": '"1.2", "3.4"'}, 412), ({"If-Match": "nonsense"}, 412), ({"If-Match": ""}, 412),
    ({"If-Match": '"'}, 412), ({"If-Match": '"+1.2"'}, 412), ({"If-Match": '" 1.2"'}, 412),
    ({"If-Match": '"99999999999999999999.1"'}, 412), ({"If-None-Match": "*"}, 412),
    ({"If-None-Match": "TAG"}, 412), ({"If-None-Match": "W/TAG"}, 412), ({"If-None-Match": '"x"'}, 204),
    ({"If-None-Match": '"x", TAG'}, 412), ({"If-None-Match": "nonsense"}, 412),
    ({"If-Match": "TAG", "If-None-Match": '"x"'}, 204), ({"If-Match": "*", "If-None-Match": "*"}, 412),
    ({"If-Match": "TAG", "If-None-Match": "TAG"}, 412),
]
PUT_NOTHING_CONDITIONS = [({"If-Match": "*"}, 412), ({"If-Match": '"1.2"'}, 412), ({"If-Match": '"1.2", "x"'}, 412),
                          ({"If-None-Match": '"x"'}, 201), ({"If-None-Match": "*"}, 201)]


@pytest.mark.parametrize("headers, status", GET_CONDITIONS, ids=range(len(GET_CONDITIONS)))
def test_read_conditions(gateway, headers, status):
    """RFC 9110, section 13, of a key and of a page."""
    gateway.request("PUT", "/api/v1/kv/conditional", b"1")
    for path in ("/api/v1/kv/conditional", "/"):
        tag = gateway.get(path).headers["ETag"]
        given = {name: value.replace("TAG", tag) for name, value in headers.items()}
        for method in ("GET", "HEAD"):
            answer = gateway.request(method, path, headers=given)
            assert answer.status == status
            assert status != 304 or answer.headers["ETag"] == tag


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize("headers, status", PUT_CONDITIONS, ids=range(len(PUT_CONDITIONS)))
def test_write_conditions(gateway, headers, status, method):
    path = "/api/v1/kv/conditional"
    tag = gateway.request("PUT", path, b"1").headers["ETag"]
    given = {name: value.replace("TAG", tag) for name, value in headers.items()}
    assert gateway.request(method, path, b"2", given).status == status
    assert gateway.value("conditional") == (b"1" if status == 412 else None if method == "DELETE" else b"2")


@pytest.mark.parametrize("headers, status", PUT_NOTHING_CONDITIONS, ids=range(len(PUT_NOTHING_CONDITIONS)))
def test_write_conditions_on_nothing(gateway, headers, status):
    gateway.request("DELETE", "/api/v1/kv/conditional")
    assert gateway.request("PUT", "/api/v1/kv/conditional", b"1", headers).status == status
    assert gateway.value("conditional") == (None if status == 412 else b"1")


def test_conditions_in_two_lines(gateway):
    path = "/api/v1/kv/conditional"
    tag = gateway.request("PUT", path, b"1").headers["ETag"]
    connection = gateway.connect()
    connection.putrequest("PUT", path)
    for value in ('"x"', tag):
        connection.putheader("If-Match", value)
    connection.putheader("Content-Length", "1")
    connection.endheaders(b"2")
    assert connection.getresponse().status == 204
    connection.close()
    gateway.request("DELETE", path)


def test_unknown_for_good(gateway):
    """A write that the node answers with UNKNOWN and a version is not sent again."""
    path, versions = "/api/v1/kv/unknown%20outcome", []
    for value in (b"1", b"2"):
        answer = gateway.request("PUT", path, value)
        assert answer.status == 503 and answer.json()["code"] == "UNKNOWN"
        versions.append(int(gateway.get(path).headers["ETag"].strip('"').split(".")[1]))
    assert versions[1] == versions[0] + 1


def test_full_disks_are_named(own):
    """Where no disk has room, a write says so at once and does not try for eight seconds."""
    gateway = own().start_node("--full", "1")
    began = time.monotonic()
    answer = gateway.request("PUT", "/api/v1/kv/full", b"x")
    assert answer.status == 503 and answer.json()["code"] == "UNKNOWN"
    assert "disks of all nodes that answer are full" in answer.json()["detail"]
    assert time.monotonic() - began < 3
    assert gateway.get("/api/v1/kv/full").status == 404  # reads go on


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


@pytest.mark.parametrize("opening", [b"[", b'{"key":'])
def test_deep_json(gateway, opening):
    """Each level takes some of the thread's stack: a thousand of them ended the gateway."""
    kill = f"/api/v1/nodes/{quote(gateway.address(), safe='')}/kill"
    for levels in (1000, 2047, 2049, 8000):
        assert gateway.request("POST", "/lookup", opening * levels).status == 400
        assert gateway.request("POST", kill, (opening * levels)[:4096]).status == 400


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


def test_kill_on_its_own_port(own):
    """A word that is another node's kills nobody, whatever way it comes."""
    gateway = own().start_node()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for path, body, headers in (("/kys", b'{"confirm":"00"}', {}), ("/kys", b"confirm=00", form),
                                ("/kys?confirm=00", b"", {})):
        assert gateway.request("POST", path, body, headers, slot=1).status == 409
    assert gateway.request("POST", "/kys", b"nonsense", slot=1).status == 400
    assert gateway.get("/readyz").status == 200
    node_id = gateway.get("/api/v1/ring").json()["nodes"][0]["id"]
    assert gateway.request("POST", "/kys", json.dumps({"confirm": node_id}), slot=1).status == 202
    soon(lambda: gateway.get("/readyz").status == 503)
    log = (gateway.folder / "gateway.log").read_text()
    assert f"{node_id} ({gateway.address()}), asked by 127.0.0.1" in log
    gateway.start_node()
    assert gateway.request("POST", "/kys", b"", slot=1).status == 202  # the plain way needs no word


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
    soon(lambda: gateway.get("/api/v1/ring").json()["nodes"][0]["state"] == "left")
    assert gateway.request("POST", f"/api/v1/nodes/{gateway.address()}/join").status == 202
    soon(lambda: gateway.get("/readyz").status == 200)
    node_id = gateway.get("/api/v1/ring").json()["nodes"][0]["id"]
    answer = gateway.request("POST", f"/api/v1/nodes/{gateway.address()}/kill",
                             json.dumps({"confirm": node_id}))
    assert answer.status == 202
    soon(lambda: gateway.get("/api/v1/ring").status == 503)
    problem = gateway.get("/api/v1/ring").json()
    assert problem["nodes"][0]["state"] == "down" and "no node" in problem["detail"]
    assert gateway.get("/api/v1/kv/x").status == 503
    assert gateway.upload("k,v\na,b\n", "?id=nobody-there").status == 503
    assert gateway.get("/api/v1/operations/nobody-there").json()["rows_stored"] == 0
    assert gateway.get("/livez").status == 200
    gateway.start_node()
    soon(lambda: gateway.get("/api/v1/ring").status == 200)


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
    soon(answers)
    soon(lambda: gateway.get(f"/api/v1/nodes/{gateway.address(2)}").json().get("state") == "down")
    assert gateway.get("/readyz").status == 503  # a slot that should run and does not


@pytest.mark.parametrize("environment, command", [
    ({}, "python3 init.py --start 1 --data-dir {}"),
    ({"SUPERVISOR": "systemd"}, "systemctl start chord-node@1"),
])
def test_start_names_who_can(own, environment, command):
    gateway = own(**environment)
    command = command.format(f"'{gateway.folder}/data'")
    answer = gateway.request("POST", f"/api/v1/nodes/{gateway.address(1)}/start")
    assert answer.status == 409 and command in answer.json()["detail"], answer.body
    assert answer.json()["command"] == command


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


def test_token_on_loopback_is_for_changes(own, tmp_path):
    (tmp_path / "token").write_text("a-token-of-16-bytes\n")
    gateway = own("--api-token-file", str(tmp_path / "token")).start_node()
    for path in ("/api/v1/ring", "/api/v1/exports", "/data", "/api/v1/kv/nothing", "/"):
        assert gateway.get(path).status in (200, 404)
    assert gateway.request("POST", "/lookup", b"key=nothing").status == 200  # it reads
    for method, path in (("POST", "/upload"), ("POST", "/api/v1/imports"), ("DELETE", "/api/v1/kv/x"),
                         ("DELETE", "/api/v1/operations/x"), ("POST", f"/api/v1/nodes/{gateway.address()}/leave")):
        assert gateway.request(method, path, b"").status == 401


def test_token_off_loopback_is_for_reads_too(tmp_path):
    """On an address that others can reach; here the one of this machine's network, if it has one."""
    address = own_address()
    if address is None:
        pytest.skip("this machine has no address but loopback")
    for name in ("token", "key"):
        (tmp_path / name).write_text("a-token-of-16-bytes\n")
        (tmp_path / name).chmod(0o600)
    block = PortBlock()
    process = subprocess.Popen(
        [GATEWAY, "--host", address, "--port", str(block.port), "--rpc-port", str(block.rpc_port), "--slots", "1",
         "--data", str(tmp_path / "data"), "--api-token-file", str(tmp_path / "token"),
         "--ring-key-file", str(tmp_path / "key")], stdout=subprocess.PIPE, text=True)

    def status(path, method="GET", **headers):
        connection = http.client.HTTPConnection(address, block.port + (path == "/data"), timeout=20)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        connection.close()
        return answer.status
    try:
        assert process.stdout.readline().startswith("listening")
        reads = ["/api/v1/ring", "/api/v1/nodes", "/api/v1/exports", "/api/v1/events", "/api/v1/kv/x", "/data",
                 "/api/v1/lookups/x", "/api/v1/operations/x", "/api/v1/self", "/lookup?key=x", "/api/v1/version"]

        def check(path):
            assert status(path, Authorization="Bearer a-token-of-16-bytes") not in (401, 429), path
            assert status(path, Cookie="a=b; chord-token=a-token-of-16-bytes") not in (401, 429), path

        for path in reads:
            assert status(path) == 401, path
        for path in reads[:3]:  # each guess is answered more slowly
            assert status(path, Authorization="Bearer wrong") in (401, 429), path
        began = time.monotonic()
        with ThreadPoolExecutor(len(reads)) as pool:
            list(pool.map(check, reads))
        assert time.monotonic() - began < 8  # that no node is there is said soon, by an export too
        assert status("/lookup", "POST") == 401
        assert status("/api/v1/kv/x", "PUT", Cookie="chord-token=a-token-of-16-bytes") == 401  # changes: by header
        for path in ("/livez", "/", "/style.css", "/app.js"):  # what holds nothing of the ring
            assert status(path) == 200, path
        assert status("/readyz") == 503
    finally:
        process.terminate()
        process.wait(20)
        block.close()


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
