-- Whose turn it is to sweep records that are not kept any more, and where the sweep goes on.
--
-- The sweep itself needs no index of its own: it goes through `topics` by its key, and takes the oldest records of
-- a topic by the unique (topic, seq) of each record table. Times are microseconds since the Unix epoch.
create table sweeps (
  name        text primary key not null,
  holder      text not null,
  held_until  integer not null,
  after_topic text not null
) strict, without rowid;
insert into sweeps (name, holder, held_until, after_topic) values ('retention', '', 0, '');
