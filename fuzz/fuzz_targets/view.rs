//! A letter read lazily tells what the index tells, line counts or not; a part of a stored index tells what the whole
//! one does; the short ways and the long ways give the same values.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mparser::{Index, Message, View};

fuzz_target!(|raw: &[u8]| {
    let letter = Message::parse(raw);
    let index = letter.index();
    let (view, tree) = (View::parse(raw), View::parse_tree(raw));
    // 8-bit bytes of the header are in the charset of the first text part, which the header alone does not tell.
    let header = View::parse_header(if raw.is_ascii() { raw } else { b"" });
    for view in [Some(&view), Some(&tree), raw.is_ascii().then_some(&header)].into_iter().flatten()
    {
        assert_eq!(view.subject(), index.subject());
        assert_eq!((view.from(), view.to(), view.cc()), (index.from_(), index.to_(), index.cc_()));
        assert_eq!(view.date(), index.date());
        assert_eq!(view.message_id().as_deref(), index.message_id().as_deref());
    }
    assert_eq!(view.lines(), index.lines);
    assert_eq!((view.parts().len(), tree.parts().len()), (index.parts.len(), index.parts.len()));
    let mut buffer = b"old".to_vec();
    for (number, (part, expect)) in view.parts().zip(&index.parts).enumerate().take(100) {
        let in_tree = tree.part(number).unwrap();
        let (media_type, subtype) = part.media_type();
        assert_eq!((&*media_type, &*subtype), (&*expect.media_type, &*expect.subtype));
        assert_eq!(part.media_type(), in_tree.media_type());
        assert_eq!((part.kind(), part.encoding()), (expect.kind, expect.encoding.clone()));
        assert_eq!((part.parent(), part.lines()), (expect.parent, expect.lines));
        assert_eq!(part.filename(), expect.filename());
        assert_eq!(part.body(), letter.body(number));
        assert_eq!((in_tree.header(), in_tree.body()), (part.header(), part.body()));
        assert_eq!(part.bytes_in(&mut buffer), &*letter.bytes(number));
        assert_eq!(part.text_in(&mut buffer), letter.text(number));
        assert_eq!(in_tree.text(), letter.text(number));
    }
    let files = letter.all_embedded();
    let found = files.iter().map(|(part, f)| (*part, &*f.name, f.content.len()));
    assert!(index.files.iter().map(|f| (f.part as usize, &*f.name, f.size as usize)).eq(found));
    let stored = index.encode();
    let header = Index::decode_header(&stored).unwrap();
    assert_eq!((&header.envelope, &header.defects), (&index.envelope, &index.defects));
    let places = Index::decode_places(&stored).unwrap();
    assert_eq!(
        (places.size, places.lines, places.parts.len()),
        (index.size, index.lines, index.parts.len())
    );
    for (place, part) in places.parts.iter().zip(&index.parts) {
        assert_eq!((&place.header, &place.body, place.kind), (&part.header, &part.body, part.kind));
        assert_eq!((&place.params, &place.encoding), (&part.params, &part.encoding));
    }
    // Any text is a page: what is left of it is no longer than asked for, and not more than there was.
    let page = String::from_utf8_lossy(raw);
    let text = mparser::html_to_text(&page, 200);
    assert!(text.chars().count() <= 200);
    assert!(mparser::html_to_text(&page, usize::MAX).starts_with(text.trim_end()));
});
