// A client of Phoenix Channels: sockets that reconnect, channels that rejoin with their position.
// It never imports from k6: the transport (a WebSocket class) and the timers are given to it.

import { decode, encode } from './frames.js';

const OPEN = 1;

// The delays of phoenix.js: how long to wait before attempt `tries` (from 1), in milliseconds.
const RECONNECT_MS = [10, 50, 100, 150, 200, 250, 500, 1000, 2000];
const RECONNECT_LAST_MS = 5000;
const REJOIN_MS = [1000, 2000, 5000];
const REJOIN_LAST_MS = 10000;

// What phoenix.js does: no jitter, nearly all attempts within the first 4.3 s.
export function stockDelay(tries) {
  return RECONNECT_MS[tries - 1] ?? RECONNECT_LAST_MS;
}

// The same ladder with full jitter, as a kind client does.
export function jitteredDelay(tries, random = Math.random) {
  return Math.ceil(random() * 2 * Math.max(stockDelay(tries), 100));
}

function rejoinDelay(tries) {
  return REJOIN_MS[tries - 1] ?? REJOIN_LAST_MS;
}

// The code of a close: k6 1.x tells it only in the text of the error before it. 1006 when there was none.
export function closeCode(event, error) {
  if (event && Number.isInteger(event.code) && event.code > 0) return event.code;
  const told = /close (\d{4})/.exec(error || '');
  return told ? Number(told[1]) : 1006;
}

// One connection to one of several nodes.
//
// `urls`: mounts, such as ws://127.0.0.1:4000/socket; the one at `first` is tried first, any other one when it fails or
// is lost, so that those of a node that goes spread over the rest.
// `params`: connect parameters, or a function that makes them for each attempt.
// `reconnect`: a delay for each attempt, such as `stockDelay`; null stays away.
// `on`: functions by name: open({ms, again}), close({code, wasOpen, wanted}), join({status, response, ms}), back({ms, code}).
export class Socket {
  constructor({
    urls, first = 0, params = {}, transport, reconnect = null, on = {},
    path = 'websocket', timers = globalThis, now = Date.now, random = Math.random, heartbeatMs = 30000, timeoutMs = 10000,
  }) {
    Object.assign(this, { urls, params, transport, reconnect, path, timers, now, random, heartbeatMs, timeoutMs });
    this.at = first % urls.length;
    this.on = on;
    this.channels = new Map();
    this.replies = new Map();
    this.refs = 0;
    this.tries = 0;
    this.wanted = false;
    this.lost = null;
    this.wire = null;
  }

  // Connects once and tells how that went, {ok, ms, error}; with `reconnect` it then goes on by itself.
  connect() {
    this.wanted = true;
    return new Promise((tell) => this.attempt(tell));
  }

  isOpen() {
    return this.wire !== null && this.wire.readyState === OPEN;
  }

  channel(topic, options = {}) {
    const channel = new Channel(this, topic, options);
    this.channels.set(topic, channel);
    return channel;
  }

  // Closes for good; nothing of it is left to wait for.
  disconnect() {
    this.wanted = false;
    this.stopTimers();
    this.channels.forEach((channel) => channel.stopTimers());
    if (this.isOpen()) this.wire.close(1000);
    this.failPending();
  }

  // Breaks the connection as a network does: the socket comes back by `reconnect`.
  drop() {
    if (this.isOpen()) this.wire.close(4000);
  }

  // Sends a message and returns {status, response, ms}; status is `timeout` or `closed` when no reply came.
  request(message, timeoutMs = this.timeoutMs) {
    const ref = this.nextRef();
    return this.send({ ...message, ref }, timeoutMs);
  }

  nextRef() {
    this.refs += 1;
    return String(this.refs);
  }

