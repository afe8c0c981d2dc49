use super::*;

const NOW: Timestamp = Timestamp(1_795_000_000_000_000);
const DAY_US: i64 = 86_400_000_000;

fn read(query: &str) -> Result<MetricsQuestion, BadParameter> {
    MetricsQuestion::read(&format!("/metrics?{query}").parse().unwrap(), Limits { now: NOW, max_groups: 1000 })
}

/// The whole message of the refusal.
fn refused(query: &str) -> String {
    read(query).map(|_| ()).expect_err(query).to_string()
}

#[test]
fn a_question_without_parameters_is_about_the_last_24_hours() {
    let question = read("").unwrap();
    assert_eq!((question.from, question.to), (Timestamp(NOW.0 - DAY_US), NOW));
    assert_eq!((question.order, question.uniques), (Order::Natural, Uniques::Exact));
    assert!(question.group_by.is_empty() && question.fill.is_none() && question.limit.is_none());
}

#[test]
fn a_range_with_one_end_gets_the_other() {
    assert_eq!(read("to=1723486400").unwrap().from, Timestamp(1_723_400_000_000_000));
    assert_eq!(read("from=1723400000").unwrap().to, NOW);
}

#[test]
fn a_range_may_be_one_instant_but_not_reversed() {
    assert!(read("from=5&to=5").is_ok());
    let message = refused("from=6&to=5");
    assert!(message.starts_with("`from`: 1970-01-01T00:00:06Z lies after `to`, 1970-01-01T00:00:05Z"), "{message}");
    assert!(refused("from=2099-01-01T00:00:00Z").contains("which is now unless `to` is given"));
}

#[test]
fn a_misspelt_dimension_gets_the_nearest_one_and_the_list() {
    let message = refused("group_by=chanel");
    assert!(message.contains("`group_by`") && message.contains("did you mean `channel`?") && message.contains("`week`"), "{message}");
}

#[test]
fn at_most_two_different_dimensions() {
    assert_eq!(read("group_by=hour,tag").unwrap().group_by, [Dimension::Time(Unit::Hour), Dimension::Tag]);
    assert!(refused("group_by=hour,tag,path").contains("two joined by a comma"));
    assert!(refused("group_by=hour,hour").contains("twice"));
}

#[test]
fn filling_needs_one_time_dimension_and_a_bounded_number_of_buckets() {
    assert_eq!(read("group_by=hour&fill=zero&from=0&to=7199").unwrap().fill.unwrap().len(), 2);
    for query in ["fill=zero", "group_by=channel&fill=zero", "group_by=hour,day&fill=zero"] {
        assert!(refused(query).contains("exactly one of minute"), "{query}");
    }
    assert!(refused("group_by=minute&fill=zero&from=0").contains("more than 1000 buckets of one minute"));
}

#[test]
fn bad_values_name_the_parameter_and_what_would_be_right() {
    assert!(refused("order=total").contains("`order`: `total` is not known; did you mean `-total`?"));
    assert!(refused("uniques=aprox").contains("did you mean `approx`?"));
    assert!(refused("tz=Europe/Berln").contains("IANA name"));
    assert!(refused("limit=0").contains("from 1 to 1000"));
    assert!(refused("from=soon").contains("RFC 3339"));
    assert!(refused("at_least=12").contains("shard:sequence"));
    assert!(refused("grup_by=hour").contains("did you mean `group_by`?"));
}

#[test]
fn positions_of_several_shards_are_joined_by_commas() {
    assert_eq!(read("at_least=0:12:3,1:4").unwrap().at_least.len(), 2);
}
