//! AWS Signature Version 4 in the Authorization header, for requests with a plain path and no query.
//!
//! AWS's own crate would bring an async runtime into the enclave (docs/adr/0006): these lines are checked against the
//! vectors that it is checked with.
use super::credentials::Credentials;
use super::time::Utc;
use aws_lc_rs::{digest, hmac};
use zeroize::Zeroizing;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What a signature is good for.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub time: Utc,
    pub region: &'a str,
    pub service: &'a str,
}

impl Scope<'_> {
    fn text(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.time.date(), self.region, self.service)
    }
}

/// The part of a request that is signed. Header names are lower case and in alphabetical order; values have no space
/// at either end and no two in a row.
#[derive(Clone, Copy)]
pub(super) struct Signable<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

/// The value of the Authorization header.
pub(super) fn authorization(request: &Signable<'_>, scope: &Scope<'_>, credentials: &Credentials) -> String {
    let canonical = canonical_request(request);
    let to_sign = string_to_sign(scope, &canonical);
    let signature = hex(hmac::sign(&signing_key(scope, credentials), to_sign.as_bytes()).as_ref());
    let (id, scope, signed) = (&credentials.access_key_id, scope.text(), signed_headers(request.headers));
    format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={signed}, Signature={signature}")
}

/// It repeats the session token: zeroized.
fn canonical_request(request: &Signable<'_>) -> Zeroizing<String> {
    let length = request.headers.iter().map(|(name, value)| 2 * name.len() + value.len() + 3).sum::<usize>();
    // Room for all of it at once: a text that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(length + request.method.len() + request.path.len() + 128));
    for part in [request.method, "\n", request.path, "\n\n"] {
        text.push_str(part);
    }
    for (name, value) in request.headers {
        for part in [name, ":", value, "\n"] {
            text.push_str(part);
        }
    }
    for part in ["\n", &signed_headers(request.headers), "\n", &sha256(request.body)] {
        text.push_str(part);
    }
    text
}

fn string_to_sign(scope: &Scope<'_>, canonical_request: &str) -> String {
    format!("{ALGORITHM}\n{}\n{}\n{}", scope.time.basic(), scope.text(), sha256(canonical_request.as_bytes()))
}

fn signing_key(scope: &Scope<'_>, credentials: &Credentials) -> hmac::Key {
    let secret = &credentials.secret_access_key;
    let mut first = Zeroizing::new(Vec::with_capacity(4 + secret.len()));
    first.extend_from_slice(b"AWS4");
    first.extend_from_slice(secret.as_bytes());
    let date = scope.time.date();
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, &first);
    for part in [&*date, scope.region, scope.service, "aws4_request"] {
        key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
    }
    key
}

