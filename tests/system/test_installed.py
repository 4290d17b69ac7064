# SPDX-License-Identifier: MIT
"""An installed build: plain CMake makes the pages whole, also without a network."""

import re
import shutil
import subprocess

import pytest
from launcher.ringview import Api
from ports import PortBlock
from ring import BUILD, ROOT, until

REFERENCE = re.compile(r"""(?:src|href)="([^"#:]+)"|(?:from|import)\s*["']([./][^"']+)["']""")


def references(path, text):
    """Absolute paths that a page or a module loads."""
    for match in REFERENCE.finditer(text):
        name = match[1] or match[2]
        parts = [] if name.startswith("/") else path.split("/")[1:-1]
        for part in name.split("/"):
            parts = parts[:-1] if part == ".." else parts + [part] * (part not in ("", "."))
        yield "/" + "/".join(parts)


def load_all(api, first):
    """Follows every reference from one page; {path: status}."""
    seen, left = {}, [first]
    while left:
        path = left.pop()
        status, body = api.request("GET", path)
        seen[path] = status if body else "empty"
        if status == 200 and not path.endswith((".svg", ".csv", ".png")):
            left += [name for name in references(path, body.decode())
                     if name not in seen and not name.startswith("/api/")]
    return seen


def test_the_page_of_an_installed_build_is_whole(tmp_path):
    subprocess.run(["cmake", "--install", BUILD, "--prefix", tmp_path / "usr"], check=True,
                   stdout=subprocess.DEVNULL)
    for name in ("bin/chord-node", "bin/chordctl", "lib/systemd/system/chord-node@.service",
                 "lib/systemd/system/chord-gateway.service", "lib/systemd/system/chord.target"):
        assert (tmp_path / "usr" / name).is_file(), name
    ports = PortBlock()
    gateway = subprocess.Popen([tmp_path / "usr/bin/chord-gateway", "--port", str(ports.port),
                                "--data", tmp_path / "data"], stdin=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        api = Api("127.0.0.1", ports.port)

        def alive():
            try:
                return api.request("GET", "/livez")[0] == 200
            except OSError:
                return False
        until(alive, 20, "the gateway")
        seen = load_all(api, "/")
        assert set(seen.values()) == {200}, seen
        assert {"/vendor/preact.js", "/vendor/signals.js", "/app.js"} <= set(seen)
    finally:
        gateway.terminate()
        gateway.wait(30)
        ports.close()


@pytest.mark.skipif(subprocess.run(["unshare", "-rn", "true"], check=False,
                                   stderr=subprocess.DEVNULL).returncode != 0,
                    reason="no network namespaces here")
def test_plain_cmake_makes_the_modules_without_a_network():
    """From those of an earlier build."""
    folder = ROOT / "build" / "plain"
    try:
        subprocess.run(["unshare", "-rn", "sh", "-c",
                        f"cmake --preset release -B {folder} -G Ninja && "
                        f"cmake --build {folder} --target gateway/assets_data.c"],
                       cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        embedded = (folder / "gateway" / "assets_data.c").read_text()
        assert '"/vendor/preact.js"' in embedded and '"/vendor/htm.js"' in embedded
    finally:
        shutil.rmtree(folder, ignore_errors=True)
