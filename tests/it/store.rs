//! The contract of the store, held by both dialects; then what only PostgreSQL promises.
//!
//! `ORDERCAST_TEST_POSTGRES` is the url of a running server's superuser.

mod applying;
mod databases;
mod dead_letters;
mod drafts;
mod postgres;
mod progress;
mod reading;
mod recorders;
mod schema;
mod tickets;
mod upkeep;

/// Runs the same tests against each dialect, each in a database of its own.
macro_rules! contract {
    ($($room:ident: $($test:ident),+;)+) => {
        mod on_postgres {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let database = super::databases::Database::postgres().await;
                super::$room::$test(&database).await;
                database.drop().await;
            })+)+
        }

        mod on_sqlite {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let database = super::databases::Database::sqlite().await;
                super::$room::$test(&database).await;
                database.drop().await;
            })+)+
        }
    };
}

contract! {
    applying:
        rows_hold_the_fold_of_the_events,
        late_duplicate_and_conflicting_events_change_no_state,
        versions_of_another_kind_apply_and_are_counted,
        events_without_versions_in_two_partitions_are_named_and_change_nothing,
        an_order_without_versions_whose_partition_changed_with_the_log_goes_on_there,
        a_late_event_adds_its_step_alone,
        everything_an_event_says_comes_back,
        a_tombstone_leaves_a_marker_that_holds_old_versions_off,
        an_order_may_come_and_go_within_a_batch,
        who_is_no_longer_named_loses_the_order,
        events_whose_data_is_refused_are_named_among_good_ones,
        a_reset_lets_any_version_follow,
        versions_that_jump_are_counted_and_applied,
        markers_are_forgotten_by_age;
    reading:
        a_list_leaves_out_old_terminal_orders_only,
        a_list_is_bounded_for_each_viewer_by_its_newest,
        the_parts_of_a_list_are_all_of_it_each_order_once,
        a_list_goes_on_behind_rows_that_stand_for_nothing,
        orders_asked_by_name_are_answered_at_any_age,
        an_order_of_several_users_is_listed_for_each,
        a_list_that_is_too_long_to_be_read_among_others_says_so_and_holds_up_none,
        what_no_client_could_read_makes_no_snapshot_unreadable,
        a_snapshot_is_one_view_under_concurrent_writers;
    progress:
        rows_are_made_once_and_the_first_partition_count_stays,
        a_batch_applied_again_is_a_lost_partition_and_changes_nothing,
        one_lost_partition_holds_back_the_whole_batch,
        a_stretch_without_records_moves_progress_and_keeps_the_last_record,
        a_halt_is_told_where_the_partition_stands_until_it_goes_on,
        a_partition_is_relocated_only_from_where_it_stands;
    dead_letters:
        dead_letters_are_numbered_and_read_on_from,
        a_dead_letter_told_again_is_one_row_with_a_new_number,
        what_the_store_calls_unordered_is_told_as_what_it_refuses,
        a_held_record_is_kept_byte_for_byte,
        held_dead_letters_come_back_whole_and_a_replay_is_remembered,
        dead_letters_are_found_by_key_newest_first;
    recorders:
        two_recorders_of_one_order_lose_no_step,
        an_order_is_never_both_there_and_erased;
    tickets:
        a_ticket_is_found_until_it_is_used_and_one_of_many_uses_it,
        a_ticket_that_is_over_is_good_for_nothing_and_cleaned_away,
        a_ticket_is_as_good_as_before_where_its_use_is_withdrawn,
        a_ticket_that_is_put_back_is_as_it_was_and_stays_as_it_is_where_it_is_there;
    upkeep:
        stored_orders_are_restated_by_other_settings_in_stretches_and_once,
        rows_as_they_were_before_and_rows_of_nothing_are_put_right,
        an_order_that_cannot_be_read_stays_as_it_is_is_named_and_holds_up_no_other,
        what_is_told_goes_by_the_settings_of_who_reads,
        restating_beside_a_recorder_loses_no_row,
        orders_that_ended_long_ago_are_erased_and_no_late_event_brings_one_back;
    schema:
        an_empty_database_is_behind_until_migrated,
        a_database_from_the_future_is_left_alone,
        many_may_migrate_at_once;
}
