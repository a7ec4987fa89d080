//! The report: the Test Anything Protocol, version 13, and a summary.

use crate::error::{Error, Result};
use crate::guest::{Tested, Verdict};
use std::io::Write;

/// What a line of a case's output begins with that is reported though the case has passed (`figure` in `helpers.sh`).
const FIGURE: &str = "figure: ";

/// Writes the report as the run goes on, and counts.
#[derive(Debug)]
pub struct Report<W> {
    out: W,
    planned: usize,
    passed: usize,
    failed: usize,
    skipped: usize,
    bailed_out: bool,
}

/// What a run comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// Every case passed, or was skipped for a reason.
    Passed,
    /// Some case failed, or was never run.
    Failed,
    /// No case was run.
    NothingTested,
    /// The command line is wrong.
    Misused,
}

impl Conclusion {
    /// The program's exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed => 1,
            Self::Misused => 2,
            Self::NothingTested => 77,
        }
    }
}

/// Writes a report about no cases, and why there are none.
pub fn nothing(out: &mut impl Write, why: &str) -> Result<Conclusion> {
    writeln!(out, "TAP version 13\n1..0 # SKIP nothing was tested: {why}").map_err(Error::Report)?;
    Ok(Conclusion::NothingTested)
}

impl<W: Write> Report<W> {
    /// Begins a report about so many cases.
    pub fn new(out: W, planned: usize) -> Result<Self> {
        let mut report = Self { out, planned, passed: 0, failed: 0, skipped: 0, bailed_out: false };
        report.line("TAP version 13")?;
        report.line(&format!("1..{planned}"))?;
        Ok(report)
    }

    /// A remark, of any number of lines.
    pub fn remark(&mut self, text: &str) -> Result<()> {
        text.lines().try_for_each(|line| self.line(&format!("# {line}")))
    }

    /// The result of the next case.
    pub fn tested(&mut self, name: &str, proves: &str, tested: &Tested) -> Result<()> {
        let (count, ok, directive) = match &tested.verdict {
            Verdict::Passed => (&mut self.passed, "ok", String::new()),
            Verdict::Failed(_) => (&mut self.failed, "not ok", String::new()),
            Verdict::Skipped(why) => (&mut self.skipped, "ok", format!(" # SKIP {why}")),
        };
        *count += 1;
        let number = self.passed + self.failed + self.skipped;
        // A '#' would begin a directive.
        let proves = proves.replace('#', "");
        self.line(&format!("{ok} {number} - {name}: {proves}{directive}"))?;
        match &tested.verdict {
            Verdict::Failed(why) => {
                self.remark(why)?;
                self.remark(&tested.output)
            }
            _ => tested.output.lines().filter_map(|line| line.strip_prefix(FIGURE)).try_for_each(|it| self.remark(it)),
        }
    }

    /// The run ends early.
    pub fn bail_out(&mut self, error: &Error, console: &[String]) -> Result<()> {
        self.bailed_out = true;
        let error = error.to_string();
        // What follows the first line could be taken for results.
        let (first, further) = error.split_once('\n').unwrap_or((&error, ""));
        self.line(&format!("Bail out! {first}"))?;
        self.remark(further)?;
        if !console.is_empty() {
            self.remark("the last lines of the console:")?;
        }
        console.iter().try_for_each(|line| self.remark(&format!("| {line}")))
    }

    /// The summary.
    pub fn finish(mut self) -> Result<Conclusion> {
        let Self { planned, passed, failed, skipped, .. } = self;
        let missing = planned - passed - failed - skipped;
        self.remark(&format!("{passed} passed, {failed} failed, {skipped} skipped, {missing} not run"))?;
        Ok(if failed > 0 || missing > 0 || self.bailed_out {
            Conclusion::Failed
        } else if passed == 0 {
            Conclusion::NothingTested
        } else {
            Conclusion::Passed
        })
    }

    fn line(&mut self, text: &str) -> Result<()> {
        writeln!(self.out, "{text}").and_then(|()| self.out.flush()).map_err(Error::Report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdicts: &[Verdict], planned: usize) -> (String, Conclusion) {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out, planned).unwrap();
        for verdict in verdicts {
            let tested = Tested { verdict: verdict.clone(), output: "line 1\nline 2".to_owned() };
            report.tested("name", "it #works", &tested).unwrap();
        }
        let conclusion = report.finish().unwrap();
        (String::from_utf8(out).unwrap(), conclusion)
    }

    #[test]
    fn a_failure_shows_its_output() {
        let verdicts =
            [Verdict::Passed, Verdict::Skipped("too old".to_owned()), Verdict::Failed("exit status 1".to_owned())];
        let (text, conclusion) = report(&verdicts, 3);
        assert_eq!(
            text,
            "TAP version 13\n1..3\nok 1 - name: it works\nok 2 - name: it works # SKIP too old\n\
             not ok 3 - name: it works\n# exit status 1\n# line 1\n# line 2\n\
             # 1 passed, 1 failed, 1 skipped, 0 not run\n"
        );
        assert_eq!(conclusion, Conclusion::Failed);
    }

    #[test]
    fn figures_are_shown_where_the_case_passes() {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out, 1).unwrap();
        let tested = Tested { verdict: Verdict::Passed, output: "line 1\nfigure: 3 s\nline 2".to_owned() };
        report.tested("name", "it works", &tested).unwrap();
        report.finish().unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "TAP version 13\n1..1\nok 1 - name: it works\n# 3 s\n# 1 passed, 0 failed, 0 skipped, 0 not run\n"
        );
    }

    #[test]
    fn what_ends_a_run_holds_no_results() {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out, 1).unwrap();
        report.bail_out(&Error::Guest("first\nok 3 - second\nthird".to_owned()), &["ok 4".to_owned()]).unwrap();
        assert_eq!(report.finish().unwrap(), Conclusion::Failed);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "TAP version 13\n1..1\nBail out! the guest cannot be used: first\n# ok 3 - second\n# third\n\
             # the last lines of the console:\n# | ok 4\n# 0 passed, 0 failed, 0 skipped, 1 not run\n"
        );
    }

    #[test]
    fn only_a_run_in_which_something_passed_and_nothing_is_missing_has_passed() {
        let skipped = Verdict::Skipped("no".to_owned());
        assert_eq!(report(&[Verdict::Passed, skipped.clone()], 2).1, Conclusion::Passed);
        assert_eq!(report(&[Verdict::Passed], 2).1, Conclusion::Failed);
        assert_eq!(report(&[skipped], 1).1, Conclusion::NothingTested);
    }
}
