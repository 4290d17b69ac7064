# SPDX-License-Identifier: MIT
"""hosts.toml: what it says of each host, and refusals that name file, table, key and fix."""

import shutil

import pytest
from conftest import ROOT
from launcher import hosts
from launcher.common import Refused
from launcher.settings import SECRETS

ONE = '[[host]]\nname = "a"\n'


def read(tmp_path, text):
    (tmp_path / "hosts.toml").write_text(text, encoding="utf-8")
    return hosts.read(tmp_path / "hosts.toml")


def secret(tmp_path, name, text="a secret of sixteen bytes and more\n", mode=0o600):
    (tmp_path / name).write_text(text)
    (tmp_path / name).chmod(mode)


def test_the_sample_is_right(tmp_path):
    shutil.copy(ROOT / "deploy" / "hosts.example.toml", tmp_path / "hosts.toml")
    for number, name in enumerate(("ring.key", "api.token")):
        secret(tmp_path, name, f"{number} a secret of sixteen bytes and more\n")
    alpha, beta = hosts.read(tmp_path / "hosts.toml")
    assert (alpha.name, alpha.local, alpha.directory, alpha.build) == ("alpha", True, "chord", "")
    assert alpha.settings == {"M": "32", "REPLICAS": "3", "HOST": "192.0.2.1", "NUM_OF_NODES": "4"}
    assert beta.name == "operator@beta" and not beta.local
    assert beta.settings == {"M": "32", "REPLICAS": "3", "HOST": "192.0.2.2", "NUM_OF_NODES": "2",
                             "PORT": "8000"}
    assert alpha.secrets == beta.secrets == {"RING_KEY_FILE": tmp_path / "ring.key",
                                             "API_TOKEN_FILE": tmp_path / "api.token"}


def test_a_host_beats_what_stands_for_all(tmp_path):
    a, b = read(tmp_path, 'directory = "/srv/chord"\nbuild = "built"\n[settings]\nM = 8\nPORT = 4000\n'
                + ONE + '[[host]]\nname = "b"\ndirectory = "other"\n[host.settings]\nM = "9"\n')
    assert (a.directory, a.build, a.settings) == ("/srv/chord", "built", {"M": "8", "PORT": "4000"})
    assert (b.directory, b.build, b.settings) == ("other", "built", {"M": "9", "PORT": "4000"})


def test_whom_each_host_joins(tmp_path):
    text = "".join(f'[[host]]\nname = "h{i}"\naddress = "192.0.2.{i}"\n' for i in range(1, 4))
    text += "settings.PORT = 8000\n" + '[[host]]\nname = "h4"\naddress = "192.0.2.4"\nsettings.RPC_PORT = 7000\n'
    found = read(tmp_path, text)
    assert hosts.join_of(found, found[0]) == "192.0.2.2,192.0.2.3:9001,192.0.2.4:7001"
    assert hosts.join_of(found, found[2]) == "192.0.2.4:7001,192.0.2.1,192.0.2.2"
    many = read(tmp_path, "".join(f'[[host]]\nname = "h{i}"\naddress = "192.0.2.{i}"\n'
                                  for i in range(1, 65)))
    assert len(hosts.join_of(many, many[63]).split(",")) == hosts.JOIN_MAX
    by_tailscale = read(tmp_path, ONE + '[[host]]\nname = "b"\n')
    assert [hosts.join_of(by_tailscale, host) for host in by_tailscale] == ["tailscale", "tailscale"]
    alone = read(tmp_path, ONE)
    assert hosts.join_of(alone, alone[0]) == ""


def test_each_secret_has_a_name_of_its_own_on_the_host(tmp_path):
    host = read(tmp_path, ONE)[0]
    names = [host.secret_name(name) for name in SECRETS]
    assert len(set(names)) == len(names) and "ring.key" in names and "api.token" in names


