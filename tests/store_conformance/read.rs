//! What reading, and the rows beside the records, promise.
//!
//! Claims only; each is run on every store.

use fanfare::channel::{Body, NewRecord, Record};
use fanfare::clock;
use fanfare::store::Range;

use crate::support::records::{author, keyed, message, topic};
use crate::{ALL, Stores, append, ids, stored};

pub async fn every_kind_of_record_is_read_as_it_was_written(stores: Stores) {
    let bodies = [
        Body::Score {
            game_id: 7,
            player_score: (1 << 53) - 1,
        },
        Body::Message {
            room: String::from("lobby"),
            name: String::from("guest \u{1f980}"),
            message: String::from("'quoted'\n\"twice\" \\ {a,b}"),
        },
        Body::Annotation {
            video_id: -1,
            body: String::from("ü"),
            at: 1_500,
        },
        Body::Custom {
            event: String::from("drawn"),
            // Order, doubles, spaces, number text and escapes are relayed as they came.
            payload: String::from(
                "{\"z\": 1,  \"a\":1.10e5, \"a\":12345678901234567890, \"n\":\"\\u0000\\u00fc\"}",
            ),
        },
    ];
    let player = stores.one.player("p1", Some("name of p1")).await;
    assert!(player.expect("made").is_some());
    // One topic in four tables: places are the topic's, not the table's.
    let batch: Vec<NewRecord> = bodies
        .into_iter()
        .zip([Some("p1"), None, Some("p1"), None])
        .map(|(body, player)| NewRecord {
            author: player.and_then(author),
            client_key: player.map(|_| clock::uid().to_string()),
            inserted_at: 1_700_000_000_123_457,
            body,
            ..message("mixed", "")
        })
        .collect();
    assert_eq!(
        append(&stores.one, &batch).await,
        [stored(1), stored(2), stored(3), stored(4)]
    );
    // And twice of one kind alone, as nearly every batch is.
    let alone: Vec<NewRecord> = batch
        .iter()
        .flat_map(|record| [record, record])
        .map(|record| NewRecord {
            topic: topic("alone"),
            uid: clock::uid(),
            client_key: None,
            ..record.clone()
        })
        .collect();
    for (two, place) in alone.chunks(2).zip([1, 3, 5, 7]) {
        let answers = append(&stores.one, two).await;
        assert_eq!(answers, [stored(place), stored(place + 1)]);
    }
    for (name, batch) in [("mixed", batch), ("alone", alone)] {
        let placed = (1..).map(Some).zip(batch);
        let expected: Vec<Record> = placed.map(|(id, record)| Record { id, record }).collect();
        let slice = stores.other.read(&topic(name), ALL).await.expect("read");
        assert_eq!(slice.records, expected);
    }
}

pub async fn a_missing_player_goes_by_its_id(stores: Stores) {
    let record = keyed("a", "nobody", "k");
    assert_eq!(append(&stores.one, &[record]).await, [stored(1)]);
    let slice = stores.one.read(&topic("a"), ALL).await.expect("read");
    let author = slice.records[0].record.author.clone().expect("an author");
    assert_eq!(
        (author.id.as_str(), author.username.as_str()),
        ("nobody", "nobody")
    );
}

pub async fn an_epoch_is_made_once_and_stays(stores: Stores) {
    let on = topic("a");
    let looked = stores.one.read(&on, ALL).await.expect("read");
    assert_eq!(looked.head.last_id, 0);
    assert!(!looked.head.epoch.is_empty());
    let stored = stores
        .other
        .append(&[message("a", "1")])
        .await
        .expect("appended");
    assert_eq!(stored.epochs, [(on.clone(), looked.head.epoch.clone())]);
    let again = stores.one.read(&on, ALL).await.expect("read");
    assert_eq!(
        (again.head.last_id, &again.head.epoch),
        (1, &looked.head.epoch)
    );
    let other = stores.one.read(&topic("b"), ALL).await.expect("read");
    assert_ne!(other.head.epoch, again.head.epoch);
}

