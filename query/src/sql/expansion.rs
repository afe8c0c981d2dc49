//! How many tables a statement reads once its CTEs stand where they are named, before anything expands them.
//!
//! A plan has a copy of a CTE at each of its names, so `b AS (SELECT * FROM a, a), c AS (SELECT * FROM b, b), ...` doubles with each
//! line: thirty lines are a billion tables. The count may be too high (a name that two CTEs share counts as both), never too low.

use std::{collections::HashMap, ops::ControlFlow};

use datafusion::sql::sqlparser::ast::{ObjectName, Query, Statement, Visit, Visitor};

use super::BadStatement;

/// Most tables of an expanded statement.
const MAX_TABLES: u64 = 1_000;

/// Refuses a statement that expands to more than anybody writes by hand.
pub(super) fn check(statement: &Statement) -> Result<(), BadStatement> {
    let mut names = Names::default();
    let _ = statement.visit(&mut names);
    let mut tables = Tables { definitions: names.definitions, known: HashMap::new() };
    if tables.of_all(&names.relations) <= MAX_TABLES {
        return Ok(());
    }
    Err(BadStatement::too_complex(
        &format!("the statement reads more than {MAX_TABLES} tables when its CTEs are expanded"),
        "name each CTE fewer times",
    ))
}

/// The relations that are named somewhere, and those that each CTE names.
#[derive(Default)]
struct Names {
    relations: Vec<String>,
    definitions: HashMap<String, Vec<String>>,
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let mut inner = Self::default();
            let _ = cte.query.visit(&mut inner);
            self.definitions.entry(cte.alias.name.value.to_lowercase()).or_default().extend(inner.relations);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        self.relations.extend(relation.0.last().map(|name| name.to_string().trim_matches('"').to_lowercase()));
        ControlFlow::Continue(())
    }
}

/// The number of tables behind each name.
struct Tables {
    definitions: HashMap<String, Vec<String>>,
    /// What was counted already; one that is being counted is one table, as a recursive CTE reads what it found so far.
    known: HashMap<String, u64>,
}

impl Tables {
    fn of_all(&mut self, names: &[String]) -> u64 {
        names.iter().fold(0, |sum, name| sum.saturating_add(self.of(name)))
    }

    fn of(&mut self, name: &str) -> u64 {
        if let Some(tables) = self.known.get(name) {
            return *tables;
        }
        let Some(relations) = self.definitions.get(name).cloned() else { return 1 };
        self.known.insert(name.to_owned(), 1);
        let tables = self.of_all(&relations).max(1);
        self.known.insert(name.to_owned(), tables);
        tables
    }
}
