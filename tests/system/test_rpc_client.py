# SPDX-License-Identifier: MIT
"""The Python client of proto/clients against live nodes: the wire format as outsiders use it, with no
nng and no generated C in between."""

import base64
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import chord_dht
import pytest
from chord_dht import ChordError, Delete, Get, Put, Version, fates, messages
from chord_dht.envelopes import PROTOCOL_VERSION
from chord_dht.hints import Hints
from kv import RingClient, code_of
from ring import Ring

PACKAGE = Path(chord_dht.__file__).parent
COMMAND = (sys.executable, "-m", "chord_dht")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    """One for the tests that leave it as it was, each with keys of its own."""
    made = Ring(tmp_path_factory.mktemp("rpc"))
    try:
        yield made.start(3)
    finally:
        made.close()


def addresses(ring):
    return [ring.address(slot) for slot in (1, 2, 3)]


def test_put_get_delete_at_every_node(ring):
    for number, address in enumerate(addresses(ring)):
        with RingClient(address) as client:
            key, value = os.urandom(20), os.urandom(1000)
            assert client.get(key) is None
            first = client.put(key, value)
            second = client.put(key, value + b"2")
            assert (first.existed, second.existed) == (False, True)
            assert first.version < second.version == client.get(key).version
            assert client.value(key) == value + b"2" and not client.get(key).stale
            assert client.value(key, stale=True) in (value, value + b"2", None)
            assert client.delete(key).existed
            assert client.get(key) is None
            assert not client.delete(key).existed
            assert not client.put(f"empty-{number}", b"").existed
            assert client.value(f"empty-{number}") == b""


def test_conditions(ring):
    with RingClient(*addresses(ring)) as client:
        first = client.put("c", "1", if_absent=True).version
        for condition in ({"if_absent": True}, {"if_version": Version(first.epoch, 99)}):
            with pytest.raises(ChordError) as error:
                client.put("c", "2", **condition)
            assert (error.value.code, error.value.fate) == ("FAILED_PRECONDITION", "not done")
            assert error.value.version == first
        second = client.put("c", "2", if_version=first).version
        with pytest.raises(ChordError):
            client.delete("c", if_version=first)
        assert client.value("c") == b"2"
        assert client.delete("c", if_version=second).existed
        with pytest.raises(ChordError) as error:
            client.put("c", "3", if_absent=True, if_version=second)
        assert error.value.code == "INVALID_ARGUMENT"


def test_an_expired_value_is_gone(ring):
    with RingClient(*addresses(ring)) as client:
        now = int(time.time() * 1000)
        client.put("later", "v", expires_at_ms=now + 100_000)
        client.put("past", "v", expires_at_ms=now - 1000)
        assert client.get("later").expires_at_ms == now + 100_000
        assert client.get("past") is None


def test_an_interpreter_without_protobuf_names_the_package():
    run = subprocess.run([sys.executable, "-S", "-m", "chord_dht", "127.0.0.1:1", "get", "key"],
                         capture_output=True, text=True, timeout=30, env=ENVIRONMENT)
    assert (run.returncode, run.stderr.count("\n")) == (2, 1), run.stderr
    assert "python3-protobuf" in run.stderr and sys.executable in run.stderr


def test_largest_key_and_value(ring):
    with RingClient(*addresses(ring)) as client:
        key, value = b"k" * 1024, os.urandom(1024 * 1024)
        client.put(key, value)
        assert client.value(key) == value
        before = client.requests_sent
        for wrong in ((b"k" * 1025, b""), (b"", b""), (b"k", bytes(1024 * 1024 + 1))):
            with pytest.raises(ChordError) as refused:
                client.put(*wrong)
            assert (refused.value.code, refused.value.fate) == ("INVALID_ARGUMENT", "not done")
        assert client.requests_sent == before


