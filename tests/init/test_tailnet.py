# SPDX-License-Identifier: MIT
"""Tailscale's answers, and whom JOIN means. `tailscale` is a script here that says what such a
command said somewhere, shortened; its hosts are addresses of loopback."""

import json
import re
from contextlib import ExitStack

import pytest
from conftest import listener
from launcher import joining, network, seeds, settings as s, tailnet
from launcher.common import Refused

STATUS = {"Version": "1.56.1", "BackendState": "Running",
          "Self": {"HostName": "a", "Online": True,
                   "TailscaleIPs": ["fd7a:115c:a1e0::1", "100.101.102.103"]}, "Peer": {}}
PORT = 31999  # of the nodes' first; its neighbours are nobody's


def self_with(**values):
    return {**STATUS, "Self": {**STATUS["Self"], **values}}


def with_peers(*peers):
    return {**STATUS, "Peer": {f"nodekey:{at}": peer for at, peer in enumerate(peers)}}


def peer(name, address, online=True, **more):
    return {"HostName": name, "Online": online, "TailscaleIPs": ["fd7a::2", address], **more}


@pytest.fixture
def tailscale(tmp_path, monkeypatch):
    """Makes `tailscale status --json` say something (a text is said as it is)."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def says(answer):
        text = answer if isinstance(answer, str) else json.dumps(answer)
        (folder / "answer").write_text(text)
        (folder / "tailscale").write_text(
            f'#!/bin/sh\n[ "$*" = "status --json" ] && cat {folder}/answer\n')
        (folder / "tailscale").chmod(0o755)
    return says


def settings_for(tmp_path, **values):
    values = {"DATA_DIR": tmp_path / "data", "HOST": "100.101.102.103", "RPC_PORT": PORT - 1, **values}
    return s.choose(values, {}, tmp_path / "none")


@pytest.mark.parametrize("status, expected", [
    (STATUS, "100.101.102.103"),
    ({**STATUS, "BackendState": "Stopped"}, None),
    ({**STATUS, "BackendState": ["Running"]}, None),
    (self_with(Online=False), None),
    (self_with(Online="no"), None),
    (self_with(TailscaleIPs=None), None),
    (self_with(TailscaleIPs=7), None),
    (self_with(TailscaleIPs="100.101.102.103"), None),
    (self_with(TailscaleIPs={"100.101.102.103": 1}), None),
    (self_with(TailscaleIPs=[None, 7, ["100.1.1.1"], "1.2.3", "no.ip"]), None),
    (self_with(TailscaleIPs=[1681224295, "100.101.102.103"]), "100.101.102.103"),
    ({**STATUS, "Self": None}, None),
    ({**STATUS, "Self": ["a"]}, None),
    ({**STATUS, "Self": "a"}, None),
    ([], None), (None, None), (7, None), ("Running", None),
])
def test_own_address(status, expected):
    address, state = tailnet.own_address(status)
    assert address == expected and isinstance(state, str)


@pytest.mark.parametrize("status, names", [
    (with_peers(peer("b", "100.64.0.2"), peer("off", "100.64.0.3", online=False)), ["b"]),
    (with_peers(peer("z", "100.64.0.2"), peer("b", "100.64.0.3")), ["b", "z"]),
    (with_peers({"HostName": "six", "Online": True, "TailscaleIPs": ["fd7a::2"]}), []),
    (with_peers({"Online": True, "TailscaleIPs": ["100.64.0.2"]}), ["100.64.0.2"]),
    (with_peers(None, 7, [], {"Online": True}, peer(7, "100.64.0.2")), ["100.64.0.2"]),
    ({**STATUS, "Peer": None}, []), ({**STATUS, "Peer": [1]}, []), ({}, []), (None, []),
])
def test_peers_that_are_online(status, names):
    assert [found.name for found in tailnet.peers(status)] == names


def test_peers_with_a_tag():
    status = with_peers(peer("b", "100.64.0.2", Tags=["tag:chord"]), peer("c", "100.64.0.3", Tags=[7]),
                        peer("d", "100.64.0.4", Tags="tag:chord"), peer("e", "100.64.0.5"))
    assert [found.name for found in tailnet.peers(status, "tag:chord")] == ["b"]


@pytest.mark.parametrize("answer, words", [
    ({**STATUS, "BackendState": "Stopped"}, "stopped here (start it: tailscale up)"),
    ({**STATUS, "BackendState": "NeedsLogin", "Self": None}, "logged out"),
    ({**STATUS, "BackendState": "NeedsMachineAuth"}, "not approved"),
    ({**STATUS, "BackendState": "Starting"}, "only starting"),
    ({**STATUS, "BackendState": "SomethingNew"}, "in the state SomethingNew"),
    ({**STATUS, "BackendState": 7}, "in the state unknown"),
    (self_with(Online=False), "no connection"),
    (self_with(TailscaleIPs=["fd7a:115c:a1e0::1"]), "IPv6 addresses only"),
    ("failed to connect to local tailscaled", "does not answer"),
    ("[" * 100_000, "does not answer"),
])
def test_why_there_is_no_address(tailscale, tmp_path, answer, words):
    """Said at a start that would only listen on loopback, and the reason to refuse JOIN=tailscale."""
    tailscale(answer)
    settings, said = settings_for(tmp_path, HOST=None, JOIN="tailscale"), []
    network.choose_host(settings, said.append)
    assert settings["HOST"] == "127.0.0.1" and words in said[0] and "127.0.0.1" in said[0]
    with pytest.raises(Refused, match=re.escape(words)):
        seeds.choose(settings, True, False, said.append)


def test_without_tailscale_nothing_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    settings, said = settings_for(tmp_path, HOST=None), []
    network.choose_host(settings, said.append)
    assert settings["HOST"] == "127.0.0.1" and not said
    with pytest.raises(Refused, match="not installed"):
        seeds.choose(settings_for(tmp_path, JOIN="tailscale"), True, False, said.append)


def test_whom_join_means(tailscale, tmp_path):
    tailscale(with_peers(peer("b", "127.0.0.2", Tags=["tag:chord"]), peer("c", "127.0.0.3"),
                         peer("page", "127.0.0.4"), peer("gone", "127.0.0.5")))

    def join(text, fresh=True, create=False):
        settings = settings_for(tmp_path, JOIN=text)
        seeds.choose(settings, fresh, create, said.append)
        return settings["JOIN"]

    said = []
    with ExitStack() as stack:
        for host, port, hello in (("127.0.0.2", PORT, joining.HELLO_OF_NODE),
                                  ("127.0.0.2", PORT + 1, joining.HELLO_OF_NODE),
                                  ("127.0.0.3", PORT + 2, joining.HELLO_OF_NODE),
                                  ("127.0.0.4", PORT, b"HTTP/1.1 400")):
            stack.enter_context(listener(hello, host, port))
        # One of each host before the second of any.
        assert join("tailscale") == f"127.0.0.2:{PORT},127.0.0.3:{PORT + 2},127.0.0.2:{PORT + 1}"
        assert "b (127.0.0.2" in said[0] and "c (127.0.0.3" in said[0]
        assert join("tailscale:tag:chord") == f"127.0.0.2:{PORT},127.0.0.2:{PORT + 1}"
        # A host alone: where a node of it answers; else the first port, for the refusal to name.
        assert join("127.0.0.3, 127.0.0.5,127.0.0.9:7") == \
            f"127.0.0.3:{PORT + 2},127.0.0.5:{PORT},127.0.0.9:7"
        # Nobody is overlooked: a second ring only if somebody says so.
        with pytest.raises(Refused, match="nodes in this tailnet already .*--join tailscale.*--create"):
            join("")
        assert join("", create=True) == "" and join("", fresh=False) == ""
        for text in ("tailscale", "127.0.0.2:4001"):
            with pytest.raises(Refused, match="one of the two"):
                join(text, create=True)
        with pytest.raises(Refused, match="--create makes a new ring, and .* holds nodes"):
            join("", fresh=False, create=True)


def test_who_finds_nobody_creates_nothing(tailscale, tmp_path):
    said = []
    for status, words in ((with_peers(peer("b", "127.0.0.2")), "asked: b"),
                          (with_peers(), "no other host is online")):
        tailscale(status)
        with pytest.raises(Refused) as refusal:
            seeds.choose(settings_for(tmp_path, JOIN="tailscale"), True, False, said.append)
        assert words in str(refusal.value) and "--create" in str(refusal.value)
        for fresh, create in ((True, True), (False, False)):  # the first host; one that was there
            settings = settings_for(tmp_path, JOIN="tailscale")
            seeds.choose(settings, fresh, create, said.append)
            assert settings["JOIN"] == ""


def test_many_silent_hosts_cost_little(tailscale, tmp_path, monkeypatch):
    """No more than HOSTS_MAX are asked, all at the same time."""
    asked = []
    monkeypatch.setattr(joining, "problem_of", lambda address, timeout: asked.append(address) or "no")
    tailscale(with_peers(*(peer(f"h{i:03}", f"100.64.1.{i}") for i in range(200))))
    with pytest.raises(Refused, match="and more"):
        seeds.choose(settings_for(tmp_path, JOIN="tailscale"), True, False, print)
    assert len(asked) == seeds.HOSTS_MAX * seeds.PORTS
