# SPDX-License-Identifier: MIT
"""cmake --install and the Debian packages: what is in them, what they depend on, the units by
systemd's own judgement; and the life of a host with them: installed, started, upgraded with the
data kept, removed (slow, on hosts of their own: package_host.py)."""

import json
import os
import re
import shutil
import signal
import subprocess

import pytest
from launcher.ringview import Api
from package_host import UNITS, BootedHost, OverlayHost, Refused
from ports import PortBlock
from ring import RELEASE_BUILD, ROOT, until

NAMES = ("chord-node", "chord-gateway", "chord-tools", "libchord-client")
PROGRAMS = {"chord-node": "chord-node", "chord-gateway": "chord-gateway",
            "chord-tools": "chordctl"}
EXPOSURE_MAX = 25  # of systemd-analyze security, in tenths
CONTENTS = {
    "chord-node": ["usr/bin/chord-node", "usr/lib/systemd/system/chord-node@.service",
                   "usr/share/doc/chord-node/copyright", "usr/share/man/man8/chord-node.8.gz"],
    "chord-gateway": ["usr/bin/chord-gateway", "usr/lib/systemd/system/chord-gateway.service",
                      "usr/share/doc/chord-gateway/copyright", "usr/share/doc/chord/gateway.md",
                      "usr/share/man/man8/chord-gateway.8.gz"],
    "chord-tools": ["etc/chord/chord.env", "usr/bin/chordctl",
                    "usr/lib/systemd/system/chord.target",
                    "usr/share/bash-completion/completions/chordctl",
                    "usr/share/doc/chord-tools/copyright", "usr/share/doc/chord/CHANGELOG.md",
                    "usr/share/doc/chord/README.md", "usr/share/doc/chord/deploy.md",
                    "usr/share/doc/chord/examples/chord.env", "usr/share/man/man1/chordctl.1.gz",
                    "usr/share/zsh/vendor-completions/_chordctl"],
}


def said(*command, **options):
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


