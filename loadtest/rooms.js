// rooms: many topics, each socket in several of them.
//
// Measures: the latency of broadcasts that are not stored (relay topics), where every topic has a few members on
// different nodes. It is the load of subscriptions, of Redis and of the table of topics, not of one big fan-out.
// Good: 100 % delivered, none twice, none out of order; p95 close to that of one small room, whatever TOPICS is.
//
// It needs a relay channel `room:*` with the event `new_message`, as in loadtest/fanfare.toml.
// VUS=2 TOPICS=40 (a VU) MEMBERS=40 (sockets a VU) TOPICS_EACH=5 (topics a socket) PUBLISHERS=1 (a topic) MESSAGES=20
// RATE=2 BYTES=64 CONNECT_RATE=100 GRACE=10s P95_MS=250 MIN_DELIVERY=1

import { count, number, seconds } from './lib/options.js';
import { once, start } from './lib/start.js';
import { summary } from './lib/summary.js';
import { longest, thresholds, Trial } from './lib/trial.js';

const vus = count('VUS', 2);
const plan = {
  kind: 'relay',
  topics: count('TOPICS', 40),
  topicsPerMember: count('TOPICS_EACH', 5),
  members: count('MEMBERS', 40),
  publishers: count('PUBLISHERS', 1),
  messages: count('MESSAGES', 20),
  rate: number('RATE', 2),
  bytes: count('BYTES', 64),
  connectRate: number('CONNECT_RATE', 100),
  graceSeconds: seconds('GRACE', 10),
};
if (plan.topicsPerMember > plan.topics) throw new Error('TOPICS_EACH: is more than TOPICS');
const limits = { p95: number('P95_MS', 250), delivery: number('MIN_DELIVERY', 1) };

export const options = once(vus, longest(plan), thresholds(vus, plan, limits));
export const handleSummary = summary('rooms', { vus, ...plan });

export function setup() {
  return start();
}

export default async function crowd({ run }) {
  await new Trial(plan, run).run();
}
