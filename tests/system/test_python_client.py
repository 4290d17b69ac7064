# SPDX-License-Identifier: MIT
"""The Python client alone: its pure parts, and what it does with a node that says what it should not
(fake_node.py). Against real rings: test_rpc_client.py."""

import asyncio
import itertools
import os
import random
import threading
import time

import pytest
from chord_dht import AsyncClient, ChordError, Client, Get, Put, Version, fates, framing, messages
from chord_dht.hints import Hints
from chord_dht.members import Members
from chord_dht.operation import CALL_OPERATIONS_MAX, Pending, groups
from chord_dht.recipe import PAUSE_S, Attempts, Pauses
from fake_node import HANG_UP, RING, SILENCE, START, FakeNode

KEY = b"0123456789abcdef"
DONE = [("OK", {})]


def version(epoch, counter):
    return messages.load().common.Version(epoch=epoch, counter=counter)


def failure(function, *arguments, **options):
    with pytest.raises(ChordError) as error:
        function(*arguments, **options)
    return error.value


# The recipe: proto/README.md, "Writing"

SEEN, NEWER = Version(3, 7), Version(4, 1)


@pytest.mark.parametrize("code, told, following, fate, reported", [
    ("OK", NEWER, "never", "done", "OK"),
    ("NOT_FOUND", None, "never", "done", "NOT_FOUND"),
    ("FAILED_PRECONDITION", NEWER, "never", "not done", "FAILED_PRECONDITION"),
    ("INVALID_ARGUMENT", None, "never", "not done", "INVALID_ARGUMENT"),
    ("UNKNOWN", None, "later", "maybe done", "UNKNOWN"),
    ("UNKNOWN", NEWER, "never", "maybe done", "UNKNOWN"),
    ("DEADLINE_EXCEEDED", None, "later", "maybe done", "UNKNOWN"),
    ("UNAVAILABLE", None, "later", "not done", "UNAVAILABLE"),
    ("RESOURCE_EXHAUSTED", None, "later", "not done", "RESOURCE_EXHAUSTED"),
    ("OUT_OF_RANGE", None, "later", "not done", "OUT_OF_RANGE"),
    ("WRONG_RING", None, "later", "not done", "WRONG_RING"),
    ("CHALLENGE", None, "later", "not done", "CHALLENGE"),
    ("ABORTED", NEWER, "at once", "not done", "UNAVAILABLE"),
    ("ABORTED", None, "later", "not done", "UNAVAILABLE"),
    ("INTERNAL", None, "never", "maybe done", "UNKNOWN"),
    ("CODE_99", None, "never", "maybe done", "UNKNOWN"),
])
def test_the_first_answer_to_a_write(code, told, following, fate, reported):
    write = Attempts(bytes(16), SEEN)
    assert write.take(code, told) == following
    assert (write.fate(code), write.code(code)) == (fate, reported)
    assert write.seen == (NEWER if following == "at once" else SEEN)
    assert write.number == (2 if fate == "maybe done" else 1)


def test_a_damaged_row_gives_way_to_a_write_that_asks_for_nothing():
    write = Attempts(bytes(16), SEEN)
    assert write.take("DATA_LOSS") == "at once"
    assert (write.seen, write.number, write.maybe) == (Version(0, 0), 1, False)
    assert write.take("DATA_LOSS") == "never"  # it has a condition
    assert (write.fate("DATA_LOSS"), write.code("DATA_LOSS")) == ("not done", "DATA_LOSS")
    later = Attempts(bytes(16), SEEN)
    later.unanswered()
    assert later.take("DATA_LOSS") == "never" and later.seen == SEEN


def test_once_a_second_attempt_was_sent_seen_stays():
    write = Attempts(bytes(16), SEEN)
    assert write.unanswered() == "later" and write.number == 2
    assert write.take("ABORTED", NEWER) == "later"
    assert (write.seen, write.number) == (SEEN, 2)
    # A condition may have failed by the first attempt's own work.
    assert write.take("FAILED_PRECONDITION", NEWER) == "never"
    assert (write.fate("FAILED_PRECONDITION"), write.code("FAILED_PRECONDITION")) == (
        "maybe done", "UNKNOWN")
    assert (write.fate("OK"), write.code("OK")) == ("done", "OK")


