// chat-fanout: every message to everybody in the room.
//
// Measures: the time from a push of `new_message` to its delivery at each member (broadcast_latency_ms), and to its
// reply after the commit (phx_push_reply_ms), in rooms whose members are spread over all nodes.
// Good: 100 % delivered, none twice, none out of order, p95 below P95_MS. On a laptop with the defaults (2,000
// deliveries a second) p95 is a few milliseconds; when it grows with MEMBERS, look at the CPU of k6 first.
//
// ROOMS=2 MEMBERS=50 (a room) PUBLISHERS=2 (a room) MESSAGES=100 (a publisher) RATE=10 (a second and publisher)
// BYTES=64 CONNECT_RATE=100 (a second and room) GRACE=10s P95_MS=250 MIN_DELIVERY=1

import { count, number, seconds } from './lib/options.js';
import { once, start } from './lib/start.js';
import { summary } from './lib/summary.js';
import { longest, thresholds, Trial } from './lib/trial.js';

const vus = count('ROOMS', 2);
const plan = {
  kind: 'chat',
  topics: 1,
  topicsPerMember: 1,
  members: count('MEMBERS', 50),
  publishers: count('PUBLISHERS', 2),
  messages: count('MESSAGES', 100),
  rate: number('RATE', 10),
  bytes: count('BYTES', 64),
  connectRate: number('CONNECT_RATE', 100),
  graceSeconds: seconds('GRACE', 10),
};
const limits = { p95: number('P95_MS', 250), delivery: number('MIN_DELIVERY', 1) };

export const options = once(vus, longest(plan), thresholds(vus, plan, limits));
export const handleSummary = summary('chat-fanout', { rooms: vus, ...plan });

export function setup() {
  return start();
}

export default async function crowd({ run }) {
  await new Trial(plan, run).run();
}
