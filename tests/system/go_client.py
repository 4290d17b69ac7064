# SPDX-License-Identifier: MIT
"""The Go client's programs, built with the distribution's packages, and its conformance driver as a
process: answers by id, in any order (proto/clients/conformance)."""

import base64
import itertools
import json
import shutil
import subprocess
import threading
from concurrent.futures import Future

from ring import ROOT

SOURCE = ROOT / "proto" / "clients" / "go"
BUILD = ROOT / "build" / "go"
PACKAGE = "chord.example/dht"
TIMEOUT_S = 140


def run(*arguments, **options):
    """Its output; fails with all that it said."""
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=TIMEOUT_S, check=False, **options)
    assert done.returncode == 0, f"{' '.join(map(str, arguments))}:\n{done.stdout}"
    return done.stdout


def check_tools():
    for tool, package in (("go", "golang-go"), ("protoc", "protobuf-compiler"),
                          ("protoc-gen-go", "protoc-gen-go")):
        assert shutil.which(tool), f"{package} is missing (sh deploy/install-deps.sh test)"


def go(*arguments):
    check_tools()
    return run("sh", SOURCE / "go.sh", BUILD, *arguments)


def build(command):
    """The path of a program of cmd/."""
    program = BUILD / "bin" / command
    go("build", "-o", program, f"{PACKAGE}/cmd/{command}")
    return program


def text(value):
    """Bytes as they travel in a line."""
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


class Driver:
    """Ended with close()."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        self.lock, self.ids, self.open = threading.Lock(), itertools.count(1), {}
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            answer = json.loads(line)
            with self.lock:
                future = self.open.pop(answer.pop("id"))
            future.set_result(answer)
        with self.lock:
            for future in self.open.values():
                future.set_exception(AssertionError("the driver ended without an answer"))

    def start(self, do, **fields):
        """A Future of the answer."""
        future = Future()
        with self.lock:
            number = next(self.ids)
            self.open[number] = future
            self.process.stdin.write(json.dumps({"id": number, "do": do, **fields}) + "\n")
            self.process.stdin.flush()
        return future

    def ask(self, do, **fields):
        return self.start(do, **fields).result(60)

    def close(self):
        self.process.stdin.close()
        try:
            assert self.process.wait(30) == 0
        finally:
            self.process.kill()
            self.process.wait()
            self.reader.join(10)
            self.process.stdout.close()