def test_a_read_is_never_maybe_done():
    read = Attempts()
    assert read.unanswered() == "later" == read.take("UNKNOWN", NEWER)
    assert (read.fate("DEADLINE_EXCEEDED"), read.number) == ("not done", 1)


def test_pauses_double_and_vary():
    pauses = Pauses()
    taken = [pauses.next_s() for _ in range(12)]
    limit = PAUSE_S[0]
    for pause in taken:
        assert limit / 2 <= pause <= limit
        limit = min(2 * limit, PAUSE_S[1])
    assert len(set(taken)) == 12
    assert Pauses().next_s(300) == 0.3 and pauses.next_s(60_000) == PAUSE_S[1]


# The other pure parts

def test_frames_in_pieces_of_any_size():
    sent = [(number, os.urandom(number * 7)) for number in range(1, 30)]
    stream = framing.PEER_HELLO + b"".join(framing.frame(*one) for one in sent)
    chance = random.Random(5)
    for largest in (1, 3, 100, len(stream)):
        reader, got, at = framing.Reader(), [], 0
        while at < len(stream):
            size = chance.randint(1, largest)
            got += reader.feed(stream[at:at + size])
            at += size
        assert got == sent
    assert framing.frame(1, b"x") == bytes.fromhex("0000000000000005 80000001 78")


@pytest.mark.parametrize("said", [b"\0SP\0\0\x30\0\0", b"HTTP/1.1", b"\0SQ", framing.PEER_HELLO + bytes(8),
                                  framing.PEER_HELLO + (2 * 1024 * 1024 + 1).to_bytes(8, "big")])
def test_frames_that_are_none(said):
    with pytest.raises(framing.FramingError):
        list(framing.Reader().feed(said))


def hint(lo, hi, epoch, address, counter=0):
    kv, common = messages.load().kv, messages.load().common
    return kv.OwnerHint(range=common.Range(lo=bytes([lo]), hi=bytes([hi])), epoch=epoch,
                        address=address, counter=counter)


def test_hints_are_what_a_plain_list_says():
    """Against every hint that was learnt, over all 64 places."""
    chance, keys = random.Random(11), {}
    hints = Hints()
    hints.m = 6
    for number in itertools.count():
        if len(keys) == 64:
            break
        keys.setdefault(hints.place(b"%d" % number), b"%d" % number)
    assert Hints().find(b"apple") is None and hints.place(b"apple") == 52
    learnt = {}
    for epoch in range(1, 400):
        lo, hi = chance.randrange(64), chance.randrange(64)
        hints.learn(hint(lo, hi, epoch, f"h:{epoch}", epoch * 2))
        for place in range(64):
            if lo < place <= hi if lo < hi else place > lo or place <= hi:
                learnt[place] = epoch
        for place, key in keys.items():
            found = hints.find(key)
            if found:  # a range that a newer one overlaps is gone as a whole
                assert found.epoch == learnt[place] and found.seen == (found.epoch, found.epoch * 2)
            assert found or learnt.get(place) != epoch
    hints.learn(hint(3, 3, 1, "old:1"))
    assert "old:1" not in {hints.address(key) for key in keys.values()}


def test_a_leader_that_is_silent_is_forgotten_and_what_was_seen_is_not():
    hints = Hints()
    hints.m = 6
    hints.learn(hint(5, 5, 3, "a:1", 7))
    hints.hear(b"apple", Version(3, 9))
    hints.forget("a:1")
    assert (hints.address(b"apple"), hints.seen(b"apple")) == ("", (3, 9))
    hints.learn(hint(5, 5, 3, "b:1", 8))
    assert (hints.address(b"apple"), hints.seen(b"apple")) == ("b:1", (3, 9))


def test_members_that_fail_are_asked_last():
    members = Members(["a:1", "b:2"])
    members.learn("c:3")
    for nonsense in ("", "c:3", "no port", "x:0", "x:70000"):
        members.learn(nonsense)
    assert len(members) == 3
    members.avoid("a:1")
    assert (members.choose(), members.choose({"b:2"}), members.choose({"a:1", "b:2", "c:3"})) == (
        "b:2", "c:3", "b:2")
    for number in range(1000):
        members.learn(f"h:{number + 1}")
    assert len(members) == 256 and members.choose({f"h:{n}" for n in range(1001)}) == "b:2"


