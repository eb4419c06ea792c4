// longpoll: the same promise without a WebSocket.
//
// Measures: latency and delivery of chat records to long-poll sessions. Each request goes to the next node, as behind a
// proxy that knows no sessions (STICKY=no), so that most polls reach a node that does not have the session.
// Good: 100 % delivered, none twice, none out of order; p95 of a few round trips between nodes, about twice that of
// chat-fanout.
//
// ROOMS=2 MEMBERS=10 (a room) PUBLISHERS=2 (a room) MESSAGES=25 (a publisher) RATE=2 (a second and publisher) BYTES=64
// STICKY=no|yes CONNECT_RATE=50 GRACE=15s P95_MS=500 MIN_DELIVERY=1

import http from 'k6/http';

import { longPoll } from './lib/longpoll.js';
import { count, httpUrl, number, seconds, urls, word } from './lib/options.js';
import { once, start } from './lib/start.js';
import { summary } from './lib/summary.js';
import { longest, thresholds, Trial } from './lib/trial.js';

const vus = count('ROOMS', 2);
const nodes = word('STICKY', ['no', 'yes']) === 'no' ? urls().map(httpUrl) : [];
const plan = {
  kind: 'chat',
  topics: 1,
  topicsPerMember: 1,
  members: count('MEMBERS', 10),
  publishers: count('PUBLISHERS', 2),
  messages: count('MESSAGES', 25),
  rate: number('RATE', 2),
  bytes: count('BYTES', 64),
  connectRate: number('CONNECT_RATE', 50),
  graceSeconds: seconds('GRACE', 15),
};
const socket = { transport: longPoll(http.asyncRequest, nodes), path: 'longpoll' };
const limits = { p95: number('P95_MS', 500), delivery: number('MIN_DELIVERY', 1) };

export const options = once(vus, longest(plan), thresholds(vus, plan, limits));
export const handleSummary = summary('longpoll', { rooms: vus, ...plan });

export function setup() {
  return start();
}

export default async function crowd({ run }) {
  await new Trial({ ...plan, socket }, run).run();
}
