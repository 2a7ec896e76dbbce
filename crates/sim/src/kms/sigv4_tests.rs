//! Signatures: vectors of AWS's own test suite, and each way in which a request can be wrong.
use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const DATE: &str = "20150830T123600Z";
const SCOPE: Scope = Scope { region: "us-east-1", service: "service" };
// AWS's suite: post-vanilla.
const POST_VANILLA: &str = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b";
// AWS's suite: get-vanilla.
const GET_VANILLA: &str = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";

fn principals(token: Option<&str>, expires: Option<i64>) -> Principals {
    let principals = Principals::default();
    principals.add("AKIDEXAMPLE", SECRET, token, "arn:aws:iam::123456789012:user/a", expires);
    principals
}

fn authorization(signature: &str) -> String {
    format!(
        "{ALGORITHM} Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature={signature}"
    )
}

fn request(method: &str, authorization: &str) -> Request {
    let headers = [("host", "example.amazonaws.com"), ("x-amz-date", DATE), ("authorization", authorization)];
    Request {
        method: method.into(),
        target: "/".into(),
        headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        body: Vec::new(),
    }
}

fn now() -> i64 {
    clock::parse_basic(DATE).unwrap()
}

fn error(request: &Request, scope: &Scope, principals: &Principals, now: i64) -> (&'static str, String) {
    match verify(request, scope, principals, now) {
        Ok(_) => panic!("accepted"),
        Err(failure) => (failure.kind, failure.message),
    }
}

#[test]
fn the_vectors_of_awss_suite_are_accepted() {
    for (method, signature) in [("GET", GET_VANILLA), ("POST", POST_VANILLA)] {
        let principal = verify(&request(method, &authorization(signature)), &SCOPE, &principals(None, None), now());
        assert_eq!(principal.ok().unwrap().arn, "arn:aws:iam::123456789012:user/a", "{method}");
    }
}

#[test]
fn another_body_method_header_or_secret_is_a_mismatch() {
    let good = || request("POST", &authorization(POST_VANILLA));
    let mut body = good();
    body.body = b"x".to_vec();
    let mut host = good();
    host.headers[0].1 = "example.amazonaws.org".into();
    let mut target = good();
    target.target = "/?a=b".into();
    for changed in [body, host, target, request("PUT", &authorization(POST_VANILLA))] {
        let (kind, message) = error(&changed, &SCOPE, &principals(None, None), now());
        assert_eq!((kind, message.as_str()), ("InvalidSignatureException", MISMATCH));
    }
    let other = Principals::default();
    other.add("AKIDEXAMPLE", "another", None, "arn:aws:iam::123456789012:user/a", None);
    assert_eq!(error(&good(), &SCOPE, &other, now()).1, MISMATCH);
}

#[test]
fn a_date_five_minutes_away_is_told_in_awss_words() {
    let good = request("POST", &authorization(POST_VANILLA));
    for seconds in [-300, 300] {
        assert!(verify(&good, &SCOPE, &principals(None, None), now() + seconds).is_ok());
    }
    let late = error(&good, &SCOPE, &principals(None, None), now() + 301);
    let text = "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T124101Z - 5 min.)";
    assert_eq!(late, ("InvalidSignatureException", text.into()));
    let early = error(&good, &SCOPE, &principals(None, None), now() - 301);
    let text =
        "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z (20150830T123059Z + 5 min.)";
    assert_eq!(early, ("InvalidSignatureException", text.into()));
}

#[test]
fn what_is_missing_is_named() {
    let all = principals(None, None);
    let mut none = request("POST", "");
    none.headers.pop();
    assert_eq!(error(&none, &SCOPE, &all, now()).0, "MissingAuthenticationTokenException");
    let (kind, text) = error(&request("POST", "AWS4-HMAC-SHA256 Credential=a/b/c/d/e"), &SCOPE, &all, now());
    assert_eq!(kind, "IncompleteSignatureException");
    assert!(text.contains("requires 'Signature'") && text.contains("requires 'SignedHeaders'"), "{text}");
    assert_eq!(error(&request("POST", "Basic x"), &SCOPE, &all, now()).0, "IncompleteSignatureException");
    let short = "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=SECRETSIGNATURE";
    let (kind, text) = error(&request("POST", short), &SCOPE, &all, now());
    assert_eq!(kind, "IncompleteSignatureException");
    assert!(!text.contains("SECRETSIGNATURE"), "{text}");
}

#[test]
fn a_signature_is_for_one_region_and_one_service() {
    let good = request("POST", &authorization(POST_VANILLA));
    for (region, service) in [("eu-west-1", "service"), ("us-east-1", "kms")] {
        let (kind, text) = error(&good, &Scope { region, service }, &principals(None, None), now());
        assert_eq!(kind, "InvalidSignatureException");
        assert!(text.contains("scoped to"), "{text}");
    }
}

#[test]
fn an_amazon_header_that_is_not_signed_is_refused() {
    let mut added = request("POST", &authorization(POST_VANILLA));
    added.headers.push(("x-amz-target".into(), "TrentService.Decrypt".into()));
    let (kind, text) = error(&added, &SCOPE, &principals(None, None), now());
    assert_eq!(kind, "InvalidSignatureException");
    assert!(text.contains("x-amz-target"), "{text}");
}

#[test]
fn tokens_and_expiry_are_checked() {
    let good = request("POST", &authorization(POST_VANILLA));
    let unknown = ("UnrecognizedClientException", "The security token included in the request is invalid.".to_owned());
    assert_eq!(error(&good, &SCOPE, &Principals::default(), now()), unknown);
    assert_eq!(error(&good, &SCOPE, &principals(Some("token"), None), now()), unknown, "no token was sent");
    let mut with_token = request("POST", &authorization(POST_VANILLA));
    with_token.headers.push(("x-amz-security-token".into(), "token".into()));
    assert_eq!(error(&with_token, &SCOPE, &principals(None, None), now()), unknown, "a long-term key has none");
    assert_eq!(error(&with_token, &SCOPE, &principals(Some("other"), None), now()), unknown);
    let expired = error(&with_token, &SCOPE, &principals(Some("token"), Some(now())), now());
    assert_eq!(expired, ("ExpiredTokenException", "The security token included in the request is expired".into()));
}
