# SPDX-License-Identifier: MIT
"""A node's address is given to another ring: what is meant for the one ring never reaches the
other, by gateway, client or recording; and each says which ring it met."""

import json
import socket
import subprocess
import time

import pytest
from chord_dht import ChordError, envelopes, messages
from kv import RingClient, SpConnection
from ring import BUILD, until
from test_chordctl import NOT_FOUND, Chordctl

KEYS = [f"key-{number}" for number in range(100)]
KEY = "a key of the whole ring"


@pytest.fixture
def node_at(tmp_path):
    """node_at(address, *flags): a node of nobody's launcher; ended with the test."""
    nodes = []

    def start(address, *flags):
        folder = tmp_path / f"apart-{len(nodes)}"
        folder.mkdir()
        with open(folder / "log", "wb") as log:
            node = subprocess.Popen([BUILD / "node" / "chord-node", "--listen", address, "--data",
                                     folder, *flags], stdout=subprocess.PIPE, stderr=log)
        nodes.append(node)
        assert node.stdout.readline().startswith(b"listening")
        return node
    yield start
    for node in nodes:
        end(node)


def end(node):
    if node.poll() is None:
        node.terminate()
        node.wait(30)
    node.stdout.close()


def listens(address):
    host, _, port = address.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def put_all(ring, value):
    for key in KEYS:
        assert ring.put(key, value) in (201, 204)


def check_ring_a(ring, former):
    """All of A's keys are A's, written and read through its gateway."""
    for key in KEYS:
        assert ring.get(key) == (200, b"of A")
    put_all(ring, "of A, again")
    status, body = ring.raw("GET", "/api/v1/exports?format=csv")
    rows = [line for line in body.decode().splitlines() if line.startswith("key-")]
    assert status == 200 and len(rows) == len(KEYS) and all("of A, again" in row for row in rows)
    assert former not in [node["address"] for node in ring.members()]
    put_all(ring, "of A")


def test_a_former_members_address_is_another_rings(new_ring, node_at):
    """The former member was no slot of the launcher's, or one of its own."""
    ring = new_ring(M=32, NUM_OF_NODES=4).start(4)
    put_all(ring, "of A")
    outside = f"127.0.0.1:{ring.settings['RPC_PORT'] + 20}"
    joined = node_at(outside, "--join", ring.address(1))
    ring.wait_healthy(5)
    ctl = Chordctl(ring.address(1))
    ctl.run("leave", outside)
    ring.leave(4)
    ring.wait_healthy(3)
    end(joined)
    ring.stop(4)
    for former in (outside, ring.address(4)):
        node_at(former, "--create", "--m", "32")
        other = Chordctl(former)
        other.run("put", "key-0", "of B", "--timeout", "20000")
        # More view changes than A had, so that its epochs are newer than A's.
        port = int(former.rpartition(":")[2]) + 10
        for turn in range(3):
            guest = node_at(f"127.0.0.1:{port}", "--join", former)
            until(lambda: other.json("ring")["members"] == 2 and other.json("ring")["ideal"], 30,
                  "the guest in B")
            other.run("leave", f"127.0.0.1:{port}")
            until(lambda: other.json("ring")["members"] == 1, 30, "the guest out of B")
            end(guest)
        until(lambda: other.json("ring")["ideal"], 30, "an ideal ring B")
        check_ring_a(ring, former)
        # A gateway that starts anew has only its saved members to begin with.
        ring.end_gateway()
        ring.supervisor.start_gateway()
        until(lambda: len(ring.members()) == 3, 30, lambda: json.dumps(ring.ring()))
        check_ring_a(ring, former)
        assert other.json("ring")["members"] == 1
        assert other.text("get", "key-0") == "of B"
        other.run("get", "key-1", exits=NOT_FOUND)


def test_a_client_belongs_to_one_ring(new_ring, node_at):
    ring = new_ring(M=32).start(1)
    apart = f"127.0.0.1:{ring.settings['RPC_PORT'] + 20}"
    node_at(apart, "--create", "--m", "32")
    kv = messages.load().kv
    with RingClient(apart) as other:
        other.put("key", "of B")
    with RingClient(ring.address(1)) as client:
        client.put("key", "of A")
        belongs = client.ring_id
    with RingClient(apart, ring_id=belongs) as client:
        for ask in (lambda: client.put("key", "again"), lambda: client.get("key"),
                    lambda: client.lookup("key"), client.server_info,
                    lambda: client.once("KvService/Get", kv.GetRequest(key=b"key"), kv.GetResponse)):
            with pytest.raises(ChordError) as error:
                ask()
            assert (error.value.code, error.value.fate) == ("WRONG_RING", "not done")
    with RingClient(apart, ring.address(1), ring_id=belongs) as client:
        assert client.value("key") == b"of A"
    with RingClient(apart) as other:
        assert other.value("key") == b"of B"
    assert Chordctl(ring.address(1)).text("get", "key") == "of A"


