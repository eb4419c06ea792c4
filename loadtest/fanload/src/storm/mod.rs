//! A reconnect storm, simulated: every client of a cluster loses its connection at the same moment.
//!
//! It opens no socket and reads no clock: the same seed gives the same storm on every machine.

pub mod backoff;
pub mod chance;
pub mod picture;
pub mod weather;

use weather::{Course, Storm};

/// The seed of the picture in the manual.
pub const SEED: u64 = 1;

/// The storms that are told and drawn, with their names.
pub fn storms() -> [(&'static str, Storm); 5] {
    let all = |sockets, nodes| Storm {
        sockets,
        nodes,
        ..Storm::default()
    };
    [
        // 50,000 sockets of one node come to the 19 others.
        ("1 of 20 nodes is lost", all(50_000, 19)),
        ("1 million on 20 nodes", all(1_000_000, 20)),
        (
            "1 million on 20 nodes, a ladder with chance",
            Storm {
                jitters: true,
                ..all(1_000_000, 20)
            },
        ),
        ("10 million on 100 nodes", all(10_000_000, 100)),
        (
            "10 million on 100 nodes, 10,000 a second each",
            Storm {
                connects_per_second: 10_000,
                ..all(10_000_000, 100)
            },
        ),
    ]
}

/// What the storms came to.
pub struct Told {
    /// A table for people.
    pub table: String,
    /// The curves, as SVG.
    pub picture: String,
}

/// Simulates the storms.
pub fn tell(seed: u64) -> Told {
    let courses = storms().map(|(name, storm)| (name, storm.run(seed)));
    let mut table = format!(
        "{:<46} {:>7} {:>7} {:>7} {:>9} {:>9} {:>7}\n",
        "all connections are lost at once", "50 %", "99 %", "all", "attempts", "peak/s", "CPU"
    );
    for (name, course) in &courses {
        table.push_str(&row(name, course));
    }
    Told {
        table,
        picture: picture::draw(&courses),
    }
}

fn row(name: &str, course: &Course) -> String {
    let at = |share| format!("{:.1} s", course.seconds_until(share));
    format!(
        "{name:<46} {:>7} {:>7} {:>7} {:>9.1} {:>9} {:>6.0}%\n",
        at(0.5),
        at(0.99),
        at(1.0),
        course.attempts_each(),
        course.attempts_peak(),
        course.cpu_peak * 100.0,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_tells_the_same_story() {
        let storm = storms()[1].1;
        assert_eq!(storm.run(7), storm.run(7));
        assert_ne!(storm.run(7), storm.run(8));
    }

    #[test]
    fn the_table_has_a_row_a_storm() {
        let told = tell(SEED);
        assert_eq!(told.table.lines().count(), 1 + storms().len());
        assert!(told.picture.starts_with("<svg "));
    }
}
