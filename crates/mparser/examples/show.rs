//! What the parser finds in letters, one a file, a line each:
//! `cargo run -p mparser --example show -- testdata/mail/*.eml`
#![expect(clippy::print_stdout, reason = "a report")]

use mparser::{Message, PartKind};

fn main() -> std::io::Result<()> {
    for path in std::env::args().skip(1) {
        let raw = std::fs::read(&path)?;
        let message = Message::parse(&raw);
        let index = message.index();
        let from: Vec<String> = index.from_().into_iter().map(|a| a.address).collect();
        let leaves = index.parts.iter().enumerate().filter(|(_, p)| p.kind == PartKind::Leaf);
        let leaves: Vec<String> = leaves
            .map(|(n, p)| format!("{}/{}:{}", p.media_type, p.subtype, message.bytes(n).len()))
            .collect();
        let date = index.date().map_or(0, types::Date::to_unix_s);
        println!(
            "{path}\t{}\t{}\t{date}\t{}\t{}\t{}",
            index.subject(),
            from.join(","),
            leaves.join(" "),
            index.encode().len(),
            index.preview
        );
    }
    Ok(())
}
