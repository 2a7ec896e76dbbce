//! The chain against files, programs and loopback servers that imitate ECS and IMDS: what is found, and what is said.
use super::*;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "CANARYwJalrXUtnFEMI/K7MDENG";
const TOKEN: &str = "TOKENAQoDYXdzEJr==";

/// A new folder that is gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("tmkms-credentials-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// What a server does with a request.
enum Reply {
    /// Answers it.
    Say(String),
    /// Takes it and stays silent.
    Silence,
}

fn reply(status: &str, body: &str) -> Reply {
    Reply::Say(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

/// Serves on loopback for the test's life, and remembers each request's head.
fn server(answer: impl Fn(&str) -> Reply + Send + 'static) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let requests = Arc::clone(&seen);
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            requests.lock().unwrap().push(head.clone());
            match answer(&head) {
                Reply::Say(text) => drop(stream.write_all(text.as_bytes())),
                Reply::Silence => silent.push(stream),
            }
        }
    });
    (host, seen)
}

fn document(more: &str) -> String {
    format!("{{\"AccessKeyId\":\"{ID}\",\"SecretAccessKey\":\"{SECRET}\",\"Token\":\"{TOKEN}\"{more}}}")
}

const LATER: &str = ",\"Expiration\":\"2099-01-02T03:04:05Z\"";

/// No instance role, unless a test brings its own.
fn find_in(pairs: &[(&str, &str)]) -> Result<Credentials, NotFound> {
    let mut all = pairs.to_vec();
    if !pairs.iter().any(|(name, _)| name.starts_with("AWS_EC2")) {
        all.push(("AWS_EC2_METADATA_DISABLED", "true"));
    }
    find(&Variables::given(&all))
}

fn found(pairs: &[(&str, &str)]) -> Credentials {
    find_in(pairs).unwrap_or_else(|error| panic!("{error}"))
}

/// What is said, with the remedy; never a secret.
fn said(pairs: &[(&str, &str)]) -> String {
    let error = find_in(pairs).err().expect("no credentials");
    let text = format!("{error}\n{}", error.remedy());
    for secret in [SECRET, TOKEN, "CANARY", "TOKENA"] {
        assert!(!text.contains(secret), "{text}");
    }
    text
}

#[track_caller]
fn says(pairs: &[(&str, &str)], parts: &[&str]) {
    let text = said(pairs);
    for part in parts {
        assert!(text.contains(part), "expected {part:?} in:\n{text}");
    }
}

#[test]
fn nothing_anywhere_is_told_source_by_source() {
    let expected = "no AWS credentials; tried in this order:\n  \
         the environment: AWS_ACCESS_KEY_ID is not set\n  \
         the profile: there is no profile \"default\" in ~/.aws/credentials and ~/.aws/config\n  \
         web identity: AWS_WEB_IDENTITY_TOKEN_FILE is not set\n  \
         the container's role: neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor AWS_CONTAINER_CREDENTIALS_FULL_URI is set\n  \
         the instance's role: AWS_EC2_METADATA_DISABLED is set";
    let error = find_in(&[]).err().unwrap();
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.remedy(), REMEDY);
}

#[test]
fn the_environment_comes_first() {
    let folder = Folder::new();
    let file = folder.file("credentials", "[default]\naws_access_key_id = OTHER\naws_secret_access_key = other\n");
    let pairs = [("AWS_ACCESS_KEY_ID", ID), ("AWS_SECRET_ACCESS_KEY", SECRET), ("AWS_SHARED_CREDENTIALS_FILE", &*file)];
    let one = found(&pairs);
    assert_eq!((one.access_key_id.as_str(), one.secret_access_key.as_str()), (ID, SECRET));
    assert!(one.session_token.is_none() && one.expires_at.is_none() && one.source == "the environment");
    let exported = [("AWS_SESSION_TOKEN", TOKEN), ("AWS_CREDENTIAL_EXPIRATION", "2099-01-02T03:04:05+00:00")];
    let two = found(&[&pairs[..], &exported[..]].concat());
    assert_eq!(two.session_token.as_ref().map(|token| token.as_str()), Some(TOKEN));
    assert_eq!(two.expires_at, Some(4_071_006_245));
}

