//! What a client asks beside its events: `Prefer: handling=strict` and `?dry_run=true`; the answer says what was applied.

use axum::extract::{Query, Request};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use schemas::suggest::nearest;
use service::problem::Problem;

const PREFER: &str = "prefer";
const PREFERENCE_APPLIED: &str = "preference-applied";
const DRY_RUN: &str = "dry_run";
/// The header that says, also where the answer has no body, that nothing was stored.
const TIDEMARK_DRY_RUN: &str = "tidemark-dry-run";

/// What a request with good and bad events comes to (RFC 7240, section 4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handling {
    /// The good events are taken, the bad ones are listed.
    Lenient,
    /// All or nothing.
    Strict,
}

/// What a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    handling: Option<Handling>,
    /// Judge the events and answer as if, and store nothing.
    pub(super) is_dry_run: bool,
}

impl Options {
    /// Whether one bad event refuses the request.
    pub(super) fn is_strict(self) -> bool {
        self.handling == Some(Handling::Strict)
    }

    /// What the head of a request asks for.
    ///
    /// # Errors
    /// 400 for a parameter that may be meant as `dry_run` and is not.
    pub(super) fn of(request: &Request) -> Result<Self, Problem> {
        let is_dry_run = if request.uri().query().is_some() { is_dry_run(request.uri())? } else { false };
        Ok(Self { handling: handling(request.headers()), is_dry_run })
    }

    /// Tells in the answer what was applied.
    pub(super) fn tell(self, headers: &mut HeaderMap) {
        let applied = self.handling.map(|handling| match handling {
            Handling::Lenient => "handling=lenient",
            Handling::Strict => "handling=strict",
        });
        let dry_run = self.is_dry_run.then_some("true");
        for (name, value) in [(PREFERENCE_APPLIED, applied), (TIDEMARK_DRY_RUN, dry_run)] {
            headers.extend(value.map(|value| (http::HeaderName::from_static(name), HeaderValue::from_static(value))));
        }
    }
}

/// The first `handling` among the preferences.
fn handling(headers: &HeaderMap) -> Option<Handling> {
    let preferences = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    preferences.filter_map(|preference| preference.split(';').next()?.split_once('=')).find_map(|(name, value)| {
        let value = value.trim().trim_matches('"').to_ascii_lowercase();
        match (name.trim().to_ascii_lowercase().as_str(), value.as_str()) {
            ("handling", "strict") => Some(Handling::Strict),
            ("handling", "lenient") => Some(Handling::Lenient),
            _ => None,
        }
    })
}

/// A misspelt `dry_run` is refused, because its sender relies on nothing being stored.
fn is_dry_run(uri: &Uri) -> Result<bool, Problem> {
    let Query(parameters) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|rejection| Problem::new(StatusCode::BAD_REQUEST, "invalid_parameter", rejection.body_text()))?;
    let mut is_dry_run = false;
    for (name, value) in parameters.iter().filter(|(name, _)| nearest(name, [DRY_RUN]).is_some()) {
        is_dry_run = match (name.as_str(), value.as_str()) {
            (DRY_RUN, "true" | "1" | "") => true,
            (DRY_RUN, "false" | "0") => false,
            (DRY_RUN, _) => return Err(wrong(name, "`dry_run` is true or false")),
            _ => return Err(wrong(name, "there is no such parameter; did you mean `dry_run`?")),
        };
    }
    Ok(is_dry_run)
}

fn wrong(name: &str, reason: &str) -> Problem {
    let detail = format!("parameter `{}`: {reason}", name.escape_debug());
    Problem::new(StatusCode::BAD_REQUEST, "invalid_parameter", detail).with_extension("parameter", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferred(value: &'static str) -> Option<Handling> {
        handling(&HeaderMap::from_iter([(http::HeaderName::from_static(PREFER), HeaderValue::from_static(value))]))
    }

    #[test]
    fn the_first_preference_for_handling_counts() {
        for strict in ["handling=strict", "respond-async, Handling = \"STRICT\"; x=1", "handling=other, handling=strict, handling=lenient"]
        {
            assert_eq!(preferred(strict), Some(Handling::Strict), "{strict}");
        }
        assert_eq!(preferred("handling=lenient, handling=strict"), Some(Handling::Lenient));
        assert_eq!([preferred("return=minimal"), preferred("strict")], [None, None]);
    }

    #[test]
    fn a_dry_run_is_never_missed() {
        let asked = |query: &str| is_dry_run(&format!("/events?{query}").parse().unwrap()).map_err(|problem| problem.detail().to_owned());
        for yes in ["dry_run=true", "dry_run=1", "dry_run", "source=x&dry_run=true"] {
            assert_eq!(asked(yes), Ok(true), "{yes}");
        }
        for no in ["", "dry_run=false", "source=x"] {
            assert_eq!(asked(no), Ok(false), "{no}");
        }
        assert!(asked("dry_run=yes").unwrap_err().contains("true or false"));
        for misspelt in ["dryrun=true", "dry-run=true", "DRY_RUN=true"] {
            assert!(asked(misspelt).unwrap_err().contains("did you mean `dry_run`"), "{misspelt}");
        }
    }
}
