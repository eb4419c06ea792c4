// Each version of the stock client, and one in the manner of elm-phoenix-socket, behind the same few calls.
// The clients are never patched: reconnecting and rejoining are theirs, only made quick by their own options.

import { createRequire } from "node:module";
import WebSocket from "ws";

import { XMLHttpRequest } from "./xhr.mjs";

const require = createRequire(import.meta.url);
// How long a step may take: a client that has lost a request notices after its own timeout, and tries again.
const LIMIT_MS = 45_000;
const TIMEOUT_MS = 12_000;
const SOON_MS = 50;
const EVENTS = ["new_msg", "others", "pushed"];

/** The package of a version. */
export function phoenix(version) {
  if (version === "1.8.16") return require("phoenix");
  // What an older one takes from its page, before it is loaded.
  globalThis.self = globalThis;
  globalThis.window = globalThis;
  // 1.2 names a variable that is not there, and reads the window's.
  globalThis.status = "";
  globalThis.XMLHttpRequest = XMLHttpRequest;
  return require(`phoenix-${version}`);
}

/**
 * How long to wait before a try, in ms: a quick version of the clients' own schedules. It grows as they do: until 1.3
 * a client that waits for its join joins again at each step and then takes no earlier answer.
 */
function soon(tries) {
  return Math.min(SOON_MS * 2 ** (tries - 1), 2_000);
}

/** A socket of a version, not connected yet. */
export function socket(url, version, transport) {
  const { Socket, LongPoll } = phoenix(version);
  return new Socket(url, {
    transport: transport === "longpoll" ? LongPoll : WebSocket,
    timeout: TIMEOUT_MS,
    reconnectAfterMs: soon,
    rejoinAfterMs: soon,
  });
}

/** Waits until `done()` is true. */
export async function until(done, what) {
  const end = Date.now() + LIMIT_MS;
  while (!done()) {
    if (Date.now() > end) throw new Error(`not within ${LIMIT_MS} ms: ${what()}`);
    await new Promise((wake) => setTimeout(wake, 5));
  }
}

/** Prints one line of JSON for the test. */
export function say(line, after) {
  process.stdout.write(`${JSON.stringify(line)}\n`, after);
}

/** What both kinds of client count. */
class Heard {
  joins = 0;
  crashes = 0;
  closes = [];
  seen = [];
}

function settled(push, what) {
  return new Promise((resolve, reject) => {
    push
      .receive("ok", (response) => resolve(["ok", response]))
      .receive("error", (response) => resolve(["error", response]))
      .receive("timeout", () => reject(new Error(`${what}: no reply`)));
  });
}

/** A phoenix from npm. */
export class Stock extends Heard {
  constructor(url, version, transport) {
    super();
    this.socket = socket(url, version, transport);
    this.socket.onClose((event) => this.closes.push(event?.code ?? null));
    this.socket.connect();
  }

  join(topic) {
    this.channel = this.socket.channel(topic, {});
    for (const event of EVENTS) this.channel.on(event, ({ n }) => this.seen.push([event, n]));
    this.channel.onError(() => (this.crashes += 1));
    const push = this.channel.join();
    push.receive("ok", () => (this.joins += 1));
    return settled(push, "join");
  }

  push(event, payload) {
    return settled(this.channel.push(event, payload), event);
  }

  /** Pushes what is not answered. */
  cast(event) {
    this.channel.push(event, {});
  }

  /** Leaves; the client says "ok" before its frame is out, so what tells is the answer to a later frame. */
  async leave() {
    const { topic } = this.channel;
    const left = await settled(this.channel.leave(), "leave");
    const aside = this.socket.channel(`${topic}-aside`, {});
    await settled(aside.join(), "join aside");
    aside.leave();
    return left;
  }
}

/** V1 with integer refs from 0 and no join_ref; what Elm leaves to the program (joining again) is here. */
export class Elm extends Heard {
  #ref = 0;
  #waiting = new Map();
  #topic = null;
  #queue = [];

  constructor(url) {
    super();
    this.url = `${url}/websocket?vsn=1.0.0`;
    this.#connect();
  }

  #connect() {
    this.ws = new WebSocket(this.url);
    this.ws.on("error", () => {});
    this.ws.on("open", () => {
      for (const text of this.#queue.splice(0)) this.ws.send(text);
      if (this.closes.length > 0 && this.#topic) this.#rejoin();
    });
    this.ws.on("message", (bytes) => this.#take(JSON.parse(bytes.toString())));
    this.ws.on("close", (code) => {
      this.closes.push(code);
      setTimeout(() => this.#connect(), SOON_MS);
    });
  }

  #send(event, payload, topic) {
    const ref = this.#ref++;
    const text = JSON.stringify({ topic, event, payload, ref });
    if (this.ws.readyState === WebSocket.OPEN) this.ws.send(text);
    else this.#queue.push(text);
    return new Promise((resolve) => this.#waiting.set(ref, resolve));
  }

  async #rejoin() {
    const [status, response] = await this.#send("phx_join", {}, this.#topic);
    if (status === "ok") this.joins += 1;
    return [status, response];
  }

  #take({ topic, event, payload, ref }) {
    if (event === "phx_reply") {
      this.#waiting.get(ref)?.([payload.status, payload.response]);
      this.#waiting.delete(ref);
    } else if (topic === this.#topic && event === "phx_error") {
      this.crashes += 1;
      this.#rejoin();
    } else if (topic === this.#topic && EVENTS.includes(event)) {
      this.seen.push([event, payload.n]);
    }
  }

  join(topic) {
    this.#topic = topic;
    return this.#rejoin();
  }

  push(event, payload) {
    return this.#send(event, payload, this.#topic);
  }

  cast(event) {
    this.#send(event, {}, this.#topic);
  }

  leave() {
    const topic = this.#topic;
    this.#topic = null;
    return this.#send("phx_leave", {}, topic);
  }
}
