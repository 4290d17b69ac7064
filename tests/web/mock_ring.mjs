// SPDX-License-Identifier: MIT
// A fake ring for developing and testing the pages without node processes: ids, routing, values,
// leave, kill and healing, all in memory. It knows nothing of HTTP; see mock_gateway.mjs.

import { createHash } from "node:crypto";
import { EventEmitter } from "node:events";

const HEAL_MS = 1500;
const LEAVE_MS = 600;

export class MockRing extends EventEmitter {
  /** @param {{nodes: number, m: number, n: number, replicas: number, host: string, port: number}} options */
  constructor(options) {
    super();
    Object.assign(this, options);
    this.started_ms = Date.now();
    this.sequence = 1;
    this.healing_until = 0;
    this.version = 0;
    /** @type {Map<string, {value: Buffer, version: string}>} */
    this.values = new Map();
    this.list = [];
    for (let slot = 1; slot <= options.nodes; slot++) this.add_node(slot);
    for (const node of this.list) this.log(node, "join", `joined as ${node.id}`);
  }

  add_node(slot) {
    const address = `${this.host}:${this.port + 1000 + slot}`;
    let salt = 0;
    let id = this.hash(`${address}#${salt}`);
    while (this.list.some((other) => other.id === id)) id = this.hash(`${address}#${++salt}`);
    this.list.push({ slot, address, id, salt, state: "member", since: Date.now(), started: Date.now(),
      incarnation: 1, log: [], log_sequence: 0 });
  }

  hash(text) {
    const full = BigInt("0x" + createHash("sha1").update(text).digest("hex"));
    return (full >> BigInt(160 - this.m)).toString(16).padStart(Math.ceil(this.m / 4), "0");
  }

  changed() { this.sequence++; this.emit("ring"); }

  log(node, word, text, level = "info") {
    const line = { sequence: ++node.log_sequence, time_ms: Date.now(), level, word, text };
    node.log.push(line);
    this.emit("event", "log", { address: node.address, ...line });
  }

  tell(event, node, text) {
    this.emit("event", event, { address: node.address, id: node.id, time_ms: Date.now(), text });
  }

  find(name) { return this.list.find((node) => node.id === name || node.address === name); }

  members() {
    return this.list.filter((node) => node.state === "member" || node.state === "leaving")
      .sort((a, b) => (BigInt("0x" + a.id) < BigInt("0x" + b.id) ? -1 : 1));
  }

  owner(id) {
    const members = this.members();
    return members.find((node) => BigInt("0x" + node.id) >= BigInt("0x" + id)) ?? members[0];
  }

  /** The owner and the next REPLICAS-1 members. */
  holders(id) {
    const members = this.members();
    const at = members.indexOf(this.owner(id));
    return members.slice(at).concat(members.slice(0, at)).slice(0, this.replicas);
  }

  fingers(node) {
    const size = 1n << BigInt(this.m);
    const width = Math.ceil(this.m / 4);
    return Array.from({ length: this.m }, (unused, index) => {
      const start = ((BigInt("0x" + node.id) + (1n << BigInt(index))) % size).toString(16).padStart(width, "0");
      const target = this.owner(start);
      return { index, start, node: target ? { id: target.id, address: target.address } : null };
    });
  }

  lookup(key) {
    const id = this.hash(key);
    const owner = this.owner(id);
    const size = 1n << BigInt(this.m);
    const far = (from, to) => (BigInt("0x" + to) - BigInt("0x" + from) + size) % size;
    let at = this.members()[0];
    const hops = [];
    while (hops.length < 20) {
      hops.push({ node: { id: at.id, address: at.address }, microseconds: 80 + Math.round(Math.random() * 200) });
      if (at === owner) break;
      const left = far(at.id, id);
      const next = this.fingers(at).map((finger) => this.find(finger.node.id))
        .filter((node) => far(at.id, node.id) > 0n && far(at.id, node.id) < left)
        .sort((a, b) => (far(at.id, a.id) > far(at.id, b.id) ? -1 : 1))[0];
      at = next ?? owner;
    }
    return { key, key_id: id, owner: { id: owner.id, address: owner.address }, hops };
  }

  put(key, value) {
    const created = !this.values.has(key);
    this.values.set(key, { value, version: `1.${++this.version}` });
    return created;
  }

  remove(key) { return this.values.delete(key); }

  keys_of(node, led) {
    return [...this.values].filter(([key]) => {
      const holders = this.holders(this.hash(key));
      return led ? holders[0] === node : holders.includes(node);
    });
  }

