// The demo page: a small game and a chat on Phoenix Channels (V2), with resume.
// It never trusts what it is sent: every name and message reaches the page as text.
"use strict";

const HEARTBEAT_MS = 25_000;
const REPLY_MS = 10_000;
const BACKOFF_MS = { least: 250, most: 10_000 };
const SCORES_SHOWN = 10;
const MESSAGES_KEPT = 200;
const STARS_MOST = 7;
const STAR_MS = { every: 900, life: 9_000 };

// ---------------------------------------------------------------- the wire

// A socket that comes back: heartbeats, backoff with jitter, rejoins with positions.
class Link {
  constructor(address, told) {
    this.address = address; // () => Promise of a URL
    this.told = told; // (state) => void
    this.channels = new Map();
    this.waiting = new Map();
    this.lastRef = 0;
    this.failures = 0;
    this.closed = false;
    this.retry = () => this.hurry();
    window.addEventListener("online", this.retry);
    document.addEventListener("visibilitychange", this.retry);
  }

  async open() {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.told("connecting");
    let url;
    try {
      url = await this.address(this.failures);
    } catch {
      return this.again();
    }
    if (this.closed) return;
    const socket = new WebSocket(url);
    this.socket = socket;
    socket.onopen = () => this.opened();
    socket.onmessage = (event) => this.received(JSON.parse(event.data));
    socket.onclose = () => this.socket === socket && this.lost();
  }

  opened() {
    this.failures = 0;
    this.told("open");
    this.beat = setInterval(() => this.heartbeat(), HEARTBEAT_MS);
    for (const channel of this.channels.values()) channel.join();
  }

  async heartbeat() {
    const socket = this.socket;
    try {
      await this.call(null, "phoenix", "heartbeat", {});
    } catch {
      if (this.socket === socket) socket.close(4000, "no heartbeat");
    }
  }

  lost() {
    clearInterval(this.beat);
    this.socket = undefined;
    for (const channel of this.channels.values()) channel.lost();
    const waiting = [...this.waiting.values()];
    this.waiting.clear();
    for (const call of waiting) call.reject(new Error("disconnected"));
    if (!this.closed) this.again();
  }

  again() {
    this.failures += 1;
    this.told("lost");
    const ceiling = Math.min(BACKOFF_MS.most, BACKOFF_MS.least * 2 ** this.failures);
    this.timer = setTimeout(() => this.open(), ceiling * (0.5 + Math.random() / 2));
  }

  hurry() {
    if (this.timer !== undefined && document.visibilityState === "visible") this.open();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    window.removeEventListener("online", this.retry);
    document.removeEventListener("visibilitychange", this.retry);
    this.socket?.close(4001, "left");
  }

  ref() {
    this.lastRef += 1;
    return String(this.lastRef);
  }

  send(joinRef, ref, topic, event, payload) {
    if (this.socket?.readyState !== WebSocket.OPEN) throw new Error("disconnected");
    this.socket.send(JSON.stringify([joinRef, ref, topic, event, payload]));
  }

  // Sends and waits for the reply; refused with its response.
  call(joinRef, topic, event, payload, ref = this.ref()) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => done(reject)(new Error("timeout")), REPLY_MS);
      const done = (end) => (value) => {
        clearTimeout(timer);
        this.waiting.delete(ref);
        end(value);
      };
      this.waiting.set(ref, { resolve: done(resolve), reject: done(reject) });
      try {
        this.send(joinRef, ref, topic, event, payload);
      } catch (why) {
        done(reject)(why);
      }
    });
  }

  received([joinRef, ref, topic, event, payload]) {
    if (event === "phx_reply") {
      const call = this.waiting.get(ref);
      if (!call) return;
      if (payload.status === "ok") call.resolve(payload.response);
      else call.reject(Object.assign(new Error("refused"), { response: payload.response }));
      return;
    }
    const channel = this.channels.get(topic);
    if (channel && (joinRef === null || joinRef === channel.joinRef)) channel.received(event, payload);
  }

  channel(topic, events) {
    const channel = new Channel(this, topic, events);
    this.channels.set(topic, channel);
    if (this.socket?.readyState === WebSocket.OPEN) channel.join();
    return channel;
  }
}

// One topic: joins, rejoins with the position it has, and hands over what comes.
class Channel {
  constructor(link, topic, events) {
    Object.assign(this, { link, topic, events, joinRef: null, joined: false, tries: 0 });
    this.position = { id: 0, epoch: undefined };
    this.seen = new Set();
  }

