// SPDX-License-Identifier: MIT
// Numbers, times and sizes as people read them. Pure; a missing value becomes a dash.

const DASH = "–";

/** @param {number|null|undefined} value */
export function format_count(value) {
  return Number.isFinite(value) ? value.toLocaleString("en-GB") : DASH;
}

/** @param {number|null|undefined} bytes */
export function format_bytes(bytes) {
  if (!Number.isFinite(bytes)) return DASH;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let step = 0;
  while (bytes >= 1024 && step < units.length - 1) { bytes /= 1024; step++; }
  return `${step === 0 || bytes >= 100 ? Math.round(bytes) : bytes.toFixed(1)} ${units[step]}`;
}

/** @param {number|null|undefined} percent */
export function format_percent(percent) {
  return Number.isFinite(percent) ? `${percent.toFixed(1)} %` : DASH;
}

/** The two largest units of a duration. @param {number|null|undefined} ms */
export function format_duration(ms) {
  if (!Number.isFinite(ms)) return DASH;
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** @param {number|null|undefined} microseconds */
export function format_microseconds(microseconds) {
  if (!Number.isFinite(microseconds)) return DASH;
  return microseconds < 1000 ? `${Math.round(microseconds)} µs` : `${(microseconds / 1000).toFixed(2)} ms`;
}

/** Local wall clock hh:mm:ss. @param {number|null|undefined} time_ms */
export function format_clock(time_ms) {
  return Number.isFinite(time_ms) ? new Date(time_ms).toLocaleTimeString("en-GB") : DASH;
}

/** A long id (up to 40 digits) shortened for narrow places; the full one goes into a title. @param {string|null} id */
export function format_id(id) {
  if (!id) return DASH;
  return id.length > 10 ? `${id.slice(0, 8)}…` : id;
}

/** @param {number} count @param {string} one @param {string} [many] */
export function format_plural(count, one, many = `${one}s`) {
  return `${format_count(count)} ${count === 1 ? one : many}`;
}

/** An address from outside is used as a link only if it is plain HTTP. @param {string|null} address */
export function safe_link(address) {
  return typeof address === "string" && /^https?:\/\//i.test(address) ? address : null;
}

/** Bytes as text, or as a hex dump where they are not UTF-8. @param {Uint8Array} bytes @param {number} limit */
export function show_bytes(bytes, limit = 65536) {
  const part = bytes.subarray(0, limit);
  const cut = bytes.length > limit ? `\n… ${format_bytes(bytes.length - limit)} more` : "";
  try {
    // A cut may split a character: `stream` leaves the rest out instead of failing.
    const text = new TextDecoder("utf-8", { fatal: true }).decode(part, { stream: bytes.length > limit });
    return { kind: "text", shown: text + cut };
  } catch {
    const hex = Array.from(part.subarray(0, 4096), (byte) => byte.toString(16).padStart(2, "0"));
    const lines = [];
    for (let i = 0; i < hex.length; i += 16) lines.push(hex.slice(i, i + 16).join(" "));
    return { kind: "hex", shown: lines.join("\n") + (bytes.length > 4096 ? `\n… ${format_bytes(bytes.length - 4096)} more` : "") };
  }
}
