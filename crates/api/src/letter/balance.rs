//! HTML made small before it is cleaned: only tags we know, properly nested, not too deep.
//!
//! Browsers repair broken HTML by moving and repeating elements; done on hostile input that takes quadratic
//! time and memory (320 KB of `<div><p>x` kept the HTML parser busy for 11 s; after this pass 1.5 MB of the same
//! kind take 0.7 s). What comes out of here needs no repair, so the real HTML parser behind it
//! (`clean.rs`, which decides what is safe) works in linear time. One pass, no recursion.

use std::fmt::Write as _;

/// Elements inside each other. Browsers stop at 512; long reply chains in nested tables reach about 150.
const DEPTH: usize = 256;
/// A table inside something needs room for its row group, row and cell.
const TABLE_ROOM: usize = 4;
/// Text styles (`b`, `font`) inside each other: each may be repeated for every paragraph it spans.
const STYLES: usize = 24;
/// Elements and texts of one page, styles counted again wherever they may be repeated. A newsletter of
/// 100 KB has about 10,000.
const NODES: usize = 400_000;
/// Attributes kept of one tag: about 15 exist that we know.
const ATTRIBUTES: usize = 24;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Void,
    Inline,
    /// A text style: HTML repeats it after a paragraph that ends inside it.
    Style,
    Block,
    Table,
    /// `tbody`, `thead`, `tfoot`, `caption`
    Group,
    Row,
    Cell,
}

/// An element we keep. Its start tag closes the outermost open element of `closes` that lies inside the
/// nearest open one of `within`.
struct Tag {
    name: &'static str,
    kind: Kind,
    closes: &'static [&'static str],
    within: &'static [&'static str],
}

const CELL: &[&str] = &["caption", "table", "td", "th"];
const LIST: &[&str] = &["caption", "ol", "table", "td", "th", "ul"];
const TERMS: &[&str] = &["caption", "dl", "table", "td", "th"];
const GROUPS: &[&str] = &["table", "tbody", "tfoot", "thead"];
const ROWS: &[&str] = &["table", "tbody", "tfoot", "thead", "tr"];
const IN_TABLE: &[&str] = &["caption", "tbody", "td", "tfoot", "th", "thead", "tr"];

const fn tag(name: &'static str, kind: Kind) -> Tag {
    match kind {
        Kind::Block | Kind::Table => Tag { name, kind, closes: &["p"], within: CELL },
        Kind::Group => Tag { name, kind, closes: IN_TABLE, within: &["table"] },
        Kind::Row => Tag { name, kind, closes: &["td", "th", "tr"], within: GROUPS },
        Kind::Cell => Tag { name, kind, closes: &["td", "th"], within: ROWS },
        _ => Tag { name, kind, closes: &[], within: &[] },
    }
}

/// Sorted by name.
#[rustfmt::skip]
static TAGS: &[Tag] = &[
    Tag { name: "a", kind: Kind::Style, closes: &["a"], within: CELL },
    tag("abbr", Kind::Inline), tag("address", Kind::Block), tag("article", Kind::Block), tag("aside", Kind::Block),
    tag("b", Kind::Style), tag("bdi", Kind::Inline), tag("bdo", Kind::Inline), tag("big", Kind::Style),
    tag("blockquote", Kind::Block), tag("br", Kind::Void), tag("caption", Kind::Group), tag("center", Kind::Block),
    tag("cite", Kind::Inline), tag("code", Kind::Style),
    Tag { name: "dd", kind: Kind::Block, closes: &["dd", "dt", "p"], within: TERMS },
    tag("del", Kind::Inline), tag("dfn", Kind::Inline), tag("div", Kind::Block), tag("dl", Kind::Block),
    Tag { name: "dt", kind: Kind::Block, closes: &["dd", "dt", "p"], within: TERMS },
    tag("em", Kind::Style), tag("figcaption", Kind::Block), tag("figure", Kind::Block), tag("font", Kind::Style),
    tag("footer", Kind::Block), tag("h1", Kind::Block), tag("h2", Kind::Block), tag("h3", Kind::Block),
    tag("h4", Kind::Block), tag("h5", Kind::Block), tag("h6", Kind::Block), tag("header", Kind::Block),
    Tag { name: "hr", kind: Kind::Void, closes: &["p"], within: CELL },
    tag("i", Kind::Style), tag("img", Kind::Void), tag("ins", Kind::Inline), tag("kbd", Kind::Inline),
    Tag { name: "li", kind: Kind::Block, closes: &["li", "p"], within: LIST },
    tag("main", Kind::Block), tag("mark", Kind::Inline), tag("nav", Kind::Block), tag("ol", Kind::Block),
    tag("p", Kind::Block), tag("pre", Kind::Block), tag("q", Kind::Inline), tag("s", Kind::Style),
    tag("samp", Kind::Inline), tag("section", Kind::Block), tag("small", Kind::Style), tag("span", Kind::Inline),
    tag("strike", Kind::Style), tag("strong", Kind::Style), tag("sub", Kind::Inline), tag("sup", Kind::Inline),
    tag("table", Kind::Table), tag("tbody", Kind::Group), tag("td", Kind::Cell), tag("tfoot", Kind::Group),
    tag("th", Kind::Cell), tag("thead", Kind::Group), tag("time", Kind::Inline), tag("tr", Kind::Row),
    tag("tt", Kind::Style), tag("u", Kind::Style), tag("ul", Kind::Block), tag("var", Kind::Inline),
    tag("wbr", Kind::Void),
];