  async join() {
    clearTimeout(this.timer);
    const ref = this.link.ref();
    this.joinRef = ref;
    const params = {};
    if (this.position.id > 0) {
      params.last_seen_id = this.position.id;
      if (this.position.epoch !== undefined) params.last_seen_epoch = this.position.epoch;
    }
    try {
      const response = await this.link.call(ref, this.topic, "phx_join", params, ref);
      if (this.joinRef !== ref) return;
      this.tries = 0;
      this.joined = true;
      if (response.gap) this.gap(response.gap);
      if (response.epoch !== undefined) this.position.epoch = response.epoch;
      this.events.joined?.(response);
    } catch (why) {
      if (this.joinRef === ref) this.refused(why);
    }
  }

  refused(why) {
    this.joined = false;
    if (!this.link.socket) return;
    this.events.refused?.(why.response?.reason ?? why.message);
    this.tries += 1;
    this.timer = setTimeout(() => this.join(), Math.min(10_000, 1_000 * this.tries));
  }

  lost() {
    clearTimeout(this.timer);
    this.joined = false;
  }

  gap(gap) {
    if (gap.reset) {
      this.position = { id: 0, epoch: undefined };
      this.seen.clear();
    }
    this.events.gap?.(gap);
  }

  received(event, payload) {
    if (event === "phx_error" || event === "phx_close") return this.refused(new Error("closed"));
    if (event === "gap") return this.gap(payload);
    this.events[event]?.(payload);
  }

  // Says whether a record is new, and moves the position.
  takes(record) {
    if (record.uid !== undefined && this.seen.has(record.uid)) return false;
    this.seen.add(record.uid);
    if (Number.isSafeInteger(record.id)) this.position.id = Math.max(this.position.id, record.id);
    return true;
  }

  call(event, payload) {
    if (!this.joined) return Promise.reject(new Error("disconnected"));
    return this.link.call(this.joinRef, this.topic, event, payload);
  }

  // Saves a record; a lost answer is asked for again with the same key, so nothing is saved twice.
  async save(event, payload, keyed) {
    const body = keyed ? { ...payload, client_key: key() } : payload;
    for (let tries = 0; ; tries += 1) {
      try {
        return await this.call(event, body);
      } catch (why) {
        const safe = keyed && !why.response && tries < 8;
        if (!safe) throw why;
        await new Promise((wake) => setTimeout(wake, 500 * (tries + 1)));
      }
    }
  }
}

// randomUUID() is only there in secure contexts, and a phone in the same room has none.
function key() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// ---------------------------------------------------------------- the page

const at = (id) => document.getElementById(id);
const page = { name: "", player: undefined, token: undefined, link: undefined };

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function show(id, text) {
  at(id).textContent = text;
  at(id).hidden = text === "";
}

function remembered() {
  try {
    return localStorage.getItem("fanfare-name") ?? "";
  } catch {
    return "";
  }
}

function remember(name) {
  try {
    if (name) localStorage.setItem("fanfare-name", name);
    else localStorage.removeItem("fanfare-name");
  } catch {
    // A private window may keep nothing; then the name is asked for again.
  }
}

// A player's token where the node hands them out; else this is a guest.
async function introduce() {
  const answer = await fetch(`/dev/token?name=${encodeURIComponent(page.name)}`);
  if (answer.status === 404) return;
  if (!answer.ok) throw new Error(`the node answered ${answer.status}`);
  const { token, player } = await answer.json();
  page.token = token;
  page.player = player;
}

