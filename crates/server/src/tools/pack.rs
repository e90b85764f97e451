//! `openpoczta pack`

use super::{FolderArguments, count, size};
use crate::cli::print;
use anyhow::{Result, ensure};
use std::sync::Arc;
use storage::{Options, Store};
use types::SystemClock;

#[derive(clap::Args)]
pub(crate) struct PackArguments {
    #[command(flatten)]
    folder: FolderArguments,
}

/// Each segment that is packed is a line of the log.
pub(crate) async fn run(arguments: &PackArguments) -> Result<()> {
    let options = arguments.folder.of_folder()?;
    let folder = options.folder.display();
    ensure!(
        options.folder.join("log").is_dir(),
        "there is no mail store in {folder}: it has no folder `log`; give the data folder of the server"
    );
    // Nobody else is here to give way to.
    let store = Store::open(&Options { pack: false, ..options.clone() }, Arc::new(SystemClock))?;
    let packed = match store.seal().await {
        Ok(()) => store.pack().await,
        Err(error) => Err(error),
    };
    store.close().await;
    let Some(packed) = packed? else { return Ok(()) };
    print(&format!(
        "{} packed now, {} of them to give up deleted letters. All in all {}: {} take {} on disk, {} of them deleted letters.\n",
        count(packed.written, "segment"),
        packed.collected,
        count(packed.packs, "packed segment"),
        size(packed.raw_bytes),
        size(packed.stored_bytes),
        size(packed.dead_bytes),
    ))
}