  leave(node) {
    this.set_state(node, "leaving");
    this.log(node, "leave", "handing keys over");
    setTimeout(() => {
      this.set_state(node, "left");
      this.log(node, "leave", "left the ring");
      this.tell("node.left", node, `${node.id} left`);
    }, LEAVE_MS);
  }

  join(node) {
    this.set_state(node, "joining");
    setTimeout(() => {
      node.incarnation++;
      this.set_state(node, "member");
      this.log(node, "join", "is a member again");
      this.tell("node.joined", node, `${node.id} joined`);
    }, LEAVE_MS);
  }

  kill(node) {
    this.healing_until = Date.now() + HEAL_MS;
    this.set_state(node, "down");
    this.tell("node.down", node, `${node.id} is down`);
    setTimeout(() => {
      const next = this.members()[0];
      if (next) this.log(next, "rectify", `ring healed without ${node.id}`, "warn");
      this.changed();
    }, HEAL_MS + 10);
  }

  start(node) {
    node.started = Date.now();
    this.tell("node.back", node, `${node.id} is back`);
    this.join(node);
  }

  set_state(node, state) {
    node.state = state;
    node.since = Date.now();
    this.changed();
  }

  brief(node) {
    const members = this.members();
    const at = members.indexOf(node);
    const alive = node.state !== "down";
    const ring = at < 0 ? [] : members.slice(at + 1).concat(members.slice(0, at));
    const predecessor = ring.length ? ring[ring.length - 1].id : null;
    const stored = at < 0 ? [] : this.keys_of(node, false);
    return {
      id: node.id, address: node.address, slot: node.slot,
      dashboard: `http://${this.host}:${this.port + node.slot}`, state: node.state,
      since_ms: Date.now() - node.since,
      keys: at < 0 ? 0 : this.keys_of(node, true).length, keys_stored: stored.length,
      bytes_stored: stored.reduce((sum, [key, entry]) => sum + key.length + entry.value.length, 0),
      cpu_percent: alive ? 0.4 + node.slot / 10 : null, pss_bytes: alive ? (8 + node.slot / 3) * 1048576 : null,
      uptime_ms: alive ? Date.now() - node.started : null, incarnation: node.incarnation, predecessor,
      successors: ring.slice(0, this.n).map((other) => other.id), copies_short: 0, recovered: 0, bad_rows: 0,
      range: at < 0 ? null : { lo: predecessor ?? node.id, hi: node.id }, disputed: false,
      invariant: node.invariant ?? "",
    };
  }

  detail(node) {
    const brief = this.brief(node);
    const members = this.members();
    const ref = (id) => (id === null ? null : { id, address: this.find(id).address });
    const at = members.indexOf(node);
    const ranges = at < 0 ? [] : members.map((leader) => ({ leader, holders: this.holders(leader.id) }))
      .filter((range) => range.holders.includes(node))
      .map(({ leader, holders }) => ({
        lo: this.brief(leader).predecessor ?? leader.id, hi: leader.id, epoch: this.sequence % 9 + 1, leader: leader.address,
        members: holders.map((holder) => holder.address), copies: holders.length, state: "replica",
      }));
    return { ...brief, predecessor: ref(brief.predecessor), successors: brief.successors.map(ref),
      fingers: at < 0 ? [] : this.fingers(node), ranges, salt: node.salt, survives_failures: this.survives(),
      warning: this.warning(), requests_total: 1234, refused_total: 0, formed: true, m: this.m, n: this.n,
      replicas: this.replicas };
  }

  survives() { return Math.max(0, Math.floor((Math.min(this.replicas, this.members().length) - 1) / 2)); }

  warning() {
    const members = this.members().length;
    return members < this.n + 1 ? `below N+1: ${members} members, outside the proof` : "";
  }

  snapshot() {
    const healing = Date.now() < this.healing_until;
    return {
      ring_id: "c0ffee", m: this.m, n: this.n, replicas: this.replicas, formed: true,
      state: healing ? "healing" : "healthy",
      state_reason: healing ? "a successor list still names a node that is down" : `every range has its copies; survives ${this.survives()} failures`,
      survives_failures: this.survives(), warning: this.warning(), sequence: this.sequence, keys: this.values.size,
      memory: { total_bytes: 16 * 2 ** 30, available_bytes: 9.3 * 2 ** 30 },
      nodes: this.list.map((node) => this.brief(node)).sort((a, b) => (BigInt("0x" + a.id) < BigInt("0x" + b.id) ? -1 : 1)),
    };
  }
}
