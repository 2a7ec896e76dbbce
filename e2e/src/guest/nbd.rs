//! The part of the NBD protocol (<https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md>) that QEMU needs of a server: fixed newstyle
//! negotiation with NBD_OPT_GO, then reads, writes and flushes with simple replies.
use anyhow::{Result, bail, ensure};
use std::io::{Read, Write};

const GREETING: &[u8; 16] = b"NBDMAGICIHAVEOPT";
const OPTION_MAGIC: u64 = u64::from_be_bytes(*b"IHAVEOPT");
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;

/// NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES.
const HANDSHAKE_FLAGS: u16 = 0b11;
const OPT_ABORT: u32 = 2;
const OPT_INFO: u32 = 6;
const OPT_GO: u32 = 7;
const REP_ACK: u32 = 1;
const REP_INFO: u32 = 3;
const REP_ERR_UNSUP: u32 = (1 << 31) + 1;
const INFO_EXPORT: u16 = 0;
const INFO_BLOCK_SIZE: u16 = 3;
/// NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA.
const TRANSMISSION_FLAGS: u16 = 0b1101;

const CMD_READ: u16 = 0;
const CMD_WRITE: u16 = 1;
const CMD_DISC: u16 = 2;
const CMD_FLUSH: u16 = 3;
const CMD_FLAG_FUA: u16 = 1;
const EINVAL: u32 = 22;
const EIO: u32 = 5;

/// The longest option and the longest request; QEMU's own limit for a request is 32 MiB.
const MAX_OPTION_BYTES: u32 = 64 << 10;
const MAX_REQUEST_BYTES: u32 = 32 << 20;
/// What is read and written at once, and what a power cut keeps or loses as a whole.
pub const SECTOR_BYTES: usize = 512;
/// The smallest, the best and the largest request, as NBD_INFO_BLOCK_SIZE has them.
const BLOCK_SIZES: [u32; 3] = [512, 4096, MAX_REQUEST_BYTES];

/// A disk as its reader and writer sees it. Offsets and lengths are whole sectors within the disk.
pub trait Blocks {
    /// Its size.
    fn bytes(&self) -> u64;
    /// What was written last, durable or not.
    ///
    /// # Errors
    /// The system's.
    fn read(&self, offset: u64, into: &mut [u8]) -> Result<()>;
    /// Takes it into the cache, or, when `durable`, to where a cut cannot reach it.
    ///
    /// # Errors
    /// The system's.
    fn write(&self, offset: u64, data: &[u8], durable: bool) -> Result<()>;
    /// Makes durable what has been written.
    ///
    /// # Errors
    /// The system's.
    fn flush(&self) -> Result<()>;
}

/// Serves one connection to its end.
///
/// # Errors
/// When the connection breaks, which is what happens when QEMU is killed, or the other side does not keep to the protocol.
pub fn serve(mut input: impl Read, mut output: impl Write, disk: &impl Blocks) -> Result<()> {
    if !negotiate(&mut input, &mut output, disk.bytes())? {
        return Ok(());
    }
    let mut data = Vec::new();
    while let Some(request) = Request::read(&mut input)? {
        let error = request.answer(&mut input, disk, &mut data)?;
        let mut reply = Vec::with_capacity(16 + data.len());
        reply.extend(SIMPLE_REPLY_MAGIC.to_be_bytes());
        reply.extend(error.to_be_bytes());
        reply.extend(request.cookie);
        if error == 0 && request.kind == CMD_READ {
            reply.extend(&data);
        }
        output.write_all(&reply)?;
    }
    Ok(())
}

