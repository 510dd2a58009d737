//! The combined log format, as nginx and Apache write it, for tools that read theirs.

use std::io::{self, Write};

use super::Access;

/// What nginx logs of a client that left before it was answered.
const CLIENT_GONE: u16 = 499;

/// Writes one line. What a client sent is escaped, so it can neither end its field nor the line.
pub(super) fn write(access: &Access, output: &mut impl Write) -> io::Result<()> {
    write!(output, "{} - - [", access.client)?;
    match jiff::Timestamp::try_from(access.time) {
        Ok(time) => write!(output, "{}", time.strftime("%d/%b/%Y:%H:%M:%S +0000"))?,
        Err(_) => write!(output, "-")?,
    }
    write!(output, "] \"")?;
    for text in [&access.method, " ", &access.target, " ", access.protocol] {
        escaped(text, output)?;
    }
    let status = match access.status {
        0 => CLIENT_GONE,
        status => status,
    };
    write!(output, "\" {status} {}", access.sent)?;
    for text in [&access.referer, &access.user_agent] {
        write!(output, " \"")?;
        escaped(if text.is_empty() { "-" } else { text }, output)?;
        write!(output, "\"")?;
    }
    writeln!(output)
}

fn escaped(text: &str, output: &mut impl Write) -> io::Result<()> {
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => write!(output, "\\x{byte:02X}")?,
            plain => output.write_all(&[plain])?,
        }
    }
    Ok(())
}
