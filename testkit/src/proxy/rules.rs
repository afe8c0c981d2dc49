//! Which requests are played tricks on, and which trick.

use std::time::Duration;

/// A trick for some requests.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The method, or empty for any.
    pub method: &'static str,
    /// Parts that the path must have, all of them; none = any path.
    pub path: &'static [&'static str],
    /// Of so many requests that match, the last one is tricked: 1 = each.
    pub one_in: u32,
    /// After so many tricks the rule is used up.
    pub times: u32,
    /// What happens.
    pub outcome: Outcome,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is executed, and the connection ends before the reply.
    LoseReply,
    /// The client gets this status.
    Answer {
        /// A status of HTTP.
        status: u16,
        /// Whether the server executes the request first.
        is_executed: bool,
    },
    /// It is executed after so long.
    Delay(Duration),
    /// The whole link stalls, this request first, until [`Proxy::pass`](super::Proxy::pass).
    Stall,
}

#[derive(Debug, Default)]
pub(super) struct Rules(Vec<Active>);

#[derive(Debug)]
struct Active {
    rule: Rule,
    matches: u32,
    tricks: u32,
}

impl Rules {
    pub(super) fn add(&mut self, rule: Rule) {
        self.0.push(Active { rule, matches: 0, tricks: 0 });
    }

    /// What happens to this request; `None`: nothing special.
    pub(super) fn judge(&mut self, method: &str, path: &str) -> Option<Outcome> {
        self.0.iter_mut().find_map(|active| active.judge(method, path))
    }
}

impl Active {
    fn judge(&mut self, method: &str, path: &str) -> Option<Outcome> {
        let rule = &self.rule;
        let is_meant = (rule.method.is_empty() || rule.method == method) && rule.path.iter().all(|part| path.contains(part));
        if !is_meant || self.tricks == rule.times {
            return None;
        }
        self.matches += 1;
        if !self.matches.is_multiple_of(rule.one_in) {
            return None;
        }
        self.tricks += 1;
        Some(rule.outcome)
    }
}
