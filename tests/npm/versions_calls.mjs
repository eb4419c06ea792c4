// Two clients of one version: join, push, reply, broadcast, leave, a crash, then their node goes twice.
// It judges nothing: it prints what they heard, and the test in Rust decides.

import { Elm, Stock, say, until } from "./versions.mjs";

const { version, transport, url } = JSON.parse(process.argv[2]);
const topic = `room:${version}-${transport}`;
const make = () => (version === "elm" ? new Elm(url) : new Stock(url, version, transport));
const [one, two] = [make(), make()];
const both = [one, two];
const tell = () => JSON.stringify(both.map(({ joins, crashes, closes, seen }) => ({ joins, crashes, closes, seen })));
const result = {};

/** Both hear a broadcast of the first. */
async function shared(n) {
  await one.push("new_msg", { n });
  const heard = (client) => client.seen.some(([, seen]) => seen === n);
  await until(() => both.every(heard), () => `${n}: ${tell()}`);
}

/** The test makes their node go; both find the next one and join there by themselves. */
async function outlive(going, n) {
  const before = both.map((client) => [client.joins, client.closes.length]);
  say({ ready: going });
  const back = (client, at) => client.joins > before[at][0] && client.closes.length > before[at][1];
  await until(() => both.every(back), () => `${going}: ${tell()}`);
  result[going] = both.map((client, at) => client.closes[before[at][1]]);
  await shared(n);
}

result.joins = [await one.join(topic), await two.join(topic)];
result.echo = await one.push("echo", { text: "é\u2028\"\\", list: [1, null] });
result.unknown = await one.push("nothing", {});
await one.push("push", { n: 1 });
await shared(2);
await one.push("others", { n: 3 });
await until(() => two.seen.some(([, n]) => n === 3), tell);

result.left = await two.leave();
await one.push("new_msg", { n: 4 });
result.again = await two.join(topic);
await shared(5);

const joins = one.joins;
one.cast("boom");
await until(() => one.joins > joins, () => `crash: ${tell()}`);
result.crashes = both.map((client) => client.crashes);
await shared(6);

await outlive("drain", 7);
await outlive("kill", 8);
result.seen = both.map((client) => client.seen);
say(result, () => process.exit(0));
