// A VU as a crowd: its sockets join topics of their own, some publish, and every delivery is accounted for.
//
// Publishers and subscribers are in one VU, so that there is one clock and what must arrive is known exactly: the
// members of a topic times its messages. More load is more VUs, each with its own topics.

import { check } from 'k6';

import { KINDS } from './kinds.js';
import { Ledger } from './ledger.js';
import { member } from './member.js';
import * as metrics from './metrics.js';
import { wait, within } from './start.js';

// A push that is not answered is tried again after this long, when a trial repeats.
const REPEAT_MS = 100;

// `plan`: kind, topics, members, topicsPerMember, publishers (a topic), messages (a publisher), rate (a second and
// publisher), bytes, connectRate (a second and VU), graceSeconds; `repeat`: whether pushes are repeated until they are
// acknowledged, in order, under a key that makes that safe; `socket`: options of each socket.
export class Trial {
  constructor(plan, run) {
    this.plan = plan;
    this.kind = KINDS[plan.kind];
    this.unacknowledged = 0;
    this.rooms = Array.from({ length: plan.topics }, (_, t) => ({
      topic: `${this.kind.prefix}${run}-${__VU}-${t}`,
      key: `${run}-${__VU}-${t}`,
      seats: [],
      ledger: null,
      sentAt: null,
    }));
    // Members of one topic start on the nodes in turn, however many topics there are.
    const turn = (index) => __VU + Math.floor(index / plan.topics) + (index % plan.topics);
    this.sockets = Array.from({ length: plan.members }, (_, index) => member(index, { ...plan.socket, first: turn(index) }));
    this.seats = this.sockets.map((socket, index) => this.roomsOf(index).map((room) => this.seat(room, socket)));
    if (this.rooms.some(({ seats }) => seats.length < plan.publishers)) throw new Error('PUBLISHERS: is more than a topic has');
    this.missing = Infinity;
    this.complete = null;
  }

  // Connects and joins everybody, at the pace of the plan; says whether all are in.
  async gather() {
    const ready = this.sockets.map(async (socket, index) => {
      await wait((index * 1000) / this.plan.connectRate);
      const { ok } = await socket.connect();
      if (!ok && this.plan.socket?.reconnect === undefined) return false;
      return (await Promise.all(this.seats[index].map((seat) => this.join(seat)))).every(Boolean);
    });
    const all = await Promise.all(ready);
    this.open();
    return check(all, { 'every member joined': () => all.every(Boolean) });
  }

  roomsOf(index) {
    const { topics, topicsPerMember } = this.plan;
    return Array.from({ length: topicsPerMember }, (_, k) => this.rooms[(index + k) % topics]);
  }

  // A member's place in a topic, whether it will be able to join or not.
  seat(room, socket) {
    const seat = { index: room.seats.length, socket, newestId: 0 };
    seat.channel = socket.channel(room.topic, {
      resume: this.kind.resume,
      list: this.kind.list,
      listEvent: this.kind.event,
      on: {
        [this.kind.event]: (payload, how) => this.receive(room, seat, payload, how),
        gap: () => metrics.gaps.add(1),
      },
    });
    room.seats.push(seat);
    return seat;
  }

  async join({ socket, channel }) {
    if (socket.isOpen()) return (await channel.join()).status === 'ok';
    channel.wanted = true;
    await within(channel.untilJoined(), this.plan.graceSeconds * 1000);
    return channel.joined;
  }

  // From here on all is expected: also of a member that could not join.
  open() {
    const { publishers, messages } = this.plan;
    for (const room of this.rooms) {
      room.ledger = new Ledger({ subscribers: room.seats.length, publishers, messages });
      room.sentAt = Array.from({ length: publishers }, () => new Float64Array(messages));
    }
    this.missing = this.rooms.reduce((sum, { ledger }) => sum + ledger.expected, 0);
  }

  // Publishes all messages at the pace of the plan; resolves when each is answered or given up.
  async publish() {
    const all = [];
    for (const room of this.rooms) {
      for (let p = 0; p < this.plan.publishers; p += 1) all.push(this.speak(room, p));
    }
    await Promise.all(all);
    check(this, { 'every push was acknowledged': () => this.unacknowledged === 0 });
  }

