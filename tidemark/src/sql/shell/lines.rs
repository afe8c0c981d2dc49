//! Counts the rows of an answer in which each is a line, as its bytes go by.

/// Counts the ends of lines outside of quotes.
#[derive(Debug)]
pub(super) struct LineCounter {
    has_quotes: bool,
    is_quoted: bool,
    lines: u64,
}

impl LineCounter {
    /// For CSV and TSV, where a quoted value may hold ends of lines; a doubled quote closes and opens.
    pub(super) const fn with_quotes() -> Self {
        Self { has_quotes: true, is_quoted: false, lines: 0 }
    }

    /// For JSON lines, where values hold none.
    pub(super) const fn plain() -> Self {
        Self { has_quotes: false, is_quoted: false, lines: 0 }
    }

    /// Takes the next bytes.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'"' if self.has_quotes => self.is_quoted = !self.is_quoted,
                b'\n' if !self.is_quoted => self.lines += 1,
                _ => {}
            }
        }
    }

    /// The lines so far.
    pub(super) const fn lines(&self) -> u64 {
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_line_break_ends_no_row_wherever_the_bytes_are_cut() {
        let csv = "a,b\n\"x\ny\",\"say \"\"hi\n\"\"\"\n1,2\n".as_bytes();
        for cut in 0..csv.len() {
            let mut counter = LineCounter::with_quotes();
            counter.take(&csv[..cut]);
            counter.take(&csv[cut..]);
            assert_eq!(counter.lines(), 3, "cut at {cut}");
        }
        let mut counter = LineCounter::plain();
        counter.take(b"{\"a\":\"\\\"\"}\n{\"a\":\"\"\"}\n");
        assert_eq!(counter.lines(), 2);
    }
}