  send(message, timeoutMs) {
    if (!this.isOpen()) return Promise.resolve({ status: 'closed', response: {}, ms: 0 });
    const sentAt = this.now();
    return new Promise((tell) => {
      const done = (status, response) => {
        this.timers.clearTimeout(timer);
        this.replies.delete(message.ref);
        tell({ status, response, ms: this.now() - sentAt });
      };
      const timer = this.timers.setTimeout(() => done('timeout', {}), timeoutMs);
      this.replies.set(message.ref, done);
      this.wire.send(encode(message));
    });
  }

  // One heartbeat, as `request` answers.
  heartbeat() {
    return this.request({ topic: 'phoenix', event: 'heartbeat', payload: {} }, this.heartbeatMs);
  }

  attempt(tell = () => {}) {
    const startedAt = this.now();
    const Wire = this.transport;
    const wire = new Wire(this.address());
    let error = '';
    let wasOpen = false;
    this.wire = wire;
    wire.binaryType = 'arraybuffer';
    wire.onopen = () => {
      wasOpen = true;
      if (!this.wanted) return wire.close(1000);
      const ms = this.now() - startedAt;
      this.tries = 0;
      this.opened(ms);
      tell({ ok: true, ms });
    };
    wire.onmessage = (event) => this.receive(decode(event.data));
    wire.onerror = (event) => { error = String(event.error || event.message || 'error'); };
    wire.onclose = (event) => {
      if (this.wire !== wire) return;
      this.closed(closeCode(event, error), wasOpen);
      tell({ ok: false, ms: this.now() - startedAt, error });
    };
  }

