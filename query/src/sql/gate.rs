//! One read-only statement, or none (INVARIANTS I7).
//!
//! Two gates: this one knows the statements that may pass by their kind and refuses every other; [`read_only`] is applied by
//! [`super::plan`] to the plan that comes out, in case a statement of an allowed kind hides one that writes.

use std::collections::VecDeque;

use datafusion::{
    execution::context::SQLOptions,
    sql::{
        parser::{DFParserBuilder, Statement},
        sqlparser::{ast::Statement as SqlStatement, dialect::PostgreSqlDialect},
    },
};

use super::{
    depth, expansion,
    fault::{self, BadStatement},
};

/// How deep brackets may nest while the text is parsed.
const MAX_BRACKETS: usize = 50;

/// What a plan may do: read.
pub(super) fn read_only() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}

/// The one statement of a text, if it only reads. The grammar is PostgreSQL's, in which `->>` binds closer than `=`.
///
/// # Errors
/// Broken SQL, no statement or several, or one that does more than read.
pub(super) fn parse(sql: &str) -> Result<Statement, BadStatement> {
    let parser = DFParserBuilder::new(sql).with_dialect(&PostgreSqlDialect {}).with_recursion_limit(MAX_BRACKETS).build();
    let statements = parser.and_then(|mut parser| parser.parse_statements());
    let mut statements: VecDeque<Statement> = statements.map_err(|error| fault::of_text(sql, &error))?;
    match (statements.pop_front(), statements.len()) {
        (None, _) => Err(BadStatement::request("there is no statement")),
        (Some(statement), 0) if reads(&statement) => within_depth(statement),
        (Some(statement), 0) => Err(BadStatement::read_only(&statement.to_string())),
        (Some(_), others) => Err(BadStatement::request(&format!("one statement at a time; there are {}", others + 1))),
    }
}

fn within_depth(statement: Statement) -> Result<Statement, BadStatement> {
    let mut inner = &statement;
    while let Statement::Explain(explain) = inner {
        inner = &explain.statement;
    }
    match inner {
        Statement::Statement(statement) => {
            depth::check(statement)?;
            expansion::check(statement)?;
        }
        _ => return Err(BadStatement::read_only(&statement.to_string())),
    }
    Ok(statement)
}

fn reads(statement: &Statement) -> bool {
    match statement {
        Statement::Statement(statement) => sql_reads(statement),
        Statement::Explain(explain) => reads(&explain.statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => false,
    }
}

fn sql_reads(statement: &SqlStatement) -> bool {
    match statement {
        SqlStatement::Explain { statement, .. } => sql_reads(statement),
        SqlStatement::Query(_)
        | SqlStatement::ExplainTable { .. }
        | SqlStatement::ShowTables { .. }
        | SqlStatement::ShowColumns { .. }
        | SqlStatement::ShowFunctions { .. }
        | SqlStatement::ShowVariable { .. } => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_passes() {
        let statements = [
            "SELECT 1",
            "select 1;",
            "WITH a AS (SELECT 1) SELECT * FROM a",
            "VALUES (1)",
            "EXPLAIN SELECT 1",
            "EXPLAIN ANALYZE VERBOSE SELECT 1",
            "SHOW TABLES",
            "SHOW COLUMNS FROM events",
            "SHOW FUNCTIONS",
            "SHOW datafusion.execution.batch_size",
            "DESCRIBE events",
            "-- a comment\nSELECT 1",
        ];
        for sql in statements {
            assert!(parse(sql).is_ok(), "{sql}: {}", parse(sql).unwrap_err());
        }
    }

    #[test]
    fn everything_else_is_refused_and_told_what_is_possible() {
        let statements = [
            "INSERT INTO events VALUES (1)",
            "UPDATE events SET path = ''",
            "DELETE FROM events",
            "CREATE TABLE t AS SELECT 1",
            "CREATE VIEW v AS SELECT 1",
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
            "COPY events TO '/tmp/x.csv'",
            "DROP TABLE events",
            "SET datafusion.execution.batch_size = 1",
            "RESET datafusion.execution.batch_size",
            "PREPARE p AS SELECT 1",
            "EXECUTE p",
            "BEGIN",
            "TRUNCATE TABLE events",
            "EXPLAIN INSERT INTO events VALUES (1)",
            "ATTACH 'x'",
            "VACUUM",
            "USE other",
            "CREATE FUNCTION f() RETURNS INT RETURN 1",
        ];
        for sql in statements {
            let message = parse(sql).expect_err(sql).to_string();
            assert!(message.contains("SELECT, WITH, EXPLAIN, SHOW or DESCRIBE"), "{sql}: {message}");
        }
    }

    #[test]
    fn one_statement_at_a_time() {
        assert!(parse("SELECT 1; SELECT 2").unwrap_err().to_string().contains("there are 2"));
        assert!(parse(" ; -- nothing").unwrap_err().to_string().contains("no statement"));
    }

    #[test]
    fn a_syntax_error_has_its_place() {
        let error = parse("SELECT 1\nFROM events GROUP WHERE").unwrap_err();
        assert_eq!(error.place, Some((2, 13)), "{error}");
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
        assert!(parse(&deep).unwrap_err().to_string().contains("nested too deeply"));
        let chain = |terms: usize| parse(&format!("SELECT 1{}", "+1".repeat(terms)));
        assert!(chain(400).is_ok());
        assert!(chain(600).unwrap_err().to_string().contains("more than 500 levels"));
        let doubling = |lines: usize| {
            let line = |at: usize| format!(", c{} AS (SELECT a.x FROM c{at} a, C{at} b)", at + 1);
            format!("WITH c0 AS (SELECT 1 AS x){} SELECT * FROM c{lines}", (0..lines).map(line).collect::<String>())
        };
        assert!(parse(&doubling(5)).is_ok());
        assert!(parse(&doubling(30)).unwrap_err().to_string().contains("more than 1000 tables"));
        assert!(parse("WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n WHERE x < 9) SELECT * FROM n, n m").is_ok());
        let union = format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(600));
        assert!(parse(&union).unwrap_err().to_string().contains("more than 500 SELECTs"));
    }
}
