# SPDX-License-Identifier: MIT
"""A CSV of many rows: through the gateway into the ring, and by sqlite3's own .import into one file."""

import http.client
import json
import shutil
import subprocess
import time

from measure import Failed, Figure, Side

TIMEOUT_S = 300


class Rows:
    """Each import has keys of its own, so that none finds the rows of the one before."""

    def __init__(self, servers, count):
        self.servers, self.count = servers, count
        self.turn = 0

    def write(self):
        self.turn += 1
        path = self.servers.folder / "rows.csv"
        with open(path, "w", encoding="utf-8") as file:
            file.write("key,value\n")
            file.writelines(f"row-{self.turn}-{number:07d},{'v' * 40}{number:07d}\n"
                            for number in range(self.count))
        return path

    def told(self, began, stored, reason=""):
        return {"per_second": stored / (time.monotonic() - began), "errors": self.count - stored,
                "reason": reason}

    def into_ring(self):
        host, port = self.servers.gateway.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_S)
        with open(self.write(), "rb") as file:
            began = time.monotonic()
            connection.request("POST", "/api/v1/imports", file, {"Content-Type": "text/csv"})
            answer = connection.getresponse().read().decode(errors="replace")
        connection.close()
        try:
            stored = json.loads(answer)["rows_stored"]
        except (ValueError, KeyError):
            raise Failed(f"the import was answered: {answer[:300]}") from None
        return self.told(began, stored, answer if stored != self.count else "")

    def into_sqlite(self):
        path, file = self.write(), self.servers.folder / "rows.db"
        file.unlink(missing_ok=True)
        began = time.monotonic()
        done = subprocess.run(
            ["sqlite3", file, "-cmd", "create table rows(key text primary key, value text)",
             f".import --csv --skip 1 {path} rows", "select count(*) from rows"],
            capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        stored = done.stdout.strip()
        if not stored.isdigit():
            raise Failed(f"sqlite3: {done.stdout}{done.stderr}")
        return self.told(began, int(stored), done.stderr)

    def figure(self):
        return Figure("CSV import, rows", f"import of {self.count:,} rows",
                      Side("gateway", self.into_ring), Side("sqlite3 .import", self.into_sqlite),
                      {"kind": "import", "rows": self.count})


def figures(servers, count, say):
    if count and shutil.which("sqlite3"):
        yield Rows(servers, count).figure()
    elif count:
        say("sqlite3: not installed, apt install sqlite3")
