// Long-poll in the shape of a WebSocket, so that the same client drives both.
// It never imports from k6: `asyncRequest` (of k6/http) is given to `longPoll`.

const CONNECTING = 0;
const OPEN = 1;
const CLOSED = 3;

// Makes a class that speaks long-poll. `nodes`: http mounts; each request goes to the next one, as behind a proxy
// that knows no session; without them all go to the node of the address.
export function longPoll(asyncRequest, nodes = []) {
  return class LongPoll {
    constructor(address) {
      const at = address.indexOf('/longpoll?');
      this.mounts = nodes.length > 0 ? nodes : [address.slice(0, at).replace(/^ws/, 'http')];
      this.query = address.slice(at);
      this.turn = 0;
      this.readyState = CONNECTING;
      this.token = null;
      this.outgoing = [];
      this.sending = false;
      this.poll();
    }

    send(frame) {
      this.outgoing.push(frame);
      this.flush();
    }

    close() {
      this.end(1000, '');
    }

    url() {
      this.turn += 1;
      const token = this.token === null ? '' : `&token=${encodeURIComponent(this.token)}`;
      return this.mounts[this.turn % this.mounts.length] + this.query + token;
    }

    async poll() {
      while (this.readyState !== CLOSED) {
        const body = await this.ask('GET', null);
        if (this.readyState === CLOSED) return;
        switch (body.status) {
          case 200:
            this.token = body.token;
            for (const data of body.messages) this.onmessage({ data });
            break;
          case 204:
            this.token = body.token;
            break;
          case 410:
            if (this.token !== null) return this.end(3410, 'the session is gone');
            this.token = body.token;
            this.readyState = OPEN;
            this.onopen({});
            break;
          default:
            return this.end(body.status === 403 ? 1008 : 1011, `status ${body.status}`);
        }
      }
    }

    // One POST at a time, so that order is kept; what gathers meanwhile goes with the next one.
    async flush() {
      if (this.sending) return;
      this.sending = true;
      while (this.outgoing.length > 0 && this.readyState === OPEN) {
        const { status } = await this.ask('POST', this.outgoing.splice(0, 100).join('\n'));
        if (status !== 200) this.end(1011, `POST: status ${status}`);
      }
      this.sending = false;
    }

    async ask(method, body) {
      try {
        const headers = body === null ? {} : { 'Content-Type': 'application/x-ndjson' };
        const answer = await asyncRequest(method, this.url(), body, { headers, timeout: '20s' });
        return answer.status === 200 ? JSON.parse(answer.body) : { status: answer.status };
      } catch (why) {
        return { status: 0, why: String(why) };
      }
    }

    end(code, error) {
      if (this.readyState === CLOSED) return;
      this.readyState = CLOSED;
      if (error !== '') this.onerror({ error });
      this.onclose({ code });
    }
  };
}
