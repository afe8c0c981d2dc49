//! Counts rows: those of the time ranges that pass the filters, each in its group.

use std::{collections::HashMap, sync::Arc};

use datafusion::arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, RecordBatch, Scalar, StringArray, StringViewArray, UInt32Array},
    buffer::BooleanBuffer,
    compute::{and, cast, filter_record_batch, kernels::cmp::eq, take_record_batch},
    datatypes::{DataType, Field, Int32Type, Schema, TimestampMicrosecondType},
    error::ArrowError,
};

use super::{
    answer::Key,
    question::Dimension,
    shape::Shape,
    tally::{Counted, Keys, Tally},
};
use crate::buckets::Buckets;

/// The column of the single tags, once every row has one.
const TAG: &str = "tag";
/// So many combinations of two keys have their places in a table of 4 MiB, more of them in a map.
const DENSE: usize = 1 << 20;

/// Counts rows of one shape.
pub(super) struct RowCounter<'a> {
    shape: &'a Shape,
    /// Event times in microseconds, both ends included.
    ranges_us: &'a [(i64, i64)],
    events: u64,
    places: HashMap<Keys, usize>,
    groups: Vec<Counted>,
}

impl<'a> RowCounter<'a> {
    pub(super) fn new(shape: &'a Shape, ranges_us: &'a [(i64, i64)]) -> Self {
        Self { shape, ranges_us, events: 0, places: HashMap::new(), groups: Vec::new() }
    }

    /// Counts the wanted rows of these, which have the columns of the shape; texts may come as dictionaries.
    pub(super) fn add(&mut self, rows: &RecordBatch) -> Result<(), ArrowError> {
        let mut rows = self.wanted(rows)?;
        self.events += rows.num_rows() as u64;
        if self.shape.group_by.contains(&Dimension::Tag) {
            rows = by_tag(&rows)?;
        }
        let groups = self.groups_of(&rows)?;
        let users = cast(column(&rows, "user_id"), &DataType::Utf8View)?;
        for (user, group) in users.as_string_view().iter().zip(groups) {
            let counted = &mut self.groups[group];
            counted.events += 1;
            if let Some(user) = user {
                counted.users.add(user);
            }
        }
        Ok(())
    }

    /// Roughly how much memory the counts take.
    pub(super) fn bytes(&self) -> usize {
        self.groups.iter().map(|group| size_of::<Counted>() + group.users.bytes()).sum()
    }

    /// What was counted.
    pub(super) fn finish(mut self) -> Tally {
        if self.shape.group_by.is_empty() {
            let mut tally = Tally::new(self.shape.uniques);
            if let Some(mut all) = self.groups.pop() {
                all.users.settle();
                tally.total = all;
            }
            return tally;
        }
        let mut groups: Vec<Option<Counted>> = self.groups.into_iter().map(Some).collect();
        let places = self.places.into_iter();
        let groups = places.map(|(keys, place)| (keys, groups[place].take().expect("each place has one key"))).collect();
        Tally::of_groups(self.shape.uniques, self.events, groups)
    }

    fn wanted(&self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let times = column(rows, "timestamp").as_primitive::<TimestampMicrosecondType>().values();
        let is_in_time = |row| self.ranges_us.iter().any(|(first, last)| (*first..=*last).contains(&times[row]));
        let mut wanted = BooleanArray::new(BooleanBuffer::collect_bool(rows.num_rows(), is_in_time), None);
        for (name, value) in &self.shape.filters.equal {
            // Null where the column is, which is as good as false.
            let column = column(rows, name);
            let value: ArrayRef = match column.data_type() {
                DataType::Utf8View => Arc::new(StringViewArray::from_iter_values([value])),
                _ => Arc::new(StringArray::from_iter_values([value])),
            };
            wanted = and(&wanted, &eq(column, &Scalar::new(value))?)?;
        }
        if let Some(tag) = &self.shape.filters.tag {
            wanted = and(&wanted, &tagged(rows, tag))?;
        }
        if wanted.true_count() == rows.num_rows() { Ok(rows.clone()) } else { filter_record_batch(rows, &wanted) }
    }

    /// The place of each row's group.
    fn groups_of(&mut self, rows: &RecordBatch) -> Result<Vec<usize>, ArrowError> {
        let parts = self.shape.group_by.iter().map(|dimension| self.part(*dimension, rows)).collect::<Result<Vec<_>, _>>()?;
        match &parts[..] {
            [] => {
                let place = self.place(Keys::default());
                Ok(vec![place; rows.num_rows()])
            }
            [only] => Ok(self.numbered(rows.num_rows(), only.keys.len(), |row| only.codes[row], |code| [only.keys[code].clone()].into())),
            [first, second, ..] => {
                let width = second.keys.len();
                let code = |row: usize| first.codes[row] * width + second.codes[row];
                let keys = |code: usize| [first.keys[code / width].clone(), second.keys[code % width].clone()].into();
                Ok(self.numbered(rows.num_rows(), first.keys.len() * width, code, keys))
            }
        }
    }

