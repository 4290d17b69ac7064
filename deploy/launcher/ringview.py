# SPDX-License-Identifier: MIT
"""What init.py sees of the ring: the gateway's REST answers and the processes' own use of the
machine, joined into one snapshot for the reporters."""

import http.client
import json
import threading
import time
from urllib.parse import quote

import psutil

from . import tokens

SAMPLE_PERIOD_S = 0.5
USAGE_PERIOD_S = 1.0
HTTP_TIMEOUT_S = 3
ANSWER_BYTES_MAX = 16 * 1024 * 1024


class Api:
    """The gateway's REST interface, one request a connection."""

    def __init__(self, host, port, token_file=None):
        self.host, self.port = host, port
        self.token_file = token_file

    def request(self, method, path, body=None, timeout_s=HTTP_TIMEOUT_S):
        """(status, bytes); raises OSError when the gateway does not answer."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self.token_file and (token := tokens.most_allowed(self.token_file)):
            headers["Authorization"] = f"Bearer {token}"
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read(ANSWER_BYTES_MAX)
        except http.client.HTTPException as error:
            raise OSError(f"bad answer: {error!r}") from error
        finally:
            connection.close()

    def ring(self):
        """The answer of GET /ring as a dict, or None."""
        try:
            status, body = self.request("GET", "/api/v1/ring")
            answer = json.loads(body)
        except (OSError, ValueError):
            return None
        return answer if status == 200 and isinstance(answer, dict) else None

    def ready(self):
        try:
            return self.request("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def why_not_ready(self):
        try:
            return self.request("GET", "/readyz?verbose")[1].decode(errors="replace").strip()
        except OSError as error:
            return f"the gateway does not answer: {error}"

    def node_verb(self, address, verb):
        """POST /nodes/{address}/{verb}; (accepted, text): a warning or why it was refused."""
        path = f"/api/v1/nodes/{quote(address, safe='')}/{verb}"
        try:
            status, body = self.request("POST", path, {})
        except OSError as error:
            return False, f"the gateway does not answer: {error}"
        try:
            answer = json.loads(body or b"{}")
        except ValueError:
            answer = {}
        answer = answer if isinstance(answer, dict) else {}
        if status == 202:
            return True, answer.get("warning") or ""
        return False, answer.get("detail") or answer.get("title") or f"HTTP status {status}"


class Usage:
    """CPU and memory of processes between two looks."""

    def __init__(self):
        self.processes = {}

    def of(self, pid):
        """(CPU % since the last look, bytes of memory or None)."""
        try:
            process = self.processes.get(pid)
            if process is None:
                process = self.processes[pid] = psutil.Process(pid)
            return process.cpu_percent(None), self.memory(process)
        except psutil.Error:
            self.processes.pop(pid, None)
            return 0.0, None

    @staticmethod
    def memory(process):
        """PSS, as the page shows it: memory that processes share counts as their part. None where
        the kernel does not tell it."""
        try:
            with open(f"/proc/{process.pid}/smaps_rollup", encoding="ascii") as lines:
                return next(int(line.split()[1]) * 1024 for line in lines
                            if line.startswith("Pss:"))
        except (OSError, StopIteration):
            return None


class Monitor(threading.Thread):
    """Looks at the gateway and the processes all the time, so that the main loop never waits."""

    def __init__(self, api):
        super().__init__(daemon=True, name="monitor")
        self.api = api
        self.lock = threading.Lock()
        self.pids = {}  # slot -> pid
        self.view = {"ring": None, "usage": {}, "memory": None}
        self.ended = threading.Event()

    def watch(self, pids):
        with self.lock:
            self.pids = dict(pids)

    def look(self):
        with self.lock:
            return self.view

    def run(self):
        usage, sampled_at, sampled, memory = Usage(), 0.0, {}, None
        while not self.ended.wait(SAMPLE_PERIOD_S if self.view["ring"] else 0.1):
            if time.monotonic() - sampled_at >= USAGE_PERIOD_S:
                sampled_at = time.monotonic()
                with self.lock:
                    pids = dict(self.pids)
                sampled = {slot: usage.of(pid) for slot, pid in pids.items()}
                memory = psutil.virtual_memory()
            view = {"ring": self.api.ring(), "usage": sampled, "memory": memory}
            with self.lock:
                self.view = view

    def stop(self):
        self.ended.set()


def ring_nodes_by_address(ring):
    return {node.get("address"): node for node in (ring or {}).get("nodes", [])}


def members_of(ring):
    return [node for node in (ring or {}).get("nodes", []) if node.get("state") == "member"]


def in_short(ring):
    """Of GET /ring, what tells whether the ring is well; None while nobody has answered."""
    if not ring:
        return None
    return {"id": ring.get("ring_id") or "", "state": ring.get("state") or "unknown",
            "reason": ring.get("state_reason") or "", "members": len(members_of(ring))}


def state_of(child, known):
    """Of a node of this host. known: what the gateway says of its address, which may still be of the
    life before: that one is older than this process."""
    if not child.running:
        return "down"
    if (known.get("uptime_ms") or 0) > child.uptime_s() * 1000 or known.get("state") == "down":
        return "starting"
    return known.get("state") or "starting"


def snapshot(settings, children, view):
    """One picture of this host's nodes and of the ring, for the reporters."""
    ring = view["ring"]
    by_address = ring_nodes_by_address(ring)
    nodes = []
    for slot, child in sorted(children.items()):
        known = by_address.get(settings.rpc_address(slot), {})
        cpu, memory = view["usage"].get(slot, (0.0, None)) if child.running else (0.0, None)
        nodes.append({
            "slot": slot, "id": known.get("id"), "address": settings.rpc_address(slot),
            "state": state_of(child, known), "pid": child.pid if child.running else None,
            "keys": known.get("keys"), "keys_stored": known.get("keys_stored"),
            "cpu_percent": round(cpu, 1), "memory_pss_bytes": memory,
            "uptime_s": round(child.uptime_s(), 1) if child.running else 0,
            "ended": "" if child.running else child.how_it_ended(),
            "why": "" if child.running else child.last_words(),
        })
    members = members_of(ring)
    memory = view["memory"]
    return {
        "ring_state": ring.get("state") if ring else "unknown",
        "ring_reason": (ring.get("state_reason") or "") if ring else
                       "the gateway has no answer from the ring",
        "warning": (ring.get("warning") or "") if ring else "",
        "keys": ring.get("keys") if ring else None,
        "survives_failures": ring.get("survives_failures") if ring else None,
        "active": len(members), "members_elsewhere": len(
            [node for node in members if node.get("slot") is None]),
        "memory_total_bytes": memory.total if memory else None,
        "memory_used_bytes": memory.total - memory.available if memory else None,
        "ring_dashboard": settings.dashboard(), "nodes": nodes,
    }
