# SPDX-License-Identifier: MIT
"""The gateway behind nginx and haproxy with the examples of deploy/README.md: what the page needs.

The text of the examples is taken from there, with the ports put in.
"""

import re
import shutil
import subprocess
from http.client import IncompleteRead
from pathlib import Path

import pytest
from lone_gateway import Answer, soon
from ports import PortBlock
from test_events import Stream

README = Path(__file__).resolve().parents[2] / "deploy" / "README.md"
NAME = "ring.example"
# What a system's own configuration has around the example, as small as it goes.
NGINX = """pid nginx.pid; error_log stderr; daemon off; master_process off;
events {{}}
http {{ access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
uwsgi_temp_path uwsgi; scgi_temp_path scgi;
{example}
}}"""
HAPROXY = """defaults
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s
{example}"""


def example(kind):
    """The block of the README that is marked so."""
    return re.search(rf"```{kind}\n(.*?)```", README.read_text(), re.S).group(1)


class Proxied:
    """Speaks to the proxy as a browser does whose user typed its name."""

    def __init__(self, gateway, port):
        self.gateway, self.port = gateway, port

    def connect(self, timeout=20):
        connection = type(self.gateway.connect())("127.0.0.1", self.port, timeout=timeout)
        request = connection.request
        connection.request = lambda method, path, body=None, headers=None: request(
            method, path, body, {"Host": f"{NAME}:{self.port}", **(headers or {})})
        return connection

    def request(self, method, path, body=None, headers=None):
        connection = self.connect()
        origin = {"Origin": f"http://{NAME}:{self.port}"} if method != "GET" else {}
        connection.request(method, path, body, {**origin, **(headers or {})})
        answer = Answer(connection.getresponse())
        connection.close()
        return answer


@pytest.fixture(params=["nginx", "haproxy"])
def proxied(request, own, tmp_path):
    program = shutil.which(request.param, path="/usr/sbin:/usr/bin:/usr/local/sbin:/sbin")
    if program is None:
        pytest.skip(f"{request.param} is not installed")
    gateway = own(HOST_NAMES=NAME).start_node()
    ports = PortBlock()
    text = example(request.param).replace("3000", str(gateway.port)).replace(":80\n", f":{ports.port}\n")
    text = re.sub(r"listen 80;", f"listen 127.0.0.1:{ports.port};", text)
    config = tmp_path / "proxy.conf"
    config.write_text((NGINX if request.param == "nginx" else HAPROXY).format(example=text))
    command = [program, "-p", f"{tmp_path}/", "-c", str(config)] if request.param == "nginx" else \
        [program, "-db", "-f", str(config)]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    it = Proxied(gateway, ports.port)

    def serves():
        assert process.poll() is None, process.stderr.read()
        try:
            return it.request("GET", "/livez").status == 200
        except ConnectionRefusedError:
            return False
    soon(serves)
    yield it
    process.terminate()  # SIGINT is ignored by what a shell has started in the background
    process.wait(20)
    process.stderr.close()
    ports.close()


def test_page_works(proxied):
    page = proxied.request("GET", "/")
    assert page.status == 200 and b"<html" in page.body
    tag = page.headers["ETag"]
    assert proxied.request("GET", "/", headers={"If-None-Match": tag}).status == 304
    value = b"\x00value" * 100000
    assert proxied.request("PUT", "/api/v1/kv/a%2Fb%20c", value).status == 201
    assert proxied.request("GET", "/api/v1/kv/a%2Fb%20c").body == value
    assert proxied.request("HEAD", "/api/v1/kv/a%2Fb%20c").headers["Content-Length"] == str(len(value))
    assert proxied.request("DELETE", "/api/v1/kv/a%2Fb%20c").status == 204
    rows = "k,v\n" + "".join(f"key-{i},{'v' * 100}\n" for i in range(30000))  # 3 MB
    answer = proxied.request("POST", "/api/v1/imports", rows.encode(), {"Content-Type": "text/csv"})
    assert answer.status == 202 and answer.json()["rows_stored"] == 30000
    assert proxied.request("GET", "/api/v1/exports?format=csv").body.count(b"\n") >= 30001
    stream = Stream(proxied)
    assert stream.status == 200 and stream.next("ring")[1]["nodes"]
    proxied.gateway.nodes[1].kill()
    assert stream.next("node.down")[1]["address"] == proxied.gateway.address()
    stream.close()


def test_foreign_pages_are_refused(proxied):
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
                    {"Origin": f"http://evil-{NAME}"}, {"Origin": f"http://{NAME}.evil.example"}):
        assert proxied.request("PUT", "/api/v1/kv/foreign", b"x", headers).status == 403


@pytest.mark.slow
def test_cut_export_is_a_broken_transfer(proxied):
    """The node is killed in the middle: behind either, with the example's settings, clients see it."""
    rows = "k,v\n" + "".join(f"cut-{i},{'v' * 20000}\n" for i in range(4000))  # 80 MB
    assert proxied.gateway.upload(rows).status == 202
    connection = proxied.connect(timeout=60)
    connection.request("GET", "/api/v1/exports?format=lossless")
    answer = connection.getresponse()
    first = answer.read(1000)
    proxied.gateway.nodes[1].kill()
    with pytest.raises((IncompleteRead, ConnectionResetError)):
        while part := answer.read(1 << 20):
            first = part
    assert b"chord:end" not in first
    connection.close()