@pytest.mark.parametrize("text, parts", [
    ("", ["1 to 64 tables [[host]]"]),
    ("host = 7", ["1 to 64"]), ("host = [7]", ["[[host]] 1", "no table"]),
    (ONE * 65, ["1 to 64"]),
    ("x = 1\ny = [\nz", ["is no TOML", "line 3"]),
    ("[" * 1000, ["is no TOML"]),
    (f"hots = 1\n{ONE}", ["has hots", "did you mean host?"]),
    ('[[host]]\nnmae = "a"', ["[[host]] 1", "has nmae", "did you mean name?"]),
    ("[[host]]\n", ["name=(missing)", "HOST"]),
    ('[[host]]\nname = "-oProxyCommand=x"', ["name=-oProxyCommand=x", "nothing that ssh takes"]),
    ('[[host]]\nname = "a b"', ["nothing that ssh takes"]),
    ('[[host]]\nname = 7', ["name is no text"]),
    (ONE + ONE, ["two hosts have the name a"]),
    (f'{ONE}address = "1.2.3"', ["[[host]] a", "is not an IPv4 address"]),
    (f'{ONE}address = "0.0.0.0"', ["no address that others can dial"]),
    (f'{ONE}address = "1.2.3.4"\n[[host]]\nname = "b"\naddress = "1.2.3.4"', ["the address 1.2.3.4"]),
    (f'{ONE}address = "1.2.3.4"\n[[host]]\nname = "b"', ["b has no address and others have one"]),
    (f"{ONE}local = 1", ["local is neither true nor false"]),
    (f"{ONE}nodes = 0", ["NUM_OF_NODES=0", "[[host]] a", "range 1..1000"]),
    (f"{ONE}nodes = true", ["nodes=True", "whole number"]),
    (f'{ONE}directory = "~/chord"', ["directory=~/chord", "below the home folder"]),
    (f'{ONE}directory = "$HOME"', ["directory=$HOME"]),
    (f'{ONE}directory = ""', ["directory is empty"]),
    (f'{ONE}build = "~/b"', ["build=~/b", "below the checkout"]),
    (f'{ONE}directory = "a\\nb"', ["directory is no text"]),
    (f'{ONE}directory = "{"x" * 256}"', ["directory is no text of 1 to 255"]),
    (f"settings = 7\n{ONE}", ["settings is no table"]),
    (f"[settings]\nREPLICA = 3\n{ONE}", ["[settings]", "has REPLICA", "did you mean REPLICAS?"]),
    (f"{ONE}settings.replicas = 3", ["[[host]] a [settings]", "did you mean REPLICAS?"]),
    (f"[settings]\nM = 2\n{ONE}", ["M=2", "[settings]", "range 3..160"]),
    (f"[settings]\nM = 8.0\n{ONE}", ["M is neither a number nor a text"]),
    (f"[settings]\nM = true\n{ONE}", ["M is neither"]),
    (f'[settings]\nHOST = "1.2.3.4"\n{ONE}', ["has HOST, which stands in address"]),
    (f'[settings]\nJOIN = "b"\n{ONE}', ["has JOIN, which stands in the addresses"]),
    (f"[settings]\nNUM_OF_NODES = 3\n{ONE}", ["stands in nodes"]),
    (f'[settings]\nRING_KEY_FILE = "k"\n{ONE}', ["stands in [secrets]"]),
    (f'[settings]\nDATA_DIR = "~/data"\n{ONE}', ["DATA_DIR=~/data"]),
    (f'[secrets]\nRING_KEY = "k"\n{ONE}', ["[secrets]", "has RING_KEY", "did you mean RING_KEY_FILE?"]),
    (f"[secrets]\nRING_KEY_FILE = 7\n{ONE}", ["RING_KEY_FILE is no path"]),
    (f'[secrets]\nRING_KEY_FILE = "none"\n{ONE}', ["none", "cannot be read"]),
    (f'[secrets]\nRING_KEY_FILE = "weak"\n{ONE}', ["weak", "can be guessed"]),
    (f'[secrets]\nRING_KEY_FILE = "open"\n{ONE}', ["open", "chmod 600"]),
    (f'{ONE}secrets.CLIENT_KEY_FILE = "good"', ["without RING_KEY_FILE"]),
])
def test_mistakes_are_refused_by_name(tmp_path, text, parts):
    secret(tmp_path, "good")
    secret(tmp_path, "weak", "aaaaaaaaaaaaaaaaaaaaaaaa\n")
    secret(tmp_path, "open", mode=0o644)
    with pytest.raises(Refused) as refusal:
        read(tmp_path, text)
    for part in (str(tmp_path), *parts):
        assert part in str(refusal.value)


def test_a_file_that_cannot_be_one(tmp_path):
    with pytest.raises(Refused, match="copy deploy/hosts.example.toml"):
        hosts.read(tmp_path / "none.toml")
    with pytest.raises(Refused, match="more than 262144 bytes"):
        read(tmp_path, "#" * (hosts.FILE_BYTES_MAX + 1))
    (tmp_path / "hosts.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(Refused, match="is no TOML"):
        hosts.read(tmp_path / "hosts.toml")
