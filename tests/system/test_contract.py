"""The contract: proto/chord/v1 keeps buf's rules, and no number of it ever means something else than
in proto/published.binpb. After new fields: `cd proto && ../tests/proto/node_modules/.bin/buf build
--exclude-source-info -o published.binpb`."""

import subprocess

import pytest

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
