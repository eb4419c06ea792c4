// Tests of what the k6 scripts are made of, without k6: frames, the client, the ledger, presence, long-poll.
// Time is a list of due timers, so nothing waits.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { decode, encode } from '../../../loadtest/lib/frames.js';
import { Ledger } from '../../../loadtest/lib/ledger.js';
import { longPoll } from '../../../loadtest/lib/longpoll.js';
import { closeCode, jitteredDelay, Socket, stockDelay } from '../../../loadtest/lib/phoenix.js';
import { Presence } from '../../../loadtest/lib/presence.js';

const bytes = (...list) => Uint8Array.from(list).buffer;
const ascii = (word) => [...word].map((char) => char.charCodeAt(0));
const settle = () => new Promise((tell) => setImmediate(tell));

// A clock whose timers fire when it is told to go on.
class Clock {
  constructor() {
    this.at = 0;
    this.due = new Map();
    this.ids = 0;
  }

  add(call, ms, every) {
    this.ids += 1;
    this.due.set(this.ids, { call, at: this.at + ms, every });
    return this.ids;
  }

  setTimeout(call, ms) { return this.add(call, ms, null); }
  setInterval(call, ms) { return this.add(call, ms, ms); }
  clearTimeout(id) { this.due.delete(id); }
  clearInterval(id) { this.due.delete(id); }

  async forward(ms) {
    const end = this.at + ms;
    for (;;) {
      const next = [...this.due].filter(([, timer]) => timer.at <= end).sort((a, b) => a[1].at - b[1].at)[0];
      if (!next) break;
      const [id, timer] = next;
      this.at = timer.at;
      if (timer.every === null) this.due.delete(id);
      else timer.at += timer.every;
      timer.call();
      await settle();
    }
    this.at = end;
  }
}

// A WebSocket whose other end is the test.
function wires() {
  const made = [];
  return {
    made,
    last: () => made[made.length - 1],
    Wire: class {
      constructor(url) {
        Object.assign(this, { url, readyState: 0, sent: [] });
        made.push(this);
      }
      send(frame) { this.sent.push(typeof frame === 'string' ? JSON.parse(frame) : frame); }
      close(code) { this.serverCloses(code); }
      opens() { this.readyState = 1; this.onopen({}); }
      says(...message) { this.onmessage({ data: JSON.stringify(message) }); }
      serverCloses(code, error = `websocket: close ${code}: x`) {
        this.readyState = 3;
        this.onerror({ error });
        this.onclose({});
      }
    },
  };
}

function client(more = {}) {
  const clock = new Clock();
  const wire = wires();
  const socket = new Socket({
    urls: ['ws://a/socket', 'ws://b/socket'], transport: wire.Wire, timers: clock, now: () => clock.at, ...more,
  });
  return { clock, wire, socket };
}

async function joined(more = {}, options = {}) {
  const all = client(more);
  all.socket.connect();
  all.wire.last().opens();
  all.channel = all.socket.channel('chat_room:a', options);
  const answer = all.channel.join();
  const [joinRef, ref] = all.wire.last().sent[0];
  all.wire.last().says(joinRef, ref, 'chat_room:a', 'phx_reply', { status: 'ok', response: { last_id: 7, epoch: 'e' } });
  assert.equal((await answer).status, 'ok');
  return all;
}

test('a text frame is the array of five', () => {
  const message = { joinRef: '1', ref: '2', topic: 't', event: 'e', payload: { a: 1 } };
  assert.equal(encode(message), '["1","2","t","e",{"a":1}]');
  assert.deepEqual(decode('["1",null,"t","e",{"a":1}]'), { ...message, ref: null });
});

test('a binary push to the server has five bytes of header', () => {
  const frame = encode({ joinRef: '3', ref: '5', topic: 'room:lobby', event: 'bin', payload: bytes(1, 2, 3) });
  assert.deepEqual([...new Uint8Array(frame)],
    [0, 1, 1, 10, 3, ...ascii('3'), ...ascii('5'), ...ascii('room:lobby'), ...ascii('bin'), 1, 2, 3]);
});

