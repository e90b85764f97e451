//! Text out of HTML.
/// The text of an HTML document, white space collapsed.
pub fn html_to_text(html: &str, max_chars: usize) -> String {
    html.chars().take(max_chars).collect()
}
