// presence: who is here, on every node.
//
// Measures: the time from the last change (a join, a leave, a socket that breaks) until each member's list, kept as
// phoenix.js keeps it from `presence_state` and `presence_diff`, has exactly the right size (presence_ms).
// Good: every member's list is right after every change (delivery_ok 100 %), also of members on other nodes; p95 well
// below a second. Joins of a room are told to all its members, so the work grows with the square of MEMBERS.
//
// ROOMS=2 MEMBERS=20 (a room, at least 4) ROUNDS=3 (of leaving, breaking and coming back) CONNECT_RATE=50
// GRACE=10s (how long a list may take) P95_MS=1000 MIN_DELIVERY=1

import { check } from 'k6';

import { member } from './lib/member.js';
import * as metrics from './lib/metrics.js';
import { count, number, seconds } from './lib/options.js';
import { stockDelay } from './lib/phoenix.js';
import { Presence } from './lib/presence.js';
import { once, start, wait, within } from './lib/start.js';
import { summary } from './lib/summary.js';

const vus = count('ROOMS', 2);
const plan = {
  members: count('MEMBERS', 20),
  rounds: count('ROUNDS', 3),
  connectRate: number('CONNECT_RATE', 50),
  graceSeconds: seconds('GRACE', 10),
};
if (plan.members < 4) throw new Error('MEMBERS: must be at least 4');
const quarter = Math.floor(plan.members / 4);
// Lists that are looked at: all once everybody is in; then each round those who stay, and all again, twice.
const looks = plan.members + plan.rounds * (plan.members - quarter + 2 * plan.members);
const delivery = number('MIN_DELIVERY', 1);

export const options = once(vus, plan.members / plan.connectRate + (1 + 3 * plan.rounds) * plan.graceSeconds + 30, {
  checks: ['rate>=1'],
  join_ok: ['rate>=1'],
  delivery_ok: [`rate>=${delivery}`],
  broadcasts_received: [`count>=${Math.ceil(vus * looks * delivery)}`],
  presence_ms: [`p(95)<${number('P95_MS', 1000)}`],
});
export const handleSummary = summary('presence', { rooms: vus, ...plan });

export function setup() {
  return start();
}

// A member and what it knows.
function seat(topic, index) {
  const presence = new Presence();
  const told = { close: () => presence.reset() };
  const socket = member(index, { reconnect: stockDelay, on: told });
  const known = { presence, socket, told, changed: () => {} };
  known.enter = () => {
    presence.reset();
    known.channel = socket.channel(topic, {
      on: {
        presence_state: (state) => { presence.state(state); known.changed(); },
        presence_diff: (diff) => { presence.diff(diff); known.changed(); },
      },
    });
    return known.channel.join();
  };
  return known;
}

// Waits until the lists of these members have this size, and notes how long each took.
async function look(seats, size) {
  const since = Date.now();
  await Promise.all(seats.map(async (known) => {
    metrics.expected.add(1);
    const right = new Promise((tell) => {
      known.changed = () => known.presence.count === size && tell(Date.now() - since);
      known.changed();
    });
    const ms = await within(right, plan.graceSeconds * 1000);
    known.changed = () => {};
    metrics.deliveryOk.add(ms !== undefined);
    if (ms === undefined) return;
    metrics.received.add(1);
    metrics.presence.add(ms);
  }));
}

async function gather(seats) {
  const joined = await Promise.all(seats.map(async (known, index) => {
    await wait((index * 1000) / plan.connectRate);
    const { ok } = await known.socket.connect();
    return ok && (await known.enter()).status === 'ok';
  }));
  check(joined, { 'every member joined': (all) => all.every(Boolean) });
}

export default async function crowd({ run }) {
  const seats = Array.from({ length: plan.members }, (_, index) => seat(`chat_room:presence-${run}-${__VU}`, index));
  await gather(seats);
  await look(seats, plan.members);
  const [some, others] = [seats.slice(0, quarter), seats.slice(quarter)];
  for (let round = 0; round < plan.rounds; round += 1) {
    await Promise.all(some.map(({ channel }) => channel.leave()));
    await look(others, plan.members - quarter);
    await Promise.all(some.map((known) => known.enter()));
    await look(seats, plan.members);
    const back = some.map(({ told }) => new Promise((tell) => { told.back = tell; }));
    some.forEach(({ socket }) => socket.drop());
    await within(Promise.all(back), plan.graceSeconds * 1000);
    await look(seats, plan.members);
  }
  seats.forEach(({ socket }) => socket.disconnect());
}