  address() {
    const params = typeof this.params === 'function' ? this.params() : this.params;
    const given = Object.entries({ ...params, vsn: '2.0.0' })
      .filter(([, value]) => value !== undefined && value !== null)
      .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`);
    return `${this.urls[this.at]}/${this.path}?${given.join('&')}`;
  }

  opened(ms) {
    this.beat = this.timers.setInterval(async () => {
      const { status } = await this.heartbeat();
      if (status === 'timeout') this.drop();
    }, this.heartbeatMs);
    this.tell('open', { ms, again: this.lost !== null });
    this.channels.forEach((channel) => channel.reopen());
    this.checkBack();
  }

  closed(code, wasOpen) {
    this.wire = null;
    this.stopTimers();
    if (wasOpen && this.lost === null && this.wanted) this.lost = { at: this.now(), code };
    this.channels.forEach((channel) => channel.lose());
    this.failPending();
    this.tell('close', { code, wasOpen, wanted: this.wanted });
    if (!this.wanted || this.reconnect === null) return;
    this.tries += 1;
    this.at = this.another();
    this.retry = this.timers.setTimeout(() => this.attempt(), this.reconnect(this.tries));
  }

  another() {
    const others = this.urls.length - 1;
    return others === 0 ? 0 : (this.at + 1 + Math.floor(this.random() * others)) % this.urls.length;
  }

  receive(message) {
    const done = message.event === 'phx_reply' && this.replies.get(message.ref);
    if (done) return done(message.payload.status, message.payload.response);
    const channel = this.channels.get(message.topic);
    if (channel) channel.receive(message);
  }

  // Says `back` once every channel that was joined before the loss is joined again.
  checkBack() {
    if (this.lost === null || !this.isOpen()) return;
    for (const channel of this.channels.values()) if (channel.wanted && !channel.joined) return;
    const { at, code } = this.lost;
    this.lost = null;
    this.tell('back', { ms: this.now() - at, code });
  }

  failPending() {
    for (const done of [...this.replies.values()]) done('closed', {});
  }

  stopTimers() {
    this.timers.clearInterval(this.beat);
    this.timers.clearTimeout(this.retry);
  }

  tell(name, what) {
    if (this.on[name]) this.on[name](what);
  }
}

// One topic of one socket.
//
// `params`: the join's payload. `resume`: whether a rejoin carries the position. `list`: the name of the field of a
// join's reply that holds missed records, which then come as the event `listEvent`, before anything else.
// `on`: functions by event, called with (payload, {resumed}).
export class Channel {
  constructor(socket, topic, { params = {}, resume = true, list = null, listEvent = null, on = {} } = {}) {
    Object.assign(this, { socket, topic, params, resume, list, listEvent, on });
    this.joinRef = null;
    this.joined = false;
    this.wanted = false;
    this.tries = 0;
    this.lastId = null;
    this.epoch = null;
    this.resumedTo = 0;
    this.waiting = [];
  }

  // Joins and returns {status, response, ms}.
  async join() {
    this.wanted = true;
    const ref = this.socket.nextRef();
    this.joinRef = ref;
    const message = { joinRef: ref, ref, topic: this.topic, event: 'phx_join', payload: this.joinPayload() };
    // What the channel is told must come before a frame behind the reply, so it is no step of a promise.
    const answer = this.socket.send(message, this.socket.timeoutMs);
    const tell = this.socket.replies.get(ref);
    if (tell) {
      this.socket.replies.set(ref, (status, response) => {
        if (status === 'ok' && this.joinRef === ref) this.entered(response);
        tell(status, response);
      });
    }
    const { status, response, ms } = await answer;
    this.socket.tell('join', { status, response, ms });
    if (status !== 'ok' && this.joinRef === ref) this.joinAgainLater(status);
    return { status, response, ms };
  }

  joinPayload() {
    if (!this.resume || this.lastId === null) return this.params;
    return { ...this.params, last_seen_id: this.lastId, last_seen_epoch: this.epoch };
  }

  entered(response) {
    this.joined = true;
    this.tries = 0;
    const isFirst = this.lastId === null;
    if (Number.isInteger(response.last_id)) {
      this.resumedTo = isFirst ? 0 : response.last_id;
      if (isFirst) this.lastId = response.last_id;
      this.epoch = response.epoch;
    }
    for (const gap of response.gaps || (response.gap ? [response.gap] : [])) {
      if (gap.reset) this.lastId = response.last_id;
      this.deliver('gap', gap);
    }
    for (const record of (this.list && !isFirst && response[this.list]) || []) this.deliver(this.listEvent, record);
    for (const tell of this.waiting.splice(0)) tell();
    this.socket.checkBack();
  }

  // Sends an event and returns {status, response, ms}; an ArrayBuffer goes as a binary frame.
  push(event, payload, timeoutMs) {
    return this.socket.request({ joinRef: this.joinRef, topic: this.topic, event, payload }, timeoutMs);
  }

  // Resolves as soon as the channel is joined.
  untilJoined() {
    return this.joined ? Promise.resolve() : new Promise((tell) => this.waiting.push(tell));
  }

  async leave() {
    this.wanted = false;
    const answer = await this.push('phx_leave', {});
    this.joined = false;
    this.socket.channels.delete(this.topic);
    return answer;
  }

  receive({ joinRef, event, payload }) {
    if (joinRef !== null && joinRef !== this.joinRef) return;
    switch (event) {
      case 'phx_reply':
        return;
      case 'phx_error':
        this.joined = false;
        this.joinAgainLater('error');
        return;
      case 'phx_close':
        this.joined = false;
        this.wanted = false;
        return;
      default:
        this.deliver(event, payload);
    }
  }

  deliver(event, payload) {
    let resumed = false;
    if (payload && Number.isInteger(payload.id)) {
      resumed = payload.id <= this.resumedTo;
      if (this.lastId === null || payload.id > this.lastId) this.lastId = payload.id;
    }
    if (this.on[event]) this.on[event](payload, { resumed });
  }

  reopen() {
    if (this.wanted) this.join();
  }

  lose() {
    this.joined = false;
    this.joinRef = null;
    this.stopTimers();
  }

  joinAgainLater(status) {
    if (!this.wanted || status === 'closed' || this.socket.reconnect === null) return;
    this.tries += 1;
    this.retry = this.socket.timers.setTimeout(() => this.reopen(), rejoinDelay(this.tries));
  }

  stopTimers() {
    this.socket.timers.clearTimeout(this.retry);
  }
}