def test_what_is_heard_later_is_not_what_a_write_had_seen():
    hints = Hints()
    hints.m = 6
    hints.learn(hint(5, 5, 3, "a:1", 7))
    write = Pending(Put("k", "v"))
    assert write.fill(hints).seen == version(3, 7)
    hints.hear(b"k", Version(3, 8))
    assert write.fill(hints).seen == version(3, 7)
    assert Pending(Put("k", "v")).fill(hints).seen == version(3, 8)


def test_what_travels_together():
    pending = [Pending(Put(f"key {number}", bytes(1000))) for number in range(600)]
    made = groups(pending)
    assert sum(made, []) == pending and len(made) == 5
    assert max(map(len, made)) == CALL_OPERATIONS_MAX
    assert [len(some) for some in groups([Pending(Put("k", "")), Pending(Put("k", "")),
                                          Pending(Get("k")), Pending(Get("k2", stale=True))])] == [1] * 4
    assert len(groups([Pending(Put(f"{n}", bytes(200_000))) for n in range(3)])) == 3


# Nodes that say what they should not

def test_a_write_whose_answer_is_lost_is_counted_and_sent_to_another():
    with FakeNode(lambda _: HANG_UP) as bad, FakeNode(lambda _: DONE) as good, \
            Client([bad.address, good.address]) as client:
        written = client.put("k", "v")
        assert written.repeated and client.requests_sent == 2
        (first,), (second,) = bad.operations(), good.operations()
        assert (first.attempt, second.attempt) == (1, 2)
        assert first.op_id == second.op_id and len(first.op_id) == 16
        assert first.HasField("seen") and first.seen == second.seen == version(0, 0)


def test_a_silent_member_costs_one_attempt():
    with FakeNode(lambda _: SILENCE) as silent, FakeNode(lambda _: DONE) as good, \
            Client([silent.address, good.address], attempt_timeout=0.2) as client:
        began = time.monotonic()
        client.get("k")
        assert 0.2 <= time.monotonic() - began < 2
        assert (len(silent.requests), len(good.requests)) == (1, 1)
        client.get("k")
        assert len(silent.requests) == 1


def test_a_leader_that_fell_silent_is_asked_once():
    with FakeNode(lambda _: DONE) as leader, FakeNode(lambda _: no_hint) as other, \
            Client([leader.address, other.address], attempt_timeout=0.2) as client:
        kv, code = other.protos.kv, other.protos.envelope
        no_hint = other.code("OK", kv.BatchResponse(
            results=[kv.OperationResult(code=code.CODE_OK)]).SerializeToString())
        client.get("k")
        leader.say = lambda _: SILENCE
        for _ in range(3):
            client.get("k")
        assert (len(leader.requests), len(other.requests)) == (2, 3)


def test_a_connection_that_was_silent_is_given_up():
    answers = iter([SILENCE, DONE, DONE])
    with FakeNode(lambda _: next(answers)) as node, Client(node.address, attempt_timeout=0.2) as client:
        client.get("k")
        client.get("k")
        assert len(node.links) == 2


def test_who_never_told_of_the_ring_was_asked_for_no_key():
    with FakeNode(lambda _: DONE, say_info=lambda _: SILENCE) as node, \
            Client(node.address, timeout=0.3, attempt_timeout=0.1) as client:
        error = failure(client.put, "k", "v")
        assert (error.code, error.fate) == ("UNAVAILABLE", "not done") and not node.requests


def test_aborted_goes_again_at_once_with_the_version_that_it_told():
    answers = iter([[("ABORTED", {"version": version(9, 1)})], DONE])
    with FakeNode(lambda _: next(answers)) as node, Client(node.address) as client:
        client.put("k", "v")
        first, second = node.operations()
        assert (first.attempt, second.attempt, second.seen) == (1, 1, version(9, 1))


def test_any_number_of_attempts():
    """More than Python lets functions call each other."""
    count = itertools.count(1)
    with FakeNode(lambda _: [("ABORTED", {"version": version(9, next(count))})] if
                  len(node.requests) < 400 else DONE) as node, Client(node.address, timeout=60) as client:
        client.put("k", "v")
        assert len(node.requests) == 400


