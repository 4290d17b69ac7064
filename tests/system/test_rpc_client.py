# SPDX-License-Identifier: MIT
"""The Python client of proto/clients against live nodes: the wire format as outsiders use it, with no
nng and no generated C in between."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import chord_client
import chord_operations

CLIENT = Path(chord_client.__file__)


@pytest.fixture
def ring(new_ring):
    return new_ring().start(3)


def addresses(ring):
    return [ring.address(slot) for slot in (1, 2, 3)]


def test_put_get_delete_at_every_node(ring):
    for number, address in enumerate(addresses(ring)):
        with chord_client.ChordClient(address) as client:
            key, value = os.urandom(20), os.urandom(1000)
            assert client.get(key) is None
            assert client.put(key, value) is False
            assert client.put(key, value + b"2") is True
            assert client.get(key) == value + b"2"
            assert client.get(key, stale=True) in (value, value + b"2", None)
            assert client.delete(key) is True
            assert client.get(key) is None
            assert client.delete(key) is False
            assert client.put(f"empty-{number}", b"") is False
            assert client.get(f"empty-{number}") == b""


def test_an_interpreter_without_protobuf_names_the_package():
    run = subprocess.run([sys.executable, "-S", CLIENT, "127.0.0.1:1", "get", "key"],
                         capture_output=True, text=True, timeout=30)
    assert (run.returncode, run.stderr.count("\n")) == (2, 1), run.stderr
    assert "python3-protobuf" in run.stderr and sys.executable in run.stderr


def test_largest_key_and_value(ring):
    with chord_client.ChordClient(*addresses(ring)) as client:
        key, value = b"k" * 1024, os.urandom(1024 * 1024)
        client.put(key, value)
        assert client.get(key) == value
        with pytest.raises(chord_client.ChordError) as refused:
            client.put(b"k" * 1025, b"")
        assert refused.value.code == "INVALID_ARGUMENT"
        with pytest.raises(chord_client.ChordError) as refused:
            client.put(b"", b"")
        assert refused.value.code == "INVALID_ARGUMENT"


def test_batch_mixes_operations(ring):
    with chord_client.ChordClient(*addresses(ring)) as client:
        keys = [f"batch-{number}" for number in range(100)]
        codes = {result.code for result in client.batch([("put", key, key) for key in keys])}
        assert codes == {0}
        results = client.batch([("get", keys[0]), ("delete", keys[1]), ("get", "nothing there")])
        assert results[0].value == keys[0].encode()
        assert results[1].existed
        assert client.messages.envelope.Code.Name(results[2].code) == "CODE_NOT_FOUND"
        assert client.get(keys[1]) is None


def test_no_forward_answers_what_is_led(ring):
    """One node after the other: each answers its own keys, and says of the others who leads them."""
    keys = [f"nf-{number}" for number in range(60)]
    with chord_client.ChordClient(*addresses(ring)) as client:
        kv, code = client.messages.kv, client.messages.envelope
        client.batch([("put", key, key) for key in keys])
        led = {}
        for address in addresses(ring):
            request = kv.BatchRequest(no_forward=True, operations=[
                kv.Operation(kind=kv.OPERATION_KIND_GET, key=key.encode()) for key in keys])
            answer = client.call("KvService/Batch", request, kv.BatchResponse, address)
            hints = chord_client.chord_operations.Hints()
            hints.m = client.hints.m
            for hint in answer.hints:
                hints.learn(hint)
            for key, result in zip(keys, answer.results):
                if result.code == code.CODE_OK:
                    assert led.setdefault(key, address) == address and result.value == key.encode()
                else:
                    assert result.code == code.CODE_OUT_OF_RANGE
                    assert hints.address(key.encode()) in set(addresses(ring)) - {address}
        assert set(led) == set(keys) and len(set(led.values())) > 1


def refused(client, **operation):
    kv = client.messages.kv
    request = kv.PutRequest(operation=kv.Operation(kind=kv.OPERATION_KIND_PUT, key=b"k", **operation))
    with pytest.raises(chord_client.ChordError) as error:
        client.call("KvService/Put", request, kv.PutResponse)
    return error.value.code, error.value.message


def test_what_a_write_may_not_say(ring):
    with chord_client.ChordClient(*addresses(ring)) as client:
        kv, common, code = client.messages.kv, client.messages.common, client.messages.envelope
        for length in (1, 15, 17):
            assert refused(client, op_id=bytes(length)) == (
                "INVALID_ARGUMENT", "an op_id has 16 bytes, or none")
        both = kv.Precondition(version=common.Version(epoch=1, counter=1), absent=True)
        assert refused(client, precondition=both)[0] == "INVALID_ARGUMENT"
        operation = kv.Operation(kind=kv.OPERATION_KIND_PUT, key=b"k", value=b"1", op_id=bytes(16),
                                 seen=common.Version())

        def put():
            return client.call("KvService/Put", kv.PutRequest(operation=operation),
                               kv.PutResponse).result
        first = put()
        client.put("k", "2")
        again = put()  # somebody has written since
        assert (again.code, again.version, again.existed) == (code.CODE_OK, first.version, False)
        operation.value = b"3"
        assert put().code == code.CODE_INVALID_ARGUMENT
        delete = kv.DeleteRequest(operation=kv.Operation(kind=kv.OPERATION_KIND_DELETE, key=b"k",
                                                         op_id=bytes(16), seen=common.Version()))
        assert client.call("KvService/Delete", delete,
                           kv.DeleteResponse).result.code == code.CODE_INVALID_ARGUMENT
        assert client.get("k") == b"2"


def test_lookup_names_the_owner_of_every_key(ring):
    owners = set()
    for address in addresses(ring):
        with chord_client.ChordClient(address) as client:
            found = client.lookup("a key")
            assert found.hops and found.hops[0].node.address == address
            owners.add(found.owner.address)
    assert len(owners) == 1 and owners <= set(addresses(ring))


def test_status_of_each_node(ring):
    with chord_client.ChordClient(*addresses(ring)) as client:
        for address in addresses(ring):
            status = client.status(address)
            assert status.self.address == address
            assert status.state == client.messages.common.NODE_STATE_MEMBER


def test_server_info_and_descriptors_match_this_contract(ring):
    with chord_client.ChordClient(*addresses(ring)) as client:
        meta = client.messages.meta
        info = client.call("MetaService/GetServerInfo", meta.GetServerInfoRequest(),
                           meta.GetServerInfoResponse)
        assert info.protocol_version == chord_client.PROTOCOL_VERSION
        assert "chord.v1.KvService/Batch" in info.methods
        from google.protobuf.descriptor_pb2 import FileDescriptorSet
        answer = client.call("MetaService/GetFileDescriptorSet",
                             meta.GetFileDescriptorSetRequest(),
                             meta.GetFileDescriptorSetResponse)
        files = FileDescriptorSet.FromString(answer.file_descriptor_set).file
        services = {f"{file.package}.{service.name}/{method.name}" for file in files
                    for service in file.service for method in service.method}
        assert services == set(info.methods)


def test_goes_on_to_the_next_address_when_one_is_dead(ring):
    with chord_client.ChordClient(*addresses(ring), timeout=20) as client:
        client.put("survivor", "value")
        ring.kill(1)
        assert client.get("survivor") == b"value"
        client.put("survivor", "value 2")
        assert client.get("survivor") == b"value 2"


def test_command_line(ring):
    def run(*arguments, address=ring.address(1), stdin=None):
        done = subprocess.run([sys.executable, CLIENT, address, *arguments], input=stdin,
                              capture_output=True, timeout=60)
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
    names = {name.removeprefix("CODE_") for name in chord_client.load_messages().envelope.Code.keys()}
    assert set(chord_operations.FATES) == names
    assert set(chord_operations.NOT_DONE) == {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "OUT_OF_RANGE",
                                              "CHALLENGE"}
    assert set(chord_operations.MAYBE_DONE) == {"UNKNOWN", "DEADLINE_EXCEEDED", "CANCELLED"}
