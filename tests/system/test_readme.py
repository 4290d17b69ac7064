# SPDX-License-Identifier: MIT
"""Every command line that a README file shows: collected from the files, each tried as far as it is
cheap. What takes minutes (soak, figures, ...) must at least be understood with its arguments; both
commands at the top of README.md run as they stand, among the slow tests.

A line of a program that this file does not know fails: teach it here how to try it.
"""

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys

import pytest
from launcher import faults, settings as launcher_settings, sim
from launcher.ringview import Api
from ports import PortBlock
from ring import BUILD, ROOT, until

sys.path.insert(0, str(ROOT))
import init  # noqa: E402

SYSTEM_PYTHON = "/usr/bin/python3"
# What stands for something else; a port that nobody listens on, so that nothing is changed.
PLACEHOLDERS = {"HOST:4001": "127.0.0.1:1", "FIRST:4001": "127.0.0.1:1", "OTHER:4001": "127.0.0.1:1",
                "HOST:PORT": "127.0.0.1:1", "NODE": "127.0.0.1:1", "ADDRESS": "127.0.0.1:1",
                "I": "1", "K": "1", "SEED": "1", "FILE": "README.md", "ID": "00"}
# Lines of README files that begin like a command and are none.
NO_COMMANDS = (re.compile(r"node   00 53 "), re.compile(r"sh go\.sh "))  # run by test_go_client.py
# Programs of the distribution whose lines only need to name what is there.
FOREIGN = ("systemctl", "sudo", "mv", "cp", "chown", "chmod", "mkdir", "useradd", "install", "head",
           "base64", "journalctl", "runuser", "go", "tailscale", "spin", "cpack", "for")
OWN = ("python3", SYSTEM_PYTHON, "init.py", "cmake", "ctest", "pytest", "pip", "curl", "chordctl",
       "chord-node", "chord-gateway", "node", "npm")


def readme_files():
    listed = subprocess.run(["git", "ls-files", "*README.md"], cwd=ROOT, capture_output=True,
                            text=True, check=True).stdout.split()
    return [ROOT / name for name in listed]


def is_program(word):
    return word in OWN + FOREIGN or word.startswith(("./", "build/")) and "*" not in word


def parts_of(line):
    """The commands of a line, without comments, explanations and settings before the command."""
    line = re.split(r"\s{2,}|\s#\s", line.strip())[0]
    for part in re.split(r"&&|\||>", line):
        words = part.split()
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words = words[1:]
        if words:
            yield " ".join(words)


def spans(text):
    """(line number, text, whether it is a line of a block) of all that may be a command line."""
    fence, carried = False, ""
    # Python of a README is run by test_python_package.py.
    text = re.sub(r"^```python\n.*?^```$", lambda code: re.sub(".+", "", code.group()), text,
                  flags=re.MULTILINE | re.DOTALL)
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fence = not fence
        elif fence or line.startswith("    "):
            carried += line.strip()
            if carried.endswith("\\"):
                carried = carried[:-1]
                continue
            yield number, carried, True
            carried = ""
        else:
            for span in re.findall(r"`([^`]+)`", line):
                yield number, span, False


def command_lines():
    """{command: where it stands}"""
    found = {}
    for path in readme_files():
        for number, text, block in spans(path.read_text(encoding="utf-8")):
            if any(none.match(text) for none in NO_COMMANDS):
                continue
            for at, command in enumerate(parts_of(text)):
                words = command.split()
                looks = is_program(words[0]) or block and at == 0 and shutil.which(words[0])
                if looks and (block or len(words) > 1) and "[" not in command \
                        and "..." not in words:
                    found.setdefault(command, f"{path.relative_to(ROOT)}:{number}")
    return found


COMMANDS = command_lines()


def of_program(*names):
    chosen = [command for command in COMMANDS
              if command.split()[0] in names or os.path.basename(command.split()[0]) in names]
    assert chosen, names
    return pytest.mark.parametrize("command", chosen,
                                   ids=lambda command: command.replace("/", "-")[:60])


def words_of(command):
    words = shlex.split(command)
    return [PLACEHOLDERS.get(word, word) for word in words]


def run(arguments, cwd=ROOT, **options):
    return subprocess.run([str(argument) for argument in arguments], cwd=cwd, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
                          **options)


def test_no_table_waits_to_be_filled():
    files = subprocess.run(["git", "-C", ROOT, "ls-files", "*.md"], capture_output=True, text=True,
                           check=False).stdout.split()
    for file in files or [str(path.relative_to(ROOT)) for path in ROOT.glob("*.md")]:
        found = re.findall(r"^@[A-Z_]+@$", (ROOT / file).read_text(), re.MULTILINE)
        assert not found, f"{file}: {found}"


