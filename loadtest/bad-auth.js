// bad-auth: people without a right to come in, many of them, beside those who have one.
//
// Measures: that every bad token and version is refused, by WebSocket and long-poll (refused_ok), how long a refusal takes
// (refusal_ms), and that the good sockets of the same node do not notice: their chat is accounted for as in chat-fanout.
// Good: 100 % refused; 100 % delivered, p95 as in chat-fanout.
//
// The cases of expired and early tokens need FANFARE_SECRET_KEY_BASE.
// ROOMS=2 MEMBERS=10 (good ones a room) MESSAGES=25 RATE=5 ATTEMPTS=100 (bad ones a room) ATTEMPT_RATE=20 (a second and
// room) CONNECT_RATE=100 GRACE=10s P95_MS=250 MIN_DELIVERY=1

import http from 'k6/http';
import { Counter, Rate, Trend } from 'k6/metrics';

import { sign } from './lib/auth.js';
import { count, given, httpUrl, number, seconds, urls } from './lib/options.js';
import { Socket } from './lib/phoenix.js';
import { once, start, wait } from './lib/start.js';
import { summary } from './lib/summary.js';
import { longest, thresholds, Trial } from './lib/trial.js';
import { WebSocket } from './lib/ws.js';

const vus = count('ROOMS', 2);
const attempts = count('ATTEMPTS', 100);
const attemptRate = number('ATTEMPT_RATE', 20);
const plan = {
  kind: 'chat',
  topics: 1,
  topicsPerMember: 1,
  members: count('MEMBERS', 10),
  publishers: 1,
  messages: count('MESSAGES', 25),
  rate: number('RATE', 5),
  bytes: 64,
  connectRate: number('CONNECT_RATE', 100),
  graceSeconds: seconds('GRACE', 10),
};
const limits = { p95: number('P95_MS', 250), delivery: number('MIN_DELIVERY', 1) };

const refusedOk = new Rate('refused_ok');
const refusals = new Counter('refusals');
const refusalMs = new Trend('refusal_ms', true);

export const options = once(vus, longest(plan) + attempts / attemptRate, {
  ...thresholds(vus, plan, limits),
  refused_ok: ['rate>=1'],
  refusals: [`count>=${vus * attempts}`],
  refusal_ms: [`p(95)<${limits.p95}`],
});
export const handleSummary = summary('bad-auth', { rooms: vus, attempts, attemptRate, ...plan });

export function setup() {
  return start();
}

// What must be refused, as connect parameters.
function badParams() {
  const now = Math.floor(Date.now() / 1000);
  const good = { sub: '1', name: 'mallory', iat: now, exp: now + 3600 };
  const cases = [
    { token: 'not a token', vsn: '2.0.0' },
    { token: 'a.b.c', vsn: '2.0.0' },
    { token: sign(good, 'a secret of somebody else'), vsn: '2.0.0' },
    { token: `${sign(good, 'x', 'none').split('.').slice(0, 2).join('.')}.`, vsn: '2.0.0' },
    { vsn: '9.0.0' },
    { vsn: '2' },
  ];
  const secret = given('FANFARE_SECRET_KEY_BASE');
  if (secret !== undefined) {
    cases.push({ token: sign({ ...good, exp: now - 10 }, secret), vsn: '2.0.0' });
    cases.push({ token: sign({ ...good, nbf: now + 3600 }, secret), vsn: '2.0.0' });
    cases.push({ token: sign({ name: 'nobody' }, secret), vsn: '2.0.0' });
    cases.push({ token: `${sign(good, secret)}x`, vsn: '2.0.0' });
  }
  return cases;
}

function query(parameters) {
  return Object.entries(parameters).map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
}

// The ways in; each says whether it was refused as it must be.
const WAYS = [
  async (url, bad) => {
    const answer = await http.asyncRequest('GET', `${httpUrl(url)}/websocket?${query(bad)}`, null, {
      responseCallback: http.expectedStatuses(403),
    });
    return answer.status === 403;
  },
  async (url, bad) => {
    const answer = await http.asyncRequest('GET', `${httpUrl(url)}/longpoll?${query(bad)}`, null);
    return answer.status === 200 && answer.json('status') === 403;
  },
  async (url, bad) => {
    // The client adds a good version itself; where only the version is bad, a token that is none takes its place.
    const token = bad.token ?? 'none at all';
    const socket = new Socket({ urls: [url], transport: WebSocket, params: { token } });
    const { ok } = await socket.connect();
    socket.disconnect();
    return !ok;
  },
];

async function attempt(index) {
  await wait((index * 1000) / attemptRate);
  const cases = badParams();
  const all = urls();
  const startedAt = Date.now();
  const way = WAYS[index % WAYS.length];
  const wasRefused = await way(all[index % all.length], cases[Math.floor(index / WAYS.length) % cases.length]);
  refusedOk.add(wasRefused);
  refusals.add(wasRefused ? 1 : 0);
  refusalMs.add(Date.now() - startedAt);
}

export default async function crowd({ run }) {
  const bad = () => Promise.all(Array.from({ length: attempts }, (_, index) => attempt(index)));
  await new Trial(plan, run).run(bad);
}
