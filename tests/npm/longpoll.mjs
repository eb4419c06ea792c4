// A stock client on long-poll: joins, pushes more than one batch holds, a binary push, a saved message.
// It judges nothing: it prints what it heard, and the test in Rust decides.

import { createRequire } from "node:module";

import { replied, until } from "./clients.mjs";

const { Socket, LongPoll } = createRequire(import.meta.url)("phoenix");
const input = JSON.parse(process.argv[2]);
const socket = new Socket(input.url, { params: { token: input.token }, transport: LongPoll });
socket.connect();

const room = socket.channel("room:stock", {});
const seen = [];
room.on("say", ({ n }) => seen.push(n));
await replied(room.join(), "join");

const numbers = [...Array(input.pushes).keys()];
const replies = await Promise.all(numbers.map((n) => replied(room.push("say", { n }), `push ${n}`)));
await until(() => seen.length >= input.pushes, () => JSON.stringify(seen));

const binary = await new Promise((resolve) => {
  room.push("bin", new Uint8Array([255, 0]).buffer).receive("error", resolve).receive("ok", resolve);
});

const chat = socket.channel("chat_room:stock", {});
await replied(chat.join(), "join of the chat");
const saved = await replied(chat.push("new_message", { message: "hello" }), "new_message");

const result = { replies: replies.length, seen, binary, saved };
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
