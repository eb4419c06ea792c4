//! The reference of every setting, written from the table.
//!
//! It never names a setting itself, so that it can't be out of date.

use super::channels::FIELDS;
use super::keys::{self, Flag, Key, Preset};
use super::settings::Settings;

/// What stands above the tables.
const INTRODUCTION: &str = "\
# Settings

Flags win over the environment, the environment over the file, the file over the defaults. A duration is a number \
of seconds or has a unit (`250ms`, `5s`, `2m`, `1h`, `1d`); a size is a number of bytes or has one (`64KiB`, `1MiB`, \
`1GiB`). `--config FILE` or `FANFARE_CONFIG` names the file, which is TOML. Anything unknown or not allowed is an \
error at start.
";

impl Settings {
    /// Writes the reference of every setting in Markdown: a table for each section of the file.
    pub fn reference_markdown() -> String {
        let mut text = String::from(INTRODUCTION);
        let mut section = None;
        for key in keys::all() {
            if section != Some(key.section) {
                section = Some(key.section);
                text.push_str(&heading(key.section));
            }
            text.push_str(&row(key));
        }
        text.push_str(
            "\n## `[[channels]]`\n\n| field | default | what it says |\n| --- | --- | --- |\n",
        );
        for field in FIELDS {
            text.push_str(&format!(
                "| `{}` | {} | {} |\n",
                field.name, field.default, field.about
            ));
        }
        text
    }
}

fn heading(section: &str) -> String {
    match section {
        "" => String::from(
            "\n## The node (before the first section)\n\n\
             | setting | flag | environment | default | unit | what it does |\n\
             | --- | --- | --- | --- | --- | --- |\n",
        ),
        name => format!(
            "\n## `[{name}]`\n\n\
             | setting | environment | default | unit | what it does |\n\
             | --- | --- | --- | --- | --- |\n"
        ),
    }
}

fn row(key: &Key) -> String {
    let flag = match key.flag {
        Some(Flag::Value { long, placeholder }) => format!("`--{long} {placeholder}` | "),
        Some(Flag::Off { long, .. }) => format!("`--{long}` | "),
        None => String::new(),
    };
    let default = match key.preset {
        Preset::Value(text) => format!("`{text}`"),
        Preset::Words(words) => words.to_owned(),
    };
    let (name, variable, unit) = (key.name, key.variable(), key.unit.name());
    format!(
        "| `{name}` | {flag}`{variable}` | {default} | {unit} | {} |\n",
        key.about
    )
}
