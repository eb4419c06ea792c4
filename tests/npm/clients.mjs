// The stock clients under one roof: phoenix 1.8.16 (V2) and phoenix 1.2.1 (V1), on ws.
// They are never patched; what is here only turns their callbacks into promises.

import { createRequire } from "node:module";
import WebSocket from "ws";

const require = createRequire(import.meta.url);
const packages = { v1: require("phoenix-1.2.1"), v2: require("phoenix") };

export const LIMIT_MS = 10_000;

/** A promise of a push's reply. */
export function replied(push, what) {
  return new Promise((resolve, reject) => {
    push
      .receive("ok", resolve)
      .receive("error", (response) => reject(new Error(`${what}: ${JSON.stringify(response)}`)))
      .receive("timeout", () => reject(new Error(`${what}: no reply`)));
  });
}

/** Waits until `done()` is true. */
export async function until(done, what) {
  const end = Date.now() + LIMIT_MS;
  while (!done()) {
    if (Date.now() > end) throw new Error(`not within ${LIMIT_MS} ms: ${what()}`);
    await new Promise((wake) => setTimeout(wake, 10));
  }
}

/** One connected stock client, and all that it heard. */
export class Client {
  constructor(url, { version, token }) {
    const { Socket } = packages[version];
    this.version = version;
    this.channels = {};
    this.joins = {};
    this.seen = {};
    this.socket = new Socket(url, { params: { token }, transport: WebSocket });
    this.socket.connect();
  }

  /** Joins each of `topics` (`{kind: {topic, event}}`) and collects its records. */
  async join(topics, params = {}) {
    for (const [kind, { topic, event }] of Object.entries(topics)) {
      const channel = this.socket.channel(topic, params[kind] ?? {});
      this.channels[kind] = channel;
      this.seen[kind] = [];
      channel.on(event, (record) => this.seen[kind].push(record));
      this.joins[kind] = await replied(channel.join(), `join of ${topic} with ${this.version}`);
    }
    return this;
  }

  push(kind, event, payload) {
    return replied(this.channels[kind].push(event, payload), `${event} with ${this.version}`);
  }

  heard() {
    return { version: this.version, joins: this.joins, seen: this.seen };
  }

  close() {
    this.socket.disconnect();
  }
}
