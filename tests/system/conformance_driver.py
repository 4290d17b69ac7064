# SPDX-License-Identifier: MIT
"""A conformance driver's process: JSON lines to it and from it (proto/clients/conformance/README.md)."""

import itertools
import json
import subprocess
import threading
import time

from ring import SANITIZER_WORDS

END_S = 15
STDERR_BYTES = 5000


class Driver:
    """Requests may be sent before earlier ones are answered."""

    def __init__(self, command, environment, log):
        self.log, self.ids = log, itertools.count(1)
        self.answers, self.sent = {}, {}
        self.lock = threading.Condition()
        self.ended = False
        with open(log, "ab") as stderr:
            self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=stderr)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            try:
                answer = json.loads(line)
            except ValueError:
                answer = {"id": None, "line": line.decode(errors="replace")}
            with self.lock:
                self.answers[answer.get("id")] = (answer, time.monotonic())
                self.lock.notify_all()
        with self.lock:
            self.ended = True
            self.lock.notify_all()

    def send(self, request):
        """The id to wait for."""
        number = next(self.ids)
        line = json.dumps({"id": number, **request}).encode() + b"\n"
        with self.lock:
            self.sent[number] = time.monotonic()
        try:
            self.process.stdin.write(line)
            self.process.stdin.flush()
        except OSError as error:
            raise AssertionError(f"the driver takes no requests: {error}\n{self.stderr()}") from error
        return number

    def wait(self, number, timeout_s):
        """(answer, how many seconds it took)"""
        with self.lock:
            came = self.lock.wait_for(
                lambda: number in self.answers or None in self.answers or self.ended, timeout_s)
            assert None not in self.answers, f"not an answer: {self.answers[None][0]}"
            assert number in self.answers, (
                f"no answer to request {number} "
                + ("before the driver ended" if came else f"within {timeout_s} s")
                + f"\n{self.stderr()}")
            answer, at = self.answers.pop(number)
            return answer, at - self.sent.pop(number)

    def ask(self, request, timeout_s):
        return self.wait(self.send(request), timeout_s)

    def stderr(self):
        return self.log.read_text(errors="replace")[-STDERR_BYTES:]

    def end(self):
        """As a program that is done with it; the seconds until it ended."""
        began = time.monotonic()
        self.process.stdin.close()
        try:
            code = self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the driver runs {END_S} s after its input ended\n"
                                 f"{self.stderr()}") from None
        assert code == 0, f"the driver ended with {code}\n{self.stderr()}"
        assert not any(word in self.stderr() for word in SANITIZER_WORDS), self.stderr()
        return time.monotonic() - began

    def kill(self):
        self.process.kill()
        self.process.wait()
