-- Looks up, numbers and stores one batch, while the rows of its topics are locked by this transaction.
-- The lock is a statement of its own before this one: a statement sees what was committed before it
-- began, so the look-up must begin after the lock is held.
--
-- One array an argument, one element a record: place in the batch, table (0 gameplays, 1 messages,
-- 2 annotations, 3 records), topic, uid, client key, player, time, then the table's own columns as two
-- numbers and three texts. Within a batch no uid and no (topic, player, key) comes twice.
--
-- The laterals with a limit keep each look-up an index probe, whatever the planner thinks of the tables' sizes.
with input as materialized (
  select * from unnest(
    $1::int4[], $2::int2[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::timestamptz[],
    $8::bigint[], $9::bigint[], $10::text[], $11::text[], $12::text[]
  ) as i (
    ord, kind, topic, uid, client_key, player_id, inserted_at,
    number_a, number_b, text_a, text_b, text_c
  )
), known as materialized (
  select distinct on (k.ord) k.ord, k.seq, k.uid from (
    select i.ord, r.seq, r.uid from input i
      cross join lateral (select seq, uid from gameplays where uid = i.uid and topic = i.topic limit 1) r
      where i.kind = 0
    union all
    select i.ord, r.seq, r.uid from input i
      cross join lateral (select seq, uid from messages where uid = i.uid and topic = i.topic limit 1) r
      where i.kind = 1
    union all
    select i.ord, r.seq, r.uid from input i
      cross join lateral (select seq, uid from annotations where uid = i.uid and topic = i.topic limit 1) r
      where i.kind = 2
    union all
    select i.ord, r.seq, r.uid from input i
      cross join lateral (select seq, uid from records where uid = i.uid and topic = i.topic limit 1) r
      where i.kind = 3
    union all
    select i.ord, r.seq, r.uid from input i
      cross join lateral (
        select seq, uid from gameplays
        where topic = i.topic and player_id = i.player_id and client_key = i.client_key limit 1
      ) r
      where i.client_key is not null
    union all
    select i.ord, r.seq, r.uid from input i
      cross join lateral (
        select seq, uid from messages
        where topic = i.topic and player_id = i.player_id and client_key = i.client_key limit 1
      ) r
      where i.client_key is not null
    union all
    select i.ord, r.seq, r.uid from input i
      cross join lateral (
        select seq, uid from annotations
        where topic = i.topic and player_id = i.player_id and client_key = i.client_key limit 1
      ) r
      where i.client_key is not null
    union all
    select i.ord, r.seq, r.uid from input i
      cross join lateral (
        select seq, uid from records
        where topic = i.topic and player_id = i.player_id and client_key = i.client_key limit 1
      ) r
      where i.client_key is not null
  ) k
), fresh as materialized (
  select i.*, t.last_seq + row_number() over (partition by i.topic order by i.ord) as seq
  from input i join topics t on t.topic = i.topic
  where not exists (select from known k where k.ord = i.ord)
), gameplays_stored as (
  insert into gameplays (topic, seq, uid, client_key, player_id, inserted_at, game_id, player_score)
  select f.topic, f.seq, f.uid, f.client_key, f.player_id, f.inserted_at, f.number_a, f.number_b
  from fresh f where f.kind = 0 order by f.ord
), messages_stored as (
  insert into messages (topic, seq, uid, client_key, player_id, inserted_at, room, name, message)
  select f.topic, f.seq, f.uid, f.client_key, f.player_id, f.inserted_at, f.text_a, f.text_b, f.text_c
  from fresh f where f.kind = 1 order by f.ord
), annotations_stored as (
  insert into annotations (topic, seq, uid, client_key, player_id, inserted_at, video_id, at, body)
  select f.topic, f.seq, f.uid, f.client_key, f.player_id, f.inserted_at, f.number_a, f.number_b, f.text_a
  from fresh f where f.kind = 2 order by f.ord
), records_stored as (
  insert into records (topic, seq, uid, client_key, player_id, inserted_at, event, payload)
  select f.topic, f.seq, f.uid, f.client_key, f.player_id, f.inserted_at, f.text_a, f.text_b::json
  from fresh f where f.kind = 3 order by f.ord
), numbered as (
  update topics t set last_seq = n.seq
  from (select f.topic, max(f.seq) as seq from fresh f group by f.topic) n
  where t.topic = n.topic
)
select i.ord, coalesce(k.seq, f.seq) as seq, k.uid
from input i left join known k on k.ord = i.ord left join fresh f on f.ord = i.ord
