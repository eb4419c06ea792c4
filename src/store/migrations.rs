//! The migrations, built into the binary.
//!
//! It only lists them; each store applies its own.

/// One numbered step of a schema.
#[derive(Debug, Clone, Copy)]
pub(super) struct Migration {
    /// Its number, from 1; the order of application.
    pub version: i64,
    /// The name of its file, without number and ending.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
}

/// The steps of the Postgres schema, in order.
pub(super) const POSTGRES: &[Migration] = &[
    Migration {
        version: 1,
        name: "initial",
        sql: include_str!("../../migrations/postgres/0001_initial.sql"),
    },
    Migration {
        version: 2,
        name: "sweeps",
        sql: include_str!("../../migrations/postgres/0002_sweeps.sql"),
    },
    Migration {
        version: 3,
        name: "client_keys",
        sql: include_str!("../../migrations/postgres/0003_client_keys.sql"),
    },
];

/// The steps of the SQLite schema, in order.
pub(super) const SQLITE: &[Migration] = &[
    Migration {
        version: 1,
        name: "initial",
        sql: include_str!("../../migrations/sqlite/0001_initial.sql"),
    },
    Migration {
        version: 2,
        name: "sweeps",
        sql: include_str!("../../migrations/sqlite/0002_sweeps.sql"),
    },
];

/// Returns the steps that are not among the applied versions, in order.
pub(super) fn pending(all: &'static [Migration], applied: &[i64]) -> Vec<&'static Migration> {
    all.iter()
        .filter(|step| !applied.contains(&step.version))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files of a folder, as (version, name, text), in order.
    fn files(folder: &str) -> Vec<(i64, String, String)> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut found: Vec<_> = std::fs::read_dir(folder)
            .expect("the folder is part of the sources")
            .map(|entry| {
                let path = entry.expect("a readable entry").path();
                let stem = path.file_stem().expect("a name").to_string_lossy();
                let (version, name) = stem.split_once('_').expect("NNNN_name");
                let version = version.parse().expect("a number");
                let text = std::fs::read_to_string(&path).expect("a readable file");
                (version, name.to_owned(), text)
            })
            .collect();
        found.sort();
        found
    }

    #[test]
    fn every_file_is_built_in_and_numbered_without_holes() {
        for (list, folder) in [
            (POSTGRES, "migrations/postgres"),
            (SQLITE, "migrations/sqlite"),
        ] {
            let listed: Vec<_> = list
                .iter()
                .map(|step| (step.version, step.name.to_owned(), step.sql.to_owned()))
                .collect();
            assert_eq!(listed, files(folder));
            for (place, step) in (1..).zip(list) {
                assert_eq!(step.version, place);
            }
        }
    }

    #[test]
    fn only_missing_steps_are_pending() {
        assert_eq!(pending(SQLITE, &[]).len(), SQLITE.len());
        let all: Vec<i64> = SQLITE.iter().map(|step| step.version).collect();
        assert!(pending(SQLITE, &all).is_empty());
        assert_eq!(pending(SQLITE, &[1])[0].version, 2);
    }
}
