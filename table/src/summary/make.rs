//! Rows become cells: the finest level from the rows, the others by uniting its cells.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arrow::{
    array::{Array, AsArray, PrimitiveArray, RecordBatch, StringArray},
    datatypes::TimestampMicrosecondType,
};

use super::{Cell, Level, US_PER_HOUR, Users, UsersUnion};

/// A level may have so many cells in any file ...
const FEW_CELLS: usize = 256;
/// ... and more only when each stands for so many rows: a summary that is as large as the rows saves nothing.
const ROWS_PER_CELL: usize = 16;

/// Hour, event name, channel.
type Key<'a> = (i64, Option<&'a str>, Option<&'a str>);

/// The levels of a summary; none when the rows lack the columns that one is about.
pub(crate) fn levels(rows: &[RecordBatch]) -> Vec<(Level, Vec<Cell>)> {
    let Some(columns) = rows.iter().map(Columns::of).collect::<Option<Vec<_>>>() else { return Vec::new() };
    let finest = Level::HourEventChannel;
    match from_rows(&columns, finest) {
        Some(cells) => {
            Level::ALL.map(|level| if level == finest { (level, cells.clone()) } else { (level, united(&cells, level)) }).to_vec()
        }
        None => Level::ALL.into_iter().filter_map(|level| Some((level, from_rows(&columns, level)?))).collect(),
    }
}

/// What a summary is about.
struct Columns<'a> {
    times: &'a PrimitiveArray<TimestampMicrosecondType>,
    event_names: &'a StringArray,
    channels: &'a StringArray,
    users: &'a StringArray,
}

impl<'a> Columns<'a> {
    fn of(rows: &'a RecordBatch) -> Option<Self> {
        let text = |name| rows.column_by_name(name)?.as_string_opt();
        let times = rows.column_by_name("timestamp")?.as_primitive_opt()?;
        Some(Self { times, event_names: text("event_name")?, channels: text("channel")?, users: text("user_id")? })
    }

    fn key(&self, row: usize, level: Level) -> Key<'a> {
        let hour = self.times.value(row).div_euclid(US_PER_HOUR);
        let event_name = level.has_event_name().then(|| self.event_names.value(row));
        let channel = (level.has_channel() && self.channels.is_valid(row)).then(|| self.channels.value(row));
        (hour, event_name, channel)
    }
}

/// The cells of a level in the order of their keys, or nothing when they are too many.
fn from_rows(rows: &[Columns<'_>], level: Level) -> Option<Vec<Cell>> {
    let count: usize = rows.iter().map(|rows| rows.times.len()).sum();
    let most = FEW_CELLS.max(count / ROWS_PER_CELL);
    let mut places: HashMap<Key<'_>, usize> = HashMap::new();
    let mut counts: Vec<(u64, Users)> = Vec::new();
    for rows in rows {
        for row in 0..rows.times.len() {
            let place = *places.entry(rows.key(row, level)).or_insert_with(|| {
                counts.push((0, Users::new()));
                counts.len() - 1
            });
            if counts.len() > most {
                return None;
            }
            let (events, users) = &mut counts[place];
            *events += 1;
            if rows.users.is_valid(row) {
                users.add(rows.users.value(row));
            }
        }
    }
    let mut cells: Vec<_> = places.into_iter().map(|(key, place)| (key, std::mem::take(&mut counts[place]))).collect();
    cells.sort_unstable_by_key(|(key, _)| *key);
    Some(cells.into_iter().map(|((hour, event_name, channel), counted)| cell(hour, event_name, channel, counted)).collect())
}

/// The cells of a coarser level.
fn united(cells: &[Cell], level: Level) -> Vec<Cell> {
    let mut unions: BTreeMap<Key<'_>, (u64, UsersUnion)> = BTreeMap::new();
    for cell in cells {
        let event_name = cell.event_name.as_deref().filter(|_| level.has_event_name());
        let channel = cell.channel.as_deref().filter(|_| level.has_channel());
        let (events, users) = unions.entry((cell.start_us / US_PER_HOUR, event_name, channel)).or_default();
        *events += cell.events;
        users.add(&cell.users);
    }
    let counted = unions.into_iter();
    counted.map(|((hour, event_name, channel), (events, users))| cell(hour, event_name, channel, (events, users.to_users()))).collect()
}

fn cell(hour: i64, event_name: Option<&str>, channel: Option<&str>, (events, users): (u64, Users)) -> Cell {
    Cell { start_us: hour * US_PER_HOUR, event_name: event_name.map(Arc::from), channel: channel.map(Arc::from), events, users }
}
