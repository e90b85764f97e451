//! The page of a letter: a head with our style, then the pieces in order, then the letters inside.

use super::clean::{Cleaned, clean, image_budget};
use super::image::data_url;
use super::source::{Inside, Piece, Source, Text};
use super::text;
use mparser::{Envelope, NamedAddress, decode_header_text};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

const STYLE: &str = include_str!("page.css");

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Theme {
    Light,
    Dark,
    /// What the reader's system says.
    #[default]
    System,
}

/// How a page looks and speaks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Look {
    pub(crate) theme: Theme,
    pub(crate) polish: bool,
}

/// The few words of a page.
struct Words {
    lang: &'static str,
    from: &'static str,
    to: &'static str,
    cc: &'static str,
    date: &'static str,
    subject: &'static str,
    cut: &'static str,
}

static ENGLISH: Words = Words {
    lang: "en",
    from: "From",
    to: "To",
    cc: "Cc",
    date: "Date",
    subject: "Subject",
    cut: "The letter goes on, but is too long to be shown whole. Download it to read the rest.",
};

static POLISH: Words = Words {
    lang: "pl",
    from: "Od",
    to: "Do",
    cc: "DW",
    date: "Data",
    subject: "Temat",
    cut: "Dalsza część wiadomości się nie zmieściła. Pobierz wiadomość, aby przeczytać całość.",
};

/// The whole document.
pub(crate) fn page(source: &Source, look: Look) -> String {
    let words = if look.polish { &POLISH } else { &ENGLISH };
    let theme = match look.theme {
        Theme::Light => "light",
        Theme::Dark => "dark",
        Theme::System => "system",
    };
    let mut out = format!(
        "<!doctype html>\n<html lang=\"{}\" class=\"{theme}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title></title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
        words.lang
    );
    let budget = image_budget();
    for letter in &source.letters {
        inside(letter, source, words, &budget, &mut out);
    }
    out.push_str("</body>\n</html>\n");
    out
}

/// Whether any piece names something on another server.
pub(crate) fn asks_outside(source: &Source) -> bool {
    // No images: what they would take does not matter here.
    let budget = Arc::new(AtomicUsize::new(0));
    let pieces = source.letters.iter().flat_map(|letter| &letter.pieces);
    pieces.into_iter().any(|piece| match piece {
        Piece::Html(text) => clean(&text.text, &source.images, &budget).outside > 0,
        Piece::Plain { .. } | Piece::Picture(_) => false,
    })
}

fn inside(
    letter: &Inside,
    source: &Source,
    words: &Words,
    budget: &Arc<AtomicUsize>,
    out: &mut String,
) {
    let head = letter.envelope.as_deref();
    if let Some(envelope) = head {
        out.push_str("<section class=\"letter\">\n");
        header_block(envelope, words, out);
    }
    for piece in &letter.pieces {
        show(piece, source, words, budget, out);
    }
    if head.is_some() {
        out.push_str("</section>\n");
    }
}

fn show(
    piece: &Piece,
    source: &Source,
    words: &Words,
    budget: &Arc<AtomicUsize>,
    out: &mut String,
) {
    let cut = match piece {
        Piece::Html(Text { text, cut }) => {
            let Cleaned { html, coloured, cut: shortened, .. } =
                clean(text, &source.images, budget);
            let class = if coloured { "html paper" } else { "html" };
            let _ = writeln!(out, "<div class=\"{class}\">{html}</div>");
            *cut || shortened
        }
        Piece::Plain { text: Text { text, cut }, flowed, delsp } => {
            out.push_str(&text::html(text, *flowed, *delsp));
            out.push('\n');
            *cut
        }
        Piece::Picture(image) => {
            let url = data_url(image.kind, &image.bytes);
            let _ = writeln!(out, "<p><img alt=\"\" src=\"{url}\"></p>");
            false
        }
    };
    if cut {
        let _ = writeln!(out, "<p class=\"note\">{}</p>", words.cut);
    }
}

/// Who wrote a letter inside, to whom and when.
fn header_block(envelope: &Envelope, words: &Words, out: &mut String) {
    let decoded = |text: &Option<String>| {
        let text = text.as_deref().unwrap_or_default();
        decode_header_text(text.as_bytes())
    };
    let rows = [
        (words.subject, decoded(&envelope.subject)),
        (words.from, people(&NamedAddress::list(&envelope.from))),
        (words.to, people(&NamedAddress::list(&envelope.to))),
        (words.cc, people(&NamedAddress::list(&envelope.cc))),
        (words.date, decoded(&envelope.date)),
    ];
    out.push_str("<dl class=\"head\">\n");
    for (name, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
        let _ = write!(out, "<dt>{name}</dt><dd>");
        text::escape(&value, out);
        out.push_str("</dd>\n");
    }
    out.push_str("</dl>\n");
}

/// Names shown of one field; a mailing of thousands needs no more.
const PEOPLE: usize = 50;

fn people(list: &[NamedAddress]) -> String {
    let mut shown: Vec<String> = list
        .iter()
        .take(PEOPLE)
        .map(|person| match &person.name {
            Some(name) if !name.is_empty() => format!("{name} <{}>", person.address),
            _ => person.address.clone(),
        })
        .collect();
    if list.len() > PEOPLE {
        shown.push("…".to_owned());
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::letter::source::Image;
    use bytes::Bytes;

    fn html(text: &str) -> Piece {
        Piece::Html(Text { text: text.to_owned(), cut: false })
    }

    fn whole(pieces: Vec<Piece>) -> Source {
        let letter = Inside { envelope: None, pieces };
        Source { letters: vec![letter], ..Source::default() }
    }

    #[test]
    fn pieces_in_order() {
        let image = Image { kind: "image/gif", bytes: Bytes::from_static(b"GIF89a") };
        let plain = Text { text: "x <y>".to_owned(), cut: true };
        let plain = Piece::Plain { text: plain, flowed: false, delsp: false };
        let source = whole(vec![html("<b>a"), Piece::Picture(image), plain]);
        let page = page(&source, Look { theme: Theme::Dark, polish: true });
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}: {page}"));
        assert!(at("<b>a</b>") < at("data:image/gif;base64,R0lGODlh"));
        assert!(at("base64,R0lGODlh") < at("x &lt;y&gt;"));
        assert!(at("x &lt;y&gt;") < at("Dalsza część"));
        assert!(page.contains("<html lang=\"pl\" class=\"dark\">"));
    }

    #[test]
    fn heads_of_letters_inside_are_escaped() {
        let envelope = Envelope {
            subject: Some("<script>alert(1)</script>".to_owned()),
            ..Envelope::default()
        };
        let letter = Inside { envelope: Some(Box::new(envelope)), pieces: vec![html("x")] };
        let source = Source { letters: vec![letter], ..Source::default() };
        let page = page(&source, Look::default());
        assert!(page.contains("<dt>Subject</dt><dd>&lt;script&gt;"));
        assert!(!page.contains("<script"));
    }
}