def project_version():
    return re.search(r"project\(chord VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())[1]


def next_version():
    *first, last = project_version().split(".")
    return ".".join([*first, str(int(last) + 1)])


def pack(folder, *options):
    """{package: its file}, of the programs that are built."""
    config = RELEASE_BUILD / "CPackConfig.cmake"
    assert config.is_file(), f"{config} is missing: build it first (python3 init.py test builds)"
    said("cpack", "--config", config, "-B", folder, *options)
    return {file.name.split("_")[0]: file for file in folder.glob("*.deb")}


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    return pack(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prefix") / "usr"
    said("cmake", "--install", RELEASE_BUILD, "--prefix", folder)
    return folder


def listing(package):
    """{path: (mode, owner)}"""
    lines = [line.split() for line in said("dpkg-deb", "--contents", package).splitlines()]
    return {words[5].removeprefix("./"): (words[0], words[1]) for words in lines}


def fields(package):
    text = said("dpkg-deb", "--field", package)
    return dict(re.findall(r"^(\S+): (.*)$", text, re.M))


# ---- what is in them ----

def test_each_package_has_its_files_and_everybody_may_read_them(packages):
    assert sorted(packages) == sorted(NAMES)
    for name, package in packages.items():
        found = listing(package)
        files = sorted(path for path in found if not path.endswith("/"))
        if name in CONTENTS:
            assert files == CONTENTS[name]
        else:
            wanted = ("libchord-client.a", "libchord-client.so", "chord_client.h",
                      "chord-client.pc", "copyright")
            assert not [end for end in wanted if not any(it.endswith(end) for it in files)], files
        for path, (mode, owner) in found.items():
            program = path.startswith("usr/bin/") and not path.endswith("/")
            wanted = ("drwxr-xr-x" if path.endswith("/") else "-rwxr-xr-x" if program
                      else "lrwxrwxrwx" if mode[0] == "l" else "-rw-r--r--")
            assert (mode, owner) == (wanted, "root/root"), path


def test_dependencies_are_those_of_the_programs(packages):
    """Against what ldd and dpkg know; the version is the project's."""
    for name, package in packages.items():
        about = fields(package)
        assert about["Version"] == project_version() and about["Description"]
        depends = re.findall(r"[^\s,(]+(?= \(|,|$)", about["Depends"])
        assert ("chord-tools" in depends) == (name in ("chord-node", "chord-gateway"))
        if name not in PROGRAMS:
            continue
        program = RELEASE_BUILD / ("gateway" if name == "chord-gateway" else "node") / PROGRAMS[name]
        needed = set(re.findall(r"NEEDED\s+(\S+)", said("objdump", "-p", program)))
        paths = dict(re.findall(r"(\S+) => (\S+)", said("ldd", program)))
        files = {os.path.realpath(paths[library]).split("/")[-1]
                 for library in needed & set(paths)}  # without the loader
        assert len(files) > 3
        found = re.findall(r"^([^:,\s]+).*?: \S*/(\S+)$",
                           said("dpkg", "--search", *[f"*/{file}" for file in files]), re.M)
        for file in files:
            assert {owner for owner, path in found if path == file} & set(depends), (name, file)


def test_units_of_packages_name_the_places_of_packages(packages, tmp_path):
    for name in ("chord-node", "chord-gateway", "chord-tools"):
        said("dpkg-deb", "--extract", packages[name], tmp_path)
    for unit in (ROOT / "deploy" / "systemd").iterdir():
        installed = tmp_path / ("etc/chord" if unit.suffix == ".env" else
                                "usr/lib/systemd/system") / unit.name
        assert installed.read_text() == unit.read_text()
    page = said("gzip", "-dc", tmp_path / "usr/share/man/man8/chord-node.8.gz")
    assert "/etc/chord/chord.env" in page and "@" not in page.replace("chord-node@", "").replace(
        "node@2", ""), page


def test_maintainer_scripts(packages, tmp_path):
    """Each is a shell script that does nothing where systemd does not run; settings are the
    owner's."""
    for name, package in packages.items():
        said("dpkg-deb", "--control", package, tmp_path / name)
        for script in (tmp_path / name).glob("p*"):
            said("sh", "-n", script)
            assert script.stat().st_mode & 0o777 == 0o755
            assert "chord" not in name[:5] or "SPDX" in script.read_text()
    assert (tmp_path / "chord-tools" / "conffiles").read_text() == "/etc/chord/chord.env\n"


# ---- cmake --install ----

def test_settings_that_are_there_stay(prefix):
    settings = prefix / "etc" / "chord" / "chord.env"
    before = settings.read_text()
    settings.write_text("HOST=127.0.0.1\n")
    said("cmake", "--install", RELEASE_BUILD, "--prefix", prefix, "--component", "tools")
    assert settings.read_text() == "HOST=127.0.0.1\n"
    settings.write_text(before)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
@pytest.mark.parametrize("unit", ("chord-node@.service", "chord-gateway.service", "chord.target"))
def test_systemd_finds_nothing_wrong(prefix, unit):
    folder = prefix / "lib" / "systemd" / "system"
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:",
                   "MANPATH": str(prefix / "share" / "man")}
    pages = [] if shutil.which("man") else ["--man=no"]
    assert said("systemd-analyze", "verify", *pages, unit, env=environment) == ""
    if unit.endswith(".service"):
        said("systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE_MAX}",
             folder / unit)


@pytest.mark.parametrize("page", ("man8/chord-node.8", "man8/chord-gateway.8", "man1/chordctl.1"))
def test_manual_pages_have_the_programs_own_words(prefix, page):
    program = prefix / "bin" / page.split("/")[1].rsplit(".", 1)[0]
    text = (prefix / "share" / "man" / page).read_text()
    lines = text.replace("\\-", "-").replace("\\&", "").replace("\\e", "\\").splitlines()
    for line in said(program, "--help").splitlines():
        assert line.rstrip() in lines, line
    if shutil.which("man"):
        shown = said("man", "--warnings", "--local-file", prefix / "share" / "man" / page,
                     env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "160"})
        assert "warning" not in shown and f"{prefix}/etc/chord" in shown


COMPLETION = """. "$1"; program=$2
complete_of() {
    COMP_WORDS=("$program" "$@"); COMP_CWORD=$#; _chordctl; echo "${COMPREPLY[*]}"
}
complete_of ''; complete_of le; complete_of --no; complete_of leave --w; complete_of -o ''
complete_of --node 127.0.0.1:1 exp; complete_of import --key"""


def test_completion_knows_what_the_program_knows(prefix):
    shown = said("bash", "-c", COMPLETION, "bash",
                 prefix / "share/bash-completion/completions/chordctl",
                 prefix / "bin" / "chordctl").splitlines()
    commands = re.findall(r"^  ([a-z]+)", said(prefix / "bin" / "chordctl", "--help"), re.M)
    assert shown == [" ".join(commands), "leave", "--node", "--wait", "table json", "export",
                     "--key-column"]


