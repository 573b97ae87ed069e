//! What kapell and a supervisor say to each other: frames of a length (4 bytes, little end first) and postcard.
//!
//! Both ends are the same binary, so the frames carry no version.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{record::ExitRecord, spec::Spec};

/// No frame is longer than this; an environment is at most a few hundred KiB.
const FRAME_BYTES_MAX: u32 = 16 << 20;

/// From kapell.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Run this attempt. Only sent when no other one runs.
    Run {
        /// What to run.
        spec: Box<Spec>,
        /// How the attempt before ended is durable elsewhere, so that its record need not be.
        kept: bool,
    },
    /// Write this to the attempt's standard input. Only for [`super::spec::Stdin::Talk`].
    Say {
        /// What is written, after all that was to be written before.
        bytes: Vec<u8>,
        /// Whether that is all, so that its standard input ends.
        last: bool,
    },
    /// End the attempt: SIGTERM, then SIGKILL.
    Stop {
        /// How long it has to end by itself before the first signal, in milliseconds: for one that has been asked to
        /// in its own words.
        patience_ms: u64,
        /// The time between the two signals, in milliseconds.
        grace_ms: u64,
    },
}

/// From a supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// The process has started.
    Started {
        /// Its id.
        pid: u32,
    },
    /// It has printed something that is in its files now. Only for [`super::spec::Output::Followed`].
    Printed,
    /// Nothing of the attempt runs any more.
    Ended(Box<ExitRecord>),
}

/// Writes one frame.
///
/// # Errors
///
/// Fails as the socket does.
pub fn write(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    write_together(to, [message])
}

/// Writes frames at once, so that whoever reads them is woken once.
///
/// # Errors
///
/// Fails as the socket does.
pub fn write_together<'m, M: Serialize + 'm>(
    to: &mut impl Write,
    messages: impl IntoIterator<Item = &'m M>,
) -> io::Result<()> {
    let mut frames = Vec::new();
    for message in messages {
        let begin = frames.len();
        frames.extend([0; 4]);
        frames = postcard::to_extend(message, frames).map_err(io::Error::other)?;
        let len = u32::try_from(frames.len() - begin - 4).ok().filter(|&len| len <= FRAME_BYTES_MAX);
        let len = len.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the frame is too long"))?;
        frames[begin..begin + 4].copy_from_slice(&len.to_le_bytes());
    }
    to.write_all(&frames)
}

/// Reads one frame; `None` at the end of the stream, even in the middle of a frame.
///
/// # Errors
///
/// Fails as the socket does, or if the frame is not one.
pub fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut len = [0; 4];
    if !read_all(from, &mut len)? {
        return Ok(None);
    }
    let mut frame = vec![0; frame_len(len)?];
    if !read_all(from, &mut frame)? {
        return Ok(None);
    }
    postcard::from_bytes(&frame).map(Some).map_err(io::Error::other)
}

fn frame_len(len: [u8; 4]) -> io::Result<usize> {
    let len = u32::from_le_bytes(len);
    if len > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the frame is too long"));
    }
    Ok(len as usize)
}

fn read_all(from: &mut impl Read, into: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(into) {
        Ok(()) => Ok(true),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Collects frames from a stream that is read as far as it goes.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    /// Adds bytes as they came.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes out the next frame that is complete.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are no frame.
    pub fn take<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some((len, rest)) = self.bytes.split_first_chunk::<4>() else { return Ok(None) };
        let len = frame_len(*len)?;
        let Some(frame) = rest.get(..len) else { return Ok(None) };
        let message = postcard::from_bytes(frame).map_err(io::Error::other)?;
        self.bytes.drain(..4 + len);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_they_come_in() {
        let mut stream = Vec::new();
        for pid in [1, 70_000] {
            write(&mut stream, &Reply::Started { pid }).unwrap();
        }
        let mut frames = Frames::default();
        let mut seen = Vec::new();
        for byte in &stream {
            frames.extend(&[*byte]);
            while let Some(Reply::Started { pid }) = frames.take().unwrap() {
                seen.push(pid);
            }
        }
        assert_eq!(seen, [1, 70_000]);
    }

    #[test]
    fn a_cut_stream_ends_and_a_huge_frame_is_refused() {
        let mut stream = Vec::new();
        write(&mut stream, &Request::Stop { patience_ms: 0, grace_ms: 5 }).unwrap();
        for len in 0..stream.len() {
            assert!(read::<Request>(&mut &stream[..len]).unwrap().is_none(), "{len}");
        }
        assert!(read::<Request>(&mut &[0xff; 8][..]).is_err());
    }
}
