# SPDX-License-Identifier: MIT
"""`init.py up|status|down|rolling-restart|upgrade --hosts`: the hosts of hosts.toml, one after the other.

First all hosts are asked how they are (`init.py status` there, which changes nothing). From that follows
a plan, a list of steps; it is printed, and carried out when somebody says yes. A step is one command on
one host; those that start something end when the ring is healthy as seen from there (background.py). The
first step that fails stops the run: what is done stays, and the same command goes on from there.
"""

import json
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from . import hosts as hosts_module, remote
from .common import ROOT, Refused, commit_of_checkout
from .settings import setting_named

LOOK_TIMEOUT_S = 60
LOOKS = 16  # at a time
SHORT = 12  # characters of a commit
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
# $1 the checkout; then the words of an init.py that looks.
LOOK = "; ".join((
    '[ -f "$1/init.py" ] || { echo \'{"phase": "%s"}\'; exit 1; }' % NO_CHECKOUT,
    'cd "$1"',
    'shift',
    'exec python3 init.py "$@"'))


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


def start_words(host, join, create=False):
    """What an init.py on the host is told beside its verb and DATA_DIR."""
    words = ["--yes"]
    for name, value in host.settings.items():
        if name != "DATA_DIR":
            words += [setting_named(name).flag_name, value]
    for name in host.secrets:
        words += [setting_named(name).flag_name, f"{host.data_dir()}/{host.secret_name(name)}"]
    words += ["--join", join] if join else []
    words += ["--build", host.build] if host.build else []
    return words + (["--create"] if create else [])


# Looking

def look(host):
    """What background.look() says there, or {"phase": ..., "problem": text}."""
    command = script(LOOK, host.directory, "status", "--json", *data_dir_words(host))
    code, last = remote.run(host, command, b"", None, LOOK_TIMEOUT_S)
    try:
        seen = json.loads(last) if last.startswith("{") else None
    except (ValueError, RecursionError):
        seen = None
    if isinstance(seen, dict) and "phase" in seen:
        return seen
    if isinstance(seen, dict):
        last = str(seen.get("text"))
    return {"phase": "unknown" if code != remote.SSH_FAILED else "not reached",
            "problem": f"exit code {code}: {last or 'it said nothing'}"}


def look_at(hosts, report):
    report.say(f"Asking {len(hosts)} hosts how they are (python3 init.py status) ...")
    with ThreadPoolExecutor(LOOKS) as pool:
        return dict(zip((host.name for host in hosts), pool.map(look, hosts)))


def unknown(seen):
    return [f"{name} ({one['problem']})" for name, one in seen.items() if "problem" in one]


def refuse_unknown(seen, verb):
    """What is not known of one host could be all that matters: that it holds the ring."""
    if unasked := unknown(seen):
        raise Refused(f"{verb} needs to know how every host is, and cannot ask {', '.join(unasked)}: "
                      "mend that, or take the host out of the file")


def is_running(one):
    return one.get("running") is True


def has_data(one):
    return one.get("has_data") is True


# Plans

def code_steps(host, code):
    commit, bundle = code()
    return [Step(host, f"bring commit {commit[:SHORT]} (a git bundle, over ssh)",
                 script(BRING_CODE, host.directory, commit), bundle)]


def secret_steps(host):
    return [Step(host, f"bring {path.name} as {host.data_dir()}/{host.secret_name(name)}, where it "
                 "differs", script(BRING_SECRET, host.directory, host.data_dir(),
                                   host.secret_name(name)), path.read_bytes())
            for name, path in host.secrets.items()]


def plan_up(hosts, seen, code, create=False):
    """Hosts that run are left alone. A ring that is only down needs several hosts to come back, so these
    are started together; new hosts join one by one. Only where no host runs or has data does the first
    one make a ring."""
    stopped = [host for host in hosts if not is_running(seen[host.name])]
    old = [host for host in stopped if has_data(seen[host.name])]
    new = [host for host in stopped if host not in old]
    makes = None if len(stopped) < len(hosts) or old else hosts[0]
    steps = []
    for host in old + new:
        if seen[host.name]["phase"] == NO_CHECKOUT:
            steps += code_steps(host, code)
        steps += secret_steps(host)
        join = "" if host is makes else hosts_module.join_of(hosts, host)
        alone = host in old[:-1]
        what = "start, making the ring" if host is makes else \
            "start" if alone else "start, and wait for a healthy ring"
        steps.append(Step(host, what, init(host, "up", *start_words(host, join, create and host is makes),
                                           *(["--no-wait"] if alone else []))))
    return steps


def plan_down(hosts, seen):
    """The one that came first goes last."""
    return [Step(host, "stop; the data stays", init(host, "down")) for host in reversed(hosts)
            if is_running(seen[host.name])]


def plan_rolling_restart(hosts):
    return [Step(host, "restart its nodes one by one, waiting for a healthy ring after each",
                 init(host, "rolling-restart", "--yes")) for host in hosts]


def plan_upgrade(hosts, everybody, seen, code):
    steps = []
    for host in hosts:
        if seen[host.name].get("commit") != code()[0]:
            steps += code_steps(host, code)
        steps += secret_steps(host)
        steps.append(Step(host, ("" if host.build else "build beside what runs, ") + "stop, start, and "
                          "wait for a healthy ring", init(host, "upgrade", *start_words(
                              host, hosts_module.join_of(everybody, host)))))
    return steps


