//! `SecretConnection` from both ends, and against an enemy in between.
use crate::node::{Listener, PATIENCE};
use ed25519_dalek::{Signer, SigningKey};
use signer::connection::{Socket, Timeouts};
use signer::keys::IdentityKey;
use signer::secret_connection::{
    AUTH_SIG_BYTES, AuthSig, DATA_BYTES, FRAME_BYTES, Handshake, PeerFault, PeerId, Received, SecretStream, Secrets,
};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    assert_eq!(hex.len(), 2 * N);
    std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
}

fn handshake(secret: &str) -> Handshake {
    Handshake::new(&Zeroizing::new(bytes(secret)))
}

/// From `cometbft-p2p` 0.3.0 (`src/test_vectors.rs`), which is known to work with CometBFT and Tendermint. TEST KEYS.
const ALICE_X25519: &str = "a14d1fe92419d4e23b4007079439b497ae77494ccda0195ac1c70680bb460908";
const BOB_X25519: &str = "b19aff79f5b8cd2f37d46b19e294364d843b1d820b0ac55ec72e9d4e7e04f041";
const ALICE_ED25519: &str = "a0d068d7c44e951610d54a7eb90279e8a31b61128d44d2dd92311763c468185c";
const BOB_ED25519: &str = "b07e65300419ce0b5d7274bcbc67fcfd3fb68272de9aa52a452a6889c7d33fd5";
const ALICE_HELLO: &str = "220a202faa1fdf0320284c3f8aae4f30c89f02bffac563155ddd572e887214464f5463";
const ALICE_AUTH: &str = "660a220a208f5a716b651b628b3e6fffd28f8b1fafc765fcfca53f7cad89f4680585c7668012402735eb20c3f2b8d6643d761be7d873427ccbb83fd6f64d04e5cbf8a1fa523422dcbc17fe2fb831fcb378cf17136f19e67defaebbcbc06135df8a7471734e9406";
const BOB_AUTH: &str = "660a220a201ac739117419d70a79bc031b74a7dbcf3e1d6f82342693078d526ddbd41984c21240fc9ecf23994aef6a1eae80ebb2fe10ac8784b9ec08cf1d17a19a5d87c1217e11430f955c7f6c213a7f00a9cecd181214c3ffc62b352417c775dec6c93b3d7f0a";

/// The key with which Alice, the lower, sends: bytes 32 to 63 of HKDF over X25519 of the two secrets above, computed
/// apart from this code, by some lines of Python.
const ALICE_SENDS: &str = "a34390198e6cd8ca13d3de08622412e789a8996785e3860953c4e7cd16959950";

fn pair() -> (Secrets, Secrets) {
    let (alice, bob) = (handshake(ALICE_X25519), handshake(BOB_X25519));
    let (to_bob, to_alice) = (alice.hello(), bob.hello());
    (alice.agree(&to_alice).ok().unwrap(), bob.agree(&to_bob).ok().unwrap())
}

#[test]
fn both_ends_make_what_another_implementation_makes_of_the_same_keys() {
    assert_eq!(handshake(ALICE_X25519).hello(), bytes(ALICE_HELLO));
    let (alice, bob) = pair();
    assert_eq!(alice.challenge, bob.challenge);
    for (secret, secrets, expected) in [(ALICE_ED25519, &alice, ALICE_AUTH), (BOB_ED25519, &bob, BOB_AUTH)] {
        let key = SigningKey::from_bytes(&bytes(secret));
        let public_key = key.verifying_key().to_bytes();
        let auth = AuthSig { public_key, signature: key.sign(&secrets.challenge).to_bytes() };
        assert_eq!(auth.encode(), bytes(expected));
        assert_eq!(AuthSig::decode(&bytes(expected)), Ok(auth));
        assert_eq!(auth.verify(&secrets.challenge), Ok(PeerId::of(&public_key)));
    }
}

/// Points of low order, from <https://cr.yp.to/ecdh.html>, and with the ignored top bit set.
#[test]
fn ephemeral_keys_of_low_order_are_refused() {
    for point in [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "0100000000000000000000000000000000000000000000000000000000000080",
    ] {
        let hello = bytes(&format!("220a20{point}"));
        assert_eq!(handshake(ALICE_X25519).agree(&hello).err(), Some(PeerFault::LowOrderKey), "{point}");
    }
}

#[test]
fn what_is_no_hello_and_our_own_hello_are_refused() {
    let hello = handshake(BOB_X25519).hello();
    for at in 0..3 {
        let mut other = hello;
        other[at] ^= 1;
        assert_eq!(handshake(ALICE_X25519).agree(&other).err(), Some(PeerFault::Hello));
    }
    assert_eq!(handshake(ALICE_X25519).agree(&bytes(ALICE_HELLO)).err(), Some(PeerFault::EchoedKey));
}

