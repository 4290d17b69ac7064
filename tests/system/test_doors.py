# SPDX-License-Identifier: MIT
"""Who may do what, and who is not let in: roles of tokens, their file while it changes, the audit log,
one-time links, and starts where others could reach a program without secrets."""

import os
import re
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from launcher import tokens
from lone_gateway import GATEWAY, Gateway, soon
from ports import PortBlock, own_address
from ring import BUILD, ROOT

READER, WRITER, OPERATOR = "C0x7mZ1rTq9LwYb2", "Jt4Xo9qHs6VnKd3e", "Zp8Rw5uGc2MfEa7i"
ROLES = f"# of the test\nreader {READER} grafana\nwriter {WRITER}\noperator {OPERATOR} alice\n"
RANKS = {"reader": READER, "writer": WRITER, "operator": OPERATOR}


def bearer(token):
    return {"Authorization": f"Bearer {token}"} if token else {}


def secret(path, text):
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def log_of(gateway):
    return (gateway.folder / "gateway.log").read_text()


def audit_of(gateway, count=None):
    """Its lines, once there are so many: an answer comes before its line."""
    path = gateway.folder / "data" / "audit.log"

    def lines():
        return path.read_text().splitlines() if path.exists() else []
    if count is not None:
        soon(lambda: len(lines()) >= count)
    return lines()


@pytest.fixture(scope="module")
def roles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("roles")
    it = Gateway(folder, "--api-token-file", secret(folder / "tokens", ROLES)).start()
    try:
        yield it.start_node()
    finally:
        it.close()


# Roles

@pytest.mark.parametrize("needs, method, path, slot", [
    ("writer", "PUT", "/api/v1/kv/role", 0), ("writer", "DELETE", "/api/v1/kv/role", 0),
    ("writer", "PUT", "/api/v1/kv?key=role", 0), ("writer", "POST", "/api/v1/imports", 0),
    ("writer", "POST", "/upload", 0), ("writer", "DELETE", "/api/v1/operations/nothing", 0),
    ("operator", "POST", "/api/v1/nodes/nobody/leave", 0), ("operator", "POST", "/api/v1/nodes/nobody/join", 0),
    ("operator", "POST", "/api/v1/nodes/nobody/start", 0), ("operator", "POST", "/api/v1/nodes/nobody/kill", 0),
    ("operator", "POST", "/kys?confirm=nobody", 1), ("operator", "POST", "/leave", 0), ("operator", "POST", "/join", 0),
    ("operator", "POST", "/api/v1/something/new", 0),  # what no route says is not for writers
])
def test_roles(roles, needs, method, path, slot):
    ranks = list(RANKS)
    for role in [None, *ranks]:
        answer = roles.request(method, path, b"", bearer(RANKS.get(role)), slot=slot)
        if role is None:
            assert answer.status == 401 and answer.headers["WWW-Authenticate"] == "Bearer"
        elif ranks.index(role) < ranks.index(needs):
            problem = answer.json()
            assert answer.status == 403 and answer.headers["Content-Type"] == "application/problem+json"
            assert problem["needed_role"] == needs and problem["code"] == "PERMISSION_DENIED"
            assert f"needs the role {needs}" in problem["detail"] and f"the role {role}" in problem["detail"]
        else:
            assert answer.status not in (401, 403, 429), (role, answer.status, answer.body)


def test_a_role_is_not_of_a_cookie(roles):
    """The cookie that pages set for downloads makes no change, whatever its token may."""
    for cookie in (f"chord-token={OPERATOR}", f"chord-session-{roles.port}={OPERATOR}", "chord-session=x"):
        assert roles.request("POST", "/leave", b"", {"Cookie": cookie}).status == 401
    assert roles.request("POST", "/lookup", b"key=x").status == 200  # it reads


