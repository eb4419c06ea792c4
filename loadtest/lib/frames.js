// The frames of Phoenix Channels, version 2: text to message and back, binary too.
// It never opens a socket and knows nothing of k6.

const PUSH = 0;
const REPLY = 1;
const BROADCAST = 2;
const HEADER_BYTES_MAX = 255;

// Encodes a message for the server: a string, or an ArrayBuffer when its payload is one.
export function encode({ joinRef = null, ref = null, topic, event, payload }) {
  if (!(payload instanceof ArrayBuffer)) {
    return JSON.stringify([joinRef, ref, topic, event, payload]);
  }
  const words = [joinRef ?? '', ref ?? '', topic, event].map(utf8);
  for (const word of words) {
    if (word.length > HEADER_BYTES_MAX) throw new Error(`a binary frame holds ${HEADER_BYTES_MAX} bytes a word`);
  }
  const body = new Uint8Array(payload);
  const frame = new Uint8Array(1 + words.length + total(words) + body.length);
  frame[0] = PUSH;
  let at = 1;
  for (const word of words) frame[at++] = word.length;
  for (const part of [...words, body]) {
    frame.set(part, at);
    at += part.length;
  }
  return frame.buffer;
}

// Decodes a frame of the server; a binary payload stays an ArrayBuffer.
export function decode(data) {
  if (typeof data === 'string') {
    const [joinRef, ref, topic, event, payload] = JSON.parse(data);
    return { joinRef, ref, topic, event, payload };
  }
  const bytes = new Uint8Array(data);
  switch (bytes[0]) {
    case PUSH: {
      const [[joinRef, topic, event], payload] = split(bytes, 3);
      return { joinRef, ref: null, topic, event, payload };
    }
    case REPLY: {
      const [[joinRef, ref, topic, status], response] = split(bytes, 4);
      return { joinRef, ref, topic, event: 'phx_reply', payload: { status, response } };
    }
    case BROADCAST: {
      const [[topic, event], payload] = split(bytes, 2);
      return { joinRef: null, ref: null, topic, event, payload };
    }
    default:
      throw new Error(`unknown binary frame kind ${bytes[0]}`);
  }
}

function split(bytes, count) {
  const words = [];
  let at = 1 + count;
  for (let i = 1; i <= count; i += 1) {
    words.push(text(bytes.subarray(at, at + bytes[i])));
    at += bytes[i];
  }
  return [words, bytes.slice(at).buffer];
}

function total(parts) {
  return parts.reduce((sum, part) => sum + part.length, 0);
}

// k6 has no TextEncoder.
function utf8(word) {
  return Uint8Array.from([...unescape(encodeURIComponent(word))].map((char) => char.charCodeAt(0)));
}

function text(bytes) {
  return decodeURIComponent(escape(String.fromCharCode(...bytes)));
}