fn sealed(from: &mut Secrets, data: &[u8]) -> Vec<[u8; FRAME_BYTES]> {
    let mut wire = Vec::new();
    from.sealer.seal(data, &mut wire).unwrap();
    let (frames, rest) = wire.as_chunks();
    assert!(rest.is_empty());
    frames.to_vec()
}

fn opened(to: &mut Secrets, mut frame: [u8; FRAME_BYTES]) -> Result<Vec<u8>, PeerFault> {
    to.opener.open(&mut frame).map(|data| frame[data].to_vec())
}

#[test]
fn data_of_every_length_comes_out_as_it_went_in_and_in_as_few_frames_as_it_takes() {
    let (mut alice, mut bob) = pair();
    for (length, frames) in [(0, 0), (1, 1), (1023, 1), (1024, 1), (1025, 2), (2048, 2), (2049, 3), (10_240, 10)] {
        let data: Vec<u8> = (0..=250).cycle().take(length).collect();
        let wire = sealed(&mut alice, &data);
        assert_eq!(wire.len(), frames);
        let out: Vec<u8> = wire.into_iter().flat_map(|frame| opened(&mut bob, frame).unwrap()).collect();
        assert_eq!(out, data);
    }
}

#[test]
fn an_altered_byte_anywhere_in_a_frame_is_noticed() {
    let frame = sealed(&mut pair().0, b"a vote")[0];
    for at in 0..FRAME_BYTES {
        let mut altered = frame;
        altered[at] ^= 0x10;
        assert_eq!(opened(&mut pair().1, altered), Err(PeerFault::Frame), "byte {at}");
    }
    assert_eq!(opened(&mut pair().1, frame), Ok(b"a vote".to_vec()));
}

#[test]
fn a_frame_that_is_repeated_left_out_or_sent_back_is_noticed() {
    let (mut alice, mut bob) = pair();
    let [first, second] = [sealed(&mut alice, b"first")[0], sealed(&mut alice, b"second")[0]];
    assert_eq!(opened(&mut bob, first), Ok(b"first".to_vec()));
    assert_eq!(opened(&mut bob, first), Err(PeerFault::Frame));
    assert_eq!(opened(&mut pair().1, second), Err(PeerFault::Frame));
    assert_eq!(opened(&mut pair().0, first), Err(PeerFault::Frame), "sent back to its sender");
}

/// Seals by hand what an honest end would not.
fn frame_of_length(length: u32) -> [u8; FRAME_BYTES] {
    use chacha20poly1305::aead::AeadInOut;
    use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
    let key = bytes::<32>(ALICE_SENDS);
    let mut frame = [7; FRAME_BYTES];
    frame[..4].copy_from_slice(&length.to_le_bytes());
    let (plain, tag) = frame.split_at_mut(FRAME_BYTES - 16);
    let made = ChaCha20Poly1305::new(&key.into()).encrypt_inout_detached(&[0; 12].into(), &[], plain.into()).unwrap();
    tag.copy_from_slice(&made);
    frame
}

#[test]
fn a_frame_that_claims_nothing_or_more_than_it_can_carry_is_refused_and_padding_is_ignored() {
    for got in [0, 1025, 1028, 65_536, u32::MAX] {
        assert_eq!(opened(&mut pair().1, frame_of_length(got)), Err(PeerFault::FrameLength { got }));
    }
    assert_eq!(opened(&mut pair().1, frame_of_length(1024)), Ok(vec![7; DATA_BYTES]));
    assert_eq!(opened(&mut pair().1, frame_of_length(3)), Ok(vec![7; 3]));
}

#[test]
fn our_own_padding_is_zeroes() {
    use chacha20poly1305::aead::AeadInOut;
    use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
    let key = bytes::<32>(ALICE_SENDS);
    let mut frame = sealed(&mut pair().0, b"vote")[0];
    let (plain, tag) = frame.split_at_mut(FRAME_BYTES - 16);
    let tag = (&*tag).try_into().unwrap();
    let cipher = ChaCha20Poly1305::new(&key.into());
    cipher.decrypt_inout_detached(&[0; 12].into(), &[], (&mut *plain).into(), &tag).unwrap();
    assert_eq!(plain[..8], *b"\x04\0\0\0vote");
    assert!(plain[8..].iter().all(|byte| *byte == 0));
}

#[test]
fn an_identity_message_in_any_other_form_is_refused() {
    let good: [u8; AUTH_SIG_BYTES] = bytes(ALICE_AUTH);
    for at in [0, 1, 2, 3, 4, 37, 38] {
        let mut other = good;
        other[at] ^= 1;
        assert_eq!(AuthSig::decode(&other), Err(PeerFault::AuthSig), "byte {at}");
    }
}

