-- The first schema. Applied once, inside one transaction, by `fanfare migrate` or `fanfare serve`.
-- The same tables as in `migrations/postgres`; times are whole microseconds since 1970-01-01 UTC:
-- datetime(inserted_at / 1000000, 'unixepoch') shows one. A uid is its hyphenated text.

create table games (
  id   integer primary key,
  slug text not null unique,
  name text not null
) strict;

create table videos (
  id    integer primary key,
  title text not null,
  url   text not null
) strict;

-- A player's id is the `sub` of its token, which may be any text.
create table players (
  id       text primary key not null,
  username text not null,
  rating   integer not null default 0
) strict, without rowid;

-- The sequencer: the place of the newest record of each topic, and the topic's epoch.
create table topics (
  topic    text primary key not null,
  last_seq integer not null default 0,
  epoch    text not null
) strict, without rowid;

-- The four record tables. `seq` is what clients see as `id`: contiguous from 1 in its topic. They have no foreign
-- keys, on purpose: a record must not be refused because a player's row is missing. History left joins `players`.

create table gameplays (
  id           integer primary key,
  topic        text not null,
  seq          integer not null,
  uid          text not null unique,
  client_key   text,
  player_id    text,
  game_id      integer not null,
  player_score integer not null,
  inserted_at  integer not null,
  unique (topic, seq),
  unique (topic, player_id, client_key)
) strict;
create index gameplays_game_score on gameplays (game_id, player_score desc);

create table messages (
  id          integer primary key,
  topic       text not null,
  seq         integer not null,
  uid         text not null unique,
  client_key  text,
  player_id   text,
  room        text not null,
  name        text not null,
  message     text not null,
  inserted_at integer not null,
  unique (topic, seq),
  unique (topic, player_id, client_key)
) strict;

create table annotations (
  id          integer primary key,
  topic       text not null,
  seq         integer not null,
  uid         text not null unique,
  client_key  text,
  player_id   text,
  video_id    integer not null,
  body        text not null,
  at          integer not null, -- milliseconds into the video
  inserted_at integer not null,
  unique (topic, seq),
  unique (topic, player_id, client_key)
) strict;

create table records (
  id          integer primary key,
  topic       text not null,
  seq         integer not null,
  uid         text not null unique,
  client_key  text,
  player_id   text,
  event       text not null,
  payload     text not null check (json_valid(payload)),
  inserted_at integer not null,
  unique (topic, seq),
  unique (topic, player_id, client_key)
) strict;
