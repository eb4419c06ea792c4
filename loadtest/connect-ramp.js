// connect-ramp: how many sockets, how fast.
//
// Measures: the time of a handshake (ws_connect_ms) and of a join (phx_join_ms) while sockets come at a steady rate, and
// whether all of them are still there after a while of doing nothing but heartbeats.
// Good: nothing refused, every join accepted, every socket held; p95 of the handshake stays flat to the end of the ramp.
// Refusals (ws_refused) are right when RATE is above `limits.connects_per_second` of the nodes together.
//
// One machine has about 28,000 ports a node: k6's --local-ips=127.0.0.2-127.0.0.9 gives it more. Mind `ulimit -n`.
// SOCKETS=400 VUS=8 RATE=100 (a second, all VUs) HOLD=10s TOPIC_MEMBERS=10 P95_MS=250 MIN_HELD=1

import { Counter, Rate } from 'k6/metrics';

import { member } from './lib/member.js';
import { count, number, seconds } from './lib/options.js';
import { once, start, wait } from './lib/start.js';
import { summary } from './lib/summary.js';

const vus = count('VUS', 8);
const plan = {
  sockets: count('SOCKETS', 400),
  rate: number('RATE', 100),
  holdSeconds: seconds('HOLD', 10),
  topicMembers: count('TOPIC_MEMBERS', 10),
};
const each = Math.ceil(plan.sockets / vus);
const p95 = number('P95_MS', 250);
const held = number('MIN_HELD', 1);

const joined = new Counter('sockets_joined');
const heldOk = new Rate('held_ok');

export const options = once(vus, plan.sockets / plan.rate + plan.holdSeconds + 60, {
  ws_connect_ms: [`p(95)<${p95}`],
  phx_join_ms: [`p(95)<${p95}`],
  join_ok: [{ threshold: `rate>=${held}`, abortOnFail: true, delayAbortEval: '10s' }],
  sockets_joined: [`count>=${Math.floor(vus * each * held)}`],
  held_ok: [`rate>=${held}`],
});
export const handleSummary = summary('connect-ramp', { vus, ...plan });

export function setup() {
  return start();
}

export default async function crowd({ run }) {
  const startAt = Date.now();
  const gap = (1000 * vus) / plan.rate;
  const all = Array.from({ length: each }, async (_, index) => {
    await wait(index * gap + ((__VU - 1) * gap) / vus);
    const socket = member(index);
    const { ok } = await socket.connect();
    if (!ok) return null;
    const channel = socket.channel(`chat_room:quiet-${run}-${__VU}-${Math.floor(index / plan.topicMembers)}`);
    if ((await channel.join()).status === 'ok') joined.add(1);
    return socket;
  });
  const sockets = await Promise.all(all);
  await wait(startAt + each * gap + plan.holdSeconds * 1000 - Date.now());
  for (const socket of sockets) {
    const answer = socket && socket.isOpen() ? await socket.heartbeat() : { status: 'closed' };
    heldOk.add(answer.status === 'ok');
    if (socket) socket.disconnect();
  }
}