def test_later_writes_have_seen_what_was_heard():
    with FakeNode(lambda _: [("OK", {"version": version(3, 12)})]) as node, \
            Client(node.address) as client:
        client.put("k", "v")
        client.put("k", "v", if_version=Version(3, 40))
        client.put("k", "v")
        first, second, third = node.operations()
        assert (first.seen, second.seen, third.seen) == (version(0, 0), version(3, 40), version(3, 12))
        assert second.precondition.version == version(3, 40)


@pytest.mark.parametrize("said, code, fate, requests", [
    ([("UNKNOWN", {"version": (9, 9)})], "UNKNOWN", "maybe done", 1),
    ([("FAILED_PRECONDITION", {"version": (9, 9)})], "FAILED_PRECONDITION", "not done", 1),
    ([("DATA_LOSS", {})], "DATA_LOSS", "not done", 1),
    ("UNIMPLEMENTED", "UNIMPLEMENTED", "not done", 1),
    ("INTERNAL", "UNKNOWN", "maybe done", 1),
    ("UNAVAILABLE", "UNAVAILABLE", "not done", 0),
    ([("UNAVAILABLE", {})], "UNAVAILABLE", "not done", 0),
    ([("ABORTED", {})], "UNAVAILABLE", "not done", 0),
    ([("UNKNOWN", {})], "UNKNOWN", "maybe done", 0),
    ([], "UNKNOWN", "maybe done", 0),
    (SILENCE, "UNKNOWN", "maybe done", 0),
    (b"\0\0\0\0\0\0\0\x02", "UNKNOWN", "maybe done", 0),
])
def test_how_a_write_ends(said, code, fate, requests):
    """`requests`: 0 = several, until the time is over."""
    def say(request):
        if isinstance(said, str) and said != SILENCE:
            return node.code(said, retry_after_ms=500)
        if isinstance(said, list):
            answer = node.batch([(name, {field: version(*value) for field, value in fields.items()})
                                 for name, fields in said])
            answer.retry_after_ms = 500
            return answer
        return said
    # Two attempts, and no time for a third, whose answer a busy machine might not take in time.
    limits = {"timeout": 0.3, "attempt_timeout": 0.1} if isinstance(said, bytes) or said == SILENCE \
        else {"timeout": 0.9}
    with FakeNode(say) as node, Client(node.address, **limits) as client:
        client.server_info(timeout=5)
        error = failure(client.put, "k", "v")
        assert (error.code, error.fate) == (code, fate), error
        assert error.message
        assert len(node.requests) == requests if requests else len(node.requests) > 1
        assert (error.version == (9, 9)) == (code == "FAILED_PRECONDITION")


def test_nobody_there_is_not_done():
    with FakeNode(lambda _: DONE) as node:
        address = node.address
    with Client(address, timeout=0.3) as client:
        began = time.monotonic()
        error = failure(client.put, "k", "v")
        assert (error.code, error.fate) == ("UNAVAILABLE", "not done") and address in str(error)
        assert time.monotonic() - began < 1


def test_a_node_that_says_no_hello_was_sent_nothing():
    with FakeNode(lambda _: DONE, hello=b"HTTP/1.1") as node, \
            Client(node.address, timeout=0.5) as client:
        error = failure(client.put, "k", "v")
        assert (error.code, error.fate) == ("UNAVAILABLE", "not done") and not node.requests
        assert "SP" in error.message


def test_missing_members_are_named():
    def say(request):
        response = node.batch([("UNAVAILABLE", {})])
        told = node.protos.kv.BatchResponse.FromString(response.payload)
        told.missing.append("10.0.0.9:4001")
        response.payload = told.SerializeToString()
        return response
    with FakeNode(say) as node, Client(node.address, timeout=0.3) as client:
        error = failure(client.get, "k")
        assert error.code == "UNAVAILABLE" and "10.0.0.9:4001" in error.message


# Rings and keys

