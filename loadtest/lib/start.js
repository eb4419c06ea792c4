// What every script does first: looks at the nodes, names the run, and lays out its one scenario.
// It never touches the operators' addresses: a load test is a client.

import http from 'k6/http';

import { params } from './auth.js';
import { httpUrl, urls } from './options.js';

// For `setup`: throws when a node can't be reached, does not speak Phoenix Channels or refuses the script's token.
// Returns {run}, a name that keeps the topics of runs apart.
export function start() {
  for (const url of urls()) {
    const asked = (vsn, query) => http.get(`${httpUrl(url)}/websocket?vsn=${vsn}${query}`, {
      responseCallback: http.expectedStatuses(400, 403), timeout: '10s',
    });
    const token = params(1).token;
    const accepted = asked('2.0.0', token === undefined ? '' : `&token=${encodeURIComponent(token)}`);
    // A plain GET gets this far only when origin, version and token are good.
    if (accepted.status === 403) throw new Error(`${url} refuses us: set FANFARE_SECRET_KEY_BASE or FANFARE_TOKEN`);
    if (accepted.status !== 400) throw new Error(`${url} does not answer as a socket: ${accepted.status} ${accepted.error}`);
    if (asked('9.0.0', '').status !== 403) throw new Error(`${url} takes any protocol version: is it a Phoenix socket?`);
  }
  return { run: `${Date.now().toString(36)}${Math.floor(Math.random() * 1e6).toString(36)}` };
}

// The options of k6: so many VUs that run once, within so many seconds, judged by these thresholds.
export function once(vus, maxSeconds, thresholds) {
  return {
    scenarios: {
      crowd: { executor: 'per-vu-iterations', vus, iterations: 1, maxDuration: `${Math.ceil(maxSeconds)}s`, gracefulStop: '5s' },
    },
    thresholds,
    summaryTrendStats: ['avg', 'min', 'med', 'p(90)', 'p(95)', 'p(99)', 'max', 'count'],
    setupTimeout: '60s',
    discardResponseBodies: false,
  };
}

export function wait(ms) {
  return new Promise((tell) => setTimeout(tell, ms));
}

// The promise's value, or undefined after so many milliseconds. No timer is left behind: it would hold up the run.
export function within(promise, ms) {
  return new Promise((tell) => {
    const timer = setTimeout(() => tell(undefined), ms);
    promise.then((value) => {
      clearTimeout(timer);
      tell(value);
    });
  });
}
