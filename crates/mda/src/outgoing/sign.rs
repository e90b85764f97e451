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
