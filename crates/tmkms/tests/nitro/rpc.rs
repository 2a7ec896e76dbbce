//! A scripted node's RPC: a thread that answers each GET as it is told.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// What a node answers to a path: the bytes of its whole answer.
pub type Script = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

/// A node whose address is free again at the end of the test's process.
pub struct Node(SocketAddr);

impl Node {
    pub fn start(script: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let script: Script = Arc::new(script);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let script = Arc::clone(&script);
                thread::spawn(move || serve(stream, &*script));
            }
        });
        Self(address)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.0)
    }
}

fn serve(mut stream: TcpStream, script: &dyn Fn(&str) -> Vec<u8>) {
    let mut asked = [0; 1024];
    let count = stream.read(&mut asked).unwrap_or_default();
    let asked = String::from_utf8_lossy(&asked[..count]).into_owned();
    let path = asked.strip_prefix("GET ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    let _ = stream.write_all(&script(path));
}

/// An answer with status 200.
pub fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

/// The same in chunks, as a node sends what is long.
pub fn chunked(body: &str) -> Vec<u8> {
    let mut text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    for chunk in body.as_bytes().chunks(1000) {
        text.push_str(&format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk)));
    }
    (text + "0\r\n\r\n").into_bytes()
}

/// The page `/status` of a node of that network at that height, whose latest block is of now.
pub fn status(network: &str, height: u64, is_catching_up: bool) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let time = attest::Timestamp(now).to_string();
    serde_json::json!({ "jsonrpc": "2.0", "id": -1, "result": {
        "node_info": { "network": network, "version": "0.38.12" },
        "sync_info": { "latest_block_height": height.to_string(), "latest_block_time": time, "catching_up": is_catching_up },
    } })
    .to_string()
}

/// A page of the validators: `others` that are not ours, and ours where it has a key.
pub fn validators(others: usize, ours: Option<(&str, &str)>, total: usize) -> String {
    let member = |address: &str, key: &str| {
        serde_json::json!({ "address": address, "pub_key": { "type": "tendermint/PubKeyEd25519", "value": key },
            "voting_power": "10", "proposer_priority": "-3" })
    };
    let others = (0..others).map(|number| member(&format!("{number:040X}"), "x"));
    let members: Vec<_> = others.chain(ours.map(|(address, key)| member(address, key))).collect();
    let count = members.len().to_string();
    serde_json::json!({ "jsonrpc": "2.0", "id": -1, "result": {
        "block_height": "12", "validators": members, "count": count, "total": total.to_string() } })
    .to_string()
}