def test_another_ring_is_refused_and_its_members_are_left():
    other = bytes(16)
    with FakeNode(lambda _: node_of_b.code("WRONG_RING"), ring_id=other) as node_of_b, \
            FakeNode(lambda _: DONE) as node_of_a:
        with Client([node_of_b.address, node_of_a.address], ring_id=RING) as client:
            client.put("k", "v")
            assert client.ring_id == RING and client.server_info().ring_id == RING
        with Client(node_of_b.address, ring_id=RING, timeout=5) as client:
            began = time.monotonic()
            for ask in (lambda: client.put("k", "v"), client.server_info, lambda: client.lookup("k")):
                error = failure(ask)
                assert (error.code, error.fate) == ("WRONG_RING", "not done")
            assert time.monotonic() - began < 2 and not node_of_b.requests
    # Its address was given to another ring after it had told of itself.
    with FakeNode(lambda _: node.code("WRONG_RING")) as node, Client(node.address, timeout=20) as client:
        began = time.monotonic()
        error = failure(client.put, "k", "v")
        assert (error.code, error.fate) == ("WRONG_RING", "not done")
        assert time.monotonic() - began < 10


def test_an_answer_of_another_ring_is_not_believed():
    with FakeNode(lambda _: node.code("OK", node.batch(DONE).payload, ring_id=bytes(16))) as node, \
            Client(node.address, timeout=1) as client:
        error = failure(client.get, "k")
        assert error.code == "WRONG_RING" and RING.hex() in error.message


def signed(say):
    def answer(request):
        return node.code("CHALLENGE") if node.challenge_first(request) else say(request)
    node = FakeNode(answer, key=KEY)
    node.say_info = lambda request: node.code("CHALLENGE") if node.challenge_first(request) \
        else node.info()
    return node


def test_a_challenge_is_answered_within_the_attempt():
    with signed(lambda _: DONE) as node, Client(node.address, key=KEY) as client:
        client.put("k", "v")
        (request,) = node.requests
        # START + 5,000 ms was told a moment ago.
        assert request.receiver == START and 5000 <= request.sent_ms < 6000
        node.start = bytes(16)[1:] + b"1"  # the process is another one now
        assert client.call("chord.v1.KvService/Get").code == "OK"
        assert [one.receiver for one in node.requests[1:]] == [START, node.start]
        node.requests.clear()
        before = client.requests_sent
        node.say = lambda _: node.code("CHALLENGE", retry_after_ms=500)
        error = failure(client.put, "k", "v", timeout=0.9)
        assert (error.code, error.fate) == ("CHALLENGE", "not done")
        assert len(node.requests) == client.requests_sent - before == 4  # two attempts


def test_a_wrong_mac_is_not_believed():
    with signed(lambda _: node.code("OK", node.batch(DONE).payload, mac=bytes(32))) as node, \
            Client(node.address, key=KEY) as client:
        assert failure(client.get, "k").code == "UNAUTHENTICATED"
        error = failure(client.put, "k", "v")
        assert (error.code, error.fate) == ("UNKNOWN", "maybe done") and "MAC" in error.message
    with FakeNode(lambda _: DONE, key=b"another key 12345") as node, \
            Client(node.address, key=KEY) as client:
        error = failure(client.put, "k", "v")
        assert (error.code, error.fate) == ("UNAUTHENTICATED", "not done") and not node.requests


# Many at the same time

def test_answers_in_any_order_over_one_connection():
    """Each waits for all the others."""
    waiting, ready = [], threading.Event()
    with FakeNode(lambda _: SILENCE) as node:
        def say(request):
            waiting.append(request)
            if len(waiting) < 40:
                return SILENCE
            ready.set()
            return SILENCE
        node.say = say

        async def run():
            async with AsyncClient(node.address, attempt_timeout=5) as client:
                await client.server_info()
                gets = [asyncio.ensure_future(client.get(f"{n}")) for n in range(40)]
                await asyncio.get_running_loop().run_in_executor(None, ready.wait, 20)
                (connection,) = client._core._connections._all
                numbers = list(connection._requests)
                pairs = list(zip(numbers, waiting))
                random.Random(3).shuffle(pairs)
                for number, request in pairs:
                    (operation,) = node.protos.kv.BatchRequest.FromString(request.payload).operations
                    body = node.sealed(request, [("OK", {"value": operation.key})])
                    node.links[0].sendall(framing.frame(number, body))
                assert [(await get).value for get in gets] == [b"%d" % n for n in range(40)]
        asyncio.run(run())
        assert len(node.links) == 1


