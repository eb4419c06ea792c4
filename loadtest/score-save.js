// score-save: many players save, few look on.
//
// Measures: the time from `save_score` to its reply, which comes after the commit (phx_push_reply_ms): the writer, its
// batches and Postgres. The delivery to the others in the game is checked as well.
// Good: every save acknowledged, 100 % delivered, none twice, none out of order. p95 is a few commits of the database
// and grows little until the writer's lanes are full; then saves are refused with `unavailable`, and the run fails.
//
// It needs players (FANFARE_SECRET_KEY_BASE, FANFARE_TOKEN or a development node) and a channel `score:*` that creates
// its games, as in loadtest/fanfare.toml.
// GAMES=4 PLAYERS=10 (a game, all save) MESSAGES=50 (a player) RATE=5 (a second and player) CONNECT_RATE=100 GRACE=10s
// P95_MS=250 MIN_DELIVERY=1

import { arePlayers } from './lib/auth.js';
import { count, number, seconds } from './lib/options.js';
import { once, start } from './lib/start.js';
import { summary } from './lib/summary.js';
import { longest, thresholds, Trial } from './lib/trial.js';

const vus = count('GAMES', 4);
const players = count('PLAYERS', 10);
const plan = {
  kind: 'score',
  topics: 1,
  topicsPerMember: 1,
  members: players,
  publishers: players,
  messages: count('MESSAGES', 50),
  rate: number('RATE', 5),
  bytes: 0,
  connectRate: number('CONNECT_RATE', 100),
  graceSeconds: seconds('GRACE', 10),
};
const limits = { p95: number('P95_MS', 250), delivery: number('MIN_DELIVERY', 1) };

export const options = once(vus, longest(plan), thresholds(vus, plan, limits));
export const handleSummary = summary('score-save', { games: vus, ...plan });

export function setup() {
  if (!arePlayers()) throw new Error('saving needs players: set FANFARE_SECRET_KEY_BASE or FANFARE_TOKEN');
  return start();
}

export default async function crowd({ run }) {
  await new Trial(plan, run).run();
}
