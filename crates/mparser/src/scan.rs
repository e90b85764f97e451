//! The one pass over the bytes.
use crate::{Index, Part};
pub(crate) fn scan(raw: &[u8]) -> Index {
    let size = u32::try_from(raw.len()).unwrap_or(u32::MAX);
    let part = Part {
        body: 0..size,
        media_type: "text".into(),
        subtype: "plain".into(),
        ..Part::default()
    };
    Index {
        size,
        parts: vec![part],
        ..Index::default()
    }
}
