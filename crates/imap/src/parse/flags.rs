//! Lists of flags.

use super::{Parsed, Parser, limits, text};
use types::Flags;

impl Parser<'_> {
    /// ```text
    /// flag-list = "(" [flag *(SP flag)] ")"
    /// flag      = "\Answered" / "\Flagged" / "\Deleted" / "\Seen" / "\Draft" / flag-keyword
    /// ```
    /// `\Recent` and flags we do not know cannot be set by a client: an error.
    pub(crate) fn flag_list(&mut self) -> Parsed<Flags> {
        let mut flags = Flags::default();
        self.list(limits::FLAGS, |p| p.flag(&mut flags))?;
        Ok(flags)
    }

    /// STORE also takes flags without parentheses.
    pub(crate) fn store_flags(&mut self) -> Parsed<Flags> {
        if self.peek() == Some(b'(') {
            return self.flag_list();
        }
        let mut flags = Flags::default();
        for _ in 0..limits::FLAGS {
            self.flag(&mut flags)?;
            if !self.more() {
                return Ok(flags);
            }
        }
        self.wanted("a shorter list")
    }

    fn flag(&mut self, flags: &mut Flags) -> Parsed<()> {
        let at = self.at;
        let name = self.take_while(|b| b == b'\\' || text::is_atom_char(b));
        let known = std::str::from_utf8(name).is_ok_and(|name| flags.insert_name(name));
        if !known {
            self.at = at;
            return self.wanted("a flag or keyword that can be stored");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::whole;
    use super::*;

    #[test]
    fn flags() {
        #[track_caller]
        fn check(text: &str, expect: Option<&str>) {
            let found = whole(text.as_bytes(), Parser::store_flags).ok();
            assert_eq!(found.map(|f| f.to_string()).as_deref(), expect, "{text}");
        }
        check("()", Some(""));
        check("(\\seen \\DELETED $Work)", Some("\\Deleted \\Seen $Work"));
        check("\\Seen \\Flagged", Some("\\Flagged \\Seen"));
        check("\\Seen ", Some("\\Seen"));
        check("(\\Recent)", None);
        check("(\\Foo)", None);
        check("(a\\b)", None);
        check("(\"quoted\")", None);
        check("", None);
    }
}
