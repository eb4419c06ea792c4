//! The picture of a storm: who is back when, and what knocks at each node, as SVG.
//!
//! It draws what it is given; the same courses give the same bytes.

use std::fmt::Write;

use super::weather::Course;

/// The colours of the curves, readable on white and on black.
const COLOURS: [&str; 5] = ["#2a9d5c", "#2f6fde", "#8e44ad", "#d1495b", "#b8860b"];
const WIDTH: f64 = 860.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const PANEL_HEIGHT: f64 = 190.0;
const UPPER: f64 = 122.0;
const LOWER: f64 = 372.0;
const HEIGHT: f64 = 612.0;

/// Draws courses, each with its name.
pub fn draw(courses: &[(&str, Course)]) -> String {
    let ends = courses.iter().map(|(_, course)| course.seconds_until(1.0));
    let seconds = (ends.fold(10.0, f64::max) / 20.0).ceil() * 20.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<title>A reconnect storm</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    for (nth, (name, _)) in courses.iter().enumerate() {
        let (x, y) = (
            LEFT + 390.0 * (nth % 2) as f64,
            24.0 + 22.0 * (nth / 2) as f64,
        );
        let colour = COLOURS[nth % COLOURS.len()];
        line(&mut out, colour, 3.0, &[(x, y - 4.0), (x + 24.0, y - 4.0)]);
        text(&mut out, x + 30.0, y, "start", name);
    }
    let axes = Axes {
        seconds,
        top: UPPER,
        most: 1.0,
    };
    axes.draw(
        &mut out,
        "clients that are back",
        &[(0.0, "0"), (0.5, "50 %"), (1.0, "100 %")],
    );
    for (nth, (_, course)) in courses.iter().enumerate() {
        let points: Vec<_> = (0..=(seconds * 4.0) as usize)
            .map(|quarter| quarter as f64 / 4.0)
            .map(|at| axes.place(at, course.joined_at(at)))
            .collect();
        line(&mut out, COLOURS[nth % COLOURS.len()], 2.0, &points);
    }
    let by_second: Vec<_> = courses
        .iter()
        .map(|(_, course)| course.attempts_a_node_by_second())
        .collect();
    let peak = by_second
        .iter()
        .flatten()
        .fold(1.0, |most: f64, a| most.max(*a));
    let axes = Axes {
        seconds,
        top: LOWER,
        most: (peak / 50_000.0).ceil() * 50_000.0,
    };
    let (half, most) = (format!("{}", axes.most / 2.0), format!("{}", axes.most));
    let marks = [
        (0.0, "0"),
        (axes.most / 2.0, half.as_str()),
        (axes.most, most.as_str()),
    ];
    axes.draw(&mut out, "attempts a second at each node", &marks);
    for (nth, attempts) in by_second.iter().enumerate() {
        let places = attempts.iter().enumerate();
        let points: Vec<_> = places
            .map(|(at, count)| axes.place(at as f64 + 0.5, *count))
            .collect();
        line(&mut out, COLOURS[nth % COLOURS.len()], 1.5, &points);
    }
    text(
        &mut out,
        WIDTH / 2.0,
        HEIGHT - 12.0,
        "middle",
        "seconds after all connections were lost",
    );
    out.push_str("</svg>\n");
    out
}

/// One panel: time to the right, something up.
struct Axes {
    seconds: f64,
    top: f64,
    most: f64,
}

impl Axes {
    fn place(&self, seconds: f64, value: f64) -> (f64, f64) {
        let x = LEFT + (WIDTH - LEFT - RIGHT) * seconds / self.seconds;
        (x, self.top + PANEL_HEIGHT * (1.0 - value / self.most))
    }

    fn draw(&self, out: &mut String, title: &str, marks: &[(f64, &str)]) {
        text(out, LEFT, self.top - 12.0, "start", title);
        for (value, name) in marks {
            let (left, right) = (self.place(0.0, *value), self.place(self.seconds, *value));
            line(out, "#cccccc", 1.0, &[left, right]);
            text(out, left.0 - 8.0, left.1 + 4.0, "end", name);
        }
        for nth in 0..=(self.seconds / 20.0) as usize {
            let (x, y) = self.place(nth as f64 * 20.0, 0.0);
            text(out, x, y + 18.0, "middle", &format!("{}", nth * 20));
        }
    }
}

fn line(out: &mut String, colour: &str, width: f64, points: &[(f64, f64)]) {
    let mut path = String::new();
    for (x, y) in points {
        // Writing to a String cannot fail.
        let _ = write!(path, "{x:.1},{y:.1} ");
    }
    let path = path.trim_end();
    let _ = writeln!(
        out,
        "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" points=\"{path}\"/>"
    );
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#333333\">{words}</text>"
    );
}
