// Who got what: every message of every publisher, for every subscriber of a topic.
// It never looks at a clock or a socket.

export class Ledger {
  constructor({ subscribers, publishers, messages }) {
    Object.assign(this, { subscribers, publishers, messages });
    this.seen = new Uint8Array(subscribers * publishers * messages);
    this.newest = new Int32Array(subscribers * publishers).fill(-1);
    this.received = 0;
  }

  // How many deliveries make it complete.
  get expected() {
    return this.seen.length;
  }

  get missing() {
    return this.expected - this.received;
  }

  // Notes message `n` (from 0) of a publisher; says `new`, `late` (new, but behind a later one), `duplicate` or `unknown`.
  receive(subscriber, publisher, n) {
    if (!(publisher >= 0 && publisher < this.publishers && n >= 0 && n < this.messages)) return 'unknown';
    const row = subscriber * this.publishers + publisher;
    const place = row * this.messages + n;
    if (this.seen[place] === 1) return 'duplicate';
    this.seen[place] = 1;
    this.received += 1;
    if (n < this.newest[row]) return 'late';
    this.newest[row] = n;
    return 'new';
  }

  // How many deliveries of one message are missing.
  missingOf(publisher, n) {
    let missing = 0;
    for (let s = 0; s < this.subscribers; s += 1) {
      missing += 1 - this.seen[(s * this.publishers + publisher) * this.messages + n];
    }
    return missing;
  }
}