def test_readers_read_where_others_reach_the_address(tmp_path):
    address = own_address()
    if address is None:
        pytest.skip("this machine has no address but loopback")
    gateway = Gateway(tmp_path, "--host", address, "--api-token-file", secret(tmp_path / "tokens", ROLES),
                      "--ring-key-file", secret(tmp_path / "key", "a ring key for the test\n"))
    gateway.host = address
    gateway.start()
    try:
        assert gateway.get("/api/v1/self").status == 401
        for token in RANKS.values():
            assert gateway.get("/api/v1/self", headers=bearer(token)).status == 200
            assert gateway.get("/api/v1/self", headers={"Cookie": f"chord-token={token}"}).status == 200
        assert gateway.get("/api/v1/self", headers=bearer("C0x7mZ1rTq9LwYb3")).status == 401
        streams = {}
        for role in ("reader", "operator"):
            link = gateway.connect(timeout=20)
            link.request("GET", "/api/v1/events", headers=bearer(RANKS[role]))
            streams[role] = link.getresponse()
        secret(tmp_path / "tokens", ROLES.replace(READER, "Vn2Kd3eJt4Xo9qHs"))
        assert streams["reader"].read().startswith(b"retry:")  # to its end: its token was taken back
        assert streams["operator"].status == 200 and not streams["operator"].isclosed()
    finally:
        gateway.close()


# The file

BAD_FILES = [
    "", "# nothing\n", "short\n", "reader short\n", f"reader {READER}\n\nwriter passwordpasswordpass\n",
    f"reader {READER}\nwriter {READER}\n", f"reeder {READER}\n", f"reader {READER} two words\n",
    f"reader {READER} näme\n", f"{READER}\nreader {WRITER}\n", f"#\n{READER}\n", f"reader {READER[:9]}\x01{READER[9:]}\n",
    "".join(f"reader {READER}{number:03}\n" for number in range(65)), f"reader {READER}{'5' * 250}\n", "#" * 40000,
]


def test_the_launcher_and_the_gateway_refuse_the_same_files(tmp_path):
    """In the same words, with the line and without the token."""
    def said(number, text):
        path = secret(tmp_path / f"tokens-{number}", text)
        done = subprocess.run([GATEWAY, "--data", tmp_path / "data", "--api-token-file", path],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2, (text[:100], done.stderr)
        return done.stderr

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(said, range(len(BAD_FILES)), BAD_FILES))
    for text, answer in zip(BAD_FILES, answers):
        with pytest.raises(ValueError) as refusal:
            tokens.parse(text.encode())
        assert str(refusal.value) in answer and READER not in answer, (text[:100], answer)
    assert not (tmp_path / "data").exists()


def test_the_file_is_read_again(own, tmp_path):
    path = tmp_path / "tokens"
    gateway = own("--api-token-file", secret(path, READER + "\n")).start_node()  # alone: an operator's

    def status(token):
        return gateway.request("POST", "/leave", b"", bearer(token)).status

    assert status(READER) not in (401, 403)
    secret(path, ROLES)
    soon(lambda: status(READER) == 403)
    assert status(OPERATOR) not in (401, 403)
    for text in (f"reader {READER}\nwriter weak\n", None):  # broken or gone: all stays as it was
        before = log_of(gateway).count("the former tokens stay")
        path.unlink() if text is None else secret(path, text)
        soon(lambda: log_of(gateway).count("the former tokens stay") == before + 1)
        assert status(OPERATOR) not in (401, 403) and status(READER) == 403
    time.sleep(1.1)  # what is broken is told once, not each time that it is looked at
    secret(path, f"operator {WRITER}\n")
    soon(lambda: status(WRITER) not in (401, 403))
    assert status(OPERATOR) in (401, 429)
    assert log_of(gateway).count("the former tokens stay") == 2
    assert f"{path}" in log_of(gateway) and "line 2: the token is too short" in log_of(gateway)
    assert not [token for token in RANKS.values() if token in log_of(gateway)]


# The audit log

