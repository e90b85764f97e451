//! A letter that our user's programs send on and on (RFC 5321 §6.3).

use super::{Leaving, Objection};
use crate::Refusal;

/// Letters that people send again have passed some servers before; RFC 5321 §6.3 wants a limit of at least 100.
const RECEIVED: usize = 100;

pub(super) fn run(leaving: &mut Leaving<'_>) -> Result<(), Objection> {
    if leaving.fields("Received").take(RECEIVED + 1).count() > RECEIVED {
        return Err(Refusal::Loop.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::step;
    use super::*;

    #[test]
    fn a_hundred_are_enough() {
        #[track_caller]
        fn check(count: usize, expect: &Result<(), Objection>) {
            let raw =
                format!("{}From: a@b\r\n\r\n", "Received: from a\r\n\tby b\r\n".repeat(count));
            assert_eq!(&step(run, &raw, |_| ()), expect);
        }
        check(0, &Ok(()));
        check(100, &Ok(()));
        check(101, &Err(Refusal::Loop.into()));
    }
}
