# SPDX-License-Identifier: MIT
"""libchord-client installed by itself, and the example of the README against a live ring."""

import os
import re
import subprocess

import pytest

from ring import BUILD, ROOT, SANITIZER_WORDS, until

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


def compiled(prefix, folder, static, source=HELLO):
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
                    *flags(prefix, "--cflags"), source, *libs, "-o", program], check=True)
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


RING = """
#include <chord_client.h>
#include <stdio.h>

int main(int argc, char **argv) {
    struct chord_client_options options = {.members = argc > 1 ? argv[1] : NULL};
    struct chord_client *client;
    struct chord_lookup lookup;
    struct chord_ring ring;
    char error[200];
    if (chord_client_open(&client, &options, error, sizeof error) != 0) {
        return 2;
    }
    bool found = chord_lookup(client, "greeting", 8, NULL, 0, &lookup);
    bool looked = chord_ring_look(client, &ring);
    struct chord_walk *walk = chord_walk_new(client, "greet", 5, true);
    struct chord_page page = {.done = false};
    size_t rows = 0;
    while (!page.done && chord_walk_next(walk, 100, &page, error, sizeof error)) {
        for (size_t i = 0; i < page.count; i++, rows++) {
            printf("%.*s=%.*s ", (int)page.rows[i].key_size, (const char *)page.rows[i].key,
                   (int)page.rows[i].value_size, (const char *)page.rows[i].value);
        }
    }
    chord_walk_free(walk);
    printf("%zu of %d\\n", rows, page.done);
    printf("%d %s %zu\\n", found, lookup.owner.address, lookup.hops_count);
    printf("%d %zu %s\\n", ring.ideal, ring.members, ring.text);
    for (size_t i = 0; i < ring.nodes_count; i++) {
        printf("%s %s %s\\n", ring.nodes[i].node.id, ring.nodes[i].node.address, ring.nodes[i].state);
    }
    chord_lookup_free(&lookup);
    chord_ring_free(&ring);
    chord_client_close(client);
    return found && looked ? 0 : 1;
}
"""


def test_the_ring_and_a_lookup(new_ring, prefix, tmp_path):
    ring = new_ring().start(3)
    ring.wait_healthy(3)
    source = tmp_path / "ring.c"
    source.write_text(RING)
    program, libraries = compiled(prefix, tmp_path, False, source)

    def run(members):
        done = subprocess.run([program, members], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "LD_LIBRARY_PATH": str(libraries)})
        assert not any(word in done.stderr for word in SANITIZER_WORDS), done.stderr
        return done.returncode, done.stdout.splitlines()
    for key in ("greeting", "greenery", "other"):
        assert ring.put(key, "hello") in (200, 201, 204)
    code, (rows, lookup, verdict, *nodes) = run(ring.address(1))
    assert rows == "greeting=hello 1 of 1"
    assert code == 0 and lookup.split()[1] in [ring.address(slot) for slot in (1, 2, 3)]
    assert verdict.startswith("1 3 3 members, every predecessor and successor list is right"), verdict
    wanted = sorted((node["id"], node["address"]) for node in ring.members())
    assert [tuple(line.split()) for line in nodes] == [(*one, "member") for one in wanted]
    code, (rows, lookup, verdict) = run("127.0.0.1:1")
    assert rows == "0 of 0"
    assert code == 1 and lookup.startswith("0") and verdict.startswith("0 0 127.0.0.1:1: "), verdict


TELL = """
#include <chord_client.h>
#include <stdio.h>

int main(int argc, char **argv) { /* MEMBER NODE ID WRONG */
    struct chord_client_options options = {.members = argv[1]};
    const char *seeds[] = {argv[1]};
    struct chord_command commands[] = {
        {.kind = CHORD_LEAVE, .node = argv[2]},
        {.kind = CHORD_JOIN, .node = argv[2], .seeds = seeds, .seeds_count = 1},
        {.kind = CHORD_RECOVER, .node = argv[1], .lo = "0", .id = "x"},
        {.kind = CHORD_KILL, .node = argv[2], .id = argv[4]},
        {.kind = CHORD_KILL, .node = argv[2], .id = argv[3]},
        {.kind = CHORD_LEAVE, .node = argv[2], .timeout_ms = 2000},
    };
    struct chord_client *client;
    char error[200];
    if (argc != 5 || chord_client_open(&client, &options, error, sizeof error) != 0) {
        return 2;
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        struct chord_told told;
        bool done = chord_tell(client, &commands[i], &told);
        printf("%d %d %s %d %s\\n", done, told.answer.fate, chord_code_text(told.answer.code),
               told.answer.answered, told.answer.address);
        fflush(stdout);
        if (i == 0 || i == 4) { /* until it has left; until its process is gone */
            getchar();
        }
    }
    chord_client_close(client);
    return 0;
}
"""


def test_a_node_is_told(new_ring, prefix, tmp_path):
    """Leave, join, recover, kill: each sent once, with its fate."""
    ring = new_ring().start(4)
    ring.wait_healthy(4)
    source = tmp_path / "tell.c"
    source.write_text(TELL)
    program, libraries = compiled(prefix, tmp_path, False, source)
    one, node = ring.address(1), ring.address(4)
    ids = {member["address"]: member["id"] for member in ring.members()}
    process = subprocess.Popen([program, one, node, ids[node], ids[one]], text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE,
                               env={**os.environ, "LD_LIBRARY_PATH": str(libraries)})
    until(lambda: ring.node(4)["state"] == "left", 60, "the node left")
    process.stdin.write("\n")
    process.stdin.flush()
    until(lambda: 4 not in ring.running_slots(), 60, "the node's process ended")
    output, errors = process.communicate("\n", timeout=60)
    assert process.returncode == 0 and not any(word in errors for word in SANITIZER_WORDS), errors
    done, not_done = 0, 1
    assert output.splitlines() == [
        f"1 {done} OK 1 {node}",
        f"1 {done} OK 1 {node}",
        f"0 {not_done} INVALID_ARGUMENT 1 {one}",
        f"0 {not_done} FAILED_PRECONDITION 1 {node}",
        f"1 {done} OK 1 {node}",
        f"0 {not_done} UNAVAILABLE 0 {node}",  # nobody is there any more
    ]


def test_nothing_else_is_installed_and_shown(prefix):
    names = {path.name for path in prefix.glob("**/*") if path.is_file()}
    assert {"chord_client.h", "chord-client.pc", "libchord-client.a", "libchord-client.so"} <= names
    assert all("chord" in name for name in names - {"copyright"}) and "chord-node" not in names
    (library,) = prefix.glob("**/libchord-client.so")
    shown = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True,
                           check=True).stdout
    functions = {line.split()[-1] for line in shown.splitlines()}
    header = next(prefix.glob("**/chord_client.h")).read_text()
    told = set(re.findall(r"\b(chord_\w+)\(", header)) - {"chord_done_fn"}  # a type
    assert told <= functions
    # Beside them only what must stand before the C library's own.
    assert functions - told == {"getaddrinfo"}


def test_the_readme_shows_the_example():
    licence, example = HELLO.read_text().split("\n", 1)
    assert "SPDX" in licence
    assert example in (ROOT / "proto" / "README.md").read_text()