def test_every_program_is_known():
    unknown = {command: place for command, place in COMMANDS.items()
               if not is_program(command.split()[0])}
    assert not unknown, "teach tests/system/test_readme.py how to try these"
    assert len(COMMANDS) > 40


@of_program("init.py", "python3", SYSTEM_PYTHON)
def test_python_lines(command):
    words = words_of(command)
    if words[0] != "init.py":
        words = words[1:]
    if words[:2] == ["-m", "pytest"]:
        check_pytest(words[2:])
    elif words[0] == "-m":  # a module: its words must be understood
        done = run([SYSTEM_PYTHON, *words, "--help"],
                   env={**os.environ, "PYTHONPATH": str(ROOT / "proto" / "clients" / "python")})
        assert done.returncode == 0, done.stderr
    elif words[0] == "init.py":
        check_init(words[1:])
    else:
        assert (ROOT / words[0]).is_file(), command
        # --help behind the arguments: those before it must be understood.
        done = run([SYSTEM_PYTHON, ROOT / words[0], *words[1:], "--help"])
        assert done.returncode == 0, done.stderr


def check_init(words):
    """By init.py's own parser; what it passes on must be known to whom it is passed."""
    at = next((at + 1 for at, word in enumerate(words) if word in init.PASSED_ON), len(words))
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            options = init.parser_of(launcher_settings.TABLE).parse_args(words[:at])
        except SystemExit as end:
            assert end.code == 0, said.getvalue()
            return
    rest = words[at:]
    if options.command == "soak":
        assert rest[0] in (*sim.SOAKS, *faults.PROGRAMS)
        rest = [word for word in rest[1:] if word != "--seeds"]
        if words[at] in faults.PROGRAMS:
            main = (ROOT / "tests" / "faults" / faults.PROGRAMS[words[at]]).read_text()
            assert all(f'"{word}"' in main for word in rest if word.startswith("--")), rest
            return
    if options.command in ("sim", "soak"):
        usage = (ROOT / "tests" / "sim" / "chord_sim.c").read_text()
        assert all(f'"{word[2:]}"' in usage or word in usage
                   for word in rest if word.startswith("--")), rest
    if options.command == "bench":
        main = (ROOT / "tests" / "bench" / "main.py").read_text()
        assert all(f'"{word}"' in main for word in rest if word.startswith("--")), rest
    for word in rest:
        assert "/" not in word or list(ROOT.glob(word)), word


@of_program("pytest")
def test_pytest_lines(command):
    check_pytest(words_of(command)[1:])


def check_pytest(words):
    done = run([SYSTEM_PYTHON, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q",
                *words])
    assert done.returncode == 0, done.stdout[-2000:]


@of_program("pip")
def test_pip_lines(command):
    """What it does: test_python_package.py."""
    words = command.split()
    assert words[1] == "install" and (ROOT / words[-1] / "pyproject.toml").is_file(), command
    assert set(words[2:-1]) <= {"--no-build-isolation"}


@of_program("ctest")
def test_ctest_lines(command):
    if (BUILD / "tests").is_dir():
        done = run([*shlex.split(command), "--test-dir", BUILD.absolute(), "-N"])
        assert re.search(r"Total Tests: [1-9]", done.stdout), done.stdout


@of_program("load", "http_load", "echo")
def test_bench_lines(command):
    """--help behind the arguments: those before it must be understood."""
    words = words_of(command)
    program = BUILD.absolute() / "tests" / "bench" / os.path.basename(words[0])
    if program.exists():
        done = run([program, *words[1:], "--help"])
        assert done.returncode == 0, done.stderr


@of_program("cmake")
def test_cmake_lines(command):
    words = shlex.split(command)
    presets = {preset["name"] for preset in json.loads(
        (ROOT / "CMakePresets.json").read_text())["configurePresets"]}
    assert words[1] in ("--preset", "--build", "--install"), command
    name = words[2].removeprefix("build/")
    assert name in presets, command


@of_program("node", "npm")
def test_node_lines(command):
    """Of the JavaScript client's folder."""
    folder = ROOT / "proto" / "clients" / "javascript"
    program, *words = shlex.split(command)
    scripts = json.loads((folder / "package.json").read_text())["scripts"]
    if program == "node":
        assert (folder / words[0]).is_file(), command
    elif words[0] == "install":
        assert words[1].removeprefix("PATH/TO/") == str(folder.relative_to(ROOT)), command
    else:
        assert words == ["ci"] or words[-1] in scripts, command


