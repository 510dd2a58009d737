//! The time of one sync of the disk that the nodes write to.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// The median of five hundred syncs of 512 bytes.
pub(crate) fn sync_p50(folder: &Path) -> Duration {
    let mut file = File::create(folder.join("sync")).expect("the folder is writable");
    file.write_all(&[0; 4096])
        .and_then(|()| file.sync_all())
        .expect("a sync");
    let mut times: Vec<Duration> = (0..500u32)
        .map(|turn| {
            file.rewind()
                .and_then(|()| file.write_all(&[turn as u8; 512]))
                .expect("a write");
            let began = Instant::now();
            file.sync_data().expect("a sync");
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}
