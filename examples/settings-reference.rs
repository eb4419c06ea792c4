//! Prints the manual's page of settings: `make reference` writes it to `src/manual/settings.md`.
//!
//! It reads no setting.

use fanfare::config::Settings;

fn main() {
    print!("{}", Settings::reference_markdown());
}
