//! The real module behind `/dev/nsm`: one ioctl, a request and an answer in CBOR.
use super::cbor::{self, Request};
use super::{AttestationRequest, Description, Nsm, NsmError};
use rustix::ioctl::{Updater, ioctl, opcode};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use zeroize::Zeroizing;

const PATH: &str = "/dev/nsm";
/// The driver's own limits (`drivers/misc/nsm.c`).
const MAX_REQUEST_BYTES: usize = 0x1000;
const MAX_RESPONSE_BYTES: usize = 0x3000;
/// Registers of SHA-384; the module has 32.
const PCRS: u8 = 32;

/// `struct nsm_raw` of `include/uapi/linux/nsm.h`.
#[repr(C)]
struct Raw {
    request: Span,
    response: Span,
}

/// `struct nsm_iovec`.
#[repr(C)]
struct Span {
    address: u64,
    length: u64,
}

const NSM_IOCTL_RAW: rustix::ioctl::Opcode = opcode::read_write::<Raw>(0x0a, 0);

/// The Nitro Secure Module of this enclave.
pub struct Device {
    file: File,
}

impl Device {
    /// Opens `/dev/nsm`.
    ///
    /// # Errors
    /// There is no such device: this is no enclave, or its kernel has no driver for it.
    pub fn open() -> Result<Self, NsmError> {
        Self::open_at(Path::new(PATH))
    }

    fn open_at(path: &Path) -> Result<Self, NsmError> {
        let file = File::options().read(true).write(true).open(path).map_err(NsmError::Io)?;
        let kind = file.metadata().map_err(NsmError::Io)?.file_type();
        if kind.is_char_device() {
            return Ok(Self { file });
        }
        let text = format!("expected a character device, got {kind:?}");
        Err(NsmError::Io(io::Error::new(io::ErrorKind::InvalidInput, text)))
    }

    /// Random bytes travel here too: the answer is zeroized.
    fn call(&self, request: Request<'_>) -> Result<Zeroizing<Vec<u8>>, NsmError> {
        let request = cbor::encode(request);
        if request.len() > MAX_REQUEST_BYTES {
            return Err(NsmError::RequestTooLong { expected_bytes: MAX_REQUEST_BYTES, got_bytes: request.len() });
        }
        let mut response = Zeroizing::new(vec![0; MAX_RESPONSE_BYTES]);
        let length = self.exchange(&request, &mut response)?;
        response.truncate(length);
        Ok(response)
    }

    #[allow(unsafe_code)] // The kernel's door: the driver is reached by an ioctl with pointers and by nothing else.
    fn exchange(&self, request: &[u8], response: &mut [u8]) -> Result<usize, NsmError> {
        let mut raw = Raw {
            request: Span { address: address(request.as_ptr()), length: length(request) },
            response: Span { address: address(response.as_mut_ptr()), length: length(response) },
        };
        // SAFETY: NSM_IOCTL_RAW takes a `struct nsm_raw`, which `Raw` is, and changes only its response length. The
        // driver reads request.length bytes of `request` and writes at most response.length bytes of `response`; both
        // are borrowed for the whole call.
        unsafe { ioctl(&self.file, Updater::<NSM_IOCTL_RAW, Raw>::new(&mut raw)) }
            .map_err(|error| NsmError::Io(error.into()))?;
        match usize::try_from(raw.response.length) {
            Ok(length) if length <= response.len() => Ok(length),
            _ => Err(NsmError::Malformed("it is longer than the buffer for it")),
        }
    }
}

fn address(pointer: *const u8) -> u64 {
    pointer.expose_provenance() as u64
}

fn length(bytes: &[u8]) -> u64 {
    bytes.len() as u64
}

impl Nsm for Device {
    fn describe(&self) -> Result<Description, NsmError> {
        cbor::description(&self.call(Request::Describe)?)
    }

    fn attest(&self, request: &AttestationRequest<'_>) -> Result<Vec<u8>, NsmError> {
        cbor::document(&self.call(Request::Attestation(request))?).map(<[u8]>::to_vec)
    }

    fn pcrs(&self) -> Result<BTreeMap<u8, Vec<u8>>, NsmError> {
        let mut pcrs = BTreeMap::new();
        for index in 0..PCRS {
            let answer = self.call(Request::DescribePcr(index))?;
            let pcr = cbor::pcr(&answer)?;
            if pcr.lock {
                pcrs.insert(index, pcr.data.to_vec());
            }
        }
        Ok(pcrs)
    }

    fn random(&self, buffer: &mut [u8]) -> Result<(), NsmError> {
        let mut rest = buffer;
        while !rest.is_empty() {
            let answer = self.call(Request::GetRandom)?;
            let random = cbor::random(&answer)?;
            if random.is_empty() {
                return Err(NsmError::Malformed("no random bytes"));
            }
            let count = random.len().min(rest.len());
            let (filled, unfilled) = rest.split_at_mut(count);
            filled.copy_from_slice(&random[..count]);
            rest = unfilled;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ioctls_number_is_that_of_the_kernels_header() {
        assert_eq!(NSM_IOCTL_RAW, 0xc020_0a00);
    }

    #[test]
    fn a_missing_device_and_a_file_that_is_none_are_told() {
        let missing = Device::open_at(Path::new("/nonexistent/nsm")).err().unwrap().to_string();
        assert!(missing.contains("/dev/nsm") && missing.contains("inside a Nitro enclave"), "{missing}");
        let plain = Device::open_at(Path::new("/proc/version")).err().unwrap().to_string();
        assert!(plain.contains("/dev/nsm"), "{plain}");
        let null = Device::open_at(Path::new("/dev/null")).ok().unwrap();
        assert!(matches!(null.pcrs(), Err(NsmError::Io(_))));
    }

    #[test]
    fn a_request_over_the_drivers_limit_is_refused_before_the_driver() {
        let null = Device::open_at(Path::new("/dev/null")).ok().unwrap();
        let long = vec![0; MAX_REQUEST_BYTES];
        let request = AttestationRequest { user_data: Some(&long), ..AttestationRequest::default() };
        assert!(matches!(null.attest(&request), Err(NsmError::RequestTooLong { expected_bytes: 4096, .. })));
    }
}
