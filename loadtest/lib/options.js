// What a run is told by its environment: `k6 run -e ROOMS=5 -e MEMBERS=100 chat-fanout.js`.
// A value that can't be read stops the run; nothing falls back silently.

// A whole number from 0.
export function count(name, otherwise) {
  return read(name, otherwise, (text) => (/^\d+$/.test(text) ? Number(text) : NaN), 'a whole number');
}

// A number above 0; a fraction may be meant, as in RATE=0.5.
export function number(name, otherwise) {
  return read(name, otherwise, (text) => (Number(text) > 0 ? Number(text) : NaN), 'a number above 0');
}

// Seconds: `90`, `90s`, `5m` or `1h`.
export function seconds(name, otherwise) {
  const units = { '': 1, s: 1, m: 60, h: 3600 };
  return read(name, otherwise, (text) => {
    const parts = /^(\d+(?:\.\d+)?)([smh]?)$/.exec(text);
    return parts ? Number(parts[1]) * units[parts[2]] : NaN;
  }, 'a duration such as 90s, 5m or 1h');
}

// One of several words.
export function word(name, words) {
  const text = given(name) ?? words[0];
  if (!words.includes(text)) throw new Error(`${name}: must be one of ${words.join(', ')}, not ${text}`);
  return text;
}

// Any text; undefined when there is none.
export function given(name) {
  const text = __ENV[name];
  return text === undefined || text === '' ? undefined : text;
}

// The mounts of the nodes, such as ws://127.0.0.1:4000/socket, from FANFARE_URLS (comma separated).
export function urls() {
  const list = (given('FANFARE_URLS') ?? 'ws://127.0.0.1:4000').split(',').map((text) => text.trim()).filter(Boolean);
  return list.map((text) => {
    const parts = /^(?:ws|http)(s?):\/\/([^/?#]+)(\/[^?#]*)?$/.exec(text);
    if (!parts) throw new Error(`FANFARE_URLS: ${text} is not an address such as ws://127.0.0.1:4000`);
    const path = (parts[3] ?? '').replace(/\/+$/, '');
    return `ws${parts[1]}://${parts[2]}${path === '' ? '/socket' : path}`;
  });
}

// The same for HTTP.
export function httpUrl(url) {
  return url.replace(/^ws/, 'http');
}

function read(name, otherwise, parse, what) {
  const text = given(name);
  if (text === undefined) return otherwise;
  const value = parse(text);
  if (Number.isNaN(value)) throw new Error(`${name}: must be ${what}, not ${text}`);
  return value;
}