def test_operations_above_the_limit_are_refused():
    with FakeNode(lambda _: SILENCE) as node:
        async def run():
            async with AsyncClient(node.address, operations_max=3, timeout=30,
                                   attempt_timeout=30) as client:
                tasks = [asyncio.ensure_future(client.put("k", "v")) for _ in range(3)]
                await asyncio.sleep(0)
                with pytest.raises(ChordError) as error:
                    await client.put("k", "v")
                assert (error.value.code, error.value.fate) == ("RESOURCE_EXHAUSTED", "not done")
                assert "operations_max" in error.value.message
                tasks[0].cancel()
                await asyncio.wait({tasks[0]})
                tasks[0] = asyncio.ensure_future(client.put("k", "v"))
                await asyncio.sleep(0)
                await client.close()
                ends = await asyncio.gather(*tasks, return_exceptions=True)
                assert {end.code for end in ends} <= {"UNAVAILABLE", "UNKNOWN"}
        asyncio.run(run())


def test_close_ends_what_is_under_way_and_leaves_nothing():
    before = set(threading.enumerate())
    files = set(os.listdir("/proc/self/fd"))
    with FakeNode(lambda _: SILENCE) as node:
        client = Client(node.address, timeout=60, attempt_timeout=60)
        ends = []

        def ask(function, *arguments):
            ends.append(failure(function, *arguments))
        asking = [threading.Thread(target=ask, args=arguments) for arguments in (
            (client.put, "k", "v"), (client.get, "k"), (client.delete, "k"))]
        for thread in asking:
            thread.start()
        node.wait_for(3)
        began = time.monotonic()
        client.close()
        client.close()
        for thread in asking:
            thread.join(10)
        assert time.monotonic() - began < 5
        assert sorted((end.code, end.fate) for end in ends) == [
            ("UNAVAILABLE", "not done"), ("UNKNOWN", "maybe done"), ("UNKNOWN", "maybe done")]
        error = failure(client.get, "k")
        assert (error.code, error.fate) == ("UNAVAILABLE", "not done")
    assert not any(thread.name == "chord-dht" for thread in set(threading.enumerate()) - before)
    node.listener.close()
    for link in node.links:
        link.close()
    assert set(os.listdir("/proc/self/fd")) <= files


def test_close_does_not_wait_for_who_never_says_hello():
    with FakeNode(lambda _: DONE, hello=b"") as node:
        client = Client(node.address, timeout=60, attempt_timeout=60)
        ends = []
        asking = [threading.Thread(target=lambda: ends.append(failure(client.put, "k", "v"))),
                  threading.Thread(target=lambda: ends.append(failure(client.lookup, "k")))]
        for thread in asking:
            thread.start()
        node.wait_for_links(1)
        began = time.monotonic()
        client.close()
        for thread in asking:
            thread.join(10)
        assert time.monotonic() - began < 3
        assert {(end.code, end.fate) for end in ends} == {("UNAVAILABLE", "not done")}


def test_an_interrupted_caller_leaves_the_client_as_it_was():
    with FakeNode(lambda _: SILENCE) as node:
        async def run():
            async with AsyncClient(node.address, timeout=60, attempt_timeout=60) as client:
                task = asyncio.ensure_future(client.batch([Put(f"{n}", "") for n in range(300)]))
                await asyncio.get_running_loop().run_in_executor(None, node.wait_for, 3)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                node.say = lambda _: DONE
                assert await client.get("k") is not None
                assert client._core._open == 0
            assert asyncio.all_tasks() == {asyncio.current_task()}
        asyncio.run(run())


@pytest.mark.parametrize("arguments, options", [
    ((" , ",), {}), (("no port",), {}), (([],), {}), (("h:1",), {"key": b"short"}),
    (("h:1",), {"ring_id": b"x"}), (("h:1",), {"timeout": 0}), (("h:1",), {"operations_max": -1})])
def test_arguments_that_are_refused(arguments, options):
    with pytest.raises(ValueError):
        AsyncClient(*arguments, **options)
    with pytest.raises(TypeError):
        Pending(Get(5))
    with pytest.raises(ValueError):
        Version.parse("3.")


def test_the_table_of_codes_is_read_from_the_project():
    assert fates.outcome_of("ABORTED") == ("not done", "at once")
    assert fates.outcome_of("CODE_99") == ("maybe done", "never")
