# SPDX-License-Identifier: MIT
"""Plays one conformance case: its steps to a driver, to the nodes and to the proxies before them.
proto/clients/conformance/README.md describes the language of the steps."""

import base64
import collections
import hashlib
import json
import re
import time

import pytest

from conformance_rings import NOBODY
from ring import ROOT, until

CASES = json.loads((ROOT / "proto" / "clients" / "conformance" / "cases.json").read_text())
OPEN = {"timeout_ms": 8000, "attempt_ms": 1000}
SLACK_S = 10  # for an answer, beyond the operation's own time
UNTIL_S = 10
POLL_S = 0.02
BYTES_FIELDS = ("key", "value", "payload")
REQUEST_FIELDS = ("value", "stale", "if_absent", "if_version", "expires_at_ms", "timeout_ms",
                  "payload", "method")
STEP_FIELDS = {"do", "key", "operations", "expect", "save", "later", "client", "times", "at_once",
               "until_holds", "calls", "calls_at", "connections", "within_ms", "after_ms",
               "where_open", "ring_key", "members", *REQUEST_FIELDS}


class Case:
    """`drivers(name)`: a driver's process by the name that steps give it. `prefix`: makes the keys
    this run's own."""

    def __init__(self, case, rings, drivers, prefix):
        self.case, self.rings, self.drivers, self.prefix = case, rings, drivers, prefix
        self.place = rings.get(case.get("ring", "three"))
        self.saved, self.later = {}, collections.defaultdict(list)
        self.open = {}  # name of a client: whether it is open
        self.timeout_ms = case.get("timeout_ms", OPEN["timeout_ms"])

    def run(self):
        steps = list(self.case["steps"])
        if steps[0].get("do") != "open" or "client" in steps[0]:
            steps.insert(0, {"do": "open", "expect": {"code": "OK"}})
        for number, step in enumerate(steps, 1):
            try:
                self.step(step)
            except AssertionError as error:
                raise AssertionError(f"step {number} {json.dumps(step)[:500]}:\n{error}") from None
        for name, is_open in list(self.open.items()):
            if is_open:
                self.step({"do": "close", "client": name, "expect": {"code": "OK"}})

    def step(self, step):
        if "node" in step:
            self.place.act(step["node"], self.slot(step["which"]))
        elif "proxy" in step:
            self.order(step)
        elif "answer" in step:
            for item in self.later.pop(step["answer"]):
                self.check(step, item, *item["driver"].wait(item["id"], self.patience(step)))
        else:
            self.ask(step)

    # ---- what the environment does ----

    def slot(self, which):
        """1, "last", "leader of KEY", "not leader of KEY"."""
        if which == "last":
            return self.place.last
        if isinstance(which, int):
            return which
        leader = self.place.leader(self.key_bytes(which.rpartition("leader of ")[2]))
        if not which.startswith("not "):
            return leader
        return next(slot for slot in self.place.slots if slot != leader)

    def address(self, member):
        return NOBODY if member == "nobody" else self.place.outer(self.slot(member))

    def order(self, step):
        name, orders = step["proxy"], self.place.orders
        if name == "release":
            assert orders.release() > 0, "no request was recorded"
        elif name == "await":
            until(lambda: not orders.waiting, UNTIL_S, "the requests that orders wait for")
        elif name == "clear":
            orders.clear()
        elif name == "cut":
            for proxy in self.place.proxies:
                proxy.cut()
        elif name == "divert":
            other = self.rings.get(step["to"])
            self.place.proxies[step["which"] - 1].divert(other.port(1))
        else:
            orders.give(name, step.get("count", 1), step.get("ms", 0) / 1000)

    # ---- what a client is asked ----

    def ask(self, step):
        assert not (set(step) - STEP_FIELDS), f"no step has {set(step) - STEP_FIELDS}"
        client = step.get("client", "")
        if step.get("where_open") and not self.open.get(client):
            return
        driver = self.drivers(client)
        before, counts = self.place.count(), self.place.counts()
        items = self.ask_all(step, driver)
        if step["do"] in ("open", "close"):
            self.open[client] = step["do"] == "open" and items[0]["answer"].get("code") == "OK"
        calls = self.place.count() - before
        if "calls" in step:
            print(f"{calls} calls for {len(items)} times {step['do']}")
            self.compare("calls", step["calls"], calls, len(items))
        for which, expected in step.get("calls_at", {}).items():
            slot = self.slot(which)
            self.compare(f"calls at the {which}", expected,
                         self.place.counts()[slot] - counts[slot], len(items))
        if "connections" in step:
            most = max(proxy.connections for proxy in self.place.proxies)
            self.compare("connections", step["connections"], most)

    def ask_all(self, step, driver):
        items, waiting = [], collections.deque()
        for n in range(step.get("times", 1)):
            request = self.request(step, n)
            items.append({"n": n, "driver": driver, "id": driver.send(request), "request": request})
            if step.get("later"):
                self.later[step["later"]].append(items[-1])
                continue
            waiting.append(items[-1])
            if len(waiting) >= step.get("at_once", 1):
                self.finish(step, waiting.popleft())
        while waiting:
            self.finish(step, waiting.popleft())
        return items

    def finish(self, step, item):
        end = time.monotonic() + UNTIL_S
        while True:
            answer, seconds = item["driver"].wait(item["id"], self.patience(step))
            try:
                self.check(step, item, answer, seconds)
                return
            except AssertionError:
                if not step.get("until_holds") or time.monotonic() > end:
                    raise
            time.sleep(POLL_S)
            item["id"] = item["driver"].send(item["request"])

    def patience(self, step):
        return step.get("timeout_ms", self.timeout_ms) / 1000 + SLACK_S

    def request(self, step, n):
        request = {"do": step["do"]}
        if step["do"] == "open":
            key = self.place.key if "ring_key" not in step else (step["ring_key"] or "").encode()
            members = step.get("members", self.case.get("members", list(self.place.slots)))
            request |= {"members": [self.address(member) for member in members],
                        "timeout_ms": self.timeout_ms,
                        "attempt_ms": self.case.get("attempt_ms", OPEN["attempt_ms"])}
            return request | ({"key": encode(key)} if key else {})
        if "operations" in step:
            operations = step["operations"]
            if isinstance(operations, dict):  # the same, so many times
                operations = [{**operations["each"], "n": i} for i in range(operations["times"])]
            request["operations"] = [self.operation(one, one.get("n", n)) for one in operations]
        return request | self.operation(step, n)

    def operation(self, step, n):
        request = {"do": step["do"]}
        if "key" in step:
            request["key"] = encode(self.key_bytes(step["key"], n))
        for name in REQUEST_FIELDS:
            if name in step:
                request[name] = self.value(name, step[name], n)
        return request

    def value(self, name, value, n):
        if name in BYTES_FIELDS:
            return encode(to_bytes(value, n))
        if isinstance(value, dict) and "saved" in value:
            return self.saved[value["saved"]]
        if isinstance(value, dict) and "in_ms" in value:
            return int(time.time() * 1000) + value["in_ms"]
        return value

    def key_bytes(self, key, n=0):
        """A run's own, where it can have a prefix at all."""
        if isinstance(key, dict) and "hex" in key:
            return to_bytes(key)
        if isinstance(key, dict) and "fill" in key:
            return self.prefix + b"k" * (key["fill"] - len(self.prefix))
        return self.prefix + to_bytes(key, n)

    # ---- what is expected of an answer ----

    def check(self, step, item, answer, seconds):
        item["answer"] = answer
        if answer.get("offered") is False:
            pytest.skip(f"the client offers no {step['do']!r}")
        self.check_shape(item["request"], answer)
        if "results" in step.get("expect", {}):
            self.check_results(step["expect"]["results"], answer, item["n"])
        else:
            self.check_fields(step.get("expect", {}), answer, item["n"])
        if "within_ms" in step:
            assert seconds * 1000 <= step["within_ms"], f"it took {seconds:.3f} s: {brief(answer)}"
        if "after_ms" in step:
            assert seconds * 1000 >= step["after_ms"], f"it took only {seconds:.3f} s"
        for name, field in step.get("save", {}).items():
            self.saved[name] = answer[field]

    def check_shape(self, request, answer):
        """What holds for every answer."""
        if request["do"] in ("open", "close", "counters"):
            return
        for one in answer.get("results", [answer]):
            text = brief(one)
            assert isinstance(one.get("code"), str), f"no code: {text}"
            assert one.get("fate") in ("done", "not done", "maybe done"), f"no fate: {text}"
            done = one["code"] in ("OK", "NOT_FOUND")
            assert (one["fate"] == "done") == done, f"code and fate do not agree: {text}"
            assert done or isinstance(one.get("message"), str), f"no message: {text}"
            assert re.fullmatch(r"\d+\.\d+", one.get("version", "1.1")), f"no version: {text}"

    def check_results(self, expected, answer, n):
        results = answer.get("results", [])
        if isinstance(expected, dict):
            expected = [expected["each"]] * expected["times"]
        assert len(results) == len(expected), f"{len(results)} results: {brief(answer)}"
        for i, (one, result) in enumerate(zip(expected, results)):
            try:
                self.check_fields(one, result, i)
            except AssertionError as error:
                raise AssertionError(f"result {i}: {error}") from None

    def check_fields(self, expected, answer, n):
        for name, wanted in expected.items():
            if name in BYTES_FIELDS and wanted is not None:
                wanted = [encode(to_bytes(one, n))
                          for one in (wanted if isinstance(wanted, list) else [wanted])]
            self.compare(name, wanted, answer.get(name), text=brief(answer))

    def compare(self, name, wanted, got, times=1, text=""):
        assert self.holds(wanted, got, times), \
            f"{name} is {str(got)[:200]!r}, not {json.dumps(wanted)[:200]}; {text}"

    def holds(self, wanted, got, times):
        if isinstance(wanted, list):
            return any(self.holds(one, got, times) for one in wanted)
        if not isinstance(wanted, dict):
            return got == wanted
        return all(self.rule(rule, value, got, times) for rule, value in wanted.items())

    def rule(self, rule, value, got, times):
        if got is None:
            return False
        if rule == "at_most_each":
            return got <= value * times
        if rule in ("at_most", "at_least"):
            return got <= value if rule == "at_most" else got >= value
        if rule in ("saved", "newer_than"):
            saved = self.saved[value]
            return got == saved if rule == "saved" else version(got) > version(saved)
        if rule == "address":
            return got == self.address(value)
        if rule == "id_of":  # M = 32
            return got == hashlib.sha1(self.key_bytes(value)).hexdigest()[:8]
        if rule == "hex_bytes":
            return re.fullmatch(r"[0-9a-f]{%d}" % (2 * value), got) is not None
        raise ValueError(f"no rule is called {rule!r}")


def encode(data):
    return base64.b64encode(data).decode()


def to_bytes(value, n=0):
    """A text, where {n} is the number of the repetition, or one of the forms for other bytes."""
    if isinstance(value, str):
        return value.replace("{n}", str(n)).encode()
    ((form, what),) = value.items()
    return {"hex": lambda: bytes.fromhex(what), "fill": lambda: b"x" * what,
            "every_byte": lambda: bytes(range(256))}[form]()


def version(text):
    return tuple(map(int, text.split(".")))


def brief(answer):
    return json.dumps(answer)[:400]
