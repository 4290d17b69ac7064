# SPDX-License-Identifier: MIT
"""MetaService/Describe: a client that has nothing of the contract but the envelope's bytes begins
with any node, in one call."""

import hashlib
import os
import time

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from kv import RingClient, SpConnection

PATIENCE_S = 20
# RpcRequest: protocol_version 1, method, request_id (proto/README.md).
REQUEST = b"\x08\x01\x12\x1dchord.v1.MetaService/Describe\x1a\x04\xa1\xa2\xa3\xa4"


def fields(data):
    """{number: the last value} of a protobuf message, as bytes or numbers."""
    found, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte, at = data[at], at + 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        value = varint()
        if tag & 7 == 2:
            value, at = data[at:at + value], at + value
        found[tag >> 3] = value
    return found


def classes_of(descriptor_set):
    """A function from "RpcRequest" to its class, made of a FileDescriptorSet alone."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file:
        pool.Add(file)
    make = getattr(message_factory, "GetMessageClass", None) or \
        message_factory.MessageFactory(pool).GetPrototype
    return lambda name: make(pool.FindMessageTypeByName(f"chord.v1.{name}"))


def ask(address, body):
    connection = SpConnection(address, PATIENCE_S)
    try:
        return connection.call(body, time.monotonic() + PATIENCE_S)
    finally:
        connection.close()


def test_one_call_is_enough_to_begin(new_ring):
    ring = new_ring(NUM_OF_NODES=6, M=16, N=3).start(6)
    ring.wait_healthy(6)
    everyone = {ring.address(slot) for slot in range(1, 7)}
    envelope = fields(ask(ring.address(5), REQUEST))
    assert envelope[2] == b"\xa1\xa2\xa3\xa4" and 3 not in envelope  # OK is not written
    made = classes_of(fields(envelope[6])[2])
    answer = made("DescribeResponse").FromString(envelope[6])

    # The ring.
    assert answer.info.parameters.ring_id == envelope[8]
    assert (answer.info.parameters.m, answer.info.parameters.n) == (16, 3)
    assert answer.self.address == ring.address(5) and answer.state == 2
    known = [member.address for member in answer.members]
    assert known[0] == ring.address(5) and len(set(known)) == len(known) >= 1 + 3
    assert set(known) <= everyone

    # The contract: a write and a read through each of the members, by what this call said alone.
    def call(address, method, request, response):
        sent = made("RpcRequest")(protocol_version=1, method=f"chord.v1.{method}",
                                  request_id=os.urandom(8), ring_id=envelope[8],
                                  payload=request.SerializeToString())
        got = made("RpcResponse").FromString(ask(address, sent.SerializeToString()))
        assert got.code == 0, got
        return made(response).FromString(got.payload).result

    key = b"told by nobody else"
    put = made("PutRequest")()
    put.operation.kind, put.operation.key, put.operation.value = 2, key, b"known"
    put.operation.op_id = os.urandom(16)
    assert call(known[-1], "KvService/Put", put, "PutResponse").code == 0
    for address in known:
        assert call(address, "KvService/Get", made("GetRequest")(key=key), "GetResponse").value == b"known"

    # Where a key lies: the first of all members at its id or after it.
    members = {}
    for address in everyone:
        with RingClient(address) as client:
            meta = client.messages.meta
            said = client.once("MetaService/Describe", meta.DescribeRequest(), meta.DescribeResponse)
            assert said.file_descriptor_set == answer.file_descriptor_set
            members.update({member.address: int.from_bytes(member.id, "big")
                            for member in said.members})
    assert set(members) == everyone
    place = int.from_bytes(hashlib.sha1(key).digest(), "big") >> (160 - 16)
    owner = min(members, key=lambda address: (members[address] - place) % 2 ** 16)
    with RingClient(owner) as client:
        kv = client.messages.kv
        led = client.once("KvService/Get", kv.GetRequest(key=key, no_forward=True), kv.GetResponse)
        assert led.result.value == b"known"


def test_a_node_that_left_names_others(new_ring):
    ring = new_ring(NUM_OF_NODES=3, N=2).start(3)
    ring.wait_healthy(3)
    ring.leave(3)
    with RingClient(ring.address(3)) as client:
        meta = client.messages.meta
        said = client.once("MetaService/Describe", meta.DescribeRequest(), meta.DescribeResponse)
        assert said.state == client.messages.common.NODE_STATE_LEFT
        assert ring.address(3) not in {member.address for member in said.members}