fn signed_headers(headers: &[(&str, &str)]) -> String {
    headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";")
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    struct Vector {
        name: &'static str,
        method: &'static str,
        headers: &'static [(&'static str, &'static str)],
        body: &'static [u8],
        canonical_digest: &'static str,
        signature: &'static str,
    }

    const HOST: (&str, &str) = ("host", "example.amazonaws.com");
    const DATE: (&str, &str) = ("x-amz-date", "20150830T123600Z");

    /// From the `aws-signing-test-suite` of AWS (in its crate aws-sigv4), those with the path / and no query.
    const VECTORS: &[Vector] = &[
        Vector {
            name: "get-header-key-duplicate",
            method: "GET",
            headers: &[HOST, ("my-header1", "value2,value2,value1"), DATE],
            body: b"",
            canonical_digest: "dc7f04a3abfde8d472b0ab1a418b741b7c67174dad1551b4117b15527fbe966c",
            signature: "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        },
        Vector {
            name: "get-header-value-multiline",
            method: "GET",
            headers: &[HOST, ("my-header1", "value1 value2 value3"), DATE],
            body: b"",
            canonical_digest: "e99419459a677bc11de234014be3c4e72c1ea5b454ceb58b613061f5d7a162e8",
            signature: "cfd34249e4b1c8d6b91ef74165d41a32e5fab3306300901bb65a51a73575eefd",
        },
        Vector {
            name: "get-header-value-order",
            method: "GET",
            headers: &[HOST, ("my-header1", "value4,value1,value3,value2"), DATE],
            body: b"",
            canonical_digest: "31ce73cd3f3d9f66977ad3dd957dc47af14df92fcd8509f59b349e9137c58b86",
            signature: "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
        },
        Vector {
            name: "get-header-value-trim",
            method: "GET",
            headers: &[HOST, ("my-header1", "value1"), ("my-header2", "\"a b c\""), DATE],
            body: b"",
            canonical_digest: "a726db9b0df21c14f559d0a978e563112acb1b9e05476f0a6a1c7d68f28605c7",
            signature: "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        },
        Vector {
            name: "get-relative-normalized",
            method: "GET",
            headers: &[HOST, DATE],
            body: b"",
            canonical_digest: "bb579772317eb040ac9ed261061d46c1f17a8133879d6129b6e1c25292927e63",
            signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        },
        Vector {
            name: "get-vanilla-with-session-token",
            method: "GET",
            headers: &[
                HOST,
                DATE,
                ("x-amz-security-token", "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"),
            ],
            body: b"",
            canonical_digest: "067b36aa60031588cea4a4cde1f21215227a047690c72247f1d70b32fbbfad2b",
            signature: "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
        },
        Vector {
            name: "post-header-key-case",
            method: "POST",
            headers: &[HOST, DATE],
            body: b"",
            canonical_digest: "553f88c9e4d10fc9e109e2aeb65f030801b70c2f6468faca261d401ae622fc87",
            signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        },
        Vector {
            name: "post-header-key-sort",
            method: "POST",
            headers: &[HOST, ("my-header1", "value1"), DATE],
            body: b"",
            canonical_digest: "9368318c2967cf6de74404b30c65a91e8f6253e0a8659d6d5319f1a812f87d65",
            signature: "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
        },
        Vector {
            name: "post-header-value-case",
            method: "POST",
            headers: &[HOST, ("my-header1", "VALUE1"), DATE],
            body: b"",
            canonical_digest: "d51ced243e649e3de6ef63afbbdcbca03131a21a7103a1583706a64618606a93",
            signature: "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
        },
        Vector {
            name: "post-sts-header-before",
            method: "POST",
            headers: &[
                HOST,
                DATE,
                (
                    "x-amz-security-token",
                    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==",
                ),
            ],
            body: b"",
            canonical_digest: "c237e1b440d4c63c32ca95b5b99481081cb7b13c7e40434868e71567c1a882f6",
            signature: "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
        },
        Vector {
            name: "post-x-www-form-urlencoded",
            method: "POST",
            headers: &[
                ("content-length", "13"),
                ("content-type", "application/x-www-form-urlencoded"),
                HOST,
                ("x-amz-content-sha256", "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e"),
                DATE,
            ],
            body: b"Param1=value1",
            canonical_digest: "b1edd1d03544c25390e32085d55b57acc9a3961bb59415ff86c45c3d89d16cfb",
            signature: "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
        },
        Vector {
            name: "post-x-www-form-urlencoded-parameters",
            method: "POST",
            headers: &[
                ("content-length", "13"),
                ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
                HOST,
                ("x-amz-content-sha256", "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e"),
                DATE,
            ],
            body: b"Param1=value1",
            canonical_digest: "a89f1a5b53e37702ee6363ce1da3ce8f54386f3c8f352ae652153c2982a0bc4d",
            signature: "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422",
        },
    ];

    fn scope() -> Scope<'static> {
        let time = Utc::of(UNIX_EPOCH + Duration::from_secs(1_440_938_160));
        Scope { time, region: "us-east-1", service: "service" }
    }

    #[test]
    fn awss_own_test_suite_is_signed_as_it_says() {
        let credentials = Credentials {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            session_token: None,
        };
        for vector in VECTORS {
            let request = Signable { method: vector.method, path: "/", headers: vector.headers, body: vector.body };
            let to_sign = string_to_sign(&scope(), &canonical_request(&request));
            assert!(to_sign.ends_with(vector.canonical_digest), "{}: {to_sign}", vector.name);
            let header = authorization(&request, &scope(), &credentials);
            let expected = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={}, Signature={}",
                signed_headers(vector.headers),
                vector.signature
            );
            assert_eq!(header, expected, "{}", vector.name);
        }
    }
}