#[test]
fn half_an_environment_ends_the_search() {
    says(
        &[("AWS_ACCESS_KEY_ID", ID)],
        &["AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not", "set both, or neither"],
    );
    says(&[("AWS_SECRET_ACCESS_KEY", SECRET)], &["AWS_SECRET_ACCESS_KEY is set, but AWS_ACCESS_KEY_ID is not"]);
    let temporary = [("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    says(&temporary, &["begins with ASIA", "no session token"]);
    says(
        &[("AWS_ACCESS_KEY_ID", ID), ("AWS_SECRET_ACCESS_KEY", "CANARY x\r\nX: y")],
        &["the secret access key is empty or has"],
    );
    let old = [
        ("AWS_ACCESS_KEY_ID", ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_CREDENTIAL_EXPIRATION", "2020-01-01T00:00:00Z"),
    ];
    says(&old, &["they expired", "clock"]);
}

#[test]
fn a_profile_is_read_from_both_files_and_chosen_by_its_name() {
    let folder = Folder::new();
    let keys =
        format!("[default]\naws_access_key_id=WRONG\naws_secret_access_key=wrong\n[mine]\naws_access_key_id = {ID}\n");
    let credentials = folder.file("credentials", &keys);
    let config =
        format!("[profile mine]\nregion = eu-west-1\naws_secret_access_key = {SECRET}\naws_session_token={TOKEN}\n");
    let config = folder.file("config", &config);
    let files = [("AWS_SHARED_CREDENTIALS_FILE", &*credentials), ("AWS_CONFIG_FILE", &*config)];
    let mine = found(&[&files[..], &[("AWS_PROFILE", "mine")]].concat());
    assert_eq!((mine.access_key_id.as_str(), mine.secret_access_key.as_str()), (ID, SECRET));
    assert_eq!((mine.session_token.is_some(), mine.source.as_str()), (true, "profile mine"));
    assert_eq!(found(&files).source, "profile default");
    let wrong = [&files[..], &[("AWS_PROFILE", "yours")]].concat();
    says(&wrong, &["AWS_PROFILE is \"yours\", and there is no such profile in", &credentials, "correct AWS_PROFILE"]);
}

#[test]
fn the_home_folder_has_the_files_unless_variables_name_others() {
    let folder = Folder::new();
    std::fs::create_dir(folder.0.join(".aws")).unwrap();
    folder.file(".aws/credentials", &format!("[default]\naws_access_key_id={ID}\naws_secret_access_key={SECRET}\n"));
    let home = folder.0.display().to_string();
    assert_eq!(found(&[("HOME", &home)]).source, "profile default");
    assert!(find_in(&[("HOME", &home), ("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")]).is_err());
}

#[test]
fn kinds_of_profiles_that_need_awss_own_tool_are_refused_by_name_with_the_way_out() {
    for (name, value) in [
        ("role_arn", "arn:aws:iam::111122223333:role/x"),
        ("sso_session", "corp"),
        ("sso_start_url", "https://x"),
        ("web_identity_token_file", "/t"),
        ("login_session", "x"),
    ] {
        let folder = Folder::new();
        let config = folder.file("config", &format!("[profile corp]\n{name} = {value}\n"));
        let pairs = [("AWS_CONFIG_FILE", &*config), ("AWS_PROFILE", "corp")];
        let reason = format!("profile \"corp\" has `{name}`, which is not supported here");
        says(&pairs, &[&reason, "aws configure export-credentials --profile corp"]);
    }
    says(&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")], &["AWS_WEB_IDENTITY_TOKEN_FILE is set", "export-credentials"]);
}

#[test]
fn a_profile_without_keys_is_passed_over_unless_it_was_chosen() {
    let folder = Folder::new();
    let config = folder.file("config", "[default]\nregion = eu-west-1\n[profile half]\naws_access_key_id = x\n");
    says(&[("AWS_CONFIG_FILE", &config)], &["profile \"default\" has no keys", "the instance's role"]);
    let text = said(&[("AWS_CONFIG_FILE", &config), ("AWS_PROFILE", "default")]);
    assert!(text.contains("write keys into it") && !text.contains("the instance's role"), "{text}");
    says(&[("AWS_CONFIG_FILE", &config), ("AWS_PROFILE", "half")], &["has one of aws_access_key_id and"]);
}

#[test]
fn files_that_cannot_be_read_end_the_search() {
    let folder = Folder::new();
    let path = folder.0.display().to_string();
    says(&[("AWS_SHARED_CREDENTIALS_FILE", &path)], &[&path, "cannot be read"]);
    std::fs::write(folder.0.join("binary"), [0xff; 9]).unwrap();
    let binary = folder.0.join("binary").display().to_string();
    says(&[("AWS_CONFIG_FILE", &binary)], &["cannot be read"]);
    let long = folder.file("long", &"#".repeat((1 << 20) + 1));
    says(&[("AWS_CONFIG_FILE", &long)], &["expected at most 1048576 bytes"]);
}

#[test]
fn a_program_gives_credentials_or_its_failure() {
    let folder = Folder::new();
    let run = |command: &str| folder.file("config", &format!("[default]\ncredential_process = {command}\n"));
    let good = document(LATER).replace("Token", "SessionToken").replacen('{', "{\"Version\":1,", 1);
    let json = folder.file("json", &good);
    let config = run(&format!("cat {json}"));
    let one = found(&[("AWS_CONFIG_FILE", &config)]);
    assert_eq!(
        (one.session_token.is_some(), one.expires_at, one.source.as_str()),
        (true, Some(4_071_006_245), "profile default")
    );
    for (command, reason) in [
        ("exit 3", "credential_process failed: exit status: 3"),
        ("true", "credential_process: what it gave is not the JSON"),
        ("echo '{}'", "has no \"Version\": 1"),
        ("echo '{\"Version\":1}'", "no AccessKeyId"),
        ("/nowhere/to/be/found 2>/dev/null", "failed: exit status: 127"),
        ("yes CANARY", "prints too much"),
    ] {
        says(
            &[("AWS_CONFIG_FILE", &run(command))],
            &[reason, "by hand"][..if reason.contains("JSON") || reason.contains("no ") { 1 } else { 2 }],
        );
    }
}

#[test]
fn a_program_that_does_not_end_is_ended_with_all_that_it_started() {
    let start = Instant::now();
    let outcome = process::run_within("sleep 600 & sleep 600", "x".to_owned(), Duration::from_millis(200));
    assert!(outcome.err().unwrap().reason.contains("did not end within"));
    assert!(start.elapsed() < Duration::from_secs(60));
    // It closed its output, and goes on.
    let outcome = process::run_within("exec >&-; sleep 600", "x".to_owned(), Duration::from_millis(200));
    assert!(outcome.err().unwrap().reason.contains("did not end within"));
}

#[test]
fn a_containers_agent_is_asked_with_its_authorization() {
    let (host, seen) = server(|_| reply("200 OK", &document(LATER)));
    let uri = format!("http://{host}/v2/credentials?id=1");
    let folder = Folder::new();
    let file = folder.file("token", "from the file\n");
    let one =
        found(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &uri), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic abc")]);
    assert_eq!((one.expires_at, one.source.as_str()), (Some(4_071_006_245), "the container's role"));
    let both = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*uri),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic abc"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &*file),
    ];
    found(&both);
    let local = uri.replace("127.0.0.1", "localhost");
    found(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &local)]);
    let seen = seen.lock().unwrap();
    assert!(
        seen[0].starts_with("GET /v2/credentials?id=1 HTTP/1.1\r\n")
            && seen[0].contains("\r\nAuthorization: Basic abc\r\n")
    );
    assert!(seen[1].contains("\r\nAuthorization: from the file\r\n"));
    assert!(!seen[2].contains("Authorization"));
}

