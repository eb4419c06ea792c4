// The metrics of a run, under the names that the k6 dashboard draws. Only those that a script uses are reported.

import { Counter, Gauge, Rate, Trend } from 'k6/metrics';

// Times, in milliseconds.
export const wsConnect = new Trend('ws_connect_ms', true); // from the call to the open socket
export const phxJoin = new Trend('phx_join_ms', true); // from the join to its reply
export const pushReply = new Trend('phx_push_reply_ms', true); // from the push to its reply
export const latency = new Trend('broadcast_latency_ms', true); // from the push to each delivery; resumed ones not
export const reconnect = new Trend('reconnect_ms', true); // from the loss of a socket to its last rejoin
export const presence = new Trend('presence_ms', true); // from a change to each member that knows of it

// Broadcasts: what was sent, what that means in deliveries, and what came, once, again or behind a later one.
export const sent = new Counter('broadcasts_sent');
export const expected = new Counter('broadcasts_expected');
export const received = new Counter('broadcasts_received');
export const duplicated = new Counter('broadcasts_duplicated');
export const outOfOrder = new Counter('broadcasts_out_of_order');
export const resumed = new Counter('broadcasts_resumed'); // those of `received` that a rejoin brought
export const gaps = new Counter('gaps'); // ranges that the server said are missing

export const joinOk = new Rate('join_ok');
export const deliveryOk = new Rate('delivery_ok'); // of all deliveries that were planned

export const refused = new Counter('ws_refused'); // attempts to connect that failed
export const reconnects = new Counter('ws_reconnects'); // sockets that were lost and came back, with all their joins
export const closes = new Counter('ws_closes'); // closes that the server made, by `code`

// Open sockets of this VU (tag `vu`): sum them.
export const socketsOpen = new Gauge('sockets_open');