def test_audit(own, tmp_path):
    gateway = own("--api-token-file", secret(tmp_path / "tokens", ROLES)).start_node()
    kill = f"/api/v1/nodes/{gateway.address()}/kill"
    told = 0
    for method, path, token, slot, has_line in (
            ("POST", kill, OPERATOR, 0, 1), ("POST", kill, READER, 0, 1), ("POST", kill, None, 0, 1),
            ("POST", kill, "wrong", 0, 1), ("POST", "/kys?confirm=a-secret", WRITER, 1, 1),
            ("PUT", "/api/v1/kv/by-hand", OPERATOR, 0, 1), ("PUT", "/api/v1/kv/by-a-program", WRITER, 0, 0),
            ("PUT", "/api/v1/kv/x", READER, 0, 0), ("GET", "/api/v1/ring", OPERATOR, 0, 0)):
        gateway.request(method, path, b"", bearer(token), slot=slot)
        told += has_line
        audit_of(gateway, told)
    gateway.request("POST", "/leave", b"", {**bearer(OPERATOR), "Origin": "http://evil.example"})
    lines = audit_of(gateway, told + 1)
    stamp = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ")
    assert all(stamp.match(line) for line in lines)
    assert [stamp.sub("", line, 1) for line in lines] == [
        f"alice operator 127.0.0.1 POST :{gateway.port}{kill} 400",
        f"grafana reader 127.0.0.1 POST :{gateway.port}{kill} 403",
        f"- - 127.0.0.1 POST :{gateway.port}{kill} 401", f"- - 127.0.0.1 POST :{gateway.port}{kill} 401",
        f"writer-3 writer 127.0.0.1 POST :{gateway.port + 1}/kys 403",
        f"alice operator 127.0.0.1 PUT :{gateway.port}/api/v1/kv/by-hand 201",
        f"- - 127.0.0.1 POST :{gateway.port}/leave 403"]
    assert stat.S_IMODE((gateway.folder / "data" / "audit.log").stat().st_mode) == 0o600


def test_audit_is_bounded(own, tmp_path):
    """In size; and strangers cannot push out what happened."""
    gateway = own("--api-token-file", secret(tmp_path / "tokens", ROLES)).start_node()
    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(lambda _: gateway.request("POST", "/leave", b"").status, range(300)))
    assert set(statuses) == {401}
    assert 20 <= len(audit_of(gateway)) < 60
    gateway.request("PUT", "/api/v1/kv/" + "k" * 1000, b"", bearer(OPERATOR))
    soon(lambda: re.search(r"kkk\.\.\. 201 \(\d+ refused before it have no line\)$", audit_of(gateway)[-1]))
    path = gateway.folder / "data" / "audit.log"
    os.truncate(path, 16 * 1024 * 1024 + 1)
    gateway.request("PUT", "/api/v1/kv/k", b"", bearer(OPERATOR))
    soon(lambda: len(audit_of(gateway)) == 1)
    assert path.with_name("audit.log.1").stat().st_size > 16 * 1024 * 1024


def test_without_tokens_the_ring_s_changes_are_told(own):
    gateway = own().start_node()
    gateway.request("PUT", "/api/v1/kv/k", b"")
    status = gateway.request("POST", "/leave", b"").status
    assert [line.split()[1:] for line in audit_of(gateway, 1)] == [
        ["-", "-", "127.0.0.1", "POST", f":{gateway.port}/leave", str(status)]]


# One-time links

CODE = "a-code-of-more-than-twenty-bytes"


def code_put(gateway, code=CODE, seconds=300, mode=0o600):
    path = gateway.folder / "data" / "login"
    path.write_text(f"{code} {int(time.time()) + seconds}\n")
    path.chmod(mode)
    return path


def log_in(gateway, code=CODE, **headers):
    return gateway.request("POST", "/api/v1/session", f'{{"code": "{code}"}}', headers)


def same_origin(gateway, cookie, **more):
    return {"Cookie": cookie, "Origin": f"http://127.0.0.1:{gateway.port}", **more}


