# SPDX-License-Identifier: MIT
"""The contract: proto/chord/v1 keeps buf's rules, and no number of it ever means something else than
in proto/published.binpb. With a new version (CHANGELOG.md): `cd proto && ../tests/proto/node_modules/.bin/buf build
--exclude-source-info -o published.binpb`."""

import subprocess

import pytest

from chord_dht import envelopes, messages
from launcher import build
from ring import ROOT

FOLDER = ROOT / "tests" / "proto"


@pytest.fixture(scope="module")
def buf():
    build.npm_ci(FOLDER)

    def run(*arguments, folder=ROOT / "proto"):
        done = subprocess.run([FOLDER / "node_modules" / ".bin" / "buf", *arguments], cwd=folder,
                              capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr
    return run


def test_lint(buf):
    assert buf("lint") == (0, "")


def test_nothing_published_changes(buf):
    assert buf("breaking", "--against", "published.binpb") == (0, "")


def test_a_number_used_again_is_found(buf, tmp_path):
    subprocess.run(["cp", "-r", ROOT / "proto" / "chord", ROOT / "proto" / "buf.yaml", tmp_path],
                   check=True)
    contract = tmp_path / "chord" / "v1" / "kv.proto"
    text = contract.read_text()
    assert text.count("bytes op_id = 4;") == 1
    contract.write_text(text.replace("bytes op_id = 4;", "uint64 op_number = 4;"))
    code, said = buf("breaking", "--against", ROOT / "proto" / "published.binpb", folder=tmp_path)
    assert code != 0 and "Field \"4\"" in said


def vectors():
    lines = (ROOT / "proto" / "vectors.txt").read_text().splitlines()
    words = [line.split() for line in lines if not line.startswith("#")]
    return {name: bytes.fromhex(text) for name, text in words}


def test_vectors_are_those_of_the_readme():
    text = (ROOT / "proto" / "README.md").read_text()
    given = vectors()
    shown = "".join(word for line in text.split("## The MAC")[0].splitlines()
                    if line.startswith("    ") for word in line.split()
                    if len(word) == 2 and set(word) <= set("0123456789abcdef"))
    assert given["request"].hex() in shown and given["answer"].hex() in shown
    assert given["signed_request"][-32:].hex() in text
    assert f"`{given['key'].decode()}`" in text


def test_the_python_client_knows_the_vectors():
    given = vectors()
    request = messages.load().envelope.RpcRequest.FromString(given["signed_request"])
    assert envelopes.request_mac(given["key"], request) == request.mac
    signed = envelopes.Envelopes(given["key"])
    answer = signed.open("node", request, given["signed_answer"])
    assert answer.start == given["answer"][10:26] and answer.clock_ms == 4660
    for place in (3, 12, 40, len(given["signed_answer"]) - 1):
        wrong = bytearray(given["signed_answer"])
        wrong[place] ^= 1
        with pytest.raises(envelopes.Rejected):
            signed.open("node", request, bytes(wrong))
