// The channels that a trial can use: how a numbered message is sent there, and read again.
// It never keeps anything.

const PER_PUBLISHER = 1e6;

// Message `n` of publisher `p`, padded to so many bytes.
function text(p, n, bytes) {
  return `${p} ${n} `.padEnd(bytes, '.');
}

function numbers(words) {
  const [p, n] = String(words).split(' ', 2);
  return [Number(p), Number(n)];
}

export const KINDS = {
  // Stored, numbered, resumed. Without presence in loadtest/fanfare.toml, so that a big room is about its messages.
  chat: {
    prefix: 'chat_room:quiet-',
    event: 'new_message',
    resume: true,
    encode: (p, n, bytes) => ({ message: text(p, n, bytes) }),
    decode: (payload) => numbers(payload.message),
  },
  // Passed on as it came, never stored.
  relay: {
    prefix: 'room:quiet-',
    event: 'new_message',
    resume: false,
    encode: (p, n, bytes) => ({ body: text(p, n, bytes) }),
    decode: (payload) => numbers(payload.body),
  },
  // Stored for players only; a score is a number, so the two numbers are one.
  score: {
    prefix: 'score:game-',
    event: 'save_score',
    resume: true,
    list: 'scores',
    encode: (p, n) => ({ player_score: p * PER_PUBLISHER + n }),
    decode: (payload) => [Math.floor(payload.player_score / PER_PUBLISHER), payload.player_score % PER_PUBLISHER],
  },
};
