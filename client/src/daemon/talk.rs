//! One connection of the socket: lines in, answers out.

use whist_rt::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use whist_rt::unix::UnixStream;

use super::desk::{Desk, answer};
use crate::api::Command;
use crate::limits::RPC_LINE_BYTES_MAX;

pub(super) async fn talk(stream: UnixStream, desk: Desk) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let limit = u64::try_from(RPC_LINE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut lines = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let got = (&mut lines)
            .take(limit)
            .read_until(b'\n', &mut line)
            .await?;
        if got == 0 {
            return Ok(());
        }
        let whole = line.ends_with(b"\n");
        let (tag, mut answer) = answer(&line, &desk, &mut lines).await;
        answer.push('\n');
        if let Err(error) = write.write_all(answer.as_bytes()).await {
            if let Some(tag) = tag {
                let _ = desk.client.send(Command::Unheard { tag }).await;
            }
            return Err(error);
        }
        // The rest of a line that is too long cannot be told from a new one.
        if !whole {
            return Ok(());
        }
    }
}