test('sizes of a binary frame count bytes of UTF-8', () => {
  const frame = new Uint8Array(encode({ topic: 'é', event: 'e', payload: bytes() }));
  assert.deepEqual([...frame], [0, 0, 0, 2, 1, 0xc3, 0xa9, ...ascii('e')]);
  assert.throws(() => encode({ topic: 'é'.repeat(128), event: 'e', payload: bytes() }), /255/);
});

test('binary frames of the server have three layouts', () => {
  const cases = [
    [bytes(0, 1, 1, 1, ...ascii('1te'), 9), { joinRef: '1', ref: null, topic: 't', event: 'e', payload: bytes(9) }],
    [bytes(1, 1, 1, 1, 2, ...ascii('12tok'), 9),
      { joinRef: '1', ref: '2', topic: 't', event: 'phx_reply', payload: { status: 'ok', response: bytes(9) } }],
    [bytes(2, 2, 1, 0xc3, 0xa9, ...ascii('e'), 9), { joinRef: null, ref: null, topic: 'é', event: 'e', payload: bytes(9) }],
  ];
  for (const [frame, message] of cases) assert.deepEqual(decode(frame), message);
  assert.throws(() => decode(bytes(7)), /kind 7/);
});

test('the address has the parameters and the version', () => {
  const { socket, wire } = client({ params: () => ({ token: 'a+b', none: null }) });
  socket.connect();
  assert.equal(wire.last().url, 'ws://a/socket/websocket?token=a%2Bb&vsn=2.0.0');
});

test('a push is answered by the reply with its ref', async () => {
  const { channel, wire } = await joined();
  const answer = channel.push('new_message', { message: 'hi' });
  assert.deepEqual(wire.last().sent[1], ['1', '2', 'chat_room:a', 'new_message', { message: 'hi' }]);
  wire.last().says('1', '1', 'chat_room:a', 'phx_reply', { status: 'ok', response: { id: 1 } });
  wire.last().says('1', '2', 'chat_room:a', 'phx_reply', { status: 'error', response: { reason: 'invalid' } });
  assert.deepEqual(await answer, { status: 'error', response: { reason: 'invalid' }, ms: 0 });
});

test('a push without an answer ends by the limit or the close', async () => {
  const { channel, clock, wire } = await joined();
  const late = channel.push('new_message', {}, 50);
  await clock.forward(50);
  assert.deepEqual(await late, { status: 'timeout', response: {}, ms: 50 });
  const cut = channel.push('new_message', {});
  wire.last().serverCloses(1012);
  assert.equal((await cut).status, 'closed');
  assert.equal((await channel.push('new_message', {})).status, 'closed');
});

test('frames of an older join are dropped', async () => {
  const got = [];
  const { wire } = await joined({}, { on: { new_message: (payload) => got.push(payload.n) } });
  wire.last().says('0', null, 'chat_room:a', 'new_message', { n: 1 });
  wire.last().says('1', null, 'chat_room:a', 'new_message', { n: 2 });
  wire.last().says(null, null, 'chat_room:a', 'new_message', { n: 3 });
  assert.deepEqual(got, [2, 3]);
});

test('a heartbeat goes out every 30 s, and one without an answer drops the socket', async () => {
  const seen = [];
  const { clock, wire } = await joined({ on: { close: ({ code }) => seen.push(code) } });
  await clock.forward(30000);
  const [, ref, topic, event] = wire.last().sent[1];
  assert.deepEqual([topic, event], ['phoenix', 'heartbeat']);
  wire.last().says(null, ref, 'phoenix', 'phx_reply', { status: 'ok', response: {} });
  await clock.forward(59999);
  assert.deepEqual(seen, []);
  await clock.forward(1);
  assert.deepEqual(seen, [4000]);
});