def test_link(own, tmp_path):
    gateway = own("--api-token-file", secret(tmp_path / "tokens", ROLES)).start_node()
    file = code_put(gateway)
    assert log_in(gateway, "another-code-of-more-than-twenty").status == 401 and file.exists()
    answer = log_in(gateway)
    assert answer.status == 201 and answer.json()["role"] == "operator" and not file.exists()
    name, _, rest = answer.headers["Set-Cookie"].partition("=")
    value, *attributes = rest.split("; ")
    assert name == f"chord-session-{gateway.port}" and re.fullmatch("[0-9a-f]{64}", value)
    assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"} == set(attributes)
    assert log_in(gateway).status == 401  # once

    cookie = f"other=1; {name}={value}"
    assert gateway.request("PUT", "/api/v1/kv/k", b"v", same_origin(gateway, cookie)).status == 201
    assert gateway.request("PUT", "/api/v1/kv/k", b"v", {"Cookie": cookie, "Sec-Fetch-Site": "same-origin"}).status == 204
    # A cookie alone does not say which page asks, and another port of this host is another page.
    assert gateway.request("POST", "/leave", b"", {"Cookie": cookie}).status == 401
    for origin in (f"http://127.0.0.1:{gateway.port + 1}", "http://evil.example", "null"):
        assert gateway.request("POST", "/leave", b"", {"Cookie": cookie, "Origin": origin}).status == 403
    # The most that a request carries counts: a page may still hold a reader's token, or one that is gone.
    for token in (READER, "gone"):
        assert gateway.request("PUT", "/api/v1/kv/k", b"v", same_origin(gateway, cookie, **bearer(token))).status == 204
    assert sorted(line.split()[1:4] + line.split()[-1:] for line in audit_of(gateway) if "/session" in line) == [
        ["-", "-", "127.0.0.1", "401"], ["-", "-", "127.0.0.1", "401"], ["link", "operator", "127.0.0.1", "201"]]
    assert CODE not in log_of(gateway) + "".join(audit_of(gateway)) and value not in log_of(gateway)

    answer = gateway.request("DELETE", "/api/v1/session", headers=same_origin(gateway, cookie))
    assert answer.status == 204 and "Max-Age=0" in answer.headers["Set-Cookie"]
    assert gateway.request("PUT", "/api/v1/kv/k", b"v", same_origin(gateway, cookie)).status == 401


def test_links_that_are_none(own, tmp_path):
    gateway = own("--api-token-file", secret(tmp_path / "tokens", ROLES)).start_node()
    for change in ({"seconds": -1}, {"seconds": 3600}, {"code": "short"}, {"mode": 0o644}):
        code_put(gateway, **change)
        assert log_in(gateway, change.get("code", CODE)).status == 401, change
    code_put(gateway)
    assert log_in(gateway, Origin="http://evil.example").status == 403
    for body in (b"", b"{}", b'{"code": 1}', b'{"code": ""}', b"[[[[", b"x" * 5000):
        assert gateway.request("POST", "/api/v1/session", body).status in (401, 429), body[:20]
    assert log_in(gateway, CODE + "\\u0000").status in (401, 429)
    answer = log_in(gateway, Origin=f"http://127.0.0.1:{gateway.port}")
    assert answer.status == 201  # none of these took it


def test_two_browsers_and_one_link(own, tmp_path):
    gateway = own("--api-token-file", secret(tmp_path / "tokens", ROLES)).start_node()
    for _ in range(3):
        code_put(gateway)
        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(lambda _: log_in(gateway).status, range(8)))
        assert statuses.count(201) == 1, statuses


def test_init_prints_a_link(start_init, tmp_path):
    old = os.umask(0)
    try:
        init = start_init("--api-token-file", secret(tmp_path / "tokens", ROLES), nodes=1)
    finally:
        os.umask(old)
    links = [init.wait_event("ready")["login_link"]]
    answer = init.order("--api-token-file", str(tmp_path / "tokens"), "--link")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    links += re.findall(r"http://[^\s\"]+", answer.stdout)[:1]
    assert stat.S_IMODE((tmp_path / "data" / "login").stat().st_mode) == 0o600
    gateway = Gateway(tmp_path)  # that init.py's, from now on
    gateway.ports.close()
    gateway.port = init.ports.port
    for link, status in zip([links[0], links[1], links[1]], (401, 201, 401), strict=True):
        page, _, code = link.partition("/#login=")
        assert page == f"http://127.0.0.1:{init.ports.port}" and len(code) >= 30
        assert log_in(gateway, code).status == status, link  # the later one took the place of the first
    assert len(audit_of(gateway, 3)) == 3
    paths = [tmp_path / "data", *(tmp_path / "data").rglob("*")]
    assert {"supervisor.sock", "audit.log", "gateway.log", "node.log", "stderr.log"} <= {path.name for path in paths}
    assert not [path for path in paths if path.lstat().st_mode & 0o077]
    assert init.end() == 0


