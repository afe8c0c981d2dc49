//! The conformance suite of the journal, run by every implementation, and what holds for JetStream alone.

#![expect(clippy::unwrap_used, reason = "clippy knows only test functions, not the functions that they share")]

mod backends;
mod jetstream;
mod rules;

/// Runs each rule on each implementation.
macro_rules! suite {
    ($($rule:ident)*) => {
        mod in_memory {
            $(#[tokio::test] async fn $rule() { crate::rules::$rule(crate::backends::InMemory::default()).await; })*
        }
        mod on_jetstream {
            $(#[tokio::test] async fn $rule() { crate::rules::$rule(crate::backends::OnJetStream::default()).await; })*
        }
    };
}

suite! {
    sequences_are_contiguous_and_start_at_one
    shards_count_for_themselves
    a_delivery_is_the_message_as_it_was_published
    a_trace_is_delivered_with_its_message_and_with_no_other
    a_repeated_id_gives_the_first_sequence_and_one_delivery
    a_reader_gets_what_comes_after_its_position_and_nothing_else
    a_reader_waits_for_what_comes_later
    a_position_after_the_end_is_refused
    a_released_message_is_a_gap_for_who_starts_before_it
    a_released_message_is_a_gap_for_who_was_about_to_read_it
    a_release_beyond_the_end_is_refused_and_moves_nothing
    a_release_of_what_is_released_changes_nothing
    a_message_that_the_disk_lost_is_a_gap_and_reading_goes_on_after_it
    numbers_go_on_after_everything_was_released
    a_full_journal_refuses_and_accepts_again_after_a_release
    the_largest_payload_is_stored_and_a_larger_one_refused
    concurrent_messages_are_all_stored_once_and_contiguous
    a_message_without_an_answer_may_be_sent_again
    an_id_that_cannot_be_sent_is_refused
    a_shard_that_does_not_exist_is_refused
}
