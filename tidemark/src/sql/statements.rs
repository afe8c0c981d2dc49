//! Where statements end: at each `;` outside of texts, quoted names and comments, as the SQL reader of the server sees them.

use sqlparser::{
    dialect::PostgreSqlDialect,
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer},
};

/// The statements of a text; those of white space and comments alone are left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Statements<'a> {
    /// Those that end with `;`, without it.
    pub(super) complete: Vec<&'a str>,
    /// What comes after the last `;`.
    pub(super) rest: Option<&'a str>,
}

/// Cuts a text into statements. What cannot be read, such as a text without its closing quote, belongs to the rest.
pub(super) fn split(text: &str) -> Statements<'_> {
    let (tokens, is_whole) = tokens(text);
    let lines = line_starts(text);
    let (mut complete, mut from, mut is_blank) = (Vec::new(), 0, true);
    for TokenWithSpan { token, span } in tokens {
        match token {
            Token::SemiColon => {
                let end = offset(text, &lines, span.start);
                complete.extend((!is_blank).then(|| text[from..end].trim()));
                (from, is_blank) = (end + 1, true);
            }
            Token::Whitespace(_) => {}
            _ => is_blank = false,
        }
    }
    let has_rest = !is_blank || !is_whole;
    Statements { complete, rest: has_rest.then(|| text[from..].trim()) }
}

/// The tokens that can be read, and whether these are all.
pub(super) fn tokens(text: &str) -> (Vec<TokenWithSpan>, bool) {
    let mut tokens = Vec::new();
    let read = Tokenizer::new(&PostgreSqlDialect {}, text).with_unescape(false).tokenize_with_location_into_buf(&mut tokens);
    (tokens, read.is_ok())
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

/// The byte at a line and column, both from 1.
fn offset(text: &str, lines: &[usize], Location { line, column }: Location) -> usize {
    let at = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).saturating_sub(1);
    let start = lines.get(at(line)).copied().unwrap_or(text.len());
    text[start..].char_indices().nth(at(column)).map_or(text.len(), |(offset, _)| start + offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(text: &str) -> Option<&str> {
        let Statements { complete, rest } = split(text);
        assert!(complete.is_empty(), "{complete:?}");
        rest
    }

    #[test]
    fn a_text_is_cut_at_semicolons_and_line_breaks_stay() {
        let text = "SELECT 1;\n\nSELECT 'ü'\n FROM events ; -- the end\nSELECT 3";
        assert_eq!(split(text), Statements { complete: vec!["SELECT 1", "SELECT 'ü'\n FROM events"], rest: Some("-- the end\nSELECT 3") });
        assert_eq!(split("SELECT 'a', 'b'; SELECT 2;").complete, ["SELECT 'a', 'b'", "SELECT 2"]);
    }

    #[test]
    fn a_semicolon_in_a_text_a_name_or_a_comment_ends_nothing() {
        for text in [
            "SELECT ';'",
            "SELECT 'it''s;'",
            "SELECT \"a;b\"",
            "SELECT 1 -- ;",
            "SELECT /* ; /* ; */ */ 1",
            "SELECT $$;$$",
            "SELECT E'\\';'",
        ] {
            assert_eq!(rest(text), Some(text));
        }
    }

    #[test]
    fn white_space_and_comments_are_no_statement() {
        for text in ["", " \n", ";", " ; ;\n", "-- nothing", "/* ; */ ;"] {
            assert_eq!(rest(text), None, "{text}");
        }
        assert_eq!(split("SELECT 1; -- done\n"), Statements { complete: vec!["SELECT 1"], rest: None });
    }

    #[test]
    fn what_is_not_closed_is_not_complete() {
        for text in ["SELECT 'a;", "SELECT \"a;", "SELECT /* ;", "SELECT $$ ;"] {
            assert_eq!(rest(text), Some(text));
        }
        assert_eq!(split("SELECT 1; SELECT 'a;"), Statements { complete: vec!["SELECT 1"], rest: Some("SELECT 'a;") });
    }
}