test('after a loss the next node is tried, and the channel rejoins with its position', async () => {
  const seen = [];
  const got = [];
  const on = { close: (what) => seen.push(what.code), back: (what) => seen.push(what) };
  const { wire, clock } = await joined({ reconnect: stockDelay, on },
    { on: { new_message: (payload, { resumed }) => got.push([payload.id, resumed]) } });
  wire.last().says(null, null, 'chat_room:a', 'new_message', { id: 8 });
  wire.last().serverCloses(1012);
  await clock.forward(10);
  assert.match(wire.last().url, /^ws:\/\/b\//);
  wire.last().serverCloses(0, 'connection refused');
  await clock.forward(50);
  assert.match(wire.last().url, /^ws:\/\/a\//);
  wire.last().opens();
  const [joinRef, ref, , event, payload] = wire.last().sent[0];
  assert.deepEqual([event, payload], ['phx_join', { last_seen_id: 8, last_seen_epoch: 'e' }]);
  assert.equal(seen.length, 2, 'not back before it is joined');
  wire.last().says(joinRef, ref, 'chat_room:a', 'phx_reply', { status: 'ok', response: { last_id: 10, epoch: 'e' } });
  assert.deepEqual(seen, [1012, 1006, { ms: 60, code: 1012 }]);
  for (const id of [9, 10, 11]) wire.last().says(null, null, 'chat_room:a', 'new_message', { id });
  assert.deepEqual(got, [[8, false], [9, true], [10, true], [11, false]]);
});

test('sockets that lose a node spread over the others, never back to it at once', () => {
  const urls = ['a', 'b', 'c', 'd'];
  const cases = [[0, 0, 1], [0, 0.5, 2], [0, 0.99, 3], [3, 0, 0], [2, 0.99, 1]];
  for (const [first, random, expected] of cases) {
    assert.equal(new Socket({ urls, first, transport: null, random: () => random }).another(), expected);
  }
  assert.equal(new Socket({ urls: ['a'], transport: null }).another(), 0);
});

test('missed records in the reply of a rejoin come as events, and a gap too', async () => {
  const got = [];
  const on = { save_score: (record, { resumed }) => got.push([record.id, resumed]), gap: (gap) => got.push(gap) };
  const { wire, clock } = await joined({ reconnect: stockDelay }, { list: 'scores', listEvent: 'save_score', on });
  wire.last().serverCloses(1006);
  await clock.forward(10);
  wire.last().opens();
  const [joinRef, ref] = wire.last().sent[0];
  const response = { last_id: 9, epoch: 'e', scores: [{ id: 9 }], gap: { from: 8, to: 8 } };
  wire.last().says(joinRef, ref, 'chat_room:a', 'phx_reply', { status: 'ok', response });
  assert.deepEqual(got, [{ from: 8, to: 8 }, [9, true]]);
});

test('a refused join is tried again after 1, 2, 5 and 10 s', async () => {
  const { clock, wire, socket } = client({ reconnect: stockDelay });
  socket.connect();
  wire.last().opens();
  socket.channel('chat_room:a').join();
  const joins = () => wire.last().sent.filter((frame) => frame[3] === 'phx_join');
  for (const [index, wait] of [1000, 2000, 5000, 10000].entries()) {
    const [joinRef, ref] = joins()[index];
    wire.last().says(joinRef, ref, 'chat_room:a', 'phx_reply', { status: 'error', response: { reason: 'unavailable' } });
    await settle();
    await clock.forward(wait - 1);
    assert.equal(joins().length, index + 1);
    await clock.forward(1);
    assert.equal(joins().length, index + 2);
  }
});

test('a socket that disconnects leaves no timer behind', async () => {
  const { clock, socket, wire } = await joined({ reconnect: stockDelay });
  socket.channels.get('chat_room:a').push('new_message', {});
  socket.disconnect();
  await clock.forward(60000);
  assert.equal(clock.due.size, 0);
  assert.equal(wire.made.length, 1);
});

test('leaving forgets the channel, so that it is not joined again', async () => {
  const { channel, socket, wire } = await joined();
  const left = channel.leave();
  wire.last().says('1', '2', 'chat_room:a', 'phx_reply', { status: 'ok', response: {} });
  wire.last().says('1', '1', 'chat_room:a', 'phx_close', {});
  assert.equal((await left).status, 'ok');
  assert.equal(socket.channels.size, 0);
});

test('the close code comes from the event, or from the error before it', () => {
  assert.equal(closeCode({ code: 1012 }, ''), 1012);
  assert.equal(closeCode({}, 'websocket: close 1013: slow'), 1013);
  assert.equal(closeCode({}, 'connection reset by peer'), 1006);
});

test('the ladder of phoenix.js ends at 5 s; the jittered one stays below twice that', () => {
  assert.deepEqual([1, 2, 8, 9, 10, 50].map(stockDelay), [10, 50, 1000, 2000, 5000, 5000]);
  assert.deepEqual([1, 9, 10].map((tries) => jitteredDelay(tries, () => 1)), [200, 4000, 10000]);
});

test('the ledger tells new, late, twice and foreign messages apart', () => {
  const ledger = new Ledger({ subscribers: 2, publishers: 2, messages: 3 });
  const cases = [
    [0, 0, 0, 'new'], [0, 0, 2, 'new'], [0, 0, 1, 'late'], [0, 0, 1, 'duplicate'], [0, 1, 0, 'new'],
    [1, 0, 0, 'new'], [1, 2, 0, 'unknown'], [1, 0, 3, 'unknown'], [1, NaN, 0, 'unknown'],
  ];
  for (const [subscriber, publisher, n, verdict] of cases) {
    assert.equal(ledger.receive(subscriber, publisher, n), verdict);
  }
  assert.deepEqual([ledger.expected, ledger.received, ledger.missing], [12, 5, 7]);
  assert.deepEqual([ledger.missingOf(0, 0), ledger.missingOf(0, 1), ledger.missingOf(1, 2)], [0, 1, 2]);
});

test('presence applies diffs that came before the state after it, joins before leaves', () => {
  const entry = (...refs) => ({ metas: refs.map((phx_ref) => ({ phx_ref })) });
  const presence = new Presence();
  presence.diff({ joins: { b: entry('2') }, leaves: {} });
  assert.equal(presence.count, 0);
  presence.state({ a: entry('1', '1b') });
  assert.equal(presence.count, 3);
  presence.diff({ joins: { a: entry('3') }, leaves: { a: entry('1'), unknown: entry('9') } });
  assert.deepEqual([...presence.people.get('a')], ['1b', '3']);
  presence.diff({ joins: {}, leaves: { b: entry('2') } });
  assert.deepEqual([...presence.people.keys()], ['a']);
});

test('long-poll opens with the first poll, sends in order and ends with its session', async () => {
  const asked = [];
  const ask = (method, url, body) => new Promise((tell) => {
    asked.push({ method, url, body, answer: (said) => tell({ status: 200, body: JSON.stringify(said) }) });
  });
  const Wire = longPoll(ask, ['http://a/socket', 'http://b/socket']);
  const seen = [];
  const wire = new Wire('ws://a/socket/longpoll?vsn=2.0.0');
  Object.assign(wire, {
    onopen: () => seen.push('open'), onmessage: ({ data }) => seen.push(data),
    onerror: () => seen.push('error'), onclose: ({ code }) => seen.push(code),
  });
  asked[0].answer({ status: 410, token: 'T/', messages: [] });
  await settle();
  assert.equal(wire.readyState, 1);
  wire.send('[1]');
  wire.send('[2]');
  wire.send('[3]');
  assert.equal(asked[1].url, 'http://a/socket/longpoll?vsn=2.0.0&token=T%2F', 'each request goes to the next node');
  assert.deepEqual([asked[2].method, asked[2].body], ['POST', '[1]']);
  asked[2].answer({ status: 200 });
  await settle();
  assert.equal(asked[3].body, '[2]\n[3]');
  asked[1].answer({ status: 200, token: 'T/', messages: ['x', 'y'] });
  await settle();
  asked[4].answer({ status: 410, token: 'U', messages: [] });
  await settle();
  assert.deepEqual(seen, ['open', 'x', 'y', 'error', 3410]);
});
