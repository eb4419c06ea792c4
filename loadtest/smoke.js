// smoke: does each part of the protocol work, on every node? One socket a node, a few seconds.
//
// Measures: nothing much; it is the first script to run after an installation. Each step is a check by its name.
// Good: every check passes.
//
// It needs `room:*` and `score:*` as in loadtest/fanfare.toml; SCORE=no and RELAY=no leave those steps out.

import http from 'k6/http';
import { check } from 'k6';
import { Counter } from 'k6/metrics';

import { arePlayers } from './lib/auth.js';
import { longPoll } from './lib/longpoll.js';
import { member } from './lib/member.js';
import { urls, word } from './lib/options.js';
import { stockDelay } from './lib/phoenix.js';
import { Presence } from './lib/presence.js';
import { once, start, within } from './lib/start.js';
import { summary } from './lib/summary.js';

const nodes = urls().length;
const withScore = word('SCORE', ['yes', 'no']) === 'yes';
const withRelay = word('RELAY', ['yes', 'no']) === 'yes';
const LIMIT_MS = 5000;
// A step that throws ends the iteration, and fails no check.
const finished = new Counter('smoke_finished');

export const options = once(nodes, 120, { checks: ['rate>=1'], smoke_finished: [`count>=${nodes}`] });
export const handleSummary = summary('smoke', { nodes, score: withScore, relay: withRelay });

export function setup() {
  return { ...start(), score: withScore && arePlayers() };
}

function says(name, holds) {
  check(holds, { [name]: (value) => value === true });
}

// The next payload of an event on a channel; undefined when none comes in time.
function next(channel, event) {
  return within(new Promise((tell) => { channel.on[event] = tell; }), LIMIT_MS);
}

async function chat(socket, run) {
  const presence = new Presence();
  const channel = socket.channel(`chat_room:smoke-${run}-${__VU}`);
  channel.on.presence_diff = (diff) => presence.diff(diff);
  const state = next(channel, 'presence_state');
  const join = await channel.join();
  says('a chat room is joined', join.status === 'ok' && Number.isInteger(join.response.last_id));
  presence.state((await state) ?? {});
  says('its presence has us', presence.count === 1);

  const echo = next(channel, 'new_message');
  const push = await channel.push('new_message', { message: 'smoke' });
  const message = await echo;
  says('a message is acknowledged and comes back', push.status === 'ok' && message?.id === push.response.id);
  const blank = await channel.push('new_message', { message: ' ' });
  says('a blank message is refused', blank.status === 'error' && blank.response.reason === 'invalid');
  return { channel, message };
}

async function resume(socket, told, { channel, message }) {
  const back = new Promise((tell) => { told.back = tell; });
  channel.lastId = message.id - 1;
  const missed = next(channel, 'new_message');
  socket.drop();
  says('a lost socket comes back', (await within(back, LIMIT_MS)) !== undefined);
  says('a rejoin brings what was missed', (await missed)?.uid === message.uid);
  says('a channel is left', (await channel.leave()).status === 'ok');
  const after = await socket.request({ topic: channel.topic, event: 'new_message', payload: { message: 'x' } });
  says('after that its topic is unmatched', after.response.reason === 'unmatched topic');
}

async function score(socket, run) {
  const channel = socket.channel(`score:smoke-${run}-${__VU}`, { list: 'scores', listEvent: 'save_score' });
  says('a game is joined', (await channel.join()).status === 'ok');
  const echo = next(channel, 'save_score');
  const push = await channel.push('save_score', { player_score: 42, client_key: 'smoke' });
  says('a score is saved and comes back', push.status === 'ok' && (await echo)?.player_score === 42);
  const again = await channel.push('save_score', { player_score: 42, client_key: 'smoke' });
  says('the same key is answered the same', again.response.id === push.response.id);
}

async function relay(socket, run) {
  const channel = socket.channel(`room:smoke-${run}-${__VU}`);
  says('a relay topic is joined', (await channel.join()).status === 'ok');
  const echo = next(channel, 'cursor');
  await channel.push('cursor', { x: 1 });
  says('a relayed event comes back as it was', (await echo)?.x === 1);
  const binary = await channel.push('cursor', new Uint8Array([1, 2, 3]).buffer);
  says('a binary push is answered', binary.status === 'ok' || binary.status === 'error');
}

async function poll(run) {
  const socket = member(1, { transport: longPoll(http.asyncRequest), path: 'longpoll' });
  says('long-poll connects', (await socket.connect()).ok);
  const channel = socket.channel(`chat_room:quiet-${run}-${__VU}`);
  says('long-poll joins', (await channel.join()).status === 'ok');
  socket.disconnect();
}

export default async function steps({ run, score: saves }) {
  const told = {};
  const socket = member(0, { reconnect: stockDelay, on: told });
  says('a socket connects', (await socket.connect()).ok);
  says('a heartbeat is answered', (await socket.heartbeat()).status === 'ok');
  await resume(socket, told, await chat(socket, run));
  if (saves) await score(socket, run);
  if (withRelay) await relay(socket, run);
  socket.disconnect();
  await poll(run);
  finished.add(1);
}
