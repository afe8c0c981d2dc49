//! What a replay does not do, and what it says instead.

use serde_json::json;

use super::{BATCH, EVENTS, Story, numbers, part};
use crate::process::{good, text};

#[tokio::test]
async fn rows_that_the_journal_no_longer_has_are_given_up_only_when_that_is_said() {
    let story = Story::tell().await;
    std::fs::remove_file(story.file(0).1).unwrap();
    std::fs::remove_file(story.file(1).1).unwrap();
    story.forget_before(6).await;
    let (files, commits) = (story.files("events"), story.log("events").len());
    let (report, said) = story.refused(&[]);
    assert_eq!(numbers(&report, "events"), [0, 0, 0], "{report:#}");
    assert_eq!(part(&report, "events")["rows_not_in_journal"], BATCH);
    assert_eq!(part(&report, "events")["unreadable_files"][1]["sequences"], json!([2, 2]), "{report:#}");
    assert!(said.contains("30 rows of files that cannot be read are not in the journal any more, so nothing was changed"), "{said}");
    assert!(said.contains("put the files back") && said.contains("--give-up-rows"), "{said}");
    assert_eq!((story.files("events"), story.log("events").len()), (files, commits));

    let report = story.replay(&["--give-up-rows"]);
    assert_eq!(numbers(&report, "events"), [0, 0, 2], "{report:#}");
    let said = good(&story.tidemark.command(&["replay"]).output().unwrap());
    assert!(said.contains("events: nothing is missing") && said.contains("the journal begins at 6"), "{said}");
    assert_eq!(story.rows_in_all("events"), EVENTS - BATCH);
    assert!(story.verify().0, "what is there is sound");
}

#[tokio::test]
async fn a_repeat_takes_the_place_of_a_first_occurrence_that_is_gone_for_good() {
    let story = Story::tell().await;
    std::fs::remove_file(story.file(0).1).unwrap();
    story.forget_before(2).await;
    story.refused(&[]);
    assert_eq!(numbers(&story.replay(&["--give-up-rows"]), "events"), [BATCH / 2, BATCH / 2, 1]);
    assert!(story.verify().0);
    assert_eq!(story.rows_in_all("events"), EVENTS, "each event is there, some of them where they were sent again");
}

#[tokio::test]
async fn a_file_of_which_only_a_part_would_be_replayed_stays() {
    let story = Story::tell().await;
    story.compact();
    std::fs::remove_file(story.file(0).1).unwrap();
    let (_, said) = story.refused(&["--from", "0:2"]);
    assert!(said.contains("cannot be read and holds rows of messages 1 to 4 of shard 0") && said.contains("widen the range"), "{said}");
    assert_eq!(numbers(&story.replay(&["--from", "0:5"]), "events"), [0, 0, 0], "it lies outside");
    assert_eq!(numbers(&story.replay(&["--from", "0:1", "--to", "0:4"]), "events"), [EVENTS / 2, EVENTS / 2, 1]);
    story.is_whole();
}

#[tokio::test]
async fn a_wrong_range_or_another_journal_is_told_what_would_be_right() {
    let story = Story::tell().await;
    for (arguments, part) in [
        (&["--from", "yesterday"][..], "`shard:sequence` such as `0:1234`"),
        (&["--from", "-2x"], "such as -7d"),
        (&["--from", "0:9", "--to", "0:1"], "`--to` lies before `--from`"),
        (&["--from", "0:1", "--shard", "1"], "of the shards 0 and 1"),
    ] {
        assert!(story.refused(arguments).1.contains(part), "{arguments:?}: {}", story.refused(arguments).1);
    }
    let other = testkit::NatsServer::start().await;
    let setting = format!("nats.url={}", other.url());
    let output = story.command(&[]).args(["--set", &setting]).output().unwrap();
    assert!(text(&output.stderr).contains("is not the one from which the table was written"), "{}", text(&output.stderr));
}
