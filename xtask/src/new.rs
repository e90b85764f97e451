//! `cargo xtask new command imap REPLACE`: the file of a new IMAP command, and the rows to add by hand.
//!
//! The rows are printed and not written: where they go is a thing to look at.

use anyhow::{Context as _, Result, bail, ensure};
use std::path::Path;

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    match arguments {
        [what, protocol, name] if what == "command" && protocol == "imap" => {
            print!("{}", imap_command(&crate::root()?, name)?);
            Ok(())
        }
        _ => bail!("write `cargo xtask new command imap NAME`, for example REPLACE"),
    }
}

/// Makes the file under `root` and gives back what to do next.
fn imap_command(root: &Path, name: &str) -> Result<String> {
    let well = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic());
    ensure!(well, "`{name}` is no name of a command: letters only, such as REPLACE");
    let name = name.to_ascii_uppercase();
    let module = module_of(&name);
    let path = format!("crates/imap/src/cmd/{module}.rs");
    let file = root.join(&path);
    ensure!(!file.exists(), "{path} is there already");
    std::fs::write(&file, template(&name)).with_context(|| format!("cannot write {path}"))?;
    let (title, kind) = (title_of(&name), "Authenticated");
    Ok(format!(
        "Made {path}; it compiles and answers NO until you write it.\n\
         Add by hand, each where the sort order says:\n\
         \n  crates/imap/src/cmd/mod.rs\n    pub(crate) mod {module};\
         \n  crates/imap/src/commands.rs, in COMMANDS\n    row::<cmd::{module}::{title}>(\"{name}\", {kind}, \"RFC nnnn §n\"),\
         \n  docs/rfc.tsv, if the RFC is new there (TAB between)\n    nnnn\tpartial\tits title\
         \n  crates/imap/src/capabilities.rs, in CAPABILITIES, when it works and has a name there\n    \
         row(\"{name}\", AfterLogin, \"RFC nnnn\"),\n\n\
         Then a conversation that shows it, testdata/imap/{module}.txt, named in the list `transcripts!` of\n\
         crates/imap/tests/it/transcripts.rs; one sentence in changelog.d/imap-{}.added.md; `cargo xtask check`.\n\
         docs/howto/imap-command.md walks through a command that is there.\n",
        name.to_ascii_lowercase(),
    ))
}

/// Words of Rust cannot name a module.
fn module_of(name: &str) -> String {
    let module = name.to_ascii_lowercase();
    let taken =
        ["as", "const", "continue", "enum", "for", "if", "in", "loop", "match", "mod", "move"];
    let taken = taken.contains(&module.as_str())
        || ["ref", "return", "self", "static", "struct", "trait", "type", "use", "where", "while"]
            .contains(&module.as_str());
    if taken { format!("{module}_") } else { module }
}

/// `REPLACE` as a type: `Replace`.
fn title_of(name: &str) -> String {
    let (first, rest) = name.split_at(1.min(name.len()));
    format!("{first}{}", rest.to_ascii_lowercase())
}

fn template(name: &str) -> String {
    TEMPLATE
        .replace("NAME", name)
        .replace("Title", &title_of(name))
        .replace("lower", &name.to_ascii_lowercase())
}

const TEMPLATE: &str = r#"//! NAME (RFC nnnn §n): what a client gets from it, in one line.
//!
//! ```text
//! lower = "NAME"
//! ```

use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Error};
use crate::session::Session;

pub(crate) struct Title;

impl Verb for Title {
    fn parse(_: &mut Parser<'_>) -> Parsed<Self> {
        Ok(Self)
    }

    async fn run(self, _: &mut Session) -> Answer {
        Err(Error::no("CANNOT", "NAME is not written yet"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::whole;

    #[test]
    fn forms() {
        #[track_caller]
        fn check(text: &str, expect: bool) {
            assert_eq!(whole(text.as_bytes(), Title::parse).is_ok(), expect, "{text}");
        }
        check("", true);
        check(" something", false);
    }
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout() -> std::path::PathBuf {
        let root = std::env::temp_dir().join(format!("xtask-new-{}", std::process::id()));
        std::fs::create_dir_all(root.join("crates/imap/src/cmd")).unwrap();
        root
    }

    #[test]
    fn a_file_is_made_and_the_rows_are_said() {
        let root = checkout();
        let said = imap_command(&root, "replace").unwrap();
        assert!(said.contains("row::<cmd::replace::Replace>(\"REPLACE\", Authenticated"), "{said}");
        assert!(said.contains("pub(crate) mod replace;"), "{said}");
        let made = std::fs::read_to_string(root.join("crates/imap/src/cmd/replace.rs")).unwrap();
        assert!(made.starts_with("//! REPLACE (RFC") && made.contains("impl Verb for Replace {"));
        assert!(!made.contains("Title") && !made.contains("NAME"), "{made}");
        let again = imap_command(&root, "REPLACE").unwrap_err().to_string();
        assert!(again.contains("is there already"), "{again}");
        assert!(imap_command(&root, "../x").is_err() && imap_command(&root, "").is_err());
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn words_of_rust_get_a_mark() {
        assert_eq!(module_of("MOVE"), "move_");
        assert_eq!(module_of("NOTIFY"), "notify");
    }
}
