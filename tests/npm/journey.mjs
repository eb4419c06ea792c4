// Two stock clients save on one node, two listen on another; one of those leaves, misses some, and resumes elsewhere.
// It judges nothing: it prints what everybody heard, and the test in Rust decides.

import { Client, until } from "./clients.mjs";

const input = JSON.parse(process.argv[2]);
const { topics, writers, readers } = input;
const saved = { score: [], chat: [], video: [] };
let round = 0;

async function save(client) {
  round += 1;
  saved.score.push(await client.push("score", "save_score", { player_score: 100 + round }));
  saved.chat.push(await client.push("chat", "new_message", { message: `round ${round} with ${client.version}` }));
  saved.video.push(await client.push("video", "new_annotation", { body: `note ${round}`, at: 1000 * round }));
}

async function heard(clients, count) {
  const short = () => clients.filter((c) => Object.values(c.seen).some((seen) => seen.length < count));
  await until(() => short().length === 0, () => JSON.stringify(short().map((c) => c.heard())));
}

const listening = [];
for (const reader of readers) listening.push(await new Client(input.read, reader).join(topics));
const writing = [];
for (const writer of writers) writing.push(await new Client(input.write, writer).join(topics));

for (const client of writing) await save(client);
await heard([...listening, ...writing], writing.length);

// The first reader leaves, and comes back at the other node with its positions.
const [leaver, stayer] = listening;
const positions = {};
for (const kind of Object.keys(topics)) {
  const last = leaver.seen[kind].at(-1).id;
  positions[kind] = { last_seen_id: last, last_seen_epoch: leaver.joins[kind].epoch };
}
leaver.close();
for (let missed = 0; missed < input.missed; missed += 1) for (const client of writing) await save(client);
await heard([stayer, ...writing], round);

const back = await new Client(input.write, readers[0]).join(topics, positions);
await until(() => back.seen.chat.length >= input.missed * writing.length, () => JSON.stringify(back.heard()));
for (const client of writing) await save(client);
await heard([stayer, ...writing], round);
await until(
  () => back.seen.score.length >= writing.length && back.seen.video.length >= writing.length && back.seen.chat.at(-1).id === stayer.seen.chat.at(-1).id,
  () => JSON.stringify(back.heard()),
);

const everyone = [...writing, ...listening, back];
const result = { saved, writers: writing.map((c) => c.heard()), leaver: leaver.heard(), stayer: stayer.heard(), back: back.heard() };
for (const client of everyone) client.close();
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
