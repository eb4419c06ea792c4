// soak: a modest load for a long time.
//
// Measures: whether anything creeps: latency, refusals, lost sockets. Watch the node's memory and file descriptors on
// the dashboard meanwhile; k6 keeps every sample of a trend, so its own memory grows too, by some megabytes an hour.
// Good: 100 % delivered, none twice, none out of order; no socket lost (ws_closes 0); memory of the nodes flat after the
// first minutes.
//
// ROOMS=4 MEMBERS=25 (a room) PUBLISHERS=1 DURATION=10m RATE=1 BYTES=64 CONNECT_RATE=50 GRACE=15s P95_MS=250
// MIN_DELIVERY=1

import { count, number, seconds } from './lib/options.js';
import { once, start } from './lib/start.js';
import { summary } from './lib/summary.js';
import { longest, thresholds, Trial } from './lib/trial.js';

const vus = count('ROOMS', 4);
const rate = number('RATE', 1);
const plan = {
  kind: 'chat',
  topics: 1,
  topicsPerMember: 1,
  members: count('MEMBERS', 25),
  publishers: count('PUBLISHERS', 1),
  messages: Math.ceil(seconds('DURATION', 600) * rate),
  rate,
  bytes: count('BYTES', 64),
  connectRate: number('CONNECT_RATE', 50),
  graceSeconds: seconds('GRACE', 15),
};
const limits = { p95: number('P95_MS', 250), delivery: number('MIN_DELIVERY', 1) };

export const options = once(vus, longest(plan), { ...thresholds(vus, plan, limits), ws_closes: ['count<1'] });
export const handleSummary = summary('soak', { rooms: vus, ...plan });

export function setup() {
  return start();
}

export default async function crowd({ run }) {
  await new Trial(plan, run).run();
}