def test_batch_mixes_operations(ring):
    with RingClient(*addresses(ring)) as client:
        keys = [f"batch-{number}" for number in range(100)]
        assert {result.code for result in client.batch([Put(key, key) for key in keys])} == {"OK"}
        read, deleted, nothing, wrong, again = client.batch(
            [Get(keys[0]), Delete(keys[1]), Get("nothing there"), Get(""), Put(keys[1], "2")])
        assert read.value == keys[0].encode()
        assert deleted.code == "OK" and again.code == "OK"  # of one key, in whatever order
        assert (nothing.code, nothing.fate) == ("NOT_FOUND", "done")
        assert (wrong.code, wrong.fate) == ("INVALID_ARGUMENT", "not done")


def test_values_that_do_not_fit_into_one_answer(ring):
    with RingClient(*addresses(ring)) as client:
        values = {f"large-{number}": os.urandom(300_000) for number in range(12)}
        assert {one.code for one in client.batch([Put(*row) for row in values.items()])} == {"OK"}
        read = client.batch([Get(key) for key in values])
        assert [one.value for one in read] == list(values.values())


def test_a_key_is_one_request_away(ring):
    """M and the first answer of each range tell the way; many requests share a connection."""
    keys = [f"straight-{number}" for number in range(60)]
    with RingClient(ring.address(1)) as client:
        client.batch([Get(key) for key in keys])  # the leaders
        before = client.requests_sent
        with ThreadPoolExecutor(30) as pool:
            list(pool.map(lambda key: client.put(key, key), keys))
        assert client.requests_sent - before == len(keys)
        kv = client.messages.kv
        for key in keys:
            request = kv.BatchRequest(no_forward=True, operations=[
                kv.Operation(kind=kv.OPERATION_KIND_GET, key=key.encode())])
            leader = client._client._core.hints.address(key.encode())
            answer = client.once("KvService/Batch", request, kv.BatchResponse, leader)
            assert code_of(answer.results[0]) == "OK"


def test_sixteen_writers_of_one_key_cost_one_request_a_put(ring):
    """Also where each names the version that it replaces: who comes too late is told at once."""
    with RingClient(*addresses(ring)) as client:
        client.put("hot", "first")
        before = client.requests_sent
        with ThreadPoolExecutor(16) as pool:
            written = list(pool.map(lambda number: client.put("hot", str(number)), range(160)))
        assert len({one.version for one in written}) == 160
        sent = client.requests_sent - before

        def replace(number):
            try:
                return client.put("hot", "mine", if_version=client.get("hot").version).version
            except ChordError as error:
                assert (error.code, error.fate) == ("FAILED_PRECONDITION", "not done")
                return None
        before = client.requests_sent
        with ThreadPoolExecutor(16) as pool:
            won = [version for version in pool.map(replace, range(80)) if version]
        print(f"{sent / 160:.2f} requests a put; {len(won)} of 80 conditions held, "
              f"{(client.requests_sent - before) / 160:.2f} requests an operation")
        assert sent <= 1.1 * 160 and client.requests_sent - before <= 1.1 * 160
        assert won and len(set(won)) == len(won)


def test_no_forward_answers_what_is_led(ring):
    """One node after the other: each answers its own keys, and says of the others who leads them."""
    keys = [f"nf-{number}" for number in range(60)]
    with RingClient(*addresses(ring)) as client:
        kv = client.messages.kv
        client.batch([Put(key, key) for key in keys])
        led = {}
        for address in addresses(ring):
            request = kv.BatchRequest(no_forward=True, operations=[
                kv.Operation(kind=kv.OPERATION_KIND_GET, key=key.encode()) for key in keys])
            answer = client.once("KvService/Batch", request, kv.BatchResponse, address)
            hints = Hints()
            hints.m = client.server_info().m
            for hint in answer.hints:
                hints.learn(hint)
            for key, result in zip(keys, answer.results):
                if code_of(result) == "OK":
                    assert led.setdefault(key, address) == address and result.value == key.encode()
                else:
                    assert code_of(result) == "OUT_OF_RANGE"
                    assert hints.address(key.encode()) in set(addresses(ring)) - {address}
        assert set(led) == set(keys) and len(set(led.values())) > 1


