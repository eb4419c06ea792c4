// Viewers join a topic one after another while its members come and go, each with the stock `Presence`.
// It judges nothing: it prints what each viewer lists at the end beside what the server listed.

import { isDeepStrictEqual } from "node:util";

import { phoenix, say, socket, until } from "./versions.mjs";

const VIEWERS_MAX = 40;
const { version, url, topic } = JSON.parse(process.argv[2]);
const { Presence } = phoenix(version);
const viewers = [];
let final = null;

/** A list without the order of keys and metas, which means nothing. */
function plain(state) {
  const metas = (entry) => [...entry.metas].sort((a, b) => (a.phx_ref < b.phx_ref ? -1 : 1));
  return Object.fromEntries(Object.keys(state).sort().map((key) => [key, metas(state[key])]));
}

async function view() {
  const connection = socket(url, version, "websocket");
  connection.connect();
  const channel = connection.channel(topic, {});
  const viewer = { presence: new Presence(channel), diffs: 0, synced: false };
  channel.on("presence_diff", () => (viewer.diffs += 1));
  viewer.presence.onSync(() => (viewer.synced = true));
  channel.on("final", (list) => (final = plain(list)));
  channel.join();
  await until(() => viewer.synced, () => "a first state");
  viewers.push(viewer);
}

await view();
say({ ready: "churn" });
while (final === null && viewers.length < VIEWERS_MAX) await view();
await until(() => final !== null, () => "the end");
const list = (viewer) => plain(viewer.presence.state);
const same = () => viewers.every((viewer) => isDeepStrictEqual(list(viewer), final));
await until(same, () => JSON.stringify([final, ...viewers.map(list)]));
say({ viewers: viewers.length, diffs: viewers.map((viewer) => viewer.diffs), members: Object.keys(final) }, () => process.exit(0));