# The builtins that only a line editor has are played, and tell what they are given.
ZSH_COMPLETION = """fpath=("$1" $fpath); program=$2; autoload -Uz _chordctl
compadd() { shift; for offered in "$@"; do [[ $offered == ${words[CURRENT]}* ]] && print -rn -- "$offered "; done }
_files() { print -n files }
complete_of() { words=("$program" "$@"); CURRENT=${#words}; _chordctl; print }
complete_of ''; complete_of le; complete_of --no; complete_of leave --w; complete_of -o ''
complete_of --node 127.0.0.1:1 exp; complete_of import --key; complete_of --node ''
complete_of import ''; complete_of --ring-key-file ''"""


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh here")
def test_zsh_completion_knows_what_the_program_knows(prefix):
    shown = [line.strip() for line in said(
        "zsh", "-f", "-c", ZSH_COMPLETION, "zsh", prefix / "share" / "zsh" / "site-functions",
        prefix / "bin" / "chordctl").splitlines()]
    commands = re.findall(r"^  ([a-z]+)", said(prefix / "bin" / "chordctl", "--help"), re.M)
    assert shown == [" ".join(commands), "leave", "--node", "--wait", "table json", "export",
                     "--key-column", "", "files", "files"]


# ---- the life of a host ----

@pytest.fixture(params=[OverlayHost, BootedHost])
def host(request, tmp_path):
    made = request.param.__new__(request.param)
    try:
        made.__init__(tmp_path / "host")
        yield made
    except Refused as reason:
        pytest.skip(str(reason))
    finally:
        made.close()


@pytest.fixture
def lone_host(tmp_path):
    made = BootedHost.__new__(BootedHost)
    try:
        made.__init__(tmp_path / "host", own_network=True)
        yield made
    except Refused as reason:
        pytest.skip(str(reason))
    finally:
        made.close()


class Cluster:
    """Three nodes and the gateway of one host, set up as deploy/README.md says."""

    def __init__(self, host, folder):
        self.host, self.ports = host, PortBlock()
        self.node = f"127.0.0.1:{self.ports.rpc_port + 1}"
        token = folder / "api.token"
        token.write_text("a token for the test of packages\n")
        host.write("/etc/chord/ring.key", "a ring key for the test\n", 0o600)
        host.write("/etc/chord/api.token", token.read_text(), 0o600)
        self.settings = (f"HOST=127.0.0.1\nJOIN={self.node}\nLOCAL_NODES=3\nNUM_OF_NODES=5\n"
                         f"PORT={self.ports.port}\nRPC_PORT={self.ports.rpc_port}\n")
        host.write("/etc/chord/chord.env", self.settings)
        for slot in (1, 2, 3):
            first = "JOIN=\nSTART=--create\n" if slot == 1 else ""
            host.write(f"/etc/chord/node-{slot}.env",
                       f"NODE_PORT={self.ports.rpc_port + slot}\n{first}")
        self.api = Api("127.0.0.1", self.ports.port, token)

    def chordctl(self, *words):
        return self.host.run("chordctl", "--node", self.node, "--ring-key-file",
                             "/etc/chord/ring.key", *words)

    def wait_ready(self):
        until(self.api.ready, 60, self.api.why_not_ready)

    def wait_healthy(self):
        until(lambda: (self.api.ring() or {}).get("state") == "healthy", 60,
              lambda: json.dumps(self.api.ring())[:2000])

    def members(self):
        return sorted((node["id"], node["address"]) for node in self.api.ring()["nodes"]
                      if node["state"] == "member")

    def rows(self):
        self.chordctl("export", "/tmp/rows.csv")
        lines = (self.host.root / "tmp" / "rows.csv").read_text().splitlines()
        (self.host.root / "tmp" / "rows.csv").unlink()
        return sorted(line.split(",")[:2] for line in lines if line.startswith("key-"))


@pytest.mark.slow
@pytest.mark.time_limit(1200)
def test_install_start_upgrade_remove(host, packages, tmp_path):
    names = NAMES[:3]
    host.install([packages[name] for name in names])
    host.check_nothing_started()
    cluster = Cluster(host, tmp_path)
    host.start(*UNITS)
    cluster.wait_ready()
    cluster.wait_healthy()
    assert host.status("chord-node@2").startswith("member of ring "), host.status("chord-node@2")
    host.write("/tmp/rows-in.csv", "key,value\n" + "".join(f"key-{i},value {i}\n"
                                                             for i in range(300)))
    cluster.chordctl("import", "/tmp/rows-in.csv")
    members, rows = cluster.members(), cluster.rows()
    assert len(members) == 3 and len(rows) == 300

    newer = pack(tmp_path / "newer", "-R", next_version())
    pids = {unit: host.pid_of(unit) for unit in UNITS}
    told = host.install([newer[name] for name in names])
    assert "nodes go on with the version before" in told
    host.check_upgraded(pids)
    assert host.run("dpkg-query", "--show", "--showformat=${Version} ", *names).split() == \
        [next_version()] * 3
    assert (host.root / "etc/chord/chord.env").read_text() == cluster.settings
    for unit in UNITS[:3]:  # one after the other, as deploy/README.md says
        host.restart(unit)
        cluster.wait_healthy()
    assert pids["chord-node@1"] != host.pid_of("chord-node@1")
    assert (cluster.members(), cluster.rows()) == (members, rows)

    host.remove(names)
    assert not host.exists("/usr/bin/chord-node") and not host.exists("/usr/bin/chordctl")
    assert host.exists("/etc/chord/chord.env")
    with pytest.raises(OSError):
        cluster.api.request("GET", "/livez")
    purged = host.run("dpkg", "--purge", *names)
    for slot in (1, 2, 3):
        folder = f"/var/lib/private/chord/node-{slot}"
        assert host.exists(f"{folder}/chord.db")
        assert f"the data in {folder} stays" in purged
    assert not host.exists("/etc/chord/chord.env") and host.exists("/etc/chord/ring.key")
    cluster.ports.close()


