//! What was answered so far: counted, shown, and kept for an import that goes on.

use std::{path::Path, time::Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use super::{
    door::Answered,
    refusals::Refusals,
    resume::{Progress, Resume},
    source::Source,
};

/// Takes the answers in the order of the files.
pub(super) struct Ledger {
    names: Vec<String>,
    progress: Vec<Progress>,
    resume: Resume,
    refusals: Refusals,
    bar: ProgressBar,
    /// Bytes of the files before each.
    before: Vec<u64>,
    started: Instant,
    /// Answered by this import, and not by an earlier one.
    answered: u64,
}

impl Ledger {
    /// Nothing answered yet, or what an earlier import has written down.
    pub(super) fn open(sources: &[Source], resume: Option<&Path>, rejects: Option<&Path>) -> anyhow::Result<Self> {
        let (resume, progress, goes_on) = Resume::open(resume, sources)?;
        let sizes = sources.iter().map(|source| source.file.map_or(0, |file| file.bytes));
        let before = sizes.scan(0, |sum, bytes| Some(std::mem::replace(sum, *sum + bytes)));
        Ok(Self {
            names: sources.iter().map(|source| source.name.clone()).collect(),
            progress,
            resume,
            refusals: Refusals::open(rejects, goes_on)?,
            bar: bar(sources),
            before: before.collect(),
            started: Instant::now(),
            answered: 0,
        })
    }

    /// For each file: the last record that need not be sent; `None` when that is all of it.
    pub(super) fn acknowledged(&self) -> Vec<Option<u64>> {
        self.progress.iter().map(|progress| (!progress.is_complete).then_some(progress.acknowledged)).collect()
    }

    /// Writes an answer down.
    pub(super) fn add(&mut self, Answered { batch, accepted, refused }: Answered) -> anyhow::Result<()> {
        let name = &self.names[batch.file];
        for refusal in &refused {
            if let Some(line) = self.refusals.add(name, batch.unit, refusal)? {
                self.bar.suspend(|| eprintln!("{line}"));
            }
        }
        let progress = &mut self.progress[batch.file];
        progress.acknowledged = batch.last;
        progress.accepted += accepted;
        progress.refused += refused.len() as u64;
        progress.is_complete = batch.is_end;
        self.answered += accepted + refused.len() as u64;
        self.bar.set_position(self.before[batch.file] + batch.read_bytes);
        self.bar.set_message(format!("{} events", HumanCount(self.answered)));
        if self.resume.is_due() {
            self.refusals.flush()?;
        }
        self.resume.write_when_due(&self.progress)
    }

    /// Everything that was answered is on disk.
    pub(super) fn close(&mut self) -> anyhow::Result<()> {
        self.bar.finish_and_clear();
        if let Some(more) = self.refusals.more() {
            eprintln!("{more}");
        }
        self.refusals.flush()?;
        self.resume.write(&self.progress)
    }

    /// How many were refused, by earlier imports of these files too.
    pub(super) fn refused(&self) -> u64 {
        self.progress.iter().map(|progress| progress.refused).sum()
    }

    /// What to do after an import that did not come to its end.
    pub(super) fn interrupted(&self) -> String {
        let accepted: u64 = self.progress.iter().map(|progress| progress.accepted).sum();
        format!(
            "the import stopped after {} events were accepted and {} refused; import again: what is stored is not stored twice",
            HumanCount(accepted),
            HumanCount(self.refused())
        )
    }

    /// What came of it.
    pub(super) fn report(&self, is_dry_run: bool) -> String {
        let (files, seconds) = (self.names.len(), self.started.elapsed().as_secs_f64());
        let accepted: u64 = self.progress.iter().map(|progress| progress.accepted).sum();
        let all = accepted + self.refused();
        let earlier = all - self.answered;
        let mut report = format!(
            "{} events of {files} file{}: {} {}, {} refused; {seconds:.1} s, {:.0} a second",
            HumanCount(all),
            if files == 1 { "" } else { "s" },
            HumanCount(accepted),
            if is_dry_run { "would be accepted" } else { "accepted" },
            HumanCount(self.refused()),
            self.answered as f64 / seconds
        );
        if earlier > 0 {
            report.push_str(&format!(" ({} of them were answered before)", HumanCount(earlier)));
        }
        report
    }
}

/// Bytes of the files; without a length when standard input is among them.
fn bar(sources: &[Source]) -> ProgressBar {
    let all: Option<u64> = sources.iter().map(|source| source.file.map(|file| file.bytes)).sum();
    let template = match all {
        Some(_) => "{bar:40} {bytes}/{total_bytes}  {binary_bytes_per_sec}  {msg}  {eta} left",
        None => "{spinner} {bytes}  {msg}",
    };
    let style = ProgressStyle::with_template(template).expect("the template is fixed");
    let bar = all.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    bar.with_style(style)
}
