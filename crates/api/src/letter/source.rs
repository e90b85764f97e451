//! What a letter's page is made of, read from the store: texts, images, and the letters inside.

use super::image;
use crate::jmap::body::{self, Tree, content_id};
use crate::{Result, limits};
use bytes::Bytes;
use mparser::{Envelope, Part, PartKind};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use storage::{Email, Store};

/// A letter's contents in the order they are shown.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) letters: Vec<Inside>,
    /// Images by Content-ID, without `<>`.
    pub(crate) images: Arc<HashMap<String, Image>>,
}

/// The letter, or one inside it.
#[derive(Debug, Default)]
pub(crate) struct Inside {
    /// Of a letter inside; the outermost has its head shown elsewhere.
    pub(crate) envelope: Option<Box<Envelope>>,
    pub(crate) pieces: Vec<Piece>,
}

#[derive(Debug)]
pub(crate) enum Piece {
    Html(Text),
    Plain {
        text: Text,
        /// `format=flowed`, and with `delsp=yes` (RFC 3676 §4).
        flowed: bool,
        delsp: bool,
    },
    Picture(Image),
}

#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) text: String,
    /// There is more in the letter.
    pub(crate) cut: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// From the bytes, never from the letter.
    pub(crate) kind: &'static str,
    pub(crate) bytes: Bytes,
}

/// Reads what the page of an email needs, within the page's limits.
pub(crate) async fn source(store: &Store, email: &Email) -> Result<Source> {
    let tree = Tree::of(&email.index);
    let mut reader = Reader {
        store,
        email,
        text_bytes: limits::PAGE_BYTES,
        image_bytes: limits::PAGE_IMAGE_BYTES,
    };
    let mut letters = Vec::new();
    let mut roots = vec![(0, None)];
    let mut shown = HashSet::new();
    while let Some((root, envelope)) = roots.pop() {
        if letters.len() > limits::PAGE_LETTERS {
            break;
        }
        let shape = tree.shape(root);
        let mut pieces = Vec::new();
        for at in shape.html {
            let Some(part) = tree.part(at) else { continue };
            shown.insert(at);
            pieces.extend(reader.piece(part).await?);
        }
        // The first of the letters inside comes off the stack first.
        for at in shape.attachments.into_iter().rev() {
            let inside = tree.part(at).filter(|part| part.kind == PartKind::Message);
            if let (Some(part), Some(child)) = (inside, tree.children(at).first()) {
                roots.push((*child, Some(part.envelope.clone().unwrap_or_default())));
            }
        }
        letters.push(Inside { envelope, pieces });
    }
    let mut images = HashMap::new();
    for (at, part) in email.index.parts.iter().enumerate() {
        let Some(id) = content_id(part).filter(|_| !shown.contains(&at)) else {
            continue;
        };
        if let Some(image) = reader.image(part).await? {
            images.entry(id.to_owned()).or_insert(image);
        }
    }
    Ok(Source { letters, images: Arc::new(images) })
}

struct Reader<'a> {
    store: &'a Store,
    email: &'a Email,
    text_bytes: usize,
    image_bytes: usize,
}

impl Reader<'_> {
    async fn piece(&mut self, part: &Part) -> Result<Option<Piece>> {
        if part.media_type != "text" {
            return Ok(self.image(part).await?.map(Piece::Picture));
        }
        let (text, cut) = body::text(self.store, self.email, part, self.text_bytes).await?;
        self.text_bytes -= text.len().min(self.text_bytes);
        let text = Text { text, cut };
        if part.subtype == "html" {
            return Ok(Some(Piece::Html(text)));
        }
        let says = |name, value: &str| {
            let param = part.param(name);
            param.is_some_and(|v| v.eq_ignore_ascii_case(value))
        };
        Ok(Some(Piece::Plain {
            text,
            flowed: says("format", "flowed"),
            delsp: says("delsp", "yes"),
        }))
    }

    /// `None` for what is no image a browser shows safely, or is too large.
    async fn image(&mut self, part: &Part) -> Result<Option<Image>> {
        let maybe = matches!(part.media_type.as_str(), "image" | "application");
        let size_bytes = usize::try_from(part.body_bytes()).unwrap_or(usize::MAX);
        if !maybe || part.kind != PartKind::Leaf || size_bytes > self.image_bytes {
            return Ok(None);
        }
        let bytes = body::bytes(self.store, self.email, part).await?;
        let Some(kind) = image::kind(&bytes) else {
            return Ok(None);
        };
        self.image_bytes -= size_bytes;
        Ok(Some(Image { kind, bytes }))
    }
}