async function address(failures) {
  // A node that was restarted has another secret: the old token is refused for ever.
  if (failures >= 2 && page.token !== undefined) await introduce();
  const url = new URL("/socket/websocket", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.searchParams.set("vsn", "2.0.0");
  if (page.token !== undefined) url.searchParams.set("token", page.token);
  return url;
}

async function enter(name) {
  page.name = name;
  show("entrance-error", "");
  at("enter").disabled = true;
  try {
    await introduce();
  } catch (why) {
    return show("entrance-error", `That did not work: ${why.message}.`);
  } finally {
    at("enter").disabled = false;
  }
  remember(name);
  at("entrance").hidden = true;
  at("stage").hidden = false;
  at("me").hidden = false;
  at("my-name").textContent = page.player?.username ?? `${name} (guest)`;
  page.link = new Link(address, connection);
  board.open(page.link);
  chat.open(page.link);
  if (page.player) {
    page.link.channel(`user:${page.player.id}`, { player_updated: (player) => best(player.rating) });
    best(page.player.rating);
  }
  game.start();
  page.link.open();
  at("playfield").focus({ preventScroll: true });
}

function best(rating) {
  show("best", rating > 0 ? `your best: ${rating}` : "");
}

function connection(state) {
  const words = { connecting: "connecting", open: "live", lost: "reconnecting" };
  at("status").dataset.state = state;
  at("status").textContent = words[state];
}

function reason(why) {
  const known = {
    unauthorized: "Saving needs a player, and you are a guest here.",
    "rate limited": "That was fast. Wait a moment.",
    unavailable: "The node can't save just now. Try again.",
    disconnected: "Not connected. Try again in a moment.",
    timeout: "No answer. Try again in a moment.",
  };
  const errors = Object.values(why.response?.errors ?? {});
  const given = why.response?.reason ?? why.message;
  return errors.length > 0 ? `It ${errors[0]}.` : (known[given] ?? `Refused: ${given}.`);
}

// ---------------------------------------------------------------- the game

const game = {
  points: 0,

  start() {
    clearInterval(this.timer);
    this.timer = setInterval(() => this.shine(), STAR_MS.every);
    for (let made = 0; made < 3; made += 1) this.shine();
  },

  stop() {
    clearInterval(this.timer);
    at("playfield").replaceChildren();
    this.count(-this.points);
  },

  shine() {
    const field = at("playfield");
    if (document.hidden || field.querySelectorAll(".star").length >= STARS_MOST) return;
    const gold = Math.random() < 0.18;
    const star = element("button", gold ? "star gold" : "star");
    star.type = "button";
    star.tabIndex = -1;
    star.dataset.worth = gold ? "5" : "1";
    star.setAttribute("aria-label", gold ? "Gold star, five points" : "Star, one point");
    star.style.setProperty("--x", `${8 + Math.random() * 84}%`);
    star.style.setProperty("--y", `${12 + Math.random() * 76}%`);
    star.style.setProperty("--turn", `${Math.round(Math.random() * 70 - 35)}deg`);
    star.addEventListener("click", () => this.collect(star));
    field.append(star);
    setTimeout(() => star.remove(), STAR_MS.life);
  },

  collect(star) {
    if (!star?.isConnected) return;
    const worth = Number(star.dataset.worth);
    const rise = element("span", "rise", `+${worth}`);
    rise.setAttribute("aria-hidden", "true");
    rise.style.setProperty("--x", star.style.getPropertyValue("--x"));
    rise.style.setProperty("--y", star.style.getPropertyValue("--y"));
    star.replaceWith(rise);
    setTimeout(() => rise.remove(), 700);
    at("play-note").textContent = "";
    this.count(worth);
  },

  count(change) {
    this.points += change;
    at("points").textContent = String(this.points);
    at("points-unit").textContent = this.points === 1 ? "point" : "points";
    at("save-score").disabled = this.points === 0;
  },

  async save() {
    const points = this.points;
    this.count(-points);
    try {
      await board.channel.save("save_score", { player_score: points }, true);
      at("play-note").textContent = `Saved ${points}. Everyone sees it.`;
    } catch (why) {
      this.count(points);
      at("play-note").textContent = reason(why);
    }
  },
};

// ---------------------------------------------------------------- the scores

const board = {
  open(link) {
    this.scores = [];
    this.draw();
    this.channel = link.channel("score:demo", {
      joined: (response) => (response.scores ?? []).forEach((score) => this.take(score, false)),
      save_score: (score) => this.take(score, true),
      gap: (gap) => gap.reset && (this.scores = []),
      refused: (why) => (at("play-note").textContent = `The scoreboard is not open: ${why}.`),
    });
  },

  take(score, live) {
    if (!this.channel.takes(score)) return;
    this.scores.push({ ...score, live });
    this.scores.sort((a, b) => b.player_score - a.player_score || a.id - b.id);
    this.scores.length = Math.min(this.scores.length, SCORES_SHOWN);
    this.draw();
  },

  draw() {
    const rows = this.scores.map((score) => {
      const row = element("li", score.live ? "score fresh" : "score");
      const mine = page.player && String(score.player_id) === String(page.player.id);
      row.classList.toggle("mine", Boolean(mine));
      row.append(element("span", "who", score.username ?? "?"), element("span", "value", String(score.player_score)));
      score.live = false;
      return row;
    });
    at("scores").replaceChildren(...rows);
    at("scores-empty").hidden = rows.length > 0;
  },
};

// ---------------------------------------------------------------- the chat

const chat = {
  typers: new Map(),
  lastTyping: 0,

  open(link) {
    this.people = new Map();
    at("messages").replaceChildren();
    this.channel = link.channel("chat_room:lobby", {
      joined: () => this.note(""),
      refused: (why) => this.note(`The lobby is not open: ${why}.`),
      new_message: (message) => this.take(message),
      typing: (who) => this.hears(who.name ?? who.username ?? "Someone"),
      gap: (gap) => this.gap(gap),
      presence_state: (state) => this.state(state),
      presence_diff: (diff) => this.diff(diff),
    });
  },

  take(message) {
    if (!this.channel.takes(message)) return;
    this.quiet(message.name);
    const row = element("li", "message");
    row.classList.toggle("mine", message.name === (page.player?.username ?? page.name));
    const time = element("time", "when", clock(message.inserted_at));
    time.dateTime = message.inserted_at ?? "";
    row.append(element("span", "who", message.name ?? "guest"), element("span", "said", message.message), time);
    this.append(row);
  },

  gap(gap) {
    if (gap.reset) at("messages").replaceChildren();
    const range = Number.isInteger(gap.from) ? `Messages ${gap.from} to ${gap.to}` : "Some messages";
    const words = gap.reset ? "This room began anew." : `${range} are no longer kept.`;
    this.append(element("li", "gap", words));
  },

  append(row) {
    const list = at("messages");
    const low = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
    list.append(row);
    while (list.children.length > MESSAGES_KEPT) list.firstElementChild.remove();
    if (low || row.classList.contains("mine")) list.scrollTop = list.scrollHeight;
  },

  state(state) {
    this.people = new Map(Object.entries(state).map(([who, entry]) => [who, entry.metas ?? []]));
    this.count();
  },

  diff({ joins, leaves }) {
    for (const [who, { metas }] of Object.entries(joins)) {
      const refs = new Set(metas.map((meta) => meta.phx_ref));
      const kept = (this.people.get(who) ?? []).filter((meta) => !refs.has(meta.phx_ref));
      this.people.set(who, [...kept, ...metas]);
    }
    for (const [who, { metas }] of Object.entries(leaves)) {
      const refs = new Set(metas.map((meta) => meta.phx_ref));
      const left = (this.people.get(who) ?? []).filter((meta) => !refs.has(meta.phx_ref));
      if (left.length > 0) this.people.set(who, left);
      else this.people.delete(who);
    }
    this.count();
  },

  count() {
    show("presence", this.people.size > 0 ? `${this.people.size} here` : "");
    const names = [...this.people.values()].map(([meta]) => meta?.name ?? meta?.username).filter(Boolean);
    const most = names.slice(0, 4).join(", ");
    at("who").textContent = names.length > 4 ? `${most} and ${names.length - 4} more` : most;
  },

  hears(name) {
    clearTimeout(this.typers.get(name));
    this.typers.set(name, setTimeout(() => this.quiet(name), 3_000));
    this.drawTyping();
  },

  quiet(name) {
    clearTimeout(this.typers.get(name));
    if (this.typers.delete(name)) this.drawTyping();
  },

  drawTyping() {
    const names = [...this.typers.keys()];
    const words = names.length > 2 ? "Several people are typing" : `${names.join(" and ")} ${names.length > 1 ? "are" : "is"} typing`;
    at("typing").textContent = names.length > 0 ? `${words}…` : "";
  },

  async tell() {
    const now = Date.now();
    if (now - this.lastTyping < 2_000 || !this.channel?.joined) return;
    this.lastTyping = now;
    const payload = page.player ? {} : { name: page.name };
    // Nobody misses a typing sign that was lost.
    await this.channel.call("typing", payload).catch(() => undefined);
  },

  async send() {
    const input = at("chat-input");
    const message = input.value.trim();
    if (message === "") return;
    input.value = "";
    this.lastTyping = 0;
    const payload = page.player ? { message } : { message, name: page.name };
    try {
      await this.channel.save("new_message", payload, Boolean(page.player));
      this.note("");
    } catch (why) {
      if (input.value === "") input.value = message;
      this.note(reason(why));
    }
  },

  note(words) {
    at("chat-note").textContent = words;
  },
};

function clock(text) {
  const when = new Date(text);
  return Number.isNaN(when.getTime()) ? "" : when.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

// ---------------------------------------------------------------- events

at("enter-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = at("name").value.trim();
  if (name !== "") enter(name);
});

at("leave").addEventListener("click", () => {
  remember("");
  game.stop();
  page.link?.close();
  location.reload();
});

at("playfield").addEventListener("keydown", (event) => {
  if (event.target !== at("playfield") || (event.key !== " " && event.key !== "Enter")) return;
  event.preventDefault();
  game.collect(at("playfield").querySelector(".star"));
});

at("save-score").addEventListener("click", () => game.save());

at("chat-form").addEventListener("submit", (event) => {
  event.preventDefault();
  chat.send();
});

at("chat-input").addEventListener("input", () => chat.tell());

const known = remembered();
if (known !== "") {
  at("name").value = known;
  enter(known);
} else {
  at("name").focus();
}