#[test]
fn a_signature_over_anything_else_or_by_anyone_else_is_refused() {
    let (alice, _) = pair();
    let good = AuthSig::decode(&bytes(ALICE_AUTH)).unwrap();
    let bob = AuthSig::decode(&bytes(BOB_AUTH)).unwrap();
    let mut challenge = alice.challenge;
    challenge[0] ^= 1;
    assert_eq!(good.verify(&challenge), Err(PeerFault::Signature));
    let swapped = AuthSig { public_key: bob.public_key, ..good };
    assert_eq!(swapped.verify(&alice.challenge), Err(PeerFault::Signature));
    // The neutral element as key and as R, and S = 0: plain verification takes this for any message.
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    let weak = AuthSig { public_key: identity, signature };
    assert_eq!(weak.verify(&alice.challenge), Err(PeerFault::Signature));
}

#[test]
fn a_peer_id_is_the_fingerprint_that_cometbft_shows() {
    let id = PeerId::of(&bytes("8f5a716b651b628b3e6fffd28f8b1fafc765fcfca53f7cad89f4680585c76680"));
    let text = id.to_string();
    assert_eq!(text.len(), 40);
    assert_eq!(text.parse::<PeerId>(), Ok(id));
    assert_eq!(text.to_uppercase().parse::<PeerId>(), Ok(id));
    for wrong in ["", "f8", &text[1..], &format!("{text}0"), &text.replace(&text[..1], "g"), &"é".repeat(20)] {
        assert!(wrong.parse::<PeerId>().is_err(), "{wrong}");
    }
}

fn sockets() -> [Socket; 2] {
    let (one, two) = UnixStream::pair().unwrap();
    [one, two].map(|stream| Socket::Unix(Arc::new(stream)))
}

fn key() -> IdentityKey {
    IdentityKey::random().ok().unwrap()
}

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

fn fault(error: &io::Error) -> Option<PeerFault> {
    error.get_ref()?.downcast_ref().copied()
}

#[test]
fn a_whole_answer_is_one_write_and_a_long_request_arrives_in_pieces() {
    let [ours, theirs] = sockets();
    let peer = thread::spawn(move || SecretStream::handshake(theirs, &key(), None, soon()).unwrap());
    let mut stream = SecretStream::handshake(ours, &key(), None, soon()).unwrap();
    let mut peer = peer.join().unwrap();
    let mut writes = 0;
    let data = vec![42; 10_240];
    let send = stream.send(&data, |socket, sealed| {
        writes += 1;
        assert_eq!(sealed.len(), 10 * FRAME_BYTES);
        socket.write_all(sealed)
    });
    send.unwrap();
    assert_eq!(writes, 1);
    let mut received = Vec::new();
    while received.len() < data.len() {
        received.extend(data_of(&mut peer));
    }
    assert_eq!(received, data);
    drop(stream);
    assert_eq!(peer.receive().unwrap(), Received::End, "the end between two frames is an end");
}