    /// The place of each row's group, looked up once for each code.
    fn numbered(&mut self, rows: usize, codes: usize, code_of: impl Fn(usize) -> usize, keys_of: impl Fn(usize) -> Keys) -> Vec<usize> {
        if codes <= DENSE {
            let mut places = vec![None; codes];
            return (0..rows).map(code_of).map(|code| *places[code].get_or_insert_with(|| self.place(keys_of(code)))).collect();
        }
        let mut places = HashMap::new();
        (0..rows).map(code_of).map(|code| *places.entry(code).or_insert_with(|| self.place(keys_of(code)))).collect()
    }

    fn place(&mut self, keys: Keys) -> usize {
        *self.places.entry(keys).or_insert_with(|| {
            self.groups.push(Counted::new(self.shape.uniques));
            self.groups.len() - 1
        })
    }

    fn part(&self, dimension: Dimension, rows: &RecordBatch) -> Result<Part, ArrowError> {
        match dimension {
            Dimension::Time(unit) => Ok(Part::of_times(column(rows, "timestamp"), self.shape.buckets(unit))),
            Dimension::Column(name) => Part::of_texts(column(rows, name)),
            Dimension::Tag => Part::of_texts(column(rows, TAG)),
        }
    }
}

fn column<'a>(rows: &'a RecordBatch, name: &str) -> &'a ArrayRef {
    rows.column_by_name(name).expect("the scan reads the columns of the shape, and the tail has all")
}

/// One part of the rows' keys: each row's number, and what the numbers mean.
struct Part {
    codes: Vec<usize>,
    keys: Vec<Key>,
}

impl Part {
    fn of_times(times: &ArrayRef, buckets: Buckets) -> Self {
        let times = times.as_primitive::<TimestampMicrosecondType>().values();
        let (mut keys, mut known) = (Vec::new(), HashMap::new());
        let mut current = (0..0, 0);
        let code = |us: &i64| {
            if !current.0.contains(us) {
                let start = buckets.start_of(*us);
                let code = *known.entry(start).or_insert_with(|| {
                    keys.push(Key::Time(start));
                    keys.len() - 1
                });
                current = (start..buckets.after(start), code);
            }
            current.1
        };
        let codes = times.iter().map(code).collect();
        Self { codes, keys }
    }

    fn of_texts(texts: &ArrayRef) -> Result<Self, ArrowError> {
        let texts = Dictionary::of(texts)?;
        let absent = texts.values().len();
        let codes = (0..texts.len()).map(|row| texts.code(row).unwrap_or(absent)).collect();
        let keys = texts.values().iter().map(|text| Key::Text(text.map(str::to_owned))).chain([Key::Text(None)]).collect();
        Ok(Self { codes, keys })
    }
}

/// A column of texts by numbers.
struct Dictionary(DictionaryArray<Int32Type>);

impl Dictionary {
    fn of(texts: &ArrayRef) -> Result<Self, ArrowError> {
        let data_type = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        Ok(Self(cast(texts, &data_type)?.as_dictionary().clone()))
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn values(&self) -> &StringArray {
        self.0.values().as_string()
    }

    /// The number of a row's text; `None` where it is absent.
    fn code(&self, row: usize) -> Option<usize> {
        self.0.key(row).filter(|code| self.0.values().is_valid(*code))
    }
}

/// Which rows have the tag.
fn tagged(rows: &RecordBatch, tag: &str) -> BooleanArray {
    let lists = column(rows, "tags").as_list::<i32>();
    lists.iter().map(|tags| Some(tags.is_some_and(|tags| texts(&tags).any(|text| text == Some(tag))))).collect()
}

/// Each row once for each of its different tags, and once for none when it has none.
fn by_tag(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let (mut sources, mut tags) = (Vec::new(), Vec::new());
    for (row, list) in (0_u32..).zip(column(rows, "tags").as_list::<i32>().iter()) {
        let mut own: Vec<Option<String>> =
            list.iter().flat_map(|list| texts(list).map(|text| text.map(str::to_owned)).collect::<Vec<_>>()).collect();
        own.sort_unstable();
        own.dedup();
        if own.is_empty() {
            own.push(None);
        }
        sources.extend(std::iter::repeat_n(row, own.len()));
        tags.append(&mut own);
    }
    let rows = take_record_batch(rows, &UInt32Array::from(sources))?;
    let fields = rows.schema_ref().fields().iter().cloned().chain([Field::new(TAG, DataType::Utf8, true).into()]).collect::<Vec<_>>();
    let columns = rows.columns().iter().cloned().chain([Arc::new(StringArray::from(tags)) as ArrayRef]).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// The elements of a list; a scan reads only whole columns of text as dictionaries.
fn texts(list: &ArrayRef) -> impl Iterator<Item = Option<&str>> {
    list.as_string::<i32>().iter()
}
