#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The front door: sets up, builds, starts, watches and stops a Chord ring on this host.

    python3 init.py                 install what is missing, build, start the nodes and the page
    python3 init.py test            the same for the tests, then run all of them

How it works: the parts live in deploy/launcher/, one module for each concern. This file reads the
command line, chooses the settings (settings.py: default < .env < environment < flag), makes sure
that the packages are there (packages.py) and that the interpreter sees them, and calls the command.
A start is run.py: it checks everything that can be refused (network.py, joining.py, datadir.py,
memory.py), builds
(build.py), starts the processes (supervisor.py), looks at the ring through the gateway
(ringview.py), shows it (report.py) and serves orders on a Unix socket (control.py), which
`init.py --start`, `--stop`, `--add`, `--leave` and `--link` use (orders.py). The same without a
terminal, `up` and its companions, is background.py; on many hosts (`--hosts`), fleet.py. `test` is
suite.py.

Only the standard library is needed to begin.
"""

import argparse
import os
import signal
import sys

PYTHON_MIN = (3, 11)  # Debian 12
SYSTEM_PYTHON = "/usr/bin/python3"

if sys.version_info < PYTHON_MIN:
    # An old interpreter came first on PATH; it may not even parse the modules below.
    if os.environ.get("CHORD_INIT_SWITCHED") or not os.access(SYSTEM_PYTHON, os.X_OK):
        sys.exit("init.py: needs Python %d.%d or newer" % PYTHON_MIN)
    os.environ["CHORD_INIT_SWITCHED"] = "1"
    os.execv(SYSTEM_PYTHON, [SYSTEM_PYTHON, os.path.abspath(sys.argv[0])] + sys.argv[1:])

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "deploy"))

from launcher import packages, report  # noqa: E402
from launcher.common import EXIT_FAILED, ROOT, Refused  # noqa: E402


def command_run(options, settings, reporter):
    from launcher import orders, run

    if options.start is not None:
        return orders.start(settings, options.start, reporter, options.moved)
    if options.stop is not None:
        return orders.stop(settings, options.stop, reporter)
    if options.restart is not None:
        return orders.restart(settings, options.restart, reporter)
    if options.add is not None:
        return orders.add(settings, options.add, reporter)
    if options.leave and orders.running_address(settings) is not None:
        return orders.leave(settings, reporter)
    if options.link:
        return orders.link(settings, reporter)
    preset = "release" if options.command == "release" else "debug"
    return run.run(settings, reporter, preset, options.build, options.leave, options.moved,
                   options.create)


def command_up(options, settings, reporter):
    from launcher import background
    from launcher.settings import TABLE

    return background.up(settings, background.start_words(options, TABLE), reporter,
                         wait_for_ring=not options.no_wait)


def command_status(options, settings, reporter):
    from launcher import background

    del options
    return background.status(settings, reporter)


def command_down(options, settings, reporter):
    from launcher import background

    del options
    return background.down(settings, reporter)


def command_rolling_restart(options, settings, reporter):
    from launcher import background

    del options
    return background.rolling_restart(settings, reporter)


def command_upgrade(options, settings, reporter):
    from launcher import background, build
    from launcher.settings import TABLE

    def build_beside():
        return [] if options.build else ["--build", build.build("release", reporter.say).folder]
    return background.upgrade(settings, background.start_words(options, TABLE), reporter,
                              build_beside)


def command_test(options, settings, reporter):
    from launcher import suite

    del settings, reporter
    return suite.run(options.full, options.only)


def command_fuzz(options, settings, reporter):
    from launcher import fuzz

    del settings, reporter
    return fuzz.run(options.rest)


def command_figures(options, settings, reporter):
    from launcher import figures

    del settings, reporter
    return figures.run(options.rest)


def command_bench(options, settings, reporter):
    from launcher import bench

    del settings, reporter
    return bench.run(options.rest)


def command_coverage(options, settings, reporter):
    from launcher import coverage

    del options, settings, reporter
    return coverage.run()


def command_sim(options, settings, reporter):
    from launcher import sim

    del settings, reporter
    return sim.run(options.rest)


def command_soak(options, settings, reporter):
    from launcher import faults, sim

    del settings, reporter
    kind, rest = "".join(options.rest[:1]), options.rest[1:]
    if kind in faults.PROGRAMS:
        return faults.soak(kind, rest)
    if kind not in sim.SOAKS:
        raise Refused("soak what? there are: soak sim|clients [--seeds K] [options of chord-sim], "
                      "soak faults [--kills K] [--pauses K] [--partitions K] and soak stalls "
                      "[--minutes K]")
    seeds = 10000
    if rest[:1] == ["--seeds"] and len(rest) > 1 and rest[1].isdigit() and int(rest[1]) > 0:
        seeds, rest = int(rest[1]), rest[2:]
    return sim.soak(kind, seeds, rest)


def command_reset(options, settings, reporter):
    from launcher import datadir

    del options
    datadir.reset(settings, reporter.say)
    return 0


# name: (function, set of packages that it needs beside those of a start, help). New sub-commands are
# new lines here.
COMMANDS = {
    "run": (command_run, None, "start with a debug build; the same as no command at all"),
    "release": (command_run, None, "start with an optimised build"),
    "up": (command_up, None, "the same in the background (output: DATA_DIR/init.log); waits for a "
                             "healthy ring"),
    "status": (command_status, None, "how this host's nodes and the ring are; exit code 1 unless "
                                     "all is well"),
    "down": (command_down, None, "stop what runs on DATA_DIR; the data stays"),
    "rolling-restart": (command_rolling_restart, None,
                        "this host's nodes one after the other, each when the ring is healthy"),
    "upgrade": (command_upgrade, None, "build while the nodes run, then stop and start them; also "
                                       "takes changed settings"),
    "test": (command_test, "test", "run all tests; ends with the line 'N passed, N failed'"),
    "sim": (command_sim, None, "the simulator: rings in one process, virtual time, every fault; "
                                "sim --help"),
    "soak": (command_soak, None, "soak sim|clients [--seeds K]: many seeds; soak faults [--kills K "
                                 "--pauses K\n                  --partitions K]: real processes broken; "
                                 "soak stalls [--minutes K]: on a network\n                  that stands "
                                 "still at times; all go on where they stopped"),
    "fuzz": (command_fuzz, "fuzz", "fuzz [NAME] [--minutes K | --runs K]: run the fuzzers; needs clang"),
    "figures": (command_figures, "figures", "figures [MAX_NODES]: hops, load, maintenance and "
                                            "failures of 8 to 131072 nodes, as tables and plots"),
    "bench": (command_bench, None, "bench [--quick] [--peers] [--json FILE]: how fast a ring of its "
                                   "own is,\n                  beside what could be; bench --help"),
    "coverage": (command_coverage, "coverage", "which lines of the core the tests reach"),
    "reset": (command_reset, None, "delete the ring's data on this host, after a typed 'reset'"),
}
# What follows these is theirs.
PASSED_ON = ("sim", "soak", "fuzz", "figures", "bench")
STARTS = ("run", "release", "up")
# Those that know the option --hosts.
ON_HOSTS = ("up", "status", "down", "rolling-restart", "upgrade")
# Those that do without packages: they delete, or talk to an init.py that runs.
BARE = ("reset", "status", "down")


def whole_number(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def parser_of(table):
    commands = "\n".join(f"  {name:<15} {entry[2]}" for name, entry in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="init.py", allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"Start, watch and stop a Chord ring on this host.\n\ncommands:\n{commands}",
        epilog="Settings come from .env, the environment and the flags above; the later beats the "
               "earlier.\nCtrl-C stops the nodes and keeps the data; Ctrl-C twice ends them at "
               "once.\n\nexamples:\n  python3 init.py --nodes 3\n"
               "  python3 init.py release --join 100.101.102.103\n"
               "  python3 init.py release --join tailscale\n"
               "  python3 init.py --add 2          (beside a running init.py)\n"
               "  python3 init.py up --hosts       (the hosts of hosts.toml; see deploy/README.md)\n"
               "  python3 init.py test")
    parser.add_argument("command", nargs="?", default="run", choices=COMMANDS, metavar="command",
                        help=argparse.SUPPRESS)
    parser.add_argument("--yes", action="store_true", help="ask nothing: install missing packages, go on with --hosts")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--moved", action="store_true",
                        help="for this start, or with --start: the nodes' folders were copied here "
                             "and the originals are gone for good")
    parser.add_argument("--create", action="store_true",
                        help="make a new ring, although other hosts of this tailnet have nodes, or "
                             "JOIN=tailscale finds none")
    orders = parser.add_argument_group("orders to the init.py that runs on the same DATA_DIR")
    orders = orders.add_mutually_exclusive_group()
    orders.add_argument("--add", type=whole_number, metavar="K", help="add K nodes to its ring")
    orders.add_argument("--start", type=whole_number, metavar="I",
                        help="start node I, which is down, again")
    orders.add_argument("--leave", action="store_true",
                        help="its nodes hand over their keys, leave and stop; without a running "
                             "one: start, and leave when stopped")
    orders.add_argument("--stop", type=whole_number, metavar="I",
                        help="stop node I; it keeps its data and its place in the ring")
    orders.add_argument("--restart", type=whole_number, metavar="I", help="stop node I and start it")
    orders.add_argument("--link", action="store_true",
                        help="print a link that opens its page once as an operator, where it asks "
                             "for tokens")
    many = parser.add_argument_group(f"for {', '.join(ON_HOSTS)}")
    many.add_argument("--hosts", nargs="?", const=str(ROOT / "hosts.toml"), metavar="FILE",
                      help="on all hosts of FILE (hosts.toml beside init.py), over ssh; prints what it "
                           "will run first. A sample: deploy/hosts.example.toml")
    many.add_argument("--dry-run", action="store_true", help="print it only")
    many.add_argument("--from", dest="first", metavar="HOST",
                      help="rolling-restart, upgrade: leave out the hosts before this one")
    many.add_argument("--no-wait", action="store_true",
                      help="up of this host: until its nodes are started, not until the ring is healthy")
    tests = parser.add_argument_group("for init.py test")
    tests.add_argument("--full", action="store_true",
                       help="adds the thread sanitizer and the slow tests")
    tests.add_argument("--only", metavar="PART",
                       help="one part: unit, sim, model, launcher, system or web")
    group = parser.add_argument_group("settings")
    for setting in table:
        span = f" ({setting.low}..{setting.high})" if setting.kind == "number" else ""
        default = "" if setting.default in (None, "") else f"; default {setting.default}"
        group.add_argument(setting.flag_name, dest=f"setting_{setting.name}",
                           metavar="K" if setting.kind == "number" else "X",
                           help=f"{setting.name}: {setting.meaning}{span}{default}")
    parser.add_argument("--env-file", metavar="FILE",
                        help="settings file instead of .env beside init.py")
    parser.add_argument("--build", metavar="DIR",
                        help="use the programs of this build folder and build nothing")
    return parser


def misplaced(options, table):
    """An option that this command would not heed, in words; or None."""
    if options.hosts and options.command not in ON_HOSTS:
        return f"--hosts goes with {', '.join(ON_HOSTS)}, which stand before it"
    own = [flag for flag, value in (("--moved", options.moved), ("--build", options.build),
                                    ("--env-file", options.env_file)) if value]
    own += [setting.flag_name for setting in table
            if getattr(options, f"setting_{setting.name}") is not None]
    if options.hosts and own:
        return f"{own[0]} is for one host: with --hosts, settings stand in {options.hosts}"
    if options.dry_run and not options.hosts:
        return "--dry-run goes with --hosts"
    if options.first and not (options.hosts and options.command in ("rolling-restart", "upgrade")):
        return "--from goes with rolling-restart --hosts and upgrade --hosts"
    if options.no_wait and (options.command != "up" or options.hosts):
        return "--no-wait goes with up of this host"
    return None


def stop_by_interrupt(number, frame):
    raise KeyboardInterrupt


def open_closed_streams():
    """A stream that was closed when we started (`>&-`) becomes /dev/null: else the next file that
    is opened would take its place and get what is said."""
    for place, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(place)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(place, mode, encoding="utf-8", closefd=False))


def main():
    from pathlib import Path

    from launcher import settings as settings_module

    open_closed_streams()
    words = sys.argv[1:]
    passed_on = next((at + 1 for at, word in enumerate(words) if word in PASSED_ON), len(words))
    options = parser_of(settings_module.TABLE).parse_args(words[:passed_on])
    options.rest = words[passed_on:]
    if options.moved and (options.command not in STARTS or options.add or options.stop
                          or options.restart):
        sys.exit("init.py: --moved goes with a start or with --start I, and with nothing else")
    orders = (options.add, options.start, options.stop, options.restart, options.leave or None)
    ordered = any(order is not None for order in orders)
    if options.create and (options.command not in STARTS or ordered):
        sys.exit("init.py: --create goes with a start, and with nothing else")
    if ordered and options.command not in ("run", "release"):
        sys.exit(f"init.py: {options.command} takes no order such as --start")
    if problem := misplaced(options, settings_module.TABLE):
        sys.exit(f"init.py: {problem}")
    function, package_set, _ = COMMANDS[options.command]
    reporter = report.choose(options.json)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop_by_interrupt)
    try:
        if options.hosts:
            from launcher import fleet
            return fleet.run(options, reporter)
        flags = {setting.name: getattr(options, f"setting_{setting.name}")
                 for setting in settings_module.TABLE}
        settings = settings_module.choose(flags, os.environ,
                                          Path(options.env_file or ROOT / ".env").absolute(),
                                          options.env_file is not None)
        if options.command not in BARE:
            if not ordered or options.leave:
                packages.ensure_packages(package_set, options.yes, reporter.say)
            packages.carry_on_under_system_python()
        return function(options, settings, reporter)
    except Refused as refusal:
        reporter.error(str(refusal))
        return refusal.exit_code or EXIT_FAILED
    except KeyboardInterrupt:
        reporter.error("interrupted")
        return EXIT_FAILED
    except OSError as problem:  # a full disk, a folder that went away
        reporter.error(f"{problem.filename or 'the system'}: {problem.strerror or problem}")
        return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