@pytest.mark.slow
def test_init_where_others_reach_it(start_init, tmp_path):
    """Reads need a token there, init.py's too. (A node that makes a ring there listens for 7 s first.)"""
    address = own_address()
    if address is None:
        pytest.skip("this machine has no address but loopback")
    init = start_init("--host", address, "--api-token-file", secret(tmp_path / "tokens", ROLES),
                      "--ring-key-file", secret(tmp_path / "key", "a ring key for the test\n"), nodes=1)
    assert init.wait_event("ready")["login_link"].startswith(f"http://{address}:")
    assert init.end() == 0


# Starts where others could reach the program

def start_of(program, host, ports, folder):
    return [str(part) for part in {
        "node": [BUILD / "node" / "chord-node", "--listen", f"{host}:{ports.rpc_port + 1}", "--data", folder, "--create"],
        "gateway": [GATEWAY, "--host", host, "--port", ports.port, "--data", folder],
        "init.py": [sys.executable, ROOT / "init.py", "--build", BUILD.absolute(), "--host", host, "--port", ports.port,
                    "--data-dir", folder, "--env-file", ROOT / ".env"]}[program]]


@pytest.mark.parametrize("program, given, missing", [
    ("node", None, ["RING_KEY_FILE"]), ("gateway", None, ["RING_KEY_FILE", "API_TOKEN_FILE"]),
    ("gateway", "--ring-key-file", ["API_TOKEN_FILE"]), ("gateway", "--api-token-file", ["RING_KEY_FILE"]),
    ("init.py", None, ["RING_KEY_FILE", "API_TOKEN_FILE"]), ("init.py", "--ring-key-file", ["API_TOKEN_FILE"])])
def test_no_program_starts_open_to_others(tmp_path, program, given, missing):
    """Each refuses in one sentence that names the fix; one secret of two is none."""
    ports, data = PortBlock(), tmp_path / "data"
    more = [given, secret(tmp_path / "given", f"operator {OPERATOR}\n")] if given else []
    # Of documentation, of somebody, beside Tailscale's, of a private network, a name.
    hosts = ["192.0.2.1", "8.8.8.8", "100.128.0.1", "100.63.255.255", "10.0.0.1", "ring.example"]
    for host in hosts[:1] if program == "init.py" else hosts:
        done = subprocess.run([*start_of(program, host, ports, data), *more], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60)
        said = done.stderr.strip()
        assert done.returncode == 2 and "\n" not in said, (host, done.stdout, said)
        assert all(name in said for name in [*missing, host, "127.0.0.1"]), said
    ports.close()
    assert not list(tmp_path.rglob("*.db"))


# The threat model (deploy/SECURITY.md)

def test_the_threat_model_names_tests_that_are_there():
    text = (ROOT / "deploy" / "SECURITY.md").read_text()
    table = text[text.index("## Who may attack"):text.index("## If you have found")]
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("|")][2:]
    built = "".join(path.read_text() for path in (ROOT / "tests" / "unit").glob("*.cmake"))
    assert len(rows) > 15
    for row in rows:
        named = re.findall("`([^`]+)`", row[3])
        assert len(row) == 4 and named, row
        for test in named:
            if test.startswith("ctest -R "):
                assert re.search(rf"\b{test.removeprefix('ctest -R ')}\b", built), test
                continue
            file, _, words = test.partition(" -k ")
            names = re.findall(r"^def (test_\w+)", (ROOT / "tests" / "system" / file).read_text(), re.MULTILINE)
            for choice in words.strip("'").split(" or "):
                assert any(all(word in f"{file} {name}" for word in choice.split(" and ")) for name in names), test