def refused(client, **operation):
    kv = client.messages.kv
    request = kv.PutRequest(operation=kv.Operation(kind=kv.OPERATION_KIND_PUT, key=b"k", **operation))
    with pytest.raises(ChordError) as error:
        client.once("KvService/Put", request, kv.PutResponse)
    return error.value.code, error.value.message


def test_what_a_write_may_not_say(ring):
    with RingClient(*addresses(ring)) as client:
        kv, common, code = client.messages.kv, client.messages.common, client.messages.envelope
        for length in (1, 15, 17):
            assert refused(client, op_id=bytes(length)) == (
                "INVALID_ARGUMENT", "an op_id has 16 bytes, or none")
        both = kv.Precondition(version=common.Version(epoch=1, counter=1), absent=True)
        assert refused(client, precondition=both)[0] == "INVALID_ARGUMENT"
        operation = kv.Operation(kind=kv.OPERATION_KIND_PUT, key=b"k", value=b"1", op_id=bytes(16),
                                 seen=common.Version())

        def put():
            return client.once("KvService/Put", kv.PutRequest(operation=operation),
                               kv.PutResponse).result
        first = put()
        client.put("k", "2")
        again = put()  # somebody has written since
        assert (again.code, again.version, again.existed) == (code.CODE_OK, first.version, False)
        operation.value = b"3"
        assert put().code == code.CODE_INVALID_ARGUMENT
        delete = kv.DeleteRequest(operation=kv.Operation(kind=kv.OPERATION_KIND_DELETE, key=b"k",
                                                         op_id=bytes(16), seen=common.Version()))
        assert client.once("KvService/Delete", delete,
                           kv.DeleteResponse).result.code == code.CODE_INVALID_ARGUMENT
        assert client.value("k") == b"2"


def test_lookup_names_the_owner_of_every_key(ring):
    owners = set()
    for address in addresses(ring):
        with RingClient(address) as client:
            found = client.lookup("a key")
            assert found.hops and found.hops[0].node.address == address
            owners.add(found.owner.address)
    assert len(owners) == 1 and owners <= set(addresses(ring))


def test_status_of_each_node(ring):
    with RingClient(*addresses(ring)) as client:
        for address in addresses(ring):
            status = client.status(address)
            assert status.self.address == address
            assert status.state == client.messages.common.NODE_STATE_MEMBER


def test_server_info_and_descriptors_match_this_contract(ring):
    with RingClient(*addresses(ring)) as client:
        meta = client.messages.meta
        info = client.server_info()
        assert info.protocol_version == PROTOCOL_VERSION
        assert (info.m, info.n, info.replicas, len(info.ring_id)) == (6, 3, 3, 16)
        assert "chord.v1.KvService/Batch" in info.methods
        from google.protobuf.descriptor_pb2 import FileDescriptorSet
        answer = client.once("MetaService/GetFileDescriptorSet",
                             meta.GetFileDescriptorSetRequest(),
                             meta.GetFileDescriptorSetResponse)
        files = FileDescriptorSet.FromString(answer.file_descriptor_set).file
        services = {f"{file.package}.{service.name}/{method.name}" for file in files
                    for service in file.service for method in service.method}
        assert services == set(info.methods)


def test_goes_on_to_the_next_address_when_one_is_dead(new_ring):
    ring = new_ring().start(3)
    with RingClient(*addresses(ring), timeout=20) as client:
        client.put("survivor", "value")
        ring.kill(1)
        assert client.value("survivor") == b"value"
        client.put("survivor", "value 2")
        assert client.value("survivor") == b"value 2"


