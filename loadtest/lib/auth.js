// Who connects: tokens that the script signs, one that it is given, those of a development node, or guests.
//
// FANFARE_TOKEN            one token for every socket
// FANFARE_SECRET_KEY_BASE  the nodes' secret: the script signs a token a player (JWT, HS256)
// neither                  /dev/token of a development node; where there is none, guests
//
// It never prints a token or the secret.

import crypto from 'k6/crypto';
import encoding from 'k6/encoding';
import http from 'k6/http';

import { given, httpUrl, urls } from './options.js';

const DAY_SECONDS = 24 * 3600;

// A JWT of these claims; `alg` and `secret` are for the script that tries bad ones.
export function sign(claims, secret = given('FANFARE_SECRET_KEY_BASE'), alg = 'HS256') {
  const part = (value) => encoding.b64encode(JSON.stringify(value), 'rawurl');
  const signed = `${part({ alg, typ: 'JWT' })}.${part(claims)}`;
  return `${signed}.${crypto.hmac('sha256', secret, signed, 'base64rawurl')}`;
}

// The connect parameters of player number `sub`; a player's token is good for a day.
export function params(sub, name = `player ${sub}`) {
  const token = given('FANFARE_TOKEN') ?? signed(sub, name) ?? development(name);
  return token === undefined ? {} : { token };
}

// Says whether sockets are players, who may save scores and repeat with a key, or guests.
export function arePlayers() {
  return params(1).token !== undefined;
}

function signed(sub, name) {
  const secret = given('FANFARE_SECRET_KEY_BASE');
  if (secret === undefined) return undefined;
  const now = Math.floor(Date.now() / 1000);
  return sign({ sub: String(sub), name, iat: now, exp: now + DAY_SECONDS }, secret);
}

function development(name) {
  const node = httpUrl(urls()[0]).replace(/^(https?:\/\/[^/]+).*$/, '$1');
  const answer = http.get(`${node}/dev/token?name=${encodeURIComponent(name)}`, {
    responseCallback: http.expectedStatuses(200, 404, 403),
  });
  return answer.status === 200 ? answer.json('token') : undefined;
}