def readme_lines(first, count):
    """A block of deploy/README.md, from the line that begins so; sudo is not needed by root."""
    lines = (ROOT / "deploy" / "README.md").read_text().splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith("    " + first))
    return [line.strip().replace("sudo ", "") for line in lines[at:at + count]]


def state(host, unit):
    """(active, how often it was started again)"""
    return host.show(unit, "ActiveState"), int(host.show(unit, "NRestarts"))


@pytest.mark.slow
@pytest.mark.time_limit(1200)
def test_the_commands_of_the_readme_and_what_systemd_does_then(lone_host, packages):
    host, (one, two, three) = lone_host, UNITS[:3]
    apt, secrets, settings, enable = readme_lines("sudo apt install", 4)
    assert re.findall(r"\./(\S+?)_\*", apt) == ["chord-node", "chord-gateway", "chord-tools"]
    host.install([packages[name] for name in NAMES[:3]])
    address = re.search(r"100(\.\d+){3}", settings)[0]
    host.add_address(address)
    ring = ["chordctl", "--node", f"{address}:4001", "--ring-key-file", "/etc/chord/ring.key"]

    # Without settings a unit ends at once, says what is missing, and is not tried again.
    assert "failed" in host.run("systemctl", "start", one, check=False)
    assert "ring.key cannot be used" in host.run("systemctl", "status", one, check=False)
    assert state(host, one) == ("failed", 0)
    for line in (secrets, settings, enable):
        host.run("sh", "-c", line)
    assert host.status(one).endswith(f"at {address}:4001, alone"), host.status(one)
    for unit in (two, three):
        host.run("systemctl", "enable", "--now", unit)
        assert "its successor is" in host.status(unit)
    host.run(*ring, "put", "kept", "by all")

    # Killed, and hanging: started again.
    host.signal(two, signal.SIGKILL)
    until(lambda: state(host, two) == ("active", 1), 60, lambda: state(host, two))
    host.signal(two, signal.SIGSTOP)
    until(lambda: state(host, two) == ("active", 2), 120, lambda: state(host, two))

    # A member waits for a majority and says so; its unit is not started before.
    host.run("systemctl", "stop", "chord.target")
    until(lambda: [state(host, unit)[0] for unit in UNITS[:3]] == ["inactive"] * 3, 60, "the end")
    host.run("systemctl", "start", "--no-block", two)
    until(lambda: "1 of 3 are here, 2 are enough" in host.status(two), 60,
          lambda: host.status(two))
    assert state(host, two)[0] == "activating"
    host.run("systemctl", "start", one, three)
    until(lambda: state(host, two)[0] == "active", 60, lambda: state(host, two))
    assert host.run(*ring, "get", "kept").strip() == "by all"

    # Back from a backup: systemd gives the folder to the user of its units.
    host.run("systemctl", "stop", two)
    host.run("sh", "-c", "mkdir /backup && cp /var/lib/private/chord/node-2/chord.db "
             "/backup/node-2.db")
    for line in readme_lines("systemctl stop chord-node@2 && mv", 3):
        host.run("sh", "-c", line)
    assert state(host, two)[0] == "active"
    assert host.run(*ring, "get", "kept").strip() == "by all"

    # A step back, here one that the start takes forward again.
    for line in (*readme_lines("systemctl stop chord-node@2 && chown", 2), f"systemctl start {two}"):
        host.run("sh", "-c", line)
    assert state(host, two)[0] == "active"

    # Leaving is an order of its own.
    host.run(*ring, "leave", "--wait", f"{address}:4002")
    until(lambda: "has left the ring" in host.status(two), 30, lambda: host.status(two))
    host.run("systemctl", "disable", "--now", two)
    assert host.run(*ring, "get", "kept").strip() == "by all"
