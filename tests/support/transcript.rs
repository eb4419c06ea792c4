//! Transcripts: frames that a client sends and must get, read from text and played on any transport.
//!
//! It never knows how a transport works; it compares byte by byte, but for the values in `${…}`.
//!
//! A file holds cases, each with clients and topics of its own:
//!
//! ```text
//! === a push is answered                         the case's name
//! # any text                                     a comment
//! ! open 2.0.0                                   connects with this vsn
//! > ["1","1","room:a","phx_join",{}]             sends a text frame
//! < ["1","1","room:a","phx_reply",{…}]           the next frame must be this one
//! >b 00 01                                       sends a binary frame, in hex
//! <b 02 03                                       the next frame must be this binary one
//! ! nothing                                      nothing has come
//! ! closed 1008                                  the server closes with this code
//! other! open 1.0.0                              the same for a second client, by name
//! < ["1","2","room:a","phx_reply",{"uid":"${u}"}]    a value that the server makes; later `${u}` must be equal
//! ```
//!
//! At its end, nothing must be left over for any client of the case.

use std::collections::BTreeMap;
use std::fmt;

/// The code of an end that has none on its transport; it stands for any.
pub const UNTOLD: u16 = 0;

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    Text(String),
    Binary(Vec<u8>),
}

/// What a client gets.
#[derive(Clone, PartialEq, Eq)]
pub enum Got {
    Text(String),
    Binary(Vec<u8>),
    /// The end of the connection: its close code, 1005 without one, 1006 without a close (RFC 6455, 7.1.5).
    Closed(u16),
}

impl fmt::Debug for Got {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Binary(bytes) => write!(f, "bytes {}", hex(bytes)),
            Self::Closed(code) => write!(f, "closed {code}"),
        }
    }
}

/// A way to the channels of `fixture_channels`; clients have names.
pub trait Transport {
    /// Connects a client with a `vsn`.
    fn open(&mut self, client: &str, vsn: &str);
    /// Sends a frame.
    fn send(&mut self, client: &str, frame: Sent);
    /// Waits for the next frame; `None` when none comes.
    fn next(&mut self, client: &str) -> Option<Got>;
    /// Returns what has come and was not asked for, once all that was sent is taken in.
    fn left_over(&mut self, client: &str) -> Option<Got>;
    /// Says whether binary frames reach the client; where they do not, none is expected.
    fn carries_bytes(&self) -> bool {
        true
    }
}

/// One line of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Open(String),
    Send(Sent),
    Expect(Got),
    Nothing,
}

struct Line {
    number: usize,
    client: String,
    step: Step,
}

/// A case of a transcript.
pub struct Case {
    name: String,
    lines: Vec<Line>,
}

/// Reads the cases of a file.
///
/// # Panics
/// On the first line that means nothing, with its number.
pub fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let (number, line) = (at + 1, line.trim_end());
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix("=== ") {
            let (name, lines) = (name.to_owned(), Vec::new());
            cases.push(Case { name, lines });
            continue;
        }
        let case = cases
            .last_mut()
            .unwrap_or_else(|| panic!("line {number}: before the first case"));
        let read = step(line).unwrap_or_else(|| panic!("line {number} means nothing: {line}"));
        let (client, step) = read;
        case.lines.push(Line {
            number,
            client,
            step,
        });
    }
    cases
}

fn step(line: &str) -> Option<(String, Step)> {
    let (mark, rest) = line.split_once(' ')?;
    let at = mark.find(['>', '<', '!'])?;
    let (client, mark) = mark.split_at(at);
    let step = match (mark, rest.split_once(' ')) {
        (">", _) => Step::Send(Sent::Text(rest.to_owned())),
        (">b", _) => Step::Send(Sent::Binary(unhex(rest)?)),
        ("<", _) => Step::Expect(Got::Text(rest.to_owned())),
        ("<b", _) => Step::Expect(Got::Binary(unhex(rest)?)),
        ("!", Some(("open", vsn))) => Step::Open(vsn.to_owned()),
        ("!", Some(("closed", code))) => Step::Expect(Got::Closed(code.parse().ok()?)),
        ("!", None) if rest == "nothing" => Step::Nothing,
        _ => return None,
    };
    Some((client.to_owned(), step))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let byte = |two: &str| u8::from_str_radix(two, 16).ok();
    text.split_whitespace().map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    let two: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    two.join(" ")
}

