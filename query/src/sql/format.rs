//! In which form the rows leave: by `format`, else by `Accept`, else a table of text for people.

use axum::http::{HeaderMap, header::ACCEPT};

use crate::params::{BadParameter, not_one_of};

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// An array of objects.
    Json,
    /// An object on each line.
    JsonLines,
    /// With a header line; lists and structs as JSON text.
    Csv,
    /// CSV with tabs.
    Tsv,
    /// A table of text.
    Pretty,
    /// An Arrow IPC stream.
    Arrow,
    /// A Parquet file.
    Parquet,
}

impl Format {
    pub(crate) const NAMES: [(&'static str, Self); 7] = [
        ("json", Self::Json),
        ("jsonl", Self::JsonLines),
        ("csv", Self::Csv),
        ("tsv", Self::Tsv),
        ("pretty", Self::Pretty),
        ("arrow", Self::Arrow),
        ("parquet", Self::Parquet),
    ];

    /// Media types as clients write them; the first of a format is the one that its answers have.
    const MEDIA_TYPES: [(&'static str, Self); 13] = [
        ("application/json", Self::Json),
        ("application/x-ndjson", Self::JsonLines),
        ("text/csv", Self::Csv),
        ("text/tab-separated-values", Self::Tsv),
        ("text/plain", Self::Pretty),
        ("application/vnd.apache.arrow.stream", Self::Arrow),
        ("application/vnd.apache.parquet", Self::Parquet),
        ("application/ndjson", Self::JsonLines),
        ("application/jsonl", Self::JsonLines),
        ("application/*", Self::Json),
        ("text/*", Self::Pretty),
        ("text/html", Self::Pretty),
        ("*/*", Self::Pretty),
    ];

    /// Reads a name.
    pub(super) fn named(text: &str) -> Result<Self, BadParameter> {
        let known = Self::NAMES.iter().find(|(name, _)| *name == text).map(|(_, format)| *format);
        known.ok_or_else(|| not_one_of("format", text, &Self::NAMES.map(|(name, _)| name)))
    }

    /// What the client accepts, the most wanted first; [`Format::Pretty`] when it does not say, as curl does not.
    pub(super) fn accepted(headers: &HeaderMap) -> Result<Self, BadParameter> {
        let Some(accept) = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).filter(|accept| !accept.trim().is_empty()) else {
            return Ok(Self::Pretty);
        };
        let mut wanted: Vec<(f32, Self)> = accept.split(',').filter_map(wanted).collect();
        wanted.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let best = wanted.first().map(|(_, format)| *format);
        best.ok_or_else(|| {
            let types: Vec<&str> = Self::MEDIA_TYPES[..7].iter().map(|(media_type, _)| *media_type).collect();
            BadParameter::new(
                "Accept",
                format!("`{accept}` names no form that there is; it is one of {}, or use `format=`", types.join(", ")),
            )
        })
    }

    /// The `Content-Type` of an answer.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonLines => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Tsv => "text/tab-separated-values; charset=utf-8; header=present",
            Self::Pretty => "text/plain; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// Whether rows can be sent while later ones are computed. The others are one document and need all rows first.
    pub(super) const fn is_stream(self) -> bool {
        matches!(self, Self::JsonLines | Self::Csv | Self::Tsv | Self::Arrow)
    }

    /// Whether columns are told apart by name alone.
    pub(super) const fn needs_distinct_names(self) -> bool {
        matches!(self, Self::Json | Self::JsonLines | Self::Parquet)
    }
}

/// One part of an `Accept` header: how much it is wanted, and the format, if there is one and it is wanted at all.
fn wanted(part: &str) -> Option<(f32, Format)> {
    let mut pieces = part.split(';').map(str::trim);
    let media_type = pieces.next()?.to_ascii_lowercase();
    let quality = pieces.find_map(|piece| piece.strip_prefix("q=")).map_or(Some(1.0), |quality| quality.parse().ok())?;
    let format = Format::MEDIA_TYPES.iter().find(|(known, _)| *known == media_type).map(|(_, format)| *format)?;
    (quality > 0.0).then_some((quality, format))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn accepted(accept: &'static str) -> Result<Format, BadParameter> {
        Format::accepted(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]))
    }

    #[test]
    fn a_client_that_does_not_say_gets_text_for_people() {
        assert_eq!(Format::accepted(&HeaderMap::new()), Ok(Format::Pretty));
        assert_eq!(accepted("*/*"), Ok(Format::Pretty), "curl");
        assert_eq!(accepted("text/html,application/xhtml+xml,*/*;q=0.8"), Ok(Format::Pretty), "a browser");
    }

    #[test]
    fn the_most_wanted_form_that_there_is_wins() {
        assert_eq!(accepted("application/json, text/plain, */*"), Ok(Format::Json));
        assert_eq!(accepted("text/csv;q=0.5, application/vnd.apache.arrow.stream"), Ok(Format::Arrow));
        assert_eq!(accepted("image/png, text/csv;q=0.1"), Ok(Format::Csv));
    }

    #[test]
    fn what_there_is_not_is_refused_with_the_list() {
        assert!(accepted("image/png").unwrap_err().message.contains("text/csv"));
        assert!(accepted("text/csv;q=0").is_err());
        assert!(Format::named("jsn").unwrap_err().message.contains("did you mean `json`?"));
    }
}
