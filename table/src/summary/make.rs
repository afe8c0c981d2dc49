//! Rows become cells: the finest level from the rows, the others by uniting its cells.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arrow::{
    array::{Array, AsArray, PrimitiveArray, RecordBatch, StringArray},
    datatypes::TimestampMicrosecondType,
};
use foldhash::fast::RandomState;

use super::{Cell, Level, Place, Span, Users, UsersUnion};

/// A level may have so many cells in any file ...
const FEW_CELLS: usize = 256;
/// ... and more only when each stands for so many rows: a summary that is as large as the rows saves nothing ...
const ROWS_PER_CELL: usize = 16;
/// ... but never more than these, which are in memory while a file is written.
const MOST_CELLS: usize = 64 * 1024;

/// So many rows are taken at a time, then the cells are counted.
const STEP_ROWS: usize = 8 * 1024;

const FINEST: Level = Level::HourEventChannel;

/// A [`Place`] whose texts are elsewhere.
type Key<'a> = (i64, Option<&'a str>, Option<&'a str>);

/// Makes the summary of a file while its rows pass.
pub(crate) struct Maker {
    /// The finest level, or what is left when that has too many cells. None when the rows are about something else.
    levels: Vec<Counted>,
    most_cells: usize,
}

impl Maker {
    /// For a file of about `rows` rows.
    pub(crate) fn new(rows: u64) -> Self {
        let fitting = usize::try_from(rows).unwrap_or(usize::MAX) / ROWS_PER_CELL;
        Self { levels: vec![Counted::new(FINEST)], most_cells: fitting.clamp(FEW_CELLS, MOST_CELLS) }
    }

    /// Takes the next rows.
    pub(crate) fn push(&mut self, rows: &RecordBatch) {
        for from in (0..rows.num_rows()).step_by(STEP_ROWS) {
            self.step(&rows.slice(from, STEP_ROWS.min(rows.num_rows() - from)));
        }
    }

    fn step(&mut self, rows: &RecordBatch) {
        let Some(columns) = Columns::of(rows) else { return self.levels.clear() };
        self.levels.iter_mut().for_each(|level| level.push(&columns));
        if self.levels.iter().any(|level| level.cells.len() > self.most_cells) {
            self.coarsen();
        }
    }

    /// Leaves out what has too many cells. When that is the finest level, the others are counted each for itself from here on.
    fn coarsen(&mut self) {
        if let [finest] = &*self.levels
            && finest.level == FINEST
        {
            let cells = finest.to_cells();
            self.levels = coarser(&cells).into_iter().map(|(level, cells)| Counted::of(level, cells)).collect();
        }
        self.levels.retain(|level| level.cells.len() <= self.most_cells);
    }

    /// The levels, coarsest first; none when the rows lack the columns that a summary is about.
    pub(crate) fn finish(self) -> Vec<(Level, Vec<Cell>)> {
        let mut levels: Vec<(Level, Vec<Cell>)> = self.levels.iter().map(|level| (level.level, level.to_cells())).collect();
        if let [(FINEST, cells)] = &*levels {
            let coarser = coarser(cells);
            levels.splice(..0, coarser);
        }
        levels
    }
}

/// One level so far.
struct Counted {
    level: Level,
    numbers: HashMap<Place, usize>,
    cells: Vec<(u64, Users)>,
}

impl Counted {
    fn new(level: Level) -> Self {
        Self { level, numbers: HashMap::new(), cells: Vec::new() }
    }

    fn of(level: Level, cells: Vec<Cell>) -> Self {
        let mut counted = Self::new(level);
        for Cell { place, events, users } in cells {
            counted.numbers.insert(place, counted.cells.len());
            counted.cells.push((events, users));
        }
        counted
    }

    fn push(&mut self, rows: &Columns<'_>) {
        let mut known: HashMap<Key<'_>, usize, RandomState> = HashMap::default();
        for row in 0..rows.times.len() {
            let key = rows.key(row, self.level);
            let number = *known.entry(key).or_insert_with(|| self.number(key));
            let (events, users) = &mut self.cells[number];
            *events += 1;
            if rows.users.is_valid(row) {
                users.add(rows.users.value(row));
            }
        }
    }

    fn number(&mut self, key: Key<'_>) -> usize {
        *self.numbers.entry(Place::of(key)).or_insert_with(|| {
            self.cells.push((0, Users::new()));
            self.cells.len() - 1
        })
    }

    /// In the order of their places.
    fn to_cells(&self) -> Vec<Cell> {
        let mut places: Vec<(&Place, usize)> = self.numbers.iter().map(|(place, number)| (place, *number)).collect();
        places.sort_unstable();
        let cell = |(place, number): (&Place, usize)| {
            let (events, users) = &self.cells[number];
            Cell { place: place.clone(), events: *events, users: users.united() }
        };
        places.into_iter().map(cell).collect()
    }
}

impl Place {
    fn of((start_us, event_name, channel): Key<'_>) -> Self {
        Self { start_us, event_name: event_name.map(Arc::from), channel: channel.map(Arc::from) }
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
        let start_us = level.span().start_of(self.times.value(row));
        let event_name = level.has_event_name().then(|| self.event_names.value(row));
        let channel = (level.has_channel() && self.channels.is_valid(row)).then(|| self.channels.value(row));
        (start_us, event_name, channel)
    }
}

/// All levels but the finest, coarsest first. Each is united from one that is little finer than itself: there are fewer cells.
fn coarser(finest: &[Cell]) -> Vec<(Level, Vec<Cell>)> {
    let mut by_hour = vec![(Level::HourChannel, united(finest, Level::HourChannel)), (Level::HourEvent, united(finest, Level::HourEvent))];
    by_hour.insert(0, (Level::Hour, united(&by_hour[0].1, Level::Hour)));
    let of_hours = by_hour.iter().map(|(level, cells)| (level, &**cells)).chain([(&FINEST, finest)]);
    let by_day = of_hours.map(|(level, cells)| {
        let level = Level::of(Span::Day, level.has_event_name(), level.has_channel());
        (level, united(cells, level))
    });
    let mut levels: Vec<_> = by_day.collect();
    levels.append(&mut by_hour);
    levels.sort_unstable_by_key(|(level, _)| *level);
    levels
}

/// The cells of a coarser level.
fn united(cells: &[Cell], level: Level) -> Vec<Cell> {
    let mut unions: BTreeMap<Key<'_>, (u64, UsersUnion)> = BTreeMap::new();
    for Cell { place, events: more, users: others } in cells {
        let event_name = place.event_name.as_deref().filter(|_| level.has_event_name());
        let channel = place.channel.as_deref().filter(|_| level.has_channel());
        let (events, users) = unions.entry((level.span().start_of(place.start_us), event_name, channel)).or_default();
        *events += more;
        users.add(others);
    }
    unions.into_iter().map(|(key, (events, users))| Cell { place: Place::of(key), events, users: users.to_users() }).collect()
}
