//! How deep a statement nests, before anything walks through it.
//!
//! The parser turns `a OR b OR c ...` into a tree as deep as the chain is long, and much of what works on such trees is
//! recursive. A statement beyond these bounds is refused; one within them fits on the stack of a query's thread
//! ([`crate::engine`]) many times over.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Query, Select, Statement, Visit, Visitor};

use super::BadStatement;

/// How deep expressions and subqueries may nest.
const MAX_DEPTH: usize = 500;
/// How many SELECTs a statement may have; the branches of a UNION nest like an expression.
const MAX_SELECTS: usize = 500;

/// Refuses a statement that is too deep or too wide.
pub(super) fn check(statement: &Statement) -> Result<(), BadStatement> {
    match statement.visit(&mut Depth::default()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

#[derive(Default)]
struct Depth {
    depth: usize,
    selects: usize,
}

impl Depth {
    fn enter(&mut self) -> ControlFlow<BadStatement> {
        self.depth += 1;
        if self.depth <= MAX_DEPTH {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(BadStatement::too_complex(
            &format!("the statement is nested too deeply: more than {MAX_DEPTH} levels"),
            "write a long chain of `a = x OR a = y` as `a IN (x, y)`",
        ))
    }

    fn leave(&mut self) -> ControlFlow<BadStatement> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

impl Visitor for Depth {
    type Break = BadStatement;

    fn pre_visit_expr(&mut self, _expr: &Expr) -> ControlFlow<BadStatement> {
        self.enter()
    }

    fn post_visit_expr(&mut self, _expr: &Expr) -> ControlFlow<BadStatement> {
        self.leave()
    }

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<BadStatement> {
        self.enter()
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<BadStatement> {
        self.leave()
    }

    fn pre_visit_select(&mut self, _select: &Select) -> ControlFlow<BadStatement> {
        self.selects += 1;
        if self.selects <= MAX_SELECTS {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(BadStatement::too_complex(
            &format!("the statement has more than {MAX_SELECTS} SELECTs"),
            "select from VALUES instead",
        ))
    }
}