  async speak(room, p) {
    const { channel } = room.seats[p];
    const period = 1000 / this.plan.rate;
    const startAt = Date.now() + (period * p) / this.plan.publishers;
    const answers = [];
    for (let n = 0; n < this.plan.messages; n += 1) {
      const ahead = startAt + n * period - Date.now();
      if (ahead > 0) await wait(ahead);
      if (this.plan.repeat) await this.repeat(room, channel, p, n);
      else answers.push(this.push(room, channel, p, n, {}));
    }
    await Promise.all(answers);
  }

  async push(room, channel, p, n, more) {
    room.sentAt[p][n] = Date.now();
    const payload = { ...this.kind.encode(p, n, this.plan.bytes), ...more };
    const { status, ms } = await channel.push(this.kind.event, payload);
    if (status === 'ok') {
      metrics.pushReply.add(ms);
      metrics.sent.add(1);
      metrics.expected.add(room.seats.length);
    } else if (!this.plan.repeat) {
      this.unacknowledged += 1;
    }
    return status === 'ok';
  }

  async repeat(room, channel, p, n) {
    const giveUpAt = Date.now() + this.plan.graceSeconds * 1000;
    while (Date.now() < giveUpAt) {
      await within(channel.untilJoined(), 1000);
      if (channel.joined && (await this.push(room, channel, p, n, { client_key: `${room.key}-${p}-${n}` }))) return;
      await wait(REPEAT_MS);
    }
    this.unacknowledged += 1;
  }

  receive(room, seat, payload, { resumed }) {
    if (room.ledger === null) return;
    const [p, n] = this.kind.decode(payload);
    const verdict = room.ledger.receive(seat.index, p, n);
    if (verdict === 'unknown') return;
    if (verdict === 'duplicate') {
      metrics.duplicated.add(1);
      return;
    }
    // Records have one order for all, told by their ids; without ids there is an order of each publisher.
    const isBehind = Number.isInteger(payload.id) ? payload.id <= seat.newestId : verdict === 'late';
    if (isBehind) metrics.outOfOrder.add(1);
    else if (Number.isInteger(payload.id)) seat.newestId = payload.id;
    metrics.received.add(1);
    metrics.deliveryOk.add(true);
    if (resumed) metrics.resumed.add(1);
    else metrics.latency.add(Date.now() - room.sentAt[p][n]);
    this.missing -= 1;
    if (this.missing === 0 && this.complete) this.complete();
  }

  // Waits for what is under way, at most the grace of the plan, then counts what never came, and closes.
  async settle() {
    if (this.missing > 0) {
      const complete = new Promise((tell) => { this.complete = tell; });
      await within(complete, this.plan.graceSeconds * 1000);
    }
    for (let i = 0; i < this.missing; i += 1) metrics.deliveryOk.add(false);
    this.sockets.forEach((socket) => socket.disconnect());
  }

  // All of it; `during(trial)` goes on beside the publishing.
  async run(during = async () => {}) {
    await this.gather();
    await Promise.all([this.publish(), during(this)]);
    await this.settle();
  }
}

// How many deliveries a VU's plan means.
export function deliveries({ members, topicsPerMember, publishers, messages }) {
  return members * topicsPerMember * publishers * messages;
}

// How long a VU's plan may take, in seconds.
export function longest({ members, connectRate, messages, rate, graceSeconds }) {
  return members / connectRate + messages / rate + 2 * graceSeconds + 20;
}

// What must hold of a trial of so many VUs: all delivered once and in order, and 95 of 100 within `p95` ms.
export function thresholds(vus, plan, { p95, p95Reply = p95, delivery = 1 }) {
  return {
    checks: ['rate>=1'],
    delivery_ok: [`rate>=${delivery}`],
    // A rate without samples passes in k6, so what arrived is counted too.
    broadcasts_received: [`count>=${Math.ceil(vus * deliveries(plan) * delivery)}`],
    broadcasts_duplicated: ['count<1'],
    broadcasts_out_of_order: ['count<1'],
    gaps: ['count<1'],
    broadcast_latency_ms: [`p(95)<${p95}`],
    phx_push_reply_ms: [`p(95)<${p95Reply}`],
  };
}
