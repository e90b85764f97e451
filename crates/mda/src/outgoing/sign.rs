//! DKIM signatures of the author's domain, over the letter as it leaves.

use super::{Leaving, Objection};

#[expect(clippy::unnecessary_wraps, reason = "the shape of the column")]
pub(super) fn run(leaving: &mut Leaving<'_>) -> Result<(), Objection> {
    let Some(author) = &leaving.author else { return Ok(()) };
    let signer = &leaving.outgoing.signer;
    let fields = signer.sign(&leaving.letter, author.domain(), leaving.now_unix_s);
    if !fields.is_empty() {
        leaving.letter = [fields.as_bytes(), &leaving.letter].concat();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Outgoing;
    use super::super::author;
    use super::super::complete::put_together;
    use super::super::tests::step;
    use super::*;
    use antispam::dkim::{Key, Signer};
    use std::sync::Arc;

    #[test]
    fn the_authors_domain_signs() {
        #[track_caller]
        fn check(domain: &'static str, signatures: usize) {
            let signed = |leaving: &mut Leaving<'_>| {
                author::run(leaving)?;
                put_together(leaving)?;
                let key = |selector| {
                    let pem = Key::make_ed25519().unwrap();
                    Key::from_pem(domain, selector, pem.as_bytes()).unwrap()
                };
                let signer = Arc::new(Signer::new(vec![key("a"), key("b")]));
                let outgoing = Outgoing { signer, ..Outgoing::default() };
                let mut other = Leaving {
                    outgoing: &outgoing,
                    message: leaving.message.clone(),
                    author: leaving.author.clone(),
                    letter: leaving.letter.clone(),
                    added: String::new(),
                    left_out: Vec::new(),
                    ..*leaving
                };
                run(&mut other)?;
                leaving.letter = other.letter;
                Ok(())
            };
            let raw = "From: sales@example.test\r\n\r\nhello\r\n";
            let look = |l: &Leaving<'_>| String::from_utf8(l.letter.clone()).unwrap();
            let letter = step(signed, raw, look).unwrap();
            assert_eq!(letter.matches("DKIM-Signature: ").count(), signatures);
            assert!(letter.ends_with(raw), "{letter}");
        }
        check("example.test", 2);
        check("other.test", 0);
    }
}
