// One socket of the crowd that a VU is, with its measurements.
// It never decides what is sent.

import { params } from './auth.js';
import * as metrics from './metrics.js';
import { urls } from './options.js';
import { Socket } from './phoenix.js';
import { WebSocket } from './ws.js';

let open = 0;

function countOpen(by) {
  open += by;
  metrics.socketsOpen.add(open, { vu: String(__VU) });
}

// Makes the socket of member `index` of this VU; members start on the nodes in turn.
// `more` goes to the `Socket`: `reconnect`, `transport` and `path`, and more functions in `on`.
export function member(index, { on = {}, ...more } = {}) {
  const sub = __VU * 100000 + index + 1;
  return new Socket({
    urls: urls(),
    first: __VU + index,
    params: () => params(sub),
    transport: WebSocket,
    ...more,
    on: {
      open: (what) => {
        countOpen(1);
        metrics.wsConnect.add(what.ms);
        if (on.open) on.open(what);
      },
      close: (what) => {
        if (what.wasOpen) countOpen(-1);
        else metrics.refused.add(1);
        if (what.wasOpen && what.wanted) metrics.closes.add(1, { code: String(what.code) });
        if (on.close) on.close(what);
      },
      join: (what) => {
        // A join that its own socket took down says nothing about joins.
        if (what.status === 'closed') return;
        metrics.joinOk.add(what.status === 'ok');
        if (what.status === 'ok') metrics.phxJoin.add(what.ms);
        if (on.join) on.join(what);
      },
      back: (what) => {
        metrics.reconnect.add(what.ms);
        metrics.reconnects.add(1);
        if (on.back) on.back(what);
      },
    },
  });
}
