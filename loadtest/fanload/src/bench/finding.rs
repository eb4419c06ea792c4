//! What a scenario found, the goal that it is held against, and the median of several runs.
//!
//! Pure: numbers in, a verdict out.

use serde::Serialize;

use crate::tally::Latency;

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// At most so many times the floor.
    FloorTimesAtMost(f64),
    /// At least so many times the floor.
    FloorTimesAtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
    /// It is told, and held against nothing.
    Told,
}

/// Whether a figure is what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The goal is met.
    Ok,
    /// The goal is missed.
    Missed,
    /// There is no goal.
    Told,
    /// Something was lost or refused on the way, so the figure counts for nothing.
    Lost,
}

/// One figure of one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// What was measured.
    pub what: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// The figure.
    pub figure: f64,
    /// The floor's figure in the same run.
    pub floor: Option<f64>,
    /// What it should be.
    pub goal: Goal,
    /// How long what was measured took, where that means something.
    pub latency: Option<Latency>,
    /// Deliveries, answers or sockets that were lost.
    pub lost: u64,
}

impl Finding {
    /// Makes a finding without a floor, a latency or a loss.
    pub fn new(what: &'static str, figure: f64, unit: &'static str, goal: Goal) -> Self {
        Self {
            what,
            unit,
            figure,
            floor: None,
            goal,
            latency: None,
            lost: 0,
        }
    }

    /// Returns how many times the floor it is.
    pub fn ratio(&self) -> Option<f64> {
        self.floor.map(|floor| self.figure / floor)
    }

    /// Holds it against its goal.
    pub fn verdict(&self) -> Verdict {
        let ratio = self.ratio().unwrap_or(f64::NAN);
        let met = match self.goal {
            _ if self.lost > 0 => return Verdict::Lost,
            Goal::FloorTimesAtMost(most) => ratio <= most,
            Goal::FloorTimesAtLeast(least) => ratio >= least,
            Goal::AtMost(most) => self.figure <= most,
            Goal::AtLeast(least) => self.figure >= least,
            Goal::Told => return Verdict::Told,
        };
        if met { Verdict::Ok } else { Verdict::Missed }
    }
}

/// A line of the table: the median of several runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The scenario.
    pub scenario: &'static str,
    /// The run that is the median, by its ratio to the floor, or by its figure where the goal is one.
    pub median: Finding,
    /// How many times the floor the median is.
    pub ratio: Option<f64>,
    /// Whether the median is what it should be; lost when any run lost something.
    pub verdict: Verdict,
    /// The figures of all runs, in order.
    pub figures: Vec<f64>,
}

/// Takes the median of each finding over runs that found the same things in the same order.
pub fn medians(scenario: &'static str, runs: &[Vec<Finding>]) -> Vec<Row> {
    let Some(first) = runs.first() else {
        return Vec::new();
    };
    (0..first.len())
        .map(|at| {
            let mut same: Vec<&Finding> = runs.iter().filter_map(|run| run.get(at)).collect();
            let figures = same.iter().map(|finding| finding.figure).collect();
            let lost = same.iter().map(|finding| finding.lost).sum();
            let key = |finding: &Finding| match finding.goal {
                Goal::AtMost(_) | Goal::AtLeast(_) => finding.figure,
                Goal::FloorTimesAtMost(_) | Goal::FloorTimesAtLeast(_) | Goal::Told => {
                    finding.ratio().unwrap_or(finding.figure)
                }
            };
            same.sort_by(|a, b| key(a).total_cmp(&key(b)));
            let mut median = same[same.len() / 2].clone();
            median.lost = lost;
            Row {
                scenario,
                ratio: median.ratio(),
                verdict: median.verdict(),
                figures,
                median,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(figure: f64, floor: Option<f64>, goal: Goal, wanted: Verdict) {
        let finding = Finding {
            floor,
            ..Finding::new("x", figure, "µs", goal)
        };
        assert_eq!(finding.verdict(), wanted, "{finding:?}");
    }

    #[test]
    fn figures_are_held_against_their_goals() {
        check(11.0, Some(10.0), Goal::FloorTimesAtMost(1.15), Verdict::Ok);
        check(
            12.0,
            Some(10.0),
            Goal::FloorTimesAtMost(1.15),
            Verdict::Missed,
        );
        check(40.0, Some(10.0), Goal::FloorTimesAtLeast(4.0), Verdict::Ok);
        check(
            39.0,
            Some(10.0),
            Goal::FloorTimesAtLeast(4.0),
            Verdict::Missed,
        );
        check(3.0, None, Goal::AtMost(3.0), Verdict::Ok);
        check(3.1, None, Goal::AtMost(3.0), Verdict::Missed);
        check(2.0, None, Goal::AtLeast(3.0), Verdict::Missed);
        check(2.0, None, Goal::Told, Verdict::Told);
    }

    #[test]
    fn a_goal_beside_a_missing_floor_is_missed() {
        check(1.0, None, Goal::FloorTimesAtMost(9.0), Verdict::Missed);
        check(f64::NAN, None, Goal::AtMost(9.0), Verdict::Missed);
    }

    #[test]
    fn the_median_run_counts_and_every_loss() {
        let run = |figure, floor, lost| {
            vec![Finding {
                floor: Some(floor),
                lost,
                ..Finding::new("x", figure, "µs", Goal::FloorTimesAtMost(1.5))
            }]
        };
        let rows = medians("s", &[run(9.0, 3.0, 0), run(4.0, 4.0, 0), run(6.0, 5.0, 0)]);
        assert_eq!((rows[0].ratio, rows[0].verdict), (Some(1.2), Verdict::Ok));
        assert_eq!(rows[0].figures, [9.0, 4.0, 6.0]);
        let rows = medians("s", &[run(9.0, 3.0, 7), run(4.0, 4.0, 0), run(6.0, 5.0, 0)]);
        assert_eq!(rows[0].verdict, Verdict::Lost);
        let told = |figure, floor| {
            vec![Finding {
                floor: Some(floor),
                ..Finding::new("x", figure, "×", Goal::AtMost(5.0))
            }]
        };
        let rows = medians("s", &[told(9.0, 3.0), told(4.0, 4.0), told(6.0, 5.0)]);
        assert_eq!(
            (rows[0].median.figure, rows[0].verdict),
            (6.0, Verdict::Missed)
        );
        let rows = medians("s", &[told(9.0, 9.0), told(4.0, 1.0), told(5.0, 1.2)]);
        assert_eq!((rows[0].median.figure, rows[0].verdict), (5.0, Verdict::Ok));
        assert!(medians("s", &[]).is_empty());
    }
}
