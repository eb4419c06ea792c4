-- Whose turn it is to sweep records that are not kept any more, and where the sweep goes on.
--
-- The sweep itself needs no index of its own: it goes through `topics` by its key, and takes the oldest records of
-- a topic by the unique (topic, seq) of each record table.
create table sweeps (
  name        text primary key,
  holder      text not null,
  held_until  timestamptz not null,
  after_topic text collate "C" not null
);
insert into sweeps (name, holder, held_until, after_topic) values ('retention', '', '-infinity', '');