@of_program("chordctl")
def test_chordctl_lines(command, tmp_path):
    """Understood, and then stopped by the ring that is not there."""
    words = [str(tmp_path / word[1:]) if word.startswith("/") else word
             for word in words_of(command)[1:]]
    if len(words) == 1 and words[0] in ("merge", "join", "leave", "recover", "import",
                                              "export"):
        words.append("--help")  # named without its arguments
    for word in words[1:]:
        path = tmp_path / word
        if word.startswith("/") or "." in word and not word.startswith(("-", "127.")):
            path.parent.mkdir(parents=True, exist_ok=True)
            if words[0] == "import":
                shutil.copy(ROOT / "web" / "sample.csv", path)
    environment = {**os.environ, "CHORD_NODE": "127.0.0.1:1"}
    done = run([BUILD.absolute() / "node" / "chordctl", *words, *([] if "--help" in words else
                ["--timeout", "200"])], cwd=tmp_path, env=environment)
    assert done.returncode != 2, done.stderr
    assert "no option" not in done.stderr and "unknown" not in done.stderr, done.stderr


def test_synopsis_of_the_gateway():
    text = (ROOT / "gateway" / "README.md").read_text()
    flags = set(re.findall(r"\[(--[a-z-]+)", text))
    assert len(flags) > 5
    for flag in flags - {"--exit-with-parent"}:
        done = run([BUILD.absolute() / "gateway" / "chord-gateway", flag])
        assert "needs a value" in done.stderr, (flag, done.stderr)


@of_program(*FOREIGN)
def test_foreign_lines_name_what_is_there(command):
    units = {path.name for path in (ROOT / "deploy" / "systemd").iterdir()}
    words = [word for word in command.split() if word not in ("sudo",)]
    if words[0] == "systemctl":
        for word in words[2:]:
            if not word.startswith("-"):
                name = re.sub(r"@\d+", "@", word)
                name = name if "." in name else f"{name}.service"
                assert name in units, word
    if words[0] == "cmake":
        test_cmake_lines(" ".join(words))
    if words[0] == "cpack":
        assert "include(CPack)" in (ROOT / "deploy" / "package.cmake").read_text()


def test_the_secrets_that_the_readme_makes_are_good(tmp_path):
    lines = [text for _, text, block in spans((ROOT / "deploy" / "README.md").read_text())
             if block and re.match(r"(head|chmod) ", text) and ("ring.key" in text or
                                                                "api.token" in text)]
    assert len(lines) == 3
    subprocess.run(["sh", "-ec", "\n".join(lines)], cwd=tmp_path, check=True)
    chosen = launcher_settings.choose({"RING_KEY_FILE": tmp_path / "ring.key",
                                       "API_TOKEN_FILE": tmp_path / "api.token"}, {},
                                      tmp_path / "none")
    launcher_settings.check_secrets(chosen)


def test_curl_lines(new_ring, tmp_path):
    """Really run, against a ring of one node."""
    ring = new_ring().start(1)
    base = f"http://127.0.0.1:{ring.ports.port}"
    sample = (ROOT / "web" / "sample.csv").read_bytes()
    lines = [command for command in COMMANDS if command.startswith("curl ")]
    assert lines
    for command in lines:
        words = shlex.split(re.sub(r"\.\.\.(?=/)|http://(127\.0\.0\.1|localhost|HOST):(3000|PORT)",
                                   base, command))
        for name in re.findall(r"@([\w.-]+)", command):
            (tmp_path / name).write_bytes(sample)
        if not any(base in word for word in words):
            words.append(f"{base}/api/v1/imports")  # the line names only the way to send
        done = run([words[0], "-sS", "-f", *words[1:]], cwd=tmp_path)
        assert done.returncode == 0, (command, done.stderr)


# Both commands of README.md as they stand; the environment only moves the ports and the data.

def commands_at_the_top():
    text = (ROOT / "README.md").read_text()
    return [next(parts_of(line)) for _, line, block in spans(text) if block][:2]


@pytest.mark.slow
def test_the_first_command(tmp_path):
    first, _ = commands_at_the_top()
    assert first == "python3 init.py"
    ports = PortBlock()
    environment = {**os.environ, "PORT": str(ports.port), "RPC_PORT": str(ports.rpc_port),
                   "DATA_DIR": str(tmp_path / "data"), "HOST": "127.0.0.1"}
    log = tmp_path / "said"
    with open(log, "wb") as output:
        process = subprocess.Popen(first.split(), cwd=ROOT, env=environment,
                                   stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        api = Api("127.0.0.1", ports.port)
        until(lambda: process.poll() is None and api.ready() or process.poll(), 140,
              lambda: log.read_text())
        assert process.poll() is None, log.read_text()
        assert len(api.ring()["nodes"]) == 5
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        ports.close()


@pytest.mark.slow
def test_the_second_command():
    """With the part that takes seconds: the whole is what runs this."""
    _, second = commands_at_the_top()
    assert second == "python3 init.py test"
    done = subprocess.run([*second.split(), "--only", "launcher"], cwd=ROOT, text=True, check=False,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=140)
    assert re.search(r"^[1-9]\d* passed, 0 failed$", done.stdout, re.MULTILINE), done.stdout[-3000:]
