# SPDX-License-Identifier: MIT
"""What each key of a ring allows, and a key that is changed while the ring serves."""

import secrets
import threading

import pytest
from ring import until
from test_chordctl import NOT_FOUND, OK, REFUSED, Chordctl


@pytest.fixture
def key(tmp_path):
    def make(name):
        path = tmp_path / name
        path.write_text(secrets.token_hex(16) + "\n")
        path.chmod(0o600)
        return path
    return make


def with_key(ring, path):
    ctl = Chordctl(*(ring.address(slot) for slot in ring.running_slots()))
    ctl.environment["RING_KEY_FILE"] = str(path)
    return ctl


def test_who_may_read_cannot_write_and_who_may_write_cannot_kill(new_ring, key):
    keys = {name: key(name) for name in ("member", "client", "reader")}
    ring = new_ring(RING_KEY_FILE=keys["member"], CLIENT_KEY_FILE=keys["client"],
                    READER_KEY_FILE=keys["reader"], M=32).start(3)
    ring.wait_healthy(3)
    member, client, reader = (with_key(ring, path) for path in keys.values())
    stranger = with_key(ring, key("stranger"))
    client.run("put", "a", "1", exits=OK)
    for ctl in (member, client, reader):
        assert ctl.text("get", "a") == "1"
        assert len(ctl.json("ring")["nodes"]) == 3
        assert "PASS" in ctl.text("doctor")
        ctl.run("lookup", "a", exits=OK)
        ctl.run("get", "nothing", exits=NOT_FOUND)
    for words in (["put", "a", "2"], ["del", "a"], ["put", "a", "2", "--if-absent"]):
        said = reader.run(*words, exits=REFUSED)[1].decode()
        assert "reader" in said, said
    address, identifier = ring.address(2), ring.node(2)["id"]
    for ctl in (reader, client):
        for words in (["leave", address], ["join", address], ["kill", address, "--confirm", identifier],
                      ["logs", address]):
            said = ctl.run(*words, exits=REFUSED)[1].decode()
            assert "own key" in said, (words, said)
        said = ctl.run("backup", address, exits=NOT_FOUND)[1].decode()
        assert "own key" in said, said
    stranger.run("get", "a", exits=REFUSED)
    assert member.text("get", "a") == "1" and len(ring.members()) == 3
    member.run("leave", address, "--wait", exits=OK)  # the ring's own key may do all of it
    client.run("put", "a", "3", exits=OK)
    assert reader.text("get", "a") == "3"


def test_the_rings_key_is_changed_while_it_serves(new_ring, key):
    """Each node is started again three times; nobody is refused who has the old key before the last
    round, or the new one after the first."""
    old, new = key("old"), key("new")
    ring = new_ring(RING_KEY_FILE=old, M=32).start(3)
    ring.wait_healthy(3)
    ended, refused = threading.Event(), []
    written = {}

    def write():
        for number in range(100_000):
            if ended.is_set():
                return
            written["tried"] = number
            try:
                status = ring.put("changing", str(number))
            except OSError:  # the gateway is being started again
                continue
            if status not in (201, 204):
                refused.append(status)
            else:
                written["changing"] = number

    def round_of(**files):
        ring.settings.values.update(files)
        for slot in (1, 2, 3):
            ring.stop(slot)
            ring.start_node(slot)
            ring.wait_healthy(3)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        round_of(RING_KEY_ALSO_FILE=new)
        for path in (old, new):
            assert len(with_key(ring, path).json("ring")["nodes"]) == 3
        round_of(RING_KEY_FILE=new, RING_KEY_ALSO_FILE=old)
        for path in (old, new):
            assert len(with_key(ring, path).json("ring")["nodes"]) == 3
        ring.supervisor.gateway.signal(15)
        ring.supervisor.wait([ring.supervisor.gateway], 30, lambda left: True)
        ring.supervisor.start_gateway()
        until(lambda: ring.ring()["state"] == "healthy", 30, lambda: str(ring.ring()))
        round_of(RING_KEY_ALSO_FILE="")
    finally:
        ended.set()
        writer.join()
    with_key(ring, old).run("get", "changing", exits=REFUSED)
    # The last one may have been written without a word about it, when the gateway was stopped.
    assert written["changing"] <= int(with_key(ring, new).text("get", "changing")) <= written["tried"]
    print(f"{written['changing']} writes, {len(refused)} not acknowledged")
    assert written["changing"] > 100 and len(refused) < 10
