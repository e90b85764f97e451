//! Puts a data folder right.

use super::Progress;
use super::fsck::{Faults, Report};
use crate::{Options, Result};
use types::Clock;

pub(super) fn repair(
    _options: &Options,
    _faults: &Faults,
    _report: &Report,
    _clock: &dyn Clock,
    _progress: Progress<'_>,
) -> Result<Vec<String>> {
    Ok(Vec::new())
}
