//! What plays the other side in tests of the KMS client: a security module, envelopes, and a TLS server with literal answers.
#![allow(dead_code)] // Each test file is a program of its own and uses some of it.
use aws_lc_rs::cipher::{AES_256, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use base64ct::{Base64, Encoding};
use enclave::kms::{Client, Credentials, DecryptRequest, Dial, Endpoint, KmsError, Limits, Recipient, Region};
use enclave::nsm::{AttestationRequest, Description, Nsm, NsmError};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};
use zeroize::Zeroizing;

pub const HOST: &str = "kms.test";
pub const ARN: &str = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
pub const CIPHERTEXT: &[u8] = b"a ciphertext blob, opaque to everybody but KMS";
pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
pub const TOKEN: &str = "IQoJb3JpZ2luX2VjCANARYtokenCANARY==";

/// A module whose document is what was asked for, in a form that a test can take apart: lengths of 4 bytes, big-endian.
#[derive(Default)]
pub struct FakeNsm {
    pub documents: Mutex<Vec<Asked>>,
    pub is_broken: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub public_key: Vec<u8>,
    pub nonce: Vec<u8>,
    pub user_data: Vec<u8>,
}

impl Nsm for FakeNsm {
    fn describe(&self) -> Result<Description, NsmError> {
        Ok(Description { module_id: "i-0-enc0".to_owned(), max_pcrs: 32, digest: "SHA384".to_owned() })
    }

    fn attest(&self, request: &AttestationRequest<'_>) -> Result<Vec<u8>, NsmError> {
        if self.is_broken {
            return Err(NsmError::Refused("InternalError".to_owned()));
        }
        let asked = Asked {
            public_key: request.public_key.unwrap().to_vec(),
            nonce: request.nonce.unwrap().to_vec(),
            user_data: request.user_data.unwrap().to_vec(),
        };
        let document = asked.public_key.clone();
        self.documents.lock().unwrap().push(asked);
        Ok(document)
    }

    fn pcrs(&self) -> Result<BTreeMap<u8, Vec<u8>>, NsmError> {
        Ok(BTreeMap::from([
            (0, vec![0xcd; 48]),
            (1, vec![1; 48]),
            (2, vec![2; 48]),
            (3, vec![0; 48]),
            (9, vec![9; 48]),
        ]))
    }

    fn random(&self, buffer: &mut [u8]) -> Result<(), NsmError> {
        aws_lc_rs::rand::fill(buffer).unwrap();
        Ok(())
    }
}

/// One for all tests of a file: it takes a moment to make.
pub static RECIPIENT: LazyLock<Recipient> = LazyLock::new(|| Recipient::generate().ok().unwrap());

/// The public key of [`RECIPIENT`], which shows in its documents only.
pub fn public_key() -> Vec<u8> {
    let nsm = FakeNsm::default();
    let _ = Kms::answering(vec![]).decrypt(&nsm);
    nsm.documents.lock().unwrap()[0].public_key.clone()
}

#[derive(Clone, Copy, Debug)]
pub enum Length {
    Definite,
    Indefinite,
}

#[derive(Clone, Copy, Debug)]
pub enum Content {
    Pieces(usize),
    Primitive,
}

/// An element with its length in the form that is asked for (constructed ones only).
pub fn element(tag: u8, length: Length, content: &[u8]) -> Vec<u8> {
    match length {
        Length::Indefinite => [&[tag, 0x80], content, &[0, 0]].concat(),
        Length::Definite if content.len() < 128 => [&[tag, u8::try_from(content.len()).unwrap()], content].concat(),
        Length::Definite => {
            let bytes = u16::try_from(content.len()).unwrap().to_be_bytes();
            [&[tag, 0x82], bytes.as_slice(), content].concat()
        }
    }
}

pub fn definite(tag: u8, content: &[u8]) -> Vec<u8> {
    element(tag, Length::Definite, content)
}

pub const OAEP: &[u8] = b"\x30\x3c\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x07\x30\x2f\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00";

/// An envelope of KMS's shape around an encrypted key, an IV and an encrypted content.
pub fn envelope(key: &[u8], iv: &[u8], content: &[u8], length: Length, form: Content) -> Vec<u8> {
    let version = definite(0x02, &[2]);
    let recipient = [version.clone(), definite(0x80, &[7; 32]), OAEP.to_vec(), definite(0x04, key)].concat();
    let recipients = definite(0x31, &definite(0x30, &recipient));
    let aes = [definite(0x06, b"\x60\x86\x48\x01\x65\x03\x04\x01\x2a"), definite(0x04, iv)].concat();
    let content = match form {
        Content::Primitive => definite(0x80, content),
        Content::Pieces(size) => {
            let pieces: Vec<u8> = content.chunks(size).flat_map(|piece| definite(0x04, piece)).collect();
            element(0xa0, length, &pieces)
        }
    };
    let data = definite(0x06, b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01");
    let encrypted = element(0x30, length, &[data, definite(0x30, &aes), content].concat());
    let enveloped = element(0x30, length, &[version, recipients, encrypted].concat());
    let kind = definite(0x06, b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03");
    element(0x30, length, &[kind, element(0xa0, length, &enveloped)].concat())
}

/// What KMS does with a plaintext and a document's public key: encrypted key, IV, encrypted content.
pub fn encrypted(plaintext: &[u8], public_key: &[u8]) -> (Vec<u8>, [u8; 16], Vec<u8>) {
    let (key, iv) = ([3; 32], [4; 16]);
    let cipher = PaddedBlockEncryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_256, &key).unwrap()).unwrap();
    let mut content = plaintext.to_vec();
    cipher.less_safe_encrypt(&mut content, EncryptionContext::Iv128(FixedLength::from(iv))).unwrap();
    let public_key = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(public_key).unwrap()).unwrap();
    let mut wrapped = vec![0; public_key.ciphertext_size()];
    public_key.encrypt(&OAEP_SHA256_MGF1SHA256, &key, &mut wrapped, None).unwrap();
    (wrapped, iv, content)
}