class Recorder:
    """Speaks to one node as the owner of the key does, and keeps the bytes."""

    def __init__(self, address):
        self.messages = messages.load()
        self.address = address
        self.envelopes = envelopes.Envelopes(KEY.encode())
        self.connection = SpConnection(address, 5)

    def close(self):
        self.connection.close()

    def send(self, data, connection=None):
        """The code's name of the answer to the bytes of a request."""
        answer = (connection or self.connection).call(data, time.monotonic() + 10)
        response = self.messages.envelope.RpcResponse.FromString(answer)
        return self.messages.envelope.Code.Name(response.code), answer

    def call(self, method, request):
        """The bytes of a request that was executed."""
        for _ in range(2):
            sealed = self.envelopes.seal(self.address, f"chord.v1.{method}", request.SerializeToString(), 5000)
            code, answer = self.send(sealed.SerializeToString())
            self.envelopes.open(self.address, sealed, answer)
            if code != "CODE_CHALLENGE":
                assert code == "CODE_OK", code
                return sealed.SerializeToString()
        raise AssertionError("challenged twice")


def test_a_recorded_call_works_once(new_ring, tmp_path):
    """An attacker between nodes and people sends again what it has seen: a put without anything
    that tells copies apart, and a leave; to the same node, to another, after a restart."""
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    path.chmod(0o600)
    ring = new_ring(RING_KEY_FILE=path, M=32).start(4)
    recorder = Recorder(ring.address(1))
    kv, admin = recorder.messages.kv, recorder.messages.admin
    put = kv.PutRequest(operation=kv.Operation(kind=kv.OPERATION_KIND_PUT, key=b"k", value=b"old"))
    recorded = recorder.call("KvService/Put", put)
    put.operation.value = b"new"
    recorder.call("KvService/Put", put)

    def replayed(data):
        codes = {recorder.send(data)[0] for _ in range(3)}
        for slot in (1, 2, 3):
            connection = SpConnection(ring.address(slot), 5)
            codes |= {recorder.send(data, connection)[0] for _ in range(2)}
            connection.close()
        return codes

    assert replayed(recorded) == {"CODE_CHALLENGE"}
    assert ring.get("k") == (200, b"new")
    left = Recorder(ring.address(4))
    leave = left.call("AdminService/Leave", admin.AdminLeaveRequest())
    until(lambda: ring.node(4)["state"] == "left", 30, "node 4 leaves")
    assert replayed(leave) == {"CODE_CHALLENGE"}
    left.close()
    recorder.close()
    ring.stop(1)
    ring.start_node(1)
    until(lambda: ring.node(1)["state"] == "member", 30, "node 1 is back")
    until(lambda: listens(ring.address(1)), 20, "node 1 listens again")
    recorder = Recorder(ring.address(1))
    assert replayed(recorded) == {"CODE_CHALLENGE"} == replayed(leave)
    recorder.close()
    assert ring.get("k") == (200, b"new")
    ring.wait_healthy(3)


def test_a_gateway_follows_all_of_its_hosts_nodes(new_ring, node_at):
    """While one of them is of the former ring it stays; then it says from where to where."""
    ring = new_ring(M=32, NUM_OF_NODES=2).start(2)
    ring.wait_healthy(2)
    before = ring.ring()["ring_id"]
    ring.stop(1)
    node_at(ring.address(1), "--create", "--m", "32")
    until(lambda: ring.node(1)["state"] == "foreign", 20, lambda: f"foreign: {ring.node(1)}")
    assert ring.ring()["ring_id"] == before
    ring.stop(2)
    node_at(ring.address(2), "--join", ring.address(1))
    ring.wait_healthy(2)
    after = ring.ring()["ring_id"]
    log = (ring.data_dir / "gateway.log").read_text()
    assert after != before
    assert f"WARN ring this host's nodes are in ring {after} now, before in {before}" in log, log
