"""libchord-client installed by itself, and the example of the README against a live ring."""

import os
import re
import subprocess

import pytest

from ring import BUILD, ROOT, SANITIZER_WORDS

HELLO = ROOT / "proto" / "clients" / "c" / "examples" / "hello.c"


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prefix")
    subprocess.run(["cmake", "--install", BUILD, "--component", "client", "--prefix", folder],
                   check=True, stdout=subprocess.DEVNULL)
    return folder


def flags(prefix, *options):
    (path,) = prefix.glob("**/pkgconfig")
    done = subprocess.run(["pkg-config", *options, "chord-client"], capture_output=True, text=True,
                          check=True, env={**os.environ, "PKG_CONFIG_PATH": str(path)})
    return done.stdout.split()


def compiled(prefix, folder, static):
    """By a foreign program's means: a compiler and pkg-config."""
    (library,) = prefix.glob("**/libchord-client.a")
    cache = (BUILD / "CMakeCache.txt").read_text()
    sanitize = re.search(r"^CHORD_SANITIZE:.*=(.+)$", cache, re.M)
    program = folder / "hello"
    libs = flags(prefix, "--libs", "--static") if static else flags(prefix, "--libs")
    if static:
        libs = [str(library) if flag == "-lchord-client" else flag for flag in libs]
    subprocess.run(["cc", "-std=c17", "-Wall", "-Wextra", "-Werror",
                    *([f"-fsanitize={sanitize[1]}"] if sanitize else []),
                    *flags(prefix, "--cflags"), HELLO, *libs, "-o", program], check=True)
    return program, library.parent


@pytest.mark.parametrize("static", (False, True))
def test_hello(new_ring, prefix, tmp_path, static):
    ring = new_ring().start(3)
    program, libraries = compiled(prefix, tmp_path, static)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries)}

    def run(members):
        return subprocess.run([program, members], capture_output=True, text=True, env=environment,
                              timeout=60)
    done = run(f"127.0.0.1:1,{ring.address(2)}")
    assert (done.returncode, done.stdout) == (0, "hello, ring\n"), done.stderr
    assert ring.raw("GET", "/api/v1/kv/greeting") == (200, b"hello, ring")
    refused = run("nowhere")
    assert refused.returncode == 2 and "nowhere" in refused.stderr
    for one in (done, refused):
        assert not any(word in one.stderr for word in SANITIZER_WORDS), one.stderr


def test_nothing_else_is_installed_and_shown(prefix):
    names = {path.name for path in prefix.glob("**/*") if path.is_file()}
    assert {"chord_client.h", "chord-client.pc", "libchord-client.a", "libchord-client.so"} <= names
    assert all("chord" in name for name in names) and "chord-node" not in names
    (library,) = prefix.glob("**/libchord-client.so")
    shown = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True,
                           check=True).stdout
    functions = {line.split()[-1] for line in shown.splitlines()}
    header = next(prefix.glob("**/chord_client.h")).read_text()
    told = set(re.findall(r"\b(chord_\w+)\(", header)) - {"chord_done_fn"}  # a type
    assert told <= functions
    # Beside them only what must stand before libnng's and the C library's own.
    assert functions - told == {"nng_stream_send", "nng_stream_recv", "getaddrinfo"}


def test_the_readme_shows_the_example():
    assert HELLO.read_text() in (ROOT / "proto" / "README.md").read_text()