#[test]
fn a_containers_agent_elsewhere_is_never_asked() {
    for (uri, reason) in [
        ("http://192.0.2.1/x", "192.0.2.1 is not on this machine"),
        ("http://169.254.169.254/x", "169.254.169.254 is not on this machine"),
        ("http://example.com/x", "no host that can be read"),
        ("http://localhost.example.com/x", "no host that can be read"),
        ("http://127.0.0.1@192.0.2.1/x", "no host that can be read"),
        ("https://127.0.0.1/x", "expected http://, got https"),
        ("http://127.0.0.1/x y", "a character that none has"),
        ("127.0.0.1", "expected http://"),
    ] {
        says(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri)], &[reason, "169.254.170.23"]);
    }
    says(&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "x y")], &["no path that begins with a slash"]);
    let (host, seen) = server(|_| reply("200 OK", &document("")));
    let uri = format!("http://{host}/");
    says(
        &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &uri), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "CANARY\r\nX: y")],
        &["AWS_CONTAINER_AUTHORIZATION_TOKEN: the token has a character that none has"],
    );
    assert!(seen.lock().unwrap().is_empty());
}

#[test]
fn a_containers_agent_that_fails_is_told_with_its_status() {
    for (answer, reason) in [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "expected status 200, got 403"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nCANARY!", "not the JSON of credentials"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nCANARY", "got its beginning"),
        ("220 CANARY ESMTP\r\n\r\n", "expected HTTP, got something else"),
        ("", "half an answer"),
    ] {
        let (host, _) = server(move |_| Reply::Say(answer.to_owned()));
        let uri = format!("http://{host}/");
        says(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &uri)], &[reason, &host]);
    }
    let (host, _) = server(|_| Reply::Say(format!("HTTP/1.1 200 OK\r\n\r\n{}", "CANARY".repeat(20_000))));
    says(
        &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("http://{host}/"))],
        &["at most 65536 bytes, got a longer one"],
    );
}