#[test]
fn a_peer_that_ends_within_a_frame_is_an_error_and_not_an_end() {
    let [ours, theirs] = sockets();
    let peer = thread::spawn(move || SecretStream::handshake(theirs, &key(), None, soon()).unwrap());
    let mut stream = SecretStream::handshake(ours, &key(), None, soon()).unwrap();
    let mut peer = peer.join().unwrap();
    stream.send(b"half", |socket, sealed| socket.write_all(&sealed[..500])).unwrap();
    drop(stream);
    assert_eq!(peer.receive().unwrap(), Received::Part);
    assert_eq!(peer.receive().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_pinned_peer_is_accepted_and_any_other_refused_by_both_ids() {
    for pin_is_right in [true, false] {
        let [ours, theirs] = sockets();
        let (theirs_key, other) = (key(), PeerId::of(&[0; 32]));
        let id = PeerId::of(&theirs_key.public_bytes());
        let peer = thread::spawn(move || SecretStream::handshake(theirs, &theirs_key, None, soon()));
        let pin = if pin_is_right { id } else { other };
        match SecretStream::handshake(ours, &key(), Some(pin), soon()) {
            Ok(stream) => assert!(pin_is_right && stream.peer() == id),
            Err(error) => {
                let text = error.to_string();
                assert!(!pin_is_right && text.contains(&id.to_string()) && text.contains(&other.to_string()), "{text}");
            }
        }
        drop(peer.join().unwrap());
    }
}

#[test]
fn two_ends_of_one_identity_are_not_connected_to_each_other() {
    let [ours, theirs] = sockets();
    let key = Arc::new(key());
    let same = Arc::clone(&key);
    let peer = thread::spawn(move || SecretStream::handshake(theirs, &same, None, soon()).err().unwrap());
    let error = SecretStream::handshake(ours, &key, None, soon()).err().unwrap();
    assert_eq!(fault(&error), Some(PeerFault::OwnIdentity));
    assert_eq!(fault(&peer.join().unwrap()), Some(PeerFault::OwnIdentity));
}

/// The peer's side of a handshake up to the identity message, which the test then makes itself.
fn half_handshake(socket: &mut Socket) -> Secrets {
    let ours = handshake(BOB_X25519);
    socket.write_all(&ours.hello()).unwrap();
    let mut hello = [0; 35];
    socket.read_exact(&mut hello).unwrap();
    ours.agree(&hello).ok().unwrap()
}

#[test]
fn a_peer_with_a_wrong_signature_is_refused() {
    let [ours, mut theirs] = sockets();
    let peer = thread::spawn(move || {
        let mut secrets = half_handshake(&mut theirs);
        theirs.write_all(&sealed(&mut secrets, &bytes::<AUTH_SIG_BYTES>(BOB_AUTH))[0]).unwrap();
        let _ = theirs.read(&mut [0; 4096]);
    });
    let error = SecretStream::handshake(ours, &key(), None, soon()).err().unwrap();
    assert_eq!(fault(&error), Some(PeerFault::Signature));
    peer.join().unwrap();
}

#[test]
fn an_identity_message_in_two_frames_with_a_request_behind_it_is_read_right() {
    let [ours, mut theirs] = sockets();
    let peer = thread::spawn(move || {
        let mut secrets = half_handshake(&mut theirs);
        let key = SigningKey::from_bytes(&bytes(BOB_ED25519));
        let signature = key.sign(&secrets.challenge).to_bytes();
        let mut message = AuthSig { public_key: key.verifying_key().to_bytes(), signature }.encode().to_vec();
        message.extend_from_slice(b"ping");
        for part in [&message[..40], &message[40..]] {
            theirs.write_all(&sealed(&mut secrets, part)[0]).unwrap();
        }
        let _ = theirs.read(&mut [0; 4096]);
        theirs
    });
    let mut stream = SecretStream::handshake(ours, &key(), None, soon()).unwrap();
    assert_eq!(data_of(&mut stream), b"ping");
    drop(peer.join().unwrap());
}

#[test]
fn a_peer_that_drips_single_bytes_cannot_exceed_the_deadline() {
    let [ours, mut theirs] = sockets();
    let peer = thread::spawn(move || {
        let hello = handshake(BOB_X25519).hello();
        for byte in hello.iter().cycle() {
            if theirs.write_all(&[*byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
    let begun = Instant::now();
    let error = SecretStream::handshake(ours, &key(), None, begun + Duration::from_millis(300)).err().unwrap();
    let took = begun.elapsed();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(3), "{took:?}");
    peer.join().unwrap();
}

#[test]
fn a_silent_peer_cannot_exceed_the_deadline() {
    let [ours, _theirs] = sockets();
    let begun = Instant::now();
    let error = SecretStream::handshake(ours, &key(), None, begun + Duration::from_millis(100)).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[test]
fn garbage_and_an_early_end_before_the_handshake_are_errors() {
    for (sent, expected) in [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n".as_slice(), Some(PeerFault::Hello)),
        (&[0; 35], Some(PeerFault::Hello)),
        (b"\x22\x0a", None),
        (b"", None),
    ] {
        let [ours, mut theirs] = sockets();
        theirs.write_all(sent).unwrap();
        let Socket::Unix(stream) = &theirs else { unreachable!("a Unix pair") };
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let error = SecretStream::handshake(ours, &key(), None, soon()).err().unwrap();
        assert_eq!(fault(&error), expected, "{error}");
    }
}

#[test]
fn it_works_over_tcp_too() {
    let listener = Listener::tcp();
    let address = listener.address().parse().unwrap();
    let node = thread::spawn(move || listener.accept().ping());
    let mut socket = Socket::dial(&address, PATIENCE).unwrap();
    socket.set_timeouts(PATIENCE, PATIENCE).unwrap();
    let mut stream = SecretStream::handshake(socket, &key(), None, soon()).unwrap();
    assert_eq!(data_of(&mut stream), [2, 0x3a, 0]);
    stream.send(&[2, 0x42, 0], |socket, sealed| socket.write_all(sealed)).unwrap();
    node.join().unwrap();
}

/// The data of the next frame, however many pieces it comes in.
fn data_of<Io: Read + Write>(stream: &mut SecretStream<Io>) -> Vec<u8> {
    loop {
        match stream.receive().unwrap() {
            Received::Data(bytes) => return bytes.to_vec(),
            Received::Part => {}
            Received::End => panic!("the stream ended"),
        }
    }
}