/// Sorted. What they may hold is decided in `clean.rs`.
pub(super) static ATTRIBUTES_KNOWN: &[&str] = &[
    "align",
    "alt",
    "background",
    "bgcolor",
    "border",
    "cellpadding",
    "cellspacing",
    "cite",
    "color",
    "colspan",
    "dir",
    "face",
    "height",
    "href",
    "hspace",
    "lang",
    "nowrap",
    "reversed",
    "rowspan",
    "size",
    "src",
    "srcset",
    "start",
    "style",
    "text",
    "title",
    "type",
    "valign",
    "value",
    "vspace",
    "width",
];

/// Elements whose content is no text for people, up to their end tag.
static SKIPPED: &[&str] =
    &["iframe", "noembed", "noframes", "plaintext", "script", "style", "textarea", "title", "xmp"];

pub(super) fn tag_names() -> impl Iterator<Item = &'static str> {
    TAGS.iter().map(|tag| tag.name)
}

fn known(name: &str) -> Option<&'static Tag> {
    TAGS.binary_search_by(|tag| tag.name.cmp(name)).ok().and_then(|at| TAGS.get(at))
}

pub(super) struct Balanced {
    pub(super) html: String,
    /// The page was too large to be shown whole.
    pub(super) cut: bool,
}

pub(super) fn balance(html: &str) -> Balanced {
    let mut work = Balancer {
        rest: html,
        out: String::with_capacity(html.len()),
        open: Vec::new(),
        styles: 0,
        nodes: 0,
    };
    while !work.rest.is_empty() && work.nodes < NODES {
        work.step();
    }
    let cut = !work.rest.is_empty();
    work.close_to(0);
    Balanced { html: work.out, cut }
}

struct Balancer<'a> {
    rest: &'a str,
    out: String,
    open: Vec<&'static Tag>,
    /// How many of the open ones are text styles.
    styles: usize,
    nodes: usize,
}