/// Until the client goes over to transmission; false when it leaves.
fn negotiate(input: &mut impl Read, output: &mut impl Write, size: u64) -> Result<bool> {
    output.write_all(GREETING)?;
    output.write_all(&HANDSHAKE_FLAGS.to_be_bytes())?;
    let _client_flags: [u8; 4] = take(input)?;
    loop {
        ensure!(u64::from_be_bytes(take(input)?) == OPTION_MAGIC, "an option without its magic number");
        let option = u32::from_be_bytes(take(input)?);
        let length = u32::from_be_bytes(take(input)?);
        ensure!(length <= MAX_OPTION_BYTES, "an option of {length} bytes");
        std::io::copy(&mut input.by_ref().take(length.into()), &mut std::io::sink())?;
        match option {
            OPT_ABORT => return Ok(false),
            OPT_GO | OPT_INFO => {
                let mut export = INFO_EXPORT.to_be_bytes().to_vec();
                export.extend(size.to_be_bytes());
                export.extend(TRANSMISSION_FLAGS.to_be_bytes());
                option_reply(output, option, REP_INFO, &export)?;
                let mut sizes = INFO_BLOCK_SIZE.to_be_bytes().to_vec();
                for size in BLOCK_SIZES {
                    sizes.extend(size.to_be_bytes());
                }
                option_reply(output, option, REP_INFO, &sizes)?;
                option_reply(output, option, REP_ACK, &[])?;
                if option == OPT_GO {
                    return Ok(true);
                }
            }
            _ => option_reply(output, option, REP_ERR_UNSUP, &[])?,
        }
    }
}

fn option_reply(stream: &mut impl Write, option: u32, kind: u32, data: &[u8]) -> Result<()> {
    let mut reply = OPTION_REPLY_MAGIC.to_be_bytes().to_vec();
    reply.extend(option.to_be_bytes());
    reply.extend(kind.to_be_bytes());
    reply.extend(u32::try_from(data.len())?.to_be_bytes());
    reply.extend(data);
    Ok(stream.write_all(&reply)?)
}

struct Request {
    flags: u16,
    kind: u16,
    cookie: [u8; 8],
    offset: u64,
    length: u32,
}

impl Request {
    /// None when the client says goodbye.
    fn read(stream: &mut impl Read) -> Result<Option<Self>> {
        ensure!(u32::from_be_bytes(take(stream)?) == REQUEST_MAGIC, "a request without its magic number");
        let flags = u16::from_be_bytes(take(stream)?);
        let kind = u16::from_be_bytes(take(stream)?);
        let cookie = take(stream)?;
        let offset = u64::from_be_bytes(take(stream)?);
        let length = u32::from_be_bytes(take(stream)?);
        ensure!(length <= MAX_REQUEST_BYTES, "a request of {length} bytes");
        Ok((kind != CMD_DISC).then_some(Self { flags, kind, cookie, offset, length }))
    }

    /// Does it and gives the error number of the reply; `data` takes what is written or read.
    fn answer(&self, stream: &mut impl Read, disk: &impl Blocks, data: &mut Vec<u8>) -> Result<u32> {
        data.clear();
        if self.kind == CMD_WRITE || (self.kind == CMD_READ && self.fits(disk)) {
            data.resize(usize::try_from(self.length)?, 0);
        }
        if self.kind == CMD_WRITE {
            stream.read_exact(data)?;
        }
        let done = match self.kind {
            CMD_READ | CMD_WRITE if !self.fits(disk) => return Ok(EINVAL),
            CMD_READ => disk.read(self.offset, data),
            CMD_WRITE => disk.write(self.offset, data, self.flags & CMD_FLAG_FUA != 0),
            CMD_FLUSH => disk.flush(),
            other => bail!("a request of kind {other}, which was not offered"),
        };
        Ok(if done.is_ok() { 0 } else { EIO })
    }

    fn fits(&self, disk: &impl Blocks) -> bool {
        let sector = SECTOR_BYTES as u64;
        let end = self.offset.checked_add(self.length.into());
        self.offset.is_multiple_of(sector)
            && u64::from(self.length).is_multiple_of(sector)
            && end.is_some_and(|end| end <= disk.bytes())
    }
}

fn take<const N: usize>(stream: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}