def test_command_line(ring):
    def run(*arguments, address=ring.address(1), stdin=None):
        done = subprocess.run([*COMMAND, address, *arguments], input=stdin,
                              capture_output=True, timeout=60, env=ENVIRONMENT)
        return done.returncode, done.stdout

    assert run("put", "fruit", "apple") == (0, b"new\n")
    assert run("put", "fruit", "-", stdin=b"\x00\xff") == (0, b"replaced\n")
    assert run("get", "fruit") == (0, b"\x00\xff")
    assert run("lookup", "fruit")[0] == 0
    assert run("status")[0] == 0
    assert run("delete", "fruit") == (0, b"deleted\n")
    assert run("get", "fruit") == (1, b"")
    assert run("get")[0] == 2
    nobody = f"127.0.0.1:{ring.ports.port - 1}"
    assert run("--timeout", "0.5", "get", "fruit", address=nobody)[0] == 3


def test_codes_mean_what_the_shared_table_says():
    """proto/clients/fates.csv, which the C client is held to as well (tests/unit/test_client.c)."""
    names = {name.removeprefix("CODE_") for name in messages.load().envelope.Code.keys()}
    assert set(fates.FATES) == names
    again = {code for code, outcome in fates.FATES.items() if outcome.again == fates.LATER}
    assert {code for code in again if fates.FATES[code].fate == fates.NOT_DONE} == {
        "UNAVAILABLE", "RESOURCE_EXHAUSTED", "CHALLENGE"}
    assert {code for code in again if fates.FATES[code].fate == fates.MAYBE_DONE} == {
        "UNKNOWN", "DEADLINE_EXCEEDED", "CANCELLED"}


def test_the_conformance_driver_speaks_its_protocol(ring):
    """One answer to each line, in any order; it ends with its input. The cases that all clients
    share: test_conformance.py."""
    key, value = (base64.b64encode(text).decode() for text in (b"driver", b"\0\xff"))
    asked = [
        {"do": "get", "key": key}, {"do": "open", "members": [ring.address(2)], "timeout_ms": 20000},
        {"do": "put", "key": key, "value": value, "if_absent": True},
        {"do": "batch", "operations": [{"do": "get", "key": ""}, {"do": "get", "key": key + "=x"},
                                       {"do": "delete", "key": key, "if_version": "1.999"}]},
        {"do": "lookup", "key": key}, {"do": "server_info"}, {"do": "nonsense"}, {"do": "counters"},
        {"do": "call", "method": "chord.v1.KvService/Nothing", "payload": ""}]
    lines = "".join(json.dumps({"id": at, **one}) + "\n" for at, one in enumerate(asked))
    done = subprocess.run([sys.executable, "-X", "dev", "-m", "chord_dht.conformance"], text=True,
                          input=lines + "no json\n", capture_output=True, timeout=60, env=ENVIRONMENT)
    assert (done.returncode, done.stderr) == (0, "")
    told = {answer.pop("id"): answer for answer in map(json.loads, done.stdout.splitlines())}
    assert len(told) == len(asked) + 1
    refused = {"code": "INVALID_ARGUMENT", "fate": "not done"}
    for one in (told[0], told[6], told[None], *told[3]["results"][:2]):
        assert refused.items() <= one.items() and one["message"], one
    assert told[1] == {"code": "OK"}
    assert told[2]["code"] == "OK" and told[2]["existed"] is False and "." in told[2]["version"]
    assert told[3]["results"][2]["code"] == "FAILED_PRECONDITION"
    assert told[4]["owner"] in addresses(ring) and told[4]["hops"] >= 1
    assert (told[5]["m"], told[5]["n"], told[5]["replicas"]) == (6, 3, 3)
    assert told[7] == {"code": "OK", "calls": 0} or told[7]["calls"] > 0
    assert (told[8]["code"], told[8]["fate"], told[8]["payload"]) == ("UNIMPLEMENTED", "not done", "")