# The code

def git(*words):
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=False)
    if done.returncode != 0:
        raise Refused(f"git {words[0]} failed here: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


class Code:
    """This checkout's commit, bundled once for all hosts; refused where it is not what lies here."""

    def __init__(self):
        self.made = None

    def __call__(self):
        if self.made is None:
            commit = commit_of_checkout()
            if not commit:
                raise Refused(f"{ROOT} is no checkout of git, so there is no commit to bring to the "
                              "hosts")
            # .env holds this machine's settings; a host's are in hosts.toml.
            if changed := git("status", "--porcelain", "--untracked-files=no", "--", ".",
                              ":!.env").decode().splitlines():
                raise Refused(f"{len(changed)} files here differ from commit {commit[:SHORT]} "
                              f"({changed[0][3:]}): commit them, or put them back (git stash), so that "
                              "it is known what the hosts run")
            if git("rev-parse", "--is-shallow-repository").strip() == b"true":
                raise Refused("this checkout has only a part of its history, which git cannot hand on: "
                              "git fetch --unshallow")
            self.made = commit, git("bundle", "create", "-", "HEAD")
        return self.made


# Carrying it out

def show_plan(steps, report):
    lines = [f"This will run, in this order, on {len({step.host.name for step in steps})} hosts, over "
             "ssh:"]
    for number, step in enumerate(steps, 1):
        lines += [f"{number:3}. {step.host.name}: {step.what}",
                  f"     {remote.shown(step.host, step.command)}"]
    report.event("plan", "\n".join(lines), steps=[
        {"host": step.host.name, "what": step.what, "command": step.command} for step in steps])


def may_go_on(options, report):
    if options.yes or report.ask("Type yes to go on: ", "yes"):
        return
    raise Refused("nothing was done: say yes on a terminal, or --yes")


def carry_out(steps, report, again):
    for number, step in enumerate(steps, 1):
        name = step.host.name
        report.event("step", f"{name}: {step.what} ({number} of {len(steps)}) ...", host=name)
        code, last = remote.run(step.host, step.command, step.data,
                                lambda line, name=name: report.event("output", f"  {name}: {line}",
                                                                     host=name))
        if code != 0:
            raise Refused(f"{name}: {step.what}: "
                          + ("ssh failed, " if code == remote.SSH_FAILED else "")
                          + f"exit code {code}: {last or 'it said nothing'}. What is done stays; go on "
                          f"with: {again(step.host)}")


def table(hosts, seen):
    """How the hosts are, as lines."""
    rows = [("host", "address", "nodes", "ring", "members", "version")]
    for host in hosts:
        one = seen[host.name]
        if "problem" in one or not is_running(one):
            rows.append((host.name, host.address or "-", "-", one.get("problem") or one["phase"], "-", "-"))
            continue
        slots = one["slots"]
        running = sum(slot["state"] == "running" for slot in slots)
        ring = one["ring"]
        commit = one["commit"][:SHORT]
        rows.append((host.name, host.address or "-", f"{running} of {len(slots)}",
                     ring["state"] if one["well"] or ring["state"] != "healthy" else one["phase"],
                     f"{ring['members']}", f"{one['version']} {commit}".strip()))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in rows]


def problems_of(hosts, seen):
    """Why not all is well, in words."""
    found = [f"{host.name} is not well" for host in hosts if seen[host.name].get("well") is not True]
    rings = {seen[host.name]["ring"]["id"] for host in hosts if is_running(seen[host.name])}
    if len(rings) > 1:
        found.append("the hosts are in different rings: " + ", ".join(sorted(rings)))
    return found


def tell(hosts, seen, report):
    problems = problems_of(hosts, seen)
    text = "\n".join([*table(hosts, seen), *problems])
    report.event("hosts", text, hosts=seen, problems=problems)
    return 1 if problems else 0


def from_first(hosts, first):
    if first is None:
        return hosts
    names = [host.name for host in hosts]
    if first not in names:
        raise Refused(f"--from {first} is no host of the file; there are: {', '.join(names)}")
    return hosts[names.index(first):]


def plan(options, hosts, seen):
    code = Code()
    chosen = from_first(hosts, options.first)
    if options.command == "down":
        return plan_down(hosts, seen)
    refuse_unknown(seen, options.command)
    if options.command == "up":
        return plan_up(hosts, seen, code, options.create)
    if options.command == "upgrade":
        return plan_upgrade(chosen, hosts, seen, code)
    return plan_rolling_restart(chosen)


def run(options, report):
    hosts = hosts_module.read(options.hosts)
    seen = look_at(hosts, report)
    if options.command == "status":
        return tell(hosts, seen, report)
    steps = plan(options, hosts, seen)
    if steps:
        show_plan(steps, report)
        if options.dry_run:
            return 0
        may_go_on(options, report)

        def again(host):
            start = f" --from {host.name}" if options.command in ("rolling-restart", "upgrade") else ""
            return f"python3 init.py {options.command} --hosts {shlex.quote(options.hosts)}{start}"
        carry_out(steps, report, again)
    else:
        report.say("Nothing to do.")
    if options.command != "down":
        return tell(hosts, look_at(hosts, report), report)
    if unasked := unknown(seen):
        raise Refused(f"it is not known what still runs on {', '.join(unasked)}")
    return 0
