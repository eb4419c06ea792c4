// rolling-restart: a steady chat while somebody else restarts the nodes one by one.
//
// Measures: which close codes sockets see (ws_closes), how long each is away (reconnect_ms), and that no record is lost:
// sockets go to the next node of FANFARE_URLS when theirs is gone, rejoin with their position, and repeat under a key
// what was not acknowledged. `make rolling-restart` runs it against three nodes and restarts them.
// Good: closes are 1012 and spread over `drain.spread`; 100 % delivered, none twice, none out of order, no gap; everybody
// is back within BACK_MS. Latency is that of records that arrive live; what a rejoin brings is counted apart.
//
// It needs players, for the keys. ROOMS=3 MEMBERS=50 (a room) PUBLISHERS=2 DURATION=60s RATE=4 BYTES=64
// EVENTS=no|yes (a line of JSON for each close and each socket that is back) BACKOFF=stock|jitter CONNECT_RATE=100 GRACE=30s BACK_MS=15000 P95_MS=1000 MIN_DELIVERY=1

import { arePlayers } from './lib/auth.js';
import { count, number, seconds, word } from './lib/options.js';
import { jitteredDelay, stockDelay } from './lib/phoenix.js';
import { once, start } from './lib/start.js';
import { summary } from './lib/summary.js';
import { longest, thresholds, Trial } from './lib/trial.js';

const vus = count('ROOMS', 3);
const rate = number('RATE', 4);
const backoff = word('BACKOFF', ['stock', 'jitter']);
const plan = {
  kind: 'chat',
  topics: 1,
  topicsPerMember: 1,
  members: count('MEMBERS', 50),
  publishers: count('PUBLISHERS', 2),
  messages: Math.ceil(seconds('DURATION', 60) * rate),
  rate,
  bytes: count('BYTES', 64),
  connectRate: number('CONNECT_RATE', 100),
  graceSeconds: seconds('GRACE', 30),
  repeat: true,
};
const note = (event, what) => console.log(JSON.stringify({ event, at: Date.now(), ...what }));
const socket = {
  reconnect: backoff === 'stock' ? stockDelay : jitteredDelay,
  on: word('EVENTS', ['no', 'yes']) === 'no' ? {} : {
    close: ({ code, wasOpen, wanted }) => wanted && note(wasOpen ? 'close' : 'refused', { code }),
    back: ({ ms }) => note('back', { ms }),
  },
};
const limits = { p95: number('P95_MS', 1000), p95Reply: number('P95_MS', 1000), delivery: number('MIN_DELIVERY', 1) };

export const options = once(vus, longest(plan), {
  ...thresholds(vus, plan, limits),
  reconnect_ms: [`max<${number('BACK_MS', 15000)}`],
  // So that the summary has them by code.
  'ws_closes{code:1012}': ['count>=0'],
  'ws_closes{code:1006}': ['count>=0'],
});
export const handleSummary = summary('rolling-restart', { rooms: vus, backoff, ...plan });

export function setup() {
  if (!arePlayers()) throw new Error('a restart needs players: set FANFARE_SECRET_KEY_BASE or FANFARE_TOKEN');
  return start();
}

export default async function crowd({ run }) {
  await new Trial({ ...plan, socket }, run).run();
}