/// An envelope as KMS makes it.
pub fn sealed(plaintext: &[u8], public_key: &[u8]) -> Vec<u8> {
    let (key, iv, content) = encrypted(plaintext, public_key);
    envelope(&key, &iv, &content, Length::Indefinite, Content::Pieces(1000))
}

/// A 200 with KMS's JSON.
pub fn decrypted(envelope: &[u8]) -> String {
    let body = format!(
        r#"{{"CiphertextForRecipient":"{}","EncryptionAlgorithm":"SYMMETRIC_DEFAULT","KeyId":"{ARN}"}}"#,
        Base64::encode_string(envelope)
    );
    answer(200, &body)
}

/// A refusal as KMS words it.
pub fn refusal(status: u16, kind: &str, message: &str) -> String {
    answer(status, &format!(r#"{{"__type":"{kind}","message":{}}}"#, serde_json::Value::from(message)))
}

pub fn answer(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\nx-amzn-RequestId: 1\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A server's certificate for [`HOST`], and the root that it leads to.
pub struct Pki {
    pub root: Vec<u8>,
    pub config: Arc<rustls::ServerConfig>,
}

pub fn pki(host: &str) -> Pki {
    pki_with(host, rustls::DEFAULT_VERSIONS, |_| {})
}

/// The same with a leaf that is changed before it is signed, or without some versions of TLS.
pub fn pki_with(
    host: &str,
    versions: &[&'static rustls::SupportedProtocolVersion],
    change: impl Fn(&mut rcgen::CertificateParams),
) -> Pki {
    let root_key = rcgen::KeyPair::generate().unwrap();
    let mut root = rcgen::CertificateParams::new(vec![]).unwrap();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root_der = root.self_signed(&root_key).unwrap().der().to_vec();
    let issuer = rcgen::Issuer::new(root, root_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut leaf = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
    change(&mut leaf);
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    Pki { root: root_der, config: Arc::new(config) }
}

/// A KMS that gives literal answers, one per connection, and keeps what it was asked.
pub struct Kms {
    pub client: Client,
    pub requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Kms {
    pub fn answering(answers: Vec<String>) -> Self {
        let pki = pki(HOST);
        Self::with(&pki.root.clone(), move |stream, index, requests| {
            let answer = answers.get(index).cloned().unwrap_or_default();
            serve(stream, &pki.config, answer.as_bytes(), requests);
        })
    }

    /// The same answer, however often it is asked.
    pub fn with_repeated(answer: String) -> Self {
        let pki = pki(HOST);
        let mut kms = Self::with(&pki.root.clone(), move |stream, _, requests| {
            serve(stream, &pki.config, answer.as_bytes(), requests);
        });
        kms.client = kms.client.with_limits(Limits { total: Duration::from_secs(1), ..quick() });
        kms
    }

    /// `serve` gets each connection's far end, its number and where to put what was asked.
    pub fn with(root: &[u8], serve: impl Fn(UnixStream, usize, &Mutex<Vec<Vec<u8>>>) + Send + Sync + 'static) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (serve, kept, count) = (Arc::new(serve), Arc::clone(&requests), Mutex::new(0));
        let dial: Dial = Box::new(move |_| {
            let (near, far) = UnixStream::pair()?;
            let (serve, kept) = (Arc::clone(&serve), Arc::clone(&kept));
            let mut count = count.lock().unwrap();
            let index = *count;
            *count += 1;
            std::thread::spawn(move || serve(far, index, &kept));
            Ok(near)
        });
        let endpoint = Endpoint::measured(HOST, 8000, &[root.to_vec()]).ok().unwrap();
        Self { client: Client::new(endpoint, dial).with_limits(quick()), requests }
    }

    pub fn decrypt(&self, nsm: &FakeNsm) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        self.decrypt_at(nsm, SystemTime::now())
    }

    pub fn decrypt_at(&self, nsm: &FakeNsm, now: SystemTime) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        let context = BTreeMap::from([("chain".to_owned(), "test-1".to_owned())]);
        self.client.decrypt(nsm, &RECIPIENT, &credentials(), &request(&context), now)
    }

    pub fn refusal(&self) -> KmsError {
        self.decrypt(&FakeNsm::default()).err().unwrap()
    }
}

pub fn quick() -> Limits {
    Limits { attempt: Duration::from_secs(2), total: Duration::from_secs(4), first_wait: Duration::from_millis(1) }
}

pub fn request(context: &BTreeMap<String, String>) -> DecryptRequest<'_> {
    DecryptRequest {
        region: Region::find("us-east-1").unwrap(),
        ciphertext: CIPHERTEXT,
        key_arn: Some(ARN),
        encryption_context: context,
    }
}

pub fn credentials() -> Credentials {
    Credentials {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: SECRET.to_owned(),
        session_token: Some(TOKEN.to_owned()),
    }
}

/// Reads one request over TLS and writes literal bytes.
pub fn serve(stream: UnixStream, config: &Arc<rustls::ServerConfig>, answer: &[u8], requests: &Mutex<Vec<Vec<u8>>>) {
    let connection = rustls::ServerConnection::new(Arc::clone(config)).unwrap();
    let mut stream = rustls::StreamOwned::new(connection, stream);
    let Ok(request) = read_request(&mut stream) else { return };
    requests.lock().unwrap().push(request);
    let _ = stream.write_all(answer).and_then(|()| stream.flush());
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

fn read_request(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let head = String::from_utf8(request.clone()).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    request.extend_from_slice(&body);
    Ok(request)
}
