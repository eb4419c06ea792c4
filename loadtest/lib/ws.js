// The WebSocket of k6: the stable module where there is one (k6 1.6 and newer), else the experimental one.
// Nothing else of this folder names either.

let found;
try {
  found = require('k6/websockets');
} catch (missing) {
  found = require('k6/experimental/websockets');
}

export const WebSocket = found.WebSocket;
