//! A letter as a page of its own: HTML cleaned, plain text marked up, images of the letter put inside.
//!
//! Nothing here is trusted to be safe alone: the page is served with [`CSP`], which lets nothing run and
//! nothing be fetched. The cleaning keeps the page readable and says what was left out. Knows nothing about
//! HTTP or sessions; `page` is pure.

mod balance;
mod clean;
mod image;
mod page;
mod source;
mod text;

pub(crate) use image::kind as image_kind;
pub(crate) use page::{Look, Theme, page};
pub(crate) use source::{Source, source};

use crate::{Error, Result};

/// The page's own policy; the boundary between a letter and everything else.
pub(crate) const CSP: &str = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; \
    style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'";

/// Whether showing the letter as it was sent would ask other servers for something.
pub(crate) async fn asks_outside(source: Source) -> Result<bool> {
    apart(move || page::asks_outside(&source)).await
}

/// Makes the page, away from the threads that wait for sockets: a large letter takes a tenth of a second.
pub(crate) async fn render(source: Source, look: Look) -> Result<String> {
    apart(move || page(&source, look)).await
}

async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Error::Internal(format!("a letter's page: {e}")))
}