pub async fn ranges_are_cut_at_the_right_end_and_oldest_first(stores: Stores) {
    let batch: Vec<_> = (1..=9).map(|n| message("a", &n.to_string())).collect();
    append(&stores.one, &batch).await;
    append(&stores.one, &[message("b", "other")]).await;
    let between = |from, to, count| Range::Between { from, to, count };
    let after = |after, count| Range::After { after, count };
    let cases: [(Range, &[u64]); 13] = [
        (Range::Recent { count: 3 }, &[7, 8, 9]),
        (Range::Recent { count: 0 }, &[]),
        (Range::Recent { count: 100 }, &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (after(6, 10), &[7, 8, 9]),
        (after(2, 3), &[7, 8, 9]),
        (after(9, 10), &[]),
        (after(100, 10), &[]),
        (after(u64::MAX, 10), &[]),
        (between(3, 5, 10), &[3, 4, 5]),
        (between(3, 9, 2), &[3, 4]),
        (between(8, u64::MAX, usize::MAX), &[8, 9]),
        (between(5, 4, 10), &[]),
        (between(0, 1, 10), &[1]),
    ];
    for (range, expected) in cases {
        assert_eq!(ids(&stores.other, "a", range).await, expected, "{range:?}");
        let slice = stores.one.read(&topic("a"), range).await.expect("read");
        assert_eq!(slice.head.last_id, 9, "{range:?}");
    }
}

pub async fn heads_come_in_the_order_asked_for(stores: Stores) {
    append(
        &stores.one,
        &[message("a", "1"), message("a", "2"), message("b", "1")],
    )
    .await;
    let asked = ["b", "unknown", "a", "b"].map(topic);
    let heads = stores.other.heads(&asked).await.expect("heads");
    let places: Vec<_> = heads
        .iter()
        .map(|head| head.as_ref().map(|head| head.last_id))
        .collect();
    assert_eq!(places, [Some(1), None, Some(2), Some(1)]);
    assert_eq!(heads[0], heads[3]);
    let read = stores.one.read(&topic("a"), ALL).await.expect("read");
    assert_eq!(heads[2].as_ref(), Some(&read.head));
    assert_eq!(stores.one.heads(&[]).await, Ok(vec![]));
}

pub async fn a_new_epoch_never_lowers_the_place(stores: Stores) {
    let on = topic("a");
    append(&stores.one, &[message("a", "1"), message("a", "2")]).await;
    let before = stores.one.read(&on, ALL).await.expect("read").head;
    let renewed = stores
        .other
        .renew_epoch(&on, &before.epoch, 1)
        .await
        .expect("renewed");
    assert_eq!(renewed.last_id, 2);
    assert_ne!(renewed.epoch, before.epoch);
    // Who notices the same thing later finds it done.
    let again = stores.one.renew_epoch(&on, &before.epoch, 41).await;
    assert_eq!(again.expect("looked"), renewed);
    let ahead = stores.one.renew_epoch(&on, &renewed.epoch, 41).await;
    let ahead = ahead.expect("renewed");
    assert_eq!(ahead.last_id, 41);
    assert_eq!(
        append(&stores.other, &[message("a", "42")]).await,
        [stored(42)]
    );
    assert_eq!(ids(&stores.one, "a", ALL).await, [1, 2, 42]);
    let unknown = stores
        .one
        .renew_epoch(&topic("new"), "lost", 5)
        .await
        .expect("renewed");
    assert_eq!(unknown.last_id, 5);
    let head = stores
        .other
        .read(&topic("new"), ALL)
        .await
        .expect("read")
        .head;
    assert_eq!(head, unknown);
}

pub async fn a_player_is_made_from_claims_and_never_overwritten(stores: Stores) {
    assert_eq!(stores.one.player("p1", None).await, Ok(None));
    let made = stores
        .one
        .player("p1", Some("ada"))
        .await
        .expect("made")
        .expect("a player");
    assert_eq!(
        (made.id.as_str(), made.username.as_str(), made.rating),
        ("p1", "ada", 0)
    );
    let found = stores.other.player("p1", Some("eve")).await.expect("found");
    assert_eq!(found.as_ref(), Some(&made));
    assert_eq!(stores.one.player("p1", None).await, Ok(found));
    let odd = "' or 1=1; -- \u{1f980}";
    assert!(
        stores
            .one
            .player(odd, Some(odd))
            .await
            .expect("made")
            .is_some()
    );
}

pub async fn a_rating_is_only_ever_raised(stores: Stores) {
    assert_eq!(stores.one.raise_rating("p1", 10).await, Ok(None));
    stores.one.player("p1", Some("ada")).await.expect("made");
    for (rating, expected) in [(10, 10), (3, 10), (11, 11), (-5, 11)] {
        let fresh = stores
            .other
            .raise_rating("p1", rating)
            .await
            .expect("raised");
        assert_eq!(fresh.expect("a player").rating, expected);
    }
    let found = stores.one.player("p1", None).await.expect("found");
    assert_eq!(found.expect("a player").rating, 11);
}

pub async fn games_and_videos_are_made_only_when_asked_for(stores: Stores) {
    assert_eq!(stores.one.game("chess", false).await, Ok(None));
    let game = stores
        .one
        .game("chess", true)
        .await
        .expect("made")
        .expect("a game");
    assert_eq!((game.slug.as_str(), game.name.as_str()), ("chess", "chess"));
    assert_eq!(
        stores.other.game("chess", true).await,
        Ok(Some(game.clone()))
    );
    assert_eq!(
        stores.other.game("chess", false).await,
        Ok(Some(game.clone()))
    );
    let next = stores
        .one
        .game("go", true)
        .await
        .expect("made")
        .expect("a game");
    assert_ne!(next.id, game.id);

    assert_eq!(stores.one.video(42, false).await, Ok(None));
    let video = stores
        .one
        .video(42, true)
        .await
        .expect("made")
        .expect("a video");
    assert_eq!(
        (video.id, video.title.as_str(), video.url.as_str()),
        (42, "Video 42", "")
    );
    assert_eq!(stores.other.video(42, true).await, Ok(Some(video.clone())));
    assert_eq!(stores.one.video(42, false).await, Ok(Some(video)));
}

pub async fn a_migrated_store_answers_and_migrating_again_changes_nothing(stores: Stores) {
    append(&stores.one, &[message("a", "1")]).await;
    stores.other.migrate().await.expect("migrated again");
    stores.other.ping().await.expect("answers");
    assert_eq!(ids(&stores.other, "a", ALL).await, [1]);
    assert_eq!(
        stores.one.kind(),
        stores.url.split(':').next().expect("a scheme")
    );
}
