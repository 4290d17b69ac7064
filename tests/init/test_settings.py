"""Settings: precedence, ranges, and refusals that name setting, value, range and origin."""

import pytest
from launcher import settings as s
from launcher.common import ROOT, Refused


def chosen(tmp_path, text="", environment=None, **flags):
    env_file = tmp_path / ".env"
    env_file.write_text(text, encoding="utf-8")
    return s.choose(flags, environment or {}, env_file)


def test_defaults_without_any_file(tmp_path):
    settings = s.choose({}, {}, tmp_path / "none")
    assert (settings["M"], settings["N"], settings["REPLICAS"]) == (6, 3, 3)
    assert (settings["PORT"], settings["RPC_PORT"]) == (3000, 4000)
    assert settings["DATA_DIR"] == ROOT / "data"
    assert not settings["RING_KEY_FILE"]


def test_flag_beats_environment_beats_file_beats_default(tmp_path):
    assert chosen(tmp_path, "M=7")["M"] == 7
    assert chosen(tmp_path, "M=7", {"M": "8"})["M"] == 8
    assert chosen(tmp_path, "M=7", {"M": "8"}, M="9")["M"] == 9
    assert chosen(tmp_path, "M=7", {"M": ""})["M"] == 7


def test_rpc_port_follows_port(tmp_path):
    assert chosen(tmp_path, "PORT=5000")["RPC_PORT"] == 6000
    assert chosen(tmp_path, "PORT=5000\nRPC_PORT=7000")["RPC_PORT"] == 7000


def test_paths_are_relative_to_where_they_were_written(tmp_path):
    assert chosen(tmp_path, "DATA_DIR=mine")["DATA_DIR"] == tmp_path / "mine"


@pytest.mark.parametrize("text, parts", [
    ("M=2", ["M=2", "line 1 of .env", "3..160"]),
    ("\nM=abc", ["M=abc", "line 2 of .env", "whole number", "3..160"]),
    ("M=", ["M=(empty)", "3..160"]),
    ("N=33", ["N=33", "1..32"]),
    ("PORT=70000", ["PORT=70000", "1..65534"]),
    ("NUM_OF_NODES=0", ["NUM_OF_NODES=0", "1..1000"]),
    ("DEFAULT_CHANNEL_SIZE=-1", ["DEFAULT_CHANNEL_SIZE=-1", "1..1000000"]),
    ("JOIN=somewhere", ["JOIN=somewhere", "HOST:PORT"]),
    ("HOST=0.0.0.0", ["HOST=0.0.0.0", "others can dial"]),
    ("HOST=example", ["HOST=example", "IPv4"]),
    ("what is this", ["line 1", "NAME=VALUE"]),
])
def test_bad_values_are_refused_by_name(tmp_path, text, parts):
    with pytest.raises(Refused) as refusal:
        chosen(tmp_path, text)
    for part in parts:
        assert part in str(refusal.value)
    assert refusal.value.exit_code == 2


def test_origin_is_named_for_environment_and_flag(tmp_path):
    with pytest.raises(Refused, match="from the environment"):
        chosen(tmp_path, "", {"M": "1000"})
    with pytest.raises(Refused, match="from flag --nodes"):
        chosen(tmp_path, "", NUM_OF_NODES="many")


def test_unknown_keys_warn(tmp_path):
    settings = chosen(tmp_path, "M=6\nNUM_NODES=5\n")
    assert settings.warnings == ["NUM_NODES (line 2 of .env) is no setting and is ignored"]


def test_shipped_file_is_valid():
    settings = s.choose({}, {}, ROOT / ".env")
    assert settings.warnings == []
    settings.values["HOST"] = "127.0.0.1"
    s.check_together(settings, settings["NUM_OF_NODES"])
    assert not any(settings.explicit(name) for name in ("M", "N", "REPLICAS"))


@pytest.mark.parametrize("text, parts", [
    ("M=3\nNUM_OF_NODES=9", ["NUM_OF_NODES=9", "8 ids", "M=3"]),
    ("N=2\nREPLICAS=4", ["REPLICAS=4", "1..3", "N=2"]),
    ("PORT=65534", ["65534", "no room"]),
    ("PORT=3000\nRPC_PORT=3002", ["RPC_PORT=3002", "meet"]),
    ("RING_KEY_FILE=/nonexistent/key", ["RING_KEY_FILE", "cannot be read"]),
    ("DATA_DIR=/" + "x" * 100, ["DATA_DIR", "90 bytes"]),
])
def test_values_that_do_not_fit_together(tmp_path, text, parts):
    settings = chosen(tmp_path, text)
    with pytest.raises(Refused) as refusal:
        s.check_together(settings, settings["NUM_OF_NODES"])
    for part in parts:
        assert part in str(refusal.value)


def test_strangers_address_needs_secrets(tmp_path):
    settings = chosen(tmp_path, "HOST=192.0.2.7")
    with pytest.raises(Refused) as refusal:
        s.check_exposure(settings)
    assert "RING_KEY_FILE and API_TOKEN_FILE" in str(refusal.value)
    for name in ("key", "token"):
        (tmp_path / name).write_text("a secret of some length\n")
    s.check_exposure(chosen(tmp_path, "HOST=192.0.2.7\nRING_KEY_FILE=key\nAPI_TOKEN_FILE=token"))
    s.check_exposure(chosen(tmp_path, "HOST=100.101.102.103"))
    s.check_exposure(chosen(tmp_path, "HOST=127.0.0.1"))


def test_what_counts_as_insisting(tmp_path):
    assert not chosen(tmp_path, "M=6").explicit("M")
    assert chosen(tmp_path, "M=7").explicit("M")
    assert chosen(tmp_path, "", {"M": "6"}).explicit("M")
    assert chosen(tmp_path, "", M="6").explicit("M")