#[test]
fn answers_come_in_chunks_or_up_to_the_connections_end_too() {
    let body = document("");
    let (one, two) = body.split_at(10);
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x};x=y\r\n{one}\r\n{:X}\r\n{two}\r\n0\r\n\r\n",
        one.len(),
        two.len()
    );
    for answer in [chunked, format!("HTTP/1.0 200 OK\r\n\r\n{body}")] {
        let (host, _) = server(move |_| Reply::Say(answer.clone()));
        assert!(found(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("http://{host}/"))]).expires_at.is_none());
    }
}

/// EC2's metadata service with one of its answers replaced.
fn metadata(at: &'static str, replaced: Option<(&'static str, &'static str)>) -> (String, Arc<Mutex<Vec<String>>>) {
    server(move |head| {
        let line = head.lines().next().unwrap_or_default();
        let target = line.split(' ').nth(1).unwrap_or_default();
        if target.ends_with(at)
            && let Some((status, body)) = replaced
        {
            return reply(status, body);
        }
        let has_token = head.contains("\r\nX-aws-ec2-metadata-token: IMDSTOKEN\r\n");
        match (line.split(' ').next().unwrap_or_default(), target) {
            ("PUT", "/latest/api/token") if head.contains("X-aws-ec2-metadata-token-ttl-seconds: ") => {
                reply("200 OK", "IMDSTOKEN")
            }
            ("GET", "/latest/meta-data/iam/security-credentials/") if has_token => reply("200 OK", "signer-role\n"),
            ("GET", "/latest/meta-data/iam/security-credentials/signer-role") if has_token => {
                reply("200 OK", &document(&format!("{LATER},\"Code\":\"Success\",\"Type\":\"AWS-HMAC\"")))
            }
            _ => reply("401 Unauthorized", ""),
        }
    })
}

