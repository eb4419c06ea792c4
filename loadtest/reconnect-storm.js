// reconnect-storm: every socket is lost at once and comes back, while people go on writing.
//
// Measures: how long a socket is away (reconnect_ms, from the loss to its last rejoin), how many attempts were refused
// on the way (ws_refused), and that nobody misses a record: rejoins carry their position, pushes are repeated under a key.
// Good: 100 % delivered, none twice, none out of order, no gap; everybody is back within BACK_MS. With BACKOFF=stock the
// clients behave as phoenix.js does (first attempt after 10 ms, no jitter), which is the worst case; `jitter` is kind.
//
// It needs players, for the keys. ROOMS=3 MEMBERS=50 (a room) PUBLISHERS=2 STORMS=2 EVERY=8s (between storms) RATE=5
// BYTES=64 BACKOFF=stock|jitter CONNECT_RATE=100 GRACE=20s BACK_MS=5000 P95_MS=500 MIN_DELIVERY=1

import { arePlayers } from './lib/auth.js';
import { count, number, seconds, word } from './lib/options.js';
import { jitteredDelay, stockDelay } from './lib/phoenix.js';
import { once, start, wait } from './lib/start.js';
import { summary } from './lib/summary.js';
import { longest, thresholds, Trial } from './lib/trial.js';

const vus = count('ROOMS', 3);
const storms = { storms: count('STORMS', 2), everySeconds: seconds('EVERY', 8), backoff: word('BACKOFF', ['stock', 'jitter']) };
const rate = number('RATE', 5);
const plan = {
  kind: 'chat',
  topics: 1,
  topicsPerMember: 1,
  members: count('MEMBERS', 50),
  publishers: count('PUBLISHERS', 2),
  messages: Math.ceil((storms.storms + 1) * storms.everySeconds * rate),
  rate,
  bytes: count('BYTES', 64),
  connectRate: number('CONNECT_RATE', 100),
  graceSeconds: seconds('GRACE', 20),
  repeat: true,
};
const socket = { reconnect: storms.backoff === 'stock' ? stockDelay : jitteredDelay };
const limits = { p95: number('P95_MS', 500), delivery: number('MIN_DELIVERY', 1) };

export const options = once(vus, longest(plan), {
  ...thresholds(vus, plan, limits),
  reconnect_ms: [`max<${number('BACK_MS', 5000)}`],
  ws_reconnects: [`count>=${vus * plan.members * storms.storms}`],
});
export const handleSummary = summary('reconnect-storm', { rooms: vus, ...storms, ...plan });

export function setup() {
  if (!arePlayers()) throw new Error('a storm needs players: set FANFARE_SECRET_KEY_BASE or FANFARE_TOKEN');
  return start();
}

export default async function crowd({ run }) {
  await new Trial({ ...plan, socket }, run).run(async (trial) => {
    for (let i = 0; i < storms.storms; i += 1) {
      await wait(storms.everySeconds * 1000);
      trial.sockets.forEach((lost) => lost.drop());
    }
  });
}
