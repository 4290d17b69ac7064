# SPDX-License-Identifier: MIT
"""`init.py up|status|down|rolling-restart|upgrade --hosts`: the hosts of hosts.toml, one after the other.

First all hosts are asked how they are (`init.py status` there, which changes nothing). From that follows
a plan, a list of steps; it is printed, and carried out when somebody says yes. A step is one command on
one host; those that start something end when the ring is healthy as seen from there (background.py). The
first step that fails stops the run: what is done stays, and the same command goes on from there.
"""

import json
import shlex
import time
from concurrent.futures import ThreadPoolExecutor

from . import hosts as hosts_module, plan, remote
from .checkout import SHORT, Bundle
from .common import Refused

LOOK_TIMEOUT_S = 60
LOOKS = 16  # at a time
SETTLE_S, SETTLE_PAUSE_S = 20, 0.5  # each gateway sees what another one has seen a moment later
FIELDS = {"slots", "ring", "ring_dashboard", "version", "commit", "well"}  # of a host that runs

# $1 the checkout; then the words of an init.py that looks.
LOOK = "; ".join((
    '[ -f "$1/init.py" ] || { echo \'{"phase": "%s"}\'; exit 1; }' % plan.NO_CHECKOUT,
    'cd "$1"',
    'shift',
    'exec python3 init.py "$@"'))


# Looking

def look(host):
    """What background.look() says there, or {"phase": ..., "problem": text}."""
    command = plan.script(LOOK, host.directory, "status", "--json", *plan.data_dir_words(host))
    code, last = remote.run(host, command, b"", None, LOOK_TIMEOUT_S)
    try:
        seen = json.loads(last) if last.startswith("{") else None
    except (ValueError, RecursionError):
        seen = None
    if isinstance(seen, dict) and "phase" in seen:
        if plan.is_running(seen) and not FIELDS <= set(seen):
            return {"phase": "unknown", "problem": "what runs there is of another version, and does not "
                    "say how it is"}
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
    rows = [("host", "nodes", "ring", "members", "version", "page")]
    for host in hosts:
        one = seen[host.name]
        if "problem" in one or not plan.is_running(one):
            rows.append((host.name, "-", one.get("problem") or one["phase"], "-", "-", "-"))
            continue
        slots = one["slots"]
        running = sum(slot["state"] == "running" for slot in slots)
        ring = one["ring"]
        commit = one["commit"][:SHORT]
        rows.append((host.name, f"{running} of {len(slots)}",
                     ring["state"] if one["well"] or ring["state"] != "healthy" else one["phase"],
                     f"{ring['members']}", f"{one['version']} {commit}".strip(), one["ring_dashboard"]))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in rows]


def problems_of(hosts, seen):
    """Why not all is well, in words."""
    found = [f"{host.name} is not well" for host in hosts if seen[host.name].get("well") is not True]
    rings = {seen[host.name]["ring"]["id"] for host in hosts if plan.is_running(seen[host.name])} - {""}
    if len(rings) > 1:
        found.append("the hosts are in different rings: " + ", ".join(sorted(rings)))
    return found


def tell(hosts, seen, report):
    problems = problems_of(hosts, seen)
    text = "\n".join([*table(hosts, seen), *problems])
    report.event("hosts", text, hosts=seen, problems=problems)
    return 1 if problems else 0


def look_at_settled(hosts, report):
    """As all hosts see it once the last step has told that the ring is well: all may, for a moment, not
    have seen that yet."""
    deadline = time.monotonic() + SETTLE_S
    seen = look_at(hosts, report)
    while problems_of(hosts, seen) and not unknown(seen) and time.monotonic() < deadline:
        time.sleep(SETTLE_PAUSE_S)
        seen = {host.name: look(host) for host in hosts}
    return seen


def from_first(hosts, first):
    if first is None:
        return hosts
    names = [host.name for host in hosts]
    if first not in names:
        raise Refused(f"--from {first} is no host of the file; there are: {', '.join(names)}")
    return hosts[names.index(first):]


def steps_of(options, hosts, seen):
    bundle = Bundle()
    chosen = from_first(hosts, options.first)
    if options.command == "down":
        return plan.down(hosts, seen)
    refuse_unknown(seen, options.command)
    if options.command == "up":
        return plan.up(hosts, seen, bundle, options.create)
    if options.command == "upgrade":
        return plan.upgrade(chosen, hosts, seen, bundle)
    return plan.rolling_restart(chosen)


def run(options, report):
    hosts = hosts_module.read(options.hosts)
    seen = look_at(hosts, report)
    if options.command == "status":
        return tell(hosts, seen, report)
    steps = steps_of(options, hosts, seen)
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
        return tell(hosts, look_at_settled(hosts, report), report)
    if unasked := unknown(seen):
        raise Refused(f"it is not known what still runs on {', '.join(unasked)}")
    return 0
