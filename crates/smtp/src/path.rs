//! Paths and parameters of MAIL and RCPT (RFC 5321 §4.1.2).
//!
//! ```text
//! Reverse-path     = Path / "<>"
//! Forward-path     = Path
//! Path             = "<" [ A-d-l ":" ] Mailbox ">"
//! A-d-l            = At-domain *( "," At-domain )
//! Mail-parameters  = esmtp-param *(SP esmtp-param)
//! esmtp-param      = esmtp-keyword ["=" esmtp-value]
//! ```

/// The text between `<` and `>`, without a source route, and the parameters after it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Path<'a> {
    pub(crate) mailbox: &'a str,
    pub(crate) params: &'a str,
}

/// Reads `FROM:<path> params` or `TO:<path> params`; `word` is `FROM` or `TO`. Blanks after the colon are not in the
/// grammar, but some clients send one.
pub(crate) fn parse<'a>(arg: &'a str, word: &str) -> Option<Path<'a>> {
    let (head, rest) = arg.split_at_checked(word.len())?;
    if !head.eq_ignore_ascii_case(word) {
        return None;
    }
    let path = rest.strip_prefix(':')?.trim_start_matches(' ');
    let inside = path.strip_prefix('<')?;
    let end = closing_bracket(inside)?;
    let (mailbox, rest) = inside.split_at_checked(end)?;
    let params = rest.strip_prefix('>')?;
    if !params.is_empty() && !params.starts_with(' ') {
        return None;
    }
    Some(Path { mailbox: without_route(mailbox), params: params.trim() })
}

/// Where the first `>` outside a quoted string is.
fn closing_bracket(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Source routes are accepted and ignored (RFC 5321 §3.6.1, Appendix C).
fn without_route(mailbox: &str) -> &str {
    match mailbox.split_once(':') {
        Some((route, mailbox)) if route.starts_with('@') => mailbox,
        _ => mailbox,
    }
}

/// `KEY` or `KEY=value`, in their order.
pub(crate) fn params(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    text.split(' ').filter(|p| !p.is_empty()).map(|param| match param.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (param, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        #[track_caller]
        fn check(arg: &str, expect: Option<(&str, &str)>) {
            let found = parse(arg, "FROM");
            assert_eq!(found.map(|p| (p.mailbox, p.params)), expect, "{arg:?}");
        }
        check("FROM:<a@example.test>", Some(("a@example.test", "")));
        check("from: <a@b> SIZE=1  BODY=8BITMIME ", Some(("a@b", "SIZE=1  BODY=8BITMIME")));
        check("FROM:<>", Some(("", "")));
        check("FROM:<@x.test,@y.test:a@b>", Some(("a@b", "")));
        check("FROM:<@x.test:a@b>", Some(("a@b", "")));
        check(r#"FROM:<"a>b\">"@c> X"#, Some((r#""a>b\">"@c"#, "X")));
        check("FROM:<ż@b> SMTPUTF8", Some(("ż@b", "SMTPUTF8")));
        check("FROM:a@b", None);
        check("FROM:<a@b", None);
        check("FROM:<a@b>X", None);
        check("FROM:<\"a@b>", None);
        check("FROM <a@b>", None);
        check("TO:<a@b>", None);
        check("", None);
        check("FRO", None);
        check("żż", None);
    }

    #[test]
    fn parameters() {
        let found: Vec<_> = params("SIZE=1 SMTPUTF8  A=b=c X=").collect();
        let expect = [("SIZE", Some("1")), ("SMTPUTF8", None), ("A", Some("b=c")), ("X", Some(""))];
        assert_eq!(found, expect);
    }
}