/// Plays a case; `Err` with the line that did not hold.
pub fn play(case: &Case, transport: &mut dyn Transport) -> Result<(), String> {
    let mut bound = BTreeMap::new();
    let mut clients: Vec<&str> = Vec::new();
    for Line {
        number,
        client,
        step,
    } in &case.lines
    {
        let wrong = |what: String| Err(format!("line {number}, `{}`: {what}", case.name));
        match step {
            Step::Open(vsn) => {
                clients.push(client);
                transport.open(client, vsn);
            }
            Step::Send(Sent::Text(text)) => {
                transport.send(client, Sent::Text(fill(text, &bound)));
            }
            Step::Send(frame @ Sent::Binary(_)) => transport.send(client, frame.clone()),
            Step::Expect(Got::Binary(_)) if !transport.carries_bytes() => {}
            Step::Expect(wanted) => match transport.next(client) {
                Some(got) if matches(wanted, &got, &mut bound) => {}
                Some(got) => return wrong(format!("\n  wanted {wanted:?}\n  got    {got:?}")),
                None => return wrong(format!("\n  wanted {wanted:?}\n  got    nothing")),
            },
            Step::Nothing => {
                if let Some(got) = transport.left_over(client) {
                    return wrong(format!("wanted nothing, got {got:?}"));
                }
            }
        }
    }
    for client in clients {
        if let Some(got) = transport.left_over(client) {
            return Err(format!(
                "end of `{}`, client `{client}`: left over {got:?}",
                case.name
            ));
        }
    }
    Ok(())
}

fn matches(wanted: &Got, got: &Got, bound: &mut BTreeMap<String, String>) -> bool {
    match (wanted, got) {
        (Got::Text(pattern), Got::Text(text)) => fits(pattern, text, bound),
        (Got::Closed(_), Got::Closed(UNTOLD)) => true,
        _ => wanted == got,
    }
}

/// Puts the bound values into a text.
fn fill(text: &str, bound: &BTreeMap<String, String>) -> String {
    let put = |text: String, (name, value): (&String, &String)| {
        text.replace(&format!("${{{name}}}"), value)
    };
    bound.iter().fold(text.to_owned(), put)
}

/// Compares, binding each new `${name}` to what stands in its place: no quote, comma or bracket.
fn fits(pattern: &str, text: &str, bound: &mut BTreeMap<String, String>) -> bool {
    let pattern = fill(pattern, bound);
    let Some((before, rest)) = pattern.split_once("${") else {
        return pattern == text;
    };
    let (Some((name, after)), Some(tail)) = (rest.split_once('}'), text.strip_prefix(before))
    else {
        return false;
    };
    let end = tail.find(['"', ',', '}', ']']).unwrap_or(tail.len());
    if end == 0 {
        return false;
    }
    bound.insert(name.to_owned(), tail[..end].to_owned());
    fits(after, &tail[end..], bound)
}

/// Plays every case of every file in `tests/transcripts`, each on a transport of its own.
///
/// # Panics
/// With every case that did not hold, or when there are no cases.
pub fn play_all(mut transport: impl FnMut() -> Box<dyn Transport>) {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts");
    let entries = std::fs::read_dir(directory).expect("the transcripts' directory");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let (mut played, mut failed) = (0, Vec::new());
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("a transcript");
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        for case in parse(&text) {
            played += 1;
            if let Err(why) = play(&case, &mut *transport()) {
                failed.push(format!("{name}: {why}"));
            }
        }
    }
    assert!(played > 0, "no transcripts in {directory}");
    let count = failed.len();
    assert!(
        failed.is_empty(),
        "{count} of {played} cases do not hold:\n{}",
        failed.join("\n")
    );
}

/// Proves on a transport that a transcript can fail: wrong frames, wrong silence, left-overs.
///
/// # Panics
/// When a bad case holds.
pub fn bad_cases_fail(mut transport: impl FnMut() -> Box<dyn Transport>) {
    let ask = r#"> [null,"1","phoenix","heartbeat",{}]"#;
    let answer = r#"< [null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]"#;
    let bad = [
        format!("{ask}\n{}", answer.replace("ok", "error")),
        format!("{ask}\n! nothing"),
        ask.to_owned(),
        format!("{ask}\n<b 00"),
        format!("{ask}\n! closed 1008"),
        format!(
            "{ask}\n{}",
            answer.replace("\"1\"", "\"${r}\"").replace("ok", "${r}")
        ),
    ];
    for lines in bad {
        let case = &parse(&format!("=== bad\n! open 2.0.0\n{lines}\n"))[0];
        assert!(play(case, &mut *transport()).is_err(), "held: {lines}");
    }
    let good = answer.replace("\"1\"", "\"${r}\"");
    let case = &parse(&format!("=== good\n! open 2.0.0\n{ask}\n{good}\n"))[0];
    assert_eq!(play(case, &mut *transport()), Ok(()));
}
