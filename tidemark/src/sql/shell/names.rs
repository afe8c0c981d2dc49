//! The names that a statement may use: those that the server has, and the words of SQL.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::timeout;

use crate::sql::server::{Server, new_query_id};

/// How long somebody who presses Tab waits for the names.
const PATIENCE: Duration = Duration::from_secs(2);
const QUESTION: &str = "\
SELECT 'table' AS kind, table_name AS name FROM information_schema.tables WHERE table_schema = 'public'
UNION SELECT 'column', column_name FROM information_schema.columns WHERE table_schema = 'public'
UNION SELECT 'function', routine_name FROM information_schema.routines";

/// The words of the statements that are possible.
pub(super) const KEYWORDS: [&str; 74] = [
    "ALL",
    "ANALYZE",
    "AND",
    "ANY",
    "ARRAY",
    "AS",
    "ASC",
    "BETWEEN",
    "BIGINT",
    "BOOLEAN",
    "BY",
    "CASE",
    "CAST",
    "COLUMNS",
    "CROSS",
    "CURRENT_DATE",
    "CURRENT_TIMESTAMP",
    "DATE",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "DOUBLE",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "EXTRACT",
    "FALSE",
    "FILTER",
    "FIRST",
    "FROM",
    "FULL",
    "FUNCTIONS",
    "GROUP",
    "HAVING",
    "ILIKE",
    "IN",
    "INNER",
    "INTERSECT",
    "INTERVAL",
    "IS",
    "JOIN",
    "LAST",
    "LEFT",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "NULLS",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "RECURSIVE",
    "RIGHT",
    "ROWS",
    "SELECT",
    "SHOW",
    "TABLES",
    "THEN",
    "TIMESTAMP",
    "TRUE",
    "UNION",
    "UNNEST",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
];

/// What the server has.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Tables and views.
    pub(super) tables: Vec<String>,
    /// Columns of all tables.
    pub(super) columns: Vec<String>,
    /// Functions of every kind.
    pub(super) functions: Vec<String>,
}

#[derive(Deserialize)]
struct Row {
    kind: Kind,
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Table,
    Column,
    Function,
}

impl Names {
    /// Asks the server; `None` when it does not answer soon, because nobody who types is helped by an error.
    pub(super) async fn load(server: &Server) -> Option<Self> {
        let asked = async { server.ask(QUESTION, "jsonl", &new_query_id()).await?.text().await };
        let text = timeout(PATIENCE, asked).await.ok()?.ok()?;
        text.lines().map(serde_json::from_str::<Row>).collect::<Result<Self, _>>().ok()
    }
}

impl FromIterator<Row> for Names {
    fn from_iter<I: IntoIterator<Item = Row>>(rows: I) -> Self {
        let mut names = Self::default();
        for Row { kind, name } in rows {
            match kind {
                Kind::Table => names.tables.push(name),
                Kind::Column => names.columns.push(name),
                Kind::Function => names.functions.push(name),
            }
        }
        names
    }
}
