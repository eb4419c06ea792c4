-- Most records have no client key; only those that have one are in its index from here on.
--
-- A look-up by a key still finds the index: `client_key = …` implies that it is not null.

alter table gameplays drop constraint gameplays_topic_player_id_client_key_key;
create unique index gameplays_client_key on gameplays (topic, player_id, client_key) where client_key is not null;
alter table messages drop constraint messages_topic_player_id_client_key_key;
create unique index messages_client_key on messages (topic, player_id, client_key) where client_key is not null;
alter table annotations drop constraint annotations_topic_player_id_client_key_key;
create unique index annotations_client_key on annotations (topic, player_id, client_key) where client_key is not null;
alter table records drop constraint records_topic_player_id_client_key_key;
create unique index records_client_key on records (topic, player_id, client_key) where client_key is not null;
