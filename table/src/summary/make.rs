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
/// ... and more only when each stands for so many rows: a summary that is as large as the rows saves nothing ...
const ROWS_PER_CELL: usize = 16;
/// ... but never more than these, which are in memory while a file is written.
const MOST_CELLS: usize = 64 * 1024;

/// So many rows are taken at a time, then the cells are counted.
const STEP_ROWS: usize = 8 * 1024;

const FINEST: Level = Level::HourEventChannel;

/// Hour, event name, channel.
type Key<'a> = (i64, Option<&'a str>, Option<&'a str>);
type OwnedKey = (i64, Option<Arc<str>>, Option<Arc<str>>);

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
            let coarser = Level::ALL.into_iter().filter(|level| *level != FINEST);
            self.levels = coarser.map(|level| Counted::of(level, united(&cells, level))).collect();
        }
        self.levels.retain(|level| level.cells.len() <= self.most_cells);
    }

    /// The levels, coarsest first; none when the rows lack the columns that a summary is about.
    pub(crate) fn finish(self) -> Vec<(Level, Vec<Cell>)> {
        let levels: Vec<(Level, Vec<Cell>)> = self.levels.iter().map(|level| (level.level, level.to_cells())).collect();
        match &*levels {
            [(FINEST, cells)] => {
                let level = |level| if level == FINEST { (level, cells.clone()) } else { (level, united(cells, level)) };
                Level::ALL.map(level).to_vec()
            }
            _ => levels,
        }
    }
}

/// One level so far.
struct Counted {
    level: Level,
    places: HashMap<OwnedKey, usize>,
    cells: Vec<(u64, Users)>,
}

impl Counted {
    fn new(level: Level) -> Self {
        Self { level, places: HashMap::new(), cells: Vec::new() }
    }

    fn of(level: Level, cells: Vec<Cell>) -> Self {
        let mut counted = Self::new(level);
        for Cell { start_us, event_name, channel, events, users } in cells {
            counted.places.insert((start_us / US_PER_HOUR, event_name, channel), counted.cells.len());
            counted.cells.push((events, users));
        }
        counted
    }

    fn push(&mut self, rows: &Columns<'_>) {
        let mut known: HashMap<Key<'_>, usize> = HashMap::new();
        for row in 0..rows.times.len() {
            let key = rows.key(row, self.level);
            let place = *known.entry(key).or_insert_with(|| self.place(key));
            let (events, users) = &mut self.cells[place];
            *events += 1;
            if rows.users.is_valid(row) {
                users.add(rows.users.value(row));
            }
        }
    }

    fn place(&mut self, (hour, event_name, channel): Key<'_>) -> usize {
        *self.places.entry((hour, event_name.map(Arc::from), channel.map(Arc::from))).or_insert_with(|| {
            self.cells.push((0, Users::new()));
            self.cells.len() - 1
        })
    }

    /// In the order of their keys.
    fn to_cells(&self) -> Vec<Cell> {
        let mut places: Vec<(&OwnedKey, usize)> = self.places.iter().map(|(key, place)| (key, *place)).collect();
        places.sort_unstable();
        let cell = |((hour, event_name, channel), place): (&OwnedKey, usize)| {
            let (events, users) = self.cells[place].clone();
            Cell { start_us: hour * US_PER_HOUR, event_name: event_name.clone(), channel: channel.clone(), events, users }
        };
        places.into_iter().map(cell).collect()
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
    let cell = |((hour, event_name, channel), (events, users)): (Key<'_>, (u64, UsersUnion))| Cell {
        start_us: hour * US_PER_HOUR,
        event_name: event_name.map(Arc::from),
        channel: channel.map(Arc::from),
        events,
        users: users.to_users(),
    };
    unions.into_iter().map(cell).collect()
}
