// SPDX-License-Identifier: MIT
// SP request/reply as bytes (sp-tcp-mapping-01, sp-request-reply-01): hello, frames, ids. Knows no socket.

export const HELLO_REQ = Buffer.from([0, 0x53, 0x50, 0, 0, 0x30, 0, 0]);
export const HELLO_REP = Buffer.from([0, 0x53, 0x50, 0, 0, 0x31, 0, 0]);
export const RECEIVE_BYTES_MAX = 2 * 1024 * 1024;
const ID_BYTES = 4;
const HEAD_BYTES = 8; // of the hello, too
const TOP_BIT = 0x80000000;

/** The peer does not keep to the framing. */
export class FramingError extends Error {}

/** The id after this one: its top bit is set. @param {number} id */
export function nextId(id) {
  return (((id + 1) & 0x7fffffff) | TOP_BIT) >>> 0;
}

/** Length, id and body, to be written at once. @param {number} id @param {Uint8Array} body */
export function frame(id, body) {
  const bytes = Buffer.allocUnsafe(HEAD_BYTES + ID_BYTES + body.length);
  bytes.writeUInt32BE(0, 0);
  bytes.writeUInt32BE(ID_BYTES + body.length, 4);
  bytes.writeUInt32BE(id, HEAD_BYTES);
  bytes.set(body, HEAD_BYTES + ID_BYTES);
  return bytes;
}

/** Takes a peer's bytes in any pieces: its hello, then frames. */
export class FrameReader {
  /** What is being filled: a head, or (after it) a message. */
  #head = Buffer.alloc(HEAD_BYTES);
  /** @type {Buffer | null} */
  #message = null;
  #filled = 0;
  /** The hello was read. */
  greeted = false;

  /**
   * @param {Buffer} chunk
   * @param {(id: number, body: Buffer) => void} onMessage bodies may share memory with the chunk
   */
  push(chunk, onMessage) {
    let at = 0;
    while (at < chunk.length) {
      const wanted = this.#message ?? this.#head;
      const left = wanted.length - this.#filled;
      if (this.#message && this.#filled === 0 && chunk.length - at >= left) {
        const whole = chunk.subarray(at, at + left); // without a copy
        this.#message = null;
        at += left;
        onMessage(whole.readUInt32BE(0), whole.subarray(ID_BYTES));
        continue;
      }
      const copied = chunk.copy(wanted, this.#filled, at, at + left);
      at += copied;
      this.#filled += copied;
      if (copied < left) return;
      this.#filled = 0;
      if (this.#message) {
        this.#message = null;
        onMessage(wanted.readUInt32BE(0), wanted.subarray(ID_BYTES));
      } else {
        this.#takeHead(wanted);
      }
    }
  }

  /** @param {Buffer} head */
  #takeHead(head) {
    if (!this.greeted) {
      if (!head.equals(HELLO_REP)) throw new FramingError("does not speak SP request/reply");
      this.greeted = true;
      return;
    }
    const length = head.readUInt32BE(0) * 2 ** 32 + head.readUInt32BE(4);
    if (length < ID_BYTES || length > RECEIVE_BYTES_MAX) {
      throw new FramingError(`announced a message of ${length} bytes; one has ${ID_BYTES} to ${RECEIVE_BYTES_MAX}`);
    }
    this.#message = Buffer.allocUnsafe(length);
  }
}
