# SPDX-License-Identifier: MIT
"""What `--hosts` runs: from the hosts (hosts.py) and what each says of itself (fleet.py), a list of steps.
A step is one command for the shell of one host; what it needs beside that goes through its input, secrets
above all. Nothing is run here.
"""

import shlex
from dataclasses import dataclass

from . import hosts as hosts_module
from .checkout import SHORT
from .settings import setting_named

NO_CHECKOUT = "no checkout"

# $1 the checkout, $2 the commit; a bundle of git's comes in.
BRING_CODE = "; ".join((
    'if [ ! -e "$1/.git" ]',
    'then mkdir -p "$1"',
    '[ -z "$(ls -A "$1")" ] || { echo "$1 holds other files and is no checkout of git"; exit 1; }',
    'git init -q "$1"',
    'fi',
    'cd "$1"',
    'bundle=$(mktemp)',
    'trap "rm -f $bundle" EXIT',
    'cat >"$bundle"',
    'git fetch -q "$bundle" HEAD',
    'git checkout -q --detach "$2" || '
    '{ echo "files of $1 were changed on that host: git -C $1 status"; exit 1; }'))
# $1 the checkout, $2 DATA_DIR, $3 the file's name there; its content comes in.
BRING_SECRET = "; ".join((
    'cd "$1"',
    'umask 077',
    'mkdir -p "$2"',
    'file=$2/$3',
    'rm -f "$file.new"',
    'cat >"$file.new"',
    'if cmp -s "$file.new" "$file"',
    'then rm "$file.new"',
    'chmod 600 "$file"',
    'else mv "$file.new" "$file"',
    'echo "$3 is written"',
    'fi'))


@dataclass(frozen=True)
class Step:
    host: hosts_module.Host
    what: str
    command: str
    data: bytes = b""


def script(text, *words):
    """The same for every login shell."""
    return "sh -ec " + shlex.join([text, "sh", *words])


def init(host, verb, *words):
    return f"cd {shlex.quote(host.directory)} && " + \
        shlex.join(["python3", "init.py", verb, *words, *data_dir_words(host)])


def data_dir_words(host):
    return ["--data-dir", host.settings["DATA_DIR"]] if "DATA_DIR" in host.settings else []


def start_words(host, join):
    """What an init.py on the host is told beside its verb and DATA_DIR."""
    words = ["--yes"]
    for name, value in host.settings.items():
        if name != "DATA_DIR":
            words += [setting_named(name).flag_name, value]
    for name in host.secrets:
        words += [setting_named(name).flag_name, f"{host.data_dir()}/{host.secret_name(name)}"]
    words += ["--join", join] if join else []
    return words + (["--build", host.build] if host.build else [])


def is_running(one):
    return one.get("running") is True


def has_data(one):
    return one.get("has_data") is True


def code_steps(host, bundle):
    commit, data = bundle()
    return [Step(host, f"bring commit {commit[:SHORT]} (a git bundle, over ssh)",
                 script(BRING_CODE, host.directory, commit), data)]


def secret_steps(host):
    return [Step(host, f"bring {path.name} as {host.data_dir()}/{host.secret_name(name)}, where it "
                 "differs", script(BRING_SECRET, host.directory, host.data_dir(),
                                   host.secret_name(name)), path.read_bytes())
            for name, path in host.secrets.items()]


def making_words(hosts, host, create):
    """Without addresses the others look for the ring in the tailnet: it must be there and no other be."""
    join = "" if host.address else hosts_module.join_of(hosts, host)
    return start_words(host, join) + (["--create"] if create or join else [])


def up(hosts, seen, bundle, create=False):
    """Hosts that run are left alone. A ring that is only down needs several hosts to come back, so these
    are started together; new hosts join one by one. Only where no host runs or has data does the first
    one make a ring."""
    stopped = [host for host in hosts if not is_running(seen[host.name])]
    old = [host for host in stopped if has_data(seen[host.name])]
    new = [host for host in stopped if host not in old]
    makes = None if len(stopped) < len(hosts) or old else hosts[0]
    steps = []
    for host in old + new:
        alone = host in old[:-1]
        what = "" if host.build else "install what is missing, build, "
        if host is makes:
            what += "start, making the ring"
            words = making_words(hosts, host, create)
        else:
            what += "start" if alone else "start, and wait for a healthy ring"
            words = start_words(host, hosts_module.join_of(hosts, host))
        if seen[host.name]["phase"] == NO_CHECKOUT:
            steps += code_steps(host, bundle)
        steps += secret_steps(host)
        steps.append(Step(host, what, init(host, "up", *words, *(["--no-wait"] if alone else []))))
    return steps


def down(hosts, seen):
    """The one that came first goes last."""
    return [Step(host, "stop; the data stays", init(host, "down")) for host in reversed(hosts)
            if is_running(seen[host.name])]


def rolling_restart(hosts):
    return [Step(host, "restart its nodes one by one, waiting for a healthy ring after each",
                 init(host, "rolling-restart", "--yes")) for host in hosts]


def upgrade(hosts, everybody, seen, bundle):
    steps = []
    for host in hosts:
        if seen[host.name].get("commit") != bundle()[0]:
            steps += code_steps(host, bundle)
        steps += secret_steps(host)
        steps.append(Step(host, ("" if host.build else "build beside what runs, ") + "stop, start, and "
                          "wait for a healthy ring", init(host, "upgrade", *start_words(
                              host, hosts_module.join_of(everybody, host)))))
    return steps
