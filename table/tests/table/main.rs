//! The lake's rules, each on a local folder and on a real S3 server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics, also in its helpers")]

mod crash;
mod faults;
mod lake;
mod maintenance;
mod migration;
mod rebuild;
mod rows;
mod rules;
mod start;

use lake::Lake;

/// Every rule becomes one test for each kind of store.
macro_rules! on_both_stores {
    ($($module:ident { $($rule:ident)* })*) => {
        mod folder {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                super::$module::$rule(super::Lake::folder()).await;
            })*)*
        }
        mod s3 {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                super::$module::$rule(super::Lake::s3().await).await;
            })*)*
        }
    };
}

on_both_stores! {
    rules {
        racing_creators_create_one_table
        a_table_that_does_not_exist_is_none
        an_existing_table_with_other_columns_is_refused
        a_read_between_two_times_skips_the_pages_outside
        slices_are_all_rows_in_their_order
        rows_come_back_as_written
        ranges_of_a_file_hold_its_rows
        a_file_says_that_it_is_sorted_only_when_it_is
        rows_of_another_day_are_refused
        a_commit_moves_rows_and_tidemark_together
        a_commit_without_rows_moves_the_tidemark
        of_racing_writers_exactly_one_wins
        a_stale_snapshot_is_fenced_even_with_a_higher_tidemark
        a_tidemark_never_stands_still_or_goes_back
        shards_commit_independently
        a_commit_whose_reply_was_lost_happened_once
        a_commit_without_rows_whose_reply_was_lost_happened_once
        a_commit_that_did_not_happen_can_be_repeated_with_the_same_files
        a_commit_nobody_could_check_can_be_repeated
        the_probe_accepts_the_store
        the_probe_refuses_a_store_that_overwrites
    }
    maintenance {
        a_merge_keeps_every_row_and_the_order_and_changes_no_data
        a_merge_and_commits_at_the_same_time_lose_nothing
        of_two_who_merge_the_same_files_one_does
        a_merge_whose_reply_was_lost_happened_once
        a_file_that_cannot_be_read_is_named_and_stops_its_merge_alone
        a_merge_may_leave_rows_out
        old_days_are_given_up_in_one_commit
        only_what_no_recent_version_needs_is_garbage
        an_old_file_that_was_replaced_a_moment_ago_is_no_garbage
        a_table_of_many_commits_opens_from_a_checkpoint_and_its_log_is_short
        a_damaged_newest_checkpoint_is_put_aside
    }
    rebuild {
        rows_come_back_once_although_two_bring_them
        a_day_that_was_given_up_meanwhile_does_not_come_back
        a_writer_that_did_not_know_of_rows_that_came_back_is_told
    }
}