impl<'a> Balancer<'a> {
    /// Takes one text or one tag.
    fn step(&mut self) {
        let text = memchr::memchr(b'<', self.rest.as_bytes()).unwrap_or(self.rest.len());
        if text > 0 {
            let text = self.take(text);
            self.text(text);
            return;
        }
        let mut after = self.rest.bytes().skip(1);
        match (after.next(), after.next()) {
            (Some(b'!'), _) if self.rest.starts_with("<!--") => self.comment(),
            (Some(b'/'), Some(b)) if b.is_ascii_alphabetic() => {
                self.take(2);
                let name = self.name();
                if self.attributes().is_some() {
                    self.end(&name);
                }
            }
            (Some(b'!' | b'?' | b'/'), _) => self.skip_past(">"),
            (Some(b), _) if b.is_ascii_alphabetic() => {
                self.take(1);
                let name = self.name();
                if let Some(attributes) = self.attributes() {
                    self.start(&name, &attributes);
                }
            }
            _ => {
                self.take(1);
                self.text("&lt;");
            }
        }
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn skip_past(&mut self, end: &str) {
        self.rest = self.rest.split_once(end).map_or("", |(_, rest)| rest);
    }

    fn comment(&mut self) {
        self.take(4);
        if let Some(rest) = self.rest.strip_prefix('>').or_else(|| self.rest.strip_prefix("->")) {
            self.rest = rest;
        } else {
            self.skip_past("-->");
        }
    }

    /// The name of a tag in lower case.
    fn name(&mut self) -> String {
        let end = self
            .rest
            .find(|c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>'))
            .unwrap_or(self.rest.len());
        self.take(end).to_ascii_lowercase()
    }

    /// Reads up to and with the `>`; keeps attributes we know, the first of each name. `None` when the text
    /// ends inside the tag.
    fn attributes(&mut self) -> Option<Vec<(&'static str, &'a str)>> {
        let mut kept: Vec<(&'static str, &'a str)> = Vec::new();
        loop {
            let blank = |c: char| c.is_ascii_whitespace() || c == '/';
            self.rest = self.rest.trim_start_matches(blank);
            if let Some(rest) = self.rest.strip_prefix('>') {
                self.rest = rest;
                return Some(kept);
            }
            if self.rest.is_empty() {
                return None;
            }
            // A `=` in the first place belongs to the name (HTML §13.2.5.32).
            let stop = |c: char| blank(c) || matches!(c, '=' | '>');
            let first = self.rest.chars().next().map_or(0, char::len_utf8);
            let tail = self.rest.get(first..).unwrap_or_default();
            let end = first + tail.find(stop).unwrap_or(tail.len());
            let name = self.take(end);
            self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
            let value = if self.rest.starts_with('=') {
                self.take(1);
                self.value()
            } else {
                ""
            };
            let lower = name.to_ascii_lowercase();
            let Ok(at) = ATTRIBUTES_KNOWN.binary_search(&lower.as_str()) else {
                continue;
            };
            let name = ATTRIBUTES_KNOWN.get(at).copied().unwrap_or_default();
            if kept.len() < ATTRIBUTES && !kept.iter().any(|(n, _)| *n == name) {
                kept.push((name, value));
            }
        }
    }

    fn value(&mut self) -> &'a str {
        self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
        for quote in ['"', '\''] {
            if let Some(rest) = self.rest.strip_prefix(quote) {
                let (value, rest) = rest.split_once(quote).unwrap_or((rest, ""));
                self.rest = rest;
                return value;
            }
        }
        let stop = |c: char| c.is_ascii_whitespace() || c == '>';
        let end = self.rest.find(stop).unwrap_or(self.rest.len());
        self.take(end)
    }

    fn start(&mut self, name: &str, attributes: &[(&'static str, &'a str)]) {
        if SKIPPED.binary_search(&name).is_ok() {
            self.skip_element(name);
            return;
        }
        if name == "body" {
            self.body(attributes);
            return;
        }
        let Some(tag) = known(name) else { return };
        self.close_implied(tag);
        if !self.make_place(tag) {
            return;
        }
        let attributes = attributes.iter().map(|(name, value)| (*name, quoted(value)));
        self.push(tag, attributes.collect());
    }

    /// `<body>` becomes a `<div>` that keeps its colours.
    fn body(&mut self, attributes: &[(&'static str, &'a str)]) {
        let Some(div) = known("div").filter(|_| self.open.len() < DEPTH) else {
            return;
        };
        let get = |name| attributes.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        let mut style = String::new();
        for (property, attribute) in [("background-color", "bgcolor"), ("color", "text")] {
            if let Some(value) = get(attribute) {
                let _ = write!(style, "{property}:{};", quoted(value));
            }
        }
        style.push_str(&quoted(get("style").unwrap_or_default()));
        let background = get("background").map(|value| ("background", quoted(value)));
        if self.make_place(div) {
            let style = std::iter::once(("style", style));
            self.push(div, style.chain(background).collect());
        }
    }

    /// Skips the content of an element up to its end tag, or all when there is none.
    fn skip_element(&mut self, name: &str) {
        let bytes = self.rest.as_bytes();
        for at in memchr::memchr_iter(b'<', bytes) {
            let tail = bytes.get(at + 1..).unwrap_or_default();
            let Some(tail) = tail.strip_prefix(b"/") else { continue };
            let named = tail.get(..name.len());
            let ends = tail.get(name.len()).is_none_or(|b| !b.is_ascii_alphanumeric());
            if ends && named.is_some_and(|n| n.eq_ignore_ascii_case(name.as_bytes())) {
                self.take(at);
                self.skip_past(">");
                return;
            }
        }
        self.rest = "";
    }

    fn close_implied(&mut self, tag: &Tag) {
        let mut found = None;
        for (at, open) in self.open.iter().enumerate().rev() {
            if tag.closes.contains(&open.name) {
                found = Some(at);
            }
            if tag.within.contains(&open.name) {
                break;
            }
        }
        if let Some(at) = found {
            self.close_to(at);
        }
    }

    /// Opens the rows and cells that must be around the tag; `false` when the tag cannot stand here.
    fn make_place(&mut self, tag: &Tag) -> bool {
        let top = self.open.last().map(|t| (t.kind, t.name));
        let in_rows = matches!(top, Some((Kind::Table, _)))
            || matches!(top, Some((Kind::Group, name)) if name != "caption");
        match tag.kind {
            Kind::Group => matches!(top, Some((Kind::Table, _))),
            Kind::Row => in_rows,
            Kind::Cell => {
                if in_rows {
                    self.push_plain("tr");
                }
                in_rows || matches!(top, Some((Kind::Row, _)))
            }
            kind => {
                self.place_for_content();
                let room = if kind == Kind::Table { TABLE_ROOM } else { 1 };
                let deep = self.open.len() + room > DEPTH;
                !deep && (kind != Kind::Style || self.styles < STYLES)
            }
        }
    }

    /// Text and elements straight inside a table get a cell; browsers would move them in front of the table,
    /// one by one, past all that is there already.
    fn place_for_content(&mut self) {
        match self.open.last().map(|t| (t.kind, t.name)) {
            Some((Kind::Group, "caption")) => {}
            Some((Kind::Table | Kind::Group, _)) => {
                self.push_plain("tr");
                self.push_plain("td");
            }
            Some((Kind::Row, _)) => self.push_plain("td"),
            _ => {}
        }
    }

    fn push_plain(&mut self, name: &str) {
        if let Some(tag) = known(name) {
            self.push(tag, Vec::new());
        }
    }

    fn push(&mut self, tag: &'static Tag, attributes: Vec<(&str, String)>) {
        self.nodes += 1 + self.styles;
        self.out.push('<');
        self.out.push_str(tag.name);
        for (name, value) in attributes {
            self.out.push(' ');
            self.out.push_str(name);
            self.out.push_str("=\"");
            self.out.push_str(&value);
            self.out.push('"');
        }
        self.out.push('>');
        if tag.kind != Kind::Void {
            self.styles += usize::from(tag.kind == Kind::Style);
            self.open.push(tag);
        }
    }

    fn end(&mut self, name: &str) {
        if name == "br" {
            self.place_for_content();
            self.out.push_str("<br>");
            return;
        }
        let Some(tag) = known(name) else { return };
        // An end tag does not reach out of its cell; those of rows and cells not out of their table.
        let stops: &[&str] = match tag.kind {
            Kind::Table => &[],
            Kind::Group | Kind::Row | Kind::Cell => &["table"],
            _ => CELL,
        };
        for at in (0..self.open.len()).rev() {
            let Some(open) = self.open.get(at) else { return };
            if open.name == name {
                self.close_to(at);
                return;
            }
            if stops.contains(&open.name) {
                return;
            }
        }
    }

    fn close_to(&mut self, depth: usize) {
        while self.open.len() > depth {
            let Some(tag) = self.open.pop() else { return };
            self.styles -= usize::from(tag.kind == Kind::Style);
            self.out.push_str("</");
            self.out.push_str(tag.name);
            self.out.push('>');
        }
    }

    fn text(&mut self, text: &str) {
        if !text.trim_ascii().is_empty() {
            self.place_for_content();
        } else if matches!(
            self.open.last().map(|t| t.kind),
            Some(Kind::Table | Kind::Group | Kind::Row)
        ) {
            return;
        }
        self.nodes += 1 + self.styles;
        self.out.push_str(text);
    }
}

fn quoted(value: &str) -> String {
    value.replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted() {
        assert!(TAGS.is_sorted_by(|a, b| a.name < b.name));
        assert!(ATTRIBUTES_KNOWN.is_sorted_by(|a, b| a < b));
        assert!(SKIPPED.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn repaired() {
        #[track_caller]
        fn check(html: &str, expect: &str) {
            assert_eq!(balance(html).html, expect);
        }
        check("a < b <3 &amp; c", "a &lt; b &lt;3 &amp; c");
        check("<p>a<p>b", "<p>a</p><p>b</p>");
        check("<B>x<I>y</b>z", "<b>x<i>y</i></b>z");
        check(
            "<ul><li>a<li>b<ul><li>c</ul><li>d",
            "<ul><li>a</li><li>b<ul><li>c</li></ul></li><li>d</li></ul>",
        );
        check(
            "<table><tr><td>a<td>b<tr><td>c",
            "<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>",
        );
        check("<table> <b>x</b><tr>", "<table><tr><td><b>x</b></td></tr><tr></tr></table>");
        check("<table><td>a</table>b", "<table><tr><td>a</td></tr></table>b");
        check("<td>a</td><tr>b", "ab");
        check(
            "<div><table><tr><td></div>x</td></tr></table></div>y",
            "<div><table><tr><td>x</td></tr></table></div>y",
        );
        check("<style>p{}</style ><script>if(a<b)</script>x<title>t", "x");
        check("<!-- a --><!doctype html><?xml?>x<!>y<!--z", "xy");
        check("<!--[if mso]><b>no</b><![endif]-->yes<![if !mso]>too<![endif]>", "yestoo");
        check("<a href=x onclick='y' HREF=z>t</a>", "<a href=\"x\">t</a>");
        check("<img src='a\"b' alt=\"<>\"/>", "<img src=\"a&quot;b\" alt=\"&lt;&gt;\">");
        check(
            "<body bgcolor=red text='blue' style='margin:0'>x</body>",
            "<div style=\"background-color:red;color:blue;margin:0\">x</div>",
        );
        check("<a href=\"x>y", "");
        check("<o:p>x</o:p></nothing></p></br>", "x<br>");
    }

    /// Opens and closes in order, never deeper than [`DEPTH`].
    #[track_caller]
    fn check_nesting(html: &str) {
        let balanced = balance(html).html;
        let mut open: Vec<&str> = Vec::new();
        for piece in balanced.split('<').skip(1) {
            let end = piece.find(|c: char| !c.is_ascii_alphanumeric() && c != '/').unwrap();
            let name = &piece[..end];
            if let Some(name) = name.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "{html} -> {balanced}");
            } else if !["br", "hr", "img", "wbr"].contains(&name) {
                open.push(name);
            }
            assert!(open.len() <= DEPTH);
        }
        assert!(open.is_empty(), "{html} -> {balanced}");
    }

    /// Pieces put together at random, the same each time.
    #[test]
    fn random_html_is_nested() {
        const PIECES: &[&str] = &[
            "<p>",
            "</p>",
            "<b>",
            "</b>",
            "<table>",
            "</table>",
            "<tr>",
            "</tr>",
            "<td>",
            "</td>",
            "<tbody>",
            "<caption>",
            "</caption>",
            "<a href='x'>",
            "</a>",
            "<li>",
            "<ul>",
            "</ul>",
            "text",
            " ",
            "<hr>",
            "<br/>",
            "<img src=x>",
            "<div ",
            "style=\"a\"",
            ">",
            "'",
            "\"",
            "<",
            "</",
            "<!--",
            "-->",
            "<!",
            "ż",
            "<style>",
            "</style>",
            "<body bgcolor=x>",
            "<dt>",
            "<dd>",
            "</dl>",
            "<dl>",
            "<font color=\"",
            "=",
            "/",
            "\0",
            "&lt",
        ];
        let mut seed = 1_u64;
        for _ in 0..5_000 {
            let mut html = String::new();
            for _ in 0..60 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = usize::try_from(seed >> 33).unwrap() % PIECES.len();
                html.push_str(PIECES[at]);
            }
            check_nesting(&html);
        }
    }

    #[test]
    fn always_nested_and_bounded() {
        let hostile = [
            "<div>".repeat(100_000),
            "<b id=1><p>x".repeat(20_000),
            "<b><table><td></b></table>".repeat(10_000),
            "<table><hr>".repeat(50_000),
            format!("<table>{}", "<hr>x".repeat(100_000)),
            "<a href=x>".repeat(50_000),
            format!("<p {}>", "a=b ".repeat(200_000)),
            "<!--".repeat(100_000),
            "</".repeat(200_000),
            "<style>".repeat(50_000),
            "<font color=red><li>".repeat(30_000),
        ];
        for html in hostile {
            check_nesting(&html);
        }
    }
}