#[test]
fn an_instances_role_is_asked_with_a_token() {
    let (host, seen) = metadata("none", None);
    let one = found(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &format!("http://{host}/"))]);
    assert_eq!((one.expires_at, one.source.as_str()), (Some(4_071_006_245), "the instance's role signer-role"));
    assert_eq!(one.access_key_id.as_str(), ID);
    assert_eq!(seen.lock().unwrap().len(), 3);
}

#[test]
fn every_trouble_of_an_instances_role_has_its_remedy() {
    const ROLE: &str = "signer-role";
    for (at, status, body, reason, remedy) in [
        ("token", "403 Forbidden", "", "expected status 200, got 403", "--http-endpoint enabled"),
        ("token", "404 Not Found", "", "expected status 200, got 404", "give the instance a role"),
        ("token", "200 OK", "CANARY\u{1b}", "its token cannot be read", ""),
        ("credentials/", "404 Not Found", "", "the instance has no role", "associate-iam-instance-profile"),
        ("credentials/", "401 Unauthorized", "", "expected status 200, got 401", "its token was refused"),
        ("credentials/", "200 OK", "../CANARY", "not the name of a role", ""),
        ("credentials/", "200 OK", "", "not the name of a role", ""),
        (ROLE, "500 Oh", "", "expected status 200, got 500", ""),
        (ROLE, "200 OK", "CANARY", "role signer-role: what it gave is not the JSON", ""),
        (
            ROLE,
            "200 OK",
            "{\"Code\":\"AssumeRoleUnauthorizedAccess\"}",
            "it says Code: AssumeRoleUnauthorizedAccess",
            "",
        ),
        (
            ROLE,
            "200 OK",
            "{\"AccessKeyId\":\"ASIAX\",\"SecretAccessKey\":\"CANARY\",\"Token\":\"TOKENA\",\"Expiration\":\"soon\"}",
            "not a time of RFC 3339",
            "",
        ),
        (
            ROLE,
            "200 OK",
            "{\"AccessKeyId\":\"ASIAX\",\"SecretAccessKey\":\"CANARY\",\"Token\":\"TOKENA\",\"Expiration\":\"2020-01-01T00:00:00Z\"}",
            "they expired",
            "clock",
        ),
    ] {
        let (host, _) = metadata(at, Some((status, body)));
        says(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &format!("http://{host}"))], &[reason, remedy, &host]);
    }
}

#[test]
fn a_silent_metadata_service_is_given_up_with_the_hint_of_the_hop_limit() {
    let (host, seen) = server(|_| Reply::Silence);
    let start = Instant::now();
    says(
        &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &format!("http://{host}"))],
        &["no whole answer within 1 s", "hop-limit 2"],
    );
    assert!(start.elapsed() < Duration::from_secs(30));
    assert_eq!(seen.lock().unwrap().len(), 2, "asked twice");
}

#[test]
fn a_metadata_service_that_is_not_there_is_named() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    says(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &format!("http://{closed}"))], &["refused", &closed]);
    says(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", "https://x")], &["AWS_EC2_METADATA_SERVICE_ENDPOINT is no http://"]);
}

#[test]
fn times_are_read_as_rfc_3339_writes_them() {
    for (text, expected) in [
        ("1970-01-01T00:00:00Z", Some(0)),
        ("2026-11-23T23:59:59Z", Some(1_795_478_399)),
        ("2024-02-29T12:00:00.123456Z", Some(1_709_208_000)),
        ("2024-02-29T14:00:00+02:00", Some(1_709_208_000)),
        ("2024-02-29t06:30:00-05:30", Some(1_709_208_000)),
        ("", None),
        ("2024-02-29", None),
        ("2024-13-01T00:00:00Z", None),
        ("2024-02-29T12:00:00", None),
        ("2024-02-29T12:00:00.Z", None),
        ("2024-02-29T12:00:00+2:00", None),
        ("2024-02-29T12:00:00+aa:00", None),
        ("2024-é2-29T12:00:00Z", None),
        ("+024-02-29T12:00:00Z", None),
    ] {
        assert_eq!(json::seconds(text), expected, "{text}");
    }
}
