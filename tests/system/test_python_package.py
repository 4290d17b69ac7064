# SPDX-License-Identifier: MIT
"""The Python client as people get it: installed without a network, its README's code as it stands,
its types checked."""

import os
import re
import shutil
import subprocess
import zipfile

import pytest
from ring import ROOT

FOLDER = ROOT / "proto" / "clients" / "python"
SYSTEM_PYTHON = "/usr/bin/python3"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def run(*arguments, **options):
    done = subprocess.run([str(one) for one in arguments], stdin=subprocess.DEVNULL, text=True,
                          capture_output=True, timeout=100, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built in a copy that cannot be written to, without an index."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("proto/chord", "proto/clients/python"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("CMakeLists.txt", "LICENSE", "proto/clients/fates.csv"):
        shutil.copy(ROOT / name, source / name)
    missing = [name for name in ("pip", "setuptools", "wheel") if subprocess.run(
        [SYSTEM_PYTHON, "-c", f"import {name}"], capture_output=True, check=False).returncode]
    assert not missing, f"python3-{missing[0]} is missing: sh deploy/install-deps.sh test"
    before = sorted(source.rglob("*"))
    run(SYSTEM_PYTHON, "-m", "pip", "wheel", "--no-index", "--no-build-isolation", "--no-deps",
        "--wheel-dir", folder, source / "proto" / "clients" / "python")
    assert sorted(source.rglob("*")) == before, "the build wrote into the source tree"
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel):
    """A folder with what the wheel has, as pip lays it."""
    folder = wheel.parent / "installed"
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def test_the_version_is_that_of_the_project(wheel):
    text = (ROOT / "CMakeLists.txt").read_text()
    version = re.search(r"^project\(chord VERSION ([\d.]+)", text, re.MULTILINE).group(1)
    assert wheel.name == f"chord_dht-{version}-py3-none-any.whl"


def test_what_is_installed_needs_no_protoc_and_no_source_tree(installed, tmp_path):
    names = {path.name for path in (installed / "chord_dht").iterdir()}
    assert {"py.typed", "fates.csv", "LICENSE", "_pb2"} <= names
    said = run(SYSTEM_PYTHON, "-c", "import chord_dht.messages as m, chord_dht.fates as f; "
               "print(m.load().kv.__file__, f.FATES['CHALLENGE'].again)",
               env={"PYTHONPATH": str(installed), "PATH": "/nowhere", "HOME": str(tmp_path)},
               cwd=tmp_path)
    assert said == f"{installed}/chord_dht/_pb2/kv_pb2.py later\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_pip_installs_it_into_an_environment(tmp_path):
    run(SYSTEM_PYTHON, "-m", "venv", "--system-site-packages", tmp_path / "env")
    run(tmp_path / "env" / "bin" / "pip", "install", "--no-index", "--no-build-isolation", FOLDER)
    assert "put KEY VALUE" in run(tmp_path / "env" / "bin" / "python", "-c",
                                  "import chord_dht.__main__ as m; print(m.__doc__)", cwd=tmp_path)
    assert "lookup" in run(tmp_path / "env" / "bin" / "chord-dht", "--help", cwd=tmp_path)


def test_types():
    mypy = shutil.which("mypy")
    assert mypy, "mypy is missing: sh deploy/install-deps.sh test"
    cache = ROOT / "build" / "mypy"  # the second time it takes a second
    run(mypy, "--cache-dir", cache, "--config-file", FOLDER / "pyproject.toml", "--python-version",
        "3.9", FOLDER / "chord_dht")


def test_the_readmes_code(new_ring, installed, tmp_path):
    """Each as it stands, over what was installed; a comment behind a print is what it prints."""
    ring = new_ring(M=32).start(3)
    assert len(SNIPPETS) == 2
    for snippet in SNIPPETS:
        assert 8 <= len(snippet.strip().splitlines()) <= 12
        program = tmp_path / "snippet.py"
        program.write_text(snippet.replace("127.0.0.1:4001", ring.address(1)))
        said = run(SYSTEM_PYTHON, "-X", "dev", "-W", "error", program,
                   env={**os.environ, "PYTHONPATH": str(installed)}).splitlines()
        promised = re.findall(r"print\(.*\)\s+# (.*)$", snippet, re.MULTILINE)
        assert promised and said[:len(promised)] == promised
        assert all(line in [ring.address(slot) for slot in (1, 2, 3)] for line in said[len(promised):])
